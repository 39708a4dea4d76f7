"""Where several grants meet on one column: the laws of `strictest`, over random sets of masks of every kind.

"Weaker" is measured, not looked up: a mask is no weaker than another of its rank if two values that the other
shows alike are shown alike by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import masks
from catalog.masks import Mask, Rank
from catalog.types import parse
from tests.masks.test_masks import CONTEXT as BASE

CODES = {
    "J45": ("J40-J47", "X"), "J46": ("J40-J47", "X"), "I21": ("I20-I25", "IX"), "I50": ("I30-I52", "IX"),
    # No tree: one parent, two grandparents.
    "E10": ("E10-E14", "IV"), "E11": ("E10-E14", "V"),
}  # fmt: skip
CONTEXT = masks.Context(BASE.linkage, {"icd": CODES}, BASE.vault, "v")
TEXTS: dict[str, list[str]] = {
    "varchar": [
        "deny", "null", "constant(x)", "constant(x, null_too)", "constant(y)", "pseudonym(g)", "pseudonym(h)", "token",
        "hierarchy(icd, 1)", "hierarchy(icd, 2)", "prefix(1)", "prefix(3)", "keep_first(1)", "keep_first(2)",
        "keep_last(0)", "keep_last(2)", "keep_last(4)", "keep_last(2, fixed)", "keep_last(4, fixed)",
        "keep_last(0, fixed)", "email", "format",
    ],
    "integer": [
        "null", "constant(7)", "pseudonym(g)", "token", "number(5)", "number(10)", "number(10, 5)", "number(7)",
        "number(5, 5)", "bucket(0|10, a|b|c)", "bucket(0|10|20, a|b|c|d)", "bucket(0|10|20, w|x|y|z)",
        "bucket(0|10|20, a|b|b|c)", "bucket(5, a|b)", "top_code(50)", "top_code(9)", "bottom_code(0)",
        "hierarchy(icd, 1)",
    ],
    "date": [
        "date(day)", "date(week)", "date(month)", "date(quarter)", "date(year)", "pseudonym(g)", "null",
        "bucket(2000-01-01|2010-01-01, a|b|c)", "bucket(2010-01-01, a|b)", "constant(2000-01-01)",
    ],
    "decimal(6, 2)": ["number(0.5)", "number(0.05)", "number(1, 0.25)", "top_code(2)", "bottom_code(1.25)", "null"],
}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "varchar": ["", "a", "ab", "12345", "1234567", "123456789", "129456789", "abcdefghijkl", "bbcdefghijkl", "J45",
                "J46", "E10", "E11", "I21", "Z9", "a@b.org", "c@b.org", "J451", "e\u0301lan", "élan", None],
    "integer": [*range(-12, 61, 3), *range(-11, 61, 5), 2**31 - 1, -(2**31), None],
    "date": [date(1999, 12, 27) + timedelta(days=d) for d in (*range(40), 99, 180, 370, 5000)] + [None],
    "decimal(6, 2)": [Decimal(i) / 100 for i in range(-130, 330, 5)] + [None],
}  # fmt: skip


def built(kind: str, texts: Sequence[str]) -> list[Mask]:
    return [masks.build(t, parse(kind), CONTEXT) for t in texts]


SETS = st.sampled_from(list(TEXTS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.sampled_from(TEXTS[kind]), min_size=1, max_size=5))
)


def same(one: Mask, other: Mask) -> bool:
    """Alike in every value shown; two spellings of one mask (`number(5)`, `number(5, 5)`) are the same."""
    return one.kind == other.kind and (one.kind == "deny" or shown(one) == shown(other))


def shown(mask: Mask) -> list[Any]:
    kind = str(mask.column_type)
    return mask.arrow(pa.array(VALUES[kind], parse(kind).arrow())).to_pylist()  # type: ignore[no-any-return]


def follows(mask: Mask, other: Mask) -> bool:
    """Whether what `mask` shows of each value is decided by what `other` shows of it."""
    decided: dict[Any, Any] = {}
    return all(decided.setdefault(theirs, own) == own for theirs, own in zip(shown(other), shown(mask), strict=True))


def never_weaker(mask: Mask, than: Mask) -> bool:
    return mask.rank > than.rank or (mask.rank == than.rank and (mask.kind == "deny" or follows(mask, than)))


@given(SETS)
@settings(max_examples=200)
def test_no_order_and_no_repetition_matters(found: tuple[str, list[str]]) -> None:
    every = built(*found)
    result = masks.strictest(every)
    assert same(masks.strictest(every[::-1]), result)
    assert same(masks.strictest([*every, *every]), result)
    assert same(masks.strictest([result]), result)
    assert same(masks.strictest([result, *every]), result)


@given(SETS, st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=200)
def test_it_does_not_matter_what_was_combined_first(found: tuple[str, list[str]], i: int, j: int) -> None:
    every = built(*found)
    first, last = sorted((min(i, len(every)), min(j, len(every))))
    parts = [p for p in (every[:first], every[first:last], every[last:]) if p]
    left = masks.strictest([masks.strictest(parts[0]), *parts[-1]])
    assert same(masks.strictest([masks.strictest(p) for p in parts]), masks.strictest(every))
    assert same(left, masks.strictest([*parts[0], masks.strictest(parts[-1])]))


@given(SETS)
@settings(max_examples=200)
def test_the_result_is_never_weaker_than_any(found: tuple[str, list[str]]) -> None:
    every = built(*found)
    result = masks.strictest(every)
    for mask in every:
        assert never_weaker(result, mask), f"{result.text} shows what {mask.text} hides"


@given(SETS, st.data())
@settings(max_examples=200)
def test_one_grant_more_never_shows_more(found: tuple[str, list[str]], data: st.DataObject) -> None:
    kind, texts = found
    one_more = data.draw(st.sampled_from(TEXTS[kind]))
    fewer, more = masks.strictest(built(kind, texts)), masks.strictest(built(kind, [*texts, one_more]))
    assert never_weaker(more, fewer), f"{more.text} instead of {fewer.text} after {one_more}"


@pytest.mark.parametrize("kind", TEXTS)
def test_coarser_means_that_what_shows_follows(kind: str) -> None:
    """Every ordered pair of one kind: what `coarser_than` claims holds for the values, and is claimed if it does."""
    for one, other in itertools.permutations(built(kind, TEXTS[kind]), 2):
        if one.kind == other.kind != "deny" and one.coarser_than(other):
            assert follows(one, other), f"{one.text} does not follow from {other.text}"


@pytest.mark.parametrize(
    ("kind", "texts", "winner"),
    [
        ("date", ["date(week)", "date(month)", "pseudonym(g)"], "null"),
        ("varchar", ["token", "pseudonym(g)"], "null"),
        ("varchar", ["token", "token", "prefix(1)"], "token"),
        ("varchar", ["pseudonym(g)", "pseudonym(h)"], "null"),
        ("varchar", ["pseudonym(g)", "pseudonym(h)", "deny"], "deny"),
        ("varchar", ["constant(x)", "constant(x, null_too)"], "constant(x, null_too)"),
        ("varchar", ["constant(x)", "constant(y)"], "null"),
        ("varchar", ["hierarchy(icd, 1)", "hierarchy(icd, 2)"], "null"),
        ("varchar", ["format", "email"], "null"),
        ("varchar", ["format", "prefix(1)"], "prefix(1)"),
        ("varchar", ["keep_last(2)", "keep_last(4, fixed)"], "keep_last(2, fixed)"),
        ("varchar", ["keep_last(2, fixed)", "keep_last(4, fixed)"], "null"),
        ("integer", ["bucket(0|10, a|b|c)", "bucket(0|10|20, a|b|c|d)"], "bucket(0|10, a|b|c)"),
        ("integer", ["bucket(0|10, a|b|c)", "bucket(5, a|b)"], "null"),
        ("integer", ["number(5)", "bucket(5, a|b)"], "null"),
        ("integer", ["top_code(9)", "bottom_code(0)"], "null"),
        ("decimal(6, 2)", ["number(0.05)", "number(0.5)"], "number(0.5)"),
    ],
)
def test_by_example(kind: str, texts: list[str], winner: str) -> None:
    for order in itertools.permutations(built(kind, texts)):
        assert masks.strictest(order).text == winner


def test_two_limits_of_length_hold_at_once() -> None:
    both = masks.strictest(built("varchar", ["keep_last(2)", "keep_last(4)"]))
    assert both.arrow(pa.array(["12345", "12345678", "123456789"])).to_pylist() == ["*****", "********", "*******89"]


def test_every_rank_and_kind_takes_part() -> None:
    every = [m for kind in TEXTS for m in built(kind, TEXTS[kind])]
    assert {m.rank for m in every} == set(Rank) - {Rank.none}
    assert {m.kind for m in every} == set(masks.MASKS) - {"geo"}
