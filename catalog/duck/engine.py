"""A private in-memory DuckDB: what is created in it before the lock, and how its errors are told."""

from __future__ import annotations

import re
import threading

import duckdb

from catalog.duck.macros import MACROS
from catalog.duck.scalars import SCALARS, double_text
from catalog.errors import CityError, DepartmentError, InternalError, Outcome, TrinoError, UserError

__all__ = ["Library", "double_text", "lock", "macros", "prepare", "translate_error"]


def macros() -> list[str]:
    """The CREATE MACRO statements that `prepare` runs."""
    return [f"CREATE OR REPLACE MACRO {m}" for m in MACROS]


_NAME = re.compile(r"\btr_\w+")
_MACROS = {m.partition("(")[0]: m for m in MACROS}


class Library:
    """The macros and functions of one instance, each made when a text first needs it: to make all takes 50 ms.

    con: a connection to it that is in the middle of no answer whenever `need` is called. Thread-safe.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        con.execute("SET GLOBAL TimeZone = 'UTC'")  # of all connections to it, also those that are made later
        self._con = con
        self._lock = threading.Lock()
        self._made: set[str] = set()

    def need(self, text: str) -> None:
        """Make what compiled text calls, before `lock` or after it."""
        with self._lock:
            self._make(text)

    def _make(self, text: str) -> None:
        for name in _NAME.findall(text):
            if name in self._made:
                continue
            if name in _MACROS:
                self._make(_MACROS[name].removeprefix(name))
                self._con.execute(f"CREATE OR REPLACE MACRO {_MACROS[name]}")
            elif name in SCALARS:
                one = SCALARS[name]
                self._con.create_function(
                    name, one.called, list(one.takes), one.gives, type="arrow", null_handling="special"
                )
            self._made.add(name)


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Create all macros and functions that compiled text uses. Call once, before `lock`."""
    Library(con).need(" ".join((*_MACROS, *SCALARS)))


def lock(con: duckdb.DuckDBPyConnection) -> None:
    """No files, extensions or Python variables, and no way back. Register Arrow streams before this.

    Views over registered Arrow objects keep working; new ones can no longer be registered by SQL, only
    by `con.register`.
    """
    con.execute("SET autoinstall_known_extensions = false")
    con.execute("SET autoload_known_extensions = false")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


_TOO_WIDE = re.compile(
    r"Type (?:INT\w*|HUGEINT) with value \S+ can't be cast because the value is out of range"
    r"|Type (?:DOUBLE|FLOAT) with value (?!-?nan)\S+ can't be cast because the value is out of range for the"
    r" destination type INT(?:8|16|32)\b"
)
"""Integers that do not fit a smaller type, doubles that do not fit an integer: Trino's errors differ by the type."""
_KINDS: dict[str, type[duckdb.Error]] = {
    "Out of Range Error: ": duckdb.OutOfRangeException, "Conversion Error: ": duckdb.ConversionException,
    "Invalid Input Error: ": duckdb.InvalidInputException, "Out of Memory Error: ": duckdb.OutOfMemoryException,
}  # fmt: skip
"""How a text begins, and of which class it is: a reader of batches knows DuckDB's errors by their texts alone."""
_BINDING = {
    "must appear in the GROUP BY clause": TrinoError.EXPRESSION_NOT_AGGREGATE,
    "clause cannot contain aggregates": TrinoError.EXPRESSION_NOT_SCALAR,
    "clause cannot contain window functions": TrinoError.EXPRESSION_NOT_SCALAR,
    "aggregate function calls cannot be nested": TrinoError.NESTED_AGGREGATION,
}
_NAMED = re.compile("atoll: error ([A-Z_]+)")
_WORDS = {
    "INVALID_CAST_ARGUMENT": "A value cannot be cast to the wanted type.",
    "NUMERIC_VALUE_OUT_OF_RANGE": "A number is out of range.",
    "DIVISION_BY_ZERO": "Division by zero.",
    "EXCEEDED_TIME_LIMIT": "A function takes too long over these values.",
    "EXCEEDED_LOCAL_MEMORY_LIMIT": "The values of a function need too much memory.",
}


def translate_error(error: BaseException) -> CityError:
    """An exception of DuckDB, or of a reader of its batches, as an analyst may see it: one constant text per kind.

    DuckDB's texts hold values, so they go to the operator's log only.
    """
    text = str(error)
    if isinstance(error, CityError):
        return error
    kind = next((known for words, known in _KINDS.items() if text.startswith(words)), type(error))
    if issubclass(kind, duckdb.OutOfMemoryException):
        return DepartmentError(
            "The query needs more memory than it may use.", Outcome.LIMIT,
            trino=TrinoError.EXCEEDED_LOCAL_MEMORY_LIMIT, rule="memory",
        )  # fmt: skip
    named = _NAMED.search(text)
    if named and named[1] in TrinoError.__members__:
        return _user(_WORDS.get(named[1], "A function got an argument that it cannot take."), TrinoError[named[1]])
    if "ivision by zero" in text:
        return _user("Division by zero.", TrinoError.DIVISION_BY_ZERO)
    if _TOO_WIDE.search(text):
        return _user("A number is out of range.", TrinoError.NUMERIC_VALUE_OUT_OF_RANGE)
    if issubclass(kind, duckdb.ConversionException):
        return _user("A value cannot be cast to the wanted type.", TrinoError.INVALID_CAST_ARGUMENT)
    if issubclass(kind, duckdb.OutOfRangeException):
        return _user("A number is out of range.", TrinoError.NUMERIC_VALUE_OUT_OF_RANGE)
    if "More than one row returned by a subquery" in text:
        return _user("A scalar subquery returned more than one row.", TrinoError.SUBQUERY_MULTIPLE_ROWS)
    if issubclass(kind, duckdb.InvalidInputException):
        return _user("A function got an argument that it cannot take.", TrinoError.INVALID_FUNCTION_ARGUMENT)
    if "escape character" in text:
        return _user("A LIKE pattern ends with its escape character.", TrinoError.INVALID_FUNCTION_ARGUMENT)
    if issubclass(kind, duckdb.BinderException):
        for words, trino in _BINDING.items():
            if words in text:
                return UserError("The query does not group its columns.", trino=trino, rule="binding")
        return UserError("The query does not fit its columns.", trino=TrinoError.GENERIC_USER_ERROR, rule="binding")
    return InternalError("The query could not be executed.")


def _user(message: str, trino: TrinoError) -> UserError:
    return UserError(message, Outcome.EXECUTION, trino=trino, rule="execution")
