"""The span test against brute force: no sum of answered cells, with any coefficients, isolates a few."""

from __future__ import annotations

import itertools
import random
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.types import parse
from connectors.agent.disclosure import Answer, Crowd, Field, Question, Rules, Variant
from connectors.agent.span import Span, echelon
from connectors.base import Predicate

VARCHAR = parse("varchar")
VARIANT = Variant("r", (), {"d": VARCHAR, "w": VARCHAR}, ("d", "w"))


def base(rows: list[tuple[Any, ...]]) -> Crowd:
    """Distinct (d, w, entity); an entity is named by a number or a text."""
    rows = sorted(set(rows), key=repr)
    values, codes = [], []
    for place in (0, 1):
        known = sorted({r[place] for r in rows})
        values.append(tuple(known))
        codes.append([known.index(r[place]) for r in rows])
    names = {e: i + 1 for i, e in enumerate(sorted({r[2] for r in rows}, key=repr))}
    entity = np.array([names[r[2]] for r in rows], dtype=np.uint64)
    return Crowd(VARIANT, tuple(values), np.array(codes).T, entity, np.ones(len(rows)))


def discloses(crowd: Crowd, rules: Rules, history: list[Question], new: Question) -> bool:
    """Whether answering all of `new` after `history` lets some combination of answers single out too few."""
    field = Field([crowd], [rules], [Answer(0, q, rules) for q in history])
    try:
        return field.admit(Answer(0, new, rules)) != new
    except OverflowError:
        return True


def total(*predicates: Predicate) -> Question:
    return Question(predicates, (), ((),))


def eq(column: str, *values: Any) -> Predicate:
    return Predicate(column, "in", values)


def vectors(rows: list[tuple[Any, ...]], questions: list[Question]) -> tuple[list[list[int]], list[set[Any]]]:
    """0/1 vectors over base cells, by definition."""
    cells = sorted({(d, w) for d, w, _ in rows})
    people = [{e for d, w, e in rows if (d, w) == c} for c in cells]
    result = []
    for question in questions:
        for released in question.cells:
            row = []
            for d, w in cells:
                value = {"d": d, "w": w}
                inside = all((value[p.column] in p.values) == (p.op == "in") for p in question.predicates)
                row.append(int(inside and tuple(value[k] for k in question.keys) == released))
            result.append(row)
    return result, people


def rank(matrix: list[list[int]]) -> int:
    work = [[Fraction(x) for x in row] for row in matrix]
    found = 0
    for column in range(len(work[0]) if work else 0):
        pivot = next((i for i in range(found, len(work)) if work[i][column]), None)
        if pivot is None:
            continue
        work[found], work[pivot] = work[pivot], work[found]
        for i in range(len(work)):
            if i != found and work[i][column]:
                factor = work[i][column] / work[found][column]
                work[i] = [a - factor * b for a, b in zip(work[i], work[found], strict=True)]
        found += 1
    return found


def isolates(rows: list[tuple[Any, ...]], questions: list[Question], k: int) -> bool:
    """By definition: some set of base cells with fewer than k people carries a non-zero vector of the span."""
    matrix, people = vectors(rows, questions)
    whole = rank(matrix)
    for size in range(1, len(people) + 1):
        for chosen in itertools.combinations(range(len(people)), size):
            if len(set().union(*(people[c] for c in chosen))) >= k:
                continue
            outside = [[x for i, x in enumerate(row) if i not in chosen] for row in matrix]
            if rank(outside) < whole:
                return True
    return False


D, W = "ABC", ["1", "2", "3"]


@st.composite
def questions(draw: st.DrawFn, rows: list[tuple[Any, ...]], k: int) -> Question:
    predicates = []
    for column, values in (("d", list(D)), ("w", W)):
        if draw(st.booleans()):
            chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True))
            predicates.append(Predicate(column, draw(st.sampled_from(["in", "in", "<>"])), tuple(chosen[:1])))
    keys = tuple(draw(st.lists(st.sampled_from(["d", "w"]), max_size=2, unique=True)))
    cells = []
    for cell in sorted({tuple({"d": d, "w": w}[x] for x in keys) for d, w, _ in rows}):
        inside = {
            e for d, w, e in rows
            if tuple({"d": d, "w": w}[x] for x in keys) == cell
            and all(({"d": d, "w": w}[p.column] in p.values) == (p.op == "in") for p in predicates)
        }  # fmt: skip
        if len(inside) >= k:
            cells.append(cell)
    return Question(tuple(predicates), keys, tuple(cells))


@given(data=st.data())
@settings(max_examples=150)
def test_a_history_is_refused_exactly_when_it_isolates_a_few(data: st.DataObject) -> None:
    k = data.draw(st.integers(2, 4))
    places = st.tuples(st.sampled_from(D), st.sampled_from(W), st.integers(0, 12))
    rows = sorted(set(data.draw(st.lists(places, min_size=6, max_size=40))))
    answered: list[Question] = []
    for _ in range(data.draw(st.integers(2, 5))):
        question = data.draw(questions(rows, k))
        if not question.cells:
            continue
        refused = discloses(base(rows), Rules(k), answered, question)
        assert refused == isolates(rows, [*answered, question], k)
        if not refused:
            answered.append(question)


def crowd(d: str, w: str, count: int) -> list[tuple[Any, ...]]:
    return [(d, w, f"{d}{w}{i}") for i in range(count)]


CITY = crowd("A", "1", 30) + crowd("A", "2", 20) + crowd("A", "9", 4) + crowd("B", "1", 25) + crowd("B", "2", 40)


@pytest.mark.parametrize(
    ("history", "new", "refused"),
    [
        # all, then all but the small ward
        ([total(eq("d", "A"))], total(eq("d", "A"), Predicate("w", "<>", ("9",))), True),
        # the same difference from three queries of which no two overlap in it: a tracker
        ([total(eq("d", "A")), total(eq("d", "A"), eq("w", "1"))], total(eq("d", "A"), eq("w", "2")), True),
        # sums of large disjoint parts are harmless
        ([total(eq("d", "A")), total(eq("d", "B"))], total(), False),
        # the small ward together with a large one
        ([total(eq("d", "A"))], total(eq("d", "A"), eq("w", "1", "9")), False),
        ([total(eq("d", "A")), total(eq("w", "1", "9"))], total(eq("d", "B"), eq("w", "1")), False),
    ],
)
def test_differences_and_trackers(history: list[Question], new: Question, refused: bool) -> None:
    assert discloses(base(CITY), Rules(10), history, new) is refused


def plain_echelon(matrix: list[list[int]], prime: int) -> list[list[int]]:
    """The reduced form by the book: column after column, from the left."""
    work, found = [[x % prime for x in row] for row in matrix], 0
    for column in range(len(work[0])):
        pivot = next((i for i in range(found, len(work)) if work[i][column]), None)
        if pivot is None:
            continue
        work[found], work[pivot] = work[pivot], work[found]
        inverse = pow(work[found][column], -1, prime)
        work[found] = [x * inverse % prime for x in work[found]]
        for i in range(len(work)):
            if i != found:
                work[i] = [(a - work[i][column] * b) % prime for a, b in zip(work[i], work[found], strict=True)]
        found += 1
    return work[:found]


@pytest.mark.parametrize("kept", [0.15, 0.4, 0.9])
@pytest.mark.parametrize("size", [(1, 5), (4, 4), (6, 15), (15, 6), (12, 40)])
def test_the_span_is_kept_in_the_form_of_the_book(kept: float, size: tuple[int, int]) -> None:
    """Row after row, or a few vectors at a time: there is one reduced form, and `holds` tells what is in it."""
    rng = np.random.default_rng(11)
    prime = 1048583
    for _ in range(6):
        thin = rng.random(size) < kept
        matrix = thin * rng.integers(1, prime, size)
        rows, pivots = echelon(matrix.astype(float), prime)
        assert rows.astype(int).tolist() == plain_echelon(matrix.tolist(), prime)
        assert pivots.tolist() == [int(np.flatnonzero(row)[0]) for row in rows]
        bits, big = thin.astype(float), np.ones(size[1], dtype=bool)
        span = Span(prime, np.zeros((0, size[1])), np.zeros(0, dtype=np.int64))
        for part in np.array_split(bits, 3):
            span = span.add(part, big)
        order = np.argsort(span.pivots)
        assert span.rows[order].astype(int).tolist() == plain_echelon(thin.astype(int).tolist(), prime)
        probes = np.concatenate([bits, (rng.random((20, size[1])) < kept).astype(float)])
        for probe, held in zip(probes, span.holds(probes), strict=True):
            longer = plain_echelon([*thin.astype(int).tolist(), probe.astype(int).tolist()], prime)
            assert held == (len(longer) == span.rank)


def test_one_entity_in_many_cells_counts_once() -> None:
    rows = (
        crowd("A", "1", 20)
        + [("A", "2", f"same{i % 3}") for i in range(3)]
        + [("A", "3", f"same{i}") for i in range(3)]
    )
    assert discloses(base(rows), Rules(5), [total(eq("d", "A"))], total(eq("w", "1")))


def test_a_question_reads_back_as_it_was_written() -> None:
    kinds = {"d": parse("varchar"), "y": parse("integer"), "t": parse("boolean"), "b": parse("date")}
    question = Question((eq("y", 2015), Predicate("d", "is null")), ("y", "t"), ((2014, True), (2015, None)))
    again = Question.from_json(question.to_json(), kinds)
    assert again.to_json() == question.to_json()
    assert set(again.cells) == set(question.cells)


def test_a_long_history_over_many_base_cells_is_tested_in_time() -> None:
    rng = random.Random(1)
    rows = [(rng.choice("ABCDEF"), f"{rng.randint(0, 3000)}", i % 20_000) for i in range(50_000)]
    history = [total(eq("d", a)) for a in "ABCDEF"] + [
        total(eq("w", *map(str, range(n, n + 500)))) for n in range(0, 3000, 500)
    ]
    begun = time.monotonic()
    assert not discloses(base(rows), Rules(10), history, Question((), ("d",), tuple((a,) for a in "ABCDEF")))
    assert time.monotonic() - begun < 20
