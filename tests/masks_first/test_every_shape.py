"""The agent answers each shape of query, on each masked column, over each kind of silo, as over a masked copy."""

from __future__ import annotations

import pytest

from tests.masks_first.oracle import Oracle, bag
from tests.masks_first.people import MASKS, people_copy
from tests.masks_first.shapes import ORDERED, SHAPES, Column, describe
from tests.masks_first.silos import KINDS, Department

COPY = people_copy()
COLUMNS = [describe(name, COPY) for name, text in MASKS.items() if text != "deny"]
EVERY_KIND = [pytest.param(k, marks=pytest.mark.xdist_group(f"masks-{k}")) for k in KINDS]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("column", COLUMNS, ids=[c.mask for c in COLUMNS])
@pytest.mark.parametrize("department", EVERY_KIND, indirect=True)
def test_the_answer_is_the_copys(department: Department, oracle: Oracle, column: Column, shape: str) -> None:
    sql = column.sql(shape)
    expected = oracle.rows(sql)
    found = department.ask(sql).rows
    if shape == "raw":
        assert expected == []
    if shape in ORDERED:
        assert found == expected
    assert bag(found) == bag(expected)
