"""Small questions about a qualified tree, shared by the rules and the planner.

All of them rely on `unique_aliases`: after it, an alias names one source in the whole statement, so a
column's table says where the column comes from whatever subquery it stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.optimizer.scope import traverse_scope

from catalog import duck
from catalog.names import RelationName, is_plain
from catalog.relation import Relation

__all__ = [
    "KEYS",
    "SOURCES",
    "Source",
    "aggregates_in",
    "aliases_in",
    "conjuncts",
    "departments_of",
    "fresh_aliases",
    "has_aggregate",
    "has_grouping_sets",
    "has_subquery",
    "has_window",
    "home_of",
    "is_about",
    "is_aggregate_select",
    "is_closed",
    "keyed_queries",
    "outputs",
    "part_names",
    "plain_outputs",
    "rows_of",
    "set_where",
    "sources",
    "substitute",
    "tables_of",
    "unique_aliases",
    "visible_ctes",
    "without",
]

SOURCES = (exp.Table, exp.Subquery, exp.Values, exp.Unnest, exp.Lateral)
"""What may stand in a FROM clause."""
KEYS = "keys"
"""The mark, in `meta`, of a subquery whose answer is sent to the department of the query around it: ONCE or ANY."""
UNKNOWN = 100_000
"""Rows of a relation whose owner publishes no count."""


@dataclass(frozen=True)
class Source:
    """One item of a FROM clause. node: Table, Subquery, Values, Unnest or Lateral.

    join: the join that brought it in, None for the first. nullable: an outer join may null-extend it.
    """

    alias: str
    node: exp.Expr
    join: exp.Join | None
    nullable: bool


def sources(select: exp.Select) -> list[Source]:
    """The FROM items of a select in written order."""
    from_ = select.args.get("from_")
    if from_ is None:
        return []
    joins = select.args.get("joins") or []
    sides = [(j.side or "").upper() for j in joins]
    items: list[tuple[exp.Expr, exp.Join | None]] = [(from_.this, None), *((j.this, j) for j in joins)]
    found = []
    for i, (node, join) in enumerate(items):
        own = sides[i - 1] if join is not None else ""
        later = sides[i:]
        nullable = own in ("LEFT", "FULL") or any(s in ("RIGHT", "FULL") for s in later)
        found.append(Source(node.alias_or_name, node, join, nullable))
    return found


def visible_ctes(node: exp.Expr) -> list[exp.CTE]:
    """The WITH queries that a query may name, outermost first; a nearer one hides those before it."""
    found: list[exp.CTE] = []
    child: exp.Expr = node
    above: exp.Expr | None = node
    while above is not None:
        if isinstance(above, exp.With):
            place = next(i for i, cte in enumerate(above.expressions) if cte is child)
            found = [*above.expressions[:place], *found]
        elif above.args.get("with_") is not None and above.args["with_"] is not child:
            found = [*above.args["with_"].expressions, *found]
        child, above = above, above.parent
    return found


def conjuncts(condition: exp.Expr | None) -> list[exp.Expr]:
    """The top-level AND parts of a condition, none for no condition."""
    if condition is None:
        return []
    condition = condition.unnest()
    if not isinstance(condition, exp.And):
        return [condition]
    return [one for part in parts_of(condition) for one in conjuncts(part)]


def parts_of(node: exp.Expr) -> Iterator[exp.Expr]:
    """The parts of `a AND b AND c`, or of OR, in their order; a long chain is no matter of recursion."""
    parts, kind = [], type(node)
    while type(node) is kind:
        parts.append(node.expression)
        node = node.this
    yield node
    yield from reversed(parts)


def without(parts: Iterable[exp.Expr], taken: Sequence[exp.Expr]) -> list[exp.Expr]:
    """The parts that are none of these nodes, whatever their text."""
    return [p for p in parts if not any(p is one for one in taken)]


def set_where(select: exp.Select, parts: list[exp.Expr]) -> None:
    """Replace a select's WHERE by the conjunction of `parts`."""
    if parts:
        select.set("where", exp.Where(this=exp.and_(*parts, copy=False)))
    else:
        select.set("where", None)


def aliases_in(node: exp.Expr) -> set[str]:
    """The source aliases that an expression reads, those of its subqueries' own sources included."""
    return {c.table for c in node.find_all(exp.Column)}


def is_about(part: exp.Expr, alias: str) -> bool:
    """Whether a condition is a function of one row of a source, and of what its subqueries read for themselves."""
    within = {n.alias_or_name for q in part.find_all(exp.Query) for n in q.find_all(*SOURCES)}
    return aliases_in(part) - within == {alias} and not has_window(part) and not has_aggregate(part)


def rows_of(relation: Relation) -> float:
    """As its owner publishes them, for a guess; at least one."""
    return float(UNKNOWN if relation.rows is None else max(1, relation.rows))


def has_subquery(node: exp.Expr) -> bool:
    return node.find(exp.Query) is not None


def has_window(node: exp.Expr) -> bool:
    return node.find(exp.Window) is not None


def has_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate function stands in `node`, not counting windows and subqueries."""
    return any(True for _ in aggregates_in(node))


def aggregates_in(node: exp.Expr) -> Iterator[exp.Expr]:
    """The outermost aggregate calls (with their FILTER) in `node`, not those of windows or subqueries."""
    if isinstance(node, (exp.Window, exp.Query)):
        return
    if isinstance(node, exp.Filter) or duck.is_aggregate(node):
        yield node
        return
    for child in node.iter_expressions():
        yield from aggregates_in(child)


def is_aggregate_select(select: exp.Select) -> bool:
    """Whether a select groups: it has a GROUP BY or HAVING, or an aggregate among its outputs."""
    if select.args.get("group") is not None or select.args.get("having") is not None:
        return True
    return any(has_aggregate(p) for p in select.expressions)


def has_grouping_sets(select: exp.Select) -> bool:
    """Whether GROUP BY is more than a list of expressions: ROLLUP, CUBE, GROUPING SETS, ALL."""
    group = select.args.get("group")
    if group is None:
        return False
    return any(v for k, v in group.args.items() if k != "expressions" and v) or any(
        isinstance(key, (exp.Rollup, exp.Cube, exp.GroupingSets)) for key in group.expressions
    )


def is_closed(node: exp.Expr) -> bool:
    """Whether a node reads no column but of sources that it holds itself."""
    return aliases_in(node) - {""} <= {n.alias_or_name for n in node.find_all(*SOURCES)}


def _is_keyed(node: exp.Expr) -> bool:
    return isinstance(node, exp.Subquery) and KEYS in (node._meta or ())


def keyed_queries(node: exp.Expr) -> list[exp.Subquery]:
    """The subqueries in a node whose answers are sent as keys (see `restrict`)."""
    return [n for n in node.walk(prune=_is_keyed) if isinstance(n, exp.Subquery) and _is_keyed(n)]


def tables_of(node: exp.Expr) -> Iterator[exp.Table]:
    """The tables that are read where a node is evaluated: none of a query whose answer is sent there as keys."""
    return (n for n in node.walk(prune=_is_keyed) if isinstance(n, exp.Table))


def departments_of(node: exp.Expr) -> set[str]:
    """The departments whose relations a node reads where it is evaluated."""
    return {t.catalog for t in tables_of(node) if t.catalog}


def home_of(source: Source, relations: dict[RelationName, Relation]) -> str:
    """The department that holds all of a source's rows and gives rows of them, "" if there is none."""
    node = source.node
    if not isinstance(node, (exp.Table, exp.Subquery)) or not is_closed(node):
        return ""
    named = [RelationName(t.catalog, t.db, t.name) for t in tables_of(node)]
    homes = {name.catalog for name in named}
    if len(homes) != 1 or any(n not in relations or not relations[n].mode.gives_rows for n in named):
        return ""
    return homes.pop()


def outputs(select: exp.Select) -> dict[str, exp.Expr]:
    """Output name -> the expression behind it."""
    return {p.alias_or_name: p.unalias() for p in select.expressions}


def substitute(node: exp.Expr, alias: str, by: dict[str, exp.Expr]) -> exp.Expr:
    """A copy of `node` with every column of source `alias` replaced by its definition."""

    def swap(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and part.table == alias:
            found = by[part.name].copy()
            compound = isinstance(found, (exp.Binary, exp.Unary, exp.Predicate))
            return exp.paren(found, copy=False) if compound else found
        return part

    return node.copy().transform(swap, copy=False)


def fresh_aliases(tree: exp.Expr) -> Iterator[str]:
    """t0, t1, .. but for the names of lambda parameters: in text, `t0.k` would be a field of such a parameter."""
    taken = {name.name for one in tree.find_all(exp.Lambda) for name in one.expressions}
    return (name for i in count() if (name := f"t{i}") not in taken)


def unique_aliases(tree: exp.Query) -> exp.Query:
    """Rename every source to t0, t1, .. and every CTE to w0, w1, .. across the whole statement.

    Exact: inner scopes are renamed before outer ones, a column keeps pointing at the source it was
    resolved to, and new names cannot collide because `qualify` has already bound every column.
    """
    names = fresh_aliases(tree)
    scopes = traverse_scope(tree)
    for scope in scopes:
        renamed = {alias: next(names) for alias in scope.selected_sources}
        columns = list(scope.columns)
        for alias, (node, _) in scope.selected_sources.items():
            _rename(node, renamed[alias])
        for column in columns:
            if column.table in renamed and not column.meta.get("renamed"):
                column.set("table", exp.to_identifier(renamed[column.table]))
                column.meta["renamed"] = True
    for column in tree.find_all(exp.Column):
        column.meta.pop("renamed", None)
    _rename_ctes(tree)
    return tree


def _rename(node: exp.Expr, name: str) -> None:
    while not isinstance(node, exp.Subquery) and isinstance(node.parent, exp.Subquery):
        node = node.parent
    alias = node.args.get("alias")
    if alias is None:
        node.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
    else:
        alias.set("this", exp.to_identifier(name))


def part_names(tree: exp.Query) -> None:
    """Give every CTE a name that no source has, where a source took a CTE's name as its alias; in place.

    Exact: references keep the old name as their alias, so columns mean what they meant. `qualify` would
    take a correlated column of such a source for one of the CTE.
    """
    taken = {n.alias for n in tree.find_all(*SOURCES) if n.alias}
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    if not taken & ctes:
        return
    stem = "w"
    while any(name.startswith(stem) for name in taken | ctes):
        stem += "_"
    for table in tree.find_all(exp.Table):
        if not table.db and not table.alias and isinstance(table.this, exp.Identifier):
            table.set("alias", exp.TableAlias(this=table.this.copy()))
    _rename_ctes(tree, stem)


def _rename_ctes(tree: exp.Query, stem: str = "w") -> None:
    """First find what every reference means, then rename: a new name may be an old name of another CTE."""
    found = [
        (cte, _references(cte, with_)) for with_ in reversed(list(tree.find_all(exp.With))) for cte in with_.expressions
    ]
    for number, (cte, references) in enumerate(found):
        for table in references:
            table.set("this", exp.to_identifier(f"{stem}{number}"))
        cte.args["alias"].set("this", exp.to_identifier(f"{stem}{number}"))


def _references(cte: exp.CTE, with_: exp.With) -> list[exp.Table]:
    """Tables that name this CTE: in its WITH's query and in later CTEs of the same WITH."""
    home = with_.parent
    if home is None:
        return []
    return [t for t in home.find_all(exp.Table) if not t.db and t.name == cte.alias and not _shadowed(t, cte, with_)]


def _shadowed(table: exp.Table, cte: exp.CTE, with_: exp.With) -> bool:
    """Whether a nearer WITH, or an earlier place in the same WITH, gives this name another meaning."""
    child: exp.Expr = table
    node = table.parent
    while node is not None:
        if node is with_:
            order = [id(c) for c in with_.expressions]
            return order.index(id(child)) <= order.index(id(cte))
        nearer = node.args.get("with_")
        if nearer is with_:
            return False
        if nearer is not None and child is not nearer and any(c.alias == cte.alias for c in nearer.expressions):
            return True
        if isinstance(node, exp.With) and node is not with_:
            before = node.expressions[: [id(c) for c in node.expressions].index(id(child))]
            if any(c.alias == cte.alias for c in before):
                return True
        child, node = node, node.parent
    return False


def plain_outputs(tree: exp.Query) -> exp.Query:
    """Give outputs that would need quoting (`"a b"`, `"select"`, `größe`) the names o0, o1, ..

    Exact: needs `unique_aliases`. A name of an output is visible in the ORDER BY of its own query and in
    columns of the one source that the query stands for; both follow. Labels were taken before.
    """
    for select in list(tree.find_all(exp.Select)):
        names = {p.alias_or_name for p in select.expressions}
        new: dict[str, str] = {}
        for i, projection in enumerate(select.expressions):
            name = projection.alias_or_name
            if not _is_bare(name):
                new[name] = _free(f"o{i}", names)
                _set_output(projection, new[name])
        if new:
            _follow(tree, select, new)
    for alias in list(tree.find_all(exp.TableAlias)):
        columns = alias.args.get("columns") or []
        names = {c.name for c in columns}
        new = {c.name: _free(f"o{i}", names) for i, c in enumerate(columns) if not _is_bare(c.name)}
        for column in columns:
            column.set("this", new.get(column.name, column.name))
        _rename_columns(tree, {alias.name}, new)
    return tree


def _is_bare(name: str) -> bool:
    return is_plain(name) and name.upper() not in Trino.Generator.RESERVED_KEYWORDS


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _set_output(projection: exp.Expr, name: str) -> None:
    if isinstance(projection, exp.Alias):
        projection.set("alias", exp.to_identifier(name))
    else:
        projection.replace(exp.alias_(projection.copy(), name, copy=False))


def _follow(tree: exp.Query, select: exp.Select, new: dict[str, str]) -> None:
    """Rename what speaks of a select's outputs: ORDER BY here and above, columns of the source it is."""
    query: exp.Expr = select
    while True:
        order = query.args.get("order")
        for column in order.find_all(exp.Column) if order is not None else ():
            if not column.table and column.name in new:
                column.set("this", exp.to_identifier(new[column.name]))
        above = query.parent
        if isinstance(above, exp.SetOperation) and query is not above.this:
            return
        if isinstance(above, exp.Subquery) and above.alias:
            _rename_columns(tree, {above.alias}, new)
            return
        if isinstance(above, exp.CTE):
            uses = {t.alias for t in tree.find_all(exp.Table) if not t.db and t.name == above.alias}
            _rename_columns(tree, uses, new)
            return
        if not isinstance(above, (exp.SetOperation, exp.Subquery)):
            return
        query = above


def _rename_columns(tree: exp.Query, aliases: set[str], new: dict[str, str]) -> None:
    if not new:
        return
    for column in tree.find_all(exp.Column):
        if column.table in aliases and column.name in new:
            column.set("this", exp.to_identifier(new[column.name]))
