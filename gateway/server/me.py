"""`GET /api/me`: who the gateway takes the caller for, and which purposes are the caller's to choose from."""

from __future__ import annotations

import base64

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel

from gateway.server.session import login
from gateway.server.statement import Statements

__all__ = ["router"]


class Me(BaseModel):
    """purposes: all that the user holds, in the identity provider's order."""

    user: str
    purposes: list[str]


def router(statements: Statements) -> APIRouter:
    """The one route."""
    routes = APIRouter(prefix="/api", tags=["api"])

    @routes.get("/me")
    async def me(request: Request) -> Me:
        """Who is asking. The page fills its choice of purposes from it."""
        session = await statements.run(login, request, statements.gateway, statements.options)
        return Me(user=session.user, purposes=_purposes(session.token))

    return routes


def _purposes(token: str) -> list[str]:
    """The purposes that a token names; `login` has verified it."""
    payload = token.split(".")[1]
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return [str(purpose) for purpose in claims.get("purposes", [])]
