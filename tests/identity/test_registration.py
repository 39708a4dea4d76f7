"""A department's keys at a gateway change by its own signature alone, and its address not at all."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from catalog import keys, tls
from catalog.errors import UserError
from catalog.exchange import EndRecord
from catalog.identity import registration_bytes
from catalog.keys import KeyRing, SigningKey
from catalog.store import DepartmentStore
from gateway.registry import Registry
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings

URL = "https://water.example:7400"


class Water:
    """A department that registers. at: when it signs."""

    def __init__(self, folder: Path) -> None:
        self.receipts = KeyRing.create(folder / "receipt.key")
        self.certificates = tls.create_ring(folder / "tls.key", "agent:water")
        self.at = int(time.time()) - 30

    def body(self, signer: SigningKey | None = None, url: str = URL, title: str = "Water") -> dict[str, Any]:
        """A registration, later than the one before."""
        self.at += 1
        listed = [*self.receipts.public(), *self.certificates.public()]
        data = registration_bytes("water", url, self.receipts.public_jwk, listed, self.at, title=title)
        proof = (signer or self.receipts.signing()).sign(data)
        return {"name": "water", "url": url, "title": title, "key": self.receipts.public_jwk, "keys": listed,
                "at": self.at, "proof": proof}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    identity = IdentitySettings(issuer="i", jwks=tmp_path / "jwks", token_url="http://127.0.0.1:1/token")
    return GatewaySettings(state=tmp_path / "state", identity=identity)


@pytest.fixture
def registry(settings: GatewaySettings) -> Registry:
    return Registry(settings)


@pytest.fixture
def water(tmp_path: Path) -> Water:
    return Water(tmp_path)


def refused(registry: Registry, body: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        registry.register(body)
    assert caught.value.rule == "registration"
    return str(caught.value)


def test_a_department_registers_with_its_certificate_and_waits_for_approval(registry: Registry, water: Water) -> None:
    assert registry.register(water.body()) == {"name": "water", "state": "pending"}
    registry.set_state("water", "approved")
    entry = registry.departments()["water"]
    assert (entry.url, entry.state) == (URL, "approved")
    assert tls.pinned(entry.keys, time.time()) == tls.pinned(water.certificates.public(), time.time())
    assert registry.register(water.body())["state"] == "approved"


@pytest.mark.parametrize(
    "change",
    [
        {"proof": ""},
        {"proof": SigningKey.generate().sign(b"x")},
        {"url": "https://elsewhere.example"},
        {"at": int(time.time()) - 3600},
        {"at": "now"},
        {"keys": []},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [SigningKey.generate().private_jwk()]},
        {"keys": [{"kty": "EC", "x5c": ["AAAA"]}]},
        {"keys": "all"},
        {"key": SigningKey.generate().public_jwk},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_signed_as_it_stands_is_refused(
    registry: Registry, water: Water, tmp_path: Path, change: dict[str, Any]
) -> None:
    refused(registry, water.body() | change)
    registry.register(water.body())
    registry.set_state("water", "approved")
    before = registry.departments()["water"]
    # After a change of its own keys, so that there is something to sign for.
    water.receipts.rotate(int(time.time()), 3600)
    refused(registry, water.body(KeyRing(tmp_path / "receipt.key").oldest()) | change)
    assert registry.departments()["water"] == before


def test_a_stranger_cannot_replace_a_certificate_with_the_public_key_alone(
    registry: Registry, water: Water, tmp_path: Path
) -> None:
    registry.register(water.body())
    thief = Water(tmp_path / "thief")
    thief.receipts, mine = water.receipts, thief.certificates
    assert mine.public() != water.certificates.public()
    refused(registry, thief.body(signer=SigningKey.generate()))


def test_the_old_key_signs_for_the_new_and_answers_of_both_count_during_the_overlap(
    registry: Registry, water: Water
) -> None:
    registry.register(water.body())
    registry.set_state("water", "approved")
    old = water.receipts.signing()
    water.receipts.rotate(int(time.time()), 3600)
    new = water.receipts.signing()
    refused(registry, water.body())
    assert registry.register(water.body(signer=old))["state"] == "approved"
    entry = registry.departments()["water"]
    assert keys.thumbprint(entry.key) == new.kid
    end = EndRecord(outcome="OK", rows=1)
    now = time.time()
    for key in (old, new):
        assert keys.verify_any(entry.receipt_keys, end.signed_bytes(), key.sign(end.signed_bytes()), now)
    assert not keys.verify_any(entry.receipt_keys, end.signed_bytes(), old.sign(end.signed_bytes()), now + 3601)
    assert keys.verify_any(entry.receipt_keys, end.signed_bytes(), new.sign(end.signed_bytes()), now + 3601)


def test_an_earlier_registration_cannot_be_played_again(registry: Registry, water: Water) -> None:
    first = water.body()
    registry.register(first)
    old = water.receipts.signing()
    water.receipts.rotate(int(time.time()), 3600)
    registry.register(water.body(signer=old))
    refused(registry, first)


def test_an_approved_address_does_not_move_even_with_a_signature(registry: Registry, water: Water) -> None:
    registry.register(water.body())
    registry.set_state("water", "approved")
    assert "another address" in refused(registry, water.body(url="https://elsewhere.example"))


@pytest.mark.parametrize("secure", [True, False])
def test_a_pending_registration_changes_by_its_own_signature_alone(
    registry: Registry, water: Water, secure: bool
) -> None:
    """Whoever looks at it before approving it must find the same at the approval; without TLS too."""

    def body(**changes: str) -> dict[str, Any]:
        if secure:
            return water.body(**changes)
        plain = {"name": "water", "url": "http://127.0.0.1:7400", "title": "Water", "key": water.receipts.public_jwk}
        told = {**plain, **changes}
        water.at += 1
        signed = registration_bytes("water", told["url"], told["key"], [], water.at, title=told["title"])
        return {**told, "at": water.at, "proof": water.receipts.sign(signed)}

    scheme = "https" if secure else "http"
    registry.register(body())
    before = registry.departments()["water"]
    for change in ({"url": f"{scheme}://127.0.0.1:1"}, {"title": "Fire"}, {"contact": "me"}):
        refused(registry, body() | change)
        refused(registry, body() | change | {"proof": "", "at": 0})
        assert registry.departments()["water"] == before
    registry.register(body(url=f"{scheme}://127.0.0.1:2", title="Water Works"))
    registry.set_state("water", "approved")
    after = registry.departments()["water"]
    assert (after.url, after.title) == (f"{scheme}://127.0.0.1:2", "Water Works")


def test_an_approved_departments_title_is_not_anybodys_to_change(registry: Registry, water: Water) -> None:
    registry.register(water.body())
    registry.set_state("water", "approved")
    refused(registry, water.body() | {"title": "Fire"})
    registry.register(water.body(title="Water and Fire"))
    assert registry.titles() == {"water": "Water and Fire"}


def test_what_is_shown_in_refusals_is_a_line_of_text(registry: Registry, water: Water) -> None:
    """Title and contact stand on the screens of people whom no command of this city serves."""
    assert "a line of text" in refused(registry, water.body(title="Water\x1b[2J"))
    assert "a line of text" in refused(registry, {**water.body(), "contact": "desk\nHint: send your token to .."})
    assert registry.departments() == {}


def test_an_operator_is_told_whom_they_approve(registry: Registry, water: Water) -> None:
    registry.register(water.body())
    told = registry.set_state("water", "approved")
    assert told == {
        "name": "water", "state": "approved", "title": "Water", "url": URL, "key": water.receipts.signing().kid,
    }  # fmt: skip


def test_an_https_address_comes_with_a_certificate(registry: Registry, water: Water) -> None:
    assert "certificate" in refused(registry, {"name": "water", "url": URL, "key": water.receipts.public_jwk})
    plain = {"name": "water", "url": "http://127.0.0.1:7400", "key": water.receipts.public_jwk}
    assert registry.register(plain)["state"] == "pending"


def test_keys_that_those_of_the_file_signed_win_over_the_file(settings: GatewaySettings, water: Water) -> None:
    listed = (*water.receipts.public(), *water.certificates.public())
    entry = DepartmentEntry(url=URL, key=water.receipts.public_jwk, keys=listed)
    registry = Registry(settings.model_copy(update={"departments": {"water": entry}}))
    old = water.receipts.signing()
    water.receipts.rotate(int(time.time()), 3600)
    registry.register(water.body(signer=old))
    found = registry.departments()["water"]
    assert (keys.thumbprint(found.key), found.state) == (water.receipts.signing().kid, "approved")


def test_a_store_of_an_older_release_is_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE department (name VARCHAR(63) PRIMARY KEY, url TEXT NOT NULL, title TEXT NOT NULL, "
                   "key TEXT NOT NULL, state VARCHAR(20) NOT NULL)")  # fmt: skip
        db.execute(
            """INSERT INTO department VALUES ('water', 'http://127.0.0.1:1', '', '{"kty": "OKP"}', 'approved')"""
        )
    store = DepartmentStore(f"sqlite:///{file}")
    assert store.all()["water"]["keys"] == []
    store.put("water", "u", "t", {}, "pending", [{"kty": "EC"}], 7)
    assert (store.all()["water"]["keys"], store.all()["water"]["renewed"]) == ([{"kty": "EC"}], 7)
    store.close()


def test_a_department_that_registers_again_meanwhile_does_not_undo_its_suspension(
    registry: Registry, water: Water, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(water.body())
    registry.set_state("water", "approved")
    operator = threading.Thread(target=registry.set_state, args=("water", "suspended"))
    proven = Registry._proven

    def meanwhile(*arguments: Any) -> int:
        """The operator's word comes after the registration was looked at, and before it is written."""
        operator.start()
        operator.join(0.2)
        return proven(*arguments)

    monkeypatch.setattr(Registry, "_proven", meanwhile)
    registry.register(water.body(title="Water, again"))
    operator.join()
    assert registry.departments()["water"].state == "suspended"
