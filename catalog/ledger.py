"""The hash-chained ledger that both sides of the trust line keep: who asked what, and what left.

One JSON line a record: {"h": hash, "r": record, "s": signature}, append-only. h_i = SHA-256(h_(i-1) | canonical(r_i)),
with 64 zeros before the first; the signature is Ed25519 over "seq:hash". A record is on disk (fsync) before
anything that depends on it leaves the house. It holds hashes of statements, never values of rows.

Kinds at an agent: start, stop, policy, policy_refused, pause, resume, gateways, look, untoken, refusal, refusals,
request, request_decided, new_history, begin, end. At a gateway: start, stop, begin, end, refusal, request. Each side
records the other's newest head (`witness` in an agent's records, `receipts` in a gateway's), so that neither can
rewrite or drop its own history alone: `witnessed` reads them out again.

Time never runs backwards in a ledger: while the clock lags behind the last record, a record repeats that one's time
and says in `clock` what the clock said. Memory does not grow with the file: opening reads its tail, reading and
verifying go line by line, and heads that others kept are sorted in a file of their own.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import itertools
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from catalog.exchange import Head, canonical_json
from catalog.files import sync_folder
from catalog.keys import Jwk, KeyFileError, thumbprint

__all__ = [
    "GENESIS",
    "Ledger",
    "LedgerError",
    "LedgerReport",
    "head_bytes",
    "read_back",
    "read_last",
    "read_ledger",
    "record_hash",
    "verify_ledger",
    "witnessed",
]

GENESIS = "0" * 64
TAIL = 1 << 16
MAX_LINE = 1 << 26
# The length of the file is all of its metadata that matters, and fdatasync writes that too.
_sync = getattr(os, "fdatasync", os.fsync)


class LedgerError(Exception):
    """The ledger cannot be read or written; nothing may be answered."""


@dataclass(frozen=True)
class LedgerReport:
    """records: number of good ones. bad_seq: the first bad one, None if all is well; fault: what is wrong.

    unfinished: fragments (statements, at a gateway) that have a `begin` and no `end`: crashes.
    witnessed: heads of this ledger that others kept and that were found in it. foreign: heads that no key of this
    ledger signed: another ledger's, forged, or of a key that is kept from the verifier. They prove nothing.
    """

    records: int
    bad_seq: int | None
    fault: str
    unfinished: tuple[str, ...]
    witnessed: int = 0
    foreign: int = 0

    @property
    def good(self) -> bool:
        return self.bad_seq is None


def record_hash(previous: str, record: Mapping[str, Any]) -> str:
    return hashlib.sha256(previous.encode() + b"|" + canonical_json(dict(record))).hexdigest()


def head_bytes(seq: int, digest: str) -> bytes:
    """What a head's signature covers."""
    return f"{seq}:{digest}".encode()


def _line(record: Mapping[str, Any], digest: str, signature: str) -> bytes:
    """The one text of an entry: a second spelling of the same entry is a change like any other."""
    return orjson.dumps({"r": record, "h": digest, "s": signature}, option=orjson.OPT_SORT_KEYS) + b"\n"


class Signer(Protocol):
    """What signs heads: a key, or a ring of keys of which the newest in force signs."""

    def sign(self, data: bytes) -> str: ...


class Ledger:
    """One ledger file with one writer, which holds its lock. Safe for use from several threads.

    Two writers over one state folder would fork the chain, so the second does not open.
    """

    def __init__(self, path: str | Path, key: Signer) -> None:
        self._path = Path(path)
        self._key = key
        self._lock = threading.Lock()
        self._broken = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = open(handle, "ab")  # noqa: SIM115 - kept open for the writer's life
            self._head, self._time = self._take()
        except OSError as bad:
            raise LedgerError("the ledger cannot be opened") from bad

    def _take(self) -> tuple[Head, str]:
        """Lock the file and find its end. A failure gives the file back, so that somebody else may try."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(self._file.fileno(), 0o600)  # a release before this one left it open to others
            sync_folder(self._path.parent)
            return self._recover()
        except BlockingIOError as bad:
            self._file.close()
            raise LedgerError("another process writes this ledger: stop it, or give this one its own state") from bad
        except (OSError, LedgerError):
            self._file.close()
            raise

    def _recover(self) -> tuple[Head, str]:
        """Head and time of the last whole record. A line cut by a crash is taken off: nobody was told of it."""
        with open(self._path, "r+b") as file:
            last, end = _last_line(file)
            file.seek(0, os.SEEK_END)
            if file.tell() != end:
                file.truncate(end)
        if not last:
            return Head(seq=0, hash=GENESIS), ""
        try:
            return _head_of(last), str(orjson.loads(last)["r"]["time"])
        except (ValueError, KeyError, TypeError) as bad:
            raise LedgerError("the ledger's last record cannot be read: verify it") from bad

    @property
    def path(self) -> Path:
        return self._path

    @property
    def head(self) -> Head:
        """The newest entry, signed. Raises LedgerError if there is no key to sign it with."""
        with self._lock:
            return self._signed(self._head)

    def _signed(self, head: Head) -> Head:
        if head.signature:
            return head
        try:
            signature = self._key.sign(head_bytes(head.seq, head.hash))
        except KeyFileError as bad:
            raise LedgerError(f"the ledger cannot be signed: {bad}") from bad
        return Head(seq=head.seq, hash=head.hash, signature=signature)

    def append(self, kind: str, fields: Mapping[str, Any], now: datetime | None = None) -> Head:
        """Write one record and wait until it is on disk. Returns its signed head. Raises LedgerError."""
        with self._lock:
            clock = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")
            record = {
                **fields,
                **({"clock": clock} if clock < self._time else {}),
                "kind": kind,
                "seq": self._head.seq + 1,
                "prev": self._head.hash,
                "time": max(clock, self._time),
            }
            digest = record_hash(self._head.hash, record)
            head = self._signed(Head(seq=record["seq"], hash=digest))
            self._write(_line(record, digest, head.signature))
            self._head, self._time = head, record["time"]
            return head

    def _write(self, line: bytes) -> None:
        """The whole line, or nothing of it: half a record, or one that was refused, would break the chain."""
        if self._broken:
            raise LedgerError("the ledger cannot be written until it is opened anew")
        try:
            handle = self._file.fileno()
        except ValueError as bad:
            raise LedgerError("the ledger cannot be written") from bad
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(handle, left) :]
            _sync(handle)
        except OSError as bad:
            self._broken = True
            with suppress(OSError):
                os.ftruncate(handle, os.fstat(handle).st_size - (len(line) - len(left)))
                self._broken = False
            raise LedgerError("the ledger cannot be written") from bad

    def records(self) -> Iterator[dict[str, Any]]:
        """All records, oldest first, each with its `hash`."""
        return read_ledger(self._path)

    def close(self) -> None:
        self._file.close()


def _last_line(file: IO[bytes]) -> tuple[bytes, int]:
    """(the last whole line without its end mark, where it ends), read from the end of the file backwards."""
    file.seek(0, os.SEEK_END)
    start = file.tell()
    data = b""
    while True:
        end = data.rfind(b"\n")
        begin = data.rfind(b"\n", 0, end) if end > 0 else -1
        if start == 0 or begin >= 0:
            return (data[begin + 1 : end], start + end + 1) if end >= 0 else (b"", start)
        if len(data) > MAX_LINE:
            raise LedgerError("the ledger's last record cannot be read: verify it")
        step = min(TAIL, start)
        start -= step
        file.seek(start)
        data = file.read(step) + data


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """All lines but a last one without its end mark: that is being written, or was cut by a crash."""
    return itertools.takewhile(lambda line: line.endswith(b"\n"), file)


def _head_of(line: bytes) -> Head:
    entry = orjson.loads(line)
    return Head(seq=entry["r"]["seq"], hash=entry["h"], signature=entry["s"])


def read_ledger(path: str | Path) -> Iterator[dict[str, Any]]:
    """Records of a ledger file, oldest first, each with its `hash`, unverified. Raises LedgerError."""
    try:
        with open(path, "rb") as file:
            for line in _whole_lines(file):
                entry = orjson.loads(line)
                yield {**entry["r"], "hash": entry["h"]}
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise LedgerError("the ledger cannot be read") from bad


def read_back(path: str | Path) -> Iterator[dict[str, Any]]:
    """Records of a ledger file, newest first, unverified. Raises LedgerError."""
    try:
        with open(path, "rb") as file:
            for line in _lines_back(file):
                yield orjson.loads(line)["r"]
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise LedgerError("the ledger cannot be read") from bad


def _lines_back(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, the last first; what follows the last end of a line is being written, or never was."""
    place = file.seek(0, os.SEEK_END)
    rest, torn = b"", True
    while place:
        step = min(TAIL, place)
        place -= step
        file.seek(place)
        rest, *lines = (file.read(step) + rest).split(b"\n")
        if torn and lines:
            lines.pop()
            torn = False
        yield from reversed(lines)
    if rest and not torn:
        yield rest


def read_last(path: str | Path) -> Head | None:
    """The newest head of a ledger file, with the signature of its record; None of an empty one. Raises LedgerError."""
    try:
        with open(path, "rb") as file:
            last, _ = _last_line(file)
        return _head_of(last) if last else None
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise LedgerError("the ledger cannot be read") from bad


# ---- verifying -------------------------------------------------------------------------------------------


def verify_ledger(
    path: str | Path, public_key: Jwk | Sequence[Jwk], peer_heads: Iterable[Head] | None = None
) -> LedgerReport:
    """Check chain, signatures, numbering and time order, and every head that others witnessed.

    public_key: of the ledger; several after a rotation. One that is `revoked` vouches for what it signed before
    that, and for nothing once another has signed after it. peer_heads: heads that other ledgers recorded. One of
    this ledger that is not in the file names the first bad seq too: the end was cut, or history was
    rewritten. A head that no key of this ledger signed is counted as `foreign` and judges nothing, so that a peer
    cannot invent a fault.
    """
    check = _Check(public_key)
    previous, count, last_time = GENESIS, 0, ""
    open_begins: dict[str, None] = {}
    with closing(_Heads(peer_heads or (), check)) as heads:

        def report(bad: int | None, fault: str) -> LedgerReport:
            return LedgerReport(count, bad, fault, tuple(open_begins), heads.met, heads.foreign)

        try:
            with open(path, "rb") as file:
                for seq, line in enumerate(_whole_lines(file), start=1):
                    try:
                        entry = orjson.loads(line)
                        record, digest = entry["r"], entry["h"]
                        fault = check.fault(line, entry, seq, previous, last_time)
                        if not fault:
                            _follow(open_begins, record)
                    except (ValueError, KeyError, TypeError):
                        return report(seq, "not a record")
                    if fault:
                        return report(seq, fault)
                    previous, last_time, count = digest, record["time"], seq
                    if not heads.meet(seq, digest):
                        return report(seq, "differs from what a peer witnessed")
        except OSError:
            return report(1, "the file cannot be read")
        if heads.left:
            return report(count + 1, "the end is cut: a peer witnessed more")
        return report(None, "")


class _Heads:
    """Heads that others kept of one ledger, in its order, however many: what is not needed yet lies on disk.

    met: found in the ledger so far. foreign: not signed by it.
    """

    def __init__(self, found: Iterable[Head], check: _Check) -> None:
        self.met = self.foreign = 0
        self._db = sqlite3.connect("")  # a file without a name, gone when it is closed
        self._db.execute("CREATE TABLE head (seq INTEGER, hash TEXT, PRIMARY KEY (seq, hash)) WITHOUT ROWID")
        for head in found:
            if check.signed(head.seq, head.hash, head.signature):
                self._db.execute("INSERT OR IGNORE INTO head VALUES (?, ?)", (head.seq, head.hash))
            else:
                self.foreign += 1
        self._sorted = self._db.execute("SELECT seq, hash FROM head ORDER BY seq")
        self._next = self._sorted.fetchone()
        # Of an empty ledger everybody knows the head: it needs no record.
        while self._next == (0, GENESIS):
            self._advance()

    def meet(self, seq: int, digest: str) -> bool:
        """Whether the record agrees with every head that is its own, or should have come before it."""
        while self._next is not None and self._next[0] <= seq:
            if self._next != (seq, digest):
                return False
            self._advance()
        return True

    def _advance(self) -> None:
        self.met += 1
        self._next = self._sorted.fetchone()

    @property
    def left(self) -> bool:
        return self._next is not None

    def close(self) -> None:
        self._db.close()


def _follow(open_begins: dict[str, None], record: Mapping[str, Any]) -> None:
    name = str(record.get("fragment") or record.get("query"))
    if record["kind"] == "begin":
        open_begins[name] = None
    elif record["kind"] == "end":
        open_begins.pop(name, None)


class _Check:
    """The checks of single records against one ledger's public keys, which are read once.

    A record may tell an earlier `clock` than its time, and so would a thief of a revoked key. So that key is done
    with once the ledger has gone on with another after the revocation.
    """

    def __init__(self, public_key: Jwk | Sequence[Jwk]) -> None:
        given = [public_key] if isinstance(public_key, dict) else list(public_key)
        self._keys = [key for key in map(_read_key, given) if key is not None]
        self._over: set[str] = set()

    def signed(self, seq: int, digest: str, signature: str) -> bool:
        """Whether one of the keys, a revoked one too, made a signature."""
        return self._signer(seq, digest, signature) is not None

    def _signer(self, seq: int, digest: str, signature: str) -> _Key | None:
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return None
        # The last character of base64 has spare bits: one signature must have one text.
        if base64.b64encode(raw).decode() != signature:
            return None
        return next((key for key in self._keys if _holds(key.public, raw, head_bytes(seq, digest))), None)

    def fault(self, line: bytes, entry: Mapping[str, Any], seq: int, previous: str, last_time: str) -> str:
        """What is wrong with one entry, "" if nothing is."""
        record, digest, signature = entry["r"], entry["h"], entry["s"]
        if set(entry) != {"r", "h", "s"} or _line(record, digest, signature) != line:
            return "not a record"
        if record["seq"] != seq:
            return f"numbered {record['seq']}"
        if record["prev"] != previous:
            return "does not follow its predecessor"
        if record_hash(previous, record) != digest:
            return "its content does not match its hash"
        signer = self._signer(seq, digest, signature)
        if signer is None:
            return "its signature is not the ledger's"
        if not isinstance(record["time"], str) or record["time"] < last_time:
            return "older than its predecessor"
        at = str(record.get("clock", record["time"]))
        if signer.name in self._over or not signer.vouches(at):
            return "signed by a key that was revoked"
        self._over |= {key.name for key in self._keys if key is not signer and not key.vouches(at)}
        return ""


@dataclass(frozen=True)
class _Key:
    """One public key of a ledger. revoked: from when on it vouches for nothing, "" for never."""

    name: str
    public: Ed25519PublicKey
    revoked: str

    def vouches(self, time: str) -> bool:
        return not self.revoked or time < self.revoked


def _read_key(jwk: Jwk) -> _Key | None:
    try:
        text = str(jwk["x"])
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if jwk.get("crv") != "Ed25519":
            return None
        # Key files tell whole seconds: what was signed within that of the revocation was signed before it.
        ended = (
            datetime.fromtimestamp(jwk["revoked"] + 1, UTC).isoformat(timespec="microseconds")
            if "revoked" in jwk
            else ""
        )
        return _Key(thumbprint(jwk), Ed25519PublicKey.from_public_bytes(raw), ended)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _holds(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


# ---- the other side's heads ------------------------------------------------------------------------------


def witnessed(record: Mapping[str, Any]) -> Iterator[tuple[str, Head]]:
    """(whose, head) of every other ledger's head that a record keeps: of a gateway's, or of departments'."""
    own = record.get("witness")
    if own:
        yield "gateway", Head.model_validate(own)
    for receipt in record.get("receipts") or ():
        yield str(receipt["department"]), Head.model_validate(receipt["ledger"])
