"""What clocks show, as DuckDB knows it: one database of time zones for all that a statement is answered by."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from typing import Any

import duckdb

from catalog.duck.typing import offset_of

__all__ = ["SessionZone", "first_time", "shown_in", "steady_offset"]

STEADY = 26
"""Hours. No clock was ever moved by more than a day."""
_lock = threading.Lock()


class SessionZone(tzinfo):
    """A named zone at one moment: what its clocks are ahead of UTC then. name: the zone's, canonical."""

    def __init__(self, name: str, offset: timedelta) -> None:
        self.name = name
        self._offset = offset

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return self._offset

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta()

    def tzname(self, dt: datetime | None) -> str:
        return self.name


def shown_in(moment: datetime, zone: str) -> datetime:
    """A moment as a zone's clocks show it; its `tzinfo` is a `SessionZone`. zone: canonical."""
    return moment.astimezone(SessionZone(zone, _offset_at(zone, moment.astimezone(UTC).replace(tzinfo=None))))


def steady_offset(zone: str, at: datetime) -> timedelta | None:
    """What a zone's clocks are ahead of UTC, None if that changes within `STEADY` hours. at: UTC, of no zone.

    Raises OverflowError at either end of time.
    """
    around = timedelta(hours=STEADY)
    before, after = _offset_at(zone, at - around), _offset_at(zone, at + around)
    # Nowhere were clocks moved twice within four days.
    return before if before == after == _offset_at(zone, at) else None


def first_time(zone: str, local: datetime) -> datetime:
    """The moment, in UTC, at which a zone's clocks first show a local time; where they never do, as if they had not
    been moved yet. Raises OverflowError at either end of time."""
    before, after = (_offset_at(zone, local + timedelta(days=n)) for n in (-1, 1))
    shown = [ahead for ahead in (before, after) if _offset_at(zone, local - ahead) == ahead]
    return (local - max(shown, default=before)).replace(tzinfo=UTC)


def _offset_at(zone: str, at: datetime) -> timedelta:
    """What a zone's clocks are ahead of UTC. at: UTC, of no zone."""
    fixed = 0 if zone == "UTC" else offset_of(zone)
    if fixed is not None:
        return timedelta(minutes=fixed)
    moved, ahead = _moved(zone, at.year // 100)
    return ahead[bisect_right(moved, at)]


@lru_cache(1024)
def _moved(zone: str, century: int) -> tuple[list[datetime], list[timedelta]]:
    """When a zone's clocks are moved in a hundred years, UTC, and what they are ahead before, between and after that.

    Thousands of moments of one statement are asked for here, and DuckDB only once. It is asked for each day, and then
    for the second of the days between which something changed.
    """
    first = datetime(max(1, century * 100), 1, 1)
    last = datetime(min(9999, century * 100 + 99), 12, 31, 23, 59, 59)
    days = _asked(
        "SELECT lag(t) OVER (ORDER BY t), t, lag(ahead) OVER (ORDER BY t) AS before, ahead "
        f"FROM (SELECT t, {_AHEAD} AS ahead FROM (SELECT "
        "unnest(list_append(generate_series($2::TIMESTAMP, $3::TIMESTAMP, INTERVAL 1 DAY), $3::TIMESTAMP)) AS t)) "
        "QUALIFY before IS DISTINCT FROM ahead ORDER BY t",
        [zone, first, last],
    )
    (*_, begun), *changes = days
    low, high = [a for a, *_ in changes], [b for _, b, *_ in changes]
    while any(b - a > timedelta(seconds=1) for a, b in zip(low, high, strict=True)):
        middle = [a + timedelta(seconds=(b - a) // timedelta(seconds=2)) for a, b in zip(low, high, strict=True)]
        for n, ahead in enumerate(_offsets(zone, middle)):
            (low if ahead == timedelta(microseconds=changes[n][2]) else high)[n] = middle[n]
    return high, [timedelta(microseconds=ahead) for ahead in (begun, *(after for *_, after in changes))]


_AHEAD = "epoch_us(timezone($1, timezone('UTC', t))) - epoch_us(t)"


def _offsets(zone: str, moments: Sequence[datetime]) -> list[timedelta]:
    """What DuckDB has a zone's clocks ahead of UTC at each moment, which UTC shows."""
    rows = _asked(f"SELECT {_AHEAD} FROM (SELECT unnest($2::TIMESTAMP[]) AS t)", [zone, list(moments)])
    return [timedelta(microseconds=micros) for (micros,) in rows]


def _asked(sql: str, parameters: list[object]) -> list[tuple[Any, ...]]:
    with _lock:
        rows: list[tuple[Any, ...]] = _connection().execute(sql, parameters).fetchall()
    return rows


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    return connection
