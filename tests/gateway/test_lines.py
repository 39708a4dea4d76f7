"""Connections to agents: kept while they are good, given up when they are not, and never used for two answers."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from catalog import tls
from catalog.http import HTTPError
from gateway.lines import Answer, Lines


class Server(ThreadingHTTPServer):
    """Answers a POST of `words` as they say. met: the client's port of each request. open: connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.met: list[int] = []
        self.open: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        words = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.met.append(self.client_address[1])
        self.server.open.append(self.connection)
        self.send_response(418 if words == "refuse" else 200)
        if words in ("short", "last"):
            self.send_header("Content-Length", "10")
            if words == "last":
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"0123456789" if words == "last" else b"01234")
            self.close_connection = True
            return
        if words == "twice":
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ab" + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ncd")
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(3):
            self.wfile.write(b"5\r\n01234\r\n")
        if words == "cut":
            self.close_connection = True
        elif words == "hang":
            time.sleep(2)
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def lines(server: Server) -> Iterator[Lines]:
    made = Lines(server.url, None, 1.0)
    yield made
    made.close()


def ask(lines: Lines, words: str = "", seconds: float = 5.0) -> tuple[int, bytes]:
    with lines.post("/", words.encode(), {}, seconds) as answer:
        answer.read_head()
        return answer.status_code, b"".join(answer.iter_raw())


def test_a_connection_whose_answer_was_read_serves_the_next_question(server: Server, lines: Lines) -> None:
    assert [ask(lines), ask(lines, "refuse"), ask(lines)] == [
        (200, b"01234" * 3),
        (418, b"01234" * 3),
        (200, b"01234" * 3),
    ]
    assert len(set(server.met)) == 1


def test_a_connection_with_an_unread_answer_serves_nobody_else(server: Server, lines: Lines) -> None:
    with lines.post("/", b"hang", {}, 5.0) as answer:
        next(answer.iter_raw())
    assert ask(lines) == (200, b"01234" * 3)
    assert len(set(server.met)) == 2


def test_two_questions_at_once_have_a_connection_each(server: Server, lines: Lines) -> None:
    with lines.post("/", b"", {}, 5.0) as answer:
        assert ask(lines) == (200, b"01234" * 3)
        assert b"".join(answer.iter_raw()) == b"01234" * 3
    assert len(set(server.met)) == 2
    ask(lines)
    assert len(set(server.met)) == 2


def test_a_connection_that_the_agent_closed_meanwhile_is_not_used(server: Server, lines: Lines) -> None:
    ask(lines)
    server.open[0].shutdown(socket.SHUT_RDWR)
    assert ask(lines) == (200, b"01234" * 3)
    assert len(set(server.met)) == 2


def test_an_agent_that_says_it_closes_is_connected_to_anew(server: Server, lines: Lines) -> None:
    assert [ask(lines, "last"), ask(lines)] == [(200, b"0123456789"), (200, b"01234" * 3)]
    assert len(set(server.met)) == 2


@pytest.mark.parametrize("words", ["short", "cut"])
def test_a_body_that_is_cut_is_an_error_and_never_a_short_answer(lines: Lines, words: str) -> None:
    with pytest.raises(HTTPError):
        ask(lines, words)


def test_what_comes_behind_an_answer_is_nobodys_answer(server: Server, lines: Lines) -> None:
    """Whether it comes with the answer or after it."""
    with suppress(HTTPError):
        assert ask(lines, "twice") == (200, b"ab")
    assert ask(lines) == (200, b"01234" * 3)
    assert len(set(server.met)) == 2


SAID = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
Said = tuple[socket.socket, bytes, Callable[[bytes], None]]
"""The reader's end of a connection, what an agent's answer is on it, and what sends some bytes of that."""


@pytest.fixture(params=["plain", "encrypted"])
def said(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Said]:
    near, far = socket.socketpair()
    with closing(near), closing(far):
        if request.param == "plain":
            yield near, SAID, far.sendall
            return
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        ring = tls.create_ring(tmp_path / "tls.key", "agent:water")
        agent = tls._server_context(ring, None).wrap_bio(incoming, outgoing, server_side=True)

        def shake_hands() -> None:
            while True:
                try:
                    agent.do_handshake()
                except ssl.SSLWantReadError:
                    far.sendall(outgoing.read())
                    incoming.write(far.recv(1 << 16))
                else:
                    return

        shaking = threading.Thread(target=shake_hands)
        shaking.start()
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(near) as line:
            shaking.join()
            agent.write(SAID)
            yield line, outgoing.read(), far.sendall


def test_an_answer_that_is_not_whole_in_time_is_read_on_later(said: Said) -> None:
    """It may be cut anywhere, in the middle of what is encrypted together too."""
    line, sent, send = said
    answer = Answer(line, 5.0)
    send(sent[: len(sent) // 2])
    assert not answer.comes_within(0.05)
    send(sent[len(sent) // 2 : -1])
    assert not answer.comes_within(0.05)
    send(sent[-1:])
    answer.read_head()
    assert (answer.status_code, b"".join(answer.iter_raw())) == (200, b"0123456789")
    assert answer.is_read


def test_an_answer_that_is_whole_in_time_is_not_waited_for(said: Said) -> None:
    line, sent, send = said
    answer = Answer(line, 5.0)
    send(sent)
    started = time.monotonic()
    assert answer.comes_within(20)
    assert time.monotonic() - started < 10
    assert line.gettimeout() == 5.0
    assert b"".join(answer.iter_raw()) == b"0123456789"


def test_an_agent_that_reads_nothing_holds_nobody_up(lines: Lines) -> None:
    """On an idle connection a small question goes out at once, unless what was sent before was never read."""
    near, far = socket.socketpair()
    with closing(near), closing(far):
        near.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                near.send(b"x" * 4096)
        started = time.monotonic()
        with pytest.raises(HTTPError), lines.post("/", b"", {}, 60.0, near):
            pass
        assert time.monotonic() - started < 10
        assert near.fileno() == -1, "it serves nobody else"


def test_silence_ends_with_the_time_that_was_given(lines: Lines) -> None:
    with pytest.raises(HTTPError):
        ask(lines, "hang", 0.1)


def test_nobody_there_is_an_error_of_the_way() -> None:
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        with pytest.raises(HTTPError):
            ask(Lines(f"http://127.0.0.1:{held.getsockname()[1]}", None, 0.2))


def test_after_the_end_connections_are_not_kept(server: Server, lines: Lines) -> None:
    with lines.post("/", b"", {}, 5.0) as answer:
        lines.close()
        assert b"".join(answer.iter_raw()) == b"01234" * 3
    assert lines._idle == []
