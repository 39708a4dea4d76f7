"""`allow_partial`: a UNION ALL may answer without the arms whose department is missing. Nothing else may."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from catalog.standards import city_tables
from gateway.execution import Session
from gateway.resolve import table_name

__all__ = ["without_arms"]


def without_arms(sql: str, department: str, session: Session) -> str | None:
    """The statement without the outermost UNION ALL arms that need `department`; None if it isn't one
    or no arm would be left. Order and limit of the whole stay.
    """
    tree = sqlglot.parse_one(sql, dialect="trino")
    if not isinstance(tree, exp.Union) or tree.args.get("distinct") or tree.args.get("with_") is not None:
        return None
    arms = _arms(tree)
    kept = [a for a in arms if not _needs(a, department, session)]
    if not kept or len(kept) == len(arms):
        return None
    smaller = kept[0].copy()
    for arm in kept[1:]:
        smaller = exp.Union(this=smaller, expression=arm.copy(), distinct=False)
    for key in ("order", "limit", "offset"):
        if tree.args.get(key) is not None:
            if isinstance(smaller, exp.Select):
                smaller = exp.select("*").from_(exp.Subquery(this=smaller, alias="arms"))
            smaller.set(key, tree.args[key].copy())
    return smaller.sql("trino")


def _arms(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Union) and not node.args.get("distinct"):
        return [*_arms(node.left), *_arms(node.right)]
    return [node]


def _needs(arm: exp.Expr, department: str, session: Session) -> bool:
    city = city_tables()
    own = {cte.alias for cte in arm.find_all(exp.CTE)}
    for table in arm.find_all(exp.Table):
        if not table.db and table.name in own:
            continue
        name = table_name(table, session)
        if name.catalog == department:
            return True
        if name in city and any(n.catalog == department for n in city[name].relations):
            return True
    return False
