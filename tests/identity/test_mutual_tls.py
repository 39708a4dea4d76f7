"""Between a gateway and an agent: each shows the certificate that the other pinned, or nothing is said."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from cachetools import TTLCache

from catalog import keys, tls
from catalog.errors import AccessDenied, DepartmentError, Outcome
from catalog.http import Client, HTTPError, Response
from catalog.identity import sign_request
from catalog.keys import KeyRing, SigningKey
from catalog.relation import RelationList
from connectors.agent import serve, server
from gateway.catalogue import DOWN_SECONDS, Catalogue
from gateway.dispatch import Agents
from gateway.execution import Session
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings, Limits, load
from tests.agent.house import House
from tests.servers import free_port

COUNT = "SELECT count(*) AS c0 FROM water.main.usage AS t"
POLICY: dict[str, Any] = {
    "department": "water",
    "relations": {"usage": {"table": "usage", "columns": {"org_no": "varchar", "litres": "bigint"}}},
    "grants": [{"relation": "usage", "purposes": ["mass-balance"], "mode": "masked"}],
}
TABLES = {"usage": ("org_no TEXT, litres INTEGER", [(f"91{i:04d}", i) for i in range(50)])}


@dataclass
class Gateway:
    """One gateway's two rings."""

    signing: KeyRing
    certificates: KeyRing

    @classmethod
    def new(cls, folder: Path, name: str = "gateway") -> Gateway:
        return cls(KeyRing.create(folder / "gateway.jwk"), tls.create_ring(folder / "tls.key", name))

    @property
    def card(self) -> list[keys.Jwk]:
        return [*self.signing.public(), *self.certificates.public()]


@dataclass
class Running:
    """An agent as its own process, and the files of its owner."""

    house: House
    url: str
    process: subprocess.Popen[str]

    def pin(self, **gateways: list[keys.Jwk]) -> None:
        keys.replace_file(self.house.folder / "gateways.json", orjson.dumps({"gateways": gateways}))

    @property
    def certificate(self) -> tuple[str, ...]:
        return tls.pinned(KeyRing(self.house.folder / "state" / "tls.key").public(), time.time())

    def client(self, gateway: Gateway, certificate: tuple[str, ...] | None = None) -> Client:
        context = tls.client_context(gateway.certificates, certificate or self.certificate)
        return Client(base_url=self.url, verify=context, trust_env=False, timeout=10)

    def look(self, http: Client, gateway: Gateway, key: SigningKey | None = None) -> Response:
        """What a gateway is shown. key: in the token; the gateway's own by default."""
        signing = key or gateway.signing.signing()
        token = self.house.token("lin", "mass-balance", cnf={"jwk": signing.public_jwk})
        signed = sign_request(signing, "GET", "/v1/relations", token=token)
        return http.get("/v1/relations", headers={"Authorization": f"Bearer {token}", **signed})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    return Gateway.new(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="module")
def water(tmp_path_factory: pytest.TempPathFactory, gateway: Gateway) -> Iterator[Running]:
    house = House(tmp_path_factory.mktemp("water"), POLICY, TABLES)
    house.write(identity={"issuer": "http://idp.test", "jwks": "file:jwks.json", "gateways": "file:gateways.json"})
    (house.folder / "gateways.json").write_bytes(orjson.dumps({"gateways": {"gateway": gateway.card}}))
    process, line = start(house)
    assert line.startswith("ready https://127.0.0.1:")
    try:
        yield Running(house, line.removeprefix("ready ").strip(), process)
    finally:
        process.terminate()
        process.wait(20)


def start(house: House) -> tuple[subprocess.Popen[str], str]:
    """An agent and the line that says where it answers; "" if it ended instead."""
    process = subprocess.Popen(
        [sys.executable, "-m", "connectors.agent.serve", str(house.path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    return process, next((line for line in process.stdout if line.startswith("ready ")), "")


@pytest.fixture(autouse=True)
def pinned(water: Running, gateway: Gateway) -> None:
    """Every test begins with the one gateway let in."""
    water.pin(gateway=gateway.card)


def test_the_pinned_gateway_gets_in(water: Running, gateway: Gateway) -> None:
    with water.client(gateway) as http:
        answer = water.look(http, gateway)
    assert (answer.status_code, answer.json()["department"]) == (200, "water")


def test_nobody_else_reaches_any_door(water: Running, gateway: Gateway, tmp_path: Path) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(cadata="".join(water.certificate))
    stranger = Gateway.new(tmp_path)
    with Client(base_url=water.url, verify=bare, trust_env=False) as http, pytest.raises(HTTPError):
        http.get("/healthz")
    with water.client(stranger) as http, pytest.raises(HTTPError):
        http.get("/healthz")
    plain = water.url.replace("https:", "http:")
    with Client(base_url=plain, trust_env=False) as http, pytest.raises(HTTPError):
        http.get("/healthz")
    with water.client(gateway) as http:
        assert http.get("/healthz").status_code == 200


def test_old_versions_of_tls_are_refused(water: Running, gateway: Gateway) -> None:
    context = tls.client_context(gateway.certificates, water.certificate)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with Client(base_url=water.url, verify=context, trust_env=False) as http, pytest.raises(HTTPError):
        http.get("/healthz")


def test_an_impostor_of_the_agent_is_not_spoken_to(water: Running, gateway: Gateway, tmp_path: Path) -> None:
    other = tls.create_ring(tmp_path / "tls.key", "agent:water")
    pins = tls.pinned(other.public(), time.time())
    with water.client(gateway, pins) as http, pytest.raises(HTTPError):
        http.get("/healthz")


def test_key_and_certificate_must_be_the_same_gateways(water: Running, gateway: Gateway, tmp_path: Path) -> None:
    second = Gateway.new(tmp_path, "second")
    water.pin(gateway=gateway.card, second=second.card)
    with water.client(second) as http:
        assert water.look(http, second).status_code == 200
        mixed = water.look(http, gateway)
    assert (mixed.status_code, mixed.json()["rule"]) == (401, "pinned gateways")


def test_a_key_that_the_issuer_knows_and_the_department_does_not_is_refused(water: Running, gateway: Gateway) -> None:
    with water.client(gateway) as http:
        refused = water.look(http, gateway, SigningKey.generate())
    assert (refused.status_code, refused.json()["outcome"], refused.json()["rule"]) == (401, "AUTH", "pinned gateways")


@pytest.mark.parametrize("kind", ["OKP", "EC"])
def test_a_revoked_gateway_is_refused_at_once_also_on_an_open_connection(
    water: Running, gateway: Gateway, kind: str
) -> None:
    with water.client(gateway) as http:
        assert water.look(http, gateway).status_code == 200
        water.pin(gateway=[{**k, "revoked": int(time.time())} if k["kty"] == kind else k for k in gateway.card])
        assert water.look(http, gateway).json()["outcome"] == "AUTH"
    if kind == "EC":
        with water.client(gateway) as http, pytest.raises(HTTPError):
            http.get("/healthz")
    kinds = [record(line) for line in (water.house.folder / "state" / "ledger.jsonl").read_bytes().splitlines()]
    assert ("refusal", "pinned gateways") in kinds


def record(line: bytes) -> tuple[str, str]:
    found = orjson.loads(line)["r"]
    return found["kind"], found.get("rule", "")


def test_a_list_that_cannot_be_read_lets_nobody_in(water: Running, gateway: Gateway) -> None:
    with water.client(gateway) as http:
        assert water.look(http, gateway).status_code == 200
        (water.house.folder / "gateways.json").write_text("{")
        assert water.look(http, gateway).status_code == 401
        (water.house.folder / "gateways.json").unlink()
        assert water.look(http, gateway).status_code == 401


def test_both_sides_change_their_certificates_without_a_restart(
    water: Running, gateway: Gateway, tmp_path: Path
) -> None:
    mine = Gateway.new(tmp_path)
    water.pin(gateway=mine.card)
    now = int(time.time())
    before = water.certificate
    KeyRing(water.house.folder / "state" / "tls.key").rotate(now, 60, tls.maker("agent:water"))
    assert len(water.certificate) == 2
    with water.client(mine, before) as http, pytest.raises(HTTPError):
        http.get("/healthz")
    mine.signing.rotate(now, 60)
    mine.certificates.rotate(now, 60, tls.maker("gateway"))
    with water.client(mine) as http, pytest.raises(HTTPError):
        http.get("/healthz")
    water.pin(gateway=mine.card)
    with water.client(mine) as http:
        assert water.look(http, mine).status_code == 200
        assert water.look(http, mine, mine.signing.oldest()).status_code == 200


def test_an_agent_never_serves_plain_http_to_other_machines_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(tmp_path, {**POLICY, "listen": "0.0.0.0:0"}, TABLES)
    served: list[tuple[str, bool]] = []

    class Served:
        def __init__(self, _app: Any, listen: str, secure: tls.ServerTls | None = None) -> None:
            served.append((listen, secure is not None))

        async def serve(self) -> None:
            return

    monkeypatch.setattr(server, "_server", Served)
    assert serve.main([str(house.path)]) == 1
    assert "--behind-tls-proxy" in capsys.readouterr().err
    assert served == []
    assert serve.main([str(house.path), "--behind-tls-proxy"]) == 0
    keys.replace_file(house.folder / "gateways.json", b'{"gateways": {}}')
    house.write(identity={"issuer": "http://idp.test", "jwks": "file:jwks.json", "gateways": "file:gateways.json"})
    assert serve.main([str(house.path)]) == 0
    assert served == [("0.0.0.0:0", False), ("0.0.0.0:0", True)]
    house.path.write_text("listen: 0.0.0.0:0\ngrants: nonsense\n")
    assert serve.main([str(house.path)]) == 0
    assert served[2:] == [("0.0.0.0:0", True)]


# ---------------------------------------------------------------- the gateway's side


def agents(tmp_path: Path, entry: DepartmentEntry) -> Agents:
    identity = IdentitySettings(issuer="i", jwks=tmp_path / "jwks", token_url="http://127.0.0.1:1/token")
    settings = GatewaySettings(state=tmp_path, identity=identity, limits=Limits(connect_seconds=1))
    return Agents(settings, SigningKey.generate(), lambda: {"water": entry})


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:7400", True),
        ("http://localhost:7400", True),
        ("http://[::1]:7400", True),
        ("http://10.0.0.7:7400", False),
        ("http://water.example", False),
        ("http://127.0.0.1.water.example", False),
        ("https://water.example", False),
    ],
)
def test_a_gateway_sends_no_token_over_plain_http_or_to_an_unknown_certificate(
    tmp_path: Path, url: str, allowed: bool
) -> None:
    entry = DepartmentEntry(url=url, key=SigningKey.generate().public_jwk)
    asking = agents(tmp_path, entry)
    try:
        if allowed:
            assert asking.way("water")[1] == url
        else:
            with pytest.raises(DepartmentError) as refused:
                asking.way("water")
            assert (refused.value.outcome, refused.value.rule) == (Outcome.DOWN, "mutual TLS")
    finally:
        asking.close()


def certified(*certificates: dict[str, Any]) -> DepartmentEntry:
    return DepartmentEntry(url="https://127.0.0.1:1", key=SigningKey.generate().public_jwk, keys=certificates)


def test_connections_are_kept_only_while_the_certificates_of_both_sides_stay_the_same(tmp_path: Path) -> None:
    first, second = (keys.public_jwk(tls.maker("water")(0)) for _ in range(2))
    known = {"water": certified(first)}
    asking = agents(tmp_path, known["water"])
    asking._departments = lambda: known
    try:
        kept = asking.lines("water")
        assert asking.lines("water") is kept
        for changed in (certified(second), certified(first, second), certified({**first, "exp": 1}, second)):
            known["water"] = changed
            assert asking.lines("water") is not kept
            kept = asking.lines("water")
            assert asking.lines("water") is kept
        asking._certificates.rotate(int(time.time()) - 1, 0, tls.maker("gateway"))
        assert asking.lines("water") is not kept, "it would show the certificate of before"
        known["water"] = certified({**second, "revoked": 1})
        with pytest.raises(DepartmentError, match="no certificate"):
            asking.lines("water")
    finally:
        asking.close()


def test_a_department_that_lets_the_gateway_not_in_is_not_taken_for_an_empty_one() -> None:
    refusals = [
        AccessDenied("m", Outcome.AUTH, who="water", rule="pinned gateways"),
        AccessDenied("m", Outcome.NOT_AVAILABLE, who="water"),
    ]

    def fetch(*_: Any) -> RelationList:
        raise refusals.pop(0)

    catalogue = Catalogue(lambda: {"water": "Water"}, fetch)
    assert catalogue.view(Session("lin", purpose="p"), ("p",)).down["water"].rule == "pinned gateways"
    assert catalogue.view(Session("mei", purpose="p"), ("p",)).down == {}


def test_a_department_that_was_down_is_asked_again_also_for_who_asks_all_the_time() -> None:
    now, asked = [0.0], []

    def fetch(*_: Any) -> RelationList:
        asked.append(now[0])
        raise DepartmentError("m", Outcome.DOWN, who="water")

    catalogue = Catalogue(lambda: {"water": "Water"}, fetch)
    catalogue._down = TTLCache(16, DOWN_SECONDS, timer=lambda: now[0])
    for _ in range(8):
        assert catalogue.view(Session("lin", purpose="p"), ("p",)).down
        now[0] += 1
    assert asked == [0, 3, 6]


def test_a_tunnel_is_the_operators_word(tmp_path: Path) -> None:
    entry = DepartmentEntry(url="http://10.0.0.7:7400", key=SigningKey.generate().public_jwk, tunnel=True)
    asking = agents(tmp_path, entry)
    assert asking.way("water")[1] == entry.url
    asking.close()


def test_a_gateways_key_in_the_rings_signs_and_a_revoked_one_does_not(tmp_path: Path) -> None:
    entry = DepartmentEntry(url="http://127.0.0.1:1", key=SigningKey.generate().public_jwk)
    ring = KeyRing.create(tmp_path / "gateway.jwk")
    asking = agents(tmp_path, entry)
    asking._key = ring
    old = asking.key.kid
    ring.revoke(old)
    assert asking.key.kid != old
    asking.close()


def test_a_port_that_others_reach_needs_a_certificate_at_the_gateway_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway.server.serve import main

    file = tmp_path / "gateway.yaml"
    identity = "{issuer: i, jwks: jwks.json, token_url: 'http://127.0.0.1:1/token'}"
    file.write_text(f"listen: 0.0.0.0:0\nidentity: {identity}\n")
    assert main([str(file)]) == 1
    assert "--behind-tls-proxy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:9/token", True),
        ("https://idp.example/token", True),
        ("http://idp.example/token", False),
        ("ftp://idp.example/token", False),
    ],
)
def test_users_tokens_are_not_sent_to_the_identity_provider_in_the_open(tmp_path: Path, url: str, taken: bool) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"identity: {{issuer: i, jwks: jwks.json, token_url: '{url}', ca: ca.pem}}\n")
    if taken:
        assert load(file).identity.ca == tmp_path / "ca.pem"
    else:
        with pytest.raises(ValueError, match="token_url"):
            load(file)


def test_a_gateway_serves_tls_with_the_certificate_it_is_given(tmp_path: Path) -> None:
    ring = tls.create_ring(tmp_path / "own.key", "localhost")
    (pem,) = tls.pinned(ring.public(), time.time())
    (tmp_path / "cert.pem").write_text(pem)
    (tmp_path / "key.pem").write_bytes(private_pem(ring))
    KeyRing.create(tmp_path / "idp.jwk")
    (tmp_path / "jwks.json").write_bytes(orjson.dumps({"keys": KeyRing(tmp_path / "idp.jwk").public()}))
    port = free_port()
    (tmp_path / "gateway.yaml").write_text(
        f"listen: 127.0.0.1:{port}\nidentity: {{issuer: i, jwks: jwks.json, token_url: 'http://127.0.0.1:1/token'}}\n"
    )
    command = [sys.executable, "-m", "gateway.server.serve", str(tmp_path / "gateway.yaml")]
    files = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    process = subprocess.Popen([*command, *files])
    context = ssl.create_default_context(cadata=pem)
    context.check_hostname = False
    try:
        with Client(base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False) as http:
            deadline = time.monotonic() + 40
            while True:
                try:
                    assert http.get("/healthz").status_code == 200
                    break
                except HTTPError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(20)


def private_pem(ring: KeyRing) -> bytes:
    from joserfc.jwk import ECKey

    jwk = ring.current()
    return bytes(ECKey.import_key({k: jwk[k] for k in ("kty", "crv", "x", "y", "d")}).as_pem(private=True))
