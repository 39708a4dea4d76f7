"""Inverse images: a predicate on what a mask shows, said of the raw value, so that the source can filter by it.

    image(mask, "=", (date(1990, 1, 1),))  ->  raw >= 1990-01-01 AND raw < 1991-01-01     for `date(year)`

One rule a kind of mask (`RULES`), each with its proof; a kind without a rule keeps its predicates above the masks.
`limits.keep_above` of department.yaml switches rules off by name; answers stay the same.

What every rule must fulfil. Let m be the mask, p the predicate, x a raw value of the column's declared type. The
image is a conjunction q on the raw column with

    q(x) is true  <=>  p(m(x)) is true               for every x, NULL included (`exact`)
    q(x) is true  <==  p(m(x)) is true               otherwise; p stays above in both cases

so a row that is not read is one that p would drop (`pushdown.predicates_of` has the proof for the query around
it). q is made of the mask's parameters and of literals alone, never of a row: what goes to the source is known
to whoever knows the policy and the question. How long the source takes then depends, as on an unmasked column,
on rows that p selects, which the analyst may count anyway, and on those that the row filter drops.

Below, `unit` is the distance of neighbouring values, [a, b) holds a and not b.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any

from catalog.masks import Mask
from catalog.masks.bucket import Bucket
from catalog.masks.code import BottomCode, TopCode
from catalog.masks.constant import Constant
from catalog.masks.date import Date
from catalog.masks.hierarchy import Hierarchy
from catalog.masks.number import Number
from catalog.masks.prefix import Prefix
from catalog.types import TrinoType
from connectors.base import Op, Value

__all__ = ["NEVER", "RULES", "Image", "image"]

CODES = 1_000
"""More codes than this in one IN list are not worth their length."""
_COMPARE: dict[Op, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WIDE = Context(prec=100)
Values = tuple[Value, ...]


@dataclass(frozen=True)
class Image:
    """Conditions on the raw column that hold together; none: every row fulfils them, NULL too."""

    conditions: tuple[tuple[Op, Values], ...]
    exact: bool = True


NEVER = Image((("in", ()),))
NOT_NULL = Image((("is not null", ()),), exact=False)
"""A cell that does not fit the column's type shows NULL (`cells.fitting`) and is none in the source: so this is not
exact, and IS NULL stays above wherever raw values decide it."""
Rule = Callable[[Any, Op, Values], Image | None]


def image(mask: Mask, op: Op, values: Values, above: Collection[str] = ()) -> Image | None:
    """The image of `column op values`; None: the predicate stays above.

    values: of exactly `mask.type`, none for IS [NOT] NULL. above: kinds of masks whose rules are off.
    """
    rule = RULES.get(mask.kind)
    if rule is None or mask.kind in above or mask.type.name == "char":
        return None
    return rule(mask, op, values)


# ---- masks that know nothing of the value -----------------------------------------------------------------


def null(mask: Mask, op: Op, values: Values) -> Image | None:
    """`null`: m(x) is NULL. Proof: a comparison with NULL is never true, IS NULL always, IS NOT NULL never."""
    return Image(()) if op == "is null" else NEVER


def constant(mask: Constant, op: Op, values: Values) -> Image | None:
    """`constant(v)`: folds. Proof: m(x) = v for x not NULL, and for NULL with `null_too`, else NULL.

    So p(m(x)) is p(v) wherever m(x) = v, whatever x is.
    """
    if op in ("is null", "is not null"):
        if mask.null_too:
            return NEVER if op == "is null" else Image(())
        return null_alike(mask, op, values)
    holds = mask.shown in values if op == "in" else _COMPARE[op](mask.shown, values[0])
    if not holds:
        return NEVER
    return Image(()) if mask.null_too else NOT_NULL


def null_alike(mask: Mask, op: Op, values: Values) -> Image | None:
    """`keep_first`, `keep_last`, `format`, `pseudonym`, `token`: IS NOT NULL alone.

    Proof: these are NULL for NULL and for nothing else. Equality stays above: many texts have one shape; the key
    of a pseudonym would have to go to the source; a token's value is in the vault alone, and whether it is there
    must not change what the source is asked.
    """
    return NOT_NULL if op == "is not null" else None


# ---- masks with rising steps ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grid:
    """Cells of a mask that never falls: m(x) = floor(x), the first value of x's cell.

    after: the first value of the next cell, None if it cannot be written. typed: a bound as a raw value.
    """

    floor: Callable[[Any], Any]
    after: Callable[[Any], Any]
    typed: Callable[[Any], Value]


Range = tuple[Any, Any]
"""[low, high) of grid values, None for no bound."""


def _stepped(grid: _Grid, op: Op, values: Values) -> list[Range] | None:
    """The ranges of x where `floor(x) op value` holds. None if a bound cannot be written.

    Proof. Let c = floor(v), c' the next cell. Cells follow each other, and floor(x) is in {.., c, c', ..}.
    =: v = c: x in [c, c'); v != c: no cell starts at v. <: floor(x) < v <=> floor(x) < s for the first cell s
    not below v (c if v = c, else c') <=> x < s. <=: floor(x) <= c <=> x < c'. > and >= are their complements
    among values that are not NULL. <>: without a cell at v all of them, else two ranges. IN: one range a value.
    """
    if op == "is not null":
        return [(None, None)]
    found: list[Range] = []
    for value in values:
        cell = grid.floor(value)
        following = grid.after(cell)
        if following is None:
            return None
        starts = cell == value
        first = cell if starts else following
        if op in ("=", "in"):
            found += [(cell, following)] if starts else []
        elif op == "<>":
            found += [(None, cell), (following, None)] if starts else [(None, None)]
        else:
            found.append({"<": (None, first), "<=": (None, following), ">": (following, None), ">=": (first, None)}[op])
    return found


def _written(ranges: list[Range], typed: Callable[[Any], Value]) -> Image:
    """Ranges as one condition. Adjoining ones are one; of others the hull, which is not exact.

    Proof: x in the union of [a, b) and [b, c) <=> x in [a, c); the hull holds every range.
    """
    joined: list[Range] = []
    for low, high in sorted(ranges, key=lambda r: (r[0] is not None, r[0])):
        if joined and (joined[-1][1] is None or (low is not None and low <= joined[-1][1]) or low is None):
            last = joined[-1]
            joined[-1] = (last[0], None if None in (last[1], high) else max(last[1], high))
        else:
            joined.append((low, high))
    if not joined:
        return NEVER
    low, high = joined[0][0], joined[-1][1]
    conditions: list[tuple[Op, Values]] = []
    if low is not None:
        conditions.append((">=", (typed(low),)))
    if high is not None:
        conditions.append(("<", (typed(high),)))
    return Image(tuple(conditions), len(joined) == 1) if conditions else NOT_NULL


def stepped_date(mask: Date, op: Op, values: Values) -> Image | None:
    """`date(unit)`: days d -> the first day of d's unit; a timestamp t by its day.

    Proof: `_stepped`, with floor the mask itself, which is total on days, so NULL shows for NULL alone. For a
    timestamp, first day of day(t) < s <=> day(t) < s <=> t < s at midnight. A bound after 9999 stays above.
    """
    if op == "is null":
        return None
    ranges = _stepped(_Grid(mask.first_day, lambda d: _next_day(mask.unit, d), lambda d: d), op, values)
    if ranges is None:
        return None
    at_midnight: Callable[[Any], Value] = lambda d: datetime.combine(d, time.min)  # noqa: E731
    return _written(ranges, at_midnight if mask.column_type.name == "timestamp" else lambda d: d)


def _next_day(unit: str, first: date) -> date | None:
    try:
        if unit in ("day", "week"):
            return first + timedelta(days=7 if unit == "week" else 1)
        months = {"month": 1, "quarter": 3, "year": 12}[unit]
        whole = first.year * 12 + first.month - 1 + months
        return date(whole // 12, whole % 12 + 1, 1)
    except (OverflowError, ValueError):
        return None


def stepped_number(mask: Number, op: Op, values: Values) -> Image | None:
    """`number(step, origin)` on integers and decimals, in units u of the column's last digit.

    Proof: `_stepped` with floor(u) = u - (u - origin) mod step. The mask is NULL where floor(u) lies below the
    type's smallest value, that is for u < s, s the first cell not below it: every range is cut at s, since a
    comparison with NULL is not true.
    Bounds outside the type cut nothing off. Doubles (NaN, rounding) stay above.
    """
    kind = mask.column_type
    if kind.name == "double" or op == "is null":
        return None
    unit = Decimal(1).scaleb(-mask.scale)
    step, origin = (int(_WIDE.divide(x, unit)) for x in (mask.step, mask.origin))
    smallest, largest = _limits(kind)
    cut = smallest + (origin - smallest) % step

    def floor(value: Any) -> int:
        whole = int(value.to_integral_value("ROUND_FLOOR")) if isinstance(value, Decimal) else value
        return int(whole - (whole - origin) % step)

    units = tuple(_WIDE.divide(Decimal(v), unit) for v in values if isinstance(v, int | Decimal))
    ranges = _stepped(_Grid(floor, lambda c: c + step, lambda u: u), op, units)
    if ranges is None or len(units) != len(values):
        return None
    inside = [_cut(r, cut if cut > smallest else None, largest) for r in ranges]
    typed: Callable[[Any], Value] = int if kind.is_integer else lambda u: _WIDE.multiply(Decimal(u), unit)
    return _written([r for r in inside if r is not None], typed)


def _limits(kind: TrinoType) -> tuple[int, int]:
    if kind.name == "decimal":
        return 1 - 10 ** kind.args[0], 10 ** kind.args[0] - 1
    bits = {"tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63}[kind.name]
    return -(2**bits), 2**bits - 1


def _cut(found: Range, low: int | None, largest: int) -> Range | None:
    """A range within [low, largest], without bounds that cut nothing; None if nothing is left."""
    start, end = found
    start = low if start is None or (low is not None and start < low) else start
    end = None if end is not None and end > largest else end
    empty = start is not None and (start > largest or (end is not None and start >= end))
    return None if empty else (start, end)


# ---- others that never fall -------------------------------------------------------------------------------


def coded_top(mask: TopCode, op: Op, values: Values) -> Image | None:
    """`top_code(h)`: min(x, h). Proof: min(x, h) op v, by where v lies.

    v < h: min(x, h) = v <=> x = v, min(x, h) < v <=> x < v, and so on for <=, >, >=, <>.
    v = h: = and >=: x >= h; <>, <: x < h; <=: all; >: none. v > h: <, <=, <>: all; =, >, >=: none.
    """
    return _coded(mask, op, values, mask.limit, 1)


def coded_bottom(mask: BottomCode, op: Op, values: Values) -> Image | None:
    """`bottom_code(l)`: max(x, l). Proof: that of `coded_top` with the order turned round."""
    return _coded(mask, op, values, mask.limit, -1)


_TURNED: dict[Op, Op] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}


def _coded(mask: Mask, op: Op, values: Values, limit: Decimal, sign: int) -> Image | None:
    if op in ("is null", "is not null"):
        return null_alike(mask, op, values)
    if op == "in":
        inside = [v for v in values if _side(v, limit, sign) < 0]
        if len({v for v in values if _side(v, limit, sign) == 0}) == 0:
            return Image((("in", tuple(inside)),))
        return _coded(mask, "=", (_as(mask, limit),), limit, sign) if not inside else None
    side = _side(values[0], limit, sign)
    if side < 0:
        return Image(((op, values),))
    plain = op if sign > 0 else _TURNED[op]
    if side > 0 or plain in ("<=", ">"):
        return NOT_NULL if plain in ("<", "<=", "<>") else NEVER
    beyond: Op = ">=" if plain in ("=", ">=") else "<"
    return Image(((beyond if sign > 0 else _TURNED[beyond], (_as(mask, limit),)),))


def _side(value: Value, limit: Decimal, sign: int) -> int:
    """-1 on the side of the limit where values stay, 0 on it, 1 beyond."""
    assert isinstance(value, int | Decimal)
    return sign * ((value > limit) - (value < limit))


def _as(mask: Mask, limit: Decimal) -> Value:
    return int(limit) if mask.column_type.is_integer else limit


def bucketed(mask: Bucket, op: Op, values: Values) -> Image | None:
    """`bucket(edges, labels)`: the intervals whose labels fulfil p, written as ranges.

    Proof: p(m(x)) depends on x's interval alone, the intervals are [e_i, e_i+1) and cover all values, NULL shows
    for NULL alone. Doubles are different in NaN only, which shows NULL: no range holds it where there is a bound
    (`native` excludes it from > and >=), so for them what has none stays above.
    """
    is_double = mask.column_type.name == "double"
    if op in ("is null", "is not null"):
        return None if is_double else null_alike(mask, op, values)
    bounds = [None, *mask.edges, None]
    wanted = [
        (bounds[i], bounds[i + 1])
        for i, label in enumerate(mask.labels)
        if (label in values if op == "in" else _COMPARE[op](label, values[0]))
    ]
    found = _written(wanted, lambda e: e)
    return None if is_double and found == NOT_NULL else found


def prefixed(mask: Prefix, op: Op, values: Values) -> Image | None:
    """`prefix(n)`: the first n code points, in the order of code points, which is that of UTF-8 bytes.

    Proof. m never falls, m(x) <= x, and m(x) is the longest text of at most n characters that x begins with.
    Let v be a literal and v+ the first text after all that begin with v (None: there is none).
    - v shorter than n: m(x) = v <=> x = v, and m(x) < v <=> x < v, m(x) <= v <=> x <= v: if x > v, then x differs
      from v at a place below n, or goes on after v, and m(x) shows that.
    - v of n characters: m(x) = v <=> x begins with v <=> v <= x < v+. m(x) < v <=> x < v, m(x) <= v <=> x < v+.
    - v longer: m(x) is never v; m(x) < v <=> m(x) <= v <=> m(x) <= m(v), which is the case before.
    The rest are complements. Texts that are not NULL show one that is not NULL. IN with texts of n characters is
    several ranges: above, unless it is one.
    """
    if op in ("is null", "is not null"):
        return null_alike(mask, op, values)
    n, texts = mask.count, [str(v) for v in values]
    if op == "in":
        possible = [t for t in dict.fromkeys(texts) if len(t) <= n]
        if all(len(t) < n for t in possible):
            return Image((("in", tuple(possible)),))
        return prefixed(mask, "=", tuple(possible)) if len(possible) == 1 else None
    text = texts[0]
    if op == "<>":
        return NOT_NULL if len(text) > n else Image((("<>", (text,)),)) if len(text) < n else None
    if op == "=":
        if len(text) != n:
            return Image((("=", (text,)),)) if len(text) < n else NEVER
        return Image(((">=", (text,)), *_before("<", _successor(text))))
    if len(text) > n:
        text, op = text[:n], "<=" if op in ("<", "<=") else ">"
    if len(text) < n or op in ("<", ">="):
        return Image(((op, (text,)),))
    following = _successor(text)
    if following is None:
        return NOT_NULL if op == "<=" else NEVER
    return Image((("<" if op == "<=" else ">=", (following,)),))


def _before(op: Op, text: str | None) -> tuple[tuple[Op, Values], ...]:
    return () if text is None else ((op, (text,)),)


def _successor(text: str) -> str | None:
    """The first text after all that begin with `text`: its last character one up, or the one before that."""
    while text:
        point = ord(text[-1])
        if point < 0x10FFFF:
            return text[:-1] + chr(0xE000 if point == 0xD7FF else point + 1)
        text = text[:-1]
    return None


def ancestors(mask: Hierarchy, op: Op, values: Values) -> Image | None:
    """`hierarchy(list, level)`: the codes whose ancestor fulfils p, as an IN list.

    Proof: a value that is not NULL shows its code's ancestor, or `other` if it is no code of the list. If `other`
    does not fulfil p, then p(m(x)) is true <=> x is one of the codes whose ancestor does. If it does, the
    values are all but some: above. An integer equals the code that is its own decimal text.
    """
    if op in ("is null", "is not null"):
        return null_alike(mask, op, values)
    holds: Callable[[str], bool] = (
        (lambda shown: shown in values) if op == "in" else lambda shown: _COMPARE[op](shown, values[0])
    )
    if holds("other"):
        return None
    codes = [code for code, ancestor in mask.parents.items() if holds(ancestor)]
    if len(codes) > CODES:
        return None
    return Image((("in", tuple(_codes_of(codes, mask.column_type))),))


def _codes_of(codes: Iterable[str], kind: TrinoType) -> Iterable[Value]:
    if not kind.is_integer:
        return codes
    smallest, largest = _limits(kind)
    numbers = (int(c) for c in codes if c.lstrip("-").isascii() and c.lstrip("-").isdigit() and str(int(c)) == c)
    return (n for n in numbers if smallest <= n <= largest)


RULES: dict[str, Rule] = {
    "null": null, "constant": constant, "date": stepped_date, "number": stepped_number, "top_code": coded_top,
    "bottom_code": coded_bottom, "bucket": bucketed, "prefix": prefixed, "hierarchy": ancestors,
    "keep_first": null_alike, "keep_last": null_alike, "format": null_alike, "pseudonym": null_alike,
    "token": null_alike,
}  # fmt: skip
