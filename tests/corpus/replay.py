"""A statement through the gateway and the agents' own compiler, told as Trino's wire tells it.

parse -> resolve -> authorise -> rewrite -> plan, then every fragment's text through the agent's `admit` and the
compiler that both sides share, then the merge, then the JSON of the pages. Network, tokens and ledgers have tests
of their own.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from catalog import duck
from catalog.errors import CityError
from catalog.types import field_type
from connectors.agent.admit import admit
from gateway.execution import ResultColumn
from gateway.parse import too_deep
from gateway.plan import FragmentPlan, Plan
from gateway.server.rows import encode
from tests.corpus.fixtures import decoded
from tests.differential.harness import SESSION, Engine, World, merging, plan_of, resolved

__all__ = ["answered", "replay"]

Answer = dict[str, Any]


def replay(here: World, sql: str, zone: str = "UTC") -> Answer:
    """{columns, rows} or {error, message}, as tests.corpus.trino's. zone: the session's time zone."""
    try:
        return answered(here, sql, zone)
    except CityError as refused:
        return {"error": refused.trino.name, "message": refused.message}


def answered(here: World, sql: str, zone: str = "UTC") -> Answer:
    """{columns, rows}. Raises CityError."""
    try:
        plan = plan_of(resolved(here, sql, replace(SESSION, time_zone=zone)))
        table = _run(here, plan, duck.as_shown_in(datetime.now(UTC), zone))
    except duckdb.Error as failed:
        raise duck.translate_error(failed) from failed
    except RecursionError:
        raise too_deep() from None
    kinds = [field_type(f) for f in table.schema]
    columns = [ResultColumn(label, kind) for label, kind in zip(plan.labels, kinds, strict=True)]
    rows = [row for batch in table.to_batches() for row in decoded(encode(batch, columns))]
    return {"columns": [[c.name, str(c.type)] for c in columns], "rows": rows}


def _run(here: World, plan: Plan, now: datetime) -> pa.Table:
    answers = {f.id: _ask(here, f, now) for f in plan.fragments if f.keys is None}
    if plan.merge is None:
        return answers[plan.fragments[0].id]
    for fragment in (f for f in plan.fragments if f.keys is not None):
        # The keys only spare rows that the merge would drop: the whole side gives the same answer.
        answers[fragment.id] = _ask(here, fragment, now)
    stored = {**plan.local, **{n: t for n, t in answers.items() if n in plan.stored}}
    with merging(stored, {n: t for n, t in answers.items() if n not in plan.stored}) as engine:
        return replace(engine, now=now).ask(plan.merge)


def _ask(here: World, fragment: FragmentPlan, now: datetime) -> pa.Table:
    tree = admit(fragment.sql).tree
    engine: Engine = replace(here.engine, now=now)
    return engine.ask(tree, lambda name: name.startswith(f"{fragment.department}."))
