"""Trino's JDBC driver in short: the flagship answer, what the driver lists, a parameter, an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.city.live.running import City
from tests.clients.front import Front
from tests.clients.jdbc.driver import names, run
from tests.clients.programs import Outcome
from tests.protocol.conftest import Served


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory, city: City, every_type: Served, front: Front, token: Callable[[str], str]
) -> Outcome:
    folder: Path = tmp_path_factory.mktemp("jdbc")
    return run("smoke", folder, city, every_type, front, token)


@pytest.mark.parametrize("name", names("smoke"))
def test_the_driver(outcome: Outcome, name: str) -> None:
    outcome.require(name)
