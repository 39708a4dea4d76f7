"""The chemicals department's REST service, as the city found it: JSON pages under /v2/, metered.

    python -m atoll.city.register --dir CITY --port 8201

serves `silos/chemicals/register.db` of a generated city:

* `GET /v2/substances | stock | purchases | imports ?page=1&size=200`: `{"page", "size", "items", "next"}`, documents
  in the order of delivery, `next` the path of the following page or null; size 1-200. The number of all documents
  is in `X-Total-Count`.
* `ETag` on every page; `If-None-Match` is answered with 304. A page changes only when documents are added to it.
* at most so many requests a second as the scale allows (5, 50, 500): beyond, 429 with `Retry-After` in seconds.

It reads and never writes; `atoll.city.chemicals.add_purchase` changes the store behind its back.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from atoll.city.chemicals import COLLECTIONS, store_path

LARGEST_PAGE = 200


class Meter:
    """A token bucket: `rate` requests a second, as many at once."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._tokens, self._seen = float(rate), clock()
        self._lock = threading.Lock()

    def wait(self) -> float:
        """0 when the request may pass, else the seconds until one may."""
        with self._lock:
            now = self._clock()
            self._tokens = min(float(self._rate), self._tokens + (now - self._seen) * self._rate)
            self._seen = now
            if self._tokens < 1:
                return (1 - self._tokens) / self._rate
            self._tokens -= 1
            return 0.0


class Store:
    """The raw store, read one page at a time."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no register at {path}")
        self._uri = f"{path.absolute().as_uri()}?mode=ro"

    def _connect(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self._uri, uri=True))

    def requests_per_second(self) -> int:
        """The limit of the city's scale."""
        with self._connect() as base:
            row = base.execute("SELECT value FROM setting WHERE name = 'requests_per_second'").fetchone()
        return int(row[0])

    def page(self, collection: str, page: int, size: int) -> tuple[int, list[str]]:
        """(number of all documents, bodies of this page); `collection` must be one of COLLECTIONS."""
        if collection not in COLLECTIONS:
            raise KeyError(collection)
        first = (page - 1) * size
        with self._connect() as base:
            (total,) = base.execute(f"SELECT coalesce(max(seq), 0) FROM {collection}").fetchone()
            rows = base.execute(
                f"SELECT body FROM {collection} WHERE seq > ? AND seq <= ? ORDER BY seq", (first, first + size)
            )
            return int(total), [row[0] for row in rows]


def create_app(root: Path, rate: int | None = None) -> FastAPI:
    """The service over a city's directory; `rate` overrides its requests per second.

    Raises FileNotFoundError when there is no register.
    """
    store = Store(store_path(root))
    meter = Meter(rate or store.requests_per_second())
    app = FastAPI(title="Chemicals register", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v2/{collection}")
    def documents(
        request: Request,
        collection: str,
        page: Annotated[int, Query(ge=1, le=10_000_000)] = 1,
        size: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = LARGEST_PAGE,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        seconds = meter.wait()
        if seconds:
            limit = {"Retry-After": str(math.ceil(seconds))}
            return JSONResponse({"error": "too many requests"}, 429, limit)
        if collection not in COLLECTIONS:
            return JSONResponse({"error": "no such collection"}, 404)
        total, bodies = store.page(collection, page, size)
        path = f'"{request.url.path}?page={page + 1}&size={size}"' if page * size < total else "null"
        # the bodies are JSON already
        body = f'{{"page":{page},"size":{size},"items":[{",".join(bodies)}],"next":{path}}}'.encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "X-Total-Count": str(total)}
        if if_none_match == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return app


def main(argv: list[str] | None = None) -> None:
    """Serves a city's register on loopback until stopped."""
    parser = argparse.ArgumentParser(prog="python -m atoll.city.register", description="chemicals register")
    parser.add_argument("--dir", type=Path, required=True, help="directory of a generated city")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(argv)
    uvicorn.run(create_app(options.dir), host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
