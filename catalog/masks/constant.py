"""`constant(v)`: one value for all; NULL stays NULL unless `constant(v, null_too)`."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import date, datetime
from decimal import Context as DecimalContext
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, TEXT, Context, Mask, MaskError, Rank, sql_text, whole
from catalog.types import TrinoType


class Constant(Mask):
    """Text, number, date, timestamp, boolean or uuid; the value has the column's type."""

    kind: ClassVar[str] = "constant"
    rank: ClassVar[Rank] = Rank.constant

    def __init__(self, text: str, column_type: TrinoType, value: str, null_too: bool) -> None:
        super().__init__(text, column_type)
        self._accept(*TEXT, *INTEGERS, "decimal", "double", "date", "timestamp", "boolean", "uuid")
        self.value = value
        self.null_too = null_too
        self.shown = typed(value, column_type)

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        if self.null_too:
            return pa.array([self.shown] * len(array), self.type.arrow())
        return self._each(array, lambda v: self.shown)

    def duckdb(self, column: str, *beside: str) -> str:
        value = f"CAST({sql_text(self.value)} AS {self.type.duckdb()})"
        return value if self.null_too else f"CASE WHEN {column} IS NOT NULL THEN {value} END"

    def coarser_than(self, other: Mask) -> bool:
        """The same value; the one that hides NULL too hides more."""
        return isinstance(other, Constant) and self.value == other.value and (self.null_too or not other.null_too)


def typed(value: str, kind: TrinoType) -> Any:
    """A policy's literal as a value of `kind`. Raises MaskError."""
    if kind.is_text:
        if kind.args and len(value) > kind.args[0]:
            raise MaskError(f"constant {value!r} is longer than {kind}")
        return value
    if kind.is_integer:
        bits = {"tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63}[kind.name]
        return whole(value, "constant", -(2**bits), 2**bits - 1)
    try:
        found = _READERS[kind.name](value, kind)
    except (ValueError, InvalidOperation) as bad:
        raise MaskError(f"constant {value!r} is no {kind}") from bad
    if found is None:
        raise MaskError(f"constant {value!r} does not fit {kind}")
    return found


def _decimal(value: str, kind: TrinoType) -> Decimal | None:
    exact = Decimal(value)
    found = exact.quantize(Decimal(1).scaleb(-kind.args[1]), context=_WIDE)
    return found if found == exact and found.adjusted() < kind.args[0] - kind.args[1] else None


def _double(value: str, kind: TrinoType) -> float | None:
    found = float(Decimal(value))
    return found if math.isfinite(found) else None


def _timestamp(value: str, kind: TrinoType) -> datetime | None:
    found = datetime.fromisoformat(value)
    return found if found.tzinfo is None and not found.microsecond % 10 ** (6 - kind.args[0]) else None


def _boolean(value: str, kind: TrinoType) -> bool | None:
    return {"true": True, "false": False}.get(value)


def _uuid(value: str, kind: TrinoType) -> str | None:
    return value if str(uuid.UUID(value)) == value else None


_WIDE = DecimalContext(prec=100)
_READERS: dict[str, Callable[[str, TrinoType], Any]] = {
    "decimal": _decimal, "double": _double, "timestamp": _timestamp, "boolean": _boolean, "uuid": _uuid,
    "date": lambda value, kind: date.fromisoformat(value),
}  # fmt: skip


def build(args: list[str], column_type: TrinoType, context: Context) -> Constant:
    if len(args) not in (1, 2) or (len(args) == 2 and args[1] != "null_too"):
        raise MaskError("mask constant takes a value, and perhaps null_too")
    text = f"constant({', '.join(args)})"
    return Constant(text, column_type, args[0], len(args) == 2)
