"""The chemicals register's raw store: purchases, imports, stock filings and the substance list.

`silos/chemicals/register.db` is what sits behind the department's REST service (`register.py` serves it): one
table per collection, each row one JSON document in the order of delivery. Quantities are exact: every line is
a whole (or half) number of its unit, and a last line in grams takes what is left of the year's deal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from atoll.city.base import Answers, Config, Table, day_number, year_days, year_of
from atoll.city.catalogue import DENSITY, SCHEME_DATES, SUBSTANCES, scheme_of, substance_code
from atoll.city.companies import ABSORBED, ALL_YEARS, FAR, SWITCH, Companies, companies, company_names, spread_day
from atoll.city.ids import Texts, org_codes, permuted, reg_nos, usccs
from atoll.city.ledger import (
    DEAD,
    DRUMS,
    DUPLICATES,
    IMPORT,
    LATE_CORRECTION,
    PAPER,
    SALE,
    SHELL_SALE,
    Balance,
    Deals,
    balance,
    deals,
    ledger,
)
from atoll.city.rng import Bools, Ints, Rng
from atoll.city.write import write_parquet

UNITS: Texts = np.array(["t", "kg", "jin", "drum", "L", "g"])
_T, _KG, _JIN, _DRUM, _LITRE, _GRAM = range(6)
_UNIT_GRAMS: Ints = np.array([1_000_000, 1000, 500, 200, 1, 1], dtype=np.int64)  # times density for drum, L
_UNIT_ODDS: Ints = np.array([_T, _KG, _KG, _KG, _JIN, _JIN, _DRUM, _LITRE], dtype=np.int64)
_PURITIES: Ints = np.array([1000, 1000, 980, 500], dtype=np.int64)
_MOST_LINES = 3
UNKNOWN_LINES = 7
"""D31: purchase lines of a buyer that no register knows."""


@dataclass(frozen=True)
class Lines:
    """Lines of current documents, in order of (deal, document, line)."""

    deal: Ints  # row of `Papers.deals`
    document: Ints  # row of Papers' document columns
    line: Ints  # from 1
    unit: Ints
    qty_milli: Ints
    purity_milli: Ints
    density: Ints  # 0: none
    second: Ints  # which of two local codes
    grams: Ints


@dataclass(frozen=True)
class Papers:
    """All purchase and import documents: one row per document in the first block, one per line in `lines`."""

    deals: Deals
    deal: Ints  # [document] row of deals
    number: Ints  # [document]
    day: Ints
    received: Ints
    revised: Bools  # D21: an earlier version said otherwise
    replaces: Bools  # D21: an earlier document said otherwise and is named in `supersedes`
    twice: Bools  # D22
    lines: Lines


@lru_cache(maxsize=1)
def papers(cfg: Config) -> Papers:
    """Documents of every documented deal and import of a Config's years."""
    all_deals = deals(cfg)
    chosen = all_deals.take(np.flatnonzero(all_deals.documented & (all_deals.what != PAPER)))
    lines, document_of = _lines(cfg, chosen)
    firsts = np.flatnonzero(np.diff(document_of, prepend=-1))
    numbers = document_of[firsts]
    deal = numbers // 8
    key, place = chosen.key[deal], numbers % 8
    rng = Rng(cfg.seed, "chemicals.document")
    fraction = rng.integers(0, (1 << 20) - 1, key, place, 0)
    day = year_days(chosen.year[deal]) + (fraction * (chosen.last_day[deal] + 1) >> 20)
    delay = np.where(
        rng.chances(cfg.rate(80_000), key, place, 1),
        rng.integers(20, 90, key, place, 2),
        rng.integers(0, 5, key, place, 2),
    )
    role = _role(cfg, chosen.owner[deal])
    revised = rng.chances(np.where(role == LATE_CORRECTION, cfg.rate(500_000), cfg.rate(30_000)), key, place, 3)
    delay = np.where(revised & (role == LATE_CORRECTION), rng.integers(60, 90, key, place, 2), delay)
    twice_odds = np.where(role == DUPLICATES, cfg.rate(400_000), cfg.rate(15_000))
    return Papers(
        deals=chosen,
        deal=deal,
        number=key * 8 + place,
        day=day,
        received=day + delay,
        revised=revised,
        replaces=rng.chances(cfg.rate(20_000), key, place, 4),
        twice=rng.chances(twice_odds, key, place, 5),
        lines=replace(lines, document=np.cumsum(np.diff(document_of, prepend=-1) != 0) - 1),
    )


def _role(cfg: Config, positions: Ints) -> Ints:
    users = companies(cfg).n_users
    role: Ints = np.where(positions < users, positions % 24, -1)
    return role


def _lines(cfg: Config, d: Deals) -> tuple[Lines, Ints]:
    """Lines and, for each, deal * 8 + place of its document within the deal (two lines a document)."""
    rng = Rng(cfg.seed, "chemicals.line")
    key, slot = d.key[:, None], np.arange(_MOST_LINES, dtype=np.int64)[None, :]
    count = rng.integers(2, _MOST_LINES, d.key, 0)[:, None]
    unit = _UNIT_ODDS[rng.integers(0, len(_UNIT_ODDS) - 1, key, slot, 1)]
    unit = np.where((_role(cfg, d.owner) == DRUMS)[:, None], _DRUM, unit)
    fluid = (unit == _DRUM) | (unit == _LITRE)
    purity = _PURITIES[rng.integers(0, len(_PURITIES) - 1, key, slot, 2)]
    purity = np.where(fluid & (purity == 980), 1000, purity)
    density = np.where(fluid, DENSITY[d.substance][:, None], 0)
    # halves of tonnes and kilograms are filed too
    step_milli = np.where((unit == _T) | (unit == _KG), 500, 1000)
    step_grams = _UNIT_GRAMS[unit] * np.where(fluid, density, 1) * purity // 1000 * step_milli // 1000
    weight = np.where(slot < count, rng.integers(30, 70, key, slot, 3), 0)
    steps = d.grams[:, None] * weight // weight.sum(axis=1)[:, None] // step_grams
    grams = steps * step_grams
    rest = (d.grams - grams.sum(axis=1))[:, None]

    def with_rest(values: Ints, last: Any) -> Ints:
        joined: Ints = np.concatenate([values, np.broadcast_to(last, rest.shape)], axis=1)
        return joined

    all_grams = with_rest(grams, rest)
    place = np.minimum(np.arange(_MOST_LINES + 1, dtype=np.int64), count) // 2
    rows, columns = np.nonzero(all_grams)
    document = rows * 8 + np.broadcast_to(place, all_grams.shape)[rows, columns]
    starts = np.flatnonzero(np.diff(document, prepend=-1))
    line = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows))) + 1
    lines = Lines(
        deal=rows,
        document=document,
        line=line,
        unit=with_rest(unit, _GRAM)[rows, columns],
        qty_milli=with_rest(steps * step_milli, rest * 1000)[rows, columns],
        purity_milli=with_rest(purity, 1000)[rows, columns],
        density=with_rest(density, 0)[rows, columns],
        second=rng.integers(0, 1, d.key[rows], columns, 4),
        grams=all_grams[rows, columns],
    )
    return lines, document


# --- what a naive reader would sum ------------------------------------------------------------------


def naive_balances(cfg: Config) -> dict[str, Balance]:
    """Balances of readers who ignore one rule of this department."""
    p, true = papers(cfg), balance(cfg)
    lines, d = p.lines, p.deals
    grams, year, dead = lines.grams, d.year[lines.deal], d.what[lines.deal] == DEAD
    revised, replaced, twice = (flag[lines.document] for flag in (p.revised, p.replaces, p.twice))
    # of an older version only the first line differs: the others are struck out as doubles
    stale = np.where(lines.line == 1, 2 * grams * revised, 0)
    stale += np.where(lines.line == 1, 2, 1) * grams * replaced
    as_kilograms = lines.qty_milli * lines.purity_milli // 1000
    absorbed = companies(cfg).kind[d.buyer[lines.deal]] == ABSORBED

    def more(change: Ints) -> Balance:
        return replace(
            true,
            input=true.input + _per_user(cfg, lines.deal, change, year),
            dead=true.dead + _per_user(cfg, lines.deal, change * dead, year),
        )

    return {
        "D20": more(as_kilograms - grams),
        "D21": more(stale),
        "D22": more(grams * twice),
        "D23": _by_receipt(cfg),
        "merger": more(-grams * absorbed),
    }


def _by_receipt(cfg: Config) -> Balance:
    """D23 ignored: papers count in the year in which they were received."""
    p, true, world, every = papers(cfg), balance(cfg), companies(cfg), deals(cfg)
    lines, d = p.lines, p.deals
    year, day = year_of(p.received[lines.document]), p.day[lines.document]
    buyer = d.buyer[lines.deal]
    # what arrives late may arrive after its number has expired
    old_number = (day < SWITCH["chemicals"]) | (d.what[lines.deal] == DEAD)
    last_day = np.where(day < world.second_from[buyer], world.second_from[buyer] - 1, FAR)
    expired = year > year_of(np.where(old_number, SWITCH["chemicals"] - 1, last_day))
    moved = _per_user(cfg, lines.deal, lines.grams, year) - _per_user(cfg, lines.deal, lines.grams, d.year[lines.deal])

    def pair(seller: Ints, other: Ints, when: Ints) -> Ints:
        key: Ints = (seller * len(world.number) + other) * 10_000 + when
        return key

    # and a sale whose papers all arrive late looks like one without papers
    bare = ~np.isin(pair(every.seller, every.buyer, every.year), pair(d.seller[lines.deal], buyer, year))
    bare &= every.documented & np.isin(every.what, (SALE, SHELL_SALE))
    paper = np.zeros_like(true.paper)
    np.add.at(paper, (every.seller[bare], every.year[bare] - cfg.first_year), every.grams[bare])
    return replace(
        true,
        input=true.input + moved,
        dead=_per_user(cfg, lines.deal, lines.grams * expired, year),
        paper=true.paper + paper,
    )


def _per_user(cfg: Config, deal: Ints, grams: Ints, years: Ints) -> Ints:
    """Sums [user, year] over a Config's years, by the surviving buyer."""
    world, width = companies(cfg), len(cfg.year_list)
    user = world.survivor[papers(cfg).deals.buyer[deal]]
    inside = (user < world.n_users) & (years >= cfg.first_year) & (years <= cfg.last_year)
    totals = np.zeros(world.n_users * width, dtype=np.int64)
    np.add.at(totals, (user * width + years - cfg.first_year)[inside], grams[inside])
    return totals.reshape(world.n_users, width)


# --- JSON documents ---------------------------------------------------------------------------------


def quantity(milli: int) -> str:
    """Thousandths as the register writes numbers: no needless zeros."""
    whole, part = divmod(milli, 1000)
    return f"{whole}.{part:03d}".rstrip("0") if part else str(whole)


def _dates(days: Ints) -> list[str]:
    texts: list[str] = days.astype("datetime64[D]").astype(str).tolist()
    return texts


def _documents(cfg: Config, wanted: Bools, buyer_role: str) -> list[tuple[int, str, bytes]]:
    """(received, document number, body) of the wanted documents, with their older and second deliveries."""
    p, world = papers(cfg), companies(cfg)
    d, lines = p.deals, p.lines
    dead = d.what[p.deal] == DEAD
    buyers = world.numbers_on(d.buyer[p.deal], p.day, "chemicals")
    buyers = np.where(dead, world.reg_no[d.buyer[p.deal]], buyers).tolist()
    sellers = world.numbers_on(d.seller[p.deal], p.day, "chemicals").tolist()
    names = company_names(cfg, world.number)
    buyer_names, seller_names = names[d.buyer[p.deal]].tolist(), names[d.seller[p.deal]].tolist()
    days, received = _dates(p.day), p.received.tolist()
    bodies = _line_bodies(d, lines)
    ends = np.cumsum(np.bincount(lines.document, minlength=len(p.number))).tolist()
    made: list[tuple[int, str, bytes]] = []
    prefix = "P" if buyer_role == "buyer" else "I"
    for n in np.flatnonzero(wanted).tolist():
        number = f"{prefix}{int(p.number[n]):012d}"
        parties: dict[str, Any] = {buyer_role: {"orgNo": buyers[n], "name": buyer_names[n]}}
        if buyer_role == "buyer":
            parties["seller"] = {"orgNo": sellers[n], "name": seller_names[n]}
        mine = bodies[ends[n - 1] if n else 0 : ends[n]]
        old = [
            {**line, "qty": quantity(round(float(line["qty"]) * 2000))} if k == 0 else line
            for k, line in enumerate(mine)
        ]
        version = 2 if p.revised[n] else 1
        supersedes = number + "E" if p.replaces[n] else None
        final = (number, version, supersedes, received[n], mine)
        editions = [final, final] if p.twice[n] else [final]
        first_seen = max(received[n] - 15, int(p.day[n]))
        if p.revised[n]:
            editions.append((number, 1, supersedes, first_seen, old))
        if p.replaces[n]:
            editions.append((number + "E", 1, None, first_seen, old))
        for doc_no, edition, replaced, seen, content in editions:
            body = {
                "docNo": doc_no,
                "version": edition,
                "supersedes": replaced,
                "date": days[n],
                "received": _dates(np.array([seen]))[0],
                **parties,
                "lines": content,
            }
            made.append((seen, doc_no, orjson.dumps(body)))
    return made


def _line_bodies(d: Deals, lines: Lines) -> list[dict[str, Any]]:
    year = d.year[lines.deal]
    codes = substance_code(d.substance[lines.deal], year, lines.second).tolist()
    schemes = scheme_of(year).tolist()
    units = UNITS[lines.unit].tolist()
    return [
        {
            "substance": {"code": code, "scheme": scheme},
            "qty": quantity(qty),
            "unit": unit,
            "purity": quantity(purity),
            "density": density or None,
        }
        for code, scheme, unit, qty, purity, density in zip(
            codes,
            schemes,
            units,
            lines.qty_milli.tolist(),
            lines.purity_milli.tolist(),
            lines.density.tolist(),
            strict=True,
        )
    ]


def _unknown_buyers(cfg: Config) -> list[tuple[int, str, bytes]]:
    """D31: well-formed numbers that stand in no register."""
    if not cfg.dirt:
        return []
    world, rng = companies(cfg), Rng(cfg.seed, "chemicals.unknown")
    n = np.arange(UNKNOWN_LINES, dtype=np.int64)
    years = cfg.first_year + n % len(cfg.year_list)
    strangers = 60_000_000 + n
    company_rng = Rng(cfg.seed, "company")
    old = reg_nos(449901 + n % 5, permuted(strangers, 99_999_989, company_rng.word(0, 1)))
    new = usccs(449901 + n % 5, org_codes(strangers * 31 + 7))
    days = spread_day(years, rng.integers(0, (1 << 20) - 1, n, 0))
    seller = world.other(np.array([4, 5, 6, 8, 10, 11, 12], dtype=np.int64))
    sellers = world.numbers_on(seller, days, "chemicals")
    names = company_names(cfg, np.concatenate([strangers, world.number[seller]]))
    codes, schemes = substance_code(n % 6, years, n % 2), scheme_of(years)
    made = []
    for k in range(UNKNOWN_LINES):
        substance = {"code": str(codes[k]), "scheme": str(schemes[k])}
        line = {"substance": substance, "qty": str(100 + k), "unit": "kg", "purity": "1", "density": None}
        number, day = f"P9{k:011d}", _dates(days[k : k + 1])[0]
        body = {
            "docNo": number,
            "version": 1,
            "supersedes": None,
            "date": day,
            "received": day,
            "buyer": {"orgNo": str(old[k] if years[k] < 2018 else new[k]), "name": names[k]},
            "seller": {"orgNo": str(sellers[k]), "name": names[UNKNOWN_LINES + k]},
            "lines": [line],
        }
        made.append((int(days[k]), number, orjson.dumps(body)))
    return made


def _stock(cfg: Config) -> list[tuple[int, str, bytes]]:
    """Filings of every 31 December from the one before the first year, licensed users only."""
    world, book, rng = companies(cfg), ledger(cfg), Rng(cfg.seed, "chemicals.stock")
    made: list[tuple[int, str, bytes]] = []
    for year in range(cfg.first_year - 1, cfg.last_year + 1):
        day = day_number(date(year, 12, 31))
        column = year - int(ALL_YEARS[0])
        levels = book.stock_end[:, column] if column >= 0 else book.stock_begin[:, 0]
        made += _filings(cfg, world, levels, year, day, rng)
    return made


def _filings(
    cfg: Config, world: Companies, levels: Ints, year: int, day: int, rng: Rng
) -> list[tuple[int, str, bytes]]:
    book = ledger(cfg)
    users = np.arange(world.n_users, dtype=np.int64)
    years = np.full(world.n_users, year, dtype=np.int64)
    numbers = world.numbers_on(users, years * 0 + day, "chemicals").tolist()
    correct = np.where(book.role == LATE_CORRECTION, cfg.rate(500_000), cfg.rate(30_000))
    revised = rng.chances(correct, users, year, 0)
    first = levels * rng.integers(300, 700, users, year, 1) // 1000
    scheme = str(scheme_of(years[:1])[0])
    when = _dates(np.array([day]))[0]
    made = []
    for user in users.tolist():
        codes = SUBSTANCES[book.substance[user]].local if year < 2015 else ("",)
        parts = (int(first[user]), int(levels[user] - first[user])) if len(codes) == 2 else (int(levels[user]),)
        for second, grams in enumerate(parts):
            code = substance_code(book.substance[user : user + 1], years[:1], np.array([second]))[0]
            number = f"S{year}{int(world.number[user]):06d}{second}"
            for version in (1, 2) if revised[user] else (1,):
                stale = revised[user] and version == 1
                body = {
                    "filingNo": number,
                    "version": version,
                    "orgNo": numbers[user],
                    "date": when,
                    "substance": {"code": str(code), "scheme": scheme},
                    "qty": quantity(grams * 3 // 2 if stale else grams),
                    "unit": "kg",
                }
                made.append((day + 10 * version, number, orjson.dumps(body)))
    return made


def _substances() -> list[tuple[int, str, bytes]]:
    rows: list[tuple[int, str, bytes]] = []
    for scheme, (start, end) in SCHEME_DATES.items():
        for s in SUBSTANCES:
            for code in {"local": s.local, "cas": (s.cas,), "2019": (s.code_2019,)}[scheme]:
                body = {"scheme": scheme, "code": code, "cas": s.cas, "validFrom": start, "validTo": end}
                rows.append((len(rows), code, orjson.dumps(body)))
    return rows


# --- the store --------------------------------------------------------------------------------------

COLLECTIONS = ("substances", "stock", "purchases", "imports")


def store_path(root: Path) -> Path:
    """Where the register's raw store lies under a city's directory."""
    return root / "silos" / "chemicals" / "register.db"


def _store(path: Path, cfg: Config, collections: dict[str, list[tuple[int, str, bytes]]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    base = sqlite3.connect(path, isolation_level=None)
    try:
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("PRAGMA synchronous = OFF")
        base.execute("BEGIN")
        base.execute("CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT)")
        base.execute("INSERT INTO setting VALUES ('requests_per_second', ?)", (str(cfg.scale.requests_per_second),))
        for name, documents in collections.items():
            base.execute(f"CREATE TABLE {name} (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")
            delivered: Iterator[tuple[str]] = ((body.decode(),) for _, _, body in sorted(documents))
            base.executemany(f"INSERT INTO {name} (body) VALUES (?)", delivered)
        base.execute("COMMIT")
    finally:
        base.close()
    return path


def add_purchase(
    root: Path,
    *,
    doc_no: str,
    buyer: str,
    seller: str,
    day: date,
    code: str,
    scheme: str,
    qty: str,
    unit: str = "kg",
    purity: str = "1",
    density: int | None = None,
) -> None:
    """Adds one purchase document of one line to a city's raw store, as a late paper delivery would."""
    body = {
        "docNo": doc_no,
        "version": 1,
        "supersedes": None,
        "date": day.isoformat(),
        "received": day.isoformat(),
        "buyer": {"orgNo": buyer, "name": ""},
        "seller": {"orgNo": seller, "name": ""},
        "lines": [
            {
                "substance": {"code": code, "scheme": scheme},
                "qty": qty,
                "unit": unit,
                "purity": purity,
                "density": density,
            }
        ],
    }
    base = sqlite3.connect(store_path(root))
    try:
        with base:
            base.execute("INSERT INTO purchases (body) VALUES (?)", (orjson.dumps(body).decode(),))
    finally:
        base.close()


def write(cfg: Config, out: Path) -> Answers:
    """Writes the register's raw store and the users' true books."""
    p = papers(cfg)
    imported = p.deals.what[p.deal] == IMPORT
    path = _store(
        store_path(out),
        cfg,
        {
            "substances": _substances(),
            "stock": _stock(cfg),
            "purchases": _documents(cfg, ~imported, "buyer") + _unknown_buyers(cfg),
            "imports": _documents(cfg, imported, "importer"),
        },
    )
    return Answers(files=[path, write_parquet(out / "truth" / "chemicals_balance.parquet", _truth(cfg))])


def _truth(cfg: Config) -> Table:
    world, book, b = companies(cfg), ledger(cfg), balance(cfg)
    years = np.array(cfg.year_list, dtype=np.int64)
    shape = (world.n_users, len(years))
    at = slice(cfg.first_year - 2013, cfg.last_year - 2012)

    def flat(values: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(values, shape).ravel()

    columns: dict[str, NDArray[Any]] = {
        "company": flat(world.newest[: world.n_users, None]),
        "substance": flat(np.array([s.cas for s in SUBSTANCES])[book.substance][:, None]),
        "year": flat(years[None, :]),
        "role": flat(book.role[:, None]),
        "cheats": flat(book.cheats[:, at]),
        "true_waste": flat(book.waste[:, at]),
        "true_discharge": flat(book.discharge[:, at]),
        "declared_discharge": flat(b.quarters.sum(axis=2)),
    }
    for name in (
        "input",
        "imported",
        "produced",
        "bought",
        "dead",
        "sold",
        "paper",
        "stock_begin",
        "stock_end",
        "loss",
    ):
        columns[name] = flat(getattr(book, name)[:, at])
    arrays = [pa.array(values) for values in columns.values()]
    schema = pa.schema([(name, array.type) for name, array in zip(columns, arrays, strict=True)])
    return Table.of("balance", schema, arrays)
