"""The demo identity provider's page to log in at: OAuth 2's authorization code with PKCE (RFC 6749, 7636).

    GET  /authorize   the page; POST /authorize with user and password -> back to the client with a code
    POST /token       grant_type=authorization_code (`idp.py` passes it on): a code -> the user's own token

For registered clients alone, which prove themselves by their key when they redeem the code. Since this is a
demonstration, codes go to `/oauth2/callback` on this machine only. A code lives a minute and works once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from cachetools import TTLCache
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from catalog.tls import is_loopback

__all__ = ["GRANT", "Codes", "add_page"]

GRANT = "authorization_code"
CODE_SECONDS = 60
CALLBACK = "/oauth2/callback"
ASKED = ("response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True)
class _Code:
    user: str
    client_id: str
    redirect_uri: str
    challenge: str


class Codes:
    """Codes on their way from a browser to its client."""

    def __init__(self) -> None:
        self._codes: TTLCache[str, _Code] = TTLCache(1000, CODE_SECONDS)

    def issue(self, user: str, asked: dict[str, str]) -> str:
        """A code for a user who has just logged in. asked: the parameters of /authorize, checked."""
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(user, asked["client_id"], asked["redirect_uri"], asked["code_challenge"])
        return code

    def redeem(self, form: dict[str, str]) -> str | None:
        """The user of a code, once; None unless its own client comes with its address and PKCE verifier."""
        found = self._codes.pop(form.get("code", ""), None)
        if found is None:
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_same = (found.client_id, found.redirect_uri) == (form.get("client_id"), form.get("redirect_uri"))
        return found.user if is_same and hmac.compare_digest(found.challenge, proof) else None


class Provider(Protocol):
    """What the page needs of the identity provider."""

    codes: Codes

    def knows_client(self, client_id: str) -> bool: ...
    def is_password(self, user: str, password: str) -> bool: ...


def add_page(app: FastAPI, provider: Provider, form_of: Callable[[Request], Awaitable[dict[str, str]]]) -> None:
    """Add the two routes. form_of: reads a request's form-encoded body."""

    @app.get("/authorize")
    async def ask(request: Request) -> Response:
        asked = {name: request.query_params.get(name, "") for name in ASKED}
        fault = _fault(asked, provider)
        return _refused(fault) if fault else _page(asked)

    @app.post("/authorize")
    async def log_in(request: Request) -> Response:
        form = await form_of(request)
        asked = {name: form.get(name, "") for name in ASKED}
        fault = _fault(asked, provider)
        if fault:
            return _refused(fault)
        user = form.get("user", "")
        if not await run_in_threadpool(provider.is_password, user, form.get("password", "")):
            return _page(asked, "Unknown user or wrong password.")
        back = urlencode({"code": provider.codes.issue(user, asked), "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 303, _QUIET)


def _fault(asked: dict[str, str], provider: Provider) -> str:
    """Why nobody is sent anywhere, "" if nothing is wrong."""
    callback = urlsplit(asked["redirect_uri"])
    if asked["response_type"] != "code" or not provider.knows_client(asked["client_id"]):
        return "The client is not registered here, or asks for something else than a code."
    is_here = callback.scheme in ("http", "https") and is_loopback(callback.hostname or "")
    if not is_here or callback.path != CALLBACK or callback.query or callback.fragment:
        return "The client's address is not one that this demonstration sends codes to."
    if asked["code_challenge_method"] != "S256" or not _CHALLENGE.match(asked["code_challenge"]):
        return "The client does not protect the code (PKCE, S256)."
    return ""


_QUIET = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_HEADERS = {
    **_QUIET,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
_STYLE = (
    "body{font:16px/1.5 system-ui;max-width:22rem;margin:4rem auto}"
    "input,button{display:block;width:100%;margin:.5rem 0}"
)


def _refused(text: str) -> Response:
    return HTMLResponse(_document(f"<p>{html.escape(text)}</p>"), 400, _HEADERS)


def _page(asked: dict[str, str], fault: str = "") -> Response:
    hidden = "".join(f'<input type="hidden" name="{n}" value="{html.escape(v, quote=True)}">' for n, v in asked.items())
    told = f"<p><strong>{html.escape(fault)}</strong></p>" if fault else ""
    body = (
        f"{told}<p>A program asks for a login to the gateway in your name. Go on only if you started it.</p>"
        f'<form method="post" action="authorize">{hidden}'
        '<label>User<input name="user" autocomplete="username" required autofocus></label>'
        '<label>Password<input name="password" type="password" autocomplete="current-password" required></label>'
        "<button>Log in</button></form>"
    )
    return HTMLResponse(_document(body), 401 if fault else 200, _HEADERS)


def _document(body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Log in: atoll demo</title><style>{_STYLE}</style>'
        f"<h1>Log in</h1>{body}</html>"
    )
