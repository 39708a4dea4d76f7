"""`geo(cell, lat, lon)`: the centre of the grid cell, at least `cell` metres wide and high, that holds a place.

Both coordinates carry it, with the same words, or the policy does not load: what one shows depends on both.
The grid is fixed. In units of 10^-7 degree, rounded down:

- Each degree of latitude is cut into `m = floor(110574 / cell)` rows, so none is lower than `cell`.
- Each row of a degree is cut into `n = max(1, floor(360 * 111319 * cos(p) / cell))` columns, where p is that
  degree's parallel nearest to the pole, so none is narrower than `cell`.

A place with a coordinate that is NULL, not finite or outside -90..90, -180..180 shows neither. Longitude 180 is
-180; the north pole lies in the topmost row.
"""

from __future__ import annotations

import math
from decimal import Context as DecimalContext
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar

import pyarrow as pa

from catalog.masks.base import Context, Mask, MaskError, Rank, whole
from catalog.types import TrinoType

__all__ = ["Geo", "build", "centre"]

SMALLEST, LARGEST = 250, 100_000
"""Metres."""
WIDEST = 28
"""Digits of a decimal coordinate: the grid's eight more must fit into 38."""
_EXACT = DecimalContext(prec=100)
_DEGREE = 10**7
_TURN = 360 * _DEGREE
_METRES_UP, _METRES_ALONG = 110_574, 111_319
"""Metres in a degree, where it is shortest: of latitude at all, of longitude on the equator."""


def rows_in(cell: int) -> int:
    """Rows in one degree of latitude."""
    return _METRES_UP // cell


@lru_cache(maxsize=64)
def columns_in(cell: int) -> tuple[int, ...]:
    """Columns of the rows in each degree between the equator and a pole."""
    return tuple(max(1, math.floor(360 * _METRES_ALONG * math.cos(math.radians(b + 1)) / cell)) for b in range(90))


def centre(cell: int, lat: int, lon: int) -> tuple[int, int]:
    """The centre of a cell. All in 10^-7 degree: lat from the south pole, lon from -180 eastwards."""
    lat, lon = min(lat, 180 * _DEGREE - 1), lon % _TURN
    m, degree = rows_in(cell), lat // _DEGREE
    row = lat % _DEGREE * m // _DEGREE
    n = columns_in(cell)[degree - 90 if degree >= 90 else 89 - degree]
    column = lon * n // _TURN
    return degree * _DEGREE + (2 * row + 1) * _DEGREE // (2 * m), (2 * column + 1) * _TURN // (2 * n)


class Geo(Mask):
    """One coordinate of a pair, decimal or double; its type stays. `column` says which one it is."""

    kind: ClassVar[str] = "geo"
    rank: ClassVar[Rank] = Rank.generalise

    def __init__(self, text: str, column_type: TrinoType, cell: int, pair: tuple[str, str], column: str) -> None:
        super().__init__(text, column_type)
        self._accept("decimal", "double")
        if column_type.name == "decimal" and column_type.args[0] > WIDEST:
            raise MaskError(f"mask {text} takes decimals of at most {WIDEST} digits, not {column_type}")
        if column not in pair or pair[0] == pair[1]:
            raise MaskError(f"mask {text} names two columns, of latitude and of longitude; it stands on {column!r}")
        self.cell, self.pair, self.is_lat = cell, pair, column == pair[0]
        self.beside = (pair[1],) if self.is_lat else (pair[0],)

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        pairs = zip(array.to_pylist(), beside[0].to_pylist(), strict=True)
        return pa.array([self._one(own, other) for own, other in pairs], self.type.arrow())

    def _one(self, own: Any, other: Any) -> Any:
        here, there = _steps(own, 90 if self.is_lat else 180), _steps(other, 180 if self.is_lat else 90)
        if here is None or there is None:
            return None
        found = centre(self.cell, here, there)[0] if self.is_lat else centre(self.cell, there, here)[1]
        offset = 90 if self.is_lat else 180
        if self.type.name == "double":
            return float(found - offset * _DEGREE) / 1e7
        precision, scale = self.type.args
        unscaled = found * 10**scale // _DEGREE - offset * 10**scale
        return Decimal(unscaled).scaleb(-scale, _EXACT) if abs(unscaled) < 10**precision else None

    def duckdb(self, column: str, *beside: str) -> str:
        lat, lon = (column, beside[0]) if self.is_lat else (beside[0], column)
        steps = "tr_geo_steps" if self.type.name == "double" else "tr_geo_exact_steps"
        south, west = f"{steps}({lat}, 90)", f"{steps}({lon}, 180)"
        if self.is_lat:
            found = f"CASE WHEN {west} IS NOT NULL THEN tr_geo_lat({south}, {rows_in(self.cell)}::BIGINT) END"
            offset = 90
        else:
            columns = ", ".join(str(n) for n in columns_in(self.cell))
            found = f"tr_geo_lon({south}, {west}, [{columns}])"
            offset = 180
        if self.type.name == "double":
            return f"CAST({found} - {offset * _DEGREE} AS DOUBLE) / CAST(10000000 AS DOUBLE)"
        scale = 10 ** self.type.args[1]
        unscaled = f"(CAST({found} AS HUGEINT) * {scale}::HUGEINT // {_DEGREE} - {offset * scale}::HUGEINT)"
        width = f"DECIMAL({min(38, self.type.args[1] + 1)}, {self.type.args[1]})"
        unit = f"CAST('{Decimal(1).scaleb(-self.type.args[1]):f}' AS {width})"
        back = f"TRY(tr_scaled({unscaled}, {scale}::HUGEINT, CAST(1 AS {width}), {unit}))"
        return f"TRY_CAST({back} AS {self.type.duckdb()})"


def _steps(value: Any, limit: int) -> int | None:
    """A coordinate in 10^-7 degree from its lower limit, None outside -limit..limit."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)) or not -limit <= value <= limit:
        return None
    if isinstance(value, float):
        return math.floor(value * 1e7) + limit * _DEGREE
    return math.floor(_EXACT.multiply(_EXACT.add(Decimal(value), Decimal(limit)), Decimal(_DEGREE)))


def build(args: list[str], column_type: TrinoType, context: Context) -> Geo:
    if len(args) != 3:
        raise MaskError("mask geo takes metres and the two columns: geo(500, lat, lon), the same on both")
    text = f"geo({', '.join(args)})"
    cell = whole(args[0], "geo", SMALLEST, LARGEST)
    return Geo(text, column_type, cell, (args[1], args[2]), context.column)
