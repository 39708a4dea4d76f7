"""make bench-protocol: the way of an answer from the gateway to its client, beside a real Trino and beside nothing.

One run starts all three, asks them by turns, and prints each goal with what was measured. Only ratios inside a run
count: the machine may be as loud as it likes. Exit status: 0 all goals reached, 1 some missed, 2 something is missing.

    raw HTTP      1,000,000 rows read page by page, nothing decoded
    JDBC, Python  the same answer by the unmodified client; against the null server, which replays atoll's own pages
    SELECT 1      a whole statement on an open connection
    first row     of the wide answer: until its first page with rows is here
"""

from __future__ import annotations

import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trino
from rich.console import Console
from rich.table import Table

from bench.protocol.peers import Missing, running_atoll, running_null, running_trino
from bench.protocol.sql import ONE, narrow, wide
from bench.protocol.wire import Wire, headers, read, record
from tests.clients.jdbc.driver import compiled

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ONLY = re.compile(os.environ.get("BENCH_ONLY", ""))
"""Which goals are measured, by their names."""
SMALL = 40
"""How many statements make one figure of SELECT 1."""
ENCODINGS = "json+zstd,json+lz4,json"
"""What JDBC and the Python client ask for by themselves."""
WIDTHS = {"5 columns": narrow, "16 columns": wide}

Timed = Callable[[], float]


@dataclass(frozen=True)
class Goal:
    """atoll's figure over the other's. at_least: whether the goal is a floor (rows/s) or a ceiling (seconds)."""

    name: str
    unit: str
    atoll: Timed
    other: Timed
    against: str
    goal: float
    at_least: bool


@dataclass(frozen=True)
class Measured:
    goal: Goal
    atoll: float
    other: float

    @property
    def ratio(self) -> float:
        return self.atoll / self.other

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal.goal if self.goal.at_least else self.ratio <= self.goal.goal


def measure(goals: list[Goal], rounds: int) -> list[Measured]:
    """Medians of so many rounds; a round asks both sides of every goal, after one that is not counted."""
    found: list[tuple[list[float], list[float]]] = [([], []) for _ in goals]
    for at in range(rounds + 1):
        for goal, (atoll, other) in zip(goals, found, strict=True):
            pair = (goal.atoll, goal.other) if at % 2 else (goal.other, goal.atoll)
            figures = [once() for once in pair]
            first, second = figures if at % 2 else reversed(figures)
            if at:
                atoll.append(first)
                other.append(second)
            Console(stderr=True).print(f"round {at} {goal.name}: {first:.4g} against {second:.4g}", style="dim")
    return [
        Measured(goal, statistics.median(atoll), statistics.median(other))
        for goal, (atoll, other) in zip(goals, found, strict=True)
    ]


# -- one figure each -----------------------------------------------------------------------------------


def raw(url: str, sql: str) -> float:
    """Rows per second by raw HTTP."""
    wire = Wire(url)
    try:
        return ROWS / read(wire, sql, headers()).seconds
    finally:
        wire.close()


def first_row(url: str) -> float:
    """Seconds until the first rows of the wide answer; the rest is cancelled."""
    wire = Wire(url)
    try:
        return read(wire, wide(ROWS), headers(), only_first=True).first
    finally:
        wire.close()


def select_one(url: str) -> float:
    """Median seconds of a whole statement."""
    wire = Wire(url)
    try:
        return statistics.median(read(wire, ONE, headers()).seconds for _ in range(SMALL))
    finally:
        wire.close()


def python_client(url: str, sql: str) -> float:
    """Rows per second by Trino's Python client."""
    started = time.perf_counter()
    with trino.dbapi.connect(host="127.0.0.1", port=urlsplit(url).port or 80, user="lin", source="bench") as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        rows = sum(1 for _ in iter(cursor.fetchone, None))
    return _rate(rows, time.perf_counter() - started)


@contextmanager
def jdbc_client(folder: Path) -> Iterator[Callable[[str, str], float]]:
    """A running JVM: address and SQL -> rows per second by Trino's JDBC driver."""
    source = Path(__file__).with_name("Read.java")
    command = [word for word in compiled(source, folder) if not word.startswith("-XX")]
    process = subprocess.Popen(
        [w.replace("-Xmx256m", "-Xmx1g") for w in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders, answers = process.stdin, process.stdout

    def asked(url: str, sql: str) -> float:
        orders.write(f"jdbc:trino://{urlsplit(url).netloc}?user=lin\t{sql}\n")
        orders.flush()
        seconds, rows = answers.readline().split()
        return _rate(int(rows), float(seconds))

    try:
        yield asked
    finally:
        orders.close()
        process.wait(30)


def _rate(rows: int, seconds: float) -> float:
    if rows != ROWS:
        raise RuntimeError(f"{rows} rows came in place of {ROWS}")
    return rows / seconds


# -- the whole run -------------------------------------------------------------------------------------


def run(folder: Path) -> list[Measured]:
    """Start the three, check that they say the same, measure. Raises Missing."""
    with ExitStack() as stack:
        trino_url = stack.enter_context(running_trino(folder))
        atoll_url = stack.enter_context(running_atoll(folder))
        recordings = folder / "recordings"
        recordings.mkdir()
        for at, sql in enumerate(make(ROWS) for make in WIDTHS.values()):
            kept = record(atoll_url, sql, headers(ENCODINGS))
            (recordings / f"{at}.pickle").write_bytes(pickle.dumps(kept))
        null = stack.enter_context(running_null(folder, recordings))
        jdbc = stack.enter_context(jdbc_client(folder))
        same(trino_url, atoll_url)
        goals = [goal for goal in _goals(trino_url, atoll_url, null, jdbc) if ONLY.search(goal.name)]
        return measure(goals, ROUNDS)


def _goals(trino_url: str, atoll_url: str, null: dict[str, str], jdbc: Callable[[str, str], float]) -> Iterator[Goal]:
    yield Goal(
        "SELECT 1", "s", lambda: select_one(atoll_url), lambda: select_one(trino_url), "Trino", 0.2, False
    )  # fmt: skip
    yield Goal(
        "first row, 16 columns", "s", lambda: first_row(atoll_url), lambda: first_row(trino_url), "Trino", 0.6, False
    )
    for at, (width, make) in enumerate(WIDTHS.items()):
        sql, nobody = make(ROWS), null[str(at)]
        pairs: list[tuple[str, Callable[[str, str], float], str, str, float]] = [
            ("raw HTTP", raw, trino_url, "Trino", 5.0),
            ("JDBC", jdbc, nobody, "null server", 0.9),
            ("Python client", python_client, nobody, "null server", 0.9),
        ]
        for name, timed, other, against, goal in pairs:
            yield Goal(
                f"{name}, {width}", "rows/s", _of(timed, atoll_url, sql), _of(timed, other, sql), against, goal, True
            )


def _of(timed: Callable[[str, str], float], url: str, sql: str) -> Timed:
    return lambda: timed(url, sql)


def same(trino_url: str, atoll_url: str) -> None:
    """Both systems answer the same rows. Raises RuntimeError."""
    answers = []
    for url in (trino_url, atoll_url):
        with trino.dbapi.connect(host="127.0.0.1", port=urlsplit(url).port or 80, user="lin") as connection:
            cursor = connection.cursor()
            cursor.execute(wide(2000))
            answers.append((sorted(map(tuple, cursor.fetchall())), [d[:2] for d in cursor.description]))
    if answers[0][0] != answers[1][0]:
        raise RuntimeError("Trino and atoll answer different rows; nothing was measured")


def show(found: list[Measured]) -> None:
    table = Table(title=f"{ROWS:,} rows, medians of {ROUNDS} rounds")
    for name in ("", "atoll", "other", "against", "ratio", "goal", ""):
        table.add_column(name, justify="left" if not name else "right")
    for m in found:
        sign = "≥" if m.goal.at_least else "≤"
        figures = [f"{v:,.0f} {m.goal.unit}" if m.goal.at_least else f"{v * 1000:,.1f} ms" for v in (m.atoll, m.other)]
        mark = "[green]✓[/]" if m.reached else "[red]missed[/]"
        table.add_row(m.goal.name, *figures, m.goal.against, f"{m.ratio:.2f}", f"{sign} {m.goal.goal}", mark)
    Console(width=120).print(table)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="atoll-bench-") as folder:
        try:
            found = run(Path(folder))
        except Missing as missing:
            print(missing, file=sys.stderr)
            return 2
    show(found)
    return 0 if all(m.reached for m in found) else 1


if __name__ == "__main__":
    sys.exit(main())
