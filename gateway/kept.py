"""Answers that their departments let the gateway keep, for minutes: a dashboard that asks again is answered at once.

The permission comes with each answer, in its receipt (`keep_seconds`): no receipt, or one that gives none, and nothing
is kept. Then the same user, with the same token, for the same purpose, in the same session, gets the same answer to the
same text, as long as no department's policy has changed. What is kept is encrypted with a key made of the user's token,
which is not kept beside it. Never kept: partial answers, signed questions, what reads the gateway's own tables.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pyarrow as pa
from cachetools import TLRUCache
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from catalog.types import parse
from gateway.catalogue import DepartmentView, UserView, alike
from gateway.execution import Copy, Execution, ResultColumn, Session

__all__ = ["KEPT_BYTES", "Kept", "KeptAnswers"]

ANSWER_BYTES = 1 << 20
"""Of Arrow data in the largest answer that is kept: more is no dashboard's."""
KEPT_BYTES = 64 << 20
MOST_SECONDS = 900
_NONCE = 12


@dataclass(frozen=True)
class Kept:
    """An answer given before. at: when it was asked for, seconds since 1970."""

    query_id: str
    at: float
    columns: tuple[ResultColumn, ...]
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
    """until: of `time.monotonic`. lists: what the user might see when the answer was given."""

    until: float
    lists: tuple[DepartmentView, ...]
    data: bytes


class KeptAnswers:
    """The answers that one gateway keeps. Safe for use from several threads."""

    def __init__(self) -> None:
        self._known: TLRUCache[bytes, _Sealed] = TLRUCache(
            KEPT_BYTES, ttu=lambda _, sealed, __: sealed.until, timer=time.monotonic, getsizeof=lambda s: len(s.data)
        )
        self._lock = threading.Lock()

    def find(self, session: Session, view: UserView, sql: str) -> Kept | None:
        """The answer kept for this session's user, None if there is none that may still be given."""
        name = _name(session, sql)
        with self._lock:
            sealed = self._known.get(name)
        if sealed is None or session.fresh or session.proof or not alike(sealed.lists, view.departments):
            return None
        return _opened(session, name, sealed.data)

    def copy(self, session: Session) -> Copy | None:
        """Where a statement's answer is gathered, None if it cannot be kept whatever its departments say."""
        return None if session.proof or not session.token else Copy(ANSWER_BYTES)

    def offer(self, session: Session, view: UserView, sql: str, execution: Execution) -> None:
        """Keep the answer of a statement that ran, if all of its departments allow it."""
        copy, columns = execution.copy, execution.columns(0)
        left = _seconds_left(execution, view)
        if copy is None or not copy.whole or columns is None or left <= 0:
            return
        name = _name(session, sql)
        kept = Kept(execution.query_id, execution.created, columns, tuple(execution.warnings), tuple(copy.batches))
        sealed = _Sealed(time.monotonic() + left, view.departments, _closed(session, name, kept))
        with self._lock:
            self._known[name] = sealed


def _seconds_left(execution: Execution, view: UserView) -> float:
    """How long the answer may still be given: as the strictest of its receipts says, all of policies that are known."""
    versions = {d.name: d.relations.version for d in view.departments}
    now, left = time.time(), []
    for part in execution.parts().values():
        receipt = part.receipt
        if receipt is None or receipt.keep_seconds < 1 or receipt.policy != versions.get(part.department):
            return 0
        # Its last bytes may have waited here for long: what counts is when the department was done, by either clock.
        done = min(execution.created + part.asked + part.seconds, datetime.fromisoformat(receipt.at).timestamp())
        left.append(done + min(receipt.keep_seconds, MOST_SECONDS) - now)
    return min(left, default=0)


def _name(session: Session, sql: str) -> bytes:
    """What an answer is kept under: everything that it may depend on, and nothing that can be read."""
    properties = sorted((k, v) for k, v in session.properties.items() if k != "fresh")
    who, where = (session.token, session.user, session.purpose), (session.catalog, session.schema, session.time_zone)
    said = [who, where, properties, sql]
    return hashlib.sha256(b"kept answer|" + orjson.dumps(said)).digest()


def _cipher(session: Session) -> AESGCM:
    return AESGCM(hashlib.sha256(b"key of kept answers|" + session.token.encode()).digest())


def _closed(session: Session, name: bytes, kept: Kept) -> bytes:
    columns = [(c.name, str(c.type), c.mask) for c in kept.columns]
    head = orjson.dumps([kept.query_id, kept.at, columns, kept.warnings])
    text = len(head).to_bytes(4, "big") + head + _written(kept.batches)
    nonce = secrets.token_bytes(_NONCE)
    return nonce + _cipher(session).encrypt(nonce, text, name)


def _opened(session: Session, name: bytes, data: bytes) -> Kept:
    text = _cipher(session).decrypt(data[:_NONCE], data[_NONCE:], name)
    size = 4 + int.from_bytes(text[:4], "big")
    query_id, at, columns, warnings = orjson.loads(text[4:size])
    shown = tuple(ResultColumn(label, parse(kind), mask) for label, kind, mask in columns)
    batches = () if len(text) == size else tuple(pa.ipc.open_stream(text[size:]))
    return Kept(query_id, at, shown, tuple(warnings), batches)


def _written(batches: Sequence[pa.RecordBatch]) -> bytes:
    """Batches as an Arrow stream; nothing for none."""
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())
