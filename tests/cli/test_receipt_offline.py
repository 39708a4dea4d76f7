"""A receipt that was kept is verified from files alone: the department's public keys, and its ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from atoll.cli import app
from catalog.exchange import Receipt, sha256
from catalog.keys import SigningKey
from catalog.ledger import Ledger
from connectors.agent.receipt import sign_receipt

KEY = SigningKey.generate()
AT = "2026-05-04T10:00:00.000+00:00"


class Kept:
    """What a publication keeps: a receipt, the department's keys, and a copy of its ledger."""

    def __init__(self, folder: Path) -> None:
        self.receipt, self.keys, self.ledger = folder / "receipt.json", folder / "keys.json", folder / "ledger.jsonl"
        book = Ledger(self.ledger, KEY)
        head = book.append("end", {"delivered": sha256("rows"), "rows": 3})
        book.close()
        self.signed = sign_receipt(Receipt(
            id="r1", department="water", query_id="q", fragment_id="f", sub="lin", purpose="statistics",
            sql_sha256=sha256("SELECT"), relations=("usage",), mode="masked", masks=("usage.org: pseudonym",),
            grants=("g1",), keys={"$keys": 2, "$keys1": 1}, rows=3, bytes=700,
            policy=sha256("policy"), delivered=sha256("rows"), ledger=head, at=AT,
        ), KEY)  # fmt: skip
        self.write(self.signed.model_dump(mode="json"))
        self.trust(KEY.public_jwk)

    def write(self, body: Any) -> None:
        self.receipt.write_text(json.dumps(body))

    def trust(self, *keys: Any) -> None:
        self.keys.write_text(json.dumps({"keys": keys}))

    def verify(self, *more: Any) -> Any:
        return CliRunner().invoke(app, ["receipt", str(self.receipt), "--keys", str(self.keys), *map(str, more)])


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_a_genuine_receipt_is_told_from_files_alone(kept: Kept) -> None:
    found = kept.verify("--ledger", kept.ledger, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == kept.signed.model_dump(mode="json")
    assert "water signed this receipt" in found.stderr


@pytest.mark.parametrize("name", [n for n in Receipt.model_fields if n != "signature"])
def test_a_receipt_with_any_field_changed_is_not_genuine(kept: Kept, name: str) -> None:
    body = kept.signed.model_dump(mode="json")
    other = {str: "2026-05-04T11:00:00.000+00:00", int: 999, list: ["other"], dict: {"usage": AT}}
    said = getattr(kept.signed, name)  # also what a receipt leaves out where it says nothing
    body[name] = {"seq": 9, "hash": "ab" * 32} if name == "ledger" else other.get(type(body.get(name, said)), 7)
    kept.write(body)
    assert kept.verify().exit_code == 1


@pytest.mark.parametrize(
    "key",
    [
        SigningKey.generate().public_jwk,
        {**KEY.public_jwk, "exp": 1_700_000_000},
        {**KEY.public_jwk, "revoked": 1_700_000_000},
    ],
    ids=["another department's", "of a key that had ended", "of a key that was revoked before"],
)
def test_a_receipt_by_a_key_that_did_not_count_then_is_not_genuine(kept: Kept, key: Any) -> None:
    kept.trust(key)
    assert kept.verify().exit_code == 1
    kept.trust({**KEY.public_jwk, "exp": 1_800_000_000, "revoked": 1_790_000_000})
    assert kept.verify().exit_code == 0


def test_an_answer_that_is_not_in_the_ledger_is_found(kept: Kept, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other.jsonl", KEY)
    other.append("end", {"delivered": sha256("others"), "rows": 3})
    other.close()
    assert kept.verify("--ledger", kept.ledger).exit_code == 0
    missing = kept.verify("--ledger", tmp_path / "other.jsonl")
    assert missing.exit_code == 1
    assert "no record of this answer" in missing.stderr


@pytest.mark.parametrize("text", ["", "[]", '{"id": 1}'])
def test_what_is_no_receipt_is_refused_in_one_line(kept: Kept, text: str) -> None:
    kept.receipt.write_text(text)
    found = kept.verify()
    assert found.exit_code == 1
    assert len(found.stderr.strip().splitlines()) == 1
