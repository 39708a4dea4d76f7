"""make bench-protocol: the way of an answer to its client, beside a real Trino and beside a server that does nothing.

One run starts all of them, makes sure that they answer the same rows, asks them by turns, and prints each goal with
what was measured. Only ratios inside a run count: the machine may be as loud as it likes. Exit status: 0 all goals
reached, 1 some missed, 2 something is missing.

    raw HTTP      TPC-H's lineitem, more than 1,000,000 rows, out of one PostgreSQL: by Trino's connector, and by atoll
                  through a department with all its custody. Read page by page, nothing decoded
    JDBC, Python  the same answer by the unmodified client; against the null server, which replays atoll's own pages
    SELECT 1      a whole statement on an open connection
    first row     of the wide answer: until its first page with rows is here

Without a goal: rows that the engine makes itself. There Trino's cost nothing, and those of DuckDB little more.
"""

from __future__ import annotations

import math
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

import orjson
import pyarrow.parquet as pq
import trino
from rich.console import Console
from rich.table import Table

from bench.house import USER
from bench.protocol.peers import ATOLL, TRINO, Missing, running_atoll, running_null, running_source, running_trino
from bench.protocol.sql import ENGINES_OWN, EXPORTED, ONE, engines_own, export
from bench.protocol.wire import Wire, headers, read, record
from tests.clients.jdbc.driver import compiled

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
"""How many rows the engine makes itself, and lineitem has at least."""
ROWS_OF_SCALE_1 = 6_001_215
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ONLY = re.compile(os.environ.get("BENCH_ONLY", ""))
"""Which goals are measured, by their names."""
SMALL = 40
"""How many statements make one figure of SELECT 1."""
ENCODINGS = "json+zstd,json+lz4,json"
"""What JDBC and the Python client ask for by themselves."""
WIDE = "16 columns"

Timed = Callable[[], float]


@dataclass(frozen=True)
class Goal:
    """atoll's figure over the other's. goal: None for what is told only. at_least: whether it is a floor (rows/s) or
    a ceiling (seconds)."""

    name: str
    unit: str
    atoll: Timed
    other: Timed
    against: str
    goal: float | None
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
        if self.goal.goal is None:
            return True
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


@dataclass(frozen=True)
class Question:
    """A statement, in either's words, and how many rows it has."""

    atoll: str
    trino: str
    rows: int


def raw(url: str, sql: str, rows: int) -> float:
    """Rows per second by raw HTTP; how many come was counted before (`same`)."""
    wire = Wire(url)
    try:
        return rows / read(wire, sql, headers()).seconds
    finally:
        wire.close()


def first_row(url: str, sql: str) -> float:
    """Seconds until the first rows; the rest is cancelled."""
    wire = Wire(url)
    try:
        return read(wire, sql, headers(), only_first=True).first
    finally:
        wire.close()


def select_one(url: str) -> float:
    """Median seconds of a whole statement."""
    wire = Wire(url)
    try:
        return statistics.median(read(wire, ONE, headers()).seconds for _ in range(SMALL))
    finally:
        wire.close()


def python_client(url: str, sql: str, rows: int) -> float:
    """Rows per second by Trino's Python client."""
    started = time.perf_counter()
    with trino.dbapi.connect(host="127.0.0.1", port=urlsplit(url).port or 80, user=USER, source="bench") as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        found = sum(1 for _ in iter(cursor.fetchone, None))
    return _rate(found, rows, time.perf_counter() - started)


@contextmanager
def jdbc_client(folder: Path) -> Iterator[Callable[[str, str, int], float]]:
    """A running JVM: address and SQL -> rows per second by Trino's JDBC driver."""
    source = Path(__file__).with_name("Read.java")
    command = [word for word in compiled(source, folder) if not word.startswith("-XX")]
    process = subprocess.Popen(
        [w.replace("-Xmx256m", "-Xmx1g") for w in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders, answers = process.stdin, process.stdout

    def asked(url: str, sql: str, rows: int) -> float:
        orders.write(f"jdbc:trino://{urlsplit(url).netloc}?user={USER}\t{sql}\n")
        orders.flush()
        seconds, found = answers.readline().split()
        return _rate(int(found), rows, float(seconds))

    try:
        yield asked
    finally:
        orders.close()
        process.wait(30)


def _rate(found: int, rows: int, seconds: float) -> float:
    if found != rows:
        raise RuntimeError(f"{found} rows came in place of {rows}")
    return rows / seconds


# -- the whole run -------------------------------------------------------------------------------------


def run(folder: Path) -> list[Measured]:
    """Start everything, check that all say the same, measure. Raises Missing."""
    with ExitStack() as stack:
        servers = stack.enter_context(running_source(folder, math.ceil(100 * ROWS / ROWS_OF_SCALE_1) / 100))
        trino_url = stack.enter_context(running_trino(folder, servers))
        atoll_url = stack.enter_context(running_atoll(folder, servers))
        rows = pq.read_metadata(servers.c / "lineitem.parquet").num_rows
        exports = {w: Question(export(c, ATOLL), export(c, TRINO), rows) for w, c in EXPORTED.items()}
        own = {w: Question(engines_own(c, ROWS), engines_own(c, ROWS), ROWS) for w, c in ENGINES_OWN.items()}
        for question in (*exports.values(), *own.values()):
            same(trino_url, atoll_url, question)
        recordings = folder / "recordings"
        recordings.mkdir()
        for width, question in exports.items():
            kept = record(atoll_url, question.atoll, headers(ENCODINGS))
            (recordings / f"{width}.pickle").write_bytes(pickle.dumps(kept))
        null = stack.enter_context(running_null(folder, recordings))
        jdbc = stack.enter_context(jdbc_client(folder))
        goals = _goals(trino_url, atoll_url, null, jdbc, exports, own)
        return measure([goal for goal in goals if ONLY.search(goal.name)], ROUNDS)


def _goals(
    trino_url: str,
    atoll_url: str,
    null: dict[str, str],
    jdbc: Callable[[str, str, int], float],
    exports: dict[str, Question],
    own: dict[str, Question],
) -> Iterator[Goal]:
    def by_trino(name: str, question: Question, goal: float | None) -> Goal:
        asked = ((atoll_url, question.atoll), (trino_url, question.trino))
        mine, others = (_of(raw, url, sql, question.rows) for url, sql in asked)
        return Goal(name, "rows/s", mine, others, "Trino", goal, True)

    def by_null(name: str, client: Callable[[str, str, int], float], width: str) -> Goal:
        mine, others = (_of(client, url, exports[width].atoll, exports[width].rows) for url in (atoll_url, null[width]))
        return Goal(f"{name}, {width}", "rows/s", mine, others, "null server", 0.9, True)

    yield Goal(
        "SELECT 1", "s", lambda: select_one(atoll_url), lambda: select_one(trino_url), "Trino", 0.2, False
    )  # fmt: skip
    wide = exports[WIDE]
    yield Goal(
        f"first row, {WIDE}", "s", lambda: first_row(atoll_url, wide.atoll), lambda: first_row(trino_url, wide.trino),
        "Trino", 0.6, False,
    )  # fmt: skip
    for width, question in exports.items():
        yield by_trino(f"raw HTTP, {width}", question, 5.0)
        yield by_null("JDBC", jdbc, width)
        yield by_null("Python client", python_client, width)
    for width, question in own.items():
        yield by_trino(f"raw HTTP, {width}, engine's own rows", question, None)


def _of(timed: Callable[[str, str, int], float], url: str, sql: str, rows: int) -> Timed:
    return lambda: timed(url, sql, rows)


def same(trino_url: str, atoll_url: str, question: Question) -> None:
    """Both answer the same columns and rows, in any order. Raises RuntimeError."""
    if _digest(trino_url, question.trino) != _digest(atoll_url, question.atoll):
        raise RuntimeError(f"Trino and atoll answer differently; nothing was measured: {question.atoll}")


def _digest(url: str, sql: str) -> tuple[list[tuple[str, str]], int, int]:
    """Columns with their types, the number of rows, and the sum of the rows' hashes."""
    columns: list[tuple[str, str]] = []
    rows = total = 0
    wire = Wire(url)
    try:
        for body in read(wire, sql, headers(), keep=True).bodies:
            page = orjson.loads(body)
            columns = columns or [(c["name"], c["type"]) for c in page.get("columns") or ()]
            for row in page.get("data") or ():
                rows += 1
                total += hash(orjson.dumps(row))
    finally:
        wire.close()
    return columns, rows, total


def show(found: list[Measured]) -> None:
    table = Table(title=f"more than {ROWS:,} rows, medians of {ROUNDS} rounds")
    for name in ("", "atoll", "other", "against", "ratio", "goal", ""):
        table.add_column(name, justify="left" if not name else "right")
    for m in found:
        sign = "≥" if m.goal.at_least else "≤"
        figures = [f"{v:,.0f} {m.goal.unit}" if m.goal.at_least else f"{v * 1000:,.1f} ms" for v in (m.atoll, m.other)]
        if m.goal.goal is None:
            table.add_row(m.goal.name, *figures, m.goal.against, f"{m.ratio:.2f}", "none", "")
            continue
        mark = "[green]✓[/]" if m.reached else "[red]missed[/]"
        table.add_row(m.goal.name, *figures, m.goal.against, f"{m.ratio:.2f}", f"{sign} {m.goal.goal}", mark)
    Console(width=120).print(table)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="atoll-bench-") as folder:
        Path(folder).chmod(0o755)  # the database server's own user passes through
        try:
            found = run(Path(folder))
        except Missing as missing:
            print(missing, file=sys.stderr)
            return 2
    show(found)
    return 0 if all(m.reached for m in found) else 1


if __name__ == "__main__":
    sys.exit(main())
