"""The demo's identity provider gives a gateway what its live users hold, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from atoll.demo.idp import DEMO_USERS, IdentityProvider, create_app, prepare, register_client
from catalog.errors import AccessDenied, CityError, DepartmentError, Outcome
from catalog.http import Client, HTTPError
from catalog.identity import MemoryReplayStore as Memory
from catalog.identity import (
    TokenVerifier,
    agent_audience,
    dpop_proof,
    exchange_error,
    exchange_form,
    sign_request,
    sign_token,
    verify_request,
)
from catalog.keys import SigningKey
from tests.servers import free_port

ISSUER = "http://127.0.0.1:9000"
GATEWAY = SigningKey.generate()


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.at = time.time()

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(tmp_path: Path, clock: Clock) -> IdentityProvider:
    prepare(tmp_path)
    register_client(tmp_path, "gateway", GATEWAY.public_jwk)
    return IdentityProvider(tmp_path, ISSUER, clock)


@pytest.fixture
def http(provider: IdentityProvider) -> Iterator[TestClient]:
    app = create_app(provider, dev_login=True)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000)) as client:
        yield client


def user_token(http: TestClient, user: str = "lin") -> str:
    return str(http.post("/dev-login", json={"user": user}).json()["access_token"])


def exchange(http: TestClient, clock: Clock, user: str = "lin", purpose: str | None = None, **changes: Any) -> Any:
    form = exchange_form(user_token(http, user), "water", purpose, GATEWAY, f"{ISSUER}/token", now=clock.at)
    return http.post("/token", data={k: v for k, v in {**form, **changes}.items() if v is not None})


def test_a_user_s_token_becomes_one_for_an_agent_that_the_agent_accepts(
    http: TestClient, provider: IdentityProvider, clock: Clock, tmp_path: Path
) -> None:
    answer = exchange(http, clock).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 300)
    agent = TokenVerifier(ISSUER, agent_audience("water"), tmp_path / "jwks.json")
    principal = agent.verify(answer["access_token"], clock.at)
    assert (principal.sub, principal.purpose, principal.purposes) == (
        "lin",
        "mass-balance",
        ("mass-balance",),
    )
    headers = sign_request(GATEWAY, "POST", "/v1/fragment", b"{}", clock.at)
    verify_request("POST", "/v1/fragment", b"{}", headers, principal.cnf_jwk, Memory(), clock.at)


def test_a_user_s_own_token_is_refused_by_every_agent(http: TestClient, clock: Clock, tmp_path: Path) -> None:
    agent = TokenVerifier(ISSUER, agent_audience("water"), tmp_path / "jwks.json")
    with pytest.raises(AccessDenied):
        agent.verify(user_token(http), clock.at)


def test_a_token_for_one_agent_is_refused_by_another_and_cannot_be_exchanged_again(
    http: TestClient, clock: Clock, tmp_path: Path
) -> None:
    token = exchange(http, clock).json()["access_token"]
    with pytest.raises(AccessDenied):
        TokenVerifier(ISSUER, agent_audience("health"), tmp_path / "jwks.json").verify(token, clock.at)
    again = exchange(http, clock, subject_token=token, audience="agent:health")
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_two_exchanges_give_two_tokens(http: TestClient, clock: Clock) -> None:
    assert exchange(http, clock).json()["access_token"] != exchange(http, clock).json()["access_token"]


@pytest.mark.parametrize(
    ("user", "asked", "own"),
    [
        ("lin", "tax-audit", ["mass-balance"]),
        ("mei", None, ["inspection", "statistics"]),
        ("mei", "audit", ["inspection", "statistics"]),
        ("sun", None, []),
        ("sun", "audit", []),
    ],
)
def test_a_purpose_that_the_user_does_not_hold_is_refused_with_the_list_of_those_held(
    http: TestClient, clock: Clock, user: str, asked: str | None, own: list[str]
) -> None:
    answer = exchange(http, clock, user, asked)
    assert answer.status_code == 400
    assert (answer.json()["error"], answer.json()["purposes"]) == ("invalid_scope", own)
    error = exchange_error(answer.json())
    assert error.outcome is Outcome.PURPOSE
    assert all(purpose in error.hint for purpose in own)


def test_one_of_several_purposes_is_given_when_it_is_named(http: TestClient, clock: Clock, tmp_path: Path) -> None:
    token = exchange(http, clock, "mei", "statistics").json()["access_token"]
    principal = TokenVerifier(ISSUER, agent_audience("water"), tmp_path / "jwks.json").verify(token, clock.at)
    assert (principal.purpose, principal.purposes) == ("statistics", ("inspection", "statistics"))


def test_the_agent_s_token_does_not_outlive_the_user_s(http: TestClient, clock: Clock) -> None:
    token = user_token(http)
    clock.at += 3600 - 100
    answer = exchange(http, clock, subject_token=token)
    assert answer.json()["expires_in"] == 100
    clock.at += 101
    dead = exchange(http, clock, subject_token=token)
    assert dead.json()["error"] == "invalid_grant"
    assert exchange_error(dead.json()).outcome is Outcome.AUTH


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"audience": "gateway"}, "invalid_target"),
        ({"audience": "agent:"}, "invalid_target"),
        ({"audience": "agent:*"}, "invalid_target"),
        ({"audience": "agent:water agent:health"}, "invalid_target"),
        ({"audience": None}, "invalid_target"),
        ({"subject_token": "x.y.z"}, "invalid_grant"),
        ({"subject_token": None}, "invalid_grant"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"client_assertion": None}, "invalid_client"),
        ({"client_assertion": "x.y.z"}, "invalid_client"),
        ({"client_assertion_type": "password"}, "invalid_client"),
        ({"client_id": "other"}, "invalid_client"),
    ],
    ids=str,
)
def test_each_malformed_exchange_is_refused(http: TestClient, clock: Clock, change: dict[str, Any], error: str) -> None:
    answer = exchange(http, clock, **change)
    assert answer.status_code in (400, 401)
    assert answer.json()["error"] == error
    assert "access_token" not in answer.json()


def test_a_parameter_that_appears_twice_is_refused(http: TestClient) -> None:
    assert (
        http.post("/token", content=b"audience=agent:water&audience=agent:health").json()["error"] == "invalid_request"
    )


def test_a_stranger_s_key_a_stolen_user_token_does_not_help(http: TestClient, clock: Clock) -> None:
    form = exchange_form(user_token(http), "water", None, SigningKey.generate(), f"{ISSUER}/token", now=clock.at)
    assert http.post("/token", data=form).json()["error"] == "invalid_client"


def test_a_gateway_s_proof_is_good_once_and_for_this_provider_alone(http: TestClient, clock: Clock) -> None:
    form = exchange_form(user_token(http), "water", None, GATEWAY, f"{ISSUER}/token", now=clock.at)
    assert http.post("/token", data=form).status_code == 200
    again = http.post("/token", data=form)
    assert again.json()["error"] == "invalid_client"
    assert isinstance(exchange_error(again.json()), DepartmentError)
    elsewhere = exchange_form(user_token(http), "water", None, GATEWAY, "http://other/token", now=clock.at)
    assert http.post("/token", data=elsewhere).json()["error"] == "invalid_client"
    old = exchange_form(user_token(http), "water", None, GATEWAY, f"{ISSUER}/token", now=clock.at - 120)
    assert http.post("/token", data=old).json()["error"] == "invalid_client"


def test_a_token_signed_by_the_gateway_is_no_proof_of_the_gateway(http: TestClient, clock: Clock) -> None:
    at = int(clock.at)
    claims = {
        "iss": "gateway",
        "sub": "gateway",
        "aud": f"{ISSUER}/token",
        "iat": at,
        "exp": at + 60,
        "jti": "1",
    }
    assert exchange(http, clock, client_assertion=sign_token(GATEWAY, claims)).json()["error"] == "invalid_client"


def test_login_takes_the_right_password_only_and_tells_no_one_which_users_exist(
    http: TestClient, tmp_path: Path, clock: Clock
) -> None:
    passwords = orjson.loads((tmp_path / "passwords.json").read_bytes())
    assert set(passwords) == set(DEMO_USERS)
    good = http.post("/login", json={"user": "chen", "password": passwords["chen"]}).json()
    assert TokenVerifier(ISSUER, "gateway", tmp_path / "jwks.json").verify(good["access_token"]).purposes == (
        "public-health",
    )
    wrong = http.post("/login", json={"user": "chen", "password": passwords["lin"]})
    nobody = http.post("/login", json={"user": "nobody", "password": "x"})
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json() == nobody.json()
    assert http.post("/login", json={"user": "chen"}).status_code == 400


def test_a_login_with_a_key_of_ones_own_binds_every_token_to_it(http: TestClient, clock: Clock, tmp_path: Path) -> None:
    mine = SigningKey.generate()
    passwords = orjson.loads((tmp_path / "passwords.json").read_bytes())
    ways = {"/login": {"user": "lin", "password": passwords["lin"]}, "/dev-login": {"user": "lin"}}
    for path, body in ways.items():
        proof = dpop_proof(mine, "POST", f"{ISSUER}{path}", clock.at)
        token = http.post(path, json=body, headers={"DPoP": proof}).json()["access_token"]
        assert TokenVerifier(ISSUER, "gateway", tmp_path / "jwks.json").verify(token, clock.at).user_jkt == mine.kid
        agent_s = exchange(http, clock, subject_token=token).json()["access_token"]
        agent = TokenVerifier(ISSUER, agent_audience("water"), tmp_path / "jwks.json")
        assert agent.verify(agent_s, clock.at).user_jkt == mine.kid
    unbound = exchange(http, clock, user_jkt=mine.kid, cnf="x").json()["access_token"]
    assert agent.verify(unbound, clock.at).user_jkt == ""


def test_a_proof_of_a_key_is_for_one_login_now(http: TestClient, clock: Clock) -> None:
    mine = SigningKey.generate()
    url = f"{ISSUER}/dev-login"
    good = dpop_proof(mine, "POST", url, clock.at)
    answers = [http.post("/dev-login", json={"user": "lin"}, headers={"DPoP": good}) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 400]
    wrong = [
        dpop_proof(mine, "POST", f"{ISSUER}/login", clock.at),
        dpop_proof(mine, "GET", url, clock.at),
        dpop_proof(mine, "POST", url, clock.at - 90),
        dpop_proof(mine, "POST", url, clock.at + 90),
        good[:-4] + "AAAA",
        user_token(http),
        "x",
        "",
    ]
    for proof in wrong:
        answer = http.post("/dev-login", json={"user": "lin"}, headers={"DPoP": proof})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


def test_the_gateways_new_key_and_its_old_one_exchange_until_the_old_one_ends(
    http: TestClient, clock: Clock, tmp_path: Path
) -> None:
    new = SigningKey.generate()
    end = int(clock.at) + 100
    register_client(tmp_path, "gateway", [{**GATEWAY.public_jwk, "exp": end}, new.public_jwk])

    def works(key: SigningKey) -> bool:
        form = exchange_form(user_token(http), "water", None, key, f"{ISSUER}/token", now=clock.at)
        return bool(http.post("/token", data=form).status_code == 200)

    assert (works(GATEWAY), works(new), works(SigningKey.generate())) == (True, True, False)
    clock.at = end
    assert (works(GATEWAY), works(new)) == (False, True)


def test_secrets_are_readable_by_their_owner_alone(tmp_path: Path, provider: IdentityProvider) -> None:
    for name in ("idp.jwk", "passwords.json", "users.yaml"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_the_open_door_exists_only_on_demand_and_only_for_this_machine(provider: IdentityProvider) -> None:
    def knock(
        client: str = "127.0.0.1",
        host: str = "127.0.0.1:9000",
        door: bool = True,
        headers: dict[str, str] | None = None,
    ) -> int:
        app = create_app(provider, dev_login=door)
        http = TestClient(app, base_url=f"http://{host}", client=(client, 5000))
        return int(http.post("/dev-login", json={"user": "lin"}, headers=headers).status_code)

    assert knock() == 200
    assert knock(host="localhost:9000") == 200
    assert knock(door=False) == 404
    assert knock(client="10.0.0.7") == 403
    assert knock(host="rebound.example") == 403
    assert knock(headers={"Origin": "http://127.0.0.1:9000"}) == 403
    assert knock(headers={"X-Forwarded-For": "127.0.0.1"}) == 403


def test_an_unknown_user_at_the_open_door_is_told_who_lives_here(http: TestClient) -> None:
    answer = http.post("/dev-login", json={"user": "lim"})
    assert answer.status_code == 401
    assert "lin" in answer.json()["error_description"]


def test_a_purpose_that_is_taken_away_is_gone_at_the_next_exchange(
    http: TestClient, clock: Clock, tmp_path: Path
) -> None:
    token = user_token(http)
    (tmp_path / "users.yaml").write_text("users: {lin: {purposes: [planning, audit]}}")
    assert exchange(http, clock, subject_token=token, purpose="mass-balance").json()["error"] == "invalid_scope"
    (tmp_path / "users.yaml").write_text("users: {lin: {purpose: typo}}")
    assert exchange(http, clock, subject_token=token, purpose="audit").status_code == 200


def test_discovery_names_every_address(http: TestClient) -> None:
    found = http.get("/.well-known/openid-configuration").json()
    assert found["issuer"] == ISSUER
    assert found["token_endpoint"] == f"{ISSUER}/token"
    assert "d" not in http.get("/jwks").json()["keys"][0]


def test_errors_cross_as_city_errors(http: TestClient, clock: Clock) -> None:
    error = exchange_error(exchange(http, clock, "mei").json())
    assert CityError.from_dict(error.to_dict()).hint == "Choose one of yours with --purpose: inspection, statistics."


def test_the_process_starts_serves_and_refuses_an_open_door_to_the_world(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "atoll.demo.idp", "--dir", str(tmp_path), "--port", str(port)]
    world = subprocess.run([*command, "--dev-login", "--host", "0.0.0.0"], capture_output=True, text=True)
    assert world.returncode == 2
    assert "loopback" in world.stderr
    process = subprocess.Popen(command, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        assert _issuer(f"http://127.0.0.1:{port}") == f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _issuer(url: str) -> str:
    deadline = time.monotonic() + 30
    with Client(trust_env=False) as client:
        while True:
            try:
                return str(client.get(f"{url}/.well-known/openid-configuration").json()["issuer"])
            except HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
