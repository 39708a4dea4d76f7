"""A policy that two owners signed: which files, in which state, under which number.

Signed is a manifest: the department, a number that only grows, and the SHA-256 of every file that decides. It
lies with its signatures in `department.signed.json`. Who the owners are stands nowhere beside it: whoever can
write the policy could write that too. Verifiers bring the owners' public keys from elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from catalog import keys
from catalog.exchange import canonical_json, sha256
from catalog.keys import Jwk, SigningKey
from catalog.policy.bundle import Bundle
from catalog.policy.faults import PolicyError

__all__ = ["FORMAT", "SIGNERS", "Owners", "Seal", "countersigned", "manifest", "read_owners", "signed", "verify_seal"]

FORMAT = "atoll-policy-1"
SIGNERS = 2
"""A policy is changed by two persons."""

Owners = Mapping[str, Jwk]
"""Thumbprint -> public key."""


@dataclass(frozen=True)
class Seal:
    """What two owners signed. number: of the policy, only growing. digest: of the manifest. signers: thumbprints."""

    number: int
    digest: str
    signers: tuple[str, ...]


def read_owners(path: Path) -> dict[str, Jwk]:
    """The owners' public keys out of a JWK set, by thumbprint.

    Raises PolicyError(owners) unless there are two at least; a private key in it is refused too.
    """
    try:
        listed = orjson.loads(path.read_bytes())["keys"]
        found = {keys.thumbprint(jwk): keys.public_jwk(jwk) for jwk in listed}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise PolicyError(
            [f"the owners' keys {path.name} cannot be read: a JWK set of Ed25519 keys"], "owners"
        ) from None
    if any("d" in jwk for jwk in listed):
        raise PolicyError([f"{path.name} holds a private key: only public keys belong into it"], "owners")
    if len(found) < SIGNERS:
        raise PolicyError([f"{path.name} names fewer than {SIGNERS} owners: no two persons could sign"], "owners")
    return found


def manifest(bundle: Bundle, department: str, number: int) -> dict[str, Any]:
    """What is signed, as plain JSON. Raises PolicyError if a file that the policy names is not there."""
    if bundle.missing:
        raise PolicyError([f"there is no file {name}, which the policy names" for name in bundle.missing])
    return {"format": FORMAT, "department": department, "number": number, "files": dict(bundle.digests)}


def signed(bundle: Bundle, department: str, key: SigningKey, number: int | None = None) -> bytes:
    """The content of a new `department.signed.json` with a first signature. Raises PolicyError.

    number: None = the one after the number that is signed now, 1 without any.
    """
    if number is None:
        number = 1 + (_read(bundle.signed)[0]["number"] if bundle.signed is not None else 0)
    found = manifest(bundle, department, number)
    return _written(found, [_signature(found, key)])


def countersigned(bundle: Bundle, department: str, key: SigningKey) -> bytes:
    """The same manifest with one more signature. Raises PolicyError for the same signer, or other files."""
    if bundle.signed is None:
        raise PolicyError(["there is no first signature yet: sign without --second"], "unsigned")
    found, signatures = _read(bundle.signed)
    _same_files(found, bundle, department)
    signers = _signers(found, signatures, {_kid(s): s["key"] for s in signatures})
    if len(signers) != len(signatures):
        raise PolicyError(["a signature that is there does not hold: sign anew, without --second"], "signature")
    if key.kid in signers:
        raise PolicyError(["this key signed it already: the second signature is another person's"], "half-signed")
    return _written(found, [*signatures, _signature(found, key)])


def verify_seal(bundle: Bundle, department: str, owners: Owners, now: float | None = None) -> Seal:
    """What two of the owners signed, if it is what the files are. now: unix seconds, for keys with an end.

    Raises PolicyError: unsigned, signature, changed, half-signed.
    """
    if bundle.signed is None:
        raise PolicyError(["the policy is not signed: atoll policy sign"], "unsigned")
    found, signatures = _read(bundle.signed)
    at = time.time() if now is None else now
    signers = _signers(found, signatures, {kid: jwk for kid, jwk in owners.items() if keys.in_force(jwk, at)})
    if not signers:
        raise PolicyError(["no owner's signature holds"], "signature")
    if len(signers) < SIGNERS:
        raise PolicyError([f"only one owner signed ({signers[0]}): atoll policy sign --second"], "half-signed")
    _same_files(found, bundle, department)
    return Seal(found["number"], sha256(canonical_json(found)), tuple(signers))


def _signers(found: Mapping[str, Any], signatures: list[Any], known: Owners) -> list[str]:
    """Those of the known keys that signed, each once however often it did."""
    data = _signed_bytes(found)
    kids = dict.fromkeys(_kid(s) for s in signatures if _holds(s, data, known))
    return sorted(kids)


def _holds(signature: Any, data: bytes, known: Owners) -> bool:
    jwk = known.get(_kid(signature))
    return jwk is not None and keys.verify(jwk, data, signature["signature"])


def _kid(signature: Any) -> str:
    """Named by the key itself, not by what it is called."""
    try:
        return keys.thumbprint(signature["key"])
    except keys.KeyFileError:
        return ""


def _signed_bytes(found: Mapping[str, Any]) -> bytes:
    return FORMAT.encode() + b"\n" + canonical_json(dict(found))


def _signature(found: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    return {"key": key.public_jwk, "signature": key.sign(_signed_bytes(found))}


def _written(found: Mapping[str, Any], signatures: list[Any]) -> bytes:
    return orjson.dumps({"manifest": found, "signatures": signatures}, option=orjson.OPT_INDENT_2) + b"\n"


def _read(content: bytes) -> tuple[dict[str, Any], list[Any]]:
    """Manifest and signatures, of the right shape. Raises PolicyError."""
    try:
        body = orjson.loads(content)
        found, signatures = body["manifest"], body["signatures"]
        files = found["files"]
        good = (
            set(found) == {"format", "department", "number", "files"}
            and found["format"] == FORMAT
            and type(found["number"]) is int
            and found["number"] > 0
            and isinstance(found["department"], str)
            and all(isinstance(v, str) for v in (*files, *files.values()))
            and all(isinstance(s["signature"], str) and isinstance(s["key"], dict) for s in signatures)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise PolicyError(["the file of signatures cannot be read"], "signature")
    return found, list(signatures)


def _same_files(found: Mapping[str, Any], bundle: Bundle, department: str) -> None:
    """Raises PolicyError(changed), naming the files that are not as they were signed."""
    if found["department"] != department:
        raise PolicyError([f"these signatures are for the department {found['department']!r}"], "changed")
    was, now = found["files"], bundle.digests
    wrong = [f"{n} changed after it was signed" for n in sorted(was) if n in now and now[n] != was[n]]
    wrong += [f"{n} was signed and is not there" for n in sorted(was) if n not in now]
    wrong += [f"{n} was not signed" for n in sorted(now) if n not in was]
    if wrong:
        raise PolicyError(wrong, "changed")
