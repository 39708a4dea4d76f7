"""The differencing guard as a department meets it: on by default, over grants, views, masks and changing data."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from atoll.cli import app
from catalog.errors import CityError, InternalError, Outcome
from catalog.exchange import Fragment
from catalog.identity import sign_request
from catalog.ledger import read_ledger
from catalog.policy import PolicyError, parse
from catalog.types import parse as parse_type
from connectors.agent.aggregate import PLACES, Noise
from connectors.agent.disclosure import Answer, Crowd, Dominance, Field, Question, Rules, Variant
from connectors.base import Predicate
from tests.agent.house import House, tuples

DDL = "org TEXT, district TEXT, year INTEGER, ward TEXT, kg INTEGER, test INTEGER"
COLUMNS = {"org": "varchar", "district": "varchar", "year": "integer", "ward": "varchar", "kg": "bigint"}
GRANT: dict[str, Any] = {
    "relation": "waste", "purposes": ["statistics"], "mode": "aggregate", "min_group": 5, "entity": "org",
    "dimensions": ["district", "year", "ward"], "measures": ["kg"],
}  # fmt: skip
FROM = "FROM environment.main.{} AS t"


def rows() -> list[tuple[Any, ...]]:
    """Two districts of three wards; in ward W9 of A three firms, in ward W3 of B a giant; two firms only as a test."""
    found: list[tuple[Any, ...]] = []
    for district in "AB":
        for year in (2014, 2015):
            for ward in ("W1", "W2", "W3"):
                found += [(f"{district}{ward}{i}", district, year, ward, 10 + i, 0) for i in range(12)]
    found += [(f"few{i}", "A", 2014, "W9", 10, 0) for i in range(3)]
    found += [("giant", "B", 2014, "W3", 100_000, 0)]
    found += [(f"test{i}", "A", 2015, "W1", 5, 1) for i in range(2)]
    return found


def opened(folder: Path, *grants: dict[str, Any], relations: dict[str, Any] | None = None, **more: Any) -> House:
    waste = {"table": "waste", "columns": COLUMNS}
    policy = {
        "department": "environment", "relations": relations or {"waste": waste},
        "grants": [{"id": f"g{i}", **GRANT, **g} for i, g in enumerate(grants or ({},))], **more,
    }  # fmt: skip
    return House(folder, policy, {"waste": (DDL, rows())})


def ask(what: str, where: str = "", relation: str = "waste", group: str = "") -> str:
    return f"SELECT {what} {FROM.format(relation)}{where and f' WHERE {where}'}{group and f' GROUP BY {group}'}"


COUNT = "count(*) AS c0"
KG = "sum(t.kg) AS c0"


async def told(
    house: House, *statements: str, user: str = "bi", purpose: str = "statistics", clock: Any = None
) -> list[Any]:
    """The answers, or the outcomes of refusals, of one run of the agent."""
    agent = house.open(clock)
    found: list[Any] = []
    async with house.client(user, purpose, agent) as client:
        for sql in statements:
            try:
                found.append(tuples(await client.rows(sql)))
            except Exception as refusal:  # noqa: BLE001 - kept for the assertion
                found.append(getattr(refusal, "outcome", refusal))
    agent.close()
    return found


async def test_the_guard_is_on_without_a_word_in_the_grant(tmp_path: Path) -> None:
    house = opened(tmp_path)
    all_of_a, rest = ask(COUNT, "t.district = 'A'"), ask(COUNT, "t.district = 'A' AND t.ward <> 'W9'")
    assert await told(house, all_of_a, rest, all_of_a) == [[(77,)], Outcome.DISCLOSURE, [(77,)]]
    assert await told(house, rest, all_of_a) == [Outcome.DISCLOSURE, [(77,)]]


async def test_a_grant_that_is_unguarded_says_why(tmp_path: Path) -> None:
    house = opened(tmp_path, {"guard": False, "unguarded": "published long ago"})
    both = await told(house, ask(COUNT, "t.district = 'A'"), ask(COUNT, "t.district = 'A' AND t.ward <> 'W9'"))
    assert both == [[(77,)], [(74,)]]
    with pytest.raises(PolicyError, match="`unguarded`"):
        opened(tmp_path / "other", {"guard": False}).open()


@pytest.mark.parametrize("terms", [{"guard": False, "unguarded": "for this test"}, {}], ids=["unguarded", "guarded"])
async def test_a_sum_out_of_range_tells_nothing_of_a_ward_below_the_floor(tmp_path: Path, terms: Any) -> None:
    house = opened(tmp_path, terms)
    with sqlite3.connect(tmp_path / "silo.sqlite") as db:
        db.executemany("INSERT INTO waste VALUES ('huge', 'A', 2014, 'tiny', ?, 0)", [(9 * 10**18,)] * 2)
    tiny, nobody, other = await told(house, *(ask(KG, f"t.ward = '{w}'") for w in ("tiny", "none", "W1")))
    assert tiny == nobody == [(None,)]
    assert other == [(sum(r[4] for r in rows() if r[3] == "W1"),)]


async def test_dominated_cells_stay_hidden_beside_a_total_that_is_given(tmp_path: Path) -> None:
    house = opened(tmp_path, {"largest_share": 60})
    with sqlite3.connect(tmp_path / "silo.sqlite") as db:
        db.execute("UPDATE waste SET kg = 1500 WHERE org = 'giant'")
    total = ask(KG)
    parts = ask("t.ward AS c0, sum(t.kg) AS c1", "t.district = 'B' AND t.year = 2014", group="t.ward")
    rest = ask(KG, "t.ward <> 'W3'")
    answers = await told(house, total, parts, rest)
    assert answers[0] == [(sum(r[4] for r in rows()) - 100_000 + 1500,)]
    assert [ward for ward, _ in answers[1]] == ["W1", "W2"]
    # all - all but W3 would leave ward W3, of which the giant has more than 60 %.
    assert answers[2] is Outcome.DISCLOSURE
    counts = await told(house, ask(COUNT), ask(COUNT, "t.ward <> 'W3'"))
    assert counts[0] == [(len(rows()),)]
    assert counts[1] == [(len([r for r in rows() if r[3] != "W3"]),)]


async def test_two_filters_over_one_table_are_held_against_each_other(tmp_path: Path) -> None:
    waste = {"table": "waste", "columns": COLUMNS}
    house = opened(
        tmp_path, {}, {"relation": "real", "row_filter": "test = 0"}, relations={"waste": waste, "real": waste}
    )
    one, other = ask(COUNT, "t.year = 2015"), ask(COUNT, "t.year = 2015", "real")
    assert await told(house, one, other) == [[(74,)], Outcome.DISCLOSURE]
    assert (await told(house, ask(COUNT, "t.year = 2014", "real")))[0] == [(76,)]


async def test_relations_of_one_family_are_held_against_each_other(tmp_path: Path) -> None:
    (tmp_path / "views").mkdir()
    for view in ("most", "apart"):
        text = "SELECT org, district, year, ward, kg FROM waste WHERE ward <> 'W9'"
        (tmp_path / "views" / f"{view}.sql").write_text(text)
    relations = {
        "waste": {"table": "waste", "columns": COLUMNS, "family": "waste"},
        "most": {"view": "most", "columns": COLUMNS, "family": "waste"},
        "apart": {"view": "apart", "columns": COLUMNS},
    }
    grants = [{"relation": r, "dimensions": ["district", "year"]} for r in ("most", "apart")]
    house = opened(tmp_path, {}, *grants, relations=relations)
    questions = [ask(COUNT, "t.district = 'A'", r) for r in ("waste", "most", "apart")]
    assert await told(house, *questions) == [[(77,)], Outcome.DISCLOSURE, [(74,)]]


@pytest.fixture
def clock() -> Callable[[], datetime]:
    def now() -> datetime:
        return now.moment  # type: ignore[attr-defined, no-any-return]

    now.moment = datetime.now(UTC)  # type: ignore[attr-defined]
    return now


async def test_who_came_or_left_does_not_show_before_the_next_epoch(tmp_path: Path, clock: Any) -> None:
    house = opened(tmp_path, {"epoch": "year"})
    question = ask("t.year AS c0, count(*) AS c1", group="t.year")
    before = await told(house, question, clock=clock)
    with sqlite3.connect(tmp_path / "silo.sqlite") as db:
        db.execute("INSERT INTO waste VALUES ('new', 'A', 2015, 'W1', 7, 0)")
    other = ask(COUNT, "t.year >= 2015")
    assert await told(house, question, other, clock=clock) == [before[0], Outcome.DISCLOSURE]
    clock.moment = clock.moment.replace(year=clock.moment.year + 1)
    after = await told(house, question, clock=clock)
    assert after == [[(2014, 76), (2015, 75)]]


async def test_many_changes_show_at_once(tmp_path: Path) -> None:
    house = opened(tmp_path)
    question = ask(COUNT)
    assert await told(house, question) == [[(150,)]]
    with sqlite3.connect(tmp_path / "silo.sqlite") as db:
        db.executemany("INSERT INTO waste VALUES (?, 'A', 2015, 'W1', 7, 0)", [(f"new{i}",) for i in range(6)])
    assert await told(house, question) == [[(156,)]]


BY_WARD = ask("t.ward AS c0, count(*) AS c1", group="t.ward")


def ward(name: str, *firms: str) -> list[str]:
    """Lines of these firms in a ward of A."""
    return [f"INSERT INTO waste VALUES ('{f}', 'A', 2014, '{name}', 10, 0)" for f in firms]


async def test_a_cell_that_crosses_the_floor_does_not_show_before_the_next_epoch(tmp_path: Path, clock: Any) -> None:
    """One firm leaves a ward of five, one comes to a ward of four."""
    house = opened(tmp_path, {"epoch": "year"})
    change(tmp_path, *ward("W9", "few3", "few4"), *ward("W8", "near0", "near1", "near2", "near3"))
    of_w9, of_w8 = ask(COUNT, "t.ward = 'W9'"), ask(COUNT, "t.ward = 'W8'")
    before = await told(house, BY_WARD, of_w9, of_w8, clock=clock)
    assert before == [[("W1", 50), ("W2", 48), ("W3", 49), ("W9", 5)], [(5,)], [(None,)]]
    change(tmp_path, "DELETE FROM waste WHERE org = 'few4'", *ward("W8", "near4"))
    assert await told(house, BY_WARD, of_w9, of_w8, clock=clock) == before
    # Nor in other words, where there is nothing that could be given again.
    others = ask(COUNT, "t.ward > 'W7' AND t.ward < 'W9'"), ask("count(*) AS c0, t.ward AS c1", group="t.ward")
    single, grouped = await told(house, *others, clock=clock)
    assert single == [(None,)]
    assert "W8" not in {w for _, w in grouped}
    clock.moment = clock.moment.replace(year=clock.moment.year + 1)
    assert await told(house, BY_WARD, of_w9, of_w8, clock=clock) == [[*before[0][:3], ("W8", 5)], [(None,)], [(5,)]]


async def test_a_cell_to_which_many_came_shows_at_once(tmp_path: Path) -> None:
    house = opened(tmp_path)
    of_w8 = ask(COUNT, "t.ward = 'W8'")
    assert (await told(house, BY_WARD, of_w8))[1] == [(None,)]
    change(tmp_path, *ward("W8", *(f"near{i}" for i in range(5))))
    assert await told(house, of_w8, BY_WARD) == [[(5,)], [("W1", 50), ("W2", 48), ("W3", 49), ("W8", 5)]]


async def test_more_lines_of_many_do_not_hide_that_one_came(tmp_path: Path) -> None:
    house = opened(tmp_path)
    near = [f"near{i}" for i in range(5)]
    change(tmp_path, *ward("W8", *near[:4]))
    of_w8 = ask(COUNT, "t.ward = 'W8'")
    assert await told(house, of_w8) == [[(None,)]]
    change(tmp_path, *ward("W8", *near))
    assert await told(house, of_w8, ask(COUNT, "t.ward > 'W7' AND t.ward < 'W9'")) == [[(None,)]] * 2


async def test_two_changes_of_many_do_not_show_as_one_of_few(tmp_path: Path) -> None:
    """Six come to a ward of five; then they leave, and one of the five."""
    house = opened(tmp_path)
    change(tmp_path, *ward("W8", *(f"near{i}" for i in range(5))))
    of_w8 = ask(COUNT, "t.ward = 'W8'")
    assert await told(house, of_w8) == [[(5,)]]
    change(tmp_path, *ward("W8", *(f"new{i}" for i in range(6))))
    assert await told(house, of_w8) == [[(11,)]]
    change(tmp_path, "DELETE FROM waste WHERE org LIKE 'new%' OR org = 'near0'")
    assert await told(house, of_w8) == [[(11,)]]


@pytest.mark.parametrize(
    ("kind", "amount", "by"),
    [("bigint", 2 * 10**12, 900), ("bigint", 2**60, 1), ("decimal(20,2)", 2 * 10**16, 1), ("double", 2 * 10**12, 900)],
)
async def test_a_small_part_of_an_amount_is_a_change(tmp_path: Path, kind: str, amount: int, by: int) -> None:
    house = opened(tmp_path, relations={"waste": {"table": "waste", "columns": {**COLUMNS, "kg": kind}}})
    change(tmp_path, *ward("W8", *(f"near{i}" for i in range(6))), f"UPDATE waste SET kg = {amount} WHERE ward = 'W8'")
    of_w8 = ask(KG, "t.ward = 'W8'")
    before = await told(house, of_w8)
    assert before == [[(6 * amount,)]]
    change(tmp_path, f"UPDATE waste SET kg = kg + {by} WHERE org = 'near3'")
    assert await told(house, of_w8, ask(KG, "t.ward > 'W7' AND t.ward < 'W9'")) == [*before, Outcome.DISCLOSURE]


async def test_equal_questions_in_other_words_get_equal_answers(tmp_path: Path) -> None:
    house = opened(tmp_path)
    one = ask(COUNT, "t.ward IN ('W1', 'W2', 'W3')")
    other = ask(COUNT, "t.ward = 'W3' OR t.ward = 'W2' OR t.ward = 'W1'")
    third = ask(COUNT, "t.ward <> 'W9' AND t.ward IS NOT NULL")
    assert await told(house, one, other, third) == [[(147,)]] * 3


async def test_small_base_cells_left_out_need_no_history(tmp_path: Path) -> None:
    house = opened(tmp_path, {"base_cells": True})
    all_of_a, rest = ask(COUNT, "t.district = 'A'"), ask(COUNT, "t.district = 'A' AND t.ward <> 'W9'")
    assert await told(house, all_of_a, rest) == [[(74,)], [(74,)]]


async def test_noise_is_the_same_for_the_same_cell_and_says_its_scale(tmp_path: Path) -> None:
    house = opened(tmp_path, {"noise": {"count": 4, "kg": 50}})
    question = ask("t.district AS c0, count(*) AS c1, sum(t.kg) AS c2", group="t.district")
    again = ask("t.district AS c0, count(*) AS c1, sum(t.kg) AS c2", "t.district IN ('A', 'B')", group="t.district")
    first, second = await told(house, question, again)
    assert first == second == (await told(house, question))[0]
    true = [(d, len([r for r in rows() if r[1] == d]), sum(r[4] for r in rows() if r[1] == d)) for d in "AB"]
    assert first != true
    for (_, n, kg), (_, true_n, true_kg) in zip(first, true, strict=True):
        assert abs(n - true_n) < 80
        assert abs(kg - true_kg) < 1000
    agent = house.open()
    async with house.client("bi", "statistics", agent) as client:
        await client.rows(question)
        assert client.end is not None
        said = "Values of kg in waste have Laplace noise of scale 50 in each base cell: "
        assert f"{said}a sum of n base cells has sqrt(n) times that noise." in client.end.warnings
    agent.close()


async def test_budgets_count_refusals_and_outlive_a_restart(tmp_path: Path) -> None:
    house = opened(tmp_path, limits={"budgets": {"user": {"queries": 3}}})
    all_of_a, rest = ask(COUNT, "t.district = 'A'"), ask(COUNT, "t.district = 'A' AND t.ward <> 'W9'")
    assert await told(house, all_of_a, rest) == [[(77,)], Outcome.DISCLOSURE]
    assert await told(house, all_of_a, all_of_a) == [[(77,)], Outcome.BUDGET]
    assert await told(house, all_of_a, user="mei") == [[(77,)]]
    async with house.client("bi", "statistics") as client:
        refused = await client.refusal(all_of_a)
    assert "It renews at" in refused.hint
    assert refused.retry_after is not None


async def test_literals_and_cells_have_budgets_too(tmp_path: Path) -> None:
    house = opened(tmp_path, limits={"budgets": {"overall": {"predicates": 4}, "purpose": {"cells": 3}}})
    listed = ask(COUNT, "t.ward IN ('W1', 'W2', 'W3', 'W9')")
    assert await told(house, listed, listed) == [[(150,)], Outcome.BUDGET]
    by_year = ask("t.year AS c0, count(*) AS c1", group="t.year")
    assert (await told(house, by_year))[0] == [(2014, 76), (2015, 74)]
    assert await told(house, by_year, user="mei") == [Outcome.BUDGET]


async def test_an_answer_with_more_cells_than_are_left_does_not_leave(tmp_path: Path) -> None:
    house = opened(tmp_path, limits={"budgets": {"purpose": {"cells": 3}}})
    by_ward = ask("t.ward AS c0, count(*) AS c1", "t.ward <> 'W9'", group="t.ward")
    by_year = ask("t.year AS c0, count(*) AS c1", group="t.year")
    assert await told(house, by_year, by_ward, ask(COUNT)) == [[(2014, 76), (2015, 74)], Outcome.BUDGET, [(150,)]]


def test_two_entities_of_one_table_cannot_be_guarded_together(tmp_path: Path) -> None:
    second = {**GRANT, "id": "other", "entity": "ward", "dimensions": ["district", "year"]}
    house = opened(tmp_path, {}, second)
    with pytest.raises(PolicyError, match="cannot be guarded together"):
        parse(house.path.read_text())


# ---- two grants over one table -------------------------------------------------------------------------------

HEALTH: dict[str, Any] = {"purposes": ["public-health"]}


async def other(house: House, *statements: str, clock: Any = None) -> list[Any]:
    """What the second grant's people are told."""
    return await told(house, *statements, user="chen", purpose="public-health", clock=clock)


def change(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "silo.sqlite") as db:
        for sql in statements:
            db.execute(sql)


NEWCOMER = "INSERT INTO waste VALUES ('new', 'A', 2015, 'W1', 7, 0)"


@pytest.mark.parametrize(
    "second",
    [{"measures": ["kg", "test"]}, {"dimensions": ["district", "ward"]}, {"masks": {"year": "number(10, 0)"}}],
    ids=["other measures", "other dimensions", "another mask"],
)
async def test_sums_of_two_grants_are_held_against_each_other(tmp_path: Path, second: dict[str, Any]) -> None:
    """All of B under one, all but the giant's ward under the other: the difference is the giant's."""
    waste = {"table": "waste", "columns": {**COLUMNS, "test": "integer"}}
    house = opened(
        tmp_path, {"largest_share": 60}, {**HEALTH, "largest_share": 60, **second}, relations={"waste": waste}
    )
    change(tmp_path, "UPDATE waste SET kg = 700 WHERE org = 'giant'")
    total = sum(r[4] for r in rows() if r[1] == "B") - 100_000 + 700
    assert await told(house, ask(KG, "t.district = 'B'")) == [[(total,)]]
    rest = ask(KG, "t.district = 'B' AND t.ward <> 'W3'")
    assert await other(house, rest, ask(COUNT, "t.district = 'B' AND t.ward <> 'W3'")) == [
        Outcome.DISCLOSURE, [(48,)],
    ]  # fmt: skip


async def test_a_filter_is_seen_through_dimensions_that_only_one_grant_has(tmp_path: Path) -> None:
    """Tests are filtered out under one grant; 20 firms have one in W9, two have one in W1, which the other shows."""
    waste = {"table": "waste", "columns": COLUMNS}
    house = opened(
        tmp_path, {}, {**HEALTH, "relation": "real", "row_filter": "test = 0", "dimensions": ["district", "year"]},
        relations={"waste": waste, "real": waste},
    )  # fmt: skip
    change(
        tmp_path, "DELETE FROM waste",
        *(f"INSERT INTO waste VALUES ('o{i}', 'A', 2015, 'W1', 1, 0)" for i in range(20)),
        *(f"INSERT INTO waste VALUES ('o{i}', 'A', 2015, 'W9', 1, 1)" for i in range(20)),
        *(f"INSERT INTO waste VALUES ('o{i}', 'A', 2015, 'W1', 1, 1)" for i in range(2)),
    )  # fmt: skip
    assert await other(house, ask(COUNT, "t.year = 2015", "real")) == [[(20,)]]
    assert await told(house, ask(COUNT, "t.ward <> 'W9'"), ask(COUNT)) == [Outcome.DISCLOSURE, [(42,)]]


async def test_an_old_answer_is_given_again_on_the_same_terms_alone(tmp_path: Path) -> None:
    house = opened(tmp_path, {}, {**HEALTH, "min_group": 20, "round_to": {"kg": 1000}})
    question = ask(KG, "t.district = 'A'")
    exact = (await told(house, question))[0]
    change(tmp_path, NEWCOMER)
    assert await other(house, question) == [Outcome.DISCLOSURE]
    assert await told(house, question) == [exact]


async def test_an_answer_binds_until_the_epoch_of_its_own_grant_ends(tmp_path: Path, clock: Any) -> None:
    house = opened(tmp_path, {"epoch": "year"}, {**HEALTH, "epoch": "day"})
    clock.moment = clock.moment.replace(month=3, day=3)
    question = ask("t.year AS c0, count(*) AS c1", group="t.year")
    before = [(2014, 76), (2015, 74)]
    assert await told(house, question, clock=clock) == [before]
    assert await other(house, question, clock=clock) == [before]
    change(tmp_path, NEWCOMER)
    clock.moment = clock.moment.replace(day=4)
    assert await other(house, question, ask(COUNT, "t.year = 2015"), clock=clock) == [
        [(2014, 76)], Outcome.DISCLOSURE,
    ]  # fmt: skip
    clock.moment = clock.moment.replace(year=clock.moment.year + 1)
    assert await told(house, question, clock=clock) == [[(2014, 76), (2015, 75)]]


async def test_what_is_told_again_binds_again(tmp_path: Path, clock: Any) -> None:
    house = opened(tmp_path, {"epoch": "day"})
    clock.moment = clock.moment.replace(month=3, day=3)
    question = ask("t.year AS c0, count(*) AS c1", group="t.year")
    first = await told(house, question, clock=clock)
    clock.moment = clock.moment.replace(day=4)
    assert await told(house, question, clock=clock) == first
    change(tmp_path, NEWCOMER)
    assert await told(house, ask(COUNT, "t.year >= 2015"), clock=clock) == [Outcome.DISCLOSURE]


async def test_a_changed_amount_does_not_show_through_another_grant(tmp_path: Path) -> None:
    waste = {"table": "waste", "columns": {**COLUMNS, "test": "integer"}}
    house = opened(tmp_path, {}, {**HEALTH, "measures": ["kg", "test"]}, relations={"waste": waste})
    question = ask(KG, "t.district = 'A'")
    assert len(await told(house, question)) == 1
    change(tmp_path, "UPDATE waste SET kg = kg + 333 WHERE org = 'AW11'")
    assert await other(house, question, ask(COUNT, "t.district = 'A'")) == [Outcome.DISCLOSURE, [(77,)]]


async def test_amounts_of_many_do_not_hide_that_one_came(tmp_path: Path) -> None:
    """Twelve amounts change and one firm comes: the sums may be told anew, the count may not."""
    house = opened(tmp_path)
    count, kg = ask(COUNT, "t.district = 'A'"), ask(KG, "t.district = 'A'")
    assert (await told(house, count, kg))[0] == [(77,)]
    change(tmp_path, "UPDATE waste SET kg = kg + 5 WHERE district = 'A' AND ward = 'W1'", NEWCOMER)
    assert (await told(house, count))[0] == [(77,)]


async def test_columns_are_known_by_what_the_source_calls_them(tmp_path: Path) -> None:
    """Under other published names it is the same table."""
    names = {"org": "firm", "district": "area", "year": "period", "ward": "part", "kg": "mass"}
    renamed = {published: {"type": COLUMNS[raw], "from": raw} for raw, published in names.items()}
    relations = {"waste": {"table": "waste", "columns": COLUMNS}, "again": {"table": "waste", "columns": renamed}}
    second = {
        **HEALTH, "relation": "again", "entity": "firm", "dimensions": ["area", "period", "part"], "measures": ["mass"],
        "largest_share": 60,
    }  # fmt: skip
    house = opened(tmp_path, {"largest_share": 60, "entity": "org"}, second, relations=relations)
    change(tmp_path, "UPDATE waste SET kg = 700 WHERE org = 'giant'")
    assert len(await told(house, ask(KG, "t.district = 'B'"), ask(COUNT, "t.district = 'A'"))) == 2
    questions = (
        ask("sum(t.mass) AS c0", "t.area = 'B' AND t.part <> 'W3'", "again"),
        ask(COUNT, "t.area = 'A' AND t.part <> 'W9'", "again"),
    )
    assert await other(house, *questions, ask(COUNT, "", "again")) == [
        Outcome.DISCLOSURE, Outcome.DISCLOSURE, [(150,)],
    ]  # fmt: skip


async def test_two_published_columns_of_one_raw_column_are_told_apart(tmp_path: Path) -> None:
    waste = {"table": "waste", "columns": {**COLUMNS, "decade": {"type": "integer", "from": "year"}}}
    grant = {"dimensions": ["year", "decade"], "masks": {"decade": "number(10, 0)"}}
    house = opened(tmp_path, grant, relations={"waste": waste})
    questions = ask(COUNT, "t.year = 2014"), ask(COUNT, "t.decade = 2010"), ask(COUNT, "t.decade = 2014")
    assert await told(house, *questions) == [[(76,)], [(150,)], [(None,)]]


# ---- noise, and sums without small base cells ------------------------------------------------------------------


async def test_the_noise_of_a_count_is_in_averages_too(tmp_path: Path) -> None:
    house = opened(tmp_path, {"noise": {"count": 25}})
    found = (await told(house, ask("t.district AS c0, count(*) AS c1, sum(t.kg) AS c2, avg(t.kg) AS c3",
                                   group="t.district")))[0]  # fmt: skip
    assert [n for _, n, _, _ in found] != [77, 73]
    # Where the noise leaves nobody, a sum is still divided by one.
    assert [round(total / mean) for _, _, total, mean in found] == [max(n, 1) for _, n, _, _ in found]


async def test_the_noise_of_a_sum_is_that_of_its_parts(tmp_path: Path) -> None:
    """Else sums of the same base cells put together in many ways were as many tries at each."""
    house = opened(tmp_path, {"noise": {"count": 2, "kg": 5000}})
    what = "count(*) AS c0, sum(t.kg) AS c1"
    wards = [f"t.ward {w}" for w in ("= 'W1'", "= 'W2'", "= 'W3'", "IN ('W1', 'W2')", "IN ('W1', 'W3')", "< 'W9'")]
    (one,), (two,), (three,), (both,), (other,), (every,) = await told(house, *(ask(what, w) for w in wards))
    for whole, parts in ((both, (one, two)), (other, (one, three)), (every, (one, two, three))):
        for noisy, noises in zip(whole, zip(*parts, strict=True), strict=True):
            assert abs(noisy - sum(noises)) <= 2  # each is rounded


def test_a_cell_of_no_known_base_cells_is_not_given() -> None:
    noise = Noise({"count": 5}, b"seed")
    with pytest.raises(InternalError):
        noise.added({"n": 20, "entities": 20, PLACES: None}, SimpleNamespace(measures=()))  # type: ignore[arg-type]


async def test_two_grants_draw_the_same_noise(tmp_path: Path) -> None:
    noise = {"noise": {"count": 9, "kg": 50}}
    house = opened(tmp_path, noise, {**HEALTH, **noise, "dimensions": ["district", "year"]})
    question = ask("t.district AS c0, count(*) AS c1, sum(t.kg) AS c2", group="t.district")
    assert await told(house, question) == await other(house, question)


async def test_another_scale_is_another_draw(tmp_path: Path) -> None:
    """Two scales of one draw would be two equations for two unknowns."""
    house = opened(tmp_path, {"noise": {"kg": 50_000}})
    first = (await told(house, ask(KG)))[0][0][0]
    house.write(grants=[{"id": "g0", **GRANT, "noise": {"kg": 100_000}}])
    second = (await told(house, ask(KG)))[0][0][0]
    true = sum(r[4] for r in rows())
    assert abs((second - true) - 2 * (first - true)) > 2


async def test_without_small_cells_a_base_cell_stays_until_many_changed(tmp_path: Path, clock: Any) -> None:
    house = opened(tmp_path, {"base_cells": True})
    total, by_year = ask(COUNT), ask("t.year AS c0, count(*) AS c1", group="t.year")
    assert await told(house, total, clock=clock) == [[(147,)]]
    change(tmp_path, NEWCOMER, "DELETE FROM waste WHERE org = 'BW15'")
    assert await told(house, total, by_year, clock=clock) == [[(147,)], [(2014, 73), (2015, 74)]]
    change(tmp_path, *(f"INSERT INTO waste VALUES ('new{i}', 'A', 2015, 'W1', 7, 0)" for i in range(5)))
    assert await told(house, total, by_year, clock=clock) == [[(153,)], [(2014, 73), (2015, 80)]]
    clock.moment = clock.moment.replace(year=clock.moment.year + 1)
    assert await told(house, total, by_year, clock=clock) == [[(151,)], [(2014, 72), (2015, 79)]]


async def test_under_a_rule_of_dominance_a_base_cell_stays_till_the_epoch_ends(tmp_path: Path, clock: Any) -> None:
    house = opened(tmp_path, {"base_cells": True, "largest_share": 60})
    assert await told(house, ask(COUNT), clock=clock) == [[(147,)]]
    change(tmp_path, *(f"INSERT INTO waste VALUES ('new{i}', 'A', 2015, 'W1', 7, 0)" for i in range(9)))
    assert await told(house, ask(COUNT), clock=clock) == [[(147,)]]


async def test_without_small_cells_two_changes_of_many_are_not_one_of_few(tmp_path: Path) -> None:
    """Five came; then four of them left and one more came: together two came."""
    house = opened(tmp_path, {"base_cells": True})
    assert await told(house, ask(COUNT)) == [[(147,)]]
    change(tmp_path, *(f"INSERT INTO waste VALUES ('new{i}', 'A', 2015, 'W1', 7, 0)" for i in range(5)))
    assert await told(house, ask(COUNT)) == [[(152,)]]
    change(tmp_path, "DELETE FROM waste WHERE org IN ('new0', 'new1', 'new2', 'new3')", NEWCOMER)
    assert await told(house, ask(COUNT)) == [[(152,)]]


async def test_without_small_cells_each_measure_must_have_changed_of_many(tmp_path: Path) -> None:
    waste = {"table": "waste", "columns": {**COLUMNS, "test": "integer"}}
    house = opened(tmp_path, {"base_cells": True, "measures": ["kg", "test"]}, relations={"waste": waste})
    before = await told(house, ask(KG))
    change(
        tmp_path, "UPDATE waste SET test = 9 WHERE year = 2015 AND org IN ('AW10', 'AW11', 'AW12', 'AW13')",
        "UPDATE waste SET kg = kg + 1000 WHERE year = 2015 AND org = 'AW14'",
    )  # fmt: skip
    assert await told(house, ask(KG)) == before


async def test_without_small_cells_what_is_kept_is_not_given_as_another_measure(tmp_path: Path) -> None:
    """The policy names another measure within the epoch: what is kept of the first may not be told as the second."""
    waste = {"table": "waste", "columns": {**COLUMNS, "test": "integer"}}
    house = opened(tmp_path, {"base_cells": True, "largest_share": 60}, relations={"waste": waste})
    assert await told(house, ask(COUNT)) == [[(147,)]]
    house.write(grants=[{"id": "g0", **GRANT, "base_cells": True, "largest_share": 60, "measures": ["test"]}])
    assert await told(house, ask("sum(t.test) AS c0")) == [Outcome.DISCLOSURE]


async def test_a_policy_that_counts_others_waits_for_the_next_epoch(tmp_path: Path) -> None:
    house = opened(tmp_path)
    all_of_a, rest = ask(COUNT, "t.district = 'A'"), ask(COUNT, "t.district = 'A' AND t.ward <> 'W9'")
    assert await told(house, all_of_a) == [[(77,)]]
    change(tmp_path, "ALTER TABLE waste ADD COLUMN boss TEXT", "UPDATE waste SET boss = 'b' || org")
    waste = {"table": "waste", "columns": {**COLUMNS, "boss": "varchar"}}
    house.write(relations={"waste": waste}, grants=[{"id": "g0", **GRANT, "entity": "boss"}])
    assert await told(house, rest) == [Outcome.DISCLOSURE]


async def test_a_history_of_another_layout_is_not_thrown_away(tmp_path: Path) -> None:
    house = opened(tmp_path)
    assert await told(house, ask(COUNT)) == [[(150,)]]
    with sqlite3.connect(next(tmp_path.rglob("guard.db"))) as db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(ValueError, match="layout 1"):
        house.open()


# ---- a history that is gone ---------------------------------------------------------------------------------------


def book(folder: Path, name: str) -> Path:
    return folder / "state" / name


def remove(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


@pytest.mark.parametrize("grant", [{}, {"base_cells": True}], ids=["guard", "base cells"])
async def test_sums_wait_for_their_owner_where_the_history_is_gone(tmp_path: Path, grant: dict[str, Any]) -> None:
    """And whoever starts the agent once more gets no further."""
    house = opened(tmp_path, grant)
    all_of_a, rest = ask(COUNT, "t.district = 'A'"), ask(COUNT, "t.district = 'A' AND t.ward <> 'W9'")
    first = await told(house, all_of_a)
    remove(book(tmp_path, "guard.db"))
    for _ in range(2):
        assert await told(house, rest, all_of_a) == [Outcome.DISCLOSURE] * 2
    done = CliRunner().invoke(app, ["agent", "new-history", str(house.path), "--reason", "a disk failed"])
    assert (done.exit_code, done.output) == (0, "A new history of sums begins; the ledger says so.\n")
    assert await told(house, all_of_a) == first
    records = [r["reason"] for r in read_ledger(book(tmp_path, "ledger.jsonl")) if r["kind"] == "new_history"]
    assert records == ["a disk failed"]


async def test_an_older_copy_of_the_history_is_none(tmp_path: Path) -> None:
    house = opened(tmp_path)
    by_year, all_of_a = ask("t.year AS c0, count(*) AS c1", group="t.year"), ask(COUNT, "t.district = 'A'")
    assert len(await told(house, by_year)) == 1
    old = book(tmp_path, "guard.db").read_bytes()
    assert await told(house, all_of_a) == [[(77,)]]
    new = book(tmp_path, "guard.db").read_bytes()
    book(tmp_path, "guard.db").write_bytes(old)
    assert await told(house, ask(COUNT, "t.district = 'A' AND t.ward <> 'W9'")) == [Outcome.DISCLOSURE]
    book(tmp_path, "guard.db").write_bytes(new)
    assert await told(house, all_of_a) == [[(77,)]]


@pytest.mark.parametrize(("name", "outcome"), [("guard.db", Outcome.DISCLOSURE), ("budget.db", Outcome.BUDGET)])
async def test_an_older_copy_written_over_an_open_file_is_found(tmp_path: Path, name: str, outcome: Outcome) -> None:
    """Otherwise the ledger would go on from the older state, and a restart would find nothing wrong."""
    house = opened(tmp_path)
    agent = house.open()
    async with house.client("bi", "statistics", agent) as client:
        assert tuples(await client.rows(ask(COUNT))) == [(150,)]
        with closing(sqlite3.connect(book(tmp_path, name))) as db, db:
            db.execute("UPDATE mark SET number = number - 1")
        with pytest.raises(CityError) as refusal:
            await client.rows(ask(COUNT, "t.district = 'A'"))
    agent.close()
    assert refusal.value.outcome is outcome
    assert await told(house, ask(COUNT, "t.district = 'B'")) == [outcome]


async def test_a_history_is_not_given_up_while_the_agent_runs(tmp_path: Path) -> None:
    house = opened(tmp_path)
    agent = house.open()
    done = CliRunner().invoke(app, ["agent", "new-history", str(house.path), "--reason", "why not"])
    agent.close()
    assert done.exit_code == 1
    assert "another process" in done.output


async def test_budgets_that_are_gone_are_used_up_for_that_day(tmp_path: Path, clock: Any) -> None:
    house = opened(tmp_path, limits={"budgets": {"user": {"queries": 3}}})
    assert await told(house, ask(COUNT), clock=clock) == [[(150,)]]
    remove(book(tmp_path, "budget.db"))
    for _ in range(2):
        assert await told(house, ask(COUNT), clock=clock) == [Outcome.BUDGET]
    clock.moment += timedelta(days=1)
    assert await told(house, ask(COUNT), clock=clock) == [[(150,)]]
    books = [set(r["books"]) for r in read_ledger(book(tmp_path, "ledger.jsonl")) if "books" in r]
    # Of what is lost the ledger tells nothing new, until it counts again.
    assert [told for told, _ in itertools.groupby(books)] == [{"guard", "budget"}, {"guard"}, {"guard", "budget"}]


async def test_a_request_from_before_its_record_was_lost_is_not_taken_again(tmp_path: Path) -> None:
    house = opened(tmp_path)
    token = house.token("bi", "statistics")
    body = Fragment(query_id="q", fragment_id="f", sql=ask(COUNT)).model_dump_json().encode()
    signed = sign_request(house.gateway, "POST", "/v1/fragment", body, now=time.time() - 3, token=token)
    said = []
    for _ in range(2):
        agent = house.open()
        async with house.client("bi", "statistics", agent) as client:
            headers = {"Authorization": f"Bearer {token}", **signed}
            said.append((await client.http.post("/v1/fragment", content=body, headers=headers)).status_code)
            assert tuples(await client.rows(ask(COUNT))) == [(150,)]
        agent.close()
        remove(book(tmp_path, "replay.db"))
    assert said == [200, 401]


async def test_a_grant_beside_base_cells_that_would_leave_out_others_is_refused(tmp_path: Path) -> None:
    """Also where it asks first: else its cells would be kept, and the next epoch's differ from them by small ones."""
    beside = {"mode": "masked", "relation": "waste", "purposes": ["statistics"], "users": ["mei"], "id": "rows",
              "columns": ["org", "district", "year", "kg"]}  # fmt: skip
    house = opened(tmp_path, {"base_cells": True})
    house.write(grants=[*house.policy["grants"], beside])
    assert await told(house, ask(COUNT, "t.district = 'A'"), user="mei") == [Outcome.DISCLOSURE]
    assert await told(house, ask(COUNT, "t.district = 'A'")) == [[(74,)]]


async def test_sums_of_floating_numbers_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    waste = {"table": "waste", "columns": {**COLUMNS, "kg": "double"}}
    house = opened(tmp_path, relations={"waste": waste})
    parts = [(f"AW1{i}", "A", 2015, "W1", x, 0) for i in range(12) for x in (0.1 * i, 1e15 / 3, 0.3, -1e15 / 3, 0.7)]
    change(tmp_path, "DELETE FROM waste")
    with sqlite3.connect(tmp_path / "silo.sqlite") as db:
        db.executemany("INSERT INTO waste VALUES (?, ?, ?, ?, ?, ?)", parts)
    one = ask(KG, "t.district = 'A'")
    first = await told(house, one)
    for turn in range(1, 20):
        change(tmp_path, "DELETE FROM waste")
        with sqlite3.connect(tmp_path / "silo.sqlite") as db:
            db.executemany("INSERT INTO waste VALUES (?, ?, ?, ?, ?, ?)", parts[turn:] + parts[:turn])
        assert await told(house, ask(KG, f"t.district = 'A' AND t.year >= {1990 + turn}")) == first


# ---- what a policy may not say -----------------------------------------------------------------------------------

SOLID = {"base_cells": True}
RENAMED = {"waste": {"table": "waste", "columns": COLUMNS, "family": "waste"},
           "again": {"table": "waste", "family": "waste",
                     "columns": {**COLUMNS, "mass": {"type": "bigint", "from": "kg"}}}}  # fmt: skip
SPLIT = {
    "waste": {"table": "waste", "columns": COLUMNS, "family": "all"},
    "again": {"table": "waste", "columns": COLUMNS},
}
TWO = {**SPLIT, "again": {**SPLIT["again"], "family": "some"}}
VIEWED = {name: {**spec, "table": "", "view": "most"} for name, spec in SPLIT.items()}
BOTH = "waste and again sum the same rows of {}, and only sums of one family .* write `family: all` in both"
OWN_NAME = {"waste": {"table": "waste", "columns": {**COLUMNS, "entity": {"type": "varchar", "from": "ward"}}}}
NO_WARD = {"waste": {"table": "waste", "columns": COLUMNS},
           "short": {"table": "waste", "columns": {k: v for k, v in COLUMNS.items() if k != "ward"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("grants", "relations", "said"),
    [
        ([{}, {**HEALTH, "base_cells": True}], None, "g0 sums the same rows under the guard"),
        ([SOLID, {**HEALTH, **SOLID, "dimensions": ["district"]}], None, "another `dimensions`"),
        ([SOLID, {**HEALTH, **SOLID, "row_filter": "test = 0"}], None, "another `row_filter`"),
        ([SOLID, {**HEALTH, **SOLID, "measures": ["year"]}], None, "another `measures`"),
        ([{"dimensions": ["district", "year", "entity"]}], OWN_NAME, "uses the name entity"),
        ([SOLID, {**HEALTH, **SOLID, "min_group": 9}], None, "another `min_group`"),
        ([{"noise": {"kg": 5}}, {**HEALTH, "noise": {"kg": 9}}], None, "g0 adds noise of scale 5 to the same kg"),
        ([{"noise": {"count": 5}}, {**HEALTH, "noise": {"count": 5}, "epoch": "day"}], None, "noise for each month"),
        ([{"noise": {"kg": 5}, "guard": False, "unguarded": "old"}], None, "leave the guard on"),
        ([{"largest_share": 60}, HEALTH], None, "with `largest_share: 60`: write the same in both"),
        ([HEALTH, {"p_percent": 9}], None, "with no `p_percent`: write the same in both"),
        ([{}, {"relation": "short", "dimensions": ["district"]}], NO_WARD, "g0 counts the same rows by ward"),
        ([{}, {"relation": "again", "measures": ["mass"]}], RENAMED, "mass and kg of waste are one column"),
        ([{}, {"relation": "again"}], SPLIT, BOTH.format("waste")),
        ([{}, {"relation": "again"}], TWO, BOTH.format("waste")),
        ([{}, {"relation": "again", **SOLID}], SPLIT, BOTH.format("waste")),
        ([{}, {"relation": "again"}], VIEWED, BOTH.format("most")),
        ([{"public": {"year": ["2014", "MMXV"]}}], None, "the public code 'MMXV' is no integer"),
        ([{}], {"waste": {"table": "waste", "columns": {**COLUMNS, "year": "double"}}}, "year is a floating number"),
    ],
)  # fmt: skip
def test_a_policy_whose_sums_cannot_be_held_together_is_refused(
    tmp_path: Path, grants: list[dict[str, Any]], relations: dict[str, Any] | None, said: str
) -> None:
    with pytest.raises(PolicyError, match=said):
        parse(opened(tmp_path, *grants, relations=relations).path.read_text())


@pytest.mark.parametrize(
    ("relations", "terms"),
    [
        ({name: {**spec, "family": "all"} for name, spec in SPLIT.items()}, {}),
        ({name: {k: v for k, v in spec.items() if k != "family"} for name, spec in SPLIT.items()}, {}),
        (SPLIT, {"guard": False, "unguarded": "published long ago"}),
        ({**SPLIT, "again": {"table": "", "view": "most", "columns": COLUMNS}}, {}),
    ],
    ids=["one family", "no family", "unguarded", "a view of its own"],
)
def test_one_history_of_the_same_rows_may_be_told_under_two_names(
    tmp_path: Path, relations: dict[str, Any], terms: dict[str, Any]
) -> None:
    assert parse(opened(tmp_path, {}, {"relation": "again", **terms}, relations=relations).path.read_text())


def test_a_code_list_must_fit_its_column(tmp_path: Path) -> None:
    waste = {"table": "waste", "columns": {**COLUMNS, "year": {"type": "integer", "codes": "years"}}}
    house = opened(tmp_path, relations={"waste": waste}, code_lists={"years": ["2014", "2015.0"]})
    with pytest.raises(PolicyError, match=r"'2015\.0' of the code list years is no integer"):
        parse(house.path.read_text())


# ---- rules of two answers, judged without an agent -----------------------------------------------------------------


def test_the_strictest_rule_of_dominance_holds_for_all() -> None:
    """Should two answers of one family have different rules, as after a change of policy."""
    kind = parse_type("varchar")
    variant = Variant("waste", (), {"ward": kind}, ("ward",), ("kg",))
    entities = np.arange(1, 31, dtype=np.uint64)
    kg = np.where(entities == 30, 100.0, 5.0)
    crowd = Crowd(
        variant, (("W1", "W2"),), np.array([[int(i >= 20)] for i in range(30)]), entities, np.ones(30), {"kg": kg},
        {"kg": np.ones(30)},
    )  # fmt: skip
    total, rest = Question((), (), ((),), ("kg",)), Question((Predicate("ward", "=", ("W1",)),), (), ((),), ("kg",))
    free, strict = Rules(5), Rules(5, Dominance(60))
    for rules in ([free, strict], [strict, free]):
        field = Field([crowd], rules)
        assert field.admit(Answer(0, total, free)) == total
        assert field.admit(Answer(0, rest, free)) is None


def test_rounding_of_many_does_not_hide_that_one_changed() -> None:
    """Floating sums of all but one differ in their last digit, as where a view adds up in another order."""
    entities, kg = np.arange(1, 21, dtype=np.uint64), np.full(20, 0.3)
    again = np.nextafter(kg, 1)
    again[7] = 0.8
    variant = Variant("waste", (), {"ward": parse_type("varchar")}, ("ward",), ("kg",))
    first, second = (
        Crowd(variant, (("W1",),), np.zeros((20, 1), dtype=np.int64), entities, np.ones(20), {"kg": x},
              {"kg": np.ones(20)})
        for x in (kg, again)
    )  # fmt: skip
    total = Question((), (), ((),), ("kg",))
    field = Field([first, second], [Rules(5)])
    assert field.admit(Answer(0, total, Rules(5))) == total
    assert field.admit(Answer(1, total, Rules(5))) is None


@pytest.mark.parametrize("exact", [False, True])
def test_a_crowd_reads_back_as_it_was_written(exact: bool) -> None:
    variant = Variant("waste", (), {"ward": parse_type("varchar")}, ("ward",), ("kg", "test"))
    sums = {m: np.array([1.5, -2.0, 2.0**60]) for m in variant.measures}
    rests = {"test": np.array([0.0, 0.0, -1.0])} if exact else {}
    crowd = Crowd(
        variant, (("W1", None),), np.array([[0], [1], [0]]), np.array([3, 1, 2], dtype=np.uint64), np.ones(3), sums,
        {m: np.ones(3) for m in variant.measures}, rests,
    ).sorted()  # fmt: skip
    again = Crowd.from_blob(variant, crowd.to_blob())
    assert again.id == crowd.id
    assert again.rests.keys() == rests.keys()
    assert all((again.rests[m] == crowd.rests[m]).all() for m in rests)


def test_columns_with_any_number_of_values_are_told_apart() -> None:
    """Ten dimensions of 200 values have more combinations than a 64-bit number has values."""
    names = tuple(f"d{i}" for i in range(10))
    variant = Variant("wide", (), dict.fromkeys(names, parse_type("integer")), names)
    codes = np.stack([np.arange(400) % 200] * 10, axis=1)
    crowd = Crowd(variant, (tuple(range(200)),) * 10, codes, np.arange(1, 401, dtype=np.uint64), np.ones(400))
    every = Question((), names, tuple((i,) * 10 for i in range(200)))
    field = Field([crowd], [Rules(2)])
    assert sorted(field.labels(0, every).tolist()) == list(range(200))
    assert field.admit(Answer(0, every, Rules(2))) == every


def test_under_a_small_share_the_second_largest_is_looked_at_too() -> None:
    """Entity 2 has 45 of 100 in W1 and in W2, where others have 46, and 40 of 100 in X: of all three, 43 %."""
    wards = ("W1", "W2", "X", "Z1", "Z2", "Z3")
    found = [(0, 1, 46), (0, 2, 45), (1, 3, 46), (1, 2, 45), (2, 2, 40)]
    found += [(ward, 100 + 100 * ward + i, 1) for ward, many in ((0, 9), (1, 9), (2, 60)) for i in range(many)]
    found += [(ward, 100 + 100 * ward + i, 50) for ward in (3, 4, 5) for i in range(60)]
    variant = Variant("waste", (), {"ward": parse_type("varchar")}, ("ward",), ("kg",))
    rows = len(found)
    crowd = Crowd(
        variant, (wards,), np.array([[w] for w, _, _ in found]), np.array([e for _, e, _ in found], dtype=np.uint64),
        np.ones(rows), {"kg": np.array([float(x) for *_, x in found])}, {"kg": np.ones(rows)},
    )  # fmt: skip
    rules = Rules(5, Dominance(40))
    field = Field([crowd], [rules])
    admitted = [
        field.admit(Answer(0, Question((Predicate("ward", "in", some),), (), ((),), ("kg",)), rules)) is not None
        for some in (("W1", "Z1"), ("W2", "Z2"), ("X", "Z3"), ("Z1", "Z2", "Z3"))
    ]
    assert admitted == [True, True, True, False]
