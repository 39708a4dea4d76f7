"""One running city for all tests of this folder; they share it, so they run in one process (see tests/conftest.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.city.live.running import City, running_city
from tests.protocol.test_trino_cli import cli  # noqa: F401 - the Trino command line, as a fixture


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.city)


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A small city with a seed of its own, PostgreSQL and MariaDB real."""
    folder = tmp_path_factory.mktemp("live")
    with running_city(folder, "--scale", os.environ.get("CITY_SCALE", "small")) as running:
        yield running
