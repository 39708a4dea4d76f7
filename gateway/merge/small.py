"""A merge of few rows without an engine: answers matched by equal keys, as most look-ups over departments are.

    shape = shape_of(query, tables)      what a merge query asks for, None if it is any other one
    found = matched(shape, rows)         its answer out of the fragments' rows, None if that would be large
    found = numbers(query)               the answer of `SELECT 1`, by which tools ask whether anybody is there

The shape is `SELECT column, .. FROM answer JOIN answer ON a = b .. WHERE a = b AND c < literal ..`: inner joins of
fragments' answers, with their columns renamed at most. An engine takes longer to be told such a query than to
answer it, and longer than this takes.

Proof. The answer of inner joins and WHERE is the set of combinations of one row of each that make every condition
true. Each condition here is a comparison of two columns, or of a column with a literal, of types whose values Python
compares as Trino does: integers by value, texts by their code points (the order of their UTF-8 bytes), days. NULL makes
no comparison true. Columns are passed on as they came, in the types of their own answers. There is no ORDER BY, so any
order will do.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

import pyarrow as pa
from sqlglot import exp

from catalog.duck import Table
from catalog.types import INTEGER, TrinoType

__all__ = ["MOST", "Matched", "Shape", "matched", "numbers", "shape_of"]

MOST = 512
"""Rows of an answer, and of what comes of them."""
_COMPARE: dict[type[exp.Expr], Callable[[Any, Any], bool]] = {
    exp.EQ: operator.eq, exp.NEQ: operator.ne, exp.LT: operator.lt, exp.LTE: operator.le,
    exp.GT: operator.gt, exp.GTE: operator.ge,
}  # fmt: skip

Place = tuple[int, str]
"""Which of the answers, and its column."""


@dataclass(frozen=True)
class Shape:
    """answers: fragments, in the order of FROM. equal: columns that must be equal, of the later answer first.
    tests: a column of one answer, how it is compared, and with what. outputs: columns. columns: labels and types."""

    answers: tuple[str, ...]
    equal: tuple[tuple[Place, Place], ...]
    tests: tuple[tuple[Place, Callable[[Any, Any], bool], object], ...]
    outputs: tuple[Place, ...]
    columns: tuple[tuple[str, TrinoType], ...]


@dataclass(frozen=True)
class Matched:
    """The rows of an answer. columns: labels and types, as of a compiled query."""

    columns: tuple[tuple[str, TrinoType], ...]
    batch: pa.RecordBatch


def numbers(query: exp.Query) -> Matched | None:
    """One row of whole numbers, None for any other query."""
    if not isinstance(query, exp.Select) or any(v and name != "expressions" for name, v in query.args.items()):
        return None
    values = [item.unalias() for item in query.expressions]
    if not all(isinstance(v, exp.Literal) and not v.is_string and v.name.isdecimal() for v in values):
        return None
    if max((int(v.name) for v in values), default=1 << 31) >= 1 << 31:
        return None
    arrays = [pa.array([int(v.name)], INTEGER.arrow()) for v in values]
    columns = tuple((item.alias_or_name, INTEGER) for item in query.expressions)
    return Matched(columns, pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))]))


class _OtherShape(Exception):
    """The query asks for more than this."""


def shape_of(query: exp.Query, tables: Mapping[str, Table]) -> Shape | None:
    """tables: the fragments' answers."""
    try:
        return _Reading(tables).shape(query)
    except _OtherShape:
        return None


def _only(node: exp.Expr, *names: str) -> None:
    if any(value and name not in names for name, value in node.args.items()):
        raise _OtherShape


class _Reading:
    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._answers: list[str] = []
        self._columns: dict[tuple[str, str], Place] = {}
        self._equal: list[tuple[Place, Place]] = []
        self._tests: list[tuple[Place, Callable[[Any, Any], bool], object]] = []

    def shape(self, query: exp.Query) -> Shape:
        if not isinstance(query, exp.Select) or not query.args.get("from_"):
            raise _OtherShape
        _only(query, "expressions", "from_", "joins", "where")
        self._relation(query.args["from_"].this)
        conditions = []
        for join in query.args.get("joins") or ():
            _only(join, "this", "on", "kind")
            if (join.kind or "").upper() not in ("", "INNER", "CROSS"):
                raise _OtherShape
            self._relation(join.this)
            conditions.append(join.args.get("on"))
        where = query.args.get("where")
        conditions.append(where.this if where else None)
        for condition in filter(None, conditions):
            for part in condition.flatten() if isinstance(condition, exp.And) else (condition,):
                self._condition(part.unnest())
        outputs = tuple(self._place(item.this if isinstance(item, exp.Alias) else item) for item in query.expressions)
        columns = tuple((e.alias_or_name, self._type(o)) for e, o in zip(query.expressions, outputs, strict=True))
        return Shape(tuple(self._answers), tuple(self._equal), tuple(self._tests), outputs, columns)

    def _relation(self, node: exp.Expr) -> None:
        """`f0`, or `(SELECT f0.c0 AS a, .. FROM f0) AS t0`."""
        if not isinstance(node, (exp.Table, exp.Subquery)):
            raise _OtherShape
        _only(node, "this", "alias")
        alias = node.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            raise _OtherShape
        number, name = len(self._answers), node.alias_or_name
        found = {c: c for c in self._answer(node)} if isinstance(node, exp.Table) else self._renamed(node.this)
        for shown, column in found.items():
            if self._columns.setdefault((name, shown), (number, column)) != (number, column):
                raise _OtherShape

    def _renamed(self, select: exp.Expr) -> dict[str, str]:
        table = select.args["from_"].this if isinstance(select, exp.Select) and select.args.get("from_") else None
        if not isinstance(table, exp.Table):
            raise _OtherShape
        _only(select, "expressions", "from_")
        _only(table, "this", "alias")
        columns, found = self._answer(table), {}
        for item in select.expressions:
            column = item.this if isinstance(item, exp.Alias) else item
            if not isinstance(column, exp.Column) or column.table not in ("", table.alias_or_name):
                raise _OtherShape
            if column.name not in columns or item.alias_or_name in found:
                raise _OtherShape
            found[item.alias_or_name] = column.name
        return found

    def _answer(self, table: exp.Table) -> Mapping[str, TrinoType]:
        if table.name not in self._tables:
            raise _OtherShape
        self._answers.append(table.name)
        return self._tables[table.name].columns

    def _place(self, node: exp.Expr) -> Place:
        if not isinstance(node, exp.Column) or (node.table, node.name) not in self._columns:
            raise _OtherShape
        return self._columns[node.table, node.name]

    def _type(self, place: Place) -> TrinoType:
        return self._tables[self._answers[place[0]]].columns[place[1]]

    def _condition(self, node: exp.Expr) -> None:
        compare = _COMPARE.get(type(node))
        if compare is None:
            raise _OtherShape
        left, right = self._place(node.this), node.expression
        kind = self._type(left)
        if not isinstance(right, exp.Column):
            self._tests.append((left, compare, _value(right, kind)))
            return
        other = self._place(right)
        if compare is not operator.eq or left[0] == other[0] or not _is_alike(kind, self._type(other)):
            raise _OtherShape
        self._equal.append((left, other) if left[0] > other[0] else (other, left))


def _is_alike(one: TrinoType, other: TrinoType) -> bool:
    """Whether Python's values of both are compared as Trino compares them."""
    if one.is_integer and other.is_integer:
        return True
    return one.name == other.name and one.name in ("varchar", "date")


def _value(node: exp.Expr, kind: TrinoType) -> object:
    """A literal of a column's own type."""
    if isinstance(node, exp.Literal) and node.is_string and kind.name == "varchar":
        return node.name
    if isinstance(node, exp.Literal) and not node.is_string and kind.is_integer and node.name.isdecimal():
        return int(node.name)
    if kind.name == "date" and isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        with suppress(ValueError):
            if node.to.is_type(exp.DataType.Type.DATE):
                return (date.fromisoformat(node.this.name) - date(1970, 1, 1)).days
    raise _OtherShape


# ---- the answer


def matched(shape: Shape, rows: Mapping[str, pa.Table]) -> Matched | None:
    """The answer, its columns named c0..; None if more rows than `MOST` came of it on the way."""
    found: list[tuple[int, ...]] = [(k,) for k in _passing(shape, 0, rows)]
    for number in range(1, len(shape.answers)):
        found = list(islice(_joined(shape, number, rows, found), MOST + 1))
        if len(found) > MOST:
            return None
    places = list(zip(*found, strict=True)) or [()] * len(shape.answers)
    taken = [_taken(rows[name], chosen) for name, chosen in zip(shape.answers, places, strict=True)]
    arrays = []
    for (number, column), (_, kind) in zip(shape.outputs, shape.columns, strict=True):
        values, wanted = taken[number].column(column).combine_chunks(), kind.arrow()
        arrays.append(values if values.type == wanted else values.cast(wanted))
    return Matched(shape.columns, pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))]))


def _taken(table: pa.Table, places: tuple[int, ...]) -> pa.Table:
    """Rows of an answer, in this order; often all of them as they came."""
    return table if places == tuple(range(table.num_rows)) else table.take(pa.array(places, pa.int64()))


def _passing(shape: Shape, number: int, rows: Mapping[str, pa.Table]) -> Iterator[int]:
    """Rows of one answer that pass its own tests."""
    table = rows[shape.answers[number]]
    tests = [(_values(table, column), compare, wanted) for (n, column), compare, wanted in shape.tests if n == number]
    for k in range(table.num_rows):
        if all(values[k] is not None and compare(values[k], wanted) for values, compare, wanted in tests):
            yield k


def _joined(
    shape: Shape, number: int, rows: Mapping[str, pa.Table], before: list[tuple[int, ...]]
) -> Iterator[tuple[int, ...]]:
    """Combinations of earlier rows, each with every row of one more answer that has equal keys."""
    equal = [(later[1], earlier) for later, earlier in shape.equal if later[0] == number]
    table = rows[shape.answers[number]]
    own = [_values(table, column) for column, _ in equal]
    theirs = [(n, _values(rows[shape.answers[n]], column)) for _, (n, column) in equal]
    index: dict[tuple[object, ...], list[int]] = {}
    for k in _passing(shape, number, rows):
        key = tuple(values[k] for values in own)
        if None not in key:
            index.setdefault(key, []).append(k)
    for row in before:
        for k in index.get(tuple(values[row[n]] for n, values in theirs), ()):
            yield (*row, k)


def _values(table: pa.Table, column: str) -> list[Any]:
    """Python's values of a column that is compared; a day by its number, since Python's years end early."""
    found = table.column(column)
    return list((found.cast(pa.int32()) if pa.types.is_date32(found.type) else found).to_pylist())
