"""Semi-join reduction: the keys of a restricted side go into the next department's fragment.

First version: one hop, from a fragment that a condition restricts to one that nothing restricts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp, parse_one

from catalog import duck
from catalog.errors import UserError
from catalog.exchange import KEYS_TABLE
from catalog.names import RelationName
from catalog.relation import Relation
from gateway.plan import FragmentPlan, KeySource
from gateway.rewrite.tree import Source, conjuncts, has_window, is_aggregate_select, outputs, sources

__all__ = ["MAX_KEYS", "bind_keys"]

MAX_KEYS = 10_000
KEY_TYPES = {"varchar", "bigint", "integer", "date"}


@dataclass(frozen=True)
class _Side:
    """A fragment standing in a FROM clause and the output that a join compares."""

    fragment: FragmentPlan
    source: Source
    output: int


def bind_keys(
    merge: exp.Query, fragments: list[FragmentPlan], relations: dict[RelationName, Relation]
) -> list[FragmentPlan]:
    """Give unrestricted fragments the join keys of restricted ones.

    Proof sketch. In `a JOIN b ON a.x = b.y` (inner, or b the right side of a LEFT JOIN) a row of b whose
    y is not among a's x joins nothing, and b is read nowhere else. Restricting b's fragment to those
    keys drops only such rows. The keys are a's governed rows, before any condition of the merge, so
    there are never too few. Inside b's fragment the restriction stands before grouping: b.y must be a
    grouping key then, and there may be no window, whose frame would lose rows. More than MAX_KEYS
    distinct keys: the fragment goes unrestricted.
    """
    by_id = {f.id: f for f in fragments}
    for select in merge.find_all(exp.Select):
        for giver, taker in _candidates(select, by_id):
            if _may_bind(giver, taker, by_id) and _uses(merge, taker.fragment.id) == 1:
                bound = _bound(giver, taker)
                if bound is not None:
                    by_id[taker.fragment.id] = bound
    return [by_id[f.id] for f in fragments]


def _uses(merge: exp.Expr, fragment: str) -> int:
    return sum(1 for t in merge.find_all(exp.Table) if t.name == fragment)


def _candidates(select: exp.Select, by_id: dict[str, FragmentPlan]) -> list[tuple[_Side, _Side]]:
    """(giver, taker) pairs that an equality relates: both ways in WHERE and inner ON, in the ON of a
    LEFT JOIN only towards its own right side."""
    found = {s.alias: s for s in sources(select)}
    where = select.args.get("where")
    parts = [(p, "") for p in conjuncts(where.this if where is not None else None)]
    for join in select.args.get("joins") or []:
        side = (join.side or "").upper()
        only = join.this.alias_or_name if side == "LEFT" else ""
        if side in ("", "LEFT"):
            parts += [(p, only) for p in conjuncts(join.args.get("on"))]
    pairs = []
    for part, only in parts:
        if not isinstance(part, exp.EQ):
            continue
        one, other = (_side(c, found, by_id) for c in (part.left, part.right))
        if one is None or other is None or one.source.alias == other.source.alias:
            continue
        pairs += [(g, t) for g, t in ((one, other), (other, one)) if only in ("", t.source.alias)]
    return pairs


def _side(column: exp.Expr, found: dict[str, Source], by_id: dict[str, FragmentPlan]) -> _Side | None:
    if not isinstance(column, exp.Column) or column.table not in found:
        return None
    source = found[column.table]
    if not isinstance(source.node, exp.Subquery) or not isinstance(source.node.this, exp.Select):
        return None
    inner = source.node.this
    from_ = inner.args.get("from_")
    fragment = by_id.get(from_.this.name) if from_ is not None and isinstance(from_.this, exp.Table) else None
    plain = not any(inner.args.get(k) for k in ("joins", "where", "group", "limit", "distinct"))
    # Not by the fragment's own output names: an equal question asked elsewhere may name them otherwise.
    read = outputs(inner).get(column.name)
    if fragment is None or not plain or not isinstance(read, exp.Column):
        return None
    return _Side(fragment, source, int(read.name.removeprefix("c")))


def _may_bind(giver: _Side, taker: _Side, by_id: dict[str, FragmentPlan]) -> bool:
    give, take = by_id[giver.fragment.id], by_id[taker.fragment.id]
    if give.department == take.department or give.keys is not None or take.keys is not None:
        return False
    if any(not r.mode.gives_rows for r in take.relations):
        return False
    side = (taker.source.join.side or "").upper() if taker.source.join is not None else ""
    allowed = not taker.source.nullable or (side == "LEFT" and not giver.source.nullable)
    if giver.source.nullable or not allowed:
        return False
    if any(take.id in (f.keys.needs if f.keys is not None else ()) for f in by_id.values()):
        return False
    return _is_restricted(give) and not _is_restricted(take)


def _is_restricted(fragment: FragmentPlan) -> bool:
    """Whether a condition with a literal, or a limit, keeps the fragment small."""
    tree = parse_one(fragment.sql, dialect="trino")
    if tree.find(exp.Limit) is not None:
        return True
    return any(w.find(exp.Literal) is not None for w in tree.find_all(exp.Where))


def _bound(giver: _Side, taker: _Side) -> FragmentPlan | None:
    tree = parse_one(taker.fragment.sql, dialect="trino")
    if not isinstance(tree, exp.Select) or any(tree.args.get(k) for k in ("limit", "offset", "distinct", "with_")):
        return None
    column = tree.expressions[taker.output].unalias()
    if not isinstance(column, exp.Column) or any(has_window(p) for p in tree.expressions):
        return None
    group = tree.args.get("group")
    if is_aggregate_select(tree) and (group is None or column.sql() not in {g.sql() for g in group.expressions}):
        return None
    if not _travels(giver, taker, column):
        return None
    keys = parse_one(f'SELECT k FROM "{KEYS_TABLE}"', dialect="trino")
    tree = tree.where(exp.In(this=column.copy(), query=exp.Subquery(this=keys)), copy=False)
    give = f"c{giver.output}"
    query = (
        exp.select(exp.alias_(exp.column(give), "k"))
        .distinct()
        .from_(giver.fragment.id)
        .where(exp.Not(this=exp.Is(this=exp.column(give), expression=exp.Null())))
    )
    source = KeySource(query, frozenset({giver.fragment.id}), tree.sql("trino", comments=False), MAX_KEYS)
    return replace(taker.fragment, keys=source)


def _travels(giver: _Side, taker: _Side, column: exp.Column) -> bool:
    """Whether both sides have one type whose keys travel, and the taker's column is no pseudonym."""
    linked = {c.name for r in taker.fragment.relations for c in r.columns if c.linkage is not None}
    kind = _type_of(taker)
    return column.name not in linked and kind in KEY_TYPES and kind == _type_of(giver)


def _type_of(side: _Side) -> str:
    """The name of the type that a fragment's output has, "" if its department alone can tell."""
    tables = {str(r.full_name): duck.Table("t", {c.name: c.type for c in r.columns}) for r in side.fragment.relations}
    try:
        compiled = duck.compile_query(parse_one(side.fragment.sql, dialect="trino"), tables)
    except UserError:
        return ""
    return compiled.columns[side.output][1].name
