"""Batches on their way between two threads: few of one statement, and of all statements together a bounded size.

A reader who takes nothing stops whoever fills his queue. Many such readers would still hold a few batches each:
while all queues of the process together hold `WAITING_BYTES`, each takes a single batch.

A department waits for its reader half a minute at most, and a person may look at the first rows for longer. After
`PATIENCE_SECONDS` what is still to come therefore goes to a file, up to a bound: without a name, in the gateway's own
folder, encrypted with a key that this process alone has. So the department is done with the question.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import IO

import pyarrow as pa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["QUEUED_BATCHES", "Overflow", "Waiting"]

QUEUED_BATCHES = 4
WAITING_BYTES = 128_000_000
PATIENCE_SECONDS = 10.0
OVERFLOW_BYTES = 1_000_000_000
"""In the files of one statement's answers; the files of all take four times as much."""
NONCE_BYTES = 12


class Overflow:
    """Batches in a file, first in, first out. bytes: of the file."""

    def __init__(self, folder: Path) -> None:
        """folder: made with mode 0700 if it is not there."""
        self.bytes = 0
        self._folder = folder
        self._cipher: AESGCM | None = None
        self._file: IO[bytes] | None = None
        self._schema: pa.Schema | None = None
        self._places: deque[tuple[int, int]] = deque()
        self._broken = False
        with _LOCK:
            _OVERFLOWS.add(self)

    def __len__(self) -> int:
        return len(self._places)

    def has_room(self) -> bool:
        with _LOCK:
            total = sum(overflow.bytes for overflow in _OVERFLOWS)
        return not self._broken and self.bytes < OVERFLOW_BYTES and total < 4 * OVERFLOW_BYTES

    def append(self, batch: pa.RecordBatch) -> bool:
        """Whether it is kept: not where the disk is full."""
        nonce = os.urandom(NONCE_BYTES)
        self._cipher = self._cipher or AESGCM(AESGCM.generate_key(256))
        sealed = nonce + self._cipher.encrypt(nonce, batch.serialize().to_pybytes(), None)
        try:
            if self._file is None:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (it lives as long as the batches)
                self._schema = batch.schema
            self._broken = os.pwrite(self._file.fileno(), sealed, self.bytes) < len(sealed)
        except OSError:
            self._broken = True
        if self._broken:
            return False
        self._places.append((self.bytes, len(sealed)))
        self.bytes += len(sealed)
        return True

    def pop(self) -> pa.RecordBatch:
        """The oldest. Its place in the file is free when all have been read."""
        assert self._file is not None
        assert self._cipher is not None
        start, size = self._places.popleft()
        raw = os.pread(self._file.fileno(), size, start)
        found = pa.ipc.read_record_batch(self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None), self._schema)
        if not self._places:
            self.close()
        return found

    def close(self) -> None:
        """Forget all of it."""
        self._places.clear()
        self.bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None


class Waiting(queue.Queue[pa.RecordBatch | None]):
    """A queue of batches for one writer and one reader; None says that no more follow. bytes: of those in memory."""

    def __init__(self, overflow: Overflow | None = None) -> None:
        """overflow: takes what comes while nobody reads."""
        super().__init__()
        self.bytes = 0
        self._sizes: deque[int] = deque()
        self._overflow = overflow
        self._taken = time.monotonic()

    def has_room(self, timeout: float) -> bool:
        """Whether a batch would be taken now; waits up to `timeout` seconds for that.

        Room that other queues made is noticed at the end of `timeout` alone.
        """
        with self.not_full:
            return self.not_full.wait_for(lambda: not self._is_full(), timeout) or self._overflows()

    def put(self, item: pa.RecordBatch | None, block: bool = True, timeout: float | None = None) -> None:
        """As of any queue. Raises queue.Full after `timeout` seconds, 0 by default, or if `block` is false."""
        until = time.monotonic() + (timeout or 0.0 if block else 0.0)
        with self.not_full:
            while self._is_full():
                if item is not None and self._overflowed(item):
                    self.not_empty.notify()
                    return
                left = until - time.monotonic()
                if left <= 0:
                    raise queue.Full
                self.not_full.wait(left)
            self._put(item)
            self.not_empty.notify()

    def close(self) -> None:
        """Forget what is left: nobody reads on."""
        with self.mutex:
            self.queue.clear()
            self._sizes.clear()
            self._count(-self.bytes)
            if self._overflow is not None:
                self._overflow.close()

    def _is_full(self) -> bool:
        """Also while older ones are in the file: what comes now stands behind them."""
        held = len(self.queue)
        crowded = held > 0 and _held() >= WAITING_BYTES
        return held >= QUEUED_BATCHES or crowded or bool(self._overflow)

    def _overflows(self) -> bool:
        if self._overflow is None or not self._overflow.has_room():
            return False
        return bool(self._overflow) or time.monotonic() - self._taken > PATIENCE_SECONDS

    def _overflowed(self, batch: pa.RecordBatch) -> bool:
        return self._overflow is not None and self._overflows() and self._overflow.append(batch)

    def _qsize(self) -> int:
        return len(self.queue) + (0 if self._overflow is None else len(self._overflow))

    def _put(self, item: pa.RecordBatch | None) -> None:
        self._sizes.append(0 if item is None else item.get_total_buffer_size())
        self._count(self._sizes[-1])
        super()._put(item)

    def _get(self) -> pa.RecordBatch | None:
        self._taken = time.monotonic()
        if self._overflow is not None and not self.queue:
            return self._overflow.pop()
        self._count(-self._sizes.popleft())
        return super()._get()

    def _count(self, more: int) -> None:
        """Only queues that hold something are looked at when all are added up: there are many of ended statements."""
        if not more:
            return
        self.bytes += more
        with _LOCK:
            if self.bytes:
                _HOLDING.add(self)
            else:
                _HOLDING.discard(self)


_HOLDING: weakref.WeakSet[Waiting] = weakref.WeakSet()
_OVERFLOWS: weakref.WeakSet[Overflow] = weakref.WeakSet()
_LOCK = threading.Lock()


def _held() -> int:
    with _LOCK:
        return sum(waiting.bytes for waiting in _HOLDING)
