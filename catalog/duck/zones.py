"""What clocks show, as DuckDB knows it: one database of time zones for all that a statement is answered by."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, lru_cache

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
    at = moment.astimezone(UTC)
    return moment.astimezone(SessionZone(zone, _offset_at(zone, at.replace(second=0, microsecond=0, tzinfo=None))))


@lru_cache(4096)
def steady_offset(zone: str, hour: datetime) -> timedelta | None:
    """What a zone's clocks are ahead of UTC, None if that changes within `STEADY` hours. hour: UTC, of no zone.

    Raises OverflowError at either end of time.
    """
    found = set(_offsets(zone, [hour + timedelta(hours=h) for h in range(-STEADY, STEADY + 2)]))
    return found.pop() if len(found) == 1 else None


@lru_cache(4096)
def first_time(zone: str, local: datetime) -> datetime:
    """The moment, in UTC, at which a zone's clocks first show a local time; where they never do, as if they had not
    been moved yet. Raises OverflowError at either end of time."""
    before, after = _offsets(zone, [local - timedelta(days=1), local + timedelta(days=1)])
    shown = [ahead for ahead in (before, after) if _offsets(zone, [local - ahead]) == [ahead]]
    return (local - max(shown, default=before)).replace(tzinfo=UTC)


@lru_cache(1024)
def _offset_at(zone: str, minute: datetime) -> timedelta:
    return _offsets(zone, [minute])[0]


def _offsets(zone: str, moments: Sequence[datetime]) -> list[timedelta]:
    """What a zone's clocks are ahead of UTC at each moment, which UTC shows."""
    fixed = 0 if zone == "UTC" else offset_of(zone)
    if fixed is not None:
        return [timedelta(minutes=fixed)] * len(moments)
    with _lock:
        rows = _connection().execute(
            "SELECT epoch_us(timezone($1, timezone('UTC', t))) - epoch_us(t) "
            "FROM (SELECT unnest($2::TIMESTAMP[]) AS t)",
            [zone, list(moments)],
        ).fetchall()  # fmt: skip
    return [timedelta(microseconds=micros) for (micros,) in rows]


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    return connection
