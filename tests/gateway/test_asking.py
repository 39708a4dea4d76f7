"""What a fragment is asked when its keys are there: in pieces that together ask for every row once, or without keys."""

from __future__ import annotations

from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from gateway.plan import FragmentPlan, KeySet, KeySource
from gateway.plan.asking import requests
from gateway.plan.explain import explain_plan
from tests.differential.harness import SESSION, World, planned
from tests.differential.world import CITY


def fragment(*most: int, chunk: int = 10, always: bool = False) -> FragmentPlan:
    sets = tuple(KeySet(exp.Select(), frozenset({"f0"}), m) for m in most)
    places = range(len(sets))
    texts = {c: f"with {c}" for size in places for c in combinations(places, size + 1)}
    return FragmentPlan("f1", "water", "without", ("c0",), (), KeySource(sets, texts, chunk, always))


def keys(*counts: int) -> list[pa.Array]:
    return [pa.array(range(count), pa.int64()) for count in counts]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 70)), min_size=1, max_size=3), st.integers(1, 30))
def test_every_choice_of_keys_is_in_one_request(sets: list[tuple[int, int]], chunk: int) -> None:
    """A row that has a key in each set that is sent is asked for once: never twice, never not at all."""
    found = keys(*(count for _, count in sets))
    sent = requests(fragment(*(most for most, _ in sets), chunk=chunk), found)
    if not sent[0].keys:
        assert [r.sql for r in sent] == ["without"]
        return
    (text,) = {r.sql for r in sent}
    places = [i for i in range(len(sets)) if str(i) in text]
    assert all(sum(map(len, r.keys)) <= chunk for r in sent)
    assert all(len(found[i]) <= sets[i][0] or not len(found[i]) for i in places)
    cut = [p for p in range(len(places)) if len({r.keys[p].to_pylist().__repr__() for r in sent}) > 1]
    assert len(cut) <= 1
    for at, place in enumerate(places):
        parts = [key for r in (sent if at in cut else sent[:1]) for key in r.keys[at].to_pylist()]
        assert parts == found[place].to_pylist()


@pytest.mark.parametrize(
    ("most", "counts", "asked"),
    [
        ((50, 50), (8, 2), [("with (0, 1)", (8, 2))]),
        ((50, 50), (20, 2), [("with (0, 1)", (8, 2)), ("with (0, 1)", (8, 2)), ("with (0, 1)", (4, 2))]),
        ((50, 50), (2, 20), [("with (0, 1)", (2, 8)), ("with (0, 1)", (2, 8)), ("with (0, 1)", (2, 4))]),
        ((50, 50), (20, 6), [("with (1,)", (6,))]),  # both together would be pieces of four
        ((50, 5), (20, 6), [("with (0,)", (10,)), ("with (0,)", (10,))]),
        ((5, 5), (20, 6), [("without", ())]),
        ((5, 5), (20, 0), [("with (1,)", (0,))]),  # nothing can match: one request, for the types
        ((50, 50, 50), (4, 3, 2), [("with (0, 1, 2)", (4, 3, 2))]),
        ((50, 50, 50), (40, 3, 2), [("with (0, 1, 2)", (5, 3, 2))] * 8),
    ],
)
def test_which_sets_go_and_in_what_pieces(
    most: tuple[int, ...], counts: tuple[int, ...], asked: list[tuple[str, tuple[int, ...]]]
) -> None:
    assert [(r.sql, tuple(map(len, r.keys))) for r in requests(fragment(*most), keys(*counts))] == asked


def test_claims_are_sent_however_many_there_are() -> None:
    sent = requests(fragment(0, always=True), keys(25))
    assert [(r.sql, len(r.keys[0])) for r in sent] == [("with (0,)", 10), ("with (0,)", 10), ("with (0,)", 5)]
    assert [len(r.keys[0]) for r in requests(fragment(0, always=True), keys(0))] == [0]


def test_explain_names_each_set_and_what_is_asked_without_it() -> None:
    plan = planned(
        CITY,
        "SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.id "
        "JOIN health.main.admission a ON a.person = r.meter_id WHERE c.staff = 10 AND a.cause = 'lung'",
    )
    text = explain_plan(plan, SESSION).text
    asked = next(f for f in plan.fragments if f.keys is not None)
    assert asked.keys is not None
    assert f"  {asked.keys.sql}\n  $keys from f0, $keys1 from f1, together at most 10,000 keys a request\n" in text
    assert "  with more than 40,000 keys in a set: without it\n" in text
    assert f"  with more than 40,000 keys in each: {asked.sql}\n" in text


def test_a_department_that_reads_one_set_is_sent_the_one_that_leaves_least() -> None:
    one = World(CITY.tables, {n: {**CITY.traits.get(n, {}), "key_sets": 1} for n in CITY.tables})
    sql = (
        "SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.id "
        "JOIN health.main.admission a ON a.person = r.meter_id WHERE c.staff = 10 AND {}"
    )
    for condition, giver in (("a.cause = 'lung'", "f0"), ("a.cause = 'lung' AND a.days = 3", "f1")):
        (asked,) = (f for f in planned(one, sql.format(condition)).fragments if f.department == "water")
        assert asked.keys is not None
        assert [s.needs for s in asked.keys.sets] == [{giver}]
        assert asked.keys.sql.count("$keys") == 1


def test_a_department_that_takes_no_keys_is_sent_none() -> None:
    none = World(CITY.tables, {n: {**CITY.traits.get(n, {}), "max_keys": 0} for n in CITY.tables})
    sql = (
        "SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10"
    )
    assert [f.keys for f in planned(none, sql).fragments] == [None, None]
    assert any(f.keys is not None for f in planned(CITY, sql).fragments)
