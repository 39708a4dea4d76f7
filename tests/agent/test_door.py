"""The agent's door: who gets in, what they may learn, and that unknown and ungranted are one thing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CityError, Outcome, UserError
from catalog.exchange import KEYS_TABLE
from catalog.http import ASGITransport, AsyncClient
from catalog.identity import sign_request
from catalog.keys import SigningKey
from catalog.ledger import Ledger, LedgerError, read_ledger
from connectors.agent.refusals import ALONE, PEERS, SECONDS, Refusals
from connectors.agent.server import create_app, create_broken_app, create_owner_app
from connectors.agent.service import Agent
from tests.agent.conftest import PEOPLE_DDL, POLICY, USAGE_DDL
from tests.agent.house import Cut, House, at, read_answer, tuples

COUNT = "SELECT count(*) AS c0 FROM water.main.usage AS t"


async def status(house: House, agent: Agent, token: str, key: SigningKey | None = None, **headers: str) -> Any:
    async with AsyncClient(transport=ASGITransport(create_app(agent)), base_url="http://agent") as http:
        signed = sign_request(key or house.gateway, "GET", "/v1/relations", token=token)
        return await http.get("/v1/relations", headers={"Authorization": f"Bearer {token}", **signed, **headers})


async def test_only_a_token_of_the_pinned_issuer_for_this_agent_gets_in(house: House, agent: Agent) -> None:
    good = house.token("lin", "mass-balance")
    assert (await status(house, agent, good)).status_code == 200
    now = int(time.time())
    bad = [
        house.token("lin", "mass-balance", aud="gateway"),
        house.token("lin", "mass-balance", aud="agent:market"),
        house.token("lin", "mass-balance", iss="http://other"),
        house.token("lin", "mass-balance", exp=now - 60, iat=now - 120),
        house.token("lin", "mass-balance", exp=now + 3600),
        house.token("lin", "statistics"),
        good[:-4] + "AAAA",
        "",
    ]
    house.idp, kept = SigningKey.generate(), house.idp
    bad.append(house.token("lin", "mass-balance"))
    house.idp = kept
    for token in bad:
        refused = await status(house, agent, token)
        assert (refused.status_code, refused.json()["outcome"]) == (401, "AUTH")


async def test_a_stolen_token_without_the_gateways_key_is_worthless(house: House, agent: Agent) -> None:
    token = house.token("lin", "mass-balance")
    assert (await status(house, agent, token, key=SigningKey.generate())).status_code == 401


async def test_a_signed_question_cannot_be_given_to_another_user(house: House, agent: Agent) -> None:
    mine, other = house.token("lin", "mass-balance"), house.token("mei", "inspection")
    async with AsyncClient(transport=ASGITransport(create_app(agent)), base_url="http://agent") as http:
        signed = sign_request(house.gateway, "GET", "/v1/relations", token=mine)
        swapped = await http.get("/v1/relations", headers={"Authorization": f"Bearer {other}", **signed})
        honest = await http.get("/v1/relations", headers={"Authorization": f"Bearer {mine}", **signed})
    assert (swapped.status_code, honest.status_code) == (401, 200)


async def test_nobody_without_a_token_can_make_the_agent_read(house: House, agent: Agent) -> None:
    """The body is asked for once it is known who sends it."""
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for part in range(4):
            read.append(part)
            yield b"x" * 1_000_000

    good = house.token("lin", "mass-balance")
    async with AsyncClient(transport=ASGITransport(create_app(agent)), base_url="http://agent") as http:
        for token in ("", "forged", house.token("lin", "mass-balance", aud="agent:market"), good):
            signed = sign_request(house.gateway, "POST", "/v1/fragment", b"", token=token)
            headers = {"Authorization": f"Bearer {token}", **signed}
            assert (await http.post("/v1/fragment", content=body(), headers=headers)).status_code == 401
            assert read == ([0, 1, 2, 3] if token == good else [])


async def test_refusals_of_strangers_are_all_on_record_and_do_not_fill_it(tmp_path: Path) -> None:
    tables = {"people": (PEOPLE_DDL, []), "usage": (USAGE_DDL, [])}
    house = House(tmp_path, POLICY, tables)
    agent = house.open()
    app = create_app(agent)
    for peer in [("10.0.0.7", 1)] * 150 + [("10.0.0.8", 1)] * 50 + [(f"10.1.0.{n}", 1) for n in range(100)]:
        async with AsyncClient(transport=ASGITransport(app, client=peer), base_url="http://agent") as http:
            assert (await http.get("/v1/relations", headers={"Authorization": "Bearer x"})).status_code == 401
            assert (await http.get("/nowhere")).status_code == 404
    async with house.client("lin", "mass-balance", agent) as ask:
        await ask.refusal("SELECT t.x AS c0 FROM water.main.nothing AS t")
    agent.close()
    records = list(read_ledger(tmp_path / "state" / "ledger.jsonl"))
    alone = [r for r in records if r["kind"] == "refusal"]
    counted = [r for r in records if r["kind"] == "refusals"]
    strangers = [r for r in alone if r["sub"] == ""]
    assert len(strangers) + sum(r["count"] for r in counted) == 600
    assert all(sum(r["rules"].values()) == sum(r["peers"].values()) == r["count"] for r in counted)
    assert {r["peer"] for r in strangers} >= {"10.0.0.7"}
    assert [r["sub"] for r in alone if r["sub"]] == ["lin"]
    intervals = len(counted) + 1
    assert len(strangers) <= ALONE * intervals
    assert all(len(r["peers"]) <= PEERS + 1 for r in counted)
    assert b"Bearer" not in (tmp_path / "state" / "ledger.jsonl").read_bytes()


def test_what_was_counted_is_written_when_its_interval_is_over(tmp_path: Path) -> None:
    ledger, now = Ledger(tmp_path / "l.jsonl", SigningKey.generate()), 0.0
    refusals = Refusals(ledger, lambda: now)
    error = UserError("no", Outcome.AUTH, rule="token")

    def kinds() -> list[str]:
        return [r["kind"] for r in ledger.records()]

    for _ in range(ALONE + 5):
        refusals.record(error, "/v1/relations", "10.0.0.7")
    assert kinds() == ["refusal"] * ALONE
    refusals.flush()
    assert kinds() == ["refusal"] * ALONE
    now = SECONDS
    refusals.flush()
    assert kinds() == [*["refusal"] * ALONE, "refusals"]
    assert list(ledger.records())[-1]["peers"] == {"10.0.0.7": 5}
    refusals.record(error, "", "10.0.0.8")
    refusals.close()
    assert kinds()[ALONE:] == ["refusals", "refusal"]
    ledger.close()


async def test_a_web_page_cannot_press_the_owners_switch(agent: Agent) -> None:
    async with AsyncClient(transport=ASGITransport(create_owner_app(agent)), base_url="http://127.0.0.1") as http:
        page = await http.post("/owner/pause", headers={"Origin": "http://evil.example"})
        rebound = await http.post("/owner/pause", headers={"Host": "evil.example"})
        assert (page.status_code, rebound.status_code) == (403, 403)
        assert (await http.post("/owner/pause")).status_code == 200
        assert (await http.post("/owner/resume")).status_code == 200


async def test_a_request_is_answered_once(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        body = ask.fragment(COUNT)
        signed = sign_request(house.gateway, "POST", "/v1/fragment", body, token=ask.token)
        headers = {"Authorization": f"Bearer {ask.token}", **signed}
        first = await ask.http.post("/v1/fragment", content=body, headers=headers)
        second = await ask.http.post("/v1/fragment", content=body, headers=headers)
        changed = await ask.http.post("/v1/fragment", content=body.replace(b"usage", b"people"), headers=headers)
    assert (first.status_code, second.status_code, changed.status_code) == (200, 401, 401)


async def test_ungranted_and_unknown_relations_are_told_alike(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        ungranted = await ask.refusal("SELECT t.id AS c0 FROM water.main.secret AS t")
        unknown = await ask.refusal("SELECT t.id AS c0 FROM water.main.sekret AS t")
    assert ungranted.to_dict() == {**unknown.to_dict(), "message": unknown.message.replace("sekret", "secret")}
    assert ungranted.outcome is Outcome.NOT_AVAILABLE
    assert ungranted.trino.name == "TABLE_NOT_FOUND"


async def test_suggestions_come_from_what_i_may_see(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        assert (await ask.refusal("SELECT 1 AS c0 FROM water.main.usag AS t")).hint == "Did you mean usage?"
        assert "Did you mean" not in (await ask.refusal("SELECT 1 AS c0 FROM water.main.secre AS t")).hint


async def test_another_of_my_purposes_is_named(house: House, agent: Agent) -> None:
    async with house.client("mei", "statistics", agent) as ask:
        refused = await ask.refusal(COUNT)
        assert refused.outcome is Outcome.PURPOSE
        assert "mass-balance" in refused.hint
        assert (await ask.relations())["other_purposes"] == {"people": ["mass-balance"], "usage": ["mass-balance"]}
    async with house.client("sun", "audit", agent) as ask:
        assert (await ask.refusal(COUNT)).outcome is Outcome.NOT_AVAILABLE


async def test_the_catalogue_shows_masked_types_and_neither_filters_nor_raw_names(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        found = await ask.relations()
    assert [r["name"] for r in found["relations"]] == ["people", "usage"]
    people = {c["name"]: c for c in found["relations"][0]["columns"]}
    assert (people["org_no"]["type"], people["org_no"]["mask"]) == ("varchar(32)", "pseudonym(city)")
    assert people["org_no"]["linkage"] == {"purpose": "mass-balance", "group": "city", "epoch": ""}
    assert (people["born"]["type"], people["seen"]["type"]) == ("date", "date")
    assert people["note"]["mask"] == "constant"
    assert found["relations"][0]["filtered"] is True
    assert "hidden" not in str(found)
    assert "withheld" not in str(found)


async def test_pseudonyms_differ_by_purpose(house: House) -> None:
    both = dict(POLICY["grants"][0], purposes=["mass-balance", "statistics"])
    house = House(house.folder.parent / f"{house.folder.name}_two", {**POLICY, "grants": [both]}, {
        "people": ("id INTEGER, org_no TEXT, hidden INTEGER", [(1, "910001", 0), (2, " ９10001", 0), (3, "910002", 0)]),
    })  # fmt: skip
    house.write(relations={"people": {"table": "people", "columns": {"id": "bigint", "org_no": "varchar"}}},
                grants=[{**both, "masks": {"org_no": "pseudonym(city)"}}])  # fmt: skip
    agent = house.open()
    answers = {}
    for sub, purpose in (("lin", "mass-balance"), ("bi", "statistics")):
        async with house.client(sub, purpose, agent) as ask:
            answers[purpose] = [
                r[0] for r in tuples(await ask.rows("SELECT t.org_no AS c0 FROM people AS t ORDER BY t.id"))
            ]
    agent.close()
    one, two = answers.values()
    assert one[0] == one[1] != one[2]
    assert not set(one) & set(two)


async def test_bind_keys_select_rows_and_are_typed(house: House, agent: Agent) -> None:
    counted = "SELECT t.org_no AS c0, count(*) AS c1 FROM water.main.usage AS t WHERE t.org_no IN ({}) GROUP BY 1"
    sql = counted.format(f'SELECT k FROM "{KEYS_TABLE}"')
    plain = counted.format("'910001', '910002'")
    masked = f'SELECT t.id AS c0 FROM water.main.people AS t WHERE t.org_no IN (SELECT k FROM "{KEYS_TABLE}")'
    async with house.client("lin", "mass-balance", agent) as ask:
        assert sorted(tuples(await ask.rows(sql, keys=["910001", "910002", "x"]))) == sorted(
            tuples(await ask.rows(plain))
        )
        assert (await ask.rows(masked, keys=["910001"])).num_rows == 0
        tokens = tuples(
            await ask.rows("SELECT DISTINCT t.org_no AS c0 FROM water.main.people AS t WHERE t.org_no IS NOT NULL")
        )
        assert (await ask.rows(masked, keys=[tokens[0][0]])).num_rows > 0
        assert (await ask.refusal(sql)).rule == "keys"
        assert (await ask.refusal(sql, keys=[1, 2])).trino.name == "TYPE_MISMATCH"


async def test_a_dry_run_decides_and_reads_nothing(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        table = await ask.rows("SELECT t.born AS c0, t.income AS c1 FROM water.main.people AS t", dry_run=True)
        assert (table.num_rows, [str(f.type) for f in table.schema]) == (0, ["date32[day]", "int32"])
        assert (
            await ask.refusal("SELECT 1 AS c0 FROM water.main.nothing AS t", dry_run=True)
        ).outcome is Outcome.NOT_AVAILABLE


async def test_a_cut_answer_is_seen(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        response = await ask.send(
            "POST", "/v1/fragment", ask.fragment("SELECT t.org_no AS c0 FROM water.main.usage AS t")
        )
    whole, end = read_answer(response.content)
    assert whole.num_rows == end.rows == 600
    for size in (len(response.content) - 1 - i * 97 for i in range(1, 20)):
        with pytest.raises(Cut):
            read_answer(response.content[:size])


async def test_errors_of_values_come_with_constant_texts(house: House, agent: Agent) -> None:
    cases = {
        "SELECT 1 / (t.litres - t.litres) AS c0 FROM water.main.usage AS t": "DIVISION_BY_ZERO",
        "SELECT CAST(t.unit AS bigint) AS c0 FROM water.main.usage AS t": "INVALID_CAST_ARGUMENT",
        "SELECT t.litres * 9223372036854775807 AS c0 FROM usage AS t WHERE t.litres > 1": "NUMERIC_VALUE_OUT_OF_RANGE",
        "SELECT (SELECT t.unit FROM water.main.usage AS t) AS c0": "SUBQUERY_MULTIPLE_ROWS",
        "SELECT t.unit + 1 AS c0 FROM water.main.usage AS t": "TYPE_MISMATCH",
    }
    async with house.client("lin", "mass-balance", agent) as ask:
        for sql, name in cases.items():
            refused = await ask.refusal(sql)
            assert refused.trino.name == name
            assert "'L'" not in str(refused)


async def test_the_owner_pauses_and_reads_who_asked(house: House, agent: Agent) -> None:
    async with AsyncClient(transport=ASGITransport(create_owner_app(agent)), base_url="http://127.0.0.1") as owner:
        async with house.client("lin", "mass-balance", agent) as ask:
            assert (await owner.post("/owner/pause")).json()["paused"] is True
            refused = await ask.refusal(COUNT)
            assert (refused.outcome, refused.rule) == (Outcome.CLOSED, "breaker")
            assert (await owner.post("/owner/resume")).json()["paused"] is False
            await ask.rows(COUNT)
            (house.folder / "state" / "PAUSED").touch()
            assert (await ask.refusal(COUNT)).outcome is Outcome.CLOSED
            (house.folder / "state" / "PAUSED").unlink()
        records = (await owner.get("/owner/ledger")).json()["records"]
        assert [r["kind"] for r in records][-6:] == ["pause", "refusal", "resume", "begin", "end", "refusal"]
        assert (await owner.get("/owner/status")).json()["sources"] == {"main": "ok"}
        assert (await owner.post("/owner/refresh")).json() == {"refreshed": True}


async def test_the_owner_is_told_in_words_that_a_record_cannot_be_written(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise LedgerError("No space left on device")

    monkeypatch.setattr(agent.ledger, "append", full)
    async with AsyncClient(transport=ASGITransport(create_owner_app(agent)), base_url="http://127.0.0.1") as owner:
        answer = await owner.post("/owner/pause")
        agent.breaker.resume()
    assert answer.status_code == 500
    assert "cannot write its ledger" in answer.json()["error"]["message"]


async def test_a_changed_policy_is_taken_and_a_broken_one_closes_the_agent(tmp_path: Path) -> None:
    house = House(
        tmp_path,
        POLICY,
        {
            "people": ("id INTEGER", []),
            "usage": ("org_no TEXT, district_code TEXT, month TEXT, unit TEXT, qty TEXT, litres INTEGER", []),
        },
    )
    house.write(relations={"usage": POLICY["relations"]["usage"]}, grants=[POLICY["grants"][1]])
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        await ask.rows(COUNT)
        house.write(grants=[{**POLICY["grants"][1], "mode": "maskd"}])
        assert (await ask.refusal(COUNT)).outcome is Outcome.CLOSED
        assert "mode" in agent.status()["policy_fault"]
        house.write(grants=[])
        assert (await ask.refusal(COUNT)).outcome is Outcome.NOT_AVAILABLE
        assert agent.status()["policy_fault"] == ""
    agent.close()


async def test_an_agent_without_a_valid_policy_refuses_everything() -> None:
    async with AsyncClient(
        transport=ASGITransport(create_broken_app("line 7: a secret")), base_url="http://agent"
    ) as http:
        response = await http.get("/v1/relations")
    assert (response.status_code, response.json()["outcome"]) == (503, "CLOSED")
    assert "line 7" not in response.text


async def test_opening_hours_are_local(tmp_path: Path) -> None:
    house = House(
        tmp_path,
        POLICY,
        {
            "people": ("id INTEGER", []),
            "usage": ("org_no TEXT, district_code TEXT, month TEXT, unit TEXT, qty TEXT, litres INTEGER", []),
        },
    )
    house.write(relations={"usage": POLICY["relations"]["usage"]}, grants=[POLICY["grants"][1]],
                limits={"hours": "08:00-18:00", "timezone": "Asia/Shanghai"})  # fmt: skip
    now = at("2026-03-02T09:59:59+00:00")
    agent = house.open(lambda: now)
    async with house.client("lin", "mass-balance", agent) as ask:
        await ask.rows(COUNT)
        now = at("2026-03-02T10:00:00+00:00")
        refused = await ask.refusal(COUNT)
    agent.close()
    assert (refused.outcome, refused.rule) == (Outcome.CLOSED, "opening hours")
    assert "08:00-18:00" in str(refused)


async def test_messages_that_are_no_fragment(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        for body in (
            b"",
            b"{}",
            b'{"sql": 1}',
            b'{"query_id": "q", "fragment_id": "f", "sql": "SELECT 1", "native": true}',
        ):
            response = await ask.send("POST", "/v1/fragment", body)
            assert CityError.from_dict(response.json()).outcome is Outcome.SYNTAX
        assert (await ask.send("POST", "/v1/fragment", b"x" * 5_000_000)).status_code == 413
        assert (await ask.http.get("/healthz")).json() == {"department": "water", "status": "ok"}
        assert "atoll_agent_fragments_total" in (await ask.http.get("/metrics")).text
        assert (await ask.http.get("/v1/keys")).json()["receipt"]["kid"] == agent.receipt_key.kid
        head = (await ask.send("GET", "/v1/ledger/head")).json()
        assert head["hash"] == agent.head().hash
