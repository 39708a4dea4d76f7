"""The agent over HTTP: what gateways reach, and the owner's own door on loopback.

    GET    /v1/relations               POST /v1/fragment      DELETE /v1/fragment/{id}
    GET    /v1/ledger/head             GET  /v1/keys          /healthz  /metrics
    owner: GET /owner/status  /owner/ledger   POST /owner/pause  /owner/resume  /owner/refresh

Every request to /v1 but `keys` carries a token of the identity provider and a signature by the key that
the token names; both are checked here before anything is parsed. A fragment is run by a worker thread;
a queue of four chunks lies between it and the reader, and a reader that goes away ends the work.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import yaml
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from pydantic import ValidationError

from catalog.errors import AccessDenied, CityError, DepartmentError, InternalError, Outcome, UserError
from catalog.exchange import Fragment
from catalog.identity import Principal, TokenVerifier, verify_request
from catalog.policy import PolicyError
from connectors.agent.budget import FairQueue
from connectors.agent.fragment import FragmentRun, canceled
from connectors.agent.ledger import LedgerError
from connectors.agent.service import Agent
from connectors.base import SourceError

__all__ = ["ARROW", "create_app", "create_broken_app", "create_owner_app", "serve"]

ARROW = "application/vnd.apache.arrow.stream"
CHUNKS = 4
WATCH = 0.5
SLOW_READER = 30.0
MAX_BODY = 4 * 1024 * 1024
_log = structlog.get_logger("atoll.agent")

_STATUS = {
    Outcome.AUTH: 401, Outcome.NOT_AVAILABLE: 404, Outcome.BUSY: 429, Outcome.BUDGET: 429,
    Outcome.CLOSED: 503, Outcome.LIMIT: 413, Outcome.TOO_LARGE: 413,
}  # fmt: skip


def error_response(error: CityError) -> JSONResponse:
    """A refusal before the first byte."""
    status = _STATUS.get(error.outcome)
    if status is None:
        kinds = {AccessDenied: 403, UserError: 400, DepartmentError: 503}
        status = next((s for k, s in kinds.items() if isinstance(error, k)), 500)
    headers = {"Retry-After": str(int(error.retry_after))} if error.retry_after is not None else {}
    return JSONResponse(error.to_dict(), status, headers)


class _Metrics:
    """Counts without any label that could name a user or a value."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.fragments = Counter("atoll_agent_fragments", "Fragments by outcome", ["outcome"], registry=self.registry)
        self.rows = Counter("atoll_agent_rows", "Rows delivered", registry=self.registry)
        self.bytes = Counter("atoll_agent_bytes", "Bytes delivered", registry=self.registry)
        self.running = Gauge("atoll_agent_running", "Fragments running now", registry=self.registry)


def create_app(agent: Agent, verifier: TokenVerifier | None = None) -> FastAPI:
    """The gateways' door. verifier: of tokens; by default the one that the policy's `identity` names."""
    limits = agent.department.limits
    queue = FairQueue(limits.concurrent, limits.queue, agent.name)
    tokens = verifier or agent.verifier()
    metrics = _Metrics()

    @asynccontextmanager
    async def watching(app: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(_watch(agent))
        try:
            yield
        finally:
            watcher.cancel()

    app = FastAPI(
        title=f"atoll agent: {agent.name}", lifespan=watching, docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.exception_handler(CityError)
    async def on_error(request: Request, error: CityError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(LedgerError)
    async def on_ledger(request: Request, error: LedgerError) -> JSONResponse:
        _log.error("ledger failed", error=str(error))
        return error_response(InternalError("The department's agent cannot write its ledger.", who=agent.name))

    async def refused(error: CityError, path: str, sub: str = "") -> None:
        """Record a refusal that no fragment run records itself."""
        metrics.fragments.labels(error.outcome.name).inc()
        fields = {"outcome": error.outcome.name, "rule": error.rule, "path": path, "sub": sub}
        await asyncio.to_thread(agent.ledger.append, "refusal", fields)

    async def principal_of(request: Request) -> tuple[Principal, bytes]:
        """Who asks, and the body. Raises AUTH; refusals are recorded without what was claimed."""
        body = await _body(request, agent.name)
        try:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            principal = tokens.verify(token.strip() if scheme.lower() == "bearer" else "")
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            verify_request(
                request.method, target, body, request.headers, principal.cnf_jwk, agent.replay, who=agent.name
            )
        except CityError as refusal:
            await refused(refusal, request.url.path)
            raise
        return principal, body

    @app.get("/v1/relations")
    async def relations(request: Request) -> Response:
        principal, _ = await principal_of(request)
        await asyncio.to_thread(agent.reload)
        found = await asyncio.to_thread(agent.relations, principal)
        return Response(found.model_dump_json(), media_type="application/json")

    @app.post("/v1/fragment")
    async def fragment(request: Request) -> Response:
        principal, body = await principal_of(request)
        try:
            await asyncio.to_thread(agent.reload)
            agent.check_open()
            asked = _fragment(body, agent.name)
            await queue.acquire(principal.sub)
        except CityError as refusal:
            await refused(refusal, request.url.path, principal.sub)
            raise
        stream: _Stream | None = None
        try:
            run = agent.start(principal, asked)
            stream = _Stream(agent, run, queue, metrics)
            await stream.prepare()
        except BaseException as bad:
            if stream is not None:
                await asyncio.shield(stream.discard())
            queue.release()
            if isinstance(bad, CityError):
                metrics.fragments.labels(bad.outcome.name).inc()
            raise
        stream.start()
        return StreamingResponse(stream.chunks(), media_type=ARROW)

    @app.delete("/v1/fragment/{fragment_id}")
    async def cancel(fragment_id: str, request: Request) -> Response:
        principal, _ = await principal_of(request)
        found = agent.cancel(principal, fragment_id, canceled(agent.name))
        return JSONResponse({"canceled": found})

    @app.get("/v1/ledger/head")
    async def head(request: Request) -> Response:
        await principal_of(request)
        return Response(agent.head().model_dump_json(), media_type="application/json")

    @app.get("/v1/keys")
    async def public_keys() -> Response:
        return JSONResponse({"receipt": agent.receipt_jwk()})

    @app.get("/healthz")
    async def health() -> Response:
        return JSONResponse({"department": agent.name, "status": "paused" if agent.breaker.paused else "ok"})

    @app.get("/metrics")
    async def show_metrics() -> Response:
        metrics.running.set(agent.running)
        return PlainTextResponse(generate_latest(metrics.registry))

    return app


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

    @app.post("/owner/refresh")
    def refresh() -> Response:
        try:
            agent.refresh()
        except SourceError as bad:
            return JSONResponse({"refreshed": False, "error": str(bad)}, 502)
        return JSONResponse({"refreshed": True})

    @app.get("/owner/ledger")
    def ledger(after: int = 0, limit: int = 1000) -> dict[str, Any]:
        found = [r for r in agent.ledger.records() if r["seq"] > after][: max(0, min(limit, 10_000))]
        return {"records": found, "head": agent.head().model_dump(mode="json")}

    return app


def create_broken_app(fault: str) -> FastAPI:
    """An agent whose policy cannot be read refuses everything, and says so."""
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


async def _watch(agent: Agent) -> None:
    """The breaker as a file works without any request: look twice a second."""
    while True:
        await asyncio.sleep(WATCH)
        if agent.breaker.paused and agent.running:
            agent.stop_all()
        await asyncio.to_thread(agent.reload)


class _Stream:
    """Carries a run's chunks from its worker thread to the reader, and the reader's absence back."""

    def __init__(self, agent: Agent, run: FragmentRun, places: FairQueue, metrics: _Metrics) -> None:
        self._agent = agent
        self._run = run
        self._places = places
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS)
        self._gone = threading.Event()
        self._finished = False

    async def prepare(self) -> None:
        """Run all stages that can refuse. A caller that is cancelled meanwhile stops them."""
        work = asyncio.ensure_future(asyncio.to_thread(self._run.prepare))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._run.stop(canceled(self._agent.name))
            await asyncio.wait([work])
            raise

    async def discard(self) -> None:
        await asyncio.to_thread(self._agent.finish, self._run)

    def start(self) -> None:
        """Begin to work. Whatever happens to the reader, the worker ends, and gives the place back."""
        threading.Thread(target=self._work, daemon=True, name=self._run.fragment.fragment_id).start()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._chunks.get()) is not None:
                yield chunk
            self._finished = True
        finally:
            # No await here: a cancelled scope would not let it finish. The worker does the rest.
            self._gone.set()
            if not self._finished:
                self._run.stop(canceled(self._agent.name))

    def _work(self) -> None:
        frames = self._run.frames()
        try:
            for chunk in frames:
                if not self._send(chunk):
                    break
            frames.close()
        finally:
            self._agent.finish(self._run)
            self._account()
            self._loop.call_soon_threadsafe(self._places.release)
            self._send(None)

    def _send(self, chunk: bytes | None) -> bool:
        """Hand one chunk to the reader; False once there is none, or if it is too slow."""
        sending = asyncio.run_coroutine_threadsafe(self._chunks.put(chunk), self._loop)
        deadline = time.monotonic() + SLOW_READER
        while not self._gone.is_set() and time.monotonic() < deadline:
            try:
                sending.result(timeout=0.05)
                return True
            except TimeoutError:
                continue
        sending.cancel()
        return False

    def _account(self) -> None:
        sent = self._run.frames_sent
        if sent is not None:
            self._metrics.rows.inc(sent.rows)
            self._metrics.bytes.inc(sent.bytes)
        self._metrics.fragments.labels(self._run.outcome).inc()


def serve(path: str | Path) -> None:
    """Serve one department until interrupted. Prints `ready <url>` once it answers.

    A broken policy does not end the process: it refuses everything, and its log names the fault.
    """
    try:
        agent = Agent.from_file(path)
    except PolicyError as bad:
        _log.error("the policy is not valid", faults=list(bad.faults))
        asyncio.run(_server(create_broken_app(str(bad)), _listen_of(Path(path))).serve())
        return
    try:
        asyncio.run(_serve(agent))
    finally:
        agent.close()


def _listen_of(path: Path) -> str:
    """Where a policy that is not valid asks to listen, as far as it can be read."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))["listen"]
        return found if isinstance(found, str) and found.rpartition(":")[2].isdigit() else "127.0.0.1:0"
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return "127.0.0.1:0"


async def _serve(agent: Agent) -> None:
    department = agent.department
    servers = [_server(create_app(agent), department.listen)]
    if department.owner_listen:
        host = department.owner_listen.rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost", "[::1]"):
            raise ValueError("owner_listen must be a loopback address")
        servers.append(_server(create_owner_app(agent), department.owner_listen))
    await asyncio.gather(*(s.serve() for s in servers))


def _server(app: FastAPI, listen: str) -> uvicorn.Server:
    host, _, port = listen.rpartition(":")
    config = uvicorn.Config(app, host=host or "127.0.0.1", port=int(port), log_level="warning", access_log=False)
    return _Announced(config)


class _Announced(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                print(f"ready http://{host}:{port}", flush=True)
