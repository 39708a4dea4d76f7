"""Plans with places for values: a dashboard's question of another day, or another key, needs no new plan.

A literal that is compared with something (`= 5`, `>= DATE '2024-01-01'`, `BETWEEN 'a' AND 'b'`) is lifted out of the
statement. What is planned has a marker in its place, a literal of exactly its type that stands nowhere else; in the
plan the markers are then found again and exchanged for the values. A long list (`IN (4, 8, ..)`) is lifted as one
value, about as many markers stand for it, and it is exchanged as a whole, or the plan is not used again (`Torn`).

Proof sketch. The marked statement differs from the real one in the values of some literals alone, and its plan is
right for any values: rules look at literals only to see whether two are the same (`infer_equalities`), and the
markers are all different. To treat two literals as different which are equal in fact leaves chances unused, and no
rule concludes anything from two being different. Types are kept: a marker is as long as its text, as wide as its
integer, and a date where it stands for one. Sizes are guessed from the shapes of conditions, not from values. Every
statement of the differential tests is planned both ways (tests/gateway/test_plans.py).
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from typing import TypeVar

from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from gateway.merge.shapes import Shapes
from gateway.plan import FragmentPlan, Plan

__all__ = ["Lifted", "Template", "Torn", "lift"]

MOST = 16
"""Literals and lists of one statement that are lifted, at most."""
LONG = 8
"""Members of a list that is lifted, at least. So many markers, or a power of it, stand for it."""
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
    stood there, as written; of a list its members, quoted, with commas. text: the statement with markers in their
    places. markers: of each value one, of a list several."""

    pattern: str
    values: tuple[str, ...]
    text: str
    markers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Place:
    """What is lifted from start to end. kind: with all that its markers depend on. count: of markers, 0: no list."""

    start: int
    end: int
    value: str
    kind: str
    width: int = 0
    count: int = 0

    def markers(self, number: int) -> tuple[str, ...]:
        members = range(self.count) if self.count else [None]
        return tuple(_marker(number, self.kind, self.width, member) for member in members)


def lift(sql: str) -> Lifted | None:
    """Lift what is compared out of a statement; None if nothing can be."""
    if "\0" in sql:  # it stands around the kinds in a pattern
        return None
    try:
        tokens = Trino().tokenize(sql)
    except (TokenError, RecursionError):
        return None
    literals = Counter(t.text for t in tokens if t.token_type in (TokenType.NUMBER, TokenType.STRING))
    found = list(_places(sql, tokens, literals))
    if not 0 < len(found) <= MOST:
        return None
    pattern, text, at = "", "", 0
    markers = []
    for number, place in enumerate(found):
        markers.append(place.markers(number))
        if any(marker in literals for marker in markers[-1]):
            return None
        pattern += f"{sql[at : place.start]}\0{place.kind} {place.width} {place.count}\0"
        text += sql[at : place.start] + (_listed(place.kind, markers[-1]) if place.count else markers[-1][0])
        at = place.end
    return Lifted(pattern + sql[at:], tuple(p.value for p in found), text + sql[at:], tuple(markers))


def _places(sql: str, tokens: Sequence[Token], literals: Mapping[str, int]) -> Iterator[_Place]:
    """What is lifted, in order. Where the same text stands twice, a rule may see it."""
    for i, token in enumerate(tokens):
        if token.token_type == TokenType.IN:
            found = _list(sql, tokens, i + 1, literals)
            if found is not None:
                yield found
        if literals.get(token.text) == 1 and _is_compared(tokens, i) and (kind := _kind(tokens, i)):
            quote = 1 if token.token_type == TokenType.STRING else 0  # a token's text stands between its quotes
            width = len(token.text) if kind == "text" else 0
            yield _Place(token.start + quote, token.end + 1 - quote, token.text, kind, width)


def _list(sql: str, tokens: Sequence[Token], at: int, literals: Mapping[str, int]) -> _Place | None:
    """The members of a list that begins with a bracket at `at`: numbers of one type or texts of one length."""
    members: list[Token] = []
    kinds = set[tuple[str, int]]()
    while at + 2 < len(tokens):
        separator, token = tokens[at], tokens[at + 1]
        if separator.token_type != (TokenType.COMMA if members else TokenType.L_PAREN):
            break
        kind = _kind(tokens, at + 1)
        if kind not in ("integer", "bigint", "text") or literals[token.text] != 1:
            return None
        kinds.add((kind, len(token.text) if kind == "text" else 0))
        members.append(token)
        at += 2
    if len(members) < LONG or len(kinds) > 1 or tokens[at].token_type != TokenType.R_PAREN:
        return None
    (kind, width), count = kinds.pop(), LONG
    while count * LONG <= len(members):
        count *= LONG
    if kind == "text" and width < NUMBERED:
        return None
    value = ", ".join(sql[t.start : t.end + 1] for t in members)
    return _Place(members[0].start, members[-1].end + 1, value, kind, width, count)


def _listed(kind: str, markers: Sequence[str]) -> str:
    return ", ".join(f"'{m}'" if kind == "text" else m for m in markers)


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


_Query = TypeVar("_Query", bound=exp.Query)
NUMBERED = 6
"""Characters of a text's marker that has a number."""


def _marker(place: int, kind: str, width: int, number: int | None = None) -> str:
    """number: of a member of a list."""
    step = place if number is None else 700_000 + 1_000 * place + number
    if kind == "integer":
        return str(1_907_310_211 + step)
    if kind == "bigint":
        return str(7_907_310_211_345_678_211 + step)
    if kind == "day":
        return f"{1601 + place}-07-13"
    return f"~{chr(ord('a') + place)}{'' if number is None else f'{number:03}'}".ljust(width, "~")


class Torn(ValueError):
    """A list is no longer in one piece."""


class Template:
    """The plan of a marked statement. fill(values) is the plan of the statement that holds them."""

    def __init__(self, plan: Plan, lifted: Lifted) -> None:
        """Raises Torn for a plan that took a list apart."""
        self._plan = plan
        self._groups = lifted.markers
        self._markers = {markers[0]: i for i, markers in enumerate(lifted.markers)}
        self._members = frozenset(m for markers in lifted.markers for m in markers[1:])
        self._texts = [self._cut(f.sql) for f in plan.fragments]
        self._key_texts = [
            {places: self._cut(text) for places, text in f.keys.texts.items()} if f.keys is not None else {}
            for f in plan.fragments
        ]
        self._sets = [
            [self._holds(known.query) for known in f.keys.sets] if f.keys is not None else [] for f in plan.fragments
        ]
        self._merges = plan.merge is not None and self._holds(plan.merge)
        self._first = Template(plan.first.plan, lifted) if plan.first is not None else None
        self._keyed = Template(plan.keyed, lifted) if plan.keyed is not None else None

    def fill(self, values: Sequence[str]) -> Plan:
        """The plan with these values, in the order in which they were lifted."""
        fragments = tuple(self._fragment(i, f, values) for i, f in enumerate(self._plan.fragments))
        merge = self._plan.merge
        if merge is not None and self._merges:
            merge = self._exchanged(merge, values)
        first = self._plan.first
        if first is not None and self._first is not None:
            first = replace(first, plan=self._first.fill(values))
        keyed = self._keyed.fill(values) if self._keyed is not None else None
        shapes = Shapes() if self._merges else self._plan.shapes
        return replace(self._plan, fragments=fragments, merge=merge, first=first, keyed=keyed, shapes=shapes)

    def _fragment(self, place: int, fragment: FragmentPlan, values: Sequence[str]) -> FragmentPlan:
        keys = fragment.keys
        if keys is not None:
            texts = {places: _joined(pieces, values) for places, pieces in self._key_texts[place].items()}
            sets = zip(keys.sets, self._sets[place], strict=True)
            filled = tuple(replace(s, query=self._exchanged(s.query, values)) if holds else s for s, holds in sets)
            keys = replace(keys, sets=filled, texts=texts)
        # What the planner made it from holds markers, and nobody asks for it any more.
        return replace(fragment, sql=_joined(self._texts[place], values), keys=keys, tree=exp.Select())

    def _exchanged(self, tree: _Query, values: Sequence[str]) -> _Query:
        tree = tree.copy()
        for literal in list(tree.find_all(exp.Literal)):
            place = self._markers.get(literal.name)
            if place is None:
                continue
            if len(self._groups[place]) == 1:
                literal.set("this", values[place])
            elif isinstance(literal.parent, exp.In):
                literal.parent.set("expressions", list(_literals(values[place])))
        return tree

    def _holds(self, tree: exp.Expr) -> bool:
        """Whether there is a marker in it. Raises Torn if one of a list stands without the others."""
        named = [literal for literal in tree.find_all(exp.Literal) if literal.name in self._markers]
        for literal in named:
            markers = self._groups[self._markers[literal.name]]
            around = literal.parent.expressions if isinstance(literal.parent, exp.In) else []
            if len(markers) > 1 and tuple(e.name for e in around) != markers:
                raise Torn
        if not named and any(literal.name in self._members for literal in tree.find_all(exp.Literal)):
            raise Torn
        return bool(named)

    def _cut(self, text: str) -> tuple[str | int, ...]:
        """A text in pieces, the number of a value where its marker stood."""
        pieces: list[str | int] = []
        at = 0
        tokens = self._marked(text)
        for token in tokens:
            if token.text in self._members:
                raise Torn
            place = self._markers[token.text]
            markers, quote = self._groups[place], 1 if token.token_type == TokenType.STRING else 0
            if len(markers) == 1:
                pieces += [text[at : token.start + quote], place]
                at = token.end + 1 - quote
                continue
            whole = _listed("text" if quote else "", markers)
            if text[token.start : token.start + len(whole)] != whole:
                raise Torn
            pieces += [text[at : token.start], place]
            at = token.start + len(whole)
            deque(islice(tokens, len(markers) - 1), 0)
        return (*pieces, text[at:])

    def _marked(self, text: str) -> Iterator[Token]:
        for token in Trino().tokenize(text):
            known = token.text in self._markers or token.text in self._members
            if token.token_type in (TokenType.NUMBER, TokenType.STRING) and known:
                yield token


def _literals(listed: str) -> Iterator[exp.Literal]:
    """The members of a lifted list."""
    if listed.startswith("'"):
        yield from map(exp.Literal.string, listed[1:-1].split("', '"))
    else:
        yield from map(exp.Literal.number, listed.split(", "))


def _joined(pieces: Sequence[str | int], values: Sequence[str]) -> str:
    return "".join(p if isinstance(p, str) else values[p] for p in pieces)
