"""Rule: what is equal to one thing is equal to each other, and what holds of one holds of the others."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from sqlglot import exp

from gateway.rewrite.calm import is_calm
from gateway.rewrite.kinds import stand_for_each_other
from gateway.rewrite.tree import (
    Source,
    conjuncts,
    departments_of,
    has_subquery,
    home_of,
    set_where,
    sources,
)

if TYPE_CHECKING:
    from gateway.rewrite import Context

__all__ = ["infer_equalities"]

Place = tuple[str, str]
"""A column: (alias, name)."""


def infer_equalities(tree: exp.Query, context: Context) -> exp.Query:
    """`x.k = y.k AND y.k = z.k`, x and z of one department: also `x.k = z.k`; `x.k = y.k AND x.k < 3`: also `y.k < 3`.

    Of conditions that every row of the select fulfils: WHERE, and ON of joins before the first outer one, over
    sources that no join null-extends. Only where departments differ: two equalities that lead over another
    department's column are one that two relations of the same department can join on; a condition on a column
    restricts the scan of whatever equals it.

    Proof sketch. `=` on values of one and the same type of `calm.EXACT` is transitive, and equal values are one
    value to every expression. That type must be certain (`kinds`): 1.0 and 1.00 are equal, but two texts. A row that
    WHERE keeps has all of them true, hence the new ones true; the old ones stay, so none is kept that was not. What
    is copied is calm, so it fails for no row.
    """
    for select in list(tree.find_all(exp.Select)):
        if len(departments_of(select)) > 1:
            _infer(select, context)
    return tree


def _infer(select: exp.Select, context: Context) -> None:
    where = select.args.get("where")
    parts = conjuncts(where.this if where is not None else None)
    found = {s.alias: s for s in sources(select) if not s.nullable}
    for join in select.args.get("joins") or []:
        if join.side:
            break
        parts += conjuncts(join.args.get("on"))
    columns: dict[Place, exp.Column] = {}
    classes = _classes(parts, found, columns)
    new = [*_joining(parts, classes, columns, found, context), *_restricting(parts, classes, columns, found, context)]
    if new:
        own = conjuncts(where.this if where is not None else None)
        set_where(select, [*own, *new])


def _classes(parts: list[exp.Expr], found: dict[str, Source], columns: dict[Place, exp.Column]) -> list[set[Place]]:
    """Sets of columns that the conditions make equal, directly or not."""
    classes: list[set[Place]] = []
    for one, other in filter(None, map(_pair, parts)):
        if one.table not in found or other.table not in found:
            continue
        pair = {_place(one), _place(other)}
        columns |= {_place(one): one, _place(other): other}
        touched = [c for c in classes if c & pair]
        classes = [c for c in classes if not c & pair]
        classes.append(pair.union(*touched))
    return classes


def _pair(part: exp.Expr) -> tuple[exp.Column, exp.Column] | None:
    if not isinstance(part, exp.EQ):
        return None
    one, other = part.left.unnest(), part.right.unnest()
    if not (isinstance(one, exp.Column) and isinstance(other, exp.Column)):
        return None
    return (one, other) if stand_for_each_other(one, other) else None


def _place(column: exp.Column) -> Place:
    return column.table, column.name


def _joining(
    parts: list[exp.Expr],
    classes: list[set[Place]],
    columns: dict[Place, exp.Column],
    found: dict[str, Source],
    context: Context,
) -> list[exp.Expr]:
    """Equalities between sources of one department that no condition joins directly."""
    direct = {frozenset(map(_place, pair)) for pair in filter(None, map(_pair, parts))}
    homes = {alias: home_of(source, context.relations) for alias, source in found.items()}
    new: list[exp.Expr] = []
    for members in classes:
        order = [place for place in columns if place in members]
        for home in dict.fromkeys(homes[a] for a, _ in order if homes[a]):
            local = [place for place in order if homes[place[0]] == home]
            for one, other in combinations(local, 2):
                pair = frozenset((one, other))
                if one[0] != other[0] and pair not in direct:
                    direct.add(pair)
                    new.append(exp.EQ(this=columns[one].copy(), expression=columns[other].copy()))
    return new


def _restricting(
    parts: list[exp.Expr],
    classes: list[set[Place]],
    columns: dict[Place, exp.Column],
    found: dict[str, Source],
    context: Context,
) -> list[exp.Expr]:
    """Conditions on one column, said of the columns of other departments that equal it."""
    known = {p.sql() for p in parts}
    homes = {alias: home_of(source, context.relations) for alias, source in found.items()}
    new: list[exp.Expr] = []
    for part in parts:
        places = {_place(c) for c in part.find_all(exp.Column)}
        if len(places) != 1 or has_subquery(part) or not is_calm(part):
            continue
        (place,) = places
        for members in classes:
            for other in (o for o in columns if o in members) if place in members else ():
                if other[0] == place[0] or homes[other[0]] == homes[place[0]]:
                    continue
                said = part.copy().transform(
                    lambda n, to=columns[other]: to.copy() if isinstance(n, exp.Column) else n, copy=False
                )
                if said.sql() not in known:
                    known.add(said.sql())
                    new.append(exp.paren(said, copy=False) if isinstance(said, exp.Or) else said)
    return new
