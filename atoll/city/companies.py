"""The companies of the city and their numbers through time.

Three kinds, each with an index of its own from 0, so that a bigger city only appends: substance users
(licensed), other companies (buyers, suppliers, ordinary makers), and the companies that users absorbed. In
arrays they stand one after the other: `users`, then `others`, then `absorbed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atoll.city.base import Config, year_days
from atoll.city.ids import LEGAL_PERSONS, Texts, org_codes, permuted, reg_nos, usccs
from atoll.city.rng import Bools, Ints, Rng

USER, OTHER, ABSORBED = 0, 1, 2
FAR = 2_932_896  # day number of 9999-12-31: open


def _day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))


REFORM = _day("2015-10-01")
MERGER = _day("2016-01-01")
SWITCH = {
    "market": REFORM,
    "water": _day("2016-07-01"),
    "environment": _day("2017-01-01"),
    "chemicals": _day("2018-01-01"),
}
"""First day on which a department writes the uscc instead of the 15-digit number."""

_FIRST_LEAVERS = _day("2014-06-30")
_SECOND_LEAVERS = _day("2018-09-30")
_ORG_SPACE = 31**8


@dataclass(frozen=True)
class Companies:
    """Columns over all companies; days are day numbers, positions index these arrays."""

    n_users: int
    n_others: int
    kind: Ints
    index: Ints
    number: Ints  # unique over kinds and stable over scales: keys random draws and document numbers
    survivor: Ints  # position of the company that lives on (itself unless absorbed)
    registered: Ints
    active_year: Ints  # first year of business
    deregistered: Ints  # FAR while registered
    reg_no: Texts
    first_uscc: Texts
    first_from: Ints
    second_uscc: Texts  # "" unless reissued
    second_from: Ints  # FAR unless reissued
    newest: Texts  # the name of the company in every answer
    legal_person: Ints  # person index
    district: Ints  # today's code
    industry: Ints
    variant: Ints  # which 2017 successor it really follows
    std_2011: Bools  # still registered under the 2011 code

    def other(self, index: Ints) -> Ints:
        """Positions of other companies by their index."""
        return self.n_users + index

    def numbers_on(self, positions: Ints, days: Ints, department: str) -> Texts:
        """The number the department writes for these companies on these days."""
        uscc = np.where(days >= self.second_from[positions], self.second_uscc[positions], "")
        uscc = np.where(uscc == "", self.first_uscc[positions], uscc)
        # who was founded after the switch has nothing but a uscc; before, the register's number serves
        chosen: Texts = np.where(days < SWITCH[department], self.reg_no[positions], uscc)
        return chosen

    def district_on(self, positions: Ints, days: Ints) -> Ints:
        """District codes on these days: the New District is North before the split."""
        codes = self.district[positions]
        moved: Ints = np.where((codes == 449906) & (days < _day("2015-01-01")), 449902, codes)
        return moved


def leaves_early(others: Ints) -> Bools:
    """Which other companies deregister within the city's years (and have no water, no output)."""
    gone: Bools = np.isin(others % 12, (3, 7))
    return gone


def founded_late(others: Ints) -> Bools:
    """Which other companies were founded after the reform."""
    late: Bools = others % 24 == 21
    return late


@lru_cache(maxsize=4)
def companies(cfg: Config) -> Companies:
    """The whole universe of this Config."""
    n_users, n_others = cfg.scale.users, cfg.scale.others
    absorbing = np.arange(11, n_users, 24, dtype=np.int64)
    sizes = (n_users, n_others, len(absorbing))
    kind = np.repeat(np.array([USER, OTHER, ABSORBED]), sizes)
    index = np.concatenate([np.arange(size, dtype=np.int64) for size in sizes])
    number = index * 3 + kind
    rng = Rng(cfg.seed, "company")
    is_other = kind == OTHER
    leaves, late = is_other & leaves_early(index), is_other & founded_late(index)

    registered = np.where(
        late,
        rng.integers(REFORM + 30, _day("2018-06-30"), number, 1),
        rng.integers(_day("1996-01-01"), _day("2012-06-30"), number, 1),
    )
    active_year = np.where(late, registered.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1971, 0)
    deregistered = np.full(len(kind), FAR, dtype=np.int64)
    deregistered[leaves & (index % 12 == 3)] = _FIRST_LEAVERS
    deregistered[leaves & (index % 12 == 7)] = _SECOND_LEAVERS
    deregistered[kind == ABSORBED] = MERGER - 1

    district = np.where(is_other, 449901 + index % 6, 449901 + index % 5)
    district[(kind == USER) & np.isin(index, (12, 36))] = 449906
    survivor = np.arange(len(kind), dtype=np.int64)
    survivor[kind == ABSORBED] = absorbing
    district[kind == ABSORBED] = district[absorbing]

    region = np.where(district == 449906, 449902, district)
    reg_no = reg_nos(region, permuted(number + 1, 99_999_989, rng.word(0, 1)))
    reissued = (kind == USER) & np.isin(index % 24, (6, 9))
    reissued |= is_other & np.isin(index % 24, (9, 17)) & ~late
    first_from = np.maximum(registered, REFORM)
    first = usccs(region, org_codes(_organisation(number * 2, rng)))
    second = np.where(reissued, usccs(district, org_codes(_organisation(number * 2 + 1, rng))), "")
    second_from = np.where(reissued, rng.integers(_day("2016-08-01"), _day("2018-08-31"), number, 2), FAR)

    person = LEGAL_PERSONS + kind * 10_000_000 + index
    shell = (kind == USER) & (index % 24 == 13)
    person[shell] -= 12
    return Companies(
        n_users=n_users,
        n_others=n_others,
        kind=kind,
        index=index,
        number=number,
        survivor=survivor,
        registered=registered,
        active_year=active_year,
        deregistered=deregistered,
        reg_no=reg_no,
        first_uscc=first,
        first_from=first_from,
        second_uscc=second,
        second_from=second_from,
        newest=np.where(reissued, second, first)[survivor],
        legal_person=person,
        district=district,
        industry=rng.integers(0, 5, number, 3),
        variant=rng.integers(0, 1, number, 4),
        std_2011=np.isin(index % 5, (0, 3)),
    )


def _organisation(serial: Ints, rng: Rng) -> Ints:
    """Scattered organisation numbers: multiply, swap halves, multiply again; each step a bijection."""
    half = 31**4
    once = permuted(serial, _ORG_SPACE, rng.word(0, 2))
    return permuted(once % half * half + once // half, _ORG_SPACE, rng.word(0, 3))


def fraud_years(cfg: Config, numbers: Ints) -> Bools:
    """bool[n, 12] over 2013-2024: one to three years of 2014-2019 in which a carrier cheats."""
    rng = Rng(cfg.seed, "fraud.years")
    count, start = rng.integers(1, 3, numbers, 0), rng.integers(0, 5, numbers, 1)
    chosen = np.zeros((len(numbers), len(ALL_YEARS)), dtype=bool)
    for step in range(3):
        rows = np.flatnonzero(count > step)
        chosen[rows, 1 + (start[rows] + 2 * step) % 6] = cfg.frauds
    return chosen


ALL_YEARS: Ints = np.arange(2013, 2025, dtype=np.int64)
"""Ledgers are made for all of these and then cut to a Config's years: years change no entity either."""


def window(cfg: Config) -> slice:
    """The columns of a Config's years in arrays over ALL_YEARS."""
    return slice(cfg.first_year - 2013, cfg.last_year - 2012)


def spread_day(years: Ints, fraction: Ints, last: int = 364) -> Ints:
    """Day numbers within years, from fraction 0..2**20-1 of the first `last` days."""
    days: Ints = year_days(years) + (fraction * last >> 20)
    return days


_TRADES = np.array(["化工", "涂装", "电镀", "印染", "建材", "食品", "机械", "贸易"], dtype=object)
_SOUNDS = np.array(list("海澜兴华盛泰永安宏达恒昌瑞丰金源东方新宇"), dtype=object)


def company_names(cfg: Config, numbers: Ints) -> NDArray[np.object_]:
    """Names as companies have them; they repeat, so a name identifies nobody."""
    rng = Rng(cfg.seed, "company.name")
    first, second = (_SOUNDS[rng.integers(0, len(_SOUNDS) - 1, numbers, k)] for k in range(2))
    trade = _TRADES[rng.integers(0, len(_TRADES) - 1, numbers, 2)]
    names: NDArray[np.object_] = "海澜" + first + second + trade + "有限公司"
    return names
