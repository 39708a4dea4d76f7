"""What questions delivered decides who waits for whom the next time; what the answer is, never."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench.tpch import TABLES, queries
from catalog.names import RelationName
from catalog.relation import RelationList
from gateway.catalogue import DepartmentView, UserView
from gateway.execution import Session
from gateway.parse import parse
from gateway.pipeline import plan_query, plan_resolved
from gateway.plan import FragmentPlan, Plan
from gateway.plan.cache import PlanCache
from gateway.plan.explain import explain_plan
from gateway.plan.learn import AGAIN
from gateway.resolve import resolve
from tests.differential.corpus import STATEMENTS, Statement
from tests.differential.harness import SESSION, World, pooled, resolved, run, same
from tests.differential.tpch import tiny
from tests.differential.world import CITY

BIG = World(
    CITY.tables,
    {
        **CITY.traits,
        RelationName("water", "main", "reading"): {"rows": 6_000_000},
        RelationName("market", "main", "company"): {"rows": 200_000, "key": ("id",)},
    },
)
LISTS = tuple(DepartmentView(n, n, "up", RelationList(department=n, version="1")) for n in ("market", "water"))
VIEW = replace(BIG.view, departments=LISTS)
MONTH = (
    "SELECT c.name, r.m3 FROM water.main.reading r JOIN market.main.company c ON c.id = r.company "
    "WHERE r.month >= DATE '{}-01-01' AND r.month < DATE '{}-02-01'"
)
ASKED = MONTH.format(2024, 2024)


class Planner:
    def __init__(self) -> None:
        self.cache = PlanCache()
        self.made = 0

    def plan(self, sql: str = ASKED, session: Session = SESSION, view: UserView = VIEW) -> Plan:
        def make(text: str, rows: Mapping[str, int]) -> Plan:
            self.made += 1
            return plan_resolved(resolve(parse(text), view, session), rows)

        return self.cache.get(sql, session, view, make)

    def ran(self, plan: Plan, rows: int) -> None:
        """Its question about readings delivered so many."""
        assert plan.learned is not None
        plan.learned.tell(plan, {f.id: rows for f in plan.fragments if f.department == "water"})


def waits(plan: Plan) -> bool:
    """Whether companies wait for the keys of readings."""
    return next(f for f in plan.fragments if f.department == "market").keys is not None


def test_fewer_rows_than_were_guessed_give_keys_the_next_time() -> None:
    planner = Planner()
    first = planner.plan()
    assert not waits(first)
    planner.ran(first, 50)
    second = planner.plan()
    assert waits(second)
    assert "how many rows it delivers is known from before" in explain_plan(second, SESSION).text
    assert planner.plan() is not first
    assert planner.made == 2


def test_so_they_do_for_other_values() -> None:
    planner = Planner()
    planner.ran(planner.plan(), 50)
    assert waits(planner.plan(MONTH.format(2023, 2023)))


def test_a_guess_that_was_about_right_stays() -> None:
    planner = Planner()
    first = planner.plan()
    expected = next(f.expected for f in first.fragments if f.department == "water")
    assert expected is not None
    planner.ran(first, int(expected * 0.8))
    planner.plan()
    assert planner.made == 1


def test_a_statement_is_planned_again_a_few_times_only() -> None:
    planner = Planner()
    for turn in range(10):
        planner.ran(planner.plan(), 50 if turn % 2 else 5_000_000)
    assert planner.made == 1 + AGAIN


def test_other_lists_are_another_beginning() -> None:
    planner = Planner()
    planner.ran(planner.plan(), 50)
    newer = replace(VIEW, departments=(LISTS[0], replace(LISTS[1], state="stale")))
    assert not waits(planner.plan(view=newer))


@pytest.mark.parametrize("session", [replace(SESSION, user="bo"), replace(SESSION, purpose="other")])
def test_nobody_learns_from_another(session: Session) -> None:
    planner = Planner()
    planner.ran(planner.plan(), 50)
    other = replace(VIEW, user=session.user, purpose=session.purpose)
    assert not waits(planner.plan(session=session, view=other))


def test_without_having_run_nothing_is_known() -> None:
    assert "known from before" not in explain_plan(plan_query(ASKED, VIEW, SESSION), SESSION).text


SUMMED = (
    "SELECT c.name, x.total FROM (SELECT meter_id, SUM(m3) AS total FROM water.main.reading GROUP BY meter_id) x "
    "JOIN market.main.company c ON c.revenue = x.meter_id"
)


def test_that_there_are_fewer_groups_than_were_guessed_restricts_no_values() -> None:
    """A million groups of six million rows: they are there for each meter, not for one in six."""
    planner = Planner()
    first = planner.plan(SUMMED)
    planner.ran(first, 30_000)
    assert planner.plan(SUMMED) is not first
    assert not waits(planner.plan(SUMMED))


BOUND = [s for s in STATEMENTS if s.id.startswith(("bind:", "keyed:", "reductions:"))]


@pytest.mark.parametrize("statement", BOUND, ids=lambda s: s.id)
def test_no_answer_depends_on_what_was_learned(statement: Statement) -> None:
    """Numbers by dice, whatever was asked before."""
    dice = random.Random(statement.id)
    bound = resolved(CITY, statement.sql)
    texts = {f.sql for f in plan_resolved(bound).questions}
    plan = plan_resolved(bound, {text: dice.choice((0, 1, 3, 1_000_000)) for text in texts})
    assert same(pooled(CITY, statement.plain), run(CITY, replace(plan, keyed=None)), statement.ordered)


TPCH = tiny()
ROWS = {
    "part": 200_000, "supplier": 10_000, "partsupp": 800_000, "customer": 150_000, "orders": 1_500_000,
    "lineitem": 6_000_000, "nation": 25, "region": 5,
}  # fmt: skip


def test_few_lines_of_few_parts_give_the_suppliers_of_those_that_have_a_customer() -> None:
    """TPC-H's q08 is a star: of the lines of some parts, only those count whose customer is in AMERICA."""
    sized = {n: r.model_copy(update={"rows": ROWS[n.table]}) for n, r in TPCH.view.relations.items()}
    sql = queries(lambda t: f"{TABLES[t]}.main.{t}")["q08"]
    bound = resolve(parse(sql), replace(TPCH.view, relations=sized), SESSION)

    def about(plan: Plan, relation: str) -> FragmentPlan:
        return next(f for f in plan.fragments if f".{relation} " in f.sql)

    guessed = plan_resolved(bound)
    assert about(guessed, "supplier").keys is None
    known = plan_resolved(bound, {about(guessed, "part").sql: 1_451})
    lines, customers, suppliers = (about(known, name) for name in ("lineitem", "customer", "supplier"))
    assert suppliers.keys is not None
    assert suppliers.keys.needs == {lines.id, customers.id}
    assert f"keys from {lines.id} whose rows match {customers.id}, at" in explain_plan(known, SESSION).text
    assert same(pooled(TPCH, sql), run(TPCH, known), ordered=True)
