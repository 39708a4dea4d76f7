"""Statements as they were written once, by the shape of their scans: the same with other numbers is not written again.

To build a statement, write it and read it back takes longer than a small question takes in its source: 9 ms of TPC-H's
q19, which is asked with other keys each time, and half a millisecond of a look-up, which is asked with another number.

Proof. What a compiler writes is a function of the scan, of what it is told beside (`also`), and of nothing else: its
random names do not stay in the text. A text that is kept is written of its shape alone, from which the compiler's scan
is read back. So it holds nothing that the shape does not, however the compiler came to it: no question's number can
stay in it, and no other literal of a scan, an owner's condition or a mask's form is taken for one, for these are texts.

    numbers   What a `Predicate` compares with, if each is a whole number of 64 bits, which is all that a compiler's
              `check` asks of one beside a column of such. The shape has a `Blank` for each and place, equal or not.
              A compiler writes a hole for it, or raises ValueError.
    keys      Sets of whole numbers, or of rows of such. The shape has their types, and which of them are one set. A
              hole writes them as one literal. Where they stand in the text in another way (`spelled`) it is not kept.

What is filled in are digits, signs and commas. A scan of whose shape no text could be kept is written anew. Keys and a
question's name are held to what `allowed.check` asks of them each time.
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

from catalog.exchange import key_parts
from connectors.allowed import MAX_KEYS, are_whole, check_query_id, is_whole
from connectors.base import Blank, NativeScan, Op, Predicate
from connectors.native import Compiled, Compiler, Filling, Hole, commented

__all__ = ["Texts"]

TEXTS, LONGEST, MOST = 256, 20_000, 1_000
"""Texts that are kept, the characters of the longest one, and the numbers that fill one: the place of each is kept."""


@dataclass(frozen=True)
class _Written:
    """pieces: text, or where in a shape's fillings a set of keys is, or numbers are, and how they are written."""

    pieces: tuple[str | tuple[int | tuple[int, ...], Hole], ...]
    wires: tuple[str, ...]

    @property
    def is_short(self) -> bool:
        return sum(len(piece) for piece in self.pieces if isinstance(piece, str)) <= LONGEST

    def compiled(self, fillings: Sequence[Any], query_id: str) -> Compiled:
        sql = "".join(p if isinstance(p, str) else p[1](_at(p[0], fillings)) for p in self.pieces)
        return Compiled(commented(sql, query_id), wires=self.wires)


def _at(place: int | tuple[int, ...], fillings: Sequence[Any]) -> Any:
    return fillings[place] if isinstance(place, int) else [fillings[p] for p in place]


class Texts:
    """The statements of one source. Thread-safe."""

    def __init__(self) -> None:
        self._known: LRUCache[bytes, _Written | None] = LRUCache(TEXTS)
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
            is_known, known = text in self._known, self._known.get(text)
        if not is_known:
            known = _written(shape, make)
            if known.is_short if known is not None else len(text) <= LONGEST:
                with self._lock:
                    self._known[text] = known
        return make(scan).compile() if known is None else known.compiled(shape.fillings, scan.query_id)


def _written(shape: _Shape, make: Callable[[NativeScan], Compiler]) -> _Written | None:
    """What may be kept for a shape, None if nothing can be."""
    sets = {id(filling): place for place, filling in enumerate(shape.fillings) if isinstance(filling, pa.Array)}

    def place(filling: Filling) -> int | tuple[int, ...]:
        if not isinstance(filling, tuple):
            return sets[id(filling)]
        places = tuple(value.place for value in filling if isinstance(value, Blank))
        if len(places) < len(filling):
            raise ValueError("a number that is not of the shape's")
        return places

    try:
        compiler = make(shape.scan())
        pieces = tuple(p if isinstance(p, str) else (place(p[0]), p[1]) for p in compiler.pieces())
    except (ValueError, KeyError, RecursionError):
        return None  # no hole for a blank; or it may not be asked at all, as it will turn out once more
    return None if compiler.params or compiler.spelled else _Written(pieces, tuple(compiler.wires))


class _Shape(pickle.Pickler):
    """Bytes that are equal for equal scans only, with places in them for `fillings`: whole numbers and sets of keys.

    Both are told apart by `reducer_override`, which is asked of objects alone: a scan is mostly texts and tuples.

    fits: whether each set is of whole numbers, or of rows of such, and there are not too many other numbers.
    """

    def __init__(self) -> None:
        self._to = io.BytesIO()
        super().__init__(self._to, protocol=5)
        self.fillings: list[Any] = []
        self.fits = True

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, Predicate):
            return self._predicate(thing)
        return self._keys(thing) if isinstance(thing, pa.Array) else NotImplemented

    def _predicate(self, thing: Predicate) -> Any:
        if not thing.values or not all(map(is_whole, thing.values)):
            return NotImplemented
        place = len(self.fillings)
        self.fillings += thing.values
        self.fits = self.fits and len(self.fillings) <= MOST
        return _of_blanks, (thing.column, thing.op, place, len(thing.values))

    def _keys(self, thing: pa.Array) -> tuple[Any, ...]:
        place = len(self.fillings)  # of each set once: a pickler knows what it has met
        self.fillings.append(thing)
        self.fits = self.fits and are_whole(thing) and 0 < len(thing) <= MAX_KEYS
        return _of_keys, (place, *(str(part.type) for part in key_parts(thing)))

    def text(self) -> bytes:
        return self._to.getvalue()

    def scan(self) -> NativeScan:
        """A scan of this shape, with blanks for its numbers."""
        found: NativeScan = _Scan(self).load()[0]
        return found


class _Scan(pickle.Unpickler):
    """Reads a shape that was made in this process."""

    def __init__(self, shape: _Shape) -> None:
        super().__init__(io.BytesIO(shape.text()))
        self._shape = shape

    def find_class(self, module: str, name: str) -> Any:
        return self._keys if (module, name) == (__name__, _of_keys.__name__) else super().find_class(module, name)

    def _keys(self, place: int, *_: str) -> pa.Array:
        return self._shape.fillings[place]


def _of_keys(place: int, *types: str) -> pa.Array:
    """Stands in a shape for a set of keys, which only the shape's reader has."""
    raise NotImplementedError(place, types)


def _of_blanks(column: str, op: Op, place: int, count: int) -> Predicate:
    return Predicate(column, op, tuple(Blank(place + i) for i in range(count)))
