"""Which kind of statement a text is: the gate between the protocol and the pipeline.

`classify` reads a text and says what has to happen: a query goes down the pipeline (`Query`), a statement
about the client's session ends here (`Effect`), SHOW and DESCRIBE become queries over the metadata tables
of `gateway/metadata.py`, EXECUTE becomes the prepared query with its parameters bound as parsed literals.
Whatever is not named here is refused by name: atoll only reads.

    Query | Effect | Explain | DescribeOutput | Kill = classify(sql, session)

`classify` is pure. What needs the catalogue (does this schema exist?) is left in `requires`, and
`metadata.check(statement, view)` settles it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import TokenType

from catalog import duck
from catalog.duck.compiler import table_name
from catalog.errors import AccessDenied, Location, Outcome, TrinoError, UserError
from catalog.types import BIGINT, VARCHAR, TrinoType
from gateway import metadata
from gateway.execution import Effects, ResultColumn, Session

__all__ = [
    "PROPERTIES",
    "DescribeOutput",
    "Effect",
    "Explain",
    "Kill",
    "Property",
    "Query",
    "Statement",
    "check_properties",
    "classify",
    "describe_output",
    "first_word",
    "is_zone",
    "killed",
    "seconds_of",
    "syntax_error",
]

NameParts = tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A SELECT, WITH, VALUES or set operation for the pipeline.

    verbatim: `sql` is the client's own text, so places in it mean something to the client.
    requires: names (catalog), (catalog, schema) or (catalog, schema, table) that must be visible first.
    """

    sql: str
    verbatim: bool = True
    requires: tuple[NameParts, ...] = ()


@dataclass(frozen=True)
class Effect:
    """A statement that ends in the gateway: it changes the client's session or answers known rows."""

    effects: Effects
    columns: tuple[ResultColumn, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    requires: tuple[NameParts, ...] = ()

    def batch(self) -> pa.RecordBatch | None:
        """The rows as one Arrow batch, None if there are none."""
        if not self.rows:
            return None
        arrays = [
            pa.array(values, column.type.arrow())
            for values, column in zip(zip(*self.rows, strict=True), self.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in self.columns])


@dataclass(frozen=True)
class Explain:
    """EXPLAIN of a query. kind: "text", "validate" or "io"; json: FORMAT JSON was asked for."""

    sql: str
    kind: str = "text"
    analyze: bool = False
    json: bool = False
    verbatim: bool = True
    requires: tuple[NameParts, ...] = ()


@dataclass(frozen=True)
class DescribeOutput:
    """DESCRIBE OUTPUT: the result columns of a prepared query, whose parameters are NULLs here."""

    sql: str
    requires: tuple[NameParts, ...] = ()


@dataclass(frozen=True)
class Kill:
    """CALL system.runtime.kill_query: end one of the user's own queries."""

    query_id: str
    message: str = ""


Statement = Query | Effect | Explain | DescribeOutput | Kill


def classify(sql: str, session: Session) -> Statement:
    """What kind of statement `sql` is and what it asks for.

    Raises UserError (syntax with a location, unknown session property, unknown prepared statement,
    a statement that atoll doesn't run) or AccessDenied (SET SESSION AUTHORIZATION).
    """
    check_properties(session.properties)
    return _classify(sql, session)


def _classify(sql: str, session: Session) -> Statement:
    reader = _Reader(sql)
    first = reader.peek()
    if first is None:
        raise reader.error("a statement")
    if first.upper in _QUERY_STARTS or first.text == "(":
        return Query(sql)
    handler = _HANDLERS.get(first.upper)
    if handler is not None:
        reader.take()
        return handler(reader, session)
    raise _refusal(reader, first)


# -- reading tokens ------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<sign>=>|<>|!=|>=|<=|->|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def upper(self) -> str:
        return self.text.upper() if self.kind == "word" else ""

    @property
    def value(self) -> str:
        """The name or text that the token stands for."""
        if self.kind == "string":
            return self.text[1:-1].replace("''", "'")
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        return self.text


def _scan(sql: str) -> list[_Token]:
    return [
        _Token(found.lastgroup or "", found.group(), found.start())
        for found in _TOKEN.finditer(sql)
        if found.lastgroup != "skip"
    ]


class _Reader:
    """Reads a utility statement token by token. One text, one statement: a `;` is a syntax error."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = _scan(sql)
        self.index = 0
        for token in self.tokens:
            if token.text == ";":
                raise self.error("<EOF>", at=token)
            if token.text in ("'", '"'):
                raise self.error("a closing quote", at=token)

    def peek(self, ahead: int = 0) -> _Token | None:
        at = self.index + ahead
        return self.tokens[at] if at < len(self.tokens) else None

    def take(self) -> _Token:
        token = self.peek()
        if token is None:
            raise self.error("more")
        self.index += 1
        return token

    def word(self, *options: str) -> str:
        """Take the next token if it is one of these key words; its upper case, or ""."""
        token = self.peek()
        if token is None or token.upper not in options:
            return ""
        self.index += 1
        return token.upper

    def words(self, *sequence: str) -> bool:
        """Take these key words if all of them come next, in this order."""
        if any((t := self.peek(i)) is None or t.upper != w for i, w in enumerate(sequence)):
            return False
        self.index += len(sequence)
        return True

    def expect(self, *options: str) -> str:
        return self.word(*options) or self._fail(*options)

    def _fail(self, *expecting: str) -> str:
        raise self.error(*expecting)

    def sign(self, text: str) -> bool:
        token = self.peek()
        if token is None or token.kind != "sign" or token.text != text:
            return False
        self.index += 1
        return True

    def identifier(self) -> str:
        """A name in lower case, as Trino folds it, quoted or not."""
        token = self.peek()
        if token is None or token.kind not in ("word", "quoted"):
            raise self.error("a name")
        self.index += 1
        return token.value.lower()

    def name(self) -> NameParts:
        """A dotted name of one to three parts."""
        start = self.peek()
        parts = [self.identifier()]
        while self.sign("."):
            parts.append(self.identifier())
        if len(parts) > 3:
            raise self.error("a name of at most three parts", at=start)
        return tuple(parts)

    def string(self) -> str:
        token = self.peek()
        if token is None or token.kind != "string":
            raise self.error("a text in single quotes")
        self.index += 1
        return token.value

    def rest(self) -> str:
        """The untouched text from the next token on; takes all of it."""
        token = self.peek()
        if token is None:
            raise self.error("a statement")
        self.index = len(self.tokens)
        return self.sql[token.start :]

    def end(self) -> None:
        if self.peek() is not None:
            raise self.error("<EOF>")

    def error(self, *expecting: str, at: _Token | None = None) -> UserError:
        """A syntax error at the next token (or at `at`), in Trino's words but short."""
        token = at or self.peek()
        wanted = ", ".join(_shown(e) for e in expecting)
        if token is None:
            return _syntax(self.sql, len(self.sql.rstrip()), "<EOF>", wanted)
        near = difflib.get_close_matches(token.upper, expecting, 1, 0.6) if token.upper else []
        return _syntax(self.sql, token.start, token.text, wanted, near[0] if near else "")


def _shown(expected: str) -> str:
    return f"'{expected}'" if expected.isupper() else expected


def _location(sql: str, offset: int) -> Location:
    before = sql[:offset]
    return Location(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _syntax(sql: str, offset: int, text: str, wanted: str, near: str = "") -> UserError:
    hint = f"Did you mean {near}?" if near else f"Expecting: {wanted}."
    shown = text if len(text) <= 60 else text[:57] + "..."
    quoted = shown if shown == "<EOF>" else f"'{shown}'"
    return UserError(f"mismatched input {quoted}.", Outcome.SYNTAX, hint=hint, location=_location(sql, offset))


_CLAUSES = [
    "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "JOIN", "UNION", "INTERSECT",
    "EXCEPT", "WITH", "VALUES", "INNER", "LEFT", "RIGHT", "CROSS", "FULL", "NATURAL", "USING", "DISTINCT",
    "BETWEEN", "WINDOW", "FETCH",
]  # fmt: skip


def syntax_error(sql: str, error: SqlglotError) -> UserError:
    """A sqlglot parse error as Trino words it, with the place in the user's text.

    When a word of the text looks like a mistyped clause, the hint names the clause.
    """
    detail = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    line, column = detail.get("line"), detail.get("col")
    highlight = str(detail.get("highlight") or "")
    hint = ""
    typed = _mistyped_clause(sql)
    if typed:
        token, clause = typed
        return UserError(
            f"mismatched input '{token.text}'.",
            Outcome.SYNTAX,
            hint=f"Did you mean {clause}?",
            location=_location(sql, token.start),
        )
    if isinstance(error, TokenError):
        return UserError("a quoted text or comment has no end.", Outcome.SYNTAX, location=_unclosed(sql))
    if not isinstance(line, int) or not isinstance(column, int):
        return UserError("the statement cannot be parsed.", Outcome.SYNTAX, location=Location(1, 1))
    # sqlglot counts to the last character of the token, people to the first.
    column = max(1, column - max(len(highlight), 1) + 1)
    shown = highlight.strip() or "<EOF>"
    if _offset(sql, line, column) + len(highlight) >= len(sql.rstrip()):
        hint = "The statement ends too early." if shown in ("<EOF>", ",", "(") else ""
    quoted = shown if shown == "<EOF>" else f"'{shown[:60]}'"
    return UserError(f"mismatched input {quoted}.", Outcome.SYNTAX, hint=hint, location=Location(line, column))


def _offset(sql: str, line: int, column: int) -> int:
    return sum(len(part) + 1 for part in sql.split("\n")[: line - 1]) + column - 1


def _unclosed(sql: str) -> Location:
    bad = next((t for t in _scan(sql) if t.text in ("'", '"', "/")), None)
    return _location(sql, bad.start if bad else 0)


def _mistyped_clause(sql: str) -> tuple[_Token, str] | None:
    """A bare word that nearly is a clause (`FORM`, `WHRE`) and stands where a clause could."""
    tokens = _scan(sql)
    for before, token in zip([None, *tokens], tokens, strict=False):
        word = token.upper
        if len(word) < 4 or word in _CLAUSES or (before and before.text in (".", ",", "(")):
            continue
        if before and before.upper in ("AS", "FROM", "JOIN", "SELECT"):
            continue
        near = difflib.get_close_matches(word, _CLAUSES, 1, 0.75)
        if near and sorted(near[0])[0] in word:
            return token, near[0]
    return None


# -- what atoll runs and what not ----------------------------------------------------------------------

_QUERY_STARTS = {"SELECT", "WITH", "VALUES"}
_REFUSED = {
    "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE", "DENY",
    "ANALYZE", "COMMENT", "REFRESH", "COPY", "ATTACH", "DETACH", "PRAGMA", "INSTALL", "LOAD", "VACUUM",
    "EXPORT", "IMPORT",
}  # fmt: skip


def _refusal(reader: _Reader, first: _Token) -> UserError:
    if first.upper in _REFUSED:
        second = reader.peek(1)
        name = f"{first.upper} {second.upper}" if second and second.upper else first.upper
        return UserError(
            f"{name} is not supported: atoll only reads.",
            Outcome.STATEMENT,
            rule="statement kinds",
            hint="Write a SELECT; what you may read is in SHOW CATALOGS and SHOW TABLES.",
            location=_location(reader.sql, first.start),
        )
    known = [*_QUERY_STARTS, *_HANDLERS, *_REFUSED]
    near = difflib.get_close_matches(first.upper, known, 1, 0.6)
    hint = f"Did you mean {near[0]}?" if near else "A statement starts with SELECT, WITH, SHOW, DESCRIBE or EXPLAIN."
    return UserError(
        f"mismatched input '{first.text[:60]}'.",
        Outcome.SYNTAX,
        hint=hint,
        location=_location(reader.sql, first.start),
    )


def _unsupported(reader: _Reader, what: str, hint: str = "") -> UserError:
    return UserError(
        f"{what} is not supported.",
        Outcome.STATEMENT,
        rule="statement kinds",
        hint=hint,
        location=_location(reader.sql, reader.tokens[0].start),
    )


# -- session -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Property:
    """One session property. kind: "boolean", "duration", "text" or "zone"."""

    name: str
    kind: str
    default: str
    description: str


PROPERTIES = {
    p.name: p
    for p in (
        Property(
            "allow_partial",
            "boolean",
            "false",
            "Arms of a UNION ALL may be missing when a department is down",
        ),
        Property("purpose", "text", "", "Which of your purposes you ask for; with one purpose it is that one"),
        Property("query_max_run_time", "duration", "1h", "Give up after this time"),
        Property("require_pushdown", "boolean", "false", "Refuse a query whose joins or aggregates stay here"),
        Property("time_zone_id", "zone", "", "Time zone of now(), current_date and casts"),
    )
}
_DURATION = re.compile(r"\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\Z")
_OFFSET = re.compile(r"[+-](?:0?\d|1[0-4]):?[0-5]\d\Z")


def check_properties(properties: dict[str, str]) -> None:
    """Raise INVALID_SESSION_PROPERTY for an unknown property (with the nearest name) or a bad value."""
    for name, value in properties.items():
        _check_property(name, value)


def _check_property(name: str, value: str) -> None:
    known = PROPERTIES.get(name)
    if known is None:
        near = difflib.get_close_matches(name, PROPERTIES, 1, 0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(PROPERTIES)}."
        raise _invalid_property(f"Session property '{name}' does not exist.", hint)
    valid = {
        "boolean": value.lower() in ("true", "false"),
        "duration": bool(_DURATION.match(value)),
        "zone": is_zone(value),
        "text": len(value) <= 200,
    }
    if not valid[known.kind]:
        example = {"boolean": "true or false", "duration": "a duration such as '5m'", "zone": "a zone id"}
        wanted = example.get(known.kind, "a short text")
        raise _invalid_property(f"Session property '{name}' must be {wanted}.", "")


def seconds_of(duration: str) -> float:
    """Seconds of a checked duration such as `5m` or `1.5h`."""
    number, unit = re.match(r"([0-9.]+)\s*([a-z]+)", duration.strip()).groups()  # type: ignore[union-attr]
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def is_zone(text: str) -> bool:
    """Whether a text names a time zone: an IANA name or an offset such as +08:00."""
    return bool(_OFFSET.match(text)) or text in _zones()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def first_word(sql: str) -> str:
    """The first word of a statement in upper case, "" if there is none."""
    found = next((t for t in _TOKEN.finditer(sql) if t.lastgroup != "skip"), None)
    return found.group().upper() if found and found.lastgroup == "word" else ""


def _invalid_property(message: str, hint: str) -> UserError:
    return UserError(message, Outcome.SEMANTIC, trino=TrinoError.INVALID_SESSION_PROPERTY, hint=hint)


def _effect(update_type: str, requires: tuple[NameParts, ...] = (), **changes: Any) -> Effect:
    return Effect(Effects(update_type=update_type, **changes), requires=requires)


def _use(reader: _Reader, session: Session) -> Statement:
    name = reader.name()
    reader.end()
    if len(name) > 2:
        raise _unsupported(reader, "USE with a table name")
    catalog, schema = name if len(name) == 2 else (_catalog(reader, session), name[0])
    return _effect("USE", ((catalog, schema),), set_catalog=catalog, set_schema=schema)


def _catalog(reader: _Reader, session: Session) -> str:
    if not session.catalog:
        raise UserError(
            "Catalog must be specified when session catalog is not set.",
            trino=TrinoError.MISSING_CATALOG_NAME,
            location=_location(reader.sql, reader.tokens[0].start),
        )
    return session.catalog.lower()


def _schema(reader: _Reader, session: Session) -> NameParts:
    catalog = _catalog(reader, session)
    if not session.schema:
        raise UserError(
            "Schema must be specified when session schema is not set.",
            trino=TrinoError.MISSING_SCHEMA_NAME,
            location=_location(reader.sql, reader.tokens[0].start),
        )
    return catalog, session.schema.lower()


def _set(reader: _Reader, session: Session) -> Statement:
    match reader.expect("SESSION", "TIME", "ROLE", "PATH"):
        case "SESSION":
            return _set_session(reader)
        case "TIME":
            reader.expect("ZONE")
            return _set_time_zone(reader)
        case "ROLE":
            return _set_role(reader)
        case _:
            return _effect("SET PATH", set_path=reader.rest().strip())


def _set_session(reader: _Reader) -> Statement:
    if reader.word("AUTHORIZATION"):
        raise AccessDenied(
            "Nobody can act as somebody else here: the token's own name counts.",
            Outcome.AUTH,
            rule="identity",
        )
    name = ".".join(reader.name())
    if not reader.sign("="):
        raise reader.error("=")
    value = _property_value(reader)
    reader.end()
    _check_property(name, value)
    return _effect("SET SESSION", set_session=((name, value),))


def _property_value(reader: _Reader) -> str:
    token = reader.take()
    if token.kind in ("string", "number"):
        return token.value
    if token.upper in ("TRUE", "FALSE"):
        return token.text.lower()
    reader.index -= 1
    raise reader.error("a text in single quotes", "TRUE", "FALSE")


def _set_time_zone(reader: _Reader) -> Statement:
    if reader.word("LOCAL"):
        reader.end()
        return _effect("SET TIME ZONE", clear_session=("time_zone_id",))
    zone = _interval_zone(reader) if reader.word("INTERVAL") else reader.string()
    reader.end()
    if not is_zone(zone):
        raise UserError(f"'{zone}' is not a time zone.", trino=TrinoError.INVALID_LITERAL)
    return _effect("SET TIME ZONE", set_session=(("time_zone_id", zone),))


def _interval_zone(reader: _Reader) -> str:
    negative = reader.sign("-")
    text = reader.string()
    unit = reader.expect("HOUR", "MINUTE")
    if reader.word("TO"):
        reader.expect("MINUTE")
        hours, _, minutes = text.lstrip("+-").partition(":")
    else:
        hours, minutes = (text.lstrip("+-"), "0") if unit == "HOUR" else ("0", text.lstrip("+-"))
    if not (hours.isdigit() and minutes.isdigit()):
        raise UserError(f"'{text}' is not an interval.", trino=TrinoError.INVALID_LITERAL)
    total = int(hours) * 60 + int(minutes)
    sign = "-" if negative != text.startswith("-") else "+"
    return f"{sign}{total // 60:02d}:{total % 60:02d}"


def _set_role(reader: _Reader) -> Statement:
    role = reader.identifier()
    if reader.word("IN"):
        reader.identifier()
    reader.end()
    if role not in ("all", "none"):
        raise UserError(
            f"Role '{role}' does not exist.",
            trino=TrinoError.NOT_FOUND,
            hint="Departments grant to users and purposes; SET SESSION purpose = '...' chooses among yours.",
        )
    return _effect("SET ROLE", set_role=f"system={role.upper()}")


def _reset(reader: _Reader, session: Session) -> Statement:
    reader.expect("SESSION")
    if reader.word("AUTHORIZATION"):
        reader.end()
        return _effect("RESET SESSION AUTHORIZATION")
    name = ".".join(reader.name())
    reader.end()
    _check_property(name, PROPERTIES[name].default if name in PROPERTIES and name != "time_zone_id" else "UTC")
    return _effect("RESET SESSION", clear_session=(name,))


# -- transactions: there is nothing to commit, but clients ask ------------------------------------------


def _start(reader: _Reader, session: Session) -> Statement:
    reader.expect("TRANSACTION")
    while reader.peek() is not None:
        _transaction_mode(reader)
        if not reader.sign(","):
            reader.end()
    if not session.transaction:
        raise UserError("This client does not know transactions.", trino=TrinoError.INCOMPATIBLE_CLIENT)
    if session.transaction.upper() != "NONE":
        raise UserError("Nested transactions not supported.", Outcome.STATEMENT)
    # The server that holds the open transactions puts the id in.
    return _effect("START TRANSACTION", started_transaction="NEW")


def _transaction_mode(reader: _Reader) -> None:
    if reader.words("ISOLATION", "LEVEL"):
        if not (
            reader.words("READ", "UNCOMMITTED")
            or reader.words("READ", "COMMITTED")
            or reader.words("REPEATABLE", "READ")
            or reader.word("SERIALIZABLE")
        ):
            raise reader.error("READ", "REPEATABLE", "SERIALIZABLE")
        return
    if not (reader.words("READ", "ONLY") or reader.words("READ", "WRITE")):
        raise reader.error("ISOLATION", "READ")


def _end_transaction(kind: str) -> _Handler:
    def handle(reader: _Reader, session: Session) -> Statement:
        reader.word("WORK")
        reader.end()
        if session.transaction.upper() in ("", "NONE"):
            raise UserError("No transaction in progress.", trino=TrinoError.NOT_IN_TRANSACTION)
        return _effect(kind, clear_transaction=True)

    return handle


# -- prepared statements -------------------------------------------------------------------------------


def _prepare(reader: _Reader, session: Session) -> Statement:
    name = reader.identifier()
    reader.expect("FROM")
    inner = reader.rest()
    _inner(inner, session)
    _placeholders(inner)
    return _effect("PREPARE", added_prepare=((name, inner),))


def _deallocate(reader: _Reader, session: Session) -> Statement:
    reader.expect("PREPARE")
    name = reader.identifier()
    reader.end()
    _prepared(name, session)
    return _effect("DEALLOCATE", deallocated_prepare=(name,))


def _prepared(name: str, session: Session) -> str:
    found = session.prepared.get(name)
    if found is None:
        raise UserError(f"Prepared statement not found: {name}", trino=TrinoError.NOT_FOUND)
    return found


def _inner(sql: str, session: Session) -> Statement:
    """Classify the text inside PREPARE, EXECUTE or EXPLAIN, which can't be one of those again."""
    first = _Reader(sql).peek()
    if first is not None and first.upper in ("PREPARE", "EXECUTE", "DEALLOCATE", "EXPLAIN"):
        raise UserError(f"{first.upper} cannot stand inside another statement.", Outcome.STATEMENT)
    return _classify(sql, session)


def _execute(reader: _Reader, session: Session) -> Statement:
    immediate = reader.peek(1) if (first := reader.peek()) and first.upper == "IMMEDIATE" else None
    if immediate is not None and immediate.kind == "string":
        reader.take()
        inner = reader.string()
    else:
        inner = _prepared(reader.identifier(), session)
    if not reader.word("USING"):
        reader.end()
        return _bind(inner, [], session)
    return _bind(inner, _arguments(reader.rest()), session)


def _bind(inner: str, arguments: list[exp.Expr], session: Session) -> Statement:
    statement = _inner(inner, session)
    places = _placeholders(inner) if isinstance(statement, Query) and statement.verbatim else []
    if len(places) != len(arguments):
        raise UserError(
            f"Incorrect number of parameters: expected {len(places)} but found {len(arguments)}.",
            trino=TrinoError.INVALID_PARAMETER_USAGE,
        )
    if isinstance(statement, Query) and places:
        return replace(statement, sql=_substitute(inner, places, arguments), verbatim=False)
    if isinstance(statement, Query):
        return replace(statement, verbatim=False)
    return statement


def _tokenize(sql: str) -> list[Any]:
    try:
        return list(Trino().tokenize(sql))
    except SqlglotError as bad:
        raise syntax_error(sql, bad) from bad


def _placeholders(sql: str) -> list[tuple[int, int]]:
    """Where the `?` of a statement stand, in the order in which they are written."""
    return [(t.start, t.end + 1) for t in _tokenize(sql) if t.token_type == TokenType.PLACEHOLDER]


_PLACE = "atoll_place_"
_ONE = exp.Literal.number(1)  # LIMIT NULL is no SQL, and DESCRIBE OUTPUT binds NULLs only


def _substitute(sql: str, places: list[tuple[int, int]], values: list[exp.Expr]) -> str:
    """The statement with literal nodes in place of its `?`.

    The places get private names before parsing, since a tree alone doesn't tell in which order they
    were written. The text that comes out must read back as the very tree that was bound.
    """
    named = sql
    for number, (start, end) in reversed(list(enumerate(places))):
        named = f"{named[:start]} :{_PLACE}{number} {named[end:]}"
    tree = _parse(named, sql)
    found = {str(node.this): node for node in tree.find_all(exp.Placeholder)}
    for number, value in enumerate(values):
        node = found.pop(f"{_PLACE}{number}", None)
        if node is None or found.keys() - {f"{_PLACE}{i}" for i in range(len(values))}:
            raise UserError("A parameter stands where none can.", trino=TrinoError.INVALID_PARAMETER_USAGE)
        inside_limit = isinstance(node.parent, (exp.Limit, exp.Offset, exp.Fetch))
        node.replace(_ONE.copy() if inside_limit and isinstance(value, exp.Null) else value.copy())
    text = tree.sql(dialect="trino", unsupported_level=ErrorLevel.RAISE)
    if _parse(text, text) != tree:
        raise UserError(
            "This statement cannot carry parameters.",
            Outcome.STATEMENT,
            hint="Write the values into the statement.",
        )
    return text


def _parse(sql: str, shown: str) -> exp.Expr:
    try:
        trees = sqlglot.parse(sql, read="trino")
    except (SqlglotError, RecursionError) as bad:
        raise syntax_error(shown, bad if isinstance(bad, SqlglotError) else SqlglotError()) from bad
    if len(trees) != 1 or trees[0] is None:
        raise UserError("the statement cannot be parsed.", Outcome.SYNTAX, location=Location(1, 1))
    return trees[0]


def _arguments(text: str) -> list[exp.Expr]:
    """The values after USING, as nodes; only literals, arrays, rows and casts of them."""
    tree = _parse(f"SELECT {text}", text)
    clauses = {k for k, v in tree.args.items() if v and k not in ("expressions", "kind")}
    if not isinstance(tree, exp.Select) or clauses:
        raise UserError("USING takes a list of literals.", trino=TrinoError.INVALID_PARAMETER_USAGE)
    for node in tree.expressions:
        if not _is_literal(node):
            raise UserError(
                f"Parameter '{node.sql('trino')[:60]}' is not a literal.",
                trino=TrinoError.INVALID_PARAMETER_USAGE,
            )
    return [_precise(node) for node in tree.expressions]


def _is_literal(node: exp.Expr) -> bool:
    if isinstance(node, (exp.Literal, exp.Null, exp.Boolean, exp.HexString)):
        return True
    if isinstance(node, (exp.Neg, exp.Paren)):
        return _is_literal(node.this)
    if isinstance(node, (exp.Array, exp.Tuple)):
        return all(_is_literal(e) for e in node.expressions)
    if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast):
        return isinstance(node.to, exp.DataType) and _is_literal(node.this)
    if isinstance(node, exp.Interval):
        return isinstance(node.this, exp.Literal) and isinstance(node.args.get("unit"), exp.Var)
    return False


_FRACTION = re.compile(r":\d\d\.(\d{1,12})")


def _precise(node: exp.Expr) -> exp.Expr:
    """`TIMESTAMP '..'` and `DECIMAL '..'` are as precise as they are written; a parsed CAST says 3 and 0."""
    for cast in node.find_all(exp.Cast):
        kind = cast.to
        if not isinstance(cast.this, exp.Literal) or not cast.this.is_string or kind.expressions:
            continue
        text = cast.this.this.strip()
        digits = _FRACTION.search(text)
        if kind.this in _WITH_PRECISION and digits and len(digits[1]) > 3:
            _set_arguments(kind, min(len(digits[1]), 6))
        elif kind.this == exp.DataType.Type.DECIMAL and _DECIMAL.match(text):
            whole, _, fraction = text.lstrip("+-").partition(".")
            _set_arguments(kind, max(1, len(whole.lstrip("0")) + len(fraction)), len(fraction))
    return node


def _set_arguments(kind: exp.DataType, *numbers: int) -> None:
    kind.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(n)) for n in numbers])


_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)\Z")
_WITH_PRECISION = {exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIME}


# -- describing ----------------------------------------------------------------------------------------


def _describe(reader: _Reader, session: Session) -> Statement:
    following = reader.peek(1)
    named = following is not None and following.kind in ("word", "quoted")
    if named and reader.word("INPUT"):
        return _describe_input(reader, session)
    if named and reader.word("OUTPUT"):
        return _describe_output(reader, session)
    return _columns(reader, session)


def _describe_input(reader: _Reader, session: Session) -> Statement:
    inner = _prepared(reader.identifier(), session)
    reader.end()
    rows = tuple((i, "unknown") for i in range(len(_placeholders(inner))))
    return Effect(Effects(), (ResultColumn("Position", BIGINT), _text("Type")), rows)


DESCRIBED = (
    ResultColumn("Column Name", VARCHAR),
    ResultColumn("Catalog", VARCHAR),
    ResultColumn("Schema", VARCHAR),
    ResultColumn("Table", VARCHAR),
    ResultColumn("Type", VARCHAR),
    ResultColumn("Type Size", BIGINT),
    ResultColumn("Aliased", TrinoType("boolean")),
)
"""The columns of DESCRIBE OUTPUT's answer."""


def _describe_output(reader: _Reader, session: Session) -> Statement:
    inner = _prepared(reader.identifier(), session)
    reader.end()
    nulls = [exp.Null() for _ in _placeholders(inner)]
    statement = _bind(inner, list(nulls), session)
    if isinstance(statement, Query):
        return DescribeOutput(statement.sql, statement.requires)
    return Effect(Effects(), DESCRIBED)


def describe_output(tree: exp.Query, labels: Sequence[str], tables: Mapping[str, Mapping[str, TrinoType]]) -> pa.Table:
    """The rows of DESCRIBE OUTPUT for a resolved query, columns as in `DESCRIBED`.

    tree: qualified, tables by their full names. tables: full name -> column -> type.
    Raises UserError for what the closed list of functions and nodes refuses.
    """

    def known(node: exp.Table) -> duck.Table:
        return duck.Table(node.name, tables[table_name(node)])

    types = [kind for _, kind in duck.compile_query(tree, known).columns]
    first: exp.Expr = tree
    while isinstance(first, exp.SetOperation):
        first = first.left.unnest()
    outputs = first.expressions if isinstance(first, exp.Select) and first is tree else [None] * len(types)
    sources = {t.alias_or_name: t for t in first.find_all(exp.Table)}
    rows = [
        (label, *_origin(output, sources), metadata.type_text(kind), _type_size(kind), _is_aliased(output, label))
        for output, label, kind in zip(outputs, labels, types, strict=True)
    ]
    arrays = [
        pa.array(found, column.type.arrow()) for found, column in zip(zip(*rows, strict=True), DESCRIBED, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[c.name for c in DESCRIBED])


_TYPE_SIZES = {"boolean": 1, "tinyint": 1, "smallint": 2, "integer": 4, "bigint": 8, "real": 4, "double": 8, "date": 4}


def _type_size(kind: TrinoType) -> int:
    """Bytes of a type of fixed width in Trino, 0 for the others."""
    if kind.name == "decimal":
        return 8 if kind.args[0] <= 18 else 16
    return _TYPE_SIZES.get(kind.name, 0)


def _origin(output: exp.Expr | None, sources: Mapping[str, exp.Table]) -> NameParts:
    """Catalog, schema and table that a plain column comes from; empty texts for anything else."""
    column = output.unalias() if output is not None else None
    source = sources.get(column.table) if isinstance(column, exp.Column) else None
    return (source.catalog, source.db, source.name) if source is not None else ("", "", "")


def _is_aliased(output: exp.Expr | None, label: str) -> bool:
    column = output.unalias() if output is not None else None
    named = column.name if isinstance(column, exp.Column) else ""
    return named.lower() != label.lower() and not label.startswith("_col")


def killed(message: str) -> UserError:
    """The error of a statement that `kill_query` ended."""
    text = f"Message: {message}" if message else "No message was given."
    return UserError(f"Query was killed. {text}", Outcome.CANCELED, trino=TrinoError.ADMINISTRATIVELY_KILLED)


def _text(label: str) -> ResultColumn:
    return ResultColumn(label, VARCHAR)


def _explain(reader: _Reader, session: Session) -> Statement:
    analyze = bool(reader.word("ANALYZE"))
    if analyze:
        reader.word("VERBOSE")
    kind, json = "text", False
    following = reader.peek(1)
    if following and following.upper in ("TYPE", "FORMAT") and reader.sign("("):
        kind, json = _explain_options(reader)
    first = reader.peek()
    # Blanks instead of the words before, so that a place in the query is its place in the client's text.
    before = re.sub(r"\S", " ", reader.sql[: first.start]) if first else ""
    inner = before + reader.rest()
    statement = _classify(inner, session) if first and first.upper == "EXECUTE" else _inner(inner, session)
    if not isinstance(statement, Query):
        if kind == "validate":
            return Effect(Effects(), (ResultColumn("Valid", TrinoType("boolean")),), ((True,),))
        raise _unsupported(reader, "EXPLAIN of a statement that is no query")
    return Explain(statement.sql, kind, analyze, json, statement.verbatim, statement.requires)


def _explain_options(reader: _Reader) -> tuple[str, bool]:
    kind, json = "text", False
    while True:
        if reader.expect("TYPE", "FORMAT") == "TYPE":
            chosen = reader.expect("LOGICAL", "DISTRIBUTED", "VALIDATE", "IO")
            kind = {"VALIDATE": "validate", "IO": "io"}.get(chosen, "text")
        else:
            json = reader.expect("TEXT", "JSON") == "JSON"
        if not reader.sign(","):
            break
    if not reader.sign(")"):
        raise reader.error(")")
    return kind, json or kind == "io"


# -- SHOW ----------------------------------------------------------------------------------------------


def _show(reader: _Reader, session: Session) -> Statement:
    kind = reader.expect(*_SHOW)
    return _SHOW[kind](reader, session)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _like(reader: _Reader, column: str) -> list[str]:
    if not reader.word("LIKE"):
        return []
    condition = f"{column} LIKE {_literal(reader.string())}"
    if reader.word("ESCAPE"):
        escape = reader.string()
        if len(escape) != 1:
            raise reader.error("a single character")
        condition += f" ESCAPE {_literal(escape)}"
    return [condition]


def _select(columns: str, table: str, conditions: list[str], order: str, *requires: NameParts) -> Query:
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return Query(f"SELECT {columns} FROM {table}{where} ORDER BY {order}", False, requires)


def _show_catalogs(reader: _Reader, session: Session) -> Statement:
    conditions = _like(reader, "catalog_name")
    reader.end()
    return _select('catalog_name AS "Catalog"', "system.metadata.catalogs", conditions, "1")


def _show_schemas(reader: _Reader, session: Session) -> Statement:
    catalog = reader.identifier() if reader.word("FROM", "IN") else _catalog(reader, session)
    conditions = _like(reader, "schema_name")
    reader.end()
    table = f"{_quoted(catalog)}.information_schema.schemata"
    return _select('schema_name AS "Schema"', table, conditions, "1", (catalog,))


def _show_tables(reader: _Reader, session: Session) -> Statement:
    if reader.word("FROM", "IN"):
        name = reader.name()
        if len(name) > 2:
            raise _unsupported(reader, "SHOW TABLES FROM a table")
        name = name if len(name) == 2 else (_catalog(reader, session), *name)
    else:
        name = _schema(reader, session)
    conditions = [f"table_schema = {_literal(name[1])}", *_like(reader, "table_name")]
    reader.end()
    table = f"{_quoted(name[0])}.information_schema.tables"
    return _select('table_name AS "Table"', table, conditions, "1", name)


def _relation(reader: _Reader, session: Session) -> NameParts:
    name = reader.name()
    if len(name) == 3:
        return name
    if len(name) == 2:
        return (_catalog(reader, session), *name)
    return (*_schema(reader, session), *name)


def _show_columns(reader: _Reader, session: Session) -> Statement:
    reader.expect("FROM", "IN")
    return _columns(reader, session)


def _columns(reader: _Reader, session: Session) -> Statement:
    name = _relation(reader, session)
    conditions = [
        f"table_schema = {_literal(name[1])}",
        f"table_name = {_literal(name[2])}",
        *_like(reader, "column_name"),
    ]
    reader.end()
    shown = (
        'column_name AS "Column", data_type AS "Type", coalesce(extra_info, \'\') AS "Extra", '
        "coalesce(comment, '') AS \"Comment\""
    )
    table = f"{_quoted(name[0])}.information_schema.columns"
    return _select(shown, table, conditions, "ordinal_position", name)


def _show_create(reader: _Reader, session: Session) -> Statement:
    if reader.word("SCHEMA"):
        name = reader.name()
        reader.end()
        name = name if len(name) == 2 else (_catalog(reader, session), *name)
        ddl = f"CREATE SCHEMA {'.'.join(name)}"
        return Effect(Effects(), (_text("Create Schema"),), ((ddl,),), (name,))
    if reader.word("VIEW", "MATERIALIZED", "FUNCTION"):
        raise _unsupported(reader, "SHOW CREATE VIEW", "Owners' views appear as tables; try SHOW CREATE TABLE.")
    reader.expect("TABLE")
    name = _relation(reader, session)
    reader.end()
    return _select('definition AS "Create Table"', "system.custody.definitions", _named(name), "1", name)


def _named(name: NameParts) -> list[str]:
    columns = ("table_catalog", "table_schema", "table_name")
    return [f"{column} = {_literal(part)}" for column, part in zip(columns, name, strict=True)]


def _show_stats(reader: _Reader, session: Session) -> Statement:
    reader.expect("FOR")
    if reader.sign("("):
        raise _unsupported(reader, "SHOW STATS FOR a query", "Figures are published for whole tables.")
    name = _relation(reader, session)
    reader.end()
    shown = "column_name, data_size, distinct_values_count, nulls_fraction, row_count, low_value, high_value"
    return _select(shown, "system.custody.statistics", _named(name), "ordinal_position", name)


def _show_session(reader: _Reader, session: Session) -> Statement:
    pattern = reader.string() if reader.word("LIKE") else "%"
    reader.end()
    wanted = re.compile(re.escape(pattern).replace("%", ".*").replace("_", ".") + r"\Z")
    values = {"purpose": session.purpose, "time_zone_id": session.time_zone, **session.properties}
    kinds = {"boolean": "boolean"}
    rows = tuple(
        (p.name, values.get(p.name, p.default), p.default, kinds.get(p.kind, "varchar"), p.description)
        for p in PROPERTIES.values()
        if wanted.match(p.name)
    )
    labels = ("Name", "Value", "Default", "Type", "Description")
    return Effect(Effects(), tuple(_text(label) for label in labels), rows)


def _show_functions(reader: _Reader, session: Session) -> Statement:
    if reader.word("FROM", "IN"):
        name = reader.name()
        reader.end()
        return Effect(Effects(), _FUNCTION_COLUMNS, (), (name,))
    conditions = _like(reader, "function_name")
    reader.end()
    shown = (
        'function_name AS "Function", return_type AS "Return Type", argument_types AS "Argument Types", '
        'function_type AS "Function Type", deterministic AS "Deterministic", description AS "Description"'
    )
    return _select(shown, "system.custody.functions", conditions, "1, 3")


_FUNCTION_COLUMNS = (
    _text("Function"),
    _text("Return Type"),
    _text("Argument Types"),
    _text("Function Type"),
    ResultColumn("Deterministic", TrinoType("boolean")),
    _text("Description"),
)


def _show_roles(reader: _Reader, session: Session) -> Statement:
    """atoll has no roles: departments grant to users and purposes."""
    if reader.word("FROM", "IN"):
        reader.identifier()
    reader.end()
    return Effect(Effects(), (_text("Role"),))


def _show_current(reader: _Reader, session: Session) -> Statement:
    reader.expect("ROLES")
    return _show_roles(reader, session)


def _show_role(reader: _Reader, session: Session) -> Statement:
    reader.expect("GRANTS")
    reader.word("FROM", "IN") and reader.identifier()
    reader.end()
    return Effect(Effects(), (_text("Role Grants"),))


def _show_grants(reader: _Reader, session: Session) -> Statement:
    name: NameParts | None = None
    if reader.word("ON"):
        reader.word("TABLE")
        name = _relation(reader, session)
    reader.end()
    catalog = name[0] if name else _catalog(reader, session)
    conditions = _named(name)[1:] if name else []
    shown = (
        'grantor AS "Grantor", grantor_type AS "Grantor Type", grantee AS "Grantee", '
        'grantee_type AS "Grantee Type", '
        'table_catalog AS "Catalog", table_schema AS "Schema", table_name AS "Table", '
        'privilege_type AS "Privilege", is_grantable AS "Grantable", with_hierarchy AS "With Hierarchy"'
    )
    table = f"{_quoted(catalog)}.information_schema.table_privileges"
    return _select(shown, table, conditions, "5, 6, 7", name or (catalog,))


# -- the rest ------------------------------------------------------------------------------------------


def _call(reader: _Reader, session: Session) -> Statement:
    name = reader.name()
    if name != ("system", "runtime", "kill_query"):
        raise _unsupported(reader, f"CALL {'.'.join(name)}", "The only procedure is system.runtime.kill_query.")
    if not reader.sign("("):
        raise reader.error("(")
    given: dict[str, str] = {}
    for position in ("query_id", "message"):
        if reader.sign(")"):
            break
        following = reader.peek(1)
        key = position
        if following and following.text == "=>":
            key = reader.identifier()
            reader.sign("=>")
        given[key] = "" if reader.word("NULL") else reader.string()
        if not reader.sign(","):
            if not reader.sign(")"):
                raise reader.error(")")
            break
    reader.end()
    if given.keys() - {"query_id", "message"} or not given.get("query_id"):
        raise UserError("kill_query takes query_id and message.", trino=TrinoError.INVALID_ARGUMENTS)
    return Kill(given["query_id"], given.get("message", ""))


def _table(reader: _Reader, session: Session) -> Statement:
    """`TABLE t` is `SELECT * FROM t`."""
    name = ".".join(_quoted(part) for part in reader.name())
    rest = reader.sql[following.start :] if (following := reader.peek()) else ""
    return Query(f"SELECT * FROM {name} {rest}".rstrip(), False)


_Handler = Callable[[_Reader, Session], Statement]
_SHOW: dict[str, _Handler] = {
    "CATALOGS": _show_catalogs,
    "SCHEMAS": _show_schemas,
    "TABLES": _show_tables,
    "COLUMNS": _show_columns,
    "SESSION": _show_session,
    "FUNCTIONS": _show_functions,
    "CREATE": _show_create,
    "STATS": _show_stats,
    "ROLES": _show_roles,
    "CURRENT": _show_current,
    "ROLE": _show_role,
    "GRANTS": _show_grants,
}
_HANDLERS: dict[str, _Handler] = {
    "SHOW": _show,
    "DESCRIBE": _describe,
    "DESC": _columns,
    "EXPLAIN": _explain,
    "USE": _use,
    "SET": _set,
    "RESET": _reset,
    "PREPARE": _prepare,
    "EXECUTE": _execute,
    "DEALLOCATE": _deallocate,
    "START": _start,
    "COMMIT": _end_transaction("COMMIT"),
    "ROLLBACK": _end_transaction("ROLLBACK"),
    "CALL": _call,
    "TABLE": _table,
}
