"""How long an agent lets the gateway keep an answer: as its grants say, while they last, and not into another day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog.exchange import Question
from catalog.keys import SigningKey
from catalog.question import sign_question
from connectors.agent import fragment, service
from tests.agent.house import Ask, House

GRANT: dict[str, Any] = {"relation": "visits", "purposes": ["mass-balance"], "mode": "masked", "keep_seconds": 300}
COLUMNS = {"id": "bigint", "ward": "varchar"}
SQL = "SELECT t.id AS c0 FROM water.main.visits AS t"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


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
    ("at", "until", "hours", "seconds"),
    [
        (NOON, None, "", 300),
        (NOON, NOON + timedelta(seconds=90), "", 90),
        (NOON.replace(hour=23, minute=59), None, "", 60),
        (NOON.replace(hour=23, minute=59, second=59, microsecond=500_000), None, "", 0),
        (NOON, None, "08:00-12:02", 120),
    ],
)
async def test_not_beyond_what_it_was_decided_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: datetime, until: datetime | None, hours: str, seconds: int
) -> None:
    monkeypatch.setattr(Clock, "at", at)
    ends = [] if until is None else [until]
    monkeypatch.setattr(service, "check_hours", lambda *_: None)
    monkeypatch.setattr(fragment, "_end_of", lambda _: min(ends, default=None))
    assert await kept(tmp_path, GRANT, limits={"hours": hours} if hours else None) == seconds


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
