"""The engine process: the only place where an analyst's expressions run. `python -m connectors.agent.engine FD`

One *seed* process imports DuckDB, opens an instance and waits. For each fragment it forks an *engine*: a
process with an instance that nobody used before, made in a millisecond. An engine answers one query, over
rows that are already masked, and is then killed: nothing of one fragment is left for the next. The seed
never sees a row, a query or a name; its orders are `fork` and `reap` (connectors/agent/child.py gives them).

What goes wrong in an engine is told to the agent as class and text of the error. The agent decides what of it
an analyst may know.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog import duck
from catalog.imports import do_without
from connectors.agent.confine import MB, confine, die_with_parent, isolate
from connectors.agent.wire import Channel, Closed, Kind

__all__ = ["ALLOWANCE_MB", "BATCH", "FRAME", "main", "open_instance"]

BATCH = 8192
"""Rows of a batch of the answer, at most."""
FRAME = 1 << 40
"""An engine takes whatever its agent sends; its address space is the limit."""
ALLOWANCE_MB = 256
"""Address space beyond `memory_mb`: what DuckDB's own limit does not count, see docs/decisions/007."""
ORDER = 4096
OUT_OF_MEMORY = 71
"""Exit code of an engine that could not even report its lack of memory."""


def open_instance() -> duckdb.DuckDBPyConnection:
    """An in-memory instance with macros that runs in the calling thread alone, so that it survives a fork."""
    connection = duckdb.connect(":memory:", config={"threads": 1, "async_threads": 0})
    duck.prepare(connection)
    return connection


def main() -> None:
    """The seed: obey until the agent closes its end."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    isolated = isolate()
    do_without("pandas")
    connection = open_instance()
    _rehearse(connection)
    orders.sendall(b"ready")
    living: set[int] = set()
    while True:
        message, handles, _, _ = socket.recv_fds(orders, ORDER, 1)
        if not message:
            break
        order = json.loads(message)
        if "reap" in order:
            living.discard(order["reap"])
            answer = _reap(order["reap"])
        else:
            answer = os.fork()
            if answer == 0:
                orders.close()
                _engine(connection, socket.socket(fileno=handles[0]), order | {"confined": isolated})
            living.add(answer)
            os.close(handles[0])
        orders.sendall(str(answer).encode())
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _reap(pid: int) -> int:
    """Exit status of an engine that was killed. Nobody else waits for it, so its id is not used again before."""
    return os.waitpid(pid, 0)[1]


# ---- one engine ----------------------------------------------------------------------------------------


def _engine(connection: duckdb.DuckDBPyConnection, sock: socket.socket, order: dict[str, Any]) -> None:
    """The forked process. It never returns."""
    code = 1
    try:
        die_with_parent()
        folder = Path(order["folder"])
        os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT, 0o600), 2)
        channel = Channel(sock, FRAME)
        own = _private(connection, folder, order["memory_mb"])
        confined = order["confined"] + confine(folder, (order["memory_mb"] + ALLOWANCE_MB) * MB)
        channel.send(Kind.READY, json.dumps(confined).encode())
        _answer(channel, own)
        code = 0
    except Closed:
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        if code == 1:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)


def _private(connection: duckdb.DuckDBPyConnection, folder: Path, memory_mb: int) -> duckdb.DuckDBPyConnection:
    """A connection of its own (with random numbers of its own) to the inherited instance, limited and locked."""
    own = connection.cursor()
    spill = str(folder / "spill").replace("'", "''")
    # DuckDB fills this buffer before it gives its first batch, and a cursor has its own: 1 MB, unless told otherwise.
    own.execute("SET streaming_buffer_size = '64KB'")
    own.execute(f"SET memory_limit = '{memory_mb}MB'")
    own.execute(f"SET temp_directory = '{spill}'")
    own.execute(f"SET max_temp_directory_size = '{memory_mb * 8}MB'")
    duck.lock(own)
    _rehearse(own)
    return own


def _rehearse(connection: duckdb.DuckDBPyConnection) -> None:
    """Run a query as later ones run: what is imported late, and pages written first, are not waited for then."""
    schema = pa.schema([("n", pa.int64()), ("s", pa.string())])
    columns = [pa.array([1, 2], pa.int64()), pa.array(["a", "b"], pa.string())]
    batch = pa.record_batch(columns, schema=schema)
    connection.register("rehearsal", pa.RecordBatchReader.from_batches(schema, iter([batch])))
    for answer in connection.sql("SELECT lower(s), n + 1 FROM rehearsal WHERE n < 2").to_arrow_reader(BATCH):
        pa.ipc.read_record_batch(answer.serialize(), answer.schema)
    connection.unregister("rehearsal")


def _answer(channel: Channel, connection: duckdb.DuckDBPyConnection) -> None:
    """Answer one query. What goes wrong is sent as it is; the agent translates it."""
    try:
        query = json.loads(channel.receive()[2].to_pybytes())
        for number, name in enumerate(query["inputs"]):
            schema = pa.ipc.read_schema(channel.receive()[2])
            connection.register(name, pa.RecordBatchReader.from_batches(schema, _input(channel, number, schema)))
        for name in query["held"]:
            _hold(connection, name)
        reader = connection.sql(query["sql"]).to_arrow_reader(BATCH)
        channel.send(Kind.BOUND, reader.schema.serialize())
        for batch in reader:
            channel.send(Kind.BATCH, batch.serialize())
        channel.send(Kind.DONE)
    except (duckdb.Error, pa.ArrowException, MemoryError, OSError, RuntimeError, ValueError) as bad:
        fault = {"class": type(bad).__name__, "text": str(bad)[:ORDER]}
        channel.send(Kind.ERROR, json.dumps(fault).encode())
    channel.receive()


def _input(channel: Channel, number: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """An input's batches, each asked for when DuckDB wants it."""
    while True:
        channel.send(Kind.NEED, number=number)
        kind, _, payload = channel.receive()
        if kind is not Kind.BATCH:
            return
        yield pa.ipc.read_record_batch(payload, schema)


def _hold(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Copy a stream into a temporary table of the same name, so that it can be read more than once."""
    connection.execute(f'CREATE TEMP TABLE "held_{name}" AS SELECT * FROM "{name}"')
    connection.unregister(name)
    connection.execute(f'ALTER TABLE "held_{name}" RENAME TO "{name}"')


if __name__ == "__main__":
    main()
