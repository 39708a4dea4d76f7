"""From two agents' own descriptions to the planner's decision: which pseudonyms join, and that they do.

Only what the agents say of their relations decides; the gateway knows no group, and has no key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import AccessDenied, Outcome
from gateway.catalogue import DepartmentView, UserView
from gateway.execution import Session
from gateway.pipeline import plan_query
from gateway.plan import Plan
from tests.agent.house import House
from tests.masks_first.silos import Department

PURPOSE = "mass-balance"
FIRMS = [("91AB01", "Dye Works"), ("91AB02", "Canteen"), ("91CD", "Laundry"), (None, "nobody")]
METERS = [(1, " 91ab01"), (2, "９１ＡＢ０１"), (3, "91CD"), (4, "91XX"), (5, None)]
JOIN = "SELECT f.name, m.id FROM firms.main.firm f JOIN meters.main.meter m ON m.org = f.org"
Group = dict[str, Any]
CITY: Group = {"root": "file:root.hex", "normaliser": "company"}


def _policy(
    department: str, table: str, columns: dict[str, str], groups: dict[str, Group], mask: str
) -> dict[str, Any]:
    return {
        "department": department, "linkage_groups": groups,
        "relations": {table: {"table": table, "columns": columns}},
        "grants": [{"relation": table, "purposes": [PURPOSE, "statistics"], "mode": "masked",
                    "masks": {"org": mask} if mask else {}}],
    }  # fmt: skip


@contextmanager
def two_departments(tmp_path: Path, groups: dict[str, Group], mask: str) -> Iterator[dict[str, Department]]:
    """`firms` with pseudonym(city) of the group CITY, and `meters` with the groups and the mask given."""
    firms = _policy("firms", "firm", {"org": "varchar", "name": "varchar"}, {"city": CITY}, "pseudonym(city)")
    meters = _policy("meters", "meter", {"id": "bigint", "org": "varchar"}, groups, mask)
    houses = {
        "firms": House(tmp_path / "firms", firms, {"firm": ("org TEXT, name TEXT", FIRMS)}),
        "meters": House(tmp_path / "meters", meters, {"meter": ("id INTEGER, org TEXT", METERS)}),
    }
    with ExitStack() as stack:
        found = {}
        for name, house in houses.items():
            agent = house.open()
            stack.callback(agent.close)
            found[name] = Department("sqlite", house, agent, PURPOSE)
        yield found


def plan(departments: dict[str, Department], sql: str) -> Plan:
    lists = {n: d.agent.relations(d.principal()) for n, d in departments.items()}
    views = tuple(DepartmentView(n, n, "up", found) for n, found in lists.items())
    relations = {r.full_name: r for found in lists.values() for r in found.relations}
    view = UserView("lin", PURPOSE, (PURPOSE,), views, relations, {})
    return plan_query(sql, view, Session("lin", purpose=PURPOSE))


def joined(departments: dict[str, Department]) -> set[tuple[str, int]]:
    """The join of what each department answers to its own fragment."""
    answers = [departments[f.department].ask(f.sql).rows for f in plan(departments, JOIN).fragments]
    firms = next(a for a, f in zip(answers, plan(departments, JOIN).fragments, strict=True) if f.department == "firms")
    meters = next(a for a in answers if a is not firms)
    return {(name, number) for org, name in firms for number, own in _by_type(meters) if own == org and own is not None}


def _by_type(rows: list[tuple[Any, ...]]) -> list[tuple[int, Any]]:
    return [tuple(sorted(row, key=lambda v: not isinstance(v, int))) for row in rows]  # type: ignore[misc]


def test_two_departments_of_one_group_join(tmp_path: Path) -> None:
    with two_departments(tmp_path, {"city": CITY}, "pseudonym(city)") as departments:
        assert joined(departments) == {("Dye Works", 1), ("Dye Works", 2), ("Laundry", 3)}


@pytest.mark.parametrize(
    ("groups", "mask", "words"),
    [
        ({"other": CITY}, "pseudonym(other)", ["group 'city'", "group 'other'"]),
        ({"city": {**CITY, "epoch": "2025"}}, "pseudonym(city)", ["epoch '2025'"]),
        ({"city": CITY}, "", ["meters.main.meter.org is no pseudonym"]),
        ({"city": CITY}, "token", ["group 'token@meters'"]),
        ({"city": CITY}, "prefix(4)", ["meters.main.meter.org is no pseudonym"]),
    ],
    ids=["another group", "another epoch", "plain", "a token", "another mask"],
)
def test_what_never_joins_is_refused(tmp_path: Path, groups: dict[str, Group], mask: str, words: list[str]) -> None:
    with two_departments(tmp_path, groups, mask) as departments:
        with pytest.raises(AccessDenied) as refused:
            plan(departments, JOIN)
        alone = plan(departments, "SELECT m.org, COUNT(*) FROM meters.main.meter m GROUP BY m.org")
    assert (refused.value.outcome, refused.value.rule) == (Outcome.MODE, "linkage group")
    for word in ["firms.main.firm.org is a pseudonym", *words]:
        assert word in refused.value.message
    assert len(alone.fragments) == 1
