"""A real Trino 476 with nothing but its memory connector, and a client that reads its wire as it is."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.trino import NO_PROXY, running_server
from tests.corpus.fixtures import decoded

__all__ = ["Trino", "running_trino"]

HEADERS = {
    "X-Trino-User": "ana", "X-Trino-Time-Zone": "UTC",
    "X-Trino-Client-Capabilities": "PATH,PARAMETRIC_DATETIME,SESSION_AUTHORIZATION",
    "X-Trino-Session": "task_concurrency=1",
}  # fmt: skip
"""One task at a time: of tables of a few rows nothing is gained by more."""
Answer = dict[str, Any]


class Trino:
    """Asks a server statement by statement. An answer is {columns, rows} or {error}, as the wire has them."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, sql: str, zone: str = "UTC") -> Answer:
        """columns: [name, type] pairs. rows: JSON values. error: Trino's error name. zone: the session's."""
        headers = HEADERS | {"X-Trino-Time-Zone": zone}
        columns: list[list[str]] = []
        rows: list[Any] = []
        page = self._open(urllib.request.Request(f"{self.url}/v1/statement", sql.encode(), headers))
        while True:
            if "error" in page:
                return {"error": page["error"]["errorName"], "message": page["error"]["message"]}
            columns = [[c["name"], c["type"]] for c in page.get("columns", [])] or columns
            rows += page.get("data", [])
            if "nextUri" not in page:
                return {"columns": columns, "rows": rows}
            page = self._open(urllib.request.Request(page["nextUri"], headers=headers))

    @staticmethod
    def _open(request: urllib.request.Request) -> Answer:
        with NO_PROXY.open(request, timeout=120) as answer:
            return dict(decoded(answer.read()))


@contextmanager
def running_trino(folder: Path) -> Iterator[Trino]:
    """A server with the catalogs a and b, both in memory. folder: for its files. Raises bench.trino.Missing."""
    memory = "connector.name=memory\nmemory.splits-per-node=1\n"
    with running_server(folder, {"a": memory, "b": memory}, "5G") as url:
        yield Trino(url)
