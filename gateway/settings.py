"""gateway.yaml: where the gateway listens, whom it believes, which departments it knows.

Secrets are never written here: keys lie in files of their own under `state`, mode 0600.
"""

from __future__ import annotations

import difflib
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.keys import same_key
from catalog.names import PlainName
from catalog.tls import is_loopback

__all__ = ["DepartmentEntry", "GatewaySettings", "IdentitySettings", "Limits", "load"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IdentitySettings(_Model):
    """The city's identity provider. jwks: path of its pinned key set. token_url: its exchange endpoint.

    authorize_url: its page for browsers (OAuth 2 code flow), "" if clients cannot log in that way.
    dev_login: address of its door without passwords, for the demo only; `atoll gateway serve` refuses it.
    ca: PEM file of the authority that vouches for its https addresses, the system's own by default.
    """

    issuer: str
    jwks: Path
    token_url: str
    authorize_url: str = ""
    client_id: str = "gateway"
    dev_login: str = ""
    ca: Path | None = None


class DepartmentEntry(_Model):
    """One registered department. key: the public key (JWK) that signs its receipts. state: approved, suspended.

    keys: public keys with their terms that count beside `key`: receipt keys, and the TLS certificates (EC keys
    with `x5c`) by which an https address is recognised. renewed: when they were last changed, unix seconds.
    contact: whom to ask about what the department refuses; shown to anybody.
    tunnel: the way to a plain http address on another machine is protected by other means.
    """

    url: str
    title: str = ""
    contact: str = ""
    key: dict[str, Any]
    keys: tuple[dict[str, Any], ...] = ()
    state: str = "approved"
    renewed: int = 0
    tunnel: bool = False

    @cached_property
    def receipt_keys(self) -> tuple[dict[str, Any], ...]:
        """The keys that may sign answers. Where terms are stated they count, for `key` as well."""
        listed = tuple(k for k in self.keys if k.get("kty") == "OKP")
        return listed if any(same_key(k, self.key) for k in listed) else (self.key, *listed)


class Limits(_Model):
    """What one query may use in the gateway, and how long it waits for departments (seconds)."""

    memory_mb: int = 2048
    threads: int = 2
    query_seconds: int = 300
    connect_seconds: float = 2.0
    answer_seconds: float = 2.5
    concurrent: int = 64


class GatewaySettings(_Model):
    """The whole file. Relative paths are taken from the file's folder.

    questions: folder of example questions. admins: users who may approve and suspend departments.
    certificate, certificate_key: PEM files for TLS; without them the gateway serves this machine alone, or a
    TLS proxy (`--behind-tls-proxy`). require_tls: take credentials over TLS only, but for this machine's own.
    version: the Trino release that clients are told. contact: whom to ask about what the gateway itself refuses.
    """

    listen: str = "127.0.0.1:8080"
    state: Path = Path("state")
    identity: IdentitySettings
    departments: dict[PlainName, DepartmentEntry] = {}
    questions: Path | None = None
    admins: tuple[str, ...] = ()
    limits: Limits = Limits()
    certificate: Path | None = None
    certificate_key: Path | None = None
    require_tls: bool = True
    version: str = "476"
    environment: str = "atoll"
    contact: str = ""


def load(path: str | Path) -> GatewaySettings:
    """Read gateway.yaml. Raises ValueError with one line per fault, the nearest name for an unknown key."""
    path = Path(path)
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(raw, dict):
        raise ValueError(f"{path.name}: expected a mapping of settings")
    try:
        found = GatewaySettings.model_validate(raw)
    except ValidationError as bad:
        raise ValueError("\n".join(_sentence(path.name, e) for e in bad.errors())) from None
    base = path.resolve().parent
    address = urlsplit(found.identity.token_url)
    if address.scheme != "https" and not is_loopback(address.hostname or ""):
        raise ValueError(f"{path.name}: identity.token_url: users' tokens go there, so it must be https or on loopback")
    ca = found.identity.ca
    here = {"jwks": base / found.identity.jwks, "ca": base / ca if ca else None}
    return found.model_copy(
        update={
            "state": base / found.state,
            "questions": base / found.questions if found.questions else None,
            "identity": found.identity.model_copy(update=here),
            "certificate": base / found.certificate if found.certificate else None,
            "certificate_key": base / found.certificate_key if found.certificate_key else None,
        }
    )


def _sentence(file: str, error: Any) -> str:
    place = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        known = {f for m in (GatewaySettings, IdentitySettings, DepartmentEntry, Limits) for f in m.model_fields}
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        return f"{file}: unknown setting {place}" + (f"; did you mean {near[0]}?" if near else "")
    return f"{file}: {place}: {error['msg']}"
