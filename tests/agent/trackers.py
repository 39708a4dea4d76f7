"""Those who try to get round the differencing guard: a small world, its true cells, and what counts as success.

Everything here is worked out from the definition, by other means than the guard's: dense matrices of small worlds,
ranks by singular values, dominated combinations by search.

play(..)       one grant over data that stay the same
play_two(..)   two grants with other measures, dimensions, filters, floors and epochs, over data that change
watch(..)      one grant, whose people ask the same again and again, to see who crosses the floor
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import AccessDenied
from catalog.types import parse
from connectors.agent.disclosure import Answer, Ask, Crowd, Dominance, Field, Guard, Question, Rules, Variant, epoch_of
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
        variant = Variant("r", (), dict.fromkeys(self.dimensions, VARCHAR), tuple(self.dimensions), ("kg",))
        return Crowd(
            variant, tuple(tuple(map(str, range(s))) for s in self.sizes), np.array([c for c, _, _ in self.rows]),
            np.array([p + 1 for _, p, _ in self.rows], dtype=np.uint64), np.ones(len(self.rows)),
            {"kg": np.array([x for _, _, x in self.rows])}, {"kg": np.ones(len(self.rows))},
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
    """A vector of the row space with 1 at `cell` and little elsewhere, by cost: reweighted least squares.

    None where every vector of the row space is 0 there.
    """
    _, values, right = np.linalg.svd(basis, full_matrices=False)
    rows = right[values > 1e-9]
    at_cell = rows[:, cell]
    reach = float(at_cell @ at_cell)
    if reach < 1e-9:
        return None
    # One such vector, and the combinations of rows that are 0 at the cell: what may be added to it.
    start = at_cell / reach
    free = np.linalg.qr(at_cell[:, None], mode="complete")[0][:, 1:]
    scale = np.ones(rows.shape[1])
    best, least = None, np.inf
    for _ in range(25):
        weight = cost * scale
        weight[cell] = 0
        # min |weight * (y @ rows)|^2 with y = start + free @ z
        weighed = rows * weight
        square = weighed @ weighed.T
        z, *_ = np.linalg.lstsq(free.T @ square @ free, -free.T @ (square @ start), rcond=None)
        vector = (start + free @ z) @ rows
        light = float((np.abs(vector) * cost).sum() - cost[cell])
        if not light < least:  # nor where it is no number
            break
        best, least = vector, light
        scale = 1 / np.sqrt(np.abs(vector) * cost + 1e-6)
    return best


def _small_sets(world: World) -> Iterator[tuple[int, ...]]:
    """The largest sets of base cells with fewer than K people together."""
    yield from _largest([frozenset(p for c, p, _ in world.rows if c == cell) for cell in world.cells], K)


def _largest(people: Sequence[frozenset[int]], k: int) -> Iterator[tuple[int, ...]]:
    """The largest sets of groups of people with fewer than k together."""
    small = [i for i, p in enumerate(people) if len(p) < k]
    found: list[frozenset[int]] = []

    def grow(chosen: tuple[int, ...], there: frozenset[int], rest: Sequence[int]) -> None:
        options = [i for i in rest if len(there | people[i]) < k]
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
    guard = Field([world.crowd()], [RULES])
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
        answer = guard.admit(Answer(0, answer, RULES)) if guarded else answer
        if answer is not None:
            given += 1
            loot.take(answer)
    return loot, given


def _vectors(world: World, question: Question) -> list[np.ndarray[Any, Any]]:
    probe = Loot(world)
    probe.take(question)
    return probe.counts


# ---- two grants, and data that change ------------------------------------------------------------------------

Place = tuple[tuple[int, ...], int]
"""A person in a base cell."""
Part = tuple[tuple[int, ...], int, int]
"""What a person had there at first (0), and by how much that changed for the first time (1), the second .."""


@dataclass(frozen=True)
class Terms:
    """A grant. dimensions: numbers of those that it shows. whole: whether rows that others filter out are counted."""

    name: str
    dimensions: tuple[int, ...]
    measures: tuple[str, ...]
    floor: int
    epoch: str
    whole: bool

    @property
    def rules(self) -> Rules:
        return Rules(self.floor, Dominance(SHARE))


GRANTS = (
    Terms("all", (0, 1, 2), ("kg",), K, "month", True),
    Terms("same", (0, 1, 2), ("kg", "pieces"), K, "month", True),
    Terms("real", (0, 1), ("kg",), K, "month", False),
    Terms("strict", (0, 2), ("kg",), K + 3, "month", True),
    Terms("daily", (0, 1, 2), ("kg", "pieces"), K, "day", True),
    Terms("strict real", (0, 1, 2), ("kg",), K + 3, "year", False),
)


@dataclass
class Town:
    """A small world that changes. amounts: of each person in each base cell. tests: places that a filter hides."""

    world: World
    amounts: dict[Place, float]
    tests: set[Place]
    history: dict[Place, list[float]] = field(default_factory=dict)
    version: int = 0

    @classmethod
    def of(cls, seed: int, rng: random.Random) -> Town:
        world = small_world(seed)
        amounts = {(cell, person): amount for cell, person, amount in world.rows}
        return cls(world, amounts, {p for p in sorted(amounts) if rng.random() < 0.06})

    def seen(self, terms: Terms) -> dict[Place, float]:
        return {p: x for p, x in self.amounts.items() if terms.whole or p not in self.tests}

    def change(self, rng: random.Random) -> None:
        """Somebody comes, leaves, or has another amount; seldom many at once."""
        self.version += 1
        newest = max(person for _, person in self.amounts)
        many = rng.choice([1, 1, 2, 9])
        cell = rng.choice(sorted(self.world.cells))
        what = rng.choice(["come", "leave", "differ"])
        if what == "come":
            self.amounts |= {(cell, newest + i + 1): rng.uniform(1, 3) for i in range(many)}
            return
        there = [p for p in sorted(self.amounts) if p[0] == cell]
        for place in rng.sample(there, min(many, len(there))):
            if what == "leave" and len(there) > many:
                del self.amounts[place]
            else:
                new = self.amounts[place] * rng.choice([rng.uniform(0.3, 3), 100])
                self.history.setdefault(place, [self.amounts[place]]).append(new - self.amounts[place])
                self.amounts[place] = new

    def quantities(self, places: Mapping[Place, float]) -> dict[Part, float]:
        """Amounts as what nobody outside knows of them: the first one, and each change."""
        return {
            (*place, i): x for place, amount in places.items() for i, x in enumerate(self.history.get(place, [amount]))
        }

    def crowd(self, terms: Terms) -> Crowd:
        columns = dict.fromkeys(self.world.dimensions, VARCHAR)
        filters = () if terms.whole else ("test = 0",)
        variant = Variant("r", filters, columns, tuple(columns), terms.measures)
        places = self.seen(terms)
        amounts = {"kg": np.array(list(places.values())), "pieces": np.ones(len(places))}
        return Crowd(
            variant, tuple(tuple(map(str, range(s))) for s in self.world.sizes), np.array([c for c, _ in places]),
            np.array([p + 1 for _, p in places], dtype=np.uint64), np.ones(len(places)),
            {m: amounts[m] for m in terms.measures}, {m: np.ones(len(places)) for m in terms.measures},
        )  # fmt: skip

    def parts(self, terms: Terms, question: Question) -> dict[tuple[str, ...], dict[Place, float]]:
        """The cells of a question: what each person has there."""
        found: dict[tuple[str, ...], dict[Place, float]] = {}
        for place, amount in self.seen(terms).items():
            if self.world.inside(question, place[0]):
                found.setdefault(self.world.key(question, place[0]), {})[place] = amount
        return found

    def answer(self, terms: Terms, question: Question) -> Question:
        """The question with the cells that the grant's floor and rule alone would let out."""
        good = []
        for key, places in sorted(self.parts(terms, question).items()):
            of: dict[int, float] = {}
            for (_, person), amount in places.items():
                of[person] = of.get(person, 0.0) + amount
            heavy = "kg" in question.measures and max(of.values()) * 100 > sum(of.values()) * SHARE
            if len(of) >= terms.floor and not heavy:
                good.append(key)
        return replace(question, cells=tuple(good))


@dataclass(frozen=True)
class Told:
    """One cell that somebody was told: who was in it, and with how much (nothing: only counted)."""

    terms: Terms
    moment: datetime
    counts: Mapping[Part, float]
    sums: Mapping[Part, float]

    def binds(self, now: datetime) -> bool:
        return epoch_of(self.moment, self.terms.epoch) == epoch_of(now, self.terms.epoch)


def leaks(told: Sequence[Told], now: datetime) -> str:
    """What can be worked out from the answers of this epoch that should not be, in words."""
    binding = [t for t in told if t.binds(now)]
    sums = [(t.terms.floor, t.sums) for t in binding if t.sums]
    counts = [(t.terms.floor, t.counts) for t in binding]
    for what, found in (("count", counts), ("sum", sums)):
        for floor in sorted({f for f, _ in found}):
            few = _few([places for f, places in found if f >= floor], floor)
            if few:
                return f"a {what} of fewer than {floor}: {few}"
    return _heavy([places for _, places in sums])


def _matrix(answers: Sequence[Mapping[Part, float]]) -> tuple[np.ndarray[Any, Any], list[Part]]:
    places = sorted({p for a in answers for p in a})
    number = {p: i for i, p in enumerate(places)}
    matrix = np.zeros((len(answers), len(places)))
    for row, answer in zip(matrix, answers, strict=True):
        for place, amount in answer.items():
            row[number[place]] = amount
    return matrix, places


def _few(answers: Sequence[Mapping[Part, float]], k: int) -> str:
    """Fewer than k persons on whom alone some combination of answers depends."""
    if not answers:
        return ""
    matrix, places = _matrix(answers)
    patterns, which = np.unique(np.round(matrix / np.abs(matrix).max(axis=0), 9), axis=1, return_inverse=True)
    people = [frozenset(places[i][1] for i in np.flatnonzero(which.reshape(-1) == j)) for j in range(patterns.shape[1])]
    small = [j for j, p in enumerate(people) if len(p) < k]
    others = [j for j, p in enumerate(people) if len(p) >= k]
    # Combinations of answers that vanish on everybody else, and what they are on the few.
    left, values, _ = np.linalg.svd(patterns[:, others]) if others else (np.eye(len(patterns)), np.zeros(0), None)
    rank = int((values > 1e-9).sum())
    hidden = left[:, rank:].T @ patterns[:, small]
    whole = np.linalg.matrix_rank(hidden, tol=1e-7) if hidden.size else 0
    if not whole:
        return ""
    for chosen in _largest([people[j] for j in small], k):
        outside = np.delete(hidden, chosen, axis=1)
        if outside.shape[1] == 0 or np.linalg.matrix_rank(outside, tol=1e-7) < whole:
            return str(sorted(frozenset().union(*(people[small[i]] for i in chosen))))
    return ""


def _heavy(answers: Sequence[Mapping[Part, float]]) -> str:
    """A person who has more than SHARE % of some combination of sums.

    Of an amount that changed, what stayed and what is more are two: who could make them cancel knows them already.
    """
    if not answers:
        return ""
    whole: list[dict[Place, float]] = [{} for _ in answers]
    for amounts, answer in zip(whole, answers, strict=True):
        for (cell, person, _), amount in answer.items():
            amounts[cell, person] = amounts.get((cell, person), 0.0) + amount
    levels: dict[Place, set[float]] = {}
    for amounts in whole:
        for place, amount in amounts.items():
            levels.setdefault(place, {0.0}).add(amount)
    steps = {place: list(itertools.pairwise(sorted(found))) for place, found in levels.items()}
    matrix, places = _matrix([
        {(*place, i): high - low for place, amount in amounts.items() for i, (low, high) in enumerate(steps[place])
         if high <= amount}
        for amounts in whole
    ])  # fmt: skip
    most = np.abs(matrix).max(axis=0)
    for place in np.argsort(-most)[:6]:
        own = np.array([p[1] == places[int(place)][1] for p in places])
        vector = _lightest(matrix, int(place), np.where(own, 1e-9, 1.0))
        if vector is None:
            continue
        parts = np.where(np.abs(vector) < 1e-6, 0, np.abs(vector))
        if parts[own].sum() * 100 > parts.sum() * (SHARE + 1e-6):
            return f"{places[int(place)]} has most of a combination of sums"
    return ""


def play_two(seed: int, folder: Path, greedy: bool, turns: int = 36) -> tuple[str, int]:
    """One script of two grants' people against the guard: (what they worked out, answers given)."""
    rng = random.Random(seed)
    town = Town.of(seed, rng)
    pair = rng.sample(GRANTS, 2)
    guard = Guard(folder / f"{seed}{greedy}.db", "town")
    now = datetime(2026, 5, 4, tzinfo=UTC)
    told: list[Told] = []
    given = 0
    target = rng.choice(town.world.cells)
    pending = greedy_questions(town.world, target, rng) if greedy else []
    try:
        for _ in range(turns):
            terms = rng.choice(pair)
            question = pending.pop() if pending else random_question(town.world, rng)
            if rng.random() < 0.15:
                town.change(rng)
            if rng.random() < 0.08:
                found = leaks(told, now)
                if found:
                    return found, given
                now += timedelta(days=1)
            allowed = {f"d{i}" for i in terms.dimensions}
            question = replace(
                question, keys=tuple(k for k in question.keys if k in allowed),
                predicates=tuple(p for p in question.predicates if p.column in allowed),
            )  # fmt: skip
            question = town.answer(terms, question)
            if question.cells:
                fresh, wrong = _ask(guard, town, terms, question, now)
                if wrong:
                    return wrong, given
                told += fresh
                given += bool(fresh)
    finally:
        guard.close()
    return leaks(told, now), given


def _ask(guard: Guard, town: Town, terms: Terms, question: Question, now: datetime) -> tuple[list[Told], str]:
    """(what is told anew, what is wrong with an old answer)."""
    crowd = town.crowd(terms)
    asked = json.dumps([terms.name, replace(question, cells=()).to_json()])
    try:
        given = guard.release(Ask(
            "town", crowd.variant, terms.rules, question, asked, f"{town.version}", lambda: crowd,
            lambda _: (b"", asked), now, terms.epoch,
        ))  # fmt: skip
    except AccessDenied:
        return [], ""
    if given.old is not None:
        return [], "" if given.old[1] == asked else "an answer on another grant's terms"
    parts = town.parts(terms, question)
    return [
        Told(
            terms,
            now,
            {(*place, 0): 1.0 for place in parts[key]},
            town.quantities(parts[key]) if question.measures else {},
        )
        for key in given.question.cells
    ], ""


# ---- who crosses the floor -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A count: in which words, the cells that it has, and who was in all cells then."""

    words: str
    cells: frozenset[tuple[str, ...]]
    parts: Mapping[tuple[str, ...], Mapping[Place, float]]

    def people(self, key: tuple[str, ...]) -> set[int]:
        return {person for _, person in self.parts.get(key, {})}

    def few_changed(self, key: tuple[str, ...], other: Seen) -> bool:
        """Whether somebody, but fewer than K, came to a cell or left it, or has another line there."""
        lines = {person for _, person in self.parts.get(key, {}).keys() ^ other.parts.get(key, {}).keys()}
        return 0 < len(self.people(key) ^ other.people(key)) < K or 0 < len(lines) < K

    def tells_of_few(self, other: Seen) -> bool:
        """Whether a cell is in this or in a later answer alone for the sake of few.

        In other words one that fell below the floor is absent, as one is that is withheld: that is not looked at.
        """
        return any(
            self.few_changed(key, other) for key in self.cells ^ other.cells
            if self.words == other.words or (key in other.cells and len(self.people(key)) < K)
        )  # fmt: skip


def watch(seed: int, folder: Path, turns: int = 40) -> tuple[bool, int, int]:
    """A few counts in several words each, while somebody comes or leaves.

    (whether an answer told of few by the cells that it has, answers given anew, old ones given again)
    """
    rng = random.Random(seed)
    town, terms = Town.of(seed, rng), GRANTS[0]
    guard = Guard(folder / f"watch{seed}.db", "town")
    questions = [replace(random_question(town.world, rng), measures=()) for _ in range(4)]
    questions.append(Question((), tuple(town.world.dimensions), ()))
    seen: dict[int, list[Seen]] = {i: [] for i in range(len(questions))}
    anew = again = 0
    for _ in range(turns):
        if rng.random() < 0.3:
            town.change(rng)
        i, words = rng.randrange(len(questions)), rng.choice("aaabcdefgh")
        crowd = town.crowd(terms)
        ask = Ask(
            "town", crowd.variant, terms.rules, town.answer(terms, questions[i]), f"{i} {words}", f"{town.version}",
            partial(town.crowd, terms), lambda _: (b"", ""), datetime(2026, 5, 4, tzinfo=UTC), terms.epoch,
        )  # fmt: skip
        try:
            given = guard.release(ask)
        except AccessDenied:
            continue
        if given.old is not None:
            again += 1
            continue
        anew += 1
        answer = Seen(words, frozenset(given.question.cells), town.parts(terms, questions[i]))
        if any(before.tells_of_few(answer) for before in seen[i]):
            return True, anew, again
        seen[i].append(answer)
    guard.close()
    return False, anew, again
