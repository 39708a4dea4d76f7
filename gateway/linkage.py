"""Pseudonyms compare with pseudonyms of their own purpose, group and epoch, and with nothing else.

A relation's description says of each column whether it shows pseudonyms, and which (`Column.linkage`). Two of
different triples are never equal, nor is one equal to a plain value: a join of them is a mistake, and an empty
answer would hide it. So the planner refuses to compare them, by the names of both columns.

    check(tree, relations)      raises AccessDenied(MODE) for the first comparison that means nothing

What is followed: every column to where its values come from, through derived tables, WITH, set operations and
functions that give text of text. What is a comparison: `=` and its kin, IN, BETWEEN, LIKE, the operand of CASE,
NULLIF, GREATEST, LEAST; and of a column whose values come of several places (`UNION ALL`, COALESCE, CASE) also
GROUP BY, DISTINCT, PARTITION BY. UNION, INTERSECT and EXCEPT compare at once. Literals compare with everything.

This serves the analyst, not custody: whoever evades it compares what the agents would show anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise, zip_longest

from sqlglot import exp

from catalog.errors import AccessDenied, CityError, Outcome
from catalog.names import RelationName
from catalog.relation import Linkage, Relation
from gateway.rewrite.tree import SOURCES, unique_aliases

__all__ = ["check"]

_TEXTS = {
    *exp.DataType.TEXT_TYPES, exp.DType.ARRAY, exp.DType.MAP, exp.DType.STRUCT, exp.DType.JSON,
    exp.DType.UNKNOWN, exp.DType.NULL,
}  # fmt: skip
"""Types whose values may be pseudonyms, or hold them."""
_PAIRS = (
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Like, exp.Nullif,
    exp.ArrayContains, exp.StartsWith,
)  # fmt: skip
"""Nodes that compare `this` with `expression`."""


@dataclass(frozen=True, order=True)
class Origin:
    """A column of a relation, by its full name; linkage None: its values are no pseudonyms."""

    column: str
    linkage: Linkage | None = None


@dataclass(frozen=True)
class Flow:
    """Where the values of an expression come from. mixed: from places that do not compare, one or the other."""

    origins: frozenset[Origin] = frozenset()
    mixed: bool = False

    @property
    def linkages(self) -> frozenset[Linkage]:
        return frozenset(o.linkage for o in self.origins if o.linkage is not None)


NOTHING = Flow()


def check(tree: exp.Query, relations: Mapping[RelationName, Relation]) -> None:
    """Refuse a qualified, typed tree that compares pseudonyms with what they can never equal."""
    if not any(c.linkage for r in relations.values() for c in r.columns):
        return
    tree = unique_aliases(tree.copy())
    flows = _Flows(tree, relations)
    for node in tree.walk():
        for one, other in _compared(node, flows):
            _compare(one, other)
        for flow in _told_apart(node, flows):
            if flow.mixed:
                raise _refused(*_two_kinds(flow))


def _compare(one: Flow, other: Flow) -> None:
    if not one.origins or not other.origins or not (one.linkages or other.linkages):
        return
    for flow in (one, other):
        if flow.mixed:
            raise _refused(*_two_kinds(flow))
    if one.linkages != other.linkages:
        first, second = (sorted(f.origins, key=_pseudonyms_first) for f in (one, other))
        raise _refused(first[0], next((o for o in second if o.linkage != first[0].linkage), second[0]))


def _pseudonyms_first(origin: Origin) -> tuple[bool, str]:
    return origin.linkage is None, origin.column


def _two_kinds(flow: Flow) -> tuple[Origin, Origin]:
    first, *rest = sorted(flow.origins, key=_pseudonyms_first)
    return first, next((o for o in rest if o.linkage != first.linkage), first)


def _refused(one: Origin, other: Origin) -> CityError:
    return AccessDenied(
        f"{_words(one)}, {_words(other)}: they are never equal.",
        Outcome.MODE,
        rule="linkage group",
        hint="Only pseudonyms of one group, purpose and epoch compare, and a pseudonym with a literal.",
    )


def _words(origin: Origin) -> str:
    if origin.linkage is None:
        return f"{origin.column} is no pseudonym"
    group, purpose, epoch = origin.linkage.group, origin.linkage.purpose, origin.linkage.epoch
    of = f" of epoch '{epoch}'" if epoch else ""
    return f"{origin.column} is a pseudonym of group '{group}' for {purpose}{of}"


# ---- what is compared -------------------------------------------------------------------------------------


def _compared(node: exp.Expr, flows: _Flows) -> Iterator[tuple[Flow, Flow]]:
    """Pairs of flows that one node compares."""
    if isinstance(node, _PAIRS):
        yield from _elementwise(node.this, node.expression, flows)
    elif isinstance(node, exp.Between):
        for bound in (node.args["low"], node.args["high"]):
            yield from _elementwise(node.this, bound, flows)
    elif isinstance(node, exp.In):
        query = node.args.get("query")
        for item in [*node.expressions, *([query] if query is not None else [])]:
            yield from _elementwise(node.this, item, flows)
    elif isinstance(node, exp.Case) and node.this is not None:
        for branch in node.args["ifs"]:
            yield from _elementwise(node.this, branch.this, flows)
    elif isinstance(node, (exp.Greatest, exp.Least)):
        yield from pairwise(flows.of(part) for part in (node.this, *node.expressions))


def _elementwise(one: exp.Expr, other: exp.Expr, flows: _Flows) -> Iterator[tuple[Flow, Flow]]:
    """`a` with `b`, `(a, b)` with `(c, d)` or with a query of two columns, place by place."""
    yield from zip_longest(_places(one, flows), _places(other, flows), fillvalue=NOTHING)


def _places(node: exp.Expr, flows: _Flows) -> list[Flow]:
    if isinstance(node, exp.Paren):
        return _places(node.this, flows)
    if isinstance(node, (exp.Any, exp.All)):
        return _places(node.this, flows)
    if isinstance(node, exp.Tuple):
        return [flows.of(part) for part in node.expressions]
    return flows.outputs(node) if isinstance(node, exp.Query) else [flows.of(node)]


def _told_apart(node: exp.Expr, flows: _Flows) -> Iterator[Flow]:
    """Flows whose own values one node compares with each other."""
    if isinstance(node, (exp.SetOperation, exp.Select)) and _drops_equals(node):
        yield from flows.outputs(node)
    elif isinstance(node, (exp.Group, exp.Distinct)):
        yield from (flows.of(key) for key in node.expressions)
    elif isinstance(node, exp.Window):
        yield from (flows.of(key) for key in node.args.get("partition_by") or [])


def _drops_equals(query: exp.Expr) -> bool:
    return isinstance(query, (exp.Intersect, exp.Except)) or bool(query.args.get("distinct"))


# ---- where values come from -------------------------------------------------------------------------------


class _Flows:
    """Flows of one tree. Needs unique aliases: an alias names one source in the whole statement."""

    def __init__(self, tree: exp.Query, relations: Mapping[RelationName, Relation]) -> None:
        self._relations = relations
        self._sources = {s.alias_or_name: s for s in tree.find_all(*SOURCES)}
        self._ctes = {c.alias: c.this for c in tree.find_all(exp.CTE)}
        self._known: dict[int, Flow] = {}
        self._outputs: dict[int, list[Flow]] = {}

    def of(self, node: exp.Expr | None) -> Flow:
        """The flow of an expression."""
        if node is None:
            return NOTHING
        if id(node) not in self._known:
            self._known[id(node)] = self._of(node)
        return self._known[id(node)]

    def _of(self, node: exp.Expr) -> Flow:
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, exp.Query):
            return reduce(_joined, self.outputs(node), NOTHING)
        if isinstance(node, (exp.Predicate, exp.Connector, exp.Not)) or not _may_hold_text(node):
            return NOTHING
        if isinstance(node, exp.Case):
            branches = [branch.args["true"] for branch in node.args["ifs"]]
            return _either([self.of(n) for n in (*branches, node.args.get("default"))])
        if isinstance(node, exp.If):
            return _either([self.of(node.args.get("true")), self.of(node.args.get("false"))])
        if isinstance(node, (exp.Coalesce, exp.Greatest, exp.Least)):
            return _either([self.of(n) for n in (node.this, *node.expressions)])
        if isinstance(node, (exp.Nullif, exp.Window, exp.Filter)):
            return self.of(node.this)
        return reduce(_joined, map(self.of, node.iter_expressions()), NOTHING)

    def outputs(self, query: exp.Expr) -> list[Flow]:
        """The flows of a query's columns, in order."""
        if id(query) not in self._outputs:
            self._outputs[id(query)] = self._outputs_of(query)
        return self._outputs[id(query)]

    def _outputs_of(self, query: exp.Expr) -> list[Flow]:
        if isinstance(query, exp.Subquery):
            return self.outputs(query.this)
        if isinstance(query, exp.SetOperation):
            arms = zip_longest(self.outputs(query.left), self.outputs(query.right), fillvalue=NOTHING)
            return [_either(pair) for pair in arms]
        if isinstance(query, exp.Select):
            return [self.of(p.unalias()) for p in query.expressions]
        return []

    def _column(self, column: exp.Column) -> Flow:
        source = self._sources.get(column.table) if column.table else None
        if isinstance(source, exp.Table) and source.catalog:
            return self._published(source, column.name)
        query = self._ctes.get(source.name) if isinstance(source, exp.Table) else source
        if isinstance(query, exp.Query) and not isinstance(query, exp.Values):
            names = query.named_selects
            outputs = self.outputs(query)
            place = names.index(column.name) if column.name in names else len(outputs)
            return outputs[place] if place < len(outputs) else NOTHING
        return reduce(_joined, map(self.of, query.iter_expressions()), NOTHING) if query is not None else NOTHING

    def _published(self, table: exp.Table, name: str) -> Flow:
        full = RelationName(table.catalog, table.db, table.name)
        relation = self._relations.get(full)
        column = relation.column(name) if relation is not None else None
        return Flow(frozenset({Origin(f"{full}.{name}", column.linkage if column is not None else None)}))


def _may_hold_text(node: exp.Expr) -> bool:
    """Whether a value of this node may be a pseudonym: a count, a length, a date is none."""
    kind = node.type
    return kind is None or kind.this in _TEXTS


def _joined(one: Flow, other: Flow) -> Flow:
    """Values made of both, such as `a || b`."""
    return Flow(one.origins | other.origins, one.mixed or other.mixed)


def _either(flows: Iterable[Flow]) -> Flow:
    """Values of one or the other. Literals go with all."""
    found = [f for f in flows if f.origins]
    kinds = {f.linkages for f in found}
    mixed = any(f.mixed for f in found) or len(kinds) > 1
    return Flow(frozenset[Origin]().union(*(f.origins for f in found)), mixed)
