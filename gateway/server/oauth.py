"""Log in with a browser, as Trino's clients do it (external authentication): OpenID Connect's code flow.

A client without a token is answered 401 with two addresses (`OAuth.challenge`). It opens the first in a
browser and asks at the second until the token is there.

    GET    /oauth2/token/initiate/{sha256 of the login}   browser: off to the identity provider
    GET    /oauth2/callback                               browser: back with a code, which we exchange
    GET    /oauth2/token/{login}                          client: the token; held up to 10 seconds
    DELETE /oauth2/token/{login}                          client: received, forget it

The login's number is known to the client alone; the browser only ever sees its hash. A challenge costs no
memory: what is kept begins with the browser, is bounded, and lives for minutes. The browser that comes
back must be the one that set out (a cookie), with our `state`, and the code is bound to us by PKCE. A token
is handed on only if the gateway itself would accept it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import orjson
from cachetools import TTLCache
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from catalog.errors import AccessDenied
from catalog.http import Client, HTTPError
from catalog.identity import ASSERTION
from gateway.server.conversation import Statements
from gateway.server.session import HttpProblem, base_url

__all__ = ["OAuth", "router"]

LOGIN_SECONDS = 300
TOKEN_SECONDS = 60
"""How long a token waits for its client, which asks all the time."""
HELD_SECONDS = 10.0
MAX_LOGINS = 2_000
COOKIE = "atoll-login"
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class OAuth:
    """The identity provider as browsers and we reach it.

    authorize_url: where a browser logs in. token_url: where a code becomes a token. assertion: makes our
    proof of ourselves to that address (private_key_jwt). scope: what is asked for.
    """

    authorize_url: str
    token_url: str
    client_id: str
    assertion: Callable[[], str]
    scope: str = "openid"

    def challenge(self, base: str) -> str:
        """The WWW-Authenticate value for a client that reached us at `base`."""
        login = str(uuid.uuid4())
        return (
            f'Bearer x_redirect_server="{base}/oauth2/token/initiate/{_digest(login)}", '
            f'x_token_server="{base}/oauth2/token/{login}"'
        )


def _digest(login: str) -> str:
    return hashlib.sha256(login.encode()).hexdigest()


@dataclass(frozen=True)
class _Journey:
    """A browser on its way through the identity provider. browser: the secret in its cookie."""

    login: str
    browser: str
    verifier: str
    callback: str

    @property
    def cookie(self) -> str:
        """One cookie a login: a browser may be on its way through several."""
        return f"{COOKIE}-{self.login[:16]}"


class _Outcome:
    """How a login ended, for the client that waits."""

    def __init__(self) -> None:
        self.known = asyncio.Event()
        self.told: dict[str, str] = {}

    def tell(self, **told: str) -> None:
        if not self.known.is_set():
            self.told = told
            self.known.set()


class Refused(Exception):
    """The login failed; its text is for the user."""


def router(statements: Statements, oauth: OAuth) -> APIRouter:
    """The routes of the login."""
    routes = APIRouter(prefix="/oauth2", include_in_schema=False)
    journeys: TTLCache[str, _Journey] = TTLCache(MAX_LOGINS, LOGIN_SECONDS)
    outcomes: TTLCache[str, _Outcome] = TTLCache(MAX_LOGINS, LOGIN_SECONDS)

    @routes.get("/token/initiate/{login}")
    async def initiate(request: Request, login: str) -> Response:
        if not _HASH.match(login):
            raise HttpProblem(404, "Not found")
        base = base_url(request)
        state, browser, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        journey = journeys[state] = _Journey(login, browser, verifier, f"{base}/oauth2/callback")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": oauth.client_id,
            "redirect_uri": journey.callback,
            "scope": oauth.scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in oauth.authorize_url else "?"
        response = RedirectResponse(f"{oauth.authorize_url}{joint}{urlencode(query)}", 303, _QUIET)
        response.set_cookie(
            journey.cookie, browser, LOGIN_SECONDS, path="/oauth2", secure=base.startswith("https:"), httponly=True,
            samesite="lax",
        )  # fmt: skip
        return response

    @routes.get("/callback")
    async def callback(request: Request, state: str = "", code: str = "", error: str = "") -> Response:
        journey = journeys.pop(state, None)
        cookie = request.cookies.get(journey.cookie, "") if journey is not None else ""
        if journey is None or not hmac.compare_digest(journey.browser.encode(), cookie.encode()):
            return _page("This login is not known here, or it took too long. Ask your client for a new one.", 400)
        outcome = outcomes.setdefault(journey.login, _Outcome())
        try:
            if error or not code:
                raise Refused("The identity provider did not log you in.")
            token, user = await statements.run(_token, statements, oauth, journey, code)
        except Refused as refused:
            outcome.tell(error=str(refused))
            return _page(str(refused), 403)
        outcome.tell(token=token)
        return _page(f"You are logged in as {user}. You can close this window.")

    @routes.get("/token/{login}")
    async def wait(request: Request, login: str) -> Response:
        _check(login)
        outcome = outcomes.setdefault(_digest(login), _Outcome())
        try:
            await asyncio.wait_for(outcome.known.wait(), HELD_SECONDS)
        except TimeoutError:
            return _json({"nextUri": f"{base_url(request)}/oauth2/token/{login}"})
        asyncio.get_running_loop().call_later(TOKEN_SECONDS, outcomes.pop, _digest(login), None)
        return _json(outcome.told)

    @routes.delete("/token/{login}")
    async def received(login: str) -> Response:
        _check(login)
        outcomes.pop(_digest(login), None)
        return Response(status_code=204)

    return routes


def _check(login: str) -> None:
    try:
        is_ours = str(uuid.UUID(login)) == login
    except ValueError:
        is_ours = False
    if not is_ours:
        raise HttpProblem(404, "Not found")


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
        with Client(timeout=10, trust_env=False) as http:
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
    shown = html.escape(text)
    body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>atoll</title><h1>atoll</h1><p>{shown}</p>'
    headers = {**_QUIET, "Content-Security-Policy": "default-src 'none'"}
    return HTMLResponse(body, status, headers)
