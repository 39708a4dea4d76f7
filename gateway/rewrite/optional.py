"""Rule: what a LEFT JOIN brings only to be counted is counted first, where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.calm import EXACT, is_calm
from gateway.rewrite.eager import FINAL
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
    set_where,
    sources,
    without,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["count_optional"]


def count_optional(tree: exp.Query, context: Context) -> exp.Query:
    """`SELECT g, COUNT(o.v) FROM c LEFT JOIN o ON o.k = c.k AND p(o) GROUP BY g` over two departments:
    `SELECT g, SUM(COALESCE(d.s, 0)) FROM c LEFT JOIN (SELECT k, COUNT(v) AS s FROM o WHERE p GROUP BY k) d ..`.

    COUNT, SUM, MIN, MAX of o's bare columns and COUNT(*), where nothing else outside ON reads o.

    Proof sketch. A row of the left side meets the rows of o with its key for which p holds: one group of d, if there
    are any, and no other (`calm.EXACT`). Let it be repeated m times by other joins, which read nothing of o. With
    partners it adds m times their count, sum, minimum or maximum, which is what d holds. Without any it is once
    extended by NULLs: COUNT(v) adds 0 and COUNT(*) adds 1, which is what COALESCE puts there; the others skip NULL,
    as they do d's. No later join extends o by NULLs itself. p and the sums are evaluated for rows that meet
    nothing: calm.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        if select.args.get("group") is None or has_grouping_sets(select) or len(departments_of(select)) < 2:
            continue
        for source in sources(select):
            if _count(select, source, context):
                context.notes.append("what a LEFT JOIN brings to be counted is counted first")
                break
    return tree


def _count(select: exp.Select, source: Source, context: Context) -> bool:
    join = source.join
    if join is None or (join.side or "").upper() != "LEFT" or not isinstance(source.node, exp.Table):
        return False
    if not home_of(source, context.relations) or join.args.get("using"):
        return False
    joins = select.args["joins"]
    later = joins[[id(j) for j in joins].index(id(join)) + 1 :]
    if any((j.side or "").upper() in ("RIGHT", "FULL") for j in later):
        return False
    clauses = [select.args[k] for k in ("where", "group", "having", "order") if select.args.get(k) is not None]
    parts = [*select.expressions, *clauses]
    if any(has_subquery(p) or has_window(p) for p in parts):
        return False
    calls = {c.sql(): c for p in parts for c in aggregates_in(p)}
    own = [c for p in parts for c in p.find_all(exp.Column) if c.table == source.alias]
    inside = {id(n) for p in parts for c in aggregates_in(p) for n in c.walk()}
    if not calls or not all(_is_bare(c, source.alias) for c in calls.values()) or any(id(c) not in inside for c in own):
        return False
    if any(source.alias in aliases_in(j) for j in joins if j is not join):
        return False
    keys, conditions = _split_on(join, source.alias)
    if not keys or conditions is None:
        return False
    _apply(select, source, calls, keys, conditions)
    return True


def _is_bare(call: exp.Expr, alias: str) -> bool:
    if type(call) not in FINAL or call.args.get("expressions"):
        return False
    if isinstance(call, exp.Count) and isinstance(call.this, exp.Star):
        return True
    return isinstance(call.this, exp.Column) and call.this.table == alias


def _split_on(join: exp.Join, alias: str) -> tuple[list[exp.Column], list[exp.Expr] | None]:
    """The columns by which a source is met, and the conditions on it alone; None where there are others."""
    keys: dict[str, exp.Column] = {}
    conditions: list[exp.Expr] = []
    for part in conjuncts(join.args.get("on")):
        if has_subquery(part) or part.find(exp.Anonymous) is not None:
            return [], None
        if aliases_in(part) == {alias}:
            if not is_calm(part):
                return [], None
            conditions.append(part)
            continue
        if not isinstance(part, exp.EQ):
            return [], None
        for one, other in ((part.left, part.right), (part.right, part.left)):
            if isinstance(one, exp.Column) and one.table == alias and alias not in aliases_in(other):
                keys[one.sql()] = one
                break
        else:
            return [], None
    return (list(keys.values()), conditions) if all(k.is_type(*EXACT) for k in keys.values()) else ([], None)


def _apply(
    select: exp.Select,
    source: Source,
    calls: dict[str, exp.Expr],
    keys: list[exp.Column],
    conditions: list[exp.Expr],
) -> None:
    alias = f"{source.alias}_sum"
    named = {key.sql(): f"k{i}" for i, key in enumerate(keys)}
    summed = {text: f"s{i}" for i, text in enumerate(calls)}
    inner = exp.Select(
        expressions=[
            *(exp.alias_(key.copy(), named[key.sql()], copy=False) for key in keys),
            *(exp.alias_(calls[text].copy(), name, copy=False) for text, name in summed.items()),
        ],
        from_=exp.From(this=source.node.copy()),
        group=exp.Group(expressions=[key.copy() for key in keys]),
    )
    set_where(inner, [p.copy() for p in conditions])
    assert source.join is not None
    on = without(conjuncts(source.join.args.get("on")), conditions)

    def read(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column) or node.sql() not in named:
            return node
        column = exp.column(named[node.sql()], table=alias)
        column.type = node.type
        return column

    def raised(node: exp.Expr) -> exp.Expr:
        name = summed.get(node.sql()) if isinstance(node, exp.AggFunc) else None
        if name is None:
            return node
        column: exp.Expr = exp.column(name, table=alias)
        if isinstance(node, exp.Count):
            of_nothing = 1 if isinstance(node.this, exp.Star) else 0
            column = exp.Coalesce(this=column, expressions=[exp.Literal.number(of_nothing)])
        return FINAL[type(node)](this=column)

    source.join.set("on", exp.and_(*(p.copy().transform(read, copy=False) for p in on), copy=False))
    source.join.set("this", exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias))))
    lifted = []
    for projection in select.expressions:
        value = projection.unalias().copy().transform(raised, copy=False)
        lifted.append(exp.alias_(value, projection.alias_or_name, copy=False))
        lifted[-1].meta.update(projection.meta)
    select.set("expressions", lifted)
    for key in ("having", "order"):
        if select.args.get(key) is not None:
            select.set(key, select.args[key].transform(raised, copy=False))
