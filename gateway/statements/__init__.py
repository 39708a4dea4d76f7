"""Which kind of statement a text is: the gate between the protocol and the pipeline.

`classify` reads a text and says what has to happen: a query goes down the pipeline (`Query`), a statement
about the client's session ends here (`Effect`), SHOW and DESCRIBE become queries over the metadata tables
of `gateway/metadata.py`, EXECUTE becomes the prepared query with its parameters bound as parsed literals.
Whatever is not named here is refused by name: atoll only reads.

    Query | Effect | Explain | DescribeInput | DescribeOutput | Kill = classify(sql, session)

`classify` is pure. What needs the catalogue (does this schema exist?) is left in `requires`, and
`metadata.check(statement.requires, view)` settles it.

    kinds.py      what `classify` returns          reader.py    tokens and syntax errors
    session.py    USE, SET, transactions           show.py      SHOW and DESCRIBE as queries
    prepared.py   PREPARE, EXECUTE, EXPLAIN        answers.py   what the gateway answers by itself
"""

from __future__ import annotations

import difflib

from catalog.errors import Outcome, TrinoError, UserError
from gateway.execution import Session
from gateway.statements import prepared, show
from gateway.statements import session as session_statements
from gateway.statements.answers import DESCRIBED, INPUTS, describe_input, describe_output, explain_io, killed
from gateway.statements.kinds import DescribeInput, DescribeOutput, Effect, Explain, Kill, Query, Statement
from gateway.statements.reader import Handler, Reader, Token, first_word, location, syntax_error, unsupported
from gateway.statements.session import PROPERTIES, Property, check_properties, is_zone, seconds_of

__all__ = [
    "DESCRIBED",
    "INPUTS",
    "PROPERTIES",
    "DescribeInput",
    "DescribeOutput",
    "Effect",
    "Explain",
    "Kill",
    "Property",
    "Query",
    "Statement",
    "check_properties",
    "classify",
    "describe_input",
    "describe_output",
    "explain_io",
    "first_word",
    "is_zone",
    "killed",
    "seconds_of",
    "syntax_error",
]


def classify(sql: str, session: Session) -> Statement:
    """What kind of statement `sql` is and what it asks for.

    Raises UserError (syntax with a location, unknown session property, unknown prepared statement,
    a statement that atoll doesn't run) or AccessDenied (SET SESSION AUTHORIZATION).
    """
    check_properties(session.properties)
    return _classify(sql, session)


def _classify(sql: str, session: Session) -> Statement:
    reader = Reader(sql)
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


_QUERY_STARTS = {"SELECT", "WITH", "VALUES"}


_REFUSED = {
    "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE", "DENY",
    "ANALYZE", "COMMENT", "REFRESH", "COPY", "ATTACH", "DETACH", "PRAGMA", "INSTALL", "LOAD", "VACUUM",
    "EXPORT", "IMPORT",
}  # fmt: skip


def _refusal(reader: Reader, first: Token) -> UserError:
    if first.upper in _REFUSED:
        second = reader.peek(1)
        name = f"{first.upper} {second.upper}" if second and second.upper else first.upper
        return UserError(
            f"{name} is not supported: atoll only reads.",
            Outcome.STATEMENT,
            rule="statement kinds",
            hint="Write a SELECT; what you may read is in SHOW CATALOGS and SHOW TABLES.",
            location=location(reader.sql, first.start),
        )
    known = [*_QUERY_STARTS, *_HANDLERS, *_REFUSED]
    near = difflib.get_close_matches(first.upper, known, 1, 0.6)
    hint = f"Did you mean {near[0]}?" if near else "A statement starts with SELECT, WITH, SHOW, DESCRIBE or EXPLAIN."
    return UserError(
        f"mismatched input '{first.text[:60]}'.",
        Outcome.SYNTAX,
        hint=hint,
        location=location(reader.sql, first.start),
    )


def _describe(reader: Reader, session: Session) -> Statement:
    following = reader.peek(1)
    named = following is not None and following.kind in ("word", "quoted")
    if named and reader.word("INPUT"):
        return _HANDLERS["DESCRIBE INPUT"](reader, session)
    if named and reader.word("OUTPUT"):
        return _HANDLERS["DESCRIBE OUTPUT"](reader, session)
    return show.describe_table(reader, session)


def _call(reader: Reader, session: Session) -> Statement:
    name = reader.name()
    if name != ("system", "runtime", "kill_query"):
        raise unsupported(reader, f"CALL {'.'.join(name)}", "The only procedure is system.runtime.kill_query.")
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


_HANDLERS: dict[str, Handler] = {
    **session_statements.HANDLERS,
    **show.HANDLERS,
    **prepared.handlers(_classify),
    "DESCRIBE": _describe,
    "CALL": _call,
}
