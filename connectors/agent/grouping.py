"""A SELECT with GROUP BY, cut in two: keys and aggregates for the source, everything else above them.

    SELECT a, round(sum(x) / count(*), 2) FROM .. GROUP BY a HAVING sum(x) > 9 ORDER BY 2
        source    a AS g0, sum(x) AS a0, count(*) AS a1
        residual  SELECT g0, round(a0 / a1, 2) FROM grouped WHERE a0 > 9 ORDER BY 2

Proof. SQL evaluates HAVING, outputs, DISTINCT, ORDER BY and LIMIT of a grouped SELECT once a group, over its keys and
aggregates alone; here each key and each aggregate is a column of that name and value, and the rest is the same. The
source's groups are Trino's if it compares keys as Trino does, and its aggregates if it computes them so (`Lower`,
`Capabilities`). `avg` of exact numbers is their sum over their count, which Trino rounds as it rounds a quotient, and
so does a source that computes it (`Capabilities.averages`).
DISTINCT over columns alone groups by them; where the outputs show every key, no two rows are equal as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from catalog import duck
from catalog.types import BIGINT, BOOLEAN, TrinoType
from connectors.agent.lower import Lower, Named
from connectors.base import (
    Aggregate,
    AggregateFunction,
    Case,
    Condition,
    Expression,
    GroupKey,
    KeyFunction,
    Number,
    Truth,
)

__all__ = ["CLAUSES", "Grouping", "Shown", "regrouped"]

CLAUSES = frozenset(
    {"expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset", "distinct"}
)
"""Parts of a SELECT that are understood here; any other keeps it above."""
_PARTS: dict[type[exp.Expr], KeyFunction] = {exp.Year: "year", exp.Month: "month", exp.Quarter: "quarter"}
_FUNCTIONS: dict[type[exp.Expr], AggregateFunction] = {
    exp.Count: "count", exp.Sum: "sum", exp.Min: "min", exp.Max: "max",
}  # fmt: skip
_ONE = Number(1, TrinoType("integer"))


@dataclass(frozen=True)
class Shown:
    """A column to group by. masked: its published name if a mask is what it shows, else ""."""

    column: Named
    masked: str = ""


@dataclass
class Grouping:
    """Collects keys and aggregates of one SELECT; equal ones once.

    table: what stands in FROM of what is left. lower: of what stands in FROM now. shown: the column that a node names,
    masked ones too. name: makes the name of a column from what it starts with. masked: of the keys, name -> published
    name. averages: whether the source computes them, where it can, in place of what they are computed of.
    """

    table: str
    lower: Lower
    shown: Callable[[exp.Expr | None], Shown | None]
    name: Callable[[str], str]
    keys: list[GroupKey] = field(default_factory=list)
    aggregates: list[Aggregate] = field(default_factory=list)
    masked: dict[str, str] = field(default_factory=dict)
    averages: bool = False
    _names: dict[tuple[object, ...], str] = field(default_factory=dict)
    _truths: dict[Truth, str] = field(default_factory=dict)

    def key(self, node: exp.Expr) -> bool:
        """Group by the node; False if the source can't."""
        truth = self._truth(node)
        if truth is not None:
            if truth not in self._truths:
                self._truths[truth] = self.name("g")
                self.keys.append(GroupKey("", BOOLEAN, self._truths[truth], truth=truth))
            return True
        function, shown = self._key(node)
        if shown is None:
            return False
        kind = shown.column.type
        if (function, shown) in self._names:
            return True
        name = self._named("g", (function, shown))
        self.keys.append(GroupKey(shown.column.name, BIGINT if function else kind, name, function))
        if shown.masked:
            self.masked[name] = shown.masked
        return True

    def _key(self, node: exp.Expr) -> tuple[KeyFunction | None, Shown | None]:
        function = _PARTS.get(type(node))
        inner = node.this if function else node
        if isinstance(node, exp.Extract):
            found = {f.upper(): f for f in _PARTS.values()}
            function, inner = found.get(node.name.upper()), node.expression
            if function is None:
                return None, None
        if function is None:
            shown = self.shown(inner)
            fits = shown is not None and (shown.masked or shown.column.type.name in self.lower.allowed.group_types)
            return None, shown if fits else None
        # A part of a masked date would be a part of what the mask shows: that is for the residual query.
        column = self.lower.resolve(inner)
        fits = column is not None and column.type.name == "date" and function in self.lower.allowed.key_functions
        return function, Shown(column) if column is not None and fits else None

    def _truth(self, node: exp.Expr) -> Truth | None:
        """A condition that the source can tell to hold and to fail, each exactly: what is neither is NULL."""
        if not (self.lower.allowed.tests and isinstance(node, (exp.Condition, exp.Paren))):
            return None
        holds = self.lower.condition(node)
        fails = None if holds is None else self.lower.condition(node, negated=True)
        return None if holds is None or fails is None else Truth(holds, fails)

    def output(self, node: exp.Expr) -> exp.Expr | None:
        """The node over the grouped scan's columns, None if it needs something else."""
        truth = self._truth(node) if self._truths else None
        if truth in self._truths:
            return exp.column(self._truths[truth], table=self.table)
        function, shown = self._key(node)
        known = self._names.get((function, shown))
        if known is not None:
            return exp.column(known, table=self.table)
        if isinstance(node, (exp.Column, exp.Query, exp.Subquery, exp.Window, exp.Star, exp.Exists, exp.Lambda)):
            return None
        if isinstance(node, exp.Filter) or duck.is_aggregate(node):
            return self._call(node)
        made = node.copy()
        for child in list(made.iter_expressions()):
            inner = self.output(child)
            if inner is None:
                return None
            child.replace(inner)
        return made

    def _call(self, node: exp.Expr) -> exp.Expr | None:
        when: Condition | None = None
        if isinstance(node, exp.Filter):
            when = self.lower.condition(node.expression.this)
            if when is None:
                return None
            node = node.this
        if {k for k, v in node.args.items() if v} - {"this", "big_int"}:
            return None
        if isinstance(node.this, exp.Distinct):
            return self._different(node, when)
        if isinstance(node, exp.CountIf) and when is None:
            counted = self.lower.condition(node.this)
            return None if counted is None else self._aggregate("count", _counting(counted), BIGINT)
        if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
            return self._aggregate("count", None if when is None else _counting(when), BIGINT)
        value = self.lower.expression(node.this)
        if value is None:
            return None
        if when is not None:
            if not value[1].is_exact:
                return None
            value = Case(when, value[0], None, value[1]), value[1]
        if isinstance(node, exp.Avg):
            return self._average(*value)
        function = _FUNCTIONS.get(type(node))
        return None if function is None else self._aggregate(function, *value)

    def _different(self, node: exp.Expr, when: Condition | None) -> exp.Expr | None:
        """count(DISTINCT column): how many values a group has that are equal to none before."""
        column = self.lower.resolve(node.this.expressions[0]) if len(node.this.expressions) == 1 else None
        if column is None or not isinstance(node, exp.Count) or node.this.args.get("on") or when is not None:
            return None
        if column.type.name not in self.lower.allowed.distinct:
            return None
        return self._aggregate("count", column.name, column.type, distinct=True)

    def _aggregate(
        self, function: AggregateFunction, value: Expression | None, kind: TrinoType, distinct: bool = False
    ) -> exp.Expr | None:
        allowed = self.lower.allowed.aggregates
        if function not in allowed or (value is not None and kind.name not in allowed[function]):
            return None
        if function == "count" or (function == "sum" and kind.is_integer):
            kind = BIGINT
        elif function == "sum":
            kind = TrinoType("decimal", (38, kind.args[1]))
        identity = ("aggregate", function, value, distinct)
        if identity not in self._names:
            self.aggregates.append(Aggregate(function, value, kind, self._named("a", identity), distinct))
        return exp.column(self._names[identity], table=self.table)

    def _average(self, value: Expression, kind: TrinoType) -> exp.Expr | None:
        if kind.name not in ("tinyint", "smallint", "integer", "decimal"):
            return None
        if self.averages and kind.name == "decimal" and kind.args[0] <= self.lower.allowed.averages:
            return self._aggregate("avg", value, kind)
        total, count = self._aggregate("sum", value, kind), self._aggregate("count", value, kind)
        if total is None or count is None:
            return None
        divisor = exp.func("NULLIF", count, exp.Literal.number(0))
        target = str(kind) if kind.name == "decimal" else "double"
        if kind.name != "decimal":
            total = exp.cast(total, "double", dialect="trino")
        return exp.cast(exp.Paren(this=exp.Div(this=total, expression=divisor)), target, dialect="trino")

    def _named(self, start: str, identity: tuple[object, ...]) -> str:
        self._names[identity] = self.name(start)
        return self._names[identity]


def _counting(when: Condition) -> Case:
    return Case(when, _ONE, None, _ONE.type)


def regrouped(select: exp.Select, grouping: Grouping) -> exp.Select | None:
    """What is left of a grouped SELECT, without FROM, over the grouping's columns; None if it isn't such a one."""
    if not {k for k, v in select.args.items() if v} <= CLAUSES or not select.expressions:
        return None
    values = [item.unalias() for item in select.expressions]
    keys = _keys(select, values)
    if keys is None or not all(map(grouping.key, keys)):
        return None
    # A sum of products is multiplied once a group where that is cheaper (`factored`), beside sums and counts alone.
    grouping.averages = not any(total.find(exp.Mul) for total in select.find_all(exp.Sum))
    found = [grouping.output(value) for value in values]
    outputs = [value for value in found if value is not None]
    if len(outputs) < len(found) or not (grouping.aggregates or keys):
        return None
    labels = [_label(item) for item in select.expressions]
    rest = exp.Select(
        expressions=[
            exp.alias_(output, label) if label else output for output, label in zip(outputs, labels, strict=True)
        ],
    )
    shown = {output.name for output in outputs if isinstance(output, exp.Column)}
    if select.args.get("distinct") and not shown.issuperset(key.name for key in grouping.keys):
        rest.set("distinct", select.args["distinct"].copy())
    having, order = select.args.get("having"), select.args.get("order")
    if having is not None:
        condition = grouping.output(having.this)
        if condition is None:
            return None
        rest.set("where", exp.Where(this=condition))
    if order is not None:
        ordered = _ordered(order, grouping, dict(zip(map(str.lower, labels), values, strict=True)))
        if ordered is None:
            return None
        rest.set("order", ordered)
    for clause in ("limit", "offset"):
        if select.args.get(clause) is not None:
            rest.set(clause, select.args[clause].copy())
    return rest


def _label(item: exp.Expr) -> str:
    return item.alias if isinstance(item, exp.Alias) else item.name if isinstance(item, exp.Column) else ""


def _keys(select: exp.Select, values: list[exp.Expr]) -> list[exp.Expr] | None:
    """What the SELECT groups by: GROUP BY, with its ordinals looked up, or the outputs of a DISTINCT."""
    group, distinct = select.args.get("group"), select.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        return None
    if group is None:
        aggregates = any(duck.is_aggregate(node) for value in values for node in value.walk())
        return values if distinct is not None and not aggregates else []
    if {k for k, v in group.args.items() if v} - {"expressions"}:
        return None
    keys = []
    for node in group.expressions:
        if isinstance(node, exp.Literal):
            place = int(node.name) if node.name.isdigit() else 0
            if not 1 <= place <= len(values):
                return None
            node = values[place - 1]
        keys.append(node)
    return keys


def _ordered(order: exp.Expr, grouping: Grouping, labels: Mapping[str, exp.Expr]) -> exp.Expr | None:
    """ORDER BY; None if it computes with an output that has the name of another column."""
    made = order.copy()
    for item in made.expressions:
        value = item.this
        named = [c for c in value.find_all(exp.Column) if not c.table and c.name.lower() in labels]
        if isinstance(value, exp.Literal) or named == [value]:
            continue
        if any(labels[c.name.lower()].name.lower() != c.name.lower() for c in named):
            return None
        inner = grouping.output(value)
        if inner is None:
            return None
        value.replace(inner)
    return made
