"""The cost shield over real HTTP: caps, queue, cancel, a reader who leaves, the breaker, a grant that ends, bombs."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import uvicorn

from catalog.errors import CityError, Outcome
from catalog.http import AsyncClient
from catalog.identity import sign_request
from connectors.agent.budget import FairQueue
from connectors.agent.ledger import read_ledger
from connectors.agent.server import create_app
from connectors.agent.service import Agent
from connectors.base import Cancel, Capabilities, NativeScan, Source, SourceError, SourceTable
from tests.agent.house import Ask, House, read_answer

SQL = "SELECT t.n AS c0 FROM water.main.numbers AS t"
BATCH = 1000


class Tap(Source):
    """A source whose flow the test controls: `batches` at most, and after `stall_after` it waits for `open`."""

    kind = "tap"
    dialect = "sqlite"

    def __init__(self) -> None:
        self.batches = 10
        self.stall_after = 10**9
        self.open = threading.Event()
        self.running = 0
        self.most = 0
        self.fail = False
        self._lock = threading.Lock()

    def tables(self) -> list[SourceTable]:
        return []

    def capabilities(self) -> Capabilities:
        return Capabilities(predicates={})

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            for i in range(self.batches):
                if i == self.stall_after:
                    while not self.open.wait(0.02):
                        cancel.check()
                if self.fail and i == self.batches - 1:
                    raise SourceError("secret cell 4711 in table payroll")
                yield pa.record_batch([pa.array(range(i * BATCH, (i + 1) * BATCH), pa.int64())], schema=scan.schema)
        finally:
            with self._lock:
                self.running -= 1

    def close(self) -> None:
        self.open.set()


def house_with(folder: Path, **limits: Any) -> House:
    policy = {
        "department": "water",
        "relations": {"numbers": {"table": "numbers", "columns": {"n": "bigint"}}},
        "grants": [{"id": "n", "relation": "numbers", "purposes": ["mass-balance"], "mode": "masked"}],
        "limits": {"concurrent": 2, "queue": 4, "seconds": 20, **limits},
    }
    return House(folder, policy, {"numbers": ("n INTEGER", [])})


@asynccontextmanager
async def serving(house: House, tap: Tap) -> AsyncIterator[Any]:
    """A real server on a free port; yields a function that makes clients."""
    agent = house.open()
    agent._sources["main"].close()
    agent._sources["main"] = tap
    server = uvicorn.Server(uvicorn.Config(create_app(agent), port=0, log_level="error"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    clients: list[AsyncClient] = []

    def client(sub: str = "lin") -> Ask:
        http = AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        clients.append(http)
        return Ask(house, http, house.token(sub, "mass-balance", purposes=["mass-balance"]), agent)

    try:
        yield client, agent
    finally:
        tap.open.set()
        for http in clients:
            await http.aclose()
        server.should_exit = True
        await task
        agent.close()


def signed(ask: Ask, body: bytes) -> dict[str, str]:
    headers = sign_request(ask.house.gateway, "POST", "/v1/fragment", body, token=ask.token)
    return {"Authorization": f"Bearer {ask.token}", **headers}


async def until(condition: Any, seconds: float = 5) -> float:
    """Wait for a condition; how long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it did not happen in time"
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


def ends(house: House) -> list[str]:
    return [r["outcome"] for r in read_ledger(house.folder / "state" / "ledger.jsonl") if r["kind"] == "end"]


async def test_a_long_answer_streams_and_arrives_whole(tmp_path: Path) -> None:
    tap = Tap()
    tap.batches = 300
    async with serving(house_with(tmp_path), tap) as (client, agent):
        table = await client().rows(SQL)
        assert table.column("c0").to_pylist() == list(range(300_000))
        await until(lambda: agent.running == 0)


async def test_the_first_rows_arrive_before_the_last_are_read(tmp_path: Path) -> None:
    tap = Tap()
    tap.batches, tap.stall_after = 40, 30
    async with serving(house_with(tmp_path), tap) as (client, _):
        ask = client()
        body = ask.fragment(SQL)
        headers = signed(ask, body)
        async with ask.http.stream("POST", "/v1/fragment", content=body, headers=headers) as response:
            received = bytearray()
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > 1_000:
                    tap.open.set()
        assert read_answer(bytes(received))[0].num_rows == 40_000


async def test_too_many_rows_end_with_an_error_and_are_no_short_answer(tmp_path: Path) -> None:
    tap = Tap()
    house = house_with(tmp_path, rows=5000)
    async with serving(house, tap) as (client, _):
        ask = client()
        response = await ask.send("POST", "/v1/fragment", ask.fragment(SQL))
        _, end = read_answer(response.content)
        assert end.outcome == "LIMIT"
        assert end.receipt is None
        assert end.error is not None
        assert (end.error["error_name"], end.error["rule"]) == ("EXCEEDED_SCAN_LIMIT", "rows")
        tap.batches = 5
        assert (await ask.rows(SQL)).num_rows == 5000
    assert ends(house) == ["LIMIT", "OK"]


async def test_bytes_and_seconds_are_capped(tmp_path: Path) -> None:
    tap = Tap()
    tap.batches = 100
    async with serving(house_with(tmp_path / "a", bytes=20_000), tap) as (client, _):
        refused = await client().refusal(SQL)
        assert (refused.outcome, refused.rule) == (Outcome.LIMIT, "bytes")
    tap = Tap()
    tap.stall_after = 5
    async with serving(house_with(tmp_path / "b", seconds=1), tap) as (client, _):
        begun = time.monotonic()
        refused = await client().refusal(SQL)
        assert time.monotonic() - begun < 3
        assert (refused.outcome, refused.trino.name) == (Outcome.LIMIT, "EXCEEDED_TIME_LIMIT")
    tap = Tap()
    tap.stall_after = 5
    async with serving(house_with(tmp_path / "c"), tap) as (client, _):
        assert (await client().refusal(SQL, timeout=1)).rule == "seconds"


async def test_a_canceled_fragment_ends_within_a_second(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    async with serving(house, tap) as (client, agent):
        ask, other = client(), client("bi")
        body = ask.fragment(SQL)
        running = asyncio.create_task(ask.send("POST", "/v1/fragment", body))
        await until(lambda: tap.running == 1 and agent.running == 1)
        name = f"f{id(ask)}_1"
        assert (await other.send("DELETE", f"/v1/fragment/{name}")).json() == {"canceled": False}
        assert (await ask.send("DELETE", f"/v1/fragment/{name}")).json() == {"canceled": True}
        assert await until(lambda: tap.running == 0) < 1
        _, end = read_answer((await running).content)
        assert end.outcome == "CANCELED"
        assert (await ask.send("DELETE", f"/v1/fragment/{name}")).json() == {"canceled": False}
    assert ends(house) == ["CANCELED"]


async def test_a_reader_who_leaves_ends_the_work_within_a_second(tmp_path: Path) -> None:
    tap = Tap()
    tap.batches, tap.stall_after = 400, 200
    house = house_with(tmp_path)
    async with serving(house, tap) as (client, agent):
        ask = client()
        body = ask.fragment(SQL)
        headers = signed(ask, body)
        async with ask.http.stream("POST", "/v1/fragment", content=body, headers=headers) as response:
            async for _ in response.aiter_bytes():
                break
        assert await until(lambda: tap.running == 0 and agent.running == 0) < 1
        assert ends(house) == ["CANCELED"]
        tap.open.set()
        assert (await client().rows(SQL)).num_rows == 400_000


async def test_the_breaker_stops_running_work_within_two_seconds(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    async with serving(house, tap) as (client, agent):
        running = asyncio.create_task(client().refusal(SQL))
        await until(lambda: tap.running == 1 and agent.running == 1)
        (tmp_path / "state" / "PAUSED").touch()
        assert await until(lambda: tap.running == 0) < 2
        assert (await running).outcome is Outcome.CLOSED


async def test_a_grant_that_ends_stops_its_query(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    house.write(grants=[{**house.policy["grants"][0], "until": soon}])
    async with serving(house, tap) as (client, _):
        assert (await client().refusal(SQL)).outcome is Outcome.GRANT_ENDED
        assert (await client().refusal(SQL)).outcome is Outcome.NOT_AVAILABLE


async def test_a_revoked_grant_stops_its_query(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    async with serving(house, tap) as (client, agent):
        running = asyncio.create_task(client().refusal(SQL))
        await until(lambda: tap.running == 1 and agent.running == 1)
        house.write(grants=[])
        assert (await asyncio.wait_for(running, 3)).outcome is Outcome.GRANT_ENDED


async def test_fragments_beyond_the_places_wait_their_turn_and_then_there_is_no_room(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    async with serving(house_with(tmp_path, concurrent=2, queue=2), tap) as (client, _):
        running = [asyncio.create_task(client().rows(SQL)) for _ in range(4)]
        await until(lambda: tap.running == 2)
        await asyncio.sleep(0.2)
        refused = await client().refusal("not even SQL (")
        assert (refused.outcome, refused.retry_after) == (Outcome.BUSY, 2.0)
        tap.open.set()
        assert [(await r).num_rows for r in running] == [10_000] * 4
        assert tap.most == 2


async def test_a_sources_own_words_never_leave(tmp_path: Path) -> None:
    tap = Tap()
    tap.fail = True
    house = house_with(tmp_path)
    async with serving(house, tap) as (client, _):
        ask = client()
        response = await ask.send("POST", "/v1/fragment", ask.fragment(SQL))
        assert b"4711" not in response.content
        assert b"payroll" not in response.content
        _, end = read_answer(response.content)
        assert end.error is not None
        assert CityError.from_dict(end.error).outcome is Outcome.EXECUTION
    assert ends(house) == ["EXECUTION"]


async def test_the_queue_takes_users_in_turn() -> None:
    queue, order = FairQueue(1, 10, "water"), []
    await queue.acquire("ana")

    async def work(name: str) -> None:
        async with queue.place(name.split("-")[0]):
            order.append(name)

    names = ["ana-1", "ana-2", "ana-3", "ben-1", "cy-1", "ben-2"]
    tasks = [asyncio.create_task(work(n)) for n in names]
    await asyncio.sleep(0)
    leaving = asyncio.create_task(work("ana-0"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    queue.release()
    await asyncio.gather(*tasks)
    assert order == ["ana-1", "ben-1", "cy-1", "ana-2", "ben-2", "ana-3"]
    await asyncio.wait_for(queue.acquire("late"), 1)


async def test_a_stalled_source_is_left_when_it_does_not_answer_a_cancel(tmp_path: Path) -> None:
    """The reader polls: a source that ignores its cancel delays nobody."""

    class Deaf(Tap):
        def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
            self.open.wait(10)
            yield from super().scan(scan, cancel)

    tap = Deaf()
    async with serving(house_with(tmp_path, seconds=1), tap) as (client, _):
        begun = time.monotonic()
        assert (await client().refusal(SQL)).rule == "seconds"
        assert time.monotonic() - begun < 5
        tap.open.set()


# ---- ten million rows, and bombs -------------------------------------------------------------------------------

MB = 1 << 20
RESIDUAL = "SELECT t.n + 1 AS c0 FROM water.main.numbers AS t"


def resident() -> int:
    """Bytes of memory of this process: agent, server and client."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def revoked(house: House, agent: Agent) -> None:
    house.write(grants=[])


def masked(house: House, agent: Agent) -> None:
    house.write(grants=[{**house.policy["grants"][0], "masks": {"n": "null"}}])


def paused(house: House, agent: Agent) -> None:
    agent.pause()


def expiring(house: House, agent: Agent) -> None:
    """Nothing happens but that time passes: `until` was set before the query began."""


@pytest.mark.parametrize("sql", [RESIDUAL, SQL], ids=["through an engine", "columns only"])
@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (revoked, Outcome.GRANT_ENDED),
        (masked, Outcome.GRANT_ENDED),
        (expiring, Outcome.GRANT_ENDED),
        (paused, Outcome.CLOSED),
    ],
)
async def test_ten_million_rows_stop_in_mid_stream_and_fill_no_memory(
    tmp_path: Path, sql: str, change: Any, outcome: Outcome
) -> None:
    tap = Tap()
    tap.batches = 10_000
    house = house_with(tmp_path, rows=20_000_000)
    async with serving(house, tap) as (client, agent):
        if change is expiring:
            soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
            house.write(grants=[{**house.policy["grants"][0], "until": soon}])
        ask = client()
        body = ask.fragment(sql)
        headers = signed(ask, body)
        received, before, most = bytearray(), resident(), 0
        async with ask.http.stream("POST", "/v1/fragment", content=body, headers=headers) as response:
            async for chunk in response.aiter_bytes():
                if not received:
                    change(house, agent)
                received += chunk
                most = max(most, resident())
        table, end = read_answer(bytes(received))
        assert 0 < table.num_rows < 10_000_000
        assert end.error is not None
        assert CityError.from_dict(end.error).outcome is outcome
        assert end.receipt is None
        assert most - before < 150 * MB
        await until(lambda: agent.running == 0 and tap.running == 0, 1)
    assert ends(house) == [outcome.name]


WIDE = "SELECT rpad(CAST(t.n AS varchar), 1000000, 'x') AS s FROM water.main.numbers AS t"
TWICE = "concat_ws('', " + ", ".join(["u.s"] * 60) + ")"
CTES = "WITH t0 AS (SELECT n FROM water.main.numbers)" + "".join(
    f", t{i} AS (SELECT a.n FROM t{i - 1} AS a CROSS JOIN t{i - 1} AS b)" for i in range(1, 41)
)
DOOR_BOMBS = [
    (f"SELECT length(u.s) AS c0 FROM ({WIDE}) AS u", Outcome.LIMIT, "memory"),
    (f"SELECT length({TWICE}) AS c0 FROM (SELECT {TWICE} AS s FROM ({WIDE}) AS u) AS u", Outcome.LIMIT, "memory"),
    (f"SELECT array_agg(u.s || '1') AS c0 FROM ({WIDE}) AS u", Outcome.LIMIT, "memory"),
    (
        "SELECT count(*) AS c0 FROM water.main.numbers AS a CROSS JOIN water.main.numbers AS b "
        "CROSS JOIN water.main.numbers AS c WHERE a.n + b.n + c.n = -1",
        Outcome.LIMIT,
        "seconds",
    ),
    (f"{CTES} SELECT count(*) AS c0 FROM t40", Outcome.TOO_LARGE, "limits"),
]


async def timed(ask: Ask) -> float:
    """Seconds that a harmless question takes."""
    begun = time.monotonic()
    assert (await ask.rows(RESIDUAL)).num_rows == 10_000
    return time.monotonic() - begun


@pytest.mark.parametrize(("sql", "outcome", "rule"), DOOR_BOMBS)
async def test_after_a_bomb_the_next_question_is_answered_within_a_second(
    tmp_path: Path, sql: str, outcome: Outcome, rule: str
) -> None:
    """Two at once, so that every place of the agent is taken by one."""
    house = house_with(tmp_path, memory_mb=64, seconds=1 if rule == "seconds" else 60)
    async with serving(house, Tap()) as (client, _):
        usual = await timed(client())
        before = resident()
        refused = await asyncio.gather(client().refusal(sql), client("bi2").refusal(sql))
        assert await timed(client()) < 1 + 3 * usual  # a busy machine is no fault of the bomb
        assert [(r.outcome, r.rule) for r in refused] == [(outcome, rule)] * 2
        if rule == "memory":
            assert {r.trino.name for r in refused} == {"EXCEEDED_LOCAL_MEMORY_LIMIT"}
        assert resident() - before < 100 * MB


def test_the_agent_opens_no_source_that_its_policy_does_not_name(tmp_path: Path) -> None:
    house = house_with(tmp_path)
    house.write(sources={"main": {"kind": "sqlite", "path": "nowhere.sqlite"}})
    with pytest.raises(SourceError):
        Agent.from_file(house.path)
