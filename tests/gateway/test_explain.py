"""EXPLAIN ANALYZE tells where a statement's time and bytes went; `require_pushdown` refuses what EXPLAIN names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CityError, Outcome
from catalog.types import parse
from gateway.clock import Clock
from gateway.execution import Execution, Session
from gateway.pipeline import Gateway
from gateway.plan import bind, whole
from tests.attack.world import World, open_world, running_gateway

KINDS = ("sqlite", "files")
ROWS = 3_000
TYPES = {n: parse(t) for n, t in {"id": "bigint", "word": "varchar", "size": "integer"}.items()}
DATA = {"notes": (TYPES, [(i, f"word {i % 50}", i % 1000) for i in range(ROWS)])}
POLICY: dict[str, Any] = {
    "department": "dept", "title": "Notes", "purposes": ["mass-balance"],
    "relations": {
        "notes": {
            "table": "notes", "key": ["id"], "rows": 20_000, "columns": {n: str(t) for n, t in TYPES.items()},
        },
    },
    "grants": [{"relation": "notes", "purposes": ["mass-balance"], "mode": "masked"}],
    "limits": {"keys": 1_000},
}  # fmt: skip
LOOK_UP = (
    "SELECT a.word, b.size FROM dept.main.notes AS a JOIN files.main.notes AS b ON a.id = b.id "
    "WHERE a.id = 7 AND a.word = 'word 7'"
)
WHOLE = "SELECT a.word, b.size FROM dept.main.notes AS a JOIN files.main.notes AS b ON a.size < b.size WHERE a.id = 7"
LONE = "SELECT id, word FROM dept.main.notes"


@dataclass
class City:
    """A gateway over two departments, and the session of a user."""

    gateway: Gateway
    session: Session

    def ask(self, sql: str, **properties: str) -> int:
        """Rows of the answer. Raises the statement's error."""
        session = replace(self.session, properties=properties)
        return sum(b.num_rows for b in self.gateway.submit(sql, session).batches())

    def ran(self, sql: str) -> dict[str, Any]:
        found = self.gateway.explain(sql, self.session, analyze=True).ran
        assert found is not None
        return found


@pytest.fixture(scope="module")
def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder: Path = tmp_path_factory.mktemp("explain")
    with ExitStack() as stack:
        world: World = stack.enter_context(open_world(folder, request, KINDS, gateway=False, data=DATA, policy=POLICY))
        gateway = running_gateway(world, stack)
        token = world.provider.login("lin", world.password("lin")).token
        yield City(gateway, replace(gateway.authenticate(token), purpose="mass-balance"))


# ---- where time and bytes went


def test_a_clock_gives_every_moment_to_one_thing() -> None:
    clock = Clock("one")
    with clock.at("two"):
        with clock.at("three"):
            time.sleep(0.02)
        time.sleep(0.01)
    clock.stop()
    elapsed = clock.elapsed
    time.sleep(0.01)
    clock.turn_to("nothing more")
    assert list(clock.spent) == ["one", "two", "three"]
    assert sum(clock.spent.values()) == pytest.approx(elapsed, abs=0.002)
    assert clock.spent["three"] >= 0.02
    assert clock.spent["two"] >= 0.01


@pytest.mark.parametrize("sql", [LOOK_UP, WHOLE, LONE, "SELECT 1"], ids=["look-up", "whole", "lone", "nothing"])
def test_the_parts_of_a_statements_time_add_up_to_what_it_took(city: City, sql: str) -> None:
    executions: list[Execution] = []
    submit = city.gateway.submit

    def watched(text: str, session: Session) -> Execution:
        executions.append(submit(text, session))
        return executions[-1]

    city.gateway.submit = watched  # type: ignore[method-assign]
    try:
        ran = city.ran(sql)
    finally:
        del city.gateway.submit  # type: ignore[method-assign]
    (execution,) = executions
    assert sum(ran["ms"].values()) == pytest.approx(ran["ms_in_all"], abs=0.1)
    assert ran["ms_in_all"] == pytest.approx(execution.seconds * 1000, abs=0.1)


def test_every_delivered_byte_and_row_is_some_fragments(city: City) -> None:
    ran = city.ran(LOOK_UP)
    assert ran["bytes_in_all"] == sum(d["bytes"] for d in ran["delivered"]) > 0
    first, second = sorted(ran["delivered"], key=lambda d: d["keys"])
    assert (first["rows"], second["rows"]) == (1, 1)
    assert (first["keys"], second["keys"]) == (0, 1)
    assert first["asked_ms"] + first["first_ms"] <= second["asked_ms"] + 0.1  # each is rounded
    assert 0 < second["first_ms"] <= second["done_ms"]


def test_waiting_for_a_department_is_told_by_its_name(city: City) -> None:
    ran = city.ran(LOOK_UP)
    departments = {d["fragment"]: d["department"] for d in ran["delivered"]}
    for fragment, department in departments.items():
        assert f"waiting for {fragment} of {department}" in ran["ms"]
    assert {"planning", "writing the ledger", "merging"} <= ran["ms"].keys()


def test_the_text_for_people_says_the_same(city: City) -> None:
    text = city.gateway.explain(LOOK_UP, city.session, analyze=True).text
    assert "ms  planning" in text
    assert "ms  in all" in text
    assert "1 rows" in text
    assert "bytes delivered for 1 keys" in text


def test_without_analyze_nothing_runs(city: City) -> None:
    before = len(city.gateway.executions())
    assert city.gateway.explain(LOOK_UP, city.session).ran is None
    assert len(city.gateway.executions()) == before


# ---- what is delivered whole


def test_a_relation_that_nothing_restricts_is_named_and_refused_on_demand(city: City) -> None:
    explained = city.gateway.explain(WHOLE, city.session)
    assert [bool(f["whole"]) for f in explained.fragments] == [False, True]
    assert "every row is delivered: no condition is on it alone" in explained.text
    assert city.ask(WHOLE) == city.ask(WHOLE, require_pushdown="false") > 0
    with pytest.raises(CityError, match=r"files\.main\.notes would be delivered whole: no condition") as refused:
        city.ask(WHOLE, require_pushdown="true")
    assert refused.value.outcome is Outcome.LIMIT
    assert refused.value.rule == "require_pushdown"


@pytest.mark.parametrize(
    "sql",
    [
        LOOK_UP,
        LONE,
        "SELECT a.word, n FROM dept.main.notes AS a JOIN (SELECT size, count(*) AS n FROM files.main.notes GROUP BY 1) "
        "AS b ON a.size < b.size WHERE a.id = 7",
        "SELECT a.word, b.size FROM dept.main.notes AS a, files.main.notes AS b WHERE a.id = 7 AND b.word = 'word 3'",
    ],
    ids=["keys", "one department", "groups", "a condition"],
)
def test_what_keys_groups_conditions_or_one_department_restrict_is_not_refused(city: City, sql: str) -> None:
    assert city.ask(sql, require_pushdown="true") > 0


def test_a_relation_that_its_owner_counts_as_small_may_be_read_whole(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "FEW", 20_000)
    assert city.ask(WHOLE + " AND 1 = 1", require_pushdown="true") > 0  # another text: the first one's plan is kept


def test_too_many_keys_at_run_time_are_refused_rather_than_the_relation_read(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bind, "MAX_KEYS", 40)
    sql = "SELECT b.size FROM dept.main.notes AS a JOIN files.main.notes AS b ON a.id = b.id WHERE a.word = 'word 7'"
    assert city.ask(sql) == 60
    with pytest.raises(CityError, match="60 keys came where 40 may be sent"):
        city.ask(sql, require_pushdown="true")
