"""`null`: a NULL of the column's type, whatever the value."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import Context, Mask, MaskError, Rank
from catalog.types import TrinoType


class Null(Mask):
    """Any type; a typed NULL."""

    kind: ClassVar[str] = "null"
    rank: ClassVar[Rank] = Rank.null

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return pa.nulls(len(array), self.type.arrow())

    def duckdb(self, column: str, *beside: str) -> str:
        return f"CAST(NULL AS {self.type.duckdb()})"


def build(args: list[str], column_type: TrinoType, context: Context) -> Null:
    if args:
        raise MaskError("mask null takes no arguments")
    return Null("null", column_type)
