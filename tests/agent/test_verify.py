"""Verify mode: match, no-match, invalid; budgets before look-ups; nothing else in the answer or its timing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from stdnum.iso7064 import mod_11_2

from catalog.errors import Outcome
from connectors.agent.ledger import read_ledger
from connectors.agent.service import Agent
from connectors.agent.verify import person_id
from tests.agent.house import House, tuples

SQL = """SELECT k AS c0, verify('owner', k) AS c1 FROM "$keys" """


def make_id(serial: int, year: int = 1970) -> str:
    body = f"449901{year}0{serial % 9 + 1}{serial % 28 + 1:02d}{serial % 1000:03d}"
    return body + str(mod_11_2.calc_check_digit(body))


def old(value: str) -> str:
    return value[:6] + value[8:17]


OWNERS = [make_id(i) for i in range(300)]
STORED = [old(o) if i % 10 == 0 else o for i, o in enumerate(OWNERS)]
STRANGERS = [make_id(i, 1985) for i in range(300)]


def grant(**more: Any) -> dict[str, Any]:
    return {"id": "own", "relation": "owner", "purposes": ["benefit-eligibility"], "mode": "verify",
            "key": "person", "per_day": 200, "per_subject": 5, **more}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> House:
    policy = {
        "department": "housing",
        "relations": {"owner": {"table": "owner", "listed": True, "columns": {"person": "varchar", "area": "integer"}}},
        "grants": [grant()],
        "limits": {"timezone": "Asia/Shanghai"},
    }
    rows = [(s, i, int(i == 7)) for i, s in enumerate(STORED)]
    return House(tmp_path, policy, {"owner": ("person TEXT, area INTEGER, withheld INTEGER", rows)})


class Clock:
    """Starts at eleven in the evening, local time."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 15, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agent(house: House, clock: Clock) -> Iterator[Agent]:
    opened = house.open(clock)
    yield opened
    opened.close()


async def test_the_three_verdicts_in_every_form_of_the_id(house: House, agent: Agent) -> None:
    wrong = OWNERS[3][:17] + ("0" if OWNERS[3][17] != "0" else "1")
    claims = {
        OWNERS[1]: "match", OWNERS[10]: "match", old(OWNERS[2]): "match", old(OWNERS[20]): "match",
        STRANGERS[1]: "no-match", old(make_id(5, 1901)): "no-match",
        wrong: "invalid", "": "invalid", "x": "invalid", OWNERS[4] + "0": "invalid",
        make_id(4)[:10] + "13" + make_id(4)[12:]: "invalid", "４" * 18: "invalid",
    }  # fmt: skip
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        table = await ask.rows(SQL, keys=list(claims))
    assert tuples(table) == list(claims.items())


async def test_a_withheld_row_is_a_no_match(house: House) -> None:
    house.write(grants=[grant(row_filter="withheld = 0")])
    async with house.client("wu", "benefit-eligibility") as ask:
        assert tuples(await ask.rows(SQL, keys=[OWNERS[7], OWNERS[8]])) == [
            (OWNERS[7], "no-match"),
            (OWNERS[8], "match"),
        ]


async def test_the_users_budget_is_for_a_day_and_a_batch_beyond_it_answers_nothing(
    house: House, agent: Agent, clock: Clock
) -> None:
    subjects = random.Random(1).sample(STRANGERS, 260)
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        for i in (0, 100):
            assert (await ask.rows(SQL, keys=subjects[i : i + 100])).num_rows == 100
        refused = await ask.refusal(SQL, keys=subjects[200:201])
        assert refused.outcome is Outcome.BUDGET
        assert "2026-03-02T00:00+08:00" in refused.hint
        assert refused.retry_after == 3600
    async with house.client("luo", "benefit-eligibility", agent) as other:
        assert (await other.rows(SQL, keys=subjects[200:201])).num_rows == 1
    clock.now += timedelta(hours=2)
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        assert (await ask.rows(SQL, keys=subjects[200:201])).num_rows == 1


async def test_a_subjects_budget_is_over_all_users_and_outlives_a_restart(house: House, clock: Clock) -> None:
    agent = house.open(clock)
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        for _ in range(3):
            await ask.rows(SQL, keys=[OWNERS[1]])
    async with house.client("luo", "benefit-eligibility", agent) as ask:
        await ask.rows(SQL, keys=[old(OWNERS[1])])
        await ask.rows(SQL, keys=[OWNERS[1], OWNERS[2]])
        assert (await ask.refusal(SQL, keys=[OWNERS[1], OWNERS[3]])).outcome is Outcome.BUDGET
        await ask.rows(SQL, keys=[OWNERS[3]])
    agent.close()
    restarted = house.open(clock)
    async with house.client("wu", "benefit-eligibility", restarted) as ask:
        assert (await ask.refusal(SQL, keys=[old(OWNERS[1])])).outcome is Outcome.BUDGET
    restarted.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT o.person AS c0 FROM housing.main.owner AS o",
        "SELECT count(*) AS c0 FROM housing.main.owner AS o",
        """SELECT k AS c0, verify('owner', k) AS c1 FROM "$keys" WHERE k LIKE '4499%'""",
        """SELECT k AS c0, verify('owner', substr(k, 1, 18)) AS c1 FROM "$keys" """,
        """SELECT verify('owner', k) AS c0, k AS c1 FROM "$keys" """,
        """SELECT k AS c0, verify('owner', k) = 'match' AS c1 FROM "$keys" """,
        """SELECT k AS c0, verify('owner', k, 1) AS c1 FROM "$keys" """,
        """SELECT k AS c0, verify(k, k) AS c1 FROM "$keys" """,
        """SELECT o.person AS c0, verify('owner', o.person) AS c1 FROM housing.main.owner AS o""",
    ],
)
async def test_any_other_question_is_refused(house: House, agent: Agent, sql: str) -> None:
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        assert (await ask.refusal(sql, keys=[OWNERS[1]])).outcome is Outcome.MODE
        assert (
            await ask.rows("""SELECT k AS c0, verify('housing.main.owner', k) AS c1 FROM "$keys" """, keys=[OWNERS[1]])
        ).num_rows == 1


async def test_large_batches_wrong_users_and_missing_keys(house: House, agent: Agent) -> None:
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        assert (await ask.refusal(SQL, keys=STRANGERS[:101])).outcome is Outcome.TOO_LARGE
        assert (await ask.refusal(SQL)).outcome is Outcome.SEMANTIC
        assert (await ask.refusal(SQL.replace("owner", "owners"), keys=OWNERS[:1])).outcome is Outcome.NOT_AVAILABLE
    async with house.client("chen", "public-health", agent) as ask:
        assert (await ask.refusal(SQL, keys=OWNERS[:1])).outcome is Outcome.NOT_AVAILABLE


async def test_the_ledger_counts_claims_and_never_holds_an_id(house: House, agent: Agent) -> None:
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        await ask.rows(SQL, keys=[OWNERS[1], STRANGERS[2], "x"])
    path = house.folder / "state" / "ledger.jsonl"
    begin = next(r for r in read_ledger(path) if r["kind"] == "begin")
    assert (begin["mode"], begin["keys"], len(begin["subjects"])) == ("verify", 3, 2)
    for file in (house.folder / "state").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert OWNERS[1].encode() not in data
            assert STRANGERS[2].encode() not in data


def test_ids_by_example() -> None:
    assert person_id("11010519491231002X") == "11010519491231002X"
    assert person_id("110105491231002") == "11010519491231002X"
    assert person_id("11010519491231002x") is None
    assert person_id("110105194912310021") is None
    assert person_id("11010519490231002X") is None
