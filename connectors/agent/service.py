"""The agent of one department: its policy, sources, keys, ledger and running fragments, without HTTP.

Agent.from_file(path)     open everything that department.yaml names
agent.relations(p)        what one principal may see
agent.start(p, fragment)  a FragmentRun, registered so that it can be stopped
agent.pause(), resume()   the owner's breaker
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import structlog

from catalog import duck, masks, tls
from catalog.access import AccessAnswer, AccessRequest, Application, Listed
from catalog.errors import CityError, DepartmentError, Outcome, UserError
from catalog.exchange import KEY_COLUMNS, KEYS_TABLES, Fragment, Head, canonical_json, sha256
from catalog.identity import Pins, Principal, ReplayStore, Since, SqliteReplayStore, TokenVerifier, agent_audience
from catalog.keys import Jwk, KeyFileError, KeyRing, SigningKey, load_or_create_secret
from catalog.ledger import Ledger, LedgerError
from catalog.masks.pseudonym import derive_key
from catalog.policy import Decision, Department, Fit, PolicyError, RelationSpec, Stamp, decide
from catalog.relation import Column, Mode, Relation, RelationList
from connectors.agent.authorise import Access, Governed
from connectors.agent.budget import Breaker, Budget, check_hours
from connectors.agent.child import Children, EngineError, Residual
from connectors.agent.disclosure import Guard
from connectors.agent.execute import Engine, Stop, connect
from connectors.agent.fits import Fits, asker, granted_alone
from connectors.agent.fragment import FragmentRun, Services, grant_ended, notice_of, shown
from connectors.agent.kept import Plans
from connectors.agent.mark import witnesses
from connectors.agent.materialised import MATERIALISED, Definition, Materialised, definitions
from connectors.agent.policy_file import Loaded, PolicyFile, record_refusal, refusal_facts
from connectors.agent.refusals import Refusals
from connectors.agent.requests import Decided, Requests, Row, grant_name, standing
from connectors.agent.synthetic import STAND_IN, Fitted, Settled, StandIn, fit_key
from connectors.agent.vault import Held, Vault, untoken
from connectors.base import Source, SourceError
from connectors.config import resolve_secret
from connectors.sources import open_source, parse_source

__all__ = ["Agent", "Clock", "new_history"]

Clock = Callable[[], datetime]
MASKING = "tr_geo_exact_steps, tr_geo_lat, tr_geo_lon, tr_geo_steps, tr_nfc, tr_scaled, tr_unscaled"
"""What masks call: made while no stream runs in their instance. Whatever is not named here is made when needed."""
_log = structlog.get_logger("atoll.agent")


@dataclass(frozen=True)
class _Policy:
    """One valid policy with what was read beside it, and what was planned under it."""

    department: Department
    version: str
    views: Mapping[str, str]
    roots: Mapping[str, bytes] = field(repr=False)
    hierarchies: Mapping[str, Mapping[str, tuple[str, ...]]]
    loaded: Loaded
    plans: Plans = field(repr=False)
    copies: Mapping[str, Definition] = field(repr=False)

    def text_of(self, relation: Governed) -> str:
        """The owner's SELECT of a view, "" of a table: what stands in place of a source has no text of the owner's."""
        return self.views.get(relation.name, "") if relation.spec.view else ""

    def context(self, purpose: str) -> masks.Context:
        """Mask context for one purpose: its pseudonyms join with nothing of another."""

        def linkage(group: str) -> masks.LinkageKey:
            spec = self.department.linkage_groups[group]
            key = derive_key(self.roots[group], purpose, group, spec.epoch)
            return masks.LinkageKey(purpose, group, spec.epoch, key, spec.normaliser)

        return masks.Context(linkage, self.hierarchies)


@dataclass(frozen=True)
class _Running:
    """A fragment at work. certificate: which its connection showed; None where TLS ends elsewhere."""

    run: FragmentRun
    stop: Stop
    certificate: bytes | None


class Agent:
    """One department's agent. Thread-safe. `close()` ends it with a `stop` record."""

    def __init__(self, path: Path, clock: Clock | None = None, owners: Path | None = None) -> None:
        self._path = path
        self._clock = clock or (lambda: datetime.now(UTC))
        self._lock = threading.RLock()
        self._reloading = threading.Lock()
        self._file = PolicyFile(path, owners)
        self._policy: _Policy | None = None
        self._fault = ""
        self._refused: tuple[str, Stamp | None] | None = None
        self._running: dict[str, _Running] = {}
        self._sources: dict[str, Source] = {}
        self._source_configs: dict[str, Any] = {}
        self.started = self._clock()
        policy = self._read()
        department = policy.department
        self.name = department.department
        state = self._state = (path.parent / department.state).resolve()
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        state.chmod(0o700)  # somebody else may have made it
        seen = (state / "replay.db").exists()
        self._receipts = KeyRing.create(state / "receipt.key")
        secret = self._secret = load_or_create_secret(state / "hmac.key")
        self.ledger = Ledger(state / "ledger.jsonl", KeyRing.create(state / "ledger.key"))
        self.refusals = Refusals(self.ledger)
        self.replay: ReplayStore = SqliteReplayStore(state / "replay.db")
        self.budget = Budget(state / "budget.db", secret, self.name)
        self.guard = Guard(state / "guard.db", self.name)
        self.vault = Vault(state / "vault.db", self.name)
        self.requests = Requests(state / "requests.db", self.name)
        self._fits = Fits(state / "synthetic.json")
        self.breaker = Breaker(state / "PAUSED", self.name)
        self._look_back(seen)
        self._engines = _Engines(state / "spill", department.limits.memory_mb)
        try:
            self._confine(department)
        except ValueError:
            self._engines.close()
            self.ledger.close()
            raise
        self._open_sources(department)
        self._copies = Materialised(
            state / "materialised", self._sources, self.ledger.append, lambda: not self._is_open(), self._clock,
            department.limits.memory_mb,
        )  # fmt: skip
        self._policy = policy
        facts = policy.loaded.facts()
        books = self._services().books
        self.ledger.append("start", {"policy": policy.version, "department": self.name, "books": books, **facts})
        self._file.keep(policy.loaded)
        self._copies.define(policy.copies)

    @classmethod
    def from_file(cls, path: str | Path, clock: Clock | None = None, owners: Path | None = None) -> Agent:
        """Open an agent. Raises PolicyError, SourceError, KeyFileError, LedgerError, ValueError, OSError.

        clock: the time for decisions, for tests; the system's by default. owners: public keys of those who sign
        the policy; None = those pinned at an earlier start, or no signature is needed.
        """
        file = Path(path).resolve()
        try:
            return cls(file, clock, owners)
        except PolicyError as bad:
            record_refusal(file, bad)
            raise

    def _look_back(self, seen: bool) -> None:
        """Hold what must not be forgotten against what the ledger tells of it. seen: whether requests were kept."""
        told = witnesses(self.ledger.path, ("guard", "budget"))
        self.guard.expect(told.get("guard"))
        self.budget.expect(told.get("budget"))
        if self.guard.lost:
            _log.error(
                "guard.db is missing, or older than the ledger: sums under the guard are refused. Put it back, or "
                "accept the loss: atoll agent new-history"
            )
        if not seen and self.ledger.head.seq:
            self.replay = Since(self.replay, time.time())

    # ---- policy --------------------------------------------------------------------------------------

    def _read(self) -> _Policy:
        """The policy as it is on disk, with its secrets. Raises PolicyError, ValueError, OSError."""
        loaded = self._file.read()
        base = self._path.parent
        roots = {n: _root(g.root, base, loaded.digests) for n, g in loaded.department.linkage_groups.items()}
        department = loaded.department
        return _Policy(
            department, loaded.version, loaded.views, roots, loaded.hierarchies, loaded, Plans(department),
            definitions(department, loaded.views),
        )  # fmt: skip

    def reload(self) -> None:
        """Take a changed policy. An invalid, unsigned or vanished one closes the agent until it is mended.

        The old policy does not stay in force: the change may have been a revocation. Sources, identity,
        addresses and state folder are fixed at the start: a change of those needs a restart.
        """
        # Files are read without the lock that running work needs: a disk that hangs must not hold up the breaker.
        with self._reloading:
            if not self._file.changed():
                return
            try:
                fresh = self._read()
                _same_house(self.policy.department, fresh.department)
                self._confine(fresh.department)
                with self._lock:
                    self._take(fresh)
            except (PolicyError, ValueError, OSError) as bad:
                if isinstance(bad, OSError):  # it may pass without any change of the files
                    self._file.forget()
                self._refuse_policy(bad)
            except LedgerError as bad:
                self._unrecorded(bad)
                raise

    def _unrecorded(self, fault: LedgerError) -> None:
        """What cannot be put on record is not in force, and nothing else either, until the ledger is mended."""
        self._fault, self._refused = str(fault), None
        self._file.forget()
        self.stop_all()

    def _take(self, fresh: _Policy) -> None:
        """Put a policy in force: first on record, then pinned, then in use."""
        old = self.policy
        known = (old.version, old.loaded.facts()) == (fresh.version, fresh.loaded.facts())
        if self._fault or not known:
            self.ledger.append("policy", {"old": old.version, "new": fresh.version, **fresh.loaded.facts()})
            self._file.keep(fresh.loaded)
        self._fault, self._refused = "", None
        if not known:
            self._policy = fresh
            self._copies.define(fresh.copies)
            self._stop_revoked()

    def _refuse_policy(self, fault: Exception) -> None:
        """Answer nothing more, say why to the owner, and put it on record once."""
        self._fault = str(fault)
        if self._refused == (self._fault, self._file.seen):
            return
        _log.error("policy refused, nothing is answered until it is mended", fault=self._fault)
        self.stop_all()
        try:
            self.ledger.append("policy_refused", refusal_facts(fault, self._file))
        except LedgerError:
            self._file.forget()
            raise
        self._refused = (self._fault, self._file.seen)

    def _check_policy(self) -> None:
        """Raises DepartmentError(CLOSED) without a valid policy."""
        if self._fault:
            raise DepartmentError(
                "The department's policy is being mended; nothing is answered meanwhile.",
                Outcome.CLOSED, who=self.name, rule="policy", hint="Ask again later, or ask its owner.",
            )  # fmt: skip

    def _stop_revoked(self) -> None:
        """End what the new policy does not grant as the old did; the rest ends when the new one says."""
        for one in list(self._running.values()):
            access = self.access(one.run.principal)
            if one.run.still_granted(access):
                one.run.renew(access)
            else:
                one.stop(grant_ended(self.name))

    def _confine(self, department: Department) -> None:
        """Raises ValueError where the policy asks for confined engines and the system gives none."""
        if department.limits.confined == "required":
            try:
                self._engines.require_confined()
            except EngineError as bad:
                raise ValueError(f"`limits.confined: required`: {bad}") from bad

    @property
    def policy(self) -> _Policy:
        assert self._policy is not None
        return self._policy

    @property
    def department(self) -> Department:
        return self.policy.department

    def _open_sources(self, department: Department) -> None:
        private = self._state / "sources"
        for name, config in department.sources.items():
            folder = private / name
            self._sources[name] = open_source(parse_source(config), self._path.parent, folder)

    def verifier(self) -> TokenVerifier:
        """The verifier of tokens for this agent, by its policy's `identity`."""
        identity = self.department.identity
        audience = identity.audience or agent_audience(self.name)
        path = self._file.jwks(self.policy.loaded)
        return TokenVerifier(identity.issuer, audience, path, identity.leeway)

    def pins(self) -> Pins | None:
        """The gateways that the policy's `identity` lets in; None = every one that the issuer knows."""
        listed = self.department.identity.gateways
        return Pins((self._path.parent / listed.removeprefix("file:")).resolve()) if listed else None

    def certificates(self) -> KeyRing:
        """The agent's own TLS certificates."""
        return tls.create_ring(self._state / "tls.key", agent_audience(self.name))

    # ---- asking --------------------------------------------------------------------------------------

    def access(self, principal: Principal) -> Access:
        policy = self.policy
        context = replace(policy.context(principal.purpose), vault=self.vault.of(principal.purpose))

        def copied(name: str, decision: Decision, now: datetime) -> RelationSpec | None:
            return self._copies.spec(policy.copies.get(name), decision, now)

        return Access(policy.department, context, principal, self._clock(), copied)

    def check_open(self) -> None:
        """Raises DepartmentError(CLOSED) while paused, outside opening hours or without a valid policy."""
        self.breaker.check()
        self._check_policy()
        check_hours(self.department.limits, self._clock(), self.name)

    def _is_open(self) -> bool:
        try:
            self.check_open()
        except DepartmentError:
            return False
        return True

    def stop_after_hours(self) -> None:
        """Stop every running fragment once the opening hours are over."""
        try:
            check_hours(self.department.limits, self._clock(), self.name)
        except DepartmentError as closed:
            self.stop_those(lambda *_: True, closed)

    def relations(self, principal: Principal) -> RelationList:
        """Everything that one principal may see of this department for the purpose of their token."""
        access = self.access(principal)
        department = self.department
        visible = tuple(self._shown(g, principal.purpose) for g in access.visible().values())
        return RelationList(
            department=self.name,
            title=department.title,
            custodian=department.custodian,
            contact=department.contact,
            purpose=principal.purpose,
            version=self.policy.version,
            relations=visible,
            other_purposes=access.other_purposes(),
        )

    def access_requests(self, principal: Principal) -> AccessAnswer:
        """What this department lists for everybody, and how the principal's own applications stand."""
        department, now = self.department, self._clock()
        listed = (Listed(name=n, comment=s.comment) for n, s in department.relations.items() if s.listed)
        mine = (standing(row, department, now) for row in self.requests.of(principal.sub))
        return AccessAnswer(department=self.name, contact=self.contact, listed=tuple(listed), mine=tuple(mine))

    def request_access(self, principal: Principal, asked: AccessRequest) -> Application:
        """File an application, whether or not there is such a relation. Raises UserError, DepartmentError(BUDGET)."""
        if principal.purpose not in self.department.purposes:
            raise UserError(
                f"This department knows no purpose {principal.purpose}.", who=self.name, rule="purposes",
                hint="Ask for another of your purposes, or ask its contact to take this one up.",
            )  # fmt: skip
        row = self.requests.file(principal.sub, principal.purpose, asked, self.ledger.append)
        return standing(row, self.department, self._clock())

    def _shown(self, governed: Governed, purpose: str) -> Relation:
        decision, spec = governed.decision, governed.spec
        blind = decision.mode in (Mode.schema, Mode.synthetic)
        columns = []
        for name, kind in governed.columns.items():
            column, mask = spec.columns[name], governed.masks.get(name)
            columns.append(Column(
                name=name, type=kind, comment=column.comment, unit=column.unit, concept=column.concept,
                mask=shown(mask.kind, mask.text) if mask else "", linkage=mask.linkage if mask else None,
                codes=self.department.code_lists.get(column.codes, ()) if blind and not mask else (),
            ))  # fmt: skip
        source = self._reach[spec.source]
        return Relation(
            catalog=self.name, name=governed.name, columns=tuple(columns), mode=decision.mode, purpose=purpose,
            comment=spec.comment, filtered=bool(decision.filters), min_group=decision.min_group,
            entity=decision.entity if decision.entity in (None, *governed.columns) else "",
            dimensions=decision.dimensions, measures=decision.measures,
            verify_keys=(decision.key,) if decision.key else (),
            rows=_rows_of(governed), key=_key_of(governed),
            max_keys=self.department.limits.keys, key_sets=len(KEYS_TABLES), key_columns=len(KEY_COLUMNS),
            source_kind=source.kind,
            vintage=source.vintage(spec.table), notice=notice_of(governed, self.name),
        )  # fmt: skip

    @property
    def _reach(self) -> Mapping[str, Source]:
        """Every source that a relation may name: the department's own, its copies, and the one that makes rows up."""
        policy = self.policy
        return {
            **self._sources,
            MATERIALISED: self._copies,
            STAND_IN: StandIn(policy.department, self._secret, partial(self._fitted, policy)),
        }

    def _fitted(self, policy: _Policy, relation: str) -> Fitted | None:
        """The cells that a relation's generated rows follow: those that were released under what decides them now."""
        found, fit = self._fits.known.get(relation), policy.department.relations[relation].synthetic.fit
        if found is None or fit is None:
            return None
        settled = _settled(policy, relation, fit, self._clock())
        return found if found.key == fit_key(policy.department, relation, settled) else None

    def start(self, principal: Principal, fragment: Fragment, certificate: bytes | None = None) -> FragmentRun:
        """A run of one fragment, not yet prepared; `finish(run)` must follow. Raises BUSY for an id in use.

        certificate: the one (DER) that the connection showed, for `stop_those`.
        """
        return self._start(lambda: self.access(principal), fragment, certificate)

    def _start(self, access: Callable[[], Access], fragment: Fragment, certificate: bytes | None) -> FragmentRun:
        stop = Stop()
        with self._lock:  # decided and registered at once: a reload or a pause in between would not see the run
            self.breaker.check()
            self._check_policy()
            run = FragmentRun(self._services(), access(), fragment, stop)
            if fragment.fragment_id in self._running:
                raise DepartmentError(
                    "A fragment of this id is running already.", Outcome.BUSY, who=self.name, rule="fragment id"
                )
            self._running[fragment.fragment_id] = _Running(run, stop, certificate)
        return run

    def _services(self) -> Services:
        policy = self.policy
        return Services(
            policy.department, policy.version, self._reach, policy.text_of,
            self._engines, self.ledger, self.budget, self.guard, self._receipts, self._secret, policy.plans,
            lambda relations: self._copies.asked(r.name for r in relations if r.decision.reads_copies),
        )  # fmt: skip

    def finish(self, run: FragmentRun) -> None:
        """Forget a run and free what it holds. What cannot be recorded any more is in the owner's log."""
        try:
            run.abandon()
        except (LedgerError, KeyFileError) as bad:
            _log.error("ledger failed", fragment=run.fragment.fragment_id, error=str(bad))
        finally:
            run.close()
            with self._lock:
                self._running.pop(run.fragment.fragment_id, None)

    def cancel(self, principal: Principal, fragment_id: str, reason: CityError) -> bool:
        """Stop a running fragment of the same principal; False if there is none."""
        with self._lock:
            found = self._running.get(fragment_id)
        if found is None or found.run.principal.sub != principal.sub:
            return False
        found.stop(reason)
        return True

    # ---- the owner -----------------------------------------------------------------------------------

    def untoken(self, token: str) -> Held | None:
        """What a token stands for, for the owner; each look is in the ledger, and one in vain too."""
        return untoken(self.vault, self.ledger, token)

    def pause(self) -> None:
        """Answer nothing any more and stop what is running."""
        self.breaker.pause()
        try:
            self.ledger.append("pause", {"running": len(self._running)})
        finally:  # the switch works without the ledger too
            self.stop_all()

    def resume(self) -> None:
        self.breaker.resume()
        self.ledger.append("resume", {})

    def stop_all(self) -> None:
        """Stop every running fragment as CLOSED."""
        with self._lock:
            found = list(self._running.values())
        for one in found:
            one.stop(self.breaker.closed())
        self._copies.give_up()

    def stop_those(self, wrong: Callable[[Principal, bytes | None], bool], reason: CityError) -> None:
        """Stop every running fragment whose principal, or whose connection's certificate, is `wrong`."""
        with self._lock:
            found = list(self._running.values())
        for one in found:
            if wrong(one.run.principal, one.certificate):
                one.stop(reason)

    def refresh(self) -> None:
        """Bring the snapshots of all sources up to date. Raises SourceError."""
        for source in self._sources.values():
            source.refresh()
        self._copies.refresh()

    def materialise(self, names: Collection[str], drop: bool = False) -> dict[str, Any]:
        """Make the copies of these relations now, or let them go; without a name, none.

        Returns `why`: relation -> why there is no new copy; `copies`: all that there are (`Materialised.told`). Raises
        UserError for a relation of which the policy says nothing, DepartmentError(CLOSED).
        """
        self.reload()  # whoever just wrote it there means it
        for name in names:
            if name not in self.policy.copies:
                raise self._not_materialised(name)
        if drop:
            self._copies.drop(names)
        else:
            self.breaker.check()
            self._check_policy()
        made = {} if drop else self._copies.make(names)
        return {"why": {name: why for name, why in made.items() if why}, "copies": self._copies.told()}

    def _not_materialised(self, name: str) -> UserError:
        if name in self.department.relations:
            return UserError(
                f"The policy lets nobody keep a copy of {name}.", who=self.name, rule="materialise",
                hint=f"Write `materialise: 6h` under relations.{name} in department.yaml.",
            )  # fmt: skip
        known = ", ".join(sorted(self.policy.copies)) or "none"
        return UserError(
            f"There is no relation {name}.", who=self.name, rule="materialise",
            hint=f"Relations that say `materialise`: {known}.",
        )  # fmt: skip

    def fit(self) -> dict[str, str]:
        """Ask for the sums that generated rows shall follow, where they are not known yet: relation -> what came of it.

        Raises DepartmentError(CLOSED) while nothing is answered.
        """
        self.check_open()
        policy, told = self.policy, {}
        settled = _with_settled(policy, self._clock())
        for relation, fit in self._fits.lacking(settled):
            try:
                cells = self._fits.take(settled, relation, fit, partial(self._fit_answer, policy.department, fit))
                told[relation] = f"{cells} cells"
            except CityError as refused:
                told[relation] = str(refused)
        return told

    def _fit_answer(self, department: Department, fit: Fit, sql: str) -> bytes:
        """The answer of a fit's question, asked as anybody's, under the one grant that it names."""

        def access() -> Access:
            if self.department is not department:
                raise DepartmentError("The policy changed meanwhile.", Outcome.CLOSED, who=self.name, rule="policy")
            principal = asker(department, fit)
            return Access(
                granted_alone(department, fit), self.policy.context(principal.purpose), principal, self._clock()
            )

        name = f"fit_{secrets.token_hex(8)}"
        run = self._start(access, Fragment(query_id=name, fragment_id=name, sql=sql), None)
        try:
            run.prepare()
            return b"".join(run.frames())
        finally:
            self.finish(run)

    def status(self) -> dict[str, Any]:
        """For the owner: state, policy, running fragments, sources."""
        with self._lock:
            running = [
                {"fragment": r.fragment.fragment_id, "sub": r.principal.sub, "purpose": r.principal.purpose}
                for r in (one.run for one in self._running.values())
            ]
        return {
            "department": self.name, "paused": self.breaker.paused, "policy": self.policy.version,
            "policy_fault": self._fault, "policy_number": self.policy.loaded.facts().get("number"),
            "history": "lost" if self.guard.lost else "whole",
            "running": running, "strangers_refused": self.refusals.total, "started": self.started.isoformat(),
            "ledger": self.ledger.head.model_dump(mode="json"),
            "sources": {n: _health(s) for n, s in self._sources.items()},
            "copies": self._copies.told(),
            "vintages": {n: v.isoformat() for n, s in self._sources.items() if (v := s.vintage()) is not None},
        }  # fmt: skip

    def decide_request(self, id_: str, decided: Decided) -> Row:
        """The owner's word on an application for access; the grant itself is in the policy. Raises UserError."""
        granted = any(grant.id == grant_name(id_) for grant in self.department.grants)
        return self.requests.decide(id_, decided, self.ledger.append, granted)

    @property
    def contact(self) -> str:
        """Whom to ask about what this department refuses."""
        return self.department.answers

    @property
    def running(self) -> int:
        return len(self._running)

    def head(self) -> Head:
        return self.ledger.head

    @property
    def receipt_key(self) -> SigningKey:
        """The key that signs answers now."""
        return self._receipts.signing()

    def receipt_jwk(self) -> Jwk:
        return self.receipt_key.public_jwk

    def public_keys(self) -> list[Jwk]:
        """Every key that ever signed answers, with its terms: old receipts stay verifiable."""
        return self._receipts.public()

    def close(self) -> None:
        """Stop all work and close everything. Raises LedgerError, after all the rest is closed."""
        self.stop_all()
        try:
            self.refusals.close()
            self._copies.close()
            self.ledger.append("stop", {})
        finally:
            self.replay.close()
            for source in self._sources.values():
                source.close()
            self._engines.close()
            self.budget.close()
            self.guard.close()
            self.vault.close()
            self.requests.close()
            self.ledger.close()


def new_history(department: Department, folder: Path, reason: str) -> None:
    """Accept, on record, that the guard's history is not what the ledger tells of: what is told from now on is held
    against nothing that was told before.

    folder: where department.yaml lies. Raises LedgerError while the agent runs, ValueError, OSError.
    """
    state = (folder / department.state).resolve()
    ledger = Ledger(state / "ledger.jsonl", KeyRing.create(state / "ledger.key"))
    try:
        guard = Guard(state / "guard.db", department.department)
        try:
            ledger.append("new_history", {"books": {"guard": guard.mark.text}, "reason": reason})
        finally:
            guard.close()
    finally:
        ledger.close()


class _Engines:
    """Engines in processes of their own for analysts' queries, and private instances in this one for the rest.

    Making one takes time: engine processes are made ahead, and private instances too as soon as one was asked for.
    One more instance here, without any table, runs masks; each fragment has a connection of its own to it.
    """

    def __init__(self, spill: Path, memory_mb: int) -> None:
        self._spill = spill
        self._memory_mb = memory_mb
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._lock = threading.Lock()
        # What a crash left behind: spilled parts of answers that nobody waits for any more.
        shutil.rmtree(spill, ignore_errors=True)
        self._children = Children(spill, memory_mb)
        self._masks, self._masks_folder = self._make()
        self._library = duck.Library(self._masks)
        self._library.need(MASKING)
        duck.lock(self._masks)
        self._ready: list[Future[tuple[duckdb.DuckDBPyConnection, Path]]] = []

    def _make(self) -> tuple[duckdb.DuckDBPyConnection, Path]:
        self._spill.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(dir=self._spill))
        return connect(self._memory_mb, folder), folder

    def require_confined(self) -> None:
        """Raises EngineError where engines cannot be confined; from now on none runs that is not."""
        self._children.require_confined()

    def residual(self) -> Residual:
        """An engine process that nobody used before. The taker closes it."""
        return self._children.take()

    def private(self) -> Engine:
        """An instance that nobody used before. The taker closes it."""
        with self._lock:
            waiting = self._ready.pop(0) if self._ready else self._pool.submit(self._make)
            self._ready.append(self._pool.submit(self._make))
        connection, folder = waiting.result()
        return Engine(connection, lambda c: self._retire(c, folder))

    def masking(self) -> Engine:
        with self._lock:
            return Engine(self._masks.cursor(), library=self._library)

    def _retire(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        try:
            self._pool.submit(_end, connection, folder)
        except RuntimeError:  # the pool was shut down: the agent is closing
            _end(connection, folder)

    def close(self) -> None:
        self._children.close()
        for waiting in self._ready:
            _end(*waiting.result())
        self._pool.shutdown()
        _end(self._masks, self._masks_folder)


def _end(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    connection.close()
    shutil.rmtree(folder, ignore_errors=True)


def _health(source: Source) -> str:
    try:
        source.ping()
    except SourceError:
        return "unreachable"
    return "ok"


def _root(reference: str, base: Path, digests: Mapping[str, str]) -> bytes:
    """A linkage group's root: 32 bytes, in hex, by reference. digests: of the files as they were checked."""
    file = reference.removeprefix("file:")
    if file in digests:
        content = (base / file).read_bytes()
        if sha256(content) != digests[file]:
            raise PolicyError([f"{file} changed while the policy was read"], "changed")
        text = content.decode("ascii", "replace")
    else:
        text = resolve_secret(reference, base) or ""
    try:
        root = bytes.fromhex(text.strip())
    except ValueError:
        root = b""
    if len(root) != 32:
        raise PolicyError([f"linkage root {reference!r} is not 64 hexadecimal digits"])
    return root


def _key_of(governed: Governed) -> tuple[str, ...]:
    """The declared key, where this user's rows keep it: columns shown as they are, or as pseudonyms; else ()."""
    key, masks_of = governed.spec.key, governed.masks
    kept = all(c in governed.columns and (c not in masks_of or masks_of[c].linkage is not None) for c in key)
    return key if kept and governed.mode in (Mode.masked, Mode.raw) else ()


def _rows_of(governed: Governed) -> int | None:
    """The published row count, in two significant digits; None for who sees no rows, or not all of them."""
    rows, decision = governed.spec.rows, governed.decision
    if rows is None or decision.filters or governed.mode not in (Mode.masked, Mode.raw):
        return None
    return round(rows, 2 - len(str(rows)))


def _settled(policy: _Policy, relation: str, fit: Fit, now: datetime) -> Settled:
    """A fit with what decides its answer now. Opening hours are no part of it: they say when it is told, not what."""
    department = policy.department
    grants = tuple(g.model_copy(update={"hours": ""}) for g in department.grants)
    alone, who = granted_alone(department.model_copy(update={"grants": grants}), fit), asker(department, fit)
    decision = decide(alone, who.sub, who.purpose, relation, now)
    terms = None if decision is None else repr(decision.terms)
    spec, view = department.relations[relation], sha256(policy.views.get(relation, ""))
    read = [spec.source, spec.table, {n: c.from_ for n, c in spec.columns.items()}, view]
    return Settled(**fit.model_dump(), under=sha256(canonical_json([terms, read])))


def _with_settled(policy: _Policy, now: datetime) -> Department:
    """The department with all of its fits settled."""
    relations = dict(policy.department.relations)
    for name, spec in relations.items():
        if spec.synthetic.fit is not None:
            fit = _settled(policy, name, spec.synthetic.fit, now)
            relations[name] = spec.model_copy(update={"synthetic": spec.synthetic.model_copy(update={"fit": fit})})
    return policy.department.model_copy(update={"relations": relations})


def _same_house(old: Department, new: Department) -> None:
    for name in ("department", "listen", "owner_listen", "state", "identity", "sources"):
        if getattr(old, name) != getattr(new, name):
            raise ValueError(f"a change of `{name}` takes effect at a restart only")
