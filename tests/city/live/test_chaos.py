"""Departments die, freeze and come back; each time one error names them and the rest goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.http import Client, HTTPError
from tests.city.live.running import City
from tests.cli.forked import run_forked

ACROSS = (
    "SELECT c.company, sum(w.qty) AS qty FROM water.main.company_month AS w "
    "JOIN market.main.company_code AS c ON c.code = w.org_no GROUP BY c.company"
)
MARKET = "SELECT count(*) FROM market.main.company"


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def healthy(url: str) -> bool:
    with Client(timeout=1, trust_env=False) as http:
        try:
            return http.get(f"{url}/healthz").status_code == 200
        except HTTPError:
            return False


@pytest.fixture
def water_killed(city: City) -> Iterator[Callable[[], None]]:
    """A function that kills water's agent; afterwards the agent is started again, the gateway untouched."""

    def kill() -> None:
        os.kill(city.pid("water"), signal.SIGKILL)
        assert until(lambda: not healthy(city.owner("water")), 5)

    yield kill
    if not healthy(city.owner("water")):
        restart(city)
    assert until(lambda: city.post(ACROSS, "lin", "mass-balance").status_code == 200, 20)


def restart(city: City) -> None:
    file = Path(city.state["departments"]["water"]["file"])
    log = (city.folder / "logs" / "water.log").open("ab")
    agent = subprocess.Popen(
        [sys.executable, "-m", "connectors.agent.serve", str(file)], stdout=log, stderr=log, cwd=file.parent
    )
    city.state["processes"]["water"] = agent.pid
    city.also_stop.append(agent)
    assert until(lambda: healthy(city.owner("water")), 30)


def test_a_department_killed_in_the_middle_is_one_error_that_names_it(
    city: City, water_killed: Callable[[], None]
) -> None:
    os.kill(city.pid("water"), signal.SIGSTOP)
    outcome: dict[str, Any] = {}

    def ask() -> None:
        outcome["response"] = city.post(ACROSS, "lin", "mass-balance")
        outcome["at"] = time.monotonic()

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.5)
    died = time.monotonic()
    water_killed()
    thread.join(20)
    assert outcome["response"].status_code >= 400
    error = outcome["response"].json()["error"]
    assert error["who"] == "water"
    assert "water" in error["message"]
    assert outcome["at"] - died < 5
    assert city.ask(MARKET, "lin", "mass-balance")["rows"]


def test_a_dead_department_never_blocks_a_listing_and_a_restart_heals_without_touching_the_gateway(
    city: City, water_killed: Callable[[], None]
) -> None:
    before = city.ask(ACROSS, "lin", "mass-balance")
    water_killed()
    error = city.refused(ACROSS, "lin", "mass-balance")
    assert error["who"] == "water"
    started = time.monotonic()
    answer = city.ask("SELECT table_catalog FROM market.information_schema.tables", "lin", "mass-balance")
    assert time.monotonic() - started < 5
    assert answer["rows"]
    restart(city)
    assert until(lambda: city.post(ACROSS, "lin", "mass-balance").status_code == 200, 20)
    after = city.ask(ACROSS, "lin", "mass-balance")
    assert sorted(after["rows"]) == sorted(before["rows"])


def test_a_frozen_department_fails_the_query_in_time(city: City) -> None:
    os.kill(city.pid("water"), signal.SIGSTOP)
    try:
        started = time.monotonic()
        error = city.refused(ACROSS, "lin", "mass-balance")
        assert time.monotonic() - started < 6
        assert error["who"] == "water"
    finally:
        os.kill(city.pid("water"), signal.SIGCONT)
    assert until(lambda: city.post(ACROSS, "lin", "mass-balance").status_code == 200, 20)


def test_the_owners_switch_works_without_the_gateway(city: City) -> None:
    file = city.state["departments"]["water"]["file"]
    started = time.monotonic()
    assert run_forked(["agent", "pause", file], city.folder, dict(os.environ)).status == 0
    try:
        error = city.refused(ACROSS, "lin", "mass-balance")
        assert error["outcome"] == "CLOSED"
        assert error["who"] == "water"
        assert time.monotonic() - started < 8
    finally:
        assert run_forked(["agent", "resume", file], city.folder, dict(os.environ)).status == 0
    assert until(lambda: city.post(ACROSS, "lin", "mass-balance").status_code == 200, 10)


def test_two_users_at_once_get_their_own_answers(city: City) -> None:
    keys = {n: city.answer_key(f"q{n}") for n in (2, 5)}
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        answers[number] = city.ask(city.question(number), keys[number]["user"], keys[number]["purpose"])

    threads = [threading.Thread(target=ask, args=(n,)) for n in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for number, key in keys.items():
        assert answers[number]["rows"] == key["rows"]


def test_abuse_is_one_clear_error_each_and_the_process_lives_on(city: City) -> None:
    abuse = {
        "SELECT nope FROM water.main.company_month": "COLUMN_NOT_FOUND",
        "SELECT * FROM water.main.nope": "TABLE_NOT_FOUND",
        "SELECT frobnicate(1)": "FUNCTION_NOT_FOUND",
        "DROP TABLE water.main.company_month": "NOT_SUPPORTED",
        "SELECT 1; SELECT 2": "SYNTAX_ERROR",
        "SELECT '" + "x" * 5_000_000 + "'": "QUERY_TEXT_TOO_LARGE",
        "SELECT " + "(" * 10_000 + "1" + ")" * 10_000: "QUERY_TEXT_TOO_LARGE",
    }
    for sql, name in abuse.items():
        error = city.refused(sql, "lin", "mass-balance")
        assert error["error_name"] == name, sql[:80]
        assert error["message"]
        assert "Traceback" not in error["message"]
    assert city.refused(MARKET, "lin", "tax-audit")["outcome"] == "PURPOSE"
    assert city.ask(MARKET, "lin", "mass-balance")["rows"]


@pytest.mark.parametrize("token", ["nonsense", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJsaW4ifQ."])
def test_an_invalid_token_is_no_login(city: City, token: str) -> None:
    with Client(timeout=10, trust_env=False) as http:
        answer = http.post(
            f"{city.url}/api/query", json={"sql": "SELECT 1"}, headers={"Authorization": f"Bearer {token}"}
        )
    assert answer.status_code == 401
