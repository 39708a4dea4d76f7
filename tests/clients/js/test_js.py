"""trino-client for JavaScript, unmodified: answers, values, session, cancel, errors, login."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.city.live.running import City
from tests.clients import programs
from tests.clients.front import Front
from tests.clients.pages import snippet
from tests.protocol.conftest import Served

CHECKS = Path(__file__).with_name("checks.mjs")
MODULES = Path(__file__).parents[3] / ".cache" / "clients" / "js" / "node_modules"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Node finds the client."""
    assert (MODULES / "trino-client").is_dir(), "trino-client is not installed: run `make clients`"
    made = tmp_path_factory.mktemp("js")
    (made / "node_modules").symlink_to(MODULES)
    return made


@pytest.fixture(scope="module")
def outcome(
    folder: Path, city: City, every_type: Served, front: Front, token: Callable[[str], str]
) -> programs.Outcome:
    shutil.copy(CHECKS, folder)
    (folder / "question.sql").write_text(city.question(1), encoding="utf-8")
    (folder / "answer.json").write_text(json.dumps(city.answer_key("q1")["rows"]), encoding="utf-8")
    page = snippet("javascript", "ask.mjs", city.port)
    assert f'server: "{city.url}"' in page, "the page shows the address that is used here"
    env = {
        "SERVER": city.url,
        "TYPES": every_type.url,
        "TLS": front.url,
        "CERTIFICATE": str(front.certificate),
        "TOKEN": token("lin"),
        "QUESTION": "question.sql",
        "ANSWER": "answer.json",
    }
    return programs.run(["node", CHECKS.name], folder, env)


@pytest.mark.parametrize("name", programs.names(CHECKS))
def test_the_client(outcome: programs.Outcome, name: str) -> None:
    outcome.require(name)


def test_the_pages_program_prints_the_answer(folder: Path, city: City) -> None:
    (folder / "ask.mjs").write_text(snippet("javascript", "ask.mjs", city.port), encoding="utf-8")
    done = subprocess.run(["node", "ask.mjs"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == city.ask("SELECT count(*) FROM city.org.company", "lin")["rows"][0][0]
