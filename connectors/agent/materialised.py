"""Copies of relations that their owner lets the agent keep, at home: `materialise: 6h` in department.yaml.

A copy is what the agent would read of the source for every column of the relation: the owner's table or view, in the
declared types, unmasked and whole. It takes the place of the source beneath the masks, in one place (`authorise`), so
whatever stands above it is as it is over any other source. It never leaves the agent's state folder.

    question     a copy young enough answers; else the source does, and the copy is made meanwhile
    renewal      when it is half as old as it may be, if anybody asked since it was made
    end          when it is too old, when the policy or the owner's view says something else, at the owner's word: no
                 question from then on, and its file a few seconds later, or with its last reader; all with the agent

Not out of a copy: sums of mode `aggregate` and checks of mode `verify`, whose history tells of the source, and
relations under a row filter, which is written in the source's own SQL. The ledger has a record of each copy before it
answers, and one of the end of the last; each receipt says of when the rows are.

Two threads: one makes copies, one after the other, however long a source takes; one looks round, so that what ends does
not wait for that.
"""

from __future__ import annotations

import itertools
import math
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from catalog.exchange import canonical_json, sha256
from catalog.ledger import LedgerError
from catalog.policy import Decision, Department, RelationSpec
from connectors.base import Cancel, Cancelled, Capabilities, NativeScan, OutputColumn, Source, SourceError, SourceTable
from connectors.held import Stamp
from connectors.snapshot import CAPABILITIES, Snapshot, gathered, parquet_view

__all__ = ["MATERIALISED", "Copy", "Definition", "Materialised", "definitions"]

MATERIALISED = "$materialised"
"""The name of this source; no entry of `sources:` can have it."""
GROUP_ROWS = 122_880
"""Rows of a row group: as many as the engine gives one of its threads at once."""
GATHERED_BYTES = 64 << 20
"""Of what is written at once, in such groups."""
RETRY = timedelta(minutes=1)
"""How soon a copy that could not be made may be tried again, if somebody asks: each time twice as late, up to half of
how old it may be."""
LINGER = 10.0
"""Seconds that a copy which answers no new question waits for those that were planned before."""
SKEW = timedelta(minutes=1)
"""By how much a clock may be set back before a copy counts as one of a time to come."""
DOUBT = 60.0
"""Seconds in which a copy that could not be read is looked at once."""
_log = structlog.get_logger("atoll.agent")


@dataclass(frozen=True)
class Definition:
    """What a copy of a relation is. table: names it, and what a policy says of its rows. seconds: how old it may be.

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
    return {
        name: _definition(name, spec, views.get(name, "") if spec.view else "")
        for name, spec in department.relations.items()
        if spec.materialise is not None
    }


def _definition(name: str, spec: RelationSpec, view: str) -> Definition:
    columns = tuple(OutputColumn(c.from_ or n, c.type, n) for n, c in spec.columns.items())
    # Sources are what they were when the agent started, and so is every copy younger than that.
    read = [name, spec.source, spec.table, view, [[c.column, str(c.type), c.name] for c in columns]]
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


@dataclass(frozen=True)
class Copy:
    """A copy as it lies on disk. at: when its reading began. vintage: of when its rows are. since: that moment by the
    machine's own count of seconds, which nobody sets."""

    file: Path
    at: datetime
    vintage: datetime
    rows: int
    bytes: int
    since: float

    @property
    def table(self) -> str:
        return self.file.name.partition(".")[0]

    def is_young(self, seconds: float, now: datetime) -> bool:
        """Whether it is at most so old, by the clock and by what passed; one of a time to come is of a wrong clock."""
        return -SKEW <= now - self.at <= timedelta(seconds=seconds) and time.monotonic() - self.since <= seconds

    @property
    def known_as(self) -> dict[str, Any]:
        """By which the ledger knows it."""
        return {"table": self.table, "at": self.at.isoformat()}

    @property
    def facts(self) -> dict[str, Any]:
        """What the ledger and the owner are told."""
        return {**self.known_as, "vintage": self.vintage.isoformat(), "rows": self.rows, "bytes": self.bytes}


@dataclass(frozen=True)
class _Failure:
    """The last attempt in vain, and how many there were since the last copy."""

    at: datetime
    reason: str
    tries: int = 1

    def again(self, seconds: float) -> datetime:
        """When it is tried anew."""
        later: timedelta = RETRY * 2 ** min(self.tries - 1, 20)
        return self.at + max(RETRY, min(later, timedelta(seconds=seconds / 2)))


@dataclass(frozen=True)
class _Job:
    """A copy to be made, and what came of it: "" or why there is none.

    unwanted: nothing that it makes comes into use any more, and nobody waits for it. cancel: stops it, which may take
    the source a moment.
    """

    of: Definition
    done: Future[str] = field(default_factory=Future)
    cancel: Cancel = field(default_factory=Cancel)
    unwanted: threading.Event = field(default_factory=threading.Event)

    def end(self, reason: str) -> None:
        with suppress(InvalidStateError):  # whoever gave it up said so before
            self.done.set_result(reason)

    def stop(self) -> None:
        self.cancel.set()
        self.end(_GIVEN_UP)


Record = Callable[[str, Mapping[str, Any]], object]


class Materialised(Source):
    """The copies of one agent. Thread-safe. folder: private. sources: the department's own, by name.

    record: writes to the ledger; if it raises, no copy comes into use. paused: whether nothing is answered just now;
    then the agent copies nothing by itself.
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
        self._publishing = threading.Lock()
        self._woken = threading.Event()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._snapshot: Snapshot | None = None
        # A run that ended suddenly left copies of which nobody knows whether they ended before.
        shutil.rmtree(folder, ignore_errors=True)
        # Under `_lock`: what is said, what answers, what answers no more but may still be read, what is to be done.
        self._closed = False
        self._defined: dict[str, Definition] = {}
        self._copies: dict[str, Copy] = {}
        self._going: dict[str, tuple[float, Copy]] = {}
        self._ended: list[dict[str, Any]] = []
        self._asked: set[str] = set()
        self._failed: dict[str, _Failure] = {}
        self._ordered: dict[str, _Job] = {}
        self._doubtful: dict[str, float] = {}
        self._numbers = itertools.count(1)

    # ---- what a policy says --------------------------------------------------------------------------

    def define(self, wanted: Mapping[str, Definition]) -> None:
        """From now on these, and no others. Copies of what is no longer said answer nothing more, and go."""
        with self._lock:
            tables = {d.table for d in wanted.values()}
            self._defined = dict(wanted)
            self._asked &= wanted.keys()
            self._failed.clear()
            self._let_go([table for table in self._copies if table not in tables])
            unwanted = self._give_up(lambda table: table not in tables)
            if not self._threads and not self._closed and wanted:
                for work in (self._look_after, self._copy):
                    self._threads.append(threading.Thread(target=work, name="atoll-materialise", daemon=True))
                    self._threads[-1].start()
        for job in unwanted:
            job.stop()
        self._woken.set()

    def _let_go(self, tables: Iterable[str]) -> None:
        """Under the lock: these copies answer no new question."""
        for table in tables:
            copy = self._copies.pop(table)
            self._going[table] = time.monotonic() + LINGER, copy
            self._ended.append(copy.known_as)

    def _give_up(self, which: Callable[[str], bool]) -> list[_Job]:
        """Under the lock: copies that are being made, or waited for, are not wanted any more. They are to be stopped
        without it, for a source may take its time."""
        found = [job for table, job in self._ordered.items() if which(table)]
        for job in found:
            job.unwanted.set()
        return found

    # ---- asking --------------------------------------------------------------------------------------

    def spec(self, definition: Definition | None, decision: Decision, now: datetime) -> RelationSpec | None:
        """The relation as its copy holds it, where that may answer under this decision; else None."""
        if definition is None or not decision.reads_copies:
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
        """Make these copies now, and wait for them: relation -> "", or why there is none."""
        with self._lock:
            wanted = {name: self._defined.get(name) for name in names}
        jobs = {name: None if d is None else self._order(d) for name, d in wanted.items()}
        return {name: "it says no `materialise`" if job is None else job.done.result() for name, job in jobs.items()}

    def drop(self, names: Collection[str]) -> None:
        """Let these copies go; another one is made when somebody asks again."""
        with self._lock:
            tables = {d.table for n, d in self._defined.items() if n in names}
            self._asked -= set(names)
            self._let_go(tables & self._copies.keys())
            unwanted = self._give_up(lambda table: table in tables)
        for job in unwanted:
            job.stop()
        self._woken.set()

    def give_up(self) -> None:
        """Make none of the copies that are being made, or waited for."""
        with self._lock:
            unwanted = self._give_up(lambda _: True)
        for job in unwanted:
            job.stop()

    def told(self) -> list[dict[str, Any]]:
        """For the owner: each relation that says `materialise`, how old its copy may be, and its copy, if any."""
        now, found = self._clock(), []
        with self._lock:
            for name, d in self._defined.items():
                copy, failed = self._copies.get(d.table), self._failed.get(name)
                one = {} if copy is None else {**copy.facts, "answers": copy.is_young(d.seconds, now)}
                reason = failed.reason if failed else ""
                found.append({"relation": name, "seconds": d.seconds, "failed": reason, **one})
        return found

    # ---- Source --------------------------------------------------------------------------------------

    def tables(self) -> list[SourceTable]:
        return []

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        if self._snapshot is None:
            raise SourceError("there is no copy any more")
        return self._watched(self._snapshot.scan(scan, cancel), scan)

    def _watched(self, batches: Iterator[pa.RecordBatch], scan: NativeScan) -> Iterator[pa.RecordBatch]:
        """The batches; where they cannot be read, the copies behind them are looked at."""
        try:
            yield from batches
        except Cancelled:
            raise
        except SourceError:
            read = {part.relation for part in scan.scans() if isinstance(part.relation, str)}
            with self._lock:
                for table in read & self._copies.keys() - self._doubtful.keys():
                    self._doubtful[table] = math.inf
            self._woken.set()
            raise

    def vintage(self, table: str = "") -> datetime | None:
        with self._lock:
            there = [*self._copies.values(), *(copy for _, copy in self._going.values())]
        return min((copy.vintage for copy in there if table in ("", copy.table)), default=None)

    def refresh(self) -> None:
        """Make every copy that there is anew. Raises SourceError for the first that cannot be made."""
        with self._lock:
            names = [name for name, d in self._defined.items() if d.table in self._copies]
        for name, why in ({} if self._paused() else self.make(names)).items():
            if why:
                raise SourceError(f"{name}: {why}")

    def close(self) -> None:
        """Nothing of them stays. Waits a few seconds at most for a source that does not stop."""
        with self._lock:
            self._closed = True
            unwanted = self._give_up(lambda _: True)
        for job in unwanted:
            job.stop()
        self._jobs.put(None)
        self._woken.set()
        for thread in self._threads:
            thread.join(timeout=5.0)
        with self._lock:
            self._let_go([*self._copies])
        if self._publishing.acquire(timeout=5.0):
            if self._snapshot is not None:
                self._snapshot.close()
            self._guarded(self._tell)
            self._publishing.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- looking round -------------------------------------------------------------------------------

    def _look_after(self) -> None:
        while not self._closed:
            self._woken.clear()
            self._guarded(self._look_round)
            self._woken.wait(self._pause())

    def _guarded(self, work: Callable[[], None]) -> None:
        """The last line of defence: whatever goes wrong once is tried again."""
        try:
            work()
        except Exception:  # noqa: BLE001 - the thread must go on
            _log.exception("copies cannot be looked after")

    def _look_round(self) -> None:
        """Let go of what is too old or broken, order what is due, and take away what nobody reads any more."""
        self._look_at_doubtful()
        now, idle = self._clock(), self._paused()
        with self._lock:
            seconds = {d.table: d.seconds for d in self._defined.values()}
            self._let_go([t for t, copy in self._copies.items() if not copy.is_young(seconds.get(t, 0.0), now)])
            due = [] if idle else [d for n in self._asked if self._due(d := self._defined[n], now) <= now]
        for definition in due:
            self._order(definition)
        with self._publishing:
            self._settle()

    def _look_at_doubtful(self) -> None:
        with self._lock:
            now = time.monotonic()
            self._doubtful = {table: until for table, until in self._doubtful.items() if until > now}
            found = [self._copies[t] for t, until in self._doubtful.items() if until == math.inf and t in self._copies]
        for copy in found:
            whole = _is_whole(copy.file)
            with self._lock:
                self._doubtful[copy.table] = time.monotonic() + DOUBT
                if not whole and self._copies.get(copy.table) is copy:
                    self._let_go([copy.table])

    def _due(self, definition: Definition, now: datetime) -> datetime:
        """Under the lock: when the copy of a relation that is asked for should be made."""
        copy, failed = self._copies.get(definition.table), self._failed.get(definition.name)
        due = now if copy is None or copy.at > now else copy.at + timedelta(seconds=definition.seconds / 2)
        return due if failed is None else max(due, failed.again(definition.seconds))

    def _pause(self) -> float:
        """Seconds until something is due: at most a minute, for a clock may be set and a door may open."""
        now, idle = self._clock(), self._paused()
        with self._lock:
            seconds = {d.table: d.seconds for d in self._defined.values()}
            due = [] if idle else [self._due(self._defined[n], now) for n in self._asked]
            due += [copy.at + timedelta(seconds=seconds.get(table, 0.0)) for table, copy in self._copies.items()]
            left = [(moment - now).total_seconds() for moment in due]
            left += [until - time.monotonic() for until, _ in self._going.values()]
        return min(60.0, max(0.2, min(left, default=60.0)))

    def _settle(self) -> None:
        """While publishing: without what was let go a while ago, and without files that nobody reads. On record."""
        with self._lock:
            over = {table: at for table, at in self._going.items() if at[0] <= time.monotonic()}
        if over:
            self._publish({table: copy for table, copy in self._there().items() if table not in over})
            with self._lock:
                self._going = {table: at for table, at in self._going.items() if over.get(table) != at}
        if self._snapshot is not None:
            self._snapshot.sweep()
        self._tell()

    def _there(self) -> dict[str, Copy]:
        """While publishing: what may be read. What cannot be, goes: it must not keep the others from their readers."""
        with self._lock:
            there = {**{table: copy for table, (_, copy) in self._going.items()}, **self._copies}
        broken = {table for table, copy in there.items() if not _has_footer(copy.file)}
        with self._lock:
            self._let_go(broken & self._copies.keys())
        return {table: copy for table, copy in there.items() if table not in broken}

    def _publish(self, copies: Mapping[str, Copy]) -> None:
        """While publishing: let these be read, and no others. Raises SourceError; then those before are read."""
        snapshot = self._snapshot or Snapshot(self._folder, memory=self._memory)
        files = {table: copy.file for table, copy in copies.items()}
        snapshot.publish({table: parquet_view([file]) for table, file in files.items()}, list(files.values()))
        snapshot.look({table: stamp for table, file in files.items() if (stamp := Stamp.of([file])) is not None})
        self._snapshot = snapshot

    def _tell(self) -> None:
        """The ends of copies, as soon as the ledger takes them."""
        while self._ended:
            self._record("materialise_end", self._ended[0])
            del self._ended[0]

    # ---- making --------------------------------------------------------------------------------------

    def _order(self, definition: Definition) -> _Job:
        """A job that makes the copy: the one that is waiting or at work, or a new one."""
        with self._lock:
            job = self._ordered.get(definition.table)
            if job is None or job.unwanted.is_set():
                job = self._ordered[definition.table] = _Job(definition)
                if self._closed:
                    job.end(_GIVEN_UP)
                self._jobs.put(job)
        return job

    def _copy(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _do(self, job: _Job) -> None:
        reason = ""
        try:
            self._make(job.of, job)
        except Cancelled:
            reason = _GIVEN_UP
        except Exception as bad:  # noqa: BLE001 - handed to whoever waits for the copy
            known = isinstance(bad, (SourceError, LedgerError, OSError, pa.ArrowException))
            reason = " ".join(str(bad).split())[:300] if known else "something went wrong that the agent's log tells"
            _log.warning("no copy", relation=job.of.name, reason=reason, exc_info=not known)
        with self._lock:
            if self._ordered.get(job.of.table) is job:
                del self._ordered[job.of.table]
            if reason not in ("", _GIVEN_UP):
                before = self._failed.get(job.of.name)
                self._failed[job.of.name] = _Failure(self._clock(), reason, before.tries + 1 if before else 1)
        job.end(reason)
        self._woken.set()

    def _make(self, definition: Definition, job: _Job) -> None:
        with self._lock:
            if job.unwanted.is_set():
                raise Cancelled("unwanted")
            self._asked.discard(definition.name)
        source, at = self._sources[definition.source], self._clock()
        vintage, since = source.vintage() or at, time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        half = self._folder / f"{definition.table}.half"
        try:
            rows = _write(source.scan(definition.scan, job.cancel), definition.scan.schema, half, job.cancel)
            path = self._folder / f"{definition.table}.{next(self._numbers)}.parquet"
            copy = Copy(path, at, vintage, rows, half.stat().st_size, since)
            with self._publishing:
                job.cancel.check()
                self._put_in_use(definition, half, copy, job)
        finally:
            half.unlink(missing_ok=True)

    def _put_in_use(self, definition: Definition, half: Path, copy: Copy, job: _Job) -> None:
        """While publishing: on record, and then readable. Raises what goes wrong, and all is as it was."""
        self._record("materialise", {"relation": definition.name, **copy.facts})
        try:
            os.replace(half, copy.file)
            self._publish({**self._there(), copy.table: copy})
        except (SourceError, OSError):
            self._ended.append(copy.known_as)
            copy.file.unlink(missing_ok=True)
            raise
        with self._lock:
            self._copies[copy.table] = copy
            self._going.pop(copy.table, None)
            self._doubtful.pop(copy.table, None)
            self._failed.pop(definition.name, None)
            if job.unwanted.is_set():  # since a moment ago
                self._let_go([copy.table])


_GIVEN_UP = "it was given up: the policy changed, its owner dropped it or paused the agent, or the agent closes"


def _write(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path, cancel: Cancel) -> int:
    """All of a source's rows as one file, readable by its owner alone. Returns how many there are."""
    count = 0
    with (
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for batch in gathered(batches, cancel, GATHERED_BYTES):
            writer.write_batch(batch, GROUP_ROWS)
            count += batch.num_rows
    return count


def _has_footer(path: Path) -> bool:
    """Whether a file is there and says what is in it."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def _is_whole(path: Path) -> bool:
    """Whether all of a file can be read."""
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches():
                pass
    except (OSError, pa.ArrowException):
        return False
    return True
