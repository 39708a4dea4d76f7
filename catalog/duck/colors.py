"""Texts with colours for terminals: `bar`, `render`, `color`, `rgb`. A colour is a number, as Trino holds it:
0xRRGGBB, or -1 to -8 for the terminal's own eight. One Python function a row, see `catalog.duck.scalars`.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

from catalog.duck.json_texts import Unfit, java_double

__all__ = ["COLOR_SCALARS"]

MAX_WIDTH = 10_000
"""Characters of a bar: each has an escape of its own."""
_SYSTEM = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_RESET = "\x1b[0m"


def _f32(value: float) -> float:
    """The nearest float of 32 bits, in which colours are blended."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _named(text: str) -> int:
    if re.fullmatch("#[0-9a-fA-F]{3}", text):
        return int("".join(2 * c for c in text[1:]), 16)
    if text.lower() not in _SYSTEM:
        raise Unfit
    return -1 - _SYSTEM.index(text.lower())


def _rgb(red: int, green: int, blue: int) -> int:
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise Unfit
    return red << 16 | green << 8 | blue


def _parts(color: int) -> tuple[int, int, int]:
    if color < 0:
        raise Unfit
    return color >> 16 & 255, color >> 8 & 255, color & 255


def _hsb(color: int) -> tuple[float, float, float]:
    """Hue, saturation and brightness, 0 to 1 each."""
    r, g, b = _parts(color)
    top, bottom = max(r, g, b), min(r, g, b)
    if top == bottom:
        return 0.0, 0.0, _f32(top / 255)
    wide = top - bottom
    red, green, blue = (_f32(_f32(top - part) / wide) for part in (r, g, b))
    if r == top:
        hue = _f32(blue - green)
    elif g == top:
        hue = _f32(_f32(2 + red) - blue)
    else:
        hue = _f32(_f32(4 + green) - red)
    hue = _f32(hue / 6)
    return (_f32(hue + 1) if hue < 0 else hue), _f32(wide / top), _f32(top / 255)


def _of_hsb(hue: float, saturation: float, brightness: float) -> int:
    def byte(part: float) -> int:
        return int(_f32(_f32(part * 255) + 0.5))

    if saturation == 0:
        return _rgb(*(byte(brightness),) * 3)
    sector = _f32(_f32(hue - math.floor(hue)) * 6)
    rest = _f32(sector - math.floor(sector))
    p = _f32(brightness * _f32(1 - saturation))
    q = _f32(brightness * _f32(1 - _f32(saturation * rest)))
    t = _f32(brightness * _f32(1 - _f32(saturation * _f32(1 - rest))))
    v = brightness
    shades = ((v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q))[int(sector)]
    return _rgb(*map(byte, shades))


def _between(fraction: float, low: tuple[float, ...], high: tuple[float, ...]) -> int:
    """A colour by its share on the way from one to another, whose hue, saturation and brightness are given."""
    if math.isnan(fraction):
        return 0
    share = _f32(fraction)
    return _of_hsb(*(_f32(_f32(share * _f32(b - a)) + a) for a, b in zip(low, high, strict=True)))


def _blended(fraction: float, low: int, high: int) -> int:
    if low < 0 or high < 0:
        raise Unfit
    share = fraction if math.isnan(fraction) else max(0.0, min(1.0, fraction))
    return _between(share, _hsb(low), _hsb(high))


def _escape(color: int) -> str:
    if color < 0:
        return f"\x1b[38;5;{-1 - color}m"
    red, green, blue = (part * 6 // 256 for part in _parts(color))
    return f"\x1b[38;5;{16 + 36 * red + 6 * green + blue}m"


def _rendered(text: str, color: int) -> str:
    return f"{_escape(color)}{text}{_RESET}"


def _bar(share: float, width: int, low: int, high: int) -> str:
    if width > MAX_WIDTH:
        raise Unfit
    filled = share * width
    count = 0 if math.isnan(filled) else max(0, min(width, int(max(-(2.0**31), min(2.0**31, filled)))))
    ends = (_hsb(low), _hsb(high)) if count else ()
    shares = (i / (width - 1) if width > 1 else math.nan for i in range(count))
    return "".join(_escape(_between(s, *ends)) + "█" for s in shares) + _RESET + " " * (width - count)


COLOR_SCALARS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "color": ("VARCHAR", "BIGINT", _named),
    "rgb": ("BIGINT; BIGINT; BIGINT", "BIGINT", _rgb),
    "color_between": ("DOUBLE; BIGINT; BIGINT", "BIGINT", _blended),
    "render": ("VARCHAR; BIGINT", "VARCHAR", _rendered),
    "render_double": ("DOUBLE; BIGINT", "VARCHAR", lambda value, color: _rendered(java_double(value), color)),
    "bar": ("DOUBLE; BIGINT; BIGINT; BIGINT", "VARCHAR", _bar),
}
"""Name without `tr_` -> what it takes and gives in DuckDB, and its function of one row."""
