"""Answers that their departments let the gateway keep, for minutes: a dashboard that asks again is answered at once.

The permission comes with each answer, in its receipt (`keep_seconds`): no receipt, or one that gives none, and nothing
is kept. Then the same user, with the same token, for the same purpose, in the same session, gets the same answer to the
same text, as long as nothing has changed of what he may see. What is kept is encrypted with a key made of the user's
token. Never kept: partial answers, signed questions, what reads the gateway's own tables.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson
import pyarrow as pa
from cachetools import TLRUCache
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from catalog.alarm import after
from gateway.catalogue import UserView
from gateway.execution import Execution, Part, ResultColumn, Session

__all__ = ["Copy", "Kept", "KeptAnswers"]

log = logging.getLogger("atoll.gateway")
ANSWER_BYTES = 1 << 20
"""Of memory in the largest answer that is kept: more is no dashboard's."""
EACH_BYTES = 1 << 10
"""Of a batch, however little is in it."""
KEPT_BYTES = 64 << 20
MOST_SECONDS = 900
MODES = ("masked", "aggregate")
_NONCE = 12
_BROKEN = (pa.ArrowException, ValueError, TypeError, OverflowError, InvalidTag)
"""What may go wrong in writing or reading what is kept: the departments answer then, as they did before."""


class Copy:
    """An answer's batches, as long as they take no more memory than `most` bytes. whole: nothing is missing."""

    def __init__(self, most: int = ANSWER_BYTES) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.whole = True
        self._left = most

    def add(self, batch: pa.RecordBatch) -> None:
        self._left -= batch.get_total_buffer_size() + EACH_BYTES  # a slice holds all that it was cut from
        if self._left < 0:
            self.whole = False
            self.batches.clear()
        else:
            self.batches.append(batch)


@dataclass(frozen=True)
class Kept:
    """An answer given before. at: when it was asked for, seconds since 1970. parts: what was asked for it, of whom."""

    query_id: str
    at: float
    columns: tuple[ResultColumn, ...]
    parts: Mapping[str, Part]
    warnings: tuple[str, ...]
    batches: tuple[pa.RecordBatch, ...]

    @property
    def notice(self) -> str:
        """What is said beside it when it is given again."""
        return (
            f"This is the answer of {datetime.fromtimestamp(self.at, UTC):%H:%M:%S} UTC ({self.query_id}), kept as its "
            "departments allow. SET SESSION fresh = true asks them again."
        )


@dataclass(frozen=True)
class _Sealed:
    """A kept answer without its warnings and rows, and these encrypted. until: `time.monotonic`. seen: `_seen` then."""

    until: float
    seen: bytes
    kept: Kept
    data: bytes


class KeptAnswers:
    """The answers that one gateway keeps. Safe for use from several threads."""

    def __init__(self) -> None:
        self._known: TLRUCache[bytes, _Sealed] = TLRUCache(
            KEPT_BYTES, ttu=lambda _, sealed, __: sealed.until, timer=time.monotonic, getsizeof=lambda s: len(s.data)
        )
        self._lock = threading.Lock()

    def find(self, execution: Execution, session: Session, view: UserView, sql: str) -> Kept | None:
        """The answer kept for this session's user, None if there is none that may still be given."""
        with self._lock:
            if session.fresh or not self._known or not _may_keep(session):
                return None
        name = _name(execution, session, sql)
        with self._lock:
            sealed = self._known.get(name)
        if sealed is None:
            return None
        try:
            if sealed.seen == _seen(view):
                return _opened(session, name, sealed)
        except _BROKEN as bad:
            log.warning("a kept answer cannot be read: %s", type(bad).__name__)
        with self._lock:
            self._known.pop(name, None)
        return None

    def copy(self, session: Session) -> Copy | None:
        """Where a statement's answer is gathered, None if it cannot be kept whatever its departments say."""
        return Copy() if _may_keep(session) else None

    def offer(self, execution: Execution, session: Session, view: UserView, sql: str) -> None:
        """Keep the answer of a statement that ran, if all of its departments allow it."""
        copy, columns = execution.copy, execution.columns(0)
        if copy is None or not copy.whole or columns is None:
            return
        try:
            left = _seconds_left(execution, view)
            if left <= 0:
                return
            name = _name(execution, session, sql)
            data = _closed(session, name, tuple(execution.warnings), copy.batches)
        except _BROKEN as bad:
            log.warning("an answer cannot be kept: %s", type(bad).__name__)
            return
        kept = Kept(execution.query_id, execution.created, columns, execution.parts(), (), ())
        with self._lock:
            self._known[name] = _Sealed(time.monotonic() + left, _seen(view), kept, data)
        after(left, self._expire)

    def _expire(self) -> None:
        """Let go of what may be given no more."""
        with self._lock:
            self._known.expire()


def _seconds_left(execution: Execution, view: UserView) -> float:
    """How long the answer may still be given: as the strictest of its receipts says, all of policies that are known."""
    versions = {d.name: d.relations.version for d in view.departments}
    now, left = time.time(), []
    for part in execution.parts().values():
        receipt = part.receipt
        if receipt is None or receipt.keep_seconds < 1 or receipt.mode not in MODES:
            return 0
        if receipt.policy != versions.get(part.department):
            return 0
        # Its last bytes may have waited here for long: what counts is when the department was done, by either clock.
        done = min(execution.created + part.asked + part.seconds, datetime.fromisoformat(receipt.at).timestamp())
        left.append(done + min(receipt.keep_seconds, MOST_SECONDS) - now)
    return min(left, default=0)


def _seen(view: UserView) -> bytes:
    """Differs wherever what a user sees of any department differs."""
    return hashlib.sha256(b"".join(department.digest for department in view.departments)).digest()


def _may_keep(session: Session) -> bool:
    return bool(session.token) and not session.proof


def _name(execution: Execution, session: Session, sql: str) -> bytes:
    """What an answer is kept under: everything that it may depend on, and nothing that can be read. The day is that on
    which the statement came, in its session's time zone."""
    properties = sorted((k, v) for k, v in session.properties.items() if k != "fresh")
    who, where = (session.token, session.user, session.purpose), (session.catalog, session.schema, session.time_zone)
    said = repr(("kept answer", who, where, execution.now.date().isoformat(), properties, sql))
    return hashlib.sha256(said.encode(errors="backslashreplace")).digest()


def _cipher(session: Session) -> AESGCM:
    return AESGCM(hashlib.sha256(b"key of kept answers|" + session.token.encode()).digest())


def _closed(session: Session, name: bytes, warnings: Sequence[str], batches: Sequence[pa.RecordBatch]) -> bytes:
    """Raises ValueError for more than an answer's bytes, which may be few rows in many batches."""
    head = orjson.dumps(warnings)
    text = len(head).to_bytes(4, "big") + head + _written(batches)
    if len(text) > 2 * ANSWER_BYTES:
        raise ValueError("too long")
    nonce = secrets.token_bytes(_NONCE)
    return nonce + _cipher(session).encrypt(nonce, text, name)


def _opened(session: Session, name: bytes, sealed: _Sealed) -> Kept:
    text = _cipher(session).decrypt(sealed.data[:_NONCE], sealed.data[_NONCE:], name)
    size = 4 + int.from_bytes(text[:4], "big")
    batches = () if len(text) == size else tuple(pa.ipc.open_stream(text[size:]))
    return replace(sealed.kept, warnings=tuple(orjson.loads(text[4:size])), batches=batches)


def _written(batches: Sequence[pa.RecordBatch]) -> bytes:
    """Batches as an Arrow stream; nothing for none."""
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())
