"""Writes the demonstration city's configuration: one folder a department, one for the gateway.

    DIR/departments/<name>/department.yaml   from the template, with this city's addresses and secrets
    DIR/departments/<name>/department.signed.json   two owners' signatures over all that decides
    DIR/owners/                              those owners' keys, and the public ones of each department
    DIR/departments/<name>/gateways.json     the one gateway that the department lets in
    DIR/gateway/gateway.yaml                 who is registered, with their public keys and certificates
    DIR/idp/                                 the identity provider's keys, users and clients

Keys and linkage roots survive a restart: receipts of yesterday stay verifiable.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from atoll.city import Config
from atoll.city.base import SCALES
from atoll.commands.keys import card, rings
from atoll.demo import idp
from atoll.demo.processes import Failed
from catalog import keys
from catalog.policy import Department, PolicyError, countersigned, read_bundle, signed, signed_name, verify_seal

__all__ = [
    "DEPARTMENTS",
    "Ports",
    "department_card",
    "gateway_card",
    "install_department",
    "install_gateway",
    "install_identity",
    "policy_words",
]

DEPARTMENTS = ("water", "environment", "market", "health", "chemicals", "housing")
ADMIN = "zhao"
CONTACT = "desk@gateway.hailan.example"
_LISTEN = "listen: 127.0.0.1:0"
_IDENTITY = "identity: {issuer: http://127.0.0.1:0, jwks: file:jwks.json}"


@dataclass(frozen=True)
class Ports:
    """Every port of the city. agents and owners: by department.

    hosts: where others reach `register` and the departments, if not on loopback. bind: what agents and
    gateway listen on.
    """

    gateway: int
    idp: int
    register: int
    agents: dict[str, int]
    owners: dict[str, int]
    hosts: dict[str, str] = field(default_factory=dict)
    bind: str = "127.0.0.1"

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.idp}"

    def url(self, name: str) -> str:
        """The address of `register` or of a department's agent, as others reach it. Agents serve TLS."""
        scheme, port = ("http", self.register) if name == "register" else ("https", self.agents[name])
        return f"{scheme}://{self.hosts.get(name, '127.0.0.1')}:{port}"


def install_identity(folder: Path) -> None:
    """The identity provider's files, and the gateway's keys, of which the one that signs is registered there."""
    idp.prepare(folder / "idp")
    signing = [jwk for jwk in gateway_card(folder)["keys"] if jwk["kty"] == "OKP"]
    idp.register_client(folder / "idp", "gateway", signing)


def gateway_card(folder: Path) -> dict[str, Any]:
    """The public keys and certificates of the gateway in `folder`, made if there are none."""
    return card(rings(folder / "gateway" / "state", "gateway", "gateway.jwk"), "gateway")


def department_card(folder: Path, name: str) -> list[keys.Jwk]:
    """The public keys and certificates of a department that is installed in `folder`."""
    home = folder / "departments" / name
    policy = yaml.safe_load((home / "department.yaml").read_text(encoding="utf-8"))
    state = home / str(policy.get("state", "state"))
    return list(card(rings(state, f"agent:{name}", "receipt.key"))["keys"])


def install_department(
    name: str, folder: Path, config: Config, ports: Ports, source: dict[str, Any] | None = None, password: str = ""
) -> Path:
    """One department's folder; returns its department.yaml. source, password: of a database server.

    Raises Failed if the template does not have the places that are filled in here.
    """
    home = folder / "departments" / name
    home.mkdir(parents=True, exist_ok=True)
    template = Path(str(files("atoll.city"))) / "departments" / name
    shutil.rmtree(home / "views", ignore_errors=True)
    if (template / "views").is_dir():
        shutil.copytree(template / "views", home / "views")
    shutil.copyfile(folder / "idp" / "jwks.json", home / "jwks.json")
    gateways = {"gateways": {"gateway": gateway_card(folder)["keys"]}}
    (home / "gateways.json").write_text(json.dumps(gateways, indent=2), encoding="utf-8")
    text = (template / "department.yaml").read_text(encoding="utf-8")
    address = f"listen: {ports.bind}:{ports.agents[name]}\nowner_listen: 127.0.0.1:{ports.owners[name]}"
    text = _put(name, text, _LISTEN, address)
    identity = f"identity: {{issuer: {ports.issuer}, jwks: file:jwks.json, gateways: file:gateways.json}}"
    text = _put(name, text, _IDENTITY, identity)
    text = _source(name, text, folder / "silos" / name, config, ports, source)
    if password:
        _secret(home / "source.password", password)
    for root in {line.split("file:")[1].split("}")[0] for line in text.splitlines() if "root: file:" in line}:
        if not (home / root).exists():
            _secret(home / root, secrets.token_hex(32))
    file = home / "department.yaml"
    file.write_text(text, encoding="utf-8")
    _sign(folder / "owners", name, file)
    return file


def _sign(folder: Path, name: str, file: Path) -> None:
    """Two owners' signatures over the policy as it was installed; the number grows only where something changed.

    folder: of the demonstration's owners. Elsewhere no two of these keys lie on one machine.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    first, second = (keys.load_or_create(folder / f"{name}-{n}.key") for n in (1, 2))
    owners = {key.kid: key.public_jwk for key in (first, second)}
    (folder / f"{name}.jwks").write_text(json.dumps({"keys": list(owners.values())}, indent=2), encoding="utf-8")
    bundle = read_bundle(file)
    try:
        verify_seal(bundle, name, owners)
    except PolicyError:
        begun = replace(bundle, signed=signed(bundle, name, first))
        keys.replace_file(file.with_name(signed_name(file.name)), countersigned(begun, name, second), 0o644)


def _source(name: str, text: str, silo: Path, config: Config, ports: Ports, source: dict[str, Any] | None) -> str:
    """The template with this city's silo in it."""
    path = os.path.relpath(silo, silo.parent.parent / "departments" / name)
    if name in ("water", "market", "health"):
        database = f"main: {{kind: sqlite, path: {name}.db}}"
        if source is not None:
            entry = {**source, "password": "file:source.password"}
            flow = yaml.safe_dump(entry, default_flow_style=True, width=1000, sort_keys=False).rstrip()
            return _put(name, text, database, f"main: {flow}")
        text = _put(name, text, database, f"main: {{kind: sqlite, path: {_quoted(f'{path}/{name}.db')}}}")
    if name in ("environment", "housing"):
        text = _put(name, text, "path: .", f"path: {_quoted(path)}")
    if name == "chemicals":
        rate = SCALES[config.scale_name].requests_per_second
        text = _put(name, text, "url: http://127.0.0.1:8201/v2/", f"url: {ports.url('register')}/v2/")
        text = _put(name, text, "rate: 5\n", f"rate: {rate}\n")
    if name == "health":
        listed = ", ".join(f'"{year}"' for year in config.year_list)
        text = _put(name, text, '["2014", "2015", "2016", "2017", "2018", "2019"]', f"[{listed}]")
    return text


def _quoted(text: str) -> str:
    """A YAML scalar that is surely a text."""
    return json.dumps(text, ensure_ascii=False)


def _put(name: str, text: str, place: str, value: str) -> str:
    if text.count(place) != 1:
        raise Failed(f"the template of {name} has not exactly one {place!r}")
    return text.replace(place, value)


def _secret(file: Path, text: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)


def install_gateway(
    folder: Path,
    ports: Ports,
    registered: dict[str, tuple[str, dict[str, Any]]],
    questions: Path,
    contacts: dict[str, str] | None = None,
) -> Path:
    """gateway.yaml. registered: department -> (title, public key of its receipts). contacts: whom to ask there."""
    home = folder / "gateway"
    shutil.copyfile(folder / "idp" / "jwks.json", home / "jwks.json")
    settings = {
        "listen": f"{ports.bind}:{ports.gateway}",
        "state": "state",
        "identity": {
            "issuer": ports.issuer,
            "jwks": "jwks.json",
            "token_url": f"{ports.issuer}/token",
            "authorize_url": f"{ports.issuer}/authorize",
            "dev_login": f"{ports.issuer}/dev-login",
        },
        "questions": str(questions),
        "admins": [ADMIN],
        "departments": {
            name: {
                "url": ports.url(name),
                "title": title,
                "contact": (contacts or {}).get(name, ""),
                "key": key,
                "keys": department_card(folder, name),
            }
            for name, (title, key) in registered.items()
        },
        "contact": CONTACT,
    }
    file = home / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def policy_words(department: Department) -> str:
    """A department's policy in about five words: its strictest promise first."""
    modes = {grant.mode for grant in department.grants}
    floors = sorted({g.min_group for g in department.grants if g.mode == "aggregate" and g.min_group})
    words = []
    if modes & {"masked", "open"}:
        hidden = any(grant.masks for grant in department.grants)
        words.append("masked rows" if hidden else "rows by purpose")
    if "verify" in modes:
        words.append("yes or no about one person")
    if floors:
        words.append(("sums only" if modes == {"aggregate"} else "sums") + f" from {floors[0]}")
    return ", ".join(words) or "nothing granted"
