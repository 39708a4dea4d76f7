"""Rows of MariaDB's text protocol -> columns, a buffer of packets at a time.

A driver in Python makes an object of every cell: 200,000 narrow rows a second, while the rest of the agent waits. Here
only the heads of packets are walked one by one, and those of narrow rows in runs (`_Narrow`); the cells of a column are
then cut out of the buffer together. A few rows are read cell by cell: numpy takes longer to be called than they do.

A row packet is 3 bytes of length (little-endian), 1 of sequence, and its cells in order: a length (1 byte; 0xFC, 0xFD
and 0xFE announce 2, 3 and 8 bytes of it; 0xFB alone is NULL) and so many bytes. A packet of 2**24 - 1 bytes goes on in
the next one. 0xFE in a packet below 9 bytes ends the rows; 0xFF comes first in an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pymysql
from pymysql.err import raise_mysql_exception

from connectors.cells import cut

__all__ = ["READ_BYTES", "Rows", "columns"]

READ_BYTES = 1 << 18
_HEAD, _SIZE, _LONGEST = 4, 0xFFFFFF, 0xFFFFFF
_NULL, _END, _ERROR = 0xFB, 0xFE, 0xFF
_WIDE = {0xFC: 2, 0xFD: 3, 0xFE: 8}
_MORE_RESULTS = 8
_SHORT, _ALONE = 16, 64
"""After a run of at most so many packets, so many are walked one by one, which is quicker than short runs."""
FEW, FEW_BYTES = 30, 4_096
"""Rows that are read cell by cell; bytes of a buffer that begins with packets walked one by one."""

Places = npt.NDArray[np.int64]


class Rows:
    """The rows of a statement over a connection of PyMySQL's, which takes no other meanwhile.

    fields: the columns as the driver describes them. Raises pymysql.MySQLError.
    """

    def __init__(self, connection: Any, sql: str) -> None:
        connection.query(sql, unbuffered=True)
        result, self._file = connection._result, connection._rfile
        self.fields: tuple[Any, ...] = tuple(result.fields)
        # The rest is read here: the driver must not look for the end of the rows itself.
        result.unbuffered_active, result.connection = False, None
        self._data = bytearray()
        self._ended = False

    def batches(self) -> Iterator[list[pa.Array]]:
        """A binary array a column, until the rows have ended; about READ_BYTES at a time."""
        place = 0
        rows: list[Places] = []
        while not self._ended:
            place, split = self._walk(place, rows)
            if not self._ended and not split and (len(self._data) < READ_BYTES or not rows):
                self._data += self._read()
                continue
            if rows:
                yield columns(bytes(self._data), np.concatenate(rows), len(self.fields))
            del self._data[:place]
            place = 0
            rows.clear()
            if split:
                row = self._joined()
                yield columns(row, np.array([(0, len(row))]), len(self.fields))

    def _walk(self, place: int, rows: list[Places]) -> tuple[int, bool]:
        """Note where the cells of each whole row start and stop. Gives the place behind the last one, and whether a
        row that is split into packets follows."""
        data, end = self._data, len(self._data)
        narrow, alone = None, _ALONE if end - place < FEW_BYTES else 0
        single: list[tuple[int, int]] = []
        split = False
        while place + _HEAD < end:
            if not alone:
                narrow = narrow or _Narrow(data, place)
                run = narrow.run(place)
                alone = 0 if len(run) > _SHORT else _ALONE
                if len(run):
                    rows += [np.array(single, np.int64).reshape(-1, 2), run]
                    single, place = [], int(run[-1, 1])
                    continue
            alone -= 1
            size = struct.unpack_from("<I", data, place)[0] & _SIZE
            if size == _LONGEST:
                split = True
                break
            start = place + _HEAD
            stop = start + size
            if stop > end:
                break
            place = stop
            if size and data[start] >= _END and self._is_end(bytes(data[start:stop])):
                break
            single.append((start, stop))
        if single:
            rows.append(np.array(single, np.int64))
        return place, split

    def _is_end(self, packet: bytes) -> bool:
        if packet[0] == _ERROR:
            raise_mysql_exception(packet)
        self._ended = len(packet) < 9
        if self._ended and int.from_bytes(packet[3:5], "little") & _MORE_RESULTS:
            raise pymysql.InternalError("a statement gave more than one result")
        return self._ended

    def _joined(self) -> bytes:
        """The cells of the next row, over all of its packets."""
        parts, size = [], _LONGEST
        while size == _LONGEST:
            size = int.from_bytes(self._taken(_HEAD)[:3], "little")
            parts.append(self._taken(size))
        return b"".join(parts)

    def _taken(self, count: int) -> bytes:
        while len(self._data) < count:
            self._data += self._read()
        found = bytes(self._data[:count])
        del self._data[:count]
        return found

    def _read(self) -> bytes:
        try:
            found: bytes = self._file.read1(READ_BYTES)
        except OSError as bad:
            raise pymysql.OperationalError(2013, f"the connection was lost while rows were read: {bad}") from bad
        if not found:
            raise pymysql.OperationalError(2013, "the connection was lost while rows were read")
        return found


class _Narrow:
    """The packets of rows of less than 256 bytes in a buffer, from a place on.

    Their heads have two zeros in the same places, which cells have too; a run is those that each begin where the one
    before it stops.
    """

    def __init__(self, data: bytearray, place: int) -> None:
        raw = np.frombuffer(data, np.uint8)[place:]
        heads = np.flatnonzero((raw[1:-3] | raw[2:-2]) == 0)
        size = raw[heads]
        stop = heads + (_HEAD + size.astype(np.int64))
        # What may be an end or an error, and what goes on elsewhere, is nobody's run.
        plain = (stop <= raw.size) & (raw[heads + _HEAD] < _END) & (size < _LONGEST)
        self._start = heads[plain] + (place + _HEAD)
        self._stop = stop[plain] + place
        ends = np.ones(self._stop.size, np.bool_)
        ends[:-1] = self._stop[:-1] + _HEAD != self._start[1:]
        (self._ends,) = np.nonzero(ends)

    def run(self, place: int) -> Places:
        """(start, stop) of the cells of packets that follow each other from a place on, perhaps none."""
        first = np.searchsorted(self._start, place + _HEAD)
        if first == self._start.size or self._start[first] != place + _HEAD:
            return np.empty((0, 2), np.int64)
        last = self._ends[np.searchsorted(self._ends, first)] + 1
        return np.stack((self._start[first:last], self._stop[first:last]), axis=1)


def columns(data: bytes, rows: Places, count: int) -> list[pa.Array]:
    """The cells of rows, a binary array for each of `count` columns; NULL is null.

    rows: where the cells of each start and stop in `data`. Raises pymysql.InternalError where they do not fit.
    """
    if len(rows) <= FEW:
        return _few_columns(data, rows.tolist(), count)
    raw = np.frombuffer(data, np.uint8)
    at, found = rows[:, 0], []
    try:
        for _ in range(count):
            size, begin, null = _lengths(raw, at)
            found.append(_cut(raw, begin, size, null))
            at = begin + size
    except IndexError:
        raise _unfit() from None
    if not np.array_equal(at, rows[:, 1]):
        raise _unfit()
    return found


def _unfit() -> pymysql.InternalError:
    return pymysql.InternalError("a row of the server has cells that do not fit its packet")


def _few_columns(data: bytes, rows: list[tuple[int, int]], count: int) -> list[pa.Array]:
    """As `columns`, cell by cell."""
    found: list[list[bytes | None]] = [[] for _ in range(count)]
    for at, stop in rows:
        for cells in found:
            if at >= stop:
                raise _unfit()
            size, begin = data[at], at + 1
            at = begin
            if size == _NULL:
                cells.append(None)
                continue
            if size in _WIDE:
                begin += _WIDE[size]
                size = int.from_bytes(data[at:begin], "little")
            at = begin + size
            cells.append(data[begin:at])
        if at != stop:
            raise _unfit()
    return [pa.array(cells, pa.binary()) for cells in found]


def _lengths(raw: npt.NDArray[np.uint8], at: Places) -> tuple[Places, Places, npt.NDArray[np.bool_]]:
    """(bytes, where they begin, whether NULL) of the cells at `at`."""
    first = raw[at]
    null = first == _NULL
    size, begin = np.where(null, 0, first).astype(np.int64), at + 1
    for mark, width in _WIDE.items():
        (long,) = np.nonzero(first == mark)
        if long.size:
            size[long] = sum(raw[at[long] + 1 + i].astype(np.int64) << 8 * i for i in range(width))
            begin[long] += width
    return size, begin, null


def _cut(raw: npt.NDArray[np.uint8], begin: Places, size: Places, null: npt.NDArray[np.bool_]) -> pa.Array:
    ends = begin + size
    if int(size.min()) < 0 or int(ends.view(np.uint64).max()) > raw.size:  # too large a size makes an end negative
        raise IndexError
    return cut(raw, begin, ends, null)
