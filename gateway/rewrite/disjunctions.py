"""Rule: what every branch of an OR says of one source is a condition of that source too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.calm import is_calm
from gateway.rewrite.tree import aliases_in, conjuncts, set_where, sources

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["split_disjunctions"]


def split_disjunctions(tree: exp.Query, context: Context) -> exp.Query:
    """`(j AND p1(a) AND q1(b)) OR (j AND p2(a) AND q2(b))` in WHERE:
    `j AND ((p1 AND q1) OR (p2 AND q2)) AND (p1 OR p2) AND (q1 OR q2)`.

    Proof sketch. AND distributes over OR in three values as in two, and absorbs: a conjunct that stands in
    every branch stands before them. A row for which the OR is true makes some branch true, and so that
    branch's conjuncts on source s; the OR of those is true as well, so WHERE keeps the same rows with it.
    They are calm: what is evaluated earlier fails for no row. The OR itself stays.
    """
    for select in list(tree.find_all(exp.Select)):
        where = select.args.get("where")
        if where is not None:
            _split(select, conjuncts(where.this))
    return tree


def _split(select: exp.Select, parts: list[exp.Expr]) -> None:
    names = [s.alias for s in sources(select)]
    found: list[exp.Expr] = []
    changed = False
    for part in parts:
        if isinstance(part, exp.Or) and len(aliases_in(part)) > 1 and part.find(exp.Query) is None and is_calm(part):
            found += _separated(part, names)
            changed = True
        else:
            found.append(part)
    if changed:
        known = dict.fromkeys(p.sql() for p in found)
        firsts = {text: next(p for p in found if p.sql() == text) for text in known}
        set_where(select, [exp.paren(p, copy=False) if isinstance(p, exp.Or) else p for p in firsts.values()])


def _separated(part: exp.Or, names: list[str]) -> list[exp.Expr]:
    branches = [conjuncts(b) for b in _branches(part)]
    texts = [{p.sql() for p in branch} for branch in branches]
    shared = set.intersection(*texts)
    common = [p for p in branches[0] if p.sql() in shared]
    rest = [[p for p in branch if p.sql() not in shared] for branch in branches]
    found = [p.copy() for p in common]
    if not all(rest):  # a branch says no more than what all say: the others add nothing
        return found
    for name in names:
        own = [[p for p in branch if aliases_in(p) == {name}] for branch in rest]
        if all(own):
            found.append(_any_of(own))
    whole = _any_of(rest)
    return [*found, whole]


def _any_of(branches: list[list[exp.Expr]]) -> exp.Expr:
    ends = [exp.and_(*(p.copy() for p in branch), copy=False) for branch in branches]
    return exp.or_(*ends, copy=False)


def _branches(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Paren):
        return _branches(node.this)
    if isinstance(node, exp.Or):
        return [*_branches(node.left), *_branches(node.right)]
    return [node]
