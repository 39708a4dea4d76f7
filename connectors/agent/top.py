"""ORDER BY .. LIMIT below the masks: a source gives the first rows alone.

    SELECT t.id AS c0, t.price AS c1 FROM orders AS t WHERE t.day >= .. ORDER BY t.price DESC, t.id LIMIT 20
        source    the same; the residual query sorts 20 rows again

Proof. Q is a projection of one relation, its WHERE went down completely, and it sorts by unmasked columns, whose values
in M(R) are the raw ones. The source sorts these types as Trino does, NULLs where Q wants them (`Capabilities.orders`).
So its first n rows are n first rows of M(R) in Q's order; rows that tie with the last one are as good as it.

Which of the rows that tie a source gives may follow what is hidden: an index on a masked column, or rows that the
owner's filter drops. Where a relation hides anything, ORDER BY must therefore name every column that Q's outputs read:
rows that tie then show the same, and the answer is a function of M(R).
"""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from connectors.agent.authorise import Governed
from connectors.agent.pushdown import limit_of, own_column
from connectors.base import Capabilities, Order

__all__ = ["top_of"]

_NOTHING: tuple[tuple[Order, ...], int | None] = (), None


def top_of(
    tree: exp.Expr,
    table: exp.Table,
    relation: Governed,
    allowed: Capabilities,
    rest: Collection[exp.Expr],
    sources: int,
) -> tuple[tuple[Order, ...], int | None]:
    """(ORDER BY in raw names, rows that suffice), ((), None) if they stay above.

    rest: conditions that did not go down. sources: relations in the query.
    """
    order = tree.args.get("order")
    if order is None or not allowed.orders or isinstance(tree.args.get("limit"), exp.Fetch):
        return _NOTHING  # FETCH FIRST may be WITH TIES
    labels = {item.alias.lower(): item.this for item in tree.expressions if isinstance(item, exp.Alias)}
    alias, found = table.alias_or_name.lower(), dict[str, Order]()
    for item in order.expressions:
        value = item.this
        if isinstance(value, exp.Column) and not value.table:
            value = labels.get(value.name.lower(), value)
        column = own_column(value, alias, relation, True)
        if not column or relation.columns[column].name not in allowed.orders:
            return _NOTHING
        found.setdefault(
            column, Order(relation.raw(column), bool(item.args.get("desc")), bool(item.args.get("nulls_first")))
        )
    if any(item.is_star for item in tree.expressions):
        return _NOTHING
    shown = {own_column(c, alias, relation, True) for item in tree.expressions for c in item.find_all(exp.Column)}
    complete = not rest and (not relation.hides or shown <= found.keys())
    limit = limit_of(tree, table, complete, sources, ordered=True)
    return _NOTHING if limit is None else (tuple(found.values()), limit)
