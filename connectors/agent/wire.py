"""The channel between an agent and its engine process: frames over a socket pair.

    frame = kind (1 byte), number of an input (4), length (8), then so many bytes

    agent                    engine
      <------- READY           locked, and confined to its own spill folder
      QUERY ------->           names of inputs, SQL; then a SCHEMA for each input
      <------- NEED i          the next batch of input i, please
      BATCH ------->           .. or END
      <------- BOUND           the answer's schema: the query is bound and runs
      <------- BATCH           of the answer
      <------- DONE            or ERROR, at any time

The engine asks for each batch and waits for it: whichever input it reads first, nobody waits in a circle, and
no more is under way than one batch. Schemas and batches are Arrow IPC messages, the rest is JSON.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from enum import IntEnum

import pyarrow as pa

__all__ = ["Channel", "Closed", "Kind"]

_HEADER = struct.Struct("<BIQ")
_JOINED = 65_536
POLL = 0.05


class Kind(IntEnum):
    READY = 1
    QUERY = 2
    NEED = 3
    BATCH = 4
    END = 5
    BOUND = 6
    DONE = 7
    ERROR = 8
    SCHEMA = 9


class Closed(Exception):
    """The other side is gone, or sent what is no frame."""


class Channel:
    """One end. limit: bytes of the largest frame that is taken."""

    def __init__(self, sock: socket.socket, limit: int) -> None:
        self._socket = sock
        self._limit = limit
        self._check: Callable[[], None] | None = None

    def watch(self, check: Callable[[], None] | None) -> None:
        """From now on call `check` every 50 ms while the other side keeps us waiting; it may raise to leave."""
        self._check = check
        self._socket.settimeout(POLL if check else None)

    def send(self, kind: Kind, payload: bytes | pa.Buffer = b"", number: int = 0) -> None:
        """Raises Closed."""
        data = memoryview(payload)
        header = _HEADER.pack(kind, number, data.nbytes)
        if data.nbytes <= _JOINED:
            self._write(memoryview(header + data.tobytes()))
        else:
            self._write(memoryview(header))
            self._write(data)

    def receive(self) -> tuple[Kind, int, pa.Buffer]:
        """(kind, number, payload) of the next frame. Raises Closed; MemoryError if it is too large."""
        header = bytearray(_HEADER.size)
        self._read(memoryview(header))
        kind, number, length = _HEADER.unpack(header)
        if length > self._limit:
            raise MemoryError("a frame larger than the memory that was granted")
        payload = pa.allocate_buffer(length)
        if length:
            self._read(memoryview(payload).cast("B"))
        try:
            return Kind(kind), number, payload
        except ValueError as bad:
            raise Closed("no such frame") from bad

    def _write(self, data: memoryview) -> None:
        while data:
            try:
                data = data[self._socket.send(data) :]
            except TimeoutError:
                self._wait()
            except OSError as bad:
                raise Closed(str(bad)) from bad

    def _read(self, into: memoryview) -> None:
        while into:
            try:
                count = self._socket.recv_into(into)
            except TimeoutError:
                self._wait()
                continue
            except OSError as bad:
                raise Closed(str(bad)) from bad
            if not count:
                raise Closed("end of stream")
            into = into[count:]

    def _wait(self) -> None:
        if self._check is None:
            raise Closed("no answer in time")
        self._check()
