"""Reads utility statements token by token, and words every syntax error as Trino does, but shorter.

sqlglot takes most of these statements for opaque commands, hence a scanner of our own: words, quoted
names, texts, numbers, signs. Queries are never parsed here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

from sqlglot.errors import ParseError, SqlglotError, TokenError

from catalog.errors import Location, Outcome, UserError
from gateway.execution import Session
from gateway.statements.kinds import NameParts, Statement

__all__ = ["Handler", "Reader", "Token", "first_word", "location", "scan", "syntax_error", "unsupported"]


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
class Token:
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


def scan(sql: str) -> list[Token]:
    """The tokens of a text, without blanks and comments."""
    return [
        Token(found.lastgroup or "", found.group(), found.start())
        for found in _TOKEN.finditer(sql)
        if found.lastgroup != "skip"
    ]


class Reader:
    """Reads a utility statement token by token. One text, one statement: a `;` is a syntax error."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = scan(sql)
        self.index = 0
        for token in self.tokens:
            if token.text == ";":
                raise self.error("<EOF>", at=token)
            if token.text in ("'", '"'):
                raise self.error("a closing quote", at=token)

    def peek(self, ahead: int = 0) -> Token | None:
        at = self.index + ahead
        return self.tokens[at] if at < len(self.tokens) else None

    def take(self) -> Token:
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

    def error(self, *expecting: str, at: Token | None = None) -> UserError:
        """A syntax error at the next token (or at `at`), in Trino's words but short."""
        token = at or self.peek()
        wanted = ", ".join(_shown(e) for e in expecting)
        if token is None:
            return _syntax(self.sql, len(self.sql.rstrip()), "<EOF>", wanted)
        near = difflib.get_close_matches(token.upper, expecting, 1, 0.6) if token.upper else []
        return _syntax(self.sql, token.start, token.text, wanted, near[0] if near else "")


def _shown(expected: str) -> str:
    return f"'{expected}'" if expected.isupper() else expected


def location(sql: str, offset: int) -> Location:
    """Line and column of a character, both from 1."""
    before = sql[:offset]
    return Location(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def _syntax(sql: str, offset: int, text: str, wanted: str, near: str = "") -> UserError:
    hint = f"Did you mean {near}?" if near else f"Expecting: {wanted}."
    shown = text if len(text) <= 60 else text[:57] + "..."
    quoted = shown if shown == "<EOF>" else f"'{shown}'"
    return UserError(f"mismatched input {quoted}.", Outcome.SYNTAX, hint=hint, location=location(sql, offset))


def first_word(sql: str) -> str:
    """The first word of a statement in upper case, "" if there is none."""
    found = next((t for t in _TOKEN.finditer(sql) if t.lastgroup != "skip"), None)
    return found.group().upper() if found and found.lastgroup == "word" else ""


def unsupported(reader: Reader, what: str, hint: str = "") -> UserError:
    """NOT_SUPPORTED for a statement, or a form of one, that atoll doesn't run."""
    return UserError(
        f"{what} is not supported.",
        Outcome.STATEMENT,
        rule="statement kinds",
        hint=hint,
        location=location(reader.sql, reader.tokens[0].start),
    )


Handler = Callable[[Reader, Session], Statement]


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
            location=location(sql, token.start),
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
    bad = next((t for t in scan(sql) if t.text in ("'", '"', "/")), None)
    return location(sql, bad.start if bad else 0)


def _mistyped_clause(sql: str) -> tuple[Token, str] | None:
    """A bare word that nearly is a clause (`FORM`, `WHRE`) and stands where a clause could."""
    tokens = scan(sql)
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
