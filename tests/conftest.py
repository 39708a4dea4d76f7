"""Fixtures that every test may use: real servers, one pair a test process, a database of its own a module."""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from connectors.agent.kept import Plans
from tests.city.live.running import City, running_city
from tests.cli.forked import forked_atoll
from tests.demo import Demo, demo, until_ready
from tests.servers import MariaDBServer, PostgresServer, mariadb_server, postgres_server

LIVE = "tests/city/live/"
CLIENTS = "tests/clients/"
DOCS = "tests/test_docs.py"
DEMO = "tests/cli/test_demo.py"
SHARED = {LIVE: LIVE, CLIENTS: LIVE, DOCS: DOCS, DEMO: DOCS}
"""What shares a running city runs in one process, under one name."""
LONGEST = (
    LIVE,
    CLIENTS,
    f"{LIVE}test_zzz_end.py",  # ends the city
    DOCS,
    DEMO,  # its last test ends the city
    "tests/conformance/",
    "tests/masks_first/",
    "tests/test_compose.py",
    "tests/cli/",
)
"""What takes longest starts first, so that no process is left alone with it at the end. The last that fits counts."""


# How long an example takes says something of the machine, and nothing of what is tested.
settings.register_profile("atoll", deadline=None)
settings.load_profile("atoll")

APART = ("tests/differential/test_fuzz.py",)
"""Whose tests share nothing and take long: each may run in another process."""


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents plan each fragment anew: a weakened build is not to answer by what a sound one planned, nor leave it its
    own."""
    monkeypatch.setattr(Plans, "look", lambda *_: None)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests run in one process, and so do all that share the running city: servers start once.

    In place of `--dist loadgroup`, which does nothing with this release of pytest.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        if file in APART:
            return nodeid
        return next((name for start, name in SHARED.items() if file.startswith(start)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return max((i for i, start in enumerate(LONGEST) if item.nodeid.startswith(start)), default=len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Take what was collected out of the garbage collector's sight, and let it look less often.

    It would walk thousands of tests, which live to the end, again and again: 7 to 20 % of a process's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def pytest_unconfigure() -> None:
    """Let Python clear all of it away at the end, as modules in C expect."""
    gc.unfreeze()


def pytest_configure() -> None:
    """Draw the seed of the cities that tests make: once, so that all test processes make the same.

    And let programs under test hear Ctrl-C also in the background of a shell, which ignores it for its children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("CITY_SEED", str(random.SystemRandom().randrange(1, 1_000_000)))


def pytest_report_header() -> str:
    return f"city seed: {os.environ['CITY_SEED']} (CITY_SEED=.. asks for it again)"


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A running demonstration city with a seed of its own, PostgreSQL and MariaDB real; one for all that ask it."""
    folder = tmp_path_factory.mktemp("live")
    with running_city(folder, "--scale", os.environ.get("CITY_SCALE", "small")) as running:
        yield running


@pytest.fixture(scope="session")
def readme_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demonstration as README starts it: from nothing, seed 4499. The last test of test_demo.py ends it."""
    folder = tmp_path_factory.mktemp("readme") / "city-data"
    running = until_ready(folder, demo(folder, "--port", "0"))
    yield running
    running.process.send_signal(signal.SIGINT)
    running.process.communicate(timeout=60)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for a shell's PATH, with an `atoll` in it that starts soon."""
    with forked_atoll(tmp_path_factory.mktemp("atoll")) as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL 15."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    """A running MariaDB 10.11."""
    with mariadb_server() as server:
        yield server


def _name(request: pytest.FixtureRequest) -> str:
    module = re.sub(r"[^a-z0-9]+", "_", request.module.__name__.rpartition(".")[2].lower())
    return f"{module[:30]}_{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def postgres_database(postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
    """The name of a new, empty PostgreSQL database."""
    name = _name(request)
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return name


@pytest.fixture(scope="module")
def mariadb_database(mariadb: MariaDBServer, request: pytest.FixtureRequest) -> str:
    """The name of a new, empty MariaDB database."""
    name = _name(request)
    connection = pymysql.connect(**mariadb.settings(), autocommit=True)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{name}`")
    finally:
        connection.close()
    return name
