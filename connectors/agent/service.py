"""The agent of one department: its policy, sources, keys, ledger and running fragments, without HTTP.

Agent.from_file(path)     open everything that department.yaml names
agent.relations(p)        what one principal may see
agent.start(p, fragment)  a FragmentRun, registered so that it can be stopped
agent.pause(), resume()   the owner's breaker
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import structlog

from catalog import duck, keys, masks
from catalog.errors import CityError, DepartmentError, Outcome
from catalog.exchange import Fragment, Head
from catalog.identity import Principal, ReplayStore, SqliteReplayStore, TokenVerifier, agent_audience
from catalog.keys import Jwk, SigningKey
from catalog.masks.pseudonym import derive_key
from catalog.policy import Department, PolicyError, digest, load, read_hierarchy
from catalog.relation import Column, Mode, Relation, RelationList
from connectors.agent.authorise import Access, Governed
from connectors.agent.budget import Breaker, VerifyBudget, check_hours
from connectors.agent.disclosure import Guard
from connectors.agent.execute import Engine, Stop, connect
from connectors.agent.fragment import FragmentRun, Services, grant_ended, shown
from connectors.agent.ledger import Ledger
from connectors.base import Source, SourceError
from connectors.config import resolve_secret
from connectors.sources import open_source, parse_source

__all__ = ["Agent", "Clock"]

Clock = Callable[[], datetime]
_log = structlog.get_logger("atoll.agent")


@dataclass(frozen=True)
class _Policy:
    """One valid policy with what was read beside it."""

    department: Department
    version: str
    views: Mapping[str, str]
    roots: Mapping[str, bytes] = field(repr=False)
    hierarchies: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def context(self, purpose: str) -> masks.Context:
        """Mask context for one purpose: its pseudonyms join with nothing of another."""

        def linkage(group: str) -> masks.LinkageKey:
            spec = self.department.linkage_groups[group]
            key = derive_key(self.roots[group], purpose, group, spec.epoch)
            return masks.LinkageKey(purpose, group, spec.epoch, key, spec.normaliser)

        return masks.Context(linkage, self.hierarchies)


class Agent:
    """One department's agent. Thread-safe. `close()` ends it with a `stop` record."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or (lambda: datetime.now(UTC))
        self._lock = threading.RLock()
        self._stamp: tuple[int, int] | None = None
        self._policy: _Policy | None = None
        self._fault = ""
        self._running: dict[str, tuple[FragmentRun, Stop]] = {}
        self._sources: dict[str, Source] = {}
        self._source_configs: dict[str, Any] = {}
        self.started = self._clock()
        policy = self._read()
        department = policy.department
        self.name = department.department
        state = self._state = (path.parent / department.state).resolve()
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        state.chmod(0o700)  # somebody else may have made it
        self.receipt_key: SigningKey = keys.load_or_create(state / "receipt.key")
        self.ledger = Ledger(state / "ledger.jsonl", keys.load_or_create(state / "ledger.key"))
        secret = _secret(state / "hmac.key")
        self._secret = secret
        self.replay: ReplayStore = SqliteReplayStore(state / "replay.db")
        self.budget = VerifyBudget(state / "budget.db", secret, self.name)
        self.guard = Guard(state / "guard.db", self.name)
        self.breaker = Breaker(state / "PAUSED", self.name)
        self._engines = _Engines(state / "spill", department.limits.memory_mb)
        self._open_sources(department)
        self._policy = policy
        self.ledger.append("start", {"policy": policy.version, "department": self.name})

    @classmethod
    def from_file(cls, path: str | Path, clock: Clock | None = None) -> Agent:
        """Open an agent. Raises PolicyError, SourceError, KeyFileError, LedgerError, ValueError, OSError.

        clock: the time for decisions, for tests; the system's by default.
        """
        return cls(Path(path).resolve(), clock)

    # ---- policy --------------------------------------------------------------------------------------

    def _read(self) -> _Policy:
        seen = self._path.stat()
        self._stamp = (seen.st_mtime_ns, seen.st_size)
        department = load(self._path)
        base = self._path.parent
        views = {n: _view_text(base, department, n) for n, s in department.relations.items() if s.view}
        roots = {n: _root(g.root, base) for n, g in department.linkage_groups.items()}
        hierarchies = {n: read_hierarchy(base / f) for n, f in department.hierarchies.items()}
        return _Policy(department, digest(department), views, roots, hierarchies)

    def reload(self) -> None:
        """Take a changed department.yaml. An invalid or vanished one closes the agent until it is mended.

        The old policy does not stay in force: the change may have been a revocation. Sources, identity,
        addresses and state folder are fixed at the start: a change of those needs a restart.
        """
        with self._lock:
            try:
                seen = self._path.stat()
            except OSError as bad:
                self._refuse_policy(bad)
                return
            if (seen.st_mtime_ns, seen.st_size) == self._stamp or self._policy is None:
                return
            try:
                fresh = self._read()
                _same_house(self._policy.department, fresh.department)
            except (PolicyError, ValueError, OSError) as bad:
                self._refuse_policy(bad)
                return
            self._fault = ""
            if fresh.version == self._policy.version:
                return
            self.ledger.append("policy", {"old": self._policy.version, "new": fresh.version})
            self._policy = fresh
            self._stop_revoked()

    def _refuse_policy(self, fault: Exception) -> None:
        if self._fault == str(fault):
            return
        self._fault = str(fault)
        _log.error("new policy refused, nothing is answered until it is mended", fault=self._fault)
        self.stop_all()

    def _stop_revoked(self) -> None:
        for run, stop in list(self._running.values()):
            if not run.still_granted(self.access(run.principal)):
                stop(grant_ended(self.name))

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
        path = (self._path.parent / identity.jwks.removeprefix("file:")).resolve()
        return TokenVerifier(identity.issuer, audience, path, identity.leeway)

    # ---- asking --------------------------------------------------------------------------------------

    def access(self, principal: Principal) -> Access:
        policy = self.policy
        return Access(policy.department, policy.context(principal.purpose), principal, self._clock())

    def check_open(self) -> None:
        """Raises DepartmentError(CLOSED) while paused, outside opening hours or without a valid policy."""
        self.breaker.check()
        if self._fault:
            raise DepartmentError(
                "The department's policy is being mended; nothing is answered meanwhile.",
                Outcome.CLOSED, who=self.name, rule="policy", hint="Ask again later, or ask its owner.",
            )  # fmt: skip
        check_hours(self.department.limits, self._clock(), self.name)

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

    def _shown(self, governed: Governed, purpose: str) -> Relation:
        decision, spec = governed.decision, governed.spec
        columns = []
        for name, kind in governed.columns.items():
            column, mask = spec.columns[name], governed.masks.get(name)
            columns.append(Column(
                name=name, type=kind, comment=column.comment, unit=column.unit, concept=column.concept,
                mask=shown(mask.kind, mask.text) if mask else "", linkage=mask.linkage if mask else None,
            ))  # fmt: skip
        source = self._sources[spec.source]
        return Relation(
            catalog=self.name, name=governed.name, columns=tuple(columns), mode=decision.mode, purpose=purpose,
            comment=spec.comment, filtered=bool(decision.filters), min_group=decision.min_group,
            entity=decision.entity, dimensions=decision.dimensions, measures=decision.measures,
            verify_keys=(decision.key,) if decision.key else (),
            rows=spec.rows if decision.mode in (Mode.masked, Mode.raw) else None,
            source_kind=source.kind, vintage=source.vintage(),
        )  # fmt: skip

    def start(self, principal: Principal, fragment: Fragment) -> FragmentRun:
        """A run of one fragment, not yet prepared; `finish(run)` must follow. Raises AUTH for a used id."""
        stop = Stop()
        policy = self.policy
        services = Services(
            policy.department, policy.version, self._sources, lambda name: policy.views.get(name, ""),
            self._engines, self.ledger, self.budget, self.guard, self.receipt_key, self._secret,
        )  # fmt: skip
        run = FragmentRun(services, self.access(principal), fragment, stop)
        with self._lock:
            if fragment.fragment_id in self._running:
                raise DepartmentError(
                    "A fragment of this id is running already.", Outcome.BUSY, who=self.name, rule="fragment id"
                )
            self._running[fragment.fragment_id] = (run, stop)
        return run

    def finish(self, run: FragmentRun) -> None:
        """Forget a run and free what it holds."""
        run.abandon()
        with self._lock:
            self._running.pop(run.fragment.fragment_id, None)

    def cancel(self, principal: Principal, fragment_id: str, reason: CityError) -> bool:
        """Stop a running fragment of the same principal; False if there is none."""
        with self._lock:
            found = self._running.get(fragment_id)
        if found is None or found[0].principal.sub != principal.sub:
            return False
        found[1](reason)
        return True

    # ---- the owner -----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Answer nothing any more and stop what is running."""
        self.breaker.pause()
        self.ledger.append("pause", {"running": len(self._running)})
        self.stop_all()

    def resume(self) -> None:
        self.breaker.resume()
        self.ledger.append("resume", {})

    def stop_all(self) -> None:
        """Stop every running fragment as CLOSED."""
        with self._lock:
            found = list(self._running.values())
        for _, stop in found:
            stop(self.breaker.closed())

    def refresh(self) -> None:
        """Bring the snapshots of all sources up to date. Raises SourceError."""
        for source in self._sources.values():
            source.refresh()

    def status(self) -> dict[str, Any]:
        """For the owner: state, policy, running fragments, sources."""
        with self._lock:
            running = [
                {"fragment": r.fragment.fragment_id, "sub": r.principal.sub, "purpose": r.principal.purpose}
                for r, _ in self._running.values()
            ]
        return {
            "department": self.name, "paused": self.breaker.paused, "policy": self.policy.version,
            "policy_fault": self._fault, "running": running, "started": self.started.isoformat(),
            "ledger": self.ledger.head.model_dump(mode="json"),
            "sources": {n: _health(s) for n, s in self._sources.items()},
            "vintages": {n: v.isoformat() for n, s in self._sources.items() if (v := s.vintage()) is not None},
        }  # fmt: skip

    @property
    def running(self) -> int:
        return len(self._running)

    def head(self) -> Head:
        return self.ledger.head

    def receipt_jwk(self) -> Jwk:
        return self.receipt_key.public_jwk

    def close(self) -> None:
        """Stop all work and close everything. Raises LedgerError, after all the rest is closed."""
        self.stop_all()
        try:
            self.ledger.append("stop", {})
        finally:
            for source in self._sources.values():
                source.close()
            self._engines.close()
            self.budget.close()
            self.guard.close()
            self.ledger.close()


class _Engines:
    """Warm private DuckDB instances: making one takes 20 ms, so the next ones are made ahead.

    One more instance, without any table, runs masks; each fragment has a connection of its own to it.
    """

    def __init__(self, spill: Path, memory_mb: int, warm: int = 3) -> None:
        self._spill = spill
        self._memory_mb = memory_mb
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._lock = threading.Lock()
        # What a crash left behind: spilled parts of answers that nobody waits for any more.
        shutil.rmtree(spill, ignore_errors=True)
        self._masks, self._masks_folder = self._make()
        duck.lock(self._masks)
        self._ready = [self._pool.submit(self._make) for _ in range(warm)]

    def _make(self) -> tuple[duckdb.DuckDBPyConnection, Path]:
        self._spill.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(dir=self._spill))
        return connect(self._memory_mb, folder), folder

    def private(self) -> Engine:
        """An instance that nobody used before. The taker closes it."""
        with self._lock:
            waiting = self._ready.pop(0)
            self._ready.append(self._pool.submit(self._make))
        connection, folder = waiting.result()
        return Engine(connection, lambda c: self._retire(c, folder))

    def masking(self) -> Engine:
        with self._lock:
            return Engine(self._masks.cursor())

    def _retire(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        try:
            self._pool.submit(_end, connection, folder)
        except RuntimeError:  # the pool was shut down: the agent is closing
            _end(connection, folder)

    def close(self) -> None:
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


def _view_text(base: Path, department: Department, name: str) -> str:
    """The owner's SELECT of a view: `views/<view>.<source kind>.sql`, or `views/<view>.sql`."""
    spec = department.relations[name]
    kind = str(department.sources[spec.source].get("kind", ""))
    for file in (base / "views" / f"{spec.view}.{kind}.sql", base / "views" / f"{spec.view}.sql"):
        if file.is_file():
            return file.read_text(encoding="utf-8").strip().rstrip(";")
    raise PolicyError([f"relations.{name}: no file views/{spec.view}.{kind}.sql or views/{spec.view}.sql"])


def _root(reference: str, base: Path) -> bytes:
    """A linkage group's root: 32 bytes, in hex, by reference."""
    text = resolve_secret(reference, base) or ""
    try:
        root = bytes.fromhex(text)
    except ValueError:
        root = b""
    if len(root) != 32:
        raise PolicyError([f"linkage root {reference!r} is not 64 hexadecimal digits"])
    return root


def _same_house(old: Department, new: Department) -> None:
    for name in ("department", "listen", "owner_listen", "state", "identity", "sources"):
        if getattr(old, name) != getattr(new, name):
            raise ValueError(f"a change of `{name}` takes effect at a restart only")


def _secret(path: Path) -> bytes:
    """32 random bytes, made once, readable by the agent's user alone."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()
