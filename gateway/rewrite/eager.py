"""Rule: partial sums below a join. A department sums by what the join needs; the merge sums the sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from catalog.relation import Relation
from gateway.rewrite.calm import EXACT, is_calm
from gateway.rewrite.tree import (
    Source,
    aggregates_in,
    aliases_in,
    conjuncts,
    departments_of,
    has_grouping_sets,
    has_subquery,
    has_window,
    home_of,
    is_aggregate_select,
    rows_of,
    set_where,
    sources,
    tables_of,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["FINAL", "Term", "calls_of", "eager_aggregation", "is_candidate", "is_partial", "may_be_summed", "sum_first"]

FINAL: dict[type[exp.Expr], type[exp.AggFunc]] = {
    exp.Sum: exp.Sum,
    exp.Count: exp.Sum,
    exp.Min: exp.Min,
    exp.Max: exp.Max,
}


@dataclass(frozen=True)
class Term:
    """Of a sum that is taken apart (`apart`): a partial sum, what it is multiplied by, and whether it is subtracted."""

    partial: exp.Sum
    factors: tuple[exp.Expr, ...]
    is_less: bool


@dataclass
class _Partial:
    """keys and calls: SQL text -> (expression over the source, output name). apart: SQL text -> its terms."""

    source: Source
    alias: str
    keys: dict[str, tuple[exp.Expr, str]]
    calls: dict[str, tuple[exp.Expr, str]]
    apart: Mapping[str, Sequence[Term]]


def eager_aggregation(tree: exp.Query, context: Context) -> exp.Query:
    """`SELECT g, SUM(f(x)) FROM x JOIN y ON .. GROUP BY g` over two departments: x is grouped first.

    x is grouped by every expression of its columns that ON, WHERE and GROUP BY use; sum, count, min
    and max (not DISTINCT) of x's columns, or of none, become partial, the select above combines them. Where all
    read no column, as COUNT(*) does, x is the largest source by its owner's count.

    Proof sketch. Rows of x that agree on all those expressions meet the same rows of the other sources
    and fall into the same groups (x is not null-extended: checked). To agree is to be one value, not only
    equal: each expression has a type of `calm.EXACT`. Let such a class have values
    v1..vn and meet m rows in a group: SUM contributes m * (v1+..+vn) = m times the class's partial sum;
    COUNT, MIN, MAX likewise, COUNT by summing counts; so it is for the n rows themselves, m * n of them.
    NULLs: a class without values has a NULL partial sum, which SUM skips as it skipped the values. COUNT over no
    rows at all is 0, so without GROUP BY the sum of counts is wrapped in COALESCE(.., 0). Conditions on x alone
    filter before grouping. A select that groups, but by nothing of x, is left alone: ungrouped, an empty x would
    still be one row. Doubles add in another order, which SQL leaves open. Rows of x that meet nothing are summed
    too, so what is evaluated for them is calm: no division by a zero, no cast, that the whole would not have met.
    An expression is one only where it stands by itself: below a lambda its names are the lambda's too, below TRY it
    may fail, below ESCAPE the pattern reads otherwise; of these only columns are keys (`_is_value`).
    Numbers that overflow are the exception, as they are for the sum itself.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        source = _summed_source(select, context) if is_candidate(select) else None
        if source is not None and sum_first(select, source, {}):
            context.notes.append(f"partial sums of {source.node.sql('trino')[:60]} go down below the join")
    return tree


def sum_first(select: exp.Select, source: Source, apart: Mapping[str, Sequence[Term]]) -> bool:
    """Sum a source up by what the rest of the select needs of it; False if that isn't exact.

    apart: the terms of the sums that read other sources too, by their text.
    """
    partial = _plan(select, source, apart)
    if partial is not None:
        _apply(select, partial)
    return partial is not None


def is_candidate(select: exp.Select) -> bool:
    """Whether a select groups the rows of a join, by nothing that stands in a subquery or a window."""
    if not is_aggregate_select(select) or not select.args.get("joins"):
        return False
    if has_grouping_sets(select):
        return False
    own = [*select.expressions, *_clauses(select)]
    return not any(has_subquery(part) or has_window(part) for part in own)


def _clauses(select: exp.Select) -> list[exp.Expr]:
    found = [select.args[k] for k in ("where", "group", "having", "order") if select.args.get(k) is not None]
    return [*found, *(j.args["on"] for j in select.args.get("joins") or [] if j.args.get("on") is not None)]


def _summed_source(select: exp.Select, context: Context) -> Source | None:
    """The one source whose columns the aggregates read, if summing it first is exact and useful."""
    by_alias = {s.alias: s for s in sources(select)}
    calls = calls_of(select)
    read = set[str]().union(*map(aliases_in, calls))
    if not calls or len(read) > 1 or not all(map(is_partial, calls)):
        return None
    source = by_alias.get(next(iter(read))) if read else _largest(select, context)
    return source if may_be_summed(select, source, context) else None


def calls_of(select: exp.Select) -> list[exp.Expr]:
    """All aggregate calls of a select's own."""
    return [c for part in [*select.expressions, *_clauses(select)] for c in aggregates_in(part)]


def is_partial(call: exp.Expr) -> bool:
    """Whether an aggregate call can be combined out of those of parts."""
    bare = call.this if isinstance(call, exp.Filter) else call
    return not (type(bare) not in FINAL or isinstance(bare.this, exp.Distinct) or bare.args.get("expressions"))


def may_be_summed(select: exp.Select, source: Source | None, context: Context) -> bool:
    """Whether a source's rows may be summed before they meet the others."""
    if source is None or source.nullable or not _is_summable(source, context):
        return False
    if len(departments_of(select)) < 2 or any(j.args.get("using") for j in select.args["joins"]):
        return False
    # UNNEST of x's own arrays reads x.
    return not any(source.alias in aliases_in(j.this) for j in select.args["joins"])


def _largest(select: exp.Select, context: Context) -> Source | None:
    """The source of most rows that may be summed first, but for those of which a group would be one row."""
    met = [c for part in _clauses(select) for c in part.find_all(exp.Column)]
    found = [
        s for s in sources(select)
        if not s.nullable and _is_summable(s, context) and not _is_met_by_key(s, met, context)
    ]  # fmt: skip
    return max(found, key=lambda s: max(rows_of(r) for r in _relations(s, context)), default=None)


def _is_met_by_key(source: Source, met: list[exp.Column], context: Context) -> bool:
    if not isinstance(source.node, exp.Table):
        return False
    (relation,) = _relations(source, context)
    return bool(relation.key) and {c.name for c in met if c.table == source.alias}.issuperset(relation.key)


def _relations(source: Source, context: Context) -> list[Relation]:
    return [context.relations[RelationName(t.catalog, t.db, t.name)] for t in tables_of(source.node)]


def _is_summable(source: Source, context: Context) -> bool:
    plain = isinstance(source.node, exp.Table) or _is_plain_join(source.node.this)
    return plain and home_of(source, context.relations) != ""


def _is_plain_join(query: exp.Expr) -> bool:
    """Whether a derived table gives rows of a join as they are; one that groups has little left to sum."""
    closed = ("distinct", "limit", "offset", "qualify")
    return (
        isinstance(query, exp.Select) and not is_aggregate_select(query) and not any(query.args.get(k) for k in closed)
    )


def _plan(select: exp.Select, source: Source, apart: Mapping[str, Sequence[Term]]) -> _Partial | None:
    alias = f"{source.alias}_part"
    group = select.args.get("group")
    keyed: dict[str, exp.Expr] = {}
    for key in group.expressions if group is not None else []:
        _collect(key, source.alias, keyed)
    where = select.args.get("where")
    for part in conjuncts(where.this if where is not None else None):
        if aliases_in(part) != {source.alias}:
            _collect(part, source.alias, keyed)
    for join in select.args.get("joins") or []:
        for part in conjuncts(join.args.get("on")):
            _collect(part, source.alias, keyed)
    whole = [call for call in calls_of(select) if call.sql() not in apart]
    called = {call.sql(): call for call in (*whole, *(t.partial for terms in apart.values() for t in terms))}
    if not called or (group is not None and not keyed) or not all(map(is_calm, called.values())):
        return None
    if not all(key.is_type(*EXACT) for key in keyed.values()):
        return None
    keys = {text: (node, f"k{i}") for i, (text, node) in enumerate(keyed.items())}
    calls = {text: (node, f"s{i}") for i, (text, node) in enumerate(called.items())}
    return _Partial(source, alias, keys, calls, apart)


def _collect(node: exp.Expr, alias: str, into: dict[str, exp.Expr]) -> None:
    """Note the largest parts of `node` that read nothing but `alias`, and fail for no row of it."""
    read = aliases_in(node)
    if alias not in read:
        return
    if read == {alias} and _is_value(node) and is_calm(node):
        into[node.sql()] = node
        return
    for child in node.iter_expressions():
        _collect(child, alias, into)


def _is_value(node: exp.Expr) -> bool:
    """Whether a node is an expression of its own; a CASE's branch, a row's brackets, a part of TRY are not."""
    around = node.find_ancestor(exp.Lambda, exp.Try, exp.Escape, exp.Query)
    if not isinstance(node, exp.Column) and not isinstance(around, (exp.Query, type(None))):
        return False
    if isinstance(node, exp.If):
        return not isinstance(node.parent, exp.Case)
    return not isinstance(node, (exp.Group, exp.Ordered, exp.Tuple))


def _apply(select: exp.Select, partial: _Partial) -> None:
    grouped = select.args.get("group") is not None

    def raise_part(node: exp.Expr) -> exp.Expr:
        text = node.sql()
        if text in partial.apart:
            return _added(partial.apart[text], partial)
        if text in partial.calls:
            return _combined(partial.calls[text], partial.alias, grouped)
        if text in partial.keys and _is_value(node):
            return exp.column(partial.keys[text][1], table=partial.alias)
        return node

    own, rest = _split_where(select, partial.source.alias)
    draft = select.copy()
    set_where(draft, [p.copy() for p in rest])
    draft.set("expressions", [_raised(p, raise_part) for p in draft.expressions])
    for key in ("where", "group", "having", "order"):
        if draft.args.get(key) is not None:
            draft.set(key, draft.args[key].transform(raise_part, copy=False))
    for join in draft.args["joins"]:
        if join.args.get("on") is not None:
            join.set("on", join.args["on"].transform(raise_part, copy=False))
    standing = next(s.node for s in sources(draft) if s.alias == partial.source.alias)
    standing.replace(_partial_table(partial, own))
    above = [*draft.expressions, *_clauses(draft)]
    if any(partial.source.alias in aliases_in(part) for part in above):
        return
    for key in ("expressions", "from_", "joins", "where", "group", "having", "order"):
        select.set(key, draft.args.get(key))


def _raised(projection: exp.Expr, raise_part: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    new = exp.alias_(
        projection.unalias().copy().transform(raise_part, copy=False), projection.alias_or_name, copy=False
    )
    new.meta.update(projection.meta)
    return new


def _added(terms: Sequence[Term], partial: _Partial) -> exp.Expr:
    """The sum of what the terms of each row are."""
    whole: exp.Expr | None = None
    for term in terms:
        value: exp.Expr = exp.column(partial.calls[term.partial.sql()][1], table=partial.alias)
        for factor in term.factors:
            value = exp.Mul(this=value, expression=factor.copy())
        if whole is None:
            whole = exp.Neg(this=exp.paren(value, copy=False)) if term.is_less else value
        else:
            whole = (exp.Sub if term.is_less else exp.Add)(this=whole, expression=value)
    return exp.Sum(this=whole)


def _combined(call: tuple[exp.Expr, str], alias: str, grouped: bool) -> exp.Expr:
    node, name = call
    bare = node.this if isinstance(node, exp.Filter) else node
    combined = FINAL[type(bare)](this=exp.column(name, table=alias))
    if isinstance(bare, exp.Count) and not grouped:
        return exp.Coalesce(this=combined, expressions=[exp.Literal.number(0)])
    return combined


def _split_where(select: exp.Select, alias: str) -> tuple[list[exp.Expr], list[exp.Expr]]:
    where = select.args.get("where")
    parts = conjuncts(where.this if where is not None else None)
    own = [p for p in parts if aliases_in(p) == {alias}]
    return own, [p for p in parts if aliases_in(p) != {alias}]


def _partial_table(partial: _Partial, own: list[exp.Expr]) -> exp.Subquery:
    inner = exp.Select(
        expressions=[
            exp.alias_(node.copy(), name, copy=False)
            for node, name in [*partial.keys.values(), *partial.calls.values()]
        ],
        from_=exp.From(this=partial.source.node.copy()),
    )
    set_where(inner, [p.copy() for p in own])
    if partial.keys:
        inner.set("group", exp.Group(expressions=[node.copy() for node, _ in partial.keys.values()]))
    return exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(partial.alias)))
