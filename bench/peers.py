"""The peers on the same servers: a real Trino with three catalogs, and DuckDB with the databases attached.

Trino reads PostgreSQL and MariaDB by its connectors and the Parquet files by its hive connector (file metastore,
tables analysed). DuckDB 1.5 runs in a process of its own, over the same servers and, as `local`, over copies of
everything: what no federation can beat.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from bench.protocol.wire import Wire, headers, read
from bench.servers import Servers
from bench.tpch import TABLES, columns, peer
from bench.trino import Missing, running_server

__all__ = ["Attached", "Missing", "postgres_catalog", "running_attached", "running_trino"]


# -- Trino ---------------------------------------------------------------------------------------------


@contextmanager
def running_trino(folder: Path, servers: Servers) -> Iterator[str]:
    """The address of a Trino with the catalogs a, b and c, as TABLES says. Raises Missing."""
    warehouse = folder / "trino" / "warehouse"
    _copy_files(servers, warehouse)
    with running_server(folder, _catalogs(servers, warehouse), "4G") as url:
        _declare_files(url, servers)
        yield url


def postgres_catalog(servers: Servers) -> str:
    """Properties of Trino's connector to the benchmark's PostgreSQL."""
    a = servers.a.source
    return (
        "connector.name=postgresql\n"
        f"connection-url=jdbc:postgresql://{a['host']}:{a['port']}/{a['database']}\n"
        f"connection-user={a['user']}\nconnection-password={servers.a.password}\n"
    )


def _catalogs(servers: Servers, warehouse: Path) -> dict[str, str]:
    if servers.b is None:
        raise Missing("this benchmark needs MariaDB: make services")
    b = servers.b.source
    return {
        "a": postgres_catalog(servers),
        # Trino's MariaDB connector leaves more to Trino than its MySQL connector, which speaks to MariaDB as well.
        "b": "connector.name=mysql\n"
        f"connection-url=jdbc:mysql://{b['host']}:{b['port']}?sslMode=DISABLED&allowPublicKeyRetrieval=true\n"
        f"connection-user={b['user']}\nconnection-password={servers.b.password}\n",
        "c": "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=local:///metastore\n"
        f"fs.native-local.enabled=true\nlocal.location={warehouse}\n",
    }


def _copy_files(servers: Servers, warehouse: Path) -> None:
    (warehouse / "metastore").mkdir(parents=True)
    for table in (t for t, home in TABLES.items() if home == "c"):
        (warehouse / "data" / table).mkdir(parents=True)
        shutil.copy(servers.c / f"{table}.parquet", warehouse / "data" / table)


def _declare_files(url: str, servers: Servers) -> None:
    wire = Wire(url)
    asked = headers()
    read(wire, "CREATE SCHEMA c.main", asked)
    for table in (t for t, home in TABLES.items() if home == "c"):
        listed = ", ".join(f"{n} {k}" for n, k in columns(servers.c, table).items())
        place = f"format = 'PARQUET', external_location = 'local:///data/{table}'"
        read(wire, f"CREATE TABLE c.main.{table} ({listed}) WITH ({place})", asked)
        _once_there_is_a_node(partial(read, wire, f"ANALYZE c.main.{table}", asked))
    wire.close()


def _once_there_is_a_node(ask: Callable[[], object]) -> None:
    """A server whose machine stood still for a moment has lost its only node, itself, and finds it again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            ask()
            return
        except RuntimeError as refused:
            if "No nodes available" not in str(refused) or time.monotonic() > deadline:
                raise
            time.sleep(1)


# -- DuckDB --------------------------------------------------------------------------------------------

WORKER = """
import json, pathlib, sys, time, duckdb, duckdb_extension_postgres_scanner, duckdb_extension_mysql_scanner
setup = json.loads(sys.stdin.readline())
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
db.execute("SET enable_progress_bar = false")  # it would go between the answers
for package in (duckdb_extension_postgres_scanner, duckdb_extension_mysql_scanner):
    file = next(pathlib.Path(package.__file__).parent.rglob("*.duckdb_extension"))
    db.execute(f"LOAD '{file}'")
for statement in setup:
    db.execute(statement)
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    sql, wanted = json.loads(line)
    started = time.perf_counter()
    found = db.execute(sql).to_arrow_table()
    seconds = time.perf_counter() - started
    rows = [[str(v) for v in row.values()] for row in found.to_pylist()] if wanted else []
    print(json.dumps([seconds, rows]), flush=True)
"""


class Attached:
    """DuckDB 1.5.5 in a process of its own. `ask` gives seconds and rows, all values as text."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, sql: str, wanted: bool = True) -> tuple[float, list[list[str]]]:
        """wanted: the rows too; they are not part of the seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([sql, wanted]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"DuckDB ended at: {sql[:200]}")
        seconds, rows = json.loads(answer)
        return float(seconds), rows


@contextmanager
def running_attached(servers: Servers) -> Iterator[Attached]:
    """Catalogs a and b are the servers, c.main views over the files, and `local` holds copies of all tables."""
    if servers.b is None:
        raise Missing("this benchmark needs MariaDB: make services")
    a = conninfo_to_dict(servers.a.owner)
    b = servers.b.owner
    setup = [
        f"ATTACH 'host=127.0.0.1 port={a['port']} user={a['user']} password={a['password']} dbname={a['dbname']}' "
        "AS a (TYPE postgres, READ_ONLY)",
        f"ATTACH 'host=127.0.0.1 port={b['port']} user={b['user']} password={b['password']} database={b['database']}' "
        "AS b (TYPE mysql, READ_ONLY)",
        "ATTACH ':memory:' AS c",
        "ATTACH ':memory:' AS local",
    ]
    for table, home in TABLES.items():
        if home == "c":
            setup.append(f"CREATE VIEW c.main.{table} AS FROM '{servers.c}/{table}.parquet'")
        setup.append(f"CREATE TABLE local.main.{table} AS FROM '{servers.c}/{table}.parquet'")
    process = subprocess.Popen([peer(), "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(setup) + "\n")
        process.stdin.flush()
        if json.loads(process.stdout.readline() or '""') != "ready":
            raise Missing("DuckDB 1.5.5 with its scanners did not start")
        yield Attached(process)
    finally:
        process.stdin.close()
        process.wait(30)
