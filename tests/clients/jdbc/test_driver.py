"""Trino's JDBC driver in full: metadata, values, parameters, cancel, login, and what tools ask through it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.city.live.running import City
from tests.clients.front import Front
from tests.clients.jdbc.driver import compiled, names, run
from tests.clients.pages import snippet
from tests.clients.programs import Outcome
from tests.protocol.conftest import Served


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory, city: City, every_type: Served, front: Front, token: Callable[[str], str]
) -> Outcome:
    folder: Path = tmp_path_factory.mktemp("jdbc")
    return run("all", folder, city, every_type, front, token)


@pytest.mark.parametrize("name", names())
def test_the_driver(outcome: Outcome, name: str) -> None:
    outcome.require(name)


def test_the_pages_program_prints_the_answer(tmp_path: Path, city: City) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(snippet("jdbc", "Ask.java", city.port), encoding="utf-8")
    done = subprocess.run(compiled(source, tmp_path), capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == city.ask("SELECT count(*) FROM city.org.company", "lin")["rows"][0][0]


def test_no_check_is_left_out() -> None:
    text = Path(__file__).with_name("Driver.java").read_text(encoding="utf-8")
    assert len(names()) == len(re.findall(r"\bcheck\(\"", text))
