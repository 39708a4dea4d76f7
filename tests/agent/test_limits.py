"""The cost shield over real HTTP: caps, queue, cancel, a reader who leaves, the breaker, a grant that ends, bombs."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import orjson
import pyarrow as pa
import pytest
import uvicorn

from catalog import keys, tls
from catalog.errors import CityError, DepartmentError, Outcome
from catalog.http import AsyncClient
from catalog.identity import sign_request
from catalog.ledger import read_ledger
from connectors.agent import child, server
from connectors.agent.budget import FairQueue
from connectors.agent.execute import Stop
from connectors.agent.server import create_app
from connectors.agent.service import Agent
from connectors.base import Cancel, Capabilities, NativeScan, Source, SourceError, SourceTable
from tests.agent.house import ISSUER, Ask, House, read_answer
from tests.attack.client import Analyst
from tests.attack.world import POLICY, open_world

SQL = "SELECT t.n AS c0 FROM water.main.numbers AS t"
BATCH = 1000


class Tap(Source):
    """A source whose flow the test controls: `batches` at most, and after `stall_after` it waits for `open`.

    pace: seconds between two batches.
    """

    kind = "tap"
    dialect = "sqlite"

    def __init__(self) -> None:
        self.batches = 10
        self.pace = 0.0
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
                if self.pace:
                    cancel.wait(self.pace)
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
async def serving(house: House, tap: Tap, certificate: bytes = b"") -> AsyncIterator[Any]:
    """A real server on a free port; yields a function that makes clients.

    certificate: which (DER) every connection is said to have shown, as if TLS ended here.
    """
    agent = house.open()
    agent._sources["main"].close()
    agent._sources["main"] = tap
    app = create_app(agent, certificates=bool(certificate))

    async def shown(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {"tls": {"client_cert": certificate}}}, receive, send)

    server = uvicorn.Server(uvicorn.Config(shown, port=0, log_level="error"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    clients: list[AsyncClient] = []

    def client(sub: str = "lin") -> Ask:
        http = AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False)
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


@asynccontextmanager
async def all_preparing(folder: Path) -> AsyncIterator[Any]:
    """More fragments than an event loop has threads, all waiting for their source's first row."""
    tap = Tap()
    tap.stall_after = 0
    house = house_with(folder, concurrent=12)
    async with serving(house, tap) as (client, _):
        asked = [asyncio.create_task(client().refusal(SQL)) for _ in range(12)]
        await until(lambda: tap.running == 12, 20)
        await asyncio.sleep(0.6)  # the watch has looked meanwhile
        yield house, tap, client, asked


async def test_the_breaker_works_while_every_fragment_prepares(tmp_path: Path) -> None:
    async with all_preparing(tmp_path) as (_, tap, _, asked):
        (tmp_path / "state" / "PAUSED").touch()
        assert await until(lambda: tap.running == 0) < 2
        assert {(await a).outcome for a in asked} == {Outcome.CLOSED}


async def test_a_revocation_works_while_every_fragment_prepares(tmp_path: Path) -> None:
    async with all_preparing(tmp_path) as (house, tap, _, asked):
        house.write(grants=[])
        assert await until(lambda: tap.running == 0) < 2
        assert {(await a).outcome for a in asked} == {Outcome.GRANT_ENDED}


async def test_a_stranger_is_refused_at_once_while_every_fragment_prepares(tmp_path: Path) -> None:
    async with all_preparing(tmp_path) as (_, tap, client, _):
        ask = client()
        ask.token = "forged"
        begun = time.monotonic()
        assert (await ask.refusal(SQL)).outcome is Outcome.AUTH
        assert time.monotonic() - begun < 1
        assert tap.running == 12
        tap.open.set()


def piped(file: Path) -> None:
    """Put a pipe where a file was: whoever opens it to read waits for a writer."""
    os.mkfifo(file.with_name("pipe"))
    os.replace(file.with_name("pipe"), file)


def endless(file: Path) -> None:
    """A file of a terabyte, all of it holes."""
    file.write_bytes(b"")
    os.truncate(file, 1 << 40)


@pytest.mark.parametrize("put", [piped, endless])
@pytest.mark.parametrize("name", ["department.yaml", "districts.csv"])
async def test_no_file_of_the_policy_can_hold_up_the_agent(tmp_path: Path, name: str, put: Any) -> None:
    """Whoever writes it can close the agent, which stops what runs, and opens again once it is mended."""
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    lists = tmp_path / "districts.csv"
    lists.write_text("449901,city\n")
    house.write(hierarchies={"districts": "districts.csv"})
    async with serving(house, tap) as (client, agent):
        running = asyncio.create_task(client().refusal(SQL))
        await until(lambda: tap.running == 1 and agent.running == 1)
        put(tmp_path / name)
        assert await until(lambda: tap.running == 0) < 2
        assert (await running).outcome is Outcome.CLOSED
        assert name in agent.status()["policy_fault"]
        begun = time.monotonic()
        assert (await client().refusal(SQL)).rule == "policy"
        assert time.monotonic() - begun < 2
        (tmp_path / name).unlink()
        lists.write_text("449901,city\n")
        house.write()
        tap.open.set()
        assert (await client().rows(SQL)).num_rows == 10_000


async def test_a_policy_on_a_disk_that_hangs_does_not_hold_up_the_breaker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    hangs, reading = threading.Event(), threading.Event()
    async with serving(house, tap) as (client, agent):
        running = asyncio.create_task(client().refusal(SQL))
        await until(lambda: tap.running == 1 and agent.running == 1)
        read = agent._file.read

        def slow() -> Any:
            reading.set()
            hangs.wait(10)
            return read()

        monkeypatch.setattr(agent._file, "read", slow)
        house.write()
        await until(reading.is_set)
        (tmp_path / "state" / "PAUSED").touch()
        took = await until(lambda: tap.running == 0)
        hangs.set()
        assert took < 2
        assert (await running).outcome is Outcome.CLOSED


PINNED = {"issuer": ISSUER, "jwks": "file:jwks.json", "gateways": "file:gateways.json"}


@pytest.mark.parametrize("kind", ["OKP", "EC"])
@pytest.mark.parametrize("term", ["revoked", "exp"])
async def test_a_gateway_whose_key_or_certificate_ends_gets_no_more_of_what_runs(
    tmp_path: Path, kind: str, term: str
) -> None:
    """A revocation changes the list; an end that was written there before changes nothing but the time."""
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    certificates = tls.create_ring(tmp_path / "gateway.tls", "gateway")
    card = [house.gateway.public_jwk, *certificates.public()]
    shown = tls.certificate_of(card[1])
    assert shown is not None

    def pin(**terms: int) -> None:
        listed = [{**k, **terms} if k["kty"] == kind else k for k in card]
        keys.replace_file(tmp_path / "gateways.json", orjson.dumps({"gateways": {"gateway": listed}}))

    pin()
    house.write(identity=PINNED)
    async with serving(house, tap, shown) as (client, agent):
        running = asyncio.create_task(client().refusal(SQL))
        await until(lambda: tap.running == 1 and agent.running == 1)
        end = int(time.time()) + (2 if term == "exp" else 0)
        pin(**{term: end})
        begun = time.time()
        await until(lambda: tap.running == 0)
        assert end <= time.time() < max(begun, end) + 2
        refused = await asyncio.wait_for(running, 5)
        assert (refused.outcome, refused.rule) == (Outcome.AUTH, "pinned gateways")


async def test_a_grant_that_is_made_shorter_ends_its_query_then(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    grant = house.policy["grants"][0]
    house.write(grants=[{**grant, "until": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}])
    async with serving(house, tap) as (client, agent):
        running = asyncio.create_task(client().refusal(SQL))
        await until(lambda: tap.running == 1 and agent.running == 1)
        house.write(grants=[{**grant, "until": (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()}])
        await asyncio.sleep(0.7)
        assert not running.done()
        assert (await asyncio.wait_for(running, 3)).outcome is Outcome.GRANT_ENDED


async def test_a_grant_that_is_made_longer_does_not_end_when_it_would_have(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    grant, end = house.policy["grants"][0], datetime.now(UTC) + timedelta(seconds=2.5)
    house.write(grants=[{**grant, "until": end.isoformat()}])
    async with serving(house, tap) as (client, agent):
        running = asyncio.create_task(client().rows(SQL))
        await until(lambda: tap.running == 1 and agent.running == 1)
        house.write(grants=[{**grant, "until": (end + timedelta(hours=1)).isoformat()}])
        await until(lambda: datetime.now(UTC) > end + timedelta(seconds=0.3))
        tap.open.set()
        assert (await running).num_rows == 10_000


async def test_a_token_that_expired_while_its_fragment_waited_begins_nothing(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path, concurrent=1)
    async with serving(house, tap) as (client, agent):
        first = asyncio.create_task(client().rows(SQL))
        await until(lambda: tap.running == 1)
        late, now = client(), int(time.time())
        # The clocks may differ by five seconds: what is over by four is good for one second yet.
        late.token = house.token("lin", "mass-balance", iat=now - 60, exp=now - 4)
        waiting = asyncio.create_task(late.refusal(SQL))
        await until(lambda: time.time() > now + 2.1)
        assert not waiting.done()
        tap.open.set()
        assert (await waiting).outcome is Outcome.AUTH
        assert (await first).num_rows == 10_000
        assert agent.running == 0


UNHEARD_OF = (*child.CONFINED, "no gravity")


def test_an_agent_that_must_be_confined_does_not_start_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = house_with(tmp_path, confined="required")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(child, "CONFINED", UNHEARD_OF)
        with pytest.raises(ValueError, match=r"limits\.confined: required.*no gravity"):
            house.open()
    # What there is on every system: the agent that did not start left nothing behind that would stop this one.
    monkeypatch.setattr(child, "CONFINED", ("no core files",))
    house.open().close()


async def test_a_policy_that_asks_for_more_than_there_is_closes_a_running_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap = Tap()
    house = house_with(tmp_path)
    async with serving(house, tap) as (client, agent):
        assert (await client().rows(RESIDUAL)).num_rows == 10_000
        monkeypatch.setattr(child, "CONFINED", UNHEARD_OF)
        house.write(limits={**house.policy["limits"], "confined": "required"})
        assert (await client().refusal(RESIDUAL)).outcome is Outcome.CLOSED
        assert "no gravity" in agent.status()["policy_fault"]


async def test_a_grant_that_ends_stops_its_query(tmp_path: Path) -> None:
    tap = Tap()
    tap.stall_after = 5
    house = house_with(tmp_path)
    async with serving(house, tap) as (client, _):
        soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        house.write(grants=[{**house.policy["grants"][0], "until": soon}])
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


@pytest.mark.parametrize("user", ["ana", "ben", "cy", "dan"])
@pytest.mark.parametrize("gone", [0, 1, 2, 3], ids="after {} turns".format)
async def test_whoever_finds_the_queue_full_is_told_their_number(user: str, gone: int) -> None:
    """The number at which one more of theirs would have run, had there been room."""
    queue, order = FairQueue(1, 6, "water"), []
    await queue.acquire("zoe")

    async def work(name: str) -> None:
        await queue.acquire(name.split("-")[0])
        order.append(name)

    names = ["ana-1", "ana-2", "ana-3", "ben-1", "cy-1", "ben-2"]
    tasks = [asyncio.create_task(work(n)) for n in names]
    await asyncio.sleep(0)
    for _ in range(gone):
        queue.release()
        await asyncio.sleep(0)
    assert queue.waiting == 6 - gone
    number = queue.position(user)
    queue._length = queue.waiting
    with pytest.raises(DepartmentError, match=f"{6 - gone} wait already") as busy:
        await queue.acquire(user)
    assert f"number {number} of those" in busy.value.hint
    queue._length += 1
    tasks.append(asyncio.create_task(work(f"{user}-late")))
    await asyncio.sleep(0)
    for _ in range(7 - gone):
        queue.release()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order[gone:].index(f"{user}-late") + 1 == number


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
    tap.batches, tap.pace = 10_000, 0.001
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


# ---- what stops ten million rows in mid-stream: closing time, caps, a reader that hangs ------------------------

FULL = os.environ.get("ATTACK") == "all"
LONG = 10_000 if FULL else 2_000
"""Batches of a thousand rows: ten million of them in `make attack`."""


@asynccontextmanager
async def streaming(ask: Ask, sql: str = SQL) -> AsyncIterator[Any]:
    """The chunks of an answer as they come."""
    body = ask.fragment(sql)
    headers = signed(ask, body)
    async with ask.http.stream("POST", "/v1/fragment", content=body, headers=headers) as response:
        yield response.aiter_bytes()


class Torrent(Tap):
    """Rows that no packing makes smaller: they do not fit into what the system keeps for a reader that hangs.

    given: batches so far.
    """

    given = 0

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        rng = np.random.default_rng(1)
        for batch in super().scan(scan, cancel):
            self.given += 1
            yield pa.record_batch([pa.array(rng.integers(0, 2**62, len(batch)))], schema=batch.schema)

    async def is_stuck(self) -> None:
        """Wait until nobody takes a batch any more."""
        seen = -1
        while seen != self.given or not self.running:
            seen = self.given
            await asyncio.sleep(0.3)
        assert self.given < self.batches


class Clock:
    """Noon in Shanghai, and then whatever the test says."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 4, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize("sql", [RESIDUAL, SQL] if FULL else [SQL], ids=lambda sql: "engine" if "+" in sql else "bare")
async def test_closing_time_stops_what_runs(tmp_path: Path, sql: str) -> None:
    tap, clock = Tap(), Clock()
    tap.batches, tap.pace = LONG, 0.001
    house = house_with(tmp_path, rows=20_000_000, hours="08:00-18:00", timezone="Asia/Shanghai")
    async with serving(house, tap) as (client, agent):
        agent._clock = clock
        received, before, most = bytearray(), resident(), 0
        async with streaming(client(), sql) as chunks:
            async for chunk in chunks:
                if not received:
                    clock.now += timedelta(hours=7)
                received += chunk
                most = max(most, resident())
        table, end = read_answer(bytes(received))
        assert 0 < table.num_rows < LONG * BATCH
        assert end.error is not None
        assert (end.outcome, end.error["rule"], end.receipt) == ("CLOSED", "opening hours", None)
        assert most - before < 150 * MB
        await until(lambda: agent.running == 0 and tap.running == 0, 1)
        assert (await client().refusal(sql)).outcome is Outcome.CLOSED
        clock.now += timedelta(hours=14)
        tap.batches = 10
        assert (await client().rows(sql)).num_rows == 10_000
    assert ends(house) == ["CLOSED", "OK"]


@pytest.mark.parametrize(("cap", "rule"), [({"rows": 1_500_000}, "rows"), ({"bytes": 1_000_000}, "bytes")])
async def test_a_cap_in_mid_stream_ends_with_an_error_and_fills_no_memory(
    tmp_path: Path, cap: dict[str, int], rule: str
) -> None:
    tap = Tap()
    tap.batches = LONG
    house = house_with(tmp_path, **{"rows": 20_000_000, **cap})
    async with serving(house, tap) as (client, agent):
        received, before, most = bytearray(), resident(), 0
        async with streaming(client()) as chunks:
            async for chunk in chunks:
                received += chunk
                most = max(most, resident())
        table, end = read_answer(bytes(received))
        assert 10_000 < table.num_rows <= 1_500_000
        assert end.error is not None
        assert (end.outcome, end.error["rule"], end.receipt) == ("LIMIT", rule, None)
        assert most - before < 150 * MB
        await until(lambda: agent.running == 0 and tap.running == 0, 1)
    assert ends(house) == ["LIMIT"]


async def test_a_reader_that_hangs_is_left_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds neither the source nor the place; who waited gets it."""
    monkeypatch.setattr(server, "SLOW_READER", 1.0)
    tap = Torrent()
    tap.batches = LONG
    house = house_with(tmp_path, rows=20_000_000, concurrent=1)
    async with serving(house, tap) as (client, agent):
        before = resident()
        async with streaming(client()) as chunks:
            await anext(chunks)
            tap.batches = 10  # for who comes next
            waiting = asyncio.create_task(client("bi2").rows(SQL))
            await until(lambda: ends(house)[:1] == ["CANCELED"], 6)
            assert resident() - before < 150 * MB
            assert (await asyncio.wait_for(waiting, 10)).num_rows == 10_000
            async with asyncio.timeout(20):
                # Should it read on after all, its answer ends: it does not wait for what nobody makes.
                assert [chunk async for chunk in chunks]
        await until(lambda: agent.running == 0 and tap.running == 0, 1)
    assert ends(house) == ["CANCELED", "OK"]


class Ending:
    """A run that has read its source and frees it: by itself, or because it was stopped."""

    def __init__(self, stopped: bool) -> None:
        self.stop, self.outcome, self.frames_sent = Stop(), "OK", None
        self.is_at_hand, self.is_all_here, self.is_ended = True, False, False
        self.fragment = SimpleNamespace(fragment_id="f1")
        self._stopped = stopped

    def prepare(self) -> None:
        """Nothing refuses it."""

    def frames(self, _near: bool) -> Iterator[bytes]:
        yield b"head "
        yield b"rows "
        if self._stopped:
            self.stop(DepartmentError("Closed.", Outcome.CLOSED))
        self.stop.cancel.set()
        yield b"last "
        self.is_ended = True
        yield b"end"


@pytest.mark.parametrize(("stopped", "shown"), [(False, b"head rows last end"), (True, b"")])
async def test_only_a_stop_leaves_a_reader_little_time_for_the_last_rows(
    monkeypatch: pytest.MonkeyPatch, stopped: bool, shown: bytes
) -> None:
    """A whole answer may free its source before its last rows are sent, which may wait for a slow reader as all may."""
    monkeypatch.setattr(server, "LAST_WORD", 0.1)
    monkeypatch.setattr(server, "CHUNKS", 1)
    run: Any = Ending(stopped)
    other: Any = MagicMock()
    stream = server._Stream(other, lambda: run, other, other, server._Threads(1), near=True)
    await stream.prepare()
    await until(run.stop.cancel.is_set)
    await asyncio.sleep(1)  # the reader's own pause, ten times what a stopped answer is left
    assert b"".join([chunk async for chunk in stream.chunks()]) == shown


@pytest.mark.parametrize(
    ("pieces", "ends", "sent"),
    [
        (["head ", "rows ", "end"], True, ["head rows end"]),
        (["head ", "rows ", "end"], False, ["head rows ", "end"]),
        (["head ", "rows ", "more ", "end"], True, ["head rows more ", "end"]),
        (["head ", "end"], True, ["head end"]),
        (["head ", "r" * server.AT_ONCE_BYTES, "end"], True, ["head " + "r" * server.AT_ONCE_BYTES, "end"]),
    ],
    ids=["a small answer", "its source goes on", "more than one piece", "no rows", "a large one"],
)
def test_first_rows_wait_for_the_end_only_where_it_follows_at_once(
    pieces: list[str], ends: bool, sent: list[str]
) -> None:
    found = server.joined_first(iter([piece.encode() for piece in pieces]), lambda: ends)
    assert [chunk.decode() for chunk in found] == sent


async def test_the_breaker_needs_no_gateway(tmp_path: Path) -> None:
    """The gateway that asked reads nothing any more and answers nobody: the owner's switch works all the same."""
    tap = Torrent()
    tap.batches = LONG
    house = house_with(tmp_path, rows=20_000_000)
    async with serving(house, tap) as (client, agent):
        async with streaming(client()) as chunks:
            await anext(chunks)
            await tap.is_stuck()
            (tmp_path / "state" / "PAUSED").touch()
            assert await until(lambda: tap.running == 0 and agent.running == 0) < 2
        assert ends(house) == ["CLOSED"]
        assert (await client().refusal(SQL)).outcome is Outcome.CLOSED
        agent.resume()
        tap.batches = 10
        assert (await client().rows(SQL)).num_rows == 10_000


async def test_a_queue_of_one_takes_one_and_then_there_is_no_room(tmp_path: Path) -> None:
    tap = Tap()
    batches = LONG if FULL else 200
    tap.batches, tap.stall_after = batches, batches // 2
    house = house_with(tmp_path, rows=20_000_000, concurrent=1, queue=1)
    async with serving(house, tap) as (client, agent):
        async with streaming(client()) as chunks:
            received = bytearray(await anext(chunks))
            asked = {asyncio.create_task(client(user).rows(SQL)) for user in ("bi2", "bi3")}
            done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=10)
            refused = [task.exception() for task in done]
            assert [(e.outcome, e.rule, e.retry_after) for e in refused if isinstance(e, CityError)] == [
                (Outcome.BUSY, "queue", 2.0)
            ]
            assert tap.most == 1
            tap.open.set()
            async for chunk in chunks:
                received += chunk
        table, end = read_answer(bytes(received))
        assert (table.num_rows, end.outcome) == (batches * BATCH, "OK")
        assert [(await task).num_rows for task in waiting] == [batches * BATCH]
        assert tap.most == 1
        assert (await client("bi3").rows(SQL)).num_rows == batches * BATCH
        await until(lambda: agent.running == 0)


@pytest.mark.parametrize("places", [1, 2])
def test_a_query_of_more_fragments_than_places_does_not_wait_for_itself(
    tmp_path: Path, request: pytest.FixtureRequest, places: int
) -> None:
    """Through a gateway, several at once: each department has fewer places than any of them has fragments there."""
    policy = {**POLICY, "limits": {"concurrent": places, "queue": 64}}
    arms = " UNION ALL ".join(
        f"SELECT f.title, count(*) FROM dept.main.people AS t JOIN files.main.firms AS f ON f.staff > t.grade + {i} "
        f"JOIN dept.main.places AS p ON p.n + {i} < f.staff JOIN files.main.people AS o ON o.id = t.id + {i} "
        f"WHERE t.id > {i} AND p.n >= {i} AND f.staff > {i} AND o.id < {20 - i} GROUP BY f.title"
        for i in range(3)
    )
    with open_world(tmp_path, request, ("sqlite", "files"), policy=policy) as world:
        analysts = [Analyst(world, "lin", "mass-balance") for _ in range(3)]
        plan, _, _ = analysts[0].ask(f"EXPLAIN {arms}")
        assert str(plan).count("dept") > places
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda analyst: analyst.ask(arms), analysts, timeout=60))
        for analyst in analysts:
            analyst.close()
        assert [error for _, error, _ in answers] == [""] * 3
        assert len({str(sorted(rows or [])) for rows, _, _ in answers}) == 1
        assert answers[0][0]
        for department in world.departments.values():
            begun = [r for r in read_ledger(department.house.folder / "state" / "ledger.jsonl") if r["kind"] == "begin"]
            assert len(begun) > 3 * places
