"""Tokens: random, the same for a value within a purpose, kept by the department, turned back by its owner alone."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from atoll.cli import app
from catalog.http import ASGITransport, AsyncClient
from connectors.agent.server import create_owner_app
from connectors.agent.service import Agent
from connectors.agent.vault import Vault
from tests.agent.house import House, tuples

CARDS = [(1, "Ana", 7), (2, "Bo", 7), (3, "Ana", None), (4, None, 9)]
TABLES = {"card": ("id INTEGER, holder TEXT, serial INTEGER", CARDS)}
POLICY: dict[str, Any] = {
    "department": "cards",
    "relations": {"card": {"table": "card", "columns": {"id": "bigint", "holder": "varchar", "serial": "bigint"}}},
    "grants": [{"id": "c", "relation": "card", "purposes": ["mass-balance", "statistics"], "mode": "masked",
                "masks": {"holder": "token", "serial": "token"}}],
}  # fmt: skip
ALL = "SELECT t.id AS c0, t.holder AS c1, t.serial AS c2 FROM cards.main.card AS t ORDER BY t.id"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with closing(Vault(tmp_path / "vault.db", "cards")) as opened:
        yield opened


@given(st.lists(st.text(max_size=5), max_size=8))
@settings(max_examples=40)
def test_one_token_a_value_and_another_for_another(values: list[str]) -> None:
    with TemporaryDirectory() as folder, closing(Vault(Path(folder) / "vault.db", "cards")) as opened:
        first = opened.of("p").tokens(values)
        assert set(first) == set(values)
        assert len(set(first.values())) == len(set(values))
        assert opened.of("p").tokens(values[::-1]) == first
        other = opened.of("q").tokens(values)
        assert not set(other.values()) & set(first.values())
        assert all(opened.held(t).value == v for v, t in first.items())  # type: ignore[union-attr]


def test_values_that_look_alike_are_told_apart(vault: Vault) -> None:
    values = ["é", "e\u0301", "A", "a", "a ", "", "\0"]
    assert len(set(vault.of("p").tokens(values).values())) == len(values)


def test_the_file_is_the_owners_and_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    with closing(Vault(path, "cards")) as first:
        token = first.of("p").tokens(["Ana"])["Ana"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(Vault(path, "cards")) as second:
        assert second.of("p").tokens(["Ana"]) == {"Ana": token}


def test_two_at_once_give_one_token(tmp_path: Path) -> None:
    """Two processes on one file, each with several threads: whoever is first, all tell the same."""
    values = [str(i) for i in range(300)]
    with closing(Vault(tmp_path / "v.db", "cards")) as one, closing(Vault(tmp_path / "v.db", "cards")) as other:
        found: list[dict[str, str]] = []
        start = threading.Barrier(4)

        def ask(vault: Vault) -> None:
            start.wait()
            found.append(vault.of("p").tokens(values))

        threads = [threading.Thread(target=ask, args=(v,)) for v in (one, other, one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 4
    assert all(f == found[0] for f in found)


async def test_an_analyst_sees_tokens_that_join_and_say_nothing(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, TABLES)
    async with house.client("lin", "mass-balance") as ask:
        rows = tuples(await ask.rows(ALL))
        again = tuples(await ask.rows(ALL))
        relation = (await ask.relations())["relations"][0]
    async with house.client("bi", "statistics") as other:
        elsewhere = tuples(await other.rows(ALL))
    assert rows == again
    assert [r[0] for r in rows] == [1, 2, 3, 4]
    assert rows[0][1] == rows[2][1] != rows[1][1]
    assert rows[0][2] == rows[1][2] != rows[3][2]
    assert (rows[3][1], rows[2][2]) == (None, None)
    assert not {t for r in rows for t in r[1:] if t} & {t for r in elsewhere for t in r[1:] if t}
    column = next(c for c in relation["columns"] if c["name"] == "holder")
    assert (column["mask"], column["type"]) == ("token", "varchar(32)")
    assert column["linkage"] == {"purpose": "mass-balance", "group": "token@cards", "epoch": ""}
    with closing(sqlite3.connect(tmp_path / "state" / "vault.db")) as db:
        kept = {r[0] for r in db.execute("SELECT token FROM tokens")}
    assert {t for r in rows for t in r[1:] if t} <= kept


async def test_the_owner_alone_turns_a_token_back(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, TABLES)
    async with house.client("lin", "mass-balance") as ask:
        token = tuples(await ask.rows(ALL))[0][1]
        assert (await ask.send("POST", "/owner/untoken", b"{}")).status_code == 404
    agent = house.open()
    try:
        transport = ASGITransport(create_owner_app(agent))
        async with AsyncClient(transport=transport, base_url="http://127.0.0.1") as owner:
            told = (await owner.post("/owner/untoken", json={"token": token})).json()
            unknown = (await owner.post("/owner/untoken", json={"token": "0" * 32})).json()
            foreign = await owner.post("/owner/untoken", json={"token": token}, headers={"Origin": "http://evil"})
        records = [r for r in agent.ledger.records() if r["kind"] == "untoken"]
    finally:
        agent.close()
    assert (told["found"], told["value"], told["purpose"]) == (True, "Ana", "mass-balance")
    assert unknown == {"found": False}
    assert foreign.status_code == 403
    assert [(r["token"], r["purpose"], r["found"]) for r in records] == [
        (token, "mass-balance", True), ("0" * 32, "", False),
    ]  # fmt: skip
    assert "Ana" not in orjson.dumps(records).decode()


def test_the_command_reads_a_stopped_agents_vault_and_records_it(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, TABLES)
    agent = house.open()
    token = agent.vault.of("statistics").tokens(["Ana"])["Ana"]
    agent.close()
    found = CliRunner().invoke(app, ["agent", "untoken", str(house.path), token])
    assert (found.exit_code, found.stdout) == (0, "Ana\n")
    lost = CliRunner().invoke(app, ["agent", "untoken", str(house.path), "ab" * 16, "--json"])
    assert lost.exit_code == 1
    assert orjson.loads(lost.stdout)["error"]["message"] == "This department gave no such token."
    reopened = Agent.from_file(house.path)
    try:
        kinds = [r["kind"] for r in reopened.ledger.records()]
    finally:
        reopened.close()
    assert kinds.count("untoken") == 2


def test_nothing_is_told_that_cannot_be_recorded(tmp_path: Path) -> None:
    """While the agent runs it alone writes the ledger; without its owner's door there is no way in."""
    house = House(tmp_path, POLICY, TABLES)
    agent = house.open()
    try:
        token = agent.vault.of("statistics").tokens(["Ana"])["Ana"]
        refused = CliRunner().invoke(app, ["agent", "untoken", str(house.path), token])
    finally:
        agent.close()
    assert refused.exit_code == 1
    assert "Ana" not in refused.output
