"""A private in-memory DuckDB: what is created in it before the lock, and how its errors are told."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import pyarrow as pa

from catalog.duck.macros import MACROS
from catalog.errors import CityError, DepartmentError, InternalError, Outcome, TrinoError, UserError

__all__ = ["double_text", "lock", "macros", "prepare", "translate_error"]


def macros() -> list[str]:
    """The CREATE MACRO statements that `prepare` runs."""
    return [f"CREATE OR REPLACE MACRO {m}" for m in MACROS]


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Create the macros and functions that compiled text uses. Call once, before `lock`."""
    con.execute("SET TimeZone = 'UTC'")
    for statement in macros():
        con.execute(statement)
    con.create_function("tr_double_text", _double_texts, ["DOUBLE"], "VARCHAR", type="arrow")


def lock(con: duckdb.DuckDBPyConnection) -> None:
    """No files, extensions or Python variables, and no way back. Register Arrow streams before this.

    Views over registered Arrow objects keep working; new ones can no longer be registered by SQL, only
    by `con.register`.
    """
    con.execute("SET autoinstall_known_extensions = false")
    con.execute("SET autoload_known_extensions = false")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def double_text(value: float) -> str:
    """A double as Trino writes it: 1.0E1, -2.5E-3, NaN, Infinity."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if value == 0:
        return f"{sign}0.0E0"
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The power of the first digit that is not zero.
    power = len(whole) - 1 if whole.strip("0") else -(len(fraction) - len(fraction.lstrip("0")) + 1)
    digits = digits.rstrip("0") or "0"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power + int(exponent or 0)}"


def _double_texts(column: Any) -> pa.Array:
    return pa.array([None if v is None else double_text(v) for v in column.to_pylist()], pa.string())


def translate_error(error: BaseException) -> CityError:
    """A DuckDB exception as an analyst may see it: one constant text per kind, never DuckDB's own.

    DuckDB's texts hold values, so they go to the operator's log only.
    """
    text = str(error)
    if isinstance(error, CityError):
        return error
    if isinstance(error, duckdb.OutOfMemoryException):
        return DepartmentError(
            "The query needs more memory than it may use.", Outcome.LIMIT,
            trino=TrinoError.EXCEEDED_LOCAL_MEMORY_LIMIT, rule="memory",
        )  # fmt: skip
    if "ivision by zero" in text:
        return _user("Division by zero.", TrinoError.DIVISION_BY_ZERO)
    if "atoll: invalid cast" in text or isinstance(error, duckdb.ConversionException):
        return _user("A value cannot be cast to the wanted type.", TrinoError.INVALID_CAST_ARGUMENT)
    if isinstance(error, duckdb.OutOfRangeException):
        return _user("A number is out of range.", TrinoError.NUMERIC_VALUE_OUT_OF_RANGE)
    if "More than one row returned by a subquery" in text:
        return _user("A scalar subquery returned more than one row.", TrinoError.SUBQUERY_MULTIPLE_ROWS)
    if isinstance(error, duckdb.InvalidInputException):
        return _user("A function got an argument that it cannot take.", TrinoError.INVALID_FUNCTION_ARGUMENT)
    if isinstance(error, duckdb.BinderException):
        return UserError("The query does not fit its columns.", trino=TrinoError.GENERIC_USER_ERROR, rule="binding")
    return InternalError("The query could not be executed.")


def _user(message: str, trino: TrinoError) -> UserError:
    return UserError(message, Outcome.EXECUTION, trino=trino, rule="execution")
