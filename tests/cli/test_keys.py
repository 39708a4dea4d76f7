"""`atoll keys`: everything that an owner or an operator does with keys, as they would type it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner, Result

from atoll.cli import app
from atoll.commands.keys import registration
from atoll.demo import idp
from catalog import keys
from catalog.identity import Pins, TokenVerifier
from catalog.keys import KeyRing, SigningKey
from catalog.policy import load

POLICY: dict[str, Any] = {
    "department": "water",
    "listen": "127.0.0.1:7400",
    "identity": {"issuer": "i", "jwks": "file:jwks.json", "gateways": "file:gateways.json"},
    "sources": {"main": {"kind": "sqlite", "path": "silo.db"}},
    "relations": {"usage": {"table": "usage", "columns": {"org_no": "varchar"}}},
}


@pytest.fixture
def department(tmp_path: Path) -> Path:
    file = tmp_path / "water" / "department.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(POLICY))
    return file


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    file = tmp_path / "city" / "gateway.yaml"
    file.parent.mkdir()
    file.write_text("identity: {issuer: i, jwks: jwks.json, token_url: 'http://127.0.0.1:1/token'}\n")
    return file


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["keys", *map(str, words)])


def listed(*words: str | Path) -> list[dict[str, str]]:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def card(file: Path, into: Path) -> Path:
    done = run("show", file, "--public")
    assert done.exit_code == 0, done.output
    into.write_text(done.stdout)
    return into


def test_new_makes_what_is_missing_once_and_for_its_owner_alone(department: Path, gateway: Path) -> None:
    for file, uses in ((department, ["receipt", "tls", "ledger"]), (gateway, ["signing", "tls", "ledger"])):
        assert {row["state"] for row in listed("show", file)} == {"made by `atoll keys new`"}
        made = listed("new", file)
        assert [row["use"] for row in made] == uses
        assert listed("new", file) == made
        files = [*(file.parent / "state").glob("*.key"), *(file.parent / "state").glob("*.jwk")]
        assert len(files) == 3
        assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


def test_nothing_that_is_printed_is_a_secret(department: Path, gateway: Path) -> None:
    for file in (department, gateway):
        printed = "".join(
            run(*words).output
            for words in (("new", file), ("rotate", file), ("show", file), ("show", file, "--public"))
        )
        state = file.parent / "state"
        for ring in [*state.glob("*.key"), *state.glob("*.jwk")]:
            for jwk in orjson.loads(ring.read_bytes())["keys"]:
                assert jwk["d"] not in printed


def test_a_gateway_is_trusted_rotates_and_is_revoked(department: Path, gateway: Path, tmp_path: Path) -> None:
    listed("new", gateway)
    given = card(gateway, tmp_path / "card.json")
    rows = listed("trust", department, given)
    assert [r["use"] for r in rows if r["use"].startswith("trusted")] == [
        "trusted: gateway signing",
        "trusted: gateway tls",
    ]
    pins = Pins(department.parent / "gateways.json")
    ring = KeyRing(gateway.parent / "state" / "gateway.jwk")
    old = ring.signing()
    assert pins.admits(old.public_jwk)

    rotated = listed("rotate", gateway, "--at", "+2h", "--overlap", "12h")
    assert [r["state"] for r in rotated if r["use"] == "signing"] == ["signs", "later"]
    assert len(pins.certificates()) == 1
    listed("trust", department, card(gateway, tmp_path / "card.json"))
    later = keys.in_force(ring.public()[0], 0) and float(ring.public()[1]["nbf"])
    new = ring.public()[1]
    assert (pins.admits(new), pins.admits(new, now=later + 1), pins.admits(old.public_jwk, now=later + 1)) == (
        False, True, True,
    )  # fmt: skip
    assert not pins.admits(old.public_jwk, now=later + 12 * 3600)

    assert run("revoke", department, old.kid).exit_code == 0
    assert not pins.admits(old.public_jwk)
    assert [r["state"][:7] for r in listed("show", department) if r["key"] == old.kid] == ["revoked"]


def test_a_key_that_was_revoked_stays_so_whatever_a_card_says(department: Path, gateway: Path, tmp_path: Path) -> None:
    """The gateway's operator does not know of it: the card of a rotation brings the old key along."""
    listed("new", gateway)
    ring = KeyRing(gateway.parent / "state" / "gateway.jwk")
    old = ring.signing()
    first = card(gateway, tmp_path / "first.json")
    listed("trust", department, first)
    listed("revoke", department, old.kid)
    listed("rotate", gateway)
    new = ring.signing()
    pins = Pins(department.parent / "gateways.json")

    told = run("trust", department, card(gateway, tmp_path / "second.json"))
    assert told.exit_code == 0
    assert f"{old.kid} was revoked here" in told.output
    assert (pins.admits(old.public_jwk), pins.admits(new.public_jwk)) == (False, True)

    body = orjson.loads((tmp_path / "second.json").read_bytes())
    without = [k for k in body["keys"] if k["kid"] != old.kid]
    for name, given in (("gateway", without), ("gateway", body["keys"]), ("another", body["keys"])):
        (tmp_path / "next.json").write_bytes(orjson.dumps({"client_id": name, "keys": given}))
        assert run("trust", department, tmp_path / "next.json").exit_code == 0
        assert not pins.admits(old.public_jwk)

    assert run("trust", department, tmp_path / "second.json", "--again", old.kid).exit_code == 0
    assert pins.admits(old.public_jwk)


def test_an_issuers_key_that_was_revoked_stays_so_too(department: Path, tmp_path: Path) -> None:
    ring = KeyRing.create(tmp_path / "issuer.key")
    before, thief = orjson.dumps({"keys": ring.public()}), ring.signing().kid
    ring.revoke(thief)
    (tmp_path / "new.json").write_bytes(orjson.dumps({"keys": ring.public()}))
    pinned = department.parent / "jwks.json"

    def ended() -> list[str]:
        return [k["kid"] for k in orjson.loads(pinned.read_bytes())["keys"] if "revoked" in k]

    assert run("trust", department, tmp_path / "new.json").exit_code == 0
    assert ended() == [thief]
    (tmp_path / "old.json").write_bytes(before)
    assert run("trust", department, tmp_path / "old.json").exit_code == 0
    assert ended() == [thief]
    assert run("trust", department, tmp_path / "old.json", "--again", thief).exit_code == 0
    assert ended() == []


def test_an_own_key_that_is_revoked_is_replaced_at_once(gateway: Path) -> None:
    listed("new", gateway)
    ring = KeyRing(gateway.parent / "state" / "gateway.jwk")
    old = ring.signing().kid
    rows = listed("revoke", gateway, old)
    assert ring.signing().kid != old
    assert [r["state"].split()[0] for r in rows if r["use"] == "signing"] == ["revoked", "signs"]


def test_one_use_can_be_rotated_alone(department: Path) -> None:
    listed("new", department)
    rows = listed("rotate", department, "--use", "tls", "--overlap", "1h")
    assert [r["use"] for r in rows] == ["receipt", "tls", "tls", "ledger"]
    assert run("rotate", department, "--use", "signing").exit_code == 2


def test_a_registration_carries_keys_and_certificates_and_is_signed_by_what_is_known(department: Path) -> None:
    listed("new", department)
    policy = load(department)
    ring = KeyRing(department.parent / "state" / "receipt.key")
    old = ring.signing()
    listed("rotate", department)
    body = registration(department, policy)
    assert body["url"] == "https://127.0.0.1:7400"
    assert [k["kty"] for k in body["keys"]] == ["OKP", "OKP", "EC", "EC"]
    from catalog.identity import registration_bytes

    signed = registration_bytes("water", body["url"], body["key"], body["keys"], body["at"], body["contact"], "")
    assert keys.verify(old.public_jwk, signed, body["proof"])
    assert body["key"]["kid"] != old.kid


def test_the_issuers_keys_are_pinned_and_rotate_with_an_overlap(
    department: Path, gateway: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "idp"
    ring = idp.prepare(folder)
    for file in (department, gateway):
        assert run("trust", file, folder / "jwks.json").exit_code == 0
    provider = idp.IdentityProvider(folder, "i")
    old = provider.dev_login("lin").token
    assert [r["state"] for r in listed("rotate", folder, "--overlap", "1h")] == ["accepted", "signs"]
    new = provider.dev_login("lin").token
    assert old.split(".")[0] != new.split(".")[0]
    jwks = gateway.parent / "jwks.json"
    verifier = TokenVerifier("i", "gateway", jwks)
    assert verifier.verify(old).sub == "lin"
    assert run("trust", gateway, folder / "jwks.json").exit_code == 0
    assert [verifier.verify(t).sub for t in (old, new)] == ["lin", "lin"]
    assert len(ring.public()) == 2


def test_a_gateway_s_new_key_is_known_to_the_identity_provider_during_the_overlap(
    gateway: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "idp"
    idp.prepare(folder)
    listed("new", gateway)
    listed("rotate", gateway)
    assert run("trust", folder, card(gateway, tmp_path / "card.json")).exit_code == 0
    clients = orjson.loads((folder / "clients.json").read_bytes())
    assert [k["kty"] for k in clients["gateway"]] == ["OKP", "OKP"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "nothing.yaml"), "no department.yaml"),
        (("revoke", "DEPARTMENT", "nobody"), "no key of this name"),
        (("rotate", "DEPARTMENT", "--overlap", "soon"), "a duration is"),
        (("rotate", "DEPARTMENT", "--at", "tomorrow"), "--at takes a time"),
        (("trust", "DEPARTMENT", "private.json"), "no card"),
    ],
)
def test_wrong_use_says_what_is_wrong(department: Path, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    private = tmp_path / "private.json"
    private.write_bytes(orjson.dumps({"client_id": "gateway", "keys": [SigningKey.generate().private_jwk()]}))
    known = {"DEPARTMENT": str(department), "private.json": str(private)}
    done = run(*[known.get(word, word) for word in words])
    assert done.exit_code in (1, 2)
    assert says in " ".join(done.output.replace("│", " ").split())
    assert not (department.parent / "gateways.json").exists()


def test_a_shared_key_file_is_refused_in_one_line(department: Path) -> None:
    listed("new", department)
    (department.parent / "state" / "receipt.key").chmod(0o644)
    done = run("show", department)
    assert done.exit_code == 1
    assert "chmod 600" in done.output
