"""`keep_first(n)`, `keep_last(n)`: n characters stay, the others become `*`.

Code points after NFC, L of them. L <= 2n: L stars. Otherwise L - n stars and n characters. With `fixed`
the stars are 8, whatever L: `keep_last(4, fixed)`.

Neither of `keep_last(2)` and `keep_last(4)` hides more: of five characters the first shows two, the second
none. Where they meet, both limits hold: of more than eight characters the last two stay.
"""

from __future__ import annotations

import unicodedata
from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import TEXT, Context, Mask, MaskError, Rank, whole
from catalog.types import VARCHAR, TrinoType


class _Keep(Mask):
    rank: ClassVar[Rank] = Rank.partial

    def __init__(self, text: str, column_type: TrinoType, count: int, fixed: bool, longest: int = 0) -> None:
        """longest: the length up to which nothing is kept, 2n or more."""
        super().__init__(text, column_type)
        self._accept(*TEXT)
        self.type = VARCHAR
        self.count = count
        self.fixed = fixed
        self.longest = max(longest, 2 * count)

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, self._one)

    def _one(self, value: str) -> str:
        text = unicodedata.normalize("NFC", value)
        if len(text) <= self.longest:
            return "*" * (8 if self.fixed else len(text))
        return self._joined("*" * (8 if self.fixed else len(text) - self.count), text)

    def _joined(self, stars: str, text: str) -> str:
        raise NotImplementedError

    def _kept(self, text: str) -> tuple[str, str]:
        """SQL before and after the stars."""
        raise NotImplementedError

    def duckdb(self, column: str, *beside: str) -> str:
        text = f"tr_nfc({column})"
        all_stars = "8" if self.fixed else f"length({text})"
        stars = "8" if self.fixed else f"length({text}) - {self.count}"
        before, after = self._kept(text)
        return (
            f"CASE WHEN length({text}) <= {self.longest} THEN repeat('*', {all_stars}) "
            f"ELSE {before}repeat('*', {stars}){after} END"
        )

    def coarser_than(self, other: Mask) -> bool:
        """Fewer characters, of texts of which the other keeps some too.

        A `fixed` one does not show lengths, so nothing that depends on another length follows from it.
        """
        if not isinstance(other, _Keep) or self.kind != other.kind or self.fixed < other.fixed:
            return False
        if self.count == 0:
            return True
        as_long = self.longest == other.longest if other.fixed else self.longest >= other.longest
        return self.count <= other.count and as_long

    def join(self, other: Mask) -> Mask | None:
        if not isinstance(other, _Keep) or self.kind != other.kind:
            return None
        count, fixed = min(self.count, other.count), self.fixed or other.fixed
        text = f"{self.kind}({count}, fixed)" if fixed else f"{self.kind}({count})"
        both = type(self)(text, self.column_type, count, fixed, max(self.longest, other.longest))
        return both if both.coarser_than(self) and both.coarser_than(other) else None


class KeepLast(_Keep):
    kind: ClassVar[str] = "keep_last"

    def _joined(self, stars: str, text: str) -> str:
        return stars + text[len(text) - self.count :]

    def _kept(self, text: str) -> tuple[str, str]:
        return "", f" || substr({text}, length({text}) - {self.count} + 1)"


class KeepFirst(_Keep):
    kind: ClassVar[str] = "keep_first"

    def _joined(self, stars: str, text: str) -> str:
        return text[: self.count] + stars

    def _kept(self, text: str) -> tuple[str, str]:
        return f"substr({text}, 1, {self.count}) || ", ""


def _arguments(kind: str, args: list[str]) -> tuple[str, int, bool]:
    if len(args) not in (1, 2) or (len(args) == 2 and args[1] != "fixed"):
        raise MaskError(f"mask {kind} takes a number of characters, and perhaps fixed")
    return f"{kind}({', '.join(args)})", whole(args[0], kind, 0, 1000), len(args) == 2


def build_first(args: list[str], column_type: TrinoType, context: Context) -> KeepFirst:
    text, count, fixed = _arguments("keep_first", args)
    return KeepFirst(text, column_type, count, fixed)


def build_last(args: list[str], column_type: TrinoType, context: Context) -> KeepLast:
    text, count, fixed = _arguments("keep_last", args)
    return KeepLast(text, column_type, count, fixed)
