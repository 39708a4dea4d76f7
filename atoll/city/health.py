"""The demonstration city's health department: stays, their admissions, and the key of Q5.

Truth is a list of stays, planned per block of 4,000 persons, year and district so that a bigger city is more
blocks of the same kind. Exposed T67 cells are traps for the ten-person floor: 11 stays of 9 persons, or 2-7
persons, or just above it. Admissions are what hospitals wrote down: one a stay, or two with a transfer (D17).

Raw tables of `silos/health/health.db`:

* `district_alias(alias, district_code)`: every spelling of a home district that occurs (D15), exact text.
* `heat_calendar(district_code, day, exposed)`: environment's heat days, signed: see `check_heat_calendar`.
* `admission(adm_id, hospital_code, person_id, sex, birth_year, home_district, icd10, admitted_at,
  discharged_at, ward)`: times are text, epoch seconds UTC before 2016, local `YYYY-MM-DDTHH:MM:SS` after.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.city import met
from atoll.city.base import (
    DISTRICT_CODES,
    DISTRICTS,
    NEW,
    NORTH,
    SPLIT,
    Answers,
    Config,
    Table,
    answer,
    day_number,
    district_index,
    local_to_epoch,
)
from atoll.city.ids import Texts, people
from atoll.city.met import HeatYear
from atoll.city.rng import Bools, Ints, Rng
from atoll.city.signing import sign_calendar
from atoll.city.write import write_parquet, write_sqlite

BLOCK = 4_000
FLOOR = 10
T67, CR, OTHER = 0, 1, 2
CAUSES = ("T67", "CR", "other")
WARD_PLANTED, PLANTED_PERSONS, PLANTED_DISTRICT = "W09", 4, "449904"

_TRANSFERS, _DOTLESS, _ALIASES = 80_000, 400_000, 850_000  # per million
_LAST_EPOCH_YEAR = 2015
_HOUR, _DAY = 3_600, 86_400

_ICD = {
    T67: ("T67.0", "T67.1", "T67.2", "T67.5", "T67.8"),
    CR: ("I00.0", "I10.0", "I21.4", "I50.1", "I63.9", "I99.9", "J00.0", "J18.9", "J44.1", "J96.0", "J99.8"),
    OTHER: (
        "A09.9",
        "C34.1",
        "E11.9",
        "G40.9",
        "H26.9",
        "K35.8",
        "N20.0",
        "S72.0",
        "T66.0",
        "T68.0",
        "U07.1",
    ),
}
_CODES = tuple(code for cause in (T67, CR, OTHER) for code in _ICD[cause])
_CODE_CAUSE = np.repeat([T67, CR, OTHER], [len(_ICD[cause]) for cause in (T67, CR, OTHER)])
_CODE_START = np.searchsorted(_CODE_CAUSE, [T67, CR, OTHER])
_CODE_COUNT = np.bincount(_CODE_CAUSE)

_OLD_NAMES = {
    "449901": ("Old Port", "港口", "Harbour Dist."),
    "449902": ("Northern Suburbs", "北郊", "North (with New Town)"),
    "449903": ("East Gate", "东门", "East Dist."),
    "449904": ("Hill County", "山县", "Hills Dist."),
    "449905": ("West Bank", "西岸", "West Dist."),
    "449906": ("North New Area", "北区新城", "Development Zone"),
}


def aliases(code: str) -> tuple[str, ...]:
    """Every way a district is written, its name first."""
    district = DISTRICTS[district_index(code)]
    return (district.name, district.name_zh, code, district.name.upper(), *_OLD_NAMES[code])


# --- truth: stays -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stays:
    """Columns of stays, one element each. `key` is unique and the same at every scale; seconds are local."""

    key: Ints
    year: Ints
    district: Ints
    cause: Ints
    person: Ints
    admitted: Ints
    exposed: Bools
    planted: Bools


def planted_year(cfg: Config) -> int:
    """The year of the four persons of ward W09: 2016, or the first one."""
    return 2016 if 2016 in cfg.year_list else cfg.first_year


def stays(cfg: Config, weather: list[HeatYear]) -> Stays:
    """All stays, by block, year, district."""
    parts = [_stays_of(cfg, w, district) for w in weather for district in met.districts_of(w.year)]
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Stays.__dataclass_fields__]
    order = np.argsort(joined[0])
    return Stays(*(column[order] for column in joined))


_SLOTS = {"t67_exposed": 14, "t67": 12, "cr_exposed": 40, "cr": 100, "other": 50}
_SLOT = {name: sum(list(_SLOTS.values())[:i]) for i, name in enumerate(_SLOTS)}
_ALL_SLOTS = 256


def _counts(cfg: Config, blocks: Ints, year: int, district: int, exposed_share: tuple[int, int]) -> dict[str, Ints]:
    """Stays of each kind per block; exposed_share = (exposed days, days of the year)."""
    rng = Rng(cfg.seed, "health.count")
    rest = (district + year) % 5
    lo, hi = (11, 11) if rest == 0 else (10, 14) if rest % 2 else (2, 7)
    rate = rng.integers(70, 100, year, district, blocks, 2)
    exposed, days = exposed_share
    return {
        "t67_exposed": rng.integers(lo, hi, year, district, blocks, 0),
        "t67": rng.integers(0, 12, year, district, blocks, 1),
        "cr_exposed": (115 * rate * exposed + 50 * days) // (100 * days),
        "cr": (2 * rate * (days - exposed) + days) // (2 * days),
        "other": rng.integers(36, 50, year, district, blocks, 3),
    }


def _stays_of(cfg: Config, weather: HeatYear, district: int) -> Stays:
    year, blocks = weather.year, np.arange(cfg.scale.persons // BLOCK, dtype=np.int64)
    exposed = weather.exposed[district]
    counts = _counts(cfg, blocks, year, district, (int(exposed.sum()), len(exposed)))
    person = _patients(cfg, blocks, year, district)
    if (district + year) % 5 == 0:  # 11 stays of 9 persons
        person[:, 9:11] = person[:, :2]
    rng = Rng(cfg.seed, "health.stay")
    columns: dict[str, list[Any]] = {name: [] for name in ("block", "slot", "cause", "day")}
    for name, start in _SLOT.items():
        block, slot = np.nonzero(np.arange(_SLOTS[name]) < counts[name][:, None])
        slot = slot + start
        columns["block"].append(blocks[block])
        columns["slot"].append(slot)
        columns["cause"].append(np.full(len(slot), T67 if "t67" in name else CR if "cr" in name else OTHER))
        draw = rng.words(year, district, blocks[block], slot, 0) >> np.uint64(32)
        columns["day"].append(_days(weather, district, name, slot, draw.astype(np.int64)))
    block, slot, cause, day = (np.concatenate(column) for column in columns.values())
    second = rng.integers(0, _DAY - 1, year, district, block, slot, 1)
    first = _SLOT["other"]
    planted = (block == 0) & (slot >= first) & (slot < first + PLANTED_PERSONS)
    here = year == planted_year(cfg) and DISTRICT_CODES[district] == PLANTED_DISTRICT
    return Stays(
        key=((block * 12 + year - 2013) * 6 + district) * _ALL_SLOTS + slot,
        year=np.full(len(slot), year),
        district=np.full(len(slot), district),
        cause=cause,
        person=person[block, slot],
        admitted=(weather.first_day + day) * _DAY + second,
        exposed=exposed[day],
        planted=planted & here,
    )


def _patients(cfg: Config, blocks: Ints, year: int, district: int) -> Ints:
    """Who fills each slot, [block, slot]: residents of the district in a drawn order, nobody twice a year."""
    place = np.arange(BLOCK, dtype=np.int64) % len(DISTRICT_CODES)
    if year < SPLIT.year:
        place[place == district_index(NEW)] = district_index(NORTH)
    residents = np.flatnonzero(place == district) + blocks[:, None] * BLOCK
    order = np.argsort(Rng(cfg.seed, "health.patient").words(year, residents), axis=1, kind="stable")
    return np.take_along_axis(residents, order[:, :_ALL_SLOTS], axis=1)


def _days(weather: HeatYear, district: int, kind: str, slot: Ints, draw: Ints) -> Ints:
    """Admission days, 10 January to 3 December; whoever comes twice in a summer comes early and late."""
    days = np.arange(weather.heat.shape[1])

    def on(month: int, day: int) -> int:
        return day_number(date(weather.year, month, day)) - weather.first_day

    exposed = weather.exposed[district]
    if kind in ("t67_exposed", "cr_exposed"):
        wanted = exposed
    elif kind == "t67":
        wanted = ~exposed & (days >= on(5, 1)) & (days < on(10, 1))
    elif kind == "cr":
        wanted = ~exposed
    else:
        wanted = np.ones_like(exposed)
    choice = np.flatnonzero(wanted & (days >= on(1, 10)) & (days <= on(12, 3)))
    picked: Ints = choice[draw % len(choice)]
    if kind == "t67_exposed" and (district + weather.year) % 5 == 0:
        for slots, span in (((0, 1), days < on(7, 15)), ((9, 10), days >= on(8, 1))):
            some = np.flatnonzero(exposed & span)
            picked = np.where(np.isin(slot, slots), some[draw % len(some)], picked)
    return picked


# --- what hospitals wrote ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Admissions:
    """Columns of admissions; `stay` points into Stays, `part` is 0, or 1 after a transfer."""

    stay: Ints
    part: Ints
    code: Ints  # index into the ICD codes
    dotted: Bools
    alias: Ints  # index into aliases(district)
    old_id: Bools
    admitted: Ints
    discharged: Ints
    ward: Ints
    hospital: Ints


def admissions(cfg: Config, truth: Stays, has_old: Bools) -> Admissions:
    """The admissions of the stays; has_old: does the stay's person have an old id too."""
    rng = Rng(cfg.seed, "health.admission")
    moved = rng.chances(cfg.rate(_TRANSFERS), truth.key, 0) & ~truth.planted
    stay = np.concatenate([np.arange(len(truth.key)), np.flatnonzero(moved)])
    part = np.repeat([0, 1], [len(truth.key), int(moved.sum())])
    order = np.lexsort([part, stay])
    stay, part = stay[order], part[order]
    key = truth.key[stay]
    first_out = truth.admitted[stay] + rng.integers(20 * _HOUR, 8 * _DAY, key, 1)
    admitted = np.where(part == 0, truth.admitted[stay], first_out + rng.integers(600, _DAY - 1, key, 2))
    discharged = np.where(part == 0, first_out, admitted + rng.integers(12 * _HOUR, 2 * _DAY, key, 3))
    cause = truth.cause[stay]
    code = _CODE_START[cause] + rng.integers(0, _CODE_COUNT[cause] - 1, key, 4)
    another = (part == 1) & rng.chances(600_000, key, 5)
    code = np.where(another, rng.integers(_CODE_COUNT[T67], len(_CODES) - 1, key, 6), code)
    alias_count = len(aliases(NEW))
    alias = np.where(rng.chances(cfg.rate(_ALIASES), key, part, 7), rng.integers(1, alias_count - 1, key, part, 8), 0)
    return Admissions(
        stay=stay,
        part=part,
        code=code,
        dotted=~rng.chances(cfg.rate(_DOTLESS), key, part, 9),
        alias=alias,
        old_id=has_old[stay] & rng.chances(500_000, key, part, 10),
        admitted=admitted,
        discharged=discharged,
        ward=np.where(truth.planted[stay], 9, rng.integers(1, 8, key, part, 11)),
        hospital=(rng.integers(0, 7, key, 12) + part * 3) % 8 + 1,
    )


# --- the key of Q5 ----------------------------------------------------------------------------------

Q5_COLUMNS = (
    ("district", "varchar"),
    ("year", "integer"),
    ("cause_group", "varchar"),
    ("exposed", "boolean"),
    ("days", "bigint"),
    ("stays", "bigint"),
)
NAIVE_RULES = ("D15", "D16", "D17", "D19", "D27", "old ids", "floor on rows")


class _Counter:
    """Counts stays and persons per (year, district, cause, exposed) and lays them on the scaffold of days."""

    def __init__(self, weather: list[HeatYear]) -> None:
        self.weather = weather
        self.years = {w.year: i for i, w in enumerate(weather)}
        self.size = len(weather) * 6 * 3 * 2

    def cell(self, year: Ints, district: Ints, cause: Ints, exposed: Bools) -> Ints:
        """Cell numbers."""
        cells: Ints = (((year - self.weather[0].year) * 6 + district) * 3 + cause) * 2 + exposed
        return cells

    def rows(
        self, cell: Ints, person: Ints, weather: list[HeatYear] | None = None, by_rows: bool = False
    ) -> list[tuple[str, int, str, bool, int, int | None]]:
        """The answer: cells of fewer than ten persons (or rows) are NULL."""
        count = np.bincount(cell, minlength=self.size)
        spread = int(person.max(initial=0)) + 1
        persons = np.bincount(np.unique(cell * spread + person) // spread, minlength=self.size)
        holders = count if by_rows else persons
        found = []
        for w in weather or self.weather:
            for district in met.districts_of(w.year):
                exposed_days = int(w.exposed[district].sum())
                for exposed, days in ((False, w.exposed.shape[1] - exposed_days), (True, exposed_days)):
                    if not days:
                        continue
                    for cause in (T67, CR):
                        at = ((self.years[w.year] * 6 + district) * 3 + cause) * 2 + exposed
                        stays_ = int(count[at]) if holders[at] >= FLOOR else None
                        found.append((DISTRICT_CODES[district], w.year, CAUSES[cause], exposed, days, stays_))
        return sorted(found, key=lambda row: row[:4])


def key(weather: list[HeatYear], truth: Stays, written: Admissions) -> dict[str, Any]:
    """answers/q5.json, with what forgetful analysts would find."""
    counter = _Counter(weather)
    cell = counter.cell(truth.year, truth.district, truth.cause, truth.exposed)
    rows = counter.rows(cell, truth.person)
    naive = _naive(counter, cell, truth, written)
    return answer(
        "q5",
        user="chen",
        purpose="public-health",
        silos=["health", "environment"],
        columns=Q5_COLUMNS,
        order=["district", "year", "cause_group", "exposed"],
        rows=rows,
        naive={rule: naive[rule] for rule in NAIVE_RULES if naive[rule] != rows},
    )


def _naive(counter: _Counter, cell: Ints, truth: Stays, written: Admissions) -> dict[str, list[Any]]:
    first = written.part == 0
    spelled = written.alias[first] == 0
    undotted = np.where(written.dotted[first], truth.cause, OTHER)
    of = written.stay
    by_code = _CODE_CAUSE[written.code]
    exposed_then = _exposed(counter.weather, truth.district[of], written.admitted)
    each = counter.cell(truth.year[of], truth.district[of], by_code, exposed_then)
    shifted = np.where(truth.year <= _LAST_EPOCH_YEAR, local_to_epoch(truth.admitted), truth.admitted)
    exposed_utc = _exposed(counter.weather, truth.district, shifted)
    # somebody under two ids is two persons, and a transfer under the other id a stay of its own
    as_written = truth.person[of] * 2 + written.old_id
    alone = first.copy()
    alone[1:] |= as_written[1:] != as_written[:-1]
    return {
        "D15": counter.rows(cell[spelled], truth.person[spelled]),
        "D16": counter.rows(counter.cell(truth.year, truth.district, truth.cause, exposed_utc), truth.person),
        "D17": counter.rows(each, truth.person[of]),
        "D19": counter.rows(counter.cell(truth.year, truth.district, undotted, truth.exposed), truth.person),
        "D27": counter.rows(cell, truth.person, [met.naive_tenths(w) for w in counter.weather]),
        "old ids": counter.rows(np.where(first, cell[of], each)[alone], as_written[alone]),
        "floor on rows": counter.rows(cell, truth.person, by_rows=True),
    }


def _exposed(weather: list[HeatYear], district: Ints, seconds: Ints) -> Bools:
    """Is the local day of these seconds an exposed one."""
    start = weather[0].first_day
    table = np.zeros((6, sum(w.exposed.shape[1] for w in weather)), dtype=bool)
    for w in weather:
        at = w.first_day - start
        table[: w.exposed.shape[0], at : at + w.exposed.shape[1]] = w.exposed
    found: Bools = table[district, seconds // _DAY - start]
    return found


# --- files ------------------------------------------------------------------------------------------

_ADMISSION = pa.schema(
    [
        ("adm_id", pa.int64()),
        ("hospital_code", pa.string()),
        ("person_id", pa.string()),
        ("sex", pa.string()),
        ("birth_year", pa.int32()),
        ("home_district", pa.string()),
        ("icd10", pa.string()),
        ("admitted_at", pa.string()),
        ("discharged_at", pa.string()),
        ("ward", pa.string()),
    ]
)


@dataclass(frozen=True)
class _Patients:
    """The persons who ever were in hospital: `at` finds a stay's person in the columns."""

    at: Ints
    id18: Texts
    id15: Texts
    has_old: Bools
    male: Bools
    birth_year: Ints

    @staticmethod
    def of(seed: int, truth: Stays) -> _Patients:
        indices, at = np.unique(truth.person, return_inverse=True)
        known = people(seed, indices)
        years = known.born.astype("datetime64[Y]").astype(np.int64) + 1970
        return _Patients(at, known.id18, known.id15, known.has_old, known.male, years)


def _admission_table(truth: Stays, written: Admissions, patients: _Patients) -> Table:
    of, who = written.stay, patients.at[written.stay]
    early = truth.year[of] <= _LAST_EPOCH_YEAR
    names = np.array([aliases(code) for code in DISTRICT_CODES], dtype=object)
    dotted = np.array(_CODES, dtype=object)
    plain = np.array([code.replace(".", "") for code in _CODES], dtype=object)
    columns = [
        truth.key[of] * 2 + written.part,
        np.array([f"H{i:02d}" for i in range(9)], dtype=object)[written.hospital],
        np.where(written.old_id, patients.id15[who], patients.id18[who]).astype(object),
        np.where(patients.male[who], "M", "F").astype(object),
        patients.birth_year[who].astype(np.int32),
        names[truth.district[of], written.alias],
        np.where(written.dotted, dotted[written.code], plain[written.code]),
        _times(written.admitted, early),
        _times(written.discharged, early),
        np.array([f"W{i:02d}" for i in range(10)], dtype=object)[written.ward],
    ]
    return Table.of("admission", _ADMISSION, columns, (("home_district",), ("person_id",)))


def _times(seconds: Ints, early: Bools) -> NDArray[np.object_]:
    """D16: epoch seconds (UTC) where early, else local ISO texts."""
    texts = met.iso_times(seconds).astype(object)
    texts[early] = local_to_epoch(seconds[early]).astype(str)
    return texts


def _alias_table() -> Table:
    schema = pa.schema([("alias", pa.string()), ("district_code", pa.string())])
    rows = [(alias, code) for code in DISTRICT_CODES for alias in aliases(code)]
    return Table.of("district_alias", schema, list(zip(*rows, strict=True)))


def _truth_table(truth: Stays, patients: _Patients) -> Table:
    schema = pa.schema(
        [
            ("stay_key", pa.int64()),
            ("person", pa.string()),
            ("district_code", pa.string()),
            ("year", pa.int32()),
            ("cause_group", pa.string()),
            ("heat_exposed", pa.bool_()),
            ("admitted_at", pa.timestamp("s")),
        ]
    )
    columns = [
        truth.key,
        patients.id18[patients.at].astype(object),
        np.array(DISTRICT_CODES, dtype=object)[truth.district],
        truth.year.astype(np.int32),
        np.array(CAUSES, dtype=object)[truth.cause],
        truth.exposed,
        truth.admitted,
    ]
    return Table.of("stay", schema, columns)


def write(cfg: Config, out: Path) -> Answers:
    """`out/silos/health/health.db`, the calendar's signature, true stays, and the key of Q5."""
    weather = met.heat(cfg)
    truth = stays(cfg, weather)
    patients = _Patients.of(cfg.seed, truth)
    written = admissions(cfg, truth, patients.has_old[patients.at])
    entry = key(weather, truth, written)
    folder = out / "silos" / "health"
    heat_day = met.heat_table(weather)
    calendar = Table(
        "heat_calendar",
        pa.schema([heat_day.schema.field(name) for name in ("district_code", "day", "exposed")]),
        lambda: (batch.drop_columns("heat") for batch in heat_day.batches()),
    )
    ledger = write_parquet(out / "truth" / "health_stay.parquet", _truth_table(truth, patients))
    tables = [_alias_table(), calendar, _admission_table(truth, written, patients)]
    database = write_sqlite(folder / "health.db", tables)
    signature = folder / "heat_calendar.sig"
    signature.write_text(sign_calendar(cfg.seed, met.calendar_rows(weather)) + "\n", encoding="ascii")
    return Answers([entry], [ledger, database, signature])
