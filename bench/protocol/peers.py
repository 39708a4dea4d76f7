"""What is measured side by side: a real Trino 476, atoll, and the null server, each in processes of its own.

Trino and atoll export the same table out of the same PostgreSQL, both as the user who may only read. atoll has a
department before it, as anybody has: an agent with its policy, tokens, ledgers, receipts and TLS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atoll.demo.processes import Failed
from bench.house import running_house
from bench.peers import postgres_catalog
from bench.servers import Servers, running_servers
from bench.trino import Missing, await_start, running_process, running_server

__all__ = ["ATOLL", "TRINO", "Missing", "running_atoll", "running_null", "running_source", "running_trino"]

ATOLL, TRINO = "a.main", "a.public"
"""Where either finds the table."""


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
    """The address of a Trino whose catalog `a` is PostgreSQL; it has `memory` beside it. Raises Missing."""
    catalogs = {"a": postgres_catalog(servers), "memory": "connector.name=memory\n"}
    with running_server(folder, catalogs, "3G") as url:
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
    with running_process([sys.executable, "-m", "bench.protocol.null", str(recordings)], log) as process:
        await_start(process, lambda: log.read_text().endswith("}\n"), log)
        yield dict(json.loads(log.read_text().splitlines()[-1]))
