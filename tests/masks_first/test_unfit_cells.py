"""Cells that do not fit the type that their owner declares: an error, but not under a mask."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CityError
from catalog.types import parse
from tests.masks_first.people import PURPOSE
from tests.masks_first.silos import STATEMENT_KINDS, Data, Department, open_department

TYPES = {n: parse(t) for n, t in {"id": "bigint", "died": "date", "org": "varchar", "amount": "decimal(12,2)"}.items()}
ROWS = [(i, date(2000, 1, i), f"o{i}", Decimal(i)) for i in range(1, 10)]
LONG = (10, date(2000, 1, 1), "too long", Decimal(1))
DATA: Data = {"p": (TYPES, [*ROWS, LONG])}
COLUMNS = {"id": "bigint", "died": "date", "org": "varchar(4)", "amount": "decimal(12,2)"}
MASKS = {
    "nothing": {"died": "null", "org": "constant(x, null_too)", "amount": "null"},
    "a part": {"died": "date(year)", "org": "prefix(1)", "amount": "number(10)"},
}
SHOWN = {"nothing": (None, "x", None), "a part": (date(2000, 1, 1), "o", Decimal(0))}
BAD = {"sqlite": [3, 4, 10], "postgres": [3, 4, 10], "mariadb": [10], "files": [10]}
"""Rows of which a cell does not fit: the day of 3, the amount of 4, the organisation of 10."""


SPOILT = {"sqlite": ("unknown", "n/a"), "postgres": ("infinity", "NaN")}


def spoil(department: Department) -> None:
    if department.kind in SPOILT:
        day, amount = SPOILT[department.kind]
        department.as_owner(
            f"UPDATE p SET died = '{day}' WHERE id = 3", f"UPDATE p SET amount = '{amount}' WHERE id = 4"
        )


def policy(masks: dict[str, str]) -> dict[str, Any]:
    grant = {"id": "m", "relation": "p", "purposes": [PURPOSE], "mode": "masked", "masks": masks}
    return {"department": "dept", "relations": {"p": {"table": "p", "columns": COLUMNS}}, "grants": [grant]}


kinds = pytest.mark.parametrize("kind", STATEMENT_KINDS)


@kinds
@pytest.mark.parametrize("masks", MASKS)
def test_a_mask_is_an_error_of_no_cell(kind: str, masks: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with open_department(kind, tmp_path, request, DATA, policy(MASKS[masks])) as department:
        spoil(department)
        for asked in ("t.id = {i}", "t.id >= 1"):  # a look-up, and all of them
            for i in range(1, 11):
                where = asked.format(i=i)
                sql = (
                    f"SELECT t.died AS c0, t.org AS c1, t.amount AS c2, t.id AS c3 FROM dept.main.p AS t WHERE {where}"
                )
                (found,) = [row for row in department.ask(sql).rows if row[3] == i]
                for place, bad in enumerate((3, 10, 4)):
                    is_bad = i == bad and bad in BAD[kind]
                    hidden = masks == "nothing" or not is_bad
                    if not (i == 10 and place == 1 and not is_bad):
                        assert found[place] == (SHOWN[masks][place] if hidden else None), (i, place)
        for column in COLUMNS:
            if column != "id":
                sql = f"SELECT t.{column} AS c0, count(*) AS c1 FROM dept.main.p AS t GROUP BY t.{column}"
                assert sum(row[1] for row in department.ask(sql).rows) == 10
                sql = f"SELECT count(*) AS c0 FROM dept.main.p AS t WHERE t.{column} IS NULL"
                plain = department.ask(f"SELECT t.{column} AS c0 FROM dept.main.p AS t").rows
                assert department.ask(sql).rows == [(sum(row[0] is None for row in plain),)]


@kinds
def test_without_a_mask_it_is_an_error(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with open_department(kind, tmp_path, request, DATA, policy({})) as department:
        spoil(department)
        sql = "SELECT t.died AS c0, t.org AS c1, t.amount AS c2 FROM dept.main.p AS t WHERE t.id = "
        for i in BAD[kind]:
            with pytest.raises(CityError):
                department.ask(f"{sql}{i}")
        assert department.ask(f"{sql}1").table.num_rows == 1
