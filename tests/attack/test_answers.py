"""What sums and checks tell, one by one and together: `cases/answers.yaml`, each case with its legal twin.

Here every sixth case is asked, at an agent over SQLite; `make attack` asks all, over every kind of silo. The agents
with one fault each (`weak.SUMS`) must be noticed by the class that is there for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from tests.attack.answers import CLASSES, AnswerCase, answer_cases, judge, marks, play
from tests.attack.conftest import FULL
from tests.attack.door import Door
from tests.attack.sums import Days, Truth, data_for, policy_for
from tests.attack.weak import SUMS
from tests.attack.world import KINDS, open_world
from tests.masks_first.silos import KINDS as ALL_KINDS

ALL = answer_cases()
ASKED = ALL if FULL else ALL[::6]
NOTICED = {
    build: replace(case, number=case.number + 1000 * (i + 1))
    for i, (build, (_, kind, name)) in enumerate(SUMS.items())
    for case in ALL
    if (case.kind, case.name) == (kind, name)
}
"""The case that must notice a build, with relations of its own: a weak agent may spoil their history."""
SILOS = KINDS if FULL else ("sqlite",)


@dataclass
class Sums:
    """The doors of the departments by kind of silo, their clock, and what is true."""

    doors: dict[str, Door]
    days: Days
    truth: Truth


@pytest.fixture(scope="module")
def sums(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sums]:
    with ExitStack() as stack:
        needed = marks([*ASKED, *NOTICED.values()])
        data, policy = data_for(needed), policy_for(needed)
        folder = tmp_path_factory.mktemp("sums")
        world = stack.enter_context(open_world(folder, request, SILOS, gateway=False, data=data, policy=policy))
        found = Sums({}, Days(), Truth())
        stack.callback(found.truth.close)
        for kind, department in world.departments.items():
            department.agent._clock = found.days
            found.doors[kind] = Door(world, department)
            stack.callback(found.doors[kind].close)
        yield found


def test_there_are_many_cases_of_every_class_and_each_has_its_twin() -> None:
    counted = Counter(case.kind for case in ALL)
    assert len(ALL) >= 150
    assert tuple(counted) == CLASSES
    assert len({(c.kind, c.name) for c in ALL}) == len(ALL)
    assert all(c.control.sql and (c.expect or c.answers) for c in ALL)
    assert set(SILOS) <= set(ALL_KINDS)


@pytest.mark.parametrize("kind", SILOS)
@pytest.mark.parametrize("case", ASKED, ids=[f"{c.kind}: {c.name}" for c in ASKED])
def test_answers_tell_of_nobody_and_the_legal_twin_is_answered(sums: Sums, kind: str, case: AnswerCase) -> None:
    door = sums.doors[kind]
    assert not (faults := play(case.under(door.department.name), door, sums.days, sums.truth)), faults


@pytest.mark.parametrize("build", SUMS)
def test_an_agent_with_a_fault_is_noticed(sums: Sums, monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    SUMS[build][0](monkeypatch)
    assert judge(NOTICED[build], sums.doors["sqlite"], sums.days, sums.truth), f"nobody noticed: {build}"


def test_every_class_has_a_build_that_it_notices() -> None:
    assert {kind for _, kind, _ in SUMS.values()} == set(CLASSES)
    assert set(NOTICED) == set(SUMS)
