"""MariaDB and MySQL silos.

Every session is read-only, in UTC, with `max_statement_time` and a strict sql_mode
(ANSI_QUOTES,NO_BACKSLASH_ESCAPES,ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES: owner views are read in it).
Text compares by bytes, zero dates read as NULL: see `native.MariaDBCompiler`.

Rows come unconverted (as the protocol's own text, in which decimals are exact) over kept PyMySQL connections
and are cut into Arrow columns a buffer at a time (`packets`). connectorx is as fast, but it holds the
interpreter lock while it waits for the server and panics when its statement is killed, so one slow query would
stall the whole agent. A cancelled or abandoned scan is ended on the server by KILL QUERY.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pymysql
from cachetools import TTLCache
from pydantic import Field

from catalog.types import BIGINT, BOOLEAN, DATE, DOUBLE, VARCHAR, TrinoType
from connectors import cells
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
from connectors.config import SecretRef, SourceConfig, resolve_secret
from connectors.native import MariaDBCompiler, describe, mariadb_text
from connectors.packets import Rows
from connectors.pool import Lease, Pool
from connectors.total import Outputs, outputs
from connectors.written import Texts

__all__ = ["MysqlConfig", "MysqlSource"]

DESCRIBE_SECONDS = 60.0
MANY_KEYS, ROWS_A_KEY = 1_000, 15
"""A row that is looked up by its key takes the server as long as so many that it reads one after the other; of how many
keys on it matters."""
MODES = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES"

_INTEGERS = frozenset({"tinyint", "smallint", "integer", "bigint"})
_ORDERED = _INTEGERS | {"decimal", "double", "varchar", "date", "timestamp"}
_EQUAL = _ORDERED | {"boolean"}
_ANY = _EQUAL | {"real", "time", "varbinary", "json", "uuid", "char"}

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
    keys=_INTEGERS | {"varchar", "date"},
    masks="mysql",
    compares=_INTEGERS | {"decimal", "varchar", "date"},
    likes="\\",
    arithmetic=37,
    averages=18,
    scalars=True,
    joins=True,
    orders=_INTEGERS | {"decimal", "date"},
    exists="=",
)
"""Decimals of 38 digits would be cut off at their end instead of being refused. It sorts texts by their first
`max_sort_length` bytes: the order of longer ones would follow what nobody may see."""

_NATIVE = {
    0: "decimal", 246: "decimal", 1: "tinyint", 2: "smallint", 3: "int", 9: "mediumint", 8: "bigint", 13: "year",
    4: "float", 5: "double", 6: "null", 7: "timestamp", 12: "datetime", 10: "date", 14: "date", 11: "time",
    16: "bit", 245: "text", 15: "text", 247: "text", 248: "text", 249: "text", 250: "text", 251: "text",
    252: "text", 253: "text", 254: "text",
}  # fmt: skip
"""Field types of the protocol; `text` is `binary` or `utf8mb4 text` when its character set is."""
_BINARY, _UTF8MB4 = 63, frozenset((45, 46, *range(224, 248)))
"""Collations by their numbers in the protocol, which never change. Those of utf8mb4 that are not among these are of
MariaDB alone: texts in them are compared as any other's."""

_WHOLE = _INTEGERS | {"boolean", "decimal"}
_FITS: dict[str, frozenset[str]] = {
    "decimal": _INTEGERS | {"decimal"},
    "float": frozenset({"real"}),
    "double": frozenset({"double"}),
    "timestamp": frozenset({"timestamp"}),
    "datetime": frozenset({"timestamp"}),
    "date": frozenset({"date"}),
    "time": frozenset({"time"}),
    "bit": _WHOLE,
    "binary": frozenset({"varbinary"}),
    "null": _ANY,
    **dict.fromkeys(("text", "utf8mb4 text"), frozenset({"varchar", "char", "json", "uuid"})),
    **dict.fromkeys(("tinyint", "smallint", "int", "mediumint", "bigint", "year"), _WHOLE),
}

_NUMBERS = {"float": pa.float32(), "double": pa.float64()}


class MysqlConfig(SourceConfig):
    """A MariaDB (or MySQL) database.

    password: `env:NAME` or `file:PATH`. timeout: seconds a statement may run. connections: at most.
    """

    kind: Literal["mysql"] = "mysql"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3306
    database: str
    user: str
    password: SecretRef | None = None
    tls: bool = False
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    connections: Annotated[int, Field(ge=1, le=64)] = 4

    def open(self, base_dir: Path, private_dir: Path) -> MysqlSource:
        settings = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": resolve_secret(self.password, base_dir) or "",
            "database": self.database,
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": 10,
            "read_timeout": self.timeout + 15,
            "sql_mode": MODES,
            "conv": {},
            "program_name": "atoll",
            "local_infile": False,
            "ssl_verify_cert": self.tls,
            "ssl_verify_identity": self.tls,
        }
        return MysqlSource(settings, self.timeout, self.connections)


@dataclass(frozen=True)
class _Described:
    """natives: raw column -> native type. totals: which columns are an error of no row. rows: about how many a table
    has; None if nobody knows."""

    natives: dict[str, str]
    totals: Outputs
    rows: int | None


class MysqlSource(Source):
    """One MariaDB database, read-only. Connects when first used."""

    kind: ClassVar[str] = "mysql"
    dialect: ClassVar[str] = "mysql"

    def __init__(self, settings: dict[str, Any], timeout: float, connections: int) -> None:
        self._settings = settings
        self._timeout = timeout
        self._pool: Pool[Any] = Pool(self._connect, _disconnect, connections, alive=_alive)
        self._described: TTLCache[tuple[str, bool], _Described] = TTLCache(256, DESCRIBE_SECONDS)
        self._lock = threading.Lock()
        self._texts = Texts()

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def tables(self) -> list[SourceTable]:
        found: dict[str, list[SourceColumn]] = {}
        estimates: dict[str, int | None] = {}
        for table, rows, column, native, nullable, key in self._rows(_INTROSPECT):
            estimates[table] = None if rows is None else int(rows)
            type_ = _introspected(native)
            found.setdefault(table, []).append(SourceColumn(column, type_, native, nullable == "YES", key == "PRI"))
        return [SourceTable(name, tuple(columns), estimates[name]) for name, columns in found.items()]

    def ping(self) -> None:
        self._rows("SELECT 1")

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        cancel.check()
        owners = [part for part in scan.scans() if isinstance(part.relation, str)]
        described = {_relation(part): self._fitting(part, cancel) for part in owners}
        known = {relation: (found.natives, found.totals) for relation, found in described.items()}

        def of(scan: NativeScan) -> MariaDBCompiler:
            return MariaDBCompiler(
                scan,
                CAPABILITIES,
                lambda part: described[_relation(part)].natives,
                lambda part: described[_relation(part)].totals,
            )

        sql = self._texts.compiled(scan, known, of).sql
        count, relation = max(_keyed(scan), key=itemgetter(0), default=(0, None))
        rows = described[relation].rows if relation is not None else None
        if count > MANY_KEYS and rows is not None:
            sql = _looking_up(rows // ROWS_A_KEY, sql)
        return self._pool.stream(cancel, lambda lease: self._run(lease, scan, sql, cancel))

    def close(self) -> None:
        self._pool.close()

    def _run(self, lease: Lease[Any], scan: NativeScan, sql: str, cancel: Cancel) -> Generator[pa.RecordBatch]:
        thread = lease.connection.thread_id()
        lease.broken = running = True  # until the result has been read to its end
        try:
            with cancel.calling(lambda: self._kill(thread)):
                cancel.check()
                rows = Rows(lease.connection, sql)
                natives = [_native(field) for field in rows.fields]
                for columns in rows.batches():
                    cancel.check()
                    yield _to_batch(columns, natives, scan)
            lease.broken = running = False
        except pymysql.MySQLError as bad:
            running = False
            self._forget(scan)
            raise _failure(bad, cancel) from bad
        finally:
            if running:  # abandoned, and the connection is discarded
                self._kill(thread)

    def _kill(self, thread: int) -> None:
        """End what a connection runs. Silent when it cannot: statement timeout and socket close remain."""
        with (
            suppress(pymysql.MySQLError, SourceError),
            closing(self._connect()) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"KILL QUERY {int(thread)}")

    # -- what the relation's columns really are

    def _fitting(self, scan: NativeScan, cancel: Cancel) -> _Described:
        """What the relation is, checked against the declared types; kept for a minute, or until it fails."""
        key = _relation(scan)
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
            if declared.name not in _FITS.get(native, frozenset()):
                raise SourceError(f"column {name!r} is {native} in the source, not {declared}")
        return found

    def _forget(self, scan: NativeScan) -> None:
        """Describe again what was asked: perhaps it failed because it is not what it was."""
        with self._lock:
            for part in scan.scans():
                if isinstance(part.relation, str):
                    self._described.pop(_relation(part), None)

    def _describe(self, scan: NativeScan, cancel: Cancel) -> _Described:
        def found(lease: Lease[Any]) -> Generator[_Described]:
            try:
                yield _described(lease.connection, scan)
            except pymysql.MySQLError as bad:
                lease.broken = True
                raise _failure(bad, cancel) from bad

        (one,) = self._pool.stream(cancel, found)
        return one

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._pool.lease() as lease:
            try:
                with lease.connection.cursor() as cursor:
                    cursor.execute(sql)
                    return list(cursor.fetchall())
            except pymysql.MySQLError as bad:
                lease.broken = True
                raise SourceError(f"MariaDB does not answer: {bad}") from bad

    def _connect(self) -> Any:
        try:
            connection = pymysql.connect(**self._settings)
            with connection.cursor() as cursor:
                for statement in session_statements(self._timeout):
                    cursor.execute(statement)
        except pymysql.MySQLError as bad:
            raise SourceError(f"MariaDB cannot be reached: {bad}") from bad
        return connection


def session_statements(timeout: float) -> list[str]:
    """What makes a session safe and equal everywhere."""
    return [
        f"SET SESSION sql_mode = '{MODES}'",
        "SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin",
        "SET SESSION max_sort_length = 1024",  # of a text, as `native.MariaDBCompiler.told_apart` counts on
        "SET SESSION time_zone = '+00:00'",
        f"SET SESSION max_statement_time = {float(timeout)}",
        "SET SESSION TRANSACTION READ ONLY",
        # Answers of an EXISTS are kept by the columns around it, as their own collations tell texts apart: 'a' is 'A '.
        "SET SESSION optimizer_switch = 'subquery_cache=off'",
        # Joins by hashing where there is no index; else each row would be held against all of the other table.
        "SET SESSION join_cache_level = 8",
        # Keys stay a sorted list, in which each row is looked for. As a table of their own, which the server makes of
        # more than 1,000, they are all looked for in the relation: 57,000 among 750,000 rows took 12 times as long.
        "SET SESSION in_predicate_conversion_threshold = 0",
    ]


def _disconnect(connection: Any) -> None:
    with suppress(pymysql.MySQLError):  # it may be closed already
        connection.close()


def _alive(connection: Any) -> bool:
    try:
        connection.ping(reconnect=False)
    except pymysql.MySQLError:
        return False
    return True


def _failure(bad: Exception, cancel: Cancel) -> SourceError:
    return Cancelled("cancelled") if cancel.is_set() else SourceError(f"MariaDB: {bad}")


def _relation(scan: NativeScan) -> tuple[str, bool]:
    assert isinstance(scan.relation, str)
    return scan.relation, scan.is_query


def _described(connection: Any, scan: NativeScan) -> _Described:
    """The server tells a text's own character set only where it need not send it in another one."""
    text = describe(scan, MysqlSource.dialect, MariaDBCompiler.owner_dialect)
    relation, is_query = _relation(scan)
    with connection.cursor() as cursor:
        cursor.execute(f"SET STATEMENT character_set_results = NULL FOR {text}")
        fields = cursor._result.fields  # the only place where PyMySQL keeps a column's character set
        natives = {field.name: _native(field) for field in fields}
        totals = outputs(scan, MariaDBCompiler.owner_dialect, partial(_definition, cursor))
        if is_query:
            return _Described(natives, totals, None)
        schema, _, table = relation.rpartition(".")
        cursor.execute(_ROWS.format(schema=mariadb_text(schema) if schema else "DATABASE()", table=mariadb_text(table)))
        rows = [int(count) for (count,) in cursor.fetchall() if count is not None]
        return _Described(natives, totals, rows[0] if rows else None)


def _definition(cursor: Any, schema: str, name: str) -> str | None:
    """The SELECT of a view, "" if this account may not see it; None of anything else."""
    cursor.execute(_DEFINITION.format(schema=mariadb_text(schema) if schema else "DATABASE()", name=mariadb_text(name)))
    found = cursor.fetchone()
    return None if found is None else _text(found[0] or "")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _keyed(scan: NativeScan) -> Iterator[tuple[int, tuple[str, bool] | None]]:
    """Each set of keys: how many, and the relation whose column they are of, if it is one's."""
    for part in scan.scans():
        for columns, keys in part.keys:
            yield len(keys), _home(part, columns[0])


def _home(scan: NativeScan, column: str) -> tuple[str, bool] | None:
    if isinstance(scan.relation, str):
        return _relation(scan)
    homes = (_home(part, o.column) for part in scan.parts for o in part.columns if o.name == column)
    return next(homes, None)


def _looking_up(most: int, sql: str) -> str:
    """The statement, in which at most so many keys of a column are looked up one by one; of more the rows are read and
    each is looked for among them. The server would go by a number of its own (32,000), however many rows there are.

    It holds for every column of the statement: fewer keys, of a larger table, are looked up still.
    """
    weight = min(max(most, MANY_KEYS), 2**32 - 1)
    return f"/*M!100509 SET STATEMENT optimizer_max_sel_arg_weight = {weight} FOR */ {sql}"


def _native(field: Any) -> str:
    native = _NATIVE.get(field.type_code, "unknown")
    if native == "text":
        return "binary" if field.charsetnr == _BINARY else "utf8mb4 text" if field.charsetnr in _UTF8MB4 else "text"
    return native


def _to_batch(columns: list[pa.Array], natives: list[str], scan: NativeScan) -> pa.RecordBatch:
    """Columns as the server sent them -> one batch of the scan's schema."""
    arrays = [
        cells.fitting(values, partial(_array, native=native, type_=type_, name=name), type_, name in scan.masked)
        for values, native, (name, type_) in zip(columns, natives, scan.outputs, strict=True)
    ]
    return pa.record_batch(arrays, schema=scan.schema)


def _array(values: pa.Array, native: str, type_: TrinoType, name: str) -> pa.Array:
    try:
        if type_.name == "varbinary":
            return values
        texts = values.cast(pa.string())
        if native in _NUMBERS:
            texts = texts.cast(_NUMBERS[native])
        elif type_.name == "boolean":
            texts = texts.cast(pa.int64())
    except pa.ArrowException as bad:
        raise SourceError(f"column {name!r}: a value does not fit {type_}: {bad}") from None
    return cells.from_arrow(texts, type_, name)


# --- introspection -----------------------------------------------------------------------------------

_DEFINITION = """
SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}
"""
_INTROSPECT = """
SELECT t.TABLE_NAME, t.TABLE_ROWS, c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE, c.COLUMN_KEY
FROM information_schema.TABLES t
JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME
WHERE t.TABLE_SCHEMA = DATABASE()
ORDER BY t.TABLE_NAME, c.ORDINAL_POSITION
"""

_ROWS = "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}"

_TYPES: dict[str, TrinoType] = {
    "smallint": TrinoType("smallint"), "mediumint": TrinoType("integer"), "int": TrinoType("integer"),
    "bigint": BIGINT, "year": TrinoType("integer"), "float": TrinoType("real"), "double": DOUBLE, "date": DATE,
    "binary": TrinoType("varbinary"), "varbinary": TrinoType("varbinary"), "time": TrinoType("time", (6,)),
} | dict.fromkeys(("tinyblob", "blob", "mediumblob", "longblob"), TrinoType("varbinary")) | dict.fromkeys(
    ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "uuid", "inet6"), VARCHAR
)  # fmt: skip
_WIDER = {"tinyint": "smallint", "smallint": "mediumint", "mediumint": "int", "int": "bigint"}


def _introspected(native: str) -> TrinoType | None:
    """The declared type to suggest for a column such as `decimal(14,3) unsigned`; None if there is none."""
    base, _, rest = native.lower().partition("(")
    base = base.split()[0]
    arguments = rest.partition(")")[0]
    if native.lower().startswith(("tinyint(1)", "bit(1)")):
        return BOOLEAN
    if base == "decimal":
        precision, scale = (int(part) for part in arguments.split(","))
        return TrinoType("decimal", (precision, scale)) if precision <= 38 else None
    if base in ("datetime", "timestamp"):
        return TrinoType("timestamp", (int(arguments or 0),))
    if "unsigned" in native.lower():
        if base == "bigint":
            return TrinoType("decimal", (20, 0))
        base = _WIDER.get(base, base)
    return TrinoType("tinyint") if base == "tinyint" else _TYPES.get(base)
