"""Superset's database layer, unmodified, in an environment of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.city.live.running import City
from tests.clients import programs
from tests.clients.pages import line

PROBE = Path(__file__).with_name("probe.py")
PYTHON = Path(__file__).parents[3] / ".cache" / "clients" / "superset" / "bin" / "python"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, city: City) -> programs.Outcome:
    assert PYTHON.exists(), "Superset is not installed: run `make clients`"
    folder: Path = tmp_path_factory.mktemp("superset")
    (folder / "question.sql").write_text(city.question(1), encoding="utf-8")
    (folder / "answer.json").write_text(json.dumps(city.answer_key("q1")["rows"]), encoding="utf-8")
    uri = line("superset", "SQLAlchemy URI", city.port)
    env = {"HOME": str(folder), "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
    return programs.run([str(PYTHON), str(PROBE), uri, "question.sql", "answer.json"], folder, env, 280)


@pytest.mark.parametrize("name", programs.names(PROBE))
def test_the_database_layer(outcome: programs.Outcome, name: str) -> None:
    outcome.require(name)
