"""How long an agent lets the gateway keep an answer: as its grants say, while they last, and not into another day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from catalog.exchange import Question
from catalog.keys import SigningKey
from catalog.policy import decide
from catalog.question import sign_question
from connectors.agent import fragment, service
from tests.agent.house import Ask, House

GRANT: dict[str, Any] = {"relation": "visits", "purposes": ["mass-balance"], "mode": "masked", "keep_seconds": 300}
COLUMNS = {"id": "bigint", "ward": "varchar"}
SQL = "SELECT t.id AS c0 FROM water.main.visits AS t"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NIGHT = NOON.replace(hour=23, minute=59)
TURN = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
"""A minute before clocks in Berlin are moved."""


class Clock(datetime):
    """Noon, for what is kept."""

    at = NOON

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return cls.at.astimezone(tz)


async def kept(folder: Path, *grants: dict[str, Any], sql: str = SQL, limits: Any = None, signed: bool = False) -> int:
    """Seconds that the receipt of an answer says, and the ledger too."""
    policy = {
        "department": "water", "grants": list(grants), "limits": limits or {},
        "relations": {n: {"table": "visits", "columns": COLUMNS} for n in ("visits", "stays")},
    }  # fmt: skip
    house = House(folder, policy, {"visits": ("id INTEGER, ward TEXT", [(i, f"p{i % 3}") for i in range(90)])})
    agent = house.open()
    key, said = SigningKey.generate(), "SELECT id FROM water.main.visits"
    question = Question(sql=said, proof=sign_question(key, said, "mass-balance")) if signed else None
    try:
        async with house.client("lin", "mass-balance", agent) as ask:
            own = Ask(house, ask.http, house.token("lin", "mass-balance", user_jkt=key.kid), agent)
            await own.rows(sql, question=question)
            assert own.end is not None
            assert own.end.receipt is not None
            end = [r for r in agent.ledger.records() if r["kind"] == "end"][-1]
            assert end.get("keep_seconds", 0) == own.end.receipt.keep_seconds
            assert ("keep_seconds" in own.end.receipt.model_dump()) is bool(own.end.receipt.keep_seconds)
            return own.end.receipt.keep_seconds
    finally:
        agent.close()


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragment, "datetime", Clock)


async def test_as_long_as_all_of_its_grants_say(tmp_path: Path) -> None:
    stays = {**GRANT, "relation": "stays", "keep_seconds": 60}
    both = f"{SQL} JOIN water.main.stays AS s ON s.id = t.id"
    assert await kept(tmp_path / "a", GRANT) == 300
    assert await kept(tmp_path / "b", GRANT, stays, sql=both) == 60
    assert await kept(tmp_path / "c", GRANT, {**stays, "keep_seconds": 900}, sql=both) == 300
    assert await kept(tmp_path / "d", GRANT, {**GRANT, "keep_seconds": 40}) == 40


async def test_never_where_one_of_them_says_nothing(tmp_path: Path) -> None:
    silent = {k: v for k, v in GRANT.items() if k != "keep_seconds"}
    both = f"{SQL} JOIN water.main.stays AS s ON s.id = t.id"
    assert await kept(tmp_path / "a", silent) == 0
    assert await kept(tmp_path / "b", GRANT, silent) == 0
    assert await kept(tmp_path / "c", GRANT, {**silent, "relation": "stays"}, sql=both) == 0


async def test_sums_too(tmp_path: Path) -> None:
    sums = {**GRANT, "mode": "aggregate", "dimensions": ["ward"], "entity": "id", "min_group": 3}
    sql = "SELECT t.ward AS c0, count(*) AS c1 FROM water.main.visits AS t GROUP BY t.ward"
    assert await kept(tmp_path / "a", sums, sql=sql) == 300


@pytest.mark.parametrize(
    ("came", "now", "until", "limits", "seconds"),
    [
        (NOON, NOON, None, {}, 300),
        (NOON, NOON, NOON + timedelta(seconds=90), {}, 90),
        (NIGHT, NIGHT, None, {}, 60),
        (NIGHT, NIGHT + timedelta(seconds=59.5), None, {}, 0),
        (NIGHT, NIGHT + timedelta(seconds=61), None, {}, 0),  # decided on the day before
        (NOON, NOON, None, {"hours": "08:00-12:02"}, 120),
        (NIGHT.replace(hour=15), NIGHT.replace(hour=15), None, {"timezone": "Asia/Shanghai"}, 60),
        (TURN, TURN, TURN + timedelta(minutes=2), {"timezone": "Europe/Berlin"}, 120),
    ],
)
async def test_not_beyond_what_it_was_decided_by(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    came: datetime,
    now: datetime,
    until: datetime | None,
    limits: dict[str, str],
    seconds: int,
) -> None:
    monkeypatch.setattr(Clock, "at", now)
    zone = ZoneInfo(limits.get("timezone", "UTC"))
    monkeypatch.setattr(fragment.FragmentRun, "_local_now", lambda _: came.astimezone(zone))
    monkeypatch.setattr(service, "check_hours", lambda *_: None)
    run = fragment.FragmentRun
    keep = run._keep_seconds

    def ended(self: Any) -> int:
        relations = [replace(r, decision=replace(r.decision, until=until)) for r in self._account.relations]
        monkeypatch.setattr(self._account, "relations", relations)
        return keep(self)

    monkeypatch.setattr(run, "_keep_seconds", ended)
    assert await kept(tmp_path, GRANT, limits=limits) == seconds


def test_not_beyond_the_beginning_of_another_grant(tmp_path: Path) -> None:
    later = {**GRANT, "row_filter": "id < 10", "from": (NOON + timedelta(seconds=40)).isoformat()}
    for others, begins in (
        ([later], NOON + timedelta(seconds=40)),
        ([{**later, "users": ["lin"]}], NOON + timedelta(seconds=40)),
        ([{**later, "users": ["mei"]}], None),
        ([{**later, "purposes": ["statistics"]}], None),
        ([{**later, "from": (NOON - timedelta(days=1)).isoformat()}], None),
    ):
        policy = {
            "department": "water", "purposes": ["mass-balance", "statistics"], "grants": [GRANT, *others],
            "relations": {"visits": {"table": "visits", "columns": COLUMNS}},
        }  # fmt: skip
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        agent = House(folder, policy, {"visits": ("id INTEGER, ward TEXT", [])}).open()
        found = decide(agent.department, "lin", "mass-balance", "visits", NOON)
        agent.close()
        assert found is not None
        assert found.begins == begins


async def test_not_of_a_question_that_was_signed(tmp_path: Path) -> None:
    assert await kept(tmp_path, GRANT, signed=True) == 0


@pytest.mark.parametrize(
    "change", [{"mode": "schema"}, {"strict": "question"}, {"keep_seconds": 901}, {"keep_seconds": 0}]
)
def test_a_policy_that_cannot_mean_it_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    policy = {
        "department": "water", "grants": [{**GRANT, **change}],
        "relations": {"visits": {"table": "visits", "columns": COLUMNS}},
    }  # fmt: skip
    with pytest.raises(ValueError, match="keep"):
        House(tmp_path, policy, {"visits": ("id INTEGER, ward TEXT", [])}).open()
