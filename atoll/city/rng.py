"""Keyed random integers: splitmix64 over (seed, table, entity, year, ...).

Nothing in the city is drawn from a stream. Every number is a pure function of what it describes, so an entity
looks the same at every scale, in every order of making, and one row may be made again without the others.

    r = Rng(4499, "market.company")
    r.word(17, 2015)                 # int in [0, 2**64)
    r.words(np.arange(50), 2015)     # uint64[50]; element 17 equals the line above
    r.integer(1, 6, 17, 2015)        # int in 1..6, both ends included
    r.integers(1, 6, np.arange(50))  # int64[50]; lo and hi may be arrays too

Keys are integers (negative ones wrap) or, in the plural forms, integer arrays that broadcast.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bools = NDArray[np.bool_]
Keys = int | NDArray[Any]

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_M1 = 0xBF58476D1CE4E5B9
_M2 = 0x94D049BB133111EB


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * _M1) & _MASK
    z = ((z ^ (z >> 27)) * _M2) & _MASK
    return z ^ (z >> 31)


def _mix_array(z: Words) -> Words:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_M1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_M2)
    mixed: Words = z ^ (z >> np.uint64(31))
    return mixed


class Rng:
    """All the random integers of one table under one seed."""

    def __init__(self, seed: int, table: str) -> None:
        name = int.from_bytes(hashlib.blake2b(table.encode(), digest_size=8).digest(), "big")
        self._start = _mix((_mix((seed + _GAMMA) & _MASK) ^ name) & _MASK)

    def word(self, *keys: int) -> int:
        """One 64-bit word for these keys."""
        state = self._start
        for key in keys:
            state = _mix((state + _GAMMA + (int(key) & _MASK)) & _MASK)
        return state

    def words(self, *keys: Keys) -> Words:
        """`word` for every element of the broadcast keys."""
        state = np.atleast_1d(np.uint64(self._start))
        for key in keys:
            part = np.atleast_1d(np.asarray(key)).astype(np.int64, copy=False).astype(np.uint64)
            state = _mix_array(state + np.uint64(_GAMMA) + part)
        return state

    def integer(self, lo: int, hi: int, *keys: int) -> int:
        """One integer in lo..hi, both ends included; hi - lo < 2**31."""
        return lo + (((self.word(*keys) >> 32) * (hi - lo + 1)) >> 32)

    def integers(self, lo: Keys, hi: Keys, *keys: Keys) -> Ints:
        """`integer` for every element of the broadcast keys."""
        low, high = np.asarray(lo, dtype=np.int64), np.asarray(hi, dtype=np.int64)
        span = (high - low + 1).astype(np.uint64)
        top = self.words(*keys) >> np.uint64(32)
        drawn: Ints = low + ((top * span) >> np.uint64(32)).astype(np.int64)
        return drawn

    def chances(self, per_million: Keys, *keys: Keys) -> Bools:
        """True with probability per_million / 10**6, for every element of the broadcast keys."""
        hit: Bools = self.integers(0, 999_999, *keys) < np.asarray(per_million)
        return hit
