"""The policy on disk: watched whole, and taken only as its owners signed it.

What an owner pins lies outside the folder of department.yaml: the owners' public keys come with the command
(`atoll agent serve --owners`), and at the first start they are kept in the agent's state, with the newest number
that was ever in force. From then on a policy without two owners' signatures, or an older one, is not taken. Whoever
can write department.yaml and everything beside it can therefore stop the agent, and nothing else.

    changed()   has any file that decides been touched?
    read()      the policy as it is now, or a PolicyError that says why it is not taken
    keep()      remember that it was in force
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog
from yaml import YAMLError

from catalog import keys
from catalog.exchange import sha256
from catalog.keys import Jwk
from catalog.ledger import Ledger, LedgerError
from catalog.policy import (
    Bundle,
    Department,
    PolicyError,
    Seal,
    Stamp,
    digest,
    from_bundle,
    parse_hierarchy,
    read_bundle,
    read_owners,
    stamp,
    verify_seal,
    view_files,
)
from catalog.policy.yaml_lines import read_yaml

__all__ = ["PIN", "Loaded", "PolicyFile", "pinned", "record_refusal", "refusal_facts", "repin"]

PIN = "policy-pin.json"
"""In the agent's state folder: owners' keys, newest number seen and its digest."""
JWKS = "policy-jwks.json"
"""There too: the identity provider's keys as they were signed."""

TICK = 50_000_000
"""Nanoseconds; file systems tell times apart by a few milliseconds only."""
_log = structlog.get_logger("atoll.agent")


@dataclass(frozen=True)
class Loaded:
    """One policy that may be used. views: relation -> the owner's SELECT. seal: None where none is required.

    owners: the keys that its seal was checked against, by thumbprint. jwks: the identity provider's keys as they
    were read. digests: of all files, secrets too.
    """

    department: Department
    version: str
    views: Mapping[str, str]
    hierarchies: Mapping[str, Mapping[str, tuple[str, ...]]]
    seal: Seal | None
    owners: Mapping[str, Jwk] = field(repr=False)
    jwks: bytes
    digests: Mapping[str, str] = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """For the ledger: number and signers, where signatures are required."""
        if self.seal is None:
            return {}
        seal = self.seal
        return {
            "number": seal.number,
            "manifest": seal.digest,
            "signers": list(seal.signers),
            "owners": sorted(self.owners),
        }


@dataclass(frozen=True)
class _Pin:
    owners: Mapping[str, Jwk]
    number: int
    digest: str


class PolicyFile:
    """A department.yaml with all that decides beside it. owners: a JWK set, None = as pinned, or unsigned.

    seen, sha256: stamp of all files and hash of department.yaml as they were last read; None, "" if they could not be.
    """

    def __init__(self, path: Path, owners: Path | None = None) -> None:
        self.path = path
        self.seen: Stamp | None = None
        self.sha256 = ""
        self._settled = False
        self._owners = owners
        self._named: tuple[str, ...] = ()
        if owners is not None and owners.resolve().is_relative_to(path.parent.resolve()):
            _log.warning(
                "the owners' keys lie in the policy's folder: who writes one can write the other", file=str(owners)
            )

    def changed(self) -> bool:
        """Whether a file that decides may differ from what was read last. Reads nothing."""
        return not self._settled or stamp(self.path, self._named) != self.seen

    def forget(self) -> None:
        """What was read last was not taken for a reason that may pass: read it again at the next look."""
        self._settled = False

    def read(self) -> Loaded:
        """The policy as it is now. Raises PolicyError; OSError, UnicodeDecodeError if it cannot be read."""
        self.seen, self.sha256, self._settled = None, "", False
        bundle = read_bundle(self.path)
        # What changed within a tick of the file system's clock may change again and look the same: read it once more.
        self._settled = all(time.time_ns() - changed > TICK for _, _, _, changed, _ in bundle.stamp)
        self.seen, self._named, self.sha256 = bundle.stamp, bundle.named, bundle.digests[bundle.name]
        department = from_bundle(bundle)
        pin = _read_pin(self._pin_path(department))
        owners = self._owners_of(pin)
        seal = _sealed(bundle, department, owners, pin) if owners else None
        beside = {name: sha for name, sha in bundle.digests.items() if name in bundle.files}
        try:
            lists = {n: parse_hierarchy(f, bundle.files[f]) for n, f in department.hierarchies.items()}
        except (KeyError, ValueError, csv.Error) as bad:
            raise PolicyError([f"hierarchies: {bad}"]) from bad
        jwks = bundle.files.get(department.identity.jwks.removeprefix("file:"), b"")
        views = _views(bundle, department)
        return Loaded(department, digest(department, beside), views, lists, seal, owners, jwks, bundle.digests)

    def keep(self, loaded: Loaded) -> None:
        """Remember a policy that is in force, so that none before it is ever taken again. Raises OSError."""
        if loaded.seal is not None:
            keys.replace_file(self.jwks(loaded), loaded.jwks)
            pinned = {
                "owners": list(loaded.owners.values()),
                "number": loaded.seal.number,
                "digest": loaded.seal.digest,
            }
            keys.replace_file(self._pin_path(loaded.department), orjson.dumps(pinned, option=orjson.OPT_INDENT_2))

    def jwks(self, loaded: Loaded) -> Path:
        """Where the identity provider's keys are read while the agent runs.

        Of a signed policy those that were signed, in the agent's state: whoever exchanged the others for a moment,
        between two looks at them, could make any user.
        """
        department = loaded.department
        if loaded.seal is not None:
            return self.path.parent / department.state / JWKS
        return (self.path.parent / department.identity.jwks.removeprefix("file:")).resolve()

    def _pin_path(self, department: Department) -> Path:
        return self.path.parent / department.state / PIN

    def _owners_of(self, pin: _Pin | None) -> Mapping[str, Jwk]:
        """Whose signatures count. Keys given with the command must be those that were pinned."""
        given = None if self._owners is None else read_owners(self._owners)
        if pin is None:
            return given or {}
        if given is None:
            return pin.owners
        if set(given) != set(pin.owners):
            raise PolicyError(["the owners' keys are not those pinned at the first start: atoll policy pin"], "owners")
        # A key that either side calls ended has ended.
        return {kid: {**pin.owners[kid], **given[kid]} for kid in given}


def _sealed(bundle: Bundle, department: Department, owners: Mapping[str, Jwk], pin: _Pin | None) -> Seal:
    seal = verify_seal(bundle, department.department, owners)
    if pin is not None and seal.number < pin.number:
        raise PolicyError(
            [f"policy {seal.number} is older than policy {pin.number}, which was in force"], "rolled back"
        )
    if pin is not None and seal.number == pin.number and pin.digest not in ("", seal.digest):
        raise PolicyError([f"another policy was in force under the number {seal.number}"], "rolled back")
    return seal


def _views(bundle: Bundle, department: Department) -> dict[str, str]:
    """The owner's SELECT of each view: `views/<view>.<source kind>.sql`, or `views/<view>.sql`."""
    found = {}
    for name, spec in department.relations.items():
        if spec.view:
            file = next(f for f in view_files(department, name) if f in bundle.files)
            found[name] = bundle.files[file].decode("utf-8").strip().rstrip(";")
    return found


def _read_pin(path: Path) -> _Pin | None:
    """What was pinned; None before the first start with owners. A pin that cannot be read is no excuse."""
    if not path.exists():
        return None
    try:
        body = orjson.loads(path.read_bytes())
        owners = {keys.thumbprint(jwk): jwk for jwk in body["owners"]}
        pin = _Pin(owners, int(body["number"]), str(body["digest"]))
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise PolicyError([f"the pinned owners' keys ({PIN}) cannot be read"], "owners") from bad
    if not owners:
        raise PolicyError([f"{PIN} names no owner"], "owners")
    return pin


def refusal_facts(fault: Exception, file: PolicyFile) -> dict[str, Any]:
    """What a ledger says of a policy that was not taken: why and where; not what stands there."""
    faults = fault.faults if isinstance(fault, PolicyError) else ()
    line = re.match(r"line ([0-9]+):", faults[0]) if faults else None
    return {
        "reason": fault.reason if isinstance(fault, PolicyError) else "unreadable", "faults": max(1, len(faults)),
        "line": int(line[1]) if line else None, "sha256": file.sha256,
    }  # fmt: skip


def record_refusal(path: Path, fault: PolicyError) -> None:
    """Put on record that an agent did not start for its policy, if it has a ledger already.

    Where the ledger lies is read from the refused file, as far as that can be: a ledger is continued, never begun.
    """
    file = PolicyFile(path)
    try:
        data, _ = read_yaml(path.read_text(encoding="utf-8"))
        state = data.get("state", "state")
        file.sha256 = sha256(path.read_bytes())
    except (OSError, ValueError, AttributeError, RecursionError, YAMLError):
        state = "state"
    folder = path.parent / str(state)
    if not (folder / "ledger.jsonl").is_file() or not (folder / "ledger.key").is_file():
        return
    try:
        ledger = Ledger(folder / "ledger.jsonl", keys.KeyRing(folder / "ledger.key"))
        ledger.append("policy_refused", refusal_facts(fault, file))
        ledger.close()
    except (LedgerError, keys.KeyFileError) as bad:
        _log.error("a refused policy is not on record", error=str(bad))


def pinned(state: Path) -> Mapping[str, Jwk]:
    """The owners' keys that an agent pinned in its state; none before its first start with owners.

    Raises PolicyError for a pin that cannot be read.
    """
    pin = _read_pin(state / PIN)
    return {} if pin is None else pin.owners


def repin(state: Path, owners: Mapping[str, Jwk]) -> int:
    """Pin other owners in an agent's state; the newest number seen stays, and is returned.

    Raises PolicyError, OSError.
    """
    path = state / PIN
    pin = _read_pin(path)
    number, seen = (pin.number, pin.digest) if pin else (0, "")
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    pinned = {"owners": list(owners.values()), "number": number, "digest": seen}
    keys.replace_file(path, orjson.dumps(pinned, option=orjson.OPT_INDENT_2))
    return number
