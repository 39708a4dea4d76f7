"""Joins inside one source: a SELECT over relations of one source becomes one statement there.

    SELECT o.priority, count(*) FROM orders o WHERE o.day >= .. AND EXISTS (
        SELECT 1 FROM line l WHERE l.order = o.order AND l.due < l.received) GROUP BY o.priority
        source    priority AS g7, count(*) AS a8 of (orders AS p0) for which a row of (line AS p1) exists ..
        residual  SELECT g7, a8 FROM composed

Shape: relations and derived tables of such SELECTs in FROM, joined by inner joins; WHERE and ON of conditions that have
a closed form (`lower`), bind keys, EXISTS and NOT EXISTS, IN and NOT IN over such a SELECT. Every column named anywhere
is an unmasked one. Grouped SELECTs are cut as `grouping` says; of others the source does FROM and WHERE, and the
residual query the rest. Whatever does not fit raises `Stays`, and is done above by the residual engine as if nothing
were here.

Proof. Each part is what `enforce` makes of one occurrence of a relation, row filter included, of unmasked columns
alone (`enforce_part` fails on any other): its rows are those of M(R), column by column. FROM with inner joins is the
product of the parts, restricted by ON and WHERE together. Their conjuncts are exact row by row (`lower`); EXISTS and IN
are true of the same rows if the conditions inside are, and stand in WHERE as conjuncts, where unknown is false; NOT
EXISTS is never unknown, and asks only which inner rows fulfil the conditions. NOT IN goes down as it is, with NULLs
among its values or beside them, over the same values in the same types. So the source selects the rows of Q's FROM and
WHERE over M(R), and what stays above sees them under other names; a column that it does not name stays in the source.

What it costs, without statistics. A join in the source must be by equality, and what is not grouped must be read
through keys that owners declare, so that no row of the largest part is delivered twice, and be restricted by some
condition or bind keys; else reading the parts one by one is as quick.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlglot import exp

from catalog.types import TrinoType
from connectors.agent.authorise import Governed
from connectors.agent.grouping import CLAUSES, Grouping, Shown, regrouped
from connectors.agent.lower import COMPARES, FLIPPED, Lower, Named
from connectors.agent.pushdown import conjuncts, keys_operand
from connectors.allowed import answers, is_one_row, may_bind, never_fails, same_family
from connectors.base import (
    BoundKeys,
    Capabilities,
    Comparison,
    Condition,
    Exists,
    NativeScan,
    NotIn,
    Order,
    OutputColumn,
    Predicate,
    Scalar,
)

__all__ = ["COMPOSED", "Composed", "Sources", "Stays", "composed"]

COMPOSED = "$composed"
"""What stands in FROM of what is left of a SELECT; no name that a question may use."""


class Stays(Exception):
    """The SELECT has something that its source cannot be asked; the residual query does it."""


@dataclass(frozen=True)
class Composed:
    """select: what replaces the SELECT, over the columns of native. relations: that take part, each once."""

    select: exp.Select
    native: NativeScan
    relations: tuple[Governed, ...]

    @property
    def columns(self) -> tuple[tuple[str, TrinoType], ...]:
        return tuple(self.native.outputs)


@dataclass(frozen=True)
class Sources:
    """What composing needs to know of the department.

    relation: that gives rows behind a table node, else None. capabilities: by source name. part: the scan of one
    occurrence, of published columns under other names. keys: the bind keys of a set as values of these types, None if
    there are none or they compare otherwise.
    """

    relation: Callable[[exp.Table], Governed | None]
    capabilities: Callable[[str], Capabilities]
    part: Callable[[Governed, Mapping[str, str]], NativeScan]
    keys: Callable[[str, Sequence[TrinoType]], pa.Array | None]


def composed(select: exp.Select, sources: Sources) -> Composed:
    """One scan for the whole SELECT, or for its FROM and WHERE. Raises Stays."""
    build = _Build(sources)
    rest, native = _whole(build, select) if select.args.get("with_") is None else _furthest(build, select)
    return Composed(rest, native, tuple({r.name: r for r in build.occurrences}.values()))


def _whole(build: _Build, select: exp.Select) -> tuple[exp.Select, NativeScan]:
    """Groups, or rows of several relations."""
    if not _clauses(select) <= CLAUSES:
        raise Stays
    below = _Below(build, select, None)
    group = _grouped(build, select, below)
    if group is not None:
        return group
    found = _plain(select, below)
    if len(build.occurrences) < 2:
        raise Stays  # a plain scan does as much, and more where masks are
    return found


def _furthest(build: _Build, select: exp.Select) -> tuple[exp.Select, NativeScan]:
    """`WITH w AS (..) SELECT columns FROM w AS t WHERE t.x = (SELECT max(u.x) FROM w AS u)`, or min: w's first groups
    in the order of x, with all that tie. So w is made once.

    Proof. max is of the x that are not NULL; a row's x equals it if no other of those comes before it. Where there are
    none, it is NULL, which nothing equals. The source orders these types as Trino does (`Capabilities.orders`), and of
    values that it holds to tie Trino holds that they are equal.
    """
    name, asked = _asked_once(select)
    if _clauses(select) != {"with_", "expressions", "from_", "where"}:
        raise Stays
    table, condition = select.args["from_"].this, select.args["where"].this
    sides = (condition.this, condition.expression) if isinstance(condition, exp.EQ) else ()
    columns = [side for side in sides if isinstance(side, exp.Column)]
    scalars = [side.this for side in sides if isinstance(side, exp.Subquery)]
    if not _reads(table, name) or len(columns) != 1 or len(scalars) != 1:
        raise Stays
    function = _extreme(scalars[0], name)
    alias = table.alias_or_name.lower()
    listed = [item.unalias() for item in select.expressions]
    own = all(isinstance(node, exp.Column) and node.table.lower() == alias for node in (*listed, *columns))
    if not own or function.this.name.lower() != columns[0].name.lower():
        raise Stays
    derived = _derived(build, asked)
    names = [node.name.lower() for node in (*listed, *columns)]
    if not derived.labels.keys() >= set(names) or not derived.native.group_by or not build.allowed.ties:
        raise Stays
    *named, by = (derived.labels[name] for name in names)
    if by.type.name not in build.allowed.orders:
        raise Stays
    rest = exp.Select(
        expressions=[
            exp.alias_(exp.column(one.name, table=COMPOSED), item.alias_or_name)
            for one, item in zip(named, select.expressions, strict=True)
        ]
    )
    outputs = dict(derived.native.outputs)
    shown = tuple(OutputColumn(n, outputs[n], n) for n in dict.fromkeys(one.name for one in (*named, by)))
    order = (Order(by.name, descending=isinstance(function, exp.Max)),)
    there = (Predicate(by.name, "is not null"),)
    return rest, NativeScan((derived.native,), False, outputs, shown, predicates=there, order=order, limit=1, ties=True)


def _asked_once(select: exp.Select) -> tuple[str, exp.Expr]:
    """The only WITH query of a SELECT, and its name. Raises Stays."""
    with_ = select.args["with_"]
    (cte, *others) = with_.expressions
    if others or with_.args.get("recursive") or not _clauses(cte) <= {"this", "alias"}:
        raise Stays
    if cte.args["alias"].args.get("columns"):
        raise Stays
    return cte.alias.lower(), cte.this


def _reads(table: exp.Expr, name: str) -> bool:
    """Whether it stands for the WITH query of that name."""
    return isinstance(table, exp.Table) and _clauses(table) <= {"this", "alias"} and table.name.lower() == name


def _extreme(select: exp.Expr, name: str) -> exp.Max | exp.Min:
    """max or min of `SELECT max(u.x) FROM w AS u`. Raises Stays."""
    if isinstance(select, exp.Select) and _clauses(select) == {"expressions", "from_"}:
        table, items = select.args["from_"].this, [item.unalias() for item in select.expressions]
        if _reads(table, name) and len(items) == 1 and isinstance(items[0], (exp.Max, exp.Min)):
            found, column = items[0], items[0].this
            home = column.table.lower() if isinstance(column, exp.Column) else ""
            if _clauses(found) == {"this"} and home == table.alias_or_name.lower():
                return found
    raise Stays


def _plain(select: exp.Select, below: _Below) -> tuple[exp.Select, NativeScan]:
    """FROM and WHERE for the source; all other clauses over its columns."""
    if not (below.is_narrow and below.restricts):
        raise Stays
    labels = frozenset(item.alias_or_name.lower() for item in select.expressions)
    rest = exp.Select(expressions=[below.moved(item) for item in select.expressions])
    for clause in _clauses(select) - {"expressions", "from_", "joins", "where"}:
        rest.set(clause, below.moved(select.args[clause], labels if clause == "order" else frozenset()))
    named = {node.name for node in rest.find_all(exp.Column)}
    columns = {n: t for n, t in below.columns().items() if n in named} or below.columns()
    return rest, below.native(columns=tuple(OutputColumn(n, t, n) for n, t in columns.items()))


def _grouped(build: _Build, select: exp.Select, below: _Below) -> tuple[exp.Select, NativeScan] | None:
    """Groups for the source, HAVING too where it has a closed form; None if the SELECT isn't grouped so."""
    grouping = below.grouping()
    rest = regrouped(select, grouping)
    if rest is None:
        return None
    native = below.native(group_by=tuple(grouping.keys), aggregates=tuple(grouping.aggregates))
    having = rest.args.get("where")
    if having is None:
        return rest, native
    outputs = dict(native.outputs)

    def resolve(node: exp.Expr | None) -> Named | None:
        known = isinstance(node, exp.Column) and node.table == COMPOSED and node.name in outputs
        return Named(node.name, outputs[node.name]) if known else None  # type: ignore[union-attr]

    condition = Lower(resolve, build.allowed).condition(having.this)
    if condition is None:
        return rest, native
    rest.set("where", None)
    columns = tuple(OutputColumn(n, t, n) for n, t in outputs.items())
    return rest, NativeScan((native,), False, outputs, columns, predicates=(condition,))


@dataclass
class _Build:
    """One statement in the making. allowed: of the one source that all relations have."""

    sources: Sources
    allowed: Capabilities = field(default_factory=lambda: Capabilities({}))
    occurrences: list[Governed] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def name(self, start: str) -> str:
        """A name for a column that no other of the statement has."""
        return f"{start}{next(self._numbers)}"

    def relation(self, table: exp.Table) -> Governed:
        if not {k for k, v in table.args.items() if v} <= {"this", "db", "catalog", "alias"}:
            raise Stays
        found = self.sources.relation(table)
        if found is None or (self.occurrences and self.occurrences[0].spec.source != found.spec.source):
            raise Stays
        self.allowed = self.sources.capabilities(found.spec.source)
        if not self.allowed.joins:
            raise Stays
        self.occurrences.append(found)
        return found


@dataclass
class _Relation:
    """An occurrence of a relation. used: published column -> its name in the statement."""

    build: _Build
    relation: Governed
    used: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> Named | None:
        if name not in self.relation.columns or name in self.relation.masks:
            return None
        if name not in self.used:
            self.used[name] = self.build.name("c")
        return Named(self.used[name], self.relation.columns[name])

    def scan(self) -> NativeScan:
        if not any(map(self.column, self.used or self.relation.columns)):  # count(*) reads no column, but rows
            raise Stays
        return self.build.sources.part(self.relation, self.used)

    def is_one_of(self, names: frozenset[str]) -> bool:
        """Whether columns of these names have together a value in one row at most."""
        key = self.relation.spec.key
        return bool(key) and all(self.used.get(c) in names for c in key)


@dataclass
class _Derived:
    """A derived table. labels: output -> column."""

    labels: dict[str, Named]
    native: NativeScan

    def column(self, name: str) -> Named | None:
        return self.labels.get(name)

    def scan(self) -> NativeScan:
        return self.native

    def is_one_of(self, names: frozenset[str]) -> bool:
        # HAVING stands around the groups, and so may a SELECT of some of their columns.
        inner = self.native.parts[0] if len(self.native.parts) == 1 else self.native
        groups = self.native.group_by or inner.group_by
        keys = {key.name for key in groups}
        return bool(keys) and keys <= names


def _derived(build: _Build, select: exp.Expr) -> _Derived:
    """A SELECT as a derived table or as what IN asks: its outputs are columns, keys or aggregates as they are."""
    if not isinstance(select, exp.Select) or not _clauses(select) <= CLAUSES - {"order", "limit", "offset"}:
        raise Stays
    below = _Below(build, select, None)
    group = _grouped(build, select, below)
    if group is None and not _clauses(select) <= {"expressions", "from_", "joins", "where"}:
        raise Stays
    if group is not None and (group[0].args.get("where") or (select.args.get("distinct") and select.args.get("group"))):
        raise Stays
    items = select.expressions if group is None else group[0].expressions
    labels: dict[str, Named] = {}
    for item in items:
        value = item.unalias()
        if not isinstance(value, exp.Column) or not item.alias_or_name or item.alias_or_name.lower() in labels:
            raise Stays
        column = below.resolve(value) if group is None else Named(value.name, dict(group[1].outputs)[value.name])
        if column is None:
            raise Stays
        labels[item.alias_or_name.lower()] = column
    if group is not None:
        return _Derived(labels, group[1])
    found = {c.name: c.type for c in labels.values()}
    return _Derived(labels, below.native(columns=tuple(OutputColumn(n, t, n) for n, t in found.items())))


def _clauses(select: exp.Expr) -> set[str]:
    return {k for k, v in select.args.items() if v}


class _Below:
    """FROM and WHERE of one SELECT. around: the SELECT whose columns its conditions may name too."""

    def __init__(self, build: _Build, select: exp.Select, around: _Below | None) -> None:
        self._build = build
        self._around = around
        self._parts: dict[str, _Relation | _Derived] = {}
        self._keys: list[BoundKeys] = []
        self.conditions: list[Condition] = []
        if select.args.get("from_") is None:
            raise Stays
        self._add(select.args["from_"].this)
        joins = select.args.get("joins") or []
        for join in joins:
            inner = not join.side and (join.kind or "").upper() in ("", "INNER", "CROSS")
            if not inner or not _clauses(join) <= {"this", "kind", "on"}:
                raise Stays
            self._add(join.this)
        self.lower = Lower(self.resolve, build.allowed)
        where = select.args.get("where")
        for clause in (where.this if where else None, *(join.args.get("on") for join in joins)):
            for part in conjuncts(clause):
                self._conjunct(part)
        self._check_joins()

    def _add(self, node: exp.Expr) -> None:
        alias = node.alias_or_name.lower()
        columns = node.args.get("alias") and node.args["alias"].args.get("columns")
        if not alias or alias in self._parts or columns:
            raise Stays
        if isinstance(node, exp.Table):
            self._parts[alias] = _Relation(self._build, self._build.relation(node))
        elif isinstance(node, exp.Subquery) and _clauses(node) <= {"this", "alias"}:
            self._parts[alias] = _derived(self._build, node.this)
        else:
            raise Stays

    def resolve(self, node: exp.Expr | None) -> Named | None:
        """The unmasked column that a node names here or around."""
        if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star) or node.args.get("db"):
            return None
        alias, name = node.table.lower(), node.name.lower()
        if alias in self._parts:
            return self._parts[alias].column(name)
        if not alias and len(self._parts) == 1 and self._around is None:
            return next(iter(self._parts.values())).column(name)
        return self._around.resolve(node) if alias and self._around is not None else None

    # -- conditions

    def _conjunct(self, node: exp.Expr) -> None:
        bound = keys_operand(node)
        if bound is not None:
            self._bind(*bound)
            return
        bare, negated = node, False
        while isinstance(bare, (exp.Not, exp.Paren)):
            negated = negated is not isinstance(bare, exp.Not)
            bare = bare.this
        if isinstance(bare, exp.Exists):
            self.conditions.append(self._exists(bare.this, negated))
            return
        if isinstance(bare, exp.In) and bare.args.get("query") is not None:
            self.conditions.append(self._one_of(bare, negated))
            return
        condition = self._scalar(node) or self.lower.condition(node)
        if condition is None:
            raise Stays
        self.conditions.append(condition)

    def _scalar(self, node: exp.Expr) -> Scalar | None:
        """`column op (SELECT aggregate ..)`, either way round."""
        op, sides = COMPARES.get(type(node)), (node.this, node.args.get("expression"))
        asked = [side for side in sides if isinstance(side, exp.Subquery)]
        if op is None or len(asked) != 1 or not self._build.allowed.scalars:
            return None
        column = self.resolve(sides[1] if asked == [sides[0]] else sides[0])
        found = _derived(self._build, asked[0].this)
        if column is None or len(found.labels) != 1 or not is_one_row(found.native) or not never_fails(found.native):
            raise Stays
        (value,) = found.labels.values()
        if not column.type.is_exact or not same_family(column.type, value.type):
            raise Stays
        return Scalar(column.name, FLIPPED[op] if asked == [sides[0]] else op, self._only(found, value))

    def _only(self, asked: _Derived, column: Named) -> NativeScan:
        """A derived table of this one column: it may deliver more, such as what it is grouped by."""
        only = (OutputColumn(column.name, column.type, self._build.name("c")),)
        return NativeScan((asked.native,), False, dict(asked.native.outputs), only)

    def _bind(self, operands: Sequence[exp.Expr], name: str) -> None:
        columns = [column for one in operands if (column := self.resolve(one)) is not None]
        keys = self._build.sources.keys(name, [column.type for column in columns])
        fits = all(may_bind(column.type, operands, self._build.allowed) for column in columns)
        if len(columns) != len(operands) or keys is None or not fits:
            raise Stays
        self._keys.append((tuple(column.name for column in columns), keys))

    def _exists(self, select: exp.Expr, negated: bool) -> Exists:
        if isinstance(select, exp.Subquery):
            select = select.this
        if not isinstance(select, exp.Select) or not _clauses(select) <= {"expressions", "from_", "joins", "where"}:
            raise Stays
        inner = _Below(self._build, select, self)
        # Nobody reads them, but what they name must be there; and an aggregate makes a row, whatever WHERE says.
        for item in (listed.unalias() for listed in select.expressions):
            if not isinstance(item, (exp.Literal, exp.Star)) and inner.resolve(item) is None:
                raise Stays
        own = inner.columns()
        meeting = any((left in own) is not (right in own) for left, right in _equals(inner.conditions))
        if inner._keys or not meeting or not answers(self._build.allowed, inner.conditions, own):
            raise Stays
        return Exists(inner.scans(), tuple(inner.conditions), negated)

    def _one_of(self, node: exp.In, negated: bool) -> Condition:
        query = node.args["query"]
        asked = _derived(self._build, query.this if isinstance(query, exp.Subquery) else query)
        left = self.resolve(node.this)
        if left is None or len(asked.labels) != 1:
            raise Stays
        (right,) = asked.labels.values()
        if left.type.name not in self._build.allowed.compares or not same_family(left.type, right.type):
            raise Stays
        if not (self._build.allowed.excludes if negated else self._build.allowed.exists):
            raise Stays
        if negated:
            return NotIn(left.name, self._only(asked, right))
        return Exists((asked.native,), (Comparison(right.name, "=", left.name),))

    # -- joins

    def _check_joins(self) -> None:
        if len(self._parts) == 1:
            return
        if len(self._reached(next(iter(self._parts)), lambda _part, _names: True)) < len(self._parts):
            raise Stays  # a product

    @property
    def is_narrow(self) -> bool:
        """Whether some part gives each of its rows once at most: all others are found through their keys."""
        return any(
            len(self._reached(start, lambda part, names: part.is_one_of(names))) == len(self._parts)
            for start in self._parts
        )

    def _reached(self, start: str, usable: Callable[[_Relation | _Derived, frozenset[str]], bool]) -> set[str]:
        """Parts that equalities lead to from `start`. usable: whether they may, given the columns that are known."""
        homes = self._homes()
        pairs = [p for p in _equals(self.conditions) if all(n in homes for n in p) and homes[p[0]] != homes[p[1]]]
        reached, grows = {start}, True
        while grows:
            grows = False
            for alias, part in self._parts.items():
                known = frozenset(
                    a for one, other in pairs for a, b in ((one, other), (other, one))
                    if homes[a] == alias and homes[b] in reached
                )  # fmt: skip
                if alias not in reached and known and usable(part, known):
                    reached.add(alias)
                    grows = True
        return reached

    def _homes(self) -> dict[str, str]:
        """Column -> the alias of its part."""
        found: dict[str, str] = {}
        for alias, part in self._parts.items():
            names = part.used.values() if isinstance(part, _Relation) else [c.name for c in part.labels.values()]
            found |= dict.fromkeys(names, alias)
        return found

    @property
    def restricts(self) -> bool:
        """Whether anything but joins keeps rows out, here or in a derived table."""
        joins = set(map(frozenset, _equals(self.conditions)))
        own = any(not (isinstance(c, Comparison) and frozenset((c.left, c.right)) in joins) for c in self.conditions)
        below = [part.native for part in self._parts.values() if isinstance(part, _Derived)]
        return own or bool(self._keys) or any(s.predicates or s.keys or s.group_by for n in below for s in n.scans())

    # -- what it becomes

    def scans(self) -> tuple[NativeScan, ...]:
        return tuple(part.scan() for part in self._parts.values())

    def columns(self) -> dict[str, TrinoType]:
        return {name: kind for scan in self.scans() for name, kind in scan.outputs}

    def native(self, **outputs: Any) -> NativeScan:
        """The scan. outputs: `columns`, or `group_by` and `aggregates`."""
        return NativeScan(
            self.scans(), False, self.columns(), predicates=tuple(self.conditions), keys=tuple(self._keys), **outputs
        )

    def grouping(self) -> Grouping:
        def shown(node: exp.Expr | None) -> Shown | None:
            column = self.resolve(node)
            return None if column is None else Shown(column)

        return Grouping(COMPOSED, self.lower, shown, self._build.name)

    def moved(self, node: exp.Expr, labels: frozenset[str] = frozenset()) -> exp.Expr:
        """A clause over the columns of the scan. labels: of outputs, which ORDER BY may name, but not compute with.

        Raises Stays.
        """
        stars = [star for star in node.find_all(exp.Star) if not isinstance(star.parent, exp.Count)]
        if stars or node.find(exp.Query, exp.Subquery):
            raise Stays

        def move(inner: exp.Expr) -> exp.Expr:
            if not isinstance(inner, exp.Column):
                return inner
            if not inner.table and inner.name.lower() in labels:
                if isinstance(inner.parent, exp.Ordered):
                    return inner
                raise Stays
            column = self.resolve(inner)
            if column is None:
                raise Stays
            return exp.column(column.name, table=COMPOSED)

        made = node.transform(move)
        return exp.alias_(made, node.name) if isinstance(node, exp.Column) else made


def _equals(conditions: Iterable[Condition]) -> Iterator[tuple[str, str]]:
    for condition in conditions:
        if isinstance(condition, Comparison) and condition.op == "=":
            yield condition.left, condition.right
