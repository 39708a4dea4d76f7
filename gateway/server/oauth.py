"""Log in with a browser, as Trino's clients do it (external authentication): OpenID Connect's code flow.

A client without a token is answered 401 with two addresses (`OAuth.challenge`). It opens the first in a
browser and asks at the second until the token is there.

    GET    /oauth2/token/initiate/{sha256 of the login}   browser: off to the identity provider
    GET    /oauth2/callback                               browser: back with a code, which we exchange
    POST   /oauth2/confirm                                browser: the user says that the program is theirs
    GET    /oauth2/token/{login}                          client: the token; held up to 10 seconds
    DELETE /oauth2/token/{login}                          client: received, forget it

The login's number is known to the client alone; the browser only ever sees its hash. The browser that comes
back must be the one that set out (a cookie), with our `state`, and the code is bound to us by PKCE. A token
is handed on only if the gateway itself would accept it, and only when its user has said so: whoever makes
somebody else open the first address gets nothing by that alone.

Strangers cost no memory. What a browser must bring back it carries itself, sealed with a key that this
process alone has; a client that waits costs its connection; what is kept are tokens of users who logged in,
and apart from them a bounded number of failures.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import os
import re
import secrets
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlencode

import orjson
from cachetools import TTLCache
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from catalog.errors import AccessDenied
from catalog.http import Client, HTTPError
from catalog.identity import ASSERTION
from gateway.server.compress import body
from gateway.server.conversation import Statements
from gateway.server.session import HttpProblem, base_url

__all__ = ["OAuth", "router"]

LOGIN_SECONDS = 300
TOKEN_SECONDS = 60
"""How long a token waits for its client, which asks all the time."""
HELD_SECONDS = 10.0
MAX_LOGINS = 2_000
MAX_EXCHANGES = 8
"""Codes that are exchanged at once: a crowd of strangers with made-up ones takes no more of the server's threads."""
MAX_FORM = 20_000
NONCE_BYTES = 12
COOKIE = "atoll-login"
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class OAuth:
    """The identity provider as browsers and we reach it.

    authorize_url: where a browser logs in. token_url: where a code becomes a token. assertion: makes our
    proof of ourselves to that address (private_key_jwt). scope: what is asked for. ca: PEM file of the authority
    that vouches for `token_url`, the system's own by default.
    """

    authorize_url: str
    token_url: str
    client_id: str
    assertion: Callable[[], str]
    scope: str = "openid"
    ca: Path | None = None

    def challenge(self, base: str) -> str:
        """The WWW-Authenticate value for a client that reached us at `base`."""
        login = str(uuid.uuid4())
        return (
            f'Bearer x_redirect_server="{base}/oauth2/token/initiate/{_digest(login)}", '
            f'x_token_server="{base}/oauth2/token/{login}"'
        )

    @cached_property
    def trusted(self) -> ssl.SSLContext:
        """Whom to believe at `token_url`."""
        return ssl.create_default_context(cafile=self.ca)


def _digest(login: str) -> str:
    return hashlib.sha256(login.encode()).hexdigest()


class Refused(Exception):
    """The login failed; its text is for the user."""


# -- what a browser carries ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Journey:
    """A browser on its way through the identity provider. login: the hash. until: unix seconds."""

    login: str
    state: str
    verifier: str
    callback: str
    until: float


@dataclass(frozen=True)
class _Question:
    """What the user is asked to confirm: a token of theirs for a login, in the browser that holds the journey."""

    login: str
    state: str
    token: str
    user: str
    until: float


T = TypeVar("T", _Journey, _Question)


class _Sealer:
    """Texts that only this process can make and read."""

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))

    def seal(self, value: _Journey | _Question) -> str:
        nonce = os.urandom(NONCE_BYTES)
        kind = type(value).__name__.encode()
        sealed = nonce + self._cipher.encrypt(nonce, orjson.dumps(asdict(value)), kind)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def opened(self, text: str, kind: type[T]) -> T | None:
        """What was sealed; None for anything else, and for what is over."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            plain = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], kind.__name__.encode())
        except (ValueError, InvalidTag):
            return None
        found = kind(**orjson.loads(plain))
        return found if found.until >= time.time() else None


def _cookie(state: str) -> str:
    """One cookie a login: a browser may be on its way through several."""
    return f"{COOKIE}-{_digest(state)[:16]}"


# -- how logins ended ----------------------------------------------------------------------------------


class _Outcomes:
    """How logins ended, for the clients that wait: {"token": ..} or {"error": ..}. On the event loop alone."""

    def __init__(self) -> None:
        self._tokens: TTLCache[str, dict[str, str]] = TTLCache(MAX_LOGINS, LOGIN_SECONDS)
        # Apart: anybody can fail as often as they like, and must not push out who did not.
        self._failures: TTLCache[str, dict[str, str]] = TTLCache(MAX_LOGINS, LOGIN_SECONDS)
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def known(self, login: str) -> dict[str, str] | None:
        found = self._tokens.get(login) or self._failures.get(login)
        return dict(found) if found is not None else None

    def tell(self, login: str, **told: str) -> None:
        """The first outcome counts."""
        if self.known(login) is None:
            (self._tokens if "token" in told else self._failures)[login] = told
        for waiting in self._waiting.get(login, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, login: str, seconds: float) -> dict[str, str] | None:
        """The outcome, None if it takes longer."""
        if self.known(login) is None:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(login, []).append(waiting)
            try:
                await asyncio.wait([waiting], timeout=seconds)
            finally:
                self._waiting[login].remove(waiting)
                if not self._waiting[login]:
                    del self._waiting[login]
        return self.known(login)

    def forget(self, login: str) -> None:
        self._tokens.pop(login, None)
        self._failures.pop(login, None)


# -- the routes ----------------------------------------------------------------------------------------

UNKNOWN = "This login is not known here, or it took too long. Ask your client for a new one."


def router(statements: Statements, oauth: OAuth) -> APIRouter:
    """The routes of the login."""
    routes = APIRouter(prefix="/oauth2", include_in_schema=False)
    outcomes = _Outcomes()
    _add_browser_routes(routes, statements, oauth, outcomes)
    _add_client_routes(routes, outcomes)
    return routes


def _add_browser_routes(routes: APIRouter, statements: Statements, oauth: OAuth, outcomes: _Outcomes) -> None:
    sealer = _Sealer()
    used: TTLCache[str, bool] = TTLCache(MAX_LOGINS, LOGIN_SECONDS)
    exchanges = asyncio.Semaphore(MAX_EXCHANGES)

    @routes.get("/token/initiate/{login}")
    async def initiate(request: Request, login: str) -> Response:
        if not _HASH.match(login):
            raise HttpProblem(404, "Not found")
        base = base_url(request)
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        journey = _Journey(login, state, verifier, f"{base}/oauth2/callback", time.time() + LOGIN_SECONDS)
        response = RedirectResponse(_authorize_address(oauth, journey), 303, _QUIET)
        response.set_cookie(
            _cookie(state), sealer.seal(journey), LOGIN_SECONDS, path="/oauth2", secure=base.startswith("https:"),
            httponly=True, samesite="lax",
        )  # fmt: skip
        return response

    def journey_of(request: Request, state: str) -> _Journey | None:
        """The journey of this browser that has this state."""
        found = sealer.opened(request.cookies.get(_cookie(state), ""), _Journey)
        same = found is not None and hmac.compare_digest(found.state.encode(), state.encode())
        return found if same else None

    @routes.get("/callback")
    async def callback(request: Request, state: str = "", code: str = "", error: str = "") -> Response:
        journey = None if _digest(state) in used else journey_of(request, state)
        used[_digest(state)] = True
        if journey is None:
            return _page(UNKNOWN, 400)
        try:
            if error or not code:
                raise Refused("The identity provider did not log you in.")
            async with exchanges:
                token, user = await statements.run(_token, statements, oauth, journey, code)
        except Refused as refused:
            outcomes.tell(journey.login, error=str(refused))
            return _page(str(refused), 403)
        question = _Question(journey.login, state, token, user, time.time() + LOGIN_SECONDS)
        return _confirmation(question, sealer.seal(question))

    @routes.post("/confirm")
    async def confirm(request: Request) -> Response:
        form = parse_qs((await body(request, MAX_FORM)).decode(errors="replace"))
        question = sealer.opened(form.get("question", [""])[0], _Question)
        if question is None or journey_of(request, question.state) is None:
            return _page(UNKNOWN, 400)
        if form.get("answer") != ["yes"]:
            outcomes.tell(question.login, error="The user did not confirm the login.")
            return _page("Nobody was logged in. You can close this window.")
        outcomes.tell(question.login, token=question.token)
        return _page(f"You are logged in as {question.user}. You can close this window.")


def _add_client_routes(routes: APIRouter, outcomes: _Outcomes) -> None:
    @routes.get("/token/{login}")
    async def wait(request: Request, login: str) -> Response:
        hashed = _checked(login)
        told = await outcomes.wait(hashed, HELD_SECONDS)
        if told is None:
            return _json({"nextUri": f"{base_url(request)}/oauth2/token/{login}"})
        asyncio.get_running_loop().call_later(TOKEN_SECONDS, outcomes.forget, hashed)
        return _json(told)

    @routes.delete("/token/{login}")
    async def received(login: str) -> Response:
        outcomes.forget(_checked(login))
        return Response(status_code=204)


def _checked(login: str) -> str:
    """The hash of a login's number. Raises HttpProblem 404 for what is none."""
    try:
        is_ours = str(uuid.UUID(login)) == login
    except ValueError:
        is_ours = False
    if not is_ours:
        raise HttpProblem(404, "Not found")
    return _digest(login)


def _authorize_address(oauth: OAuth, journey: _Journey) -> str:
    """Where the browser goes at the identity provider."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(journey.verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": oauth.client_id,
        "redirect_uri": journey.callback,
        "scope": oauth.scope,
        "state": journey.state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in oauth.authorize_url else "?"
    return f"{oauth.authorize_url}{joint}{urlencode(query)}"


def _token(statements: Statements, oauth: OAuth, journey: _Journey, code: str) -> tuple[str, str]:
    """The user's token for a code, and the user. Raises Refused."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": journey.callback,
        "code_verifier": journey.verifier,
        "client_id": oauth.client_id,
        "client_assertion_type": ASSERTION,
        "client_assertion": oauth.assertion(),
    }
    try:
        with Client(timeout=10, trust_env=False, verify=oauth.trusted) as http:
            answer = http.post(oauth.token_url, data=form)
    except HTTPError as bad:
        raise Refused("The identity provider does not answer.") from bad
    try:
        token = orjson.loads(answer.content)["access_token"] if answer.status_code == 200 else ""
    except (orjson.JSONDecodeError, KeyError, TypeError):
        token = ""
    if not isinstance(token, str) or not token:
        raise Refused("The identity provider did not give a token.")
    try:
        return token, statements.gateway.authenticate(token).user
    except AccessDenied as denied:
        raise Refused("The identity provider gave a token that is not for this gateway.") from denied


_QUIET = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def _json(value: dict[str, str]) -> Response:
    return Response(orjson.dumps(value), media_type="application/json", headers=_QUIET)


def _page(text: str, status: int = 200) -> Response:
    return _html(f"<p>{html.escape(text)}</p>", status)


def _confirmation(question: _Question, sealed: str) -> Response:
    user = html.escape(question.user)
    return _html(
        f"<p>A program asks to work as <b>{user}</b>.</p>"
        "<p>Go on only if you started it yourself just now. The address that it opened or showed ends in "
        f"<code>{question.login[-8:]}</code>.</p>"
        f'<form method="post" action="/oauth2/confirm"><input type="hidden" name="question" value="{sealed}">'
        '<button name="answer" value="yes">It is mine: log it in</button> '
        '<button name="answer" value="no">Not mine</button></form>'
    )


def _html(content: str, status: int = 200) -> Response:
    body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>atoll</title><h1>atoll</h1>{content}'
    policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    return HTMLResponse(body, status, {**_QUIET, "Content-Security-Policy": policy, "X-Frame-Options": "DENY"})
