"""The heat calendar that environment hands to health: signed by the one, checked on load by the other.

The text that is signed is one line `district_code,day,exposed` (0 or 1) per row, by district and day. The
demonstration's key is made of the seed, so that the same city has the same bytes: it proves nothing to
anybody who knows the seed. A real department signs with a key of its own, in the same format.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def _key(seed: int) -> Ed25519PrivateKey:
    name = f"atoll demonstration, environment, heat calendar, {seed}"
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def calendar_text(rows: Iterable[tuple[str, str, int]]) -> bytes:
    """What is signed, of rows (district_code, ISO day, 0 or 1)."""
    return "".join(f"{code},{day},{exposed}\n" for code, day, exposed in sorted(rows)).encode()


def public_key(seed: int) -> str:
    """Environment's public key (Ed25519), hexadecimal: 64 characters."""
    return _key(seed).public_key().public_bytes_raw().hex()


def sign_calendar(seed: int, rows: Iterable[tuple[str, str, int]]) -> str:
    """Environment's signature (Ed25519), hexadecimal: 128 characters."""
    return _key(seed).sign(calendar_text(rows)).hex()


def check_heat_calendar(database: Path, signature: Path, public: Path) -> int:
    """The number of rows of `heat_calendar` in health's database, if they are what environment signed.

    `signature` and `public` are files of hexadecimal text. Raises ValueError when the signature does not fit.
    """
    base = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        rows = base.execute("SELECT district_code, day, exposed FROM heat_calendar").fetchall()
    finally:
        base.close()
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public.read_text().strip()))
    try:
        key.verify(bytes.fromhex(signature.read_text().strip()), calendar_text(rows))
    except InvalidSignature as error:
        raise ValueError("the heat calendar is not what environment signed") from error
    return len(rows)
