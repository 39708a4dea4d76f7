"""`hierarchy(list, level)`: a code becomes its ancestor at `level` of a code list; unknown ones `other`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import (
    INTEGERS,
    TEXT,
    Context,
    Mask,
    MaskError,
    Rank,
    source_number,
    source_text,
    sql_text,
    whole,
)
from catalog.types import VARCHAR, TrinoType

_CODES = 500
"""A longer list is not worth its text in every statement."""


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

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, lambda v: self.parents.get(str(v), "other"))

    def duckdb(self, column: str, *beside: str) -> str:
        codes = ", ".join(sql_text(c) for c in self.parents)
        parents = ", ".join(sql_text(p) for p in self.parents.values())
        lookup = f"map([{codes}], [{parents}])[CAST({column} AS VARCHAR)]" if self.parents else "NULL"
        return f"CASE WHEN {column} IS NOT NULL THEN coalesce({lookup}, 'other') END"

    def source(self, dialect: str) -> str | None:
        """For short lists of plain codes."""
        by_parent: dict[str, list[str]] = {}
        for code, parent in self.parents.items():
            by_parent.setdefault(parent, []).append(code)
        literal = _integer if self.column_type.is_integer else source_text
        cases = []
        for parent, codes in by_parent.items():
            label, found = source_text(parent), [literal(c) for c in codes]
            if label is None or None in found:
                return None
            cases.append(f"WHEN :c IN ({', '.join(f for f in found if f)}) THEN {label}")
        if len(self.parents) > _CODES or self.column_type.name == "char":
            return None
        return f"CASE {' '.join(cases)} WHEN NOT :c IS NULL THEN 'other' END"

    def coarser_than(self, other: Mask) -> bool:
        """If the other's level decides this one's for every code: a list may not be a tree."""
        if not isinstance(other, Hierarchy) or self.name != other.name or self.level < other.level:
            return False
        decided = {"other": "other"}
        return all(decided.setdefault(other.parents[code], own) == own for code, own in self.parents.items())


def _integer(code: str) -> str | None:
    """A code that an integer's own decimal text can equal; others would need to be left out one by one."""
    plain = code.isascii() and code.lstrip("-").isdigit() and str(int(code)) == code
    return source_number(int(code)) if plain and abs(int(code)) < 2**63 else None


def build(args: list[str], column_type: TrinoType, context: Context) -> Hierarchy:
    if len(args) != 2:
        raise MaskError("mask hierarchy takes a code list and a level")
    codes = context.hierarchies.get(args[0])
    if codes is None:
        raise MaskError(f"code list {args[0]!r} is not among `hierarchies`")
    text = f"hierarchy({args[0]}, {args[1]})"
    return Hierarchy(text, column_type, args[0], whole(args[1], "hierarchy", 1, 20), codes)
