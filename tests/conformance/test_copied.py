"""Rows as PostgreSQL copies them, cut into columns: whatever the cells, and however the stream ends."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.types import TrinoType, parse
from connectors import copied
from connectors.base import SourceError
from connectors.copied import columns
from connectors.sources import open_source, parse_source
from tests.conformance.helpers import read, types_of
from tests.servers import PostgresServer

Row = tuple[bytes | None, ...]


@pytest.fixture(autouse=True, scope="module", params=[0, 1_000], ids=["together", "cell by cell"])
def few(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test reads its rows in both ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copied, "FEW", request.param)
        yield


def packed(row: Row) -> bytes:
    """A row as the server sends it."""
    cells = (b"\xff\xff\xff\xff" if c is None else len(c).to_bytes(4) + c for c in row)
    return len(row).to_bytes(2) + b"".join(cells)


def numeric(value: Decimal) -> bytes:
    """A number as the server sends it: groups of four digits, without zero groups at either end."""
    with localcontext(prec=400):
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        text = "".join(map(str, digits)) + "0" * (exponent % 4)
        last = exponent // 4
        text = text.zfill(-(-len(text) // 4) * 4)
        groups = [int(text[i : i + 4]) for i in range(0, len(text), 4)]
    weight = last + len(groups) - 1
    while groups and not groups[0]:
        groups, weight = groups[1:], weight - 1
    while groups and not groups[-1]:
        groups.pop()
    head = struct.pack(">hhHh", len(groups), weight if groups else 0, 0x4000 if sign else 0, max(-exponent, 0))
    return head + struct.pack(f">{len(groups)}h", *groups)


def cut(rows: list[Row], *kinds: tuple[str, str]) -> list[tuple[Any, ...]]:
    """kinds: as what each column is sent, and its declared type."""
    data = [packed(row) for row in rows]
    outputs = [(f"c{i}", parse(declared)) for i, (_, declared) in enumerate(kinds)]
    arrays = columns(bytearray(b"".join(data)), [len(d) for d in data], [wire for wire, _ in kinds], outputs)
    for array, (_, type_) in zip(arrays, outputs, strict=True):
        array.validate(full=True)
        assert array.type == type_.arrow()
    return list(zip(*(array.to_pylist() for array in arrays), strict=True))


def numbers(kind: str, bits: int) -> st.SearchStrategy[tuple[Any, bytes]]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(lambda v: (v, struct.pack(kind, v)))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
MICROSECOND = timedelta(microseconds=1)
CELLS: dict[tuple[str, str], st.SearchStrategy[tuple[Any, bytes]]] = {
    ("int2", "smallint"): numbers(">h", 16),
    ("int4", "integer"): numbers(">i", 32),
    ("int8", "bigint"): numbers(">q", 64),
    ("float8", "double"): st.floats(allow_nan=False).map(lambda v: (v, struct.pack(">d", v))),
    ("float4", "real"): st.floats(allow_nan=False, width=32).map(lambda v: (v, struct.pack(">f", v))),
    ("bool", "boolean"): st.booleans().map(lambda v: (v, bytes([v]))),
    ("date", "date"): st.dates().map(lambda v: (v, struct.pack(">i", (v - date(2000, 1, 1)).days))),
    ("timestamp", "timestamp(6)"): st.datetimes().map(
        lambda v: (v, struct.pack(">q", (v - datetime(2000, 1, 1)) // MICROSECOND))
    ),
    ("time", "time(6)"): st.times().map(
        lambda v: (v, struct.pack(">q", (datetime.combine(date(1, 1, 1), v) - datetime(1, 1, 1)) // MICROSECOND))
    ),
    ("text", "varchar"): TEXTS.map(lambda v: (v, v.encode())),
    ("bytea", "varbinary"): st.binary(max_size=30).map(lambda v: (v, v)),
    ("numeric", "decimal(38,10)"): st.decimals(-(10**27), 10**27, places=10).map(lambda v: (v, numeric(v))),
    ("numeric", "decimal(15,2)"): st.decimals(-(10**12), 10**12, places=2).map(lambda v: (v, numeric(v))),
}  # fmt: skip


@settings(max_examples=150)
@given(data=st.data())
def test_every_cell_comes_out_as_it_was_sent(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=5))
    rows = data.draw(st.lists(st.tuples(*(st.one_of(st.just((None, None)), CELLS[k]) for k in kinds)), min_size=1))
    found = cut([tuple(sent for _, sent in row) for row in rows], *kinds)
    assert found == [tuple(value for value, _ in row) for row in rows]


@settings(max_examples=300)
@given(data=st.data(), digits=st.integers(1, 38))
def test_a_decimal_is_exact_or_an_error_whatever_its_digits(data: st.DataObject, digits: int) -> None:
    scale = data.draw(st.integers(0, digits))
    whole, places = data.draw(st.integers(-(10**40), 10**40)), data.draw(st.integers(0, 40))
    other = data.draw(st.integers(-(10**digits) + 1, 10**digits - 1))
    with localcontext(prec=100):
        values = [Decimal(other).scaleb(-scale), Decimal(whole).scaleb(-places)]
        fits = [v == round(v, scale) and abs(v) < Decimal(10) ** (digits - scale) for v in values]
    kind = ("numeric", f"decimal({digits},{scale})")
    assert fits[0]
    assert cut([(numeric(values[0]),)], kind) == [(values[0],)]
    if fits[1]:
        assert cut([(numeric(v),) for v in values], kind) == [(v,) for v in values]
    else:
        with pytest.raises(SourceError, match="'c0'"):
            cut([(numeric(v),) for v in values], kind)


@pytest.mark.parametrize("sign", [0xC000, 0xD000, 0xF000])
def test_a_number_that_is_none_is_an_error_that_names_the_column(sign: int) -> None:
    with pytest.raises(SourceError, match=r"'c1'.*NaN or infinity"):
        cut([(b"\0\1", struct.pack(">hhHh", 0, 0, sign, 0))], ("int2", "smallint"), ("numeric", "decimal(9,2)"))


@pytest.mark.parametrize(
    ("wire", "declared", "cell"),
    [("int8", "integer", b"\0\0\0\1\0\0\0\0"), ("numeric", "bigint", numeric(Decimal(2**63))),
     ("numeric", "bigint", numeric(Decimal(10**60))), ("numeric", "decimal(38,0)", numeric(Decimal(10**60))),
     ("numeric", "bigint", numeric(Decimal("0.5"))), ("numeric", "bigint", numeric(Decimal(7)) + b"\0\0"),
     ("numeric", "bigint", numeric(Decimal(7))[:-2]), ("text", "varchar", b"\xff"), ("text", "varchar(2)", b"abc"),
     ("date", "date", b"\x7f\xff\xff\xff"), ("date", "date", b"\x80\0\0\0"),
     ("timestamp", "timestamp(6)", b"\x7f" + b"\xff" * 7), ("timestamp", "timestamp(6)", b"\x80" + b"\0" * 7),
     ("timestamptz", "timestamp(6) with time zone", b"\x7f" + b"\xff" * 7),
     ("timestamp", "timestamp(3)", b"\0" * 7 + b"\1"), ("time", "time(6)", (86_400_000_000).to_bytes(8))],
)  # fmt: skip
def test_a_cell_that_does_not_fit_its_declared_type_is_an_error_that_names_the_column(
    wire: str, declared: str, cell: bytes
) -> None:
    with pytest.raises(SourceError, match="'c0': a value does not fit"):
        cut([(None,), (cell,)], (wire, declared))


@pytest.mark.parametrize(
    "row",
    [b"", b"\0\1", b"\0\2" + b"\0\0\0\1a" * 2, b"\0\1\0\0\0\2a", b"\0\1\0\0\0\1ab", b"\0\1\xff\xff\xff\xfe",
     b"\0\1\x7f\xff\xff\xffa", b"\xff\xff", b"\0\2\0\0\0\1a"],
)  # fmt: skip
def test_bytes_that_are_no_such_row_are_an_error(row: bytes) -> None:
    for rows in ([row], [packed((b"abc",)), row], [row, packed((b"abc",))]):
        with pytest.raises(psycopg.InternalError, match="a row of the server"):
            columns(bytearray(b"".join(rows)), [len(r) for r in rows], ["text"], [("c", parse("varchar"))])


def test_a_number_of_another_width_is_an_error() -> None:
    with pytest.raises(psycopg.InternalError, match="a row of the server"):
        cut([(b"\0\0\0\1",)], ("int8", "bigint"))


def outcome(few: int, rows: list[Row], *kinds: tuple[str, str]) -> list[str]:
    """What comes of rows: the cells, or which error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copied, "FEW", few)
        try:
            return [repr(row) for row in cut(rows, *kinds)]
        except (SourceError, psycopg.InternalError) as bad:
            return [type(bad).__name__]


NUMERIC = st.builds(
    lambda head, groups: struct.pack(">hhHh", *head) + struct.pack(f">{len(groups)}H", *groups),
    st.tuples(st.integers(-1, 6), st.integers(-4, 9) | st.sampled_from([-(2**15), 2**15 - 1]),
              st.sampled_from([0, 0x4000, 0xC000, 1]), st.integers(0, 9)),
    st.lists(st.integers(0, 9_999), max_size=6),
)  # fmt: skip
ANY_CELL = {
    "numeric": st.one_of(NUMERIC, st.binary(max_size=12)),
    "text": st.binary(max_size=3),
    "bool": st.binary(min_size=1, max_size=1),
    "date": st.binary(min_size=4, max_size=4),
    "time": st.binary(min_size=8, max_size=8),
    "timestamp": st.binary(min_size=7, max_size=8),
}
DECLARED = {
    "numeric": ["decimal(38,10)", "decimal(9,2)", "decimal(4,0)", "decimal(20,20)", "bigint"], "text": ["varchar"],
    "bool": ["boolean"], "date": ["date"], "time": ["time(6)"], "timestamp": ["timestamp(6)"],
}  # fmt: skip


@settings(max_examples=500)
@given(data=st.data())
def test_whatever_a_cell_holds_a_few_rows_are_read_and_refused_as_many_are(data: st.DataObject) -> None:
    wire = data.draw(st.sampled_from(list(ANY_CELL)))
    kind = (wire, data.draw(st.sampled_from(DECLARED[wire])))
    rows: list[Row] = data.draw(st.lists(st.tuples(st.one_of(st.none(), ANY_CELL[wire])), min_size=1, max_size=3))
    assert outcome(0, rows, kind) == outcome(1_000, rows, kind)


# --- from a server ------------------------------------------------------------------------------------


BIGINT: list[tuple[str, TrinoType]] = [("i", parse("bigint"))]


def rows_of(connection: psycopg.Connection[Any], select: str) -> list[list[int]]:
    """Of each buffer, what is in its only column."""
    buffers = copied.copied(connection, select)
    return [columns(rows, lengths, ["int8"], BIGINT)[0].to_pylist() for rows, lengths in buffers]


@pytest.mark.servers
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 1000])
def test_rows_end_where_the_server_ends_them(
    connection: psycopg.Connection[Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copied, "FIRST_BYTES", 28)
    monkeypatch.setattr(copied, "BUFFER_BYTES", 28)  # two rows
    found = rows_of(connection, f"SELECT i::bigint FROM generate_series(1, {count}) AS i")
    assert [i for buffer in found for i in buffer] == list(range(1, count + 1))
    assert all(found)
    assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.servers
def test_the_first_buffer_is_small_and_later_ones_are_not_large(connection: psycopg.Connection[Any]) -> None:
    buffers = copied.copied(connection, "SELECT i, repeat('x', 100) FROM generate_series(1, 100000) AS i")
    sizes = [sum(lengths) for _, lengths in buffers]
    assert copied.FIRST_BYTES <= sizes[0] < copied.FIRST_BYTES + 200
    assert max(sizes) < copied.BUFFER_BYTES + 200
    assert [size for size, _ in groupby(sizes[:-1])] == sorted(set(sizes[:-1]))


@pytest.mark.servers
def test_an_error_after_some_rows_is_raised(connection: psycopg.Connection[Any]) -> None:
    buffers = copied.copied(connection, "SELECT 1 / (50000 - i) FROM generate_series(1, 60000) AS i")
    assert next(buffers)
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(buffers)
    assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.servers
def test_a_second_statement_is_refused_and_does_nothing(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS i")
    for text in ("SELECT 1) TO STDOUT; DROP TABLE kept; COPY (SELECT 1", "DROP TABLE kept"):
        with pytest.raises(psycopg.Error):
            list(copied.copied(connection, text))
    assert connection.execute("SELECT i FROM kept").fetchall() == [(1,)]


@pytest.mark.servers
def test_the_server_s_own_numbers_are_read_exactly(connection: psycopg.Connection[Any]) -> None:
    """What it computes has its groups as no encoder of a test would write them."""
    select = (
        "SELECT (s * x)::numeric(38, 10) FROM (SELECT (10::numeric ^ (i / 2)) * (i % 9 + 0.5) AS x "
        "FROM generate_series(-18, 52) AS i) AS a, unnest(ARRAY[1, -1, 0, 0.25, 1e-4, 9999]) AS s "
        "WHERE abs(s * x) < 1e27"
    )
    expected = [value for (value,) in connection.execute(select).fetchall()]
    ((rows, lengths),) = copied.copied(connection, select)
    (found,) = columns(rows, lengths, ["numeric"], [("n", parse("decimal(38,10)"))])
    assert found.to_pylist() == expected
    assert len(expected) > 300


@pytest.mark.servers
def test_text_of_a_database_with_another_encoding_is_utf8_or_an_error(
    connection: psycopg.Connection[Any], postgres: PostgresServer, tmp_path: Path
) -> None:
    for name, encoding in (("latin", "LATIN1"), ("bytes", "SQL_ASCII")):
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
    config = {"kind": "postgres", "port": postgres.port, "user": "postgres"}
    latin = open_source(parse_source({**config, "database": "latin"}), tmp_path, tmp_path)
    unknown = open_source(parse_source({**config, "database": "bytes"}), tmp_path, tmp_path)
    assert read(latin, "SELECT chr(233) AS t", types_of(t="varchar")) == [("é",)]
    with pytest.raises(SourceError, match="UTF8"):
        read(unknown, "SELECT convert_from('\\xe9', 'SQL_ASCII') AS t", types_of(t="varchar"))
    for source in (latin, unknown):
        source.close()
    for name in ("latin", "bytes"):
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
