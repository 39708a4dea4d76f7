"""Arrow IPC as a stranger sends it: what a message says of itself is checked before its body is read or unpacked.

    Reader(read_into)         a stream, message by message: `schema`, then `next()`
    read_batch(raw, schema)   one batch that stands alone
    pieces(batch)             what a sender does: batches that every reader takes

A packed kilobyte can claim to be a gigabyte, and a column of NULLs has any length without a byte. So the sizes
of a batch, bytes of its buffers when unpacked and values at all depths, are added up out of its head, and one
that is over `BATCH_BYTES` or `BATCH_VALUES` is refused. Types by which few bytes stand for many (dictionaries,
runs, views) are refused too: nobody sends them.

All faults are ValueError, or what Arrow raises.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa

__all__ = ["BATCH_BYTES", "BATCH_VALUES", "Head", "Reader", "pieces", "read_batch", "read_schema"]

BATCH_BYTES: Final = 1 << 26
BATCH_VALUES: Final = 1 << 23
"""Of what is accepted in one batch. `pieces` stays far below."""
HEAD_BYTES: Final = 1 << 22
"""Of a message's head: the names in a schema, or an end record."""
PIECE_BYTES: Final = 1 << 21
"""Of what is sent at once. A reader who is slow makes whoever stands between hold a few of them."""
PIECE_VALUES: Final = 1 << 20

_MARK = 0xFFFFFFFF
_END = struct.pack("<Ii", _MARK, 0)
_ALIGNED = 64
_SCHEMA, _BATCH = 1, 3
"""`MessageHeader` in Arrow's Message.fbs."""
_INT, _SHORT, _BYTE, _LONG = (struct.Struct(form) for form in ("<i", "<h", "<B", "<q"))
_OFFSET, _FIELD = (struct.Struct(form) for form in ("<I", "<H"))
_V5 = 4
"""`MetadataVersion` in Arrow's Schema.fbs: of Arrow 1.0 and later."""


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of a size that every reader takes, as far as a row itself is."""
    values = batch.num_rows + sum(_values(column) for column in batch.columns)
    parts = max(batch.nbytes // PIECE_BYTES, values // PIECE_VALUES) + 1
    if parts == 1:
        yield batch
        return
    step = max(1, -(-batch.num_rows // parts))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def _values(array: pa.Array) -> int:
    """How many values an array has at all depths."""
    if pa.types.is_struct(array.type):
        return len(array) + sum(_values(field) for field in array.flatten())
    if pa.types.is_map(array.type):
        start, end = (array.offsets[0].as_py(), array.offsets[-1].as_py())
        return len(array) + sum(_values(part.slice(start, end - start)) for part in (array.keys, array.items))
    if pa.types.is_list(array.type):
        return len(array) + _values(array.flatten())
    return len(array)


class Reader:
    """A stream of record batches. schema: of all of them."""

    def __init__(self, read_into: Callable[[memoryview], int], most_bytes: int = BATCH_BYTES) -> None:
        """read_into: fills a buffer from its start, as far as it can; returns how many bytes, 0 at the end.

        most_bytes: of a batch, when unpacked.
        """
        self._read_into = read_into
        self._most = most_bytes
        first = self._message()
        if first is None or first[0].kind != _SCHEMA:
            raise ValueError("the stream does not begin with its schema")
        self._first = first[1]
        self.schema = read_schema(self._first)

    def next(self) -> tuple[pa.RecordBatch, Any] | None:
        """The next batch and its custom metadata (None if it has none); None at the end of the stream."""
        message = self._message()
        if message is None:
            return None
        head, raw = message
        batch = _read_batch(head, raw, self.schema, self._most, BATCH_VALUES)
        if not head.has_metadata:
            return batch, None
        # Only Arrow's reader of streams gives the metadata.
        with pa.ipc.open_stream(b"".join((self._first, raw, _END))) as reader:
            return batch, reader.read_next_batch_with_custom_metadata().custom_metadata

    def _message(self) -> tuple[Head, pa.Buffer] | None:
        """One whole message with an aligned body, and what it says of itself; None at the end of the stream."""
        prefix = self._read(8)
        mark, size = struct.unpack("<Ii", prefix)
        if prefix == _END:
            return None
        if mark != _MARK or not 0 < size <= HEAD_BYTES:
            raise ValueError("no message of Arrow")
        first = prefix + self._read(size)
        head = Head(first)
        if not 0 <= head.body <= self._most:
            raise ValueError("a message is larger than any that may be sent")
        before = -len(first) % _ALIGNED
        whole = pa.allocate_buffer(before + len(first) + head.body)
        view = memoryview(whole).cast("B")
        view[before : before + len(first)] = first
        self._fill(view[before + len(first) :])
        return head, whole.slice(before)

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        self._fill(memoryview(data))
        return data

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._read_into(view)
            if not count:
                raise ValueError("the stream was cut")
            view = view[count:]


def read_schema(raw: pa.Buffer) -> pa.Schema:
    """The schema in one message, of types whose values take the space that they say."""
    schema = pa.ipc.read_schema(raw)
    for field in schema:
        _check_type(field.type)
    return schema


def _check_type(kind: pa.DataType) -> None:
    t = pa.types
    if t.is_list(kind) or t.is_map(kind) or t.is_struct(kind):
        for number in range(kind.num_fields):
            _check_type(kind.field(number).type)
    elif not (t.is_primitive(kind) or t.is_decimal(kind) or t.is_null(kind) or kind in _TEXTS):
        raise ValueError(f"the type {kind} is not sent")


_TEXTS = (pa.string(), pa.binary(), pa.large_string(), pa.large_binary())


def read_batch(
    raw: pa.Buffer, schema: pa.Schema, most_bytes: int = BATCH_BYTES, most_values: int = BATCH_VALUES
) -> pa.RecordBatch:
    """The batch in one message, validated. schema: by `read_schema`. most: what it may be when unpacked."""
    return _read_batch(Head(raw), raw, schema, most_bytes, most_values)


def _read_batch(head: Head, raw: pa.Buffer, schema: pa.Schema, most_bytes: int, most_values: int) -> pa.RecordBatch:
    """head: of `raw`."""
    if head.kind != _BATCH:
        raise ValueError("a message that is no batch")
    if not (0 <= head.values <= most_values and 0 <= head.unpacked(raw) <= most_bytes):
        raise ValueError("a batch is larger than any that may be sent")
    batch = pa.ipc.read_record_batch(raw, schema)
    # Offsets out of a batch would read this process's memory: other departments' rows, users' tokens.
    batch.validate(full=True)
    return batch


class Head:
    """The flatbuffer before a message's body, read as far as sizes need it. A malformed one is ValueError.

    kind: `MessageHeader`. body: its bytes. values: of a batch, at all depths.
    """

    def __init__(self, raw: pa.Buffer | bytes | bytearray) -> None:
        """raw: a message from its first byte; its body may be missing."""
        self._data = memoryview(raw).cast("B")
        size = self._at(_INT, 4)
        if not 0 < size <= len(self._data) - 8:
            raise ValueError("no message of Arrow")
        self._end = 8 + size
        self._message = self._follow(8)
        version = self._field(self._message, 0)
        if not version or self._at(_SHORT, version) != _V5:
            # An older one may say in its custom metadata that buffers are packed, and of no size known here.
            raise ValueError("no message of this version of Arrow")
        kind, body = self._field(self._message, 1), self._field(self._message, 3)
        self.kind = self._at(_BYTE, kind) if kind else 0
        self.body = self._at(_LONG, body) if body else 0
        self.has_metadata = bool(self._field(self._message, 4))

    @property
    def values(self) -> int:
        batch = self._batch()
        rows = self._field(batch, 0)
        lengths = [length for length, _ in self._pairs(self._field(batch, 1))]
        counts = [self._at(_LONG, rows) if rows else 0, *lengths]
        return -1 if min(counts) < 0 else sum(counts)

    def unpacked(self, raw: pa.Buffer) -> int:
        """Bytes of all buffers when unpacked, as they say themselves; -1 if one says nonsense."""
        batch, body = self._batch(), memoryview(raw).cast("B")[self._end :]
        is_packed = bool(self._field(batch, 3))
        total = 0
        for offset, length in self._pairs(self._field(batch, 2)):
            if min(offset, length) < 0 or offset + length > len(body):
                return -1
            size = length
            if is_packed and length:
                # A packed buffer begins with its size; -1 says that it was left as it is.
                said = _number(_LONG, body, offset)
                size = length if said == -1 else said
            if size < 0:
                return -1
            total += size
        return total

    def _batch(self) -> int:
        return self._follow(self._field(self._message, 2))

    def _field(self, table: int, number: int) -> int:
        """Where a field of a table stands, 0 if it has none."""
        fields = table - self._at(_INT, table)
        place = 4 + 2 * number
        if place >= self._at(_FIELD, fields):
            return 0
        offset = self._at(_FIELD, fields + place)
        return table + offset if offset else 0

    def _follow(self, place: int) -> int:
        return place + self._at(_OFFSET, place)

    def _pairs(self, place: int) -> list[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        if not place:
            return []
        start = self._follow(place)
        count = self._at(_OFFSET, start)
        if start + 4 + 16 * count > self._end:
            raise ValueError("no message of Arrow")
        return list(struct.iter_unpack("<qq", self._data[start + 4 : start + 4 + 16 * count]))

    def _at(self, form: struct.Struct, place: int) -> int:
        return _number(form, self._data, place)


def _number(form: struct.Struct, data: memoryview, place: int) -> int:
    try:
        # A negative place would count from the end.
        (found,) = form.unpack_from(data, place) if place >= 0 else ()
    except (struct.error, ValueError) as bad:
        raise ValueError("no message of Arrow") from bad
    return int(found)
