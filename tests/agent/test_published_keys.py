"""A relation's declared key is shown to those whose rows keep it: the gateway then joins on it in the department."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.policy import PolicyError
from tests.agent.house import House

COLUMNS = {"org": "varchar", "month": "varchar", "litres": "bigint"}
TABLES = {"usage": ("org TEXT, month TEXT, litres INTEGER", [("a", "2025-01", 1)])}


def policy(grant: dict[str, Any], key: list[str]) -> dict[str, Any]:
    return {
        "department": "water",
        "linkage_groups": {"city": {"root": "file:root.hex"}},
        "relations": {"usage": {"table": "usage", "columns": COLUMNS, "key": key}},
        "grants": [{"relation": "usage", "purposes": ["mass-balance"], "mode": "masked", **grant}],
    }


@pytest.mark.parametrize(
    ("grant", "shown"),
    [
        ({}, ["org", "month"]),
        ({"masks": {"org": "pseudonym(city)"}}, ["org", "month"]),
        ({"masks": {"litres": "top_code(9)"}}, ["org", "month"]),
        ({"masks": {"org": "prefix(1)"}}, []),
        ({"columns": ["org", "litres"]}, []),
        ({"mode": "schema"}, []),
        ({"mode": "aggregate", "entity": "org", "dimensions": ["month"]}, []),
    ],
    ids=["all", "as a pseudonym", "another column masked", "masked", "half of it", "no rows", "sums"],
)
async def test_a_key_is_shown_where_rows_keep_it(tmp_path: Path, grant: dict[str, Any], shown: list[str]) -> None:
    house = House(tmp_path, policy(grant, ["org", "month"]), TABLES)
    async with house.client("lin", "mass-balance") as ask:
        (relation,) = (await ask.relations())["relations"]
    assert relation["key"] == shown


def test_a_key_is_made_of_the_relations_columns(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="unknown column 'mont'"):
        House(tmp_path, policy({}, ["org", "mont"]), TABLES).open()
