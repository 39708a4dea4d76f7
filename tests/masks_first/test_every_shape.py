"""The agent answers each shape of query, on each masked column, over each kind of silo, as over a masked copy."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pytest

from catalog.errors import Outcome
from tests.masks_first.oracle import Oracle, bag
from tests.masks_first.people import CLIENTS, MASKS, PEOPLE, clients_copy, people_copy
from tests.masks_first.shapes import ABOVE, ORDERED, SHAPES, Column, answers, describe
from tests.masks_first.silos import KINDS, Department

COPY = people_copy()
COLUMNS = [describe(name, COPY) for name, text in MASKS.items() if text != "deny"]
EVERY_KIND = list(KINDS)
EVERY_MASK = pytest.mark.parametrize("column", COLUMNS, ids=[c.mask for c in COLUMNS])

FULL = os.environ.get("ATTACK") == "all"


def shapes_for(kind: str, column: Column) -> list[str]:
    """All that are asked of this kind. What the engine alone decides is asked of one kind a mask, unless ATTACK=all."""
    turn = KINDS[COLUMNS.index(column) % len(KINDS)]
    return [shape for shape in SHAPES if FULL or kind == turn or shape not in ABOVE]


@EVERY_MASK
@pytest.mark.parametrize("department", EVERY_KIND, indirect=True)
def test_the_answer_is_the_copys(department: Department, oracle: Oracle, column: Column) -> None:
    shapes = shapes_for(department.kind, column)
    found = answers(lambda sql: department.ask(sql).rows, column, shapes)
    expected = answers(oracle.rows, column)
    assert set(found) == set(shapes)
    for shape in found:
        assert bag(found[shape]) == bag(expected[shape]), shape
        assert shape not in ORDERED or found[shape] == expected[shape], shape


def test_every_mask_is_asked_in_every_shape_and_every_kind_too() -> None:
    asked = [(kind, column.mask, shape) for kind in KINDS for column in COLUMNS for shape in shapes_for(kind, column)]
    assert {a[1:] for a in asked} == {(column.mask, shape) for column in COLUMNS for shape in SHAPES}
    assert {a[::2] for a in asked} == {(kind, shape) for kind in KINDS for shape in SHAPES}


@EVERY_MASK
@pytest.mark.parametrize("department", EVERY_KIND, indirect=True)
def test_bind_keys_compare_with_what_is_shown(department: Department, oracle: Oracle, column: Column) -> None:
    """Keys from another department: the masked value finds its rows, the raw value that exists finds none."""
    sql = f"SELECT t.id AS c0 FROM dept.main.people AS t WHERE t.{column.name} IN "
    keys = pa.array([v.date() if isinstance(v, datetime) else v for v in column.keys])
    found = department.ask(sql + '(SELECT k FROM "$keys")', keys=keys)
    assert bag(found.rows) == bag(oracle.rows(sql + f"({column.common})"))


@EVERY_MASK
@pytest.mark.parametrize("department", EVERY_KIND, indirect=True)
@pytest.mark.parametrize("first", [True, False], ids=["$keys", "$keys1"])
def test_a_set_on_a_masked_column_compares_with_what_is_shown_beside_another(
    department: Department, oracle: Oracle, column: Column, first: bool
) -> None:
    """The other set stands on a bare column, and goes to the source: the masked one must not go with it."""
    sql = f"SELECT t.id AS c0 FROM dept.main.people AS t WHERE t.{column.name} IN {{}} AND t.kind IN {{}}"
    masked = pa.array([v.date() if isinstance(v, datetime) else v for v in column.keys])
    kinds = [r[0] for r in oracle.rows("SELECT DISTINCT t.kind AS c0 FROM dept.main.people AS t") if r[0] is not None]
    names = [f'(SELECT k FROM "{name}")' for name in ("$keys", "$keys1")]
    sets = (masked, pa.array(kinds)) if first else (pa.array(kinds), masked)
    found = department.ask(sql.format(*(names if first else reversed(names))), sets=sets)
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    assert bag(found.rows) == bag(oracle.rows(sql.format(f"({column.common})", f"({listed})")))


@EVERY_MASK
def test_literals_find_what_they_should(oracle: Oracle, column: Column) -> None:
    """The questions are not idle: the masked value hits, and the raw value exists and is shown nowhere."""
    equal = oracle.rows(column.sql("equal"))
    assert bool(equal) is (column.mask != "null")
    assert oracle.rows(column.sql("raw")) == []
    assert any(str(v) == str(column.keys[1]) for v in COPY.raw[column.name])


def test_the_rows_are_awkward() -> None:
    for copy, rows in ((COPY, PEOPLE), (clients_copy(), CLIENTS)):
        assert 0.4 < copy.table.num_rows / len(rows) < 0.8
        for name in copy.types:
            if name not in ("id", "kind"):
                assert None in copy.raw[name]
                assert len(set(copy.raw[name])) < len(copy.raw[name])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("department", EVERY_KIND[:1], indirect=True)
def test_a_denied_column_does_not_exist(department: Department, shape: str) -> None:
    """The same refusal, word for word, as for a column that no department ever had."""
    column = Column("ssn", "deny", common="'x'", low="'a'", high="'b'", raw="'y'", pattern="z", keys=())
    denied = department.refusal(column.sql(shape))
    unknown = department.refusal(replace(column, name="sss").sql(shape))
    assert denied.outcome is unknown.outcome is Outcome.NOT_AVAILABLE
    assert {**denied.to_dict(), "message": ""} == {**unknown.to_dict(), "message": ""}
    assert denied.message.replace("ssn", "sss") == unknown.message


@pytest.mark.parametrize("department", EVERY_KIND, indirect=True)
def test_a_star_shows_every_column_masked_and_no_denied_one(department: Department, oracle: Oracle) -> None:
    star = "SELECT {} FROM (SELECT * FROM dept.main.people AS p) AS t"
    names = [f"t.{name} AS c{i}" for i, name in enumerate(COPY.types)]
    sql = star.format(", ".join(names))
    answer = department.ask(sql)
    assert answer.table.schema.types == [t.arrow() for t in COPY.types.values()]
    assert bag(answer.rows) == bag(oracle.rows(sql))
    text = str(answer.rows)
    assert not re.search("SSN", text)
    assert department.refusal(star.format("t.ssn AS c0")).outcome is Outcome.NOT_AVAILABLE
