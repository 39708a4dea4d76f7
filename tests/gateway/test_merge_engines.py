"""Which engine a statement gets: one that held nobody else's rows, with nothing of earlier statements in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from sqlglot import exp, parse_one

from catalog.errors import CityError, UserError
from gateway.execution import Execution, Session
from gateway.merge.duckdb import IDLE, NOBODY, SMALL_BYTES, USES, Merge, MergePool, Owner
from gateway.plan import KeySet
from gateway.settings import Limits

LIN, WEI = ("lin", "health"), ("wei", "health")


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
    engines = set()
    for at in range(3):
        with Merge(pool, execution(f"q{at}"), NOBODY) as merge:
            engines.add(id(merge._instance))
            assert list(ask(merge, f"SELECT {at} AS n")[0].values()) == [at]
    assert len(engines) == 1


def test_an_engine_that_held_rows_serves_nobody_else(pool: MergePool) -> None:
    with Merge(pool, execution("q1"), LIN) as merge:
        merge.load("t", pa.table({"a": [1]}))
        used = merge._instance
    other_purpose = (LIN[0], "research")
    with (
        Merge(pool, execution("q2"), NOBODY) as bare,
        Merge(pool, execution("q3"), WEI) as another,
        Merge(pool, execution("q4"), other_purpose) as same_user,
    ):
        assert used not in (bare._instance, another._instance, same_user._instance)
    with Merge(pool, execution("q5"), LIN) as again:
        assert again._instance is used


def test_two_statements_at_once_never_share_an_engine(pool: MergePool) -> None:
    with Merge(pool, execution("q1"), LIN) as one, Merge(pool, execution("q2"), LIN) as other:
        assert one._instance is not other._instance


def test_nothing_of_a_statement_is_left_for_the_next(pool: MergePool) -> None:
    rows = pa.table({"a": pa.array(range(50_000), pa.int64())})
    with Merge(pool, execution("q1"), LIN) as merge:
        merge.load("t", rows)
        merge.store("f0", rows.schema, rows.to_batches())
        merge.attach("f1", rows.schema, rows.to_batches())
        assert len(ask(merge, "SELECT a FROM f0 JOIN f1 USING (a)")) == 50_000
        used = merge._instance
    with Merge(pool, execution("q2"), LIN) as merge:
        assert merge._instance is used
        left = [
            merge._con.execute(f"SELECT {what}").fetchall()
            for what in (
                "sum(memory_usage_bytes) FROM duckdb_memory()",
                "count(*) FROM duckdb_tables()",
                "count(*) FROM duckdb_views() WHERE NOT internal",
            )
        ]
        assert left == [[(0,)], [(0,)], [(0,)]]
        merge.store("f0", rows.schema, rows.slice(0, 3).to_batches())  # the same name, and other rows
        assert len(ask(merge, "SELECT a FROM f0")) == 3


def test_an_engine_serves_so_many_statements_and_is_closed(pool: MergePool) -> None:
    engines = []
    for at in range(USES + 1):
        with Merge(pool, execution(f"q{at}"), LIN) as merge:
            engines.append(merge._instance)
    assert len(set(engines[:USES])) == 1
    assert engines[USES] is not engines[0]


def test_engines_that_wait_for_their_owners_are_few(pool: MergePool) -> None:
    for at in range(IDLE + 3):
        with Merge(pool, execution(f"q{at}"), (f"user{at}", "health")) as merge:
            assert ask(merge, "SELECT 1 + 1 AS n")
    assert len(pool._idle) == IDLE


def test_an_engine_whose_statement_failed_is_not_used_again(pool: MergePool) -> None:
    used = []

    def fail() -> None:
        with Merge(pool, execution("q1"), LIN) as merge:
            used.append(merge._instance)
            ask(merge, "SELECT 1 / 0")

    with pytest.raises(UserError, match="Division by zero"):
        fail()
    with Merge(pool, execution("q2"), LIN) as merge:
        assert merge._instance is not used[0]


@pytest.mark.parametrize("rows", [1, 200_000])
def test_a_number_that_grows_too_large_is_the_users_error_wherever_it_stands(pool: MergePool, rows: int) -> None:
    """Also when others have been read before it."""
    with Merge(pool, execution("q1"), LIN) as merge:
        merge.load("t", pa.table({"a": [1] * rows + [2**63 - 1]}))
        with pytest.raises(UserError, match="out of range"):
            ask(merge, "SELECT t.a + 1 AS b FROM t")


def test_settings_are_locked_for_every_statement(pool: MergePool) -> None:
    for at in range(2):
        with Merge(pool, execution(f"q{at}"), LIN) as merge, pytest.raises(Exception, match="locked"):
            merge._con.execute("SET memory_limit = '1GB'")


def test_a_late_cancel_stops_nobody_elses_statement(pool: MergePool) -> None:
    before = execution("q1")
    with Merge(pool, before, LIN) as merge:
        engine = merge._instance
    with Merge(pool, execution("q2"), LIN) as merge:
        assert merge._instance is engine
        before.cancel()
        assert len(ask(merge, "SELECT x FROM UNNEST(sequence(1, 10000)) AS t (x)")) == 10_000


def test_a_cancel_stops_the_statement_that_runs(pool: MergePool) -> None:
    running = execution("q1")

    def rows() -> Iterator[pa.RecordBatch]:
        running.cancel()
        while True:
            yield pa.record_batch({"a": [1]})

    with pytest.raises(CityError), Merge(pool, running, LIN) as merge:
        merge.store("f0", pa.schema([("a", pa.int64())]), rows())


def test_a_statement_that_was_cancelled_while_it_waited_for_an_engine_runs_nothing(
    pool: MergePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled, take = execution("q"), pool.take

    def slowly(owner: Owner) -> object:
        cancelled.cancel()
        return take(owner)

    monkeypatch.setattr(pool, "take", slowly)
    with pytest.raises(CityError, match="canceled"), Merge(pool, cancelled, NOBODY) as merge:
        ask(merge, "SELECT 1 + 1 AS n")


@pytest.mark.parametrize("rows", [3, 600_000], ids=["small", "large"])
def test_keys_are_distinct_and_none_is_null_however_large_the_answer(pool: MergePool, rows: int) -> None:
    giver = pa.table({"c0": pa.array([2, None, 1, 2] * rows, pa.int64()), "c1": ["a", "b", None, "a"] * rows})
    assert (giver.nbytes > SMALL_BYTES) == (rows > 3)
    with Merge(pool, execution("q1"), LIN) as merge:
        merge.store("f0", giver.schema, giver.to_batches(max_chunksize=1 << 16))
        for place, keys in enumerate(([1, 2], ["a", "b"])):
            query = parse_one(f"SELECT DISTINCT c{place} AS k FROM f0 WHERE NOT c{place} IS NULL", dialect="trino")
            assert isinstance(query, exp.Select)
            found = merge.keys(KeySet(query, frozenset({"f0"}), places=("f0", (place,))))
            assert sorted(found.to_pylist()) == keys
            assert found.type == giver.schema.field(place).type
        pairs = parse_one(
            "SELECT DISTINCT c0 AS k, c1 AS k1 FROM f0 WHERE NOT c0 IS NULL AND NOT c1 IS NULL", dialect="trino"
        )
        assert isinstance(pairs, exp.Select)
        found = merge.keys(KeySet(pairs, frozenset({"f0"}), places=("f0", (0, 1))))
        assert found.to_pylist() == [{"k": 2, "k1": "a"}]
        assert ask(merge, "SELECT count(*) AS n FROM f0 JOIN (SELECT DISTINCT c0 FROM f0) AS g ON g.c0 = f0.c0") == [
            {"c0": 3 * rows}
        ]
