"""The relations that the masks-first suite asks about, and what an analyst may see of them.

`PEOPLE` and `CLIENTS` are raw rows with awkward personal data: NULLs, duplicates, texts that differ in
case, width, normal form or a trailing blank only, values at the limits of their types. Every kind of mask
lies on some column. `people_copy()` and `clients_copy()` are M(R), made without the agent: the row filter
in Python, then each mask's Arrow definition.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from catalog import masks
from catalog.masks.pseudonym import derive_key
from catalog.relation import Linkage
from catalog.types import TrinoType, parse

__all__ = [
    "CLIENTS", "CLIENT_MASKS", "CONTEXT", "FILTER", "HIERARCHY", "MASKS", "PEOPLE", "PURPOSE", "ROOT", "TYPES",
    "Copy", "clients_copy", "keeps", "materialise", "people_copy",
]  # fmt: skip

Row = tuple[Any, ...]
PURPOSE = "mass-balance"
ROOT = bytes.fromhex("ab" * 32)

TYPES: dict[str, TrinoType] = {
    name: parse(text)
    for name, text in {
        "id": "bigint", "kind": "varchar", "grade": "integer", "ssn": "varchar", "religion": "varchar",
        "note": "varchar", "place": "integer", "name": "varchar", "phone": "varchar", "mail": "varchar",
        "org": "varchar(18)", "card": "bigint", "born": "date", "seen": "timestamp(3)", "income": "integer",
        "debt": "decimal(12,2)", "score": "double", "icd": "varchar", "post": "varchar", "age": "integer",
        "saldo": "decimal(12,2)", "badge": "varchar", "serial": "bigint", "plate": "varchar", "weight": "integer",
        "joined": "date", "lat": "double", "lon": "double", "hidden": "integer",
    }.items()
}  # fmt: skip
"""Raw column -> raw type. `hidden` is read by row filters only and is not published."""

MASKS: dict[str, str] = {
    "ssn": "deny", "religion": "null", "note": "constant(withheld)", "place": "constant(7, null_too)",
    "name": "keep_first(1)", "phone": "keep_last(3, fixed)", "mail": "email", "org": "pseudonym(city)",
    "card": "pseudonym(cards)", "born": "date(year)", "seen": "date(month)", "income": "number(100, 50)",
    "debt": "number(0.5)", "score": "number(0.25)", "icd": "hierarchy(icd, 1)", "post": "prefix(2)",
    "age": "top_code(90)", "saldo": "bottom_code(-1.25)", "badge": "token", "serial": "token", "plate": "format",
    "weight": "bucket(0|50|100, none|light|heavy|light)", "joined": "bucket(2000-01-01|2010-01-01, old|mid|new)",
    "lat": "geo(5000, lat, lon)", "lon": "geo(5000, lat, lon)",
}  # fmt: skip
CLIENT_MASKS: dict[str, str] = {
    **{c: MASKS[c] for c in ("ssn", "name", "org", "card", "born", "icd", "mail", "debt", "badge", "serial",
                             "weight", "joined", "lat", "lon")},
    "religion": "constant(none)", "post": "prefix(1)",
}  # fmt: skip
"""The other relation shows some columns raw and masks some in another way: joins compare what is shown."""

FILTER = "hidden = 0 AND (born IS NULL OR born >= '1930-01-01')"
"""Means the same in every source's dialect; reads a raw column that analysts see masked only."""

HIERARCHY = {"J45": ("J40-J47", "X"), "J46": ("J40-J47", "X"), "I21": ("I20-I25", "IX"), "T67": ("T66-T78", "XIX")}


def keeps(row: Row, types: Mapping[str, TrinoType] = TYPES) -> bool:
    """`FILTER` in Python: unknown is not true."""
    values = dict(zip(types, row, strict=True))
    return values["hidden"] == 0 and (values["born"] is None or values["born"] >= date(1930, 1, 1))


_NAMES = ["Ana", "ana", "ANA", "Ana ", "Ａna", "e\u0301lan", "élan", "elan", "😀😀😀😀", "李雷", "李雷雷", "",
          "O'Neill", 'say "x"', "100%", "a_b", "back\\slash", "two\nlines", "ß", "a" * 40, "NULL"]  # fmt: skip
_ORGS = ["91AB01", " 91ab01", "９１ＡＢ０１", "91AB02", "91ab02 ", "91CD", "", "　"]
_MAILS = ["Ana@Hailan.CN", "bo@hailan.cn", "bo@HAILAN.cn", "x@y@z", "no mail", "@hailan.cn", "é@sea.org"]
_ICD = ["J45", "J46", "I21", "T67", "j45", "J45 ", "Z99"]
_PLATES = ["AB-123", "ab-123", "AB 123", "AB-1234", "９９-AB", "", "李-12", "e\u0301-1", "x.y/z", "AB-124"]
_PLACES = [31.2304, 31.2305, 31.23, 31.9, -0.0, 0.0, 89.99999, 90.0, -90.0, 95.0, 121.4737, 180.0, -180.0, -179.99999]
_POSTS = ["44990", "44991", "44", "4", "", "45000", "é1000", "e\u03011000", "😀x"]


def _people(count: int, seed: int) -> list[Row]:
    rng, later = random.Random(seed), random.Random(seed + 1)
    pick = rng.choice

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.12 else value

    rows: list[Row] = []
    for i in range(count):
        day = pick([date(1000, 1, 1), date(9999, 12, 31), date(2000, 2, 29), date(1970, 1, 1)] + [
            date(pick([1925, 1931, 1958, 1958, 1984, 1984]), rng.randint(1, 12), rng.randint(1, 28)) for _ in range(8)
        ])  # fmt: skip
        moment = datetime(2024, rng.randint(1, 3), 1) + timedelta(milliseconds=rng.randint(0, 28 * 86_400_000))
        rows.append((
            i, pick("CH"), maybe(rng.randint(1, 4)), f"{rng.randint(0, 9999):04d}-SSN-{i}",
            maybe(pick(["none", "sea", "sky"])), maybe(pick(["a secret", "withheld", "another secret"])),
            maybe(rng.randint(1, 9)), maybe(pick(_NAMES)), maybe(f"138{rng.randint(0, 40):04d}{pick(['', '5', '55'])}"),
            maybe(pick(_MAILS)), maybe(pick(_ORGS)), maybe(pick([1001, 1002, -7, 0, 2**63 - 1])), maybe(day),
            maybe(moment), maybe(pick([rng.randint(-300, 600), 150, 0, -(2**31), 2**31 - 1])),
            maybe(Decimal(rng.randint(-400, 400)) / 100), maybe(pick([0.1, 0.125, 0.25, -0.1, 2.6, 2.7, 1e300, 1 / 3])),
            maybe(pick(_ICD)), maybe(pick(_POSTS)), maybe(pick([17, 18, 64, 90, 91, 99, 104])),
            maybe(Decimal(pick([-500, -126, -125, -124, 0, 99, 250])) / 100), pick([0, 0, 0, 0, 1, None]),
        ))  # fmt: skip
        rows[-1] = (*rows[-1][:-1], *_newer(later), rows[-1][-1])
    return rows


def _newer(rng: random.Random) -> Row:
    """badge, serial, plate, weight, joined, lat, lon: drawn apart, so that the others stay what they were."""
    found = (
        rng.choice(["B-1", "b-1", "B-1 ", "B-2", "e\u0301", "é", "", "7"]), rng.choice([7, 70, -7, 0, 2**63 - 1]),
        rng.choice(_PLATES), rng.choice([-1, 0, 49, 50, 99, 100, 2**31 - 1, -(2**31)]),
        rng.choice([date(1999, 12, 31), date(2000, 1, 1), date(2009, 12, 31), date(2010, 1, 1), date(1000, 1, 1)]),
        rng.choice(_PLACES), rng.choice(_PLACES),
    )  # fmt: skip
    return tuple(None if rng.random() < 0.12 else value for value in found)


PEOPLE = _people(160, 11)
CLIENTS = _people(70, 12)


def _linkage(group: str) -> masks.LinkageKey:
    normaliser = "company" if group == "city" else "none"
    return masks.LinkageKey(PURPOSE, group, "", derive_key(ROOT, PURPOSE, group), normaliser)


class KnownTokens:
    """A vault whose tokens are known beforehand; `silos` puts the same ones into each agent's."""

    linkage = Linkage(purpose=PURPOSE, group="token@dept")

    def tokens(self, values: Iterable[str]) -> dict[str, str]:
        return {v: hashlib.sha256(f"{PURPOSE} {v}".encode()).hexdigest()[:32] for v in values}


CONTEXT = masks.Context(_linkage, {"icd": HIERARCHY}, KnownTokens())


@dataclass(frozen=True)
class Copy:
    """M(R): published column -> type, and the table of what is shown; `raw` holds the rows' own values."""

    types: Mapping[str, TrinoType]
    table: pa.Table
    raw: Mapping[str, list[Any]]


def materialise(
    rows: Sequence[Row],
    types: Mapping[str, TrinoType],
    masked: Mapping[str, str],
    keep: Callable[[Row], bool],
    unpublished: Sequence[str] = ("hidden",),
) -> Copy:
    """M(R) from raw rows in the order of `types`: filter, then each mask's Arrow definition."""
    kept = [r for r in rows if keep(r)]
    raw = {name: [r[i] for r in kept] for i, name in enumerate(types)}
    shown: dict[str, pa.Array] = {}
    out: dict[str, TrinoType] = {}
    for name, kind in types.items():
        text = masked.get(name, "")
        if name in unpublished or text == "deny":
            continue
        array = pa.array(raw[name], kind.arrow())
        mask = masks.build(text, kind, replace(CONTEXT, column=name)) if text else None
        beside = [pa.array(raw[b], types[b].arrow()) for b in mask.beside] if mask else []
        shown[name] = mask.arrow(array, *beside) if mask else array
        out[name] = mask.type if mask else kind
    return Copy(out, pa.table(shown), raw)


def people_copy() -> Copy:
    return materialise(PEOPLE, TYPES, MASKS, keeps)


def clients_copy() -> Copy:
    return materialise(CLIENTS, TYPES, CLIENT_MASKS, lambda r: r[-1] == 0)
