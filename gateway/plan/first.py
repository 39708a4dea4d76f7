"""ORDER BY .. LIMIT over a join: the department whose columns lead the order is asked for its first rows alone.

    SELECT .. FROM orders JOIN customer ON .. ORDER BY price DESC, key LIMIT 20
        first     f2 -> orders: SELECT .. ORDER BY price DESC, key, .. LIMIT 40       1,500,000 rows are not delivered
                  f3 -> customer: .. for the keys of f2
        if fewer than 20 came of it, and 40 rows were delivered: all over again without the limit

Proof. Let s be that source, no join null-extends it, and each row of the answer holds one row of s. The question gives
rows p1 .. pn of s in the order of k, the leading columns of ORDER BY that are s's, NULLs where ORDER BY has them.

- If it gives fewer than n, these are all rows of s, and this is the statement itself.
- Else every other row of s has a k that does not sort before pn's, and so has every row of the answer that holds it.
  The rows that p1 .. pn lead to are computed whole: joins multiply and drop rows of s, each for itself, and nothing
  else is read of s. If at least OFFSET + LIMIT of them are there, and k is all of ORDER BY, none of the others has to
  stand before them; where one ties with the last, either is an answer of the statement.
- If ORDER BY goes on with other columns, a row that ties with pn in k might stand before one that is here. Then only
  rows count whose k differs from pn's (`leave_ties`): they sort before every row that was not delivered.

What is enough is decided by what came, never by an estimate; how many rows are asked for is a guess, and whether it is
tried at all. The limited question takes no keys (`bind`), and gives its own. All its columns follow in the order, so
that which rows it gives does not hang on how a source keeps them.

    SELECT c.name, SUM(s.total) .. GROUP BY c.key, c.name ORDER BY SUM(s.total) DESC LIMIT 20
        first     f2 -> orders: SELECT customer, sum(price) .. GROUP BY customer ORDER BY 2 DESC, 1 LIMIT 41
                  f3 -> customer: .. for the keys of f2
                  f4 -> customer: SELECT key .. GROUP BY key HAVING count(*) > 1 LIMIT 1      must give nothing

Of a select that groups, the same holds with "group of the answer" for "row of the answer" where each group holds one
row of s and is sorted by its columns (`leading`): the rows of s lead to whole groups, and each group passes HAVING for
itself. If a value came twice that was to come once, groups that are not here may be sorted otherwise: then the answer
counts only if all rows of s are here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from sqlglot import exp

from catalog.names import RelationName
from catalog.relation import Relation
from gateway.plan import FirstRows, FragmentPlan
from gateway.plan.bind import types_of
from gateway.plan.leading import leading
from gateway.plan.size import size_of
from gateway.rewrite.tree import has_subquery, has_window

__all__ = ["Limited", "is_enough", "leave_ties", "limited"]

MARGIN = 2
"""Rows asked for, of each that is expected to be needed."""
MOST = 5_000
"""Rows that are asked for, at most: more are not worth the chance."""
SPARED = 20
"""Times as many rows its source must be expected to have."""
PLACE = "place"
NO_ORDER = ("map", "json", "array", "row")
"""Types that ORDER BY refuses, or refuses where a NULL inside would decide; the statement need not sort by them."""
FLOATS = ("double", "real")
"""Types whose order with NULLS FIRST has NaN as the least, and with NULLS LAST as the greatest."""


@dataclass(frozen=True)
class Limited:
    """A merge and its fragments of which one, `fragment`, gives its `rows` first rows, at most.

    wanted: rows of the answer that are enough: its LIMIT. by: outputs of the fragment that lead the order, where what
    ties with its last row does not count, else empty. once: fragments that are no part of the merge, and must give no
    row.
    """

    merge: exp.Select
    fragments: list[FragmentPlan]
    fragment: str
    rows: int
    wanted: int
    by: tuple[exp.Ordered, ...]
    once: tuple[str, ...] = ()


def is_enough(first: FirstRows, delivered: Mapping[str, int], found: int) -> bool:
    """Whether the answer is the statement's. delivered: rows that fragments gave. found: rows of the answer."""
    is_led = not any(delivered[name] for name in first.once)
    return delivered[first.fragment] < first.rows or (is_led and found >= first.wanted)


def leave_ties(few: Limited) -> None:
    """Leave out in the merge what ties with the last row, unless all rows are there. Once keys are bound."""
    if not few.by:
        return
    standing = next(t for t in few.merge.find_all(exp.Table) if t.name == few.fragment)
    select = standing.parent_select
    assert select is not None
    reverse = [
        exp.Ordered(this=o.this.copy(), desc=not o.args.get("desc"), nulls_first=not o.args.get("nulls_first"))
        for o in few.by
    ]
    place = exp.Window(this=exp.Rank(), over="OVER", order=exp.Order(expressions=reverse))
    sorted_by = [c for o in few.by for c in o.find_all(exp.Column)]
    names = dict.fromkeys(c.name for c in (*select.find_all(exp.Column), *sorted_by))
    inner = exp.select(*(exp.column(n, table=few.fragment) for n in names), exp.alias_(place, PLACE)).from_(
        few.fragment
    )
    count = exp.select(exp.Count(this=exp.Star())).from_(few.fragment)
    all_there = exp.LT(this=exp.Subquery(this=count), expression=exp.Literal.number(few.rows))
    before = exp.GT(this=exp.column(PLACE, table=few.fragment), expression=exp.Literal.number(1))
    standing.replace(exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(few.fragment))))
    select.set("where", exp.Where(this=exp.or_(before, all_there, copy=False)))


def limited(
    merge: exp.Query, fragments: Sequence[FragmentPlan], relations: dict[RelationName, Relation]
) -> Limited | None:
    """What is asked first instead of a plan's own fragments, None where that is not exact or hardly pays."""
    counts = _counts(merge)
    if counts is None or not isinstance(merge, exp.Select) or any(f.keys is not None for f in fragments):
        return None
    # A question for sums costs its user some of what he may ask a day: nobody asks it twice.
    if not all(r.mode.gives_rows for f in fragments for r in f.relations):
        return None
    found = leading(merge, {f.id: f for f in fragments}, relations)
    if found is None or not (_is_plain(found.fragment, found.by, relations) or _is_grouped(found.fragment)):
        return None
    leader, by = found.fragment, found.by
    others = (size_of(f, relations) for f in fragments if f.id != leader.id)
    rows = 1 + int(MARGIN * sum(counts) / max(1e-9, prod(min(1.0, s.share) for s in others)))
    if rows > MOST or rows * SPARED > size_of(leader, relations).rows:
        return None
    unused = 1 + max(int(f.id[1:]) for f in fragments)
    asked = [replace(f, id=f"f{unused + i}") for i, f in enumerate((*fragments, *found.once))]
    renamed = {f.id: one.id for f, one in zip(fragments, asked, strict=False)}
    place = next(i for i, f in enumerate(fragments) if f.id == leader.id)
    asked[place] = _first_rows(asked[place], by, rows)
    merge = merge.copy()
    for node in merge.find_all(exp.Table):
        if node.name in renamed and not node.db:
            node.set("this", exp.to_identifier(renamed[node.name]))
    for column in merge.find_all(exp.Column):
        if column.table in renamed:
            column.set("table", exp.to_identifier(renamed[column.table]))
    order = merge.args["order"].expressions
    name = renamed[leader.id]
    types = types_of(leader)
    if not types:
        return None
    ties = [key for i, o in by for key in _keys(exp.column(f"c{i}", table=name), o, types[i])]
    ties = ties if len(by) < len(order) else []
    return Limited(merge, asked, name, rows, counts[0], tuple(ties), tuple(f.id for f in asked[len(fragments) :]))


def _counts(merge: exp.Query) -> tuple[int, int] | None:
    """LIMIT and OFFSET of a select that sorts rows or groups, None if it is something else."""
    known = {"expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset"}
    if not isinstance(merge, exp.Select) or not {k for k, v in merge.args.items() if v} <= known:
        return None
    if merge.args.get("order") is None:
        return None
    if any(has_window(part) for part in (*merge.expressions, merge.args["order"])):
        return None
    found = []
    for name in ("limit", "offset"):
        clause = merge.args.get(name)
        count = clause.args.get("expression") if clause is not None else exp.Literal.number(0)
        if not (isinstance(count, exp.Literal) and count.name.isdigit()):
            return None  # FETCH FIRST too, which may be WITH TIES
        found.append(int(count.name))
    return (found[0], found[1]) if found[0] else None


def _is_plain(
    fragment: FragmentPlan, by: Sequence[tuple[int, exp.Ordered]], relations: dict[RelationName, Relation]
) -> bool:
    """Whether a fragment reads rows of one relation, and sorts by columns of it that nothing masks."""
    tree, plain = fragment.tree, {"expressions", "from_", "where"}
    if not isinstance(tree, exp.Select) or not {k for k, v in tree.args.items() if v} <= plain:
        return False
    table = tree.args["from_"].this
    if not isinstance(table, exp.Table) or has_subquery(tree.args.get("where") or tree.args["from_"]):
        return False
    relation = relations.get(RelationName(table.catalog, table.db, table.name))
    if relation is None:
        return False
    masked = {c.name for c in relation.columns if c.mask}
    sortable = {c.name for c in relation.columns if c.type.name not in NO_ORDER}
    columns = [p.unalias() for p in tree.expressions]
    if not all(isinstance(c, exp.Column) and c.name in sortable for c in columns):
        return False
    return not any(columns[i].name in masked for i, _ in by)


def _is_grouped(fragment: FragmentPlan) -> bool:
    """Whether a fragment gives groups, of what can be sorted: its department makes all of them before it sends any."""
    known = {"expressions", "from_", "joins", "where", "group", "having"}
    if fragment.tree.args.get("group") is None or not {k for k, v in fragment.tree.args.items() if v} <= known:
        return False
    types = types_of(fragment)
    return bool(types) and not set(types) & set(NO_ORDER)


def _first_rows(fragment: FragmentPlan, by: Sequence[tuple[int, exp.Ordered]], rows: int) -> FragmentPlan:
    assert isinstance(fragment.tree, exp.Select)
    tree = fragment.tree.copy()
    columns = [p.unalias() for p in tree.expressions]
    led = {columns[i].sql() for i, _ in by}
    order = [_ordered(columns[i], o) for i, o in by]
    order += [exp.Ordered(this=c.copy(), nulls_first=False) for c in columns if c.sql() not in led]
    tree.set("order", exp.Order(expressions=order))
    tree.set("limit", exp.Limit(expression=exp.Literal.number(rows)))
    notes = (*fragment.notes, f"its first {rows:,} rows are asked for, and all of them only if these are not enough")
    return replace(fragment, tree=tree, sql=tree.sql("trino", comments=False), notes=notes)


def _ordered(column: exp.Expr, like: exp.Ordered) -> exp.Ordered:
    return exp.Ordered(this=column.copy(), desc=like.args.get("desc"), nulls_first=like.args.get("nulls_first"))


def _keys(column: exp.Expr, like: exp.Ordered, kind: str) -> Iterator[exp.Ordered]:
    """The order of a column by keys that also sort backwards: where NaN stands is a key of its own."""
    if kind in FLOATS:
        is_least = bool(like.args.get("nulls_first"))
        direction = {"desc": bool(like.args.get("desc")) != is_least, "nulls_first": like.args.get("nulls_first")}
        yield exp.Ordered(this=exp.IsNan(this=column.copy()), **direction)
    yield _ordered(column, like)
