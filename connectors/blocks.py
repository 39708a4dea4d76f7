"""A table in blocks of pages: each comes as one row that holds an array a column.

    SELECT array_agg(x.part), array_agg(CAST(x.quantity * 100 AS BIGINT))
    FROM (SELECT .. FROM lineitem AS r WHERE .. AND r.ctid >= '(2048,0)' AND r.ctid < '(4096,0)') AS x

A row of COPY costs the server a message and the agent a call, whatever it holds: of a million narrow rows that is most
of the work. So whole tables are asked for like this, where all columns are whole numbers, dates or decimals that fit
64 bits as whole numbers of their last digit. Blocks can be read over two connections.

Proof. A snapshot sees one version of a row, which has one ctid, below the number of pages that the table has once the
snapshot is taken. The table stays locked against being written anew until the transaction ends, so that the blocks hold
its rows, each once. WHERE is that of the scan. array_agg keeps all values of a column, of each in the same order. A
column of numeric(p, s) holds no more digits, times ten to the declared scale (s or more) it is whole, and what has at
most 18 digits fits 64 bits; the declaration is read inside the transaction. NaN ends the statement. Where an array
tells of a NULL, the block is read again row by row. A column of which only those that are not NULL will be counted is
counted there: where they are as many as the block's rows, any values stand for them, else it is read again, too.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Container, Generator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from catalog.types import TrinoType
from connectors.base import Cancel, NativeScan, SourceError
from connectors.cells import Unfit, fit, naming
from connectors.copied import WIRES, Elements, batches, copied
from connectors.native import Compiled, describe

__all__ = ["Blocks", "may_be_blocks"]

PAGES, COLUMNS = 2048, 4
"""Of a block: of narrow rows some 100,000, 16 MB in the server. Of so many columns; of more columns fewer pages, since
up to ten blocks wait here for a slow reader."""
DIGITS = 18
_HEAD = struct.Struct(">iiIii")
"""Of an array: dimensions, whether it holds NULLs, type of its elements; size of the dimension, where that begins."""
_ORDINARY = """
SELECT pg_relation_size(c.oid) / current_setting('block_size')::int
FROM pg_class c JOIN pg_am m ON m.oid = c.relam
WHERE c.oid = %s AND c.relkind = 'r' AND NOT c.relhassubclass AND m.amname = 'heap'
  AND has_table_privilege(c.oid, 'SELECT')
"""

Connection = psycopg.Connection[Any]


def may_be_blocks(scan: NativeScan) -> bool:
    """Whether it reads a table, as far as it says, from end to end, and columns of types that go into arrays."""
    if not isinstance(scan.relation, str) or scan.is_query or scan.keys or scan.limit is not None or scan.order:
        return False
    return bool(scan.columns) and all(o.type.name == "date" or _scale(o.type) is not None for o in scan.columns)


def _scale(type_: TrinoType) -> int | None:
    """Digits behind the point of a type of exact numbers, None of any other."""
    return type_.args[1] if type_.name == "decimal" else 0 if type_.is_integer else None


class Blocks:
    """A scan that `may_be_blocks`, in a transaction that sees one state of the database.

    compiled_of: the statement of a scan. counted: names of what it delivers of which only those that are not NULL will
    be counted, so that any values do.
    """

    def __init__(
        self, scan: NativeScan, compiled_of: Callable[[NativeScan], Compiled], counted: Container[str] = ()
    ) -> None:
        self._scan, self._counted = scan, [o.name in counted for o in scan.columns]
        self._size = max(1, PAGES * COLUMNS // max(COLUMNS, len(scan.columns)))
        self._first, self._last = secrets.token_hex(16), secrets.token_hex(16)
        pages = f"r.ctid >= '{self._first}'::tid AND r.ctid < '{self._last}'::tid"
        self._one = compiled_of(replace(scan, row_filters=(*scan.row_filters, pages)))

    def of(self, connection: Connection) -> list[Compiled]:
        """The statements of the blocks, row by row; none if the table is not to be read so. Locks its form."""
        pages = self._pages(connection)
        blocks = [self._block(first) for first in range(0, pages, self._size)]
        if blocks:
            found = connection.execute(f"EXPLAIN (FORMAT JSON) {blocks[0].sql}".encode()).fetchone()
            # An old server would read the whole table for each.
            if found is None or found[0][0]["Plan"]["Node Type"] != "Tid Range Scan":
                return []
        return blocks

    def read(self, cancel: Cancel, block: Compiled, connection: Connection) -> Generator[pa.RecordBatch]:
        """The rows of a block. Raises SourceError, psycopg.Error."""
        cancel.check()
        buffer = bytearray()
        try:
            with closing(copied(connection, self._in_arrays(block))) as buffers:
                for rows, _ in buffers:
                    buffer += rows
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.NumericValueOutOfRange) as bad:
            names = ", ".join(repr(name) for name, _ in self._scan.outputs)
            raise SourceError(f"columns {names}: a number that is none, or has too many digits") from bad
        elements = _elements(buffer, [
            None if counted else "int8" if wire == "numeric" else wire
            for wire, counted in zip(block.wires, self._counted, strict=True)
        ])  # fmt: skip
        if elements is None:
            yield from batches(connection, block, self._scan, cancel)
        elif (batch := self._batch(elements, block.wires)).num_rows:
            yield batch

    def _pages(self, connection: Connection) -> int:
        """How many pages the table has; 0 if its rows don't lie in pages of its own, or don't fit arrays."""
        cursor = connection.execute(describe(self._scan, "postgres").encode())
        digits = {c.name: (c.precision, c.scale) for c in cursor.description or ()}
        for output, wire in zip(self._scan.columns, self._one.wires, strict=True):
            if wire == "numeric" and not _fits(*digits.get(output.column, (None, None)), _scale(output.type) or 0):
                return 0
        table = 0 if cursor.pgresult is None else cursor.pgresult.ftable(0)
        found = connection.execute(_ORDINARY, (table,)).fetchone()
        return 0 if found is None else int(found[0])

    def _block(self, first: int) -> Compiled:
        text = self._one.sql.replace(self._first, f"({first},0)").replace(self._last, f"({first + self._size},0)")
        return replace(self._one, sql=text)

    def _in_arrays(self, block: Compiled) -> str:
        forms = []
        for (name, type_), wire, counted in zip(self._scan.outputs, block.wires, self._counted, strict=True):
            value = f"x.{sql.Identifier(name).as_string()}"
            if wire == "numeric" and not counted:
                value = f"CAST({value} * {10 ** (_scale(type_) or 0)} AS BIGINT)"
            forms.append(f"count({value})" if counted else f"array_agg({value})")
        return f"SELECT {', '.join(forms)} FROM ({block.sql}) AS x"

    def _batch(self, elements: list[Elements | int], wires: tuple[str, ...]) -> pa.RecordBatch:
        found = []
        for (name, type_), wire, cells in zip(self._scan.outputs, wires, elements, strict=True):
            if isinstance(cells, int):
                zero = Decimal(0) if type_.name == "decimal" else 0
                found.append(pa.repeat(pa.scalar(zero, type_.arrow()), cells))
                continue
            with naming(name, type_):
                values = _decimals(cells, type_) if wire == "numeric" else WIRES[wire].read(cells, type_)
                found.append(fit(values, type_))
        return pa.record_batch(found, schema=self._scan.schema)


def _fits(digits: int | None, behind: int | None, scale: int) -> bool:
    """Whether numeric(digits, behind) is a whole number of 64 bits, counted in units of `scale`."""
    return digits is not None and behind is not None and 0 <= behind <= scale and digits - behind + scale <= DIGITS


def _elements(row: bytearray, wires: list[str | None]) -> list[Elements | int] | None:
    """The arrays of the only row, a number where there is no wire; None if they are not all of as many elements, none
    of them NULL."""
    found: list[Elements | int] = []
    at = 2
    try:
        for wire in wires:
            (size,) = struct.unpack_from(">i", row, at)
            at += 4
            if wire is None:
                found += struct.unpack_from(">q", row, at)
            elif size < 0:  # array_agg of no rows
                found.append(Elements(row, 0, 0, wire))
                continue
            else:
                dimensions, nulls, _, count, _ = _HEAD.unpack_from(row, at)
                if nulls:
                    return None
                if dimensions != 1 or size != _HEAD.size + count * WIRES[wire].form.itemsize:
                    raise IndexError
                found.append(Elements(row, at + _HEAD.size, count, wire))
            at += size
        if at != len(row):
            raise IndexError
    except (IndexError, ValueError, struct.error):
        raise psycopg.InternalError("the server's arrays are not those that were asked for") from None
    return found if len({one if isinstance(one, int) else one.count for one in found}) == 1 else None


def _decimals(cells: Elements, type_: TrinoType) -> pa.Array:
    """Decimals of their last digits' units; whole numbers as decimals without a fraction."""
    digits, scale = type_.args if type_.name == "decimal" else (DIGITS, 0)
    units = cells.numbers("value")
    if digits < DIGITS and (np.abs(units) >= 10**digits).any():
        raise Unfit("more digits before the point")
    found = np.empty((cells.count, 2), np.int64)
    found[:, 0], found[:, 1] = units, units >> 63
    return cells.array(pa.decimal128(digits, scale), found)
