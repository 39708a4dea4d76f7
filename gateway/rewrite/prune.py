"""Rule: nobody computes or delivers a column that nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.tree import is_aggregate_select

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["prune_outputs"]


def prune_outputs(tree: exp.Query, context: Context) -> exp.Query:
    """Drop outputs of derived tables and CTEs that no column of the statement reads.

    Proof sketch. Outputs of a plain select are functions of the row; leaving one out changes neither
    the number of rows nor the other values. With DISTINCT, in arms of a set operation (positions and
    duplicates count) and where the output is the only one left, nothing is dropped. An aggregate
    output may go as long as another output or a GROUP BY keeps the select an aggregation. EXISTS asks for
    rows, whatever they show: of a plain select it reads a constant, but not of a DISTINCT under OFFSET, where what
    rows show decides how many are left.
    """
    for exists in tree.find_all(exp.Exists):
        _prune_existence(exists.this)
    changed = True
    while changed:
        changed = False
        used = _columns_read(tree)
        for alias, select in _derived(tree):
            changed |= _prune(select, used.get(alias, set()))
    return tree


def _prune_existence(query: exp.Expr) -> None:
    while isinstance(query, exp.Subquery) and not any(query.args.get(k) for k in ("alias", "offset")):
        query = query.this
    if not isinstance(query, exp.Select) or is_aggregate_select(query) or query.args.get("order") is not None:
        return
    if query.args.get("distinct") is not None and query.args.get("offset") is not None:
        return
    if any(p.find(exp.Column) is not None for p in query.expressions) and not query.find(exp.Anonymous):
        query.set("expressions", [exp.alias_(exp.Literal.number(1), "one", copy=False)])
        query.set("distinct", None)


def _columns_read(tree: exp.Query) -> dict[str, set[str]]:
    read: dict[str, set[str]] = {}
    for column in tree.find_all(exp.Column):
        read.setdefault(column.table, set()).add(column.name)
    for cte in tree.find_all(exp.CTE):
        uses = [t.alias for t in tree.find_all(exp.Table) if not t.db and t.name == cte.alias]
        read[cte.alias] = set().union(*(read.get(u, set()) for u in uses))
    return read


def _derived(tree: exp.Query) -> list[tuple[str, exp.Select]]:
    found = []
    for node in tree.find_all(exp.Subquery, exp.CTE):
        if not node.alias or not isinstance(node.this, exp.Select):
            continue
        if isinstance(node, exp.Subquery) and not isinstance(node.parent, (exp.From, exp.Join)):
            continue
        alias = node.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            continue
        found.append((node.alias, node.this))
    return found


def _prune(select: exp.Select, used: set[str]) -> bool:
    if select.args.get("distinct") is not None:
        return False
    order = select.args.get("order")
    named = {c.name for c in order.find_all(exp.Column) if not c.table} if order is not None else set()
    kept = [p for p in select.expressions if p.alias_or_name in used | named]
    if not kept:
        kept = select.expressions[:1]
    if len(kept) == len(select.expressions):
        return False
    grouped = is_aggregate_select(select)
    before = select.expressions
    select.set("expressions", kept)
    if grouped and not is_aggregate_select(select):
        select.set("expressions", before)
        return False
    return True
