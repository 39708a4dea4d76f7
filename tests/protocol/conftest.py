"""A real uvicorn on loopback in front of the stub gateway, for clients that nobody modified."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from gateway.server.app import create_app
from gateway.server.session import Options
from tests.protocol.stub import StubGateway


@dataclass
class Served:
    """A running server: its address and what stands behind it."""

    url: str
    port: int
    gateway: StubGateway


@contextmanager
def serve(gateway: StubGateway, options: Options | None = None) -> Iterator[Served]:
    """Start the application on a free loopback port; stopped at the end."""
    server = uvicorn.Server(uvicorn.Config(create_app(gateway, options), host="127.0.0.1", port=0, log_level="warning"))
    socket = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    port = socket.getsockname()[1]
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            client.get(f"http://127.0.0.1:{port}/healthz", timeout=20).raise_for_status()
        yield Served(f"http://127.0.0.1:{port}", port, gateway)
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
    """An HTTP client that names itself as the demo user lin."""
    with httpx.Client(base_url=served.url, headers={"X-Trino-User": "lin"}, timeout=30) as found:
        yield found
