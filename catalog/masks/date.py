"""`date(unit)`: the first day of the value's day, ISO week, month, quarter or year; a date."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import Context, Mask, MaskError, Rank
from catalog.types import DATE, TrinoType

UNITS = ("day", "week", "month", "quarter", "year")


_FORMS: dict[str, dict[str, str]] = {
    "postgres": {"*": "CAST(DATE_TRUNC('{unit}', CAST(:c AS TIMESTAMP)) AS DATE)"},
    "duckdb": {"*": "CAST(DATE_TRUNC('{unit}', CAST(:c AS TIMESTAMP)) AS DATE)"},
    # Text, because MAKEDATE takes years below 100 for others.
    "mysql": {
        "day": "CAST(:c AS DATE)",
        "week": "CAST(:c AS DATE) - INTERVAL (WEEKDAY(:c)) DAY",
        "month": "CAST(CONCAT(SUBSTRING(CAST(:c AS CHAR), 1, 8), '01') AS DATE)",
        "quarter": "CAST(CONCAT(SUBSTRING(CAST(:c AS CHAR), 1, 5), CASE QUARTER(:c) WHEN 1 THEN '01' WHEN 2 THEN '04' "
        "WHEN 3 THEN '07' ELSE '10' END, '-01') AS DATE)",
        "*": "CAST(CONCAT(SUBSTRING(CAST(:c AS CHAR), 1, 5), '01-01') AS DATE)",
    },
    "sqlite": {
        "day": "DATE(:c)",
        "week": "DATE(:c, '-6 days', 'weekday 1')",
        "month": "SUBSTRING(:c, 1, 8) || '01'",
        "quarter": "SUBSTRING(:c, 1, 5) || CASE WHEN SUBSTRING(:c, 6, 2) < '04' THEN '01' "
        "WHEN SUBSTRING(:c, 6, 2) < '07' THEN '04' WHEN SUBSTRING(:c, 6, 2) < '10' THEN '07' ELSE '10' END || '-01'",
        "*": "SUBSTRING(:c, 1, 5) || '01-01'",
    },
}


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

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, self.first_day)

    def first_day(self, value: date) -> date:
        """The first day of the unit in which a day, or a moment, lies."""
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

    def duckdb(self, column: str, *beside: str) -> str:
        return f"CAST(date_trunc('{self.unit}', {column}) AS DATE)"

    def source(self, dialect: str) -> str | None:
        if self.column_type.name == "timestamp" and dialect == "sqlite":
            return None
        return _FORMS[dialect].get(self.unit, _FORMS[dialect]["*"]).format(unit=self.unit.upper())

    def coarser_than(self, other: Mask) -> bool:
        if not isinstance(other, Date):
            return False
        if self.unit == other.unit or other.unit == "day":
            return True
        return "week" not in (self.unit, other.unit) and UNITS.index(self.unit) >= UNITS.index(other.unit)


def build(args: list[str], column_type: TrinoType, context: Context) -> Date:
    if len(args) != 1 or args[0] not in UNITS:
        raise MaskError(f"mask date takes one of {', '.join(UNITS)}")
    return Date(f"date({args[0]})", column_type, args[0])
