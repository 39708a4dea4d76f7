"""Statements run as the gateway runs them where keys take the place of what only restricts (`plan.keyed`)."""

from __future__ import annotations

from functools import cache
from unittest import mock

import pyarrow as pa

from catalog.errors import CityError
from gateway.plan import Plan, keyed
from gateway.plan.asking import NoKeys
from gateway.plan.keyed import with_keyed
from gateway.rewrite import KEYED, Rule
from tests.differential.corpus import Statement
from tests.differential.harness import Rows, World, as_written, plan_of, resolved, rows_of, run
from tests.differential.world import CITY


def honest(here: World) -> World:
    """The same without rows whose declared key stands in an earlier row."""
    return World({n: _keyed(t, here.traits.get(n, {}).get("key", ())) for n, t in here.tables.items()}, here.traits)


def _keyed(table: pa.Table, key: tuple[str, ...]) -> pa.Table:
    if not key:
        return table
    names = list(zip(*(table.column(c).to_pylist() for c in key), strict=True))
    return table.take(pa.array([i for i, name in enumerate(names) if name not in names[:i]], pa.int64()))


HONEST = honest(CITY)


@cache
def pooled_once(here: World, statement: Statement) -> Rows:
    return rows_of(as_written(here, statement.plain)[0])


def wanted(here: World, sql: str) -> Plan | None:
    """The plan of a statement if keys are tried, whatever they are expected to spare; None if they are not."""
    try:
        with mock.patch.object(keyed, "_pays", return_value=True):
            plan = planned_keyed(here, sql)
    except CityError:
        return None
    return plan if plan.keyed is not None else None


def planned_keyed(here: World, sql: str, rules: tuple[Rule, ...] = KEYED) -> Plan:
    """As `harness.planned`, and the plan that is tried before it."""
    bound = resolved(here, sql)
    return with_keyed(plan_of(bound), bound.tree, bound.relations, bound.local, rules)


def tried(here: World, plan: Plan) -> Rows | None:
    """What the plan with keys answers; None if what came for keys was not such, and the other one has to."""
    assert plan.keyed is not None
    try:
        return run(here, plan.keyed)
    except NoKeys:
        return None
