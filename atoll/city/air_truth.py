"""What the air of the demonstration city truly was, hour by hour.

Truth is a target in tenths of ug/m3 per (district, month, pollutant). Hours come in pairs target - d,
target + d (six hours apart, so that a 6-hour and a 1-hour city share their values) and go missing in pairs:
a cell's mean stays within 0.001 of its target whatever is lost, in whatever unit it was filed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np

from atoll.city import met
from atoll.city.base import DISTRICT_CODES, NEW, NORTH, Config, day_number, district_index
from atoll.city.rng import Bools, Ints, Rng

POLLUTANTS = ("PM2.5", "PM10", "SO2", "NO2", "O3", "CO")
_SO2, _NO2, CO = 2, 3, 5
GAS = np.array([False, False, True, True, True, True])
_TARGETS = np.array([(150, 800), (300, 1400), (50, 300), (100, 600), (300, 1200), (4000, 12000)]).T

_CHANGE = (2018, 9)  # month from which gases refer to 298.15 K and particles to actual conditions
ONE = 10**8
TO_298 = 91_614_959  # 273.15 / 298.15, in 10**-8
_PPB = {_SO2: 261_867_975, _NO2: 188_046_188}  # ug/m3 at 298.15 K per ppb, in 10**-8
_PPB_STATIONS, _LAST_PPB_YEAR = (0, 6), 2015
STEPS = np.array([100, 100, 100, 100, 100, 10])  # raw steps per tenth: 0.001 ug/m3 or ppb; CO 0.00001 mg/m3
_MICRO = np.array([100_000] * 5 + [10_000])  # raw steps x 10**-8 per 10**-6 ug/m3

_LOST, _LOST_MUCH, _MUCH_CELLS = 40_000, 450_000, 40_000  # per million
_TWICE = 10_000
_LAG_UNTIL = (2015, 9)  # D09: files name the New District from the month after

MARKERS = ("", "-99", "9999", "—", "/")


@dataclass(frozen=True)
class AirYear:
    """One year, arrays [station, hour, pollutant] unless said otherwise.

    raw: the value as filed, in steps of its last decimal; factor: 10**-8 ug/m3 (mg/m3 for CO) per unit filed;
    marker: index of how a missing value is written; twice [station, hour]: uploaded twice, first wrongly.
    """

    year: int
    seconds: Ints  # [hour] local
    month: Ints  # [hour] 0..11
    district: Ints  # [station]
    ppb: Bools  # [station, pollutant]
    raw: Ints
    factor: Ints
    missing: Bools
    marker: Ints
    twice: Bools

    @cached_property
    def filed_in(self) -> Ints:
        """District index of the file an hour is in: [station, hour]; lags the split (D09)."""
        early = self.year * 12 + self.month < _LAG_UNTIL[0] * 12 + _LAG_UNTIL[1]
        lagging = (self.district == district_index(NEW))[:, None] & early
        return np.where(lagging, district_index(NORTH), self.district[:, None])

    @cached_property
    def wrong(self) -> Ints:
        """What the first of two uploads said."""
        return self.raw + self.raw // 3 + 7

    def micrograms(self, raw: Ints, factor: Ints | int | None = None) -> Ints:
        """Values in 10**-6 ug/m3, rounded half up as a cast to decimal(14,6) does."""
        step = _MICRO.astype(np.int64)
        micro: Ints = (raw * (self.factor if factor is None else factor) + step // 2) // step
        return micro


def targets(seed: int, year: int) -> Ints:
    """Means in tenths of ug/m3: [district, month, pollutant]."""
    drawn = Rng(seed, "environment.air.target").integers(_TARGETS[0], _TARGETS[1], *_cells(year))
    # CO's last decimal is coarse: of 16 neighbours take the one that converts with the smallest remainder
    tries = drawn[..., CO, None] + np.arange(16)
    rest = 20 * tries * ONE % TO_298
    best = np.minimum(rest, TO_298 - rest).argmin(axis=-1)
    drawn[..., CO] += best
    return drawn


def _cells(year: int) -> tuple[Ints, Ints, Ints]:
    district = np.arange(len(DISTRICT_CODES), dtype=np.int64)[:, None, None]
    month = year * 12 + np.arange(12, dtype=np.int64)[None, :, None]
    return district, month, np.arange(len(POLLUTANTS), dtype=np.int64)[None, None, :]


def air_year(cfg: Config, year: int) -> AirYear:
    """The measurements of one year."""
    hours = met.hours_of_day(cfg)
    first = day_number(date(year, 1, 1))
    days = np.arange(first, day_number(date(year + 1, 1, 1)), dtype=np.int64)
    seconds = (days[:, None] * 86_400 + hours * 3_600).reshape(-1)
    month = (days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)) % 12
    district = met.station_districts(cfg, year)
    ppb = _ppb(cfg, year)
    factor = np.repeat(_factors(year, ppb)[:, month, :], len(hours), axis=1)

    pair = hours[hours % 12 < 6]
    second = np.searchsorted(hours, pair + 6)
    slot = (days[:, None] * 24 + pair).reshape(-1)
    slot_month = np.repeat(month, len(pair))
    words = Rng(cfg.seed, "environment.air").words(
        np.arange(cfg.scale.stations)[:, None, None], slot[None, :, None], np.arange(6)[None, None, :]
    )
    target = targets(cfg.seed, year)[district][:, slot_month, :]
    total = (4 * target * STEPS * ONE // _factors(year, ppb)[:, slot_month, :] + 1) // 2
    share = (words & np.uint64(0xFFFFF)).astype(np.int64)
    low = total // 2 - (total // 2 * 6 * share // 10 >> 20)
    swap = (words >> np.uint64(20) & np.uint64(1)).astype(bool)
    gone = ((words >> np.uint64(32)) * np.uint64(1_000_000) >> np.uint64(32)).astype(np.int64)
    lost = gone < loss_rates(cfg.seed, year)[district][:, slot_month, :]

    shape = (cfg.scale.stations, len(days), len(hours), 6)
    raw, missing = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=bool)
    half = (cfg.scale.stations, len(days), len(pair), 6)
    for at, value in (
        (np.searchsorted(hours, pair), np.where(swap, total - low, low)),
        (second, np.where(swap, low, total - low)),
    ):
        raw[:, :, at, :] = value.reshape(half)
        missing[:, :, at, :] = lost.reshape(half)
    flat = (cfg.scale.stations, len(seconds), 6)
    missing = missing.reshape(flat)
    hour_of = np.arange(cfg.scale.stations)[:, None], (seconds // 3_600)[None, :]
    return AirYear(
        year=year,
        seconds=seconds,
        month=np.repeat(month, len(hours)),
        district=district,
        ppb=ppb,
        raw=raw.reshape(flat),
        factor=factor,
        missing=missing,
        marker=_markers(cfg, missing, seconds),
        twice=Rng(cfg.seed, "environment.air.twice").chances(cfg.rate(_TWICE), *hour_of),
    )


def _ppb(cfg: Config, year: int) -> Bools:
    ppb = np.zeros((cfg.scale.stations, 6), dtype=bool)
    if year <= _LAST_PPB_YEAR:
        ppb[np.ix_(_PPB_STATIONS, list(_PPB))] = True
    return ppb


def changed(year: int) -> Bools:
    """[month]: is it 2018-09 or later."""
    later: Bools = year * 12 + np.arange(1, 13) >= _CHANGE[0] * 12 + _CHANGE[1]
    return later


def _factors(year: int, ppb: Bools) -> Ints:
    """What a filed value is multiplied by, in 10**-8: [station, month, pollutant]."""
    plain = np.where(GAS & ~changed(year)[:, None], TO_298, ONE)
    factors = np.broadcast_to(plain, (len(ppb), 12, 6)).copy()
    for pollutant, factor in _PPB.items():
        factors[ppb[:, pollutant], :, pollutant] = factor
    return factors


def loss_rates(seed: int, year: int) -> Ints:
    """Planned losses per million: [district, month, pollutant]."""
    much = Rng(seed, "environment.air.loss").chances(_MUCH_CELLS, *_cells(year))
    return np.where(much, _LOST_MUCH, _LOST)


def _markers(cfg: Config, missing: Bools, seconds: Ints) -> Ints:
    """D06; without dirt a missing value is an empty one."""
    rng = Rng(cfg.seed, "environment.air.marker")
    station, hour, pollutant = np.nonzero(missing)
    at = station, seconds[hour] // 3_600, pollutant
    markers = np.zeros(missing.shape, dtype=np.int64)
    drawn = rng.integers(0, len(MARKERS) - 1, *at, 0)
    markers[missing] = np.where(rng.chances(cfg.rate(1_000_000), *at, 1), drawn, 0)
    return markers
