"""Rule: what only restricts is asked first, and its keys take its place: the rest is one department's question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from catalog.types import TrinoType
from gateway.rewrite.colocate import is_plain_join, joined, key_of_group, read_from
from gateway.rewrite.tree import (
    KEYS,
    Source,
    aliases_in,
    conjuncts,
    departments_of,
    has_grouping_sets,
    has_subquery,
    home_of,
    is_aggregate_select,
    is_closed,
    keyed_queries,
    set_where,
    sources,
    without,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["ANY", "KEY_TYPES", "ONCE", "restrict_by_keys"]

ONCE, ANY = "once", "any"
"""How often a value may come among the keys of a query that is marked with `KEYS`."""
KEY_TYPES = {"varchar", "bigint", "integer", "date"}
"""Of columns whose values travel as keys."""


def restrict_by_keys(tree: exp.Query, context: Context) -> exp.Query:
    """`SELECT sum(a.v) FROM a JOIN b ON a.x = b.k WHERE b.c = 1 ..`, k the key of b, nothing else read of it:
    `SELECT sum(a.v) FROM a WHERE a.x IN (SELECT k FROM b WHERE c = 1) ..`, the subquery marked to be asked first.

    Of a select that groups, limits or drops duplicates, over inner joins, if all but such b are of one department: it
    is then that department's question, HAVING, ORDER BY and LIMIT with it, and the keys travel there. b may be several
    relations of a department that join by keys. `x IN (SELECT ..)` of another department that stands there is marked.

    Proof sketch. If no value of k comes twice, a row of a meets one row of b that fulfils b's conditions, where IN is
    true, or none, where it is not: WHERE keeps the same rows, as often. Other columns of b are read nowhere, and where
    k itself is read, a.x of the same type is the same value. That k is a key is its owner's word. It is seen when
    the keys are there: came one twice, the statement is planned without this rule (`asking.NoKeys`). A value that is
    NULL equals nothing, and is no key. IN as its author wrote it means the same however often a value comes.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before what reads it
        if not _gains(select) or len(departments_of(select)) < 2 or select.find(exp.Anonymous) is not None:
            continue
        # Of grouping sets each key counts by itself: what two columns say alike is two keys there.
        if select.args.get("with_") is not None or has_grouping_sets(select):
            continue
        joins = select.args.get("joins") or []
        if any(j.side or not is_plain_join(j) for j in joins):
            continue
        homes = dict.fromkeys(home_of(s, context.relations) for s in sources(select))
        if "" not in homes and any(_restrict(select, home, context) for home in homes):
            context.notes.append("what only restricts is asked first, and its keys take its place")
    return tree


def _gains(select: exp.Select) -> bool:
    """Whether a select gives other rows than those of its join: fewer of them cross if one department gives them."""
    return is_aggregate_select(select) or any(select.args.get(k) for k in ("distinct", "limit"))


def _restrict(select: exp.Select, home: str, context: Context) -> bool:
    """Leave one department's sources in FROM, and keys in place of the others; False if that isn't exact."""
    draft = select.copy()
    found = {s.alias: s for s in sources(draft)}
    homes = {alias: home_of(s, context.relations) for alias, s in found.items()}
    for other in dict.fromkeys(homes.values()):
        group = [s for alias, s in found.items() if homes[alias] == other]
        if other != home and not _replace(draft, group, {a for a in homes if homes[a] == home}, context):
            return False
    where = draft.args.get("where")
    for part in conjuncts(where.this if where is not None else None):
        _mark(part, draft, home, context)
    inner = [q for q in draft.find_all(exp.Select) if q is not draft]
    if departments_of(draft) != {home} or not keyed_queries(draft) or not all(map(is_closed, inner)):
        return False
    for key in {*select.args, *draft.args}:
        select.set(key, draft.args.get(key))
    return True


def _replace(select: exp.Select, group: list[Source], homes: set[str], context: Context) -> bool:
    """Put keys in place of the sources of one department. homes: aliases of those that stay, and may be restricted."""
    names = {s.alias for s in group}
    where = select.args.get("where")
    on = [part for j in select.args.get("joins") or [] for part in conjuncts(j.args.get("on"))]
    filters = conjuncts(where.this if where is not None else None)
    own = [p for p in (*on, *filters) if aliases_in(p) <= names and aliases_in(p) and not has_subquery(p)]
    rest = without((*on, *filters), own)
    pair = next((p for part in rest if (p := _pair(part, names, homes)) is not None), None)
    if pair is None:
        return False
    key, column = pair
    nodes = _nodes(select)
    if not _is_alike(key, column, nodes, context) or not key_of_group(group, own, key, context):
        return False
    is_one_type = _kind_of(key, nodes, context) == _kind_of(column, nodes, context)
    giver, filtering = _query(group, own, key)
    set_where(giver, filtering)
    asked = exp.Subquery(this=giver)
    asked.meta[KEYS] = ONCE
    condition = exp.In(this=column.copy(), query=asked)
    stays = [p for p in rest if _pair(p, names, homes) != pair]
    kept = [node for alias, node in nodes.items() if alias not in names]
    joins, above = joined(kept, {}, [p for p in stays if any(p is o for o in on)])
    select.set("from_", exp.From(this=kept[0].copy()))
    select.set("joins", joins)
    set_where(select, [*(p.copy() for p in above), *(p.copy() for p in stays if any(p is f for f in filters))])
    for read in [c for c in select.find_all(exp.Column) if c.table in names]:
        if (read.table, read.name) != (key.table, key.name) or not is_one_type:
            return False
        if read.find_ancestor(exp.Select) is not select:
            return False
        read_from(read, column.table, column.name)
    where = select.args.get("where")
    set_where(select, [*conjuncts(where.this if where is not None else None), condition])
    return True


def _query(group: list[Source], own: list[exp.Expr], key: exp.Column) -> tuple[exp.Select, list[exp.Expr]]:
    """What is asked for the keys, and the conditions that are on one of its sources alone."""
    joins, filtering = joined([s.node for s in group], {}, own)
    giver = exp.Select(
        expressions=[exp.alias_(key.copy(), "k", copy=False)], from_=exp.From(this=group[0].node.copy()), joins=joins
    )
    return giver, [p.copy() for p in filtering]


def _pair(part: exp.Expr, names: set[str], homes: set[str]) -> tuple[exp.Column, exp.Column] | None:
    """(column of what restricts, column that it restricts) of an equality."""
    if not isinstance(part, exp.EQ):
        return None
    one, other = part.left.unnest(), part.right.unnest()
    if not (isinstance(one, exp.Column) and isinstance(other, exp.Column)):
        return None
    if one.table in names and other.table in homes:
        return one, other
    return (other, one) if other.table in names and one.table in homes else None


def _nodes(select: exp.Select) -> dict[str, exp.Expr]:
    return {s.alias: s.node for s in sources(select)}


def _is_alike(key: exp.Column, column: exp.Column, nodes: dict[str, exp.Expr], context: Context) -> bool:
    """Whether two columns of relations compare as keys do, and the second may be looked for by them."""
    one, other = (_kind_of(c, nodes, context) for c in (key, column))
    if one is None or other is None or not _takes(nodes[column.table], column, context):
        return False
    return one.name == other.name and one.name in KEY_TYPES


def _kind_of(column: exp.Column, nodes: dict[str, exp.Expr], context: Context) -> TrinoType | None:
    """The type of a relation's column, None for any other."""
    node = nodes.get(column.table)
    if not isinstance(node, exp.Table) or not node.catalog:
        return None
    relation = context.relations.get(RelationName(node.catalog, node.db, node.name))
    return next((c.type for c in relation.columns if c.name == column.name), None) if relation else None


def _takes(node: exp.Expr, column: exp.Column, context: Context) -> bool:
    """Whether a department accepts keys for a column of a relation: no pseudonym can be turned back."""
    assert isinstance(node, exp.Table)
    relation = context.relations[RelationName(node.catalog, node.db, node.name)]
    linked = any(c.name == column.name and c.linkage is not None for c in relation.columns)
    return relation.mode.gives_rows and bool(relation.max_keys) and not linked


def _mark(part: exp.Expr, select: exp.Select, home: str, context: Context) -> None:
    """Have `x IN (SELECT y ..)` of another department answered first, where x may be looked for by keys."""
    query = part.args.get("query") if isinstance(part, exp.In) else None
    if not isinstance(query, exp.Subquery) or KEYS in query.meta or not isinstance(part.this, exp.Column):
        return
    inner = query.this
    if not isinstance(inner, exp.Select):
        return
    other = home_of(Source("", query, None, False), context.relations)
    output = inner.expressions[0].unalias()
    if other in ("", home) or not isinstance(output, exp.Column):
        return
    if any(inner.args.get(k) for k in ("order", "limit", "offset", "with_")) or is_aggregate_select(inner):
        return
    if not _is_alike(output, part.this, {**_nodes(inner), **_nodes(select)}, context):
        return
    inner.set("distinct", exp.Distinct())
    query.meta[KEYS] = ANY
