"""Rule: what a condition asks of a WITH query of one department is answered there, and it with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from gateway.rewrite.colocate import put_into_derived
from gateway.rewrite.tree import (
    conjuncts,
    departments_of,
    is_about,
    is_closed,
    set_where,
    sources,
    without,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["own_ctes"]


def own_ctes(tree: exp.Query, context: Context) -> exp.Query:
    """`WITH w AS (..) SELECT .. FROM w JOIN b .. WHERE w.x = (SELECT MAX(x) FROM w)`, w of one department and b not:
    `FROM (WITH w AS (..) SELECT .. FROM w WHERE w.x = (SELECT MAX(x) FROM w)) JOIN b ..`.

    Proof sketch. The condition is a function of one row of w, for its subqueries name w alone and no other source
    around them. No join null-extends w, so every row of the result has one row of it, and filtering w first keeps
    the same rows. w is named nowhere else, so it may stand inside; it holds relations of one department that give
    rows, and no other WITH query. It is still one query, named as often as before.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        with_ = select.args.get("with_")
        if with_ is None or len(departments_of(select)) < 2 or select.find(exp.Anonymous) is not None:
            continue
        for cte in list(with_.expressions):
            _move(select, cte, context)
        if not with_.expressions:
            with_.pop()
    return tree


def _move(select: exp.Select, cte: exp.CTE, context: Context) -> None:
    found = [s for s in sources(select) if _names(s.node, cte)]
    if len(found) != 1 or found[0].nullable or not _is_of_one_department(cte.this, context):
        return
    (source,) = found
    where = select.args.get("where")
    parts = conjuncts(where.this if where is not None else None)
    own = [p for p in parts if _speaks_of(p, source.alias, cte)]
    inside = sum(1 for p in own for t in p.find_all(exp.Table))
    if not inside or inside + 1 != sum(1 for t in select.find_all(exp.Table) if _names(t, cte)):
        return
    set_where(select, without(parts, own))
    derived = put_into_derived(select, [source], [], own)
    derived.this.set("with_", exp.With(expressions=[cte.copy()]))
    cte.pop()
    context.notes.append("what is asked of a WITH query of one department is answered there")


def _names(node: exp.Expr, cte: exp.CTE) -> bool:
    return isinstance(node, exp.Table) and not node.db and node.name == cte.alias


def _is_of_one_department(body: exp.Expr, context: Context) -> bool:
    names = [RelationName(t.catalog, t.db, t.name) for t in body.find_all(exp.Table)]
    known = all(n in context.relations and context.relations[n].mode.gives_rows for n in names)
    return known and len({n.catalog for n in names}) == 1 and is_closed(body)


def _speaks_of(part: exp.Expr, alias: str, cte: exp.CTE) -> bool:
    """Whether a condition reads one source of its select, and in its subqueries the WITH query alone."""
    return is_about(part, alias) and all(_names(t, cte) for t in part.find_all(exp.Table))
