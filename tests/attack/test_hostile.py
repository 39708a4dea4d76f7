"""A thousand requests of a captured gateway: nothing beyond its live user's rights, no canary, all of it on record."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from catalog.errors import CityError
from catalog.ledger import read_ledger
from tests.attack.canary import found_in
from tests.attack.cases import same
from tests.attack.door import Door, Reply
from tests.attack.hostile import KINDS_OF_SHOT, Shot, fire, programme
from tests.attack.world import World, open_world, oracle_of
from tests.masks_first.oracle import Oracle

SEED = int(os.environ.get("ATTACK_SEED", "20260101"))
SHOTS = 1000
ANSWERED = {"altered_head", "wrong_content_type"}
"""Kinds that change nothing of what the user may see: these must be answered, or the suite asks nothing."""

UNHEARD = {"no_http", "half_a_request"}
"""What never becomes a request: no HTTP, or a body that does not arrive."""


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An agent of its own: nobody else writes into its ledger."""
    with open_world(tmp_path_factory.mktemp("hostile"), request, ("sqlite",), gateway=False) as opened:
        yield opened


@dataclass
class Volley:
    """What became of all shots. unseen: kinds of shots that were neither recorded nor counted for a record."""

    faults: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    unseen: Counter[str] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def volley(door: Door) -> Volley:
    oracle, found = oracle_of(), Volley()
    agent = door.department.agent
    for number, shot in enumerate(programme(door, SEED, SHOTS)):
        before = (agent.ledger.head.seq, agent.refusals.total)
        reply = fire(door, shot)
        outcome = "gone" if reply is None else reply.outcome or f"HTTP {reply.status}"
        found.outcomes[outcome] += 1
        found.by_kind.setdefault(shot.kind, Counter())[outcome] += 1
        found.faults += [f"{number} {shot.kind}: {f}" for f in judged(shot, reply, oracle)]
        if reply is not None and (agent.ledger.head.seq, agent.refusals.total) == before:
            found.unseen[shot.kind] += 1
    return found


def judged(shot: Shot, reply: Reply | None, oracle: Oracle) -> list[str]:
    """What is wrong with a reply: a canary, an answer where none may be, or another than the masked copy's."""
    if reply is None:
        return []
    faults = [f"shows {c}" for c in reply.canaries()]
    if reply.status >= 500 and reply.outcome not in ("EXECUTION", "CLOSED"):
        faults.append(f"status {reply.status}")
    if reply.table is None or reply.outcome != "OK":
        return faults
    if not shot.wanted:
        return [*faults, f"answered {reply.rows}"]
    try:
        wanted = oracle.ask(shot.wanted)
    except CityError as unknown:
        return [*faults, f"answered {reply.rows}, where the copy has no answer: {unknown}"]
    if isinstance(wanted, CityError) or not same(reply.rows, wanted):
        faults.append(f"answered {reply.rows}, not {wanted}: {shot.wanted}")
    return faults


def test_nothing_beyond_what_the_user_may_see(volley: Volley) -> None:
    assert not volley.faults, volley.faults[:10]


def test_the_programme_is_hostile_and_not_refused_wholesale(volley: Volley) -> None:
    assert sum(volley.outcomes.values()) == SHOTS
    assert set(volley.by_kind) == set(KINDS_OF_SHOT)
    assert len(KINDS_OF_SHOT) >= 30
    assert volley.outcomes["AUTH"] > 200
    for kind in ANSWERED:
        assert set(volley.by_kind[kind]) == {"OK"}, (kind, volley.by_kind[kind])
    assert len(volley.outcomes) >= 8, volley.outcomes


def test_every_request_is_in_the_owners_ledger(volley: Volley) -> None:
    assert set(volley.unseen) <= UNHEARD, volley.unseen


def test_what_was_counted_of_strangers_is_in_the_ledger_too(door: Door, volley: Volley) -> None:
    agent = door.department.agent
    agent.refusals.close()
    records = list(read_ledger(door.department.house.folder / "state" / "ledger.jsonl"))
    alone = [r for r in records if r["kind"] == "refusal" and "peer" in r]
    counted = sum(r["count"] for r in records if r["kind"] == "refusals")
    assert counted > 0
    assert len(alone) + counted == agent.refusals.total


def test_the_ledger_says_of_whom_and_nothing_of_what(door: Door, volley: Volley) -> None:
    path: Path = door.department.house.folder / "state" / "ledger.jsonl"
    records = list(read_ledger(path))
    refusals = [r for r in records if r["kind"] == "refusal"]
    assert len([r for r in records if r["kind"] == "begin"]) >= 100
    assert {r["sub"] for r in refusals} == {"", "lin"}
    assert found_in(path.read_bytes()) == []


def test_the_agent_lives_and_owes_nothing(door: Door, volley: Volley) -> None:
    reply = door.ask(door.token("lin", "mass-balance"), "SELECT count(*) AS c0 FROM dept.main.people AS t")
    assert reply.rows == [(9,)]
    assert door.department.agent.running == 0
    assert door.get("", "/healthz").status == 200


def test_one_signed_request_sent_in_parallel_is_answered_once(door: Door) -> None:
    body = door.body("SELECT t.id AS c0 FROM dept.main.people AS t")
    headers = door.signed(door.token("lin", "mass-balance"), body)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: door.send(body, headers), range(8)))
    assert Counter(r.outcome for r in replies) == {"OK": 1, "AUTH": 7}
    assert not [c for r in replies for c in r.canaries()]


def test_one_fragment_signed_anew_in_parallel_is_each_time_right(door: Door) -> None:
    body = door.body("SELECT t.id AS c0, t.born AS c1 FROM dept.main.people AS t")
    token = door.token("lin", "mass-balance")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: door.send(body, door.signed(token, body)), range(16)))
    assert {r.outcome for r in replies} <= {"OK", "BUSY"}
    answered = [r for r in replies if r.outcome == "OK"]
    assert answered
    assert len({str(sorted(r.rows)) for r in answered}) == 1
