"""SpookyHash V2 (Bob Jenkins' public one) and what `checksum` adds up: XXH64 of each value.

Arithmetic is that of 64 bits, without a sign until the end. One Python function a row, see `catalog.duck.scalars`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

__all__ = ["HASH_SCALARS", "MASK", "turned", "xxhash64"]

MASK = (1 << 64) - 1
_MAGIC = 0xDEADBEEFDEADBEEF
_MIX = (50, 52, 30, 41, 54, 48, 38, 37, 62, 34, 5, 36)
_END = (15, 52, 26, 51, 28, 9, 47, 54, 32, 25, 63)
_LONG_MIX = (11, 32, 43, 31, 17, 28, 39, 57, 55, 54, 22, 46)
_LONG_END = (44, 15, 34, 21, 38, 33, 10, 13, 38, 53, 42, 54)
_SHORT = 192
"""Bytes from which on the hash takes the form for long texts."""


def turned(x: int, n: int) -> int:
    return ((x << n) | (x >> (64 - n))) & MASK


def _mixed(h: list[int]) -> None:
    for i, places in enumerate(_MIX, 2):
        a = i % 4
        h[a] = (turned(h[a], places) + h[(a + 1) % 4]) & MASK
        h[(a + 2) % 4] ^= h[a]


def _short(data: bytes) -> int:
    h, at = [0, 0, _MAGIC, _MAGIC], 0
    while at + 32 <= len(data):
        c, d, a, b = struct.unpack_from("<4Q", data, at)
        h[2], h[3] = (h[2] + c) & MASK, (h[3] + d) & MASK
        _mixed(h)
        h[0], h[1] = (h[0] + a) & MASK, (h[1] + b) & MASK
        at += 32
    if at + 16 <= len(data):
        c, d = struct.unpack_from("<2Q", data, at)
        h[2], h[3] = (h[2] + c) & MASK, (h[3] + d) & MASK
        _mixed(h)
        at += 16
    rest = data[at:]
    low, high = (int.from_bytes(part, "little") if rest else _MAGIC for part in (rest[:8], rest[8:]))
    h[2], h[3] = (h[2] + low) & MASK, (h[3] + high + (len(data) << 56)) & MASK
    for i, places in enumerate(_END, 2):
        a, b = (i + 1) % 4, i % 4
        h[a] ^= h[b]
        h[b] = turned(h[b], places)
        h[a] = (h[a] + h[b]) & MASK
    return h[0]


def _long(data: bytes) -> int:
    h = [0, 0, _MAGIC] * 4
    whole = len(data) // 96 * 96
    for block in struct.iter_unpack("<12Q", data[:whole]):
        for i, (word, places) in enumerate(zip(block, _LONG_MIX, strict=True)):
            h[i] = (h[i] + word) & MASK
            h[(i + 2) % 12] ^= h[(i + 10) % 12]
            h[i - 1] ^= h[i]
            h[i] = turned(h[i], places)
            h[i - 1] = (h[i - 1] + h[(i + 1) % 12]) & MASK
    left = len(data) - whole
    h = [(x + y) & MASK for x, y in zip(h, struct.unpack("<12Q", data[whole:].ljust(96, b"\0")), strict=True)]
    h[11] = (h[11] + (left << 56)) & MASK
    for _ in range(3):
        for i, places in enumerate(_LONG_END):
            following = (i + 1) % 12
            h[i - 1] = (h[i - 1] + h[following]) & MASK
            h[(i + 2) % 12] ^= h[i - 1]
            h[following] = turned(h[following], places)
    return h[0]


def _spooky(data: bytes) -> bytes:
    return struct.pack(">Q", _short(data) if len(data) < _SHORT else _long(data))


_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)  # fmt: skip


def _round(acc: int, lane: int) -> int:
    return turned((acc + lane * _P2) & MASK, 31) * _P1 & MASK


def xxhash64(data: bytes) -> int:
    """XXH64 with seed 0."""
    length, at = len(data), 0
    if length >= 32:
        v = [(_P1 + _P2) & MASK, _P2, 0, -_P1 & MASK]
        while at + 32 <= length:
            v = [_round(x, lane) for x, lane in zip(v, struct.unpack_from("<4Q", data, at), strict=True)]
            at += 32
        h = sum(turned(x, n) for x, n in zip(v, (1, 7, 12, 18), strict=True)) & MASK
        for x in v:
            h = ((h ^ _round(0, x)) * _P1 + _P4) & MASK
    else:
        h = _P5
    h = (h + length) & MASK
    while at + 8 <= length:
        h = (turned(h ^ _round(0, struct.unpack_from("<Q", data, at)[0]), 27) * _P1 + _P4) & MASK
        at += 8
    if at + 4 <= length:
        h = (turned(h ^ (struct.unpack_from("<I", data, at)[0] * _P1 & MASK), 23) * _P2 + _P3) & MASK
        at += 4
    for byte in data[at:]:
        h = turned(h ^ (byte * _P5 & MASK), 11) * _P1 & MASK
    h = (h ^ (h >> 33)) * _P2 & MASK
    h = (h ^ (h >> 29)) * _P3 & MASK
    return h ^ (h >> 32)


# ---- checksum: the sum of the values' hashes, each times a prime -------------------------------------


def _signed(value: int) -> int:
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


def _of_number(value: int) -> int:
    return xxhash64(struct.pack("<q", value))


def _added(number: int) -> int:
    return _signed(number * _P1)


def _of_double(value: float) -> int:
    """The sign of zero and the bits of what is no number make no difference."""
    if math.isnan(value):
        return _added(_of_number(0x7FF8 << 48))
    return _added(_of_number(struct.unpack("<q", struct.pack("<d", value + 0.0 if value else 0.0))[0]))


def _of_real(value: float) -> int:
    if math.isnan(value):
        return _added(_of_number(0x7FC00000))
    return _added(_of_number(struct.unpack("<i", struct.pack("<f", value if value else 0.0))[0]))


def _of_wide(value: Decimal) -> int:
    """A decimal of more than 18 digits: its count of units, in two halves."""
    units = int(value)
    return _added(_of_number(_signed(units >> 64)) ^ _of_number(_signed(units)))


def _total(value: Decimal) -> bytes:
    return struct.pack("<Q", int(value) & MASK)


HASH_SCALARS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "spooky_32": ("BLOB", "BLOB", lambda data: _spooky(data)[4:]),
    "spooky_64": ("BLOB", "BLOB", _spooky),
    "xxhash64": ("BLOB", "BLOB", lambda data: struct.pack(">Q", xxhash64(data))),
    "checksum_number": ("BIGINT", "BIGINT", lambda value: _added(_of_number(value))),
    "checksum_double": ("DOUBLE", "BIGINT", _of_double),
    "checksum_real": ("FLOAT", "BIGINT", _of_real),
    "checksum_wide": ("DECIMAL(38, 0)", "BIGINT", _of_wide),
    "checksum_bytes": ("BLOB", "BIGINT", lambda data: _added(xxhash64(data))),
    "checksum": ("DECIMAL(38, 0)", "BLOB", _total),
}
"""Name without `tr_` -> what it takes and gives in DuckDB, and its function of one row."""
