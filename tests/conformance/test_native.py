"""The statement around the owner's text: it reads back as the same tree, and nothing in it can break out."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.types import BIGINT, VARCHAR, parse
from connectors import mysql, postgres, snapshot, sqlite
from connectors.base import NativeScan, Op, OutputColumn, Predicate
from connectors.native import (
    Compiled,
    Compiler,
    DuckDBCompiler,
    MariaDBCompiler,
    PostgresCompiler,
    SQLiteCompiler,
    trusted_text,
)

DIALECTS = ["sqlite", "postgres", "mysql", "duckdb"]


class Everything(dict[str, str]):
    """Native types for any column: plain text."""

    def __missing__(self, key: str) -> str:
        return "text"


def compiler(dialect: str, scan: NativeScan) -> Compiler:
    match dialect:
        case "sqlite":
            return SQLiteCompiler(scan, sqlite.CAPABILITIES)
        case "postgres":
            return PostgresCompiler(scan, postgres.CAPABILITIES, lambda _: Everything(), bind=False)
        case "mysql":
            return MariaDBCompiler(scan, mysql.CAPABILITIES, lambda _: Everything())
    return DuckDBCompiler(scan, snapshot.CAPABILITIES)


def compiled(dialect: str, **parts: Any) -> Compiled:
    parts = {"relation": "t", "is_query": False, "types": {"c": VARCHAR}, **parts}
    parts.setdefault("columns", (OutputColumn("c", VARCHAR, "c0"),))
    return compiler(dialect, NativeScan(**parts)).compile()


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(name=names, text=names)
@settings(max_examples=80)
def test_any_name_and_any_text_stay_a_name_and_a_text(dialect: str, name: str, text: str) -> None:
    scan = compiled(
        dialect,
        types={name: VARCHAR},
        columns=(OutputColumn(name, VARCHAR, "c0"),),
        predicates=(Predicate(name, "=", (text,)), Predicate(name, "in", (text, "a"))),
        keys=(((name,), pa.array([text])),),
    )
    statements = sqlglot.parse(scan.sql, read=dialect)
    assert len(statements) == 1
    (statement,) = statements
    assert statement is not None
    assert [c.alias for c in statement.expressions] == ["c0"]
    columns = {c.name for c in statement.find_all(sqlglot.exp.Column) if c.table == "r"}
    assert columns == {name}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_owners_text_stands_unchanged_where_a_table_would(dialect: str) -> None:
    owner = "SELECT c, 'x''y' AS q FROM (SELECT 1 AS c) AS z WHERE c IN (1, 2)"
    scan = compiled(dialect, relation=owner + " -- note", is_query=True, row_filters=("c > 0 /* why */",), limit=3)
    assert owner in scan.sql
    assert "(c > 0" in scan.sql
    assert "note" not in scan.sql


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_literal_that_looks_like_a_placeholder_changes_nothing(dialect: str) -> None:
    owner = "SELECT 'text_0_0' AS c"
    plain = compiled(
        dialect, relation=owner, is_query=True, predicates=(Predicate("c", "=", ('SELECT 1 AS "text_0"',)),)
    )
    assert plain.sql.count(owner) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "-- nothing",
        ";",
        "SELECT 1; SELECT 2",
        "SELECT 1)",
        "SELECT (1",
        "SELECT 1) FROM (SELECT 2",
        "SELECT 'a",
    ],
)
@pytest.mark.parametrize("dialect", [*DIALECTS, "ansimysql"])
def test_a_text_that_could_not_stand_in_parentheses_is_refused(dialect: str, text: str) -> None:
    with pytest.raises(ValueError, match="owner's text"):
        trusted_text(text, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("type_", "op", "value"),
    [("real", "=", 1.5), ("time", "=", "10:00"), ("uuid", "=", "x"), ("json", "=", "{}"), ("varbinary", "<", b"x")],
)
def test_what_no_source_compares_as_trino_is_refused(dialect: str, type_: str, op: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="not pushed"):
        compiled(dialect, types={"c": parse(type_)}, predicates=(Predicate("c", op, (value,)),))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_scan_is_plain_or_grouped_and_its_limit_is_a_count(dialect: str) -> None:
    with pytest.raises(ValueError, match="columns or groups"):
        compiled(dialect, columns=())
    with pytest.raises(ValueError, match="limit"):
        compiled(dialect, limit=-1)


@pytest.mark.parametrize(
    ("dialect", "bound"), [("sqlite", True), ("duckdb", True), ("postgres", False), ("mysql", False)]
)
def test_literals_are_bound_where_the_driver_binds(dialect: str, bound: bool) -> None:
    predicates = (
        Predicate("c", "=", ("needle",)),
        Predicate("d", ">", (date(2024, 2, 29),)),
        Predicate("n", "<", (-77,)),
    )
    types = {"c": VARCHAR, "d": parse("date"), "n": BIGINT}
    scan = compiled(dialect, types=types, predicates=predicates)
    assert bool(scan.params) == bound
    for text in ("needle", "2024-02-29", "77"):
        assert (text in scan.sql) == (not bound and not (dialect == "mysql" and text == "needle"))


def test_a_literal_of_38_digits_behind_the_point_stays_a_decimal() -> None:
    kind = parse("decimal(38,38)")
    none, below, amount = (Decimal(f"0.{units:038}") for units in (0, 10**36, 10**36 + 1))
    connection = duckdb.connect()
    connection.execute("CREATE TABLE orders (a DECIMAL(38, 38))")
    connection.execute(f"INSERT INTO orders VALUES ('{amount:f}')")
    columns = (OutputColumn("a", kind, "a"),)
    ops: dict[Op, tuple[Decimal, ...]] = {"=": (below,), "<=": (below,), "in": (none, below)}
    for op, values in ops.items():
        scan = NativeScan("orders", False, {"a": kind}, columns, predicates=(Predicate("a", op, values),))
        asked = compiler("duckdb", scan).compile()
        assert connection.execute(asked.sql, asked.params).fetchall() == [], op
