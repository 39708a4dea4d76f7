"""Quotients, remainders and averages of decimals are exact to the last digit, whatever their sizes, as Trino's are."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import parse_one

from catalog import duck
from catalog.types import TrinoType

EXACT = Context(prec=200, rounding=ROUND_HALF_UP)
"""Python's Decimal with room for every product of two decimals."""
EDGES = (0, 1, -1, 5, -5, 49, 50, 51)


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    precision = draw(st.sampled_from((1, 2, 9, 15, 18, 19, 20, 30, 37, 38)))
    return precision, draw(st.integers(0, precision))


@st.composite
def numbers(draw: st.DrawFn, size: tuple[int, int]) -> Decimal:
    """One of that size; small counts of its smallest units and the largest ones come often."""
    most = 10 ** size[0] - 1
    units = draw(st.one_of(st.sampled_from((*EDGES, most, -most, most // 2, most // 2 + 1)), st.integers(-most, most)))
    return Decimal(max(-most, min(most, units))).scaleb(-size[1], EXACT)


@cache
def engine() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    duck.prepare(connection)
    return connection


def answer(sql: str, **columns: tuple[tuple[int, int], list[Decimal]]) -> tuple[Decimal | None, TrinoType]:
    """The only value of a query over `t`, and its type; None if it has no room in DuckDB's 128 bits."""
    kinds = {name: TrinoType("decimal", size) for name, (size, _) in columns.items()}
    rows = pa.table({name: pa.array(values, kinds[name].arrow()) for name, (_, values) in columns.items()})
    compiled = duck.compile_query(parse_one(sql, read="trino"), {"t": duck.Table("t", kinds)})
    connection = engine()
    connection.register("t", rows)
    try:
        ((found,),) = connection.sql(compiled.sql).fetchall()
    except (duckdb.OutOfRangeException, duckdb.ConversionException) as error:
        if "DIVISION_BY_ZERO" in str(error):
            raise
        found = None
    return found, compiled.columns[0][1]


def rounded(value: Decimal, kind: TrinoType) -> Decimal | None:
    """Half away from zero at the type's scale; None if the type has no room for it."""
    found = value.quantize(Decimal(1).scaleb(-kind.args[1], EXACT), context=EXACT)
    return found if abs(int(found.scaleb(kind.args[1], EXACT))) < 10 ** kind.args[0] else None


def has_room(value: Decimal, scale: int) -> bool:
    """Whether 128 bits hold it as a count of 10^-scale, and 10^scale."""
    return scale <= 38 and abs(int(value.scaleb(scale, EXACT))) < 2**127


@given(st.data(), sizes(), sizes())
def test_a_quotient_is_rounded_half_away_from_zero(
    data: st.DataObject, left: tuple[int, int], right: tuple[int, int]
) -> None:
    a, b = data.draw(numbers(left)), data.draw(numbers(right).filter(bool))
    found, kind = answer("SELECT a / b FROM t", a=(left, [a]), b=(right, [b]))
    want = rounded(EXACT.divide(a, b), kind)
    assert found == want or (found is None and not has_room(a, kind.args[1] + right[1]))


@given(st.data(), sizes(), sizes())
def test_a_literal_divides_as_a_column_does(data: st.DataObject, left: tuple[int, int], right: tuple[int, int]) -> None:
    a, b = data.draw(numbers(left)), data.draw(numbers(right).filter(bool)).copy_abs()
    digits = str(int(b.scaleb(right[1], EXACT))).zfill(right[1])
    whole = len(digits) - right[1]
    found, kind = answer(f"SELECT a / {digits[:whole]}.{digits[whole:]} FROM t", a=(left, [a]))
    want = rounded(EXACT.divide(a, b), kind)
    assert found == want or (found is None and not has_room(a, kind.args[1] + right[1]))


@pytest.mark.parametrize("size", [(1, 0), (1, 1), (9, 2), (18, 18), (19, 4), (38, 0), (38, 10)])
def test_nothing_is_divided_by_zero(size: tuple[int, int]) -> None:
    columns = {"a": ((3, 1), [Decimal("0.0")]), "b": (size, [Decimal(0)])}
    with pytest.raises(duckdb.ConversionException, match="DIVISION_BY_ZERO"):
        answer("SELECT a / b FROM t", **columns)
    assert answer("SELECT CAST(NULL AS decimal(5, 2)) / b FROM t", **columns)[0] is None


@given(st.data(), sizes())
def test_an_average_is_rounded_half_away_from_zero(data: st.DataObject, size: tuple[int, int]) -> None:
    values = data.draw(st.lists(numbers(size), min_size=1, max_size=5))
    found, kind = answer("SELECT avg(a) FROM t", a=(size, values))
    total = Decimal(sum(int(value.scaleb(size[1], EXACT)) for value in values)).scaleb(-size[1], EXACT)
    want = rounded(EXACT.divide(total, Decimal(len(values))), kind)
    assert found == want or (found is None and abs(total.scaleb(size[1], EXACT)) >= 10**38)


@given(st.data(), sizes(), sizes())
def test_a_rest_has_the_sign_of_what_is_divided(
    data: st.DataObject, left: tuple[int, int], right: tuple[int, int]
) -> None:
    a, b = data.draw(numbers(left)), data.draw(numbers(right).filter(bool))
    found, _ = answer("SELECT a % b FROM t", a=(left, [a]), b=(right, [b]))
    scale = max(left[1], right[1])
    no_room = not (has_room(a, scale) and has_room(b, scale))
    assert found == EXACT.remainder(a, b) or (found is None and no_room)
