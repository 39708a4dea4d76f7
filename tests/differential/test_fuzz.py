"""Random questions over random rows: departments and one database agree, with all rules and without each.

`make test` asks a bounded number of them, always the same. `make fuzz` goes on with new ones for FUZZ_SECONDS,
`make fuzz-nightly` until there were FUZZ_QUERIES, from FUZZ_SEED (printed) on; what fails is shrunk and printed with
its rows.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import duckdb
import pytest
from hypothesis import HealthCheck, given, seed, settings

from catalog.errors import CityError
from tests.differential.grammar import Case, cases
from tests.differential.harness import plans_of, pooled, run, same

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
QUERIES = int(os.environ.get("FUZZ_QUERIES", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "20240229"))
EXAMPLES = 500 if SECONDS or QUERIES else 125
"""Questions of one seed."""
MOST_REFUSED = 0.01
"""Of all questions, by one rule."""
ENDED = (CityError, duckdb.Error)
"""How a question may end on both sides alike: too many rows from a scalar subquery, a number out of range."""


class Tally:
    """What was asked and what came of it.

    texts: different ones; the same may be asked of other rows. ended: on both sides alike. ran: questions by the plan
    that they had. refused: questions by the rule that refused them.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.texts: set[int] = set()
        self.ended = 0
        self.ran: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def check(self, case: Case) -> None:
        """Ask both ways, with every plan."""
        self.asked += 1
        self.texts.add(hash(case.sql))
        try:
            want = pooled(case.here, case.sql)
        except ENDED:
            self.ended += 1
            return
        try:
            for name, plan in plans_of(case.here, case.sql):
                got = run(case.here, plan)
                assert same(want, got, ordered=False), f"{name}\npooled {want}\nfederated {got}\n{plan}"
                self.ran[name] += 1
        except CityError as refusal:
            if not refusal.rule:
                raise
            self.refused[refusal.rule] += 1
        finally:
            case.here.engine.close()

    def __str__(self) -> str:
        told = f"{self.asked:,} questions of {len(self.texts):,} texts, {self.ended:,} ended on both sides alike"
        ran = [f"{count:>9,} planned with {name}" for name, count in self.ran.most_common()]
        refused = [f"{count:>9,} refused: {rule}" for rule, count in self.refused.most_common()]
        return "\n".join((told, *ran, *refused))


@pytest.mark.timeout(0 if QUERIES else SECONDS + 300)
def test_random_questions() -> None:
    """At least one round; then new seeds until the time is over and the number is reached."""
    start, number, tally = time.monotonic(), SEED, Tally()
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    bounded = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=quiet)
    while True:
        print(f"FUZZ_SEED={number}  # after {tally.asked:,}", flush=True)
        bounded(seed(number)(given(cases())(tally.check)))()
        number += 1
        if time.monotonic() - start >= SECONDS and tally.asked >= QUERIES:
            break
    print(f"{tally}\n{time.monotonic() - start:,.0f} seconds")
    for rule, count in tally.refused.items():
        assert count < MOST_REFUSED * tally.asked, f"{count} of {tally.asked:,} refused: {rule}"
    assert tally.ended < MOST_REFUSED * tally.asked
