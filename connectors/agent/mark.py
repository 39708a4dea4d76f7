"""Marks of the files beside the ledger: which file it is, and how far it has come.

A ledger cannot be cut or rewritten unseen; the files beside it can be deleted, or put back from a copy. What must
not be forgotten has a mark: a name of its own and a number that grows with every change. Records of the ledger tell
the marks (`books`), and at its start the agent holds each file against what was told last.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from catalog.ledger import read_back

__all__ = ["Mark", "Witness", "grow", "mark_of", "witnesses"]


@dataclass(frozen=True)
class Mark:
    """name: drawn when the file was made. number: of its changes."""

    name: str
    number: int

    @property
    def text(self) -> str:
        return f"{self.name}:{self.number}"

    @property
    def next(self) -> Mark:
        return Mark(self.name, self.number + 1)

    @classmethod
    def parse(cls, text: str) -> Mark:
        name, _, number = text.partition(":")
        return cls(name, int(number))


@dataclass(frozen=True)
class Witness:
    """What the ledger told last of a file, and when."""

    mark: Mark
    time: datetime

    def is_met(self, by: Mark) -> bool:
        """Whether a file is the one that was told of, and no older."""
        return by.name == self.mark.name and by.number >= self.mark.number


def mark_of(db: sqlite3.Connection) -> Mark:
    """The mark of a file, which is given one if it has none."""
    db.execute("CREATE TABLE IF NOT EXISTS mark (name TEXT, number INTEGER)")
    db.execute("INSERT INTO mark SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM mark)", (secrets.token_hex(8),))
    return Mark(*db.execute("SELECT name, number FROM mark").fetchone())


def grow(db: sqlite3.Connection) -> Mark:
    """The next mark; part of the transaction that changes the file."""
    return Mark(*db.execute("UPDATE mark SET number = number + 1 RETURNING name, number").fetchall()[0])


def witnesses(ledger: Path, books: Collection[str]) -> dict[str, Witness]:
    """What a ledger told last of each of these files, as far as it did. Raises LedgerError."""
    found: dict[str, Witness] = {}
    for record in read_back(ledger):
        for book, text in record.get("books", {}).items():
            found.setdefault(book, Witness(Mark.parse(text), datetime.fromisoformat(record["time"])))
        if set(books) <= found.keys():
            break
    return found
