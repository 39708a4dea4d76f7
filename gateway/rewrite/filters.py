"""Rule: what a condition keeps of one relation is decided where its rows are, and not again above."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from gateway.rewrite.colocate import put_into_derived
from gateway.rewrite.tree import (
    Source,
    conjuncts,
    departments_of,
    has_subquery,
    home_of,
    is_about,
    set_where,
    sources,
    without,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["filter_first"]


def filter_first(tree: exp.Query, context: Context) -> exp.Query:
    """`FROM a JOIN b ON .. AND p(a) WHERE q(a)`: `FROM (SELECT .. FROM a WHERE p AND q) JOIN b ON ..`.

    Proof sketch. No join null-extends a, so every row of the result has one row of it, and WHERE and the ON of
    inner joins are conditions over a product: p and q, which read that row alone, may be asked first. The planner's
    scan of a asks them anyhow, of the same rows; here the columns that only they read are not delivered.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        joins = select.args.get("joins") or []
        if len(departments_of(select)) < 2 or select.find(exp.Anonymous) is not None:
            continue
        if any(j.args.get("using") for j in joins):
            continue
        for source in sources(select):
            _filter(select, source, context)
    return tree


def _filter(select: exp.Select, source: Source, context: Context) -> None:
    if source.nullable or not isinstance(source.node, exp.Table) or not home_of(source, context.relations):
        return
    where = select.args.get("where")
    filters = conjuncts(where.this if where is not None else None)
    own = [p for p in filters if _is_alone(p, source.alias)]
    set_where(select, without(filters, own))
    for join in select.args.get("joins") or []:
        if not join.side and join.args.get("on") is not None:
            on = conjuncts(join.args["on"])
            moved = [p for p in on if _is_alone(p, source.alias)]
            if moved:
                rest = without(on, moved)
                join.set("on", exp.and_(*rest, copy=False) if rest else exp.true())
                own += moved
    if own:
        table = source.node
        columns = context.relations[RelationName(table.catalog, table.db, table.name)].columns
        places = {column.name: i for i, column in enumerate(columns)}
        inner = put_into_derived(select, [source], [], own).this
        # As a scan lists them, so that equal questions have equal texts.
        inner.set("expressions", sorted(inner.expressions, key=lambda p: places.get(p.unalias().name, 0)))


def _is_alone(part: exp.Expr, alias: str) -> bool:
    return is_about(part, alias) and not has_subquery(part)
