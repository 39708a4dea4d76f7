"""Elementary functions to the last digit as Java computes them: by fdlibm, or as the nearest double.

The platform's own are now and then one step beside. fdlibm is Sun's freely distributable library of mathematics; the
polynomials are its.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal, localcontext

__all__ = ["acos", "asin", "atan", "atan2", "cbrt", "cosh", "log10", "sinh", "tanh"]

_HALF_PI, _HALF_PI_LOW = 1.57079632679489655800e00, 6.12323399573676603587e-17
_PI_LOW = 1.2246467991473531772e-16
_QUARTER_PI = 7.85398163397448278999e-01


def _cut(x: float) -> float:
    """The upper half of a double's bits."""
    return float(struct.unpack("<d", struct.pack("<Q", struct.unpack("<Q", struct.pack("<d", x))[0] >> 32 << 32))[0])


def _series(t: float) -> float:
    """(asin(x) - x) / x for t = x * x."""
    p = t * (
        1.66666666666666657415e-01
        + t * (-3.25565818622400915405e-01
        + t * (2.01212532134862925881e-01
        + t * (-4.00555345006794114027e-02
        + t * (7.91534994289814532176e-04 + t * 3.47933107596021167570e-05))))
    )  # fmt: skip
    q = 1.0 + t * (
        -2.40339491173441421878e00
        + t * (2.02094576023350569471e00 + t * (-6.88283971605453293030e-01 + t * 7.70381505559019352791e-02))
    )
    return p / q


def asin(x: float) -> float:
    size = abs(x)
    if not size < 1:
        return x * _HALF_PI + x * _HALF_PI_LOW if size == 1 else math.nan
    if size < 0.5:
        return x if size < 2**-27 else x + x * _series(x * x)
    t = (1.0 - size) * 0.5
    r, s = _series(t), math.sqrt(t)
    if size >= 0.975:
        found = _HALF_PI - (2.0 * (s + s * r) - _HALF_PI_LOW)
    else:
        w = _cut(s)
        c = (t - w * w) / (s + w)
        p = 2.0 * s * r - (_HALF_PI_LOW - 2.0 * c)
        found = _QUARTER_PI - (p - (_QUARTER_PI - 2.0 * w))
    return math.copysign(found, x)


def acos(x: float) -> float:
    size = abs(x)
    if not size < 1:
        return math.nan if size != 1 else 0.0 if x > 0 else math.pi + 2.0 * _HALF_PI_LOW
    if size < 0.5:
        return _HALF_PI + _HALF_PI_LOW if size <= 2**-57 else _HALF_PI - (x - (_HALF_PI_LOW - x * _series(x * x)))
    z = (1.0 - size) * 0.5
    s, r = math.sqrt(z), _series(z)
    if x < 0:
        return math.pi - 2.0 * (s + (r * s - _HALF_PI_LOW))
    high = _cut(s)
    c = (z - high * high) / (s + high)
    return 2.0 * (high + (r * s + c))


_ATAN = (
    (4.63647609000806093515e-01, 2.26987774529616870924e-17), (_QUARTER_PI, 3.06161699786838301793e-17),
    (9.82793723247329054082e-01, 1.39033110312309984516e-17), (_HALF_PI, _HALF_PI_LOW),
)  # fmt: skip
"""atan of 0.5, 1, 1.5 and infinity, in two parts each."""


def atan(x: float) -> float:
    size = abs(x)
    if not size < 2**66:
        return x if math.isnan(x) else math.copysign(_HALF_PI + _HALF_PI_LOW, x)
    if size < 0.4375:
        return x if size < 2**-29 else x - x * _arc(x)
    if size < 0.6875:
        near, t = _ATAN[0], (2.0 * size - 1.0) / (2.0 + size)
    elif size < 1.1875:
        near, t = _ATAN[1], (size - 1.0) / (size + 1.0)
    elif size < 2.4375:
        near, t = _ATAN[2], (size - 1.5) / (1.0 + 1.5 * size)
    else:
        near, t = _ATAN[3], -1.0 / size
    return math.copysign(near[0] - ((t * _arc(t) - near[1]) - t), x)


def _arc(x: float) -> float:
    """1 - atan(x) / x."""
    z = x * x
    w = z * z
    odd = z * (
        3.33333333333329318027e-01
        + w * (1.42857142725034663711e-01
        + w * (9.09088713343650656196e-02
        + w * (6.66107313738753120669e-02
        + w * (4.97687799461593236017e-02 + w * 1.62858201153657823623e-02))))
    )  # fmt: skip
    even = w * (
        -1.99999999998764832476e-01
        + w * (-1.11111104054623557880e-01
        + w * (-7.69187620504482999495e-02 + w * (-5.83357013379057348645e-02 + w * -3.65315727442169155270e-02)))
    )  # fmt: skip
    return odd + even


def atan2(y: float, x: float) -> float:
    if math.isnan(x) or math.isnan(y) or x == 0 or y == 0 or math.isinf(x) or math.isinf(y):
        return math.atan2(y, x)
    if x == 1:
        return atan(y)
    steps = math.frexp(y)[1] - math.frexp(x)[1]
    z = _HALF_PI + 0.5 * _PI_LOW if steps > 60 else 0.0 if x < 0 and steps < -60 else atan(abs(y / x))
    if x < 0:
        z = math.pi - (z - _PI_LOW)
    return math.copysign(z, y)


def cbrt(x: float) -> float:
    """The nearest double."""
    root = math.cbrt(x)
    if not math.isfinite(root) or root == 0:
        return root
    near = (root, math.nextafter(root, math.inf), math.nextafter(root, -math.inf))
    exact = Decimal(x)
    with localcontext(prec=120):
        return min(near, key=lambda r: abs(Decimal(r) ** 3 - exact))


def log10(x: float) -> float:
    """The nearest double."""
    if not 0 < x < math.inf:
        return -math.inf if x == 0 else x if x > 0 else math.nan
    with localcontext(prec=40):
        return float(Decimal(x).log10())


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


def sinh(x: float) -> float:
    """As fdlibm computes it; likewise the next."""
    half, size = math.copysign(0.5, x), abs(x)
    if size < 22:
        if size < 2**-28:
            return x
        t = math.expm1(size)
        return half * (2 * t - t * t / (t + 1)) if size < 1 else half * (t + t / (t + 1))
    return half * _exp(size) if size < 709.78 else math.sinh(x) if size < 710.47 else x * math.inf


def cosh(x: float) -> float:
    size = abs(x)
    if size < 0.5 * math.log(2):
        t = math.expm1(size)
        w = 1 + t
        return w if size < 2**-55 else 1 + t * t / (w + w)
    if size < 22:
        t = _exp(size)
        return 0.5 * t + 0.5 / t
    return 0.5 * _exp(size) if size < 709.78 else math.cosh(x) if size < 710.47 else size * math.inf


def tanh(x: float) -> float:
    """The nearest double."""
    size = abs(x)
    if math.isnan(x) or size < 2**-28:
        return x
    if size >= 22:
        return math.copysign(1.0, x)
    with localcontext(prec=60):
        power = (2 * Decimal(x)).exp()
        return float((power - 1) / (power + 1))
