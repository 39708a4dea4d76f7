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

from catalog.errors import DepartmentError, Outcome, UserError
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
    c5=("boolean", [True, False, None, True, False, True]),
    c6=(
        "decimal(38, 3)",
        [Decimal("0.001"), Decimal("-1.500"), None, Decimal("2.000"), Decimal("0.005"), Decimal("7")],
    ),
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
A = (
    "(SELECT f0.c0 AS k, f0.c1 AS cust, f0.c2 AS word, f0.c3 AS day, f0.c4 AS price, f0.c5 AS paid, f0.c6 AS tax"
    " FROM f0) AS t0"
)
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
    "SELECT f0.c0 AS k FROM f0 JOIN f1 ON f1.c0 = f0.c1 OR f1.c1 = f0.c2",
    "SELECT f0.c0 AS k, f1.c0 AS other FROM f0 JOIN f1 ON f1.c0 > f0.c1",
    "SELECT f0.c0 AS k FROM f0, f2 WHERE f0.c4 = f2.c0",
    "SELECT f1.c1 AS name FROM f1 WHERE f1.c0 > 10",
]
"""Rows of joins."""
CONDITIONS = [
    "f0.c0 IS NULL", "f0.c3 IS NOT NULL", "NOT f0.c0 = 1", "NOT (f0.c0 = 1 OR f0.c1 > 10)",
    "NOT (f0.c0 > 1 AND f0.c1 < 99)", "f0.c5", "NOT f0.c5", "f0.c5 = TRUE", "f0.c5 <> TRUE",
    "f0.c5 AND f0.c0 > 1 OR f0.c1 = 10", "f0.c4 = 1.50", "f0.c4 = 1.500", "f0.c4 > 1", "f0.c4 < -1", "f0.c4 >= 1.499",
    "f0.c4 <> 1.499", "f0.c0 < 1.5", "f0.c0 = 2.0", "2 < f0.c0", "2.00 >= f0.c4", "f0.c0 IN (1, 3, 77)",
    "f0.c0 NOT IN (1, 3)", "f0.c4 IN (1.5, 2, 2.001)", "f0.c4 NOT IN (1.5, -1.50)", "f0.c2 IN ('a', 'é')",
    "f0.c2 NOT IN ('a')", "f0.c3 IN (DATE '2024-02-29')", "f0.c0 BETWEEN 2 AND 4", "f0.c0 NOT BETWEEN 2 AND 4",
    "f0.c1 BETWEEN f0.c0 AND 11", "f0.c2 BETWEEN 'A' AND 'a'", "f0.c4 BETWEEN -1.5 AND 1.505", "f0.c6 = f0.c4",
    "f0.c6 > f0.c0", "f0.c6 <> f0.c4", "f0.c0 <= f0.c4", "f0.c0 < f0.c1 AND f0.c2 < 'b'", "f0.c3 < DATE '1970-01-01'",
    "NOT (f0.c3 < DATE '1970-01-01' OR f0.c5)", "NOT NOT f0.c5", "f0.c4 > 0.5 * f0.c4", "f0.c0 < (1.5 * f0.c0)",
    "f0.c4 * 0.5 >= f0.c0", "2 * f0.c4 = f0.c0", "0.0 * f0.c0 = 0.00 * f0.c4", "NOT (-1.0 * f0.c4 <= -1.00 * f0.c0)",
    "f0.c0 BETWEEN 0.5 * f0.c4 AND 10 * f0.c6", "f0.c4 = 1.0 * f0.c4", "f0.c4 <> 1 * f0.c6",
    " OR ".join(["f0.c0 = 2"] * 128), "f0.c0 = 1 OR f0.c0 = 2 OR f0.c0 IS NULL OR NOT (f0.c1 = 99 AND f0.c5)",
]  # fmt: skip
"""Conditions on f0. Where a NULL leaves one unknown no row passes it, nor its NOT."""
NESTED = [
    f"SELECT t0.k AS k, t0.word AS word FROM {A} WHERE t0.cust IN (SELECT t1.id AS id FROM {B}) AND t0.k > 1",
    f"SELECT t0.k AS k FROM {A} WHERE t0.cust IN (SELECT t1.id AS id FROM {B} JOIN f2 ON f2.c0 = t1.id OR t1.id < 12)",
    f"SELECT t0.k AS k FROM {A}, {B} WHERE t0.cust = t1.id AND t1.id IN (SELECT f2.c0 AS k FROM f2 WHERE f2.c1 <> 'a')",
    f"SELECT t0.k AS k FROM {A} WHERE (t0.k < 9 AND t0.day IN (SELECT t1.day AS d FROM {B} WHERE t1.id > 0.5 * t1.id))",
    "SELECT COUNT(*) AS n, SUM(f0.c4) AS total FROM f0 WHERE f0.c2 IN (SELECT f1.c1 FROM f1)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f3.c0 AS k FROM f3)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f0.c1 AS k FROM f0)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c1 IN (SELECT f1.c0 AS k FROM f1 WHERE f1.c1 IN (SELECT f0.c2 AS w FROM f0))",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT 1 AS one FROM f1 WHERE f1.c0 = f0.c1)",
    "SELECT f0.c0 AS k FROM f0 WHERE NOT EXISTS (SELECT 1 AS one FROM f1 WHERE f0.c1 = f1.c0 AND f1.c1 = 'a')",
    "SELECT f0.c0 AS k FROM f0 WHERE NOT (EXISTS (SELECT 1 AS one FROM f3 WHERE f3.c0 = f0.c0)) AND f0.c0 > 1",
    f"SELECT f0.c2 AS w, COUNT(*) AS n FROM f0 WHERE NOT EXISTS (SELECT 1 AS one FROM {B}, f2 WHERE t1.name = f0.c2"
    " AND f2.c0 = t1.id) GROUP BY f0.c2 ORDER BY w DESC, n",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT 1 AS one FROM f1 WHERE f1.c0 = f0.c1"
    " AND NOT EXISTS (SELECT 1 AS one FROM f2 WHERE f2.c0 = f1.c0))",
]
"""Conditions with a query of their own, over which NULLs are told apart from what is not there."""
GROUPED = [
    f"SELECT t0.cust AS cust, SUM(t1.id) AS n, SUM(t0.price) AS total FROM {A} JOIN {B} ON t1.id = t0.cust"
    " GROUP BY t0.cust",
    f"SELECT SUM(t0.price) AS total FROM {A}, {B} WHERE t1.id = t0.cust AND"
    " ((t1.name = 'a' AND t0.word IN ('a', 'A') AND t0.paid AND t0.k BETWEEN 1 AND 5)"
    " OR (t1.name = 'a ' AND NOT t0.paid))",
    f"SELECT SUM(t0.price) / 7.0 AS part FROM {A} JOIN {B} ON t0.cust = t1.id WHERE t1.id = t0.cust",
    "SELECT SUM(f0.c6) / 0.02 AS a, SUM(f0.c4) / 4 AS b, SUM(f0.c0) / 3.0 AS c, SUM(f0.c4) / 0.0007 AS d FROM f0",
    "SELECT SUM(f0.c4) / 4 AS negative FROM f0 WHERE f0.c4 < 0",
    "SELECT COUNT(*) AS n, COUNT(f0.c3) AS days, COUNT(f0.c5) AS paid, SUM(f0.c1) AS total FROM f0",
    "SELECT MIN(f0.c0) AS a, MAX(f0.c2) AS b, MIN(f0.c2) AS c, MAX(f0.c3) AS d, MIN(f0.c4) AS e FROM f0",
    "SELECT MAX(f0.c6) AS f, MAX(f0.c1) AS g, MAX(f0.c0) AS h FROM f0 WHERE f0.c5",
    "SELECT COUNT(*) AS n, SUM(f3.c0) AS total, COALESCE(SUM(f3.c0), 0) AS zero, MAX(f3.c1) AS word FROM f3",
    "SELECT COALESCE(SUM(f0.c4), 0) AS total, COALESCE(SUM(f0.c0), 0) AS n FROM f0 WHERE f0.c0 > 100",
    "SELECT f3.c0 AS k, COUNT(*) AS n FROM f3 GROUP BY f3.c0",
    "SELECT f0.c3 AS day FROM f0 GROUP BY f0.c3",
    "SELECT f0.c5 AS paid, f0.c1 AS cust, COUNT(*) AS n, SUM(f0.c6) AS tax FROM f0 GROUP BY f0.c1, f0.c5",
    "SELECT COUNT(*) AS n FROM f0 GROUP BY f0.c4",
]
"""What the gateway asks of partial sums, and what else can be grouped."""
ORDERED = [
    "SELECT f0.c0 AS k, f0.c1 AS cust FROM f0 ORDER BY cust, k DESC",
    "SELECT f0.c0 AS k FROM f0 ORDER BY f0.c1 DESC NULLS FIRST, f0.c2",
    "SELECT f0.c3 AS day, f0.c2 AS word FROM f0 ORDER BY day DESC, word NULLS FIRST LIMIT 3",
    "SELECT f0.c5 AS paid, SUM(f0.c4) AS total, MAX(f0.c2) AS word FROM f0 GROUP BY f0.c5 ORDER BY word DESC, total",
    "SELECT SUM(f0.c4) AS total FROM f0 GROUP BY f0.c1 ORDER BY total DESC, f0.c1 LIMIT 2",
    "SELECT f0.c0 AS k FROM f0 ORDER BY k LIMIT 0",
    "SELECT COUNT(*) AS n FROM f0 ORDER BY n LIMIT 5",
    "SELECT f1.c0 AS id, f1.c1 AS name FROM f1 ORDER BY id DESC, name",
    "SELECT f0.c1 AS c0, f0.c0 AS c1 FROM f0 ORDER BY c0, f0.c0 DESC",
]
"""Each to one certain order."""
OTHERS = [
    "SELECT f0.c0 + 1 AS k FROM f0",
    "SELECT f0.c0 AS k FROM f0 LEFT JOIN f1 ON f1.c0 = f0.c1",
    "SELECT f1.c0 AS k FROM f1 JOIN f4 ON f1.c2 = f4.c0",
    "SELECT f1.c0 AS k FROM f1 WHERE f1.c2 = 2",
    "SELECT f1.c0 AS k FROM f1 WHERE f1.c2 IS NULL",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c2 LIKE 'a%'",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 + 1 = 2",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (1, NULL)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 NOT IN (SELECT f2.c0 FROM f2)",
    "SELECT f0.c0 AS k FROM f0 WHERE NOT f0.c0 IN (SELECT f2.c0 FROM f2)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f2.c0 FROM f2) OR f0.c1 = 1",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f2.c0 FROM f2 ORDER BY f2.c0 LIMIT 1)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT COUNT(*) FROM f2)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f1.c2 FROM f1)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c4 IN (SELECT f0.c6 FROM f0)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f2.c0 FROM f2 WHERE f2.c0 < f0.c1)",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT 1 AS one FROM f2)",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT COUNT(*) AS n FROM f2 WHERE f2.c0 = f0.c1)",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT 1 AS one FROM f1 WHERE f1.c0 = f0.c1 AND f1.c1 = f0.c2)",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT 1 AS one FROM f1 WHERE f1.c0 < f0.c1)",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT 1 AS one FROM f1 WHERE f1.c0 = f0.c1 AND f1.c0 < f0.c0)",
    "SELECT f0.c0 AS k FROM f0 WHERE EXISTS (SELECT 1 AS one FROM f0 AS x WHERE x.c4 = f0.c6)",
    "SELECT f0.c0 AS k FROM f0 WHERE 2 * f0.c0 > f0.c1",
    "SELECT f0.c0 AS k FROM f0 WHERE 0.5 * f0.c4 > 1",
    "SELECT f1.c0 AS k FROM f1 WHERE 0.5 * f1.c2 > f1.c0",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 * f0.c4 > f0.c1",
    "SELECT f0.c0 AS k FROM f0 WHERE 0.00001 * f0.c6 > f0.c6",
    "SELECT f0.c0 AS k FROM f0 WHERE 100000000000000000000.0 * f0.c4 > f0.c6",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 = 1e0",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c6 < 0.00001",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c5 IS TRUE",
    "SELECT DISTINCT f0.c1 AS k FROM f0",
    "SELECT SUM(f0.c0 + 1) AS n FROM f0",
    "SELECT SUM(f0.c0) + 1 AS n FROM f0",
    "SELECT SUM(f0.c0) / 2 AS n FROM f0",
    "SELECT SUM(f0.c4) / 7.0 / 3.0 AS n FROM f0",
    "SELECT COALESCE(SUM(f0.c4) / 7.0, 0) AS n FROM f0",
    "SELECT MAX(f0.c4) / 7.0 AS n FROM f0",
    "SELECT SUM(f0.c4) / 0.0 AS n FROM f0 WHERE f0.c0 > 100",
    "SELECT COALESCE(SUM(f0.c0), 1) AS n FROM f0",
    "SELECT COUNT(DISTINCT f0.c1) AS n FROM f0",
    "SELECT SUM(f0.c0) FILTER (WHERE f0.c5) AS n FROM f0",
    "SELECT SUM(f1.c2) AS n FROM f1",
    "SELECT MIN(f0.c5) AS n FROM f0",
    "SELECT MIN(f0.c0, 2) AS least FROM f0",
    "SELECT f1.c2 AS part FROM f1 GROUP BY f1.c2",
    "SELECT f0.c1 AS k, COUNT(*) AS n FROM f0 GROUP BY f0.c1 HAVING COUNT(*) > 1",
    "SELECT f0.c1 AS k, COUNT(*) AS n FROM f0 GROUP BY ROLLUP (f0.c1)",
    "SELECT f0.c1 AS k FROM f0 GROUP BY 1",
    "SELECT f0.c1 AS k FROM f0 GROUP BY f0.c1, f0.c3 ORDER BY f0.c1 + 1",
    "SELECT t.c0 AS k FROM f3 AS t (c1, c0)",
    "SELECT f1.c2 AS part FROM f1 ORDER BY part",
    "SELECT f0.c0 AS k FROM f0 ORDER BY 1",
    "SELECT f0.c0 AS k FROM f0 ORDER BY k OFFSET 1",
    "SELECT f0.c0 AS k FROM f0 LIMIT 1",
    "SELECT t.k AS k FROM (SELECT f0.c0 AS k FROM f0 WHERE f0.c0 > 2) AS t",
    "SELECT f0.c0 AS k FROM f0 UNION ALL SELECT f1.c0 FROM f1",
    "SELECT 2147483648 AS n",
    "SELECT -1 AS n",
    "SELECT 1.0 AS n",
    "SELECT 1 AS n LIMIT 0",
    "SELECT 1 AS n WHERE 1 = 2",
]
"""Other joins, conditions and aggregates, types that Python compares in its own way, and whatever is computed."""

REFUSED = [
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 = f0.c2",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c2 = f0.c3",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 = 9223372036854775808",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 BETWEEN SYMMETRIC 3 AND 1",
    f"SELECT SUM(f0.c4) / 0.{'0' * 29}1 AS n FROM f0",
    f"SELECT SUM(f0.c4) / 0.{'0' * 38}1 AS n FROM f0 WHERE f0.c0 > 100",
    "SELECT f0.c0 AS k, COUNT(*) AS n FROM f0",
    "SELECT f0.c1 AS k FROM f0 GROUP BY f0.c1 ORDER BY f0.c0",
    "SELECT COUNT(*) AS n FROM f0 ORDER BY f0.c0",
    "SELECT f0.c0 AS k, f0.c1 AS k FROM f0 ORDER BY k",
    "SELECT f0.c0 AS k FROM f0 ORDER BY k LIMIT 2.5",
    "SELECT other.f0.c0 AS k FROM f0",
    "SELECT t.c0 AS k FROM f0 AS t, f1 AS t",
    "SELECT t.c0 AS k FROM f0 AS t WHERE EXISTS (SELECT 1 AS one FROM f1 AS t WHERE t.c0 = t.c5)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f1.c1 AS name FROM f1)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 IN (SELECT f1.c0 AS a, f1.c0 AS b FROM f1)",
    "SELECT f0.c0 AS k FROM f0 WHERE f0.c0 > 0.5 * f0.c2",
    "SELECT t.k AS k FROM (SELECT f1.c0 AS k FROM f0) AS t",
    "SELECT t.k AS k FROM (SELECT f0.c0 AS k FROM f0 TABLESAMPLE BERNOULLI (50)) AS t",
    "SELECT t.k AS k FROM (SELECT f0.c0 AS k FROM other.f0) AS t",
]
"""What has no meaning, a value that has no room, and what is not on the closed list."""


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


def loaded(pool: MergePool, rows: pa.Table) -> Merge:
    """A merge that was given f0 alone."""
    merge = Merge(pool, Execution("q1", "", Session(user="lin")), LIN)
    merge.load("f0", rows)
    return merge


def ask(merge: Merge, sql: str) -> tuple[list[str], list[str], bool]:
    """Types, rows (as they come only with ORDER BY), and whether an engine was asked."""
    with merge:
        made = merge.compile(parse_one(sql, dialect="trino"))
        rows = [repr([*row.values()]) for batch in merge.run(made) for row in batch.to_pylist()]
        return (
            [str(kind) for _, kind in made.columns],
            rows if "ORDER BY" in sql else sorted(rows),
            merge._taken is not None,
        )


WHERE = [f"SELECT f0.c0 AS k, f0.c1 AS cust FROM f0 WHERE {condition}" for condition in CONDITIONS]


@pytest.mark.parametrize("sql", [*MATCHED, *WHERE, *NESTED, *GROUPED, *ORDERED])
def test_few_rows_are_answered_as_the_engine_answers(
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


@pytest.mark.parametrize("sql", REFUSED)
def test_what_the_engine_refuses_is_refused(pool: MergePool, sql: str) -> None:
    with pytest.raises(UserError):
        ask(opened(pool), sql)


@pytest.mark.parametrize("most", [0, 3, 5])
@pytest.mark.parametrize("sql", [*MATCHED[:4], NESTED[1], *GROUPED[:3]])
def test_more_rows_are_the_engines_and_none_of_them_is_lost(
    pool: MergePool, monkeypatch: pytest.MonkeyPatch, sql: str, most: int
) -> None:
    """However far an answer was read before it turned out to be too long."""
    _, rows, _ = ask(opened(pool), sql)
    monkeypatch.setattr(small, "MOST", most)
    assert ask(opened(pool), sql)[1:] == (rows, True)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("bigint", [2**63 - 1, 1]), ("bigint", [-(2**63), -1]), ("decimal(38, 0)", [10**38 - 1, 1])],
)
def test_a_sum_that_does_not_fit_is_the_error_it_always_was(pool: MergePool, kind: str, values: list[int]) -> None:
    rows = table(c0=(kind, [Decimal(v) if kind != "bigint" else v for v in values]))
    with loaded(pool, rows) as merge:
        made = merge.compile(parse_one("SELECT SUM(f0.c0) AS n FROM f0", dialect="trino"))
        with pytest.raises(UserError, match="out of range"):
            list(merge.run(made))


def test_more_combinations_than_few_are_the_engines(pool: MergePool) -> None:
    numbers = table(c0=("bigint", [*range(50)]))
    _, rows, by_engine = ask(loaded(pool, numbers), "SELECT a.c0 AS n FROM f0 AS a, f0 AS b")
    assert by_engine
    assert len(rows) == 2_500


@pytest.mark.parametrize(
    ("sql", "fits"),
    [
        (f"SELECT f0.c0 AS n FROM f0 WHERE {' OR '.join(['f0.c0 = f0.c0'] * 3)}", 20),
        ("SELECT a.c0 AS n FROM f0 AS a, f0 AS b WHERE a.c0 < b.c0 OR a.c0 > b.c0", 5),
        ("SELECT SUM(f0.c0) AS a, MAX(f0.c0) AS b FROM f0", 15),
    ],
)
def test_much_to_look_at_is_the_engines(pool: MergePool, monkeypatch: pytest.MonkeyPatch, sql: str, fits: int) -> None:
    """However few the rows: conditions on each and on each two of them, and aggregates of them."""
    monkeypatch.setattr(small, "MOST_CELLS", 120)
    for count in (fits, fits + 1):
        assert ask(loaded(pool, table(c0=("bigint", [*range(count)]))), sql)[2] is (count > fits)


@pytest.mark.parametrize(("kind", "value"), [("varchar", "long"), ("array(bigint)", [1])])
def test_a_long_text_is_not_repeated_for_many_rows(
    pool: MergePool, monkeypatch: pytest.MonkeyPatch, kind: str, value: Any
) -> None:
    rows = table(c0=("bigint", [*range(20)]), c1=(kind, [*[None] * 19, value * 100]))
    monkeypatch.setattr(small, "MOST_BYTES", 1_000)
    assert not ask(loaded(pool, rows), "SELECT b.c0 AS k, a.c0 AS n FROM f0 AS a, f0 AS b")[2]
    assert ask(loaded(pool, rows), "SELECT b.c0 AS k, a.c1 AS long FROM f0 AS a, f0 AS b")[2]
    if kind == "varchar":
        assert not ask(loaded(pool, rows), "SELECT f0.c0 AS k, f0.c1 AS long FROM f0")[2]


@pytest.mark.parametrize(
    ("sql", "by_engine", "value"),
    [
        ("SELECT f0.c0 AS word FROM f0 WHERE f0.c1 < 2", False, "a"),
        ("SELECT MAX(f0.c0) AS word FROM f0", True, "b"),
        ("SELECT MAX(f0.c2) AS price FROM f0", True, Decimal("2.50")),
    ],
)
def test_a_column_in_another_form_than_its_type_is_told_in_its_type(
    pool: MergePool, sql: str, by_engine: bool, value: object
) -> None:
    """Its values are read by the engine only: here they would be taken for those of another scale."""
    price = pa.field("c2", pa.decimal128(12, 4), metadata={b"trino": b"decimal(10, 2)"})
    schema = pa.schema([pa.field("c0", pa.dictionary(pa.int32(), pa.string())), pa.field("c1", pa.int64()), price])
    columns = [pa.array(["a", "b"]).dictionary_encode(), [1, 2], [Decimal("1.5"), Decimal("2.5")]]
    with loaded(pool, pa.table(columns, schema=schema)) as merge:
        made = merge.compile(parse_one(sql, dialect="trino"))
        (batch,) = merge.run(made)
        assert batch.schema.types == [kind.arrow() for _, kind in made.columns]
        assert batch.to_pylist() == [{"c0": value}]
        assert (merge._taken is not None) is by_engine


def test_large_decimals_are_the_engines(pool: MergePool) -> None:
    """Those of more units than 64 bits hold: few of these always have a sum."""
    rows = table(c0=("decimal(38, 2)", [Decimal("92233720368547758.07"), Decimal("92233720368547758.08")]))
    for count, by_engine in ((1, False), (2, True)):
        with loaded(pool, rows[:count]) as merge:
            made = merge.compile(parse_one("SELECT SUM(f0.c0) AS n FROM f0", dialect="trino"))
            assert isinstance(made, small.Matched) is not by_engine
            (batch,) = merge.run(made)
            assert batch.to_pylist() == [{"c0": sum(rows[:count].column(0).to_pylist())}]


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
