"""JSON over HTTP as a silo: a slow or metered service, answered from the agent's own snapshot.

The service is never asked while an analyst waits. A background thread reads every declared collection
page by page, no faster than `rate`, and flattens its records into tables (see `records` for paths); the
snapshot is renewed when it is older than `freshness`, and an unchanged page (ETag, 304) is not sent
again. `vintage()` is the time at which the reading of the present snapshot began. If the service fails,
the old snapshot keeps answering, with its age to see; a scan before the first one waits at most `wait`.

    kind: rest
    url: https://register.example/v2/
    headers: {Authorization: env:REGISTER_TOKEN}
    rate: 5
    freshness: 24h
    tables:
      purchase_line:
        path: purchases
        params: {size: '200'}
        items: items
        next: next
        columns:
          doc_no: docNo
          line: {path: 'lines[#]', type: integer}
          substance_code: lines[].substance.code
          qty: {path: 'lines[].qty', type: 'decimal(14,3)'}
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlencode, urljoin, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import structlog
import tenacity
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from catalog.durations import Seconds
from catalog.http import Client, HTTPError, Response, Timeout
from catalog.types import TrinoType
from catalog.types import parse as parse_type
from connectors import cells, records
from connectors.base import Cancel, Capabilities, NativeScan, Source, SourceError, SourceTable
from connectors.config import SecretRef, SourceConfig, Strict, resolve_secret
from connectors.snapshot import (
    CAPABILITIES,
    Snapshot,
    digest,
    failing_view,
    parquet_view,
    write_parquet,
)

__all__ = ["RestConfig", "RestField", "RestSource", "RestTable"]

ATTEMPTS = 6
LONGEST_WAIT = 120.0
RETRY_SECONDS = 30.0
FIRST_RETRY_SECONDS = 1.0
"""How soon a failed fill is tried again; the first one while scans already wait for it."""

log = structlog.get_logger(__name__)


def _web(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("give an http(s) URL without user or password; secrets go under `headers`")
    return url if url.endswith("/") else url + "/"


def _type_text(text: str) -> str:
    parse_type(text).arrow()
    return text


class RestField(Strict):
    """path: where the value is in a record. type: Trino's spelling; numbers may come as JSON text."""

    path: str
    type: Annotated[str, AfterValidator(_type_text)] = "varchar"


class RestTable(Strict):
    """A table made of one collection.

    path: below the source's url. items: path of the list within a page ("" is the page itself).
    next: path of the link to the following page. page: or the query parameter that counts pages from
    `first_page`, until a page is empty. Neither: there is one page. columns: name -> path or field.
    """

    path: str
    params: dict[str, str] = Field(default_factory=dict)
    items: str = ""
    next: str | None = None
    page: str | None = None
    first_page: int = 1
    columns: dict[str, Annotated[RestField, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v)]]

    @model_validator(mode="after")
    def _consistent(self) -> RestTable:
        if self.next and self.page:
            raise ValueError("paging is by `next` or by `page`, not by both")
        if not self.columns:
            raise ValueError("a table needs columns")
        records.Paths(self.paths)
        return self

    @property
    def paths(self) -> dict[str, str]:
        return {name: column.path for name, column in self.columns.items()}

    @property
    def types(self) -> dict[str, TrinoType]:
        return {name: parse_type(column.type) for name, column in self.columns.items()}

    def first_url(self, base: str) -> str:
        params = dict(self.params)
        if self.page:
            params[self.page] = str(self.first_page)
        url = urljoin(base, self.path)
        return f"{url}?{urlencode(params)}" if params else url

    def place(self, url: str) -> str:
        """Under which name a page is remembered: tables that read a page alike share it."""
        return f"{url}#{self.items}"


class RestConfig(SourceConfig):
    """A JSON service. headers: name -> secret reference. rate: requests a second. wait: see above."""

    kind: Literal["rest"] = "rest"
    url: Annotated[str, AfterValidator(_web)]
    headers: dict[str, SecretRef] = Field(default_factory=dict)
    rate: Annotated[float, Field(gt=0, le=10_000)] = 5.0
    freshness: Seconds = 86_400.0
    wait: Seconds = 30.0
    timeout: Seconds = 30.0
    tables: Annotated[dict[str, RestTable], Field(min_length=1)]

    def open(self, base_dir: Path, private_dir: Path) -> RestSource:
        headers = {name: resolve_secret(reference, base_dir) or "" for name, reference in self.headers.items()}
        return RestSource(self, headers, private_dir)


class _Transient(Exception):
    """Worth another attempt. retry_after: seconds that the service asked for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass
class _Page:
    """What is known of one page: etag as sent, key of its cached rows, URL of the following page."""

    key: str
    etag: str | None
    next: str | None


@dataclass
class _State:
    """What survives a restart: when the snapshot was read, and the pages it was made of, by URL."""

    rules: str = ""
    began: str = ""
    pages: dict[str, _Page] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, rules: str) -> _State:
        """The state on disk, an empty one if there is none or it was made by other rules."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["rules"] != rules:
                return cls(rules)
            return cls(rules, data["began"], {url: _Page(**page) for url, page in data["pages"].items()})
        except (OSError, ValueError, KeyError, TypeError):
            return cls(rules)

    def save(self, path: Path) -> None:
        half = path.with_suffix(".half")
        data = {"rules": self.rules, "began": self.began, "pages": {u: vars(p) for u, p in self.pages.items()}}
        half.write_text(json.dumps(data), encoding="utf-8")
        os.replace(half, path)


class RestSource(Source):
    """One JSON service behind a snapshot. Starts to fill it when opened."""

    kind: ClassVar[str] = "rest"
    dialect: ClassVar[str] = "duckdb"

    def __init__(self, config: RestConfig, headers: dict[str, str], private_dir: Path) -> None:
        self._config = config
        self._snapshot = Snapshot(private_dir / "tables")
        self._pages = private_dir / "pages"
        self._file = private_dir / "state.json"
        self._rules = digest(config.url, config.model_dump_json(include={"tables"}))
        self._client = Client(headers=headers, timeout=Timeout(config.timeout), follow_redirects=False, trust_env=False)
        self._closed = threading.Event()
        self._ready = threading.Event()
        self._filling = threading.Lock()
        self._next_request = 0.0
        self._error: Exception | None = None
        self._state = _State.load(self._file, self._rules)
        self._vintage: datetime | None = None
        self._restore()
        self._thread = threading.Thread(target=self._keep_fresh, name="atoll-rest", daemon=True)
        self._thread.start()

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def tables(self) -> list[SourceTable]:
        self._wait_ready(Cancel())
        return self._snapshot.tables()

    def ping(self) -> None:
        table = next(iter(self._config.tables.values()))
        self._get(table.first_url(self._config.url), None)

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        self._wait_ready(cancel)
        return self._snapshot.scan(scan, cancel)

    def refresh(self) -> None:
        """Read the service now and return when the new snapshot answers. Raises SourceError."""
        self._fill()

    def vintage(self, table: str = "") -> datetime | None:
        return self._vintage

    def close(self) -> None:
        self._closed.set()
        self._thread.join(timeout=5.0)
        self._client.close()
        self._snapshot.close()

    # -- the background

    def _keep_fresh(self) -> None:
        while not self._closed.is_set():
            due = self._due_in()
            if due > 0:
                self._closed.wait(due)
                continue
            try:
                self._fill()
            except (SourceError, OSError, pa.ArrowException) as bad:
                self._error = bad
                log.warning("snapshot not renewed", url=self._config.url, reason=str(bad))
                self._closed.wait(RETRY_SECONDS if self._ready.is_set() else FIRST_RETRY_SECONDS)

    def _due_in(self) -> float:
        """Seconds until the snapshot is too old; 0 without one."""
        if self._vintage is None:
            return 0.0
        return self._config.freshness - (datetime.now(UTC) - self._vintage).total_seconds()

    def _wait_ready(self, cancel: Cancel) -> None:
        end = time.monotonic() + self._config.wait
        while self._closed.is_set() or not self._ready.wait(0.05):
            cancel.check()
            if self._closed.is_set():
                raise SourceError("the source is closed")
            if time.monotonic() > end:
                raise SourceError(
                    f"the first snapshot is still being filled after {self._config.wait:g} s"
                    + (f": {self._error}" if self._error else "")
                )

    def _fill(self) -> None:
        """Read every collection, publish, remember. One at a time."""
        with self._filling:
            began = datetime.now(UTC)
            state = _State(self._rules, began.isoformat())
            for table in self._config.tables.values():
                self._read(table, state)
            if self._closed.is_set():
                raise SourceError("the source is closed")
            self._publish(state)
            state.save(self._file)
            self._state, self._vintage, self._error = state, began, None
            self._sweep(state)
            self._ready.set()

    def _restore(self) -> None:
        """Publish the snapshot that the last run left, if it is whole."""
        if not self._state.began:
            return
        try:
            self._publish(self._state)
        except (SourceError, OSError, pa.ArrowException, KeyError):
            log.warning("the snapshot on disk is incomplete and will be read anew", url=self._config.url)
            self._state = _State(self._rules)
            return
        self._vintage = datetime.fromisoformat(self._state.began)
        self._ready.set()

    # -- pages

    def _read(self, table: RestTable, state: _State) -> None:
        """Read a table's pages into `state`, as far as another table has not."""
        url: str | None = table.first_url(self._config.url)
        number = table.first_page
        seen: set[str] = set()
        while url is not None:
            if url in seen:
                raise SourceError(f"the pages of {table.path} go in a circle")
            seen.add(url)
            place = table.place(url)
            if place not in state.pages:
                state.pages[place] = self._page(table, url, number)
            number += 1
            url = state.pages[place].next

    def _keys(self, table: RestTable, state: _State) -> list[str]:
        """The keys of a table's pages in order. Raises KeyError if `state` is not whole."""
        found = []
        url: str | None = table.first_url(self._config.url)
        while url is not None:
            page = state.pages[table.place(url)]
            found.append(page.key)
            url = page.next
        return found

    def _page(self, table: RestTable, url: str, number: int) -> _Page:
        """Fetch one page, unless it is unchanged, and cache its records."""
        old = self._state.pages.get(table.place(url))
        if old is not None and not self._cached(old.key).exists():
            old = None
        response = self._get(url, old.etag if old else None)
        if response is None:
            if old is None:
                raise SourceError(f"{table.path}: 304 for a page that was never read")
            return old
        body = records.loads(response.content)
        items = records.member(body, table.items)
        if not isinstance(items, list):
            raise SourceError(f"{table.path}: no list at {table.items or 'the root'!r}")
        key = digest(url, hashlib.sha256(response.content).hexdigest())
        write_parquet(pa.table({"record": pa.array(map(records.dumps, items), pa.string())}), self._cached(key))
        return _Page(key, response.headers.get("etag"), self._following(table, url, body, items, number))

    def _following(self, table: RestTable, url: str, body: Any, items: list[Any], number: int) -> str | None:
        if table.page and items:
            params = {**table.params, table.page: str(number + 1)}
            return f"{urljoin(self._config.url, table.path)}?{urlencode(params)}"
        link = records.member(body, table.next) if table.next else None
        if link is None:
            return None
        following = urljoin(url, str(link))
        if urlsplit(following)[:2] != urlsplit(self._config.url)[:2]:
            raise SourceError(f"{table.path}: the next page is on another host")
        return following

    def _cached(self, key: str) -> Path:
        return self._pages / f"{key}.parquet"

    def _sweep(self, state: _State) -> None:
        kept = {f"{page.key}.parquet" for page in state.pages.values()}
        for path in self._pages.glob("*.parquet"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    # -- tables

    def _publish(self, state: _State) -> None:
        views: dict[str, str] = {}
        files: list[Path] = []
        for name, table in self._config.tables.items():
            keys = self._keys(table, state)
            target = self._snapshot.folder / f"{name}-{digest(table.model_dump_json(), *keys)}.parquet"
            try:
                if not target.exists():
                    write_parquet(self._flattened(table, keys), target)
            except SourceError as bad:
                views[name] = failing_view(table.types, f"{table.path}: {bad}")
                continue
            files.append(target)
            views[name] = parquet_view([target])
        self._snapshot.publish(views, files)

    def _flattened(self, table: RestTable, keys: list[str]) -> pa.Table:
        """All pages of a table as rows of its declared types."""
        paths, types = records.Paths(table.paths), table.types
        schema = pa.schema([pa.field(name, type_.arrow()) for name, type_ in types.items()])
        batches = []
        for key in keys:
            texts = pq.read_table(self._cached(key)).column("record").to_pylist()
            flat = paths.table(records.loads(text) for text in texts)
            arrays = [cells.from_text(flat[name], type_, name) for name, type_ in types.items()]
            batches.append(pa.record_batch(arrays, schema=schema))
        return pa.Table.from_batches(batches, schema)

    # -- requests

    def _get(self, url: str, etag: str | None) -> Response | None:
        """One page, None if it is unchanged. Retries what is worth it; raises SourceError."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_pause,
            sleep=tenacity.sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            return attempts(self._ask, url, etag)
        except _Transient as bad:
            raise SourceError(f"{urlsplit(url).path}: {bad}, {ATTEMPTS} times") from None

    def _ask(self, url: str, etag: str | None) -> Response | None:
        self._pace()
        try:
            response = self._client.get(url, headers={"If-None-Match": etag} if etag else {})
        except HTTPError as bad:
            raise _Transient(type(bad).__name__) from bad
        if response.status_code == 304 and etag:
            return None
        if response.status_code == 429 or response.status_code >= 500:
            raise _Transient(f"HTTP {response.status_code}", _retry_after(response))
        if response.status_code != 200:
            raise SourceError(f"{urlsplit(url).path}: HTTP {response.status_code}")
        return response

    def _pace(self) -> None:
        """Wait for this request's turn; at most `rate` a second."""
        now = time.monotonic()
        turn = max(now, self._next_request)
        self._next_request = turn + 1.0 / self._config.rate
        if self._closed.wait(turn - now):
            raise SourceError("the source is closed")


_backoff = tenacity.wait_exponential_jitter(multiplier=0.2, max=10.0, jitter=0.2)


def _pause(state: tenacity.RetryCallState) -> float:
    """What the service asked for, else a growing pause."""
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, _Transient) and failure.retry_after is not None:
        return min(failure.retry_after, LONGEST_WAIT)
    return _backoff(state)


def _retry_after(response: Response) -> float | None:
    """The Retry-After header in seconds, from either of its forms; None if absent or unreadable."""
    text = response.headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
