"""Statements are written once: with other keys the same text has other digits in it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from catalog.types import parse
from connectors import mysql, postgres
from connectors.base import BoundKeys, GroupKey, NativeScan, OutputColumn, Predicate
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


@pytest.fixture(params=["postgres", "mysql"])
def make(request: pytest.FixtureRequest) -> Callable[[NativeScan], Compiler]:
    def of(scan: NativeScan) -> Compiler:
        natives = NATIVES[request.param]
        if request.param == "mysql":
            return MariaDBCompiler(scan, mysql.CAPABILITIES, lambda _: natives)
        return PostgresCompiler(scan, postgres.CAPABILITIES, lambda _: natives, bind=False)

    return of


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
    [(("a",), ints(range(5))), (("t",), pa.array([f"k{i}" for i in MANY])), (("a", "t"), pa.StructArray.from_arrays(
        [ints(MANY), pa.array([f"k{i}" for i in MANY])], names=["k", "k1"]))],
    ids=["few", "texts", "texts beside numbers"],
)  # fmt: skip
def test_keys_that_are_not_many_numbers_are_written_each_time(
    make: Callable[[NativeScan], Compiler], keys: BoundKeys
) -> None:
    written = Counted(make)
    for _ in range(3):
        written(scan_of(keys=bound(keys)))
    assert written.count == 3


def test_a_column_with_its_own_type_for_whole_numbers_is_written_each_time() -> None:
    natives = {**NATIVES["postgres"], "a": "numeric"}
    written = Counted(lambda s: PostgresCompiler(s, postgres.CAPABILITIES, lambda _: natives, bind=False))
    for _ in range(2):
        written(scan_of(keys=bound((("a",), ints(MANY)))))
    assert written.count == 4, "once to see that it cannot be kept, once as it is asked"


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
    with pytest.raises(ValueError, match="query id"):
        written(scan_of(query_id="q2 */ DROP TABLE x"))


def test_keys_that_nobody_may_send_are_refused_each_time(make: Callable[[NativeScan], Compiler]) -> None:
    written = Counted(make)
    written(scan_of(keys=bound((("a",), ints(MANY)))))
    for keys in (ints([*MANY, None]), ints(range(100_001))):
        with pytest.raises(ValueError, match="none of them NULL"):
            written(scan_of(keys=bound((("a",), keys))))
