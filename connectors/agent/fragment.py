"""One fragment from its text to its last byte: the stages in order, and the two ledger records round them.

    prepare()   admit -> authorise -> enforce -> begin record -> bind; refusals are raised (and recorded) here
    frames()    batches, end record with its receipt

The sources of a row answer are at work while the begin record goes to disk.

A run ends exactly once, whatever happens: with its rows, an error, a stop (time, grant, breaker) or a
reader who went away. After the first byte an error travels in the end record.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import structlog
from sqlglot import exp

from catalog.alarm import Alarm, after
from catalog.duck import as_shown_in, session_of
from catalog.errors import CityError, DepartmentError, InternalError, Outcome, TrinoError, UserError
from catalog.exchange import KEYS_TABLES, EndRecord, Fragment, Receipt, canonical_json, decode_keys, sha256
from catalog.identity import Principal
from catalog.ipc import BATCH_BYTES, pieces
from catalog.keys import KeyFileError
from catalog.ledger import Ledger, LedgerError
from catalog.masks.base import sql_text
from catalog.names import MAIN
from catalog.policy import Decision, Department, opening
from catalog.relation import Mode
from connectors.agent import aggregate, verify
from connectors.agent.admit import admit
from connectors.agent.authorise import Access, Governed
from connectors.agent.budget import Asked, Budget
from connectors.agent.conditions import restrict
from connectors.agent.disclosure import Guard, Question, epoch_of
from connectors.agent.enforce import Scan, enforce
from connectors.agent.execute import Engine, Engines, RowRun, Stop, trusted_table
from connectors.agent.kept import Planned, Plans, Seen, Spelling, spelling
from connectors.agent.materialised import MATERIALISED
from connectors.agent.moments import settled
from connectors.agent.plan import RowPlan, mode_refusal, plan_rows
from connectors.agent.question import check_question, read_statement, signed_hash
from connectors.agent.receipt import Frames, sign_end, sign_receipt
from connectors.agent.synthetic import notice
from connectors.base import Cancelled, Capabilities, Source, SourceError

__all__ = ["FragmentRun", "Services", "canceled", "grant_ended", "notice_of", "shown"]

GRID = 0.05
_log = structlog.get_logger("atoll.agent")


@dataclass(frozen=True)
class Services:
    """What a run needs of its agent. version: the policy's digest. receipts: the key that signs answers.

    plans: those that were kept under the policy. asked: told what questions read (`Materialised.asked`).
    """

    department: Department
    version: str
    sources: Mapping[str, Source]
    view_text: Callable[[Governed], str]
    engines: Engines
    ledger: Ledger
    budget: Budget
    guard: Guard
    receipts: Any
    parameter_key: bytes = field(repr=False)
    plans: Plans
    asked: Callable[[Iterable[Governed]], None]

    @property
    def books(self) -> dict[str, str]:
        """The marks of what must not be forgotten; of one that is lost the ledger tells nothing new."""
        return {
            name: book.mark.text for name, book in (("guard", self.guard), ("budget", self.budget)) if not book.lost
        }


@dataclass
class _Account:
    """What the receipt and the ledger say of a run."""

    mode: Mode = Mode.masked
    relations: tuple[Governed, ...] = ()
    suppressed: int | None = None
    hidden: int = 0
    warnings: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    rewritten: str = ""
    seconds: float = 0.0
    vintages: Mapping[str, datetime | None] = field(default_factory=dict)


class FragmentRun:
    """One fragment. Used by one worker thread; `stop` may be called from any."""

    def __init__(self, services: Services, access: Access, fragment: Fragment, stop: Stop) -> None:
        self.services = services
        self.access = access
        self.fragment = fragment
        self.stop = stop
        self.sha256 = sha256(fragment.sql)
        self.question = ""
        self._tree: exp.Expr = exp.Null()
        self._spelling: Spelling | None = None
        self.keys: dict[str, pa.Array] = {}
        self.schema: pa.Schema | None = None
        self.frames_sent: Frames | None = None
        self._account = _Account()
        self._rows: RowRun | None = None
        self._table: pa.Table | None = None
        self._stack = ExitStack()
        self._until = _Until(lambda: stop(grant_ended(services.department.department)))
        self._stack.callback(self._until.close)
        self._begun = False
        self._ended = False
        self._started = time.monotonic()
        self.outcome = Outcome.OK.name

    @property
    def principal(self) -> Principal:
        return self.access.principal

    @property
    def who(self) -> str:
        return self.services.department.department

    # ---- before the first byte -----------------------------------------------------------------------

    def prepare(self) -> None:
        """Everything that can be refused. Raises CityError after writing the refusal, or the end, to the ledger."""
        try:
            self._timers()
            self._prepare()
            if not self._begun:
                self._begin()
        except BaseException as bad:
            error = self._as_city_error(bad)
            self.close()
            self._refuse(error)
            if self._account.mode in (Mode.aggregate, Mode.verify):
                self._align()
            raise error from bad

    def _prepare(self) -> None:
        now = self._as_asked(self.access.now)  # for a time zone that there is
        # A signed question is read with the text, and may narrow it.
        signed, zone = self.fragment.question is not None, self.fragment.time_zone
        seen = None if signed else self.services.plans.look(self.principal, self.fragment.sql, zone)
        planned = None if seen is None or not seen.is_kept else self._again(seen)
        if planned is not None:
            self._open(planned.plan)
            return
        tree = admit(self.fragment.sql).tree
        # Later stages may rewrite the tree; the question is held against what was asked.
        self._tree = tree.copy()
        self.question = signed_hash(self.fragment.question, self.principal, self.who)
        self.keys = self._decode_keys()
        relation_name = verify.read_verify(tree, self.who)
        if relation_name is not None:
            self._prepare_verify(relation_name)
            return
        relation = aggregate.aggregate_relation(tree, self.access)
        if relation is not None:
            with session_of(now):
                shape = aggregate.read_shape(settled(tree, now), relation, self.who)
            self._prepare_aggregate(shape, relation)
            return
        plan, capabilities = self._planned(
            self._restricted(tree), self.keys, self.access.now, self.fragment.fragment_id
        )
        self._open(plan)
        if seen is not None:
            planned = Planned(plan, self._spelled(), capabilities)
            self.services.plans.keep(seen, self.access, self.keys, self.fragment.fragment_id, planned, self._make)

    def _again(self, seen: Seen) -> Planned | None:
        """What was planned before, if it is what would be planned now."""
        self.keys = self._decode_keys()
        planned = self.services.plans.again(seen, self.access, self.keys, self._reach, self.fragment.fragment_id)
        self._spelling = None if planned is None else planned.spelling
        return planned

    def _reach(self, source: str) -> Capabilities:
        return self.services.sources[source].capabilities()

    def _planned(
        self, tree: exp.Expr, keys: Mapping[str, pa.Array], now: datetime, query_id: str
    ) -> tuple[RowPlan, dict[str, Capabilities]]:
        """The plan of a tree, and what its sources can do."""
        asked: dict[str, Capabilities] = {}

        def capabilities(source: str) -> Capabilities:
            return asked.setdefault(source, self._reach(source))

        now = self._as_asked(now)
        with session_of(now):
            tree = settled(tree, now)
            return plan_rows(tree, self.access, capabilities, self.services.view_text, keys, now, query_id), asked

    def _as_asked(self, now: datetime) -> datetime:
        """A moment as the session's clocks show it."""
        return as_shown_in(now, self.fragment.time_zone or "UTC")

    def _make(self, text: str, keys: Mapping[str, pa.Array], now: datetime, query_id: str) -> Planned:
        tree = admit(text).tree
        spelled = spelling(tree)
        plan, capabilities = self._planned(tree, keys, now, query_id)
        return Planned(plan, spelled, capabilities)

    def _open(self, plan: RowPlan) -> None:
        """Let a plan of rows begin, up to its first row."""
        modes = [r.mode for r in plan.relations]
        # Where real rows are read too the record says under which mode; what was generated is listed beside it.
        self._account.mode = min((m for m in modes if m is not Mode.synthetic), default=min(modes, default=Mode.masked))
        self._account.relations = plan.relations
        self._settled()
        self._account.warnings = tuple(n for r in plan.relations if (n := notice_of(r, self.who) or self._as_of(r)))
        self._account.rewritten = plan.sql
        run = RowRun(plan, lambda s: self.services.sources[s], self.keys, self.stop.cancel, self.services.engines)
        self.schema = run.schema
        if not self.fragment.dry_run:
            self._stack.enter_context(run)
            self._rows = run
            self.services.asked(plan.relations)
            run.start()
            self._begin()
            run.open()

    def _restricted(self, tree: exp.Expr) -> exp.Expr:
        """The fragment over the rows that the signed question can need, where there is one."""
        asked = self.fragment.question
        statement = read_statement(asked.sql) if asked is not None and self.question else None
        return tree if statement is None else restrict(tree, statement, self.access, bool(self.fragment.time_zone))

    def _decode_keys(self) -> dict[str, pa.Array]:
        """The bind keys by the name of their table, each set distinct; the limit is on all of them together."""
        found: dict[str, pa.Array] = {}
        limit = left = self.services.department.limits.keys
        for name, part in zip(KEYS_TABLES, self.fragment.parts, strict=False):
            try:
                keys = decode_keys(part)
            except ValueError as bad:
                raise UserError("The keys part cannot be read.", Outcome.SYNTAX, who=self.who, rule="keys") from bad
            left -= len(keys)
            if left < 0:
                raise UserError(
                    f"A fragment brings at most {limit} keys here.", Outcome.TOO_LARGE, who=self.who, rule="keys"
                )
            found[name] = keys
        return found

    def _prepare_aggregate(self, shape: aggregate.Shape, relation: Governed) -> None:
        """The whole answer is computed before its first byte: a cell is released once, or not at all."""
        if self.keys:
            raise mode_refusal(relation, self.who)
        self._account.mode = Mode.aggregate
        self._account.relations = (relation,)
        self._settled()
        labels = [n for n, _ in shape.columns]
        self.schema = pa.schema([pa.field(n, t.arrow()) for n, t in shape.columns])
        if self.fragment.dry_run:
            return
        budgets, local = self.services.department.limits.budgets, self._local_now()
        asked = Asked(self.principal.sub, self.principal.purpose, relation.name)
        self.services.budget.charge_sums(asked, shape.literals, budgets, local)
        if aggregate.needs_contributions(relation):
            found = self._contributed(shape, relation, local)
        else:
            scan, sql = aggregate.entity_scan(shape, *self._source_of(relation))
            self._account.rewritten = sql
            found = aggregate.release(shape, self._trusted(scan, sql), relation.decision.public.get)
        self.services.budget.charge_cells(asked, found.table.num_rows, budgets, local)
        self._table = found.table.rename_columns(labels)
        self._account.suppressed, self._account.hidden = found.suppressed, found.hidden
        self._account.warnings = found.warnings
        self._align()

    def _source_of(self, relation: Governed) -> tuple[Capabilities, str, str]:
        source = self.services.sources[relation.spec.source]
        return source.capabilities(), self.services.view_text(relation), self.fragment.fragment_id

    def _contributed(self, shape: aggregate.Shape, relation: Governed, local: datetime) -> aggregate.Cells:
        """An answer out of the whole relation, as far as the guard lets it out."""
        secret, epoch = self.services.parameter_key, epoch_of(local, relation.decision.epoch)
        family = aggregate.family(self.services.department, relation)
        scan, sql = aggregate.contribution_scan(relation, family, *self._source_of(relation))
        try:
            table = self._trusted(scan, sql)
        except SourceError as bad:
            _log.error("sums need every row", fragment=self.fragment.fragment_id, error=str(bad))
            raise InternalError(
                f"The source of {relation.name} could not be read whole, as its sums need it.", who=self.who,
                hint="They read all its dimensions and measures, also those that were not asked for. Its owner's log "
                "names the value that could not be read.",
            ) from bad  # fmt: skip
        if relation.decision.base_cells:
            table = self.services.guard.steady(
                family.name,
                epoch,
                lambda kept: aggregate.steady(relation, table, kept, self._engine(), secret, self.who),
            )
        with aggregate.Contributions(relation, family, table, self._engine(), secret) as everything:
            self._account.rewritten = everything.sql(shape)
            cells, noise = everything.cells(shape), everything.noise(epoch)

            def answer(chosen: Question | None = None) -> aggregate.Cells:
                keys = None if chosen is None else chosen.cells
                return aggregate.release(shape, cells, relation.decision.public.get, keys, noise)

            found = answer()
            if not relation.decision.guard:
                return found
            given = self.services.guard.release(everything.ask(shape, local, found, answer))
        return aggregate.Cells.from_blob(*given.old) if given.old else answer(given.question)

    def _engine(self) -> Engine:
        engine = self.services.engines.private()
        self.stop.cancel.on_cancel(engine.interrupt)
        return engine

    def _local_now(self) -> datetime:
        return self.access.now.astimezone(ZoneInfo(self.services.department.limits.timezone))

    def _trusted(self, scan: Scan, sql: str) -> pa.Table:
        source = self.services.sources[scan.relation.spec.source]
        table, seconds = trusted_table(scan, source, self.stop.cancel, self.services.engines.private(), sql)
        self._account.seconds += seconds
        return table

    def _prepare_verify(self, name: str) -> None:
        relation = self.access.named(name)
        decision = relation.decision
        if relation.mode is not Mode.verify or decision.key is None:
            raise mode_refusal(relation, self.who)
        self._account.mode = Mode.verify
        self._account.relations = (relation,)
        self._settled()
        claims = verify.claims_of(self.keys, relation.spec.columns[decision.key].concept)
        self.schema = verify.VERIFY_SCHEMA
        if self.fragment.dry_run:
            return
        budget = self.services.budget
        self._account.subjects = tuple(budget.subject(name, s) for s in claims.subjects)
        # Another relation over the same rows is no second chance.
        read = f"{relation.spec.source}|{relation.spec.table}|{relation.spec.view}"
        counted = [budget.subject(read, s) for s in claims.subjects]
        zone = ZoneInfo(self.services.department.limits.timezone)
        budget.charge(
            name, self.principal.sub, len(claims.canonical), counted, decision.per_day, decision.per_subject,
            self.access.now.astimezone(zone),
        )  # fmt: skip
        self._table = verify.answer(claims, self._look_up(relation, decision, claims.subjects))
        self._align()

    def _look_up(self, relation: Governed, decision: Decision, subjects: list[str]) -> list[str]:
        key = decision.key or ""
        source = self.services.sources[relation.spec.source]
        wanted = pa.array(verify.spellings(subjects), pa.string())
        pushed = relation.spec.columns[key].type.name in source.capabilities().keys
        scan = enforce(
            "rel", relation, (), self.services.view_text(relation), keys=[((key,), wanted)] if pushed else [],
            query_id=self.fragment.fragment_id, hidden=(key,),
        )  # fmt: skip
        listed = ", ".join(sql_text(w) for w in wanted.to_pylist()) or "NULL"
        found = self._trusted(scan, f'SELECT DISTINCT "raw_{key}" AS k FROM rel WHERE "raw_{key}" IN ({listed})')
        return [str(v) for v in found.column("k").to_pylist()]

    @property
    def is_made(self) -> bool:
        """Once it is prepared: whether all of its answer is here."""
        return self._table is not None

    @property
    def is_at_hand(self) -> bool:
        """Once it is prepared: whether its first rows are here."""
        return self.is_made or (self._rows is not None and self._rows.is_at_hand)

    @property
    def is_all_here(self) -> bool:
        """Once it is prepared: whether all of its rows are here, so that its end follows at once."""
        return self.is_made or (self._rows is not None and self._rows.is_at_hand and self._rows.is_read)

    @property
    def is_ended(self) -> bool:
        """Whether its end is in the ledger: what `frames` gives now is the last of it."""
        return self._ended

    def _align(self) -> None:
        """Answers of aggregate and verify leave on a grid of 50 ms: how long it took says less."""
        spent = time.monotonic() - self._started
        self.stop.cancel.wait(GRID - spent % GRID)

    # ---- stops ---------------------------------------------------------------------------------------

    def _timers(self) -> None:
        seconds = min(self.services.department.limits.seconds, self.fragment.timeout)
        self._timer(seconds)

    def _too_long(self, seconds: int) -> CityError:
        return DepartmentError(
            f"The query took longer than {seconds} seconds.", Outcome.LIMIT, who=self.who, rule="seconds",
            trino=TrinoError.EXCEEDED_TIME_LIMIT, hint="Ask for less at once.",
        )  # fmt: skip

    def _charge_questions(self) -> None:
        """Count this question against grants that cap a day's. Raises DepartmentError(BUDGET)."""
        zone = ZoneInfo(self.services.department.limits.timezone)
        for relation in {r.name: r for r in self._account.relations}.values():
            cap = relation.decision.questions_per_day
            if cap is not None and not self.fragment.dry_run:
                now = self.access.now.astimezone(zone)
                self.services.budget.charge(f"{relation.name}|questions", self.principal.sub, 1, (), cap, 0, now)

    def _settled(self) -> None:
        """The relations are known: the question must be the user's own where they ask that, and grants must last."""
        check_question(self.fragment.question, self.question, self._tree, self._account.relations, self.who)
        # Before anything is read: a snapshot may be renewed meanwhile, and rows are newer then than is said, not older.
        self._account.vintages = {r.name: self._vintage(r) for r in self._account.relations}
        self._watch_grants()

    def _watch_grants(self) -> None:
        """What the grants cap of a run as a whole: its end, its seconds, and the questions of a day."""
        self._charge_questions()
        seconds = min((s for r in self._account.relations if (s := r.decision.max_seconds) is not None), default=None)
        if seconds is not None:
            self._timer(seconds)
        self._until.set(_end_of(r.decision for r in self._account.relations), first=True)

    def _timer(self, seconds: int) -> None:
        self._stack.callback(after(seconds, lambda: self.stop(self._too_long(seconds))).cancel)

    def renew(self, access: Access) -> None:
        """Take from a newer policy, which still grants all of this run, when its grants end."""
        found = [access.governed(r.name) for r in self._account.relations]
        self._until.set(_end_of(g.decision for g in found if g is not None))

    def still_granted(self, access: Access) -> bool:
        """Whether a newer policy decides the same for every relation of this run; no, while they are not known yet."""
        if not self._account.relations:
            return False
        for relation in self._account.relations:
            now = access.governed(relation.name)
            if now is None or now.decision.terms != relation.decision.terms:
                return False
        return True

    # ---- the answer ----------------------------------------------------------------------------------

    def frames(self, near: bool = False) -> Generator[bytes, None, None]:
        """The bytes of the answer. Closing the iterator early ends the run as CANCELED.

        near: whoever reads them is on this machine.
        """
        assert self.schema is not None, "prepare() first"
        frames = self.frames_sent = Frames(self.schema, near, self._account.warnings)
        error: CityError | None = None
        try:
            yield frames.start()
            for batch in chain.from_iterable(map(pieces, self._batches())):
                self._caps(frames, batch)
                yield frames.batch(batch)
            if self.stop.cancel.is_set():
                raise Cancelled("cancelled")
        except GeneratorExit:
            self._end(frames, self.stop.reason or canceled(self.who))
            raise
        except BaseException as bad:  # noqa: BLE001 - every failure after the first byte goes into the end record
            error = self._as_city_error(bad)
        try:
            record = self._end(frames, error)
        except (LedgerError, KeyFileError) as bad:
            # Without its end in the ledger, or a signature, an answer is not given: the stream stays cut.
            _log.error("ledger failed", fragment=self.fragment.fragment_id, error=str(bad))
            return
        yield frames.end(record)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._rows is not None:
            yield from self._rows.batches()
        elif self._table is not None:
            yield from (b for b in self._table.to_batches() if b.num_rows)

    def _caps(self, frames: Frames, batch: pa.RecordBatch) -> None:
        limits = self.services.department.limits
        caps = [r.decision.max_rows for r in self._account.relations if r.decision.max_rows is not None]
        rows = min([limits.rows, *caps])
        if frames.rows + batch.num_rows > rows:
            raise DepartmentError(
                f"The answer has more than {rows} rows.", Outcome.LIMIT, who=self.who, rule="rows",
                hint="Ask for less at once, or aggregate.",
            )  # fmt: skip
        allowed = min([limits.bytes, *(b for r in self._account.relations if (b := r.decision.max_bytes) is not None)])
        if batch.nbytes > BATCH_BYTES:
            raise DepartmentError(
                f"A row of the answer has more than {BATCH_BYTES >> 20} MB.", Outcome.LIMIT, who=self.who, rule="bytes",
                hint="Ask for a part of its texts or lists.",
            )  # fmt: skip
        if frames.bytes + batch.nbytes > allowed:
            raise DepartmentError(
                f"The answer has more than {allowed} bytes.", Outcome.LIMIT, who=self.who, rule="bytes",
                hint="Ask for less at once, or aggregate.",
            )  # fmt: skip

    def _as_city_error(self, bad: BaseException) -> CityError:
        """What an analyst may see of a failure; everything else goes to the owner's log."""
        if isinstance(bad, Cancelled) or self.stop.cancel.is_set():
            error: CityError = self.stop.reason or canceled(self.who)
        elif isinstance(bad, CityError):
            error = bad
        else:
            _log.error("fragment failed", fragment=self.fragment.fragment_id, kind=type(bad).__name__, error=str(bad))
            text = "The department's source could not answer." if isinstance(bad, SourceError) else (
                "The department's agent could not answer."
            )  # fmt: skip
            error = InternalError(text, who=self.who, hint="Its owner's log says more.")
        if error.who == "gateway":
            error.who = self.who
        return error.with_contact(self.services.department.answers)

    # ---- ledger and receipt --------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        f = self.fragment
        return {
            "query": f.query_id, "fragment": f.fragment_id, "sub": self.principal.sub,
            "purpose": self.principal.purpose, "jti": self.principal.jti, "policy": self.services.version,
            "sql_sha256": self.sha256,
            "witness": f.witness.model_dump(mode="json") if f.witness else None,
            "question": self.question, "proof": f.question.proof if f.question and self.question else "",
            "books": self.services.books, **({"time_zone": f.time_zone} if f.time_zone else {}),
        }  # fmt: skip

    def _begin(self) -> None:
        a = self._account
        facts = self._facts()
        facts |= {
            "relations": [r.name for r in a.relations],
            "grants": [g for r in a.relations for g in r.decision.ids],
            "columns": {r.name: list(r.columns) for r in a.relations},
            "masks": self._masks(), "mode": a.mode.name, "dry_run": self.fragment.dry_run,
            "keys": sum(self._key_counts().values()), "key_sets": self._key_counts(), "subjects": list(a.subjects),
            "canonical_sha256": sha256(self._spelled().pattern), "parameters": self._parameters(),
            "rewritten_sha256": sha256(a.rewritten) if a.rewritten else "",
        }  # fmt: skip
        self.services.ledger.append("begin", facts)
        self._begun = True

    def _key_counts(self) -> dict[str, int]:
        return {name: len(keys) for name, keys in self.keys.items()}

    def _spelled(self) -> Spelling:
        if self._spelling is None:
            self._spelling = spelling(self._tree)
        return self._spelling

    def _parameters(self) -> str:
        """A keyed HMAC of literals and bind keys: equal for equal ones, and no dictionary finds them out."""
        text = canonical_json([self._spelled().literals, *map(sha256, self.fragment.parts or ("",))])
        return hmac.new(self.services.parameter_key, b"parameters|" + text, "sha256").hexdigest()

    def _refuse(self, error: CityError) -> None:
        facts = self._facts() | {"outcome": error.outcome.name, "rule": error.rule}
        facts["relations"] = [r.name for r in self._account.relations]
        try:
            if self._begun and self.schema is not None:
                self._end(Frames(self.schema), error)
            else:
                self.services.ledger.append("refusal", facts)
        except (LedgerError, KeyFileError) as bad:
            _log.error("ledger failed", fragment=self.fragment.fragment_id, error=str(bad))

    def _end(self, frames: Frames, error: CityError | None) -> EndRecord:
        """Free everything, write the `end` record, make the signed end record."""
        if self._rows is not None:
            self._account.seconds += self._rows.seconds
        self.close()
        self._ended = True
        a = self._account
        outcome = self.outcome = error.outcome.name if error else Outcome.OK.name
        micros = int(a.seconds * 1_000_000)
        delivered = frames.digest()
        cases = sorted({case for r in a.relations for case in r.decision.cases})
        review = {"review": cases} if cases else {}  # raw answers, for the owner to look at
        stand_ins = [r.name for r in a.relations if r.mode is Mode.synthetic]
        generated = {"synthetic": stand_ins} if stand_ins else {}
        keep = self._keep_seconds() if error is None else 0
        head = self.services.ledger.append("end", {
            "query": self.fragment.query_id, "fragment": self.fragment.fragment_id, "sub": self.principal.sub,
            "outcome": outcome, "rows": frames.rows, "bytes": frames.bytes, "micros": micros,
            "hidden_cells": a.hidden, "suppressed": a.suppressed, "delivered": delivered,
            **review, **generated, **({"keep_seconds": keep} if keep else {}),
        })  # fmt: skip
        receipt, key = None, self.services.receipts.signing()
        if error is None:
            receipt = sign_receipt(Receipt(
                id=sha256(f"{self.who}:{head.seq}:{head.hash}")[:32], department=self.who,
                query_id=self.fragment.query_id, fragment_id=self.fragment.fragment_id, sub=self.principal.sub,
                purpose=self.principal.purpose, sql_sha256=self.sha256,
                relations=tuple(r.name for r in a.relations), mode=a.mode.name, masks=tuple(self._masks()),
                synthetic=tuple(stand_ins), keys=self._key_counts() if len(self.keys) > 1 else {},
                time_zone=self.fragment.time_zone, keep_seconds=keep,
                filtered=tuple(r.name for r in a.relations if r.decision.filters),
                grants=tuple(g for r in a.relations for g in r.decision.ids), rows=frames.rows,
                bytes=frames.bytes, micros=_told(micros, a.mode), suppressed=a.suppressed, vintages=self._vintages(),
                policy=self.services.version, delivered=delivered, ledger=head,
                at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            ), key)  # fmt: skip
        record = EndRecord(
            outcome=outcome, rows=frames.rows, error=error.to_dict() if error else None,
            warnings=a.warnings if error is None else (), receipt=receipt,
        )  # fmt: skip
        return sign_end(record, key)

    def _keep_seconds(self) -> int:
        """How long the gateway may keep this answer: while its grants last, and not into another day, which may be
        that of other pseudonyms."""
        decisions = [r.decision for r in self._account.relations]
        seconds = min((d.keep_seconds for d in decisions), default=0)
        if not seconds or self.fragment.question is not None:
            return 0
        limits, came = self.services.department.limits, self._local_now()
        ends = [datetime.combine(came.date() + timedelta(days=1), datetime.min.time(), came.tzinfo)]
        if limits.hours:
            ends.append(datetime.combine(came.date(), opening(limits.hours)[1], came.tzinfo))
        ends += [end for d in decisions for end in (d.until, d.begins) if end is not None]
        # By timestamps: of two moments of one zone Python takes what their clocks show.
        left = min(end.timestamp() for end in ends) - datetime.now(UTC).timestamp()
        return max(0, min(seconds, int(left)))

    def _masks(self) -> list[str]:
        return [f"{r.name}.{c}: {shown(m.kind, m.text)}" for r in self._account.relations for c, m in r.masks.items()]

    def _vintages(self) -> dict[str, str]:
        # One whose first snapshot was still to be read has an age only now.
        found = ((r.name, self._account.vintages.get(r.name) or self._vintage(r)) for r in self._account.relations)
        return {name: vintage.isoformat() for name, vintage in found if vintage is not None}

    def _vintage(self, relation: Governed) -> datetime | None:
        return self.services.sources[relation.spec.source].vintage(relation.spec.table)

    def _as_of(self, relation: Governed) -> str:
        """What is said beside an answer out of the agent's own copy, else nothing."""
        vintage = self._account.vintages[relation.name] if relation.spec.source == MATERIALISED else None
        return f"{self.who}.{MAIN}.{relation.name}: rows as of {vintage:%Y-%m-%d %H:%M} UTC" if vintage else ""

    def abandon(self) -> None:
        """End a run whose answer nobody will read: it began, but its frames were never asked for."""
        if self._begun and not self._ended and self.schema is not None:
            self._end(self.frames_sent or Frames(self.schema), self.stop.reason or canceled(self.who))
        self.close()

    def close(self) -> None:
        """Free engines, threads and timers. May be called again."""
        self._stack.close()


class _Until:
    """Stops a run when its grants end. A policy may move that moment while the run goes on; thread-safe."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._timer: Alarm | None = None
        self._settled = self._closed = False

    def set(self, moment: datetime | None, first: bool = False) -> None:
        """End the run then; None = not for its grants. first: as the run began; a newer policy is not undone."""
        with self._lock:
            if self._closed or (first and self._settled):
                return
            self._settled = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if moment is not None:
                left = (moment - datetime.now(UTC)).total_seconds()
                self._timer = after(max(0.0, left), self._stop)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()


def _end_of(decisions: Iterable[Decision]) -> datetime | None:
    """When the first of the grants ends."""
    return min((d.until for d in decisions if d.until is not None), default=None)


def notice_of(relation: Governed, department: str) -> str:
    """What is said beside every answer from a relation, "" if there is nothing to say."""
    return notice(f"{department}.{MAIN}.{relation.name}") if relation.mode is Mode.synthetic else ""


def shown(kind: str, text: str) -> str:
    """A mask as people see it: literals of the policy stay in the policy."""
    return kind if kind in ("constant", "top_code", "bottom_code", "bucket") else text


def _told(micros: int, mode: Mode) -> int:
    """The source's time as a receipt may tell it: on the grid, and nothing where single rows would show."""
    grid = int(GRID * 1_000_000)
    return -(-micros // grid) * grid if mode in (Mode.masked, Mode.raw) else 0


def canceled(who: str) -> CityError:
    return UserError("The query was canceled.", Outcome.CANCELED, who=who, rule="cancel")


def grant_ended(who: str) -> CityError:
    return CityError.from_dict({
        "outcome": "GRANT_ENDED", "error_name": "PERMISSION_DENIED", "who": who, "rule": "grant",
        "message": "The grant ended while the query was running.", "hint": "Ask for it to be renewed.",
    })  # fmt: skip
