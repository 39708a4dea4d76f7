"""Those who try to get round the differencing guard: a small world, its true cells, and what counts as success.

Everything here is worked out from the definition, by other means than the guard's: dense matrices of small worlds,
ranks by singular values, dominated combinations by search.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from catalog.types import parse
from connectors.agent.disclosure import Crowd, Dominance, Field, Question, Rules, Variant
from connectors.base import Predicate

VARCHAR = parse("varchar")
K = 5
SHARE = 80
RULES = Rules(K, Dominance(SHARE))


@dataclass
class World:
    """People in base cells, each with an amount. rows: (dimension codes, person, amount)."""

    sizes: tuple[int, ...]
    rows: list[tuple[tuple[int, ...], int, float]]

    @property
    def dimensions(self) -> list[str]:
        return [f"d{i}" for i in range(len(self.sizes))]

    @property
    def cells(self) -> list[tuple[int, ...]]:
        return sorted({cell for cell, _, _ in self.rows})

    def crowd(self) -> Crowd:
        variant = Variant("r", (), dict.fromkeys(self.dimensions, ""), dict.fromkeys(self.dimensions, VARCHAR), ("kg",))
        return Crowd(
            variant, tuple(tuple(map(str, range(s))) for s in self.sizes), np.array([c for c, _, _ in self.rows]),
            np.array([p + 1 for _, p, _ in self.rows], dtype=np.uint64), np.zeros(len(self.rows), dtype=np.uint64),
            {"kg": np.array([x for _, _, x in self.rows])},
        )  # fmt: skip

    def inside(self, question: Question, cell: tuple[int, ...]) -> bool:
        for p in question.predicates:
            value = str(cell[self.dimensions.index(p.column)])
            if (value in p.values) != (p.op in ("=", "in")):
                return False
        return True

    def key(self, question: Question, cell: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(str(cell[self.dimensions.index(k)]) for k in question.keys)

    def answer(self, question: Question) -> Question:
        """The question with the cells that a floor and the rule on sums alone would let out."""
        amounts: dict[tuple[str, ...], dict[int, float]] = {}
        for cell, person, amount in self.rows:
            if self.inside(question, cell):
                of = amounts.setdefault(self.key(question, cell), {})
                of[person] = of.get(person, 0.0) + amount
        good = [
            key for key, of in sorted(amounts.items())
            if len(of) >= K and not (question.measures and max(of.values()) * 100 > sum(of.values()) * SHARE)
        ]  # fmt: skip
        return Question(question.predicates, question.keys, tuple(good), question.measures)


def small_world(seed: int) -> World:
    """Three dimensions; most base cells are crowds, some hold one to four people, in some a giant outweighs all."""
    rng = random.Random(seed)
    sizes = (3, rng.choice([2, 3]), 2)
    rows: list[tuple[tuple[int, ...], int, float]] = []
    people = itertools.count()
    regulars = [next(people) for _ in range(10)]
    for cell in itertools.product(*map(range, sizes)):
        count = rng.choice([0, 1, 2, 4, 5, 7, 12, 20, 20, 30])
        chosen = rng.sample(regulars, min(len(regulars), count // 4)) if rng.random() < 0.5 else []
        rows += [(cell, p, rng.uniform(1, 3)) for p in chosen]
        rows += [(cell, next(people), rng.uniform(1, 3)) for _ in range(count - len(chosen))]
        if count and rng.random() < 0.2:
            rows.append((cell, next(people), rng.uniform(300, 900)))
    return World(sizes, rows)


@dataclass
class Loot:
    """What a tracker has got so far, as vectors over base cells; sums: those of the amounts alone."""

    world: World
    counts: list[np.ndarray[Any, Any]] = field(default_factory=list)
    sums: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def take(self, question: Question) -> None:
        for key in question.cells:
            vector = np.array([
                float(self.world.inside(question, c) and self.world.key(question, c) == key) for c in self.world.cells
            ])  # fmt: skip
            self.counts.append(vector)
            if question.measures:
                self.sums.append(vector)

    def isolated(self) -> set[tuple[int, ...]] | None:
        """Base cells with fewer than K people in all that some combination of answers depends on alone."""
        if not self.counts:
            return None
        matrix = np.array(self.counts)
        whole = np.linalg.matrix_rank(matrix)
        for chosen in _small_sets(self.world):
            outside = np.delete(matrix, chosen, axis=1)
            if outside.shape[1] == 0 or np.linalg.matrix_rank(outside) < whole:
                return {self.world.cells[i] for i in chosen}
        return None

    def dominated(self) -> str | None:
        """A combination of sums in which one person has more than SHARE %, as words."""
        if not self.sums:
            return None
        basis = np.array(self.sums)
        weights = _amounts(self.world)
        total = weights.sum(axis=0)
        for cell in np.flatnonzero(weights.max(axis=0) * 100 > total * SHARE):
            giant = int(weights[:, cell].argmax())
            others = np.maximum(total * SHARE / 100 - weights[giant], 1e-9)
            vector = _lightest(basis, int(cell), others)
            if vector is None:
                continue
            parts = weights @ np.abs(np.where(np.abs(vector) < 1e-7, 0, vector))
            if parts.max() * 100 > parts.sum() * (SHARE + 1e-6):
                return f"{self.world.cells[int(cell)]}: {np.round(vector, 3)}"
        return None


def _amounts(world: World) -> np.ndarray[Any, Any]:
    """[people, base cells]"""
    people = sorted({p for _, p, _ in world.rows})
    place, number = {c: i for i, c in enumerate(world.cells)}, {p: i for i, p in enumerate(people)}
    weights = np.zeros((len(people), len(place)))
    for cell, person, amount in world.rows:
        weights[number[person], place[cell]] += amount
    return weights


def _lightest(basis: np.ndarray[Any, Any], cell: int, cost: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """A vector of the row space with 1 at `cell` and little elsewhere, by cost: reweighted least squares."""
    if not basis[:, cell].any():
        return None
    _, values, right = np.linalg.svd(basis, full_matrices=False)
    rows = right[values > 1e-9]
    scale = np.ones(rows.shape[1])
    best, least = None, np.inf
    for _ in range(25):
        weight = cost * scale
        weight[cell] = 0
        # min |weight * (y @ rows)|^2 with (y @ rows)[cell] = 1
        square = (rows * weight) @ (rows * weight).T
        y, *_ = np.linalg.lstsq(square, rows[:, cell], rcond=None)
        y = y / (rows[:, cell] @ y)
        vector = y @ rows
        light = float((np.abs(vector) * cost).sum() - cost[cell])
        if light < least:
            best, least = vector, light
        scale = 1 / np.sqrt(np.abs(vector) * cost + 1e-6)
    return best


def _small_sets(world: World) -> Iterator[tuple[int, ...]]:
    """The largest sets of base cells with fewer than K people together."""
    people = [frozenset(p for c, p, _ in world.rows if c == cell) for cell in world.cells]
    small = [i for i, p in enumerate(people) if len(p) < K]
    found: list[frozenset[int]] = []

    def grow(chosen: tuple[int, ...], there: frozenset[int], rest: Sequence[int]) -> None:
        options = [i for i in rest if len(there | people[i]) < K]
        if not options and chosen and not any(set(chosen) <= f for f in found):
            found.append(frozenset(chosen))
        for n, i in enumerate(options):
            grow((*chosen, i), there | people[i], options[n + 1 :])

    grow((), frozenset(), small)
    yield from (tuple(sorted(f)) for f in found if not any(f < other for other in found))


# ---- how they ask ----------------------------------------------------------------------------------------


def random_question(world: World, rng: random.Random) -> Question:
    predicates = []
    for dimension, size in zip(world.dimensions, world.sizes, strict=True):
        if rng.random() < 0.45:
            values = tuple(str(v) for v in rng.sample(range(size), rng.randint(1, max(1, size - 1))))
            op = rng.choice(["in", "in", "<>"])
            predicates.append(Predicate(dimension, op, values if op == "in" else values[:1]))
    keys = tuple(d for d in world.dimensions if rng.random() < 0.35)
    return Question(tuple(predicates), keys, (), ("kg",) if rng.random() < 0.6 else ())


def greedy_questions(world: World, target: tuple[int, ...], rng: random.Random) -> list[Question]:
    """What a tracker asks about one base cell: all sets that hold it, and the same without it, in all margins."""
    asked = []
    for fixed in itertools.product((0, 1, 2), repeat=len(target)):
        predicates = []
        for dimension, value, how in zip(world.dimensions, target, fixed, strict=True):
            if how:
                predicates.append(Predicate(dimension, "in" if how == 1 else "<>", (str(value),)))
        for keys in ((), *((d,) for d in world.dimensions)):
            for measures in (("kg",), ()):
                asked.append(Question(tuple(predicates), keys, (), measures))
    rng.shuffle(asked)
    return asked


def distance(loot: Sequence[np.ndarray[Any, Any]], target: np.ndarray[Any, Any]) -> float:
    """How far a target is from what answers span."""
    if not loot:
        return float(np.linalg.norm(target))
    matrix = np.array(loot).T
    solution, *_ = np.linalg.lstsq(matrix, target, rcond=None)
    return float(np.linalg.norm(matrix @ solution - target))


def play(seed: int, greedy: bool, guarded: bool = True, turns: int = 40) -> tuple[Loot, int]:
    """One script against the guard, or against floors alone: (what was got, answers given)."""
    rng = random.Random(seed)
    world = small_world(seed)
    guard = Field([(world.crowd(), RULES)])
    loot, given = Loot(world), 0
    target = rng.choice(world.cells)
    wish = np.array([float(c == target) for c in world.cells])
    pending = greedy_questions(world, target, rng) if greedy else []
    for _ in range(turns):
        if greedy:
            if not pending:
                break
            # Of a few questions the one that, if answered, would come nearest to the target.
            tries = [pending.pop() for _ in range(min(6, len(pending)))]
            tries.sort(key=lambda q: distance([*loot.counts, *_vectors(world, world.answer(q))], wish))
            question, pending = tries[0], [*tries[1:], *pending]
        else:
            question = random_question(world, rng)
        answer: Question | None = world.answer(question)
        if not answer or not answer.cells:
            continue
        answer = guard.admit(0, answer) if guarded else answer
        if answer is not None:
            given += 1
            loot.take(answer)
    return loot, given


def _vectors(world: World, question: Question) -> list[np.ndarray[Any, Any]]:
    probe = Loot(world)
    probe.take(question)
    return probe.counts
