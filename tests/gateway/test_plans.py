"""A dashboard's question is planned once; whatever its plan was made from ends it when it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bench.tpch import TABLES, queries
from catalog.errors import CityError, DepartmentError, Outcome
from catalog.relation import RelationList
from gateway.catalogue import DepartmentView, UserView
from gateway.execution import Session
from gateway.pipeline import plan_query
from gateway.plan import Plan
from gateway.plan.cache import LONG, PlanCache
from gateway.plan.template import Template, lift
from gateway.statements import Explain, Query, classify
from tests.differential.corpus import STATEMENTS
from tests.differential.tpch import tiny
from tests.differential.world import CITY

SQL = "SELECT c.district, SUM(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY 1"
ANA = Session("ana", purpose="test")
LISTS = tuple(DepartmentView(n, n, "up", RelationList(department=n, version="1")) for n in ("market", "water"))
NEWER = RelationList(department="water", version="2")
VIEW = replace(CITY.view, departments=LISTS)


class Planner:
    def __init__(self) -> None:
        self.cache = PlanCache()
        self.made: list[str] = []

    def plan(self, sql: str = SQL, session: Session = ANA, view: UserView = VIEW) -> Plan:
        def make(text: str, rows: Mapping[str, int]) -> Plan:
            self.made.append(text)
            return plan_query(text, view, session)

        return self.cache.get(sql, session, view, make)


def test_an_equal_question_is_planned_once() -> None:
    planner = Planner()
    first = planner.plan()
    copied = replace(VIEW, departments=tuple(replace(d) for d in LISTS))
    assert planner.plan() is first
    assert planner.plan(view=copied) is first
    assert planner.made == [SQL]


@pytest.mark.parametrize("sql", [SQL, "SELECT current_date"], ids=["with values", "whole"])
def test_a_statement_that_is_explained_has_the_plan_that_it_has_when_it_runs(sql: str) -> None:
    planner = Planner()
    asked, explained = (classify(text, ANA) for text in (sql, f"EXPLAIN ANALYZE\n{sql}\n"))
    assert isinstance(asked, Query)
    assert isinstance(explained, Explain)
    assert planner.plan(asked.sql) is planner.plan(explained.sql)
    assert len(planner.made) == 1


@pytest.mark.parametrize("odd", ["\x0b", "\xa0", "\u2028", "\x85"])
@pytest.mark.parametrize("sql", [SQL, f"{SQL} HAVING SUM(r.m3) > 5"], ids=["whole", "with values"])
def test_what_is_refused_is_refused_although_its_like_was_planned(sql: str, odd: str) -> None:
    planner = Planner()
    planner.plan(sql)
    for text in (sql + odd, odd + sql):
        with pytest.raises(CityError, match=r"unusual blank|control character"):
            planner.plan(text)


def test_a_long_statement_that_is_explained_is_as_long_as_when_it_runs() -> None:
    planner = Planner()
    sql = f"{SQL} /*{'x' * (LONG - len(SQL) - 5)}*/"
    explained = classify(f"EXPLAIN ANALYZE {sql}", ANA)
    assert isinstance(explained, Explain)
    assert planner.plan(sql) is planner.plan(explained.sql)


@pytest.mark.parametrize(
    ("session", "view"),
    [
        (replace(ANA, user="bo"), replace(VIEW, user="bo")),
        (replace(ANA, purpose="other"), replace(VIEW, purpose="other")),
        (replace(ANA, schema="main", catalog="water"), VIEW),
        (replace(ANA, time_zone="Asia/Shanghai"), VIEW),
        (ANA, replace(VIEW, departments=(LISTS[0], replace(LISTS[1], state="stale")))),
        (ANA, replace(VIEW, departments=(LISTS[0], replace(LISTS[1], relations=NEWER)))),
        (ANA, replace(VIEW, down={"health": DepartmentError("health is silent", Outcome.DOWN)})),
    ],
    ids=["user", "purpose", "default schema", "time zone", "a stale list", "a new policy", "a department down"],
)  # fmt: skip
def test_another_asker_or_another_policy_plans_anew(session: Session, view: UserView) -> None:
    planner = Planner()
    first = planner.plan()
    assert planner.plan(session=session, view=view) is not first
    assert planner.made == [SQL, SQL]


def test_what_lists_the_moment_is_never_kept() -> None:
    planner = Planner()
    for _ in range(2):
        planner.plan("SELECT table_name FROM water.information_schema.tables")
    assert len(planner.made) == 2


def test_a_refusal_is_not_kept() -> None:
    planner = Planner()
    for _ in range(2):
        with pytest.raises(CityError):
            planner.plan("SELECT x FROM water.main.nothing")
    assert len(planner.made) == 2


# ---- one plan for many values


def shape(plan: Plan) -> list[object]:
    """All that is asked and done, as text."""
    asked = [
        (f.department, f.sql, f.keys and (dict(f.keys.texts), [s.query.sql("trino") for s in f.keys.sets]))
        for f in plan.fragments
    ]
    return [asked, plan.merge and plan.merge.sql("trino"), plan.labels, plan.stored, plan.notes]


TPCH = tiny()
BOTH_WAYS = [
    *((s.sql, CITY.view) for s in STATEMENTS if lift(s.sql)),
    *((sql, TPCH.view) for sql in queries(lambda t: f"{TABLES[t]}.main.{t}").values() if lift(sql)),
]


@pytest.mark.parametrize(("sql", "view"), BOTH_WAYS)
def test_a_plan_with_values_put_in_is_the_plan_of_the_statement(sql: str, view: UserView) -> None:
    lifted = lift(sql)
    assert lifted is not None
    filled = Template(plan_query(lifted.text, view, ANA), lifted).fill(lifted.values)
    assert shape(filled) == shape(plan_query(sql, view, ANA))


def test_the_statements_that_are_planned_both_ways_are_many() -> None:
    assert len(BOTH_WAYS) > 100


ASKED = "SELECT c.name, r.m3 FROM water.main.reading r JOIN market.main.company c ON c.id = r.company WHERE {}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("r.m3 > 5", "r.m3 > 70"),
        ("c.id = 'k0001'", "c.id = 'k0002'"),
        ("r.month >= DATE '2024-01-02'", "r.month >= DATE '2023-12-30'"),
        ("r.meter_id BETWEEN 3 AND 9 AND c.staff < 4", "r.meter_id BETWEEN 30 AND 99 AND c.staff < 7"),
    ],
)
def test_questions_that_differ_in_compared_values_are_planned_once(one: str, other: str) -> None:
    planner = Planner()
    assert shape(planner.plan(ASKED.format(one))) == shape(plan_query(ASKED.format(one), VIEW, ANA))
    assert shape(planner.plan(ASKED.format(other))) == shape(plan_query(ASKED.format(other), VIEW, ANA))
    assert len(planner.made) == 1


def numbers(start: int, count: int) -> str:
    return ", ".join(map(str, range(start, start + count)))


def texts(start: int, count: int) -> str:
    return ",".join(f"'k{number:06}'" for number in range(start, start + count))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"r.meter_id IN ({numbers(100, 8)})", f"r.meter_id IN ({numbers(1000, 60)})"),
        (f"r.meter_id IN ({numbers(100, 200)}) AND r.m3 > 5", f"r.meter_id IN ({numbers(7000, 511)}) AND r.m3 > 70"),
        (f"c.id NOT IN ({texts(0, 9)})", f"c.id NOT IN ({texts(50, 20)})"),
        (f"c.id IN ({texts(0, 9)}) OR r.meter_id IN ({numbers(3, 9)})",
         f"c.id IN ({texts(50, 20)}) OR r.meter_id IN ({numbers(33, 10)})"),
    ],
)  # fmt: skip
def test_long_lists_are_values_too(one: str, other: str) -> None:
    planner = Planner()
    for condition in (one, other, one):
        assert shape(planner.plan(ASKED.format(condition))) == shape(plan_query(ASKED.format(condition), VIEW, ANA))
    assert len(planner.made) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"r.meter_id IN ({numbers(100, 7)})", f"r.meter_id IN ({numbers(200, 7)})"),  # not long
        (f"r.meter_id IN ({numbers(100, 60)})", f"r.meter_id IN ({numbers(100, 64)})"),  # much longer
        (f"r.meter_id IN ({numbers(1, 8)}, 1)", f"r.meter_id IN ({numbers(11, 8)}, 11)"),  # one twice
        (f"r.meter_id IN ({numbers(1, 8)}, {2**40})", f"r.meter_id IN ({numbers(11, 8)}, {2**41})"),  # of two types
        (f"c.id IN ({texts(1, 8)}, 'k01')", f"c.id IN ({texts(11, 8)}, 'k02')"),  # of two lengths
        (f"r.meter_id IN ({numbers(1, 8)}, 2 + 9)", f"r.meter_id IN ({numbers(11, 8)}, 12 + 9)"),
    ],
)
def test_other_lists_are_planned_one_by_one(one: str, other: str) -> None:
    planner = Planner()
    for condition in (one, other):
        assert shape(planner.plan(ASKED.format(condition))) == shape(plan_query(ASKED.format(condition), VIEW, ANA))
    assert len(planner.made) == 2


def test_a_plan_that_takes_a_list_apart_is_not_used_for_another() -> None:
    lifted = lift(ASKED.format(f"r.meter_id IN ({numbers(100, 8)})"))
    assert lifted is not None
    plan = plan_query(lifted.text, VIEW, ANA)
    first = lifted.markers[0][0]
    torn = replace(plan, fragments=tuple(replace(f, sql=f.sql.replace(f"{first}, ", "")) for f in plan.fragments))
    with pytest.raises(ValueError):
        Template(torn, lifted)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("c.id = 'k1'", "c.id = 'k2'"),  # too short to be told from other texts
        ("c.id = 'k0001'", "c.id = 'k01'"),  # varchar(5) and varchar(3)
        ("r.meter_id > 5", "r.meter_id > 5000000000"),  # integer and bigint
        ("r.m3 > 5.5", "r.m3 > 6.5"),
        ("r.m3 > 5 AND c.staff > 5", "r.m3 > 6 AND c.staff > 6"),  # rules look for what is the same
        ("r.m3 + 5 > 9 * 2", "r.m3 + 6 > 9 * 3"),
        ("c.name LIKE 'abc%'", "c.name LIKE 'abd%'"),
        ("c.id IN ('k0001')", "c.id IN ('k0002')"),
        ("r.month = DATE '2024-01-02' LIMIT 3", "r.month = DATE '2024-01-02' LIMIT 4"),
    ],
)
def test_other_differences_are_planned_anew(one: str, other: str) -> None:
    planner = Planner()
    planner.plan(ASKED.format(one))
    planner.plan(ASKED.format(other))
    assert len(planner.made) == 2


def test_a_refused_value_is_refused_by_its_own_name_and_place() -> None:
    planner = Planner()
    with pytest.raises(CityError) as known:
        plan_query(ASKED.format("r.nothing = 5"), VIEW, ANA)
    with pytest.raises(CityError) as found:
        planner.plan(ASKED.format("r.nothing = 5"))
    assert found.value.to_dict() == known.value.to_dict()


def test_a_value_in_a_comment_or_a_name_is_no_value() -> None:
    assert lift("SELECT 1 -- = 5") is None
    assert lift('SELECT "a = 5" FROM t') is None
    assert lift("SELECT 'x = 5 ' FROM t") is None


def test_a_control_character_cannot_stand_for_a_value() -> None:
    asked = ASKED.format("r.m3 > 5 AND c.name = 'abc'")
    pattern = lift(asked)
    assert pattern is not None
    assert lift(pattern.pattern) is None


def test_what_a_listing_of_the_moment_compares_with_is_not_kept() -> None:
    planner = Planner()
    for name in ("reading", "meters"):
        planner.plan(f"SELECT table_name FROM water.information_schema.tables WHERE table_name = '{name}'")
    assert len(planner.made) == 2
