"""Rule: a projection over a join of departments opens up under an aggregation, so that sums can go down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.tree import (
    conjuncts,
    has_grouping_sets,
    has_subquery,
    has_window,
    is_aggregate_select,
    outputs,
    set_where,
    sources,
    substitute,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["flatten_derived"]


def flatten_derived(tree: exp.Query, context: Context) -> exp.Query:
    """Merge `SELECT .. FROM (SELECT e.. FROM a JOIN b ..) d ..` into one select, under an aggregation.

    Only where the derived table is the first FROM item of a grouping select, projects without
    grouping, DISTINCT, windows, limits or subqueries, and holds a join.

    Proof sketch. Joins associate to the left: `(a JOIN b) JOIN c` is `a JOIN b JOIN c`, with the outer
    joins that follow unchanged, since d is their left side either way. d's outputs are functions of its
    row, so the outer expressions may use the definitions. d's WHERE filters d before later joins; the
    later joins are inner or LEFT (checked), where filtering the left side before or after is the same.
    Left alone if GROUP BY or ORDER BY name an output that is a constant: there a number is a position.
    Left alone under ROLLUP, CUBE and GROUPING SETS: two outputs with one definition are two keys there, each NULL
    in its own sets, and CUBE (k, k) is not CUBE (x, y).
    """
    for select in list(tree.find_all(exp.Select)):
        if is_aggregate_select(select) and not has_grouping_sets(select):
            while _flatten_first(select):
                pass
    return tree


def _flatten_first(select: exp.Select) -> bool:
    found = sources(select)
    if not found or not isinstance(found[0].node, exp.Subquery):
        return False
    first, inner = found[0], found[0].node.this
    if first.node.args["alias"].args.get("columns") or not _is_open(inner):
        return False
    later = [(j.side or "").upper() for j in select.args.get("joins") or []]
    if any(s not in ("", "LEFT") for s in later):
        return False
    definitions = outputs(inner)
    if _sorts_by_constant(select, first.alias, definitions):
        return False
    for key in ("expressions", "joins"):
        select.set(key, [_keeping_name(e, first.alias, definitions) for e in select.args.get(key) or []])
    for key in ("where", "group", "having", "order"):
        if select.args.get(key) is not None:
            select.set(key, substitute(select.args[key], first.alias, definitions))
    select.set("from_", inner.args["from_"])
    select.set("joins", [*(inner.args.get("joins") or []), *(select.args.get("joins") or [])])
    where, inner_where = select.args.get("where"), inner.args.get("where")
    if inner_where is not None:
        set_where(select, [*conjuncts(inner_where.this), *conjuncts(where.this if where is not None else None)])
    return True


def _sorts_by_constant(select: exp.Select, alias: str, definitions: dict[str, exp.Expr]) -> bool:
    used = [c for key in ("group", "order") if select.args.get(key) for c in select.args[key].find_all(exp.Column)]
    return any(c.table == alias and definitions[c.name].find(exp.Column) is None for c in used)


def _keeping_name(node: exp.Expr, alias: str, definitions: dict[str, exp.Expr]) -> exp.Expr:
    """Substitute below; an output that was a bare column keeps its name."""
    if isinstance(node, exp.Column) and node.table == alias:
        return exp.alias_(definitions[node.name].copy(), node.name)
    return substitute(node, alias, definitions)


def _is_open(query: exp.Expr) -> bool:
    if not isinstance(query, exp.Select) or is_aggregate_select(query) or not query.args.get("joins"):
        return False
    closed = ("distinct", "limit", "offset", "order", "with_", "qualify", "fetch")
    if any(query.args.get(k) for k in closed):
        return False
    return not any(has_window(p) or has_subquery(p) for p in query.expressions)
