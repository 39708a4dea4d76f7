"""The suite can fail: each class of cases notices the faults that it is there for."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.agent import test_guard
from tests.agent.test_guard import clock
from tests.agent.trackers import play_two
from tests.attack import forge
from tests.attack.cases import CLASSES, Case, cases, judge, judge_control
from tests.attack.door import Door
from tests.attack.weak import BUILDS, GUARDS
from tests.attack.world import World, open_world, oracle_of
from tests.masks_first.oracle import Oracle

pytestmark = pytest.mark.usefixtures("nothing_kept")


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("weak"), request, ("sqlite",), gateway=False) as opened:
        yield opened


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


# ---- the guard against differencing -------------------------------------------------------------------------

__all__ = ["clock"]
TRACKERS = 60
# Tests that open an agent take a second or two each: those all together wait for `make attack`.
QUICK = [name for name, (_, by) in GUARDS.items() if by == "trackers" or by.startswith(("the_strictest", "a_policy"))]


def _parameters(test: object) -> list[dict[str, object]]:
    """The parameters of a parametrised test, one dict a case; one empty dict for any other."""
    marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
    if not marks:
        return [{}]
    names, cases = marks[0].args
    names = [names] if isinstance(names, str) else names
    return [dict(zip(names, case if len(names) > 1 else [case], strict=True)) for case in cases]


async def _run(test: Callable[..., object], wanted: Mapping[str, object]) -> None:
    found = test(**{n: wanted[n] for n in inspect.signature(test).parameters})
    if inspect.isawaitable(found):
        await found


@pytest.mark.parametrize("build", GUARDS if os.environ.get("ATTACK") else QUICK)
async def test_a_weak_guard_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, build: str
) -> None:
    weaken, by = GUARDS[build]
    weaken(monkeypatch)
    if by == "trackers":
        assert any(play_two(seed, tmp_path, seed % 2 == 1)[0] for seed in range(TRACKERS)), f"nobody noticed: {build}"
        return
    test = getattr(test_guard, f"test_{by}")
    for i, given in enumerate(_parameters(test)):
        wanted = {"tmp_path": tmp_path / str(i), "clock": request.getfixturevalue("clock"), **given}
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            await _run(test, wanted)
