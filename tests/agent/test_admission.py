"""What may be written at all: closed lists, five known injections, and a legal twin beside every refusal."""

from __future__ import annotations

import inspect

import pytest
from sqlglot import exp

from catalog import duck
from catalog.duck.scanner import WORDS
from catalog.errors import CityError, Outcome, UserError
from connectors.agent.admit import admit
from connectors.agent.service import Agent
from tests.agent.house import House

T = "FROM water.main.usage AS t"


def nested(depth: int) -> str:
    """Calls in one another, each of which is written out by repeating its arguments: text of 2^depth parts."""
    return "greatest(" * depth + "t.qty" + ", 1)" * depth


# (refused, outcome, a legal statement of the same shape)
TWINS = [
    (
        "SELECT date_add('DAY, (SELECT name FROM secret) --', 1, t.month) AS c0 " + T,
        Outcome.NODE,
        "SELECT date_add('DAY', 1, t.month) AS c0 " + T,
    ),
    (
        'SELECT extract("YEAR FROM x), (SELECT 1) --" FROM t.month) AS c0 ' + T,
        Outcome.NODE,
        "SELECT extract(YEAR FROM t.month) AS c0 " + T,
    ),
    ('SELECT t.unit COLLATE "NOCASE, (SELECT 1)" AS c0 ' + T, Outcome.FUNCTION, "SELECT t.unit AS c0 " + T),
    ('SELECT abs("1), (SELECT 1) --" => 1) AS c0 ' + T, Outcome.NODE, "SELECT abs(1) AS c0 " + T),
    (
        "SELECT @@a AS c0, '$$, secret FROM t --' AS c1 " + T,
        Outcome.NODE,
        "SELECT 1 AS c0, '$$, x FROM t --' AS c1 " + T,
    ),
    ("SELECT 1 AS c0; SELECT 2 AS c0", Outcome.SYNTAX, "SELECT 1 AS c0"),
    ("SELECT t.unit AS c0 FROM", Outcome.SYNTAX, "SELECT t.unit AS c0 " + T),
    ("DELETE FROM water.main.usage", Outcome.STATEMENT, "SELECT count(*) AS c0 " + T),
    ("EXPLAIN SELECT 1 AS c0", Outcome.STATEMENT, "SELECT 1 AS c0"),
    ("SHOW STATS FOR water.main.usage", Outcome.STATEMENT, "SELECT min(t.qty) AS c0 " + T),
    ("EXECUTE IMMEDIATE 'SELECT 1'", Outcome.STATEMENT, "SELECT 1 AS c0"),
    (
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT n AS c0 FROM a",
        Outcome.NODE,
        "WITH a(n) AS (SELECT 1 UNION ALL SELECT 2) SELECT n AS c0 FROM a",
    ),
    (
        "SELECT t.unit AS c0 FROM water.main.usage AS t TABLESAMPLE BERNOULLI (10)",
        Outcome.NODE,
        "SELECT t.unit AS c0 " + T,
    ),
    ("SELECT t.unit AS c0 FROM water.main.usage FOR VERSION AS OF 1 AS t", Outcome.NODE, "SELECT t.unit AS c0 " + T),
    ("SELECT t.unit AS c0 " + T + " FOR UPDATE", Outcome.NODE, "SELECT t.unit AS c0 " + T),
    ("SELECT len(t.unit) AS c0 " + T, Outcome.FUNCTION, "SELECT length(t.unit) AS c0 " + T),
    ("SELECT ifnull(t.unit, 'x') AS c0 " + T, Outcome.FUNCTION, "SELECT coalesce(t.unit, 'x') AS c0 " + T),
    ("SELECT rand() AS c0 " + T, Outcome.FUNCTION, "SELECT pi() AS c0 " + T),
    ("SELECT read_csv('/etc/passwd') AS c0 " + T, Outcome.FUNCTION, "SELECT lower('/etc/passwd') AS c0 " + T),
    (
        "SELECT t.c0 AS c0 FROM TABLE(query('x')) AS t(c0)",
        Outcome.FUNCTION,
        "SELECT t.c0 AS c0 FROM (VALUES (1)) AS t(c0)",
    ),
    ('SELECT "$path" AS c0 ' + T, Outcome.NODE, "SELECT t.unit AS c0 " + T),
    ("SELECT ? AS c0 " + T, Outcome.NODE, "SELECT 1 AS c0 " + T),
    ("SELECT t AS c0 " + T, Outcome.NOT_AVAILABLE, "SELECT t.unit AS c0 " + T),
    (
        "SELECT x.unit AS c0 FROM water.main.usage AS t NATURAL JOIN water.main.usage AS x",
        Outcome.NODE,
        "SELECT x.unit AS c0 FROM water.main.usage AS t JOIN water.main.usage AS x ON t.litres = x.litres",
    ),
    (
        "SELECT a.n AS c0 FROM (SELECT 1 AS n) AS a PIVOT (sum(n) FOR n IN (1)) AS p",
        Outcome.NODE,
        "SELECT a.n AS c0 FROM (SELECT 1 AS n) AS a",
    ),
    ("SELECT date_trunc('decade', t.month) AS c0 " + T, Outcome.NODE, "SELECT date_trunc('year', t.month) AS c0 " + T),
    ("SELECT CAST(t.unit AS ipaddress) AS c0 " + T, Outcome.NODE, "SELECT CAST(t.unit AS varchar) AS c0 " + T),
    ("SELECT t.unit\u00a0AS c0 " + T, Outcome.SYNTAX, "SELECT t.unit AS c0 " + T + " WHERE t.unit <> '\u00a0'"),
    (
        "SELECT t.unit AS c0 " + T + " WHERE t.unit = '\x07'",
        Outcome.SYNTAX,
        "SELECT t.unit AS c0 " + T + " WHERE t.unit = '\t'",
    ),
    ("SELECT e\u0301 AS c0 " + T, Outcome.SYNTAX, "SELECT t.unit AS c0 " + T),
    (
        "SELECT " + "(" * 101 + "1" + ")" * 101 + " AS c0",
        Outcome.TOO_LARGE,
        "SELECT " + "(" * 90 + "1" + ")" * 90 + " AS c0",
    ),
    ("SELECT " + "NOT " * 101 + "true AS c0", Outcome.TOO_LARGE, "SELECT " + "NOT " * 50 + "true AS c0"),
    ("SELECT " + "array[" * 20 + "]" * 20 + " AS c0", Outcome.TOO_LARGE, "SELECT cardinality(array[array[1]]) AS c0"),
    (
        "SELECT 1 AS c0 FROM (VALUES 1) AS t" + " JOIN (VALUES 1)" * 20,
        Outcome.TOO_LARGE,
        "SELECT 1 AS c0 FROM (VALUES 1) AS t CROSS JOIN (VALUES 1) AS a CROSS JOIN (VALUES 2) AS b",
    ),
    ("SELECT '" + "x" * 300_000 + "' AS c0", Outcome.TOO_LARGE, "SELECT '" + "x" * 100_000 + "' AS c0"),
    (
        "SELECT " + " + ".join(["1"] * 2000) + " AS c0",
        Outcome.TOO_LARGE,
        "SELECT " + " + ".join(["1"] * 200) + " AS c0",
    ),
    (
        "WITH a0 AS (SELECT 1 AS n)"
        + "".join(f", a{i} AS (SELECT x.n FROM a{i - 1} x, a{i - 1} y)" for i in range(1, 40))
        + " SELECT n AS c0 FROM a39",
        Outcome.TOO_LARGE,
        "WITH a0 AS (SELECT 1 AS n), a1 AS (SELECT x.n FROM a0 x, a0 y) SELECT n AS c0 FROM a1",
    ),
    (
        "SELECT " + ", ".join(f"{nested(14)} AS c{i}" for i in range(60)) + " " + T,
        Outcome.TOO_LARGE,
        "SELECT " + ", ".join(f"{nested(3)} AS c{i}" for i in range(60)) + " " + T,
    ),
    (
        f"SELECT {nested(12)} AS c0 {T} GROUP BY {', '.join('1' * 60)}",
        Outcome.TOO_LARGE,
        f"SELECT {nested(2)} AS c0 {T} GROUP BY {', '.join('1' * 60)}",
    ),
    (
        f"SELECT CASE {nested(12)} {'WHEN 1 THEN 2 ' * 1000} END AS c0 {T}",
        Outcome.TOO_LARGE,
        f"SELECT CASE {nested(2)} {'WHEN 1 THEN 2 ' * 1000} END AS c0 {T}",
    ),
    (
        f"SELECT ({', '.join('1' * 3000)}) < ({', '.join('1' * 3000)}) AS c0 {T}",
        Outcome.TOO_LARGE,
        f"SELECT ({', '.join('1' * 30)}) < ({', '.join('1' * 30)}) AS c0 {T}",
    ),
    ("SELECT " + "1" * 5000 + " AS c0", Outcome.SYNTAX, "SELECT " + "0" * 5000 + " AS c0"),
    ("SELECT 1 AS c0 LIMIT " + "1" * 5000, Outcome.NODE, "SELECT 1 AS c0 LIMIT 1000000000000000"),
    (
        f"SELECT regexp_extract(t.unit, '{'(' * 5000}{')' * 5000}', 1) AS c0 {T}",
        Outcome.SEMANTIC,
        f"SELECT regexp_extract(t.unit, '{'(' * 50}{')' * 50}', 1) AS c0 {T}",
    ),
    ("SELECT t.unit AS wrong " + T, Outcome.NODE, "SELECT t.unit AS c0 " + T),
    ("SELECT t.nothing AS c0 " + T, Outcome.NOT_AVAILABLE, "SELECT t.unit AS c0 " + T),
    ("SELECT t.unit AS c0 FROM other.main.usage AS t", Outcome.NOT_AVAILABLE, "SELECT t.unit AS c0 FROM usage AS t"),
    ("SELECT t.unit AS c0 FROM water.sys.usage AS t", Outcome.NOT_AVAILABLE, "SELECT t.unit AS c0 " + T),
    ("SELECT t.name AS c0 FROM sqlite_schema AS t", Outcome.NOT_AVAILABLE, "SELECT t.unit AS c0 " + T),
    ("SELECT t.x AS c0 FROM duckdb_settings AS t", Outcome.NOT_AVAILABLE, "SELECT t.unit AS c0 " + T),
    (
        "SELECT t.unit AS c0 FROM r0 AS t",
        Outcome.NOT_AVAILABLE,
        "WITH r0 AS (SELECT 1 AS unit) SELECT t.unit AS c0 FROM r0 AS t",
    ),
]


@pytest.mark.parametrize(("sql", "outcome", "twin"), TWINS, ids=[t[0][:50] for t in TWINS])
async def test_refused_by_name_while_its_twin_is_answered(
    house: House, agent: Agent, sql: str, outcome: Outcome, twin: str
) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        refused = await ask.refusal(sql)
        assert refused.outcome is outcome, refused
        assert refused.who == "water"
        await ask.rows(twin)


@pytest.mark.parametrize("call", ["sum(t.qty)", "geometric_mean(t.qty)", "cardinality(histogram(t.qty))"])
async def test_a_limit_is_above_every_aggregate(house: House, agent: Agent, call: str) -> None:
    """Also above those that the parser does not know for one."""
    async with house.client("lin", "mass-balance", agent) as ask:
        assert await ask.rows(f"SELECT {call} AS c0 {T} LIMIT 1") == await ask.rows(f"SELECT {call} AS c0 {T}")


def test_a_refused_function_names_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"Function substrin is not available. Did you mean substring\?"):
        admit("SELECT substrin(x, 1) AS c0 FROM t")


def all_classes() -> list[type[exp.Expr]]:
    found = [c for c in vars(exp).values() if inspect.isclass(c) and issubclass(c, exp.Expr)]
    return sorted(set(found), key=lambda c: c.__name__)


def test_every_node_class_outside_the_closed_list_is_refused() -> None:
    """All classes that the parser can make, present or future: a new one is refused until someone lists it."""
    outside = [c for c in all_classes() if c not in duck.NODES]
    checked = 0
    for kind in outside:
        try:
            node = kind()
        except TypeError:  # a trait, which no tree can hold
            continue
        checked += 1
        tree = exp.Select(expressions=[exp.Alias(this=node, alias=exp.to_identifier("c0"))])
        with pytest.raises(CityError) as refused:
            duck.compile_query(tree, {})
        assert refused.value.outcome in (Outcome.NODE, Outcome.FUNCTION), kind
    assert checked > 750


def test_every_function_that_the_parser_knows_and_the_list_does_not_is_refused_by_name() -> None:
    allowed = set(duck.FUNCTIONS) | {"verify"} | WORDS
    names = {n.lower() for f in exp.ALL_FUNCTIONS for n in f.sql_names() if n.isidentifier()}
    checked = 0
    for name in sorted(names - allowed):
        with pytest.raises(CityError) as refused:
            admit(f"SELECT {name}(x) AS c0 FROM t")
        assert refused.value.outcome in (Outcome.FUNCTION, Outcome.NODE, Outcome.STATEMENT, Outcome.SYNTAX), name
        checked += 1
    assert checked > 400


def test_unknown_arguments_of_known_nodes_are_refused() -> None:
    """A flag that a later parser may set on a listed node is not silently ignored."""
    for kind in (exp.Sum, exp.Lower, exp.Substring, exp.Window, exp.Join, exp.Select, exp.Between):
        node = kind(invented=exp.Literal.number(1))
        tree = (
            node
            if kind is exp.Select
            else exp.Select(expressions=[exp.Alias(this=node, alias=exp.to_identifier("c0"))])
        )
        with pytest.raises(CityError):
            duck.compile_query(tree, {})


async def test_words_of_a_table_are_matched_without_case(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        assert (await ask.rows('SELECT T.UNIT AS c0, t."qty" AS c1 FROM Water.MAIN.Usage AS T LIMIT 1')).num_rows == 1
