"""Rule: relations of one department that join with others' stand together in one derived table: one fragment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from gateway.rewrite.tree import (
    Source,
    aliases_in,
    conjuncts,
    has_grouping_sets,
    has_subquery,
    home_of,
    is_aggregate_select,
    is_closed,
    set_where,
    sources,
    tables_of,
    without,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["colocate_joins", "is_plain_join", "joined", "key_of_group", "put_into_derived", "read_from"]

Key = frozenset[tuple[str, str]]
"""Columns, as (alias, name), whose values together stand in one row only; an empty one: there is one row."""


def colocate_joins(tree: exp.Query, context: Context) -> exp.Query:
    """`FROM a1 JOIN b ON .. JOIN a2 ON a1.x = a2.x` over departments a and b: `FROM (a1 JOIN a2) JOIN b`.

    Two forms. The leading sources of a FROM clause, all of one department, if an outer join is among
    them. And, of the sources before the first outer join, those of one department that equalities
    connect. Both only as long as each source meets the others by a key (`_meets_by_key`): on a column of
    few values their join may be far larger than they are, and is left to the gateway.

    Proof sketch. Joins associate to the left, so the leading sources are a subtree already; naming it,
    ON conditions as written, changes nothing. Inner joins are conditions over a product, which commutes
    and associates: any of their sources may be joined first, on the conditions that read no other
    source, and the other conditions hold later. A WHERE condition on sources that no join null-extends
    is one of those conditions. Outer joins that follow see the same bag on their left. The derived table
    delivers each column that is read outside it under a name of its own, and a column stays a column:
    types, labels and grouping keys are as before. Keys say what pays, not what is right.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        if _is_one_question(select):
            continue
        while _join_leading(select, context) or _join_connected(select, context):
            context.notes.append("relations of one department are joined there before they meet others")
    return tree


def _is_one_question(select: exp.Select) -> bool:
    """Whether the planner sends the select whole anyhow, or must see where a verification stands."""
    if select.find(exp.Anonymous) is not None:
        return True
    return len({t.catalog for t in tables_of(select)}) == 1 and is_closed(select)


# ---- the leading sources, with outer joins among them


def _join_leading(select: exp.Select, context: Context) -> bool:
    found, joins = sources(select), select.args.get("joins") or []
    count = _leading(found, joins, context)
    inside = joins[: max(0, count - 1)]
    if not any(j.side for j in inside) or any(has_subquery(c) for j in inside for c in conjuncts(j.args.get("on"))):
        return False
    select.set("joins", joins[count - 1 :])
    put_into_derived(select, found[:count], [j.copy() for j in inside], [])
    return True


def _leading(found: list[Source], joins: list[exp.Join], context: Context) -> int:
    """How many sources from the first on have its home and meet those before them by a key."""
    home = home_of(found[0], context.relations) if found else ""
    if not home:
        return 0
    keys = _keys_of(found[0], context)
    for count, (source, join) in enumerate(zip(found[1:], joins, strict=True), 1):
        if not is_plain_join(join) or home_of(source, context.relations) != home:
            return count
        pairs = _equal_columns(conjuncts(join.args.get("on")))
        joined = _meets_by_key(keys, {s.alias for s in found[:count]}, source, pairs, context)
        if joined is None:
            return count
        keys = joined
    return len(found)


# ---- sources that equalities connect, before the first outer join


def _join_connected(select: exp.Select, context: Context) -> bool:
    joins = select.args.get("joins") or []
    inner = 0
    while inner < len(joins) and is_plain_join(joins[inner]) and not joins[inner].side:
        inner += 1
    found = sources(select)[: inner + 1]
    where = select.args.get("where")
    on = [part for j in joins[:inner] for part in conjuncts(j.args.get("on"))]
    filters = conjuncts(where.this if where is not None else None)
    local = [p for p in (*on, *filters) if not has_subquery(p) and p.find(exp.Anonymous) is None]
    group = _connected([s for s in found if not s.nullable], local, context)
    if len(group) < 2:
        return False
    names = {s.alias for s in group}
    moved = [p for p in local if _reads_only(p, names)]
    stays = without((*on, *filters), moved)
    first = group[0].node
    rest = [s.node for s in found if s.alias not in names or s.node is first]
    later, above = joined(rest, {first.alias_or_name: names}, [p for p in stays if any(p is o for o in on)])
    set_where(select, [*above, *(p for p in stays if any(p is f for f in filters))])
    inside, filtering = joined([s.node for s in group], {}, moved)
    select.set("from_", exp.From(this=rest[0]))
    select.set("joins", [*later, *joins[inner:]])
    put_into_derived(select, group, inside, filtering)
    return True


def _connected(block: list[Source], parts: list[exp.Expr], context: Context) -> list[Source]:
    """The first two or more sources of one home of which each meets the others by a key, in written order."""
    pairs = _equal_columns(parts)
    for first in block:
        home = home_of(first, context.relations)
        neighbours = [s for s in block if home and s is not first and home_of(s, context.relations) == home]
        reached, keys = {first.alias}, _keys_of(first, context)
        grows = True
        while grows:
            grows = False
            for source in neighbours:
                joined = _meets_by_key(keys, reached, source, pairs, context) if source.alias not in reached else None
                if joined is not None:
                    reached, keys, grows = reached | {source.alias}, joined, True
        if len(reached) > 1:
            return [s for s in block if s.alias in reached]
    return []


def joined(
    nodes: list[exp.Expr], stands_for: dict[str, set[str]], conditions: list[exp.Expr]
) -> tuple[list[exp.Join], list[exp.Expr]]:
    """Joins of all nodes but the first, each condition at the first join that has all it reads; and those
    that belong to none: on one source, or with columns of an outer query.

    stands_for: the aliases that a node brings, where it is more than its own.
    """
    joins, waiting = [], list(conditions)
    seen: set[str] = set()
    for place, node in enumerate(nodes):
        alias = node.alias_or_name
        own = stands_for.get(alias, {alias})
        seen |= own
        ready = [
            p for p in waiting if place and aliases_in(p) & own and not _reads_only(p, own) and _reads_only(p, seen)
        ]
        waiting = without(waiting, ready)
        if place:
            on = exp.and_(*ready, copy=False) if ready else None
            joins.append(exp.Join(this=node.copy(), on=on) if on else exp.Join(this=node.copy(), kind="CROSS"))
    return joins, waiting


def is_plain_join(join: exp.Join) -> bool:
    """Whether a join is an ordinary one, with ON or nothing, to a source that reads no other's columns."""
    if join.args.get("using") or join.method or (join.kind or "").upper() not in ("", "INNER", "CROSS", "OUTER"):
        return False
    return isinstance(join.this, (exp.Table, exp.Subquery))


def _reads_only(part: exp.Expr, names: set[str]) -> bool:
    """Whether a condition reads some of these sources and nothing else."""
    read = aliases_in(part)
    return bool(read) and read <= names


# ---- keys


def _equal_columns(parts: list[exp.Expr]) -> list[tuple[exp.Column, exp.Column]]:
    """The pairs that conditions of the form `column = column` relate."""
    sides = [(p.left.unnest(), p.right.unnest()) for p in parts if isinstance(p, exp.EQ)]
    return [(one, other) for one, other in sides if isinstance(one, exp.Column) and isinstance(other, exp.Column)]


def _meets_by_key(
    keys: set[Key], reached: set[str], source: Source, pairs: list[tuple[exp.Column, exp.Column]], context: Context
) -> set[Key] | None:
    """The keys of a join of some sources with one more, None unless equal columns hold a key of either side.

    keys: of the join of those sources. A row meets at most one row of the side whose key is held, so there are
    no more rows than the other side has, and what was a key there stays one (rows that an outer join fills up
    have NULLs for a key, which equal nothing).
    """
    pairs = [(one, other) if one.table in reached else (other, one) for one, other in pairs]
    pairs = [(one, other) for one, other in pairs if one.table in reached and other.table == source.alias]
    if not pairs:
        return None
    here, there = (frozenset((c.table, c.name) for c in side) for side in zip(*pairs, strict=True))
    own = _keys_of(source, context)
    meets_one, is_met_once = any(key <= there for key in own), any(key <= here for key in keys)
    if not (meets_one or is_met_once):
        return None
    return (keys if meets_one else set()) | (own if is_met_once else set())


def _keys_of(source: Source, context: Context) -> set[Key]:
    """What is known to name one row of a source: the key that its owner declares, what it is grouped by."""
    node = source.node
    if isinstance(node, exp.Table):
        relation = context.relations.get(RelationName(node.catalog, node.db, node.name))
        names = relation.key if relation is not None else ()
        return {frozenset((source.alias, name) for name in names)} if names else set()
    query = node.this
    if not isinstance(query, exp.Select) or has_grouping_sets(query):
        return set()
    if query.args.get("distinct") is not None:
        return {frozenset((source.alias, p.alias_or_name) for p in query.expressions)}
    if not is_aggregate_select(query):
        return _keys_of_rows(source.alias, query, context)
    group = query.args.get("group")
    named = {p.unalias().sql(): p.alias_or_name for p in query.expressions}
    by = [key.sql() for key in group.expressions] if group is not None else []
    return {frozenset((source.alias, named[text]) for text in by)} if all(text in named for text in by) else set()


def _keys_of_rows(alias: str, query: exp.Select, context: Context) -> set[Key]:
    """The key of the only relation of a plain select, under the names of its outputs."""
    found = sources(query)
    if len(found) != 1:
        return set()
    named = {p.unalias().name: p.alias_or_name for p in query.expressions if isinstance(p.unalias(), exp.Column)}
    return {
        frozenset((alias, named[name]) for _, name in key)
        for key in _keys_of(found[0], context)
        if all(name in named for _, name in key)
    }


def key_of_group(group: list[Source], parts: list[exp.Expr], key: exp.Column, context: Context) -> bool:
    """Whether a column of sources that these conditions join is known to name one row of their join."""
    pairs, left = _equal_columns(parts), {s.alias: s for s in group}
    first = left.pop(key.table)
    reached, keys = {first.alias}, _keys_of(first, context)
    grows = True
    while grows:
        grows = False
        for source in list(left.values()):
            joined_keys = _meets_by_key(keys, reached, source, pairs, context)
            if joined_keys is not None:
                reached, keys, grows = reached | {left.pop(source.alias).alias}, joined_keys, True
    return not left and any(known <= {(key.table, key.name)} for known in keys)


# ---- the derived table


def put_into_derived(
    select: exp.Select, group: list[Source], joins: list[exp.Join], conditions: list[exp.Expr]
) -> exp.Subquery:
    """Put `group` into a derived table at the place of its first source; columns read it from there."""
    alias = f"{group[0].alias}_home"
    names = {s.alias for s in group}
    place = next(s.node for s in sources(select) if s.alias == group[0].alias)
    inner = exp.Select(from_=exp.From(this=place.copy()), joins=joins)
    set_where(inner, conditions)
    derived = exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias)))
    place.replace(derived)
    read: dict[tuple[str, str], exp.Expr] = {}
    for column in list(_columns_outside(select, derived)):
        if column.table in names:
            key = (column.table, column.name)
            if key not in read:
                read[key] = exp.alias_(column.copy(), f"n{len(read)}", copy=False)
            read_from(column, alias, read[key].alias)
    inner.set("expressions", list(read.values()) or [exp.alias_(exp.Literal.number(1), "n0", copy=False)])
    return derived


def _columns_outside(select: exp.Select, derived: exp.Subquery) -> Iterator[exp.Column]:
    """Columns of a select and of the queries inside it, but for one derived table."""
    for node in select.walk(prune=lambda n: n is derived):
        if isinstance(node, exp.Column):
            yield node


def read_from(column: exp.Column, alias: str, name: str) -> None:
    """Let a column read the derived table; where it was an output, the output keeps its name."""
    label = column.name
    column.set("table", exp.to_identifier(alias))
    column.set("this", exp.to_identifier(name))
    if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
        column.replace(exp.alias_(column.copy(), label, copy=False))
