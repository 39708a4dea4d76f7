"""Modes `schema` and `synthetic`: names and types, plausible rows, and a silo that nobody even knocks at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import masks
from catalog.errors import AccessDenied, Outcome
from catalog.masks.pseudonym import derive_key, pseudonym
from catalog.policy import Department, PolicyError, decide, parse
from catalog.policy.synthetic import places, typed
from catalog.relation import Column, Linkage, Mode, Relation, RelationList
from catalog.standards import city_tables
from catalog.types import parse as parse_type
from connectors.agent import authorise
from connectors.agent.fits import Fits
from connectors.agent.service import Agent
from connectors.agent.synthetic import StandIn, keys
from connectors.base import Cancel, NativeScan, OutputColumn, SourceError
from gateway.catalogue import Catalogue, UserView
from gateway.execution import Session
from gateway.pipeline import plan_query
from gateway.plan import Plan
from tests.agent.conftest import MASKS, PEOPLE, PEOPLE_DDL, USAGE_DDL, people, usage
from tests.agent.house import House, tuples

CANARY = "canary-Qz7Kx9Lm2Wp4"
NOTICE = "synthetic rows: not real data (water.main.people)"
COLUMNS: dict[str, Any] = {
    **PEOPLE,
    "org_no": {"type": "varchar(18)", "synthetic": {"domain": "company", "format": "91####", "size": 40}},
    "kind": {"type": "varchar", "codes": "kinds"},
    "born": {"type": "date", "synthetic": {"range": ["1930-01-01", "2010-12-31"], "nulls": 10}},
}
USAGE: dict[str, Any] = {
    "org_no": {"type": "varchar", "synthetic": {"domain": "company", "format": "91####", "size": 40, "unique": True}},
    "district_code": {"type": "varchar", "codes": "districts"},
    "month": "date",
    "unit": "varchar",
    "qty": {"type": "decimal(14,3)", "unit": "L", "synthetic": {"range": ["0", "10000.000"]}},
    "litres": "bigint",
}
EXAMPLES = [{"unit": "t", "month": date(2015, 3, 1)}, {"unit": "L", "month": date(2016, 9, 1)}]
POLICY: dict[str, Any] = {
    "department": "water",
    "contact": "metering@water.example",
    "linkage_groups": {"city": {"root": "file:root.hex", "normaliser": "company"}},
    "code_lists": {"kinds": ["C", "H"], "districts": ["449901", "449902", "449903"]},
    "relations": {
        "people": {"table": "people", "columns": COLUMNS, "synthetic": {"rows": 300}},
        "usage": {"table": "usage", "columns": USAGE, "synthetic": {"rows": 40, "examples": EXAMPLES}},
    },
    "grants": [
        {"id": "blind", "relation": "people", "purposes": ["mass-balance"], "mode": "synthetic", "masks": MASKS,
         "row_filter": "hidden = 0"},
        {"id": "blind-usage", "relation": "usage", "purposes": ["mass-balance"], "mode": "synthetic"},
        {"id": "outline", "relation": "usage", "purposes": ["statistics"], "mode": "schema"},
        {"id": "real", "relation": "people", "purposes": ["audit"], "mode": "masked", "masks": MASKS},
    ],
}  # fmt: skip
EVERYTHING = "SELECT t.id AS c0, t.name AS c1, t.org_no AS c2, t.born AS c3, t.debt AS c4 FROM water.main.people AS t"


class Locked:
    """A silo that nobody may touch: whatever is asked of it raises."""

    kind = "sqlite"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the silo was asked for {name}")


def canaries(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(*row[:1], f"{CANARY}{row[0]}", *row[2:]) for row in rows]


def open_house(folder: Path, policy: dict[str, Any] = POLICY) -> House:
    return House(folder, policy, {"people": (PEOPLE_DDL, canaries(people())), "usage": (USAGE_DDL, usage())})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return open_house(tmp_path_factory.mktemp("blind"))


@pytest.fixture(scope="module")
def agent(house: House) -> Iterator[Agent]:
    """An agent whose silo cannot be opened any more."""
    opened = house.open()
    real = opened._sources["main"]
    opened._sources["main"] = Locked()  # type: ignore[assignment]
    yield opened
    opened._sources["main"] = real
    opened.close()


# ---- nothing of the silo -----------------------------------------------------------------------------------


async def test_generated_rows_never_touch_the_silo(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        table = await ask.rows(EVERYTHING)
        grouped = await ask.rows(
            "SELECT t.kind AS c0, count(*) AS c1, sum(t.income) AS c2 FROM water.main.people AS t GROUP BY t.kind"
        )
        joined = await ask.rows(
            "SELECT count(*) AS c0 FROM water.main.usage AS t JOIN water.main.usage AS s ON t.org_no = s.org_no"
        )
        described = await ask.relations()
    assert table.num_rows == 300
    assert {kind for kind, _, _ in tuples(grouped)} == {"C", "H"}
    assert sum(count for _, count, _ in tuples(grouped)) == 300
    assert tuples(joined) == [(40,)]
    assert {r["name"]: r["mode"] for r in described["relations"]} == {"people": "synthetic", "usage": "synthetic"}


async def test_the_locked_silo_would_have_been_noticed(house: House, agent: Agent) -> None:
    """The control twin: a grant of real rows fails on the same agent."""
    async with house.client("sun", "audit", agent) as ask:
        refused = await ask.refusal(EVERYTHING)
    assert refused.outcome is Outcome.EXECUTION


async def test_no_canary_in_the_bytes_of_an_answer(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        response = await ask.send("POST", "/v1/fragment", ask.fragment(EVERYTHING))
        described = await ask.send("GET", "/v1/relations")
    assert CANARY.encode() not in response.content + described.content
    table = pa.ipc.open_stream(response.content).read_all()
    assert not any(CANARY in str(value) for column in table.columns for value in column.to_pylist())


@settings(max_examples=5)
@given(seed=st.integers(1, 1000), count=st.integers(0, 60))
def test_equal_bytes_over_any_raw_data(tmp_path_factory: pytest.TempPathFactory, seed: int, count: int) -> None:
    """Two silos, everything else equal: the same rows, in the same order, to the byte."""
    policy = parse(yaml.safe_dump({
        **POLICY, "identity": {"issuer": "http://idp", "jwks": "file:jwks.json"},
        "sources": {"main": {"kind": "sqlite", "path": "silo.sqlite"}},
        "purposes": ["mass-balance", "statistics", "audit"],
    }))  # fmt: skip
    folder = tmp_path_factory.mktemp("data")
    answers = []
    for rows in (people(count, seed), people(count + 1, seed + 1)):
        with sqlite3.connect(folder / f"{len(answers)}.sqlite") as db:
            db.execute(f"CREATE TABLE people ({PEOPLE_DDL})")
            db.executemany(f"INSERT INTO people VALUES ({', '.join('?' * 14)})", rows)
        answers.append([ipc(b) for b in scan(StandIn(policy, b"k" * 32), policy, "people")])
    assert answers[0] == answers[1]


async def test_the_silo_may_change_and_the_answer_does_not(tmp_path: Path) -> None:
    house = open_house(tmp_path)
    agent = house.open()
    digests = []
    for change in ("SELECT 1", "DELETE FROM people", "DROP TABLE people"):
        with sqlite3.connect(tmp_path / "silo.sqlite") as db:
            db.execute(change)
        async with house.client("lin", "mass-balance", agent) as ask:
            await ask.rows(EVERYTHING)
            assert ask.end is not None
            assert ask.end.receipt is not None
            digests.append((ask.end.receipt.delivered, ask.end.receipt.rows, ask.end.receipt.bytes, ask.end.warnings))
    agent.close()
    assert digests[0][1] == 300
    assert digests.count(digests[0]) == 3


async def test_with_another_secret_the_rows_are_others_and_with_the_same_they_stay(tmp_path: Path) -> None:
    answers = []
    for name in ("one", "two"):
        house = open_house(tmp_path / name)
        for _ in range(2):  # an agent that starts anew knows its secret still
            async with house.client("lin", "mass-balance") as ask:
                answers.append(tuples(await ask.rows(EVERYTHING)))
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]
    assert answers[0] != answers[2]


async def test_schema_mode_answers_no_question_and_touches_no_silo(house: House, agent: Agent) -> None:
    asked = [
        "SELECT t.qty AS c0 FROM water.main.usage AS t",
        "SELECT count(*) AS c0 FROM water.main.usage AS t",
        "SELECT t.org_no AS c0 FROM water.main.usage AS t LIMIT 0",
    ]
    async with house.client("bi", "statistics", agent) as ask:
        for sql in asked:
            refused = await ask.refusal(sql)
            assert refused.outcome is Outcome.MODE
            assert "owner" in refused.hint
        described = {r["name"]: r for r in (await ask.relations())["relations"]}["usage"]
    assert described["mode"] == "schema"
    assert [c["name"] for c in described["columns"]] == list(USAGE)
    found = {c["name"]: c for c in described["columns"]}
    assert found["qty"]["type"] == "decimal(14, 3)"
    assert found["qty"]["unit"] == "L"
    assert found["district_code"]["codes"] == ["449901", "449902", "449903"]
    assert described["rows"] is None


# ---- flags -------------------------------------------------------------------------------------------------


async def test_generated_rows_are_flagged_in_list_answer_receipt_and_ledger(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        described = {r["name"]: r for r in (await ask.relations())["relations"]}["people"]
        await ask.rows(EVERYTHING)
    assert described["notice"] == NOTICE
    assert ask.end is not None
    assert ask.end.warnings == (NOTICE,)
    assert ask.end.receipt is not None
    assert ask.end.receipt.mode == "synthetic"
    assert ask.end.receipt.synthetic == ("people",)
    ended = [r for r in agent.ledger.records() if r["kind"] == "end"][-1]
    assert ended["synthetic"] == ["people"]


async def test_real_and_generated_rows_together_are_flagged_and_both_on_record(tmp_path: Path) -> None:
    real = {"id": "usage-real", "relation": "usage", "purposes": ["mass-balance"], "mode": "masked"}
    grants = [g for g in POLICY["grants"] if g["id"] == "blind"]
    house = open_house(tmp_path, {**POLICY, "grants": [*grants, real]})
    async with house.client("lin", "mass-balance") as ask:
        table = await ask.rows(
            "SELECT count(*) AS c0 FROM water.main.usage AS t JOIN water.main.people AS s ON s.id = t.litres"
        )
    assert table.num_rows == 1
    assert ask.end is not None
    assert ask.end.warnings == (NOTICE,)
    assert ask.end.receipt is not None
    assert (ask.end.receipt.mode, ask.end.receipt.synthetic) == ("masked", ("people",))


# ---- the same names and types, through the same masks ------------------------------------------------------


async def test_a_later_grant_of_rows_changes_neither_names_nor_types(tmp_path: Path) -> None:
    other = open_house(tmp_path)
    listed = ", ".join(f"t.{name} AS c{i}" for i, name in enumerate(COLUMNS))
    sql = f"SELECT {listed} FROM water.main.people AS t"
    agent = other.open()
    async with other.client("lin", "mass-balance", agent) as blind, other.client("sun", "audit", agent) as real:
        made_up, rows = await blind.rows(sql), await real.rows(sql)
        seen = [{r["name"]: r for r in (await a.relations())["relations"]}["people"] for a in (blind, real)]
    agent.close()
    assert made_up.schema == rows.schema
    assert [(c["name"], c["type"], c["mask"]) for c in seen[0]["columns"]] == [
        (c["name"], c["type"], c["mask"]) for c in seen[1]["columns"]
    ]
    assert made_up.num_rows == 300
    # The masks were applied: dates to their year, numbers to their step, letters to the first one.
    assert all(v is None or (v.month, v.day) == (1, 1) for v in made_up.column("c5").to_pylist())
    assert None in made_up.column("c5").to_pylist()
    assert all((v - 50) % 100 == 0 for v in made_up.column("c6").to_pylist())


async def test_pseudonyms_of_generated_values_are_none_of_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generated number that happens to be somebody's must not show that somebody's pseudonym."""
    house = open_house(tmp_path)
    sql = "SELECT DISTINCT t.org_no AS c0 FROM water.main.people AS t"
    known = keys("company", "91####", parse_type("varchar(18)"), 40)
    root = bytes.fromhex("ab" * 32)
    real = masks.LinkageKey("mass-balance", "city", "", derive_key(root, "mass-balance", "city"), "company")
    async with house.client("lin", "mass-balance") as ask:
        shown = {v for (v,) in tuples(await ask.rows(sql))}
        described = {r["name"]: r for r in (await ask.relations())["relations"]}["people"]
    linkage = next(c["linkage"] for c in described["columns"] if c["name"] == "org_no")
    assert 30 < len(shown) <= 40  # drawn at random: one of the forty may not come up
    assert not shown & {pseudonym(real, value) for value in known}
    assert linkage == {"purpose": "mass-balance", "group": "city", "epoch": "synthetic"}
    # The test can fail: under the real key every one of them would be a real one's.
    monkeypatch.setattr(authorise, "blinded", lambda context: context)
    async with house.client("lin", "mass-balance") as ask:
        exposed = {v for (v,) in tuples(await ask.rows(sql))}
    assert len(exposed) > 30
    assert exposed <= {pseudonym(real, value) for value in known}


async def test_tokens_of_generated_values_leave_the_vault_alone(tmp_path: Path) -> None:
    grant = {"id": "blind", "relation": "people", "purposes": ["mass-balance"], "mode": "synthetic",
             "masks": {"org_no": "token"}}  # fmt: skip
    house = open_house(tmp_path, {**POLICY, "grants": [grant]})
    async with house.client("lin", "mass-balance") as ask:
        found = [v for (v,) in tuples(await ask.rows("SELECT t.org_no AS c0 FROM water.main.people AS t"))]
        assert all(ask.agent.untoken(token) is None for token in set(found))
    assert len(set(found)) > 30
    assert {len(v) for v in found} == {32}


async def test_keys_of_a_domain_join_across_departments(tmp_path: Path) -> None:
    """Two agents that share nothing but a word: their pseudonyms meet, under the root that they share."""
    firm = {"table": "firm", "columns": {
        "code": {"type": "varchar", "synthetic": {"domain": "company", "format": "91####", "size": 25, "unique": True}}
    }, "synthetic": {"rows": 25}}  # fmt: skip
    grant = {"relation": "firm", "purposes": ["mass-balance"], "mode": "synthetic",
             "masks": {"code": "pseudonym(city)"}}  # fmt: skip
    market = {**POLICY, "department": "market", "relations": {"firm": firm}, "grants": [grant]}
    one, two = open_house(tmp_path / "water"), House(tmp_path / "market", market, {"firm": ("code TEXT", [])})
    async with one.client("lin", "mass-balance") as ask:
        ours = {v for (v,) in tuples(await ask.rows("SELECT t.org_no AS c0 FROM water.main.people AS t"))}
    async with two.client("lin", "mass-balance") as ask:
        theirs = [v for (v,) in tuples(await ask.rows("SELECT t.code AS c0 FROM market.main.firm AS t"))]
    assert len(set(theirs)) == len(theirs) == 25
    assert len(ours & set(theirs)) >= 20


# ---- which mode holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "holds"),
    [
        ("schema", Mode.schema), ("masked", Mode.synthetic), ("aggregate", Mode.synthetic), ("open", Mode.synthetic),
    ],
)  # fmt: skip
def test_where_two_grants_meet_the_stricter_mode_holds(other: str, holds: Mode) -> None:
    more = {"entity": "org_no", "dimensions": ["district_code"]} if other == "aggregate" else {}
    purposes = {} if other == "open" else {"purposes": ["mass-balance"]}
    policy = department({"id": "a", "relation": "usage", "purposes": ["mass-balance"], "mode": "synthetic"},
                        {"id": "b", "relation": "usage", "mode": other, **purposes, **more})  # fmt: skip
    found = decide(policy, "lin", "mass-balance", "usage", datetime(2026, 1, 1, tzinfo=UTC))
    assert found is not None
    assert found.mode is holds


def test_a_column_whose_class_stops_at_names_is_not_even_made_up() -> None:
    columns = {**USAGE, "qty": {"type": "decimal(14,3)", "class": "secret"}}
    policy = department(
        {"relation": "usage", "purposes": ["mass-balance"], "mode": "synthetic"},
        relations={"usage": {"table": "usage", "columns": columns, "synthetic": {"rows": 40}}},
        classes={"secret": {"mode": "schema"}},
    )  # fmt: skip
    found = decide(policy, "lin", "mass-balance", "usage", datetime(2026, 1, 1, tzinfo=UTC))
    assert found is not None
    assert "qty" not in found.columns


async def test_revoked_rows_stop_and_a_changed_policy_takes_effect(tmp_path: Path) -> None:
    house = open_house(tmp_path)
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        blind = await ask.rows("SELECT count(*) AS c0 FROM water.main.usage AS t")
        house.write(grants=[{"relation": "usage", "purposes": ["mass-balance"], "mode": "masked"}])
        real = await ask.rows("SELECT count(*) AS c0 FROM water.main.usage AS t")
        assert ask.end is not None
        assert ask.end.warnings == ()
    agent.close()
    assert (tuples(blind), tuples(real)) == ([(40,)], [(600,)])


# ---- what the owner says of the values ---------------------------------------------------------------------


def test_values_follow_the_declaration() -> None:
    table = pa.Table.from_batches(scan(StandIn(department(), b"k" * 32), department(), "usage"))
    rows = table.to_pylist()
    assert {(r["unit"], r["month"]) for r in rows} == {("t", date(2015, 3, 1)), ("L", date(2016, 9, 1))}
    assert {r["district_code"] for r in rows} <= {"449901", "449902", "449903"}
    assert all(Decimal(0) <= r["qty"] <= Decimal(10000) for r in rows)
    assert len({r["org_no"] for r in rows}) == 40
    assert all(len(r["org_no"]) == 6 and r["org_no"].startswith("91") for r in rows)
    assert {r["kind"] for b in scan(StandIn(department(), b"k" * 32), department(), "people")
            for r in b.to_pylist()} == {"C", "H"}  # fmt: skip


def test_a_scan_of_some_columns_gives_the_same_rows_as_one_of_all() -> None:
    source = StandIn(department(), b"k" * 32)
    every = pa.Table.from_batches(scan(source, department(), "people"))
    for name in ("debt", "born", "name"):
        (one,) = [pa.Table.from_batches(list(source.scan(native(department(), "people", [name]), Cancel())))]
        assert one.column(name).equals(every.column(name))


def test_what_a_scan_may_not_ask_is_refused() -> None:
    source = StandIn(department(), b"k" * 32)
    with pytest.raises(SourceError):
        list(source.scan(NativeScan("SELECT * FROM people", True), Cancel()))
    with pytest.raises(SourceError):
        list(source.scan(NativeScan("nothing", False), Cancel()))


TYPES = [
    "boolean", "tinyint", "smallint", "integer", "bigint", "real", "double", "decimal(5,2)", "decimal(3,3)",
    "decimal(38,6)", "varchar", "varchar(4)", "char(3)", "date", "time", "timestamp(3)", "timestamp(6)",
    "timestamp(3) with time zone", "uuid", "json", "ipaddress", "varbinary", "array(integer)",
]  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_a_column_of_which_nothing_is_said_has_values_of_its_type(kind: str) -> None:
    policy = department(relations={"a": {"table": "a", "columns": {"x": kind}, "synthetic": {"rows": 200}}}, grants=[])
    array = StandIn(policy, b"k" * 32).column("a", "x")
    array.validate(full=True)
    assert array.type == parse_type(kind).arrow()
    assert len(array) == 200
    if not kind.startswith("array"):
        assert array.null_count == 0
    if kind in ("varchar(4)", "char(3)"):
        assert max(len(v) for v in array.to_pylist()) <= parse_type(kind).args[0]


RANGES = {
    "tinyint": st.integers(-128, 127), "bigint": st.integers(-(2**63), 2**63 - 1),
    "decimal(38,6)": st.decimals(-(10**31), 10**31, places=6), "decimal(9,2)": st.decimals(-(10**6), 10**6, places=2),
    "date": st.dates(date(1900, 1, 1), date(2100, 1, 1)), "double": st.floats(-1e6, 1e6),
    "timestamp(3)": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(
        lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", RANGES)
@settings(max_examples=25)
@given(data=st.data())
def test_no_value_lies_outside_its_range(kind: str, data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.tuples(RANGES[kind], RANGES[kind])))
    said = [v if isinstance(v, int) else str(v) for v in (low, high)]
    policy = department(
        relations={"a": {"table": "a", "columns": {"x": {"type": kind, "synthetic": {"range": said}}},
                         "synthetic": {"rows": 50}}}, grants=[],
    )  # fmt: skip
    slack = 0.001 if kind == "double" else type(high - low)()
    for value in StandIn(policy, b"k" * 32).column("a", "x").to_pylist():
        assert low - slack <= value <= high + slack


@settings(max_examples=60)
@given(format_=st.text("#@?-a1.", min_size=1, max_size=8), domain=st.text("abc", max_size=4), size=st.integers(1, 500))
def test_keys_are_all_different_and_of_their_format(format_: str, domain: str, size: int) -> None:
    found = keys(domain, format_, parse_type("varchar"), size)
    assert len(set(found)) == len(found) == min(size, places(format_))
    for key in found:
        assert len(key) == len(format_)
        for sign, written in zip(format_, key, strict=True):
            fits = {"#": str.isdigit, "@": str.isupper, "?": str.islower}.get(sign, lambda w, s=sign: w == s)
            assert fits(written)
    # Fewer keys are the first of more: departments of different sizes still meet.
    assert keys(domain, format_, parse_type("varchar"), max(1, size // 2)) == found[: max(1, size // 2)]


def test_keys_are_fixed_for_ever() -> None:
    """Departments upgrade one by one: the keys of a domain are part of the contract between them."""
    assert keys("company", "91####", parse_type("varchar"), 3) == ["916139", "917640", "919141"]
    assert np.random.Philox(key=[1, 2]).random_raw(2).tolist() == [5705853004827290377, 6584680345644299050]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"type": "integer", "synthetic": {"values": ["many"]}}, "'many' is no value of type integer"),
        ({"type": "varchar", "synthetic": {"values": [449901]}}, "449901 is no text: write it in quotes"),
        ({"type": "varchar(3)", "synthetic": {"values": ["four"]}}, "'four' is no value of type varchar(3)"),
        ({"type": "date", "synthetic": {"range": ["2020-02-01", "2020-01-01"]}}, "before it begins"),
        ({"type": "date", "synthetic": {"range": ["2020-02-30", "2020-03-01"]}}, "is no value of type date"),
        ({"type": "boolean", "synthetic": {"range": [1, 2]}}, "boolean has none"),
        ({"type": "integer", "synthetic": {"format": "##"}}, "a format is for text"),
        ({"type": "varchar", "synthetic": {"format": "##", "size": 200}}, "gives only 100 texts"),
        ({"type": "varchar(5)", "synthetic": {"format": "######"}}, "is no value of type varchar(5)"),
        ({"type": "varchar", "synthetic": {"domain": "x", "unique": True, "size": 10}}, "need as many keys"),
        ({"type": "date", "synthetic": {"domain": "x"}}, "keys are text or whole numbers"),
        ({"type": "tinyint", "synthetic": {"domain": "x"}}, "1000 keys do not fit tinyint"),
        ({"type": "integer", "synthetic": {"domain": "x", "range": [1, 9]}}, "the range has fewer than 1000 keys"),
        ({"type": "varchar", "synthetic": {"values": ["a"], "format": "#"}}, "give one of values and format"),
        ({"type": "varchar", "synthetic": {"domian": "x"}}, "unknown key 'domian': did you mean 'domain'?"),
        ({"type": "integer", "codes": "kinds"}, "'C' is no value of type integer"),
    ],
)  # fmt: skip
def test_a_slip_in_a_declaration_is_named(column: dict[str, Any], words: str) -> None:
    grant = {"relation": "a", "purposes": ["mass-balance"], "mode": "synthetic"}
    with pytest.raises(PolicyError) as refused:
        department(grant, relations={"a": {"table": "a", "columns": {"x": column}}})
    assert words in "\n".join(refused.value.faults)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"rows": 2_000_000}, "less than or equal to 1000000"),
        ({"rows": 0}, "greater than or equal to 1"),
        ({"examples": [{"untt": "t"}]}, "there is no column 'untt': did you mean 'unit'?"),
        ({"examples": [{"month": "March"}]}, "'March' is no value of type date"),
        ({"fit": {"grant": "blind", "by": ["unit"]}}, "no aggregate grant of usage"),
        ({"fit": {"grant": "sums", "by": ["unit"]}}, "unit is no dimension of sums"),
        ({"fit": {"grant": "sums", "by": ["month"]}}, "month is masked there"),
        ({"fit": {"grant": "sums", "by": ["district_code"]}, "examples": [{"district_code": "449901"}]},
         "is in `examples` already"),
    ],
)  # fmt: skip
def test_a_slip_in_the_rows_is_named(rows: dict[str, Any], words: str) -> None:
    relations = {"usage": {"table": "usage", "columns": USAGE, "synthetic": rows}}
    with pytest.raises(PolicyError) as refused:
        department(SUMS, MADE_UP, relations=relations)
    assert words in "\n".join(refused.value.faults)


def test_a_column_that_its_class_masks_is_not_followed() -> None:
    columns = {**USAGE, "district_code": {"type": "varchar", "class": "area"}}
    fit = {"fit": {"grant": "sums", "by": ["district_code"]}}
    relations = {"usage": {"table": "usage", "columns": columns, "synthetic": fit}}
    with pytest.raises(PolicyError, match="district_code is masked there"):
        department(SUMS, MADE_UP, relations=relations, classes={"area": {"mask": "keep_first(2)"}})


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        ("2020-01-02", "date", date(2020, 1, 2)), (date(2020, 1, 2), "timestamp(3)", datetime(2020, 1, 2)),
        ("true", "boolean", True), (1.5, "decimal(4,2)", Decimal("1.5")), ("7", "bigint", 7), (None, "date", None),
    ],
)  # fmt: skip
def test_values_are_read_in_their_columns_types(value: Any, kind: str, found: Any) -> None:
    assert typed(value, parse_type(kind)) == found


def test_a_declared_key_names_each_generated_row_once() -> None:
    columns = {"id": "bigint", "code": "varchar(18)", "short": "varchar(2)"}
    for name, distinct in (("id", 120), ("code", 120), ("short", 120)):
        spec = {"table": "a", "columns": columns, "key": [name], "synthetic": {"rows": 120}}
        found = StandIn(department(relations={"a": spec}, grants=[]), b"k" * 32).column("a", name)
        # Two letters have no room for 120 keys of the usual form; such a column says itself what its keys are.
        assert (len(set(found.to_pylist())) == distinct) is (name != "short")


# ---- what the gateway makes of it --------------------------------------------------------------------------


def listed(mode: str, **more: Any) -> Relation:
    column = Column(name="code", type=parse_type("varchar"), linkage=more.pop("linkage", None))
    name = more.pop("name", "a")
    return Relation(catalog="water", name=name, columns=(column,), mode=mode, purpose="planning", **more)


def asked(sql: str, *relations: Relation) -> Plan:
    view = UserView("tang", "planning", ("planning",), (), {r.full_name: r for r in relations}, {})
    return plan_query(sql, view, Session("tang", purpose="planning"))


def test_the_gateway_refuses_names_without_rows_and_says_what_to_ask_for() -> None:
    with pytest.raises(AccessDenied) as refused:
        asked("SELECT count(*) FROM water.main.a", listed("schema"))
    assert refused.value.outcome is Outcome.MODE
    assert "generated rows" in refused.value.hint


def test_the_gateway_plans_generated_rows_like_real_ones() -> None:
    sql = (
        "SELECT a.code, count(*) AS n FROM water.main.a AS a JOIN water.main.b AS b ON b.code = a.code GROUP BY a.code"
    )
    plans = [asked(sql, listed(mode), listed("masked", name="b")) for mode in ("synthetic", "masked")]
    assert [f.sql for f in plans[0].fragments] == [f.sql for f in plans[1].fragments]


def test_the_gateway_compares_no_generated_pseudonyms_with_real_ones() -> None:
    real = Linkage(purpose="planning", group="city")
    made_up = real.model_copy(update={"epoch": "synthetic"})
    sql = "SELECT count(*) FROM water.main.a AS a JOIN water.main.b AS b ON b.code = a.code"
    asked(sql, listed("synthetic", linkage=made_up), listed("synthetic", name="b", linkage=made_up))
    with pytest.raises(AccessDenied, match="they are never equal"):
        asked(sql, listed("synthetic", linkage=made_up), listed("masked", name="b", linkage=real))


def test_a_city_table_of_generated_rows_says_so() -> None:
    def of(department: str) -> RelationList:
        needed = {n.table for t in city_tables().values() for n in t.relations if n.catalog == department}
        column = Column(name="x", type=parse_type("varchar"))
        relations = tuple(
            Relation(
                catalog=department,
                name=name,
                columns=(column,),
                mode="synthetic" if department == "water" else "masked",
            )
            for name in sorted(needed)
        )
        return RelationList(department=department, relations=relations)

    names = {n.catalog for t in city_tables().values() for n in t.relations}
    catalogue = Catalogue(lambda: dict.fromkeys(names, ""), lambda session, department: of(department))
    modes = {str(n): r.mode for n, r in catalogue.view(Session("lin", purpose="p"), ("p",)).relations.items()}
    assert modes["city.water.company_month"] is Mode.synthetic
    assert modes["city.org.company_code"] is Mode.masked


# ---- released sums -----------------------------------------------------------------------------------------

SUMS: dict[str, Any] = {
    "id": "sums", "relation": "usage", "purposes": ["statistics"], "mode": "aggregate", "min_group": 5,
    "entity": "org_no", "dimensions": ["district_code", "month"], "measures": ["litres"],
    "masks": {"month": "date(year)"}, "users": ["bi"],
}  # fmt: skip
MADE_UP: dict[str, Any] = {"id": "blind", "relation": "usage", "purposes": ["mass-balance"], "mode": "synthetic"}
LONELY = "449977"


def fitted_house(folder: Path) -> House:
    """Districts of very different weight, and one in which two firms use a lot."""
    rows = [
        (f"91{i % 60:04d}", f"44990{1 + min(i % 8, 2)}", "2015-01-01", "L", "1.000", 100 + i % 3) for i in range(800)
    ]
    rows += [(f"910{i}", LONELY, "2015-01-01", "L", "1.000", 10**9) for i in range(2)]
    relations = {"usage": {"table": "usage", "columns": {**USAGE, "org_no": "varchar", "district_code": "varchar"},
                           "synthetic": {"rows": 2000, "fit": {"grant": "sums", "by": ["district_code"]}}}}  # fmt: skip
    return House(folder, {**POLICY, "relations": relations, "grants": [SUMS, MADE_UP]}, {"usage": (USAGE_DDL, rows)})


async def test_rows_follow_released_sums_at_the_owners_word_alone(tmp_path: Path) -> None:
    house = fitted_house(tmp_path)
    agent = house.open()
    sql = (
        "SELECT t.district_code AS c0, count(*) AS c1, avg(t.litres) AS c2 FROM water.main.usage AS t "
        "GROUP BY t.district_code"
    )
    async with house.client("lin", "mass-balance", agent) as ask:
        before = {row[0] for row in tuples(await ask.rows(sql))}
        assert not any(r["sub"].startswith("agent:") for r in agent.ledger.records() if r["kind"] == "begin")
        told = agent.fit()
        after = {district: (count, average) for district, count, average in tuples(await ask.rows(sql))}
    assert before.isdisjoint({"449901", "449902", "449903"})
    assert told == {"usage": "3 cells"}
    assert set(after) == {"449901", "449902", "449903"}  # the district of two firms is in no cell, and in no row
    assert after["449903"][0] > 4 * after["449901"][0]
    assert all(80 < average < 120 for _, average in after.values())
    asked = [r for r in agent.ledger.records() if r["kind"] == "begin" and r["sub"] == "agent:water"]
    assert [(r["mode"], r["grants"]) for r in asked] == [("aggregate", ["sums"])]
    assert agent.fit() == {}  # known already: nothing is asked twice
    agent.close()
    # What was released is kept; a restart asks nothing.
    agent = house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        assert {d: (n, a) for d, n, a in tuples(await ask.rows(sql))} == after
    agent.close()


async def test_a_fit_is_in_the_guards_history_like_any_answer(tmp_path: Path) -> None:
    """All districts but the small one, and everything together, would show the small one: one is refused."""
    house = fitted_house(tmp_path)
    agent = house.open()
    async with house.client("bi", "statistics", agent) as ask:
        total = "SELECT count(*) AS c0 FROM water.main.usage AS t"
        assert agent.fit() == {"usage": "3 cells"}
        refused = await ask.refusal(total)
    assert refused.outcome is Outcome.DISCLOSURE
    agent.close()


def test_a_fit_is_told_no_more_than_anybody_would_be(tmp_path: Path) -> None:
    """A denial of everybody, and sums of everybody that are coarser, stand against the one grant that it names."""
    house = fitted_house(tmp_path)
    everybody = {k: v for k, v in SUMS.items() if k != "users"}
    denial = {"id": "no", "relation": "usage", "deny": True}
    for grant, told in ((denial, "does not exist"), ({**everybody, "id": "coarse", "min_group": 25}, "1 cells")):
        house.write(grants=[SUMS, MADE_UP, grant])
        agent = house.open()
        assert told in agent.fit()["usage"]
        agent.close()


async def test_another_declaration_is_another_fit(tmp_path: Path) -> None:
    house = fitted_house(tmp_path)
    agent = house.open()
    agent.fit()
    relations = house.policy["relations"]
    relations["usage"]["synthetic"]["fit"] = {"grant": "sums", "by": ["district_code"]}
    house.write(relations=relations, grants=[{**SUMS, "min_group": 6}, MADE_UP])
    agent.reload()
    async with house.client("lin", "mass-balance", agent) as ask:
        rows = await ask.rows("SELECT DISTINCT t.district_code AS c0 FROM water.main.usage AS t")
    assert not {v for (v,) in tuples(rows)} & {"449901", "449902", "449903"}
    agent.close()


DISTRICTS = {"449901", "449902", "449903"}
EVERYBODY = {k: v for k, v in SUMS.items() if k != "users"}
VIEW = "SELECT org_no, district_code, month, unit, qty, litres FROM usage"
DENIED = {"id": "no", "relation": "usage", "deny": True, "columns": ["litres"]}


def viewed_house(folder: Path) -> House:
    """`fitted_house`, its rows by a view."""
    house = fitted_house(folder)
    (folder / "views").mkdir()
    (folder / "views" / "all_usage.sql").write_text(VIEW)
    usage = {k: v for k, v in house.policy["relations"]["usage"].items() if k != "table"}
    house.write(relations={"usage": {**usage, "view": "all_usage"}})
    return house


async def follows(house: House, agent: Agent) -> bool:
    """Whether generated rows follow the cells that were released."""
    async with house.client("lin", "mass-balance", agent) as ask:
        rows = await ask.rows("SELECT DISTINCT t.district_code AS c0 FROM water.main.usage AS t")
    return bool({v for (v,) in tuples(rows)} & DISTRICTS)


@pytest.mark.parametrize(
    ("grants", "view", "still"),
    [
        ([SUMS, MADE_UP, {**EVERYBODY, "id": "coarse", "min_group": 25}], VIEW, False),
        ([SUMS, MADE_UP, {**EVERYBODY, "id": "fewer", "row_filter": "litres > 0"}], VIEW, False),
        ([SUMS, MADE_UP, DENIED], VIEW, False),
        ([SUMS, MADE_UP], f"{VIEW} WHERE litres > 0", False),
        ([SUMS, MADE_UP], VIEW, True),
        ([SUMS, MADE_UP, {**EVERYBODY, "id": "alike"}], VIEW, True),
        ([{**SUMS, "users": ["bi", "wu"], "hours": "00:00-00:01", "until": "2099-01-01"}, MADE_UP], VIEW, True),
        ([SUMS, MADE_UP, {**SUMS, "id": "other", "users": ["wu"], "min_group": 25}], VIEW, True),
    ],
    ids=[
        "a higher floor",
        "a filter",
        "a denial",
        "the view",
        "nothing",
        "names",
        "times and users",
        "another's grant",
    ],
)
async def test_rows_follow_sums_as_long_as_they_would_be_told_alike(
    tmp_path: Path, grants: list[dict[str, Any]], view: str, still: bool
) -> None:
    house = viewed_house(tmp_path)
    agent = house.open()
    assert agent.fit() == {"usage": "3 cells"}
    assert await follows(house, agent)
    (tmp_path / "views" / "all_usage.sql").write_text(view)
    house.write(grants=grants)
    agent.reload()
    assert await follows(house, agent) is still
    agent.close()


async def test_rows_follow_no_sums_of_before_a_floor_that_begins_later(tmp_path: Path) -> None:
    house = fitted_house(tmp_path)
    house.write(grants=[SUMS, MADE_UP, {**EVERYBODY, "id": "coarse", "min_group": 25, "from": "2030-01-01"}])
    moment = [datetime(2029, 12, 30, tzinfo=UTC)]
    agent = house.open(lambda: moment[0])
    assert agent.fit() == {"usage": "3 cells"}
    assert await follows(house, agent)
    moment[0] = datetime(2030, 1, 3, tzinfo=UTC)
    assert not await follows(house, agent)
    agent.close()


def test_a_file_of_sums_that_somebody_else_wrote_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "synthetic.json").write_text('{"usage": []}')
    with pytest.raises(ValueError, match=r"synthetic\.json cannot be read"):
        Fits(tmp_path / "synthetic.json")


# ---- helpers -----------------------------------------------------------------------------------------------


def department(*grants: dict[str, Any], **more: Any) -> Department:
    base = {
        **POLICY, "identity": {"issuer": "http://idp", "jwks": "file:jwks.json"},
        "sources": {"main": {"kind": "sqlite", "path": "silo.sqlite"}},
        "purposes": ["mass-balance", "statistics", "audit"],
    }  # fmt: skip
    return parse(yaml.safe_dump({**base, **({"grants": list(grants)} if grants else {}), **more}, sort_keys=False))


def native(policy: Department, relation: str, names: list[str]) -> NativeScan:
    columns = policy.relations[relation].columns
    outputs = tuple(OutputColumn(columns[n].from_ or n, columns[n].type, n) for n in names)
    return NativeScan(relation, False, columns=outputs)


def scan(source: StandIn, policy: Department, relation: str) -> list[pa.RecordBatch]:
    return list(source.scan(native(policy, relation, list(policy.relations[relation].columns)), Cancel()))


def ipc(batch: pa.RecordBatch) -> bytes:
    return bytes(batch.serialize())
