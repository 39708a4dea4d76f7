"""The demonstration city's identity provider: a separate process that neither gateway nor agents can be.

    python -m atoll.demo.idp --dir D --port N [--host H] [--issuer URL] [--dev-login]

    GET  /.well-known/openid-configuration   discovery (OpenID Connect)
    GET  /jwks                               public keys; agents pin the same set from D/jwks.json
    POST /token        RFC 8693 exchange, form-encoded (`catalog.identity.exchange_form`): a user's token plus
                       the gateway's proof of itself -> a token for one agent and purpose, bound to its key
    POST /login        {"user", "password"} -> {"access_token", "token_type", "expires_in"}, audience: gateway
    POST /dev-login    {"user"} -> the same, without a password: `--dev-login` only, loopback only
    GET  /authorize    the page to log in at, for programs that open a browser (`authorize.py`)
    GET  /healthz

A login may carry a `DPoP` header (RFC 9449): the token is then bound to that key of the user's own, `cnf {jkt}`,
and so is every token that it is exchanged for, `user_jkt`.

Files in D, each made at the first start if it is missing: `idp.jwk` (0600), `jwks.json`, `users.yaml`
(users, purposes, salted password hashes), `passwords.json` (0600, what to type), `clients.json` (client id
-> public key, or a list of keys with their terms). All are read again when they change: `atoll keys rotate D`
needs no restart.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlsplit

import orjson
import uvicorn
import yaml
from fastapi import FastAPI, Request, Response
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool

from atoll.demo import authorize
from catalog import identity, keys
from catalog.errors import AccessDenied
from catalog.identity import (
    ACCESS_TOKEN,
    AGENT_SECONDS,
    ASSERTION,
    ASSERTION_TYPE,
    GATEWAY_AUDIENCE,
    GRANT_TYPE,
    USER_SECONDS,
    SqliteReplayStore,
    TokenVerifier,
    sign_token,
    verify_dpop,
)
from catalog.keys import Jwk, KeyRing
from catalog.names import is_plain
from catalog.tls import is_loopback

__all__ = ["DEMO_USERS", "IdentityProvider", "create_app", "prepare", "publish", "register_client"]

DEMO_USERS: dict[str, tuple[str, ...]] = {
    "lin": ("mass-balance",),
    "chen": ("public-health",),
    "wu": ("benefit-eligibility",),
    "he": ("benefit-eligibility",),
    "luo": ("benefit-eligibility",),
    "ma": ("benefit-eligibility",),
    "bi": ("statistics",),
    "mei": ("inspection", "statistics"),
    "fang": ("tax-audit",),
    "gao": ("leak-audit",),
    "tang": ("planning",),
    "zhao": ("audit",),
    "sun": (),
}
MAX_BODY = 64 * 1024
T = TypeVar("T")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class User(_Strict):
    """purposes: all that the user holds. password: scrypt `salt:hash`, base64; "" = none will do."""

    purposes: tuple[str, ...] = ()
    password: str = ""


class Users(_Strict):
    users: dict[str, User]


class LoginBody(_Strict):
    user: str
    password: str


class DevLoginBody(_Strict):
    user: str


class Refused(Exception):
    """An OAuth error answer (RFC 6749 part 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400, **extra: Any) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description, **extra}


class _Watched(Generic[T]):
    """A parsed file, parsed again when it changes; the old value stays while a new one does not parse."""

    def __init__(self, path: Path, read: Callable[[bytes], T]) -> None:
        self._path, self._read = path, read
        self._stamp = self._now()
        self._value = read(path.read_bytes())

    def _now(self) -> tuple[int, int]:
        seen = self._path.stat()
        return seen.st_mtime_ns, seen.st_size

    @property
    def value(self) -> T:
        try:
            stamp = self._now()
            if stamp != self._stamp:
                self._value = self._read(self._path.read_bytes())
                self._stamp = stamp
        except (OSError, ValueError, yaml.YAMLError):
            return self._value
        return self._value


def _read_users(raw: bytes) -> dict[str, User]:
    return Users.model_validate(yaml.safe_load(raw)).users


def _read_clients(raw: bytes) -> dict[str, list[Jwk]]:
    clients = orjson.loads(raw)
    if not isinstance(clients, dict):
        raise ValueError("clients.json maps client ids to public keys")
    listed = {name: found if isinstance(found, list) else [found] for name, found in clients.items()}
    for jwk in (jwk for found in listed.values() for jwk in found):
        keys.thumbprint(jwk)
    return listed


# ---------------------------------------------------------------- files


def prepare(folder: Path, users: dict[str, tuple[str, ...]] | None = None) -> KeyRing:
    """Make whatever is missing in the provider's folder; returns its signing keys. users: name -> purposes."""
    folder.mkdir(parents=True, exist_ok=True)
    ring = KeyRing.create(folder / "idp.jwk")
    publish(folder)
    if not (folder / "users.yaml").exists():
        passwords = {name: secrets.token_urlsafe(12) for name in (users or DEMO_USERS)}
        _write(folder / "passwords.json", orjson.dumps(passwords, option=orjson.OPT_INDENT_2), 0o600)
        listed = {
            name: {"purposes": list(purposes), "password": _hash(passwords[name])}
            for name, purposes in (users or DEMO_USERS).items()
        }
        _write(folder / "users.yaml", yaml.safe_dump({"users": listed}, sort_keys=False).encode(), 0o600)
    if not (folder / "clients.json").exists():
        _write(folder / "clients.json", b"{}")
    return ring


def publish(folder: Path) -> None:
    """Write `jwks.json` out of the provider's own keys: what gateways and agents pin."""
    _write(folder / "jwks.json", orjson.dumps(_key_set(KeyRing(folder / "idp.jwk"))))


def _key_set(ring: KeyRing) -> dict[str, Any]:
    return {"keys": [{**jwk, "alg": "EdDSA", "use": "sig"} for jwk in ring.public() if "revoked" not in jwk]}


def register_client(folder: Path, client_id: str, public: Jwk | list[Jwk]) -> None:
    """Let a gateway exchange tokens with this key, or with each of these while it counts; replaces what it had."""
    file = folder / "clients.json"
    clients = _read_clients(file.read_bytes()) if file.exists() else {}
    _write(file, orjson.dumps({**clients, client_id: public}, option=orjson.OPT_INDENT_2))


def _write(file: Path, data: bytes, mode: int = 0o644) -> None:
    keys.replace_file(file, data, mode)


def _hash(password: str, salt: bytes | None = None) -> str:
    grain = salt or secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=grain, n=2**12, r=8, p=1)
    return f"{base64.b64encode(grain).decode()}:{base64.b64encode(digest).decode()}"


_NOBODY = User(password=_hash(secrets.token_urlsafe(12)))


def _password_fits(user: User | None, password: str) -> bool:
    """Takes the same time for users that do not exist."""
    known = user if user is not None and user.password else _NOBODY
    salt = base64.b64decode(known.password.partition(":")[0])
    return hmac.compare_digest(_hash(password, salt), known.password) and known is not _NOBODY


# ---------------------------------------------------------------- the provider


@dataclass(frozen=True)
class Issued:
    token: str
    seconds: int

    def body(self) -> dict[str, Any]:
        return {"access_token": self.token, "token_type": "Bearer", "expires_in": self.seconds}


class IdentityProvider:
    """Signs tokens out of a folder of files. now: unix seconds, replaceable in tests."""

    def __init__(self, folder: Path, issuer: str, now: Callable[[], float] = time.time) -> None:
        self._ring = prepare(folder)
        self.issuer = issuer
        self.token_endpoint = f"{issuer}/token"
        self.codes = authorize.Codes()
        self._now = now
        self._users = _Watched(folder / "users.yaml", _read_users)
        self._clients = _Watched(folder / "clients.json", _read_clients)
        self._subjects = TokenVerifier(issuer, GATEWAY_AUDIENCE, folder / "jwks.json")
        self._replay = SqliteReplayStore(folder / "assertions.sqlite")

    @property
    def jwks(self) -> dict[str, Any]:
        """The public keys, with their terms."""
        return _key_set(self._ring)

    def bound_key(self, proof: str | None, path: str) -> str:
        """The thumbprint of the key that a login's `DPoP` header proves, "" without one. Raises Refused."""
        if proof is None:
            return ""
        try:
            return verify_dpop(proof, "POST", f"{self.issuer}{path}", self._replay, self._now())
        except ValueError:
            raise Refused("invalid_dpop_proof", "The DPoP proof does not fit this request.") from None

    def login(self, name: str, password: str, jkt: str = "") -> Issued:
        """A user's own token, by password. jkt: of the key to bind it to. Raises Refused(invalid_grant)."""
        if not _password_fits(self._users.value.get(name), password):
            raise Refused("invalid_grant", "Unknown user or wrong password.", 401)
        return self._user_token(name, jkt)

    def knows_client(self, client_id: str) -> bool:
        """Whether a client is registered."""
        return client_id in self._clients.value

    def is_password(self, name: str, password: str) -> bool:
        """Whether this is the user's password."""
        return _password_fits(self._users.value.get(name), password)

    def redeem(self, form: dict[str, str]) -> Issued:
        """A user's own token, for the code of a login at /authorize. Raises Refused."""
        self._client(form)
        user = self.codes.redeem(form)
        if user is None or user not in self._users.value:
            raise Refused("invalid_grant", "The code is not valid.")
        return self._user_token(user, "")

    def dev_login(self, name: str, jkt: str = "") -> Issued:
        """A demo user's token, by bare name. Raises Refused(invalid_grant), which names the users."""
        if name not in self._users.value:
            known = ", ".join(self._users.value)
            raise Refused("invalid_grant", f"This city has no user of that name; its users are {known}.", 401)
        return self._user_token(name, jkt)

    def exchange(self, form: dict[str, str]) -> Issued:
        """RFC 8693: a token for one agent and purpose, bound to the client's key. Raises Refused."""
        if form.get("grant_type") != GRANT_TYPE:
            raise Refused("unsupported_grant_type", "This endpoint exchanges tokens only (RFC 8693).")
        client_key = self._client(form)
        if form.get("subject_token_type") != ACCESS_TOKEN:
            raise Refused("invalid_request", "subject_token_type must be an access token.")
        if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
            raise Refused("invalid_request", "requested_token_type must be an access token.")
        kind, _, department = form.get("audience", "").partition(":")
        if kind != "agent" or not is_plain(department):
            raise Refused("invalid_target", "audience must be agent:<department>.")
        subject = self._subject(form.get("subject_token", ""))
        held = self._users.value.get(subject.sub, User()).purposes
        purpose = _choose(form.get("purpose") or form.get("scope") or "", held)
        at = int(self._now())
        seconds = min(AGENT_SECONDS, subject.exp - at)
        claims = {
            "purpose": purpose,
            "purposes": list(held),
            "cnf": {"jwk": client_key},
            "azp": form["client_id"],
            **({"user_jkt": subject.user_jkt} if subject.user_jkt else {}),
        }
        return self._issue(subject.sub, identity.agent_audience(department), seconds, claims)

    def _user_token(self, name: str, jkt: str = "") -> Issued:
        bound = {"cnf": {"jkt": jkt}} if jkt else {}
        claims = {"purposes": list(self._users.value[name].purposes), **bound}
        return self._issue(name, GATEWAY_AUDIENCE, USER_SECONDS, claims)

    def _issue(self, sub: str, audience: str, seconds: int, claims: dict[str, Any]) -> Issued:
        at = int(self._now())
        base = {"iss": self.issuer, "sub": sub, "aud": audience, "iat": at, "nbf": at, "exp": at + seconds}
        return Issued(sign_token(self._ring.signing(), {**base, "jti": secrets.token_urlsafe(16), **claims}), seconds)

    def _subject(self, token: str) -> identity.Principal:
        try:
            subject = self._subjects.verify(token, self._now())
        except AccessDenied:
            raise Refused("invalid_grant", "The user's token is not valid.") from None
        # The leeway for clocks must not turn into a token that is born dead.
        if subject.exp <= self._now():
            raise Refused("invalid_grant", "The user's token is not valid.")
        return subject

    def _client(self, form: dict[str, str]) -> Jwk:
        """The registered key by which the client proves itself (private_key_jwt)."""
        refusal = Refused("invalid_client", "The client did not prove itself.", 401)
        client_id, assertion = form.get("client_id", ""), form.get("client_assertion", "")
        if form.get("client_assertion_type") != ASSERTION:
            raise refusal
        jwk = self._signer(client_id, assertion)
        if jwk is None:
            raise refusal
        key = OKPKey.import_key({k: jwk[k] for k in ("kty", "crv", "x")})
        try:
            proof = jwt.decode(assertion, key, registry=identity.PINNED)
            jwt.JWTClaimsRegistry(now=int(self._now()), leeway=5).validate(proof.claims)
        except (JoseError, ValueError, TypeError):
            raise refusal from None
        exp, jti = proof.claims.get("exp"), proof.claims.get("jti")
        if (
            proof.header.get("typ") != ASSERTION_TYPE
            or proof.claims.get("iss") != client_id
            or proof.claims.get("sub") != client_id
            or proof.claims.get("aud") not in (self.token_endpoint, self.issuer)
            or not isinstance(exp, int)
            or exp > self._now() + 120
            or not isinstance(jti, str)
            or not 0 < len(jti) <= 200
            or not self._replay.claim(f"{client_id}:{jti}", exp + 6, self._now())
        ):
            raise refusal
        return {**{k: jwk[k] for k in ("kty", "crv", "x")}, "kid": keys.thumbprint(jwk)}

    def _signer(self, client_id: str, assertion: str) -> Jwk | None:
        """The client's key that an assertion names, if it counts now; the signature is still to be checked."""
        try:
            kid = jws.extract_compact(assertion.encode()).headers().get("kid")
        except (JoseError, ValueError, TypeError):
            return None
        able = [jwk for jwk in self._clients.value.get(client_id, []) if keys.in_force(jwk, self._now())]
        return next((jwk for jwk in able if keys.thumbprint(jwk) == kid), None)


def _choose(asked: str, held: tuple[str, ...]) -> str:
    """The purpose asked for, or the user's only one. Raises Refused(invalid_scope) with the user's own."""
    if asked in held:
        return asked
    if not asked and len(held) == 1:
        return held[0]
    if asked:
        text = "The user does not hold this purpose."
    elif held:
        text = "The user holds several purposes: name one."
    else:
        text = "The user holds no purpose."
    raise Refused("invalid_scope", text, asked=asked, purposes=list(held))


# ---------------------------------------------------------------- HTTP


def create_app(provider: IdentityProvider, *, dev_login: bool = False) -> FastAPI:
    """The provider over HTTP. dev_login: open the door without passwords, for this machine alone."""
    app = FastAPI(title="atoll demo identity provider", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> Response:
        return _json(error.body, error.status)

    @app.get("/healthz")
    async def healthz() -> Response:
        return _json({"status": "up"})

    @app.get("/jwks")
    async def jwks() -> Response:
        return _json(provider.jwks)

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> Response:
        return _json(_discovery(provider))

    @app.post("/token")
    async def token(request: Request) -> Response:
        form = _form(await _body(request))
        if form.get("grant_type") == authorize.GRANT:
            return _json(provider.redeem(form).body())
        issued = provider.exchange(form)
        return _json({**issued.body(), "issued_token_type": ACCESS_TOKEN})

    @app.post("/login")
    async def login(request: Request) -> Response:
        body = _parse(LoginBody, await _body(request))
        # Password hashing takes tens of milliseconds by design: keep it off the event loop.
        jkt = provider.bound_key(request.headers.get("dpop"), "/login")
        issued = await run_in_threadpool(provider.login, body.user, body.password, jkt)
        return _json(issued.body())

    async def form_of(request: Request) -> dict[str, str]:
        return _form(await _body(request))

    authorize.add_page(app, provider, form_of)

    if dev_login:

        @app.post("/dev-login")
        async def open_door(request: Request) -> Response:
            _require_this_machine(request)
            body = _parse(DevLoginBody, await _body(request))
            jkt = provider.bound_key(request.headers.get("dpop"), "/dev-login")
            return _json(provider.dev_login(body.user, jkt).body())

    return app


def _discovery(provider: IdentityProvider) -> dict[str, Any]:
    return {
        "issuer": provider.issuer,
        "jwks_uri": f"{provider.issuer}/jwks",
        "token_endpoint": provider.token_endpoint,
        "authorization_endpoint": f"{provider.issuer}/authorize",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "subject_types_supported": ["public"],
        "grant_types_supported": [GRANT_TYPE, authorize.GRANT],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["EdDSA"],
    }


def _require_this_machine(request: Request) -> None:
    """Refuse proxies, web pages (also by DNS rebinding) and other machines at the door without passwords."""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    relayed = {"forwarded", "x-forwarded-for", "x-real-ip", "origin"} & set(request.headers.keys())
    if relayed or request.client is None or not is_loopback(request.client.host) or not is_loopback(host):
        raise Refused("access_denied", "The demo's open door is for programs on this machine alone.", 403)


async def _body(request: Request) -> bytes:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise Refused("invalid_request", "The request is too large.", 413)
    return data


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=30)
    except ValueError:
        raise Refused("invalid_request", "The body is not form-encoded.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Refused("invalid_request", "A parameter appears twice.")
    return form


B = TypeVar("B", bound=BaseModel)


def _parse(model: type[B], body: bytes) -> B:
    try:
        return model.model_validate_json(body)
    except ValidationError:
        fields = ", ".join(model.model_fields)
        raise Refused("invalid_request", f"Send a JSON object with: {fields}.") from None


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, "application/json")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m atoll.demo.idp", description="The demo's identity provider.")
    parser.add_argument("--dir", type=Path, required=True, help="folder of keys, users and clients")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--issuer", default="", help="its own address, http://HOST:PORT by default")
    parser.add_argument("--dev-login", action="store_true", help="hand out tokens by bare name, loopback only")
    args = parser.parse_args(argv)
    if args.dev_login and not is_loopback(args.host):
        parser.error("--dev-login needs a loopback --host: that door knows no passwords")
    provider = IdentityProvider(args.dir, args.issuer or f"http://{args.host}:{args.port}")
    uvicorn.run(
        create_app(provider, dev_login=args.dev_login),
        host=args.host,
        port=args.port,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
