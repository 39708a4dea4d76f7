"""Arrow batches -> what clients read, page by page: as much of a running answer as fits into one.

client_columns(columns, capabilities)   columns as this client understands them
column_list(columns)                    the protocol's `columns`
Pages(execution, columns)               page after page of a running statement
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from catalog.types import DATETIMES, TrinoType
from gateway.execution import Execution, ResultColumn
from gateway.server.rows import encode, encode_rows, values

__all__ = ["PAGE_BYTES", "SMALLEST_PAGE", "Pages", "client_columns", "column_list", "encode", "values"]

PAGE_BYTES = 4_000_000
"""About how many bytes of Arrow data become one page; the JSON is one to two times as long."""
SMALLEST_PAGE = 128_000
LINGER_SECONDS = 0.005
"""How long a page that already has rows waits for more."""

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
    """Takes the batches of one running statement and cuts them into pages. One thread at a time."""

    def __init__(self, execution: Execution, columns: Sequence[ResultColumn], page_bytes: int = PAGE_BYTES) -> None:
        """columns: as the client understands them (`client_columns`). rows: how many were handed out."""
        self.execution = execution
        self.columns = columns
        self.page_bytes = page_bytes
        self.rows = 0
        self._rest: pa.RecordBatch | None = None

    @property
    def finished(self) -> bool:
        """Whether every row has been handed out and the statement ended well."""
        return self._rest is None and self.execution.finished

    def next(self, wait: float, room: int = 0) -> bytes | None:
        """A JSON list of rows; None if there are none within `wait` seconds or the answer has ended.

        room: bytes of Arrow data that may go into it, 0 for `page_bytes`.
        Raises the statement's error, also when rows are left that nobody may see any more.
        """
        parts: list[bytes | memoryview] = []
        room = room or self.page_bytes
        while room > 0:
            batch = self._take(LINGER_SECONDS if parts else wait)
            if batch is None:
                break
            rows = _rows_within(batch, room)
            if rows < batch.num_rows:
                self._rest = batch.slice(rows)
                batch = batch.slice(0, rows)
            room -= max(1, _size(batch))
            self.rows += batch.num_rows
            with MAKERS:
                parts += [b"," if parts else b"[", encode_rows(batch, self.columns)]
        return b"".join([*parts, b"]"]) if parts else None

    def _take(self, wait: float) -> pa.RecordBatch | None:
        if self.execution.error is not None:
            raise self.execution.error
        batch, self._rest = self._rest, None
        while batch is None:
            batch = self.execution.next_batch(wait)
            if batch is None:
                return None
            if batch.num_rows == 0:
                batch = None
        return batch


ROW_BYTES = 16
"""What a row costs at least as JSON: narrow rows are longer as text than as Arrow."""


def _size(batch: pa.RecordBatch) -> int:
    return max(int(batch.nbytes), int(batch.num_rows) * ROW_BYTES)


def _rows_within(batch: pa.RecordBatch, room: int) -> int:
    """How many of the batch's rows fill the room; at least one."""
    rows = int(batch.num_rows)
    return max(1, min(rows, rows * room // max(1, _size(batch))))
