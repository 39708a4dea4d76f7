"""The demonstration city's environment department, air: its maker and the key of Q3.

`key(cfg)` counts and sums the true values of `air_truth` in exact integers, under the rules of Q3 and under
five forgetful ones; only then does `write(cfg, out)` have the files of `air_files` and `met` made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.city import met
from atoll.city.air_files import write_air
from atoll.city.air_truth import (
    CO,
    GAS,
    ONE,
    POLLUTANTS,
    STEPS,
    TO_298,
    AirYear,
    air_year,
    changed,
    loss_rates,
    targets,
)
from atoll.city.base import DISTRICT_CODES, Answers, Config, Table, answer, month_days, month_number
from atoll.city.rng import Bools, Ints
from atoll.city.signing import public_key
from atoll.city.write import write_parquet

# --- the key of Q3 ----------------------------------------------------------------------------------

Q3_COLUMNS = (
    ("district_code", "varchar"),
    ("month", "date"),
    ("pollutant", "varchar"),
    ("mean", "decimal(9,1)"),
    ("n_valid", "bigint"),
    ("n_total", "bigint"),
    ("basis", "varchar"),
    ("flag", "varchar"),
)
NAIVE_RULES = ("D06", "D07", "D08", "D09", "D10")


class _Tally:
    """Sum, valid and total count of one year per (district, month, pollutant), flat arrays."""

    def __init__(self, air: AirYear, district: Ints | None = None) -> None:
        where = air.district[:, None] if district is None else district
        cell = (where * 12 + air.month)[:, :, None] * 6 + np.arange(6)
        self._cell = cell.astype(np.int32)
        self._size = len(DISTRICT_CODES) * 72
        self.sum = np.zeros(self._size, dtype=np.int64)
        self.valid = np.zeros(self._size, dtype=np.int64)
        self.total = np.zeros(self._size, dtype=np.int64)

    def add(self, micro: Ints, valid: Bools, rows: Bools | None = None) -> _Tally:
        """Count the values; `rows` limits it to some (station, hour)s."""
        pick = slice(None) if rows is None else rows
        cell, ok = self._cell[pick].reshape(-1), valid[pick].reshape(-1)
        # doubles hold these sums exactly: below 2**53 millionths of a microgram
        weights = np.where(ok, micro[pick].reshape(-1), 0)
        self.sum += np.bincount(cell, weights, self._size).astype(np.int64)
        self.valid += np.bincount(cell, ok, self._size).astype(np.int64)
        self.total += np.bincount(cell, minlength=self._size)
        return self

    def rows(self, year: int) -> Iterator[tuple[str, str, str, str | None, int, int, str, str]]:
        """Rows of the question for this year."""
        actual = changed(year)
        for cell in np.flatnonzero(self.total).tolist():
            district, month, pollutant = cell // 72, cell // 6 % 12, cell % 6
            valid, total = int(self.valid[cell]), int(self.total[cell])
            ok = valid * 100 >= 75 * total
            yield (
                DISTRICT_CODES[district],
                f"{year}-{month + 1:02d}-01",
                POLLUTANTS[pollutant],
                _mean(int(self.sum[cell]), valid) if ok else None,
                valid,
                total,
                "k298" if GAS[pollutant] else "actual" if actual[month] else "stp273",
                "ok" if ok else "insufficient",
            )


def _mean(micro: int, count: int) -> str:
    """round(sum / count, 1), half away from zero, of millionths."""
    tenths = (2 * abs(micro) + count * 100_000) // (2 * count * 100_000)
    return f"{'-' if micro < 0 and tenths else ''}{tenths // 10}.{tenths % 10}"


def key(cfg: Config) -> dict[str, Any]:
    """answers/q3.json, with what five forgetful analysts would find."""
    rows: dict[str, list[Any]] = {"": [], **{rule: [] for rule in NAIVE_RULES}}
    for year in cfg.year_list:
        air = air_year(cfg, year)
        for rule, tally in _tallies(air).items():
            rows[rule].extend(tally.rows(year))
    for found in rows.values():
        found.sort(key=lambda row: row[:3])
    truth = rows.pop("")
    return answer(
        "q3",
        user="bi",
        purpose="statistics",
        silos=["environment"],
        columns=Q3_COLUMNS,
        order=["district_code", "month", "pollutant"],
        rows=truth,
        # a rule that has nothing to act on (no dirt, few years) tests nothing
        naive={rule: wrong for rule, wrong in rows.items() if wrong != truth},
    )


def _tallies(air: AirYear) -> dict[str, _Tally]:
    valid = ~air.missing
    micro = air.micrograms(air.raw)
    as_filed = np.where(air.missing, np.array([0, -99, 9999, 0, 0])[air.marker], 0) * (STEPS * 10)
    # CO's steps are 10**-5 mg/m3, the others' 10**-3
    as_filed[..., CO] *= 1_000
    sentinel = valid | (as_filed != 0)
    unscaled = np.where(air.ppb[:, None, :], ONE, air.factor)
    as_number = air.micrograms(air.raw, unscaled)
    as_number[..., CO] //= 1_000
    not_converted = np.where(air.factor == TO_298, ONE, air.factor)
    return {
        "": _Tally(air).add(micro, valid),
        "D06": _Tally(air).add(np.where(valid, micro, air.micrograms(as_filed)), sentinel),
        "D07": _Tally(air).add(air.micrograms(air.raw, not_converted), valid),
        "D08": _Tally(air).add(as_number, valid),
        "D09": _Tally(air, air.filed_in).add(micro, valid),
        "D10": _Tally(air).add(micro, valid).add(air.micrograms(air.wrong), valid, air.twice),
    }


# --- the maker --------------------------------------------------------------------------------------


def write(cfg: Config, out: Path) -> Answers:
    """Air, weather and stations under `out/silos/environment`, their truth, and the key of Q3."""
    weather = met.heat(cfg)
    entry = key(cfg)
    truth = out / "truth"
    ledgers = [
        write_parquet(truth / "environment_air.parquet", _truth_table(cfg)),
        write_parquet(truth / "environment_heat_day.parquet", met.heat_table(weather)),
    ]
    folder = out / "silos" / "environment"
    public = folder / "heat_calendar.pub"
    public.parent.mkdir(parents=True, exist_ok=True)
    public.write_text(public_key(cfg.seed) + "\n", encoding="ascii")
    files = [*met.write_met(cfg, folder, weather), *write_air(cfg, folder / "air")]
    return Answers([entry], [*ledgers, public, *files])


def _truth_table(cfg: Config) -> Table:
    """Target and planned loss of every cell: the mean without files, units, losses."""
    kind = pa.decimal128(9, 1)
    schema = pa.schema(
        [
            ("district_code", pa.string()),
            ("month", pa.date32()),
            ("pollutant", pa.string()),
            ("target", kind),
            ("loss_per_million", pa.int32()),
        ]
    )
    batches = []
    for year in cfg.year_list:
        codes = [DISTRICT_CODES[d] for d in met.districts_of(year)]
        months = month_days(month_number(year, 1) + np.arange(12, dtype=np.int64))
        count = len(codes)
        batches.append(
            Table.of(
                "air",
                schema,
                [
                    np.repeat(np.array(codes, dtype=object), 72),
                    np.tile(np.repeat(months, 6), count),
                    list(POLLUTANTS) * (12 * count),
                    targets(cfg.seed, year)[:count].reshape(-1),
                    loss_rates(cfg.seed, year)[:count].reshape(-1),
                ],
            )
        )
    return Table("air", schema, lambda: (b for t in batches for b in t.batches()))
