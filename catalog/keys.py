"""Ed25519 keys in files: what a gateway, an agent or an identity provider signs with.

A private key is a JWK (RFC 8037) in a file that its owner alone can read (0600); a file that others
can read is refused. Keys are named by their RFC 7638 thumbprint. Signatures over bytes are base64.
Public keys travel as plain JWK dicts: `{"kty": "OKP", "crv": "Ed25519", "x": .., "kid": ..}`.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

__all__ = ["Jwk", "KeyFileError", "SigningKey", "load", "load_or_create", "thumbprint", "verify"]

Jwk = dict[str, Any]


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
        return cls(dict(OKPKey.generate_key("Ed25519").as_dict(private=True)))

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
        key = _import(_public_part(public_jwk)).public_key
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
    return _import(_public_part(public_jwk)).thumbprint()


def load(path: str | Path) -> SigningKey:
    """The private key in a file. Raises KeyFileError if it is missing, shared with others or no key."""
    file = Path(path)
    try:
        mode = file.stat().st_mode
        raw = file.read_bytes()
    except OSError as bad:
        raise KeyFileError(f"the key file {file.name} cannot be read") from bad
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFileError(f"others can read the key file {file.name}: chmod 600 it, or make a new key")
    try:
        jwk = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # The chained text of a JSON error quotes the document: drop it, the document is a secret.
        raise KeyFileError(f"the key file {file.name} is no JSON") from None
    return SigningKey(jwk)


def load_or_create(path: str | Path) -> SigningKey:
    """The key in `path`, made (0600) if there is none. Two processes that race get the same key."""
    file = Path(path)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(file, SigningKey.generate())
    return load(file)


def _write_new(file: Path, key: SigningKey) -> None:
    """Publish a whole file by a hard link, which fails if another process was first."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(orjson.dumps(key.private_jwk(), option=orjson.OPT_INDENT_2))
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(name, file)
        except FileExistsError:
            return
    finally:
        os.unlink(name)


def _import(jwk: Jwk) -> OKPKey:
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise KeyFileError("no Ed25519 key")
    try:
        return OKPKey.import_key({k: v for k, v in jwk.items() if k in ("kty", "crv", "x", "d")})
    except (JoseError, ValueError, TypeError) as bad:
        raise KeyFileError("no well-formed Ed25519 key") from bad


def _public_part(jwk: Jwk) -> Jwk:
    return {k: jwk[k] for k in ("kty", "crv", "x") if k in jwk} if isinstance(jwk, dict) else {}
