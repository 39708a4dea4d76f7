"""Aggregate mode: floors count entities, absent cells look alike, nothing but the declared shape is answered."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from catalog.errors import Outcome
from connectors.agent.service import Agent
from tests.agent.house import House, tuples

DDL = "org TEXT, district TEXT, year INTEGER, ward TEXT, age INTEGER, qty TEXT, kg INTEGER, secret INTEGER"
Row = tuple[str, str, int, str, int, str, int, int]


def discharge(seed: int = 3) -> list[Row]:
    """District 6 has two companies in 2014 only; ward W09 of district 4 has four; the rest have many."""
    rng = random.Random(seed)
    rows: list[Row] = []
    for district in range(1, 6):
        for year in (2014, 2015):
            for org in range(30):
                for _ in range(rng.randint(1, 3)):
                    ward = f"W0{rng.randint(1, 3)}"
                    rows.append((f"o{district}{org}", f"44990{district}", year, ward, rng.randint(0, 99),
                                 f"{rng.randint(0, 99999) / 1000:.3f}", rng.randint(1, 500), 0))  # fmt: skip
    rows += [(f"z{i}", "449906", 2014, "W01", 30, "5.000", 7, 0) for i in (1, 2, 1, 2, 2, 1)]
    rows += [(f"w{i}", "449904", 2014, "W09", 41, "1.000", 3, 0) for i in range(4)]
    rows += [("giant", "449901", 2014, "W01", 50, "99999.000", 10**6, 0)]
    rows += [("ghost", "449901", 2014, "W01", 50, "1.000", 1, 1)] * 3
    return rows


GRANT: dict[str, Any] = {
    "id": "stats", "relation": "discharge", "purposes": ["statistics"], "mode": "aggregate", "min_group": 5,
    "entity": "org", "dimensions": ["district", "year", "ward", "age"], "measures": ["qty", "kg"],
    "masks": {"age": "number(50, 0)"}, "row_filter": "secret = 0",
    "public": {"district": [f"44990{i}" for i in range(1, 7)], "year": ["2014", "2015"]},
    "guard": False, "unguarded": "a test of floors asks what differs by a few",
}  # fmt: skip
COLUMNS = {"org": "varchar", "district": "varchar", "year": "integer", "ward": "varchar", "age": "integer",
           "qty": "decimal(14,3)", "kg": "bigint"}  # fmt: skip


def policy() -> dict[str, Any]:
    return {
        "department": "environment",
        "relations": {
            name: {"table": "discharge", "columns": COLUMNS}
            for name in ("discharge", "capped", "rounded", "guarded")
        },
        "grants": [
            GRANT,
            {**GRANT, "id": "capped", "relation": "capped", "largest_share": 80},
            {**GRANT, "id": "rounded", "relation": "rounded", "round_to": {"kg": 100}},
            {**GRANT, "id": "guarded", "relation": "guarded", "purposes": ["public-health"], "min_group": 10,
             "guard": True, "unguarded": ""},
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder: Path = tmp_path_factory.mktemp("environment")
    return House(folder, policy(), {"discharge": (DDL, discharge())})


@pytest.fixture
def agent(house: House) -> Iterator[Agent]:
    opened = house.open()
    yield opened
    opened.close()


ALL = [r for r in discharge() if r[-1] == 0]
FROM = "FROM environment.main.discharge AS t"


def cells(rows: list[Row], *places: int) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[p] for p in places)].append(row)
    return found


def entities(rows: list[Row]) -> int:
    return len({r[0] for r in rows})


async def test_cells_below_the_floor_are_absent_and_counted_against_public_lists(house: House, agent: Agent) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        table = await ask.rows(
            f"SELECT t.district AS c0, t.year AS c1, count(*) AS c2, count(DISTINCT t.org) AS c3, sum(t.qty) AS c4, "
            f"avg(t.qty) AS c5, sum(t.kg) AS c6, avg(t.kg) AS c7 {FROM} GROUP BY t.district, t.year"
        )
    expected = []
    for (district, year), rows in sorted(cells(ALL, 1, 2).items()):
        if entities(rows) >= 5:
            qty = sum(Decimal(r[5]) for r in rows)
            mean = (qty / len(rows)).quantize(Decimal("0.001"), rounding="ROUND_HALF_UP")
            kg = sum(r[6] for r in rows)
            expected.append((district, year, len(rows), entities(rows), qty, mean, kg, kg / len(rows)))
    assert tuples(table) == expected
    assert len(expected) == 10
    assert ask.end is not None
    assert ask.end.receipt is not None
    assert ask.end.receipt.suppressed == 2
    assert ask.end.receipt.mode == "aggregate"
    assert ask.end.warnings == (
        "2 of 12 cells of discharge are absent: empty, or fewer than 5 distinct values of org.",
    )


async def test_the_floor_counts_entities_not_rows(house: House, agent: Agent) -> None:
    assert len(cells(ALL, 1)[("449906",)]) == 6
    async with house.client("bi", "statistics", agent) as ask:
        table = await ask.rows(f"SELECT count(*) AS c0 {FROM} WHERE t.district = '449906'")
    assert tuples(table) == [(None,)]


async def test_without_group_by_there_is_always_one_row(house: House, agent: Agent) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        whole = await ask.rows(f"SELECT count(*) AS c0, sum(t.kg) AS c1 {FROM}")
        empty = await ask.rows(f"SELECT count(*) AS c0, sum(t.kg) AS c1 {FROM} WHERE t.year = 1900")
    assert tuples(whole) == [(len(ALL), sum(r[6] for r in ALL))]
    assert tuples(empty) == [(None, None)]


async def test_masked_dimensions_group_and_filter_by_their_masks(house: House, agent: Agent) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        table = await ask.rows(f"SELECT t.age AS c0, count(*) AS c1 {FROM} WHERE t.age >= 50 GROUP BY 1")
        raw = await ask.rows(f"SELECT count(*) AS c0 {FROM} WHERE t.age = 41")
    assert tuples(table) == [(50, sum(r[4] >= 50 for r in ALL))]
    assert tuples(raw) == [(None,)]


@pytest.mark.parametrize(
    "where",
    [
        "t.district IN ('449901', '449902')",
        "t.district = '449901' OR t.district = '449902'",
        "t.district <> '449903' AND t.district BETWEEN '449901' AND '449903'",
        "t.district NOT IN ('449903', '449904', '449905', '449906')",
        "(t.district < '449903') AND t.ward IS NOT NULL",
    ],
)
async def test_simple_predicates_on_dimensions_in_every_spelling(house: House, agent: Agent, where: str) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        table = await ask.rows(f"SELECT sum(t.kg) AS c0 {FROM} WHERE {where}")
    assert tuples(table) == [(sum(r[6] for r in ALL if r[1] in ("449901", "449902")),)]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT t.org AS c0 {FROM}",
        f"SELECT t.org AS c0, count(*) AS c1 {FROM} GROUP BY t.org",
        f"SELECT count(*) AS c0 {FROM} WHERE t.org = 'giant'",
        f"SELECT t.district AS c0 {FROM}",
        f"SELECT max(t.qty) AS c0 {FROM}",
        f"SELECT min(t.year) AS c0 {FROM}",
        f"SELECT sum(t.qty) AS c0 {FROM} WHERE t.qty > 5",
        f"SELECT sum(t.qty * 2) AS c0 {FROM}",
        f"SELECT sum(t.qty) + 1 AS c0 {FROM}",
        f"SELECT sum(DISTINCT t.qty) AS c0 {FROM}",
        f"SELECT sum(t.qty) FILTER (WHERE t.org = 'giant') AS c0 {FROM}",
        f"SELECT count(t.org) AS c0 {FROM}",
        f"SELECT count(DISTINCT t.ward) AS c0 {FROM}",
        f"SELECT array_agg(t.org) AS c0 {FROM}",
        f"SELECT count(*) AS c0 {FROM} GROUP BY t.qty",
        f"SELECT t.year AS c0, count(*) AS c1 {FROM} GROUP BY ROLLUP (t.year)",
        f"SELECT t.year AS c0, count(*) AS c1 {FROM} GROUP BY t.year HAVING count(*) > 5",
        f"SELECT t.year AS c0, count(*) AS c1 {FROM} GROUP BY t.year ORDER BY 2",
        f"SELECT t.year AS c0, count(*) AS c1 {FROM} GROUP BY t.year LIMIT 1",
        f"SELECT count(*) AS c0 {FROM} WHERE t.district LIKE '4499%'",
        f"SELECT count(*) AS c0 {FROM} WHERE t.district = '449901' OR t.year = 2014",
        f"SELECT count(*) AS c0 {FROM} WHERE lower(t.district) = '449901'",
        f"SELECT count(*) OVER () AS c0 {FROM}",
        f"SELECT count(*) AS c0 FROM (SELECT t.year {FROM}) AS x",
        f"SELECT x.c0 AS c0 FROM (SELECT count(*) AS c0 {FROM}) AS x",
        f"SELECT count(*) AS c0 {FROM} UNION ALL SELECT count(*) AS c0 {FROM}",
        f"SELECT count(*) AS c0 {FROM} JOIN environment.main.capped AS u ON t.org = u.org",
        f"WITH a AS (SELECT 1 AS n) SELECT count(*) AS c0 {FROM}",
    ],
)
async def test_every_other_shape_is_refused_with_what_would_be_answered(house: House, agent: Agent, sql: str) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        refused = await ask.refusal(sql)
        assert refused.outcome is Outcome.MODE
        assert "count(DISTINCT org)" in refused.hint
        assert "district, year, ward, age" in refused.hint
        await ask.rows(f"SELECT t.year AS c0, count(*) AS c1 {FROM} GROUP BY t.year")


async def test_bind_keys_are_refused_and_unknown_columns_do_not_exist(house: House, agent: Agent) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        sql = f"SELECT count(*) AS c0 {FROM}"
        assert (await ask.refusal(sql, keys=["449901"])).outcome is Outcome.MODE
        assert (
            await ask.refusal(sql + ' WHERE t.district IN (SELECT k FROM "$keys")', keys=["449901"])
        ).outcome is Outcome.MODE
        assert (await ask.refusal(f"SELECT sum(t.secret) AS c0 {FROM}")).outcome is Outcome.NOT_AVAILABLE


async def test_a_dominated_cell_is_absent(house: House, agent: Agent) -> None:
    sql = "SELECT t.district AS c0, sum(t.kg) AS c1 FROM environment.main.{} AS t WHERE t.year = 2014 GROUP BY 1"
    count = "SELECT t.district AS c0, count(*) AS c1 FROM environment.main.capped AS t WHERE t.year = 2014 GROUP BY 1"
    async with house.client("bi", "statistics", agent) as ask:
        free = {r[0] for r in tuples(await ask.rows(sql.format("discharge")))}
        capped = {r[0] for r in tuples(await ask.rows(sql.format("capped")))}
        counted = {r[0] for r in tuples(await ask.rows(count))}
    assert free - capped == {"449901"}
    assert counted == free


async def test_cells_are_rounded_after_adding_up(house: House, agent: Agent) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        table = await ask.rows(
            "SELECT t.district AS c0, sum(t.kg) AS c1, sum(t.qty) AS c2 FROM environment.main.rounded AS t GROUP BY 1"
        )
    for district, kg, qty in tuples(table):
        rows = cells(ALL, 1)[(district,)]
        assert kg == (sum(r[6] for r in rows) + 50) // 100 * 100
        assert qty == sum(Decimal(r[5]) for r in rows)


async def test_differencing_that_isolates_a_few_is_refused_for_everyone_and_for_ever(house: House) -> None:
    """A ward with four persons: the year's count, then the same without the ward, would give it away."""
    table = "FROM environment.main.guarded AS t WHERE t.district = '449904'"
    first = f"SELECT t.year AS c0, count(*) AS c1 {table} GROUP BY t.year"
    both = f"SELECT t.year AS c0, count(*) AS c1 {table} AND t.ward <> 'W09' GROUP BY t.year"
    second = f"SELECT count(*) AS c0 {table} AND t.ward <> 'W09' AND t.year = 2014"
    harmless = f"SELECT t.ward AS c0, count(*) AS c1 {table} AND t.year = 2015 GROUP BY t.ward"
    agent = house.open()
    async with house.client("chen", "public-health", agent) as ask:
        assert len(tuples(await ask.rows(first))) == 2
        refused = await ask.refusal(second)
        assert refused.outcome is Outcome.DISCLOSURE
        assert "W09" not in str(refused)
        # The ward is not there in the other year: that cell follows from the first answer.
        assert tuples(await ask.rows(both)) == [c for c in tuples(await ask.rows(first)) if c[0] == 2015]
        assert tuples(await ask.rows(first)) == tuples(await ask.rows(first))
        assert len(tuples(await ask.rows(harmless))) == 3
    agent.close()
    again = house.open()
    async with house.client("other", "public-health", again) as ask:
        assert (await ask.refusal(second)).outcome is Outcome.DISCLOSURE
    again.close()


async def test_the_published_relation_says_what_it_answers(house: House, agent: Agent) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        found = {r["name"]: r for r in (await ask.relations())["relations"]}
    relation = found["discharge"]
    assert (relation["mode"], relation["min_group"], relation["entity"]) == ("aggregate", 5, "org")
    assert relation["dimensions"] == ["district", "year", "ward", "age"]
    assert relation["measures"] == ["qty", "kg"]
    assert {c["name"]: c["mask"] for c in relation["columns"]}["age"] == "number(50, 0)"
    assert relation["filtered"]
    assert relation["rows"] is None


async def test_an_entity_that_is_denied_is_not_named(tmp_path: Path) -> None:
    """Its distinct values make the floor all the same."""
    denial = {"id": "no", "relation": "discharge", "deny": True, "columns": ["org"]}
    house = House(tmp_path, {**policy(), "grants": [GRANT, denial]}, {"discharge": (DDL, discharge())})
    async with house.client("bi", "statistics") as ask:
        (relation,) = (await ask.relations())["relations"]
        refused = await ask.refusal(f"SELECT min(t.kg) AS c0 {FROM}")
        shown = tuples(await ask.rows(f"SELECT t.district AS c0, count(*) AS c1 {FROM} GROUP BY t.district"))
    assert (relation["mode"], relation["entity"], relation["min_group"]) == ("aggregate", "", 5)
    assert "org" not in [c["name"] for c in relation["columns"]]
    assert refused.outcome is Outcome.MODE
    assert "It answers count(*), sum or avg of" in refused.hint
    assert "org" not in refused.hint
    assert [district for district, _ in shown] == [f"44990{i}" for i in range(1, 6)]


async def test_answers_leave_in_the_order_of_their_keys(house: House, agent: Agent) -> None:
    async with house.client("bi", "statistics", agent) as ask:
        table: pa.Table = await ask.rows(f"SELECT count(*) AS c0, t.district AS c1 {FROM} GROUP BY t.district")
    names = table.column("c1").to_pylist()
    assert names == sorted(names)
