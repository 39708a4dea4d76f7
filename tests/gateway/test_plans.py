"""A dashboard's question is planned once; whatever its plan was made from ends it when it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.errors import CityError, DepartmentError, Outcome
from catalog.relation import RelationList
from gateway.catalogue import DepartmentView, UserView
from gateway.execution import Session
from gateway.pipeline import plan_query
from gateway.plan import Plan
from gateway.plan.cache import PlanCache
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
        def make() -> Plan:
            self.made.append(sql)
            return plan_query(sql, view, session)

        return self.cache.get(sql, session, view, make)


def test_an_equal_question_is_planned_once() -> None:
    planner = Planner()
    first = planner.plan()
    copied = replace(VIEW, departments=tuple(replace(d) for d in LISTS))
    assert planner.plan() is first
    assert planner.plan(view=copied) is first
    assert planner.made == [SQL]


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
