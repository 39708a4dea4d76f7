"""A fragment's time zone is one that there is, and whoever reads what was asked reads it too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.agent.service import Agent
from tests.agent.house import House, tuples

POLICY: dict[str, Any] = {
    "department": "water",
    "relations": {
        "visits": {"table": "visits", "key": ["id"], "columns": {"id": "bigint", "at": "timestamp(3)"}},
        "checked": {"table": "visits", "key": ["code"], "columns": {"code": "varchar", "at": "timestamp(3)"}},
    },
    "grants": [
        {"relation": "visits", "purposes": ["mass-balance"], "mode": "masked"},
        {"relation": "checked", "purposes": ["mass-balance"], "mode": "verify", "key": "code"},
    ],
}
ROWS = [(hour, f"v{hour}", f"2024-03-01 {hour:02}:00:00.000") for hour in range(24)]
SINCE = "SELECT count(*) AS c0 FROM water.main.visits AS t WHERE t.at >= TIMESTAMP '2024-03-01 04:00:00 UTC'"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("zones"), POLICY, {"visits": ("id INTEGER, code TEXT, at TEXT", ROWS)})


@pytest.fixture(scope="module")
def agent(house: House) -> Iterator[Agent]:
    opened = house.open()
    yield opened
    opened.close()


async def test_receipt_and_ledger_tell_in_which_zone_was_asked(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        for zone, count in (("Asia/Shanghai", 12), ("", 20)):
            assert tuples(await ask.rows(SINCE, time_zone=zone)) == [(count,)]
            assert ask.end is not None
            assert ask.end.receipt is not None
            assert ask.end.receipt.time_zone == zone
            assert ("time_zone" in ask.end.receipt.model_dump()) is bool(zone)
            begun = [r for r in agent.ledger.records() if r["kind"] == "begin"][-1]
            assert begun.get("time_zone", "") == zone
        await ask.refusal("SELECT t.nothing AS c0 FROM water.main.visits AS t", time_zone="Asia/Shanghai")
        assert [r for r in agent.ledger.records() if r["kind"] == "refusal"][-1]["time_zone"] == "Asia/Shanghai"


@pytest.mark.parametrize("zone", ["Mars/Phobos", "localtime", "+15:00", "no zone at all\n"])
@pytest.mark.parametrize("sql", [SINCE, "SELECT verify('water.main.checked', 'v3') AS c0"], ids=["rows", "verify"])
async def test_a_zone_that_there_is_not_is_refused(house: House, agent: Agent, sql: str, zone: str) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        assert "is no time zone" in (await ask.refusal(sql, time_zone=zone)).message


async def test_an_interval_beyond_the_calendar_is_refused_by_name(house: House, agent: Agent) -> None:
    sql = "SELECT t.id AS c0 FROM water.main.visits AS t WHERE t.at > now() - INTERVAL '999999999' WEEK"
    async with house.client("lin", "mass-balance", agent) as ask:
        assert (await ask.refusal(sql)).outcome.name != "INTERNAL"
