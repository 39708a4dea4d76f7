"""What a merge of few rows asks for, read from its query: the shape that `small` answers without an engine.

    shape = shape_of(query, tables)      None if it is any other one

It is `SELECT column or aggregate, .. FROM .. WHERE .. GROUP BY column, .. ORDER BY column, .. LIMIT n`, with the joins
and conditions of `joins`. LIMIT without ORDER BY is the engine's, which then need not read on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from catalog.duck import Table
from catalog.types import TrinoType
from gateway.merge.conditions import OtherShape, Place, number, only
from gateway.merge.groups import Call, Order, read_call
from gateway.merge.joins import Joined, Source

__all__ = ["Columns", "Shape", "Shapes", "shape_of"]

Columns = tuple[tuple[str, TrinoType], ...]
"""Labels and types."""


@dataclass(frozen=True, slots=True)
class Shape:
    """keys: columns of GROUP BY, None where nothing is grouped."""

    joined: Joined
    keys: tuple[Place, ...] | None
    outputs: tuple[Place | Call, ...]
    columns: Columns
    order: tuple[Order, ...]
    limit: int | None

    @property
    def answers(self) -> tuple[str, ...]:
        """All fragments that are read."""
        return self.joined.answers

    @property
    def passed_on(self) -> tuple[str, ...] | None:
        """Columns of the only answer, if what is asked for is every row of it."""
        if len(self.answers) > 1 or self.joined.conditions or self.keys is not None or self.order:
            return None
        return tuple(output[1] for output in self.outputs if not isinstance(output, Call))


def shape_of(query: exp.Query, tables: Mapping[str, Table]) -> Shape | None:
    """tables: the fragments' answers."""
    try:
        return _Reading(Source(tables)).shape(query)
    except OtherShape:
        return None


class Shapes:
    """The shape of one plan's merge, read once: a plan that is kept merges by the same query each time."""

    def __init__(self) -> None:
        self._known: tuple[exp.Query, Mapping[str, Table], Shape | None] | None = None

    def of(self, query: exp.Query, tables: Mapping[str, Table]) -> Shape | None:
        """What `shape_of` says. Trees are never changed once they are planned, so the same one has the same shape."""
        known = self._known
        if known is None or known[0] is not query or known[1] != tables:
            self._known = known = query, {**tables}, shape_of(query, tables)
        return known[2]


class _Reading:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._grouped_by: set[tuple[str, str]] | None = None

    def shape(self, query: exp.Query) -> Shape:
        if not isinstance(query, exp.Select):
            raise OtherShape
        only(query, "expressions", "from_", "joins", "where", "group", "order", "limit")
        source = self._source
        joined = source.joined(query)
        if not all(isinstance(item, (exp.Alias, exp.Column)) for item in query.expressions):
            raise OtherShape
        items = [item.this if isinstance(item, exp.Alias) else item for item in query.expressions]
        keys = self._keys(query.args.get("group"), items)
        outputs = tuple(self._shown(i) if isinstance(i, exp.Column) else read_call(i, source.value) for i in items)
        labels = [item.alias_or_name for item in query.expressions]
        kinds = [output.kind if isinstance(output, Call) else source.type(output) for output in outputs]
        order = tuple(self._order(query.args.get("order"), [label.lower() for label in labels], outputs))
        limit = _limit(query.args.get("limit"), bool(order))
        columns = tuple(zip(labels, kinds, strict=True))
        return Shape(joined, keys, outputs, columns, order, limit)

    def _keys(self, group: exp.Expr | None, items: Sequence[exp.Expr]) -> tuple[Place, ...] | None:
        """Columns of GROUP BY, the only ones that may be shown from here on; None where nothing is grouped."""
        if group is None and all(isinstance(item, exp.Column) for item in items):
            return None
        nodes: list[exp.Expr] = []
        if group is not None:
            only(group, "expressions")
            nodes = group.expressions
        keys = tuple(self._source.value(node)[0] for node in nodes)
        self._grouped_by = {(node.text("table"), node.name) for node in nodes}
        return keys

    def _shown(self, node: exp.Expr) -> Place:
        """A column that stands by itself."""
        place = self._source.place(node)
        if self._grouped_by is not None and (node.text("table"), node.name) not in self._grouped_by:
            raise OtherShape
        return place

    def _order(self, order: exp.Expr | None, labels: Sequence[str], outputs: Sequence[Place | Call]) -> Iterator[Order]:
        if order is None:
            return
        only(order, "expressions")
        for item in order.expressions:
            only(item, "this", "desc", "nulls_first")
            node = item.this
            named = isinstance(node, exp.Column) and not node.table and labels.count(node.name.lower()) == 1
            key = labels.index(node.name.lower()) if named else self._shown(node)
            found = outputs[key] if isinstance(key, int) else key
            if not isinstance(found, Call):
                self._source.readable(found)
            yield Order(key, bool(item.args.get("desc")), bool(item.args.get("nulls_first")))


def _limit(node: exp.Expr | None, is_ordered: bool) -> int | None:
    if node is None:
        return None
    if not is_ordered or not isinstance(node, exp.Limit):
        raise OtherShape
    only(node, "expression")
    if not isinstance(node.expression, exp.Literal):
        raise OtherShape
    count, kind = number(node.expression)
    if not kind.is_integer:
        raise OtherShape
    return count
