"""Each kind of source, filled with the same table: `fill(kind, ...)` makes the silo and opens its Source."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql
import pytest

from catalog.types import TrinoType
from connectors.base import Source
from connectors.sources import open_source, parse_source
from tests.conformance.data import ROWS, TYPES, Row
from tests.conformance.register import Register

KINDS = ("sqlite", "postgres", "mysql", "parquet", "csv", "rest")
NULL = "\\N"


@dataclass
class Silo:
    """A filled silo. activity: texts of the statements that its server runs now (servers only)."""

    kind: str
    source: Source
    config: dict[str, Any]
    folder: Path
    stack: ExitStack
    activity: Callable[[], list[str]] = field(default=list)

    def another(self, **changes: Any) -> Source:
        """A second Source over the same silo, with some settings changed; closed with the silo."""
        private = self.folder / f"private-{len(list(self.folder.iterdir()))}"
        source = open_source(parse_source({**self.config, **changes}), self.folder, private)
        self.stack.callback(source.close)
        return source


@contextmanager
def fill(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Silo]:
    """A silo of this kind that holds `awkward`, open until the block ends."""
    with ExitStack() as stack:
        config, activity = _MAKERS[kind](folder, request, stack)
        source = open_source(parse_source(config), folder, folder / "private")
        stack.callback(source.close)
        yield Silo(kind, source, config, folder, stack, activity)


Made = tuple[dict[str, Any], Callable[[], list[str]]]


def plain(value: Any) -> Any:
    """A value as SQLite and text files keep it: decimals, dates and timestamps are text."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    return value.isoformat() if isinstance(value, date) else value


def _quoted(name: str, quote: str = '"') -> str:
    return quote + name.replace(quote, quote * 2) + quote


def _create(types: dict[str, TrinoType], spell: Callable[[TrinoType], str], quote: str = '"') -> str:
    return ", ".join(f"{_quoted(name, quote)} {spell(type_)}" for name, type_ in types.items())


def _sqlite_type(type_: TrinoType) -> str:
    if type_.is_integer:
        return "INTEGER"
    return {"double": "REAL", "boolean": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP"}.get(type_.name, "TEXT")


def _make_sqlite(folder: Path, request: pytest.FixtureRequest, stack: ExitStack) -> Made:
    with closing(sqlite3.connect(folder / "silo.db")) as connection:
        connection.execute(f"CREATE TABLE awkward ({_create(TYPES, _sqlite_type)})")
        marks = ", ".join("?" * len(TYPES))
        connection.executemany(f"INSERT INTO awkward VALUES ({marks})", [[plain(v) for v in row] for row in ROWS])
        connection.commit()
    return {"kind": "sqlite", "path": "silo.db"}, list


def _postgres_type(type_: TrinoType) -> str:
    return {"double": "double precision", "varchar": "text"}.get(type_.name, str(type_))


def _make_postgres(folder: Path, request: pytest.FixtureRequest, stack: ExitStack) -> Made:
    server = request.getfixturevalue("postgres")
    database = request.getfixturevalue("postgres_database")
    connection = stack.enter_context(psycopg.connect(server.dsn(database), autocommit=True))
    connection.execute(f"CREATE TABLE awkward ({_create(TYPES, _postgres_type)})")
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(TYPES))
        cursor.executemany(f"INSERT INTO awkward VALUES ({marks})", ROWS)
    config = {"kind": "postgres", "port": server.port, "database": database, "user": server.user}

    def activity() -> list[str]:
        found = connection.execute(
            "SELECT query FROM pg_stat_activity WHERE state = 'active' AND application_name = 'atoll'"
        )
        return [text for (text,) in found.fetchall()]

    return config, activity


def _mariadb_type(type_: TrinoType) -> str:
    if type_.name == "varchar":
        return "varchar(200)"
    if type_.name == "timestamp":
        return f"datetime({type_.args[0]})"
    return "tinyint(1)" if type_.name == "boolean" else str(type_)


def _make_mysql(folder: Path, request: pytest.FixtureRequest, stack: ExitStack) -> Made:
    server = request.getfixturevalue("mariadb")
    database = request.getfixturevalue("mariadb_database")
    connection = pymysql.connect(**server.settings(), database=database, autocommit=True)
    stack.callback(connection.close)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE awkward ({_create(TYPES, _mariadb_type, '`')}, KEY (`t`))")
        marks = ", ".join(["%s"] * len(TYPES))
        cursor.executemany(f"INSERT INTO awkward VALUES ({marks})", ROWS)
    config = {"kind": "mysql", "port": server.port, "database": database, "user": server.user}

    def activity() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT info FROM information_schema.processlist WHERE command = 'Query' AND id <> connection_id()"
            )
            return [text or "" for (text,) in cursor.fetchall()]

    return config, activity


def arrow_table(rows: Sequence[Row]) -> pa.Table:
    """The rows as an Arrow table of exactly `TYPES`."""
    schema = pa.schema([pa.field(name, type_.arrow()) for name, type_ in TYPES.items()])
    arrays = [pa.array(values, f.type) for values, f in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.table(arrays, schema=schema)


def _make_parquet(folder: Path, request: pytest.FixtureRequest, stack: ExitStack) -> Made:
    (folder / "data").mkdir()
    half = len(ROWS) // 2
    pq.write_table(arrow_table(ROWS[:half]), folder / "data" / "a.parquet")
    pq.write_table(arrow_table(ROWS[half:]), folder / "data" / "b.parquet")
    return {
        "kind": "files",
        "path": "data",
        "tables": {"awkward": {"format": "parquet", "glob": "*.parquet"}},
    }, list


def _make_csv(folder: Path, request: pytest.FixtureRequest, stack: ExitStack) -> Made:
    (folder / "data").mkdir()
    with (folder / "data" / "awkward.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(TYPES)
        writer.writerows([[NULL if v is None else plain(v) for v in row] for row in ROWS])
    table = {
        "columns": {name: str(type_) for name, type_ in TYPES.items()},
        "missing": {"*": [NULL]},
        "layouts": [{"glob": "*.csv", "format": "csv"}],
    }
    return {"kind": "files", "path": "data", "tables": {"awkward": table}}, list


def _json_value(value: Any) -> Any:
    return value if isinstance(value, bool) else plain(value)


def _make_rest(folder: Path, request: pytest.FixtureRequest, stack: ExitStack) -> Made:
    documents = [{name: _json_value(v) for name, v in zip(TYPES, row, strict=True)} for row in ROWS]
    register = stack.enter_context(Register({"awkward": json.loads(json.dumps(documents))}, page=100))
    table = {
        "path": "awkward",
        "items": "items",
        "next": "next",
        "columns": {name: {"path": name, "type": str(type_)} for name, type_ in TYPES.items()},
    }
    return {"kind": "rest", "url": register.url, "rate": 1000, "tables": {"awkward": table}}, list


_MAKERS: dict[str, Callable[[Path, pytest.FixtureRequest, ExitStack], Made]] = {
    "sqlite": _make_sqlite,
    "postgres": _make_postgres,
    "mysql": _make_mysql,
    "parquet": _make_parquet,
    "csv": _make_csv,
    "rest": _make_rest,
}
