"""A real uvicorn on loopback in front of the stub gateway, for clients that nobody modified."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from gateway.server.app import create_app
from gateway.server.conversation import Statements
from gateway.server.session import Options
from gateway.server.wire import KEEP_ALIVE_SECONDS, Wire
from tests.protocol.stub import StubGateway


@dataclass
class Served:
    """A running server: its address and what stands behind it."""

    url: str
    port: int
    gateway: StubGateway
    statements: Statements


@contextmanager
def serve(gateway: StubGateway, options: Options | None = None) -> Iterator[Served]:
    """Start the application on a free loopback port; stopped at the end."""
    app = create_app(gateway, options)
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_level="warning",
        http=Wire,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    socket = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    port = socket.getsockname()[1]
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10, verify=False)) as client:
            client.get(f"http://127.0.0.1:{port}/healthz", timeout=20).raise_for_status()
        yield Served(f"http://127.0.0.1:{port}", port, gateway, app.state.statements)
    finally:
        gateway.close()
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """One server for all tests that only read."""
    with serve(StubGateway(), Options(admins=frozenset({"ana"}))) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """An HTTP client that names itself as the demo user lin. There is no TLS here, and a context for it takes 30 ms."""
    with httpx.Client(base_url=served.url, headers={"X-Trino-User": "lin"}, timeout=30, verify=False) as found:
        yield found


CLI_VERSION = "476"
CACHE = Path(__file__).parents[2] / ".cache" / "trino-cli"
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""A JVM that starts soon: it lives for one statement."""
JAR = CACHE / f"trino-cli-{CLI_VERSION}-executable.jar"


@pytest.fixture(scope="session")
def cli() -> Path:
    """The executable jar, fetched once with Maven. A failure is an error, never a skip."""
    if JAR.is_file():
        return JAR
    maven = shutil.which("mvn")
    assert maven, "the Trino command line comes by Maven: install the package `maven`"
    # A folder of its own, then one rename: parallel test processes may fetch at the same time.
    fetched = CACHE.with_name(f"trino-cli-{os.getpid()}")
    subprocess.run(
        [
            maven,
            "-q",
            "-B",
            "dependency:copy",
            f"-Dartifact=io.trino:trino-cli:{CLI_VERSION}:jar:executable",
            f"-DoutputDirectory={fetched}",
            "-Dmdep.useBaseVersion=true",
        ],
        check=True,
        timeout=240,
    )
    CACHE.mkdir(parents=True, exist_ok=True)
    (fetched / JAR.name).replace(JAR)
    fetched.rmdir()
    return JAR
