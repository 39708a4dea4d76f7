"""The gateway as the world would reach it: over TLS, by a proxy that ends it. Passwords need this."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass(frozen=True)
class Front:
    """url: https://127.0.0.1:port. certificate: PEM file that clients are to trust."""

    url: str
    port: int
    certificate: Path


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A new key and its self-signed certificate for 127.0.0.1, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    private, public = folder / "front.key", folder / "front.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return private, public


def _proxy(target: str) -> Starlette:
    """Passes every request on, and says under which address the client came."""

    @asynccontextmanager
    async def opened(app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=target, timeout=120, trust_env=False) as app.state.http:
            yield

    async def forward(request: Request) -> Response:
        kept = [(k, v) for k, v in request.headers.raw if k.lower() not in (b"host", b"content-length", b"connection")]
        forwarded = [(b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Host", request.headers["host"].encode())]
        url = httpx.URL(f"{target}{request.url.path}", query=request.url.query.encode())
        sent = request.app.state.http.build_request(
            request.method, url, headers=[*kept, *forwarded], content=await request.body()
        )
        answer = await request.app.state.http.send(sent, stream=True)
        body = b"".join([part async for part in answer.aiter_raw()])
        await answer.aclose()
        found = Response(body, answer.status_code)
        skipped = (b"content-length", b"connection", b"transfer-encoding")
        found.raw_headers += [(k.lower(), v) for k, v in answer.headers.raw if k.lower() not in skipped]
        return found

    methods = ["GET", "HEAD", "POST", "DELETE", "PUT"]
    return Starlette(routes=[Route("/{path:path}", forward, methods=methods)], lifespan=opened)


def ssl_context(certificate: Path) -> ssl.SSLContext:
    """Trusts this certificate alone."""
    return ssl.create_default_context(cafile=str(certificate))


@contextmanager
def tls_front(target: str, folder: Path) -> Iterator[Front]:
    """A proxy on a free port that ends TLS before `target` (an http:// address)."""
    private, public = _certificate(folder)
    config = uvicorn.Config(
        _proxy(target), host="127.0.0.1", port=0, log_level="warning", ssl_keyfile=private, ssl_certfile=str(public)
    )
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    port = socket.getsockname()[1]
    try:
        with httpx.Client(transport=httpx.HTTPTransport(verify=ssl_context(public), retries=10)) as client:
            client.get(f"https://127.0.0.1:{port}/v1/info", timeout=30).raise_for_status()
        yield Front(f"https://127.0.0.1:{port}", port, public)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
