"""A table in blocks of pages: each comes as one row that holds an array a column.

    SELECT array_agg(CAST(x.part AS BIGINT) * 4294967296 + CAST(x.quantity * 100 AS INT))
    FROM (SELECT .. FROM lineitem AS r WHERE .. AND r.ctid >= '(2048,0)' AND r.ctid < '(4096,0)') AS x

A row of COPY costs the server a message and the agent a call, whatever it holds: of a million narrow rows that is most
of the work. So whole tables are asked for like this, where all columns are whole numbers, dates or decimals that fit
64 bits as whole numbers of their last digit. Two columns go into one array, half a number each, as long as their values
have room there: an array costs the server as much as all that it computes. Blocks can be read over two connections.

Proof. A snapshot sees one version of a row, which has one ctid, below the number of pages that the table has once the
snapshot is taken. The table stays locked against being written anew until the transaction ends, so that the blocks hold
its rows, each once. WHERE is that of the scan. array_agg keeps all values of a column, of each in the same order. A
column of numeric(p, s) holds no more digits, times ten to the declared scale (s or more) it is whole, and what has at
most 18 digits fits 64 bits; the declaration is read inside the transaction. NaN ends the statement. Where an array
tells of a NULL, the block is read again row by row. A column of which only those that are not NULL will be counted is
counted there: where they are as many as the block's rows, any values stand for them, else it is read again, too.
Of h * 2^32 + l, where l has 32 bits, l is the lower half, as a number with a sign, and h what is left without it. The
server refuses an l of more bits, and an h with which the product or the sum has no room in 64: the block is asked for
once more then, from the savepoint before it on, an array a column. A NULL in either makes one of the sum.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Container, Generator, Sequence
from contextlib import closing, suppress
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
from connectors.copied import WIRES, Elements, Whole, batches, copied
from connectors.native import Compiled, describe

__all__ = ["Blocks", "may_be_blocks"]

PAGES, COLUMNS = 2048, 4
"""Of a block: of narrow rows some 100,000, 16 MB in the server. Of so many columns; of more columns fewer pages, since
up to ten blocks wait here for a slow reader."""
DIGITS = 18
HALF = 1 << 32
_HEAD = struct.Struct(">iiIii")
"""Of an array: dimensions, whether it holds NULLs, type of its elements; size of the dimension, where that begins."""
_ORDINARY = """
SELECT pg_relation_size(c.oid) / current_setting('block_size')::int
FROM pg_class c JOIN pg_am m ON m.oid = c.relam
WHERE c.oid = %s AND c.relkind = 'r' AND NOT c.relhassubclass AND m.amname = 'heap'
  AND has_table_privilege(c.oid, 'SELECT')
"""

Connection = psycopg.Connection[Any]
Numbers = np.ndarray[Any, np.dtype[Any]]
Together = tuple[int, ...]
"""Columns that go into one array, one or two, by their place."""
_NO_ROOM = (
    psycopg.errors.FeatureNotSupported, psycopg.errors.NumericValueOutOfRange, psycopg.errors.DatetimeFieldOverflow,
)  # fmt: skip


def may_be_blocks(scan: NativeScan) -> bool:
    """Whether it reads a table, as far as it says, from end to end, and columns of types that go into arrays."""
    if not isinstance(scan.relation, str) or scan.is_query or scan.keys or scan.limit is not None or scan.order:
        return False
    if scan.masked:  # of which a cell may not fit
        return False
    return bool(scan.columns) and all(o.type.name == "date" or _scale(o.type) is not None for o in scan.columns)


def _scale(type_: TrinoType) -> int | None:
    """Digits behind the point of a type of exact numbers, None of any other."""
    return type_.args[1] if type_.name == "decimal" else 0 if type_.is_integer else None


class Blocks:
    """A scan that `may_be_blocks`, in a transaction that sees one state of the database.

    compiled_of: the statement of a scan. counted: names of what it delivers of which only those that are not NULL will
    be counted, so that any values do. pairs: whether columns are to go into arrays in pairs. wide: called once their
    values have no room there.
    """

    def __init__(
        self,
        scan: NativeScan,
        compiled_of: Callable[[NativeScan], Compiled],
        counted: Container[str],
        pairs: bool,
        wide: Callable[[], None],
    ) -> None:
        self._scan, self._counted, self._wide = scan, [o.name in counted for o in scan.columns], wide
        self._alone: list[Together] = [(place,) for place in range(len(scan.columns))]
        self._arrays = self._pairs() if pairs else self._alone
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
        try:
            columns = self._columns(block, connection)
        except _NO_ROOM as bad:
            names = ", ".join(repr(name) for name, _ in self._scan.outputs)
            raise SourceError(f"columns {names}: a number that is none, or has too many digits") from bad
        if columns is None:
            yield from batches(connection, block, self._scan, cancel)
        elif (batch := self._batch(columns, block.wires)).num_rows:
            yield batch

    def _columns(self, block: Compiled, connection: Connection) -> list[Numbers | int] | None:
        """What stands in each column, or how many values of it; None if there are NULLs. Raises _NO_ROOM."""
        arrays = self._arrays
        if arrays != self._alone:
            connection.execute("SAVEPOINT atoll")
            with suppress(*_NO_ROOM):
                found = self._asked(block, connection, arrays)
                connection.execute("RELEASE SAVEPOINT atoll")
                return found
            connection.execute("ROLLBACK TO SAVEPOINT atoll")
            self._arrays = self._alone
            self._wide()
        return self._asked(block, connection, self._alone)

    def _asked(self, block: Compiled, connection: Connection, arrays: list[Together]) -> list[Numbers | int] | None:
        buffer = bytearray()
        with closing(copied(connection, self._in_arrays(block, arrays))) as buffers:
            for rows, _ in buffers:
                buffer += rows
        found = _elements(buffer, [self._wire(block, together) for together in arrays])
        return None if found is None else self._apart(found, arrays)

    def _apart(self, found: list[Numbers | int], arrays: list[Together]) -> list[Numbers | int]:
        """The columns of arrays, in their order."""
        columns: dict[int, Numbers | int] = {}
        for numbers, (first, *second) in zip(found, arrays, strict=True):
            columns[first] = numbers
            if second and not isinstance(numbers, int):
                low = numbers.astype(np.int32)
                columns[first], columns[second[0]] = (numbers - low) >> 32, low
        return [columns[place] for place in range(len(columns))]

    def _pairs(self) -> list[Together]:
        """Dates last, which are no numbers yet, and may stay alone."""
        listed = [place for place, counted in enumerate(self._counted) if not counted]
        listed.sort(key=lambda place: self._scan.columns[place].type.name == "date")
        pairs: list[Together] = [*zip(listed[::2], listed[1::2], strict=False)]
        return [*pairs, *((place,) for place in range(len(self._counted)) if not any(place in pair for pair in pairs))]

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

    def _in_arrays(self, block: Compiled, arrays: list[Together]) -> str:
        forms = []
        for first, *second in arrays:
            if second:
                high, low = self._number(block, first, "BIGINT"), self._number(block, second[0], "INT")
                forms.append(f"array_agg({high} * {HALF} + {low})")
            elif self._counted[first]:
                forms.append(f"count({self._value(first)})")
            elif block.wires[first] == "numeric":
                forms.append(f"array_agg({self._number(block, first, 'BIGINT')})")
            else:
                forms.append(f"array_agg({self._value(first)})")
        return f"SELECT {', '.join(forms)} FROM ({block.sql}) AS x"

    def _value(self, place: int) -> str:
        return f"x.{sql.Identifier(self._scan.columns[place].name).as_string()}"

    def _number(self, block: Compiled, place: int, kind: str) -> str:
        """A column as whole numbers: of a decimal the units of its last digit, of a date the days since 2000."""
        value, wire = self._value(place), block.wires[place]
        if wire == "numeric":
            value = f"{value} * {10 ** (_scale(self._scan.columns[place].type) or 0)}"
        elif wire == "date":
            value = f"{value} - DATE '2000-01-01'"
        return f"CAST({value} AS {kind})"

    def _wire(self, block: Compiled, together: Together) -> str | None:
        """Of what an array's elements are; None of a number of values."""
        if self._counted[together[0]]:
            return None
        wire = block.wires[together[0]]
        return "int8" if len(together) > 1 or wire == "numeric" else wire

    def _batch(self, columns: list[Numbers | int], wires: tuple[str, ...]) -> pa.RecordBatch:
        found = []
        for (name, type_), wire, numbers in zip(self._scan.outputs, wires, columns, strict=True):
            if isinstance(numbers, int):
                zero = Decimal(0) if type_.name == "decimal" else 0
                found.append(pa.repeat(pa.scalar(zero, type_.arrow()), numbers))
                continue
            with naming(name, type_):
                whole = wire != "numeric"
                values = WIRES[wire].read(Whole(numbers, wire), type_) if whole else _decimals(numbers, type_)
                found.append(fit(values, type_))
        return pa.record_batch(found, schema=self._scan.schema)


def _fits(digits: int | None, behind: int | None, scale: int) -> bool:
    """Whether numeric(digits, behind) is a whole number of 64 bits, counted in units of `scale`."""
    return digits is not None and behind is not None and 0 <= behind <= scale and digits - behind + scale <= DIGITS


def _elements(row: bytearray, wires: Sequence[str | None]) -> list[Numbers | int] | None:
    """The arrays of the only row, a number where there is no wire; None if they are not all of as many elements, none
    of them NULL."""
    found: list[Numbers | int] = []
    at = 2
    try:
        for wire in wires:
            (size,) = struct.unpack_from(">i", row, at)
            at += 4
            if wire is None:
                found += struct.unpack_from(">q", row, at)
            elif size < 0:  # array_agg of no rows
                found.append(np.empty(0, np.int64))
                continue
            else:
                dimensions, nulls, _, count, _ = _HEAD.unpack_from(row, at)
                if nulls:
                    return None
                if dimensions != 1 or size != _HEAD.size + count * WIRES[wire].form.itemsize:
                    raise IndexError
                found.append(Elements(row, at + _HEAD.size, count, wire).numbers("value"))
            at += size
        if at != len(row):
            raise IndexError
    except (IndexError, ValueError, struct.error):
        raise psycopg.InternalError("the server's arrays are not those that were asked for") from None
    return found if len({one if isinstance(one, int) else one.size for one in found}) == 1 else None


def _decimals(units: Numbers, type_: TrinoType) -> pa.Array:
    """Decimals of their last digits' units; whole numbers as decimals without a fraction."""
    digits, scale = type_.args if type_.name == "decimal" else (DIGITS, 0)
    if digits < DIGITS and (np.abs(units) >= 10**digits).any():
        raise Unfit("more digits before the point")
    found = np.empty((units.size, 2), np.int64)
    found[:, 0], found[:, 1] = units, units >> 63
    return pa.Array.from_buffers(pa.decimal128(digits, scale), units.size, [None, pa.py_buffer(found)])
