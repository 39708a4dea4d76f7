"""Conditions over few rows: read from a query tree, and the rows of which they are true.

    condition = read(node, find)         find: a column's node -> its place and type
    kept = condition.keep(column, rows)  column: a place -> its values; rows: numbers of rows

Proof. A condition is true, false or unknown, and only rows of which it is true pass. NOT is moved inwards while it is
read: Kleene's logic has De Morgan's laws, and NOT of a comparison is the opposite comparison, which is unknown of the
same rows (those with a NULL). What is left are AND and OR over comparisons, and there "is true" is all that counts: AND
is true of the rows of which all parts are, OR of those of which one is. BETWEEN is two comparisons, IN with literals is
unknown of NULL alone, IS NULL is never unknown. What nested queries mean is proved in `joins`.

Values are compared as Trino compares them: integers by value, texts by their code points (the order of their UTF-8
bytes), days by their number, FALSE before TRUE. A decimal is the number of its smallest units, in whole numbers of any
length; two scales are brought to one before. The engine compares them in their common type, which holds all digits of
both: where it would need more than 38, the condition is the engine's. A literal times a column is a number of the
smallest units of the decimal that Trino makes of both. It fits in there: a column's units are 64 bits, and a literal
whose units times these need more than 38 digits is the engine's too.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import pyarrow as pa
from sqlglot import exp

from catalog.duck.typing import Typed, arithmetic, decimal_of
from catalog.types import BIGINT, INTEGER, TrinoType
from gateway.rewrite.tree import parts_of

__all__ = [
    "DIGITS", "All", "Among", "Condition", "Find", "OtherShape", "Pair", "Place", "ReadColumn", "factors",
    "is_readable", "number", "only", "read", "values",
]  # fmt: skip

Place = tuple[int, str]
"""Which of the answers, and its column."""
Find = Callable[[exp.Expr], tuple[Place, TrinoType]]
"""A column's place and type. Raises OtherShape."""
ReadColumn = Callable[[Place], list[Any]]
"""A column's values, one a row."""
Compare = Callable[[Any, Any], bool]

DIGITS = 38
"""Of the longest decimal."""
_COMPARE: dict[type[exp.Expr], Compare] = {
    exp.EQ: operator.eq, exp.NEQ: operator.ne, exp.LT: operator.lt, exp.LTE: operator.le,
    exp.GT: operator.gt, exp.GTE: operator.ge,
}  # fmt: skip
_OPPOSITE: dict[Compare, Compare] = {
    operator.eq: operator.ne, operator.ne: operator.eq, operator.lt: operator.ge, operator.ge: operator.lt,
    operator.gt: operator.le, operator.le: operator.gt,
}  # fmt: skip
_MIRRORED: dict[Compare, Compare] = {
    operator.eq: operator.eq, operator.ne: operator.ne, operator.lt: operator.gt, operator.gt: operator.lt,
    operator.le: operator.ge, operator.ge: operator.le,
}  # fmt: skip
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH = date(1970, 1, 1).toordinal()


class OtherShape(Exception):
    """This is the engine's."""


def only(node: exp.Expr, *names: str) -> None:
    """Raise OtherShape for a node that carries anything else."""
    if any(value and name not in names for name, value in node.args.items()):
        raise OtherShape


@dataclass(frozen=True, slots=True)
class Test:
    """`column < value`, of no NULL."""

    place: Place
    compare: Compare
    value: object

    def places(self) -> Iterator[Place]:
        yield self.place

    def keep(self, column: ReadColumn, rows: Iterable[int]) -> list[int]:
        found, compare, wanted = column(self.place), self.compare, self.value
        return [k for k in rows if (value := found[k]) is not None and compare(value, wanted)]


@dataclass(frozen=True, slots=True)
class Pair:
    """`column < column`, both without NULL. times: literals, and what makes one scale of two."""

    left: Place
    compare: Compare
    right: Place
    times: tuple[int, int] = (1, 1)

    @property
    def is_equality(self) -> bool:
        """Whether the values themselves are equal where this is true."""
        return self.compare is operator.eq and self.times == (1, 1)

    def places(self) -> Iterator[Place]:
        yield self.left
        yield self.right

    def keep(self, column: ReadColumn, rows: Iterable[int]) -> list[int]:
        lefts, rights, compare, (m, n) = column(self.left), column(self.right), self.compare, self.times
        if not m == n == 1:
            lefts, rights = _times(m, lefts), _times(n, rights)
        return [k for k in rows if (a := lefts[k]) is not None and (b := rights[k]) is not None and compare(a, b)]


def _times(factor: int, values: list[Any]) -> list[Any]:
    return [None if value is None else value * factor for value in values]


@dataclass(frozen=True, slots=True)
class Null:
    """`column IS NULL`, or IS NOT NULL."""

    place: Place
    is_null: bool

    def places(self) -> Iterator[Place]:
        yield self.place

    def keep(self, column: ReadColumn, rows: Iterable[int]) -> list[int]:
        found = column(self.place)
        return [k for k in rows if (found[k] is None) is self.is_null]


@dataclass(frozen=True, slots=True)
class Among:
    """Whether a column's value is one of these, or is none of them, as NULL is."""

    place: Place
    values: frozenset[object]
    holds: bool

    def places(self) -> Iterator[Place]:
        yield self.place

    def keep(self, column: ReadColumn, rows: Iterable[int]) -> list[int]:
        found, wanted, holds = column(self.place), self.values, self.holds
        return [k for k in rows if (found[k] in wanted) is holds]


@dataclass(frozen=True, slots=True)
class _Parts:
    parts: tuple[Condition, ...]

    def places(self) -> Iterator[Place]:
        for part in self.parts:
            yield from part.places()


class All(_Parts):
    __slots__ = ()

    def keep(self, column: ReadColumn, rows: Iterable[int]) -> list[int]:
        kept = list(rows)
        for part in self.parts:
            kept = part.keep(column, kept)
        return kept


class Some(_Parts):
    __slots__ = ()

    def keep(self, column: ReadColumn, rows: Iterable[int]) -> list[int]:
        waiting = list(rows)
        passed: set[int] = set()
        for part in self.parts:
            passed.update(part.keep(column, (k for k in waiting if k not in passed)))
        return [k for k in waiting if k in passed]


Condition = Test | Pair | Null | Among | All | Some


# ---- reading


def read(node: exp.Expr, find: Find, holds: bool = True) -> Condition:
    """A condition, or with `holds` false what is true where it is false. Raises OtherShape."""
    while isinstance(node, (exp.Paren, exp.Not)):
        node, holds = node.this, holds is not isinstance(node, exp.Not)
    if isinstance(node, (exp.And, exp.Or)):
        parts = tuple(read(part, find, holds) for part in parts_of(node))
        return All(parts) if isinstance(node, exp.And) is holds else Some(parts)
    if isinstance(node, exp.Column):
        place, kind = find(node)
        if kind.name != "boolean":
            raise OtherShape
        return Test(place, operator.eq, holds)
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return Null(find(node.this)[0], holds)
    if isinstance(node, exp.Between):
        only(node, "this", "low", "high")
        ends = ((operator.ge, node.args["low"]), (operator.le, node.args["high"]))
        both = tuple(_compared(node.this, op if holds else _OPPOSITE[op], end, find) for op, end in ends)
        return All(both) if holds else Some(both)
    if isinstance(node, exp.In):
        only(node, "this", "expressions")
        place, kind = find(node.this)
        return Test(place, _is_in if holds else _is_not_in, frozenset(_literals(node.expressions, kind)))
    compare = _COMPARE.get(type(node))
    if compare is None:
        raise OtherShape
    return _compared(node.this, compare if holds else _OPPOSITE[compare], node.expression, find)


def _is_in(value: object, wanted: frozenset[object]) -> bool:
    return value in wanted


def _is_not_in(value: object, wanted: frozenset[object]) -> bool:
    return value not in wanted


def _compared(left: exp.Expr, compare: Compare, right: exp.Expr, find: Find) -> Condition:
    if not _has_column(left):
        left, compare, right = right, _MIRRORED[compare], left
    if not _has_column(right):
        place, kind = find(left)
        return Test(place, compare, _literals([right], kind)[0])
    (place, kind, m), (other, its, n) = _multiple(left, find), _multiple(right, find)
    a, b = factors(kind, its)
    return Pair(place, compare, other, (m * a, n * b))


def _has_column(node: exp.Expr) -> bool:
    return isinstance(node.unnest(), (exp.Column, exp.Mul))


def _multiple(node: exp.Expr, find: Find) -> tuple[Place, TrinoType, int]:
    """`column` or `literal * column`: the column, the type, and how many of its units each of the column's makes."""
    node = node.unnest()
    if not isinstance(node, exp.Mul):
        return *find(node), 1
    only(node, "this", "expression")
    literal, column = sorted((node.this, node.expression), key=_has_column)
    (units, its), (place, kind) = number(literal), find(column)
    if not kind.is_exact:
        raise OtherShape
    product = arithmetic("*", Typed("", its), Typed("", kind)).type
    if product.name != "decimal" or abs(units) << 63 >= 10**DIGITS:  # a product of integers may have no room
        raise OtherShape
    return place, product, units


def factors(kind: TrinoType, its: TrinoType) -> tuple[int, int]:
    """What makes one scale of these types' values. Raises OtherShape for types that are not compared by values."""
    if not kind.is_exact:
        if kind.name != its.name:
            raise OtherShape
        return 1, 1
    a, b = _scales((kind, its))
    return 10 ** max(0, b - a), 10 ** max(0, a - b)


def _scales(kinds: Sequence[TrinoType]) -> list[int]:
    """The scales of numbers that are compared with each other. Raises OtherShape if some digits may be lost."""
    sizes = [size for size in map(decimal_of, kinds) if size is not None]
    scales = [scale for _, scale in sizes]
    if len(sizes) < len(kinds) or max(p - s for p, s in sizes) + max(scales) > DIGITS:
        raise OtherShape
    return scales


def _literals(nodes: Sequence[exp.Expr], kind: TrinoType) -> list[object]:
    """Literals as the values of a column of this type, in whose list they stand."""
    if kind.is_exact:
        found = [number(node) for node in nodes]
        own, *scales = _scales([kind, *(k for _, k in found)])
        return [
            units * 10 ** (own - scale) if scale <= own else Fraction(units, 10 ** (scale - own))
            for (units, _), scale in zip(found, scales, strict=True)
        ]
    return [_literal(node, kind) for node in nodes]


def _literal(node: exp.Expr, kind: TrinoType) -> object:
    if kind.name == "varchar" and isinstance(node, exp.Literal) and node.is_string:
        return node.name
    if kind.name == "boolean" and isinstance(node, exp.Boolean):
        return node.this
    if kind.name == "date" and isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        only(node, "this", "to", "safe")
        with suppress(ValueError):
            if node.to.is_type(exp.DataType.Type.DATE) and _DAY.fullmatch(node.this.name):
                return date.fromisoformat(node.this.name).toordinal() - _EPOCH
    raise OtherShape


def number(node: exp.Expr) -> tuple[int, TrinoType]:
    """The smallest units and the type of an exact number's literal, as the compiler reads it. Raises OtherShape."""
    if isinstance(node, exp.Neg):
        units, kind = number(node.this)
        return -units, kind
    text = node.name if isinstance(node, exp.Literal) and not node.is_string and len(node.name) <= DIGITS else ""
    whole, point, fraction = text.partition(".")
    if not (whole + fraction).isdecimal() or not text.isascii():
        raise OtherShape
    units = int(whole + fraction)
    if point:
        digits = len(whole.lstrip("0")) + len(fraction)
        return units, TrinoType("decimal", (max(digits, 1), len(fraction)))
    if units >= 1 << 63:
        raise OtherShape
    return units, INTEGER if units < 1 << 31 else BIGINT


# ---- values


def values(column: pa.ChunkedArray, kind: TrinoType) -> list[Any]:
    """Python's values of a column; of a day its number, of a decimal that of its smallest units.

    Raises OtherShape for other types, and for a decimal of more units than 64 bits hold.
    """
    if column.type != kind.arrow():
        raise OtherShape
    if kind.name == "date":
        column = column.cast(pa.int32())
    elif kind.name == "decimal":
        try:
            column = column.combine_chunks().view(pa.decimal128(DIGITS, 0)).cast(pa.int64())
        except pa.ArrowInvalid as large:
            raise OtherShape from large
    return list(column.to_pylist())


def is_readable(kind: TrinoType) -> bool:
    return kind.is_exact or kind.name in ("varchar", "date", "boolean")
