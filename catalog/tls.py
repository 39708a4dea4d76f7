"""TLS between a gateway and the agents, without anybody in between who could vouch for a stranger.

Each side has a certificate of its own making, and trusts exactly those that were pinned: an agent the
gateways that its owner listed, a gateway the one agent that registered under the name. No authority signs
anything, so none can be tricked; a name in a certificate is for people and is not compared.

A certificate and its key are one JWK (EC P-256) with the member `x5c` (RFC 7517), in a `KeyRing` like any
other key: so they rotate with an overlap, and a revoked one is refused from the next request on.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from catalog.keys import Jwk, KeyFileError, KeyRing, in_force

__all__ = ["ServerTls", "certificate_of", "client_context", "create_ring", "is_loopback", "maker", "pinned"]

DAYS = 3 * 365
_SKEW = timedelta(hours=1)


def maker(name: str) -> Callable[[int], Jwk]:
    """What makes a new certificate with its key for `name`: for `KeyRing.create` and `rotate`."""
    return partial(_new_jwk, name)


def create_ring(path: Any, name: str) -> KeyRing:
    """The ring of TLS certificates in `path`, made if there is none."""
    return KeyRing.create(path, maker(name))


def _new_jwk(name: str, nbf: int) -> Jwk:
    """A private EC P-256 JWK with a self-signed certificate in `x5c`; kid: SHA-256 of the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    begin = datetime.fromtimestamp(nbf or time.time(), UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _SKEW)
        .not_valid_after(begin + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(Encoding.DER)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    jwk = dict(ECKey.import_key(private.decode()).as_dict(private=True))
    return {**jwk, "kid": _kid(der), "use": "tls", "nbf": nbf, "x5c": [base64.b64encode(der).decode()]}


def _kid(der: bytes) -> str:
    return base64.urlsafe_b64encode(sha256(der).digest()).decode().rstrip("=")


def certificate_of(jwk: Jwk) -> bytes | None:
    """The certificate (DER) of a JWK that carries one, else None. Raises KeyFileError for a malformed one."""
    if jwk.get("kty") != "EC" or "x5c" not in jwk:
        return None
    try:
        (text,) = jwk["x5c"]
        return _certificate(text)
    except (TypeError, ValueError, binascii.Error) as bad:
        raise KeyFileError("a malformed certificate") from bad


@lru_cache(maxsize=256)
def _certificate(text: str) -> bytes:
    """DER of a member of `x5c`: every request names a few known ones. Raises ValueError for no certificate."""
    der = base64.b64decode(text, validate=True)
    x509.load_der_x509_certificate(der)
    return der


def pinned(jwks: Iterable[Jwk], now: float) -> tuple[str, ...]:
    """The certificates (PEM) among public keys that are in force. Raises KeyFileError for a malformed one."""
    found = (certificate_of(jwk) for jwk in jwks if in_force(jwk, now))
    return tuple(ssl.DER_cert_to_PEM_cert(der) for der in found if der is not None)


def client_context(own: KeyRing, certificates: Iterable[str]) -> ssl.SSLContext:
    """For a client that shows its own certificate and takes exactly the server's given ones (PEM)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # One agent, one pin: the exact certificate says more than any name in it.
    context.check_hostname = False
    return _prepared(context, own, tuple(certificates))


def _server_context(own: KeyRing, certificates: tuple[str, ...] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A resumed session would skip the certificate.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return _prepared(context, own, certificates)


def _prepared(context: ssl.SSLContext, own: KeyRing, certificates: tuple[str, ...] | None) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if certificates is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        if certificates:
            context.load_verify_locations(cadata="\n".join(certificates))
    jwk = own.current()
    der = certificate_of(jwk)
    if der is None:
        raise KeyFileError(f"the key file {own.path.name} holds no certificate")
    try:
        private = ECKey.import_key({k: jwk[k] for k in ("kty", "crv", "x", "y", "d")}).as_pem(private=True)
    except (JoseError, KeyError, ValueError, TypeError):
        raise KeyFileError(f"the key file {own.path.name} holds no well-formed key") from None
    # The ssl module takes keys from files alone: one beside the ring, readable by its owner, gone at once.
    with tempfile.NamedTemporaryFile(dir=own.path.parent, prefix=".tls.") as file:
        file.write(bytes(private) + ssl.DER_cert_to_PEM_cert(der).encode())
        file.flush()
        context.load_cert_chain(file.name)
    return context


class ServerTls:
    """A server's side, always up to date: each handshake sees the ring and the pins as they are then."""

    def __init__(self, own: KeyRing, pins: Callable[[], tuple[str, ...]] | None) -> None:
        """pins: the client certificates (PEM) to take, asked at each handshake; None = clients need none.

        Raises KeyFileError if there is no certificate to serve with.
        """
        self._own = own
        self._pins = pins
        self._lock = threading.Lock()
        self._made: tuple[Any, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """The context to listen with."""
        listening = self._current()
        listening.sni_callback = self._refresh
        return listening

    def _refresh(self, sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        try:
            sock.context = self._current()
        except (KeyFileError, ssl.SSLError):
            return int(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
        return None

    def _current(self) -> ssl.SSLContext:
        pins = None if self._pins is None else self._pins()
        state = (self._own.current()["kid"], pins)
        with self._lock:
            if self._made is None or self._made[0] != state:
                self._made = (state, _server_context(self._own, pins))
            return self._made[1]


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether an address (name, IPv4, IPv6 with or without brackets) stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
