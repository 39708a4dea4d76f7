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
from functools import cached_property
from typing import Final

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
_OFFSET, _SIZE = (struct.Struct(form) for form in ("<I", "<H"))
MOST_FIELDS = 5
"""Of a table that are looked at."""
_SIZES = [struct.Struct(f"<{count}H") for count in range(MOST_FIELDS + 1)]
MOST_METADATA = 8
"""Names and values beside a message: together no more than a batch, if each is as long as a head."""
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
        self.schema = read_schema(first[1])

    def next(self) -> tuple[pa.RecordBatch, dict[bytes, bytes] | None] | None:
        """The next batch and its custom metadata (None if it has none); None at the end of the stream."""
        message = self._message()
        if message is None:
            return None
        head, raw = message
        return _read_batch(head, raw, self.schema, self._most, BATCH_VALUES), head.metadata

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
    if t.is_primitive(kind) or t.is_decimal(kind) or t.is_null(kind) or kind in _TEXTS:
        return
    if not (t.is_list(kind) or t.is_map(kind) or t.is_struct(kind)):
        raise ValueError(f"the type {kind} is not sent")
    for number in range(kind.num_fields):
        _check_type(kind.field(number).type)


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

    kind: `MessageHeader`. body: its bytes. values: of a batch, at all depths. metadata: what is said beside it.
    """

    def __init__(self, raw: pa.Buffer | bytes | bytearray) -> None:
        """raw: a message from its first byte; its body may be missing."""
        self._data = memoryview(raw).cast("B")
        size = self._at(_INT, 4)
        if not 0 < size <= len(self._data) - 8:
            raise ValueError("no message of Arrow")
        self._end = 8 + size
        version, kind, self._header, body, self._told = self._fields(self._follow(8))
        if not version or self._at(_SHORT, version) != _V5:
            # An older one may say in its custom metadata that buffers are packed, and of no size known here.
            raise ValueError("no message of this version of Arrow")
        self.kind = self._at(_BYTE, kind) if kind else 0
        self.body = self._at(_LONG, body) if body else 0

    @property
    def values(self) -> int:
        rows, fields = self._batch[:2]
        lengths = [length for length, _ in self._pairs(fields)]
        counts = [self._at(_LONG, rows) if rows else 0, *lengths]
        return -1 if min(counts) < 0 else sum(counts)

    def unpacked(self, raw: pa.Buffer) -> int:
        """Bytes of all buffers when unpacked, as they say themselves; -1 if one says nonsense."""
        (buffers, packing), body = self._batch[2:4], memoryview(raw).cast("B")[self._end :]
        total = 0
        for offset, length in self._pairs(buffers):
            if min(offset, length) < 0 or offset + length > len(body):
                return -1
            size = length
            if packing and length:
                # A packed buffer begins with its size; -1 says that it was left as it is.
                (said,) = _numbers(_LONG, body, offset)
                size = length if said == -1 else said
            if size < 0:
                return -1
            total += size
        return total

    @property
    def metadata(self) -> dict[bytes, bytes] | None:
        if not self._told:
            return None
        start = self._follow(self._told)
        count = self._at(_OFFSET, start)
        if count > MOST_METADATA:  # they may lie one over another: then few bytes would be many
            raise ValueError("a message says more beside it than is ever sent")
        tables = [self._fields(self._follow(start + 4 + 4 * number)) for number in range(count)]
        return {self._text(key): self._text(value) for key, value, *_ in tables}

    @cached_property
    def _batch(self) -> list[int]:
        return self._fields(self._follow(self._header))

    def _fields(self, table: int) -> list[int]:
        """Where the first fields of a table stand, 0 for each that it doesn't have."""
        start = table - self._at(_INT, table)
        count = max(0, min((self._at(_SIZE, start) - 4) // 2, MOST_FIELDS))
        offsets = _numbers(_SIZES[count], self._data, start + 4)
        return [table + offset if offset else 0 for offset in offsets] + [0] * (MOST_FIELDS - count)

    def _follow(self, place: int) -> int:
        return place + self._at(_OFFSET, place)

    def _pairs(self, place: int) -> list[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        if not place:
            return []
        start = self._follow(place)
        count = self._at(_OFFSET, start)
        return list(struct.iter_unpack("<qq", self._part(start + 4, 16 * count)))

    def _text(self, place: int) -> bytes:
        if not place:
            return b""
        start = self._follow(place)
        return bytes(self._part(start + 4, self._at(_OFFSET, start)))

    def _part(self, start: int, size: int) -> memoryview:
        if start + size > self._end:
            raise ValueError("no message of Arrow")
        return self._data[start : start + size]

    def _at(self, form: struct.Struct, place: int) -> int:
        return _numbers(form, self._data, place)[0]


def _numbers(form: struct.Struct, data: memoryview, place: int) -> tuple[int, ...]:
    if place < 0:  # it would count from the end
        raise ValueError("no message of Arrow")
    try:
        return form.unpack_from(data, place)
    except struct.error as bad:
        raise ValueError("no message of Arrow") from bad
