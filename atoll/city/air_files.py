"""Files of air measurements, in every layout the environment department ever had.

Raw files, `air/YYYY/DISTRICT_YYYYMM_SEQ.csv|xlsx`, seq 1 complete, seq 2 the hours uploaded again (D10):

* to 2016: CSV in GB18030, a title line, then the header; times `2014/1/5 13:00`.
* 2017 on: CSV in UTF-8 with a BOM, header first; times `2017-01-05T13:00:00`.
* 2019 on where the scale says so: workbooks of a quarter, named by its last month, a sheet per month; row 1 a
  merged group header, row 2 the header, a last row of totals (`合计`); times are Excel dates.
* Header `station_code,time,pollutant,value,unit`; Harbour adds `flag,instrument` and writes SO₂; Hills is
  wide, `站点,时间,PM2.5,PM10,SO2,NO2,O3,CO`, CO in mg/m3, the others in ug/m3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atoll.city import met
from atoll.city.air_truth import CO, MARKERS, POLLUTANTS, AirYear, air_year
from atoll.city.base import DISTRICT_CODES, DISTRICTS, Config, as_column
from atoll.city.rng import Bools, Ints
from atoll.city.xlsx import Kind, Sheet, write_workbook

_TITLE_UNTIL, _WORKBOOKS_FROM = 2016, 2019
_LARGEST = 300_000

_HARBOUR, _HILLS = 0, 3
_INSTRUMENTS = ("XR-25", "XR-10", "UV-450", "CL-200", "UV-400", "IR-300")
_LONG = ("station_code", "time", "pollutant", "value", "unit")
_WIDE = ("站点", "时间", *POLLUTANTS)


class _Vocabulary:
    """Every text a file of this encoding can hold, as binary arrays to take from."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        steps = np.arange(_LARGEST)
        plain, carbon = (
            as_column(steps, pa.decimal128(12, scale)).cast(pa.string()).cast(pa.binary()) for scale in (3, 5)
        )
        self.values = pa.concat_arrays([self.texts(MARKERS), plain, carbon])
        self.pollutants = self.texts(POLLUTANTS)
        self.harbour_pollutants = self.texts([p.replace("SO2", "SO₂") for p in POLLUTANTS])
        self.units = self.texts(["ug/m3", "mg/m3", "ppb"])
        self.flags = self.texts(["N", "M"])
        self.instruments = self.texts(_INSTRUMENTS)

    def texts(self, words: Any) -> pa.Array:
        """Words in this encoding."""
        return pa.array([word.encode(self.encoding) for word in words], pa.binary())


@dataclass(frozen=True)
class _Part:
    """The rows of one file and month: hours [n], stations [n]; vocabulary indices, missing [n, 6]."""

    month: int
    district: int
    hour: Ints
    station: Ints
    value: Ints
    missing: Bools


class _YearFiles:
    """The files of one year."""

    def __init__(self, cfg: Config, air: AirYear, words: _Vocabulary, folder: Path) -> None:
        self.air, self.words, self.folder = air, words, folder / str(air.year)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.old = air.year <= _TITLE_UNTIL
        self.workbooks = cfg.scale.xlsx and air.year >= _WORKBOOKS_FROM
        stations = met.station_codes(cfg)
        self.stations = words.texts(stations if self.workbooks else ["\n" + code for code in stations])
        times = met.iso_times(air.seconds).tolist()
        self.times = words.texts([_slashed(text) for text in times] if self.old else times)
        if max(int(air.raw.max()), int(air.wrong.max())) >= _LARGEST:
            raise ValueError("a concentration exceeds what the files can say")

    def write(self) -> list[Path]:
        """Both uploads of every district and month (or quarter)."""
        width = 3 if self.workbooks else 1
        made = []
        for district in range(len(DISTRICT_CODES)):
            for first in range(0, 12, width):
                for seq in (1, 2):
                    parts = [self._part(district, month, seq) for month in range(first, first + width)]
                    parts = [part for part in parts if len(part.hour)]
                    if parts:
                        made.append(self._file(district, first + width, seq, parts))
        return made

    def _part(self, district: int, month: int, seq: int) -> _Part:
        air = self.air
        first, last = np.searchsorted(air.month, [month, month + 1])
        here = (air.filed_in[:, first:last] == district).T
        if seq == 2:
            here = here & air.twice[:, first:last].T
        hour, station = np.nonzero(here)
        hour = hour + first
        raw = air.raw[station, hour]
        if seq == 1:
            raw = np.where(air.twice[station, hour][:, None], air.wrong[station, hour], raw)
        start = len(MARKERS) + np.array([0] * 5 + [_LARGEST])
        missing = air.missing[station, hour]
        value = np.where(missing, air.marker[station, hour], raw + start)
        return _Part(month, district, hour, station, value, missing)

    def _file(self, district: int, month: int, seq: int, parts: list[_Part]) -> Path:
        suffix = "xlsx" if self.workbooks else "csv"
        path = self.folder / f"{DISTRICT_CODES[district]}_{self.air.year}{month:02d}_{seq}.{suffix}"
        if self.workbooks:
            write_workbook(path, [self._sheet(part) for part in parts])
            return path
        header = ",".join(_header(district))
        if self.old:
            header = f"{DISTRICTS[district].name_zh}环境空气质量小时数据 {self.air.year}年{month}月\n{header}"
        rows = met.csv_rows(*self._columns(parts[0]))
        path.write_bytes((b"" if self.old else b"\xef\xbb\xbf") + header.encode(self.words.encoding) + rows)
        return path

    def _columns(self, part: _Part) -> list[pa.Array]:
        """The cells, column by column."""
        if part.district == _HILLS:
            station, time = self.stations.take(pa.array(part.station)), self.times.take(pa.array(part.hour))
            return [station, time, *(self.words.values.take(pa.array(part.value[:, p])) for p in range(6))]
        row = np.arange(len(part.hour) * 6)
        station, pollutant = part.station[row // 6], row % 6
        unit = np.where(pollutant == CO, 1, np.where(self.air.ppb[station, pollutant], 2, 0))
        names = self.words.harbour_pollutants if part.district == _HARBOUR else self.words.pollutants
        columns = [
            self.stations.take(pa.array(station)),
            self.times.take(pa.array(part.hour[row // 6])),
            names.take(pa.array(pollutant)),
            self.words.values.take(pa.array(part.value.reshape(-1))),
            self.words.units.take(pa.array(unit)),
        ]
        if part.district == _HARBOUR:
            columns.append(self.words.flags.take(pa.array(part.missing.reshape(-1).astype(np.int64))))
            columns.append(self.words.instruments.take(pa.array(pollutant)))
        return columns

    def _sheet(self, part: _Part) -> Sheet:
        header = _header(part.district)
        numbers = set(POLLUTANTS) | {"value"}
        texts = [column.cast(pa.string()) for column in self._columns(part)]
        kinds: list[Kind] = [
            "datetime" if n in ("time", "时间") else "number" if n in numbers else "text" for n in header
        ]
        totals = ["合计", "", *("" for _ in header[2:])]
        for i, name in enumerate(header):
            if name in numbers:
                totals[i] = _total(texts[i])
        return Sheet(
            f"{self.air.year}-{part.month + 1:02d}",
            [("站点信息", 2), ("监测结果", len(header) - 2)],
            header,
            list(zip(kinds, texts, strict=True)),
            totals,
        )


def _header(district: int) -> tuple[str, ...]:
    if district == _HILLS:
        return _WIDE
    return (*_LONG, "flag", "instrument") if district == _HARBOUR else _LONG


def _slashed(iso: str) -> str:
    """`2014-01-05T13:00:00` as `2014/1/5 13:00`."""
    return f"{iso[:4]}/{int(iso[5:7])}/{int(iso[8:10])} {int(iso[11:13])}:{iso[14:16]}"


def _total(texts: pa.Array) -> str:
    """The column's sum as a spreadsheet has it, sentinels and all."""
    numeric = pc.match_substring_regex(texts, r"^-?[0-9.]+$")
    return str(pc.sum(texts.filter(numeric).cast(pa.decimal128(12, 5))).as_py() or 0)


def write_air(cfg: Config, folder: Path) -> list[Path]:
    """All files under `folder` (silos/environment/air)."""
    old, new = _Vocabulary("gb18030"), _Vocabulary("utf-8")
    made = []
    for year in cfg.year_list:
        words = old if year <= _TITLE_UNTIL else new
        made += _YearFiles(cfg, air_year(cfg, year), words, folder).write()
    return made
