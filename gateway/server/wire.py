"""HTTP/1.1 on the wire: uvicorn's own protocol with what a gateway for strangers needs besides.

    uvicorn.run(app, http=Wire, timeout_keep_alive=KEEP_ALIVE_SECONDS, ...)

- `connection_of(request)` tells whether the connection of a request still stands: a client that was killed
  is told from one that thinks.
- Request lines and headers have a size and a time by which they must be complete (431, 408).
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
EXTENSION = "atoll.connection"


class Connection:
    """One client's connection, as the application sees it."""

    def __init__(self) -> None:
        self.is_open = True


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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.is_open = False
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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
        super().on_headers_complete()

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

    def _refuse(self, status: int, text: str) -> None:
        """Answer without the application, and close."""
        if self.transport.is_closing():
            return
        body = text.encode()
        head = f"HTTP/1.1 {status} {text}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        self.transport.write(head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        self.transport.close()
