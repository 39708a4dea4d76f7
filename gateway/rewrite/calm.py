"""What an expression can do wrong where it is evaluated for more rows than its author asked for."""

from __future__ import annotations

from sqlglot import exp

__all__ = ["EXACT", "is_calm"]

EXACT = {
    *exp.DataType.INTEGER_TYPES, exp.DType.BOOLEAN, exp.DType.DECIMAL, exp.DType.VARCHAR, exp.DType.TEXT,
    exp.DType.DATE, exp.DType.TIME, exp.DType.TIMESTAMP, exp.DType.VARBINARY, exp.DType.UUID,
}  # fmt: skip
"""Types whose equal values are the same in every expression. Not so 0.0 and -0.0, nor one moment in two zones."""

CALM: tuple[type[exp.Expr], ...] = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Star, exp.Paren, exp.Var, exp.DataType,
    exp.DataTypeParam, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.Between,
    exp.In, exp.Like, exp.Case, exp.If, exp.Coalesce, exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Abs, exp.Round, exp.Floor,
    exp.Ceil, exp.Year, exp.Quarter, exp.Month, exp.Day, exp.Extract, exp.DateTrunc, exp.TimestampTrunc, exp.Upper,
    exp.Lower, exp.Trim, exp.Length, exp.Substring, exp.DPipe, exp.TryCast, exp.Distinct, exp.Filter, exp.Where,
    exp.Sum, exp.Count, exp.Min, exp.Max,
)  # fmt: skip
"""What fails for no row, so that it may be evaluated for rows that meet none of the other sources."""


def is_calm(node: exp.Expr) -> bool:
    """Whether `node` fails for no row; numbers that overflow are the exception."""
    return all(isinstance(part, CALM) or _is_calm_cast(part) for part in node.walk())


def _is_calm_cast(node: exp.Expr) -> bool:
    """Whether a node is a cast that every value of its operand stands, but for exact numbers that overflow."""
    if not isinstance(node, exp.Cast) or node.this.type is None:
        return False
    if isinstance(node.this, exp.Literal):  # DATE '2016-07-01': read before any row is
        return True
    source, target = node.this.type, node.to
    if target.is_type(exp.DType.VARCHAR, exp.DType.TEXT):
        return not target.expressions
    exact = (*exp.DataType.INTEGER_TYPES, exp.DType.DECIMAL)
    return (source.is_type(*exact, exp.DType.FLOAT) and target.is_type(exp.DType.DOUBLE)) or (
        source.is_type(*exact) and target.is_type(*exact)
    )
