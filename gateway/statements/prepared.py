"""Statements with a statement inside: PREPARE, EXECUTE, EXPLAIN, DESCRIBE INPUT and OUTPUT.

Parameters become parsed literals in the tree of the prepared statement; no text is ever spliced in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import TokenType

from catalog import duck
from catalog.errors import Location, Outcome, TrinoError, UserError
from catalog.types import BOOLEAN
from gateway.execution import Effects, ResultColumn, Session
from gateway.statements.answers import DESCRIBED, INPUTS, marker
from gateway.statements.kinds import DescribeInput, DescribeOutput, Effect, Explain, Query, Statement
from gateway.statements.reader import Handler, Reader, syntax_error, unsupported
from gateway.statements.session import effect

__all__ = ["handlers"]

Classify = Callable[[str, Session], Statement]


def _prepare(classify: Classify, reader: Reader, session: Session) -> Statement:
    name = reader.identifier()
    reader.expect("FROM")
    inner = reader.rest()
    _inner(classify, inner, session)
    placeholders(inner)
    return effect("PREPARE", added_prepare=((name, inner),))


def _deallocate(reader: Reader, session: Session) -> Statement:
    reader.expect("PREPARE")
    name = reader.identifier()
    reader.end()
    _prepared(name, session)
    return effect("DEALLOCATE", deallocated_prepare=(name,))


def _prepared(name: str, session: Session) -> str:
    found = session.prepared.get(name)
    if found is None:
        raise UserError(f"Prepared statement not found: {name}", trino=TrinoError.NOT_FOUND)
    return found


def _inner(classify: Classify, sql: str, session: Session) -> Statement:
    """Classify the text inside PREPARE, EXECUTE or EXPLAIN, which can't be one of those again."""
    first = Reader(sql).peek()
    if first is not None and first.upper in ("PREPARE", "EXECUTE", "DEALLOCATE", "EXPLAIN"):
        raise UserError(f"{first.upper} cannot stand inside another statement.", Outcome.STATEMENT)
    return classify(sql, session)


def _execute(classify: Classify, reader: Reader, session: Session) -> Statement:
    immediate = reader.peek(1) if (first := reader.peek()) and first.upper == "IMMEDIATE" else None
    if immediate is not None and immediate.kind == "string":
        reader.take()
        inner = reader.string()
    else:
        inner = _prepared(reader.identifier(), session)
    if not reader.word("USING"):
        reader.end()
        return _bind(classify, inner, [], session)
    return _bind(classify, inner, _arguments(reader.rest()), session)


def _bind(classify: Classify, inner: str, arguments: list[exp.Expr], session: Session) -> Statement:
    statement = _inner(classify, inner, session)
    places = placeholders(inner) if isinstance(statement, Query) and statement.verbatim else []
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


def placeholders(sql: str) -> list[tuple[int, int]]:
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
    duck.scan(sql)
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


def _describe_input(classify: Classify, reader: Reader, session: Session) -> Statement:
    inner = _prepared(reader.identifier(), session)
    reader.end()
    count = len(placeholders(inner))
    if not count:
        return Effect(Effects(), INPUTS)
    limits = _limit_places(inner)
    values = [_ONE if i in limits else marker(i) for i in range(count)]
    statement = _bind(classify, inner, values, session)
    if not isinstance(statement, Query):
        return Effect(Effects(), INPUTS)
    return DescribeInput(statement.sql, count, dict.fromkeys(limits, "bigint"), statement.requires)


def _limit_places(sql: str) -> set[int]:
    """Which of the `?` follow LIMIT, OFFSET or FETCH: a number must stand there."""
    tokens = _tokenize(sql)
    words = ("LIMIT", "OFFSET", "FIRST", "NEXT")
    found, number = set(), 0
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.token_type == TokenType.PLACEHOLDER:
            if before is not None and before.text.upper() in words:
                found.add(number)
            number += 1
    return found


def _describe_output(classify: Classify, reader: Reader, session: Session) -> Statement:
    inner = _prepared(reader.identifier(), session)
    reader.end()
    nulls = [exp.Null() for _ in placeholders(inner)]
    statement = _bind(classify, inner, list(nulls), session)
    if isinstance(statement, Query):
        return DescribeOutput(statement.sql, statement.requires)
    return Effect(Effects(), DESCRIBED)


def _explain(classify: Classify, reader: Reader, session: Session) -> Statement:
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
    statement = classify(inner, session) if first and first.upper == "EXECUTE" else _inner(classify, inner, session)
    if not isinstance(statement, Query):
        if kind == "validate":
            return Effect(Effects(), (ResultColumn("Valid", BOOLEAN),), ((True,),))
        raise unsupported(reader, "EXPLAIN of a statement that is no query")
    return Explain(statement.sql, kind, analyze, json, statement.verbatim, statement.requires)


def _explain_options(reader: Reader) -> tuple[str, bool]:
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


def handlers(classify: Classify) -> dict[str, Handler]:
    """The statements of this module. classify: classifies the statement inside one of them."""
    return {
        "PREPARE": partial(_prepare, classify),
        "EXECUTE": partial(_execute, classify),
        "DEALLOCATE": _deallocate,
        "EXPLAIN": partial(_explain, classify),
        "DESCRIBE INPUT": partial(_describe_input, classify),
        "DESCRIBE OUTPUT": partial(_describe_output, classify),
    }
