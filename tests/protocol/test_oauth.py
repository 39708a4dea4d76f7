"""Logging in with a browser: the real identity provider, the real flow, clients that nobody modified."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import re
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
import trino
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from trino.auth import OAuth2Authentication

from atoll.demo import idp
from catalog.identity import GATEWAY_AUDIENCE, TokenVerifier, client_assertion
from catalog.keys import SigningKey
from gateway.execution import Session
from gateway.server import oauth as login
from gateway.server.app import create_app
from gateway.server.oauth import OAuth
from gateway.server.session import Options
from gateway.server.wire import KEEP_ALIVE_SECONDS, Wire
from tests.protocol.conftest import QUICK, Served
from tests.protocol.stub import StubGateway

KEPT = 8
"""Logins that the gateway of these tests keeps at most."""


class Verifying(StubGateway):
    """The stub's answers behind real tokens."""

    def __init__(self, verifier: TokenVerifier) -> None:
        super().__init__(dev=False)
        self.verifier = verifier

    def authenticate(self, token: str) -> Session:
        return Session(user=self.verifier.verify(token).sub, token=token)


@dataclass
class Home:
    """A gateway over TLS and its identity provider. password: of the user lin."""

    url: str
    port: int
    issuer: str
    password: str
    certificate: Path


def bound() -> Any:
    """A listening socket on a free port."""
    return uvicorn.Config(FastAPI(), host="127.0.0.1", port=0).bind_socket()


@contextmanager
def running(app: Any, socket: Any, **options: Any) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("login")
    idp_socket, gateway_socket = bound(), bound()
    issuer = f"https://127.0.0.1:{idp_socket.getsockname()[1]}"
    key = SigningKey.generate()
    idp.prepare(folder)
    idp.register_client(folder, "gateway", key.public_jwk)
    provider = idp.IdentityProvider(folder, issuer)
    gateway = Verifying(TokenVerifier(issuer, GATEWAY_AUDIENCE, folder / "jwks.json"))
    token_url = f"{issuer}/token"
    certificate, certificate_key = self_signed(folder)
    oauth = OAuth(
        f"{issuer}/authorize", token_url, "gateway", lambda: client_assertion(key, "gateway", token_url), ca=certificate
    )
    with pytest.MonkeyPatch.context() as small:
        small.setattr(login, "MAX_LOGINS", KEPT)
        app = create_app(gateway, Options(oauth=oauth))
    tls = {"ssl_certfile": certificate, "ssl_keyfile": certificate_key}
    port = gateway_socket.getsockname()[1]
    with (
        running(idp.create_app(provider), idp_socket, **tls),
        running(app, gateway_socket, http=Wire, timeout_keep_alive=KEEP_ALIVE_SECONDS, **tls),
        httpx.Client(transport=httpx.HTTPTransport(retries=20, verify=False)) as client,
    ):
        client.get(f"https://127.0.0.1:{port}/healthz", timeout=30).raise_for_status()
        client.get(f"{issuer}/healthz", timeout=30).raise_for_status()
        password = orjson.loads((folder / "passwords.json").read_bytes())["lin"]
        yield Home(f"https://127.0.0.1:{port}", port, issuer, password, certificate)
    gateway.close()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return certificate, private


class Browser:
    """Follows addresses, keeps cookies, fills in the one form."""

    def __init__(self) -> None:
        self.http = httpx.Client(verify=False, follow_redirects=True, timeout=30)

    def open(self, url: str) -> httpx.Response:
        return self.http.get(url)

    def log_in(self, page: httpx.Response, user: str, password: str) -> httpx.Response:
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text))
        form = {name: unescape(value) for name, value in fields.items()}
        return self.http.post(page.url.join("authorize"), data={**form, "user": user, "password": password})

    def confirm(self, page: httpx.Response, answer: str = "yes") -> httpx.Response:
        return self.http.post(page.url.join("confirm"), data={"question": question_of(page), "answer": answer})


def question_of(page: httpx.Response) -> str:
    """What the page that asks for a confirmation sends back."""
    found = re.search(r'name="question" value="([^"]*)"', page.text)
    assert found, page.text
    return found[1]


def logs_in(home: Home) -> Callable[[str], None]:
    def handle(url: str) -> None:
        browser = Browser()
        done = browser.confirm(browser.log_in(browser.open(url), "lin", home.password))
        assert "logged in as lin" in done.text, done.text

    return handle


def challenged(home: Home) -> tuple[str, str]:
    """(redirect, token) addresses of a fresh challenge."""
    refused = httpx.post(f"{home.url}/v1/statement", content="SELECT 1", verify=False)
    assert refused.status_code == 401
    text = next(c for c in refused.headers.get_list("WWW-Authenticate") if "x_token_server" in c)
    found = dict(re.findall(r'(x_\w+)="([^",]*)"', text))
    return found["x_redirect_server"], found["x_token_server"]


def test_the_python_client_logs_in_with_a_browser_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both would be believed before what the connection says.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    opened: list[str] = []

    def browse(url: str) -> None:
        opened.append(url)
        threading.Thread(target=logs_in(home), args=(url,)).start()

    with trino.dbapi.connect(
        host="127.0.0.1", port=home.port, http_scheme="https", verify=str(home.certificate), user="lin",
        auth=OAuth2Authentication(browse),
    ) as connection:  # fmt: skip
        cursor = connection.cursor()
        for _ in range(2):
            cursor.execute("SELECT current_user")
            assert cursor.fetchall() == [["lin"]]
    assert len(opened) == 1


def test_the_command_line_logs_in_with_a_browser(home: Home, cli: Path) -> None:
    java = shutil.which("java")
    assert java
    command = [
        java, "-Xmx256m", *QUICK, "-jar", str(cli), "--server", home.url, "--insecure", "--user", "lin",
        "--output-format", "CSV_UNQUOTED", "--external-authentication", "--external-authentication-redirect-handler",
        "PRINT", "--execute", "SELECT current_user",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "TRINO_PAGER": ""}
    ) as running_cli:
        assert running_cli.stdout is not None
        lines = []
        for line in running_cli.stdout:
            lines.append(line.strip())
            found = re.search(r"https://\S+/oauth2/token/initiate/\S+", line)
            if found:
                logs_in(home)(found[0])
        assert running_cli.wait(timeout=60) == 0, lines
    assert lines[-1] == "lin", lines


def test_addresses_in_the_challenge_hide_the_login_from_the_browser(home: Home) -> None:
    redirect, token = challenged(home)
    login = token.rpartition("/")[2]
    assert redirect == f"{home.url}/oauth2/token/initiate/{hashlib.sha256(login.encode()).hexdigest()}"
    assert str(uuid.UUID(login)) == login
    assert challenged(home)[1] != token


def test_a_token_is_handed_out_until_it_is_acknowledged(home: Home) -> None:
    redirect, token = challenged(home)
    logs_in(home)(redirect)
    with httpx.Client(verify=False) as client:
        found = client.get(token)
        assert found.headers["Cache-Control"] == "no-store"
        answer = found.json()["token"]
        assert client.get(token).json()["token"] == answer, "the first answer may have got lost"
        assert client.delete(token).status_code == 204
        headers = {"Authorization": f"Bearer {answer}"}
        assert client.head(f"{home.url}/v1/statement", headers=headers).status_code == 200


def test_a_login_counts_when_its_user_says_so(home: Home) -> None:
    """Whoever makes somebody open the address of a login that is not theirs has nothing by that alone."""
    redirect, token = challenged(home)
    browser = Browser()
    page = browser.log_in(browser.open(redirect), "lin", home.password)
    assert page.status_code == 200
    assert "<b>lin</b>" in page.text
    assert f"<code>{redirect[-8:]}</code>" in page.text, "the end of the address that the program shows"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.get, token, verify=False, timeout=30)
        assert not asked.done()
        assert "Nobody was logged in" in browser.confirm(page, "no").text
        assert asked.result().json() == {"error": "The user did not confirm the login."}
    assert "eyJ" not in page.text, "the token is sealed"


@pytest.mark.parametrize("how", ["another browser", "a question of somebody else", "a made-up question", "no question"])
def test_only_the_browser_that_was_asked_confirms(home: Home, how: str) -> None:
    redirect, token = challenged(home)
    browser, other = Browser(), Browser()
    page = browser.log_in(browser.open(redirect), "lin", home.password)
    theirs = other.log_in(other.open(challenged(home)[0]), "lin", home.password)
    asked = page.url.join("confirm")
    if how == "another browser":
        refused = other.confirm(page)
    elif how == "a question of somebody else":
        refused = browser.confirm(theirs)
    else:
        refused = browser.http.post(asked, data={"question": "x" * 80, "answer": "yes"} if "made" in how else {})
    assert (refused.status_code, "logged in" in refused.text) == (400, False)
    assert "logged in as lin" in browser.confirm(page).text
    assert "token" in httpx.get(token, verify=False).json()


def test_a_crowd_of_strangers_pushes_no_login_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one whose browser is on its way, nor one whose token waits for its client."""
    started, waiting = challenged(home), challenged(home)
    browser = Browser()
    page = browser.open(started[0])
    logs_in(home)(waiting[0])
    monkeypatch.setattr("gateway.server.oauth.HELD_SECONDS", 0.0)
    with httpx.Client(base_url=home.url, verify=False, timeout=30) as crowd:
        for number in range(5 * KEPT):
            crowd.get(f"/oauth2/token/initiate/{number:064x}")
            crowd.get(f"/oauth2/token/{uuid.UUID(int=number, version=4)}")
            crowd.get("/oauth2/callback", params={"state": f"s{number}", "error": "x"})
    assert "token" in httpx.get(waiting[1], verify=False).json()
    assert "logged in as lin" in browser.confirm(browser.log_in(page, "lin", home.password)).text
    assert "token" in httpx.get(started[1], verify=False).json()


def test_a_wrong_password_goes_nowhere(home: Home) -> None:
    redirect, _ = challenged(home)
    browser = Browser()
    refused = browser.log_in(browser.open(redirect), "lin", "wrong")
    assert refused.status_code == 401
    assert urlsplit(str(refused.url)).path == "/authorize"


def test_another_browser_cannot_finish_the_login(home: Home) -> None:
    """Somebody who is given the last address of a login cannot be logged in by it, nor log the client in."""
    redirect, _ = challenged(home)
    browser, other = Browser(), Browser()
    page = browser.open(redirect)
    browser.http.follow_redirects = False
    back = browser.log_in(page, "lin", home.password).headers["Location"]
    refused = other.open(back)
    assert refused.status_code == 400
    assert "token" not in refused.text
    assert browser.open(back).status_code == 400, "a login that was tried by somebody else is over"


def test_a_login_that_fails_tells_the_client(home: Home) -> None:
    redirect, token = challenged(home)
    browser = Browser()
    page = browser.open(redirect)
    state = parse_qs(urlsplit(str(page.url)).query)["state"][0]
    refused = browser.open(f"{home.url}/oauth2/callback?state={state}&error=access_denied&error_description=%3Cb%3E")
    assert refused.status_code == 403
    assert "<b>" not in refused.text
    assert "did not log you in" in httpx.get(token, verify=False).json()["error"]
    redirect, token = challenged(home)
    state = parse_qs(urlsplit(str(browser.open(redirect).url)).query)["state"][0]
    assert browser.open(f"{home.url}/oauth2/callback?state={state}&code=guessed").status_code == 403
    assert "did not give a token" in httpx.get(token, verify=False).json()["error"]


@pytest.mark.parametrize(
    "path", ["token/nope", f"token/{uuid.UUID(int=7)}x", "token/initiate/abc", "token/initiate/" + "g" * 64]
)
def test_addresses_that_nobody_gave_out_are_not_found(home: Home, path: str) -> None:
    assert httpx.get(f"{home.url}/oauth2/{path}", verify=False).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "https://evil.example/oauth2/callback"},
        {"redirect_uri": "http://127.0.0.1:1/elsewhere"},
        {"client_id": "nobody"},
        {"code_challenge_method": "plain"},
        {"code_challenge": ""},
        {"response_type": "token"},
    ],
)
def test_the_provider_sends_codes_to_registered_clients_alone(home: Home, change: dict[str, str]) -> None:
    redirect, _ = challenged(home)
    asked = httpx.get(redirect, verify=False).headers["Location"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(asked).query).items()}
    with httpx.Client(base_url=home.issuer, verify=False) as client:
        assert client.get("/authorize", params=query).status_code == 200
        assert client.get("/authorize", params={**query, **change}).status_code == 400


def test_without_a_provider_for_browsers_there_is_no_such_challenge(served: Served) -> None:
    refused = httpx.post(f"{served.url}/v1/statement", content="SELECT 1")
    assert not any("x_token_server" in c for c in refused.headers.get_list("WWW-Authenticate"))
