"""Answers that departments let the gateway keep: given again to who got them, as long as they say, and unreadable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from catalog.http import Client
from connectors.agent import fragment
from gateway import kept
from gateway.execution import Execution
from gateway.kept import Copy
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


def test_masks_and_receipts_are_told_again_and_nothing_counts_as_delivered(house: House, lin: Dashboard) -> None:
    def ask() -> dict[str, Any]:
        own = {"Authorization": lin.own["Authorization"]}
        asked = {"sql": JOIN, "purpose": "mass-balance"}
        found: dict[str, Any] = house.http.post("/api/query", json=asked, headers=own).json()
        return found

    first, again = ask(), ask()
    assert again["rows"] == first["rows"]
    told = ("name", "mode", "masks", "filtered", "receipts", "vintages")
    assert [[d[k] for k in told] for d in again["departments"]] == [[d[k] for k in told] for d in first["departments"]]
    assert {(d["state"], d["rows"], d["bytes"]) for d in again["departments"]} == {("kept", 0, 0)}
    ends = [r for r in house.gateway.ledger.records() if r["kind"] == "end"]
    assert (len(ends[-2]["receipts"]), ends[-1]["receipts"]) == (2, [])


def test_to_analyze_is_to_ask(lin: Dashboard) -> None:
    lin.ask(LONE)
    for _ in range(2):
        rows, _, asked = lin.ask(f"EXPLAIN ANALYZE {LONE}")
        assert asked["sqlite"] == 1
        assert "delivered 0 bytes" not in str(rows)


@pytest.mark.parametrize(
    "expression",
    [
        "from_unixtime(id) AT TIME ZONE 'Asia/Shanghai'", "ARRAY[from_unixtime(id) AT TIME ZONE 'Europe/Paris']",
        "CAST(ROW(id) AS ROW(Name bigint))", "MAP(ARRAY[id], ARRAY[note])", "CAST(note AS char(40))", "NULL",
        "CAST(id AS decimal(38, 7))", "TIME '01:02:03.123'", "CAST(note AS varbinary)", "nan()", "ARRAY[]",
        "DATE '2024-01-01'",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["arrow", "json"])
def test_every_type_comes_again_as_it_came(house: House, lin: Dashboard, expression: str, form: str) -> None:
    sql = f"SELECT {expression} AS x FROM dept.main.notes WHERE id < 3"
    own, asked = {"Authorization": lin.own["Authorization"]}, {"sql": sql, "purpose": "mass-balance", "format": form}
    answers = [house.http.post("/api/query", json=asked, headers=own) for _ in range(2)]
    assert {a.status_code for a in answers} == {200}
    if form == "arrow":
        first, again = (pa.ipc.open_stream(a.content).read_all() for a in answers)
        assert again.schema.equals(first.schema, check_metadata=False)
        assert repr(again.to_pylist()) == repr(first.to_pylist())
        return
    first, again = (a.json() for a in answers)
    assert (again["columns"], again["rows"]) == (first["columns"], first["rows"])


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


def test_what_is_not_given_any_more_does_not_come_back(lin: Dashboard, changing: Any) -> None:
    lin.ask(LONE)
    changing({**KEPT, "max_rows": 100_000})
    assert lin.ask(LONE)[2]["sqlite"] == 1
    changing(KEPT)
    assert lin.ask(LONE)[2]["sqlite"] == 1


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


@pytest.mark.parametrize(
    "at", ["", "x", "0001-01-01T00:00:00", "9999-12-31T23:59:59+00:00", "2000-01-01T00:00:00+00:00"]
)
def test_a_receipt_that_says_nonsense_breaks_no_answer(
    lin: Dashboard, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    signed = fragment.sign_receipt
    monkeypatch.setattr(
        fragment, "sign_receipt", lambda r, key: signed(r.model_copy(update={"at": at, "keep_seconds": 10**6}), key)
    )
    rows, *_ = lin.ask(LONE)
    again, _, asked = lin.ask(LONE)
    assert again == rows
    assert asked["sqlite"] == (0 if at.startswith("9999") else 1)


def test_the_next_day_of_the_session_departments_are_asked(lin: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    lin.ask(LONE)
    now = Execution.now.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Execution, "now", property(lambda execution: now(execution) + timedelta(days=1)))
    assert lin.ask(LONE)[2]["sqlite"] == 1


def test_what_cannot_be_read_again_is_asked(lin: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, *_ = lin.ask(LONE)
    monkeypatch.setattr(kept, "_cipher", lambda _: AESGCM(bytes(32)))
    assert lin.ask(LONE)[0] == rows
    assert lin.ask(LONE)[2] == {"sqlite": 0, "files": 0}


def test_many_small_batches_are_as_large_as_they_are() -> None:
    copy, batch = Copy(1 << 20), pa.record_batch({"x": pa.array([True])})
    for _ in range(2_000):
        copy.add(batch)
    assert not copy.whole
    assert not copy.batches
    slim = Copy(1 << 20)
    slim.add(pa.record_batch({"x": pa.array(range(1_000_000))}).slice(0, 1))
    assert not slim.whole


def test_what_may_be_given_no_more_is_let_go_of(house: House, lin: Dashboard, changing: Any) -> None:
    changing({**KEPT, "keep_seconds": 1})
    lin.ask(LONE)
    deadline = time.monotonic() + 30
    while dict.__len__(house.gateway._kept._known._Cache__data):  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
