"""Departments keep custody: whatever holds the gateway's key still meets their own agents."""

from __future__ import annotations

import base64
import secrets
import subprocess

import orjson
import pytest

from catalog.exchange import Fragment
from catalog.http import HTTPError
from catalog.keys import SigningKey, verify
from tests.city.live.captured import CapturedGateway
from tests.city.live.running import BLIND, City

COMPANY = "SELECT t0.uscc AS c0, t0.legal_person_id AS c1 FROM market.main.company AS t0"


@pytest.fixture(scope="module")
def captured(city: City) -> CapturedGateway:
    return CapturedGateway(city)


def test_six_agents_are_six_processes(city: City) -> None:
    pids = {city.pid(name) for name in city.state["departments"]}
    assert len(pids) == 6
    assert city.pid("gateway") not in pids


def test_a_fragment_posted_by_hand_gets_the_same_masks(city: City, captured: CapturedGateway) -> None:
    reply = captured.ask("market", COMPANY, "lin", "mass-balance")
    through = city.ask("SELECT uscc, legal_person_id FROM market.main.company", "lin", "mass-balance")
    assert sorted(reply.rows) == sorted(tuple(row) for row in through["rows"])


def test_the_gateways_key_without_a_users_token_is_nobody(city: City, captured: CapturedGateway) -> None:
    body = orjson.dumps(Fragment(query_id="q", fragment_id="f", sql=COMPANY).model_dump(mode="json"))
    assert captured.post("market", body, token="").status == 401


def test_a_token_of_another_department_is_refused(city: City, captured: CapturedGateway) -> None:
    body = orjson.dumps(Fragment(query_id="q", fragment_id="f", sql=COMPANY).model_dump(mode="json"))
    token = captured.agent_token("lin", "water", "mass-balance")
    assert captured.post("market", body, token).status == 401


def test_a_users_own_token_is_refused_at_an_agent(city: City, captured: CapturedGateway) -> None:
    body = orjson.dumps(Fragment(query_id="q", fragment_id="f", sql=COMPANY).model_dump(mode="json"))
    assert captured.post("market", body, captured.user_token("lin")).status == 401


def test_another_key_than_the_tokens_is_refused(city: City, captured: CapturedGateway) -> None:
    body = orjson.dumps(Fragment(query_id="q", fragment_id="f", sql=COMPANY).model_dump(mode="json"))
    token = captured.agent_token("lin", "market", "mass-balance")
    assert captured.post("market", body, token, key=SigningKey.generate()).status == 401


def test_a_purpose_that_the_user_does_not_hold_cannot_be_had(city: City, captured: CapturedGateway) -> None:
    with pytest.raises(HTTPError):
        captured.agent_token("lin", "market", "tax-audit")


def test_receipts_are_signed_and_count_what_was_delivered(city: City, captured: CapturedGateway) -> None:
    reply = captured.ask("market", COMPANY, "lin", "mass-balance")
    assert reply.end is not None
    assert reply.end.receipt is not None
    key = captured.settings.departments["market"].key
    assert verify(key, reply.end.signed_bytes(), reply.end.signature)
    assert reply.end.receipt.rows == reply.end.rows == len(reply.rows)
    # The receipt speaks of the stream before its end record; what follows is that record alone.
    assert 0 < reply.end.receipt.bytes < len(reply.raw)
    assert len(reply.raw) - reply.end.receipt.bytes < 8_000


def test_the_ledger_tells_what_was_asked(city: City, captured: CapturedGateway) -> None:
    mark = f"t{secrets.token_hex(6)}"
    captured.ask("market", COMPANY, "lin", "mass-balance", fragment=mark)
    ledgers = list((city.folder / "departments" / "market").rglob("ledger*.jsonl"))
    text = "".join(p.read_text() for p in ledgers)
    assert mark in text
    assert "SELECT" not in text


def test_the_gateway_cannot_read_the_silos(city: City) -> None:
    """All tests of this folder ask a gateway that runs as this probe does."""
    silo = city.folder / "silos" / "water"
    probe = subprocess.run([*BLIND, "ls", str(silo)], capture_output=True, text=True, check=False)
    assert "Permission denied" in probe.stderr
    assert list(silo.iterdir())


def test_pseudonyms_cannot_be_looked_up_by_the_raw_value(city: City) -> None:
    raw = _raw_legal_person(city)
    assert len(raw) >= 15
    answer = city.ask(f"SELECT uscc FROM market.main.company WHERE legal_person_id = '{raw}'", "lin", "mass-balance")
    assert answer["rows"] == []
    encoded = base64.b64encode(raw.encode()).decode()
    assert encoded not in orjson.dumps(answer).decode()


def _raw_legal_person(city: City) -> str:
    """One raw identity number, read from the silo as only its owner could."""
    import sqlite3

    with sqlite3.connect(city.folder / "silos" / "market" / "market.db") as silo:
        (raw,) = silo.execute("SELECT legal_person_id FROM company WHERE legal_person_id <> '' LIMIT 1").fetchone()
    return str(raw)
