"""Merges of few rows: without an engine, the same answer as with one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import parse_one

from catalog.errors import DepartmentError, Outcome
from catalog.types import arrow_field, parse
from gateway.execution import Execution, Session
from gateway.merge import small
from gateway.merge.duckdb import Merge, MergePool
from gateway.settings import Limits

LIN = ("lin", "health")


def table(**columns: tuple[str, list[Any]]) -> pa.Table:
    fields = [arrow_field(name, parse(kind)) for name, (kind, _) in columns.items()]
    arrays = [pa.array(values, f.type) for f, (_, values) in zip(fields, columns.values(), strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


ORDERS = table(
    c0=("bigint", [1, 2, 3, 4, None, 6]),
    c1=("integer", [10, 10, 11, None, 12, 99]),
    c2=("varchar(5)", ["a", "A", "a ", "é", None, "\U0001f600"]),
    c3=("date", [date(2024, 2, 29), None, date(1, 1, 1), date(9999, 12, 31), date(1969, 12, 31), date(2024, 2, 29)]),
    c4=("decimal(15, 2)", [Decimal("1.50"), None, Decimal("0.00"), Decimal("-1.50"), Decimal("2.00"), Decimal("3.00")]),
)
CUSTOMERS = table(
    c0=("bigint", [10, 11, 11, None, 12, 13]),
    c1=("varchar", ["a", "a ", None, "é", "e\u0301", "\U0001f600"]),
    c2=("double", [1.5, 7.25, -0.0, None, float("inf"), 2.0]),
    c3=("date", [date(2024, 2, 29), date(2024, 3, 1), None, date(1969, 12, 31), date(1, 1, 1), date(2024, 2, 29)]),
)
NATIONS = table(c0=("smallint", [1, 2, 13, None]), c1=("varchar(25)", ["n", "m", "a", "\uffff"]))
NONE = table(c0=("bigint", []), c1=("varchar", []))
GIVEN = {"f0": ORDERS, "f1": CUSTOMERS, "f2": NATIONS, "f3": NONE}
A = "(SELECT f0.c0 AS k, f0.c1 AS cust, f0.c2 AS word, f0.c3 AS day, f0.c4 AS price FROM f0) AS t0"
B = "(SELECT f1.c0 AS id, f1.c1 AS name, f1.c2 AS part, f1.c3 AS day FROM f1) AS t1"

MATCHED = [
    f"SELECT t0.k AS k, t1.name AS name, t0.price AS price FROM {A} JOIN {B} ON t1.id = t0.cust",
    f"SELECT t1.part AS part, t0.k AS k, t0.k AS again FROM {A} INNER JOIN {B} ON t1.name = t0.word",
    f"SELECT t0.k AS k, t1.id AS id FROM {A} CROSS JOIN {B} WHERE t0.day = t1.day AND t0.k > 1",
    f"SELECT t0.k AS k, t1.id AS id FROM {A}, {B} WHERE t1.id = t0.cust AND t0.word = t1.name",
    f"SELECT t0.k AS k, f2.c1 AS n FROM {A} JOIN {B} ON t1.id = t0.cust JOIN f2 ON f2.c0 = t1.id",
    f"SELECT t0.k AS k, f2.c1 AS n FROM {A} CROSS JOIN {B} JOIN f2 ON f2.c0 = t0.k AND f2.c0 <= 2",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c3 >= CAST('1969-12-31' AS DATE) AND f0.c2 <> 'a'",
    "SELECT x.c0 AS k, y.c0 AS other FROM f0 AS x JOIN f0 AS y ON x.c1 = y.c1",
    "SELECT f0.c2 AS w FROM f0 WHERE f0.c2 > 'Z' AND f0.c0 < 6",
    "SELECT f2.c1 AS w, f3.c1 AS none FROM f2 JOIN f3 ON f3.c0 = f2.c0",
    "SELECT 1 AS n, 0 AS o, 2147483647 AS most",
]
OTHERS = [
    "SELECT f0.c0 + 1 AS k FROM f0",
    "SELECT f0.c0 AS k FROM f0 LEFT JOIN f1 ON f1.c0 = f0.c1",
    "SELECT f0.c0 AS k FROM f0 JOIN f1 ON f1.c0 = f0.c1 OR f1.c1 = f0.c2",
    "SELECT f0.c0 AS k FROM f0 JOIN f1 ON f1.c0 > f0.c1",
    "SELECT f1.c0 AS k FROM f1 JOIN f4 ON f1.c2 = f4.c0",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c4 = 1.50",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IS NULL",
    "SELECT f0.c0 AS k FROM f0 WHERE NOT f0.c0 = 1",
    "SELECT f1.c0 AS k FROM f1 WHERE f1.c2 = 2",
    "SELECT DISTINCT f0.c1 AS k FROM f0",
    "SELECT f0.c0 AS k FROM f0 ORDER BY f0.c0",
    "SELECT f0.c0 AS k FROM f0 LIMIT 1",
    "SELECT count(*) AS n FROM f0",
    "SELECT f0.c1 AS k FROM f0 GROUP BY f0.c1",
    "SELECT t.k AS k FROM (SELECT f0.c0 AS k FROM f0 WHERE f0.c0 > 2) AS t",
    "SELECT f0.c0 AS k FROM f0 UNION ALL SELECT f1.c0 FROM f1",
    "SELECT 2147483648 AS n",
    "SELECT -1 AS n",
    "SELECT 1.0 AS n",
    "SELECT 1 AS n LIMIT 0",
    "SELECT 1 AS n WHERE 1 = 2",
]
"""Other kinds of joins, other conditions, types that Python compares in its own way, and whatever is computed."""


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[MergePool]:
    made = MergePool(Limits(), tmp_path / "spill", warm=1)
    yield made
    made.close()


def opened(pool: MergePool) -> Merge:
    """A merge that was given everything, half of it to keep and half as streams."""
    merge = Merge(pool, Execution("q1", "", Session(user="lin")), LIN)
    for name, rows in {**GIVEN, "f4": table(c0=("double", [1.5, 2.0]))}.items():
        give = merge.store if name in ("f0", "f2") else merge.attach
        give(name, rows.schema, rows.to_batches(max_chunksize=4))
    return merge


def ask(merge: Merge, sql: str) -> tuple[list[str], list[str], bool]:
    """Types, rows in no order, and whether an engine was asked."""
    with merge:
        made = merge.compile(parse_one(sql, dialect="trino"))
        rows = [repr([*row.values()]) for batch in merge.run(made) for row in batch.to_pylist()]
        return [str(kind) for _, kind in made.columns], sorted(rows), merge._taken is not None


@pytest.mark.parametrize("sql", MATCHED)
def test_few_rows_are_matched_as_the_engine_matches_them(
    pool: MergePool, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    types, rows, by_engine = ask(opened(pool), sql)
    assert not by_engine
    monkeypatch.setattr(small, "MOST", -1)
    monkeypatch.setattr(small, "numbers", lambda _: None)
    stored = Merge(pool, Execution("q2", "", Session(user="lin")), LIN)
    for name, given in GIVEN.items():
        stored.store(name, given.schema, given.to_batches())
    assert ask(stored, sql) == (types, rows, True)


@pytest.mark.parametrize("sql", OTHERS)
def test_anything_else_is_the_engines(pool: MergePool, sql: str) -> None:
    assert ask(opened(pool), sql)[2]


@pytest.mark.parametrize("most", [0, 3, 5])
@pytest.mark.parametrize("sql", MATCHED[:4])
def test_more_rows_are_the_engines_and_none_of_them_is_lost(
    pool: MergePool, monkeypatch: pytest.MonkeyPatch, sql: str, most: int
) -> None:
    """However far an answer was read before it turned out to be too long."""
    _, rows, _ = ask(opened(pool), sql)
    monkeypatch.setattr(small, "MOST", most)
    assert ask(opened(pool), sql)[1:] == (rows, True)


def test_an_answer_that_is_all_there_is_passes_in_its_order_however_long(pool: MergePool) -> None:
    rows = table(c0=("bigint", [*range(3_000, 0, -1)]), c1=("varchar(4)", [str(n) for n in range(3_000)]))
    with Merge(pool, Execution("q1", "", Session(user="lin")), LIN) as merge:
        merge.attach("f0", rows.schema, rows.to_batches(max_chunksize=700))
        made = merge.compile(parse_one("SELECT f0.c1 AS word, f0.c0 AS n, f0.c0 AS again FROM f0", dialect="trino"))
        found = pa.Table.from_batches(merge.run(made))
        assert merge._taken is None
    assert [(name, str(kind)) for name, kind in made.columns] == [
        ("word", "varchar(4)"), ("n", "bigint"), ("again", "bigint"),
    ]  # fmt: skip
    assert found.column_names == ["c0", "c1", "c2"]
    assert found.column(0).to_pylist() == rows.column(1).to_pylist()
    assert found.column(1).to_pylist() == found.column(2).to_pylist() == rows.column(0).to_pylist()


def test_one_that_is_passed_on_and_breaks_off_fails(pool: MergePool) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from CUSTOMERS.to_batches()
        raise DepartmentError("It stopped.", Outcome.DOWN, who="b")

    with Merge(pool, Execution("q1", "", Session(user="lin")), LIN) as merge:
        merge.attach("f1", CUSTOMERS.schema, broken())
        made = merge.compile(parse_one("SELECT f1.c0 AS k FROM f1", dialect="trino"))
        with pytest.raises(DepartmentError, match="It stopped"):
            list(merge.run(made))


def test_an_answer_that_breaks_off_is_no_short_answer(pool: MergePool) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from CUSTOMERS.to_batches()
        raise DepartmentError("It stopped.", Outcome.DOWN, who="b")

    with opened(pool) as merge:
        merge.attach("f1", CUSTOMERS.schema, broken())
        with pytest.raises(DepartmentError, match="It stopped"):
            merge.compile(parse_one(MATCHED[0], dialect="trino"))
