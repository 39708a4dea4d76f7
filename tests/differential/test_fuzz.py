"""Random questions over random rows: departments and one database agree.

`make test` asks a bounded number of them, always the same. `FUZZ_SECONDS=600` goes on with new ones for
that long, from `FUZZ_SEED` (printed) on; what fails is shrunk and printed with its rows.
"""

from __future__ import annotations

import os
import time

import duckdb
import pytest
from hypothesis import HealthCheck, given, seed, settings

from catalog.errors import CityError
from gateway.rewrite import RULES
from tests.differential.grammar import Case, cases
from tests.differential.harness import plan_of, pooled, resolved, run, same

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "20240229"))
EXAMPLES = 125
ENDED = (CityError, duckdb.Error)
"""How a question may end on both sides alike: too many rows from a scalar subquery, a number out of range."""


def check(case: Case) -> None:
    """Ask both ways, with all rules and with none."""
    try:
        want = pooled(case.here, case.sql)
    except ENDED:
        return
    try:
        bound = resolved(case.here, case.sql)
        for rules in (RULES, ()):
            plan = plan_of(bound, rules)
            got = run(case.here, plan)
            assert same(want, got, ordered=False), f"pooled {want}\nfederated {got}\n{plan}"
    finally:
        case.here.engine.close()


@pytest.mark.timeout(SECONDS + 300)
def test_random_questions() -> None:
    """At least one round; then new seeds until the time is over."""
    start, number = time.monotonic(), SEED
    while True:
        print(f"FUZZ_SEED={number}")
        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        bounded = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=quiet)
        bounded(seed(number)(given(cases())(check)))()
        number += 1
        if time.monotonic() - start >= SECONDS:
            return
