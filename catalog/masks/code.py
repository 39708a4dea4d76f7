"""`top_code(hi)`, `bottom_code(lo)`: values beyond the limit become the limit."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, Context, Mask, MaskError, Rank, source_number
from catalog.masks.constant import typed
from catalog.types import TrinoType


class _Code(Mask):
    """Integer or decimal; the limit has the column's type."""

    rank: ClassVar[Rank] = Rank.partial

    def __init__(self, text: str, column_type: TrinoType, limit: str) -> None:
        super().__init__(text, column_type)
        self._accept(*INTEGERS, "decimal")
        typed(limit, column_type)
        self.limit = Decimal(limit)

    def _source(self, dialect: str, op: str) -> str | None:
        if self.column_type.name == "decimal" and dialect == "sqlite":
            return None
        limit = source_number(int(self.limit) if self.column_type.is_integer else self.limit)
        return f"CASE WHEN :c {op} {limit} THEN {limit} ELSE :c END"

    def _literal(self) -> str:
        return f"CAST('{self.limit}' AS {self.type.duckdb()})"


class TopCode(_Code):
    kind: ClassVar[str] = "top_code"

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, lambda v: _same(min(Decimal(v), self.limit), v))

    def duckdb(self, column: str, *beside: str) -> str:
        return f"CASE WHEN {column} IS NOT NULL THEN least({column}, {self._literal()}) END"

    def source(self, dialect: str) -> str | None:
        return self._source(dialect, ">")

    def coarser_than(self, other: Mask) -> bool:
        return isinstance(other, TopCode) and self.limit <= other.limit


class BottomCode(_Code):
    kind: ClassVar[str] = "bottom_code"

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, lambda v: _same(max(Decimal(v), self.limit), v))

    def duckdb(self, column: str, *beside: str) -> str:
        return f"CASE WHEN {column} IS NOT NULL THEN greatest({column}, {self._literal()}) END"

    def source(self, dialect: str) -> str | None:
        return self._source(dialect, "<")

    def coarser_than(self, other: Mask) -> bool:
        return isinstance(other, BottomCode) and self.limit >= other.limit


def _same(found: Decimal, like: int | Decimal) -> int | Decimal:
    return int(found) if isinstance(like, int) else found


def _limit(kind: str, args: list[str]) -> str:
    try:
        Decimal(args[0] if len(args) == 1 else "none")
    except InvalidOperation as bad:
        raise MaskError(f"mask {kind} takes one number") from bad
    return args[0]


def build_top(args: list[str], column_type: TrinoType, context: Context) -> TopCode:
    limit = _limit("top_code", args)
    return TopCode(f"top_code({limit})", column_type, limit)


def build_bottom(args: list[str], column_type: TrinoType, context: Context) -> BottomCode:
    limit = _limit("bottom_code", args)
    return BottomCode(f"bottom_code({limit})", column_type, limit)
