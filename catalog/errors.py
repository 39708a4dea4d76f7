"""Every way a statement can end without an answer, each with the Trino error that clients know.

    CityError
    ├── UserError          the statement is at fault: syntax, names, functions, sizes
    ├── AccessDenied       the statement is understood and refused: purpose, mode, disclosure, login
    ├── DepartmentError    a department is down, closed, busy or over a limit
    └── InternalError      a fault of atoll itself; the text says nothing of the data

An error is an answer to a person. It says what was refused (`message`), by whom (`who`: "gateway" or
a department), by which rule (`rule`), what to do instead (`hint`) and whom to ask (`contact`). A source's
own error text never becomes part of one: it goes to the owner's log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Self

__all__ = [
    "AccessDenied",
    "CityError",
    "DepartmentError",
    "InternalError",
    "Location",
    "Outcome",
    "TrinoError",
    "UserError",
]

MAX_CONTACT = 200
"""Characters of a contact that another side named."""


class TrinoError(Enum):
    """Trino's standard error codes that atoll can raise: (number, error type)."""

    GENERIC_USER_ERROR = (0, "USER_ERROR")
    SYNTAX_ERROR = (1, "USER_ERROR")
    ABANDONED_QUERY = (2, "USER_ERROR")
    USER_CANCELED = (3, "USER_ERROR")
    PERMISSION_DENIED = (4, "USER_ERROR")
    NOT_FOUND = (5, "USER_ERROR")
    FUNCTION_NOT_FOUND = (6, "USER_ERROR")
    INVALID_FUNCTION_ARGUMENT = (7, "USER_ERROR")
    DIVISION_BY_ZERO = (8, "USER_ERROR")
    INVALID_CAST_ARGUMENT = (9, "USER_ERROR")
    OPERATOR_NOT_FOUND = (10, "USER_ERROR")
    NOT_SUPPORTED = (13, "USER_ERROR")
    INVALID_SESSION_PROPERTY = (14, "USER_ERROR")
    INVALID_WINDOW_FRAME = (15, "USER_ERROR")
    NUMERIC_VALUE_OUT_OF_RANGE = (19, "USER_ERROR")
    UNKNOWN_TRANSACTION = (20, "USER_ERROR")
    NOT_IN_TRANSACTION = (21, "USER_ERROR")
    TRANSACTION_ALREADY_ABORTED = (22, "USER_ERROR")
    READ_ONLY_VIOLATION = (23, "USER_ERROR")
    INCOMPATIBLE_CLIENT = (27, "USER_ERROR")
    SUBQUERY_MULTIPLE_ROWS = (28, "USER_ERROR")
    AMBIGUOUS_FUNCTION_CALL = (32, "USER_ERROR")
    QUERY_TEXT_TOO_LARGE = (35, "USER_ERROR")
    ADMINISTRATIVELY_KILLED = (38, "USER_ERROR")
    TYPE_NOT_FOUND = (43, "USER_ERROR")
    CATALOG_NOT_FOUND = (44, "USER_ERROR")
    SCHEMA_NOT_FOUND = (45, "USER_ERROR")
    TABLE_NOT_FOUND = (46, "USER_ERROR")
    COLUMN_NOT_FOUND = (47, "USER_ERROR")
    MISSING_CATALOG_NAME = (56, "USER_ERROR")
    MISSING_SCHEMA_NAME = (57, "USER_ERROR")
    TYPE_MISMATCH = (58, "USER_ERROR")
    INVALID_LITERAL = (59, "USER_ERROR")
    MISMATCHED_COLUMN_ALIASES = (61, "USER_ERROR")
    AMBIGUOUS_NAME = (62, "USER_ERROR")
    INVALID_COLUMN_REFERENCE = (63, "USER_ERROR")
    MISSING_ORDER_BY = (65, "USER_ERROR")
    MISSING_OVER = (66, "USER_ERROR")
    NESTED_AGGREGATION = (67, "USER_ERROR")
    EXPRESSION_NOT_IN_DISTINCT = (69, "USER_ERROR")
    EXPRESSION_NOT_AGGREGATE = (73, "USER_ERROR")
    EXPRESSION_NOT_SCALAR = (74, "USER_ERROR")
    EXPRESSION_NOT_CONSTANT = (75, "USER_ERROR")
    INVALID_ARGUMENTS = (76, "USER_ERROR")
    INVALID_PARAMETER_USAGE = (80, "USER_ERROR")
    CATALOG_UNAVAILABLE = (125, "EXTERNAL")
    GENERIC_INTERNAL_ERROR = (65536, "INTERNAL_ERROR")
    GENERIC_INSUFFICIENT_RESOURCES = (131072, "INSUFFICIENT_RESOURCES")
    QUERY_QUEUE_FULL = (131074, "INSUFFICIENT_RESOURCES")
    EXCEEDED_TIME_LIMIT = (131075, "INSUFFICIENT_RESOURCES")
    EXCEEDED_LOCAL_MEMORY_LIMIT = (131079, "INSUFFICIENT_RESOURCES")
    EXCEEDED_SCAN_LIMIT = (131081, "INSUFFICIENT_RESOURCES")

    @property
    def code(self) -> int:
        return self.value[0]

    @property
    def kind(self) -> str:
        """Trino's errorType."""
        return self.value[1]


class Outcome(Enum):
    """How a fragment or statement ended, as ledgers and receipts name it, with its Trino error."""

    OK = None
    SYNTAX = TrinoError.SYNTAX_ERROR
    STATEMENT = ("STATEMENT", TrinoError.NOT_SUPPORTED)
    NODE = ("NODE", TrinoError.NOT_SUPPORTED)
    FUNCTION = TrinoError.FUNCTION_NOT_FOUND
    TOO_LARGE = TrinoError.QUERY_TEXT_TOO_LARGE
    NOT_AVAILABLE = TrinoError.TABLE_NOT_FOUND
    PURPOSE = ("PURPOSE", TrinoError.PERMISSION_DENIED)
    MODE = ("MODE", TrinoError.PERMISSION_DENIED)
    DISCLOSURE = ("DISCLOSURE", TrinoError.PERMISSION_DENIED)
    GRANT_ENDED = ("GRANT_ENDED", TrinoError.PERMISSION_DENIED)
    AUTH = ("AUTH", TrinoError.PERMISSION_DENIED)
    BUDGET = TrinoError.GENERIC_INSUFFICIENT_RESOURCES
    LIMIT = TrinoError.EXCEEDED_SCAN_LIMIT
    BUSY = TrinoError.QUERY_QUEUE_FULL
    CLOSED = ("CLOSED", TrinoError.CATALOG_UNAVAILABLE)
    DOWN = ("DOWN", TrinoError.CATALOG_UNAVAILABLE)
    EXECUTION = TrinoError.GENERIC_INTERNAL_ERROR
    CANCELED = TrinoError.USER_CANCELED
    SEMANTIC = ("SEMANTIC", TrinoError.GENERIC_USER_ERROR)

    @property
    def trino(self) -> TrinoError:
        """The usual Trino error of this outcome; an individual error may carry a closer one."""
        if self.value is None:
            raise ValueError("OK is no error")
        found: TrinoError = self.value[1] if isinstance(self.value, tuple) else self.value
        return found


_INSTEAD: dict[Outcome, str] = {
    Outcome.SYNTAX: "Send one statement of Trino's SQL.",
    Outcome.STATEMENT: "Queries are answered: SELECT, WITH, VALUES.",
    Outcome.NODE: "Write it without that part.",
    Outcome.FUNCTION: "SHOW FUNCTIONS lists what is answered.",
    Outcome.TOO_LARGE: "Ask in smaller parts.",
    Outcome.NOT_AVAILABLE: "SHOW TABLES names what you may ask; `atoll request --list`, what you may ask for.",
    Outcome.PURPOSE: "Ask for one of your own purposes, with --purpose.",
    Outcome.MODE: "EXPLAIN of a statement that is answered shows the mode; DESCRIBE shows what each column allows.",
    Outcome.DISCLOSURE: "Ask for coarser cells.",
    Outcome.GRANT_ENDED: "Ask for the grant to be renewed.",
    Outcome.AUTH: "Log in again.",
    Outcome.BUDGET: "Ask again when the budget renews.",
    Outcome.LIMIT: "Ask for less at once.",
    Outcome.BUSY: "Ask again in a moment.",
    Outcome.CLOSED: "Ask again later.",
    Outcome.DOWN: "Ask again when it is back.",
    Outcome.SEMANTIC: "DESCRIBE shows names and types of a table that you may ask.",
}
"""What would be answered instead, where an error has no closer word. A cancel is its user's own wish."""


def _instead(outcome: Outcome, trino: TrinoError) -> str:
    if outcome is Outcome.EXECUTION:
        by_value = trino.kind == "USER_ERROR"
        return "try(..) gives NULL instead." if by_value else "Ask again; if it stays so, say so to whom it names."
    return _INSTEAD.get(outcome, "")


@dataclass(frozen=True)
class Location:
    """Where in the user's own text, both from 1."""

    line: int
    column: int


class CityError(Exception):
    """Base of every error that a person or client sees.

    message: what was refused or went wrong, one sentence, no values of any row.
    outcome: one of `Outcome`.  trino: closer Trino error than the outcome's usual one.
    who: "gateway" or the department's name.  rule: the rule that refused, e.g. "no grant".
    hint: what would be answered instead, by default the outcome's own words.  location: in the user's text.
    contact: whom to ask about it, "" until the door that gives the refusal fills it in (`with_contact`).
    about: department that the user's text names, where `who` is another; its contact is the one to ask.
    """

    default_outcome: ClassVar[Outcome] = Outcome.EXECUTION

    def __init__(
        self,
        message: str,
        outcome: Outcome | None = None,
        *,
        trino: TrinoError | None = None,
        who: str = "gateway",
        rule: str = "",
        hint: str = "",
        location: Location | None = None,
        retry_after: float | None = None,
        contact: str = "",
        about: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.outcome = outcome or self.default_outcome
        self.trino = trino or self.outcome.trino
        self.who = who
        self.rule = rule
        self.hint = hint or _instead(self.outcome, self.trino)
        self.location = location
        self.retry_after = retry_after
        self.contact = contact
        self.about = about

    def __str__(self) -> str:
        at = f"line {self.location.line}:{self.location.column}: " if self.location else ""
        ask = f"Contact: {self.contact}" if self.contact and self.outcome is not Outcome.CANCELED else ""
        return at + " ".join(part for part in (self.message, self.hint, ask) if part)

    def to_dict(self) -> dict[str, Any]:
        """The form that crosses the trust line and that REST and --json show."""
        out: dict[str, Any] = {
            "outcome": self.outcome.name,
            "error_name": self.trino.name,
            "error_code": self.trino.code,
            "error_type": self.trino.kind,
            "message": self.message,
            "who": self.who,
            "rule": self.rule,
            "hint": self.hint,
            "contact": self.contact,
        }
        if self.location:
            out["location"] = {"line": self.location.line, "column": self.location.column}
        if self.retry_after is not None:
            out["retry_after"] = self.retry_after
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CityError:
        """Rebuild an error from `to_dict`; unknown names become an internal error, never a pass."""
        try:
            outcome = Outcome[str(data["outcome"])]
            trino = TrinoError[str(data["error_name"])]
            outcome.trino  # noqa: B018 - OK is none of an error's outcomes
        except (KeyError, ValueError):
            outcome, trino = Outcome.EXECUTION, TrinoError.GENERIC_INTERNAL_ERROR
        where = data.get("location")
        kind = _BY_OUTCOME.get(outcome, InternalError)
        return kind(
            str(data.get("message", "")),
            outcome,
            trino=trino,
            who=str(data.get("who", "")),
            rule=str(data.get("rule", "")),
            hint=str(data.get("hint", "")),
            location=Location(int(where["line"]), int(where["column"])) if where else None,
            retry_after=data.get("retry_after"),
            contact=str(data.get("contact", ""))[:MAX_CONTACT],
        )

    def at(self, location: Location | None) -> Self:
        """The same error with a place in the user's text."""
        self.location = location
        return self

    def with_contact(self, contact: str) -> Self:
        """The same error with whom to ask about it, unless it names somebody already."""
        self.contact = self.contact or contact
        return self


class UserError(CityError):
    """The statement is at fault; changing the statement helps."""

    default_outcome = Outcome.SEMANTIC


class AccessDenied(CityError):
    """The statement is understood and refused; asking for a grant helps."""

    default_outcome = Outcome.NOT_AVAILABLE


class DepartmentError(CityError):
    """A department is down, closed, busy or over one of its limits; waiting may help."""

    default_outcome = Outcome.DOWN


class InternalError(CityError):
    """A fault of atoll itself; the operator's log has the detail."""

    default_outcome = Outcome.EXECUTION


_BY_OUTCOME: dict[Outcome, type[CityError]] = {
    Outcome.SYNTAX: UserError,
    Outcome.STATEMENT: UserError,
    Outcome.NODE: UserError,
    Outcome.FUNCTION: UserError,
    Outcome.TOO_LARGE: UserError,
    Outcome.SEMANTIC: UserError,
    Outcome.CANCELED: UserError,
    Outcome.NOT_AVAILABLE: AccessDenied,
    Outcome.PURPOSE: AccessDenied,
    Outcome.MODE: AccessDenied,
    Outcome.DISCLOSURE: AccessDenied,
    Outcome.GRANT_ENDED: AccessDenied,
    Outcome.AUTH: AccessDenied,
    Outcome.BUDGET: DepartmentError,
    Outcome.LIMIT: DepartmentError,
    Outcome.BUSY: DepartmentError,
    Outcome.CLOSED: DepartmentError,
    Outcome.DOWN: DepartmentError,
}
