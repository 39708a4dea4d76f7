"""The whole life of a statement at the gateway. Read this file first.

    Statement -> Parsed -> Resolved -> Authorised -> Rewritten -> Plan -> Exchange -> Answer

    parse       gateway/parse.py      one query, small enough, or a refusal; labels are fixed
    resolve     gateway/resolve.py    every name looked up in the user's own view; city tables open up
    authorise   gateway/authorise.py  early and friendly refusal; the agents decide for themselves
    rewrite     gateway/rewrite/      exact rules, one a file
    plan        gateway/plan/         the largest one-department subtrees become fragments
    exchange    gateway/gather.py     fragments go out as soon as they can (dispatch.py), signed answers stream back
                gateway/coverage.py   beside it: rows that no mapping of a city table covers are counted
    merge       gateway/merge/        what is left, in a private DuckDB

Every stage up to the plan is a pure function from one frozen value to the next; `explain` prints them.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from cachetools import TTLCache

from catalog.access import AccessAnswer, AccessRequest, Application
from catalog.alarm import after
from catalog.errors import AccessDenied, CityError, DepartmentError, InternalError, Outcome, TrinoError, UserError
from catalog.exchange import Receipt
from catalog.identity import GATEWAY_AUDIENCE, TokenVerifier
from catalog.keys import KeyRing
from catalog.names import RelationName
from catalog.types import TrinoType, field_type
from gateway import metadata, statements
from gateway.access import Applications
from gateway.authorise import authorise
from gateway.catalogue import Catalogue, UserView
from gateway.coverage import Coverage
from gateway.dispatch import Agents, FragmentStream
from gateway.execution import Effects, Execution, ResultColumn, Session
from gateway.gather import Gathering, raise_first
from gateway.kept import Kept, KeptAnswers
from gateway.ledger import GatewayLedger
from gateway.merge.duckdb import NOBODY, Merge, MergePool, Prepared, conform
from gateway.parse import parse, too_deep
from gateway.partial import without_arms
from gateway.plan import FirstRows, FragmentPlan, Plan
from gateway.plan.asking import NoKeys
from gateway.plan.cache import PlanCache
from gateway.plan.explain import Explanation, explain_plan
from gateway.plan.first import is_enough
from gateway.plan.keyed import with_keyed
from gateway.plan.split import split
from gateway.plan.whole import refuse_whole
from gateway.registry import Registry
from gateway.resolve import Resolved, resolve
from gateway.rewrite import Context, rewrite
from gateway.settings import GatewaySettings

__all__ = ["Gateway", "plan_query"]

log = logging.getLogger("atoll.gateway")
AUDIT = "audit"
LEDGER = "system.custody.ledger"
KEPT_SECONDS = 900
KEPT = 500


def plan_query(sql: str, view: UserView, session: Session, executions: tuple[Execution, ...] = ()) -> Plan:
    """parse -> resolve -> authorise -> rewrite -> plan, without touching any department."""
    return plan_resolved(resolve(parse(sql), view, session, executions))


def plan_resolved(resolved: Resolved, rows: Mapping[str, int] | None = None) -> Plan:
    """authorise -> rewrite -> plan. rows: that fragments delivered when they were asked before, by their text."""
    authorised = authorise(resolved)
    context = Context(authorised.relations)
    tree = rewrite(authorised.tree, context)
    plan = split(tree, authorised.labels, authorised.relations, authorised.local, tuple(context.notes), rows=rows)
    plan = with_keyed(plan, authorised.tree, authorised.relations, authorised.local, rows=rows)
    return replace(plan, city=authorised.city)


class Gateway:
    """One running gateway: submits statements, keeps their executions, knows the departments."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.key = KeyRing.create(settings.state / "gateway.jwk")
        self.registry = Registry(settings)
        self.ledger = GatewayLedger(settings.state)
        self.agents = Agents(settings, self.key, self.registry.departments, lambda: self.ledger.head)
        self.catalogue = Catalogue(self.registry.titles, self.agents.relations)
        self._applications = Applications(self.agents, self.ledger, self.registry.titles)
        identity = settings.identity
        self.verifier = TokenVerifier(identity.issuer, GATEWAY_AUDIENCE, identity.jwks)
        self.pool = MergePool(settings.limits, settings.state / "spill")
        self._plan_cache = PlanCache()
        self._kept = KeptAnswers()
        self._coverage = Coverage()
        self._workers = ThreadPoolExecutor(settings.limits.concurrent, thread_name_prefix="statement")
        self._executions: TTLCache[str, Execution] = TTLCache(KEPT, KEPT_SECONDS)
        self._receipts: TTLCache[str, Receipt] = TTLCache(10_000, 24 * 3600)
        self._numbers = itertools.count()
        self._suffix = secrets.token_hex(3)[:5]
        self._lock = threading.Lock()

    # -- who asks --------------------------------------------------------------------------------

    def authenticate(self, token: str) -> Session:
        """The session of a user's token. Raises AccessDenied(AUTH)."""
        return Session(user=self.verifier.verify(token).sub, token=token)

    def dev_login(self, user: str) -> str | None:
        """A token for a bare user name, through the demo's door; None where there is no such door."""
        return self.registry.dev_token(user)

    def with_purpose(self, session: Session) -> tuple[Session, tuple[str, ...]]:
        """Settle the session's purpose: the one asked for, or the user's only one."""
        purposes = self.verifier.verify(session.token).purposes
        asked = session.purpose or session.properties.get("purpose", "") or _tagged(session)
        if asked and asked not in purposes:
            raise AccessDenied(
                f"Purpose '{asked}' is not among yours.",
                Outcome.PURPOSE,
                rule="purpose",
                hint=f"Yours: {', '.join(purposes) or 'none'}.",
            )
        if not asked and len(purposes) > 1:
            raise AccessDenied(
                "You hold several purposes; say for which one you ask.",
                Outcome.PURPOSE,
                rule="purpose",
                hint=f"--purpose, or SET SESSION purpose = '..': {', '.join(purposes)}.",
            )
        return replace(session, purpose=asked or (purposes[0] if purposes else "")), purposes

    def view(self, session: Session) -> UserView:
        """What the session's user may see for its purpose."""
        settled, purposes = self.with_purpose(session)
        return self._see(settled, purposes)

    def _see(self, session: Session, purposes: tuple[str, ...]) -> UserView:
        """The view of one user for one purpose; auditors see this gateway's ledger too."""
        view = self.catalogue.view(session, purposes)
        return replace(view, records=self.ledger.records) if session.purpose == AUDIT else view

    # -- statements ------------------------------------------------------------------------------

    def submit(self, sql: str, session: Session) -> Execution:
        """Start a statement; returns at once. Its columns, batches and errors come with the execution."""
        execution = Execution(self._query_id(), sql, session)
        with self._lock:
            self._executions[execution.query_id] = execution
        self._workers.submit(self._run, execution)
        return execution

    def _query_id(self) -> str:
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime())
        return f"{stamp}_{next(self._numbers) % 100_000:05d}_{self._suffix}"

    def execution(self, query_id: str) -> Execution | None:
        with self._lock:
            return self._executions.get(query_id)

    def executions(self) -> list[Execution]:
        """Running and recent statements, newest first."""
        with self._lock:
            return sorted(self._executions.values(), key=lambda e: e.created, reverse=True)

    def cancel(self, query_id: str, error: CityError | None = None) -> bool:
        """Stop a statement everywhere; False if it is not known."""
        found = self.execution(query_id)
        if found is not None:
            found.cancel(error)
        return found is not None

    def _run(self, execution: Execution) -> None:
        execution.clock.turn_to("reading the statement")
        seconds = self._seconds(execution.session)
        limit = after(seconds, lambda: execution.cancel(_too_slow(seconds)))
        try:
            self._to_its_end(execution, lambda: self._answer(execution))
        finally:
            limit.cancel()

    def _to_its_end(self, execution: Execution, work: Callable[[], None]) -> None:
        """Do the work of a statement, or of a part that runs apart: execution and ledger tell what came of it."""
        try:
            work()
            self._finish(execution)
        except CityError as error:
            self._finish(execution, error)
        except RecursionError:
            self._finish(execution, too_deep())
        except Exception:
            # The last line of defence: whatever atoll itself did wrong, the client gets an answer and
            # the operator the detail. Nothing of the exception's text reaches the client.
            log.exception("statement %s failed inside the gateway", execution.query_id)
            self._finish(execution, InternalError("The gateway failed on this statement; its operator has the detail."))
        finally:
            execution.forget_frames()

    def _finish(self, execution: Execution, error: CityError | None = None) -> None:
        """End a statement, in the ledger first: without its `end` there it fails."""
        execution.clock.turn_to("writing the ledger")
        try:
            self.ledger.end(execution, execution.error or error)
        except InternalError as failed:
            error = error or failed
        execution.finish(error)

    def _seconds(self, session: Session) -> float:
        """The statement's time limit: the gateway's, or the session's if that is shorter."""
        asked = session.properties.get("query_max_run_time", "")
        own = float(self.settings.limits.query_seconds)
        return min(own, statements.seconds_of(asked)) if asked else own

    def _answer(self, execution: Execution) -> None:
        statement = statements.classify(execution.sql, execution.session)
        if isinstance(statement, statements.Effect):
            self._effect(execution, statement)
        elif isinstance(statement, statements.Kill):
            self._kill(execution, statement)
        elif isinstance(statement, statements.Explain):
            self._explain(execution, statement)
        elif isinstance(statement, statements.DescribeInput):
            self._describe_input(execution, statement)
        elif isinstance(statement, statements.DescribeOutput):
            self._describe_output(execution, statement)
        else:
            self._query(execution, statement)

    def _effect(self, execution: Execution, effect: statements.Effect) -> None:
        """A statement about the session: names it sets must exist, its effects ride with the answer."""
        purpose = dict(effect.effects.set_session).get("purpose", "")
        if effect.requires:
            metadata.check(effect.requires, self.view(execution.session))
        if purpose:
            self.with_purpose(replace(execution.session, purpose=purpose))
        execution.publish(effect.columns, effect.effects)
        batch = effect.batch()
        if batch is not None:
            execution.put(batch)

    def _query(self, execution: Execution, query: statements.Query) -> None:
        session, purposes = self.with_purpose(execution.session)
        view = self._see(session, purposes)
        metadata.check(query.requires, view)
        execution.check()
        kept = self._kept.find(execution, session, view, query.sql)
        if kept is not None:
            self._give_again(execution, session, kept)
            return
        execution.copy = self._kept.copy(session)
        try:
            self._run_query(execution, session, view, query.sql)
            self._kept.offer(execution, session, view, query.sql)
        finally:
            execution.copy = None

    def _give_again(self, execution: Execution, session: Session, kept: Kept) -> None:
        self.ledger.begin(execution, session, (), kept=kept.query_id)
        for warning in (*kept.warnings, kept.notice):
            execution.warn(warning)
        execution.give_again(kept.parts)
        execution.publish(kept.columns)
        for batch in kept.batches:
            execution.put(batch)

    def _run_query(self, execution: Execution, session: Session, view: UserView, sql: str) -> None:
        try:
            with execution.clock.at("planning"):
                plan = self._plan(execution, session, view, sql)
            if session.require_pushdown:
                refuse_whole(plan)
            with self._covered(execution, session, view, plan):
                self._exchange(execution, session, plan)
        except DepartmentError as error:
            if not (session.allow_partial and error.outcome in (Outcome.DOWN, Outcome.CLOSED)):
                raise
            smaller = without_arms(sql, error.who, session)
            if smaller is None or execution.started:
                raise
            execution.copy = None  # it is not kept
            execution.warn(f"Partial answer: {error.who} is missing ({error.message})")
            self._run_query(execution, session, view, smaller)

    def _covered(
        self, execution: Execution, session: Session, view: UserView, plan: Plan
    ) -> AbstractContextManager[None]:
        """Beside a statement, its city tables' rows that no mapping covers are counted."""

        def apart(sql: str) -> Execution:
            part = Execution(self._query_id(), sql, session)
            part.question = execution.question
            return part

        def count(part: Execution) -> None:
            part.check()
            self._exchange(part, session, self._plan(part, session, view, part.sql))

        def run(part: Execution) -> None:
            self._to_its_end(part, lambda: count(part))

        return self._coverage.beside(execution, plan.city, apart, run)

    def _plan(self, execution: Execution, session: Session, view: UserView, sql: str) -> Plan:
        """The plan of a statement that runs: the one it had before, or a new one."""

        def make(text: str, rows: Mapping[str, int]) -> Plan:
            resolved = resolve(parse(text), view, session, tuple(self.executions()))
            if LEDGER in resolved.local:
                self.ledger.begin(execution, session, (), reads=[LEDGER])
            return plan_resolved(resolved, rows)

        return self._plan_cache.get(sql, session, view, make)

    # -- exchange and merge ----------------------------------------------------------------------

    def _exchange(self, execution: Execution, session: Session, plan: Plan) -> None:
        if plan.first is not None:
            if self._first_rows(execution, session, plan.first):
                return
            if plan.learned is not None:
                plan.learned.in_vain()
        if plan.keyed is not None:
            try:
                self._exchange(execution, session, plan.keyed)
                return
            except NoKeys:  # nothing has been handed over yet
                if plan.learned is not None:
                    plan.learned.in_vain()
        if plan.merge is None:
            self._begin(execution, session, plan)
            self._pass_through(execution, session, plan)
            return
        with self._merging(execution, session, plan) as (gathering, merge):
            compiled = merge.compile(plan.merge, plan.shapes)
            self._publish(execution, plan, compiled)
            for batch in merge.run(compiled):
                execution.put(batch)
            self._close(execution, plan, gathering.streams)

    def _first_rows(self, execution: Execution, session: Session, first: FirstRows) -> bool:
        """Answer out of one department's first rows, if they are enough; else nothing is handed over."""
        plan = first.plan
        assert plan.merge is not None
        with self._merging(execution, session, plan) as (gathering, merge):
            compiled = merge.compile(plan.merge, plan.shapes)
            batches = list(merge.run(compiled))
            self._close(execution, plan, gathering.streams)
            found = sum(batch.num_rows for batch in batches)
            if not is_enough(first, gathering.delivered, found):
                return False
            self._publish(execution, plan, compiled)
            for batch in batches:
                execution.put(batch)
        return True

    def _begin(self, execution: Execution, session: Session, plan: Plan) -> None:
        """What is written and said before a plan's questions leave."""
        if plan.fragments:
            with execution.clock.at("writing the ledger"):
                self.ledger.begin(execution, session, plan.fragments)
        if plan.local:  # what the gateway itself knows is of this moment
            execution.copy = None
        # Agents say it too, in their end records; a LIMIT may be satisfied before those come.
        for notice in _notices(plan):
            execution.warn(notice)

    @contextmanager
    def _merging(self, execution: Execution, session: Session, plan: Plan) -> Iterator[tuple[Gathering, Merge]]:
        """A plan's answers, asked for and readable in an engine. Raises the error of the department at fault."""
        self._begin(execution, session, plan)
        owner = (session.user, session.purpose) if plan.fragments or plan.local else NOBODY
        execution.clock.turn_to("merging")
        with Merge(self.pool, execution, owner) as merge:
            for name, table in plan.local.items():
                merge.load(name, table)
            gathering = Gathering(self.agents, execution, session, plan, merge)
            try:
                gathering.all()
            except NoKeys:
                self._close(execution, plan, gathering.streams)
                raise
            try:
                yield gathering, merge
            except CityError:
                raise_first(gathering.streams)
                raise

    def _publish(self, execution: Execution, plan: Plan, compiled: Prepared) -> None:
        execution.publish(_result_columns(plan.labels, tuple(t for _, t in compiled.columns)))

    def _pass_through(self, execution: Execution, session: Session, plan: Plan) -> None:
        """One department answers alone: its stream is the result."""
        (fragment,) = plan.fragments
        stream = Gathering(self.agents, execution, session, plan, None).send(fragment, alone=True)
        with execution.clock.at(f"waiting for {fragment.id} of {fragment.department}"):
            schema = stream.schema()
        types = tuple(field_type(f) for f in schema)
        execution.publish(_result_columns(plan.labels, types))
        execution.clock.turn_to(f"reading {fragment.id} of {fragment.department}")
        for batch in stream.batches():
            execution.put(conform(batch, types))
        self._close(execution, plan, [stream])

    def _close(self, execution: Execution, plan: Plan, streams: list[FragmentStream]) -> None:
        for stream in streams:
            stream.cancel()  # a merge may end without a stream: nobody would ever read it to its end
            if stream.receipt is not None:
                with self._lock:
                    self._receipts[stream.receipt.id] = stream.receipt
            for warning in stream.warnings:
                execution.warn(warning)
        if plan.learned is not None:
            told = [s for s in streams if s.receipt is not None]
            plan.learned.tell(plan, {s.message.fragment_id.rpartition("_")[2]: s.rows for s in told})
        if all(stream.receipt is not None for stream in streams):
            # The catalogue may be a minute old; what the agents certified is what was delivered.
            execution.retract(set(_notices(plan)) - {w for s in streams for w in s.warnings})

    def receipt(self, receipt_id: str) -> dict[str, Any] | None:
        """A receipt that an agent gave for an answer of this gateway."""
        with self._lock:
            found = self._receipts.get(receipt_id)
        return found.model_dump(mode="json") if found is not None else None

    # -- explain, describe, kill -----------------------------------------------------------------

    def explain(self, sql: str, session: Session, analyze: bool = False) -> Explanation:
        """What each department would be sent, what is masked, what the merge does.

        analyze: run it as well, and add what each department delivered; otherwise nothing runs.
        """
        settled, plan = self._plan_unrun(sql, session)
        explanation = explain_plan(plan, settled)
        if not analyze:
            return explanation
        asking = replace(session, properties={**session.properties, "fresh": "true"})
        execution = self.submit(_explained(sql, session), asking)
        rows = sum(batch.num_rows for batch in execution.batches())
        return explanation.with_run(execution.clock.spent, execution.parts(), rows)

    def dry_run(self, sql: str, session: Session) -> Explanation:
        """`explain`, and every department's verdict on its part: whether it would answer. No source is read."""
        settled, plan = self._plan_unrun(sql, session)
        execution = Execution(self._query_id(), sql, settled)
        if plan.questions:
            self.ledger.begin(execution, settled, plan.questions)
        streams = [self._ask_dry(execution, settled, fragment) for fragment in plan.questions]
        verdicts = [v and v.with_contact(self.contact(v.who)) for v in map(_verdict, streams)]
        self._finish(execution)
        return explain_plan(plan, settled).with_verdicts(verdicts)

    def _ask_dry(self, execution: Execution, session: Session, fragment: FragmentPlan) -> FragmentStream:
        needs_keys = fragment.keys is not None and fragment.keys.always
        keys = [pa.array([], pa.string())] if needs_keys else []
        name = f"{execution.query_id}_{fragment.id}"
        return self.agents.ask(
            execution, session, fragment.department, name, fragment.sql, keys,
            zoned=fragment.reads_zone, dry_run=True,
        )  # fmt: skip

    def _plan_unrun(self, sql: str, session: Session) -> tuple[Session, Plan]:
        """The plan of a statement that is only explained, and the session with its purpose settled."""
        session, purposes = self.with_purpose(session)
        query = statements.classify(_explained(sql, session), session)
        if not isinstance(query, statements.Query):
            raise UserError("Only queries can be explained.", Outcome.STATEMENT, rule="explain")
        view = self._see(session, purposes)
        metadata.check(query.requires, view)

        def make(text: str, rows: Mapping[str, int]) -> Plan:
            return plan_resolved(resolve(parse(text), view, session), rows)

        return session, self._plan_cache.get(query.sql, session, view, make)

    def _explain(self, execution: Execution, statement: statements.Explain) -> None:
        session, purposes = self.with_purpose(execution.session)
        view = self._see(session, purposes)
        metadata.check(statement.requires, view)
        if statement.kind == "validate":
            self.explain(statement.sql, execution.session)
            _publish_table(execution, ("Valid",), pa.table({"c0": [True]}))
            return
        if statement.kind == "io":
            resolved = resolve(parse(statement.sql), view, session)
            text = statements.explain_io(resolved.relations.values())
        else:
            text = self.explain(statement.sql, execution.session, statement.analyze).text
        _publish_table(execution, ("Query Plan",), pa.table({"c0": [text]}))

    def _describe_input(self, execution: Execution, statement: statements.DescribeInput) -> None:
        session, purposes = self.with_purpose(execution.session)
        view = self._see(session, purposes)
        metadata.check(statement.requires, view)
        resolved = resolve(parse(statement.sql), view, session)
        table = statements.describe_input(resolved.tree, statement.count, statement.known)
        _publish_table(execution, tuple(table.schema.names), table)

    def _describe_output(self, execution: Execution, statement: statements.DescribeOutput) -> None:
        session, purposes = self.with_purpose(execution.session)
        view = self._see(session, purposes)
        metadata.check(statement.requires, view)
        resolved = resolve(parse(statement.sql), view, session)
        tables = {str(name): {c.name: c.type for c in found} for name, found in resolved.columns.items()}
        table = statements.describe_output(resolved.tree, resolved.labels, tables, execution.now)
        _publish_table(execution, tuple(table.schema.names), table)

    def _kill(self, execution: Execution, statement: statements.Kill) -> None:
        victim = self.execution(statement.query_id)
        if victim is None or victim.session.user != execution.session.user:
            raise UserError(f"Query '{statement.query_id}' is not one of yours.", rule="kill_query")
        victim.cancel(statements.killed(statement.message))
        execution.publish((), Effects(update_type="CALL"))

    # -- access requests -------------------------------------------------------------------------

    def request_access(self, session: Session, name: RelationName, asked: AccessRequest) -> Application:
        """Ask a table's department for access, for the session's purpose. Raises CityError."""
        settled, _ = self.with_purpose(session)
        return self._applications.file(settled, name, asked)

    def access_requests(self, session: Session) -> list[AccessAnswer | CityError]:
        """What the departments list, and how the user's own requests stand; for any purpose, if none is named."""
        purposes = self.verifier.verify(session.token).purposes
        any_of_them = replace(session, purpose=session.purpose or next(iter(purposes), ""))
        settled, _ = self.with_purpose(any_of_them)
        return [
            a.with_contact(self.contact(a.who)) if isinstance(a, CityError) else a
            for a in self._applications.all(settled)
        ]

    # -- registration ----------------------------------------------------------------------------

    def contact(self, name: str) -> str:
        """Whom to ask about what a department refuses; see `Registry.contact`."""
        return self.registry.contact(name)

    def register(self, data: dict[str, Any]) -> dict[str, str]:
        """A department asks to be known; see `Registry.register`."""
        return self.registry.register(data)

    def set_department_state(self, name: str, state: str) -> dict[str, str]:
        """Approve or suspend a department; its relations show or vanish at once. See `Registry.set_state`."""
        found = self.registry.set_state(name, state)
        self.catalogue.forget(name)
        return found

    def faults(self) -> list[str]:
        """What keeps statements from being answered now: without the identity provider nobody can be asked."""
        url = urlsplit(self.settings.identity.token_url)
        place = (url.hostname or "", url.port or {"http": 80, "https": 443}[url.scheme])
        try:
            with socket.create_connection(place, self.settings.limits.connect_seconds):
                return []
        except OSError:
            return ["the identity provider does not answer"]

    def close(self) -> None:
        """Cancel what runs and free everything, the ledger last: what was cancelled ends there too."""
        for execution in self.executions():
            execution.cancel()
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._applications.close()
        self.agents.close()
        self._workers.shutdown(wait=True)
        self._coverage.close()
        self.pool.close()
        self.ledger.close()


# ---------------------------------------------------------------- small pieces


def _too_slow(seconds: float) -> DepartmentError:
    return DepartmentError(
        f"The statement took longer than {seconds:g} seconds.",
        Outcome.LIMIT,
        trino=TrinoError.EXCEEDED_TIME_LIMIT,
        who="gateway",
        rule="time limit",
        hint="Ask for less, or raise the session property query_max_run_time up to the gateway's own limit.",
    )


def _explained(sql: str, session: Session) -> str:
    """The query inside an EXPLAIN; any other statement as it is."""
    statement = statements.classify(sql, session)
    return statement.sql if isinstance(statement, statements.Explain) else sql


def _verdict(stream: FragmentStream) -> CityError | None:
    """None if the department would answer, its refusal otherwise."""
    try:
        for _ in stream.batches():
            pass
    except CityError as refusal:
        return refusal
    return None


def _tagged(session: Session) -> str:
    """The purpose in a client tag `purpose:NAME`, "" if none."""
    return next((t.removeprefix("purpose:") for t in session.client_tags if t.startswith("purpose:")), "")


def _notices(plan: Plan) -> list[str]:
    """What the catalogue says must be said beside rows of the relations that a plan reads."""
    return list(dict.fromkeys(r.notice for f in plan.fragments for r in f.relations if r.notice))


def _result_columns(labels: tuple[str, ...], types: tuple[TrinoType, ...]) -> tuple[ResultColumn, ...]:
    return tuple(ResultColumn(name, kind) for name, kind in zip(labels, types, strict=True))


def _publish_table(execution: Execution, labels: tuple[str, ...], table: pa.Table) -> None:
    execution.publish(_result_columns(labels, tuple(field_type(f) for f in table.schema)))
    for batch in table.to_batches():
        execution.put(batch)
