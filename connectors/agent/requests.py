"""Applications for access: kept by the department they are for, and decided by its owner alone.

    requests = Requests(state / "requests.db", "water")
    requests.file(principal.sub, principal.purpose, asked, record)    a new one, on record before it is kept
    requests.decide("1f0c9a2e", Decided(..), record)                  the owner's word, once
    standing(row, department, now)                                    how it stands by the policy in force

What is kept is bounded: so many that wait, of one user and in all; decided ones go when newer ones come. Nothing here
gives access: the policy does.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from catalog.access import AccessRequest, Application
from catalog.errors import CityError, DepartmentError, Outcome, UserError
from catalog.policy import Department, instant

__all__ = ["DECISIONS", "Decided", "Requests", "Row", "grant_name", "standing"]

WAITING_OF_ONE = 10
WAITING = 1_000
KEPT = 5_000
SHOWN = 100
DECISIONS = ("approved", "declined")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, at TEXT NOT NULL, sub TEXT NOT NULL, purpose TEXT NOT NULL, relation TEXT NOT NULL,
    columns TEXT NOT NULL, reason TEXT NOT NULL, until TEXT NOT NULL, project TEXT NOT NULL,
    state TEXT NOT NULL, note TEXT NOT NULL, decided_at TEXT NOT NULL, decided_by TEXT NOT NULL
)
"""
Record = Callable[[str, Mapping[str, Any]], object]
"""Writes one record of the department's ledger: kind, fields."""


@dataclass(frozen=True)
class Row:
    """One application as it is kept. state: pending, approved, declined. at, decided_at: UTC."""

    id: str
    at: str
    sub: str
    purpose: str
    relation: str
    columns: tuple[str, ...]
    reason: str
    until: str
    project: str
    state: str
    note: str
    decided_at: str
    decided_by: str


@dataclass(frozen=True)
class Decided:
    """The owner's word. decision: of `DECISIONS`. by: who decided. note: shown to the applicant."""

    decision: str
    by: str
    note: str = ""


class Requests:
    """One department's applications, in one SQLite file (0600). Safe for use from threads and processes."""

    def __init__(self, path: Path, who: str) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        self._who = who
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
        self._db.execute(_SCHEMA)

    def file(self, sub: str, purpose: str, asked: AccessRequest, record: Record) -> Row:
        """Keep an application. record: called before it is kept; what it raises, nothing is kept of.

        Raises UserError for one that waits already, DepartmentError(BUDGET) for one too many.
        """
        row = Row(
            secrets.token_hex(4), _now(), sub, purpose, asked.relation, asked.columns, asked.reason,
            asked.until.isoformat() if asked.until else "", asked.project, "pending", "", "", "",
        )  # fmt: skip
        with self._changing():
            waiting = self._rows("state = 'pending'", ())
            mine = [w for w in waiting if w.sub == sub]
            same = next((w for w in mine if (w.relation, w.purpose) == (row.relation, purpose)), None)
            if same is not None:
                raise UserError(
                    f"You have asked for that already: request {same.id} waits.", who=self._who, rule="open requests",
                    hint="`atoll request --mine` shows how it stands.",
                )  # fmt: skip
            if len(mine) >= WAITING_OF_ONE or len(waiting) >= WAITING:
                raise self._too_many()
            record("request", _facts(row))
            values = (*row.__dict__.values(),)
            self._db.execute(
                f"INSERT INTO requests VALUES ({', '.join('?' * len(values))})",
                tuple(" ".join(v) if isinstance(v, tuple) else v for v in values),
            )
            self._db.execute(
                "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE state != 'pending' "
                "ORDER BY decided_at DESC LIMIT -1 OFFSET ?)",
                (KEPT,),
            )
        return row

    def _too_many(self) -> CityError:
        return DepartmentError(
            "Too many requests wait for an answer.", Outcome.BUDGET, who=self._who, rule="open requests",
            hint=f"One user has at most {WAITING_OF_ONE} that wait; ask again when the owner has answered some.",
        )  # fmt: skip

    def of(self, sub: str) -> list[Row]:
        """One user's newest applications, newest first."""
        with self._lock:
            return self._rows("sub = ?", (sub,))[:SHOWN]

    def all(self) -> list[Row]:
        """Everybody's, newest first: for the owner."""
        with self._lock:
            return self._rows("true", ())

    def find(self, id_: str) -> Row:
        """Raises UserError if there is none of this id."""
        with self._lock:
            return self._one(id_)

    def _one(self, id_: str) -> Row:
        found = self._rows("id = ?", (id_,))
        if not found:
            raise UserError(
                f"There is no request {id_}.", Outcome.NOT_AVAILABLE, who=self._who, rule="requests",
                hint="`atoll grants` lists them.",
            )  # fmt: skip
        return found[0]

    def decide(self, id_: str, decided: Decided, record: Record, granted: bool = False) -> Row:
        """Note the owner's word, on record first. Raises UserError for one that is decided, or not there.

        granted: the policy in force has its grant. An approval that is not in it yet can still be taken back.
        """
        assert decided.decision in DECISIONS, decided.decision
        with self._changing():
            row = self._one(id_)
            is_open = row.state == "pending" or (row.state == "approved" != decided.decision and not granted)
            if not is_open:
                raise UserError(
                    f"Request {id_} was {row.state} on {row.decided_at[:10]}.", who=self._who, rule="requests",
                    hint="Change the grant itself in department.yaml, or take it out.",
                )  # fmt: skip
            facts = {"id": id_, "decision": decided.decision, "by": decided.by, "sub": row.sub}
            record("request_decided", facts | {"relation": row.relation, "purpose": row.purpose})
            self._db.execute(
                "UPDATE requests SET state = ?, note = ?, decided_at = ?, decided_by = ? WHERE id = ?",
                (decided.decision, decided.note, _now(), decided.by, id_),
            )
            return self._one(id_)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, where: str, values: Sequence[str]) -> list[Row]:
        found = self._db.execute(f"SELECT * FROM requests WHERE {where} ORDER BY at DESC, id", values).fetchall()
        return [_row(row) for row in found]

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _row(values: Sequence[str]) -> Row:
    found: dict[str, Any] = dict(zip(Row.__dataclass_fields__, values, strict=True))
    return Row(**{**found, "columns": tuple(found["columns"].split())})


def grant_name(id_: str) -> str:
    """The id of the grant that answers an application."""
    return f"request-{id_}"


def standing(row: Row, department: Department, now: datetime) -> Application:
    """How an application stands by the policy in force: what was approved counts once it is there."""
    grant = next((g for g in department.grants if g.id == grant_name(row.id)), None)
    state, ends = row.state, ""
    if row.state == "approved" and grant is not None:
        zone = ZoneInfo(department.limits.timezone)
        last = min(department.ends(grant), key=lambda end: instant(end, zone, True), default=None)
        ends = "" if last is None else last.isoformat()
        state = "ended" if last is not None and now >= instant(last, zone, True) else "granted"
    return Application(
        id=row.id, relation=row.relation, purpose=row.purpose, reason=row.reason, columns=row.columns,
        until=row.until, project=row.project, at=row.at, state=state, ends=ends, note=row.note,
        grant=grant.id if grant is not None and state in ("granted", "ended") else "",
    )  # fmt: skip


def _facts(row: Row) -> dict[str, Any]:
    return {
        "id": row.id, "sub": row.sub, "purpose": row.purpose, "relation": row.relation, "columns": list(row.columns),
        "until": row.until, "project": row.project,
    }  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
