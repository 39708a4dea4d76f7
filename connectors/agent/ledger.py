"""The department's ledger: who asked what, and what left. Append-only, hash-chained, signed.

One JSON line a record: {"r": record, "h": hash, "s": signature}. h_i = SHA-256(h_(i-1) | canonical(r_i)), with
64 zeros before the first; the signature is Ed25519 over "seq:hash". A record is on disk (fsync) before
anything that depends on it leaves the agent. It holds hashes of statements, never values of rows.

Kinds: start, stop, policy, pause, resume, refusal, begin, end. Other ledgers' heads ("witness") are recorded
and given, so that neither side can rewrite or drop alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from catalog import keys
from catalog.exchange import Head, canonical_json
from catalog.keys import Jwk, SigningKey

__all__ = ["GENESIS", "Ledger", "LedgerError", "LedgerReport", "read_ledger", "verify_ledger"]

GENESIS = "0" * 64


class LedgerError(Exception):
    """The ledger cannot be read or written; nothing may be answered."""


@dataclass(frozen=True)
class LedgerReport:
    """records: number of good ones. bad_seq: the first bad one, None if all is well; fault: what is wrong.

    unfinished: fragment ids that have a `begin` and no `end`: crashes.
    """

    records: int
    bad_seq: int | None
    fault: str
    unfinished: tuple[str, ...]

    @property
    def good(self) -> bool:
        return self.bad_seq is None


def record_hash(previous: str, record: Mapping[str, Any]) -> str:
    return hashlib.sha256(previous.encode() + b"|" + canonical_json(dict(record))).hexdigest()


def head_bytes(seq: int, digest: str) -> bytes:
    """What a head's signature covers."""
    return f"{seq}:{digest}".encode()


class Ledger:
    """One ledger file with one writer, which holds its lock. Safe for use from several threads.

    Two agents over one state folder would fork the chain, so the second does not open.
    """

    def __init__(self, path: str | Path, key: SigningKey) -> None:
        self._path = Path(path)
        self._key = key
        self._lock = threading.Lock()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = open(self._path, "ab")  # noqa: SIM115 - kept open for the agent's life
            self._head = self._take()
        except OSError as bad:
            raise LedgerError("the ledger cannot be opened") from bad

    def _take(self) -> Head:
        """Lock the file and find its end. A failure gives the file back, so that somebody else may try."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._recover()
        except BlockingIOError as bad:
            self._file.close()
            raise LedgerError("another process writes this ledger: stop it, or give this agent its own state") from bad
        except (OSError, LedgerError):
            self._file.close()
            raise

    def _recover(self) -> Head:
        """The last whole record. A line cut by a crash was never acknowledged to anyone: it is taken off."""
        if not self._path.exists():
            return Head(seq=0, hash=GENESIS)
        data = self._path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end != len(data):
            with open(self._path, "r+b") as file:
                file.truncate(end)
        lines = data[:end].splitlines()
        if not lines:
            return Head(seq=0, hash=GENESIS)
        try:
            last = orjson.loads(lines[-1])
            return Head(seq=last["r"]["seq"], hash=last["h"], signature=last["s"])
        except (ValueError, KeyError, TypeError) as bad:
            raise LedgerError("the ledger's last record cannot be read: verify it") from bad

    @property
    def head(self) -> Head:
        """The newest entry, signed."""
        with self._lock:
            return self._signed(self._head)

    def _signed(self, head: Head) -> Head:
        if head.signature:
            return head
        return Head(seq=head.seq, hash=head.hash, signature=self._key.sign(head_bytes(head.seq, head.hash)))

    def append(self, kind: str, fields: Mapping[str, Any], now: datetime | None = None) -> Head:
        """Write one record and wait until it is on disk. Returns its signed head. Raises LedgerError."""
        with self._lock:
            record = {
                **fields,
                "kind": kind,
                "seq": self._head.seq + 1,
                "prev": self._head.hash,
                "time": (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds"),
            }
            digest = record_hash(self._head.hash, record)
            head = self._signed(Head(seq=record["seq"], hash=digest))
            line = orjson.dumps({"r": record, "h": digest, "s": head.signature}, option=orjson.OPT_SORT_KEYS)
            try:
                self._file.write(line + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            except (OSError, ValueError) as bad:
                raise LedgerError("the ledger cannot be written") from bad
            self._head = head
            return head

    def records(self) -> Iterator[dict[str, Any]]:
        """All records, oldest first, each with its `hash`."""
        return read_ledger(self._path)

    def close(self) -> None:
        self._file.close()


def read_ledger(path: str | Path) -> Iterator[dict[str, Any]]:
    """Records of a ledger file, oldest first, each with its `hash`, unverified. Raises LedgerError."""
    try:
        with open(path, "rb") as file:
            for line in file:
                entry = orjson.loads(line)
                yield {**entry["r"], "hash": entry["h"]}
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise LedgerError("the ledger cannot be read") from bad


def verify_ledger(path: str | Path, public_key: Jwk, peer_heads: Iterable[Head] | None = None) -> LedgerReport:
    """Check chain, signatures, numbering and time order, and every head that others witnessed.

    peer_heads: heads of this ledger that other ledgers recorded. One that is not in the file names the
    first bad seq too: the end was cut, or history was rewritten. A forged head (bad signature) is ignored,
    so that a peer cannot invent a fault.
    """
    previous, count, last_time = GENESIS, 0, ""
    open_begins: dict[str, None] = {}
    hashes: dict[int, str] = {0: GENESIS}

    def report(bad: int | None, fault: str) -> LedgerReport:
        return LedgerReport(count, bad, fault, tuple(open_begins))

    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError:
        return report(1, "the file cannot be read")
    if lines and lines[-1] == b"":
        lines.pop()
    for seq, line in enumerate(lines, start=1):
        try:
            entry = orjson.loads(line)
            record, digest, signature = entry["r"], entry["h"], entry["s"]
            fault = _fault(record, digest, signature, seq, previous, last_time, public_key, entry)
        except (ValueError, KeyError, TypeError):
            return report(seq, "not a record")
        if fault:
            return report(seq, fault)
        previous, last_time, count = digest, record["time"], seq
        hashes[seq] = digest
        if record["kind"] == "begin":
            open_begins[record["fragment"]] = None
        elif record["kind"] == "end":
            open_begins.pop(record["fragment"], None)
    for head in sorted(peer_heads or (), key=lambda h: h.seq):
        if keys.verify(public_key, head_bytes(head.seq, head.hash), head.signature) and (
            hashes.get(head.seq) != head.hash
        ):
            return report(min(head.seq, count + 1), "differs from what a peer witnessed")
    return report(None, "")


def _fault(
    record: Mapping[str, Any],
    digest: str,
    signature: str,
    seq: int,
    previous: str,
    last_time: str,
    public_key: Jwk,
    entry: Mapping[str, Any],
) -> str:
    if set(entry) != {"r", "h", "s"}:
        return "not a record"
    if record["seq"] != seq:
        return f"numbered {record['seq']}"
    if record["prev"] != previous:
        return "does not follow its predecessor"
    if record_hash(previous, record) != digest:
        return "its content does not match its hash"
    if not keys.verify(public_key, head_bytes(seq, digest), signature):
        return "its signature is not the ledger's"
    if not isinstance(record["time"], str) or record["time"] < last_time:
        return "older than its predecessor"
    return ""
