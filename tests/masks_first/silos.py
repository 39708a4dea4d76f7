"""Any table of rows in each kind of silo, and an agent over it: `open_department(kind, ...)`.

The spelling of types and values is the conformance suite's; here are more than one table and bulk loads.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql
import pytest

from catalog.errors import CityError
from catalog.exchange import EndRecord, Fragment, encode_keys, key_fields
from catalog.identity import Principal
from catalog.types import TrinoType
from connectors.agent.service import Agent
from connectors.agent.vault import Vault
from tests.agent.house import House, read_answer
from tests.conformance.register import Register
from tests.conformance.silos import NULL, _create, _mariadb_type, _postgres_type, _sqlite_type, plain
from tests.masks_first.people import HIERARCHY, PURPOSE, KnownTokens

__all__ = ["KINDS", "STATEMENT_KINDS", "Data", "Department", "open_department"]

KINDS = ("sqlite", "postgres", "mariadb", "files", "rest")
STATEMENT_KINDS = [k if k in ("sqlite", "files") else pytest.param(k, marks=pytest.mark.servers) for k in KINDS[:4]]
"""Those whose owner writes views in SQL of the silo's own, as parameters of a test."""
Data = Mapping[str, tuple[Mapping[str, TrinoType], Sequence[Sequence[Any]]]]
"""Table name -> (columns, rows)."""


@dataclass
class Answer:
    """A decoded answer; the chunks of `table` are the batches as they came."""

    table: pa.Table
    end: EndRecord

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return list(zip(*[c.to_pylist() for c in self.table.columns], strict=True))


class Department:
    """One agent over a kind of silo, asked as one user under one purpose. `ask` raises the CityError of a refusal."""

    def __init__(self, kind: str, house: House, agent: Agent, purpose: str) -> None:
        self.kind, self.house, self.agent, self.purpose = kind, house, agent, purpose
        self._numbers = itertools.count()

    def principal(self, purpose: str = "") -> Principal:
        purpose = purpose or self.purpose
        return Principal("lin", purpose, (purpose,), "jti", 2**40)

    def ask(self, sql: str, purpose: str = "", keys: pa.Array | None = None, sets: Sequence[pa.Array] = ()) -> Answer:
        parts = [encode_keys(k) for k in (*sets, keys) if k is not None]
        fragment = Fragment(query_id="q", fragment_id=f"f{next(self._numbers)}", sql=sql, **key_fields(parts))
        run = self.agent.start(self.principal(purpose), fragment)
        try:
            run.prepare()
            table, end = read_answer(b"".join(run.frames()))
        finally:
            self.agent.finish(run)
        if end.error is not None:
            raise CityError.from_dict(end.error)
        return Answer(table, end)

    def as_owner(self, *statements: str) -> None:
        """Run statements in the silo itself, a SQLite file or a server, with its owner's rights."""
        silo: Any = _OWNERS[self.kind](self.house.folder, self.agent.department.sources["main"])
        with closing(silo) as connection:
            for statement in statements:
                connection.cursor().execute(statement)
            connection.commit()

    def refusal(self, sql: str, purpose: str = "") -> CityError:
        try:
            answer = self.ask(sql, purpose)
        except CityError as refused:
            return refused
        raise AssertionError(f"answered {answer.table.num_rows} rows: {sql}")


@contextmanager
def open_department(
    kind: str, folder: Path, request: pytest.FixtureRequest, data: Data, policy: Mapping[str, Any]
) -> Iterator[Department]:
    """A silo of this kind that holds `data`, and the agent of `policy` over it as source `main`."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        config = _MAKERS[kind](folder, request, stack, data)
        lines = [",".join([code, *ancestors]) for code, ancestors in HIERARCHY.items()]
        (folder / "icd.csv").write_text("\n".join(lines))
        house = House(folder, {**policy, "sources": {"main": config}}, {})
        if "token" in json.dumps(policy["grants"]):
            _fill_vault(house, data)
        agent = house.open()
        stack.callback(agent.close)
        yield Department(kind, house, agent, PURPOSE)


def _fill_vault(house: House, data: Data) -> None:
    """Give the agent the tokens that the copies have: its own would be random."""
    state = house.folder / "state"
    state.mkdir(mode=0o700)
    texts = {str(v) for _, rows in data.values() for row in rows for v in row if isinstance(v, (str, int))}
    Vault(state / "vault.db", "dept").close()
    with closing(sqlite3.connect(state / "vault.db")) as vault, vault:
        tokens = KnownTokens().tokens(texts)
        vault.executemany("INSERT INTO tokens VALUES (?, ?, ?, '')", [(t, PURPOSE, v) for v, t in tokens.items()])


def _sqlite(folder: Path, request: pytest.FixtureRequest, stack: ExitStack, data: Data) -> dict[str, Any]:
    with closing(sqlite3.connect(folder / "data.sqlite")) as connection:
        for name, (types, rows) in data.items():
            connection.execute(f'CREATE TABLE "{name}" ({_create(dict(types), _sqlite_type)})')
            marks = ", ".join("?" * len(types))
            connection.executemany(f'INSERT INTO "{name}" VALUES ({marks})', ([plain(v) for v in r] for r in rows))
        connection.commit()
    return {"kind": "sqlite", "path": "data.sqlite"}


def _postgres(folder: Path, request: pytest.FixtureRequest, stack: ExitStack, data: Data) -> dict[str, Any]:
    server = request.getfixturevalue("postgres")
    database = f"masks_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        for name, (types, rows) in data.items():
            connection.execute(f'CREATE TABLE "{name}" ({_create(dict(types), _postgres_type)})')
            with connection.cursor() as cursor, cursor.copy(f'COPY "{name}" FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(row)
            connection.execute(f'ANALYZE "{name}"')
    return {"kind": "postgres", "port": server.port, "database": database, "user": server.user}


def _mariadb(folder: Path, request: pytest.FixtureRequest, stack: ExitStack, data: Data) -> dict[str, Any]:
    server = request.getfixturevalue("mariadb")
    database = f"masks_{uuid.uuid4().hex[:8]}"
    with closing(pymysql.connect(**server.settings(), autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE `{database}`")
        cursor.execute(f"USE `{database}`")
        for name, (types, rows) in data.items():
            cursor.execute(f"CREATE TABLE `{name}` ({_create(dict(types), _mariadb_type, '`')})")
            cursor.executemany(f"INSERT INTO `{name}` VALUES ({', '.join(['%s'] * len(types))})", list(rows))
    return {"kind": "mysql", "port": server.port, "database": database, "user": server.user}


def _files(folder: Path, request: pytest.FixtureRequest, stack: ExitStack, data: Data) -> dict[str, Any]:
    """The first table is CSV if it is small, all others Parquet, in two files each."""
    (folder / "data").mkdir()
    tables: dict[str, Any] = {}
    for name, (types, rows) in data.items():
        if not tables and len(rows) < 1000:
            tables[name] = _csv(folder / "data" / f"{name}.csv", types, rows)
            continue
        half = len(rows) // 2
        for part, some in enumerate((rows[:half], rows[half:])):
            pq.write_table(arrow_table(types, some), folder / "data" / f"{name}-{part}.parquet")
        tables[name] = {"format": "parquet", "glob": f"{name}-*.parquet"}
    return {"kind": "files", "path": "data", "tables": tables}


def _csv(path: Path, types: Mapping[str, TrinoType], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(types)
    writer.writerows([NULL if v is None else plain(v) for v in row] for row in rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return {
        "columns": {name: str(type_) for name, type_ in types.items()},
        "missing": {"*": [NULL]},
        "layouts": [{"glob": path.name, "format": "csv"}],
    }


def arrow_table(types: Mapping[str, TrinoType], rows: Sequence[Sequence[Any]]) -> pa.Table:
    schema = pa.schema([pa.field(name, type_.arrow()) for name, type_ in types.items()])
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pa.table([pa.array(v, f.type) for v, f in zip(columns, schema, strict=True)], schema=schema)


def _rest(folder: Path, request: pytest.FixtureRequest, stack: ExitStack, data: Data) -> dict[str, Any]:
    collections = {
        name: [{n: _json(v) for n, v in zip(types, row, strict=True)} for row in rows]
        for name, (types, rows) in data.items()
    }
    register = stack.enter_context(Register(json.loads(json.dumps(collections)), page=200))
    tables = {
        name: {
            "path": name, "items": "items", "next": "next",
            "columns": {n: {"path": n, "type": str(t)} for n, t in types.items()},
        }
        for name, (types, _) in data.items()
    }  # fmt: skip
    return {"kind": "rest", "url": register.url, "rate": 1000, "tables": tables}


def _json(value: Any) -> Any:
    return value if isinstance(value, bool) else plain(value)


_MAKERS: dict[str, Callable[[Path, pytest.FixtureRequest, ExitStack, Data], dict[str, Any]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "mariadb": _mariadb,
    "files": _files,
    "rest": _rest,
}
_OWNERS: dict[str, Callable[[Path, Mapping[str, Any]], Any]] = {
    "sqlite": lambda folder, source: sqlite3.connect(folder / source["path"]),
    "postgres": lambda _, source: psycopg.connect(
        host="127.0.0.1", port=source["port"], dbname=source["database"], user=source["user"]
    ),
    "mariadb": lambda _, source: pymysql.connect(
        host="127.0.0.1", port=source["port"], database=source["database"], user=source["user"]
    ),
}
