"""Statements as they were written once, by the shape of their scans: the same with other keys is not written again.

To build a statement, write it and read it back takes longer than a small question takes in its source: 9 ms of TPC-H's
q19, which is asked with other keys each time, and half a millisecond of a look-up.

Proof. What a compiler writes is a function of the scan, of what it is told beside (`also`), and of nothing else: its
random names do not stay in the text. So equal scans have equal texts. Sets of keys stand in the shape as what a
compiler asks of them before it leaves a hole: which types, which of them are one set, and that they are not few. In the
text such a set is one literal, which its `Hole` writes, of digits and commas alone. A scan whose keys are anything else
is written anew. Keys and a question's name are held to what `allowed.check` asks of them each time.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from connectors.allowed import MAX_KEYS, check_query_id
from connectors.base import NativeScan
from connectors.native import SHORT_LIST, Compiled, Compiler, Hole, commented

__all__ = ["Texts"]

TEXTS, LONGEST = 256, 20_000
"""Texts that are kept, and the characters of the longest one."""


@dataclass(frozen=True)
class _Written:
    """pieces: text, or the number of a set of keys and how it is written."""

    pieces: tuple[str | tuple[int, Hole], ...]
    wires: tuple[str, ...]

    @property
    def is_short(self) -> bool:
        return sum(len(piece) for piece in self.pieces if isinstance(piece, str)) <= LONGEST

    def compiled(self, keys: Sequence[pa.Array], query_id: str) -> Compiled:
        sql = "".join(p if isinstance(p, str) else p[1](keys[p[0]]) for p in self.pieces)
        return Compiled(commented(sql, query_id), wires=self.wires)


class Texts:
    """The statements of one source. Thread-safe."""

    def __init__(self) -> None:
        self._known: LRUCache[bytes, _Written] = LRUCache(TEXTS)
        self._lock = threading.Lock()

    def compiled(self, scan: NativeScan, also: object, make: Callable[[NativeScan], Compiler]) -> Compiled:
        """What `make(scan).compile()` is, of a compiler that binds no parameters. also: all that `make` goes by beside
        the scan, as plain values. Raises ValueError as that does.
        """
        check_query_id(scan.query_id)
        shape = _Shape()
        try:
            shape.dump((replace(scan, query_id=""), also))
        except RecursionError:  # so deep that only what is made for it reads it
            return make(scan).compile()
        if not shape.fits:
            return make(scan).compile()
        text = shape.text()
        with self._lock:
            known = self._known.get(text)
        if known is None:
            known = _written(make(scan), shape.keys)
            if known is None:
                return make(scan).compile()
            if known.is_short:
                with self._lock:
                    self._known[text] = known
        return known.compiled(shape.keys, scan.query_id)


def _written(compiler: Compiler, keys: Sequence[pa.Array]) -> _Written | None:
    """None for one with parameters, or with keys elsewhere than in holes: a column may hold them in its own way."""
    numbers = {id(array): number for number, array in enumerate(keys)}
    pieces = tuple(p if isinstance(p, str) else (numbers[id(p[0])], p[1]) for p in compiler.pieces())
    if compiler.params or compiler.spelled:
        return None
    return _Written(pieces, tuple(compiler.wires))


class _Shape(pickle.Pickler):
    """Bytes that are equal for equal scans only; sets of keys stand in them by their types. keys: in order.

    fits: whether each set is of many whole numbers, or of rows of such.
    """

    def __init__(self) -> None:
        self._to = io.BytesIO()
        super().__init__(self._to, protocol=5)
        self.keys: list[pa.Array] = []
        self._numbers: dict[int, int] = {}
        self.fits = True

    def persistent_id(self, thing: Any) -> object:
        if not isinstance(thing, pa.Array):
            return None
        number = self._numbers.setdefault(id(thing), len(self.keys))
        if number == len(self.keys):
            self.keys.append(thing)
        parts = thing.flatten() if isinstance(thing, pa.StructArray) else [thing]
        whole = all(pa.types.is_signed_integer(part.type) and not part.null_count for part in parts)
        self.fits = self.fits and whole and SHORT_LIST < len(thing) <= MAX_KEYS
        return number, *(str(part.type) for part in parts)

    def text(self) -> bytes:
        return self._to.getvalue()
