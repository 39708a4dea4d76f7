"""Runs a plan: the source's batches through the masks into a locked private DuckDB, and out as batches.

    source --thread--> queue of 4 --> mask engine (policy's SQL only) --> residual engine (analyst's query)
                                      in this process                     in a process of its own

Raw values never leave this process. The residual engine holds governed relations and nothing else; its
process serves one fragment, is locked and confined before any analyst's text runs, and is killed when its
fragment ends, however that ends (child.py, engine.py). Where the query is nothing but columns of one
relation there is nothing to evaluate, and no residual engine (`RowPlan.copies`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from catalog import duck
from catalog.errors import CityError
from catalog.exchange import key_table
from catalog.types import arrow_field
from connectors.agent.child import Residual
from connectors.agent.enforce import Scan
from connectors.agent.plan import RowPlan, keys_name
from connectors.agent.scrub import scrubbed
from connectors.agent.sideways import narrowed, read_ahead
from connectors.ahead import Ahead
from connectors.base import Cancel, Cancelled, NativeScan, Order, SourceError

__all__ = ["Engine", "Engines", "Feed", "RowRun", "Stop", "connect", "trusted_table"]

BATCH = 8192
COPIED_BYTES = 2_000_000
"""About how many bytes one batch of a mere copy has, however narrow its rows are."""
SORTED_BYTES = 4_000_000
"""About how many bytes are sorted here; more take an engine, which has a limit of memory and a place to spill."""
RAW = "raw"


class Stop:
    """Stops one fragment everywhere, with the reason that its end record will give. The first reason wins."""

    def __init__(self) -> None:
        self.cancel = Cancel()
        self._lock = threading.Lock()
        self._reason: CityError | None = None

    def __call__(self, reason: CityError) -> None:
        with self._lock:
            if self._reason is None:
                self._reason = reason
        self.cancel.set()

    @property
    def reason(self) -> CityError | None:
        return self._reason


class Scanner(Protocol):
    """The part of a `Source` that execution needs."""

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]: ...


class Engine:
    """One in-memory DuckDB in this process, for SQL that code built from policy: masks, aggregates, look-ups.

    retire: closes it, perhaps a little later; closing takes 10 ms that no reader needs to wait for. library: of the
    instance, where several engines share one.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        retire: Callable[[duckdb.DuckDBPyConnection], object] = duckdb.DuckDBPyConnection.close,
        library: duck.Library | None = None,
    ) -> None:
        self._con = connection
        self._retire = retire
        self._library = library or duck.Library(connection)

    def lock(self) -> None:
        duck.lock(self._con)

    def add(self, name: str, data: pa.RecordBatchReader | pa.Table) -> None:
        self._con.register(name, data)

    def run(self, sql: str) -> pa.RecordBatchReader:
        self._library.need(sql)
        return self._con.sql(sql).to_arrow_reader(BATCH)

    def interrupt(self) -> None:
        self._con.interrupt()

    def close(self) -> None:
        self._retire(self._con)


_Stoppable = TypeVar("_Stoppable", Engine, Residual)


def connect(memory_mb: int, temp: Path, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """A fresh instance with limits, not yet locked. temp: a folder of its own for spilling."""
    temp.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": threads,
            "temp_directory": str(temp),
            "max_temp_directory_size": f"{memory_mb * 8}MB",
        },
    )
    # DuckDB fills this buffer before it gives its first batch; its default would hold back 1 MB.
    connection.execute("SET streaming_buffer_size = '64KB'")
    return connection


class Engines(Protocol):
    """Where a run gets its engines. residual: for one analyst's query, in a process that nobody used before.
    private: an instance in this process that nobody else uses, for aggregation. masking: a connection to the
    instance in which only policy's own projections run; it holds no table, so that fragments may share it."""

    def residual(self) -> Residual: ...

    def private(self) -> Engine: ...

    def masking(self) -> Engine: ...


class Feed:
    """A source's batches, read by a thread of its own, at most four ahead of the reader (`Ahead`).

    seconds: time that the source itself took. error: what it failed with.
    """

    def __init__(self, source: Scanner, scan: NativeScan, cancel: Cancel) -> None:
        self.seconds = 0.0
        self.error: BaseException | None = None
        self._ahead = Ahead(lambda stop: self._timed(source.scan(scan, stop)), cancel)

    def _timed(self, batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        try:
            while True:
                begun = time.monotonic()
                batch = next(batches, None)
                self.seconds += time.monotonic() - begun
                if batch is None:
                    return
                yield batch
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._ahead.rest()
        except Exception as bad:
            self.error = bad
            raise

    @property
    def is_done(self) -> bool:
        """Whether the source has ended; up to four batches may be left to read."""
        return self._ahead.is_ended

    def close(self) -> None:
        self._ahead.close()


class RowRun:
    """A running row plan: `start()` asks the sources, `open()` binds it, `batches()` are the answer, `close()` ends it.

    seconds: time spent in the sources so far. Errors of sources come out as SourceError, of the residual
    query as a translated CityError, a stop as `Cancelled`.
    """

    def __init__(
        self,
        plan: RowPlan,
        source_of: Callable[[str], Scanner],
        keys: Mapping[str, pa.Array],
        cancel: Cancel,
        engines: Engines,
    ) -> None:
        self.plan = plan
        self._source_of = source_of
        self._keys = keys
        self._cancel = cancel
        self._engines = engines
        self._stack = ExitStack()
        self._feeds: list[Feed] = []
        self._begun: dict[str, pa.RecordBatchReader] = {}
        self._read: dict[str, pa.RecordBatchReader] = {}
        self._answer: Iterator[pa.RecordBatch] | None = None
        self._is_residual = False
        self.schema = pa.schema([arrow_field(n, t) for n, t in plan.columns])

    def __enter__(self) -> RowRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        return sum(f.seconds for f in self._feeds)

    def start(self) -> None:
        """Let the sources begin that wait for no other: what goes on meanwhile costs no time."""
        waiting = {h.to for h in self.plan.hints}
        self._begun = {scan.name: self._fed(scan) for scan in self.plan.scans if scan.name not in waiting}

    def open(self) -> None:
        """Bind the residual query; nothing has been delivered yet."""
        if self.plan.copies and (governed := self._in_order()) is not None:
            rows = self._copied(governed)
            with _Translated(self._feeds):
                first = next(rows, None)  # a source that cannot answer says so before anything is delivered
            self._answer = chain([] if first is None else [first], rows)
            return
        self._is_residual = True
        residual = self._enter(self._engines.residual())
        for name, reader in self._readers().items():
            residual.add(name, reader)
        for name, keys in self._keys.items():
            residual.add(keys_name(name), key_table(keys))
        held = [] if self.plan.streams else [s.name for s in self.plan.scans]
        held += map(keys_name, self._keys)  # a fragment may name its keys twice
        with _Translated(self._feeds):
            _, self._answer = residual.run(self.plan.sql, held, self._cancel.check)

    @property
    def is_at_hand(self) -> bool:
        """Once it is open: whether no engine stands between the answer and its first rows."""
        return bool(self.plan.copies) and not self._is_residual

    @property
    def is_read(self) -> bool:
        """Whether the sources have given all that they will."""
        return all(feed.is_done for feed in self._feeds)

    def _in_order(self) -> Iterable[pa.RecordBatch] | None:
        """The only relation's own rows, sorted if need be; None if they are too many to be sorted here."""
        (scan,) = self.plan.scans
        reader = self._governed(scan)
        rows: Iterator[pa.RecordBatch] = iter(reader)
        if not self.plan.order:
            return rows
        found, size = list[pa.RecordBatch](), 0
        with _Translated(self._feeds):
            while size <= SORTED_BYTES:
                batch = next(rows, None)
                if batch is None:
                    return _sorted(pa.Table.from_batches(found, reader.schema), self.plan.order)
                found.append(batch)
                size += batch.nbytes
        self._read[scan.name] = pa.RecordBatchReader.from_batches(reader.schema, chain(found, rows))
        return None

    def _copied(self, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The columns that the query names, of at most `limit` rows."""
        left = self.plan.limit
        for whole in rows:
            batch = whole.select(self.plan.copies)
            step = max(BATCH, batch.num_rows * COPIED_BYTES // max(1, batch.nbytes))
            for start in range(0, batch.num_rows, step):
                part = batch.slice(start, step if left is None else min(step, left))
                yield part
                if left is not None and (left := left - part.num_rows) == 0:
                    return

    def _readers(self) -> dict[str, pa.RecordBatchReader]:
        """All governed relations by name; first those that tell others what to read, as far as it takes."""
        readers, known = {}, {}
        small = {h.of for h in self.plan.hints}
        with _Translated(self._feeds):
            for scan in (s for s in self.plan.scans if s.name in small):
                keys = {h.key for h in self.plan.hints if h.of == scan.name}
                readers[scan.name], known[scan.name] = read_ahead(self._governed(scan), keys)
        for scan in (s for s in self.plan.scans if s.name not in small):
            readers[scan.name] = self._read.pop(scan.name, None) or self._governed(self._narrowed(scan, known))
        return readers

    def _narrowed(self, scan: Scan, known: Mapping[str, Mapping[str, list[object]]]) -> Scan:
        native = scan.native
        for hint in self.plan.hints:
            if hint.to == scan.name and hint.key in known.get(hint.of, {}):
                native = narrowed(native, hint.column, known[hint.of][hint.key])
        return replace(scan, native=native)

    def _governed(self, scan: Scan) -> pa.RecordBatchReader:
        """The masked relation as a stream: raw batches, or the mask engine's.

        Where anything is hidden the rows are sorted by what shows: the order in which a source keeps them
        follows lengths of raw values and rows that the filter drops, and must not reach the answer.
        """
        raw = self._begun.pop(scan.name, None) or self._fed(scan)
        if not scan.hides:
            return raw
        masking = self._enter(self._engines.masking())
        masking.add(RAW, raw)
        masked = masking.run(f"SELECT {scan.projection or '*'} FROM {RAW} ORDER BY ALL")
        # What the masks were computed from must not go on under their NULLs, to the residual engine's process.
        return pa.RecordBatchReader.from_batches(scan.schema, (scrubbed(b.cast(scan.schema)) for b in masked))

    def _fed(self, scan: Scan) -> pa.RecordBatchReader:
        """What a source delivers, from now on."""
        feed = Feed(self._source_of(scan.relation.spec.source), scan.native, self._cancel)
        self._feeds.append(feed)
        self._stack.callback(feed.close)
        return pa.RecordBatchReader.from_batches(scan.ingested, scan.ingest(feed.batches()))

    def _enter(self, engine: _Stoppable) -> _Stoppable:
        self._stack.callback(engine.close)
        self._cancel.on_cancel(engine.interrupt)
        return engine

    def batches(self) -> Iterator[pa.RecordBatch]:
        assert self._answer is not None, "open() first"
        with _Translated(self._feeds):
            for batch in self._answer:
                self._cancel.check()
                if batch.num_rows:
                    yield fitted(batch, self.schema)

    def close(self) -> None:
        self._cancel.set()
        self._stack.close()


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch in exactly the published types."""
    arrays = [
        column if column.type == f.type else column.cast(f.type)
        for column, f in zip(batch.columns, schema, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def _sorted(rows: pa.Table, order: Sequence[Order]) -> list[pa.RecordBatch]:
    """The rows in this order; those that tie stay as they came."""
    keys = [
        (o.column, "descending" if o.descending else "ascending", "at_start" if o.nulls_first else "at_end")
        for o in order
    ]
    return list(rows.take(pc.sort_indices(rows, sort_keys=keys)).to_batches())


class _Translated:
    """Turns what DuckDB raises into what was the matter: a source's error, a stop, or the query's own."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds = feeds

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, (GeneratorExit, CityError, Cancelled, SourceError)):
            return
        for feed in self._feeds:
            if feed.error is not None:
                raise feed.error from error
        if isinstance(error, duckdb.InterruptException):
            raise Cancelled("cancelled") from error
        if isinstance(error, (duckdb.Error, pa.ArrowException)):
            raise duck.translate_error(error) from error


def trusted_table(scan: Scan, source: Scanner, cancel: Cancel, engine: Engine, sql: str) -> tuple[pa.Table, float]:
    """Run SQL that code built from policy over one scan, in an engine of its own; (answer, source seconds).

    For aggregate and verify modes: `sql` reads the masked relation `rel` and holds no analyst's text.
    """
    feed = Feed(source, scan.native, cancel)
    cancel.on_cancel(engine.interrupt)
    try:
        engine.add(RAW, pa.RecordBatchReader.from_batches(scan.ingested, scan.ingest(feed.batches())))
        engine.lock()
        with _Translated([feed]):
            projection = scan.projection or "*"
            table = engine.run(f"WITH rel AS (SELECT {projection} FROM {RAW}) {sql}").read_all()
    finally:
        feed.close()
        engine.close()
    return table, feed.seconds
