"""Tables that an agent holds for itself as Parquet, and the embedded DuckDB in which owner views run.

`files` and `rest` sources land what they read as Parquet in the agent's private folder and `publish` one
DuckDB view a table. A published set is never changed: a new one replaces it at once, and the old one
goes when its last scan has ended, so a scan sees one state from its first batch to its last.

The engine can read the private folder and the declared data folder, nothing else: no network, no
extensions, no other file; its configuration is locked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from catalog.exchange import key_table
from catalog.types import TrinoType, from_arrow
from connectors import cells
from connectors.base import Cancel, Cancelled, Capabilities, NativeScan, SourceColumn, SourceError, SourceTable
from connectors.held import Held, Stamp
from connectors.native import Compiled, DuckDBCompiler

__all__ = [
    "CAPABILITIES",
    "Snapshot",
    "digest",
    "empty_view",
    "engine",
    "failing_view",
    "gathered",
    "parquet_view",
    "prepare",
    "run",
    "write_parquet",
]

_log = structlog.get_logger("atoll.agent")
BATCH_ROWS = 8192
GATHERED = 1 << 20
"""Bytes of a batch that is large enough to go on: each takes a queue, a frame, a part of an answer and its reading."""
SPILL, SPILL_SIZE = "spill", "8GB"
"""Where an engine puts what its memory does not hold, and how much of it."""
HELD_PART = 4
"""The part of an engine's memory, as a divisor, that copies of files may take (`held`)."""

_INTEGERS = frozenset({"tinyint", "smallint", "integer", "bigint"})
_ORDERED = _INTEGERS | {"decimal", "double", "varchar", "date", "timestamp"}
_EQUAL = _ORDERED | {"boolean"}
_ANY = _EQUAL | {"real", "timestamp with time zone", "time", "varbinary", "json", "uuid", "char"}

CAPABILITIES = Capabilities(
    predicates={
        "=": _EQUAL,
        "<>": _EQUAL,
        "in": _EQUAL,
        "<": _ORDERED,
        "<=": _ORDERED,
        ">": _ORDERED,
        ">=": _ORDERED,
        "is null": _ANY,
        "is not null": _ANY,
    },
    aggregates={
        "count": _ANY,
        "sum": _INTEGERS | {"decimal"},
        "min": _ORDERED - {"double"},
        "max": _ORDERED - {"double"},
        "avg": frozenset({"decimal"}),
    },
    group_types=_EQUAL - {"double"},
    tests=True,
    key_functions=frozenset({"year", "month", "quarter"}),
    keys=_INTEGERS | {"decimal", "varchar", "date"},
    masks="duckdb",
    compares=_INTEGERS | {"decimal", "varchar", "date"},
    likes="",
    arithmetic=38,
    averages=38,
    scalars=True,
    joins=True,
    orders=_INTEGERS | {"decimal", "varchar", "date"},
    exists="any",
    sorts=True,
    excludes=True,
    distinct=_EQUAL - {"double"},
)


class _Edition:
    """One published set of views. Counts its users; closes with the last one after it was retired.

    held: what of their files its engine has in memory.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        files: frozenset[Path],
        on_close: Callable[[_Edition], None],
        memory: int,
    ) -> None:
        self.files = files
        self.held = Held(self.cursor, memory // HELD_PART)
        self._connection = connection
        self._on_close = on_close
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._lock:
            try:
                cursor = self._connection.cursor()
            except duckdb.Error as bad:
                raise SourceError("the snapshot was replaced just now") from bad
            self._users += 1
        try:
            yield cursor
        finally:
            cursor.close()
            self._leave()

    def retire(self) -> None:
        with self._lock:
            self._retired = True
            idle = self._users == 0
        if idle:
            self._close()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._retired and self._users == 0
        if last:
            self._close()

    def _close(self) -> None:
        self._connection.close()
        self._on_close(self)


class Snapshot:
    """The agent's own copy of a silo's tables, and the engine over it.

    folder: private to this source. readable: data folders that views may read in place.
    """

    def __init__(self, folder: Path, readable: Sequence[Path] = (), *, memory: str = "1GB", threads: int = 2) -> None:
        self.folder = folder
        prepare(folder)
        self._readable = [folder, *readable]
        self._memory = memory
        self._threads = threads
        self._lock = threading.Lock()
        self._edition: _Edition | None = None
        self._open: set[_Edition] = set()

    def publish(self, views: Mapping[str, str], files: Sequence[Path] = ()) -> None:
        """Replace the tables by `views` (name -> SELECT over Parquet).

        files: the Parquet files of `folder` that they use; others are deleted, here and nowhere else, once
        no scan needs them. Callers publish one after the other.
        """
        connection = engine(self.folder, self._readable, self._memory, self._threads)
        try:
            for name, sql in views.items():
                connection.execute(f"CREATE VIEW {_quoted(name)} AS {_without_statistics(connection, sql)}")
        except duckdb.Error as bad:
            connection.close()
            raise SourceError(f"a table of the snapshot cannot be read: {bad}") from bad
        edition = _Edition(connection, frozenset(files), self._forget, _bytes(self._memory))
        with self._lock:
            old, self._edition = self._edition, edition
            self._open.add(edition)
        if old is not None:
            old.retire()
        self.sweep()

    def look(self, stamps: Mapping[str, Stamp]) -> None:
        """The files behind the tables as they are now; a table without a stamp is not held in memory."""
        self._current().held.look(stamps)

    def tables(self) -> list[SourceTable]:
        with self._current().cursor() as cursor:
            try:
                names = cursor.execute(
                    "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
                ).fetchall()
                return [_describe(cursor, name) for (name,) in names]
            except duckdb.Error as bad:
                raise SourceError(f"introspection failed: {bad}") from bad

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        """As `Source.scan`, over the edition that is current now."""
        return self._run(self._current(), scan, cancel)

    def close(self) -> None:
        with self._lock:
            edition, self._edition = self._edition, None
        if edition is not None:
            edition.retire()

    def _run(self, edition: _Edition, scan: NativeScan, cancel: Cancel) -> Generator[pa.RecordBatch]:
        with edition.cursor() as cursor, edition.held.placed(scan) as placed:
            compiled = DuckDBCompiler(placed, CAPABILITIES).compile()
            tables = {name: key_table(keys) for name, keys in compiled.key_tables.items()}
            yield from run(cursor, scan, compiled, tables, cancel)

    def _current(self) -> _Edition:
        with self._lock:
            if self._edition is None:
                raise SourceError("the source is closed or holds no snapshot yet")
            return self._edition

    def _forget(self, edition: _Edition) -> None:
        with self._lock:
            self._open.discard(edition)

    def sweep(self) -> None:
        """Delete the Parquet files that no open edition uses: not while a file is made that is yet to be published."""
        with self._lock:
            used = {path for edition in self._open for path in edition.files}
        for path in self.folder.rglob("*.parquet"):
            if path not in used:
                try:
                    path.unlink(missing_ok=True)
                except OSError as bad:  # it is looked at next time
                    _log.warning("a file of an older snapshot cannot be deleted", file=str(path), reason=str(bad))


def prepare(folder: Path) -> None:
    """Make an engine's private folder, without what a process that ended suddenly spilled into it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(folder / SPILL, ignore_errors=True)


def run(
    cursor: duckdb.DuckDBPyConnection,
    scan: NativeScan,
    compiled: Compiled,
    tables: Mapping[str, pa.Table | pa.RecordBatchReader],
    cancel: Cancel,
) -> Generator[pa.RecordBatch]:
    """A scan's batches out of an engine. tables: what its text names beside views. Raises SourceError, Cancelled."""
    try:
        with cancel.calling(cursor.interrupt):
            cancel.check()
            for name, table in tables.items():
                cursor.register(name, table)
            relation = cursor.sql(compiled.sql, params=compiled.params or None)
            for batch in gathered(relation.to_arrow_reader(BATCH_ROWS), cancel):
                yield cells.to_batch_from_arrow(batch, scan.outputs, scan.schema, scan.masked)
    except (duckdb.Error, pa.ArrowException, OSError) as bad:
        if cancel.is_set():
            raise Cancelled("cancelled") from None
        raise SourceError(f"DuckDB: {bad}") from bad


def gathered(batches: Iterable[pa.RecordBatch], cancel: Cancel, enough: int = GATHERED) -> Iterator[pa.RecordBatch]:
    """The same rows, small batches put together to `enough` bytes. The engine gives its first when it has megabytes of
    them, or all."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        cancel.check()
        waiting.append(batch)
        size += batch.nbytes
        if size >= enough:
            yield pa.concat_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.concat_batches(waiting)


def engine(folder: Path, readable: Sequence[Path], memory: str, threads: int) -> duckdb.DuckDBPyConnection:
    """A fresh in-memory instance, locked in the one order that works (external access last).

    folder: private, for what memory does not hold. readable: folders whose files it may read. Raises SourceError.
    """
    connection = duckdb.connect(":memory:", config={"memory_limit": memory, "threads": threads})
    try:
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = {_text(str(folder / SPILL))}")
        connection.execute(f"SET max_temp_directory_size = '{SPILL_SIZE}'")
        folders = ", ".join(_text(f"{path}/") for path in readable)
        connection.execute(f"SET allowed_directories = [{folders}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as bad:
        connection.close()
        raise SourceError(f"the embedded engine cannot start: {bad}") from bad
    return connection


# --- views and files ---------------------------------------------------------------------------------


def parquet_view(files: Sequence[Path], options: str = "") -> str:
    """A SELECT over Parquet files or globs; `options` as read_parquet takes them.

    Without options that say so no folder's name is a column: the engine would take `year=2024` in a path for one, also
    above the folder that is served, and put it in the place of what the file has.
    """
    listed = ", ".join(_text(str(path)) for path in files)
    if "hive_partitioning" not in options:
        options = ", ".join(part for part in (options, "hive_partitioning = false") if part)
    return f"SELECT * FROM read_parquet([{listed}], {options})"


def _without_statistics(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The SELECT of a view whose floating-point columns are compared value by value.

    Writers of Parquet leave NaN out of the statistics of a row group, and the engine believes them: where all numbers
    are below 5 it takes `x < 5` for true of each row, and a row filter lets NaN pass. Of computed values it has none.
    """
    found = connection.execute(f"DESCRIBE {sql}").fetchall()
    floats = [(_quoted(name), kind) for name, kind, *_ in found if kind in ("FLOAT", "DOUBLE")]
    if not floats:
        return sql
    read = (f"CASE WHEN isnan({name}) THEN CAST('NaN' AS {kind}) ELSE {name} END AS {name}" for name, kind in floats)
    return f"SELECT * REPLACE ({', '.join(read)}) FROM ({sql})"


def empty_view(columns: Mapping[str, TrinoType]) -> str:
    """A typed SELECT without rows."""
    return f"{_all_of('NULL', columns)} WHERE false"


def failing_view(columns: Mapping[str, TrinoType], reason: str) -> str:
    """A typed SELECT that fails with `reason` when it is used: the other tables stay usable.

    In each column and in the condition, or a question would be answered out of what the engine can tell without a row.
    """
    fails = f"error({_text(reason)})"
    return f"{_all_of(fails, columns)} FROM range(1) WHERE {fails} IS NULL"


def _all_of(value: str, columns: Mapping[str, TrinoType]) -> str:
    parts = (f"CAST({value} AS {type_.duckdb()}) AS {_quoted(name)}" for name, type_ in columns.items())
    return f"SELECT {', '.join(parts)}"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write all or nothing: a half-written file never bears the final name."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.half")
    try:
        pq.write_table(table, half, compression="zstd")
        os.replace(half, path)
    finally:
        with suppress(FileNotFoundError):
            half.unlink()


def digest(*parts: object) -> str:
    """A short name for what went into a cached file."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:32]


def _describe(cursor: duckdb.DuckDBPyConnection, name: str) -> SourceTable:
    schema = cursor.sql(f"SELECT * FROM {_quoted(name)} LIMIT 0").to_arrow_reader(1).schema
    ((rows,),) = cursor.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchall()
    columns = tuple(SourceColumn(f.name, _type(f.type), str(f.type)) for f in schema)
    return SourceTable(name, columns, int(rows))


def _type(dtype: pa.DataType) -> TrinoType | None:
    try:
        return from_arrow(dtype)
    except ValueError:
        return None


def _bytes(memory: str) -> int:
    """As DuckDB reads it: "1GB"."""
    number, unit = memory[:-2], memory[-2:]
    return int(number) * {"KB": 10**3, "MB": 10**6, "GB": 10**9}[unit]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
