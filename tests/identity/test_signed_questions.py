"""A strict table answers what its user signed; whoever owns the gateway and the live token cannot ask more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import CityError, Outcome
from catalog.exchange import Question
from catalog.keys import SigningKey
from catalog.question import SECONDS, canonical_sql, sign_question, verify_question
from connectors.agent.service import Agent
from tests.agent.house import Ask, House

MINE, STRANGERS = SigningKey.generate(), SigningKey.generate()
NOW = 1_800_000_000
SQL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=60)

TABLES = {
    "people": ("id INTEGER, name TEXT, born TEXT", [(i, f"n{i}", "1980-01-01") for i in range(20)]),
    "usage": ("org_no TEXT, litres INTEGER", [(f"91{i:04d}", i) for i in range(20)]),
    "visits": (
        "name TEXT, at TEXT, seen TEXT",
        [(f"n{n}", f"2024-03-01 {n:02}:00:00.000", f"2024-03-01 {n:02}:00:00.000+00:00") for n in range(24)],
    ),
}
POLICY: dict[str, Any] = {
    "department": "water",
    "relations": {
        "people": {"table": "people", "columns": {"id": "bigint", "name": "varchar", "born": "date"}},
        "usage": {"table": "usage", "columns": {"org_no": "varchar", "litres": "bigint"}},
        "visits": {
            "table": "visits",
            "columns": {"name": "varchar", "at": "timestamp(3)", "seen": "timestamp(3) with time zone"},
        },
    },
    "grants": [
        {"relation": "people", "purposes": ["mass-balance"], "mode": "masked", "strict": "question"},
        {"relation": "usage", "purposes": ["mass-balance"], "mode": "masked"},
        {"relation": "visits", "purposes": ["mass-balance"], "mode": "masked", "strict": "question"},
    ],
}
NAMES = "SELECT t.id AS c0, t.name AS c1 FROM water.main.people AS t"
USAGE = "SELECT t.litres AS c0 FROM water.main.usage AS t"
MY_NAMES = "SELECT id, name FROM water.main.people WHERE id < 5;"


# ---------------------------------------------------------------- the proof itself


def proven(proof: str, sql: str, purpose: str = "p", jkt: str = MINE.kid, now: float = NOW) -> bool:
    try:
        return len(verify_question(proof, sql, purpose, jkt, now)) == 64
    except ValueError:
        return False


@given(SQL, SQL)
def test_a_proof_fits_the_statement_that_was_signed_and_no_other(signed: str, shown: str) -> None:
    proof = sign_question(MINE, signed, "p", NOW)
    assert proven(proof, shown) is (canonical_sql(signed) == canonical_sql(shown))


def test_blanks_and_semicolons_around_a_statement_do_not_matter_and_inside_they_do() -> None:
    proof = sign_question(MINE, "SELECT 'a  b'", "p", NOW)
    assert proven(proof, "\n SELECT 'a  b' ;\r\n")
    assert not proven(proof, "SELECT 'a b'")


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "q"},
        {"purpose": ""},
        {"jkt": STRANGERS.kid},
        {"jkt": ""},
        {"now": NOW + SECONDS + 1},
        {"now": NOW - 61},
    ],
    ids=["another purpose", "no purpose", "a stranger's key", "no key", "too late", "too early"],
)
def test_a_proof_is_one_users_for_one_purpose_and_for_a_while(change: dict[str, Any]) -> None:
    proof = sign_question(MINE, "SELECT 1", "p", NOW)
    assert proven(proof, "SELECT 1")
    assert not proven(proof, "SELECT 1", **change)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.characters(codec="ascii"))
def test_no_change_of_a_proof_makes_it_another(at: int, letter: str) -> None:
    proof = sign_question(MINE, "SELECT 1", "p", NOW)
    place = at % len(proof)
    changed = proof[:place] + letter + proof[place + 1 :]
    assert changed == proof or not proven(changed, "SELECT 1")


# ---------------------------------------------------------------- at the agent


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder: Path = tmp_path_factory.mktemp("strict")
    return House(folder, POLICY, TABLES)


@pytest.fixture(scope="module")
def agent(house: House) -> Iterator[Agent]:
    opened = house.open()
    yield opened
    opened.close()


def signed(sql: str, key: SigningKey = MINE, purpose: str = "mass-balance", now: float | None = None) -> Question:
    return Question(sql=sql, proof=sign_question(key, sql, purpose, now))


async def outcome(house: House, agent: Agent, fragment: str, question: Question | None, jkt: str = MINE.kid) -> Any:
    """Rows, or the refusal, of a fragment that a gateway with lin's live token sends along with a question."""
    async with house.client("lin", "mass-balance", agent) as ask:
        bound = {"user_jkt": jkt} if jkt else {}
        asked = Ask(house, ask.http, house.token("lin", "mass-balance", **bound), agent)
        try:
            return (await asked.rows(fragment, question=question)).num_rows
        except CityError as refused:
            return refused


async def test_a_strict_table_answers_the_question_that_its_user_signed(house: House, agent: Agent) -> None:
    assert await outcome(house, agent, NAMES, signed(MY_NAMES)) == 5
    begin = [r for r in agent.ledger.records() if r["kind"] == "begin"][-1]
    assert verify_question(begin["proof"], MY_NAMES, "mass-balance", MINE.kid) == begin["question"]
    assert "SELECT" not in str(begin)


async def test_without_a_signature_of_the_user_it_answers_nothing_and_others_answer(house: House, agent: Agent) -> None:
    for question, jkt in ((None, MINE.kid), (None, ""), (signed(MY_NAMES), "")):
        refused = await outcome(house, agent, NAMES, question, jkt)
        assert (refused.outcome, refused.rule) == (Outcome.AUTH, "signed question")
        assert "atoll token --key" in refused.hint
        assert await outcome(house, agent, USAGE, question, jkt) == 20


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (Question(sql="SELECT born FROM people", proof=signed(MY_NAMES).proof), "another text under the user's proof"),
        (signed(MY_NAMES, STRANGERS), "the gateway's own signature"),
        (signed(MY_NAMES, purpose="statistics"), "another purpose"),
        (signed(MY_NAMES, now=time.time() - SECONDS - 5), "yesterday's question"),
        (Question(sql=MY_NAMES, proof="x.y.z"), "nonsense"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
async def test_a_captured_gateway_cannot_forge_a_question(
    house: House, agent: Agent, question: Question, why: str
) -> None:
    for fragment in (NAMES, USAGE):
        refused = await outcome(house, agent, fragment, question)
        assert (refused.outcome, refused.rule) == (Outcome.AUTH, "signed question"), why


@pytest.mark.parametrize(
    ("asked", "fragment", "fits"),
    [
        (MY_NAMES, NAMES, True),
        (MY_NAMES, "SELECT t.born AS c0 FROM water.main.people AS t", False),
        (MY_NAMES, "SELECT t.id AS c0 FROM water.main.people AS t WHERE t.born > DATE '1970-01-01'", False),
        ("SELECT count(*) FROM people", "SELECT count(*) AS c0 FROM water.main.people AS t", True),
        ("SELECT count(*) FROM people", NAMES, False),
        ("SELECT * FROM water.main.people", "SELECT t.born AS c0 FROM water.main.people AS t", True),
        ("SELECT p.* FROM people p", NAMES, True),
        ("SELECT litres FROM water.main.usage", NAMES, False),
        ("SELECT 'people', 'id', 'name'", NAMES, False),
        ("SELECT id, name FROM market.main.people", NAMES, False),
        ('SELECT "ID", "NAME" FROM Water.Main."PEOPLE"', NAMES, True),
        ("WITH x AS (SELECT id, name FROM people) SELECT max(name) FROM x GROUP BY id", NAMES, True),
        ("SELECT u.litres FROM usage u JOIN people p ON p.name = u.org_no AND p.id = 1", NAMES, True),
        ("SELECT x FROM people AS p(x, y, z)", NAMES, True),
        ("SELECT id, name FROM people", "SELECT t.z AS c0 FROM water.main.people AS t(x, y, z)", False),
        (
            "SELECT id FROM people",
            "SELECT t.id AS c0 FROM water.main.people AS t JOIN (SELECT DATE '1980-01-01' AS born) AS u USING (born)",
            False,
        ),
        (MY_NAMES, "SELECT count(*) AS c0 FROM (SELECT * FROM water.main.people) AS t", False),
        (MY_NAMES, "SELECT t.born AS c0, count(*) AS c1 FROM water.main.people AS t GROUP BY t.born", False),
        (MY_NAMES, "SELECT t.id AS c0 FROM water.main.people AS t ORDER BY t.born LIMIT 1", False),
        ("EXECUTE names", NAMES, False),
        ("SELECT id, name FROM people; SELECT born FROM people", NAMES, False),
        ("-- people id name\nSELECT 1", NAMES, False),
        ("not sql at all (", NAMES, False),
    ],
)
async def test_a_fragment_touches_only_what_the_signed_question_names(
    house: House, agent: Agent, asked: str, fragment: str, fits: bool
) -> None:
    found = await outcome(house, agent, fragment, signed(asked))
    if fits:
        assert isinstance(found, int)
    else:
        assert (found.outcome, found.rule) == (Outcome.AUTH, "signed question")


async def test_a_strict_department_asks_it_of_raw_and_verify_alone(house: House, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    raw = {
        "relation": "people", "purposes": ["mass-balance"], "mode": "raw", "users": ["lin"], "requester": "lin",
        "approver": "he", "case": "c1", "legal_basis": "law", "max_rows": 100,
        "from": str(today), "until": str(today + timedelta(days=20)),
    }  # fmt: skip
    policy = {**POLICY, "grants": [raw, POLICY["grants"][1]], "limits": {"strict": "question"}}
    strict = House(tmp_path, policy, TABLES)
    opened = strict.open()
    try:
        assert await outcome(strict, opened, USAGE, None) == 20
        assert (await outcome(strict, opened, NAMES, None)).rule == "signed question"
        assert await outcome(strict, opened, NAMES, signed(MY_NAMES)) == 5
    finally:
        opened.close()


# ---------------------------------------------------------------- which rows a signed question can need


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ("SELECT id, name FROM people WHERE id = 7", [7]),
        ("SELECT id, name FROM people WHERE name IS NOT NULL AND (id BETWEEN 3 AND 4 OR id IN (9, 11))", [3, 4, 9, 11]),
        ("SELECT p.id, name FROM people AS p WHERE NOT p.id > 1", [0, 1]),
        ("WITH x AS (SELECT id, name FROM water.main.people WHERE id < 2) SELECT * FROM x WHERE id = 1", [0, 1]),
        ("SELECT id, name FROM people WHERE id = 1 UNION ALL SELECT id, name FROM people WHERE id = 2", [1, 2]),
        ("SELECT count(name) FROM people GROUP BY id HAVING id = 3", list(range(20))),
        ("SELECT id, name FROM people WHERE id = 1 UNION ALL SELECT id, name FROM people", list(range(20))),
        ("SELECT p.id, p.name FROM people p, usage u WHERE p.id = 5 AND u.litres = p.id", [5]),
        ("SELECT p.id, p.name FROM people p JOIN usage u ON u.litres = p.id WHERE u.litres = 4", list(range(20))),
        ("SELECT p.id, p.name FROM usage u LEFT JOIN people p ON u.litres = p.id WHERE p.id = 4", list(range(20))),
        ("SELECT id, name FROM people WHERE id = (SELECT max(litres) FROM usage)", list(range(20))),
        ("SELECT id, name FROM people WHERE id + 1 = 3", list(range(20))),
        ("SELECT 1 FROM usage u WHERE EXISTS (SELECT name FROM people p WHERE p.id = u.litres AND p.id < 2)", [0, 1]),
        ("WITH people AS (SELECT 1 AS id) SELECT p.id, p.name FROM water.main.people p, people WHERE p.id = 6", [6]),
    ],
)
async def test_rows_that_a_signed_question_cannot_need_do_not_leave(
    house: House, agent: Agent, asked: str, rows: list[int]
) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        own = Ask(house, ask.http, house.token("lin", "mass-balance", user_jkt=MINE.kid), agent)
        found = await own.rows(NAMES, question=signed(asked))
        count = await own.rows("SELECT count(t.name) AS c0 FROM water.main.people AS t", question=signed(asked))
    assert sorted(found.column(0).to_pylist()) == rows
    assert count.column(0).to_pylist() == [len(rows)]


LOCAL, IN_UTC = "TIMESTAMP '2024-03-01 {:02}:00:00'", "TIMESTAMP '2024-03-01 {:02}:00:00 UTC'"
MADE_ONE = "CAST('2024-03-01 {:02}:00:00' AS TIMESTAMP(3) WITH TIME ZONE)"


@pytest.mark.parametrize(
    ("column", "literal", "steady"),
    [
        ("at", LOCAL, True), ("at", IN_UTC, False), ("AT", IN_UTC, False), ('v."At"', IN_UTC, False),
        ("seen", IN_UTC, True), ("seen", LOCAL, False), ("V.SEEN", LOCAL, False), ("seen", MADE_ONE, False),
        ("seen", MADE_ONE.replace("CAST", "TRY_CAST"), False), ("at", MADE_ONE, False),
        ("name <> 'n7' AND v.seen", MADE_ONE, False), ("name < CAST('p' AS varchar) AND seen", IN_UTC, True),
    ],
)  # fmt: skip
async def test_a_time_zone_that_was_not_signed_opens_no_other_rows(
    house: House, agent: Agent, column: str, literal: str, steady: bool
) -> None:
    """The gateway says in which zone moments without one lie: by that it would walk over the day with one proof."""
    bounds = f"{column} >= {literal.format(10)} AND {column} < {literal.format(11)}"
    asked = signed(f"SELECT name FROM visits v WHERE {bounds}")
    seen, refused = set[str](), list[tuple[str, Outcome, str]]()
    async with house.client("lin", "mass-balance", agent) as ask:
        own = Ask(house, ask.http, house.token("lin", "mass-balance", user_jkt=MINE.kid), agent)
        for zone in ("", "UTC", "+01:00", "-05:00", "Asia/Shanghai"):
            try:
                found = await own.rows("SELECT t.name AS c0 FROM visits AS t", question=asked, time_zone=zone)
                seen |= set(found.column(0).to_pylist())
            except CityError as error:
                refused.append((zone, error.outcome, error.rule))
    assert seen == {"n10"}
    others = () if steady else ("UTC", "+01:00", "-05:00", "Asia/Shanghai")
    assert refused == [(zone, Outcome.AUTH, "signed question") for zone in others]


@pytest.mark.parametrize("condition", ["v.SEEN = v.AT", "v.name = 'n3' OR v.AT = TIMESTAMP '2024-03-01 10:00:00 UTC'"])
async def test_columns_that_the_zone_compares_are_not_opened_by_another(
    house: House, agent: Agent, condition: str
) -> None:
    asked = signed(f"SELECT name FROM visits v WHERE {condition}")
    async with house.client("lin", "mass-balance", agent) as ask:
        own = Ask(house, ask.http, house.token("lin", "mass-balance", user_jkt=MINE.kid), agent)
        assert (await own.rows("SELECT t.name AS c0 FROM visits AS t", question=asked)).num_rows
        refused = await own.refusal("SELECT t.name AS c0 FROM visits AS t", question=asked, time_zone="-05:00")
    assert (refused.outcome, refused.rule) == (Outcome.AUTH, "signed question")


async def test_a_fragment_cannot_step_round_the_conditions(house: House, agent: Agent) -> None:
    asked = signed("SELECT p.id, p.name FROM people p, usage u WHERE p.id = 7 AND u.litres < 99")
    tricks = [
        "SELECT p.id AS c0 FROM water.main.usage AS u LEFT JOIN water.main.people AS p ON u.litres = p.id",
        "SELECT p.id AS c0 FROM water.main.people AS p FULL JOIN water.main.usage AS u ON u.litres = p.id",
    ]
    for fragment in tricks:
        refused = await outcome(house, agent, fragment, asked)
        assert (refused.outcome, refused.rule) == (Outcome.AUTH, "signed question")
    usage = "SELECT u.litres AS c0 FROM water.main.usage AS u WHERE u.litres <> 7"
    for fragment in (
        "SELECT t.id AS c0 FROM water.main.people AS t WHERE t.id = 1 OR t.id = 7",
        "SELECT t.id AS c0 FROM water.main.people AS t WHERE t.id <> 1 OR TRUE",
        "WITH x AS (SELECT t.id AS i FROM water.main.people AS t) SELECT i AS c0 FROM x",
        f"SELECT t.id AS c0 FROM water.main.people AS t EXCEPT {usage}",
    ):
        assert await outcome(house, agent, fragment, asked) == 1, fragment
