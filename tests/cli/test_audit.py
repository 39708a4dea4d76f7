"""`atoll audit` and the exchange of heads, over the books of a department that was really asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from atoll.cli import app
from atoll.commands.audit import seen
from catalog.errors import CityError
from catalog.exchange import Head
from tests.agent.conftest import PEOPLE_DDL, POLICY, USAGE_DDL, people
from tests.agent.house import House

FROM = "FROM water.main.people AS t"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[House, Head]:
    """A department that lin and bi asked; the gateway's head travelled along."""
    house = House(
        tmp_path_factory.mktemp("water"), POLICY, {"people": (PEOPLE_DDL, people()), "usage": (USAGE_DDL, [])}
    )
    agent = house.open()
    head = Head(seq=41, hash="cd" * 32, signature="x")

    async def go() -> None:
        async with house.client("lin", "mass-balance", agent) as ask:
            await ask.rows(f"SELECT count(*) AS c0 {FROM}", witness=head)
            with pytest.raises(CityError):
                await ask.rows("SELECT x.a AS c0 FROM water.main.nothing AS x")

    asyncio.run(go())
    agent.close()
    return house, head


Run = Callable[..., Any]


@pytest.fixture
def run() -> Run:
    def command(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments)])

    return command


def test_the_owner_reads_who_asked_what_and_what_they_saw(asked: tuple[House, Head], run: Run) -> None:
    house, _ = asked
    lines = json.loads(run("audit", house.path, "--json").stdout)
    assert [(line["user"], line["relations"], line["outcome"], line["rows"]) for line in lines] == [
        ("lin", ["people"], "OK", 1), ("lin", [], "NOT_AVAILABLE", 0)
    ]  # fmt: skip
    assert lines[0]["grants"]
    assert lines[0]["purpose"] == "mass-balance"
    table = run("audit", house.path).stdout
    assert "mass-balance" in table
    assert "NOT_AVAILABLE" in table


def test_the_owner_asks_for_one_user_relation_or_day(asked: tuple[House, Head], run: Run) -> None:
    house, _ = asked
    assert len(json.loads(run("audit", house.path, "--relation", "people", "--json").stdout)) == 1
    assert json.loads(run("audit", house.path, "--user", "bi", "--json").stdout) == []
    assert json.loads(run("audit", house.path, "--until", "2001-01-01", "--json").stdout) == []
    assert len(json.loads(run("audit", house.path, "--since", "2001-01-01", "--json").stdout)) == 2


def test_heads_go_out_and_cut_ends_are_found_with_them(asked: tuple[House, Head], run: Run, tmp_path: Path) -> None:
    house, gateway = asked
    kept = tmp_path / "notary.jsonl"
    kept.write_text(run("ledger", "heads", house.path).stdout)
    assert json.loads(kept.read_text())["of"] == "water"
    assert run("ledger", "verify", house.path, "--peer-heads", kept).exit_code == 0
    others = run("ledger", "heads", house.path, "--others").stdout
    assert json.loads(others.splitlines()[0]) == {"of": "gateway", **gateway.model_dump()}
    book = house.folder / "state" / "ledger.jsonl"
    whole = book.read_bytes()
    book.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    found = run("ledger", "verify", house.path, "--peer-heads", kept)
    book.write_bytes(whole)
    assert found.exit_code == 1
    assert "a peer witnessed more" in found.output


def test_heads_that_prove_nothing_are_told(asked: tuple[House, Head], run: Run, tmp_path: Path) -> None:
    """Of this ledger and not signed by it: forged, or the key that signed them was taken out of the way."""
    house, _ = asked
    own = json.loads(run("ledger", "heads", house.path).stdout)
    forged = {**own, "seq": own["seq"] + 5}
    other = {**forged, "of": "market"}
    kept = tmp_path / "notary.jsonl"
    kept.write_text("\n".join(map(json.dumps, (own, forged, other))))
    found = run("ledger", "verify", house.path, "--peer-heads", kept)
    assert found.exit_code == 0
    assert "1 heads that others kept are in it" in found.output
    assert "1 heads prove nothing" in found.output
    told = json.loads(run("ledger", "verify", house.path, "--peer-heads", kept, "--json").stdout)
    assert (told["witnessed"], told["foreign"]) == (1, 1)


def test_a_table_shows_the_newest_and_says_so(asked: tuple[House, Head], run: Run) -> None:
    house, _ = asked
    found = run("audit", house.path, "--last", "1")
    assert "NOT_AVAILABLE" in found.stdout
    assert "mass-balance │ people" not in found.stdout
    assert "the newest 1 of 2" in found.stderr
    assert "newest" not in run("audit", house.path, "--last", "0").stderr


def test_strangers_that_were_counted_are_one_line() -> None:
    refusals = {"kind": "refusals", "time": "2026-11-01T12:00:00.000000+00:00", "seq": 9, "outcome": "AUTH",
                "count": 480, "peers": {"10.0.0.7": 480}, "rules": {"token": 480}}  # fmt: skip
    (line,) = seen([refusals])
    assert (line["outcome"], line["times"], line["rows"]) == ("AUTH", 480, 0)
