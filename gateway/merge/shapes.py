"""What a merge of few rows asks for, read from its query: the shape that `small` answers without an engine.

    shape = shape_of(query, tables)      None if it is any other one

It is `SELECT column or aggregate, .. FROM answer JOIN answer ON .. WHERE .. GROUP BY column, .. ORDER BY column, ..
LIMIT n`: inner joins of fragments' answers, with their columns renamed at most. LIMIT without ORDER BY is the engine's,
which then need not read on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from catalog.duck import Table
from catalog.types import TrinoType
from gateway.merge.conditions import All, Condition, OtherShape, Pair, Place, is_readable, number, only, read
from gateway.merge.groups import Call, Order, read_call

__all__ = ["Columns", "Shape", "shape_of"]

MOST_READ = 128
"""Columns that conditions read: each is looked at for each row, and an engine is faster at many."""
Columns = tuple[tuple[str, TrinoType], ...]
"""Labels and types."""
Equal = tuple[tuple[Place, Place], ...]
"""Columns that must be equal, of the later answer first."""
Others = tuple[tuple[Condition, frozenset[int]], ...]
"""Conditions, with the answers that they read."""


@dataclass(frozen=True, slots=True)
class Shape:
    """answers: fragments, in the order of FROM. keys: columns of GROUP BY, None where nothing is grouped. kinds: types
    of the columns whose values are read."""

    answers: tuple[str, ...]
    equal: Equal
    conditions: Others
    keys: tuple[Place, ...] | None
    outputs: tuple[Place | Call, ...]
    columns: Columns
    order: tuple[Order, ...]
    limit: int | None
    kinds: Mapping[Place, TrinoType]

    @property
    def passed_on(self) -> tuple[str, ...] | None:
        """Columns of the only answer, if what is asked for is every row of it."""
        if len(self.answers) > 1 or self.conditions or self.keys is not None or self.order:
            return None
        return tuple(output[1] for output in self.outputs if not isinstance(output, Call))


def shape_of(query: exp.Query, tables: Mapping[str, Table]) -> Shape | None:
    """tables: the fragments' answers."""
    try:
        return _Reading(tables).shape(query)
    except OtherShape:
        return None


class _Reading:
    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._answers: list[str] = []
        self._relations: set[str] = set()
        self._columns: dict[tuple[str, str], Place] = {}
        self._grouped_by: set[tuple[str, str]] | None = None
        self._kinds: dict[Place, TrinoType] = {}

    def shape(self, query: exp.Query) -> Shape:
        if not isinstance(query, exp.Select) or not query.args.get("from_"):
            raise OtherShape
        only(query, "expressions", "from_", "joins", "where", "group", "order", "limit")
        equal, others = self._conditions(query)
        if not all(isinstance(item, (exp.Alias, exp.Column)) for item in query.expressions):
            raise OtherShape
        items = [item.this if isinstance(item, exp.Alias) else item for item in query.expressions]
        keys = self._keys(query.args.get("group"), items)
        outputs = tuple(self._shown(i) if isinstance(i, exp.Column) else read_call(i, self._value) for i in items)
        labels = [item.alias_or_name for item in query.expressions]
        kinds = [output.kind if isinstance(output, Call) else self._type(output) for output in outputs]
        order = tuple(self._order(query.args.get("order"), [label.lower() for label in labels], outputs))
        limit = _limit(query.args.get("limit"), bool(order))
        columns = tuple(zip(labels, kinds, strict=True))
        return Shape(tuple(self._answers), equal, others, keys, outputs, columns, order, limit, self._kinds)

    def _conditions(self, query: exp.Select) -> tuple[Equal, Others]:
        equal, others, read_columns = [], [], 0
        for condition in _parts([read(node, self._value) for node in self._sources(query)]):
            places = list(condition.places())
            answers = frozenset(number for number, _ in places)
            if isinstance(condition, Pair) and condition.is_equality and len(answers) > 1:
                equal.append((max(condition.left, condition.right), min(condition.left, condition.right)))
            else:
                others.append((condition, answers))
            read_columns += len(places)
        if read_columns > MOST_READ:
            raise OtherShape
        return tuple(equal), tuple(others)

    def _sources(self, query: exp.Select) -> Iterator[exp.Expr]:
        """The conditions of joins and WHERE, each when what it may read is known."""
        self._relation(query.args["from_"].this)
        for join in query.args.get("joins") or ():
            only(join, "this", "on", "kind")
            if (join.kind or "").upper() not in ("", "INNER", "CROSS"):
                raise OtherShape
            self._relation(join.this)
            if join.args.get("on") is not None:
                yield join.args["on"]
        if query.args.get("where") is not None:
            yield query.args["where"].this

    def _relation(self, node: exp.Expr) -> None:
        """`f0`, or `(SELECT f0.c0 AS a, .. FROM f0) AS t0`."""
        if not isinstance(node, (exp.Table, exp.Subquery)):
            raise OtherShape
        only(node, "this", "alias")
        alias = node.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            raise OtherShape
        place, name = len(self._answers), node.alias_or_name
        if name in self._relations:
            raise OtherShape
        self._relations.add(name)
        found = {c: c for c in self._answer(node)} if isinstance(node, exp.Table) else self._renamed(node.this)
        self._columns.update({(name, shown): (place, column) for shown, column in found.items()})

    def _renamed(self, select: exp.Expr) -> dict[str, str]:
        table = select.args["from_"].this if isinstance(select, exp.Select) and select.args.get("from_") else None
        if not isinstance(table, exp.Table):
            raise OtherShape
        only(select, "expressions", "from_")
        only(table, "this", "alias")
        columns, found = self._answer(table), {}
        for item in select.expressions:
            column = item.this if isinstance(item, exp.Alias) else item
            if not isinstance(column, exp.Column) or column.table not in ("", table.alias_or_name):
                raise OtherShape
            if column.name not in columns or item.alias_or_name in found:
                raise OtherShape
            found[item.alias_or_name] = column.name
        return found

    def _answer(self, table: exp.Table) -> Mapping[str, TrinoType]:
        if table.name not in self._tables:
            raise OtherShape
        self._answers.append(table.name)
        return self._tables[table.name].columns

    def _place(self, node: exp.Expr) -> Place:
        if not isinstance(node, exp.Column) or node.args.get("db") or (node.table, node.name) not in self._columns:
            raise OtherShape
        return self._columns[node.table, node.name]

    def _type(self, place: Place) -> TrinoType:
        return self._tables[self._answers[place[0]]].columns[place[1]]

    def _value(self, node: exp.Expr) -> tuple[Place, TrinoType]:
        """A column whose values are read."""
        place = self._place(node)
        return place, self._readable(place)

    def _readable(self, place: Place) -> TrinoType:
        kind = self._kinds[place] = self._type(place)
        if not is_readable(kind):
            raise OtherShape
        return kind

    def _keys(self, group: exp.Expr | None, items: Sequence[exp.Expr]) -> tuple[Place, ...] | None:
        """Columns of GROUP BY, the only ones that may be shown from here on; None where nothing is grouped."""
        if group is None and all(isinstance(item, exp.Column) for item in items):
            return None
        nodes: list[exp.Expr] = []
        if group is not None:
            only(group, "expressions")
            nodes = group.expressions
        keys = tuple(self._value(node)[0] for node in nodes)
        self._grouped_by = {(node.text("table"), node.name) for node in nodes}
        return keys

    def _shown(self, node: exp.Expr) -> Place:
        """A column that stands by itself."""
        place = self._place(node)
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
                self._readable(found)
            yield Order(key, bool(item.args.get("desc")), bool(item.args.get("nulls_first")))


def _parts(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Conditions that are true together, each by itself."""
    for condition in conditions:
        if isinstance(condition, All):
            yield from _parts(condition.parts)
        else:
            yield condition


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
