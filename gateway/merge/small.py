"""A merge of few rows without an engine: joined by equal keys, filtered, grouped and put in order.

    found = matched(shape, rows)         the answer to a shape out of the fragments' rows, None if it is the engine's
    found = numbers(query)               the answer of `SELECT 1`, by which tools ask whether anybody is there

An engine takes longer to be told such a query than to answer it, and longer than this takes. The queries are those
that `shapes` reads.

Proof. The answer of inner joins and WHERE is the set of combinations of one row of each that make every condition true.
Conditions on one answer are asked of its rows before they are combined; equal columns of two answers find the
combinations (NULL equals nothing); any other condition is asked of combinations as soon as all that it reads is there.
What a condition means is proved in `conditions`, what groups, aggregates and order mean in `groups`. Columns are passed
on as they came, in the types of their own answers: so are those of a group, which are equal in all its rows, and what
MIN and MAX find. Without ORDER BY any order will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
from sqlglot import exp

from catalog.types import INTEGER, TrinoType
from gateway.merge.conditions import DIGITS, OtherShape, Place, ReadColumn, values
from gateway.merge.groups import Call, arranged, grouped, keys_of
from gateway.merge.shapes import Columns, Shape

__all__ = ["MOST", "Matched", "matched", "numbers"]

MOST = 512
"""Rows of an answer, and of what comes of them."""
Combinations = Sequence[Sequence[int]]
"""For each answer so far the numbers of its rows: one for each combination."""


@dataclass(frozen=True)
class Matched:
    """The rows of an answer, as of a compiled query."""

    columns: Columns
    batch: pa.RecordBatch


def numbers(query: exp.Query) -> Matched | None:
    """One row of whole numbers, None for any other query."""
    if not isinstance(query, exp.Select) or any(v and name != "expressions" for name, v in query.args.items()):
        return None
    literals = [item.unalias() for item in query.expressions]
    if not all(isinstance(v, exp.Literal) and not v.is_string and v.name.isdecimal() for v in literals):
        return None
    if max((int(v.name) for v in literals), default=1 << 31) >= 1 << 31:
        return None
    columns = tuple((item.alias_or_name, INTEGER) for item in query.expressions)
    return _made(columns, [pa.array([int(v.name)], INTEGER.arrow()) for v in literals])


def _made(columns: Columns, arrays: list[pa.Array]) -> Matched:
    return Matched(columns, pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))]))


def matched(shape: Shape, rows: Mapping[str, pa.Table]) -> Matched | None:
    """The answer, its columns named c0..; None if more rows than `MOST` came of it on the way, or too large numbers."""
    try:
        return _Answer(shape, rows).made()
    except OtherShape:
        return None


class _Answer:
    def __init__(self, shape: Shape, rows: Mapping[str, pa.Table]) -> None:
        self._shape = shape
        self._tables = [rows[name] for name in shape.answers]
        self._whole: dict[Place, list[Any]] = {}

    def made(self) -> Matched:
        shape, found = self._shape, self._found()
        column = self._of(found)
        if shape.keys is None:
            groups = [[k] for k in range(len(found[0]))]
        else:
            groups = grouped([column(key) for key in shape.keys], len(found[0]))
        first: list[int | None] = [group[0] for group in groups if group]
        cells = [o.cells(column, groups) if isinstance(o, Call) else first for o in shape.outputs]
        if shape.order:
            ordered = [(shape.outputs[k], cells[k]) if isinstance(k, int) else (k, first) for k, _, _ in shape.order]
            keys = [_values_of(output, its, column) for output, its in ordered]
            places = arranged(keys, shape.order, len(groups))[: shape.limit]
            cells = [[its[k] for k in places] for its in cells]
        kinds = [kind for _, kind in shape.columns]
        return _made(shape.columns, [self._array(*of, found) for of in zip(shape.outputs, cells, kinds, strict=True)])

    def _array(
        self, output: Place | Call, cells: Sequence[int | None], kind: TrinoType, found: Combinations
    ) -> pa.Array:
        wanted = kind.arrow()
        if isinstance(output, Call) and not output.takes_a_row:
            if kind.name != "decimal":
                return pa.array(cells, wanted)
            return pa.array(cells, pa.decimal128(DIGITS, 0)).view(wanted)
        number, name = _place_of(output)
        own = found[number]
        rows = pa.array([None if k is None else own[k] for k in cells], pa.int64())
        taken = self._tables[number].column(name).combine_chunks().take(rows)
        return taken if taken.type == wanted else taken.cast(wanted)

    def _values(self, place: Place) -> list[Any]:
        """A column's values, one for each row of its answer."""
        if place not in self._whole:
            self._whole[place] = values(self._tables[place[0]].column(place[1]), self._shape.kinds[place])
        return self._whole[place]

    def _of(self, found: Combinations) -> ReadColumn:
        """Columns' values, one for each of these combinations."""
        known: dict[Place, list[Any]] = {}

        def column(place: Place) -> list[Any]:
            if place not in known:
                whole = self._values(place)
                known[place] = [whole[k] for k in found[place[0]]]
            return known[place]

        return column

    def _found(self) -> Combinations:
        """The combinations of which all conditions are true."""
        found = [self._passing(0)]
        for number in range(1, len(self._tables)):
            pairs = list(islice(self._joined(number, self._of(found), len(found[0])), MOST + 1))
            if len(pairs) > MOST:
                raise OtherShape
            found = [*([own[i] for i, _ in pairs] for own in found), [k for _, k in pairs]]
            column, kept = self._of(found), list(range(len(pairs)))
            for condition, answers in self._shape.conditions:
                if len(answers) > 1 and max(answers) == number:
                    kept = condition.keep(column, kept)
            if len(kept) < len(pairs):
                found = [[own[i] for i in kept] for own in found]
        return found

    def _passing(self, number: int) -> Sequence[int]:
        """Rows of one answer that pass the conditions on it alone."""
        kept: Sequence[int] = range(self._tables[number].num_rows)
        for condition, answers in self._shape.conditions:
            if answers == {number}:
                kept = condition.keep(self._values, kept)
        return kept

    def _joined(self, number: int, column: ReadColumn, count: int) -> Iterator[tuple[int, int]]:
        """Of `count` combinations so far each, by its number, with every row of one more answer that has equal keys."""
        equal = [(later, earlier) for later, earlier in self._shape.equal if later[0] == number]
        own, kept = [self._values(later) for later, _ in equal], self._passing(number)
        for of in own:
            kept = [k for k in kept if of[k] is not None]
        index: dict[Any, list[int]] = {}
        for k, key in zip(kept, keys_of([[of[k] for k in kept] for of in own], len(kept)), strict=True):
            index.setdefault(key, []).append(k)
        for i, key in enumerate(keys_of([column(earlier) for _, earlier in equal], count)):
            for k in index.get(key, ()):
                yield i, k


def _place_of(output: Place | Call) -> Place:
    """The column that an output's values come from."""
    place = output.place if isinstance(output, Call) else output
    assert place is not None
    return place


def _values_of(output: Place | Call, cells: Sequence[int | None], column: ReadColumn) -> Sequence[Any]:
    """An output's values, by which it is put in order."""
    if isinstance(output, Call) and not output.takes_a_row:
        return cells
    found = column(_place_of(output))
    return [None if k is None else found[k] for k in cells]
