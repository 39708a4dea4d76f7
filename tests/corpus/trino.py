"""A real Trino 476 with nothing but its memory connector, and a client that reads its wire as it is."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atoll.demo.processes import free_port
from bench.protocol.peers import NO_PROXY, Missing, java_for_trino, unpacked
from tests.corpus.fixtures import decoded

__all__ = ["Trino", "running_trino"]

START_SECONDS = 180
HEADERS = {
    "X-Trino-User": "ana", "X-Trino-Time-Zone": "UTC",
    "X-Trino-Client-Capabilities": "PATH,PARAMETRIC_DATETIME,SESSION_AUTHORIZATION",
}  # fmt: skip
Answer = dict[str, Any]


class Trino:
    """Asks a server statement by statement. An answer is {columns, rows} or {error}, as the wire has them."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, sql: str) -> Answer:
        """columns: [name, type] pairs. rows: JSON values. error: Trino's error name."""
        columns: list[list[str]] = []
        rows: list[Any] = []
        page = self._open(urllib.request.Request(f"{self.url}/v1/statement", sql.encode(), HEADERS))
        while True:
            if "error" in page:
                return {"error": page["error"]["errorName"], "message": page["error"]["message"]}
            columns = [[c["name"], c["type"]] for c in page.get("columns", [])] or columns
            rows += page.get("data", [])
            if "nextUri" not in page:
                return {"columns": columns, "rows": rows}
            page = self._open(urllib.request.Request(page["nextUri"], headers=HEADERS))

    @staticmethod
    def _open(request: urllib.request.Request) -> Answer:
        with NO_PROXY.open(request, timeout=120) as answer:
            return dict(decoded(answer.read()))


@contextmanager
def running_trino(folder: Path) -> Iterator[Trino]:
    """A coordinator that is its own worker. folder: for its files. Raises bench.protocol.peers.Missing."""
    java, home, port = java_for_trino(), unpacked(), free_port(set())
    etc = folder / "etc"
    (etc / "catalog").mkdir(parents=True, exist_ok=True)
    (etc / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\n"
        f"http-server.http.port={port}\nnode.internal-address=127.0.0.1\n"
        f"discovery.uri=http://127.0.0.1:{port}\ncatalog.config-dir={etc}/catalog\nplugin.dir={home}/plugin\n"
        f"http-server.log.enabled=false\n"
    )
    for name in ("a", "b"):
        (etc / "catalog" / f"{name}.properties").write_text("connector.name=memory\n")
    (etc / "log.properties").write_text("io.trino=WARN\n")
    options = [
        "-Xmx2G", "-XX:+UseG1GC", "-XX:ReservedCodeCacheSize=256M", "-Djdk.attach.allowAttachSelf=true",
        "--add-modules=jdk.incubator.vector", "-Dfile.encoding=UTF-8", "-Duser.timezone=UTC",
        f"-Dconfig={etc}/config.properties", f"-Dlog.levels-file={etc}/log.properties",
        "-Dnode.environment=corpus", "-Dnode.id=corpus", f"-Dnode.data-dir={folder}/data",
    ]  # fmt: skip
    command = [str(java), *options, "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer"]
    with (folder / "trino.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
    try:
        yield _ready(process, Trino(f"http://127.0.0.1:{port}"), folder / "trino.log")
    finally:
        process.terminate()
        process.wait(30)


def _ready(process: subprocess.Popen[bytes], trino: Trino, log: Path) -> Trino:
    """Wait until a worker takes a query. Raises Missing."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if trino.ask("SELECT 1").get("rows"):
                return trino
        except OSError:
            time.sleep(0.2)  # no port to wait on before the server has opened it
    raise Missing("Trino did not start:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-12:]))
