"""Which columns of an owner's SELECT may be an error of a row: those that it computes, but for what never is one."""

from __future__ import annotations

import pytest

from connectors.base import NativeScan
from connectors.total import Kind, outputs

TOTAL, LATE, EARLY = Kind.TOTAL, Kind.LATE, Kind.EARLY
VIEWS = {"clean": "SELECT id, upper(name) AS name FROM person", "risky": "SELECT id, 1 / score AS x FROM person"}


def kind(text: str, column: str, dialect: str = "duckdb", is_query: bool = True) -> Kind:
    def definition(_: str, name: str) -> str | None:
        return "" if name == "secret" else VIEWS.get(name)

    return outputs(NativeScan(text, is_query), dialect, definition).kind(column)


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("SELECT p.id, 1 / p.score AS x FROM person p", "id", TOTAL),
        ("SELECT p.id, 1 / p.score AS x FROM person p", "x", LATE),
        ("SELECT p.id, 1 / p.score AS x FROM person p", "y", EARLY),
        ("SELECT ID, Name AS \"Called\" FROM person", "called", TOTAL),
        ("SELECT * FROM person", "anything", TOTAL),
        ("SELECT p.*, 1 / score AS x FROM person p", "id", TOTAL),
        ("SELECT p.*, 1 / score AS x FROM person p", "x", LATE),
        ("SELECT * EXCLUDE (id) FROM person", "name", EARLY),
        ("SELECT * REPLACE (1 / id AS id) FROM person", "id", EARLY),
        ("SELECT q.x FROM (SELECT 1 / score AS x FROM person) q", "x", EARLY),
        ("SELECT q.x + 1 AS y FROM (SELECT 1 / score AS x FROM person) q", "y", EARLY),
        ("SELECT * FROM (SELECT 1 / score AS x, id FROM person) q", "x", EARLY),
        ("SELECT * FROM (SELECT 1 / score AS x, id FROM person) q", "id", TOTAL),
        ("WITH q AS (SELECT 1 / score AS x, id FROM person) SELECT x, id FROM q", "x", EARLY),
        ("WITH q AS (SELECT 1 / score AS x, id FROM person) SELECT x, id FROM q", "id", TOTAL),
        ("WITH q(a) AS (SELECT id FROM person) SELECT a FROM q", "a", EARLY),
        ("SELECT id FROM a UNION ALL SELECT id FROM b", "id", TOTAL),
        ("SELECT id FROM a UNION ALL SELECT 1 / score FROM b", "id", LATE),
        ("SELECT id FROM a UNION ALL SELECT * FROM b", "id", TOTAL),
        ("SELECT 1 / id AS id FROM a EXCEPT SELECT id FROM b", "id", EARLY),
        ("SELECT 1 / score AS x, x AS y FROM person", "y", LATE),
        ("SELECT a.id, b.id AS other FROM a JOIN (SELECT 1 / id AS id FROM c) b ON true", "id", TOTAL),
        ("SELECT a.id, b.id AS other FROM a JOIN (SELECT 1 / id AS id FROM c) b ON true", "other", EARLY),
        ("SELECT id FROM a JOIN (SELECT 1 / id AS id FROM c) b USING (id)", "id", EARLY),
        ("SELECT x FROM person, unnest([1]) AS u(x)", "x", EARLY),
        ("SELECT (SELECT 1 / max(score) FROM person) AS x FROM a", "x", EARLY),
        ("SELECT id FROM clean", "id", TOTAL),
        ("SELECT name FROM clean", "name", TOTAL),
        ("SELECT x FROM risky", "x", EARLY),
        ("SELECT id FROM secret", "id", EARLY),
        ("no SELECT at all (", "id", EARLY),
        ("SELECT v, n FROM wide UNPIVOT (v FOR n IN (a, b))", "v", TOTAL),
    ],
)  # fmt: skip
def test_a_column_is_as_the_select_makes_it(text: str, column: str, expected: Kind) -> None:
    assert kind(text, column) == expected


def test_a_table_and_a_view_of_the_source_are_read_by_name() -> None:
    assert kind("person", "id", is_query=False) == TOTAL
    assert kind("risky", "x", is_query=False) == LATE
    assert kind("secret", "id", is_query=False) == EARLY
    assert kind("SELECT x FROM RISKY", "x", "postgres") == EARLY  # which folds names


NEVER = {
    "duckdb": [
        "upper(name)", "trim(lower(name))", "translate(name, 'ab', 'cd')", "year(day)", "CAST(year(day) AS INTEGER)",
        "CAST(name AS VARCHAR)", "substr(name, 1, 4)", "replace(name, ' ', '')",
        "CAST(date_trunc('month', at) AS DATE)",
        "CASE WHEN name = 'CO' THEN 'mg' ELSE 'ug' END", "coalesce(name, '')", "id IS NULL", "at < DATE '2016-01-01'",
        "CASE WHEN name = 'a' AND day IS NOT NULL THEN id END", "3", "CAST('1900-01-01' AS DATE)",
    ],
    "postgres": [
        "upper(name)", "coalesce(id, 0)", "id > 5", "replace(normalize(name, NFKC), ' ', '')",
        "day = DATE '2016-01-01'",
        "CAST(extract(year FROM at) AS int)", "at < DATE '2016-01-01'",
    ],
    "mysql": ["YEAR(COALESCE(a.day, a.at))", "CAST(SUBSTRING(name, 1, 4) AS SIGNED)", "NULLIF(id, -1)"],
    "sqlite": ["upper(replace(nfkc(name), ' ', ''))", "CAST(substr(day, 1, 4) AS INTEGER)", "id + 1", "id / 0"],
}  # fmt: skip
MAYBE = {
    "duckdb": [
        "1 / id", "id + 1", "CAST(name AS INTEGER)", "name = 5", "name = id", "coalesce(name, id)", "nullif(name, 5)",
        "name IN (1, 2)", "substr(name, 1, id)", "NOT name", "CASE WHEN name THEN 1 END", "error(name)", "name::DATE",
        "CASE WHEN id IS NULL THEN id ELSE wide END", "CAST(year(day) AS TINYINT)", "CASE name WHEN 1 THEN 2 END",
        "name LIKE 'a' ESCAPE name", "name IS TRUE", "amount < 0.00001", "at = DATE '2016-01-01' + id",
        "CAST(extract(epoch FROM at) AS INTEGER)", "CAST(year(day) AS SMALLINT)", "name = TIMESTAMP '2016-01-01'",
        "name = DATE '2016-01-01'", "sum(id)", "id = wide", "json_extract(name, '$.a')",
    ],
    "postgres": [
        "id + 1", "CAST(name AS int)", "substring(name from 'a+')", "my_function(id)", "id = wide", "-id",
        "CAST(extract(epoch FROM at) AS int)", "CAST(extract(year FROM at) AS smallint)",
    ],
    "mysql": ["id + 1", "(SELECT b.id FROM b)", "my_function(id)", "POW(id, 2)", "-id"],
    "sqlite": ["json_extract(name, '$.n')", "abs(id)", "sum(id)", "my_function(id)"],
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "text"), [(d, text) for d, texts in NEVER.items() for text in texts])
def test_what_is_an_error_of_no_row_is_total(dialect: str, text: str) -> None:
    assert kind(f"SELECT {text} AS x FROM a", "x", dialect) == TOTAL


@pytest.mark.parametrize(("dialect", "text"), [(d, text) for d, texts in MAYBE.items() for text in texts])
def test_what_may_be_one_is_not(dialect: str, text: str) -> None:
    assert kind(f"SELECT {text} AS x FROM a", "x", dialect) != TOTAL
