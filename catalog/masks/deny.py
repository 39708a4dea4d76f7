"""`deny`: the column does not exist: not in `*`, not in metadata, not in errors."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import Context, Mask, MaskError, Rank
from catalog.types import TrinoType


class Deny(Mask):
    """Any type. A denied column is taken out before any value is read, so there is nothing to compute."""

    kind: ClassVar[str] = "deny"
    rank: ClassVar[Rank] = Rank.deny

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        raise MaskError("a denied column is never read")

    def duckdb(self, column: str, *beside: str) -> str:
        raise MaskError("a denied column is never read")


def build(args: list[str], column_type: TrinoType, context: Context) -> Deny:
    if args:
        raise MaskError("mask deny takes no arguments")
    return Deny("deny", column_type)
