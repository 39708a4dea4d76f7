"""Statements are written once: with other numbers the same text has other digits in it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.types import BOOLEAN, TrinoType, parse
from connectors import mysql, postgres
from connectors.base import (
    Aggregate,
    AllOf,
    AnyOf,
    BoundKeys,
    Case,
    Condition,
    Exists,
    GroupKey,
    NativeScan,
    Number,
    OutputColumn,
    Predicate,
    Truth,
)
from connectors.native import Compiled, Compiler, MariaDBCompiler, PostgresCompiler
from connectors.written import Texts

TYPES = {
    name: parse(kind) for name, kind in {"a": "bigint", "b": "integer", "c": "decimal(12,2)", "t": "varchar"}.items()
}
NATIVES = {
    "postgres": {"a": "int8", "b": "int2", "c": "numeric", "t": "text"},
    "mysql": {"a": "bigint", "b": "smallint", "c": "decimal", "t": "text"},
}
COLUMNS = tuple(OutputColumn(name, kind, name) for name, kind in TYPES.items())
MANY = range(1_000)


def scan_of(**parts: Any) -> NativeScan:
    return NativeScan("orders", False, TYPES, **{"columns": COLUMNS, **parts})


def ints(values: Any, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, kind or pa.int64())


def pairs(values: Any) -> pa.Array:
    return pa.StructArray.from_arrays([ints(values), ints([v % 7 for v in values])], names=["k", "k1"])


def maker(native: str) -> Callable[[NativeScan], Compiler]:
    def of(scan: NativeScan) -> Compiler:
        natives = NATIVES[native]
        if native == "mysql":
            return MariaDBCompiler(scan, mysql.CAPABILITIES, lambda _: natives)
        return PostgresCompiler(scan, postgres.CAPABILITIES, lambda _: natives, bind=False)

    return of


@pytest.fixture(params=["postgres", "mysql"])
def make(request: pytest.FixtureRequest) -> Callable[[NativeScan], Compiler]:
    return maker(request.param)


class Counted:
    """Counts how often a statement is written."""

    def __init__(self, make: Callable[[NativeScan], Compiler]) -> None:
        self.make, self.texts, self.count = make, Texts(), 0

    def __call__(self, scan: NativeScan, also: object = "") -> Compiled:
        def counting(scan: NativeScan) -> Compiler:
            self.count += 1
            return self.make(scan)

        found = self.texts.compiled(scan, also, counting)
        assert found == self.make(scan).compile(), "written once or anew, it is the same"
        return found

    def refuses(self, scan: NativeScan, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            self.texts.compiled(scan, "", self.make)


def bound(*keys: BoundKeys) -> tuple[BoundKeys, ...]:
    return keys


def test_other_keys_and_another_question_are_the_same_text(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for start in (0, 5, 70_000):
        keys = bound((("a",), ints([v + start for v in MANY])), (("b",), ints([v + start for v in MANY])))
        found = written(scan_of(keys=keys, query_id=f"q{start}"))
        assert f"/* atoll:q{start} */" in found.sql
        assert f"{start + 999}" in found.sql
    assert written.count == 1


def test_keys_of_two_columns_and_of_scans_inside_are_the_same_text(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    kinds = {"x": TYPES["a"], "y": TYPES["b"]}
    for start in (0, 3):
        values = [v + start for v in MANY]
        read = OutputColumn("a", TYPES["a"], "x"), OutputColumn("b", TYPES["b"], "y")
        part = NativeScan("lines", False, TYPES, read, keys=bound((("a", "b"), pairs(values))))
        joined = NativeScan((part,), False, kinds, (OutputColumn("x", TYPES["a"], "o"),),
                            keys=bound((("y",), ints(values))))  # fmt: skip
        written(joined)
    assert written.count == 1


def test_one_set_for_two_columns_is_not_two_sets(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    one, other = ints(MANY), ints([v * 3 for v in MANY])
    for first, second in ((one, one), (one, other), (other, one), (other, other)):
        written(scan_of(keys=bound((("a",), first), (("b",), second))))
    assert written.count == 2


def test_a_key_beyond_its_column_is_left_out_each_time(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    written(scan_of(keys=bound((("b",), ints(MANY)))))
    written(scan_of(keys=bound((("b",), ints([*MANY[1:], 10**6])))))
    assert written.count == 1


DIFFERENT = {
    "a literal": {"predicates": (Predicate("c", "=", (Decimal("1.10"),)),)},
    "an equal literal with other digits": {"predicates": (Predicate("c", "=", (Decimal("1.1"),)),)},
    "a text": {"predicates": (Predicate("t", "=", ("x",)),)},
    "a limit": {"limit": 3},
    "fewer columns": {"columns": COLUMNS[:2]},
    "a filter": {"row_filters": ("a > 1",)},
    "a column for its keys": {"keys": bound((("b",), ints(MANY)))},
    "keys of another type": {"keys": bound((("a",), ints(MANY, pa.int32())))},
    "groups": {"columns": (), "group_by": (GroupKey("a", TYPES["a"], "k"),)},
}


def test_what_differs_is_written_anew(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    plain = scan_of(keys=bound((("a",), ints(MANY))))
    for _ in range(2):
        for scan in (plain, *(replace(plain, **parts) for parts in DIFFERENT.values())):  # type: ignore[arg-type]
            written(scan)
    assert written.count == 1 + len(DIFFERENT)
    written(plain, also="the source's own types are others now")
    assert written.count == 2 + len(DIFFERENT)


@pytest.mark.parametrize(
    "keys",
    [(("a",), ints([])), (("t",), pa.array([f"k{i}" for i in MANY])), (("a", "t"), pa.StructArray.from_arrays(
        [ints(MANY), pa.array([f"k{i}" for i in MANY])], names=["k", "k1"]))],
    ids=["none", "texts", "texts beside numbers"],
)  # fmt: skip
def test_keys_that_are_not_numbers_are_written_each_time(
    make: Callable[[NativeScan], Compiler], keys: BoundKeys
) -> None:
    written = Counted(make)
    for _ in range(3):
        written(scan_of(keys=bound(keys)))
    assert written.count == 3


def test_few_keys_stand_in_the_same_text_as_many(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for values in ([5], [7, 9], range(50), range(51), MANY):
        written(scan_of(keys=bound((("a",), ints(values)), (("a", "b"), pairs(values)))))
    assert written.count == 1


def test_a_column_with_its_own_type_for_whole_numbers_is_written_each_time() -> None:
    natives = {**NATIVES["postgres"], "a": "numeric"}
    written = Counted(lambda s: PostgresCompiler(s, postgres.CAPABILITIES, lambda _: natives, bind=False))
    for _ in range(2):
        written(scan_of(keys=bound((("a",), ints(MANY)))))
    assert written.count == 3, "once to see that it cannot be kept, then as it is asked"


def test_one_set_for_such_a_column_and_another_is_written_each_time() -> None:
    natives = {**NATIVES["postgres"], "b": "numeric"}
    types = {**TYPES, "b": TYPES["a"]}
    written = Counted(lambda s: PostgresCompiler(s, postgres.CAPABILITIES, lambda _: natives, bind=False))
    for start in (0, 70_000):
        values = ints([v + start for v in MANY])
        several = pairs([v + start for v in MANY])
        both = bound((("a",), values), (("b",), values))
        written(replace(scan_of(columns=COLUMNS[:1], keys=both), types=types))
        rows = bound((("a", "a"), several), (("a", "b"), several))
        written(replace(scan_of(columns=COLUMNS[:1], keys=rows), types=types))


def test_a_name_cannot_end_its_comment_later(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    written(scan_of(query_id="q1"))
    written.refuses(scan_of(query_id="q2 */ DROP TABLE x"), "query id")


def test_keys_that_nobody_may_send_are_refused_each_time(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    written(scan_of(keys=bound((("a",), ints(MANY)))))
    for keys in (ints([*MANY, None]), ints(range(100_001))):
        written.refuses(scan_of(keys=bound((("a",), keys))), "none of them NULL")


# --- numbers that a column is compared with ----------------------------------------------------------


def asked(value: Any, op: Any = "=", column: str = "a") -> Predicate:
    return Predicate(column, op, (value,))


def look_up(*values: Any) -> NativeScan:
    return scan_of(predicates=tuple(map(asked, values)))


EXTREMES = (0, 1, -1, 123, -123, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63))


def test_a_look_up_by_another_number_is_the_same_text(make: Callable[[NativeScan], Compiler]) -> None:
    for first, then in ((1001, 2002), (2002, 1001)):
        written = Counted(make)
        written(look_up(first))
        found = written(look_up(then)).sql
        assert written.count == 1
        assert str(then) in found
        assert str(first) not in found, "nothing of the question before"


def test_every_number_of_64_bits_fits_its_place(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for op in ("=", "<>", "<", "<=", ">", ">="):
        for column in ("a", "b"):
            for value in EXTREMES:
                written(scan_of(predicates=(asked(value, op, column),)))
    assert written.count == 12


def test_equal_numbers_in_two_places_are_two_numbers(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for one, other in ((5, 5), (5, 7), (7, 5), (7, 7)):
        found = written(scan_of(predicates=(asked(one, ">="), asked(other, "<="))))
        assert found.sql.index(str(one)) <= found.sql.rindex(str(other))
    assert written.count == 1


def test_one_condition_in_two_places_has_one_number(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    same = asked(5)
    for first, second in ((same, same), (same, asked(5)), (asked(6), asked(7))):
        written(scan_of(predicates=(first, AnyOf((second, asked(1, ">"))))))
    assert written.count == 2


def test_what_an_owner_wrote_is_no_place_for_a_user_s_number(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    form = "CASE WHEN :c = 4711 THEN 4711 ELSE 0 END"
    mask = GroupKey("b", TrinoType("integer"), "k", form=form)
    for value in (4711, 8, 4712):
        parts = {"row_filters": ("a <> 4711",), "predicates": (asked(value),), "columns": COLUMNS[:1], "limit": 4711}
        found = written(scan_of(**parts))
        assert "a <> 4711" in found.sql
        assert found.sql.endswith("LIMIT 4711")
        grouped = written(scan_of(columns=(), group_by=(mask,), predicates=(asked(value),)))
        assert grouped.sql.count("4711") == 2 + (value == 4711)
    assert written.count == 2


def test_another_filter_or_form_is_another_text(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for value in (5, 6):
        written(scan_of(row_filters=("b > 5",), predicates=(asked(value),)))
        written(scan_of(row_filters=("b > 6",), predicates=(asked(value),)))
    assert written.count == 2


class Forged(int):
    """A number that is written as something else."""

    def __str__(self) -> str:
        return "1 OR 1 = 1"

    def __format__(self, how: str) -> str:
        return "1' OR '1' = '1"


REFUSED = {
    "beyond 64 bits": 2**63,
    "below them": -(2**63) - 1,
    "a truth value": True,
    "a decimal": Decimal(5),
    "a double": 5.0,
    "a text": "5",
    "a number of another class": Forged(5),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_number_of_64_bits_is_refused_each_time(make: Callable[[NativeScan], Compiler], value: Any) -> None:
    written = Counted(make)
    written(look_up(5))
    for scan in (look_up(value), scan_of(predicates=(Predicate("a", "in", (5, value)),))):
        for _ in range(2):
            written.refuses(scan, "literal")
    written(look_up(6))


def test_a_number_is_refused_by_a_column_of_something_else_each_time(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for value in (5, 6):
        written.refuses(scan_of(predicates=(asked(value, column="t"),)), "literal")


def test_a_number_for_decimals_is_written_each_time(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for value in (5, 6, 7):
        written(scan_of(predicates=(asked(value, column="c"),)))
    assert written.count == 4


def test_a_list_is_the_same_text_as_another_of_its_length(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for length in (1, 2, 50, 51, 200):
        for start in (0, 2**15 - 20, 2**40, -(2**63)):
            values = tuple(range(start, start + length))
            for column in ("a", "b"):
                found = written(scan_of(predicates=(Predicate(column, "in", values),)))
                beyond = "ANY" in found.sql and column == "b" and not -(2**15) <= start < 2**15
                assert (str(start) in found.sql) is not beyond, "an array has what its column has room for"
    assert written.count == 10
    written(scan_of(predicates=(Predicate("a", "in", ()),)))


def test_of_very_long_lists_nothing_is_kept(make: Callable[[NativeScan], Compiler]) -> None:
    """Else whoever asks for lists of 100,000 numbers, each of another length, fills the agent's memory."""
    written = Counted(make)
    for length in (1_001, 501):
        condition = Predicate("a", "in", tuple(range(length)))
        for _ in range(2):
            written(scan_of(predicates=(condition, replace(condition))))
    assert written.count == 4


def test_a_text_too_long_to_be_kept_is_written_once_each_time(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    for value in (5, 6):
        texts = tuple(f"{value} of {i}" for i in range(3_000))
        written(scan_of(predicates=(Predicate("t", "in", texts), asked(value))))
    assert written.count == 2
    assert not written.texts._known


def test_a_long_list_for_a_column_with_its_own_type_for_whole_numbers_is_written_each_time() -> None:
    natives = {**NATIVES["postgres"], "a": "numeric"}
    written = Counted(lambda s: PostgresCompiler(s, postgres.CAPABILITIES, lambda _: natives, bind=False))
    for start in (0, 1000):
        assert (
            str(start + 60) in written(scan_of(predicates=(Predicate("a", "in", tuple(range(start, start + 99))),))).sql
        )
        written(look_up(start))
    assert written.count == 4


def exists(condition: Condition) -> Exists:
    inner = NativeScan("lines", False, TYPES, (OutputColumn("a", TYPES["a"], "x"),), predicates=(condition,))
    return Exists((inner,), (asked(3, column="x"),))


def test_numbers_deep_in_a_scan_are_places_too(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    kind = parse("decimal(12,2)")
    for value in (17, 4, 99):
        case = Case(asked(value), "c", Number(0, TrinoType("integer")), kind)
        sums = (
            Aggregate("sum", case, parse("decimal(38,2)"), "s"),
            Aggregate("avg", case, kind, "m"),  # which names its condition several times
        )
        truth = Truth(asked(value, ">"), asked(value, "<="))
        written(scan_of(
            columns=(), group_by=(GroupKey("", BOOLEAN, "k", truth=truth),), aggregates=sums,
            predicates=(AnyOf((asked(value), AllOf((asked(1, ">"), asked(value + 1, "<"))))),),
        ))  # fmt: skip
        part = NativeScan("lines", False, TYPES, (OutputColumn("a", TYPES["a"], "x"),), predicates=(asked(value),))
        written(NativeScan((part,), False, {"x": TYPES["a"]}, (OutputColumn("x", TYPES["a"], "o"),)))
    assert written.count == 2


NUMBERS = st.one_of(st.sampled_from(EXTREMES), st.integers(0, 3))
LEAVES = st.one_of(
    st.builds(asked, NUMBERS, st.sampled_from(["=", "<>", "<", ">="]), st.sampled_from("ab")),
    st.builds(lambda vs: Predicate("b", "in", tuple(vs)), st.lists(NUMBERS, min_size=1, max_size=3)),
    st.builds(lambda v: asked(v, column="c"), st.decimals(-9, 9, places=1)),
    st.sampled_from([asked("3", column="t"), Predicate("a", "is null"), asked(3)]),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda kind, parts: kind(tuple(parts)), st.sampled_from([AllOf, AnyOf]), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=5,
)


@given(scans=st.lists(st.lists(CONDITIONS, max_size=3), min_size=2, max_size=12))
@pytest.mark.parametrize("native", ["postgres", "mysql"])
def test_whatever_was_asked_before_a_text_is_what_it_would_be_anew(native: str, scans: list[list[Condition]]) -> None:
    written = Counted(maker(native))
    for conditions in scans:
        written(scan_of(predicates=tuple(conditions)))
