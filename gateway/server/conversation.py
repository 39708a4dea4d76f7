"""One statement and the client that reads it, and all of them together.

A `Conversation` makes page after page and keeps the last one, so that a page that got lost can be asked
for again. Pages are made in threads of their own, never on the event loop. `Statements` admits, finds and
sweeps conversations. What they may hold in memory is bounded:

- the last pages of all conversations together, and those that are made ahead: `Options.page_memory_bytes` of
  Arrow data, since pages get smaller the more conversations there are (never below `pages.SMALLEST_PAGE`);
- what waits to become a page: a few batches a statement, then the departments' streams stop, or go to a file where
  nobody reads for a while (`gateway/waiting.py`);
- encoded results: the spool's bounds (`spool.py`).

A cancelled statement frees its rows at once. A client that has gone away frees all of it:
`Options.gone_seconds` after its last request if the end of its connection tells (`wire.Connection.is_gone`),
`Options.abandon_seconds` if it may merely think. Segments of an answer that came to its end stay until they are
fetched or expire.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import itertools
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from catalog.errors import CityError, InternalError, Outcome, TrinoError, UserError
from catalog.memory import trim
from gateway.execution import Effects, Execution, ResultColumn, Session, State
from gateway.server.pages import PAGE_BYTES, SMALLEST_PAGE, UNWRITABLE, Pages, client_columns, column_list
from gateway.server.problem import answerable
from gateway.server.report import effect_headers, error_body, stats
from gateway.server.session import Gateway, HttpProblem, Options, Transactions
from gateway.server.spool import Packed, Spool, pack
from gateway.server.wire import Connection
from gateway.statements import first_word

__all__ = ["Conversation", "Page", "Segment", "Statements", "abandoned"]

INLINE_ROWS = 50_000
INLINE_BYTES = 3_000_000
"""Encoded results up to so many rows and bytes travel inside their pages."""
WITH_END_BYTES = 1 << 16
"""Rows of so many bytes go out with the answer's end where that is known: one request less. Such pages are kept for a
repeat as long as the statement is known, so they are small."""
SEGMENT_PAGES = 3
"""A segment that is fetched on its own holds as much as so many pages."""
STOPPED = "The client stopped this statement early: rows are missing."
T = TypeVar("T")


@dataclass(frozen=True)
class Segment:
    """One segment of an encoded result: `data` travels in the page, or is fetched from the spool by `id`."""

    metadata: dict[str, Any]
    data: str = ""
    id: str = ""


@dataclass(frozen=True)
class Page:
    """One page: its body without addresses and rows, whether another follows, headers of the effects.

    rows: a JSON list, b"" for none. segments: the rows of an encoded result instead.
    cancellable: departments are at work, and can be told to stop early.
    """

    body: dict[str, Any]
    more: bool
    queued: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    rows: bytes = b""
    segments: tuple[Segment, ...] = ()
    cancellable: bool = False


@dataclass(frozen=True)
class _Rows:
    """Rows for one page: as JSON, where they stand in the answer, and as a segment's bytes if they travel as one."""

    json: bytes
    offset: int
    count: int
    packed: Packed | None


class Conversation:
    """One statement and the client that reads it."""

    def __init__(self, execution: Execution, statements: Statements, encoding: str = "") -> None:
        """encoding: of the rows, one of `spool.ENCODINGS`; "" for plain ones."""
        self.execution = execution
        self.encoding = encoding
        self.slug = secrets.token_urlsafe(24)
        self.touched = time.monotonic()
        self.connection: Connection | None = None
        self.ended = False
        self._statements = statements
        self._columns: tuple[ResultColumn, ...] | None = None
        self._pages: Pages | None = None
        self._ahead: _Rows | None = None
        self._inlined = 0
        self._stopped = False
        self._error: CityError | None = None
        self._lock = threading.Lock()
        self._token = 0
        self._last: Page | None = Page({"stats": stats(execution, State.QUEUED)}, True, queued=True)

    @property
    def first(self) -> Page:
        """The answer to the POST."""
        assert self._last is not None
        return self._last

    def touch(self, connection: Connection | None = None) -> None:
        """The client was heard of."""
        self.touched = time.monotonic()
        self.connection = connection or self.connection

    def idle_limit(self, options: Options) -> float:
        """After how many seconds of silence the client counts as gone."""
        if self.connection is not None and self.connection.is_gone:
            return min(options.gone_seconds, options.abandon_seconds)
        return options.keep_seconds if self.ended else options.abandon_seconds

    def _repeat(self, token: int) -> Page | None:
        """The last page if it is that one. Raises HttpProblem 410 for an older one, 404 for a later one."""
        last = self._last
        if token < self._token or (token == self._token and last is None):
            raise HttpProblem(410, "That page is gone")
        if token == self._token:
            return last
        if token > self._token + 1 or (last is not None and not last.more):
            raise HttpProblem(404, "No such page")
        return None

    def page(self, token: int, wait: float) -> Page:
        """Page `token`, made now if it is the next one; waits up to `wait` seconds for something to say.

        Raises HttpProblem 404 or 410 for any other than the next and the last.
        """
        with self._lock:
            known = self._repeat(token)
            if known is not None:
                return known
            page = self._make(wait)
            self._token, self._last = token, page
        if not page.more:
            self._end()
        elif page.rows or page.segments:
            self._statements.prepare(self)
        return page

    def prepare(self) -> None:
        """Make rows for the next page while the client reads the last one."""
        pages = self._pages
        if pages is None:
            return
        room = self._room()
        pages.ahead(room)
        if not self.encoding:
            return
        with self._lock:
            try:
                if self._pages is pages and self._ahead is None and pages.is_full(room):
                    self._ahead = self._rows(pages, 0.0)
            except CityError:  # which the client's next request meets as well
                self.execution.forget_frames()

    def cancel(self, error: CityError | None = None) -> None:
        """Stop the statement; an open transaction can only be rolled back after that.

        Harmless once the last page was handed out. Before that it counts, even if no row is left to read.
        """
        if self.ended:
            return
        self._error = error or UserError("Query was canceled", Outcome.CANCELED)
        self.execution.cancel(self._error)
        self._statements.transactions.abort(self.execution.session)
        self._forget_rows()
        self._end()

    def stop_early(self) -> None:
        """Let the answer end with the rows that were handed out: departments stop, the client keeps those."""
        if not self.ended and self.execution.ended is None:
            self._stopped = True
            self.execution.cancel(UserError("The client has enough rows.", Outcome.CANCELED))

    def release(self) -> None:
        """Free the pages; the client has gone away. Segments of a whole answer stay as long as they promise."""
        with self._lock:
            self._pages = self._last = self._ahead = None

    def _forget_rows(self) -> None:
        """Free the rows of a statement that was cancelled: nobody asks for them again."""
        with self._lock:
            self._pages = self._ahead = None
            if self._last is not None and (self._last.rows or self._last.segments):
                self._last = None
        self._statements.spool.forget(self.execution.query_id)

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._statements.open.discard(self)
            self._statements.on_end(self.execution)

    # -- making pages ------------------------------------------------------------------------------

    def _make(self, wait: float) -> Page:
        until = time.monotonic() + wait
        try:
            if self._error is not None:
                return self._failed(self.execution.error or self._error)
            if self._stopped:
                return self._finished(STOPPED)
            if self._pages is None and not self._open(wait):
                return Page({"stats": stats(self.execution)}, True, queued=True)
            return self._data(max(0.0, until - time.monotonic()))
        except CityError as error:
            if self._stopped:
                return self._finished(STOPPED)
            return self._failed(error)
        except UNWRITABLE as bad:
            fault = InternalError("A result column cannot be written as its type.", rule="encoding")
            fault.__cause__ = bad
            self.execution.cancel(fault)
            return self._failed(fault)

    def _open(self, wait: float) -> bool:
        columns = self.execution.columns(wait)
        if columns is None:
            return False
        self._columns = client_columns(columns, self.execution.session.capabilities)
        self._pages = Pages(self.execution, self._columns)
        return True

    def _data(self, wait: float) -> Page:
        pages = self._pages
        assert pages is not None
        made, self._ahead = self._ahead, None
        if made is None:
            made = self._rows(pages, wait)
        elif self.execution.error is not None:
            raise self.execution.error
        if made is None and pages.finished:
            return self._finished()
        if made is not None and pages.finished and len(made.json) <= WITH_END_BYTES:
            return self._with_rows(self._finished(), made)
        body = self._described()
        is_running = self.execution.ended is None
        body["stats"] = stats(self.execution, State.RUNNING if is_running else State.FINISHING)
        page = Page(body, True, cancellable=is_running)
        return page if made is None else self._with_rows(page, made)

    def _with_rows(self, page: Page, made: _Rows) -> Page:
        if made.packed is None:
            return replace(page, rows=made.json)
        return replace(page, segments=(self._segment(made, made.packed),))

    def _room(self) -> int:
        return self._statements.share() * (SEGMENT_PAGES if self._inlined > INLINE_BYTES else 1)

    def _rows(self, pages: Pages, wait: float) -> _Rows | None:
        """The next page's rows, packed where the client asked for that."""
        offset = pages.rows
        rows = pages.next(wait, self._room())
        if rows is None:
            return None
        return _Rows(rows, offset, pages.rows - offset, pack(self.encoding, rows) if self.encoding else None)

    def _segment(self, made: _Rows, packed: Packed) -> Segment:
        offset, count = made.offset, made.count
        metadata: dict[str, Any] = {"rowOffset": offset, "rowsCount": count, "segmentSize": len(packed.data)}
        if packed.plain_size is not None:
            metadata["uncompressedSize"] = packed.plain_size
        self._inlined += len(made.json)
        if offset + count > INLINE_ROWS or self._inlined > INLINE_BYTES:
            seconds = self._statements.options.segment_seconds
            expires = datetime.now(UTC) + timedelta(seconds=seconds)
            name = self._statements.spool.put(self.execution.query_id, packed.data, seconds)
            if name is not None:
                metadata["expiresAt"] = expires.replace(tzinfo=None).isoformat(timespec="milliseconds")
                return Segment(metadata, id=name)
        return Segment(metadata, data=base64.b64encode(packed.data).decode())

    def _described(self) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if self._columns is not None:
            body["columns"] = column_list(self._columns)
        if self.execution.effects.update_type:
            body["updateType"] = self.execution.effects.update_type
        if self.execution.warnings:
            body["warnings"] = [_warning(text) for text in list(self.execution.warnings)]
        return body

    def _finished(self, warning: str = "") -> Page:
        effects = self._statements.transactions.apply(self.execution.effects, self.execution.session)
        body = self._described()
        if warning:
            body.setdefault("columns", column_list(self._columns or ()))
            body["warnings"] = [*body.get("warnings", ()), _warning(warning)]
        body["stats"] = stats(self.execution, State.FINISHED)
        self._pages = None
        return Page(body, False, headers=tuple(effect_headers(effects)))

    def _failed(self, error: CityError) -> Page:
        self._statements.transactions.abort(self.execution.session)
        self._statements.spool.forget(self.execution.query_id)
        self.execution.forget_frames()
        self._pages = None
        body = {
            **self._described(),
            "error": error_body(answerable(error, self._statements.gateway.contact)),
            "stats": stats(self.execution, State.FAILED),
        }
        over = Effects(clear_transaction=self.execution.effects.clear_transaction)
        return Page(body, False, headers=tuple(effect_headers(over)))


def _warning(text: str) -> dict[str, Any]:
    return {"warningCode": {"code": 1, "name": "ATOLL"}, "message": text}


# -- all conversations ---------------------------------------------------------------------------------


@dataclass
class Statements:
    """All conversations of one server, with the threads that make their pages. open: those that have not ended."""

    gateway: Gateway
    options: Options
    on_end: Callable[[Execution], None] = lambda ended: None
    conversations: dict[str, Conversation] = field(default_factory=dict)
    open: set[Conversation] = field(default_factory=set)
    sweepers: list[Callable[[], None]] = field(default_factory=list)
    closing: bool = False
    sweeps: int = 0
    _counter: itertools.count[int] = field(default_factory=itertools.count)
    _starting: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.transactions = Transactions(self.options.abandon_seconds)
        self.spool = Spool(self.options.spool)
        threads = min(512, self.options.max_queries + 16)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="page")

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do blocking work in a thread of the server's own."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(work, *args))

    def running(self) -> int:
        return len(self.open)

    def prepare(self, conversation: Conversation) -> None:
        """Let a thread make rows for the next page, which the client will ask for in a moment."""
        with suppress(RuntimeError):  # the server is closing
            self.pool.submit(conversation.prepare)

    def share(self) -> int:
        """Bytes of Arrow data for one page, so that the pages of all conversations keep to their bound.

        Each may hold two: the last, and one made ahead.
        """
        return max(SMALLEST_PAGE, min(PAGE_BYTES, self.options.page_memory_bytes // (2 * max(1, self.running()))))

    def admit(self) -> None:
        """Raise HttpProblem 503 when too many statements run: every client comes back by itself."""
        if self.closing or self.running() >= self.options.max_queries:
            raise HttpProblem(503, "Too many statements are running", [("Retry-After", "1")])

    def faults(self) -> list[str]:
        """What keeps this server from answering a statement now; empty if nothing does."""
        found = ["shutting down"] if self.closing else list(self.gateway.faults())
        if self.running() >= self.options.max_queries:
            found.append("too many statements are running")
        if not self.spool.is_writable():
            found.append("the spool's folder cannot be written")
        return found

    def start(self, sql: str, session: Session, refusal: CityError | None = None, encoding: str = "") -> Conversation:
        """Submit a statement; one that is refused beforehand answers with its error like any other.

        Raises HttpProblem 503 when too many run.
        """
        with self._starting:
            self.admit()
            execution = self._submit(sql, session, refusal)
            conversation = Conversation(execution, self, encoding)
            self.open.add(conversation)  # first: whoever finds it may end it
            self.conversations[execution.query_id] = conversation
        return conversation

    def _submit(self, sql: str, session: Session, refusal: CityError | None) -> Execution:
        try:
            if refusal is not None:
                raise refusal
            self.transactions.check(session, first_word(sql))
            return self.gateway.submit(sql, session)
        except CityError as error:
            number = next(self._counter) % 100_000
            name = f"{datetime.now(UTC):%Y%m%d_%H%M%S}_{number:05d}_{secrets.token_hex(3)}"
            execution = Execution(name, sql, session)
            if first_word(sql) in ("COMMIT", "ROLLBACK"):
                # Whatever became of the transaction, the client is rid of it.
                execution.effects = Effects(clear_transaction=True)
            execution.finish(error)
            return execution

    def find(self, query_id: str, slug: str) -> Conversation:
        """The conversation of that address. Raises HttpProblem 404."""
        found = self.conversations.get(query_id)
        expected = found.slug if found else "no conversation"
        if not hmac.compare_digest(expected.encode(), slug.encode()) or found is None:
            raise HttpProblem(404, "Query not found")
        found.touch()
        return found

    def sweep(self) -> None:
        """Cancel what nobody reads any more and free its memory, forget what ended long ago."""
        now = time.monotonic()
        for conversation in list(self.conversations.values()):
            limit = conversation.idle_limit(self.options)
            if conversation.touched < now - limit:
                conversation.cancel(abandoned(limit))
                conversation.release()
        ended = sorted((c for c in list(self.conversations.values()) if c.ended), key=lambda c: c.touched, reverse=True)
        for at, conversation in enumerate(ended):
            if at >= self.options.keep_queries or conversation.touched < now - self.options.keep_seconds:
                self.conversations.pop(conversation.execution.query_id, None)
        self.spool.sweep()
        self.transactions.expire()
        for sweeper in self.sweepers:
            sweeper()
        trim()
        self.sweeps += 1

    def close(self) -> None:
        """Stop all statements and the threads."""
        self.closing = True
        for conversation in list(self.conversations.values()):
            conversation.cancel()
        self.spool.close()
        self.pool.shutdown(wait=False, cancel_futures=True)


def abandoned(seconds: float) -> CityError:
    """The error of a statement whose client has gone away."""
    return UserError(f"Nobody asked for the next page for {seconds:.0f} seconds.", trino=TrinoError.ABANDONED_QUERY)
