"""A merge of few rows without an engine: joined by equal keys, filtered, grouped and put in order.

    found = matched(shape, rows)         the answer to a shape out of the fragments' rows, None if it is the engine's
    found = numbers(query)               the answer of `SELECT 1`, by which tools ask whether anybody is there

An engine takes longer to be told such a query than to answer it, and longer than this takes. The queries are those
that `shapes` reads.

Proof. The answer of inner joins and WHERE is the set of combinations of one row of each that make every condition true.
Conditions on one answer are asked of its rows before they are combined; equal columns of two answers find the
combinations (NULL equals nothing); any other condition is asked of combinations as soon as all that it reads is there.
What a condition means is proved in `conditions` and `joins`, what groups, aggregates and order mean in `groups`.
Columns are passed on as they came, in the types of their own answers: so are those of a group, which are equal in all
its rows, and what MIN and MAX find. Without ORDER BY any order will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from catalog.types import INTEGER, TrinoType
from gateway.merge.conditions import DIGITS, Among, Condition, OtherShape, Place, ReadColumn, values
from gateway.merge.groups import Call, Groups, arranged, grouped, keys_of
from gateway.merge.joins import Joined
from gateway.merge.shapes import Columns, Shape

__all__ = ["MOST", "Matched", "matched", "numbers"]

MOST = 2_048
"""Rows of an answer, and of what comes of them."""
MOST_CELLS = 1 << 16
"""Values that conditions look at: an engine is faster at more."""
CALL = 4
"""What an aggregate takes, in looks at a value."""
MOST_BYTES = 1 << 22
"""Of a column of the answer, whose rows may repeat a long text."""
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
        return _answer(shape, _Rows(shape.joined, rows))
    except OtherShape:
        return None


def _answer(shape: Shape, rows: _Rows) -> Matched:
    found = rows.found()
    column, count = rows.of(found), len(found[0])
    if CALL * count * sum(isinstance(output, Call) for output in shape.outputs) > MOST_CELLS:
        raise OtherShape
    alone = Groups((), range(count))
    groups = alone if shape.keys is None else grouped([column(key) for key in shape.keys], count)
    first = groups.first
    cells = {o: o.cells(column, groups) if isinstance(o, Call) else first for o in shape.outputs}
    places: Sequence[int] = range(len(first))
    if shape.order:
        outputs = [shape.outputs[k] if isinstance(k, int) else k for k, _, _ in shape.order]
        keys = [_values_of(output, cells.get(output, first), column) for output in outputs]
        places = arranged(keys, shape.order, len(places))[: shape.limit]
        cells = {output: [its[k] for k in places] for output, its in cells.items() if isinstance(output, Call)}
    numbers = {output[0] for output in shape.outputs if not isinstance(output, Call)}
    shown = {n: pa.array([found[n][first[k]] for k in places], pa.int64()) for n in numbers}
    arrays = [
        _called(o, cells[o], rows, found) if isinstance(o, Call) else rows.taken(o, shown[o[0]], kind)
        for o, (_, kind) in zip(shape.outputs, shape.columns, strict=True)
    ]
    return _made(shape.columns, arrays)


def _called(call: Call, cells: Sequence[int | None], rows: _Rows, found: Combinations) -> pa.Array:
    """The values of an aggregate."""
    if call.takes_a_row:
        place = _place_of(call)
        own = found[place[0]]
        return rows.taken(place, pa.array([None if k is None else own[k] for k in cells], pa.int64()), call.kind)
    if call.kind.name == "decimal":
        return pa.array(cells, pa.decimal128(DIGITS, 0)).view(call.kind.arrow())
    return pa.array(cells, call.kind.arrow())


class _Rows:
    """The rows that FROM and WHERE make of the answers'. Its methods raise OtherShape."""

    def __init__(self, joined: Joined, rows: Mapping[str, pa.Table]) -> None:
        self._joined = joined
        self._tables = [rows[name] for name in joined.relations]
        self._whole: dict[Place, list[Any]] = {}
        self._conditions = list(joined.conditions)
        for nested in joined.nested:
            known = _Rows(nested.joined, rows).set_of(nested.column)
            self._conditions.append((Among(nested.place, known, nested.holds), frozenset({nested.place[0]})))

    def set_of(self, place: Place) -> frozenset[object]:
        """What stands in a column, but for NULL."""
        return frozenset(self.of(self.found())(place)) - {None}

    def taken(self, place: Place, rows: pa.Array, kind: TrinoType) -> pa.Array:
        """These rows of an answer's column, of which some may be None."""
        column, wanted = self._tables[place[0]].column(place[1]).combine_chunks(), kind.arrow()
        if _size(column, rows) > MOST_BYTES:
            raise OtherShape
        found = column.take(rows)
        return found if found.type == wanted else found.cast(wanted)

    def of(self, found: Combinations) -> ReadColumn:
        """Columns' values, one for each of these combinations."""
        known: dict[Place, list[Any]] = {}

        def column(place: Place) -> list[Any]:
            if place not in known:
                whole = self._values(place)
                known[place] = [whole[k] for k in found[place[0]]]
            return known[place]

        return column

    def found(self) -> Combinations:
        """The combinations of which all conditions are true."""
        found = [self._passing(0)]
        for number in range(1, len(self._tables)):
            pairs = self._matched(number, self.of(found), len(found[0]))
            found = [*([own[i] for i in pairs[0]] for own in found), pairs[1]]
            several = [c for c, answers in self._conditions if len(answers) > 1 and max(answers) == number]
            if several:
                kept = _kept(several, self.of(found), len(found[0]))
                found = [[own[i] for i in kept] for own in found]
        return found

    def _matched(self, number: int, column: ReadColumn, count: int) -> tuple[list[int], list[int]]:
        """Of `count` combinations so far and the rows of one more answer the numbers of those that have equal keys."""
        equal = [(later, earlier) for later, earlier in self._joined.equal if later[0] == number]
        own, kept = [self._values(later) for later, _ in equal], self._passing(number)
        for of in own:
            kept = [k for k in kept if of[k] is not None]
        index: dict[Any, list[int]] = {}
        for k, key in zip(kept, keys_of([[of[k] for k in kept] for of in own], len(kept)), strict=True):
            index.setdefault(key, []).append(k)
        combinations: list[int] = []
        rows: list[int] = []
        for i, key in enumerate(keys_of([column(earlier) for _, earlier in equal], count)):
            if equals := index.get(key):
                rows += equals
                combinations += [i] * len(equals)
                if len(rows) > MOST:
                    raise OtherShape
        return combinations, rows

    def _passing(self, number: int) -> Sequence[int]:
        """Rows of one answer that pass the conditions on it alone."""
        own = [condition for condition, answers in self._conditions if answers == {number}]
        return _kept(own, self._values, self._tables[number].num_rows)

    def _values(self, place: Place) -> list[Any]:
        """A column's values, one for each row of its answer."""
        if place not in self._whole:
            self._whole[place] = values(self._tables[place[0]].column(place[1]), self._joined.kinds[place])
        return self._whole[place]


def _kept(conditions: Sequence[Condition], column: ReadColumn, count: int) -> Sequence[int]:
    """Those of `count` rows that pass. Raises OtherShape."""
    if count * sum(1 for condition in conditions for _ in condition.places()) > MOST_CELLS:
        raise OtherShape
    kept: Sequence[int] = range(count)
    for condition in conditions:
        kept = condition.keep(column, kept)
    return kept


def _size(column: pa.Array, rows: pa.Array) -> int:
    """Bytes of these rows of a column, or more than these where they can't be many."""
    kind = column.type
    if pa.types.is_primitive(kind) or pa.types.is_decimal(kind):
        return 0
    most: int = column.nbytes * len(rows)
    if most <= MOST_BYTES or not pa.types.is_string(kind):
        return most
    return int(pc.sum(pc.binary_length(column).take(rows)).as_py() or 0)


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
