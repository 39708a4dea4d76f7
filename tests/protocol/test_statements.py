"""Which statement is what: classification, binding of parameters, refusals by name."""

from __future__ import annotations

import datetime
import unicodedata
from decimal import Decimal

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from catalog.errors import CityError
from gateway.execution import Session
from gateway.statements import DescribeInput, DescribeOutput, Effect, Explain, Kill, Query, classify, syntax_error

LIN = Session("lin", catalog="water", schema="main", transaction="NONE")


def refused(sql: str, session: Session = LIN) -> CityError:
    with pytest.raises(CityError) as found:
        classify(sql, session)
    return found.value


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        " \n-- why\nselect 1",
        '/* {"app": "dbt"} */ WITH a AS (SELECT 1) SELECT * FROM a',
        "VALUES 1, 2",
        "(SELECT 1)",
    ],
)
def test_a_query_goes_down_the_pipeline_as_it_was_written(sql: str) -> None:
    assert classify(sql, LIN) == Query(sql)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("INSERT INTO t VALUES 1", "INSERT INTO"),
        ("create table t (a int)", "CREATE TABLE"),
        ("DROP TABLE t", "DROP TABLE"),
        ("DELETE FROM t", "DELETE FROM"),
        ("MERGE INTO t USING u ON a", "MERGE INTO"),
        ("GRANT SELECT ON t TO x", "GRANT SELECT"),
        ("CALL system.foo()", "CALL system.foo"),
        ("EXPLAIN INSERT INTO t VALUES 1", "INSERT INTO"),
        ("EXECUTE IMMEDIATE 'DROP TABLE t'", "DROP TABLE"),
        ("PREPARE p FROM DELETE FROM t", "DELETE FROM"),
        ("SHOW CREATE VIEW v", "SHOW CREATE VIEW"),
    ],
)
def test_a_statement_that_writes_is_refused_by_name(sql: str, name: str) -> None:
    error = refused(sql)
    assert error.trino.name == "NOT_SUPPORTED"
    assert name in error.message


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELCT 1", "line 1:1: mismatched input 'SELCT'. Did you mean SELECT?"),
        ("SHOW TABELS", "line 1:6: mismatched input 'TABELS'. Did you mean TABLES?"),
        ("SELECT 1;", "line 1:9: mismatched input ';'."),
        ("SELECT 1;\nSELECT 2", "line 1:9: mismatched input ';'."),
        ("SELECT\n 'abc", "line 2:2: mismatched input '''. Expecting: a closing quote."),
        ("EXPLAIN", "line 1:8: mismatched input <EOF>."),
        ("USE a.b.c.d", "line 1:5: mismatched input 'a'. Expecting: a name of at most three parts."),
        ("BEGIN", "line 1:1: mismatched input 'BEGIN'."),
    ],
)
def test_a_syntax_error_says_where_and_what_was_meant(sql: str, text: str) -> None:
    error = refused(sql)
    assert error.trino.name == "SYNTAX_ERROR"
    assert str(error).startswith(text)


@pytest.mark.parametrize(
    ("sql", "line", "column", "hint"),
    [
        ("SELECT a FORM t", 1, 10, "Did you mean FROM?"),
        ("SELECT a\nFROM t WHRE a > 1 AND", 2, 8, "Did you mean WHERE?"),
        ("SELECT a, FROM t WHERE (", 1, 24, ""),
    ],
)
def test_a_parse_error_points_at_the_mistyped_clause(sql: str, line: int, column: int, hint: str) -> None:
    with pytest.raises(sqlglot.ParseError) as bad:
        sqlglot.parse_one(sql, dialect="trino")
    error = syntax_error(sql, bad.value)
    assert error.location is not None
    assert (error.location.line, error.location.column) == (line, column)
    assert hint in str(error)


# -- session -------------------------------------------------------------------------------------------


def effects(sql: str, session: Session = LIN) -> Effect:
    found = classify(sql, session)
    assert isinstance(found, Effect)
    return found


def test_use_needs_the_schema_to_be_visible_and_sets_both_names() -> None:
    found = effects('USE "Tax".main')
    assert (found.effects.set_catalog, found.effects.set_schema) == ("tax", "main")
    assert found.requires == (("tax", "main"),)
    assert refused("USE main", Session("lin")).trino.name == "MISSING_CATALOG_NAME"


def test_set_session_knows_its_properties_and_proposes_the_nearest() -> None:
    assert effects("SET SESSION allow_partial = true").effects.set_session == (("allow_partial", "true"),)
    error = refused("SET SESSION allow_partail = true")
    assert error.trino.name == "INVALID_SESSION_PROPERTY"
    assert error.hint == "Did you mean allow_partial?"
    assert refused("SET SESSION query_max_run_time = 'soon'").trino.name == "INVALID_SESSION_PROPERTY"


def test_an_unknown_property_in_the_session_is_an_error_when_a_query_runs() -> None:
    error = refused("SELECT 1", Session("lin", properties={"hive.nope": "1"}))
    assert error.trino.name == "INVALID_SESSION_PROPERTY"


@pytest.mark.parametrize(
    ("sql", "zone"),
    [
        ("SET TIME ZONE 'Asia/Tokyo'", "Asia/Tokyo"),
        ("SET TIME ZONE '+08:00'", "+08:00"),
        ("SET TIME ZONE INTERVAL '-5' HOUR", "-05:00"),
        ("SET TIME ZONE INTERVAL '05:30' HOUR TO MINUTE", "+05:30"),
    ],
)
def test_set_time_zone_is_a_session_property(sql: str, zone: str) -> None:
    assert effects(sql).effects.set_session == (("time_zone_id", zone),)


def test_transactions_are_accepted_only_from_clients_that_know_them() -> None:
    started = effects("START TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ WRITE")
    assert started.effects.started_transaction
    assert refused("START TRANSACTION", Session("lin")).trino.name == "INCOMPATIBLE_CLIENT"
    assert refused("COMMIT").trino.name == "NOT_IN_TRANSACTION"
    assert effects("COMMIT", Session("lin", transaction="abc")).effects.clear_transaction


def test_nobody_acts_as_somebody_else() -> None:
    assert refused("SET SESSION AUTHORIZATION ana").trino.name == "PERMISSION_DENIED"


def test_kill_query_takes_named_and_plain_arguments() -> None:
    named = classify("CALL system.runtime.kill_query(query_id => 'q1', message => 'slow')", LIN)
    assert named == classify("CALL system.runtime.kill_query('q1', 'slow')", LIN) == Kill("q1", "slow")


# -- prepared statements -------------------------------------------------------------------------------


def prepared(sql: str) -> Session:
    return Session("lin", catalog="water", schema="main", prepared={"p": sql})


def test_parameters_are_bound_in_the_order_in_which_they_are_written() -> None:
    session = prepared("SELECT a FROM t WHERE x = ? -- no ? here\n AND y LIKE '?' AND z IN (?, ?) OFFSET ? LIMIT ?")
    found = classify("EXECUTE p USING 1, 'it''s', -2.50, 4, 5", session)
    assert isinstance(found, Query)
    assert not found.verbatim
    expected = "SELECT a FROM t WHERE x = 1 AND y LIKE '?' AND z IN ('it''s', -2.50) OFFSET 4 LIMIT 5"
    assert sqlglot.parse_one(found.sql, dialect="trino") == sqlglot.parse_one(expected, dialect="trino")


def test_typed_literals_keep_the_precision_with_which_they_are_written() -> None:
    found = classify("EXECUTE p USING DECIMAL '1.10', TIMESTAMP '2024-01-02 03:04:05.123456'", prepared("SELECT ?, ?"))
    assert isinstance(found, Query)
    assert found.sql == "SELECT CAST('1.10' AS DECIMAL(3, 2)), CAST('2024-01-02 03:04:05.123456' AS TIMESTAMP(6))"


@pytest.mark.parametrize(
    "argument",
    ["(SELECT secret FROM t)", "a", "1 FROM t", "now()", "1 + 1", "'x' || 'y'", "CAST((SELECT 1) AS varchar)", "?"],
)
def test_only_literals_can_be_parameters(argument: str) -> None:
    assert refused(f"EXECUTE p USING {argument}", prepared("SELECT ?")).trino.kind == "USER_ERROR"


# What a statement may hold at all: no control characters, Unicode's form NFC.
printable = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
texts = st.text(printable, max_size=20).map(lambda text: unicodedata.normalize("NFC", text))
others = ["NULL", "true", "X'0aff'", "ARRAY[1, 2]", "CAST(NULL AS VARCHAR)", "DOUBLE '2.5'", "DATE '2024-02-29'"]
literals = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    texts.map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.sampled_from(others),
)


@given(st.lists(literals, min_size=1, max_size=5))
def test_a_bound_statement_reads_back_as_the_same_literals(values: list[str]) -> None:
    """Whatever a text contains, it stays one literal: no quote, comment or `?` in it changes the query."""
    places = ", ".join("?" for _ in values)
    found = classify(f"EXECUTE p USING {', '.join(values)}", prepared(f"SELECT {places} FROM t"))
    assert isinstance(found, Query)
    tree = sqlglot.parse_one(found.sql, dialect="trino")
    assert len(tree.expressions) == len(values)
    for node, value in zip(tree.expressions, values, strict=True):
        if value.startswith("'"):
            assert isinstance(node, exp.Literal)
            assert node.this == value[1:-1].replace("''", "'")


def test_a_statement_that_would_change_on_the_way_is_refused_rather_than_changed() -> None:
    """sqlglot drops the precision of current_timestamp(3): bound text must read back as the same tree."""
    assert refused("EXECUTE p USING 1", prepared("SELECT current_timestamp(3), ?")).trino.name == "NOT_SUPPORTED"
    assert isinstance(classify("EXECUTE p", prepared("SELECT current_timestamp(3)")), Query)


def test_the_number_of_parameters_must_fit() -> None:
    assert refused("EXECUTE p USING 1", prepared("SELECT ?, ?")).trino.name == "INVALID_PARAMETER_USAGE"
    assert refused("EXECUTE p", prepared("SELECT ?")).trino.name == "INVALID_PARAMETER_USAGE"
    assert refused("EXECUTE nope", prepared("SELECT ?")).trino.name == "NOT_FOUND"


def test_prepare_keeps_the_text_and_describe_reads_it() -> None:
    text = "SELECT NationKey FROM t WHERE a = ?"
    assert effects(f"PREPARE p FROM {text}").effects.added_prepare == (("p", text),)
    described = classify("DESCRIBE INPUT p", prepared(text))
    assert isinstance(described, DescribeInput)
    assert (described.count, described.known) == (1, {})
    assert classify("DESCRIBE OUTPUT p", prepared(text)) == DescribeOutput("SELECT NationKey FROM t WHERE a = NULL")
    assert effects("DEALLOCATE PREPARE p", prepared(text)).effects.deallocated_prepare == ("p",)


def test_statements_do_not_nest_without_end() -> None:
    assert refused("EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE ''SELECT 1'''").trino.name == "NOT_SUPPORTED"
    assert refused("EXPLAIN EXPLAIN SELECT 1").trino.name == "NOT_SUPPORTED"


# -- describing ----------------------------------------------------------------------------------------


def test_explain_keeps_places_in_the_text() -> None:
    found = classify("EXPLAIN (TYPE IO, FORMAT JSON)\n SELECT 1", LIN)
    assert isinstance(found, Explain)
    assert (found.kind, found.json, found.verbatim) == ("io", True, True)
    assert found.sql.index("SELECT") == len("EXPLAIN (TYPE IO, FORMAT JSON)\n ")


@pytest.mark.parametrize(
    ("sql", "requires"),
    [
        ("SHOW SCHEMAS FROM tax", (("tax",),)),
        ("SHOW TABLES", (("water", "main"),)),
        ("SHOW TABLES FROM tax.main LIKE 'f%'", (("tax", "main"),)),
        ("DESCRIBE firm", (("water", "main", "firm"),)),
        ("SHOW COLUMNS FROM \"tax\".\"main\".\"Firm\"", (("tax", "main", "firm"),)),
        ("SHOW STATS FOR main.firm", (("water", "main", "firm"),)),
    ],
)  # fmt: skip
def test_show_says_which_name_must_be_visible(sql: str, requires: tuple[tuple[str, ...], ...]) -> None:
    found = classify(sql, LIN)
    assert isinstance(found, Query)
    assert found.requires == requires


@given(st.text(max_size=60))
def test_any_text_is_classified_or_refused_as_a_city_error(text: str) -> None:
    """Fail closed: nothing that anybody types ends in another kind of exception."""
    for prefix in ("", "SHOW TABLES LIKE ", "EXECUTE IMMEDIATE ", "SET SESSION ", "EXPLAIN ", "PREPARE p FROM "):
        try:
            classify(prefix + text, LIN)
        except CityError:
            continue


def test_values_of_every_python_type_that_the_client_sends_are_understood() -> None:
    """The literals that trino's own Python client writes for these values."""
    from trino.dbapi import Cursor

    values = [1, "it's", 2.5, Decimal("1.10"), True, None, b"\x00\xff", datetime.date(2024, 2, 29), [1, 2]]
    cursor = Cursor.__new__(Cursor)
    texts = [cursor._format_prepared_param(v) for v in values]
    places = ", ".join("?" for _ in texts)
    found = classify(f"EXECUTE p USING {', '.join(texts)}", prepared(f"SELECT {places}"))
    assert isinstance(found, Query)
