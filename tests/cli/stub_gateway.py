"""A stand-in for the gateway's REST API and page, with a fixed repertoire: one statement, one behaviour.

It lets the command and the page be tested on their own. What the real gateway answers is tested elsewhere.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

import gateway.server
from catalog.errors import AccessDenied, CityError, DepartmentError, Location, Outcome, TrinoError, UserError

CONSOLE = Path(gateway.server.__file__).parent / "console"
TOKEN = "a.eyJwdXJwb3NlcyI6WyJtYXNzLWJhbGFuY2UiXX0.c"
USERS = {"lin": ["mass-balance"], "mei": ["inspection", "statistics"], "sun": []}
DEPARTMENTS = [
    {"name": "water", "title": "Water utility", "state": "up", "relations": 3, "custodian": "A", "contact": ""},
    {"name": "health", "title": "Health board", "state": "down", "relations": 0, "custodian": "", "contact": ""},
]
QUESTIONS = [
    {
        "id": f"q{n}",
        "title": f"Question {n}",
        "user": "lin",
        "purpose": "mass-balance",
        "legend": "",
        "sql": f"SELECT {n}",
    }
    for n in range(1, 6)
]
QUESTIONS[2]["legend"] = "F1 dumping, F2 shell buyer"
EVIL = "<img src=x onerror=alert(1)> \x1b[31mred\x07"

ERRORS: dict[str, CityError] = {
    "SELECT ward FROM health.main.stay": AccessDenied(
        "Rows of stay are not shown.", Outcome.MODE, who="health", rule="aggregate mode",
        hint="Ask for sums by district: floor 10 persons.",
    ),
    "SELECT\n  distrct_code FROM water.main.account": UserError(
        "Column 'distrct_code' does not exist.", Outcome.NOT_AVAILABLE, trino=TrinoError.COLUMN_NOT_FOUND,
        hint="Did you mean `district_code`?", location=Location(2, 3),
    ),
    "SELECT 1 FROM health.main.down": DepartmentError(
        "health does not answer.", Outcome.DOWN, who="health", rule="connection",
        hint="SET SESSION allow_partial = true drops arms of a UNION ALL.", retry_after=5,
    ),
}  # fmt: skip


def answer(sql: str) -> dict[str, Any]:
    """The fixed answer to any other statement; `SELECT many` has 1,000 rows, `SELECT none` has none."""
    rows: list[list[Any]] = [["449901", 12, "1234.500", None], ["449902", 7, "-3.000", EVIL], ["北区", None, None, ""]]
    if "many" in sql:
        rows = [[f"{n}", n, f"{n}.000", "x"] for n in range(1000)]
    if "none" in sql:
        rows = []
    return {
        "query_id": "20260101_000000_00001_abcde",
        "columns": [
            {"name": "district_code", "type": "varchar(6)"},
            {"name": "n", "type": "bigint"},
            {"name": "qty", "type": "decimal(18,3)"},
            {"name": "note", "type": "varchar"},
        ],
        "rows": rows,
        "warnings": ["2 cells are absent: fewer than 10 persons."],
        "departments": [
            {
                "name": "water", "state": "done", "rows": len(rows), "bytes": 2048, "seconds": 0.12, "mode": "masked",
                "masks": ["account.phone: deny"], "filtered": [], "suppressed": 2, "receipts": ["water-000042"],
            }
        ],
        "seconds": 1.34,
    }  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What one run of `atoll` did."""

    code: int
    out: str
    err: str
    raw: bytes


Run = Callable[..., Done]


class Stub:
    """The stand-in. `bodies`: what was posted to /api/query; `release`: lets `SELECT slow` finish."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.cancelled: list[str] = []
        self.release = threading.Event()
        self.polled = threading.Event()
        self.door = True
        self.url = ""
        self.app = self._app()

    def who(self, request: Request) -> str:
        user = request.headers.get("x-trino-user", "")
        if request.headers.get("authorization") == "Bearer " + TOKEN:
            return "lin"
        if user not in USERS or not self.door:
            raise AccessDenied("Who are you?", Outcome.AUTH, rule="login", hint="Choose a user.")
        return user

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.exception_handler(CityError)
        async def refused(_request: Request, error: CityError) -> Response:
            status = 401 if error.outcome is Outcome.AUTH else 503 if isinstance(error, DepartmentError) else 400
            return JSONResponse({"error": error.to_dict()}, status)

        @app.get("/api/me")
        def me(request: Request) -> dict[str, Any]:
            user = self.who(request)
            return {"user": user, "purposes": USERS[user]}

        @app.get("/api/departments")
        def departments(request: Request) -> Any:
            self.who(request)
            return DEPARTMENTS

        @app.get("/api/questions")
        def questions() -> Any:
            return QUESTIONS

        @app.get("/api/receipts/{receipt_id}")
        def receipt(receipt_id: str, request: Request) -> Any:
            self.who(request)
            return {"id": receipt_id, "department": "water", "rows": 3, "masks": ["account.phone: deny"]}

        @app.patch("/api/departments/{name}")
        def change(name: str, body: dict[str, Any], request: Request) -> Any:
            self.who(request)
            return {"name": name, **body, "title": "Health board", "url": "https://health.test:7400", "key": "kPrK"}

        @app.post("/api/explain")
        def explain(body: dict[str, Any], request: Request) -> Any:
            self.who(request)
            return _explanation(body["sql"])

        self._queries(app)

        @app.get("/")
        def index() -> Response:
            return Response((CONSOLE / "index.html").read_bytes(), media_type="text/html")

        app.mount("/", StaticFiles(directory=CONSOLE))
        return app

    def _queries(self, app: FastAPI) -> None:
        @app.post("/api/query")
        def query(body: dict[str, Any], request: Request) -> Any:
            self.who(request)
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            if body.get("dry_run"):
                return _explanation(body["sql"])
            if not body.get("async"):
                return _form(answer(body["sql"]), body["format"])
            return JSONResponse({"query_id": f"q_{len(self.bodies) - 1}"}, 202)

        def asked(query_id: str) -> dict[str, Any]:
            return self.bodies[int(query_id.removeprefix("q_"))]

        @app.get("/api/query/{query_id}/progress")
        def progress(query_id: str) -> Any:
            self.polled.set()
            sql = asked(query_id)["sql"]
            if "cut" in sql:
                return {"state": "RUNNING", "departments": [], "warnings": [], "seconds": 1.0, "error": None}
            if "slow" in sql and not self.release.is_set():
                departments = [
                    {"name": "water", "state": "running", "rows": 1200, "bytes": 9, "seconds": 0.2},
                    {"name": "health", "state": "queued", "rows": 0, "bytes": 0, "seconds": 0.0},
                ]
                return {"state": "RUNNING", "departments": departments, "seconds": 0.7}
            whole = answer(sql)
            return {"state": "FINISHED", "error": None} | {k: whole[k] for k in ("departments", "warnings", "seconds")}

        @app.get("/api/query/{query_id}/result")
        def result(query_id: str) -> Response:
            body = asked(query_id)
            if body["sql"] in ERRORS:
                raise ERRORS[body["sql"]]
            if "slow" in body["sql"]:
                self.release.wait(30)
            return _form(answer(body["sql"]), body["format"])

        @app.delete("/api/query/{query_id}", status_code=204)
        def cancel(query_id: str) -> None:
            self.cancelled.append(asked(query_id)["sql"])
            self.release.set()


def _explanation(sql: str) -> dict[str, Any]:
    if sql in ERRORS:
        raise ERRORS[sql]
    return {"text": f"water is sent:\n  {sql}", "fragments": [{"department": "water", "sql": sql}]}


def _form(body: dict[str, Any], form: str) -> Response:
    if form == "csv":
        text = "".join(",".join("" if v is None else str(v) for v in row) + "\n" for row in body["rows"][:1])
        return StreamingResponse(iter([b"district_code,n,qty,note\n", text.encode()]))
    if form == "arrow":
        return StreamingResponse(iter([arrow_bytes()]))
    return JSONResponse(body)


def arrow_bytes() -> bytes:
    """Three rows as an Arrow stream."""
    batch = pa.record_batch({"n": [1, 2, 3], "name": ["a", None, "c"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


@contextmanager
def serving() -> Iterator[Stub]:
    """The stand-in on a free port of loopback."""
    stub = Stub()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(stub.app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    stub.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield stub
    finally:
        stub.release.set()
        server.should_exit = True
        thread.join(10)
        listener.close()
