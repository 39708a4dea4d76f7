"""What strangers do to a server: each gets a correct status, and nobody else notices."""

from __future__ import annotations

import base64
import gc
import os
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote_plus, urlsplit

import httpx
import orjson
import pyarrow as pa
import pytest
import zstandard

from gateway.server import statement, wire
from gateway.server.conversation import Conversation, Statements
from gateway.server.pages import SMALLEST_PAGE
from gateway.server.session import Options
from gateway.server.wire import MAX_HEAD_BYTES
from tests.protocol.conftest import Served, serve
from tests.protocol.stub import StubGateway
from tests.protocol.test_lifecycle import run, submit

LIN = {"X-Trino-User": "lin"}


@pytest.fixture
def bystander(served: Served) -> Iterator[None]:
    """Somebody in the middle of a long answer, who loses nothing whatever the test does meanwhile."""
    with httpx.Client(base_url=served.url, headers=LIN, timeout=30, verify=False) as client:
        page = client.get(submit(client, "SELECT id FROM water.main.big ORDER BY id LIMIT 10000")["nextUri"]).json()
        assert "nextUri" in page
        yield
        rows = [row[0] for row in page.get("data", [])]
        while "nextUri" in page:
            page = client.get(page["nextUri"]).json()
            rows += [row[0] for row in page.get("data", [])]
        assert rows == list(range(10_000))


pytestmark = pytest.mark.usefixtures("bystander")


def raw(served: Served, *parts: bytes, half_close: bool = False, until: bytes = b"") -> list[tuple[int, bytes]]:
    """Send bytes as they are; (status, body) of every answer until the server closes, or `until` comes."""
    with closing(socket.create_connection(("127.0.0.1", served.port), timeout=10)) as connection:
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while not (until and until in received) and (chunk := connection.recv(65536)):
                received += chunk
        except (ConnectionResetError, BrokenPipeError):
            # A server that has refused need not read the rest.
            pass
    return answers(received)


def answers(received: bytes) -> list[tuple[int, bytes]]:
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(fields.get(b"content-length", b"0"))
        found.append((int(head.split()[1]), rest[:size]))
        received = rest[size:]
    return found


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway", "X-Trino-User: lin", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


# -- requests ------------------------------------------------------------------------------------------


def test_giant_headers_are_refused(served: Served) -> None:
    large = b"GET /v1/info HTTP/1.1\r\nHost: gateway\r\nX-Large: " + b"x" * (MAX_HEAD_BYTES + 1)
    assert [status for status, _ in raw(served, large)] == [431]
    many = b"GET /v1/info HTTP/1.1\r\nHost: gateway\r\n" + b"X-Many: y\r\n" * (MAX_HEAD_BYTES // 10)
    assert [status for status, _ in raw(served, many)] == [431]


def test_large_headers_that_clients_need_are_taken(client: httpx.Client) -> None:
    many = ",".join(f"p{n}=SELECT+{n}" for n in range(10_000))
    assert run(client, "EXECUTE p9999", {"X-Trino-Prepared-Statement": many})[0] == [[9999]]
    more = many + ",q=SELECT+1"
    refused = client.post("/v1/statement", content="SELECT 1", headers={"X-Trino-Prepared-Statement": more})
    assert (refused.status_code, refused.text) == (400, "Too many entries in X-Trino-Prepared-Statement")


@pytest.mark.parametrize(
    "value",
    [
        "$zstd:nonsense",
        "$zstd:" + base64.urlsafe_b64encode(b"\x28\xb5\x2f\xfd broken").decode(),
        "$zstd:" + base64.urlsafe_b64encode(zstandard.ZstdCompressor().compress(b"SELECT 1")[:-2]).decode(),
        "$zstd:" + base64.urlsafe_b64encode(zstandard.ZstdCompressor().compress(b" " * 50_000_000)).decode(),
        "$zstd:" + base64.urlsafe_b64encode(zstandard.ZstdCompressor().compress(b"\xff\xfe")).decode(),
    ],
)
def test_a_broken_or_bombed_prepared_statement_is_a_bad_request(client: httpx.Client, value: str) -> None:
    headers = {"X-Trino-Prepared-Statement": f"p={quote_plus(value)}"}
    assert client.post("/v1/statement", content="EXECUTE p", headers=headers).status_code == 400


def test_a_statement_without_end_is_refused(served: Served, client: httpx.Client) -> None:
    assert client.post("/v1/statement", content=b"SELECT '" + b"x" * 5_000_000).status_code == 413
    endless = request("POST", "/v1/statement", b"", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    assert [status for status, _ in raw(served, endless, *[chunk] * 8, until=b"too long")] == [413]


def test_a_short_statement_that_does_not_come_holds_no_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement, "BODY_SECONDS", 0.4)
    assert [status for status, _ in raw(served, request("POST", "/v1/statement", b"SELECT 1")[:-4])] == [408]


@pytest.mark.parametrize("path", ["/v1/statement/", "/v1/info/"])
def test_no_address_sends_a_client_with_its_token_elsewhere(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content="SELECT 1", headers={"Host": "elsewhere"})
    assert (answer.status_code, "Location" in answer.headers) == (404, False)


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100],
)
def test_what_is_not_http_is_a_bad_request(served: Served, data: bytes) -> None:
    assert [status for status, _ in raw(served, data, half_close=True)] in ([400], [])


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    asked = [request("POST", "/v1/statement", f"SELECT {n}".encode()) for n in range(20)]
    asked.insert(10, request("GET", "/v1/statement/queued/nope/nope/1"))
    found = raw(served, b"".join(asked[:-1]), request("GET", "/v1/info", b"", "Connection: close"))
    assert [status for status, _ in found] == [200] * 10 + [404] + [200] * 10
    names = [orjson.loads(body).get("id") for status, body in found if status == 200]
    assert len(set(names[:-1])) == 19


def test_a_client_that_closed_its_half_still_gets_its_answer(served: Served) -> None:
    (status, body), *rest = raw(served, request("POST", "/v1/statement", b"SELECT 1"), half_close=True)
    assert (status, rest) == (200, [])
    path = urlsplit(orjson.loads(body)["nextUri"]).path
    found = raw(served, request("GET", path) * 3, half_close=True)
    assert [status for status, _ in found] == [200] * 3
    assert len({body for _, body in found}) == 1


@pytest.mark.parametrize("whole", [1, 3])
def test_a_head_that_does_not_end_is_refused_after_the_answers_before_it(
    served: Served, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    waits = request("GET", page_to_wait_for(client))
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.4)
    found = raw(served, waits * whole + b"GET /v1/info HTTP/1.1\r\nHost: ")
    assert [status for status, _ in found] == [200] * whole + [408]
    assert all(orjson.loads(body)["id"] for _, body in found[:-1])


def test_a_head_that_is_too_large_is_refused_after_the_answers_before_it(served: Served, client: httpx.Client) -> None:
    large = b"GET /v1/info HTTP/1.1\r\nHost: gateway\r\nX-Large: " + b"x" * (2 * MAX_HEAD_BYTES)
    found = raw(served, request("GET", page_to_wait_for(client)), large)
    assert [status for status, _ in found] == [200, 431]


def page_to_wait_for(client: httpx.Client) -> str:
    """The path of a page that the server holds back for a while, since there is nothing new to say."""
    page = submit(client, "SELECT id FROM water.main.slow")
    while "data" not in page:
        page = client.get(page["nextUri"]).json()
    return urlsplit(page["nextUri"]).path


def test_a_client_that_hangs_up_in_the_middle_costs_nothing(served: Served, client: httpx.Client) -> None:
    for part in (b"POST /v1/sta", request("POST", "/v1/statement", b"SELECT 1")[:-4]):
        with closing(socket.create_connection(("127.0.0.1", served.port))) as connection:
            connection.sendall(part)
    assert run(client, "SELECT 1")[0] == [[1]]


# -- statements ----------------------------------------------------------------------------------------


def test_two_cancels_at_once_are_one(served: Served, client: httpx.Client) -> None:
    uri = client.get(submit(client, "SELECT * FROM water.main.big")["nextUri"]).json()["nextUri"]
    with ThreadPoolExecutor(2) as pool:
        assert [r.status_code for r in pool.map(httpx.delete, [uri, uri])] == [204, 204]
    last = client.get(uri).json()
    assert last["error"]["errorName"] == "USER_CANCELED"
    assert client.delete(uri).status_code == 204
    assert client.get(uri).json() == last


def test_cancelling_what_has_ended_changes_nothing(client: httpx.Client) -> None:
    rows, last = run(client, "SELECT 1")
    assert rows == [[1]]
    assert client.delete(f"/v1/query/{last['id']}").status_code == 204
    assert client.get(f"/v1/query/{last['id']}").json()["state"] == "FINISHED"


def test_an_old_token_of_another_statement_opens_nothing(client: httpx.Client) -> None:
    one, other = submit(client, "SELECT 1")["nextUri"], submit(client, "SELECT 2")["nextUri"]
    parts, others = one.split("/"), other.split("/")
    mixed = "/".join([*parts[:-2], others[-2], parts[-1]])
    for method in ("GET", "HEAD", "DELETE"):
        assert client.request(method, mixed).status_code == 404
    assert client.get(one).status_code == 200


# -- crowds --------------------------------------------------------------------------------------------

CLIENTS = 200
CROWD_ROWS = int(os.environ.get("CROWD_ROWS", "4000"))
WIDE = "x" * 100


def slow_reader(url: str, start: threading.Barrier) -> list[int]:
    rows: list[int] = []
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=120)) as connection:

        def ask(method: str, address: str, body: str = "") -> dict[str, Any]:
            connection.request(method, address, body, LIN)
            return dict(orjson.loads(connection.getresponse().read()))

        page = ask("POST", "/v1/statement", "SELECT crowd")
        start.wait(120)
        while "nextUri" in page:
            page = ask("GET", urlsplit(page["nextUri"]).path)
            rows += [row[0] for row in page.get("data", [])]
            # Reading slowly is what this client does; nothing is waited for.
            threading.Event().wait(0.01)
    return rows


def test_two_hundred_slow_readers_hold_no_more_memory_than_is_stated_and_lose_nothing() -> None:
    """The pages kept for a repeat stay within `page_memory_bytes`, as Arrow data; JSON is at most 4 times that."""
    bound = 20_000_000
    kept: list[int] = []
    options = Options(max_queries=CLIENTS, page_memory_bytes=bound)
    gateway = StubGateway()
    crowd = [pa.array(range(CROWD_ROWS), pa.int64()), pa.array([WIDE] * CROWD_ROWS)]
    gateway.can("SELECT crowd", {"id": "bigint", "text": "varchar"}, crowd)
    with serve(gateway, options) as served, ThreadPoolExecutor(CLIENTS) as pool:
        statements: Statements = served.statements
        start = threading.Barrier(CLIENTS, action=lambda: kept.append(held(statements)))
        readers = [pool.submit(slow_reader, served.url, start) for _ in range(CLIENTS)]
        while not all(reader.done() for reader in readers):
            kept.append(held(statements))
            threading.Event().wait(0.05)
        for reader in readers:
            assert reader.result() == list(range(CROWD_ROWS)), "every row once, in order"
    assert max(kept) > 0
    assert max(kept) <= 4 * max(bound, CLIENTS * SMALLEST_PAGE)


def held(statements: Statements) -> int:
    """Bytes of JSON in the pages that are kept for a repeat."""
    return sum(len(c._last.rows) for c in list(statements.conversations.values()) if c._last is not None)


def test_one_statement_too_many_comes_back_later() -> None:
    with (
        serve(StubGateway(), Options(max_queries=3)) as served,
        httpx.Client(base_url=served.url, headers=LIN, verify=False) as client,
    ):
        for _ in range(3):
            submit(client, "SELECT id FROM water.main.slow")
        assert client.post("/v1/statement", content="SELECT 1").status_code == 503
        ready = client.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "too many statements are running")
        assert client.get("/healthz").status_code == 200


# -- clients that are gone -----------------------------------------------------------------------------


def conversation_of(served: Served, page: dict[str, Any]) -> Conversation:
    return served.statements.conversations[page["id"]]


def freed(found: Conversation) -> bool:
    return found.ended and found._last is None and found._pages is None and found.execution._batches.empty()


def eventually(check: Any, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not check():
        if time.monotonic() > until:
            return False
        threading.Event().wait(0.02)
    return True


@pytest.fixture
def impatient() -> Iterator[Served]:
    """A server that gives a client half a second after its connection has closed, and an open one a minute."""
    with serve(StubGateway(), Options(gone_seconds=0.5, abandon_seconds=60, sweep_seconds=0.1)) as found:
        yield found


@pytest.mark.parametrize("encoding", ["", "json+zstd"])
def test_a_client_that_was_killed_frees_everything(impatient: Served, encoding: str) -> None:
    headers = {**LIN, "X-Trino-Query-Data-Encoding": encoding} if encoding else LIN
    client = httpx.Client(base_url=impatient.url, headers=headers, timeout=30, verify=False)
    page = submit(client, "SELECT id, text, text, text, text FROM water.main.big ORDER BY id")
    found = conversation_of(impatient, page)
    cancelled = threading.Event()
    found.execution.on_cancel(cancelled.set)
    while len(impatient.statements.spool) == 0 if encoding else "data" not in page:
        page = client.get(page["nextUri"]).json()
    client.close()
    assert eventually(lambda: freed(found))
    assert cancelled.is_set() or not found.execution._on_cancel, "departments that still deliver are told"
    assert len(impatient.statements.spool) == 0
    assert impatient.statements.running() == 0
    again = httpx.get(page["nextUri"])
    assert again.json()["error"]["errorName"] == "ABANDONED_QUERY"


def test_a_sweep_that_fails_is_not_the_last(impatient: Served) -> None:
    asked: list[int] = []

    def failing() -> None:
        asked.append(1)
        raise RuntimeError("once")

    impatient.statements.sweepers.append(failing)
    assert eventually(lambda: len(asked) > 2)


def test_a_client_that_thinks_keeps_its_statement(impatient: Served) -> None:
    with httpx.Client(base_url=impatient.url, headers=LIN, timeout=30, verify=False) as client:
        page = client.get(submit(client, "SELECT id FROM water.main.big ORDER BY id")["nextUri"]).json()
        found = conversation_of(impatient, page)
        assert found.connection is not None
        assert found.connection.is_open
        sweeps = impatient.statements.sweeps
        assert eventually(lambda: impatient.statements.sweeps > sweeps + 10)
        assert not found.ended
        assert len(page["data"]) > 0
        while "nextUri" in page:
            page = client.get(page["nextUri"]).json()
        assert page["stats"]["state"] == "FINISHED"


class Connections:
    """How a client, or what stands between, holds its connections: headers it sends, and whether it closes them."""

    def __init__(self, *headers: str, closes: bool = True) -> None:
        self.headers = dict(h.split(": ") for h in headers)
        self.closes = closes


@pytest.mark.parametrize(
    "held",
    [
        Connections("Connection: close", closes=False),
        Connections("X-Forwarded-For: 10.0.0.7"),
        Connections("Via: 1.1 proxy"),
        Connections("X-Forwarded-Proto: http", "Connection: close", closes=False),
    ],
    ids=["one request a connection", "a proxy that closes", "another proxy", "a proxy of one request a connection"],
)
def test_a_closed_connection_says_nothing_where_connections_are_not_kept(impatient: Served, held: Connections) -> None:
    client = httpx.Client(base_url=impatient.url, headers={**LIN, **held.headers}, timeout=30, verify=False)
    page = client.get(submit(client, "SELECT id FROM water.main.big ORDER BY id")["nextUri"]).json()
    found = conversation_of(impatient, page)
    if held.closes:
        client.close()
    assert eventually(lambda: found.connection is not None and not found.connection.is_open)
    assert outlives_the_patience(impatient, found)
    with httpx.Client(headers={**LIN, **held.headers}, timeout=30, verify=False) as again:
        while "nextUri" in page:
            page = again.get(page["nextUri"]).json()
    assert page["stats"]["state"] == "FINISHED"


def outlives_the_patience(served: Served, found: Conversation) -> bool:
    """Whether a statement still stands after more than `gone_seconds` without its client."""
    since = found.touched
    assert eventually(lambda: time.monotonic() > since + 2 * served.statements.options.gone_seconds)
    sweeps = served.statements.sweeps
    assert eventually(lambda: served.statements.sweeps > sweeps + 1)
    return not found.ended


def test_a_connection_that_lay_idle_may_close(impatient: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "AT_ONCE_SECONDS", 0.0)
    client = httpx.Client(base_url=impatient.url, headers=LIN, timeout=30, verify=False)
    found = conversation_of(impatient, submit(client, "SELECT id FROM water.main.big ORDER BY id"))
    client.close()
    assert eventually(lambda: found.connection is not None and not found.connection.is_open)
    assert outlives_the_patience(impatient, found)


def test_a_client_that_hangs_up_before_its_answer_is_gone_however_it_holds_connections(impatient: Served) -> None:
    with httpx.Client(base_url=impatient.url, headers=LIN, timeout=30, verify=False) as client:
        path = page_to_wait_for(client)
        found = next(iter(impatient.statements.conversations.values()))
        before = found.connection
        with closing(socket.create_connection(("127.0.0.1", impatient.port))) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
            connection.sendall(request("GET", path, b"", "Via: 1.1 proxy"))
            assert eventually(lambda: found.connection is not before)
        assert eventually(lambda: freed(found))


def test_a_sign_of_life_by_another_connection_does_not_hide_that_nobody_waits_for_the_page(impatient: Served) -> None:
    with httpx.Client(base_url=impatient.url, headers=LIN, timeout=30, verify=False) as client:
        path = page_to_wait_for(client)
        found = next(iter(impatient.statements.conversations.values()))
        before = found.connection
        with closing(socket.create_connection(("127.0.0.1", impatient.port))) as connection:
            connection.sendall(request("GET", path))
            assert eventually(lambda: found.connection is not before)
            assert client.head(path).status_code == 200
        assert eventually(lambda: freed(found))


def test_killed_clients_leave_no_memory_behind(impatient: Served) -> None:
    impatient.gateway.can("SELECT long", {"id": "bigint"}, [pa.array(range(600_000), pa.int64())])

    def killed() -> None:
        client = httpx.Client(base_url=impatient.url, headers=LIN, timeout=30, verify=False)
        page = submit(client, "SELECT long")
        client.get(page["nextUri"])
        client.close()

    killed()
    assert eventually(lambda: all(freed(c) for c in impatient.statements.conversations.values()))
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(6):
            killed()
        assert eventually(lambda: all(freed(c) for c in impatient.statements.conversations.values()))
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 4_000_000
    finally:
        tracemalloc.stop()
