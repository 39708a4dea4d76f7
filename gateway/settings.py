"""gateway.yaml: where the gateway listens, whom it believes, which departments it knows.

Secrets are never written here: keys lie in files of their own under `state`, mode 0600.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.names import PlainName

__all__ = ["DepartmentEntry", "GatewaySettings", "IdentitySettings", "Limits", "load"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IdentitySettings(_Model):
    """The city's identity provider. jwks: path of its pinned key set. token_url: its exchange endpoint.

    dev_login: address of its door without passwords, for the demo only; `atoll gateway serve` refuses it.
    """

    issuer: str
    jwks: Path
    token_url: str
    client_id: str = "gateway"
    dev_login: str = ""


class DepartmentEntry(_Model):
    """One registered department. key: the public key (JWK) that signs its receipts. state: approved, suspended."""

    url: str
    title: str = ""
    key: dict[str, Any]
    state: str = "approved"


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
    certificate, certificate_key: PEM files for TLS; without them the gateway takes credentials from this
    machine or a TLS proxy only. version: the Trino release that clients are told.
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
    version: str = "476"
    environment: str = "atoll"


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
    return found.model_copy(
        update={
            "state": base / found.state,
            "questions": base / found.questions if found.questions else None,
            "identity": found.identity.model_copy(update={"jwks": base / found.identity.jwks}),
        }
    )


def _sentence(file: str, error: Any) -> str:
    place = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        known = {f for m in (GatewaySettings, IdentitySettings, DepartmentEntry, Limits) for f in m.model_fields}
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        return f"{file}: unknown setting {place}" + (f"; did you mean {near[0]}?" if near else "")
    return f"{file}: {place}: {error['msg']}"
