"""Copies that an owner lets the agent keep: they answer beneath the masks, as of their time, and go when they must."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from catalog.errors import CityError
from catalog.ledger import read_ledger
from catalog.policy import PolicyError
from connectors.agent import materialised
from connectors.base import Cancel, NativeScan, OutputColumn
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

    @property
    def copy(self) -> dict[str, Any]:
        (told,) = self.agent.materialise([])["copies"]
        return dict(told)

    @property
    def files(self) -> list[Path]:
        return sorted(self.state.glob("*.*"))

    def rows(self) -> Iterator[pa.RecordBatch]:
        """What a scan of the whole copy delivers."""
        (definition,) = self.agent._copies._defined.values()
        columns = tuple(OutputColumn(name, column.type, name) for name, column in definition.spec.columns.items())
        scan = NativeScan(definition.table, False, {c.name: c.type for c in columns}, columns)
        return self.agent._copies.scan(scan, Cancel())

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


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was let go is gone within a test's patience."""
    monkeypatch.setattr(materialised, "LINGER", 0.3)


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
    await until(lambda: building.files == [])
    building.agent.resume()
    assert await building.count() == 80


async def test_it_ends_with_the_agent_however_that_ends(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    (file,) = building.files
    left = file.read_bytes()
    building.agent.close()
    assert not building.state.exists()
    kinds = [r["kind"] for r in read_ledger(building.house.folder / "state" / "ledger.jsonl")]
    assert kinds[-3:] == ["materialise", "materialise_end", "stop"]
    building.state.mkdir()
    for name in (file.name, f"{'0' * 32}.half"):
        (building.state / name).write_bytes(left)
    building.agent = building.house.open(building.clock)
    assert building.files == []
    assert await building.count() == 80


async def test_one_that_is_gone_does_not_keep_the_others_from_their_readers(building: Building) -> None:
    spec = {"table": "visits", "columns": COLUMNS, "materialise": "6h"}
    grants = [{**LIN, "relation": name} for name in ("visits", "stays")]
    building.house.write(relations={"visits": spec, "stays": spec}, grants=grants)
    building.agent.reload()
    building.agent.materialise(["stays"])
    (file,) = building.files
    file.unlink()
    assert building.agent.materialise(["visits"])["why"] == {}
    told = {c["relation"]: c.get("answers") for c in building.agent.materialise([])["copies"]}
    assert told == {"visits": True, "stays": None}
    assert await building.count() == 90


async def test_one_of_a_time_to_come_is_of_a_wrong_clock(building: Building) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.clock.forward(seconds=-5)
    assert await building.count() == 90
    building.clock.forward(days=-3)
    assert await building.count() == 80


async def test_a_clock_that_stands_still_does_not_keep_a_copy_young(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    true = time.monotonic
    monkeypatch.setattr(materialised.time, "monotonic", lambda: true() + 6 * 3600 + 1)
    assert await building.count() == 80


async def test_only_its_owner_can_read_it(building: Building) -> None:
    building.agent.materialise(["visits"])
    (file,) = building.files
    assert [path.stat().st_mode & 0o077 for path in (building.state, file)] == [0, 0]


async def test_a_file_that_was_being_read_goes_with_its_last_reader(building: Building) -> None:
    building.agent.materialise(["visits"])
    copies, rows = building.agent._copies, building.rows()
    assert next(rows).num_rows == 90
    building.agent.materialise(["visits"], drop=True)
    await until(lambda: not copies._going)
    assert len(building.files) == 1
    rows.close()
    copies._woken.set()
    await until(lambda: building.files == [])


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


async def test_a_renewal_that_fails_leaves_the_copy_that_there_was(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.clock.forward(minutes=10)
    record = building.agent._copies._record
    seen = []

    def full(kind: str, facts: Any) -> None:
        if kind == "materialise":
            seen.append(building.copy["rows"])
            raise OSError("No space left on device")
        record(kind, facts)

    monkeypatch.setattr(building.agent._copies, "_record", full)
    assert "No space" in building.agent.materialise(["visits"])["why"]["visits"]
    assert seen == [90], "nobody is answered by a copy that is not on record yet"
    assert await building.count() == 90
    assert len(building.files) == 1


async def test_each_attempt_in_vain_waits_twice_as_long(building: Building) -> None:
    building.write(columns={**COLUMNS, "ward": "integer"})
    copies, waits = building.agent._copies, []
    for _ in range(10):
        building.agent.materialise(["visits"])
        waits.append((copies._failed["visits"].again(6 * 3600) - building.clock.now).total_seconds() / 60)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 180, 180]


@pytest.mark.parametrize("harm", ["damaged", "gone"])
async def test_a_copy_that_cannot_be_read_is_given_up(building: Building, harm: str) -> None:
    building.agent.materialise(["visits"])
    (file,) = building.files
    if harm == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[4:400] = bytes(396)
        file.write_bytes(content)
    async with building.asks() as ask:
        with pytest.raises(CityError):
            await ask.rows(SQL)
    await until(lambda: "at" not in building.copy)
    assert await building.count() == 90


async def test_whatever_goes_wrong_once_copies_are_looked_after(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = building.agent._copies
    with monkeypatch.context() as patched:
        patched.setattr(SqliteSource, "scan", lambda *_: 1 / 0)
        assert "log" in building.agent.materialise(["visits"])["why"]["visits"]
        patched.setattr(copies, "_settle", lambda: 1 / 0)
        copies._woken.set()
        await until(lambda: not copies._woken.is_set())
    assert building.agent.materialise(["visits"])["why"] == {}
    building.agent.materialise(["visits"], drop=True)
    await until(lambda: building.files == [])


async def test_nothing_is_copied_after_hours(building: Building) -> None:
    building.house.write(limits={"hours": "08:00-15:00", "timezone": "UTC"})
    building.agent.reload()
    building.agent.materialise(["visits"])
    assert await building.count() == 90
    building.clock.forward(hours=5)
    building.change("DELETE FROM visits WHERE NO >= 80")
    building.agent.refresh()
    building.agent._copies._look_round()
    assert building.copy["rows"] == 90
    building.clock.forward(hours=16)
    assert await building.count() == 80


def test_a_folder_above_named_like_a_partition_changes_nothing(tmp_path: Path) -> None:
    for name in ("ward=p9", "id=7"):
        building = Building(tmp_path / name)
        building.agent.materialise(["visits"])
        rows = pa.Table.from_batches(list(building.rows()))
        assert sorted(set(rows["ward"].to_pylist())) == ["p0", "p1", "p2"]
        assert sorted(rows["id"].to_pylist()) == list(range(90))
        building.agent.close()


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


class Slow:
    """A source that stops in the middle of the reading of one relation; stubborn: whatever it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, relation: str = "visits", stubborn: bool = False) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        whole = SqliteSource.scan

        def scan(source: SqliteSource, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
            if scan.query_id != f"materialise_{relation}":
                yield from whole(source, scan, cancel)
                return
            self.begun.set()
            yield pa.RecordBatch.from_pylist([], scan.schema)
            while not self.over.wait(0.01):
                if not stubborn:
                    cancel.check()
            yield from whole(source, scan, Cancel())

        monkeypatch.setattr(SqliteSource, "scan", scan)


@pytest.mark.parametrize("end", ["drop", "policy", "pause", "close"])
@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_copy_in_the_making_is_given_up(
    building: Building, monkeypatch: pytest.MonkeyPatch, end: str, stubborn: bool
) -> None:
    slow = Slow(monkeypatch, stubborn=stubborn)
    making = asyncio.create_task(asyncio.to_thread(building.agent.materialise, ["visits"]))
    await until(slow.begun.is_set)
    begun = time.monotonic()
    if end == "drop":
        building.agent.materialise(["visits"], True)
    elif end == "policy":
        building.write(materialise=None)
    elif end == "pause":
        building.agent.pause()
    else:
        building.agent._copies.close()
    assert time.monotonic() - begun < 15, "nobody waits for a source that does not stop"
    assert "given up" in (await making)["why"]["visits"]
    slow.over.set()
    await until(lambda: building.files == [])


async def test_what_ends_does_not_wait_for_a_copy_in_the_making(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"table": "visits", "columns": COLUMNS, "materialise": "6h"}
    grants = [{**LIN, "relation": name} for name in ("visits", "stays")]
    building.house.write(relations={"visits": spec, "stays": spec}, grants=grants)
    building.agent.reload()
    building.agent.materialise(["visits"])
    building.change("DELETE FROM visits WHERE NO >= 80")
    slow = Slow(monkeypatch, "stays")
    making = asyncio.create_task(asyncio.to_thread(building.agent.materialise, ["stays"]))
    await until(slow.begun.is_set)
    building.agent.materialise(["visits"], drop=True)
    assert await building.count() == 80
    await until(lambda: not [path for path in building.files if path.suffix == ".parquet"])
    slow.over.set()
    assert (await making)["why"] == {}
    building.house.write(relations={"stays": spec}, grants=grants[1:])
    building.agent.reload()
    building.house.write(relations={"visits": spec, "stays": spec}, grants=grants)
    building.agent.reload()
    assert await building.count() == 80


@pytest.mark.parametrize("text", ["6", "six hours", "10s", "40d", "-6h"])
def test_a_time_that_is_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    house = House(tmp_path, Building._policy(materialise=text), {"visits": ("NO INTEGER, ward TEXT, name TEXT", [])})
    with pytest.raises(PolicyError, match="materialise"):
        house.open()
