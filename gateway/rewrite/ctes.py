"""Rule: a WITH query that is used once stands where it is used; one that is not used goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.tree import outputs

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["inline_ctes"]


def inline_ctes(tree: exp.Query, context: Context) -> exp.Query:
    """Replace the only reference to a CTE by its query as a derived table; drop unused CTEs.

    Proof sketch. A CTE is a name for a query. Trino gives it the meaning of its text wherever it is
    named, and the accepted functions are deterministic within a statement, so text in place of the
    name gives the same bag of rows. An unused CTE contributes nothing; its names were already checked
    when it was resolved. CTEs used twice or more keep their name: they are computed once.
    """
    changed = True
    while changed:
        changed = False
        for with_ in list(tree.find_all(exp.With)):
            for cte in list(with_.expressions):
                changed |= _inline(tree, with_, cte)
    return tree


def _inline(tree: exp.Query, with_: exp.With, cte: exp.CTE) -> bool:
    uses = [t for t in tree.find_all(exp.Table) if not t.db and t.name == cte.alias]
    if len(uses) > 1:
        return False
    body = cte.this
    if uses:
        use = uses[0]
        names = [c.name for c in cte.args["alias"].args.get("columns") or ()]
        if names and isinstance(body, exp.Select) and names != list(outputs(body)):
            return False
        use.replace(exp.Subquery(this=body.copy(), alias=use.args["alias"].copy()))
    cte.pop()
    if not with_.expressions:
        with_.pop()
    return True
