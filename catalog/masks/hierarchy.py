"""`hierarchy(list, level)`: a code becomes its ancestor at `level` of a code list; unknown ones `other`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, TEXT, Context, Mask, MaskError, Rank, sql_text, whole
from catalog.types import VARCHAR, TrinoType


class Hierarchy(Mask):
    """Text or integer; varchar. Level 1 is nearest to the code, higher levels are coarser."""

    kind: ClassVar[str] = "hierarchy"
    rank: ClassVar[Rank] = Rank.generalise

    def __init__(
        self, text: str, column_type: TrinoType, name: str, level: int, codes: Mapping[str, tuple[str, ...]]
    ) -> None:
        super().__init__(text, column_type)
        self._accept(*TEXT, *INTEGERS)
        if any(len(ancestors) < level for ancestors in codes.values()):
            raise MaskError(f"mask {text}: code list {name} has no level {level} for every code")
        self.type = VARCHAR
        self.name, self.level = name, level
        self.parents = {code: ancestors[level - 1] for code, ancestors in codes.items()}

    def arrow(self, array: pa.Array) -> pa.Array:
        return self._each(array, lambda v: self.parents.get(str(v), "other"))

    def duckdb(self, column: str) -> str:
        codes = ", ".join(sql_text(c) for c in self.parents)
        parents = ", ".join(sql_text(p) for p in self.parents.values())
        lookup = f"map([{codes}], [{parents}])[CAST({column} AS VARCHAR)]" if self.parents else "NULL"
        return f"CASE WHEN {column} IS NOT NULL THEN coalesce({lookup}, 'other') END"

    def coarser_than(self, other: Mask) -> bool | None:
        if not isinstance(other, Hierarchy) or self.name != other.name:
            return None
        return self.level >= other.level


def build(args: list[str], column_type: TrinoType, context: Context) -> Hierarchy:
    if len(args) != 2:
        raise MaskError("mask hierarchy takes a code list and a level")
    codes = context.hierarchies.get(args[0])
    if codes is None:
        raise MaskError(f"code list {args[0]!r} is not among `hierarchies`")
    text = f"hierarchy({args[0]}, {args[1]})"
    return Hierarchy(text, column_type, args[0], whole(args[1], "hierarchy", 1, 20), codes)
