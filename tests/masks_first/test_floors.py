"""Aggregate grants over each kind of silo: floors count entities, not rows, after masks and the row filter.

The oracle is pooled raw data in Python: filter, masks of dimensions, cells, distinct entities, floor.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from catalog.errors import Outcome
from catalog.types import parse
from connectors.agent import aggregate
from connectors.base import Op, Predicate
from tests.masks_first.people import HIERARCHY
from tests.masks_first.silos import KINDS, Data, Department, open_department

FLOOR = 5
TYPES = {
    name: parse(text)
    for name, text in {
        "person": "varchar", "district": "varchar", "age": "integer", "born": "date", "icd": "varchar",
        "kg": "bigint", "qty": "decimal(14,3)", "hidden": "integer",
    }.items()
}  # fmt: skip
# Distinct for Trino; one and the same for a source that folds case, accents, width or trailing blanks.
ALIKE = ["ana", "Ana", "ana ", "aná", "ａna"]


def _visits() -> list[tuple[Any, ...]]:
    rng = random.Random(8)
    rows: list[tuple[Any, ...]] = []

    def visit(person: str | None, district: str | None, age: int | None, born: date, icd: str, hidden: int = 0) -> None:
        kg, qty = rng.randint(-50, 500), Decimal(rng.randint(0, 99999)) / 1000
        rows.append((person, district, age, born, icd, kg, qty, hidden))

    for i in range(60):
        for _ in range(rng.randint(1, 3)):
            born = date(rng.choice([1950, 1960]), rng.randint(1, 12), 3)
            visit(f"p{i}", rng.choice(["01", "02"]), rng.randint(0, 99), born, rng.choice(["J45", "J46", "I21"]))
    for person in ALIKE:
        visit(person, "03", 41, date(1977, 5, 5), "T67")
    for _ in range(40):
        visit(rng.choice(["x", "y", "z", "w"]), "04", 7, date(1988, 8, 8), "Z99")
    for _ in range(9):
        visit(None, "05", 9, date(1950, 1, 1), "J45")
    for i in range(8):
        visit(f"h{i}", "06", 50, date(1977, 1, 1), "T67", hidden=1)
        visit(f"n{i}", None, None, date(1966, 6, 6), "J45")
    for i in range(4):
        visit(f"b{i}", "07", 50, date(1950, 1, 1), "J45")
    rows += [("giant", "08", 200, date(2020, 1, 1), "Z99", sign * 9 * 10**18, Decimal(1), 0) for sign in (1, 1)]
    rows += [("debtor", "09", 200, date(2020, 1, 1), "Z99", sign * 9 * 10**18, Decimal(1), 0) for sign in (-1, -1)]
    return rows


VISITS = _visits()
SEEN = [r for r in VISITS if r[-1] == 0]
MASKS = {"age": "number(50)", "born": "date(year)", "icd": "hierarchy(icd, 1)"}
PLACES = {name: i for i, name in enumerate(TYPES)}
MASKED: dict[str, Callable[[Any], Any]] = {
    "age": lambda v: None if v is None else v // 50 * 50,
    "born": lambda v: v.replace(month=1, day=1),
    "icd": lambda v: HIERARCHY[v][0] if v in HIERARCHY else "other",
}
POLICY: dict[str, Any] = {
    "department": "dept",
    "hierarchies": {"icd": "icd.csv"},
    "relations": {
        "visits": {"table": "visits", "columns": {n: str(t) for n, t in TYPES.items() if n != "hidden"}},
    },
    "grants": [{
        "id": "sums", "relation": "visits", "purposes": ["statistics"], "mode": "aggregate", "min_group": FLOOR,
        "entity": "person", "dimensions": ["district", "age", "born", "icd"], "measures": ["kg", "qty"],
        "masks": MASKS, "row_filter": "hidden = 0",
        "guard": False, "unguarded": "questions that differ by a few are the point of these tests",
    }],
}  # fmt: skip
DATA: Data = {"visits": (TYPES, VISITS)}
EVERY_KIND = list(KINDS)


@pytest.fixture(scope="module", params=EVERY_KIND)
def statistics(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    """An agent whose one relation answers sums only."""
    folder = tmp_path_factory.mktemp(request.param)
    with open_department(request.param, folder, request, DATA, POLICY) as opened:
        yield opened


@dataclass(frozen=True)
class Question:
    """GROUP BY `keys` over rows for which `where` holds, as SQL and as Python over shown dimensions."""

    keys: tuple[str, ...]
    where: str = ""
    holds: Callable[[dict[str, Any]], bool] = lambda shown: True

    @property
    def sql(self) -> str:
        outputs = [*(f"t.{k}" for k in self.keys), "count(*)", "count(DISTINCT t.person)", "sum(t.kg)", "sum(t.qty)"]
        listed = ", ".join(f"{o} AS c{i}" for i, o in enumerate(outputs))
        group = f" GROUP BY {', '.join(f't.{k}' for k in self.keys)}" if self.keys else ""
        return f"SELECT {listed} FROM dept.main.visits AS t{self.where and f' WHERE {self.where}'}{group}"

    def cells(self) -> dict[tuple[Any, ...], list[tuple[Any, ...]]]:
        """Key -> rows, of every cell, small ones too."""
        found: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
        for row in SEEN:
            shown = {n: MASKED.get(n, lambda v: v)(row[PLACES[n]]) for n in ("district", "age", "born", "icd")}
            if self.holds(shown):
                found[tuple(shown[k] for k in self.keys)].append(row)
        return found

    def expected(self) -> set[tuple[Any, ...]]:
        released = set()
        for key, rows in self.cells().items():
            people = persons(rows)
            if people >= FLOOR:
                kg, qty = sum(r[PLACES["kg"]] for r in rows), sum(r[PLACES["qty"]] for r in rows)
                released.add((*key, len(rows), people, kg, qty))
        return released or ({(None,) * 4} if not self.keys else set())


def persons(rows: list[tuple[Any, ...]]) -> int:
    return len({r[0] for r in rows if r[0] is not None})


QUESTIONS: dict[str, Question] = {
    "by an unmasked dimension": Question(("district",)),
    "by a masked number": Question(("age",)),
    "by a masked date": Question(("born",)),
    "by a masked code and an unmasked one": Question(("icd", "district")),
    "where a masked code": Question(("district",), "t.icd = 'J40-J47'", lambda s: s["icd"] == "J40-J47"),
    "where a masked range": Question(
        ("icd",), "t.age >= 50 AND t.district IN ('01', '02', '07')",
        lambda s: s["age"] is not None and s["age"] >= 50 and s["district"] in ("01", "02", "07"),
    ),
    "where a masked date": Question(
        (), "t.born <= DATE '1960-01-01'", lambda s: s["born"] <= date(1960, 1, 1),
    ),
    "where a raw date that exists": Question((), "t.born = DATE '1977-05-05'", lambda s: False),
    "where a raw code that exists": Question(("district",), "t.icd = 'J45'", lambda s: False),
    "alike persons": Question((), "t.district = '03'", lambda s: s["district"] == "03"),
    "many rows of few persons": Question((), "t.district = '04'", lambda s: s["district"] == "04"),
    "rows of nobody": Question((), "t.district = '05'", lambda s: s["district"] == "05"),
    "one whose sum no bigint holds": Question((), "t.district = '08'", lambda s: s["district"] == "08"),
    "one whose debt no bigint holds": Question((), "t.district = '09'", lambda s: s["district"] == "09"),
    "rows that the filter hides": Question((), "t.district = '06'", lambda s: s["district"] == "06"),
    "no dimension known": Question(("icd",), "t.district IS NULL", lambda s: s["district"] is None),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_cells_are_those_of_pooled_data_above_the_floor(statistics: Department, name: str) -> None:
    question = QUESTIONS[name]
    answer = statistics.ask(question.sql, purpose="statistics")
    assert len(answer.rows) == len(set(answer.rows))
    assert set(answer.rows) == question.expected()


def test_the_cells_are_telling() -> None:
    """Rows and entities would decide otherwise in some cells, and so would raw keys and folded names."""
    few = QUESTIONS["many rows of few persons"].cells()[()]
    assert len(few) >= FLOOR > persons(few)
    alike = QUESTIONS["alike persons"].cells()[()]
    assert persons(alike) == FLOOR == len(ALIKE)
    assert QUESTIONS["rows that the filter hides"].cells() == {}
    assert len([r for r in VISITS if r[PLACES["district"]] == "06"]) >= FLOOR
    raw_ages = {r[PLACES["age"]] for r in SEEN}
    assert len(raw_ages) > 20 > len(QUESTIONS["by a masked number"].expected())


def test_no_rows_and_no_raw_extremes(statistics: Department) -> None:
    for outputs in ("t.age AS c0", "max(t.kg) AS c0", "min(t.born) AS c0", "t.person AS c0"):
        refused = statistics.refusal(f"SELECT {outputs} FROM dept.main.visits AS t", purpose="statistics")
        assert refused.outcome is Outcome.MODE
    assert statistics.ask(QUESTIONS["by a masked number"].sql, purpose="statistics").rows


def _differing(statistics: Department) -> set[str]:
    return {
        name for name, q in QUESTIONS.items() if set(statistics.ask(q.sql, purpose="statistics").rows) != q.expected()
    }


@pytest.mark.parametrize("statistics", EVERY_KIND[:1], indirect=True)
def test_a_floor_that_counts_rows_is_noticed(statistics: Department, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = aggregate.entity_scan

    def rows_counted(*arguments: Any) -> Any:
        scan, sql = honest(*arguments)
        sql = sql.replace("count(entity) AS entities", "CAST(coalesce(sum(n), 0) AS BIGINT) AS entities")
        counted = re.sub(r"count\(entity\) FILTER \(WHERE (k\d+) > 0\)", r"CAST(coalesce(sum(\1), 0) AS BIGINT)", sql)
        return scan, counted

    monkeypatch.setattr(aggregate, "entity_scan", rows_counted)
    assert {"many rows of few persons", "rows of nobody", "by an unmasked dimension"} <= _differing(statistics)


@pytest.mark.parametrize("statistics", EVERY_KIND[:1], indirect=True)
def test_cells_of_raw_keys_are_noticed(statistics: Department, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = aggregate.entity_scan

    def unmasked(*arguments: Any) -> Any:
        scan, sql = honest(*arguments)
        return replace(scan, projection=None), sql

    monkeypatch.setattr(aggregate, "entity_scan", unmasked)
    assert {"by a masked number", "by a masked date", "where a masked range"} <= _differing(statistics)


AMOUNTS = {"person": parse("varchar"), "amount": parse("decimal(14,3)")}
BY_AMOUNT: dict[str, Any] = {
    **POLICY,
    "relations": {"paid": {"table": "paid", "columns": {n: str(t) for n, t in AMOUNTS.items()}}},
    "grants": [{k: v for k, v in POLICY["grants"][0].items() if k != "row_filter"} | {
        "relation": "paid", "dimensions": ["amount"], "measures": [], "masks": {},
    }],
}  # fmt: skip


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_an_amount_that_is_withheld_makes_no_error(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    """Beside a literal of so many decimals that an engine has no room left for thousands."""
    finest = "1.00000000000000000000000000000000001"
    paid = [(f"p{i}", Decimal(i % 2)) for i in range(4 * FLOOR)]
    rich = Decimal("90000000000.125")
    data: Data = {"paid": (AMOUNTS, [*paid, ("rich", rich)])}
    with open_department(kind, tmp_path_factory.mktemp(kind), request, data, BY_AMOUNT) as opened:
        for where, holds in {
            f"< {finest}": lambda v: v <= 1, f"IN (0.0, {finest})": lambda v: v == 0, f"<> {finest}": lambda v: True,
            f">= -{finest}": lambda v: True, "< 10000000000000000000000000000.5": lambda v: True,
        }.items():  # fmt: skip
            answer = opened.ask(f"SELECT count(*) AS c0 FROM dept.main.paid AS t WHERE t.amount {where}", "statistics")
            assert answer.rows == [(sum(holds(amount) for amount in [*(a for _, a in paid), rich]),)]


def test_an_amount_of_nothing_but_decimals_is_compared_to_its_last_digit() -> None:
    kind = parse("decimal(38,38)")
    amounts = [Decimal(f"0.{units}") for units in range(93 * 10**36 + 1, 93 * 10**36 + 4)]
    rows = duckdb.from_arrow(pa.table({"amount": pa.array(amounts, kind.arrow())}))
    holds: dict[Op, int] = {">": 1, ">=": 2, "=": 1, "<>": 2, "in": 1}
    for op, count in holds.items():
        where = aggregate.where_sql([Predicate("amount", op, (amounts[1],))], {"amount": kind})
        assert rows.query("paid", f"SELECT count(*) FROM paid{where}").fetchall() == [(count,)], op
