"""What a captured gateway can send to an agent: any bytes, signed by its own key, with the tokens it was given.

Door(world, department).fragment(token, sql)      one well-formed request, any SQL
Door(...).request(Wire(...))                      any request, forged in any part
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from catalog.exchange import EndRecord, encode_keys
from catalog.http import Client, Response
from catalog.identity import agent_audience, sign_request, sign_token
from catalog.keys import SigningKey
from tests.agent.house import Cut, read_answer
from tests.attack.canary import found_in, memory_of, texts_of
from tests.attack.world import USERS, Department, World

__all__ = ["Door", "Reply"]

FRAGMENT = "/v1/fragment"
_numbers = itertools.count(1)


@dataclass
class Reply:
    """What came back. table, end: of an answer. error: of a refusal, before or after the first byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    table: pa.Table | None = None
    end: EndRecord | None = None
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        if self.error:
            return str(self.error.get("outcome", ""))
        return "OK" if self.end is not None else ""

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        assert self.table is not None
        return list(zip(*[c.to_pylist() for c in self.table.columns], strict=True))

    def canaries(self) -> list[str]:
        """Raw values in status, headers, body, decoded rows, end record, and in the answer's memory below NULLs."""
        headers = "\n".join(f"{k}: {v}" for k, v in self.headers.items()).encode()
        blobs = [headers, self.body]
        if self.table is not None:
            blobs += [texts_of(self.table), memory_of(self.table)]
        return found_in(*blobs)


def read(response: Response, seconds: float) -> Reply:
    """Decode an agent's answer whole; a cut stream has neither end nor error."""
    reply = Reply(response.status_code, dict(response.headers), response.content, seconds)
    if response.headers.get("content-type", "").startswith("application/json"):
        found = orjson.loads(response.content)
        reply.error = found if response.status_code != 200 else {}
        return reply
    if response.status_code == 200 and "arrow" in response.headers.get("content-type", ""):
        try:
            reply.table, reply.end = read_answer(response.content)
        except Cut:
            return reply
        reply.error = reply.end.error or {}
    return reply


class Door:
    """One agent's gateways' door, asked with whatever keys a captured gateway holds."""

    def __init__(self, world: World, department: Department) -> None:
        self.world, self.department = world, department
        self.http = Client(base_url=department.url, timeout=60, trust_env=False)

    def close(self) -> None:
        self.http.close()

    # ---- tokens

    def claims(self, user: str, purpose: str, /, **changes: Any) -> dict[str, Any]:
        """An honest agent token's claims, then changes; a change to None takes the claim out."""
        now = int(time.time())
        honest = {
            "iss": self.world.issuer,
            "sub": user,
            "aud": agent_audience(self.department.name),
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": secrets.token_urlsafe(12),
            "purpose": purpose,
            "purposes": list(USERS.get(user, (purpose,))),
            "cnf": {"jwk": self.world.gateway_key.public_jwk},
        }
        return {k: v for k, v in {**honest, **changes}.items() if v is not None}

    def token(self, user: str, purpose: str, /, **changes: Any) -> str:
        return sign_token(self.world.idp, self.claims(user, purpose, **changes))

    # ---- requests

    def body(self, sql: str, keys: pa.Array | None = None, **more: Any) -> bytes:
        fields: dict[str, Any] = {"query_id": "attack", "fragment_id": f"a{next(_numbers)}", "sql": sql}
        if keys is not None:
            fields["keys"] = encode_keys(keys)
        return orjson.dumps({**fields, **more})

    def signed(
        self, token: str, body: bytes, method: str = "POST", path: str = FRAGMENT, key: SigningKey | None = None,
        now: float | None = None, nonce: str | None = None,
    ) -> dict[str, str]:  # fmt: skip
        headers = sign_request(key or self.world.gateway_key, method, path, body, now, nonce, token=token)
        return {"Authorization": f"Bearer {token}".strip(), "Content-Type": "application/json", **headers}

    def send(
        self,
        body: bytes,
        headers: Mapping[str, str],
        method: str = "POST",
        path: str = FRAGMENT,
        before: Sequence[tuple[str, str]] = (),
    ) -> Reply:
        """before: headers that stand before these, of the same names perhaps."""
        begun = time.monotonic()
        response = self.http.request(method, path, content=body, headers=[*before, *headers.items()])
        return read(response, time.monotonic() - begun)

    def ask(self, token: str, sql: str, keys: pa.Array | None = None, **more: Any) -> Reply:
        """One fragment as an honest gateway would post it, whatever the SQL."""
        body = self.body(sql, keys, **more)
        return self.send(body, self.signed(token, body))

    def get(self, token: str, path: str) -> Reply:
        return self.send(b"", self.signed(token, b"", "GET", path), "GET", path)
