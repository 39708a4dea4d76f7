"""Rule: an aggregate that a subquery computes for one row at a time is computed once a key, and joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.calm import is_calm
from gateway.rewrite.kinds import stand_for_each_other
from gateway.rewrite.tree import (
    SOURCES,
    aggregates_in,
    aliases_in,
    conjuncts,
    departments_of,
    has_subquery,
    has_window,
    set_where,
    sources,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["decorrelate_aggregates"]

NULL_OF_NOTHING = (exp.Sum, exp.Avg, exp.Min, exp.Max)
"""Aggregates that are NULL over no rows; COUNT is 0 there, and stays where it was written."""
STRICT = (exp.Paren, exp.Literal, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Cast, exp.DataType, exp.DataTypeParam)
"""What is NULL as soon as one operand is; and fails for no value of an aggregate that the query would not meet."""
COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)


def decorrelate_aggregates(tree: exp.Query, context: Context) -> exp.Query:
    """`WHERE x < (SELECT 0.2 * AVG(v) FROM r WHERE r.k = y.k AND ..)` over two departments:
    `JOIN (SELECT k, AVG(v) AS a FROM r WHERE .. GROUP BY k) AS d ON d.k = y.k WHERE x < 0.2 * d.a`.

    Only for a comparison that WHERE demands, with the subquery on one side of it.

    Proof sketch. For a row whose y.k has rows in r, the subquery aggregates those with r.k = y.k, which are one
    group of d: equal values are one value (`kinds`), and no other group has that key; the join gives the row
    exactly that one partner. For a row without (y.k NULL included) the aggregate is NULL (`NULL_OF_NOTHING`), so is
    what is computed of it (`STRICT`), the comparison is not true, and WHERE drops the row: so does the join.
    The other conditions of the subquery read its own sources alone, and hold before grouping. Rows of r that no
    row asks for are aggregated as well: calm, so nothing fails for them but a number that overflows.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        if len(departments_of(select)) < 2 or any(j.side for j in select.args.get("joins") or []):
            continue
        if not sources(select):
            continue
        where = select.args.get("where")
        for part in conjuncts(where.this if where is not None else None):
            subquery = _compared(part)
            if subquery is not None and _join(select, subquery):
                context.notes.append("an aggregate asked for each row is computed once a key and joined")
    return tree


def _compared(part: exp.Expr) -> exp.Subquery | None:
    """The only subquery of a comparison, if it is one of its sides."""
    if not isinstance(part, COMPARISONS):
        return None
    for side, other in ((part.left, part.right), (part.right, part.left)):
        while isinstance(side, exp.Paren):
            side = side.this
        if isinstance(side, exp.Subquery) and not side.alias and not has_subquery(other):
            return side
    return None


def _join(select: exp.Select, subquery: exp.Subquery) -> bool:
    inner = subquery.this
    if not isinstance(inner, exp.Select) or len(inner.expressions) != 1 or inner.find(exp.Anonymous) is not None:
        return False
    if not {k for k, v in inner.args.items() if v} <= {"expressions", "from_", "joins", "where"}:
        return False
    own = {s.alias for s in sources(inner)}
    if any(j.side for j in inner.args.get("joins") or []) or not _is_plain(inner.expressions[0].unalias(), own):
        return False
    outer = {s.alias for s in sources(select)}
    within = {n.alias_or_name for n in inner.find_all(*SOURCES)}
    keys: list[tuple[exp.Expr, exp.Expr]] = []
    kept: list[exp.Expr] = []
    where = inner.args.get("where")
    for part in conjuncts(where.this if where is not None else None):
        if aliases_in(part) <= within:
            kept.append(part)
            continue
        pair = _key(part, own, outer)
        if pair is None:
            return False
        keys.append(pair)
    for join in inner.args.get("joins") or []:
        if not aliases_in(join) <= within:
            return False
    if not keys or any(not aliases_in(n) <= within for n in inner.expressions):
        return False
    _apply(select, subquery, keys, kept)
    return True


def _is_plain(value: exp.Expr, own: set[str]) -> bool:
    """Whether an output is arithmetic of aggregates that nothing makes NULL, of the subquery's own columns."""
    calls = list(aggregates_in(value))
    if not calls or has_window(value) or has_subquery(value):
        return False
    if not all(type(c) in NULL_OF_NOTHING and aliases_in(c) <= own and is_calm(c.this) for c in calls):
        return False
    inside = {id(n) for c in calls for n in c.walk()}
    return all(id(n) in inside or isinstance(n, STRICT) for n in value.walk())


def _key(part: exp.Expr, own: set[str], outer: set[str]) -> tuple[exp.Expr, exp.Expr] | None:
    """(column of the subquery, column of the row around it) of an equality between the two."""
    if not isinstance(part, exp.EQ):
        return None
    for one, other in ((part.left, part.right), (part.right, part.left)):
        if not (isinstance(one, exp.Column) and isinstance(other, exp.Column)):
            continue
        if one.table in own and other.table in outer and stand_for_each_other(one, other):
            return one, other
    return None


def _apply(
    select: exp.Select, subquery: exp.Subquery, keys: list[tuple[exp.Expr, exp.Expr]], kept: list[exp.Expr]
) -> None:
    inner = subquery.this.copy()
    value = inner.expressions[0].unalias()
    alias = f"{sources(inner)[0].alias}_once"
    calls = {c.sql(): c.copy() for c in aggregates_in(value)}
    names = {text: f"a{i}" for i, text in enumerate(calls)}

    def raised(node: exp.Expr) -> exp.Expr:
        return _column(names[node.sql()], alias, node) if node.sql() in names else node

    by = {one.sql(): (f"k{i}", one, other) for i, (one, other) in enumerate(keys)}
    inner.set(
        "expressions",
        [
            *(exp.alias_(one.copy(), name, copy=False) for name, one, _ in by.values()),
            *(exp.alias_(calls[text], name, copy=False) for text, name in names.items()),
        ],
    )
    set_where(inner, [p.copy() for p in kept])
    inner.set("group", exp.Group(expressions=[one.copy() for _, one, _ in by.values()]))
    derived = exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias)))
    on = [exp.EQ(this=_column(by[one.sql()][0], alias, one), expression=other.copy()) for one, other in keys]
    select.append("joins", exp.Join(this=derived, on=exp.and_(*on, copy=False)))
    value = value.copy().transform(raised, copy=False)
    subquery.replace(value if isinstance(value, exp.Column) else exp.paren(value, copy=False))


def _column(name: str, alias: str, like: exp.Expr) -> exp.Column:
    column = exp.column(name, table=alias)
    column.type = like.type
    return column
