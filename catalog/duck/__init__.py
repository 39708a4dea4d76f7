"""Trino's meaning in DuckDB: used by the agent's residual engine and by the gateway's merge alike.

    prepare(con)                  macros and settings, before the lock
    Library(con)                  the same, each macro when a text first needs it
    lock(con)                     no files, no extensions, no settings any more
    compile_query                 a Trino tree -> DuckDB text and the Trino types of its outputs
    to_duckdb(tree, tables)       the text alone
    FUNCTIONS                     the closed list of functions: Trino name -> kind
    NODES                         the closed list of sqlglot node classes
    scan(text)                    tokens within limits; call it before any parser
    check_functions(tokens)       functions by Trino's own names
    as_shown_in(moment, zone)     in a session's time zone, for the `now` of compile_query
    session_of(now)               its time zone, while a statement is read
    translate_error(exc)          a DuckDB exception -> a CityError with a constant text

Example:

    tables = {"f0": Table("f0", {"c0": VARCHAR, "c1": BIGINT})}
    compiled = compile_query(sqlglot.parse_one(sql, dialect="trino"), tables)
    con.sql(compiled.sql)          # compiled.columns: [("org_no", varchar), ("_col1", bigint)]
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlglot import exp

from catalog.duck.compiler import NODES, Compiled, Table, compile_query, not_carried, refuse, settle_literals
from catalog.duck.engine import Library, double_text, lock, macros, prepare, translate_error
from catalog.duck.functions import FUNCTIONS, is_aggregate, unknown_function
from catalog.duck.moments import as_shown_in, session_of, zone_of
from catalog.duck.scanner import check_functions, scan

__all__ = [
    "FUNCTIONS",
    "NODES",
    "Compiled",
    "Library",
    "Table",
    "as_shown_in",
    "check_functions",
    "compile_query",
    "double_text",
    "is_aggregate",
    "lock",
    "macros",
    "not_carried",
    "prepare",
    "refuse",
    "scan",
    "session_of",
    "settle_literals",
    "to_duckdb",
    "translate_error",
    "unknown_function",
    "zone_of",
]


def to_duckdb(tree: exp.Expr, tables: Mapping[str, Table], now: datetime | None = None) -> str:
    """DuckDB text of a Trino query; see `compile_query` for the arguments and errors."""
    return compile_query(tree, tables, now).sql
