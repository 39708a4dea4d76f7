"""Random policies, data and questions for the two properties that custody rests on (GOVERNANCE 13.1, 13.2).

    draw_world(seed)   a policy over one table `t`, two editions of its rows that show the same, and a table `u`
    question(rng)      a statement over both, whose answer is one bag of rows

Editions differ in raw values under masks, in rows that the filter hides, in how many these are and where.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa

from catalog import masks
from catalog.types import TrinoType, parse
from tests.masks_first.people import CONTEXT, PURPOSE, Row, materialise
from tests.masks_first.shapes import literal
from tests.masks_first.silos import Data

__all__ = ["RandomWorld", "draw_world", "packed", "question"]

WIDTH = 3
"""Outputs of a question at most."""

_POOLS: dict[str, tuple[str, list[Any]]] = {
    "n": ("bigint", [0, 1, 2, 7, 13, 14, 99, 100, 101, -1, -50, 2**40]),
    "i": ("integer", [0, 3, 4, 17, 18, 64, 65, 90, 91, -7]),
    "m": ("decimal(8,2)", [Decimal(v) / 100 for v in (0, 1, 49, 50, 99, 100, 12345, -1, -250)]),
    "s": ("varchar", ["Ana", "ana", "Ana ", "Anton", "élan", "Bo", "Boris", "", "李雷", "x'y", "100%"]),
    "e": ("varchar", ["ana@sea.cn", "Bo@SEA.cn", "bo@sky.cn", "no mail", "x@y@z"]),
    "d": ("date", [date(1958, 3, 14), date(1958, 11, 2), date(1971, 1, 1), date(1971, 12, 31), date(2000, 2, 29)]),
    "c": ("varchar", ["J45", "J46", "I21", "T67", "Z99"]),
}
_MASKS: dict[str, list[str]] = {
    "n": ["number(50)", "number(10, 3)", "top_code(90)", "bottom_code(0)", "null", "constant(5)", "pseudonym(cards)"],
    "i": ["number(20)", "top_code(64)", "null", "constant(1, null_too)", "pseudonym(cards)"],
    "m": ["number(0.5)", "number(100)", "null", "top_code(1.00)"],
    "s": ["keep_first(1)", "keep_last(1, fixed)", "prefix(2)", "constant(x)", "null", "pseudonym(city)"],
    "e": ["email", "constant(x@y)", "null", "keep_first(2)"],
    "d": ["date(year)", "date(month)", "date(quarter)", "null", "pseudonym(cards)"],
    "c": ["hierarchy(icd, 1)", "hierarchy(icd, 2)", "prefix(1)", "null"],
}
_FILTERS = ("hidden = 0", "hidden = 0 AND n >= 0", "hidden = 0 AND (i > 3 OR i IS NULL)")
TYPES: dict[str, TrinoType] = {
    "id": parse("bigint"), "k": parse("varchar"), **{c: parse(t) for c, (t, _) in _POOLS.items()},
    "hidden": parse("integer"),
}  # fmt: skip
OTHER = {"k": parse("varchar"), "n": parse("bigint"), "s": parse("varchar")}


@dataclass(frozen=True)
class RandomWorld:
    """masked: column -> mask. editions: data of each; policy: for both; shown: published column -> type."""

    seed: int
    masked: dict[str, str]
    policy: dict[str, Any]
    editions: tuple[Data, Data]
    keeps: Any
    shown: dict[str, TrinoType]
    values: dict[str, list[Any]]

    def rows(self, edition: int) -> Sequence[Row]:
        return self.editions[edition]["t"][1]  # type: ignore[return-value]


def draw_world(seed: int) -> RandomWorld:
    """One policy and two editions; the same for the same seed."""
    rng = random.Random(f"world {seed}")
    masked = {c: rng.choice(_MASKS[c]) for c in _POOLS if rng.random() < 0.6}
    for column in _POOLS:
        if column not in masked and rng.random() < 0.15:
            masked[column] = "deny"
    which = rng.randrange(len(_FILTERS))
    seen = [_row(rng, i) for i in range(rng.randrange(6, 18))]
    twins = [_twin(rng, row, masked, _used(which)) for row in seen]
    keeps = _keeper(which)
    editions = tuple(
        {"t": (TYPES, _with_hidden(rng, rows, keeps)), "u": (OTHER, _others(seed))} for rows in (seen, twins)
    )
    copy = materialise(editions[0]["t"][1], TYPES, masked, keeps)
    policy = {
        "department": "dept",
        "purposes": [PURPOSE],
        "linkage_groups": {
            "city": {"root": "file:root.hex", "normaliser": "company"}, "cards": {"root": "file:root.hex"},
        },
        "hierarchies": {"icd": "icd.csv"},
        "relations": {
            "t": {"table": "t", "columns": {n: str(k) for n, k in TYPES.items() if n != "hidden"}},
            "u": {"table": "u", "columns": {n: str(k) for n, k in OTHER.items()}},
        },
        "grants": [
            {"id": "t", "relation": "t", "purposes": [PURPOSE], "mode": "masked", "masks": masked,
             "row_filter": _FILTERS[which]},
            {"id": "u", "relation": "u", "purposes": [PURPOSE], "mode": "masked"},
        ],
    }  # fmt: skip
    values = {}
    for name in copy.types:
        both = [*copy.table.column(name).to_pylist(), *copy.raw[name]]
        fitting = [v for v in both if v is not None and _fits(v, copy.types[name])]
        values[name] = list(dict.fromkeys(fitting)) or [_any_of(copy.types[name])]
    return RandomWorld(seed, masked, policy, editions, keeps, dict(copy.types), values)  # type: ignore[arg-type]


def _fits(value: Any, kind: TrinoType) -> bool:
    """A raw value is a literal for a column only if the mask left its type."""
    return isinstance(value, str) is kind.is_text and isinstance(value, date) is (kind.name == "date")


def _any_of(kind: TrinoType) -> Any:
    return "x" if kind.is_text else date(2000, 1, 1) if kind.name == "date" else 1


def _row(rng: random.Random, number: int, hidden: int = 0) -> Row:
    values = [None if rng.random() < 0.12 else rng.choice(pool) for _, pool in _POOLS.values()]
    return (number, rng.choice("CH"), *values, hidden)


def _used(which: int) -> set[str]:
    """Columns that the row filter reads: a twin keeps their raw values, or it would be another row's fate."""
    return {0: set(), 1: {"n"}, 2: {"i"}}[which]


def _keeper(which: int) -> Any:
    places = {name: i for i, name in enumerate(TYPES)}

    def keeps(row: Row) -> bool:
        n, i = row[places["n"]], row[places["i"]]
        also = (True, n is not None and n >= 0, i is None or i > 3)[which]
        return bool(row[-1] == 0 and also)

    return keeps


def _twin(rng: random.Random, row: Row, masked: dict[str, str], fixed: set[str]) -> Row:
    """The same row as it is shown, with other raw values wherever the mask allows some."""
    values = list(row)
    for place, column in enumerate(TYPES):
        if column not in masked or column in fixed:
            continue
        kind, pool = _POOLS[column]
        if masked[column] == "deny":
            values[place] = rng.choice(pool)
            continue
        mask = masks.build(masked[column], parse(kind), CONTEXT)
        candidates = [*pool, None]
        shown = mask.arrow(pa.array([row[place], *candidates], parse(kind).arrow())).to_pylist()
        values[place] = rng.choice([c for c, s in zip(candidates, shown[1:], strict=True) if s == shown[0]])
    return tuple(values)


def _with_hidden(rng: random.Random, rows: Sequence[Row], keeps: Any) -> list[Row]:
    """The rows, with others between them that the filter hides."""
    found = list(rows)
    for number in range(rng.randrange(1, 8)):
        row = _row(rng, 1000 + rng.randrange(10**6) + number, hidden=rng.choice([1, 2]))
        found.insert(rng.randrange(len(found) + 1), row)
    assert any(not keeps(r) for r in found)
    return found


def _others(seed: int) -> list[Row]:
    rng = random.Random(f"other {seed}")
    return [
        (rng.choice("CHV"), rng.choice(_POOLS["n"][1]), rng.choice(_POOLS["s"][1])) for _ in range(rng.randrange(1, 7))
    ]


# ---- questions -----------------------------------------------------------------------------------------


class _Author:
    def __init__(self, world: RandomWorld, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.columns = list(world.shown)

    def column(self, alias: str = "t") -> tuple[str, str]:
        name = self.rng.choice(self.columns)
        return f"{alias}.{name}", name

    def value(self, name: str) -> str:
        return literal(self.rng.choice(self.world.values[name]))

    def condition(self, alias: str = "t") -> str:
        sql, name = self.column(alias)
        shape = self.rng.randrange(8)
        if shape == 0:
            return f"{sql} IS {self.rng.choice(['', 'NOT '])}NULL"
        if shape == 1:
            return f"{sql} IN ({self.value(name)}, {self.value(name)})"
        if shape == 2:
            return f"{sql} NOT IN ({self.value(name)}, {self.value(name)})"
        if shape == 3:
            return f"CAST({sql} AS varchar) LIKE '{self.rng.choice(['A%', '%a%', '1_%', '%5', 'J4_'])}'"
        if shape == 4:
            return f"{sql} BETWEEN {self.value(name)} AND {self.value(name)}"
        if shape == 5:
            return f"({self.condition(alias)} {self.rng.choice(['AND', 'OR'])} {self.condition(alias)})"
        return f"{sql} {self.rng.choice(['=', '<>', '<', '<=', '>', '>='])} {self.value(name)}"

    def item(self) -> str:
        sql, name = self.column()
        kind = self.world.shown[name]
        forms = [sql, sql, f"CAST({sql} AS varchar)", f"coalesce({sql}, {self.value(name)})",
                 f"CASE WHEN {self.condition()} THEN {sql} END"]  # fmt: skip
        if kind.is_text:
            forms += [f"upper({sql})", f"length({sql})", f"substr({sql}, 1, 2)", f"{sql} || '!'", f"reverse({sql})"]
        elif kind.name == "date":
            forms += [f"year({sql})", f"date_diff('day', DATE '1950-01-01', {sql})", f"month({sql})"]
        else:
            forms += [f"{sql} + 1", f"- {sql}", f"abs({sql})"]
        return self.rng.choice(forms)

    def aggregate(self) -> str:
        sql, _ = self.column()
        form = self.rng.choice(["count(*)", "count({0})", "count(DISTINCT {0})", "min({0})", "max({0})"])
        text = form.format(sql)
        return f"{text} FILTER (WHERE {self.condition()})" if self.rng.random() < 0.2 else text

    def where(self) -> str:
        return f" WHERE {self.condition()}" if self.rng.random() < 0.6 else ""

    def statement(self) -> str:
        shapes = [self.plain, self.grouped, self.whole, self.window, self.top, self.joined, self.self_joined,
                  self.subquery, self.union]  # fmt: skip
        return self.rng.choice(shapes)()

    def listed(self, items: Sequence[str]) -> str:
        return ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(items))

    def plain(self) -> str:
        items = [self.item() for _ in range(self.rng.randrange(1, 4))]
        distinct = "DISTINCT " if self.rng.random() < 0.2 else ""
        return f"SELECT {distinct}{self.listed(items)} FROM dept.main.t AS t{self.where()}"

    def grouped(self) -> str:
        keys = [self.item() if self.rng.random() < 0.3 else self.column()[0] for _ in range(self.rng.randrange(1, 3))]
        items = [*keys, self.aggregate()]
        having = f" HAVING count(*) > {self.rng.choice('012')}" if self.rng.random() < 0.3 else ""
        return f"SELECT {self.listed(items)} FROM dept.main.t AS t{self.where()} GROUP BY {', '.join(keys)}{having}"

    def whole(self) -> str:
        items = [self.aggregate() for _ in range(self.rng.randrange(1, 4))]
        return f"SELECT {self.listed(items)} FROM dept.main.t AS t{self.where()}"

    def window(self) -> str:
        by, order = self.column()[0], self.column()[0]
        call = self.rng.choice(["rank()", "dense_rank()", "count(*)"])
        items = ["t.id", f"{call} OVER (PARTITION BY {by} ORDER BY {order})", f"count(*) OVER (PARTITION BY {by})"]
        return f"SELECT {self.listed(items)} FROM dept.main.t AS t{self.where()}"

    def top(self) -> str:
        items = [self.column()[0], "t.id"]
        way = self.rng.choice(["", " DESC"])
        limit = self.rng.randrange(0, 6)
        return f"SELECT {self.listed(items)} FROM dept.main.t AS t{self.where()} ORDER BY 1{way}, 2 LIMIT {limit}"

    def joined(self) -> str:
        pairs = [(c, o) for c in self.columns for o in ("k", "n", "s")
                 if self.world.shown[c].is_text is OTHER[o].is_text and self.world.shown[c].name != "date"]  # fmt: skip
        column, other = self.rng.choice(pairs)
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        items = [self.item(), "u.n", "u.s"]
        on = f"t.{column} = u.{other}" + (f" AND {self.condition()}" if self.rng.random() < 0.3 else "")
        return f"SELECT {self.listed(items)} FROM dept.main.t AS t {kind} dept.main.u AS u ON {on}{self.where()}"

    def self_joined(self) -> str:
        column = self.rng.choice(self.columns)
        items = [f"a.{column}", "a.id", "b.id"]
        on = f"a.{column} = b.{column} AND a.id < b.id"
        return (
            f"SELECT {self.listed(items)} FROM dept.main.t AS a JOIN dept.main.t AS b ON {on} AND {self.condition('a')}"
        )

    def subquery(self) -> str:
        column = self.rng.choice(self.columns)
        word = self.rng.choice(["IN", "NOT IN"])
        inner = f"SELECT s.{column} FROM dept.main.t AS s WHERE s.{column} IS NOT NULL AND {self.condition('s')}"
        return f"SELECT t.id AS c0 FROM dept.main.t AS t WHERE t.{column} {word} ({inner})"

    def union(self) -> str:
        sql, _ = self.column()
        word = self.rng.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
        left, right = (f"SELECT {sql} AS c0 FROM dept.main.t AS t{self.where()}" for _ in range(2))
        return f"{left} {word} {right}"


def question(world: RandomWorld, rng: random.Random) -> str:
    """One statement over the world's relations. It raises nothing but what its own literals may make it."""
    return _Author(world, rng).statement()


def packed(world: RandomWorld, rng: random.Random, count: int) -> str:
    """Several questions as arms of one UNION ALL, since a fragment costs more than a scan: the number of each arm
    beside its outputs as text. Every arm stands in a derived table as it would stand alone."""
    arms = []
    for number in range(count):
        sql = question(world, rng)
        outputs = sum(f" AS c{i}" in sql for i in range(WIDTH))
        texts = [f"CAST(x.c{i} AS varchar)" if i < outputs else "CAST(NULL AS varchar)" for i in range(WIDTH)]
        listed = ", ".join(f"{text} AS c{i + 1}" for i, text in enumerate(texts))
        arms.append(f"SELECT {number} AS c0, {listed} FROM ({sql}) AS x")
    return " UNION ALL ".join(arms)
