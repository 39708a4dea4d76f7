"""The kinds of statement: what has to happen with a text, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gateway.execution import Effects, ResultColumn

__all__ = ["DescribeInput", "DescribeOutput", "Effect", "Explain", "Kill", "NameParts", "Query", "Statement"]


NameParts = tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A SELECT, WITH, VALUES or set operation for the pipeline.

    verbatim: `sql` is the client's own text, so places in it mean something to the client.
    requires: names (catalog), (catalog, schema) or (catalog, schema, table) that must be visible first.
    """

    sql: str
    verbatim: bool = True
    requires: tuple[NameParts, ...] = ()


@dataclass(frozen=True)
class Effect:
    """A statement that ends in the gateway: it changes the client's session or answers known rows."""

    effects: Effects
    columns: tuple[ResultColumn, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    requires: tuple[NameParts, ...] = ()

    def batch(self) -> pa.RecordBatch | None:
        """The rows as one Arrow batch, None if there are none."""
        if not self.rows:
            return None
        arrays = [
            pa.array(values, column.type.arrow())
            for values, column in zip(zip(*self.rows, strict=True), self.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in self.columns])


@dataclass(frozen=True)
class Explain:
    """EXPLAIN of a query. kind: "text", "validate" or "io"; json: FORMAT JSON was asked for."""

    sql: str
    kind: str = "text"
    analyze: bool = False
    json: bool = False
    verbatim: bool = True
    requires: tuple[NameParts, ...] = ()


@dataclass(frozen=True)
class DescribeOutput:
    """DESCRIBE OUTPUT: the result columns of a prepared query, whose parameters are NULLs here."""

    sql: str
    requires: tuple[NameParts, ...] = ()


@dataclass(frozen=True)
class DescribeInput:
    """DESCRIBE INPUT: the parameters of a prepared query, told by markers (`prepared.marked`) in their places.

    known: position -> type of those that no marker can stand for.
    """

    sql: str
    count: int
    known: dict[int, str]
    requires: tuple[NameParts, ...] = ()


@dataclass(frozen=True)
class Kill:
    """CALL system.runtime.kill_query: end one of the user's own queries."""

    query_id: str
    message: str = ""


Statement = Query | Effect | Explain | DescribeInput | DescribeOutput | Kill
