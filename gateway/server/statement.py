"""The Trino protocol: POST a statement, follow `nextUri` until there is none.

    POST   /v1/statement                                       -> first page, always with a nextUri
    GET    /v1/statement/{queued|executing}/{id}/{slug}/{n}    -> page n; HEAD keeps alive, DELETE cancels
    GET    /v1/query, /v1/query/{id}; DELETE /v1/query/{id}    the user's own statements
    GET    /v1/info, /v1/info/state

A `Conversation` is one statement and the client that reads it: it makes page after page and keeps the
last one, so that a page that got lost can be asked for again. Whoever knows the slug may read; nothing
else is asked of a follow-up request. Pages are made in threads of their own, never on the event loop.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote_plus

import orjson
import pyarrow as pa
from fastapi import APIRouter, Request, Response

from catalog.errors import CityError, InternalError, TrinoError, UserError
from gateway.execution import Department, Effects, Execution, ResultColumn, Session, State
from gateway.server.pages import Pages, client_columns, column_list
from gateway.server.session import (
    Gateway,
    HttpProblem,
    Options,
    Transactions,
    base_url,
    check_user,
    login,
    with_headers,
)
from gateway.statements import first_word

__all__ = ["Conversation", "Statements", "abandoned", "error_body", "router", "state_of"]

MAX_BODY = 4_000_000
T = TypeVar("T")


@dataclass(frozen=True)
class _Page:
    """One page: its body without the addresses, whether another follows, headers of the effects."""

    body: dict[str, Any]
    more: bool
    queued: bool = False
    headers: tuple[tuple[str, str], ...] = ()


class Conversation:
    """One statement and the client that reads it."""

    def __init__(
        self,
        execution: Execution,
        transactions: Transactions,
        on_end: Callable[[Conversation], None] = lambda ended: None,
    ) -> None:
        self.execution = execution
        self.slug = secrets.token_urlsafe(24)
        self.touched = time.monotonic()
        self.ended = False
        self._on_end = on_end
        self._transactions = transactions
        self._columns: tuple[ResultColumn, ...] | None = None
        self._pages: Pages | None = None
        self._lock = threading.Lock()
        self._last = (0, _Page({"stats": stats(execution, State.QUEUED)}, True, queued=True))

    @property
    def first(self) -> _Page:
        """The answer to the POST."""
        return self._last[1]

    def touch(self) -> None:
        self.touched = time.monotonic()

    def repeat(self, token: int) -> _Page | None:
        """The last page if it is that one. Raises HttpProblem 410 for an older one, 404 for a later one."""
        last, page = self._last
        if token == last:
            return page
        if token < last:
            raise HttpProblem(410, "That page is gone")
        if token > last + 1 or not page.more:
            raise HttpProblem(404, "No such page")
        return None

    def page(self, token: int, wait: float) -> _Page:
        """Page `token`, made now if it is the next one; waits up to `wait` seconds for something to say."""
        with self._lock:
            known = self.repeat(token)
            if known is not None:
                return known
            page = self._make(wait)
            self._last = (token, page)
        if not page.more:
            self._end()
        return page

    def cancel(self, error: CityError | None = None) -> None:
        """Stop the statement; an open transaction can only be rolled back after that."""
        if not self.ended:
            self.execution.cancel(error)
        if self.execution.error is not None:
            self._transactions.abort(self.execution.session)

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._on_end(self)

    def _make(self, wait: float) -> _Page:
        until = time.monotonic() + wait
        try:
            if self._pages is None and not self._open(wait):
                return _Page({"stats": stats(self.execution)}, True, queued=True)
            return self._data(max(0.0, until - time.monotonic()))
        except CityError as error:
            return self._failed(error)
        except (pa.ArrowException, TypeError, ValueError) as bad:
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

    def _data(self, wait: float) -> _Page:
        assert self._pages is not None
        rows = self._pages.next(wait)
        body = self._described()
        if rows is not None:
            body["data"] = orjson.Fragment(rows)
        elif self._pages.finished:
            effects = self._transactions.apply(self.execution.effects, self.execution.session)
            body["stats"] = stats(self.execution, State.FINISHED)
            return _Page(body, False, headers=tuple(effect_headers(effects)))
        shown = State.RUNNING if self.execution.ended is None else State.FINISHING
        body["stats"] = stats(self.execution, shown)
        return _Page(body, True)

    def _described(self) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if self._columns is not None:
            body["columns"] = column_list(self._columns)
        if self.execution.effects.update_type:
            body["updateType"] = self.execution.effects.update_type
        if self.execution.warnings:
            body["warnings"] = [
                {"warningCode": {"code": 1, "name": "ATOLL"}, "message": text} for text in list(self.execution.warnings)
            ]
        return body

    def _failed(self, error: CityError) -> _Page:
        self._transactions.abort(self.execution.session)
        body = {
            **self._described(),
            "error": error_body(error),
            "stats": stats(self.execution, State.FAILED),
        }
        over = Effects(clear_transaction=self.execution.effects.clear_transaction)
        return _Page(body, False, headers=tuple(effect_headers(over)))


# -- what pages say ------------------------------------------------------------------------------------


def error_body(error: CityError) -> dict[str, Any]:
    """The protocol's `error`: no stack, nothing of a department's inside."""
    text = str(error)
    info = {"code": error.trino.code, "name": error.trino.name, "type": error.trino.kind}
    failure: dict[str, Any] = {
        "type": "io.trino.spi.TrinoException",
        "message": text,
        "suppressed": [],
        "stack": [],
        "errorInfo": info,
    }
    body: dict[str, Any] = {
        "message": text,
        "errorCode": error.trino.code,
        "errorName": error.trino.name,
        "errorType": error.trino.kind,
        "failureInfo": failure,
    }
    if error.location:
        where = {"lineNumber": error.location.line, "columnNumber": error.location.column}
        body["errorLocation"] = failure["errorLocation"] = where
    return body


def state_of(execution: Execution) -> State:
    """The state to show: once departments are at work a statement is no longer queued."""
    waiting = execution.state in (State.QUEUED, State.PLANNING)
    return State.RUNNING if waiting and execution.departments() else execution.state


def stats(execution: Execution, state: State | None = None) -> dict[str, Any]:
    """The protocol's `stats`, counting only what agents delivered; one stage a department."""
    state = state or state_of(execution)
    departments = execution.departments()
    elapsed = int(execution.seconds * 1000)
    counted = _splits(departments)
    done = state in (State.FINISHED, State.FAILED)
    found: dict[str, Any] = {
        "state": state.value,
        "queued": state is State.QUEUED,
        "scheduled": state not in (State.QUEUED, State.PLANNING),
        "nodes": len(departments),
        **counted,
        "planningTimeMillis": 0,
        "analysisTimeMillis": 0,
        "cpuTimeMillis": 0,
        "wallTimeMillis": elapsed,
        "queuedTimeMillis": 0,
        "elapsedTimeMillis": elapsed,
        "finishingTimeMillis": 0,
        "physicalInputTimeMillis": 0,
        "processedRows": sum(d.rows for d in departments),
        "processedBytes": sum(d.bytes for d in departments),
        "physicalInputBytes": 0,
        "physicalWrittenBytes": 0,
        "internalNetworkInputBytes": sum(d.bytes for d in departments),
        "peakMemoryBytes": 0,
        "spilledBytes": 0,
    }
    total = counted["totalSplits"]
    if done or total:
        percent = 100.0 if done else round(100.0 * counted["completedSplits"] / total, 1)
        found["progressPercentage"] = percent
        found["runningPercentage"] = 0.0 if done else 100.0 - percent
    if departments and not done:
        found["rootStage"] = _stage("merge", state.value, done, departments, map(_department, departments))
    return found


_ENDED = ("done", "refused", "down", "cancelled")


def _splits(departments: tuple[Department, ...]) -> dict[str, int]:
    def count(*states: str) -> int:
        return sum(max(1, d.fragments) for d in departments if d.state in states)

    return {
        "totalSplits": sum(max(1, d.fragments) for d in departments),
        "queuedSplits": count("queued"),
        "runningSplits": count("running"),
        "completedSplits": count(*_ENDED),
    }


def _department(department: Department) -> dict[str, Any]:
    states = {"queued": "PLANNED", "running": "RUNNING", "done": "FINISHED", "cancelled": "ABORTED"}
    state = states.get(department.state, "FAILED")
    return _stage(department.name, state, department.state in _ENDED, (department,), ())


def _stage(name: str, state: str, done: bool, departments: tuple[Department, ...], below: Any) -> dict[str, Any]:
    return {
        "stageId": name,
        "state": state,
        "done": done,
        "nodes": 1,
        **_splits(departments),
        "cpuTimeMillis": 0,
        "wallTimeMillis": int(1000 * max((d.seconds for d in departments), default=0.0)),
        "processedRows": sum(d.rows for d in departments),
        "processedBytes": sum(d.bytes for d in departments),
        "physicalInputBytes": 0,
        "failedTasks": 0,
        "coordinatorOnly": False,
        "subStages": list(below),
    }


def effect_headers(effects: Effects) -> list[tuple[str, str]]:
    """The response headers by which a statement changes its client's session."""
    found: list[tuple[str, str]] = []
    if effects.set_catalog:
        found.append(("X-Trino-Set-Catalog", effects.set_catalog))
    if effects.set_schema:
        found.append(("X-Trino-Set-Schema", effects.set_schema))
    found += [("X-Trino-Set-Session", f"{k}={quote_plus(v)}") for k, v in effects.set_session]
    found += [("X-Trino-Clear-Session", name) for name in effects.clear_session]
    found += [("X-Trino-Added-Prepare", f"{quote_plus(k)}={quote_plus(v)}") for k, v in effects.added_prepare]
    found += [("X-Trino-Deallocated-Prepare", quote_plus(name)) for name in effects.deallocated_prepare]
    if effects.started_transaction:
        found.append(("X-Trino-Started-Transaction-Id", effects.started_transaction))
    if effects.clear_transaction:
        found.append(("X-Trino-Clear-Transaction-Id", "true"))
    if effects.set_role:
        catalog, _, role = effects.set_role.partition("=")
        found.append(("X-Trino-Set-Role", f"{catalog}={quote_plus(role)}"))
    if effects.set_path:
        found.append(("X-Trino-Set-Path", quote_plus(effects.set_path)))
    return found


# -- all conversations ---------------------------------------------------------------------------------


@dataclass
class Statements:
    """All conversations of one server, with the threads that make their pages."""

    gateway: Gateway
    options: Options
    on_end: Callable[[Execution], None] = lambda ended: None
    conversations: dict[str, Conversation] = field(default_factory=dict)
    sweepers: list[Callable[[], None]] = field(default_factory=list)
    _counter: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.transactions = Transactions(self.options.abandon_seconds)
        threads = min(256, self.options.max_queries + 16)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="page")

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do blocking work in a thread of the server's own."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(work, *args))

    def running(self) -> int:
        return sum(1 for c in list(self.conversations.values()) if not c.ended)

    def admit(self) -> None:
        """Raise HttpProblem 503 when too many statements run: every client comes back by itself."""
        if self.running() >= self.options.max_queries:
            raise HttpProblem(503, "Too many statements are running", [("Retry-After", "1")])

    def start(self, sql: str, session: Session, refusal: CityError | None = None) -> Conversation:
        """Submit a statement; one that is refused beforehand answers with its error like any other."""
        execution = self._submit(sql, session, refusal)
        conversation = Conversation(execution, self.transactions, lambda c: self.on_end(c.execution))
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
        """Cancel what nobody reads any more, forget what ended long ago."""
        now = time.monotonic()
        for conversation in list(self.conversations.values()):
            if not conversation.ended and conversation.touched < now - self.options.abandon_seconds:
                conversation.cancel(abandoned(self.options.abandon_seconds))
                conversation.ended = True
                self.on_end(conversation.execution)
        ended = sorted((c for c in list(self.conversations.values()) if c.ended), key=lambda c: c.touched, reverse=True)
        for at, conversation in enumerate(ended):
            if at >= self.options.keep_queries or conversation.touched < now - self.options.keep_seconds:
                self.conversations.pop(conversation.execution.query_id, None)
        self.transactions.expire()
        for sweeper in self.sweepers:
            sweeper()

    def close(self) -> None:
        """Stop all statements and the threads."""
        for conversation in list(self.conversations.values()):
            conversation.cancel()
        self.pool.shutdown(wait=False, cancel_futures=True)


def abandoned(seconds: float) -> CityError:
    """The error of a statement whose client has gone away."""
    return UserError(f"Nobody asked for the next page for {seconds:.0f} seconds.", trino=TrinoError.ABANDONED_QUERY)


# -- HTTP ----------------------------------------------------------------------------------------------


def router(statements: Statements) -> APIRouter:
    """The routes of Trino's protocol."""
    routes = APIRouter(include_in_schema=False)
    gateway, options = statements.gateway, statements.options

    def answer(request: Request, conversation: Conversation, page: _Page, token: int) -> Response:
        base = base_url(request)
        execution = conversation.execution
        body = {
            "id": execution.query_id,
            "infoUri": f"{base}/ui/query.html?{execution.query_id}",
            **page.body,
        }
        if page.more:
            kind = "queued" if page.queued else "executing"
            body["nextUri"] = f"{base}/v1/statement/{kind}/{execution.query_id}/{conversation.slug}/{token + 1}"
        response = Response(orjson.dumps(body), media_type="application/json")
        for name, value in page.headers:
            response.headers.append(name, value)
        return response

    async def who(request: Request) -> Session:
        return await statements.run(login, request, gateway, options)

    @routes.post("/v1/statement")
    async def submit(request: Request) -> Response:
        principal = await who(request)
        session = with_headers(principal, request.headers)
        base_url(request)
        sql = await _text(request)
        statements.admit()
        refusal: CityError | None = None
        try:
            check_user(request, principal)
        except CityError as error:
            refusal = error
        conversation = await statements.run(statements.start, sql, session, refusal)
        return answer(request, conversation, conversation.first, 0)

    @routes.head("/v1/statement")
    async def validate(request: Request) -> Response:
        await who(request)
        return Response()

    @routes.get("/v1/statement/{kind}/{query_id}/{slug}/{token}")
    async def page(request: Request, kind: str, query_id: str, slug: str, token: str) -> Response:
        conversation = statements.find(query_id, slug)
        number = _token(kind, token)
        found = conversation.repeat(number)
        if found is None:
            found = await statements.run(conversation.page, number, options.poll_seconds)
        conversation.touch()
        return answer(request, conversation, found, number)

    @routes.head("/v1/statement/{kind}/{query_id}/{slug}/{token}")
    async def keep_alive(kind: str, query_id: str, slug: str, token: str) -> Response:
        statements.find(query_id, slug)
        _token(kind, token)
        return Response()

    @routes.delete("/v1/statement/{kind}/{query_id}/{slug}/{token}")
    async def cancel(kind: str, query_id: str, slug: str, token: str) -> Response:
        conversation = statements.find(query_id, slug)
        _token(kind, token)
        await statements.run(conversation.cancel)
        return Response(status_code=204)

    @routes.get("/v1/info")
    async def info(request: Request) -> Response:
        seconds = time.monotonic() - request.app.state.started
        return _json(
            {
                "nodeVersion": {"version": options.version},
                "environment": options.environment,
                "coordinator": True,
                "starting": False,
                "uptime": f"{seconds:.2f}s",
            }
        )

    @routes.get("/v1/info/state")
    async def state() -> Response:
        return _json("ACTIVE")

    async def own(request: Request, query_id: str) -> Execution:
        principal = await who(request)
        execution = _known(statements, query_id)
        if execution is None or execution.session.user != principal.user:
            raise HttpProblem(410, "Query not found")
        return execution

    @routes.get("/v1/query")
    async def queries(request: Request, state: str = "") -> Response:
        principal = await who(request)
        shown = [e for e in gateway.executions() if e.session.user == principal.user]
        wanted = state.upper()
        base = base_url(request)
        return _json([_summary(e, base) for e in shown if not wanted or state_of(e).value == wanted])

    @routes.get("/v1/query/{query_id}")
    async def query(request: Request, query_id: str) -> Response:
        execution = await own(request, query_id)
        return _json({**_summary(execution, base_url(request)), **_failure(execution)})

    @routes.delete("/v1/query/{query_id}")
    async def stop(request: Request, query_id: str) -> Response:
        execution = await own(request, query_id)
        conversation = statements.conversations.get(query_id)
        await statements.run(conversation.cancel if conversation else execution.cancel)
        return Response(status_code=204)

    return routes


def _known(statements: Statements, query_id: str) -> Execution | None:
    conversation = statements.conversations.get(query_id)
    return conversation.execution if conversation else statements.gateway.execution(query_id)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _token(kind: str, text: str) -> int:
    if kind not in ("queued", "executing") or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HttpProblem(404, "Not found")
    return int(text)


async def _text(request: Request) -> str:
    """The statement in the body. Raises HttpProblem 400, 413."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise HttpProblem(413, "The statement is too long")
        parts.append(part)
    try:
        text = b"".join(parts).decode()
    except UnicodeDecodeError as bad:
        raise HttpProblem(400, "The statement is no UTF-8 text") from bad
    if not text.strip():
        raise HttpProblem(400, "SQL statement is empty")
    return text


def _summary(execution: Execution, base: str) -> dict[str, Any]:
    session = execution.session
    created = _moment(execution.created)
    return {
        "queryId": execution.query_id,
        "session": {
            "user": session.user,
            "principal": session.user,
            "source": session.source,
            "catalog": session.catalog,
            "schema": session.schema,
        },
        "state": state_of(execution).value,
        "scheduled": state_of(execution) not in (State.QUEUED, State.PLANNING),
        "self": f"{base}/v1/query/{execution.query_id}",
        "query": execution.sql,
        "queryStats": {
            "createTime": created,
            "endTime": _moment(execution.ended) if execution.ended else None,
            "elapsedTime": f"{execution.seconds:.2f}s",
            "executionTime": f"{execution.seconds:.2f}s",
            **stats(execution),
        },
        "departments": [
            {"name": d.name, "state": d.state, "rows": d.rows, "bytes": d.bytes, "seconds": d.seconds}
            for d in execution.departments()
        ],
    }


def _failure(execution: Execution) -> dict[str, Any]:
    if execution.error is None:
        return {}
    body = error_body(execution.error)
    return {
        "failureInfo": body["failureInfo"],
        "errorType": body["errorType"],
        "errorCode": body["failureInfo"]["errorInfo"],
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
