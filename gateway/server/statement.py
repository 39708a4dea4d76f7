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

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from catalog.errors import CityError
from gateway.execution import Execution, Session
from gateway.server.compress import WORTH_PACKING, body, coding, packed
from gateway.server.conversation import Conversation, Page, Segment, Statements, abandoned
from gateway.server.problem import answerable
from gateway.server.report import error_body, failure, state_of, stats, summary
from gateway.server.session import HttpProblem, base_url, check_user, login, with_headers
from gateway.server.spool import HEADER, chosen
from gateway.server.wire import Connection, connection_of

__all__ = ["Conversation", "Statements", "abandoned", "error_body", "routes", "state_of", "stats"]

MAX_BODY = 4_000_000
SHORT_DIGITS = 4
"""Of the length of a body that is short."""
BODY_SECONDS = 30.0
"""In which a short body must be there: nobody has logged in yet."""
PIECE = 256 * 1024
"""Bytes handed to the network at once; the next piece waits until the client took this one."""


def routes(statements: Statements) -> list[Route]:
    """The routes of Trino's protocol: plain ones, since a statement has several requests and each of them counts."""
    return [*_statements(statements), *_segments(statements), *_server(statements), *_queries(statements)]


def _get(path: str, endpoint: Callable[[Request], Awaitable[Any]]) -> Route:
    """For GET alone: HEAD is to change nothing."""
    route = Route(path, endpoint, methods=["GET"])
    route.methods = {"GET"}
    return route


# -- statements and their pages ------------------------------------------------------------------------


def _statements(statements: Statements) -> list[Route]:
    options = statements.options
    followed = "/v1/statement/{kind}/{query_id}/{slug}/{token}"

    async def submit(request: Request) -> _Body:
        base = base_url(request)
        encoding = chosen(request.headers) if options.spooling else ""
        if _is_short(request):
            data = await _short_body(request)
            conversation = await statements.run(_started, statements, request, data, encoding)
        else:  # who isn't known yet does not bring that much
            session, refusal = await statements.run(_session_of, statements, request)
            sql = _text(await body(request, MAX_BODY))
            conversation = await statements.run(statements.start, sql, session, refusal, encoding)
        conversation.touch(connection_of(request))
        return await _answer(statements, request, base, conversation, conversation.first, 0)

    async def validate(request: Request) -> Response:
        await _who(statements, request)
        return Response()

    def asked(request: Request) -> tuple[Conversation, int]:
        """The conversation and the number of a page. Raises HttpProblem 404."""
        at = request.path_params
        return statements.find(at["query_id"], at["slug"]), _token(at["kind"], at["token"])

    async def page(request: Request) -> _Body:
        base = base_url(request)
        conversation, number = asked(request)
        connection = connection_of(request)
        conversation.touch(connection)
        found = await statements.run(conversation.page, number, options.poll_seconds)
        # Again this connection: a sign of life by another one, meanwhile, doesn't tell whether anybody waits for this.
        conversation.touch(connection)
        return await _answer(statements, request, base, conversation, found, number)

    async def keep_alive(request: Request) -> Response:
        conversation, _ = asked(request)
        conversation.touch(connection_of(request))
        return Response()

    async def cancel(request: Request) -> Response:
        conversation, _ = asked(request)
        await statements.run(conversation.cancel)
        return Response(status_code=204)

    async def stop_early(request: Request) -> Response:
        at = request.path_params
        await statements.run(statements.find(at["query_id"], at["slug"]).stop_early)
        return Response(status_code=204)

    return [
        # The most frequent first: each is looked at in turn.
        _get(followed, page),
        Route("/v1/statement", submit, methods=["POST"]),
        Route(followed, keep_alive, methods=["HEAD"]),
        Route(followed, cancel, methods=["DELETE"]),
        Route("/v1/statement", validate, methods=["HEAD"]),
        Route("/v1/statement/partial/{query_id}/{slug}", stop_early, methods=["DELETE"]),
    ]


async def _who(statements: Statements, request: Request) -> Session:
    return await statements.run(login, request, statements.gateway, statements.options)


def _session_of(statements: Statements, request: Request) -> tuple[Session, CityError | None]:
    """The session that the headers say, and why it may not ask; long headers take their time."""
    principal = login(request, statements.gateway, statements.options)
    session = with_headers(principal, request.headers)
    try:
        check_user(request, principal)
    except CityError as error:
        return session, error
    return session, None


def _is_short(request: Request) -> bool:
    """Whether a body is so short, by its own word, that it may be read before it is known who sends it."""
    length = request.headers.get("Content-Length", "")
    is_plain = not request.headers.get("Content-Encoding", "")
    return is_plain and length.isascii() and length.isdigit() and len(length) <= SHORT_DIGITS


async def _short_body(request: Request) -> bytes:
    """Raises HttpProblem 408, and 413 for a body that is longer than its word."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await body(request, 10**SHORT_DIGITS)
    except TimeoutError:
        raise HttpProblem(408, "Request Timeout", [("Connection", "close")]) from None


def _started(statements: Statements, request: Request, data: bytes, encoding: str) -> Conversation:
    """A statement from its headers and its body: in one thread, since to change threads takes as long as either."""
    session, refusal = _session_of(statements, request)
    return statements.start(_text(data), session, refusal, encoding)


async def _answer(
    statements: Statements, request: Request, base: str, conversation: Conversation, page: Page, token: int
) -> _Body:
    parts = _parts(base, conversation, page, token)
    headers = [*page.headers, *_STATIC_HEADERS]
    if conversation.encoding:
        headers.append((HEADER, conversation.encoding))
    # The segments of an encoded result are packed already.
    is_worth_it = not page.segments and sum(map(len, parts)) >= WORTH_PACKING
    if is_worth_it and (wanted := coding(request.headers)):
        parts = [await statements.run(packed, wanted, parts)]
        headers.append(("Content-Encoding", wanted))
    return _Body(parts, headers, "application/json", conversation)


# -- segments of encoded results -----------------------------------------------------------------------


def _segments(statements: Statements) -> list[Route]:
    async def download(request: Request) -> _Body:
        name = request.path_params["name"]
        data, conversation = await statements.run(_segment_of, statements, name, connection_of(request))
        return _Body([data], _STATIC_HEADERS, "application/octet-stream", conversation)

    async def acknowledge(request: Request) -> Response:
        owner = statements.spool.drop(request.path_params["name"])
        conversation = statements.conversations.get(owner or "")
        if conversation is not None:
            conversation.touch(connection_of(request))
        # A second acknowledgement of the same segment, after a lost answer, is as welcome as the first.
        return Response()

    return [_get("/v1/spooled/download/{name}", download), _get("/v1/spooled/ack/{name}", acknowledge)]


def _segment_of(statements: Statements, name: str, connection: Connection | None) -> tuple[bytes, Conversation | None]:
    """A segment's bytes, and its statement if that is still known. Raises HttpProblem 404."""
    try:
        owner, data = statements.spool.read(name)
    except KeyError:
        raise HttpProblem(404, "Segment not found") from None
    conversation = statements.conversations.get(owner)
    if conversation is not None:
        conversation.touch(connection)
    return data, conversation


# -- the server itself ---------------------------------------------------------------------------------


def _server(statements: Statements) -> list[Route]:
    options = statements.options
    identity = {"nodeVersion": {"version": options.version}, "environment": options.environment, "coordinator": True}

    async def info(request: Request) -> Response:
        return _json({**identity, "starting": False, "uptime": _uptime(request)})

    async def state(request: Request) -> Response:
        return _json("SHUTTING_DOWN" if statements.closing else "ACTIVE")

    async def status(request: Request) -> Response:
        """What load balancers ask; nothing about the machine or its users."""
        load = {"processors": os.cpu_count() or 1, "runningQueries": statements.running()}
        return _json({"nodeId": "gateway", **identity, "uptime": _uptime(request), **load})

    return [Route("/v1/info", info), Route("/v1/info/state", state), Route("/v1/status", status)]


# -- the user's own statements -------------------------------------------------------------------------


def _queries(statements: Statements) -> list[Route]:
    async def queries(request: Request) -> Response:
        principal = await _who(statements, request)
        shown = [e for e in statements.gateway.executions() if e.session.user == principal.user]
        wanted = request.query_params.get("state", "").upper()
        base = base_url(request)
        return _json([summary(e, base) for e in shown if not wanted or state_of(e).value == wanted])

    async def query(request: Request) -> Response:
        execution = await _own(statements, request)
        if execution.error is not None:
            answerable(execution.error, statements.gateway.contact)
        return _json({**summary(execution, base_url(request)), **failure(execution)})

    async def stop(request: Request) -> Response:
        execution = await _own(statements, request)
        conversation = statements.conversations.get(execution.query_id)
        await statements.run(conversation.cancel if conversation else execution.cancel)
        return Response(status_code=204)

    return [
        Route("/v1/query", queries, methods=["GET"]),
        Route("/v1/query/{query_id}", query, methods=["GET"]),
        Route("/v1/query/{query_id}", stop, methods=["DELETE"]),
    ]


async def _own(statements: Statements, request: Request) -> Execution:
    """The statement at a request's address, if the asking user sent it. Raises HttpProblem 410."""
    principal = await _who(statements, request)
    execution = _known(statements, request.path_params["query_id"])
    if execution is None or execution.session.user != principal.user:
        raise HttpProblem(410, "Query not found")
    return execution


def _known(statements: Statements, query_id: str) -> Execution | None:
    conversation = statements.conversations.get(query_id)
    return conversation.execution if conversation else statements.gateway.execution(query_id)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _token(kind: str, text: str) -> int:
    if kind not in ("queued", "executing") or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HttpProblem(404, "Not found")
    return int(text)


def _text(data: bytes) -> str:
    """The statement in a body. Raises HttpProblem 400."""
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


class _Body:
    """A response whose body comes in known parts, sent piece by piece: nothing is copied, and a slow reader holds up
    only himself."""

    def __init__(
        self,
        parts: Sequence[bytes],
        headers: Sequence[tuple[str, str]],
        media_type: str,
        conversation: Conversation | None,
    ) -> None:
        own = (("Content-Type", media_type), ("Content-Length", str(sum(map(len, parts)))))
        self._headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (*own, *headers)]
        self._parts = parts
        self._conversation = conversation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        pieces = [memoryview(part)[at : at + PIECE] for part in self._parts for at in range(0, len(part), PIECE)]
        *_, last = pieces = pieces or [memoryview(b"")]
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": piece is not last})
            if self._conversation is not None:
                self._conversation.touch()
