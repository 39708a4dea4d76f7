"""Which rows a signed question can need: never fewer, whatever its names mean, and no more by a trick of names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CityError, Outcome
from catalog.exchange import Question
from catalog.keys import SigningKey
from catalog.question import sign_question
from connectors.agent.service import Agent
from tests.agent.house import Ask, House

MINE = SigningKey.generate()
MONTHS = {"org_no": "varchar", "month": "varchar", "qty": "bigint", "unit": "bigint", "quality": "varchar"}
TABLES = {
    "company_month": (
        "org_no TEXT, month TEXT, qty INTEGER, unit INTEGER, quality TEXT",
        [(f"91{i:02d}", "2025-01", i, 9 - i, "good") for i in range(10)],
    ),
}
POLICY: dict[str, Any] = {
    "department": "water",
    "relations": {"company_month": {"table": "company_month", "columns": MONTHS}},
    "grants": [
        {"relation": "company_month", "purposes": ["mass-balance"], "mode": "masked", "strict": "question"},
    ],
}
ROWS = "SELECT t.qty AS c0 FROM water.main.company_month AS t"
EVERY = list(range(10))
ALL_NAMED = "SELECT org_no, month, qty, unit, quality FROM water.main.company_month WHERE qty = 3"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder: Path = tmp_path_factory.mktemp("rows")
    return House(folder, POLICY, TABLES)


@pytest.fixture(scope="module")
def agent(house: House) -> Iterator[Agent]:
    opened = house.open()
    yield opened
    opened.close()


async def answer(house: House, agent: Agent, asked: str, fragment: str) -> Any:
    """The first column of a fragment that goes along with a signed question, sorted; or the refusal."""
    question = Question(sql=asked, proof=sign_question(MINE, asked, "mass-balance"))
    async with house.client("lin", "mass-balance", agent) as ask:
        own = Ask(house, ask.http, house.token("lin", "mass-balance", user_jkt=MINE.kid), agent)
        try:
            return sorted((await own.rows(fragment, question=question)).column(0).to_pylist())
        except CityError as refused:
            return refused


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (
            "SELECT litres FROM city.water.company_month UNION ALL "
            "SELECT qty FROM water.main.company_month WHERE qty = 3",
            EVERY,
        ),
        (
            "SELECT x.qty FROM water.main.company_month x, city.water.company_month c "
            "WHERE x.org_no = c.company AND x.qty < 2",
            EVERY,
        ),
        ("SELECT month, litres FROM city.water.company_month WHERE quality = 'bad'", EVERY),
        ("SELECT month, litres, qty FROM water.company_month WHERE quality = 'bad'", EVERY),
        ("SELECT month, litres, qty FROM company_month WHERE quality = 'bad'", EVERY),
        ("SELECT qty FROM main.company_month WHERE qty = 3", [3]),
        ("SELECT qty FROM water.main.company_month WHERE qty = 3", [3]),
        (
            "SELECT q.qty FROM water.main.company_month q, city.org.company_code c "
            "WHERE q.qty = 3 AND c.code = q.org_no",
            [3],
        ),
    ],
    ids=[
        "a city table beside the table",
        "joined with it",
        "a city table alone",
        "a city table by its domain",
        "by its bare name, which may be either",
        "the department's schema",
        "the whole name",
        "a city table of other tables",
    ],
)
async def test_a_city_table_needs_its_own_rows_whatever_the_table_beside_it_is_asked(
    house: House, agent: Agent, asked: str, rows: list[int]
) -> None:
    assert await answer(house, agent, asked, ROWS) == rows


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (
            "WITH company_month AS (SELECT qty FROM main.company_month WHERE qty < 5), "
            "x AS (SELECT qty FROM company_month) SELECT x.qty FROM x, water.main.company_month m WHERE m.qty = 8",
            [0, 1, 2, 3, 4, 8],
        ),
        (
            "SELECT m.qty FROM water.main.company_month m, (WITH people AS (SELECT 1 AS one) SELECT one FROM people) "
            "WHERE m.qty = 6",
            [6],
        ),
        (
            "SELECT m.qty, p.qty FROM water.main.company_month m, main.company_month p, "
            "(WITH company_month AS (SELECT 1 AS one) SELECT one FROM company_month) WHERE m.qty = 6 AND p.qty = 1",
            [1, 6],
        ),
        ("SELECT qty FROM water.main.company_month AS t (org_no, month, unit, qty, quality) WHERE qty = 3", EVERY),
        (
            "SELECT x.qty FROM water.main.company_month, market.main.company_month, water.main.company_month x "
            "WHERE market.main.company_month.qty = 4 AND x.qty = 5",
            EVERY,
        ),
    ],
    ids=["a name hides from its own query on", "a name inside", "a name inside, the table outside", "renamed columns",
         "a column with its whole name"],
)  # fmt: skip
async def test_a_condition_counts_for_the_table_that_it_names(
    house: House, agent: Agent, asked: str, rows: list[int]
) -> None:
    assert await answer(house, agent, asked, ROWS) == rows


async def test_a_bare_name_that_hides_behind_its_own_query_counts_as_the_table(house: House, agent: Agent) -> None:
    # The first `company_month` is the table, which may also be the city's: nothing can be ruled out.
    asked = (
        "WITH company_month AS (SELECT qty FROM company_month) "
        "SELECT c.qty FROM company_month c, water.main.company_month m WHERE m.qty = 8"
    )
    assert await answer(house, agent, asked, ROWS) == EVERY


@pytest.mark.parametrize(
    "fragment",
    [
        "WITH x AS (SELECT t.qty AS q FROM company_month AS t), "
        "y AS (WITH company_month AS (SELECT 1 AS one) SELECT c.one AS one FROM company_month AS c) "
        "SELECT x.q AS c0 FROM x",
        "WITH company_month AS (SELECT t.qty AS q FROM company_month AS t) SELECT c.q AS c0 FROM company_month AS c",
    ],
    ids=["a name of another query", "a query of the table's own name"],
)
async def test_a_fragment_cannot_hide_the_table_behind_a_name(house: House, agent: Agent, fragment: str) -> None:
    assert await answer(house, agent, ALL_NAMED, fragment) == [3]


@pytest.mark.parametrize(
    "fragment",
    [
        "SELECT t.unit AS c0 FROM water.main.company_month AS t (org_no, month, unit, qty, quality)",
        "SELECT t.unit AS c0 FROM water.main.company_month AS t CROSS JOIN (SELECT 3 AS qty) AS t",
    ],
    ids=["other names of columns", "another table of the same name"],
)
async def test_a_fragment_cannot_give_the_conditions_other_columns(house: House, agent: Agent, fragment: str) -> None:
    refused = await answer(house, agent, ALL_NAMED, fragment)
    assert isinstance(refused, CityError)
    assert refused.outcome in (Outcome.AUTH, Outcome.NODE)
