"""Doubles and reals as Java writes them, and so Trino: 5.0, -0.0, 0.001, 1.0E7, 9.9E-4, NaN, -Infinity.

    texts(array)    a column at a time, by kernels that hold no interpreter lock
    text(value)     one double

The digits are the fewest that read back as the same number, which Arrow and Python find as well; what differs
is how they are laid out: always a digit after the point, an exponent below 0.001 and from 10,000,000 on. Of the
smallest numbers, where one digit is enough, Java writes the nearest two (4.9E-324, not 5E-324).
"""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["is_laid_out_alike", "text", "texts"]

SMALL, LARGE = 1e-3, 1e7
"""Between these there is no exponent."""
TINY = {pa.float64(): 1e-320, pa.float32(): 1e-42}
"""Below, two digits may be nearer than the one that is enough."""
_PARTS = r"^(?P<whole>\d+)(?:\.(?P<fraction>\d+))?(?:e(?P<exponent>[+-]\d+))?$"


def texts(array: pa.Array) -> pa.Array:
    """The texts of a float or double column; NULL stays NULL."""
    found = written = array.cast(pa.string())
    whole = pc.equal(pc.floor(array), array)
    if pc.any(whole).as_py():
        found = pc.if_else(whole, pc.binary_join_element_wise(found, ".0", ""), found)
    far = _far(array)
    if pc.any(far).as_py():
        found = pc.replace_with_mask(found, far, _with_exponent(array.filter(far), written.filter(far)))
    if pc.all(pc.is_finite(array)).as_py() is False:
        infinite = pc.if_else(pc.greater(array, 0), "Infinity", "-Infinity")
        special = pc.if_else(pc.is_nan(array), "NaN", infinite)
        found = pc.if_else(pc.is_finite(array), found, special)
    return found


def is_laid_out_alike(array: pa.Array) -> bool:
    """Whether every number of a column looks the same in Python: none needs an exponent, all are finite."""
    return not pc.any(_far(array)).as_py() and pc.all(pc.is_finite(array)).as_py() is not False


def text(value: float) -> str:
    """The text of one double."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    size = abs(value)
    if size == 0 or SMALL <= size < LARGE:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    if len(digits) == 1 and size < TINY[pa.float64()]:
        return _two_digits(value)
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' * sign}{digits[0]}.{rest}E{exponent + len(digits) - 1}"


def _two_digits(value: float) -> str:
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}E{int(exponent)}"


def _far(array: pa.Array) -> pa.Array:
    """Which numbers need an exponent; false for NULL, NaN and the infinities."""
    size = pc.abs(array).cast(pa.float64())
    small = pc.and_(pc.less(size, SMALL), pc.greater(size, 0))
    large = pc.and_(pc.greater_equal(size, LARGE), pc.is_finite(array))
    return pc.fill_null(pc.or_(small, large), False)


def _with_exponent(array: pa.Array, written: pa.Array) -> pa.Array:
    """Texts of numbers that need an exponent, none of them NULL. written: as Arrow writes them."""
    size, written = pc.abs(array), pc.ascii_ltrim(written, "-")
    if pc.min(size).as_py() >= LARGE and not pc.any(pc.match_substring(written, "e")).as_py():
        digits, place = _of_plain_digits(written)
    else:
        digits, place = _of_any_form(written)
    # One digit, the point, the others; `1.` and `1.000` are 1.0.
    mantissa = pc.ascii_rtrim(pc.binary_replace_slice(digits, 1, 1, "."), "0")
    short = pc.equal(pc.binary_length(mantissa), 2)
    if pc.any(short).as_py():
        mantissa = pc.if_else(short, pc.binary_join_element_wise(mantissa, "0", ""), mantissa)
    found = pc.binary_join_element_wise(mantissa, place.cast(pa.string()), "E")
    tiny = pc.and_(pc.less(size, TINY[array.type]), short)
    if pc.any(tiny).as_py():
        nearest = [_two_digits(v) for v in size.filter(tiny).to_pylist()]
        found = pc.replace_with_mask(found, tiny, pa.array(nearest, pa.string()))
    negative = pc.less(array, 0)
    if pc.any(negative).as_py():
        found = pc.if_else(negative, pc.binary_join_element_wise("-", found, ""), found)
    return found


def _of_plain_digits(written: pa.Array) -> tuple[pa.Array, pa.Array]:
    """(digits, exponent) of `12345678.25` and `12345678`, as most large numbers of a table look."""
    point = pc.find_substring(written, ".")
    has_none = pc.less(point, 0)
    place = pc.subtract(pc.if_else(has_none, pc.binary_length(written), point), 1)
    return (written if pc.all(has_none).as_py() else pc.replace_substring(written, ".", "")), place


def _of_any_form(written: pa.Array) -> tuple[pa.Array, pa.Array]:
    """(digits, exponent) of `1.5e+22`, `0.00012`, `1e-7`, `12345678.25`."""
    parts = pc.extract_regex(written, _PARTS)
    whole, fraction, exponent = (pc.struct_field(parts, i) for i in range(3))
    every = pc.binary_join_element_wise(whole, fraction, "")
    digits = pc.ascii_ltrim(every, "0")
    zeros = pc.subtract(pc.binary_length(every), pc.binary_length(digits))
    moved = pc.if_else(pc.equal(exponent, ""), "0", pc.ascii_ltrim(exponent, "+")).cast(pa.int32())
    return digits, pc.subtract(pc.add(moved, pc.binary_length(whole)), pc.add(zeros, 1))
