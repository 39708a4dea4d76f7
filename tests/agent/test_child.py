"""The engine process: it answers as DuckDB here would, holds its limits, and its end harms nobody else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from catalog import duck
from catalog.errors import CityError, Outcome, TrinoError
from catalog.identity import Principal
from connectors.agent import execute
from connectors.agent.child import Children, Residual, seed
from connectors.agent.confine import MB
from connectors.agent.engine import ALLOWANCE_MB, BATCH, open_instance
from connectors.agent.execute import RowRun
from connectors.agent.plan import RowPlan, plan_rows
from connectors.agent.service import Agent
from connectors.agent.wire import Channel, Closed, Kind
from connectors.base import Cancel, Cancelled
from tests.agent.conftest import PEOPLE
from tests.agent.house import House

MEMORY = 128
SLOW = "SELECT levenshtein(repeat('a', 80000), repeat('b', 80000 + CAST(n AS INT))) FROM r0"
DOUBLING = "t0 AS (SELECT n FROM r0)" + "".join(
    f", t{i} AS (SELECT a.n FROM t{i - 1} a, t{i - 1} b)" for i in range(1, 41)
)
GROWING = "d0 AS (SELECT repeat(s, 1000) AS x FROM r0)" + "".join(
    f", d{i} AS (SELECT x || x AS x FROM d{i - 1})" for i in range(1, 24)
)


def numbers(rows: int = 5, batch: int = 1000) -> pa.RecordBatchReader:
    schema = pa.schema([("n", pa.int64()), ("s", pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, batch):
            values = list(range(start, min(rows, start + batch)))
            yield pa.record_batch([pa.array(values), pa.array([f"s{v}" for v in values])], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    pool = Children(tmp_path_factory.mktemp("spill"), MEMORY)
    yield pool
    pool.close()


def answer(
    children: Children,
    sql: str,
    inputs: dict[str, Any] | None = None,
    held: Sequence[str] = (),
    check: Callable[[], None] | None = None,
) -> list[tuple[Any, ...]]:
    engine = children.take()
    try:
        for name, data in (inputs or {"r0": numbers()}).items():
            engine.add(name, data)
        _, batches = engine.run(sql, held, check)
        return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    finally:
        engine.close()


def refusal(children: Children, sql: str, check: Callable[[], None] | None = None) -> CityError:
    with pytest.raises(CityError) as refused:
        answer(children, sql, check=check)
    return refused.value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> float:
    """Wait for a condition; how long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - begun


# ---- answering ---------------------------------------------------------------------------------------------


def test_inputs_may_be_read_in_any_order_and_only_as_far_as_needed(children: Children) -> None:
    """Large inputs that are read at once would block each other if one had to be read to its end first."""
    rows = 30_000
    for sql in (
        "SELECT count(*) FROM r0 JOIN r1 ON r0.n = r1.n",
        "SELECT count(*) FROM r1 JOIN r0 ON r0.n = r1.n",
        "SELECT count(*) / 2 FROM (SELECT n FROM r1 UNION ALL SELECT n FROM r0)",
        "SELECT count(*) FROM r0 WHERE n IN (SELECT n FROM r1)",
    ):
        assert answer(children, sql, {"r0": numbers(rows), "r1": numbers(rows)}) == [(rows,)], sql
    assert answer(children, "SELECT n FROM r0 LIMIT 2", {"r0": numbers(10**9)}) == [(0,), (1,)]


def test_a_held_input_is_read_twice(children: Children) -> None:
    sql = "SELECT count(*) FROM r0 a JOIN r0 b ON a.n = b.n + 1"
    assert answer(children, sql, {"r0": numbers(20_000)}, held=["r0"]) == [(19_999,)]


def test_a_fresh_engine_knows_nothing_of_the_last_one(children: Children) -> None:
    answer(children, "SELECT n FROM r0", {"r0": numbers()}, held=["r0"])
    assert refusal_of_unknown(children) == TrinoError.GENERIC_INTERNAL_ERROR


def refusal_of_unknown(children: Children) -> TrinoError:
    with pytest.raises(CityError) as refused:
        answer(children, "SELECT n FROM r0", {"other": numbers()})
    return refused.value.trino


@pytest.mark.parametrize(
    ("sql", "trino"),
    [
        ("SELECT tr_half_up(n, 0) FROM r0", TrinoError.DIVISION_BY_ZERO),
        ("SELECT CAST(s AS INTEGER) FROM r0", TrinoError.INVALID_CAST_ARGUMENT),
        ("SELECT CAST(n + 300 AS TINYINT) FROM r0", TrinoError.NUMERIC_VALUE_OUT_OF_RANGE),
        ("SELECT CAST(9223372036854775807 AS BIGINT) + n + 1 FROM r0", TrinoError.NUMERIC_VALUE_OUT_OF_RANGE),
        ("SELECT chr(-1 - CAST(n AS INTEGER)) FROM r0", TrinoError.INVALID_FUNCTION_ARGUMENT),
        ("SELECT (SELECT n FROM r0)", TrinoError.SUBQUERY_MULTIPLE_ROWS),
        ("SELECT nothing FROM r0", TrinoError.GENERIC_USER_ERROR),
    ],
)
def test_errors_keep_their_class_and_lose_their_text(children: Children, sql: str, trino: TrinoError) -> None:
    found = refusal(children, sql)
    assert found.trino is trino
    here = open_instance()
    with pytest.raises((duckdb.Error, pa.ArrowException)) as raised:
        here.register("r0", numbers()).sql(sql).to_arrow_reader(BATCH).read_all()
    assert found.to_dict() == duck.translate_error(raised.value).to_dict()
    for word in ("s0", "300", "Conversion", "LINE", "nothing"):
        assert word not in str(found)


# ---- what is only columns needs no engine --------------------------------------------------------------------

PLAIN = [
    "SELECT " + ", ".join(f"t.{c} AS c{i}" for i, c in enumerate(PEOPLE)) + " FROM water.main.people AS t",
    "SELECT t.name AS c0, t.name AS c1, t.id AS c2 FROM water.main.people AS t WHERE t.id = 17",
    "SELECT t.kind AS c0 FROM water.main.people AS t WHERE t.id BETWEEN 20 AND 90 AND t.kind = 'C'",
    "SELECT t.litres AS c0, t.qty AS c1, t.month AS c2 FROM water.main.usage AS t WHERE t.unit = 'L' LIMIT 7",
    "SELECT t.id AS c0 FROM water.main.people AS t WHERE t.id > 3 LIMIT 0",
    "SELECT t.district_code AS c0, sum(t.litres) AS c1 FROM water.main.usage AS t GROUP BY t.district_code",
    "SELECT DISTINCT t.kind AS c0 FROM water.main.people AS t ORDER BY c0 DESC",
    "SELECT t.name AS c0, t.born AS c1 FROM water.main.people AS t ORDER BY t.name DESC, t.born NULLS FIRST, t.id",
    "SELECT t.id AS c0, t.kind AS c1 FROM water.main.people AS t WHERE t.id > 9 ORDER BY c1 DESC, t.id LIMIT 30",
    "SELECT t.id AS c0 FROM water.main.people AS t ORDER BY t.id LIMIT 0",
    "SELECT sum(t.litres) AS c0, t.unit AS c1 FROM water.main.usage AS t GROUP BY t.unit ORDER BY c0 NULLS FIRST, c1",
]
NOT_PLAIN = [
    "SELECT t.id + 1 AS c0 FROM water.main.people AS t",
    "SELECT t.id AS c0 FROM water.main.people AS t WHERE t.name = 'A**'",
    "SELECT DISTINCT t.name AS c0, t.id AS c1 FROM water.main.people AS t",
    "SELECT DISTINCT upper(t.kind) AS c0 FROM water.main.people AS t",
    "SELECT t.id AS c0 FROM water.main.people AS t ORDER BY t.id + 1",
    "SELECT t.id AS c0 FROM water.main.people AS t ORDER BY 1",
    "SELECT t.id AS c0 FROM water.main.people AS t ORDER BY t.id OFFSET 2",
    "SELECT t.id AS c0 FROM water.main.people AS t OFFSET 2",
    "SELECT a.id AS c0 FROM water.main.people AS a JOIN water.main.people AS b ON a.id = b.id",
    "SELECT t.id AS c0 FROM (SELECT u.id FROM water.main.people AS u) AS t",
    "WITH t AS (SELECT u.id AS id FROM water.main.people AS u) SELECT t.id AS c0 FROM t",
    'SELECT t.id AS c0 FROM water.main.people AS t WHERE NOT t.id IN (SELECT k.k FROM "$keys" AS k)',
    "SELECT count(DISTINCT t.born) AS c0 FROM water.main.people AS t",
    "SELECT t.id AS c0 FROM water.main.people AS t WHERE t.born = DATE '1990-01-01'",
    "SELECT 1 AS c0 FROM water.main.people AS t",
]


KEYS = pa.array([1, 2, 3])


def planned(agent: Agent, sql: str) -> RowPlan:
    who = Principal("lin", "mass-balance", ("mass-balance",), "jti", 0)
    return plan_rows(
        sqlglot.parse_one(sql, dialect="trino"), agent.access(who), lambda s: agent._sources[s].capabilities(),
        lambda name: "", {"$keys": KEYS} if "$keys" in sql else {}, datetime.now(UTC),
    )  # fmt: skip


def ran(agent: Agent, plan: RowPlan) -> pa.Table:
    keys = {"$keys": KEYS} if "keys" in plan.sql else {}
    with RowRun(plan, lambda s: agent._sources[s], keys, Cancel(), agent._engines) as run:
        run.open()
        return pa.Table.from_batches(run.batches(), run.schema)


@pytest.mark.parametrize("sql", PLAIN)
def test_bare_columns_are_the_same_without_an_engine(house: House, agent: Agent, sql: str) -> None:
    """Rows, their order, types, names and NULLs: all that the residual query would have given."""
    plan = planned(agent, sql)
    assert plan.copies
    copied, computed = ran(agent, plan), ran(agent, replace(plan, copies=()))
    assert copied.schema.equals(computed.schema, check_metadata=True)
    assert copied.equals(computed)
    assert copied.num_rows or sql.endswith("LIMIT 0")


@pytest.mark.parametrize("sql", [sql for sql in PLAIN if "ORDER BY" in sql])
def test_more_rows_than_are_sorted_here_go_through_an_engine(
    house: House, agent: Agent, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    plan = planned(agent, sql)
    sorted_here = ran(agent, plan)
    monkeypatch.setattr(execute, "SORTED_BYTES", 0)
    taken: list[object] = []
    honest = agent._engines.residual
    monkeypatch.setattr(agent._engines, "residual", lambda: taken.append(1) or honest())
    assert ran(agent, plan).equals(sorted_here)
    assert taken


@pytest.mark.parametrize(
    ("rest", "rows"), [("", 3), (" AND t.id > 1", 2), (" LIMIT 2", 2), (" AND t.id > 100", 0)], ids=str
)
def test_rows_of_bind_keys_are_the_same_without_an_engine(house: House, agent: Agent, rest: str, rows: int) -> None:
    listed = 't.id AS c0, t.kind AS c1 FROM water.main.people AS t WHERE t.id IN (SELECT k.k FROM "$keys" AS k)'
    plan = planned(agent, f"SELECT {listed}{rest}")
    assert plan.copies
    copied, computed = ran(agent, plan), ran(agent, replace(plan, copies=()))
    assert copied.num_rows == computed.num_rows == rows
    if "LIMIT" not in rest:  # which rows a LIMIT takes is open
        assert copied.sort_by("c0").equals(computed.sort_by("c0"))


@pytest.mark.parametrize("sql", NOT_PLAIN)
def test_anything_more_than_columns_goes_through_an_engine(house: House, agent: Agent, sql: str) -> None:
    assert planned(agent, sql).copies == ()


async def test_no_raw_value_of_a_masked_column_reaches_an_engine(
    house: House, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = Channel.send

    def record(channel: Channel, kind: Kind, payload: Any = b"", number: int = 0) -> None:
        sent.append(bytes(memoryview(payload)))
        send(channel, kind, payload, number)

    monkeypatch.setattr(Channel, "send", record)
    async with house.client("lin", "mass-balance", agent) as ask:
        sql = "SELECT lower(t.note) AS c0, lower(t.mail) AS c1, t.id + 1 AS c2 FROM water.main.people AS t"
        assert (await ask.rows(sql)).num_rows
    everything = b"".join(sent)
    assert b"withheld" in everything
    assert b"hailan.cn" in everything
    assert b"a secret" not in everything
    assert b"Ana@" not in everything


# ---- limits --------------------------------------------------------------------------------------------------

BOMBS = [
    "SELECT length(repeat('x', 1000000000)) FROM r0",
    "SELECT length(repeat(s, 100000000)) FROM r0",
    "SELECT length(lpad(s, 2000000000, 'ab')) FROM r0",
    "SELECT length(repeat(repeat(repeat(s, 1000), 1000), 1000)) FROM r0",
    f"WITH {GROWING} SELECT length(x) FROM d23",
    "SELECT len(range(1000000000 + n)) FROM r0",
    "SELECT len(list_transform(range(50000000 + n), lambda x: s || x)) FROM r0",
    "SELECT bit_count(CAST(repeat('1', 2000000000) AS BIT)) FROM r0",
]


@pytest.mark.parametrize("sql", BOMBS)
def test_a_memory_bomb_hits_its_own_wall_and_the_next_query_is_answered(children: Children, sql: str) -> None:
    usual, before = timed(children), resident()
    found = refusal(children, sql)
    assert (found.outcome, found.trino) == (Outcome.LIMIT, TrinoError.EXCEEDED_LOCAL_MEMORY_LIMIT)
    assert timed(children) < 1 + 3 * usual  # a busy machine is no fault of the bomb
    assert resident() - before < 64 * MB


def timed(children: Children) -> float:
    """Seconds that a harmless query takes."""
    begun = time.monotonic()
    assert answer(children, "SELECT n + 1 FROM r0 LIMIT 1") == [(1,)]
    return time.monotonic() - begun


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_work_within_the_memory_limit_is_not_cut_short(children: Children) -> None:
    """The wall stands behind DuckDB's own limit, which spills: sorting more than the memory still ends."""
    rows = 400_000
    wide = " || ".join(["s"] * 8)
    sql = f"SELECT count(*) FROM (SELECT n, row_number() OVER (ORDER BY {wide}) AS i FROM r0)"
    assert answer(children, sql, {"r0": numbers(rows, 8192)}) == [(rows,)]


@pytest.mark.parametrize("sql", [SLOW, f"WITH {DOUBLING} SELECT count(*) FROM t40"])
def test_what_no_interrupt_stops_is_killed(children: Children, sql: str) -> None:
    cancel = Cancel()
    engine = children.take()
    cancel.on_cancel(engine.interrupt)
    stopped: list[float] = []
    cancel.on_cancel(lambda: stopped.append(time.monotonic()))
    threading.Timer(0.3, cancel.set).start()
    engine.add("r0", numbers())
    with pytest.raises(Cancelled):
        list(engine.run(sql, (), cancel.check)[1])
    assert time.monotonic() - stopped[0] < 0.5
    assert wait_for(lambda: not alive(engine.pid)) < 1
    engine.close()
    assert answer(children, "SELECT n FROM r0 LIMIT 1") == [(0,)]


@pytest.mark.parametrize(
    ("number", "trino"),
    [
        (signal.SIGKILL, TrinoError.EXCEEDED_LOCAL_MEMORY_LIMIT),  # as the system does when it is short of memory
        (signal.SIGXCPU, TrinoError.EXCEEDED_TIME_LIMIT),
        (signal.SIGSEGV, TrinoError.GENERIC_INTERNAL_ERROR),
    ],
)
def test_how_an_engine_dies_decides_what_is_said(children: Children, number: int, trino: TrinoError) -> None:
    engine = children.take()
    engine.add("r0", numbers())
    threading.Timer(0.2, os.kill, (engine.pid, number)).start()
    with pytest.raises(CityError) as refused:
        list(engine.run(SLOW)[1])
    engine.close()
    assert refused.value.trino is trino


def test_an_error_of_an_input_is_the_inputs_own(children: Children) -> None:
    class Broken(Exception):
        pass

    class Source:
        schema = numbers().schema

        def __next__(self) -> pa.RecordBatch:
            raise Broken

    engine = children.take()
    engine.add("r0", Source())  # type: ignore[arg-type]
    with pytest.raises(Broken):
        list(engine.run("SELECT n FROM r0")[1])
    engine.close()


# ---- a process that cannot do much -----------------------------------------------------------------------------


def test_an_engine_has_no_secrets_few_handles_and_hard_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATOLL_TEST_SECRET", "hunter2")
    seed.close()
    pool = Children(tmp_path, MEMORY)
    engine = pool.take()
    here = Path(f"/proc/{engine.pid}")
    assert "hunter2" not in (here / "environ").read_text()
    assert os.readlink(here / "cwd") == "/"
    assert len(os.listdir(here / "fd")) <= 5
    limits = {line[:25].strip(): line[26:].split()[1] for line in (here / "limits").read_text().splitlines()}
    assert limits["Max core file size"] == "0"
    assert int(limits["Max open files"]) <= 128
    assert int(limits["Max address space"]) < (MEMORY + ALLOWANCE_MB + 600) * MB
    assert limits["Max cpu time"].isdigit()
    assert os.getsid(engine.pid) != os.getsid(0)
    engine.close()
    pool.close()


CONFINED = """
import sys, socket
from pathlib import Path
from connectors.agent.confine import MB, confine, isolate
folder = Path(sys.argv[1])
import json, encodings.idna
done = isolate() + confine(folder / "own", 64 * MB)
(folder / "own" / "spill").write_text("mine")
def tried(what):
    try:
        what()
    except (OSError, MemoryError) as bad:
        return type(bad).__name__
    return "done"
print(json.dumps({
    "done": done,
    "read": tried(lambda: (folder / "silo").read_text()),
    "write": tried(lambda: (folder / "other").write_text("x")),
    "connect": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), 2)),
    "memory": tried(lambda: bytearray(128 * MB)),
}))
"""


def test_a_confined_process_reads_writes_and_reaches_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "silo").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-c", CONFINED, str(tmp_path), port]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)
    assert found["memory"] == "MemoryError"
    if "no files" in found["done"]:
        assert (found["read"], found["write"]) == ("PermissionError", "PermissionError")
    if "no files" in found["done"] or "no network" in found["done"]:
        assert found["connect"] != "done"


# ---- nobody is left behind -------------------------------------------------------------------------------------


def test_an_engine_that_died_waiting_is_passed_over(tmp_path: Path) -> None:
    pool = Children(tmp_path, MEMORY)
    for waiting in pool._ready:
        os.kill(waiting.result().pid, signal.SIGKILL)
        wait_for(lambda w=waiting: not alive(w.result().pid))  # type: ignore[misc]
    assert answer(pool, "SELECT n FROM r0 LIMIT 1") == [(0,)]
    pool.close()


def test_a_dead_seed_is_replaced(tmp_path: Path) -> None:
    pool = Children(tmp_path, MEMORY)
    engines = [waiting.result().pid for waiting in pool._ready]
    assert seed._process is not None
    seed._process.kill()
    wait_for(lambda: not any(alive(pid) for pid in engines))
    assert answer(pool, "SELECT n FROM r0 LIMIT 1") == [(0,)]
    pool.close()


def test_no_other_process_is_killed_in_the_place_of_a_dead_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its seed dead, too, nobody keeps its process id for it: whoever was given that id since must live."""
    pool = Children(tmp_path, MEMORY)
    running = pool.take()
    assert seed._process is not None
    seed._process.kill()
    wait_for(lambda: not alive(running.pid))
    hit: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: hit.append(pid))
    running.interrupt()
    monkeypatch.undo()
    assert hit == []
    running.close()
    pool.close()


def test_a_closed_agent_leaves_no_engine_and_no_spill(house: House, tmp_path: Path) -> None:
    pool = Children(tmp_path, MEMORY)
    running = pool.take()
    engines = [running.pid, *(waiting.result().pid for waiting in pool._ready)]
    running.close()
    pool.close()
    assert not any(alive(pid) for pid in engines)
    assert list(tmp_path.iterdir()) == []


AGENT = """
import sys, time
from pathlib import Path
from connectors.agent.child import Children, seed
import pyarrow as pa
pool = Children(Path(sys.argv[1]), 128)
engine = pool.take()
engine.add("r0", pa.table({"n": [1]}))
pids = [engine.pid, seed._process.pid, *(w.result().pid for w in pool._ready)]
print(*pids, flush=True)
if sys.argv[2] == "busy":
    list(engine.run("SELECT levenshtein(repeat('a', 200000), repeat('b', 200000 + CAST(n AS INT))) FROM r0")[1])
"""


@pytest.mark.parametrize("work", ["busy", "idle"])
def test_an_agent_that_is_killed_or_forgets_takes_its_engines_along(tmp_path: Path, work: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path), work], stdout=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stdout is not None
        pids = [int(p) for p in next(line for line in agent.stdout if "confined" not in line).split()]
        assert all(alive(pid) for pid in pids) or work == "idle"
        if work == "busy":
            agent.kill()
        agent.wait(10)
    wait_for(lambda: not any(alive(pid) for pid in pids))


# ---- an engine that was taken over -----------------------------------------------------------------------------


class Captured:
    """An engine whose end of the channel this test holds."""

    def __init__(self) -> None:
        mine, self.other = socket.socketpair()
        self.channel = Channel(mine, 1 * MB)
        self.pid = 0

    def kill(self) -> None:
        pass

    def end(self) -> tuple[int | None, str]:
        return None, "values in here"


def hostile(payload: bytes, schema: pa.Schema | None = None) -> BaseException:
    """What a run makes of a captured engine's bytes."""
    captured = Captured()
    engine = Residual(captured, lambda child: None)  # type: ignore[arg-type]
    if schema is not None:
        Channel(captured.other, MB).send(Kind.BOUND, schema.serialize())
    captured.other.sendall(payload)
    captured.other.shutdown(socket.SHUT_WR)
    with pytest.raises(CityError) as refused:
        list(engine.run("SELECT 1")[1])
    return refused.value


def test_a_captured_engine_can_only_fail(children: Children) -> None:
    text = pa.schema([("c0", pa.string())])
    good = pa.record_batch([pa.array(["abc"])], schema=text)
    wild = pa.record_batch([pa.array([0x7FFFFFFF], pa.int32())], schema=pa.schema([("c0", pa.int32())]))
    cases = {
        "nothing": (b"", None),
        "no frame": (b"\xff" * 64, None),
        "unknown kind": (frame(99), None),
        "too large": (frame(Kind.BATCH, length=2 * MB), text),
        "an input that is not there": (frame(Kind.NEED, number=7), None),
        "no schema": (frame(Kind.BOUND, b"junk"), None),
        "no batch": (frame(Kind.BATCH, b"\xff" * 100), text),
        "a batch of another schema": (frame(Kind.BATCH, wild.serialize().to_pybytes()), text),
        "a batch that points outside": (frame(Kind.BATCH, outside(good)), text),
        "an error that is none": (frame(Kind.ERROR, b"[1]"), None),
        "an error of its own making": (
            frame(Kind.ERROR, json.dumps({"class": "system", "text": "row 4711"}).encode()),
            None,
        ),
        "cut": (frame(Kind.BATCH, good.serialize().to_pybytes()), text),
    }
    for name, (payload, schema) in cases.items():
        found = hostile(payload, schema)
        assert isinstance(found, CityError), name
        assert "4711" not in str(found), name
        assert "values in here" not in str(found), name


def outside(batch: pa.RecordBatch) -> bytes:
    """A batch whose text claims more bytes than there are: offsets 0, 2^31 - 1."""
    data = batch.serialize().to_pybytes()
    honest, lie = (b"\x00\x00\x00\x00" + n.to_bytes(4, "little") for n in (3, 0x7FFFFFFF))
    assert data.count(honest)
    return lie.join(data.rsplit(honest, 1))


def frame(kind: int, payload: bytes = b"", number: int = 0, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return bytes([kind]) + number.to_bytes(4, "little") + size.to_bytes(8, "little") + payload


def test_an_engine_ends_when_its_agent_speaks_no_sense(children: Children) -> None:
    engine = children.take()
    engine._channel.send(Kind.QUERY, b"no query")
    with pytest.raises((CityError, Closed)):
        engine._expect(Kind.BOUND)
    engine.close()
