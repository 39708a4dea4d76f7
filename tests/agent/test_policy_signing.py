"""A policy is what two owners signed, whole: anything less, anything else and anything older closes the agent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from atoll.cli import app
from catalog.errors import CityError, Outcome
from catalog.keys import SigningKey
from catalog.ledger import read_ledger
from catalog.policy import PolicyError, countersigned, from_bundle, read_bundle, signed, signed_name, verify_seal
from connectors.agent.policy_file import PIN, repin
from connectors.agent.service import Agent
from tests.agent.house import House

ANA, BEN, EVE = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
SQL = "SELECT count(*) AS c0 FROM water.main.usage AS t"
VIEW = "SELECT org_no, unit FROM usage WHERE hidden = 0"
POLICY: dict[str, Any] = {
    "department": "water",
    "linkage_groups": {"city": {"root": "file:root.hex"}},
    "hierarchies": {"units": "lists/units.csv"},
    "relations": {"usage": {"view": "usage", "columns": {"org_no": "varchar", "unit": "varchar"}}},
    "grants": [{"id": "usage", "relation": "usage", "purposes": ["mass-balance"], "mode": "masked",
                "masks": {"unit": "hierarchy(units, 1)", "org_no": "pseudonym(city)"}}],
}  # fmt: skip
ROWS = [("91", "L", 0), ("92", "t", 0), ("93", "t", 1)]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A department with a view and a list, not signed yet; `owners.jwks` lies outside its folder."""
    folder = tmp_path / "water"
    (folder / "views").mkdir(parents=True)
    (folder / "lists").mkdir()
    (folder / "views" / "usage.sql").write_text(VIEW)
    (folder / "lists" / "units.csv").write_text("L,volume\nt,mass\n")
    made = House(folder, POLICY, {"usage": ("org_no TEXT, unit TEXT, hidden INTEGER", ROWS)})
    write_owners(made, ANA, BEN)
    return made


def owners(house: House) -> Path:
    return house.folder.parent / "owners.jwks"


def write_owners(house: House, *keys: SigningKey) -> None:
    owners(house).write_bytes(orjson.dumps({"keys": [k.public_jwk for k in keys]}))


def sign(house: House, *signers: SigningKey, number: int | None = None) -> None:
    """The policy as it is now, signed by each in turn."""
    target = house.folder / signed_name("department.yaml")
    for i, key in enumerate(signers):
        bundle = read_bundle(house.path)
        target.write_bytes(countersigned(bundle, "water", key) if i else signed(bundle, "water", key, number))


def start(house: House) -> Agent:
    return Agent.from_file(house.path, owners=owners(house))


def refused(house: House, **how: Any) -> PolicyError:
    with pytest.raises(PolicyError) as found:
        Agent.from_file(house.path, **({"owners": owners(house)} | how))
    return found.value


@pytest.fixture
def running(house: House) -> Iterator[Agent]:
    """An agent over policy 1, signed by both owners."""
    sign(house, ANA, BEN)
    agent = start(house)
    yield agent
    agent.close()


def ran_once(house: House) -> None:
    """Policy 1, signed by both, was in force; the agent has stopped."""
    sign(house, ANA, BEN)
    start(house).close()


def records(house: House, *kinds: str) -> list[dict[str, Any]]:
    return [r for r in read_ledger(house.folder / "state" / "ledger.jsonl") if r["kind"] in kinds]


# ---- at the start ----------------------------------------------------------------------------------------


def test_a_policy_that_both_owners_signed_is_taken_and_on_record(house: House, running: Agent) -> None:
    (begun,) = records(house, "start")
    assert begun["number"] == 1
    assert set(begun["signers"]) == set(begun["owners"]) == {ANA.kid, BEN.kid}
    assert running.status()["policy_number"] == 1


@pytest.mark.parametrize(
    ("signers", "reason"),
    [((), "unsigned"), ((ANA,), "half-signed"), ((EVE,), "signature"), ((ANA, EVE), "half-signed"), ((ANA, BEN), "")],
)
def test_less_than_two_owners_is_not_enough(house: House, signers: Sequence[SigningKey], reason: str) -> None:
    sign(house, *signers)
    if reason:
        assert refused(house).reason == reason
    else:
        start(house).close()


def test_nobody_signs_twice(house: House) -> None:
    sign(house, ANA)
    with pytest.raises(PolicyError, match="another person's"):
        sign_again(house, ANA)
    file = house.folder / "department.signed.json"
    body = orjson.loads(file.read_bytes())
    again = {**body["signatures"][0], "key": {**body["signatures"][0]["key"], "kid": BEN.kid}}
    file.write_bytes(orjson.dumps({**body, "signatures": [*body["signatures"], again]}))
    assert refused(house).reason == "half-signed"
    write_owners(house, ANA, ANA)
    assert "fewer than 2 owners" in str(refused(house))


def sign_again(house: House, key: SigningKey) -> None:
    countersigned(read_bundle(house.path), "water", key)


def test_a_second_signature_is_for_the_same_files_only(house: House) -> None:
    sign(house, ANA)
    house.write(title="Water Works")
    with pytest.raises(PolicyError, match=r"department\.yaml changed after it was signed"):
        sign_again(house, BEN)


def test_a_signature_over_another_manifest_does_not_count(house: House) -> None:
    sign(house, ANA, BEN)
    file = house.folder / "department.signed.json"
    body = orjson.loads(file.read_bytes())
    body["manifest"]["number"] = 9
    file.write_bytes(orjson.dumps(body))
    assert refused(house).reason == "signature"
    for nonsense in (b"", b"{}", b"[]", b'{"manifest": {"files": 1}, "signatures": []}'):
        file.write_bytes(nonsense)
        assert refused(house).reason == "signature"


def test_an_owner_who_left_signs_nothing_more(house: House) -> None:
    sign(house, ANA, BEN)
    bundle = read_bundle(house.path)
    keys = {ANA.kid: ANA.public_jwk, BEN.kid: {**BEN.public_jwk, "revoked": 1000}}
    with pytest.raises(PolicyError, match="only one owner signed"):
        verify_seal(bundle, "water", keys, now=2000)
    assert verify_seal(bundle, "water", keys, now=999).number == 1
    with pytest.raises(PolicyError, match="for the department 'water'"):
        verify_seal(bundle, "market", {k.kid: k.public_jwk for k in (ANA, BEN)})


CHANGES: dict[str, Callable[[Path], object]] = {
    "a view": lambda f: (f / "views/usage.sql").write_text(VIEW.replace("= 0", "< 9")),
    "a view that comes first": lambda f: (f / "views/usage.sqlite.sql").write_text(VIEW),
    "a list": lambda f: (f / "lists/units.csv").write_text("L,other\n"),
    "the pinned keys of the identity provider": lambda f: (f / "jwks.json").write_text('{"keys": []}'),
    "the root of a linkage group": lambda f: (f / "root.hex").write_text("cd" * 32),
    "a comment": lambda f: (f / "department.yaml").write_text((f / "department.yaml").read_text() + "# hm\n"),
    "a synthetic spec": lambda f: ((f / "synthetic").mkdir(), (f / "synthetic/a.yaml").write_text("a: 1")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_signatures_cover_everything_that_decides(house: House, what: str) -> None:
    sign(house, ANA, BEN)
    CHANGES[what](house.folder)
    assert refused(house).reason in ("changed", "invalid")
    assert read_bundle(house.path).digests != {}


def test_what_decides_nothing_is_not_covered(house: House) -> None:
    sign(house, ANA, BEN)
    (house.folder / "notes.txt").write_text("hello")
    (house.folder / "views" / "usage.sql~").write_text("an editor's copy")
    start(house).close()


LINKS = {
    "to itself": ("views/loop.sql", "loop.sql"),
    "through a file": ("views/through.sql", "usage.sql/x"),
    "a folder to itself": ("mappings", "mappings"),
}


@pytest.mark.parametrize(("link", "target"), LINKS.values(), ids=LINKS.keys())
async def test_a_link_that_leads_nowhere_decides_nothing(house: House, running: Agent, link: str, target: str) -> None:
    async with house.client("lin", "mass-balance", running) as ask:
        rows = await ask.rows(SQL)
        (house.folder / link).symlink_to(target)
        assert await ask.rows(SQL) == rows


def test_a_policy_that_names_a_file_that_is_not_there_is_not_signed(house: House) -> None:
    (house.folder / "jwks.json").unlink()
    with pytest.raises(PolicyError, match=r"no file jwks\.json"):
        sign(house, ANA)


# ---- what whoever can write the policy could try --------------------------------------------------------


def test_once_pinned_signatures_are_required_whatever_the_command_says(house: House) -> None:
    ran_once(house)
    house.write(grants=[])
    assert refused(house, owners=None).reason == "changed"
    (house.folder / "department.signed.json").unlink()
    assert refused(house, owners=None).reason == "unsigned"


def test_other_owners_than_the_pinned_ones_are_not_taken(house: House) -> None:
    ran_once(house)
    write_owners(house, EVE, SigningKey.generate())
    assert refused(house).reason == "owners"
    (house.folder / "state" / PIN).write_text("{}")
    write_owners(house, ANA, BEN)
    assert refused(house).reason == "owners"


def test_another_state_folder_does_not_help_while_the_command_names_the_owners(house: House) -> None:
    ran_once(house)
    house.write(state="fresh", grants=[])
    assert refused(house).reason == "changed"


def test_an_older_policy_never_comes_back(house: House) -> None:
    sign(house, ANA, BEN)
    running = start(house)
    first = {n: (house.folder / n).read_bytes() for n in ("department.yaml", "department.signed.json")}
    house.write(grants=[])
    sign(house, ANA, BEN)
    running.reload()
    assert running.status()["policy_number"] == 2
    for name, content in first.items():
        (house.folder / name).write_bytes(content)
    running.reload()
    assert "older than policy 2" in running.status()["policy_fault"]
    running.close()
    assert refused(house).reason == "rolled back"
    assert refused(house, owners=None).reason == "rolled back"


def test_two_policies_of_one_number_are_one_too_many(house: House, running: Agent) -> None:
    house.write(title="Other")
    sign(house, ANA, BEN, number=1)
    running.reload()
    assert "another policy was in force under the number 1" in running.status()["policy_fault"]


def test_new_owners_are_pinned_by_the_operator_and_the_number_stays(house: House) -> None:
    ran_once(house)
    write_owners(house, ANA, EVE)
    assert repin(house.folder / "state", {k.kid: k.public_jwk for k in (ANA, EVE)}) == 1
    assert refused(house).reason == "half-signed"
    sign(house, EVE, ANA)
    agent = start(house)
    assert agent.status()["policy_number"] == 2
    agent.close()


# ---- while the agent runs -------------------------------------------------------------------------------


async def test_a_change_closes_the_agent_until_two_owners_signed_it_and_all_of_it_is_on_record(
    house: House, running: Agent
) -> None:
    async with house.client("lin", "mass-balance", running) as ask:
        assert (await ask.rows(SQL)).to_pylist() == [{"c0": 2}]
        (house.folder / "views" / "usage.sql").write_text(VIEW.replace("hidden = 0", "hidden < 9"))
        refusal = await ask.refusal(SQL)
        assert (refusal.outcome, refusal.rule) == (Outcome.CLOSED, "policy")
        sign(house, BEN)
        assert (await ask.refusal(SQL)).outcome is Outcome.CLOSED
        sign(house, BEN, ANA)
        assert (await ask.rows(SQL)).to_pylist() == [{"c0": 3}]
    found = records(house, "policy", "policy_refused")
    assert [(r["kind"], r.get("reason"), r.get("number")) for r in found] == [
        ("policy_refused", "changed", None), ("policy_refused", "half-signed", None), ("policy", None, 3),
    ]  # fmt: skip
    assert set(found[-1]["signers"]) == {ANA.kid, BEN.kid}
    assert found[-1]["old"] != found[-1]["new"]


async def test_what_was_mended_answers_again_and_that_is_on_record_too(house: House, running: Agent) -> None:
    good = house.path.read_bytes()
    async with house.client("lin", "mass-balance", running) as ask:
        house.path.unlink()
        assert (await ask.refusal(SQL)).outcome is Outcome.CLOSED
        assert (await ask.refusal(SQL)).outcome is Outcome.CLOSED
        house.path.write_bytes(good)
        await ask.rows(SQL)
    assert [(r["kind"], r.get("reason")) for r in records(house, "policy", "policy_refused")] == [
        ("policy_refused", "unreadable"), ("policy", None),
    ]  # fmt: skip


def test_a_refusal_is_on_record_once_however_often_it_is_looked_at(house: House, running: Agent) -> None:
    house.write(title="Other")
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        running.reload()
    assert len(records(house, "policy_refused")) == 1
    house.write(title="Another")
    running.reload()
    assert len(records(house, "policy_refused")) == 2


async def test_a_file_whose_time_and_size_were_set_back_is_noticed(house: House, running: Agent) -> None:
    view = house.folder / "views" / "usage.sql"
    before = view.stat()
    view.write_text(VIEW.replace("hidden = 0", "hidden < 9"))
    os.utime(view, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (view.stat().st_mtime_ns, view.stat().st_size) == (before.st_mtime_ns, before.st_size)
    async with house.client("lin", "mass-balance", running) as ask:
        assert (await ask.refusal(SQL)).outcome is Outcome.CLOSED


async def test_keys_of_the_identity_provider_that_nobody_signed_let_nobody_in(house: House, running: Agent) -> None:
    """Whoever exchanges them could make any user: the next look at them closes the agent."""
    own, good = house.idp, (house.folder / "jwks.json").read_bytes()
    house.idp = EVE
    (house.folder / "jwks.json").write_bytes(orjson.dumps({"keys": [EVE.public_jwk]}))
    async with house.client("lin", "mass-balance", running) as ask:
        assert (await ask.refusal(SQL)).outcome in (Outcome.CLOSED, Outcome.AUTH)
        with pytest.raises(CityError):
            await ask.relations()
        # Nor for a moment between two looks: what was signed is what tokens are checked against.
        (house.folder / "jwks.json").write_bytes(good)
        refusal = await ask.refusal(SQL)
        assert refusal.outcome is Outcome.AUTH
    house.idp = own
    async with house.client("lin", "mass-balance", running) as ask:
        await ask.rows(SQL)


# ---- without signatures ----------------------------------------------------------------------------------


async def test_without_owners_views_and_lists_are_watched_as_well(house: House) -> None:
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        assert (await ask.rows(SQL)).to_pylist() == [{"c0": 2}]
        (house.folder / "views" / "usage.sql").write_text(VIEW.replace("hidden = 0", "hidden < 9"))
        assert (await ask.rows(SQL)).to_pylist() == [{"c0": 3}]
        (house.folder / "lists" / "units.csv").write_text("L\n")
        assert (await ask.refusal(SQL)).outcome is Outcome.CLOSED
        (house.folder / "lists" / "units.csv").write_text("L,volume\nt,weight\n")
        shown = await ask.rows("SELECT DISTINCT t.unit AS c0 FROM water.main.usage AS t ORDER BY t.unit")
    agent.close()
    assert shown.column("c0").to_pylist() == ["volume", "weight"]
    versions = [r["new"] for r in records(house, "policy")]
    assert len(set(versions)) == 2


async def test_a_policy_whose_own_test_fails_closes_the_agent(house: House) -> None:
    test = {"user": "lin", "purpose": "mass-balance", "relation": "usage", "expect": "mask", "columns": ["org_no"]}
    house.write(tests=[test])
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        await ask.rows(SQL)
        house.write(grants=[{**POLICY["grants"][0], "masks": {}}])
        assert (await ask.refusal(SQL)).outcome is Outcome.CLOSED
        assert "tests[0]: the test fails: lin asks usage" in agent.status()["policy_fault"]
        house.write(grants=POLICY["grants"])
        await ask.rows(SQL)
    agent.close()
    (refusal,) = records(house, "policy_refused")
    assert refusal["reason"] == "tests"


def test_a_start_that_is_refused_is_on_record_where_there_is_a_ledger(house: House) -> None:
    ran_once(house)
    house.path.write_text(house.path.read_text().replace("mode: masked", "mode: maskd"))
    assert "did you mean 'masked'?" in str(refused(house))
    *_, last = read_ledger(house.folder / "state" / "ledger.jsonl")
    assert (last["kind"], last["reason"], last["sha256"]) == (
        "policy_refused", "invalid", read_bundle(house.path).digests["department.yaml"],
    )  # fmt: skip
    line = house.path.read_text().splitlines()[last["line"] - 1]
    assert "maskd" in line


# ---- what grants cap, and what the owner reviews ---------------------------------------------------------


async def test_questions_a_day_are_counted_by_user_and_relation(house: House) -> None:
    house.write(grants=[{**POLICY["grants"][0], "per_day": 2}])
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        await ask.rows(SQL, dry_run=True)
        await ask.rows(SQL)
        await ask.rows(SQL)
        refusal = await ask.refusal(SQL)
    async with house.client("mei", "mass-balance", agent) as ask:
        await ask.rows(SQL)
    agent.close()
    assert refusal.outcome is Outcome.BUDGET


async def test_an_answer_over_a_grants_bytes_is_cut(house: House) -> None:
    house.write(grants=[{**POLICY["grants"][0], "max_bytes": 1}])
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        refusal = await ask.refusal("SELECT t.unit AS c0 FROM water.main.usage AS t")
    agent.close()
    assert (refusal.outcome, refusal.rule) == (Outcome.LIMIT, "bytes")


async def test_each_raw_answer_is_listed_for_the_owners_review(house: House) -> None:
    today = datetime.now(UTC).date()
    raw = {"id": "case-7", "relation": "usage", "purposes": ["mass-balance"], "mode": "raw", "users": ["lin"],
           "case": "C-7", "requester": "mei", "approver": "zhao", "legal_basis": "water act 12", "max_rows": 10,
           "from": today, "until": today + timedelta(days=9)}  # fmt: skip
    house.write(grants=[raw])
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        found = await ask.rows("SELECT t.unit AS c0 FROM water.main.usage AS t WHERE t.org_no = '91'")
        assert found.column("c0").to_pylist() == ["L"]
    async with house.client("mei", "mass-balance", agent) as ask:
        assert (await ask.refusal(SQL)).outcome is Outcome.NOT_AVAILABLE
    agent.close()
    (end,) = records(house, "end")
    assert (end["review"], end["sub"], end["rows"]) == (["C-7"], "lin", 1)
    shown = CliRunner().invoke(app, ["ledger", "show", str(house.path), "--review", "--json"])
    assert [r["seq"] for r in orjson.loads(shown.stdout)] == [end["seq"]]
    assert from_bundle(read_bundle(house.path)).grants[0].case == "C-7"
