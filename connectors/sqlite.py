"""SQLite silos, through the standard library alone.

A file is opened `mode=ro` behind an authorizer with a closed list: SELECT, reads of ordinary tables and
the functions named in `FUNCTIONS`; everything else (PRAGMA, ATTACH, writes, load_extension) is refused
while the statement is prepared. Double-quoted names can't turn into text: `native` rewrites them.

SQLite types single cells, not columns. The declared type is what holds: decimals may be stored as TEXT
(exact) or as a number of at most 15 digits, dates and timestamps as ISO text, booleans as 0 and 1. A
cell that does not fit is an error that names its column.

Owner views may use these deterministic helpers beside SQLite's own functions:
    nfkc(text)   Unicode normal form NFKC (full-width digits become plain ones); NULL for NULL
    nfc(text)    Unicode normal form NFC
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, TrinoType
from connectors import cells
from connectors.base import Cancel, Cancelled, Capabilities, NativeScan, Source, SourceColumn, SourceError
from connectors.base import SourceTable as Table
from connectors.config import SourceConfig, resolve_path
from connectors.native import Compiled, SQLiteCompiler
from connectors.pool import Pool
from connectors.total import Outputs, outputs

__all__ = ["FUNCTIONS", "SqliteConfig", "SqliteSource"]

BATCH_ROWS = 8192
CONNECTIONS = 8
_STEPS = 20_000  # virtual machine steps between two looks at the cancel flag: about a millisecond

FUNCTIONS = frozenset(
    {
        "abs", "avg", "cast", "ceil", "ceiling", "coalesce", "count", "cume_dist", "date", "datetime", "dense_rank",
        "exp", "first_value", "floor", "format", "glob", "group_concat", "hex", "ifnull", "iif", "instr", "json",
        "json_array_length", "json_each", "json_extract", "json_type", "json_valid", "julianday", "lag", "last_value",
        "lead", "length", "like", "ln", "log", "lower", "ltrim", "max", "min", "mod", "nth_value", "ntile", "nullif",
        "percent_rank", "power", "printf", "quote", "rank", "replace", "round", "row_number", "rtrim", "sign", "sqrt",
        "strftime", "substr", "substring", "sum", "time", "total", "trim", "trunc", "typeof", "unicode", "unixepoch",
        "upper", "nfkc", "nfc", "atoll_bad", "atoll_whole", "->", "->>",
    }
)  # fmt: skip
"""Functions that a statement may call."""

_ACTIONS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, 33}  # 33: SQLITE_RECURSIVE, unnamed in the module

_INTEGERS = frozenset({"tinyint", "smallint", "integer", "bigint"})
_ORDERED = _INTEGERS | {"double", "varchar", "date"}
_EQUAL = _ORDERED | {"boolean"}
_ANY = _EQUAL | {
    "decimal", "real", "timestamp", "timestamp with time zone", "time", "varbinary", "json", "uuid", "char",
}  # fmt: skip

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
        "sum": _INTEGERS,
        "min": _INTEGERS | {"varchar", "date"},
        "max": _INTEGERS | {"varchar", "date"},
    },
    group_types=_INTEGERS | {"varchar", "date", "boolean"},
    key_functions=frozenset({"year", "month", "quarter"}),
    keys=_INTEGERS | {"varchar", "date"},
    masks="sqlite",
    compares=_INTEGERS | {"varchar", "date"},
    likes="",
    joins=True,
)
"""No decimals (SQLite has none) and no timestamps (text with and without fractions sorts otherwise)."""


class SqliteConfig(SourceConfig):
    """A SQLite file. path: relative to department.yaml."""

    kind: Literal["sqlite"] = "sqlite"
    path: str

    def open(self, base_dir: Path, private_dir: Path) -> SqliteSource:
        return SqliteSource(resolve_path(self.path, base_dir))


class SqliteSource(Source):
    """One SQLite file, read-only."""

    kind: ClassVar[str] = "sqlite"
    dialect: ClassVar[str] = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool: Pool[sqlite3.Connection] = Pool(self._connect, _disconnect, CONNECTIONS)
        self._file = _identity(path)

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def tables(self) -> list[Table]:
        try:
            with closing(self._open()) as connection:
                names = connection.execute(
                    "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') "
                    "AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
                ).fetchall()
                return [_describe(connection, name) for (name,) in names]
        except sqlite3.Error as bad:
            raise SourceError(f"introspection failed: {bad}") from bad

    def ping(self) -> None:
        try:
            with closing(self._open()) as connection:
                connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.Error as bad:
            raise SourceError(f"the file cannot be read: {bad}") from bad

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        views = self._views(cancel)
        compiled = SQLiteCompiler(
            scan, CAPABILITIES, totals=lambda part: _outputs(part.relation, part.is_query, views)
        ).compile()
        return self._run(scan, compiled, cancel)

    def close(self) -> None:
        self._pool.close()

    def _views(self, cancel: Cancel) -> tuple[tuple[str, str], ...]:
        """The file's views as they were created, by name."""
        self._follow()
        with self._pool.lease(cancel) as lease:
            try:
                return tuple(lease.connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view'"))
            except sqlite3.Error as bad:
                raise SourceError(f"the file cannot be read: {bad}") from bad

    def _run(self, scan: NativeScan, compiled: Compiled, cancel: Cancel) -> Generator[pa.RecordBatch]:
        columns = scan.outputs
        cancel.check()
        self._follow()
        with self._pool.lease(cancel) as lease:
            connection = lease.connection
            connection.set_progress_handler(lambda: int(cancel.is_set()), _STEPS)
            try:
                with closing(connection.execute(compiled.sql, compiled.params)) as cursor:
                    while rows := cursor.fetchmany(BATCH_ROWS):
                        cancel.check()
                        yield cells.to_batch(rows, columns, scan.schema, scan.masked)
            except (sqlite3.Error, sqlite3.Warning, OverflowError) as bad:
                if cancel.is_set():
                    raise Cancelled("cancelled") from None
                raise SourceError(f"SQLite: {bad}") from bad
            finally:
                connection.set_progress_handler(None, 0)

    def _follow(self) -> None:
        """Let go of a file that was replaced by another of its name: kept connections still read the old one."""
        now = _identity(self._path)
        if now != self._file:
            self._file = now
            self._pool.drop_free()

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
        )

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = self._open()
            connection.execute("PRAGMA case_sensitive_like = ON")
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            # json_each declares its table when first used, which the authorizer would refuse later.
            connection.execute("SELECT 1 FROM json_each('[]')").fetchall()
        except sqlite3.Error as bad:
            raise SourceError(f"the file cannot be opened: {bad}") from bad
        connection.text_factory = str
        connection.create_function("nfkc", 1, lambda t: _normal("NFKC", t), deterministic=True)
        connection.create_function("nfc", 1, lambda t: _normal("NFC", t), deterministic=True)
        connection.create_function("atoll_bad", 1, _bad_cell, deterministic=False)
        connection.create_function("atoll_whole", 2, _whole, deterministic=True)
        connection.set_authorizer(_authorize)
        return connection


@lru_cache(maxsize=512)
def _outputs(relation: str, is_query: bool, views: tuple[tuple[str, str], ...]) -> Outputs:
    created = {name.lower(): text for name, text in views}

    def definition(_: str, name: str) -> str | None:
        text = created.get(name.lower())
        return None if text is None else _defined(text)

    return outputs(NativeScan(relation, is_query), SqliteSource.dialect, definition)


def _defined(text: str) -> str:
    """The SELECT of a view; "" if it names its columns anew, or cannot be read."""
    try:
        created = sqlglot.parse_one(text, read=SqliteSource.dialect)
    except SqlglotError:
        return ""
    select = created.args.get("expression")
    return "" if select is None or not isinstance(created.this, exp.Table) else select.sql(SqliteSource.dialect)


def _identity(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as bad:
        raise SourceError(f"no SQLite file at {path}") from bad
    return stat.st_dev, stat.st_ino


def _disconnect(connection: sqlite3.Connection) -> None:
    connection.close()


def _normal(form: Literal["NFC", "NFKC"], text: Any) -> Any:
    return unicodedata.normalize(form, text) if isinstance(text, str) else text


def _bad_cell(name: str) -> None:
    raise ValueError(name)


def _whole(high: int | None, low: int | None) -> str | None:
    """A sum of integers, from the sums of their upper and lower 32 bits."""
    return None if high is None or low is None else str((high << 32) + low)


def _authorize(action: int, first: str | None, second: str | None, *_where: str | None) -> int:
    if action in _ACTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


# --- introspection -----------------------------------------------------------------------------------


def _describe(connection: sqlite3.Connection, table: str) -> Table:
    infos = connection.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,))
    columns = tuple(
        SourceColumn(name, _declared(native), native, nullable=not (notnull or pk), key=bool(pk))
        for name, native, notnull, pk in infos.fetchall()
    )
    try:
        quoted = table.replace('"', '""')
        rows = connection.execute(f'SELECT max(_rowid_) FROM "{quoted}"').fetchone()[0]
    except sqlite3.Error:  # a view or a table without rowid
        rows = None
    return Table(table, columns, rows if isinstance(rows, int) else None)


_SIZED = re.compile(r"(?P<name>[A-Z ]+?)\s*(\(\s*(?P<p>\d+)\s*(,\s*(?P<s>\d+)\s*)?\))?\Z")
_DECLARED: dict[str, TrinoType] = {
    "INT": BIGINT, "INTEGER": BIGINT, "BIGINT": BIGINT, "SMALLINT": BIGINT, "TINYINT": BIGINT,
    "REAL": DOUBLE, "DOUBLE": DOUBLE, "DOUBLE PRECISION": DOUBLE, "FLOAT": DOUBLE,
    "TEXT": VARCHAR, "VARCHAR": VARCHAR, "CHAR": VARCHAR, "CLOB": VARCHAR, "NVARCHAR": VARCHAR,
    "DATE": DATE, "DATETIME": TIMESTAMP, "TIMESTAMP": TIMESTAMP,
    "BOOL": BOOLEAN, "BOOLEAN": BOOLEAN, "BLOB": TrinoType("varbinary"),
}  # fmt: skip


def _declared(native: str) -> TrinoType | None:
    """A column's declared SQLite type -> the type to expect of its cells; None if it says too little."""
    found = _SIZED.match(native.strip().upper())
    if not found:
        return None
    if found["name"] in ("DECIMAL", "NUMERIC"):
        precision, scale = int(found["p"] or 0), int(found["s"] or 0)
        return TrinoType("decimal", (precision, scale)) if 0 < precision <= 38 and scale <= precision else None
    return _DECLARED.get(found["name"])
