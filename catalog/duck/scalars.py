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
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import pyarrow as pa

from catalog.duck.json_texts import JSON_SCALARS
from catalog.duck.macros import MAX_TEXT
from catalog.errors import TrinoError

__all__ = ["SCALARS", "Refused", "Scalar", "days_text", "months_text"]

MAX_COMPARED = 2_000
"""Characters of either text whose edit distance is computed: the work grows with their product."""
MAX_FORMATTED = 1_000
"""Width and digits of one conversion of `format`."""
MAX_SECONDS = 20.0
"""Processor time of one call of DuckDB, which is 2048 rows at most."""
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
        for row in rows:
            if len(found) % 16 == 0 and time.thread_time() > end:
                raise Refused(TrinoError.EXCEEDED_TIME_LIMIT)
            value = None if None in row else self.run(*row)
            if isinstance(value, (str, bytes)) and len(value) > MAX_TEXT:
                raise Refused
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


_TYPES: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(), "BIGINT": pa.int64(), "INTEGER": pa.int32(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(),
    "BLOB": pa.binary(), "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us"), "DECIMAL(38, 0)": pa.decimal128(38, 0),
    "VARCHAR[]": pa.list_(pa.string()), "MAP(VARCHAR, VARCHAR)": pa.map_(pa.string(), pa.string()),
    "MAP(VARCHAR, VARCHAR[])": pa.map_(pa.string(), pa.list_(pa.string())), "FLOAT": pa.float32(),
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
    """American soundex: H and W part no equal codes, vowels do."""
    if not text.isascii():
        raise Refused
    letters = [c for c in text.upper() if c.isalpha()]
    if not letters:
        return ""
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
    for part in text.split(entry):
        if part or part is not text:
            key, middle, value = part.partition(pair)
            if not middle:
                if not part:
                    continue
                raise Refused
            if pair in value:
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
    """Each maximal invalid part becomes one replacement, as Python's and Java's decoders agree."""
    if len(replacement) > 1:
        raise Refused
    return data.decode("utf-8", "replace" if replacement == "�" else "strict") if _is_utf8(data) or replacement == "�" \
        else data.decode("utf-8", "replace").replace("�", replacement)  # fmt: skip


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@_scalar("VARCHAR", "VARCHAR")
def _url_encode(text: str) -> str:
    return quote_plus(text, safe="-_.*").replace("~", "%7E")


@_scalar("VARCHAR", "VARCHAR")
def _url_decode(text: str) -> str:
    if re.search("%(?![0-9a-fA-F]{2})", text):
        raise Refused
    return unquote_plus(text, errors="replace")


_URL = re.compile(
    r"(?:(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?:[^/?#@]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#:@]*)"
    r"(?::(?P<port>[0-9]*))?)?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_NO_URL = re.compile(r'[\s<>"{}|\\^`]|%(?![0-9A-Fa-f]{2})')


@_scalar("VARCHAR; VARCHAR", "VARCHAR")
def _url_part(text: str, part: str) -> str | None:
    """protocol, host, port, path, query or fragment; NULL for a text that is no URL."""
    found = _URL.fullmatch(text) if not _NO_URL.search(text) else None
    if found is None:
        return None
    value = found[part]
    if part in ("protocol", "host", "port"):
        return value or (None if part != "protocol" and part != "host" else "" if part == "protocol" else None)
    return unquote(value) if value else ""


def unquote(text: str) -> str:
    return unquote_plus(text.replace("+", "%2B"), errors="replace")


@_scalar("VARCHAR; VARCHAR", "VARCHAR")
def _url_parameter(text: str, name: str) -> str | None:
    found = _URL.fullmatch(text) if not _NO_URL.search(text) else None
    for part in (found["query"] or "").split("&") if found else ():
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
    return _spelled(value, repr(abs(value)))


@_scalar("FLOAT", "VARCHAR")
def _real_text(value: float) -> str:
    """A real as a cast to text writes it: at most seven digits."""
    return _spelled(value, f"{abs(value):.7g}" if math.isfinite(value) else "")


def _spelled(value: float, shortest: str) -> str:
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


@_scalar("DOUBLE", "VARCHAR")
def _format_number(value: float) -> str:
    """Three digits and a unit: 999, 123K, 1.5M."""
    size, unit = Decimal(repr(abs(value))), 0
    units = ("", "K", "M", "B", "T", "Q")
    while size >= 1000 and unit < len(units) - 1:
        size, unit = size / 1000, unit + 1
    digits = max(0, 3 - len(str(int(size))))
    text = f"{size.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return ("-" if value < 0 else "") + text + units[unit]


@_scalar("DOUBLE", "VARCHAR")
def _readable_seconds(value: float) -> str:
    if not math.isfinite(value):
        raise Refused
    left = int(Decimal(repr(abs(value))).quantize(Decimal(1), ROUND_HALF_UP))
    parts: list[str] = []
    for name, seconds in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, seconds)
        if count or (name == "second" and not parts):
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return ", ".join(parts)


_SIZES = {unit: 1024**n for n, unit in enumerate(("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"))}


@_scalar("VARCHAR", "DECIMAL(38, 0)")
def _data_size(text: str) -> Decimal:
    found = re.fullmatch(r"([0-9]{1,60}(?:\.[0-9]{1,60})?)([a-zA-Z]{1,2})", text)
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

    kinds: a letter a value: i whole, d decimal, f double, b boolean, s anything else.
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
        text = "null" if value is None else value
        text = text[: int(digits)] if digits is not None else text
        return text.upper() if letter == "S" else text
    if letter in "bB":
        text = "false" if value is None else value if kind == "b" else "true"
        return text.upper() if letter == "B" else text
    if value is None:
        return "null"
    if letter in "dxXo" and kind == "i":
        number = int(value)
        if letter != "d":
            number = number + 2**64 if number < 0 else number
            return _signed(format(number, letter), False, flags, width)
        return _signed(format(abs(number), "," if "," in flags else "d"), number < 0, flags, width)
    if letter in "feE" and kind in "df":
        if value in ("NaN", "Infinity", "-Infinity"):
            return value
        exact, scale = Decimal(value), int(digits) if digits is not None else 6
        if letter == "f":
            with localcontext(prec=MAX_FORMATTED + 400):
                rounded = abs(exact).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
            return _signed(format(rounded, ",f" if "," in flags else "f"), exact.is_signed(), flags, width)
        text = _scientific(abs(exact), scale)
        return _signed(text.upper() if letter == "E" else text, exact.is_signed(), flags, width)
    raise Refused


def _scientific(value: Decimal, scale: int) -> str:
    if value == 0:
        return f"{Decimal(0).quantize(Decimal(1).scaleb(-scale)):f}e+00"
    power = value.adjusted()
    with localcontext(prec=MAX_FORMATTED + 400):
        digits = value.scaleb(-power).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
        if digits >= 10:
            digits, power = (digits / 10).quantize(Decimal(1).scaleb(-scale)), power + 1
    return f"{digits:f}e{'-' if power < 0 else '+'}{abs(power):02}"


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


def _cbrt(value: float) -> float:
    """The double nearest to the cube root: the platform's own may be one step beside."""
    root = math.cbrt(value)
    if not math.isfinite(root) or root == 0:
        return root
    near = (root, math.nextafter(root, math.inf), math.nextafter(root, -math.inf))
    exact = Decimal(value)
    with localcontext(prec=120):
        return min(near, key=lambda r: abs(Decimal(r) ** 3 - exact))


_math("cbrt", _cbrt)


def _exp(x: float) -> float:
    """e to the power of x as fdlibm computes it, for 0.3 < x < 709; its last digit may differ from the nearest."""
    k = int(1.44269504088896338700 * x + 0.5) if x > 1.0397207708399179 else 1
    high, low = x - k * 6.93147180369123816490e-01, k * 1.90821492927058770002e-10
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t * (-2.77777777770155933842e-03
        + t * (6.61375632143793436117e-05
        + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)))
    )  # fmt: skip
    return math.ldexp(1.0 - ((low - (r * c) / (2.0 - c)) - high), k)


def _sinh(x: float) -> float:
    """As fdlibm computes it, and so Java, to the last digit; likewise the next two."""
    half, size = math.copysign(0.5, x), abs(x)
    if size < 22:
        if size < 2**-28:
            return x
        t = math.expm1(size)
        return half * (2 * t - t * t / (t + 1)) if size < 1 else half * (t + t / (t + 1))
    return half * _exp(size) if size < 709.78 else math.sinh(x) if size < 710.47 else x * math.inf


def _cosh(x: float) -> float:
    size = abs(x)
    if size < 0.5 * math.log(2):
        t = math.expm1(size)
        w = 1 + t
        return w if size < 2**-55 else 1 + t * t / (w + w)
    if size < 22:
        t = _exp(size)
        return 0.5 * t + 0.5 / t
    return 0.5 * _exp(size) if size < 709.78 else math.cosh(x) if size < 710.47 else size * math.inf


def _tanh(x: float) -> float:
    size = abs(x)
    if math.isnan(x) or size < 2**-55:
        return x
    if size >= 22:
        return math.copysign(1.0, x)
    t = math.expm1(2 * size if size >= 1 else -2 * size)
    return math.copysign(1 - 2 / (t + 2) if size >= 1 else -t / (t + 2), x)


_math("sinh", _sinh)
_math("cosh", _cosh)
_math("tanh", _tanh)
_math("log10", lambda x: -math.inf if x == 0 else math.log10(x))


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


_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)  # fmt: skip
_M64 = (1 << 64) - 1


def _turned(x: int, n: int) -> int:
    return ((x << n) | (x >> (64 - n))) & _M64


def _xx_round(acc: int, lane: int) -> int:
    return _turned((acc + lane * _P2) & _M64, 31) * _P1 & _M64


@_scalar("BLOB", "BLOB")
def _xxhash64(data: bytes) -> bytes:
    length, at = len(data), 0
    if length >= 32:
        v = [(_P1 + _P2) & _M64, _P2, 0, -_P1 & _M64]
        while at + 32 <= length:
            v = [_xx_round(x, lane) for x, lane in zip(v, struct.unpack_from("<4Q", data, at), strict=True)]
            at += 32
        h = sum(_turned(x, n) for x, n in zip(v, (1, 7, 12, 18), strict=True)) & _M64
        for x in v:
            h = ((h ^ _xx_round(0, x)) * _P1 + _P4) & _M64
    else:
        h = _P5
    h = (h + length) & _M64
    while at + 8 <= length:
        h = (_turned(h ^ _xx_round(0, struct.unpack_from("<Q", data, at)[0]), 27) * _P1 + _P4) & _M64
        at += 8
    if at + 4 <= length:
        h = (_turned(h ^ (struct.unpack_from("<I", data, at)[0] * _P1 & _M64), 23) * _P2 + _P3) & _M64
        at += 4
    for byte in data[at:]:
        h = _turned(h ^ (byte * _P5 & _M64), 11) * _P1 & _M64
    h = (h ^ (h >> 33)) * _P2 & _M64
    h = (h ^ (h >> 29)) * _P3 & _M64
    return struct.pack(">Q", h ^ (h >> 32))


def _mixed(k: int) -> int:
    k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCD & _M64
    k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53 & _M64
    return k ^ (k >> 33)


@_scalar("BLOB", "BLOB")
def _murmur3(data: bytes) -> bytes:
    """MurmurHash3 x64, 128 bits, seed 0."""
    c1, c2, h1, h2 = 0x87C37B91114253D5, 0x4CF5AD432745937F, 0, 0
    whole = len(data) // 16 * 16
    for k1, k2 in struct.iter_unpack("<QQ", data[:whole]):
        h1 ^= _turned(k1 * c1 & _M64, 31) * c2 & _M64
        h1 = ((_turned(h1, 27) + h2) * 5 + 0x52DCE729) & _M64
        h2 ^= _turned(k2 * c2 & _M64, 33) * c1 & _M64
        h2 = ((_turned(h2, 31) + h1) * 5 + 0x38495AB5) & _M64
    tail = data[whole:]
    if len(tail) > 8:
        h2 ^= _turned(int.from_bytes(tail[8:], "little") * c2 & _M64, 33) * c1 & _M64
    if tail:
        h1 ^= _turned(int.from_bytes(tail[:8], "little") * c1 & _M64, 31) * c2 & _M64
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & _M64
    h2 = (h2 + h1) & _M64
    h1, h2 = _mixed(h1), _mixed(h2)
    h1 = (h1 + h2) & _M64
    return struct.pack("<QQ", h1, (h2 + h1) & _M64)


def _packed(name: str, layout: str, kind: str) -> None:
    """to_.. and from_..: a number as big-endian bytes. name: big_endian_32 and the like."""
    size = struct.calcsize(layout)

    def unpack(data: bytes) -> Any:
        if len(data) != size:
            raise Refused
        return struct.unpack(layout, data)[0]

    _bytes(f"to_{name}", lambda value: struct.pack(layout, value), kind, "BLOB")
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


def _setup_bases() -> None:
    import base64

    def padded(text: str) -> str:
        return text if len(text) % 4 == 0 else text + "=" * (-len(text) % 4)

    _bytes("to_base64", lambda data: base64.b64encode(data).decode(), "BLOB", "VARCHAR")
    _bytes("from_base64", _decoder(lambda t: base64.b64decode(padded(t), validate=True)), "VARCHAR", "BLOB")
    _bytes("to_base64url", lambda data: base64.urlsafe_b64encode(data).decode(), "BLOB", "VARCHAR")
    _bytes(
        "from_base64url",
        _decoder(lambda t: base64.b64decode(padded(t), altchars=b"-_", validate=True)),
        "VARCHAR",
        "BLOB",
    )
    _bytes("to_base32", lambda data: base64.b32encode(data).decode(), "BLOB", "VARCHAR")
    _bytes("from_base32", _decoder(lambda t: base64.b32decode(t + "=" * (-len(t) % 8))), "VARCHAR", "BLOB")


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


def _shift_row(name: str, run: Callable[[int, int, int], int]) -> None:
    """A shift of bits in a width: what leaves it is gone, the highest bit left is the sign."""

    def shifted(value: int, places: int, bits: int) -> int:
        result = run(value, places, bits) & ((1 << bits) - 1)
        return result - (1 << bits) if result >> (bits - 1) else result

    SCALARS[f"tr_{name}"] = Scalar(("BIGINT", "BIGINT", "BIGINT"), "BIGINT", pa.int64(), shifted)


_shift_row("bitwise_left_shift", lambda v, n, bits: v << n if 0 <= n < bits else 0)
_shift_row("bitwise_right_shift", lambda v, n, bits: (v & ((1 << bits) - 1)) >> n if 0 <= n < bits else 0)
_shift_row("bitwise_right_shift_arithmetic", lambda v, n, bits: v >> n if 0 <= n < bits else -1 if v < 0 else 0)


@_scalar("VARCHAR", "DATE")
def _iso_date(text: str) -> date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{3}", text):
            year, day = int(text[:4]), int(text[5:])
            if not 1 <= day <= 365 + calendar.isleap(year):
                raise Refused
            return date(year, 1, 1) + timedelta(day - 1)
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text):
            text += "-01"
        return date.fromisoformat(text)
    except ValueError:
        raise Refused from None


for _name, (_takes, _gives, _run) in JSON_SCALARS.items():
    SCALARS[f"tr_{_name}"] = Scalar(tuple(t.strip() for t in _takes.split(";")), _gives, _TYPES[_gives], _run)
