"""A city's departments without agents: their relations through the connectors, into one DuckDB.

What the owner views give is read exactly as an agent would read it; city tables and questions, transpiled,
then run over the pooled relations. The gateway's own way to the same rows is tests of its own.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
import uvicorn
from sqlglot import exp

from atoll.city.departments import install
from atoll.city.register import create_app
from catalog import duck, policy
from catalog.names import RelationName
from catalog.standards import city_tables
from catalog.types import TrinoType
from connectors.base import Cancel, NativeScan, OutputColumn, Source
from connectors.sources import open_source, parse_source

QUESTIONS = Path(__file__).parent / "questions"
EMBEDDED = {
    "water": {"path": "../silos/water/water.db"},
    "market": {"path": "../silos/market/market.db"},
    "health": {"path": "../silos/health/health.db"},
    "environment": {"path": "../silos/environment"},
    "housing": {"path": "../silos/housing"},
}
"""Where a generated city has them, from a folder beside `silos`."""


class Silo:
    """One department's source behind its department.yaml."""

    def __init__(self, name: str, folder: Path, source: Mapping[str, Any], years: list[int]) -> None:
        path = install(name, folder, source=source, years=years)
        self.name = name
        self.department = policy.load(path)
        config = parse_source(self.department.sources["main"])
        self._source: Source = open_source(config, folder, folder / "private")
        self._views = folder / "views"

    def relation(self, name: str) -> pa.Table:
        """All rows of a relation, in its declared types."""
        spec = self.department.relations[name]
        view = self._views / f"{spec.view}.{self._source.kind}.sql"
        types = {column: c.type for column, c in spec.columns.items()}
        scan = NativeScan(
            relation=view.read_text(encoding="utf-8") if spec.view else spec.table,
            is_query=bool(spec.view),
            types=types,
            columns=tuple(OutputColumn(c, t, c) for c, t in types.items()),
        )
        return pa.Table.from_batches(self._source.scan(scan, Cancel()), scan.schema)

    def close(self) -> None:
        self._source.close()


@contextmanager
def open_silo(name: str, folder: Path, source: Mapping[str, Any], years: list[int]) -> Iterator[Silo]:
    silo = Silo(name, folder, source, years)
    try:
        yield silo
    finally:
        silo.close()


class Pool:
    """All departments' relations in one DuckDB, and Trino statements over them, in Trino's meaning and types."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:")
        duck.prepare(self.connection)
        self._tables: dict[str, duck.Table] = {}

    def add(self, silo: Silo) -> None:
        for name, spec in silo.department.relations.items():
            types = {column: c.type for column, c in spec.columns.items()}
            self.put(f"{silo.name}.main.{name}", silo.relation(name), types)

    def put(self, name: str, table: pa.Table, types: dict[str, TrinoType]) -> None:
        """A relation by its full name; an older one is replaced."""
        self.connection.register("arriving", table)
        self.connection.execute(f'CREATE OR REPLACE TABLE "{name}" AS FROM arriving')
        self.connection.unregister("arriving")
        self._tables[name] = duck.Table(name, types)

    def compile(self, sql: str) -> duck.Compiled:
        """DuckDB text of a Trino statement over relations and city tables."""
        return duck.compile_query(with_city_tables(sqlglot.parse_one(sql, read="trino")), self._tables)

    def ask(self, sql: str) -> list[list[Any]]:
        """Rows, cells as an answer file has them."""
        return [[plain(cell) for cell in row] for row in self.connection.execute(self.compile(sql).sql).fetchall()]

    def close(self) -> None:
        self.connection.close()


@contextmanager
def serving_register(city: Path) -> Iterator[str]:
    """The chemicals register of a city on a free port of loopback; gives the URL of its collections."""
    server = uvicorn.Server(uvicorn.Config(create_app(city, rate=1000), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        if not thread.is_alive():
            raise RuntimeError("the register did not start")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v2/"
    finally:
        server.should_exit = True
        thread.join()


def with_city_tables(query: exp.Expr) -> exp.Expr:
    """Replace every city table by its SELECT as a derived table."""
    for table in list(query.find_all(exp.Table)):
        if table.catalog == "city":
            city = city_tables()[RelationName("city", table.db, table.name)]
            derived = sqlglot.parse_one(city.sql, read="trino")
            table.replace(exp.Subquery(this=derived, alias=exp.TableAlias(this=exp.to_identifier(table.alias_or_name))))
    return query


def question(name: str) -> str:
    return (QUESTIONS / f"{name}.sql").read_text(encoding="utf-8")


def plain(value: Any) -> Any:
    """A cell as it stands in an answer: decimals and dates as text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
