"""What a city's size costs: the same questions in cities of 2, 8 and 32 departments, each with a small table.

Departments that a question does not touch must cost nothing: the gateway works no longer for it, and their ledgers say
nothing of it. A city's agents run in one process (thirty-two interpreters would measure the machine), its gateway in
its own. The cities stand side by side and are asked in turns of ten: a machine's speed changes within a minute.

    python -m bench.growth [--departments 2 8 32] [--rounds 120]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
import yaml
from rich.console import Console
from rich.table import Table

from atoll.demo.install import Ports, install_gateway, install_identity
from atoll.demo.processes import Processes, free_port
from bench.house import PURPOSE, USER, await_healthy, start_module
from bench.protocol.wire import COMMON, Wire, headers
from catalog.http import Client
from catalog.keys import load_or_create
from catalog.ledger import read_ledger
from catalog.memory import settled
from connectors.agent.server import create_app
from connectors.agent.service import Agent

ROWS = 2_000
COLD_MS, CACHED_MS, UNTOUCHED = 20.0, 3.0, 1.10
"""Goals: planning for the first time and again, in the largest city; the gateway's processor time for a look-up there /
in the smallest."""
TURN = 10
"""Look-ups, one after the other, until the next city's turn."""
TICK = os.sysconf("SC_CLK_TCK")


class _Ports(Ports):
    def url(self, name: str) -> str:
        return super().url(name).replace("https:", "http:")


def _names(count: int) -> list[str]:
    return [f"d{i:02d}" for i in range(count)]


def _write_department(folder: Path, name: str, ports: Ports, count: int) -> None:
    home = folder / "departments" / name
    home.mkdir(parents=True)
    (home / "jwks.json").write_bytes((folder / "idp" / "jwks.json").read_bytes())
    dice = random.Random(name)
    with sqlite3.connect(home / "silo.db") as db:
        db.execute("CREATE TABLE usage (id INTEGER PRIMARY KEY, place TEXT NOT NULL, litres INTEGER NOT NULL)")
        rows = ((i, f"place {dice.randrange(50)}", dice.randrange(1000)) for i in range(count))
        db.executemany("INSERT INTO usage VALUES (?, ?, ?)", rows)
    columns = {"id": "bigint", "place": "varchar", "litres": "bigint"}
    document = {
        "department": name, "title": name, "listen": f"127.0.0.1:{ports.agents[name]}",
        "identity": {"issuer": ports.issuer, "jwks": "file:jwks.json"},
        "sources": {"main": {"kind": "sqlite", "path": "silo.db"}}, "purposes": [PURPOSE],
        "relations": {"usage": {"table": "usage", "key": ["id"], "rows": count, "columns": columns}},
        "grants": [{"relation": "usage", "purposes": [PURPOSE], "mode": "masked"}],
    }  # fmt: skip
    (home / "department.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def serve(folder: Path, port: int) -> None:
    """All agents of a city in this process, and a door that tells when they answer."""
    agents = [Agent.from_file(file) for file in sorted(folder.glob("departments/*/department.yaml"))]

    async def health(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def server(app: Any, at: int, lifespan: str = "on") -> uvicorn.Server:
        config = uvicorn.Config(app, port=at, log_level="warning", access_log=False, lifespan=lifespan)  # type: ignore[arg-type]
        return uvicorn.Server(config)

    async def run() -> None:
        doors = [server(create_app(a), int(a.department.listen.rpartition(":")[2])) for a in agents]
        await asyncio.gather(*(d.serve() for d in doors), server(health, port, "off").serve())

    with settled():
        asyncio.run(run())


@dataclass(frozen=True)
class City:
    """A running gateway. ledgers: of the departments, by name."""

    url: str
    http: Client
    ledgers: dict[str, Path]
    pid: int

    def processor(self) -> float:
        """Seconds of processor time that the gateway used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def begun(self) -> dict[str, int]:
        """How many questions each department began to answer."""
        return {n: sum(r["kind"] == "begin" for r in read_ledger(book)) for n, book in self.ledgers.items()}

    def planning(self, sql: str) -> float:
        """Milliseconds that the gateway planned for."""
        answer = self.http.post(f"{self.url}/api/explain", json={"sql": sql, "analyze": True})
        if answer.status_code != 200:
            raise RuntimeError(answer.text[:500])
        return float(answer.json()["ran"]["ms"]["planning"])


@contextmanager
def running_city(folder: Path, count: int, rows: int = ROWS) -> Iterator[City]:
    """A city of so many departments with so many rows each, stopped afterwards."""
    taken: set[int] = set()
    names = _names(count)
    ports = _Ports(
        free_port(taken),
        free_port(taken),
        free_port(taken),
        {n: free_port(taken) for n in names},
        dict.fromkeys(names, 0),
    )
    install_identity(folder)
    for name in names:
        _write_department(folder, name, ports, rows)
    processes = Processes(folder / "logs")
    try:
        door = free_port(taken)
        idp = ["--dir", str(folder / "idp"), "--port", str(ports.idp), "--dev-login"]
        await_healthy(start_module(processes, "idp", "atoll.demo.idp", *idp), ports.idp)
        agents = start_module(processes, "agents", "bench.growth", "--serve", str(folder), "--port", str(door))
        await_healthy(agents, door)
        states = {n: folder / "departments" / n / "state" for n in names}
        registered = {n: (n, load_or_create(states[n] / "receipt.key").public_jwk) for n in names}
        settings = install_gateway(folder, ports, registered, folder / "questions")
        gateway = start_module(processes, "gateway", "gateway.server.serve", str(settings), "--allow-dev-login")
        await_healthy(gateway, ports.gateway)
        with Client(timeout=60, trust_env=False, headers={"X-Trino-User": USER}) as http:
            books = {n: states[n] / "ledger.jsonl" for n in names}
            yield City(f"http://127.0.0.1:{ports.gateway}", http, books, gateway.popen.pid)
    finally:
        processes.stop()


def look_up(number: int) -> str:
    return (
        "SELECT a.place, b.litres FROM d00.main.usage AS a JOIN d01.main.usage AS b ON b.id = a.litres "
        f"WHERE a.id = {number}"
    )


def everywhere(names: list[str]) -> str:
    return " UNION ALL ".join(f"SELECT place, sum(litres) AS l FROM {n}.main.usage GROUP BY place" for n in names)


def seconds_of(wire: Wire, sql: str) -> float:
    """A whole statement over the Trino protocol. Raises RuntimeError."""
    started = time.perf_counter()
    page = json.loads(wire.send("POST", "/v1/statement", sql.encode(), headers()))
    while "nextUri" in page:
        page = json.loads(wire.send("GET", urlsplit(page["nextUri"]).path, None, COMMON))
    if "error" in page:
        raise RuntimeError(page["error"]["message"])
    return time.perf_counter() - started


@dataclass(frozen=True)
class LookUps:
    """Milliseconds. took: the median of a look-up's clock. work: the gateway's processor time for one. touched:
    departments that it asked."""

    took: float
    work: float
    touched: frozenset[str]


def look_ups(cities: Mapping[int, City], rounds: int) -> dict[int, LookUps]:
    """Ask running cities in turns. rounds: look-ups in each, rounded up to whole turns."""
    wires = {count: Wire(city.url) for count, city in cities.items()}
    for wire in wires.values():
        for number in range(8):
            seconds_of(wire, look_up(number))
    before = {count: city.begun() for count, city in cities.items()}
    took: dict[int, list[float]] = {count: [] for count in cities}
    used = dict.fromkeys(cities, 0.0)
    for first in range(0, rounds, TURN):
        for count, city in cities.items():
            start = city.processor()
            took[count] += [seconds_of(wires[count], look_up(100 + n)) for n in range(first, first + TURN)]
            used[count] += city.processor() - start
    for wire in wires.values():
        wire.close()
    touched = {
        count: frozenset(n for n, begun in city.begun().items() if begun > before[count][n])
        for count, city in cities.items()
    }
    return {n: LookUps(statistics.median(took[n]) * 1000, used[n] / len(took[n]) * 1000, touched[n]) for n in cities}


@dataclass(frozen=True)
class Figures:
    """Medians in milliseconds."""

    look_ups: LookUps
    one: float
    cold: float
    cached: float
    all_cold: float
    all_cached: float
    everywhere: float


def measure(city: City, count: int, rounds: int, found: LookUps) -> Figures:
    """Ask a running city what is no look-up, and how long it plans."""
    wire, whole = Wire(city.url), everywhere(_names(count))
    for _ in range(8):
        seconds_of(wire, whole)
    one = statistics.median(seconds_of(wire, "SELECT 1") for _ in range(rounds))
    # Another alias is another text: nothing that was planned before fits it.
    cold = [city.planning(look_up(1).replace(" a", f" a{n}").replace("a.", f"a{n}.")) for n in range(9)]
    all_cold = [city.planning(whole.replace("AS l ", f"AS l{n} ")) for n in range(5)]
    figures = Figures(
        found,
        one * 1000,
        statistics.median(cold),
        statistics.median(city.planning(look_up(200 + n)) for n in range(9)),
        statistics.median(all_cold),
        statistics.median(city.planning(whole) for _ in range(5)),
        statistics.median(seconds_of(wire, whole) for _ in range(5)) * 1000,
    )
    wire.close()
    return figures


def report(found: dict[int, Figures], console: Console) -> bool:
    """Print the figures and the goals beside them; whether all are reached."""
    table = Table(title="ms, medians")
    for name in (
        "departments", "SELECT 1", "look-up in two", "gateway's work", "planning it", "again", "planning all", "again",
        "asking all",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for count, f in found.items():
        values = (f.one, f.look_ups.took, f.look_ups.work, f.cold, f.cached, f.all_cold, f.all_cached, f.everywhere)
        table.add_row(str(count), *(f"{v:.1f}" for v in values))
    console.print(table)
    least, most = found[min(found)], found[max(found)]
    goals = (
        ("planning a look-up in the largest city, ms", most.cold, COLD_MS),
        ("planning it again, ms", most.cached, CACHED_MS),
        (
            "gateway's work for a look-up in the largest city / in the smallest",
            most.look_ups.work / least.look_ups.work,
            UNTOUCHED,
        ),
        ("departments that were asked and not needed", float(len(most.look_ups.touched - {"d00", "d01"})), 0.0),
    )
    for words, value, goal in goals:
        console.print(f"{words}: {value:.2f} (goal: at most {goal:g}){'' if value <= goal else '  missed'}")
    return all(value <= goal for _, value, goal in goals)


def main() -> int:
    """Exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--departments", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--serve", type=Path, help="run the agents of a city in this folder")
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.port)
        return 0
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="atoll-growth-") as folder, ExitStack() as standing:
        cities: dict[int, City] = {}
        for count in asked.departments:
            cities[count] = standing.enter_context(running_city(Path(folder) / str(count), count))
            console.print(f"{count} departments: up", style="dim")
        asked_in_turns = look_ups(cities, asked.rounds)
        found = {n: measure(city, n, asked.rounds, asked_in_turns[n]) for n, city in cities.items()}
    return 0 if report(found, console) else 1


if __name__ == "__main__":
    sys.exit(main())
