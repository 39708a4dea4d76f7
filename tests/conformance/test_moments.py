"""PostgreSQL compares its moments with a zone itself, whatever zone its database has."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlglot

from catalog import duck
from catalog.types import parse
from connectors.agent.lower import value_of
from connectors.base import Predicate, Source
from tests.conformance.helpers import read, types_of

CALLS = types_of(id="bigint", at="timestamp(6) with time zone")
FIRST = datetime(2024, 3, 10, tzinfo=UTC)
"""The day on which New York's clocks go forward."""
AT: list[datetime | None] = [
    None, datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
    *(FIRST + timedelta(minutes=30 * n, microseconds=n % 2) for n in range(60)),
]  # fmt: skip
COMPARED: dict[Any, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


SCRIPT = "CREATE TABLE calls (id bigint, at timestamptz);"
ZONES = ["UTC", "America/New_York"]


@pytest.fixture(params=ZONES)
def calls(
    request: pytest.FixtureRequest,
    connection: psycopg.Connection,
    postgres_database: str,
    opened: Callable[..., Source],
) -> Source:
    connection.execute(f"ALTER DATABASE {postgres_database} SET timezone TO '{request.param}'")
    connection.execute("TRUNCATE calls")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO calls VALUES (%s, %s)", list(enumerate(AT)))
    return opened()


def ids(calls: Source, op: Any, values: Sequence[datetime]) -> list[int]:
    return sorted(row[0] for row in read(calls, "calls", CALLS, predicates=(Predicate("at", op, tuple(values)),)))


@pytest.mark.servers
def test_moments_compare_as_what_they_are(calls: Source) -> None:
    for value in filter(None, AT[::7]):
        for op, compare in COMPARED.items():
            wanted = [i for i, at in enumerate(AT) if at is not None and compare(at, value)]
            assert ids(calls, op, [value]) == wanted, (op, value)


@pytest.mark.servers
@pytest.mark.parametrize("step", [1, 9], ids=["a long list", "a short one"])
def test_moments_are_found_in_a_list(calls: Source, step: int) -> None:
    listed = [at for at in AT[1::step] if at is not None] + [FIRST - timedelta(microseconds=1)]
    assert ids(calls, "in", listed) == [i for i, at in enumerate(AT) if at in listed]


@pytest.mark.parametrize(
    ("text", "zone", "value"),
    [
        ("TIMESTAMP '2024-03-01 04:00:00 UTC'", "Asia/Shanghai", datetime(2024, 3, 1, 4)),
        ("TIMESTAMP '2024-03-01 04:00:00.5 Asia/Shanghai'", "UTC", datetime(2024, 2, 29, 20, 0, 0, 500_000)),
        ("TIMESTAMP '2024-03-01 04:00:00'", "Asia/Shanghai", datetime(2024, 2, 29, 20)),
        ("DATE '2024-03-01'", "-03:30", datetime(2024, 3, 1, 3, 30)),
        ("DATE '2024-03-01'", "UTC", datetime(2024, 3, 1)),
        ("TIMESTAMP '2024-03-10 02:30:00'", "America/New_York", None),  # no clock there ever showed it
        ("TIMESTAMP '2024-11-03 01:30:00 America/New_York'", "UTC", None),  # and this one twice
        ("DATE '2024-02-30'", "UTC", None),
        ("'2024-03-01'", "UTC", None),
    ],
)
def test_what_is_written_is_a_moment_in_the_sessions_zone(text: str, zone: str, value: datetime | None) -> None:
    with duck.session_of(duck.as_shown_in(FIRST, zone)):
        found = value_of(sqlglot.parse_one(text, dialect="trino"), parse("timestamp(3) with time zone"))
    assert found == (None if value is None else value.replace(tzinfo=UTC))
