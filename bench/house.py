"""Three departments over TPC-H, an identity provider and a gateway: separate processes, the policy as asked for."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from atoll.demo.install import Ports, gateway_card, install_gateway, install_identity
from atoll.demo.processes import Process, Processes, free_port, wait_until
from bench.servers import Servers
from bench.tpch import KEYS, TABLES, columns, rows
from catalog.http import Client, HTTPError
from catalog.keys import load_or_create

__all__ = ["DEPARTMENTS", "PURPOSE", "USER", "House", "await_healthy", "running_house", "start_module"]

USER, PURPOSE = "bi", "statistics"
DEPARTMENTS = {"a": "PostgreSQL", "b": "MariaDB", "c": "Parquet"}
LIMITS = {"concurrent": 8, "queue": 256, "seconds": 600, "rows": 50_000_000, "bytes": 20_000_000_000, "keys": 100_000}


@dataclass(frozen=True)
class House:
    """A running gateway with its three departments. pid: the gateway's."""

    url: str
    pid: int
    _http: Client

    def explained(self, sql: str) -> tuple[float, dict[str, Any]]:
        """A statement that is run and explained: seconds from its coming to its end, by the gateway's list of
        statements, and where time and bytes went."""
        answer = self._http.post(f"{self.url}/api/explain", json={"sql": sql, "analyze": True})
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.text[:500]}\n{sql}")
        newest = self._http.get(f"{self.url}/v1/query").json()[0]
        return newest["queryStats"]["elapsedTimeMillis"] / 1000, dict(answer.json()["ran"])

    def ask(self, sql: str) -> tuple[float, pa.Table]:
        """Seconds until the whole answer is here, and the answer, as Arrow over REST."""
        started = time.perf_counter()
        answer = self._http.post(f"{self.url}/api/query", json={"sql": sql, "format": "arrow"})
        table = pa.ipc.open_stream(answer.content).read_all() if answer.status_code == 200 else None
        seconds = time.perf_counter() - started
        if table is None:
            raise RuntimeError(f"{answer.text[:500]}\n{sql}")
        return seconds, table


@contextmanager
def running_house(
    folder: Path,
    servers: Servers,
    policy: Mapping[str, Mapping[str, Any]],
    state: Path | None = None,
    departments: Mapping[str, str] = DEPARTMENTS,
    memory_mb: int = 0,
) -> Iterator[House]:
    """Start everything; stop it afterwards. policy: table -> the fields of its grant beyond relation and purpose.

    state: where agents keep their ledgers and other state, if not in `folder`. departments: name -> title.
    memory_mb: of a merge, 0 for the gateway's own limit.
    """
    taken: set[int] = set()
    ports = Ports(
        free_port(taken), free_port(taken), free_port(taken),
        {n: free_port(taken) for n in departments}, {n: free_port(taken) for n in departments},
    )  # fmt: skip
    install_identity(folder)
    for name in departments:
        _write_department(folder, name, servers, ports, policy, state)
    processes = Processes(folder / "logs")
    try:
        idp = ["--dir", str(folder / "idp"), "--port", str(ports.idp), "--dev-login"]
        started = {"idp": start_module(processes, "idp", "atoll.demo.idp", *idp)}
        for name in departments:
            file = folder / "departments" / name / "department.yaml"
            started[name] = start_module(processes, name, "connectors.agent.serve", str(file))
        await_healthy(started["idp"], ports.idp)
        for name in departments:
            await_healthy(started[name], ports.owners[name])
        registered = {
            n: (title, load_or_create(_state(folder, n, state) / "receipt.key").public_jwk)
            for n, title in departments.items()
        }
        settings = install_gateway(folder, ports, registered, folder / "questions")
        if memory_mb:
            written = yaml.safe_load(settings.read_text())
            settings.write_text(yaml.safe_dump({**written, "limits": {"memory_mb": memory_mb}}))
        gateway = start_module(processes, "gateway", "gateway.server.serve", str(settings), "--allow-dev-login")
        await_healthy(gateway, ports.gateway)
        headers = {"X-Trino-User": USER}
        with Client(timeout=900, trust_env=False, headers=headers) as http:
            yield House(f"http://127.0.0.1:{ports.gateway}", gateway.popen.pid, http)
    finally:
        processes.stop()


def start_module(processes: Processes, name: str, module: str, *arguments: str) -> Process:
    return processes.start(name, [sys.executable, "-m", module, *arguments])


def await_healthy(process: Process, port: int) -> None:
    def healthy() -> bool:
        with Client(timeout=2, trust_env=False) as http:
            try:
                return bool(http.get(f"http://127.0.0.1:{port}/healthz").status_code == 200)
            except HTTPError:
                return False

    wait_until(process, healthy)


def _state(folder: Path, name: str, state: Path | None) -> Path:
    return folder / "departments" / name / "state" if state is None else state / name


def _write_department(
    folder: Path, name: str, servers: Servers, ports: Ports, policy: Mapping[str, Mapping[str, Any]], state: Path | None
) -> None:
    home = folder / "departments" / name
    home.mkdir(parents=True, exist_ok=True)
    (home / "jwks.json").write_bytes((folder / "idp" / "jwks.json").read_bytes())
    (home / "gateways.json").write_text(json.dumps({"gateways": {"gateway": gateway_card(folder)["keys"]}}))
    (home / "linkage.key").write_text("42" * 32)
    (home / "linkage.key").chmod(0o600)
    tables = [t for t, department in TABLES.items() if department == name]
    document = {
        "department": name, "title": DEPARTMENTS[name], "state": str(_state(folder, name, state)),
        "listen": f"127.0.0.1:{ports.agents[name]}", "owner_listen": f"127.0.0.1:{ports.owners[name]}",
        "identity": {"issuer": ports.issuer, "jwks": "file:jwks.json", "gateways": "file:gateways.json"},
        "sources": {"main": _source(home, name, servers, tables)},
        "linkage_groups": {"bench": {"root": "file:linkage.key"}},
        "purposes": [PURPOSE],
        "relations": {
            t: {"table": t, "key": KEYS[t], "rows": rows(servers.c, t), "columns": columns(servers.c, t)}
            for t in tables
        },
        "grants": [
            {"id": t, "relation": t, "purposes": [PURPOSE], "mode": "masked", **policy.get(t, {})} for t in tables
        ],
        "limits": LIMITS,
    }  # fmt: skip
    (home / "department.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def _source(home: Path, name: str, servers: Servers, tables: list[str]) -> dict[str, Any]:
    if name == "c":
        parquet = {t: {"format": "parquet", "glob": f"{t}.parquet"} for t in tables}
        return {"kind": "files", "path": os.path.relpath(servers.c, home), "tables": parquet}
    server = servers.a if name == "a" else servers.b
    if server is None:
        raise ValueError(f"department {name} has no server")
    secret = home / "source.password"
    secret.write_text(server.password)
    secret.chmod(0o600)
    slow = {"timeout": LIMITS["seconds"]} if name == "a" else {}
    return {**server.source, **slow, "password": "file:source.password"}
