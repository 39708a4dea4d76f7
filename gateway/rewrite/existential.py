"""Rule: where only existence counts, a department delivers each row once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from gateway.rewrite.calm import EXACT
from gateway.rewrite.colocate import put_into_derived
from gateway.rewrite.tree import (
    Source,
    aliases_in,
    conjuncts,
    departments_of,
    has_grouping_sets,
    has_subquery,
    has_window,
    home_of,
    is_aggregate_select,
    is_closed,
    set_where,
    sources,
    without,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["distinct_existence"]


def distinct_existence(tree: exp.Query, context: Context) -> exp.Query:
    """`EXISTS (SELECT 1 FROM a WHERE a.x = b.y)`: `EXISTS (SELECT 1 FROM (SELECT DISTINCT x FROM a) a WHERE ..)`;
    in IN likewise, with NOT or without.

    Only where the subquery can't be answered in a department together with the select around it.

    Proof sketch. EXISTS and IN ask which rows there are, not how often. The subquery neither groups nor limits nor
    numbers its rows, so each is a function of one row of every source; sources that deliver equal rows once give
    the same set. Equal values are one value to every expression (`calm.EXACT`). Conditions on one source alone that
    no join null-extends hold before the rows meet others.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        around = select.parent_select
        if around is None or len(departments_of(around)) < 2 or not _asks_existence(select):
            continue
        if select.find(exp.Anonymous) is not None:
            continue
        if len(departments_of(select)) == 1 and is_closed(select):
            if select.args.get("distinct") is None and all(p.is_type(*EXACT) for p in select.expressions):
                select.set("distinct", exp.Distinct())
            continue
        for source in sources(select):
            _deliver_once(select, source, tree, context)
    return tree


def _asks_existence(select: exp.Select) -> bool:
    above = select.parent
    if isinstance(above, exp.Subquery):
        above = above.parent
    if not isinstance(above, (exp.Exists, exp.In)):
        return False
    closed = ("limit", "offset", "fetch", "qualify", "order", "group", "having", "with_")
    if any(select.args.get(k) for k in closed) or is_aggregate_select(select) or has_grouping_sets(select):
        return False
    return not any(has_window(p) for p in select.expressions)


def _deliver_once(select: exp.Select, source: Source, tree: exp.Query, context: Context) -> None:
    table = source.node
    if source.nullable or not isinstance(table, exp.Table) or not home_of(source, context.relations):
        return
    where = select.args.get("where")
    parts = conjuncts(where.this if where is not None else None)
    own = [p for p in parts if aliases_in(p) == {source.alias} and not has_subquery(p)]
    rest = without(parts, own)
    inside = {id(c) for p in own for c in p.find_all(exp.Column)}
    read = [c for c in tree.find_all(exp.Column) if c.table == source.alias and id(c) not in inside]
    key = context.relations[RelationName(table.catalog, table.db, table.name)].key
    if not read or (key and {c.name for c in read} >= set(key)) or not all(c.is_type(*EXACT) for c in read):
        return
    set_where(select, rest)
    derived = put_into_derived(select, [source], [], own)
    derived.this.set("distinct", exp.Distinct())
    context.notes.append("where only existence counts, rows are delivered once")
