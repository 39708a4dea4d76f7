"""Raw HTTP as a client sees it: no library between the clock and the bytes.

read(url, sql)        a whole answer: seconds, seconds to the first rows, pages
record(url, ..)       a whole answer kept, page by page and segment by segment, for the null server
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.house import USER

__all__ = ["Read", "Recording", "headers", "read", "record"]

NEXT = re.compile(rb'"nextUri"\s*:\s*"([^"]+)"')
HAS_DATA = re.compile(rb'"data"\s*:\s*[\[{]')
EDGE = 6000
"""Bytes at either end of a page among which its nextUri stands."""
COMMON = {"X-Trino-User": USER, "X-Trino-Source": "bench"}
"""Trino takes any name."""


def headers(encoding: str = "", capabilities: str = "PARAMETRIC_DATETIME") -> dict[str, str]:
    """A request's headers. encoding: of the answer's rows; "" for plain ones."""
    wanted = {"X-Trino-Query-Data-Encoding": encoding} if encoding else {}
    return {**COMMON, **wanted, "X-Trino-Client-Capabilities": capabilities}


@dataclass
class Read:
    """One answer. seconds: until its end. first: until the first page with rows."""

    seconds: float = 0.0
    first: float = 0.0
    pages: int = 0
    size: int = 0
    bodies: list[bytes] = field(default_factory=list)


class Wire:
    """One connection to a server, kept open."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self.address, timeout=600)

    def send(self, method: str, path: str, body: bytes | None = None, named: Mapping[str, str] = COMMON) -> bytes:
        self._connection.request(method, path, body, dict(named))
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status not in (200, 204):
            raise RuntimeError(f"{method} {path}: {answer.status} {found[:300]!r}")
        return found

    def close(self) -> None:
        self._connection.close()


def read(wire: Wire, sql: str, asked: dict[str, str], keep: bool = False, only_first: bool = False) -> Read:
    """Ask and read all pages. Raises RuntimeError for an error of the statement.

    keep: the pages too. only_first: cancel at the first page with rows.
    """
    found = Read()
    started = time.perf_counter()
    page = wire.send("POST", "/v1/statement", sql.encode(), asked)
    while True:
        found.pages += 1
        found.size += len(page)
        if keep:
            found.bodies.append(page)
        head, tail = page[:EDGE], page[-EDGE:]
        if not found.first and HAS_DATA.search(head + tail):
            found.first = time.perf_counter() - started
        following = NEXT.search(head) or NEXT.search(tail)
        if following is None:
            break
        if only_first and found.first:
            wire.send("DELETE", urlsplit(following[1].decode()).path)
            break
        page = wire.send("GET", urlsplit(following[1].decode()).path)
    found.seconds = time.perf_counter() - started
    if b'"errorName"' in page:
        raise RuntimeError(f"{json.loads(page)['error']['message']}\n{sql}")
    return found


@dataclass
class Recording:
    """An answer to be sent again. pages: with `{base}` for the server's address. segments: by their path."""

    pages: list[bytes]
    segments: dict[str, bytes]
    encoding: str


BASE = b"http://null-server"


def record(url: str, sql: str, asked: dict[str, str]) -> Recording:
    """Keep an answer. Its pages follow one another without the server's waits; its URIs lead to BASE."""
    wire = Wire(url)
    pages: list[dict[str, Any]] = []
    segments: dict[str, bytes] = {}
    for body in read(wire, sql, asked, keep=True).bodies:
        page = json.loads(body)
        if "data" not in page and page.get("nextUri") and pages:
            continue  # a page that only says "not yet"
        for segment in (page.get("data") or {}).get("segments", ()) if isinstance(page.get("data"), dict) else ():
            if segment["type"] == "spooled":
                path = urlsplit(segment["uri"]).path
                segments[path] = wire.send("GET", path, named=_flat(segment.get("headers")))
                wire.send("GET", urlsplit(segment["ackUri"]).path)
                segment["uri"], segment["ackUri"] = (BASE + path.encode()).decode(), (BASE + b"/ack").decode()
        pages.append(page)
    wire.close()
    for at, page in enumerate(pages):
        page.pop("nextUri", None)
        if at + 1 < len(pages):
            page["nextUri"] = f"{BASE.decode()}/v1/statement/executing/{page['id']}/slug/{at + 1}"
    encoded = [json.dumps(page, separators=(",", ":"), ensure_ascii=False).encode() for page in pages]
    return Recording(encoded, segments, asked.get("X-Trino-Query-Data-Encoding", ""))


def _flat(given: dict[str, list[str]] | None) -> dict[str, str]:
    return {name: values[0] for name, values in (given or {}).items()}
