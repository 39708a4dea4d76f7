"""The market supervision's raw tables: companies and their numbers, invoices, declared output, products.

MariaDB where a server is at hand, else `silos/market/market.db` (SQLite, decimals as text); both hold the
same rows. Invoices of the users' deals are exact parts of the deals; fillers are everybody's ordinary sales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.city.base import DISTRICTS, Answers, Config, Shape, Table, month_days, year_days
from atoll.city.catalogue import (
    CAS,
    GOODS_KG,
    GOODS_PC,
    INDUSTRY_2011,
    INDUSTRY_2017,
    MADE,
    PRODUCT_GRAMS,
    PRODUCTS,
    product_code,
    product_rows,
)
from atoll.city.companies import (
    ABSORBED,
    ALL_YEARS,
    FAR,
    MERGER,
    companies,
    company_names,
    founded_late,
    leaves_early,
)
from atoll.city.ids import Texts, people
from atoll.city.ledger import (
    DEAL_KINDS,
    IMPORT,
    PAPER,
    SALE,
    SHELL_SALE,
    VOIDS,
    Balance,
    Deals,
    balance,
    deals,
    ledger,
    neighbour,
)
from atoll.city.rng import Bools, Ints, Rng
from atoll.city.works import Draught, draught, works
from atoll.city.write import write_parquet, write_sqlite

_UNITS: Texts = np.array(["kg", "pc", "t"])
_PARTS = 4  # most invoices of a deal, before voided ones
_TEXT, _DAY = pa.string(), pa.date32()

_INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {"company": (("uscc",),)}
_KEYS = {"company": "reg_no", "sales_invoice": "invoice_no"}
SCHEMAS: dict[str, pa.Schema] = {
    "company": pa.schema(
        [
            *((n, _TEXT) for n in ("reg_no", "uscc", "old_reg_no", "name", "legal_person", "legal_person_id")),
            *((n, _TEXT) for n in ("district_code", "industry_code", "industry_std")),
            *((n, _DAY) for n in ("registered_on", "deregistered_on")),
            ("status", _TEXT),
        ]
    ),
    "identity_map": pa.schema(
        [
            *((n, _TEXT) for n in ("reg_no15", "org_code9", "uscc")),
            *((n, _DAY) for n in ("valid_from", "valid_to")),
            ("reason", _TEXT),
        ]
    ),
    "output_declaration": pa.schema(
        [
            *((n, _TEXT) for n in ("uscc", "period", "product_code")),
            ("qty", pa.decimal128(14, 3)),
            ("unit", _TEXT),
            ("amount_yuan", pa.decimal128(14, 2)),
            ("version", pa.int32()),
        ]
    ),
    "industry_map": pa.schema([("code_2011", _TEXT), ("code_2017", _TEXT)]),
    "district_history": pa.schema(
        [
            *((n, _TEXT) for n in ("district_code", "parent_code", "name")),
            *((n, _DAY) for n in ("valid_from", "valid_to")),
        ]
    ),
    "sales_invoice": pa.schema(
        [
            *((n, _TEXT) for n in ("invoice_no", "seller_uscc", "buyer_uscc", "product_code")),
            ("qty", pa.decimal128(14, 3)),
            ("unit", _TEXT),
            ("amount_yuan", pa.decimal128(14, 2)),
            ("issued_on", _DAY),
            ("voids", _TEXT),
        ]
    ),
    "product": pa.schema(
        [
            ("product_code", _TEXT),
            ("scheme_year", pa.int32()),
            *((n, _TEXT) for n in ("name", "role", "substance_cas")),
            ("g_per_unit", pa.decimal128(12, 3)),
            ("unit", _TEXT),
        ]
    ),
}


SHAPES: tuple[Shape, ...] = tuple(Shape(n, s, _INDEXES.get(n, ()), _KEYS.get(n)) for n, s in SCHEMAS.items())
"""The tables without rows, for servers."""


# --- dirty codes (D14) ------------------------------------------------------------------------------

_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def _dirty(code: str, form: int) -> str:
    if form == 0:
        return code[:6].translate(_WIDE) + code[6:]
    if form == 1 and code.lower() != code:
        return code.lower()
    return f" {code[:6]} {code[6:]}" if form == 2 else f"{code[:8]}\u3000{code[8:]} "


def with_dirt(codes: Texts, dirty: Bools, key: Ints) -> NDArray[Any]:
    """The codes, some of them written with full-width digits, blanks or in lower case."""
    if not dirty.any():
        return codes
    written = codes.astype(object)
    for row in np.flatnonzero(dirty).tolist():
        written[row] = _dirty(str(codes[row]), int(key[row]) % 4)
    return written


def _is_dirty(cfg: Config, table: str, key: Ints, side: int) -> Bools:
    return Rng(cfg.seed, table + ".dirt").chances(cfg.rate(10_000), key, side)


# --- invoices ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Invoices:
    """Rows of invoices; quantities in thousandths of `unit` (index of kg, pc, t), grams signed."""

    number: Ints
    voids: Ints  # number of the voided invoice, 0: none
    seller: Ints
    buyer: Ints
    meaning: Ints
    code_year: Ints  # year whose scheme the product code is written in
    qty_milli: Ints
    unit: Ints
    cents: Ints
    day: Ints
    grams: Ints


@lru_cache(maxsize=1)
def deal_invoices(cfg: Config) -> tuple[Deals, Ints, Invoices]:
    """Invoices of all deals: the deals, each invoice's row among them, the invoices."""
    every = deals(cfg)
    d = every.take(np.flatnonzero(every.what != IMPORT))
    rng = Rng(cfg.seed, "market.invoice")
    meaning = _product_of(cfg, d)
    per_unit = PRODUCT_GRAMS[meaning]
    slot = np.arange(_PARTS, dtype=np.int64)[None, :]
    key = d.key[:, None]
    count = rng.integers(2, _PARTS, d.key, 0)[:, None]
    weight = np.where(slot < count, rng.integers(30, 70, key, slot, 1), 0)
    units = d.grams[:, None] * weight // weight.sum(axis=1)[:, None] // per_unit[:, None]
    # whole units first; the last invoice takes the rest, to a thousandth of the unit
    units = np.where(slot == count - 1, 0, units)
    grams = units * per_unit[:, None]
    grams = np.where(slot == count - 1, (d.grams - grams.sum(axis=1))[:, None], grams)
    whole = slot < count - 1

    day = year_days(d.year)[:, None] + (rng.integers(0, (1 << 20) - 1, key, slot, 2) * (d.last_day[:, None] + 1) >> 20)
    pair_grams, pair_base, pair_red = _pairs(cfg, d, per_unit, rng)
    grams = np.column_stack([grams, pair_grams, -pair_grams])
    day = np.column_stack([day, pair_base, pair_red])
    whole = np.broadcast_to(whole, (len(d.key), _PARTS))
    whole = np.column_stack([whole, np.zeros((len(d.key), 2), dtype=bool)])

    rows, place = np.nonzero(grams)
    g = grams[rows, place]
    milli = g * 1000 // per_unit[rows]
    product_unit = np.array([int(p.unit == "pc") for p in PRODUCTS], dtype=np.int64)[meaning[rows]]
    in_tonnes = whole[rows, place] & (product_unit == 0) & rng.chances(200_000, d.key[rows], place, 3)
    number = 100_000_000_000 + d.key[rows] * 8 + place
    price = rng.integers(800, 9000, d.key[rows], 4)
    return (
        d,
        rows,
        Invoices(
            number=number,
            voids=np.where(place == _PARTS + 1, number - 1, 0),
            seller=d.seller[rows],
            buyer=d.buyer[rows],
            meaning=meaning[rows],
            code_year=d.year[rows],
            qty_milli=np.where(in_tonnes, milli // 1000, milli),
            unit=np.where(in_tonnes, 2, product_unit),
            cents=np.sign(g) * (np.abs(milli) * price // 1000),
            day=day[rows, place],
            grams=g,
        ),
    )


def _product_of(cfg: Config, d: Deals) -> Ints:
    """Users sell goods that hold the substance (by weight or by piece), suppliers the substance itself."""
    by_piece = Rng(cfg.seed, "market.product").integers(0, 1, d.seller, 0)
    goods = np.where(by_piece == 1, GOODS_PC, GOODS_KG)
    meaning: Ints = np.where(np.isin(d.what, (SALE, PAPER, SHELL_SALE)), goods, MADE) + d.substance
    return meaning


def _pairs(cfg: Config, d: Deals, per_unit: Ints, rng: Rng) -> tuple[Ints, Ints, Ints]:
    """D12: an extra invoice and the red letter that voids it, as (grams, day, day); grams 0 for none."""
    world, book = companies(cfg), ledger(cfg)
    decoy = (d.what == SALE) & (d.key % 16 == 5) & (d.seller % 24 == VOIDS)
    chosen = rng.chances(np.where(decoy, 1_000_000 if cfg.dirt else 0, cfg.rate(60_000)), d.key, 5)
    chosen &= (d.last_day == 359) & (world.kind[d.buyer] != ABSORBED) & (d.what != PAPER)
    owner_input = book.input[np.where(decoy, d.owner, 0), d.year - 2013]
    share = rng.integers(100, 200, d.key, 6)
    grams = np.where(decoy, owner_input, d.grams) * share // 1000 // per_unit * per_unit
    start = year_days(d.year)
    base = start + rng.integers(270, 340, d.key, 7)
    # most are voided early in the next year, which a Config's last year does not have
    next_year = (d.year < cfg.last_year) & rng.chances(800_000, d.key, 8)
    red = np.where(
        next_year,
        year_days(d.year + 1) + rng.integers(3, 80, d.key, 9),
        start + rng.integers(345, 363, d.key, 9),
    )
    return np.where(chosen, grams, 0), base, red


def _fillers(cfg: Config) -> Iterator[Invoices]:
    """Ordinary sales of plain goods by other companies; `fillers` invoices per company and year."""
    world, w = companies(cfg), works(cfg)
    others = np.arange(world.n_others, dtype=np.int64)
    sellers = others[~leaves_early(others)]
    per_chunk = max(1, 250_000 // (cfg.scale.fillers * len(cfg.year_list)))
    for start in range(0, len(sellers), per_chunk):
        chunk = sellers[start : start + per_chunk]
        seller, year, k = (
            a.ravel()
            for a in np.meshgrid(
                chunk,
                np.array(cfg.year_list, dtype=np.int64),
                np.arange(cfg.scale.fillers, dtype=np.int64),
                indexing="ij",
            )
        )
        working = w.active[seller, year - 2013]
        yield _filler_rows(cfg, seller[working], year[working], k[working])


def _filler_rows(cfg: Config, seller: Ints, year: Ints, k: Ints) -> Invoices:
    world, w = companies(cfg), works(cfg)
    rng = Rng(cfg.seed, "market.filler")
    at = world.other(seller)
    number = 200_000_000_000 + (world.number[at] * 100 + year - 2000) * 1000 + k
    buyer = neighbour(seller, rng.integers(0, 10_000, number, 0))
    # who has left or not yet come buys nothing
    absent = leaves_early(buyer) | founded_late(buyer)
    buyer = np.where(absent, seller // 12 * 12 + (seller % 12 == 0), buyer)
    units = rng.integers(5, 4000, number, 1)
    day = year_days(year) + (rng.integers(0, (1 << 20) - 1, number, 2) * 365 >> 20)
    # every 100th sale is the red letter of the one before it
    red = (k % 100 == 99) & bool(cfg.dirt)
    base_number = number - red
    units = np.where(red, -rng.integers(5, 4000, base_number, 1), units)
    buyer = np.where(red, np.roll(buyer, 1), buyer)
    base_day = np.where(red, np.roll(day, 1), day)
    year_end = year_days(year + 1) - 1
    day = np.where(red, np.minimum(base_day + 20, year_end), day)
    return Invoices(
        number=number,
        voids=np.where(red, base_number, 0),
        seller=at,
        buyer=world.other(buyer),
        meaning=w.meaning[seller],
        code_year=year,
        qty_milli=units * 1000,
        unit=w.unit[seller],
        cents=units * rng.integers(300, 20_000, world.number[at], 3),
        day=day,
        grams=np.zeros(len(seller), dtype=np.int64),
    )


def _numbers_text(numbers: Ints, prefix: str) -> Any:
    digits = pa.array(numbers, pa.int64()).cast(_TEXT)
    return pc.binary_join_element_wise(pa.scalar(prefix), digits, "")


def _invoice_batch(cfg: Config, rows: Invoices) -> pa.RecordBatch:
    world = companies(cfg)
    seller, buyer = (world.numbers_on(side, rows.day, "market") for side in (rows.seller, rows.buyer))
    table = Table.of(
        "sales_invoice",
        SCHEMAS["sales_invoice"],
        [
            _numbers_text(rows.number, "F"),
            with_dirt(seller, _is_dirty(cfg, "sales_invoice", rows.number, 0), rows.number),
            with_dirt(buyer, _is_dirty(cfg, "sales_invoice", rows.number, 1), rows.number),
            product_code(rows.meaning, rows.code_year),
            rows.qty_milli,
            _UNITS[rows.unit],
            rows.cents,
            rows.day,
            pc.if_else(pa.array(rows.voids > 0), _numbers_text(rows.voids, "F"), pa.scalar(None, _TEXT)),
        ],
    )
    return pa.Table.from_batches(table.batches()).combine_chunks().to_batches()[0]


def _invoice_batches(cfg: Config) -> Iterator[pa.RecordBatch]:
    _, _, mine = deal_invoices(cfg)
    order = np.argsort(mine.number)
    for start in range(0, len(order), 250_000):
        chosen = order[start : start + 250_000]
        part = {name: getattr(mine, name)[chosen] for name in Invoices.__dataclass_fields__}
        yield _invoice_batch(cfg, Invoices(**part))
    for rows in _fillers(cfg):
        yield _invoice_batch(cfg, rows)


# --- declared output --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Declarations:
    """Rows of declared output, current versions; `first_milli` is what version 1 said where there are two."""

    company: Ints
    year: Ints
    month: Ints
    meaning: Ints
    unit: Ints
    milli: Ints  # thousandths of the product's own unit
    first_milli: Ints
    redeclared: Bools
    key: Ints


@lru_cache(maxsize=1)
def declarations(cfg: Config) -> Declarations:
    """Monthly declarations: plain goods of other companies; goods and substance made of users."""
    world, book, w = companies(cfg), ledger(cfg), works(cfg)
    users = np.arange(world.n_users, dtype=np.int64)
    by_piece = Rng(cfg.seed, "market.product").integers(0, 1, users, 0)
    goods = np.where(by_piece == 1, GOODS_PC, GOODS_KG) + book.substance
    made = MADE + book.substance
    streams = (
        (world.other(np.arange(world.n_others, dtype=np.int64)), w.meaning, w.declared),
        (users, goods, book.sold * 1000 // PRODUCT_GRAMS[goods][:, None]),
        (users, made, book.produced * 1000 // PRODUCT_GRAMS[made][:, None]),
    )
    parts = [_monthly(cfg, n, *stream) for n, stream in enumerate(streams)]
    names = Declarations.__dataclass_fields__
    return Declarations(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _monthly(cfg: Config, stream: int, company: Ints, meaning: Ints, annual: Ints) -> Declarations:
    world, rng = companies(cfg), Rng(cfg.seed, "market.output")
    key = (world.number[company][:, None, None] * 100 + ALL_YEARS[None, :, None] - 2000) * 12
    key = (key + np.arange(12, dtype=np.int64)[None, None, :]) * 3 + stream
    weights = rng.integers(80, 120, key, 0)
    ends = annual[:, :, None] * np.cumsum(weights, axis=2) // weights.sum(axis=2)[:, :, None]
    # months end on whole units, so that a month may be declared in tonnes; December takes the rest
    ends[:, :, :-1] -= ends[:, :, :-1] % 1000
    milli = np.diff(ends, axis=2, prepend=0)
    years = np.broadcast_to(ALL_YEARS[None, :, None], milli.shape)
    inside = (milli > 0) & (years >= cfg.first_year) & (years <= cfg.last_year)
    who, _, month = np.nonzero(inside)
    kept, key = milli[inside], key[inside]
    unit = np.array([int(p.unit == "pc") for p in PRODUCTS], dtype=np.int64)[meaning[who]]
    # only users' outputs are declared in tonnes at times
    tonnes = (unit == 0) & (stream > 0) & (kept % 1000 == 0) & rng.chances(200_000, key, 1)
    return Declarations(
        company=company[who],
        year=years[inside],
        month=month,
        meaning=meaning[who],
        unit=np.where(tonnes, 2, unit),
        milli=kept,
        first_milli=kept * rng.integers(2, 4, key, 2),
        redeclared=rng.chances(cfg.rate(30_000), key, 3),
        key=key,
    )


def _declaration_table(cfg: Config) -> Table:
    world, d = companies(cfg), declarations(cfg)
    last_day = month_days((d.year - 1970) * 12 + d.month + 1) - 1
    codes = with_dirt(
        world.numbers_on(d.company, last_day, "market"),
        _is_dirty(cfg, "output_declaration", d.key, 0),
        d.key,
    )
    period = (d.year * 100 + d.month + 1).astype(str)
    code = product_code(d.meaning, d.year)
    scaled = np.where(d.unit == 2, 1000, 1)
    # both versions stand under the same (code, period, product), written the same way
    again = np.flatnonzero(d.redeclared)
    rows = np.concatenate([np.arange(len(d.key)), again])
    milli = np.concatenate([d.milli // scaled, (d.first_milli // scaled)[again]])
    version = np.concatenate([1 + d.redeclared.astype(np.int64), np.ones(len(again), dtype=np.int64)])
    order = np.lexsort((version, d.key[rows]))
    rows, milli, version = rows[order], milli[order], version[order]
    columns = [codes[rows], period[rows], code[rows], milli, _UNITS[d.unit[rows]], milli * 7, version]
    return Table.of("output_declaration", SCHEMAS["output_declaration"], columns)


# --- the register -----------------------------------------------------------------------------------


def _days(days: Ints) -> Any:
    """Dates, FAR as NULL."""
    return pa.array(np.where(days == FAR, 0, days).astype(np.int32), pa.int32(), mask=days == FAR).cast(_DAY)


def _company_table(cfg: Config) -> Table:
    world, rng = companies(cfg), Rng(cfg.seed, "market.company")
    person = people(cfg.seed, world.legal_person)
    old = (world.registered < 13_500) & rng.chances(400_000, world.number, 0)
    old_no = (rng.integers(0, 899_999, world.number, 1) + 4_499_000_000_000 + world.number * 1_000).astype(str)
    active = np.isin(world.deregistered, (FAR,))
    status = np.where(active, "active", np.where(world.kind == ABSORBED, "merged", "deregistered"))
    industry = np.where(world.std_2011, INDUSTRY_2011[world.industry], INDUSTRY_2017[world.industry, world.variant])
    reissued = world.second_uscc != ""
    columns = [
        world.reg_no,
        np.where(reissued, world.second_uscc, world.first_uscc),
        pa.array(old_no, _TEXT, mask=~old),
        company_names(cfg, world.number),
        person.name,
        person.id18,
        world.district.astype(str),
        industry,
        np.where(world.std_2011, "2011", "2017"),
        world.registered,
        _days(world.deregistered),
        status,
    ]
    return Table.of("company", SCHEMAS["company"], columns, _INDEXES["company"], _KEYS["company"])


def _identity_table(cfg: Config) -> Table:
    world = companies(cfg)
    again = np.flatnonzero(world.second_uscc != "")
    merged = np.flatnonzero(world.kind == ABSORBED)
    everyone = np.arange(len(world.number))
    ends = np.where(world.second_from < FAR, world.second_from - 1, FAR)
    ends[merged] = MERGER - 1
    rows = np.concatenate([everyone, again, merged])
    uscc = np.concatenate([world.first_uscc, world.second_uscc[again], world.newest[merged]])
    start = np.concatenate([world.first_from, world.second_from[again], np.full(len(merged), MERGER)])
    end = np.concatenate([ends, np.full(len(again) + len(merged), FAR)])
    sizes = (len(everyone), len(again), len(merged))
    reason = np.repeat(np.array(["reform", "reissue", "merger"]), sizes)
    order = np.lexsort((start, world.number[rows]))
    key = (world.number[rows] * 2 + (reason != "reform"))[order]
    reg_no, code = world.reg_no[rows][order], uscc[order]
    columns = [
        with_dirt(reg_no, _is_dirty(cfg, "identity_map", key, 0), key),
        np.array([c[8:17] for c in code]),
        with_dirt(code, _is_dirty(cfg, "identity_map", key, 1), key),
        start[order],
        _days(end[order]),
        reason[order],
    ]
    return Table.of("identity_map", SCHEMAS["identity_map"], columns)


def tables(cfg: Config) -> list[Table]:
    """All raw tables of the department."""
    districts = [[getattr(d, n) for d in DISTRICTS] for n in ("code", "parent", "name", "valid_from", "valid_to")]
    products: list[list[Any]] = [list(column) for column in zip(*product_rows(), strict=True)]
    products[5] = [None if milli is None else Decimal(milli).scaleb(-3) for milli in products[5]]
    successors = [[str(c) for c in np.repeat(INDUSTRY_2011, 2)], [str(c) for c in INDUSTRY_2017.ravel()]]
    return [
        _company_table(cfg),
        _identity_table(cfg),
        _declaration_table(cfg),
        Table.of("industry_map", SCHEMAS["industry_map"], successors),
        Table.of("district_history", SCHEMAS["district_history"], districts),
        Table(
            "sales_invoice",
            SCHEMAS["sales_invoice"],
            lambda: _invoice_batches(cfg),
            primary_key=_KEYS["sales_invoice"],
        ),
        Table.of("product", SCHEMAS["product"], products),
    ]


# --- what a naive reader would sum ------------------------------------------------------------------


def _by_user_year(cfg: Config, user: Ints, year: Ints, values: Ints) -> Ints:
    """Sums [user, year] over a Config's years."""
    world, width = companies(cfg), len(cfg.year_list)
    inside = (user < world.n_users) & (year >= cfg.first_year) & (year <= cfg.last_year)
    totals = np.zeros(world.n_users * width, dtype=np.int64)
    np.add.at(totals, (user * width + year - cfg.first_year)[inside], values[inside])
    return totals.reshape(world.n_users, width)


def naive_balances(cfg: Config) -> dict[str, Balance]:
    """Q1's balances of readers who ignore one rule of this department."""
    d, deal, rows = deal_invoices(cfg)
    out, true, book = declarations(cfg), balance(cfg), ledger(cfg)
    paper = d.what[deal] == PAPER
    issue_year = rows.day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    moved = (rows.voids > 0) & (issue_year != rows.code_year)
    readable = (issue_year < 2018) == (rows.code_year < 2018)  # else the code means something else
    restored = _by_user_year(cfg, rows.seller, rows.code_year, -rows.grams * moved)
    charged = _by_user_year(cfg, rows.seller, issue_year, rows.grams * (moved & readable))

    lost = _is_dirty(cfg, "sales_invoice", rows.number, 0) | _is_dirty(cfg, "sales_invoice", rows.number, 1)
    sold_lost = _by_user_year(cfg, rows.seller, rows.code_year, rows.grams * lost)
    paper_lost = _by_user_year(cfg, rows.seller, rows.code_year, rows.grams * (lost & paper))
    made = np.where(np.isin(out.meaning, range(MADE, MADE + 6)), PRODUCT_GRAMS[out.meaning], 0)
    dirty = _is_dirty(cfg, "output_declaration", out.key, 0)
    produced_lost = _by_user_year(cfg, out.company, out.year, out.milli * made // 1000 * dirty)
    doubled = _by_user_year(cfg, out.company, out.year, out.first_milli * made // 1000 * out.redeclared)

    late = np.array(cfg.year_list) >= 2018
    produced = book.produced[:, cfg.first_year - 2013 : cfg.last_year - 2012]
    return {
        "D12": replace(true, sold=true.sold + restored + charged),
        "D13": replace(true, input=true.input + doubled),
        "D14": replace(
            true,
            input=true.input - produced_lost,
            sold=true.sold - sold_lost,
            paper=true.paper - paper_lost,
        ),
        "D28": replace(
            true,
            input=true.input - produced * late,
            sold=true.sold * ~late,
            paper=true.paper * ~late,
        ),
    }


def naive_draughts(cfg: Config) -> dict[str, Draught]:
    """Q2's draughts of readers who ignore one rule of this department."""
    world, out, true = companies(cfg), declarations(cfg), draught(cfg)
    plain = (out.company >= world.n_users) & (out.company < world.n_users + world.n_others)
    at = (out.company - world.n_users)[plain], out.year[plain] - cfg.first_year

    def changed(values: Ints) -> Draught:
        declared = true.declared.copy()
        np.add.at(declared, at, values[plain])
        return replace(true, declared=declared)

    dirty = _is_dirty(cfg, "output_declaration", out.key, 0)
    others = world.other(np.arange(world.n_others, dtype=np.int64))
    return {
        "D11": replace(true, present=true.present & ~world.std_2011[others][:, None]),
        "D13": changed(out.first_milli * out.redeclared),
        "D14": changed(-out.milli * dirty),
    }


# --- files ------------------------------------------------------------------------------------------


def _truth(cfg: Config) -> Table:
    world, every = companies(cfg), deals(cfg)
    columns = {
        "seller": world.newest[every.seller],
        "buyer": world.newest[every.buyer],
        "substance": CAS[every.substance],
        "year": every.year,
        "kind": np.array(DEAL_KINDS)[every.what],
        "grams": every.grams,
        "documented": every.documented,
    }
    arrays = [pa.array(values) for values in columns.values()]
    schema = pa.schema([(name, array.type) for name, array in zip(columns, arrays, strict=True)])
    return Table.of("deals", schema, arrays)


def _true_companies(cfg: Config) -> Table:
    world = companies(cfg)
    columns = {
        "company": world.newest,
        "reg_no15": world.reg_no,
        "first_uscc": world.first_uscc,
        "second_uscc": world.second_uscc,
        "kind": np.array(["user", "other", "absorbed"])[world.kind],
        "index": world.index,
        "legal_person": world.legal_person,
    }
    arrays = [pa.array(values) for values in columns.values()]
    schema = pa.schema([(name, array.type) for name, array in zip(columns, arrays, strict=True)])
    return Table.of("companies", schema, arrays)


def write(cfg: Config, out: Path) -> Answers:
    """Writes `silos/market/market.db`, the true companies and deals."""
    return Answers(
        files=[
            write_sqlite(out / "silos" / "market" / "market.db", tables(cfg)),
            write_parquet(out / "truth" / "market_deals.parquet", _truth(cfg)),
            write_parquet(out / "truth" / "market_companies.parquet", _true_companies(cfg)),
        ]
    )
