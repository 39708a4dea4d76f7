"""Every Arrow value becomes the JSON that Trino sends."""

from __future__ import annotations

import datetime
import math
import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import CityError
from catalog.types import TrinoType, parse
from gateway.execution import Execution, ResultColumn, Session
from gateway.server import floats
from gateway.server.pages import Pages, client_columns, column_list, values
from gateway.server.pages import encode as as_json

DAY = datetime.date(2024, 2, 29)
MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, 123456)
BEFORE = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)
ZONED = MOMENT.replace(tzinfo=datetime.UTC)


def encode(batch: pa.RecordBatch, columns: Sequence[ResultColumn]) -> bytes:
    """A batch as JSON: the same text whether its rows count as few or as many."""
    with pytest.MonkeyPatch.context() as counted:
        counted.setattr("gateway.server.rows.FEW", 0)
        many = as_json(batch, columns)
        counted.setattr("gateway.server.rows.FEW", batch.num_rows)
        assert as_json(batch, columns) == many
    return many


def shown(kind: str, value: Any, dtype: pa.DataType | None = None) -> Any:
    """What a client reads of one value of a type."""
    found = parse(kind)
    array = pa.array([value, None], dtype or found.arrow())
    encoded = orjson.loads(orjson.dumps(values(array, found)))
    assert encoded[1] is None
    return encoded[0]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("boolean", True, True),
        ("tinyint", -128, -128),
        ("bigint", 9007199254740993, 9007199254740993),
        ("double", 1.1, 1.1),
        ("double", 1e100, 1e100),
        ("double", math.nan, "NaN"),
        ("double", math.inf, "Infinity"),
        ("double", -math.inf, "-Infinity"),
        ("real", 1.1, 1.1),
        ("real", math.nan, "NaN"),
        ("decimal(3, 2)", Decimal("1.50"), "1.50"),
        ("decimal(22, 2)", Decimal("12345678901234567890.12"), "12345678901234567890.12"),
        ("decimal(38, 20)", Decimal("-1E-20"), "-0.00000000000000000001"),
        ("decimal(20, 10)", Decimal(0), "0.0000000000"),
        ("decimal(5, 0)", Decimal(-7), "-7"),
        ("varchar(5)", "é", "é"),
        ("char(3)", "é", "é  "),
        ("json", '{"a":[1,2.5],"b":1,"ü":null}', '{"a":[1,2.5],"b":1,"ü":null}'),
        ("json", "12345678901234567890123", "12345678901234567890123"),
        ("varbinary", b"\x00\xff", "AP8="),
        ("date", DAY, "2024-02-29"),
        ("time(6)", datetime.time(1, 2, 3, 123456), "01:02:03.123456"),
        ("time(3)", datetime.time(1, 2, 3, 123456), "01:02:03.123"),
        ("time(0)", datetime.time(1, 2, 3), "01:02:03"),
        ("timestamp(6)", MOMENT, "2024-01-02 03:04:05.123456"),
        ("timestamp(4)", MOMENT, "2024-01-02 03:04:05.1234"),
        ("timestamp(0)", MOMENT.replace(microsecond=0), "2024-01-02 03:04:05"),
        ("timestamp(4)", BEFORE, "1969-12-31 23:59:59.9999"),
        ("timestamp(6) with time zone", ZONED, "2024-01-02 03:04:05.123456 UTC"),
        ("timestamp(3) with time zone", ZONED.replace(microsecond=123000), "2024-01-02 03:04:05.123 UTC"),
        ("array(integer)", [1, None], [1, None]),
        ("array(array(date))", [[DAY], [], None], [["2024-02-29"], [], None]),
        ("map(varchar, double)", {"k": 1.0}, {"k": 1.0}),
        ("map(date, integer)", {DAY: 1}, {"2024-02-29": 1}),
        ("map(boolean, integer)", {True: 1}, {"true": 1}),
        ("map(double, integer)", {1.5: 1, 1e100: 2, 1e-5: 3}, {"1.5": 1, "1.0E100": 2, "1.0E-5": 3}),
        ("map(double, integer)", {12345678.0: 1}, {"1.2345678E7": 1}),
        ("row(a integer, b varchar)", {"a": 1, "b": "x"}, [1, "x"]),
        ("row(a array(decimal(3, 1)), b row(c date))", {"a": [Decimal(1)], "b": {"c": DAY}}, [["1.0"], ["2024-02-29"]]),
    ],
)  # fmt: skip
def test_values_look_as_trino_writes_them(kind: str, value: Any, expected: Any) -> None:
    if isinstance(value, dict) and kind.startswith("map"):
        value = list(value.items())
    assert shown(kind, value) == expected


LAID_OUT = {
    5.0: "5.0", -0.0: "-0.0", 0.1: "0.1", 0.001: "0.001", 9.9e-4: "9.9E-4", 1.2e-4: "1.2E-4", 1e-5: "1.0E-5",
    123456.789: "123456.789", 9999999.5: "9999999.5", 1e7: "1.0E7", 12345678.25: "1.234567825E7", 1e10: "1.0E10",
    -1e22: "-1.0E22", 1e23: "1.0E23", 9007199254740993.0: "9.007199254740992E15", 1.5e15: "1.5E15",
    123456789012345678.0: "1.2345678901234568E17", 1.7976931348623157e308: "1.7976931348623157E308",
    5e-324: "4.9E-324", 2e-323: "2.0E-323", math.nan: '"NaN"', math.inf: '"Infinity"', -math.inf: '"-Infinity"',
}  # fmt: skip
"""As Trino 476 answered."""
REALS = {
    5.0: "5.0", -0.0: "-0.0", 1.1: "1.1", 0.001: "0.001", 9.9e-4: "9.9E-4", 1e10: "1.0E10", 16777216.0: "1.6777216E7",
    9999999.0: "9999999.0", 3.4028235e38: "3.4028235E38", 1e-45: "1.4E-45", 2.8e-45: "2.8E-45", math.nan: '"NaN"',
}  # fmt: skip


@pytest.mark.parametrize(("kind", "expected"), [("double", LAID_OUT), ("real", REALS)])
def test_floating_point_numbers_are_laid_out_as_trino_lays_them_out(kind: str, expected: dict[float, str]) -> None:
    numbers, texts = [*expected, None], [*expected.values(), "null"]
    array = pa.array(numbers, parse(kind).arrow())
    rows = encode(pa.record_batch([array], names=["x"]), [ResultColumn("x", parse(kind))])
    assert rows.decode() == "[" + ",".join(f"[{text}]" for text in texts) + "]"
    for number, text in zip(numbers, texts, strict=True):
        one = encode(pa.record_batch([pa.array([number], array.type)], names=["x"]), [ResultColumn("x", parse(kind))])
        assert one.decode() == f"[[{text}]]", "alone as in company"
    nested = parse(f"row(a array({kind}), m map({kind}, {kind}))")
    whole = [{"a": numbers, "m": [(n, n) for n in expected]}]
    written = orjson.dumps(values(pa.array(whole, nested.arrow()), nested)).decode()
    quoted = [t if t.startswith('"') else f'"{t}"' for t in expected.values()]
    pairs = ",".join(f"{key}:{text}" for key, text in zip(quoted, expected.values(), strict=True))
    assert written == f"[[[{','.join(texts)}],{{{pairs}}}]]"


@given(st.lists(st.one_of(st.none(), st.floats(), st.floats(1e6, 1e17), st.integers(-(10**17), 10**17).map(float))))
def test_doubles_look_the_same_alone_and_in_a_column_and_read_back_equal(numbers: list[float | None]) -> None:
    found = floats.texts(pa.array(numbers, pa.float64())).to_pylist()
    assert found == [None if n is None else floats.text(n) for n in numbers]
    for number, text in zip(numbers, found, strict=True):
        if number is not None:
            again = float(text)
            assert again == number or (math.isnan(again) and math.isnan(number))
            assert math.copysign(1, again) == math.copysign(1, number) or math.isnan(number)


def shown_text(kind: str, value: str) -> str:
    (found,) = values(pa.array([value]), parse(kind))
    return str(found)


def test_null_and_unknown_are_null() -> None:
    assert values(pa.nulls(2), parse("unknown")) == [None, None]
    assert values(pa.nulls(1), parse("decimal(3, 2)")) == [None]


@pytest.mark.parametrize(
    ("days", "text"),
    [(2932896, "9999-12-31"), (2932897, "+10000-01-01"), (-719162, "0001-01-01"), (-735494, "-0044-04-15")],
)
def test_dates_outside_the_usual_years_have_a_sign(days: int, text: str) -> None:
    assert values(pa.array([days], pa.int32()).cast(pa.date32()), parse("date")) == [text]


def test_a_zoned_value_keeps_its_zone() -> None:
    array = pa.array([ZONED], pa.timestamp("us", "Asia/Shanghai"))
    assert values(array, parse("timestamp(3) with time zone")) == ["2024-01-02 11:04:05.123 Asia/Shanghai"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2_224_152_000, "2040-06-24 14:00:00 Europe/Oslo"),
        (253_402_300_799, "+10000-01-01 00:59:59 Europe/Oslo"),
        (253_402_300_800, "+10000-01-01 01:00:00 Europe/Oslo"),
        (-62_135_596_800, "0001-01-01 00:43:00 Europe/Oslo"),
    ],
)
def test_a_zoned_value_is_written_also_where_pythons_years_end(seconds: int, text: str) -> None:
    batch = pa.record_batch([pa.array([seconds, 0, None], pa.timestamp("s", "Europe/Oslo"))], ["t"])
    rows = orjson.loads(encode(batch, (ResultColumn("t", parse("timestamp(0) with time zone")),)))
    assert rows[1:] == [["1970-01-01 01:00:00 Europe/Oslo"], [None]]
    assert rows[0] == [text]


def test_a_client_without_parametric_datetime_gets_three_digits_everywhere() -> None:
    kind = parse("row(a timestamp(6), b array(time(6)))")
    (column,) = client_columns([ResultColumn("x", kind)], frozenset())
    assert str(column.type) == "row(a timestamp, b array(time))"
    array = pa.array([{"a": MOMENT, "b": [datetime.time(1, 2, 3, 999999)]}], kind.arrow())
    assert orjson.loads(orjson.dumps(values(array, column.type))) == [["2024-01-02 03:04:05.123", ["01:02:03.999"]]]
    signature = column_list([column])[0]["typeSignature"]
    assert signature["arguments"][0]["value"]["typeSignature"] == {"rawType": "timestamp", "arguments": []}


def test_columns_carry_the_signature_that_clients_decode_by() -> None:
    (varchar, decimal, row) = column_list(
        [ResultColumn(t, parse(t)) for t in ("varchar", "decimal(3, 2)", "row(a integer, b varchar)")]
    )
    assert varchar["typeSignature"] == {"rawType": "varchar", "arguments": [{"kind": "LONG", "value": 2147483647}]}
    assert decimal["type"] == "decimal(3, 2)"
    assert row["type"] == "row(a integer, b varchar)"
    assert row["typeSignature"]["arguments"][0]["value"]["fieldName"] == {"name": "a"}


# -- properties ----------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.none(), st.decimals(-(10**17), 10**17, places=9)), max_size=20))
def test_decimals_are_plain_digits_and_read_back_equal(numbers: list[Decimal | None]) -> None:
    found = values(pa.array(numbers, pa.decimal128(27, 9)), parse("decimal(27, 9)"))
    for number, text in zip(numbers, found, strict=True):
        if number is None:
            assert text is None
        else:
            assert Decimal(text) == number
            assert len(text.partition(".")[2]) == 9
            assert "E" not in text


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_reals_are_the_shortest_text_of_the_same_float32(numbers: list[float]) -> None:
    found = orjson.loads(orjson.dumps(values(pa.array(numbers, pa.float32()), parse("real"))))
    assert pa.array(found, pa.float32()).to_pylist() == pa.array(numbers, pa.float32()).to_pylist()
    assert all(len(Decimal(repr(value)).normalize().as_tuple().digits) <= 9 for value in found)


@given(st.lists(st.one_of(st.none(), st.datetimes(datetime.datetime(1, 1, 1))), max_size=20), st.integers(0, 6))
def test_timestamps_are_cut_to_exactly_their_digits(moments: list[datetime.datetime | None], digits: int) -> None:
    found = values(pa.array(moments, pa.timestamp("us")), TrinoType("timestamp", (digits,)))
    for moment, text in zip(moments, found, strict=True):
        if moment is None:
            assert text is None
            continue
        whole = f"{moment.year:04d}-{moment:%m-%d %H:%M:%S}"
        fraction = f".{moment.microsecond:06d}"[: digits + 1] if digits else ""
        assert text == whole + fraction


nested = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=3)), max_size=8)


@given(nested, st.integers(0, 4), st.integers(0, 4))
def test_slices_of_nested_columns_are_cut_at_the_right_places(
    lists: list[list[str | None] | None], start: int, length: int
) -> None:
    array = pa.array(lists, pa.list_(pa.string())).slice(start, length)
    assert values(array, parse("array(varchar)")) == lists[start : start + length]
    kind = pa.struct({"a": pa.list_(pa.string()), "b": pa.int64()})
    rows = pa.array([{"a": v, "b": i} for i, v in enumerate(lists)], kind)
    expected = [(v, i) for i, v in enumerate(lists)][start : start + length]
    assert values(rows.slice(start, length), parse("row(a array(varchar), b bigint)")) == expected


# -- pages ---------------------------------------------------------------------------------------------


def execution_of(batches: list[pa.RecordBatch]) -> Execution:
    execution = Execution("q1", "SELECT", Session("lin"))

    def put() -> None:
        for batch in batches:
            execution.put(batch)
        execution.finish()

    threading.Thread(target=put).start()
    return execution


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(1, 5000))
def test_pages_hand_out_every_row_once_and_in_order(sizes: list[int], page_bytes: int) -> None:
    columns = (ResultColumn("n", parse("bigint")), ResultColumn("t", parse("varchar")))
    batches, number = [], 0
    for size in sizes:
        numbers = range(number, number + size)
        batches.append(
            pa.record_batch([pa.array(numbers, pa.int64()), pa.array([f"r{n}" for n in numbers])], ["n", "t"])
        )
        number += size
    pages = Pages(execution_of(batches), columns, page_bytes)
    rows = []
    while not pages.finished:
        page = pages.next(1.0)
        if page is not None:
            found = orjson.loads(page)
            assert found
            assert len(found) <= page_bytes // 16 + 1
            rows += found
    assert rows == [[n, f"r{n}"] for n in range(number)]
    assert pages.rows == number


@settings(max_examples=40)
@given(st.lists(st.integers(0, 300), max_size=6), st.integers(1, 5000), st.lists(st.booleans(), max_size=12))
def test_rows_made_ahead_are_the_same_rows(sizes: list[int], page_bytes: int, ahead: list[bool]) -> None:
    """Whether or not the next page is begun before it is asked for; the answer's end is left to the client."""
    columns = (ResultColumn("n", parse("bigint")),)
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    batches = [
        pa.record_batch([pa.array(range(start, start + size), pa.int64())], ["n"])
        for start, size in zip(starts, sizes, strict=True)
    ]
    pages, rows = Pages(execution_of(batches), columns, page_bytes), []
    while not pages.finished:
        if ahead and ahead.pop():
            pages.ahead(page_bytes)
            assert not pages.execution.finished
        page = pages.next(1.0)
        rows += [n for (n,) in orjson.loads(page or b"[]")]
    assert rows == list(range(sum(sizes)))
    assert pages.rows == len(rows)


def test_rows_made_ahead_are_kept_from_the_client_of_a_cancelled_statement() -> None:
    batch = pa.record_batch([pa.array([1, 2])], ["n"])
    execution = execution_of([batch])
    pages = Pages(execution, (ResultColumn("n", parse("bigint")),))
    pages.ahead(1)
    assert pages.is_full(1)
    execution.cancel()
    with pytest.raises(CityError, match="canceled"):
        pages.next(1.0)


def test_a_batch_that_cannot_be_written_is_the_clients_error_though_it_was_met_ahead() -> None:
    pages = Pages(execution_of([pa.record_batch([pa.array(["x"])], ["n"])]), (ResultColumn("n", parse("bigint")),))
    pages.ahead(100)
    with pytest.raises(pa.ArrowException):
        pages.next(1.0)


def test_rows_whose_writing_failed_in_any_way_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(execution_of([pa.record_batch([pa.array([1])], ["n"])]), (ResultColumn("n", parse("bigint")),))

    def fail(*_: object) -> bytes:
        raise RuntimeError("nobody thought of this")

    with monkeypatch.context() as broken:
        broken.setattr("gateway.server.pages.encode_rows", fail)
        with pytest.raises(RuntimeError):
            pages.ahead(100)
    assert pages.next(1.0) == b"[[1]]"


def test_a_batch_is_a_list_of_rows() -> None:
    batch = pa.record_batch([pa.array([1, 2]), pa.array(["x", None])], ["a", "b"])
    columns = (ResultColumn("a", parse("bigint")), ResultColumn("b", parse("varchar")))
    assert encode(batch, columns) == b'[[1,"x"],[2,null]]'


# -- whole rows ----------------------------------------------------------------------------------------

COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "varchar": st.text(max_size=12),
    "char(4)": st.text(max_size=4),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "double": st.floats(),
    "real": st.floats(width=32),
    "decimal(20, 3)": st.decimals(-(10**15), 10**15, places=3),
    "date": st.dates(),
    "timestamp(6)": st.datetimes(),
    "time(3)": st.times(),
    "varbinary": st.binary(max_size=9),
    "json": st.sampled_from(['{"b":1,"a":"\\u00e9"}', "[1, 2]", '"\\n"', "no json"]),
    "array(varchar)": st.lists(st.text(max_size=4), max_size=3),
}


@given(st.data(), st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=6), st.integers(0, 5))
def test_rows_are_the_same_column_by_column_and_value_by_value(
    data: st.DataObject, kinds: list[str], count: int
) -> None:
    """The quick way (kernels that join texts) and the plain one (Python values) say the same."""
    types = [parse(kind) for kind in kinds]
    arrays = [
        pa.array(data.draw(st.lists(st.none() | COLUMNS[kind], min_size=count, max_size=count)), found.arrow())
        for kind, found in zip(kinds, types, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])
    columns = [ResultColumn(f"c{i}", found) for i, found in enumerate(types)]
    plain = [values(array, found) for array, found in zip(arrays, types, strict=True)]
    expected = orjson.loads(orjson.dumps([list(row) for row in zip(*plain, strict=True)]))
    assert orjson.loads(encode(batch, columns)) == expected
    part = batch.slice(count // 2)
    assert orjson.loads(encode(part, columns)) == expected[count // 2 :]


@given(st.text())
def test_any_text_is_escaped_as_json_wants(text: str) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([text, None, text])], names=["c0"])
    assert orjson.loads(encode(batch, [ResultColumn("c0", parse("varchar"))])) == [[text], [None], [text]]
