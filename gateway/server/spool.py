"""Encoded ("spooled") results: rows packed into segments, and the place where segments wait to be fetched.

    chosen(request.headers)      the client's first encoding that we know, "" for plain rows
    pack(encoding, rows)         rows as JSON -> the bytes of a segment
    Spool(folder)                put, read, drop segments; nothing outlives its statement, expiry or process

A segment's id is the secret that opens it. Segments lie in memory up to a bound; more of them go to files
without a name in the gateway's own folder (0700), encrypted with a key that this process alone has.
Whatever happens to the process, the system frees them. When all is full, `put` says so, and the rows
travel inside the page instead: the protocol has a form for both.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.datastructures import Headers

__all__ = ["ENCODINGS", "HEADER", "Packed", "Spool", "chosen", "pack"]

HEADER = "X-Trino-Query-Data-Encoding"
ENCODINGS = ("json", "json+zstd", "json+lz4")
WORTH_PACKING = 8_000
"""Bytes below which a segment stays as it is, as Trino's do."""
ZSTD_LEVEL = 1
NONCE_BYTES = 12


def chosen(headers: Headers) -> str:
    """The first encoding of the client's list that we know; "" for none: plain rows."""
    asked = ",".join(headers.getlist(HEADER)).split(",")
    return next((name for entry in asked if (name := entry.strip().lower()) in ENCODINGS), "")


@dataclass(frozen=True)
class Packed:
    """The bytes of a segment. plain_size: before compression, None where there is none."""

    data: bytes
    plain_size: int | None = None


def pack(encoding: str, rows: bytes) -> Packed:
    """Rows (a JSON list of row lists) in an encoding of `ENCODINGS`; small ones uncompressed."""
    if encoding == "json" or len(rows) < WORTH_PACKING:
        return Packed(rows)
    if encoding == "json+zstd":
        return Packed(zstandard.ZstdCompressor(ZSTD_LEVEL).compress(rows), len(rows))
    return Packed(pa.compress(rows, codec="lz4_raw", asbytes=True), len(rows))


@dataclass
class _Segment:
    """owner: the statement. Either `data`, or `size` encrypted bytes in `file`."""

    owner: str
    expires: float
    size: int
    data: bytes | None = None
    file: IO[bytes] | None = None


class Spool:
    """Segments that wait for their clients. Safe for use from several threads."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        memory_bytes: int = 64_000_000,
        disk_bytes: int = 2_000_000_000,
        owner_bytes: int = 128_000_000,
        files: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """folder: made with mode 0700; None for one of its own. owner_bytes: what one statement may hold."""
        self._own = tempfile.TemporaryDirectory(prefix="spool-") if folder is None else None
        self.folder = Path(self._own.name) if self._own else Path(folder or "")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.memory_bytes, self.disk_bytes, self.owner_bytes, self.files = memory_bytes, disk_bytes, owner_bytes, files
        self.memory = self.disk = 0
        self._clock = clock
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self._segments: dict[str, _Segment] = {}
        self._opened = 0
        self._lock = threading.Lock()

    def put(self, owner: str, data: bytes, seconds: float) -> str | None:
        """Keep a segment for so many seconds; its id, None when there is no room."""
        name = secrets.token_urlsafe(24)
        segment = _Segment(owner, self._clock() + seconds, len(data))
        with self._lock:
            held = sum(s.size for s in self._segments.values() if s.owner == owner)
            if held + segment.size > self.owner_bytes:
                return None
            if self.memory + segment.size <= self.memory_bytes:
                segment.data = data
                self._add(name, segment)
                return name
            if self._opened >= self.files or self.disk + segment.size > self.disk_bytes:
                return None
            self._opened += 1
            self.disk += segment.size
        try:
            segment.file = self._written(name, data)
        except OSError:
            # A full disk: the rows travel in the page.
            with self._lock:
                self._opened -= 1
                self.disk -= segment.size
            return None
        with self._lock:
            self._segments[name] = segment
        return name

    def _add(self, name: str, segment: _Segment) -> None:
        self._segments[name] = segment
        self.memory += segment.size

    def _written(self, name: str, data: bytes) -> IO[bytes]:
        nonce = os.urandom(NONCE_BYTES)
        file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 (it lives as long as its segment)
        try:
            file.write(nonce + self._cipher.encrypt(nonce, data, name.encode()))
            file.flush()
        except OSError:
            file.close()
            raise
        return file

    def read(self, name: str) -> tuple[str, bytes]:
        """The statement and the bytes of a segment. Raises KeyError for one that is gone."""
        with self._lock:
            segment = self._segments[name]
            if segment.expires < self._clock():
                raise KeyError(name)
            if segment.data is not None:
                return segment.owner, segment.data
            assert segment.file is not None
            # Under the lock, so that nobody closes the file meanwhile.
            raw = os.pread(segment.file.fileno(), NONCE_BYTES + segment.size + 16, 0)
        return segment.owner, self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], name.encode())

    def drop(self, name: str) -> str | None:
        """Free a segment; the statement that it belonged to, None if there is no such segment."""
        with self._lock:
            segment = self._segments.pop(name, None)
            if segment is None:
                return None
            if segment.file is None:
                self.memory -= segment.size
            else:
                segment.file.close()
                self.disk -= segment.size
                self._opened -= 1
            return segment.owner

    def forget(self, owner: str) -> None:
        """Free whatever a statement still holds."""
        self._drop_all(lambda segment: segment.owner == owner)

    def sweep(self) -> None:
        """Free what has expired."""
        now = self._clock()
        self._drop_all(lambda segment: segment.expires < now)

    def _drop_all(self, is_over: Callable[[_Segment], bool]) -> None:
        with self._lock:
            names = [name for name, segment in self._segments.items() if is_over(segment)]
        for name in names:
            self.drop(name)

    def __len__(self) -> int:
        return len(self._segments)

    def is_writable(self) -> bool:
        """Whether a file can be made now."""
        try:
            with tempfile.TemporaryFile(dir=self.folder):
                return True
        except OSError:
            return False

    def close(self) -> None:
        self._drop_all(lambda segment: True)
        if self._own is not None:
            self._own.cleanup()
