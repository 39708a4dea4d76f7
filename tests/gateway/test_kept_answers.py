"""Answers that departments let the gateway keep: given again to who got them, as long as they say, and unreadable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from catalog.http import Client
from gateway.server.app import create_app
from tests.attack.world import World, open_world, running_gateway, served
from tests.gateway.test_caches import DATA, GRANT, JOIN, LONE, LONG, MANY, POLICY, House, until_swept, values_in

KEPT = {**GRANT, "keep_seconds": 600}
MINUTES = {**POLICY, "grants": [KEPT]}
NOTICE = "kept as its departments allow"


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kept")
    with open_world(folder, request, ("sqlite", "files"), gateway=False, data=DATA, policy=MINUTES) as opened:
        yield opened


@dataclass
class Dashboard:
    """One user with one token, as a dashboard has it."""

    house: House
    own: dict[str, str]

    def ask(self, sql: str, **more: str) -> tuple[list[list[Any]], list[str], dict[str, int]]:
        """(rows, warnings, fragments that each department began for it)"""
        names = ("sqlite", "files")
        before = {name: self.house.begun(name) for name in names}
        own = {**self.own, **more}
        page = self.house.http.post("/v1/statement", content=sql, headers=own).json()
        rows: list[list[Any]] = []
        while True:
            assert "error" not in page, page["error"]
            rows += page.get("data", [])
            if "nextUri" not in page:
                break
            page = self.house.http.get(page["nextUri"], headers=own).json()
        told = [w["message"] for w in page.get("warnings", ())]
        return rows, told, {name: self.house.begun(name) - before[name] for name in names}


@pytest.fixture
def house(world: World) -> Iterator[House]:
    with ExitStack() as stack:
        gateway = running_gateway(world, stack)
        app = create_app(gateway, LONG)
        url = stack.enter_context(served(app))
        yield House(world, gateway, app, stack.enter_context(Client(base_url=url, timeout=60, trust_env=False)))


@pytest.fixture
def lin(house: House) -> Dashboard:
    return Dashboard(house, house.headers("lin"))


@pytest.fixture
def changing(house: House) -> Iterator[Any]:
    """Write other grants of the first department, in force and known to the gateway when this returns."""
    department = house.world.departments["sqlite"]

    def change(*grants: dict[str, Any]) -> None:
        department.house.write(grants=list(grants))
        department.agent.reload()
        house.gateway.catalogue.forget("dept")

    yield change
    change(KEPT)


@pytest.mark.parametrize("sql", [LONE, JOIN, "SELECT count(*) FROM dept.main.notes", f"{LONE} WHERE id < 0"])
def test_an_equal_question_is_answered_again_and_says_of_when_it_is(house: House, lin: Dashboard, sql: str) -> None:
    rows, told, asked = lin.ask(sql)
    assert asked["sqlite"]
    assert not any(NOTICE in w for w in told)
    again, said, nobody = lin.ask(sql)
    assert again == rows
    assert nobody == {"sqlite": 0, "files": 0}
    assert [w for w in said if NOTICE not in w] == told
    (notice,) = [w for w in said if NOTICE in w]
    begins = [r for r in house.gateway.ledger.records() if r["kind"] == "begin"]
    assert begins[-1]["kept"] == begins[-2]["query"]
    assert begins[-2]["query"] in notice
    assert [r for r in house.gateway.ledger.records() if r["kind"] == "end"][-1]["rows"] == len(rows)


def test_whoever_wants_it_anew_says_so(lin: Dashboard) -> None:
    lin.ask(JOIN)
    assert lin.ask(JOIN, **{"X-Trino-Session": "purpose=mass-balance,fresh=true"})[2] == {"sqlite": 1, "files": 1}
    assert lin.ask(JOIN)[2] == {"sqlite": 0, "files": 0}


@pytest.mark.parametrize(
    "other",
    [
        {"X-Trino-Time-Zone": "Asia/Shanghai"}, {"X-Trino-Catalog": "dept"}, {"X-Trino-Session": "allow_partial=true"},
        {"X-Trino-Session": "purpose=mass-balance,require_pushdown=false"},
    ],
)  # fmt: skip
def test_in_another_session_departments_are_asked(lin: Dashboard, other: dict[str, str]) -> None:
    lin.ask(LONE)
    own = {**lin.own, "X-Trino-Client-Tags": "purpose:mass-balance"}
    assert Dashboard(lin.house, own).ask(LONE, **other)[2]["sqlite"] == 1


def test_nobody_else_gets_it_and_not_with_another_token(house: House, lin: Dashboard) -> None:
    lin.ask(LONE)
    for user in ("mei", "lin"):
        assert Dashboard(house, house.headers(user)).ask(LONE)[2]["sqlite"] == 1
    assert lin.ask(f"{LONE} ")[2]["sqlite"] == 1


def test_one_department_that_does_not_allow_it_is_enough(lin: Dashboard, changing: Any) -> None:
    changing(GRANT)
    for sql, asked in ((LONE, {"sqlite": 1, "files": 0}), (JOIN, {"sqlite": 1, "files": 1})):
        lin.ask(sql)
        assert lin.ask(sql)[2] == asked
    files = LONE.replace("dept.", "files.")
    lin.ask(files)
    assert lin.ask(files)[2] == {"sqlite": 0, "files": 0}


def test_a_changed_policy_ends_what_was_kept(lin: Dashboard, changing: Any) -> None:
    rows, *_ = lin.ask(LONE)
    changing({**KEPT, "masks": {"note": "keep_first(1)", "mark": "deny"}})
    masked, _, asked = lin.ask("SELECT id, note FROM dept.main.notes")
    assert asked["sqlite"] == 1
    assert len(masked) == len(rows)
    assert not values_in(repr(masked).encode())
    with pytest.raises(AssertionError):
        lin.ask(LONE)
    changing(KEPT)
    assert lin.ask(LONE)[0] == rows


def test_a_revoked_grant_ends_what_was_kept(lin: Dashboard, changing: Any) -> None:
    lin.ask(LONE)
    changing()
    with pytest.raises(AssertionError, match="TABLE_NOT_FOUND"):
        lin.ask(LONE)


def test_it_is_asked_again_when_its_time_is_over(lin: Dashboard, changing: Any) -> None:
    changing({**KEPT, "keep_seconds": 1})
    assert lin.ask(LONE)[2]["sqlite"] == 1
    for _ in range(10_000):
        if lin.ask(LONE)[2]["sqlite"]:
            return
    pytest.fail("kept for ever")


def test_a_long_answer_is_not_kept(lin: Dashboard) -> None:
    rows, *_ = lin.ask(MANY)
    assert len(rows) == 72_000
    assert lin.ask(MANY)[2] == {"sqlite": 1, "files": 1}


def test_what_the_gateway_itself_knows_is_of_this_moment(lin: Dashboard) -> None:
    sql = "SELECT n.id FROM dept.main.notes n CROSS JOIN system.runtime.queries q"
    lin.ask(sql)
    assert lin.ask(sql)[2]["sqlite"] == 1


def test_what_is_kept_cannot_be_read_without_the_users_token(house: House, lin: Dashboard) -> None:
    rows, *_ = lin.ask(LONE)
    until_swept(house)
    assert house.held() == []
    assert lin.ask(LONE)[0] == rows
    assert lin.ask(LONE)[2] == {"sqlite": 0, "files": 0}
