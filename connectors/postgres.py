"""PostgreSQL silos: rows by binary COPY (`copied`), and as Python objects where few keys are looked up.

Every session is read-only with a statement timeout, `TimeZone=UTC` and the owner's `search_path`; the
role in department.yaml should own nothing and be able to SELECT only what the department serves.
A look-up by keys with texts binds its literals; in a text that is kept, and in that of a COPY, `native` quotes them.

A column's own type must fit its declared type (`_FITS`); NaN in a numeric column, infinite dates and
years before 1 are errors that name the column.
"""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, cast

import psycopg
import pyarrow as pa
from cachetools import TTLCache
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader
from pydantic import Field

from catalog.types import BIGINT, BOOLEAN, DATE, DOUBLE, VARCHAR, TrinoType
from connectors import cells
from connectors.ahead import Ahead
from connectors.allowed import are_whole
from connectors.base import (
    Cancel,
    Cancelled,
    Capabilities,
    NativeScan,
    Source,
    SourceColumn,
    SourceError,
    SourceTable,
)
from connectors.blocks import Blocks, may_be_blocks
from connectors.config import SecretRef, SourceConfig, resolve_secret
from connectors.copied import batches
from connectors.factored import factored
from connectors.halves import cuts, halves, halves_by_keys
from connectors.native import Compiled, PostgresCompiler, describe
from connectors.once import read_once
from connectors.pool import Lease, Pool
from connectors.regroup import Grouper, apart
from connectors.regroup import counted as only_counted
from connectors.total import Outputs, outputs
from connectors.written import Texts

__all__ = ["PostgresConfig", "PostgresSource"]

STREAM_ROWS = 2_000
FEW_KEYS = 64
"""So many keys are looked up without asking the server what it expects."""
DESCRIBE_SECONDS = 60.0
CANCEL_SECONDS = 2.0
FEW_GROUPS = 5_000
"""So many groups are made in the processor's cache; multiplying once for each of them is always cheaper than a row."""
HASHED_GROUPS = 50_000
"""More groups than these are made beside the server (`regroup`)."""
BLOCK_ROWS = 100_000
"""More rows of a whole table come by blocks (`blocks`)."""
KEYED_COST = 10_000.0
"""Of looking rows up by keys, by the server's own count: about 25 ms, which is worth a second connection."""
MOST_ONCE = 50_000.0
"""Above it, by the same count, it is the server's workers who read a table twice sooner than one connection once."""
BY_ROW = frozenset(
    {
        "Aggregate", "Bitmap Heap Scan", "Bitmap Index Scan", "Gather", "Gather Merge", "Group", "Index Only Scan",
        "Index Scan", "Memoize", "Nested Loop", "Result", "Sort", "Subquery Scan", "Unique",
    }
)  # fmt: skip
"""Steps of the server's plans that take half as long with half of the rows."""
MANY_GROUPS, MANY_ROWS = 20_000, 1_000_000
_WORKERS = """
SELECT CAST(current_setting('max_parallel_workers_per_gather') AS int) > 0
  AND has_function_privilege('pg_export_snapshot()', 'execute')
"""
_LITERAL = re.compile(r"/\*[^*]*\*/|'[^']*(?:''[^']*)*'")
DEARER = 3.0
"""How much more an order may cost by the server's own count before it is not taken."""
ALONE = "max_parallel_workers_per_gather = 0"
IN_ORDER = ("enable_hashagg = off", ALONE)
"""Groups inside a join are read in an index's order; each worker would make all of them."""
WORKERS_ROWS = "parallel_tuple_cost = 0.02"
"""The server reckons with 0.1, which keeps its workers from answers of many rows."""

Connection = psycopg.Connection[Any]
Told = TypeVar("Told")
Reading = Callable[[Connection], Generator[pa.RecordBatch]]
"""A statement, and what it delivers over a connection."""

_INTEGERS = frozenset({"tinyint", "smallint", "integer", "bigint"})
_ORDERED = _INTEGERS | {"decimal", "double", "varchar", "date", "timestamp"}
_EQUAL = _ORDERED | {"boolean"}
_MOMENTS = frozenset({"timestamp with time zone"})
_ANY = _EQUAL | _MOMENTS | {"real", "time", "varbinary", "json", "uuid", "char"}

CAPABILITIES = Capabilities(
    predicates={
        "=": _EQUAL | _MOMENTS,
        "<>": _EQUAL | _MOMENTS,
        "in": _EQUAL | _MOMENTS,
        "<": _ORDERED | _MOMENTS,
        "<=": _ORDERED | _MOMENTS,
        ">": _ORDERED | _MOMENTS,
        ">=": _ORDERED | _MOMENTS,
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
    keys=_INTEGERS | {"varchar", "date"},
    masks="postgres",
    compares=_INTEGERS | {"decimal", "varchar", "date"},
    likes="",
    arithmetic=38,
    averages=38,
    computes=True,
    scalars=True,
    joins=True,
    orders=_INTEGERS | {"decimal", "varchar", "date"},
    exists="any",
    ties=True,
)
"""Not sums of doubles (order of addition), nor their min and max (NaN is the largest there)."""

_TEXTS = frozenset({"varchar"})
_FITS: dict[str, frozenset[str]] = {
    "int2": _INTEGERS,
    "int4": _INTEGERS,
    "int8": _INTEGERS,
    "numeric": _INTEGERS | {"decimal"},
    "float4": frozenset({"real", "double"}),
    "float8": frozenset({"double"}),
    "bool": frozenset({"boolean"}),
    "date": frozenset({"date"}),
    "time": frozenset({"time"}),
    "timestamp": frozenset({"timestamp"}),
    "timestamptz": frozenset({"timestamp with time zone"}),
    "bytea": frozenset({"varbinary"}),
    "bpchar": frozenset({"varchar", "char"}),
    "uuid": frozenset({"varchar", "uuid"}),
    "json": frozenset({"varchar", "json"}),
    "jsonb": frozenset({"varchar", "json"}),
    "inet": frozenset({"varchar", "ipaddress"}),
} | dict.fromkeys(("text", "varchar", "name", "citext", "char", "cidr", "macaddr"), _TEXTS)


class PostgresConfig(SourceConfig):
    """A PostgreSQL database.

    host: name, address or socket folder. password: `env:NAME` or `file:PATH`. search_path: schemas in
    which owner views find their tables. timeout: seconds a statement may run. connections: at most.
    random_page_cost: of what the server's planner reckons with in these sessions; its own default, 4, is a disk's that
    turns, and makes it read whole tables where an index would do. parallel: connections over which one large answer may
    be read at once, of those that are free; one where the server itself may use no workers
    (max_parallel_workers_per_gather), or the role no snapshot of another connection (pg_export_snapshot).
    """

    kind: Literal["postgres"] = "postgres"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: str
    user: str
    password: SecretRef | None = None
    sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    search_path: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*( *, *[A-Za-z_][A-Za-z0-9_]*)*$")] = (
        "pg_catalog, public"
    )
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    connections: Annotated[int, Field(ge=1, le=64)] = 4
    random_page_cost: Annotated[float, Field(ge=1, le=100)] = 1.1
    parallel: Annotated[int, Field(ge=1, le=2)] = 2

    def open(self, base_dir: Path, private_dir: Path) -> PostgresSource:
        settings = {
            "default_transaction_read_only": "on",
            "statement_timeout": str(int(self.timeout * 1000)),
            "idle_in_transaction_session_timeout": str(int(self.timeout * 1000)),
            "TimeZone": "UTC",
            "DateStyle": "ISO",
            "extra_float_digits": "1",
            "standard_conforming_strings": "on",
            "random_page_cost": str(self.random_page_cost),
            "search_path": self.search_path.replace(" ", ""),
        }
        password = resolve_secret(self.password, base_dir)
        conninfo = make_conninfo(
            host=self.host,
            port=self.port,
            dbname=self.database,
            user=self.user,
            sslmode=self.sslmode,
            connect_timeout=10,
            application_name="atoll",
            client_encoding="UTF8",
            options=" ".join(f"-c {name}={value}" for name, value in settings.items()),
            **({} if password is None else {"password": password}),
        )
        return PostgresSource(conninfo, self.connections, private_dir, self.parallel)


class PostgresSource(Source):
    """One PostgreSQL database, read-only. Connects when first used.

    parallel: connections over which one answer may be read at once.
    """

    kind: ClassVar[str] = "postgres"
    dialect: ClassVar[str] = "postgres"

    def __init__(self, conninfo: str, connections: int, private_dir: Path, parallel: int = 1) -> None:
        self._conninfo, self._parallel = conninfo, parallel
        self._bulk, self._control = (
            Pool(self._connect, lambda c: c.close(), connections, alive=lambda c: not c.closed) for _ in range(2)
        )
        self._described: TTLCache[tuple[str, bool], _Described] = TTLCache(256, DESCRIBE_SECONDS)
        self._looked: TTLCache[tuple[str, int], _Look] = TTLCache(256, DESCRIBE_SECONDS)
        self._ordered: TTLCache[tuple[str, int], bool] = TTLCache(256, DESCRIBE_SECONDS)
        self._wide: TTLCache[tuple[Any, ...], bool] = TTLCache(256, DESCRIBE_SECONDS)
        self._grouper = Grouper(private_dir)
        self._texts = Texts()
        self._lock = threading.Lock()
        self._folding: bool | None = None
        self._has_workers = False

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def tables(self) -> list[SourceTable]:
        with self._control.lease() as lease:
            try:
                rows = lease.connection.execute(_INTROSPECT).fetchall()
            except psycopg.Error as bad:
                lease.broken = True
                raise SourceError(f"introspection failed: {bad}") from bad
        found: dict[str, list[SourceColumn]] = {}
        estimates: dict[str, int | None] = {}
        for table, estimate, column, native, base, typmod, notnull, key in rows:
            estimates[table] = None if estimate < 0 else int(estimate)
            type_ = _introspected(base, typmod)
            found.setdefault(table, []).append(SourceColumn(column, type_, native, not notnull, key))
        return [SourceTable(name, tuple(columns), estimates[name]) for name, columns in found.items()]

    def ping(self) -> None:
        with self._control.lease() as lease:
            try:
                lease.connection.execute("SELECT 1").fetchone()
            except psycopg.Error as bad:
                lease.broken = True
                raise SourceError(f"PostgreSQL does not answer: {bad}") from bad

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        return self._scan(scan, cancel)

    def _scan(
        self, scan: NativeScan, cancel: Cancel, counted: frozenset[str] = frozenset()
    ) -> Iterator[pa.RecordBatch]:
        """counted: what it delivers of which only those that are not NULL will be counted."""
        cancel.check()
        sets = [keys for part in scan.scans() for _, keys in part.keys]
        looks_up = 0 < sum(map(len, sets)) <= FEW_KEYS
        bind = looks_up and not all(map(are_whole, sets))  # with whole numbers it is written once
        owners = [part for part in scan.scans() if isinstance(part.relation, str)]
        known = {(part.relation, part.is_query): self._fitting(part, cancel) for part in owners}

        def natives(part: NativeScan) -> dict[str, str]:
            return known[part.relation, part.is_query].natives

        def totals(part: NativeScan) -> Outputs:
            return known[part.relation, part.is_query].totals

        folding = bool(self._folding)

        def of(scan: NativeScan, **how: bool) -> PostgresCompiler:
            return PostgresCompiler(scan, CAPABILITIES, natives, totals=totals, bind=bind, folding=folding, **how)

        def compiled_of(scan: NativeScan) -> Compiled:
            return of(scan).compile() if bind else self._texts.compiled(scan, (known, folding), of)

        if _asks_which_are_there(scan):
            hidden = self._texts.compiled(scan, (known, folding, "hides"), partial(of, hides=True))
            look = self._looks(hidden, cancel)
            if look.keyed_by == "Index Only Scan" and not look.searches:
                return self._bulk.stream(cancel, lambda lease: self._copied(lease, scan, hidden, cancel, cheap=False))
        two_steps = factored(scan, CAPABILITIES)
        if two_steps is not None and self._expected(compiled_of(two_steps.parts[0]), cancel) <= FEW_GROUPS:
            compiled, beside = compiled_of(two_steps), None
        else:
            compiled, beside = compiled_of(scan), apart(scan)
        if looks_up:
            return self._control.stream(cancel, lambda lease: self._looked_up(lease, scan, compiled, cancel))
        if read_once(scan) is not None and self._looks(compiled, cancel).cost < MOST_ONCE:
            once = self._texts.compiled(scan, (known, folding, "once"), partial(of, once=True))
            return self._bulk.stream(cancel, lambda lease: self._copied(lease, scan, once, cancel, cheap=False))
        if beside is not None and min(_most_groups(scan), self._expected(compiled, cancel)) > HASHED_GROUPS:
            rows, groups = beside
            return self._grouper.groups(groups, self._scan(rows, cancel, only_counted(groups)), cancel)
        if any(p.group_by for p in scan.scans() if p is not scan) and self._told(
            self._ordered, compiled, lambda: self._reads_groups_in_order(compiled, cancel)
        ):
            cut = self._halves(scan, cancel) if self._spreads else ()
            parts = [compiled_of(half) for half in cut] or [compiled]
            halved = [partial(self._with, IN_ORDER, scan, part, cancel) for part in parts]
            return self._bulk.stream(cancel, lambda lease: self._together(lease, scan, lambda _: halved, cancel))
        if self._spreads and self._looks_up(scan, compiled, cancel) and (cut := halves_by_keys(scan)):
            by_keys = [partial(self._with, (ALONE,), scan, compiled_of(half), cancel) for half in cut]
            return self._bulk.stream(cancel, lambda lease: self._together(lease, scan, lambda _: by_keys, cancel))
        if self._spreads and may_be_blocks(scan) and self._reads_all(compiled, cancel):
            blocks = self._blocks(scan, lambda part: of(part).compile(), counted)  # its text is nobody else's: not kept
            within = partial(self._in_blocks, blocks, scan, compiled, cancel)
            return self._bulk.stream(cancel, lambda lease: self._together(lease, scan, within, cancel))
        cheap = self._spreads and _is_plain_join(scan)
        return self._bulk.stream(cancel, lambda lease: self._copied(lease, scan, compiled, cancel, cheap))

    @property
    def _spreads(self) -> bool:
        """Whether one answer may be read over two connections."""
        return self._parallel > 1 and self._has_workers

    def close(self) -> None:
        self._bulk.close()
        self._control.close()
        self._grouper.close()

    # -- the paths

    def _copied(
        self, lease: Lease[Connection], scan: NativeScan, compiled: Compiled, cancel: Cancel, cheap: bool
    ) -> Generator[pa.RecordBatch]:
        """cheap: rows of the server's workers cost what they do."""
        with self._reading(lease, cancel) as connection:
            # COPY settles what it sees before it has its locks: a table that it waited for, while that was emptied and
            # filled again (TRUNCATE), it would see empty.
            _locked(connection, scan, "BEGIN READ ONLY", *([f"SET LOCAL {WORKERS_ROWS}"] if cheap else []))
            cancel.check()
            yield from batches(connection, compiled, scan, cancel, lambda: connection.execute("COMMIT"))

    @staticmethod
    def _with(
        settings: Sequence[str], scan: NativeScan, compiled: Compiled, cancel: Cancel, connection: Connection
    ) -> Generator[pa.RecordBatch]:
        """Inside a transaction: what a statement delivers under settings of the server's planner."""
        for setting in settings:
            connection.execute(f"SET LOCAL {setting}".encode())
        yield from batches(connection, compiled, scan, cancel)

    def _blocks(
        self, scan: NativeScan, compiled_of: Callable[[NativeScan], Compiled], counted: frozenset[str]
    ) -> Blocks:
        """Without pairs of columns where their values had no room in them a moment ago."""
        columns = scan.relation, tuple(o.column for o in scan.columns)

        def wide() -> None:
            with self._lock:
                self._wide[columns] = True

        with self._lock:
            pairs = columns not in self._wide
        return Blocks(scan, compiled_of, counted, pairs, wide)

    def _in_blocks(
        self, blocks: Blocks, scan: NativeScan, compiled: Compiled, cancel: Cancel, connection: Connection
    ) -> list[Reading]:
        """Inside a transaction: a table by its blocks, as it is where it has none. compiled: the whole scan."""
        whole = partial(batches, compiled=compiled, scan=scan, cancel=cancel)
        return [partial(blocks.read, cancel, block) for block in blocks.of(connection)] or [whole]

    def _together(
        self,
        lease: Lease[Connection],
        scan: NativeScan,
        readings_on: Callable[[Connection], Sequence[Reading]],
        cancel: Cancel,
    ) -> Generator[pa.RecordBatch]:
        """What statements read of one state of the database, in any order; over a second connection at the same time
        if the owner allows it and one is free. scan: reads all tables that they do."""
        with self._reading(lease, cancel) as connection:
            _begin(connection, scan)
            readings = readings_on(connection)
            if len(readings) > 1:
                yield from self._shared(connection, scan, readings, cancel)
            else:
                for reading in readings:
                    yield from reading(connection)
                connection.execute("COMMIT")

    def _shared(
        self, connection: Connection, scan: NativeScan, readings: Sequence[Reading], cancel: Cancel
    ) -> Generator[pa.RecordBatch]:
        (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        left, own = deque(readings), 0
        with closing(Ahead(lambda stop: self._beside(snapshot, scan, left, stop), cancel)) as beside:
            for reading in _taken(left):
                own += 1
                for batch in reading(connection):
                    yield batch
                    yield from beside.ready()
            connection.execute("COMMIT")  # now: however slow the reader is, it is not idle in a transaction
            if own < len(readings):  # else the other one, if it comes at all, has nothing to give
                yield from beside.rest()

    def _beside(
        self, snapshot: str, scan: NativeScan, left: deque[Reading], cancel: Cancel
    ) -> Generator[pa.RecordBatch]:
        """What a second connection reads of what is left, until someone waits for it; nothing where there is none."""
        with self._bulk.spare() as lease:
            if lease is None or not _sees(lease, snapshot, scan):
                return
            with self._reading(lease, cancel) as connection:
                for reading in _taken(left):
                    yield from reading(connection)
                    if self._bulk.is_awaited:
                        break
                connection.execute("COMMIT")

    def _looked_up(
        self, lease: Lease[Connection], scan: NativeScan, compiled: Compiled, cancel: Cancel
    ) -> Generator[pa.RecordBatch]:
        with self._reading(lease, cancel) as connection:
            values = list(compiled.params.values())
            rows = psycopg.RawCursor(connection).stream(compiled.sql, values, size=STREAM_ROWS)
            with closing(cast("Generator[tuple[Any, ...]]", rows)):
                yield from self._batches(rows, scan, cancel)

    @contextmanager
    def _reading(self, lease: Lease[Connection], cancel: Cancel) -> Iterator[Connection]:
        """The connection; what runs on it ends with a cancellation, and with the block."""
        lease.broken = True  # until the rows have been read to their end
        connection = lease.connection
        try:
            with cancel.calling(lambda: connection.cancel_safe(timeout=CANCEL_SECONDS)):
                cancel.check()
                yield connection
            lease.broken = False
        except psycopg.Error as bad:
            raise self._failure(bad, cancel) from bad
        finally:
            if lease.broken and connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # Abandoned. The server does not see that nobody reads before it has something to send.
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=CANCEL_SECONDS)

    @staticmethod
    def _batches(rows: Iterator[tuple[Any, ...]], scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        pending: list[tuple[Any, ...]] = []
        for row in rows:
            pending.append(row)
            if len(pending) == STREAM_ROWS:
                cancel.check()
                yield cells.to_batch(pending, scan.outputs, scan.schema, scan.masked)
                pending = []
        if pending:
            yield cells.to_batch(pending, scan.outputs, scan.schema, scan.masked)

    @staticmethod
    def _failure(bad: BaseException, cancel: Cancel) -> SourceError:
        return Cancelled("cancelled") if cancel.is_set() else SourceError(f"PostgreSQL: {bad}")

    # -- what the server itself expects, by its own statistics

    def _expected(self, compiled: Compiled, cancel: Cancel) -> float:
        """Rows that a statement is expected to give (`_looks`)."""
        return self._looks(compiled, cancel).rows

    def _reads_all(self, compiled: Compiled, cancel: Cancel) -> bool:
        """Whether a statement over a table reads it from end to end, for many rows."""
        look = self._looks(compiled, cancel)
        return look.node == "Seq Scan" and look.rows > BLOCK_ROWS

    def _looks_up(self, scan: NativeScan, compiled: Compiled, cancel: Cancel) -> bool:
        """Whether a statement looks its rows up by keys, and by nothing else, for long enough to be worth a second
        connection. Where an index says it all, keys beside each other are found at once."""
        if not any(len(columns) == 1 for part in scan.scans() for columns, _ in part.keys):
            return False
        look = self._looks(compiled, cancel)
        return look.by_row and look.keyed_by not in ("", "Index Only Scan") and look.cost > KEYED_COST

    def _looks(self, compiled: Compiled, cancel: Cancel) -> _Look:
        """How the server reads a statement."""
        return self._told(self._looked, compiled, lambda: _Look.at(self._plan(compiled, cancel)))

    def _told(self, known: TTLCache[tuple[str, int], Told], compiled: Compiled, ask: Callable[[], Told]) -> Told:
        """What the server said of a statement that differs in literals alone, and by its length has not many more or
        fewer keys; asked if it did not say it lately."""
        shape = _LITERAL.sub("?", compiled.sql), len(compiled.sql).bit_length()
        with self._lock:
            found = known.get(shape)
        if found is None:
            found = ask()
            with self._lock:
                known[shape] = found
        return found

    def _reads_groups_in_order(self, compiled: Compiled, cancel: Cancel) -> bool:
        """Whether groups of a part of a join, too many to be hashed in memory, stand in an index one after the other.

        The server would hash them: it takes reading in an index's order for dearer than it is, and writes to disk
        what it has no memory for. TPC-H's q18, 1.5 million groups: 10.5 processor seconds, in order 3.1.
        """
        hashed = self._plan(compiled, cancel)
        many = [node for node in _nodes(hashed) if node.get("Strategy") == "Hashed" and node["Plan Rows"] > MANY_GROUPS]
        if not any(below["Plan Rows"] > MANY_ROWS for node in many for below in node["Plans"]):
            return False
        ordered = self._plan(compiled, cancel, *IN_ORDER)
        sorts = any(n["Node Type"] == "Sort" and n["Plan Rows"] > MANY_ROWS for n in _nodes(ordered))
        return bool(not sorts and ordered["Total Cost"] <= DEARER * hashed["Total Cost"])

    def _halves(self, scan: NativeScan, cancel: Cancel) -> tuple[NativeScan, ...]:
        """The scan in two by a key of its inner groups; nothing where it can't be, or nobody knows the key's middle."""
        cut = next(cuts(scan), None)
        if cut is None:
            return ()
        with self._control.lease(cancel) as lease:
            table = sql.Identifier(*cut.table.rsplit(".", 1)).as_string(lease.connection)
            try:
                found = lease.connection.execute(_MIDDLE, {"table": table, "column": cut.column}).fetchone()
            except psycopg.Error as bad:
                lease.broken = True
                raise self._failure(bad, cancel) from bad
        (middle,) = found or (None,)
        # A numeric column that is declared as a whole number may hold anything.
        if middle is None or abs(middle).compare(2**63) != -1:
            return ()
        return halves(scan, cut.delivered, int(middle))

    def _plan(self, compiled: Compiled, cancel: Cancel, *settings: str) -> dict[str, Any]:
        """The root of the server's plan."""
        (found,) = self._control.stream(cancel, lambda lease: self._explained(lease, compiled, cancel, settings))
        return found

    def _explained(
        self, lease: Lease[Connection], compiled: Compiled, cancel: Cancel, settings: Iterable[str]
    ) -> Generator[dict[str, Any]]:
        connection = lease.connection
        try:
            with connection.transaction():
                cursor = psycopg.RawCursor(connection)
                for setting in settings:
                    cursor.execute(f"SET LOCAL {setting}")
                cursor.execute(f"EXPLAIN (FORMAT JSON) {compiled.sql}", list(compiled.params.values()))
                ((plans,),) = cursor.fetchall()
        except psycopg.Error as bad:
            lease.broken = True
            raise self._failure(bad, cancel) from bad
        yield plans[0]["Plan"]

    # -- what the relation's columns really are

    def _fitting(self, scan: NativeScan, cancel: Cancel) -> _Described:
        """What the server said of a relation, checked against the declared types; kept for a minute."""
        assert isinstance(scan.relation, str)
        key = (scan.relation, scan.is_query)
        with self._lock:
            found = self._described.get(key)
        if found is None:
            found = self._describe(scan, cancel)
            with self._lock:
                self._described[key] = found
        for name, declared in scan.types.items():
            native = found.natives.get(name)
            if native is None:
                raise SourceError(f"column {name!r} does not exist in the source")
            if declared.name not in _FITS.get(native, _TEXTS):
                raise SourceError(f"column {name!r} is {native} in the source, not {declared}")
        return found

    def _describe(self, scan: NativeScan, cancel: Cancel) -> _Described:
        (found,) = self._control.stream(cancel, lambda lease: self._described_on(lease, scan, cancel))
        return found

    def _described_on(self, lease: Lease[Connection], scan: NativeScan, cancel: Cancel) -> Generator[_Described]:
        connection = lease.connection
        try:
            if self._folding is None:
                found = connection.execute("SELECT count(*) FROM pg_collation WHERE NOT collisdeterministic")
                self._folding = found.fetchone() != (0,)
                self._has_workers = connection.execute(_WORKERS).fetchone() == (True,)
            cursor = psycopg.RawCursor(connection)
            cursor.execute(describe(scan, self.dialect))
            columns = [(c.name, c.type_code) for c in cursor.description or ()]
            oids = [oid for _, oid in columns]
            rows = connection.execute("SELECT oid, typname FROM pg_type WHERE oid = ANY(%s)", (oids,))
            names = dict(rows.fetchall())
            totals = outputs(scan, self.dialect, partial(_definition, connection))
        except psycopg.Error as bad:
            lease.broken = True
            raise self._failure(bad, cancel) from bad
        yield _Described({name: names[oid] for name, oid in columns}, totals)

    def _connect(self) -> Connection:
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True)
        except psycopg.Error as bad:
            raise SourceError(f"PostgreSQL cannot be reached: {bad}") from bad
        # As text: `cells` reads them strictly, and an infinite date is an error that can name its column.
        for name in ("date", "timestamp", "timestamptz"):
            connection.adapters.register_loader(name, TextLoader)
        return connection


def _taken(left: deque[Reading]) -> Iterator[Reading]:
    """What is left, for one of several who take of it."""
    while True:
        try:
            yield left.popleft()
        except IndexError:
            return


def _locked(connection: Connection, scan: NativeScan, *before: str) -> psycopg.Cursor[Any]:
    """Lock the tables of a scan as it does itself, after other statements. Raises psycopg.Error."""
    relations = (describe(part, PostgresSource.dialect) for part in scan.scans() if isinstance(part.relation, str))
    return connection.execute("; ".join([*before, *dict.fromkeys(relations)]).encode())


def _begin(connection: Connection, scan: NativeScan) -> None:
    """Begin a transaction that sees one state of a scan's tables, and keep them from being written anew.

    What it sees is settled before it has its locks: where a table was written anew meanwhile, it begins again.
    """
    while True:
        _locked(connection, scan, _BEGIN)
        if connection.execute(_WRITTEN_ANEW).fetchone() == (False,):
            return
        connection.execute("ROLLBACK")


def _sees(lease: Lease[Connection], snapshot: str, scan: NativeScan) -> bool:
    """Begin a transaction that sees what another one does; False, and no longer lent, if the connection does not.

    It does not wait for a lock: who would empty a table waits for the other one, and the other one for this one.
    """
    taken = sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot).as_string(lease.connection)
    try:
        _locked(lease.connection, scan, _BEGIN, taken, "SET LOCAL lock_timeout = '1ms'")
    except psycopg.Error:
        lease.broken = True
        return False
    return True


def _definition(connection: Connection, schema: str, name: str) -> str | None:
    """The SELECT of a view, None of anything else. Raises psycopg.Error."""
    found = connection.execute(_DEFINITION, {"schema": schema, "name": name}).fetchone()
    return None if found is None else str(found[0]).rstrip().removesuffix(";")


def _is_plain_join(scan: NativeScan) -> bool:
    """Whether it joins tables alone: of groups and of lists of keys inside, each worker would make all."""
    inner = [part for part in scan.scans() if part is not scan]
    several = any(len(columns) > 1 for part in scan.scans() for columns, _ in part.keys)
    return bool(scan.parts) and not several and not any(part.group_by or part.aggregates for part in inner)


def _asks_which_are_there(scan: NativeScan) -> bool:
    """Whether all it asks of a table is which of many keys are in it.

    The server looks at each key when it makes its plan, by its statistics; with 19,000 that takes a fifth of the time,
    and 95,000 it rather looks for in the whole table: 450 ms in place of 150 by an index (TPC-H's q22 at scale 5).
    """
    if not isinstance(scan.relation, str) or scan.aggregates or scan.predicates or len(scan.keys) != 1:
        return False
    ((columns, keys),) = scan.keys
    return columns == tuple(k.column for k in scan.group_by if k.is_plain) and are_whole(keys) and len(keys) > FEW_KEYS


def _most_groups(scan: NativeScan) -> float:
    """No more groups than this, by the keys that were asked for: the server does not count with them."""
    many = {columns[0]: len(keys) for columns, keys in scan.keys if len(columns) == 1}
    return math.prod(3 if key.truth else many.get(key.column, math.inf) for key in scan.group_by)


class _Described(NamedTuple):
    """natives: raw column -> PostgreSQL's type name. totals: which columns are an error of no row."""

    natives: dict[str, str]
    totals: Outputs


class _Look(NamedTuple):
    """What the server says of a statement.

    node: how it begins. rows, cost: what it expects. by_row: whether it takes half as long with half of the rows.
    keyed_by: what reads an index for a list of keys before anything else, "" if nothing does. searches: whether rows
    are looked for in a list, from its beginning to its end if it is hidden.
    """

    node: str
    rows: float
    cost: float
    by_row: bool
    keyed_by: str
    searches: bool

    @classmethod
    def at(cls, plan: dict[str, Any]) -> _Look:
        """plan: its root."""
        first = plan
        while below := [n for n in first.get("Plans", ()) if n["Parent Relationship"] != "InitPlan"]:
            first = below[0]
        keyed_by = first["Node Type"] if " = ANY (" in first.get("Index Cond", "") else ""
        by_row = all(n["Node Type"] in BY_ROW for n in _nodes(plan))
        searches = any(" = ANY (" in n.get(f, "") for n in _nodes(plan) for f in ("Filter", "Join Filter"))
        return cls(_first_node(plan), float(plan["Plan Rows"]), float(plan["Total Cost"]), by_row, keyed_by, searches)


def _first_node(plan: dict[str, Any]) -> str:
    """The root of a plan, or what workers do for it."""
    return str(plan["Plans"][0]["Node Type"] if plan["Node Type"] == "Gather" else plan["Node Type"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITTEN_ANEW = """
SELECT EXISTS (
  SELECT FROM pg_locks AS held LEFT JOIN pg_class AS seen ON seen.oid = held.relation
  WHERE held.pid = pg_backend_pid() AND held.locktype = 'relation'
    AND (seen.oid IS NULL OR seen.relfilenode <> 0 AND seen.relfilenode <> pg_relation_filenode(seen.oid))
)
"""
"""Whether a transaction has locked a table that lies elsewhere than where it sees it; views, and tables that the
server must know by heart, lie nowhere (0)."""
_MIDDLE = """
SELECT (s.histogram_bounds::text::numeric[])[(cardinality(s.histogram_bounds::text::numeric[]) + 1) / 2]
FROM pg_stats s
JOIN pg_namespace n ON n.nspname = s.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
WHERE c.oid = to_regclass(%(table)s) AND s.attname = %(column)s AND NOT s.inherited
"""
"""Half of the rows of a table have less in a column of numbers, as the last ANALYZE saw it."""
_DEFINITION = """
SELECT pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND c.relname = %(name)s
  AND (n.nspname = %(schema)s OR %(schema)s = '' AND pg_table_is_visible(c.oid))
"""
_INTROSPECT = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END,
       c.reltuples, a.attname, format_type(a.atttypid, a.atttypmod), COALESCE(b.typname, t.typname),
       CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END, a.attnotnull,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY(i.indkey))
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND has_table_privilege(c.oid, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum
"""

_TYPES: dict[str, TrinoType] = {
    "bool": BOOLEAN,
    "int2": TrinoType("smallint"),
    "int4": TrinoType("integer"),
    "int8": BIGINT,
    "float4": TrinoType("real"),
    "float8": DOUBLE,
    "date": DATE,
    "time": TrinoType("time", (6,)),
    "timestamp": TrinoType("timestamp", (6,)),
    "timestamptz": TrinoType("timestamp with time zone", (6,)),
    "bytea": TrinoType("varbinary"),
    "json": TrinoType("json"),
    "jsonb": TrinoType("json"),
    "uuid": TrinoType("uuid"),
} | dict.fromkeys(("text", "varchar", "bpchar", "name", "citext", "inet", "cidr", "macaddr"), VARCHAR)


def _introspected(native: str, typmod: int) -> TrinoType | None:
    """The declared type to suggest for a column; None if atoll has none (an unbounded numeric, a range)."""
    if native != "numeric":
        return _TYPES.get(native)
    if typmod < 0:
        return None
    precision, scale = (typmod - 4) >> 16 & 0xFFFF, typmod - 4 & 0x7FF
    return TrinoType("decimal", (precision, scale)) if scale <= precision <= 38 else None
