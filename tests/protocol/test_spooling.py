"""Encoded results: segments in the page and segments to fetch, what they hold, and that nothing is left."""

from __future__ import annotations

import base64
import datetime
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import lz4.block
import orjson
import pytest
import trino
import zstandard
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.session import Options
from gateway.server.spool import ENCODINGS, Spool, pack
from tests.protocol.conftest import Served, serve
from tests.protocol.stub import StubGateway
from tests.protocol.test_lifecycle import pages, run, submit

HEADER = "X-Trino-Query-Data-Encoding"
ROWS = 60_000
BIG = f"SELECT id, text FROM water.main.big ORDER BY id LIMIT {ROWS}"


def decoded(encoding: str, data: bytes, metadata: dict[str, Any]) -> list[Any]:
    """The rows of a segment as a client reads them."""
    assert len(data) == metadata["segmentSize"]
    plain_size = metadata.get("uncompressedSize")
    if plain_size is not None:
        if encoding == "json+zstd":
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=plain_size)
        else:
            assert encoding == "json+lz4"
            data = lz4.block.decompress(data, uncompressed_size=plain_size)
        assert len(data) == plain_size
    rows = orjson.loads(data)
    assert len(rows) == metadata["rowsCount"]
    return list(rows)


def read(client: httpx.Client, sql: str, encoding: str, acknowledge: bool = True) -> tuple[list[Any], list[str]]:
    """(rows, kind of each segment)"""
    rows: list[Any] = []
    kinds = []
    for page in pages(client, sql, {HEADER: encoding}):
        assert page.headers[HEADER] == encoding
        data = page.json().get("data")
        if data is None:
            continue
        assert data["encoding"] == encoding
        for segment in data["segments"]:
            kinds.append(segment["type"])
            metadata = segment["metadata"]
            assert metadata["rowOffset"] == len(rows)
            if segment["type"] == "inline":
                content = base64.b64decode(segment["data"], validate=True)
            else:
                # The id is the secret: no login.
                content = httpx.get(segment["uri"]).content
                datetime.datetime.fromisoformat(metadata["expiresAt"])
            rows += decoded(encoding, content, metadata)
            if acknowledge and segment["type"] == "spooled":
                assert httpx.get(segment["ackUri"]).status_code == 200
                assert httpx.get(segment["uri"]).status_code == 404
                assert httpx.get(segment["ackUri"]).status_code == 200, "the first answer may have got lost"
    return rows, kinds


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_long_result_comes_in_segments_to_fetch(client: httpx.Client, encoding: str) -> None:
    rows, kinds = read(client, BIG, encoding)
    assert [row[0] for row in rows] == list(range(ROWS))
    assert rows[-1][1] == f"row {ROWS - 1}"
    assert "spooled" in kinds


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_short_result_travels_in_its_page(client: httpx.Client, encoding: str) -> None:
    rows, kinds = read(client, "SELECT id, text FROM water.main.big ORDER BY id LIMIT 2000", encoding)
    assert [row[0] for row in rows] == list(range(2000))
    assert set(kinds) == {"inline"}
    assert read(client, "SELECT 1", encoding) == ([[1]], ["inline"])


def test_the_first_encoding_that_is_known_wins_and_an_unknown_one_means_plain_rows(client: httpx.Client) -> None:
    found = pages(client, "SELECT 1", {HEADER: "arrow,json+lz4,json"})
    assert {page.headers[HEADER] for page in found} == {"json+lz4"}
    for asked in ({HEADER: "arrow"}, {}):
        found = pages(client, "SELECT 1", asked)
        assert all(HEADER not in page.headers for page in found)
        assert [page.json()["data"] for page in found if "data" in page.json()] == [[[1]]]


def test_a_result_without_rows_and_an_error_have_no_data(client: httpx.Client) -> None:
    for sql in ("SELECT id FROM water.main.big WHERE id < 0", "USE tax.main", "SELECT nope"):
        assert all("data" not in page.json() for page in pages(client, sql, {HEADER: "json+zstd"}))


def test_a_page_with_a_segment_can_be_asked_for_again(client: httpx.Client) -> None:
    page = submit(client, BIG, **{HEADER: "json"})
    while "data" not in page:
        uri = page["nextUri"]
        page = client.get(uri).json()
    assert client.get(uri).json() == page


def test_cancelling_frees_the_segments(served: Served, client: httpx.Client) -> None:
    page = submit(client, BIG, **{HEADER: "json"})
    spooled = None
    while spooled is None:
        page = client.get(page["nextUri"]).json()
        segments = page.get("data", {}).get("segments", [])
        spooled = next((s for s in segments if s["type"] == "spooled"), None)
    client.delete(page["nextUri"])
    assert httpx.get(spooled["uri"]).status_code == 404


def test_segments_of_an_ended_statement_can_be_fetched_as_long_as_they_say() -> None:
    options = Options(gone_seconds=0.1, keep_seconds=0.5, sweep_seconds=0.02)
    with serve(StubGateway(), options) as served, httpx.Client(base_url=served.url, verify=False) as client:
        found = [p.json() for p in pages(client, BIG, {HEADER: "json", "X-Trino-User": "lin"})]
        client.close()
        segments = [s for page in found for s in page.get("data", {}).get("segments", []) if s["type"] == "spooled"]
        until = time.monotonic() + 10
        while served.statements.conversations and time.monotonic() < until:
            threading.Event().wait(0.02)
        assert not served.statements.conversations, "the statement itself is forgotten"
        for segment in segments:
            metadata = segment["metadata"]
            left = datetime.datetime.fromisoformat(metadata["expiresAt"]) - datetime.datetime.now(datetime.UTC).replace(
                tzinfo=None
            )
            assert left.total_seconds() > 800
            assert decoded("json", httpx.get(segment["uri"]).content, metadata)
        assert len(segments) > 0


def test_a_guessed_segment_is_not_found(served: Served) -> None:
    for name in ("x", "A" * 32, "..%2f..%2fetc"):
        assert httpx.get(f"{served.url}/v1/spooled/download/{name}").status_code == 404


def test_spooling_can_be_switched_off() -> None:
    with (
        serve(StubGateway(), Options(spooling=False)) as served,
        httpx.Client(base_url=served.url, headers={"X-Trino-User": "lin"}, verify=False) as client,
    ):
        assert run(client, "SELECT 1", {HEADER: "json"})[0] == [[1]]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_python_client_reads_every_encoding(served: Served, encoding: str) -> None:
    with trino.dbapi.connect(host="127.0.0.1", port=served.port, user="lin", encoding=encoding) as connection:
        cursor = connection.cursor()
        cursor.execute(BIG)
        rows = cursor.fetchall()
        assert [row[0] for row in rows] == list(range(ROWS))


# -- the place where segments wait ---------------------------------------------------------------------


def test_what_does_not_fit_into_memory_lies_encrypted_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, memory_bytes=1_000, disk_bytes=1_000_000)
    assert folder.stat().st_mode & 0o777 == 0o700
    secret = b"canary-value " * 1_000
    name = spool.put("q1", secret, 60)
    assert name is not None
    assert (spool.memory, spool.disk) == (0, len(secret))
    file = spool._segments[name].file
    assert file is not None
    file.seek(0)
    assert b"canary" not in file.read()
    assert list(folder.iterdir()) == [], "the file has no name: whatever happens to the process, it is gone"
    assert spool.read(name) == ("q1", secret)
    spool.close()
    assert file.closed
    with pytest.raises(KeyError):
        spool.read(name)


def test_two_processes_cannot_read_each_others_segments(tmp_path: Path) -> None:
    one, other = Spool(tmp_path, memory_bytes=0), Spool(tmp_path, memory_bytes=0)
    assert one._cipher is not other._cipher
    name = one.put("q", b"x" * 100, 60)
    assert name is not None
    other._segments[name] = one._segments[name]
    with pytest.raises(InvalidTag):
        other.read(name)
    other._segments.clear()
    one.close()
    other.close()


def test_a_segment_that_nobody_fetches_expires() -> None:
    now = [0.0]
    spool = Spool(clock=lambda: now[0])
    name = spool.put("q1", b"rows", 10)
    assert name is not None
    now[0] = 9
    spool.sweep()
    assert spool.read(name) == ("q1", b"rows")
    now[0] = 11
    with pytest.raises(KeyError):
        spool.read(name)
    spool.sweep()
    assert (len(spool), spool.memory) == (0, 0)
    spool.close()


@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "forget"]), st.integers(0, 3), st.integers(0, 400))))
def test_the_spool_never_holds_more_than_it_may_and_forgets_all(steps: list[tuple[str, int, int]]) -> None:
    spool = Spool(memory_bytes=1_000, disk_bytes=500, owner_bytes=900, files=3)
    kept: dict[str, tuple[str, bytes]] = {}
    for number, (kind, owner, size) in enumerate(steps):
        if kind == "put":
            data = bytes([number % 256]) * size
            name = spool.put(f"q{owner}", data, 60)
            if name is not None:
                kept[name] = (f"q{owner}", data)
        elif kind == "drop" and kept:
            name, (expected, _) = kept.popitem()
            assert spool.drop(name) == expected
            assert spool.drop(name) is None
        elif kind == "forget":
            spool.forget(f"q{owner}")
            kept = {n: k for n, k in kept.items() if k[0] != f"q{owner}"}
        assert spool.memory <= 1_000
        assert spool.disk <= 500
        assert len(spool) == len(kept)
        for name, found in kept.items():
            assert spool.read(name) == found
    spool.close()
    assert (spool.memory, spool.disk, len(spool)) == (0, 0, 0)


@given(st.binary(max_size=30_000), st.sampled_from(ENCODINGS))
def test_a_packed_segment_reads_back(data: bytes, encoding: str) -> None:
    packed = pack(encoding, data)
    if packed.plain_size is None:
        assert packed.data == data
    elif encoding == "json+zstd":
        assert zstandard.ZstdDecompressor().decompress(packed.data, max_output_size=packed.plain_size) == data
    else:
        assert lz4.block.decompress(packed.data, uncompressed_size=packed.plain_size) == data
