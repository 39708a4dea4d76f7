"""Every kind of source against one oracle: what it delivers, what it pushes, how it stops, what it refuses.

What a source says it cannot push is a strict xfail named after it: the run's list of xfails is the
feature matrix, and a source that starts to push more must say so in its Capabilities.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import islice, product
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.exchange import KEY_COLUMNS
from catalog.types import BIGINT, VARCHAR, TrinoType
from catalog.types import parse as parse_type
from connectors.base import (
    Aggregate,
    Cancel,
    Cancelled,
    GroupKey,
    NativeScan,
    Op,
    Order,
    OutputColumn,
    Predicate,
    SourceError,
)
from tests.conformance.data import COLUMNS, LITERALS, ODD, ROWS, TYPES, aggregate, key_of, matching
from tests.conformance.silos import Silo

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
ENDLESS = "SELECT a.id AS id FROM awkward a, awkward b, awkward c, awkward d"
IDS = (OutputColumn("id", BIGINT, "id"),)


def outputs(*names: str, **types: TrinoType) -> tuple[OutputColumn, ...]:
    return tuple(OutputColumn(name, types.get(name, TYPES[name]), name) for name in names)


def scan_of(**parts: Any) -> NativeScan:
    parts = {"relation": "awkward", "is_query": False, "types": TYPES, "query_id": "q_1", **parts}
    return NativeScan(**parts)


def read(silo: Silo, scan: NativeScan) -> list[dict[str, Any]]:
    batches = list(silo.source.scan(scan, Cancel()))
    for batch in batches:
        assert batch.schema == scan.schema
    return list(pa.Table.from_batches(batches, scan.schema).to_pylist())


def ids(silo: Silo, **parts: Any) -> list[int]:
    return sorted(row["id"] for row in read(silo, scan_of(columns=IDS, **parts)))


@pytest.fixture
def unless(request: pytest.FixtureRequest) -> Callable[[bool, str], None]:
    """Expect the test to be refused (strictly) where a source's Capabilities leave something out."""

    def expect(able: bool, what: str) -> None:
        if not able:
            mark = pytest.mark.xfail(raises=ValueError, strict=True, reason=f"not pushed: {what}")
            request.applymarker(mark)

    return expect


# --- what is delivered --------------------------------------------------------------------------------


def test_every_value_comes_back_as_it_went_in(silo: Silo) -> None:
    rows = read(silo, scan_of(columns=outputs(*COLUMNS)))
    rows.sort(key=lambda row: row["id"])
    assert [tuple(row.values()) for row in rows] == ROWS


def test_columns_come_in_the_order_and_under_the_names_asked_for(silo: Silo) -> None:
    columns = (
        OutputColumn("d", TYPES["d"], "c0"),
        OutputColumn("id", BIGINT, "c1"),
        OutputColumn("d", TYPES["d"], "c2"),
    )
    rows = read(silo, scan_of(columns=columns, predicates=(Predicate("id", "=", (5,)),)))
    assert rows == [{"c0": ROWS[5][6], "c1": 5, "c2": ROWS[5][6]}]


def test_introspection_finds_the_table_its_columns_and_types(silo: Silo) -> None:
    table = next(t for t in silo.source.tables() if t.name == "awkward")
    assert [c.name for c in table.columns] == COLUMNS
    found = {c.name: c.type for c in table.columns}
    assert found["id"] == BIGINT
    assert found["t"] == VARCHAR
    assert str(found["d"]) == "date"
    assert found["f"] is not None
    assert found["f"].name == "boolean"
    if silo.kind != "sqlite":  # where a decimal is TEXT
        assert found["amt"] == TYPES["amt"]


def test_an_owner_view_may_end_in_a_comment_or_semicolon_and_use_a_with_clause(silo: Silo) -> None:
    view = "WITH w AS (SELECT * FROM awkward WHERE id < 3) SELECT id FROM w -- only the first\n;"
    assert ids(silo, relation=view, is_query=True, types={"id": BIGINT}) == [0, 1, 2]


def test_row_filters_hold_together_with_predicates(silo: Silo) -> None:
    filters = ("id > 10 OR id = 2", "id <> 12 -- never")
    found = ids(silo, row_filters=filters, predicates=(Predicate("id", "<", (14,)),))
    assert found == [2, 11, 13]


def test_look_ups_one_after_the_other_select_their_own_rows(silo: Silo) -> None:
    for wanted in (3, 7, 11, 3, -1, 2**63 - 1, -(2**63)):
        found = ids(silo, row_filters=("id <> 7",), predicates=(Predicate("id", "=", (wanted,)),))
        assert found == [wanted] * (wanted in (3, 11)), "the owner's 7 stays, whatever was asked before"
        found = ids(silo, row_filters=("id <> 7",), predicates=(Predicate("id", "in", (wanted, 5)),))
        assert found == sorted({5} | {wanted} & {3, 11})


def test_a_limit_stops_early_and_zero_rows_is_an_answer(silo: Silo) -> None:
    assert len(ids(silo, limit=7)) == 7
    assert ids(silo, limit=0) == []
    assert ids(silo, predicates=(Predicate("id", "=", (-5,)),)) == []


# --- what is pushed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("column", LITERALS)
@pytest.mark.parametrize("op", COMPARISONS)
def test_a_comparison_selects_trinos_rows(
    silo: Silo, op: Any, column: str, unless: Callable[[bool, str], None]
) -> None:
    unless(TYPES[column].name in silo.source.capabilities().predicates[op], f"{op} on {TYPES[column]}")
    for literal in LITERALS[column]:
        predicate = Predicate(column, op, (literal,))
        assert ids(silo, predicates=(predicate,)) == matching([predicate]), literal


@pytest.mark.parametrize("column", LITERALS)
def test_in_selects_trinos_rows(silo: Silo, column: str, unless: Callable[[bool, str], None]) -> None:
    unless(TYPES[column].name in silo.source.capabilities().predicates["in"], f"IN on {TYPES[column]}")
    for values in ((), tuple(LITERALS[column][:1]), tuple(LITERALS[column])):
        predicate = Predicate(column, "in", values)
        assert ids(silo, predicates=(predicate,)) == matching([predicate])


@pytest.mark.parametrize("op", ["is null", "is not null"])
def test_null_tests_select_trinos_rows(silo: Silo, op: Any) -> None:
    for column in COLUMNS:
        predicate = Predicate(column, op)
        assert ids(silo, predicates=(predicate,)) == matching([predicate]), column


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_conjunction_of_pushed_predicates_selects_trinos_rows(silo: Silo, data: st.DataObject) -> None:
    able = silo.source.capabilities().predicates
    choices = [(c, op) for c in LITERALS for op in (*COMPARISONS, "in") if TYPES[c].name in able[op]]
    predicates: list[Predicate] = []
    for column, op in data.draw(st.lists(st.sampled_from(choices), min_size=1, max_size=4)):
        count = data.draw(st.integers(0, 60)) if op == "in" else 1
        values = data.draw(st.lists(st.sampled_from(LITERALS[column]), min_size=count, max_size=count))
        predicates.append(Predicate(column, cast(Op, op), tuple(values)))
    assert ids(silo, predicates=tuple(predicates)) == matching(predicates)


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_safe_literal(silo: Silo, text: str) -> None:
    equal = Predicate("t", "=", (text,))
    among = Predicate("t", "in", (text, "abc"))
    assert ids(silo, predicates=(equal,)) == matching([equal])
    assert ids(silo, predicates=(among,)) == matching([among])


@pytest.mark.parametrize("column", ["amt", "big", "x", "b", "t", "d"])
def test_a_long_in_list_selects_trinos_rows(silo: Silo, column: str, unless: Callable[[bool, str], None]) -> None:
    unless(TYPES[column].name in silo.source.capabilities().predicates["in"], f"IN on {TYPES[column]}")
    more = {"amt": [*range(100), Decimal("0.5")], "big": [*range(100)], "x": [*range(100), 0.5], "b": [*range(9, 200)]}
    values = LITERALS[column] + more.get(column, LITERALS[column] * 9)
    predicate = Predicate(column, "in", tuple(values))
    assert ids(silo, predicates=(predicate,)) == matching([predicate])


def test_text_is_equal_by_its_bytes_alone(silo: Silo) -> None:
    for text in ("abc", "ABC", "abc ", "é", "e\u0301", "ss", "ß", ""):
        predicate = Predicate("t", "=", (text,))
        assert ids(silo, predicates=(predicate,)) == [r[0] for r in ROWS if r[1] == text], text


@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_bind_keys_select_exactly_their_rows(silo: Silo, count: int) -> None:
    numbers = pa.array([*range(3, 3 + count)], pa.int64())
    expected = [i for i in range(len(ROWS)) if 3 <= i < 3 + count]
    assert ids(silo, keys=((("id",), numbers),)) == expected
    texts = pa.array(["abc", *(f"key {i}" for i in range(count - 1))][:count], pa.string())
    assert ids(silo, keys=((("t",), texts),)) == [r[0] for r in ROWS if count and r[1] == "abc"]


def test_bind_keys_may_be_awkward_texts_dates_and_out_of_range_numbers(silo: Silo) -> None:
    texts = [t for t in LITERALS["t"] if isinstance(t, str)]
    assert ids(silo, keys=((("t",), pa.array(texts)),)) == [r[0] for r in ROWS if r[1] in texts]
    days = pa.array(LITERALS["d"][:4], pa.date32())
    assert ids(silo, keys=((("d",), days),)) == [r[0] for r in ROWS if r[6] in LITERALS["d"][:4]]
    numbers = pa.array([1, 2**40], pa.int64())
    assert ids(silo, keys=((("n",), numbers),)) == [r[0] for r in ROWS if r[2] == 1]


def test_two_keys_parts_both_hold(silo: Silo) -> None:
    keys = ((("id",), pa.array([1, 2, 3], pa.int64())), (("t",), pa.array([ROWS[2][1], ROWS[3][1]])))
    assert ids(silo, keys=keys) == [2, 3]


@pytest.mark.parametrize("columns", [("n", "t"), ("t", "d"), ("id", "b"), ("d", "n"), ("id", "t", "d")])
@pytest.mark.parametrize("others", [0, 200])
def test_keys_of_several_parts_select_exactly_the_rows_that_have_all_of_one(
    silo: Silo, columns: tuple[str, ...], others: int
) -> None:
    """Each part alone is that of many rows more: every text beside every number that there is somewhere."""
    places = [COLUMNS.index(c) for c in columns]
    rows = [tuple(row[p] for p in places) for row in ROWS]
    whole = [key for key in dict.fromkeys(rows) if None not in key]
    wanted = {*whole[::3]}
    mixed = [(*a[:-1], b[-1]) for a, b in zip(whole, reversed(whole), strict=True)]
    wanted |= {key for key in mixed[:others] if key not in whole}
    strangers = [(2**40, *whole[0][1:])] if columns[0] in ("n", "id") else []
    assert ids(silo, keys=((columns, struct(columns, [*wanted, *strangers])),)) == [
        row[0] for row, key in zip(ROWS, rows, strict=True) if key in wanted
    ]


def test_without_a_key_of_several_parts_no_row_is_selected(silo: Silo) -> None:
    assert ids(silo, keys=((("n", "t"), struct(("n", "t"), [])),)) == []


def test_groups_are_those_of_the_rows_that_keys_of_several_parts_select(silo: Silo) -> None:
    keys = struct(("id", "t"), [(row[0], row[1]) for row in ROWS if row[1] is not None and row[0] % 2])
    total = Aggregate("count", None, BIGINT, "n")
    expected = sum(1 for row in ROWS if row[1] is not None and row[0] % 2)
    assert read(silo, scan_of(aggregates=(total,), keys=((("id", "t"), keys),))) == [{"n": expected}]


def struct(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> pa.Array:
    """Keys of several parts, whole numbers as wide as they come."""
    kinds = [pa.int64() if TYPES[c].is_integer else TYPES[c].arrow() for c in columns]
    parts = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    return pa.StructArray.from_arrays(parts, names=list(KEY_COLUMNS[: len(columns)]))


@pytest.mark.parametrize("column", ["t", "n", "b", "amt", "big", "d", "ts", "f"])
def test_groups_are_trinos(silo: Silo, column: str, unless: Callable[[bool, str], None]) -> None:
    unless(TYPES[column].name in silo.source.capabilities().group_types, f"GROUP BY {TYPES[column]}")
    rows = read(
        silo,
        scan_of(
            group_by=(GroupKey(column, TYPES[column], "k"),),
            aggregates=(Aggregate("count", None, BIGINT, "n"), Aggregate("sum", "id", BIGINT, "s")),
        ),
    )
    expected: dict[Any, list[int]] = {}
    for row in ROWS:
        expected.setdefault(row[COLUMNS.index(column)], []).append(row[0])
    assert {r["k"]: (r["n"], r["s"]) for r in rows} == {k: (len(v), sum(v)) for k, v in expected.items()}
    assert len(rows) == len(expected)


@pytest.mark.parametrize("function", ["year", "month", "quarter"])
def test_groups_by_a_part_of_a_date_are_trinos(silo: Silo, function: Any) -> None:
    assert function in silo.source.capabilities().key_functions
    keys = (GroupKey("d", BIGINT, "k", function), GroupKey("f", TYPES["f"], "f"))
    rows = read(silo, scan_of(group_by=keys, aggregates=(Aggregate("count", "d", BIGINT, "n"),)))
    expected: dict[Any, int] = {}
    for row in ROWS:
        key = (key_of(row[6], function), row[8])
        expected[key] = expected.get(key, 0) + (row[6] is not None)
    assert {(r["k"], r["f"]): r["n"] for r in rows} == expected


@pytest.mark.parametrize("column", [c for c in COLUMNS if c != ODD])
@pytest.mark.parametrize("function", ["count", "sum", "min", "max"])
def test_an_aggregate_is_exactly_trinos(
    silo: Silo, function: Any, column: str, unless: Callable[[bool, str], None]
) -> None:
    type_ = TYPES[column]
    unless(type_.name in silo.source.capabilities().aggregates[function], f"{function} of {type_}")
    result = {"count": BIGINT, "sum": BIGINT if type_.is_integer else TrinoType("decimal", (38, *type_.args[1:2]))}
    place, kept = COLUMNS.index(column), ROWS
    if function == "sum" and column in ("b", "big"):  # their whole sums overflow, in Trino too
        kept = [r for r in ROWS if r[place] is None or abs(r[place]) < 2**60]
    scan = scan_of(
        aggregates=(Aggregate(function, column, result.get(function, type_), "a"),),
        predicates=(Predicate("id", "in", tuple(r[0] for r in kept)),),
    )
    assert read(silo, scan) == [{"a": aggregate(function, [r[place] for r in kept])}]


def test_a_sum_beyond_bigint_is_an_error_as_in_trino(silo: Silo) -> None:
    scan = scan_of(aggregates=(Aggregate("sum", "b", BIGINT, "total"),), predicates=(Predicate("b", ">", (10**16,)),))
    with pytest.raises(SourceError):
        read(silo, scan)


@pytest.mark.parametrize("column", ["b", "n"])
def test_a_sum_delivered_as_a_decimal_is_exact_beyond_bigint(silo: Silo, column: str) -> None:
    """Sums under a floor are asked for so: an overflow would tell of a row whose cell is withheld."""
    wide, place = TrinoType("decimal", (38, 0)), COLUMNS.index(column)
    twice = f"SELECT id, {column} FROM awkward UNION ALL SELECT id, {column} FROM awkward"
    for names, above in (([r[place] for r in ROWS if r[place] is not None], -(2**63)), ([], 2**63 - 1)):
        kept = [v for v in names if v > above] * 2
        scan = scan_of(
            relation=twice, is_query=True, types={"id": BIGINT, column: TYPES[column]},
            aggregates=(Aggregate("sum", column, wide, "total"),), predicates=(Predicate(column, ">", (above,)),),
        )  # fmt: skip
        assert read(silo, scan) == [{"total": Decimal(sum(kept)) if kept else None}]


def test_an_aggregate_over_no_rows_is_one_row(silo: Silo) -> None:
    aggregates = (Aggregate("count", None, BIGINT, "n"), Aggregate("sum", "n", BIGINT, "s"))
    nothing = scan_of(aggregates=aggregates, keys=((("id",), pa.array([], pa.int64())),))
    assert read(silo, nothing) == [{"n": 0, "s": None}]


@pytest.mark.parametrize("column", ["n", "b", "amt", "big", "t", "d"])
def test_the_first_rows_of_an_order_are_trinos(silo: Silo, column: str, unless: Callable[[bool, str], None]) -> None:
    allowed = silo.source.capabilities()
    unless(TYPES[column].name in allowed.orders, f"ORDER BY {TYPES[column]}")
    place = COLUMNS.index(column)
    nothing = sorted((r for r in ROWS if r[place] is None), key=lambda r: r[0])
    for descending, nulls_first in product((False, True), repeat=2):
        there = sorted((r for r in ROWS if r[place] is not None), key=lambda r: r[0])
        there.sort(key=lambda r: r[place].encode() if isinstance(r[place], str) else r[place], reverse=descending)
        expected = [r[0] for r in (nothing + there if nulls_first else there + nothing)]
        order = (Order(column, descending, nulls_first), Order("id"))
        for limit in (1, len(ROWS) // 2, len(ROWS)):
            rows = read(silo, scan_of(columns=IDS, order=order, limit=limit))
            assert [row["id"] for row in rows] == expected[:limit]


def test_an_order_of_groups_or_by_a_double_is_refused(silo: Silo) -> None:
    """Of a whole answer, where a source does not sort those, `test_expressions` refuses one."""
    count = (Aggregate("count", None, BIGINT, "n"),)
    for parts in (
        {"order": (Order("id"),), "columns": (), "aggregates": count},
        {"order": (Order("x"),), "limit": 3, "columns": IDS},
    ):
        with pytest.raises(ValueError, match="order"):
            read(silo, scan_of(**parts))


def test_a_query_id_is_visible_to_the_owner(silo: Silo) -> None:
    if silo.kind not in ("postgres", "mysql"):
        pytest.xfail("an embedded engine has no activity view")
    endless = scan_of(relation=ENDLESS, is_query=True, types={"id": BIGINT}, columns=IDS, query_id="q_visible")
    stream = silo.source.scan(endless, Cancel())
    next(stream)
    assert any("atoll:q_visible" in text for text in silo.activity())
    stream.close()  # type: ignore[attr-defined]


# --- how it stops -------------------------------------------------------------------------------------


def _cancelled_after(silo: Silo, scan: NativeScan, seconds: float) -> float:
    """Cancel a scan after some seconds; how long it then took to stop."""
    cancel = Cancel()
    at: list[float] = []

    def stop() -> None:
        at.append(time.monotonic())
        cancel.set()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        with pytest.raises(Cancelled):
            for _ in silo.source.scan(scan, cancel):
                pass
    finally:
        timer.cancel()
    return time.monotonic() - at[0]


def test_a_cancel_between_batches_stops_within_a_second(silo: Silo) -> None:
    endless = scan_of(relation=ENDLESS, is_query=True, types={"id": BIGINT}, columns=IDS)
    assert _cancelled_after(silo, endless, 0.3) < 1.0


def test_a_cancel_before_the_first_row_stops_within_a_second(silo: Silo) -> None:
    endless = scan_of(
        relation=ENDLESS, is_query=True, types={"id": BIGINT}, aggregates=(Aggregate("max", "id", BIGINT, "m"),)
    )
    assert _cancelled_after(silo, endless, 0.3) < 1.0


def test_a_scan_that_is_cancelled_before_it_starts_runs_nothing(silo: Silo) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        list(silo.source.scan(scan_of(columns=IDS), cancel))


def test_closing_a_stream_early_frees_the_source(silo: Silo) -> None:
    endless = scan_of(relation=ENDLESS, is_query=True, types={"id": BIGINT}, columns=IDS)
    for _ in range(6):  # more than any pool has places
        stream = silo.source.scan(endless, Cancel())
        assert next(stream).num_rows
        stream.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 2.0
    while any("atoll:q_1" in text for text in silo.activity()):
        assert time.monotonic() < end, "the server still works for an abandoned scan"
        time.sleep(0.05)
    assert ids(silo, limit=1)


def test_two_scans_at_once_do_not_disturb_each_other(silo: Silo) -> None:
    endless = scan_of(relation=ENDLESS, is_query=True, types={"id": BIGINT}, columns=IDS)
    first, second = silo.source.scan(endless, Cancel()), silo.source.scan(endless, Cancel())
    for a, b in islice(zip(first, second, strict=False), 5):
        assert a.num_rows
        assert b.num_rows
        assert ids(silo, predicates=(Predicate("id", "=", (1,)),)) == [1]
    first.close()  # type: ignore[attr-defined]
    second.close()  # type: ignore[attr-defined]


def test_many_threads_read_right_answers(silo: Silo) -> None:
    found: list[list[int]] = []

    def work(low: int) -> None:
        for _ in range(5):
            found.append(ids(silo, predicates=(Predicate("id", ">=", (low,)), Predicate("id", "<", (low + 3,)))))

    threads = [threading.Thread(target=work, args=(10 * i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([[10 * i, 10 * i + 1, 10 * i + 2] for i in range(6)] * 5)


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM awkward",
        "UPDATE awkward SET id = 1",
        "INSERT INTO awkward (id) VALUES (1)",
        "CREATE TABLE other AS SELECT 1 AS id",
        "DROP TABLE awkward",
        "SELECT id FROM awkward); DELETE FROM awkward; SELECT (1",
        "SELECT id FROM awkward; DELETE FROM awkward",
        "SELECT id FROM awkward) AS r; DELETE FROM awkward --",
        "",
    ],
)
def test_an_owner_text_that_is_no_query_fails_and_changes_nothing(silo: Silo, text: str) -> None:
    with pytest.raises((SourceError, ValueError)):
        ids(silo, relation=text, is_query=True, types={"id": BIGINT})
    assert len(ids(silo)) == len(ROWS)


def test_a_broken_owner_text_is_a_source_error_and_leaves_the_source_usable(silo: Silo) -> None:
    for text in ("SELECT nope FROM awkward", "SELECT id FROM nope", "SELECT id FRO awkward", "SELECT t AS id FROM"):
        with pytest.raises(SourceError):
            ids(silo, relation=text, is_query=True, types={"id": BIGINT})
    assert ids(silo, limit=1)


@pytest.mark.parametrize(
    ("column", "declared"),
    [("b", "smallint"), ("t", "bigint"), ("amt", "decimal(14,1)"), ("t", "varchar(3)"), ("t", "date"), ("x", "bigint")],
)
def test_a_value_that_does_not_fit_is_an_error_that_names_its_column(silo: Silo, column: str, declared: str) -> None:
    type_ = parse_type(declared)
    scan = scan_of(types={column: type_}, columns=(OutputColumn(column, type_, column),))
    with pytest.raises(SourceError, match=f"'{column}'"):
        read(silo, scan)


def test_a_column_without_a_declared_type_is_refused(silo: Silo) -> None:
    with pytest.raises(ValueError, match="'d' has no declared type"):
        ids(silo, types={"id": BIGINT}, predicates=(Predicate("d", "is null"),))


@pytest.mark.parametrize(
    ("column", "literal"),
    [
        ("id", "1"), ("id", True), ("id", 2**63), ("t", 1), ("t", "nul\0"), ("t", "\ud800"), ("d", "2024-01-01"),
        ("d", ROWS[0][7]), ("x", float("nan")), ("x", float("inf")), ("f", 1), ("id", Decimal(1)),
    ],
)  # fmt: skip
def test_a_literal_of_another_type_is_refused_before_any_sql_exists(silo: Silo, column: str, literal: Any) -> None:
    with pytest.raises(ValueError, match=f"'{column}'"):
        ids(silo, predicates=(Predicate(column, "=", (literal,)),))


def test_a_query_id_cannot_end_its_comment(silo: Silo) -> None:
    with pytest.raises(ValueError, match="query id"):
        ids(silo, query_id="x */ DELETE FROM awkward; /*")


def test_keys_with_null_or_beyond_the_cap_are_refused(silo: Silo) -> None:
    with pytest.raises(ValueError, match=r"keys on .'id'"):
        ids(silo, keys=((("id",), pa.array([1, None], pa.int64())),))
    with pytest.raises(ValueError, match=r"keys on .'id', 't'"):
        ids(silo, keys=((("id", "t"), struct(("id", "t"), [(1, None)])),))
    with pytest.raises(ValueError, match=r"keys on .'id', 't'"):
        ids(silo, keys=((("id", "t"), struct(("id",), [(1,)])),))
    with pytest.raises(ValueError, match="keys on 'amt'"):
        ids(silo, keys=((("id", "amt"), struct(("id", "amt"), [])),))
    with pytest.raises(ValueError, match=r"keys on .'id'"):
        ids(silo, keys=((("id",), pa.array(range(100_001), pa.int64())),))


def test_after_close_a_scan_is_a_source_error(silo: Silo) -> None:
    source = silo.another()
    source.ping()
    source.close()
    with pytest.raises(SourceError):
        list(source.scan(scan_of(columns=IDS), Cancel()))
