"""REST: what the `atoll` command and the console use, and anybody with an HTTP client.

    POST /api/query             run SQL; JSON, Arrow or CSV. `async: true` answers 202 and a query id
    GET  /api/query/{id}/progress, /api/query/{id}/result; DELETE /api/query/{id}
    POST /api/explain           what each department would be sent
    GET  /api/departments, /api/relations, /api/questions, /api/receipts/{id}
    POST /api/departments, PATCH /api/departments/{name}
    GET  /api/requests, POST /api/requests

Log in as for the Trino protocol. Every error is `{"error": {...}}`, the form of `CityError.to_dict()`.
Values in JSON and CSV are written as in the Trino protocol: decimals and timestamps are texts.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as UrlPath
from fastapi import Query as UrlQuery
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalog.access import MAX_REASON, AccessRequest, Application, Listed
from catalog.errors import AccessDenied, CityError, DepartmentError, Outcome, TrinoError, UserError
from catalog.names import RelationName
from catalog.relation import Relation
from gateway.execution import Execution, ResultColumn, Session
from gateway.server.pages import Pages, values
from gateway.server.problem import answerable
from gateway.server.session import Explanation, Options, login
from gateway.server.statement import Statements, abandoned, state_of

__all__ = ["ErrorAnswer", "error_response", "http_status", "questions", "router"]

MAX_JSON_BYTES = 64_000_000
"""The longest JSON answer; larger ones are for Arrow, CSV or the Trino protocol, which stream."""

T = TypeVar("T")
Format = Literal["json", "arrow", "csv"]
Id = Annotated[str, UrlPath(pattern=r"^[A-Za-z0-9_]{1,64}$", description="A query's id.")]
Purpose = Annotated[str, UrlQuery(max_length=200, description="One of your purposes; empty = your only one.")]
ReceiptId = Annotated[str, UrlPath(pattern=r"^[A-Za-z0-9_.:-]{1,128}$", description="A receipt's id.")]
Name = Annotated[str, UrlPath(pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="A department's name.")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QueryRequest(_Model):
    """A statement to run."""

    sql: str = Field(min_length=1, max_length=16_000_000, examples=["SELECT 1 AS one"])
    purpose: str = Field(default="", max_length=200, description="One of your purposes; empty = your only one.")
    catalog: str = Field(default="", max_length=63, description="Catalog of short names.")
    schema_: str = Field(default="", alias="schema", max_length=63, description="Schema of short names.")
    session: dict[str, str] = Field(default_factory=dict, description="Session properties.")
    format: Format = "json"
    dry_run: bool = Field(default=False, description="Ask every department for its verdict, run nothing.")
    async_: bool = Field(default=False, alias="async", description="Answer 202 at once; poll for the rest.")


class ExplainRequest(_Model):
    """A statement to explain."""

    sql: str = Field(min_length=1, max_length=16_000_000)
    purpose: str = Field(default="", max_length=200)
    catalog: str = Field(default="", max_length=63)
    schema_: str = Field(default="", alias="schema", max_length=63)
    session: dict[str, str] = Field(default_factory=dict)
    analyze: bool = Field(default=False, description="Run it too, and tell where its time and bytes went.")


class ColumnAnswer(BaseModel):
    name: str
    type: str
    mask: str = ""


class DepartmentAnswer(BaseModel):
    """One department's part in an answer. suppressed: cells withheld, null if unknown.

    synthetic: its relations whose rows were generated: they are not real data.
    """

    name: str
    state: str
    fragments: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    mode: str = ""
    masks: list[str] = []
    filtered: list[str] = []
    receipts: list[str] = []
    suppressed: int | None = None
    vintages: dict[str, str] = {}
    synthetic: list[str] = []


class QueryAnswer(BaseModel):
    """A whole answer; values are written as in the Trino protocol."""

    query_id: str
    columns: list[ColumnAnswer]
    rows: list[list[Any]]
    warnings: list[str]
    departments: list[DepartmentAnswer]
    seconds: float


class Accepted(BaseModel):
    query_id: str


class Progress(BaseModel):
    """state: QUEUED, PLANNING, RUNNING, FINISHING, FINISHED or FAILED."""

    query_id: str
    state: str
    seconds: float
    departments: list[DepartmentAnswer]
    warnings: list[str]
    error: dict[str, Any] | None = None


class ExplainAnswer(BaseModel):
    """ran: where time and delivered bytes went, null if it did not run."""

    text: str
    fragments: list[dict[str, Any]]
    ran: dict[str, Any] | None = None


class Question(BaseModel):
    """An example question; `sql` is ready to run under `purpose`. legend: what the codes in its answer mean."""

    id: str
    title: str
    purpose: str = ""
    user: str = ""
    legend: str = ""
    sql: str


class DepartmentEntry(BaseModel):
    name: str
    title: str
    state: str
    relations: int
    custodian: str = ""
    contact: str = ""


class AskForAccess(_Model):
    """An application for access. relation: department.main.table. columns: those needed, none = what the owner gives.

    until: how long. project: on whose behalf.
    """

    relation: str = Field(max_length=200, examples=["health.main.stay"])
    purpose: str = Field(default="", max_length=200, description="One of your purposes; empty = your only one.")
    reason: str = Field(min_length=1, max_length=MAX_REASON)
    columns: list[str] = Field(default_factory=list, max_length=100)
    until: date | None = None
    project: str = Field(default="", max_length=100)

    def asked(self, name: RelationName) -> AccessRequest:
        """What goes to the department. Raises UserError for what is no line of text, or no name."""
        try:
            return AccessRequest(
                relation=name.table,
                reason=self.reason,
                columns=tuple(self.columns),
                until=self.until,
                project=self.project,
            )
        except ValidationError as bad:
            first = bad.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            words = str(first["msg"]).removeprefix("Value error, ")
            raise UserError(f"{place}: {words}.", rule="requests") from None


class RequestsAnswer(BaseModel):
    """One department's list and your requests there; error: why it says nothing now."""

    department: str
    contact: str = ""
    listed: list[Listed] = []
    mine: list[Application] = []
    error: dict[str, Any] | None = None


class StateChange(_Model):
    state: Literal["approved", "suspended"]


class Registration(_Model):
    """A department's agent: where it answers, whom to ask, and the public key (JWK) that signs its receipts.

    keys: all its public keys and certificates with their terms. at, proof: unix seconds, and the signature by
    `key`, or by a registered key where something changes.
    """

    name: str = Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    url: str = Field(pattern=r"^https?://[^\s]{1,500}$")
    title: str = Field(default="", max_length=200)
    contact: str = Field(default="", max_length=200)
    key: dict[str, Any]
    keys: list[dict[str, Any]] = Field(default_factory=list, max_length=32)
    at: int = 0
    proof: str = Field(default="", max_length=200)


class Registered(BaseModel):
    """state: pending, approved or suspended."""

    name: str
    state: str


class DepartmentState(Registered):
    """title, url, key: who it says it is, where it is asked, and the name of the key that signs its receipts; for
    the administrator who decides."""

    title: str
    url: str
    key: str


class ErrorDetail(BaseModel):
    outcome: str
    error_name: str
    error_code: int
    error_type: str
    message: str
    who: str
    rule: str
    hint: str
    contact: str
    location: dict[str, int] | None = None
    retry_after: float | None = None


class ErrorAnswer(BaseModel):
    error: ErrorDetail


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        400: "The statement or the request is at fault",
        401: "No valid login",
        403: "Understood and refused",
        404: "No such thing for you",
        405: "No such method here",
        409: "The statement was cancelled or read already",
        413: "The answer is too large for this format",
        422: "The request's body is not of its schema, or a limit was reached",
        429: "A department's budget is used up or its queue full",
        500: "A fault of atoll itself",
        503: "A department is down or closed, or the gateway is full",
    }.items()
}

_STATUS = {
    Outcome.SYNTAX: 400,
    Outcome.STATEMENT: 400,
    Outcome.NODE: 400,
    Outcome.FUNCTION: 400,
    Outcome.SEMANTIC: 400,
    Outcome.TOO_LARGE: 413,
    Outcome.NOT_AVAILABLE: 404,
    Outcome.PURPOSE: 403,
    Outcome.MODE: 403,
    Outcome.DISCLOSURE: 403,
    Outcome.GRANT_ENDED: 403,
    Outcome.AUTH: 403,
    Outcome.BUDGET: 429,
    Outcome.BUSY: 429,
    Outcome.LIMIT: 422,
    Outcome.CLOSED: 503,
    Outcome.DOWN: 503,
    Outcome.CANCELED: 409,
}


def http_status(error: CityError) -> int:
    """The HTTP status of a refusal; the evaluation errors of a statement are the statement's own fault."""
    if error.trino.kind == "USER_ERROR" and error.outcome is Outcome.EXECUTION:
        return 400
    return _STATUS.get(error.outcome, 500)


def error_response(error: CityError, status: int | None = None) -> Response:
    """`{"error": ...}` with its status."""
    response = Response(
        orjson.dumps({"error": error.to_dict()}), status or http_status(error), media_type="application/json"
    )
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return response


def _explanation(found: Explanation) -> Response:
    body = {"text": found.text, "fragments": list(found.fragments), "ran": found.ran}
    return Response(orjson.dumps(body, default=str), media_type="application/json")


# -- questions -----------------------------------------------------------------------------------------

_NOTE = re.compile(r"\s*--\s?(.*)")
_FIELD = re.compile(r"(title|purpose|user|legend)\s*:\s*(.+)", re.IGNORECASE)


def questions(folder: Path | None) -> list[Question]:
    """The example questions of a folder: `q*.sql`, each with comments `-- title: ..`, `-- purpose: ..` on top."""
    if folder is None or not folder.is_dir():
        return []
    return [_question(path) for path in sorted(folder.glob("q*.sql"))]


def _question(path: Path) -> Question:
    found = {"title": "", "purpose": "", "user": "", "legend": ""}
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines():
        note = _NOTE.match(line)
        if note is None:
            break
        known = _FIELD.match(note[1].strip())
        if known:
            found[known[1].lower()] = known[2].strip()
        elif not found["title"]:
            found["title"] = note[1].strip()
    return Question(id=path.stem, title=found.pop("title") or path.stem, sql=text.strip(), **found)


# -- answers -------------------------------------------------------------------------------------------


@dataclass
class _Reading:
    """One execution that REST hands out, once."""

    execution: Execution
    format: Format
    taken: bool = False
    touched: float = field(default_factory=time.monotonic)


def _departments(execution: Execution) -> list[dict[str, Any]]:
    return [asdict(d) for d in execution.departments()]


def _columns(columns: Sequence[ResultColumn]) -> list[dict[str, str]]:
    return [{"name": c.name, "type": str(c.type), "mask": c.mask} for c in columns]


def _wait_columns(execution: Execution) -> tuple[ResultColumn, ...]:
    while True:
        found = execution.columns(1.0)
        if found is not None:
            return found


def _json_answer(execution: Execution) -> bytes:
    """The whole answer as one JSON object. Raises the statement's error, or one for a too long answer."""
    columns = _wait_columns(execution)
    pages = Pages(execution, columns)
    parts: list[bytes] = []
    while not pages.finished:
        rows = pages.next(1.0)
        if rows is None:
            continue
        parts.append(rows[1:-1])
        if sum(map(len, parts)) > MAX_JSON_BYTES:
            error = DepartmentError(
                f"The answer has more than {MAX_JSON_BYTES // 1_000_000} MB.",
                Outcome.LIMIT,
                rule="size of a JSON answer",
                hint='Ask for "format": "arrow" or "csv", or use a Trino client: those stream.',
            )
            execution.cancel(error)
            raise error
    return orjson.dumps(
        {
            "query_id": execution.query_id,
            "columns": _columns(columns),
            "rows": orjson.Fragment(b"[" + b",".join(parts) + b"]"),
            "warnings": execution.warnings,
            "departments": _departments(execution),
            "seconds": round(execution.seconds, 6),
        }
    )


class _Stream:
    """An answer as a stream of bytes, made batch by batch in a thread."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.columns = _wait_columns(execution)
        self._started = False

    def head(self) -> bytes:
        raise NotImplementedError

    def part(self, batch: pa.RecordBatch) -> bytes:
        raise NotImplementedError

    def tail(self) -> bytes:
        return b""

    def next(self) -> bytes | None:
        """The next bytes, None at the end. Raises the statement's error."""
        if not self._started:
            batch = self._batch()
            self._started = True
            return self.head() + (self.part(batch) if batch is not None else self.tail())
        if self.execution.finished:
            return None
        batch = self._batch()
        return self.part(batch) if batch is not None else self.tail()

    def _batch(self) -> pa.RecordBatch | None:
        while not self.execution.finished:
            batch = self.execution.next_batch(1.0)
            if batch is not None:
                return batch
        return None


class _Arrow(_Stream):
    """Arrow IPC stream; labels may repeat, types are the declared ones.

    What is known to be said beside the rows (that they are generated) is in the schema's metadata, under
    `atoll.warnings`, and stays with a file that is made of it.
    """

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution)
        self._buffer = io.BytesIO()
        said = {"atoll.warnings": orjson.dumps(execution.warnings)} if execution.warnings else None
        self._schema = pa.schema([pa.field(c.name, c.type.arrow()) for c in self.columns], metadata=said)

    def head(self) -> bytes:
        self._writer = pa.ipc.new_stream(self._buffer, self._schema)
        return self._flush()

    def part(self, batch: pa.RecordBatch) -> bytes:
        arrays = [a.cast(f.type) for a, f in zip(batch.columns, self._schema, strict=True)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        return self._flush()

    def tail(self) -> bytes:
        self._writer.close()
        return self._flush()

    def _flush(self) -> bytes:
        found = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return found


class _Csv(_Stream):
    """CSV with a header; NULL is an empty field, an empty text is quoted."""

    def head(self) -> bytes:
        return _csv_lines([_csv_quoted(pa.array([c.name])) for c in self.columns])

    def part(self, batch: pa.RecordBatch) -> bytes:
        return _csv_lines([_csv_fields(a, c) for a, c in zip(batch.columns, self.columns, strict=True)])


def _csv_fields(array: pa.Array, column: ResultColumn) -> pa.Array:
    """One column as texts, each a CSV field; whole columns at a time, for speed."""
    if column.type.is_integer:
        return pc.fill_null(array.cast(pa.string()), "")
    found = values(array, column.type)
    if not column.type.is_text:
        found = [_csv_text(value) for value in found]
    return _csv_quoted(pa.array(found, pa.string()))


def _csv_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, list, tuple, dict, orjson.Fragment)):
        return orjson.dumps(value).decode()
    return str(value)


def _csv_quoted(texts: pa.Array) -> pa.Array:
    special = pc.or_(pc.equal(texts, ""), pc.match_substring_regex(texts, '[",\\r\\n]'))
    if pc.any(special).as_py():
        inner = pc.replace_substring(texts, '"', '""')
        texts = pc.if_else(special, pc.binary_join_element_wise('"', inner, '"', ""), texts)
    return pc.fill_null(texts, "")


def _csv_lines(columns: Sequence[pa.Array]) -> bytes:
    rows = pc.binary_join_element_wise(*columns, ",").to_pylist()
    return "".join(f"{row}\n" for row in rows).encode()


_STREAMS: dict[str, tuple[type[_Stream], str]] = {
    "arrow": (_Arrow, "application/vnd.apache.arrow.stream"),
    "csv": (_Csv, "text/csv; charset=utf-8"),
}


# -- HTTP ----------------------------------------------------------------------------------------------


async def _login(request: Request) -> Session:
    statements: Statements = request.app.state.statements
    return await statements.run(login, request, statements.gateway, statements.options)


Who = Annotated[Session, Depends(_login)]


def router(statements: Statements) -> APIRouter:
    """The routes of the REST interface."""
    routes = APIRouter(prefix="/api", responses=_REFUSALS, tags=["api"])
    gateway, options = statements.gateway, statements.options
    readings: dict[str, _Reading] = {}
    statements.sweepers.append(partial(_sweep, readings, options))

    def reading(query_id: str, user: str) -> _Reading:
        found = readings.get(query_id)
        if found is None or found.execution.session.user != user:
            raise _no("query", query_id)
        found.touched = time.monotonic()
        return found

    async def attended(request: Request, execution: Execution, work: Callable[..., T], *args: Any) -> T:
        """Blocking work for a statement, which is cancelled when its reader goes away."""
        task = asyncio.ensure_future(statements.run(work, *args))
        while not (await asyncio.wait({task}, timeout=1.0))[0]:
            if await request.is_disconnected():
                execution.cancel()
        return task.result()

    async def answer(request: Request, execution: Execution, chosen: Format) -> Response:
        headers = {"Atoll-Query-Id": execution.query_id}
        try:
            if chosen == "json":
                body = await attended(request, execution, _json_answer, execution)
                statements.on_end(execution)
                return Response(body, media_type="application/json", headers=headers)
            kind, media = _STREAMS[chosen]
            stream = await attended(request, execution, kind, execution)
            first = await attended(request, execution, stream.next)
        except CityError:
            statements.on_end(execution)
            raise
        if execution.warnings:
            headers["Atoll-Warnings"] = json.dumps(execution.warnings)  # in ASCII, as headers are
        return StreamingResponse(rest(stream, first), media_type=media, headers=headers)

    async def rest(stream: _Stream, part: bytes | None) -> AsyncIterator[bytes]:
        try:
            while part is not None:
                yield part
                part = await statements.run(stream.next)
        finally:
            # Harmless after the end; before it, the reader has gone away.
            stream.execution.cancel()
            statements.on_end(stream.execution)

    @routes.post(
        "/query",
        response_model=None,
        responses={
            200: {
                "model": QueryAnswer,
                "content": {"application/vnd.apache.arrow.stream": {}, "text/csv": {}},
            },
            202: {"model": Accepted},
        },
    )
    async def query(request: Request, body: QueryRequest, who: Who) -> Response:
        """Run a statement. With `dry_run` nothing runs: the verdicts come back as an explanation."""
        session = _session(who, body)
        if body.dry_run:
            return _explanation(await statements.run(gateway.dry_run, body.sql, session))
        statements.admit()
        execution = await statements.run(gateway.submit, body.sql, session)
        if not body.async_:
            return await answer(request, execution, body.format)
        readings[execution.query_id] = _Reading(execution, body.format)
        return Response(orjson.dumps({"query_id": execution.query_id}), 202, media_type="application/json")

    @routes.get("/query/{query_id}/progress", response_model=Progress)
    async def progress(query_id: Id, who: Who) -> Progress:
        """How far a statement is, department by department."""
        execution = reading(query_id, who.user).execution
        return Progress(
            query_id=query_id,
            state=state_of(execution).value,
            seconds=execution.seconds,
            departments=[DepartmentAnswer.model_validate(d) for d in _departments(execution)],
            warnings=execution.warnings,
            error=answerable(execution.error, gateway.contact).to_dict() if execution.error else None,
        )

    @routes.get(
        "/query/{query_id}/result",
        response_model=None,
        responses={
            200: {
                "model": QueryAnswer,
                "content": {"application/vnd.apache.arrow.stream": {}, "text/csv": {}},
            }
        },
    )
    async def result(request: Request, query_id: Id, who: Who) -> Response:
        """The answer, once; waits until it is there."""
        found = reading(query_id, who.user)
        if found.taken:
            raise UserError("This answer was read already.", Outcome.CANCELED, rule="answers are handed out once")
        found.taken = True
        return await answer(request, found.execution, found.format)

    @routes.delete("/query/{query_id}", status_code=204, response_model=None)
    async def cancel(query_id: Id, who: Who) -> Response:
        """Stop a statement everywhere."""
        await statements.run(reading(query_id, who.user).execution.cancel)
        return Response(status_code=204)

    @routes.post("/explain", response_model=None, responses={200: {"model": ExplainAnswer}})
    async def explain(body: ExplainRequest, who: Who) -> Response:
        """Who would be asked what, with the exact text that each department would get."""
        return _explanation(await statements.run(gateway.explain, body.sql, _session(who, body), body.analyze))

    @routes.get("/departments", response_model=list[DepartmentEntry])
    async def departments(who: Who, purpose: Purpose = "") -> list[DepartmentEntry]:
        """The departments, their state, and how many relations of theirs you see."""
        view = await statements.run(gateway.view, replace(who, purpose=purpose))
        return [
            DepartmentEntry(
                name=d.name,
                title=d.title,
                state=d.state,
                relations=len(d.relations.relations),
                custodian=d.relations.custodian,
                contact=d.relations.contact or gateway.contact(d.name),
            )
            for d in view.departments
        ]

    @routes.get("/relations", response_model=list[Relation])
    async def relations(who: Who, purpose: Purpose = "") -> list[Relation]:
        """Every relation that you may see for the purpose, as you would see it."""
        view = await statements.run(gateway.view, replace(who, purpose=purpose))
        return [relation for _, relation in sorted(view.relations.items())]

    @routes.get("/requests", response_model=list[RequestsAnswer])
    async def requests(who: Who) -> list[RequestsAnswer]:
        """What each department lists for anybody to ask for, and how your own requests stand."""
        found = await statements.run(gateway.access_requests, who)
        return [
            RequestsAnswer(department=a.who, contact=a.contact, error=a.to_dict())
            if isinstance(a, CityError)
            else RequestsAnswer.model_validate(a.model_dump())
            for a in found
        ]

    @routes.post("/requests", status_code=201, response_model=Application)
    async def request_access(body: AskForAccess, who: Who) -> Application:
        """Ask a department for a table, for one purpose. It is filed whether or not there is such a table."""
        try:
            name = RelationName.parse(body.relation)
        except ValueError:
            raise UserError(
                f"'{body.relation}' is no table's full name.", rule="names", hint="Write it as health.main.stay."
            ) from None
        return await statements.run(gateway.request_access, replace(who, purpose=body.purpose), name, body.asked(name))

    @routes.get("/questions", response_model=list[Question])
    async def examples() -> list[Question]:
        """The example questions of this city."""
        return await statements.run(questions, options.questions)

    @routes.get("/receipts/{receipt_id}", response_model=None, responses={200: {"model": dict[str, Any]}})
    async def receipt(receipt_id: ReceiptId, who: Who) -> Response:
        """What a department certified about one of your answers."""
        found = await statements.run(gateway.receipt, receipt_id)
        if found is None or found.get("sub", who.user) != who.user:
            raise _no("receipt", receipt_id)
        return Response(orjson.dumps(found), media_type="application/json")

    @routes.post("/departments", status_code=201, response_model=Registered)
    async def register(body: Registration, who: Who) -> Registered:
        """Make a department's agent known; it answers nobody until an administrator approves it."""
        found = await statements.run(gateway.register, body.model_dump(mode="json"))
        return Registered.model_validate(found)

    @routes.patch("/departments/{name}", response_model=DepartmentState)
    async def change(name: Name, body: StateChange, who: Who) -> DepartmentState:
        """Approve or suspend a department."""
        _administer(who, options.admins)
        return DepartmentState.model_validate(await statements.run(gateway.set_department_state, name, body.state))

    return routes


def _sweep(readings: dict[str, _Reading], options: Options) -> None:
    """Cancel asynchronous statements that nobody asks for any more, and forget them."""
    now = time.monotonic()
    for query_id, reading in list(readings.items()):
        if reading.touched < now - options.abandon_seconds:
            reading.execution.cancel(abandoned(options.abandon_seconds))
        if reading.touched < now - options.keep_seconds:
            readings.pop(query_id, None)


def _session(principal: Session, body: QueryRequest | ExplainRequest) -> Session:
    properties = {k.lower(): v for k, v in body.session.items()}
    return replace(
        principal,
        purpose=body.purpose or properties.get("purpose", ""),
        catalog=body.catalog.lower(),
        schema=body.schema_.lower(),
        properties=properties,
        time_zone=properties.get("time_zone_id") or "UTC",
        source="atoll-rest",
        capabilities=frozenset({"PARAMETRIC_DATETIME"}),
    )


def _no(kind: str, name: str) -> CityError:
    return AccessDenied(f"There is no {kind} '{name}' of yours.", Outcome.NOT_AVAILABLE, trino=TrinoError.NOT_FOUND)


def _administer(who: Session, admins: frozenset[str]) -> None:
    if who.user not in admins:
        raise AccessDenied(
            f"User {who.user} does not administer this gateway.",
            Outcome.AUTH,
            rule="administrators",
            hint="Whoever runs the gateway names its administrators in its settings.",
        )
