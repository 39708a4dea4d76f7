"""Row plans that are kept: a question that is asked again is decided anew, and not admitted and planned anew.

Dashboards and look-ups send the same fragment with other values. Literals that are compared with a column
(`t.id = 5`, `t.day >= CAST('2024-01-01' AS DATE)`, BETWEEN, `t.id IN (5, 9, 17)`) are lifted out of its text, and what
is left is the pattern by which the plan is kept, for one user and one purpose under one policy: a list of one more is
another pattern. Of every other text the whole of it is the pattern.

    first time    planned; the pattern has been seen
    second time   planned, and once more with markers in the places of the values, no keys and at another moment. Where
                  the markers stand in that plan are its holes. Filled with the values, it must be the plan just made
    from then on  decisions first: each relation that the plan was made from must be decided as it was then. Then the
                  holes are filled

Why what is filled is the plan that planning would make. Planning is a function of the text, the governed relations, the
sources' capabilities, the types of the keys, the keys as values to be passed on, the owner's views and the moment. A
governed relation is a function of policy and decision, and views of the policy: a `Plans` belongs to one policy.
Decisions, capabilities and types of keys are compared. What depends on the moment differs in the second plan, and is
not kept. That leaves the values. Tokens are the same but for their text, since a marker is a token where the value is
one, of the same kind: an integer up to 15 digits, of 32 bits or more; a day that there is; a text of the same length of
printable ASCII without quotes. A value is the other side of a bare column, or a member of a list there; no other
literal of the text is equal to it, nor what is computed of literals; and that column has no mask, whose inverse image
could be anything. Of such a literal the planner asks its type, writes it into the residual query and passes it on as a
`Predicate`. Of a list it asks the same of each member, and how many there are (a long NOT IN stays above, `lower`): it
sorts none and leaves none out. Where it asks whether two literals are equal, as of whole conditions, lifted ones are
not, whichever they are: each stands once. A list with a value twice has that value in its pattern. What a source makes
of the members it makes of the plan, at each scan anew. Wherever else a marker, or a part of it, is found, nothing is
kept; and the second plan is held against one with other values before it is ever used (tests/agent/test_kept.py holds
it against many).

A plan holds no rows, no keys and no trees, and nothing in it is changed: what is filled is a copy. Its size is bounded,
however many values there are: `LONGEST`, `MOST` and `SCANS`. With 512 of them it takes 0.1 MB, of NOT IN 0.4.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from operator import add
from typing import Any, cast

import pyarrow as pa
from cachetools import LRUCache
from sqlglot import exp

from catalog.errors import CityError
from catalog.identity import Principal
from catalog.masks import Mask
from catalog.policy import Department
from catalog.types import TrinoType
from connectors.agent.authorise import Access, Governed
from connectors.agent.plan import RowPlan, fitting
from connectors.base import Capabilities

__all__ = ["Lifted", "Planned", "Plans", "Seen", "Spelling", "lift", "spelling"]

PLANS = 500
LONGEST = 8_000
"""Characters of a text whose plan is kept, and of the residual query a quarter."""
MOST = 512
"""Values of one text that are lifted, at most."""
SCANS = 32
"""Of a plan that is kept: a text of a few thousand characters may name a relation hundreds of times."""
ANOTHER_MOMENT = timedelta(days=1_037, hours=3, minutes=7, seconds=11, milliseconds=123)
_TEXT = re.compile(r"[!-&(-\[\]-~][ -&(-\[\]-~]{1,58}[!-&(-\[\]-~]")
"""Printable ASCII but ' and \\, no blank at either end."""
_DAY = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}")
_LITERAL = r"(?:(?:CAST\(|DATE )?'[^']*'(?: AS DATE\))?|-?[0-9][0-9.]*|NULL)"
_PLACE = re.compile(
    r"(?:(?<=WHERE )|(?<=AND )|(?<=OR )|(?<=ON )|(?<=NOT )|(?<=\())(?:[a-z][a-z0-9_]*\.)?(?P<column>[a-z][a-z0-9_]*) "
    rf"(?P<other>(?:=|<>|<|<=|>|>=) {_LITERAL}|BETWEEN {_LITERAL} AND {_LITERAL}"
    rf"|(?:NOT )?IN \({_LITERAL}(?:, {_LITERAL})*+\))"
    r"(?=\)|\Z| AND | OR | GROUP BY | ORDER BY | LIMIT )"
)
"""A bare column and what it is compared with."""
_VALUE = re.compile(r"(CAST\(|DATE )?'([^']*)'( AS DATE\))?|(?<![-\w.])(0|[1-9][0-9]{0,14})(?![\w.])")
"""One of that: what a day is written with, a text; or a number."""
_EVERY = re.compile(r"'([^']*)'|(?<![\w.])(?:(0|[1-9][0-9]*)(?![\w.]|\)*\s*[-+*]\s*\(*[0-9])|(\.?[0-9]))")
"""Every literal of a text: a string, a whole number, or how another number begins: 5.0, 05 and 2 + 3 are equal to 5."""
_MARKER = re.compile(r"190731[0-9]{4}|79073102113[0-9]{4}|16[01][0-9]-[0-9]{2}-[0-9]{2}|~[a-z]{2}~*")
"""A marker, or what was made of one: none is another's neighbour."""


# ---------------------------------------------------------------- literals out of a text


@dataclass(frozen=True)
class Lifted:
    """A fragment's text without some of its literals. pattern: of all texts that differ in those alone. values: what
    stood there. columns: what the values are compared with."""

    pattern: str
    values: tuple[str, ...] = ()
    columns: frozenset[str] = frozenset()

    def marked(self) -> tuple[str, tuple[str, ...]]:
        """The text with markers in the places of the values, and the markers."""
        first, *parts = self.pattern.split("\0")
        markers = tuple(_marker(place, *hole.split()) for place, hole in enumerate(parts[::2]))
        return first + "".join(map(add, markers, parts[1::2])), markers


@lru_cache(PLANS)
def lift(sql: str) -> Lifted:
    """Lift what is compared with a column out of a text; its pattern is the whole of it if nothing can be."""
    # In a comment nothing is a literal, and a value might end it.
    if not sql.isascii() or "--" in sql or "/*" in sql or _MARKER.search(sql):
        return Lifted(sql)
    every = _EVERY.findall(sql)
    count = Counter([text or number for text, number, _ in every])
    plain = not any(other for *_, other in every)
    pieces, at = list[str](), 0
    values, columns = list[str](), set[str]()
    for found in _PLACE.finditer(sql):
        known = len(values)
        for one in _VALUE.finditer(sql, *found.span("other")):
            typed, text, cast, number = one.groups()
            value = text or number
            if count[value] > 1:
                continue
            kind = _kind_of_text(typed, text, cast) if number is None else _kind_of_number(number) if plain else ""
            if not kind or len(values) == MOST:
                continue
            start = one.start(2 if number is None else 4)
            pieces += (sql[at:start], kind)
            at = start + len(value)
            values.append(value)
        if len(values) > known:
            columns.add(found["column"])
    return Lifted("\0".join((*pieces, sql[at:])), tuple(values), frozenset(columns))


def _kind_of_number(number: str) -> str:
    return "integer" if len(number) < 10 or int(number) < 1 << 31 else "bigint"


def _kind_of_text(typed: str | None, text: str, cast: str | None) -> str:
    """day, text and its length; "" if it is not lifted."""
    if (typed == "CAST(") is not (cast is not None):
        return ""
    if typed is None:
        return f"text {len(text)}" if _TEXT.fullmatch(text) else ""
    return "day" if _is_day(text) else ""


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _marker(place: int, kind: str, width: str = "") -> str:
    """A literal of the kind that stands nowhere else."""
    if kind == "integer":
        return str(1_907_310_211 + 7 * place)
    if kind == "bigint":
        return str(790_731_021_130_211 + 7 * place)
    if kind == "day":
        return str(date(1601, 7, 13) + timedelta(7 * place))
    letters = (chr(ord("a") + part) for part in divmod(place, 26))
    return f"~{''.join(letters)}".ljust(int(width), "~")


# ---------------------------------------------------------------- what the ledger tells of a text


@dataclass(frozen=True)
class Spelling:
    """What a fragment says. pattern: its canonical text, `?` for each literal. literals: in the tree's order."""

    pattern: str
    literals: tuple[str, ...]


def spelling(tree: exp.Expr) -> Spelling:
    """Of an admitted tree."""
    bare = tree.copy()
    literals = list(bare.find_all(exp.Literal))
    for literal in literals:
        literal.replace(exp.Placeholder())
    return Spelling(bare.sql("trino", copy=False), tuple(str(n.this) for n in literals))


# ---------------------------------------------------------------- plans with holes


class _Torn(ValueError):
    """The plan has a value where nobody looks for one."""


@dataclass(frozen=True)
class _Filling:
    """values: by their place. keys: by set. query_id: of the fragment."""

    values: Sequence[str]
    keys: Mapping[str, pa.Array]
    query_id: str


@dataclass(frozen=True, slots=True)
class _Value:
    """A hole that one value fills. read: the value out of its text."""

    read: Callable[[str], Any]
    place: int

    def __call__(self, filling: _Filling) -> Any:
        return self.read(filling.values[self.place])


@dataclass(frozen=True, slots=True)
class _Values:
    """A tuple of nothing but values, as a list's are: smaller than so many holes, and sooner filled."""

    read: Callable[[str], Any]
    places: tuple[int, ...]

    def __call__(self, filling: _Filling) -> Any:
        return tuple([self.read(filling.values[place]) for place in self.places])


_Hole = Callable[[_Filling], Any]
_Holes = dict[Any, Any]
"""Field or place -> a hole, or holes within it."""


@dataclass(frozen=True)
class Planned:
    """A plan and what it was made from. capabilities: by source."""

    plan: RowPlan
    spelling: Spelling
    capabilities: Mapping[str, Capabilities]


@dataclass(frozen=True)
class _Kept:
    """A marked plan. relations: all that it was made from, None for one that was not granted. keys: their types."""

    planned: Planned
    relations: Mapping[str, Governed | None]
    keys: Mapping[str, pa.DataType]
    holes: _Holes
    literals: tuple[str | int, ...]

    def fits(self, access: Access, keys: Mapping[str, pa.Array], capabilities: Callable[[str], Capabilities]) -> bool:
        """Whether all is as it was when this was planned. The decisions are made here and now."""
        return (
            {name: k.type for name, k in keys.items()} == self.keys
            and all(capabilities(name) == known for name, known in self.planned.capabilities.items())
            and access.decides_as(self.relations)
        )

    def filled(self, values: Sequence[str], keys: Mapping[str, pa.Array], query_id: str) -> Planned:
        plan = _filled(self.planned.plan, self.holes, _Filling(values, keys, query_id))
        literals = tuple(x if isinstance(x, str) else values[x] for x in self.literals)
        return replace(self.planned, plan=plan, spelling=replace(self.planned.spelling, literals=literals))


def _filled(thing: Any, holes: Any, filling: _Filling) -> Any:
    if callable(holes):
        return holes(filling)
    if isinstance(thing, tuple):
        return tuple(_filled(part, holes[i], filling) if i in holes else part for i, part in enumerate(thing))
    return replace(thing, **{name: _filled(getattr(thing, name), inner, filling) for name, inner in holes.items()})


class _Finder:
    """Finds the holes of a marked plan. Raises _Torn."""

    def __init__(self, plan: RowPlan, markers: Sequence[str]) -> None:
        self._places = {marker: i for i, marker in enumerate(markers)}
        self._keys = {id(array): (name, kind) for name, kind, array in plan.fitted}
        self._plan = plan

    def holes(self) -> _Holes:
        found: _Holes = {"fitted": lambda _: ()}
        for field in fields(self._plan):
            if field.name not in ("sql", "fitted") and (inner := self._of(getattr(self._plan, field.name))) is not None:
                found[field.name] = inner
        scans = found.setdefault("scans", {})
        for i in range(len(self._plan.scans)):
            scans.setdefault(i, {}).setdefault("native", {})["query_id"] = lambda filling: filling.query_id
        pieces = tuple(self._cut(self._plan.sql))
        form = "".join(p.replace("%", "%%") if isinstance(p, str) else "%s" for p in pieces)
        places = tuple(p for p in pieces if isinstance(p, int))
        found["sql"] = lambda filling: form % tuple([filling.values[place] for place in places])
        return found

    def literals(self, spelled: Spelling) -> tuple[str | int, ...]:
        return tuple(self._places.get(text, text) for text in spelled.literals)

    def _of(self, thing: Any) -> Any:
        """The hole that a thing is, holes within it, or None."""
        if thing is None or isinstance(thing, (bool, Enum, Governed, Mask, TrinoType, pa.DataType)):
            return None
        if isinstance(thing, pa.Array):
            return self._bound(thing)
        if isinstance(thing, (str, int, float, Decimal, date)):
            return self._leaf(thing)
        if isinstance(thing, tuple):
            return _together(len(thing), self._within(enumerate(thing)))
        if isinstance(thing, Mapping):
            if self._within((k, part) for pair in thing.items() for k, part in enumerate(pair)) is not None:
                raise _Torn
            return None
        if is_dataclass(thing):
            return self._within((f.name, getattr(thing, f.name)) for f in fields(thing))
        raise _Torn

    def _within(self, parts: Iterator[tuple[Any, Any]] | Any) -> _Holes | None:
        found = {name: hole for name, part in parts if (hole := self._of(part)) is not None}
        return found or None

    def _bound(self, array: pa.Array) -> _Hole:
        if id(array) not in self._keys:
            raise _Torn
        name, kind = self._keys[id(array)]
        return lambda filling: fitting(filling.keys[name], kind)

    def _leaf(self, value: str | float | Decimal | date) -> _Hole | None:
        text, read = str(value), cast(Callable[[str], Any], type(value))
        if isinstance(value, datetime) and value.time() == time.min and value.tzinfo is None:
            text, read = value.date().isoformat(), datetime.fromisoformat  # a day, beside a timestamp its midnight
        elif isinstance(value, date):
            text, read = value.isoformat(), date.fromisoformat
        place = self._places.get(text.removesuffix(".0") if isinstance(value, float) else text)
        if place is None:
            if self._places and _MARKER.search(text):
                raise _Torn
            return None
        return _Value(read, place)

    def _cut(self, sql: str) -> Iterator[str | int]:
        """A text in pieces, the number of a value where its marker stands as a whole literal."""
        at = 0
        for found in _MARKER.finditer(sql) if self._places else ():
            before, after = sql[found.start() - 1 : found.start()], sql[found.end() : found.end() + 1]
            whole = before == after == "'"
            if found[0].isdigit():
                whole = before in (" ", "(") and after in ("", " ", ")", ",")
            if found[0] not in self._places or not whole:
                raise _Torn
            yield sql[at : found.start()]
            yield self._places[found[0]]
            at = found.end()
        yield sql[at:]


def _together(length: int, holes: _Holes | None) -> _Holes | _Values | None:
    """Holes of a tuple as one, if all of it is values of one type."""
    if holes is None or len(holes) < length or not all(isinstance(hole, _Value) for hole in holes.values()):
        return holes
    reads = {hole.read for hole in holes.values()}
    return _Values(reads.pop(), tuple(hole.place for hole in holes.values())) if len(reads) == 1 else holes


# ---------------------------------------------------------------- the plans of one policy


@dataclass(frozen=True)
class Seen:
    """A text as it came. known: None if it came for the first time; a kept plan, or a word on why there is none.
    user: and purpose, and time zone."""

    user: tuple[str, str, str]
    lifted: Lifted
    known: _Kept | str | None

    @property
    def is_kept(self) -> bool:
        return isinstance(self.known, _Kept)


_ONCE, _NEVER = "seen once", "not to be kept"
Make = Callable[[str, Mapping[str, pa.Array], datetime, str], Planned]
"""Plans a text that is admitted: with these keys, at this moment, for this fragment."""


class Plans:
    """The kept plans of one policy. Thread-safe."""

    def __init__(self, department: Department) -> None:
        self._department = department
        self._known: LRUCache[tuple[tuple[str, str, str], str], _Kept | str] = LRUCache(PLANS)
        self._lock = threading.Lock()

    def look(self, principal: Principal, sql: str, zone: str) -> Seen | None:
        """What is known of a text in a time zone; None if it is none to be kept."""
        if len(sql) > LONGEST or "\0" in sql:  # it might be another's pattern
            return None
        user, lifted = (principal.sub, principal.purpose, zone), lift(sql)
        with self._lock:
            known = self._known.get((user, lifted.pattern))
            if known == _NEVER and lifted.values:
                lifted = Lifted(sql)
                known = self._known.get((user, sql))
        return None if known == _NEVER else Seen(user, lifted, known)

    def again(
        self,
        seen: Seen,
        access: Access,
        keys: Mapping[str, pa.Array],
        capabilities: Callable[[str], Capabilities],
        query_id: str,
    ) -> Planned | None:
        """The kept plan for these values and keys, None if there is none or anything that it came of has changed."""
        kept = seen.known
        if not isinstance(kept, _Kept) or access.department is not self._department:
            return None
        if not kept.fits(access, keys, capabilities):
            return None
        return kept.filled(seen.lifted.values, keys, query_id)

    def keep(
        self, seen: Seen, access: Access, keys: Mapping[str, pa.Array], query_id: str, planned: Planned, make: Make
    ) -> None:
        """Remember what was planned. make: plans again, by the same access."""
        if access.department is not self._department:
            return
        known: _Kept | str = _ONCE if seen.known is None else _kept(seen.lifted, access, keys, query_id, planned, make)
        with self._lock:
            self._known[seen.user, seen.lifted.pattern] = known


def _kept(
    lifted: Lifted, access: Access, keys: Mapping[str, pa.Array], query_id: str, planned: Planned, make: Make
) -> _Kept | str:
    """The plan with holes, if it is what was planned once they are filled."""
    types = {name: k.type for name, k in keys.items()}
    text, markers = lifted.marked()
    try:
        marked = make(text, {n: pa.array([], t) for n, t in types.items()}, access.now + ANOTHER_MOMENT, "")
        finder = _Finder(marked.plan, markers)
        kept = _Kept(marked, access.decided, types, finder.holes(), finder.literals(marked.spelling))
    except (_Torn, CityError, RecursionError):  # what was planned is answered, however deep it is
        return _NEVER
    scans = sum(len(tuple(scan.native.scans())) for scan in marked.plan.scans)
    if len(marked.plan.sql) > 4 * LONGEST or scans > SCANS:
        return _NEVER
    if any(g is not None and lifted.columns & g.masks.keys() for g in kept.relations.values()):
        return _NEVER
    return kept if kept.filled(lifted.values, keys, query_id) == planned else _NEVER
