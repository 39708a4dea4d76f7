"""`bucket(edges, labels)`: the label of the interval that holds the value: `bucket(18|65, 'under 18|18-64|65+')`.

k edges, strictly rising, make k + 1 intervals: below the first, `[e_i, e_i+1)`, and from the last one on. NaN
is NULL; infinities lie in the outer intervals. Two intervals may have one label.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import date
from typing import Any, ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, Context, Mask, MaskError, Rank, source_number, source_text, sql_text
from catalog.masks.constant import typed
from catalog.types import VARCHAR, TrinoType


class Bucket(Mask):
    """Integer, decimal, double, date; varchar. Edges have the column's type."""

    kind: ClassVar[str] = "bucket"
    rank: ClassVar[Rank] = Rank.generalise

    def __init__(self, text: str, column_type: TrinoType, edges: list[str], labels: list[str]) -> None:
        super().__init__(text, column_type)
        self._accept(*INTEGERS, "decimal", "double", "date")
        self.edges = [typed(e, column_type) for e in edges]
        self.labels = labels
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise MaskError(f"mask {text}: each edge must be greater than the one before")
        if len(labels) != len(edges) + 1:
            raise MaskError(f"mask {text}: {len(edges)} edges take {len(edges) + 1} labels, not {len(labels)}")
        self.type = VARCHAR
        self._written = edges

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        return self._each(array, self._one)

    def _one(self, value: Any) -> str | None:
        if isinstance(value, float) and math.isnan(value):
            return None
        return self.labels[bisect_right(self.edges, value)]

    def duckdb(self, column: str, *beside: str) -> str:
        known = f"{column} IS NOT NULL"
        if self.column_type.name == "double":
            known += f" AND NOT isnan({column})"
        kind = self.column_type.duckdb()
        cases = [
            f"WHEN {column} < CAST({sql_text(e)} AS {kind}) THEN {sql_text(label)}"
            for e, label in zip(self._written, self.labels, strict=False)
        ]
        return f"CASE WHEN NOT ({known}) THEN NULL {' '.join(cases)} ELSE {sql_text(self.labels[-1])} END"

    def source(self, dialect: str) -> str | None:
        """No doubles (NaN), no decimals where they are none, no labels that engines could read differently."""
        kind = self.column_type
        labels = [source_text(label) for label in self.labels]
        if kind.name == "double" or (kind.name == "decimal" and dialect == "sqlite") or None in labels:
            return None
        edges = [source_number(e) if kind.is_numeric else _day(e, dialect) for e in self.edges]
        cases = [f"WHEN :c < {e} THEN {label}" for e, label in zip(edges, labels, strict=False)]
        return f"CASE {' '.join(cases)} WHEN :c >= {edges[-1]} THEN {labels[-1]} END"

    def coarser_than(self, other: Mask) -> bool:
        """If on the cells of both, the other's label decides this one's."""
        if not isinstance(other, Bucket):
            return False
        decided: dict[str, str] = {}
        edges = sorted({*self.edges, *other.edges})
        # One value of each cell: its lower edge; below the first edge both show their first label.
        pairs = [(other.labels[0], self.labels[0])]
        pairs += [(other.labels[bisect_right(other.edges, e)], self.labels[bisect_right(self.edges, e)]) for e in edges]
        return all(decided.setdefault(theirs, own) == own for theirs, own in pairs)


def _day(value: date, dialect: str) -> str:
    return f"'{value}'" if dialect == "sqlite" else f"CAST('{value}' AS DATE)"


def build(args: list[str], column_type: TrinoType, context: Context) -> Bucket:
    if len(args) != 2:
        raise MaskError("mask bucket takes edges and labels: bucket(18|65, 'under 18|18-64|65+')")
    edges, labels = ([part.strip() for part in a.split("|")] for a in args)
    if not all(edges) or not all(labels):
        raise MaskError("mask bucket: no edge and no label may be empty")
    return Bucket(f"bucket({', '.join(args)})", column_type, edges, labels)
