"""Conditions of two columns, LIKE, OR, computed numbers and joins: every kind of source against Python."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import pairwise
from operator import add, mul, sub
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.types import BIGINT, BOOLEAN, VARCHAR, TrinoType
from connectors.allowed import result_of
from connectors.base import (
    Aggregate,
    AllOf,
    AnyOf,
    Arithmetic,
    Case,
    Comparison,
    Computed,
    Condition,
    Exists,
    Expression,
    GroupKey,
    Like,
    NativeScan,
    NotIn,
    Number,
    Order,
    OutputColumn,
    Predicate,
    Scalar,
    SourceError,
    Truth,
)
from connectors.factored import factored
from connectors.postgres import CAPABILITIES as POSTGRES
from tests.conformance.data import _COMPARE, COLUMNS, ODD, ROWS, TYPES, Row, holds
from tests.conformance.silos import Silo
from tests.conformance.test_sources import COMPARISONS, ids, read, scan_of

ODDLY = "SELECT id, t, n, b, amt, d, CASE WHEN id % 3 = 0 THEN t ELSE 'abc' END AS t2, id - 1 AS earlier FROM awkward"
MORE = {**{c: TYPES[c] for c in ("id", "t", "n", "b", "amt", "d")}, "t2": VARCHAR, "earlier": BIGINT}
LIKES = [
    "a%", "%b%", "a_", "_", "__", "%", "", "100%", "ABC", "abc ", "%é%", "e_", "*", "?", "[a]%", "%[%", "it's%", "%\n%",
    "say \"x\"", "a\\_b", "%\\%", "ｆ%", "🐚", "%''%", "x') OR 1=1 -- %",
]  # fmt: skip
"""Patterns. A backslash is a character like any other, as Trino has no escape character unless it is named."""
AMOUNT = TYPES["amt"]


def value(row: Row, column: str) -> Any:
    if column == "t2":
        return row[1] if row[0] % 3 == 0 else "abc"
    return row[0] - 1 if column == "earlier" else row[COLUMNS.index(column)]


def like(text: str | None, pattern: str) -> bool:
    parts = ({"%": ".*", "_": "."}.get(c) or re.escape(c) for c in pattern)
    return text is not None and re.fullmatch("".join(parts), text, re.DOTALL) is not None


def true(row: Row, condition: Condition) -> bool:
    """Whether a condition is true of a row; false and unknown are one."""
    match condition:
        case Predicate():
            return holds(row, condition)
        case Comparison(left, op, right):
            sides = value(row, left), value(row, right)
            return None not in sides and bool(_COMPARE[op](*sides))
        case Like(column, pattern, negated):
            text = value(row, column)
            return text is not None and like(text, pattern) is not negated
        case AllOf(parts):
            return all(true(row, p) for p in parts)
        case AnyOf(parts):
            return any(true(row, p) for p in parts)
    raise AssertionError(condition)


def wanted(*conditions: Condition) -> list[int]:
    return sorted(row[0] for row in ROWS if all(true(row, c) for c in conditions))


def asked(silo: Silo, *conditions: Condition) -> list[int]:
    return ids(silo, relation=ODDLY, is_query=True, types=MORE, predicates=conditions)


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize(("left", "right"), [("t", "t2"), ("n", "b"), ("b", "earlier"), ("amt", "amt"), ("d", "d")])
def test_two_columns_compare_as_in_trino(silo: Silo, op: Any, left: str, right: str) -> None:
    condition = Comparison(left, op, right)
    if MORE[left].name not in silo.source.capabilities().compares:
        with pytest.raises(ValueError, match="not pushed"):
            asked(silo, condition)
        return
    assert asked(silo, condition) == wanted(condition)


FINE = [Decimal("1.5005"), Decimal("-1.5"), Decimal("1e-35"), Decimal("-1e-35"), Decimal("99999999999.9995"),
        Decimal("-99999999999.9995"), Decimal(10) ** 37, -(Decimal(10) ** 37)]  # fmt: skip
"""Numbers that a column's decimals lie beside, or all on one side of."""


@pytest.mark.parametrize("op", [*COMPARISONS, "in"])
def test_decimals_compare_with_finer_and_larger_ones(silo: Silo, op: Any) -> None:
    """Whatever stands in a row, and were it one that is hidden: none becomes an error."""
    if "decimal" not in silo.source.capabilities().predicates.get(op, ()):
        return
    largest = [row[0] for row in ROWS if abs(row[COLUMNS.index("amt")] or 0) > 10**9]
    hidden = (f"id NOT IN (SELECT x.id FROM awkward AS x WHERE x.id IN ({', '.join(map(str, largest))}))",)
    for values in [(number,) for number in FINE] + ([tuple(FINE[1:]), tuple(FINE)] if op == "in" else []):
        condition = Predicate("amt", op, values)
        assert ids(silo, predicates=(condition,)) == wanted(condition)
        assert ids(silo, predicates=(condition,), row_filters=hidden) == sorted({*wanted(condition)} - {*largest})


@pytest.mark.parametrize("column", ["x", "f", "ts"])
def test_columns_whose_comparison_differs_are_not_compared(silo: Silo, column: str) -> None:
    """Of doubles NaN compares in ways of its own; timestamps have fractions that some sources sort as text."""
    with pytest.raises(ValueError, match="not pushed"):
        ids(silo, predicates=(Comparison(column, "=", column),))


@pytest.mark.parametrize("negated", [False, True])
def test_like_selects_trinos_rows(silo: Silo, negated: bool) -> None:
    unfit = set(silo.source.capabilities().likes or "")
    for column in ("t", ODD):
        for pattern in LIKES:
            condition = Like(column, pattern, negated)
            if unfit & set(pattern):
                with pytest.raises(ValueError, match="not pushed"):
                    ids(silo, predicates=(condition,))
            else:
                assert ids(silo, predicates=(condition,)) == wanted(condition), pattern


LEAVES = st.one_of(
    st.builds(Predicate, st.just("n"), st.sampled_from(["=", "<>", "<", ">="]), st.sampled_from([(0,), (7,), (-1,)])),
    st.builds(Predicate, st.just("t"), st.sampled_from(["=", "<>", "<", ">"]), st.sampled_from([("abc",), ("é",)])),
    st.builds(Predicate, st.sampled_from(["d", "t", "n"]), st.sampled_from(["is null", "is not null"])),
    st.builds(Predicate, st.just("b"), st.just("in"), st.sampled_from([(), (0,), (-3, 10**15)])),
    st.builds(Comparison, st.just("n"), st.sampled_from(COMPARISONS), st.just("b")),
    st.builds(Comparison, st.just("t"), st.sampled_from(COMPARISONS), st.just("t2")),
    st.builds(Like, st.sampled_from(["t", "t2"]), st.sampled_from(["a%", "%C", "_"]), st.booleans()),
)


def trees(leaves: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    parts = st.lists(leaves, min_size=1, max_size=3).map(tuple)
    return st.one_of(st.builds(AllOf, parts), st.builds(AnyOf, parts))


def test_and_and_or_of_conditions_select_trinos_rows(silo: Silo) -> None:
    @given(st.recursive(LEAVES, trees, max_leaves=6))
    @settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
    def check(condition: Condition) -> None:
        assert asked(silo, condition) == wanted(condition)

    check()


# --- numbers ------------------------------------------------------------------------------------------


def made(op: Any, left: Expression, right: Expression) -> Arithmetic:
    kinds = [TYPES[s] if isinstance(s, str) else s.type for s in (left, right)]
    kind = result_of(op, *kinds)
    assert kind is not None
    return Arithmetic(op, left, right, kind)


ONE = Number(1, TrinoType("integer"))
HALF = Number(Decimal("0.5"), TrinoType("decimal", (1, 1)))
PRODUCTS: dict[str, tuple[Expression, Callable[[Any], Any]]] = {
    "amt * n": (made("*", "amt", "n"), lambda r: r["amt"] * r["n"]),
    "amt * (1 - amt)": (made("*", "amt", made("-", ONE, "amt")), lambda r: r["amt"] * (1 - r["amt"])),
    "amt + 0.5 - n": (made("-", made("+", "amt", HALF), "n"), lambda r: r["amt"] + Decimal("0.5") - r["n"]),
    "amt * amt": (made("*", "amt", "amt"), lambda r: r["amt"] * r["amt"]),
}  # fmt: skip


def of_rows(rows: list[Row]) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def aggregated(rows: list[Row], number: Callable[[Any], Any]) -> dict[str, Any]:
    with localcontext(prec=100):
        found = [number(r) for r in of_rows(rows) if None not in (r["amt"], r["n"])]
        total = sum(found)
    return {"s": total, "low": min(found), "high": max(found), "n": len(found)} if found else {}


@pytest.mark.parametrize("product", PRODUCTS)
def test_decimals_are_computed_to_the_last_digit(silo: Silo, product: str) -> None:
    expression, number = PRODUCTS[product]
    assert isinstance(expression, Arithmetic)
    kind = expression.type
    aggregates = (
        Aggregate("sum", expression, TrinoType("decimal", (38, kind.args[1])), "s"),
        Aggregate("min", expression, kind, "low"),
        Aggregate("max", expression, kind, "high"),
        Aggregate("count", expression, BIGINT, "n"),
    )
    present = (Predicate("n", "is not null"), Predicate("amt", "is not null"))
    scan = scan_of(aggregates=aggregates, predicates=present)
    if silo.source.capabilities().arithmetic < kind.args[0]:
        with pytest.raises(ValueError, match="not pushed"):
            read(silo, scan)
        return
    assert read(silo, scan) == [aggregated(ROWS, number)]


def test_a_number_beyond_38_digits_is_an_error_or_never_asked(silo: Silo) -> None:
    """As in Trino; never a rounded one. MariaDB would cut it off, SQLite has no decimals: they are not asked."""
    square = made("*", "big", "big")
    assert square.type == TrinoType("decimal", (38, 20))
    largest = (Aggregate("max", square, square.type, "m"),)
    scan = scan_of(aggregates=largest, predicates=(Predicate("big", ">", (10,)),))
    able = silo.source.capabilities().arithmetic == 38
    with pytest.raises(SourceError if able else ValueError):
        read(silo, scan)
    small = scan_of(
        aggregates=(Aggregate("max", square, square.type, "m"),), predicates=(Predicate("big", "<=", (3,)),)
    )
    if able:
        assert read(silo, small) == [{"m": Decimal("9")}]


def test_whole_numbers_alone_are_not_computed(silo: Silo) -> None:
    """Every source overflows in its own way."""
    bad = Arithmetic("+", "n", ONE, TrinoType("decimal", (11, 0)))
    with pytest.raises(ValueError, match="is no decimal"):
        read(silo, scan_of(aggregates=(Aggregate("max", bad, bad.type, "m"),)))


def test_a_case_counts_and_sums_what_its_condition_says(silo: Silo) -> None:
    when = AnyOf((Like("t", "a%"), Predicate("n", ">", (0,)), Comparison("b", "<", "n")))
    one_or_none = Case(when, Number(1, BIGINT), Number(0, BIGINT), BIGINT)
    only = Case(when, "n", None, TYPES["n"])
    aggregates = (Aggregate("sum", one_or_none, BIGINT, "s"), Aggregate("count", only, BIGINT, "c"),
                  Aggregate("max", only, TYPES["n"], "m"))  # fmt: skip
    rows = [row for row in ROWS if true(row, when)]
    present = [row[2] for row in rows if row[2] is not None]
    assert read(silo, scan_of(aggregates=aggregates)) == [{"s": len(rows), "c": len(present), "m": max(present)}]


SMALL = Truth(Predicate("n", "<", (7,)), Predicate("n", ">=", (7,)))
BEGINS = Truth(Like("t", "a%"), Like("t", "a%", negated=True))
MEET = Truth(Comparison("n", "<=", "b"), Comparison("n", ">", "b"))
TRUTHS = {
    "a number": SMALL,
    "a text": BEGINS,
    "a date that is no day": Truth(Predicate("d", "is null"), Predicate("d", "is not null")),
    "one of several": Truth(
        Predicate("b", "in", (0, -3)), AllOf((Predicate("b", "<>", (0,)), Predicate("b", "<>", (-3,))))
    ),
    "two columns": MEET,
    "all of them": Truth(
        AllOf((SMALL.holds, BEGINS.holds, MEET.holds)), AnyOf((SMALL.fails, BEGINS.fails, MEET.fails))
    ),
    "any of them": Truth(AnyOf((SMALL.holds, BEGINS.holds)), AllOf((SMALL.fails, BEGINS.fails))),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_rows_are_grouped_by_what_a_condition_is(silo: Silo, name: str) -> None:
    """Three groups: where it holds, where it fails, and where it is unknown, because something is NULL."""
    truth = TRUTHS[name]
    by, count = GroupKey("", BOOLEAN, "k", truth=truth), (Aggregate("count", None, BIGINT, "c"),)
    if not silo.source.capabilities().tests:
        with pytest.raises(ValueError, match="not pushed"):
            read(silo, scan_of(group_by=(by,), aggregates=count))
        return
    want = Counter(True if true(r, truth.holds) else False if true(r, truth.fails) else None for r in ROWS)
    assert {r["k"]: r["c"] for r in read(silo, scan_of(group_by=(by,), aggregates=count))} == want
    beside = read(silo, scan_of(group_by=(GroupKey("n", TYPES["n"], "n"), by), aggregates=count))
    assert sum(r["c"] for r in beside) == len(ROWS)
    inner = scan_of(group_by=(by,), aggregates=count)
    around = NativeScan((inner,), False, dict(inner.outputs), group_by=(GroupKey("k", BOOLEAN, "k2"),), aggregates=(
        Aggregate("sum", "c", BIGINT, "s"),))  # fmt: skip
    if "boolean" in silo.source.capabilities().group_types:
        assert {r["k2"]: r["s"] for r in read(silo, around)} == want


def test_a_condition_to_group_by_is_a_boolean_and_nothing_else(silo: Silo) -> None:
    plain = GroupKey("", BOOLEAN, "k", truth=SMALL)
    others = ({"column": "n"}, {"type": BIGINT}, {"function": "year"}, {"form": ":c"})
    for key in (replace(plain, **other) for other in others):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not pushed"):
            read(silo, scan_of(group_by=(key,)))


def test_an_average_is_rounded_half_away_from_zero(silo: Silo) -> None:
    """Of decimals, to their own scale: of each row alone, of many, of pairs whose halves are exact, of none."""
    mean = Aggregate("avg", "amt", AMOUNT, "a")
    if not silo.source.capabilities().averages:
        with pytest.raises(ValueError, match="not pushed"):
            read(silo, scan_of(aggregates=(mean,)))
        return

    def want(rows: list[Row]) -> Decimal | None:
        present = [row[COLUMNS.index("amt")] for row in rows if row[COLUMNS.index("amt")] is not None]
        with localcontext() as exact:
            exact.prec, exact.rounding = 200, ROUND_HALF_UP
            return (sum(present) / len(present)).quantize(Decimal(1).scaleb(-AMOUNT.args[1])) if present else None

    assert read(silo, scan_of(aggregates=(mean,))) == [{"a": want(ROWS)}]
    assert read(silo, scan_of(aggregates=(mean,), predicates=(Predicate("id", "=", (-1,)),))) == [{"a": None}]
    for first, second in pairwise(ROWS):
        few = (Predicate("id", "in", (first[0], second[0])),)
        assert read(silo, scan_of(aggregates=(mean,), predicates=few)) == [{"a": want([first, second])}]
    grouped = read(silo, scan_of(group_by=(GroupKey("n", TYPES["n"], "k"),), aggregates=(mean,)))
    assert {r["k"]: r["a"] for r in grouped} == {k: want([r for r in ROWS if r[2] == k]) for k in {r[2] for r in ROWS}}


def test_a_column_is_compared_with_what_another_scan_delivers(silo: Silo) -> None:
    """Above the mean, the largest, and of nothing, which is neither more nor less."""
    for function, of, op in (("max", "b", ">="), ("max", "b", "="), ("min", "b", "<>"), ("sum", "n", "<")):
        inner = NativeScan("awkward", False, dict(TYPES), aggregates=(Aggregate(function, of, BIGINT, "m"),))  # type: ignore[arg-type]
        for part in (inner, replace(inner, predicates=(Predicate("id", "=", (-1,)),))):
            only = NativeScan((part,), False, dict(part.outputs), (OutputColumn("m", BIGINT, "o"),))
            condition = Scalar("b", op, only)  # type: ignore[arg-type]
            if not silo.source.capabilities().scalars:
                with pytest.raises(ValueError, match="not pushed"):
                    asked(silo, condition)
                continue
            known = [row[COLUMNS.index(of)] for row in ROWS if row[COLUMNS.index(of)] is not None]
            other = None if part is not inner else {"max": max, "min": min, "sum": sum}[function](known)  # type: ignore[operator]
            rows = [r for r in ROWS if None not in (other, value(r, "b")) and _COMPARE[op](value(r, "b"), other)]
            assert asked(silo, condition) == sorted(r[0] for r in rows)


def test_a_sum_that_may_have_no_room_is_no_number_to_compare_with(silo: Silo) -> None:
    """Of bigint, which Trino refuses beyond 64 bits; a source would go on with a larger number."""
    part = NativeScan("awkward", False, dict(TYPES), aggregates=(Aggregate("sum", "b", BIGINT, "m"),))
    only = NativeScan((part,), False, dict(part.outputs), (OutputColumn("m", BIGINT, "o"),))
    with pytest.raises(ValueError, match="not pushed"):
        asked(silo, Scalar("b", "<", only))


def test_what_may_be_more_rows_than_one_is_no_number_to_compare_with(silo: Silo) -> None:
    count = (Aggregate("count", None, BIGINT, "m"),)
    grouped = NativeScan("awkward", False, dict(TYPES), group_by=(GroupKey("n", TYPES["n"], "k"),), aggregates=count)
    bare = NativeScan("awkward", False, dict(TYPES), (OutputColumn("b", BIGINT, "m"),))
    for part in (grouped, bare):
        only = NativeScan((part,), False, dict(part.outputs), (OutputColumn("m", BIGINT, "o"),))
        with pytest.raises(ValueError, match="not pushed"):
            asked(silo, Scalar("b", "=", only))


def test_what_might_be_an_error_is_no_number_to_compare_with(silo: Silo) -> None:
    """It would be one because of a row that is hidden: only for the others' sake is it computed."""
    wide = made("*", "amt", Number(Decimal(10) ** 37, TrinoType("decimal", (38, 0))))
    kept = Case(Predicate("b", "=", (1,)), wide, None, wide.type)
    assert wide.type.args[0] == 38
    for function, computed in (("count", wide), ("count", kept), ("count", made("+", wide, "b"))):
        count = Aggregate(function, computed, BIGINT, "m")  # type: ignore[arg-type]
        grouped = NativeScan(
            "awkward", False, dict(TYPES), group_by=(GroupKey("n", TYPES["n"], "k"),), aggregates=(count,)
        )
        above = NativeScan((grouped,), False, dict(grouped.outputs), aggregates=(Aggregate("max", "m", BIGINT, "x"),))
        for part in (NativeScan("awkward", False, dict(TYPES), aggregates=(count,)), above):
            ((name, _),) = part.outputs
            only = NativeScan((part,), False, dict(part.outputs), (OutputColumn(name, BIGINT, "o"),))
            with pytest.raises(ValueError, match="not pushed"):
                asked(silo, Scalar("b", "=", only))


def test_the_first_rows_come_with_those_that_tie(silo: Silo) -> None:
    columns = tuple(OutputColumn(c, TYPES[c], c) for c in ("id", "n"))
    there, by = (Predicate("n", "is not null"),), (Order("n", descending=True),)
    if not silo.source.capabilities().ties:
        with pytest.raises(ValueError, match="ties are not pushed"):
            read(silo, scan_of(columns=columns, predicates=there, order=by, limit=1, ties=True))
        return
    for limit in (1, 3):
        found = read(silo, scan_of(columns=columns, predicates=there, order=by, limit=limit, ties=True))
        known = sorted((row[2] for row in ROWS if row[2] is not None), reverse=True)
        assert {r["id"] for r in found} == {row[0] for row in ROWS if row[2] is not None and row[2] >= known[limit - 1]}
    with pytest.raises(ValueError, match="not without an order"):
        read(silo, scan_of(columns=columns, ties=True, limit=1))


def number(row: Row, expression: Expression) -> Any:
    match expression:
        case str():
            return value(row, expression)
        case Number():
            return expression.value
        case Arithmetic(op, left, right):
            sides = number(row, left), number(row, right)
            with localcontext(prec=100):
                return None if None in sides else {"+": add, "-": sub, "*": mul}[op](*sides)
    raise AssertionError(expression)


@pytest.mark.parametrize("op", COMPARISONS)
def test_computed_numbers_compare(silo: Silo, op: Any) -> None:
    product = made("*", "n", HALF)
    for left, right in ((product, "n"), ("amt", product), (made("-", "amt", HALF), Number(3, BIGINT))):
        condition = Computed(left, op, right)
        if not silo.source.capabilities().computes:
            with pytest.raises(ValueError, match="not pushed"):
                asked(silo, condition)
            continue
        pairs = {r[0]: (number(r, left), number(r, right)) for r in ROWS}
        assert asked(silo, condition) == sorted(i for i, p in pairs.items() if None not in p and _COMPARE[op](*p))


def test_a_sum_of_products_may_be_multiplied_once_a_group(silo: Silo) -> None:
    """`factored` is another way to the same digits, for sources where arithmetic costs more than groups."""
    weighted = made("*", made("*", "amt", made("-", HALF, "n")), made("+", "n", HALF))
    aggregates = (
        Aggregate("sum", weighted, TrinoType("decimal", (38, weighted.type.args[1])), "s"),
        Aggregate("sum", "n", BIGINT, "sn"), Aggregate("count", "n", BIGINT, "cn"),
        Aggregate("count", None, BIGINT, "c"), Aggregate("min", "d", TYPES["d"], "low"),
        Aggregate("count", "amt", BIGINT, "ca"),
    )  # fmt: skip
    plain = scan_of(group_by=(GroupKey("t", VARCHAR, "k"),), aggregates=aggregates)
    in_steps = factored(plain, POSTGRES)
    assert in_steps is not None
    (inner,) = in_steps.relation
    assert isinstance(inner, NativeScan)
    assert ("count", "n") not in [(a.function, a.value) for a in inner.aggregates], "n is one in each inner group"
    if silo.source.capabilities().arithmetic < 38:
        return
    first, second = (sorted(read(silo, scan), key=repr) for scan in (plain, in_steps))
    assert first == second


def test_a_factor_too_large_for_its_product_is_refused(silo: Silo) -> None:
    """Where a row might not fit its type, its group's factor is held to what the summed column leaves to it."""
    types = {"a": TrinoType("decimal", (38, 10)), "f": TrinoType("decimal", (30, 0)), "k": BIGINT}
    kind = TrinoType("decimal", (38, 10))
    whole = Arithmetic("*", "a", Arithmetic("*", "f", "f", TrinoType("decimal", (38, 0))), kind)
    scan = NativeScan(
        "t", False, types, group_by=(GroupKey("k", BIGINT, "k"),), aggregates=(Aggregate("sum", whole, kind, "s"),)
    )
    assert factored(scan, POSTGRES) is None, "a leaves no digit to f"


# --- joins --------------------------------------------------------------------------------------------


def part(start: str, *columns: str, **parts: Any) -> NativeScan:
    """A scan of the awkward table as part of a join: its columns are named `<start>_<column>`."""
    outputs = tuple(OutputColumn(c, MORE[c], f"{start}_{c}") for c in columns)
    return scan_of(**{"relation": ODDLY, "is_query": True, "types": MORE, "columns": outputs, **parts})


def joined(parts: tuple[NativeScan, ...], **rest: Any) -> NativeScan:
    types = {name: kind for p in parts for name, kind in p.outputs}
    return NativeScan(parts, False, types, query_id="q_1", **rest)


PAIRS = [("id", "earlier"), ("n", "n"), ("t", "t2"), ("d", "d"), ("n", "b")]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_rows_that_agree_meet(silo: Silo, left: str, right: str) -> None:
    parts = (
        part("a", "id", left, row_filters=("id > 200",))
        if left != "id"
        else part("a", "id", row_filters=("id > 200",)),
        part("b", *dict.fromkeys(("id", right)), predicates=(Predicate("id", "<", (230,)),)),
    )
    columns = (OutputColumn("a_id", BIGINT, "x"), OutputColumn("b_id", BIGINT, "y"))
    scan = joined(parts, columns=columns, predicates=(Comparison(f"a_{left}", "=", f"b_{right}"),))
    want = [
        (a[0], b[0]) for a in ROWS for b in ROWS
        if a[0] > 200 and b[0] < 230 and value(a, left) is not None and value(a, left) == value(b, right)
    ]  # fmt: skip
    assert want
    assert sorted((r["x"], r["y"]) for r in read(silo, scan)) == sorted(want)


@pytest.mark.parametrize("negated", [False, True])
def test_rows_for_which_others_exist_or_do_not(silo: Silo, negated: bool) -> None:
    exists = Exists(
        (part("x", "id", "n", "d"),),
        (Comparison("x_n", "=", "a_n"), Comparison("x_id", "<>", "a_id"), Comparison("x_d", "<", "a_d")), negated,
    )  # fmt: skip
    outer = part("a", "id", "n", "d", predicates=(Predicate("id", "<", (90,)),))
    scan = joined((outer,), columns=(OutputColumn("a_id", BIGINT, "id"),), predicates=(exists,))

    def found(a: Row) -> bool:
        return any(None not in (a[2], x[2], a[6], x[6]) and x[2] == a[2] and x[0] != a[0] and x[6] < a[6] for x in ROWS)

    if silo.source.capabilities().exists != "any":
        with pytest.raises(ValueError, match="EXISTS"):
            read(silo, scan)
        return
    want = [a[0] for a in ROWS if a[0] < 90 and found(a) is not negated]
    assert 0 < len(want) < 90
    assert sorted(r["id"] for r in read(silo, scan)) == want


@pytest.mark.parametrize("negated", [False, True])
def test_rows_for_which_equal_ones_exist_or_do_not(silo: Silo, negated: bool) -> None:
    few = part("x", "id", "t", predicates=(Predicate("id", "<", (20,)),))
    exists = Exists((few,), (Comparison("x_t", "=", "a_t"),), negated)
    scan = joined((part("a", "id", "t"),), columns=(OutputColumn("a_id", BIGINT, "id"),), predicates=(exists,))
    if not silo.source.capabilities().exists:
        with pytest.raises(ValueError, match="EXISTS"):
            read(silo, scan)
        return
    there = {row[1] for row in ROWS if row[0] < 20}
    want = [row[0] for row in ROWS if (row[1] is not None and row[1] in there) is not negated]
    assert sorted(r["id"] for r in read(silo, scan)) == want


@pytest.mark.parametrize(("left", "right"), PAIRS)
@pytest.mark.parametrize("bound", [10, 120])
def test_rows_that_are_not_among_others(silo: Silo, left: str, right: str, bound: int) -> None:
    """A NULL among the others leaves nobody; a NULL beside them is never told to be none of them."""
    others = [value(row, right) for row in ROWS if row[0] < bound]
    for among in (others, [v for v in others if v is not None]):
        few = (Predicate("id", "<", (bound,)), *([] if among is others else [Predicate(right, "is not null")]))
        asked = NotIn(f"a_{left}", part("x", right, predicates=few))
        outer = part("a", *dict.fromkeys(("id", left)))
        scan = joined((outer,), columns=(OutputColumn("a_id", BIGINT, "id"),), predicates=(asked,))
        if not silo.source.capabilities().excludes:
            with pytest.raises(ValueError, match="NOT IN"):
                read(silo, scan)
            continue
        want = [r[0] for r in ROWS if None not in (value(r, left), *among) and value(r, left) not in among]
        assert sorted(r["id"] for r in read(silo, scan)) == want
        assert None in others or 0 < len(want) < len(ROWS)


@pytest.mark.parametrize("column", ["t", "n", "b", "amt", "d"])
def test_different_values_are_counted_as_trino_counts_them(silo: Silo, column: str) -> None:
    aggregates = (Aggregate("count", column, BIGINT, "n", distinct=True), Aggregate("count", column, BIGINT, "all"))
    scan = scan_of(columns=(), aggregates=aggregates)
    if MORE[column].name not in silo.source.capabilities().distinct:
        with pytest.raises(ValueError, match="different values"):
            read(silo, scan)
        return
    found = [v for row in ROWS if (v := value(row, column)) is not None]
    assert read(silo, scan) == [{"n": len(set(found)), "all": len(found)}]
    assert len(set(found)) < len(found)


def test_only_counts_are_of_different_values(silo: Silo) -> None:
    for wrong in (
        Aggregate("sum", "n", BIGINT, "s", distinct=True),
        Aggregate("count", None, BIGINT, "c", distinct=True),
    ):
        with pytest.raises(ValueError, match="not pushed"):
            read(silo, scan_of(columns=(), aggregates=(wrong,)))


@pytest.mark.parametrize("column", ["t", "n", "amt", "d"])
def test_a_whole_answer_is_sorted_as_trino_sorts_it(silo: Silo, column: str) -> None:
    order = (Order(column, descending=True), Order("id"))
    scan = scan_of(columns=(OutputColumn("id", BIGINT, "id"),), order=order)
    if not silo.source.capabilities().sorts:
        with pytest.raises(ValueError, match="sorted"):
            read(silo, scan)
        return
    with_value = sorted((r for r in ROWS if value(r, column) is not None), key=lambda r: r[0])
    with_value.sort(key=lambda r: value(r, column), reverse=True)
    want = [r[0] for r in (*with_value, *sorted(r for r in ROWS if value(r, column) is None))]
    assert [r["id"] for r in read(silo, scan)] == want


def test_groups_over_a_join_with_groups_that_have_something(silo: Silo) -> None:
    """The rows of texts that occur more than nine times, by text."""
    inner = part("i", group_by=(GroupKey("t", VARCHAR, "i_t"),), aggregates=(Aggregate("count", None, BIGINT, "i_n"),))
    many = joined((inner,), columns=(OutputColumn("i_t", VARCHAR, "m_t"),), predicates=(Predicate("i_n", ">", (9,)),))
    scan = joined(
        (part("a", "id", "t"), many),
        group_by=(GroupKey("a_t", VARCHAR, "k"),),
        aggregates=(Aggregate("sum", "a_id", BIGINT, "s"),),
        predicates=(Comparison("a_t", "=", "m_t"),),
    )
    counts = Counter(row[1] for row in ROWS)
    want: Counter[str] = Counter()
    for row in ROWS:
        if row[1] is not None and counts[row[1]] > 9:
            want[row[1]] += row[0]
    assert want
    assert {r["k"]: r["s"] for r in read(silo, scan)} == dict(want)


def test_a_join_is_held_to_its_parts(silo: Silo) -> None:
    """A name that no part delivers, one name twice, a part with a limit, an owner's filter around it: all refused."""
    good = part("a", "id")
    ask = (OutputColumn("a_id", BIGINT, "id"),)
    assert len(read(silo, joined((good,), columns=ask))) == len(ROWS)
    for bad in (
        joined((good, good), columns=ask),
        joined((good,), columns=(OutputColumn("id", BIGINT, "id"),)),
        joined((part("a", "id", limit=1),), columns=ask),
        joined((part("a", "id", limit=1, order=(Order("id"),)),), columns=ask),
        joined((good,), columns=ask, row_filters=("1 = 1",)),
        joined((good,), columns=ask, predicates=(AnyOf((Exists((part("b", "id"),), ()),)),)),
        joined((good,), columns=ask, predicates=(Exists((good,), ()),)),
        joined((good,), columns=ask, predicates=(NotIn("a_id", good),)),
        joined((good,), columns=ask, predicates=(NotIn("a_id", part("b", "id", "n")),)),
        joined((good,), columns=ask, predicates=(NotIn("a_id", part("b", "t")),)),
        joined((good,), columns=ask, predicates=(AnyOf((NotIn("a_id", part("b", "id")),)),)),
    ):
        with pytest.raises(ValueError, match=r"."):
            read(silo, bad)
