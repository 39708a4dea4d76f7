"""TPC-H over three departments, beside a real Trino and DuckDB with the databases attached, in one run.

PostgreSQL holds orders and lineitem, MariaDB customer, nation and region, a folder of Parquet files part, partsupp
and supplier. Agents are processes of their own with ledgers and policy, without masks; atoll and Trino are read by
raw HTTP in the same way. All answers are checked against Trino's to the last digit before anything is measured.

    BENCH_SF      scale factor, 1 without it
    BENCH_ROUNDS  measured rounds, 3 without it; each asks all peers in turn, after a round that is not counted
    BENCH_ONLY    a regular expression: which queries
    BENCH_PEERS   which peers, of `trino attached local`

crossed: rows and bytes that departments delivered. ideal: rows that the best known plan delivers (ideal.sql), which
sends keys down where they help and asks no department for what it could compute itself.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
from rich.console import Console
from rich.table import Table

from atoll.demo.processes import Failed
from bench.house import running_house
from bench.peers import Missing, running_attached, running_trino
from bench.protocol.wire import Wire, headers
from bench.servers import running_servers
from bench.tpch import TABLES, parquet, queries

__all__ = ["main"]

SCALE = float(os.environ.get("BENCH_SF", "1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ONLY = re.compile(os.environ.get("BENCH_ONLY", ""))
PEERS = os.environ.get("BENCH_PEERS", "trino attached local").split()
GOALS = {"trino": 0.20, "attached": 0.44}
"""Geometric means of atoll / peer over all queries."""
SETS = {
    "semi-join set": ("q08", "q17", "q19", "q20", "q22"),
    "one-department set": ("q01", "q04", "q06", "q12"),
}
SCHEMAS = {"a": "public", "b": "tpch", "c": "main"}
"""Where Trino and DuckDB find a department's tables."""

Rows = list[list[Any]]


@dataclass
class Asked:
    """What one side needed for one query."""

    seconds: list[float] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def over_http(url: str, sql: str) -> tuple[float, Rows, dict[str, Any]]:
    """Seconds, rows and final statistics of a statement over the Trino protocol. Raises RuntimeError."""
    wire = Wire(url)
    rows: Rows = []
    started = time.perf_counter()
    page = json.loads(wire.send("POST", "/v1/statement", sql.encode(), headers()))
    while True:
        rows += page.get("data") or ()
        if "error" in page:
            raise RuntimeError(f"{page['error'].get('message')}\n{sql}")
        if "nextUri" not in page:
            break
        page = json.loads(wire.send("GET", urlsplit(page["nextUri"]).path))
    seconds = time.perf_counter() - started
    wire.close()
    return seconds, rows, page.get("stats") or {}


def ideal_rows(scale: float) -> dict[str, int]:
    """Query -> rows that the plans of ideal.sql deliver."""
    folder = parquet(scale)
    named = {t: f"'{folder}/{t}.parquet'" for t in TABLES}
    whole = queries(lambda t: named[t])
    found: dict[str, int] = {}
    for block in Path(__file__).with_name("ideal.sql").read_text().split(";\n"):
        name, _, sql = block.strip().partition("\n")
        if sql:
            query = name.removeprefix("-- ")
            text = sql.format(**named, **whole)
            ((count,),) = duckdb.sql(f"SELECT count(*) FROM ({text}) AS t").fetchall()
            found[query] = found.get(query, 0) + int(count)
    return found


def differing(left: Rows, right: Rows) -> bool:
    """Whether two answers differ in any row or digit; rows that ORDER BY ties may stand in any order."""
    return sorted(map(repr, left)) != sorted(map(repr, right))


def run(folder: Path, console: Console) -> dict[str, dict[str, Asked]]:
    """Query -> side -> what it needed. Raises Missing, Failed, RuntimeError for a wrong answer."""
    found: dict[str, dict[str, Asked]] = {}
    with ExitStack() as stack:
        with console.status("starting servers and loading TPC-H …"):
            servers = stack.enter_context(running_servers(folder / "servers", SCALE))
            house = stack.enter_context(running_house(folder / "house", servers, {}))
            trino = stack.enter_context(running_trino(folder, servers)) if "trino" in PEERS else ""
            duck = stack.enter_context(running_attached(servers)) if {"attached", "local"} & set(PEERS) else None
        texts = {
            "atoll": queries(lambda t: f"{TABLES[t]}.main.{t}"),
            "trino": queries(lambda t: f"{TABLES[t]}.{SCHEMAS[TABLES[t]]}.{t}"),
            "attached": queries(lambda t: f"{TABLES[t]}.{SCHEMAS[TABLES[t]]}.{t}"),
            "local": queries(lambda t: f"local.main.{t}"),
        }
        sides: dict[str, Callable[[str], tuple[float, Rows, dict[str, Any]]]] = {
            "atoll": lambda sql: over_http(house.url, sql),
            "trino": lambda sql: over_http(trino, sql),
            "attached": lambda sql: (*_duck(duck, sql), {}),
            "local": lambda sql: (*_duck(duck, sql), {}),
        }
        asked = ["atoll", *PEERS]
        for query in (q for q in texts["atoll"] if ONLY.search(q)):
            found[query] = {side: Asked() for side in asked}
            answers: dict[str, Rows] = {}
            for number in range(ROUNDS + 1):
                for side in asked[number % len(asked) :] + asked[: number % len(asked)]:
                    seconds, rows, stats = sides[side](texts[side][query])
                    answers[side] = rows
                    if number:
                        found[query][side].seconds.append(seconds)
                    found[query][side].rows = int(stats.get("processedRows", 0))
                    found[query][side].bytes = int(stats.get("processedBytes", 0))
            if "trino" in answers and differing(answers["atoll"], answers["trino"]):
                raise RuntimeError(f"{query}: atoll and Trino answer differently: {answers['atoll'][:3]}")
            took = " ".join(f"{side} {a.median:.3f}" for side, a in found[query].items())
            console.print(f"{query} {took} crossed {found[query]['atoll'].rows:,}", style="dim")
    return found


def _duck(duck: Any, sql: str) -> tuple[float, Rows]:
    seconds, rows = duck.ask(sql)
    return seconds, rows


def report(found: dict[str, dict[str, Asked]], ideal: dict[str, int], console: Console) -> bool:
    """Print the tables; whether all goals are reached."""
    sides = list(next(iter(found.values())))
    table = Table(title=f"TPC-H at scale {SCALE:g}, seconds, medians of {ROUNDS} rounds")
    for name in ("", *sides, *(f"/ {s}" for s in sides[1:]), "rows crossed", "ideal", "of ideal", "MB crossed"):
        table.add_column(name, justify="right" if name else "left")
    for query, by_side in found.items():
        mine = by_side["atoll"]
        table.add_row(
            query, *(f"{by_side[s].median:.3f}" for s in sides),
            *(f"{mine.median / by_side[s].median:.2f}" for s in sides[1:]),
            f"{mine.rows:,}", f"{ideal[query]:,}", f"{mine.rows / max(1, ideal[query]):.2f}",
            f"{mine.bytes / 1e6:.2f}",
        )  # fmt: skip
    console.print(table)
    reached = True
    for name, members in {"all": tuple(found), **SETS}.items():
        chosen = [found[q] for q in members if q in found]
        for side in sides[1:] if chosen else ():
            mean = statistics.geometric_mean(s["atoll"].median / s[side].median for s in chosen)
            goal = GOALS.get(side) if name == "all" else None
            reached = reached and (goal is None or mean <= goal)
            told = f" (goal: at most {goal})" if goal is not None else ""
            console.print(f"{name}: atoll / {side}, geometric mean: {mean:.3f}{told}")
    return reached


def main() -> int:
    """Exit code 1 if a goal is missed, 2 if something is not installed."""
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="atoll-bench-") as folder:
        Path(folder).chmod(0o755)  # the database servers' own users pass through
        try:
            found = run(Path(folder), console)
        except (Missing, Failed) as missing:
            print(missing, file=sys.stderr)
            return 2
    return 0 if report(found, ideal_rows(SCALE), console) else 1


if __name__ == "__main__":
    sys.exit(main())
