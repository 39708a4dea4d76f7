"""Every hostile case of `cases/*.yaml`: directly at each agent as a captured gateway sends it, and through a gateway.

Here all cases go to the agent over SQLite, and some of each class to the others and through the gateway; `make attack`
sends all of them everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.attack import client, forge
from tests.attack.cases import CLASSES, Case, cases, judge, judge_control, known_outcome
from tests.attack.client import Analyst, may_log_in
from tests.attack.conftest import FULL
from tests.attack.door import Door
from tests.attack.world import CANARIES, KINDS, USERS, World
from tests.masks_first.oracle import Oracle

ALL = cases()
SQL = [c for c in ALL if c.sql]
FORGED = [c for c in ALL if c.kind == "identity"]
ELSEWHERE = 1 if FULL else 9
"""One case in so many is sent to the other silos and through the gateway."""


def sample(found: list[Case], start: int = 0) -> list[Case]:
    return found[start % ELSEWHERE :: ELSEWHERE]


def _named(found: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", found, ids=[f"{c.kind}: {c.name}" for c in found])


def test_the_suite_is_large_and_every_case_has_its_twin() -> None:
    counted = Counter(c.kind for c in ALL)
    assert len(ALL) >= 250
    assert set(counted) == set(CLASSES)
    for case in SQL:
        assert case.control, case.name
        assert all(known_outcome(o) for o in case.outcomes), case.name
        assert case.outcomes or case.answers or case.masked, case.name


def test_canaries_are_unique_and_long() -> None:
    assert len(CANARIES) > 60
    assert all(len(c) >= 10 for c in CANARIES)


@_named(SQL)
def test_a_captured_gateway_gets_no_more_than_its_user(
    doors: dict[str, Door], oracles: dict[str, Oracle], case: Case
) -> None:
    assert not (faults := judge(case, doors["sqlite"], oracles["sqlite"])), faults


@_named(SQL)
def test_the_legal_twin_is_answered(doors: dict[str, Door], oracles: dict[str, Oracle], case: Case) -> None:
    assert not (faults := judge_control(case, doors["sqlite"], oracles["sqlite"])), faults


ELSEWHERE_CASES = [(kind, case) for i, kind in enumerate(KINDS[1:]) for case in sample(SQL, i)]


@pytest.mark.parametrize(("kind", "case"), ELSEWHERE_CASES, ids=[f"{k} {c.name}" for k, c in ELSEWHERE_CASES])
def test_over_every_other_kind_of_silo(
    doors: dict[str, Door], oracles: dict[str, Oracle], world: World, kind: str, case: Case
) -> None:
    moved = case.under(world.departments[kind].name)
    assert not (faults := judge(moved, doors[kind], oracles[kind])), faults
    assert not (faults := judge_control(moved, doors[kind], oracles[kind])), faults


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_question_has_the_same_bytes(doors: dict[str, Door], world: World, kind: str) -> None:
    """What an engine leaves in memory below a NULL (raw values, addresses) would differ from time to time."""
    door = doors[kind]
    token = door.token("lin", "mass-balance")
    sql = (
        "SELECT t.born AS c0, t.faith AS c1, t.age AS c2, t.debt AS c3, t.grade AS c4, "
        f"nullif(t.income, t.income) AS c5 FROM {door.department.name}.main.people AS t"
    )
    digests = set()
    for _ in range(12):
        end = door.ask(token, sql).end
        assert end is not None
        assert end.receipt is not None
        digests.add(end.receipt.delivered)
    assert len(digests) == 1


# ---- through the gateway -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def analysts(world: World) -> Iterator[dict[tuple[str, str], Analyst]]:
    """Everyone who may log in, for each of their purposes."""
    found = {(user, purpose): Analyst(world, user, purpose) for user, own in USERS.items() for purpose in own}
    yield found
    for analyst in found.values():
        analyst.close()


THROUGH = [
    (kind, case)
    for i, kind in enumerate(KINDS)
    for case in sample([c for c in SQL if c.gateway != "skip" and may_log_in(c)], 3 + i)
    if FULL or kind in ("sqlite", "files")
]


@pytest.mark.parametrize(("kind", "case"), THROUGH, ids=[f"{k} {c.name}" for k, c in THROUGH])
def test_an_analyst_with_an_unmodified_client_gets_no_more_either(
    analysts: dict[tuple[str, str], Analyst], oracles: dict[str, Oracle], world: World, kind: str, case: Case
) -> None:
    moved = case.under(world.departments[kind].name)
    analyst = analysts[(case.who, case.purpose)]
    assert not (faults := client.judge(moved, analyst, oracles[kind])), faults
    if "dept." in case.control and case.control_gateway == "answered":
        assert not (faults := client.judge_control(moved, analyst, oracles[kind])), faults


# ---- forged requests -----------------------------------------------------------------------------------


@_named(FORGED)
def test_a_forged_request_is_refused(doors: dict[str, Door], case: Case) -> None:
    door = doors["sqlite"]
    *before, last = forge.send(door, case.forged)
    assert last.outcome in case.outcomes, last.body
    assert last.status == 401
    assert all(reply.outcome == "OK" for reply in before)
    assert last.canaries() == []


@_named(FORGED)
def test_the_honest_twin_of_a_forged_request_is_answered(doors: dict[str, Door], case: Case) -> None:
    (reply,) = forge.send(doors["sqlite"], case.forged["control"])
    assert reply.outcome == "OK", reply.body
    assert reply.rows == forge.ROWS


def test_all_forgeries_are_refused_in_two_texts(doors: dict[str, Door]) -> None:
    """Which part of a forgery failed helps only the forger: a token not valid or expired, a request not signed."""
    bodies = {forge.send(doors["sqlite"], case.forged)[-1].body for case in FORGED}
    assert len(bodies) == 3
