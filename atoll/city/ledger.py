"""The true books of the substance users: what came in, what went out, what they declare, who dealt with whom.

Everything is grams, int64, per (user, year) over 2013-2024. Declared figures differ from true ones only where
a company cheats; silos hold what was declared. Deals are the yearly sums of one seller, buyer and substance:
market splits them into invoices, chemicals into purchase documents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from atoll.city.base import Config
from atoll.city.catalogue import CAS
from atoll.city.companies import (
    ALL_YEARS,
    companies,
    founded_late,
    fraud_years,
    leaves_early,
    window,
)
from atoll.city.rng import Bools, Ints, Rng

KINDS = (
    "dead number",
    "relabelled waste",
    "unit slip",
    "shell buyer",
    "dumping",
    "unexplained",
    "paper sales",
)
KIND_CODES = ("F6", "F3", "F5", "F2", "F1", "unexplained", "F4")
F1, F2, F3, F4, F5, F6, SHELL = 0, 1, 2, 3, 4, 5, 13
LATE_CORRECTION, VOIDS, BUILD_UP, DUPLICATES, DRUMS, MERGED, SPLIT = 6, 7, 8, 9, 10, 11, 12
"""What a user is: its index modulo 24."""


@dataclass(frozen=True)
class Ledger:
    """Grams [user, year]; quarters [user, year, 4]. `declared_*` is what the silos say."""

    role: Ints  # [user]: index modulo 24
    substance: Ints  # [user]
    cheats: Bools
    input: Ints
    imported: Ints
    produced: Ints
    dead: Ints  # bought under an expired number
    bought: Ints  # includes dead
    stock_begin: Ints
    stock_end: Ints
    sold: Ints  # includes paper
    paper: Ints  # sold to nobody real
    waste: Ints
    declared_waste: Ints
    discharge: Ints
    quarters: Ints
    declared_quarters: Ints
    loss: Ints


@lru_cache(maxsize=2)
def ledger(cfg: Config) -> Ledger:
    """The books of all users."""
    world = companies(cfg)
    n = world.n_users
    users = np.arange(n, dtype=np.int64)
    role = users % 24
    key, year, role_of = users[:, None], ALL_YEARS[None, :], role[:, None]
    rng = Rng(cfg.seed, "ledger")

    plant_key = np.where(role == SHELL, users - 12, users)
    carrier = (role <= F6) | (role == SHELL)
    cheats = fraud_years(cfg, plant_key) & carrier[:, None]
    cheats = np.where(role_of == F6, (year >= 2018) & cfg.frauds, cheats)

    def cheat(kind: int) -> Bools:
        chosen: Bools = cheats & (role_of == kind)
        return chosen

    plant = cheat(F2) & (plant_key[:, None] // 24 % 2 == 0)
    base = rng.integers(2_300_000, 72_000_000, key, 0)
    total = base * rng.integers(900, 1100, key, year, 1) // 1000

    def permille(lo: int, hi: int, stream: int) -> Ints:
        drawn: Ints = total * rng.integers(lo, hi, key, year, stream) // 1000
        return drawn

    imported, produced = permille(0, 300, 2), permille(0, 80, 3)
    sold = permille(450, 580, 4)
    sold = np.where(cheat(SHELL), permille(400, 450, 4), sold)
    sold = np.where(cheat(F5) | cheat(F6), permille(450, 520, 4), sold)
    paper = np.where(cheat(F4), permille(90, 150, 5), 0)
    dead = np.where(cheat(F6), permille(150, 300, 6), 0)
    waste = permille(80, 140, 7)
    waste -= np.where(cheat(F3), waste % 10, 0)
    declared_waste = np.where(cheat(F3), waste // 10, waste)
    change = permille(-30, 30, 8)
    change = np.where(role_of == BUILD_UP, permille(60, 150, 8), change)
    levels = base[:, :1] * 9 // 10 + np.cumsum(change, axis=1)

    drawn = rng.integers(-9, 9, key, year, 9)
    loss = np.sign(drawn) * (np.abs(drawn) * total // 1000)
    loss = np.where(cheats, np.abs(loss), loss)
    # a plant turns out more than it takes in, its shell hides what it took in; an even pair does both
    hidden = np.where(cheat(SHELL), permille(150, 350, 10), 0) - np.where(plant, permille(60, 150, 10), 0)
    loss = np.where(plant | cheat(SHELL), 0, loss)
    discharge = total - change - sold - waste - loss - hidden - dead
    quarters = _quarters(discharge, rng, key, year)
    quarters = np.where(cheat(F5)[:, :, None], _whole_kilograms(quarters), quarters)
    # rounding the largest quarter moved grams between quarters only
    declared = np.where(
        cheat(F1)[:, :, None], quarters * rng.integers(400, 650, key, year, 11)[:, :, None] // 1000, quarters
    )
    slip = cheat(F5)[:, :, None] & _largest(quarters)
    declared = np.where(slip, quarters // 1000, declared)
    return Ledger(
        role=role,
        substance=users % 6,
        cheats=cheats,
        input=total,
        imported=imported,
        produced=produced,
        dead=dead,
        bought=total - imported - produced,
        stock_begin=levels - change,
        stock_end=levels,
        sold=sold,
        paper=paper,
        waste=waste,
        declared_waste=declared_waste,
        discharge=discharge,
        quarters=quarters,
        declared_quarters=declared,
        loss=loss,
    )


def _quarters(total: Ints, rng: Rng, key: Ints, year: Ints) -> Ints:
    weights = np.stack([rng.integers(90, 110, key, year, 12, q) for q in range(4)], axis=2)
    ends = total[:, :, None] * np.cumsum(weights, axis=2) // weights.sum(axis=2)[:, :, None]
    split: Ints = np.diff(ends, axis=2, prepend=0)
    return split


def _largest(quarters: Ints) -> Bools:
    first: Bools = np.arange(4) == quarters.argmax(axis=2)[:, :, None]
    return first


def _whole_kilograms(quarters: Ints) -> Ints:
    """The largest quarter rounded up to 1,000 g, the smallest gives the difference."""
    top = _largest(quarters)
    missing = -quarters.max(axis=2) % 1000
    bottom = np.arange(4) == quarters.argmin(axis=2)[:, :, None]
    moved: Ints = quarters + np.where(top, missing[:, :, None], 0) - np.where(bottom, missing[:, :, None], 0)
    return moved


# --- Q1 by construction -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Balance:
    """What Q1 sums, grams [user, year] in a Config's years. A naive reader changes one of them."""

    input: Ints
    stock_change: Ints  # end - begin
    sold: Ints
    waste: Ints
    miss: Ints  # received - declared waste
    quarters: Ints
    dead: Ints
    paper: Ints
    sister: Bools
    present: Bools  # both stock filings are there


def balance(cfg: Config) -> Balance:
    """The balance as declared."""
    book, years = ledger(cfg), window(cfg)
    pair = np.isin(book.role, (F2, SHELL))[:, None]
    return Balance(
        input=book.input[:, years],
        stock_change=(book.stock_end - book.stock_begin)[:, years],
        sold=book.sold[:, years],
        waste=book.declared_waste[:, years],
        miss=(book.waste - book.declared_waste)[:, years],
        quarters=book.declared_quarters[:, years],
        dead=book.dead[:, years],
        paper=book.paper[:, years],
        sister=np.broadcast_to(pair, book.input[:, years].shape),
        present=np.ones_like(pair & book.cheats[:, years]),
    )


def unaccounted(b: Balance) -> Ints:
    """u: grams that came in and are nowhere."""
    u: Ints = b.input - b.stock_change - b.sold - b.waste - b.quarters.sum(axis=2)
    return u


def classify(b: Balance) -> Ints:
    """Index into KIND_CODES per (user, year), -1 where nothing is wrong."""
    u = unaccounted(b)
    amiss = np.abs(u) * 20 > b.input
    low = b.quarters.min(axis=2)
    rest = b.quarters.sum(axis=2) - low

    def explains(part: Ints) -> Bools:
        near: Bools = np.abs(u - part) * 50 <= b.input
        return near

    rules = (
        amiss & (b.dead * 20 > b.input) & explains(b.dead),
        amiss & (b.miss * 20 > b.input) & explains(b.miss),
        amiss & (low * 30 < rest) & explains(999 * low),
        amiss & b.sister,
        amiss & (u > 0),
        amiss,
        b.paper * 20 > b.input,
    )
    chosen = np.select([r & b.present for r in rules], list(range(len(rules))), default=-1)
    return chosen.astype(np.int64)


def answer_rows(cfg: Config, b: Balance) -> list[list[Any]]:
    """(company, substance, year, kind, u_g), sorted, of a balance."""
    world, book, kinds, u = companies(cfg), ledger(cfg), classify(b), unaccounted(b)
    rows = [
        [
            str(world.newest[user]),
            str(CAS[book.substance[user]]),
            cfg.first_year + int(year),
            KIND_CODES[kinds[user, year]],
            int(u[user, year]),
        ]
        for user, year in zip(*np.nonzero(kinds >= 0), strict=True)
    ]
    return sorted(rows)


# --- deals ------------------------------------------------------------------------------------------

SLOTS = 16
SUPPLY, DEAD, SALE, PAPER, SHELL_SALE, TRADE, IMPORT = 0, 1, 2, 3, 4, 5, 6
DEAL_KINDS = ("supply", "dead", "sale", "paper", "shell sale", "trade", "import")


@dataclass(frozen=True)
class Deals:
    """One row per (seller, buyer, substance, year), as positions; an importer is its own seller."""

    key: Ints  # unique and stable over scales: numbers the documents
    owner: Ints  # position of the user (or trading company) whose habits shape the documents
    what: Ints  # SUPPLY ...
    seller: Ints
    buyer: Ints
    substance: Ints
    year: Ints
    grams: Ints
    documented: Bools  # the buyer filed purchase records
    last_day: Ints  # last day of the year, 0-based, on which papers may be dated

    def take(self, rows: Any) -> Deals:
        """The chosen rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def usable(picks: Ints) -> Ints:
    """The n-th (0-26) companion of a block of 36: other companies that neither leave nor arrive."""
    allowed = np.array([j for j in range(36) if j % 12 not in (3, 7, 9)], dtype=np.int64)
    chosen: Ints = allowed[picks % len(allowed)]
    return chosen


@lru_cache(maxsize=2)
def deals(cfg: Config) -> Deals:
    """Every deal of a Config's years, users' first, then small trade among other companies."""
    made = [*_user_deals(cfg), _trade(cfg)]
    joined = {name: np.concatenate([getattr(part, name) for part in made]) for name in Deals.__dataclass_fields__}
    whole = Deals(**joined)
    inside = (whole.grams > 0) & (whole.year >= cfg.first_year) & (whole.year <= cfg.last_year)
    return whole.take(inside)


def _split(total: Ints, weights: Ints) -> list[Ints]:
    """total [n, y] in parts by weights [n, y, k], exactly."""
    ends = total[:, :, None] * np.cumsum(weights, axis=2) // weights.sum(axis=2)[:, :, None]
    parts = np.diff(ends, axis=2, prepend=0)
    return [parts[:, :, k] for k in range(parts.shape[2])]


def _user_deals(cfg: Config) -> list[Deals]:
    world, book = companies(cfg), ledger(cfg)
    users = np.arange(world.n_users, dtype=np.int64)
    rng = Rng(cfg.seed, "deal")
    key, year = users[:, None], ALL_YEARS[None, :]
    block, start = users // 24 * 36, rng.integers(0, 26, users, 0)
    made: list[Deals] = []

    def companion(n: int) -> Ints:
        # 5 and 27 share no factor: companions 0-26 of one user all differ
        return world.other(block + usable(start + 5 * n))

    def add(slot: int, what: int, seller: Ints, buyer: Ints, grams: Ints, **more: Any) -> None:
        documented, last_day = more.get("documented", True), more.get("last_day", 359)
        shape = grams.shape
        wide = {
            "key": ((world.number[users][:, None] * 100 + year - 2000) * SLOTS + slot),
            "owner": key,
            "what": np.int64(what),
            "seller": seller[:, None] if seller.ndim == 1 else seller,
            "buyer": buyer[:, None] if buyer.ndim == 1 else buyer,
            "substance": book.substance[:, None],
            "year": year,
            "grams": grams,
            "documented": np.asarray(documented),
            "last_day": np.asarray(last_day, dtype=np.int64),
        }
        made.append(Deals(**{name: np.broadcast_to(np.asarray(v), shape).ravel() for name, v in wide.items()}))

    honest = book.bought - book.dead
    absorbed_part = np.where((book.role[:, None] == MERGED) & (year <= 2015), honest * 300 // 1000, 0)
    absorbed = np.where(book.role == MERGED, world.n_users + world.n_others + users // 24, 0)
    is_shell = book.role == SHELL
    plant = np.where(is_shell, users - 12, users)
    to_shell = np.where(is_shell[:, None], np.minimum(book.sold[plant] * 300 // 1000, honest * 500 // 1000), 0)
    supplies = _split(
        honest - absorbed_part - to_shell,
        np.stack([rng.integers(30, 70, key, year, 1, k) for k in range(2)], axis=2),
    )
    add(0, SUPPLY, companion(4), users, supplies[0])
    add(1, SUPPLY, companion(5), users, supplies[1])
    add(2, SUPPLY, companion(4), absorbed, absorbed_part)
    add(3, DEAD, companion(6), users, book.dead)
    add(4, SHELL_SALE, plant, users, to_shell)
    add(12, IMPORT, users, users, book.imported)

    sold_to_shell = np.zeros_like(book.sold)
    sold_to_shell[plant[is_shell]] = to_shell[is_shell]
    weights = [rng.integers(20, 60, key, year, 2, k) for k in range(4)]
    leaver_buys = rng.integers(10, 20, key, year, 2, 4) * (year <= 2018)
    sales = _split(book.sold - book.paper - sold_to_shell, np.stack([*weights, leaver_buys], axis=2))
    for k in range(4):
        add(5 + k, SALE, users, companion(k), sales[k])
    leaver = rng.integers(0, 2, users, 3)[:, None] * 12 + block[:, None]
    # the buyers that leave on 30 September 2018 still buy in that year, with clean papers
    add(
        9,
        SALE,
        users,
        world.other(leaver + 7 + 0 * year),
        sales[4],
        last_day=np.where(year == 2018, 250, 359),
    )

    gone = rng.integers(0, 1, key, year, 4) == 1
    gone &= year >= 2015
    residue = np.where((year >= 2019) & (rng.integers(0, 1, key, year, 5) == 1), 7, 3)
    to_gone, to_nobody = np.where(gone, book.paper, 0), np.where(gone, 0, book.paper)
    add(10, PAPER, users, world.other(leaver + residue), to_gone, documented=False)
    add(11, PAPER, users, companion(10), to_nobody, documented=False)
    return made


def neighbour(others: Ints, draw: Ints) -> Ints:
    """Another other company that exists at every scale at which `others` do."""
    chosen: Ints = np.where(others >= 36, others - 1 - draw % 35, (others + 1 + draw % 35) % 36)
    return chosen


def _trade(cfg: Config) -> Deals:
    """Small purchases among companies that are no licensed users: in no balance, but in every table."""
    world = companies(cfg)
    rng = Rng(cfg.seed, "trade")
    others = np.arange(world.n_others, dtype=np.int64)
    others = others[~leaves_early(others) & ~founded_late(others)]
    buyer, year, slot = (a.ravel() for a in np.meshgrid(others, ALL_YEARS, np.arange(2, dtype=np.int64), indexing="ij"))
    seller = neighbour(buyer, rng.integers(0, 10_000, buyer, year, slot, 0))
    unfit = np.isin(seller % 12, (3, 7, 9))
    seller = np.where(unfit, np.where(seller - 1 == buyer, seller + 1, seller - 1), seller)
    return Deals(
        key=(world.number[world.other(buyer)] * 100 + year - 2000) * SLOTS + slot,
        owner=world.other(buyer),
        what=np.full(len(buyer), TRADE, dtype=np.int64),
        seller=world.other(seller),
        buyer=world.other(buyer),
        # two deals of one year may share a seller: different substances keep them apart
        substance=(rng.integers(0, 2, buyer, year, 1) + 3 * slot) % 6,
        year=year,
        grams=rng.integers(20_000, 900_000, buyer, year, slot, 2),
        documented=np.ones(len(buyer), dtype=bool),
        last_day=np.full(len(buyer), 359, dtype=np.int64),
    )
