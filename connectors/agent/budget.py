"""The cost shield: places and their fair queue, opening hours, the owner's breaker, daily budgets."""

from __future__ import annotations

import asyncio
import hmac
import os
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from catalog.errors import DepartmentError, Outcome
from catalog.policy import Limits, opening
from catalog.policy.models import Budgets
from connectors.agent.mark import Witness, grow, mark_of

__all__ = ["Asked", "Breaker", "Budget", "FairQueue", "check_hours", "subject_name"]


class FairQueue:
    """`places` fragments run at once; others wait, users in turn, each user's own in order of arrival."""

    def __init__(self, places: int, length: int, who: str) -> None:
        self._free = places
        self._length = length
        self._who = who
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        return sum(len(q) for q in self._waiting.values())

    def position(self, user: str) -> int:
        """The number of turns until one more of this user would run; 1 is the next."""
        own = len(self._waiting.get(user, ()))
        turns, later = 1 + own, False
        for other, theirs in self._waiting.items():
            if other == user:
                later = True
            else:
                turns += min(len(theirs), own if later else own + 1)
        return turns

    @asynccontextmanager
    async def place(self, user: str) -> AsyncIterator[None]:
        """Hold one place. Raises DepartmentError(BUSY) at once if the queue is full."""
        await self.acquire(user)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, user: str) -> None:
        """Wait for a place; a caller that is cancelled while it waits gives its turn on. Raises BUSY."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        if self.waiting >= self._length:
            raise DepartmentError(
                f"{self._who} has no room for another query: {self.waiting} wait already.", Outcome.BUSY,
                who=self._who, rule="queue", retry_after=2.0,
                hint=f"Try again in a moment. Yours would have been number {self.position(user)} of those that wait.",
            )  # fmt: skip
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            else:
                self._forget(user, turn)
            raise

    def release(self) -> None:
        """Give the place to the next user in turn, or free it."""
        while self._waiting:
            user, turns = next(iter(self._waiting.items()))
            turn = turns.popleft()
            # The user goes to the back of the round: that is what makes the queue fair.
            del self._waiting[user]
            if turns:
                self._waiting[user] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, user: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(user)
        if turns and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[user]


def check_hours(limits: Limits, now: datetime, who: str) -> None:
    """Raises DepartmentError(CLOSED) outside the opening hours, which are local."""
    if not limits.hours:
        return
    start, end = opening(limits.hours)
    local = now.astimezone(ZoneInfo(limits.timezone))
    if not start <= local.time() < end:
        raise DepartmentError(
            f"{who} answers from {limits.hours} ({limits.timezone}).", Outcome.CLOSED, who=who,
            rule="opening hours", hint="Ask again during these hours.",
        )  # fmt: skip


class Breaker:
    """The owner's switch. It is a file, so that it works by hand, by the owner API, and over a restart."""

    def __init__(self, path: Path, who: str) -> None:
        self._path = path
        self._who = who

    @property
    def paused(self) -> bool:
        try:
            os.stat(self._path)
        except FileNotFoundError:
            return False
        return True

    def pause(self) -> None:
        self._path.touch()

    def resume(self) -> None:
        self._path.unlink(missing_ok=True)

    def closed(self) -> DepartmentError:
        return DepartmentError(
            f"{self._who} has switched its agent off.", Outcome.CLOSED, who=self._who, rule="breaker",
            hint="Its owner decides when it answers again.",
        )  # fmt: skip

    def check(self) -> None:
        """Raises DepartmentError(CLOSED) while paused."""
        if self.paused:
            raise self.closed()


def subject_name(key: bytes, relation: str, value: str) -> str:
    """A subject as ledger and budgets know it: a keyed HMAC, which only the owner of the key can look for."""
    return hmac.new(key, f"subject|{relation}|{value}".encode(), "sha256").hexdigest()


@dataclass(frozen=True)
class Asked:
    """Whose and which budgets a question about sums is charged to."""

    user: str
    purpose: str
    relation: str

    def accounts(self) -> dict[str, str]:
        return {"user": self.user, "purpose": self.purpose, "relation": self.relation, "overall": ""}


class Budget:
    """What was asked today, kept in a file, so that a restart renews nothing.

    verify: claims, per user and per subject over all users; subjects only as keyed HMACs. All claims of a batch are
    charged together, before any look-up, or none is. aggregate: questions, cells and literals in predicates,
    per user, purpose, relation and overall; a question is charged before it is run, so that refusals count, and its
    cells before they leave.

    mark: of the file as it is now. lost: whether the ledger tells of another file, or of a later state of this one;
    then the budgets of the day of which it tells are used up.
    """

    def __init__(self, path: Path, key: bytes, who: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS claims (day TEXT, relation TEXT, kind TEXT, who TEXT, number INTEGER, "
            "PRIMARY KEY (day, relation, kind, who)) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS sums (day TEXT, kind TEXT, who TEXT, queries INTEGER, cells INTEGER, "
            "predicates INTEGER, PRIMARY KEY (day, kind, who)) WITHOUT ROWID"
        )
        self._key = key
        self._who = who
        self._lock = threading.Lock()
        self.mark = mark_of(self._db)
        self._lost: datetime | None = None

    @property
    def lost(self) -> bool:
        return self._lost is not None

    def expect(self, witness: Witness | None) -> None:
        """Hold the file against what the ledger told of it last."""
        self._lost = None if witness is None or witness.is_met(self.mark) else witness.time

    def subject(self, relation: str, value: str) -> str:
        """The name under which a subject is counted and recorded."""
        return subject_name(self._key, relation, value)

    def charge(
        self,
        relation: str,
        user: str,
        claims: int,
        subjects: Sequence[str],
        per_day: int,
        per_subject: int,
        now: datetime,
    ) -> None:
        """Charge a batch: `claims` to the user, one to each of `subjects` (as `subject()` names them).

        The user's are counted for this relation, a subject's wherever it bears the same name.
        now: local time of the department. Raises DepartmentError(BUDGET), and then nothing is charged.
        """
        day = now.date().isoformat()
        with self._changing("checks", now):
            self._db.execute("DELETE FROM claims WHERE day < ?", (day,))
            # Which of the two was used up is not said: a subject's count would tell of other users.
            if self._number(day, relation, "user", user) + claims > per_day or any(
                self._number(day, "", "subject", s) + 1 > per_subject for s in subjects
            ):
                raise self._used_up("checks", now)
            self._add(day, relation, "user", user, claims)
            for s in subjects:
                self._add(day, "", "subject", s, 1)

    def charge_sums(self, asked: Asked, predicates: int, budgets: Budgets, now: datetime) -> None:
        """Charge one question with so many literals. now: local. Raises DepartmentError(BUDGET)."""
        day = now.date().isoformat()
        with self._changing("sums", now):
            self._db.execute("DELETE FROM sums WHERE day < ?", (day,))
            for kind, who in asked.accounts().items():
                allowed = getattr(budgets, kind)
                used = self._db.execute(
                    "SELECT queries, cells, predicates FROM sums WHERE day = ? AND kind = ? AND who = ?",
                    (day, kind, who),
                ).fetchone() or (0, 0, 0)
                # Whose budget it was is not said: it would tell of other users.
                if used[0] >= allowed.queries or used[1] >= allowed.cells or used[2] + predicates > allowed.predicates:
                    raise self._used_up("sums", now)
            for kind, who in asked.accounts().items():
                self._db.execute(
                    "INSERT INTO sums VALUES (?, ?, ?, 1, 0, ?) ON CONFLICT DO UPDATE SET queries = queries + 1, "
                    "predicates = predicates + excluded.predicates",
                    (day, kind, who, predicates),
                )

    def charge_cells(self, asked: Asked, cells: int, budgets: Budgets, now: datetime) -> None:
        """Charge the cells of an answer before it leaves. Raises DepartmentError(BUDGET), and then none is charged."""
        day = now.date().isoformat()
        with self._changing("sums", now):
            for kind, who in asked.accounts().items():
                self._db.execute(
                    "UPDATE sums SET cells = cells + ? WHERE day = ? AND kind = ? AND who = ?", (cells, day, kind, who)
                )
                used = self._db.execute(
                    "SELECT cells FROM sums WHERE day = ? AND kind = ? AND who = ?", (day, kind, who)
                ).fetchone()
                if used is not None and used[0] > getattr(budgets, kind).cells:
                    raise self._used_up("sums", now)

    @contextmanager
    def _changing(self, what: str, now: datetime) -> Iterator[None]:
        """One transaction, and the next mark: all of it, or nothing. Raises BUDGET on a day whose budgets are lost."""
        with self._lock:
            if self._lost is not None and now.date() <= self._lost.astimezone(now.tzinfo).date():
                raise self._used_up(what, now)
            if self._lost is not None:
                self._lost, self.mark = None, mark_of(self._db)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                mark = grow(self._db)
                if mark != self.mark.next:  # somebody wrote another file over it while it was open
                    self._lost = now
                    raise self._used_up(what, now)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            self.mark = mark

    def _number(self, day: str, relation: str, kind: str, who: str) -> int:
        row = self._db.execute(
            "SELECT number FROM claims WHERE day = ? AND relation = ? AND kind = ? AND who = ?",
            (day, relation, kind, who),
        ).fetchone()
        return int(row[0]) if row else 0

    def _add(self, day: str, relation: str, kind: str, who: str, number: int) -> None:
        self._db.execute(
            "INSERT INTO claims VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
            (day, relation, kind, who, number),
        )

    def _used_up(self, what: str, now: datetime) -> DepartmentError:
        renews = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return DepartmentError(
            f"The budget of {what} for today is used up.", Outcome.BUDGET, who=self._who,
            rule="verify budget" if what == "checks" else f"budget of {what}",
            hint=f"It renews at {renews.isoformat(timespec='minutes')}.",
            retry_after=float(int((renews - now).total_seconds())),
        )  # fmt: skip

    def close(self) -> None:
        self._db.close()
