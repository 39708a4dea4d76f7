"""`email`: `***@` and the domain in lower case; NULL unless there is one `@` with text on both sides."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import TEXT, Context, Mask, MaskError, Rank
from catalog.types import VARCHAR, TrinoType

_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"


class Email(Mask):
    """Text. Only A-Z become lower case: domain names have no other letters."""

    kind: ClassVar[str] = "email"
    rank: ClassVar[Rank] = Rank.partial

    def __init__(self, column_type: TrinoType) -> None:
        super().__init__("email", column_type)
        self._accept(*TEXT)
        self.type = VARCHAR

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, self._one)

    def _one(self, value: str) -> str | None:
        user, at, domain = value.partition("@")
        if not user or not at or not domain or "@" in domain:
            return None
        return "***@" + domain.translate(str.maketrans(_UPPER, _LOWER))

    def duckdb(self, column: str, *beside: str) -> str:
        parts = f"string_split({column}, '@')"
        return (
            f"CASE WHEN len({parts}) = 2 AND {parts}[1] <> '' AND {parts}[2] <> '' "
            f"THEN '***@' || translate({parts}[2], '{_UPPER}', '{_LOWER}') END"
        )


def build(args: list[str], column_type: TrinoType, context: Context) -> Email:
    if args:
        raise MaskError("mask email takes no arguments")
    return Email(column_type)
