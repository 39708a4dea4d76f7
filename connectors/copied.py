"""Rows of PostgreSQL's binary COPY -> columns, a buffer of rows at a time.

A driver makes an object of every cell, or a text of every number. Here a row is one message, copied behind the last one
as soon as it is there; the cells of a column are then cut out of the buffer together. A few rows are read cell by cell:
numpy takes longer to be called than they do.

The stream opens with a signature and two lengths. A row is its number of cells (int16) and the cells in order: a length
(int32; -1 is NULL) and so many bytes, numbers big-endian. A row of -1 cells ends it. The server sends a message a row.

    numeric     int16 groups, int16 weight of the first, uint16 sign, int16 shown digits, groups of 0 to 9999
    date        days since 2000;  time, timestamp, timestamptz: microseconds since midnight or since 2000
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.abc import PQGen
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Wait

from catalog.types import TrinoType
from connectors.base import Cancel, NativeScan, SourceError
from connectors.cells import Column, Unfit, cut, fit, fitting, naming
from connectors.native import Compiled

__all__ = ["WIRES", "Elements", "batches", "columns", "copied"]

FIRST_BYTES, BUFFER_BYTES = 1 << 16, 1 << 21
"""Of rows in the first buffer, which goes out early, and at last: so large that a buffer hardly costs by itself."""
FEW = 10
"""Rows that are read cell by cell."""
_OTHER_CELLS = "a row of the server has other cells than were asked for"
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEAD, _END, _SIZE = len(_SIGNATURE) + 8, 2, 4
_PAD = 24
"""Bytes behind the last row, so that a number may be read wherever a cell stands."""
_AHEAD = 1 << 17
"""Bytes that libpq, which begins with 16 KB, should take from the socket at once."""
_DAY = 86_400_000_000
_MINUS = 0x4000
_BESIDE = np.array([64, 48, 32, 16, 0], np.uint64)
"""Bits of four groups that are no longer of a number of so many."""
_UNITS = 10_000 ** np.arange(5)
_QUAD = pa.scalar(10**16, pa.decimal256(17, 0))

Numbers = npt.NDArray[Any]
Few = Sequence[bytes | None]
"""The cells of a column of a few rows."""


def batches(
    connection: psycopg.Connection[Any],
    compiled: Compiled,
    scan: NativeScan,
    cancel: Cancel,
    done: Callable[[], object] | None = None,
) -> Generator[pa.RecordBatch]:
    """What a scan's statement delivers. done: called as in `copied`. Raises SourceError, psycopg.Error."""
    with closing(copied(connection, compiled.sql, done)) as buffers:
        for rows, lengths in buffers:
            cancel.check()
            found = columns(rows, lengths, compiled.wires, scan.outputs, scan.masked)
            yield pa.record_batch(found, schema=scan.schema)


# --- rows from the server ----------------------------------------------------------------------------


def copied(
    connection: psycopg.Connection[Any], select: str, done: Callable[[], object] | None = None
) -> Generator[tuple[bytearray, list[int]]]:
    """The rows of a SELECT: buffers, and how long each row in them is.

    No more is read than a buffer holds. done: called when the server has sent all, before the last rows are given: who
    takes them may be slow. Raises psycopg.Error.
    """
    wait, pgconn = connection.wait, connection.pgconn
    # Not as a simple query: this form takes one statement only.
    pgconn.send_query_params(f"COPY ({select}) TO STDOUT (FORMAT binary)".encode(), None)
    wait(send(pgconn))
    _checked(wait(fetch_many(pgconn)), ExecStatus.COPY_OUT)
    size, opened, ended = FIRST_BYTES, False, False
    while not ended:
        rows, lengths = bytearray(), list[int]()
        ended = wait(_fill(pgconn, rows, lengths, size))
        if not opened:
            _open(rows, lengths)
            opened = True
        if ended and done is not None:
            done()
        if lengths:
            yield rows, lengths
        size = min(4 * size, BUFFER_BYTES)


def _fill(pgconn: PGconn, rows: bytearray, lengths: list[int], size: int) -> PQGen[bool]:
    """Whole rows until there are `size` bytes of them. Gives whether they have ended."""
    before = 0
    while len(rows) < size:
        count, row = pgconn.get_copy_data(1)
        if count > _END:
            # Not kept as objects: the garbage collector would look at each of a million again and again.
            rows += row
            lengths.append(count)
        elif count == 0:
            while not (yield Wait.R):
                continue
            pgconn.consume_input()
            if len(rows) - before < _AHEAD:
                pgconn.consume_input()  # nothing was taken out in between, so that libpq's own buffer grows
            before = len(rows)
        elif count < 0:
            _checked((yield from fetch_many(pgconn)), ExecStatus.COMMAND_OK)
            return True
    return False


def _checked(results: Sequence[PGresult], status: ExecStatus) -> None:
    for result in results:
        if result.status != status:
            raise psycopg.errors.error_from_result(result)


def _open(rows: bytearray, lengths: list[int]) -> None:
    """Take off what stands before the first row; where there are no rows, the end stands right behind it."""
    head = _HEAD + int.from_bytes(rows[_HEAD - 4 : _HEAD])
    if not rows.startswith(_SIGNATURE) or head > lengths[0]:
        raise psycopg.InternalError("the rows of the server do not begin as binary ones do")
    lengths[0] -= head
    if lengths[0] <= _END:
        head += lengths.pop(0)
    del rows[:head]


# --- rows to columns ---------------------------------------------------------------------------------


def columns(
    rows: bytearray,
    lengths: Sequence[int],
    wires: Sequence[str],
    outputs: Sequence[Column],
    masked: Sequence[str] = (),
) -> list[pa.Array]:
    """The cells of rows, an array of its declared type for each column.

    wires: as which of WIRES the server sends each. masked: as of `cells.to_batch`. Raises SourceError naming the column
    whose cells do not fit its type, psycopg.InternalError where the bytes are not such rows.
    """
    if len(lengths) <= FEW:
        few = _apart(bytes(rows), lengths, wires)
        readings = [partial(WIRES[wire].read_few, cells) for cells, wire in zip(few, wires, strict=True)]
    else:
        many = _cut(rows, lengths, wires)
        readings = [partial(WIRES[wire].read, cells) for cells, wire in zip(many, wires, strict=True)]
    found = []
    for place, (reading, (name, type_)) in enumerate(zip(readings, outputs, strict=True)):
        try:
            found.append(_typed(reading, name, type_))
        except SourceError:
            if name not in masked:
                raise
            cells = _apart(bytes(rows), lengths, wires)[place]
            found.append(fitting(cells, partial(_read_few, WIRES[wires[place]], outputs[place]), type_, True))
    return found


def _typed(reading: Callable[[TrinoType], pa.Array], name: str, type_: TrinoType) -> pa.Array:
    with naming(name, type_):
        return fit(reading(type_), type_)


def _read_few(wire: _Wire, column: Column, cells: Few) -> pa.Array:
    return _typed(partial(wire.read_few, cells), *column)


def _apart(rows: bytes, lengths: Sequence[int], wires: Sequence[str]) -> list[list[bytes | None]]:
    """The cells of each column, as `_cut` finds them."""
    found: list[list[bytes | None]] = [[] for _ in wires]
    columns = [(cells, WIRES[wire].width) for cells, wire in zip(found, wires, strict=True)]
    begin = 0
    for length in lengths:
        at, end = begin + 2, begin + length
        wrong = rows[begin:at] != len(wires).to_bytes(2)
        for cells, width in columns:
            size = int.from_bytes(rows[at : at + 4], signed=True)
            at += 4
            if size == -1:
                cells.append(None)
                continue
            wrong |= size < 0 or at + size > end or (width > 0 and size != width)
            cells.append(rows[at : at + size])
            at += size
        if wrong or at != end:
            raise psycopg.InternalError(_OTHER_CELLS)
        begin = end
    return found


def _cut(rows: bytearray, lengths: Sequence[int], wires: Sequence[str]) -> list[_Cells]:
    """Where the cells of each column are: all of them within their rows, which they fill."""
    rows += bytes(_PAD)
    ends = np.cumsum(np.array(lengths, np.int64))
    at, found = ends - lengths, []
    try:
        if (_every(rows, np.dtype(">i2"), at) != len(wires)).any():
            raise IndexError
        at += 2
        for wire in wires:
            found.append(_Cells(rows, at, WIRES[wire].width, WIRES[wire].form))
            at = found[-1].end
        if not np.array_equal(at, ends):
            raise IndexError
    except IndexError:
        raise psycopg.InternalError(_OTHER_CELLS) from None
    return found


def _every(rows: bytearray, form: np.dtype[Any], at: Numbers) -> Numbers:
    """What stands at each of the places `at`."""
    # As mere bytes: of those numpy copies each item at once, of a form each of its fields.
    view = np.ndarray((len(rows) - form.itemsize + 1,), f"V{form.itemsize}", rows, strides=(1,))
    return view[at].view(form)


class _Cells:
    """The cells of a column, read by `form` at each place `at`: their size and what they begin with.

    begin, end: of what each holds. null: which are NULL, None if no one is. width: bytes that each other holds, 0 if
    they differ. Raises IndexError.
    """

    def __init__(self, rows: bytearray, at: Numbers, width: int, form: np.dtype[Any]) -> None:
        self.rows, self.begin, self.null = rows, at + 4, None
        self._found = _every(rows, form, at)
        sizes = self.numbers("size")
        if width and (sizes == width).all():
            self.end = self.begin + width
            return
        if sizes.min() < 0:
            self.null = sizes < 0
            if (sizes < -1).any():
                raise IndexError
            sizes[self.null] = 0
        self.end = self.begin + sizes
        if width and not self.hold(width):
            raise IndexError

    def hold(self, sizes: int | Numbers) -> bool:
        """Whether each that is not NULL holds so many bytes."""
        wrong = self.end - self.begin != sizes
        return not (wrong if self.null is None else wrong & ~self.null).any()

    def numbers(self, field: str) -> Numbers:
        """A field of the form, any number where a cell is NULL."""
        found = self._found[field]
        return found.astype(found.dtype.newbyteorder("="))

    def array(self, type_: pa.DataType, values: Numbers) -> pa.Array:
        valid = None if self.null is None else pa.py_buffer(np.packbits(~self.null, bitorder="little"))
        return pa.Array.from_buffers(type_, self._found.size, [valid, pa.py_buffer(values)])


class Whole(_Cells):
    """Numbers that were read another way, as if they were a column's cells, none of them NULL."""

    def __init__(self, values: Numbers, wire: str) -> None:
        kind = WIRES[wire].form["value"].newbyteorder("=")
        self.null, self._found = None, values.astype(kind).view([("value", kind)])


class Elements(_Cells):
    """The numbers of an array without NULLs, which lie behind each other like cells. Raises IndexError."""

    def __init__(self, rows: bytearray, at: int, count: int, wire: str) -> None:
        form = WIRES[wire].form
        self.count, self.null, self._found = count, None, np.frombuffer(rows, form, count, at)
        if (self._found["size"] != form.itemsize - _SIZE).any():
            raise IndexError


Reader = Callable[[_Cells, TrinoType], pa.Array]
FewReader = Callable[[Few, TrinoType], pa.Array]


class _Wire:
    """How cells of a type are read. width: bytes that each holds, 0 if they differ. form: what stands at each."""

    def __init__(self, read: Reader, read_few: FewReader, width: int = 0, **begin: str) -> None:
        self.read, self.read_few, self.width = read, read_few, width
        self.form = np.dtype([("size", ">i4"), *begin.items()])


def _plain(kind: str, arrow: pa.DataType, epoch: int = 0) -> _Wire:
    """A number as it is. epoch: what its zero is in Arrow; what is infinite lands outside all years either way."""

    def read(cells: _Cells, _: TrinoType) -> pa.Array:
        values = cells.numbers("value")
        if epoch:
            values += epoch
        return cells.array(arrow, values)

    def number(cell: bytes) -> int:
        return int.from_bytes(cell, signed=True) + epoch

    return _Wire(read, _each(number, arrow), np.dtype(kind).itemsize, value=kind)


def _float(kind: str, form: str, arrow: pa.DataType) -> _Wire:
    unpack = struct.Struct(form).unpack
    whole = _plain(kind, arrow)
    return _Wire(whole.read, _each(lambda cell: unpack(cell)[0], arrow), whole.width, value=kind)


def _each(value: Callable[[bytes], Any], arrow: pa.DataType) -> FewReader:
    """Reads cells one by one."""

    def read(cells: Few, _: TrinoType) -> pa.Array:
        return pa.array([None if cell is None else value(cell) for cell in cells], arrow)

    return read


def _booleans(cells: _Cells, _: TrinoType) -> pa.Array:
    return cells.array(pa.bool_(), np.packbits(cells.numbers("value"), bitorder="little"))


def _times(cells: _Cells, _: TrinoType) -> pa.Array:
    return _of_day(cells.array(pa.int64(), cells.numbers("value")))


def _few_times(cells: Few, type_: TrinoType) -> pa.Array:
    return _of_day(WIRES["int8"].read_few(cells, type_))


def _of_day(ticks: pa.Array) -> pa.Array:
    found = pc.min_max(ticks).as_py()
    if found["min"] is not None and (found["min"] < 0 or found["max"] >= _DAY):
        raise Unfit("the time of day 24:00, or none")
    return ticks.cast(pa.time64("us"))


def _binaries(cells: _Cells, _: TrinoType) -> pa.Array:
    return cut(cells.rows, cells.begin, cells.end, cells.null)


def _few_binaries(cells: Few, _: TrinoType) -> pa.Array:
    return pa.array(cells, pa.binary())


def _texts(cells: _Cells, type_: TrinoType) -> pa.Array:
    return _binaries(cells, type_).cast(pa.string())  # raises where they are not UTF-8


def _few_texts(cells: Few, type_: TrinoType) -> pa.Array:
    return _few_binaries(cells, type_).cast(pa.string())


# --- numeric -----------------------------------------------------------------------------------------


def _numerics(cells: _Cells, type_: TrinoType) -> pa.Array:
    """Exact decimals of the declared digits; whole numbers as decimals without a fraction."""
    digits, scale = _digits(type_)
    exact = pa.decimal128(digits, scale)
    head = cells.numbers("head")
    if cells.null is not None:
        head[cells.null] = 0
    count, sign = head >> 48, head >> 16 & 0xFFFF
    if not cells.hold(8 + 2 * count):
        raise Unfit("other groups than it says")
    if (sign & ~_MINUS).any():
        raise Unfit("NaN or infinity")
    behind = -(-scale // 4)  # groups behind the point that the type can hold, the last one perhaps in part
    groups = (head << 16 >> 48) + (1 + behind)  # from the first one down to the last of these
    if (count > groups).any():
        raise Unfit("more digits behind the point")
    (many,) = np.nonzero(groups > 4)
    if many.size:
        quads = _many(cells, cells.begin[many] + 8, count[many], groups[many])
        large = _joined(np.where(sign[many] == 0, quads, -quads), behind, exact)
        count[many] = 0
    found = np.empty((head.size, 2), np.int64)
    few = _few(cells.numbers("first"), count, groups, 10 ** (4 * behind - scale))
    if digits < 16 and few.max() >= 10**digits:
        raise Unfit("more digits before the point")
    np.negative(few, out=few, where=sign != 0)
    found[:, 0], found[:, 1] = few, few >> 63
    if many.size:
        found[many] = large
    return cells.array(exact, found)


def _digits(type_: TrinoType) -> tuple[int, int]:
    return type_.args if type_.name == "decimal" else (38, 0)


def _few_numerics(cells: Few, type_: TrinoType) -> pa.Array:
    """As `_numerics`, number by number."""
    digits, scale = _digits(type_)
    bits = b"".join([_numeric(cell, digits, scale).to_bytes(16, "little", signed=True) for cell in cells])
    valid = None if None not in cells else pa.array([cell is not None for cell in cells]).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(digits, scale), len(cells), [valid, pa.py_buffer(bits)])


def _numeric(cell: bytes | None, digits: int, scale: int) -> int:
    """How many of the smallest units of the type a number is, 0 for NULL."""
    if cell is None:
        return 0
    groups = [int.from_bytes(cell[at : at + 2]) for at in range(8, len(cell), 2)]
    if len(cell) % 2 or len(cell) < 8 or len(groups) != int.from_bytes(cell[:2]):
        raise Unfit("other groups than it says")
    sign = int.from_bytes(cell[4:6])
    if sign & ~_MINUS:
        raise Unfit("NaN or infinity")
    found = 0
    for group in groups:
        found = 10_000 * found + group
    behind = -(-scale // 4)  # groups behind the point that the type can hold, the last one perhaps in part
    places = int.from_bytes(cell[2:4], signed=True) + 1 + behind  # from the first group down to the last of these
    if len(groups) > places:
        raise Unfit("more digits behind the point")
    if places > 12:
        raise Unfit("more digits before the point")
    last: int = 10_000 ** (places - len(groups))
    unit: int = 10 ** (4 * behind - scale)
    found, rest = divmod(found * last, unit)
    if rest:
        raise Unfit("more digits behind the point")
    if found >= 10**digits:
        raise Unfit("more digits before the point")
    return -found if sign else found


def _few(first: Numbers, count: Numbers, groups: Numbers, rest: int) -> Numbers:
    """The numbers that at most four groups make; `rest` of their last ones are one."""
    first >>= _BESIDE.take(count)
    found = first & 0xFFFF
    for place, unit in ((16, 10**4), (32, 10**8), (48, 10**12)):
        found += (first >> place & 0xFFFF) * unit
    found = found.view(np.int64)
    found *= _UNITS.take(groups - count, mode="clip")
    if rest == 1:
        return found
    whole = found // rest
    if (whole * rest != found).any():
        raise Unfit("more digits behind the point")
    return whole


def _many(cells: _Cells, begin: Numbers, count: Numbers, groups: Numbers) -> Numbers:
    """Of numbers that have at most 12 groups: three numbers of four groups each."""
    if (groups > 12).any():
        raise Unfit("more digits before the point")
    found = np.zeros((3, begin.size), np.int64)
    for place in range(12):
        index = groups - (12 - place)
        there = (index >= 0) & (index < count)
        group = np.where(there, _every(cells.rows, np.dtype(">i2"), begin + 2 * np.where(there, index, 0)), 0)
        found[place // 4] = found[place // 4] * 10_000 + group
    return found


def _joined(quads: Numbers, behind: int, type_: pa.DataType) -> Numbers:
    """The decimals that three numbers of four groups make, the last `behind` of them behind the point."""
    high, middle, low = (pa.array(quad).cast(pa.decimal256(19, 0)) for quad in quads)
    total = pc.add(pc.multiply(pc.add(pc.multiply(high, _QUAD), middle), _QUAD), low)
    exact = pa.Array.from_buffers(pa.decimal256(76, 4 * behind), len(total), [None, total.buffers()[1]])
    return np.frombuffer(exact.cast(type_).buffers()[1], np.int64).reshape(-1, 2)


WIRES: dict[str, _Wire] = {
    "int2": _plain(">i2", pa.int16()),
    "int4": _plain(">i4", pa.int32()),
    "int8": _plain(">i8", pa.int64()),
    "numeric": _Wire(_numerics, _few_numerics, head=">i8", first=">u8"),
    "float4": _float(">f4", ">f", pa.float32()),
    "float8": _float(">f8", ">d", pa.float64()),
    "bool": _Wire(_booleans, _each(lambda cell: cell != b"\0", pa.bool_()), 1, value="u1"),
    "date": _plain(">i4", pa.date32(), 10_957),
    "time": _Wire(_times, _few_times, 8, value=">i8"),
    "timestamp": _plain(">i8", pa.timestamp("us"), 10_957 * _DAY),
    "timestamptz": _plain(">i8", pa.timestamp("us", "UTC"), 10_957 * _DAY),
    "bytea": _Wire(_binaries, _few_binaries),
    "text": _Wire(_texts, _few_texts),
}
"""PostgreSQL's names of the types that it is asked for."""
