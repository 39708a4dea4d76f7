"""Trackers against the differencing guard: whatever they ask, no combination of answers tells of a few.

TRACKER_SCRIPTS says how many scripts play (12 in the quick suite; `make attack`: 500).
"""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import numpy as np
import pytest

from connectors.agent import span
from connectors.agent.disclosure import TRIAL_WORK, Answer, Crowd, Field, Question, Rules, Space, Variant
from connectors.agent.span import Floats, Ints
from connectors.base import Predicate
from tests.agent.trackers import VARCHAR, play, play_two, watch

SCRIPTS = int(os.environ.get("TRACKER_SCRIPTS") or (500 if os.environ.get("ATTACK") else 12))
WORLDS = 8 if SCRIPTS >= 500 else 4
RELEASED = 10_000 if SCRIPTS >= 500 else 1_000


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("greedy", [False, True], ids=["random", "greedy"])
def test_trackers_get_neither_a_few_people_nor_one_who_outweighs_the_rest(greedy: bool) -> None:
    answers = 0
    for seed in range(SCRIPTS // 2):
        loot, given = play(seed, greedy)
        assert loot.isolated() is None, seed
        assert loot.dominated() is None, seed
        answers += given
    assert answers > SCRIPTS // 2 * 3


@pytest.mark.parametrize("greedy", [False, True], ids=["random", "greedy"])
def test_the_same_trackers_succeed_against_floors_alone(greedy: bool) -> None:
    few = heavy = 0
    for seed in range(WORLDS):
        loot, _ = play(seed, greedy, guarded=False)
        few += loot.isolated() is not None
        heavy += loot.dominated() is not None
    assert few >= WORLDS * 3 / 4
    assert heavy >= WORLDS * 3 / 8


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("greedy", [False, True], ids=["random", "greedy"])
def test_the_people_of_two_grants_together_get_no_further(tmp_path: Path, greedy: bool) -> None:
    """Grants with other measures, dimensions, filters, floors and epochs, over data that change meanwhile."""
    answers = 0
    for seed in range(SCRIPTS // 2):
        found, given = play_two(seed, tmp_path, greedy)
        assert not found, (seed, found)
        answers += given
    assert answers > SCRIPTS // 2 * 6


@pytest.mark.timeout(3600)
def test_nobody_is_seen_to_cross_the_floor(tmp_path: Path) -> None:
    """Of the same questions, asked again and again while somebody comes or leaves."""
    anew = again = 0
    scripts = max(SCRIPTS // 5, 12)  # each asks 40 times, and most are held against all that was asked before
    for seed in range(scripts):
        found, fresh, old = watch(seed, tmp_path)
        assert not found, seed
        anew, again = anew + fresh, again + old
    assert anew > scripts * 3
    assert again > scripts


def dashboard_world() -> Crowd:
    """Districts, years, causes, age groups: 480 base cells, uneven, a few of them small."""
    rng = np.random.default_rng(4)
    sizes = (5, 8, 4, 3)
    people = 20_000
    columns = []
    for size in sizes:
        weight = 1 / np.arange(1, size + 1) ** 0.85
        columns.append(rng.choice(size, people * 2, p=weight / weight.sum()))
    rows = np.unique(np.stack([*columns, rng.integers(1, people, people * 2)], axis=1), axis=0)
    names = ("district", "year", "cause", "age")
    variant = Variant("stays", (), dict.fromkeys(names, VARCHAR), names)
    return Crowd(
        variant, tuple(tuple(map(str, range(s))) for s in sizes), rows[:, :4], rows[:, 4].astype(np.uint64),
        np.ones(len(rows)),
    )  # fmt: skip


def cells(
    crowd: Crowd, predicates: tuple[Predicate, ...], keys: tuple[str, ...], k: int
) -> tuple[tuple[str, ...], ...]:
    """Keys of the cells with at least k people."""
    names = list(crowd.variant.columns)
    inside = np.ones(len(crowd.entity), dtype=bool)
    for p in predicates:
        allowed = np.array([v in p.values for v in crowd.values[names.index(p.column)]])
        inside &= allowed[crowd.codes[:, names.index(p.column)]]
    places = [names.index(k) for k in keys]
    together = np.unique(np.column_stack([crowd.codes[inside][:, places], crowd.entity[inside].astype(int)]), axis=0)
    found, count = np.unique(together[:, :-1], axis=0, return_counts=True)
    return tuple(
        tuple(crowd.values[p][c] for p, c in zip(places, row, strict=True))
        for row, n in zip(found, count, strict=True) if n >= k
    )  # fmt: skip


def dashboard() -> list[tuple[tuple[Predicate, ...], tuple[str, ...]]]:
    """300 questions as dashboards ask them: by one or two dimensions, for one or two values of another."""
    sizes = {"district": 5, "year": 8, "cause": 4, "age": 3}
    found: list[tuple[tuple[Predicate, ...], tuple[str, ...]]] = []
    for keys in (*((d,) for d in sizes), *itertools.combinations(sizes, 2)):
        found.append(((), keys))
        for other in sizes.keys() - set(keys):
            values = [str(v) for v in range(sizes[other])]
            found += [((Predicate(other, "in", (v,)),), keys) for v in values]
            found += [((Predicate(other, "in", (v, w)),), keys) for v, w in itertools.pairwise(values)]
    random.Random(1).shuffle(found)
    return found[:300]


def test_a_dashboards_questions_are_answered() -> None:
    crowd = dashboard_world()
    _, people = np.unique(crowd.codes, axis=0, return_counts=True)
    assert int((people < 10).sum()) >= 3
    guard = Field([crowd], [Rules(10)])
    questions = [Question(p, k, cells(crowd, p, k, 10)) for p, k in sorted(dashboard(), key=repr)]
    random.Random(2).shuffle(questions)
    assert len(questions) >= 150
    refused = sum(guard.admit(Answer(0, q, Rules(10))) is None for q in questions)
    assert refused * 100 <= len(questions)


def test_a_long_history_is_judged_with_the_work_of_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard's own part of an answer, up to 10,000 released cells (1,000 in the quick suite).

    Work is counted, not timed: the numbers in the span that each trial goes over, and in what it eliminates.
    """
    work: list[int] = []
    with_answer, eliminated = Space.with_answer, span.echelon

    def counted(space: Space, labels: Ints, cells: int, known: bool = False) -> Space | None:
        work[-1] += space.span.rows.size
        return with_answer(space, labels, cells, known)

    def counted_echelon(matrix: Floats, prime: int) -> tuple[Floats, Ints]:
        work[-1] += matrix.size
        return eliminated(matrix, prime)

    monkeypatch.setattr(Space, "with_answer", counted)
    monkeypatch.setattr(span, "echelon", counted_echelon)
    crowd = dashboard_world()
    guard = Field([crowd], [Rules(10)])
    names = list(crowd.variant.columns)
    rng = random.Random(3)
    released = 0
    while released < RELEASED:
        keys = tuple(sorted(rng.sample(names, rng.choice([2, 3, 3])), key=names.index))
        rest = [n for n in names if n not in keys]
        chosen = rng.sample(rest, rng.randint(0, min(1, len(rest))))
        predicates = tuple(
            Predicate(n, "in", tuple(rng.sample(crowd.values[names.index(n)], rng.randint(1, 3)))) for n in chosen
        )
        question = Question(predicates, keys, cells(crowd, predicates, keys, 10))
        work.append(0)
        given = guard.admit(Answer(0, question, Rules(10)))
        released += len(given.cells) if given is not None else 1
    assert TRIAL_WORK / 2 < max(work) < TRIAL_WORK * 5 / 4
