"""What may go below the masks, each rule with its proof.

Notation: M(R) is the governed relation, Q the analyst's query over it. A rule may change what is read from
the source only if Q's answer over M(R) stays the same. All rules copy: the predicate stays in Q.

    predicates_of   safe conjuncts of WHERE and ON on unmasked columns     (`copy`), and on masked ones where
                    `inverse` knows which raw values they mean
    keys_of         `k IN (SELECT k FROM "$keys")` on unmasked columns
    grouped         a whole single-relation GROUP BY
    limit_of        LIMIT over a plain projection

`sideways` has one more, which needs rows of another relation first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from catalog import duck
from catalog.exchange import KEYS_TABLE
from catalog.masks import Mask
from catalog.types import BIGINT, TrinoType
from connectors.agent import inverse
from connectors.agent.authorise import Governed
from connectors.base import Aggregate, Capabilities, GroupKey, Op, Predicate, Value

__all__ = [
    "Grouped",
    "conjuncts",
    "grouped",
    "keys_of",
    "limit_of",
    "own_column",
    "predicates_of",
    "safe_predicate",
    "select_of",
]

_OPS: dict[type[exp.Expr], Op] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_FLIPPED: dict[Op, Op] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def conjuncts(node: exp.Expr | None) -> Iterator[exp.Expr]:
    """The parts of a conjunction, parentheses taken off."""
    stack = [node] if node is not None else []
    while stack:
        part = stack.pop()
        if isinstance(part, exp.And):
            stack += [part.expression, part.this]
        elif isinstance(part, exp.Paren):
            stack.append(part.this)
        else:
            yield part


def predicates_of(
    table: exp.Table, relation: Governed, allowed: Capabilities
) -> tuple[tuple[Predicate, ...], tuple[exp.Expr, ...]]:
    """Safe predicates that every row of `table` that can matter fulfils, and the rest of WHERE.

    Proof. Let p be a conjunct `column op literal` on a visible column of R. Unmasked, its value in M(R) is the
    raw one, so p over R and over M(R) select the same rows, if the source compares as Trino does (`allowed`).
    Masked, the source is asked for a condition q on the raw column that holds wherever p holds of what the
    mask shows (`inverse`); where q is exact, they select the same rows. `x BETWEEN a AND b` is its two halves.
    A row of R that fails q fails p, or p is NULL for it:
    - WHERE, R not on the nullable side of an outer join: each joined row that contains it fails WHERE.
    - WHERE, R on a nullable side: removing it may leave a partner unmatched, which then appears with NULLs
      for R. p is NULL there unless it is `IS NULL`, so WHERE, which stays, removes it; `IS NULL` stays above.
    - ON of an inner join: as WHERE. ON of a LEFT join, R its right side: the row matches nothing.
    Nothing else of Q sees a row of R before these. Errors cannot appear or vanish: p itself cannot raise.
    """
    select = select_of(table)
    if select is None:
        return (), (table,)
    alias = table.alias_or_name.lower()
    nullable = _is_nullable(table, select)
    single = not select.args.get("joins")
    found: list[Predicate] = []
    where = select.args.get("where")
    rest: list[exp.Expr] = []
    for part in _halves(conjuncts(where.this if where else None)):
        lower = _lowered(part, alias, relation, allowed, single)
        if lower is None or (nullable and lower.asks_null):
            rest.append(part)
            continue
        found += lower.predicates
        if not lower.exact:
            rest.append(part)
    for part in _halves(_on_conjuncts(table, select)):
        lower = _lowered(part, alias, relation, allowed, single)
        if lower is not None and not lower.asks_null:
            found += lower.predicates
    return tuple(dict.fromkeys(found)), tuple(rest)


def _halves(parts: Iterable[exp.Expr]) -> Iterator[exp.Expr]:
    """Conjuncts, `x BETWEEN a AND b` as `x >= a` and `x <= b`, which it is short for."""
    for part in parts:
        if isinstance(part, exp.Between) and {k for k, v in part.args.items() if v} == {"this", "low", "high"}:
            yield exp.GTE(this=part.this.copy(), expression=part.args["low"].copy())
            yield exp.LTE(this=part.this.copy(), expression=part.args["high"].copy())
        else:
            yield part


@dataclass(frozen=True)
class _Lowered:
    """A conjunct in raw names. exact: the source selects by it what the query does. asks_null: it is IS NULL."""

    predicates: tuple[Predicate, ...]
    exact: bool
    asks_null: bool


def _lowered(node: exp.Expr, alias: str, relation: Governed, allowed: Capabilities, single: bool) -> _Lowered | None:
    """What a conjunct asks of the source, on a masked column through the mask's inverse image; None: nothing."""
    plain = safe_predicate(node, alias, relation, allowed, single)
    if plain is not None:
        return _Lowered((plain,), True, plain.op == "is null")
    found = _parts(node, alias, replace(relation, masks={}), single)
    if found is None or found[0] not in relation.masks:
        return None
    column, op, literals = found
    values = tuple(_value(v, relation.columns[column]) for v in literals)
    if any(v is None for v in values):
        return None
    mask = relation.masks[column]
    image = inverse.image(mask, op, tuple(v for v in values if v is not None), relation.above)
    if image is None or not all(_may_ask(o, vs, mask.column_type, allowed) for o, vs in image.conditions):
        return None
    predicates = tuple(Predicate(relation.raw(column), o, vs) for o, vs in image.conditions)
    return _Lowered(predicates, image.exact, op == "is null")


def _may_ask(op: Op, values: tuple[Value, ...], kind: TrinoType, allowed: Capabilities) -> bool:
    """Whether the source compares the type so, and a text can be written for it (codes of a list may not be)."""
    texts = all("\0" not in v for v in values if isinstance(v, str))
    return texts and kind.name in allowed.predicates.get(op, frozenset())


def keys_of(table: exp.Table, relation: Governed, allowed: Capabilities) -> tuple[str, ...]:
    """Published columns c with a conjunct `c IN (SELECT k FROM "$keys")`; same proof as for predicates.

    IN over keys without NULLs is never true for a NULL column, so it is null-rejecting on any side.
    """
    select = select_of(table)
    if select is None:
        return ()
    alias = table.alias_or_name.lower()
    single = not select.args.get("joins")
    where = select.args.get("where")
    found = []
    for part in [*conjuncts(where.this if where else None), *_on_conjuncts(table, select)]:
        column = key_column(part, alias, relation, single)
        if column and relation.spec.columns[column].type.name in allowed.keys:
            found.append(column)
    return tuple(dict.fromkeys(found))


def key_column(part: exp.Expr, alias: str, relation: Governed, single: bool) -> str:
    """The unmasked column of `c IN (SELECT k FROM "$keys")`, "" if `part` is something else."""
    if not isinstance(part, exp.In) or part.expressions or not isinstance(part.args.get("query"), exp.Subquery):
        return ""
    inner = part.args["query"].this
    if not isinstance(inner, exp.Select) or len(inner.expressions) != 1:
        return ""
    plain = {k for k, v in inner.args.items() if v} <= {"expressions", "from_"}
    source = inner.args.get("from_")
    is_keys = source and isinstance(source.this, exp.Table) and source.this.name == KEYS_TABLE
    if not plain or not is_keys or not isinstance(inner.expressions[0], exp.Column):
        return ""
    if inner.expressions[0].name.lower() != "k":
        return ""
    return own_column(part.this, alias, relation, single)


def limit_of(tree: exp.Expr, table: exp.Table, complete: bool, sources: int) -> int | None:
    """Rows that suffice, if Q is a projection of one relation whose WHERE went down completely.

    complete: it did, and the relation hides nothing; which rows a source delivers first may follow values
    that are hidden (an index on a masked column).

    Proof: without ORDER BY, DISTINCT, grouping, windows or anything that drops rows, the first n rows of
    any order are an answer of LIMIT n.
    """
    if not isinstance(tree, exp.Select) or sources != 1 or not complete or select_of(table) is not tree:
        return None
    used = {k for k, v in tree.args.items() if v}
    if not used <= {"expressions", "from_", "where", "limit", "offset"} or "limit" not in used:
        return None
    if any(tree.find_all(exp.Window, exp.Subquery, exp.Unnest, exp.Exists)) or any(map(duck.is_aggregate, tree.walk())):
        return None
    counts = []
    for key, argument in (("limit", "expression"), ("offset", "expression")):
        node = tree.args.get(key)
        if node is None:
            continue
        value = node.args.get("count") if isinstance(node, exp.Fetch) else node.args.get(argument)
        if not isinstance(value, exp.Literal) or not value.name.isdigit():
            return None
        counts.append(int(value.name))
    return sum(counts)


@dataclass(frozen=True)
class Grouped:
    """A SELECT that the source answers whole. select: what replaces it, over the columns g0.. and a0..

    masked: keys that show a mask -> the published column; `enforce_grouped` puts the mask on.
    """

    select: exp.Select
    table: exp.Table
    keys: tuple[GroupKey, ...]
    aggregates: tuple[Aggregate, ...]
    predicates: tuple[Predicate, ...]
    bind: tuple[str, ...]
    masked: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[tuple[str, TrinoType], ...]:
        """What the grouped scan delivers, in order."""
        return tuple((k.name, k.type) for k in self.keys) + tuple((a.name, a.type) for a in self.aggregates)


def grouped(select: exp.Select, table: exp.Table, relation: Governed, allowed: Capabilities) -> Grouped | None:
    """One grouped scan instead of a plain one, None if the SELECT is not of that shape.

    Shape: one relation, WHERE of safe predicates only, keys that are unmasked columns (or year, month,
    quarter of a date) or masked ones whose mask the source computes, outputs that are keys or count(*), count,
    sum, min, max of unmasked columns.

    Proof: WHERE is exact for each row, masked columns included. Aggregates see only unmasked values, which are
    equal in R and M(R). A key is equal in both too: unmasked as it is, masked because `enforce_grouped` puts the
    mask's own form for this source around it, which gives the mask's value for every raw one. The row filter is
    applied below in both. The source groups, compares and aggregates these types exactly as Trino does
    (`allowed`), so its groups are Q's groups. ORDER BY and LIMIT stay above, over the outputs.
    """
    used = {k for k, v in select.args.items() if v}
    if not used <= {"expressions", "from_", "where", "group", "order", "limit", "offset"}:
        return None
    predicates, rest = predicates_of(table, relation, allowed)
    keys = keys_of(table, relation, allowed)
    if len(rest) != len(keys) or not select.args.get("expressions"):
        return None
    builder = _Grouping(table.alias_or_name.lower(), relation, allowed)
    group = select.args.get("group")
    listed = _group_list(select, group)
    if listed is None:
        return None
    for node in listed:
        if not builder.key(node):
            return None
    outputs = []
    for item in select.expressions:
        value = item.this if isinstance(item, exp.Alias) else item
        name = builder.output(value)
        if name is None:
            return None
        label = item.alias if isinstance(item, exp.Alias) else ""
        outputs.append((name, label or (value.name if isinstance(value, exp.Column) else "")))
    if not builder.aggregates and not group:
        return None
    order = select.args.get("order")
    if order and not _orders_by_outputs(order, {label.lower() for _, label in outputs}):
        return None
    rewritten = exp.Select(
        expressions=[exp.alias_(exp.column(name), label) if label else exp.column(name) for name, label in outputs]
    )
    for key in ("order", "limit", "offset"):
        if select.args.get(key):
            rewritten.set(key, select.args[key].copy())
    return Grouped(rewritten, table, tuple(builder.keys), tuple(builder.aggregates), predicates, keys, builder.masked)


class _Grouping:
    """Collects keys and aggregates of one SELECT; equal ones once."""

    def __init__(self, alias: str, relation: Governed, allowed: Capabilities) -> None:
        self.alias, self.relation, self.allowed = alias, relation, allowed
        self.keys: list[GroupKey] = []
        self.aggregates: list[Aggregate] = []
        self.masked: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}

    def key(self, node: exp.Expr) -> bool:
        function, column = self._key_parts(node)
        if not column:
            return False
        kind = self.relation.spec.columns[column].type
        mask = self.relation.masks.get(column)
        if function:
            if function not in self.allowed.key_functions or kind.name != "date":
                return False
        elif kind.name not in self.allowed.group_types or (mask is not None and not self._computes(mask)):
            return False
        identity = (function, column)
        if identity not in self._names:
            name = f"g{len(self.keys)}"
            self._names[identity] = name
            raw = self.relation.raw(column)
            shown = BIGINT if function else self.relation.columns[column]
            self.keys.append(GroupKey(raw, shown, name, function or None))  # type: ignore[arg-type]
            if mask is not None:
                self.masked[name] = column
        return True

    def _computes(self, mask: Mask) -> bool:
        return bool(self.allowed.masks) and mask.source(self.allowed.masks) is not None

    def _key_parts(self, node: exp.Expr) -> tuple[str, str]:
        functions: dict[type[exp.Expr], str] = {exp.Year: "year", exp.Month: "month", exp.Quarter: "quarter"}
        function = functions.get(type(node), "")
        # A part of a masked date would be a part of what the mask shows: that is for the residual query.
        seen = self.relation if function else replace(self.relation, masks={})
        return function, own_column(node.this if function else node, self.alias, seen, True)

    def output(self, node: exp.Expr) -> str | None:
        """The grouped scan's column that gives this output, None if there is none."""
        identity = self._key_parts(node)
        if identity in self._names:
            return self._names[identity]
        found = self._aggregate(node)
        if found is None:
            return None
        function, column, kind = found
        same = ("agg:" + function, column)
        if same not in self._names:
            name = f"a{len(self.aggregates)}"
            self._names[same] = name
            raw = self.relation.raw(column) if column else None
            self.aggregates.append(Aggregate(function, raw, kind, name))  # type: ignore[arg-type]
        return self._names[same]

    def _aggregate(self, node: exp.Expr) -> tuple[str, str, TrinoType] | None:
        names: dict[type[exp.Expr], str] = {
            exp.Count: "count", exp.Sum: "sum", exp.Min: "min", exp.Max: "max",
        }  # fmt: skip
        function = names.get(type(node), "")
        if not function or {k for k, v in node.args.items() if v} - {"this", "big_int"}:
            return None
        if function == "count" and isinstance(node.this, exp.Star):
            return ("count", "", BIGINT) if "count" in self.allowed.aggregates else None
        column = own_column(node.this, self.alias, self.relation, True)
        if not column:
            return None
        kind = self.relation.spec.columns[column].type
        if kind.name not in self.allowed.aggregates.get(function, frozenset()):
            return None
        if function == "count" or (function == "sum" and kind.is_integer):
            return function, column, BIGINT
        if function == "sum":
            if kind.name != "decimal":
                return None
            return function, column, TrinoType("decimal", (38, kind.args[1]))
        return function, column, kind


def _group_list(select: exp.Select, group: exp.Expr | None) -> list[exp.Expr] | None:
    if group is None:
        return []
    if {k for k, v in group.args.items() if v} - {"expressions"}:
        return None
    result: list[exp.Expr] = []
    for node in group.expressions:
        if isinstance(node, exp.Literal):
            place = int(node.name) if node.name.isdigit() else 0
            if not 1 <= place <= len(select.expressions):
                return None
            node = select.expressions[place - 1]
            node = node.this if isinstance(node, exp.Alias) else node
        result.append(node)
    return result


def _orders_by_outputs(order: exp.Expr, labels: set[str]) -> bool:
    for item in order.expressions:
        value = item.this
        is_label = isinstance(value, exp.Column) and not value.table and value.name.lower() in labels
        if not is_label and not isinstance(value, exp.Literal):
            return False
    return True


def safe_predicate(
    node: exp.Expr, alias: str, relation: Governed, allowed: Capabilities | None, single: bool
) -> Predicate | None:
    """`column op literal` on an unmasked column of `relation`, in raw names; None if it is something else.

    allowed: None = any operator (aggregate mode evaluates predicates itself). single: unqualified names
    can only be this relation's.
    """
    found = _parts(node, alias, relation, single)
    if found is None:
        return None
    column, op, literals = found
    kind = relation.columns[column]
    values = [_value(v, kind) for v in literals]
    if any(v is None for v in values):
        return None
    if allowed is not None and kind.name not in allowed.predicates.get(op, frozenset()):
        return None
    return Predicate(relation.raw(column), op, tuple(v for v in values if v is not None))


def _parts(node: exp.Expr, alias: str, relation: Governed, single: bool) -> tuple[str, Op, list[exp.Expr]] | None:
    if type(node) in _OPS:
        op = _OPS[type(node)]
        column = own_column(node.this, alias, relation, single)
        if column:
            return column, op, [node.expression]
        column = own_column(node.expression, alias, relation, single)
        return (column, _FLIPPED[op], [node.this]) if column else None
    if isinstance(node, exp.In) and node.expressions and not node.args.get("query"):
        column = own_column(node.this, alias, relation, single)
        return (column, "in", list(node.expressions)) if column else None
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        column = own_column(node.this, alias, relation, single)
        return (column, "is null", []) if column else None
    if isinstance(node, exp.Not):
        inner = node.this.this if isinstance(node.this, exp.Paren) else node.this
        if isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
            column = own_column(inner.this, alias, relation, single)
            return (column, "is not null", []) if column else None
    return None


def own_column(node: exp.Expr | None, alias: str, relation: Governed, single: bool) -> str:
    """The name of an unmasked, visible column of this relation, "" for anything else."""
    if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star) or node.args.get("db"):
        return ""
    table, name = node.table.lower(), node.name.lower()
    if table != alias and not (single and not table):
        return ""
    return name if name in relation.columns and name not in relation.masks else ""


def _value(node: exp.Expr, kind: TrinoType) -> Value | None:
    """A literal as a value of exactly `kind`, None if it is no such literal."""
    if isinstance(node, exp.Paren):
        return _value(node.this, kind)
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.this.is_string:
        return _moment(node, kind)
    sign = ""
    if isinstance(node, exp.Neg):
        node, sign = node.this, "-"
    if isinstance(node, exp.Boolean) and kind.name == "boolean" and not sign:
        return bool(node.this)
    if not isinstance(node, exp.Literal):
        return None
    text = sign + node.name
    if node.is_string:
        return node.name if kind.is_text and not sign else None
    try:
        if kind.is_integer:
            return int(text) if text.lstrip("-").isdigit() and abs(int(text)) < 2**63 else None
        if kind.name == "decimal":
            return Decimal(text) if "e" not in text.lower() else None
        if kind.name == "double":
            return float(text) if "e" in text.lower() or abs(int(text)) < 2**53 else None
    except (ValueError, InvalidOperation):
        return None
    return None


def _moment(node: exp.Cast, kind: TrinoType) -> Value | None:
    target = node.args["to"].this
    # Only the plain spelling goes down; the residual query knows the others.
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9:.]+)?", node.this.name):
        return None
    try:
        if kind.name == "date" and target == exp.DType.DATE:
            return date.fromisoformat(node.this.name)
        if kind.name == "timestamp" and target == exp.DType.TIMESTAMP:
            found = datetime.fromisoformat(node.this.name)
            return found if found.tzinfo is None else None
    except ValueError:
        return None
    return None


def select_of(table: exp.Table) -> exp.Select | None:
    """The SELECT in whose FROM or JOIN the table stands directly."""
    parent = table.parent
    if isinstance(parent, (exp.From, exp.Join)) and isinstance(parent.parent, exp.Select):
        return parent.parent
    return None


def _is_nullable(table: exp.Table, select: exp.Select) -> bool:
    """Whether an outer join can put NULLs in place of this table's rows."""
    joins = select.args.get("joins") or []
    own = next((i for i, j in enumerate(joins) if j.this is table), -1)
    if own >= 0 and (joins[own].side or "").upper() in ("LEFT", "FULL"):
        return True
    return any((j.side or "").upper() in ("RIGHT", "FULL") for j in joins[own + 1 :])


def _on_conjuncts(table: exp.Table, select: exp.Select) -> Iterator[exp.Expr]:
    """ON conditions that every useful row of the table fulfils: inner joins', a LEFT join's on its right side.

    Of an inner join only where no outer join lies between it and the table, else NULLs could be the reason.
    """
    joins = select.args.get("joins") or []
    outer = any((j.side or "") for j in joins)
    for join in joins:
        on = join.args.get("on")
        side = (join.side or "").upper()
        if on is None:
            continue
        if (side == "LEFT" and join.this is table) or (not outer and not side):
            yield from conjuncts(on)
