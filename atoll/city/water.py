"""The water utility's raw tables: accounts, meters, readings, industry bands.

PostgreSQL where a server is at hand, else `silos/water/water.db` (SQLite, decimals as text); both hold the
same rows. A counter's true course is litres since its meter was installed; readings show it modulo the
counter's digits, in m3 (unit t) before July 2016 and in litres after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.city.base import Answers, Config, Shape, Table, month_number, year_days
from atoll.city.catalogue import band_rows
from atoll.city.companies import ALL_YEARS, FAR, companies, company_names, leaves_early, window
from atoll.city.ids import people
from atoll.city.rng import Bools, Ints, Rng
from atoll.city.works import MONTH_STARTS, Draught, draught, month_marks, works
from atoll.city.write import write_parquet, write_sqlite

SWITCH = int(year_days(np.array([2016]))[0]) + 182  # 1 July 2016: D03, from m3 to litres
_SWITCH_MONTH = month_number(2016, 7) - month_number(2013, 1)
_TEXT, _DAY = pa.string(), pa.date32()
_CHUNK = 1_500
HOUSEHOLD = 100_000
"""Account numbers from here on are households'; companies stand below by their own number."""

SCHEMAS: dict[str, pa.Schema] = {
    "account": pa.schema(
        [
            *((n, _TEXT) for n in ("account_no", "kind", "customer_name", "id_no", "org_no", "phone")),
            ("district_code", _TEXT),
            *((n, _DAY) for n in ("opened_on", "closed_on")),
        ]
    ),
    "meter": pa.schema(
        [
            *((n, _TEXT) for n in ("meter_id", "account_no", "premise_id")),
            ("digits", pa.int32()),
            *((n, _DAY) for n in ("installed_on", "removed_on")),
        ]
    ),
    "band": pa.schema(
        [
            *((n, _TEXT) for n in ("industry_std", "industry_code", "unit")),
            *((n, pa.decimal128(12, 3)) for n in ("lo_l", "hi_l")),
        ]
    ),
    "reading": pa.schema(
        [
            ("reading_id", pa.int64()),
            ("meter_id", _TEXT),
            ("read_on", _DAY),
            ("cum_value", pa.decimal128(14, 3)),
            ("unit", _TEXT),
            ("estimated", pa.bool_()),
            ("corrects_id", pa.int64()),
            ("recorded_on", _DAY),
        ]
    ),
}


_KEYS = {"account": "account_no", "meter": "meter_id", "reading": "reading_id"}
_INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {"meter": (("account_no",),), "reading": (("meter_id",),)}
SHAPES: tuple[Shape, ...] = tuple(Shape(n, s, _INDEXES.get(n, ()), _KEYS.get(n)) for n, s in SCHEMAS.items())
"""The tables without rows, for servers."""


@dataclass(frozen=True)
class Accounts:
    """Accounts with the true course of their counters."""

    number: Ints  # unique, stable over scales
    company: Ints  # position, -1 for households
    person: Ints  # person index, -1 for companies
    district: Ints
    opened: Ints
    installed: Ints  # day of the first meter
    before: Ints  # litres between installation and 1 January 2013
    exchanged: Ints  # day of the exchange, FAR for none
    digits: Ints
    marks: Ints  # [account, year, 13] as works.month_marks
    start_year: Ints  # first year with water


def _accounts(
    cfg: Config, number: Ints, company: Ints, district: Ints, use: Ints, marks: Ints, start_year: Ints
) -> Accounts:
    rng = Rng(cfg.seed, "water.account")
    old = start_year <= 2013
    first_day = np.where(old, year_days(np.array([2013]))[0], year_days(start_year))
    installed = np.where(old, first_day - rng.integers(5, 60, number, 0), first_day)
    before = use[:, 0] * (first_day - installed) // 365
    exchange_year = rng.integers(2013, 2030, number, 1)
    month = rng.integers(3, 10, number, 2)
    day = MONTH_STARTS[np.minimum((exchange_year - 2013) * 12 + month, 144)] + rng.integers(9, 24, number, 3)
    exchanged = (exchange_year <= cfg.last_year) & (exchange_year >= start_year)
    exchanged &= rng.chances(cfg.rate(1_000_000), number, 4)
    # the smallest counter that turns over no more than once between two readings, whatever the gap
    most = np.maximum(marks[:, :, 12].max(axis=1) * 3 // 2, 1) // 1000 + 1
    digits = np.maximum(np.ceil(np.log10(most)).astype(np.int64), 3)
    digits += np.where(10**digits < most, 1, 0)
    digits += np.where(rng.chances(cfg.rate(1_000_000), number, 5), 0, 3)
    return Accounts(
        number=number,
        company=company,
        person=np.where(company < 0, number - HOUSEHOLD, -1),
        district=district,
        opened=np.where(old, installed - rng.integers(0, 2500, number, 6), installed),
        installed=installed,
        before=before,
        exchanged=np.where(exchanged, day, FAR),
        digits=digits,
        marks=marks,
        start_year=start_year,
    )


@lru_cache(maxsize=1)
def company_accounts(cfg: Config) -> Accounts:
    """One account per user and per other company that works."""
    world, w = companies(cfg), works(cfg)
    users = np.arange(world.n_users, dtype=np.int64)
    rng = Rng(cfg.seed, "water.user")
    base = rng.integers(8_000_000, 80_000_000, users, 0)[:, None]
    use = base * rng.integers(900, 1100, users[:, None], ALL_YEARS[None, :], 1) // 1000
    user_marks = month_marks(cfg, "water.user.month", users, use, use * 0)
    others = np.arange(world.n_others, dtype=np.int64)
    others = others[~leaves_early(others)]
    at = np.concatenate([users, world.other(others)])
    return _accounts(
        cfg,
        number=world.number[at],
        company=at,
        district=world.district[at],
        use=np.concatenate([use, (w.use + w.leak)[others]]),
        marks=np.concatenate([user_marks, w.marks[others]]),
        start_year=np.maximum(world.active_year[at], 2013),
    )


def _household_accounts(cfg: Config, first: int, last: int) -> Accounts:
    homes = np.arange(first, last, dtype=np.int64)
    rng = Rng(cfg.seed, "water.household")
    base = rng.integers(70_000, 260_000, homes, 0)[:, None]
    use = base * rng.integers(850, 1150, homes[:, None], ALL_YEARS[None, :], 1) // 1000
    return _accounts(
        cfg,
        number=HOUSEHOLD + homes,
        company=np.full(len(homes), -1, dtype=np.int64),
        district=449901 + rng.integers(0, 5, homes, 2),
        use=use,
        marks=month_marks(cfg, "water.household.month", homes, use, use * 0),
        start_year=np.full(len(homes), 2013, dtype=np.int64),
    )


def _chunks(cfg: Config) -> Iterator[Accounts]:
    firms = company_accounts(cfg)
    for start in range(0, len(firms.number), _CHUNK):
        part = slice(start, start + _CHUNK)
        yield Accounts(**{name: getattr(firms, name)[part] for name in Accounts.__dataclass_fields__})
    for start in range(0, cfg.scale.households, _CHUNK):
        yield _household_accounts(cfg, start, min(start + _CHUNK, cfg.scale.households))


# --- readings ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Readings:
    """Rows of readings; `litres` is what the counter showed, whatever the unit it was written in."""

    account: Ints  # row of Accounts
    second: Ints  # 1: the meter installed at the exchange
    number: Ints
    day: Ints
    litres: Ints
    metric: Bools  # written in t (m3)
    estimated: Bools
    corrects: Ints  # reading number, 0 for none
    wrong: Bools  # a row of its own unit corrects it
    recorded: Ints

    def take(self, rows: Any) -> Readings:
        """The chosen rows."""
        return Readings(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def readings(cfg: Config, a: Accounts) -> Readings:
    """All readings of these accounts within a Config's years, by account, day and number."""
    first, last = (cfg.first_year - 2013) * 12, (cfg.last_year - 2012) * 12
    months = np.arange(first, last + 1, dtype=np.int64)
    key, month = a.number[:, None], months[None, :]
    rng = Rng(cfg.seed, "water.reading")
    # 1 January, 1 February, 1 March and the day of the new unit are read on the day itself
    loose = (month % 12 > 2) & (month != _SWITCH_MONTH)
    offset = np.where(loose, rng.integers(0, 4, key, month, 0), 0)
    day = MONTH_STARTS[months][None, :] + offset
    course, month_use = _course(a, months, offset)
    rows, columns = np.nonzero(day > a.installed[:, None])
    m = months[columns]
    base = a.number[rows] * 10_000 + m * 8

    def of(values: Ints) -> Ints:
        chosen: Ints = values[rows, columns]
        return chosen

    real_day, real_course, real_use = of(day), of(course), of(month_use)
    k = (a.number[rows], m)
    jan_of_firm = (m % 12 == 0) & (a.company[rows] >= 0)
    corrected = rng.chances(np.where(jan_of_firm, cfg.rate(100_000), cfg.rate(10_000)), *k, 1)
    slip = real_use * rng.integers(100, 400, *k, 2) // 1000 * (1 - 2 * rng.integers(0, 1, *k, 3))
    none = np.zeros(len(rows), dtype=np.int64)
    no = none.astype(bool)
    main = Readings(
        account=rows,
        second=(real_day > a.exchanged[rows]).astype(np.int64),
        number=base + 1,
        day=real_day,
        litres=real_course + np.where(corrected, slip, 0),
        metric=real_day <= SWITCH,
        estimated=no,
        corrects=none,
        wrong=corrected,
        recorded=real_day + rng.integers(0, 3, *k, 4),
    )
    late = rng.integers(20, 425, *k, 5)
    correction = replace(
        main, number=base + 2, litres=real_course, corrects=base + 1, wrong=no, recorded=real_day + late
    ).take(corrected)
    # some clerks filed the first reading in litres as a correction of the last one in m3; it corrects nothing
    misfiled = rng.chances(cfg.rate(20_000), *k, 6)
    both = replace(
        main,
        number=base + 3,
        litres=real_course,
        metric=no,
        corrects=np.where(misfiled, base + 1, 0),
        wrong=no,
    ).take(m == _SWITCH_MONTH)
    guessed = rng.chances(cfg.rate(50_000), *k, 7) & (m > first) & (real_day - 10 > a.installed[rows])
    guess_day = real_day - rng.integers(1, 9, *k, 8)
    guess = real_course + real_use * rng.integers(-150, 200, *k, 9) // 1000
    estimate = replace(
        main,
        second=(guess_day > a.exchanged[rows]).astype(np.int64),
        number=base,
        day=guess_day,
        litres=guess,
        metric=guess_day < SWITCH,
        estimated=~no,
        wrong=no,
        recorded=guess_day,
    ).take(guessed)
    parts = (main, correction, both, estimate, _last_readings(cfg, a))
    joined = _joined(parts)
    zero = np.where(joined.second == 1, _exchange_course(a)[joined.account], 0)
    shown = (joined.litres - zero) % (10 ** a.digits[joined.account] * 1000)
    return replace(joined, litres=shown).take(np.lexsort((joined.number, joined.day, joined.account)))


def _joined(parts: Sequence[Readings]) -> Readings:
    names = Readings.__dataclass_fields__
    return Readings(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _course(a: Accounts, months: Ints, offset: Ints) -> tuple[Ints, Ints]:
    """Litres since installation on day `offset` of each month, and that month's use: [account, month]."""
    since = np.cumsum(a.marks[:, :, 12], axis=1)
    since = np.concatenate([np.zeros_like(since[:, :1]), since], axis=1) + a.before[:, None]
    flat = np.concatenate(
        [(a.marks[:, :, :12] + since[:, :12, None]).reshape(len(a.number), -1), since[:, 12:]], axis=1
    )
    here, after = flat[:, months], flat[:, np.minimum(months + 1, 144)]
    lengths = np.maximum(MONTH_STARTS[np.minimum(months + 1, 144)] - MONTH_STARTS[months], 1)
    use = after - here
    # the month after the last one is not lived yet; its first of January is read all the same
    use = np.where(months[None, :] == 144, np.maximum(here - flat[:, 143][:, None], 0), use)
    return here + use * offset // lengths[None, :], use


def _exchange_course(a: Accounts) -> Ints:
    """Litres since installation at the exchange; 0 for accounts without one."""
    has = a.exchanged < FAR
    month = np.where(has, np.searchsorted(MONTH_STARTS, a.exchanged, side="right") - 1, 0)
    month = np.minimum(month, 143)
    offset = np.where(has, a.exchanged - MONTH_STARTS[month], 0)
    course, _ = _course(a, np.arange(145, dtype=np.int64), np.zeros((1, 145), dtype=np.int64))
    at = np.arange(len(a.number))
    lengths = MONTH_STARTS[month + 1] - MONTH_STARTS[month]
    here = course[at, month]
    value: Ints = np.where(has, here + (course[at, month + 1] - here) * offset // lengths, 0)
    return value


def _last_readings(cfg: Config, a: Accounts) -> Readings:
    """D02: the removed meter's last reading, on the day of the exchange."""
    rows = np.flatnonzero((a.exchanged < FAR) & (a.exchanged >= year_days(np.array([cfg.first_year]))[0]))
    none = np.zeros(len(rows), dtype=np.int64)
    no = none.astype(bool)
    return Readings(
        account=rows,
        second=none,
        number=a.number[rows] * 10_000 + 9_000,
        day=a.exchanged[rows],
        litres=_exchange_course(a)[rows],
        metric=a.exchanged[rows] < SWITCH,
        estimated=no,
        corrects=none,
        wrong=no,
        recorded=a.exchanged[rows],
    )


# --- what a naive reader would sum ------------------------------------------------------------------


def evaluate(cfg: Config, ignore: str = "") -> Draught:
    """Q2's draught as steps between readings give it, with one rule ("D01" ... "D05") ignored."""
    a, world = company_accounts(cfg), companies(cfg)
    r = readings(cfg, a)
    dropped = (r.estimated & (ignore != "D05")) | (r.corrects > 0 if ignore == "D04" else r.wrong)
    if ignore == "D04":
        dropped &= r.metric == (r.day <= SWITCH)  # a misfiled litre reading is no correction
    r = r.take(~dropped)
    if ignore != "D02":
        r = _joined([r, _installations(a)])
    litres = np.where(r.metric, r.litres // 1000, r.litres) if ignore == "D03" else r.litres
    second = r.second * (ignore != "D02")
    series = r.account * 4 + second * 2 + r.metric
    order = np.lexsort((r.number, r.day, series))
    same = np.diff(series[order]) == 0
    step = np.diff(litres[order])[same]
    owner, end = r.account[order][1:][same], r.day[order][1:][same]
    if ignore != "D01":
        step = np.where(step < 0, step + 10 ** a.digits[owner] * 1000, step)
    month = (end - 1).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    year, february = month // 12 + 1970, month % 12 == 1

    other = a.company[owner] - world.n_users
    inside = (other >= 0) & (year >= cfg.first_year) & (year <= cfg.last_year)
    true = draught(cfg)
    sums = np.zeros((2, *true.litres.shape), dtype=np.int64)
    at = (other[inside], year[inside] - cfg.first_year)
    np.add.at(sums[0], at, step[inside])
    np.add.at(sums[1], at, (step * february)[inside])
    return replace(true, litres=sums[0], february=sums[1])


def _installations(a: Accounts) -> Readings:
    """The unwritten zero of every meter on its first day."""
    again = np.flatnonzero(a.exchanged < FAR)
    account = np.concatenate([np.arange(len(a.number)), again])
    day = np.concatenate([a.installed, a.exchanged[again]])
    none = np.zeros(len(account), dtype=np.int64)
    return Readings(
        account=account,
        second=np.repeat(np.array([0, 1]), (len(a.number), len(again))),
        number=none,
        day=day,
        litres=none,
        metric=day < SWITCH,
        estimated=none.astype(bool),
        corrects=none,
        wrong=none.astype(bool),
        recorded=day,
    )


def naive_draughts(cfg: Config) -> dict[str, Draught]:
    """Q2's draughts of readers who ignore one rule of this department."""
    return {rule: evaluate(cfg, rule) for rule in ("D01", "D02", "D03", "D04", "D05")}


# --- raw tables -------------------------------------------------------------------------------------


def _named(prefix: str, numbers: Ints) -> Any:
    return pc.binary_join_element_wise(pa.scalar(prefix), pa.array(numbers, pa.int64()).cast(_TEXT), "")


def _account_no(a: Accounts) -> Any:
    firm = _named("C", a.number)
    return pc.if_else(pa.array(a.company >= 0), firm, _named("H", a.number))


def _account_batch(cfg: Config, a: Accounts) -> Iterator[pa.RecordBatch]:
    world = companies(cfg)
    firm = a.company >= 0
    at = np.maximum(a.company, 0)
    someone = people(cfg.seed, np.maximum(a.person, 0))
    name = np.where(firm, company_names(cfg, world.number)[at], someone.name)
    id_no = np.where(someone.has_old, someone.id15, someone.id18)
    org_no = world.numbers_on(at, a.opened, "water")
    phone = 13_900_000_000 + Rng(cfg.seed, "water.phone").integers(0, 99_999_999, a.number)
    columns = [
        _account_no(a),
        np.where(firm, "C", "H"),
        name,
        pa.array(id_no, _TEXT, mask=firm),
        pa.array(org_no, _TEXT, mask=~firm),
        phone.astype(str),
        a.district.astype(str),
        a.opened,
        pa.nulls(len(a.number), _DAY),
    ]
    return Table.of("account", SCHEMAS["account"], columns).batches()


def _meter_batch(cfg: Config, a: Accounts) -> Iterator[pa.RecordBatch]:
    again = np.flatnonzero(a.exchanged < FAR)
    rows = np.concatenate([np.arange(len(a.number)), again])
    second = np.repeat(np.array([0, 1]), (len(a.number), len(again)))
    removed = np.where((second == 0) & (a.exchanged[rows] < FAR), a.exchanged[rows], 0)
    columns = [
        _named("M", a.number[rows] * 10 + second),
        _account_no(a).take(pa.array(rows)),
        _named("PR", a.number[rows]),
        a.digits[rows],
        np.where(second == 1, a.exchanged[rows], a.installed[rows]),
        pa.array(removed.astype(np.int32), pa.int32(), mask=removed == 0).cast(_DAY),
    ]
    return Table.of("meter", SCHEMAS["meter"], columns).batches()


def _reading_batch(cfg: Config, a: Accounts) -> Iterator[pa.RecordBatch]:
    r = readings(cfg, a)
    columns = [
        r.number,
        _named("M", a.number[r.account] * 10 + r.second),
        r.day,
        np.where(r.metric, r.litres, r.litres * 1000),
        pc.if_else(pa.array(r.metric), "t", "L"),
        r.estimated,
        pa.array(r.corrects, pa.int64(), mask=r.corrects == 0),
        r.recorded,
    ]
    return Table.of("reading", SCHEMAS["reading"], columns).batches()


def tables(cfg: Config) -> list[Table]:
    """All raw tables of the department."""
    bands: list[list[Any]] = [list(column) for column in zip(*band_rows(), strict=True)]
    limits = [np.array(column, dtype=np.int64) for column in bands[3:]]

    def streamed(name: str, batch: Any) -> Table:
        def batches() -> Iterator[pa.RecordBatch]:
            return (b for part in _chunks(cfg) for b in batch(cfg, part))

        return Table(name, SCHEMAS[name], batches, _INDEXES.get(name, ()), _KEYS[name])

    return [
        streamed("account", _account_batch),
        streamed("meter", _meter_batch),
        streamed("reading", _reading_batch),
        Table.of("band", SCHEMAS["band"], [*bands[:3], *limits]),
    ]


def _truth(cfg: Config) -> Table:
    world, d, w = companies(cfg), draught(cfg), works(cfg)
    shape = d.litres.shape
    years = np.array(cfg.year_list, dtype=np.int64)

    def flat(values: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(values, shape).ravel()

    columns = {
        "company": flat(world.newest[world.n_users : world.n_users + world.n_others][:, None]),
        "year": flat(years[None, :]),
        "litres": flat(d.litres),
        "february": flat(d.february),
        "leak": flat(w.leak[:, window(cfg)]),
        "declared_milli": flat(d.declared),
    }
    keep = d.present.ravel()
    arrays = [pa.array(values[keep]) for values in columns.values()]
    schema = pa.schema([(name, array.type) for name, array in zip(columns, arrays, strict=True)])
    return Table.of("use", schema, arrays)


def write(cfg: Config, out: Path) -> Answers:
    """Writes `silos/water/water.db` and the companies' true use."""
    return Answers(
        files=[
            write_sqlite(out / "silos" / "water" / "water.db", tables(cfg)),
            write_parquet(out / "truth" / "water_use.parquet", _truth(cfg)),
        ]
    )
