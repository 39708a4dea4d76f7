"""A condition about a moment goes down to the source as what the source can compare, and selects the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import example, given
from hypothesis import strategies as st

from catalog import duck
from catalog.duck import zones
from catalog.duck.zones import shown_in
from catalog.errors import TrinoError
from catalog.types import parse
from connectors.agent.lower import value_of, values_of
from connectors.agent.moments import local_of, settled

OPERATORS = {"=": eq, "<>": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
ZONES = [
    "UTC",
    "Asia/Shanghai",
    "America/New_York",
    "+05:30",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/Vancouver",
    "WET",
]
TURNS = [
    datetime(1986, 5, 4), datetime(2011, 12, 30, 10), datetime(2024, 3, 10, 7), datetime(2024, 4, 6, 15),
    datetime(2024, 11, 3, 6), datetime(2024, 7, 1), datetime(2026, 11, 15, 12), datetime(1995, 12, 25),
    datetime(1900, 6, 1),
]  # fmt: skip
"""UTC, about when some of the clocks of these zones are moved, and when none is."""
NOW = datetime(2024, 3, 1, 12, 30, 15, 123_456, UTC)


@pytest.fixture(scope="module")
def engine() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    duck.prepare(con)
    return con


@given(
    st.sampled_from(ZONES), st.sampled_from(TURNS), st.integers(-80 * 60, 80 * 60),
    st.lists(st.integers(-60 * 60, 60 * 60), min_size=1, max_size=30),
)  # fmt: skip
@example("America/New_York", datetime(2024, 3, 10, 7), 0, [0, 30, 60, 90, -30, -60])
@example("Pacific/Apia", datetime(2011, 12, 30, 10), 1, [-1500, -1440, -1, 0, 1, 1440])
def test_a_moment_with_a_zone_selects_the_same_rows(
    engine: duckdb.DuckDBPyConnection, zone: str, turn: datetime, minutes: int, others: list[int]
) -> None:
    """As the engine compares timestamps with it, in which every one of them becomes a moment of the session's zone."""
    moment = turn + timedelta(minutes=minutes)
    local = local_of(f"{moment} UTC", zone)
    if local is None:
        return
    rows = [local + timedelta(minutes=m) for m in others]
    table = pa.table({"t": pa.array(rows, pa.timestamp("us"))})
    engine.register("stamps", table)
    for op, compare in OPERATORS.items():
        tree = sqlglot.parse_one(f"SELECT t {op} TIMESTAMP '{moment} UTC' AS c0 FROM stamps", dialect="trino")
        now = duck.as_shown_in(NOW, zone)
        compiled = duck.compile_query(tree, {"stamps": duck.Table("stamps", {"t": parse("timestamp(6)")})}, now)
        assert [row[0] for row in engine.execute(compiled.sql).fetchall()] == [compare(t, local) for t in rows]


@given(st.sampled_from(ZONES), st.sampled_from(TURNS), st.integers(-80 * 3600, 80 * 3600), st.integers(0, 99))
@example("Pacific/Apia", datetime(2011, 12, 30, 10), 0, 20)
@example("WET", datetime(1900, 1, 1), -1, 19)
def test_clocks_are_moved_when_the_engine_has_them_moved(
    engine: duckdb.DuckDBPyConnection, zone: str, turn: datetime, seconds: int, century: int
) -> None:
    about = turn + timedelta(seconds=seconds)
    name = duck.zone_of(zone, TrinoError.INVALID_LITERAL)
    engine.execute("SET TimeZone = 'UTC'")
    for at in (turn, about, about.replace(year=max(1, 100 * century + turn.year % 100), day=1)):
        query = "SELECT timezone($1, timezone('UTC', $2::TIMESTAMP)) - $2::TIMESTAMP"
        known = None if zone.startswith("+") else engine.execute(query, [zone, at]).fetchone()
        if known is not None:
            assert shown_in(at.replace(tzinfo=UTC), name).utcoffset() == known[0]


def test_thousands_of_moments_are_read_with_few_questions_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of such literals is read on the way to a source, where no limit on time holds yet."""
    asked, offsets = [], zones._asked

    def counted(sql: str, parameters: list[object]) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return offsets(sql, parameters)

    monkeypatch.setattr(zones, "_asked", counted)
    literals = [
        sqlglot.parse_one(
            f"TIMESTAMP '{datetime(1950, 1, 1) + timedelta(hours=31 * n)} America/Bogota'", dialect="trino"
        )
        for n in range(2_000)
    ]
    with duck.session_of(duck.as_shown_in(NOW, "America/Bogota")):
        found = values_of(literals, parse("timestamp(3)"))
    assert found is not None
    assert found[1] == datetime(1950, 1, 2, 7)
    assert len(asked) < 60


@pytest.mark.parametrize(
    ("text", "zone", "local"),
    [
        ("2024-03-01 04:00:00 UTC", "Asia/Shanghai", datetime(2024, 3, 1, 12)),
        ("2024-03-01 04:00:00.250 Asia/Shanghai", "UTC", datetime(2024, 2, 29, 20, 0, 0, 250_000)),
        ("2024-03-10 12:00:00 UTC", "America/New_York", None),  # whose clocks were moved in the morning
        ("2024-03-10 03:30:00 America/New_York", "UTC", None),
        ("2024-03-12 12:00:00 UTC", "America/New_York", datetime(2024, 3, 12, 8)),
        ("2024-03-01 04:00:00", "UTC", None),
        ("2024-03-01 UTC", "UTC", None),
        ("2024-03-01 04:00:00.1234567 UTC", "UTC", None),
        ("2024-03-01 04:00:00 Mars/Phobos", "UTC", None),
        ("2024-02-30 04:00:00 UTC", "UTC", None),
        ("0001-01-01 00:00:00 UTC", "-05:00", None),
    ],
)
def test_what_the_clocks_of_the_session_show(text: str, zone: str, local: datetime | None) -> None:
    assert local_of(text, zone) == local
    with duck.session_of(duck.as_shown_in(NOW, zone)):
        literal = f"CAST('{text}' AS TIMESTAMP(3) WITH TIME ZONE)"
        assert value_of(sqlglot.parse_one(literal, dialect="trino"), parse("timestamp(3)")) == local


@pytest.mark.parametrize(
    ("condition", "settles"),
    [
        ("t > CURRENT_TIMESTAMP", "t > CAST('2024-03-01 12:30:15.123 UTC' AS TIMESTAMP(3) WITH TIME ZONE)"),
        ("t > now() - INTERVAL '1' DAY", "t > CAST('2024-02-29 12:30:15.123 UTC' AS TIMESTAMP(3) WITH TIME ZONE)"),
        (
            "t BETWEEN (now() - INTERVAL '2' HOUR) + INTERVAL '1' SECOND AND LOCALTIMESTAMP",
            "t BETWEEN CAST('2024-03-01 10:30:16.123 UTC' AS TIMESTAMP(3) WITH TIME ZONE) AND "
            "CAST('2024-03-01 20:30:15.123' AS TIMESTAMP(3))",
        ),
        ("t > now() - INTERVAL '1' MONTH", "t > CURRENT_TIMESTAMP - INTERVAL '1' MONTH"),
        ("date_trunc('day', now()) < t", "DATE_TRUNC('DAY', CURRENT_TIMESTAMP) < t"),
        ("t > now() - INTERVAL '999999999' DAY", "t > CURRENT_TIMESTAMP - INTERVAL '999999999' DAY"),
        ("hour(now()) = 3", "HOUR(CURRENT_TIMESTAMP) = 3"),
    ],
)
def test_now_is_written_as_the_moment_that_it_is(condition: str, settles: str) -> None:
    tree = sqlglot.parse_one(f"SELECT now() AS c0 FROM r WHERE {condition}", dialect="trino")
    found = settled(tree, duck.as_shown_in(NOW, "+08:00")).sql("trino")
    assert found == f"SELECT CURRENT_TIMESTAMP AS c0 FROM r WHERE {settles}"


def test_moments_with_and_without_a_zone_are_not_compared_one_by_one() -> None:
    """A list with both is one of moments with a zone, and so is the column that is compared with it."""
    plain, zoned = (
        sqlglot.parse_one(text, dialect="trino")
        for text in ("TIMESTAMP '2024-03-10 02:30:00'", "TIMESTAMP '2024-01-01 00:00:00 UTC'")
    )
    kind = parse("timestamp(3)")
    assert values_of([plain, plain], kind) == (datetime(2024, 3, 10, 2, 30),) * 2
    assert values_of([zoned], kind) == (datetime(2024, 1, 1),)
    assert values_of([plain, zoned], kind) is None
