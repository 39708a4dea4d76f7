"""`atoll demo`: one command, a whole city, and nothing left of it when it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from atoll.demo.processes import free_port
from catalog.http import Client
from catalog.ledger import read_back
from tests.cli.forked import run_forked
from tests.cli.stub_gateway import Done
from tests.demo import Demo, alive, demo, finished

pytestmark = pytest.mark.city
YEARS = ["--years", "2014-2015"]


@pytest.fixture
def city(readme_city: Demo) -> Demo:
    return readme_city


def run_atoll(*words: str, folder: Path | None = None) -> Done:
    done = run_forked([*words], folder or Path.cwd(), dict(os.environ))
    return Done(done.status, done.out.decode(), done.err.decode(), done.out)


def ended(folder: Path, *options: str) -> tuple[int, str]:
    """(exit status, what it said) of an `atoll demo` that ends by itself."""
    done = run_atoll("demo", "--dir", str(folder), "--headless", *options)
    return done.code, done.out + done.err


def test_six_departments_come_up_with_kind_and_policy_in_a_few_words(city: Demo) -> None:
    ticks = {line.split()[1]: line for line in city.lines if line.startswith("  ✓ ")}
    assert set(ticks) == {"water", "environment", "market", "health", "chemicals", "housing"}
    assert "SQLite" in ticks["health"]
    assert "sums only from 10" in ticks["health"]
    assert "yes or no about one person" in ticks["housing"]


def test_the_first_answer_comes_by_itself_within_a_minute_with_who_was_asked_and_what_was_masked(city: Demo) -> None:
    text = "\n".join(city.lines)
    assert city.seconds < 60
    assert "What goes in must come out" in text
    for department in ("chemicals", "market", "environment"):
        assert any(line.startswith(f"  {department}") and "rows" in line for line in city.lines)
    assert "company.legal_person_id: pseudonym(market)" in text
    assert "3 departments (" in text


def test_every_address_is_said_once_and_the_last_line_is_ready(city: Demo) -> None:
    url = city.state["url"]
    assert city.lines[-1] == f"ready {url}"
    text = "\n".join(city.lines)
    for wanted in ("page", "jdbc:trino://127.0.0.1:", "trino.dbapi.connect(", "DBeaver", "curl ", "atoll query"):
        assert text.count(wanted) == 1, wanted


def test_nothing_on_the_screen_or_in_the_logs_is_a_trace_or_a_secret(city: Demo) -> None:
    logs = [(p.name, p.read_text(errors="replace")) for p in (city.folder / "logs").iterdir()]
    assert {"water.log", "gateway.log", "idp.log"} <= {name for name, _ in logs}
    secrets = [p.read_text().strip() for p in city.folder.rglob("*") if p.suffix in (".password", ".root")]
    secrets += json.loads((city.folder / "idp" / "passwords.json").read_text()).values()
    for name, text in [("screen", "\n".join(city.lines)), *logs]:
        assert "Traceback" not in text, name
        assert not any(secret in text for secret in secrets), name


def test_what_must_be_secret_is_readable_by_its_owner_alone(city: Demo) -> None:
    for pattern in ("**/*.jwk", "**/receipt.key", "**/ledger.key", "**/*.password", "**/linkage-*.key"):
        for file in city.folder.glob(pattern):
            assert file.stat().st_mode & 0o077 == 0, file


def test_the_page_answers_and_a_statement_of_a_demo_user_too(city: Demo) -> None:
    with Client(base_url=city.state["url"], trust_env=False, timeout=30) as http:
        assert "atoll" in http.get("/").text
        assert len(http.get("/api/questions").json()) == 5
        me = http.get("/api/me", headers={"X-Trino-User": "mei"}).json()
        assert me == {"user": "mei", "purposes": ["inspection", "statistics"]}
        body = {"sql": "SELECT count(*) AS n FROM market.main.company"}
        answer = http.post("/api/query", json=body, headers={"X-Trino-User": "lin"}).json()
        assert answer["rows"][0][0] > 100


def test_the_owner_s_breaker_stops_a_department_and_lets_it_answer_again(city: Demo) -> None:
    file = city.state["departments"]["market"]["file"]
    sql = "SELECT count(*) AS n FROM market.main.company"

    ask = ["query", "--url", city.state["url"], "--user", "lin", sql]
    assert run_atoll("agent", "pause", file).out == "market is paused.\n"
    try:
        refused = run_atoll(*ask)
        assert refused.code == 1
        assert "market" in refused.err
    finally:
        assert run_atoll("agent", "resume", file).code == 0
    assert run_atoll(*ask).code == 0


def test_the_owner_has_a_relation_copied_and_lets_the_copy_go(city: Demo) -> None:
    file = Path(city.state["departments"]["water"]["file"])
    policy = file.read_text()
    keep = ["materialise", "-f", str(file)]
    count = "SELECT count(*), sum(qty) FROM water.main.company_month"
    ask = ["query", "--url", city.state["url"], "--user", "lin", "--json", count]
    before = json.loads(run_atoll(*ask).out)["rows"]
    assert run_atoll(*keep).out == "No relation says `materialise`: nothing is copied.\n"
    refused = run_atoll(*keep, "company_month")
    assert (refused.code, refused.out) == (1, "")
    assert "relations.company_month" in refused.err
    file.write_text(policy.replace("\n  company_month:\n", "\n  company_month:\n    materialise: 6h\n"))
    try:
        told = json.loads(run_atoll(*keep, "city.water.company_month", "--json").out)
        assert told["why"] == {}
        assert [(c["relation"], c["seconds"], c["rows"]) for c in told["copies"]] == [
            ("company_month", 21600, before[0][0])
        ]
        answer = json.loads(run_atoll(*ask).out)
        assert answer["rows"] == before
        (water,) = answer["departments"]
        assert water["vintages"] == {"company_month": told["copies"][0]["vintage"]}
        assert answer["warnings"] == [f"water.main.company_month: rows as of {_minute(water['vintages'])} UTC"]
        assert "company_month" in run_atoll(*keep).out
        assert "Nothing of city.org.company lies in water" in run_atoll(*keep, "city.org.company").err
        assert "no copy yet" in run_atoll(*keep, "--drop", "water.main.company_month").out
        assert not json.loads(run_atoll(*ask).out)["departments"][0]["vintages"]
    finally:
        file.write_text(policy)


def _minute(vintages: dict[str, str]) -> str:
    return vintages["company_month"][:16].replace("T", " ")


def clinic(folder: Path, issuer: str, ports: tuple[int, int]) -> None:
    """A silo with 60 patients, drafted, with its proposals taken and the draft's placeholders filled in."""
    with sqlite3.connect(folder / "clinic.db") as db:
        db.execute("CREATE TABLE visit (id INTEGER PRIMARY KEY, patient_id TEXT, sex TEXT, cost DECIMAL(10,2))")
        db.executemany(
            "INSERT INTO visit VALUES (NULL, ?, ?, ?)", [(f"p{n}", "FM"[n % 2], f"{n}.50") for n in range(60)]
        )
    db.close()
    text = run_atoll("agent", "draft", "clinic.db", folder=folder).out
    head, _, proposals = text.partition("grants: []\n")
    taken = [line[1:] for line in proposals.splitlines() if not line.startswith(("# Prop", "# Of two"))]
    text = head.replace("https://idp.example", issuer) + "\n".join(taken)
    text = text.replace("127.0.0.1:7400", f"127.0.0.1:{ports[0]}").replace("127.0.0.1:7401", f"127.0.0.1:{ports[1]}")
    (folder / "department.yaml").write_text(text)
    (folder / "linkage.root").write_text("ab" * 32)


def test_a_database_becomes_a_department_of_the_city_with_five_commands(
    city: Demo, shelf: Path, tmp_path: Path
) -> None:
    url, taken = city.state["url"], set[int]()
    ports = free_port(taken), free_port(taken)
    clinic(tmp_path, city.state["issuer"], ports)
    shutil.copy(city.folder / "idp" / "jwks.json", tmp_path)
    sql = "SELECT sex, count(*) AS n FROM clinic.main.visit GROUP BY 1"
    count = ["query", "--url", url, "--user", "bi", "--json", sql]
    assert run_atoll("agent", "check", "department.yaml", folder=tmp_path).code == 0
    command = [shelf / "atoll", "agent", "serve", "department.yaml"]
    agent = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        assert agent.stdout.readline().startswith("ready http")
        registered = run_atoll("register", "department.yaml", "--gateway", url, "--user", "zhao", folder=tmp_path)
        assert "pending" in registered.out, registered.err
        assert run_atoll(*count).code == 1
        assert run_atoll("departments", "approve", "clinic", "--url", url, "--user", "lin").code == 1
        assert run_atoll("departments", "approve", "clinic", "--url", url, "--user", "zhao").code == 0
        answer = json.loads(run_atoll(*count).out)
        assert sorted(answer["rows"]) == [["F", 30], ["M", 30]]
        shown = run_atoll("ledger", "show", "department.yaml", "--json", folder=tmp_path)
        assert [r["sub"] for r in json.loads(shown.out) if r["kind"] == "begin"] == ["bi"]
        assert run_atoll("ledger", "verify", "department.yaml", folder=tmp_path).code == 0
        receipt = answer["departments"][0]["receipts"][0]
        told = run_atoll("receipt", receipt, "--url", url, "--user", "bi", "--json")
        assert json.loads(told.out)["department"] == "clinic"
        assert run_atoll("receipt", receipt, "--url", url, "--user", "lin").code == 1
    finally:
        agent.terminate()
        agent.wait(20)


def test_a_second_demo_in_the_same_folder_is_refused(city: Demo) -> None:
    assert ended(city.folder, "--port", "0") == (
        1, f"✗ another demo runs in {city.folder}: stop it, or name another with --dir\n",
    )  # fmt: skip


def test_a_department_that_dies_is_said_and_the_others_go_on(city: Demo) -> None:
    os.kill(city.state["processes"]["housing"], signal.SIGKILL)
    assert city.process.stdout is not None
    assert "housing stopped: its department is down" in city.process.stdout.readline()
    with Client(base_url=city.state["url"], trust_env=False, timeout=30) as http:
        listed = http.get("/api/departments", headers={"X-Trino-User": "tang"}).json()
        assert {d["name"]: d["state"] for d in listed}["water"] == "up"


SEVENTH = ["--seed", "7", *YEARS]


@pytest.fixture(scope="module")
def seventh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a city of seed 7 that no department serves; its first start was stopped while it was made."""
    folder = tmp_path_factory.mktemp("seventh") / "city"
    process = demo(folder, "--only-data", *SEVENTH)
    log = folder / "logs" / "data.log"
    deadline = time.monotonic() + 30
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, out = finished(process)
    assert (code, (folder / "manifest.json").exists()) == (0, False), out
    assert ended(folder, "--only-data", *SEVENTH)[0] == 0
    return folder


def test_a_stop_while_the_data_is_made_leaves_no_maker_and_the_next_start_makes_it_anew(seventh: Path) -> None:
    assert (seventh / "answers" / "q1.json").exists()
    assert (seventh / "silos" / "water" / "water.db").exists()


def test_another_city_in_the_folder_is_overwritten_with_reset_alone_and_the_same_seed_makes_the_same(
    seventh: Path,
) -> None:
    made = json.loads((seventh / "manifest.json").read_text())
    code, out = ended(seventh, "--only-data", "--seed", "8", *YEARS)
    assert code == 1
    assert "holds another city (other seed): --reset makes a new one there" in out
    assert json.loads((seventh / "manifest.json").read_text()) == made
    mine, old = seventh / "notes.txt", seventh / "silos" / "old.txt"
    for file in (mine, old):
        file.write_text("mine")
    assert ended(seventh, "--only-data", "--reset", *SEVENTH)[0] == 0
    assert (mine.exists(), old.exists()) == (True, False)
    assert json.loads((seventh / "manifest.json").read_text()) == made


def test_a_folder_that_is_no_city_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "silos").mkdir()
    (tmp_path / "silos" / "mine.txt").write_text("mine")
    for options in ([], ["--reset"]):
        code, out = ended(tmp_path, "--only-data", *options)
        assert code == 1
        assert "holds no atoll city" in out
    assert (tmp_path / "silos" / "mine.txt").read_text() == "mine"


def test_wrong_years_and_a_taken_port_are_one_clear_line(seventh: Path, tmp_path: Path) -> None:
    code, out = ended(tmp_path / "city", "--years", "1999-2000")
    assert code == 1
    assert "years must lie in 2013-2024" in out
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out = ended(seventh, "--port", str(port), *SEVENTH)
    assert code == 1
    assert f"port {port} is taken: --port 0 takes a free one" in out


def test_a_gateway_with_the_open_door_is_not_served_outside_the_demo(city: Demo) -> None:
    done = run_atoll("gateway", "serve", str(city.folder / "gateway" / "gateway.yaml"))
    assert done.code == 1
    assert "only `atoll demo` may" in done.err


# ---------------------------------------------------------------- how a city ends; keep this last: it ends it


def test_a_signal_to_end_ends_everything(city: Demo) -> None:
    pids = alive(list(city.state["processes"].values()))
    assert len(pids) >= 8
    departments = set(city.state["departments"])
    city.process.send_signal(signal.SIGTERM)
    code, out = finished(city.process)
    assert code == 0
    assert f"Start again: atoll demo --dir {city.folder}" in out
    assert alive(pids) == []
    assert not (city.folder / "demo.json").exists()
    last = {file.parent.parent.name: next(read_back(file))["kind"] for file in city.folder.rglob("ledger.jsonl")}
    assert {name for name, kind in last.items() if kind == "stop"} == {"gateway", *departments} - {"housing"}
    assert last["housing"] != "stop"  # it was killed above: a crash looks like none of them
