"""The city's data was found when it started, and a launcher that is killed takes everything with it.

Named to run last, after the clients too (tests/conftest.py): it ends the city.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.city.live.running import City
from tests.cli.forked import run_forked
from tests.demo import soon_gone


def test_a_start_finds_the_data_that_is_there(city: City) -> None:
    assert any("data      found, unchanged" in line for line in city.output)


def test_a_killed_launcher_takes_the_city_with_it_and_the_next_start_removes_its_databases(city: City) -> None:
    ours = {process.pid for process in city.also_stop}
    pids = set(city.state["processes"].values()) - ours
    assert len(pids) >= 9
    city.process.kill()
    assert soon_gone(pids)
    homes = [Path(line) for line in (city.folder / "servers.txt").read_text().splitlines()]
    assert homes
    assert all(home.is_dir() for home in homes)
    assert run_forked([*city.command, "--only-data"], city.folder, dict(os.environ)).status == 0
    assert not any(home.exists() for home in homes)
