"""What being on record costs: a one-row query with its ledgers and its receipt, and the same one without.

At the department a query has two records (`begin`, `end`), each signed and waited for until it is on disk, and a
signed receipt. At the gateway it has two more, and the receipt is checked. Everything runs in this process, so that
nothing but custody differs: the agent *without* keeps its records in memory and signs nothing. Both are asked in
turn, so what disturbs one disturbs the other.

    python -m bench.ledger [--rounds 400] [--folder DIR]     DIR: on the disk that is to be measured
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from rich.console import Console
from rich.table import Table

from catalog import keys
from catalog.exchange import EndRecord, Fragment, Head
from catalog.identity import Principal
from connectors.agent.service import Agent
from gateway.execution import Execution, Session
from gateway.ledger import GatewayLedger
from gateway.plan import FragmentPlan

GOAL_MS = 3.0
WARM = 40
SQL = "SELECT t.litres AS c0 FROM water.main.usage AS t WHERE t.org_no = '910007'"
POLICY: dict[str, Any] = {
    "department": "water",
    "identity": {"issuer": "http://idp.bench", "jwks": "file:jwks.json"},
    "sources": {"main": {"kind": "sqlite", "path": "silo.db"}},
    "purposes": ["mass-balance"],
    "relations": {"usage": {"table": "usage", "columns": {"org_no": "varchar", "litres": "bigint"}}},
    "grants": [{"relation": "usage", "purposes": ["mass-balance"], "mode": "masked"}],
}
WHO = Principal("lin", "mass-balance", ("mass-balance",), "jti", int(time.time()) + 3600)


class Nowhere:
    """A ledger and a key that cost nothing: nothing is written, nothing signed."""

    head = Head(seq=0, hash="")

    def append(self, kind: str, fields: Mapping[str, Any], now: datetime | None = None) -> Head:
        return self.head

    def sign(self, data: bytes) -> str:
        return ""

    def close(self) -> None:
        """Nothing is open."""


def department(folder: Path) -> Agent:
    """An agent over a thousand rows, of which the question asks for one."""
    folder.mkdir()
    (folder / "department.yaml").write_text(yaml.safe_dump(POLICY))
    with sqlite3.connect(folder / "silo.db") as db:
        db.execute("CREATE TABLE usage (org_no TEXT PRIMARY KEY, litres INTEGER)")
        db.executemany("INSERT INTO usage VALUES (?, ?)", [(f"91{i:04d}", i) for i in range(1000)])
    return Agent.from_file(folder / "department.yaml")


def without_record(agent: Agent) -> Agent:
    agent.ledger.close()
    nowhere: Any = Nowhere()
    agent.ledger = agent._receipts = nowhere
    return agent


def answered(agent: Agent, number: int) -> bytes:
    """One question, from its text to the last byte of its answer."""
    fragment = Fragment(query_id=f"q{number}", fragment_id=f"q{number}_f0", sql=SQL)
    run = agent.start(WHO, fragment)
    try:
        run.prepare()
        return b"".join(run.frames())
    finally:
        agent.finish(run)


def receipt_of(answer: bytes) -> EndRecord:
    """The end record of an answer of one row. Raises ValueError for any other."""
    reader, rows = pa.ipc.open_stream(answer), 0
    while True:
        batch, metadata = reader.read_next_batch_with_custom_metadata()
        rows += batch.num_rows
        end = EndRecord.from_metadata(metadata)
        if end is not None:
            if rows != 1 or end.receipt is None:
                raise ValueError(f"{rows} rows, {end.outcome}")
            return end


class City:
    """The gateway's part: its two records, and the check of the receipt."""

    def __init__(self, state: Path, key: keys.Jwk) -> None:
        self.ledger = GatewayLedger(state)
        self._key = key
        self._session = Session("lin", token="t", purpose="mass-balance")
        self._plan = FragmentPlan("f0", "water", SQL, ("c0",), ())

    def record(self, number: int, end: EndRecord) -> None:
        execution = Execution(f"q{number}", SQL, self._session)
        self.ledger.begin(execution, self._session, [self._plan])
        if not keys.verify_any([self._key], end.signed_bytes(), end.signature):
            raise ValueError("a receipt that nobody signed")
        execution.part(f"q{number}_f0", "water", receipt=end.receipt)
        self.ledger.end(execution, None)


@dataclass(frozen=True)
class Took:
    """Milliseconds of one piece of work: by the clock, and of this thread's processor."""

    clock: float
    processor: float


def timed(work: Callable[[], Any]) -> tuple[Took, Any]:
    """(how long it took, what it gave)."""
    begun, spent = time.perf_counter(), time.thread_time()
    found = work()
    return Took((time.perf_counter() - begun) * 1000, (time.thread_time() - spent) * 1000), found


def measure(folder: Path, rounds: int) -> dict[str, list[Took]]:
    """How long each round took: `with`, `without` (an agent's answer), `gateway` (its part of custody)."""
    on_record, off_record = department(folder / "with"), without_record(department(folder / "without"))
    city = City(folder / "gateway", on_record.receipt_jwk())
    found: dict[str, list[Took]] = {"with": [], "without": [], "gateway": []}
    try:
        for number in range(WARM + rounds):
            took: dict[str, Took] = {}
            took["with"], answer = timed(partial(answered, on_record, number))
            took["without"], _ = timed(partial(answered, off_record, number))
            end = receipt_of(answer)
            took["gateway"], _ = timed(partial(city.record, number, end))
            if number >= WARM:
                for name, one in took.items():
                    found[name].append(one)
    finally:
        city.ledger.close()
        on_record.close()
        off_record.close()
    return found


def disk(folder: Path, rounds: int = 200) -> float:
    """Milliseconds that the disk itself takes for one small record, at the median."""
    with (folder / "probe").open("ab", buffering=0) as file:

        def append() -> None:
            file.write(b"x" * 1000)
            os.fdatasync(file.fileno())

        return statistics.median(timed(append)[0].clock for _ in range(rounds))


def main(argv: list[str] | None = None) -> int:
    """Print the figures; 1 if custody costs more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=None, help="a folder on the disk to measure; a temporary one")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        found = measure(folder, arguments.rounds)
        sync = disk(folder)
    table = Table("", "p50 ms", "p95 ms", "processor p50", title=f"a one-row query, {arguments.rounds} rounds")
    for text, name in (
        ("answered by an agent without ledger and receipt", "without"),
        ("answered by an agent with both", "with"),
        ("recorded by the gateway, receipt checked", "gateway"),
    ):
        clock = [took.clock for took in found[name]]
        cells = (statistics.median(clock), statistics.quantiles(clock, n=20)[18], cost(found[name]).processor)
        table.add_row(text, *(f"{cell:.2f}" for cell in cells))
    console = Console()
    console.print(table)
    agent, gateway = cost(found["with"], found["without"]), cost(found["gateway"])
    total = agent.clock + gateway.clock
    console.print(
        f"ledger and receipt: agent {agent.clock:.2f} ms + gateway {gateway.clock:.2f} ms = {total:.2f} ms at p50"
    )
    console.print(
        f"of that the processor {agent.processor + gateway.processor:.2f} ms; the rest waits four times for the disk, "
        f"which takes {sync:.2f} ms for a small record by itself"
    )
    console.print(f"goal: {GOAL_MS:.0f} ms; {'met' if total <= GOAL_MS else 'missed'}")
    return 0 if total <= GOAL_MS else 1


def cost(took: list[Took], without: list[Took] | None = None) -> Took:
    """At the median; without: the same rounds without what is to be paid for."""
    pairs = list(zip(took, without or [Took(0, 0)] * len(took), strict=True))
    return Took(
        statistics.median(one.clock - other.clock for one, other in pairs),
        statistics.median(one.processor - other.processor for one, other in pairs),
    )


if __name__ == "__main__":
    sys.exit(main())
