"""Sums over values that are no plain numbers or texts: none of them shows a person, and the legal twin is answered.

Files of Parquet hold all of them: infinity and NaN, decimals of 38 digits, lines that a view makes twice, negative
amounts that cancel, empty texts beside NULL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import CityError
from connectors.agent.service import Agent
from tests.agent.house import House, tuples

INF, NAN = float("inf"), float("nan")
HUGE = Decimal("9" * 36 + ".99")
LARGE = Decimal("9" * 35 + ".99")
"""Its sums have room, a hundred times it has not: rules of dominance multiply by percents."""
COLUMNS = {"person": "varchar", "ward": "varchar", "level": "double", "cost": "decimal(38,2)", "due": "bigint"}
GRANT: dict[str, Any] = {
    "purposes": ["statistics"], "mode": "aggregate", "min_group": 5, "entity": "person", "dimensions": ["ward"],
    "measures": ["level", "cost", "due"],
}  # fmt: skip
LOOSE = {"guard": False, "unguarded": "the floor is to stand alone"}
TERMS: dict[str, dict[str, Any]] = {
    "guarded": {}, "loose": LOOSE, "shares": {**LOOSE, "largest_share": 60}, "close": {**LOOSE, "p_percent": 10},
    "solid": {"base_cells": True}, "noisy": {"noise": {"level": 5}}, "rounded": {"round_to": {"level": 100}},
    "ruled": {"largest_share": 60},
}  # fmt: skip


def people() -> list[tuple[Any, ...]]:
    """Eight people a ward, of ones and twos; what is odd is in the wards that are named for it."""
    rows: list[tuple[Any, ...]] = []
    for ward in ("plain", "infinite", "endless", "nan", "both", "twice", "cancels", "", None, "None"):
        rows += [(f"{ward}-{i}", ward, 1.5, Decimal("2.50"), 10) for i in range(8)]
    rows += [("infinite-x", "infinite", INF, Decimal(1), 1), ("endless-x", "endless", -INF, Decimal(1), 1)]
    rows += [("nan-x", "nan", NAN, Decimal(1), 1), ("both-x", "both", INF, Decimal(1), 1)]
    rows += [("both-y", "both", -INF, Decimal(1), 1)]
    rows += [(f"twice-{i}", "doubled", 1.0, Decimal(1), 1) for i in (1, 2, 3, 1, 2, 3)]
    rows += [("cancels-x", "cancels", 1.0, Decimal(1), 100_000), ("cancels-y", "cancels", 1.0, Decimal(1), -1_000)]
    return rows


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    kinds = {"person": pa.string(), "ward": pa.string(), "level": pa.float64(), "cost": pa.decimal128(38, 2),
             "due": pa.int64()}  # fmt: skip
    return pa.table({n: pa.array([r[i] for r in rows], k) for i, (n, k) in enumerate(kinds.items())})


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Agent]]:
    folder: Path = tmp_path_factory.mktemp("odd")
    (folder / "files").mkdir()
    for name in TERMS:  # one table has one family
        pq.write_table(table(people()), folder / "files" / f"{name}.parquet")
    large = [(p, w, x, HUGE if p == "plain-7" else c, d) for p, w, x, c, d in people()]
    pq.write_table(table([*large, ("tiny-1", "tiny", 1.0, HUGE, 1)]), folder / "files" / "huge.parquet")
    relations = {n: {"table": n, "columns": COLUMNS} for n in TERMS}
    large = [(p, w, x, LARGE if c == HUGE else c, d) for p, w, x, c, d in [*large, ("tiny-1", "tiny", 1.0, HUGE, 1)]]
    for name in ("large", "large_close"):
        pq.write_table(table(large), folder / "files" / f"{name}.parquet")
    large_ones = {"huge": {}, "huge_loose": LOOSE, "large": {"base_cells": True, "largest_share": 60},
                  "large_close": {"base_cells": True, "p_percent": 10}}  # fmt: skip
    relations |= {n: {"table": n.removesuffix("_loose"), "columns": COLUMNS} for n in large_ones}
    grants = [{"id": n, "relation": n, **GRANT, **terms} for n, terms in {**TERMS, **large_ones}.items()]
    files = {n: {"format": "parquet", "glob": f"{n}.parquet"} for n in (*TERMS, "huge", "large", "large_close")}
    house = House(folder, {
        "department": "dept", "relations": relations, "grants": grants,
        "sources": {"main": {"kind": "files", "path": "files", "tables": files}}, "limits": {"seconds": 3600},
    }, {})  # fmt: skip
    opened = house.open()
    yield house, opened
    opened.close()


@dataclass(frozen=True)
class Case:
    """A question and what it must end in; beside it one that is answered."""

    relation: str
    what: str
    ward: str
    expect: Any
    twin: str
    answer: Any


NOTHING = [(None,)]
ODD = [(w, t) for w in ("infinite", "endless", "nan", "both") for t in TERMS if t != "noisy"]
CASES = [
    *(Case(t, "sum(t.level)", f"t.ward = '{w}'", NOTHING, "t.ward = 'plain'",
           [(0.0 if t == "rounded" else 12.0,)]) for w, t in ODD),
    *(Case(t, "avg(t.level)", f"t.ward = '{w}'", NOTHING, "t.ward = 'plain'", [(1.5,)]) for w, t in ODD
      if t in ("loose", "ruled")),
    Case("noisy", "sum(t.level)", "t.ward = 'infinite'", NOTHING, "t.ward = 'plain'", None),
    Case("guarded", "sum(t.level)", "t.ward <> 'twice'", NOTHING, "t.ward = 'twice'", [(12.0,)]),
    # Three people in six lines are three.
    Case("loose", "count(*)", "t.ward = 'doubled'", NOTHING, "t.ward = 'twice'", [(8,)]),
    Case("guarded", "count(*)", "t.ward = 'doubled'", NOTHING, "t.ward = 'twice'", [(8,)]),
    # What is owed cancels what is due: the sum is small, the one who makes it is not.
    Case("shares", "sum(t.due)", "t.ward = 'cancels'", NOTHING, "t.ward = 'plain'", [(80,)]),
    Case("close", "sum(t.due)", "t.ward = 'cancels'", NOTHING, "t.ward = 'plain'", [(80,)]),
    Case("ruled", "sum(t.due)", "t.ward = 'cancels'", NOTHING, "t.ward = 'plain'", [(80,)]),
    # No ward, the empty one and one of that name are three.
    Case("loose", "count(*)", "t.ward = 'none'", NOTHING, "t.ward = ''", [(8,)]),
    Case("guarded", "count(*)", "t.ward = 'NULL'", NOTHING, "t.ward IS NULL", [(8,)]),
    Case("ruled", "count(*)", "t.ward = ' '", NOTHING, "t.ward = 'None'", [(8,)]),
    # Whether a sum has too many digits tells of nobody: none is given, wherever the large ones lie.
    *(Case(r, "sum(t.cost)", f"t.ward = '{w}'", "EXECUTION", "t.ward = 'twice'", "count")
      for r in ("huge", "huge_loose", "large", "large_close") for w in ("plain", "tiny", "twice", "nobody")),
]  # fmt: skip


async def said(house: House, agent: Agent, sql: str) -> Any:
    async with house.client("bi", "statistics", agent) as ask:
        try:
            return tuples(await ask.rows(sql))
        except CityError as refused:
            return refused.outcome.name


@pytest.mark.parametrize("case", CASES, ids=[f"{c.relation}: {c.what} where {c.ward}" for c in CASES])
async def test_odd_values_show_nobody_and_the_legal_twin_is_answered(agent: tuple[House, Agent], case: Case) -> None:
    house, opened = agent
    source = f"FROM dept.main.{case.relation} AS t WHERE"
    assert await said(house, opened, f"SELECT {case.what} AS c0 {source} {case.ward}") == case.expect
    if case.answer == "count":
        assert await said(house, opened, f"SELECT count(*) AS c0 {source} {case.twin}") == [(8,)]
        return
    answered = await said(house, opened, f"SELECT {case.what} AS c0 {source} {case.twin}")
    assert answered == case.answer if case.answer is not None else answered[0][0] is not None


async def test_by_ward_no_key_is_taken_for_another(agent: tuple[House, Agent]) -> None:
    house, opened = agent
    for relation in ("loose", "guarded", "solid"):
        sql = f"SELECT t.ward AS c0, count(*) AS c1 FROM dept.main.{relation} AS t GROUP BY t.ward"
        found = dict(await said(house, opened, sql))
        assert [found.get(w) for w in ("", None, "None", "doubled")] == [8, 8, 8, None]
