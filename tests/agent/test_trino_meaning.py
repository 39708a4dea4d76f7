# ruff: noqa: E501 - tables of expressions read best one a line
"""DuckDB text that means what Trino means: values and types as Trino 476 documents or shows them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from catalog import duck
from catalog.duck import scalars
from catalog.errors import CityError, Outcome
from catalog.types import parse
from connectors.agent.admit import admit

COLUMNS = {
    "i": "integer", "b": "bigint", "s": "varchar", "n": "decimal(10,3)", "m": "decimal(14,2)", "f": "double",
    "d": "date", "ts": "timestamp(3)", "t": "boolean", "a": "array(integer)", "j": "varchar", "si": "smallint",
}  # fmt: skip
ROWS = """
    (1, 2, 'Ab,c', 1.500, 2.50, 2.5, DATE '2020-01-31', TIMESTAMP '2020-02-03 04:05:06.789', true, [3, 1, NULL], '{"a": {"b": "x"}, "n": 1}', 5),
    (2, -7, 'é中😀', -2.005, 0.30, -1.5, DATE '2021-03-01', TIMESTAMP '2021-12-31 23:59:59.000', false, [], '[1, 2]', -3),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""
NOW = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    opened = duckdb.connect()
    duck.prepare(opened)
    types = ", ".join(f"{n} {parse(t).duckdb()}" for n, t in COLUMNS.items())
    opened.execute(f"CREATE TABLE data ({types})")
    opened.execute(f"INSERT INTO data VALUES {ROWS}")
    duck.lock(opened)
    yield opened
    opened.close()


TABLES = {"x": duck.Table("data", {n: parse(t) for n, t in COLUMNS.items()})}


def parsed(sql: str) -> exp.Expr:
    """As both sides parse: typed literals are told from casts."""
    tree = sqlglot.parse_one(sql, dialect="trino")
    duck.settle_literals(tree, duck.scan(sql))
    return tree


def run(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    compiled = duck.compile_query(parsed(sql), TABLES, NOW)
    relation = con.sql(compiled.sql)
    declared = [t.duckdb().replace(", ", ",") for _, t in compiled.columns]
    real = [
        "INTEGER" if str(t) == '"NULL"' else str(t).replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")
        for t in relation.types
    ]
    assert real == declared, f"{compiled.sql}: DuckDB gives {real}"
    return [str(t) for _, t in compiled.columns], relation.fetchall()


# expression over the first row -> (Trino type, value)
SCALARS: dict[str, tuple[str, Any]] = {
    # whole numbers: R1
    "b / 2": ("bigint", 1), "-7 / 2": ("integer", -3), "7 % -2": ("integer", 1), "mod(-7, 2)": ("integer", -1),
    "9007199254740993 / 1": ("bigint", 9007199254740993), "si + 1": ("integer", 6), "i + b": ("bigint", 3),
    # decimals: R3
    "n / m": ("decimal(12, 3)", Decimal("0.600")), "n / 3": ("decimal(10, 3)", Decimal("0.500")),
    "1 / 3.0": ("decimal(12, 1)", Decimal("0.3")), "2 / 3.000": ("decimal(16, 3)", Decimal("0.667")),
    "n * m": ("decimal(24, 5)", Decimal("3.75000")), "n + m": ("decimal(16, 3)", Decimal("4.000")),
    "n - 1": ("decimal(14, 3)", Decimal("0.500")), "m % n": ("decimal(10, 3)", Decimal("1.000")),
    "f / i": ("double", 2.5), "n / f": ("double", 0.6), "f % 2": ("double", 0.5), "1e0 / 0": ("double", float("inf")),
    # rounding: R4
    "round(f)": ("double", 3.0), "round(-2.5e0)": ("double", -3.0), "CAST(2.5e0 AS bigint)": ("bigint", 3),
    "CAST(f AS integer)": ("integer", 3), "CAST(3.5e0 AS integer)": ("integer", 4), "CAST(2.5 AS bigint)": ("bigint", 3),
    "CAST(n AS integer)": ("integer", 2), "round(n)": ("decimal(8, 0)", Decimal(2)),
    "round(n, 2)": ("decimal(11, 3)", Decimal("1.500")), "floor(n)": ("decimal(8, 0)", Decimal(1)),
    "ceil(-0.5)": ("decimal(1, 0)", Decimal(0)), "truncate(2.7e0)": ("double", 2.0), "ceil(b)": ("bigint", 2),
    "sign(n)": ("decimal(1, 0)", Decimal(1)), "abs(-2)": ("integer", 2), "power(2, 10)": ("double", 1024.0),
    # text
    "length('é中😀')": ("bigint", 3), "upper(s)": ("varchar", "AB,C"), "substr(s, 2)": ("varchar", "b,c"),
    "substr(s, -1)": ("varchar", "c"), "substr(s, 0)": ("varchar", ""), "substr(s, -9)": ("varchar", ""),
    "substr(s, 2, 2)": ("varchar", "b,"), "substr(s, -3, 2)": ("varchar", "b,"), "substr(s, 2, 0)": ("varchar", ""),
    "split_part(s, ',', 2)": ("varchar", "c"), "split_part(s, ',', 3)": ("varchar", None),
    "strpos(s, 'b')": ("bigint", 2), "strpos(s, 'z')": ("bigint", 0), "s || '!'": ("varchar", "Ab,c!"),
    "concat(s, CAST(NULL AS varchar))": ("varchar", None), "concat_ws('-', 'a', NULL, 'b')": ("varchar", "a-b"),
    "lpad('7', 3, '0')": ("varchar", "007"), "lpad('1234', 2, '0')": ("varchar", "12"), "replace(s, 'b')": ("varchar", "A,c"),
    "trim(BOTH 'A' FROM s)": ("varchar", "b,c"), "reverse(s)": ("varchar", "c,bA"), "codepoint('A')": ("integer", 65),
    "regexp_extract(s, 'z')": ("varchar", None), "regexp_extract(s, '(A)(b)', 2)": ("varchar", "b"),
    "regexp_replace('a1b22', '([0-9]+)', '<$1>')": ("varchar(65)", "a<1>b<22>"), "regexp_like(s, '^A')": ("boolean", True),
    "regexp_replace('aXa', 'a')": ("varchar(3)", "X"), "s LIKE 'A!%' ESCAPE '!'": ("boolean", False),
    # conditions
    "greatest(i, NULL)": ("integer", None), "least(i, b)": ("bigint", 1), "coalesce(NULL, n, 1)": ("decimal(13, 3)", Decimal("1.500")),
    "if(t, i)": ("integer", 1), "nullif(i, 1)": ("integer", None), "CASE i WHEN 1 THEN 'x' ELSE s END": ("varchar", "x"),
    "i IS DISTINCT FROM NULL": ("boolean", True), "NOT t": ("boolean", False), "i NOT IN (2, NULL)": ("boolean", None),
    # casts from and to text: R5
    "TRY_CAST('1e3' AS bigint)": ("bigint", None), "TRY_CAST(' 12' AS integer)": ("integer", 12),
    "TRY_CAST('+12' AS integer)": ("integer", 12), "TRY_CAST('300' AS tinyint)": ("tinyint", None),
    "TRY_CAST('yes' AS boolean)": ("boolean", None), "CAST('T' AS boolean)": ("boolean", True),
    "CAST('1.50' AS decimal(10,1))": ("decimal(10, 1)", Decimal("1.5")), "TRY_CAST('2020-13-01' AS date)": ("date", None),
    "CAST('2020-1-5' AS date)": ("date", date(2020, 1, 5)), "TRY_CAST('2020/01/05' AS date)": ("date", None),
    "CAST(10e0 AS varchar)": ("varchar", "1.0E1"), "CAST(-0.0025e0 AS varchar)": ("varchar", "-2.5E-3"),
    "CAST(n AS varchar)": ("varchar", "1.500"), "CAST(t AS varchar)": ("varchar", "true"), "CAST(d AS varchar)": ("varchar", "2020-01-31"),
    "CAST(ts AS varchar)": ("varchar", "2020-02-03 04:05:06.789"), "CAST(s AS varchar(2))": ("varchar(2)", "Ab"),
    "CAST(ts AS date)": ("date", date(2020, 2, 3)), "DECIMAL '1.50'": ("decimal(3, 2)", Decimal("1.50")),
    # dates: R12, R13
    "d + INTERVAL '1' MONTH": ("date", date(2020, 2, 29)), "date_add('month', 1, d)": ("date", date(2020, 2, 29)),
    "date_add('day', -1, d)": ("date", date(2020, 1, 30)), "date_trunc('month', d)": ("date", date(2020, 1, 1)),
    "date_trunc('week', d)": ("date", date(2020, 1, 27)), "date_diff('day', d, DATE '2020-03-01')": ("bigint", 30),
    "date_diff('month', DATE '2020-01-31', DATE '2020-02-28')": ("bigint", 0),
    "date_diff('hour', ts, TIMESTAMP '2020-02-03 06:05:06')": ("bigint", 1),
    "year(d)": ("bigint", 2020), "quarter(d)": ("bigint", 1), "day_of_week(DATE '2020-02-02')": ("bigint", 7),
    "day_of_year(d)": ("bigint", 31), "week(DATE '2021-01-03')": ("bigint", 53), "year_of_week(DATE '2021-01-03')": ("bigint", 2020),
    "extract(DOW FROM d)": ("bigint", 5), "hour(ts)": ("bigint", 4), "second(ts)": ("bigint", 6), "millisecond(ts)": ("bigint", 789),
    "last_day_of_month(d)": ("date", date(2020, 1, 31)), "date_format(ts, '%Y-%m-%d %H:%i:%s')": ("varchar", "2020-02-03 04:05:06"),
    "date_parse('2020-02', '%Y-%m')": ("timestamp(3)", datetime(2020, 2, 1)), "to_unixtime(d)": ("double", 1580428800.0),
    "current_date": ("date", date(2026, 5, 6)), "CAST(localtimestamp AS varchar)": ("varchar", "2026-05-06 07:08:09.123"),
    "ts - INTERVAL '1' DAY": ("timestamp(3)", datetime(2020, 2, 2, 4, 5, 6, 789000)),
    # json and arrays
    "json_extract_scalar(j, '$.a.b')": ("varchar", "x"), "json_extract_scalar(j, '$.a')": ("varchar", None),
    "json_extract_scalar('no json', '$.a')": ("varchar(7)", None), "cardinality(a)": ("bigint", 3), "contains(a, 1)": ("boolean", True),
    "contains(a, 9)": ("boolean", None), "element_at(a, 2)": ("integer", 1), "element_at(a, 9)": ("integer", None), "a[1]": ("integer", 3),
    "sequence(1, 3)": ("array(bigint)", [1, 2, 3]), "sequence(3, 1)": ("array(bigint)", [3, 2, 1]), "array_join(ARRAY['a', 'b'], '-')": ("varchar", "a-b"), "array_max(ARRAY[1, 3])": ("integer", 3),
}  # fmt: skip


@pytest.mark.parametrize("text", SCALARS)
def test_scalars(con: duckdb.DuckDBPyConnection, text: str) -> None:
    kinds, rows = run(con, f"SELECT {text} AS v FROM x WHERE i = 1")
    assert (kinds[0], rows[0][0]) == SCALARS[text]


AGGREGATES: dict[str, tuple[str, Any]] = {
    "count(*)": ("bigint", 3), "count(i)": ("bigint", 2), "sum(i)": ("bigint", 3), "sum(n)": ("decimal(38, 3)", Decimal("-0.505")),
    "avg(i)": ("double", 1.5), "avg(n)": ("decimal(10, 3)", Decimal("-0.253")), "min(s)": ("varchar", "Ab,c"),
    "sum(DISTINCT si)": ("bigint", 2), "count(DISTINCT t)": ("bigint", 2), "count_if(t)": ("bigint", 1),
    "sum(i) FILTER (WHERE t)": ("bigint", 1), "avg(n) FILTER (WHERE i = 9)": ("decimal(10, 3)", None), "bool_and(t)": ("boolean", False),
    "every(i > 0)": ("boolean", True), "bool_or(t)": ("boolean", True), "max_by(s, i)": ("varchar", "é中😀"), "min_by(i, b)": ("integer", 2),
    "approx_distinct(i)": ("bigint", 2), "stddev(i)": ("double", 0.7071067811865476), "var_pop(i)": ("double", 0.25),
    "array_agg(i ORDER BY i DESC)": ("array(integer)", [2, 1, None]), "listagg(s, '|') WITHIN GROUP (ORDER BY i)": ("varchar", "Ab,c|é中😀"),
    "max(i) + count(*)": ("bigint", 5), "sum(n) / count(*)": ("decimal(38, 3)", Decimal("-0.168")), "arbitrary(t) IS NULL": ("boolean", False),
}  # fmt: skip


@pytest.mark.parametrize("text", AGGREGATES)
def test_aggregates(con: duckdb.DuckDBPyConnection, text: str) -> None:
    kinds, rows = run(con, f"SELECT {text} AS v FROM x")
    assert (kinds[0], rows[0][0]) == AGGREGATES[text]


@pytest.mark.parametrize(
    "text",
    [
        "lpad('x', 2000000000, 'y')",
        "replace(lpad('a', 100000, 'a'), 'a', lpad('b', 100000, 'b'))",
        "regexp_replace(lpad('a', 100000, 'a'), 'a', '" + "b" * 1000 + "')",
        "cardinality(sequence(1, 1000000000))",
        "cardinality(sequence(1, 2, 0))",
        "array_join(transform(sequence(1, 1000), x -> lpad('x', 100000, 'y')), ',')",
        "concat_ws(" + ", ".join(["lpad('x', 1000000, 'y')"] * 20) + ")",
        "to_hex(to_utf8(" * 5 + "lpad('x', 1000000, 'y')" + "))" * 5,
        "to_base64(to_utf8(" * 10 + "lpad('x', 1000000, 'y')" + "))" * 10,
        "json_format(CAST(" * 25 + "'\"'" + " AS json))" * 25,
        "from_utf8(from_hex(lpad('', 200, 'F')), lpad('', 200000, 'x'))",
        "strpos(lpad('', 1000000, 'x'), lpad('', 500000, 'x'), 400000)",
        "format(rpad('%', 1000000, '0'), 1)",
        "json_parse(rpad('', 1000000, '\\\"'))",
        "json_size('{}', rpad('$', 100000, '.a'))",
    ],
)
def test_no_expression_grows_without_bound(con: duckdb.DuckDBPyConnection, text: str) -> None:
    """DuckDB's memory limit does not hold for the values of scalars."""
    with pytest.raises(duckdb.Error) as failed:
        run(con, f"SELECT {text} AS v FROM x")
    assert duck.translate_error(failed.value).trino.name == "INVALID_FUNCTION_ARGUMENT"


@pytest.mark.parametrize(
    "number", ["'\"1e999999999\"'", "'\"-1E999999999\"'", "'\"' || lpad('x', 1000000, '1') || '\"'"]
)
def test_a_text_is_no_number_before_its_size_is_known(con: duckdb.DuckDBPyConnection, number: str) -> None:
    """Written out it would have a billion digits; and a search that turns back at each digit would not end."""
    with pytest.raises(duckdb.Error) as failed:
        run(con, f"SELECT CAST(json_parse({number}) AS bigint) AS v FROM x")
    assert duck.translate_error(failed.value).trino.name == "INVALID_CAST_ARGUMENT"


def test_rows_that_take_too_long_together_end_by_themselves(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No interrupt ends a function of Python."""
    monkeypatch.setattr(scalars, "MAX_SECONDS", 0.2)
    far = "levenshtein_distance(lpad('', 500, 'x'), lpad('', 500, chr(97 + CAST(n % 26 AS integer))))"
    with pytest.raises(duckdb.Error, match="EXCEEDED_TIME_LIMIT"):
        run(con, f"SELECT max({far}) AS v FROM UNNEST(sequence(1, 1000)) AS t(n)")


def test_rows_whose_values_are_too_large_together_end_by_themselves(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB's memory limit does not count what Python holds."""
    monkeypatch.setattr(scalars, "MAX_HELD", 1_000_000)
    chosen = "sum(cardinality(combinations(sequence(1, n), 2))) AS v FROM UNNEST(sequence(1, {})) AS t(n)"
    assert run(con, f"SELECT {chosen.format(50)}")[1] == [(20_825,)]
    with pytest.raises(duckdb.Error, match="EXCEEDED_LOCAL_MEMORY_LIMIT"):
        run(con, f"SELECT {chosen.format(120)}")


class OnceFull:
    """A connection on which the first macro does not find room."""

    def __init__(self, real: duckdb.DuckDBPyConnection) -> None:
        self.real, self.full = real, True

    def execute(self, sql: str) -> Any:
        if "MACRO" in sql and self.full:
            self.full = False
            raise duckdb.OutOfMemoryException("no room")
        return self.real.execute(sql)


def test_a_macro_that_could_not_be_made_is_made_the_next_time() -> None:
    with duckdb.connect() as bare:
        library = duck.Library(OnceFull(bare))  # type: ignore[arg-type]
        with pytest.raises(duckdb.OutOfMemoryException):
            library.need("tr_is_int('1')")
        library.need("tr_is_int('1')")
        assert bare.execute("SELECT tr_is_int('1')").fetchone() == (True,)


def test_moments_are_in_utc_on_every_connection_to_an_instance() -> None:
    """Whatever the machine's own zone is: masks, and what they are compared with, must not differ by it."""
    with duckdb.connect() as bare:
        bare.execute("SET GLOBAL TimeZone = 'America/New_York'")
        duck.Library(bare)
        assert bare.cursor().execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)


def test_doublings_end_before_they_cost_memory(con: duckdb.DuckDBPyConnection) -> None:
    steps = ", ".join(f"a{i} AS (SELECT v || v AS v FROM a{i - 1})" for i in range(1, 40))
    with pytest.raises(duckdb.Error, match="INVALID_FUNCTION_ARGUMENT"):
        run(con, f"WITH a0 AS (SELECT s AS v FROM x WHERE i = 1), {steps} SELECT length(v) AS n FROM a39")


def test_sums_of_bigint_overflow_as_in_trino(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error) as failed:
        run(con, "SELECT sum(v) AS s FROM (VALUES (9223372036854775807), (1)) AS t(v)")
    assert duck.translate_error(failed.value).trino.name in ("NUMERIC_VALUE_OUT_OF_RANGE", "INVALID_CAST_ARGUMENT")


QUERIES: dict[str, list[tuple[Any, ...]]] = {
    "SELECT i AS v FROM x ORDER BY v": [(1,), (2,), (None,)],
    "SELECT i AS v FROM x ORDER BY i DESC": [(2,), (1,), (None,)],
    "SELECT i AS v FROM x ORDER BY i NULLS FIRST LIMIT 1": [(None,)],
    "SELECT -i AS i FROM x WHERE i IS NOT NULL ORDER BY i": [(-2,), (-1,)],
    "SELECT i AS v FROM x ORDER BY 1 OFFSET 1 ROWS FETCH FIRST 1 ROW ONLY": [(2,)],
    "SELECT t AS k, count(*) AS v FROM x GROUP BY 1 ORDER BY 1": [(False, 1), (True, 1), (None, 1)],
    "SELECT i, lag(i, 1, 0) OVER (ORDER BY i) AS p FROM x WHERE i > 0 ORDER BY i": [(1, 0), (2, 1)],
    "SELECT i, first_value(i) IGNORE NULLS OVER (ORDER BY i NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS p "
    "FROM x ORDER BY i": [(1, 1), (2, 1), (None, 1)],
    "SELECT v.a, x.i FROM (VALUES (1, 'p'), (3, 'q')) AS v(a, c) LEFT JOIN x ON x.i = v.a ORDER BY 1": [(1, 1), (3, None)],
    "SELECT i FROM x JOIN (SELECT 1 AS i) AS y USING (i)": [(1,)],
    "SELECT * FROM (SELECT i, t FROM x) AS q(a, b) WHERE b": [(1, True)],
    "SELECT q.* FROM (SELECT i FROM x WHERE t) AS q": [(1,)],
    "WITH a(n) AS (SELECT i FROM x), b AS (SELECT n + 1 AS m FROM a) SELECT max(m) AS v FROM b": [(3,)],
    "SELECT 1 AS v UNION ALL SELECT 1 UNION ALL SELECT 2 ORDER BY v DESC LIMIT 2": [(2,), (1,)],
    "SELECT 1 AS v UNION SELECT 2.5 ORDER BY 1": [(Decimal("1.0"),), (Decimal("2.5"),)],
    "SELECT i AS v FROM x EXCEPT SELECT 2": [(1,), (None,)],
    "SELECT i AS v FROM x INTERSECT SELECT 2": [(2,)],
    "SELECT u.n AS v FROM x CROSS JOIN UNNEST(sequence(1, 2)) AS u(n) WHERE x.t": [(1,), (2,)],
    "SELECT i AS v FROM x AS o WHERE EXISTS (SELECT 1 FROM x AS p WHERE p.i > o.i)": [(1,)],
    "SELECT (SELECT count(*) FROM x AS p WHERE p.i <= o.i) AS v FROM x AS o WHERE o.i = 2": [(2,)],
    "SELECT i AS v FROM x WHERE i >= ALL (SELECT p.i FROM x AS p WHERE p.i IS NOT NULL)": [(2,)],
    "SELECT t AS a, i AS b, count(*) AS c FROM x WHERE t GROUP BY ROLLUP (t, i) ORDER BY 1, 2": [
        (True, 1, 1), (True, None, 1), (None, None, 1)],
    "SELECT grouping(t) AS a, count(*) AS c FROM x GROUP BY GROUPING SETS ((t), ()) ORDER BY 1, 2": [(0, 1), (0, 1), (0, 1), (1, 3)],
    "SELECT DISTINCT t IS NULL AS v FROM x ORDER BY 1": [(False,), (True,)],
    "SELECT i AS \"Total Amount\" FROM x WHERE t": [(1,)],
}  # fmt: skip


@pytest.mark.parametrize("sql", QUERIES)
def test_queries(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    rows = run(con, sql)[1]
    ordered = "ORDER BY" in sql.rpartition(")")[2]
    assert (rows if ordered else sorted(rows, key=repr)) == (
        QUERIES[sql] if ordered else sorted(QUERIES[sql], key=repr)
    )


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT s + 1 AS v FROM x", "TYPE_MISMATCH"),
        ("SELECT i = 'a' AS v FROM x", "TYPE_MISMATCH"),
        ("SELECT i AS v FROM x WHERE i", "TYPE_MISMATCH"),
        ("SELECT sum(s) AS v FROM x", "FUNCTION_NOT_FOUND"),
        ("SELECT d + i AS v FROM x", "TYPE_MISMATCH"),
        ("SELECT nothing AS v FROM x", "COLUMN_NOT_FOUND"),
        ("SELECT z.i AS v FROM x", "COLUMN_NOT_FOUND"),
        ("SELECT i AS v FROM x JOIN x AS y ON x.i = y.i", "AMBIGUOUS_NAME"),
        ("SELECT i AS v FROM x, x", "AMBIGUOUS_NAME"),
        ("SELECT DATE '2020-13-45' AS v", "INVALID_LITERAL"),
        ("SELECT DATE '20200105' AS v", "INVALID_LITERAL"),
        ("SELECT TIMESTAMP '2020-01-05T10:00:00' AS v", "INVALID_LITERAL"),
        ("SELECT 1 AS v UNION SELECT 'a'", "TYPE_MISMATCH"),
        ("SELECT 1, 2 UNION SELECT 1", "TYPE_MISMATCH"),
        ("SELECT i AS v FROM x GROUP BY 5", "INVALID_COLUMN_REFERENCE"),
        ("SELECT rank() AS v FROM x", "MISSING_OVER"),
        ("SELECT substr(s) AS v FROM x", "FUNCTION_NOT_FOUND"),
        ("SELECT 99999999999999999999 AS v", "SYNTAX_ERROR"),
        ("SELECT CAST('10.0.0.1' AS ipaddress) AS v", "NOT_SUPPORTED"),
    ],
)
def test_what_trino_refuses_is_refused_before_it_runs(sql: str, name: str) -> None:
    with pytest.raises(CityError) as refused:
        duck.compile_query(parsed(sql), TABLES)
    assert refused.value.trino.name == name


@given(data=st.data())
@settings(max_examples=150)
def test_decimal_division_is_exact_for_every_pair_of_scales(data: st.DataObject) -> None:
    p1, p2 = data.draw(st.integers(1, 15)), data.draw(st.integers(1, 15))
    s1, s2 = data.draw(st.integers(0, p1)), data.draw(st.integers(0, p2))
    n = Decimal(data.draw(st.integers(-(10**p1) + 1, 10**p1 - 1))).scaleb(-s1)
    d = Decimal(data.draw(st.integers(1, 10**p2 - 1)) * data.draw(st.sampled_from([1, -1]))).scaleb(-s2)
    scale, precision = max(s1, s2), min(38, p1 + s2 + max(0, s2 - s1))
    with localcontext(prec=90, rounding=ROUND_HALF_UP):
        expected = (n / d).quantize(Decimal(1).scaleb(-scale))
    tables = {"x": duck.Table("data", {"n": parse(f"decimal({p1},{s1})"), "d": parse(f"decimal({p2},{s2})")})}
    compiled = duck.compile_query(sqlglot.parse_one("SELECT n / d AS v FROM x", dialect="trino"), tables)
    assert str(compiled.columns[0][1]) == f"decimal({precision}, {scale})"
    con = SHARED
    con.execute(
        f"CREATE OR REPLACE TABLE data AS SELECT CAST('{n:f}' AS DECIMAL({p1},{s1})) AS n, CAST('{d:f}' AS DECIMAL({p2},{s2})) AS d"
    )
    if abs(expected.scaleb(scale)) < 10**38:
        assert con.sql(compiled.sql).fetchall() == [(expected,)]
    else:
        with pytest.raises(duckdb.OutOfRangeException):
            con.sql(compiled.sql).fetchall()


SHARED = duckdb.connect()
duck.prepare(SHARED)


@given(st.floats())
def test_doubles_become_text_as_in_trino(value: float) -> None:
    text = duck.double_text(value)
    if value != value:
        assert text == "NaN"
    elif value in (float("inf"), float("-inf")):
        assert text.endswith("Infinity")
    else:
        mantissa, _, exponent = text.partition("E")
        assert float(f"{mantissa}e{exponent}") == value
        assert len(mantissa.lstrip("-").partition(".")[0]) == 1


def test_random_words_neither_hang_nor_crash_the_front_door() -> None:
    """Texts within the limits parse, or are refused: no exponential time, no recursion error."""
    words = [
        "select",
        "from",
        "where",
        "x",
        "y",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "case",
        "when",
        "then",
        "else",
        "end",
        "join",
        "on",
        "using",
        "array",
        "cast",
        "as",
        "int",
        "not",
        "-",
        "+",
        "||",
        "and",
        "or",
        "in",
        "exists",
        "interval",
        "'1'",
        "day",
        "over",
        "partition",
        "by",
        "order",
        "distinct",
        "union",
        "with",
        "t",
        "->",
        "date",
        "row",
        "is",
        "null",
        "between",
        "like",
        "unnest",
        "values",
    ]
    rng, outcomes = random.Random(7), set()
    for _ in range(300):
        unit = " ".join(rng.choice(words) for _ in range(rng.randint(1, 4)))
        text = (
            "select " + f"{unit} " * rng.choice([10, 40, 99]) + rng.choice(["", ")", "]", "end"]) * rng.randint(0, 20)
        )
        try:
            admit(text)
        except CityError as refused:
            outcomes.add(refused.outcome)
    assert {Outcome.TOO_LARGE, Outcome.SYNTAX} <= outcomes
