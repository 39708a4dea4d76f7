"""Looks for raw values in whatever an agent or a gateway sent, in every disguise that costs an attacker nothing."""

from __future__ import annotations

import base64

import pyarrow as pa

from tests.attack.world import CANARIES

__all__ = ["disguises", "found_in", "memory_of", "texts_of"]


def disguises(canary: str) -> dict[str, bytes]:
    """How a canary may travel: name of the disguise -> bytes."""
    plain = canary.encode()
    found = {
        "plain": plain,
        "reversed": canary[::-1].encode(),
        "upper case": canary.upper().encode(),
        "lower case": canary.lower().encode(),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "two bytes a character": canary.encode("utf-16-le"),
        "escaped": canary.encode("unicode_escape"),
    }
    for shift in range(3):
        # Base64 depends on where a value begins; the characters at both ends depend on its neighbours.
        text = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        found[f"base64 at {shift}"] = text[4 if shift else 0 : -2]
    if canary.isdigit() and len(canary) > 9:
        found["a number's eight bytes"] = int(canary).to_bytes(8, "little")
    return found


_NEEDLES = [(canary, how, needle) for canary in CANARIES for how, needle in disguises(canary).items()]


def found_in(*blobs: bytes) -> list[str]:
    """Which canaries the blobs hold, and how."""
    return [f"{canary} ({how})" for blob in blobs for canary, how, needle in _NEEDLES if needle in blob]


def texts_of(table: pa.Table) -> bytes:
    """Every value of every column as text, and the column names."""
    lines: list[str] = list(table.column_names)
    for column in table.columns:
        lines += [str(v) for v in column.to_pylist() if v is not None]
    return "\n".join(lines).encode()


def memory_of(table: pa.Table) -> bytes:
    """All buffers of all columns: what lies under a NULL is sent too, and nobody sees it who prints the rows."""
    buffers = (b for c in table.columns for chunk in c.chunks for b in chunk.buffers() if b is not None)
    return b"\n".join(bytes(b) for b in buffers)
