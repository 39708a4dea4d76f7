"""What each rule of the planner is worth: TPC-H with all rules and without each, in rows that cross and seconds.

    make bench-rules [BENCH_SF=0.1]

Every department and the merge are one DuckDB on one thread here (`harness`), so the rows are those that would cross the
trust line, and the seconds are processor time for all that is computed on either side, without sources or network.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.tpch import KEYS, TABLES, columns, parquet, queries
from catalog.names import RelationName
from catalog.types import parse
from gateway.plan import Plan
from tests.differential import harness
from tests.differential.harness import World, plans_of

ALL, SAME = "all rules", "values put in later"
"""Plans that leave nothing out; the latter only comes about in another way."""


@dataclass(frozen=True)
class Cost:
    """Rows that departments delivered, and seconds of processor time."""

    rows: int
    seconds: float


def world(scale: float) -> World:
    """TPC-H over the benchmark's three departments, keys and row counts as their owners publish them."""
    data = parquet(scale)
    tables, traits = {}, {}
    for table, department in TABLES.items():
        name = RelationName(department, "main", table)
        tables[name] = _typed(data, table)
        traits[name] = {"key": tuple(KEYS[table]), "rows": tables[name].num_rows}
    return World(tables, traits)


def _typed(data: Path, table: str) -> pa.Table:
    types = {name: parse(kind) for name, kind in columns(data, table).items()}
    fields = [pa.field(name, t.arrow(), metadata={b"trino": str(t).encode()}) for name, t in types.items()]
    return pq.read_table(data / f"{table}.parquet", columns=list(types)).cast(pa.schema(fields))


def cost(here: World, plan: Plan) -> Cost:
    """Run a plan, every question anew."""
    here.delivered.clear()
    answers: dict[str, pa.Table] = {}
    started = time.process_time()
    harness.run(here, plan, answers)
    return Cost(sum(table.num_rows for table in answers.values()), time.process_time() - started)


def measure(here: World, console: Console) -> dict[str, dict[str, tuple[Cost, Cost]]]:
    """What was left out -> query that it changes -> cost with it and without."""
    found: dict[str, dict[str, tuple[Cost, Cost]]] = defaultdict(dict)
    for query, sql in queries(lambda table: f"{TABLES[table]}.main.{table}").items():
        plans = dict(plans_of(here, sql))
        full = cost(here, plans.pop(ALL))
        plans.pop(SAME, None)
        for name, plan in plans.items():
            found[name][query] = (full, cost(here, plan))
        told = ", ".join(f"{name} {by[query][1].rows:,}" for name, by in found.items() if query in by)
        console.print(f"{query}: {full.rows:,} rows, {full.seconds:.2f} s; {told}", style="dim")
    return found


def report(found: dict[str, dict[str, tuple[Cost, Cost]]], console: Console) -> None:
    table = Table(title="only over the queries that it changes")
    for name in ("left out", "queries", "rows with it", "without", "s with it", "without", "most, by rows"):
        table.add_column(name, justify="left" if name in ("left out", "most, by rows") else "right")
    for name, by_query in found.items():
        costs = list(by_query.values())
        most = sorted(by_query, key=lambda q: by_query[q][0].rows - by_query[q][1].rows)[:3]
        table.add_row(
            name.removeprefix("all but "), str(len(costs)),
            *(f"{sum(pair[i].rows for pair in costs):,}" for i in (0, 1)),
            *(f"{sum(pair[i].seconds for pair in costs):.2f}" for i in (0, 1)), ", ".join(most),
        )  # fmt: skip
    console.print(table)


def main() -> None:
    console = Console(width=140)
    report(measure(world(float(sys.argv[1]) if len(sys.argv) > 1 else 0.1), console), console)


if __name__ == "__main__":
    main()
