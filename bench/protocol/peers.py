"""What is measured side by side: a real Trino 476, atoll, and the null server, each in processes of its own.

Trino and atoll export the same table out of the same PostgreSQL, both as the user who may only read. atoll has a
department before it, as anybody has: an agent with its policy, tokens, ledgers, receipts and TLS.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atoll.demo.processes import Failed, free_port
from bench.house import running_house
from bench.servers import Servers, running_servers

__all__ = ["ATOLL", "TRINO", "Missing", "java_for_trino", "running_atoll", "running_null", "running_source",
           "running_trino", "unpacked"]  # fmt: skip

ATOLL, TRINO = "a.main", "a.public"
"""Where either finds the table."""

VERSION = "476"
LEAST_JAVA = 24
CACHE = Path(__file__).parents[2] / ".cache" / "trino-server"
HOME = CACHE / f"trino-server-{VERSION}"
WANTED = ("bin/", "lib/", "plugin/memory/", "plugin/postgresql/", "plugin/geospatial/")
"""What of Trino's archive is unpacked: the engine and two connectors, one of which needs the types of geospatial."""
START_SECONDS = 180
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Missing(Exception):
    """The machine lacks something; the message says how to get it."""


def java_for_trino() -> Path:
    """A Java that Trino 476 runs on: JAVA25_HOME's, or the newest below /usr/lib/jvm. Raises Missing."""
    homes = [Path(os.environ["JAVA25_HOME"])] if "JAVA25_HOME" in os.environ else []
    homes += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    for home in homes:
        java = home / "bin" / "java"
        if java.exists() and not home.is_symlink():
            done = subprocess.run([java, "-version"], stderr=subprocess.PIPE, text=True, check=False)
            found = re.search(r'version "(\d+)', done.stderr)
            if found and int(found[1]) >= LEAST_JAVA:
                return java
    raise Missing(f"Trino {VERSION} needs Java {LEAST_JAVA} or newer: install a JDK 25, or set JAVA25_HOME")


def unpacked() -> Path:
    """Trino's server, fetched once with Maven."""
    if all((HOME / part).is_dir() for part in WANTED):
        return HOME
    if shutil.which("mvn") is None:
        raise Missing("Trino's server comes by Maven: install the package `maven`")
    archive = CACHE / f"trino-server-{VERSION}.tar.gz"
    if not archive.is_file():
        print(f"Fetching Trino {VERSION}, 800 MB ...", flush=True)
        artifact = f"-Dartifact=io.trino:trino-server:{VERSION}:tar.gz"
        command = ["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={CACHE}"]
        subprocess.run([*command, "-Dmdep.useBaseVersion=true"], check=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        with tarfile.open(archive) as packed:
            for member in packed:
                if member.name.partition("/")[2].startswith(WANTED):
                    packed.extract(member, folder, filter="data")
        shutil.rmtree(HOME, ignore_errors=True)
        (Path(folder) / HOME.name).rename(HOME)
    return HOME


@contextmanager
def running_source(folder: Path, scale: float) -> Iterator[Servers]:
    """PostgreSQL with TPC-H's orders and lineitem in it. Raises Missing."""
    try:
        with running_servers(folder / "servers", scale, ("a",)) as servers:
            yield servers
    except Failed as failed:
        raise Missing(str(failed)) from failed


@contextmanager
def running_trino(folder: Path, servers: Servers) -> Iterator[str]:
    """A coordinator that is its own worker; its address. Its catalog `a` is PostgreSQL. Raises Missing."""
    java, home = java_for_trino(), unpacked()
    port = free_port(set())
    etc = folder / "trino" / "etc"
    (etc / "catalog").mkdir(parents=True)
    (etc / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\n"
        f"http-server.http.port={port}\nnode.internal-address=127.0.0.1\n"
        f"discovery.uri=http://127.0.0.1:{port}\ncatalog.config-dir={etc}/catalog\nplugin.dir={home}/plugin\n"
        f"http-server.log.path={folder}/trino/http-request.log\n"
    )
    (etc / "catalog" / "memory.properties").write_text("connector.name=memory\n")
    source = servers.a.source
    catalog = etc / "catalog" / "a.properties"
    catalog.touch(mode=0o600)
    catalog.write_text(
        "connector.name=postgresql\n"
        f"connection-url=jdbc:postgresql://{source['host']}:{source['port']}/{source['database']}\n"
        f"connection-user={source['user']}\nconnection-password={servers.a.password}\n"
    )
    (etc / "log.properties").write_text("io.trino=WARN\n")
    options = [
        "-Xmx3G", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-XX:ReservedCodeCacheSize=512M",
        "-Djdk.attach.allowAttachSelf=true", "--add-modules=jdk.incubator.vector", "-Dfile.encoding=UTF-8",
        f"-Dconfig={etc}/config.properties", f"-Dlog.levels-file={etc}/log.properties",
        "-Dnode.environment=bench", "-Dnode.id=bench", f"-Dnode.data-dir={folder}/trino/data",
    ]  # fmt: skip
    command = [str(java), *options, "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer"]
    with _process(command, folder / "trino.log") as process:
        url = f"http://127.0.0.1:{port}"
        _wait(process, lambda: _info(url).get("starting") is False, folder / "trino.log")
        yield url


@contextmanager
def running_atoll(folder: Path, servers: Servers) -> Iterator[str]:
    """A gateway's address, and behind it the department `a`, whose users are given every column as it is."""
    try:
        with running_house(folder / "house", servers, {}, departments={"a": "PostgreSQL"}) as house:
            yield house.url
    except Failed as failed:
        raise Missing(str(failed)) from failed


@contextmanager
def running_null(folder: Path, recordings: Path) -> Iterator[dict[str, str]]:
    """The null server over recordings (see null.py): an address for each."""
    log = folder / "null.log"
    with _process([sys.executable, "-m", "bench.protocol.null", str(recordings)], log) as process:
        _wait(process, lambda: log.read_text().endswith("}\n"), log)
        yield dict(json.loads(log.read_text().splitlines()[-1]))


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"}
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return
        time.sleep(0.1)
    raise Missing(f"{log.stem} did not start:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-12:]))


def _info(url: str) -> dict[str, object]:
    try:
        with NO_PROXY.open(f"{url}/v1/info", timeout=5) as answer:
            return dict(json.loads(answer.read()))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
