"""Dates, times, timestamps and intervals: arithmetic, parts and zones, as Trino has them.

An interval is a count, of milliseconds or of months. All moments of a column with a time zone are shown in one
zone, which is part of its type: `AT TIME ZONE` with a literal changes the type, not the value. What has no zone of its
own is of the session's (`typing.session_zone`).
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from catalog.duck.typing import (
    Typed,
    cast_to,
    comparable,
    from_local,
    in_session_zone,
    mismatch,
    offset_of,
    session_zone,
    sql_text,
)
from catalog.duck.zones import SessionZone, shown_in
from catalog.errors import Outcome, TrinoError, UserError
from catalog.types import BIGINT, DOUBLE, TrinoType

__all__ = [
    "DAYS", "MILLISECONDS", "MONTHS", "PARTS", "YEARS", "as_far_ahead", "as_shown_in", "at_timezone", "between_moments",
    "date_part", "is_java_zone", "is_moment", "local_time", "of_session", "session_of", "shown_as", "with_interval",
    "with_zone", "zone_of", "zoned",
]  # fmt: skip

DAYS = TrinoType("interval day to second")
YEARS = TrinoType("interval year to month")
MILLISECONDS = {
    "millisecond": 1, "second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000,
}  # fmt: skip
MONTHS = {"month": 1, "quarter": 3, "year": 12}
"""What the units of an interval of either kind count for."""
PARTS = {
    "year": "year({0})", "quarter": "quarter({0})", "month": "month({0})", "week": "week({0})",
    "day": "day({0})", "day_of_month": "day({0})", "day_of_week": "isodow({0})", "dow": "isodow({0})",
    "day_of_year": "dayofyear({0})", "doy": "dayofyear({0})", "year_of_week": "isoyear({0})",
    "yow": "isoyear({0})", "hour": "hour({0})", "minute": "minute({0})", "second": "second({0})",
    "millisecond": "(millisecond({0}) % 1000)", "week_of_year": "week({0})",
}  # fmt: skip
_PART_NAMES = {"day_of_month": "day"}
_DATED = ("date", "timestamp", "timestamp with time zone")


def with_interval(op: str, left: Typed, right: Typed) -> Typed:
    """What an interval takes part in: sums with moments and intervals, products and quotients with numbers."""
    if left.type.name.startswith("interval") and right.type == left.type and op in ("+", "-"):
        return Typed(f"({left.sql} {op} {right.sql})", left.type)
    if op == "*" and right.type.name.startswith("interval"):
        left, right = right, left
    if op in ("*", "/") and left.type.name.startswith("interval") and right.type.is_numeric:
        return _scaled(op, left, right)
    if op == "+" and left.type.name.startswith("interval"):
        left, right = right, left
    moments = ("date", "timestamp", "timestamp with time zone", "time")
    if op in ("+", "-") and left.type.name in moments and right.type.name.startswith("interval"):
        return _shifted(op, left, right)
    raise mismatch(f"Operator {op} cannot combine {left.type} with {right.type}.")


def _scaled(op: str, interval: Typed, number: Typed) -> Typed:
    """Times and divided by an integer exactly (halves away from zero if by a double), as Trino computes them."""
    kind = interval.type
    if number.type.is_integer and op == "*":
        return Typed(f"CAST(({interval.sql} * {number.sql}) AS {kind.duckdb()})", kind)
    by = f"tr_{'factor' if op == '*' else 'divisor'}({interval.sql}, {cast_to(number, DOUBLE).sql})"
    return Typed(f"CAST(tr_to_long(CAST({interval.sql} AS DOUBLE) {op} {by}) AS {kind.duckdb()})", kind)


def _shifted(op: str, left: Typed, right: Typed) -> Typed:
    """A date, time or timestamp +/- interval."""
    kind, sign = left.type, "-" if op == "-" else ""
    if right.type == YEARS:
        if kind.name == "time":
            raise mismatch(f"Operator {op} cannot combine {kind} with {right.type}.")
        if kind.name == "timestamp with time zone" and kind.zone != "UTC":
            local = local_time(left)
            return as_far_ahead(f"({local} + to_months(CAST({sign}{right.sql} AS INTEGER)))", left)
        return Typed(f"CAST(({left.sql} + to_months({sign}{right.sql})) AS {kind.duckdb()})", kind)
    if kind.name == "date":
        return Typed(f"(tr_shift_date({left.sql}, {sign}{right.sql}))", kind)
    finer = TrinoType(kind.name, (max(kind.args[0], 3), *kind.args[1:]))  # an interval counts milliseconds
    if kind.name == "time":
        return Typed(f"({left.sql} + to_milliseconds({sign}({right.sql} % 86400000)))", finer)
    return Typed(f"CAST(({left.sql} + to_milliseconds({sign}{right.sql})) AS {kind.duckdb()})", finer)


def between_moments(left: Typed, right: Typed) -> Typed:
    """The time from one moment to another, an interval day to second."""
    kind = comparable(left.type, right.type, "Operator -")
    if kind.name == "date":
        return Typed(f"(CAST({left.sql} - {right.sql} AS BIGINT) * 86400000)", DAYS)
    a, b = cast_to(left, kind).sql, cast_to(right, kind).sql
    return Typed(f"(tr_floor_to(epoch_us({a}) - epoch_us({b}) + 500, 1000) // 1000)", DAYS)


def local_time(value: Typed) -> str:
    """DuckDB text of the local TIMESTAMP that a moment with a zone shows; any other value as it is."""
    if value.type.name != "timestamp with time zone":
        return value.sql
    return f"timezone('UTC', {value.sql})" if value.type.zone == "UTC" else _in_zone(value.sql, value.type.zone)


def _in_zone(sql: str, zone: str) -> str:
    minutes = offset_of(zone)
    if minutes is None:
        return f"timezone({sql_text(zone)}, {sql})"
    return f"(timezone('UTC', {sql}) + to_minutes({minutes}))"


def as_far_ahead(sql: str, before: Typed) -> Typed:
    """A local TIMESTAMP that is computed of a moment as a moment: when clocks are as far ahead as there, if ever."""
    ahead = f"tr_ahead({sql_text(before.type.zone)}, timezone('UTC', {before.sql}))"
    return from_local(sql, before.type, "tr_beside", ahead)


def as_shown_in(moment: datetime, zone: str) -> datetime:
    """A moment as clocks of a session's time zone show it. Raises UserError: INVALID_SESSION_PROPERTY for no zone."""
    return shown_in(moment, zone_of(zone, TrinoError.INVALID_SESSION_PROPERTY))


def session_of(now: datetime) -> AbstractContextManager[None]:
    """Meanwhile moments without a zone lie in this one's (`typing.session_zone`). now: of `as_shown_in`, or of UTC."""
    return in_session_zone(now.tzinfo.name if isinstance(now.tzinfo, SessionZone) else "UTC")


def shown_as(target: TrinoType, source: TrinoType) -> TrinoType:
    """The type of a cast to `target`: a moment stays in the zone in which it is shown, others are of the session's."""
    if target.name == "timestamp with time zone":
        return _stamp(target.args[0], source.zone) if source.name == target.name else of_session(target.args[0])
    nested = target.name == source.name in ("array", "map", "row")
    if not nested or len(target.args) != len(source.args):
        return target
    return TrinoType(target.name, tuple(map(_part_shown_as, target.args, source.args)))


def _part_shown_as(target: Any, source: Any) -> Any:
    """The same of a part of a type: a type, or a field of a row, its name and type."""
    if isinstance(target, TrinoType):
        return shown_as(target, source)
    return target[0], shown_as(target[1], source[1])


def of_session(digits: int) -> TrinoType:
    """The type of moments that are shown in the session's zone."""
    return _stamp(digits, session_zone())


def _stamp(digits: int, zone: str) -> TrinoType:
    return TrinoType("timestamp with time zone", (digits,) if zone == "UTC" else (digits, zone))


def zone_of(text: str, error: TrinoError) -> str:
    """A zone's canonical name. Raises `error` for one that does not exist."""
    found = re.fullmatch(r"([+-])([0-9]{1,2})(?::?([0-9]{2}))?", text)
    if found:
        hours, minutes = int(found[2]), int(found[3] or 0)
        if hours > 14 or minutes > 59:
            raise UserError(f"'{text[:40]}' is no time zone.", trino=error, rule="types")
        return f"{found[1]}{hours:02}:{minutes:02}" if hours or minutes else "UTC"
    if text in ("UTC", "Z", "Etc/UTC", "GMT", "UT", "Zulu"):
        return "UTC"
    if text not in zones():
        raise UserError(f"'{text[:40]}' is no time zone.", trino=error, rule="types")
    return text


def with_zone(text: str) -> tuple[str, str]:
    """A moment as written, and its zone; the zone "" where none is written. Raises ValueError for another form."""
    found = re.fullmatch(r"([0-9+-]+(?: [0-9:.]+)?)\s*([A-Za-z][A-Za-z0-9_/+-]*|[+-][0-9]{1,2}(?::?[0-9]{2})?)?", text)
    if not found:
        raise ValueError("another form")
    return found[1], found[2] or ""


def is_java_zone(text: str) -> bool:
    """Whether a text is the name of a zone for Java's ZoneId, which knows more offsets than a moment may show."""
    offset = re.fullmatch(r"(?:UTC|GMT|UT|)[+-]([0-9]|[0-9]{2}(:?[0-9]{2}(:?[0-9]{2})?)?)", text)
    if not offset:
        return text in ("Z", "UTC", "GMT", "UT") or (text in zones() and text not in _SHORT_ZONES)
    hours, minutes, seconds = ([int(p) for p in re.findall("[0-9]{1,2}", offset[1])] + [0, 0])[:3]
    return minutes < 60 and seconds < 60 and hours * 3600 + minutes * 60 + seconds <= 18 * 3600


_SHORT_ZONES = ("EST", "MST", "HST", "ROC", "Factory", "localtime")


@cache
def zones() -> frozenset[str]:
    """The named zones: those of the tz database that DuckDB has too, and that are the same on every machine."""
    return frozenset(available_timezones()) - {"localtime", "Factory"}


def is_moment(kind: TrinoType) -> bool:
    return kind.name in ("date", "time", "timestamp", "timestamp with time zone")


def at_timezone(value: Typed, zone: Typed) -> Typed:
    """The same moment, shown in another zone, which is a literal: a column has one zone."""
    if not isinstance(zone.value, str):
        raise UserError("AT TIME ZONE needs a literal zone.", Outcome.NODE, rule="closed list")
    if value.type.name == "timestamp":
        value = cast_to(value, TrinoType("timestamp with time zone", value.type.args[:1] or (0,)))
    if value.type.name != "timestamp with time zone":
        raise mismatch(f"AT TIME ZONE does not take {value.type}.")
    return Typed(value.sql, zoned(value.type.args[0], zone.value))


def zoned(precision: int, zone: str, error: TrinoError = TrinoError.INVALID_FUNCTION_ARGUMENT) -> TrinoType:
    """The type of moments that are all shown in `zone`. Raises `error` for a zone that does not exist."""
    return _stamp(precision, zone_of(zone, error))


def date_part(unit: str, value: Typed) -> Typed:
    """A part of a date, time, timestamp (in its own zone) or interval, as a bigint."""
    kind, name = value.type, _PART_NAMES.get(unit, unit)
    if kind in (DAYS, YEARS):
        steps = {"year": "{0} // 12", "month": "{0} % 12"} if kind == YEARS else {
            "day": "{0} // 86400000", "hour": "{0} % 86400000 // 3600000", "minute": "{0} % 3600000 // 60000",
            "second": "{0} % 60000 // 1000", "millisecond": "{0} % 1000",
        }  # fmt: skip
        if name not in steps:
            raise mismatch(f"{unit} does not take {kind}.")
        return Typed(f"CAST({steps[name].format(value.sql)} AS BIGINT)", BIGINT)
    clock = name in ("hour", "minute", "second", "millisecond")
    if kind.name not in (*_DATED, "unknown") and not (clock and kind.name == "time"):
        raise UserError(f"{unit} does not take {kind}.", Outcome.FUNCTION, rule="types")
    return Typed(f"CAST({PARTS[unit].format(local_time(value))} AS BIGINT)", BIGINT)
