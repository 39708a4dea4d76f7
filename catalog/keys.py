"""Ed25519 keys in files: what a gateway, an agent or an identity provider signs with.

A private key is a JWK (RFC 8037) in a file that its owner alone can read (0600); a file that others
can read is refused. Keys are named by their RFC 7638 thumbprint. Signatures over bytes are base64.
Public keys travel as plain JWK dicts: `{"kty": "OKP", "crv": "Ed25519", "x": .., "kid": ..}`.

A file may hold several keys of one use, `{"keys": [JWK, ..]}`: a `KeyRing`. Three members say when each
counts, in the ring and wherever its public part is pinned: `nbf` and `exp` (unix seconds, from and until)
and `revoked` (when). Who signs takes the newest in force, who verifies accepts every one in force: so a
rotation with an overlap needs no moment at which all change at once.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import math
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from catalog.files import create_file, read_file, replace_file

__all__ = [
    "Jwk",
    "KeyFileError",
    "KeyRing",
    "SigningKey",
    "in_force",
    "load",
    "load_or_create",
    "load_or_create_secret",
    "load_secret",
    "new_jwk",
    "public_jwk",
    "replace_file",
    "same_key",
    "thumbprint",
    "verify",
    "verify_any",
]

Jwk = dict[str, Any]
SECRET_BYTES = 32
MAX_FILE = 1 << 20
_SECRET = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class KeyFileError(ValueError):
    """A key file that is missing, readable by others or no Ed25519 key. The text never shows key material."""


class SigningKey:
    """One Ed25519 private key. Its `repr` shows the thumbprint only."""

    def __init__(self, jwk: Jwk) -> None:
        """jwk: a private Ed25519 JWK. Raises KeyFileError for anything else."""
        self.jose = _import(jwk)
        private = self.jose.private_key
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError("no private Ed25519 key")
        self._private = private
        self.kid: str = self.jose.thumbprint()
        self.public_jwk: Jwk = {**_public_part(jwk), "kid": self.kid}

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key. Its name does not start like an option: `atoll keys revoke FILE KEY` takes it as it is."""
        while (made := cls(dict(OKPKey.generate_key("Ed25519").as_dict(private=True)))).kid.startswith("-"):
            pass
        return made

    def sign(self, data: bytes) -> str:
        """Signature of `data`, base64."""
        return base64.b64encode(self._private.sign(data)).decode()

    def private_jwk(self) -> Jwk:
        """The secret itself; for key files only."""
        return {**dict(self.jose.as_dict(private=True)), "kid": self.kid}

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"


def verify(public_jwk: Jwk, data: bytes, signature: str) -> bool:
    """Whether `signature` (base64) is the key's over `data`. False for malformed keys and signatures too."""
    try:
        key = _public(public_jwk)[0].public_key
        if not isinstance(key, Ed25519PublicKey):
            return False
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode() != signature:
            # The last character of base64 has spare bits: one signature must have one text.
            return False
        key.verify(raw, data)
    except (KeyFileError, InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def thumbprint(public_jwk: Jwk) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url). Raises KeyFileError unless it is an Ed25519 key."""
    return _public(public_jwk)[1]


def verify_any(public_jwks: Iterable[Jwk], data: bytes, signature: str, now: float | None = None) -> bool:
    """Whether one of the signing keys that are in force made `signature`."""
    at = time.time() if now is None else now
    return any(in_force(jwk, at) and verify(jwk, data, signature) for jwk in public_jwks)


def same_key(one: Jwk, other: Jwk) -> bool:
    """Whether two JWKs are the same Ed25519 key. False for anything that is none."""
    try:
        return thumbprint(one) == thumbprint(other)
    except KeyFileError:
        return False


def new_jwk(nbf: int = 0) -> Jwk:
    """A new private Ed25519 key that counts from `nbf` (unix seconds) on."""
    return {**SigningKey.generate().private_jwk(), "nbf": nbf}


def public_jwk(jwk: Jwk) -> Jwk:
    """A JWK without its secret."""
    return {k: v for k, v in jwk.items() if k not in _SECRET}


def in_force(jwk: Jwk, now: float) -> bool:
    """Whether a key counts at `now` (unix seconds). Terms that are no numbers make it count never."""
    nbf, exp, revoked = jwk.get("nbf", 0), jwk.get("exp", math.inf), jwk.get("revoked", math.inf)
    if not {type(nbf), type(exp), type(revoked)} <= _NUMBERS:
        return False
    return bool(nbf <= now < exp and now < revoked)


_NUMBERS = {int, float}


# ---------------------------------------------------------------- key files


def load(path: str | Path) -> SigningKey:
    """The key to sign with now. Raises KeyFileError if the file is missing, shared with others or no key."""
    return KeyRing(path).signing()


def load_or_create(path: str | Path) -> SigningKey:
    """The key in `path`, made (0600) if there is none. Two processes that race get the same key."""
    return KeyRing.create(path).signing()


def load_secret(path: str | Path) -> bytes:
    """The 32 bytes in a file that its owner alone can read. Raises KeyFileError for anything else, half of them too."""
    file = Path(path)
    _, raw = _private(file)
    if len(raw) != SECRET_BYTES:
        raise KeyFileError(f"the key file {file.name} holds {len(raw)} bytes and not {SECRET_BYTES}: bring it back")
    return raw


def load_or_create_secret(path: str | Path) -> bytes:
    """The secret in `path`, made if there is none: on disk before it is used. Raises KeyFileError."""
    file = Path(path)
    if not file.exists():
        create_file(file, secrets.token_bytes(SECRET_BYTES))
    return load_secret(file)


class KeyRing:
    """The keys of one use in one file, secrets included. Read again when the file changes; thread-safe.

    now: unix seconds, replaceable in tests. Its `repr` shows thumbprints only.
    """

    def __init__(self, path: str | Path, now: Callable[[], float] = time.time) -> None:
        """Raises KeyFileError if the file is missing, readable by others, or holds no keys."""
        self.path = Path(path)
        self._now = now
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._keys: list[Jwk] = []
        self._signing: SigningKey | None = None
        self._read()

    @classmethod
    def create(
        cls, path: str | Path, make: Callable[[int], Jwk] = new_jwk, now: Callable[[], float] = time.time
    ) -> KeyRing:
        """The ring in `path`; a new one of one key if there is none. make: nbf -> private JWK with `kid`."""
        file = Path(path)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            create_file(file, orjson.dumps(make(0), option=orjson.OPT_INDENT_2))
        return cls(file, now)

    def _read(self) -> None:
        """Take the file as it is now. The keys in memory are no refuge: the change may be a revocation."""
        stamp, raw = _private(self.path)
        try:
            found = orjson.loads(raw)
        except orjson.JSONDecodeError:
            # The chained text of a JSON error quotes the document: drop it, the document is a secret.
            raise KeyFileError(f"the key file {self.path.name} is no JSON") from None
        listed = found.get("keys") if isinstance(found, dict) and "keys" in found else [found]
        if not isinstance(listed, list) or not listed or not all(isinstance(k, dict) for k in listed):
            raise KeyFileError(f"the key file {self.path.name} holds no key")
        self._keys, self._stamp, self._signing = listed, stamp, None

    def _fresh(self) -> list[Jwk]:
        with self._lock:
            try:
                seen = os.stat(self.path)
            except OSError as bad:
                raise KeyFileError(f"the key file {self.path.name} cannot be read") from bad
            if (seen.st_mtime_ns, seen.st_ino) != self._stamp:
                self._read()
            return self._keys

    def current(self) -> Jwk:
        """The newest private key in force. Raises KeyFileError if there is none."""
        at = self._now()
        able = [k for k in self._fresh() if in_force(k, at) and "d" in k]
        if not able:
            raise self._none()
        return max(able, key=lambda k: float(k.get("nbf", 0)))

    def _none(self) -> KeyFileError:
        return KeyFileError(f"no key of {self.path.name} is in force: make one with `atoll keys rotate`")

    def signing(self) -> SigningKey:
        """The Ed25519 key to sign with now. Raises KeyFileError."""
        jwk = self.current()
        known = self._signing
        if known is None or known.public_jwk["x"] != jwk.get("x"):
            known = self._signing = SigningKey(jwk)
        return known

    def oldest(self) -> SigningKey:
        """The Ed25519 key in force that has counted longest: what others know while they don't know the newest."""
        at = self._now()
        able = [k for k in self._fresh() if in_force(k, at) and "d" in k]
        if not able:
            raise self._none()
        return SigningKey(min(able, key=lambda k: float(k.get("nbf", 0))))

    def sign(self, data: bytes) -> str:
        """Signature of `data` by the key to sign with now, base64. Raises KeyFileError."""
        return self.signing().sign(data)

    @property
    def public_jwk(self) -> Jwk:
        """The public part of the Ed25519 key to sign with now. Raises KeyFileError."""
        return self.signing().public_jwk

    def public(self) -> list[Jwk]:
        """Every key without its secret, ended and revoked ones too: old signatures stay verifiable."""
        return [{**public_jwk(k), "kid": _kid(k)} for k in self._fresh()]

    def rotate(self, at: int, overlap: int, make: Callable[[int], Jwk] = new_jwk) -> Jwk:
        """Add a key that counts from `at`; those in force count until `at + overlap`. Returns its public part."""
        fresh = make(at)
        with _changing(self.path):
            kept = []
            for key in self._fresh():
                if in_force(key, at) or key.get("nbf", 0) > at:
                    key = {**key, "exp": min(int(key.get("exp", at + overlap)), at + overlap)}
                # A key that has ended signs nothing any more: what it signed needs its public part alone.
                kept.append(key if key.get("exp", math.inf) > self._now() else public_jwk(key))
            self._write([*kept, fresh])
        return {**public_jwk(fresh), "kid": _kid(fresh)}

    def revoke(self, kid: str, make: Callable[[int], Jwk] = new_jwk) -> bool:
        """End a key now, for good; a new one is made if no other is in force. False if there is none of this name."""
        at = int(self._now())
        with _changing(self.path):
            found = self._fresh()
            if not any(_kid(k) == kid for k in found):
                return False
            kept = [
                {**public_jwk(k), "kid": kid, "revoked": k.get("revoked", at)} if _kid(k) == kid else k for k in found
            ]
            if not any(in_force(k, at) and "d" in k for k in kept):
                kept.append(make(at))
            self._write(kept)
        return True

    def _write(self, listed: list[Jwk]) -> None:
        replace_file(self.path, orjson.dumps({"keys": listed}, option=orjson.OPT_INDENT_2))
        with self._lock:
            self._read()

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(_kid(k) for k in self._keys)})"


def _kid(jwk: Jwk) -> str:
    """A key's name: the thumbprint of an Ed25519 key, the `kid` of any other."""
    return thumbprint(jwk) if jwk.get("kty") == "OKP" else str(jwk.get("kid", ""))


def _private(file: Path) -> tuple[tuple[int, int], bytes]:
    """(stamp, content) of a file that its owner alone can read. Raises KeyFileError."""
    try:
        seen, raw = read_file(file, MAX_FILE)
    except OSError as bad:
        raise KeyFileError(f"the key file {file.name} cannot be read") from bad
    if stat.S_IMODE(seen.st_mode) & 0o077:
        raise KeyFileError(f"others can read the key file {file.name}: chmod 600 it, or make a new key")
    return (seen.st_mtime_ns, seen.st_ino), raw


@contextmanager
def _changing(file: Path) -> Iterator[None]:
    """Hold a ring alone while it changes: two rotations at once must not lose one another's key."""
    with open(file.with_name(f".{file.name}.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _import(jwk: Jwk) -> OKPKey:
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise KeyFileError("no Ed25519 key")
    try:
        return OKPKey.import_key({k: v for k, v in jwk.items() if k in ("kty", "crv", "x", "d")})
    except (JoseError, ValueError, TypeError) as bad:
        raise KeyFileError("no well-formed Ed25519 key") from bad


def _public(jwk: Jwk) -> tuple[OKPKey, str]:
    """A public key and its thumbprint. Raises KeyFileError unless it is an Ed25519 key."""
    part = _public_part(jwk)
    if part.get("kty") == "OKP" and part.get("crv") == "Ed25519" and isinstance(part.get("x"), str):
        return _of_point(part["x"])
    key = _import(part)
    return key, key.thumbprint()


@lru_cache(maxsize=1024)
def _of_point(x: str) -> tuple[OKPKey, str]:
    """Of an Ed25519 key, which is its point: every request names a few known ones."""
    key = _import({"kty": "OKP", "crv": "Ed25519", "x": x})
    return key, key.thumbprint()


def _public_part(jwk: Jwk) -> Jwk:
    return {k: jwk[k] for k in ("kty", "crv", "x") if k in jwk} if isinstance(jwk, dict) else {}
