"""What crosses the trust line is read as a stranger's: bytes that lie about themselves are refused, not followed."""

from __future__ import annotations

import base64
import io
import struct
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.exchange import EndRecord, Fragment, Head, Question, Receipt, decode_keys, encode_keys, key_fields
from catalog.ipc import BATCH_BYTES, Reader, pieces
from catalog.ipc import Head as MessageHead
from connectors.agent.receipt import Frames


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
    with pytest.raises(ValueError, match="no plain Arrow stream"):
        decode_keys(base64.b64encode(whole.replace(honest, forged)).decode())


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_packed_keys_are_refused_before_they_are_unpacked(compression: str) -> None:
    """A few kilobytes would become gigabytes; who sends keys honestly sends them plain."""
    with pytest.raises(ValueError, match="no plain Arrow stream"):
        decode_keys(text_of(pa.table({"k": pa.array([0] * 1_000_000, pa.int64())}), compression))


def test_keys_packed_in_the_way_of_arrows_first_versions_are_refused_too() -> None:
    """There the message says in words beside it that its buffers are packed; the batch itself says nothing of it."""
    packed = struct.pack("<q", 8_000_000) + pa.Codec("zstd").compress(bytes(8_000_000), asbytes=True)
    column = pa.Array.from_buffers(pa.int64(), len(packed) // 8, [None, pa.py_buffer(packed)])
    batch = pa.record_batch([column], names=["k"])
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(metadata_version=pa.ipc.MetadataVersion.V4)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "ZSTD"})
    before = pa.total_allocated_bytes()
    with pytest.raises(ValueError, match="no plain Arrow stream") as refusal:
        decode_keys(base64.b64encode(sink.getvalue().to_pybytes()).decode())
    assert "version" in str(refusal.value.__cause__)
    assert pa.total_allocated_bytes() - before < 1_000_000


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


@pytest.mark.parametrize("text", ["x" * 20_000_000, [1] * 3_000_000], ids=["a text", "a list"])
def test_a_row_is_never_cut_and_rows_that_are_large_travel_one_by_one(text: object) -> None:
    assert [piece.num_rows for piece in pieces(pa.record_batch([pa.array([text, text])], names=["c0"]))] == [1, 1]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["some text"] * 2_000_000),
        pa.array([True] * 5_000_000),
        pa.array([[True] * 1000] * 5_000),
        pa.array([[(1, None)] * 500] * 5_000, pa.map_(pa.int64(), pa.null())),
        pa.array([{"a": 1, "b": None}] * 1_000_000),
        pa.nulls(3_000_000),
        pa.nulls(0),
    ],
    ids=lambda column: str(column.type),
)
def test_what_is_cut_into_pieces_arrives_whole(column: pa.Array) -> None:
    batch = pa.record_batch([column], names=["c0"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        for piece in pieces(batch):
            writer.write_batch(piece)
    reader = Reader(io.BytesIO(sink.getvalue()).readinto)
    read = [found[0] for found in iter(reader.next, None) if found is not None]
    assert pa.Table.from_batches(read, batch.schema).equals(pa.Table.from_batches([batch]))
    assert all(piece.nbytes < BATCH_BYTES // 4 for piece in read)


def beside_a_batch(told: dict[bytes, bytes]) -> bytes:
    """A stream of one empty batch that has this beside it."""
    batch = pa.record_batch([pa.array([], pa.int64())], names=["c0"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata=told)
    return bytes(sink.getvalue().to_pybytes())


@given(st.dictionaries(st.text().map(str.encode), st.text().map(str.encode), max_size=8))
def test_what_is_said_beside_a_batch_is_read_as_it_was_sent(told: dict[bytes, bytes]) -> None:
    (_, found) = Reader(io.BytesIO(beside_a_batch(told)).readinto).next() or (None, None)
    assert (found or {}) == told


def test_more_than_a_few_words_beside_a_batch_are_refused() -> None:
    """They may lie one over another: a head of a megabyte would become gigabytes."""
    reader = Reader(io.BytesIO(beside_a_batch({b"%d" % n: b"x" for n in range(9)})).readinto)
    with pytest.raises(ValueError, match="more beside it"):
        reader.next()


def test_words_beside_a_batch_that_leave_its_head_are_refused() -> None:
    raw = beside_a_batch({b"name": b"value"})
    message = raw[pa.schema([("c0", pa.int64())]).serialize().size :] + bytes(1000)
    assert MessageHead(message).metadata == {b"name": b"value"}
    longer = message.replace(struct.pack("<I", 5) + b"value", struct.pack("<I", 500) + b"value")
    with pytest.raises(ValueError, match="no message"):
        assert MessageHead(longer).metadata


@given(st.data())
def test_a_message_with_any_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    """Nothing but ValueError, or what Arrow raises: whoever reads turns both into one refusal."""
    batch = pa.record_batch([pa.array(["ab", None]), pa.array([[1], [2, 3]])], names=["c0", "c1"])
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=data.draw(st.sampled_from([None, "lz4", "zstd"])))
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch, custom_metadata={"k": "v", "atoll-end": "{}"})
    raw = bytearray(sink.getvalue().to_pybytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        reader = Reader(io.BytesIO(raw).readinto)
        while reader.next() is not None:
            continue
    except (ValueError, pa.ArrowException, OSError):
        return


# ---- which message brings how many sets of keys

ONE, OTHER = encode_keys(pa.array([1, 2])), encode_keys(pa.array(["a"]))
ASKED = {"query_id": "q", "fragment_id": "f", "sql": "SELECT 1 AS c0"}


class OldFragment(BaseModel):
    """What an agent that knows one set of keys reads, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    query_id: str
    fragment_id: str
    sql: str
    keys: str | None = None
    timeout: int = 60
    dry_run: bool = False
    witness: Head | None = None
    question: Question | None = None


@pytest.mark.parametrize("keys", [None, ONE], ids=["no keys", "one set"])
def test_a_message_with_one_set_is_read_by_an_agent_that_knows_but_one(keys: str | None) -> None:
    sent = Fragment.model_validate({**ASKED, "keys": keys}).model_dump_json()
    assert OldFragment.model_validate_json(sent).keys == keys
    assert Fragment.model_validate_json(sent).parts == (() if keys is None else (keys,))


def test_a_message_of_another_time_zone_is_refused_by_an_agent_that_knows_but_one() -> None:
    """In UTC its moments would be others."""
    assert "time_zone" not in Fragment.model_validate(ASKED).model_dump(mode="json")
    sent = Fragment.model_validate({**ASKED, "time_zone": "Asia/Shanghai"}).model_dump_json()
    assert Fragment.model_validate_json(sent).time_zone == "Asia/Shanghai"
    with pytest.raises(ValidationError, match="time_zone"):
        OldFragment.model_validate_json(sent)


def test_a_message_with_several_sets_is_refused_by_an_agent_that_knows_but_one() -> None:
    """Refused, not read in part: without its second set it would deliver more, and with a wrong text nothing."""
    sent = Fragment.model_validate({**ASKED, **key_fields([ONE, OTHER])}).model_dump(mode="json")
    assert Fragment.model_validate(sent).parts == (ONE, OTHER)
    for left_out in ((), ("version",), ("key_sets",)):
        with pytest.raises(ValidationError):
            OldFragment.model_validate({k: v for k, v in sent.items() if k not in left_out})


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 1, "key_sets": [ONE, OTHER]},
        {"version": 1, "key_sets": [ONE]},
        {"version": 1, "keys": ONE, "key_sets": [OTHER]},
        {"version": 2},
        {"version": 2, "keys": ONE},
        {"version": 2, "key_sets": []},
        {"version": 2, "key_sets": [ONE]},
        {"version": 2, "keys": ONE, "key_sets": [ONE, OTHER]},
        {"version": 2, "key_sets": [ONE] * 5},
        {"version": 2, "key_sets": [ONE, None]},
        {"version": 3, "key_sets": [ONE, OTHER]},
    ],
    ids=str,
)
def test_no_message_says_in_two_ways_which_keys_it_brings(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fragment.model_validate({**ASKED, **fields})


@pytest.mark.parametrize("keys", [{}, {"$keys": 2, "$keys1": 1}], ids=["one set", "two sets"])
def test_a_receipt_names_the_sets_that_were_several_and_says_nothing_new_else(keys: dict[str, int]) -> None:
    receipt = Receipt(
        id="r", department="d", query_id="q", fragment_id="f", sub="s", purpose="p", sql_sha256="", keys=keys,
        ledger=Head(seq=0, hash=""),
    )  # fmt: skip
    assert receipt.model_dump().get("keys", {}) == keys
    assert (b'"keys"' in receipt.signed_bytes()) is bool(keys)
    end = EndRecord(outcome="OK", rows=0, receipt=receipt)
    assert (b'"keys"' in end.signed_bytes()) is bool(keys)
    assert EndRecord.from_metadata(end.to_metadata()) == end


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("warnings", [(), ("generated rows",)])
def test_large_batches_are_packed_and_small_ones_not_in_one_stream(near: bool, warnings: tuple[str, ...]) -> None:
    kind = pa.map_(pa.string(), pa.list_(pa.int64()))
    few = pa.record_batch([pa.array([1, None]), pa.array([[("k", [1])], None], kind)], names=["c0", "c1"])
    many = pa.concat_batches([few] * 2000)
    frames = Frames(few.schema, near, warnings)
    sent = [frames.start(), frames.batch(few), frames.batch(many), frames.batch(few)]
    end = EndRecord(outcome="OK", rows=frames.rows)
    stream = b"".join((*sent, frames.end(end)))
    assert len(sent[2]) < many.nbytes / 2
    assert pa.ipc.open_stream(stream).read_all() == pa.Table.from_batches([few, many, few])
    reader, found = Reader(io.BytesIO(stream).readinto), []
    while (message := reader.next()) is not None:
        found.append(message)
    assert [batch for batch, _ in found] == [few, many, few, few.slice(0, 0)]
    assert [EndRecord.from_metadata(metadata) for _, metadata in found] == [None, None, None, end]
    assert (frames.rows, frames.bytes) == (4004, sum(map(len, sent)))
