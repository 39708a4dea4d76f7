"""What is wrong with a policy, in words: the place in the file, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["REASONS", "Fault", "PolicyError", "nearest", "placed"]

REASONS = (
    "unreadable", "invalid", "tests", "unsigned", "half-signed", "signature", "changed", "rolled back", "owners",
)  # fmt: skip
"""Why a policy is not taken, as ledgers name it. `changed`: files differ from those that were signed."""

Path = tuple[str | int, ...]


class PolicyError(ValueError):
    """A policy that may not be used. faults: one sentence each, with line and place. reason: of `REASONS`."""

    def __init__(self, faults: Sequence[str], reason: str = "invalid") -> None:
        assert reason in REASONS, reason
        self.faults = tuple(faults)
        self.reason = reason
        super().__init__("; ".join(faults))


@dataclass(frozen=True)
class Fault:
    """One mistake. path: where in the document, such as ("grants", 0, "masks", "name")."""

    path: Path
    text: str


def nearest(name: str, known: Iterable[str]) -> str:
    """`: did you mean 'x'?` for the known name that is most like `name`, "" if none is."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else ""


def placed(fault: Fault, lines: Mapping[Path, int], data: Any) -> str:
    """`line 7: grants[0] (accounts).masks.phone: ..`; a place that the file does not have is given by what holds it."""
    path = fault.path
    found = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
    where = _words(path, data)
    return (f"line {found}: " if found else "") + (f"{where}: " if where else "") + fault.text


def _words(path: Path, data: Any) -> str:
    words = ""
    for i, part in enumerate(path):
        if isinstance(part, int):
            words += f"[{part}]"
            if path[:i] == ("grants",):
                words += _grant_name(data, part)
        else:
            words += f".{part}" if words else part
    return words


def _grant_name(data: Any, number: int) -> str:
    try:
        name = data["grants"][number]["id"]
    except (KeyError, IndexError, TypeError):
        return ""
    return f" ({name})" if isinstance(name, str) and name else ""
