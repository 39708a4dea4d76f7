"""The gateway's web application: Trino's protocol, REST, the console, health and metrics.

`create_app(gateway)` is all that anybody calls. Everything between a client and the pipeline is in this
package; what a statement means is the pipeline's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from catalog.errors import AccessDenied, CityError, DepartmentError, Outcome, UserError
from gateway.execution import Execution
from gateway.server import api, me, oauth, statement
from gateway.server.problem import answerable
from gateway.server.session import Gateway, HttpProblem, Options
from gateway.server.statement import Statements

__all__ = ["create_app"]

log = logging.getLogger("atoll.gateway")

PROTOCOL = "/v1/"
CONSOLE = Path(__file__).with_name("console")


class Metrics:
    """What operators watch: no label ever holds a user, a text or a value."""

    def __init__(self, statements: Statements) -> None:
        self.registry = CollectorRegistry()
        running = Gauge("atoll_statements_running", "Statements being answered", registry=self.registry)
        running.set_function(statements.running)
        self._ended = Counter("atoll_statements", "Statements that ended", ["outcome"], registry=self.registry)
        self._seconds = Histogram(
            "atoll_statement_seconds",
            "Wall time of a statement",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
            registry=self.registry,
        )
        self._rows = Counter(
            "atoll_department_rows", "Rows that departments delivered", ["department"], registry=self.registry
        )

    def ended(self, execution: Execution) -> None:
        self._ended.labels(execution.error.outcome.name if execution.error else "OK").inc()
        self._seconds.observe(execution.seconds)
        for department in execution.departments():
            self._rows.labels(department.name).inc(department.rows)


class _App(FastAPI):
    """FastAPI, with Trino's protocol beside it: a statement takes several requests, and what FastAPI adds to each took
    longer than to answer it."""

    protocol: Starlette

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_protocol = scope["type"] == "http" and scope["path"].startswith(PROTOCOL)
        await (self.protocol if is_protocol else super().__call__)(scope, receive, send)


def create_app(gateway: Gateway, options: Options | None = None) -> FastAPI:
    """The application over a gateway (`gateway.pipeline.Gateway`, or anything of that shape)."""
    options = options or Options()
    statements = Statements(gateway, options)
    metrics = Metrics(statements)
    statements.on_end = metrics.ended

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(statements))
        yield
        sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await sweeper
        statements.close()

    app = _App(
        title="atoll",
        summary="Ask the whole city. Move nothing.",
        description=api.__doc__ or "",
        version="1",
        lifespan=lifespan,
        docs_url="/api/docs",
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.started = time.monotonic()
    app.state.statements = statements
    _errors(app, gateway)
    app.protocol = Starlette(routes=statement.routes(statements), exception_handlers=app.exception_handlers)
    app.protocol.state = app.state
    # To be sent elsewhere, a client would repeat its token; behind a proxy that ends TLS, in the clear.
    app.protocol.router.redirect_slashes = False
    if options.oauth is not None:
        app.include_router(oauth.router(statements, options.oauth))
    app.include_router(api.router(statements))
    app.include_router(me.router(statements))
    _operations(app, metrics)
    _console(app)
    return app


async def _sweep(statements: Statements) -> None:
    """Now and then look for statements that nobody reads."""
    while True:
        await asyncio.sleep(min(statements.options.sweep_seconds, statements.options.abandon_seconds / 4))
        try:
            await statements.run(statements.sweep)
        except Exception:
            # One that fails must not be the last: nothing else frees what clients left behind.
            log.exception("a sweep failed")


def _errors(app: FastAPI, gateway: Gateway) -> None:
    def answer(error: CityError, status: int | None = None) -> Response:
        return api.error_response(answerable(error, gateway.contact), status)

    @app.exception_handler(CityError)
    async def refused(request: Request, error: CityError) -> Response:
        return answer(error)

    @app.exception_handler(HttpProblem)
    async def problem(request: Request, found: HttpProblem) -> Response:
        if request.url.path.startswith("/api/"):
            response = answer(_as_error(found.status, found.text), found.status)
        else:
            asks = f"{found.text.rstrip('.')}. Contact: {gateway.contact('')}"
            response = PlainTextResponse(asks if found.status in (401, 403) else found.text, found.status)
        for name, value in found.headers:
            response.headers.append(name, value)
        return response

    @app.exception_handler(HTTPException)
    async def http(request: Request, found: HTTPException) -> Response:
        if request.url.path.startswith("/api/"):
            response = answer(_as_error(found.status_code, str(found.detail)), found.status_code)
        else:
            response = PlainTextResponse(str(found.detail), found.status_code)
        response.headers.update(found.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, found: RequestValidationError) -> Response:
        first = found.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        error = UserError(f"{place}: {first['msg']}.", rule="schema of the request", hint="See /api/docs.")
        return answer(error, 422)


def _as_error(status: int, text: str) -> CityError:
    if status in (401, 403):
        return AccessDenied(text, Outcome.AUTH)
    if status == 503:
        return DepartmentError(text, Outcome.BUSY, retry_after=1)
    return UserError(text)


def _operations(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/healthz", include_in_schema=False)
    @app.head("/healthz", include_in_schema=False)
    async def alive() -> Response:
        """The process lives."""
        return PlainTextResponse("ok")

    @app.get("/readyz", include_in_schema=False)
    @app.head("/readyz", include_in_schema=False)
    async def ready() -> Response:
        """A statement sent now would be taken; 503 with the reasons otherwise."""
        statements: Statements = app.state.statements
        faults = await statements.run(statements.faults)
        return PlainTextResponse("\n".join(faults) or "ready", 503 if faults else 200)

    @app.get("/metrics", include_in_schema=False)
    async def measured() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


_PLAIN_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>atoll</title>
<h1>atoll</h1><p>Ask the whole city. Move nothing.</p>
<ul><li>Trino clients: this address</li><li>REST: <a href="/api/docs">/api/docs</a></li></ul></html>"""


def _console(app: FastAPI) -> None:
    """The console's files at `/` if they are there, else one plain page with the addresses."""

    @app.get("/ui/query.html", include_in_schema=False)
    async def query_page(request: Request) -> Response:
        # Where `infoUri` leads: Trino's address, the console's page.
        return RedirectResponse(f"/?query={request.url.query}", 303)

    @app.get("/ui/", include_in_schema=False)
    async def ui() -> Response:
        return RedirectResponse("/", 303)

    if (CONSOLE / "index.html").is_file():
        app.mount("/", StaticFiles(directory=CONSOLE, html=True), name="console")
        return

    @app.get("/", include_in_schema=False)
    async def plain() -> Response:
        return HTMLResponse(_PLAIN_PAGE)
