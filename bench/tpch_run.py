"""TPC-H and user questions over three departments, beside a real Trino, DuckDB with the databases attached, and an
ideal program by hand for each question.

PostgreSQL holds orders and lineitem, MariaDB customer, nation and region, a folder of Parquet files part, partsupp
and supplier. Agents are processes of their own with ledgers and policy, without masks; atoll and Trino are read by
raw HTTP in the same way. atoll's answers and Trino's, and those by hand (hand.py), are the same to the last digit.

    BENCH_SF      scale factor, 1 without it
    BENCH_ROUNDS  measured rounds, 3 without it; each asks all peers in turn, after a round that is not counted
    BENCH_ONLY    a regular expression: which queries of q01 .. q22 and u0 .. u8 (`bench/users.py`)
    BENCH_PEERS   which peers, of `trino attached local hand`, or none
    BENCH_MEMORY  megabytes of a merge, beyond which it spills; the gateway's own limit without it

crossed: rows and bytes that departments delivered. ideal: rows that the best known plan delivers (ideal.sql), which
sends keys down where they help and asks no department for what it could compute itself. gateway MB: what its process
takes over idle, at most. told: how much of a statement's time the parts of its `explain --analyze` add up to.
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
from rich.console import Console
from rich.table import Table

from atoll.demo.processes import Failed
from bench import users
from bench.hand import running_hand
from bench.house import House, running_house
from bench.memory import Memory
from bench.peers import Missing, running_attached, running_trino
from bench.protocol.wire import Wire, headers, read
from bench.servers import running_servers
from bench.tpch import TABLES, parquet, queries
from bench.users import Ask, Measured, Place

__all__ = ["main"]

SCALE = float(os.environ.get("BENCH_SF", "1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ONLY = re.compile(os.environ.get("BENCH_ONLY", ""))
PEERS = os.environ.get("BENCH_PEERS", "trino attached local hand").split()
MEMORY = int(os.environ.get("BENCH_MEMORY", "0"))
MOST_MB, MOST_EXPORT_MB = 1000, 300
"""Of the gateway over idle: anywhere, and in an export, which streams."""
TOLD, TOLD_SECONDS = 0.05, 0.002
"""By how much the parts of an explained statement may miss its time: a share, and milliseconds cut off."""
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
    """What one side needed for one query. memory: megabytes of the gateway, over idle. told: of an explained run, the
    seconds that its parts add up to, and all of them."""

    seconds: list[float] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    memory: float = 0.0
    told: tuple[float, float] = (0.0, 0.0)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


_kept = threading.local()


def _wire(url: str) -> Wire:
    """This thread's connection to a server, kept open as clients do."""
    known: dict[str, Wire] = _kept.__dict__.setdefault("wires", {})
    if url not in known:
        known[url] = Wire(url)
    return known[url]


def over_http(url: str, sql: str) -> tuple[float, Rows, dict[str, Any]]:
    """Seconds, rows and final statistics of a statement over the Trino protocol. Raises RuntimeError."""
    wire = _wire(url)
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
    return seconds, rows, page.get("stats") or {}


def unread(url: str, sql: str) -> tuple[float, Rows, dict[str, Any]]:
    """Seconds of a large answer over the Trino protocol, whose bytes are read and not looked at."""
    return read(_wire(url), sql, headers()).seconds, [], {}


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


@dataclass(frozen=True)
class Sides:
    """places: how each side names a table. ask: seconds, rows and final statistics of a statement. whole: the same of
    a large answer, whose rows nobody looks at."""

    places: dict[str, Place]
    ask: dict[str, Ask]
    whole: dict[str, Ask]
    house: House
    memory: Memory

    def explained(self, sql: str) -> tuple[float, float]:
        """Seconds that the parts of an explained run add up to, and all of them."""
        seconds, ran = self.house.explained(sql)
        return sum(ran["ms"].values()) / 1000, seconds


@contextmanager
def running_sides(folder: Path, console: Console) -> Iterator[Sides]:
    """atoll and the peers, over the same servers. Raises Missing, Failed."""
    with ExitStack() as stack:
        with console.status("starting servers and loading TPC-H …"):
            servers = stack.enter_context(running_servers(folder / "servers", SCALE))
            house = stack.enter_context(running_house(folder / "house", servers, {}, memory_mb=MEMORY))
            trino = stack.enter_context(running_trino(folder, servers)) if "trino" in PEERS else ""
            duck = None
            if {"attached", "local", "hand"} & set(PEERS):
                duck = stack.enter_context(running_attached(servers))
            hand = stack.enter_context(running_hand(servers, duck)) if duck is not None and "hand" in PEERS else None
        places: dict[str, Place] = {
            "atoll": lambda t: f"{TABLES[t]}.main.{t}",
            "trino": lambda t: f"{TABLES[t]}.{SCHEMAS[TABLES[t]]}.{t}",
            "attached": lambda t: f"{TABLES[t]}.{SCHEMAS[TABLES[t]]}.{t}",
            "local": lambda t: f"local.main.{t}",
            "hand": lambda t: t,
        }
        ask: dict[str, Ask] = {
            "atoll": lambda _, sql: over_http(house.url, sql),
            "trino": lambda _, sql: over_http(trino, sql),
            "attached": partial(_duck, duck, True),
            "local": partial(_duck, duck, True),
            "hand": partial(_hand, hand),
        }
        whole: dict[str, Ask] = {
            "atoll": lambda _, sql: unread(house.url, sql),
            "trino": lambda _, sql: unread(trino, sql),
            "attached": partial(_duck, duck, False),
            "local": partial(_duck, duck, False),
            "hand": partial(_hand, hand),
            "arrow": lambda _, sql: (house.ask(sql)[0], [], {}),
        }
        asked = ["atoll", *PEERS]
        over_http(house.url, "SELECT 1")
        yield Sides(
            {s: places[s] for s in asked}, {s: ask[s] for s in asked}, {s: whole[s] for s in (*asked, "arrow")},
            house, Memory(house.pid),
        )  # fmt: skip


def run(sides: Sides, console: Console) -> dict[str, dict[str, Asked]]:
    """Query -> side -> what it needed. Raises RuntimeError for a wrong answer."""
    found: dict[str, dict[str, Asked]] = {}
    texts = {side: queries(place) for side, place in sides.places.items()}
    asked = list(sides.places)
    for query in (q for q in texts["atoll"] if ONLY.search(q)):
        found[query] = {side: Asked() for side in asked}
        answers: dict[str, Rows] = {}
        sides.memory.forget_peak()
        for number in range(ROUNDS + 1):
            for side in turned(asked, number):
                seconds, rows, stats = sides.ask[side](query, texts[side][query])
                answers[side] = rows
                if number:
                    found[query][side].seconds.append(seconds)
                found[query][side].rows = int(stats.get("processedRows", 0))
                found[query][side].bytes = int(stats.get("processedBytes", 0))
        found[query]["atoll"].memory = sides.memory.over_idle()
        found[query]["atoll"].told = sides.explained(texts["atoll"][query])
        for side in {"trino", "hand"} & answers.keys():
            if differing(answers["atoll"], answers[side]):
                raise RuntimeError(f"{query}: {side} answers differently: {answers['atoll'][:3]} {answers[side][:3]}")
        took = " ".join(f"{side} {a.median:.3f}" for side, a in found[query].items())
        console.print(f"{query} {took} crossed {found[query]['atoll'].rows:,}", style="dim")
    return found


def run_users(sides: Sides, console: Console) -> dict[str, dict[str, Measured]]:
    """The same for the user questions, each time with other values."""
    found: dict[str, dict[str, Measured]] = {}
    for question in (q for q in users.questions(SCALE) if ONLY.search(q.name)):
        asks = sides.whole if question.whole else sides.ask
        # DuckDB's process answers one at a time.
        asked = [s for s in asks if question.clients == 1 or s in ("atoll", "trino", "hand")]
        by_side = found[question.name] = {side: Measured() for side in asked}
        sides.memory.forget_peak()
        for number in range(ROUNDS + 1):
            answers = {
                side: users.ask_all(
                    question, sides.places.get(side, sides.places["atoll"]), number, asks[side],
                    by_side[side] if number else None,
                )
                for side in turned(asked, number)
            }  # fmt: skip
            for side in {"trino", "hand"} & answers.keys():
                for one, other in zip(answers["atoll"], answers[side], strict=True):
                    if differing(one, other):
                        raise RuntimeError(f"{question.name}: {side} answers differently: {one[:3]} {other[:3]}")
        by_side["atoll"].memory = sides.memory.over_idle()
        text = question.text(sides.places["atoll"], random.Random(question.name))
        by_side["atoll"].told = sides.explained(text)
        took = " ".join(f"{side} {m.median:.4f}" for side, m in by_side.items())
        console.print(f"{question.name} {took} crossed {by_side['atoll'].rows:,}", style="dim")
    return found


def turned(sides: list[str], number: int) -> list[str]:
    """The sides, each round another one first."""
    return sides[number % len(sides) :] + sides[: number % len(sides)]


def _duck(duck: Any, wanted: bool, name: str, sql: str) -> tuple[float, Rows, dict[str, Any]]:
    seconds, rows = duck.ask(sql, wanted)
    return seconds, rows, {}


def _hand(hand: Any, name: str, sql: str) -> tuple[float, Rows, dict[str, Any]]:
    seconds, rows = hand.ask(name, sql)
    return seconds, rows, {}


def report(found: dict[str, dict[str, Asked]], ideal: dict[str, int], console: Console) -> bool:
    """Print the tables; whether all goals are reached."""
    sides = list(next(iter(found.values())))
    table = Table(title=f"TPC-H at scale {SCALE:g}, seconds, medians of {ROUNDS} rounds")
    for name in (
        "",
        *sides,
        *(f"/ {s}" for s in sides[1:]),
        "rows crossed",
        "ideal",
        "of ideal",
        "MB crossed",
        "gateway MB",
        "told",
    ):
        table.add_column(name, justify="right" if name else "left")
    for query, by_side in found.items():
        mine = by_side["atoll"]
        table.add_row(
            query, *(f"{by_side[s].median:.3f}" for s in sides),
            *(f"{mine.median / by_side[s].median:.2f}" for s in sides[1:]),
            f"{mine.rows:,}", f"{ideal[query]:,}", f"{mine.rows / max(1, ideal[query]):.2f}",
            f"{mine.bytes / 1e6:.2f}", f"{mine.memory:.0f}", f"{mine.told[0] / max(mine.told[1], 1e-3):.0%}",
        )  # fmt: skip
    console.print(table)
    reached = True
    for name, members in {"all": tuple(found), **SETS}.items():
        for one, other, mean in users.means([found[q] for q in members if q in found]):
            goal = GOALS.get(other) if (name, one) == ("all", "atoll") else None
            reached = reached and (goal is None or mean <= goal)
            told = f" (goal: at most {goal})" if goal is not None else ""
            console.print(f"{name}: {one} / {other}, geometric mean: {mean:.3f}{told}")
    return reached


def report_gateway(found: Mapping[str, Asked | Measured], console: Console) -> bool:
    """Print what the gateway took and whether it tells where its time went; whether the goals are reached."""
    most = max(found, key=lambda q: found[q].memory)
    bounds = [(most, MOST_MB), *(("u5", MOST_EXPORT_MB) for q in found if q == "u5")]
    for query, bound in bounds:
        console.print(f"{query}: gateway over idle, MB: {found[query].memory:.0f} (goal: at most {bound})")
    silent = [q for q, a in found.items() if abs(a.told[1] - a.told[0]) > TOLD * a.told[1] + TOLD_SECONDS]
    missed = f"; missed by {' '.join(silent)}" if silent else ""
    console.print(f"explain --analyze tells all but {TOLD:.0%} of each one's time{missed}")
    return not silent and all(found[query].memory <= bound for query, bound in bounds)


def main() -> int:
    """Exit code 1 if a goal is missed, 2 if something is not installed."""
    console = Console(width=170)
    with tempfile.TemporaryDirectory(prefix="atoll-bench-") as folder:
        Path(folder).chmod(0o755)  # the database servers' own users pass through
        try:
            with running_sides(Path(folder), console) as sides:
                found, asked = run(sides, console), run_users(sides, console)
        except (Missing, Failed) as missing:
            print(missing, file=sys.stderr)
            return 2
    titles = {q.name: q.title for q in users.questions(SCALE)}
    reached = [not found or report(found, ideal_rows(SCALE), console), users.report(asked, titles, console)]
    gateway = {**{q: by["atoll"] for q, by in found.items()}, **{q: by["atoll"] for q, by in asked.items()}}
    reached.append(not gateway or report_gateway(gateway, console))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
