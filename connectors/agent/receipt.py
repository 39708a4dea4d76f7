"""The framing of an answer: Arrow batches, then an end record with a signed receipt.

`Frames` turns batches into the bytes of an Arrow IPC stream and keeps count and hash of what it gave out, so
that the receipt certifies exactly what was delivered. Batches are packed with zstd, which halves what a network
carries; for a reader on this machine with lz4, which takes a third of the processor's time at both ends. Small ones
are not packed: readers unpack in threads, and to wake those takes longer than a few bytes do.
"""

from __future__ import annotations

import hashlib

import orjson
import pyarrow as pa

from catalog.exchange import WARNINGS_KEY, EndRecord, Receipt
from catalog.keys import KeyRing, SigningKey
from connectors.agent.scrub import scrubbed

__all__ = ["Frames", "sign_end", "sign_receipt"]

# Columns one after the other: threads would take turns with those that read the source and encode for the client.
_FAR = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_NEAR = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_PLAIN = pa.ipc.IpcWriteOptions(use_threads=False)
_WORTH_PACKING = 4096
"""Bytes of a batch."""
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""Of a stream."""


class Frames:
    """rows, bytes: delivered so far, without the end record. `digest()` is their SHA-256, hex.

    near: whoever reads it is on this machine. warnings: what is known to be said before the first row.
    """

    def __init__(self, schema: pa.Schema, near: bool = False, warnings: tuple[str, ...] = ()) -> None:
        self._schema = schema.with_metadata({WARNINGS_KEY: orjson.dumps(warnings)}) if warnings else schema
        self._head = self._schema.serialize().to_pybytes()
        self._options = _NEAR if near else _FAR
        self._hash = hashlib.sha256()
        self.rows = 0
        self.bytes = 0

    def start(self) -> bytes:
        """The schema message."""
        return self._count(self._head)

    def batch(self, batch: pa.RecordBatch) -> bytes:
        self.rows += batch.num_rows
        options = _PLAIN if batch.nbytes < _WORTH_PACKING else self._options
        # The last door: whatever made this batch, nothing lies under its NULLs.
        return self._count(self._message(scrubbed(batch), options))

    def end(self, record: EndRecord) -> bytes:
        """The end record and the stream's end marker."""
        empty = pa.record_batch([pa.nulls(0, f.type) for f in self._schema], schema=self._schema)
        return self._message(empty, _PLAIN, record.to_metadata()) + _END

    def _message(
        self, batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions, metadata: dict[bytes, bytes] | None = None
    ) -> bytes:
        """One batch as it stands in a stream: that of a stream of its own, without head and end."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema, options=options) as writer:
            writer.write_batch(batch, custom_metadata=metadata)
        whole = sink.getvalue()
        return bytes(memoryview(whole)[len(self._head) : -len(_END)])

    def digest(self) -> str:
        return self._hash.hexdigest()

    def _count(self, data: bytes) -> bytes:
        self._hash.update(data)
        self.bytes += len(data)
        return data


def sign_receipt(receipt: Receipt, key: SigningKey | KeyRing) -> Receipt:
    """It goes on without its end record, to whoever keeps it: so it has a signature of its own."""
    return receipt.model_copy(update={"signature": key.sign(receipt.signed_bytes())})


def sign_end(record: EndRecord, key: SigningKey | KeyRing) -> EndRecord:
    return record.model_copy(update={"signature": key.sign(record.signed_bytes())})
