"""JSON as Trino holds it: a text without blanks, keys sorted, numbers as Java writes them. All work is on texts.

A text nests at most `MAX_DEPTH` deep: deeper ones are no JSON here, so that no text can exhaust the stack.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from catalog.errors import TrinoError

__all__ = ["JSON_SCALARS", "Unfit"]

MAX_DEPTH = 200
MAX_PATH = 1000
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
"""Its end may be missing: a search that failed there would begin anew at each quote in it."""
_STEP = re.compile(r'\.([A-Za-z0-9_:@$-]+)|\[\s*"((?:[^"\\]|\\.)*)"\s*\]|\[\s*\'([^\']*)\'\s*\]|\[\s*(\d{1,9})\s*\]')


class Unfit(ValueError):
    """A text or value that a function does not take; the text names the error for `translate_error`."""

    def __init__(self, error: TrinoError = TrinoError.INVALID_FUNCTION_ARGUMENT) -> None:
        super().__init__(f"atoll: error {error.name}")


class Number(str):
    """A number by its text."""

    __slots__ = ()


def _constant(text: str) -> Any:
    raise ValueError(text)


def loaded(text: str) -> Any:
    """The value of a JSON text, numbers as `Number`. Raises ValueError."""
    depth = deepest = 0
    for c in _STRING.sub("", text):
        depth += (c in "[{") - (c in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ValueError("too deep")
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=_constant, strict=False)


def number_text(text: str) -> str:
    """A number as Trino keeps it: integers as written, others as the nearest double."""
    return json_double(float(text)) if any(c in text for c in ".eE") else "0" if text == "-0" else text


def json_double(value: float) -> str:
    """What is no number is a text."""
    return java_double(value) if math.isfinite(value) else f'"{java_double(value)}"'


def java_double(value: float) -> str:
    """Java's Double.toString: 1.0, 1000.0, 1.0E7, 1.0E-4."""
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1e7:
        return repr(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{int(exponent) + len(text) - 1}"


def spelled(value: float, shortest: str) -> str:
    """A number as a cast to text writes it. shortest: the digits of its size, in Python's form."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if value == 0:
        return f"{sign}0E0"
    if abs(value) < 1e-320:
        shortest = f"{abs(value):.1e}"  # where one digit would do, Java writes the nearest two
    _, digits, exponent = Decimal(shortest).normalize().as_tuple()
    text = "".join(map(str, digits))
    return f"{sign}{text[0]}.{text[1:] or '0'}E{int(exponent) + len(text) - 1}"


def written(value: Any, sort: bool = True) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Number():
            return number_text(value)
        case str():
            return quoted(value)
        case list():
            return "[" + ",".join(written(v, sort) for v in value) + "]"
    items = sorted(value.items()) if sort else value.items()
    return "{" + ",".join(f"{quoted(k)}:{written(v, sort)}" for k, v in items) + "}"


def quoted(text: str) -> str:
    """A JSON string as Trino writes it: characters beyond the basic plane by their two halves."""
    plain = json.dumps(text, ensure_ascii=False)
    return re.sub("[\U00010000-\U0010ffff]", _halves, plain)


def _halves(found: re.Match[str]) -> str:
    code = ord(found[0]) - 0x10000
    return f"\\u{0xD800 + (code >> 10):04X}\\u{0xDC00 + (code & 0x3FF):04X}"


@lru_cache(256)
def steps_of(path: str) -> tuple[str | int, ...]:
    """The steps of a path such as $.a["b"][0]. Raises Unfit."""
    if not path.startswith("$"):
        raise Unfit
    found: list[str | int] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise Unfit
        at = step.end()
        key = step[1] if step[1] is not None else step[2] if step[2] is not None else step[3]
        found.append(int(step[4]) if step[4] is not None else key.replace('\\"', '"').replace("\\\\", "\\"))
    return tuple(found)


_MISSING = object()


def at_path(text: str, path: str) -> Any:
    if len(path) > MAX_PATH:  # paths are kept
        raise Unfit
    steps = steps_of(path)
    try:
        value = loaded(text)
    except ValueError:
        return _MISSING
    for step in steps:
        if isinstance(value, dict):
            value = value.get(str(step), _MISSING)
        elif isinstance(value, list) and (isinstance(step, int) or step.isdigit()):
            value = value[int(step)] if int(step) < len(value) else _MISSING
        else:
            return _MISSING
        if value is _MISSING:
            return value
    return value


def parse(text: str) -> str:
    try:
        return written(loaded(text))
    except ValueError:
        raise Unfit from None


def canonical(text: str) -> str:
    """A silo's JSON as Trino reads it: keys sorted, no blanks. A text that is no JSON stays as it is."""
    try:
        return written(loaded(text))
    except ValueError:
        return text


def extract(text: str, path: str) -> str | None:
    """What is at a path, keys in the order of the text: only what was parsed is sorted, and is so already."""
    found = at_path(text, path)
    return None if found is _MISSING else written(found, sort=False)


def scalar(text: str, path: str) -> str | None:
    found = at_path(text, path)
    if found is _MISSING or found is None or isinstance(found, (list, dict)):
        return None
    return str(found) if isinstance(found, str) else written(found)


def size(text: str, path: str) -> int | None:
    found = at_path(text, path)
    return None if found is _MISSING else len(found) if isinstance(found, (list, dict)) else 0


def _array(text: str) -> list[Any] | None:
    try:
        found = loaded(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def array_length(text: str) -> int | None:
    found = _array(text)
    return None if found is None else len(found)


def array_get(text: str, index: int) -> str | None:
    """An element; of a text its bare characters, as Trino's own function gives them."""
    found = _array(text)
    if found is None or not -len(found) <= index < len(found):
        return None
    value = found[index]
    return None if value is None else str(value) if type(value) is str else written(value, sort=False)


def array_contains(text: str, kind: str, wanted: str) -> bool | None:
    """kind: of the value: whole, float, text or boolean. A number that is written with a point is no whole one."""
    found = _array(text)
    if found is None:
        return None
    for value in found:
        if isinstance(value, bool):
            same = kind == "boolean" and written(value) == wanted
        elif isinstance(value, Number):
            is_float = any(c in value for c in ".eE")
            number = float if is_float else int
            same = kind == ("float" if is_float else "whole") and number(value) == number(wanted)
        else:
            same = kind == "text" and isinstance(value, str) and value == wanted
        if same:
            return True
    return False


def is_scalar(text: str) -> bool:
    try:
        return not isinstance(loaded(text), (list, dict))
    except ValueError:
        raise Unfit from None


def _cast(text: str) -> Any:
    """A text that is no JSON is what json_array_get gives for a string."""
    try:
        return loaded(text)
    except ValueError:
        raise _bad() from None


def _bad() -> Unfit:
    return Unfit(TrinoError.INVALID_CAST_ARGUMENT)


def items(text: str) -> list[str] | None:
    found = _cast(text)
    if found is None:
        return None
    if not isinstance(found, list):
        raise _bad()
    return [written(v) for v in found]


def keys(text: str) -> list[str] | None:
    found = _cast(text)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise _bad()
    return list(found)


def values(text: str) -> list[str] | None:
    found = _cast(text)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise _bad()
    return [written(v) for v in found.values()]


def varchar(text: str) -> str | None:
    found = _cast(text)
    if found is None:
        return None
    if isinstance(found, (list, dict)):
        raise _bad()
    if isinstance(found, Number) and any(c in found for c in ".eE"):
        return spelled(float(found), repr(abs(float(found))))
    return str(found) if type(found) is str else written(found)


def boolean(text: str) -> bool | None:
    found = _cast(text)
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, Number):
        return float(found) != 0
    if isinstance(found, str) and found.lower() in ("true", "false", "t", "f", "1", "0"):
        return found.lower() in ("true", "t", "1")
    raise _bad()


def numeral(text: str) -> str | None:
    """A number's text; of a boolean 1 or 0, of a text the text itself, which the cast then checks."""
    found = _cast(text)
    if found is None:
        return None
    if isinstance(found, bool):
        return str(int(found))
    if isinstance(found, str) and re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", found):
        return str(found)
    raise _bad()


def integer(text: str) -> int | None:
    found = numeral(text)
    if found is None:
        return None
    value = Decimal(found)
    if not value:
        return 0
    if value.adjusted() > 20:  # before 1e999999999 is written out
        raise _bad()
    whole = int(value.to_integral_value("ROUND_HALF_UP"))
    if value != whole and type(_cast(text)) is str:
        raise _bad()
    if not -(2**63) <= whole < 2**63:
        raise _bad()
    return whole


def field(text: str, name: str, place: int) -> str | None:
    """A field of an object by name, or of an array by place."""
    found = _cast(text)
    if isinstance(found, dict):
        value = next((v for k, v in found.items() if k.lower() == name.lower()), None)
    elif isinstance(found, list):
        value = found[place]
    else:
        raise _bad()
    return None if value is None else written(value)


def is_null(text: str, fields: int) -> bool:
    """Whether this is no row. Raises what a cast does for an array of another length than a row has fields."""
    found = _cast(text)
    if isinstance(found, list) and len(found) != fields:
        raise _bad()
    return found is None


JSON_SCALARS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "json_parse": ("VARCHAR", "VARCHAR", parse),
    "json_sorted": ("VARCHAR", "VARCHAR", parse),
    "json_extract": ("VARCHAR; VARCHAR", "VARCHAR", extract),
    "json_scalar": ("VARCHAR; VARCHAR", "VARCHAR", scalar),
    "json_size": ("VARCHAR; VARCHAR", "BIGINT", size),
    "json_array_length": ("VARCHAR", "BIGINT", array_length),
    "json_array_get": ("VARCHAR; BIGINT", "VARCHAR", array_get),
    "json_array_contains": ("VARCHAR; VARCHAR; VARCHAR", "BOOLEAN", array_contains),
    "json_is_scalar": ("VARCHAR", "BOOLEAN", is_scalar),
    "json_field": ("VARCHAR; VARCHAR; BIGINT", "VARCHAR", field),
    "json_is_null": ("VARCHAR; BIGINT", "BOOLEAN", is_null),
    "json_items": ("VARCHAR", "VARCHAR[]", items),
    "json_keys": ("VARCHAR", "VARCHAR[]", keys),
    "json_values": ("VARCHAR", "VARCHAR[]", values),
    "json_varchar": ("VARCHAR", "VARCHAR", varchar),
    "json_boolean": ("VARCHAR", "BOOLEAN", boolean),
    "json_numeral": ("VARCHAR", "VARCHAR", numeral),
    "json_integer": ("VARCHAR", "BIGINT", integer),
    "json_string": ("VARCHAR", "VARCHAR", quoted),
    "json_decimal": ("VARCHAR", "VARCHAR", lambda text: str(Decimal(text))),  # small ones as 1E-8, as Java writes them
    "json_number": ("DOUBLE", "VARCHAR", json_double),
}
"""Name without `tr_` -> what it takes and gives in DuckDB, and its function of one row."""
