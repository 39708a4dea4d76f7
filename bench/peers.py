"""The peers on the same servers: a real Trino with three catalogs, and DuckDB with the databases attached.

Trino reads PostgreSQL and MariaDB by its connectors and the Parquet files by its hive connector (file metastore,
tables analysed). DuckDB 1.5 runs in a process of its own, over the same servers and, as `local`, over copies of
everything: what no federation can beat.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from atoll.demo.processes import free_port
from bench.protocol.peers import CACHE as ARCHIVES
from bench.protocol.peers import VERSION, Missing, java_for_trino
from bench.protocol.wire import Wire, headers, read
from bench.servers import Servers
from bench.tpch import CACHE, TABLES, columns, peer

__all__ = ["Attached", "Missing", "running_attached", "running_trino"]

HOME = CACHE / f"trino-{VERSION}"
PLUGINS = ("postgresql", "mysql", "hive", "memory", "geospatial")
START_SECONDS = 240
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
HIVE_TYPES = {"decimal": "decimal", "varchar": "varchar"}


# -- Trino ---------------------------------------------------------------------------------------------


def _unpacked() -> Path:
    """The server with the plugins of this benchmark, fetched once with Maven. Raises Missing."""
    if all((HOME / "plugin" / p).is_dir() for p in PLUGINS):
        return HOME
    archive = ARCHIVES / f"trino-server-{VERSION}.tar.gz"
    if not archive.is_file():
        if shutil.which("mvn") is None:
            raise Missing("Trino's server comes by Maven: install the package `maven`")
        print(f"Fetching Trino {VERSION}, 800 MB ...", flush=True)
        artifact = f"-Dartifact=io.trino:trino-server:{VERSION}:tar.gz"
        command = ["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={ARCHIVES}"]
        subprocess.run([*command, "-Dmdep.useBaseVersion=true"], check=True)
    wanted = ("bin/", "lib/", *(f"plugin/{p}/" for p in PLUGINS))
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        with tarfile.open(archive) as packed:
            for member in packed:
                if member.name.partition("/")[2].startswith(wanted):
                    packed.extract(member, folder, filter="data")
        shutil.rmtree(HOME, ignore_errors=True)
        (Path(folder) / f"trino-server-{VERSION}").rename(HOME)
    return HOME


@contextmanager
def running_trino(folder: Path, servers: Servers) -> Iterator[str]:
    """A coordinator that is its own worker; its address. Catalogs a, b and c, as TABLES says. Raises Missing."""
    java, home = java_for_trino(), _unpacked()
    port = free_port(set())
    etc, warehouse = folder / "trino" / "etc", folder / "trino" / "warehouse"
    (etc / "catalog").mkdir(parents=True)
    _copy_files(servers, warehouse)
    (etc / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\n"
        f"http-server.http.port={port}\nnode.internal-address=127.0.0.1\n"
        f"discovery.uri=http://127.0.0.1:{port}\ncatalog.config-dir={etc}/catalog\nplugin.dir={home}/plugin\n"
        f"http-server.log.path={folder}/trino/http-request.log\n"
    )
    for name, text in _catalogs(servers, warehouse).items():
        file = etc / "catalog" / f"{name}.properties"
        file.touch(mode=0o600)
        file.write_text(text)
    (etc / "log.properties").write_text("io.trino=WARN\n")
    options = [
        "-Xmx4G", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-XX:ReservedCodeCacheSize=512M",
        "-Djdk.attach.allowAttachSelf=true", "--add-modules=jdk.incubator.vector", "-Dfile.encoding=UTF-8",
        f"-Dconfig={etc}/config.properties", f"-Dlog.levels-file={etc}/log.properties",
        "-Dnode.environment=bench", "-Dnode.id=bench", f"-Dnode.data-dir={folder}/trino/data",
    ]  # fmt: skip
    command = [str(java), *options, "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer"]
    log = folder / "trino.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        _await(process, url, log)
        _declare_files(url, servers)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _catalogs(servers: Servers, warehouse: Path) -> dict[str, str]:
    if servers.b is None:
        raise Missing("this benchmark needs MariaDB: make services")
    a, b = servers.a.source, servers.b.source
    return {
        "a": "connector.name=postgresql\n"
        f"connection-url=jdbc:postgresql://{a['host']}:{a['port']}/{a['database']}\n"
        f"connection-user={a['user']}\nconnection-password={servers.a.password}\n",
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
        read(wire, f"ANALYZE c.main.{table}", asked)
    wire.close()


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _started(url):
            return
        time.sleep(0.2)
    raise Missing("Trino did not start:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-12:]))


def _started(url: str) -> bool:
    try:
        with NO_PROXY.open(f"{url}/v1/info", timeout=5) as answer:
            return json.loads(answer.read()).get("starting") is False
    except OSError:
        return False


# -- DuckDB --------------------------------------------------------------------------------------------

WORKER = """
import json, pathlib, sys, time, duckdb, duckdb_extension_postgres_scanner, duckdb_extension_mysql_scanner
setup = json.loads(sys.stdin.readline())
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for package in (duckdb_extension_postgres_scanner, duckdb_extension_mysql_scanner):
    file = next(pathlib.Path(package.__file__).parent.rglob("*.duckdb_extension"))
    db.execute(f"LOAD '{file}'")
for statement in setup:
    db.execute(statement)
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    found = db.execute(json.loads(line)).to_arrow_table()
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, [[str(v) for v in row.values()] for row in found.to_pylist()]]), flush=True)
"""


class Attached:
    """DuckDB 1.5.5 in a process of its own. `ask` gives seconds and rows, all values as text."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, sql: str) -> tuple[float, list[list[str]]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(sql) + "\n")
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
