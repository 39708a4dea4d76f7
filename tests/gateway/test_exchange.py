"""What crosses the trust line is read as a stranger's: bytes that lie about themselves are refused, not followed."""

from __future__ import annotations

import base64
import struct

import pyarrow as pa
import pytest

from catalog.exchange import decode_keys, encode_keys


def text_of(table: pa.Table, compression: str | None = None) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue().to_pybytes()).decode()


@pytest.mark.parametrize("keys", [[1, 2], ["ab", "ç"], [], [1.5], [True]], ids=str)
def test_bind_keys_arrive_as_they_were_sent(keys: list[object]) -> None:
    sent = pa.array(keys, None if keys else pa.string())
    assert decode_keys(encode_keys(sent)).equals(sent)


def test_keys_whose_offsets_leave_the_message_are_no_window_into_the_agents_memory() -> None:
    whole = base64.b64decode(encode_keys(pa.array(["abcd", "efgh", "ijkl"])))
    honest, forged = (struct.pack("<4i", *ends) for ends in ((0, 4, 8, 12), (0, 100_000, 8, 12)))
    assert honest in whole
    with pytest.raises(ValueError, match="no Arrow stream"):
        decode_keys(base64.b64encode(whole.replace(honest, forged)).decode())


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_packed_keys_are_refused_before_they_are_unpacked(compression: str) -> None:
    """A few kilobytes would become gigabytes; who sends keys honestly sends them plain."""
    with pytest.raises(ValueError, match="no plain Arrow stream"):
        decode_keys(text_of(pa.table({"k": pa.array([0] * 1_000_000, pa.int64())}), compression))


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"k": pa.array(["a"]).dictionary_encode()}),
        pa.table({"k": pa.array([[1]])}),
        pa.table({"k": pa.RunEndEncodedArray.from_arrays(pa.array([1_000_000], pa.int32()), pa.array([1]))}),
        pa.table({"k": pa.array([None, 1])}),
        pa.table({"k": pa.nulls(3)}),
        pa.table({"n": [1]}),
        pa.table({"k": [1], "n": [1]}),
    ],
    ids=lambda table: str(table.schema).replace("\n", ", "),
)
def test_keys_are_one_column_of_plain_values(table: pa.Table) -> None:
    with pytest.raises(ValueError, match="the keys part"):
        decode_keys(text_of(table))


@pytest.mark.parametrize("text", ["", "????", "AAAA", base64.b64encode(b"\xff\xff\xff\xff").decode()], ids=repr)
def test_keys_that_are_no_stream_at_all(text: str) -> None:
    with pytest.raises(ValueError, match=r"the keys part|base64"):
        decode_keys(text)
