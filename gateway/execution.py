"""What passes between the pipeline (which makes an answer) and the servers (which hand it out).

`Session` is everything a client said about itself. `Execution` is one running statement: the pipeline
publishes columns, batches and the end; a server takes them with a time limit, so that it can long-poll.
Batches wait in a short queue: a slow client stops the merge, and the merge stops the departments.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from catalog.duck import as_shown_in
from catalog.errors import CityError, Outcome, UserError
from catalog.exchange import Receipt
from catalog.types import TrinoType
from gateway.clock import Clock
from gateway.waiting import Waiting

if TYPE_CHECKING:
    from gateway.kept import Copy

__all__ = [
    "Department",
    "Effects",
    "Execution",
    "Part",
    "ResultColumn",
    "Session",
    "State",
]


@dataclass(frozen=True)
class Session:
    """One client's session, rebuilt from every request's headers.

    token: the user's own token (audience: the gateway), never logged. user: its `sub`. proof: the user's own
    signature over the statement, "" without one (`catalog.question`); passed on to the agents.
    purpose: the one asked for, "" = the user's only one. catalog/schema: defaults for short names.
    properties: session properties as text. prepared: name -> SQL. capabilities: of the client.
    """

    user: str
    token: str = field(default="", repr=False)
    proof: str = field(default="", repr=False)
    purpose: str = ""
    catalog: str = ""
    schema: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    prepared: dict[str, str] = field(default_factory=dict)
    time_zone: str = "UTC"
    source: str = ""
    client_tags: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    transaction: str = ""

    @property
    def allow_partial(self) -> bool:
        return self._is_set("allow_partial")

    @property
    def require_pushdown(self) -> bool:
        return self._is_set("require_pushdown")

    @property
    def fresh(self) -> bool:
        return self._is_set("fresh")

    def _is_set(self, name: str) -> bool:
        return self.properties.get(name, "false").lower() == "true"


@dataclass(frozen=True)
class ResultColumn:
    """A result column: the label as the user wrote it, and its type. mask: kind shown, if masked."""

    name: str
    type: TrinoType
    mask: str = ""


@dataclass(frozen=True)
class Effects:
    """What a statement changes in the client's session; every field empty for a plain query."""

    update_type: str = ""
    set_catalog: str = ""
    set_schema: str = ""
    set_session: tuple[tuple[str, str], ...] = ()
    clear_session: tuple[str, ...] = ()
    added_prepare: tuple[tuple[str, str], ...] = ()
    deallocated_prepare: tuple[str, ...] = ()
    started_transaction: str = ""
    clear_transaction: bool = False
    set_path: str = ""
    set_role: str = ""
    reset_authorization: bool = False


class State(Enum):
    """Trino's query states."""

    QUEUED = "QUEUED"
    PLANNING = "PLANNING"
    RUNNING = "RUNNING"
    FINISHING = "FINISHING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


class Part(NamedTuple):
    """Progress of one fragment. state: queued, running, done, refused, down, cancelled; kept: of an answer that is
    given again, with nothing delivered now.

    rows and bytes: delivered over the trust line so far. asked: seconds after the statement came. first: from asking to
    the first bytes. seconds: from asking to the end record. keys: that were sent with it.
    """

    department: str
    state: str = "queued"
    rows: int = 0
    bytes: int = 0
    asked: float = 0.0
    first: float = 0.0
    seconds: float = 0.0
    keys: int = 0
    receipt: Receipt | None = None


STATES = ("down", "refused", "cancelled", "running", "queued", "done", "kept")
"""A department's state is the first of these that any of its fragments is in."""


@dataclass(frozen=True)
class Department:
    """Progress of one department: its fragments together. seconds: of the slowest."""

    name: str
    state: str = "queued"
    fragments: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    mode: str = ""
    masks: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()
    receipts: tuple[str, ...] = ()
    suppressed: int | None = None
    vintages: dict[str, str] = field(default_factory=dict)
    synthetic: tuple[str, ...] = ()


class Execution:
    """One statement from submission to its last batch. Safe for use from several threads.

    question: the statement as its user sent it, of which this may be a part. rows: handed over so far.
    recorded: the gateway's ledger has its `begin`. copy: takes what is handed over too, if it may be kept.
    """

    def __init__(self, query_id: str, sql: str, session: Session) -> None:
        self.query_id = query_id
        self.sql = sql
        self.question = sql
        self.session = session
        self.created = time.time()
        self.clock = Clock("waiting for a thread")
        self.ended: float | None = None
        self.effects = Effects()
        self.state = State.QUEUED
        self.error: CityError | None = None
        self.warnings: list[str] = []
        self.rows = 0
        self.recorded = False
        self.copy: Copy | None = None
        self._columns: tuple[ResultColumn, ...] | None = None
        self._batches = Waiting()
        self._known = threading.Event()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._departments: tuple[Department, ...] | None = None
        self._on_cancel: list[Callable[[], None]] = []
        self._drained = False

    # -- the pipeline's side ---------------------------------------------------------------------

    def publish(self, columns: tuple[ResultColumn, ...], effects: Effects | None = None) -> None:
        """Make the result's columns known (once); from here on batches may follow."""
        self._columns = columns
        self.effects = effects or self.effects
        with self._lock:
            if self.ended is None:  # who cancelled it has ended it
                self.state = State.RUNNING
        self._known.set()

    def put(self, batch: pa.RecordBatch) -> None:
        """Hand over a batch; waits while the client is slow. Raises the cancelling error once cancelled."""
        with self.clock.at("waiting for the reader"):
            while True:
                self.check()
                try:
                    self._batches.put(batch, timeout=0.05)
                except queue.Full:
                    continue
                self.rows += batch.num_rows
                if self.copy is not None:
                    self.copy.add(batch)
                if self._cancelled.is_set():
                    self._drop_batches()
                return

    def finish(self, error: CityError | None = None) -> None:
        """End the statement, and its clock; the first end counts."""
        took = self.clock.stop()
        with self._lock:
            if self.ended is not None:
                return
            self.ended = self.created + took
            self.error = self.error or error
            self.state = State.FAILED if self.error else State.FINISHING
            if self.error is None:
                # Nothing is at work any more, and what was would be kept with its batches as long as this is known.
                self._on_cancel = []
        self._known.set()
        if self.error is None:
            self._put_end()
        else:
            self._stop_all()

    def _stop_all(self) -> None:
        with self._lock:
            self._cancelled.set()
            callbacks, self._on_cancel = self._on_cancel, []
        for callback in callbacks:
            callback()
        self._drop_batches()

    def forget_frames(self) -> None:
        """Free what functions held that the error came through: it is kept as long as the statement is known, and
        batches would be with it."""
        chain: list[BaseException | None] = [self.error]
        for error in chain:
            if error is not None:
                traceback.clear_frames(error.__traceback__)
                chain += [e for e in (error.__cause__, error.__context__) if e not in chain]

    def _drop_batches(self) -> None:
        """Free what waits for a reader who will not come."""
        while True:
            try:
                self._batches.get_nowait()
            except queue.Empty:
                return

    @property
    def started(self) -> bool:
        """Whether columns were published: from then on an answer can't be replaced by another."""
        return self._columns is not None

    def _put_end(self) -> None:
        while not self._cancelled.is_set():
            try:
                self._batches.put(None, timeout=0.05)
            except queue.Full:
                continue
            if self._cancelled.is_set():
                self._drop_batches()
            return

    def check(self) -> None:
        """Raise the cancelling error if the statement was cancelled."""
        if self._cancelled.is_set():
            raise self.error or UserError("Query was canceled", Outcome.CANCELED)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call back at cancellation, at once if it already happened."""
        with self._lock:
            if not self._cancelled.is_set():
                self._on_cancel.append(callback)
                return
        callback()

    def part(self, fragment_id: str, department: str, **changes: Any) -> None:
        """Update the progress of one fragment."""
        with self._lock:
            known = self._parts.get(fragment_id) or Part(department)
            self._parts[fragment_id] = known._replace(**changes)
            self._departments = None

    def adopt(self, other: Execution) -> None:
        """Count another execution's fragments as this one's: a part of the same statement ran apart."""
        with self._lock:
            self._parts.update(other._parts)
            self._departments = None

    def give_again(self, parts: Mapping[str, Part]) -> None:
        """Show what another execution was told: its answer is this one's. Nothing counts as delivered."""
        with self._lock:
            for name, part in parts.items():
                self._parts[name] = Part(part.department, "kept", receipt=part.receipt)
            self._departments = None

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def retract(self, texts: Collection[str]) -> None:
        """Take warnings back that turned out to be untrue."""
        self.warnings = [w for w in self.warnings if w not in texts]

    # -- the server's side -----------------------------------------------------------------------

    def columns(self, timeout: float) -> tuple[ResultColumn, ...] | None:
        """The result's columns, or None if they are not known within `timeout` seconds.

        Raises the statement's error if it failed before it had columns.
        """
        self._known.wait(timeout)
        if self._columns is None and self.error is not None:
            raise self.error
        return self._columns

    def next_batch(self, timeout: float) -> pa.RecordBatch | None:
        """The next batch; None if there is none within `timeout` seconds or the answer has ended.

        `finished` tells the two apart. Raises the statement's error.
        """
        if self._drained:
            return None
        deadline = time.monotonic() + timeout
        while True:
            if self.error is not None:
                raise self.error
            try:
                batch = self._batches.get(timeout=min(0.05, max(0.0, deadline - time.monotonic())) or 0.001)
            except queue.Empty:
                if time.monotonic() >= deadline:
                    return None
                continue
            if batch is None:
                self._drained = True
                self.state = State.FINISHED
            return batch

    def has_batch(self, timeout: float) -> bool:
        """Whether `next_batch` would give a batch at once, not the end; waits up to `timeout` seconds for either."""
        with self._batches.not_empty:
            self._batches.not_empty.wait_for(lambda: self._batches.queue, timeout)
            return bool(self._batches.queue) and self._batches.queue[0] is not None

    @property
    def finished(self) -> bool:
        """Whether every batch was taken and the statement ended well."""
        return self._drained

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All batches to the end, blocking. Raises the statement's error."""
        while not self._drained:
            batch = self.next_batch(1.0)
            if batch is not None:
                yield batch

    def cancel(self, error: CityError | None = None) -> None:
        """Stop the statement everywhere; harmless when it has ended and was drained."""
        with self._lock:
            if self._cancelled.is_set() or self._drained or self.error is not None:
                return
            self.error = error or UserError("Query was canceled", Outcome.CANCELED)
            self.state = State.FAILED
            self.ended = self.ended or time.time()
        self._known.set()
        self._stop_all()

    def departments(self) -> tuple[Department, ...]:
        """Progress of every department asked, in the order in which they were first asked."""
        with self._lock:
            if self._departments is None:
                parts = list(self._parts.values())
                names = dict.fromkeys(p.department for p in parts)
                self._departments = tuple(_together(name, [p for p in parts if p.department == name]) for name in names)
            return self._departments

    def parts(self) -> dict[str, Part]:
        """Progress of every fragment, by its id."""
        with self._lock:
            return dict(self._parts)

    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts that have come in so far for this statement's own questions."""
        with self._lock:
            return tuple(p.receipt for p in self._parts.values() if p.receipt is not None and p.state != "kept")

    @property
    def now(self) -> datetime:
        """When it came, in its session's time zone."""
        return as_shown_in(datetime.fromtimestamp(self.created, UTC), self.session.time_zone)

    @property
    def seconds(self) -> float:
        """Wall time so far, or in all."""
        return (self.ended or time.time()) - self.created


def _together(name: str, parts: list[Part]) -> Department:
    receipts = [p.receipt for p in parts if p.receipt is not None]
    suppressed = [r.suppressed for r in receipts if r.suppressed is not None]
    states = {p.state for p in parts}
    return Department(
        name,
        state=next(s for s in STATES if s in states),
        fragments=len(parts),
        rows=sum(p.rows for p in parts),
        bytes=sum(p.bytes for p in parts),
        seconds=max(p.seconds for p in parts),
        mode=", ".join(dict.fromkeys(r.mode for r in receipts if r.mode)),
        masks=tuple(dict.fromkeys(m for r in receipts for m in r.masks)),
        filtered=tuple(dict.fromkeys(f for r in receipts for f in r.filtered)),
        receipts=tuple(r.id for r in receipts),
        suppressed=sum(suppressed) if suppressed else None,
        vintages={k: v for r in receipts for k, v in r.vintages.items()},
        synthetic=tuple(dict.fromkeys(s for r in receipts for s in r.synthetic)),
    )
