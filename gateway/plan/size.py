"""How many rows a fragment may deliver: a guess out of what owners publish and how conditions look.

It decides who is asked first and whose keys are worth a wait. No answer depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from sqlglot import exp

from catalog.names import RelationName
from catalog.relation import Relation
from gateway.plan import FragmentPlan
from gateway.rewrite.tree import conjuncts, is_aggregate_select, is_closed, outputs, rows_of, sources

__all__ = ["Size", "size_of"]

SELECTS: dict[type[exp.Expr], float] = {
    exp.EQ: 0.05, exp.In: 0.15, exp.Like: 0.1, exp.Between: 0.2, exp.Is: 0.1,
    exp.LT: 0.4, exp.LTE: 0.4, exp.GT: 0.4, exp.GTE: 0.4,
}  # fmt: skip
"""What part of the rows a condition with a literal keeps."""
OTHER = 0.9
EXTREME = 0.001
"""Of rows that are the first or the last of all."""
WINDOW = 0.25
GROUPED = 0.5


@dataclass(frozen=True)
class Size:
    """rows: expected. base: of its largest relation. share: part of the base that conditions keep.
    domains: output -> rows of the relation whose key it is, by itself. kept: output -> rows of it that conditions keep.
    grouped: its rows are groups, or rows of groups.
    """

    rows: float
    base: float
    share: float
    domains: dict[int, float]
    kept: dict[int, float]
    grouped: bool = False

    @property
    def met(self) -> float:
        """Rows that its conditions keep, before they are grouped or limited."""
        return self.base * self.share

    def times(self, part: float) -> Size:
        """The same with this part of its rows."""
        return replace(self, rows=self.rows * part, share=self.share * part)

    def with_rows(self, rows: float) -> Size:
        """The same for so many rows. What conditions keep is as wrong as the guess of the rows was: of its largest
        relation, and nowhere if it groups, for then it may be the number of groups that was guessed wrong."""
        rows = max(1.0, rows)
        wrong = 1.0 if self.grouped else rows / self.rows
        kept = {
            place: min(self.base, max(1.0, count * wrong)) if self.domains[place] == self.base else count
            for place, count in self.kept.items()
        }
        return replace(self, rows=rows, share=min(1.0, max(self.share * wrong, 1.0 / self.base)), kept=kept)

    def values(self, output: int) -> float:
        """How many values an output is expected to have, at most one a row."""
        return min(self.rows, self.kept.get(output, self.rows))


def size_of(
    fragment: FragmentPlan, relations: dict[RelationName, Relation], known: Mapping[str, int] | None = None
) -> Size:
    """A guess of what a fragment delivers without keys. known: rows that a text delivered when it was asked before."""
    guess = _guessed(fragment, relations)
    return guess if known is None or fragment.sql not in known else guess.with_rows(known[fragment.sql])


def _guessed(fragment: FragmentPlan, relations: dict[RelationName, Relation]) -> Size:
    tree = fragment.tree
    named = [relations[RelationName(t.catalog, t.db, t.name)] for t in tree.find_all(exp.Table) if t.catalog]
    base = max(map(rows_of, named), default=1.0)
    least = 1.0 / min(map(rows_of, named), default=1.0)
    share = 1.0
    for select in tree.find_all(exp.Select):
        share *= _all_kept(_conditions(select), least, partial(_values, select, relations))
    rows = max(1.0, base * share)
    if isinstance(tree, exp.Select):
        rows = _counted(tree, rows)
    keys = _keys(tree, relations)
    domains = {place: rows_of(known.relation) for place, known in keys.items()}
    kept = {place: max(1.0, domains[place] * _kept_of(known, least, relations)) for place, known in keys.items()}
    return Size(rows, base, max(share, 1.0 / base), domains, kept, tree.find(exp.Group) is not None)


@dataclass(frozen=True)
class _Key:
    """A relation whose key a column is. alias: of it in `select`."""

    relation: Relation
    select: exp.Select
    alias: str


def _keys(tree: exp.Query, relations: dict[RelationName, Relation]) -> dict[int, _Key]:
    """Output -> the relation whose key it is, by itself."""
    found: dict[int, _Key] = {}
    if not isinstance(tree, exp.Select):
        return found
    for place, output in enumerate(tree.expressions):
        column = output.unalias()
        known = [_key_of(tree, c, relations) for c in (column, *_equal_to(tree, column))]
        key = next((k for k in known if k is not None), None)
        if key is not None:
            found[place] = key
    return found


def _kept_of(key: _Key, least: float, relations: dict[RelationName, Relation]) -> float:
    """What part of a relation's rows is kept by conditions on it, and on what each of its rows finds by a key."""
    reached, left = {key.alias}, [key.alias]
    while left:
        alias = left.pop()
        for part in _conditions(key.select):
            for one, other in ((part.left, part.right), (part.right, part.left)) if isinstance(part, exp.EQ) else ():
                if not isinstance(one, exp.Column) or not isinstance(other, exp.Column) or other.table in reached:
                    continue
                if one.table == alias and _key_of(key.select, other, relations) is not None:
                    reached.add(other.table)
                    left.append(other.table)
    own = [p for p in _conditions(key.select) if {c.table for c in p.find_all(exp.Column)} <= reached]
    return _all_kept(own, least, partial(_values, key.select, relations))


def _equal_to(select: exp.Select, column: exp.Expr) -> list[exp.Expr]:
    text = column.sql()
    pairs = [(p.left, p.right) for p in _conditions(select) if isinstance(p, exp.EQ)]
    return [*(b for a, b in pairs if a.sql() == text), *(a for a, b in pairs if b.sql() == text)]


def _conditions(select: exp.Select) -> list[exp.Expr]:
    where = select.args.get("where")
    ons = [part for join in select.args.get("joins") or [] for part in conjuncts(join.args.get("on"))]
    return [*conjuncts(where.this if where is not None else None), *ons]


def _key_of(select: exp.Select, column: exp.Expr, relations: dict[RelationName, Relation]) -> _Key | None:
    """The relation of which a column is the whole key, looked for through derived tables."""
    source = next((s.node for s in sources(select) if isinstance(column, exp.Column) and s.alias == column.table), None)
    if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Select):
        below = outputs(source.this).get(column.name)
        if below is None:
            return None
        known = [_key_of(source.this, c, relations) for c in (below, *_equal_to(source.this, below))]
        return next((k for k in known if k is not None), None)
    if not isinstance(source, exp.Table) or not source.catalog:
        return None
    relation = relations[RelationName(source.catalog, source.db, source.name)]
    return _Key(relation, select, source.alias_or_name) if relation.key == (column.name,) else None


def _values(select: exp.Select, relations: dict[RelationName, Relation], column: exp.Expr) -> float | None:
    """How many values a column has, where it is a key, or about how many, where it is a part of one."""
    source = next((s.node for s in sources(select) if isinstance(column, exp.Column) and s.alias == column.table), None)
    if not isinstance(source, exp.Table) or not source.catalog:
        return None
    relation = relations[RelationName(source.catalog, source.db, source.name)]
    return rows_of(relation) ** (1 / len(relation.key)) if column.name in relation.key else None


def _counted(select: exp.Select, rows: float) -> float:
    if select.args.get("group") is not None or select.args.get("distinct") is not None:
        rows = max(1.0, rows * GROUPED)
    elif is_aggregate_select(select):
        return 1.0
    limit = select.args.get("limit")
    count = limit.args.get("expression") if limit is not None else None
    return min(rows, float(count.name)) if isinstance(count, exp.Literal) and count.name.isdigit() else rows


Values = Callable[[exp.Expr], float | None]
"""Column -> how many values it has, None if nothing tells."""


def _all_kept(parts: list[exp.Expr], least: float, values: Values) -> float:
    """least: what an equality keeps of the smallest relation; two bounds of one column are a window."""
    share = 1.0
    lower = {p.this.sql() for p in parts if isinstance(p, (exp.GT, exp.GTE))}
    for part in parts:
        if isinstance(part, (exp.LT, exp.LTE)) and part.this.sql() in lower:
            share *= WINDOW
        else:
            share *= _kept(part, least, values)
    return share


def _is_extreme(query: exp.Select) -> bool:
    """Whether a subquery is the least or the greatest value of all its rows."""
    if query.args.get("group") or not is_closed(query) or len(query.expressions) != 1:
        return False
    return isinstance(query.expressions[0].unalias(), (exp.Min, exp.Max))


def _kept(part: exp.Expr, least: float, values: Values) -> float:
    if isinstance(part, exp.Paren):
        return _kept(part.this, least, values)
    if isinstance(part, exp.Or):
        return min(1.0, sum(_all_kept(conjuncts(b), least, values) for b in (part.left, part.right)))
    query = part.find(exp.Select)
    if isinstance(part, exp.EQ) and query is not None and _is_extreme(query):
        return max(least, EXTREME)
    if query is not None:
        return OTHER if isinstance(part, exp.Not) else 0.01 if query.args.get("having") is not None else 0.1
    if part.find(exp.Literal) is None:
        return 1.0 if isinstance(part, exp.EQ) else OTHER
    known = (values(part.this) or values(part.expression)) if isinstance(part, exp.EQ) else None
    if isinstance(part, exp.In):
        known = values(part.this)
    if known is not None:
        return min(1.0, max(1, len(part.expressions)) / known)
    return max(least, SELECTS.get(type(part), OTHER))
