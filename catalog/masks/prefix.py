"""`prefix(n)`: the first n code points."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import TEXT, Context, Mask, MaskError, Rank, whole
from catalog.types import TrinoType


class Prefix(Mask):
    """Text. What is shorter stays as it is."""

    kind: ClassVar[str] = "prefix"
    rank: ClassVar[Rank] = Rank.generalise

    def __init__(self, text: str, column_type: TrinoType, count: int) -> None:
        super().__init__(text, column_type)
        self._accept(*TEXT)
        self.count = count
        length = column_type.args[0] if column_type.args else count
        self.type = TrinoType("varchar", (min(count, length),))

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, lambda v: v[: self.count])

    def duckdb(self, column: str, *beside: str) -> str:
        return f"substr({column}, 1, {self.count})"

    def source(self, dialect: str) -> str | None:
        """None in SQLite, whose substr ends at a NUL character, and for char(n), which engines pad."""
        if dialect == "sqlite" or self.column_type.name == "char":
            return None
        return f"LEFT(:c, {self.count})" if dialect != "duckdb" else f"SUBSTRING(:c, 1, {self.count})"

    def coarser_than(self, other: Mask) -> bool:
        return isinstance(other, Prefix) and self.count <= other.count


def build(args: list[str], column_type: TrinoType, context: Context) -> Prefix:
    if len(args) != 1:
        raise MaskError("mask prefix takes a number of characters")
    return Prefix(f"prefix({args[0]})", column_type, whole(args[0], "prefix", 1, 1000))
