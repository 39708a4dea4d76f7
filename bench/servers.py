"""The benchmark's database servers, with TPC-H in them: started for one run, stopped after it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
import pymysql

from atoll.demo.databases import Database, find_mariadb, find_postgres, remove_leftovers, start_mariadb, start_postgres
from atoll.demo.processes import Failed, Processes, free_port
from bench.tpch import TABLES, columns, parquet

__all__ = ["Servers", "running_servers"]

INDEXES = {
    "a": [
        "ALTER TABLE orders ADD PRIMARY KEY (o_orderkey)",
        "ALTER TABLE lineitem ADD PRIMARY KEY (l_orderkey, l_linenumber)",
        "CREATE INDEX ON orders (o_custkey)",
        "CREATE INDEX ON lineitem (l_partkey, l_suppkey)",
        "VACUUM ANALYZE",
    ],
    "b": [
        "ALTER TABLE customer ADD PRIMARY KEY (c_custkey), ADD INDEX (c_nationkey)",
        "ALTER TABLE nation ADD PRIMARY KEY (n_nationkey)",
        "ALTER TABLE region ADD PRIMARY KEY (r_regionkey)",
        "ANALYZE TABLE customer, nation, region",
    ],
}


@dataclass(frozen=True)
class Servers:
    """a: PostgreSQL, b: MariaDB (None where it was not asked for), c: the folder of Parquet files."""

    a: Database
    b: Database | None
    c: Path
    processes: Processes


@contextmanager
def running_servers(folder: Path, scale: float, departments: Collection[str] = ("a", "b", "c")) -> Iterator[Servers]:
    """The servers that these departments need, loaded. folder: for logs. Raises Failed where one is not installed."""
    data = parquet(scale)
    postgres, mariadb = find_postgres(), find_mariadb()
    if postgres is None or (mariadb is None and "b" in departments):
        raise Failed("the benchmark needs PostgreSQL and MariaDB: make services")
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[int] = set()
    processes, record = Processes(folder / "logs"), folder / "homes"
    try:
        a = start_postgres(postgres, processes, free_port(taken), "tpch", record)
        b = None
        _load_postgres(a, data, folder)
        if mariadb is not None and "b" in departments:
            b = start_mariadb(mariadb, processes, free_port(taken), "tpch", record)
            _load_mariadb(b, data, folder)
        yield Servers(a, b, data, processes)
    finally:
        processes.stop()
        remove_leftovers(record)


def _csv(data: Path, table: str, folder: Path) -> Path:
    file = folder / f"{table}.csv"
    duckdb.sql(f"COPY (FROM '{data}/{table}.parquet') TO '{file}' (FORMAT csv, HEADER false)")
    return file


def _create(data: Path, table: str, text: str) -> str:
    kinds = {"varchar": text}
    listed = ", ".join(f"{n} {kinds.get(k, k)} NOT NULL" for n, k in columns(data, table).items())
    return f"CREATE TABLE {table} ({listed})"


def _load_postgres(server: Database, data: Path, folder: Path) -> None:
    with psycopg.connect(server.owner, autocommit=True) as db:
        for table in (t for t, home in TABLES.items() if home == "a"):
            db.execute(_create(data, table, "varchar").encode())
            file = _csv(data, table, folder)
            command = f"COPY {table} FROM STDIN (FORMAT csv)".encode()
            with file.open("rb") as rows, db.cursor() as cursor, cursor.copy(command) as copy:
                while block := rows.read(1 << 20):
                    copy.write(block)
            file.unlink()
        for statement in INDEXES["a"]:
            db.execute(statement.encode())


def _load_mariadb(server: Database, data: Path, folder: Path) -> None:
    with pymysql.connect(**server.owner, local_infile=True) as db, db.cursor() as cursor:
        for table in (t for t, home in TABLES.items() if home == "b"):
            cursor.execute(_create(data, table, "varchar(152) COLLATE utf8mb4_bin"))
            file = _csv(data, table, folder)
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} "
                "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\n'"
            )
            file.unlink()
        db.commit()
        for statement in INDEXES["b"]:
            cursor.execute(statement)
