"""What the gateway refuses before it looks at a single name: each with one clear error, none with a crash."""

from __future__ import annotations

import pytest

from catalog.errors import Outcome, UserError
from gateway.parse import parse

REFUSED = {
    "nothing": ("", Outcome.SYNTAX),
    "only a comment": ("-- hello", Outcome.SYNTAX),
    "two statements": ("SELECT 1; SELECT 2", Outcome.SYNTAX),
    "nothing selected": ("SELECT FROM t", Outcome.SYNTAX),
    "an open quote": ("SELECT 'abc", Outcome.SYNTAX),
    "an open comment": ("SELECT /* abc", Outcome.SYNTAX),
    "a stray bracket": ("SELECT (1", Outcome.SYNTAX),
    "5 MB": ("SELECT '" + "x" * 5_000_000 + "'", Outcome.TOO_LARGE),
    "10,000 parentheses": ("SELECT " + "(" * 10_000 + "1" + ")" * 10_000, Outcome.TOO_LARGE),
    "3,000 brackets": ("SELECT " + "ARRAY[" * 3_000 + "]" * 3_000, Outcome.TOO_LARGE),
    "5,000 NOTs": ("SELECT " + "NOT " * 5_000 + "true", Outcome.TOO_LARGE),
    "3,000 CASEs": ("SELECT " + "CASE WHEN true THEN " * 3_000 + "1" + " END" * 3_000, Outcome.TOO_LARGE),
    "20,000 plus signs": ("SELECT 1" + " + 1" * 20_000, Outcome.TOO_LARGE),
    "20 joins without a condition": ("SELECT 1 FROM t" + " JOIN t" * 20, Outcome.TOO_LARGE),
    "20 nested arrays": ("SELECT " + "ARRAY[" * 20 + "1" + "]" * 20, Outcome.TOO_LARGE),
    "a function of another dialect": ("SELECT ifnull(a, 1) FROM t", Outcome.FUNCTION),
    "a function that nobody knows": ("SELECT frobnicate(a) FROM t", Outcome.FUNCTION),
    "10,000 ANDs": ("SELECT 1 WHERE " + " AND ".join(["1 = 1"] * 10_000), Outcome.TOO_LARGE),
    "1,000 UNIONs": ("SELECT 1" + " UNION ALL SELECT 1" * 1_000, Outcome.TOO_LARGE),
    "an insert": ("INSERT INTO t VALUES (1)", Outcome.STATEMENT),
    "a drop": ("DROP TABLE t", Outcome.STATEMENT),
    "an update": ("UPDATE t SET a = 1", Outcome.STATEMENT),
    "a table made of a query": ("CREATE TABLE t AS SELECT 1", Outcome.STATEMENT),
    "recursion": ("WITH RECURSIVE r(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM r) SELECT * FROM r", Outcome.NODE),
    "a row in braces": ("SELECT {'a': 1}", Outcome.NODE),
    "a sample": ("SELECT * FROM t TABLESAMPLE BERNOULLI (10)", Outcome.NODE),
    "a row lock": ("SELECT a FROM t FOR UPDATE", Outcome.NODE),
    "a bare parameter": ("SELECT ?", Outcome.NODE),
    "time travel": ("SELECT * FROM t FOR VERSION AS OF 1", Outcome.NODE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_by_name(name: str) -> None:
    sql, outcome = REFUSED[name]
    with pytest.raises(UserError) as refused:
        parse(sql)
    assert refused.value.outcome is outcome
    assert refused.value.message
    assert len(str(refused.value)) < 400


ACCEPTED = [
    "SELECT 1",
    "(SELECT 1)",
    "VALUES (1, 'a'), (2, 'b')",
    "TABLE a.b.c",
    "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
    "SELECT 1 UNION ALL SELECT 2 ORDER BY 1 LIMIT 1",
    '/* {"app": "dbt"} */ SELECT \'a;b\' -- a comment; with a semicolon',
    "SELECT " + "(" * 90 + "1" + ")" * 90,
    "SELECT 1" + " + 1" * 300,
    "SELECT 1" + " UNION ALL SELECT 1" * 100,
    "SELECT 'it''s (((' || '\"'",
]


@pytest.mark.parametrize("sql", ACCEPTED, ids=lambda s: s[:40])
def test_a_query_of_the_same_shape_is_accepted(sql: str) -> None:
    assert parse(sql).tree is not None


def test_a_syntax_error_points_at_its_word() -> None:
    with pytest.raises(UserError) as refused:
        parse("SELECT a\nFROM t\nWHER a = 1 AND b")
    assert refused.value.location is not None
    assert refused.value.location.line == 3
