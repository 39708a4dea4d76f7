"""A captured gateway: its keys and its users' tokens, but code of our own that sends what it likes."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from catalog import tls
from catalog.exchange import EndRecord, Fragment, encode_keys
from catalog.http import Client, Response
from catalog.identity import exchange_form, sign_request
from catalog.keys import KeyRing, SigningKey, load
from gateway.settings import GatewaySettings
from gateway.settings import load as load_settings
from tests.city.live.running import City


@dataclass(frozen=True)
class Reply:
    """What an agent answered. error: the refusal, from the HTTP error or the end record."""

    status: int
    rows: list[tuple[Any, ...]]
    end: EndRecord | None
    error: dict[str, Any] | None
    raw: bytes


class CapturedGateway:
    """Talks to agents' own ports with the real gateway's key."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.settings: GatewaySettings = load_settings(city.folder / "gateway" / "gateway.yaml")
        self.key: SigningKey = load(self.settings.state / "gateway.jwk")
        self.http = Client(timeout=60, trust_env=False)
        self._ways: dict[str, Client] = {}

    def user_token(self, user: str) -> str:
        answer = self.http.post(self.settings.identity.dev_login, json={"user": user})
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def agent_token(self, user: str, department: str, purpose: str) -> str:
        identity = self.settings.identity
        form = exchange_form(
            self.user_token(user), department, purpose, self.key, identity.token_url, identity.client_id
        )
        answer = self.http.post(identity.token_url, data=form)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def way(self, department: str) -> Client:
        """The gateway's own mutual TLS with one agent."""
        if department not in self._ways:
            ring = KeyRing(self.settings.state / "tls.key")
            pins = tls.pinned(self.settings.departments[department].keys, time.time())
            self._ways[department] = Client(timeout=60, trust_env=False, verify=tls.client_context(ring, pins))
        return self._ways[department]

    def ask(
        self, department: str, sql: str, user: str, purpose: str, keys: pa.Array | None = None, fragment: str = "f0"
    ) -> Reply:
        """Post one fragment as the gateway would, with any SQL at all."""
        message = Fragment(
            query_id="captured", fragment_id=fragment, sql=sql, keys=None if keys is None else encode_keys(keys)
        )
        body = orjson.dumps(message.model_dump(mode="json", exclude_none=True))
        token = self.agent_token(user, department, purpose)
        return self.post(department, body, token)

    def post(self, department: str, body: bytes, token: str, key: SigningKey | None = None) -> Reply:
        """Post raw bytes with a token, signed by the gateway's key or another."""
        signed = sign_request(key or self.key, "POST", "/v1/fragment", body, token=token)
        headers = {"Content-Type": "application/json", **signed}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.city.agent(department)}/v1/fragment"
        return read(self.way(department).post(url, content=body, headers=headers))


def read(answer: Response) -> Reply:
    """Decode an agent's answer whole."""
    if answer.status_code != 200:
        return Reply(answer.status_code, [], None, orjson.loads(answer.content), answer.content)
    rows: list[tuple[Any, ...]] = []
    end = None
    with pa.ipc.open_stream(io.BytesIO(answer.content)) as reader:
        while end is None:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
            end = EndRecord.from_metadata(metadata)
            rows += zip(*(c.to_pylist() for c in batch.columns), strict=True)
    return Reply(200, rows, end, end.error, answer.content)
