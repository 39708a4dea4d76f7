"""Content codings, both ways: answers as the client accepts them, request bodies without bombs."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import httpx
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from gateway.server.compress import CODINGS, coding, packed
from tests.protocol.test_lifecycle import pages, run

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
BIG = "SELECT id, text FROM water.main.big ORDER BY id LIMIT 30000"


@pytest.mark.parametrize("name", CODINGS)
def test_pages_are_packed_as_the_client_accepts(client: httpx.Client, name: str) -> None:
    client.headers["Accept-Encoding"] = name
    page = client.post("/v1/statement", content=BIG)
    assert "Content-Encoding" not in page.headers, "a short page is not worth it"
    rows = 0
    while uri := page.json().get("nextUri"):
        with client.stream("GET", uri) as page:
            raw = b"".join(page.iter_raw())
            packed_as = page.headers.get("Content-Encoding")
            plain = UNPACK[packed_as](raw) if packed_as else raw
            assert page.headers["Vary"] == "Accept-Encoding"
            assert int(page.headers["Content-Length"]) == len(raw)
            found = orjson.loads(plain)
            rows += len(found.get("data", ()))
            assert packed_as == (name if len(found.get("data", ())) > 1000 else packed_as)
        page = httpx.Response(200, content=plain)
    assert rows == 30_000


def test_nothing_is_packed_for_a_client_that_does_not_ask(client: httpx.Client) -> None:
    client.headers["Accept-Encoding"] = "identity"
    assert all("Content-Encoding" not in page.headers for page in pages(client, BIG))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("zstd;q=0, gzip;q=0.1", "gzip"),
        ("br", ""),
        ("*", "zstd"),
        ("*;q=0", ""),
        ("identity;q=1, gzip;q=0.5", ""),
        ("gzip;q=nonsense", ""),
        (",,;;q=", ""),
    ],
)
def test_the_clients_weights_decide(header: str, expected: str) -> None:
    assert coding(Headers({"Accept-Encoding": header})) == expected


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "1e5", "2", "-1", "0x1", "1_0", "", ".5", "0.1234", "١"])
def test_what_is_no_weight_counts_as_none(weight: str) -> None:
    strange = f"zstd;q={weight}".encode()
    for header in (strange, strange + b", gzip", b"gzip, " + strange):
        asked = Headers(raw=[(b"accept-encoding", header)])
        assert coding(asked) == ("gzip" if b"gzip" in header else "")


@given(st.lists(st.binary(max_size=2000), max_size=5), st.sampled_from(CODINGS))
def test_packed_parts_read_back_as_one(parts: list[bytes], name: str) -> None:
    assert UNPACK[name](packed(name, parts)) == b"".join(parts)


# -- request bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODINGS)
def test_a_statement_may_come_packed(client: httpx.Client, name: str) -> None:
    client.headers["Content-Encoding"] = name
    response = client.post("/v1/statement", content=PACK[name](b"SELECT 1"))
    del client.headers["Content-Encoding"]
    page = response.json()
    while "data" not in page:
        page = client.get(page["nextUri"]).json()
    assert page["data"] == [[1]]


def _status(client: httpx.Client, name: str, content: bytes) -> int:
    return client.post("/v1/statement", content=content, headers={"Content-Encoding": name}).status_code


@pytest.mark.parametrize("name", CODINGS)
def test_a_bomb_is_refused_before_it_is_large(client: httpx.Client, name: str) -> None:
    bomb = PACK[name](b" " * 40_000_000)
    assert len(bomb) < 1_000_000
    assert _status(client, name, bomb) == 413
    assert run(client, "SELECT 1")[0] == [[1]]


@pytest.mark.parametrize("name", CODINGS)
def test_a_broken_body_is_a_bad_request(client: httpx.Client, name: str) -> None:
    whole = PACK[name](b"SELECT 1, 'a longer text that is packed'")
    for content in (b"SELECT 1", whole[:-3], whole[:4], whole + b"more", b"\x00" * 10):
        assert _status(client, name, content) == 400, content


@pytest.mark.parametrize("name", ["br", "gzip, gzip", "nonsense"])
def test_another_coding_is_named_unsupported(client: httpx.Client, name: str) -> None:
    response = client.post("/v1/statement", content=b"SELECT 1", headers={"Content-Encoding": name})
    assert response.status_code == 415
    assert "gzip" in response.headers["Accept-Encoding"]


@pytest.mark.parametrize("content", [b"", b"   "])
def test_an_empty_packed_statement_is_still_empty(client: httpx.Client, content: bytes) -> None:
    assert _status(client, "gzip", gzip.compress(content)) == 400
