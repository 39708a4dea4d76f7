"""One department for most of the agent's tests: water-like usage, people with every mask, a register."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.agent.service import Agent
from tests.agent.house import House

PEOPLE_DDL = (
    "id INTEGER, name TEXT, org_no TEXT, phone TEXT, mail TEXT, born TEXT, income INTEGER, debt TEXT, "
    "icd TEXT, note TEXT, kind TEXT, active INTEGER, seen TEXT, hidden INTEGER"
)
PEOPLE = {
    "id": "bigint",
    "name": "varchar",
    "org_no": "varchar(18)",
    "phone": "varchar",
    "mail": "varchar",
    "born": "date",
    "income": "integer",
    "debt": "decimal(12,2)",
    "icd": "varchar",
    "note": "varchar",
    "kind": "varchar",
    "active": "boolean",
    "seen": "timestamp(3)",
}
MASKS = {
    "name": "keep_first(1)",
    "org_no": "pseudonym(city)",
    "phone": "keep_last(3, fixed)",
    "mail": "email",
    "born": "date(year)",
    "income": "number(100, 50)",
    "debt": "number(0.5)",
    "icd": "prefix(1)",
    "note": "constant(withheld)",
    "seen": "date(month)",
}


def people(count: int = 300, seed: int = 4) -> list[tuple[Any, ...]]:
    """Awkward people: NULLs, NFD and emoji names, ties, limits."""
    rng = random.Random(seed)
    names = ["Ana", "Ａna", "e\u0301lan", "élan", "😀😀😀😀", "李雷", "", "O'Neill", "ana", "a" * 40]

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.1 else value

    rows = []
    for i in range(count):
        day = f"{rng.randint(1930, 2010)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        rows.append((
            i,
            maybe(rng.choice(names)),
            maybe(f"91{rng.randint(1, 40):04d}"),
            maybe(f"138{rng.randint(0, 99999):05d}"),
            maybe(rng.choice(["Ana@Hailan.CN", "x@y@z", "no mail", "b@hailan.cn"])),
            maybe(day),
            maybe(rng.choice([rng.randint(-500, 5000), -(2**31), 2**31 - 1, 0])),
            maybe(f"{rng.randint(-5000, 900000) / 100:.2f}"),
            maybe(rng.choice(["J45", "I21", "T67", "j45"])),
            maybe("a secret"),
            rng.choice("CH"),
            maybe(rng.randint(0, 1)),
            maybe(f"{day} 10:{rng.randint(10, 59)}:00.{rng.randint(100, 999)}"),
            int(i % 7 == 0),
        ))  # fmt: skip
    return rows


def usage(count: int = 600, seed: int = 5) -> list[tuple[Any, ...]]:
    rng = random.Random(seed)
    return [
        (
            f"91{rng.randint(1, 40):04d}",
            f"44990{rng.randint(1, 6)}",
            f"{rng.randint(2014, 2016)}-{rng.randint(1, 12):02d}-01",
            "L",
            f"{rng.randint(0, 10**7) / 1000:.3f}",
            rng.randint(0, 10**6),
        )
        for _ in range(count)
    ]


POLICY: dict[str, Any] = {
    "department": "water",
    "title": "Water Works",
    "linkage_groups": {"city": {"root": "file:root.hex", "normaliser": "company"}},
    "relations": {
        "people": {"table": "people", "columns": PEOPLE},
        "usage": {
            "table": "usage",
            "comment": "Water use by company and month.",
            "columns": {
                "org_no": "varchar",
                "district_code": "varchar",
                "month": "date",
                "unit": "varchar",
                "qty": "decimal(14,3)",
                "litres": "bigint",
            },
        },
        "secret": {"table": "people", "columns": {"id": "bigint", "name": "varchar"}},
    },
    "grants": [
        {
            "id": "people-masked",
            "relation": "people",
            "purposes": ["mass-balance"],
            "mode": "masked",
            "masks": MASKS,
            "row_filter": "hidden = 0",
        },
        {"id": "usage-masked", "relation": "usage", "purposes": ["mass-balance"], "mode": "masked"},
        {"id": "secret-audit", "relation": "secret", "purposes": ["audit"], "mode": "masked", "users": ["zhao"]},
    ],
}
USAGE_DDL = "org_no TEXT, district_code TEXT, month TEXT, unit TEXT, qty TEXT, litres INTEGER"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder: Path = tmp_path_factory.mktemp("water")
    tables = {"people": (PEOPLE_DDL, people()), "usage": (USAGE_DDL, usage())}
    return House(folder, POLICY, tables)


@pytest.fixture(scope="module")
def agent(house: House) -> Iterator[Agent]:
    opened = house.open()
    yield opened
    opened.close()
