"""The department whose sums are attacked: its visits, a register, and what is true of them, by pooled data.

Every case asks relations of its own (`dept.main.sums` becomes `dept.main.sums_7`), what is guarded over tables of its
own, so that no case's answers bind another's; and each on a day of its own, so that its budgets are whole.

Relations of sums, floor 5 unless said otherwise:
    sums      guarded; for `statistics`, and by district and year alone for `planning`
    most      the same family without ward a9
    loose     not guarded: the floor stands alone
    shares    not guarded; nobody more than 60 % of a sum, or so much that others can be worked out
    solid     small base cells enter no answer
    noisy     guarded, with noise on counts and costs
    rounded   guarded, costs in hundreds
    register  verify: a day, eight checks of a user and five of a subject
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog.types import parse
from tests.masks_first.people import Row
from tests.masks_first.silos import Data

__all__ = ["FLOOR", "PRIVATE", "RELATIONS", "Days", "Truth", "data_for", "policy_for"]

FLOOR = 5
VISITS = {
    n: parse(t)
    for n, t in {
        "person": "varchar", "district": "varchar", "ward": "varchar", "year": "integer", "cost": "bigint",
        "hidden": "integer",
    }.items()
}  # fmt: skip
GIANT, UNSEEN = 987654321098, 555444333222
# ward -> (people of 2014, people of 2015). Of D each year has two, E1 holds a giant.
WARDS = {
    "a1": (7, 6), "a2": (6, 8), "a9": (3, 0), "b1": (6, 5), "b2": (9, 7), "b3": (0, 8), "c1": (8, 0), "c2": (0, 2),
    "d1": (2, 2), "e1": (9, 0), "e2": (6, 6), "f3": (0, 7), "g1": (4, 0), "g2": (0, 10), "h1": (8, 0), "h2": (0, 6),
}  # fmt: skip
LINES = {"c2": 9}
SMALL = ("a9", "c2", "d1")


def _visits() -> list[Row]:
    rows: list[Row] = []
    for ward, years in WARDS.items():
        for year, people in zip((2014, 2015), years, strict=True):
            for p in range(people):
                who, first = f"sum-{ward}-{year}-Qz7Kx{p}", GIANT if (ward, p) == ("e1", 0) else 10 + p
                cost = [None if ward == "h1" and p > 1 else first + line for line in range(LINES.get(ward, 2))]
                rows += [(who, ward[0].upper(), ward, year, c, 0) for c in cost]
    # Three people in both wards; five lines of nobody; five people whom a filter hides.
    rows += [(f"sum-f-Wm4Tz{p}", "F", ward, 2014, 20, 0) for ward in ("f1", "f2") for p in range(3)]
    rows += [(None, "G", "g1", 2014, 30, 0)] * 5
    rows += [(f"sum-hidden-Ju6Rp{p}", "B", ward, 2014, UNSEEN, 1) for p, ward in enumerate(("b1", "b1", "b8", "b8"))]
    rows += [(f"sum-hidden-Kd3Ve{p}", "B", "b8", 2014, UNSEEN, 1) for p in range(4)]
    return rows


REGISTER = {n: parse(t) for n, t in {"number": "varchar", "reason": "varchar", "hidden": "integer"}.items()}
REGISTER_ROWS: list[Row] = [(f"REG-2024-{n:04d}", f"reason-Bw7Xt-{n:04d}", int(n == 66)) for n in range(1, 67)]
PRIVATE = sorted({
    *(r[0] for r in _visits() if r[0] and (r[2] in SMALL or r[-1] or r[4] == GIANT)), str(GIANT), str(UNSEEN),
    "reason-Bw7Xt-0066", "reason-Bw7Xt-0001",
})  # fmt: skip
"""What no answer may show of them as it is: people of small wards, a giant's cost, hidden people, reasons."""

_DIMENSIONS = ["district", "ward", "year"]
_SUMS: dict[str, Any] = {
    "purposes": ["statistics"], "mode": "aggregate", "min_group": FLOOR, "entity": "person", "dimensions": _DIMENSIONS,
    "measures": ["cost"], "row_filter": "hidden = 0", "public": {"district": list("ABCDEFGH")},
}  # fmt: skip
_LOOSE = {**_SUMS, "guard": False, "unguarded": "the floor is to stand alone"}
RELATIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "sums": (_SUMS, {**_SUMS, "purposes": ["planning"], "dimensions": ["district", "year"]}),
    "most": ({**_SUMS, "row_filter": "hidden = 0 AND ward <> 'a9'"},),
    "loose": (_LOOSE,),
    "shares": ({**_LOOSE, "largest_share": 60, "p_percent": 10},),
    "solid": ({**_SUMS, "guard": None, "base_cells": True},),
    "noisy": ({**_SUMS, "noise": {"count": 5, "cost": 50}},),
    "rounded": ({**_SUMS, "round_to": {"cost": 100}},),
    "register": ({"purposes": ["benefit-eligibility"], "mode": "verify", "key": "number", "per_day": 8,
                  "per_subject": 5, "row_filter": "hidden = 0"},),
}  # fmt: skip
"""Relation -> its grants."""
GUARDED = ("sums", "most")
UNGUARDED = ("loose", "shares")
_NAMED = re.compile(rf"\b(?P<before>main\.|verify\(')(?P<name>{'|'.join(RELATIONS)})\b")
BUDGETS = {
    "user": {"queries": 6, "cells": 24, "predicates": 24},
    "purpose": {"queries": 9, "cells": 60, "predicates": 60},
    "relation": {"queries": 11, "cells": 70, "predicates": 80},
    "overall": {"queries": 13, "cells": 90, "predicates": 90},
}


def names_in(sql: str) -> set[str]:
    """The relations that a statement names."""
    return {m["name"] for m in _NAMED.finditer(sql)}


def apart(sql: str, mark: str) -> str:
    """The statement over the relations that are this mark's own."""
    return _NAMED.sub(lambda m: f"{m['before']}{m['name']}_{mark}", sql)


def _table_of(name: str, mark: str) -> str:
    """The table of a relation; what is guarded over one table is of one family."""
    if name == "register":
        return name
    return "visits" if name in UNGUARDED else f"visits_{mark}" if name in GUARDED else f"visits_{mark}{name}"


def data_for(marks: Mapping[str, Iterable[str]]) -> Data:
    """The tables of `policy_for`."""
    visits = {"visits", *(_table_of(name, mark) for mark, names in marks.items() for name in names)} - {"register"}
    return {**{name: (VISITS, _visits()) for name in sorted(visits)}, "register": (REGISTER, REGISTER_ROWS)}


def policy_for(marks: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """A policy with these relations for each mark, those of one mark in a family of their own."""
    relations: dict[str, Any] = {}
    grants: list[dict[str, Any]] = []
    for mark, names in marks.items():
        for name in sorted(names):
            columns = REGISTER if name == "register" else VISITS
            family = f"f{mark}" if name in GUARDED else f"f{mark}{name}"
            shown = {n: str(t) for n, t in columns.items() if n != "hidden"}
            spec: dict[str, Any] = {"table": _table_of(name, mark), "columns": shown}
            if name == "register":
                spec["columns"]["number"] = {"type": "varchar", "concept": "code"}
            else:
                spec["family"] = family
            relations[f"{name}_{mark}"] = spec
            for i, grant in enumerate(RELATIONS[name]):
                own = {k: v for k, v in grant.items() if v is not None}
                grants.append({"id": f"{name}-{mark}-{i}", "relation": f"{name}_{mark}", **own})
    return {
        "department": "dept", "title": "The attacked sums", "relations": relations, "grants": grants,
        "purposes": ["mass-balance", "statistics", "benefit-eligibility", "audit", "planning"],
        "limits": {"budgets": BUDGETS},
    }  # fmt: skip


class Days:
    """The agent's clock: the time of day runs, and the test turns the days."""

    def __init__(self) -> None:
        # Noon, so that no case ends on another day than it began.
        self.now = datetime.now(UTC).replace(hour=12)

    def __call__(self) -> datetime:
        return self.now

    def next(self) -> None:
        self.now += timedelta(days=1)


class Truth:
    """The visits that the filters show, and what can be said of them."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:")
        columns = ", ".join(VISITS)
        self._db.execute(f"CREATE TABLE visits ({columns})")
        self._db.executemany(f"INSERT INTO visits VALUES ({', '.join('?' * len(VISITS))})", _visits())
        for name in RELATIONS:
            shown = "hidden = 0 AND ward <> 'a9'" if name == "most" else "hidden = 0"
            self._db.execute(f"CREATE VIEW {name} AS SELECT * FROM visits WHERE {shown}")
        self.people: dict[tuple[Any, ...], set[str]] = {}
        for *cell, person in self._db.execute("SELECT district, ward, year, person FROM sums"):
            self.people.setdefault(tuple(cell), set()).update([person] if person else [])
        self._cells = sorted(self.people)

    def close(self) -> None:
        self._db.close()

    def rows(self, sql: str, floored: bool = False) -> list[tuple[Any, ...]]:
        """The answer over all visits; floored: without groups of fewer people than the floor.

        Of a sum, those count who have a value.
        """
        text = re.sub(r"\b\w+\.main\.", "", sql)
        if floored:
            people = ["t.person"] + (["CASE WHEN t.cost IS NOT NULL THEN t.person END"] if "t.cost" in sql else [])
            text += " HAVING " + " AND ".join(f"count(DISTINCT {p}) >= {FLOOR}" for p in people)
        with closing(self._db.execute(text)) as found:
            return found.fetchall()

    def vectors(self, sql: str, released: list[tuple[Any, ...]]) -> list[list[int]]:
        """The released cells of an answer as 0/1 over base cells."""
        name = next(iter(names_in(sql)))
        where = re.search(r" WHERE (.*?)(?= GROUP BY |$)", sql)
        grouped = re.search(r" GROUP BY (.*?)(?= HAVING | ORDER |$)", sql)
        keys = [k.strip().removeprefix("t.") for k in grouped[1].split(",")] if grouped else []
        outputs = [o.strip() for o in sql.partition(" FROM ")[0].removeprefix("SELECT ").split(",")]
        # Where each key stands in the answer.
        place = {k: i for k in keys for i, o in enumerate(outputs) if o.startswith(f"t.{k} ")}
        chosen = f"SELECT DISTINCT district, ward, year FROM {name} AS t" + (f" WHERE {where[1]}" if where else "")
        inside = set(self._db.execute(chosen).fetchall())
        found = []
        for row in released:
            if not keys and row[0] is None:
                continue
            wanted = {k: row[place[k]] for k in keys}
            columns = dict(zip(_DIMENSIONS, range(3), strict=True))
            found.append([
                int(cell in inside and all(cell[columns[k]] == v for k, v in wanted.items())) for cell in self._cells
            ])  # fmt: skip
        return found

    def isolated(self, vectors: list[list[int]]) -> set[tuple[Any, ...]] | None:
        """Base cells with fewer people than the floor together of which some combination tells alone, else None."""
        small = [c for c in self._cells if len(self.people[c]) < FLOOR]
        whole = _rank(vectors)
        for size in range(1, len(small) + 1):
            for chosen in itertools.combinations(small, size):
                if len(set().union(*(self.people[c] for c in chosen))) >= FLOOR:
                    continue
                outside = [[x for x, c in zip(v, self._cells, strict=True) if c not in chosen] for v in vectors]
                if _rank(outside) < whole:
                    return set(chosen)
        return None


def _rank(rows: list[list[int]]) -> int:
    """Over the rationals; modulo a large prime it is no greater, and for 0/1 rows this small it is equal."""
    prime, found = (1 << 61) - 1, 0
    work = [[x % prime for x in row] for row in rows]
    for column in range(len(work[0]) if work else 0):
        pivot = next((i for i in range(found, len(work)) if work[i][column]), None)
        if pivot is None:
            continue
        work[found], work[pivot] = work[pivot], work[found]
        inverse = pow(work[found][column], -1, prime)
        for i in range(found + 1, len(work)):
            if factor := work[i][column] * inverse % prime:
                work[i] = [(a - factor * b) % prime for a, b in zip(work[i], work[found], strict=True)]
        found += 1
    return found
