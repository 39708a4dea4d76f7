"""The environment department's files of discharges and waste manifests.

`silos/environment/discharge/YYYY.*` (year of the period) and `silos/environment/waste/YYYY.*` (of shipping):

* to 2016: CSV in GB18030, a title line, then the header; dates `2014/1/5`.
* 2017 on: CSV in UTF-8 with a BOM, header first; dates ISO.
* 2019 on where the scale says so: a workbook, a sheet per period or month; row 1 a merged group header, row 2
  the header, a last row of totals (`合计`); shipped_on is an Excel date.

The header is that of `DISCHARGE` or `WASTE` in every layout. Air and weather are `air.py`'s.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.city.base import Answers, Config, month_days, year_days
from atoll.city.catalogue import scheme_of, substance_code
from atoll.city.companies import ALL_YEARS, companies
from atoll.city.ids import Texts
from atoll.city.ledger import F3, Balance, balance, ledger, usable
from atoll.city.rng import Bools, Ints, Rng
from atoll.city.xlsx import Kind, Sheet, write_workbook

DISCHARGE = (
    "org_no",
    "outlet",
    "period",
    "substance_code",
    "scheme",
    "qty",
    "unit",
    "medium",
    "district_code",
)
WASTE = (
    "manifest_no",
    "sender_org",
    "receiver_org",
    "waste_code",
    "qty_kg",
    "substance_code",
    "scheme",
    "declared_mg_per_kg",
    "receiver_mg_per_kg",
    "shipped_on",
    "version",
    "district_code",
)
_NUMBERS = {"qty", "qty_kg", "declared_mg_per_kg", "receiver_mg_per_kg", "version"}
_TITLE_UNTIL, _WORKBOOKS_FROM = 2016, 2019
_OUTLETS = 3
_MANIFESTS = 5
_WASTE_CODES: Texts = np.array(["HW21", "HW31", "HW26", "HW06", "HW45", "HW08"])
_G_PER_KG: Ints = np.array([50, 100, 200], dtype=np.int64)


def _kilograms(milli: Ints) -> list[str]:
    return [f"{value // 1000}.{value % 1000:03d}" for value in milli.tolist()]


# --- discharge --------------------------------------------------------------------------------------


def _discharge_rows(cfg: Config, year: int) -> tuple[Ints, list[Sequence[Any]]]:
    """(quarter of each row, columns in order of DISCHARGE)."""
    world, book = companies(cfg), ledger(cfg)
    users = np.arange(world.n_users, dtype=np.int64)
    rng = Rng(cfg.seed, "environment.discharge")
    declared = book.declared_quarters[:, year - int(ALL_YEARS[0])]
    outlet = np.arange(_OUTLETS, dtype=np.int64)[None, None, :]
    quarter = np.arange(4, dtype=np.int64)[None, :, None]
    key = users[:, None, None]
    has = outlet < rng.integers(1, _OUTLETS, key, 0)
    weights = np.where(has, rng.integers(20, 80, key, outlet, year, quarter, 1), 0)
    ends = declared[:, :, None] * np.cumsum(weights, axis=2) // weights.sum(axis=2)[:, :, None]
    grams = np.diff(ends, axis=2, prepend=0)
    user, q, place = np.nonzero(grams)
    order = np.lexsort((place, user, q))
    user, q, place = user[order], q[order], place[order]
    years = np.full(len(user), year, dtype=np.int64)
    last = month_days((years - 1970) * 12 + 3 * q + 3) - 1
    medium = np.array(["water", "air", "water"])[(place + user) % 3]
    return q, [
        world.numbers_on(user, last, "environment"),
        [f"DA{p + 1:03d}" for p in place.tolist()],
        (years * 100 + 3 * q + 3).astype(str),
        substance_code(book.substance[user], years, rng.integers(0, 1, user, place, year, q, 2)),
        scheme_of(years),
        _kilograms(grams[user, q, place]),
        np.full(len(user), "kg"),
        medium,
        world.district_on(user, last).astype(str),
    ]


# --- waste ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifests:
    """Current manifests of users: grams of substance declared and received, concentration in g/kg."""

    user: Ints
    year: Ints
    place: Ints
    day: Ints
    declared: Ints
    received: Ints
    g_per_kg: Ints
    relabelled: Bools
    revised: Bools  # D29: version 1 said twice as much


@lru_cache(maxsize=1)
def manifests(cfg: Config) -> Manifests:
    """Two to five manifests per user and year, together exactly the year's waste."""
    world, book = companies(cfg), ledger(cfg)
    rng = Rng(cfg.seed, "environment.waste")
    key = np.arange(world.n_users, dtype=np.int64)[:, None, None]
    year = ALL_YEARS[None, :, None]
    slot = np.arange(_MANIFESTS, dtype=np.int64)[None, None, :]
    count = rng.integers(2, _MANIFESTS, key, year, 0)
    weights = np.where(slot < count, rng.integers(30, 70, key, year, slot, 1), 0)
    # tens of grams, so that a tenth of the concentration still fits
    ends = book.waste[:, :, None] * np.cumsum(weights, axis=2) // weights.sum(axis=2)[:, :, None]
    ends[:, :, :-1] -= np.where(slot[:, :, :-1] < count - 1, ends[:, :, :-1] % 10, 0)
    received = np.diff(ends, axis=2, prepend=0)
    window = (year >= cfg.first_year) & (year <= cfg.last_year)
    user, column, place = np.nonzero((received > 0) & window)
    k = (user, ALL_YEARS[column], place)
    grams = received[user, column, place]
    relabelled = (book.cheats & (book.role == F3)[:, None])[user, column]
    return Manifests(
        user=user,
        year=ALL_YEARS[column],
        place=place,
        day=year_days(ALL_YEARS[column]) + (rng.integers(0, (1 << 20) - 1, *k, 2) * 365 >> 20),
        declared=np.where(relabelled, grams // 10, grams),
        received=grams,
        g_per_kg=_G_PER_KG[rng.integers(0, 2, *k, 3)],
        relabelled=relabelled,
        revised=rng.chances(cfg.rate(50_000), *k, 4),
    )


def naive_balances(cfg: Config) -> dict[str, Balance]:
    """Q1's balances of readers who count every version of a manifest (D29)."""
    m, true = manifests(cfg), balance(cfg)
    waste, miss = np.zeros_like(true.waste), np.zeros_like(true.waste)
    at = (m.user, m.year - cfg.first_year)
    np.add.at(waste, at, m.declared * 2 * m.revised)
    np.add.at(miss, at, 2 * (m.received - m.declared) * m.revised)
    return {"D29": replace(true, waste=true.waste + waste, miss=true.miss + miss)}


def _waste_rows(cfg: Config, year: int) -> tuple[Ints, list[Sequence[Any]]]:
    """(month of each row, columns in order of WASTE)."""
    world, book, m = companies(cfg), ledger(cfg), manifests(cfg)
    mine = np.flatnonzero(m.year == year)
    revised = m.revised[mine].astype(np.int64)
    version = np.concatenate([1 + m.revised[mine].astype(np.int64), np.ones(int(m.revised[mine].sum()), np.int64)])
    rows = np.concatenate([mine, mine[revised == 1]])
    order = np.lexsort((version, m.user[rows], m.day[rows]))
    rows, version = rows[order], version[order]
    user, day, years = m.user[rows], m.day[rows], m.year[rows]
    receiver = world.other(user // 24 * 36 + usable(user))
    old = (version == 1) & m.revised[rows]
    milli = m.received[rows] * 1000 // m.g_per_kg[rows]
    real = m.g_per_kg[rows] * 1000
    dates = day.astype("datetime64[D]")
    month = dates.astype("datetime64[M]").astype(np.int64) % 12
    iso = dates.astype(str).tolist()
    slashed = [f"{d[:4]}/{int(d[5:7])}/{int(d[8:])}" for d in iso]
    second = Rng(cfg.seed, "environment.waste").integers(0, 1, user, m.place[rows], 5)
    numbers = zip(user.tolist(), m.place[rows].tolist(), strict=True)
    return month, [
        [f"W{year}{u:06d}{p}" for u, p in numbers],
        world.numbers_on(user, day, "environment"),
        world.numbers_on(receiver, day, "environment"),
        _WASTE_CODES[book.substance[user]],
        _kilograms(np.where(old, milli * 2, milli)),
        substance_code(book.substance[user], years, second),
        scheme_of(years),
        np.where(m.relabelled[rows], real // 10, real).astype(str),
        real.astype(str),
        slashed if year <= _TITLE_UNTIL else iso,
        version.astype(str),
        world.district_on(user, day).astype(str),
    ]


# --- files ------------------------------------------------------------------------------------------


def _write(
    cfg: Config, folder: Path, year: int, what: str, header: tuple[str, ...], period: Ints, columns: list[Any]
) -> Path:
    texts: list[list[str]] = [[str(cell) for cell in column] for column in columns]
    if cfg.scale.xlsx and year >= _WORKBOOKS_FROM:
        path = folder / f"{year}.xlsx"
        step = 3 if header is DISCHARGE else 1
        write_workbook(path, [_sheet(year, p * step + step, header, texts, period == p) for p in np.unique(period)])
        return path
    path = folder / f"{year}.csv"
    old = year <= _TITLE_UNTIL
    with path.open("w", encoding="gb18030" if old else "utf-8-sig", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if old:
            writer.writerow([f"{year}年{what}"])
        writer.writerow(header)
        writer.writerows(zip(*texts, strict=True))
    return path


def _sheet(year: int, month: int, header: tuple[str, ...], texts: list[list[str]], rows: Bools) -> Sheet:
    chosen = np.flatnonzero(rows)
    columns: list[tuple[Kind, Any]] = []
    for name, column in zip(header, texts, strict=True):
        kind: Kind = "number" if name in _NUMBERS else "datetime" if name == "shipped_on" else "text"
        columns.append((kind, pa.array([column[n] for n in chosen], pa.string())))
    weight = next(n for n, name in enumerate(header) if name.startswith("qty"))
    total = sum(int(texts[weight][n].replace(".", "")) for n in chosen)
    totals = ["合计", *("" for _ in header[1:])]
    totals[weight] = f"{total // 1000}.{total % 1000:03d}"
    groups = [("单位", 2), ("申报内容", len(header) - 2)]
    return Sheet(f"{year}-{month:02d}", groups, header, columns, totals)


def write(cfg: Config, out: Path) -> Answers:
    """Writes `silos/environment/discharge` and `silos/environment/waste`."""
    root = out / "silos" / "environment"
    kinds: tuple[tuple[str, str, tuple[str, ...], Any], ...] = (
        ("discharge", "污染物排放申报表", DISCHARGE, _discharge_rows),
        ("waste", "危险废物转移联单", WASTE, _waste_rows),
    )
    files = []
    for name, title, header, rows_of in kinds:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for year in cfg.year_list:
            period, columns = rows_of(cfg, year)
            files.append(_write(cfg, folder, year, title, header, period, columns))
    return Answers(files=files)
