"""A kept plan is the plan that planning would make, and no plan outlives what it was made from.

The first half holds plans with holes against plans made anew, for random questions cut into fragments by the gateway's
own planner. The second half asks an agent.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from catalog import masks
from catalog.errors import CityError, Outcome
from catalog.exchange import KEYS_TABLES
from catalog.identity import Principal
from catalog.policy import Department
from catalog.policy.reading import parse
from connectors import mysql, postgres, snapshot
from connectors.agent import fragment as fragments
from connectors.agent import kept
from connectors.agent.admit import admit
from connectors.agent.authorise import Access
from connectors.agent.kept import Planned, Plans, lift, spelling
from connectors.agent.plan import plan_rows
from connectors.agent.service import Agent
from connectors.base import Capabilities
from gateway.plan import FragmentPlan
from tests.agent.conftest import MASKS, PEOPLE_DDL, POLICY, USAGE_DDL, people, usage
from tests.agent.house import Ask, House, tuples
from tests.differential.grammar import TABLES, TRAITS, case, thrown
from tests.differential.harness import plans_of

QUESTIONS = 60
"""Of the random ones, for each source."""
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LIN = Principal("lin", "research", ("research",), "jti", 0)
SOURCES = {"postgres": postgres.CAPABILITIES, "mariadb": mysql.CAPABILITIES, "files": snapshot.CAPABILITIES,
           "nothing": Capabilities({})}  # fmt: skip
MASKED = {"date": "date(year)", "varchar": "keep_first(1)", "decimal": "number(0.5)", "bigint": "pseudonym(city)"}


# ---------------------------------------------------------------- the plan of a text, again and again


def department(name: str, masked: bool) -> Department:
    """A department with the relations of the random questions. masked: one column of each has a mask, and rows lack."""
    relations, grants = {}, []
    for full, columns in TABLES.items():
        owner, table = full.split("__")
        if owner != name:
            continue
        relations[table] = {"table": table, "columns": dict(columns), "key": list(TRAITS.get(full, {}).get("key", ()))}
        grant: dict[str, Any] = {"id": table, "relation": table, "purposes": ["research"], "mode": "masked"}
        last = next((c for c in reversed(columns) if columns[c].partition("(")[0] in MASKED), None)
        if masked and last is not None:
            grant |= {"masks": {last: MASKED[columns[last].partition("(")[0]]}, "row_filter": "1 = 1"}
        grants.append(grant)
    return parse(yaml.safe_dump({
        "department": name, "identity": {"issuer": "i", "jwks": "file:j"}, "purposes": ["research"],
        "sources": {"main": {"kind": "sqlite", "path": "x"}}, "relations": relations, "grants": grants,
        "linkage_groups": {"city": {"root": "file:root.hex", "normaliser": "none"}},
    }, sort_keys=False))  # fmt: skip


KEY = masks.LinkageKey("research", "city", "", b"k" * 32, "none")


@dataclass
class Planner:
    """Plans of one department, kept and anew. source: what it can do."""

    here: Department
    source: Capabilities

    def __post_init__(self) -> None:
        self.plans = Plans(self.here)
        self.access = Access(self.here, masks.Context(lambda _: KEY), LIN, NOW)

    def make(self, text: str, keys: Mapping[str, pa.Array], now: datetime, query_id: str) -> Planned:
        tree = admit(text).tree
        spelled = spelling(tree)
        plan = plan_rows(tree, self.access, lambda _: self.source, lambda _: "", keys, now, query_id)
        return Planned(plan, spelled, {"main": self.source})

    def ask(self, text: str, keys: Mapping[str, pa.Array]) -> bool:
        """As a fragment is asked: with a kept plan if there is one, which must be the one made anew."""
        self.access = Access(self.here, masks.Context(lambda _: KEY), LIN, NOW)
        seen = self.plans.look(LIN, text, "")
        if seen is None:
            return False
        again = self.plans.again(seen, self.access, keys, lambda _: self.source, "f7")
        anew = self.make(text, keys, NOW, "f7")
        if again is not None:
            assert again.plan == anew.plan, text
            assert again.spelling == anew.spelling, text
            return True
        self.plans.keep(seen, self.access, keys, "f7", anew, self.make)
        return False


def varied(text: str, dice: random.Random, distinct: bool = True) -> str:
    """The text with other values of the same kinds. distinct: each another one."""
    lifted = lift(text)
    made, markers = lifted.marked()
    taken = set[str]()
    for marker, value in zip(markers, lifted.values, strict=True):
        new = next(v for v in iter(partial(other, value, dice), "") if v not in taken)
        made = made.replace(marker, new)
        if distinct:
            taken.add(new)
    return made


def other(value: str, dice: random.Random) -> str:
    if value.isdigit():
        least, most = (1 << 31, 10**15) if int(value) >= 1 << 31 else (0, 1 << 31)
        edges = [n for n in (least, most - 1, 1, 127, 128, 32768) if n >= least]
        return str(dice.choice([*edges, dice.randrange(least, most)]))
    if len(value) == 10 and value[4] == value[7] == "-":
        day = date(2010, 1, 1) + timedelta(dice.randrange(30_000))
        return dice.choice(["1000-01-01", "2000-02-29", "2999-12-31", "1582-10-10", day.isoformat()])
    return "".join(dice.choice("aZ0~_%;/*-bcdefgh") for _ in value)


def texts_of(fragment: FragmentPlan) -> Iterator[tuple[str, int]]:
    """Each text of a fragment, with the number of its sets of keys."""
    yield fragment.sql, 0
    if fragment.keys is not None:
        for places, text in fragment.keys.texts.items():
            yield text, len(places)


@pytest.mark.parametrize("masked", [False, True], ids=["as it is", "masked"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_plan_with_holes_is_the_plan_made_anew(source: str, masked: bool) -> None:
    """Random questions of the differential tests, asked with values of every size."""
    dice, count = random.Random(f"{source} {masked}"), Counter[str]()
    planners: dict[str, Planner] = {}
    for number in range(QUESTIONS):
        question = case(thrown(number + 1000 * len(source)))
        try:
            plan = next(plans_of(question.here, question.sql))[1]
        except CityError:
            continue
        for one in plan.fragments:
            if one.department not in planners:
                planners[one.department] = Planner(department(one.department, masked), SOURCES[source])
            for text, sets in texts_of(one):
                text = text.replace("'x'", "'x of X'").replace("'y'", "'y or Y'")
                count.update(asked_often(planners[one.department], text, sets, dice))
    assert count["kept"] > 0.7 * count["texts"] > 0
    assert count["filled with other values"] > 20


def asked_often(planner: Planner, text: str, sets: int, dice: random.Random) -> Iterator[str]:
    keys = {name: pa.array(dice.choice([[1, 2, 2**40], ["A1", "x"]])) for name in KEYS_TABLES[:sets]}
    try:
        found = [planner.ask(text, keys) for _ in range(3)]
    except CityError:  # keys of another type than the column's
        return
    yield "texts"
    if found[-1]:
        yield "kept"
    lifted = lift(text)
    for _ in range(4 if lifted.values else 0):
        changed = varied(text, dice)
        if lift(changed).pattern == lifted.pattern and planner.ask(changed, keys):
            yield "filled with other values"


EVERY = {
    "id": "bigint", "tiny": "tinyint", "small": "smallint", "number": "integer", "price": "decimal(12,2)",
    "name": "varchar", "short": "varchar(5)", "fixed": "char(6)", "phone": "varchar", "weight": "double",
    "rough": "real", "day": "date", "born": "date", "seen": "timestamp(3)", "active": "boolean",
}  # fmt: skip
TEXTS = [
    "SELECT t.id AS c0, t.name AS c1 FROM every AS t WHERE t.id = 14503",
    "SELECT t.id AS c0 FROM every AS t WHERE t.id = 9014503123",
    "SELECT t.id AS c0 FROM every AS t WHERE t.tiny < 100 AND t.small >= 4711 AND NOT (t.number = 815)",
    "SELECT t.id AS c0 FROM every AS t WHERE t.number BETWEEN 1386241 AND 1389441 OR t.price > 77",
    "SELECT t.id AS c0 FROM every AS t WHERE t.day >= CAST('1995-07-01' AS DATE) AND t.day < DATE '1996-07-01'",
    "SELECT t.day AS c0, sum(t.price) AS c1 FROM every AS t WHERE t.name = 'MACHINERY' GROUP BY t.day",
    "SELECT t.id AS c0 FROM every AS t WHERE t.short <> 'abcde' AND t.fixed = 'abcd' AND t.phone > '+49 40'",
    "SELECT t.id AS c0 FROM every AS t WHERE t.weight > 14 AND t.rough <= 15 AND t.price = 16",
    "SELECT t.id AS c0 FROM every AS t WHERE t.weight > 9007199254 AND t.price = 9007199255",
    "SELECT t.id AS c0 FROM every AS t WHERE t.id > 300 ORDER BY t.id LIMIT 20",
    "SELECT t.id AS c0 FROM every AS t WHERE t.id > 300 AND t.name LIKE 'a%' ORDER BY t.price DESC, t.id LIMIT 20",
    "SELECT count(*) AS c0, count(DISTINCT t.number) AS c1 FROM every AS t WHERE t.day = CAST('2024-02-29' AS DATE)",
    "SELECT sum(CASE WHEN t.number > 41 THEN t.price ELSE 0.00 END) AS c0 FROM every AS t WHERE t.id < 5000",
    "SELECT a.id AS c0 FROM every AS a JOIN every AS b ON a.id = b.id AND b.number > 33 WHERE a.number < 44",
    "SELECT a.id AS c0 FROM every AS a LEFT JOIN every AS b ON a.id = b.id AND b.number > 33",
    "SELECT t.id AS c0 FROM every AS t WHERE EXISTS (SELECT 1 FROM every AS u WHERE u.id = t.id AND "
    "u.number = 91) AND t.number <> 92",
    "SELECT t.id AS c0 FROM every AS t WHERE t.id NOT IN (SELECT u.number FROM every AS u WHERE u.small = 5)",
    "WITH w AS (SELECT t.id AS x, t.number AS y FROM every AS t WHERE t.number > 61) "
    "SELECT w.x AS c0 FROM w WHERE w.y < 78 UNION ALL SELECT w.y AS c0 FROM w WHERE w.x = 79",
    "SELECT t.number AS c0, sum(t.price) AS c1 FROM every AS t GROUP BY t.number HAVING (count(*) > 12)",
    "SELECT t.seen > TIMESTAMP '2024-01-01 10:00:00.000' AS c0 FROM every AS t WHERE (t.number = 5 OR t.number = 6)",
    'SELECT t.id AS c0 FROM every AS t WHERE t.id IN (SELECT k FROM "$keys") AND t.number > 27',
    'SELECT t.number AS c0, count(*) AS c1 FROM every AS t WHERE t.number IN (SELECT k FROM "$keys") AND '
    "t.day > CAST('2020-01-01' AS DATE) GROUP BY t.number",
]


def every(**grant: Any) -> Department:
    return parse(yaml.safe_dump({
        "department": "d", "identity": {"issuer": "i", "jwks": "file:j"}, "purposes": ["research"],
        "sources": {"main": {"kind": "sqlite", "path": "x"}},
        "relations": {"every": {"table": "every", "columns": EVERY, "key": ["id"]}},
        "grants": [{"id": "g", "relation": "every", "purposes": ["research"], "mode": "masked", **grant}],
    }, sort_keys=False))  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("text", TEXTS)
def test_values_of_every_type_are_put_in_as_planning_would(source: str, text: str) -> None:
    dice, planner = random.Random(text), Planner(every(), SOURCES[source])
    keys = {"$keys": pa.array([1, 2, 2**40])} if "$keys" in text else {}
    assert [planner.ask(text, keys) for _ in range(3)] == [False, False, True]
    filled = [planner.ask(changed, keys) for _ in range(12) if lift(changed := varied(text, dice)) is not None]
    assert any(filled)


def listed(*values: str) -> str:
    return f"({', '.join(values)})"


LISTS = [
    f"t.id IN {listed(*map(str, range(4000, 4400, 2)))}",
    "t.id IN (14503)",
    "t.id IN (3000000001, 3000000002, 99, 3000000003)",
    "t.tiny IN (17, 200, 70000) AND t.small IN (18, 19)",
    "t.price IN (16, 17) OR t.weight IN (18, 19, 9007199254) OR t.rough IN (20, 21)",
    "t.day IN (CAST('1995-07-01' AS DATE), CAST('1995-07-02' AS DATE))",
    "t.day IN (DATE '1995-07-01', CAST('1995-07-02' AS DATE)) AND t.number < 815",
    "t.seen IN (CAST('1995-07-01' AS DATE), CAST('1995-07-02' AS DATE))",
    "t.name IN ('MACHINERY', 'FURNITURE', 'HOUSE')",
    "t.short IN ('abcde', 'abcd', 'abc') AND t.fixed IN ('abcdef', 'bcde')",
    "t.name IN ('100 % wool', 'all, or (none)', 'a AND b = 5')",
    "t.number IN (31, 32) AND NOT t.number IN (41, 42, 43) AND NOT t.id = 51",
    "t.number NOT IN (41, 42, 43) OR t.name NOT IN ('abcde', 'abcd')",
    f"NOT t.number IN {listed(*map(str, range(300, 350)))}",
    f"NOT t.number IN {listed(*map(str, range(300, 351)))}",
    "(t.number IN (31, 32) OR t.id IN (33, 34)) AND NOT (t.number IN (35, 36) AND t.id = 37)",
    "t.number IN (31, -32, 33, NULL) AND t.price IN (-33, 34)",
    "t.number IN (31, 32, 32, 33)",
    "t.number IN (31, 32) AND t.id IN (32, 33)",
    "t.number IN (31, 32) AND t.id > 10 AND t.number BETWEEN 12 AND 40",
]
AROUND = [
    "SELECT t.id AS c0, t.name AS c1 FROM every AS t WHERE {}",
    "SELECT t.name AS c0, sum(t.price) AS c1, count(*) AS c2 FROM every AS t WHERE {} GROUP BY t.name",
    "SELECT avg(t.price) FILTER (WHERE {}) AS c0, count_if({}) AS c1 FROM every AS t",
    "SELECT t.id AS c0 FROM every AS t WHERE {} ORDER BY t.id LIMIT 20",
    "SELECT a.id AS c0 FROM every AS a JOIN every AS t ON a.id = t.id AND {} WHERE a.number < 7100",
    "SELECT a.id AS c0 FROM every AS a LEFT JOIN every AS t ON a.id = t.id AND {}",
    "SELECT a.id AS c0 FROM every AS a WHERE EXISTS (SELECT 1 FROM every AS t WHERE t.id = a.id AND {})",
    "WITH w AS (SELECT t.id AS x FROM every AS t WHERE {}) SELECT v.x AS c0 FROM w AS v, w AS w",
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("asked", LISTS)
def test_the_members_of_a_list_are_put_in_as_planning_would(source: str, asked: str) -> None:
    dice, filled = random.Random(f"{asked} {source}"), 0
    for around in dice.sample(AROUND, 4):
        text, planner = around.replace("{}", asked, 1).replace("{}", "t.active"), Planner(every(), SOURCES[source])
        lifted = lift(text)
        assert lifted.values
        assert [planner.ask(text, {}) for _ in range(3)] == [False, False, True]
        for _ in range(3):
            changed = varied(text, dice)
            filled += planner.ask(changed, {}) and changed != text
    assert filled > 4


@pytest.mark.parametrize("source", SOURCES)
def test_lists_of_any_values_are_put_in_as_planning_would(source: str) -> None:
    """Random conditions of lists, some of whose values stand twice; columns of which one has a mask in half of them."""
    dice, count = random.Random(source), Counter[str]()
    masks = [{}, {"name": "keep_first(1)"}, {}, {"day": "date(year)"}, {}, {"number": "number(10)"}]
    for number in range(QUESTIONS // 2):
        planner = Planner(every(masks=masks[number % len(masks)]), SOURCES[source])
        text = dice.choice(AROUND).replace("{}", among(dice), 1).replace("{}", "t.active")
        asked = [planner.ask(text, {}) for _ in range(5)]  # with a mask, the whole text is the pattern in the end
        count["kept"] += asked[-1]
        for _ in range(4):
            changed, twice = varied(text, dice), varied(text, dice, distinct=False)
            count["filled"] += planner.ask(changed, {}) and changed != text
            if len(set(lift(twice).values)) < len(lift(text).values):
                count["a value twice"] += any(planner.ask(twice, {}) for _ in range(3))
    assert count["kept"] == QUESTIONS // 2
    assert count["filled"] > QUESTIONS // 2
    assert count["a value twice"] > QUESTIONS // 4


def among(dice: random.Random) -> str:
    """A condition of one to three lists."""
    values: dict[str, Callable[[], str]] = {
        "id": lambda: str(dice.randrange(10 ** dice.choice([2, 5, 12]))),
        "number": lambda: str(dice.randrange(1000)),
        "price": lambda: str(dice.randrange(1000)),
        "name": lambda: "'" + "".join(dice.choice("abcXYZ 019,().") for _ in range(dice.choice([2, 5, 5, 5, 9]))) + "'",
        "day": lambda: f"CAST('{date(2000, 1, 1) + timedelta(dice.randrange(9000))}' AS DATE)",
    }
    parts = []
    for column in dice.sample(sorted(values), dice.randint(1, 3)):
        count = dice.choice([1, 2, 3, 8, 40])
        words = dice.choice(["t.{} IN", "t.{} IN", "NOT t.{} IN", "t.{} NOT IN"])
        parts.append(f"{words.format(column)} {listed(*(values[column]() for _ in range(count)))}")
    return f"({dice.choice([' AND ', ' OR ']).join(parts)})" if len(parts) > 1 else parts[0]


def test_keys_of_two_parts_are_put_in_too() -> None:
    planner = Planner(every(), postgres.CAPABILITIES)
    text = (
        "SELECT t.name AS c0 FROM every AS t WHERE (t.id, t.number) IN "
        "(SELECT k, k1 FROM \"$keys\") AND t.day > CAST('2020-01-01' AS DATE)"
    )
    pairs = [
        {"$keys": pa.StructArray.from_arrays([pa.array(ids), pa.array([5, 6, 2**40])], names=["k", "k1"])}
        for ids in ([1, 2, 3], [4, 5, 6], [7, 8, 9])
    ]
    assert [planner.ask(text, keys) for keys in pairs] == [False, False, True]


def test_keys_of_another_type_are_planned_anew() -> None:
    planner = Planner(every(), postgres.CAPABILITIES)
    text = 'SELECT t.id AS c0 FROM d.main.every AS t WHERE t.number IN (SELECT k FROM "$keys")'
    small, large = ({"$keys": pa.array([1, 2], kind)} for kind in (pa.int32(), pa.int64()))
    assert [planner.ask(text, small) for _ in range(3)] == [False, False, True]
    assert [planner.ask(text, large) for _ in range(2)] == [False, True]
    assert planner.ask(text, {"$keys": pa.array([5], pa.int64())})
    assert not planner.ask(text, small)


@pytest.mark.parametrize(("text", "values"), [
    ("WHERE t.a = 5", ("5",)),
    ("WHERE t.a = 5 AND t.b = 5", ()),
    ("WHERE t.a = 5 AND t.b IN (5, 6)", ("6",)),
    ("WHERE t.a IN (5, 6, 5, 7)", ("6", "7")),
    ("WHERE t.a IN (5, 05, 6)", ()),
    ("WHERE t.a IN (5, -6, 7, NULL)", ("5", "7")),
    ("WHERE t.a IN (5, 6 + 1)", ()),
    ("WHERE t.a IN (5, t.b)", ()),
    ("WHERE t.a IN (SELECT 5)", ()),
    ("WHERE t.a + 1 IN (5, 6)", ()),
    ("WHERE (t.a, t.b) IN ((5, 6), (7, 8))", ()),
    ("WHERE t.a IN (5, 6) IS NULL", ()),
    ("WHERE NOT t.a IN (5, 6) AND t.b NOT IN (7, 8)", ("5", "6", "7", "8")),
    ("WHERE t.a IN ('ab', 'abc', 'it''s', 'abcd')", ()),
    ("WHERE t.a IN ('ab', 'abc', 'a, b', '(abcd)')", ("abc", "a, b", "(abcd)")),
    ("WHERE t.a IN ('abc', 'abcd') AND t.b = 'abc'", ("abcd",)),
    ("WHERE t.a IN (DATE '2024-02-29', CAST('2024-02-28' AS DATE), DATE '2023-02-29')", ("2024-02-29", "2024-02-28")),
    ("WHERE t.a = 5 AND t.b = 'number 5'", ("5", "number 5")),
    ("WHERE t.a = 5 AND t.b = '5'", ()),
    ("WHERE t.a = 5 AND t.b = 5.0", ()),
    ("WHERE t.a = 5 AND t.b = 2 + 3", ()),
    ("WHERE t.a = 5 AND t.b = (2)*(1 + 1)", ()),
    ("WHERE t.a = 5 AND t.b = 1 - t.c", ("5",)),
    ("WHERE t.a = 7 AND t.b = 1E2", ()),
    ("WHERE t.a = -5", ()),
    ("WHERE t.a = 5 + 1", ()),
    ("WHERE t.a + 1 = 5", ()),
    ("WHERE t.a = 05", ()),
    ("WHERE t.a = 5 LIMIT 10", ("5",)),
    ("WHERE t.a IN (5, 6)", ("5", "6")),
    ("WHERE t.a LIKE 'abc%'", ()),
    ("WHERE t.a BETWEEN 5 AND 6", ("5", "6")),
    ("WHERE t.a BETWEEN 5 AND 5", ()),
    ("WHERE t.a = 9999999999999999", ()),
    ("WHERE t.a = 'abc'", ("abc",)),
    ("WHERE t.a = 'it''s'", ()),
    ("WHERE t.a = 'abc ' AND t.b = 'a'", ()),
    ("WHERE t.a = CAST('2024-02-29' AS DATE)", ("2024-02-29",)),
    ("WHERE t.a = CAST('2023-02-29' AS DATE)", ()),
    ("WHERE t.a = CAST('2024-02-29' AS VARCHAR)", ()),
    ("WHERE t.a = 5 AND t.b = 'é'", ()),
    ("WHERE t.a = 1907310211 AND t.b = 1907310212", ()),
], ids=str)  # fmt: skip
def test_what_is_lifted(text: str, values: tuple[str, ...]) -> None:
    lifted = lift(f"SELECT t.x AS c0 FROM r AS t {text}")
    assert lifted.values == values
    assert len(set(lifted.marked()[1])) == len(values)


def test_so_many_values_are_lifted_and_no_more() -> None:
    lifted = lift(f"SELECT t.x AS c0 FROM r AS t WHERE t.a IN {listed(*map(str, range(100, 100 + kept.MOST + 9)))}")
    assert lifted.values == tuple(map(str, range(100, 100 + kept.MOST)))
    text, markers = lifted.marked()
    assert all(text.count(marker) == 1 for marker in markers)
    assert kept.lift(text).values == ()


@pytest.mark.parametrize("condition", ["t.born = {}", "t.born IN ({}, CAST('1992-02-02' AS DATE))"])
def test_what_a_mask_is_asked_is_never_a_hole(condition: str) -> None:
    """Which raw values `date(year)` shows as a day depends on the day: each value has a plan of its own."""
    planner = Planner(every(masks={"born": "date(year)"}), postgres.CAPABILITIES)
    texts = [
        f"SELECT t.id AS c0 FROM d.main.every AS t WHERE {condition.format(f'CAST({day!r} AS DATE)')}"
        for day in ("1990-05-05", "1990-06-06", "1991-01-01")
    ]
    first, second, third, fourth = ([planner.ask(text, {}) for text in texts] for _ in range(4))
    assert not any(first + second)
    assert third[-1]
    assert all(fourth)


@pytest.mark.parametrize("call", ["current_date", "CAST(current_timestamp AS DATE)", "localtimestamp"])
def test_what_depends_on_the_moment_is_not_kept(call: str) -> None:
    planner = Planner(every(), postgres.CAPABILITIES)
    text = f"SELECT t.id AS c0 FROM d.main.every AS t WHERE t.id = 77 AND t.seen < {call}"
    assert not any(planner.ask(text, {}) for _ in range(4))


def test_a_value_does_not_end_a_comment() -> None:
    """The last text asks for no rows, and differs from the others in what looks like a value in a comment."""
    planner = Planner(every(), postgres.CAPABILITIES)
    for value in ("a harmless text..", "a harmless text..", "*/ t WHERE 1=2 --"):
        assert not planner.ask(f"SELECT t.id AS c0 FROM every AS /* (x = '{value}') */ t", {})


def test_a_text_is_not_taken_for_the_pattern_of_others() -> None:
    planner = Planner(every(), postgres.CAPABILITIES)
    for number in (5, 6):
        planner.ask(f"SELECT t.id AS c0 FROM every AS t WHERE t.id = {number}", {})
    pattern = lift("SELECT t.id AS c0 FROM every AS t WHERE t.id = 7").pattern
    assert planner.plans.look(LIN, pattern, "") is None


def test_a_plan_of_very_many_scans_is_not_kept() -> None:
    planner = Planner(every(), postgres.CAPABILITIES)
    few, many = (
        f"SELECT 1 AS c0 FROM every AS a{''.join(f', every AS a{i}' for i in range(count))}" for count in (20, 40)
    )
    assert [planner.ask(few, {}) for _ in range(3)] == [False, False, True]
    assert not any(planner.ask(many, {}) for _ in range(3))


def test_a_plan_that_is_too_deep_to_be_kept_is_made_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(every(), postgres.CAPABILITIES)
    either = " OR ".join(f"t.id = {number}" for number in range(100, 400))

    def holes(finder: kept._Finder) -> Any:
        return holes(finder)

    monkeypatch.setattr(kept._Finder, "holes", holes)
    for _ in range(5):
        assert not planner.ask(f"SELECT t.id AS c0 FROM every AS t WHERE {either}", {})


def test_nobody_meets_the_plans_of_another_user_or_purpose_or_policy() -> None:
    planner, text = Planner(every(), postgres.CAPABILITIES), TEXTS[0]
    for _ in range(2):
        planner.ask(text, {})
    known = planner.plans.look(LIN, text, "")
    assert known is not None
    assert known.is_kept
    for stranger in (replace(LIN, sub="bo"), replace(LIN, purpose="audit")):
        seen = planner.plans.look(stranger, text, "")
        assert seen is not None
        assert not seen.is_kept
    elsewhere = Access(every(), masks.Context(), LIN, NOW)
    assert planner.plans.again(known, planner.access, {}, lambda _: planner.source, "f") is not None
    assert planner.plans.again(known, elsewhere, {}, lambda _: planner.source, "f") is None
    assert planner.plans.again(known, planner.access, {}, lambda _: Capabilities({}), "f") is None


# ---------------------------------------------------------------- an agent that is asked again


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


BORN = "SELECT t.id AS c0, t.born AS c1 FROM water.main.people AS t WHERE t.id = {} ORDER BY 1"
YEARS: dict[str, Any] = {"id": "years", "relation": "people", "purposes": ["mass-balance"], "mode": "masked",
                         "masks": MASKS, "users": ["lin", "mei"]}  # fmt: skip
DAYS: dict[str, Any] = {"id": "days", "relation": "people", "purposes": ["statistics"], "mode": "masked",
                        "masks": {**MASKS, "born": "null"}, "users": ["bi", "mei"]}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> House:
    tables = {"people": (PEOPLE_DDL, people()), "moved": (PEOPLE_DDL, []), "usage": (USAGE_DDL, usage())}
    return House(tmp_path, {**POLICY, "grants": [YEARS, DAYS]}, tables)


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were read and planned."""
    texts: list[str] = []

    def noting(text: str) -> Any:
        texts.append(text)
        return admit(text)

    monkeypatch.setattr(fragments, "admit", noting)
    return texts


@asynccontextmanager
async def asking(agent: Agent, house: House, sub: str, purpose: str = "mass-balance") -> AsyncIterator[Ask]:
    async with house.client(sub, purpose, agent) as ask:
        yield ask


@asynccontextmanager
async def opened(house: House, clock: Callable[[], datetime] | None = None) -> AsyncIterator[Agent]:
    agent = house.open(clock)
    try:
        yield agent
    finally:
        agent.close()


async def test_from_the_third_time_on_nothing_is_planned(own: House, admitted: list[str]) -> None:
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for number in (11, 12):
            assert tuples(await ask.rows(BORN.format(number)))[0][0] == number
        assert len(admitted) == 3
        for number in range(13, 20):
            assert [row[0] for row in tuples(await ask.rows(BORN.format(number)))] == [number]
        assert len(admitted) == 3


async def test_the_members_of_a_list_are_those_that_were_sent(own: House, admitted: list[str]) -> None:
    text = "SELECT t.id AS c0 FROM water.main.people AS t WHERE {}t.id IN {} ORDER BY 1"
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        everybody = {row[0] for row in people()}
        for first in range(11, 15):
            ids = {first, first + 100, 10**9 + first}
            for word, rows in (("", everybody & ids), ("NOT ", everybody - ids)):
                found = tuples(await ask.rows(text.format(word, listed(*map(str, ids)))))
                assert [row[0] for row in found] == sorted(rows)
        assert len(admitted) == 6


async def test_the_ledger_tells_of_a_kept_plan_what_it_tells_of_a_new_one(
    own: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for number in (11, 12, 13):
            await ask.rows(BORN.format(number))
        monkeypatch.setattr(Plans, "look", lambda *_: None)
        await ask.rows(BORN.format(13))
        *_, kept_one, new_one = [r for r in agent.ledger.records() if r["kind"] == "begin"]
    for passing in ("fragment", "seq", "prev", "time", "hash"):
        assert kept_one.pop(passing) != new_one.pop(passing)
    assert kept_one == new_one


async def test_a_time_zone_that_does_not_exist_is_refused_kept_or_not(own: House) -> None:
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for _ in range(4):
            assert (await ask.rows(BORN.format(3))).num_rows == 1
            refused = await ask.refusal(BORN.format(3), time_zone="Mars/Phobos")
            assert "is no time zone" in refused.message


async def test_an_ended_grant_ends_a_kept_plan(own: House) -> None:
    clock = Clock(datetime.now(UTC))
    own.write(grants=[{**YEARS, "until": clock.now + timedelta(hours=2)}])
    async with opened(own, clock) as agent, asking(agent, own, "lin") as ask:
        for number in range(3, 9):
            assert (await ask.rows(BORN.format(number))).num_rows == 1
        clock.now += timedelta(hours=3)
        assert (await ask.refusal(BORN.format(9))).outcome is Outcome.NOT_AVAILABLE


async def test_a_denial_that_begins_ends_a_kept_plan(own: House) -> None:
    clock = Clock(datetime.now(UTC))
    begins = (clock.now + timedelta(hours=2)).isoformat()
    own.write(grants=[YEARS, {"id": "no", "relation": "people", "deny": True, "from": begins, "users": ["lin"]}])
    async with opened(own, clock) as agent, asking(agent, own, "lin") as ask:
        for number in range(3, 9):
            assert (await ask.rows(BORN.format(number))).num_rows == 1
        clock.now += timedelta(hours=3)
        assert (await ask.refusal(BORN.format(9))).outcome is Outcome.NOT_AVAILABLE


async def test_questions_of_a_day_are_counted_with_kept_plans_too(own: House, admitted: list[str]) -> None:
    own.write(grants=[{**YEARS, "per_day": 5}])
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for number in range(3, 8):
            assert (await ask.rows(BORN.format(number))).num_rows == 1
        assert (await ask.refusal(BORN.format(9))).outcome is Outcome.BUDGET
        assert len(admitted) == 3


async def test_a_grant_that_becomes_strict_asks_for_a_signed_question(own: House) -> None:
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for number in range(3, 8):
            assert (await ask.rows(BORN.format(number))).num_rows == 1
        own.write(grants=[{**YEARS, "strict": "question"}])
        for number in range(3, 8):
            assert (await ask.refusal(BORN.format(number))).rule == "signed question"


async def test_a_changed_policy_ends_kept_plans(own: House) -> None:
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for number in range(21, 27):
            assert (await ask.rows(BORN.format(number))).num_rows == 1
        own.write(grants=[{**YEARS, "row_filter": "id < 20", "masks": {**MASKS, "born": "null"}}])
        for number in range(21, 27):
            assert (await ask.rows(BORN.format(number))).num_rows == 0
        assert tuples(await ask.rows(BORN.format(15))) == [(15, None)]
        own.write(grants=[DAYS])
        assert (await ask.refusal(BORN.format(15))).outcome is Outcome.NOT_AVAILABLE


async def test_a_relation_that_moved_is_read_where_it_is_now(own: House) -> None:
    """What is decided stays the same, and what is planned of it does not."""
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for number in range(21, 27):
            assert (await ask.rows(BORN.format(number))).num_rows == 1
        relations = own.policy["relations"]
        own.write(relations={**relations, "people": {**relations["people"], "table": "moved"}})
        assert (await ask.rows(BORN.format(27))).num_rows == 0


async def test_each_user_and_purpose_has_its_own_decisions(own: House) -> None:
    """The same text in turn: who may see years, who may see nothing of a birthday, and who holds both purposes."""
    askers = [("lin", "mass-balance", True), ("bi", "statistics", False), ("mei", "mass-balance", True),
              ("mei", "statistics", False)]  # fmt: skip
    async with opened(own) as agent:
        numbers = [row[0] for row in people() if row[5] is not None][:6]
        for number in numbers:
            for sub, purpose, sees in askers:
                async with asking(agent, own, sub, purpose) as ask:
                    ((_, born),) = tuples(await ask.rows(BORN.format(number)))
                    assert (born is not None) is sees
        async with asking(agent, own, "bi", "mass-balance") as ask:
            assert (await ask.refusal(BORN.format(numbers[0]))).outcome is not Outcome.OK


async def test_the_same_text_with_other_keys_gives_their_rows(own: House, admitted: list[str]) -> None:
    text = 'SELECT t.id AS c0 FROM water.main.people AS t WHERE t.id IN (SELECT k FROM "$keys") ORDER BY 1'
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for keys in ([1, 2], [3], [4, 5, 6], [7, 10**12], [], [8]):
            kind = pa.array(keys, pa.int64())
            assert [row[0] for row in tuples(await ask.rows(text, kind))] == [k for k in keys if k < 300]
        assert len(admitted) == 3


async def test_a_fragment_with_a_question_is_always_planned(own: House, admitted: list[str]) -> None:
    async with opened(own) as agent, asking(agent, own, "lin") as ask:
        for _ in range(4):
            await ask.rows(BORN.format(3), question={"sql": "SELECT 1", "proof": "none"})
        assert len(admitted) == 4
