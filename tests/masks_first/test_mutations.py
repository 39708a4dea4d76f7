"""The suite notices each way in which masks are known to fail: a build with that fault gives another answer.

Each fault is made by replacing one function of the agent. `differing` runs the suite's own questions on the
faulty build; a fault that changes none of them would mean that the suite proves nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from catalog import policy
from catalog.errors import CityError
from connectors.agent import fragment, inverse, plan, pushdown
from connectors.agent.authorise import Access
from connectors.agent.enforce import enforce, enforce_grouped
from tests.masks_first.oracle import Oracle, bag
from tests.masks_first.people import people_copy
from tests.masks_first.shapes import ORDERED, SHAPES, describe
from tests.masks_first.silos import Department

pytestmark = [
    pytest.mark.parametrize("department", ["sqlite"], indirect=True),
    pytest.mark.usefixtures("nothing_kept"),
]
BORN = describe("born", people_copy())


@pytest.fixture(autouse=True)
def no_rule_for_dates(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conditions on `born` stay above, so that each fault shows in every shape that it concerns."""
    if "inverse" not in request.node.name:
        monkeypatch.delitem(inverse.RULES, "date")


def differing(department: Department, oracle: Oracle) -> set[str]:
    """The shapes on `born` that this build answers otherwise, or not at all. Each is asked alone."""
    found = set()
    for shape in SHAPES:
        sql = BORN.sql(shape)
        expected = oracle.rows(sql)
        try:
            rows = department.ask(sql).rows
        except CityError:
            found.add(shape)
            continue
        if bag(rows) != bag(expected) or (shape in ORDERED and rows != expected):
            found.add(shape)
    return found


def test_the_build_without_a_fault_differs_nowhere(department: Department, oracle: Oracle) -> None:
    assert differing(department, oracle) == set()


def test_masks_in_the_outermost_projection_only(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = plan.plan_rows

    def outermost(tree: Any, access: Access, *rest: Any) -> plan.RowPlan:
        masks = {n: g.masks for n, g in access.visible().items()}["people"]
        outputs = [item.this.name if item.this.key == "column" else "" for item in tree.selects]
        grants = tuple(
            g.model_copy(update={"masks": {c: m for c, m in g.masks.items() if m == "deny"}})
            for g in access.department.grants
        )
        fields = {name: getattr(access.department, name) for name in policy.Department.model_fields}
        bare = policy.Department.model_construct(**{**fields, "grants": grants})
        found = honest(tree, Access(bare, access._context, access.principal, access.now), *rest)
        listed = ", ".join(
            f"{masks[o].duckdb(name) if o in masks else name} AS {name}"
            for o, (name, _) in zip(outputs, found.columns, strict=True)
        )
        columns = tuple(
            (name, masks[o].type if o in masks else kind)
            for o, (name, kind) in zip(outputs, found.columns, strict=True)
        )
        return replace(found, sql=f"SELECT {listed} FROM ({found.sql}) AS q", columns=columns, copies=())

    monkeypatch.setattr(fragment, "plan_rows", outermost)
    found = differing(department, oracle)
    assert found >= {
        "equal", "unequal-or", "less-and", "in", "between", "raw", "group", "having", "extremes", "top", "case",
        "window", "self-join", "join", "in-query", "exists",
    }  # fmt: skip
    assert "shown" not in found


def test_predicates_on_masked_columns_go_to_the_source(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pushdown.predicates_of
    monkeypatch.setattr(plan, "predicates_of", lambda table, relation, allowed: honest(
        table, replace(relation, masks={}), allowed))  # fmt: skip
    assert differing(department, oracle) == {"equal", "less-and", "in", "between", "limit"}


@pytest.mark.parametrize("off", [-200, 200])
def test_an_inverse_image_beside_the_point(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    """Every bound too early, or too late: rows at the other edge of a year are lost."""
    honest = inverse.RULES["date"]

    def shifted(mask: Any, op: Any, values: Any) -> Any:
        found = honest(mask, op, values)
        days = timedelta(days=off)
        moved = tuple((o, tuple(v + days for v in vs)) for o, vs in found.conditions) if found is not None else ()
        return replace(found, conditions=moved) if found is not None else None

    assert differing(department, oracle) == set()
    monkeypatch.setitem(inverse.RULES, "date", shifted)
    assert differing(department, oracle) >= {"equal", "less-and" if off < 0 else "between"}


def test_bind_keys_on_masked_columns_go_to_the_source(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pushdown.keys_of
    monkeypatch.setattr(plan, "keys_of", lambda table, relation, allowed: honest(
        table, replace(relation, masks={}), allowed))  # fmt: skip
    sql = 'SELECT t.id AS c0 FROM dept.main.people AS t WHERE t.born IN (SELECT k FROM "$keys")'
    expected = oracle.rows(BORN.sql("equal"))
    assert len(department.ask(sql, keys=pa.array(BORN.keys[:1])).rows) < len(expected)


def test_a_build_without_the_row_filter(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfiltered(honest: Callable[..., Any]) -> Callable[..., Any]:
        def scan(*arguments: Any, **named: Any) -> Any:
            found = honest(*arguments, **named)
            return replace(found, native=replace(found.native, row_filters=()))

        return scan

    monkeypatch.setattr(plan, "enforce", unfiltered(enforce))
    monkeypatch.setattr(plan, "enforce_grouped", unfiltered(enforce_grouped))
    assert differing(department, oracle) >= set(SHAPES) - {"raw", "limit", "case", "union", "in-query"}


def test_grouping_by_raw_values_with_masks_put_on_afterwards(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pushdown.grouped

    def raw_groups(select: Any, table: Any, relation: Any, allowed: Any) -> Any:
        return honest(select, table, replace(relation, masks={}), allowed)

    def masked_later(name: str, relation: Any, group: Any, *rest: Any) -> Any:
        found = enforce_grouped(name, relation, group, *rest)
        listed = [
            relation.masks[k.column].duckdb(f'"{k.name}"') + f' AS "{k.name}"'
            if k.column in relation.masks else f'"{k.name}"'
            for k in group.keys
        ] + [f'"{a.name}"' for a in group.aggregates]  # fmt: skip
        return replace(found, projection=", ".join(listed))

    monkeypatch.setattr(plan, "grouped", raw_groups)
    monkeypatch.setattr(plan, "enforce_grouped", masked_later)
    assert differing(department, oracle) >= {"group"}


def test_a_limit_below_a_predicate_that_stays_above(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pushdown.limit_of
    monkeypatch.setattr(plan, "limit_of", lambda tree, table, complete, sources: honest(tree, table, True, sources))
    assert differing(department, oracle) == {"limit"}


def test_masks_that_leave_something_through(
    department: Department, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A projection that forgets one mask of many."""

    def forgetful(name: str, relation: Any, *rest: Any, **named: Any) -> Any:
        masks = {c: m for c, m in relation.masks.items() if c != "born"}
        return enforce(name, replace(relation, masks=masks), *rest, **named)

    def grouping_raw(name: str, relation: Any, group: Any, *rest: Any) -> Any:
        return enforce_grouped(name, relation, replace(group, masked={}), *rest)

    monkeypatch.setattr(plan, "enforce", forgetful)
    monkeypatch.setattr(plan, "enforce_grouped", grouping_raw)
    assert differing(department, oracle) >= set(SHAPES) - {"null", "limit", "union", "like"}
