"""What a gateway holds of departments' values, where, and for how long (GOVERNANCE 12): as good as nothing.

It caches no results where departments do not allow it (`test_kept_answers`): an equal question is asked of them again.
What it must hold on the way (the page that a client may ask for once more, segments that wait to be fetched, private
databases of running queries) is gone when its time is over. What it remembers (plans, lists of relations) holds names.

Searched for canaries: everything that can be reached from a running gateway and from its threads' frames, its state
folder, spool, spill and logs, what it measures and tells of past queries, and what a crash leaves. Memory that was
freed is not searched, since Python does not wipe it: therefore no core file is ever written.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import yaml

from atoll.demo.idp import register_client
from catalog.http import Client, HTTPError
from catalog.keys import load as load_key
from catalog.ledger import read_ledger
from catalog.standards import city_tables
from catalog.types import parse
from gateway import kept, pipeline
from gateway.pipeline import Gateway
from gateway.plan import cache
from gateway.server.app import create_app
from gateway.server.session import Options
from tests.attack.world import World, open_world, running_gateway, served
from tests.servers import free_port

KINDS = ("sqlite", "files")
ROWS = 600
NOTES = {n: parse(t) for n, t in {"id": "bigint", "note": "varchar", "mark": "varchar", "hidden": "integer"}.items()}


def canary(table: str, number: int) -> str:
    return f"canary-{table}-{number * 7919 % 100_003:06d}-Xq4Zt"


def secret(number: int) -> str:
    return f"secret-{number * 7919 % 100_003:06d}-Bv9Km"


DATA = {"notes": (NOTES, [(i, canary("note", i), secret(i), 0) for i in range(ROWS)])}
GRANT = {"relation": "notes", "purposes": ["mass-balance"], "mode": "masked", "masks": {"mark": "keep_first(1)"}}
POLICY: dict[str, Any] = {
    "department": "dept", "title": "Notes", "purposes": ["mass-balance", "statistics"],
    "relations": {"notes": {"table": "notes", "columns": {n: str(t) for n, t in NOTES.items() if n != "hidden"}}},
    "grants": [GRANT],
}  # fmt: skip
LONE = "SELECT id, note, mark FROM dept.main.notes"
JOIN = "SELECT a.note, b.note AS other FROM dept.main.notes AS a JOIN files.main.notes AS b ON a.id = b.id ORDER BY 1"
GROUPED = "SELECT max(a.note), count(*) FROM dept.main.notes AS a JOIN files.main.notes AS b ON a.note = b.note"
FAILING = "SELECT CAST(a.note AS bigint) FROM dept.main.notes AS a JOIN files.main.notes AS b ON a.id = b.id"
MANY = "SELECT a.note, b.note AS other FROM dept.main.notes AS a CROSS JOIN files.main.notes AS b WHERE a.id < 120"
QUESTIONS = (LONE, JOIN, GROUPED)
PREFIXES = (b"canary-note-", b"secret-")


# ---- searching -------------------------------------------------------------------------------------------


def values_in(data: bytes) -> bool:
    """Whether any department's value is in it, as it is or in two bytes a character."""
    return any(p in data or p.decode().encode("utf-16-le") in data for p in PREFIXES)


def reachable(*roots: Any) -> Iterator[Any]:
    """Every object that can be reached from the roots without going through modules, classes and globals."""
    seen, stack = set(), list(roots)
    while stack:
        found = stack.pop()
        if id(found) in seen or isinstance(found, (types.ModuleType, type)):
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, types.FunctionType):
            stack += [*(found.__closure__ or ()), *(found.__defaults__ or ()), *found.__dict__.values()]
        else:
            stack += gc.get_referents(found)


def holds_values(found: Any) -> bool:
    """Whether this object itself holds a department's value."""
    if isinstance(found, str):
        return values_in(found.encode("utf-8", "replace"))
    if isinstance(found, (bytes, bytearray)):
        return values_in(bytes(found))
    if isinstance(found, (pa.Table, pa.RecordBatch)):
        columns = (c.chunks if isinstance(c, pa.ChunkedArray) else [c] for c in found.columns)
        return any(holds_values(b) for chunks in columns for c in chunks for b in c.buffers() if b is not None)
    if isinstance(found, (pa.Buffer, memoryview)):
        return values_in(bytes(found))
    return False


def frames_of_others() -> list[Any]:
    """Local variables of every thread but this one."""
    import threading

    frames = [f for ident, f in sys._current_frames().items() if ident != threading.get_ident()]
    found: list[Any] = []
    for frame in frames:
        at: types.FrameType | None = frame
        while at is not None:
            if "/gateway/" in at.f_code.co_filename:
                found += at.f_locals.values()
            at = at.f_back
    return found


# ---- a gateway in this process --------------------------------------------------------------------------


@dataclass
class House:
    """A running gateway over two departments, asked with a user's own token."""

    world: World
    gateway: Gateway
    app: Any
    http: Client

    def headers(self, user: str = "lin", **more: str) -> dict[str, str]:
        token = self.world.provider.login(user, self.world.password(user)).token
        return {
            "Authorization": f"Bearer {token}",
            "X-Trino-User": user,
            "X-Trino-Session": "purpose=mass-balance",
            **more,
        }

    def pages(self, sql: str, **headers: str) -> Iterator[dict[str, Any]]:
        """The pages of a statement as a client of the protocol reads them."""
        own = self.headers(**headers)
        page = self.http.post("/v1/statement", content=sql, headers=own).json()
        yield page
        while "nextUri" in page:
            page = self.http.get(page["nextUri"], headers=own).json()
            yield page

    def ask(self, sql: str, **headers: str) -> list[list[Any]]:
        rows: list[list[Any]] = []
        for page in self.pages(sql, **headers):
            assert "error" not in page, page["error"]
            rows += page.get("data", [])
        return rows

    def held(self) -> list[str]:
        """Types of what holds a value anywhere in the gateway."""
        gc.collect()
        return [type(o).__name__ for o in reachable(self.gateway, self.app, *frames_of_others()) if holds_values(o)]

    def begun(self, department: str = "sqlite") -> int:
        """Fragments that a department began."""
        book = self.world.departments[department].house.folder / "state" / "ledger.jsonl"
        return sum(r["kind"] == "begin" for r in read_ledger(book))


LONG = Options(segment_seconds=2.0, abandon_seconds=3600, sweep_seconds=3600)
"""The gateway sweeps when the test says so."""


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("caches")
    with open_world(folder, request, KINDS, gateway=False, data=DATA, policy=POLICY) as opened:
        yield opened


@pytest.fixture
def house(world: World) -> Iterator[House]:
    with ExitStack() as stack:
        gateway = running_gateway(world, stack)
        app = create_app(gateway, LONG)
        url = stack.enter_context(served(app))
        http = stack.enter_context(Client(base_url=url, timeout=60, trust_env=False))
        yield House(world, gateway, app, http)


def until_swept(house: House) -> None:
    """Let the promised time pass, and sweep as the gateway does: first what was left, then what ended."""
    statements = house.app.state.statements
    statements.options = replace(LONG, keep_seconds=0.0, abandon_seconds=0.0)
    deadline = time.monotonic() + 10
    while len(statements.spool) or statements.conversations:
        assert time.monotonic() < deadline
        statements.sweep()
        time.sleep(0.05)


@pytest.mark.parametrize("sql", QUESTIONS)
def test_what_was_answered_is_held_until_its_time_is_over(house: House, sql: str) -> None:
    pages = house.pages(sql)
    seen = [next(p for p in pages if p.get("data"))]
    assert house.held(), "the search finds nothing while a page waits: it can find nothing at all"
    seen += pages
    assert values_in(orjson.dumps(seen))
    until_swept(house)
    assert house.held() == []


def test_spooled_segments_are_held_until_their_time_is_over(house: House) -> None:
    pages = list(house.pages(MANY, **{"X-Trino-Query-Data-Encoding": "json"}))
    segments = [s for p in pages for s in (p.get("data") or {}).get("segments", ()) if s["type"] == "spooled"]
    assert segments
    assert "bytes" in house.held()
    assert values_in(house.http.get(segments[0]["uri"], headers=house.headers()).content)
    until_swept(house)
    assert house.held() == []
    assert len(house.app.state.statements.spool) == 0


@pytest.mark.parametrize("sql", [FAILING, LONE])
def test_of_a_statement_that_failed_or_was_left_nothing_stays(house: House, sql: str) -> None:
    for page in house.pages(sql):
        if page.get("data") or "error" in page:
            assert sql != FAILING or not values_in(orjson.dumps(page))
            break
    until_swept(house)
    assert house.held() == []


def test_what_goes_wrong_in_a_count_beside_a_statement_is_the_operators_to_read(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan, counted = house.gateway._plan, next(t for t in city_tables().values() if t.unmapped is not None)

    def planned(execution: Any, session: Any, view: Any, sql: str) -> Any:
        if sql != LONE:
            raise ZeroDivisionError("in the counting")
        return replace(plan(execution, session, view, sql), city=(counted,))

    monkeypatch.setattr(house.gateway, "_plan", planned)
    *_, last = house.pages(LONE)
    assert "its operator has the detail" in last["error"]["message"]
    assert "in the counting" not in str(last)
    assert "in the counting" in caplog.text


def test_no_promise_is_longer_than_a_quarter_of_an_hour() -> None:
    usual = Options()
    assert max(usual.keep_seconds, usual.segment_seconds, pipeline.KEPT_SECONDS, cache.KEPT_SECONDS) <= 900
    assert kept.MOST_SECONDS <= 900


def test_an_equal_question_is_asked_of_the_departments_again(house: House) -> None:
    before = house.begun(), house.begun("files")
    answers = {str(house.ask(JOIN)) for _ in range(3)}
    assert len(answers) == 1
    assert (house.begun(), house.begun("files")) == (before[0] + 3, before[1] + 3)


def plans(gateway: Gateway) -> list[tuple[Any, ...]]:
    """(statement, user, purpose) of each plan that is kept, and what it was made from."""
    return [(*key[1:4], lists) for key, (lists, *_) in gateway._plan_cache._known.items()]


def test_plans_are_each_users_for_one_purpose_and_hold_no_value(house: House) -> None:
    for user in ("lin", "mei"):
        house.ask(LONE, user=user)
    own = house.headers("mei", **{"X-Trino-Session": "purpose=statistics"})
    refused = house.http.post("/v1/statement", content=LONE, headers=own).json()
    while "nextUri" in refused:
        refused = house.http.get(refused["nextUri"], headers=own).json()
    assert refused["error"]["errorName"] in ("TABLE_NOT_FOUND", "PERMISSION_DENIED")
    kept = plans(house.gateway)
    assert [k[1:3] for k in kept] == [("lin", "mass-balance"), ("mei", "mass-balance")]
    versions = {d.relations.version for *_, lists in kept for d in lists}
    assert versions == {d.agent.policy.version for d in house.world.departments.values()}
    assert not any(holds_values(o) for o in reachable(house.gateway._plan_cache))


@pytest.fixture
def changing(house: House) -> Iterator[Any]:
    """Write another policy of the first department, in force when this returns; undone at the end."""
    department = house.world.departments["sqlite"]

    def change(*grants: dict[str, Any]) -> str:
        department.house.write(grants=list(grants))
        department.agent.reload()
        return department.agent.policy.version

    yield change
    change(GRANT)


def test_a_new_policy_holds_at_once_and_ends_the_plan_with_the_list_it_was_made_from(
    house: House, changing: Any
) -> None:
    assert {row[1] for row in house.ask(LONE)} == {canary("note", i) for i in range(ROWS)}
    version = changing({**GRANT, "masks": {"note": "keep_first(1)", "mark": "deny"}})
    # The gateway still has the old list and the old plan; the department does not answer them.
    old = list(house.pages(LONE))[-1]
    assert "error" in old
    assert not values_in(orjson.dumps(old))
    house.gateway.catalogue.forget("dept")
    assert all(not values_in(orjson.dumps(p)) for p in house.pages("SELECT id, note FROM dept.main.notes"))
    lists = next(k[-1] for k in plans(house.gateway) if k[0].startswith("SELECT id, note FROM"))
    assert version in {d.relations.version for d in lists}
    assert "error" in list(house.pages(LONE))[-1]


def test_a_revoked_grant_is_answered_from_no_cache(house: House, changing: Any) -> None:
    assert len(house.ask(LONE)) == ROWS
    changing()
    for _ in range(2):
        last = list(house.pages(LONE))[-1]
        assert last["error"]["errorName"] == "TABLE_NOT_FOUND"
        assert not values_in(orjson.dumps(last))
        house.gateway.catalogue.forget("dept")
    changing(GRANT)
    house.gateway.catalogue.forget("dept")
    assert len(house.ask(LONE)) == ROWS


def test_what_the_gateway_tells_of_itself_holds_no_value(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for sql in QUESTIONS:
            house.ask(sql)
        failed = list(house.pages(FAILING))[-1]
    told = [house.http.get("/metrics").content, orjson.dumps(failed), caplog.text.encode()]
    own = house.headers()
    told += [house.http.get(path, headers=own).content for path in ("/api/queries", "/api/catalog", "/v1/info")]
    told.append(orjson.dumps(house.ask("SELECT * FROM system.runtime.queries")))
    assert not any(map(values_in, told))
    # Tokens neither: each is a JWT, and every JWT begins alike.
    assert not any(own["Authorization"].split()[1][:40].encode() in blob for blob in told)


# ---- a gateway of its own process, and what it leaves ---------------------------------------------------


@dataclass
class Process:
    """`python -m gateway.server.serve`: its folder, its process, its address."""

    folder: Path
    popen: subprocess.Popen[bytes]
    url: str

    def files(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


@pytest.fixture
def process(world: World, tmp_path: Path) -> Iterator[Process]:
    port = free_port()
    settings = {
        "listen": f"127.0.0.1:{port}", "state": "state",
        "identity": {"issuer": world.issuer, "jwks": str(world.folder / "idp" / "jwks.json"),
                     "token_url": f"{world.issuer}/token"},
        "departments": {d.name: {"url": d.url, "title": d.name, "key": dict(d.agent.receipt_jwk())}
                        for d in world.departments.values()},
    }  # fmt: skip
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(settings))
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]

    def dumps_allowed() -> None:
        """As on a machine whose administrator likes to have core files."""
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    with (tmp_path / "log.txt").open("wb") as log:
        popen = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "gateway.server.serve", "gateway.yaml"],
            cwd=tmp_path, stdout=log, stderr=log, preexec_fn=dumps_allowed,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
    running = Process(tmp_path, popen, f"http://127.0.0.1:{port}")
    try:
        _wait_for(running)
        register_client(world.folder / "idp", "gateway", load_key(tmp_path / "state" / "gateway.jwk").public_jwk)
        yield running
    finally:
        popen.kill()
        popen.wait(10)


def _wait_for(running: Process) -> None:
    with Client(base_url=running.url, timeout=1, trust_env=False) as http:
        deadline = time.monotonic() + 30
        while True:
            try:
                if http.get("/healthz").status_code == 200:
                    return
            except HTTPError:
                pass
            assert time.monotonic() < deadline, (running.folder / "log.txt").read_text()
            assert running.popen.poll() is None, (running.folder / "log.txt").read_text()
            time.sleep(0.05)


def test_files_logs_and_a_crash_hold_no_value(world: World, process: Process) -> None:
    """Stopped by a crash in the middle of an answer, with pages, segments and a private database at hand."""
    with Client(base_url=process.url, timeout=60, trust_env=False) as http:
        house = House(world, None, None, http)  # type: ignore[arg-type]
        for sql in QUESTIONS:
            assert house.ask(sql)
        list(house.pages(FAILING))
        list(house.pages(MANY, **{"X-Trino-Query-Data-Encoding": "json"}))
        token = house.headers()["Authorization"].split()[1]
        left = house.pages(JOIN)
        assert any(page.get("data") for page in left)
        limits = Path(f"/proc/{process.popen.pid}/limits").read_text()
        assert limits.split("Max core file size")[1].split()[:2] == ["0", "0"]
        process.popen.send_signal(signal.SIGABRT)
        assert process.popen.wait(20) == -signal.SIGABRT
    files = process.files()
    assert b"Fatal Python error: Aborted" in files["log.txt"]
    assert {"state/ledger.jsonl", "log.txt"} <= set(files)
    assert not [name for name, content in files.items() if values_in(content) or token.encode() in content]
    assert not [name for name in files if name.rsplit("/", 1)[-1].startswith("core")]
