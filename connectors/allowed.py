"""What a source may be asked: a `NativeScan` is held to the `Capabilities` before any SQL exists.

Nothing here trusts the planner. Every name must stand in the scan's types, every literal must have its column's
type, every operator must be one that the source computes as Trino does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import pyarrow as pa

from catalog.duck.typing import decimal_of
from catalog.exchange import key_parts
from catalog.types import BOOLEAN, TrinoType
from connectors.base import (
    PART_TYPES,
    Aggregate,
    AllOf,
    AnyOf,
    Arithmetic,
    Blank,
    Capabilities,
    Case,
    Comparison,
    Computed,
    Condition,
    Exists,
    Expression,
    GroupKey,
    Like,
    NativeScan,
    NotIn,
    Number,
    Predicate,
    Scalar,
)

__all__ = [
    "MAX_KEYS",
    "MAX_PATTERN",
    "answers",
    "are_whole",
    "check",
    "check_query_id",
    "check_values",
    "columns_asked",
    "columns_of",
    "columns_read",
    "fitted",
    "is_one_row",
    "is_whole",
    "may_bind",
    "named",
    "never_fails",
    "never_raises",
    "result_of",
    "same_family",
    "widens",
]

MAX_KEYS = 100_000
MAX_PATTERN = 1_000
"""Characters of a LIKE pattern."""
MAX_SCALE = 30
"""Decimals after the point that every source keeps."""
SUMMED = 26
"""Digits of decimals of which a million millions add up to no more than 38."""
_COMPARE = ("=", "<>", "<", "<=", ">", ">=")
_QUERY_ID = re.compile(r"[A-Za-z0-9_]{0,80}\Z")
_INT64 = range(-(2**63), 2**63)
_WHOLE_NUMBERS = ("tinyint", "smallint", "integer", "bigint")


def check(scan: NativeScan, allowed: Capabilities) -> None:
    """Refuse what the source does not compute exactly as Trino. Raises ValueError naming the part."""
    _Check(allowed).scan(scan, {})


def check_query_id(query_id: str) -> None:
    """Refuse what could end the comment that it stands in. Raises ValueError."""
    if not _QUERY_ID.match(query_id):
        raise ValueError("a query id has letters, digits and _ only, at most 80")


@dataclass(frozen=True)
class _Check:
    """Walks a scan. types: of the columns in sight, those of the scans around included."""

    allowed: Capabilities

    def scan(self, scan: NativeScan, around: Mapping[str, TrinoType]) -> None:
        if bool(scan.columns) == bool(scan.group_by or scan.aggregates):
            raise ValueError("a scan reads columns or groups, one of the two")
        check_query_id(scan.query_id)
        if scan.limit is not None and (scan.limit < 0 or not scan.columns):
            raise ValueError("a limit needs a plain scan and cannot be negative")
        if scan.order and (not scan.columns or (scan.limit is None and not self.allowed.sorts)):
            raise ValueError("an order needs a plain scan, and a limit where whole answers are not sorted")
        if scan.ties and not (self.allowed.ties and scan.order and scan.limit):
            raise ValueError("ties are not pushed, or not without an order and a limit")
        for order in scan.order:
            type_ = _type(scan.types, order.column)
            if type_.name not in self.allowed.orders:
                raise ValueError(f"order by {order.column!r}: not pushed on {type_}")
        if not isinstance(scan.relation, str):
            delivered = self._parts(scan.relation, around)
            if scan.row_filters or scan.is_query or scan.types != delivered:
                raise ValueError("a join has its parts' columns in their types, and nothing of an owner's text")
        types = {**around, **scan.types}
        for output in scan.columns:
            _type(scan.types, output.column)
        self._conjunction(scan.predicates, types)
        for columns, keys in scan.keys:
            for column in columns:
                type_ = _type(types, column)
                if not may_bind(type_, columns, self.allowed):
                    raise ValueError(f"keys on {column!r}: not pushed on {type_}")
            parts = keys.flatten() if len(columns) > 1 else [keys]
            if len(keys) > MAX_KEYS or len(parts) != len(columns) or any(part.null_count for part in parts):
                raise ValueError(f"keys on {columns}: at most {MAX_KEYS}, none of them NULL, a part for each column")
        for key in scan.group_by:
            self._group_key(key, types)
        for aggregate in scan.aggregates:
            self._aggregate(aggregate, types)

    def _parts(self, parts: tuple[NativeScan, ...], around: Mapping[str, TrinoType]) -> dict[str, TrinoType]:
        """Column -> type of what scans deliver that are to be joined."""
        if not self.allowed.joins or not parts:
            raise ValueError("joins are not pushed")
        found: dict[str, TrinoType] = {}
        for part in parts:
            outputs = dict(part.outputs)
            if part.limit is not None or part.order or (found.keys() | around.keys()) & outputs.keys():
                raise ValueError("a part of a join is read whole, and its columns have names of their own")
            self.scan(part, {})
            found |= outputs
        return found

    def _conjunction(self, conditions: tuple[Condition, ...], types: Mapping[str, TrinoType]) -> None:
        for condition in conditions:
            if isinstance(condition, Exists):
                found = self._parts(condition.parts, types)
                self._conjunction(condition.conditions, {**types, **found})
                if not answers(self.allowed, condition.conditions, found):
                    raise ValueError("EXISTS is not pushed, or not with these comparisons")
            elif isinstance(condition, NotIn):
                self._not_in(condition, types)
            elif isinstance(condition, Scalar):
                self._scalar(condition, types)
            else:
                self.condition(condition, types)

    def _not_in(self, condition: NotIn, types: Mapping[str, TrinoType]) -> None:
        found = self._parts((condition.part,), types)
        if not self.allowed.excludes or len(found) != 1:
            raise ValueError("NOT IN is not pushed, or not over so many columns")
        ((name, _),) = found.items()
        self.condition(Comparison(condition.column, "<>", name), {**types, **found})

    def _scalar(self, condition: Scalar, types: Mapping[str, TrinoType]) -> None:
        found = self._parts((condition.part,), types)
        kind, part = _type(types, condition.column), condition.part
        lone = len(found) == 1 and len(part.parts) == 1 and is_one_row(part.parts[0]) and not part.predicates
        if not self.allowed.scalars or condition.op not in _COMPARE or not lone or not never_fails(part):
            raise ValueError("comparing with a scan is not pushed, or not with such a scan")
        if not kind.is_exact or not all(same_family(kind, k) for k in found.values()):
            raise ValueError(f"comparing {condition.column!r} with a scan: not pushed on {kind}")

    def condition(self, condition: Condition, types: Mapping[str, TrinoType]) -> None:
        match condition:
            case Predicate():
                self._predicate(condition, _type(types, condition.column))
            case Comparison(left, op, right):
                kinds = _type(types, left), _type(types, right)
                if op not in _COMPARE or kinds[0].name not in self.allowed.compares or not same_family(*kinds):
                    raise ValueError(f"{op!r} on {left!r} and {right!r}: not pushed on {kinds[0]} and {kinds[1]}")
            case Computed(left, op, right):
                sides = (left, right)
                if op not in _COMPARE or not self.allowed.computes or not all(map(never_raises, sides)):
                    raise ValueError(f"{op!r} on what is computed: not pushed")
                if not all(self.expression(side, types).is_exact for side in sides):
                    raise ValueError(f"{op!r} on what is computed: no number")
            case Like(column, pattern):
                unfit = self.allowed.likes is None or set(self.allowed.likes) & set(pattern)
                if unfit or _type(types, column).name != "varchar" or len(pattern) > MAX_PATTERN:
                    raise ValueError(f"LIKE on {column!r}: not pushed")
                check_values((pattern,), _type(types, column), column)
            case AllOf(parts) | AnyOf(parts):
                if not parts:
                    raise ValueError("AND and OR have parts")
                for part in parts:
                    self.condition(part, types)
            case Exists() | NotIn() | Scalar():
                raise ValueError("what asks another scan stands alone, not below OR")

    def _predicate(self, predicate: Predicate, type_: TrinoType) -> None:
        if type_.name not in self.allowed.predicates.get(predicate.op, frozenset()):
            raise ValueError(f"{predicate.op!r} on {predicate.column!r}: not pushed on {type_}")
        count = len(predicate.values)
        wanted = {"is null": 0, "is not null": 0, "in": count}.get(predicate.op, 1)
        if count != wanted or count > MAX_KEYS:
            raise ValueError(f"{predicate.op!r} on {predicate.column!r}: {count} values")
        check_values(predicate.values, type_, predicate.column)

    def _group_key(self, key: GroupKey, types: Mapping[str, TrinoType]) -> None:
        if key.truth is not None:
            if not self.allowed.tests or key.column or key.function or key.form or key.type != BOOLEAN:
                raise ValueError("grouping by a condition is not pushed")
            self.condition(key.truth.holds, types)
            self.condition(key.truth.fails, types)
            return
        type_ = _type(types, key.column)
        if key.function is not None and (key.function not in self.allowed.key_functions):
            raise ValueError(f"grouping by {key.function} is not pushed")
        if key.form and (key.function is not None or not self.allowed.masks):
            raise ValueError(f"grouping by a mask of {key.column!r} is not pushed")
        if key.function is None and type_.name not in self.allowed.group_types:
            raise ValueError(f"grouping by {key.column!r}: not pushed on {key.type}")
        if key.function is not None and type_.name not in ("date", "timestamp"):
            raise ValueError(f"{key.function} of {key.column!r}: needs a date")

    def _aggregate(self, aggregate: Aggregate, types: Mapping[str, TrinoType]) -> None:
        if aggregate.value is None:
            if aggregate.function != "count" or aggregate.distinct or "count" not in self.allowed.aggregates:
                raise ValueError(f"{aggregate.function}(*) is not pushed")
            return
        type_ = self.expression(aggregate.value, types)
        if type_.name not in self.allowed.aggregates.get(aggregate.function, frozenset()):
            raise ValueError(f"{aggregate.function} of {aggregate.value!r}: not pushed on {type_}")
        if aggregate.distinct and (aggregate.function != "count" or type_.name not in self.allowed.distinct):
            raise ValueError(f"different values of {aggregate.value!r}: not pushed on {type_}")
        if aggregate.function == "avg" and (type_.args[0] > self.allowed.averages or aggregate.type != type_):
            raise ValueError(f"an average of {aggregate.value!r}: not pushed on {type_}")

    def expression(self, value: Expression, types: Mapping[str, TrinoType]) -> TrinoType:
        match value:
            case str():
                return _type(types, value)
            case Number(number, type_):
                check_values((number,), type_, "a number")
            case Arithmetic(op, left, right, type_):
                kinds = [self.expression(side, types) for side in (left, right)]
                whole = result_of(op, *kinds)
                is_held = whole is not None and whole.args[1:] == type_.args[1:] and type_.args[0] < whole.args[0]
                if op not in ("+", "-", "*") or whole is None or not (whole == type_ or is_held):
                    raise ValueError(f"{op} of {kinds[0]} and {kinds[1]} is no {type_}")
                if type_.args[0] > self.allowed.arithmetic or (is_held and self.allowed.arithmetic < 38):
                    raise ValueError(f"{op} is not pushed on {type_}")
            case Case(when, then, otherwise, type_):
                self.condition(when, types)
                for branch in (then, otherwise):
                    if branch is not None and not widens(self.expression(branch, types), type_):
                        raise ValueError(f"CASE: a branch is no {type_}")
        return type_


def answers(allowed: Capabilities, conditions: Iterable[Condition], own: Container[str]) -> bool:
    """Whether a source answers an EXISTS with these conditions quickly. own: the columns of what is asked."""
    if allowed.exists != "=":
        return allowed.exists == "any"
    across = [c for c in conditions if any(name not in own for name in named(c))]
    return all(isinstance(c, Comparison) and c.op == "=" for c in across)


def is_one_row(scan: NativeScan) -> bool:
    """Whether a scan delivers one row, whatever there is."""
    return bool(scan.aggregates) and not scan.group_by


def never_raises(value: Expression) -> bool:
    """Whether computing it is no error, whatever its columns hold: numbers with room for each digit."""
    match value:
        case str() | Number():
            return True
        case Arithmetic(_, left, right, type_):
            return type_.args[0] < 38 and never_raises(left) and never_raises(right)
        case Case(_, then, otherwise):
            return never_raises(then) and (otherwise is None or never_raises(otherwise))


def never_fails(scan: NativeScan) -> bool:
    """Whether what a scan delivers is no error, whatever its columns hold.

    In a condition nothing may be one: it is looked at for a row that fulfils all others, of the hidden ones too.
    """
    parts = list(scan.scans())
    sums = all(_never_fails(aggregate, part.types) for part in parts for aggregate in part.aggregates)
    return sums and not any(key.function for part in parts for key in part.group_by)  # 'infinity' has no year


def _never_fails(aggregate: Aggregate, types: Mapping[str, TrinoType]) -> bool:
    value = aggregate.value
    if value is None or not never_raises(value):
        return value is None
    type_ = types[value] if isinstance(value, str) else value.type
    if aggregate.function not in ("sum", "avg"):
        return True
    # Of bigint a sum may have no room, which is an error in Trino and a larger number in a source's condition.
    return type_.name in ("tinyint", "smallint", "integer") if type_.is_integer else type_.args[0] <= SUMMED


def fitted(predicate: Predicate, type_: TrinoType) -> Predicate | bool:
    """A condition on decimals beside literals of their own type; True if it holds of all of them, False if of none.

    A literal that lies between two of the type, or beyond them all, is as good as its neighbour. An engine would bring
    both sides into a type of both, and where that has no room for a value the error would tell of it, hidden or not.
    """
    if type_.name != "decimal" or not predicate.values:
        return predicate
    op, exact = predicate.op, [Decimal(v) for v in predicate.values]  # type: ignore[arg-type]
    precision, scale = type_.args
    unit, most = Decimal(1).scaleb(-scale), Decimal(10**precision - 1).scaleb(-scale, _WIDE)
    if op in ("=", "<>", "in"):
        within = tuple(
            v.quantize(unit, context=_WIDE) for v in exact if v.copy_abs() <= most and not _WIDE.remainder(v, unit)
        )
        return replace(predicate, values=within) if within else op == "<>"
    up = op in (">", ">=")
    if exact[0].copy_abs() > most:
        return up is (exact[0] < 0)
    near = exact[0].quantize(unit, ROUND_CEILING if up else ROUND_FLOOR, _WIDE)
    return replace(predicate, op=op if near == exact[0] else ">=" if up else "<=", values=(near,))


_WIDE = Context(prec=80)
"""For decimals of any type, and whatever lies between them."""


def may_bind(kind: TrinoType, columns: Sized, allowed: Capabilities) -> bool:
    """Whether a source looks for keys in a column of a type. columns: all that have a part of the key."""
    return kind.name in allowed.keys and (len(columns) == 1 or kind.name in PART_TYPES)


def named(condition: Condition) -> Iterator[str]:
    """The columns of a condition."""
    match condition:
        case Comparison(left, _, right):
            yield from (left, right)
        case Computed(one, _, other):
            yield from (*columns_of(one), *columns_of(other))
        case Predicate() | Like() | NotIn() | Scalar():
            yield condition.column
        case AllOf(parts) | AnyOf(parts) | Exists(_, parts):
            for part in parts:
                yield from named(part)


def columns_of(value: Expression) -> Iterator[str]:
    """The columns of an expression."""
    match value:
        case str():
            yield value
        case Arithmetic(_, left, right):
            yield from (*columns_of(left), *columns_of(right))
        case Case(when, then, otherwise):
            yield from named(when)
            yield from (*columns_of(then), *(columns_of(otherwise) if otherwise is not None else ()))


def columns_asked(scan: NativeScan) -> set[str]:
    """Of those that a scan knows, the columns of its own conditions; an owner's filter may name others."""
    found = {c for columns, _ in scan.keys for c in columns} | {c for p in scan.predicates for c in named(p)}
    return found & scan.types.keys()


def columns_read(scan: NativeScan) -> set[str]:
    """Of those that a scan knows, the columns that it reads; an owner's filter may name others."""
    found = {o.column for o in scan.columns} | {k.column for k in scan.group_by} | {o.column for o in scan.order}
    found |= {c for k in scan.group_by if k.truth is not None for c in (*named(k.truth.holds), *named(k.truth.fails))}
    found |= {c for a in scan.aggregates if a.value is not None for c in columns_of(a.value)}
    return found & scan.types.keys() | columns_asked(scan)


def same_family(a: TrinoType, b: TrinoType) -> bool:
    """Whether the two compare without a conversion that sources might do in ways of their own."""
    return a == b or (a.is_integer and b.is_integer) or a.name == b.name == "varchar"


def widens(a: TrinoType, b: TrinoType) -> bool:
    """Whether every number of type a is one of type b."""
    if a == b or (a.is_integer and b.is_integer):
        return a == b or b.name == "bigint" or _WHOLE_NUMBERS.index(a.name) <= _WHOLE_NUMBERS.index(b.name)
    digits = decimal_of(a)
    return (
        b.name == "decimal"
        and digits is not None
        and (digits[1] <= b.args[1] and digits[0] - digits[1] <= b.args[0] - b.args[1])
    )


def result_of(op: str, a: TrinoType, b: TrinoType) -> TrinoType | None:
    """Trino's type of `a op b` for + - *, None unless one of them is a decimal and both are exact."""
    left, right = decimal_of(a), decimal_of(b)
    if left is None or right is None or "decimal" not in (a.name, b.name):
        return None
    (p1, s1), (p2, s2) = left, right
    if op == "*":
        return TrinoType("decimal", (min(38, p1 + p2), s1 + s2)) if s1 + s2 <= MAX_SCALE else None
    scale = max(s1, s2)
    return TrinoType("decimal", (min(38, max(p1 - s1, p2 - s2) + scale + 1), scale))


def _type(types: Mapping[str, TrinoType], column: str) -> TrinoType:
    found = types.get(column)
    if found is None:
        raise ValueError(f"column {column!r} has no declared type in this scan")
    return found


def check_values(values: Iterable[Any], type_: TrinoType, column: str) -> None:
    """Literals must already have their column's type: nothing is converted on the way to a source."""
    fits = _LITERALS.get(type_.name, lambda _value: False)
    if not all(map(fits, values)):
        raise ValueError(f"a literal for {column!r} is no {type_}")


def is_whole(value: object) -> bool:
    """Whether it is a literal for columns of whole numbers, which are all asked for 64 bits."""
    return type(value) is int and value in _INT64


def are_whole(keys: pa.Array) -> bool:
    """Whether a set of keys is of whole numbers, or of rows of such, none of them NULL."""
    return all(pa.types.is_signed_integer(part.type) and not part.null_count for part in key_parts(keys))


_LITERALS: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda v: type(v) is bool,
    "decimal": lambda v: type(v) in (int, Decimal) and Decimal(v).is_finite(),
    "double": lambda v: type(v) in (int, float) and math.isfinite(v),
    "varchar": lambda v: type(v) is str and "\0" not in v and _is_unicode(v),
    "date": lambda v: type(v) is date,
    "timestamp": lambda v: type(v) is datetime and v.tzinfo is None,
    "timestamp with time zone": lambda v: type(v) is datetime and v.tzinfo is UTC,
} | dict.fromkeys(_WHOLE_NUMBERS, lambda v: is_whole(v) or type(v) is Blank)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
