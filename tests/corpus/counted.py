"""Which functions and operators a statement of the corpus calls, and in which of three ways.

    ordinary   a call over plain values
    null       a NULL among the arguments: a literal one, or a column of the corpus' tables, which all hold one
    edge       a statement below a line `-- edge`, or one that Trino refuses for its only call: empty, extreme,
               beyond ASCII, of another zone, of a wrong type or range

Calls are counted by the name that is written: `ceil` and `ceiling` each need their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from tests.corpus.fixtures import TOPICS, Answer, Statement, answers, statements
from tests.corpus.tables import CELL, SALE

__all__ = ["WAYS", "ways"]

WAYS = ("ordinary", "null", "edge")
_OPEN = (TokenType.L_PAREN, TokenType.L_BRACKET)
_CLOSE = (TokenType.R_PAREN, TokenType.R_BRACKET)
_COLUMNS = frozenset(CELL) | frozenset(SALE)
_BARE = frozenset(["current_date", "current_timestamp", "localtimestamp", "current_time", "localtime"])
"""Functions that are written without parentheses."""


def ways(functions: Collection[str], operators: dict[str, tuple[type[exp.Expr], ...]]) -> dict[str, set[str]]:
    """Each name -> the ways in which the corpus holds it."""
    found: dict[str, set[str]] = {name: set() for name in (*functions, *operators)}
    for topic in TOPICS:
        recorded = answers(topic)
        for statement in statements(topic):
            if not statement.refused and not statement.differs:
                for name, way in _counted(statement, recorded[statement.sql], found.keys(), operators):
                    found[name].add(way)
    return found


def _counted(
    statement: Statement, answer: Answer, names: Collection[str], operators: dict[str, tuple[type[exp.Expr], ...]]
) -> Iterator[tuple[str, str]]:
    try:
        text = _Text(statement.sql)
    except TokenError:  # a literal that Trino alone reads
        return
    found = [(name, text.is_null(given)) for name, given in text.calls() if name in names]
    found += [(name, text.is_null(given)) for name, given in _operations(statement.sql, operators)]
    for name, is_null in found[:1] if "error" in answer else found:
        yield name, "edge" if statement.edge or "error" in answer else "null" if is_null else "ordinary"
        if is_null and "error" not in answer:
            yield name, "null"


class _Text:
    """The tokens of one statement."""

    def __init__(self, sql: str) -> None:
        self.tokens = Trino().tokenize(sql)
        words = {t.text.lower() for t in self.tokens}
        # The tables hold a row of NULLs, which a condition may leave out.
        self.columns = _COLUMNS if "main" in words and "where" not in words else frozenset()
        self.listed = "values" in words and any(t.token_type == TokenType.NULL for t in self.tokens)

    def calls(self) -> Iterator[tuple[str, Sequence[Token]]]:
        """Names and the tokens of their arguments, in the order of the text."""
        for i, token in enumerate(self.tokens[:-1]):
            if self.tokens[i + 1].token_type in _OPEN:
                yield token.text.lower(), self.tokens[i + 2 : self._end(i + 1)]
            elif token.text.lower() in _BARE:
                yield token.text.lower(), ()
        if self.tokens and self.tokens[-1].text.lower() in _BARE:
            yield self.tokens[-1].text.lower(), ()

    def _end(self, start: int) -> int:
        """The place of the parenthesis that closes the one at `start`."""
        depth = 0
        for i, token in enumerate(self.tokens[start:], start):
            depth += (token.token_type in _OPEN) - (token.token_type in _CLOSE)
            if depth == 0:
                return i
        return len(self.tokens)

    def is_null(self, given: Sequence[Token]) -> bool:
        """Whether a NULL is among the arguments; of a call without any, whether one is in the statement."""
        if not given or self.listed:
            return any(t.token_type == TokenType.NULL for t in self.tokens)
        return any(t.token_type == TokenType.NULL or t.text.lower() in self.columns for t in given)


def _operations(sql: str, operators: dict[str, tuple[type[exp.Expr], ...]]) -> Iterator[tuple[str, Sequence[Token]]]:
    """Operators and the tokens of their operands, from the outermost in."""
    try:
        tree = sqlglot.parse_one(sql, dialect="trino")
    except SqlglotError:
        return
    for node in tree.walk():
        for name, classes in operators.items():
            if type(node) in classes:
                yield name, Trino().tokenize((node.this if isinstance(node, exp.Is) else node).sql("trino"))
