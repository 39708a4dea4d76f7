"""Rule: a condition with a subquery that one department can answer for its own rows goes there with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from catalog.names import RelationName
from gateway.rewrite.colocate import put_into_derived
from gateway.rewrite.tree import (
    Source,
    conjuncts,
    departments_of,
    has_subquery,
    home_of,
    is_about,
    set_where,
    sources,
    without,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["own_subqueries"]


def own_subqueries(tree: exp.Query, context: Context) -> exp.Query:
    """`FROM a1 JOIN b .. WHERE EXISTS (SELECT .. FROM a2 WHERE a2.x = a1.x)`:
    `FROM (SELECT .. FROM a1 WHERE EXISTS (..)) JOIN b ..`; IN, NOT EXISTS and comparisons likewise.

    Proof sketch. The condition is a function of one row of a1, for the subquery reads no other source around it.
    No join null-extends a1, so every row of the result has one row of it, and filtering a1 first keeps the same
    rows. Everything that the subquery reads is of a1's department and gives rows. The derived table delivers the
    columns that are read outside; a column stays a column.
    """
    for select in reversed(list(tree.find_all(exp.Select))):  # a derived table before it moves
        if len(departments_of(select)) < 2 or select.find(exp.Anonymous) is not None:
            continue
        for source in sources(select):
            _move(select, source, context)
    return tree


def _move(select: exp.Select, source: Source, context: Context) -> None:
    home = home_of(source, context.relations)
    if source.nullable or not home:
        return
    where = select.args.get("where")
    parts = conjuncts(where.this if where is not None else None)
    own = [p for p in parts if has_subquery(p) and _speaks_of(p, source.alias, home, context)]
    if not own:
        return
    set_where(select, without(parts, own))
    put_into_derived(select, [source], [], own)
    context.notes.append("a condition with a subquery of one department is answered there")


def _speaks_of(part: exp.Expr, alias: str, home: str, context: Context) -> bool:
    """Whether a condition reads one source of its select, and in its subqueries one department's rows alone."""
    if not is_about(part, alias):
        return False
    tables = list(part.find_all(exp.Table))
    names = [RelationName(t.catalog, t.db, t.name) for t in tables]
    return bool(tables) and all(
        n.catalog == home and n in context.relations and context.relations[n].mode.gives_rows for n in names
    )
