"""A ledger of any length is verified and audited in the memory of a short one, by the command as it is typed.

A few thousand records by default; `make attack` writes a million.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import yaml

from catalog.exchange import Head
from catalog.keys import KeyRing
from catalog.ledger import GENESIS, _line, head_bytes, record_hash

SHORT, LONG = 2_000, 1_000_000 if os.environ.get("ATTACK") == "all" else 12_000
ALLOWED_MB = 6
"""What may differ between two runs anyway. The lines of the long ledger alone would take twelve."""
POLICY = {
    "department": "water",
    "identity": {"issuer": "i", "jwks": "file:jwks.json"},
    "sources": {"main": {"kind": "sqlite", "path": "silo.db"}},
    "relations": {"usage": {"table": "usage", "columns": {"org_no": "varchar"}}},
}


@dataclass(frozen=True)
class Book:
    """A department that was asked so often, and the heads that a peer kept of half its records."""

    policy: Path
    heads: Path


def written(folder: Path, records: int) -> Book:
    """Signed by the department's own key, as a ledger is written, but without waiting for the disk each time."""
    state = folder / "state"
    state.mkdir(parents=True)
    (folder / "department.yaml").write_text(yaml.safe_dump(POLICY))
    key = KeyRing.create(state / "ledger.key").signing()
    asked = {"sub": "lin", "purpose": "mass-balance", "policy": "ab" * 32, "sql_sha256": "cd" * 32}
    begin = {"relations": ["usage"], "columns": {"usage": ["org_no"]}, "grants": ["g"], "mode": "masked", **asked}
    end = {"outcome": "OK", "rows": 3, "bytes": 700, "hidden_cells": 0, "sub": "lin"}
    previous = GENESIS
    with (state / "ledger.jsonl").open("wb") as book, (folder / "heads.jsonl").open("wb") as heads:
        for seq in range(1, records + 1):
            kind = "begin" if seq % 2 else "end"
            time = f"2026-11-01T12:{seq // 60_000:02d}:{seq // 1000 % 60:02d}.{seq % 1000:03d}000+00:00"
            told = {"fragment": f"f{(seq + 1) // 2}", "kind": kind, "seq": seq, "prev": previous, "time": time}
            record = {**(begin if kind == "begin" else end), **told}
            previous = record_hash(previous, record)
            signature = key.sign(head_bytes(seq, previous))
            book.write(_line(record, previous, signature))
            if kind == "end":
                head = Head(seq=seq, hash=previous, signature=signature)
                heads.write(orjson.dumps({"of": "water", **head.model_dump()}) + b"\n")
    return Book(folder / "department.yaml", folder / "heads.jsonl")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Book, Book]:
    folder = tmp_path_factory.mktemp("books")
    return written(folder / "short", SHORT), written(folder / "long", LONG)


def peak(output: Path, *words: str | Path) -> int:
    """MB of memory that `atoll WORDS` held at most. output: what it printed."""
    with output.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "atoll.cli", *map(str, words)], stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss // 1024


@pytest.mark.timeout(3600)
def test_verifying_a_long_ledger_takes_the_memory_of_a_short_one(books: tuple[Book, Book], tmp_path: Path) -> None:
    """Also with as many heads that others kept."""
    short, long = (
        peak(tmp_path / "out", "ledger", "verify", book.policy, "--peer-heads", book.heads, "--json") for book in books
    )
    report = json.loads((tmp_path / "out").read_bytes())
    assert (report["good"], report["records"], report["witnessed"]) == (True, LONG, LONG // 2)
    assert long - short < ALLOWED_MB, (short, long)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("words", [("--json",), ()], ids=["as JSON", "as a table"])
def test_auditing_a_long_ledger_takes_the_memory_of_a_short_one(
    books: tuple[Book, Book], tmp_path: Path, words: tuple[str, ...]
) -> None:
    short, long = (peak(tmp_path / "out", "audit", book.policy, *words) for book in books)
    assert long - short < ALLOWED_MB, (short, long)
    if words:
        with (tmp_path / "out").open("rb") as out:
            assert sum(1 for line in out if b'"seq"' in line) == LONG // 2
