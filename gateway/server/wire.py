"""HTTP/1.1 on the wire: uvicorn's own protocol with what a gateway for strangers needs besides.

    uvicorn.run(app, http=Wire, timeout_keep_alive=KEEP_ALIVE_SECONDS, ...)

- `connection_of(request)` tells what became of the connection of a request: a client that was killed is told
  from one that thinks, and from one that keeps no connections.
- Request lines and headers have a size and a time by which they must be complete (431, 408). What was asked
  before them is answered first.
- A client that has said all and closed its half of the connection still gets its pages.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["KEEP_ALIVE_SECONDS", "MAX_HEAD_BYTES", "Connection", "Wire", "connection_of"]

MAX_HEAD_BYTES = 1 << 20
"""Bytes of a request before its body: clients carry their prepared statements in headers."""
HEAD_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 310
"""Longer than a client may think between two pages, so that an open connection means a living client."""
AT_ONCE_SECONDS = 15.0
"""A connection that closes later than that after its last answer lay idle: pools of clients drop such ones."""
PROXIES = {b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-real-ip"}
"""Headers of what stands between: it closes its own connections as it likes."""
EXTENSION = "atoll.connection"


class Connection:
    """One client's connection, as the application sees it.

    is_gone: it was closed in a way that tells that the client itself has gone away: before its answer was complete,
    or soon after it, by a client that holds its connections and has no proxy before it.
    """

    def __init__(self) -> None:
        self.is_open = True
        self.is_gone = False


def connection_of(request: Request) -> Connection | None:
    """The connection that a request came by; None under another server, which doesn't tell."""
    found = request.scope.get("extensions", {}).get(EXTENSION, {}).get("connection")
    return found if isinstance(found, Connection) else None


class Wire(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with limits before the body, and with an eye on the connection."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._connection = Connection()
        self._in_head = True
        self._head = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._refusal: tuple[int, str] | None = None
        self._is_kept = False
        self._answered = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        at_once = self.loop.time() - self._answered < AT_ONCE_SECONDS
        self._connection.is_gone = self._is_answering() or (self._is_kept and at_once)
        self._connection.is_open = False
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES:
                self._refuse(431, "Request Header Fields Too Large")
                return
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection while pages are due; the last of them closes it.

        Anywhere else an answer may take minutes, and the end of the input means that nobody waits for it.
        """
        if self.cycle is None or self.cycle.response_complete or not self.scope["path"].startswith("/v1/"):
            return False
        last = self.pipeline[0][0] if self.pipeline else self.cycle
        if last.more_body:
            return False
        last.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"connection": self._connection}}
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._end_head()
        is_direct = all(name not in PROXIES for name, _ in self.headers)
        self._is_kept = is_direct and self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._answered = self.loop.time()
        super().on_response_complete()
        if self._refusal is not None:
            self._refuse(*self._refusal)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head = 0

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._refuse, 408, "Request Timeout")

    def _end_head(self) -> None:
        self._in_head = False
        self._head = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _is_answering(self) -> bool:
        """Whether an answer is due: the latest request's is the last."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, text: str) -> None:
        """Answer without the application, and close; after the answers that are still due."""
        if self.transport.is_closing():
            return
        if self._is_answering():
            self._refusal = status, text
            return
        body = text.encode()
        head = f"HTTP/1.1 {status} {text}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        self.transport.write(head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        self.transport.close()
