"""A small JSON service with the manners of a metered register: pages, ETags, 429 with Retry-After, faults."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class Register:
    """Serves `collections` (name -> documents) below `url` until the block ends.

    answers: status codes to give, one each, before requests are served again. hold: while set, requests
    wait. requests: (path with query, status) of all requests so far. headers: of the newest one.
    """

    def __init__(self, collections: dict[str, list[Any]], page: int = 2) -> None:
        self.collections = collections
        self.page = page
        self.answers: list[int] = []
        self.requests: list[tuple[str, int]] = []
        self.headers: dict[str, str] = {}
        self.next_link: str | None = None
        self._open = threading.Event()
        self._open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v2/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.set()
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        """Let requests wait until `release`."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def wait_open(self) -> None:
        self._open.wait(30)

    def body(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        """The page that a request asks for, None if there is no such collection."""
        documents = self.collections.get(path.rpartition("/")[2])
        if documents is None:
            return None
        number = int(query.get("page", ["1"])[0])
        last = number * self.page
        following = f"{path}?page={number + 1}" if last < len(documents) else None
        return json.dumps(
            {"items": documents[last - self.page : last], "next": self.next_link or following}, ensure_ascii=False
        ).encode()


def _handler(register: Register) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            register.wait_open()
            register.headers = dict(self.headers)
            parts = urlsplit(self.path)
            body = register.body(parts.path, parse_qs(parts.query))
            tag = f'"{hashlib.sha256(body or b"").hexdigest()}"'
            if register.answers:
                self._answer(register.answers.pop(0), b"{}", {"Retry-After": "0"})
            elif body is None:
                self._answer(404, b"{}", {})
            elif self.headers.get("If-None-Match") == tag:
                self._answer(304, b"", {"ETag": tag})
            else:
                self._answer(200, body, {"ETag": tag, "Content-Type": "application/json"})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            register.requests.append((self.path, status))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read `register.requests` instead."""

    return Handler
