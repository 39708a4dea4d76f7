"""The merge engine: one private, locked, in-memory DuckDB per statement, out of a warm pool.

It holds nothing but what the departments delivered for this one statement, and is closed with it.
Trino's meaning decides, not DuckDB's: all text comes from `catalog.duck`.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import exp

from catalog import duck
from catalog.errors import CityError
from catalog.types import TrinoType, field_type
from gateway.execution import Execution
from gateway.settings import Limits

__all__ = ["Merge", "MergePool", "conform"]

BATCH_ROWS = 65_536
Instance = tuple[duckdb.DuckDBPyConnection, duck.Library]


class MergePool:
    """Prepared instances, made in the background so that a statement doesn't wait for one."""

    def __init__(self, limits: Limits, spill: Path, warm: int = 2) -> None:
        """spill: a folder of this pool's own; what a killed gateway left there is removed."""
        self.limits = limits
        self._spill = spill
        shutil.rmtree(spill, ignore_errors=True)
        spill.mkdir(parents=True, mode=0o700)
        self._ready: queue.Queue[Instance] = queue.Queue(warm)
        self._bare: queue.Queue[Instance] = queue.Queue(warm)
        self._wanted = threading.Semaphore(warm)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="merge-pool", daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        while True:
            self._wanted.acquire()
            if self._closed.is_set():
                return
            self._ready.put(self._make())

    def _make(self) -> Instance:
        con = duckdb.connect(
            config={
                "memory_limit": f"{self.limits.memory_mb}MB",
                "threads": self.limits.threads,
                "temp_directory": str(self._spill),
                "preserve_insertion_order": True,
            }
        )
        # DuckDB fills this buffer before it gives its first batch; its default would hold back 1 MB.
        con.execute("SET streaming_buffer_size = '64KB'")
        library = duck.Library(con)
        duck.lock(con)
        return con, library

    def take(self, bare: bool = False) -> Instance:
        """An instance that nobody used before; the caller closes it.

        bare: for a statement that reads no table, such as `SELECT 1`. It may get one that only such statements
        used, and gives it back: there is nothing in it of anybody.
        """
        if bare:
            with suppress(queue.Empty):
                return self._bare.get_nowait()
        found = self._ready.get()
        self._wanted.release()
        return found

    def give_back(self, instance: Instance) -> None:
        """Keep an instance that was taken as bare, if there is room."""
        try:
            self._bare.put_nowait(instance)
        except queue.Full:
            instance[0].close()

    def close(self) -> None:
        self._closed.set()
        self._wanted.release()
        self._thread.join(timeout=5)
        for waiting in (self._ready, self._bare):
            with suppress(queue.Empty):
                while True:
                    waiting.get_nowait()[0].close()
        shutil.rmtree(self._spill, ignore_errors=True)


class Merge:
    """One statement's engine. Use as a context manager; `cancel` of the execution interrupts it."""

    def __init__(self, pool: MergePool, execution: Execution, bare: bool = False) -> None:
        """bare: nothing will be attached, stored or loaded."""
        self._pool = pool
        self._bare = bare
        self._con, self._library = pool.take(bare)
        self._running = threading.Lock()
        self._ended = False
        self._execution = execution
        self._tables: dict[str, duck.Table] = {}
        execution.on_cancel(self._interrupt)

    def _interrupt(self) -> None:
        """Stop what runs here; once this statement has ended, the engine is closed or another's."""
        with self._running:
            if not self._ended:
                self._con.interrupt()

    def __enter__(self) -> Merge:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        with self._running:
            self._ended = True
        if self._bare and error is None and not self._tables:
            self._pool.give_back((self._con, self._library))
        else:
            self._con.close()

    def attach(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Make a stream readable once, under `name`."""
        self._register(name, pa.RecordBatchReader.from_batches(schema, iter(batches)))
        self._tables[name] = duck.Table(name, _columns(schema))

    def store(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Read a stream to its end into a table, so that it may be read often. Spills when large."""
        stream = f"{name}_stream"
        self._register(stream, pa.RecordBatchReader.from_batches(schema, iter(batches)))
        try:
            self._con.execute(f'CREATE TEMP TABLE "{name}" AS SELECT * FROM "{stream}"')
        except duckdb.Error as error:
            raise self._told(error) from error
        finally:
            self._con.unregister(stream)
        self._tables[name] = duck.Table(name, _columns(schema))

    def load(self, name: str, table: pa.Table) -> None:
        """Make a table of the gateway's own readable."""
        self._register(name, table)
        self._tables[name] = duck.Table(name, _columns(table.schema))

    def _register(self, name: str, data: pa.RecordBatchReader | pa.Table) -> None:
        """Raises the cancelling error for a statement that is cancelled meanwhile."""
        try:
            self._con.register(name, data)
        except duckdb.Error as error:
            raise self._told(error) from error

    def keys(self, query: exp.Select) -> pa.Array:
        """The one column of a key query."""
        compiled = duck.compile_query(query, self._tables)
        try:
            self._library.need(compiled.sql)
            table = self._con.sql(compiled.sql).to_arrow_table()
        except duckdb.Error as error:
            raise self._told(error) from error
        column = table.column(0).combine_chunks()
        return column.cast(compiled.columns[0][1].arrow())

    def compile(self, query: exp.Query) -> duck.Compiled:
        """DuckDB text of the merge query and the Trino types of its result. Raises UserError."""
        return duck.compile_query(query, self._tables)

    def run(self, compiled: duck.Compiled) -> Iterator[pa.RecordBatch]:
        """The merge's result, batch by batch, in the types that `compiled` promises."""
        types = tuple(t for _, t in compiled.columns)
        try:
            self._library.need(compiled.sql)
            relation = self._con.sql(compiled.sql)
            for batch in relation.to_arrow_reader(BATCH_ROWS):
                yield conform(batch, types)
        except duckdb.Error as error:
            raise self._told(error) from error

    def _told(self, error: duckdb.Error) -> CityError:
        """A department's error travels through DuckDB as text only; the streams keep the real one."""
        self._execution.check()
        return duck.translate_error(error)


def _columns(schema: pa.Schema) -> dict[str, TrinoType]:
    return {f.name: field_type(f) for f in schema}


def conform(batch: pa.RecordBatch, types: tuple[TrinoType, ...]) -> pa.RecordBatch:
    """Cast a batch's columns to the Arrow types of `types`; column names are c0..cn."""
    arrays = []
    for column, wanted in zip(batch.columns, types, strict=True):
        target = wanted.arrow()
        arrays.append(column if column.type == target else column.cast(target))
    return pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])
