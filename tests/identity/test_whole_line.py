"""Identity provider, gateway and agent as processes, set up with `atoll keys` and `atoll register` as people would.

No door without passwords, no demo: what an operator and an owner type is what is tested.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
import yaml
from typer.testing import CliRunner, Result

from atoll.cli import app
from atoll.demo import idp
from atoll.demo.processes import free_port
from catalog.http import Client, HTTPError

NAMES = "SELECT id, name FROM water.main.people WHERE id < 3 ORDER BY id"
USAGE = "SELECT sum(litres) AS litres FROM water.main.usage"


@dataclass
class Line:
    """folder: idp/, city/gateway.yaml, water/department.yaml. ports: of the three."""

    folder: Path
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.ports['idp']}"

    @property
    def department(self) -> Path:
        return self.folder / "water" / "department.yaml"

    @property
    def gateway(self) -> Path:
        return self.folder / "city" / "gateway.yaml"

    def start(self, name: str, module: str, *words: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        command = [sys.executable, "-m", module, *words]
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def run(self, command: str, **env: str) -> Result:
        """`atoll ...` as typed."""
        known = {"ATOLL_URL": f"http://127.0.0.1:{self.ports['gateway']}", "ATOLL_ISSUER": self.issuer, **env}
        words = shlex.split(command.format(line=self))[1:]
        return CliRunner().invoke(app, words, env={**known, "COLUMNS": "200"})

    def done(self, command: str, **env: str) -> str:
        found = self.run(command, **env)
        assert found.exit_code == 0, found.output
        return found.stdout.strip()

    def token(self, user: str, key: Path | None = None) -> str:
        password = orjson.loads((self.folder / "idp" / "passwords.json").read_bytes())[user]
        option = f" --key {key}" if key else ""
        return self.done(f"atoll token --user {user}{option}", ATOLL_PASSWORD=password)

    def trust(self) -> None:
        """The gateway's card, as it is now, to the department and the identity provider."""
        card = self.folder / "card.json"
        card.write_text(self.done("atoll keys show {line.gateway} --public"))
        self.done(f"atoll keys trust {{line.department}} {card}")
        self.done(f"atoll keys trust {self.folder / 'idp'} {card}")


def write(line: Line) -> None:
    for name in ("water", "city"):
        (line.folder / name).mkdir()
    idp.prepare(line.folder / "idp", {"lin": ("mass-balance",), "zhao": ("audit",)})
    jwks = (line.folder / "idp" / "jwks.json").read_bytes()
    (line.folder / "water" / "jwks.json").write_bytes(jwks)
    (line.folder / "city" / "jwks.json").write_bytes(jwks)
    with sqlite3.connect(line.folder / "water" / "silo.db") as db:
        db.execute("CREATE TABLE people (id INTEGER, name TEXT)")
        db.executemany("INSERT INTO people VALUES (?, ?)", [(i, f"nobody-knows-{i}") for i in range(9)])
        db.execute("CREATE TABLE usage (litres INTEGER)")
        db.executemany("INSERT INTO usage VALUES (?)", [(i,) for i in range(9)])
    identity = {"issuer": line.issuer, "jwks": "file:jwks.json", "gateways": "file:gateways.json"}
    grant = {"purposes": ["mass-balance"], "mode": "masked"}
    policy = {
        "department": "water", "listen": f"127.0.0.1:{line.ports['water']}", "identity": identity,
        "owner_listen": f"127.0.0.1:{line.ports['owner']}",
        "sources": {"main": {"kind": "sqlite", "path": "silo.db"}}, "purposes": ["mass-balance"],
        "relations": {
            "people": {"table": "people", "columns": {"id": "bigint", "name": "varchar"}},
            "usage": {"table": "usage", "columns": {"litres": "bigint"}},
        },
        "grants": [{"relation": "people", "strict": "question", **grant}, {"relation": "usage", **grant}],
    }  # fmt: skip
    line.department.write_text(yaml.safe_dump(policy))
    settings = {
        "listen": f"127.0.0.1:{line.ports['gateway']}", "admins": ["zhao"],
        "identity": {"issuer": line.issuer, "jwks": "jwks.json", "token_url": f"{line.issuer}/token"},
    }  # fmt: skip
    line.gateway.write_text(yaml.safe_dump(settings))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    taken: set[int] = set()
    ports = {name: free_port(taken) for name in ("idp", "gateway", "water", "owner")}
    made = Line(tmp_path_factory.mktemp("line"), ports)
    write(made)
    made.done("atoll keys new {line.gateway}")
    made.trust()
    made.start("idp", "atoll.demo.idp", "--dir", str(made.folder / "idp"), "--port", str(ports["idp"]))
    made.start("water", "connectors.agent.serve", str(made.department))
    made.start("gateway", "gateway.server.serve", str(made.gateway))
    try:
        for name, port in (("idp", "idp"), ("water", "owner"), ("gateway", "gateway")):
            await_health(made, name, ports[port])
        zhao = made.token("zhao")
        assert "pending" in made.done("atoll register {line.department}", ATOLL_TOKEN=zhao)
        made.done("atoll departments approve water", ATOLL_TOKEN=zhao)
        yield made
    finally:
        for process in made.processes.values():
            process.terminate()
        for process in made.processes.values():
            process.wait(20)


def await_health(line: Line, name: str, port: int) -> None:
    deadline = time.monotonic() + 60
    with Client(trust_env=False, timeout=2) as http:
        while True:
            try:
                if http.get(f"http://127.0.0.1:{port}/healthz").status_code == 200:
                    return
            except HTTPError:
                assert line.processes[name].poll() is None, (line.folder / f"{name}.log").read_text()[-2000:]
            assert time.monotonic() < deadline, name
            time.sleep(0.05)


def rows(line: Line, sql: str, token: str, **env: str) -> list[list[object]]:
    found = json.loads(line.done(f"atoll query --json {shlex.quote(sql)}", ATOLL_TOKEN=token, **env))
    return list(found["rows"])


def refusal(line: Line, sql: str, token: str, **env: str) -> dict[str, str]:
    done = line.run(f"atoll query --json {shlex.quote(sql)}", ATOLL_TOKEN=token, **env)
    assert done.exit_code == 1, done.output
    error: dict[str, str] = json.loads(done.stdout)["error"]
    return error


def test_a_question_goes_through_mutual_tls_and_comes_back(line: Line) -> None:
    assert rows(line, USAGE, line.token("lin")) == [[36]]


def test_atoll_query_signs_by_itself_where_a_table_asks_for_it(line: Line) -> None:
    key = line.folder / "lin.key"
    bound = line.token("lin", key)
    assert rows(line, NAMES, bound, ATOLL_KEY=str(key)) == [[i, f"nobody-knows-{i}"] for i in range(3)]
    assert rows(line, USAGE, bound, ATOLL_KEY=str(key)) == [[36]]
    unsigned = refusal(line, NAMES, bound)
    unbound = refusal(line, NAMES, line.token("lin"), ATOLL_KEY=str(key))
    assert [(e["outcome"], e["who"], e["rule"]) for e in (unsigned, unbound)] == [
        ("AUTH", "water", "signed question")
    ] * 2
    assert "atoll token --key" in unsigned["hint"]
    # A dry run is told the same verdict.
    assert "signed question" not in line.done(f"atoll query --dry-run '{NAMES}'", ATOLL_TOKEN=bound, ATOLL_KEY=str(key))


def test_the_signature_lies_in_the_department_s_own_ledger(line: Line) -> None:
    key = line.folder / "lin.key"
    rows(line, NAMES, line.token("lin", key), ATOLL_KEY=str(key))
    ledger = (line.folder / "water" / "state" / "ledger.jsonl").read_bytes().splitlines()
    begins = [r for r in (orjson.loads(entry)["r"] for entry in ledger) if r["kind"] == "begin"]
    assert any(len(r["question"]) == 64 and r["proof"].count(".") == 2 for r in begins)
    assert b"nobody-knows" not in b"".join(ledger)


def test_every_key_rotates_while_questions_are_answered(line: Line) -> None:
    lin = line.token("lin")
    line.done("atoll keys rotate {line.department} --overlap 1h")
    line.done("atoll register {line.department}", ATOLL_TOKEN=line.token("zhao"))
    assert rows(line, USAGE, lin) == [[36]]
    line.done("atoll keys rotate {line.gateway} --at +2s --overlap 1h")
    line.trust()
    time.sleep(max(0.0, signing_begins(line) - time.time() + 0.05))
    assert rows(line, USAGE, lin) == [[36]]
    line.done(f"atoll keys rotate {line.folder / 'idp'} --overlap 1h")
    for file in ("{line.department}", "{line.gateway}"):
        line.done(f"atoll keys trust {file} {line.folder / 'idp' / 'jwks.json'}")
    assert rows(line, USAGE, line.token("lin")) == [[36]]
    line.done("atoll ledger verify {line.department}")


def signing_begins(line: Line) -> float:
    listed = orjson.loads((line.folder / "city" / "state" / "gateway.jwk").read_bytes())["keys"]
    return float(listed[-1]["nbf"])


def test_a_revoked_gateway_is_refused_within_two_seconds_and_no_restart(line: Line) -> None:
    lin = line.token("lin")
    assert rows(line, USAGE, lin) == [[36]]
    shown = json.loads(line.done("atoll keys show {line.gateway} --json"))
    (kid,) = (k["key"] for k in shown if k["use"] == "signing" and k["state"] == "signs")
    line.done(f"atoll keys revoke {{line.department}} {kid}")
    started = time.monotonic()
    refused = refusal(line, USAGE, lin)
    assert (refused["outcome"], refused["who"], refused["rule"]) == ("AUTH", "water", "pinned gateways")
    assert time.monotonic() - started < 2
    line.done(f"atoll keys revoke {{line.gateway}} {kid}")
    line.trust()
    assert rows(line, USAGE, lin) == [[36]]
    assert all(p.poll() is None for p in line.processes.values())


def test_no_log_holds_a_token_or_a_key(line: Line) -> None:
    rows(line, USAGE, line.token("lin"))
    logs = b"".join(f.read_bytes() for f in line.folder.glob("*.log"))
    assert b"eyJ" not in logs
    rings = [orjson.loads(f.read_bytes()) for f in line.folder.rglob("*.jwk")]
    secrets = [jwk["d"] for ring in rings for jwk in ring["keys"] if "d" in jwk]
    assert len(secrets) >= 3
    assert not any(secret.encode() in logs for secret in secrets)
