"""Verify mode: match, no-match, invalid; budgets before look-ups; nothing else in the answer or its timing."""

from __future__ import annotations

import itertools
import math
import os
import random
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from stdnum.iso7064 import mod_11_2

from catalog.errors import CityError, Outcome
from catalog.ledger import read_ledger
from connectors.agent.fragment import FragmentRun
from connectors.agent.service import Agent
from connectors.agent.verify import person_id
from tests.agent.house import Ask, House, read_answer, tuples

SQL = """SELECT k AS c0, verify('owner', k) AS c1 FROM "$keys" """


def make_id(serial: int, year: int = 1970) -> str:
    body = f"449901{year}0{serial % 9 + 1}{serial % 28 + 1:02d}{serial % 1000:03d}"
    return body + str(mod_11_2.calc_check_digit(body))


def old(value: str) -> str:
    return value[:6] + value[8:17]


OWNERS = [make_id(i) for i in range(300)]
STORED = [old(o) if i % 10 == 0 else o for i, o in enumerate(OWNERS)]
STRANGERS = [make_id(i, 1985) for i in range(300)]


def grant(**more: Any) -> dict[str, Any]:
    return {"id": "own", "relation": "owner", "purposes": ["benefit-eligibility"], "mode": "verify",
            "key": "person", "per_day": 200, "per_subject": 5, **more}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> House:
    policy = {
        "department": "housing",
        "relations": {"owner": {"table": "owner", "listed": True, "columns": {"person": "varchar", "area": "integer"}}},
        "grants": [grant()],
        "limits": {"timezone": "Asia/Shanghai"},
    }
    rows = [(s, i, int(i == 7)) for i, s in enumerate(STORED)]
    return House(tmp_path, policy, {"owner": ("person TEXT, area INTEGER, withheld INTEGER", rows)})


class Clock:
    """Starts at eleven in the evening, local time."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 15, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agent(house: House, clock: Clock) -> Iterator[Agent]:
    opened = house.open(clock)
    yield opened
    opened.close()


async def test_the_three_verdicts_in_every_form_of_the_id(house: House, agent: Agent) -> None:
    wrong = OWNERS[3][:17] + ("0" if OWNERS[3][17] != "0" else "1")
    claims = {
        OWNERS[1]: "match", OWNERS[10]: "match", old(OWNERS[2]): "match", old(OWNERS[20]): "match",
        STRANGERS[1]: "no-match", old(make_id(5, 1901)): "no-match",
        wrong: "invalid", "": "invalid", "x": "invalid", OWNERS[4] + "0": "invalid",
        make_id(4)[:10] + "13" + make_id(4)[12:]: "invalid", "４" * 18: "invalid",
    }  # fmt: skip
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        table = await ask.rows(SQL, keys=list(claims))
    assert tuples(table) == list(claims.items())


async def test_a_withheld_row_is_a_no_match(house: House) -> None:
    house.write(grants=[grant(row_filter="withheld = 0")])
    async with house.client("wu", "benefit-eligibility") as ask:
        assert tuples(await ask.rows(SQL, keys=[OWNERS[7], OWNERS[8]])) == [
            (OWNERS[7], "no-match"),
            (OWNERS[8], "match"),
        ]


async def test_the_users_budget_is_for_a_day_and_a_batch_beyond_it_answers_nothing(
    house: House, agent: Agent, clock: Clock
) -> None:
    subjects = random.Random(1).sample(STRANGERS, 260)
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        for i in (0, 100):
            assert (await ask.rows(SQL, keys=subjects[i : i + 100])).num_rows == 100
        refused = await ask.refusal(SQL, keys=subjects[200:201])
        assert refused.outcome is Outcome.BUDGET
        assert "2026-03-02T00:00+08:00" in refused.hint
        assert refused.retry_after == 3600
    async with house.client("luo", "benefit-eligibility", agent) as other:
        assert (await other.rows(SQL, keys=subjects[200:201])).num_rows == 1
    clock.now += timedelta(hours=2)
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        assert (await ask.rows(SQL, keys=subjects[200:201])).num_rows == 1


async def test_a_subjects_budget_is_over_all_users_and_outlives_a_restart(house: House, clock: Clock) -> None:
    agent = house.open(clock)
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        for _ in range(3):
            await ask.rows(SQL, keys=[OWNERS[1]])
    async with house.client("luo", "benefit-eligibility", agent) as ask:
        await ask.rows(SQL, keys=[old(OWNERS[1])])
        await ask.rows(SQL, keys=[OWNERS[1], OWNERS[2]])
        assert (await ask.refusal(SQL, keys=[OWNERS[1], OWNERS[3]])).outcome is Outcome.BUDGET
        await ask.rows(SQL, keys=[OWNERS[3]])
    agent.close()
    restarted = house.open(clock)
    async with house.client("wu", "benefit-eligibility", restarted) as ask:
        assert (await ask.refusal(SQL, keys=[old(OWNERS[1])])).outcome is Outcome.BUDGET
    restarted.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT o.person AS c0 FROM housing.main.owner AS o",
        "SELECT count(*) AS c0 FROM housing.main.owner AS o",
        """SELECT k AS c0, verify('owner', k) AS c1 FROM "$keys" WHERE k LIKE '4499%'""",
        """SELECT k AS c0, verify('owner', substr(k, 1, 18)) AS c1 FROM "$keys" """,
        """SELECT verify('owner', k) AS c0, k AS c1 FROM "$keys" """,
        """SELECT k AS c0, verify('owner', k) = 'match' AS c1 FROM "$keys" """,
        """SELECT k AS c0, verify('owner', k, 1) AS c1 FROM "$keys" """,
        """SELECT k AS c0, verify(k, k) AS c1 FROM "$keys" """,
        """SELECT o.person AS c0, verify('owner', o.person) AS c1 FROM housing.main.owner AS o""",
    ],
)
async def test_any_other_question_is_refused(house: House, agent: Agent, sql: str) -> None:
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        assert (await ask.refusal(sql, keys=[OWNERS[1]])).outcome is Outcome.MODE
        assert (
            await ask.rows("""SELECT k AS c0, verify('housing.main.owner', k) AS c1 FROM "$keys" """, keys=[OWNERS[1]])
        ).num_rows == 1


async def test_large_batches_wrong_users_and_missing_keys(house: House, agent: Agent) -> None:
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        assert (await ask.refusal(SQL, keys=STRANGERS[:101])).outcome is Outcome.TOO_LARGE
        assert (await ask.refusal(SQL)).outcome is Outcome.SEMANTIC
        assert (await ask.refusal(SQL.replace("owner", "owners"), keys=OWNERS[:1])).outcome is Outcome.NOT_AVAILABLE
    async with house.client("chen", "public-health", agent) as ask:
        assert (await ask.refusal(SQL, keys=OWNERS[:1])).outcome is Outcome.NOT_AVAILABLE


async def test_the_ledger_counts_claims_and_never_holds_an_id(house: House, agent: Agent) -> None:
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        await ask.rows(SQL, keys=[OWNERS[1], STRANGERS[2], "x"])
    path = house.folder / "state" / "ledger.jsonl"
    begin = next(r for r in read_ledger(path) if r["kind"] == "begin")
    assert (begin["mode"], begin["keys"], len(begin["subjects"])) == ("verify", 3, 2)
    for file in (house.folder / "state").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert OWNERS[1].encode() not in data
            assert STRANGERS[2].encode() not in data


def test_ids_by_example() -> None:
    assert person_id("11010519491231002X") == "11010519491231002X"
    assert person_id("110105491231002") == "11010519491231002X"
    assert person_id("11010519491231002x") is None
    assert person_id("110105194912310021") is None
    assert person_id("11010519490231002X") is None


# ---- what a probe can tell: bytes and time, at the agent's own door -------------------------------------------

FULL = os.environ.get("ATTACK") == "all"
PROBES = 334 if FULL else 34
"""Of each of the three kinds: a thousand in `make attack`, a hundred here."""
GRID = 0.05


def threshold(number: int) -> float:
    """The Kolmogorov-Smirnov distance that two samples of this size from one distribution exceed once in a thousand."""
    return 1.95 * math.sqrt(2 / number)


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest difference of two empirical distributions, 0 to 1."""
    places = sorted({*one, *other})
    below = [np.searchsorted(np.sort(x), places, "right") / len(x) for x in (one, other)]
    return float(np.max(np.abs(below[0] - below[1])))


def test_the_distance_tells_two_distributions_apart() -> None:
    rng = random.Random(6)
    one = [rng.gauss(0, 1) for _ in range(PROBES)]
    assert distance(one, [rng.gauss(0, 1) for _ in range(PROBES)]) < threshold(PROBES)
    assert distance(one, [rng.gauss(2, 1) for _ in range(PROBES)]) > threshold(PROBES)


@pytest.fixture
def sold(tmp_path: Path) -> House:
    """Who sold: a row that the filter withholds (S..). Who holds one yet: H... Nobody else is there."""
    policy = {
        "department": "housing",
        "relations": {"owner": {"table": "owner", "columns": {"person": {"type": "varchar", "concept": "code"}}}},
        "grants": [grant(row_filter="withheld = 0", per_day=100_000, per_subject=100_000)],
        "limits": {"seconds": 3600},
    }
    rows = [(f"S{i:05d}", 1) for i in range(PROBES)] + [(f"H{i:05d}", 0) for i in range(PROBES)]
    return House(tmp_path, policy, {"owner": ("person TEXT, withheld INTEGER", rows)})


def plain_bytes(content: bytes, subject: str) -> tuple[str, ...]:
    """An answer without what differs from one answer to any next: ids, moments, hashes and signatures."""
    table, end = read_answer(content)
    assert end.receipt is not None
    told = end.model_dump(mode="json", exclude={"signature": True, "kid": True, "receipt": MOVING})
    rows = [["subject" if v == subject else v for v in row] for row in tuples(table)]
    return table.schema.to_string(), orjson.dumps(rows).decode(), orjson.dumps(told).decode()


MOVING = {"id", "fragment_id", "at", "ledger", "delivered", "signature"}


async def probe(ask: Ask, subject: str) -> tuple[float, tuple[Any, ...]]:
    """(seconds at the door; status, headers and bytes) of one claim."""
    ask.token = ask.house.token("wu", "benefit-eligibility")  # a thousand probes may outlast one
    body = ask.fragment(SQL, [subject])
    begun = time.monotonic()
    response = await ask.send("POST", "/v1/fragment", body)
    spent = time.monotonic() - begun
    headers = {k: v for k, v in response.headers.items() if k != "date"}
    return spent, (response.status_code, tuple(sorted(headers.items())), *plain_bytes(response.content, subject))


KINDS = {"sold": "S{:05d}", "never": "N{:05d}", "unknown": "XY-{:03d}"}


async def probes(house: House, number: int) -> tuple[dict[str, list[float]], set[tuple[Any, ...]]]:
    """(seconds by kind of subject, the different answers) of so many probes of each kind in random order."""
    plan = [(kind, text.format(i)) for kind, text in KINDS.items() for i in range(number)]
    random.Random(3).shuffle(plan)
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
    said: set[tuple[Any, ...]] = set()
    async with house.client("wu", "benefit-eligibility") as ask:
        assert tuples(await ask.rows(SQL, keys=["H00001"])) == [("H00001", "match")]
        # The first answers find nothing warm: they are no sample of the others.
        for i in range(5):
            await probe(ask, f"W{i:05d}")
        for kind, subject in plan:
            seconds, answer = await probe(ask, subject)
            spent[kind].append(seconds)
            said.add(answer)
    return spent, said


def apart(spent: Mapping[str, Sequence[float]]) -> list[tuple[str, str]]:
    """Kinds of subjects that their times tell apart."""
    pairs = itertools.combinations(spent, 2)
    return [(a, b) for a, b in pairs if distance(spent[a], spent[b]) >= threshold(len(spent[a]))]


async def test_sold_never_and_unknown_are_one_answer_in_bytes_and_time(sold: House) -> None:
    """A row that is withheld, a number like it that never was, and one of another form: the same bytes but for ids and
    moments, and times of one distribution, by the Kolmogorov-Smirnov distance under `threshold`."""
    spent, said = await probes(sold, PROBES)
    assert len(said) == 1
    assert '"no-match"' in next(iter(said))[3]
    assert apart(spent) == []
    assert all(s >= GRID / 2 for times in spent.values() for s in times)


async def test_a_look_up_that_takes_longer_for_some_would_show(sold: House, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FragmentRun._look_up

    def slower(self: Any, relation: Any, decision: Any, subjects: list[str]) -> list[str]:
        self.stop.cancel.wait(6 * GRID if subjects[0].startswith("S") else 0)
        return honest(self, relation, decision, subjects)

    monkeypatch.setattr(FragmentRun, "_look_up", slower)
    spent, _ = await probes(sold, 12)
    assert ("sold", "never") in apart(spent)


async def test_one_subjects_sixth_claim_is_refused_whoever_asks_and_costs_them_nothing(
    house: House, agent: Agent
) -> None:
    askers = ["wu", "luo", "wu", "luo", "wu"]
    for subject in (OWNERS[40], STRANGERS[40]):
        for asker in askers:
            async with house.client(asker, "benefit-eligibility", agent) as ask:
                assert (await ask.rows(SQL, keys=[subject])).num_rows == 1
        refusals = []
        for asker in ("wu", "luo"):
            async with house.client(asker, "benefit-eligibility", agent) as ask:
                response = await ask.send("POST", "/v1/fragment", ask.fragment(SQL, [subject]))
                refusals.append((response.status_code, response.content))
                # Another subject is looked up all the same.
                assert (await ask.rows(SQL, keys=[OWNERS[41 + len(refusals)]])).num_rows == 1
        assert refusals[0] == refusals[1]
        assert CityError.from_dict(orjson.loads(refusals[0][1])).outcome is Outcome.BUDGET


async def test_a_subject_is_counted_in_all_relations_over_its_table(house: House) -> None:
    """A second name of the same rows gives nobody more guesses; another table counts for itself."""
    owner = house.policy["relations"]["owner"]
    with sqlite3.connect(house.folder / "silo.sqlite") as db:
        db.execute("CREATE TABLE tenant AS SELECT * FROM owner")
    house.write(
        relations={"owner": owner, "again": owner, "tenant": {**owner, "table": "tenant"}},
        grants=[grant(), *(grant(id=n, relation=n) for n in ("again", "tenant"))],
    )
    agent = house.open()
    async with house.client("wu", "benefit-eligibility", agent) as ask:
        for name in ("owner", "again", "owner", "again", "owner"):
            assert tuples(await ask.rows(SQL.replace("owner", name), keys=[OWNERS[1]])) == [(OWNERS[1], "match")]
        for name in ("owner", "again"):
            assert (await ask.refusal(SQL.replace("owner", name), keys=[OWNERS[1]])).outcome is Outcome.BUDGET
        # The control twins: another subject, and the same one in another table.
        assert tuples(await ask.rows(SQL.replace("owner", "again"), keys=[OWNERS[2]])) == [(OWNERS[2], "match")]
        assert tuples(await ask.rows(SQL.replace("owner", "tenant"), keys=[OWNERS[1]])) == [(OWNERS[1], "match")]
    agent.close()
