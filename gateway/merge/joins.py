"""What a merge of few rows takes its rows from: FROM and WHERE of a query, read from its tree.

    source = Source(tables)
    joined = source.joined(select)       raises OtherShape if it is the engine's

These are inner joins of fragments' answers, with their columns renamed at most, and conditions. WHERE may demand
`column IN (SELECT column FROM ..)` and `[NOT] EXISTS (SELECT 1 FROM .. WHERE column = column around)` of such joins.

Proof. But for that one equality a nested query reads nothing around it: its rows are the same for every row there.
EXISTS is true of a row whose column equals that of one of them, and else false, of NULL too. IN is true of the same
rows; of others it is false or unknown, and what WHERE demands lets neither pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from catalog.duck import Table
from catalog.types import TrinoType
from gateway.merge.conditions import All, Condition, OtherShape, Pair, Place, factors, is_readable, only, read
from gateway.rewrite.tree import conjuncts

__all__ = ["Joined", "Nested", "Source"]

Equal = tuple[tuple[Place, Place], ...]
"""Columns that must be equal, of the later answer first."""
Others = tuple[tuple[Condition, frozenset[int]], ...]
"""Conditions, with the answers that they read."""
Typed = tuple[Place, TrinoType]


@dataclass(frozen=True, slots=True)
class Joined:
    """relations: fragments, in the order of FROM. kinds: types of the columns whose values are read."""

    relations: tuple[str, ...]
    equal: Equal
    conditions: Others
    nested: tuple[Nested, ...]
    kinds: Mapping[Place, TrinoType]

    @property
    def answers(self) -> tuple[str, ...]:
        """All fragments that are read."""
        return (*self.relations, *(name for nested in self.nested for name in nested.joined.answers))


@dataclass(frozen=True, slots=True)
class Nested:
    """Whether `place` is (or is not) among the values of another query's column."""

    place: Place
    joined: Joined
    column: Place
    holds: bool


class Source:
    """Where the columns of one query come from. Its methods raise OtherShape."""

    def __init__(self, tables: Mapping[str, Table], around: Source | None = None) -> None:
        """around: of EXISTS, the query of which one column is read."""
        self._tables = tables
        self._around = around
        self._links: list[tuple[Typed, Typed]] = []
        self._answers: list[str] = []
        self._relations: set[str] = set()
        self._columns: dict[tuple[str, str], Place] = {}
        self._kinds: dict[Place, TrinoType] = {}

    # ---- columns

    def place(self, node: exp.Expr) -> Place:
        if not isinstance(node, exp.Column) or node.args.get("db") or (node.table, node.name) not in self._columns:
            raise OtherShape
        return self._columns[node.table, node.name]

    def type(self, place: Place) -> TrinoType:
        return self._tables[self._answers[place[0]]].columns[place[1]]

    def value(self, node: exp.Expr) -> Typed:
        """A column whose values are read."""
        place = self.place(node)
        return place, self.readable(place)

    def readable(self, place: Place) -> TrinoType:
        kind = self._kinds[place] = self.type(place)
        if not is_readable(kind):
            raise OtherShape
        return kind

    # ---- conditions

    def joined(self, query: exp.Select) -> Joined:
        """`kinds` still takes what is read later."""
        if not query.args.get("from_"):
            raise OtherShape
        equal, others, nested = [], [], []
        for node in self._demanded(query):
            if (found := self._nested(node)) is not None:
                nested.append(found)
            elif not self._is_link(node):
                for condition in _parts(read(node, self.value)):
                    answers = frozenset(number for number, _ in condition.places())
                    if isinstance(condition, Pair) and condition.is_equality and len(answers) > 1:
                        equal.append((max(condition.left, condition.right), min(condition.left, condition.right)))
                    else:
                        others.append((condition, answers))
        return Joined(tuple(self._answers), tuple(equal), tuple(others), tuple(nested), self._kinds)

    def _demanded(self, query: exp.Select) -> Iterator[exp.Expr]:
        """The conditions of joins and WHERE, each when what it may read is known."""
        self._relation(query.args["from_"].this)
        for join in query.args.get("joins") or ():
            only(join, "this", "on", "kind")
            if (join.kind or "").upper() not in ("", "INNER", "CROSS"):
                raise OtherShape
            self._relation(join.this)
            if join.args.get("on") is not None:
                yield from conjuncts(join.args["on"])
        if query.args.get("where") is not None:
            yield from conjuncts(query.args["where"].this)

    def _nested(self, node: exp.Expr) -> Nested | None:
        """`column IN (SELECT ..)`, `EXISTS (SELECT ..)`, `NOT EXISTS (SELECT ..)`; None if it is none of these."""
        test = node.this.unnest() if isinstance(node, exp.Not) else node
        if isinstance(test, exp.Exists):
            return Source(self._tables, self)._linked(test.this, test is node)
        query = node.args.get("query") if isinstance(node, exp.In) else None
        if not isinstance(query, exp.Subquery):
            return None
        only(node, "this", "query")
        only(query, "this")
        return Source(self._tables)._linked(query.this, True, self.value(node.this))

    def _is_link(self, node: exp.Expr) -> bool:
        """Whether this is `column = column around`, which is read."""
        if self._around is None or not isinstance(node, exp.EQ):
            return False
        sides = [side for side in (node.this, node.expression) if isinstance(side, exp.Column)]
        own = [side for side in sides if side.table in self._relations]
        around = [side for side in sides if side.table not in self._relations]
        if len(own) != 1 or len(around) != 1:
            return False
        self._links.append((self._around.value(around[0]), self.value(own[0])))
        return True

    def _linked(self, query: exp.Expr, holds: bool, column: Typed | None = None) -> Nested:
        """column: which is IN this query's column."""
        if not isinstance(query, exp.Select):
            raise OtherShape
        only(query, "expressions", "from_", "joins", "where")
        joined, items = self.joined(query), [item.unalias() for item in query.expressions]
        if column is not None:
            self._links = [(column, self.value(item)) for item in items]
        elif not all(isinstance(item, exp.Literal) for item in items):
            raise OtherShape
        if len(self._links) != 1:
            raise OtherShape
        (place, kind), (own, its) = self._links[0]
        if factors(kind, its) != (1, 1):
            raise OtherShape
        return Nested(place, joined, own, holds)

    # ---- relations

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


def _parts(condition: Condition) -> Iterator[Condition]:
    """Conditions that are true together, each by itself."""
    if isinstance(condition, All):
        for part in condition.parts:
            yield from _parts(part)
    else:
        yield condition
