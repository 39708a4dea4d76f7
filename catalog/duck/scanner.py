"""Limits on a statement's text, checked before any parser sees it.

sqlglot recurses (a RecursionError at some hundred levels) and backtracks: twenty nested `ARRAY[` or a
row of JOINs without conditions take exponential time. So sizes, characters, nesting and those two shapes
are counted here, on the token list, which is made in linear time. Both sides of the trust line use this.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from itertools import pairwise

from sqlglot.dialects.trino import Trino
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from catalog.duck.functions import FUNCTIONS, unknown_function
from catalog.errors import Outcome, UserError

__all__ = ["MAX_BYTES", "MAX_NESTING", "MAX_TOKENS", "WORDS", "check_functions", "scan"]

MAX_BYTES = 256 * 1024
MAX_TOKENS = 20_000
MAX_NESTING = 100
MAX_BRACKETS = 6
MAX_BRACKET_PAIRS = 500
MAX_OPEN_JOINS = 6

_ODD_SPACE = {0xA0, 0x3000, 0xFEFF, *range(0x2000, 0x2010), *range(0x2028, 0x2030)}
_QUOTED = (TokenType.STRING, TokenType.UNICODE_STRING, TokenType.IDENTIFIER)

# Words that may stand before "(" and call nothing.
_WORD_LIST = (
    "select from where and or not in exists on using by having when then else case as over filter group "
    "any all some between like values union except intersect distinct join sets rollup cube limit is "
    "escape offset grouping varchar char decimal timestamp time array unnest with partition order cross lateral "
    "row rows range groups interval end null true false desc asc first last nulls outer left right full "
    "inner both leading trailing"
)
WORDS = frozenset(_WORD_LIST.split())


def scan(text: str) -> list[Token]:
    """The tokens of one statement. Raises TOO_LARGE for a limit, SYNTAX for characters that no SQL needs."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _large(f"more than {MAX_BYTES // 1024} KiB")
    _characters(text)
    try:
        tokens = Trino().tokenize(text)
    except (TokenError, RecursionError) as bad:
        raise UserError("The statement cannot be read.", Outcome.SYNTAX, rule="text") from bad
    _blanks(text, tokens)
    if len(tokens) > MAX_TOKENS:
        raise _large(f"more than {MAX_TOKENS} tokens")
    _nesting(tokens)
    _numbers(text, tokens)
    return tokens


def _numbers(text: str, tokens: list[Token]) -> None:
    """1_000, 0x1F, 0b1 and 0o7 are numbers for Trino; the parser reads 1 AS _000, and bytes."""
    for token, following in pairwise(tokens):
        glued = following.start == token.end + 1 and following.token_type == TokenType.VAR
        if token.token_type == TokenType.NUMBER and glued:
            raise UserError("Write numbers in plain digits.", Outcome.NODE, rule="closed list")
    if any(t.token_type == TokenType.HEX_STRING and text[t.start : t.start + 2].lower() == "0x" for t in tokens):
        raise UserError("Write numbers in plain digits.", Outcome.NODE, rule="closed list")


def check_functions(tokens: list[Token], aliases: Collection[str] = (), extra: Collection[str] = ()) -> None:
    """Every name before `(` is a function of the closed list, by Trino's own name, or calls nothing.

    The parser alone does not know: it reads `len(x)`, `ifnull(x, y)` and hundreds of other names into the
    same nodes. aliases: names of tables and CTEs, which may have a column list. extra: more functions.
    """
    for token, following in pairwise(tokens):
        if following.token_type != TokenType.L_PAREN or not token.text:
            continue
        name = token.text.lower()
        if token.token_type == TokenType.IDENTIFIER:
            if name not in aliases:
                raise unknown_function(name)
        elif (name[0].isalpha() or name[0] == "_") and not (
            name in FUNCTIONS or WORDS.issuperset(name.split()) or name in aliases or name in extra
        ):
            if token.token_type in (TokenType.STRING, TokenType.UNICODE_STRING):
                continue
            raise unknown_function(name)


def _characters(text: str) -> None:
    if not unicodedata.is_normalized("NFC", text):
        raise UserError("The statement is not in Unicode's form NFC.", Outcome.SYNTAX, rule="text")
    for c in text:
        code = ord(c)
        if (code < 0x20 and c not in "\t\n\r") or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
            raise UserError("The statement holds a control character.", Outcome.SYNTAX, rule="text")


def _blanks(text: str, tokens: list[Token]) -> None:
    """No unusual blank outside quotes. What is quoted the tokens say: a quote in a comment opens nothing."""
    at = 0
    for token in tokens:
        if token.token_type in _QUOTED:
            _no_odd_blank(text[at : token.start])
            at = token.end + 1
    _no_odd_blank(text[at:])


def _no_odd_blank(text: str) -> None:
    if any(ord(c) in _ODD_SPACE for c in text):
        raise UserError("The statement holds an unusual blank outside a text.", Outcome.SYNTAX, rule="text")


def _nesting(tokens: list[Token]) -> None:
    depth = brackets = pairs = joins = 0
    before: TokenType | None = None
    for token in tokens:
        kind = token.token_type
        if kind in (TokenType.L_PAREN, TokenType.L_BRACE, TokenType.CASE):
            depth += 1
        elif kind in (TokenType.R_PAREN, TokenType.R_BRACE, TokenType.END):
            depth -= 1
        elif kind == TokenType.L_BRACKET:
            brackets += 1
            pairs += 1
        elif kind == TokenType.R_BRACKET:
            brackets -= 1
        elif kind == TokenType.JOIN and before not in (TokenType.CROSS, TokenType.NATURAL):
            joins += 1
        elif kind in (TokenType.ON, TokenType.USING):
            joins = max(0, joins - 1)
        before = kind
        if depth > MAX_NESTING:
            raise _large(f"nested more than {MAX_NESTING} deep")
        if brackets > MAX_BRACKETS or pairs > MAX_BRACKET_PAIRS:
            raise _large("more brackets than any query needs")
        if joins > MAX_OPEN_JOINS:
            raise _large(f"more than {MAX_OPEN_JOINS} joins in a row without a condition")
    _prefixes(tokens)


def _prefixes(tokens: list[Token]) -> None:
    """NOT NOT NOT .. and - - - .. recurse once per word."""
    run = 0
    for token in tokens:
        run = run + 1 if token.token_type in (TokenType.NOT, TokenType.DASH, TokenType.TILDE, TokenType.PLUS) else 0
        if run > MAX_NESTING:
            raise _large(f"nested more than {MAX_NESTING} deep")


def _large(what: str) -> UserError:
    return UserError(f"The statement is too large: {what}.", Outcome.TOO_LARGE, rule="limits")
