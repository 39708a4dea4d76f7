r"""`pseudonym(group)`: the same token for the same value, within one purpose, group and epoch. Version `p1`.

    key = HMAC-SHA256(root, "atoll-pseud-v1" | len(purpose) purpose | len(group) group | epoch)
    p   = hex(HMAC-SHA256(key, NFC(canonical text) as UTF-8))[:32]

`len` is four bytes, big-endian, of the UTF-8 that follows. Canonical text: text as it is, or through the
group's normaliser; integers without sign or leading zeros (negative ones with `-`); dates ISO; uuids in
lower case. Normaliser `company`: full-width ASCII folded, blanks at both ends taken off, a-z to A-Z.

Equal triples (purpose, group, epoch) join across departments; others are unlinkable. The root is shared
among the group's agents only and never given to a gateway.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from datetime import date
from typing import Any, ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, TEXT, Context, LinkageKey, Mask, MaskError, Rank, sql_text
from catalog.relation import Linkage
from catalog.types import TrinoType

__all__ = ["NORMALISERS", "Pseudonym", "build", "derive_key", "normalise", "pseudonym"]

NORMALISERS = ("none", "company")
_WIDE = "".join(chr(c) for c in range(0xFF01, 0xFF5F)) + "\u3000"
_PLAIN = "".join(chr(c) for c in range(0x21, 0x7F)) + " "
_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FOLD = str.maketrans(_WIDE + _LOWER, _PLAIN.translate(str.maketrans(_LOWER, _UPPER)) + _UPPER)


def derive_key(root: bytes, purpose: str, group: str, epoch: str = "") -> bytes:
    """The 32-byte key of one (purpose, group, epoch). Raises ValueError unless root has 32 bytes."""
    if len(root) != 32:
        raise ValueError("the root of a linkage group has 32 bytes")
    message = b"atoll-pseud-v1" + _sized(purpose) + _sized(group) + epoch.encode()
    return hmac.new(root, message, hashlib.sha256).digest()


def _sized(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(4, "big") + data


def normalise(text: str, normaliser: str) -> str:
    """NFC, then the group's normaliser."""
    composed = unicodedata.normalize("NFC", text)
    return composed.translate(_FOLD).strip(" ") if normaliser == "company" else composed


def pseudonym(key: LinkageKey, value: Any) -> str:
    """The pseudonym of one value that is not NULL."""
    text = value.isoformat() if isinstance(value, date) else str(value)
    data = normalise(text, key.normaliser).encode("utf-8")
    return hmac.new(key.key, data, hashlib.sha256).hexdigest()[:32]


class Pseudonym(Mask):
    """Text, integer, date or uuid; varchar(32)."""

    kind: ClassVar[str] = "pseudonym"
    rank: ClassVar[Rank] = Rank.pseudonym

    def __init__(self, text: str, column_type: TrinoType, key: LinkageKey) -> None:
        super().__init__(text, column_type)
        self._accept(*TEXT, *INTEGERS, "date", "uuid")
        self.key = key
        self.type = TrinoType("varchar", (32,))

    @property
    def linkage(self) -> Linkage:
        return self.key.linkage

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, lambda v: pseudonym(self.key, v))

    def duckdb(self, column: str, *beside: str) -> str:
        text = column if self.column_type.is_text or self.column_type.name == "uuid" else f"CAST({column} AS VARCHAR)"
        text = f"tr_nfc({text})"
        if self.key.normaliser == "company":
            wide, plain = _WIDE + _LOWER, _PLAIN.translate(str.maketrans(_LOWER, _UPPER)) + _UPPER
            text = f"trim(translate({text}, {sql_text(wide)}, {sql_text(plain)}), ' ')"
        padded = self.key.key.ljust(64, b"\0")
        inner = bytes(b ^ 0x36 for b in padded).hex()
        outer = bytes(b ^ 0x5C for b in padded).hex()
        return f"substr(sha256(unhex('{outer}') || unhex(sha256(unhex('{inner}') || encode({text})))), 1, 32)"


def build(args: list[str], column_type: TrinoType, context: Context) -> Pseudonym:
    if len(args) != 1:
        raise MaskError("mask pseudonym takes a linkage group")
    if context.linkage is None:
        raise MaskError("mask pseudonym needs linkage_groups")
    if "@" in args[0]:
        raise MaskError("a linkage group has no @ in its name: token@department is a department's own vault")
    return Pseudonym(f"pseudonym({args[0]})", column_type, context.linkage(args[0]))
