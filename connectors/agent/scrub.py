"""Takes out of an Arrow batch what no reader is shown and what is in its memory all the same.

A NULL of Arrow is a bit in one buffer; the value buffer has a place for it nevertheless, and engines leave
there what the expression was computed from: below a `null` mask the raw value, else bytes of the process's
own memory. `scrubbed` puts zeros there. Without it a masked column would travel raw, seen by nobody who
prints the answer and by everybody who reads its bytes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["scrubbed"]

_WIDEST = 32
"""Bytes of the widest fixed-width type (decimal256)."""


def scrubbed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, in memory of their own wherever a NULL could hide something."""
    return pa.record_batch([_column(c) for c in batch.columns], schema=batch.schema)


def _column(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind) or (array.null_count == 0 and not pa.types.is_nested(kind)):
        return array
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind):
        # Elements may hide things at any depth, also such that no list refers to: build it anew.
        return pa.array(array.to_pylist(), kind)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    bits = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    filled = pc.fill_null(array, _zero(kind))
    if filled.offset:
        filled = pc.take(filled, pa.array(np.arange(len(array))))
    return pa.Array.from_buffers(kind, len(array), [bits, *filled.buffers()[1:]], array.null_count)


def _zero(kind: pa.DataType) -> pa.Scalar:
    """Zero, false, or the empty text."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.scalar("", kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.scalar(b"", kind)
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(bytes(_WIDEST))])[0]
