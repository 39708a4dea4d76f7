"""What the city trades and counts by: substances and their code schemes, products, industries, water bands.

All of it is fixed: no seed, no scale. Indices (substance 0-5, meaning 0-29, industry 0-5) are the generator's
own; only codes appear in raw tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atoll.city.ids import Texts
from atoll.city.rng import Ints


@dataclass(frozen=True)
class Substance:
    """A regulated substance: CAS number, local codes before 2015, code of the 2019 scheme, density in g/L."""

    cas: str
    local: tuple[str, ...]
    code_2019: str
    density: int  # even, so that purity 0.5 leaves whole grams


SUBSTANCES: tuple[Substance, ...] = (
    Substance("7440-47-3", ("L001", "L002"), "N0101", 1420),  # Cr(VI) and Cr(III) both count as total chromium
    Substance("7439-92-1", ("L003",), "N0102", 1640),
    Substance("7440-43-9", ("L004",), "N0103", 1560),
    Substance("71-43-2", ("L005",), "N0201", 876),
    Substance("79-01-6", ("L006",), "N0202", 1464),
    Substance("108-88-3", ("L007",), "N0203", 866),
)
SCHEMES = ("local", "cas", "2019")
SCHEME_DATES = {
    "local": ("2000-01-01", "2014-12-31"),
    "cas": ("2015-01-01", "2018-12-31"),
    "2019": ("2019-01-01", None),
}
CAS: Texts = np.array([s.cas for s in SUBSTANCES])
DENSITY: Ints = np.array([s.density for s in SUBSTANCES], dtype=np.int64)

# columns: local (first code), local (last code), cas, 2019
_CODES: Texts = np.array([[s.local[0], s.local[-1], s.cas, s.code_2019] for s in SUBSTANCES])


def scheme_of(years: Ints) -> Texts:
    """The scheme that records of these years use."""
    chosen: Texts = np.array(SCHEMES)[(years >= 2015).astype(int) + (years >= 2019)]
    return chosen


def substance_code(substances: Ints, years: Ints, second: Ints) -> Texts:
    """The code of a substance in the scheme of its year; `second` (0/1) picks the other local code if any."""
    column = np.where(years < 2015, second, 1 + (years >= 2015) + (years >= 2019))
    codes: Texts = _CODES[substances, column]
    return codes


# --- products ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Product:
    """What a product code may mean: role G (goods) or M (the substance made); substance -1: plain goods."""

    name: str
    role: str
    substance: int
    grams: int  # of substance per unit; 0 for plain goods
    unit: str


_GRAMS_KG = (250, 125, 200, 500, 100, 200)
_GRAMS_PC = (500, 200, 100, 250, 125, 500)
_GRAMS_M = (1000, 1000, 500, 1000, 500, 1000)
_PLAIN = ("纸板", "坯布", "铸件", "饮料", "瓷砖", "涂料")

PRODUCTS: tuple[Product, ...] = (
    *(Product(f"含{SUBSTANCES[s].cas}制剂", "G", s, _GRAMS_KG[s], "kg") for s in range(6)),
    *(Product(f"含{SUBSTANCES[s].cas}制品", "G", s, _GRAMS_PC[s], "pc") for s in range(6)),
    *(Product(f"{SUBSTANCES[s].cas}原料", "M", s, _GRAMS_M[s], "kg") for s in range(6)),
    *(Product(f"{name}（散装）", "G", -1, 0, "kg") for name in _PLAIN),
    *(Product(f"{name}（成件）", "G", -1, 0, "pc") for name in _PLAIN),
)
GOODS_KG, GOODS_PC, MADE, PLAIN_KG, PLAIN_PC = 0, 6, 12, 18, 24
"""First meaning of each group of six."""
_SHIFT_2018 = 7  # D28: in 2018 every code passes to another meaning
PRODUCT_GRAMS: Ints = np.array([p.grams for p in PRODUCTS], dtype=np.int64)
PRODUCT_SUBSTANCE: Ints = np.array([p.substance for p in PRODUCTS], dtype=np.int64)
_PRODUCT_CODES: Texts = np.array([f"P{1101 + 7 * n}" for n in range(len(PRODUCTS))])


def product_code(meanings: Ints, years: Ints) -> Texts:
    """The code of a meaning under the scheme of that year (2012 before 2018, else 2018)."""
    place = np.where(years < 2018, meanings, (meanings + _SHIFT_2018) % len(PRODUCTS))
    codes: Texts = _PRODUCT_CODES[place]
    return codes


def misread_2018(meanings: Ints) -> Ints:
    """The meaning under the 2012 scheme of the code that stands for `meanings` since 2018."""
    misread: Ints = (meanings + _SHIFT_2018) % len(PRODUCTS)
    return misread


def product_rows() -> list[tuple[str, int, str, str, str | None, int | None, str]]:
    """(code, scheme_year, name, role, cas, g_per_unit in thousandths, unit) under both schemes."""
    rows: list[tuple[str, int, str, str, str | None, int | None, str]] = []
    for scheme_year in (2012, 2018):
        for meaning, p in enumerate(PRODUCTS):
            code = str(product_code(np.array([meaning]), np.array([scheme_year]))[0])
            cas = SUBSTANCES[p.substance].cas if p.substance >= 0 else None
            rows.append((code, scheme_year, p.name, p.role, cas, p.grams * 1000 if p.grams else None, p.unit))
    return sorted(rows, key=lambda row: (row[1], row[0]))


# --- industries and water bands ---------------------------------------------------------------------

INDUSTRY_2011: Texts = np.array(["C2221", "C1711", "C3391", "C1521", "C3071", "C2641"])
INDUSTRY_2017: Texts = np.array(
    [
        ["C2223", "C2239"],
        ["C1713", "C1723"],
        ["C3393", "C3399"],
        ["C1524", "C1529"],
        ["C3074", "C3076"],
        ["C2642", "C2646"],
    ]
)
"""D11: one code of 2011 became two in 2017; the second needs a quarter more water per unit."""

_CENTRE: Ints = np.array([[40, 160], [60, 240], [20, 120], [80, 80], [40, 200], [60, 320]], dtype=np.int64)
UNITS = ("kg", "pc")


def band_centre(industries: Ints, variants: Ints, units: Ints) -> Ints:
    """Litres of water per unit of output; units index UNITS, variants pick the 2017 successor."""
    centre = _CENTRE[industries, units]
    scaled: Ints = np.where(variants == 1, centre * 5 // 4, centre)
    return scaled


def band_rows() -> list[tuple[str, str, str, int, int]]:
    """(industry_std, code, unit, lo, hi), lo and hi in thousandths of a litre: 0.8 and 1.2 of the centre."""
    rows = []
    for industry in range(6):
        for variant in range(2):
            for unit in range(2):
                centre = int(band_centre(*(np.array([v]) for v in (industry, variant, unit)))[0])
                rows.append(("2017", str(INDUSTRY_2017[industry, variant]), UNITS[unit], centre * 800, centre * 1200))
    return rows


def band_limits(industries: Ints, variants: Ints, units: Ints, std_2011: Ints) -> tuple[Ints, Ints]:
    """(lo, hi) in thousandths of a litre that hold for a company: a 2011 code takes both successors' span."""
    first, second = (
        band_centre(industries, variants * 0, units),
        band_centre(industries, variants * 0 + 1, units),
    )
    own = band_centre(industries, variants, units)
    lo: Ints = np.where(std_2011, np.minimum(first, second), own) * 800
    hi: Ints = np.where(std_2011, np.maximum(first, second), own) * 1200
    return lo, hi
