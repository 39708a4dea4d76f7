"""Every way into the agent is the same door: token, signature, replay, breaker, hours, and a line in the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from catalog.errors import DepartmentError, Outcome
from catalog.exchange import Fragment
from catalog.identity import TokenVerifier, sign_request
from catalog.keys import SigningKey
from connectors.agent.server import _Threads, _watch
from connectors.agent.service import Agent
from tests.agent.house import ISSUER, Ask, House, at

POLICY: dict[str, Any] = {
    "department": "water",
    "relations": {"usage": {"table": "usage", "columns": {"litres": "bigint"}}},
    "grants": [{"relation": "usage", "purposes": ["mass-balance", "statistics"], "mode": "masked"}],
}
TABLES = {"usage": ("litres INTEGER", [(1,), (2,)])}
DOORS = [("GET", "/v1/relations"), ("GET", "/v1/ledger/head"), ("POST", "/v1/fragment"), ("DELETE", "/v1/fragment/f1")]
READING = DOORS[:3]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, POLICY, TABLES)


@pytest.fixture
def agent(house: House) -> Iterator[Agent]:
    opened = house.open()
    yield opened
    opened.close()


def body(ask: Ask, method: str) -> bytes:
    return ask.fragment("SELECT t.litres AS c0 FROM water.main.usage AS t") if method == "POST" else b""


def records(agent: Agent, kind: str) -> list[dict[str, Any]]:
    return [r for r in agent.ledger.records() if r["kind"] == kind]


@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_each_door_asks_for_a_token_of_this_agent_and_its_own_key_once(
    house: House, agent: Agent, method: str, path: str
) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        good = ask.token
        content = body(ask, method)
        signed = sign_request(house.gateway, method, path, content, token=good)
        headers = {"Authorization": f"Bearer {good}", **signed}
        assert (await ask.http.request(method, path, content=content, headers=headers)).status_code == 200
        assert (await ask.http.request(method, path, content=content, headers=headers)).status_code == 401

        wrong = {
            "none": "",
            "another agent": house.token("lin", "mass-balance", aud="agent:market"),
            "the gateway": house.token("lin", "mass-balance", aud="gateway"),
            "another purpose": house.token("lin", "statistics"),
            "another key": house.token("lin", "mass-balance", cnf={"jwk": SigningKey.generate().public_jwk}),
            "no key": house.token("lin", "mass-balance", cnf=None),
        }
        for what, token in wrong.items():
            ask.token = token
            refused = await ask.send(method, path, body(ask, method))
            assert (refused.status_code, refused.json()["outcome"]) == (401, "AUTH"), what
    assert len([r for r in records(agent, "refusal") if r["outcome"] == "AUTH"]) == 1 + len(wrong)


@pytest.mark.parametrize(("method", "path"), READING)
async def test_a_pause_closes_every_door_that_reads(house: House, agent: Agent, method: str, path: str) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        agent.pause()
        refused = await ask.send(method, path, body(ask, method))
        assert (refused.status_code, refused.json()["outcome"]) == (503, "CLOSED")
        told = records(agent, "refusal")[-1]
        assert (told["path"], told["sub"], told["outcome"]) == (path, "lin", Outcome.CLOSED.name)
        assert (await ask.send("DELETE", "/v1/fragment/f1")).status_code == 200
        agent.resume()
        assert (await ask.send(method, path, body(ask, method))).status_code == 200


@pytest.mark.parametrize(("method", "path"), READING)
async def test_hours_close_every_door_that_reads(tmp_path: Path, method: str, path: str) -> None:
    house = House(tmp_path, {**POLICY, "limits": {"hours": "08:00-18:00", "timezone": "Asia/Shanghai"}}, TABLES)
    now = at("2026-03-02T10:00:00+00:00")
    agent = house.open(lambda: now)
    async with house.client("lin", "mass-balance", agent) as ask:
        refused = await ask.send(method, path, body(ask, method))
        assert (refused.status_code, refused.json()["rule"]) == (503, "opening hours")
        now = at("2026-03-02T09:00:00+00:00")
        assert (await ask.send(method, path, body(ask, method))).status_code == 200
    agent.close()


async def test_a_look_is_recorded_at_first_sight_and_after_a_change(house: House, agent: Agent) -> None:
    def looks() -> list[tuple[str, str, str]]:
        return [(r["sub"], r["purpose"], r["path"]) for r in records(agent, "look")]

    async with house.client("lin", "mass-balance", agent) as ask:
        for _ in range(3):
            await ask.relations()
        assert looks() == [("lin", "mass-balance", "/v1/relations")]
        ask.token = house.token("mei", "statistics")
        await ask.relations()
        await ask.send("GET", "/v1/ledger/head")
        assert looks()[1:] == [("mei", "statistics", "/v1/relations"), ("mei", "statistics", "/v1/ledger/head")]
        house.write(title="Water Works")
        await ask.relations()
    assert len(looks()) == 4
    assert len({r["policy"] for r in records(agent, "look")}) == 2


async def test_what_runs_for_a_gateway_stops_within_two_seconds_of_its_revocation(house: House) -> None:
    listed = house.folder / "gateways.json"
    listed.write_bytes(orjson.dumps({"gateways": {"gateway": [house.gateway.public_jwk]}}))
    house.write(identity={"issuer": ISSUER, "jwks": "file:jwks.json", "gateways": "file:gateways.json"})
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        stream = ask.fragment("SELECT t.litres AS c0 FROM water.main.usage AS t")
        run = agent.start(TokenVerifier(ISSUER, "agent:water", house.folder / "jwks.json").verify(ask.token),
                          Fragment.model_validate_json(stream))  # fmt: skip
        watcher = asyncio.create_task(_watch(agent, agent.pins(), _Threads(1)))
        await asyncio.sleep(0)
        started = time.monotonic()
        listed.write_bytes(orjson.dumps({"gateways": {"gateway": [{**house.gateway.public_jwk, "revoked": 1}]}}))
        while run.stop.reason is None and time.monotonic() < started + 2:
            await asyncio.sleep(0.02)
        watcher.cancel()
        assert run.stop.reason is not None
        assert (run.stop.reason.outcome, run.stop.reason.rule) == (Outcome.AUTH, "pinned gateways")
        agent.finish(run)
        assert (await ask.send("GET", "/v1/relations")).status_code == 401
    agent.close()


async def test_what_a_pause_overtakes_on_its_way_in_does_not_begin(house: House, agent: Agent) -> None:
    """The door is asked first; by the time that a fragment begins its owner may have said no."""
    async with house.client("lin", "mass-balance", agent) as ask:
        principal = TokenVerifier(ISSUER, "agent:water", house.folder / "jwks.json").verify(ask.token)
        asked = Fragment.model_validate_json(ask.fragment("SELECT t.litres AS c0 FROM water.main.usage AS t"))
        agent.check_open()
        agent.pause()
        with pytest.raises(DepartmentError) as refused:
            agent.start(principal, asked)
    assert refused.value.outcome is Outcome.CLOSED
    assert agent.running == 0


async def test_what_cannot_be_recorded_is_not_shown(
    house: House, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        with monkeypatch.context() as broken:
            broken.setattr(agent.ledger, "append", _fails)
            refused = await ask.send("GET", "/v1/relations")
            assert refused.status_code == 500
            assert "usage" not in refused.text
        assert [r["name"] for r in (await ask.relations())["relations"]] == ["usage"]


def _fails(*_: Any, **__: Any) -> None:
    from catalog.ledger import LedgerError

    raise LedgerError("no space")
