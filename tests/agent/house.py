"""A small department over SQLite for the agent's tests: files, keys, tokens, and a client that signs.

house = House(tmp_path)                  # writes the silo and department.yaml
async with house.client("lin", "mass-balance") as ask:
    table = await ask.rows("SELECT t.org_no AS c0 FROM water.main.usage AS t")
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import yaml

from catalog.errors import CityError
from catalog.exchange import EndRecord, Fragment, Head, encode_keys
from catalog.http import ASGITransport, AsyncClient, Response
from catalog.identity import agent_audience, sign_request, sign_token
from catalog.keys import SigningKey
from connectors.agent.server import create_app
from connectors.agent.service import Agent

ISSUER = "http://idp.test"
PURPOSES = ["mass-balance", "statistics", "public-health", "audit", "benefit-eligibility"]
OWN = {
    "lin": ["mass-balance"],
    "bi": ["statistics"],
    "mei": ["mass-balance", "statistics"],
    "chen": ["public-health"],
    "wu": ["benefit-eligibility"],
    "luo": ["benefit-eligibility"],
    "sun": ["audit"],
}


class Cut(Exception):
    """A stream without an end record."""


class House:
    """The files of one department, and the identity provider that it believes."""

    def __init__(self, folder: Path, policy: Mapping[str, Any], tables: Mapping[str, Any]) -> None:
        self.folder = folder
        self.idp, self.gateway = SigningKey.generate(), SigningKey.generate()
        self.path = folder / "department.yaml"
        self.policy = dict(policy)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "jwks.json").write_bytes(orjson.dumps({"keys": [self.idp.public_jwk]}))
        (folder / "root.hex").write_text("ab" * 32)
        with sqlite3.connect(folder / "silo.sqlite") as db:
            for name, (ddl, rows) in tables.items():
                db.execute(f"CREATE TABLE {name} ({ddl})")
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    db.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        self.write()

    def write(self, **changes: Any) -> None:
        """(Re)write department.yaml with changes at the top level."""
        self.policy.update(changes)
        base = {
            "identity": {"issuer": ISSUER, "jwks": "file:jwks.json"},
            "sources": {"main": {"kind": "sqlite", "path": "silo.sqlite"}},
            "purposes": PURPOSES,
        }
        self.path.write_text(yaml.safe_dump({**base, **self.policy}, sort_keys=False, allow_unicode=True))

    def open(self, clock: Any = None) -> Agent:
        return Agent.from_file(self.path, clock)

    def token(self, sub: str, purpose: str, **claims: Any) -> str:
        now = int(time.time())
        body = {
            "iss": ISSUER,
            "aud": agent_audience(self.policy["department"]),
            "sub": sub,
            "iat": now,
            "exp": now + 120,
            "jti": f"jti-{sub}",
            "purpose": purpose,
            "purposes": OWN.get(sub, [purpose]),
            "cnf": {"jwk": self.gateway.public_jwk},
        }
        return sign_token(self.idp, {**body, **claims})

    @asynccontextmanager
    async def client(self, sub: str, purpose: str, agent: Agent | None = None) -> AsyncIterator[Ask]:
        """A gateway that asks in the name of `sub`. agent: an open one, else one for this client alone."""
        own = agent or self.open()
        try:
            app = create_app(own)
            async with AsyncClient(transport=ASGITransport(app), base_url="http://agent") as http:
                yield Ask(self, http, self.token(sub, purpose), own)
        finally:
            if agent is None:
                own.close()


class Ask:
    """Signed requests of one user through one gateway."""

    def __init__(self, house: House, http: AsyncClient, token: str, agent: Agent) -> None:
        self.house, self.http, self.token, self.agent = house, http, token, agent
        self.end: EndRecord | None = None
        self.number = 0

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        signed = sign_request(self.house.gateway, method, path, body, token=self.token)
        return await self.http.request(
            method, path, content=body, headers={"Authorization": f"Bearer {self.token}", **signed, **headers}
        )

    def fragment(self, sql: str, keys: Any = None, **more: Any) -> bytes:
        self.number += 1
        encoded = None if keys is None else encode_keys(keys if isinstance(keys, pa.Array) else pa.array(keys))
        fields = {"query_id": "q1", "fragment_id": f"f{id(self)}_{self.number}", "sql": sql, "keys": encoded}
        return Fragment(**{**fields, **more}).model_dump_json().encode()

    async def rows(self, sql: str, keys: Any = None, **more: Any) -> pa.Table:
        """The answer; raises the CityError of a refusal or of the end record."""
        response = await self.send("POST", "/v1/fragment", self.fragment(sql, keys, **more))
        if response.status_code != 200:
            raise CityError.from_dict(response.json())
        table, self.end = read_answer(response.content)
        if self.end.error is not None:
            raise CityError.from_dict(self.end.error)
        return table

    async def refusal(self, sql: str, keys: Any = None, **more: Any) -> CityError:
        """The error of a statement that must not be answered."""
        try:
            table = await self.rows(sql, keys, **more)
        except CityError as refused:
            return refused
        raise AssertionError(f"answered {table.num_rows} rows: {sql}")

    async def relations(self) -> dict[str, Any]:
        response = await self.send("GET", "/v1/relations")
        if response.status_code != 200:
            raise CityError.from_dict(response.json())
        found: dict[str, Any] = response.json()
        return found


def read_answer(content: bytes) -> tuple[pa.Table, EndRecord]:
    """Batches and end record of an answer. Raises Cut if there is no end record, or its count differs."""
    try:
        reader = pa.ipc.open_stream(content)
        batches, end = [], None
        for batch, metadata in _batches(reader):
            end = EndRecord.from_metadata(metadata)
            if end is None:
                batches.append(batch)
    except (pa.ArrowInvalid, OSError) as bad:
        raise Cut("malformed") from bad
    table = pa.Table.from_batches(batches, reader.schema)
    if end is None or end.rows != table.num_rows:
        raise Cut("no end record")
    return table, end


def _batches(reader: Any) -> Iterator[tuple[pa.RecordBatch, Any]]:
    while True:
        try:
            yield reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return


def tuples(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*[c.to_pylist() for c in table.columns], strict=True)) if table.num_columns else []


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


WITNESS = Head(seq=7, hash="ab" * 32, signature="")
