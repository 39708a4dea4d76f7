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

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace

from sqlglot import exp

from catalog.types import TrinoType
from connectors.agent.authorise import Governed
from connectors.agent.enforce import Scan
from connectors.agent.pushdown import limit_of, own_column
from connectors.base import Capabilities, NativeScan, Order, OutputColumn

__all__ = ["order_of", "sorted_scan", "top_of"]

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
    if tree.args.get("order") is None or not allowed.orders or isinstance(tree.args.get("limit"), exp.Fetch):
        return _NOTHING  # FETCH FIRST may be WITH TIES
    alias, found = table.alias_or_name.lower(), dict[str, Order]()
    for value, item in _sorted_by(tree):
        column = own_column(value, alias, relation, True)
        if not column or relation.columns[column].name not in allowed.orders:
            return _NOTHING
        found.setdefault(column, _order(relation.raw(column), item))
    if any(item.is_star for item in tree.expressions):
        return _NOTHING
    shown = {own_column(c, alias, relation, True) for item in tree.expressions for c in item.find_all(exp.Column)}
    complete = not rest and (not relation.hides or shown <= found.keys())
    limit = limit_of(tree, table, complete, sources, ordered=True)
    return _NOTHING if limit is None else (tuple(found.values()), limit)


def sorted_scan(tree: exp.Expr, scan: Scan, allowed: Capabilities) -> Scan:
    """What a source grouped or joined, in the order that the query asks for, where that is all that is left of it.

    Proof. Q is now `SELECT columns FROM scan ORDER BY columns [LIMIT n]`. The scan's columns are what the source
    computed, none of them masked; it sorts their types as Trino does. Its rows in that order, the first n of them, are
    an answer of Q. Which of several equal ones come first may follow hidden rows: so nothing may be hidden.
    """
    limit, clauses = tree.args.get("limit"), {k for k, v in tree.args.items() if v}
    if not allowed.sorts or scan.hides or not clauses <= {"expressions", "from_", "order", "limit"}:
        return scan
    order, types = order_of(tree, scan.columns, allowed.orders), dict(scan.columns)
    if not order or not all(isinstance(item.unalias(), exp.Column) for item in tree.expressions):
        return scan
    native, columns = scan.native, tuple(OutputColumn(n, t, n) for n, t in scan.columns)
    if not native.columns:
        native = NativeScan((replace(native, query_id=""),), False, types, columns, query_id=native.query_id)
    most = limit.expression if isinstance(limit, exp.Limit) else None
    count = int(most.name) if isinstance(most, exp.Literal) and most.name.isdigit() else None
    return replace(scan, native=replace(native, order=order, limit=count))


def order_of(tree: exp.Expr, columns: Iterable[tuple[str, TrinoType]], kinds: Container[str]) -> tuple[Order, ...]:
    """ORDER BY of a query over one relation by its columns, () if it has none or sorts by anything else.

    kinds: of types by which may be sorted.
    """
    types, found = dict(columns), dict[str, Order]()
    for value, item in _sorted_by(tree):
        name = value.name.lower() if isinstance(value, exp.Column) else ""
        if name not in types or types[name].name not in kinds:
            return ()
        found.setdefault(name, _order(name, item))
    return tuple(found.values())


def _sorted_by(tree: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """(what is sorted by, its item of ORDER BY): the name of an output stands for that output."""
    labels = {item.alias_or_name.lower(): item.unalias() for item in tree.expressions}
    for item in tree.args["order"].expressions if tree.args.get("order") else ():
        value = item.this
        is_label = isinstance(value, exp.Column) and not value.table
        yield labels.get(value.name.lower(), value) if is_label else value, item


def _order(column: str, item: exp.Expr) -> Order:
    return Order(column, bool(item.args.get("desc")), bool(item.args.get("nulls_first")))
