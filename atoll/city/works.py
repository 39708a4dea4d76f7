"""The true output and water use of the other companies, what they declare, and Q2 by construction.

Output in thousandths of its unit, water in litres, int64 per (other company, year) over 2013-2024. A company
has one product; its water follows from its industry's centre. Where it cheats, either the meter or the
declaration lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from atoll.city.base import Config, month_days, month_number
from atoll.city.catalogue import PLAIN_KG, PLAIN_PC, band_centre, band_limits
from atoll.city.companies import ALL_YEARS, companies, fraud_years, leaves_early, window
from atoll.city.rng import Bools, Ints, Rng

W_KINDS = ("W1", "W2", "W3", "W4")
_CARRIERS = (0, 1, 2, 4)  # index modulo 24 of those that carry W1-W4
MONTH_STARTS: Ints = month_days(np.arange(month_number(2013, 1), month_number(2025, 1) + 1, dtype=np.int64))
"""Day numbers of all month starts of 2013-2024 and of 1 January 2025."""


@dataclass(frozen=True)
class Works:
    """Per other company; arrays [other, year] unless said otherwise."""

    active: Bools
    unit: Ints  # [other] 0 kg, 1 pc
    meaning: Ints  # [other] product
    declared: Ints  # output in thousandths, as declared
    use: Ints  # litres that follow the work
    leak: Ints  # litres that run all year
    marks: Ints  # [other, year, 13] litres since 1 January at each month's start and at the year's end
    lo: Ints  # [other] thousandths of a litre per unit
    hi: Ints


@lru_cache(maxsize=2)
def works(cfg: Config) -> Works:
    """Output and water of all other companies."""
    world = companies(cfg)
    others = np.arange(world.n_others, dtype=np.int64)
    at = world.other(others)
    key, year = others[:, None], ALL_YEARS[None, :]
    rng = Rng(cfg.seed, "works")
    unit = rng.integers(0, 1, others, 0)
    centre = band_centre(world.industry[at], world.variant[at], unit)
    active = (year >= world.active_year[at][:, None]) & ~leaves_early(others)[:, None]
    litres = rng.integers(4_000_000, 90_000_000, key, 1) * rng.integers(900, 1100, key, year, 2) // 1000
    output = litres // centre[:, None]
    use = output * centre[:, None] * rng.integers(880, 1080, key, year, 3) // 1000

    cheats = fraud_years(cfg, world.number[at])

    def cheat(kind: int) -> Bools:
        chosen: Bools = cheats & (others % 24 == _CARRIERS[kind])[:, None]
        return chosen

    use = np.where(cheat(0), use * 300 // 1000, use)
    use = np.where(cheat(1), use // 400, use)
    declared = output * 1000
    declared = np.where(cheat(2), declared * 400 // 1000, declared)
    leak = np.where(cheat(3), use * rng.integers(900, 1500, key, year, 4) // 1000, 0)
    use, leak, declared = (np.where(active, values, 0) for values in (use, leak, declared))
    lo, hi = band_limits(world.industry[at], world.variant[at], unit, world.std_2011[at].astype(np.int64))
    return Works(
        active=active,
        unit=unit,
        meaning=np.where(unit == 1, PLAIN_PC, PLAIN_KG) + world.industry[at],
        declared=declared,
        use=use,
        leak=leak,
        marks=month_marks(cfg, "works.month", others, use, leak),
        lo=lo,
        hi=hi,
    )


def month_marks(cfg: Config, table: str, keys: Ints, use: Ints, leak: Ints) -> Ints:
    """[n, year, 13] litres since 1 January: use by months (February weighs least), leak by days."""
    rng = Rng(cfg.seed, table)
    key, year = keys[:, None, None], ALL_YEARS[None, :, None]
    month = np.arange(12, dtype=np.int64)[None, None, :]
    february = month == 1
    weights = rng.integers(np.where(february, 35, 90), np.where(february, 45, 110), key, year, month)
    done = np.cumsum(weights, axis=2)
    days = MONTH_STARTS[1:].reshape(12, 12) - MONTH_STARTS[:-1].reshape(12, 12)[:, :1]
    work = use[:, :, None] * done // done[:, :, -1:]
    run = leak[:, :, None] * days[None] // days[None, :, -1:]
    marks: Ints = np.concatenate([np.zeros_like(work[:, :, :1]), work + run], axis=2)
    return marks


# --- Q2 by construction -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Draught:
    """What Q2 sums, [other, year] in a Config's years. A naive reader changes one of them."""

    litres: Ints
    february: Ints
    declared: Ints  # thousandths
    lo: Ints  # [other]
    hi: Ints
    present: Bools


def draught(cfg: Config) -> Draught:
    """Water against output as declared."""
    w, years = works(cfg), window(cfg)
    marks = w.marks[:, years]
    return Draught(
        litres=marks[:, :, 12],
        february=marks[:, :, 2] - marks[:, :, 1],
        declared=w.declared[:, years],
        lo=w.lo,
        hi=w.hi,
        present=w.active[:, years],
    )


def classify(d: Draught) -> Ints:
    """Index into W_KINDS per (other, year), -1 where water fits output."""
    # litres * 10**6 against (thousandths of a litre) * (thousandths of a unit)
    least, most = d.lo[:, None] * d.declared, d.hi[:, None] * d.declared
    litres = d.litres * 1_000_000
    above = litres > most
    rules = (
        litres * 20 < least,
        litres < least,
        above & (d.february * 1000 > 47 * d.litres),
        above,
    )
    found = np.select([rule & d.present for rule in rules], [1, 0, 3, 2], default=-1)
    return found.astype(np.int64)


def answer_rows(cfg: Config, d: Draught) -> list[list[Any]]:
    """(company, year, kind, litres, qty), sorted, of a draught."""
    world, kinds = companies(cfg), classify(d)
    rows: list[list[Any]] = []
    for other, year in zip(*np.nonzero(kinds >= 0), strict=True):
        whole, part = divmod(int(d.declared[other, year]), 1000)
        company = str(world.newest[world.n_users + other])
        kind = W_KINDS[kinds[other, year]]
        rows.append([company, cfg.first_year + int(year), kind, int(d.litres[other, year]), f"{whole}.{part:03d}"])
    return sorted(rows)
