"""What may go below the masks, each rule with its proof.

Notation: M(R) is the governed relation, Q the analyst's query over it. A rule may change what is read from
the source only if Q's answer over M(R) stays the same. All rules copy: the predicate stays in Q.

    predicates_of   safe conjuncts of WHERE and ON on unmasked columns     (`copy`), and on masked ones where
                    `inverse` knows which raw values they mean
    keys_of         `k IN (SELECT k FROM "$keys")` and `(a, b) IN (SELECT k, k1 FROM "$keys")` on unmasked columns
    grouped         a whole single-relation GROUP BY
    limit_of        LIMIT over a plain projection

`compose` has those over several relations of one source. `sideways` has one more, which needs rows of another
relation first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from catalog import duck
from catalog.exchange import KEY_COLUMNS, KEYS_TABLES
from catalog.masks import Mask
from catalog.types import TrinoType
from connectors.agent import inverse
from connectors.agent.authorise import Governed
from connectors.agent.grouping import Grouping, Shown, regrouped
from connectors.agent.lower import COMPARES, FLIPPED, Lower, Named, Resolve, values_of
from connectors.allowed import may_bind
from connectors.base import (
    Aggregate,
    AllOf,
    AnyOf,
    Capabilities,
    Condition,
    Exists,
    GroupKey,
    NotIn,
    Op,
    Predicate,
    Scalar,
    Value,
)

__all__ = [
    "GROUPED",
    "Bound",
    "Grouped",
    "conjuncts",
    "grouped",
    "keys_column",
    "keys_of",
    "keys_operand",
    "limit_of",
    "own_column",
    "predicates_of",
    "resolver",
    "safe_predicate",
    "select_of",
]


GROUPED = "$grouped"
"""What a SELECT reads in place of what its source answered; no name that a question may use."""


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
) -> tuple[tuple[Condition, ...], tuple[exp.Expr, ...]]:
    """Safe conditions that every row of `table` that can matter fulfils, and the rest of WHERE.

    Proof. Let p be a conjunct over columns of R alone that has a closed form (`lower`). Unmasked, their values in
    M(R) are the raw ones, so p over R and over M(R) select the same rows. Where p is `column op literal` on a masked
    column, the source is asked for a condition q on the raw column that holds wherever p holds of what the
    mask shows (`inverse`); where q is exact, they select the same rows. `x BETWEEN a AND b` is its two halves.
    A row of R that fails q fails p, or p is NULL for it:
    - WHERE, R not on the nullable side of an outer join: each joined row that contains it fails WHERE.
    - WHERE, R on a nullable side: removing it may leave a partner unmatched, which then appears with NULLs
      for R. p is not true there unless a row of NULLs may fulfil it (`_rejects_nulls`), so WHERE, which stays,
      removes it; otherwise p stays above.
    - ON of an inner join: as WHERE. ON of a LEFT join, R its right side: the row matches nothing.
    Nothing else of Q sees a row of R before these. Errors cannot appear or vanish: p itself cannot raise, and where
    an owner's view computes its column, the source asks p of the view's own rows alone (`native`, the fence).
    """
    select = select_of(table)
    if select is None:
        return (), (table,)
    alias = table.alias_or_name.lower()
    nullable = _is_nullable(table, select)
    single = not select.args.get("joins")
    found: list[Condition] = []
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
    """A conjunct in raw names. exact: the source selects by it what the query does. asks_null: a row of NULLs may
    fulfil it."""

    predicates: tuple[Condition, ...]
    exact: bool
    asks_null: bool


def _lowered(node: exp.Expr, alias: str, relation: Governed, allowed: Capabilities, single: bool) -> _Lowered | None:
    """What a conjunct asks of the source, on a masked column through the mask's inverse image; None: nothing."""
    plain = Lower(resolver(alias, relation, single), allowed).condition(node)
    if plain is not None:
        return _Lowered((plain,), True, not _rejects_nulls(plain))
    found = _parts(node, alias, replace(relation, masks={}), single)
    if found is None or found[0] not in relation.masks:
        return None
    column, op, literals = found
    values = values_of(literals, relation.columns[column])
    if values is None:
        return None
    mask = relation.masks[column]
    image = inverse.image(mask, op, values, relation.above)
    if image is None or not all(_may_ask(o, vs, mask.column_type, allowed) for o, vs in image.conditions):
        return None
    predicates = tuple(Predicate(relation.raw(column), o, vs) for o, vs in image.conditions)
    return _Lowered(predicates, image.exact, op == "is null")


def _rejects_nulls(condition: Condition) -> bool:
    """Whether a row whose columns are all NULL cannot fulfil the condition."""
    match condition:
        case Predicate():
            return condition.op != "is null"
        case AllOf(parts):
            return any(map(_rejects_nulls, parts))
        case AnyOf(parts):
            return all(map(_rejects_nulls, parts))
        case Exists() | NotIn() | Scalar():
            return False
    return True


def _may_ask(op: Op, values: tuple[Value, ...], kind: TrinoType, allowed: Capabilities) -> bool:
    """Whether the source compares the type so, and a text can be written for it (codes of a list may not be)."""
    texts = all("\0" not in v for v in values if isinstance(v, str))
    return texts and kind.name in allowed.predicates.get(op, frozenset())


Bound = tuple[tuple[str, ...], str]
"""Published columns that together are one of the keys of a set, and the name of the set's table."""


def keys_of(table: exp.Table, relation: Governed, allowed: Capabilities) -> tuple[Bound, ...]:
    """Published columns with a conjunct that they be one of some keys; same proof as for predicates.

    IN over keys without NULLs is never true for a NULL column, so it is null-rejecting on any side.
    """
    select = select_of(table)
    if select is None:
        return ()
    where = select.args.get("where")
    found = []
    for part in [*conjuncts(where.this if where else None), *_on_conjuncts(table, select)]:
        bound = keys_column(part, table, relation)
        if bound is not None and all(may_bind(relation.spec.columns[c].type, bound[0], allowed) for c in bound[0]):
            found.append(bound)
    return tuple(dict.fromkeys(found))


def keys_column(part: exp.Expr, table: exp.Table, relation: Governed) -> Bound | None:
    """What `keys_operand` finds, if it is published unmasked columns of this table; None for anything else."""
    found = keys_operand(part)
    select = select_of(table)
    if found is None:
        return None
    single = select is not None and not select.args.get("joins")
    columns = tuple(own_column(one, table.alias_or_name.lower(), relation, single) for one in found[0])
    return (columns, found[1]) if all(columns) else None


def keys_operand(part: exp.Expr) -> tuple[tuple[exp.Expr, ...], str] | None:
    """What is to be one of the keys, and the name of their table; None if `part` is something else.

    x and "$keys" of `x IN (SELECT k FROM "$keys")`; x, y and "$keys" of `(x, y) IN (SELECT k, k1 FROM "$keys")`.
    """
    if not isinstance(part, exp.In) or part.expressions or not isinstance(part.args.get("query"), exp.Subquery):
        return None
    inner = part.args["query"].this
    if not isinstance(inner, exp.Select):
        return None
    plain = {k for k, v in inner.args.items() if v} <= {"expressions", "from_"}
    from_ = inner.args.get("from_")
    table = from_.this if from_ is not None else None
    if not plain or not isinstance(table, exp.Table) or table.name not in KEYS_TABLES:
        return None
    own = tuple(part.this.expressions) if isinstance(part.this, exp.Tuple) else (part.this,)
    homes = ("", table.alias_or_name.lower())  # a column `k` of a table around is none of the keys
    named = [one.name.lower() if isinstance(one, exp.Column) and one.table.lower() in homes else ""
             for one in inner.expressions]  # fmt: skip
    return (own, table.name) if named == list(KEY_COLUMNS[: len(own)]) else None


def limit_of(tree: exp.Expr, table: exp.Table, complete: bool, sources: int, ordered: bool = False) -> int | None:
    """Rows that suffice, if Q is a projection of one relation whose WHERE went down completely.

    complete: it did, and the relation hides nothing; which rows a source delivers first may follow values
    that are hidden (an index on a masked column). ordered: ORDER BY goes down too (`top`).

    Proof: without ORDER BY, DISTINCT, grouping, windows or anything that drops rows, the first n rows of
    any order are an answer of LIMIT n.
    """
    if not isinstance(tree, exp.Select) or sources != 1 or not complete or select_of(table) is not tree:
        return None
    used = {k for k, v in tree.args.items() if v}
    known = {"expressions", "from_", "where", "limit", "offset", *(["order"] if ordered else [])}
    if not used <= known or "limit" not in used:
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
    predicates: tuple[Condition, ...]
    bind: tuple[Bound, ...]
    masked: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[tuple[str, TrinoType], ...]:
        """What the grouped scan delivers, in order."""
        return tuple((k.name, k.type) for k in self.keys) + tuple((a.name, a.type) for a in self.aggregates)


def grouped(select: exp.Select, table: exp.Table, relation: Governed, allowed: Capabilities) -> Grouped | None:
    """One grouped scan instead of a plain one, None if the SELECT is not of that shape.

    Shape: one relation, WHERE of safe predicates only, keys that are unmasked columns (or year, month,
    quarter of a date) or masked ones whose mask the source computes, count(*), count, sum, min, max, avg of
    expressions over unmasked columns, count(DISTINCT) of one; outputs, HAVING and ORDER BY over those keys and
    aggregates (`grouping`).

    Proof: WHERE is exact for each row, masked columns included. Aggregates see only unmasked values, which are
    equal in R and M(R). A key is equal in both too: unmasked as it is, masked because `enforce_grouped` puts the
    mask's own form for this source around it, which gives the mask's value for every raw one. The row filter is
    applied below in both. The source groups, compares and aggregates these types exactly as Trino does
    (`allowed`), so its groups are Q's groups. Keys that hold a key of the relation make a group of each row: such a
    SELECT is left alone, for grouping would only cost.
    """
    predicates, rest = predicates_of(table, relation, allowed)
    keys = keys_of(table, relation, allowed)
    if len(rest) != len(keys) or select.args.get("joins"):
        return None
    alias = table.alias_or_name.lower()
    seen = replace(relation, masks={})

    def shown(node: exp.Expr | None) -> Shown | None:
        column = own_column(node, alias, seen, True)
        mask = relation.masks.get(column)
        if not column or (mask is not None and not _computes(mask, allowed)):
            return None
        return Shown(Named(relation.raw(column), relation.columns[column]), column if mask is not None else "")

    counts = Counter[str]()

    def name(start: str) -> str:
        counts[start] += 1
        return f"{start}{counts[start] - 1}"

    grouping = Grouping(GROUPED, Lower(resolver(alias, relation, True), allowed), shown, name)
    rewritten = regrouped(select, grouping)
    if rewritten is None:
        return None
    by = {key.column for key in grouping.keys if key.is_plain and key.name not in grouping.masked}
    if relation.spec.key and by.issuperset(map(relation.raw, relation.spec.key)):
        return None
    return Grouped(
        rewritten, table, tuple(grouping.keys), tuple(grouping.aggregates), predicates, keys, grouping.masked
    )


def _computes(mask: Mask, allowed: Capabilities) -> bool:
    return bool(allowed.masks) and mask.source(allowed.masks) is not None


def resolver(alias: str, relation: Governed, single: bool) -> Resolve:
    """Which unmasked raw column of the relation a node names."""

    def resolve(node: exp.Expr | None) -> Named | None:
        column = own_column(node, alias, relation, single)
        return Named(relation.raw(column), relation.columns[column]) if column else None

    return resolve


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
    if allowed is None and kind.name == "timestamp with time zone":  # which a history of answers does not hold
        return None
    values = values_of(literals, kind)
    if values is None:
        return None
    if allowed is not None and kind.name not in allowed.predicates.get(op, frozenset()):
        return None
    return Predicate(relation.raw(column), op, values)


def _parts(node: exp.Expr, alias: str, relation: Governed, single: bool) -> tuple[str, Op, list[exp.Expr]] | None:
    if type(node) in COMPARES:
        op = COMPARES[type(node)]
        column = own_column(node.this, alias, relation, single)
        if column:
            return column, op, [node.expression]
        column = own_column(node.expression, alias, relation, single)
        return (column, FLIPPED[op], [node.this]) if column else None
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
