"""Functions that DuckDB has not, or not with Trino's meaning: one Python function a row, vectorised over Arrow.

Each takes the values of one row, none of them NULL, and gives its value; a NULL argument gives NULL. What it raises
is told by name: `Refused` names one of Trino's errors. Every one is bounded: a result is no longer than any text may
be, and as nothing can interrupt one, rows that take too long together end by themselves.

    SCALARS     name in DuckDB -> Scalar
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import math
import re
import struct
import time
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache
from itertools import combinations
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import pyarrow as pa

from catalog.duck import elementary, urls
from catalog.duck.colors import COLOR_SCALARS
from catalog.duck.hashes import HASH_SCALARS, MASK, turned
from catalog.duck.json_texts import JSON_SCALARS, java_double, spelled
from catalog.duck.macros import MAX_TEXT
from catalog.duck.moments import is_java_zone
from catalog.duck.stems import STEM_SCALARS
from catalog.errors import TrinoError

__all__ = ["SCALARS", "Refused", "Scalar", "days_text", "months_text"]

MAX_COMPARED = 2_000
"""Characters of either text whose edit distance is computed: the work grows with their product."""
MAX_FORMATTED = 1_000
"""Width and digits of one conversion of `format`."""
MAX_SECONDS = 20.0
"""Processor time of one call of DuckDB, which is 2048 rows at most."""
MAX_HELD = 256 * 1024 * 1024
"""Bytes of the values that one call of DuckDB gives: its memory limit does not count them while they are made."""
MAX_CHOSEN, MAX_CHOICES = 5, 100_000
"""Elements of one of the combinations of an array, and of all together: Trino's own limits."""
_RADIAN = 0.017453292519943295
MAX_SEARCHED = 100_000_000
"""Characters that are compared while one occurrence after the other is looked for."""
_WRONG = TrinoError.INVALID_FUNCTION_ARGUMENT


class Refused(ValueError):
    """A value that a function does not take. The text names the error for `catalog.duck.translate_error`."""

    def __init__(self, error: TrinoError = _WRONG) -> None:
        super().__init__(f"atoll: error {error.name}")


@dataclass(frozen=True)
class Scalar:
    """takes, gives: DuckDB types. arrow: the Arrow type of what it gives. run: the function of one row."""

    takes: tuple[str, ...]
    gives: str
    arrow: pa.DataType
    run: Callable[..., Any]

    def over(self, *columns: pa.Array) -> pa.Array:
        """The function over columns."""
        rows = zip(*(c.to_pylist() for c in columns), strict=True)
        end = time.thread_time() + MAX_SECONDS
        found: list[Any] = []
        held = 0
        for row in rows:
            if len(found) % 16 == 0 and time.thread_time() > end:
                raise Refused(TrinoError.EXCEEDED_TIME_LIMIT)
            value = None if None in row else self.run(*row)
            if isinstance(value, (str, bytes)) and len(value) > MAX_TEXT:
                raise Refused
            held += _size(value)
            if held > MAX_HELD:
                raise Refused(TrinoError.EXCEEDED_LOCAL_MEMORY_LIMIT)
            found.append(value)
        return pa.array(found, self.arrow)

    @property
    def called(self) -> Callable[..., pa.Array]:
        """What DuckDB calls: it counts parameters by the signature."""
        shapes: dict[int, Callable[..., pa.Array]] = {
            1: lambda a: self.over(a),
            2: lambda a, b: self.over(a, b),
            3: lambda a, b, c: self.over(a, b, c),
            4: lambda a, b, c, d: self.over(a, b, c, d),
        }
        return shapes[len(self.takes)]


def _size(value: Any) -> int:
    """About the bytes of a value; the parts of a list are taken to be as large as its first."""
    if isinstance(value, (str, bytes)):
        return len(value)
    return len(value) * _size(value[0]) if isinstance(value, list) and value else 8


_TYPES: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(), "BIGINT": pa.int64(), "INTEGER": pa.int32(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(),
    "BLOB": pa.binary(), "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us"), "DECIMAL(38, 0)": pa.decimal128(38, 0),
    "VARCHAR[]": pa.list_(pa.string()), "MAP(VARCHAR, VARCHAR)": pa.map_(pa.string(), pa.string()),
    "MAP(VARCHAR, VARCHAR[])": pa.map_(pa.string(), pa.list_(pa.string())), "FLOAT": pa.float32(),
    "BIGINT[][]": pa.list_(pa.list_(pa.int64())),
}  # fmt: skip
SCALARS: dict[str, Scalar] = {}


def _scalar(takes: str, gives: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function on the list as `tr_NAME`. takes: DuckDB types between semicolons."""

    def listed(run: Callable[..., Any]) -> Callable[..., Any]:
        kinds = tuple(t.strip() for t in takes.split(";") if t.strip())
        SCALARS[f"tr_{run.__name__.strip('_')}"] = Scalar(kinds, gives, _TYPES[gives], run)
        return run

    return listed


# ---- text --------------------------------------------------------------------------------------------


@_scalar("VARCHAR; VARCHAR", "BIGINT")
def _hamming(a: str, b: str) -> int:
    if len(a) != len(b):
        raise Refused
    return sum(x != y for x, y in zip(a, b, strict=True))


@_scalar("VARCHAR; VARCHAR", "BIGINT")
def _levenshtein(a: str, b: str) -> int:
    if len(a) > MAX_COMPARED or len(b) > MAX_COMPARED:
        raise Refused
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


_SOUNDEX = {c: str(n) for n, letters in enumerate(("BFPV", "CGJKQSXZ", "DT", "L", "MN", "R"), 1) for c in letters}


@_scalar("VARCHAR", "VARCHAR")
def _soundex(text: str) -> str:
    """American soundex: H and W part no equal codes, vowels do. Letters are Java's, of one char each."""
    letters = [c for c in text if c.isalpha() and c < "\U00010000"]
    letters = [*"".join(letters).upper()]
    if not letters:
        return ""
    if not all("A" <= c <= "Z" for c in letters):
        raise Refused
    code, last = letters[0], _SOUNDEX.get(letters[0], "")
    for c in letters[1:]:
        digit = _SOUNDEX.get(c, "")
        if digit and digit != last:
            code += digit
        if c not in "HW":
            last = digit
    return (code + "000")[:4]


@_scalar("VARCHAR", "BOOLEAN")
def _luhn(text: str) -> bool:
    if not text:
        return False
    if not (text.isascii() and text.isdigit()):
        raise Refused
    doubled = "0246813579"
    return sum(int(doubled[int(c)] if i % 2 else c) for i, c in enumerate(reversed(text))) % 10 == 0


@_scalar("VARCHAR", "VARCHAR")
def _upper(text: str) -> str:
    """Each character on its own, where its capital is one character too, as Java maps code points."""
    return "".join(up if len(up := c.upper()) == 1 else c for c in text)


@_scalar("VARCHAR", "VARCHAR")
def _lower(text: str) -> str:
    return "".join("i" if c == "İ" else low if len(low := c.lower()) == 1 else c for c in text)


@_scalar("VARCHAR; VARCHAR", "VARCHAR")
def _between(text: str, part: str) -> str:
    """The part before, between and behind all characters: what replacing the empty text gives."""
    if len(text) + (len(text) + 1) * len(part) > MAX_TEXT:
        raise Refused
    return part + "".join(c + part for c in text)


@_scalar("VARCHAR; VARCHAR", "VARCHAR")
def _normalized(text: str, form: str) -> str:
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


@_scalar("BLOB", "BLOB")
def _reverse_bytes(data: bytes) -> bytes:
    return data[::-1]


@_scalar("BLOB; BIGINT; BIGINT", "BLOB")
def _substr_bytes(data: bytes, start: int, length: int) -> bytes:
    """From a place, counted from the end if it is negative."""
    first = start - 1 if start > 0 else len(data) + start
    return data[first : first + length] if start and first >= 0 and length > 0 else b""


@_scalar("VARCHAR; VARCHAR; VARCHAR", "VARCHAR")
def _translated(text: str, old: str, new: str) -> str:
    table: dict[int, str | None] = {}
    for i, c in enumerate(old):
        table.setdefault(ord(c), new[i] if i < len(new) else None)
    return text.translate(table)


@_scalar("VARCHAR; VARCHAR; BIGINT", "BIGINT")
def _strpos_nth(text: str, part: str, instance: int) -> int:
    """Place of the n-th occurrence, which may overlap others; from the end if n is negative."""
    if instance == 0:
        raise Refused
    if not part:
        return 1
    if min(abs(instance), len(text)) * len(part) > MAX_SEARCHED:
        raise Refused
    at = -1 if instance > 0 else len(text)
    for _ in range(abs(instance)):
        at = text.find(part, at + 1) if instance > 0 else text.rfind(part, 0, at + len(part) - 1)
        if at < 0:
            return 0
    return at + 1


@_scalar("VARCHAR; VARCHAR; BIGINT", "VARCHAR[]")
def _split_limited(text: str, delimiter: str, limit: int) -> list[str]:
    if not delimiter or limit < 1:
        raise Refused
    return text.split(delimiter, min(limit, 2**31) - 1)


@_scalar("VARCHAR; VARCHAR", "VARCHAR[]")
def _split(text: str, delimiter: str) -> list[str]:
    if not delimiter:
        raise Refused
    return text.split(delimiter)


def _entries(text: str, entry: str, pair: str) -> list[tuple[str, str]]:
    if not entry or not pair or entry == pair:
        raise Refused
    found = []
    for part in text.removesuffix(entry).split(entry) if text else ():
        key, middle, value = part.partition(pair)
        if not middle or pair in value:
            raise Refused
        found.append((key, value))
    return found


@_scalar("VARCHAR; VARCHAR; VARCHAR", "MAP(VARCHAR, VARCHAR)")
def _split_to_map(text: str, entry: str, pair: str) -> list[tuple[str, str]]:
    found = _entries(text, entry, pair)
    if len({k for k, _ in found}) != len(found):
        raise Refused
    return found


@_scalar("VARCHAR; VARCHAR; VARCHAR", "MAP(VARCHAR, VARCHAR[])")
def _split_to_multimap(text: str, entry: str, pair: str) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for key, value in _entries(text, entry, pair):
        found.setdefault(key, []).append(value)
    return list(found.items())


@_scalar("BLOB; VARCHAR", "VARCHAR")
def _from_utf8(data: bytes, replacement: str) -> str:
    """Each invalid part becomes one replacement: as many bytes as its first one asks for and has."""
    if len(replacement) > 1:
        raise Refused
    out, at = "", 0
    while at < len(data):
        try:
            return out + data[at:].decode()
        except UnicodeDecodeError as bad:
            broken = at + bad.start
            out += data[at:broken].decode() + replacement
            at = broken + _broken(data[broken : broken + 6])
    return out


def _broken(data: bytes) -> int:
    """How many bytes the invalid character at the start takes up."""
    wanted = next((n for n, least in ((6, 0xFC), (5, 0xF8), (4, 0xF0), (3, 0xE0), (2, 0xC0)) if data[0] >= least), 1)
    if data[0] >= 0xFE:
        return 1
    length = 1
    while length < min(wanted, len(data)) and data[length] & 0xC0 == 0x80:
        length += 1
    return length


@_scalar("VARCHAR", "VARCHAR")
def _url_encode(text: str) -> str:
    return quote_plus(text, safe="-_.*").replace("~", "%7E")


@_scalar("VARCHAR", "VARCHAR")
def _url_decode(text: str) -> str:
    if re.search("%(?![0-9a-fA-F]{2})", text):
        raise Refused
    return unquote_plus(text, errors="replace")


@_scalar("VARCHAR; VARCHAR", "VARCHAR")
def _url_part(text: str, part: str) -> str | None:
    """protocol, host, port, path, query or fragment; NULL for a text that is no URL."""
    found = urls.parsed(text)
    if found is None:
        return None
    value = str(getattr(found, part))
    if part == "port":
        return value or None
    return value if part in ("protocol", "host") else urls.unescaped(value)


@_scalar("VARCHAR; VARCHAR", "VARCHAR")
def _url_parameter(text: str, name: str) -> str | None:
    found = urls.parsed(text)
    for part in found.query.split("&") if found else ():
        key, middle, value = part.partition("=")
        if unquote_plus(key) == name and (middle or part):
            return unquote_plus(value)
    return None


# ---- numbers as texts --------------------------------------------------------------------------------

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@_scalar("VARCHAR; BIGINT", "BIGINT")
def _from_base(text: str, radix: int) -> int:
    if not 2 <= radix <= 36 or not re.fullmatch("[+-]?[0-9a-zA-Z]+", text):
        raise Refused
    try:
        value = int(text, radix)
    except ValueError:
        raise Refused from None
    if not -(2**63) <= value < 2**63:
        raise Refused
    return value


@_scalar("BIGINT; BIGINT", "VARCHAR")
def _to_base(value: int, radix: int) -> str:
    if not 2 <= radix <= 36:
        raise Refused
    digits, rest = "", abs(value)
    while rest:
        rest, digit = divmod(rest, radix)
        digits = _DIGITS[digit] + digits
    return ("-" if value < 0 else "") + (digits or "0")


@_scalar("DOUBLE", "VARCHAR")
def double_text(value: float) -> str:
    """A double as a cast to text writes it: 1.0E1, -2.5E-3, 0E0, NaN, Infinity."""
    return spelled(value, repr(abs(value)))


@_scalar("FLOAT", "VARCHAR")
def _real_text(value: float) -> str:
    """A real as a cast to text writes it: at most seven digits."""
    return spelled(value, f"{abs(value):.7g}" if math.isfinite(value) else "")


@_scalar("DOUBLE", "VARCHAR")
def _format_number(value: float) -> str:
    """Three digits and a unit: 999, 123K, 1.5M. What is behind the point of the value itself is cut off.

    Less than zero two digits follow the point, whatever stands before it.
    """
    whole = 0 if math.isnan(value) else int(max(-(2.0**63), min(2.0**63 - 1024, value)))
    size, unit = abs(float(whole)), 0
    units = ("", "K", "M", "B", "T", "Q")
    while size >= 1000 and unit < len(units) - 1:
        size, unit = size / 1000, unit + 1
    digits = 2 if whole < 0 else max(0, 3 - len(str(int(size))))
    text = f"{Decimal(size).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return ("-" if whole < 0 else "") + text + units[unit]


@_scalar("DOUBLE", "VARCHAR")
def _readable_seconds(value: float) -> str:
    if not math.isfinite(value):
        raise Refused
    left = min(2**63 - 1, int(Decimal(abs(value)).to_integral_value(ROUND_HALF_UP)))
    parts: list[str] = []
    for name, seconds in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, seconds)
        if count or (name == "second" and not parts):
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return ", ".join(parts)


_SIZES = {unit: 1024**n for n, unit in enumerate(("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"))}


@_scalar("VARCHAR", "DECIMAL(38, 0)")
def _data_size(text: str) -> Decimal:
    found = re.fullmatch(r"((?=\.?[0-9])[0-9]{0,60}(?:\.[0-9]{0,60})?)([a-zA-Z]{1,2})", text)
    if not found or found[2] not in _SIZES:
        raise Refused
    with localcontext(prec=80):
        value = int(Decimal(found[1]) * _SIZES[found[2]])
    if value >= 10**38:
        raise Refused(TrinoError.NUMERIC_VALUE_OUT_OF_RANGE)
    return Decimal(value)


_DURATIONS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7}


@_scalar("VARCHAR", "BIGINT")
def _duration(text: str) -> int:
    """Milliseconds of a text such as 42.8ms."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\s*", text)
    if not found or found[2] not in _DURATIONS:
        raise Refused
    return math.floor(float(found[1]) * _DURATIONS[found[2]] + 0.5)


@_scalar("BIGINT", "VARCHAR")
def days_text(milliseconds: int) -> str:
    """An interval day to second as Trino writes it: 1 02:03:04.567."""
    days, left = divmod(abs(milliseconds), 86_400_000)
    seconds, fraction = divmod(left, 1000)
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{days} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:03}"


@_scalar("BIGINT", "VARCHAR")
def months_text(months: int) -> str:
    """An interval year to month as Trino writes it: 1-2."""
    return f"{'-' if months < 0 else ''}{abs(months) // 12}-{abs(months) % 12}"


@_scalar("VARCHAR; VARCHAR; VARCHAR[]", "VARCHAR")
def _formatted(pattern: str, kinds: str, values: list[str | None]) -> str:
    """Java's `String.format` for text, whole and decimal numbers, doubles and booleans.

    kinds: a letter a value: i whole, d decimal, f double, r real, b boolean, s anything else.
    """
    out, at, following = "", 0, 0
    for found in re.finditer(r"%(?:(\d+)\$)?([-#+ 0,(]*)([1-9]\d*)?(?:\.(\d+))?([a-zA-Z%])|%", pattern):
        out += pattern[at : found.start()]
        at = found.end()
        place, flags, width, digits, letter = found.groups()
        if letter is None or int(width or 0) > MAX_FORMATTED or int(digits or 0) > MAX_FORMATTED:
            raise Refused
        if letter in "n%":
            text = "\n" if letter == "n" else "%"
        else:
            index = int(place) - 1 if place else following
            following += 0 if place else 1
            if not 0 <= index < len(values):
                raise Refused
            text = _converted(letter, flags, digits, kinds[index], values[index], int(width or 0))
        out += text.ljust(int(width or 0)) if "-" in flags else text.rjust(int(width or 0))
        if len(out) > 1_000_000:
            raise Refused
    return out + pattern[at:]


def _converted(letter: str, flags: str, digits: str | None, kind: str, value: str | None, width: int) -> str:
    if letter in "sS":
        text = "null" if value is None else _plain_number(kind, value)
        text = text[: int(digits)] if digits is not None else text
        return text.upper() if letter == "S" else text
    if letter in "bB":
        text = "false" if value is None else value if kind == "b" else "true"
        return text.upper() if letter == "B" else text
    if value is None:
        return "null" if digits is None else "null"[: int(digits)]
    if letter in "dxXo" and kind == "i":
        number = int(value)
        if letter != "d":
            number = number + 2**64 if number < 0 else number
            return _signed(format(number, letter), False, flags, width)
        return _signed(format(abs(number), "," if "," in flags else "d"), number < 0, flags, width)
    if letter in "feEgG" and kind in "dfr":
        if not math.isfinite(float(value)):
            text = java_double(float(value))
            return f"+{text}" if "+" in flags and text == "Infinity" else text
        exact, scale = Decimal(value), int(digits) if digits is not None else 6
        if letter in "gG":
            return _signed(_general(abs(exact), scale or 1, letter == "G", flags), exact.is_signed(), flags, width)
        if letter == "f":
            with localcontext(prec=MAX_FORMATTED + 400):
                rounded = abs(exact).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
            return _signed(format(rounded, ",f" if "," in flags else "f"), exact.is_signed(), flags, width)
        text = _scientific(abs(exact), scale)
        return _signed(text.upper() if letter == "E" else text, exact.is_signed(), flags, width)
    raise Refused


def _plain_number(kind: str, value: str) -> str:
    """A double or real as Java writes it, anything else as it is."""
    if kind not in "fr":
        return value
    number = float(value)
    if kind == "r" and math.isfinite(number):
        bits = struct.pack("<f", number)
        texts = (f"{number:.{n}g}" for n in range(6, 10))
        number = next(float(t) for t in texts if struct.pack("<f", float(t)) == bits)
    return java_double(number)


def _scientific(value: Decimal, scale: int) -> str:
    if value == 0:
        return f"{Decimal(0).quantize(Decimal(1).scaleb(-scale)):f}e+00"
    power = value.adjusted()
    with localcontext(prec=MAX_FORMATTED + 400):
        digits = value.scaleb(-power).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
        if digits >= 10:
            digits, power = (digits / 10).quantize(Decimal(1).scaleb(-scale)), power + 1
    return f"{digits:f}e{'-' if power < 0 else '+'}{abs(power):02}"


def _general(value: Decimal, precision: int, capital: bool, flags: str) -> str:
    """So many digits in all: written out where it is neither small nor large, else with an exponent."""
    with localcontext(prec=precision, rounding=ROUND_HALF_UP):
        rounded = +value
    if rounded and not Decimal("0.0001") <= rounded < Decimal(10) ** precision:
        text = _scientific(value, precision - 1)
        return text.upper() if capital else text
    with localcontext(prec=MAX_FORMATTED + 400):
        places = precision - 1 - (rounded.adjusted() if rounded else 0)
        return format(value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP), ",f" if "," in flags else "f")


def _signed(text: str, negative: bool, flags: str, width: int) -> str:
    sign = "-" if negative else "+" if "+" in flags else " " if " " in flags else ""
    if negative and "(" in flags:
        return f"({text})"
    return sign + (text.rjust(width - len(sign), "0") if "0" in flags else text)


# ---- mathematics -------------------------------------------------------------------------------------


def _math(name: str, run: Callable[..., float], count: int = 1) -> None:
    def guarded(*values: float) -> float:
        try:
            return float(run(*values))
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    SCALARS[f"tr_{name}"] = Scalar(("DOUBLE",) * count, "DOUBLE", pa.float64(), guarded)


for _name in ("asin", "acos", "atan", "cbrt", "log10", "sinh", "cosh", "tanh"):
    _math(_name, getattr(elementary, _name))
_math("atan2", elementary.atan2, 2)


@_scalar("DOUBLE; DOUBLE; DOUBLE; BIGINT", "BIGINT")
def _width_bucket(value: float, low: float, high: float, count: int) -> int:
    if count <= 0 or math.isnan(value) or not math.isfinite(low) or not math.isfinite(high) or low == high:
        raise Refused
    lower, upper = min(low, high), max(low, high)
    if value < lower:
        bucket = 0
    elif value >= upper:
        bucket = count + 1
    else:
        bucket = int(count * (value - lower) / (upper - lower) + 1)
    return count - bucket + 1 if low > high else bucket


@_scalar("DOUBLE; DOUBLE[]", "BIGINT")
def _bucket(value: float, bins: list[float | None]) -> int:
    """Among sorted bins, looked up by halves; only what is looked at is checked, as Trino does."""
    low, high = 0, len(bins)
    if not bins or math.isnan(value):
        raise Refused
    while low < high:
        first, last, middle = bins[low], bins[high - 1], bins[(low + high) // 2]
        if first is None or last is None or middle is None:
            raise Refused(TrinoError.NOT_SUPPORTED)
        if first > last or not math.isfinite(middle):
            raise Refused
        low, high = (low, (low + high) // 2) if value < middle else ((low + high) // 2 + 1, high)
    return low


@_scalar("BIGINT; BIGINT", "BIGINT")
def _bit_count(value: int, bits: int) -> int:
    if not 2 <= bits <= 64 or not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise Refused
    return (value & ((1 << bits) - 1)).bit_count()


def _wilson(successes: int, trials: int, z: float, sign: int) -> float:
    if successes < 0 or trials <= 0 or successes > trials or z < 0:
        raise Refused
    share = successes / trials
    middle = share + z * z / (2 * trials)
    wide = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (middle + sign * wide) / (1 + z * z / trials)


@_scalar("BIGINT; BIGINT; DOUBLE", "DOUBLE")
def _wilson_lower(successes: int, trials: int, z: float) -> float:
    return _wilson(successes, trials, z, -1)


@_scalar("BIGINT; BIGINT; DOUBLE", "DOUBLE")
def _wilson_upper(successes: int, trials: int, z: float) -> float:
    return _wilson(successes, trials, z, 1)


# ---- bytes -------------------------------------------------------------------------------------------


def _bytes(name: str, run: Callable[..., Any], takes: str = "BLOB", gives: str = "BLOB") -> None:
    run.__name__ = name
    _scalar(takes, gives)(run)


for _hash in ("md5", "sha1", "sha256", "sha512"):
    _bytes(_hash, lambda data, h=_hash: hashlib.new(h, data, usedforsecurity=False).digest())
    _bytes(f"hmac_{_hash}", lambda data, key, h=_hash: hmac.digest(key, data, h), "BLOB; BLOB")


@_scalar("BLOB", "BIGINT")
def _crc32(data: bytes) -> int:
    return zlib.crc32(data)


def _mixed(k: int) -> int:
    k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCD & MASK
    k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53 & MASK
    return k ^ (k >> 33)


@_scalar("BLOB", "BLOB")
def _murmur3(data: bytes) -> bytes:
    """MurmurHash3 x64, 128 bits, seed 0."""
    c1, c2, h1, h2 = 0x87C37B91114253D5, 0x4CF5AD432745937F, 0, 0
    whole = len(data) // 16 * 16
    for k1, k2 in struct.iter_unpack("<QQ", data[:whole]):
        h1 ^= turned(k1 * c1 & MASK, 31) * c2 & MASK
        h1 = ((turned(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= turned(k2 * c2 & MASK, 33) * c1 & MASK
        h2 = ((turned(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    tail = data[whole:]
    if len(tail) > 8:
        h2 ^= turned(int.from_bytes(tail[8:], "little") * c2 & MASK, 33) * c1 & MASK
    if tail:
        h1 ^= turned(int.from_bytes(tail[:8], "little") * c1 & MASK, 31) * c2 & MASK
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = _mixed(h1), _mixed(h2)
    h1 = (h1 + h2) & MASK
    return struct.pack("<QQ", h1, (h2 + h1) & MASK)


def _packed(name: str, layout: str, kind: str) -> None:
    """to_.. and from_..: a number as big-endian bytes. name: big_endian_32 and the like."""
    size = struct.calcsize(layout)

    def unpack(data: bytes) -> Any:
        if len(data) != size:
            raise Refused
        return struct.unpack(layout, data)[0]

    def pack(value: Any) -> bytes:
        return struct.pack(layout, math.nan if kind == "DOUBLE" and math.isnan(value) else value)

    _bytes(f"to_{name}", pack, kind, "BLOB")
    _bytes(f"from_{name}", unpack, "BLOB", kind)


_packed("big_endian_32", ">i", "INTEGER")
_packed("big_endian_64", ">q", "BIGINT")
_packed("ieee754_32", ">f", "FLOAT")
_packed("ieee754_64", ">d", "DOUBLE")


def _decoder(decode: Callable[[str], bytes]) -> Callable[[str], bytes]:
    def run(text: str) -> bytes:
        try:
            return decode(text)
        except ValueError:
            raise Refused from None

    return run


_FROM_URL = str.maketrans("-_+/", "+/**")


def _setup_bases() -> None:
    import base64

    def padded(text: str) -> str:
        """With what fills the last four up; a text that has some of that needs all of it."""
        body = text.rstrip("=")
        if body != text and (len(text) % 4 or len(text) - len(body) > 2):
            raise Refused
        return body + "=" * (-len(body) % 4)

    def eights(body: str) -> str:
        return body + "=" * (-len(body) % 8)

    _bytes("to_base64", lambda data: base64.b64encode(data).decode(), "BLOB", "VARCHAR")
    _bytes("from_base64", _decoder(lambda t: base64.b64decode(padded(t), validate=True)), "VARCHAR", "BLOB")
    _bytes("to_base64url", lambda data: base64.urlsafe_b64encode(data).decode(), "BLOB", "VARCHAR")
    _bytes(
        "from_base64url",
        _decoder(lambda t: base64.b64decode(padded(t).translate(_FROM_URL), validate=True)),
        "VARCHAR",
        "BLOB",
    )
    _bytes("to_base32", lambda data: base64.b32encode(data).decode(), "BLOB", "VARCHAR")
    _bytes("from_base32", _decoder(lambda t: base64.b32decode(eights(t.rstrip("=")))), "VARCHAR", "BLOB")


_setup_bases()


@_scalar("VARCHAR", "BLOB")
def _from_hex(text: str) -> bytes:
    if not re.fullmatch("([0-9a-fA-F]{2})*", text):
        raise Refused
    return bytes.fromhex(text)


@_scalar("VARCHAR", "DOUBLE")
def _to_double(text: str) -> float | None:
    """Java's Double.parseDouble, of a text that has its form; NULL for another."""
    text = text.strip("".join(map(chr, range(33))))
    try:
        return float(text[:-1] if text[-1:] in "dDfF" else text)
    except ValueError:
        return None


@_scalar("VARCHAR", "VARCHAR")
def _reverse(text: str) -> str:
    return text[::-1]


def _shift_row(name: str, run: Callable[[int, int, int, int], int]) -> None:
    """A shift of bits in a width: what leaves it is gone, the highest bit left is the sign."""

    def shifted(value: int, places: int, bits: int) -> int:
        width = bits if places >= 0 else 64  # a negative number of places is taken as Java takes it for a long
        result = run(value, places & 63 if places < 0 else places, bits, width) & ((1 << bits) - 1)
        return result - (1 << bits) if result >> (bits - 1) else result

    SCALARS[f"tr_{name}"] = Scalar(("BIGINT", "BIGINT", "BIGINT"), "BIGINT", pa.int64(), shifted)


_shift_row("bitwise_left_shift", lambda v, n, bits, width: v << n if n < width else 0)
_shift_row("bitwise_right_shift", lambda v, n, bits, width: (v & ((1 << bits) - 1)) >> n if n < width else 0)
_shift_row("bitwise_right_shift_arithmetic", lambda v, n, bits, width: v >> n if n < width else -1 if v < 0 else 0)


_ISO_DATE = re.compile(
    r"([0-9]{1,4})(?:-(?:([0-9]{1,2})(?:-([0-9]{1,2}))?|([0-9]{3})|W([0-9]{1,2})(?:-([0-9]))?))?", re.ASCII
)
_ISO_TIME = re.compile(
    r"(?:([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:[.,]([0-9]{1,9}))?)?)?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?",
    re.ASCII,
)


@_scalar("VARCHAR", "DATE")
def _iso_date(text: str) -> date:
    found = _ISO_DATE.fullmatch(text)
    if not found:
        raise Refused
    year, month, day, ordinal, week, weekday = (int(part) if part else None for part in found.groups())
    try:
        if week:
            return date.fromisocalendar(year or 0, week, weekday or 1)
        if ordinal is None:
            return date(year or 0, month or 1, day or 1)
        if not 1 <= ordinal <= 365 + calendar.isleap(year or 0):
            raise Refused
        return date(year or 0, 1, 1) + timedelta(ordinal - 1)
    except ValueError:
        raise Refused from None


@_scalar("VARCHAR; VARCHAR", "TIMESTAMP")
def _iso_stamp(text: str, zone: str) -> datetime:
    """The moment in UTC. zone: Z or what a text ends with, in which all of a column are shown: another one is not
    supported. Without one it is a local time, and no text may have a zone."""
    day, _, clock = text.partition("T")
    found = _ISO_TIME.fullmatch(clock)
    if not found or text in ("", "T"):
        raise Refused
    hour, minute, second, fraction, offset = found.groups()
    if offset != zone and not (zone in ("", "Z") and not offset):
        raise Refused(TrinoError.NOT_SUPPORTED)
    at = datetime.combine(_iso_date(day) if day else date(1970, 1, 1), datetime.min.time())
    try:
        at = at.replace(hour=int(hour or 0), minute=int(minute or 0), second=int(second or 0))
    except ValueError:
        raise Refused from None
    at += timedelta(milliseconds=int((fraction or "0").ljust(3, "0")[:3]))
    if zone in ("", "Z"):
        return at
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return at - int(f"{zone[0]}1") * timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))


@_scalar("VARCHAR", "BOOLEAN")
def _is_zone(text: str) -> bool:
    return not text or is_java_zone(text)


@_scalar("DOUBLE; DOUBLE; DOUBLE; DOUBLE", "DOUBLE")
def _great_circle(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Kilometres between two places on a sphere, by Vincenty's formula."""
    if not all(-90 <= lat <= 90 for lat in (lat1, lat2)) or not all(-180 <= lon <= 180 for lon in (lon1, lon2)):
        raise Refused
    a, b, turn = lat1 * _RADIAN, lat2 * _RADIAN, lon1 * _RADIAN - lon2 * _RADIAN
    x = math.cos(b) * math.sin(turn)
    y = math.cos(a) * math.sin(b) - math.sin(a) * math.cos(b) * math.cos(turn)
    z = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(turn)
    return elementary.atan2(math.sqrt(x * x + y * y), z) * 6371.01


@_scalar("BIGINT; BIGINT", "BIGINT[][]")
@lru_cache(8)
def _choices(size: int, count: int) -> list[list[int]]:
    """The places, from 1, of every choice of `count` out of `size`. Kept, so that equal rows share theirs."""
    if not 0 <= count <= MAX_CHOSEN:
        raise Refused
    if count > size:
        return []
    if math.comb(size, count) * max(1, count) > MAX_CHOICES:
        raise Refused
    return sorted(([*c] for c in combinations(range(1, size + 1), count)), key=lambda c: c[::-1])


_MORE = (*JSON_SCALARS.items(), *COLOR_SCALARS.items(), *HASH_SCALARS.items(), *STEM_SCALARS.items())
for _name, (_takes, _gives, _run) in _MORE:
    SCALARS[f"tr_{_name}"] = Scalar(tuple(t.strip() for t in _takes.split(";")), _gives, _TYPES[_gives], _run)
