"""Moments of conditions as sources can compare them: what now is, and what one is in the session's zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from sqlglot import exp

from catalog.duck import zone_info
from catalog.errors import UserError

__all__ = ["local_of", "moment_of", "settled"]

UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
COMPARED = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between)
STEADY = 26
"""Hours. A clock was never moved by more than a day."""


def settled(tree: exp.Expr, now: datetime) -> exp.Expr:
    """`t > CURRENT_TIMESTAMP - INTERVAL '1' DAY`, and LOCALTIMESTAMP, with the moment that it is. Changes the tree.

    now: when the fragment came, in its session's time zone. Only what is compared is written so: shown, a moment has
    the session's zone, and here it has UTC. An interval of days is one of so many hours, as it is for Trino.
    """
    for node in list(tree.find_all(exp.CurrentTimestamp, exp.Localtimestamp)):
        if any(node.args.values()):  # digits
            continue
        local = isinstance(node, exp.Localtimestamp)
        begun = now if local else now.astimezone(UTC)
        moment = begun.replace(microsecond=begun.microsecond // 1000 * 1000, tzinfo=None)
        whole, moment = _counted(node, moment)
        if isinstance(whole.parent, COMPARED) and moment.year > 999:
            text = moment.isoformat(" ", "milliseconds") + ("" if local else " UTC")
            kind = "TIMESTAMP(3)" if local else "TIMESTAMP(3) WITH TIME ZONE"
            whole.replace(exp.cast(exp.Literal.string(text), kind, dialect="trino"))
    return tree


def _counted(node: exp.Expr, moment: datetime) -> tuple[exp.Expr, datetime]:
    """The sum that begins with a moment, as far as it is one of intervals as written, and what it comes to."""
    while isinstance(node.parent, (exp.Add, exp.Sub, exp.Paren)):
        parent = node.parent
        if not isinstance(parent, exp.Paren):
            length = _length(parent.expression) if node.arg_key == "this" else None
            try:
                moment = moment + length if isinstance(parent, exp.Add) else moment - length  # type: ignore[operator]
            except (TypeError, OverflowError):
                break
        node = parent
    return node, moment


def _length(node: exp.Expr) -> timedelta | None:
    unit = node.args.get("unit")
    if not isinstance(node, exp.Interval) or not isinstance(unit, exp.Var) or unit.name.lower() not in UNITS:
        return None
    if not isinstance(node.this, exp.Literal) or not re.fullmatch("[0-9]{1,9}", node.this.name):
        return None
    return timedelta(seconds=int(node.this.name) * UNITS[unit.name.lower()])


def local_of(text: str, zone: str) -> datetime | None:
    """What clocks of a time zone show at a moment as written, `2024-03-01 04:00:00 UTC`; None where that is not enough.

    A timestamp t without a zone compares with such a moment m as t with this.
    Proof: t stands for the moment t - o(t), where o is the zone's offset, and m = l - o(l). Within `STEADY` hours of l
    the offset is o(l), so both differ by t - l. Further away offsets differ by a day at most, less than t - l: the
    order is the same, and nothing is equal.
    """
    moment = moment_of(text)
    try:
        shown = None if moment is None else moment.astimezone(zone_info(zone))
        return shown.replace(tzinfo=None) if shown is not None and _is_steady(shown.tzinfo, shown) else None
    except OverflowError:
        return None


def moment_of(text: str) -> datetime | None:
    """A moment as written, in UTC; None where its zone's clocks may have shown that text twice, or never."""
    found = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,6})?) (\S{1,64})", text)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=zone_info(found[2]))
        return moment.astimezone(UTC) if _is_steady(moment.tzinfo, moment) else None
    except (UserError, ValueError, OverflowError):
        return None


def _is_steady(zone: tzinfo | None, moment: datetime) -> bool:
    """Whether a zone's clocks are not moved around a moment."""
    if not isinstance(zone, ZoneInfo):
        return True
    at = moment.astimezone(UTC)
    around = (at + timedelta(hours=h) for h in range(-STEADY, STEADY + 1))
    return len({there.astimezone(zone).utcoffset() for there in around}) == 1
