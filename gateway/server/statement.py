"""The Trino protocol over HTTP: POST a statement, follow `nextUri` until there is none.

    POST   /v1/statement                                       -> first page, always with a nextUri
    GET    /v1/statement/{queued|executing}/{id}/{slug}/{n}    -> page n; HEAD keeps alive, DELETE cancels
    DELETE /v1/statement/partial/{id}/{slug}                   the client has enough rows
    GET    /v1/spooled/{download|ack}/{segment}                segments of an encoded result
    GET    /v1/query, /v1/query/{id}; DELETE /v1/query/{id}    the user's own statements
    GET    /v1/info, /v1/info/state, /v1/status

Whoever knows a slug or a segment's id may read it; nothing else is asked of a follow-up request.
What a statement's pages hold is `conversation.py`'s business.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from catalog.errors import CityError
from gateway.execution import Execution, Session
from gateway.server.compress import WORTH_PACKING, body, coding, packed
from gateway.server.conversation import Conversation, Page, Segment, Statements, abandoned
from gateway.server.report import error_body, failure, state_of, stats, summary
from gateway.server.session import HttpProblem, base_url, check_user, login, with_headers
from gateway.server.spool import HEADER, chosen
from gateway.server.wire import connection_of

__all__ = ["Conversation", "Statements", "abandoned", "error_body", "router", "state_of", "stats"]

MAX_BODY = 4_000_000
PIECE = 256 * 1024
"""Bytes handed to the network at once; the next piece waits until the client took this one."""


def router(statements: Statements) -> APIRouter:
    """The routes of Trino's protocol."""
    routes = APIRouter(include_in_schema=False)
    gateway, options = statements.gateway, statements.options

    async def answer(request: Request, conversation: Conversation, page: Page, token: int) -> Response:
        base = base_url(request)
        parts = _parts(base, conversation, page, token)
        headers = [*page.headers, *_STATIC_HEADERS]
        if conversation.encoding:
            headers.append((HEADER, conversation.encoding))
        chosen_coding = coding(request.headers)
        # The segments of an encoded result are packed already.
        if chosen_coding and not page.segments and sum(map(len, parts)) >= WORTH_PACKING:
            parts = [await statements.run(packed, chosen_coding, parts)]
            headers.append(("Content-Encoding", chosen_coding))
        return _Body(parts, headers, "application/json", conversation)

    async def who(request: Request) -> Session:
        return await statements.run(login, request, gateway, options)

    def session_of(request: Request) -> tuple[Session, CityError | None]:
        """The session that the headers say, and why it may not ask; long headers take their time."""
        principal = login(request, gateway, options)
        session = with_headers(principal, request.headers)
        base_url(request)
        try:
            check_user(request, principal)
        except CityError as error:
            return session, error
        return session, None

    @routes.post("/v1/statement")
    async def submit(request: Request) -> Response:
        session, refusal = await statements.run(session_of, request)
        sql = await _text(request)
        encoding = chosen(request.headers) if options.spooling else ""
        conversation = await statements.run(statements.start, sql, session, refusal, encoding)
        conversation.touch(connection_of(request))
        return await answer(request, conversation, conversation.first, 0)

    @routes.head("/v1/statement")
    async def validate(request: Request) -> Response:
        await who(request)
        return Response()

    @routes.get("/v1/statement/{kind}/{query_id}/{slug}/{token}")
    async def page(request: Request, kind: str, query_id: str, slug: str, token: str) -> Response:
        conversation = statements.find(query_id, slug)
        conversation.touch(connection_of(request))
        number = _token(kind, token)
        found = await statements.run(conversation.page, number, options.poll_seconds)
        conversation.touch()
        return await answer(request, conversation, found, number)

    @routes.head("/v1/statement/{kind}/{query_id}/{slug}/{token}")
    async def keep_alive(request: Request, kind: str, query_id: str, slug: str, token: str) -> Response:
        statements.find(query_id, slug).touch(connection_of(request))
        _token(kind, token)
        return Response()

    @routes.delete("/v1/statement/{kind}/{query_id}/{slug}/{token}")
    async def cancel(kind: str, query_id: str, slug: str, token: str) -> Response:
        conversation = statements.find(query_id, slug)
        _token(kind, token)
        await statements.run(conversation.cancel)
        return Response(status_code=204)

    @routes.delete("/v1/statement/partial/{query_id}/{slug}")
    async def stop_early(query_id: str, slug: str) -> Response:
        await statements.run(statements.find(query_id, slug).stop_early)
        return Response(status_code=204)

    def segment(name: str, connection: Any) -> tuple[bytes, Conversation | None]:
        try:
            owner, data = statements.spool.read(name)
        except KeyError:
            raise HttpProblem(404, "Segment not found") from None
        conversation = statements.conversations.get(owner)
        if conversation is not None:
            conversation.touch(connection)
        return data, conversation

    @routes.get("/v1/spooled/download/{name}")
    async def download(request: Request, name: str) -> Response:
        data, conversation = await statements.run(segment, name, connection_of(request))
        return _Body([data], _STATIC_HEADERS, "application/octet-stream", conversation)

    @routes.get("/v1/spooled/ack/{name}")
    async def acknowledge(request: Request, name: str) -> Response:
        owner = statements.spool.drop(name)
        conversation = statements.conversations.get(owner or "")
        if conversation is not None:
            conversation.touch(connection_of(request))
        # A second acknowledgement of the same segment, after a lost answer, is as welcome as the first.
        return Response()

    @routes.get("/v1/info")
    @routes.head("/v1/info")
    async def info(request: Request) -> Response:
        return _json(
            {
                "nodeVersion": {"version": options.version},
                "environment": options.environment,
                "coordinator": True,
                "starting": False,
                "uptime": _uptime(request),
            }
        )

    @routes.get("/v1/info/state")
    @routes.head("/v1/info/state")
    async def state() -> Response:
        return _json("SHUTTING_DOWN" if statements.closing else "ACTIVE")

    @routes.get("/v1/status")
    @routes.head("/v1/status")
    async def status(request: Request) -> Response:
        """What load balancers ask; nothing about the machine or its users."""
        return _json(
            {
                "nodeId": "gateway",
                "nodeVersion": {"version": options.version},
                "environment": options.environment,
                "coordinator": True,
                "uptime": _uptime(request),
                "processors": os.cpu_count() or 1,
                "runningQueries": statements.running(),
            }
        )

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
        return _json([summary(e, base) for e in shown if not wanted or state_of(e).value == wanted])

    @routes.get("/v1/query/{query_id}")
    async def query(request: Request, query_id: str) -> Response:
        execution = await own(request, query_id)
        return _json({**summary(execution, base_url(request)), **failure(execution)})

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
    """The statement in the body. Raises HttpProblem 400, 413, 415."""
    data = await body(request, MAX_BODY)
    try:
        text = data.decode()
    except UnicodeDecodeError as bad:
        raise HttpProblem(400, "The statement is no UTF-8 text") from bad
    if not text.strip():
        raise HttpProblem(400, "SQL statement is empty")
    return text


def _uptime(request: Request) -> str:
    return f"{time.monotonic() - request.app.state.started:.2f}s"


# -- bodies --------------------------------------------------------------------------------------------

_STATIC_HEADERS = (("Cache-Control", "no-store"), ("Vary", "Accept-Encoding"))


def _parts(base: str, conversation: Conversation, page: Page, token: int) -> list[bytes]:
    """A page as JSON, in parts: the rows are not copied."""
    name, slug = conversation.execution.query_id, conversation.slug
    told: dict[str, Any] = {"id": name, "infoUri": f"{base}/ui/query.html?{name}"}
    if page.more:
        kind = "queued" if page.queued else "executing"
        told["nextUri"] = f"{base}/v1/statement/{kind}/{name}/{slug}/{token + 1}"
    if page.cancellable:
        told["partialCancelUri"] = f"{base}/v1/statement/partial/{name}/{slug}"
    told |= page.body
    if page.segments:
        segments = [_segment(base, segment) for segment in page.segments]
        told["data"] = {"encoding": conversation.encoding, "segments": segments}
    if not page.rows:
        return [orjson.dumps(told)]
    return [orjson.dumps(told)[:-1] + b',"data":', page.rows, b"}"]


def _segment(base: str, segment: Segment) -> dict[str, Any]:
    if not segment.id:
        return {"type": "inline", "data": segment.data, "metadata": segment.metadata}
    return {
        "type": "spooled",
        "uri": f"{base}/v1/spooled/download/{segment.id}",
        "ackUri": f"{base}/v1/spooled/ack/{segment.id}",
        "headers": {},
        "metadata": segment.metadata,
    }


class _Body(Response):
    """A body in known parts, sent piece by piece: nothing is copied, and a slow reader holds up only himself."""

    def __init__(
        self,
        parts: Sequence[bytes],
        headers: Sequence[tuple[str, str]],
        media_type: str,
        conversation: Conversation | None,
    ) -> None:
        super().__init__(media_type=media_type)
        self._pieces = parts
        self._conversation = conversation
        self.headers["content-length"] = str(sum(map(len, parts)))
        for name, value in headers:
            self.headers.append(name, value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._pieces:
            for at in range(0, len(part), PIECE):
                await send({"type": "http.response.body", "body": memoryview(part)[at : at + PIECE], "more_body": True})
                if self._conversation is not None:
                    self._conversation.touch()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
