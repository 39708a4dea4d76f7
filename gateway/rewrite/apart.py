"""Rule: a sum of products over two sources is taken apart, so that one of them is summed up where it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from gateway.rewrite.eager import Term, calls_of, is_candidate, is_partial, may_be_summed, sum_first
from gateway.rewrite.tree import Source, aliases_in, departments_of, rows_of, sources, tables_of

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["sums_apart"]

NUMBERS = (*exp.DataType.INTEGER_TYPES, exp.DType.DECIMAL)
MOST = 8
"""Terms of a sum."""
DIGITS = 12
"""Behind the point, that the numbers of a product may have together: none is rounded, and 26 are left before it."""


def sums_apart(tree: exp.Query, context: Context) -> exp.Query:
    """`SELECT g, SUM(x.a - y.b * x.c) FROM x JOIN y ON x.k = y.k GROUP BY g` over two departments:
    `SELECT g, SUM(p.s0 - y.b * p.s1) FROM (SELECT k, SUM(a) AS s0, SUM(c) AS s1 FROM x GROUP BY k) AS p JOIN y ..`.

    As `eager_aggregation`, where some sums read other sources too: sums, differences and products of columns of exact
    numbers and of literals. x is the largest source for which every aggregate can be taken apart so.

    Proof sketch. A sum is of terms, each a product of a part that reads x and a part that does not. Let a class of rows
    of x, which meet the same rows of the others, meet a row o of them. What the class adds to SUM there is the sum over
    its rows of all terms, for those rows where no column is NULL. If a column of o is NULL, it adds nothing; above, a
    term is NULL then, and with it the whole, which SUM skips. Else each term adds its part of o times the sum of
    its part of x over the rows where no column of x that the sum reads is NULL: that is what s0, s1, .. hold, for
    which a part that does not read all these columns is NULL where one of them is. Of a class without such rows they
    are NULL, and SUM skips it. These numbers are exact and nothing is rounded: no order of adding and multiplying
    changes them, and the types' digits behind the point are the same. Numbers that overflow are the exception; what may
    be as large as a `bigint`, or is a product that the statement does not make, is added up as a decimal, or not at
    all, for terms that are large may be nothing together.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        if is_candidate(select) and len(departments_of(select)) > 1 and _sum_largest(select, context):
            context.notes.append("sums over several departments are taken apart, and go down below the join")
    return tree


def _sum_largest(select: exp.Select, context: Context) -> bool:
    calls = calls_of(select)
    if not any(len(aliases_in(call)) > 1 for call in calls):
        return False
    found = [s for s in sources(select) if may_be_summed(select, s, context)]
    for source in sorted(found, key=lambda s: _rows(s, context), reverse=True):
        apart = _apart(calls, source.alias)
        if apart is not None:
            return sum_first(select, source, apart)
    return False


def _rows(source: Source, context: Context) -> float:
    named = (RelationName(t.catalog, t.db, t.name) for t in tables_of(source.node))
    return max(rows_of(context.relations[name]) for name in named)


def _apart(calls: Sequence[exp.Expr], alias: str) -> Mapping[str, Sequence[Term]] | None:
    """The terms of the sums that read other sources than this one; None if an aggregate can't be computed of parts."""
    found: dict[str, Sequence[Term]] = {}
    for call in calls:
        if aliases_in(call) <= {alias}:
            if not is_partial(call):
                return None
            continue
        terms = _terms(call, alias)
        if terms is None:
            return None
        found[call.sql()] = terms
    return found


def _terms(call: exp.Expr, alias: str) -> list[Term] | None:
    """None for what is no sum of products of exact numbers, or might overflow in its parts alone."""
    numbers = list(call.find_all(exp.Column, exp.Literal))
    if (
        type(call) is not exp.Sum
        or {k for k, v in call.args.items() if v} != {"this"}
        or not all(map(_is_number, numbers))
    ):
        return None
    products = _products(call.this, alias)
    if len(products) > MOST:
        return None
    own = {c.sql(): c for c in numbers if isinstance(c, exp.Column) and c.table == alias}
    found = []
    for factors, is_less in products:
        mine = [f for f in factors if aliases_in(f) == {alias}]
        others = [f for f in factors if alias not in aliases_in(f)]
        inside = [n for f in factors for n in f.find_all(exp.Column, exp.Literal)]
        is_large = len(mine) > 1 or any(n.is_type(exp.DType.BIGINT) for n in inside)
        if sum(map(_digits, inside)) > DIGITS or (is_large and not any(map(_is_decimal, mine))):
            return None
        found.append(Term(exp.Sum(this=_where_all(mine, own)), tuple(others), is_less))
    return found


def _products(node: exp.Expr, alias: str) -> list[tuple[list[exp.Expr], bool]]:
    """What is added up or, if so, subtracted: the factors of products, each of which reads the source alone or not.
    Not all of them if they are more than `MOST`."""
    inner, read = node.unnest(), aliases_in(node)
    if alias not in read or read == {alias}:
        return [([inner if isinstance(inner, (exp.Column, exp.Literal)) else exp.paren(inner)], False)]
    if isinstance(inner, exp.Neg):
        return [(factors, not is_less) for factors, is_less in _products(inner.this, alias)]
    assert isinstance(inner, exp.Binary)  # `_is_number`
    left, right = _products(inner.left, alias), _products(inner.right, alias)
    if isinstance(inner, exp.Mul):
        found = [([*some, *more], less is not fewer) for some, less in left for more, fewer in right]
    else:
        found = [*left, *((factors, is_less is not isinstance(inner, exp.Sub)) for factors, is_less in right)]
    return found[: MOST + 1]


def _is_number(node: exp.Expr) -> bool:
    """Whether a column or a literal is an exact number, and stands among sums and products up to the call."""
    above = node.parent
    while isinstance(above, (exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Paren)):
        above = above.parent
    if not isinstance(above, exp.Sum):
        return False
    return node.is_type(*NUMBERS) if isinstance(node, exp.Column) else node.name.replace(".", "", 1).isdecimal()


def _digits(node: exp.Expr) -> int:
    """Behind the point of a column's numbers, or of a literal."""
    if isinstance(node, exp.Literal):
        return len(node.name.partition(".")[2])
    parameters = node.type.expressions if isinstance(node.type, exp.DataType) else []
    return int(parameters[1].name) if len(parameters) > 1 else 0


def _is_decimal(factor: exp.Expr) -> bool:
    return any(column.is_type(exp.DType.DECIMAL) for column in factor.find_all(exp.Column))


def _where_all(factors: Sequence[exp.Expr], own: Mapping[str, exp.Column]) -> exp.Expr:
    """The product of a source's part of a term, for rows where none of the columns is NULL that the sum reads of it."""
    value = factors[0].unnest().copy() if len(factors) == 1 else exp.Literal.number(1)
    if len(factors) > 1:
        # A decimal first: no two integers are multiplied, whose product may be no integer of their type.
        ordered = sorted(factors, key=_is_decimal, reverse=True)
        value = reduce(lambda one, other: exp.Mul(this=one, expression=other), [f.copy() for f in ordered])
    read = {c.sql() for c in value.find_all(exp.Column)}
    present = [
        exp.Not(this=exp.Is(this=c.copy(), expression=exp.Null())) for text, c in own.items() if text not in read
    ]
    if not present:
        return value
    return exp.Case(ifs=[exp.If(this=exp.and_(*present, copy=False), true=value)])
