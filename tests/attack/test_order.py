"""Which rows come first tells nothing hidden: silos here keep, or index, their rows in the order of a masked column.

The table hides a `number` mask's remainder in one relation and a whole column in the other; no filter, so that the
silo's own order would come through if the agent let it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest

from catalog.types import parse
from tests.masks_first.people import PURPOSE, Row
from tests.masks_first.silos import KINDS, Department, open_department

TYPES = {n: parse(t) for n, t in {"id": "bigint", "income": "bigint", "kind": "varchar"}.items()}
IDS = random.Random(5).sample(range(1, 61), 60)
ROWS: list[Row] = [(number, 100_000 + 997 * place, "C") for place, number in enumerate(IDS)]
"""Incomes rise from row to row; ids say nothing of it."""

POLICY: dict[str, Any] = {
    "department": "dept",
    "relations": {
        name: {"table": "people", "columns": {n: str(t) for n, t in TYPES.items()}} for name in ("masked", "denied")
    },
    "grants": [
        {"id": "m", "relation": "masked", "purposes": [PURPOSE], "mode": "masked",
         "masks": {"income": "number(1000000)"}},
        {"id": "d", "relation": "denied", "purposes": [PURPOSE], "mode": "masked", "masks": {"income": "deny"}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def department(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    folder = tmp_path_factory.mktemp(request.param)
    with open_department(request.param, folder, request, {"people": (TYPES, ROWS)}, POLICY) as opened:
        _index(request, opened)
        yield opened


def _index(request: pytest.FixtureRequest, department: Department) -> None:
    """An index that holds all that a query reads, in the order of the income."""
    config = department.house.policy["sources"]["main"]
    statement = "CREATE INDEX by_income ON people (income, id)"
    if config["kind"] == "sqlite":
        with sqlite3.connect(department.house.folder / "data.sqlite") as connection:
            connection.execute(statement)
    if config["kind"] == "mysql":
        settings = request.getfixturevalue("mariadb").settings()
        with pymysql.connect(**settings, database=config["database"]) as connection, connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.parametrize("relation", ["masked", "denied"])
def test_no_prefix_of_the_rows_follows_a_hidden_value(department: Department, relation: str) -> None:
    for count in (1, 2, 5, 20):
        sql = f"SELECT t.id AS c0 FROM dept.main.{relation} AS t LIMIT {count}"
        assert [r for (r,) in department.ask(sql).rows] == list(range(1, count + 1))


@pytest.mark.parametrize("relation", ["masked", "denied"])
def test_all_rows_come_in_the_order_of_what_shows(department: Department, relation: str) -> None:
    columns = "t.id AS c0, t.income AS c1" if relation == "masked" else "t.id AS c0, t.kind AS c1"
    rows = department.ask(f"SELECT {columns} FROM dept.main.{relation} AS t").rows
    assert rows == sorted(rows)
    assert len(rows) == len(ROWS)


def test_the_silo_would_have_told() -> None:
    assert [r[0] for r in ROWS] != sorted(r[0] for r in ROWS)
    assert [r[1] for r in ROWS] == sorted(r[1] for r in ROWS)
