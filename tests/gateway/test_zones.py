"""What a session's time zone decides: which day it is, and when a moment was that says no zone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from sqlglot import parse_one

from catalog import duck
from catalog.errors import CityError
from catalog.types import parse
from gateway.execution import Session
from gateway.pipeline import Gateway
from gateway.plan import FragmentPlan
from tests.attack.world import World, open_world, running_gateway
from tests.corpus.fixtures import statements
from tests.corpus.tables import CORPUS
from tests.differential.harness import planned

KINDS = ("postgres", "files")
TYPES = {n: parse(t) for n, t in {"id": "bigint", "at": "timestamp(3)", "day": "date"}.items()}
ROWS = [(hour, datetime(2024, 3, 1, hour), date(2024, 3, hour + 1)) for hour in range(24)]
DATA = {"calls": (TYPES, ROWS)}
POLICY: dict[str, Any] = {
    "department": "dept", "title": "Calls", "purposes": ["mass-balance"],
    "relations": {"calls": {"table": "calls", "key": ["id"], "columns": {n: str(t) for n, t in TYPES.items()}}},
    "grants": [{"relation": "calls", "purposes": ["mass-balance"], "mode": "masked"}],
}  # fmt: skip
ONE = "SELECT id FROM pgsql.main.calls WHERE at >= TIMESTAMP '2024-03-01 04:00:00 UTC'"
BOTH = (
    "SELECT a.id FROM pgsql.main.calls a JOIN files.main.calls b ON a.id = b.id "
    "WHERE CAST(b.at AS timestamp(3) with time zone) >= a.at AT TIME ZONE 'UTC' AND a.at >= from_unixtime(1709265600)"
)


@dataclass
class City:
    world: World
    gateway: Gateway
    session: Session

    def ask(self, sql: str, zone: str) -> list[tuple[Any, ...]]:
        execution = self.gateway.submit(sql, replace(self.session, time_zone=zone))
        return [tuple(row.values()) for batch in execution.batches() for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder: Path = tmp_path_factory.mktemp("zones")
    with ExitStack() as stack:
        world = stack.enter_context(open_world(folder, request, KINDS, gateway=False, data=DATA, policy=POLICY))
        gateway = running_gateway(world, stack)
        token = world.provider.login("lin", world.password("lin")).token
        yield City(world, gateway, replace(gateway.authenticate(token), purpose="mass-balance"))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "+08:00"])
def test_today_is_the_sessions_day(city: City, zone: str) -> None:
    clock = ZoneInfo("Etc/GMT-8" if zone[0] == "+" else zone)  # whose signs are the other way round
    before = datetime.now(clock).date()
    ways = ["current_date", "CAST(localtimestamp AS date)", "CAST(now() AS date)", "date(now())"]
    (days,) = city.ask(f"SELECT {', '.join([*ways, 'TRY_CAST(now() AS date)'])}", zone)
    after = datetime.now(clock).date()
    assert all(before <= day <= after for day in days)


@pytest.mark.parametrize("sql", [ONE, BOTH], ids=["one department", "two departments"])
def test_a_moment_without_a_zone_lies_in_the_sessions(city: City, sql: str) -> None:
    """Again and again, so that plans that are kept are of the right zone too."""
    first = {"UTC": 4, "Asia/Shanghai": 12, "-03:30": 1}
    for _ in range(4):
        for zone, hour in first.items():
            assert sorted(city.ask(sql, zone)) == [(h,) for h in range(hour, 24)], zone


def test_a_plan_that_was_kept_yesterday_has_another_day(city: City) -> None:
    sql = "SELECT id FROM pgsql.main.calls WHERE day < current_date - INTERVAL '1' DAY"
    for day in (10, 10, 11, 11, 10):
        with (
            mock.patch("gateway.metadata.datetime", _Clock(day)),
            mock.patch("gateway.plan.cache.datetime", _Clock(day)),
        ):
            assert sorted(city.ask(sql, "Asia/Shanghai")) == [(h,) for h in range(day - 2)]


class _Clock:
    """In March 2024 it is always noon of this day."""

    def __init__(self, day: int) -> None:
        self._now = datetime(2024, 3, day, 12, tzinfo=UTC)

    def now(self, zone: Any) -> datetime:
        return self._now.astimezone(zone)


def test_a_condition_on_the_day_is_the_sources_own(city: City) -> None:
    """It goes down as a date: a department that can compare dates delivers no other rows."""
    text = city.gateway.explain("SELECT id FROM pgsql.main.calls WHERE day < current_date", city.session).text
    assert f"< CAST('{datetime.now(UTC).date()}' AS DATE)" in text


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_a_condition_on_now_selects_alike_in_every_source(city: City, zone: str) -> None:
    since = "TIMESTAMP '2024-03-01 05:00:00 UTC'"
    for ago in ("9000' HOUR", "1' DAY", "0' SECOND"):
        sql = f"SELECT id FROM {{}}.main.calls WHERE at < now() - INTERVAL '{ago} AND at > {since}"
        found = [sorted(city.ask(sql.format(name), zone)) for name in ("pgsql", "files")]
        hour = {"UTC": 6, "Asia/Shanghai": 14, "America/New_York": 1}[zone]
        assert found == [[(h,) for h in range(hour, 24)]] * 2


def test_an_owner_reads_in_which_zone_was_asked(city: City) -> None:
    """Where it may matter: an agent that knows no zones answers the rest."""
    city.ask(ONE, "Asia/Shanghai")
    city.ask("SELECT count(*) FROM pgsql.main.calls WHERE day < DATE '2024-03-04'", "Asia/Shanghai")
    city.ask(ONE, "Etc/UTC")
    begun = [r for r in city.world.departments["postgres"].agent.ledger.records() if r["kind"] == "begin"]
    assert [r.get("time_zone") for r in begun[-3:]] == ["Asia/Shanghai", None, None]


@pytest.mark.parametrize("topic", ["dates", "functions_dates", "casts", "zones", "operators"])
def test_a_text_that_means_something_else_in_another_zone_says_so(topic: str) -> None:
    """What no zone is sent with means the same in each of them."""
    seen = 0
    for statement in statements(topic):
        try:
            plan = planned(CORPUS, statement.sql)
        except CityError:
            continue
        # What no department is asked is written as it would be of one.
        merge = [] if plan.merge is None else [FragmentPlan("m", "d", plan.merge.sql("trino"), (), ())]
        for fragment in plan.questions or merge:
            seen += 1
            meant = {_compiled(fragment, zone) for zone in ("UTC", "Asia/Shanghai")}
            assert len(meant) == 1 or fragment.reads_zone, fragment.sql
    assert seen


def _compiled(fragment: FragmentPlan, zone: str) -> str:
    now = duck.as_shown_in(datetime(2024, 3, 1, 12, tzinfo=UTC), zone)
    try:
        return duck.to_duckdb(parse_one(fragment.sql, dialect="trino"), CORPUS.engine.known, now)
    except CityError as refused:
        return refused.message


def test_a_zone_that_does_not_exist_is_refused_by_name(city: City) -> None:
    with pytest.raises(CityError, match="'Mars/Phobos' is no time zone"):
        city.ask("SELECT id FROM pgsql.main.calls", "Mars/Phobos")
