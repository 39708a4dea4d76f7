"""Lengths of time in the files that people write: `90s`, `30m`, `24h`, `7d`, in seconds for the program."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

__all__ = ["Seconds", "words"]

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]+)\s*([smhd])", value.strip())
    if not found:
        raise ValueError(f"{value!r} is no duration such as 90s, 30m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""More than none; written as text with a unit, or as a number of seconds."""


def words(seconds: float) -> str:
    """As people would write it, in whole units: 21600 -> `6h`."""
    unit = next((u for u, size in _UNITS.items() if seconds >= size and seconds % size == 0), "s")
    return f"{seconds / _UNITS[unit]:g}{unit}"
