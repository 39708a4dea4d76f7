"""Departments, receipts and tokens on the command line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import uvicorn

from atoll.demo.idp import IdentityProvider, create_app
from catalog import keys
from catalog.keys import SigningKey
from catalog.ledger import Ledger
from tests.cli.stub_gateway import Run


def test_departments_are_listed_dead_ones_too(atoll: Run) -> None:
    done = atoll("departments", "list")
    assert done.code == 0
    assert "Water utility" in done.out
    assert "down" in done.out
    assert [d["state"] for d in json.loads(atoll("departments", "list", "--json").out)] == ["up", "down"]


def test_an_operator_approves_and_suspends(atoll: Run) -> None:
    assert atoll("departments", "approve", "health").out == (
        "health is approved.\nHealth board, asked at https://health.test:7400; receipts signed by kPrK\n"
    )
    assert json.loads(atoll("departments", "suspend", "health", "--json").out)["state"] == "suspended"


def test_a_receipt_is_explained(atoll: Run) -> None:
    out = atoll("receipt", "water-000042").out
    assert "account.phone: deny" in out
    assert json.loads(atoll("receipt", "water-000042", "--json").out)["department"] == "water"


@pytest.mark.parametrize(
    "words", [[], ["query"], ["explain"], ["demo"], ["token"], ["receipt"], ["register"], ["agent"],
              ["agent", "draft"], ["agent", "check"], ["agent", "serve"], ["agent", "pause"],
              ["ledger", "show"], ["ledger", "verify"], ["policy", "test"],
              ["departments", "list"], ["departments", "approve"], ["gateway", "serve"]], ids=" ".join,
)  # fmt: skip
def test_every_help_teaches_by_an_example(atoll: Run, words: list[str]) -> None:
    done = atoll(*words, "--help")
    assert done.code == 0
    if words != ["agent"]:
        assert " ".join(["atoll", *words]) in done.out.split("Usage", 1)[1].split("\n", 1)[1]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("idp")
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = create_app(IdentityProvider(folder, issuer), dev_login=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield issuer, folder
    server.should_exit = True
    thread.join(10)


def test_a_token_comes_by_password_from_stdin_or_environment_and_says_what_it_is_for(
    atoll: Run, provider: tuple[str, Path]
) -> None:
    issuer, folder = provider
    password = orjson.loads((folder / "passwords.json").read_bytes())["mei"]
    command = ["token", "--user", "mei", "--issuer", issuer]
    done = atoll(*command, "--password-stdin", stdin=password + "\n")
    assert done.code == 0
    assert done.out.count(".") == 2
    assert "good for 60 minutes · mei holds inspection, statistics" in done.err
    by_environment = atoll(*command, "--json", env={"ATOLL_PASSWORD": password})
    assert json.loads(by_environment.out)["purposes"] == ["inspection", "statistics"]
    assert password not in done.out + done.err


def test_a_wrong_password_or_purpose_is_refused_with_the_purposes_held(atoll: Run, provider: tuple[str, Path]) -> None:
    command = ["token", "--user", "mei", "--issuer", provider[0]]
    wrong = atoll(*command, env={"ATOLL_PASSWORD": "x"})
    assert wrong.code == 1
    assert "identity provider refused: Unknown user or wrong password." in wrong.err
    other = atoll(*command, "--dev-login", "--purpose", "audit")
    assert (other.code, other.out) == (1, "")
    assert "Held: inspection, statistics." in other.err
    assert atoll(*command, "--dev-login", "--purpose", "statistics").code == 0


def test_no_identity_provider_is_one_clear_line(atoll: Run) -> None:
    done = atoll("token", "--user", "lin", "--issuer", "http://127.0.0.1:1", "--dev-login")
    assert done.code == 1
    assert "does not answer" in done.err


def ledger_of(folder: Path) -> Path:
    """A department's folder with a ledger of three records, as its agent leaves it."""
    state = folder / "state"
    ledger = Ledger(state / "ledger.jsonl", keys.load_or_create(state / "ledger.key"))
    ledger.append("start", {"department": "water"})
    asked = {"sub": "lin", "purpose": "mass-balance", "relations": ["account"], "fragment": "q1_f0"}
    ledger.append("begin", asked)
    ledger.append("end", {"sub": "lin", "fragment": "q1_f0", "outcome": "OK", "rows": 3})
    (folder / "heads.jsonl").write_text(ledger.head.model_dump_json() + "\n")
    ledger.close()
    (folder / "department.yaml").write_text(
        "department: water\nidentity: {issuer: https://idp.example, jwks: file:jwks.json}\n"
        "sources: {main: {kind: sqlite, path: water.db}}\nrelations: {}\n"
    )
    return state / "ledger.jsonl"


def test_the_owner_sees_who_asked_what_and_what_left(atoll: Run, tmp_path: Path) -> None:
    ledger_of(tmp_path)
    out = atoll("ledger", "show", "department.yaml").out
    assert "mass-balance" in out
    assert "account" in out
    newest = json.loads(atoll("ledger", "show", "department.yaml", "--last", "1", "--json").out)
    assert [(r["kind"], r["rows"]) for r in newest] == [("end", 3)]


def test_a_whole_ledger_verifies_by_its_folder_or_by_its_public_key(atoll: Run, tmp_path: Path) -> None:
    ledger_of(tmp_path)
    assert "3 records" in atoll("ledger", "verify", "department.yaml", "--peer-heads", "heads.jsonl").out
    public = keys.load(tmp_path / "state" / "ledger.key").public_jwk
    (tmp_path / "key.jwk").write_text(json.dumps(public))
    outside = ["--ledger", "state/ledger.jsonl", "--key", "key.jwk"]
    assert atoll("ledger", "verify", *outside).code == 0
    assert atoll("ledger", "show", "--ledger", "state/ledger.jsonl").code == 0
    (tmp_path / "key.jwk").write_text(json.dumps(SigningKey.generate().public_jwk))
    assert atoll("ledger", "verify", *outside).code == 1


def test_a_changed_record_is_named_and_a_cut_end_shows_by_a_witnessed_head(atoll: Run, tmp_path: Path) -> None:
    file = ledger_of(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"lin"', b'"wu"', 1))
    changed = atoll("ledger", "verify", "department.yaml")
    assert changed.code == 1
    assert "record 2: its content does not match its hash" in changed.err
    assert json.loads(atoll("ledger", "verify", "department.yaml", "--json").out)["bad_seq"] == 2
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    alone = atoll("ledger", "verify", "department.yaml")
    assert alone.code == 0
    assert "q1_f0 began and never ended" in alone.err
    assert atoll("ledger", "verify", "department.yaml", "--peer-heads", "heads.jsonl").code == 1


def test_a_ledger_that_is_not_there_is_one_clear_line(atoll: Run, tmp_path: Path) -> None:
    assert atoll("ledger", "show").code == 2
    assert atoll("ledger", "verify", "--ledger", "x.jsonl").code == 2
    missing = atoll("ledger", "show", "--ledger", "x.jsonl")
    assert missing.code == 1
    assert "cannot be read" in missing.err
