"""The agent over HTTP: what gateways reach, and the owner's own door on loopback.

    GET    /v1/relations               POST /v1/fragment      DELETE /v1/fragment/{id}
    GET    /v1/requests                POST /v1/requests
    GET    /v1/ledger/head             GET  /v1/keys          /healthz  /metrics
    owner: GET /owner/status  /owner/ledger   /healthz
           POST /owner/pause  /owner/resume  /owner/refresh  /owner/fit  /owner/materialise  /owner/untoken
           POST /owner/requests/{id}

Every request to /v1 but `keys` carries a token of the identity provider and a signature by the key that
the token names; the token is checked before the body is read, and both before anything is parsed. Where the
department pinned its gateways the connection is TLS, and key and certificate must be one pinned gateway's. All
doors but the one that cancels are closed while the owner pauses, outside opening hours and without a valid policy.

A fragment is run by one worker thread from its decision to its end record; a queue of four chunks lies between it and
the reader, and a reader that goes away ends the work. An answer that is whole within a moment goes out as one body.
What runs fragments, what writes refusals and what looks after the breaker have threads of their own: however long a
source takes, the others do not wait for it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import structlog
import uvicorn
import yaml
from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from catalog import tls
from catalog.access import AccessRequest
from catalog.ending import ended_in_order
from catalog.errors import AccessDenied, CityError, DepartmentError, InternalError, Outcome, UserError
from catalog.exchange import Fragment
from catalog.identity import Pins, Principal, TokenVerifier, agent_audience, verify_request
from catalog.ledger import LedgerError
from catalog.memory import forbid_dumps, give_back, settled
from catalog.policy import PolicyError
from connectors.agent.budget import FairQueue
from connectors.agent.fragment import FragmentRun, canceled
from connectors.agent.requests import DECISIONS, Decided
from connectors.agent.service import Agent
from connectors.base import SourceError
from connectors.hands import Crew

__all__ = ["ARROW", "create_app", "create_broken_app", "create_owner_app", "serve"]

ARROW = "application/vnd.apache.arrow.stream"
FRAGMENT = "/v1/fragment"
CHUNKS = 4
WATCH = 0.5
SLOW_READER = 30.0
LAST_WORD = 0.5
AT_ONCE = 0.01
"""Seconds that an answer may take to go out as one body."""
AT_ONCE_BYTES = 1 << 16
"""Of a piece that such an answer may have."""
GRACE_SECONDS = 5
"""How long answers under way may still take once the agent is told to end."""
MAX_BODY = 4 * 1024 * 1024
LOOKS = 10_000
T = TypeVar("T")
_log = structlog.get_logger("atoll.agent")

_STATUS = {
    Outcome.AUTH: 401, Outcome.NOT_AVAILABLE: 404, Outcome.BUSY: 429, Outcome.BUDGET: 429,
    Outcome.CLOSED: 503, Outcome.LIMIT: 413, Outcome.TOO_LARGE: 413,
}  # fmt: skip


def error_response(error: CityError, contact: str = "") -> JSONResponse:
    """A refusal before the first byte, with whom to ask about it."""
    error.with_contact(contact)
    status = _STATUS.get(error.outcome)
    if status is None:
        kinds = {AccessDenied: 403, UserError: 400, DepartmentError: 503}
        status = next((s for k, s in kinds.items() if isinstance(error, k)), 500)
    headers = {"Retry-After": str(int(error.retry_after))} if error.retry_after is not None else {}
    return JSONResponse(error.to_dict(), status, headers)


def _unrecorded(agent: Agent, error: Exception) -> CityError:
    """What is said where a record cannot be written; why, the log tells."""
    _log.error("ledger failed", error=str(error))
    return InternalError("The department's agent cannot write its ledger.", who=agent.name)


class _Metrics:
    """Counts without any label that could name a user or a value."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.fragments = Counter("atoll_agent_fragments", "Fragments by outcome", ["outcome"], registry=self.registry)
        self.rows = Counter("atoll_agent_rows", "Rows delivered", registry=self.registry)
        self.bytes = Counter("atoll_agent_bytes", "Bytes delivered", registry=self.registry)
        self.running = Gauge("atoll_agent_running", "Fragments running now", registry=self.registry)


def create_app(agent: Agent, verifier: TokenVerifier | None = None, certificates: bool = False) -> Starlette:
    """The gateways' door. verifier: of tokens; by default the one that the policy's `identity` names.

    certificates: the connection must have shown a pinned gateway's certificate, since TLS ends here.
    """
    pins = agent.pins()
    looks: OrderedDict[tuple[str, ...], None] = OrderedDict()
    limits = agent.department.limits
    queue = FairQueue(limits.concurrent, limits.queue, agent.name)
    threads = _Threads(limits.concurrent)
    tokens = verifier or agent.verifier()
    metrics = _Metrics()

    @asynccontextmanager
    async def watching(app: Starlette) -> AsyncIterator[None]:
        watcher = asyncio.create_task(_watch(agent, pins, threads))
        try:
            yield
        finally:
            watcher.cancel()
            threads.close()

    async def on_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, CityError)
        return error_response(error, agent.contact)

    async def on_ledger(request: Request, error: Exception) -> JSONResponse:
        return error_response(_unrecorded(agent, error), agent.contact)

    async def refused(error: CityError, path: str, sub: str = "") -> None:
        """Record a refusal that no fragment run records itself."""
        metrics.fragments.labels(error.outcome.name).inc()
        fields = {"outcome": error.outcome.name, "rule": error.rule, "path": path, "sub": sub}
        await threads.book(agent.ledger.append, "refusal", fields)

    async def turned_away(error: CityError, path: str, request: Request) -> None:
        """Record the refusal of a stranger: so many a moment, the others counted."""
        metrics.fragments.labels(error.outcome.name).inc()
        peer = request.client.host if request.client is not None else ""
        await threads.book(agent.refusals.record, error, path, peer)

    def admitted(request: Request, principal: Principal) -> None:
        """Raise AUTH unless the department lets this gateway in now."""
        if pins is not None and not pins.admits(principal.cnf_jwk, _certificate(request, certificates)):
            raise _unknown_gateway(agent.name)

    async def principal_of(request: Request, route: str = "") -> tuple[Principal, bytes]:
        """Who asks, and the body. Raises AUTH; refusals are recorded without what was claimed.

        route: as Starlette would have found it.
        """
        try:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            principal = tokens.verify(token.strip() if scheme.lower() == "bearer" else "")
            admitted(request, principal)
            body = await _body(request, agent.name)
            verify_request(
                request.method, _target(request), body, request.headers, principal.cnf_jwk, agent.replay,
                who=agent.name,
            )  # fmt: skip
        except CityError as refusal:
            # not the caller's own words
            await turned_away(refusal, route or request.scope["route"].path, request)
            raise
        return principal, body

    async def opened(request: Request, principal: Principal) -> None:
        """Raise, and record, unless the department answers now."""
        try:
            await asyncio.to_thread(agent.reload)
            agent.check_open()
        except CityError as refusal:
            await refused(refusal, request.url.path, principal.sub)
            raise

    async def looked(request: Request, principal: Principal) -> None:
        """Record who was shown what lies here: at first sight, and again after a change of policy or purpose.

        Gateways ask every minute for every user; a record each time would bury the questions.
        """
        look = (principal.sub, principal.purpose, request.url.path, agent.policy.version)
        if look in looks:
            looks.move_to_end(look)
            return
        looks[look] = None
        if len(looks) > LOOKS:
            looks.popitem(last=False)
        names = ("sub", "purpose", "path", "policy")
        fields = {**dict(zip(names, look, strict=True)), "jti": principal.jti}
        try:
            await threads.book(agent.ledger.append, "look", fields)
        except LedgerError:
            looks.pop(look, None)
            raise

    async def relations(request: Request) -> Response:
        principal, _ = await principal_of(request)
        await opened(request, principal)
        found = await asyncio.to_thread(agent.relations, principal)
        await looked(request, principal)
        return Response(found.model_dump_json(), media_type="application/json")

    async def access_requests(request: Request) -> Response:
        principal, _ = await principal_of(request)
        await opened(request, principal)
        found = await asyncio.to_thread(agent.access_requests, principal)
        await looked(request, principal)
        return Response(found.model_dump_json(), media_type="application/json")

    async def request_access(request: Request) -> Response:
        principal, body = await principal_of(request)
        await opened(request, principal)
        try:
            filed = await threads.book(agent.request_access, principal, _application(body, agent.name))
        except CityError as refusal:
            await refused(refusal, request.url.path, principal.sub)
            raise
        return Response(filed.model_dump_json(), 201, media_type="application/json")

    async def fragment(request: Request) -> Response:
        principal, body = await principal_of(request, FRAGMENT)
        try:
            agent.breaker.check()
            asked = _fragment(body, agent.name)
            await queue.acquire(principal.sub)
        except CityError as refusal:
            await refused(refusal, FRAGMENT, principal.sub)
            raise

        def begin() -> FragmentRun:
            # It may have waited for its place, and what let it in may have ended or changed meanwhile.
            tokens.check_lasting(principal)
            admitted(request, principal)
            agent.reload()
            agent.check_open()
            return agent.start(principal, asked, _certificate(request, certificates))

        near = request.client is not None and tls.is_loopback(request.client.host)
        stream = _Stream(agent, begin, queue, metrics, threads, near)
        try:
            await stream.prepare()
        except CityError as bad:
            if stream.run is None:  # no fragment run records it itself
                await refused(bad, FRAGMENT, principal.sub)
            else:
                metrics.fragments.labels(bad.outcome.name).inc()
            raise
        if (whole := await stream.whole()) is not None:
            return Response(whole, media_type=ARROW)
        return StreamingResponse(stream.chunks(), media_type=ARROW)

    async def cancel(request: Request) -> Response:
        principal, _ = await principal_of(request)
        found = agent.cancel(principal, request.path_params["fragment_id"], canceled(agent.name))
        if not found:
            await refused(_nothing_runs(agent.name), FRAGMENT, principal.sub)
        return JSONResponse({"canceled": found})

    async def head(request: Request) -> Response:
        principal, _ = await principal_of(request)
        await opened(request, principal)
        await looked(request, principal)
        return Response(agent.head().model_dump_json(), media_type="application/json")

    async def on_unknown(request: Request, error: Exception) -> JSONResponse:
        """An address or method that is not here: recorded without its text, which anybody may choose."""
        assert isinstance(error, HTTPException)
        await turned_away(_no_such_address(agent.name), "", request)
        return JSONResponse({"error": "there is nothing at this address"}, error.status_code)

    async def public_keys(request: Request) -> Response:
        return JSONResponse({"receipt": agent.receipt_jwk(), "keys": agent.public_keys()})

    async def health(request: Request) -> Response:
        return JSONResponse({"department": agent.name, "status": "paused" if agent.breaker.paused else "ok"})

    async def show_metrics(request: Request) -> Response:
        metrics.running.set(agent.running)
        return PlainTextResponse(generate_latest(metrics.registry))

    return _Door(
        fragment,
        lifespan=watching,
        routes=[
            Route(FRAGMENT, fragment, methods=["POST"]),
            Route(f"{FRAGMENT}/{{fragment_id}}", cancel, methods=["DELETE"]),
            Route("/v1/relations", relations),
            Route("/v1/requests", access_requests),
            Route("/v1/requests", request_access, methods=["POST"]),
            Route("/v1/ledger/head", head),
            Route("/v1/keys", public_keys),
            Route("/healthz", health),
            Route("/metrics", show_metrics),
        ],
        exception_handlers={CityError: on_error, LedgerError: on_ledger, HTTPException: on_unknown},
    )


class _Door(Starlette):
    """Fragments go straight to their handler: to find it costs more processor time than to verify a signature."""

    def __init__(self, fragment: Callable[[Request], Awaitable[Response]], **more: Any) -> None:
        super().__init__(**more)
        self._fragment = fragment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != FRAGMENT or scope["method"] != "POST":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await self._fragment(request)
        except (CityError, LedgerError) as bad:
            handle = self.exception_handlers[CityError if isinstance(bad, CityError) else LedgerError]
            response = await handle(request, bad)
        except Exception:
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)
            raise
        await response(scope, receive, send)


def create_owner_app(agent: Agent) -> FastAPI:
    """The owner's door. It has no login of its own: bind it to loopback, as `serve` does."""
    app = FastAPI(title=f"atoll owner: {agent.name}", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def no_pages(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """A web page open on the owner's machine must not be able to press the switch, by whatever name."""
        host = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]")
        if "origin" in request.headers or host not in ("127.0.0.1", "localhost", "::1"):
            return JSONResponse({"error": "the owner's door opens to programs on this machine only"}, 403)
        return await call_next(request)

    @app.exception_handler(LedgerError)
    async def on_ledger(request: Request, error: LedgerError) -> JSONResponse:
        return JSONResponse({"error": _unrecorded(agent, error).to_dict()}, 500)

    @app.get("/healthz")
    def health() -> dict[str, str]:
        return {"department": agent.name, "status": "paused" if agent.breaker.paused else "ok"}

    @app.get("/owner/status")
    def status() -> dict[str, Any]:
        return agent.status()

    @app.post("/owner/pause")
    def pause() -> dict[str, Any]:
        agent.pause()
        return agent.status()

    @app.post("/owner/resume")
    def resume() -> dict[str, Any]:
        agent.resume()
        return agent.status()

    @app.post("/owner/fit")
    def fit() -> dict[str, str]:
        """Ask for the sums that generated rows follow; relation -> what came of it."""
        return agent.fit()

    @app.post("/owner/refresh")
    def refresh() -> Response:
        try:
            agent.refresh()
        except SourceError as bad:
            return JSONResponse({"refreshed": False, "error": str(bad)}, 502)
        return JSONResponse({"refreshed": True})

    @app.post("/owner/materialise")
    def materialise(relations: Annotated[list[str], Body()], drop: Annotated[bool, Body()] = False) -> Response:
        """Make copies of relations now, or let them go; without any, tell of those that there are."""
        try:
            return JSONResponse(agent.materialise(relations, drop))
        except CityError as refusal:
            return JSONResponse({"error": refusal.to_dict()}, 409)

    @app.post("/owner/untoken")
    def untoken(token: Annotated[str, Body(embed=True)]) -> dict[str, Any]:
        held = agent.untoken(token)
        return {"found": held is not None, **(asdict(held) if held else {})}

    @app.post("/owner/requests/{id_}")
    def decide(
        id_: str, decision: Annotated[str, Body()], by: Annotated[str, Body()], note: Annotated[str, Body()] = ""
    ) -> Response:
        if decision not in DECISIONS:
            return JSONResponse({"error": {"message": f"{decision[:20]!r} is no decision"}}, 422)
        try:
            row = agent.decide_request(id_, Decided(decision, by, note))
        except CityError as refusal:
            return JSONResponse({"error": refusal.to_dict()}, 409)
        return JSONResponse(asdict(row))

    @app.get("/owner/ledger")
    def ledger(after: int = 0, limit: int = 1000) -> dict[str, Any]:
        found = [r for r in agent.ledger.records() if r["seq"] > after][: max(0, min(limit, 10_000))]
        return {"records": found, "head": agent.head().model_dump(mode="json")}

    return app


def create_broken_app(fault: str) -> FastAPI:
    """An agent whose policy cannot be read refuses everything, and says so.

    It names nobody to ask: what a refused file says of that is as good as the rest of it. The gateway knows whom
    the department registered.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
    async def refuse(path: str) -> Response:
        _log.error("refused: no valid policy", fault=fault)
        return error_response(
            DepartmentError(
                "This department's agent has no valid policy and answers nothing.", Outcome.CLOSED,
                who="agent", rule="policy", hint="Its owner's log names the fault.",
            )
        )  # fmt: skip

    return app


def _target(request: Request) -> str:
    """The request target: its path, with its query."""
    query = request.scope["query_string"]
    path: str = request.scope["path"]
    return f"{path}?{query.decode('latin-1')}" if query else path


async def _body(request: Request, who: str) -> bytes:
    """The body, read up to a limit: an unknown caller cannot fill the memory."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise UserError("The request is too large.", Outcome.TOO_LARGE, who=who, rule="limits")
        parts.append(part)
    return b"".join(parts)


def _fragment(body: bytes, who: str) -> Fragment:
    try:
        return Fragment.model_validate_json(body)
    except ValidationError as bad:
        raise UserError("The request is no fragment.", Outcome.SYNTAX, who=who, rule="message") from bad


def _application(body: bytes, who: str) -> AccessRequest:
    try:
        return AccessRequest.model_validate_json(body)
    except ValidationError as bad:
        raise UserError("The request is no application for access.", Outcome.SYNTAX, who=who, rule="message") from bad


def _certificate(request: Request, required: bool) -> bytes | None:
    """The certificate (DER) that the connection showed; None where TLS ends elsewhere. b"" fits no pin."""
    if not required:
        return None
    shown = request.scope.get("extensions", {}).get("tls", {}).get("client_cert")
    return shown if isinstance(shown, bytes) else b""


def _nothing_runs(who: str) -> CityError:
    return UserError("No such fragment runs for this user.", Outcome.NOT_AVAILABLE, who=who, rule="cancel")


def _no_such_address(who: str) -> CityError:
    return UserError("There is nothing at this address.", Outcome.NOT_AVAILABLE, who=who, rule="address")


def _unknown_gateway(who: str) -> CityError:
    return AccessDenied(
        "This department lets another gateway in.", Outcome.AUTH, who=who, rule="pinned gateways",
        hint="Ask the gateway's operator: its key is not, or not any more, one that the department trusts.",
    )  # fmt: skip


class _Threads:
    """Threads of one door, apart by what they do: work on sources must hold up neither the breaker nor the ledger.

    run: as many as fragments have places, so that none waits for a thread that has one. book: records outside
    of fragments. look: the watch's own, for files that may be slow to read.
    """

    def __init__(self, places: int) -> None:
        """All threads of `run` start here: one that could not would take its fragment's place with it."""
        self._run = Crew(places, "fragment")
        self._book = ThreadPoolExecutor(1, thread_name_prefix="book")
        self._look = ThreadPoolExecutor(1, thread_name_prefix="look")

    def run(self, work: Callable[[], None]) -> None:
        self._run.run(work)

    def book(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._book, partial(work, *arguments))

    def look(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._look, work)

    def close(self) -> None:
        self._run.close()
        for pool in (self._book, self._look):
            pool.shutdown(wait=False)


async def _watch(agent: Agent, pins: Pins | None, threads: _Threads) -> None:
    """The breaker as a file, closing time, a revoked or ended gateway and a changed policy work without any request.

    It looks twice a second, and at a file that is slow to read not again before that was read.
    """
    known = "" if pins is None else pins.version
    waiting: set[asyncio.Future[Any]] = set()
    while True:
        await asyncio.sleep(WATCH)
        if agent.breaker.paused and agent.running:
            agent.stop_all()
        if agent.running:
            agent.stop_after_hours()
        if pins is not None and agent.running:
            agent.stop_those(partial(_not_admitted, pins), _unknown_gateway(agent.name))
        for ended in [look for look in waiting if look.done()]:
            waiting.discard(ended)
            if (bad := ended.exception()) is not None:
                # Without its book the department answers nothing; the watch itself goes on.
                _log.error("what was seen could not be recorded", error=str(bad))
                agent.stop_all()
        if waiting:
            continue
        if pins is not None and pins.version != known:
            old, known = known, pins.version
            waiting.add(threads.book(agent.ledger.append, "gateways", {"old": old, "new": known}))
        waiting |= {threads.look(agent.reload), threads.book(agent.refusals.flush)}


def _not_admitted(pins: Pins, principal: Principal, certificate: bytes | None) -> bool:
    return not pins.admits(principal.cnf_jwk, certificate)


class _Stream:
    """Carries a run's chunks from its worker thread to the reader, and the reader's absence back.

    run: None until it begins. Whatever happens to the reader, the worker ends, and gives the place back.
    """

    def __init__(
        self,
        agent: Agent,
        begin: Callable[[], FragmentRun],
        places: FairQueue,
        metrics: _Metrics,
        threads: _Threads,
        near: bool,
    ) -> None:
        """begin: decides whether there is a run. near: the reader is on this machine."""
        self.run: FragmentRun | None = None
        self._begin = begin
        self._near = near
        self._threads = threads
        self._agent = agent
        self._places = places
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._prepared: asyncio.Future[None] = self._loop.create_future()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(CHUNKS)
        self._taken: list[bytes] = []
        self._gone = threading.Event()

    async def prepare(self) -> None:
        """Run all stages that can refuse. A caller that is cancelled meanwhile stops them."""
        self._threads.run(self._work)
        try:
            await asyncio.shield(self._prepared)
        except asyncio.CancelledError:
            self._leave()
            raise

    async def whole(self) -> bytes | None:
        """The whole answer, if it ends within a moment; None if it does not: then `chunks` has all of it.

        Sums and verdicts are whole before they leave, and always one body: how it goes out says nothing of them.
        """
        assert self.run is not None
        made = self.run.is_made
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if made else AT_ONCE):
                    while (chunk := await self._next()) is not None:
                        self._taken.append(chunk)
                        if len(chunk) > AT_ONCE_BYTES and not made:
                            return None  # more of such will follow, and its first rows are waited for
                    return b"".join(self._taken)
        except asyncio.CancelledError:
            self._leave()
            raise
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        finished = False
        try:
            for taken in self._taken:
                yield taken
            while (chunk := await self._next()) is not None:
                yield chunk
            finished = True
        finally:
            # No await here: a cancelled scope would not let it finish. The worker does the rest.
            if not finished:
                self._leave()

    async def _next(self) -> bytes | None:
        chunk = await self._chunks.get()
        self._room.release()
        return chunk

    def _leave(self) -> None:
        """The reader is gone."""
        self._gone.set()
        if self.run is not None:
            self.run.stop(canceled(self._agent.name))

    def _work(self) -> None:
        try:
            self.run = self._begin()
            if self._gone.is_set():  # before there was anything to stop
                self.run.stop(canceled(self._agent.name))
            self.run.prepare()
        except BaseException as bad:  # noqa: BLE001 - handed to the reader, who raises it
            if self.run is not None:
                self._agent.finish(self.run)
            self._tell(self._places.release)
            self._tell(self._prepared.set_exception, bad)
            return
        if not self.run.is_at_hand:
            self._tell(self._begun)  # or nobody would notice that the reader has gone
        self._send_all(self.run)

    def _send_all(self, run: FragmentRun) -> None:
        frames, last, taken = run.frames(self._near), None, False
        try:
            for chunk in joined_first(frames, lambda: run.is_all_here):
                if run.is_ended:
                    last = chunk
                elif not self._send(run, chunk):
                    break
            else:
                taken = True
            frames.close()
        finally:
            self._agent.finish(run)
            self._account(run)
            self._tell(self._close, last, taken)

    def _close(self, last: bytes | None, taken: bool) -> None:
        """What the reader gets at the end: to wake the loop costs as much as to write a small answer."""
        self._places.release()
        self._begun()
        if last is not None:
            self._chunks.put_nowait(last)
        if taken:
            self._chunks.put_nowait(None)
        else:
            self._abandon()

    def _begun(self) -> None:
        if not self._prepared.done():
            self._prepared.set_result(None)

    def _put(self, chunk: bytes) -> None:
        self._begun()
        self._chunks.put_nowait(chunk)

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(what, *arguments)

    def _abandon(self) -> None:
        """End an answer whose reader was too slow, should he read on: it has no end record and counts for nothing."""
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(None)

    def _send(self, run: FragmentRun, chunk: bytes) -> bool:
        """Hand one chunk to the reader; False once there is none, or if it is too slow."""
        deadline = time.monotonic() + SLOW_READER
        while not self._gone.is_set() and time.monotonic() < deadline:
            if self._room.acquire(timeout=0.05):
                self._tell(self._put, chunk)
                return True
            if run.stop.reason is not None:
                # A reader that hangs, such as a gateway that is down, does not hold up whoever stopped the work.
                # (`cancel` alone says less: a run that ends by itself sets it too, to free its source.)
                deadline = min(deadline, time.monotonic() + LAST_WORD)
        return False

    def _account(self, run: FragmentRun) -> None:
        sent = run.frames_sent
        if sent is not None:
            self._metrics.rows.inc(sent.rows)
            self._metrics.bytes.inc(sent.bytes)
        self._metrics.fragments.labels(run.outcome).inc()


def joined_first(chunks: Iterator[bytes], ends: Callable[[], bool]) -> Iterator[bytes]:
    """The same bytes; a small answer is one chunk, for to wake a reader costs as much as to write it.

    The stream's head goes with its first rows, and these with the end record if there is nothing more to wait for.
    ends: whether that is so, once the first rows are there.
    """
    first = next(chunks, b"") + next(chunks, b"")
    if len(first) <= AT_ONCE_BYTES and ends():
        first += next(chunks, b"")
    yield first
    yield from chunks


def serve(path: str | Path, behind_tls_proxy: bool = False, owners: Path | None = None) -> None:
    """Serve one department until interrupted. Prints `ready <url>` once it answers.

    A broken policy does not end the process: it refuses everything, and its log names the fault.
    behind_tls_proxy: something in front ends TLS; plain HTTP then leaves this machine on the owner's word.
    owners: public keys of those who sign the policy; None = as pinned, or no signature is needed.
    Raises ValueError rather than serve plain HTTP on an address that others reach.
    """
    forbid_dumps()
    give_back()
    # What a program reads, `ready <url>`, stands alone on standard output.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    with ended_in_order():
        try:
            agent = Agent.from_file(path, owners=owners)
        except PolicyError as bad:
            _log.error("the policy is not valid", faults=list(bad.faults))
            _run(_broken_server(str(bad), Path(path), behind_tls_proxy).serve())
            return
        with closing(agent):
            _run(_serve(agent, behind_tls_proxy))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """To its end, on the fastest event loop there is: TLS over asyncio's own costs as much as reading a database."""
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(serving)


def _broken_server(fault: str, path: Path, behind_tls_proxy: bool) -> uvicorn.Server:
    """What refuses everything, where a policy that is not valid asks to listen, as far as it can be read."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        listen, state = str(found.get("listen", "")), str(found.get("state", "state"))
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        listen, state = "", "state"
    if not listen.rpartition(":")[2].isdigit():
        listen = "127.0.0.1:0"
    private = behind_tls_proxy or tls.is_loopback(_host(listen))
    ring = None if private else tls.create_ring(path.parent / state / "tls.key", agent_audience("unknown"))
    return _server(create_broken_app(fault), listen, None if ring is None else tls.ServerTls(ring, None))


async def _serve(agent: Agent, behind_tls_proxy: bool) -> None:
    department = agent.department
    pins = agent.pins()
    secure = None
    if pins is not None and not behind_tls_proxy:
        secure = tls.ServerTls(agent.certificates(), pins.certificates)
    elif not behind_tls_proxy and not tls.is_loopback(_host(department.listen)):
        raise ValueError(
            f"`listen: {department.listen}` is plain HTTP on an address that others reach. Pin the gateways that may "
            "ask (identity.gateways, see `atoll keys trust`), or end TLS in front and say --behind-tls-proxy"
        )
    servers = [_server(create_app(agent, certificates=secure is not None), department.listen, secure)]
    if department.owner_listen:
        host = department.owner_listen.rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost", "[::1]"):
            raise ValueError("owner_listen must be a loopback address")
        servers.append(_server(create_owner_app(agent), department.owner_listen))
    with settled():
        await asyncio.gather(*(s.serve() for s in servers))


def _host(listen: str) -> str:
    return listen.rpartition(":")[0].strip("[]") or "127.0.0.1"


def _server(app: Starlette, listen: str, secure: tls.ServerTls | None = None) -> uvicorn.Server:
    port = int(listen.rpartition(":")[2])
    factory = None if secure is None else lambda config, default: secure.context()
    config = uvicorn.Config(
        app, host=_host(listen), port=port, log_level="warning", access_log=False, http=_Protocol,
        ssl_context_factory=factory, timeout_graceful_shutdown=GRACE_SECONDS, proxy_headers=secure is None,
    )  # fmt: skip
    return _Announced(config)


class _Protocol(HttpToolsProtocol):
    """Tells the application which certificate the client showed, as `extensions.tls.client_cert` (DER)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """After the handshake; what was shown in it stays, for TLS 1.3 has no other."""
        super().connection_made(transport)
        peer = transport.get_extra_info("ssl_object")
        shown = None if peer is None else peer.getpeercert(binary_form=True)
        self._tls: dict[object, object] | None = None if peer is None else {"client_cert": shown}

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}


class _Announced(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                print(f"ready {'https' if self.config.is_ssl else 'http'}://{host}:{port}", flush=True)
