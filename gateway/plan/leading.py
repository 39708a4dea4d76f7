"""Which fragment leads ORDER BY of a merge: what its rows, or its groups, are sorted by first is a column of it.

    SELECT c.key, c.name, SUM(s.total) FROM s JOIN c ON c.key = s.key
    GROUP BY c.key, c.name ORDER BY SUM(s.total) DESC LIMIT 20           s, sums by its key, leads: its totals do

Proof, for groups. s groups by K, all of it among its outputs, so no two rows of s agree in K. The merge's groups decide
K: each column of it is one that the merge groups by, or equals one by a condition that all rows fulfil, both of one of
`KEY_TYPES`. So all rows of a group hold the same row of s. A column of s has one value in a group then, which is its
MIN and MAX too. Its SUM is that value as often as the group has rows, and it has one, if each other source is met
through a column that no two rows of it agree in, by s or by a source that is met so itself. That is so where it groups
by the column. Else it is its owner's word that the column is a key, and is looked at: its department is asked for a
value that comes twice (`Leading.once`), and nothing may come, be it of rows that nobody asks for or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from catalog.names import RelationName
from catalog.relation import Relation
from gateway.plan import FragmentPlan
from gateway.plan.bind import types_of
from gateway.plan.size import size_of
from gateway.rewrite.colocate import is_plain_join
from gateway.rewrite.restrict import KEY_TYPES
from gateway.rewrite.tree import (
    aliases_in,
    conjuncts,
    has_grouping_sets,
    has_subquery,
    has_window,
    is_aggregate_select,
    outputs,
    rows_of,
    set_where,
    sources,
)

__all__ = ["Leading", "leading"]

ADDS = {"tinyint", "smallint", "integer", "bigint", "decimal"}
"""Types of which the sum of one value is that value."""
LOOKED_AT = 20
"""Rows among which one is looked for that comes twice, at most, for each row that the leader would deliver."""

ROWS = {"expressions", "from_", "joins", "where"}
"""Clauses of a select that gives rows of a join."""

Place = tuple[str, int]
"""Alias of a source of the merge, and which output of its fragment."""
Pair = tuple[Place, Place]
"""Two outputs that hold one value in all rows."""


@dataclass(frozen=True)
class Leading:
    """by: outputs of the fragment, each with how it is sorted, as far as they lead ORDER BY. once: questions for values
    that come twice; it leads only if none of them finds any."""

    fragment: FragmentPlan
    by: tuple[tuple[int, exp.Ordered], ...]
    once: tuple[FragmentPlan, ...] = ()


@dataclass(frozen=True)
class _Merge:
    """A select over fragments. fragments: by alias, of sources that are nothing but their outputs. places: which output
    a column is, by its alias and name. types: of outputs, by alias, if the select groups; () if none are known here."""

    select: exp.Select
    fragments: Mapping[str, FragmentPlan]
    places: Mapping[tuple[str, str], Place]
    types: Mapping[str, tuple[str, ...]]

    def place(self, node: exp.Expr) -> Place | None:
        return self.places.get((node.table, node.name)) if isinstance(node, exp.Column) else None

    def type_of(self, place: Place) -> str:
        types = self.types.get(place[0])
        return types[place[1]] if types else ""


def leading(
    select: exp.Select, by_id: Mapping[str, FragmentPlan], relations: dict[RelationName, Relation]
) -> Leading | None:
    """The fragment whose outputs lead ORDER BY, None if there is none, or if it may not be cut short."""
    merge = _read(select, by_id)
    found = list(_sorted_by(merge))
    if not found:
        return None
    leader = found[0][0][0]
    led = Leading(merge.fragments[leader], tuple((place[1], item) for place, item, _ in found))
    if sum(1 for t in select.find_all(exp.Table) if t.name == led.fragment.id) != 1:
        return None
    if not is_aggregate_select(select):
        return led
    pairs = _equal(merge)
    if pairs is None or not _decides(merge, leader, pairs):
        return None
    once = _once(merge, leader, pairs, relations) if any(is_added for _, _, is_added in found) else ()
    return None if once is None else replace(led, once=once)


def _read(select: exp.Select, by_id: Mapping[str, FragmentPlan]) -> _Merge:
    fragments, places = dict[str, FragmentPlan](), dict[tuple[str, str], Place]()
    for source in sources(select):
        name, columns = _standing(source.node)
        if name in by_id:
            fragments[source.alias] = by_id[name]
            places |= {(source.alias, column): (source.alias, place) for column, place in columns.items()}
    grouped = fragments if is_aggregate_select(select) else {}
    return _Merge(select, fragments, places, {alias: types_of(fragment) for alias, fragment in grouped.items()})


def _standing(node: exp.Expr) -> tuple[str, dict[str, int]]:
    """(fragment, its place behind each name) of a derived table that is nothing but a fragment's outputs, else ""."""
    select = node.this if isinstance(node, exp.Subquery) else None
    if not isinstance(select, exp.Select) or {k for k, v in select.args.items() if v} != {"expressions", "from_"}:
        return "", {}
    if node.args["alias"].args.get("columns") or any(node.args.get(k) for k in ("limit", "offset", "joins", "order")):
        return "", {}
    table, read = select.args["from_"].this, outputs(select)
    if not isinstance(table, exp.Table) or table.db or not all(isinstance(c, exp.Column) for c in read.values()):
        return "", {}
    return table.name, {name: int(c.name.removeprefix("c")) for name, c in read.items()}


# ---- what ORDER BY says


def _sorted_by(merge: _Merge) -> Iterator[tuple[Place, exp.Ordered, bool]]:
    """The items of ORDER BY that are outputs of one fragment, as far as they lead it; and whether they are added up."""
    nullable = {s.alias for s in sources(merge.select) if s.nullable}
    labels, leader = outputs(merge.select), ""
    for item in merge.select.args["order"].expressions:
        value = item.this
        if isinstance(value, exp.Column) and not value.table:
            value = labels.get(value.name, value)
        place, is_added = _value_of(merge, value)
        if place is None or place[0] in nullable or leader not in ("", place[0]):
            return
        leader = place[0]
        yield place, item, is_added


def _value_of(merge: _Merge, value: exp.Expr) -> tuple[Place | None, bool]:
    """The output whose value in a group a value of ORDER BY is, if it has one; and if that must stand in one row."""
    if type(value) not in (exp.Sum, exp.Min, exp.Max) or {k for k, v in value.args.items() if v} != {"this"}:
        return merge.place(value), False
    place, is_added = merge.place(value.this), isinstance(value, exp.Sum)
    fits = place is not None and (not is_added or merge.type_of(place) in ADDS)
    return place if fits else None, is_added


# ---- what a group holds


def _equal(merge: _Merge) -> list[Pair] | None:
    """The outputs that conditions say are one value, in both directions; None if an outer join says any."""
    parts = _parts(merge.select)
    if parts is None:
        return None
    found: list[Pair] = []
    for part in parts:
        if isinstance(part, exp.EQ):
            one, other = merge.place(part.left.unnest()), merge.place(part.right.unnest())
            if one and other and merge.type_of(one) == merge.type_of(other) in KEY_TYPES:
                found += [(one, other), (other, one)]
    return found


def _parts(select: exp.Select) -> list[exp.Expr] | None:
    """The conditions that all rows of a select fulfil, None if it joins in another way than by them."""
    joins, where = select.args.get("joins") or [], select.args.get("where")
    if not all(is_plain_join(join) and not join.side for join in joins):
        return None
    return [part for c in (where and where.this, *(j.args.get("on") for j in joins)) for part in conjuncts(c)]


def _decides(merge: _Merge, leader: str, pairs: list[Pair]) -> bool:
    """Whether a group of the merge holds one row of the leader alone."""
    group, tree = merge.select.args.get("group"), merge.fragments[leader].tree
    if group is None or has_grouping_sets(merge.select):
        return False
    decided = {place for key in group.expressions if (place := merge.place(key)) is not None}
    while more := {other for one, other in pairs if one in decided} - decided:
        decided |= more
    by = _grouped_by(tree)
    shown = [output.unalias().sql() for output in tree.expressions]
    return bool(by) and all(key in shown and (leader, shown.index(key)) in decided for key in by)


def _grouped_by(tree: exp.Query) -> list[str]:
    """What a question groups by, as texts; nothing if it does not, or does more than that."""
    group = tree.args.get("group")
    if not isinstance(tree, exp.Select) or group is None or has_grouping_sets(tree) or _has_window(tree):
        return []
    known = {k for k, v in tree.args.items() if v} <= {*ROWS, "group", "having"}
    return [key.sql() for key in group.expressions] if known else []


def _has_window(tree: exp.Query) -> bool:
    return any(map(has_window, tree.expressions))


def _once(
    merge: _Merge, leader: str, pairs: list[Pair], relations: dict[RelationName, Relation]
) -> tuple[FragmentPlan, ...] | None:
    """The questions which show that a row of the leader meets one row at most; None if nothing can."""
    most = LOOKED_AT * size_of(merge.fragments[leader], relations).rows
    met, left = {leader}, {s.alias for s in sources(merge.select)} - {leader}
    found: list[FragmentPlan] = []
    while left:
        offered = [other for one, other in pairs if one[0] in met and other[0] in left]
        known = ((place[0], _questions(merge.fragments[place[0]], place[1], relations)) for place in offered)
        alias, asked = next(((alias, asked) for alias, asked in known if asked is not None), ("", ()))
        if not alias or any(rows_of(one.relations[0]) > most for one in asked):
            return None
        found += asked
        met.add(alias)
        left.remove(alias)
    return tuple({(one.department, one.sql): one for one in found}.values())


def _questions(
    fragment: FragmentPlan, place: int, relations: dict[RelationName, Relation]
) -> tuple[FragmentPlan, ...] | None:
    """The questions for values that come twice which show that no value of an output does: none where it can't. None if
    it is no key, or not known to be one.

    Proof sketch. A fragment that joins relations has each value of a relation's column once, if that relation has, and
    each other one is met through a column of which it has each value once, by one that is met so itself.
    """
    tree = fragment.tree
    column = tree.expressions[place].unalias()
    if _grouped_by(tree) == [column.sql()]:
        return ()
    if not isinstance(tree, exp.Select) or not {k for k, v in tree.args.items() if v} <= ROWS or _has_window(tree):
        return None
    parts, tables = _parts(tree), {s.alias: s.node for s in sources(tree) if isinstance(s.node, exp.Table)}
    if parts is None or not isinstance(column, exp.Column) or len(tables) < len(sources(tree)):
        return None
    named = {alias: relations[RelationName(t.catalog, t.db, t.name)] for alias, t in tables.items()}
    equal = list(_alike(parts, named))
    found: dict[str, exp.Column] = {}
    offered = [column]
    while (key := next((c for c in offered if named[c.table].key == (c.name,)), None)) is not None:
        found[key.table] = key
        offered = [other for one, other in equal if one.table in found and other.table not in found]
    if len(found) < len(tables):
        return None
    return tuple(_twice(fragment, named[key.table], tables[key.table], key, parts) for key in found.values())


def _alike(parts: list[exp.Expr], named: Mapping[str, Relation]) -> Iterator[tuple[exp.Column, exp.Column]]:
    """Columns of relations that conditions say are one value, in both directions."""
    for part in parts:
        if not isinstance(part, exp.EQ):
            continue
        one, other = part.left.unnest(), part.right.unnest()
        if isinstance(one, exp.Column) and isinstance(other, exp.Column) and {one.table, other.table} <= named.keys():
            kinds = {c.type.name for n in (one, other) for c in named[n.table].columns if c.name == n.name}
            if len(kinds) == 1 and kinds <= KEY_TYPES:
                yield one, other
                yield other, one


def _twice(
    fragment: FragmentPlan, relation: Relation, table: exp.Expr, key: exp.Column, parts: list[exp.Expr]
) -> FragmentPlan:
    """The question for a value that a column of a relation has twice, under the conditions on it alone."""
    own = [p.copy() for p in parts if aliases_in(p) == {key.table} and not has_subquery(p)]
    asked = exp.select(exp.alias_(key.copy(), "c0")).from_(table.copy()).group_by(key.copy()).limit(1)
    asked.set("having", exp.Having(this=exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1))))
    set_where(asked, own)
    for column in asked.find_all(exp.Column):
        column.set("table", exp.to_identifier("t0"))
    asked.args["from_"].this.set("alias", exp.TableAlias(this=exp.to_identifier("t0")))
    notes = (f"there must be no such row: {key.name} is a key, as its owner says",)
    sql = asked.sql("trino", comments=False)
    return replace(fragment, tree=asked, sql=sql, outputs=(key.name,), relations=(relation,), notes=notes)
