"""A statement whose restrictions are asked first, as keys; and what is done where they turn out to be none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from gateway.merge.duckdb import MergePool
from gateway.plan import Plan
from gateway.plan.explain import explain_plan
from gateway.plan.learn import Learned
from tests.differential.corpus import STATEMENTS, Statement
from tests.differential.harness import SESSION, pooled
from tests.differential.keyed import HONEST, wanted
from tests.differential.world import CITY
from tests.gateway.test_first_rows import exchanged, pool

__all__ = ["pool"]

SUMS = (
    "SELECT r.meter_id, SUM(r.m3) AS m3 FROM water.main.reading r JOIN market.main.company c ON c.id = r.company "
    "WHERE c.staff > 1 OR c.staff IS NULL OR c.staff < 0 GROUP BY r.meter_id ORDER BY m3 DESC LIMIT 3"
)


def plan_of(here: object = HONEST) -> Plan:
    plan = wanted(here, SUMS)  # type: ignore[arg-type]
    assert plan is not None
    return plan


def test_keys_that_are_such_are_all_that_is_asked_for(pool: MergePool) -> None:
    rows, departments, book = exchanged(pool, plan_of(), HONEST)
    assert rows == pooled(HONEST, SUMS)
    assert [name for name, _ in departments.asked] == ["f2", "f3"] == book.begun[0]
    assert len(book.begun) == 1
    assert departments.asked[1] == ("f3", 3)  # ORDER BY and LIMIT went with it


def test_a_key_that_comes_twice_is_seen_before_it_is_used(pool: MergePool) -> None:
    rows, departments, book = exchanged(pool, plan_of(CITY), CITY)
    assert rows == pooled(CITY, SUMS)
    assert [name for name, _ in departments.asked] == ["f2", "f0", "f1"]
    assert book.begun == [["f2", "f3"], ["f0", "f1"]]


def test_what_was_tried_in_vain_is_not_tried_again(pool: MergePool) -> None:
    learned = Learned()
    plan = learned.of(plan_of(CITY))
    assert not learned.corrects()
    exchanged(pool, plan, CITY)
    assert learned.corrects()
    assert learned.of(plan_of(CITY)).keyed is None
    assert not learned.corrects()


def test_answers_that_were_read_to_their_end_tell_how_many_rows_there_are(pool: MergePool) -> None:
    learned = Learned()
    plan = learned.of(plan_of())
    exchanged(pool, plan, HONEST)
    assert not learned.rows  # without a receipt it may have been cut short
    exchanged(pool, plan, HONEST, SimpleNamespace(id="r"))
    assert plan.keyed is not None
    assert list(learned.rows) == [plan.keyed.fragments[0].sql]


def test_both_plans_are_explained() -> None:
    plan = plan_of()
    told = explain_plan(plan, SESSION)
    assert [f["id"] for f in told.fragments] == ["f2", "f3", "f0", "f1"]
    assert "each value of f2 must come once: a key, as its owner says" in told.text
    assert "only if a key is none, or more keys came than may be sent:" in told.text


@pytest.mark.parametrize("statement", [s for s in STATEMENTS if wanted(HONEST, s.sql)], ids=lambda s: s.id)
def test_no_two_questions_have_one_name(statement: Statement) -> None:
    """Also where a question that two relations share left a gap in their numbers."""
    plan = wanted(HONEST, statement.sql)
    assert plan is not None
    names = [f.id for f in plan.questions]
    assert len(set(names)) == len(names)


def test_a_relation_that_gives_sums_alone_is_not_asked_twice() -> None:
    sums = "SELECT d.n, COUNT(*) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company JOIN (SELECT "
    sums += "district, COUNT(*) AS n FROM housing.main.trip GROUP BY district) d ON d.n = r.meter_id GROUP BY d.n"
    assert wanted(HONEST, sums) is None
    assert replace(plan_of(), keyed=None).keyed is None
