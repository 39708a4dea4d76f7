"""Trino's Go client, unmodified: answers, values, both ways of parameters, cancel, errors, login."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.city.live.running import City
from tests.clients import programs
from tests.clients.front import Front
from tests.clients.pages import line, snippet
from tests.protocol.conftest import Served

SOURCE = Path(__file__).with_name("main.go")
MODULE = Path(__file__).parents[3] / ".cache" / "clients" / "go"


def built(source: str, folder: Path) -> Path:
    """The executable of a program of one file."""
    assert (MODULE / "go.sum").is_file(), "the Go client is not fetched: run `make clients`"
    for name in ("go.mod", "go.sum"):
        shutil.copy(MODULE / name, folder)
    (folder / "main.go").write_text(source, encoding="utf-8")
    done = subprocess.run(
        ["go", "build", "-o", "program", "."], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "program"


@pytest.fixture(scope="module")
def outcome(
    tmp_path_factory: pytest.TempPathFactory, city: City, every_type: Served, front: Front, token: Callable[[str], str]
) -> programs.Outcome:
    folder: Path = tmp_path_factory.mktemp("go")
    program = built(SOURCE.read_text(encoding="utf-8"), folder)
    (folder / "question.sql").write_text(city.question(1), encoding="utf-8")
    rows = city.answer_key("q1")["rows"]
    (folder / "answer.txt").write_text("\n".join("\t".join(str(v) for v in row) for row in rows), encoding="utf-8")
    secure = f"127.0.0.1:{front.port}?catalog=city&SSLCertPath={quote(str(front.certificate), safe='')}"
    env = {
        "DSN": line("go", "DSN", city.port),
        "TYPES": f"http://lin@127.0.0.1:{every_type.port}",
        "TLS": f"https://lin:{token('lin')}@{secure}",
        "WRONG": f"https://lin:wrong@{secure}",
        "QUESTION": "question.sql",
        "ANSWER": "answer.txt",
    }
    return programs.run([str(program)], folder, env)


@pytest.mark.parametrize("name", programs.names(SOURCE))
def test_the_client(outcome: programs.Outcome, name: str) -> None:
    outcome.require(name)


def test_the_pages_program_prints_the_answer(tmp_path: Path, city: City) -> None:
    program = built(snippet("go", "main.go", city.port), tmp_path)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == city.ask("SELECT count(*) FROM city.org.company", "lin")["rows"][0][0]
