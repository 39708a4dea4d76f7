"""A statement that sorts a join and wants few rows: one department's first rows, and everything only if they do not do.

The gateway's own exchange, over departments that answer out of the differential tests' world.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from catalog.errors import CityError
from catalog.names import RelationName
from gateway.execution import Execution
from gateway.merge.duckdb import MergePool
from gateway.pipeline import Gateway
from gateway.plan import FragmentPlan, Plan
from gateway.plan.asking import Request
from gateway.plan.explain import explain_plan
from gateway.plan.learn import Learned
from gateway.settings import Limits
from tests.differential.harness import SESSION, Rows, World, answer_of, planned, pooled, rows_of, world
from tests.differential.world import CITY

JOIN = "FROM water.main.reading r JOIN market.main.company c ON c.id = r.company"
ENOUGH = f"SELECT r.meter_id, r.m3, c.name {JOIN} ORDER BY r.m3 DESC, r.meter_id, c.name LIMIT 2"
METER = RelationName("water", "main", "meter")
TOO_FEW = f"SELECT r.m3, c.staff {JOIN} AND c.staff > r.m3 ORDER BY r.m3 DESC, c.staff LIMIT 3"


@dataclass(eq=False)
class Stream:
    """A whole answer that is here. name: of the fragment in its statement."""

    table: pa.Table
    name: str = ""
    receipt: Any = None
    warnings: tuple[str, ...] = ()
    error: CityError | None = None

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def message(self) -> Any:
        return SimpleNamespace(fragment_id=self.name)

    def is_ready(self, whole: bool) -> bool:
        return True

    def schema(self) -> pa.Schema:
        return self.table.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self.table.to_batches()

    def cancel(self) -> None:
        pass


@dataclass
class Departments:
    """asked: (fragment, rows that it gave). receipt: that comes with each answer."""

    plan: Plan
    here: World = CITY
    receipt: Any = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    def ask(
        self, execution: Execution, session: Any, department: str, name: str, sql: str, keys: Sequence[pa.Array],
        *, zoned: bool, changed: threading.Event, here: bool,
    ) -> Stream:  # fmt: skip
        fragment = next(f for f in self.plan.questions if f.id == name.rpartition("_")[2])
        assert fragment.department == department
        stream = Stream(answer_of(self.here, fragment, Request(sql, tuple(keys))), name, self.receipt)
        self.asked.append((fragment.id, stream.rows))
        return stream


@dataclass
class Book:
    """begun: the fragments of each `begin`."""

    begun: list[list[str]] = field(default_factory=list)

    def begin(self, execution: Execution, session: Any, fragments: Sequence[FragmentPlan]) -> None:
        self.begun.append([f.id for f in fragments])


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[MergePool]:
    made = MergePool(Limits(), tmp_path / "spill", warm=1)
    yield made
    made.close()


def exchanged(pool: MergePool, plan: Plan, here: World = CITY, receipt: Any = None) -> tuple[Rows, Departments, Book]:
    gateway, departments, book = Gateway.__new__(Gateway), Departments(plan, here, receipt), Book()
    vars(gateway).update(agents=departments, ledger=book, pool=pool, _lock=threading.Lock(), _receipts={})
    execution = Execution("q", "SELECT 1", SESSION)

    def work() -> None:
        gateway._exchange(execution, SESSION, plan)
        execution.finish()

    worker = threading.Thread(target=work)
    worker.start()
    batches = list(execution.batches())
    worker.join(10)
    return [row for batch in batches for row in rows_of(pa.table(batch))], departments, book


def test_first_rows_that_are_enough_are_all_that_is_asked_for(pool: MergePool) -> None:
    plan = planned(CITY, ENOUGH)
    assert plan.first is not None
    rows, departments, book = exchanged(pool, plan)
    assert rows == pooled(CITY, ENOUGH)
    assert [name for name, _ in departments.asked] == ["f2", "f3"] == book.begun[0]
    assert departments.asked[0] == (plan.first.fragment, plan.first.rows)
    assert len(book.begun) == 1


def test_first_rows_that_are_too_few_are_given_up_and_nothing_of_them_is_handed_over(pool: MergePool) -> None:
    plan = planned(CITY, TOO_FEW)
    rows, departments, book = exchanged(pool, plan)
    assert rows == pooled(CITY, TOO_FEW)
    assert [name for name, _ in departments.asked] == ["f2", "f3", "f0", "f1"]
    assert book.begun == [["f2", "f3"], ["f0", "f1"]]


def test_every_question_that_may_be_asked_is_explained() -> None:
    plan = planned(CITY, ENOUGH)
    told = explain_plan(plan, SESSION)
    assert [f["id"] for f in told.fragments] == ["f2", "f3", "f0", "f1"]
    assert all(f.sql in told.text for f in plan.questions)
    assert "only if that is fewer than 2 rows, and f2 gave 5:" in told.text


TWICE = (
    "SELECT r.m3, c.name, c2.name AS n2 FROM market.main.company c, market.main.company c2, water.main.reading r "
    "WHERE r.company = c.id AND r.note = c2.name AND c2.id < c.id ORDER BY r.m3 DESC, r.meter_id, c.name LIMIT 2"
)


def test_no_two_questions_of_a_statement_have_one_name() -> None:
    """Also where a question that two relations share left a gap in their numbers."""
    plan = planned(CITY, TWICE)
    assert plan.first is not None
    names = [f.id for f in plan.questions]
    assert len(names) == 4
    assert len(set(names)) == 4


@pytest.mark.parametrize("kind", ["json", "map(varchar,bigint)", "array(bigint)"])
def test_rows_with_a_column_that_has_no_order_are_asked_for_as_a_whole(kind: str) -> None:
    value = {"json": "[1]", "map(varchar,bigint)": [("x", 1)], "array(bigint)": [1, None]}[kind]
    city = world(
        {"a__t": {"rows": 100_000}},
        a__t=({"id": "bigint", "v": kind, "p": "double"}, [(i, value, float(i)) for i in range(9)]),
        b__u=({"id": "bigint"}, [(i,) for i in range(0, 9, 2)]),
    )
    join = "FROM a.main.t t JOIN b.main.u u ON u.id = t.id ORDER BY t.p DESC LIMIT 3"
    assert planned(city, f"SELECT t.id, t.v {join}").first is None
    assert planned(city, f"SELECT t.id {join}").first is not None


def test_what_ties_with_a_last_row_of_nan_is_left_out(pool: MergePool) -> None:
    """A NaN is the greatest here, and what is backwards the greatest with NULLS FIRST is not."""
    city = world(
        {"a__t": {"rows": 100_000}},
        a__t=({"id": "bigint", "p": "double"}, [(i, float(i) if i < 9 else float("nan")) for i in range(20)]),
        b__u=({"id": "bigint", "w": "bigint"}, [(i, -i) for i in (0, 1, 2, 8, 9, 10, 19)]),
    )
    sql = "SELECT t.p, u.w FROM a.main.t t JOIN b.main.u u ON u.id = t.id ORDER BY t.p, u.w LIMIT 5"
    plan = planned(city, sql)
    assert plan.first is not None
    rows, departments, _ = exchanged(pool, plan, city)
    assert [w for _, w in rows] == [0, -1, -2, -8, -19]
    assert departments.asked[0] == ("f2", plan.first.rows) == ("f2", 11)


def test_a_question_for_sums_is_not_asked_twice() -> None:
    city = world(
        {
            "a__t": {"rows": 100_000},
            "g__s": {"mode": "aggregate", "dimensions": ("d",), "measures": (), "purpose": "test", "min_group": 1},
        },
        a__t=({"id": "bigint", "ref": "bigint", "p": "double"}, [(i, i % 7, float(i)) for i in range(9)]),
        g__s=({"d": "bigint"}, [(i,) for i in range(7)]),
    )
    sums = "SELECT d, count(*) AS n FROM g.main.s GROUP BY d"
    plan = planned(city, f"SELECT t.id, x.n FROM ({sums}) x JOIN a.main.t t ON t.ref = x.d ORDER BY t.p DESC LIMIT 3")
    assert plan.first is None


# ---- of groups

METERS = "FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person"
GREATEST = f"SELECT m.id, SUM(a.cost) AS total {METERS} AND m.id < 5 GROUP BY m.id ORDER BY total DESC LIMIT 1"
DOUBLED = f"SELECT m.id, COUNT(a.day) AS n {METERS} GROUP BY m.id ORDER BY n DESC, m.id DESC LIMIT 1"


def test_first_groups_that_are_enough_are_all_that_is_asked_for(pool: MergePool) -> None:
    plan = planned(CITY, GREATEST)
    assert plan.first is not None
    assert plan.first.once == ("f4",)
    rows, departments, book = exchanged(pool, plan)
    assert rows == pooled(CITY, GREATEST)
    assert sorted(departments.asked) == [("f2", 4), ("f3", 4), ("f4", 0)]
    assert book.begun == [["f2", "f3", "f4"]]


def test_a_key_that_comes_twice_is_seen_and_all_groups_are_asked_for(pool: MergePool) -> None:
    """Meter 5 is there twice: its group counts double, and is the greatest, though it is not among the first."""
    plan = planned(CITY, DOUBLED)
    rows, departments, book = exchanged(pool, plan)
    assert rows == pooled(CITY, DOUBLED) == [(5, 2)]
    assert ("f4", 1) in departments.asked
    assert book.begun == [["f2", "f3", "f4"], ["f0", "f1"]]
    told = explain_plan(plan, SESSION).text
    assert "there must be no such row: id is a key, as its owner says" in told
    assert "only if that is fewer than 1 rows, or f4 gave any; and f2 gave 3:" in told


def test_a_value_is_looked_for_twice_only_among_few_rows() -> None:
    """Of a relation far larger than what is spared, all rows would have to be looked at."""
    for rows, wanted in ((100_000, True), (40_000_000, False)):
        meter = {**CITY.traits[METER], "rows": rows}
        plan = planned(World(CITY.tables, {**CITY.traits, METER: meter}), GREATEST)
        assert (plan.first is not None) is wanted


@pytest.mark.parametrize("sql", [TOO_FEW, DOUBLED])
def test_first_rows_that_were_not_enough_are_not_asked_for_again(pool: MergePool, sql: str) -> None:
    learned = Learned()
    plan = learned.of(planned(CITY, sql))
    exchanged(pool, plan)
    assert learned.corrects()
    assert learned.of(planned(CITY, sql)).first is None
    assert not learned.corrects()


def test_first_rows_that_are_enough_are_asked_for_again(pool: MergePool) -> None:
    learned = Learned()
    exchanged(pool, learned.of(planned(CITY, GREATEST)))
    assert not learned.corrects()
