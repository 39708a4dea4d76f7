"""`number(step, origin)`: `floor((x - origin) / step) * step + origin`, to minus infinity, exactly.

Integers and decimals keep their type; doubles go through decimal(38, 9), NaN and infinities are NULL.
A result outside the column's type is NULL.
"""

from __future__ import annotations

import math
from decimal import Context as DecimalContext
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, Context, Mask, MaskError, Rank, source_number
from catalog.types import TrinoType

_EXACT = DecimalContext(prec=100)
_DOUBLE_SCALE = 9


class Number(Mask):
    """Integer, decimal, double. step > 0; step and origin have at most the column's decimals."""

    kind: ClassVar[str] = "number"
    rank: ClassVar[Rank] = Rank.generalise

    def __init__(self, text: str, column_type: TrinoType, step: Decimal, origin: Decimal) -> None:
        super().__init__(text, column_type)
        self._accept(*INTEGERS, "decimal", "double")
        self.step, self.origin = step, origin
        if column_type.is_integer:
            self.scale = 0
        else:
            self.scale = column_type.args[1] if column_type.name == "decimal" else _DOUBLE_SCALE
        for value in (step, origin):
            if value != value.quantize(Decimal(1).scaleb(-self.scale), context=_EXACT):
                raise MaskError(f"mask {text}: {value} has more decimals than {column_type}")
        if step <= 0:
            raise MaskError(f"mask {text}: the step must be greater than 0")

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, self._one)

    def _one(self, value: Any) -> Any:
        exact = self._exact(value)
        if exact is None:
            return None
        unit = Decimal(1).scaleb(-self.scale)
        u, step, origin = (int(_EXACT.divide(x, unit)) for x in (exact, self.step, self.origin))
        found = u - (u - origin) % step
        if self.column_type.is_integer:
            bits = {"tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63}[self.column_type.name]
            return found if -(2**bits) <= found < 2**bits else None
        if self.column_type.name == "decimal":
            return _EXACT.multiply(Decimal(found), unit) if abs(found) < 10 ** self.column_type.args[0] else None
        return float(_EXACT.multiply(Decimal(found), unit)) if abs(found) < 10**38 else None

    def _exact(self, value: Any) -> Decimal | None:
        if not isinstance(value, float):
            return Decimal(value)
        if not math.isfinite(value) or abs(value) >= 1e28:
            return None
        return Decimal(repr(value)).quantize(Decimal(1).scaleb(-_DOUBLE_SCALE), context=_EXACT)

    def duckdb(self, column: str, *beside: str) -> str:
        scale = 10**self.scale
        step, origin = int(self.step * scale), int(self.origin * scale)
        if self.column_type.is_integer:
            u = f"CAST({column} AS HUGEINT)"
        else:
            exact = column
            if self.column_type.name == "double":
                bounded = f"CASE WHEN isfinite({column}) AND abs({column}) < 1e28 THEN {column} END"
                # Through text: DuckDB's own double -> decimal multiplies in double and loses digits.
                exact = f"CAST(CAST({bounded} AS VARCHAR) AS DECIMAL(38, {_DOUBLE_SCALE}))"
            u = f"tr_unscaled({exact}, {scale}::HUGEINT)"
        floor = f"({u} - ((({u} - {origin}::HUGEINT) % {step}::HUGEINT) + {step}::HUGEINT) % {step}::HUGEINT)"
        if self.column_type.is_integer:
            return f"TRY_CAST({floor} AS {self.type.duckdb()})"
        if self.scale == 0:
            return f"TRY_CAST({floor} AS {self.type.duckdb()})"
        width = f"DECIMAL({min(38, self.scale + 1)}, {self.scale})"
        unit = f"CAST('0.{'0' * (self.scale - 1)}1' AS {width})"
        back = f"TRY(tr_scaled({floor}, {scale}::HUGEINT, CAST(1 AS {width}), {unit}))"
        if self.column_type.name == "double":
            # Through text again: decimal -> double divides in double, text -> double rounds correctly.
            return f"CAST(CAST({back} AS VARCHAR) AS DOUBLE)"
        return f"TRY_CAST({back} AS {self.type.duckdb()})"

    def source(self, dialect: str) -> str | None:
        """Integers everywhere, decimals where the engine has exact ones and an exact remainder.

        The remainder is taken of what is already less than a step, so that nothing overflows near the type's
        limits; below the first whole cell the mask is NULL. SQLite and MariaDB keep integers in 64 bits.
        """
        if self.column_type.name == "double" or (self.scale and dialect not in ("postgres", "mysql")):
            return None
        step, origin = source_number(self.step), source_number(self.origin % self.step)
        column = ":c"
        if self.column_type.is_integer:
            # Neither the column's own few bits, nor a MariaDB column without sign.
            column = {"mysql": "CAST(:c AS SIGNED)", "sqlite": ":c"}.get(dialect, "CAST(:c AS BIGINT)")
        # Both remainders may be negative; two steps more, and the sum is not.
        rest = f"({column} % {step} - {origin} + {step} + {step}) % {step}"
        if dialect in ("postgres", "mysql"):
            rest = f"MOD(MOD({column}, {step}) - {origin} + {step} + {step}, {step})"
        return f"CASE WHEN {column} >= {source_number(self._first_cell())} THEN {column} - {rest} END"

    def _first_cell(self) -> int | Decimal:
        """The smallest cell that begins inside the column's type."""
        unit = Decimal(1).scaleb(-self.scale)
        step, origin = (int(_EXACT.divide(x, unit)) for x in (self.step, self.origin))
        if self.column_type.is_integer:
            bits = {"tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63}[self.column_type.name]
            return (origin + (1 << bits)) % step - (1 << bits)
        smallest = 1 - int(10 ** self.column_type.args[0])
        return _EXACT.multiply(Decimal(smallest + (origin - smallest) % step), unit)

    def coarser_than(self, other: Mask) -> bool:
        """If every cell of the other lies in one of its own."""
        if not isinstance(other, Number):
            return False
        return not self.step % other.step and not (self.origin - other.origin) % other.step


def build(args: list[str], column_type: TrinoType, context: Context) -> Number:
    if len(args) not in (1, 2):
        raise MaskError("mask number takes a step, and perhaps an origin")
    try:
        step, origin = Decimal(args[0]), Decimal(args[1]) if len(args) == 2 else Decimal(0)
    except InvalidOperation as bad:
        raise MaskError("mask number takes numbers") from bad
    if not (step.is_finite() and origin.is_finite()) or max(abs(step), abs(origin)) >= Decimal(10) ** 18:
        raise MaskError("mask number takes numbers below 10^18")
    return Number(f"number({', '.join(args)})", column_type, step, origin)
