"""`atoll keys`: makes, shows, rotates and revokes the keys of an agent, a gateway or a demo's identity provider.

Each use has a ring of its own (`catalog.keys.KeyRing`). What the other side needs of it is public: a card,
printed by `show --public` and pinned there with `trust`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
import yaml

from atoll import render
from atoll.commands import common
from atoll.commands.common import JsonOption
from catalog.errors import UserError
from catalog.files import replace_file

if TYPE_CHECKING:
    from catalog.keys import Jwk, KeyRing
    from catalog.policy import Department

__all__ = ["app", "card", "registration", "rings"]

app = typer.Typer(no_args_is_help=True, help="Keys and certificates: new, show, rotate, revoke, trust.")
OwnerArgument = Annotated[
    Path, typer.Argument(help="department.yaml, gateway.yaml, or the folder of a demo's identity provider.")
]
COLUMNS = ("use", "key", "from", "until", "state")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _signing_key(nbf: int) -> Jwk:
    from catalog.keys import new_jwk

    return new_jwk(nbf)


@dataclass(frozen=True)
class Ring:
    """One use of keys. public: whether the other side needs to know them. make: nbf -> a new private JWK."""

    use: str
    path: Path
    public: bool
    make: Callable[[int], Jwk] = _signing_key

    def open(self) -> KeyRing:
        """The ring; made if there is none. Raises KeyFileError."""
        from catalog.keys import KeyRing

        return KeyRing.create(self.path, self.make)


@dataclass(frozen=True)
class Owner:
    """Whose keys. client_id: of a gateway, "" else. jwks: its pinned key set of the issuer. gateways: its pins."""

    name: str
    rings: tuple[Ring, ...]
    client_id: str = ""
    jwks: Path | None = None
    gateways: Path | None = None
    folder: Path | None = None


def rings(state: Path, name: str, signing: str) -> tuple[Ring, ...]:
    """The rings of a state folder. signing: the one that signs what the other side reads, by file name."""
    from catalog import tls

    use = "receipt" if signing == "receipt.key" else "signing"
    return (
        Ring(use, state / signing, True),
        Ring("tls", state / "tls.key", True, tls.maker(name)),
        Ring("ledger", state / "ledger.key", False),
    )


def _department(file: Path) -> Owner:
    from atoll.commands.agent import load_department

    department, folder = load_department(file), file.resolve().parent
    identity = department.identity
    return Owner(
        department.department,
        rings(folder / department.state, f"agent:{department.department}", "receipt.key"),
        jwks=folder / identity.jwks.removeprefix("file:"),
        gateways=folder / (identity.gateways.removeprefix("file:") or "gateways.json"),
    )


def _gateway(file: Path) -> Owner:
    from gateway.settings import load

    settings = load(file)
    name = settings.identity.client_id
    return Owner(name, rings(settings.state, name, "gateway.jwk"), name, settings.identity.jwks)


def _owner(file: Path) -> Owner:
    """Whose file it is. Ends the command for a file that is nobody's."""
    if file.is_dir():
        return Owner("identity provider", (Ring("signing", file / "idp.jwk", True),), folder=file)
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _department(file) if isinstance(found, dict) and "department" in found else _gateway(file)
    except (OSError, ValueError, yaml.YAMLError) as bad:
        raise typer.BadParameter(f"{file} is no department.yaml and no gateway.yaml: {bad}") from None


def card(owned: tuple[Ring, ...], client_id: str = "") -> dict[str, Any]:
    """What the other side pins: all public keys that count now or later. client_id: of a gateway."""
    from catalog.keys import in_force

    at = time.time()
    listed = [k for ring in owned if ring.public for k in ring.open().public()]
    lasting = [k for k in listed if in_force(k, max(at, float(k.get("nbf", 0))))]
    return {**({"client_id": client_id} if client_id else {}), "keys": lasting}


def registration(file: Path, department: Department, address: str = "") -> dict[str, Any]:
    """What a department sends to a gateway, signed by every means it needs. address: "" = as `listen` says."""
    from catalog.identity import registration_bytes

    state = file.resolve().parent / department.state
    receipt, *others = rings(state, f"agent:{department.department}", "receipt.key")
    secure = bool(department.identity.gateways)
    url = address or f"{'https' if secure else 'http'}://{department.listen}"
    ring, at = receipt.open(), int(time.time())
    body = {"name": department.department, "title": department.title, "url": url, "key": ring.public_jwk}
    body["contact"] = department.answers
    listed = card((receipt, *others))["keys"] if secure else []
    told = (ring.public_jwk, listed, at, department.answers, department.title)
    data = registration_bytes(department.department, url, *told)
    # The gateway may know the old key alone: during the overlap it still counts, and vouches for the new one.
    return {**body, "keys": listed, "at": at, "proof": ring.oldest().sign(data)}


# ---------------------------------------------------------------- commands


@app.command()
def new(file: OwnerArgument, as_json: JsonOption = False) -> None:
    """Make the keys that are missing; those that are there stay. Agents and gateways do it at their start too.

    Example: atoll keys new department.yaml
    """
    with _readable(as_json):
        owner = _owner(file)
        for ring in owner.rings:
            ring.open()
        _publish(owner)
        _print(owner, as_json)


@app.command()
def show(
    file: OwnerArgument,
    public: Annotated[bool, typer.Option("--public", help="Print the card that the other side pins.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List keys and certificates with their terms; never a secret.

    Example: atoll keys show gateway.yaml --public > gateway.card.json
    """
    with _readable(as_json):
        owner = _owner(file)
        if public:
            common.print_json(card(owner.rings, owner.client_id))
        else:
            _print(owner, as_json)


@app.command()
def rotate(
    file: OwnerArgument,
    use: Annotated[str, typer.Option("--use", help="One use of keys alone: signing, receipt, tls, ledger.")] = "",
    at: Annotated[str, typer.Option("--at", help="When the new key begins: a time, or +2h.")] = "",
    overlap: Annotated[str, typer.Option("--overlap", help="How long the old one still counts then.")] = "7d",
    as_json: JsonOption = False,
) -> None:
    """Add new keys; the old ones count for a while yet. No restart is needed.

    Examples:

      atoll keys rotate gateway.yaml --at +1d

      atoll keys rotate department.yaml --use tls --overlap 12h

    Tell the other side meanwhile: a department runs `atoll register` again, a gateway's operator gives the
    card of `atoll keys show gateway.yaml --public` to the departments and the identity provider.
    """
    begin, seconds = _instant(at), _duration(overlap)
    with _readable(as_json):
        owner = _owner(file)
        chosen = [ring for ring in owner.rings if use in ("", ring.use)]
        if not chosen:
            known = ", ".join(ring.use for ring in owner.rings)
            raise typer.BadParameter(f"{owner.name} has no keys for {use}; it has {known}")
        for ring in chosen:
            ring.open().rotate(begin, seconds, ring.make)
        _publish(owner)
        _print(owner, as_json)


@app.command()
def revoke(
    file: OwnerArgument,
    key: Annotated[str, typer.Argument(help="The key's name, as `show` prints it.")],
    as_json: JsonOption = False,
) -> None:
    """End a key now: an own one, or in a department.yaml a gateway's that was trusted. No restart is needed.

    Example: atoll keys revoke department.yaml kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k

    An agent refuses a revoked gateway from the next request on and stops what it was sending to it. Of an own
    key that was in use a new one is made at once.
    """
    with _readable(as_json):
        owner = _owner(file)
        found = [ring.open().revoke(key, ring.make) for ring in owner.rings if ring.path.exists()]
        if not any(found) and not _revoke_trusted(owner, key):
            raise UserError(
                f"{owner.name} has no key of this name.", who="atoll keys", rule="key",
                hint=f"atoll keys show {file} lists them.",
            )  # fmt: skip
        _publish(owner)
        _print(owner, as_json)


@app.command()
def trust(
    file: OwnerArgument,
    given: Annotated[Path, typer.Argument(help="A gateway's card, or the key set (JWKS) of the identity provider.")],
    again: Annotated[
        list[str] | None, typer.Option("--again", help="A key that was revoked here, by name, to be trusted after all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pin a gateway, or the identity provider's keys, as they were given to you by hand.

    Example: atoll keys trust department.yaml gateway.card.json

    Compare the names of the keys with their owner by another way than the one that the file came. A key that was
    revoked here stays revoked, whatever a card says of it, unless --again names it.
    """
    with _readable(as_json):
        owner = _owner(file)
        found = _given(given)
        client_id = str(found.get("client_id", ""))
        if client_id:
            _trust_gateway(owner, client_id, found["keys"], again or [])
        elif owner.jwks is not None:
            known, listed = _key_set(owner.jwks), found["keys"]
            kept = [*_still_revoked(known, listed, again or []), *_forgotten(known, listed)]
            replace_file(owner.jwks, orjson.dumps({"keys": kept}, option=orjson.OPT_INDENT_2), 0o644)
        else:
            raise typer.BadParameter("an identity provider trusts gateways: give a gateway's card")
        _print(owner, as_json)


# ---------------------------------------------------------------- pins


def _given(file: Path) -> dict[str, Any]:
    """A card, or a key set, that holds what it should. Ends the command for anything else."""
    from catalog import keys, tls
    from catalog.identity import TokenVerifier

    try:
        found = orjson.loads(file.read_bytes())
        listed = found["keys"]
        if not listed or any(k != keys.public_jwk(k) for k in listed):
            raise ValueError("no list of public keys")
        if not found.get("client_id"):
            TokenVerifier("", "gateway", {"keys": listed})
        elif not all(tls.certificate_of(jwk) or keys.thumbprint(jwk) for jwk in listed):
            raise ValueError("no list of public keys")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise typer.BadParameter(
            f"{file} is no card and no key set: it needs public keys, as `show --public`"
        ) from None
    return dict(found)


def _still_revoked(known: list[Jwk], given: list[Jwk], again: list[str]) -> list[Jwk]:
    """Keys as they were given, but those that are known as revoked as they are known."""
    ended = {_name(k): k for k in known if "revoked" in k and _name(k) not in again}
    for jwk in given:
        if _name(jwk) in ended and "revoked" not in jwk:
            common.err().print(
                f"! {_name(jwk)} was revoked here {_day(ended[_name(jwk)]['revoked'])} and stays revoked; "
                "--again trusts it anew", style="yellow",
            )  # fmt: skip
    return [ended.get(_name(k), k) for k in given]


def _forgotten(known: list[Jwk], given: list[Jwk]) -> list[Jwk]:
    """Revoked keys that a new list does not speak of: they stay known, or the next list would bring them back."""
    named = {_name(k) for k in given}
    return [k for k in known if "revoked" in k and _name(k) not in named]


def _key_set(file: Path) -> list[Jwk]:
    """The keys that are pinned now; none of a file that is not there, or no key set any more."""
    try:
        return [k for k in orjson.loads(file.read_bytes())["keys"] if isinstance(k, dict)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _trust_gateway(owner: Owner, client_id: str, listed: list[Jwk], again: list[str]) -> None:
    if owner.folder is not None:
        from atoll.demo.idp import register_client

        register_client(owner.folder, client_id, [k for k in listed if k.get("kty") == "OKP"])
    elif owner.gateways is not None:
        pins = _pins(owner.gateways)
        known = [k for keys_of_one in pins.values() for k in keys_of_one]  # a gateway may call itself something new
        kept = [*_still_revoked(known, listed, again), *_forgotten(pins.get(client_id, []), listed)]
        _write_pins(owner.gateways, {**pins, client_id: kept})
    else:
        raise typer.BadParameter("a gateway trusts identity providers; agents come with `atoll register`")


def _pins(file: Path) -> dict[str, list[Jwk]]:
    if not file.exists():
        return {}
    try:
        return dict(orjson.loads(file.read_bytes())["gateways"])
    except (OSError, ValueError, KeyError, TypeError):
        raise typer.BadParameter(f"{file.name} is no list of gateways") from None


def _write_pins(file: Path, pins: dict[str, list[Jwk]]) -> None:
    replace_file(file, orjson.dumps({"gateways": pins}, option=orjson.OPT_INDENT_2), 0o644)


def _revoke_trusted(owner: Owner, key: str) -> bool:
    """Mark a trusted gateway's key as revoked; False if there is none of this name."""
    if owner.gateways is None or not owner.gateways.exists():
        return False
    pins, at = _pins(owner.gateways), int(time.time())
    if not any(_name(k) == key for listed in pins.values() for k in listed):
        return False
    marked = {c: [{**k, "revoked": at} if _name(k) == key else k for k in listed] for c, listed in pins.items()}
    _write_pins(owner.gateways, marked)
    return True


def _publish(owner: Owner) -> None:
    """A demo's identity provider publishes its public keys in a file beside them."""
    if owner.folder is not None:
        from atoll.demo.idp import publish

        publish(owner.folder)


# ---------------------------------------------------------------- words


@contextmanager
def _readable(as_json: bool = False) -> Iterator[None]:
    """Key files that cannot be read end a command with their one line."""
    from catalog.keys import KeyFileError

    with common.reporting(as_json):
        try:
            yield
        except KeyFileError as bad:
            text = str(bad)
            raise UserError(f"{text[:1].upper()}{text[1:]}.", who="atoll keys", rule="key file") from None


def _rows(owner: Owner) -> Iterator[tuple[str, str, str, str, str]]:
    for ring in owner.rings:
        if not ring.path.exists():
            yield (ring.use, "none yet", "", "", "made by `atoll keys new`")
            continue
        opened = ring.open()
        current = _name(opened.current())
        for jwk in opened.public():
            yield _row(ring.use, jwk, "signs" if ring.use != "tls" else "shown", _name(jwk) == current)
    if owner.gateways is not None and owner.gateways.exists():
        for client_id, listed in sorted(_pins(owner.gateways).items()):
            for jwk in listed:
                use = "tls" if jwk.get("kty") == "EC" else "signing"
                yield _row(f"trusted: {client_id} {use}", jwk, "accepted", True)


def _row(use: str, jwk: Jwk, word: str, current: bool) -> tuple[str, str, str, str, str]:
    at = time.time()
    if "revoked" in jwk:
        state = f"revoked {_day(jwk['revoked'])}"
    elif jwk.get("exp", at + 1) <= at:
        state = "ended"
    elif jwk.get("nbf", 0) > at:
        state = "later"
    else:
        state = word if current else "accepted"
    return (use, _name(jwk), _day(jwk.get("nbf", 0)), _day(jwk.get("exp", 0)), state)


def _name(jwk: Jwk) -> str:
    from catalog.keys import thumbprint

    return thumbprint(jwk) if jwk.get("kty") == "OKP" else str(jwk.get("kid", ""))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") if seconds else ""


def _print(owner: Owner, as_json: bool) -> None:
    rows = list(_rows(owner))
    if as_json:
        common.print_json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
        return
    console = common.out()
    console.print(render.listing(COLUMNS, [list(row) for row in rows], max(console.width, 140)))


def _instant(text: str) -> int:
    """Unix seconds of a time, or of one from now."""
    if not text or text.startswith("+"):
        return int(time.time()) + (_duration(text[1:]) if text else 0)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--at takes a time such as 2027-01-01T00:00Z, or +2h, not {text!r}") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _duration(text: str) -> int:
    """Seconds of 90s, 30m, 12h, 7d."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"a duration is 90s, 30m, 12h or 7d, not {text!r}")
    return int(found[1]) * _SECONDS[found[2]]
