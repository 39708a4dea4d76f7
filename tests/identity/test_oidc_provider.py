"""A certified OpenID provider that is not ours: its users' tokens serve atoll as ours do, and no others.

`tests/install-services` installs it (`oidc/package.json`, run by Node). Each test asks the running provider; nothing
of its answers is made here, except the forgeries.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey

from catalog.errors import AccessDenied, CityError
from catalog.http import Client, Response
from catalog.identity import MemoryReplayStore as Memory
from catalog.identity import (
    TokenVerifier,
    agent_audience,
    dpop_proof,
    exchange_error,
    exchange_form,
    sign_request,
    verify_request,
)
from catalog.keys import KeyRing, SigningKey
from gateway.dispatch import Agents
from gateway.execution import Session
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings
from tests.agent.house import House
from tests.servers import free_port

HERE = Path(__file__).parent / "oidc"
INSTALLED = Path(__file__).parents[2] / ".cache" / "oidc" / "node_modules"
PURPOSES = {"lin": ["mass-balance"], "mei": ["inspection", "statistics"], "sun": []}
GATEWAY = SigningKey.generate()
BACK = "http://127.0.0.1:9/back"


@dataclass
class Provider:
    """The running provider. key: its private signing key, for forgeries alone. pinned: its public key set."""

    issuer: str
    alg: str
    key: dict[str, Any]
    pinned: dict[str, Any]

    def login(self, user: str, dpop: SigningKey | None = None) -> str:
        """A user's token, by the code flow in a browser's stead: log in, consent, redeem the code with PKCE."""
        verifier = secrets.token_urlsafe(40)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {"client_id": "console", "response_type": "code", "redirect_uri": BACK, "scope": "openid ask",
                 "code_challenge": challenge, "code_challenge_method": "S256"}  # fmt: skip
        with Client(base_url=self.issuer, trust_env=False, timeout=20) as browser:
            page = self._follow(browser, browser.get("/auth", params=asked))
            page = self._submit(browser, page, {"prompt": "login", "login": user, "password": "any"})
            back = self._submit(browser, page, {"prompt": "consent"})
            code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
            form = {"grant_type": "authorization_code", "client_id": "console", "redirect_uri": BACK, "code": code,
                    "code_verifier": verifier}  # fmt: skip
            headers = {"DPoP": dpop_proof(dpop, "POST", f"{self.issuer}/token")} if dpop else {}
            answer = browser.post("/token", data=form, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def _follow(self, browser: Client, answer: Response) -> Response:
        while answer.status_code in (302, 303) and not answer.headers["location"].startswith(BACK):
            answer = browser.get(answer.headers["location"])
        return answer

    def _submit(self, browser: Client, page: Response, form: dict[str, str]) -> Response:
        action = re.search(r'action="([^"]+)"', page.text)
        assert action is not None, page.text
        return self._follow(browser, browser.post(action[1], data=form))

    def exchange(self, token: str, department: str, purpose: str | None = None, **changes: Any) -> Response:
        form = exchange_form(token, department, purpose, GATEWAY, f"{self.issuer}/token")
        with Client(trust_env=False, timeout=20) as http:
            return http.post(
                f"{self.issuer}/token", data={k: v for k, v in {**form, **changes}.items() if v is not None}
            )

    def agent_token(self, token: str, department: str = "water", purpose: str | None = None) -> str:
        answer = self.exchange(token, department, purpose)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def verifier(self, audience: str) -> TokenVerifier:
        return TokenVerifier(self.issuer, audience, self.pinned)


def _key(alg: str) -> dict[str, Any]:
    key = OKPKey.generate_key("Ed25519") if alg == "EdDSA" else ECKey.generate_key("P-256")
    return {**dict(key.as_dict(private=True)), "kid": f"city-{alg}", "alg": alg, "use": "sig"}


@pytest.fixture(scope="module", params=["EdDSA", "ES256"])
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    node = shutil.which("node")
    assert node, "the tests need Node: run `make services`"
    assert (INSTALLED / "oidc-provider").is_dir(), "oidc-provider is not installed: run `make services`"
    port = free_port()
    issuer, key = f"http://127.0.0.1:{port}", _key(request.param)
    config = tmp_path_factory.mktemp("oidc") / "config.json"
    gateway = {**GATEWAY.public_jwk, "alg": "EdDSA", "use": "sig"}
    config.write_bytes(orjson.dumps({"issuer": issuer, "port": port, "alg": request.param, "keys": [key],
                                     "gateway": gateway, "purposes": PURPOSES}))  # fmt: skip
    # Node looks for packages beside the script.
    script = shutil.copy(HERE / "provider.mjs", config.parent)
    (config.parent / "node_modules").symlink_to(INSTALLED)
    log = config.with_name("log").open("w+")
    process = subprocess.Popen([node, str(script), str(config)], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", config.with_name("log").read_text()
        with Client(trust_env=False) as http:
            discovery = http.get(f"{issuer}/.well-known/openid-configuration").json()
            assert discovery["issuer"] == issuer
            pinned = http.get(discovery["jwks_uri"]).json()
        yield Provider(issuer, request.param, key, pinned)
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@pytest.fixture(scope="module")
def lin(provider: Provider) -> str:
    return provider.login("lin")


def test_a_users_token_is_accepted_by_the_gateway(provider: Provider, lin: str) -> None:
    principal = provider.verifier("gateway").verify(lin)
    assert (principal.sub, principal.purposes, principal.purpose) == ("lin", ("mass-balance",), "")
    assert jws.extract_compact(lin.encode()).headers()["alg"] == provider.alg


def test_the_gateways_own_exchange_gets_one_token_per_agent_and_purpose(
    provider: Provider, lin: str, tmp_path: Path
) -> None:
    identity = IdentitySettings(issuer=provider.issuer, jwks=tmp_path / "j", token_url=f"{provider.issuer}/token")
    entry = DepartmentEntry(url="http://127.0.0.1:1", key=GATEWAY.public_jwk)
    ring = tmp_path / "gateway.jwk"
    ring.write_bytes(orjson.dumps(GATEWAY.private_jwk()))
    ring.chmod(0o600)
    settings = GatewaySettings(state=tmp_path, identity=identity)
    agents = Agents(settings, KeyRing(ring), lambda: {"water": entry})
    try:
        session = Session("lin", token=lin, purpose="mass-balance")
        water, health = agents.token(session, "water"), agents.token(session, "health")
        assert agents.token(session, "water") == water
    finally:
        agents.close()
    principal = provider.verifier(agent_audience("water")).verify(water)
    assert (principal.sub, principal.purpose, principal.purposes) == ("lin", "mass-balance", ("mass-balance",))
    assert principal.exp <= time.time() + 300
    headers = sign_request(GATEWAY, "POST", "/v1/fragment", b"{}", token=water)
    headers["Authorization"] = f"Bearer {water}"
    verify_request("POST", "/v1/fragment", b"{}", headers, principal.cnf_jwk, Memory())
    for other, token in (("health", water), ("water", health), ("gateway", water)):
        audience = other if other == "gateway" else agent_audience(other)
        with pytest.raises(AccessDenied):
            provider.verifier(audience).verify(token)


async def test_an_agent_answers_with_such_a_token_and_with_no_users_own(
    provider: Provider, lin: str, tmp_path: Path
) -> None:
    policy = {
        "department": "water", "identity": {"issuer": provider.issuer, "jwks": "file:pinned.json"},
        "relations": {"usage": {"table": "usage", "columns": {"litres": "bigint"}}},
        "grants": [{"relation": "usage", "purposes": ["mass-balance"], "mode": "masked"}],
    }  # fmt: skip
    (tmp_path / "pinned.json").write_bytes(orjson.dumps(provider.pinned))
    house = House(tmp_path, policy, {"usage": ("litres INTEGER", [(1,), (2,)])})
    house.gateway = GATEWAY
    async with house.client("lin", "mass-balance") as ask:
        ask.token = provider.agent_token(lin)
        assert (await ask.rows("SELECT t.litres AS c0 FROM water.main.usage AS t")).num_rows == 2
        for wrong in (lin, provider.agent_token(lin, "health")):
            ask.token = wrong
            assert (await ask.send("GET", "/v1/relations")).status_code == 401


def test_a_users_own_key_goes_through_login_and_exchange(provider: Provider) -> None:
    mine = SigningKey.generate()
    bound = provider.login("lin", mine)
    assert provider.verifier("gateway").verify(bound).user_jkt == mine.kid
    token = provider.agent_token(bound)
    assert provider.verifier(agent_audience("water")).verify(token).user_jkt == mine.kid


@pytest.mark.parametrize(("user", "purpose"), [("mei", None), ("mei", "audit"), ("sun", None), ("lin", "audit")])
def test_a_purpose_that_the_user_does_not_hold_is_refused(provider: Provider, user: str, purpose: str | None) -> None:
    answer = provider.exchange(provider.login(user), "water", purpose)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    error = exchange_error(answer.json())
    assert isinstance(error, CityError)
    assert error.outcome.name == "PURPOSE"


@pytest.mark.parametrize(
    "change",
    [
        {"audience": "gateway"},
        {"audience": "agent:*"},
        {"subject_token": "x.y.z"},
        {"client_assertion": None},
        {"client_assertion": "x.y.z"},
    ],
    ids=str,
)
def test_a_malformed_exchange_is_refused(provider: Provider, lin: str, change: dict[str, Any]) -> None:
    answer = provider.exchange(lin, "water", **change)
    assert answer.status_code in (400, 401)
    assert "access_token" not in answer.json()


def test_only_the_gateways_key_exchanges(provider: Provider, lin: str) -> None:
    form = exchange_form(lin, "water", None, SigningKey.generate(), f"{provider.issuer}/token")
    with Client(trust_env=False) as http:
        assert http.post(f"{provider.issuer}/token", data=form).json()["error"] == "invalid_client"


def forged(provider: Provider, token: str, kind: str) -> str:
    """The provider's own token, signed again in a way that no verifier may take."""
    claims = jwt.decode(token, _import(provider.key), registry=_ANY).claims
    header = {"alg": provider.alg, "kid": provider.key["kid"], "typ": "at+jwt"}
    public = base64.urlsafe_b64decode(provider.key["x"] + "==")
    if kind == "none":
        parts = (orjson.dumps({**header, "alg": "none"}), orjson.dumps(claims))
        return ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts) + "."
    if kind == "HS256":
        return jwt.encode({**header, "alg": "HS256"}, claims, OctKey.import_key(public), registry=_ANY)
    if kind == "another key":
        stranger = OKPKey.generate_key("Ed25519") if provider.alg == "EdDSA" else ECKey.generate_key("P-256")
        return jwt.encode(header, claims, stranger, registry=_ANY)
    changed = {
        "wrong issuer": {"iss": "http://127.0.0.1:1"},
        "wrong audience": {"aud": "agent:health"},
        "two audiences": {"aud": [claims["aud"], "agent:health"]},
        "too long": {"exp": claims["iat"] + 7200},
        "expired": {"iat": claims["iat"] - 7200, "exp": claims["iat"] - 3600},
        "as it was": {},
    }[kind]
    return jwt.encode(header, {**claims, **changed}, _import(provider.key), registry=_ANY)


_ANY = jws.JWSRegistry(algorithms=["EdDSA", "ES256", "HS256"])


def _import(jwk: dict[str, Any]) -> OKPKey | ECKey:
    kind = OKPKey if jwk["kty"] == "OKP" else ECKey
    return kind.import_key({k: jwk[k] for k in ("kty", "crv", "x", "y", "d") if k in jwk})


@pytest.mark.parametrize("audience", ["gateway", "agent:water"])
def test_forgeries_of_its_tokens_are_refused_and_their_twin_is_not(provider: Provider, lin: str, audience: str) -> None:
    token = lin if audience == "gateway" else provider.agent_token(lin)
    verifier = provider.verifier(audience)
    assert verifier.verify(forged(provider, token, "as it was")).sub == "lin"
    kinds = ("none", "HS256", "another key", "wrong issuer", "wrong audience", "two audiences", "too long", "expired")
    for kind in kinds:
        with pytest.raises(AccessDenied):
            verifier.verify(forged(provider, token, kind))


def test_another_issuer_s_pin_does_not_take_its_tokens(provider: Provider, lin: str) -> None:
    other = TokenVerifier(provider.issuer, "gateway", {"keys": [SigningKey.generate().public_jwk]})
    with pytest.raises(AccessDenied):
        other.verify(lin)
