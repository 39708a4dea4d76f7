"""What both halves of the city share: districts, calendar, scales, configuration, answers, raw tables.

How the parts fit (the protocol of the makers)
----------------------------------------------
Every silo is made by one module with one function::

    def write(cfg: Config, out: Path) -> Answers

It writes its raw files under `out/silos/<department>/`, its true ledgers under `out/truth/` (Parquet, one
file a ledger, named `<department>_<what>.parquet`), and returns `Answers(entries, files)`:

* `entries`: the contents of `answers/<question>.json`, each a dict made by `answer(...)` below, with
  `question` "q1" ... "q5" or "verdicts" (for verdicts any JSON-able dict with that `question`). They must be
  computed from truth before any file is written. `atoll.city.generate` writes them; makers do not.
* `files`: every file written, absolute; the manifest takes its SHA-256.

A maker makes no directory but its own, reads no other maker's files, keeps no wall clock, no environment, no
Python `hash()`, no set order in what it writes: same Config, same bytes. Randomness comes from
`rng.Rng(cfg.seed, "<department>.<table>")` alone. Dirt rates are multiplied by `cfg.dirt`
(`cfg.rate(per_million)`); at dirt 0 only units, schemes, layouts and identity still vary. Nothing may depend
on the scale but counts: entity i is the same at every scale. Makers run in the order of `atoll.city.MAKERS`,
possibly in separate processes.

Raw tables are `Table(name, schema, batches)`: pyarrow batches of final raw values; `write.py` has the writers
(SQLite, Parquet, PostgreSQL COPY, MariaDB load).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from atoll.city.rng import Ints

VERSION = "1"
Days = NDArray[np.datetime64]


# --- districts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class District:
    """One row of the district history."""

    code: str
    name: str
    name_zh: str
    parent: str | None
    valid_from: date
    valid_to: date | None


NORTH, NEW = "449902", "449906"
SPLIT = date(2015, 1, 1)
DISTRICTS: tuple[District, ...] = (
    District("449901", "Harbour", "港口区", None, date(1994, 1, 1), None),
    District("449902", "North", "北区", None, date(1994, 1, 1), None),
    District("449903", "East", "东区", None, date(1994, 1, 1), None),
    District("449904", "Hills", "山区", None, date(1994, 1, 1), None),
    District("449905", "West", "西区", None, date(1994, 1, 1), None),
    District("449906", "New District", "新区", "449902", SPLIT, None),
)
DISTRICT_CODES: tuple[str, ...] = tuple(d.code for d in DISTRICTS)


def district_index(code: str) -> int:
    """0 for 449901 ... 5 for 449906."""
    return int(code) - 449901


# --- calendar -------------------------------------------------------------------------------------

UTC_OFFSET_HOURS = 8
EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def year_days(years: Ints) -> Ints:
    """Day number of 1 January of each year."""
    return (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)


def month_days(months: Ints) -> Ints:
    """Day number of the first day of each month, months counted from January 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def month_number(year: int, month: int) -> int:
    """Months since January 1970."""
    return (year - 1970) * 12 + month - 1


def year_of(days: Ints) -> Ints:
    """Calendar year of day numbers."""
    return days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def local_to_epoch(local_seconds: Ints) -> Ints:
    """UTC epoch seconds of local (UTC+08:00) seconds since 1970-01-01 00:00 local."""
    return local_seconds - UTC_OFFSET_HOURS * 3600


# --- scale and configuration ----------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale; rows are what comes of them."""

    name: str
    first_year: int
    last_year: int
    companies: int  # substance users among them
    users: int
    persons: int
    stays: int
    trips: int
    stations: int
    air_step_hours: int
    households: int  # water accounts of kind H
    fillers: int  # ordinary sales invoices per other company and year
    requests_per_second: int  # of the chemicals register
    xlsx: bool  # environment's newest files are workbooks (else CSV)

    @property
    def others(self) -> int:
        """Companies that are no substance users: they have an index of their own, from 0."""
        return self.companies - self.users


SCALES: dict[str, Scale] = {
    "small": Scale(
        "small",
        first_year=2014,
        last_year=2019,
        companies=120,
        users=48,
        persons=4_000,
        stays=5_000,
        trips=200_000,
        stations=12,
        air_step_hours=6,
        households=1_200,
        fillers=72,
        requests_per_second=5,
        xlsx=True,
    ),
    "medium": Scale(
        "medium",
        first_year=2013,
        last_year=2024,
        companies=2_000,
        users=400,
        persons=200_000,
        stays=250_000,
        trips=20_000_000,
        stations=30,
        air_step_hours=1,
        households=62_000,
        fillers=172,
        requests_per_second=50,
        xlsx=False,
    ),
    "large": Scale(
        "large",
        first_year=2013,
        last_year=2024,
        companies=20_000,
        users=4_000,
        persons=2_000_000,
        stays=2_500_000,
        trips=200_000_000,
        stations=60,
        air_step_hours=1,
        households=620_000,
        fillers=356,
        requests_per_second=500,
        xlsx=False,
    ),
}


@dataclass(frozen=True)
class Config:
    """What makes a city: same Config, same bytes.

    years: first and last year, both included; None takes the scale's. dirt 0..1 multiplies every dirt rate.
    Raises ValueError for values outside their range.
    """

    seed: int = 4499
    scale_name: str = "small"
    years: tuple[int, int] | None = None
    dirt: float = 1.0
    frauds: bool = True

    def __post_init__(self) -> None:
        if self.scale_name not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {self.scale_name!r}")
        if not 0 <= self.dirt <= 1:
            raise ValueError(f"dirt must lie in 0..1, not {self.dirt}")
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed must be a non-negative 63-bit integer")
        if self.years and not 2013 <= self.years[0] <= self.years[1] <= 2024:
            raise ValueError(f"years must lie in 2013-2024, first before last, not {self.years}")

    @property
    def scale(self) -> Scale:
        """The sizes."""
        return SCALES[self.scale_name]

    @property
    def first_year(self) -> int:
        """First year with data."""
        return self.years[0] if self.years else self.scale.first_year

    @property
    def last_year(self) -> int:
        """Last year with data."""
        return self.years[1] if self.years else self.scale.last_year

    @cached_property
    def year_list(self) -> tuple[int, ...]:
        """All years, ascending."""
        return tuple(range(self.first_year, self.last_year + 1))

    def rate(self, per_million: int) -> int:
        """A dirt rate per million under this Config's dirt."""
        return round(per_million * self.dirt)


# --- raw tables -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """What a raw table looks like without its rows."""

    name: str
    schema: pa.Schema
    indexes: tuple[tuple[str, ...], ...] = ()
    primary_key: str | None = None


@dataclass(frozen=True)
class Table:
    """A raw table: name, Arrow schema, and a function that yields its batches (each call from the start)."""

    name: str
    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]
    indexes: tuple[tuple[str, ...], ...] = ()
    primary_key: str | None = None

    @staticmethod
    def of(
        name: str,
        schema: pa.Schema,
        columns: Sequence[Any],
        indexes: tuple[tuple[str, ...], ...] = (),
        primary_key: str | None = None,
    ) -> Table:
        """A table in memory, from one column (Arrow array, numpy array or list) per field."""
        arrays = [as_column(c, f.type) for c, f in zip(columns, schema, strict=True)]
        whole = pa.Table.from_arrays(arrays, schema=schema)
        return Table(name, schema, lambda: iter(whole.to_batches(max_chunksize=250_000)), indexes, primary_key)


def as_column(values: Any, kind: pa.DataType) -> Any:
    """Values as an Arrow array; integer arrays stand for scaled decimals, day numbers, seconds."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if pa.types.is_decimal(kind) and isinstance(values, np.ndarray):
        return scaled_decimal(values, kind)
    if pa.types.is_date32(kind) and isinstance(values, np.ndarray) and values.dtype.kind == "i":
        return pa.array(values.astype(np.int32), pa.int32()).cast(kind)
    if pa.types.is_timestamp(kind) and isinstance(values, np.ndarray) and values.dtype.kind == "i":
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


def scaled_decimal(values: NDArray[Any], kind: pa.DataType) -> Any:
    """decimal128 array of integers that are already multiplied by 10**scale, exactly and without a loop."""
    low = values.astype(np.int64)
    pairs = np.empty((len(low), 2), dtype=np.int64)
    pairs[:, 0] = low
    pairs[:, 1] = low >> 63
    return pa.Array.from_buffers(kind, len(low), [None, pa.py_buffer(pairs)])


# --- answers --------------------------------------------------------------------------------------


@dataclass
class Answers:
    """What a maker hands back: contents of answer files, and the files it wrote."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def plain(value: Any) -> Any:
    """A cell as it stands in an answer: decimals and dates as text, numpy scalars as Python's."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, np.generic):
        return value.item()
    return value


def _rows(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[plain(cell) for cell in row] for row in rows]


def rows_sha256(rows: Sequence[Sequence[Any]]) -> str:
    """SHA-256 of plain rows as compact JSON, in their order."""
    return hashlib.sha256(orjson.dumps(list(map(list, rows)))).hexdigest()


def answer(
    question: str,
    *,
    user: str,
    purpose: str,
    silos: Sequence[str],
    columns: Sequence[tuple[str, str]],
    order: Sequence[str],
    rows: Sequence[Sequence[Any]],
    naive: Mapping[str, Sequence[Sequence[Any]]],
    **extra: Any,
) -> dict[str, Any]:
    """The content of answers/<question>.json. `rows` sorted by `order`; naive: rule -> the rows it gives.

    rows_differing counts rows that stand in one of the two answers only. Raises ValueError when a naive
    answer does not differ: such a rule tests nothing.
    """
    key = _rows(rows)
    entries = []
    for rule, wrong in naive.items():
        other = _rows(wrong)
        mine, theirs = Counter(map(tuple, key)), Counter(map(tuple, other))
        differing = sum(((mine - theirs) + (theirs - mine)).values())
        if not differing:
            raise ValueError(f"{question}: ignoring {rule} changes no row")
        entries.append({"rule": rule, "rows_differing": differing, "sha256": rows_sha256(other)})
    return {
        "question": question,
        "version": VERSION,
        "user": user,
        "purpose": purpose,
        "silos": list(silos),
        "columns": [{"name": name, "type": kind} for name, kind in columns],
        "order": list(order),
        "rows": key,
        "tolerance": 0,
        "naive": entries,
        **extra,
    }
