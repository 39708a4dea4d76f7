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
from tests.cli.stub_gateway import Run


def test_departments_are_listed_dead_ones_too(atoll: Run) -> None:
    done = atoll("departments", "list")
    assert done.code == 0
    assert "Water utility" in done.out
    assert "down" in done.out
    assert [d["state"] for d in json.loads(atoll("departments", "list", "--json").out)] == ["up", "down"]


def test_an_operator_approves_and_suspends(atoll: Run) -> None:
    assert atoll("departments", "approve", "health").out == "health is approved.\n"
    assert json.loads(atoll("departments", "suspend", "health", "--json").out)["state"] == "suspended"


def test_a_receipt_is_explained(atoll: Run) -> None:
    out = atoll("receipt", "water-000042").out
    assert "account.phone: deny" in out
    assert json.loads(atoll("receipt", "water-000042", "--json").out)["department"] == "water"


@pytest.mark.parametrize(
    "words", [[], ["query"], ["explain"], ["demo"], ["token"], ["receipt"], ["register"], ["agent"],
              ["agent", "draft"], ["agent", "check"], ["agent", "serve"], ["agent", "pause"],
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
