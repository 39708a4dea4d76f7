"""The merge engine: a locked, in-memory DuckDB that no other statement uses meanwhile, out of a warm pool.

It holds nothing but what the departments delivered for one statement, in temporary tables of a connection that ends
with the statement. An instance costs more to make than a small statement to answer, so it serves the same user and
purpose again; nobody else's rows are ever in it (docs/decisions/011).
Trino's meaning decides, not DuckDB's: all text comes from `catalog.duck`.
"""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import exp

from catalog import duck
from catalog.errors import CityError
from catalog.exchange import KEY_COLUMNS, distinct
from catalog.types import TrinoType, field_type
from gateway.execution import Execution
from gateway.merge import small
from gateway.merge.shapes import Shape, Shapes
from gateway.plan import KeySet
from gateway.settings import Limits

__all__ = ["NOBODY", "Merge", "MergePool", "Owner", "Prepared", "conform"]

BATCH_BYTES = 1 << 21
"""Of a batch of the result, about: what its reader has not taken is held as such."""
LEAST_ROWS, MOST_ROWS = 4_096, 65_536
USES = 64
"""Statements that one instance serves, at most: its connections are made before its settings are locked."""
IDLE = 8
"""Instances that wait for another statement of their owners, at most."""
IDLE_SECONDS = 30.0
SMALL_BYTES = 1 << 22
"""Of a stored answer that stays as it came."""
TEXT_BYTES = 32
LINGER = 0.01
"""Seconds between the end of a statement and the making of an instance, which takes a processor as long."""


@dataclass(frozen=True, eq=False)
class Passed:
    """Rows of one answer as they come, in their order. columns: labels and types. names: of its columns."""

    columns: tuple[tuple[str, TrinoType], ...]
    names: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]


Prepared = duck.Compiled | small.Matched | Passed
Owner = tuple[str, str]
"""User and purpose."""
NOBODY: Owner = ("", "")
"""Of statements that read no table, such as `SELECT 1`: nothing of anybody is in their instances."""


@dataclass(eq=False)
class _Instance:
    """connections: each for one statement. used: when the last statement left it."""

    root: duckdb.DuckDBPyConnection
    library: duck.Library
    connections: list[duckdb.DuckDBPyConnection]
    used: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        for connection in (*self.connections, self.root):
            connection.close()


class MergePool:
    """Prepared instances, made and closed in the background so that a statement doesn't wait for either."""

    def __init__(self, limits: Limits, spill: Path, warm: int = 2) -> None:
        """spill: a folder of this pool's own; what a killed gateway left there is removed."""
        self.limits = limits
        self._spill = spill
        shutil.rmtree(spill, ignore_errors=True)
        spill.mkdir(parents=True, mode=0o700)
        self._warm = warm
        self._lock = threading.Lock()
        self._fresh: queue.SimpleQueue[_Instance] = queue.SimpleQueue()
        self._ordered = 0
        self._idle: list[tuple[Owner, _Instance]] = []
        self._closing = threading.Event()
        self._work: queue.SimpleQueue[_Instance | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._attend, name="merge-pool", daemon=True)
        self._thread.start()
        for _ in range(warm):
            self._order()

    # -- the background thread -------------------------------------------------------------------

    def _attend(self) -> None:
        """Close what is handed over; make a fresh instance for each None."""
        while not self._closing.is_set():
            try:
                old = self._work.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._close_idle()
                continue
            if not self._fresh.empty():
                self._closing.wait(LINGER)
            if old is not None:
                old.close()
            elif not self._closing.is_set():
                self._fresh.put(self._make())

    def _close_idle(self) -> None:
        late = time.monotonic() - IDLE_SECONDS
        with self._lock:
            gone = [instance for _, instance in self._idle if instance.used < late]
            self._idle = [(owner, i) for owner, i in self._idle if i.used >= late]
        for instance in gone:
            instance.close()

    def _make(self) -> _Instance:
        root = duckdb.connect(
            config={
                "memory_limit": f"{self.limits.memory_mb}MB",
                "threads": self.limits.threads,
                "temp_directory": str(self._spill),
                "preserve_insertion_order": True,
            }
        )
        connections = [root.cursor() for _ in range(USES)]
        for connection in connections:
            # DuckDB fills this buffer before it gives its first batch; its default would hold back 10 MB.
            connection.execute("SET streaming_buffer_size = '64KB'")
        library = duck.Library(root)
        duck.lock(root)
        return _Instance(root, library, connections)

    def _order(self) -> None:
        """Have another instance made, unless enough are there or on their way."""
        with self._lock:
            if self._ordered >= self._warm:
                return
            self._ordered += 1
        self._work.put(None)

    # -- statements ------------------------------------------------------------------------------

    def take(self, owner: Owner) -> _Instance:
        """An instance that only statements of this owner used, and none uses now."""
        with self._lock:
            found = next((i for i, (whose, _) in enumerate(self._idle) if whose == owner), None)
            if found is not None:
                return self._idle.pop(found)[1]
            self._ordered -= 1
            last = self._ordered < 1
        if last:  # otherwise the next one is made when this statement has had its processor
            self._order()
        return self._fresh.get()

    def give_back(self, owner: Owner, instance: _Instance, used: duckdb.DuckDBPyConnection, ended_well: bool) -> None:
        """End a statement's use of an instance, with its connection and all that lies in it."""
        used.close()
        instance.used = time.monotonic()
        old: _Instance | None = instance
        if ended_well and instance.connections:
            with self._lock:
                self._idle.append((owner, instance))
                old = self._idle.pop(0)[1] if len(self._idle) > IDLE else None
        if old is not None:
            self._work.put(old)
        self._order()

    def close(self) -> None:
        self._closing.set()
        self._work.put(None)
        self._thread.join(timeout=5)
        while not self._fresh.empty():
            self._fresh.get().close()
        while not self._work.empty():
            old = self._work.get()
            if old is not None:
                old.close()
        for _, instance in self._idle:
            instance.close()
        shutil.rmtree(self._spill, ignore_errors=True)


class Merge:
    """One statement's merge. Use as a context manager; `cancel` of the execution interrupts it.

    It takes an engine when it first needs one, and what was given to it before is told to the engine then.
    """

    def __init__(self, pool: MergePool, execution: Execution, owner: Owner) -> None:
        """owner: NOBODY if nothing will be attached, stored or loaded."""
        self._pool = pool
        self._owner = owner
        self._taken: _Instance | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._running = threading.Lock()
        self._execution = execution
        self._tables: dict[str, duck.Table] = {}
        self._small: dict[str, pa.Table] = {}
        self._streams: dict[str, tuple[pa.Schema, Iterator[pa.RecordBatch]]] = {}
        self._untold: dict[str, pa.Table] = {}
        execution.on_cancel(self._interrupt)

    @property
    def _instance(self) -> _Instance:
        if self._taken is None:
            self._taken = self._pool.take(self._owner)
        return self._taken

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = self._instance.connections.pop()
        return self._connection

    @property
    def _con(self) -> duckdb.DuckDBPyConnection:
        """The engine's connection, which knows all that was given. Raises the cancelling error."""
        connection = self._open()
        self._execution.check()  # a cancellation before this has found no connection to interrupt
        untold, self._untold = self._untold, {}
        for name, table in untold.items():
            self._register(name, table)
        streams, self._streams = self._streams, {}
        for name, (schema, batches) in streams.items():
            self._register(name, pa.RecordBatchReader.from_batches(schema, batches))
        return connection

    def _interrupt(self) -> None:
        """Stop what runs here; once this statement has ended, its connection is closed."""
        with self._running:
            if self._connection is not None:
                self._connection.interrupt()

    def __enter__(self) -> Merge:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if self._taken is None:
            return
        used = self._open()
        with self._running:
            self._connection = None
        self._pool.give_back(self._owner, self._taken, used, error is None)

    def attach(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Make a stream readable once, under `name`."""
        self._streams[name] = schema, iter(batches)
        self._tables[name] = duck.Table(name, _columns(schema))

    def store(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Read a stream to its end, so that it may be read often. Large ones become tables, which may spill."""
        waiting, first, size = iter(batches), [], 0
        for batch in waiting:
            self._execution.check()
            first.append(batch)
            size += batch.get_total_buffer_size()
            if size > SMALL_BYTES:
                self._table(name, schema, chain(first, waiting))
                return
        table = self._small[name] = pa.Table.from_batches(first, schema)
        self.load(name, table)

    def _table(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        stream, connection = f"{name}_stream", self._con
        self._register(stream, pa.RecordBatchReader.from_batches(schema, batches))
        try:
            connection.execute(f'CREATE TEMP TABLE "{name}" AS SELECT * FROM "{stream}"')
        except duckdb.Error as error:
            raise self._told(error) from error
        finally:
            connection.unregister(stream)
        self._tables[name] = duck.Table(name, _columns(schema))

    def load(self, name: str, table: pa.Table) -> None:
        """Make a table of the gateway's own readable."""
        self._untold[name] = table
        self._tables[name] = duck.Table(name, _columns(table.schema))

    def _register(self, name: str, data: pa.RecordBatchReader | pa.Table) -> None:
        """Raises the cancelling error for a statement that is cancelled meanwhile."""
        try:
            self._open().register(name, data)
        except duckdb.Error as error:
            raise self._told(error) from error

    def keys(self, source: KeySet) -> pa.Array:
        """One set of the keys that a fragment waits for, none NULL: distinct, or as often as they came."""
        table = self._small.get(source.places[0]) if source.places is not None else None
        if source.places is None or table is None:
            return self._keys_of(source.query)
        columns = [
            table.column(i).combine_chunks().cast(field_type(table.schema.field(i)).arrow()) for i in source.places[1]
        ]
        return columns[0].drop_null() if source.once else _as_keys(columns)

    def _keys_of(self, query: exp.Select) -> pa.Array:
        """The answer of a key query: a column, or its rows as structs."""
        compiled = duck.compile_query(query, self._tables, self._execution.now)
        try:
            table = self._asked(compiled).to_arrow_table()
        except duckdb.Error as error:
            raise self._told(error) from error
        columns = [
            column.combine_chunks().cast(kind.arrow())
            for column, (_, kind) in zip(table.columns, compiled.columns, strict=True)
        ]
        return columns[0] if len(columns) == 1 else _as_keys(columns)

    def _asked(self, compiled: duck.Compiled) -> duckdb.DuckDBPyRelation:
        connection = self._con
        self._instance.library.need(compiled.sql)
        return connection.sql(compiled.sql)

    def compile(self, query: exp.Query, shapes: Shapes | None = None) -> Prepared:
        """The merge query and the Trino types of its result: its DuckDB text, or the rows where no engine is needed.

        shapes: what is known of the query from before. Raises UserError, and the fragments' errors.
        """
        if (found := small.numbers(query)) is not None:
            return found
        shape = (shapes or Shapes()).of(query, self._tables)
        if shape is not None and (passed := self._passed(shape)) is not None:
            return passed
        rows = None if shape is None else self._few(shape.answers)
        found = None if shape is None or rows is None else small.matched(shape, rows)
        return duck.compile_query(query, self._tables, self._execution.now) if found is None else found

    def _passed(self, shape: Shape) -> Passed | None:
        """The only answer that a merge reads, if it is a stream of which every row is passed on."""
        name, columns = shape.answers[0], shape.passed_on
        if columns is None or name not in self._streams:
            return None
        return Passed(shape.columns, columns, self._streams.pop(name)[1])

    def _few(self, names: Iterable[str]) -> dict[str, pa.Table] | None:
        """These answers whole, if each has few rows; what is read of a stream on the way is still in it."""
        known = {**self._small, **self._untold}
        rows = {name: known[name] for name in names if name in known}
        if any(table.num_rows > small.MOST for table in rows.values()):
            return None
        for name in {*names} - rows.keys():
            if name not in self._streams:  # the engine has it already
                return None
            schema, batches = self._streams[name]
            first, count, size = [], 0, 0
            for batch in batches:
                self._execution.check()
                first.append(batch)
                count += batch.num_rows
                size += batch.get_total_buffer_size()
                if count > small.MOST or size > SMALL_BYTES:
                    self._streams[name] = schema, chain(first, batches)
                    return None
            rows[name] = self._untold[name] = pa.Table.from_batches(first, schema)
            del self._streams[name]
        return rows

    def run(self, compiled: Prepared) -> Iterator[pa.RecordBatch]:
        """The merge's result, batch by batch, in the types that `compiled` promises."""
        if isinstance(compiled, small.Matched):
            yield compiled.batch
            return
        types = tuple(t for _, t in compiled.columns)
        if isinstance(compiled, Passed):
            for batch in compiled.batches:
                self._execution.check()
                yield conform(batch.select(list(compiled.names)), types)
            return
        try:
            for batch in self._asked(compiled).to_arrow_reader(_batch_rows(types)):
                yield conform(batch, types)
        except (duckdb.Error, OSError) as error:  # OSError: what is met while batches are read
            raise self._told(error) from error

    def _told(self, error: duckdb.Error | OSError) -> CityError:
        """A department's error travels through DuckDB as text only; the streams keep the real one."""
        self._execution.check()
        return duck.translate_error(error)


def _as_keys(columns: list[pa.Array]) -> pa.Array:
    return distinct(pa.table(columns, names=KEY_COLUMNS[: len(columns)]))


def _columns(schema: pa.Schema) -> dict[str, TrinoType]:
    return {f.name: field_type(f) for f in schema}


def _batch_rows(types: tuple[TrinoType, ...]) -> int:
    """How many rows make a batch, by what their values take; texts and what is made of values: as a guess."""
    width = sum(_width(t.arrow()) for t in types)
    return max(LEAST_ROWS, min(MOST_ROWS, BATCH_BYTES // max(1, width)))


def _width(kind: pa.DataType) -> int:
    is_fixed = pa.types.is_primitive(kind) or pa.types.is_decimal(kind)
    return max(1, kind.bit_width // 8) if is_fixed else TEXT_BYTES


def conform(batch: pa.RecordBatch, types: tuple[TrinoType, ...]) -> pa.RecordBatch:
    """Cast a batch's columns to the Arrow types of `types`; column names are c0..cn."""
    arrays = []
    for column, wanted in zip(batch.columns, types, strict=True):
        target = wanted.arrow()
        arrays.append(column if column.type == target else column.cast(target))
    return pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])
