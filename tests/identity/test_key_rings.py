"""Keys change without a moment at which all change at once, and a revoked one is gone at once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import keys, tls
from catalog.errors import AccessDenied
from catalog.identity import TokenVerifier, agent_audience, sign_token
from catalog.keys import KeyFileError, KeyRing, SigningKey, in_force

NOW = 1_800_000_000
DAY = 86_400


class Clock:
    def __init__(self) -> None:
        self.at = float(NOW)

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(tmp_path: Path, clock: Clock) -> KeyRing:
    return KeyRing.create(tmp_path / "gateway.jwk", now=clock)


def test_a_file_with_one_key_is_a_ring_of_one(tmp_path: Path) -> None:
    first = keys.load_or_create(tmp_path / "key.jwk")
    assert KeyRing(tmp_path / "key.jwk").signing().kid == first.kid
    assert [k["kid"] for k in KeyRing(tmp_path / "key.jwk").public()] == [first.kid]


def test_the_new_key_signs_from_its_day_on_and_the_old_one_counts_for_the_overlap(ring: KeyRing, clock: Clock) -> None:
    old = ring.signing()
    new = ring.rotate(NOW + DAY, 7 * DAY)
    signed = old.sign(b"x")
    assert ring.signing().kid == old.kid
    clock.at = NOW + DAY
    assert ring.signing().kid == new["kid"]
    assert ring.oldest().kid == old.kid
    assert keys.verify_any(ring.public(), b"x", signed, clock.at + 7 * DAY - 1)
    assert not keys.verify_any(ring.public(), b"x", signed, clock.at + 7 * DAY)
    assert keys.verify_any(ring.public(), b"x", ring.sign(b"x"), clock.at + 7 * DAY)


def test_another_process_sees_a_rotation_without_a_restart(ring: KeyRing, clock: Clock) -> None:
    other = KeyRing(ring.path, clock)
    assert other.signing().kid == ring.signing().kid
    new = ring.rotate(NOW, DAY)
    assert other.signing().kid == new["kid"]


def test_a_revoked_key_ends_at_once_and_another_takes_its_place(ring: KeyRing, clock: Clock) -> None:
    old = ring.signing()
    assert ring.revoke(old.kid) is True
    assert ring.signing().kid != old.kid
    assert not keys.verify_any(ring.public(), b"x", old.sign(b"x"), clock.at)
    assert ring.revoke("nobody's") is False
    assert [k.get("revoked") for k in ring.public()] == [NOW, None]


def test_keys_that_ended_keep_their_public_part_alone(ring: KeyRing, clock: Clock) -> None:
    first = ring.signing()
    ring.rotate(NOW, DAY)
    clock.at += 2 * DAY
    ring.rotate(int(clock.at), DAY)
    stored = {k["kid"]: k for k in orjson.loads(ring.path.read_bytes())["keys"]}
    assert "d" not in stored[first.kid]
    assert first.kid in {k["kid"] for k in ring.public()}


def test_rotations_at_once_lose_no_key(ring: KeyRing) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: KeyRing(ring.path, ring._now).rotate(NOW, DAY)["kid"], range(8)))
    assert set(made) <= {k["kid"] for k in ring.public()}
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600


def test_a_ring_that_others_can_read_signs_nothing(ring: KeyRing) -> None:
    ring.rotate(NOW, DAY)
    ring.path.chmod(0o640)
    ring.path.touch()
    with pytest.raises(KeyFileError, match="chmod 600"):
        KeyRing(ring.path).signing()


def test_neither_a_ring_nor_its_public_part_shows_a_secret(ring: KeyRing, tmp_path: Path) -> None:
    ring.rotate(NOW, DAY)
    certificates = tls.create_ring(tmp_path / "tls.key", "agent:water")
    for opened in (ring, certificates):
        secrets = [k["d"] for k in orjson.loads(opened.path.read_bytes()).get("keys", [opened.current()])]
        shown = repr(opened) + str(opened) + str(opened.public())
        assert not any(secret in shown for secret in secrets)


@given(
    st.integers(0, 20), st.none() | st.integers(0, 20), st.none() | st.integers(0, 20), st.integers(0, 20),
)  # fmt: skip
def test_a_key_counts_from_its_day_to_its_end_unless_revoked(
    nbf: int, exp: int | None, revoked: int | None, now: int
) -> None:
    terms = {k: v for k, v in {"nbf": nbf, "exp": exp, "revoked": revoked}.items() if v is not None}
    expected = nbf <= now and (exp is None or now < exp) and (revoked is None or now < revoked)
    assert in_force(terms, now) is expected


@pytest.mark.parametrize("terms", [{"nbf": "0"}, {"exp": "never"}, {"exp": None}, {"revoked": True}, {"nbf": [1]}])
def test_terms_that_are_no_numbers_make_a_key_count_never(terms: dict[str, object]) -> None:
    assert in_force(terms, NOW) is False


def test_tokens_of_the_old_and_the_new_issuer_key_are_believed_during_the_overlap(tmp_path: Path, clock: Clock) -> None:
    ring = KeyRing.create(tmp_path / "idp.jwk", now=clock)
    pinned = tmp_path / "jwks.json"

    def publish() -> None:
        keys.replace_file(pinned, orjson.dumps({"keys": ring.public()}))

    def token(key: SigningKey) -> str:
        at = int(clock.at)
        claims = {"iss": "i", "sub": "lin", "aud": agent_audience("water"), "iat": at, "exp": at + 60, "jti": "j",
                  "purpose": "p", "purposes": ["p"], "cnf": {"jwk": ring.signing().public_jwk}}  # fmt: skip
        return sign_token(key, claims)

    def believed(key: SigningKey) -> bool:
        try:
            return verifier.verify(token(key), clock.at).sub == "lin"
        except AccessDenied:
            return False

    publish()
    verifier = TokenVerifier("i", agent_audience("water"), pinned)
    old = ring.signing()
    ring.rotate(NOW + 100, 200)
    publish()
    new = SigningKey(orjson.loads(ring.path.read_bytes())["keys"][1])
    told = []
    for clock.at in (NOW, NOW + 99, NOW + 100, NOW + 299, NOW + 300):
        told.append((believed(old), believed(new)))
    assert told == [(True, False), (True, False), (True, True), (True, True), (False, True)]
    ring.revoke(new.kid)
    publish()
    assert believed(new) is False
