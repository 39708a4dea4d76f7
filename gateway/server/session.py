"""Who asks, and with which session: everything that a request's headers say.

Trino's clients send their whole session with every statement; the server keeps only open transactions.
`login` turns credentials into a `Session` of the token's own user, `with_headers` adds the rest.
`Gateway` is what the servers need of the pipeline, as an interface.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, unquote_plus

from starlette.datastructures import Headers
from starlette.requests import Request

from catalog.access import AccessAnswer, AccessRequest, Application
from catalog.errors import AccessDenied, CityError, Outcome, TrinoError, UserError
from catalog.names import RelationName
from catalog.question import HEADER
from gateway.catalogue import UserView
from gateway.execution import Effects, Execution, Session
from gateway.metadata import VERSION
from gateway.server.compress import unpacked
from gateway.server.problem import HttpProblem
from gateway.statements import is_zone

if TYPE_CHECKING:
    from gateway.server.oauth import OAuth

__all__ = ["Gateway", "HttpProblem", "Options", "Transactions", "base_url", "login", "with_headers"]

MAX_PREPARED_BYTES = 1_000_000
MAX_ENTRIES = 10_000
MAX_PROOF = 2000


class Explanation(Protocol):
    """What EXPLAIN found: a text for people, one entry per fragment, and where time and bytes went if it ran."""

    @property
    def text(self) -> str: ...
    @property
    def fragments(self) -> Sequence[dict[str, Any]]: ...
    @property
    def ran(self) -> dict[str, Any] | None: ...


class Gateway(Protocol):
    """What the servers need of `gateway.pipeline.Gateway`."""

    def authenticate(self, token: str) -> Session:
        """The session (user, token) that a token proves. Raises AccessDenied(AUTH)."""

    def dev_login(self, user: str) -> str | None:
        """A token for a bare user name, None where there is no such door."""

    def submit(self, sql: str, session: Session) -> Execution: ...
    def explain(self, sql: str, session: Session, analyze: bool = False) -> Explanation: ...
    def dry_run(self, sql: str, session: Session) -> Explanation: ...
    def view(self, session: Session) -> UserView: ...
    def execution(self, query_id: str) -> Execution | None: ...
    def executions(self) -> Sequence[Execution]: ...
    def cancel(self, query_id: str, error: CityError | None = None) -> bool: ...
    def faults(self) -> Sequence[str]:
        """What keeps statements from being answered now, in words for the operator; blocks a little."""

    def request_access(self, session: Session, name: RelationName, asked: AccessRequest) -> Application: ...
    def access_requests(self, session: Session) -> list[AccessAnswer | CityError]: ...
    def contact(self, name: str) -> str:
        """Whom to ask about what a department refuses; the gateway's own for any other name."""

    def receipt(self, receipt_id: str) -> dict[str, Any] | None: ...
    def register(self, data: dict[str, Any]) -> dict[str, str]: ...
    def set_department_state(self, name: str, state: str) -> dict[str, str]: ...


@dataclass(frozen=True)
class Options:
    """How the servers behave.

    max_queries: running statements above which a client is asked to come back (503).
    poll_seconds: how long a request waits for news. abandon_seconds: after so long without a request a
    statement is cancelled; gone_seconds: the same once the client's connection is seen to have died. sweep_seconds:
    how often both are looked at.
    keep_seconds, keep_queries: how long and how many ended statements stay.
    page_memory_bytes: bound of the pages kept for a repeat, all together, as Arrow data.
    spooling: whether clients that ask for it get encoded results. spool: folder for the segments that do
    not fit into memory, None for one of its own. segment_seconds: how long a segment can be fetched.
    oauth: how users log in with their browser, None for not at all.
    require_tls: refuse credentials over plain HTTP from anywhere but this machine.
    admins: users who may approve and suspend departments. questions: folder of q*.sql, None for none.
    version: the Trino release that clients are told.
    """

    max_queries: int = 200
    poll_seconds: float = 1.0
    abandon_seconds: float = 300.0
    gone_seconds: float = 45.0
    sweep_seconds: float = 5.0
    keep_seconds: float = 900.0
    keep_queries: int = 100
    page_memory_bytes: int = 128_000_000
    spooling: bool = True
    spool: Path | None = None
    segment_seconds: float = 900.0
    require_tls: bool = True
    admins: frozenset[str] = frozenset()
    questions: Path | None = None
    oauth: OAuth | None = None
    environment: str = "atoll"
    version: str = VERSION


# -- who asks ------------------------------------------------------------------------------------------

CHALLENGES = (
    ("WWW-Authenticate", 'Basic realm="Trino"'),
    ("WWW-Authenticate", 'Bearer realm="Trino", token_type="JWT"'),
)


def unauthorized(text: str) -> HttpProblem:
    return HttpProblem(401, text, CHALLENGES)


def _login_ways(request: Request, options: Options) -> list[tuple[str, str]]:
    """One challenge for each way to log in; the browser's has addresses of its own."""
    if options.oauth is None:
        return list(CHALLENGES)
    return [*CHALLENGES, ("WWW-Authenticate", options.oauth.challenge(base_url(request)))]


def login(request: Request, gateway: Gateway, options: Options) -> Session:
    """The session of the user whom the request's credentials prove. Blocks on the identity provider.

    `Authorization: Bearer TOKEN`, or Basic with the token as password; a bare `X-Trino-User` counts only
    where the gateway has the dev-login door. Raises HttpProblem 401 or 403.
    """
    try:
        return _proven(request, gateway, options)
    except HttpProblem as refused:
        if refused.status == 401:
            refused.headers = tuple(_login_ways(request, options))
        raise


def _proven(request: Request, gateway: Gateway, options: Options) -> Session:
    user, token = _credentials(request.headers)
    if token and options.require_tls and not _is_private(request):
        raise HttpProblem(403, "Credentials are accepted over TLS only")
    named = request.headers.get("X-Trino-User", "").strip()
    if not token:
        user = user or named
        if not user:
            raise unauthorized("Log in with your token: Bearer, or Basic with the token as password")
    try:
        token = token or gateway.dev_login(user) or ""
        if not token:
            raise unauthorized("This gateway needs a token: Bearer, or Basic with the token as password")
        principal = gateway.authenticate(token)
    except AccessDenied as denied:
        raise unauthorized(denied.message) from denied
    if user and user != principal.user:
        raise unauthorized("The user name is not the token's")
    proof = request.headers.get(HEADER, "").strip()
    if len(proof) > MAX_PROOF:
        raise HttpProblem(400, f"The header {HEADER} is too long")
    return replace(principal, proof=proof)


def _credentials(headers: Headers) -> tuple[str, str]:
    """(user, token) of the Authorization header; both empty without one."""
    scheme, _, value = headers.get("Authorization", "").strip().partition(" ")
    value = value.strip()
    if not scheme:
        return "", ""
    if scheme.lower() == "bearer" and value:
        return "", value
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as bad:
            raise unauthorized("Malformed credentials") from bad
        user, _, password = text.partition(":")
        return user, password
    raise unauthorized("Unknown authentication scheme")


def _is_private(request: Request) -> bool:
    """Whether nobody can listen on the way: TLS, also ended by a proxy, or the same machine."""
    forwarded = _first(request.headers.get("X-Forwarded-Proto", ""))
    if "https" in (forwarded, request.scope.get("scheme")):
        return True
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def check_user(request: Request, principal: Session) -> None:
    """A different X-Trino-User would be impersonation, which nobody may. Raises AccessDenied."""
    named = unquote(request.headers.get("X-Trino-User", "").strip())
    if named and named != principal.user:
        raise AccessDenied(
            f"User {principal.user} cannot act as somebody else.",
            Outcome.AUTH,
            rule="identity",
            hint="Use the name that your token was made for, or none.",
        )


# -- the session ---------------------------------------------------------------------------------------

PURPOSE_TAG = "purpose:"
_UTC_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?(\d\d))?\Z")


def with_headers(principal: Session, headers: Headers) -> Session:
    """The principal's session with everything that the headers say. Raises HttpProblem 400."""
    catalog = headers.get("X-Trino-Catalog", "").strip().lower()
    schema = headers.get("X-Trino-Schema", "").strip().lower()
    if schema and not catalog:
        raise HttpProblem(400, "Schema is set but catalog is not")
    properties = dict(_entries(headers, "X-Trino-Session"))
    tags = tuple(t.strip() for t in _joined(headers, "X-Trino-Client-Tags").split(",") if t.strip())
    tagged = next((t.removeprefix(PURPOSE_TAG) for t in tags if t.startswith(PURPOSE_TAG)), "")
    zone = properties.get("time_zone_id") or _zone(headers.get("X-Trino-Time-Zone", "").strip())
    return replace(
        principal,
        purpose=properties.get("purpose", "") or tagged,
        catalog=catalog,
        schema=schema,
        properties=properties,
        prepared={name.lower(): _prepared(sql) for name, sql in _entries(headers, "X-Trino-Prepared-Statement")},
        time_zone=zone,
        source=headers.get("X-Trino-Source", ""),
        client_tags=tags,
        capabilities=frozenset(
            c.strip().upper() for c in _joined(headers, "X-Trino-Client-Capabilities").split(",") if c.strip()
        ),
        transaction=headers.get("X-Trino-Transaction-Id", "").strip(),
    )


def _joined(headers: Headers, name: str) -> str:
    """A list header, repeated or comma-joined, as one text."""
    return ",".join(headers.getlist(name))


def _entries(headers: Headers, name: str) -> list[tuple[str, str]]:
    """`name=url-encoded value` entries of a list header. Raises HttpProblem 400."""
    parts = [p.strip() for p in _joined(headers, name).split(",") if p.strip()]
    if len(parts) > MAX_ENTRIES:
        raise HttpProblem(400, f"Too many entries in {name}")
    found = []
    for part in parts:
        key, sign, value = part.partition("=")
        if not sign or not key.strip():
            raise HttpProblem(400, f"Invalid {name} header")
        found.append((unquote_plus(key.strip()), unquote_plus(value.strip())))
    return found


def _prepared(text: str) -> str:
    """A prepared statement's SQL; long ones may be compressed, as Trino's servers do."""
    if not text.startswith("$zstd:"):
        return text
    try:
        return unpacked("zstd", base64.urlsafe_b64decode(text.removeprefix("$zstd:")), MAX_PREPARED_BYTES).decode()
    except ValueError as bad:
        raise HttpProblem(400, "Invalid X-Trino-Prepared-Statement header") from bad


def _zone(text: str) -> str:
    if not text or text == "Z":
        return "UTC"
    offset = _UTC_OFFSET.match(text)
    zone = f"{offset[1]}{int(offset[2]):02d}:{offset[3] or '00'}" if offset else text
    if not is_zone(zone):
        raise HttpProblem(400, "Invalid X-Trino-Time-Zone header")
    return zone


# -- addresses -----------------------------------------------------------------------------------------

_HOST = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?\Z")


_ADDRESS = (b"host", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port")


def _first(text: str) -> str:
    return text.split(",")[0].strip()


def base_url(request: Request) -> str:
    """The address that the client used, also behind a proxy. Raises HttpProblem 400 for a malformed one."""
    # Of a header that comes twice the first counts, as everywhere.
    told = {name: value.decode("latin-1") for name, value in reversed(request.headers.raw) if name in _ADDRESS}
    host, proto, forwarded_host, forwarded_port = (told.get(name, "") for name in _ADDRESS)
    forwarded = _first(proto).lower()
    scheme = forwarded if forwarded in ("http", "https") else request.scope.get("scheme", "http")
    host = _first(forwarded_host) or host
    if not _HOST.match(host):
        raise HttpProblem(400, "Invalid host")
    port = _first(forwarded_port)
    if port.isdigit() and not re.search(r":\d+\Z", host) and port != {"http": "80", "https": "443"}[scheme]:
        host = f"{host}:{port}"
    return f"{scheme}://{host}"


# -- transactions --------------------------------------------------------------------------------------


@dataclass
class _Transaction:
    user: str
    used: float = field(default_factory=time.monotonic)
    aborted: bool = False


class Transactions:
    """Open transactions. Nothing is ever written, so that they only answer for what clients expect."""

    def __init__(self, idle_seconds: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._open: dict[str, _Transaction] = {}
        self._lock = threading.Lock()
        self._idle = idle_seconds
        self._clock = clock

    def check(self, session: Session, word: str) -> None:
        """Raise unless a statement that starts with `word` may run in the session's transaction."""
        name = session.transaction
        if name.upper() in ("", "NONE"):
            return
        with self._lock:
            found = self._open.get(name)
            if found is None or found.user != session.user:
                raise UserError("Unknown transaction.", trino=TrinoError.UNKNOWN_TRANSACTION)
            found.used = self._clock()
            if not found.aborted or word == "ROLLBACK":
                return
        raise UserError("The transaction was aborted; roll it back.", trino=TrinoError.TRANSACTION_ALREADY_ABORTED)

    def apply(self, effects: Effects, session: Session) -> Effects:
        """Open or close what a finished statement asked for; the effects with the new id in them."""
        with self._lock:
            if effects.clear_transaction:
                self._open.pop(session.transaction, None)
            if not effects.started_transaction:
                return effects
            name = secrets.token_hex(16)
            self._open[name] = _Transaction(session.user, self._clock())
        return replace(effects, started_transaction=name)

    def abort(self, session: Session) -> None:
        """A statement failed or was closed early: its transaction can only be rolled back."""
        with self._lock:
            found = self._open.get(session.transaction)
            if found is not None and found.user == session.user:
                found.aborted = True

    def expire(self) -> None:
        """Forget transactions that nobody used for a while."""
        with self._lock:
            for name in [n for n, t in self._open.items() if t.used < self._clock() - self._idle]:
                del self._open[name]
