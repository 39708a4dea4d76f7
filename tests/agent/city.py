"""A city of one department for the tests of refusals and access requests: provider, agent and gateway, on real ports.

with open_city(tmp_path, policy, tables) as city:
    city.gateway_says("lin", sql)           what a Trino client and a REST client are told
    async with city.door("lin", "mass-balance") as ask: ...    what a gateway is told by the agent
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from atoll.demo.idp import IdentityProvider, prepare, register_client
from atoll.demo.idp import create_app as create_idp
from catalog.http import AsyncClient, Client
from catalog.keys import SigningKey
from catalog.keys import load as load_key
from connectors.agent.server import create_app, create_owner_app
from connectors.agent.service import Agent
from gateway.pipeline import Gateway
from gateway.server.app import create_app as create_gateway
from gateway.server.session import Options
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings
from tests.agent.house import Ask, House
from tests.attack.world import served
from tests.servers import free_port

DESK = "desk@gateway.example"
METERING = "metering@water.example"
OFFICE = "office@tax.example"
USERS: dict[str, tuple[str, ...]] = {
    "lin": ("mass-balance",),
    "bi": ("statistics",),
    "mei": ("mass-balance", "statistics"),
    "sun": ("audit",),
}


@dataclass
class City:
    """One running city. url: the gateway's address; agent_url, owner_url: the department's two doors."""

    house: House
    agent: Agent
    gateway: Gateway
    provider: IdentityProvider
    folder: Path
    url: str = ""
    agent_url: str = ""
    owner_url: str = ""

    def token(self, user: str) -> str:
        """The user's own token, for the gateway."""
        password = str(orjson.loads((self.folder / "idp" / "passwords.json").read_bytes())[user])
        return self.provider.login(user, password).token

    @contextmanager
    def client(self, user: str) -> Iterator[Client]:
        bearer = {"Authorization": f"Bearer {self.token(user)}"}
        with Client(base_url=self.url, headers=bearer, timeout=30, verify=False) as http:
            yield http

    @asynccontextmanager
    async def door(self, sub: str, purpose: str, **claims: Any) -> AsyncIterator[Ask]:
        """The agent's own door, as this city's gateway comes to it."""
        token = self.house.token(sub, purpose, **{"iss": self.provider.issuer, **claims})
        async with AsyncClient(base_url=self.agent_url, timeout=30, verify=False) as http:
            yield Ask(self.house, http, token, self.agent)


@contextmanager
def open_city(folder: Path, policy: Mapping[str, Any], tables: Mapping[str, Any]) -> Iterator[City]:
    """Everything, without a door that knows no passwords. `tax` is registered too, and answers nobody."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        prepare(folder / "idp", USERS)
        provider = IdentityProvider(folder / "idp", issuer)
        stack.enter_context(served(create_idp(provider, dev_login=False), port))
        identity = {"issuer": issuer, "jwks": "file:../idp/jwks.json"}
        owner_port = free_port()
        listen = {"owner_listen": f"127.0.0.1:{owner_port}"}
        house = House(folder / "water", {"contact": METERING, **listen, **policy, "identity": identity}, tables)
        house.idp = load_key(folder / "idp" / "idp.jwk")
        agent = house.open()
        stack.callback(agent.close)
        agent_url = stack.enter_context(served(create_app(agent)))
        owner_url = stack.enter_context(served(create_owner_app(agent), owner_port))
        settings = GatewaySettings(
            state=folder / "gateway",
            contact=DESK,
            identity=IdentitySettings(issuer=issuer, jwks=folder / "idp" / "jwks.json", token_url=f"{issuer}/token"),
            departments={
                "water": DepartmentEntry(url=agent_url, contact=METERING, key=agent.receipt_jwk()),
                "tax": DepartmentEntry(
                    url=f"http://127.0.0.1:{free_port()}", contact=OFFICE, key=SigningKey.generate().public_jwk
                ),
                "fire": DepartmentEntry(
                    url="http://127.0.0.1:1", contact="not@shown.example", key=agent.receipt_jwk(), state="suspended"
                ),
            },
        )
        running = Gateway(settings)
        stack.callback(running.close)
        house.gateway = load_key(settings.state / "gateway.jwk")
        register_client(folder / "idp", "gateway", house.gateway.public_jwk)
        app = create_gateway(running, Options(poll_seconds=0.2))
        url = stack.enter_context(served(app))
        yield City(house, agent, running, provider, folder, url, agent_url, owner_url)
