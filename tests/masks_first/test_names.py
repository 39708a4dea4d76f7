"""Names that mean several things: two published names of one raw column, labels of outputs, invented columns.

Whatever the source is asked, the answer is that of the masked copy, where each published name is a column of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from catalog.types import parse
from tests.masks_first.oracle import Oracle
from tests.masks_first.people import PURPOSE, materialise
from tests.masks_first.silos import KINDS, Data, Department, open_department

PERSON = {"id": "bigint", "born": "date", "v": "integer", "w": "integer", "hidden": "integer"}
VISIT = {"person": "bigint", "no": "integer", "x": "integer"}
SHOWN = {"id": "bigint", "born": "date", "plain": "date", "month": "date", "v": "integer", "w": "integer"}
MASKS = {"born": "date(year)", "month": "date(month)"}
PERSONS = [(i, date(1980 + i % 7, 1 + i % 12, 3), 100 - i, i % 5, int(i % 4 == 0)) for i in range(40)]
VISITS = [(i % 45, i, i % 6) for i in range(120)]
TYPES = {t: {c: parse(k) for c, k in columns.items()} for t, columns in (("person", PERSON), ("visit", VISIT))}
DATA: Data = {"person": (TYPES["person"], PERSONS), "visit": (TYPES["visit"], VISITS)}
POLICY: dict[str, Any] = {
    "department": "dept",
    "relations": {
        "person": {
            "table": "person", "key": ["id"],
            "columns": {c: {"from": "born", "type": k} if c in ("plain", "month") else k for c, k in SHOWN.items()},
        },
        "visit": {"table": "visit", "key": ["person", "no"], "columns": VISIT},
    },
    "grants": [
        {"id": "p", "relation": "person", "purposes": [PURPOSE], "mode": "masked", "masks": MASKS,
         "row_filter": "hidden = 0"},
        {"id": "v", "relation": "visit", "purposes": [PURPOSE], "mode": "masked"},
    ],
}  # fmt: skip
P, V = "dept.main.person AS t", "dept.main.visit AS u"

QUESTIONS = {
    "a mask and the plain column": (
        f"SELECT t.born AS c0, t.plain AS c1, count(*) AS c2 FROM {P} GROUP BY t.born, t.plain ORDER BY 1, 2"
    ),
    "two masks of one column": (
        f"SELECT t.born AS c0, t.month AS c1, count(*) AS c2 FROM {P} GROUP BY t.born, t.month ORDER BY 1, 2"
    ),
    "two masks, one of them in HAVING": (
        f"SELECT t.month AS c0, count(*) AS c1 FROM {P} GROUP BY t.born, t.month "
        "HAVING t.born > DATE '1982-01-01' ORDER BY t.born, t.month"
    ),
    "an expression over a label": f"SELECT t.v AS c0, t.w AS c1 FROM {P} WHERE t.w = 3 ORDER BY c0 + 0 LIMIT 3",
    "an expression over a label of a join": (
        f"SELECT t.v AS c0, t.w AS c1 FROM {P} JOIN {V} ON u.person = t.id WHERE u.x = 3 ORDER BY c0 + 0, u.no LIMIT 3"
    ),
    "a CTE named as what was grouped": (
        f"WITH grouped AS (SELECT 99 AS a0) SELECT x.n AS c0, y.a0 AS c1 FROM (SELECT count(*) AS n FROM {V}) AS x, "
        "grouped AS y"
    ),
    "a CTE named as what was joined": (
        f"WITH composed AS (SELECT 99 AS a0) SELECT x.n AS c0, y.a0 AS c1 FROM "
        f"(SELECT count(*) AS n FROM {P} JOIN {V} ON u.person = t.id) AS x, composed AS y"
    ),
    "an expression over several labels": (
        f"SELECT t.v AS c0, t.w AS c1, t.id AS c2 FROM {P} ORDER BY c1 * 100 + c0, c2 LIMIT 5"
    ),
    "labels of groups that change places": (
        f"SELECT s.v AS c0, s.w AS c1 FROM (SELECT t.v AS w, t.w AS v FROM {P} GROUP BY t.v, t.w "
        "ORDER BY v * 1000 + w LIMIT 5) AS s ORDER BY 1, 2"
    ),
    "a label named as an aggregate may be": (
        f"SELECT s.a1 AS c0 FROM (SELECT t.w AS a1, count(*) AS z FROM {P} GROUP BY t.w ORDER BY sum(t.v) LIMIT 2) "
        "AS s ORDER BY 1"
    ),
    "a label named as a key may be": (
        f"SELECT s.g0 AS c0 FROM (SELECT max(t.v) AS g0 FROM {P} GROUP BY t.w ORDER BY t.w DESC LIMIT 2) "
        "AS s ORDER BY 1"
    ),
}


@pytest.fixture(scope="module")
def copy() -> Oracle:
    def keep(row: tuple[Any, ...]) -> bool:
        return bool(row[-1] == 0)

    persons = [(i, born, born, born, *rest) for i, born, *rest in PERSONS]
    types = {c: parse(k) for c, k in {**SHOWN, "hidden": "integer"}.items()}
    visits = materialise([(*row, 0) for row in VISITS], {**TYPES["visit"], "hidden": parse("integer")}, {}, keep)
    return Oracle({"dept.main.person": materialise(persons, types, MASKS, keep), "dept.main.visit": visits})


@pytest.fixture(scope="module", params=KINDS)
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    with open_department(request.param, tmp_path_factory.mktemp(request.param), request, DATA, POLICY) as opened:
        yield opened


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_name_means_what_it_means_in_the_copy(named: Department, copy: Oracle, name: str) -> None:
    answer = named.ask(QUESTIONS[name]).rows
    assert answer
    assert answer == copy.rows(QUESTIONS[name])


def test_a_column_that_is_no_key_of_the_groups_is_refused_under_any_name(named: Department) -> None:
    refused = named.refusal(f"SELECT t.born AS c0, count(*) AS c1 FROM {P} GROUP BY t.plain")
    assert "does not group its columns" in str(refused)


def test_what_exists_reads_must_be_there(named: Department) -> None:
    text = f"SELECT count(*) AS c0 FROM {V} WHERE EXISTS (SELECT {{}} FROM {P} WHERE t.id = u.person)"
    assert named.ask(text.format("t.v")).rows == named.ask(text.format("1")).rows
    assert "cannot be resolved" in str(named.refusal(text.format("t.nobody")))
