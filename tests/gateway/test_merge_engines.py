"""Which engine a statement gets: a fresh one if it reads anything, and nobody stops what is no longer his."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from sqlglot import parse_one

from catalog.errors import UserError
from gateway.execution import Execution, Session
from gateway.merge.duckdb import Merge, MergePool
from gateway.settings import Limits


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[MergePool]:
    made = MergePool(Limits(), tmp_path / "spill", warm=1)
    yield made
    made.close()


def execution(name: str) -> Execution:
    return Execution(name, "SELECT 1", Session(user="lin", token=""))


def ask(merge: Merge, sql: str) -> list[dict[str, object]]:
    compiled = merge.compile(parse_one(sql, dialect="trino"))
    return [row for batch in merge.run(compiled) for row in batch.to_pylist()]


def test_an_engine_that_read_nothing_serves_the_next_statement_that_reads_nothing(pool: MergePool) -> None:
    engines = []
    for at in range(3):
        with Merge(pool, execution(f"q{at}"), bare=True) as merge:
            engines.append(merge._con)
            assert list(ask(merge, f"SELECT {at} AS n")[0].values()) == [at]
    assert engines[0] is engines[1] is engines[2]


def test_an_engine_that_held_rows_serves_nobody_else(pool: MergePool) -> None:
    with Merge(pool, execution("q1")) as merge:
        merge.load("t", pa.table({"a": [1]}))
        used = merge._con
    with Merge(pool, execution("q2"), bare=True) as bare, Merge(pool, execution("q3")) as fresh:
        assert used is not bare._con
        assert used is not fresh._con
        assert bare._con is not fresh._con


def test_an_engine_whose_statement_failed_is_not_used_again(pool: MergePool) -> None:
    used = []

    def fail() -> None:
        with Merge(pool, execution("q1"), bare=True) as merge:
            used.append(merge._con)
            ask(merge, "SELECT 1 / 0")

    with pytest.raises(UserError, match="Division by zero"):
        fail()
    with Merge(pool, execution("q2"), bare=True) as merge:
        assert merge._con is not used[0]


def test_a_late_cancel_stops_neither_a_closed_engine_nor_somebody_elses_statement(pool: MergePool) -> None:
    read, bare = execution("q1"), execution("q2")
    with Merge(pool, read):
        pass
    with Merge(pool, bare, bare=True) as merge:
        engine = merge._con
    read.cancel()
    with Merge(pool, execution("q3"), bare=True) as merge:
        assert merge._con is engine
        bare.cancel()
        assert len(ask(merge, "SELECT x FROM UNNEST(sequence(1, 10000)) AS t (x)")) == 10_000
