"""The demonstration city's housing department: homes and their owners, bus trips, and the 400 probes of Q4.

Every resident has a part to play, drawn once: sole owner, co-owner, owner who sold, or never an owner.
Partners and buyers come from outside, so that nobody's part depends on another resident. Some residents are
registered under the old 15-digit id. The key of Q4 is read off the parts.

Raw files:

* `property/district=CODE/YYYY.parquet` by year of purchase (`2012.parquet`: to 2012): `property_id`,
  `owner_id_no` (`owner_id` before 2016, D25), `share_bp`, `area_m2` (double before 2018, then decimal(10,2),
  D24), `bought_on`, `sold_on`. CODE is the department's: New District stays 449902 through 2016 (D26).
* `trip/year=Y/month=M/trip.parquet`: `card`, `line`, `from_stop`, `to_stop`, `started_at`, `fare_cents`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.city.base import (
    DISTRICT_CODES,
    NEW,
    NORTH,
    Answers,
    Config,
    Table,
    answer,
    day_number,
    district_index,
    month_days,
    month_number,
    year_of,
)
from atoll.city.health import BLOCK
from atoll.city.ids import Texts, people, wrong_check
from atoll.city.rng import Bools, Ints, Rng
from atoll.city.write import write_parquet

OWNER, CO_OWNER, SOLD, NEVER = 0, 1, 2, 3
PARTS = ("owner", "co-owner", "sold", "never")
_PART_PERCENT = np.array([45, 60, 70])  # owner below 45, co-owner below 60, sold below 70, then never

# Persons who are no residents: whose index is theirs plus one of these
_PARTNER, _BUYER, _STRANGER = 30_000_000, 40_000_000, 60_000_000

_OPEN = -1
_FIRST_PURCHASE, _LAST_DRAWN = 2004, 2019
_OLD_COLUMN_BEFORE, _DOUBLE_BEFORE, _OLD_CODE_UNTIL, _ARCHIVE = 2016, 2018, 2016, 2012


# --- truth ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Residents:
    """Columns of all residents: their part, and whether housing knows them by the old id."""

    part: Ints
    has_old: Bools
    registered_old: Bools
    id18: Texts
    id15: Texts


@dataclass(frozen=True)
class Holdings:
    """Columns of the register's entries; days are day numbers, sold -1 where still held; share per 10,000."""

    home: Ints
    person: Ints
    share: Ints
    bought: Ints
    sold: Ints

    @property
    def counts(self) -> Bools:
        """Does the entry make its person an owner."""
        held: Bools = (self.sold == _OPEN) & (self.share > 0)
        return held


def residents(cfg: Config) -> Residents:
    """The residents, by index."""
    index = np.arange(cfg.scale.persons, dtype=np.int64)
    rng = Rng(cfg.seed, "housing.resident")
    known = people(cfg.seed, index)
    part = np.searchsorted(_PART_PERCENT, rng.integers(0, 99, index, 0), side="right")
    old = known.has_old & rng.chances(500_000, index, 1)
    return Residents(part, known.has_old, old, known.id18, known.id15)


class _Entries:
    """Collects entries of the register, a batch of homes at a time."""

    def __init__(self, rng: Rng, last_year: int) -> None:
        self.rng, self.last_year = rng, last_year
        self.rows: list[tuple[Ints, ...]] = []

    def add(self, number: int, resident: Ints, holder: Ints, share: int, bought: Ints, sold: Ints) -> None:
        """Entries of the homes `number` (0-63) of these residents."""
        self.rows.append((resident * 64 + number, holder, np.full_like(holder, share), bought, sold))

    def sale(self, number: int, seller: Ints) -> None:
        """Homes that these residents bought, and sold to a buyer from outside."""
        bought = _day(self.rng, seller, 10 + number, _FIRST_PURCHASE, 2012)
        sold = _day(self.rng, seller, 20 + number, 2013, self.last_year)
        self.add(number, seller, seller, 10_000, bought, sold)
        self.add(number, seller, seller + _BUYER, 10_000, sold, np.full_like(sold, _OPEN))

    def held(self, number: int, resident: Ints, shares: tuple[int, int], bought: Ints) -> None:
        """Homes held by these residents and, with a second share, a partner from outside."""
        still = np.full_like(bought, _OPEN)
        self.add(number, resident, resident, shares[0], bought, still)
        if shares[1]:
            self.add(number, resident, resident + _PARTNER, shares[1], bought, still)


def holdings(cfg: Config, part: Ints) -> Holdings:
    """The register's entries, by home."""
    rng = Rng(cfg.seed, "housing.holding")
    last = min(_LAST_DRAWN, cfg.last_year)
    entries = _Entries(rng, last)
    for kind, shares in ((OWNER, (10_000, 0)), (CO_OWNER, (4_000, 6_000))):
        who = np.flatnonzero(part == kind)
        entries.held(0, who, shares, _day(rng, who, 0, _FIRST_PURCHASE, last))
    holder = np.flatnonzero(part <= CO_OWNER)
    # an owner's earlier home, sold: one entry that is over says nothing about the others
    entries.sale(1, holder[rng.chances(100_000, holder, 1)])
    sold = np.flatnonzero(part == SOLD)
    entries.sale(2, sold)
    # and some of those who sold keep an entry without a share
    bare = sold[rng.chances(250_000, sold, 2)]
    entries.held(3, bare, (0, 10_000), _day(rng, bare, 3, _FIRST_PURCHASE, last))
    for year in range(_LAST_DRAWN + 1, cfg.last_year + 1):
        more = holder[rng.chances(30_000, holder, 4, year)]
        entries.held(year - 2000, more, (10_000, 0), _day(rng, more, 5, year, year))
    columns = [np.concatenate(column) for column in zip(*entries.rows, strict=True)]
    order = np.lexsort([columns[1], columns[0]])
    return Holdings(*(column[order] for column in columns))


def _day(rng: Rng, person: Ints, salt: int, first: int, last: int) -> Ints:
    lo, hi = day_number(date(first, 1, 1)), day_number(date(last, 12, 31))
    return rng.integers(lo, hi, person, salt)


# --- the key of Q4 ----------------------------------------------------------------------------------

PROBES = 400
PROBE_USERS = ("wu", "he", "luo")
MATCH, NO_MATCH, INVALID = "match", "no-match", "invalid"
Q4_COLUMNS = (("n", "integer"), ("user", "varchar"), ("id_no", "varchar"), ("outcome", "varchar"))


@dataclass(frozen=True)
class Probe:
    """One question: who is asked about (person index), how, and what is true."""

    person: int
    kind: int  # n mod 7
    id_no: str
    outcome: str


def probes(cfg: Config, who: Residents) -> list[Probe]:
    """The 400 probes, about 400 persons of the first 4,000 residents and strangers."""
    index = np.arange(BLOCK)
    order = index[np.argsort(Rng(cfg.seed, "housing.probe").words(index), kind="stable")]
    part, has_old, old = who.part[order], who.has_old[order], who.registered_old[order]
    owners = order[(part == OWNER) & ~has_old].tolist()
    pools = {
        0: iter(owners[: PROBES // 7 + 1]),
        1: iter(order[(part == CO_OWNER) & ~has_old].tolist()),
        2: iter(order[part == SOLD].tolist()),
        3: iter(order[part == NEVER].tolist()),
        5: iter(owners[PROBES // 7 + 1 :]),
    }
    filed_old = iter(order[(part <= CO_OWNER) & old].tolist())
    filed_new = iter(order[(part <= CO_OWNER) & has_old & ~old].tolist())
    strangers = people(cfg.seed, _STRANGER + np.arange(PROBES, dtype=np.int64))
    outcomes = (MATCH, MATCH, NO_MATCH, NO_MATCH, MATCH, INVALID, NO_MATCH)
    made = []
    for n in range(PROBES):
        kind = n % 7
        if kind == 6:
            made.append(Probe(_STRANGER + n, kind, str(strangers.id18[n]), NO_MATCH))
            continue
        asks_old = kind == 4 and n // 7 % 2 == 1
        person = next(pools[kind] if kind != 4 else filed_new if asks_old else filed_old)
        id_no = str((who.id15 if asks_old else who.id18)[person])
        if kind == 5:
            id_no = str(wrong_check(np.array([id_no]))[0])
        made.append(Probe(person, kind, id_no, outcomes[kind]))
    return made


def key(cfg: Config, who: Residents, register: Holdings) -> dict[str, Any]:
    """answers/q4.json, with what forgetful clerks would say."""
    asked = probes(cfg, who)
    bought_late = year_of(register.bought) >= _OLD_COLUMN_BEFORE
    naive = {
        "sold_on": _outcomes(asked, set(register.person[register.share > 0].tolist())),
        "share_bp": _outcomes(asked, set(register.person[register.sold == _OPEN].tolist())),
        "D25": _outcomes(asked, set(register.person[register.counts & bought_late].tolist())),
        "old ids": [NO_MATCH if probe.kind == 4 else probe.outcome for probe in asked],
        "check character": [NO_MATCH if probe.kind == 5 else probe.outcome for probe in asked],
    }
    return answer(
        "q4",
        user=", ".join(PROBE_USERS),
        purpose="benefit-eligibility",
        silos=["housing"],
        columns=Q4_COLUMNS,
        order=["n"],
        rows=_rows(asked, [probe.outcome for probe in asked]),
        naive={rule: _rows(asked, wrong) for rule, wrong in naive.items()},
    )


def _rows(asked: list[Probe], outcomes: list[str]) -> list[list[Any]]:
    return [
        [n, PROBE_USERS[n % 3], probe.id_no, outcome]
        for n, (probe, outcome) in enumerate(zip(asked, outcomes, strict=True))
    ]


def _outcomes(asked: list[Probe], owners: set[int]) -> list[str]:
    return [p.outcome if p.outcome == INVALID else MATCH if p.person in owners else NO_MATCH for p in asked]


def budget_subjects(cfg: Config) -> list[list[str]]:
    """201 residents whom no probe asks about, as [id_no, outcome]: for the daily budget of V6."""
    who = residents(cfg)
    taken = {probe.person for probe in probes(cfg, who)}
    free = [i for i in range(BLOCK) if i not in taken][:201]
    return [[str(who.id18[i]), MATCH if who.part[i] <= CO_OWNER else NO_MATCH] for i in free]


# --- files ------------------------------------------------------------------------------------------


def _property_files(cfg: Config, who: Residents, register: Holdings, folder: Path) -> Iterator[Path]:
    owner = _owner_ids(cfg, who, register.person)
    rng = Rng(cfg.seed, "housing.property")
    place = rng.integers(0, len(DISTRICT_CODES) - 1, register.home, 0)
    area = rng.integers(3_500, 18_000, register.home, 1)
    year = np.maximum(year_of(register.bought), _ARCHIVE)
    lagging = (place == district_index(NEW)) & (year <= _OLD_CODE_UNTIL)
    place = np.where(lagging, district_index(NORTH), place)
    group = place * 10_000 + year
    order = np.argsort(group, kind="stable")
    groups, starts = np.unique(group[order], return_index=True)
    for number, rows in zip(groups.tolist(), np.split(order, starts[1:]), strict=True):
        district, bought_in = divmod(number, 10_000)
        path = folder / f"district={DISTRICT_CODES[district]}" / f"{bought_in}.parquet"
        yield write_parquet(path, _property_table(bought_in, register, owner, area, rows))


def _property_table(year: int, register: Holdings, owner: Texts, area: Ints, rows: Ints) -> Table:
    double = year < _DOUBLE_BEFORE
    schema = pa.schema(
        [
            ("property_id", pa.string()),
            ("owner_id" if year < _OLD_COLUMN_BEFORE else "owner_id_no", pa.string()),
            ("share_bp", pa.int32()),
            ("area_m2", pa.float64() if double else pa.decimal128(10, 2)),
            ("bought_on", pa.date32()),
            ("sold_on", pa.date32()),
        ]
    )
    sold = register.sold[rows]
    columns = [
        np.array([f"P{number:010d}" for number in register.home[rows].tolist()], dtype=object),
        owner[rows].astype(object),
        register.share[rows].astype(np.int32),
        area[rows] / 100 if double else area[rows],
        register.bought[rows],
        pa.array(sold.astype(np.int32), pa.int32(), mask=sold == _OPEN).cast(pa.date32()),
    ]
    return Table.of("property", schema, columns)


def _owner_ids(cfg: Config, who: Residents, person: Ints) -> Texts:
    """The id each entry was filed under."""
    ids = np.empty(len(person), dtype="<U18")
    resident = person < len(who.part)
    index = person[resident]
    ids[resident] = np.where(who.registered_old[index], who.id15[index], who.id18[index])
    ids[~resident] = people(cfg.seed, person[~resident]).id18
    return ids


_TRIPS = 2_778  # a month and block of residents
_LINES, _STOPS = 40, 25
_TRIP = pa.schema(
    [
        ("card", pa.string()),
        ("line", pa.string()),
        ("from_stop", pa.string()),
        ("to_stop", pa.string()),
        ("started_at", pa.timestamp("ms")),
        ("fare_cents", pa.int32()),
    ]
)


class Trips:
    """Trips of a month: a block's residents ride with a block's cards, whatever the scale."""

    def __init__(self, cfg: Config) -> None:
        self.rng = Rng(cfg.seed, "housing.trip")
        self.blocks = cfg.scale.persons // BLOCK
        self.cards = pa.array([f"C{i:08d}" for i in range(cfg.scale.persons)])
        self.lines = pa.array([f"L{i + 1:02d}" for i in range(_LINES)])
        self.stops = pa.array([f"S{i:04d}" for i in range(_LINES * _STOPS)])

    def table(self, year: int, month: int) -> Table:
        """The trips of one month, by block."""
        number = month_number(year, month)
        first, after = (int(month_days(np.array([n]))[0]) for n in (number, number + 1))
        trip = np.arange(self.blocks * _TRIPS, dtype=np.int64)
        words = self.rng.words(number, trip)

        def field(shift: int, bits: int, size: int) -> Ints:
            part = words >> np.uint64(shift) & np.uint64((1 << bits) - 1)
            return (part * np.uint64(size) >> np.uint64(bits)).astype(np.int64)

        line, start = field(0, 10, _LINES), field(10, 8, _STOPS)
        ride = field(18, 8, _STOPS - 1) + 1
        second = field(26, 22, (after - first) * 18 * 3_600)
        day, second = second // (18 * 3_600), second % (18 * 3_600) + 5 * 3_600
        columns = [
            self.cards.take(pa.array(trip // _TRIPS * BLOCK + field(48, 16, BLOCK))),
            self.lines.take(pa.array(line)),
            self.stops.take(pa.array(line * _STOPS + start)),
            self.stops.take(pa.array(line * _STOPS + (start + ride) % _STOPS)),
            ((first + day) * 86_400 + second) * 1_000,
            (200 + 50 * (ride // 4)).astype(np.int32),
        ]
        return Table.of("trip", _TRIP, columns)


def _trip_files(cfg: Config, folder: Path) -> Iterator[Path]:
    trips = Trips(cfg)
    for year in cfg.year_list:
        for month in range(1, 13):
            path = folder / f"year={year}" / f"month={month}" / "trip.parquet"
            yield write_parquet(path, trips.table(year, month))


def write(cfg: Config, out: Path) -> Answers:
    """Homes and trips under `out/silos/housing`, the residents' true parts, and the key of Q4."""
    who = residents(cfg)
    register = holdings(cfg, who.part)
    entry = key(cfg, who, register)
    schema = pa.schema([("person", pa.string()), ("part", pa.string()), ("registered_old", pa.bool_())])
    truth = Table.of(
        "resident",
        schema,
        [who.id18.astype(object), np.array(PARTS, dtype=object)[who.part], who.registered_old],
    )
    ledger = write_parquet(out / "truth" / "housing_resident.parquet", truth)
    folder = out / "silos" / "housing"
    homes = list(_property_files(cfg, who, register, folder / "property"))
    return Answers([entry], [ledger, *homes, *_trip_files(cfg, folder / "trip")])
