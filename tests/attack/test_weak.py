"""The suite can fail: each class of cases notices the faults that it is there for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack import forge
from tests.attack.cases import CLASSES, Case, cases, judge, judge_control
from tests.attack.door import Door
from tests.attack.weak import BUILDS
from tests.attack.world import World, open_world, oracle_of
from tests.masks_first.oracle import Oracle


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("weak"), request, ("sqlite",), gateway=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def door(world: World) -> Iterator[Door]:
    opened = Door(world, world.departments["sqlite"])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return oracle_of()


def noticed(case: Case, door: Door, oracle: Oracle) -> bool:
    """Whether the case fails on this build."""
    if case.kind == "identity":
        return forge.send(door, case.forged)[-1].outcome not in case.outcomes
    return bool(judge(case, door, oracle))


PAIRS = [(name, kind) for name, (_, kinds) in BUILDS.items() for kind in kinds]


@pytest.mark.parametrize(("build", "kind"), PAIRS, ids=[f"{b} / {k}" for b, k in PAIRS])
def test_the_suite_notices(door: Door, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, build: str, kind: str) -> None:
    BUILDS[build][0](monkeypatch)
    assert any(noticed(case, door, oracle) for case in cases(kind)), f"nobody noticed: {build}"


def test_every_class_has_a_build_that_it_notices() -> None:
    assert {kind for _, kinds in BUILDS.values() for kind in kinds} == set(CLASSES)


def test_refusing_everything_is_noticed(door: Door, oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twins fail then, though every hostile question is refused as it should be."""
    from connectors.agent import fragment

    def refuse(text: str) -> None:
        raise forge_refusal()

    monkeypatch.setattr(fragment, "admit", refuse)
    for kind in CLASSES:
        if kind != "identity":
            assert judge_control(cases(kind)[0], door, oracle)


def forge_refusal() -> Exception:
    from catalog.errors import Outcome, UserError

    return UserError("No.", Outcome.NODE)
