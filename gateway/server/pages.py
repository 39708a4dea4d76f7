"""Arrow batches -> what clients read, page by page: as much of a running answer as fits into one.

client_columns(columns, capabilities)   columns as this client understands them
column_list(columns)                    the protocol's `columns`
Pages(execution, columns)               page after page of a running statement
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from catalog.errors import CityError
from catalog.types import DATETIMES, TrinoType
from gateway.execution import Execution, ResultColumn
from gateway.server.rows import encode, encode_rows, values

__all__ = ["PAGE_BYTES", "SMALLEST_PAGE", "Pages", "client_columns", "column_list", "encode", "values"]

PAGE_BYTES = 4_000_000
"""About how many bytes of Arrow data become one page; the JSON is one to two times as long."""
SMALLEST_PAGE = 128_000
LINGER_SECONDS = 0.005
"""How long the first page waits for more rows once it has some."""
FILL_SECONDS = 0.05
"""How long the later ones do: their client has rows to work on, and few large pages cost less than many small ones."""
AHEAD_SECONDS = 0.25
"""How long a page that nobody asked for yet waits for rows; then it needs no thread any more."""

UNWRITABLE = (pa.ArrowException, TypeError, ValueError, ArithmeticError)
"""How it shows that a value is none of its column's type."""
MAKERS = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
"""Pages in the making at once: more than there are processors would only hold more memory."""

PARAMETRIC_DATETIME = "PARAMETRIC_DATETIME"


def client_columns(columns: Sequence[ResultColumn], capabilities: Collection[str]) -> tuple[ResultColumn, ...]:
    """The columns as the client understands them.

    A client that does not say PARAMETRIC_DATETIME gets every date-time with three digits and no
    arguments, also inside arrays, maps and rows.
    """
    if PARAMETRIC_DATETIME in capabilities:
        return tuple(columns)
    return tuple(ResultColumn(c.name, _plain_datetime(c.type), c.mask) for c in columns)


def _plain_datetime(kind: TrinoType) -> TrinoType:
    if kind.name in DATETIMES:
        return TrinoType(kind.name)
    if kind.name in ("array", "map"):
        return TrinoType(kind.name, tuple(_plain_datetime(t) for t in kind.args))
    if kind.name == "row":
        return TrinoType("row", tuple((name, _plain_datetime(t)) for name, t in kind.args))
    return kind


def column_list(columns: Sequence[ResultColumn]) -> list[dict[str, Any]]:
    """The protocol's `columns`: name, display text of the type, typeSignature."""
    return [{"name": c.name, "type": str(c.type), "typeSignature": c.type.signature()} for c in columns]


# -- pages ---------------------------------------------------------------------------------------------


class Pages:
    """Takes the batches of one running statement and cuts them into pages.

    `next` for one thread at a time. Another may meanwhile call `ahead`, which makes of the next page as much as it
    can while the client reads the last one, and stops as soon as the client asks.
    """

    def __init__(self, execution: Execution, columns: Sequence[ResultColumn], page_bytes: int = PAGE_BYTES) -> None:
        """columns: as the client understands them (`client_columns`). rows: how many were handed out."""
        self.execution = execution
        self.columns = columns
        self.page_bytes = page_bytes
        self.rows = 0
        self._rest: pa.RecordBatch | None = None
        self._parts: list[bytes | memoryview] = []
        self._size = 0
        self._count = 0
        self._fault: Exception | None = None
        self._turn = threading.Lock()
        self._asked = threading.Event()

    @property
    def finished(self) -> bool:
        """Whether every row has been handed out and the statement ended well."""
        return not self._parts and self._rest is None and self.execution.finished

    def next(self, wait: float, room: int = 0) -> bytes | None:
        """A JSON list of rows; None if there are none within `wait` seconds or the answer has ended.

        room: bytes of Arrow data that may go into it, 0 for `page_bytes`.
        Raises the statement's error, also when rows are left that nobody may see any more.
        """
        self._asked.set()
        with self._turn:
            self._asked.clear()
            if self._fault is not None:
                raise self._fault
            linger = FILL_SECONDS if self.rows else LINGER_SECONDS
            while self._add(room or self.page_bytes, linger if self._parts else wait):
                pass
            if not self._parts:
                return None
            page = b"".join([*self._parts, b"]"])
            self.rows += self._count
            self._parts, self._size, self._count = [], 0, 0
            return page

    def ahead(self, room: int) -> None:
        """Begin the next page with batches that are there, or come soon; never takes the answer's end."""
        until = time.monotonic() + AHEAD_SECONDS
        with self._turn:
            while self._size < room and not self._asked.is_set() and self._fault is None:
                if self._rest is None and not self.execution.has_batch(LINGER_SECONDS):
                    if self.execution.ended is not None or time.monotonic() > until:
                        return
                    continue
                try:
                    self._add(room, 0)
                except (CityError, *UNWRITABLE) as bad:
                    self._fault = bad

    def is_full(self, room: int) -> bool:
        """Whether the next page is made."""
        return self._size >= room

    def _add(self, room: int, wait: float) -> bool:
        """Take one batch into the page; False if the page is full or no batch comes within `wait` seconds."""
        if self.execution.error is not None:
            self._rest, self._parts = None, []  # or the error would keep them
            raise self.execution.error
        if self._size >= room:
            return False
        if self._rest is None:
            self._rest = self.execution.next_batch(wait)
        if self._rest is None:
            return False
        batch, more, left = self._rest, None, room - self._size
        size = _most(batch)
        if size > left:
            size = _size(batch)
        if size > left:
            rows = _rows_within(batch, size, left)
            batch, more = batch.slice(0, rows), batch.slice(rows)
            size = _size(batch)
        if batch.num_rows:
            with MAKERS:
                written = encode_rows(batch, self.columns)
            self._parts += [b"," if self._parts else b"[", written]
        # Only now that what comes before it is written.
        self._rest = more if more is not None and more.num_rows else None
        self._size += size
        self._count += batch.num_rows
        return True


ROW_BYTES = 16
"""What a row costs at least as JSON: narrow rows are longer as text than as Arrow."""


def _most(batch: pa.RecordBatch) -> int:
    """`_size` or more, at once: of a slice it counts all that it was cut from."""
    return max(int(batch.get_total_buffer_size()), int(batch.num_rows) * ROW_BYTES)


def _size(batch: pa.RecordBatch) -> int:
    return max(int(batch.nbytes), int(batch.num_rows) * ROW_BYTES)


def _rows_within(batch: pa.RecordBatch, size: int, room: int) -> int:
    """How many of a batch's rows fill the room, which is smaller; at least one. size: of all of them."""
    return max(1, int(batch.num_rows) * room // size)
