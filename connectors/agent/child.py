"""The agent's side of its engine processes: forked ahead, used once, killed.

    Children(spill, memory_mb)     engines of one agent; take() gives a `Residual`
    Residual                       one query over streams of masked batches, in a process of its own
    Seed                           the process that engines are forked from; all agents of a process share it

The agent believes nothing that an engine sends: frames are bounded, batches are validated, an error is taken
as class and text and told by `catalog.duck.translate_error` alone. Stopping an engine is SIGKILL: it holds
nothing that anybody needs, and the next one is ready.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog

import catalog
from catalog import duck
from catalog.errors import CityError, DepartmentError, InternalError, Outcome, TrinoError
from catalog.ipc import BATCH_VALUES, read_batch, read_schema
from connectors.agent.confine import MB
from connectors.agent.engine import ALLOWANCE_MB, ORDER, OUT_OF_MEMORY
from connectors.agent.wire import Channel, Closed, Kind
from connectors.base import Cancelled

__all__ = ["Children", "EngineError", "Residual", "Seed", "seed"]

START = 30.0
"""Seconds that a seed or an engine may take to be ready."""
GONE = 10.0
"""Seconds within which a killed process must be gone: its memory has to be given back first."""
LINGER = 0.01
"""Seconds between the end of a query and the making of the next engine, which costs a processor as much."""
CONFINED = ("no new privileges", "no network", "no files", "memory")
"""What `limits.confined: required` asks of the system (connectors/agent/confine.py)."""
_MEMORY_WORDS = ("Out of Memory Error", "bad_alloc", "Allocation failure", "MemoryError", "failed to allocate")
_log = structlog.get_logger("atoll.agent")


class EngineError(Exception):
    """No engine could be started."""


class Seed:
    """The process that forks engines. Thread-safe; a dead one is replaced by the next fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None

    def fork(self, sock: socket.socket, folder: Path, memory_mb: int) -> tuple[_Process, int]:
        """(process, generation) of a new engine at the other end of `sock`. Raises EngineError."""
        order = json.dumps({"folder": str(folder), "memory_mb": memory_mb}).encode()
        with self._lock:
            for _ in range(2):
                try:
                    orders = self._orders or self._start()
                    socket.send_fds(orders, [order], [sock.fileno()])
                    return self._held(int(self._reply(orders))), self._generation()
                except (OSError, EOFError) as bad:
                    _log.error("the engines' seed is gone", error=str(bad))
                    self._stop()
        raise EngineError("the engines' seed does not answer")

    def _held(self, pid: int) -> _Process:
        """The process, held so that its id cannot come to mean another. Raises EOFError if its seed is gone."""
        assert self._process is not None
        process = _Process(pid)
        # Until its seed reaps it, or dies, the id is the engine's own.
        if self._process.poll() is not None:
            process.close()
            raise EOFError("the seed ended")
        return process

    def reap(self, pid: int, generation: int) -> int | None:
        """Exit status of a killed engine; None if its seed is gone, and the engine with it."""
        with self._lock:
            if self._orders is None or generation != self._generation():
                return None
            try:
                self._orders.sendall(json.dumps({"reap": pid}).encode())
                return int(self._reply(self._orders))
            except (OSError, EOFError):
                self._stop()
                return None

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _generation(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _start(self) -> socket.socket:
        mine, theirs = socket.socketpair()
        mine.settimeout(START)
        # No PATH, no proxy, no secret: what the environment of an agent holds is not the analysts' business.
        environment = {
            "PYTHONPATH": str(Path(catalog.__file__).parents[1]), "LANG": "C.UTF-8",
            # One allocator arena and no helper threads: address space is what is limited, and threads do not fork.
            "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
        }  # fmt: skip
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-m", "connectors.agent.engine", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=environment, cwd="/", umask=0o077, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._orders = mine
        self._reply(mine)
        return mine

    def _reply(self, orders: socket.socket) -> bytes:
        found = orders.recv(ORDER)
        if not found:
            raise EOFError("end of stream")
        return found

    def _stop(self) -> None:
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        if self._process is not None:
            # It ends when its orders end, and its engines with it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self._process.kill()
            self._process.wait()
            self._process = None


seed = Seed()
"""Engines differ in folder and memory only, so one seed serves every agent of this process."""
atexit.register(seed.close)


class _Process:
    """One process that can be killed, and no other in its place: where the system has such handles, by one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        except ProcessLookupError as bad:
            raise EOFError("the process ended") from bad

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._handle < 0:
                os.kill(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


class _Child:
    """One engine process."""

    def __init__(self, folder: Path, memory_mb: int) -> None:
        mine, theirs = socket.socketpair()
        self.folder = folder
        self._socket = mine
        self._lock = threading.Lock()
        self._dead = False
        with theirs:
            try:
                self._process, self._generation = seed.fork(theirs, folder, memory_mb)
            except EngineError:
                mine.close()
                shutil.rmtree(folder, ignore_errors=True)
                raise
        self.channel = Channel(mine, (memory_mb + ALLOWANCE_MB) * MB)
        mine.settimeout(START)
        try:
            self.confined: list[str] = json.loads(self.channel.receive()[2].to_pybytes())
        except (Closed, MemoryError) as bad:
            status, said = self.end()
            raise EngineError(f"an engine did not start: {bad} (status {status}) {said}") from bad

    def alive(self) -> bool:
        """Whether an engine that has nothing to say yet is still there."""
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self._socket.settimeout(START)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it, whatever it does."""
        with self._lock:
            if not self._dead:
                self._process.kill()

    def end(self) -> tuple[int | None, str]:
        """Kill it and clear its folder; (exit status, end of what it wrote to stderr)."""
        self.kill()
        with self._lock:
            if self._dead:
                return None, ""
            self._dead = True
            self._process.close()
        # The seed waits for it without end, so it is not asked to before the process gave its handles back.
        status = seed.reap(self.pid, self._generation) if self._is_gone() else None
        said = _tail(self.folder / "stderr")
        shutil.rmtree(self.folder, ignore_errors=True)
        return status, said

    def _is_gone(self) -> bool:
        """Read to the end of the stream: it comes when the process has given back its memory."""
        self._socket.settimeout(GONE)
        try:
            while self._socket.recv(1 << 16):
                pass
        except ConnectionError:
            return True
        except OSError as bad:
            _log.error("a killed engine is not gone", pid=self.pid, error=str(bad))
            return False
        finally:
            self._socket.close()
        return True


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-ORDER:].decode(errors="replace")
    except OSError:
        return ""


class Residual:
    """One query in one engine process, over streams that this process holds.

    add(name, data)    before `run`
    run(sql, held)     binds and starts; (schema, batches)
    interrupt()        from any thread: kills the process
    close()            frees it, perhaps a little later
    """

    def __init__(self, child: _Child, retire: Callable[[_Child], object]) -> None:
        self._child = child
        self._retire = retire
        self._channel = child.channel
        self._stopped = False
        self._inputs: dict[str, pa.RecordBatchReader] = {}

    def add(self, name: str, data: pa.RecordBatchReader | pa.Table) -> None:
        self._inputs[name] = data.to_reader() if isinstance(data, pa.Table) else data

    def run(
        self, sql: str, held: Sequence[str] = (), check: Callable[[], None] | None = None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Start the query. Raises what `batches` raises.

        held: inputs that are read more than once. check: called while the engine works; may raise to leave.
        The batches raise CityError as an analyst may see it, Cancelled, and whatever the inputs raise.
        """
        self._channel.watch(check)
        query = {"inputs": list(self._inputs), "held": list(held), "sql": sql}
        self._send(Kind.QUERY, json.dumps(query).encode())
        for data in self._inputs.values():
            self._send(Kind.SCHEMA, data.schema.serialize())
        _, payload = self._expect(Kind.BOUND)
        with self._translated():
            schema = read_schema(payload)
        return schema, self._batches(schema)

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        while True:
            kind, payload = self._expect(Kind.BATCH, Kind.DONE)
            if kind is Kind.DONE:
                return
            with self._translated():
                # What it unpacks to is no more than the frame, whose size has a limit.
                batch = read_batch(payload, schema, payload.size, BATCH_VALUES + payload.size)
            yield batch

    def _expect(self, *wanted: Kind) -> tuple[Kind, pa.Buffer]:
        """The next frame of the answer; meanwhile the engine gets the input that it asks for."""
        inputs = list(self._inputs.values())
        while True:
            with self._translated():
                kind, number, payload = self._channel.receive()
                if kind is Kind.ERROR:
                    raise _told(payload.to_pybytes())
                if kind not in wanted and not (kind is Kind.NEED and number < len(inputs)):
                    raise Closed(f"an unexpected frame: {kind.name}")
            if kind in wanted:
                return kind, payload
            batch = next(inputs[number], None)
            if batch is None:
                self._send(Kind.END)
            else:
                self._send(Kind.BATCH, batch.serialize())

    def _send(self, kind: Kind, payload: bytes | pa.Buffer = b"") -> None:
        with self._translated():
            self._channel.send(kind, payload)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """What became of the process, in words for an analyst; the rest for the owner's log."""
        try:
            yield
        except Closed as bad:
            if self._stopped:
                raise Cancelled("cancelled") from bad
            status, said = self._child.end()
            _log.error("an engine ended", status=status, error=str(bad), said=said)
            raise _death(status, said) from bad
        except (pa.ArrowException, OSError, EOFError, ValueError) as bad:
            _log.error("an engine sent no valid batch", error=str(bad))
            raise InternalError("The query could not be executed.") from bad
        except MemoryError as bad:
            raise _out_of_memory() from bad

    @property
    def pid(self) -> int:
        return self._child.pid

    def interrupt(self) -> None:
        self._stopped = True
        self._child.kill()

    def close(self) -> None:
        self.interrupt()
        self._retire(self._child)


def _told(payload: bytes) -> CityError:
    """An engine's error as `translate_error` tells it: by its class, if that is one of DuckDB's or Arrow's."""
    try:
        fault = json.loads(payload)
        name, text = str(fault["class"]), str(fault["text"])
    except (ValueError, KeyError, TypeError) as bad:
        raise Closed("no error that can be read") from bad
    if name in ("MemoryError", "ArrowMemoryError", "OutOfMemoryException") or any(w in text for w in _MEMORY_WORDS):
        return _out_of_memory()
    kind = getattr(duckdb, name, None)
    known = isinstance(kind, type) and issubclass(kind, duckdb.Error)
    _log.info("a query failed in its engine", kind=name, error=text)
    return duck.translate_error(kind(text) if known and kind else pa.ArrowInvalid(text))


def _death(status: int | None, said: str) -> CityError:
    """Why an engine ended that nobody stopped."""
    if status is not None:
        by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        if by == signal.SIGXCPU:
            return DepartmentError(
                "The query took too much processor time.", Outcome.LIMIT, rule="seconds",
                trino=TrinoError.EXCEEDED_TIME_LIMIT, hint="Ask for less at once.",
            )  # fmt: skip
        # Nobody here killed it, so the system did, which was short of memory.
        if by == signal.SIGKILL or code == OUT_OF_MEMORY or any(w in said for w in _MEMORY_WORDS):
            return _out_of_memory()
    return InternalError("The query could not be executed.")


def _out_of_memory() -> CityError:
    return duck.translate_error(duckdb.OutOfMemoryException(""))


class Children:
    """The engine processes of one agent: one ahead at the start, `warm` after the first query. Thread-safe."""

    def __init__(self, spill: Path, memory_mb: int, warm: int = 2) -> None:
        self._spill = spill
        self._memory_mb = memory_mb
        self._warm = warm
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._spent: list[_Child] = []
        self._told = self._confined = False
        self._makers = ThreadPoolExecutor(1, thread_name_prefix="fork")
        self._undertakers = ThreadPoolExecutor(1, thread_name_prefix="reap")
        self._ready = [self._makers.submit(self._make)]

    def _make(self) -> _Child:
        self._spill.mkdir(parents=True, exist_ok=True, mode=0o700)
        child = _Child(Path(tempfile.mkdtemp(dir=self._spill)), self._memory_mb)
        if not self._told:
            self._told = True
            _log.info("engines for analysts' queries are confined", by=child.confined)
        if lacking := self._lacking(child):
            child.end()
            raise EngineError(f"engines cannot be confined here: the system does not give: {', '.join(lacking)}")
        return child

    def _lacking(self, child: _Child) -> list[str]:
        """What is asked of the system, and this engine does not have."""
        return [name for name in CONFINED if name not in child.confined] if self._confined else []

    def require_confined(self) -> None:
        """From now on no engine runs that the system does not confine. Raises EngineError where it cannot."""
        self._confined = True
        self._make().end()

    def take(self) -> Residual:
        """An engine that nobody used before. Raises EngineError.

        One that died while it waited (the system was short of memory, its seed was killed) is passed over.
        """
        for _ in range(self._warm):
            child = self._next()
            if child is not None:
                return Residual(child, self._retire)
        return Residual(self._make(), self._retire)

    def _next(self) -> _Child | None:
        with self._lock:
            waiting = self._ready.pop(0) if self._ready else self._makers.submit(self._make)
            if not self._ready:
                self._ready.append(self._makers.submit(self._make))
        try:
            child = waiting.result()
        except EngineError as bad:
            _log.error("an engine did not start", error=str(bad))
            return None
        if child.alive() and not self._lacking(child):
            return child
        self._retire(child)
        return None

    def _retire(self, child: _Child) -> None:
        with self._lock:
            self._spent.append(child)
        try:
            self._undertakers.submit(self._bury)
        except RuntimeError:  # the pool was shut down: the agent is closing
            child.end()

    def _bury(self) -> None:
        """Clear up after engines and make new ones; not before the fragment that just ended had its processor."""
        if self._spent:
            self._closing.wait(LINGER)
        with self._lock:
            spent, self._spent = self._spent, []
        for child in spent:
            child.end()
        with self._lock:
            if not self._closing.is_set() and len(self._ready) < self._warm:
                self._ready.append(self._makers.submit(self._make))

    def close(self) -> None:
        """End all engines, and wait until they are gone."""
        self._closing.set()
        self._undertakers.shutdown()
        self._makers.shutdown()
        for waiting in self._ready:
            _end(waiting)


def _end(waiting: Future[_Child]) -> None:
    with contextlib.suppress(EngineError):
        waiting.result().end()
