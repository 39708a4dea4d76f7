"""Numbers that identify companies and persons, with their check characters.

* `reg_no`: 15 digits of the company register: region (6), serial (8), ISO 7064 MOD 11,10.
* `uscc`: the 18-character unified social credit code of GB 32100-2015; characters 9-17 are the organisation
  code of GB 11714 (8 characters and its own check character).
* `citizen_id`: 18 characters of GB 11643 (ISO 7064 MOD 11-2); `old_citizen_id`: its 15-digit form without
  century and check character.

Numbers are made from an index by a seeded bijection, so no two indices ever share one. Vectorised forms take
int64 arrays and give numpy arrays of `<U15`, `<U18`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atoll.city.rng import Bools, Ints, Rng

Texts = NDArray[np.str_]

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_WEIGHTS = np.array([pow(3, i, 31) for i in range(17)], dtype=np.int64)
_ORG_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int64)
_ORG_VALUES = np.array([int(c, 36) for c in USCC_ALPHABET], dtype=np.int64)  # GB 11714: A = 10 ... Z = 35
_ORG_CHECKS = "0123456789X"
_ID_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], dtype=np.int64)
_ID_CHECKS = np.array(list("10X98765432"))
_ORD0 = ord("0")


def _digits(values: Ints, width: int) -> Ints:
    """Decimal digits, most significant first: int64[n, width]."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    split: Ints = values[:, None] // powers % 10
    return split


def _join(codes: NDArray[Any]) -> Texts:
    """Rows of code points (any width) as strings."""
    points = np.ascontiguousarray(codes, dtype=np.uint32)
    joined: Texts = points.view(f"<U{points.shape[1]}").reshape(-1)
    return joined


def permuted(indices: Ints, modulus: int, offset: int) -> Ints:
    """A bijection of 0..modulus-1 that scatters neighbours; modulus < 2**40 and not a multiple of 999,983."""
    # modulus * multiplier must stay in 64 bits: the multiplier is a prime below 2**20
    spread: Ints = (indices % modulus * 999_983 + offset % modulus) % modulus
    return spread


def reg_nos(regions: Ints, serials: Ints) -> Texts:
    """15-digit register numbers of regions (6 digits) and serials (8 digits)."""
    digits = _digits(regions * 10**8 + serials, 14)
    check = np.full(len(digits), 10, dtype=np.int64)
    for column in digits.T:
        total = (check + column) % 10
        check = np.where(total == 0, 10, total) * 2 % 11
    last = (1 - check) % 10
    return _join(np.column_stack([digits, last]) + _ORD0)


def org_codes(numbers: Ints) -> Texts:
    """Nine-character organisation codes (GB 11714) of numbers below 31**8."""
    places = numbers[:, None] // (31 ** np.arange(7, -1, -1, dtype=np.int64)) % 31
    remainder = (_ORG_VALUES[places] * _ORG_WEIGHTS).sum(axis=1) % 11
    check = (11 - remainder) % 11
    alphabet = np.array([ord(c) for c in USCC_ALPHABET], dtype=np.int64)
    checks = np.array([ord(c) for c in _ORG_CHECKS], dtype=np.int64)
    return _join(np.column_stack([alphabet[places], checks[check]]))


def usccs(regions: Ints, organisations: Texts) -> Texts:
    """18-character codes of enterprises ("91") in regions with organisation codes."""
    order = np.full(128, -1, dtype=np.int64)
    order[[ord(c) for c in USCC_ALPHABET]] = np.arange(31)
    points = organisations.astype("<U9").view(np.uint32).reshape(-1, 9)
    head = np.column_stack([np.full(len(regions), 9), np.full(len(regions), 1), _digits(regions, 6)])
    values = np.column_stack([head, order[points]])
    check = (31 - (values * _USCC_WEIGHTS).sum(axis=1) % 31) % 31
    alphabet = np.array([ord(c) for c in USCC_ALPHABET], dtype=np.int64)
    return _join(alphabet[np.column_stack([values, check])])


def citizen_ids(regions: Ints, births: Ints, sequence: Ints) -> Texts:
    """18-character ids: regions (6 digits), births as YYYYMMDD, sequence 0-999 (odd: male)."""
    digits = np.column_stack([_digits(regions, 6), _digits(births, 8), _digits(sequence, 3)])
    check = _ID_CHECKS[(digits * _ID_WEIGHTS).sum(axis=1) % 11]
    joined: Texts = np.char.add(_join(digits + _ORD0), check)
    return joined


def old_citizen_ids(ids18: Texts) -> Texts:
    """The 15-digit form: century and check character left out; only for births in 19xx."""
    points = ids18.astype("<U18").view(np.uint32).reshape(-1, 18)
    return _join(np.delete(points, [6, 7, 17], axis=1))


def wrong_check(ids18: Texts) -> Texts:
    """The same ids with a check character that is certainly wrong."""
    # +1 in the order 0-9, X never gives the same character
    order = "0123456789X"
    last = [order[(order.index(str(i)[-1]) + 1) % 11] for i in ids18]
    return np.array([str(i)[:-1] + c for i, c in zip(ids18, last, strict=True)], dtype="<U18")


BIRTH_FIRST = np.datetime64("1930-01-01", "D")
BIRTH_DAYS = int((np.datetime64("2012-01-01", "D") - BIRTH_FIRST).astype(int))
_BIRTH_REGIONS = np.array([449901, 449902, 449903, 449904, 449905], dtype=np.int64)
_PERSON_SPACE = 5 * 1000 * BIRTH_DAYS
LEGAL_PERSONS = 100_000_000
"""Person indices from here on are the legal persons of companies; residents count from 0."""


@dataclass(frozen=True)
class People:
    """Columns of persons, in the order of the indices that were asked for."""

    id18: Texts
    id15: Texts  # "" where the person has no old form (born after 1999)
    has_old: Bools  # ~8 %: registered somewhere under the 15-digit form too
    male: Bools
    born: NDArray[np.datetime64]  # datetime64[D]
    name: NDArray[np.object_]


def people(seed: int, indices: Ints) -> People:
    """Persons by index: unique ids, birth dates 1930-2011, names. Same index, same person, at every scale."""
    rng = Rng(seed, "person")
    spread = permuted(indices, _PERSON_SPACE, rng.word(0))
    regions = _BIRTH_REGIONS[spread % 5]
    sequence = spread // 5 % 1000
    born = BIRTH_FIRST + (spread // 5000).astype("timedelta64[D]")
    id18 = citizen_ids(regions, yyyymmdd(born), sequence)
    old = born < np.datetime64("2000-01-01", "D")
    id15 = np.where(old, old_citizen_ids(id18), "")
    return People(
        id18=id18,
        id15=id15,
        # 8 % of all are some 9.4 % of those old enough
        has_old=old & rng.chances(94_000, indices, 1),
        male=sequence % 2 == 1,
        born=born,
        name=person_names(seed, indices),
    )


def yyyymmdd(days: NDArray[np.datetime64]) -> Ints:
    """Dates as integers YYYYMMDD."""
    months = days.astype("datetime64[M]")
    number = months.astype(np.int64)
    day = (days - months).astype(np.int64) + 1
    stamped: Ints = (1970 + number // 12) * 10_000 + (number % 12 + 1) * 100 + day
    return stamped


_FAMILY = np.array(list("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"), dtype=object)
_GIVEN = np.array(list("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红建文辉"), dtype=object)


def person_names(seed: int, indices: Ints) -> NDArray[np.object_]:
    """Common names, far fewer than persons: a name never identifies anybody."""
    rng = Rng(seed, "person.name")
    family = _FAMILY[rng.integers(0, len(_FAMILY) - 1, indices, 0)]
    given = _GIVEN[rng.integers(0, len(_GIVEN) - 1, indices, 1)]
    second = _GIVEN[rng.integers(0, len(_GIVEN) - 1, indices, 2)]
    names: NDArray[np.object_] = family + given + second
    return names
