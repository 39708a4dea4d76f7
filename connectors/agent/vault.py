"""The department's vault: which token stands for which value, per purpose. It never leaves the agent.

    vault = Vault(state / "vault.db", "health")
    vault.of("audit").tokens(["910007", ..])   the mask `token`
    untoken(vault, ledger, "1f0c..")           the owner's own command alone

A token is 128 random bits, made when a value is first shown and on disk before it is delivered: what an analyst
holds can always be traced by the owner, and by nobody else. The file holds raw values and has mode 0600, in the
agent's own state folder (0700): keep it as the silo itself is kept. Losing it makes every token meaningless.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from catalog.ledger import Ledger
from catalog.relation import Linkage

__all__ = ["Held", "PurposeVault", "Vault", "untoken"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, purpose TEXT NOT NULL, value TEXT NOT NULL, at TEXT NOT NULL, UNIQUE (purpose, value)
) WITHOUT ROWID
"""
_AT_ONCE = 500


@dataclass(frozen=True)
class Held:
    """What a token stands for. at: when it was made, UTC."""

    purpose: str
    value: str
    at: str


class Vault:
    """All purposes of one department, in one SQLite file. Safe for use from several threads."""

    def __init__(self, path: Path, department: str) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        self.department = department
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # The default journal and FULL: a token that was shown must survive a loss of power.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(_SCHEMA)

    def of(self, purpose: str) -> PurposeVault:
        return PurposeVault(self, purpose)

    def tokens(self, purpose: str, values: Iterable[str]) -> dict[str, str]:
        """Each value's token under a purpose. New ones are random, and on disk when this returns."""
        wanted = list(dict.fromkeys(values))
        with self._lock, closing(self._db.cursor()) as cursor:
            known = dict(_known(cursor, purpose, wanted))
            new = [(secrets.token_hex(16), purpose, v, _now()) for v in wanted if v not in known]
            if new:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    # Another process may have been faster with one of them: its token holds.
                    cursor.executemany("INSERT OR IGNORE INTO tokens VALUES (?, ?, ?, ?)", new)
                    known |= dict(_known(cursor, purpose, [v for _, _, v, _ in new]))
                    cursor.execute("COMMIT")
                except sqlite3.Error:
                    cursor.execute("ROLLBACK")
                    raise
        return known

    def held(self, token: str) -> Held | None:
        """What a token stands for; None if it was never given."""
        with self._lock, closing(self._db.cursor()) as cursor:
            cursor.execute("SELECT purpose, value, at FROM tokens WHERE token = ?", (token,))
            row = cursor.fetchone()
        return None if row is None else Held(*row)

    def close(self) -> None:
        with self._lock:
            self._db.close()


@dataclass(frozen=True)
class PurposeVault:
    """The tokens of one purpose, as masks see them."""

    vault: Vault
    purpose: str

    @property
    def linkage(self) -> Linkage:
        """Tokens join within their own department and purpose. No linkage group has an `@` in its name."""
        return Linkage(purpose=self.purpose, group=f"token@{self.vault.department}")

    def tokens(self, values: Iterable[str]) -> dict[str, str]:
        return self.vault.tokens(self.purpose, values)


def untoken(vault: Vault, ledger: Ledger, token: str) -> Held | None:
    """What a token stands for, recorded before it is told. Raises LedgerError: then nothing is told."""
    held = vault.held(token)
    ledger.append("untoken", {"token": token[:64], "purpose": held.purpose if held else "", "found": held is not None})
    return held


def _known(cursor: sqlite3.Cursor, purpose: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    found = iter(values)
    while part := list(islice(found, _AT_ONCE)):
        marks = ", ".join("?" * len(part))
        cursor.execute(f"SELECT value, token FROM tokens WHERE purpose = ? AND value IN ({marks})", (purpose, *part))
        yield from cursor


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
