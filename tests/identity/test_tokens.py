"""An agent believes a token only if the city's identity provider made it for that agent, now."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey

from catalog.errors import AccessDenied, Outcome
from catalog.identity import TokenVerifier, sign_token
from catalog.keys import SigningKey

ISSUER = "http://127.0.0.1:9000"
NOW = 1_700_000_000
IDP = SigningKey.generate()
GATEWAY = SigningKey.generate()
JWKS = {"keys": [{**IDP.public_jwk, "alg": "EdDSA", "use": "sig"}]}


def claims(**changes: Any) -> dict[str, Any]:
    """A good agent's token for lin at water; a change to None leaves the claim out."""
    good = {
        "iss": ISSUER,
        "sub": "lin",
        "aud": "agent:water",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 300,
        "jti": "j1",
        "purpose": "mass-balance",
        "purposes": ["mass-balance"],
        "cnf": {"jwk": GATEWAY.public_jwk},
    }
    return {k: v for k, v in {**good, **changes}.items() if v is not None}


def water() -> TokenVerifier:
    return TokenVerifier(ISSUER, "agent:water", JWKS)


def refusal(token: str, verifier: TokenVerifier | None = None, now: float = NOW + 1) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        (verifier or water()).verify(token, now)
    assert caught.value.outcome is Outcome.AUTH
    return caught.value


def test_a_good_agent_token_says_who_asks_for_what_through_which_gateway() -> None:
    principal = water().verify(sign_token(IDP, claims()), NOW + 1)
    assert (principal.sub, principal.purpose, principal.purposes) == (
        "lin",
        "mass-balance",
        ("mass-balance",),
    )
    assert (principal.jti, principal.exp, principal.cnf_jwk) == ("j1", NOW + 300, GATEWAY.public_jwk)


def test_a_user_token_needs_neither_purpose_nor_key_and_names_all_purposes() -> None:
    user = claims(aud="gateway", exp=NOW + 3600, purpose=None, cnf=None, purposes=["inspection", "statistics"])
    principal = TokenVerifier(ISSUER, "gateway", JWKS).verify(sign_token(IDP, user), NOW)
    assert (principal.purpose, principal.cnf_jwk) == ("", None)
    assert principal.purposes == ("inspection", "statistics")


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "http://evil.example"},
        {"iss": None},
        {"aud": "agent:health"},
        {"aud": "gateway"},
        {"aud": ["agent:water"]},
        {"aud": ["agent:water", "agent:health"]},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"jti": None},
        {"iat": None},
        {"iat": NOW + 60},
        {"nbf": NOW + 60},
        {"exp": None},
        {"exp": True},
        {"exp": float(NOW + 300)},
        {"exp": str(NOW + 300)},
        {"exp": NOW + 301},
        {"purpose": None},
        {"purpose": ""},
        {"purpose": "statistics"},
        {"purposes": None},
        {"purposes": "mass-balance"},
        {"purposes": [["mass-balance"]]},
        {"cnf": None},
        {"cnf": {}},
        {"cnf": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "short"}}},
        {"cnf": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    ],
    ids=str,
)
def test_each_wrong_claim_is_refused_with_the_same_text(change: dict[str, Any]) -> None:
    assert str(refusal(sign_token(IDP, claims(**change)))) == "This token is not valid here. Log in again."


def test_an_expired_token_says_so_and_names_the_department_that_refused() -> None:
    error = refusal(sign_token(IDP, claims()), now=NOW + 306)
    assert (error.message, error.who) == ("The token has expired.", "water")


def test_leeway_covers_small_differences_of_clocks_only() -> None:
    token = sign_token(IDP, claims())
    assert water().verify(token, NOW + 304).sub == "lin"
    assert water().verify(token, NOW - 5).sub == "lin"
    refusal(token, now=NOW - 6)


def test_a_token_of_an_unknown_key_is_refused_even_under_a_known_name() -> None:
    stranger = SigningKey.generate()
    refusal(sign_token(stranger, claims()))
    stranger.kid = IDP.kid
    refusal(sign_token(stranger, claims()))


def test_an_unsigned_token_is_refused() -> None:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for alg in ("none", "None", "NONE", ""):
        header = part({"alg": alg, "kid": IDP.kid, "typ": "at+jwt"})
        refusal(f"{header}.{part(claims())}.")


def test_the_public_key_used_as_a_shared_secret_is_refused() -> None:
    secret = OctKey.import_key(base64.urlsafe_b64decode(IDP.public_jwk["x"] + "=="))
    header = {"alg": "HS256", "kid": IDP.kid, "typ": "at+jwt"}
    refusal(jwt.encode(header, claims(), secret, algorithms=["HS256"]))


def test_a_key_that_the_token_brings_itself_is_not_used() -> None:
    stranger = OKPKey.generate_key("Ed25519")
    header = {"alg": "Ed25519", "jwk": stranger.as_dict(private=False), "typ": "at+jwt"}
    refusal(jwt.encode(header, claims(), stranger, algorithms=["Ed25519"]))


def test_any_flipped_character_of_a_token_is_noticed() -> None:
    token = sign_token(IDP, claims())
    for at in range(0, len(token) - 1, 7):
        other = "A" if token[at] != "A" else "B"
        refusal(token[:at] + other + token[at + 1 :])


@pytest.mark.parametrize("junk", ["", ".", "..", "a.b.c", "Bearer x", "é.é.é", "x" * 200_000])
def test_what_is_no_token_at_all_is_refused_like_any_other(junk: str) -> None:
    refusal(junk)


def test_a_proof_of_a_gateway_does_not_pass_for_a_token() -> None:
    refusal(sign_token(IDP, claims(), "client-authentication+jwt"))
    refusal(sign_token(IDP, claims(), "JWT"))


def test_es256_is_accepted_for_a_key_of_that_kind_and_only_under_its_own_algorithm() -> None:
    key = ECKey.generate_key("P-256")
    jwk = {**key.as_dict(private=False), "kid": "ec"}
    verifier = TokenVerifier(ISSUER, "agent:water", {"keys": [*JWKS["keys"], jwk]})
    good = jwt.encode({"alg": "ES256", "kid": "ec", "typ": "at+jwt"}, claims(), key, algorithms=["ES256"])
    assert verifier.verify(good, NOW).sub == "lin"
    crossed = jwt.encode({"alg": "ES256", "kid": IDP.kid, "typ": "at+jwt"}, claims(), key, algorithms=["ES256"])
    refusal(crossed, verifier)


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": []},
        {"keys": [{"kty": "oct", "k": "AAAA", "kid": "1"}]},
        {"keys": [{k: v for k, v in IDP.public_jwk.items() if k != "kid"}]},
        {"keys": [IDP.private_jwk()]},
    ],
)
def test_a_key_set_of_anything_but_named_public_keys_stops_the_start(jwks: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TokenVerifier(ISSUER, "agent:water", jwks)


def test_rotation_a_new_key_in_the_pinned_file_is_seen_and_the_old_one_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(orjson.dumps(JWKS))
    verifier = TokenVerifier(ISSUER, "agent:water", file)
    assert verifier.verify(sign_token(IDP, claims()), NOW).sub == "lin"
    fresh = SigningKey.generate()
    file.write_bytes(orjson.dumps({"keys": [{**fresh.public_jwk, "note": "second key"}]}))
    assert verifier.verify(sign_token(fresh, claims()), NOW).sub == "lin"
    refusal(sign_token(IDP, claims()), verifier)
    file.write_text("{ half a fi")
    assert verifier.verify(sign_token(fresh, claims()), NOW).sub == "lin"


def test_a_token_that_was_verified_before_is_held_against_the_clock_each_time() -> None:
    verifier, token = water(), sign_token(IDP, claims())
    for _ in range(2):
        assert verifier.verify(token, NOW + 1).sub == "lin"
    assert refusal(token, verifier, NOW + 306).message == "The token has expired."
    refusal(token, verifier, NOW - 6)
    assert verifier.verify(token, NOW + 1).sub == "lin"


def test_a_token_that_was_verified_before_falls_with_its_key(tmp_path: Path) -> None:
    file, token = tmp_path / "jwks.json", sign_token(IDP, claims())
    key = JWKS["keys"][0]
    for change in ({"revoked": NOW}, {"exp": NOW + 1}, {"nbf": NOW + 100}):
        file.write_bytes(orjson.dumps(JWKS))
        verifier = TokenVerifier(ISSUER, "agent:water", file)
        assert verifier.verify(token, NOW + 2).sub == "lin"
        file.write_bytes(orjson.dumps({"keys": [{**key, **change, "note": str(change)}]}))
        refusal(token, verifier, NOW + 2)


def test_a_token_that_was_verified_before_falls_when_its_keys_time_is_over() -> None:
    ending = {"keys": [{**JWKS["keys"][0], "exp": NOW + 100}]}
    verifier, token = TokenVerifier(ISSUER, "agent:water", ending), sign_token(IDP, claims())
    assert verifier.verify(token, NOW + 2).sub == "lin"
    refusal(token, verifier, NOW + 101)


def test_one_changed_character_of_a_token_that_was_verified_before_is_noticed() -> None:
    verifier, token = water(), sign_token(IDP, claims())
    assert verifier.verify(token, NOW + 1).sub == "lin"
    refusal(token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1], verifier)


def damaged(file: Path) -> None:
    file.write_text("{ s3cret")


def piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("put", [damaged, piped, Path.unlink])
def test_a_key_set_that_cannot_be_read_any_more_is_told_to_the_owner_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, put: Callable[[Path], None]
) -> None:
    """The keys known before stay, so that nobody is locked out; but the change may have been a revocation."""
    file = tmp_path / "jwks.json"
    file.write_bytes(orjson.dumps({"keys": [IDP.public_jwk]}))
    verifier = TokenVerifier(ISSUER, "agent:water", file)
    put(file)
    for _ in range(3):
        assert verifier.verify(sign_token(IDP, claims()), NOW).sub == "lin"
    told = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(told) == 1
    assert "jwks.json cannot be read" in told[0]
    assert "s3cret" not in told[0]
