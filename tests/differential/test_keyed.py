"""Where keys take the place of what only restricts, the answer is the same; or it is seen that they are no keys.

In a world whose declared keys are true every such plan answers, and rightly. In one where they are not it answers
rightly or gives up, and what the gateway does then is tested elsewhere: that is the plan that there was before.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest

from bench.tpch import TABLES, queries
from catalog.names import RelationName
from tests.differential import harness
from tests.differential.corpus import STATEMENTS, Statement
from tests.differential.grammar import Case, case, thrown
from tests.differential.harness import World, planned, pooled, run, same, world
from tests.differential.keyed import HONEST, honest, planned_keyed, pooled_once, tried, wanted
from tests.differential.test_fuzz import ENDED, QUERIES, SECONDS, SEED
from tests.differential.tpch import tiny
from tests.differential.world import CITY

QUERY = queries(lambda table: f"{TABLES[table]}.main.{table}")
SHARE = {"q02": 60, "q03": 40, "q11": 40}
"""Query -> rows that departments may deliver in all, keys among them."""


KEYED = [s for s in STATEMENTS if wanted(HONEST, s.sql) is not None]


def test_there_are_many() -> None:
    assert len(KEYED) > 30


@pytest.mark.parametrize("statement", KEYED, ids=lambda s: s.id)
def test_true_keys_give_the_answer(statement: Statement) -> None:
    plan = wanted(HONEST, statement.sql)
    assert plan is not None
    got = tried(HONEST, plan)
    assert got is not None
    assert same(pooled_once(HONEST, statement), got, statement.ordered), plan.keyed


@pytest.mark.parametrize("statement", KEYED, ids=lambda s: s.id)
def test_untrue_keys_are_seen(statement: Statement) -> None:
    """What is answered all the same is right: no row that came holds a value twice."""
    plan = wanted(CITY, statement.sql)
    assert plan is not None
    got = tried(CITY, plan)
    assert got is None or same(pooled_once(CITY, statement), got, statement.ordered), plan.keyed


def test_some_are_not_keys() -> None:
    plans = [wanted(CITY, s.sql) for s in KEYED]
    assert sum(tried(CITY, plan) is None for plan in plans if plan is not None) > 10


@pytest.mark.parametrize("statement", KEYED, ids=lambda s: s.id)
def test_more_keys_than_a_request_takes_are_none(statement: Statement) -> None:
    plan = wanted(HONEST, statement.sql)
    assert plan is not None
    assert plan.keyed is not None
    fragments = [
        replace(f, keys=replace(f.keys, chunk=1)) if f.keys is not None and f.keys.exact else f
        for f in plan.keyed.fragments
    ]
    got = tried(HONEST, replace(plan, keyed=replace(plan.keyed, fragments=tuple(fragments))))
    assert got is None or same(pooled_once(HONEST, statement), got, statement.ordered)


# ---- which are wanted


@pytest.mark.parametrize("query", SHARE)
def test_departments_deliver_little(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tiny()
    plan = planned_keyed(here, QUERY[query])
    delivered: list[pa.Table] = []
    for name in ("_ask", "_ask_with_keys"):
        ask = getattr(harness, name)
        monkeypatch.setattr(harness, name, lambda *a, ask=ask: delivered.append(ask(*a)) or delivered[-1])
    got = tried(here, plan)
    assert got is not None
    assert same(pooled(here, QUERY[query]), got, ordered=True)
    assert sum(table.num_rows for table in delivered) <= SHARE[query]


ASKED = (
    "SELECT SUM(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company WHERE r.meter_id = {} "
    "AND c.staff > 3"
)


@pytest.mark.parametrize(("meters", "wanted"), [("r.meter_id", True), ("7", False)])
def test_keys_that_spare_little_are_not_wanted(meters: str, wanted: bool) -> None:
    """Of one meter there are few readings: their companies are fewer than all that fulfil the condition."""
    traits = {n: {**t, "rows": 1_000} for n, t in HONEST.traits.items()}
    reading = RelationName("water", "main", "reading")
    traits[reading] = {"rows": 1_000_000, "key": ("meter_id",)}
    plan = planned_keyed(World(HONEST.tables, traits), ASKED.format(meters))
    assert (plan.keyed is not None) is wanted


# ---- questions by chance


QUESTIONS = 120
"""At least; FUZZ_SECONDS and FUZZ_QUERIES ask for more, as in `test_fuzz`."""
PLACES = {"a__t": ("k",), "a__u": (), "b__v": (), "b__x": ("k",), "c__w": ()}
"""Relations of (k varchar, g integer, n bigint), and the keys that their owners declare."""
PAIRS = (("a__u", "a__t"), ("b__v", "a__t"), ("b__x", "a__t"), ("c__w", "a__t"), ("a__u", "b__x"), ("c__w", "b__x"))
ALSO = ("", " AND r.k > 'a'", " JOIN a.main.t AS s ON s.k = r.k")
CONDITIONS = ("r.k <> 'Z'", "p.k <> 'y'", "r.n > 0", "p.k IN (SELECT q.k FROM c.main.w AS q)", "p.k IS NOT NULL")
SUMS = (
    "SELECT p.k AS o0, COUNT(*) AS o1, SUM(p.n) AS o2 FROM {source} GROUP BY p.k",
    "SELECT r.k AS o0, COUNT(*) AS o1, MAX(p.k) AS o2 FROM {source} GROUP BY r.k HAVING COUNT(*) > 1",
    "SELECT COUNT(*) AS o0 FROM {source}",
    "SELECT DISTINCT p.g AS o0 FROM {source}",
    "SELECT p.k AS o0, p.n AS o1 FROM {source} ORDER BY 1 DESC, 2 LIMIT 2",
    "SELECT p.g AS o0, SUM(p.n) AS o1 FROM {source} GROUP BY p.g HAVING SUM(p.n) >= (SELECT SUM(x.n) / 3 FROM {again})",
)


def _question(number: int) -> Case:
    """Any one, or sums of what another department restricts."""
    dice = random.Random(number)
    if dice.random() < 0.2:
        return case(thrown(number))
    rows = {name: [_row(dice) for _ in range(dice.randrange(7))] for name in PLACES}
    columns = {"k": "varchar", "g": "integer", "n": "bigint"}
    here = world({n: {"key": key} for n, key in PLACES.items()}, **{n: (columns, r) for n, r in rows.items()})
    one, other = (name.replace("__", ".main.") for name in dice.choice(PAIRS))
    kept = dice.sample(CONDITIONS, dice.randrange(3))
    source = f"{one} AS p JOIN {other} AS r ON p.k = r.k{dice.choice(ALSO)}"
    source += f" WHERE {' AND '.join(kept)}" if kept else ""
    again = source.replace("p.", "x.").replace("r.", "y.").replace("AS p ", "AS x ").replace("AS r ", "AS y ")
    return Case(here, dice.choice(SUMS).format(source=source, again=dice.choice((again, f"{other} AS x"))))


def _row(dice: random.Random) -> tuple[object, ...]:
    return dice.choice(("x", "y", "Z", "u", "v", None)), dice.choice((1, 2, None)), dice.choice((-2, 0, 1, 5, None))


def _answers(number: int, are_true: bool) -> bool | None:
    """Whether a question is answered by keys; None if it is not tried. Raises AssertionError for a wrong answer."""
    made = _question(number)
    here = honest(made.here) if are_true else made.here
    try:
        want = pooled(here, made.sql)
        assert same(want, run(here, planned(here, made.sql)), ordered=False), f"FUZZ_SEED={number}: {made.sql}"
    except ENDED:
        return None
    plan = wanted(here, made.sql)
    if plan is None:
        return None
    got = tried(here, plan)
    told = f"FUZZ_SEED={number}: {made.sql}\nof {here}"
    assert got is not None or not are_true, told
    assert got is None or same(want, got, ordered=False), f"{told}\npooled {want}\nfederated {got}\n{plan.keyed}"
    return got is not None


@pytest.mark.timeout(0 if QUERIES else SECONDS + 300)
def test_random_questions() -> None:
    start, number = time.monotonic(), SEED
    counts: Counter[bool | None] = Counter()
    while number - SEED < max(QUESTIONS, QUERIES) or time.monotonic() - start < SECONDS:
        counts[_answers(number, number % 2 == 0)] += 1
        number += 1
    print(f"{number - SEED:,} questions, {counts[True]:,} answered by keys, {counts[False]:,} where they were none")
    assert counts[True] > (number - SEED) // 10
    assert counts[False]
