"""Every way to be refused, at the real doors: its outcome, Trino's error, what would be answered instead, whom to ask.

Each is asked twice: of the agent, as the gateway comes to it, and of the gateway, over REST and Trino's protocol.
And nothing in a refusal tells what may not be seen from what does not exist.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from catalog.errors import CityError, Outcome, UserError
from catalog.http import Client
from catalog.identity import registration_bytes
from catalog.keys import SigningKey
from gateway.registry import Registry
from gateway.settings import GatewaySettings, IdentitySettings
from tests.agent.city import DESK, METERING, OFFICE, City, open_city
from tests.agent.house import Ask
from tests.agent.test_limits import Tap, until

ROWS = {"purposes": ["mass-balance"], "mode": "masked"}
PEOPLE = {"id": "bigint", "name": "varchar"}
GRANTS: list[dict[str, Any]] = [
    {"id": "people", "relation": "people", **ROWS},
    {"id": "flow", "relation": "flow", **ROWS},
    {"id": "once", "relation": "once", **ROWS, "per_day": 1},
    {"id": "once-more", "relation": "once_more", **ROWS, "per_day": 1},
    {"id": "capped", "relation": "capped", **ROWS, "max_rows": 2},
    {"id": "pay", "relation": "pay", "purposes": ["statistics"], "mode": "aggregate", "min_group": 3,
     "entity": "person", "dimensions": ["ward"], "measures": ["amount"]},
    {"id": "secret", "relation": "secret", "purposes": ["audit"], "mode": "masked", "users": ["zhao"]},
]  # fmt: skip
POLICY: dict[str, Any] = {
    "department": "water",
    "sources": {"main": {"kind": "sqlite", "path": "silo.sqlite"}, "slow": {"kind": "sqlite", "path": "silo.sqlite"}},
    "relations": {
        **{name: {"table": "people", "columns": PEOPLE} for name in ("people", "once", "once_more", "capped")},
        "secret": {"table": "people", "columns": PEOPLE, "listed": True, "comment": "Kept back."},
        "flow": {"source": "slow", "table": "flow", "columns": {"n": "bigint"}},
        "pay": {"table": "pay", "columns": {"person": "varchar", "ward": "varchar", "amount": "bigint"}},
    },
    "grants": GRANTS,
    "limits": {"concurrent": 1, "queue": 0, "seconds": 20, "memory_mb": 64},
}
WARDS = [(f"p{i}", ward, 10) for ward, count in (("north", 8), ("south", 5), ("west", 2)) for i in range(count)]
TABLES = {
    "people": ("id INTEGER, name TEXT", [(i, f"x{i}") for i in range(9)]),
    "flow": ("n INTEGER", []),
    "pay": ("person TEXT, ward TEXT, amount INTEGER", [(f"{p}-{w}", w, a) for p, w, a in WARDS]),
}
BIG = "SELECT rpad(CAST(t.id AS varchar), 1000000, 'x') AS s FROM water.main.people AS t"
WIDE = "concat_ws('', " + ", ".join(["u.s"] * 60) + ")"
MEMORY = f"SELECT length({WIDE}) AS c0 FROM (SELECT {WIDE} AS s FROM ({BIG}) AS u) AS u"


@dataclass(frozen=True)
class Refusal:
    """One statement and how it ends. at: whose word it is at the gateway, if not the agent's: `desk` or a contact."""

    outcome: Outcome
    error: str
    sql: str
    who: str = "lin"
    purpose: str = "mass-balance"
    at: str = METERING

    def __str__(self) -> str:
        return f"{self.outcome.name}-{self.error}"


FROM = "FROM water.main.people AS t"
STATEMENTS = [
    Refusal(Outcome.SYNTAX, "SYNTAX_ERROR", "SELECT FROM WHERE", at=DESK),
    Refusal(Outcome.SYNTAX, "SYNTAX_ERROR", "SELECT 1 AS c0; SELECT 2 AS c0", at=DESK),
    Refusal(Outcome.STATEMENT, "NOT_SUPPORTED", "DELETE FROM water.main.people", at=DESK),
    Refusal(Outcome.NODE, "NOT_SUPPORTED", f"SELECT t.id AS c0 {FROM} TABLESAMPLE BERNOULLI (10)", at=DESK),
    Refusal(Outcome.FUNCTION, "FUNCTION_NOT_FOUND", f"SELECT nosuch(t.id) AS c0 {FROM}", at=DESK),
    Refusal(
        Outcome.TOO_LARGE, "QUERY_TEXT_TOO_LARGE", f"SELECT {'(' * 300}t.id{')' * 300} AS c0 {FROM}", at=DESK
    ),
    Refusal(Outcome.NOT_AVAILABLE, "TABLE_NOT_FOUND", "SELECT t.id AS c0 FROM water.main.secret AS t"),
    Refusal(Outcome.NOT_AVAILABLE, "TABLE_NOT_FOUND", "SELECT t.id AS c0 FROM water.main.nosuch AS t"),
    Refusal(Outcome.PURPOSE, "PERMISSION_DENIED", "SELECT count(*) AS c0 FROM water.main.pay AS t", who="mei"),
    Refusal(
        Outcome.MODE, "PERMISSION_DENIED", "SELECT t.person AS c0 FROM water.main.pay AS t", "bi", "statistics"
    ),
    Refusal(Outcome.LIMIT, "EXCEEDED_SCAN_LIMIT", "SELECT t.id AS c0 FROM water.main.capped AS t"),
    Refusal(Outcome.LIMIT, "EXCEEDED_LOCAL_MEMORY_LIMIT", MEMORY),
    Refusal(Outcome.EXECUTION, "DIVISION_BY_ZERO", f"SELECT 1 / (t.id - t.id) AS c0 {FROM}"),
    Refusal(Outcome.EXECUTION, "INVALID_CAST_ARGUMENT", f"SELECT CAST(t.name AS bigint) AS c0 {FROM}"),
    Refusal(Outcome.EXECUTION, "NUMERIC_VALUE_OUT_OF_RANGE", f"SELECT (t.id + 1) * 9223372036854775807 AS c0 {FROM}"),
    Refusal(Outcome.EXECUTION, "INVALID_FUNCTION_ARGUMENT", f"SELECT from_hex(t.name) AS c0 {FROM}"),
]  # fmt: skip
COUNT = "SELECT count(*) AS c0 FROM water.main.pay AS t"
BUT_ONE = f"{COUNT} WHERE t.ward <> 'west'"
FLOW = "SELECT t.n AS c0 FROM water.main.flow AS t"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with open_city(tmp_path_factory.mktemp("city"), POLICY, TABLES) as opened:
        yield opened


@pytest.fixture
def tap(city: City) -> Iterator[Tap]:
    """A source that stalls after five batches, until it is opened."""
    tap = Tap()
    tap.stall_after = 5
    city.agent._sources["slow"].close()
    city.agent._sources["slow"] = tap
    yield tap
    tap.open.set()


WALKED = {refusal.outcome for refusal in STATEMENTS}
Test = TypeVar("Test", bound=Callable[..., Any])


def of(*outcomes: Outcome) -> Callable[[Test], Test]:
    """Say which outcomes a test is about: `test_every_outcome_has_its_test` counts them."""

    def note(test: Test) -> Test:
        WALKED.update(outcomes)
        return test

    return note


def judge(told: dict[str, Any], outcome: Outcome, error: str, contact: str) -> None:
    """What a refusal tells, in the form that crosses the trust line and that REST gives."""
    assert (told["outcome"], told["error_name"]) == (outcome.name, error), told
    assert told["contact"] == contact
    assert told["hint"] or outcome is Outcome.CANCELED, told
    assert told["who"]


# ---- what was said, over the gateway's two protocols and EXPLAIN -----------------------------------------------


def by_rest(http: Client, sql: str, purpose: str, **more: Any) -> dict[str, Any]:
    answer = http.post("/api/query", json={"sql": sql, "purpose": purpose, **more})
    assert answer.status_code >= 400, answer.text
    told: dict[str, Any] = answer.json()["error"]
    return told


def by_trino(http: Client, sql: str, purpose: str) -> dict[str, Any]:
    page = http.post("/v1/statement", content=sql, headers={"X-Trino-Session": f"purpose={purpose}"}).json()
    while "nextUri" in page:
        page = http.get(page["nextUri"]).json()
    told: dict[str, Any] = page["error"]
    return told


def judge_gateway(city: City, refusal: Refusal) -> None:
    """Asked over REST and over Trino's protocol, and of EXPLAIN if it is refused before anything runs."""
    with city.client(refusal.who) as http:
        told = by_rest(http, refusal.sql, refusal.purpose)
        judge(told, refusal.outcome, refusal.error, refusal.at)
        page = by_trino(http, refusal.sql, refusal.purpose)
        assert page["errorName"] == refusal.error
        where = f"line {told['location']['line']}:{told['location']['column']}: " if told.get("location") else ""
        assert page["message"] == f"{where}{told['message']} {told['hint']} Contact: {refusal.at}"
        explained = http.post("/api/explain", json={"sql": refusal.sql, "purpose": refusal.purpose})
        if explained.status_code != 200:
            assert explained.json()["error"] == told


# ---- statements ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", STATEMENTS, ids=str)
async def test_the_agent_says_whom_to_ask(city: City, refusal: Refusal) -> None:
    async with city.door(refusal.who, refusal.purpose) as ask:
        told = await ask.refusal(refusal.sql)
    judge(told.to_dict(), refusal.outcome, refusal.error, METERING)
    assert told.who == "water"


@pytest.mark.parametrize("refusal", STATEMENTS, ids=str)
def test_the_gateway_says_whom_to_ask(city: City, refusal: Refusal) -> None:
    judge_gateway(city, refusal)


async def test_a_column_that_may_not_be_seen(city: City) -> None:
    sql = f"SELECT t.nope AS c0 {FROM}"
    async with city.door("lin", "mass-balance") as ask:
        told = (await ask.refusal(sql)).to_dict()
        assert (told["error_name"], told["contact"]) == ("COLUMN_NOT_FOUND", METERING)
    with city.client("lin") as http:
        told = by_rest(http, sql, "mass-balance")
    assert (told["error_name"], told["contact"]) == ("COLUMN_NOT_FOUND", DESK)


# ---- what takes more than a statement --------------------------------------------------------------------------


@of(Outcome.DISCLOSURE)
async def test_disclosure(city: City) -> None:
    async with city.door("bi", "statistics") as ask:
        await ask.rows(COUNT)
        judge((await ask.refusal(BUT_ONE)).to_dict(), Outcome.DISCLOSURE, "PERMISSION_DENIED", METERING)
    judge_gateway(
        city, Refusal(Outcome.DISCLOSURE, "PERMISSION_DENIED", BUT_ONE.replace(" AS c0", ""), "bi", "statistics")
    )


@of(Outcome.BUDGET)
async def test_budget(city: City) -> None:
    sql = "SELECT t.id AS c0 FROM water.main.once AS t"
    async with city.door("lin", "mass-balance") as ask:
        await ask.rows(sql)
        told = (await ask.refusal(sql)).to_dict()
    judge(told, Outcome.BUDGET, "GENERIC_INSUFFICIENT_RESOURCES", METERING)
    assert "renews" in told["hint"]
    judge_gateway(city, Refusal(Outcome.BUDGET, "GENERIC_INSUFFICIENT_RESOURCES", sql))


async def stalled(ask: Ask, tap: Tap) -> asyncio.Task[CityError]:
    """A question whose source waits."""
    running = asyncio.create_task(ask.refusal(FLOW))
    await until(lambda: tap.running == 1)
    return running


@of(Outcome.BUSY, Outcome.CANCELED)
async def test_busy_and_canceled(city: City, tap: Tap) -> None:
    async with city.door("lin", "mass-balance") as ask, city.door("mei", "mass-balance") as other:
        running = await stalled(ask, tap)
        judge((await other.refusal(f"SELECT t.id AS c0 {FROM}")).to_dict(), Outcome.BUSY, "QUERY_QUEUE_FULL", METERING)
        busy = Refusal(Outcome.BUSY, "QUERY_QUEUE_FULL", f"SELECT t.id AS c0 {FROM}")
        await asyncio.to_thread(judge_gateway, city, busy)
        await ask.send("DELETE", f"/v1/fragment/f{id(ask)}_1")
        judge((await running).to_dict(), Outcome.CANCELED, "USER_CANCELED", METERING)


def test_canceled_at_the_gateway(city: City, tap: Tap) -> None:
    with city.client("lin") as http:
        query = http.post("/api/query", json={"sql": FLOW, "purpose": "mass-balance", "async": True}).json()["query_id"]
        asyncio.run(until(lambda: tap.running == 1))
        assert http.delete(f"/api/query/{query}").status_code == 204
        told = http.get(f"/api/query/{query}/result").json()["error"]
        assert http.get(f"/api/query/{query}/progress").json()["error"] == told
        asyncio.run(until(lambda: city.agent.running == 0))
    judge(told, Outcome.CANCELED, "USER_CANCELED", DESK)


async def test_seconds(city: City, tap: Tap) -> None:
    async with city.door("lin", "mass-balance") as ask:
        told = (await ask.refusal(FLOW, timeout=1)).to_dict()
        judge(told, Outcome.LIMIT, "EXCEEDED_TIME_LIMIT", METERING)


async def test_a_source_that_fails(city: City, tap: Tap) -> None:
    tap.fail, tap.stall_after = True, 10**9
    async with city.door("lin", "mass-balance") as ask:
        judge((await ask.refusal(FLOW)).to_dict(), Outcome.EXECUTION, "GENERIC_INTERNAL_ERROR", METERING)
    await asyncio.to_thread(judge_gateway, city, Refusal(Outcome.EXECUTION, "GENERIC_INTERNAL_ERROR", FLOW))


@of(Outcome.GRANT_ENDED)
async def test_a_grant_that_ends_in_the_middle(city: City, tap: Tap) -> None:
    async with city.door("lin", "mass-balance") as ask:
        running = await stalled(ask, tap)
        city.house.write(grants=[g for g in GRANTS if g["id"] != "flow"])
        try:
            judge((await running).to_dict(), Outcome.GRANT_ENDED, "PERMISSION_DENIED", METERING)
        finally:
            city.house.write(grants=GRANTS)


def test_a_grant_that_ends_in_the_middle_of_the_gateways_answer(city: City, tap: Tap) -> None:
    with city.client("lin") as http:
        query = http.post("/api/query", json={"sql": FLOW, "purpose": "mass-balance", "async": True}).json()["query_id"]
        asyncio.run(until(lambda: tap.running == 1))
        city.house.write(grants=[g for g in GRANTS if g["id"] != "flow"])
        try:
            told = http.get(f"/api/query/{query}/result").json()["error"]
        finally:
            city.house.write(grants=GRANTS)
    judge(told, Outcome.GRANT_ENDED, "PERMISSION_DENIED", METERING)


@of(Outcome.CLOSED)
async def test_closed(city: City) -> None:
    city.agent.pause()
    try:
        async with city.door("lin", "mass-balance") as ask:
            told = (await ask.refusal(f"SELECT t.id AS c0 {FROM}")).to_dict()
            judge(told, Outcome.CLOSED, "CATALOG_UNAVAILABLE", METERING)
        closed = Refusal(Outcome.CLOSED, "CATALOG_UNAVAILABLE", f"SELECT t.id AS c0 {FROM}")
        await asyncio.to_thread(judge_gateway, city, closed)
    finally:
        city.agent.resume()


@of(Outcome.DOWN)
def test_down_is_the_gateways_word_and_names_the_departments_contact(city: City) -> None:
    judge_gateway(city, Refusal(Outcome.DOWN, "CATALOG_UNAVAILABLE", "SELECT x FROM tax.main.firm", at=OFFICE))


@of(Outcome.AUTH)
async def test_auth(city: City) -> None:
    async with city.door("lin", "mass-balance", aud="agent:another") as ask:
        judge((await ask.refusal(f"SELECT t.id AS c0 {FROM}")).to_dict(), Outcome.AUTH, "PERMISSION_DENIED", METERING)
    with Client(base_url=city.url, headers={"Authorization": "Bearer no.such.token"}) as http:
        answer = http.post("/api/query", json={"sql": "SELECT 1"})
        assert answer.status_code == 401
        judge(answer.json()["error"], Outcome.AUTH, "PERMISSION_DENIED", DESK)
        plain = http.post("/v1/statement", content="SELECT 1")
        assert (plain.status_code, plain.text.endswith(f"Contact: {DESK}")) == (401, True)


async def test_cells_that_are_absent_are_no_error(city: City) -> None:
    sql = "SELECT t.ward AS c0, count(*) AS c1 FROM water.main.pay AS t GROUP BY t.ward"
    async with city.door("bi", "statistics") as ask:
        await ask.rows(sql)
        assert ask.end is not None
        assert "absent" in ask.end.warnings[0]
    with city.client("bi") as http:
        answer = http.post("/api/query", json={"sql": sql, "purpose": "statistics"}).json()
    assert "absent" in answer["warnings"][0]


def test_every_outcome_has_its_test() -> None:
    """Of all that an analyst can see; a name that does not fit (SEMANTIC) is a statement's own fault."""
    assert set(Outcome) - {Outcome.OK, Outcome.SEMANTIC} == WALKED


# ---- what may not be seen, and what does not exist ---------------------------------------------------------------

PAIRS = [
    ("SELECT t.id AS c0 FROM water.main.{} AS t", "secret", "nosuch"),
    ("SELECT c0 FROM (SELECT x.id AS c0 FROM water.main.{} AS x) AS t", "secret", "nosuch"),
    ("SELECT t.id AS c0 FROM tax.main.{} AS t", "secret", "nosuch"),
    ("SELECT t.id AS c0 FROM fire.main.{} AS t", "secret", "nosuch"),
    ("DESCRIBE water.main.{}", "secret", "nosuch"),
    ("SELECT verify('water.main.{}', '1')", "secret", "nosuch"),
]


@pytest.mark.parametrize(("text", "there", "nowhere"), PAIRS)
def test_the_gateway_tells_the_two_alike_to_the_byte(city: City, text: str, there: str, nowhere: str) -> None:
    def told(http: Client, name: str) -> list[bytes]:
        sql = text.format(name)
        body = {"sql": sql, "purpose": "mass-balance"}
        answers = [http.post("/api/query", json=body), http.post("/api/explain", json=body)]
        page = repr(by_trino(http, sql, "mass-balance")).encode()
        return [*(f"{a.status_code} {a.headers.get('content-type')} ".encode() + a.content for a in answers), page]

    with city.client("lin") as http:
        first, second = told(http, there), told(http, nowhere)
    assert first == [part.replace(nowhere.encode(), there.encode()) for part in second]


async def test_the_agent_tells_the_two_alike_to_the_byte(city: City) -> None:
    async with city.door("lin", "mass-balance") as ask:
        sql = "SELECT t.id AS c0 FROM water.main.{} AS t"
        there = await ask.send("POST", "/v1/fragment", ask.fragment(sql.format("secret")))
        nowhere = await ask.send("POST", "/v1/fragment", ask.fragment(sql.format("nosuch")))
    assert there.content == nowhere.content.replace(b"nosuch", b"secret")
    for name in ("date", "content-length"):
        there.headers.pop(name), nowhere.headers.pop(name)
    assert (there.status_code, there.headers) == (nowhere.status_code, nowhere.headers)


def test_a_department_that_is_not_shown_has_no_contact_to_show(city: City) -> None:
    with city.client("lin") as http:
        for name in ("fire", "nosuch"):
            assert by_rest(http, f"SELECT 1 FROM {name}.main.x", "mass-balance")["contact"] == DESK


# ---- a department that names nobody, and one that cannot say -------------------------------------------------------


def test_without_a_contact_the_custodian_or_the_owner_is_named(tmp_path: Path) -> None:
    from catalog.policy import load
    from tests.agent.house import House

    house = House(tmp_path, {**POLICY, "contact": "", "custodian": "Wu Jing"}, TABLES)
    assert load(house.path).answers == "Wu Jing"
    house.write(custodian="")
    assert load(house.path).answers == "the owner of water"


def test_a_stranger_cannot_put_another_contact_in_a_departments_name(tmp_path: Path) -> None:
    """Whoever could would be written to by everybody who is refused."""
    mine, other = SigningKey.generate(), SigningKey.generate()
    identity = IdentitySettings(issuer="i", jwks=tmp_path / "jwks", token_url="http://127.0.0.1:1/token")
    registry = Registry(GatewaySettings(state=tmp_path, contact=DESK, identity=identity))
    at = int(time.time()) - 5

    def body(contact: str, key: SigningKey, when: int) -> dict[str, Any]:
        url = "http://127.0.0.1:7400"
        signed = registration_bytes("water", url, mine.public_jwk, [], when, contact)
        return {"name": "water", "url": url, "key": mine.public_jwk, "contact": contact, "at": when,
                "proof": key.sign(signed)}  # fmt: skip

    registry.register(body(METERING, mine, at))
    assert registry.contact("water") == DESK  # nobody lists it yet
    registry.set_state("water", "approved")
    assert registry.contact("water") == METERING
    forged = body("evil@elsewhere.example", other, at + 1)
    for wrong in (
        forged,
        {**forged, "proof": ""},
        {**body(METERING, mine, at + 1), "contact": "evil@elsewhere.example"},
    ):
        with pytest.raises(UserError, match="another key, address, title or contact"):
            registry.register(wrong)
    assert registry.contact("water") == METERING
    registry.register(body("new@water.example", mine, at + 2))
    assert registry.contact("water") == "new@water.example"


def test_the_verdicts_of_a_dry_run_name_whom_to_ask(city: City) -> None:
    city.agent.pause()
    try:
        with city.client("lin") as http:
            body = {"sql": f"SELECT t.id AS c0 {FROM}", "purpose": "mass-balance", "dry_run": True}
            answer = http.post("/api/query", json=body).json()
    finally:
        city.agent.resume()
    assert f"Contact: {METERING}" in answer["text"]
    assert answer["fragments"][0]["verdict"]["contact"] == METERING


def test_the_command_shows_whom_to_ask(city: City) -> None:
    from typer.testing import CliRunner

    from atoll.cli import app

    done = CliRunner().invoke(
        app, ["query", "SELECT id FROM water.main.secret", "--url", city.url, "--token", city.token("lin")]
    )
    assert done.exit_code == 1
    assert f"  ask   {METERING}" in done.stderr
