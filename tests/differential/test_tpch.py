"""All 22 queries of TPC-H over three departments: the same digits as over one database, and few rows to get them."""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pytest

from bench.tpch import TABLES, queries
from gateway.rewrite import RULES, Rule
from tests.differential import harness
from tests.differential.harness import World, planned, pooled, rows_of, same
from tests.differential.tpch import tiny

QUERIES = queries(lambda table: f"{TABLES[table]}.main.{table}")
SHARE = {
    "q01": 6, "q04": 5, "q06": 1, "q12": 2, "q16": 60, "q17": 40, "q18": 40, "q19": 60, "q20": 90, "q21": 20,
    "q22": 60,
}  # fmt: skip
"""Query -> rows that departments may deliver in all; there are 1,600 lines and 420 orders."""


@cache
def tpch() -> World:
    return tiny()


def test_there_are_all_of_them() -> None:
    assert list(QUERIES) == [f"q{n:02d}" for n in range(1, 23)]


@pytest.mark.parametrize("query", QUERIES)
def test_federated_is_pooled(query: str) -> None:
    """Rows in their order, to the last digit; and there are some, or nothing would be compared."""
    here = tpch()
    want = pooled(here, QUERIES[query])
    plan = planned(here, QUERIES[query])
    got = harness.run(here, plan)
    assert want
    assert any(value is not None for value in want[0])
    assert same(want, got, ordered=True), plan


@pytest.mark.parametrize("query", SHARE)
def test_departments_deliver_little(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tpch()
    delivered: list[pa.Table] = []
    for name in ("_ask", "_ask_with_keys"):
        ask = getattr(harness, name)
        monkeypatch.setattr(harness, name, lambda *a, ask=ask: delivered.append(ask(*a)) or delivered[-1])
    harness.run(here, planned(here, QUERIES[query]))
    assert sum(table.num_rows for table in delivered) <= SHARE[query]


def test_the_first_customers_by_revenue_are_asked_for_alone() -> None:
    """q10, of as many rows as at scale 1: sums of orders lead, and customers must have a key."""
    rows = {"customer": 150_000, "orders": 1_500_000, "lineitem": 6_000_000}
    here = World(tpch().tables, {n: {**t, "rows": rows.get(n.table, 25)} for n, t in tpch().traits.items()})
    plan = planned(here, QUERIES["q10"])
    assert plan.first is not None
    asked = {f.id: f.sql for f in plan.first.plan.fragments}
    assert asked[plan.first.fragment].endswith("LIMIT 41")
    assert [asked[name].partition(" AS c0")[0] for name in plan.first.once] == [
        "SELECT t0.c_custkey", "SELECT t0.n_nationkey",
    ]  # fmt: skip
    assert same(pooled_once("q10"), harness.run(here, plan), ordered=True)


@pytest.mark.parametrize("rule", dict.fromkeys(RULES), ids=lambda r: r.__name__)
def test_each_rule_can_be_left_out(rule: Rule) -> None:
    """Every query is right without any one of the rules: none repairs what another breaks."""
    here = tpch()
    others = tuple(r for r in RULES if r is not rule)
    for query in ("q02", "q08", "q09", "q13", "q17", "q18", "q20", "q21", "q22"):
        plan = planned(here, QUERIES[query], others)
        assert same(pooled_once(query), harness.run(here, plan), ordered=True), plan


@cache
def pooled_once(query: str) -> harness.Rows:
    table, _ = harness.as_written(tpch(), QUERIES[query])
    return rows_of(table)
