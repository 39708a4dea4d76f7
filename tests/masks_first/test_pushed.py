"""What goes below the masks: conditions on masked columns, groups of them. Answers are the same as above them.

Over every kind of silo. `Recorded` sees what the source is asked and how many rows come back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.masks.base import DIALECTS
from catalog.types import parse
from connectors.agent import inverse
from connectors.agent.lower import value_of
from connectors.base import NativeScan
from tests.masks_first.conftest import DATA, POLICY
from tests.masks_first.oracle import Oracle, bag
from tests.masks_first.people import MASKS, people_copy
from tests.masks_first.shapes import _writable, describe, literal
from tests.masks_first.silos import KINDS, Department, open_department

COPY = people_copy()
EVERY_KIND = pytest.mark.parametrize("department", list(KINDS), indirect=True)
MASKED = [name for name, text in MASKS.items() if text != "deny"]
FULL = os.environ.get("ATTACK") == "all"
OPS = ["=", "<>", "<", "<=", ">", ">=", "IN", "BETWEEN", "IS NULL", "IS NOT NULL"]


@dataclass
class Recorded:
    """The scans that a source was asked for, and the rows that it gave."""

    scans: list[NativeScan] = field(default_factory=list)
    rows: int = 0


@contextmanager
def recording(department: Department, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    source = department.agent._sources["main"]
    honest, found = source.scan, Recorded()

    def scan(native: NativeScan, cancel: Any) -> Iterator[pa.RecordBatch]:
        found.scans.append(native)
        for batch in honest(native, cancel):
            found.rows += batch.num_rows
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(source, "scan", scan)
        yield found


def values_of(name: str) -> list[str]:
    """Literals of a masked column's shown type: shown values, and raw ones where they have that type."""
    shown = COPY.table.column(name).to_pylist()
    raw = [v for v in COPY.raw[name] if type(v) is type(next((s for s in shown if s is not None), v))]
    found = {literal(v) for v in (*shown, *raw) if v is not None and _writable(v)}
    return sorted(found) or ["'x'"]


@st.composite
def conditions(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(MASKED))
    op = draw(st.sampled_from(OPS))
    values = st.sampled_from(values_of(name))
    if op.startswith("IS"):
        return f"t.{name} {op}"
    if op == "IN":
        return f"t.{name} IN ({', '.join(draw(st.lists(values, min_size=1, max_size=4)))})"
    if op == "BETWEEN":
        return f"t.{name} BETWEEN {draw(values)} AND {draw(values)}"
    return f"t.{name} {op} {draw(values)}" if draw(st.booleans()) else f"{draw(values)} {op} t.{name}"


def statement(arms: list[list[str]]) -> str:
    selects = [
        f"SELECT {i} AS c0, x.k AS c1 FROM (SELECT t.id AS k FROM dept.main.people AS t WHERE {' AND '.join(p)}) AS x"
        for i, p in enumerate(arms)
    ]
    return " UNION ALL ".join(selects)


@EVERY_KIND
def test_pushed_is_above(department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random conditions on every masked column: with all rules, with none, and over the masked copy."""
    pushed = set()

    @given(st.lists(st.lists(conditions(), min_size=1, max_size=2), min_size=8, max_size=12))
    @settings(max_examples=8 if FULL else 4, suppress_health_check=list(HealthCheck))
    def check(arms: list[list[str]]) -> None:
        sql = statement(arms)
        with recording(department, monkeypatch) as below:
            found = department.ask(sql)
        with monkeypatch.context() as patch, recording(department, monkeypatch) as above:
            patch.setattr(inverse, "RULES", {})
            unruled = department.ask(sql)
        assert bag(found.rows) == bag(unruled.rows) == bag(oracle.rows(sql))
        assert below.rows <= above.rows
        assert not any(scan.predicates for scan in above.scans)
        pushed.update(p.column for scan in below.scans for p in scan.predicates)

    check()
    assert len(pushed) > (8 if FULL else 5)


@EVERY_KIND
@pytest.mark.parametrize("name", ["born", "seen", "income", "icd", "post", "age", "weight", "joined"])
def test_a_condition_on_what_shows_reads_no_other_rows(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The source gives the rows that the condition selects, and not one more."""
    # What `other` and a label of two intervals mean is no single range: those conditions stay above.
    value = {"icd": "'J40-J47'", "weight": "'heavy'"}.get(name) or describe(name, COPY).common
    sql = f"SELECT t.id AS c0 FROM dept.main.people AS t WHERE t.{name} = {value}"
    with recording(department, monkeypatch) as found:
        answer = department.ask(sql)
    assert bag(answer.rows) == bag(oracle.rows(sql))
    exact = name != "seen" or department.agent._sources["main"].kind != "sqlite"
    assert (found.rows == len(answer.rows)) is exact, "SQLite's timestamps do not compare as Trino's"


@EVERY_KIND
@pytest.mark.parametrize("name", ["born", "income", "icd", "age", "weight", "joined", "post"])
def test_groups_of_what_shows_are_made_by_the_source(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sql = (
        f"SELECT t.{name} AS c0, count(*) AS c1, sum(t.id) AS c2 FROM dept.main.people AS t "
        f"WHERE t.kind = 'C' AND t.born >= DATE '1950-06-01' GROUP BY t.{name}"
    )
    with recording(department, monkeypatch) as found:
        answer = department.ask(sql)
    assert bag(answer.rows) == bag(oracle.rows(sql))
    allowed = department.agent._sources["main"].capabilities()
    mask = department.agent.access(department.principal()).visible()["people"].masks[name]
    grouped = mask.source(allowed.masks) is not None
    assert allowed.masks in DIALECTS
    assert (found.rows == len(answer.rows) and bool(found.scans[0].group_by)) is grouped
    assert grouped or (allowed.masks, name) == ("sqlite", "post")


FIRST = "SELECT t.grade AS c0, t.id AS c1 FROM dept.main.people AS t WHERE t.kind = 'C' ORDER BY {} LIMIT 5"


@EVERY_KIND
@pytest.mark.parametrize(
    ("order", "pushed"),
    [
        ("t.grade DESC NULLS FIRST, t.id", True),
        ("c0, c1 DESC", True),
        ("t.grade", False),  # which of the rows of a grade come first might follow what is hidden
        ("t.grade, t.kind", False),
        ("t.born, t.grade, t.id", False),
        ("t.grade + 1, t.grade, t.id", False),
    ],
)
def test_the_first_rows_by_all_that_shows_are_the_sources(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, order: str, pushed: bool
) -> None:
    sql = FIRST.format(order)
    with recording(department, monkeypatch) as found:
        rows = department.ask(sql).rows
    able = bool(department.agent._sources["main"].capabilities().orders)
    assert [scan.limit for scan in found.scans] == [5 if pushed and able else None]
    assert (found.rows == 5) is (pushed and able)
    if order not in ("t.grade", "t.grade, t.kind"):
        assert rows == oracle.rows(sql)


def test_an_owner_can_keep_conditions_above(
    tmp_path: Any, request: pytest.FixtureRequest, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`limits.keep_above` names kinds of masks; the others' conditions still go down."""
    policy = {**POLICY, "limits": {"keep_above": ["date", "hierarchy"]}}
    sql = (
        "SELECT t.id AS c0 FROM dept.main.people AS t WHERE t.born >= DATE '1950-01-01' AND t.age <= 64 "
        "AND t.icd = 'J40-J47'"
    )
    with (
        open_department("sqlite", tmp_path, request, DATA, policy) as department,
        recording(department, monkeypatch) as found,
    ):
        answer = department.ask(sql)
    assert bag(answer.rows) == bag(oracle.rows(sql))
    assert [p.column for scan in found.scans for p in scan.predicates] == ["age"]


def test_under_a_column_list_a_condition_means_the_new_names(department: Department, oracle: Oracle) -> None:
    """`AS t (.., id, ..)` gives the name of one column to another: the source must not be asked by it."""
    own = list(COPY.types)
    swapped = {"id": "income", "income": "id", "born": "joined", "joined": "born"}
    names = ", ".join(swapped.get(name, name) for name in own)
    sql = (
        f"SELECT t.income AS c0, t.born AS c1 FROM dept.main.people AS t ({names}) "
        "WHERE t.income < 40 AND t.joined IS NOT NULL"
    )
    plain = "SELECT t.id AS c0, t.joined AS c1 FROM dept.main.people AS t WHERE t.id < 40 AND t.born IS NOT NULL"
    found = department.ask(sql)
    assert found.rows
    assert bag(found.rows) == bag(oracle.rows(plain))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("TIMESTAMP '2024-01-01 00:00:00.123456'", "timestamp(6)", datetime(2024, 1, 1, 0, 0, 0, 123456)),
        ("TIMESTAMP '2024-01-01 00:00:00.1234567'", "timestamp(6)", None),  # no source has what lies between
        ("TIMESTAMP '2024-01-01 00:00:00.'", "timestamp(6)", None),
        ("CAST('2024-01-01 00:00:00.6' AS timestamp(0))", "timestamp(3)", None),  # which rounds it
        ("CAST('2024-01-01 00:00:00.6 UTC' AS timestamp(0) with time zone)", "timestamp(3)", None),
        ("CAST('2024-01-01 00:00:00.1234' AS timestamp)", "timestamp(6)", None),
        ("CAST('2024-01-01 00:00:00.600' AS timestamp(3))", "timestamp(3)", datetime(2024, 1, 1, 0, 0, 0, 600_000)),
        ("CAST('x' AS array(varchar))", "varchar", None),
        ("CAST('2024-02-29' AS row(a bigint))", "date", None),
        ("DATE '2024-02-30'", "date", None),
        ("DATE '2024-02-29'", "timestamp(3)", datetime(2024, 2, 29)),  # to which Trino coerces it
        ("9223372036854775808", "bigint", None),
        ("-0.5", "decimal(3,1)", Decimal("-0.5")),
    ],
)
def test_a_literal_goes_down_only_if_it_is_exactly_a_value_of_its_type(text: str, kind: str, value: Any) -> None:
    assert value_of(sqlglot.parse_one(text, dialect="trino"), parse(kind)) == value
