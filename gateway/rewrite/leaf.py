"""Rule: a question about an aggregate-mode relation becomes one complete aggregation and the rest above it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from catalog.relation import Mode
from gateway.rewrite.tree import aggregates_in, has_grouping_sets, has_subquery, is_aggregate_select, sources

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["aggregate_leaves", "is_leaf", "lift_above"]

WINDOWED = (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)
"""What may stand between OVER and its function."""


def aggregate_leaves(tree: exp.Query, context: Context) -> exp.Query:
    """Split `SELECT f(keys, aggregates) .. FROM r GROUP BY keys HAVING .. ORDER BY ..` over an
    aggregate-mode relation r into the aggregation exactly as written and a select above it.

    Proof sketch. SQL evaluates outputs, HAVING, DISTINCT, ORDER BY and LIMIT after grouping, over group
    keys and aggregate results alone. The inner select delivers exactly those, one row a group; the
    outer evaluates the same expressions over them, windows (which see one row a group) included.
    Absent cells are absent in both forms.
    """
    for select in list(tree.find_all(exp.Select)):
        if _asks_aggregate_relation(select, context) and not is_leaf(select):
            _split(select)
    return tree


def _asks_aggregate_relation(select: exp.Select, context: Context) -> bool:
    found = sources(select)
    if len(found) != 1 or not isinstance(found[0].node, exp.Table) or not found[0].node.catalog:
        return False
    table = found[0].node
    relation = context.relations.get(RelationName(table.catalog, table.db, table.name))
    return relation is not None and relation.mode == Mode.aggregate and is_aggregate_select(select)


def is_leaf(select: exp.Select) -> bool:
    """Whether a select is nothing but keys and aggregates of one relation, as an agent wants it."""
    if any(select.args.get(k) for k in ("having", "order", "limit", "offset", "distinct", "qualify", "joins", "with_")):
        return False
    group = select.args.get("group")
    keys = {k.sql() for k in group.expressions} if group is not None else set()
    return all(
        p.unalias().sql() in keys or isinstance(p.unalias(), (exp.AggFunc, exp.Filter)) for p in select.expressions
    )


def _split(select: exp.Select) -> None:
    if has_grouping_sets(select) or any(has_subquery(part) for part in _above(select)):
        return
    lift_above(select, f"{sources(select)[0].alias}_leaf")


def lift_above(select: exp.Select, alias: str, more: Iterable[exp.Expr] = ()) -> dict[str, str]:
    """Leave keys and aggregates of a grouping select in a derived table called `alias`, everything else above it.

    more: aggregates that it is to compute as well. Returns the names of its outputs by their text.
    """
    group = select.args.get("group")
    above = _above(select)
    keys = {k.sql(): k for k in (group.expressions if group is not None else [])}
    calls = {call.sql(): call for call in (*(c for part in above for c in _grouped_calls(part)), *more)}
    names = {text: f"c{i}" for i, text in enumerate([*keys, *calls])}
    if not names:
        return names
    inner = exp.Select(
        expressions=[
            exp.alias_(node.copy(), names[text], copy=False) for text, node in [*keys.items(), *calls.items()]
        ],
        from_=select.args["from_"],
    )
    for key in ("joins", "where", "group"):
        if select.args.get(key) is not None:
            inner.set(key, select.args[key])
    _raise_above(select, names, alias)
    select.set("from_", exp.From(this=exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias)))))
    for key in ("joins", "where", "group"):
        select.set(key, None)
    having = select.args.get("having")
    if having is not None:
        select.set("where", exp.Where(this=having.this))
        select.set("having", None)
    return names


def _above(select: exp.Select) -> list[exp.Expr]:
    """What a select evaluates over its groups."""
    return [*select.expressions, *(select.args[k] for k in ("having", "order") if select.args.get(k) is not None)]


def _grouped_calls(node: exp.Expr) -> Iterator[exp.Expr]:
    """The aggregate calls that grouping evaluates: also those that a window's function or order reads."""
    yield from aggregates_in(node)
    for window in node.walk(prune=lambda below: isinstance(below, exp.Query)):  # a subquery asks for itself
        if not isinstance(window, exp.Window):
            continue
        function = window.this
        while isinstance(function, WINDOWED):
            function = function.this
        order = window.args.get("order")
        parts = [*function.iter_expressions(), *(window.args.get("partition_by") or []), *([order] if order else [])]
        for part in parts:
            yield from aggregates_in(part)


def _is_window_function(node: exp.Expr) -> bool:
    """Whether a node is the function of an OVER, which the window evaluates and not the grouping."""
    above = node.parent
    while isinstance(above, WINDOWED) and node.arg_key == "this":
        node, above = above, above.parent
    return isinstance(above, exp.Window) and node.arg_key == "this"


def _raise_above(select: exp.Select, names: dict[str, str], alias: str) -> None:
    def lift(node: exp.Expr) -> exp.Expr:
        name = None if _is_window_function(node) or _is_below(node) else names.get(node.sql())
        return exp.column(name, table=alias) if name is not None else node

    lifted = []
    for projection in select.expressions:
        name = projection.alias_or_name
        lifted.append(exp.alias_(projection.unalias().copy().transform(lift, copy=False), name, copy=False))
        lifted[-1].meta.update(projection.meta)
    select.set("expressions", lifted)
    for key in ("having", "order"):
        if select.args.get(key) is not None:
            select.set(key, select.args[key].copy().transform(lift, copy=False))


def _is_below(node: exp.Expr) -> bool:
    """Whether a node stands in a subquery, which asks for itself."""
    return node.find_ancestor(exp.Query) is not None
