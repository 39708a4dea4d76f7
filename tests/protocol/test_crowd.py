"""A crowd that reads slowly, over a whole running gateway: what its process takes at most, and what it gives back.

`make test` sends a few clients; `make clients` two hundred, some of whom are killed.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from bench.growth import City, running_city
from bench.memory import Memory
from bench.protocol.wire import COMMON
from catalog.ipc import PIECE_BYTES
from gateway.server.pages import PAGE_BYTES
from gateway.server.session import Options
from gateway.settings import Limits
from gateway.waiting import WAITING_BYTES
from tests.protocol.test_abuse import eventually

WHOLE = os.environ.get("CLIENTS") == "all"
CLIENTS, READERS, ROWS = (200, 192, 4_000) if WHOLE else (8, 1, 20_000)
AT_WORK = min(CLIENTS, Limits().concurrent)
SQL = "SELECT id, rpad(place, 4000, 'x') AS place FROM d00.main.usage"
LEAVE = "killed" if WHOLE else "with a word"
"""How the others go, once they have two pages."""
BATCHES = 3
"""Of a statement at work, beside those in queues: one that is read, one that is handed over, one that is cut."""
BOUND = WAITING_BYTES + min(Options.page_memory_bytes, 2 * PAGE_BYTES * CLIENTS) + BATCHES * PIECE_BYTES * AT_WORK
"""Bytes of rows that a gateway holds at most: in queues, in pages, and for each statement at work a little."""
FREE = 1.5
"""What it may take from the system for one byte that it holds: some lies free between."""
STILL_MB = 0.5
LEFT_MB = 64
"""What may be left when all have gone: threads, and engines that wait."""
GONE_SECONDS = 60


@dataclass
class Crowd:
    """Everybody reads two pages and stands still until `go`. standing: so many of them do."""

    url: str
    waits_for: int
    standing: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    _holding: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, leaves: str = "") -> list[int]:
        """The ids of all rows, as they came. leaves: after two pages, "with a word" or without."""
        ids: list[int] = []
        pages = 0
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=240)) as connection:
            page = _ask(connection, "POST", "/v1/statement", SQL)
            while "nextUri" in page:
                page = _ask(connection, "GET", urlsplit(page["nextUri"]).path)
                ids += [row[0] for row in page.get("data", [])]
                pages += "data" in page
                if pages == 2 and "data" in page:
                    self._hold()
                    if leaves == "with a word":
                        connection.request("DELETE", urlsplit(page["nextUri"]).path, None, COMMON)
                        assert connection.getresponse().status == 204
                    if leaves:
                        return ids
        assert page["stats"]["state"] == "FINISHED", page["error"]["message"]
        return ids

    def _hold(self) -> None:
        with self._lock:
            self._holding += 1
            if self._holding >= self.waits_for:
                self.standing.set()
        assert self.go.wait(240)


def _ask(connection: HTTPConnection, method: str, path: str, body: str | None = None) -> dict[str, Any]:
    connection.request(method, path, body, COMMON)
    return dict(orjson.loads(connection.getresponse().read()))


def running(city: City) -> int:
    return int(city.http.get(f"{city.url}/v1/status").json()["runningQueries"])


def stands_still(memory: Memory) -> bool:
    before = memory.left()
    threading.Event().wait(0.5)
    return abs(memory.left() - before) < STILL_MB


@pytest.mark.timeout(900 if WHOLE else 300)
def test_slow_readers_hold_no_more_memory_than_is_stated_and_get_every_row_once(tmp_path: Path) -> None:
    with running_city(tmp_path, 1, ROWS) as city:
        first = Crowd(city.url, 1)
        first.go.set()
        first.read()
        memory, crowd = Memory(city.pid), Crowd(city.url, AT_WORK)
        with ThreadPoolExecutor(CLIENTS) as pool:
            readers = [pool.submit(crowd.read, "" if n < READERS else LEAVE) for n in range(CLIENTS)]
            try:
                assert crowd.standing.wait(240)
                assert eventually(lambda: stands_still(memory), 60), "the departments have to wait"
            finally:
                crowd.go.set()
            found = [reader.result() for reader in readers]
        assert all(sorted(ids) == list(range(ROWS)) for ids in found[:READERS]), "every row once"
        print(f"{memory.over_idle():.0f} MB over idle, of {FREE * BOUND / 1e6:.0f}")
        assert memory.over_idle() <= FREE * BOUND / 1e6
        assert eventually(lambda: running(city) == 0, GONE_SECONDS)
        assert eventually(lambda: memory.left() <= LEFT_MB), memory.left()
