"""docker-compose.yml keeps what it promises, and its processes answer the flagship question.

No container engine is needed. The first half reads the file: who mounts what, who reaches whom, what is
published. The second half runs every process with the command, environment, volumes and order of start that
the file declares: volumes become folders, host names become loopback, ports become free ones, and the two
database images become the real servers of `tests/servers.py`, set up as those images would from the same
environment.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pymysql
import pytest
import yaml
from psycopg.sql import SQL, Identifier
from typer.testing import CliRunner

from atoll.cli import app
from atoll.commands import compose_prepare
from atoll.demo.install import DEPARTMENTS
from atoll.demo.processes import Process, Processes, free_port
from catalog.http import Client
from tests.servers import MariaDBServer, PostgresServer, mariadb_server, postgres_server

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
JOBS = {"prepare", "fill"}
IMAGES = {"water-db": "postgres:15", "market-db": "mariadb:10.11"}
pytestmark = [pytest.mark.servers, pytest.mark.city]
OWNERS = {"water-db": "water", "market-db": "market", "register": "chemicals"}
"""Services inside a department, beside its agent."""


@dataclass(frozen=True)
class Mount:
    volume: str
    path: str
    read_only: bool


@dataclass(frozen=True)
class Compose:
    """The parsed file; anchors and merges are resolved by YAML itself."""

    data: dict[str, Any]

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.data["services"]
        return found

    def mounts(self, service: str) -> list[Mount]:
        parts = [text.split(":") for text in self.services[service].get("volumes", ())]
        return [Mount(p[0], p[1], p[2:] == ["ro"]) for p in parts]

    def networks(self, service: str) -> set[str]:
        """Networks of a service; one that lives in another's has that one's."""
        mode = self.services[service].get("network_mode", "")
        if mode.startswith("service:"):
            return self.networks(mode.removeprefix("service:"))
        return set() if mode == "none" else set(self.services[service]["networks"])

    @property
    def addresses(self) -> dict[str, str]:
        """ATOLL_CITY of the jobs: name -> host:port."""
        return dict(pair.split("=", 1) for pair in self.services["prepare"]["environment"]["ATOLL_CITY"].split())


@pytest.fixture(scope="module")
def compose() -> Compose:
    return Compose(yaml.safe_load(FILE.read_text(encoding="utf-8")))


# ---------------------------------------------------------------- what the file promises


def test_the_city_is_complete(compose: Compose) -> None:
    assert set(compose.services) == {*DEPARTMENTS, *IMAGES, *JOBS, "register", "identity", "gateway"}
    assert {name: compose.services[name]["image"] for name in IMAGES} == IMAGES


def test_only_known_keys_are_used(compose: Compose) -> None:
    known = {"build", "image", "init", "cap_drop", "security_opt", "environment", "restart", "depends_on", "command",
             "networks", "network_mode", "volumes", "ports", "healthcheck"}  # fmt: skip
    assert {k for k in compose.data if not k.startswith("x-")} == {"name", "services", "networks", "volumes"}
    for name, service in compose.services.items():
        assert set(service) <= known, name
        assert not ("networks" in service and "network_mode" in service), name
    used = {m.volume for name in compose.services for m in compose.mounts(name)}
    assert used == set(compose.data["volumes"])
    assert {n for name in compose.services for n in compose.networks(name)} == set(compose.data["networks"])


def test_only_the_gateway_publishes_a_port_and_on_this_machine_alone(compose: Compose) -> None:
    published = {name: s["ports"] for name, s in compose.services.items() if "ports" in s}
    assert published == {"gateway": ["127.0.0.1:8080:8080"]}


def test_what_belongs_to_a_department_is_mounted_by_that_department_alone(compose: Compose) -> None:
    for name in set(compose.services) - JOBS:
        owner = OWNERS.get(name, name)
        for mount in compose.mounts(name):
            assert mount.volume == owner or mount.volume.startswith(f"{owner}-"), (name, mount)


def test_silos_are_read_only_where_they_are_served(compose: Compose) -> None:
    silos = [
        m for name in set(compose.services) - JOBS for m in compose.mounts(name) if m.path.startswith("/city/silos")
    ]
    assert {m.volume for m in silos} == {f"{d}-silo" for d in ("environment", "health", "chemicals", "housing")}
    assert all(m.read_only for m in silos)


def test_nothing_that_serves_can_see_the_answer_key(compose: Compose) -> None:
    assert {name for name in compose.services if any(m.volume == "work" for m in compose.mounts(name))} == JOBS
    assert all(compose.services[name].get("restart", "no") == "no" for name in JOBS)


def test_a_database_is_reached_by_its_own_agent_alone_and_the_gateway_reaches_agents_alone(compose: Compose) -> None:
    for inner, owner in OWNERS.items():
        neighbours = {n for n in compose.services if compose.networks(n) & compose.networks(inner)} - JOBS
        assert neighbours == {inner, owner}
        assert all(compose.data["networks"][n]["internal"] for n in compose.networks(inner))
    reached = {n for n in compose.services if compose.networks(n) & compose.networks("gateway")}
    assert reached == {"gateway", "identity", *DEPARTMENTS}


def test_identity_has_keys_of_its_own_and_a_door_on_loopback_alone(compose: Compose) -> None:
    assert [m.volume for m in compose.mounts("identity")] == ["identity"]
    assert [m.volume for m in compose.mounts("gateway")] == ["gateway"]
    assert "--host" not in compose.services["identity"]["command"]
    assert compose.addresses["identity"].startswith("127.0.0.1:")


def test_every_address_is_a_service_that_listens_there(compose: Compose) -> None:
    for name, address in compose.addresses.items():
        host = address.rsplit(":", 1)[0]
        assert host == ("127.0.0.1" if name == "identity" or name.endswith("-owner") else name)


def test_every_port_has_one_meaning_and_every_volume_one_place(compose: Compose) -> None:
    ports = [address.rpartition(":")[2] for address in compose.addresses.values()]
    assert len(set(ports)) == len(ports)
    places = {(m.volume, m.path) for name in set(compose.services) - set(IMAGES) for m in compose.mounts(name)}
    assert len({volume for volume, _ in places}) == len(places)


def test_every_path_of_a_command_is_mounted(compose: Compose) -> None:
    for name in set(compose.services) - set(IMAGES):
        mounted = [m.path for m in compose.mounts(name)]
        for word in (w for w in compose.services[name]["command"] if w.startswith("/")):
            assert any(f"{word}/".startswith(f"{p}/") or p.startswith(f"{word}/") for p in mounted), (name, word)


def test_no_secret_is_written_in_the_file(compose: Compose) -> None:
    for service in compose.services.values():
        for name in service.get("environment", {}):
            assert "PASSWORD" not in name or name.endswith("_FILE")


def test_every_command_exists(compose: Compose) -> None:
    for name in set(compose.services) - set(IMAGES):
        match compose.services[name]["command"]:
            case ["python", "-m", module, *_]:
                assert find_spec(module), name
            case ["atoll", *words]:
                verbs = [w for w in words if not w.startswith(("/", "-"))]
                assert CliRunner().invoke(app, [*verbs, "--help"]).exit_code == 0, name
            case other:
                raise AssertionError(f"{name}: {other}")


def test_the_image_holds_what_the_package_is_built_of_and_runs_without_root(compose: Compose) -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER atoll"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    copies = [shlex.split(line)[1:] for line in lines if line.startswith("COPY ")]
    copied = {source for *sources, _ in copies for source in sources}
    assert copied == {"pyproject.toml", project["project"]["readme"], *wheel["packages"], *wheel["force-include"]}
    assert all(target in (*sources, "./") for *sources, target in copies)
    allowed = {t[1:] for t in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if t.startswith("!")}
    assert allowed == copied


def test_every_volume_finds_its_folder_in_the_image_with_the_right_owner(compose: Compose) -> None:
    made = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for mount in (m for name in compose.services if name not in IMAGES for m in compose.mounts(name)):
        parent, _, last = mount.path.rpartition("/")
        assert mount.path in made or (last in DEPARTMENTS and f"{parent}/$name" in made), mount


# ---------------------------------------------------------------- the same processes, without containers


@dataclass
class Machine:
    """Where the file's names lead here: folders for volumes, free ports of loopback for hosts and ports."""

    compose: Compose
    root: Path
    processes: Processes
    postgres: PostgresServer
    mariadb: MariaDBServer
    ports: dict[str, int]

    @classmethod
    def of(cls, compose: Compose, root: Path, postgres: PostgresServer, mariadb: MariaDBServer) -> Machine:
        taken: set[int] = {postgres.port, mariadb.port}
        ports = {address.rpartition(":")[2]: free_port(taken) for address in compose.addresses.values()}
        ports |= {"5432": postgres.port, "3306": mariadb.port}
        for name in compose.services:
            for mount in compose.mounts(name):
                (root / mount.path[1:]).mkdir(parents=True, exist_ok=True)
        return cls(compose, root, Processes(root / "logs"), postgres, mariadb, ports)

    def here(self, text: str) -> str:
        """A word of the file in terms of this machine."""
        hosts = "|".join(sorted(self.compose.services, key=len, reverse=True))
        text = re.sub(rf"(?<![\w-])(?:{hosts})(?=:\d)", "127.0.0.1", text).replace("0.0.0.0", "127.0.0.1")
        text = re.sub(rf"(?<!\d)(?:{'|'.join(self.ports)})(?!\d)", lambda m: str(self.ports[m[0]]), text)
        return f"{self.root}{text}" if text.startswith(("/city", "/work")) else text

    def command(self, name: str) -> list[str]:
        service = self.compose.services[name]
        python = {"python": [sys.executable], "atoll": [sys.executable, "-m", "atoll.cli"]}
        environment = [f"{key}={self.here(value)}" for key, value in service.get("environment", {}).items()]
        first, *rest = service["command"]
        return ["env", *environment, *python[first], *map(self.here, rest)]

    def up(self) -> None:
        """Start everything in the order that `depends_on` asks for."""
        done: set[str] = set()
        while len(done) < len(self.compose.services):
            ready = [name for name in self.compose.services if name not in done and self._needs(name) <= done]
            assert ready, "depends_on goes in a circle"
            started = {name: self.processes.start(name, self.command(name)) for name in ready if name not in IMAGES}
            for name in ready:
                self._wait(name, started[name]) if name in started else self._set_up(name)
            done |= set(ready)

    def _needs(self, name: str) -> set[str]:
        service = self.compose.services[name]
        shared = service.get("network_mode", "").partition("service:")[2]
        return {*service.get("depends_on", {}), *([shared] if shared else [])}

    def _wait(self, name: str, process: Process) -> None:
        if name in JOBS:
            assert process.popen.wait(240) == 0, process.log.read_text()[-3000:]
            return
        kind, _, *words = self.compose.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        check = [sys.executable, *map(self.here, words)]
        (port,) = re.findall(r"127\.0\.0\.1:(\d+)", " ".join(check))
        deadline = time.monotonic() + 60
        while not listens(int(port)) or subprocess.run(check, capture_output=True, check=False).returncode:
            assert process.alive, process.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"{name} is not healthy"
            time.sleep(0.05)

    def _set_up(self, name: str) -> None:
        """What a database's image does with its environment before it is healthy."""
        env = self.compose.services[name]["environment"]
        if name == "water-db":
            owner, database = Identifier(env["POSTGRES_USER"]), Identifier(env["POSTGRES_DB"])
            password = self._secret(name, env["POSTGRES_PASSWORD_FILE"])
            with psycopg.connect(self.postgres.dsn("postgres"), autocommit=True) as connection:
                connection.execute(SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(owner, password))
                connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
            return
        password = self._secret(name, env["MARIADB_ROOT_PASSWORD_FILE"])
        with pymysql.connect(**self.mariadb.settings()) as base, base.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {env['MARIADB_DATABASE']}")
            cursor.execute("ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY %s", (password,))

    def _secret(self, name: str, path: str) -> str:
        """The content of a file that a database's container sees under its own mount."""
        (mount,) = (m for m in self.compose.mounts(name) if path.startswith(f"{m.path}/"))
        (made,) = (m for m in self.compose.mounts("prepare") if m.volume == mount.volume)
        return Path(f"{self.root}{made.path}{path.removeprefix(mount.path)}").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def machine(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The whole file, running. Servers of its own: the file names databases and passwords of root."""
    root = tmp_path_factory.mktemp("compose")
    with postgres_server() as postgres, mariadb_server() as mariadb:
        here = Machine.of(compose, root, postgres, mariadb)
        try:
            here.up()
            yield here
        finally:
            here.processes.stop()


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of loopback: asked before a check that costs a process."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(machine: Machine, sql: str, user: str) -> dict[str, Any]:
    with Client(timeout=120, trust_env=False) as http:
        answer = http.post(
            f"http://127.0.0.1:{machine.ports['8080']}/api/query",
            json={"sql": sql, "format": "json"},
            headers={"X-Trino-User": user},
        )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = orjson.loads(answer.content)
    return found


def test_the_city_answers_the_flagship_question_as_its_key_says(machine: Machine) -> None:
    key = orjson.loads((machine.root / "work/answers/q1.json").read_bytes())
    answer = ask(machine, (ROOT / "tests/city/questions/q1.sql").read_text(encoding="utf-8"), key["user"])
    assert [list(row) for row in answer["rows"]] == key["rows"]
    assert {d["name"] for d in answer["departments"]} == {"chemicals", "market", "environment"}


@pytest.mark.parametrize(("department", "user"), [("water", "lin"), ("market", "lin")])
def test_the_database_servers_are_what_answers(machine: Machine, department: str, user: str) -> None:
    table = {"water": "water.main.band", "market": "market.main.product"}[department]
    assert ask(machine, f"SELECT count(*) FROM {table}", user)["rows"][0][0] > 0
    folder = machine.root / "city/departments" / department
    source = yaml.safe_load((folder / "department.yaml").read_text(encoding="utf-8"))["sources"]["main"]
    assert source["kind"] == {"water": "postgres", "market": "mysql"}[department]
    assert not list((machine.root / "city").rglob(f"{department}.db"))


def test_a_second_start_changes_no_key_and_loads_nothing_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {f: f.read_bytes() for f in (machine.root / "city").rglob("*") if f.suffix in (".key", ".jwk", ".password")}
    assert len(kept) > 6
    for name in ("prepare", "fill"):
        job = machine.compose.services[name]
        monkeypatch.setenv("ATOLL_CITY", machine.here(job["environment"]["ATOLL_CITY"]))
        compose_prepare.main([*map(machine.here, job["command"][3:])])
    assert {f: f.read_bytes() for f in kept} == kept
