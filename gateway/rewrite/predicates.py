"""Rule: a condition on one derived table moves into it, down to the relations it restricts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.kinds import has_char, output_type
from gateway.rewrite.tree import (
    Source,
    aliases_in,
    conjuncts,
    has_aggregate,
    has_grouping_sets,
    has_subquery,
    has_window,
    is_aggregate_select,
    outputs,
    set_where,
    sources,
    substitute,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["accepts", "push_predicates"]


def push_predicates(tree: exp.Query, context: Context) -> exp.Query:
    """Move single-source conjuncts of WHERE and ON into the derived table they speak of.

    Proof sketch. Let P read only source s.
    - WHERE, s not null-extended by an outer join: every result row has exactly one row of s, and P
      depends on that row alone, so filtering s first keeps the same rows. Null-extended: left alone.
    - ON of an inner join is WHERE. ON of a LEFT JOIN whose right side is s: a right row failing P
      matches nothing either way, so it may be missing from s.
    - Into a plain select: outputs are functions of its row, P over their definitions is the same value.
      Not below LIMIT/OFFSET (they choose rows) or a window (its frame would lose rows).
    - Into an aggregation: only if every column P reads is a grouping key: then P is constant on a group
      and keeps or drops whole groups. Never when there is no GROUP BY: that select has a row even
      without input.
    - Into DISTINCT: equal rows pass or fail together. Into UNION, INTERSECT, EXCEPT: membership of a row
      in an arm does not change for rows that pass, so filtering all arms filters the result. Only if every
      arm has the output's type: 3 / 2 of an integer arm is not 3 / 2 of the double it becomes, nor does a char(3)
      measure what it does as char(5), a decimal divide alike in another scale. So each arm's type must be certain
      (`kinds`), and one; a varchar's length may differ, unless a char, which pads by it, stands in P.
    """
    for select in list(tree.find_all(exp.Select)):
        _from_where(select)
        _from_joins(select)
    return tree


def _from_where(select: exp.Select) -> None:
    where = select.args.get("where")
    if where is None:
        return
    inner = {s.alias: s for s in sources(select) if not s.nullable}
    kept = []
    for part in conjuncts(where.this):
        source = _only_source(part, inner)
        if source is None or not _push(source.node, source.alias, part):
            kept.append(part)
    set_where(select, kept)


def _from_joins(select: exp.Select) -> None:
    by_alias = {s.alias: s for s in sources(select)}
    for source in by_alias.values():
        join = source.join
        if join is None or join.args.get("on") is None:
            continue
        side = (join.side or "").upper()
        if side not in ("", "LEFT"):
            continue
        reach = {source.alias: source}
        if not side:
            reach |= {s.alias: s for s in by_alias.values() if not s.nullable}
        kept = []
        for part in conjuncts(join.args["on"]):
            target = _only_source(part, reach)
            if side and target is not None and _later_null_extends(select, join):
                target = None
            if target is None or not _push(target.node, target.alias, part):
                kept.append(part)
        join.set("on", exp.and_(*kept, copy=False) if kept else exp.true())


def _later_null_extends(select: exp.Select, join: exp.Join) -> bool:
    joins = select.args.get("joins") or []
    after = joins[[id(j) for j in joins].index(id(join)) + 1 :]
    return any((j.side or "").upper() in ("RIGHT", "FULL") for j in after)


def _only_source(part: exp.Expr, among: dict[str, Source]) -> Source | None:
    if has_subquery(part) or has_window(part) or has_aggregate(part):
        return None
    read = aliases_in(part)
    return among.get(next(iter(read))) if len(read) == 1 else None


def _push(node: exp.Expr, alias: str, part: exp.Expr) -> bool:
    """Put `part` into the derived table `node`; False if that isn't exact or there is none."""
    if not isinstance(node, exp.Subquery) or node.args["alias"].args.get("columns"):
        return False
    if any(node.args.get(k) for k in ("limit", "offset", "joins")):
        return False
    query = node.this
    if not isinstance(query, exp.Query) or not accepts(query, list(query.named_selects), part):
        return False
    _put(query, alias, part)
    return True


def accepts(query: exp.Expr, names: list[str], part: exp.Expr) -> bool:
    """Whether a condition on outputs called `names`, by position, may move below them."""
    if any(query.args.get(k) for k in ("limit", "offset", "fetch")):
        return False
    if isinstance(query, exp.SetOperation):
        arms = (_arm(query.left), _arm(query.right))
        read = {names.index(c.name) for c in part.find_all(exp.Column)}
        lengths = has_char(part)
        return all(_alike(arms, i, lengths) for i in read) and all(accepts(arm, names, part) for arm in arms)
    if not isinstance(query, exp.Select) or query.args.get("from_") is None:
        return False
    if any(has_window(p) or has_subquery(p) for p in query.expressions) or query.args.get("qualify"):
        return False
    if not is_aggregate_select(query):
        return True
    group = query.args.get("group")
    if group is None or has_grouping_sets(query):
        return False
    keys = {k.sql() for k in group.expressions}
    defined = dict(zip(names, (p.unalias().sql() for p in query.expressions), strict=True))
    return all(defined[c.name] in keys for c in part.find_all(exp.Column))


def _arm(arm: exp.Expr) -> exp.Expr:
    tail = ("limit", "offset", "order", "with_")
    return arm.this if isinstance(arm, exp.Subquery) and not any(arm.args.get(k) for k in tail) else arm


def _alike(arms: tuple[exp.Expr, ...], place: int, lengths: bool) -> bool:
    """Whether output number `place` has one certain type in all arms."""
    kinds = {output_type(arm, place, lengths) for arm in arms}
    return len(kinds) == 1 and "" not in kinds


def _put(query: exp.Expr, alias: str, part: exp.Expr, names: list[str] | None = None) -> None:
    if isinstance(query, exp.SetOperation):
        names = names or list(query.named_selects)
        _put(_arm(query.left), alias, part, names)
        _put(_arm(query.right), alias, part, names)
        return
    assert isinstance(query, exp.Select)
    definitions = dict(zip(names, (p.unalias() for p in query.expressions), strict=True)) if names else outputs(query)
    moved = substitute(part, alias, definitions)
    where = query.args.get("where")
    set_where(query, [*conjuncts(where.this if where is not None else None), _closed(moved)])


def _closed(part: exp.Expr) -> exp.Expr:
    return exp.paren(part, copy=False) if isinstance(part, exp.Or) else part
