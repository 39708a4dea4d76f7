"""A real Trino 476, fetched once with Maven: a coordinator that is its own worker, with the catalogs it is given."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atoll.demo.processes import free_port

__all__ = ["NO_PROXY", "VERSION", "Missing", "await_start", "running_process", "running_server", "unpacked"]

VERSION = "476"
LEAST_JAVA = 24
CACHE = Path(__file__).parents[1] / ".cache" / "trino-server"
HOME = CACHE / f"trino-server-{VERSION}"
PLUGINS = ("geospatial", "hive", "memory", "mysql", "postgresql")
"""The connectors that are unpacked of the archive, and the types of geospatial, which one of them needs."""
START_SECONDS = 240
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Missing(Exception):
    """The machine lacks something; the message says how to get it."""


def java() -> Path:
    """A Java that Trino runs on: JAVA25_HOME's, or the newest below /usr/lib/jvm. Raises Missing."""
    homes = [Path(os.environ["JAVA25_HOME"])] if "JAVA25_HOME" in os.environ else []
    homes += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    for home in homes:
        binary = home / "bin" / "java"
        if binary.exists() and not home.is_symlink():
            done = subprocess.run([binary, "-version"], stderr=subprocess.PIPE, text=True, check=False)
            found = re.search(r'version "(\d+)', done.stderr)
            if found and int(found[1]) >= LEAST_JAVA:
                return binary
    raise Missing(f"Trino {VERSION} needs Java {LEAST_JAVA} or newer: install a JDK 25, or set JAVA25_HOME")


def unpacked() -> Path:
    """The server's folder. Raises Missing."""
    wanted = ("bin/", "lib/", *(f"plugin/{p}/" for p in PLUGINS))
    if all((HOME / part).is_dir() for part in wanted):
        return HOME
    archive = CACHE / f"trino-server-{VERSION}.tar.gz"
    if not archive.is_file():
        if shutil.which("mvn") is None:
            raise Missing("Trino's server comes by Maven: install the package `maven`")
        print(f"Fetching Trino {VERSION}, 800 MB ...", flush=True)
        artifact = f"-Dartifact=io.trino:trino-server:{VERSION}:tar.gz"
        command = ["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={CACHE}"]
        subprocess.run([*command, "-Dmdep.useBaseVersion=true"], check=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        with tarfile.open(archive) as packed:
            if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
                packed.extraction_filter = tarfile.data_filter
            for member in packed:
                if member.name.partition("/")[2].startswith(wanted):
                    packed.extract(member, folder)
        shutil.rmtree(HOME, ignore_errors=True)
        (Path(folder) / HOME.name).rename(HOME)
    return HOME


@contextmanager
def running_server(folder: Path, catalogs: Mapping[str, str], memory: str) -> Iterator[str]:
    """Its address, once a worker takes queries. folder: for its files. catalogs: name -> properties.

    memory: of the JVM, such as `3G`. Raises Missing.
    """
    binary, home, port = java(), unpacked(), free_port(set())
    etc = folder / "trino" / "etc"
    (etc / "catalog").mkdir(parents=True)
    (etc / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\nhttp-server.log.enabled=false\n"
        f"http-server.http.port={port}\nnode.internal-address=127.0.0.1\n"
        f"discovery.uri=http://127.0.0.1:{port}\ncatalog.config-dir={etc}/catalog\nplugin.dir={home}/plugin\n"
        "query.min-expire-age=10s\ntask.info.max-age=10s\n"  # or it counts and keeps for long what has ended
    )
    for name, text in catalogs.items():
        file = etc / "catalog" / f"{name}.properties"
        file.touch(mode=0o600)  # it may hold a password
        file.write_text(text)
    (etc / "log.properties").write_text("io.trino=WARN\n")
    options = [
        f"-Xmx{memory}", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-XX:ReservedCodeCacheSize=512M",
        "-Djdk.attach.allowAttachSelf=true", "--add-modules=jdk.incubator.vector", "-Dfile.encoding=UTF-8",
        "-Duser.timezone=UTC", f"-Dconfig={etc}/config.properties", f"-Dlog.levels-file={etc}/log.properties",
        "-Dnode.environment=bench", "-Dnode.id=bench", f"-Dnode.data-dir={folder}/trino/data",
    ]  # fmt: skip
    command = [str(binary), *options, "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer"]
    url, log = f"http://127.0.0.1:{port}", folder / "trino.log"
    with running_process(command, log) as process:
        await_start(process, lambda: _takes_queries(url), log)
        yield url


@contextmanager
def running_process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output goes to `log`; ended with the block."""
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


def await_start(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    """Wait until a process is ready. Raises Missing with the end of its log if it is not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return
        time.sleep(0.1)
    raise Missing(f"{log.stem} did not start:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-12:]))


def _takes_queries(url: str) -> bool:
    """A server that says it has started may still have no worker."""
    if _asked(f"{url}/v1/info").get("starting") is not False:
        return False
    question = urllib.request.Request(f"{url}/v1/statement", b"SELECT 1", {"X-Trino-User": "bench"})
    page = _asked(question)
    while "nextUri" in page:
        page = _asked(urllib.request.Request(page["nextUri"], headers={"X-Trino-User": "bench"}))
    return bool(page.get("stats", {}).get("state") == "FINISHED")


def _asked(request: str | urllib.request.Request) -> dict[str, Any]:
    try:
        with NO_PROXY.open(request, timeout=30) as answer:
            return dict(json.loads(answer.read()))
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
