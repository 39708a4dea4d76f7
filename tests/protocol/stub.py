"""A gateway without departments: the real parser, resolver and compiler over a few tables in memory.

What the protocol tests need of a pipeline: answers of every type, long answers, slow ones, failing ones,
and the metadata tables of a city with two departments.
"""

from __future__ import annotations

import datetime
import itertools
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from catalog import duck
from catalog.access import AccessAnswer, AccessRequest, Application
from catalog.errors import AccessDenied, CityError, DepartmentError, InternalError, Outcome, UserError
from catalog.names import RelationName
from catalog.relation import Column, Mode, Relation, RelationList
from catalog.types import TrinoType
from catalog.types import parse as parse_type
from gateway import metadata, statements
from gateway.catalogue import DepartmentView, UserView
from gateway.execution import Effects, Execution, ResultColumn, Session
from gateway.parse import parse
from gateway.resolve import resolve

USERS = {"lin": ("planning",), "ana": ("planning", "audit")}
BIG_ROWS = 120_000


def table(types: dict[str, str], rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    return pa.table({n: pa.array(c, parse_type(t).arrow()) for (n, t), c in zip(types.items(), columns, strict=True)})


COMPANY_MONTH = {"org_no": "varchar(18)", "month": "date", "m3": "decimal(14, 3)", "meters": "integer"}
FIRM = {"org_no": "varchar(32)", "name": "varchar", "opened": "timestamp(6)", "active": "boolean"}


def _relation(catalog: str, name: str, types: dict[str, str], **more: Any) -> Relation:
    notes = {"m3": {"unit": "m3", "comment": "water drawn"}, "org_no": {"mask": "pseudonym(market)"}}
    columns = tuple(Column(name=c, type=parse_type(t), **notes.get(c, {})) for c, t in types.items())
    return Relation(catalog=catalog, name=name, columns=columns, purpose="planning", **more)


def _data() -> dict[RelationName, tuple[Relation, pa.Table]]:
    months = table(
        COMPANY_MONTH,
        [(f"91{i % 7:04d}", datetime.date(2024, 1 + i % 12, 1), Decimal(i) / 8, i) for i in range(100)],
    )
    opened = datetime.datetime(2001, 2, 3, 4, 5, 6, 789012)
    firms = table(FIRM, [("910001", 'Lin & Söhne, "Hafen"', opened, True), ("910002", "it's", None, None)])
    big = pa.table({"id": pa.array(range(BIG_ROWS), pa.int64()), "text": [f"row {i}" for i in range(BIG_ROWS)]})
    text_by_id = {"id": "bigint", "text": "varchar"}
    turnover = {"district": "varchar(6)", "eur": "decimal(18, 2)"}
    relations = [
        (_relation("water", "company_month", COMPANY_MONTH, rows=100, comment="Water by company."), months),
        (_relation("tax", "firm", FIRM, filtered=True), firms),
        (_relation("tax", "turnover", turnover, mode=Mode.aggregate, min_group=10), table(turnover, [])),
        (_relation("water", "big", text_by_id), big),
        (_relation("water", "slow", text_by_id), big.slice(0, 10)),
        (_relation("water", "broken", text_by_id), big.slice(0, 10)),
    ]
    return {r.full_name: (r, t) for r, t in relations}


@dataclass(frozen=True)
class Explanation:
    text: str
    fragments: tuple[dict[str, Any], ...] = ()
    ran: dict[str, Any] | None = None


class StubGateway:
    """Answers from memory. `slow` tables give one batch and wait for `release`; `broken` ones fail midway."""

    def __init__(self, dev: bool = True) -> None:
        self.dev = dev
        self.data = _data()
        self.release = threading.Event()
        self.canned: dict[str, tuple[tuple[ResultColumn, ...], list[pa.RecordBatch]]] = {}
        self.departments_registered: dict[str, str] = {}
        self._workers = ThreadPoolExecutor(256)
        self._executions: dict[str, Execution] = {}
        self._numbers = itertools.count()

    def can(self, sql: str, columns: dict[str, str], arrays: list[pa.Array]) -> None:
        """Let the exact text `sql` be answered by these columns (name -> Trino type)."""
        shown = tuple(ResultColumn(n, parse_type(t)) for n, t in columns.items())
        self.canned[sql] = (shown, [pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])])

    # -- the interface of gateway.pipeline.Gateway --------------------------------------------------

    def authenticate(self, token: str) -> Session:
        user = token.removeprefix("token-")
        if not token.startswith("token-") or user not in USERS:
            raise AccessDenied("The token is not valid.", Outcome.AUTH)
        return Session(user=user, token=token)

    def dev_login(self, user: str) -> str | None:
        if not self.dev:
            return None
        if user not in USERS:
            raise AccessDenied(f"There is no user '{user}'.", Outcome.AUTH)
        return f"token-{user}"

    def view(self, session: Session) -> UserView:
        purposes = USERS[session.user]
        relations = {n: r for n, (r, _) in self.data.items()}
        departments = tuple(
            DepartmentView(
                d, d.title(), "up",
                RelationList(department=d, relations=tuple(r for n, r in relations.items() if n.catalog == d)),
            )
            for d in ("tax", "water")
        )  # fmt: skip
        return UserView(session.user, session.purpose or purposes[0], purposes, departments, relations, {})

    def submit(self, sql: str, session: Session) -> Execution:
        execution = Execution(f"20261124_063109_{next(self._numbers):05d}_stub0", sql, session)
        self._executions[execution.query_id] = execution
        self._workers.submit(self._run, execution)
        return execution

    def explain(self, sql: str, session: Session, analyze: bool = False) -> Explanation:
        resolved = resolve(parse(sql), self.view(session), session)
        departments = sorted({n.catalog for n in resolved.relations})
        return Explanation("Plan\n" + "\n".join(departments), tuple({"department": d} for d in departments))

    def dry_run(self, sql: str, session: Session) -> Explanation:
        return self.explain(sql, session)

    def execution(self, query_id: str) -> Execution | None:
        return self._executions.get(query_id)

    def executions(self) -> list[Execution]:
        return list(self._executions.values())

    def cancel(self, query_id: str, error: CityError | None = None) -> bool:
        found = self._executions.get(query_id)
        if found is not None:
            found.cancel(error)
        return found is not None

    def request_access(self, session: Session, name: RelationName, asked: AccessRequest) -> Application:
        return Application(id="1f0c", relation=name.table, purpose=session.purpose, reason=asked.reason)

    def access_requests(self, session: Session) -> list[AccessAnswer | CityError]:
        return [AccessAnswer(department="water")]

    def contact(self, name: str) -> str:
        return f"desk@{name}.example"

    def faults(self) -> list[str]:
        return []

    def receipt(self, receipt_id: str) -> dict[str, Any] | None:
        return {"id": receipt_id, "sub": "lin", "rows": 3} if receipt_id == "R1" else None

    def register(self, data: dict[str, Any]) -> dict[str, str]:
        self.departments_registered[data["name"]] = "pending"
        return {"name": data["name"], "state": "pending"}

    def set_department_state(self, name: str, state: str) -> dict[str, str]:
        if name not in self.departments_registered:
            raise UserError(f"Department '{name}' is not registered.")
        self.departments_registered[name] = state
        return {"name": name, "state": state, "title": "T", "url": "http://127.0.0.1:1", "key": "k"}

    def close(self) -> None:
        for execution in self.executions():
            execution.cancel()
        self._workers.shutdown(wait=False, cancel_futures=True)

    # -- answering ---------------------------------------------------------------------------------

    def _run(self, execution: Execution) -> None:
        try:
            self._answer(execution)
            execution.finish()
        except CityError as error:
            execution.finish(error)
        finally:
            # The first end counts: this one is for faults of the stub itself.
            execution.finish(InternalError("The stub failed."))

    def _answer(self, execution: Execution) -> None:
        session = execution.session
        if execution.sql in self.canned:
            columns, batches = self.canned[execution.sql]
            execution.publish(columns)
            for batch in batches:
                execution.put(batch)
            return
        statement = statements.classify(execution.sql, session)
        view = self.view(session)
        if isinstance(statement, statements.Kill):
            self.cancel(statement.query_id, statements.killed(statement.message))
            execution.publish((), Effects(update_type="CALL"))
            return
        metadata.check(statement.requires, view)
        if isinstance(statement, statements.Effect):
            execution.publish(statement.columns, statement.effects)
            batch = statement.batch()
            if batch is not None:
                execution.put(batch)
        elif isinstance(statement, statements.Explain):
            text = self.explain(statement.sql, session).text
            columns = (ResultColumn("Query Plan", parse_type("varchar")),)
            execution.publish(columns)
            execution.put(pa.RecordBatch.from_arrays([pa.array([text])], names=["c0"]))
        else:
            self._query(execution, view, statement)

    def _query(
        self,
        execution: Execution,
        view: UserView,
        statement: statements.Query | statements.DescribeInput | statements.DescribeOutput,
    ) -> None:
        session = execution.session
        resolved = resolve(parse(statement.sql), view, session, tuple(self.executions()))
        tables = {str(n): self.data[n][1] for n in resolved.relations} | resolved.local
        types = {str(n): {c.name: c.type for c in columns} for n, columns in resolved.columns.items()}
        if isinstance(statement, statements.DescribeInput):
            rows = statements.describe_input(resolved.tree, statement.count, statement.known)
            execution.publish(statements.INPUTS)
            for batch in rows.to_batches():
                execution.put(batch)
            return
        if isinstance(statement, statements.DescribeOutput):
            rows = statements.describe_output(resolved.tree, resolved.labels, types, execution.now)
            execution.publish(statements.DESCRIBED)
            for batch in rows.to_batches():
                execution.put(batch)
            return
        for name in resolved.relations:
            execution.part(f"f_{name.catalog}", name.catalog, state="running")
        for batch in _compute(execution, resolved.tree, resolved.labels, tables, types):
            execution.put(batch)
        if any(n.table == "slow" for n in resolved.relations):
            while not self.release.wait(0.02):
                execution.check()
        if any(n.table == "broken" for n in resolved.relations):
            raise DepartmentError("Department water does not answer.", Outcome.DOWN, who="water")
        for name in resolved.relations:
            execution.part(f"f_{name.catalog}", name.catalog, state="done", rows=7, bytes=99, seconds=0.1)


def _compute(
    execution: Execution,
    tree: exp.Query,
    labels: tuple[str, ...],
    tables: dict[str, pa.Table],
    types: dict[str, dict[str, TrinoType]],
) -> Iterator[pa.RecordBatch]:
    with duckdb.connect() as con:
        duck.prepare(con)
        known = {}
        for number, (name, found) in enumerate(tables.items()):
            con.register(f"t{number}", found)
            known[name] = duck.Table(f"t{number}", types[name])
        compiled = duck.compile_query(tree, known)
        columns = tuple(ResultColumn(label, t) for label, (_, t) in zip(labels, compiled.columns, strict=True))
        execution.publish(columns)
        for batch in con.sql(compiled.sql).to_arrow_reader(10_000):
            arrays = [a.cast(c.type.arrow()) for a, c in zip(batch.columns, columns, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])
