"""Kept connections on which fragments are asked, each carrying one answer at a time.

A general HTTP client spends more on a small answer than everything else that is done with it here; an agent speaks
plain HTTP/1.1, and this much of it is in the standard library. Which address, and by which certificates, is decided
by `dispatch`. Whatever goes wrong on the way is raised as `catalog.http.HTTPError`, as by the general client.
"""

from __future__ import annotations

import http.client
import selectors
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from catalog.http import ConnectError

__all__ = ["Answer", "Lines"]

KEPT = 64
"""Connections to one agent that wait for another question, at most."""
CHUNK = 1 << 16


class Answer:
    """Status, headers, and the body as it comes, unpacked by nobody."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.status_code = response.status
        self.headers: Mapping[str, str] = response.headers  # type: ignore[assignment]

    def iter_raw(self) -> Iterator[bytes]:
        """Raises HTTPError where the body is cut."""
        with _told():
            while piece := self._response.read1(CHUNK):
                yield piece
            if self._response.length:  # fewer bytes than were announced
                raise http.client.IncompleteRead(b"", self._response.length)

    @property
    def is_read(self) -> bool:
        """Whether nothing of it is left on the connection, which may then serve again."""
        return self._response.isclosed()


class Lines:
    """The connections to one agent. Safe from several threads."""

    def __init__(self, url: str, context: ssl.SSLContext | None, connect_seconds: float) -> None:
        """context: for TLS, None for plain HTTP."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._context = context
        self._connect_seconds = connect_seconds
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Iterator[Answer]:
        """Send one request; its answer while the block lasts. seconds: of silence. Raises HTTPError."""
        with _told():
            line = self._take()
            try:
                line.sock.settimeout(seconds)
                line.request("POST", path, body, {**headers, "Accept-Encoding": "identity"})
                answer = Answer(line.getresponse())
            except BaseException:
                line.close()
                raise
        try:
            yield answer
        finally:
            self._put(line, answer)

    def _take(self) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                line = self._idle.pop() if self._idle else None
            if line is None:
                break
            if not _can_be_read(line):
                return line
            line.close()
        if self._context is None:
            line = http.client.HTTPConnection(self._host, self._port, timeout=self._connect_seconds)
        else:
            line = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._connect_seconds, context=self._context
            )
        try:
            line.connect()
        except BaseException:
            line.close()
            raise
        return line

    def _put(self, line: http.client.HTTPConnection, answer: Answer) -> None:
        with self._lock:
            # After `Connection: close` the library has let go of the socket.
            if answer.is_read and line.sock is not None and not self._closed and len(self._idle) < KEPT:
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


def _can_be_read(line: http.client.HTTPConnection) -> bool:
    """Of an idle connection: whether the other side closed it, or said what nobody asked for."""
    with selectors.DefaultSelector() as selector:
        selector.register(line.sock, selectors.EVENT_READ)
        return bool(selector.select(0))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as bad:
        raise ConnectError(f"{type(bad).__name__}") from bad
