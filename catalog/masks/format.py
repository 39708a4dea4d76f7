"""`format`: the shape of a text: digits become `9`, capitals `A`, small letters `a`, `-./ ` stay, others `_`.

One character for each code point. Letters and digits are those of ASCII: a Chinese character, an accent and a
full-width digit are `_`, in every engine alike.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import TEXT, Context, Mask, MaskError, Rank
from catalog.types import VARCHAR, TrinoType

_FROM = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TO = "9" * 10 + "A" * 26 + "a" * 26
_SHAPE = dict(zip(_FROM, _TO, strict=True)) | {c: c for c in "-./ "}


class Format(Mask):
    """Text; varchar."""

    kind: ClassVar[str] = "format"
    rank: ClassVar[Rank] = Rank.partial

    def __init__(self, column_type: TrinoType) -> None:
        super().__init__("format", column_type)
        self._accept(*TEXT)
        self.type = VARCHAR

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, lambda v: "".join(_SHAPE.get(c, "_") for c in v))

    def duckdb(self, column: str, *beside: str) -> str:
        # The class names what stays after the translation; it holds no character that needs escaping twice.
        return f"regexp_replace(translate({column}, '{_FROM}', '{_TO}'), '[^9Aa./ -]', '_', 'g')"

    def source(self, dialect: str) -> str | None:
        """MariaDB and SQLite have no TRANSLATE."""
        if dialect not in ("postgres", "duckdb") or self.column_type.name == "char":
            return None
        return f"REGEXP_REPLACE(TRANSLATE(:c, '{_FROM}', '{_TO}'), '[^9Aa./ -]', '_', 'g')"


def build(args: list[str], column_type: TrinoType, context: Context) -> Format:
    if args:
        raise MaskError("mask format takes no arguments")
    return Format(column_type)
