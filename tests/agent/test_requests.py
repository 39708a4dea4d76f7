"""Access requests: filed through the gateway, kept and decided by the department, told to the applicant, on record.

And what an approval may be: dated, for one user and one purpose; given on only as far, and as long, as its owner says.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog.access import AccessRequest
from catalog.errors import CityError, Outcome
from catalog.ledger import read_ledger
from catalog.policy import Department, PolicyError, decide, parse, with_grant
from catalog.policy.yaml_lines import read_yaml
from connectors.agent.requests import KEPT, WAITING_OF_ONE, Decided, Requests, standing
from tests.agent.city import METERING, City, open_city

ROWS = {"purposes": ["mass-balance"], "mode": "masked"}
POLICY: dict[str, Any] = {
    "department": "water",
    "relations": {
        "people": {"table": "people", "columns": {"id": "bigint", "name": "varchar"}},
        "secret": {"table": "people", "columns": {"id": "bigint", "name": "varchar"}},
        "meters": {"table": "people", "comment": "Where meters are.", "columns": {"id": "bigint"}, "listed": True},
    },
    "grants": [{"id": "people", "relation": "people", **ROWS}],
}
TABLES = {"people": ("id INTEGER, name TEXT", [(i, f"x{i}") for i in range(9)])}
TODAY = date(2026, 6, 1)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with open_city(tmp_path_factory.mktemp("city"), POLICY, TABLES) as opened:
        yield opened


def ask_for(city: City, user: str, table: str, **more: Any) -> Any:
    with city.client(user) as http:
        return http.post("/api/requests", json={"relation": f"water.main.{table}", "reason": "leaks", **more})


def overview(city: City, user: str) -> dict[str, Any]:
    with city.client(user) as http:
        found = http.get("/api/requests").json()
    return {d["department"]: d for d in found}


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [r for r in read_ledger(folder / "ledger.jsonl") if r["kind"] == kind]


# ---- filing ------------------------------------------------------------------------------------------------------


def test_a_request_lies_with_the_department_and_is_on_record_on_both_sides(city: City) -> None:
    filed = ask_for(city, "lin", "meters", columns=["id"], until="2030-01-31", project="leaks-2030").json()
    assert (filed["state"], filed["relation"], filed["purpose"]) == ("pending", "meters", "mass-balance")
    mine = overview(city, "lin")["water"]["mine"]
    assert mine[0] == filed
    assert overview(city, "bi")["water"]["mine"] == []
    (here,) = [r for r in records(city.house.folder / "state", "request") if r["id"] == filed["id"]]
    assert (here["sub"], here["purpose"], here["relation"], here["columns"]) == (
        "lin",
        "mass-balance",
        "meters",
        ["id"],
    )
    (there,) = [r for r in records(city.folder / "gateway", "request") if r["id"] == filed["id"]]
    assert (there["sub"], there["relation"], there["outcome"]) == ("lin", "water.main.meters", "OK")


def test_what_is_listed_is_shown_and_a_refusal_stays_the_same(city: City) -> None:
    water = overview(city, "bi")["water"]
    assert water["listed"] == [{"name": "meters", "comment": "Where meters are."}]
    assert water["contact"] == METERING
    with city.client("bi") as http:
        told = [
            http.post("/api/query", json={"sql": f"SELECT 1 FROM water.main.{name}", "purpose": "statistics"}).json()
            for name in ("meters", "nosuch")
        ]
    assert str(told[0]) == str(told[1]).replace("nosuch", "meters")


def test_that_a_request_was_taken_does_not_tell_whether_there_is_such_a_table(city: City) -> None:
    told = []
    for name in ("secret", "nosuch"):
        answer = ask_for(city, "mei", name, purpose="statistics")
        body = answer.json()
        body.pop("id"), body.pop("at")
        told.append((answer.status_code, str(body).replace("nosuch", "secret")))
    assert told[0] == told[1]
    assert told[0][0] == 201


def test_a_dead_department_keeps_no_list_waiting(city: City) -> None:
    found = overview(city, "lin")
    assert found["tax"]["error"]["outcome"] == "DOWN"
    assert found["tax"]["error"]["contact"] == "office@tax.example"
    assert "fire" not in found


@pytest.mark.parametrize(
    ("relation", "more", "outcome"),
    [
        ("meters", {"reason": ""}, None),
        ("meters", {"reason": "two\nlines"}, Outcome.SEMANTIC),
        ("meters", {"columns": ["id; drop"]}, Outcome.SEMANTIC),
        ("meters", {"purpose": "audit"}, Outcome.PURPOSE),
        ("meters", {"colums": []}, None),
        ("x.y", {}, Outcome.SEMANTIC),
    ],
)
def test_a_request_that_is_none_is_refused_in_words(
    city: City, relation: str, more: dict[str, Any], outcome: Outcome | None
) -> None:
    answer = ask_for(city, "lin", relation, **more)
    assert 400 <= answer.status_code < 500
    told = answer.json()["error"]
    assert told["message"]
    assert outcome is None or told["outcome"] == outcome.name


def test_a_city_table_and_an_unknown_department_take_no_request(city: City) -> None:
    with city.client("lin") as http:
        told = []
        for name in ("city.main.x", "nosuch.main.x", "fire.main.x"):  # the last one waits for the operator's word
            answer = http.post("/api/requests", json={"relation": name, "reason": "why not"})
            told.append((answer.status_code, answer.text.replace(name, "nosuch.main.x")))
    assert told[0] == told[1] == told[2]
    assert "desk@gateway.example" in told[0][1]


def test_a_request_for_what_lies_beside_the_tables_is_not_filed_as_one_for_a_table(city: City) -> None:
    with city.client("lin") as http:
        for schema in ("other", "information_schema"):
            answer = http.post("/api/requests", json={"relation": f"water.{schema}.people", "reason": "why not"})
            assert (answer.status_code, answer.json()["error"]["outcome"]) == (404, "NOT_AVAILABLE")


@pytest.mark.parametrize("lie", [{"id": "\x1b[2J"}, {"id": "1f" * 99}, {"relation": "other"}, {"purpose": "audit"}])
def test_what_a_department_says_of_a_request_is_not_believed_blindly(
    city: City, monkeypatch: pytest.MonkeyPatch, lie: dict[str, str]
) -> None:
    """It would stand in the gateway's ledger and on the applicant's screen."""
    said = {"id": "1f0c9a2e", "relation": "people", "purpose": "mass-balance", "reason": "leaks", **lie}
    monkeypatch.setattr(city.gateway.agents, "call", lambda *_, **__: json.dumps(said).encode())
    answer = ask_for(city, "lin", "people")
    assert "cannot be trusted" in answer.json()["error"]["message"]
    assert records(city.folder / "gateway", "request")[-1]["id"] == ""


async def test_the_agents_doors_take_signed_requests_of_this_gateway_alone(city: City) -> None:
    body = AccessRequest(relation="meters", reason="again").model_dump_json().encode()
    async with city.door("sun", "audit", aud="agent:another") as ask:
        assert (await ask.send("POST", "/v1/requests", body)).status_code == 401
        assert (await ask.send("GET", "/v1/requests")).status_code == 401
    async with city.door("sun", "audit") as ask:
        assert (await ask.http.post("/v1/requests", content=body)).status_code == 401
        assert (await ask.send("POST", "/v1/requests", b"{}")).status_code == 400
        city.agent.pause()
        try:
            assert (await ask.send("POST", "/v1/requests", body)).status_code == 503
            assert (await ask.send("GET", "/v1/requests")).status_code == 503
        finally:
            city.agent.resume()
        assert (await ask.send("POST", "/v1/requests", body)).status_code == 201


# ---- what is kept ------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Requests]:
    requests = Requests(tmp_path / "requests.db", "water")
    yield requests
    requests.close()


def nothing(kind: str, fields: Any) -> None:
    """A ledger that nobody looks at."""


def asked(name: str) -> AccessRequest:
    return AccessRequest(relation=name, reason="leaks")


def test_one_user_cannot_fill_the_department_and_asks_once_for_one_thing(kept: Requests) -> None:
    for i in range(WAITING_OF_ONE):
        kept.file("lin", "mass-balance", asked(f"t{i}"), nothing)
    with pytest.raises(CityError) as refused:
        kept.file("lin", "mass-balance", asked("one_more"), nothing)
    assert (refused.value.outcome, refused.value.rule) == (Outcome.BUDGET, "open requests")
    kept.file("mei", "mass-balance", asked("t0"), nothing)
    with pytest.raises(CityError, match="for that already"):
        kept.file("mei", "mass-balance", asked("t0"), nothing)


def test_what_cannot_be_recorded_is_not_kept_and_not_decided(kept: Requests) -> None:
    def broken(kind: str, fields: Any) -> None:
        raise OSError("the ledger's disk is full")

    with pytest.raises(OSError, match="full"):
        kept.file("lin", "mass-balance", asked("t"), broken)
    assert kept.all() == []
    row = kept.file("lin", "mass-balance", asked("t"), nothing)
    with pytest.raises(OSError, match="full"):
        kept.decide(row.id, Decided("declined", "wu"), broken)
    assert kept.find(row.id).state == "pending"


def test_a_disk_that_fills_up_for_a_moment_does_not_close_the_door_for_good(tmp_path: Path) -> None:
    kept = Requests(tmp_path / "requests.db", "water")
    reader = sqlite3.connect(tmp_path / "requests.db", isolation_level=None)
    kept._db.execute("PRAGMA busy_timeout = 0")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM requests").fetchall()  # whoever reads holds up the end of what is written
    with pytest.raises(sqlite3.OperationalError):
        kept.file("lin", "mass-balance", asked("t"), nothing)
    reader.execute("COMMIT")
    assert kept.all() == []
    assert kept.file("lin", "mass-balance", asked("t"), nothing).state == "pending"
    reader.close()
    kept.close()


def test_a_request_is_decided_once_and_old_ones_make_room(kept: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.agent.requests.KEPT", 3)
    assert KEPT > 3
    rows = []
    for i in range(6):
        rows.append(kept.file("lin", "mass-balance", asked(f"t{i}"), nothing))
        kept.decide(rows[-1].id, Decided("declined", "wu", "no"), nothing)
    with pytest.raises(CityError, match="declined"):
        kept.decide(rows[-1].id, Decided("approved", "wu"), nothing)
    waiting = kept.file("lin", "mass-balance", asked("last"), nothing)
    assert {r.id for r in kept.all()} == {waiting.id, *(r.id for r in rows[-3:])}


def test_an_approval_is_taken_back_until_its_grant_is_in_force(kept: Requests) -> None:
    row = kept.file("lin", "mass-balance", asked("people"), nothing)
    kept.decide(row.id, Decided("approved", "wu"), nothing)
    declined = Decided("declined", "wu", "the second owner does not sign")
    with pytest.raises(CityError, match="was approved"):
        kept.decide(row.id, declined, nothing, granted=True)
    assert kept.decide(row.id, declined, nothing).state == "declined"
    with pytest.raises(CityError, match="was declined"):
        kept.decide(row.id, Decided("approved", "wu"), nothing)


# ---- how it stands ------------------------------------------------------------------------------------------------


def policy(*grants: dict[str, Any], **more: Any) -> Department:
    base = {
        "department": "water", "identity": {"issuer": "i", "jwks": "file:j"},
        "sources": {"main": {"kind": "sqlite", "path": "x"}}, "purposes": ["mass-balance", "statistics"],
        "relations": {"people": {"table": "people", "columns": {"id": "bigint", "name": "varchar", "ward": "varchar"}}},
        "grants": list(grants), **more,
    }  # fmt: skip
    return parse(yaml.safe_dump(base, sort_keys=False))


def faults(*grants: dict[str, Any], **more: Any) -> str:
    with pytest.raises(PolicyError) as bad:
        policy(*grants, **more)
    return str(bad.value)


PEOPLE = {"relation": "people", **ROWS}
FIRST = {"id": "first", **PEOPLE, "users": ["ana"], "masks": {"name": "keep_first(1)"}, "row_filter": "id < 9"}


def test_an_approval_counts_once_it_is_in_the_policy_and_as_long(kept: Requests) -> None:
    row = kept.file("lin", "mass-balance", asked("people"), nothing)
    assert standing(row, policy(), NOON).state == "pending"
    row = kept.decide(row.id, Decided("approved", "wu"), nothing)
    assert standing(row, policy(), NOON).state == "approved"
    grant = {"id": f"request-{row.id}", **PEOPLE, "users": ["lin"], "from": TODAY, "until": date(2026, 6, 30)}
    found = standing(row, policy(grant), NOON)
    assert (found.state, found.ends, found.grant) == ("granted", "2026-06-30", grant["id"])
    assert standing(row, policy(grant), NOON + timedelta(days=30)).state == "ended"
    shorter = policy({**grant, "project": "leaks"}, projects={"leaks": {"until": date(2026, 6, 10)}})
    assert standing(row, shorter, NOON).ends == "2026-06-10"


# ---- projects, and what is given on ---------------------------------------------------------------------------------


def shows(department: Department, user: str, day: date = TODAY, purpose: str = "mass-balance") -> Any:
    return decide(department, user, purpose, "people", datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


def test_rights_end_with_the_project(kept: Requests) -> None:
    works = policy(
        {**FIRST, "project": "leaks", "until": date(2030, 1, 1)}, projects={"leaks": {"until": "2026-06-30"}}
    )
    assert shows(works, "ana", date(2026, 6, 30)).until == datetime(2026, 7, 1, tzinfo=UTC)
    assert shows(works, "ana", date(2026, 7, 1)) is None
    assert "unknown project 'leak': did you mean 'leaks'?" in faults(
        {**FIRST, "project": "leak"}, projects={"leaks": {"until": "2026-06-30"}}
    )


def given_on(**more: Any) -> dict[str, Any]:
    return {"id": "second", **PEOPLE, "users": ["ben"], "via": "first", "by": "ana", **more}


def test_what_is_given_on_is_never_more_than_was_given() -> None:
    both = policy({**FIRST, "delegate": ["ben"], "until": date(2026, 6, 30), "max_rows": 5}, given_on(max_rows=50))
    decision = shows(both, "ben")
    assert decision.masks == {"name": ("keep_first(1)",)}
    assert decision.filters == ("id < 9",)
    assert decision.max_rows == 5
    assert decision.ids == ("first", "second")
    assert shows(both, "ben", date(2026, 7, 1)) is None
    assert shows(both, "eve") is None


def test_a_denial_of_the_giver_ends_what_was_given_on() -> None:
    first = {**FIRST, "delegate": ["ben"]}
    denial = {"id": "no", "relation": "people", "deny": True, "users": ["ana"]}
    assert shows(policy(first, given_on(), denial), "ben") is None
    column = {**denial, "columns": ["name"]}
    assert shows(policy(first, given_on(), column), "ben").columns == ("id", "ward")


def test_what_narrows_the_giver_narrows_what_was_given_on() -> None:
    """Ana holds two grants, so the strictest of both; whoever has it from her gets no more by the first alone."""
    narrow = {"id": "narrow", **PEOPLE, "users": ["ana"], "columns": ["id"], "row_filter": "id < 3", "max_rows": 2}
    first = {**FIRST, "delegate": 2}
    third = {"id": "third", **PEOPLE, "users": ["cy"], "via": "second", "by": "ben"}
    chain = policy(first, given_on(delegate=1), third, narrow)
    for user in ("ana", "ben", "cy"):
        decision = shows(chain, user)
        assert (decision.columns, set(decision.filters), decision.max_rows) == (("id",), {"id < 9", "id < 3"}, 2), user
    # Grants that add up do so for whoever holds them, and for nobody who was given another one.
    unions = [
        {"id": f"union-{user}", **PEOPLE, "users": [user], "combine": "union", "row_filter": f"ward = '{user}'"}
        for user in ("ana", "ben")
    ]
    both = policy(first, given_on(), *unions)
    assert set(shows(both, "ben").filters) == {"id < 9", "ward = 'ana'", "ward = 'ben'"}


def test_where_a_grant_comes_from_is_said_by_its_id_and_not_by_its_place() -> None:
    """A grant without an id is named by its place in records; one that is written above it would take that name."""
    unnamed = {k: v for k, v in {**FIRST, "delegate": 1}.items() if k != "id"}
    assert "no grant 'people#0' of people" in faults(unnamed, given_on(via="people#0"))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_the_last_day_of_the_calendar_is_a_day_like_any_other(zone: str) -> None:
    for_ever = policy({**FIRST, "until": date.max}, limits={"timezone": zone})
    assert shows(for_ever, "ana").until > NOON
    assert shows(for_ever, "ana", date(9999, 12, 30)) is not None


def test_a_contractor_gives_on_as_many_steps_as_the_owner_allows_and_the_project_ends_all_of_it() -> None:
    first = {**FIRST, "delegate": 2, "project": "leaks"}
    third = {"id": "third", **PEOPLE, "users": ["cy"], "via": "second", "by": "ben", "columns": ["id", "name"]}
    projects = {"leaks": {"until": "2026-06-30"}}
    chain = policy(first, given_on(delegate=1), third, projects=projects)
    assert shows(chain, "cy").columns == ("id", "name")
    assert shows(chain, "cy").masks == {"name": ("keep_first(1)",)}
    assert shows(chain, "cy", date(2026, 7, 1)) is None
    assert "second may not be given on" in faults(first, given_on(), third, projects=projects)
    assert "by 2 steps in all" in faults(first, given_on(delegate=2), projects=projects)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {}, "first may not be given on: its owner says so by `delegate`"),
        ({"delegate": ["cy"]}, {}, "first may be given on to cy alone, not to ben"),
        ({"delegate": ["ben"]}, {"delegate": 1}, "and by them to nobody"),
        ({"delegate": 1}, {"by": "eve"}, "eve does not hold first for mass-balance"),
        ({"delegate": 1}, {"by": ""}, "`via` and `by` stand together"),
        ({"delegate": 1}, {"via": "frist"}, "no grant 'frist' of people: did you mean 'first'?"),
        ({"delegate": 1}, {"users": (), "groups": ["g"]}, "names `users`, and no groups"),
        ({"delegate": 1}, {"purposes": ["statistics"]}, "ana does not hold first for statistics"),
        ({"delegate": 1}, {"mode": "schema"}, "first is of mode masked: given on it stays that"),
        ({"delegate": 1}, {"mode": "open", "purposes": ()}, "first is of mode masked: given on it stays that"),
        ({"delegate": 1, "combine": "union"}, {}, "a union is not given on"),
        ({"delegate": 9}, {}, "must be users, such as [ana, ben], or a number of steps up to 5"),
        ({"delegate": []}, {}, "must be users, such as [ana, ben], or a number of steps up to 5"),
        ({"delegate": 1}, {"id": "first", "via": "first"}, "used twice"),
    ],
)
def test_what_is_given_on_further_than_allowed_is_a_fault_of_the_policy(
    first: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    given = {k: v for k, v in given_on(**second).items() if v != ()}
    assert words in faults({**FIRST, **first}, given, groups={"g": ("ben",)})


def test_what_was_given_in_a_circle_shows_nothing_to_anybody() -> None:
    one = {"id": "one", **PEOPLE, "users": ["ana"], "via": "two", "by": "ben", "delegate": 5}
    two = {"id": "two", **PEOPLE, "users": ["ben"], "via": "one", "by": "ana", "delegate": 4}
    assert "steps in all" in faults(one, two)


LISTS = st.lists(st.sampled_from(["id", "name", "ward"]), min_size=1, unique=True)
TERMS = st.fixed_dictionaries(
    {"columns": LISTS},
    optional={
        "row_filter": st.sampled_from(["id < 9", "ward = 'n'"]),
        "max_rows": st.integers(1, 9),
        "until": st.dates(date(2026, 6, 1), date(2026, 6, 9)),
        "per_day": st.integers(1, 9),
    },
)


@given(TERMS, TERMS)
def test_for_any_terms_the_second_sees_no_more_than_the_first(mine: dict[str, Any], given: dict[str, Any]) -> None:
    base = {"id": "first", **PEOPLE, "users": ["ana"], "delegate": 1, **mine}
    both = policy(base, given_on(**given))
    holder, receiver = shows(both, "ana"), shows(both, "ben")
    assert holder is not None
    if receiver is None:
        assert not set(mine["columns"]) & set(given["columns"])
        return
    assert set(receiver.columns) <= set(holder.columns)
    assert set(receiver.filters) >= set(holder.filters)
    for cap in ("max_rows", "questions_per_day"):
        bound = getattr(holder, cap)
        assert bound is None or getattr(receiver, cap) <= bound
    assert holder.until is None or receiver.until <= holder.until


# ---- a grant more in the owner's own text ----------------------------------------------------------------------------

GRANT = {"id": "request-1f", "relation": "people", "mode": "masked", "users": ["lin"], "until": date(2027, 1, 31)}
TEXTS = [
    "# ours\ngrants:\n  - {id: a}  # one\n\n  # two\n  - id: b\n    note: |\n      x\n\n# tests\ntests: []\n",
    "department: water  # x\u2028title: y\x85grants:\n  - id: a\nlimits: {}\n",
    "department: water\ngrants:\n- id: a\n- id: b\n",
    "department: water\n",
    "department: water\ngrants: []   # none yet\nlimits: {}\n",
    "department: water\ngrants: [{id: a}, {id: b},]\n",
    "department: water\ngrants:\nlimits: {}\n",
    "department: water\ngrants:\n  - id: a",
    "grants:\r\n  - id: a\r\nlimits: {}\r\n",
    "p: &p [x]\ngrants:\n  - id: a\n    purposes: *p\n  - {id: b, purposes: *p}\ntests:\n  - {x: *p}\n",
    "grants:\n  - id: a\n    row_filter: >-\n      ward = 'n'\n      # no comment\n",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "note", ["", "asked for by lin: leaks", "a\n- id: evil\n  deny: false", "# \u2028- x", "'\"{[\t"]
)
def test_the_owners_text_stays_and_says_one_grant_more(text: str, note: str) -> None:
    new = with_grant(text, GRANT, note)
    before, after = read_yaml(text)[0], read_yaml(new)[0]
    assert after == {**before, "grants": [*(before.get("grants") or []), GRANT]}
    kept = [line for line in text.split("\n") if line.strip() and "grants:" not in line]
    assert [line for line in new.split("\n") if line in kept] == kept
