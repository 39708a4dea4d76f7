"""Rule: what HAVING compares groups with is asked beside the groups, and out of them where it sums the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sqlglot import exp

from catalog import duck
from gateway.rewrite.eager import FINAL
from gateway.rewrite.leaf import lift_above
from gateway.rewrite.tree import (
    SOURCES,
    aggregates_in,
    departments_of,
    has_grouping_sets,
    has_subquery,
    has_window,
    home_of,
    is_closed,
    sources,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["filter_groups"]

TOTAL = "total"
PLAIN = {"expressions", "from_", "joins", "where"}


def filter_groups(tree: exp.Query, context: Context) -> exp.Query:
    """`SELECT k, SUM(x) FROM r GROUP BY k HAVING SUM(x) > (SELECT SUM(x) / 9 FROM r)`, all of one department:
    `WITH g AS (SELECT k, SUM(x) AS s FROM r GROUP BY k) SELECT k, s FROM g WHERE s > (SELECT SUM(s) / 9 FROM g)`.

    A source groups, but compares with no subquery: grouped apart, it groups, and the rows are read once. Where the
    subquery asks something else the groups are a derived table.

    Proof sketch. HAVING, outputs and ORDER BY are evaluated over keys and aggregates alone (`leaf`); the subqueries
    read no column around them. A subquery without groups, FROM and WHERE the same but for its aliases, aggregates
    exactly the rows that the groups are made of: its SUM, MIN or MAX is that of theirs, its COUNT the sum of theirs;
    without any group nothing is compared with it. NULL of a group without values is skipped as the values are that are
    not there. Doubles add in another order, which SQL leaves open.
    """
    # Beside another department the groups are worth more as they stand: they take keys, meet others at home, and sums
    # of them are made below.
    if len(departments_of(tree)) > 1:
        return tree
    for select in reversed(list(tree.find_all(exp.Select))):
        having = select.args.get("having")
        if having is None or not has_subquery(having) or not _is_alone(select, context):
            continue
        totals = {q: value for q in having.find_all(exp.Subquery) if (value := _total(q, select)) is not None}
        for number, subquery in enumerate(totals):
            subquery.meta[TOTAL] = number
        alias = f"{sources(select)[0].alias}_groups"
        names = lift_above(select, alias, [c for value in totals.values() for c in aggregates_in(value)])
        if totals:
            _share(select, alias, list(totals.values()), names)
        context.notes.append("groups are made once, and compared with what is asked of all of them")
    return tree


def _is_alone(select: exp.Select, context: Context) -> bool:
    """Whether one department answers a select, none of whose subqueries reads a column around it."""
    if len(departments_of(select)) != 1 or has_grouping_sets(select) or not is_closed(select):
        return False
    if select.args.get("with_") is not None or not all(home_of(s, context.relations) for s in sources(select)):
        return False
    inner = [q for q in select.find_all(exp.Select) if q is not select]
    return bool(sources(select)) and all(map(is_closed, inner))


def _total(subquery: exp.Subquery, select: exp.Select) -> exp.Expr | None:
    """What a subquery computes of all rows that a select groups, by the aliases there; None if it is something else."""
    query = subquery.this
    if not isinstance(query, exp.Select) or not {k for k, v in query.args.items() if v} <= PLAIN:
        return None
    if len(query.expressions) != 1:
        return None
    value: exp.Expr = query.expressions[0].unalias()
    calls = list(aggregates_in(value))
    if not calls or has_window(value) or has_subquery(value) or not all(map(_adds_up, calls)):
        return None
    renamed = dict(zip(_aliases(query), _aliases(select), strict=False))
    if len(_aliases(query)) != len(_aliases(select)) or _rows(query, renamed) != _rows(select, {}):
        return None
    return _renamed(value.copy(), renamed)


def _adds_up(call: exp.Expr) -> bool:
    return type(call) in FINAL and not isinstance(call.this, exp.Distinct) and not call.args.get("expressions")


def _aliases(select: exp.Select) -> list[str]:
    """Of everything that stands in FROM and WHERE, in order."""
    return [n.alias for n in _from_and_where(select).find_all(*SOURCES) if n.alias]


def _rows(select: exp.Select, renamed: dict[str, str]) -> str:
    """Of which rows a select is, as text."""
    return _renamed(_from_and_where(select), renamed).sql()


def _from_and_where(select: exp.Select) -> exp.Select:
    kept = {key: part for key, part in select.args.items() if key in ("from_", "joins", "where")}
    return exp.Select(expressions=[exp.Literal.number(1)], **kept).copy()


_Node = TypeVar("_Node", bound=exp.Expr)


def _renamed(node: _Node, names: dict[str, str]) -> _Node:
    for source in node.find_all(*SOURCES):
        if source.alias in names:
            source.args["alias"].set("this", exp.to_identifier(names[source.alias]))
    for column in node.find_all(exp.Column):
        if column.table in names:
            column.set("table", exp.to_identifier(names[column.table]))
    return node


def _share(select: exp.Select, alias: str, totals: list[exp.Expr], names: dict[str, str]) -> None:
    """Name the derived table of a select's groups, and let subqueries read it too."""
    derived, name = select.args["from_"].this, f"{alias}_all"
    select.set("with_", exp.With(expressions=[exp.CTE(this=derived.this, alias=_alias(name))]))
    derived.replace(exp.Table(this=exp.to_identifier(name), alias=_alias(alias)))
    for subquery in [q for q in select.find_all(exp.Subquery) if TOTAL in (q._meta or ())]:
        number = subquery.meta.pop(TOTAL)
        own = f"{alias}_{number}"

        def over_groups(node: exp.Expr, own: str = own) -> exp.Expr:
            if node.sql() not in names or not duck.is_aggregate(node):
                return node
            return FINAL[type(node)](this=exp.column(names[node.sql()], table=own))

        value = totals[number].transform(over_groups)
        from_ = exp.From(this=exp.Table(this=exp.to_identifier(name), alias=_alias(own)))
        label = subquery.this.expressions[0].alias_or_name
        subquery.set("this", exp.Select(expressions=[exp.alias_(value, label, copy=False)], from_=from_))


def _alias(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.to_identifier(name))
