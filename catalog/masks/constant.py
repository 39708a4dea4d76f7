"""`constant(v)`: one value for all; NULL stays NULL unless `constant(v, null_too)`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, TEXT, Context, Mask, MaskError, Rank, sql_text, whole
from catalog.types import TrinoType


class Constant(Mask):
    """Text, integer, decimal, date or boolean; the value has the column's type."""

    kind: ClassVar[str] = "constant"
    rank: ClassVar[Rank] = Rank.constant

    def __init__(self, text: str, column_type: TrinoType, value: str, null_too: bool) -> None:
        super().__init__(text, column_type)
        self._accept(*TEXT, *INTEGERS, "decimal", "date", "boolean")
        self.value = value
        self.null_too = null_too
        self._python = _typed(value, column_type)

    def arrow(self, array: pa.Array) -> pa.Array:
        if self.null_too:
            return pa.array([self._python] * len(array), self.type.arrow())
        return self._each(array, lambda v: self._python)

    def duckdb(self, column: str) -> str:
        value = f"CAST({sql_text(self.value)} AS {self.type.duckdb()})"
        return value if self.null_too else f"CASE WHEN {column} IS NOT NULL THEN {value} END"


def _typed(value: str, kind: TrinoType) -> Any:
    if kind.is_text:
        if kind.args and len(value) > kind.args[0]:
            raise MaskError(f"constant {value!r} is longer than {kind}")
        return value
    if kind.is_integer:
        bits = {"tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63}[kind.name]
        return whole(value, "constant", -(2**bits), 2**bits - 1)
    try:
        if kind.name == "decimal":
            found = Decimal(value).quantize(Decimal(1).scaleb(-kind.args[1]))
            if found != Decimal(value) or found.adjusted() >= kind.args[0] - kind.args[1]:
                raise MaskError(f"constant {value!r} does not fit {kind}")
            return found
        if kind.name == "date":
            return date.fromisoformat(value)
    except (ValueError, InvalidOperation) as bad:
        raise MaskError(f"constant {value!r} is no {kind}") from bad
    if value not in ("true", "false"):
        raise MaskError(f"constant {value!r} is no {kind}")
    return value == "true"


def build(args: list[str], column_type: TrinoType, context: Context) -> Constant:
    if len(args) not in (1, 2) or (len(args) == 2 and args[1] != "null_too"):
        raise MaskError("mask constant takes a value, and perhaps null_too")
    text = f"constant({', '.join(args)})"
    return Constant(text, column_type, args[0], len(args) == 2)
