"""Kept connections on which fragments are asked, each carrying one answer at a time.

A general HTTP client spends more on a small answer than everything else that is done with it here; an agent speaks
plain HTTP/1.1, which its own server's parser reads. Which address, and by which certificates, is decided
by `dispatch`. Whatever goes wrong on the way is raised as `catalog.http.HTTPError`, as by the general client.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from catalog.http import ConnectError

__all__ = ["Answer", "Lines"]

KEPT = 64
"""Connections to one agent that wait for another question, at most."""
CHUNK = 1 << 16
SEND_SECONDS = 0.5
"""What an idle connection takes at most to take a small body: longer, and its other side does not read."""
MAX_HEAD = 1 << 17
"""Bytes that are read of an answer before its body."""


class Answer:
    """Status, headers (`Content-Type`), and the body as it comes, unpacked by nobody."""

    def __init__(self, line: socket.socket, seconds: float) -> None:
        """seconds: of silence. Nothing is read yet. began: when its first bytes came, by `time.monotonic`."""
        self.status_code = 0
        self.headers: dict[str, str] = {}
        self._line = line
        self._seconds = seconds
        self._parser = HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._size = 0
        self.began = 0.0
        self._is_kept = self._is_whole = False

    # -- what the parser tells

    def on_message_begin(self) -> None:
        """Raises ConnectionError for a second one, which nobody asked for."""
        self._is_kept = False
        if self.status_code:
            raise ConnectionError("an answer behind the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").title()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status_code = self._parser.get_status_code()
        self._is_kept = self._parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self._is_whole = True

    def _read(self) -> None:
        found = self._line.recv(CHUNK)
        if not found:
            raise ConnectionError("the answer was cut")
        self.began = self.began or time.monotonic()
        self._size += len(found)
        if not self.status_code and self._size > MAX_HEAD:
            raise ConnectionError("the head of the answer has no end")
        self._parser.feed_data(found)

    # -- what the reader asks

    def comes_within(self, seconds: float) -> bool:
        """Whether all of it is here after so many seconds at most, and it is small. Raises HTTPError."""
        until = time.monotonic() + seconds
        with _told():
            try:
                while not self._is_whole and self._size < CHUNK and (left := until - time.monotonic()) > 0:
                    self._line.settimeout(left)
                    self._read()
            except TimeoutError:  # what has come so far is kept: the connection may be read on
                return False
            finally:
                self._line.settimeout(self._seconds)
        return self._is_whole

    def read_head(self) -> None:
        """Wait for the status and the headers. Raises HTTPError."""
        with _told():
            while not self.status_code:
                self._read()

    def iter_raw(self) -> Iterator[bytes]:
        """Raises HTTPError where the body is cut."""
        with _told():
            while True:
                pieces, self._pieces = self._pieces, []
                yield from pieces
                if self._is_whole:
                    return
                self._read()

    @property
    def is_read(self) -> bool:
        """Whether nothing of it is left on the connection, which may then serve again."""
        return self._is_whole and self._is_kept


class Lines:
    """The connections to one agent. Safe from several threads."""

    def __init__(self, url: str, context: ssl.SSLContext | None, connect_seconds: float) -> None:
        """context: for TLS, None for plain HTTP."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (80 if context is None else 443)
        self._name = parts.netloc
        self._context = context
        self._connect_seconds = connect_seconds
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], seconds: float, line: socket.socket | None = None
    ) -> Iterator[Answer]:
        """Send one request; its answer while the block lasts. seconds: of silence. Raises HTTPError.

        line: one that was `idle`, for a body so small that it goes out at once, or not at all.
        """
        with _told():
            patience = seconds if line is None else SEND_SECONDS
            line = line or self.idle() or self._connected()
            try:
                line.settimeout(patience)
                line.sendall(self._head(path, len(body), headers) + body)
                line.settimeout(seconds)
                answer = Answer(line, seconds)
            except BaseException:
                line.close()
                raise
        try:
            yield answer
        finally:
            self._put(line, answer)

    def _head(self, path: str, size: int, headers: Mapping[str, str]) -> bytes:
        own = {"Host": self._name, "Accept-Encoding": "identity", "Content-Length": str(size)}
        told = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**headers, **own}.items())]
        if any("\r" in line or "\n" in line for line in told):
            raise ConnectionError("a header of more than one line")
        return "\r\n".join((*told, "", "")).encode("latin-1")

    def idle(self) -> socket.socket | None:
        """A connection that is there already, taken out for `post`; None if one must be made first."""
        while True:
            with self._lock:
                line = self._idle.pop() if self._idle else None
            if line is None or not _can_be_read(line):
                return line
            line.close()

    def _connected(self) -> socket.socket:
        line = socket.create_connection((self._host, self._port), self._connect_seconds)
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return line if self._context is None else self._context.wrap_socket(line, server_hostname=self._host)
        except BaseException:
            line.close()
            raise

    def _put(self, line: socket.socket, answer: Answer) -> None:
        with self._lock:
            if answer.is_read and not self._closed and len(self._idle) < KEPT:
                self._idle.append(line)
                return
        line.close()

    def close(self) -> None:
        """Close what waits; what is in use is closed when its answer ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()


def _can_be_read(line: socket.socket) -> bool:
    """Of an idle connection: whether the other side closed it, or said what nobody asked for."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OSError, HttpParserError) as bad:
        raise ConnectError(f"{type(bad).__name__}") from bad
