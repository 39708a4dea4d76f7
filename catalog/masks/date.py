"""`date(unit)`: the first day of the value's day, ISO week, month, quarter or year; a date."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import Context, Mask, MaskError, Rank
from catalog.types import DATE, TrinoType

UNITS = ("day", "week", "month", "quarter", "year")


class Date(Mask):
    """Dates and timestamps without zone (they are local already); the result is a date.

    Week is comparable with day and with nothing else: a week may lie in two months.
    """

    kind: ClassVar[str] = "date"
    rank: ClassVar[Rank] = Rank.generalise

    def __init__(self, text: str, column_type: TrinoType, unit: str) -> None:
        super().__init__(text, column_type)
        self._accept("date", "timestamp")
        self.type = DATE
        self.unit = unit

    def arrow(self, array: pa.Array) -> pa.Array:
        return self._each(array, self._one)

    def _one(self, value: date) -> date | None:
        day = value.date() if isinstance(value, datetime) else value
        match self.unit:
            case "week":
                # 0001-01-01 is a Monday, so no week of the calendar begins before it.
                return day - timedelta(days=day.weekday())
            case "month":
                return day.replace(day=1)
            case "quarter":
                return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
            case "year":
                return day.replace(month=1, day=1)
        return day

    def duckdb(self, column: str) -> str:
        return f"CAST(date_trunc('{self.unit}', {column}) AS DATE)"

    def coarser_than(self, other: Mask) -> bool | None:
        if not isinstance(other, Date):
            return None
        if self.unit == other.unit or other.unit == "day":
            return True
        if "week" in (self.unit, other.unit):
            return False if self.unit == "day" else None
        return UNITS.index(self.unit) >= UNITS.index(other.unit)


def build(args: list[str], column_type: TrinoType, context: Context) -> Date:
    if len(args) != 1 or args[0] not in UNITS:
        raise MaskError(f"mask date takes one of {', '.join(UNITS)}")
    return Date(f"date({args[0]})", column_type, args[0])
