"""What its owner declares of a relation is shown where it holds: its key, on which the gateway then joins in the
department, to those whose rows keep it, and its row count, in two digits, to those who see all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.policy import PolicyError
from tests.agent.house import House

COLUMNS = {"org": "varchar", "month": "varchar", "litres": "bigint"}
TABLES = {"usage": ("org TEXT, month TEXT, litres INTEGER", [("a", "2025-01", 1)])}


def policy(grant: dict[str, Any], key: list[str], rows: int | None = None) -> dict[str, Any]:
    return {
        "department": "water",
        "linkage_groups": {"city": {"root": "file:root.hex"}},
        "relations": {"usage": {"table": "usage", "columns": COLUMNS, "key": key, **({"rows": rows} if rows else {})}},
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


@pytest.mark.parametrize(
    ("grant", "rows", "shown"),
    [
        ({}, 98_765, 99_000),
        ({}, 1_234, 1_200),
        ({}, 39, 39),
        ({}, 7, 7),
        ({}, None, None),
        ({"masks": {"org": "prefix(1)"}}, 1_234, 1_200),
        ({"row_filter": "litres > 5"}, 1_234, None),
        ({"mode": "aggregate", "entity": "org", "dimensions": ["month"]}, 1_234, None),
    ],
)
async def test_a_row_count_is_shown_in_two_digits_to_who_sees_all_rows(
    tmp_path: Path, grant: dict[str, Any], rows: int | None, shown: int | None
) -> None:
    house = House(tmp_path, policy(grant, ["org", "month"], rows), TABLES)
    async with house.client("lin", "mass-balance") as ask:
        (relation,) = (await ask.relations())["relations"]
    assert relation["rows"] == shown


def test_a_key_is_made_of_the_relations_columns(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="unknown column 'mont'"):
        House(tmp_path, policy({}, ["org", "mont"]), TABLES).open()
