"""Rule: relations of one department that join with others' stand together in one derived table: one fragment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.tree import Source, aliases_in, conjuncts, has_subquery, home_of, is_closed, set_where, sources

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["colocate_joins"]


def colocate_joins(tree: exp.Query, context: Context) -> exp.Query:
    """`FROM a1 JOIN b ON .. JOIN a2 ON a1.x = a2.x` over departments a and b: `FROM (a1 JOIN a2) JOIN b`.

    Two forms. The leading sources of a FROM clause, all of one department, if an outer join is among
    them. And, of the sources before the first outer join, those of one department that equalities
    connect; without an equality they stay apart: their product may be larger than they are.

    Proof sketch. Joins associate to the left, so the leading sources are a subtree already; naming it,
    ON conditions as written, changes nothing. Inner joins are conditions over a product, which commutes
    and associates: any of their sources may be joined first, on the conditions that read no other
    source, and the other conditions hold later. A WHERE condition on sources that no join null-extends
    is one of those conditions. Outer joins that follow see the same bag on their left. The derived table
    delivers each column that is read outside it under a name of its own, and a column stays a column:
    types, labels and grouping keys are as before.
    """
    for select in list(tree.find_all(exp.Select)):
        if _is_alone(select):
            continue
        while _lead(select, context) or _connect(select, context):
            context.notes.append("relations of one department are joined there before they meet others")
    return tree


def _lead(select: exp.Select, context: Context) -> bool:
    found, joins = sources(select), select.args.get("joins") or []
    home = home_of(found[0], context.relations) if found else ""
    count = 1
    while (
        home and count < len(found) and _is_plain(joins[count - 1]) and home_of(found[count], context.relations) == home
    ):
        count += 1
    inside = joins[: count - 1]
    conditions = [j.args["on"] for j in inside if j.args.get("on") is not None]
    if not any(j.side for j in inside) or any(has_subquery(c) for c in conditions):
        return False
    select.set("joins", joins[count - 1 :])
    _name(select, found[:count], [j.copy() for j in inside], [])
    return True


def _connect(select: exp.Select, context: Context) -> bool:
    joins = select.args.get("joins") or []
    inner = 0
    while inner < len(joins) and _is_plain(joins[inner]) and not joins[inner].side:
        inner += 1
    found = sources(select)[: inner + 1]
    block = [s for s in found if not s.nullable]
    where = select.args.get("where")
    on = [part for j in joins[:inner] for part in conjuncts(j.args.get("on"))]
    filters = conjuncts(where.this if where is not None else None)
    group = _connected(block, [p for p in (*on, *filters) if _is_local(p)], context)
    if len(group) < 2:
        return False
    names = {s.alias for s in group}
    moved = [p for p in (*on, *filters) if _is_local(p) and _reads_only(p, names)]
    stays = [p for p in (*on, *filters) if not any(p is m for m in moved)]
    first = group[0].node
    rest = [s.node for s in found if s.alias not in names or s.node is first]
    later, above = _joined(rest, {first.alias_or_name: names}, [p for p in stays if any(p is o for o in on)])
    set_where(select, [*above, *(p for p in stays if any(p is f for f in filters))])
    inside, filtering = _joined([s.node for s in group], {}, moved)
    select.set("from_", exp.From(this=rest[0]))
    select.set("joins", [*later, *joins[inner:]])
    _name(select, group, inside, filtering)
    return True


def _joined(
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
        waiting = [p for p in waiting if not any(p is r for r in ready)]
        if place:
            on = exp.and_(*ready, copy=False) if ready else None
            joins.append(exp.Join(this=node.copy(), on=on) if on else exp.Join(this=node.copy(), kind="CROSS"))
    return joins, waiting


def _connected(block: list[Source], parts: list[exp.Expr], context: Context) -> list[Source]:
    """The first two or more sources with one home that equalities between them connect, in written order."""
    homes = {s.alias: home_of(s, context.relations) for s in block}
    pairs = [aliases_in(p) for p in parts if isinstance(p, exp.EQ) and len(aliases_in(p)) > 1]
    for first in block:
        home = homes[first.alias]
        near = [p for p in pairs if home and all(homes.get(a) == home for a in p)]
        reached = {first.alias}
        while any(p & reached and not p <= reached for p in near):
            reached |= {a for p in near if p & reached for a in p}
        if len(reached) > 1:
            return [s for s in block if s.alias in reached]
    return []


def _name(select: exp.Select, group: list[Source], joins: list[exp.Join], conditions: list[exp.Expr]) -> None:
    """Put `group` into a derived table at the place of its first source; columns read it from there."""
    alias = f"{group[0].alias}_home"
    names = {s.alias for s in group}
    place = next(s.node for s in sources(select) if s.alias == group[0].alias)
    inner = exp.Select(from_=exp.From(this=place.copy()), joins=joins)
    set_where(inner, conditions)
    derived = exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias)))
    place.replace(derived)
    read: dict[tuple[str, str], exp.Expr] = {}
    for column in list(_outside(select, derived)):
        if column.table in names:
            key = (column.table, column.name)
            if key not in read:
                read[key] = exp.alias_(column.copy(), f"n{len(read)}", copy=False)
            _point(column, alias, read[key].alias)
    inner.set("expressions", list(read.values()) or [exp.alias_(exp.Literal.number(1), "n0", copy=False)])


def _outside(select: exp.Select, derived: exp.Subquery) -> Iterator[exp.Column]:
    """Columns of a select and of the queries inside it, but for one derived table."""
    for node in select.walk(prune=lambda n: n is derived):
        if isinstance(node, exp.Column):
            yield node


def _point(column: exp.Column, alias: str, name: str) -> None:
    """Let a column read the derived table; where it was an output, the output keeps its name."""
    label = column.name
    column.set("table", exp.to_identifier(alias))
    column.set("this", exp.to_identifier(name))
    if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
        column.replace(exp.alias_(column.copy(), label, copy=False))


def _is_plain(join: exp.Join) -> bool:
    """Whether a join is an ordinary one, with ON or nothing, to a source that reads no other's columns."""
    if join.args.get("using") or join.method or (join.kind or "").upper() not in ("", "INNER", "CROSS", "OUTER"):
        return False
    return isinstance(join.this, (exp.Table, exp.Subquery))


def _is_local(part: exp.Expr) -> bool:
    return not has_subquery(part) and part.find(exp.Anonymous) is None


def _reads_only(part: exp.Expr, names: set[str]) -> bool:
    """Whether a condition reads some of these sources and nothing else."""
    read = aliases_in(part)
    return bool(read) and read <= names


def _is_alone(select: exp.Select) -> bool:
    """Whether the planner sends the select whole anyhow, or must see where a verification stands."""
    if select.find(exp.Anonymous) is not None:
        return True
    return len({t.catalog for t in select.find_all(exp.Table)}) == 1 and is_closed(select)
