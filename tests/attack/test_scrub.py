"""No raw value travels under a NULL: not in the bytes of an answer, not to the engine that runs analysts' queries."""

from __future__ import annotations

import decimal
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

from connectors.agent.scrub import scrubbed

VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "bigint": (pa.int64(), [8080808080801, -1, 2**62]),
    "integer": (pa.int32(), [77, -77, 2**30]),
    "double": (pa.float64(), [1.5, -0.0, float("nan")]),
    "boolean": (pa.bool_(), [True, True, True]),
    "decimal": (pa.decimal128(12, 2), [decimal.Decimal("1.25"), decimal.Decimal("-9.99"), decimal.Decimal("123.45")]),
    "date": (pa.date32(), [date(1958, 3, 14), date(1971, 6, 30), date(1, 1, 1)]),
    "timestamp": (pa.timestamp("ms"), [datetime(2024, 1, 2, 3, 4, 5)] * 3),
    "text": (pa.string(), ["a-canary-text", "b", ""]),
    "large text": (pa.large_string(), ["a-canary-text", "b", ""]),
    "bytes": (pa.binary(), [b"a-canary-text", b"b", b""]),
    "array": (pa.list_(pa.string()), [["a-canary-text", None], ["b"], []]),
}
"""A type and three values none of which may be seen where it is NULL."""


def hiding(kind: pa.DataType, values: list[Any], valid: int) -> pa.Array:
    """The values, those without their bit in `valid` under NULLs."""
    whole = pa.array(values, kind)
    buffers = [pa.py_buffer(bytes([valid])), *whole.buffers()[1 : 2 if kind.num_fields else None]]
    children = [whole.values] if kind.num_fields else None
    return pa.Array.from_buffers(kind, len(values), buffers, children=children)


def memory_of(array: pa.Array) -> bytes:
    """All that a reader of the bytes would find, after a way through Arrow's own framing."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("c", array.type)])) as writer:
        writer.write_batch(pa.record_batch([array], names=["c"]))
    return bytes(sink.getvalue())


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("valid", [0b000, 0b001, 0b100, 0b101])
def test_the_bytes_are_those_of_any_other_hidden_values(name: str, valid: int) -> None:
    kind, values = VALUES[name]
    others = [v if valid >> i & 1 else values[(i + 1) % 3] for i, v in enumerate(values)]
    one, other = (hiding(kind, v, valid) for v in (values, others))
    assert one.to_pylist() == other.to_pylist() or name == "double"
    clean, twin = (scrubbed(pa.record_batch([a], names=["c"])).column(0) for a in (one, other))
    assert str(clean.to_pylist()) == str(one.to_pylist())
    assert memory_of(clean) == memory_of(twin)
    clean.validate(full=True)


def test_it_matters() -> None:
    """Without it the bytes differ: the values are there."""
    kind, values = VALUES["bigint"]
    assert values[0].to_bytes(8, "little") in memory_of(hiding(kind, values, 0b110))
    assert b"a-canary-text" in memory_of(hiding(*VALUES["text"], 0b110))


@pytest.mark.parametrize("name", VALUES)
def test_a_slice_stays_the_slice(name: str) -> None:
    kind, values = VALUES[name]
    part = pa.array([*values, None, *values, None], kind).slice(2, 5)
    clean = scrubbed(pa.record_batch([part], names=["c"])).column(0)
    assert str(clean.to_pylist()) == str(part.to_pylist())
