"""Trino's command line, unmodified, against a running city: the flagship question, batch, cancel."""

from __future__ import annotations

import csv
import io
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from tests.city.live.running import City
from tests.clients.pages import line

JAVA = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"]


def command(cli: Path, city: City, title: str = "command line") -> list[str]:
    """The command that the page shows."""
    word, *rest = shlex.split(line("command-line", title, city.port))
    assert word == "trino"
    return [*JAVA, str(cli), *rest]


def trino(words: list[str], status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "TRINO_PAGER": "", **more},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done


def test_the_flagship_question_and_what_limits_its_answer(cli: Path, city: City) -> None:
    key = city.answer_key("q1")
    said = trino([*command(cli, city), "--output-format", "CSV", "--execute", city.question(1)])
    assert list(csv.reader(io.StringIO(said.stdout))) == [[str(v) for v in row] for row in key["rows"]]
    assert "no mapping covers" in said.stderr


def test_the_pages_batch(cli: Path, city: City) -> None:
    said = trino(command(cli, city, "batch"))
    head, companies = said.stdout.splitlines()
    assert head == '"companies"'
    assert [[int(companies.strip('"'))]] == city.ask("SELECT count(*) FROM city.org.company", "lin")["rows"]


def test_an_interrupted_statement_is_cancelled_at_the_gateway(cli: Path, city: City) -> None:
    mark = f"mark{time.time_ns()}"
    sql = f"SELECT '{mark}', a.company FROM company a CROSS JOIN company b CROSS JOIN company c"
    state = f"SELECT state FROM system.runtime.queries WHERE query LIKE '%{mark}%' AND query NOT LIKE '%runtime%'"
    running = subprocess.Popen(
        [*command(cli, city), "--output-format", "TSV", "--execute", sql], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline().startswith(mark)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while (found := city.ask(state, "lin")["rows"]) != [["FAILED"]] and time.monotonic() < deadline:
        pass
    assert found == [["FAILED"]]
