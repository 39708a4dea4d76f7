"""Stations, weather and heat days of the demonstration city's environment department.

The heat days come first: which days are hot in which district is drawn, and the stations' temperatures are
then made to say so (the district's first station reads its maximum at 12:00). So `heat(cfg)` is the one place
where a heat day is decided; health's calendar, Q5 and the files of `met/` all follow it.

Raw files: `station.csv`, and `met/met_YYYY.csv` (UTF-8, ISO times) with `station,time,temp,rh,wind`: temp in
degrees Celsius, in tenths of a degree through 2015 (D27), rh in percent, wind in m/s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.city.base import DISTRICT_CODES, NEW, NORTH, SPLIT, Config, Table, day_number, district_index
from atoll.city.rng import Bools, Ints, Rng

HOT = 350  # tenths of a degree: a heat day begins here
LAST_TENTHS_YEAR = 2015
STATION_FROM = "2010-01-01"
OPEN = "9999-12-31"

_MONTH_MAXIMUM = np.array([60, 90, 130, 190, 230, 280, 280, 280, 240, 210, 150, 90], dtype=np.int64)
_SPELL_GAP, _SPELL_SHIFT = 22, 14  # four spells from 5 June on: the first and the last lie > 30 days apart


@dataclass(frozen=True)
class HeatYear:
    """One year of all districts that exist: arrays [district index, day of year].

    `maximum` is the day's highest temperature in tenths, `exposed` = heat on one of day-3..day.
    """

    year: int
    heat: Bools
    exposed: Bools
    maximum: Ints

    @property
    def first_day(self) -> int:
        """Day number of 1 January."""
        return day_number(date(self.year, 1, 1))


def districts_of(year: int) -> tuple[int, ...]:
    """Indices of the districts that exist in that year."""
    return tuple(i for i, code in enumerate(DISTRICT_CODES) if code != NEW or year >= SPLIT.year)


def heat(cfg: Config) -> list[HeatYear]:
    """The heat days of every year, in order. No heat lies within three days of a year's end."""
    return [_heat_year(cfg.seed, year) for year in cfg.year_list]


def _heat_year(seed: int, year: int) -> HeatYear:
    districts = districts_of(year)
    first = day_number(date(year, 1, 1))
    days = np.arange(day_number(date(year + 1, 1, 1)) - first, dtype=np.int64)
    d = np.array(districts, dtype=np.int64)[:, None]
    hot = np.zeros((len(districts), len(days)), dtype=bool)
    spells = Rng(seed, "environment.heat")
    june = day_number(date(year, 6, 5)) - first
    for k in range(4):
        start = june + k * _SPELL_GAP + spells.integers(0, _SPELL_SHIFT, d, year, k, 0)
        length = spells.integers(2, 6, d, year, k, 1)
        happens = (spells.integers(0, 9, d, year, k, 2) < 8) if k in (1, 2) else np.ones_like(d, dtype=bool)
        hot |= happens & (days >= start) & (days < start + length)
    exposed = hot.copy()
    for lag in (1, 2, 3):
        exposed[:, lag:] |= hot[:, :-lag]
    return HeatYear(year, hot, exposed, _maxima(seed, first, days, d, hot))


def _maxima(seed: int, first: int, days: Ints, d: Ints, hot: Bools) -> Ints:
    rng = Rng(seed, "environment.maximum")
    months = (days + first).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    mild = _MONTH_MAXIMUM[months] + rng.integers(0, 69, d, days + first, 0)  # at most 34.9
    warm = HOT + rng.integers(0, 39, d, days + first, 1)
    starts = hot.copy()
    starts[:, 1:] &= ~hot[:, :-1]
    # a spell begins at exactly 35.0 and follows a day of 34.9: "reached", not "passed", and no rounding
    before = np.zeros_like(hot)
    before[:, :-1] = starts[:, 1:]
    maxima: Ints = np.where(hot, np.where(starts, HOT, warm), np.where(before, HOT - 1, mild))
    return maxima


# --- stations ---------------------------------------------------------------------------------------


def station_codes(cfg: Config) -> list[str]:
    """Codes of all stations; station i stands where district i mod 6 is today."""
    return [f"ST{i + 1:03d}" for i in range(cfg.scale.stations)]


def station_districts(cfg: Config, year: int) -> Ints:
    """District index of each station in that year; before the split New District's stations are North's."""
    place = np.arange(cfg.scale.stations, dtype=np.int64) % len(DISTRICT_CODES)
    new = district_index(NEW)
    return np.where((place == new) & (year < SPLIT.year), district_index(NORTH), place)


def station_rows(cfg: Config) -> list[tuple[str, str, str, str]]:
    """(station_code, district_code, valid_from, valid_to), dates inclusive; New District's have two."""
    rows = []
    for i, code in enumerate(station_codes(cfg)):
        district = DISTRICT_CODES[i % len(DISTRICT_CODES)]
        if district == NEW:
            rows.append((code, NORTH, STATION_FROM, "2014-12-31"))
            rows.append((code, NEW, SPLIT.isoformat(), OPEN))
        else:
            rows.append((code, district, STATION_FROM, OPEN))
    return rows


# --- readings ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MetYear:
    """One year's readings [station, hour]: temp and wind in tenths, rh in percent; `seconds` local."""

    seconds: Ints
    temp: Ints
    rh: Ints
    wind: Ints


def hours_of_day(cfg: Config) -> Ints:
    """The hours that are measured."""
    return np.arange(0, 24, cfg.scale.air_step_hours, dtype=np.int64)


def met_year(cfg: Config, weather: HeatYear) -> MetYear:
    """The readings that show this weather: a district's first station alone reaches the maximum, at 12:00."""
    stations = np.arange(cfg.scale.stations, dtype=np.int64)[:, None, None]
    days = (weather.first_day + np.arange(weather.heat.shape[1], dtype=np.int64))[None, :, None]
    hours = hours_of_day(cfg)[None, None, :]
    rng = Rng(cfg.seed, "environment.met")
    district = station_districts(cfg, weather.year)
    first = np.zeros(len(district), dtype=bool)
    first[np.unique(district, return_index=True)[1]] = True
    cooler = np.where(first[:, None, None], 0, rng.integers(1, 15, stations, days, 24))
    top = weather.maximum[district][:, :, None]
    temp = top - cooler - np.abs(hours - 12) * 7
    words = rng.words(stations, days, hours)
    rh = (words >> np.uint64(40)) % np.uint64(60) + np.uint64(35)
    wind = (words >> np.uint64(20)) % np.uint64(120)
    flat = (len(district), -1)
    return MetYear(
        (days * 86_400 + hours * 3_600).reshape(-1),
        temp.reshape(flat),
        rh.astype(np.int64).reshape(flat),
        wind.astype(np.int64).reshape(flat),
    )


def naive_tenths(weather: HeatYear) -> HeatYear:
    """The calendar of one who takes D27's tenths for degrees: every day above 3.5 degrees is hot."""
    if weather.year > LAST_TENTHS_YEAR:
        return weather
    hot = weather.maximum * 10 >= HOT
    exposed = hot.copy()
    for lag in (1, 2, 3):
        exposed[:, lag:] |= hot[:, :-lag]
    return HeatYear(weather.year, hot, exposed, weather.maximum)


# --- files ------------------------------------------------------------------------------------------


def iso_times(seconds: Ints) -> NDArray[np.str_]:
    """Local seconds as `YYYY-MM-DDTHH:MM:SS`."""
    return np.datetime_as_string(seconds.astype("datetime64[s]"))


def tenths_texts(lo: int, hi: int) -> pa.Array:
    """Texts of lo/10 .. hi/10, to be taken by value - lo."""
    texts = (f"{'-' if v < 0 else ''}{abs(v) // 10}.{abs(v) % 10}" for v in range(lo, hi + 1))
    return pa.array([text.encode() for text in texts])


def csv_rows(*columns: Any) -> bytes:
    """Binary columns as CSV rows. The first column's cells begin with the newline that ends the row above."""
    rows = pc.binary_join_element_wise(*columns, b",")
    return b"".join(memoryview(chunk) for chunk in _data(rows)) + b"\n"


def _data(rows: Any) -> Iterator[pa.Buffer]:
    for chunk in rows.chunks if isinstance(rows, pa.ChunkedArray) else [rows]:
        offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int32)
        yield chunk.buffers()[2].slice(offsets[chunk.offset], offsets[chunk.offset + len(chunk)])


def write_met(cfg: Config, folder: Path, years: list[HeatYear]) -> list[Path]:
    """`station.csv` and one file a year under `met/`."""
    (folder / "met").mkdir(parents=True, exist_ok=True)
    path = folder / "station.csv"
    lines = [",".join(row) + "\n" for row in station_rows(cfg)]
    path.write_text("station_code,district_code,valid_from,valid_to\n" + "".join(lines), encoding="utf-8")
    return [path, *(_write_year(cfg, folder / "met" / f"met_{w.year}.csv", w) for w in years)]


def _write_year(cfg: Config, path: Path, weather: HeatYear) -> Path:
    readings = met_year(cfg, weather)
    lo, hi = int(readings.temp.min()), int(readings.temp.max())
    tenths = weather.year <= LAST_TENTHS_YEAR
    degrees = pa.array([b"%d" % v for v in range(lo, hi + 1)]) if tenths else tenths_texts(lo, hi)
    times = pa.array([text.encode() for text in iso_times(readings.seconds).tolist()])
    stations = pa.array([b"\n" + code.encode() for code in station_codes(cfg)])
    row = np.arange(readings.temp.size)
    body = csv_rows(
        stations.take(pa.array(row // len(readings.seconds))),
        times.take(pa.array(row % len(readings.seconds))),
        degrees.take(pa.array(readings.temp.reshape(-1) - lo)),
        pa.array([b"%d" % v for v in range(100)]).take(pa.array(readings.rh.reshape(-1))),
        tenths_texts(0, 120).take(pa.array(readings.wind.reshape(-1))),
    )
    path.write_bytes(b"station,time,temp,rh,wind" + body)
    return path


def heat_table(years: list[HeatYear]) -> Table:
    """(district_code, day, heat, exposed): a row per district-day."""
    schema = pa.schema(
        [("district_code", pa.string()), ("day", pa.date32()), ("heat", pa.bool_()), ("exposed", pa.bool_())]
    )
    codes, days, hot, exposed = [], [], [], []
    for w in years:
        districts, length = w.heat.shape
        codes.append(np.repeat(np.array(DISTRICT_CODES, dtype=object)[:districts], length))
        days.append(np.tile(w.first_day + np.arange(length, dtype=np.int64), districts))
        hot.append(w.heat.reshape(-1))
        exposed.append(w.exposed.reshape(-1))
    return Table.of("heat_day", schema, [np.concatenate(part) for part in (codes, days, hot, exposed)])


def calendar_rows(years: list[HeatYear]) -> list[tuple[str, str, int]]:
    """(district_code, ISO day, 0 or 1 for exposed) of every district-day."""
    rows = []
    for w in years:
        days = np.datetime_as_string((w.first_day + np.arange(w.heat.shape[1])).astype("datetime64[D]")).tolist()
        for code, exposed in zip(DISTRICT_CODES, w.exposed.astype(int).tolist(), strict=False):
            rows += [(code, day, value) for day, value in zip(days, exposed, strict=True)]
    return rows
