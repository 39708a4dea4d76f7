"""`atoll request` and `atoll grants`: the whole way from an applicant's wish to a dated grant, or a reason why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner, Result

from atoll.cli import app
from catalog.ledger import read_ledger
from tests.agent.city import METERING, City, open_city
from tests.agent.house import House

PURPOSES = ["mass-balance", "statistics"]
COLUMNS: dict[str, Any] = {
    "id": "bigint",
    "name": {"type": "varchar", "personal": True},
    "ward": "varchar",
    "amount": "bigint",
}
POLICY: dict[str, Any] = {
    "department": "water",
    "relations": {
        "people": {"table": "people", "columns": COLUMNS, "listed": True, "comment": "Who pays for water."},
        "hidden": {"table": "people", "columns": COLUMNS},
    },
    "grants": [
        {"id": "sums", "relation": "people", "purposes": ["statistics"], "mode": "aggregate", "users": ["bi"],
         "entity": "id", "dimensions": ["ward"], "measures": ["amount"]},
    ],
    "tests": [{"user": "lin", "purpose": "statistics", "relation": "people", "expect": "deny"}],
}  # fmt: skip
TABLES = {
    "people": (
        "id INTEGER, name TEXT, ward TEXT, amount INTEGER",
        [(i, f"n{i}", "north", 5) for i in range(30)],
    )
}
SOON = (date.today() + timedelta(days=30)).isoformat()
Atoll = Callable[..., Result]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, [*words], env={"COLUMNS": "160", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with open_city(tmp_path_factory.mktemp("city"), POLICY, TABLES) as opened:
        yield opened


@pytest.fixture
def ask(city: City) -> Atoll:
    """`atoll request ..` as a user of the city."""

    def asked(user: str, *words: str) -> Result:
        return run("request", *words, "--url", city.url, "--token", city.token(user))

    return asked


@pytest.fixture
def grants(city: City) -> Iterator[Atoll]:
    """`atoll grants ..` as the owner of water; her file is as before at the end."""
    before = city.house.path.read_text()

    def decided(*words: str) -> Result:
        return run("grants", *words, "--file", str(city.house.path))

    yield decided
    city.house.path.write_text(before)
    city.agent.reload()


def filed(ask: Atoll, user: str = "lin", table: str = "people", *words: str) -> str:
    """A new request's id."""
    done = ask(user, f"water.main.{table}", "--reason", "leaks in the north", "--json", *words)
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["id"])


def of(ask: Atoll, user: str, id_: str) -> dict[str, Any]:
    """How a request stands, as its applicant sees it."""
    listed = json.loads(ask(user, "--mine", "--json").stdout)
    return next(r for d in listed if d["department"] == "water" for r in d["mine"] if r["id"] == id_)


def decline(grants: Atoll, id_: str) -> None:
    assert grants("decline", id_, "--reason", "done with").exit_code == 0


def queried(city: City, sql: str, purpose: str = "mass-balance") -> Any:
    with city.client("lin") as http:
        return http.post("/api/query", json={"sql": sql, "purpose": purpose}).json()


# ---- the whole way -----------------------------------------------------------------------------------------------


def test_from_the_list_to_the_answer(city: City, ask: Atoll, grants: Atoll) -> None:
    city.house.path.write_text("# Ours, written by hand.\n" + city.house.path.read_text())
    listed = ask("lin", "--list")
    assert "water.main.people" in listed.stdout
    assert "Who pays for water." in listed.stdout
    assert METERING in listed.stdout
    assert "hidden" not in listed.stdout
    assert "tax is not in the list" in listed.stderr

    done = ask("lin", "water.main.people", "--reason", "leaks in the north", "--until", SOON, "--columns", "id,ward")
    assert done.exit_code == 0, done.output
    id_ = done.stdout.split("request ")[1].split()[0]
    assert of(ask, "lin", id_)["state"] == "pending"
    pending = next(line for line in grants("list").stdout.splitlines() if id_ in line)
    assert all(word in pending for word in ("pending", "lin", "people", "mass-balance", "leaks in the north"))

    approved = grants("approve", id_, "--by", "wu", "--note", "welcome")
    assert approved.exit_code == 0, approved.output
    told = f"lin is granted people for mass-balance until {SOON}: unmasked rows; columns id, ward"
    assert told in approved.stdout
    text = city.house.path.read_text()
    assert text.startswith("# Ours, written by hand.\n")
    assert "# asked for by lin on " in text
    grant = next(g for g in yaml.safe_load(text)["grants"] if g["id"] == f"request-{id_}")
    assert grant == {
        "id": f"request-{id_}", "relation": "people", "purposes": ["mass-balance"], "users": ["lin"],
        "mode": "masked", "columns": ["id", "ward"], "from": grant["from"], "until": date.fromisoformat(SOON),
        "approver": "wu",
    }  # fmt: skip

    city.agent.reload()
    city.gateway.catalogue.forget()
    stands = of(ask, "lin", id_)
    assert (stands["state"], stands["ends"], stands["note"]) == ("granted", SOON, "welcome")
    assert queried(city, "SELECT count(*) FROM water.main.people")["rows"] == [[30]]
    assert queried(city, "SELECT name FROM water.main.people")["error"]["error_name"] == "COLUMN_NOT_FOUND"
    current = next(line for line in grants("list").stdout.splitlines() if f"request-{id_}" in line)
    assert "current" in current
    again = grants("approve", id_, "--by", "wu")
    assert (again.exit_code, "was granted" in again.stderr) == (1, True)
    (said,) = [r for r in read_ledger(city.house.folder / "state" / "ledger.jsonl")
               if r["kind"] == "request_decided" and r["id"] == id_]  # fmt: skip
    assert (said["decision"], said["by"], said["sub"], said["relation"]) == ("approved", "wu", "lin", "people")


def test_a_decline_says_why(ask: Atoll, grants: Atoll) -> None:
    id_ = filed(ask)
    done = grants("decline", id_, "--reason", "the counts by ward answer this", "--by", "wu")
    assert done.stdout == f"Request {id_} of lin for people is declined.\n"
    stands = of(ask, "lin", id_)
    assert (stands["state"], stands["note"]) == ("declined", "the counts by ward answer this")
    assert "the counts by ward answer this" in ask("lin", "--mine").stdout
    assert grants("approve", id_, "--until", SOON).exit_code == 1


# ---- what an approval gives ----------------------------------------------------------------------------------------


def test_personal_columns_are_left_out_unless_the_owner_names_them(ask: Atoll, grants: Atoll) -> None:
    id_ = filed(ask)
    plain = grants("approve", id_, "--until", SOON, "--dry-run")
    assert "columns id, ward, amount" in plain.stdout
    assert "name is personal or special and was left out" in plain.stderr
    named = json.loads(grants("approve", id_, "--until", SOON, "--columns", "id,name", "--dry-run", "--json").stdout)
    assert named["grant"]["masks"] == {"name": "null"}
    masked = grants(
        "approve", id_, "--until", SOON, "--columns", "id,name", "--mask", "name=keep_first(1)", "--dry-run"
    )
    assert "name (keep_first(1))" in masked.stdout
    assert of(ask, "lin", id_)["state"] == "pending"
    decline(grants, id_)


def test_generated_rows_are_granted_without_real_ones(city: City, ask: Atoll, grants: Atoll) -> None:
    id_ = filed(ask)
    done = grants("approve", id_, "--until", SOON, "--mode", "synthetic")
    assert done.exit_code == 0, done.output
    assert "synthetic" in done.stdout
    city.agent.reload()
    city.gateway.catalogue.forget()
    assert of(ask, "lin", id_)["state"] == "granted"
    answer = queried(city, "SELECT ward FROM water.main.people")
    assert answer.get("departments", [{}])[0].get("synthetic") == ["people"], answer


def test_that_rows_are_generated_is_in_the_answers_head_though_the_catalogue_is_older(
    city: City, ask: Atoll, grants: Atoll
) -> None:
    """What a file is made of says so itself; the catalogue knows of a new grant a minute later."""
    sql = "SELECT ward FROM water.main.people"
    mine = ("mei", "people", "--purpose", "mass-balance")
    first = filed(ask, *mine)
    assert grants("approve", first, "--until", SOON).exit_code == 0
    city.agent.reload()
    city.gateway.catalogue.forget()
    assert "atoll.warnings" not in headed(city, sql)
    second = filed(ask, *mine)
    assert grants("approve", second, "--until", SOON, "--mode", "synthetic").exit_code == 0
    city.agent.reload()
    assert "not real data" in headed(city, sql)["atoll.warnings"]


def headed(city: City, sql: str) -> dict[str, str]:
    """The metadata at the head of an Arrow answer."""
    with city.client("mei") as http:
        answer = http.post("/api/query", json={"sql": sql, "purpose": "mass-balance", "format": "arrow"})
    assert answer.status_code == 200, answer.text
    found = pa.ipc.open_stream(answer.content).schema.metadata or {}
    return {name.decode(): text.decode() for name, text in found.items()}


def test_on_the_terms_of_another_grant(city: City, ask: Atoll, grants: Atoll) -> None:
    id_ = filed(ask, "lin", "people", "--on-behalf-of", "leaks-2030")
    refused = grants("approve", id_, "--until", SOON, "--mode", "aggregate")
    assert "--like GRANT" in refused.stderr
    unknown = grants("approve", id_, "--until", SOON, "--like", "sum")
    assert "did you mean 'sums'?" in unknown.stderr
    no_project = grants("approve", id_, "--until", SOON, "--like", "sums")
    assert "unknown project 'leaks-2030'" in no_project.stderr
    document = yaml.safe_load(city.house.path.read_text())
    city.house.path.write_text(yaml.safe_dump({**document, "projects": {"leaks-2030": {"until": SOON}}}))
    found = grants("approve", id_, "--until", "2199-01-01", "--like", "sums", "--json")
    grant = json.loads(found.stdout)["grant"]
    assert (grant["mode"], grant["dimensions"], grant["users"]) == ("aggregate", ["ward"], ["lin"])
    city.agent.reload()
    assert of(ask, "lin", id_)["ends"] == SOON


def test_another_grants_terms_are_all_of_its_terms(city: City, ask: Atoll, grants: Atoll) -> None:
    """What one grant leaves to another, or does not show, is not given by taking its terms over."""
    document = yaml.safe_load(city.house.path.read_text())
    rows = {"relation": "people", "purposes": ["mass-balance"], "mode": "masked"}
    document["grants"] += [
        {"id": "first", "users": ["ana"], "delegate": 1, **rows, "columns": ["id", "ward"], "row_filter": "id < 3"},
        {"id": "second", "users": ["ben"], "via": "first", "by": "ana", **rows},
    ]
    city.house.path.write_text(yaml.safe_dump(document))
    id_ = filed(ask)
    given_on = grants("approve", id_, "--until", SOON, "--like", "second")
    assert (given_on.exit_code, "was given on from first" in given_on.stderr) == (1, True)
    wider = grants("approve", id_, "--until", SOON, "--like", "first", "--columns", "id,name")
    assert (wider.exit_code, "first does not show name" in wider.stderr) == (1, True)
    fewer = json.loads(
        grants("approve", id_, "--until", SOON, "--like", "first", "--columns", "id", "--dry-run", "--json").stdout
    )
    assert (fewer["grant"]["columns"], fewer["grant"]["row_filter"]) == (["id"], "id < 3")
    document["grants"].append(
        {**POLICY["grants"][0], "id": "loose", "purposes": ["audit"], "guard": False, "unguarded": "published"}
    )
    city.house.path.write_text(yaml.safe_dump(document))
    loose = grants("approve", id_, "--until", SOON, "--like", "loose", "--dry-run")
    assert "NOT guarded against differences: published" in loose.stdout
    decline(grants, id_)


def test_line_ends_of_another_system_stay(city: City, ask: Atoll, grants: Atoll) -> None:
    city.house.path.write_bytes(city.house.path.read_bytes().replace(b"\n", b"\r\n"))
    id_ = filed(ask, "mei", "people", "--purpose", "mass-balance")
    done = grants("approve", id_, "--until", SOON, "--by", "wu")
    assert done.exit_code == 0, done.output
    assert f"request-{id_}" in city.house.path.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--until", "2020-01-01"), "ends on a day that is still to come"),
        ((), "say --until"),
        (("--until", SOON, "--columns", "id,wrad"), "has no column 'wrad': did you mean 'ward'?"),
        (("--until", SOON, "--mask", "ward=bluur"), "bluur"),
        (("--until", SOON, "--mode", "schema", "--like", "sums"), "is of mode aggregate"),
        (("--until", SOON, "--by", "LIN"), "Nobody approves a request of their own."),
    ],
)
def test_what_cannot_be_granted_is_told_and_nothing_is_written(
    city: City, ask: Atoll, grants: Atoll, words: tuple[str, ...], why: str
) -> None:
    id_, before = filed(ask), city.house.path.read_text()
    done = grants("approve", id_, *words)
    assert done.exit_code == 1
    assert why in done.stderr
    assert city.house.path.read_text() == before
    assert of(ask, "lin", id_)["state"] == "pending"
    decline(grants, id_)


def test_what_the_policys_own_tests_forbid_is_not_written(city: City, ask: Atoll, grants: Atoll) -> None:
    """`tests:` of the policy say that lin sees nothing for statistics; mei does not stand there."""
    document = yaml.safe_load(city.house.path.read_text())
    document["tests"] = [{"user": "lin", "purpose": "mass-balance", "relation": "people", "expect": "deny",
                          "at": date.today()}]  # fmt: skip
    city.house.path.write_text(yaml.safe_dump(document))
    city.agent.reload()
    id_ = filed(ask)
    before = city.house.path.read_text()
    done = grants("approve", id_, "--until", SOON)
    assert "the test fails: lin asks people for mass-balance" in done.stderr
    assert city.house.path.read_text() == before
    decline(grants, id_)
    other = filed(ask, "mei", "people", "--purpose", "mass-balance")
    assert grants("approve", other, "--until", SOON).exit_code == 0


def test_a_grant_that_is_there_already_is_told_and_one_with_hours_is_judged_within_them(
    city: City, ask: Atoll, grants: Atoll
) -> None:
    document = yaml.safe_load(city.house.path.read_text())
    held = {"relation": "people", "purposes": ["mass-balance"], "mode": "masked", "columns": ["id", "ward"]}
    document["grants"] += [
        {"id": "held", "users": ["lin"], **held},
        {"id": "a-minute", "users": ["mei"], **held, "hours": "00:00-00:01"},
    ]
    city.house.path.write_text(yaml.safe_dump(document))
    city.agent.reload()
    id_ = filed(ask)
    done = grants("approve", id_, "--until", SOON, "--dry-run")
    assert "lin holds held for that: of several grants the strictest holds" in done.stderr
    decline(grants, id_)
    id_ = filed(ask)
    done = grants("approve", id_, "--until", SOON, "--like", "a-minute", "--dry-run")
    assert (done.exit_code, "hours: 00:00-00:01" in done.stdout) == (0, True), done.output
    assert run("grants", "--file", str(city.house.path), "--json").stdout == grants("list", "--json").stdout
    decline(grants, id_)


def test_a_denial_that_stands_against_it_is_told(city: City, ask: Atoll, grants: Atoll) -> None:
    document = yaml.safe_load(city.house.path.read_text())
    document["grants"].append({"id": "no", "relation": "people", "deny": True, "users": ["lin"]})
    city.house.path.write_text(yaml.safe_dump(document))
    city.agent.reload()
    id_ = filed(ask)
    assert "would still see nothing of people" in grants("approve", id_, "--until", SOON).stderr
    decline(grants, id_)


def test_a_table_that_is_not_there_can_only_be_declined(ask: Atoll, grants: Atoll) -> None:
    id_ = filed(ask, "lin", "nosuch")
    assert "You have no table nosuch." in grants("approve", id_, "--until", SOON).stderr
    decline(grants, id_)


# ---- where two owners sign -----------------------------------------------------------------------------------------


def test_a_signed_policy_is_proposed_signed_by_two_and_activated(tmp_path: Path) -> None:
    from connectors.agent.service import Agent

    house = House(tmp_path / "water", {**POLICY, "contact": METERING}, TABLES)
    owners = str(tmp_path / "owners.jwks")
    for name in ("ana", "ben"):
        assert run("policy", "keygen", str(tmp_path / f"{name}.key"), "--owners", owners).exit_code == 0
    file = str(house.path)

    def sign(policy: str) -> None:
        assert run("policy", "sign", policy, "--key", str(tmp_path / "ana.key")).exit_code == 0
        assert run("policy", "sign", policy, "--key", str(tmp_path / "ben.key"), "--second").exit_code == 0

    sign(file)
    agent = Agent.from_file(house.path, owners=Path(owners))
    from catalog.access import AccessRequest

    row = agent.requests.file("lin", "mass-balance", AccessRequest(relation="people", reason="x"), agent.ledger.append)
    running = run("grants", "approve", row.id, "--until", SOON, "--file", file)
    assert "The department's ledger cannot be written" in running.stderr
    agent.close()

    done = run("grants", "approve", row.id, "--until", SOON, "--file", file)
    assert done.exit_code == 0, done.output
    proposal = tmp_path / f"water.request-{row.id}" / "department.yaml"
    assert "atoll policy sign" in done.stderr
    assert f"request-{row.id}" not in house.path.read_text()
    early = run("grants", "activate", row.id, "--file", file)
    assert (early.exit_code, "department.yaml changed after it was signed" in early.stderr) == (1, True)
    assert "gains" in run("policy", "diff", file, str(proposal)).stdout
    twice = run("grants", "approve", row.id, "--until", SOON, "--file", file)
    assert "There is a proposal already" in twice.stderr
    sign(str(proposal))
    active = run("grants", "activate", row.id, "--file", file)
    assert active.exit_code == 0, active.output
    assert "policy 2 of water is in place" in active.stdout
    assert not proposal.parent.exists()
    again = Agent.from_file(house.path)
    assert again.status()["policy_number"] == 2
    again.close()
    assert "current" in next(
        line for line in run("grants", "list", "--file", file).stdout.splitlines() if f"request-{row.id}" in line
    )


def test_a_proposal_of_an_older_policy_is_not_activated(tmp_path: Path) -> None:
    house = House(tmp_path / "water", {**POLICY, "contact": METERING}, TABLES)
    owners, file = str(tmp_path / "owners.jwks"), str(house.path)
    keys = [str(tmp_path / f"{name}.key") for name in ("ana", "ben")]
    for key in keys:
        run("policy", "keygen", key, "--owners", owners)

    def sign(policy: str) -> None:
        run("policy", "sign", policy, "--key", keys[0])
        assert run("policy", "sign", policy, "--key", keys[1], "--second").exit_code == 0

    sign(file)
    from catalog.access import AccessRequest
    from connectors.agent.service import Agent

    agent = Agent.from_file(house.path, owners=Path(owners))
    row = agent.requests.file("lin", "mass-balance", AccessRequest(relation="people", reason="x"), agent.ledger.append)
    agent.close()
    assert run("grants", "approve", row.id, "--until", SOON, "--file", file).exit_code == 0
    proposal = str(tmp_path / f"water.request-{row.id}" / "department.yaml")
    sign(proposal)
    house.write(title="Another title")
    sign(file)
    done = run("grants", "activate", row.id, "--file", file)
    assert (done.exit_code, "has changed since this was proposed" in done.stderr) == (1, True)
    assert "Another title" in house.path.read_text()


@pytest.fixture
def signed(tmp_path: Path) -> tuple[House, str, Callable[[Path], None]]:
    """A department whose owners are pinned: its files, a request that waits, and how both owners sign."""
    from catalog.access import AccessRequest
    from connectors.agent.service import Agent

    house = House(tmp_path / "water", {**POLICY, "contact": METERING}, TABLES)
    owners = tmp_path / "owners.jwks"
    keys = [str(tmp_path / f"{name}.key") for name in ("ana", "ben")]
    for key in keys:
        run("policy", "keygen", key, "--owners", str(owners))

    def sign(policy: Path) -> None:
        run("policy", "sign", str(policy), "--key", keys[0])
        assert run("policy", "sign", str(policy), "--key", keys[1], "--second").exit_code == 0

    sign(house.path)
    agent = Agent.from_file(house.path, owners=owners)
    row = agent.requests.file("lin", "mass-balance", AccessRequest(relation="people", reason="x"), agent.ledger.append)
    agent.close()
    return house, row.id, sign


def test_a_proposal_of_a_policy_that_was_signed_anew_is_not_activated(
    tmp_path: Path, signed: tuple[House, str, Callable[[Path], None]]
) -> None:
    """The same text, but a newer number is in force: the agent would refuse an older one, and answer nothing."""
    from connectors.agent.service import Agent

    house, id_, sign = signed
    assert run("grants", "approve", id_, "--until", SOON, "--file", str(house.path)).exit_code == 0
    sign(tmp_path / f"water.request-{id_}" / "department.yaml")
    provider = house.folder / "jwks.json"
    before = provider.read_bytes()
    for content in (before + b"\n", before):  # a key of the identity provider came, and went again
        provider.write_bytes(content)
        sign(house.path)
    done = run("grants", "activate", id_, "--file", str(house.path))
    assert (done.exit_code, "has changed since this was proposed" in done.stderr) == (1, True)
    Agent.from_file(house.path).close()


def test_a_proposal_that_an_owner_does_not_sign_is_declined_and_gone(
    tmp_path: Path, signed: tuple[House, str, Callable[[Path], None]]
) -> None:
    house, id_, sign = signed
    proposal = tmp_path / f"water.request-{id_}"
    assert run("grants", "approve", id_, "--until", SOON, "--file", str(house.path)).exit_code == 0
    sign(proposal / "department.yaml")
    kept = proposal.with_name("kept")
    shutil.copytree(proposal, kept, symlinks=True)
    done = run("grants", "decline", id_, "--reason", "not needed", "--file", str(house.path))
    assert (done.exit_code, proposal.exists()) == (0, False), done.output
    kept.rename(proposal)
    refused = run("grants", "activate", id_, "--file", str(house.path))
    assert (refused.exit_code, f"Request {id_} is declined" in refused.stderr) == (1, True)
    assert f"request-{id_}" not in house.path.read_text()


def test_nothing_is_proposed_on_top_of_what_the_owners_did_not_sign(
    tmp_path: Path, signed: tuple[House, str, Callable[[Path], None]]
) -> None:
    """They would be shown the new grant alone, and sign with it what somebody else wrote into the file."""
    house, id_, _ = signed
    house.write(grants=[{**POLICY["grants"][0], "users": ["bi", "eve"]}])
    done = run("grants", "approve", id_, "--until", SOON, "--file", str(house.path))
    assert (done.exit_code, "department.yaml changed after it was signed" in done.stderr) == (1, True)
    assert not (tmp_path / f"water.request-{id_}").exists()


# ---- used wrongly ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "name one table to ask for"),
        (("water.main.people", "--list"), "name one table to ask for"),
        (("--list", "--mine"), "name one table to ask for"),
        (("water.main.people",), "--reason says"),
    ],
)
def test_a_request_used_wrongly(ask: Atoll, words: tuple[str, ...], why: str) -> None:
    done = ask("lin", *words)
    assert (done.exit_code, why in done.output) == (2, True)


def test_refusals_are_told_with_whom_to_ask(ask: Atoll) -> None:
    done = ask("lin", "people", "--reason", "x")
    assert done.exit_code == 1
    assert "is no table's full name" in done.stderr
    unknown = ask("lin", "nosuch.main.x", "--reason", "x")
    assert "  ask   desk@gateway.example" in unknown.stderr


def test_before_the_first_start_nobody_has_asked(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, TABLES)
    done = run("grants", "list", "--file", str(house.path))
    assert (done.exit_code, "never ran" in done.stderr) == (1, True)
    assert run("grants", "approve", "1f0c", "--mask", "x", "--file", str(house.path)).exit_code == 2
