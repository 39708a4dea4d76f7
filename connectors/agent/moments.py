"""Moments of conditions as sources can compare them: what now is, and what one is in the session's zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sqlglot import exp

from catalog.duck import zone_of
from catalog.duck.moments import MILLISECONDS
from catalog.duck.zones import steady_offset
from catalog.errors import TrinoError, UserError

__all__ = ["local_of", "moment_of", "settled"]

COMPARED = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between)


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
        try:
            whole, moment = _counted(node, moment)
        except OverflowError:  # beyond the calendar: what that is, is said where it is computed
            continue
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
            if length is None:
                break
            moment += length if isinstance(parent, exp.Add) else -length
        node = parent
    return node, moment


def _length(node: exp.Expr) -> timedelta | None:
    unit = node.args.get("unit")
    if not isinstance(node, exp.Interval) or not isinstance(unit, exp.Var) or unit.name.lower() not in MILLISECONDS:
        return None
    if not isinstance(node.this, exp.Literal) or not re.fullmatch("[0-9]{1,9}", node.this.name):
        return None
    return timedelta(milliseconds=int(node.this.name) * MILLISECONDS[unit.name.lower()])


def local_of(text: str, zone: str) -> datetime | None:
    """What clocks of a time zone show at a moment as written, `2024-03-01 04:00:00 UTC`; None where that is not enough.

    A timestamp t without a zone compares with such a moment m as t with this.
    Proof: t stands for a moment x with x + o(x) = t, where o is the zone's offset, and l = m + o(m). For `STEADY` hours
    around m the offset is o(m): where x is there, x - m = t - l. Where it is not, x lies on the side of m on which t
    lies of l, since offsets differ by a day at most, and nothing is equal.
    """
    moment = moment_of(text)
    ahead = None if moment is None else _steady_offset(zone, moment.replace(tzinfo=None))
    try:
        return moment.replace(tzinfo=None) + ahead if moment is not None and ahead is not None else None
    except OverflowError:
        return None


def moment_of(text: str) -> datetime | None:
    """A moment as written, in UTC; None where its zone's clocks may have shown that text twice, or never."""
    found = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,6})?) (\S{1,64})", text)
    try:
        local = None if found is None else datetime.fromisoformat(found[1])
        ahead = None if found is None or local is None else _steady_offset(found[2], local)
        return (local - ahead).replace(tzinfo=UTC) if local is not None and ahead is not None else None
    except (ValueError, OverflowError):
        return None


def _steady_offset(zone: str, at: datetime) -> timedelta | None:
    """What a zone's clocks are ahead of UTC around a moment, None if they are moved there, or are no zone's."""
    try:
        name = zone_of(zone, TrinoError.INVALID_LITERAL)
        return steady_offset(name, at)
    except (UserError, OverflowError):
        return None
