"""Plans with places for values: a dashboard's question of another day, or another key, needs no new plan.

A literal that is compared with something (`= 5`, `>= DATE '2024-01-01'`, `BETWEEN 'a' AND 'b'`) is lifted out of the
statement. What is planned has a marker in its place, a literal of exactly its type that stands nowhere else; in the
plan the markers are then found again and exchanged for the values.

Proof sketch. The marked statement differs from the real one in the values of some literals alone, and its plan is
right for any values: rules look at literals only to see whether two are the same (`infer_equalities`), and the
markers are all different. To treat two literals as different which are equal in fact leaves chances unused, and no
rule concludes anything from two being different. Types are kept: a marker is as long as its text, as wide as its
integer, and a date where it stands for one. Sizes are guessed from the shapes of conditions, not from values. Every
statement of the differential tests is planned both ways (tests/gateway/test_plans.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from gateway.plan import FragmentPlan, Plan

__all__ = ["Lifted", "Template", "lift"]

MOST = 16
"""Literals of one statement that are lifted, at most."""
_COMPARE = {TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE}
_AFTER = {
    TokenType.AND, TokenType.OR, TokenType.R_PAREN, TokenType.GROUP_BY, TokenType.ORDER_BY, TokenType.LIMIT,
    TokenType.HAVING,
}  # fmt: skip
_INTEGER = re.compile("0|[1-9][0-9]{0,18}")
_TEXT = re.compile("[ -&(-\\[\\]-~]{3,60}")
"""Printable ASCII but ' and \\: nothing that is checked or written in another way than any other text."""
_DAY = re.compile("[12][0-9]{3}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Lifted:
    """A statement without some of its literals. pattern: of all statements that differ in those alone. values: what
    stood there, as written. text: the statement with markers in their places."""

    pattern: str
    values: tuple[str, ...]
    text: str
    markers: tuple[str, ...]


def lift(sql: str) -> Lifted | None:
    """Lift what is compared out of a statement; None if nothing can be."""
    if "\0" in sql:  # it stands around the kinds in a pattern
        return None
    try:
        tokens = Trino().tokenize(sql)
    except (TokenError, RecursionError):
        return None
    literals = Counter(t.text for t in tokens if t.token_type in (TokenType.NUMBER, TokenType.STRING))
    found = [
        (t, kind)
        for i, t in enumerate(tokens)
        # Where the same text stands twice, a rule may see it.
        if literals[t.text] == 1 and _is_compared(tokens, i) and (kind := _kind(tokens, i))
    ]
    if not 0 < len(found) <= MOST:
        return None
    pattern, text, at = "", "", 0
    markers = []
    for place, (token, kind) in enumerate(found):
        marker = _marker(place, kind, token.text)
        if marker in literals:
            return None
        markers.append(marker)
        # The text of a token stands between its quotes.
        quote = "'" if token.token_type == TokenType.STRING else ""
        pattern += f"{sql[at : token.start]}\0{kind}{len(marker) if kind == 'text' else ''}\0"
        text += f"{sql[at : token.start]}{quote}{marker}{quote}"
        at = token.end + 1
    return Lifted(pattern + sql[at:], tuple(t.text for t, _ in found), text + sql[at:], tuple(markers))


def _is_compared(tokens: Sequence[Token], place: int) -> bool:
    """Whether a literal is the whole right side of a comparison, or a bound of BETWEEN."""
    before = place - 1
    if before > 0 and tokens[before].token_type == TokenType.DATE:
        before -= 1
    if before < 1:
        return False
    kind = tokens[before].token_type
    after = tokens[place + 1].token_type if place + 1 < len(tokens) else TokenType.AND
    if kind == TokenType.BETWEEN:
        return after == TokenType.AND
    if kind == TokenType.AND:
        low = before - 2 if before > 2 and tokens[before - 2].token_type == TokenType.DATE else before - 1
        return after in _AFTER and tokens[low - 1].token_type == TokenType.BETWEEN
    return kind in _COMPARE and after in _AFTER


def _kind(tokens: Sequence[Token], place: int) -> str:
    """What a literal is, so that its marker has its type: integer, bigint, day, text; "" if it is not lifted."""
    token = tokens[place]
    if token.token_type == TokenType.NUMBER and _INTEGER.fullmatch(token.text):
        return "integer" if int(token.text) < 1 << 31 else "bigint" if int(token.text) < 1 << 63 else ""
    if token.token_type != TokenType.STRING:
        return ""
    if tokens[place - 1].token_type == TokenType.DATE:
        return "day" if _is_day(token.text) else ""
    return "text" if _TEXT.fullmatch(token.text) and token.end - token.start == len(token.text) + 1 else ""


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _marker(place: int, kind: str, text: str) -> str:
    if kind == "integer":
        return str(1_907_310_211 + place)
    if kind == "bigint":
        return str(7_907_310_211_345_678_211 + place)
    if kind == "day":
        return f"{1601 + place}-07-13"
    return f"~{chr(ord('a') + place)}".ljust(len(text), "~")


class Template:
    """The plan of a marked statement. fill(values) is the plan of the statement that holds them."""

    def __init__(self, plan: Plan, lifted: Lifted) -> None:
        self._plan = plan
        self._markers = {marker: i for i, marker in enumerate(lifted.markers)}
        self._texts = [self._cut(f.sql) for f in plan.fragments]
        self._key_texts = [self._cut(f.keys.sql) if f.keys is not None else () for f in plan.fragments]
        self._key_queries = [f.keys is not None and self._holds(f.keys.query) for f in plan.fragments]
        self._merges = plan.merge is not None and self._holds(plan.merge)

    def fill(self, values: Sequence[str]) -> Plan:
        """The plan with these values, in the order in which they were lifted."""
        fragments = tuple(self._fragment(i, f, values) for i, f in enumerate(self._plan.fragments))
        merge = self._plan.merge
        if merge is not None and self._merges:
            merge = _exchanged(merge, self._known(values))
        return replace(self._plan, fragments=fragments, merge=merge)

    def _fragment(self, place: int, fragment: FragmentPlan, values: Sequence[str]) -> FragmentPlan:
        keys = fragment.keys
        if keys is not None:
            query = _exchanged(keys.query, self._known(values)) if self._key_queries[place] else keys.query
            keys = replace(keys, query=query, sql=_joined(self._key_texts[place], values))
        # What the planner made it from holds markers, and nobody asks for it any more.
        return replace(fragment, sql=_joined(self._texts[place], values), keys=keys, tree=exp.Select())

    def _known(self, values: Sequence[str]) -> dict[str, str]:
        return {marker: values[i] for marker, i in self._markers.items()}

    def _holds(self, tree: exp.Expr) -> bool:
        return any(literal.name in self._markers for literal in tree.find_all(exp.Literal))

    def _cut(self, text: str) -> tuple[str | int, ...]:
        """A text in pieces, the number of a value where its marker stood."""
        pieces: list[str | int] = []
        at = 0
        for token in self._marked(text):
            quote = 1 if token.token_type == TokenType.STRING else 0
            pieces += [text[at : token.start + quote], self._markers[token.text]]
            at = token.end + 1 - quote
        return (*pieces, text[at:])

    def _marked(self, text: str) -> Iterator[Token]:
        for token in Trino().tokenize(text):
            if token.token_type in (TokenType.NUMBER, TokenType.STRING) and token.text in self._markers:
                yield token


def _joined(pieces: Sequence[str | int], values: Sequence[str]) -> str:
    return "".join(p if isinstance(p, str) else values[p] for p in pieces)


_Query = TypeVar("_Query", bound=exp.Query)


def _exchanged(tree: _Query, known: Mapping[str, str]) -> _Query:
    tree = tree.copy()
    for literal in tree.find_all(exp.Literal):
        if literal.name in known:
            literal.set("this", known[literal.name])
    return tree
