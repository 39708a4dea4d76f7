r"""Who asks, for which purpose, through which gateway: tokens and signed requests.

Three things are checked before an agent looks at a statement, and none of them can be made by a gateway:

    token      a JWT of the city's identity provider (EdDSA or ES256, keys from a pinned set), audience
               `gateway` for a user's own token, `agent:<department>` for the one that an agent believes
    signature  the request (method, path, body, time, nonce) signed by the key that the token names (`cnf`)
    replay     each nonce is accepted once within its window, also over a restart

Claims of an agent's token: iss, sub, aud, iat, exp (<= 5 minutes), jti, purpose, purposes, cnf {jwk}.
Claims of a user's token: iss, sub, aud, iat, exp (<= 1 hour), jti, purposes. Both have `typ: at+jwt`.
A user who logged in with a key of their own (DPoP, RFC 9449) has `cnf {jkt}` in the user's token; an agent's
token says the same as `user_jkt`, so that the agent can tell what this user signed (`catalog.question`).

A department may pin the gateways too (`Pins`): then the token's `cnf` must be one of their keys, and the
connection must have shown one of the same gateway's certificates (`catalog.tls`).

A signed request carries `Authorization: Bearer <token>` and

    Atoll-Date       unix seconds, at most 60 from the agent's clock
    Atoll-Nonce      16 to 64 characters of A-Z a-z 0-9 - _
    Atoll-Signature  base64 Ed25519 over "METHOD\npath\nsha256hex(body)\nsha256hex(token)\ndate\nnonce", path
                     with its query: nobody on the way can put another user's token to a signed question

Token exchange at the identity provider (RFC 8693): `POST <issuer>/token`, form-encoded, see `exchange_form`.
Success is 200 {"access_token", "issued_token_type", "token_type": "Bearer", "expires_in"}; a refusal is 400
or 401 {"error", "error_description"}, which `exchange_error` turns into a CityError. `invalid_scope` (a
purpose that the user does not hold, or none named by a user of several) adds {"asked", "purposes": [own]}.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
from cachetools import LRUCache
from joserfc import jws, jwt
from joserfc._rfc7515.model import JWSAlgModel
from joserfc.errors import ExpiredTokenError, JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

from catalog import keys, tls
from catalog.errors import AccessDenied, CityError, DepartmentError, InternalError, Outcome
from catalog.files import read_file
from catalog.keys import Jwk, SigningKey

__all__ = [
    "AGENT_SECONDS",
    "GATEWAY_AUDIENCE",
    "PINNED",
    "USER_SECONDS",
    "MemoryReplayStore",
    "Pins",
    "Principal",
    "ReplayStore",
    "Since",
    "SqliteReplayStore",
    "TokenVerifier",
    "agent_audience",
    "client_assertion",
    "dpop_proof",
    "exchange_error",
    "exchange_form",
    "registration_bytes",
    "sign_request",
    "sign_token",
    "verify_dpop",
    "verify_request",
]

GATEWAY_AUDIENCE = "gateway"
USER_SECONDS = 3600
AGENT_SECONDS = 300
SKEW = 60
ALGORITHMS = ("EdDSA", "ES256")
TOKEN_TYPE = "at+jwt"
ASSERTION_TYPE = "client-authentication+jwt"
DPOP_TYPE = "dpop+jwt"
DPOP_SECONDS = 60
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_KEYS = 1 << 20
"""Bytes of a file of public keys."""
_log = logging.getLogger("atoll.identity")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_ONCE = ("authorization", "atoll-date", "atoll-nonce", "atoll-signature")
_SECONDS = re.compile(r"[0-9]{1,12}\Z")


def agent_audience(department: str) -> str:
    """The audience of tokens for one department's agent."""
    return f"agent:{department}"


# ---------------------------------------------------------------- tokens


@dataclass(frozen=True)
class Principal:
    """Whom a valid token speaks for.

    purpose: the one purpose of an agent's token, "" in a user's token. purposes: all that the user holds.
    exp: unix seconds. cnf_jwk: the public key that must sign the requests, None in a user's token.
    user_jkt: thumbprint of the user's own key, "" if the user logged in without one.
    claims: all claims as signed.
    """

    sub: str
    purpose: str
    purposes: tuple[str, ...]
    jti: str
    exp: int
    cnf_jwk: Jwk | None = None
    user_jkt: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)


class _PinnedRegistry(JWSRegistry):
    """Only the two pinned algorithms exist; everything else, `none` included, is unknown."""

    def get_alg(self, name: str) -> JWSAlgModel:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError("not a pinned algorithm")
        return self.algorithms[name]


PINNED = _PinnedRegistry()
VERIFIED = 2_000
"""Tokens of which a verifier remembers that their signature is good, as long as its key set stays what it is."""


def sign_token(key: SigningKey, claims: Mapping[str, Any], typ: str = TOKEN_TYPE) -> str:
    """A JWT over `claims`, signed EdDSA, `kid` = the key's thumbprint."""
    header = {"alg": "EdDSA", "kid": key.kid, "typ": typ}
    return jwt.encode(header, dict(claims), key.jose, registry=PINNED)


class TokenVerifier:
    """Verifies the tokens of one issuer for one audience.

    jwks: a JWK set, or the path of one, which is read again when the file changes (key rotation).
    Each key needs a `kid` and is pinned to its algorithm: Ed25519 to EdDSA, P-256 to ES256. It counts from
    `nbf` to `exp` if it has such members (unix seconds), and not at all once it is `revoked`.
    leeway: seconds of clock difference tolerated. For any audience but `gateway` the token must be an
    agent's: with a purpose of the user's own, a `cnf` key and at most five minutes to live.

    Raises ValueError for a key set that holds anything else, so that a wrong set is found at the start.
    """

    def __init__(self, issuer: str, audience: str, jwks: Mapping[str, Any] | str | Path, leeway: int = 5) -> None:
        self.issuer = issuer
        self.audience = audience
        self.leeway = leeway
        self._is_agent = audience != GATEWAY_AUDIENCE
        self._who = audience.removeprefix("agent:")
        self._file = Path(jwks) if isinstance(jwks, (str, Path)) else None
        self._stamp: tuple[int, ...] | None = None
        self._fault = ""
        self._keys: dict[str, tuple[ECKey | OKPKey, Jwk]] = {}
        # By a token's hash: the key set that it was verified with, the key, whom it speaks for, and from when on.
        self._verified: LRUCache[bytes, tuple[object, str, Principal, float]] = LRUCache(VERIFIED)
        self._lock = threading.Lock()
        if isinstance(jwks, Mapping):
            self._keys = _key_set(jwks)
        else:
            self._reload()

    def verify(self, token: str, now: float | None = None) -> Principal:
        """Whom the token speaks for. now: unix seconds, the clock's by default.

        Raises AccessDenied(AUTH) with one of two texts: the token has expired, or it is not valid here.
        """
        self._reload()
        at = time.time() if now is None else now
        name = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        try:
            known = self._known(name, at)
            if known is not None:
                return known
            key_set = self._keys
            decoded = jwt.decode(token, partial(self._key, at), registry=PINNED)
            if decoded.header.get("typ") != TOKEN_TYPE:
                raise self._invalid()
            self._check_times(decoded.claims, at)
            principal = self._principal(decoded.claims)
            begins = max(decoded.claims[claim] for claim in ("iat", "nbf") if claim in decoded.claims)
            with self._lock:
                self._verified[name] = key_set, str(decoded.header.get("kid", "")), principal, begins
            return principal
        except ExpiredTokenError:
            raise self._expired() from None
        except (JoseError, ValueError, TypeError):
            # Why it is not valid helps only the one who forged it.
            raise self._invalid() from None

    def _known(self, name: bytes, at: float) -> Principal | None:
        """Whom a token speaks for that was verified before, by a key that still counts, and that holds now too."""
        with self._lock:
            key_set, kid, principal, begins = self._verified.get(name, (None, "", None, math.inf))
        if principal is None or key_set is not self._keys or not keys.in_force(self._keys[kid][1], at):
            return None
        now = math.floor(at)
        return principal if begins - self.leeway <= now < principal.exp + self.leeway else None

    def _check_times(self, claims: Mapping[str, Any], at: float) -> None:
        jwt.JWTClaimsRegistry(now=math.floor(at), leeway=self.leeway).validate(dict(claims))

    def check_lasting(self, principal: Principal, now: float | None = None) -> None:
        """Raises AccessDenied(AUTH) once the token of a principal has expired: what waited must not begin then."""
        if principal.exp + self.leeway < (time.time() if now is None else now):
            raise self._expired()

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        iat, exp = claims.get("iat"), claims.get("exp")
        sub, jti = claims.get("sub"), claims.get("jti")
        if claims.get("iss") != self.issuer or claims.get("aud") != self.audience:
            raise self._invalid()
        if not isinstance(iat, int) or not isinstance(exp, int) or not _text(sub) or not _text(jti):
            raise self._invalid()
        if exp - iat > (AGENT_SECONDS if self._is_agent else USER_SECONDS):
            raise self._invalid()
        purposes = claims.get("purposes", [])
        if not isinstance(purposes, list) or not all(_text(p) for p in purposes):
            raise self._invalid()
        purpose, cnf = self._agent_claims(claims, purposes) if self._is_agent else ("", None)
        jkt = claims.get("user_jkt", "") if self._is_agent else _thumbprint_claim(claims)
        if not isinstance(jkt, str):
            raise self._invalid()
        return Principal(str(sub), purpose, tuple(purposes), str(jti), exp, cnf, jkt, dict(claims))

    def _agent_claims(self, claims: Mapping[str, Any], purposes: list[str]) -> tuple[str, Jwk]:
        purpose, cnf = claims.get("purpose"), claims.get("cnf")
        if not _text(purpose) or purpose not in purposes:
            raise self._invalid()
        jwk = cnf.get("jwk") if isinstance(cnf, dict) else None
        if not isinstance(jwk, dict):
            raise self._invalid()
        keys.thumbprint(jwk)
        return str(purpose), jwk

    def _key(self, at: float, guest: Any) -> ECKey | OKPKey:
        header = guest.headers()
        key, terms = self._keys.get(header.get("kid", ""), (None, {}))
        if key is None or not keys.in_force(terms, at):
            raise self._invalid()
        if header.get("alg") != ("EdDSA" if isinstance(key, OKPKey) else "ES256"):
            raise self._invalid()
        return key

    def _reload(self) -> None:
        if self._file is None:
            return
        try:
            seen = _stamp(os.stat(self._file))
            if seen != self._stamp:
                found, raw = read_file(self._file, MAX_KEYS)
                self._keys, self._stamp, self._fault = _key_set(orjson.loads(raw)), _stamp(found), ""
        except (OSError, ValueError) as bad:
            if not self._keys:
                raise ValueError(f"the key set {self._file.name} cannot be read") from bad
            # A half-written or vanished file must not lock the city out: the pinned keys stay. But the change may
            # have been a revocation, so somebody must look. The chained text of a JSON error quotes the file.
            fault = type(bad).__name__ if isinstance(bad, orjson.JSONDecodeError) else str(bad)
            if fault != self._fault:
                self._fault = fault
                _log.error("the key set %s cannot be read, the keys known before stay: %s", self._file.name, fault)

    def _invalid(self) -> AccessDenied:
        return AccessDenied(
            "This token is not valid here.", Outcome.AUTH, who=self._who, rule="token", hint="Log in again."
        )

    def _expired(self) -> AccessDenied:
        return AccessDenied("The token has expired.", Outcome.AUTH, who=self._who, rule="token", hint="Log in again.")


def _stamp(seen: os.stat_result) -> tuple[int, ...]:
    """What tells one content of a file from the next."""
    return (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_size)


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def _thumbprint_claim(claims: Mapping[str, Any]) -> Any:
    cnf = claims.get("cnf")
    return cnf.get("jkt", "") if isinstance(cnf, dict) else ""


def _key_set(jwks: Mapping[str, Any]) -> dict[str, tuple[ECKey | OKPKey, Jwk]]:
    found = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(found, list) or not found:
        raise ValueError("a key set needs a list `keys`")
    return dict(_public_key(jwk) for jwk in found)


def _public_key(jwk: Any) -> tuple[str, tuple[ECKey | OKPKey, Jwk]]:
    kind = (jwk.get("kty"), jwk.get("crv")) if isinstance(jwk, dict) else None
    if kind not in (("OKP", "Ed25519"), ("EC", "P-256")) or not _text(jwk.get("kid")) or "d" in jwk:
        raise ValueError("a key set holds public Ed25519 or P-256 keys with a kid, nothing else")
    try:
        plain = {k: jwk[k] for k in ("kty", "crv", "x", "y") if k in jwk}
        return jwk["kid"], (OKPKey.import_key(plain) if kind[0] == "OKP" else ECKey.import_key(plain), jwk)
    except JoseError as bad:
        raise ValueError("a malformed key in the key set") from bad


# ---------------------------------------------------------------- signed requests


class ReplayStore(Protocol):
    """Remembers nonces. Safe for use from several threads."""

    def claim(self, nonce: str, until: float, now: float) -> bool:
        """Take a nonce that stays taken until `until` (unix seconds); False if it was taken already."""

    def close(self) -> None:
        """Free what it holds."""


class MemoryReplayStore:
    """Nonces in memory: for tests and for processes that refuse all older requests after a restart."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()
        self._swept = 0.0

    def claim(self, nonce: str, until: float, now: float) -> bool:
        with self._lock:
            if self._until.get(nonce, -math.inf) >= now:
                return False
            if abs(now - self._swept) >= 1:
                self._until = {n: u for n, u in self._until.items() if u >= now}
                self._swept = now
            self._until[nonce] = until
            return True

    def close(self) -> None:
        """Nothing is held but memory."""


class SqliteReplayStore:
    """Nonces in an SQLite file, so that a restart forgets none. Raises sqlite3.Error if it cannot write."""

    def __init__(self, path: str | Path) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._lock = threading.Lock()
        # WAL with NORMAL survives a crash of the process; a nonce is worthless two minutes later, so the
        # cost of a disk flush per request would buy nothing but a power cut shorter than that.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS nonce (nonce TEXT PRIMARY KEY, until REAL) WITHOUT ROWID")
        self._db.execute("CREATE INDEX IF NOT EXISTS nonce_until ON nonce (until)")
        self._swept = 0.0

    def claim(self, nonce: str, until: float, now: float) -> bool:
        with self._lock:
            if abs(now - self._swept) >= 1:
                self._db.execute("DELETE FROM nonce WHERE until < ?", (now,))
                self._swept = now
            done = self._db.execute("INSERT OR IGNORE INTO nonce VALUES (?, ?)", (nonce, until))
            return done.rowcount == 1

    def close(self) -> None:
        with self._lock:
            self._db.close()


class Since:
    """A store of requests that begins anew: what was signed before it began may have been seen, and counts as seen.

    began: Unix seconds.
    """

    def __init__(self, store: ReplayStore, began: float) -> None:
        self._store = store
        self._began = began

    def claim(self, nonce: str, until: float, now: float) -> bool:
        return until - SKEW - 1 >= int(self._began) and self._store.claim(nonce, until, now)

    def close(self) -> None:
        self._store.close()


def _string_to_sign(method: str, path: str, body: bytes, token: str, date: str, nonce: str) -> bytes:
    digests = (hashlib.sha256(part).hexdigest() for part in (body, token.encode()))
    return "\n".join((method.upper(), path, *digests, date, nonce)).encode()


def sign_request(
    key: SigningKey,
    method: str,
    path: str,
    body: bytes = b"",
    now: float | None = None,
    nonce: str | None = None,
    token: str = "",
) -> dict[str, str]:
    """The three headers that prove who sends a request. path: the request target, with its query.

    token: the bearer token that the request carries.
    """
    date = str(int(time.time() if now is None else now))
    fresh = nonce or secrets.token_urlsafe(24)
    signature = key.sign(_string_to_sign(method, path, body, token, date, fresh))
    return {"Atoll-Date": date, "Atoll-Nonce": fresh, "Atoll-Signature": signature}


def verify_request(
    method: str,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    cnf_jwk: Jwk | None,
    replay: ReplayStore,
    now: float | None = None,
    who: str = "gateway",
) -> None:
    """Check a signed request against the key its token names. path: the request target, with its query.

    Raises AccessDenied(AUTH), one text whatever was wrong, and InternalError if the replay store fails:
    a request that cannot be remembered is not accepted.
    """
    at = time.time() if now is None else now
    found = [(k.lower(), v) for k, v in headers.items() if k.lower() in _ONCE]
    given = dict(found)
    date, nonce = given.get("atoll-date", ""), given.get("atoll-nonce", "")
    signature = given.get("atoll-signature", "")
    # Twice would mean one token for who asks and another for what was signed.
    if len(given) != len(found):
        raise _unsigned(who)
    if cnf_jwk is None or not _SECONDS.match(date) or not _NONCE.match(nonce) or abs(int(date) - at) > SKEW:
        raise _unsigned(who)
    token = given.get("authorization", "").partition(" ")[2].strip()
    if not keys.verify(cnf_jwk, _string_to_sign(method, path, body, token, date, nonce), signature):
        raise _unsigned(who)
    # Claimed last: only the holder of the key can fill the store.
    try:
        fresh = replay.claim(f"{keys.thumbprint(cnf_jwk)}:{nonce}", int(date) + SKEW + 1, at)
    except sqlite3.Error as bad:
        raise InternalError("Requests cannot be checked for replay just now.", who=who) from bad
    if not fresh:
        raise _unsigned(who)


def _unsigned(who: str) -> AccessDenied:
    return AccessDenied(
        "This request is not signed as its token demands, or was seen before.",
        Outcome.AUTH,
        who=who,
        rule="signed request",
        hint="Send it again with a new signature; check the clocks.",
    )


# ---------------------------------------------------------------- pinned gateways


class Pins:
    """The gateways that a department lets in: {"gateways": {client id: [public JWK, ..]}}, its owner's own file.

    Ed25519 keys sign requests, EC keys with `x5c` are certificates; each counts while it is in force. Read
    again when it changes. A file that cannot be read lets nobody in: the change may have been a revocation.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises ValueError for a file that is no list of gateways, so that a wrong one is found at the start."""
        self._path = Path(path)
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._gateways: list[list[_Pin]] = []
        self._version = ""
        self._read()

    @property
    def version(self) -> str:
        """Changes when the list does: SHA-256 of the file, "" while it cannot be read."""
        self._fresh()
        return self._version

    def certificates(self, now: float | None = None) -> tuple[str, ...]:
        """The client certificates (PEM) to take, of all gateways."""
        at = time.time() if now is None else now
        return tuple(pem for listed in self._fresh() for pem in tls.pinned((pin.jwk for pin in listed), at))

    def admits(self, cnf_jwk: Jwk | None, certificate: bytes | None = None, now: float | None = None) -> bool:
        """Whether one gateway has both: the key that signs, and the certificate (DER) that the connection showed.

        certificate: None where TLS ends in front of the agent; then the key decides alone.
        """
        if cnf_jwk is None:
            return False
        at, key = time.time() if now is None else now, keys.thumbprint(cnf_jwk)
        return any(
            _has_key(listed, key, at) and (certificate is None or _has_certificate(listed, certificate, at))
            for listed in self._fresh()
        )

    def _fresh(self) -> list[list[_Pin]]:
        with self._lock:
            try:
                if _stamp(os.stat(self._path)) != self._stamp:
                    self._read()
            except (OSError, ValueError):
                self._stamp, self._gateways, self._version = None, [], ""
            return self._gateways

    def _read(self) -> None:
        seen, raw = read_file(self._path, MAX_KEYS)
        found = orjson.loads(raw)
        gateways = found.get("gateways") if isinstance(found, dict) else None
        if not isinstance(gateways, dict) or not all(isinstance(listed, list) for listed in gateways.values()):
            raise ValueError(f"{self._path.name} is no list of gateways: see `atoll keys trust`")
        found = [[_pin(jwk, self._path.name) for jwk in listed] for listed in gateways.values()]
        self._gateways, self._version, self._stamp = found, hashlib.sha256(raw).hexdigest(), _stamp(seen)


@dataclass(frozen=True)
class _Pin:
    """A gateway's public key as it was read: a certificate (DER), or the name of a key that signs."""

    jwk: Jwk
    certificate: bytes | None
    key: str


def _pin(jwk: Any, file: str) -> _Pin:
    """Raises ValueError for anything but a public key."""
    if not isinstance(jwk, dict):
        raise ValueError(f"{file} holds something that is no public key")
    certificate = tls.certificate_of(jwk)
    return _Pin(jwk, certificate, "" if certificate is not None else keys.thumbprint(jwk))


def _has_key(listed: list[_Pin], key: str, at: float) -> bool:
    able = [pin.key for pin in listed if pin.key and keys.in_force(pin.jwk, at)]
    return any(hmac.compare_digest(one, key) for one in able)


def _has_certificate(listed: list[_Pin], certificate: bytes, at: float) -> bool:
    able = [pin.certificate for pin in listed if keys.in_force(pin.jwk, at)]
    return any(hmac.compare_digest(der, certificate) for der in able if der is not None)


# ---------------------------------------------------------------- registration


def registration_bytes(
    name: str, url: str, key: Jwk, listed: Sequence[Jwk], at: int, contact: str = "", title: str = ""
) -> bytes:
    """What a department signs when it registers: name, address, keys, contact, title, and when (unix seconds)."""
    public = [keys.public_jwk(jwk) for jwk in listed]
    told = {"registration": name, "url": url, "key": keys.thumbprint(key), "keys": public, "at": at}
    told |= {"contact": contact} if contact else {}
    told |= {"title": title} if title else {}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


# ---------------------------------------------------------------- a user's own key


def dpop_proof(key: SigningKey, method: str, url: str, now: float | None = None) -> str:
    """The header `DPoP` of a login (RFC 9449): the token will be bound to this key."""
    at = int(time.time() if now is None else now)
    header = {"alg": "EdDSA", "typ": DPOP_TYPE, "jwk": _plain(key.public_jwk)}
    claims = {"jti": secrets.token_urlsafe(18), "htm": method, "htu": url, "iat": at}
    return jwt.encode(header, claims, key.jose, registry=PINNED)


def verify_dpop(proof: str, method: str, url: str, replay: ReplayStore, now: float | None = None) -> str:
    """The thumbprint of the key that made a proof. Raises ValueError for a wrong, old or used one."""
    at = time.time() if now is None else now
    try:
        jwk = _plain(jws.extract_compact(proof.encode()).headers()["jwk"])
        decoded = jwt.decode(proof, OKPKey.import_key(jwk), registry=PINNED)
        claims = decoded.claims
        if decoded.header.get("typ") != DPOP_TYPE or claims["htm"] != method or claims["htu"] != url:
            raise ValueError("not a proof for this request")
        iat, jti = claims["iat"], claims["jti"]
        if not isinstance(iat, int) or not _text(jti) or abs(iat - at) > DPOP_SECONDS:
            raise ValueError("not a proof for now")
    except (JoseError, KeyError, TypeError, UnicodeError) as bad:
        raise ValueError("not a proof") from bad
    if not replay.claim(f"dpop:{keys.thumbprint(jwk)}:{jti}", iat + DPOP_SECONDS + 1, at):
        raise ValueError("a proof that was used")
    return keys.thumbprint(jwk)


def _plain(jwk: Jwk) -> Jwk:
    """The bare public key. Raises KeyFileError (a ValueError) unless it is Ed25519."""
    keys.thumbprint(jwk)
    return {k: jwk[k] for k in ("kty", "crv", "x")}


# ---------------------------------------------------------------- token exchange


def client_assertion(key: SigningKey, client_id: str, token_endpoint: str, now: float | None = None) -> str:
    """The gateway's proof of itself to the identity provider (private_key_jwt), good for one minute, once."""
    at = int(time.time() if now is None else now)
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": token_endpoint,
        "iat": at,
        "exp": at + 60,
        "jti": secrets.token_urlsafe(18),
    }
    return sign_token(key, claims, ASSERTION_TYPE)


def exchange_form(
    user_token: str,
    department: str,
    purpose: str | None,
    key: SigningKey,
    token_endpoint: str,
    client_id: str = GATEWAY_AUDIENCE,
    now: float | None = None,
) -> dict[str, str]:
    """The form of `POST <token_endpoint>`: one token for this user, this agent and this purpose.

    purpose: None lets the identity provider take the user's only one.
    """
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": user_token,
        "subject_token_type": ACCESS_TOKEN,
        "requested_token_type": ACCESS_TOKEN,
        "audience": agent_audience(department),
        "client_id": client_id,
        "client_assertion_type": ASSERTION,
        "client_assertion": client_assertion(key, client_id, token_endpoint, now),
    }
    return {**form, "purpose": purpose} if purpose else form


def exchange_error(body: Mapping[str, Any]) -> CityError:
    """A refusal of the identity provider as the error that the user sees.

    invalid_scope: PURPOSE, the hint lists the user's own purposes. invalid_grant: AUTH, the user must log
    in again. Everything else is a fault of the set-up: DOWN, since no department can be asked.
    """
    code = body.get("error")
    if code == "invalid_scope":
        own = [p for p in body.get("purposes", []) if _text(p)]
        return AccessDenied(
            "You do not hold this purpose." if body.get("asked") else "No single purpose to ask for.",
            Outcome.PURPOSE,
            rule="purpose",
            hint=f"Choose one of yours with --purpose: {', '.join(own)}." if own else "You hold no purpose.",
        )
    if code == "invalid_grant":
        return AccessDenied("Your login is not valid any more.", Outcome.AUTH, rule="token", hint="Log in again.")
    return DepartmentError(
        "The identity provider does not answer this gateway.",
        Outcome.DOWN,
        rule="token exchange",
        hint="Ask whoever runs the gateway to check its registration.",
    )
