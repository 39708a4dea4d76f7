"""A question that its user signed: what a captured gateway cannot put into anybody's mouth.

The client signs, with a key of the user's own that the identity provider wrote into the user's token (`cnf`,
see `catalog.identity`), a proof for one statement and one purpose:

    JWS {typ: atoll-question+jwt, alg: EdDSA, jwk: the user's public key}
    over {qh, purpose, nonce, iat},  qh = hex SHA-256("<hex SHA-256 of the canonical SQL>|<purpose>|<nonce>")

It travels as the header `Atoll-Question` to the gateway, and with the statement's text in every fragment to
the agents. Canonical SQL: the text in NFC without blanks, line ends and semicolons around it.
What it proves, and what not: docs/decisions/006-question-proof.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import unicodedata

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from catalog import keys
from catalog.identity import PINNED
from catalog.keys import SigningKey

__all__ = ["HEADER", "SECONDS", "canonical_sql", "question_hash", "sign_question", "verify_question"]

HEADER = "Atoll-Question"
QUESTION_TYPE = "atoll-question+jwt"
SECONDS = 900
"""How long after its signature a question may be put to an agent: the longest statement, and some."""
_SKEW = 60
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")


def canonical_sql(sql: str) -> str:
    """The one form of a statement's text that is hashed."""
    return unicodedata.normalize("NFC", sql).strip(" \t\r\n;")


def question_hash(sql: str, purpose: str, nonce: str) -> str:
    """What names one question (`qh`), hex. Says nothing about the text to those who do not have it."""
    text = hashlib.sha256(canonical_sql(sql).encode()).hexdigest()
    return hashlib.sha256(f"{text}|{purpose}|{nonce}".encode()).hexdigest()


def sign_question(key: SigningKey, sql: str, purpose: str, now: float | None = None) -> str:
    """The proof for one statement under one purpose, good for `SECONDS`."""
    nonce = secrets.token_urlsafe(18)
    public = {k: key.public_jwk[k] for k in ("kty", "crv", "x")}
    header = {"alg": "EdDSA", "typ": QUESTION_TYPE, "jwk": public}
    claims = {
        "qh": question_hash(sql, purpose, nonce),
        "purpose": purpose,
        "nonce": nonce,
        "iat": int(time.time() if now is None else now),
    }
    return jwt.encode(header, claims, key.jose, registry=PINNED)


def verify_question(proof: str, sql: str, purpose: str, user_jkt: str, now: float | None = None) -> str:
    """The `qh` of a question that the user of the key `user_jkt` signed. Raises ValueError, whatever was wrong."""
    at = time.time() if now is None else now
    try:
        jwk = jws.extract_compact(proof.encode()).headers()["jwk"]
        if not user_jkt or not hmac.compare_digest(keys.thumbprint(jwk), user_jkt):
            raise ValueError("signed by another key")
        public = OKPKey.import_key({k: jwk[k] for k in ("kty", "crv", "x")})
        found = jwt.decode(proof, public, registry=PINNED)
        claims = found.claims
        qh, nonce, iat = claims["qh"], claims["nonce"], claims["iat"]
        texts = all(isinstance(t, str) for t in (qh, nonce, claims["purpose"]))
        if found.header.get("typ") != QUESTION_TYPE or not texts or not _NONCE.match(nonce):
            raise ValueError("no proof of a question")
        if not isinstance(iat, int) or not -_SKEW <= at - iat <= SECONDS:
            raise ValueError("signed too long ago")
        if claims["purpose"] != purpose or not hmac.compare_digest(qh, question_hash(sql, purpose, nonce)):
            raise ValueError("signed for another question")
    except (JoseError, KeyError, TypeError, UnicodeError) as bad:
        raise ValueError("no proof of a question") from bad
    return str(qh)
