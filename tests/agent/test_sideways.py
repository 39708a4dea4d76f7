"""The small side of a join is read first, and its source reads only what can join with it: same answer, fewer rows.

The oracle is the same agent without the rule.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.agent import execute, sideways
from connectors.agent.plan import RowPlan
from connectors.agent.service import Agent
from connectors.base import Cancel, NativeScan, Predicate
from tests.agent.house import House, tuples

CODES = ["A1", "A2", "a2", "B1", "B 1", "", "李", "x'y"]
POLICY: dict[str, Any] = {
    "department": "market",
    "title": "Market",
    "linkage_groups": {"city": {"root": "file:root.hex", "normaliser": "company"}},
    "relations": {
        "product": {
            "table": "product",
            "columns": {"code": "varchar", "year": "integer", "role": "varchar", "grams": "integer"},
        },
        "sale": {
            "table": "sale",
            "columns": {"product": "varchar", "seller": "varchar", "year": "bigint", "qty": "integer"},
        },
        "hidden": {"table": "product", "columns": {"code": "varchar", "role": "varchar"}},
    },
    "grants": [
        {"id": "p", "relation": "product", "purposes": ["mass-balance"], "mode": "masked", "row_filter": "grams < 90"},
        {"id": "s", "relation": "sale", "purposes": ["mass-balance"], "mode": "masked"},
        {
            "id": "h",
            "relation": "hidden",
            "purposes": ["mass-balance"],
            "mode": "masked",
            "masks": {"code": "pseudonym(city)"},
        },
    ],
}


def products() -> list[tuple[Any, ...]]:
    rng = random.Random(1)
    rows = [(code, year, rng.choice("MG"), rng.randint(1, 120)) for code in [*CODES, None] for year in (2012, 2018)]
    many = [(f"N{i:03d}", 2018, "N", 5) for i in range(sideways.VALUES + 1)]
    return [*rows, ("M1", 2012, "M", 1), ("M2", 2018, "M", 2), *many]


def sales() -> list[tuple[Any, ...]]:
    rng = random.Random(2)
    codes = [*CODES, None, "none", "M1", "M2", "N001", "N050"]
    return [(rng.choice(codes), f"s{rng.randint(1, 5)}", rng.choice([2012, 2018, 2**40]), n) for n in range(400)]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Agent]]:
    folder: Path = tmp_path_factory.mktemp("market")
    tables = {
        "product": ("code TEXT, year INTEGER, role TEXT, grams INTEGER", products()),
        "sale": ("product TEXT, seller TEXT, year INTEGER, qty INTEGER", sales()),
    }
    house = House(folder, POLICY, tables)
    opened = house.open()
    yield house, opened
    opened.close()


class Recorder:
    """A source that remembers what it was asked for."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.scans: list[NativeScan] = []

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        self.scans.append(scan)
        found: Iterator[pa.RecordBatch] = self.source.scan(scan, cancel)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)


async def asked(
    agent: tuple[House, Agent], sql: str, monkeypatch: pytest.MonkeyPatch, rule: bool = True
) -> tuple[list[tuple[Any, ...]], list[NativeScan]]:
    """(sorted answer, scans in the order of their start), with or without the rule."""
    house, opened = agent
    recorder = Recorder(opened._sources["main"])

    class Plain(execute.RowRun):
        def __init__(self, plan: RowPlan, *arguments: Any) -> None:
            super().__init__(replace(plan, hints=plan.hints if rule else ()), *arguments)

    with monkeypatch.context() as patched:
        patched.setitem(opened._sources, "main", recorder)
        patched.setattr("connectors.agent.fragment.RowRun", Plain)
        async with house.client("lin", "mass-balance", opened) as ask:
            found = tuples(await ask.rows(sql))
    return sorted(found, key=repr), recorder.scans


def values_of(scan: NativeScan) -> dict[str, set[Any]]:
    return {p.column: set(p.values) for p in scan.predicates if p.op == "in"}


SELECT = "SELECT t0.seller AS c0, t0.qty AS c1, t1.grams AS c2 FROM market.main.sale AS t0 "


async def test_the_large_side_is_asked_for_the_small_sides_codes(
    agent: tuple[House, Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = SELECT + "JOIN market.main.product AS t1 ON t1.code = t0.product WHERE t1.role = 'M'"
    answer, scans = await asked(agent, sql, monkeypatch)
    small, large = scans
    assert small.predicates == (Predicate("role", "=", ("M",)),)
    codes = {code for code, _, role, grams in products() if role == "M" and grams < 90 and code is not None}
    assert values_of(large) == {"product": codes}
    plain, scans = await asked(agent, sql, monkeypatch, rule=False)
    assert all(not values_of(scan) for scan in scans)
    assert answer == plain
    assert answer


@pytest.mark.parametrize("role", ["t1.role = 'M'", "t1.role = 'none such'"])
@pytest.mark.parametrize("place", ["ON", "WHERE"])
@pytest.mark.parametrize("join", ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
@pytest.mark.parametrize("first", ["sale", "product"])
async def test_the_answer_stays_the_same(
    agent: tuple[House, Agent], monkeypatch: pytest.MonkeyPatch, first: str, join: str, place: str, role: str
) -> None:
    """Either order, any join, the equality and the predicate in ON or in WHERE."""
    names = {"sale": "market.main.sale AS t0", "product": "market.main.product AS t1"}
    second = "product" if first == "sale" else "sale"
    equal = "t1.code = t0.product AND t0.year = t1.year"
    for also in ("", f" AND {role}"):
        sql = f"SELECT t0.seller AS c0, t0.qty AS c1, t1.grams AS c2 FROM {names[first]} {join} {names[second]} ON "
        sql += f"{equal}{also}" if place == "ON" else f"t0.qty > 3 * t1.grams{also} WHERE {equal}"
        if not also:
            sql += f" {'AND' if ' WHERE ' in sql else 'WHERE'} {role}"
        answer, _ = await asked(agent, sql, monkeypatch)
        plain, _ = await asked(agent, sql, monkeypatch, rule=False)
        assert answer == plain, sql


async def test_three_relations_and_an_outer_join_below(
    agent: tuple[House, Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing rows of a nullable side may make NULLs appear: the inner join's condition removes those again."""
    sql = (
        "SELECT t2.qty AS c0, t0.qty AS c1, t1.grams AS c2 FROM market.main.sale AS t2 "
        "LEFT JOIN market.main.sale AS t0 ON t0.qty = t2.qty + 1 "
        "JOIN market.main.product AS t1 ON t1.code = t0.product WHERE t1.role = 'M'"
    )
    answer, scans = await asked(agent, sql, monkeypatch)
    assert [values_of(scan) for scan in scans].count({}) == 2
    plain, _ = await asked(agent, sql, monkeypatch, rule=False)
    assert answer == plain
    assert answer


UNTOUCHED = {
    "a masked column": "SELECT t0.qty AS c0 FROM market.main.sale AS t0 JOIN market.main.hidden AS t1 "
    "ON t1.code = t0.product WHERE t1.role = 'M'",
    "too many values": SELECT + "JOIN market.main.product AS t1 ON t1.code = t0.product WHERE t1.role = 'N'",
    "nothing makes a side small": SELECT + "JOIN market.main.product AS t1 ON t1.code = t0.product",
    "the side that an outer join keeps": SELECT + "LEFT JOIN market.main.product AS t1 "
    "ON t1.code = t0.product AND t1.role = 'M'",
    "no equality": SELECT + "JOIN market.main.product AS t1 ON t1.code < t0.product WHERE t1.role = 'M'",
    "an equality that need not hold": SELECT + "JOIN market.main.product AS t1 "
    "ON t1.code = t0.product OR t0.qty < 3 WHERE t1.role = 'M'",
    "an expression": SELECT + "JOIN market.main.product AS t1 ON t1.code = lower(t0.product) WHERE t1.role = 'M'",
}


@pytest.mark.parametrize("why", UNTOUCHED)
async def test_the_large_side_is_read_whole_for(
    agent: tuple[House, Agent], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    answer, scans = await asked(agent, UNTOUCHED[why], monkeypatch)
    assert all(not values_of(scan) for scan in scans)
    plain, _ = await asked(agent, UNTOUCHED[why], monkeypatch, rule=False)
    assert answer == plain


def test_reading_ahead_stops_at_a_side_that_is_not_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sideways, "ROWS", 5)
    batches = [pa.record_batch({"k": [i, i + 1, None]}) for i in range(4)]
    drawn = []

    def source() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            drawn.append(batch)
            yield batch

    reader, known = sideways.read_ahead(pa.RecordBatchReader.from_batches(batches[0].schema, source()), ["k"])
    assert known == {}
    assert len(drawn) < len(batches)
    assert reader.read_all() == pa.Table.from_batches(batches)


def test_reading_ahead_gives_the_rows_again_with_their_distinct_values() -> None:
    table = pa.table({"k": [3, None, 3, 1], "v": list("abcd")})
    reader, known = sideways.read_ahead(table.to_reader(1), ["k"])
    assert known == {"k": [3, 1]}
    assert reader.read_all() == table
