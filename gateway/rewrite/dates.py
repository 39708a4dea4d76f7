"""Rule: a date that is computed of dates as written is written as it is."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.duck.moments import MONTHS

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["date_literal", "fold_dates"]

DAYS = {"day": 1, "week": 7}
COMPUTED = (exp.Add, exp.Sub, exp.DateAdd, exp.DateTrunc, exp.TimestampTrunc, exp.Date, exp.LastDay)


def fold_dates(tree: exp.Query, context: Context) -> exp.Query:
    """`d < DATE '1994-01-01' + INTERVAL '1' YEAR`: `d < DATE '1995-01-01'`, which every source can compare.

    Also of `date_add`, `date_trunc`, `last_day_of_month` and `date('..')`, and of what is computed of these.

    Proof sketch. The operation reads literals alone, so it has one value for all rows and may be computed once. It is
    computed as Trino does: in days of the Gregorian calendar, or in months, which keep the day or take the last of a
    shorter month; weeks begin on Monday. The result is a DATE as it was. What is an error (a year after 9999, an hour
    more than a date) or written in another form stays as it is, and is as much of an error as it was.
    """
    for node in reversed(list(tree.find_all(*COMPUTED))):  # what is within comes first
        found = _computed(node)
        if found is not None:
            node.replace(date_literal(found))
    return tree


def date_literal(day: date) -> exp.Cast:
    """`DATE '..'` as the parser has it, typed."""
    literal = exp.cast(exp.Literal.string(day.isoformat()), exp.DType.DATE)
    literal.type = exp.DataType.build("DATE")
    return literal


def _computed(node: exp.Expr) -> date | None:
    try:
        match node:
            case exp.Date():
                return _written(node.this) if set(_args(node)) == {"this"} else None
            case exp.DateTrunc() | exp.TimestampTrunc():
                return _first_of(_unit(node), _date(node.this)) if set(_args(node)) <= {"this", "unit"} else None
            case exp.LastDay():
                return _last_of(_date(node.this)) if set(_args(node)) == {"this"} else None
            case exp.DateAdd():
                return _later(_date(node.this), _count(node.expression), _unit(node))
            case exp.Add():
                day, interval = node.left.unnest(), node.right.unnest()
                return _shifted(interval, day, 1) if isinstance(day, exp.Interval) else _shifted(day, interval, 1)
            case exp.Sub():
                return _shifted(node.left.unnest(), node.right.unnest(), -1)
    except (ValueError, OverflowError):  # no such day
        return None
    return None


def _args(node: exp.Expr) -> list[str]:
    return [name for name, value in node.args.items() if value]


def _unit(node: exp.Expr) -> str:
    unit = node.args.get("unit")
    return unit.name.lower() if isinstance(unit, (exp.Var, exp.Literal)) else ""


def _date(node: exp.Expr) -> date | None:
    """The day of `DATE '..'`."""
    node = node.unnest()
    if type(node) is not exp.Cast or not node.to.is_type(exp.DType.DATE):
        return None
    return _written(node.this)


def _written(node: exp.Expr) -> date | None:
    if not isinstance(node, exp.Literal) or not node.is_string:
        return None
    return date.fromisoformat(node.name) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", node.name) else None


def _count(node: exp.Expr) -> int | None:
    """The number of a literal, with its sign."""
    node, sign = node.unnest(), 1
    if isinstance(node, exp.Neg):
        node, sign = node.this.unnest(), -1
    return sign * int(node.name) if isinstance(node, exp.Literal) and re.fullmatch("[0-9]{1,9}", node.name) else None


def _shifted(day: exp.Expr, interval: exp.Expr, sign: int) -> date | None:
    """A date as written and an interval as written, which is counted in one unit."""
    if not isinstance(interval, exp.Interval):
        return None
    text = interval.this
    if isinstance(text, exp.Neg):
        text, sign = text.this, -sign
    if not isinstance(text, exp.Literal) or not re.fullmatch("[+-]?[0-9]{1,9}", text.name):
        return None
    return _later(_date(day), sign * int(text.name), _unit(interval))


def _later(day: date | None, count: int | None, unit: str) -> date | None:
    if day is None or count is None:
        return None
    if unit in DAYS:
        return day + timedelta(days=count * DAYS[unit])
    if unit not in MONTHS:
        return None
    year, month = divmod(day.year * 12 + day.month - 1 + count * MONTHS[unit], 12)
    first = date(year, month + 1, 1)
    return first.replace(day=min(day.day, _days(first)))


def _days(day: date) -> int:
    """Of the month in which a day lies."""
    return monthrange(day.year, day.month)[1]


def _last_of(day: date | None) -> date | None:
    return None if day is None else day.replace(day=_days(day))


def _first_of(unit: str, day: date | None) -> date | None:
    if day is None:
        return None
    match unit:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month" | "quarter" | "year":
            months = MONTHS[unit]
            return date(day.year, (day.month - 1) // months * months + 1, 1)
    return None
