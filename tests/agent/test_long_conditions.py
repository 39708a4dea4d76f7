"""Conditions of very many parts are answered, whatever depth a source's own parser knows."""

from __future__ import annotations

from pathlib import Path

from tests.agent.house import House, tuples

POLICY = {
    "department": "dept",
    "relations": {"line": {"table": "line", "columns": {"id": "bigint", "item": "bigint"}}},
    "grants": [{"id": "l", "relation": "line", "purposes": ["mass-balance"], "mode": "masked"}],
}
TABLES = {"line": ("id INTEGER, item INTEGER", [(n, 2 * n) for n in range(400)])}


async def test_two_hundred_ors_of_ands_and_ands_of_ors(tmp_path: Path) -> None:
    either = " OR ".join(f"(t.id = {n} AND t.item = {2 * n})" for n in range(200))
    both = " AND ".join(f"(t.id <> {n} OR t.item <> {2 * n})" for n in range(200))
    async with House(tmp_path / "dept", POLICY, TABLES).client("lin", "mass-balance") as ask:
        for condition in (either, both, f"NOT ({either})", f"NOT ({both})"):
            counted = await ask.rows(f"SELECT count(*) AS c0 FROM dept.main.line AS t WHERE {condition}")
            assert tuples(counted) == [(200,)]
