"""Copies of relations that their owner lets the agent keep, at home: `materialise: 6h` in department.yaml.

A copy is what the agent would read of the source for every column of the relation: the owner's table or view, in the
declared types, unmasked and whole. It takes the place of the source beneath the masks, in one place (`authorise`), so
whatever stands above it is as it is over any other source. It never leaves the agent's state folder.

    question     a copy young enough answers; else the source does, and the copy is made meanwhile
    renewal      when it is half as old as it may be, if anybody asked since it was made
    end          when it is too old, when the policy or the owner's view says something else, at the owner's word

Not out of a copy: sums of mode `aggregate` and checks of mode `verify`, whose history tells of the source, and
relations under a row filter, which is written in the source's own SQL. The ledger says of each copy when it was made
and when it went; each receipt says of when the rows are.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from catalog.exchange import canonical_json, sha256
from catalog.ledger import LedgerError
from catalog.policy import Decision, Department, RelationSpec
from catalog.relation import Mode
from connectors.base import Cancel, Cancelled, Capabilities, NativeScan, OutputColumn, Source, SourceError, SourceTable
from connectors.held import Stamp
from connectors.snapshot import CAPABILITIES, Snapshot, parquet_view

__all__ = ["MATERIALISED", "Copy", "Definition", "Materialised", "definitions", "may_copy"]

MATERIALISED = "$materialised"
"""The name of this source; no entry of `sources:` can have it."""
GROUP_ROWS = 122_880
"""Rows of a row group: the engine reads one after the other, several at once."""
GROUP_BYTES = 64 << 20
RETRY = timedelta(minutes=1)
"""How soon a copy that could not be made is tried again."""
LINGER = timedelta(minutes=1)
"""A copy too old for new questions waits for those that were planned before."""
_FILE = re.compile(r"(?P<table>[0-9a-f]{32})[.](?P<millis>[0-9]+)[.]parquet")
_log = structlog.get_logger("atoll.agent")


@dataclass(frozen=True)
class Definition:
    """What a copy of a relation is. table: names it, and all that decides its rows. seconds: how old it may be.

    spec: the relation as the copy holds it: published columns under their own names. scan: reads it whole.
    """

    name: str
    table: str
    seconds: float
    source: str
    spec: RelationSpec
    scan: NativeScan


def definitions(department: Department, views: Mapping[str, str]) -> dict[str, Definition]:
    """Relation -> its copy, for all that say `materialise`. views: the owner's SELECT of each view."""
    found = {}
    for name, spec in department.relations.items():
        if spec.materialise is not None:
            found[name] = _definition(department, name, spec, views.get(name, "") if spec.view else "")
    return found


def _definition(department: Department, name: str, spec: RelationSpec, view: str) -> Definition:
    columns = tuple(OutputColumn(c.from_ or n, c.type, n) for n, c in spec.columns.items())
    read = [name, department.sources[spec.source], spec.table, view, [[c.column, str(c.type), c.name] for c in columns]]
    table = sha256(canonical_json(read))[:32]
    held = spec.model_copy(update={
        "source": MATERIALISED, "table": table, "view": "",
        "columns": {n: c.model_copy(update={"from_": ""}) for n, c in spec.columns.items()},
    })  # fmt: skip
    scan = NativeScan(
        relation=view or spec.table, is_query=bool(view), types={c.column: c.type for c in columns}, columns=columns,
        query_id=f"materialise_{name}",
    )  # fmt: skip
    return Definition(name, table, spec.materialise or 0.0, spec.source, held, scan)


def may_copy(decision: Decision) -> bool:
    """Whether a copy may answer under a decision."""
    return decision.mode in (Mode.masked, Mode.raw) and not decision.filters


@dataclass(frozen=True)
class Copy:
    """A copy as it lies on disk. at: when its reading began. vintage: of when its rows are."""

    file: Path
    at: datetime
    vintage: datetime
    rows: int
    bytes: int

    @property
    def table(self) -> str:
        return self.file.name.partition(".")[0]

    def is_young(self, seconds: float, now: datetime, linger: timedelta = timedelta()) -> bool:
        """Whether it is at most so old; a copy of a time to come is of a clock that was wrong."""
        return timedelta() <= now - self.at <= timedelta(seconds=seconds) + linger


Record = Callable[[str, Mapping[str, Any]], object]


class Materialised(Source):
    """The copies of one agent. Thread-safe. folder: private. sources: the department's own, by name.

    record: writes to the ledger; raises LedgerError, and then no copy comes into use. paused: whether nothing is
    answered just now; then nothing is copied either.
    """

    kind: ClassVar[str] = "materialised"
    dialect: ClassVar[str] = "duckdb"

    def __init__(
        self,
        folder: Path,
        sources: Mapping[str, Source],
        record: Record,
        paused: Callable[[], bool] = lambda: False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        memory_mb: int = 1024,
    ) -> None:
        self._folder = folder
        self._sources = sources
        self._record = record
        self._paused = paused
        self._clock = clock
        self._memory = f"{memory_mb}MB"
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._woken = threading.Event()
        self._closed = False
        self._defined: dict[str, Definition] = {}
        self._copies: dict[str, Copy] = {}
        self._asked: set[str] = set()
        self._failed: dict[str, tuple[datetime, str]] = {}
        self._running: tuple[str, Cancel] | None = None
        self._snapshot: Snapshot | None = None
        self._thread: threading.Thread | None = None

    # ---- what a policy says --------------------------------------------------------------------------

    def define(self, wanted: Mapping[str, Definition]) -> None:
        """From now on these, and no others. Copies of what is no longer said answer nothing more, and go."""
        with self._lock:
            gone = {name for name, d in self._defined.items() if wanted.get(name) != d}
            self._defined = dict(wanted)
            self._asked &= wanted.keys()
            self._failed.clear()
            self._stop(gone)
        if self._thread is None and (wanted or self._folder.is_dir()):
            self._take_up()
            self._thread = threading.Thread(target=self._tend, name="atoll-materialise", daemon=True)
            self._thread.start()
        self._woken.set()

    def _take_up(self) -> None:
        """Put the copies in use that an earlier run of the agent left; what is no copy, or no whole one, goes."""
        found: dict[str, Copy] = {}
        for path in sorted(self._folder.glob("*.parquet")):
            try:
                copy = _read_copy(path)
            except (OSError, ValueError, KeyError, pa.ArrowException):
                path.unlink(missing_ok=True)
                continue
            if copy.table not in found or found[copy.table].at < copy.at:
                found[copy.table] = copy
        with self._lock:
            self._copies = found
        try:
            self._clear(first=True)
        except SourceError as bad:
            _log.error("copies cannot be read, and are not in use", error=str(bad))

    def _stop(self, names: Collection[str]) -> None:
        """Give up the copy that is being made, if it is one of these."""
        if self._running is not None and self._running[0] in names:
            self._running[1].set()

    # ---- asking --------------------------------------------------------------------------------------

    def spec(self, definition: Definition | None, decision: Decision, now: datetime) -> RelationSpec | None:
        """The relation as its copy holds it, where that may answer under this decision; else None."""
        if definition is None or not may_copy(decision):
            return None
        with self._lock:
            copy = self._copies.get(definition.table)
        return definition.spec if copy is not None and copy.is_young(definition.seconds, now) else None

    def asked(self, names: Iterable[str]) -> None:
        """Somebody's question reads these relations: their copies are made, and renewed in time."""
        with self._lock:
            new = self._defined.keys() & set(names) - self._asked
            self._asked |= new
        if new:
            self._woken.set()

    # ---- the owner's word ----------------------------------------------------------------------------

    def make(self, names: Collection[str]) -> dict[str, str]:
        """Make these copies now: relation -> "", or why there is none. Raises LedgerError."""
        with self._lock:
            wanted = {name: self._defined.get(name) for name in names}
        return {name: "it says no `materialise`" if d is None else self._made(d) for name, d in wanted.items()}

    def drop(self, names: Collection[str]) -> None:
        """Let these copies go; another one is made when somebody asks again. Raises LedgerError, SourceError."""
        with self._lock:
            self._asked -= set(names)
            tables = {d.table for n, d in self._defined.items() if n in names}
            self._stop(names)
        with self._changing:
            self._clear(also=tables)

    def told(self) -> list[dict[str, Any]]:
        """For the owner: each relation that says `materialise`, how old its copy may be, and its copy, if any."""
        now, found = self._clock(), []
        with self._lock:
            for name, d in self._defined.items():
                copy, (_, failed) = self._copies.get(d.table), self._failed.get(name, (now, ""))
                one = {} if copy is None else {**_facts(copy), "answers": copy.is_young(d.seconds, now)}
                found.append({"relation": name, "seconds": d.seconds, "failed": failed, **one})
        return found

    # ---- Source --------------------------------------------------------------------------------------

    def tables(self) -> list[SourceTable]:
        return []

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        with self._lock:
            snapshot = self._snapshot
        if snapshot is None:
            raise SourceError("there is no copy any more")
        return snapshot.scan(scan, cancel)

    def vintage(self, table: str = "") -> datetime | None:
        with self._lock:
            found = [c.vintage for c in self._copies.values() if table in ("", c.table)]
        return min(found, default=None)

    def refresh(self) -> None:
        """Make every copy that there is anew. Raises SourceError for the first that cannot be made."""
        with self._lock:
            names = [name for name, d in self._defined.items() if d.table in self._copies]
        for name, why in self.make(names).items():
            if why:
                raise SourceError(f"{name}: {why}")

    def close(self) -> None:
        """Copies stay where they are, for the next start."""
        with self._lock:
            self._closed = True
            self._stop(self._defined.keys())
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        with self._changing:
            if self._snapshot is not None:
                self._snapshot.close()

    # ---- the background ------------------------------------------------------------------------------

    def _tend(self) -> None:
        while not self._closed:
            self._woken.clear()
            try:
                for definition in self._due():
                    self._made(definition)
                with self._changing:
                    self._clear()
            except (LedgerError, SourceError, OSError) as bad:
                _log.error("copies cannot be looked after", error=str(bad))
            self._woken.wait(self._pause())

    def _due(self) -> list[Definition]:
        """Copies that somebody waits for: none there or half as old as it may be, and not just tried in vain."""
        now, paused = self._clock(), self._paused()
        with self._lock:
            return [] if paused else [d for n in self._asked if self._moment(d := self._defined[n], now) <= now]

    def _moment(self, definition: Definition, now: datetime) -> datetime:
        """When the copy of a relation that is asked for should be made."""
        copy, tried = self._copies.get(definition.table), self._failed.get(definition.name)
        due = now if copy is None or copy.at > now else copy.at + timedelta(seconds=definition.seconds / 2)
        return due if tried is None else max(due, tried[0] + RETRY)

    def _pause(self) -> float:
        """Seconds until something is due: at most a minute, for a clock may be set."""
        now = self._clock()
        with self._lock:
            moments = [self._moment(self._defined[name], now) for name in self._asked]
            moments += [self._copies[d.table].at + timedelta(seconds=d.seconds) + LINGER
                        for d in self._defined.values() if d.table in self._copies]  # fmt: skip
        left = min((moment - now for moment in moments), default=RETRY)
        return min(60.0, max(1.0, left.total_seconds()))

    def _made(self, definition: Definition) -> str:
        """Empty once the copy is in use, else why there is none. Raises LedgerError."""
        with self._changing:
            try:
                self._make(definition)
            except Cancelled:
                return "it was given up: the policy changed, its owner dropped it, or the agent closes"
            except (SourceError, OSError, pa.ArrowException) as bad:
                reason = " ".join(str(bad).split())[:300]
                _log.warning("no copy", relation=definition.name, reason=reason)
                with self._lock:
                    self._failed[definition.name] = self._clock(), reason
                return reason
            finally:
                with self._lock:
                    self._running = None
        return ""

    def _make(self, definition: Definition) -> None:
        cancel = Cancel()
        with self._lock:
            if self._closed or self._defined.get(definition.name) != definition:
                raise Cancelled("no longer wanted")
            self._running = definition.name, cancel
            self._asked.discard(definition.name)
        source, at = self._sources[definition.source], self._clock()
        vintage = source.vintage() or at
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{definition.table}.{int(at.timestamp() * 1000)}.parquet"
        _write(source.scan(definition.scan, cancel), definition.scan.schema, path, vintage, cancel)
        try:
            copy = _read_copy(path)
            self._publish({**self._copies, copy.table: copy}, lambda: self._record(
                "materialise", {"relation": definition.name, **_facts(copy)}
            ))  # fmt: skip
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._failed.pop(definition.name, None)

    def _clear(self, also: Collection[str] = (), first: bool = False) -> None:
        """Let go of copies that are too old, or that no relation says any more.

        also: of these tables, too. first: those that are left have to be put in use.
        """
        now = self._clock()
        with self._lock:
            named = {d.table: d.seconds for d in self._defined.values()}
            copies = self._copies
        kept = {
            table: copy for table, copy in copies.items()
            if table in named and table not in also and copy.is_young(named[table], now, LINGER)
        }  # fmt: skip
        if first or len(kept) < len(copies):
            self._publish(kept)
        for table in copies.keys() - kept.keys():
            self._record("materialise_end", {"table": table, "at": copies[table].at.isoformat()})

    def _publish(self, copies: Mapping[str, Copy], before: Callable[[], object] = lambda: None) -> None:
        """Put these copies in use, and no others: files of others go with their last reader. before: once they can be
        read, and before anybody does."""
        if self._snapshot is None:
            self._snapshot = Snapshot(self._folder, memory=self._memory)
        self._snapshot.publish(
            {table: parquet_view([c.file]) for table, c in copies.items()}, [c.file for c in copies.values()]
        )
        self._snapshot.look({table: stamp for table, c in copies.items() if (stamp := Stamp.of([c.file])) is not None})
        before()
        with self._lock:
            self._copies = dict(copies)


def _write(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path, vintage: datetime, cancel: Cancel) -> None:
    """All of a source's rows as one file, or none: a half-written file never bears the final name."""
    half = path.with_suffix(".half")
    told = {"vintage": vintage.isoformat()}
    try:
        with pq.ParquetWriter(half, schema.with_metadata(told), compression="zstd") as writer:
            for rows in _groups(batches, schema):
                cancel.check()
                writer.write_table(rows)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def _groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in tables that make good row groups."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.Table.from_batches(waiting, schema)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema)


def _read_copy(path: Path) -> Copy:
    """What lies there. Raises ValueError, KeyError, OSError, pa.ArrowException where that is no copy."""
    found = _FILE.fullmatch(path.name)
    if found is None:
        raise ValueError(f"{path.name} is no copy")
    about = pq.read_metadata(path)
    vintage = datetime.fromisoformat(about.schema.to_arrow_schema().metadata[b"vintage"].decode())
    at = datetime.fromtimestamp(int(found["millis"]) / 1000, UTC)
    return Copy(path, at, vintage, about.num_rows, path.stat().st_size)


def _facts(copy: Copy) -> dict[str, Any]:
    return {
        "table": copy.table, "at": copy.at.isoformat(), "vintage": copy.vintage.isoformat(), "rows": copy.rows,
        "bytes": copy.bytes,
    }  # fmt: skip
