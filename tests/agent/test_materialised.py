"""Copies that an owner lets the agent keep: they answer beneath the masks, as of their time, and go when they must."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from catalog.errors import CityError
from connectors.base import Cancel, NativeScan, SourceError
from connectors.sqlite import SqliteSource
from tests.agent.house import Ask, House, tuples
from tests.agent.test_limits import until

DAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
COLUMNS = {"id": {"type": "bigint", "from": "NO"}, "ward": "varchar", "name": "varchar"}
LIN = {"purposes": ["mass-balance"], "users": ["lin"], "mode": "masked"}
MASKED = {**LIN, "relation": "visits", "masks": {"name": "keep_first(1)"}}
OTHERS = [
    {"relation": "visits", "purposes": ["statistics"], "users": ["bi"], "mode": "masked", "row_filter": "ward = 'p1'"},
    {"relation": "visits", "purposes": ["statistics"], "users": ["mei"], "mode": "aggregate", "entity": "id",
     "dimensions": ["ward"], "min_group": 5, "guard": False, "unguarded": "a test"},
]  # fmt: skip
SQL = "SELECT t.id AS c0, t.name AS c1 FROM water.main.visits AS t WHERE t.id < 2 ORDER BY t.id"
COUNT = "SELECT count(*) AS c0 FROM water.main.visits AS t"
WARDS = "SELECT t.ward AS c0, count(*) AS c1 FROM water.main.visits AS t GROUP BY t.ward"


class Clock:
    """Noon, until a test says otherwise."""

    def __init__(self) -> None:
        self.now = DAY

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


class Building:
    """A department whose visits may be copied for six hours, its silo and its clock."""

    def __init__(self, folder: Path) -> None:
        rows = [(i, f"p{i % 3}", f"Name{i}") for i in range(90)]
        self.clock = Clock()
        self.house = House(folder, self._policy(), {"visits": ("NO INTEGER, ward TEXT, name TEXT", rows)})
        self.state = folder / "state" / "materialised"
        self.agent = self.house.open(self.clock)

    @staticmethod
    def _policy(**visits: Any) -> dict[str, Any]:
        spec = {"table": "visits", "columns": COLUMNS, "materialise": "6h", **visits}
        return {"department": "water", "relations": {"visits": spec}, "grants": [MASKED, *OTHERS]}

    def write(self, **visits: Any) -> None:
        """A policy that says this of visits; None: does not say it."""
        policy = self._policy(**visits)
        spec = {k: v for k, v in policy["relations"]["visits"].items() if v is not None}
        self.house.write(relations={"visits": spec})
        self.agent.reload()

    def change(self, sql: str) -> None:
        with sqlite3.connect(self.house.folder / "silo.sqlite") as db:
            db.execute(sql)

    def reopen(self) -> None:
        self.agent.close()
        self.agent = self.house.open(self.clock)

    @property
    def copy(self) -> dict[str, Any]:
        (told,) = self.agent.materialise([])["copies"]
        return dict(told)

    @property
    def files(self) -> list[Path]:
        return sorted(self.state.glob("*"))

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self.agent.ledger.records() if r["kind"] == kind]

    @asynccontextmanager
    async def asks(self, user: str = "lin", purpose: str = "mass-balance") -> AsyncIterator[Ask]:
        async with self.house.client(user, purpose, self.agent) as ask:
            yield ask

    async def count(self, user: str = "lin", purpose: str = "mass-balance") -> int:
        async with self.asks(user, purpose) as ask:
            ((found,),) = tuples(await ask.rows(COUNT))
            return int(found)


@pytest.fixture
def building(tmp_path: Path) -> Iterator[Building]:
    made = Building(tmp_path)
    yield made
    made.agent.close()


# ---- what answers -------------------------------------------------------------------------------------------


async def test_a_copy_answers_as_of_its_time_beneath_the_masks(building: Building) -> None:
    assert building.agent.materialise(["visits"])["why"] == {}
    building.change("UPDATE visits SET name = 'Zoe' WHERE NO = 1")
    building.clock.forward(hours=2)
    async with building.asks() as ask:
        assert tuples(await ask.rows(SQL)) == [(0, "N****"), (1, "N****")]
        assert ask.end is not None
        assert ask.end.receipt is not None
        assert ask.end.receipt.vintages == {"visits": DAY.isoformat()}
        (relation,) = (await ask.relations())["relations"]
        assert datetime.fromisoformat(relation["vintage"]) == DAY


async def test_one_that_is_too_old_does_not(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.clock.forward(hours=6, seconds=1)
    async with building.asks() as ask:
        assert tuples(await ask.rows(COUNT)) == [(80,)]
        assert ask.end is not None
        assert ask.end.receipt is not None
        assert ask.end.receipt.vintages == {}


async def test_the_first_question_asks_the_source_and_has_the_copy_made(building: Building) -> None:
    async with building.asks() as ask:
        await ask.rows(COUNT)
        assert ask.end is not None
        assert ask.end.receipt is not None
        assert ask.end.receipt.vintages == {}
    await until(lambda: building.copy.get("answers"))
    building.change("DELETE FROM visits WHERE NO >= 80")
    assert await building.count() == 90
    (record,) = building.told("materialise")
    assert (record["relation"], record["rows"]) == ("visits", 90)


async def test_it_is_renewed_at_half_its_time_for_who_asks_and_for_nobody_else(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.clock.forward(hours=4)
    building.agent.materialise([])  # looking is not asking
    assert building.copy["rows"] == 90
    assert await building.count() == 90
    await until(lambda: building.copy["rows"] == 80)
    building.clock.forward(hours=7)
    building.agent._copies._woken.set()
    await until(lambda: not building.files)
    (ended,) = building.told("materialise_end")
    assert ended["table"] == building.told("materialise")[-1]["table"]
    assert "at" not in building.copy


async def test_explaining_a_question_copies_nothing(building: Building) -> None:
    async with building.asks() as ask:
        await ask.rows(COUNT, dry_run=True)
    assert building.agent._copies._asked == set()


async def test_row_filters_and_sums_read_the_source(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 60")
    assert await building.count("bi", "statistics") == 20
    async with building.asks("mei", "statistics") as ask:
        assert sorted(tuples(await ask.rows(WARDS))) == [("p0", 20), ("p1", 20), ("p2", 20)]
    assert await building.count() == 90


async def test_a_plan_that_was_kept_follows_what_answers_now(building: Building) -> None:
    building.change("UPDATE visits SET ward = 'source'")
    wards = "SELECT t.ward AS c0 FROM water.main.visits AS t WHERE t.id = {}"
    async with building.asks() as ask:
        for at in range(4):  # planned, kept, filled: of the source, and its copy at the latest from the fifth on
            assert tuples(await ask.rows(wards.format(at))) == [("source",)]
        building.agent.materialise(["visits"])
        building.change("UPDATE visits SET ward = 'later'")
        for at in range(4, 9):
            assert tuples(await ask.rows(wards.format(at))) == [("source",)]
        building.agent.materialise(["visits"], drop=True)
        for at in range(9, 13):
            assert tuples(await ask.rows(wards.format(at))) == [("later",)]
            building.agent.materialise(["visits"], drop=True)


async def test_copies_join_with_each_other_and_with_what_is_not_copied(building: Building) -> None:
    spec = {"table": "visits", "columns": COLUMNS}
    relations = {"visits": {**spec, "materialise": "6h"}, "stays": {**spec, "materialise": "1h"}, "now": spec}
    grants = [{**LIN, "relation": name} for name in relations]
    building.house.write(relations=relations, grants=grants)
    building.agent.reload()
    building.agent.materialise(["visits", "stays"])
    building.change("UPDATE visits SET ward = 'later' WHERE NO < 30")
    both = "SELECT count(*) AS c0 FROM water.main.visits AS a JOIN water.main.{} AS b USING (id, ward)"
    async with building.asks() as ask:
        assert tuples(await ask.rows(both.format("stays"))) == [(90,)]
        assert tuples(await ask.rows(both.format("now"))) == [(60,)]
        building.clock.forward(hours=2)
        assert tuples(await ask.rows(both.format("stays"))) == [(60,)]


# ---- what ends a copy ---------------------------------------------------------------------------------------


async def test_a_policy_that_no_longer_says_so_ends_it_at_once(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.write(materialise=None)
    assert await building.count() == 80
    await until(lambda: not building.files)
    building.write()
    assert await building.count() == 80


async def test_a_shorter_time_and_another_definition_hold_at_once(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.clock.forward(hours=2)
    building.write(materialise="1h")
    assert await building.count() == 80
    await until(lambda: building.copy.get("answers"))
    building.write(columns={**COLUMNS, "ward": {"type": "varchar", "from": "name"}})
    async with building.asks() as ask:
        wards = "SELECT t.ward AS c0 FROM water.main.visits AS t WHERE t.id = 7"
        assert tuples(await ask.rows(wards)) == [("Name7",)]


async def test_the_owner_lets_it_go(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.agent.pause()
    assert "at" not in building.agent.materialise(["visits"], drop=True)["copies"][0]
    assert building.files == []
    building.agent.resume()
    assert await building.count() == 80


async def test_it_outlives_a_restart_unless_it_is_too_old_or_broken(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.reopen()
    assert await building.count() == 90
    (file,) = building.files
    (building.state / f"{'0' * 32}.1.parquet").write_bytes(file.read_bytes())  # of nothing that the policy says
    building.agent.close()
    file.write_bytes(file.read_bytes()[:-20])
    building.agent = building.house.open(building.clock)
    assert await building.count() == 80
    await until(lambda: building.copy.get("rows") == 80)
    building.agent.close()
    building.clock.forward(days=1)
    building.agent = building.house.open(building.clock)
    assert building.files == []


async def test_one_of_a_time_to_come_is_of_a_wrong_clock(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.clock.forward(days=-3)
    assert await building.count() == 80


# ---- what goes wrong ----------------------------------------------------------------------------------------


async def test_a_value_that_does_not_fit_leaves_the_source_to_answer_the_rest(building: Building) -> None:
    building.write(columns={**COLUMNS, "ward": "integer"})
    why = building.agent.materialise(["visits"])["why"]["visits"]
    assert "ward" in why
    assert building.files == []
    assert await building.count() == 90
    assert building.copy["failed"] == why


async def test_what_is_not_on_record_is_not_in_use(building: Building, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(building.agent._copies, "_record", full)
    assert "No space" in building.agent.materialise(["visits"])["why"]["visits"]
    assert building.files == []
    building.change("DELETE FROM visits WHERE NO >= 80")
    assert await building.count() == 80


async def test_only_what_the_policy_lets_be_copied_is_and_only_while_it_answers(building: Building) -> None:
    with pytest.raises(CityError, match=r"There is no relation visit\."):
        building.agent.materialise(["visit"])
    building.agent.pause()
    with pytest.raises(CityError, match="switched its agent off"):
        building.agent.materialise(["visits"])
    building.agent.resume()
    building.write(materialise=None)
    with pytest.raises(CityError, match="lets nobody keep a copy of visits"):
        building.agent.materialise(["visits"])
    assert building.files == []


@pytest.mark.parametrize("end", ["drop", "policy", "close"])
async def test_a_copy_in_the_making_is_given_up(building: Building, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    reads: list[Cancel] = []

    def scan(_: Any, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        reads.append(cancel)
        yield pa.RecordBatch.from_pylist([], scan.schema)
        if not cancel.wait(20):
            raise SourceError("nobody gave it up")
        cancel.check()

    monkeypatch.setattr(SqliteSource, "scan", scan)
    making = asyncio.create_task(asyncio.to_thread(building.agent.materialise, ["visits"]))
    await until(lambda: reads)
    if end == "drop":
        await asyncio.to_thread(building.agent.materialise, ["visits"], True)
    elif end == "policy":
        await asyncio.to_thread(building.write, materialise=None)
    else:
        await asyncio.to_thread(building.agent._copies.close)
    assert "given up" in (await making)["why"]["visits"]
    assert building.files == []


@pytest.mark.parametrize("text", ["6", "six hours", "10s", "40d", "-6h"])
def test_a_time_that_is_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    house = House(tmp_path, Building._policy(materialise=text), {"visits": ("NO INTEGER, ward TEXT, name TEXT", [])})
    with pytest.raises(Exception, match="materialise"):
        house.open()
