"""Key files: made once, readable by their owner alone, named by their thumbprint."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import keys
from catalog.files import read_file
from catalog.keys import KeyFileError, KeyRing, SigningKey

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


# ---- files of any kind -----------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was written to disk, in order: paths, with links followed."""
    seen: list[str] = []
    really = os.fsync

    def fsync(handle: int) -> None:
        seen.append(os.readlink(f"/proc/self/fd/{handle}"))
        really(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


@pytest.mark.parametrize(
    "write",
    [
        lambda file: keys.replace_file(file, b"x"),
        lambda file: keys.load_or_create(file),
        lambda file: keys.load_or_create_secret(file),
        lambda file: KeyRing.create(file).rotate(0, 60),
    ],
    ids=["replaced", "a first key", "a first secret", "a rotation"],
)
def test_a_file_and_its_name_are_on_disk_before_anybody_relies_on_them(
    tmp_path: Path, synced: list[str], write: Callable[[Path], object]
) -> None:
    write(tmp_path / "file")
    assert synced[0].startswith(f"{tmp_path}/.file.")
    assert synced[-1] == str(tmp_path)


def test_a_secret_is_made_once_and_half_of_it_is_none(tmp_path: Path) -> None:
    file = tmp_path / "hmac.key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: keys.load_or_create_secret(file), range(16)))
    assert len(made) == 1
    assert len(made.pop()) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for content in (b"", b"x" * 31, b"x" * 33):
        file.write_bytes(content)
        with pytest.raises(KeyFileError, match=r"hmac\.key holds"):
            keys.load_or_create_secret(file)
    file.write_bytes(b"x" * 32)
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.load_or_create_secret(file)


def test_nothing_but_a_regular_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "large", "link", ".", "none"):
        with pytest.raises(OSError):
            read_file(tmp_path / name, 10)
    assert read_file(tmp_path / "large", 11)[1] == b"x" * 11
    for name in ("pipe", "link"):
        with pytest.raises(KeyFileError):
            keys.load(tmp_path / name)


def test_no_new_keys_name_starts_like_an_option() -> None:
    assert not [kid for kid in (SigningKey.generate().kid for _ in range(400)) if kid.startswith("-")]
