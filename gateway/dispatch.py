"""Stage 6: fragments go to the departments' agents, all at once; their answers come back as streams.

A `FragmentStream` reads one answer in a thread of its own into a short queue, so that neither a slow
department blocks the others nor a slow reader fills the memory (`waiting.py`). Where nothing else is to be waited for,
an answer that is small and comes at once is read by the thread that waits for it: to hand it over costs more. An answer
counts only with its end record: signed by the agent, with the right number of rows.

An https address is an agent that shows the certificate it registered with, and that is shown the gateway's
own; plain http goes to this machine alone, unless gateway.yaml says that the way there is protected.
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
from cachetools import TTLCache
from pydantic import ValidationError

from catalog import keys, tls
from catalog.duck import zone_of
from catalog.errors import CityError, DepartmentError, InternalError, Outcome, TrinoError, UserError
from catalog.exchange import (
    EndRecord,
    Fragment,
    Head,
    Question,
    Receipt,
    encode_keys,
    first_warnings,
    key_fields,
    sha256,
)
from catalog.http import Client, HTTPError, Limits, Response, Timeout
from catalog.identity import exchange_error, exchange_form, sign_request
from catalog.ipc import Reader
from catalog.keys import KeyFileError, KeyRing, SigningKey
from catalog.relation import RelationList
from gateway.execution import Execution, Session
from gateway.lines import Answer, Lines
from gateway.liveness import Liveness
from gateway.settings import DepartmentEntry, GatewaySettings
from gateway.together import Together
from gateway.waiting import Overflow, Waiting

__all__ = ["Agents", "FragmentStream", "lied"]

log = logging.getLogger("atoll.gateway")
FEW = 4
MAX_ANSWER = 1 << 26
"""Bytes of an answer that is no stream: a department's relations, a refusal."""
FRAGMENT = "/v1/fragment"
TOKEN_SECONDS = 240
AT_ONCE_SECONDS = 0.05
"""How long the thread of a statement reads by itself: as long as it waits for anything before it looks up."""
SMALL = 1 << 14
"""Bytes of a question that a connection takes at once, unless its agent reads nothing."""
SILENCE_SECONDS = 1.0
"""After so long without a batch the agent is asked whether it lives."""


@dataclass(frozen=True, eq=False)
class _Way:
    """How an agent is reached. certificates: those that it may show (PEM), None for plain http. shown: name of the
    gateway's own. lines: for fragments."""

    url: str
    certificates: tuple[str, ...] | None
    shown: str
    http: Client
    lines: Lines


class Agents:
    """The gateway's way to every agent: tokens, signed requests, streams. Safe from several threads."""

    def __init__(
        self,
        settings: GatewaySettings,
        key: KeyRing | SigningKey,
        departments: Callable[[], dict[str, DepartmentEntry]],
        head: Callable[[], Head | None] = lambda: None,
    ) -> None:
        """key: signs requests and the proof towards the identity provider; a ring's newest is asked each time.

        head: the newest entry of the gateway's ledger, which each fragment carries.
        """
        self.settings = settings
        self._head = head
        self._key = key
        self._certificates = tls.create_ring(settings.state / "tls.key", settings.identity.client_id)
        self._departments = departments
        self.liveness = Liveness(self.way)
        self.http = self._client()
        identity = settings.identity
        secure = identity.token_url.startswith("https:")
        self._issuer = self._client(verify=ssl.create_default_context(cafile=identity.ca)) if secure else self.http
        self._ways: dict[str, _Way] = {}
        self._tokens: TTLCache[tuple[str, str, str, str], str] = TTLCache(10_000, TOKEN_SECONDS)
        self._exchanges: Together[str] = Together()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(256, thread_name_prefix="agents")

    @property
    def key(self) -> SigningKey:
        """The gateway's key to sign with now. Raises KeyFileError."""
        return self._key.signing() if isinstance(self._key, KeyRing) else self._key

    def _client(self, **options: Any) -> Client:
        limits = self.settings.limits
        return Client(
            timeout=Timeout(limits.answer_seconds, connect=limits.connect_seconds),
            limits=Limits(max_connections=512, max_keepalive_connections=64),
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
            **options,
        )

    def way(self, department: str) -> tuple[Client, str]:
        """The client that reaches a department's agent, and the agent's base URL.

        Raises DepartmentError(DOWN/CLOSED) if it may not be asked, or not on a way that others could read.
        """
        known = self._way(department)
        return known.http, known.url

    def lines(self, department: str) -> Lines:
        """The connections for fragments, on the same way. Raises what `way` raises."""
        return self._way(department).lines

    def _way(self, department: str) -> _Way:
        """Made anew when the agent's address or certificates are others than before, or the gateway's own is."""
        entry = self.entry(department)
        url = urlsplit(entry.url)
        if url.scheme != "https" and not (entry.tunnel or tls.is_loopback(url.hostname or "")):
            raise _open_way(department, "its address is plain http on another machine")
        try:
            certificates = tls.pinned(entry.keys, time.time()) if url.scheme == "https" else None
            shown = "" if certificates is None else self._certificates.current()["kid"]
            with self._lock:
                known = self._ways.get(department)
                if known is None or (known.url, known.certificates, known.shown) != (entry.url, certificates, shown):
                    if certificates == ():
                        raise _open_way(department, "no certificate of it is known and in force")
                    if known is not None:
                        # Its client still serves the answers that it reads; it goes with the last of them.
                        known.lines.close()
                    known = self._ways[department] = self._made(entry.url, certificates, shown)
                return known
        except KeyFileError as bad:
            raise InternalError("The gateway has no certificate to show.", hint="Its operator: `atoll keys`.") from bad

    def _made(self, url: str, certificates: tuple[str, ...] | None, shown: str) -> _Way:
        context = None if certificates is None else tls.client_context(self._certificates, certificates)
        http = self.http if context is None else self._client(verify=context)
        return _Way(url, certificates, shown, http, Lines(url, context, self.settings.limits.connect_seconds))

    def entry(self, department: str) -> DepartmentEntry:
        """A registered, approved department. Raises DepartmentError(DOWN/CLOSED)."""
        found = self._departments().get(department)
        if found is None:
            raise DepartmentError(f"Department '{department}' is not registered.", Outcome.DOWN, who=department)
        if found.state != "approved":
            raise DepartmentError(
                f"Department '{department}' is {found.state} at this gateway.",
                Outcome.CLOSED,
                who=department,
                rule="registration",
            )
        return found

    # -- identity --------------------------------------------------------------------------------

    def token(self, session: Session, department: str, key: SigningKey | None = None) -> str:
        """The user's token for one agent and the session's purpose, exchanged at the identity provider.

        key: the one to sign with, if that is known already.
        """
        key = key or self.key
        known = self.known_token(session, department, key)
        if known is not None:
            return known
        slot = _slot(session, department, key)
        found = self._exchanges.get(slot, lambda: self._exchanged(session, department, key))
        with self._lock:
            self._tokens[slot] = found
        return found

    def known_token(self, session: Session, department: str, key: SigningKey) -> str | None:
        """The token, if nobody need be asked for it."""
        with self._lock:
            return self._tokens.get(_slot(session, department, key))

    def _exchanged(self, session: Session, department: str, key: SigningKey) -> str:
        identity = self.settings.identity
        form = exchange_form(
            session.token,
            department,
            session.purpose or None,
            key,
            identity.token_url,
            identity.client_id,
        )
        try:
            answer = self._issuer.post(identity.token_url, data=form)
        except HTTPError as bad:
            raise DepartmentError(
                "The identity provider does not answer; nobody can be asked.", Outcome.DOWN, who="gateway"
            ) from bad
        found = _json(answer.content)
        token = found.get("access_token")
        if answer.status_code != 200 or not isinstance(token, str):
            raise exchange_error(found)
        return token

    def signed(self, session: Session, department: str, method: str, path: str, body: bytes) -> dict[str, str]:
        """The headers of one request: the user's token for that agent, and the gateway's signature."""
        key = self.key
        return _headers(key, self.token(session, department, key), method, path, body)

    # -- questions -------------------------------------------------------------------------------

    def relations(self, session: Session, department: str) -> RelationList:
        """What the user may see of one department. Raises DepartmentError if it does not answer."""
        try:
            return RelationList.model_validate_json(self.call(session, department, "GET", "/v1/relations"))
        except ValidationError as bad:
            raise lied(department, "its list of relations is malformed") from bad

    def call(
        self, session: Session, department: str, method: str, path: str, body: bytes = b"", good: int = 200
    ) -> bytes:
        """One signed request and its whole answer, of status `good`. Raises DepartmentError, or the agent's refusal."""
        try:
            status, found = self._asked(session, department, method, path, body)
        except HTTPError as bad:
            self.liveness.suspect(department)
            raise _down(department) from bad
        if status != good:
            raise _refusal(department, status, found)
        return found

    def _asked(self, session: Session, department: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        http, url = self.way(department)
        headers = self.signed(session, department, method, path, body)
        with http.stream(method, url + path, content=body, headers=headers) as answer:
            return answer.status_code, _body(department, answer)

    def ask(
        self,
        execution: Execution,
        session: Session,
        department: str,
        fragment_id: str,
        sql: str,
        bind: Sequence[pa.Array] = (),
        zoned: bool = True,
        dry_run: bool = False,
        changed: threading.Event | None = None,
        here: bool = False,
    ) -> FragmentStream:
        """Send one fragment; returns its stream, errors come with that.

        bind: sets of keys, in the order in which the text names them. zoned: whether it may read the session's time
        zone; an agent that knows none refuses it then. changed: set whenever more of the answer has
        come. here: read it in this thread, if it comes at once.
        """
        message = Fragment(
            query_id=execution.query_id,
            fragment_id=fragment_id,
            sql=sql,
            **key_fields([*map(encode_keys, bind)]),
            timeout=self.settings.limits.query_seconds,
            dry_run=dry_run,
            # What a signed statement means of the zone is for its agent to see.
            time_zone=_zone(session) if zoned or session.proof else "",
            witness=self._head(),
            question=_question(execution, session),
        )
        stream = FragmentStream(self, execution, session, department, message, changed)
        execution.on_cancel(stream.cancel)
        if not (here and stream.run_here()):
            self._pool.submit(stream.run)
        return stream

    def stop(self, session: Session, department: str, fragment_id: str) -> None:
        """Tell an agent that nobody waits for a fragment any more; a dead agent needs no telling."""

        def delete() -> None:
            with suppress(HTTPError, CityError):
                self._asked(session, department, "DELETE", f"{FRAGMENT}/{fragment_id}")

        self._pool.submit(delete)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.http.close()
        self._issuer.close()
        for way in self._ways.values():
            way.http.close()
            way.lines.close()


class FragmentStream:
    """One fragment's answer on its way. `schema()` waits for its first bytes, `batches()` yields to the end."""

    def __init__(
        self,
        agents: Agents,
        execution: Execution,
        session: Session,
        department: str,
        message: Fragment,
        changed: threading.Event | None = None,
    ) -> None:
        self.agents = agents
        self.execution = execution
        self.session = session
        self.department = department
        self.message = message
        self.receipt: Receipt | None = None
        self.warnings: tuple[str, ...] = ()
        self.rows = 0
        self.bytes = 0
        self.seconds = 0.0
        self._schema: pa.Schema | None = None
        self._known = threading.Event()
        self._changed = changed or threading.Event()
        self._queue = Waiting(Overflow(agents.settings.state / "spool"))
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._error: CityError | None = None
        self._heard = self._started = time.monotonic()
        self._here = False
        self._steps = self._to_its_end()

    # -- the reading thread ----------------------------------------------------------------------

    def run(self) -> None:
        """Read the whole answer, or the rest of it. Never raises: what goes wrong is raised to the consumer."""
        self._here = False
        for _ in self._steps:
            pass

    def run_here(self) -> bool:
        """Read it in the consumer's thread, as far as that waits for no more than an answer that comes at once.

        Returns whether that was all; if not, `run` reads the rest.
        """
        self._here = True
        return next(self._steps, self) is self

    def _to_its_end(self) -> Iterator[None]:
        """What `_read` does, of which whatever goes wrong is the answer's end."""
        try:
            yield from self._read()
        except CityError as error:
            self._error = error
        except HTTPError:
            self._error = _down(self.department)
        except (pa.ArrowException, OSError, ValidationError, ValueError) as bad:
            log.warning("an answer of %s could not be read after %d rows: %s", self.department, self.rows, bad)
            self._error = lied(self.department, "its answer was cut off or is malformed")
        except Exception:
            # Whatever atoll itself did wrong: the consumer gets an answer, and the operator the detail.
            log.exception("reading an answer of %s failed inside the gateway", self.department)
            self._error = InternalError("The gateway failed while reading an answer.")
        self._end()

    def _end(self) -> None:
        """Tell the consumer that all is said, once."""
        if not self._ended.is_set():
            self.seconds = time.monotonic() - self._started
            self._report()
            self._ended.set()
            self._known.set()
            self._changed.set()
            with suppress(queue.Full):  # the consumer sees the end when it has caught up
                self._queue.put_nowait(None)

    def _read(self) -> Iterator[None]:
        """Yields where `run_here` would have to wait, and goes on in another thread."""
        body = orjson.dumps(self.message.model_dump(mode="json", exclude_none=True))
        at_hand = None
        if self._here and not self._stop.is_set() and (at_hand := self._at_hand(body)) is None:
            yield
        if at_hand is None and self._stop.is_set():  # while it waited for a thread: the agent is not even asked
            return
        agents = self.agents
        lines, line, headers = at_hand or (
            agents.lines(self.department),
            None,
            agents.signed(self.session, self.department, "POST", FRAGMENT, body),
        )
        entry = agents.entry(self.department)
        self._started = time.monotonic()
        self._progress(state="running", asked=self.execution.clock.elapsed)
        # Silence is judged by the consumer, who asks whether the agent lives; this limit only ends the thread.
        patience = agents.settings.limits.query_seconds
        with lines.post(FRAGMENT, body, headers, patience, line) as answer:
            if self._here and not answer.comes_within(AT_ONCE_SECONDS):
                yield
            answer.read_head()
            if answer.status_code != 200:
                raise _refusal(self.department, answer.status_code, _body(self.department, answer))
            raw = _Raw(answer, self._tell)
            reader = Reader(raw.read_into)
            for warning in first_warnings(reader.schema):
                self.execution.warn(warning)
            self._schema = reader.schema
            self._progress(first=answer.began - self._started)
            yield from self._read_batches(reader, raw, entry)
            if self.receipt is not None:
                self._end()
                raw.finish()

    def _at_hand(self, body: bytes) -> tuple[Lines, socket.socket, dict[str, str]] | None:
        """A connection and headers for the question, None if one of them, or its reader, is to be waited for."""
        agents, key = self.agents, self.agents.key
        token = agents.known_token(self.session, self.department, key)
        if token is None or len(body) > SMALL:
            return None
        lines = agents.lines(self.department)
        line = lines.idle()
        return None if line is None else (lines, line, _headers(key, token, "POST", FRAGMENT, body))

    def _read_batches(self, reader: Reader, raw: _Raw, entry: DepartmentEntry) -> Iterator[None]:
        while True:
            # What is not read yet takes no memory here, and stops the agent.
            patience = 0.0
            while not self._queue.has_room(patience):
                self._tell()
                if self._stop.is_set():
                    return
                if self._here:  # its reader is this thread
                    yield
                patience = 0.05
            found = reader.next()
            if found is None:
                raise lied(self.department, "its answer ended without an end record")
            batch, metadata = found
            end = EndRecord.from_metadata(metadata)
            self.bytes = raw.count
            if end is not None:
                if batch.num_rows:
                    raise lied(self.department, "its end record carries rows")
                self._close(end, entry)
                return
            if self._stop.is_set():
                return
            if batch.num_rows == 0:
                continue
            self.rows += batch.num_rows
            self._heard = time.monotonic()
            yield from self._offer(batch)
            self._progress(rows=self.rows, bytes=self.bytes)
            if self._stop.is_set():
                return

    def _tell(self) -> None:
        """Before it waits: what has come so far can be read."""
        if self._schema is not None:
            self._known.set()
            self._changed.set()

    def _close(self, end: EndRecord, entry: DepartmentEntry) -> None:
        if not keys.verify_any(entry.receipt_keys, end.signed_bytes(), end.signature):
            raise lied(self.department, "its end record is not signed by its registered key")
        if end.receipt is not None and not self._is_mine(end.receipt):
            raise lied(self.department, "its receipt belongs to another question")
        if end.outcome != Outcome.OK.name:
            raise _told(self.department, end.error or {})
        if end.rows != self.rows:
            raise lied(self.department, f"it certified {end.rows} rows and delivered {self.rows}")
        if end.receipt is None:
            raise lied(self.department, "it gave no receipt")
        if end.receipt.rows != self.rows:
            raise lied(self.department, f"its receipt says {end.receipt.rows} rows and it delivered {self.rows}")
        self.receipt = end.receipt
        self.warnings = end.warnings

    def _is_mine(self, receipt: Receipt) -> bool:
        """Whether a receipt is of what was asked here: by whom, for what, of whom, and in which words."""
        asked = self.message
        told = (receipt.department, receipt.query_id, receipt.fragment_id, receipt.sub, receipt.purpose)
        mine = (self.department, asked.query_id, asked.fragment_id, self.session.user, self.session.purpose)
        return told == mine and receipt.sql_sha256 == sha256(asked.sql)

    def _offer(self, batch: pa.RecordBatch) -> Iterator[None]:
        patience = 0.0
        while not self._stop.is_set():
            try:
                self._queue.put(batch, timeout=patience)
            except queue.Full:  # of what other statements wait for, meanwhile
                self._tell()
                if self._here:
                    yield
                patience = 0.05
                continue
            return

    def _progress(self, **changes: Any) -> None:
        self.execution.part(self.message.fragment_id, self.department, **changes)

    def _report(self) -> None:
        state = "done"
        if self._error is not None:
            state = "down" if self._error.outcome in (Outcome.DOWN, Outcome.CLOSED) else "refused"
        elif self.receipt is None:
            state = "cancelled"
        self._progress(state=state, rows=self.rows, bytes=self.bytes, seconds=self.seconds, receipt=self.receipt)

    # -- the consumer ----------------------------------------------------------------------------

    def is_ready(self, whole: bool) -> bool:
        """Whether reading now waits for nobody: its schema is here, and if it is to be read whole, it is here whole, or
        as much of it as is kept ahead of its reader. Raises once its department is gone."""
        if not self._known.is_set():
            self._check_alive()
            return False
        if not whole or self._ended.is_set() or not self._queue.has_room(0):
            return True
        self._check_alive()
        return False

    def schema(self) -> pa.Schema:
        """The answer's Arrow schema, outputs c0..cn. Raises the fragment's error."""
        while not self._known.wait(0.05):
            self.execution.check()
            self._check_alive()
        if self._schema is None:
            self.execution.check()
            raise self._error or lied(self.department, "it answered without a schema")
        return self._schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every batch; ends only after a valid end record. Raises the fragment's error."""
        try:
            while True:
                try:
                    batch = self._queue.get(timeout=0.05)
                except queue.Empty:
                    self.execution.check()
                    if self._ended.is_set() and self._queue.empty():
                        break
                    self._check_alive()
                    continue
                if batch is None:
                    break
                yield batch
                self._heard = time.monotonic()
        finally:
            if not self._ended.is_set():
                self.cancel()
            self._queue.close()
        if self._error is not None:
            raise self._error
        if self.receipt is None:
            # The reader was told to stop: what has come so far is no answer.
            self.execution.check()
            raise UserError("Query was canceled", Outcome.CANCELED)

    def _check_alive(self) -> None:
        """Raise if nothing was heard for a while and the agent doesn't answer a ping either."""
        if time.monotonic() - self._heard < SILENCE_SECONDS or self._ended.is_set():
            return
        if self.agents.liveness.is_gone(self.department):
            self._error = self._error or _stalled(self.department)
            self.cancel()
            self._progress(state="down")
            raise self._error
        self._heard = max(self._heard, time.monotonic() - SILENCE_SECONDS / 2)

    def cancel(self) -> None:
        """Stop reading and tell the agent. Harmless when it has ended."""
        if self._stop.is_set() or self._ended.is_set():
            return
        self._stop.set()
        self._progress(state="cancelled")
        self.agents.stop(self.session, self.department, self.message.fragment_id)

    @property
    def error(self) -> CityError | None:
        return self._error


class _Raw:
    """An HTTP body, read into buffers; counts the bytes that crossed the trust line."""

    def __init__(self, answer: Answer, before_waiting: Callable[[], None]) -> None:
        """before_waiting: called when all that has come was read."""
        self._chunks = answer.iter_raw()
        self._before_waiting = before_waiting
        self._left = memoryview(b"")
        self.count = 0

    def read_into(self, buffer: memoryview) -> int:
        if not self._left:
            self._before_waiting()
            self._left = memoryview(next(self._chunks, b""))
            self.count += len(self._left)
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def finish(self) -> None:
        """Read to the end what an honest agent has left, a few bytes: only then the connection serves again."""
        with suppress(HTTPError):
            for _ in range(FEW):
                if next(self._chunks, None) is None:
                    return


def _question(execution: Execution, session: Session) -> Question | None:
    """The user's own statement and signature, where the client signed it."""
    return Question(sql=execution.question, proof=session.proof) if session.proof else None


def _zone(session: Session) -> str:
    """A session's time zone, "" for UTC."""
    name = zone_of(session.time_zone, TrinoError.INVALID_SESSION_PROPERTY)
    return "" if name == "UTC" else name


def _slot(session: Session, department: str, key: SigningKey) -> tuple[str, str, str, str]:
    """A token's place in the cache."""
    return keys_digest(session.token), key.kid, session.purpose, department


def _headers(key: SigningKey, token: str, method: str, path: str, body: bytes) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        **sign_request(key, method, path, body, token=token),
    }


def keys_digest(token: str) -> str:
    """A token's place in a cache: its hash, so that no token lies about in keys."""
    return sha256(token)


def _body(department: str, answer: Response | Answer) -> bytes:
    """A short answer as it was sent: nothing is unpacked, and no more is read than a short answer has."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise lied(department, "it is packed, which nobody asked for")
    body = b""
    for part in answer.iter_raw():
        body += part
        if len(body) > MAX_ANSWER:
            raise lied(department, f"it is longer than {MAX_ANSWER >> 20} MB")
    return body


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(department: str, status: int, body: bytes) -> CityError:
    found = _json(body)
    if "outcome" not in found:
        return lied(department, f"it answered HTTP {status} without a reason")
    return _told(department, found)


def _told(department: str, found: dict[str, Any]) -> CityError:
    """What an agent said, as its own word and nobody else's."""
    error = CityError.from_dict(found)
    error.who = department
    return error


def _down(department: str) -> DepartmentError:
    return DepartmentError(
        f"Department '{department}' does not answer.",
        Outcome.DOWN,
        who=department,
        rule="department down",
        hint="Ask again when it is back, or leave its tables out. In a UNION ALL, "
        "SET SESSION allow_partial = true answers with the other arms.",
    )


def _open_way(department: str, why: str) -> DepartmentError:
    return DepartmentError(
        f"Department '{department}' is not asked: {why}.",
        Outcome.DOWN,
        who=department,
        rule="mutual TLS",
        hint="Its owner registers again with `atoll register`, once its agent serves TLS.",
    )


def _stalled(department: str) -> DepartmentError:
    return DepartmentError(
        f"Department '{department}' stopped answering in the middle.",
        Outcome.DOWN,
        who=department,
        rule="department stalled",
        hint="Nothing of its part was used. Ask again.",
    )


def lied(department: str, what: str) -> DepartmentError:
    return DepartmentError(
        f"The answer of department '{department}' cannot be trusted: {what}.",
        Outcome.DOWN,
        who=department,
        rule="end record",
        hint="Nothing of it was used. Ask again; if it stays, tell the department.",
    )
