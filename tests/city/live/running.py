"""A whole running city for tests: `atoll demo` as a user would start it, its answer key out of reach.

The seed is drawn when the tests start and printed at their head; CITY_SEED asks for one again. `truth/`
and `answers/` leave the city's folder before the first agent starts; no process of the city can have read
them. Tests ask a second gateway of the same city: it runs where it cannot read the silos, and every byte
between it and the agents passes a tap.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from atoll.demo.databases import LOG_STATEMENTS
from atoll.demo.processes import free_port
from catalog.http import Client, HTTPError, Response
from tests.city.live.wire import Tap, tapped

ATOLL = [sys.executable, "-m", "atoll.cli"]
QUESTIONS = Path(__file__).parents[1] / "questions"
START_SECONDS = 180


@dataclass
class City:
    """folder: the running city's. key: where its truth/ and answers/ lie now. state: demo.json.

    command: the arguments of `atoll` that made its data and started it.

    also_stop: what tests started in place of the city's own.

    url: of the gateway that tests ask. demo_url: of the one that `atoll demo` started. taps: by department.
    """

    folder: Path
    key: Path
    seed: int
    command: list[str]
    state: dict[str, Any]
    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    also_stop: list[subprocess.Popen[bytes]] = field(default_factory=list)
    url: str = ""
    taps: dict[str, Tap] = field(default_factory=dict)
    _answered: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def demo_url(self) -> str:
        return str(self.state["url"])

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def agent(self, department: str) -> str:
        """The address of one department's agent."""
        return str(self.state["departments"][department]["url"])

    def owner(self, department: str) -> str:
        """The address of the owner's door of one department's agent."""
        return str(self.state["departments"][department]["owner"])

    def pid(self, name: str) -> int:
        """Process id of one part of the city: a department, `gateway`, `idp`, `register`."""
        return int(self.state["processes"][name])

    def answer_key(self, question: str) -> dict[str, Any]:
        """answers/qN.json as the generator made it."""
        found: dict[str, Any] = json.loads((self.key / "answers" / f"{question}.json").read_text())
        return found

    def question(self, number: int) -> str:
        return (QUESTIONS / f"q{number}.sql").read_text(encoding="utf-8")

    def post(self, sql: str, user: str, purpose: str = "", **body: Any) -> Response:
        """POST /api/query as a user of the demo; the raw response."""
        message = {"sql": sql, "format": "json", **({"purpose": purpose} if purpose else {}), **body}
        with Client(timeout=120, trust_env=False) as http:
            return http.post(f"{self.url}/api/query", json=message, headers={"X-Trino-User": user})

    def ask(self, sql: str, user: str, purpose: str = "", **body: Any) -> dict[str, Any]:
        """The answer of a statement: columns, rows, warnings, departments. Fails the test on an error."""
        answer = self.post(sql, user, purpose, **body)
        assert answer.status_code == 200, answer.text[:2000]
        found: dict[str, Any] = orjson.loads(answer.content)
        return found

    def answered(self, number: int) -> dict[str, Any]:
        """The answer of one of the five questions, asked once for all tests that only look at it."""
        if number not in self._answered:
            key = self.answer_key(f"q{number}")
            self._answered[number] = self.ask(self.question(number), key["user"], key["purpose"])
        return self._answered[number]

    def refused(self, sql: str, user: str, purpose: str = "", **body: Any) -> dict[str, Any]:
        """The error of a statement that must be refused."""
        answer = self.post(sql, user, purpose, **body)
        assert answer.status_code >= 400, answer.text[:500]
        error: dict[str, Any] = orjson.loads(answer.content)["error"]
        return error

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def running_city(folder: Path, *options: str, seed: int | None = None) -> Iterator[City]:
    """Generate a city, hide its key, start it, wait for `ready`, stop it."""
    seed = seed if seed is not None else int(os.environ["CITY_SEED"])
    command = ["demo", "--dir", str(folder / "city"), "--seed", str(seed), *options]
    subprocess.run([*ATOLL, *command, "--only-data"], check=True, capture_output=True, text=True, timeout=600)
    key = folder / "key"
    key.mkdir()
    for name in ("truth", "answers"):
        shutil.move(folder / "city" / name, key / name)
    process = subprocess.Popen(
        [*ATOLL, *command, "--headless", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120", LOG_STATEMENTS: "1"},
    )
    city = City(folder / "city", key, seed, command, {}, process)
    reader = threading.Thread(target=_read, args=(process, city.output), daemon=True)
    reader.start()
    try:
        _wait_ready(city)
        city.state = json.loads((city.folder / "demo.json").read_text())
        agents = {name: d["url"] for name, d in city.state["departments"].items()}
        with tapped(agents, city.folder) as city.taps, _blind_gateway(city) as city.url:
            yield city
    finally:
        for other in city.also_stop:
            other.terminate()
            other.wait(10)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join(timeout=5)


BLIND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
"""Runs a command without root's right to read what belongs to others."""


@contextmanager
def _blind_gateway(city: City) -> Iterator[str]:
    """A gateway behind the taps that cannot read the silos: they belong to somebody else meanwhile."""
    folder = city.folder.parent / "gateway"
    shutil.copytree(city.folder / "gateway", folder)
    file = folder / "gateway.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["listen"] = f"127.0.0.1:{free_port(set())}"
    for name, tap in city.taps.items():
        settings["departments"][name]["url"] = tap.url
    file.write_text(yaml.safe_dump(settings))
    silos = city.folder / "silos"
    for path in [silos, *silos.rglob("*")]:
        os.chown(path, 65534, 65534)
        path.chmod(0o700 if path.is_dir() else 0o600)
    log = (city.folder / "logs" / "blind-gateway.log").open("wb")
    serve = [sys.executable, "-m", "gateway.server.serve", str(file), "--allow-dev-login"]
    process = subprocess.Popen([*BLIND, *serve], stdout=log, stderr=log)
    try:
        url = f"http://{settings['listen']}"
        _wait_healthy(url, process, city)
        yield url
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _wait_healthy(url: str, process: subprocess.Popen[bytes], city: City) -> None:
    deadline = time.monotonic() + 30
    with Client(timeout=1, trust_env=False) as http:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if http.get(f"{url}/healthz").status_code == 200:
                    return
            except HTTPError:
                time.sleep(0.1)
    raise AssertionError("the second gateway did not start: " + city.log("blind-gateway")[-2000:])


def _read(process: subprocess.Popen[str], into: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        into.append(line.rstrip("\n"))


def _wait_ready(city: City) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if any(line.startswith("ready http") for line in city.output):
            return
        if city.process.poll() is not None:
            break
        threading.Event().wait(0.1)
    logs = "\n".join(
        f"--- {p.name}\n{p.read_text(errors='replace')[-1500:]}"
        for p in sorted((city.folder / "logs").glob("*.log"))
        if p.is_file()
    )
    raise AssertionError("the city did not start:\n" + "\n".join(city.output) + "\n" + logs)
