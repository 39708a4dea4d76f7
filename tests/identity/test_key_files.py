"""Key files: made once, readable by their owner alone, named by their thumbprint."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import keys
from catalog.keys import KeyFileError, SigningKey

KEY = SigningKey.generate()


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "agent" / "key.jwk"
    first = keys.load_or_create(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keys.load_or_create(file).kid == first.kid
    assert list(file.parent.iterdir()) == [file]


def test_processes_that_race_for_the_first_key_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: keys.load_or_create(tmp_path / "key.jwk").kid, range(16)))
    assert len(set(made)) == 1


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.jwk"
    keys.load_or_create(file)
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.load(file)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kty":"OKP","crv":"Ed25519","x":"AA","d":"s3cret"}', "s3cret{"])
def test_a_file_that_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key.jwk"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(KeyFileError) as caught:
        keys.load(file)
    assert "s3cret" not in str(caught.value) + str(caught.value.__cause__)


def test_a_public_key_file_is_no_signing_key() -> None:
    with pytest.raises(KeyFileError):
        SigningKey(KEY.public_jwk)


def test_the_thumbprint_is_that_of_rfc_8037_appendix_a() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert keys.thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert keys.thumbprint({**jwk, "kid": "anything", "use": "sig"}) == keys.thumbprint(jwk)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_fits_exactly_the_bytes_that_were_signed(signed: bytes, shown: bytes) -> None:
    assert keys.verify(KEY.public_jwk, shown, KEY.sign(signed)) == (signed == shown)


@pytest.mark.parametrize("signature", ["", "AAAA", "not base64", "é"])
def test_a_malformed_signature_is_wrong_and_no_error(signature: str) -> None:
    assert keys.verify(KEY.public_jwk, b"x", signature) is False
    assert keys.verify({"kty": "RSA"}, b"x", KEY.sign(b"x")) is False


def test_printing_a_key_shows_its_name_only() -> None:
    assert repr(KEY) == f"SigningKey({KEY.kid})"
    assert KEY.private_jwk()["d"] not in repr(KEY)
    assert "d" not in KEY.public_jwk
