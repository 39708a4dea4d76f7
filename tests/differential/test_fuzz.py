"""Random questions over random rows: departments and one database agree, with all rules and without each.

`make test` asks a bounded number of them, always the same, each with all rules and by one plan more: of those that
differ, the one that was tried least often, until all were often enough. `make fuzz` goes on with new ones for
FUZZ_SECONDS, `make fuzz-nightly` until there were FUZZ_QUERIES, each by all its plans. What fails is shrunk and printed
with its rows.

A question is its number: FUZZ_SEED is the first one's, so that FUZZ_SEED=<number> FUZZ_QUERIES=1 asks one again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import nullcontext

import duckdb
import pytest
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.errors import CityError
from gateway.rewrite import Context
from tests.differential import grammar, harness
from tests.differential.grammar import Case, case, shrunk, thrown
from tests.differential.harness import plans_of, pooled, run, same, told, unoptimised

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
QUERIES = int(os.environ.get("FUZZ_QUERIES", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "20240229"))
EACH = SECONDS > 0 or QUERIES > 0
"""Whether every question is planned in every way."""
PARTS, PART = (1, 1) if EACH else (8, 250)
"""Tests, which may run beside each other, and the questions of one, at least."""
ENOUGH = 15
"""Questions of a part that one other plan is tried with."""
TOLD = 500
"""Questions after which a long run says how far it is."""
MOST_REFUSED = 0.01
"""Of all questions, by one rule."""
ENDED = (CityError, duckdb.Error)
"""How a question may end on both sides alike: too many rows from a scalar subquery, a number out of range."""
WRONG = (*ENDED, SqlglotError, AssertionError, ArithmeticError, AttributeError, LookupError, RuntimeError)
WRONG += (TypeError, ValueError)
"""How a wrong planner shows."""


class Tally:
    """What was asked and what came of it.

    texts: different ones; the same may be asked of other rows. ended: on both sides alike. chosen: questions by the
    plan that they might have had, ran: that they had. refused: questions by the rule that refused them.
    """

    def __init__(self, each: bool) -> None:
        self.each = each
        self.asked = 0
        self.texts: set[int] = set()
        self.ended = 0
        self.chosen: Counter[str] = Counter()
        self.ran: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def check(self, question: Case) -> None:
        """Ask both ways, by several plans. Raises AssertionError for another answer, and whatever a planner may."""
        self.asked += 1
        self.texts.add(hash(question.sql))
        try:
            want = pooled(question.here, question.sql)
        except ENDED:
            self.ended += 1
            return
        try:
            for name, plan in plans_of(question.here, question.sql, self._choose):
                got = run(question.here, plan)
                assert same(want, got, ordered=False), f"{name}\npooled {want}\nfederated {got}\n{told(plan)}"
                self.ran[name] += 1
        except CityError as refusal:
            if not refusal.rule:
                raise
            self.refused[refusal.rule] += 1

    def _choose(self, names: list[str]) -> list[str]:
        if self.each:
            return names
        chosen = sorted((n for n in names if self.chosen[n] < ENOUGH), key=lambda n: self.chosen[n])[:1]
        self.chosen.update(chosen)
        return chosen

    def __str__(self) -> str:
        told = f"{self.asked:,} questions of {len(self.texts):,} texts, {self.ended:,} ended on both sides alike"
        ran = [f"{count:>9,} planned with {name}" for name, count in self.ran.most_common()]
        refused = [f"{count:>9,} refused: {rule}" for rule, count in self.refused.most_common()]
        return "\n".join((told, *ran, *refused))


def failure(question: Case) -> BaseException | None:
    """What is wrong with any plan of a question."""
    try:
        Tally(each=True).check(question)
    except WRONG as wrong:
        return wrong
    return None


def ask(number: int, tally: Tally) -> None:
    """One question. Raises AssertionError with the smallest one that fails as it does."""
    choices = thrown(number)
    try:
        tally.check(case(choices))
    except WRONG as wrong:
        small = shrunk(choices.taken, lambda question: failure(question) is not None)
        told = f"FUZZ_SEED={number}: {small.sql}\nover {small.here}\n{failure(small) or wrong}"
        raise AssertionError(told) from wrong


@pytest.mark.timeout(0 if QUERIES else SECONDS + 900)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_questions(part: int) -> None:
    """One part of them; a long run goes on until the time is over and the number is reached."""
    start, ran, tally = time.monotonic(), time.process_time(), Tally(EACH)
    with nullcontext() if EACH else unoptimised():
        while tally.asked < max(PART, QUERIES) or time.monotonic() - start < SECONDS:
            number = SEED + part * PART + tally.asked
            if tally.asked % TOLD == 0:
                print(f"FUZZ_SEED={number}  # after {tally.asked:,}, {tally.refused.total():,} refused", flush=True)
            ask(number, tally)
    print(f"{tally}\n{time.monotonic() - start:,.0f} seconds, {time.process_time() - ran:,.0f} of the processor")
    for rule, count in tally.refused.items():
        assert count < MOST_REFUSED * tally.asked, f"{count} of {tally.asked:,} refused: {rule}"
    assert tally.ended <= MOST_REFUSED * tally.asked


def test_a_failure_is_made_small() -> None:
    choices, sql = next((c, sql) for c in map(thrown, range(100)) if "FULL JOIN" in (sql := case(c).sql))
    small = shrunk(choices.taken, lambda question: "FULL JOIN" in question.sql)
    assert "FULL JOIN" in small.sql
    assert len(small.sql) < 150 < len(sql)
    assert not any(rows.num_rows for rows in small.here.tables.values())


def test_a_wrong_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number, in a question that is smaller than the one that showed it."""

    def forgetful(tree: exp.Query, _: Context) -> exp.Query:
        for where in list(tree.find_all(exp.Where)):
            where.pop()
        return tree

    monkeypatch.setattr(harness, "RULES", (*harness.RULES, forgetful))
    monkeypatch.setattr(grammar, "MOST_TRIES", 100)
    number = next(n for n in range(100) if failure(case(thrown(n))) is not None)
    with pytest.raises(AssertionError, match=f"FUZZ_SEED={number}: ") as found:
        ask(number, Tally(each=False))
    assert len(str(found.value).splitlines()[0]) < len(case(thrown(number)).sql)
