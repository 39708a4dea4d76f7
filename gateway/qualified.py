"""What sqlglot's `qualify` leaves open of a tree's names, settled as Trino does; and the labels of outputs.

`qualify` binds the columns of SELECT, FROM, WHERE and GROUP BY. Here: HAVING (sees the FROM items only),
expressions in ORDER BY (see the outputs first), `(SELECT ..) AS x` among outputs, names that a derived
table has twice, what USING compares and hides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from catalog.errors import TrinoError, UserError
from catalog.names import RelationName
from catalog.relation import Column
from gateway.parse import LABEL, WRITTEN, first_select
from gateway.rewrite.tree import conjuncts, outputs, sources, visible_ctes

__all__ = ["Columns", "complete", "is_ambiguous", "labels_of", "note_columns", "note_using", "renamed"]

Columns = dict[RelationName, tuple[Column, ...]]
"""Every relation and metadata table that one statement names, with its columns."""


GIVEN = "columns"
"""Key under which a derived table's `meta` remembers how many columns its alias names."""
USING = "using"
"""Key under which a join's `meta` remembers the names of its USING."""


def renamed(table: exp.Table, columns: Sequence[str], given: Sequence[exp.Identifier]) -> exp.Subquery:
    """`table AS t (a, b)` as the derived table that it is short for."""
    _check_length(len(columns), len(given))
    selected = [
        exp.Alias(this=exp.column(c, table=table.alias), alias=new.copy())
        for c, new in zip(columns, given, strict=True)
    ]
    inner = exp.Select(expressions=selected, from_=exp.From(this=table))
    return exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(table.alias)))


def note_columns(tree: exp.Query) -> None:
    """Before `qualify`, which makes column lists of aliases vanish: note their lengths for `complete`."""
    for node in tree.find_all(exp.Subquery, exp.CTE):
        alias = node.args.get("alias")
        if isinstance(alias, exp.TableAlias) and alias.args.get("columns"):
            node.meta[GIVEN] = len(alias.args["columns"])


def note_using(tree: exp.Query) -> None:
    """Before `qualify`, which makes USING vanish: note its names for `complete`, and keep them out of `x.*`.

    What a join merges belongs to neither side, so that only a bare `*` delivers it.
    """
    for select in tree.find_all(exp.Select):
        joins = select.args.get("joins") or []
        for join in joins:
            join.meta[USING] = [name.name for name in join.args.get("using") or ()]
        if not any(join.meta[USING] for join in joins):
            continue
        for place, source in enumerate(sources(select)):
            merged = [name for join in joins[max(0, place - 1) :] for name in join.meta[USING]]
            for item in select.expressions:
                if isinstance(item, exp.Column) and isinstance(item.this, exp.Star) and item.table == source.alias:
                    hidden = item.this.args.get("except_") or []
                    item.this.set("except_", [*hidden, *map(exp.to_identifier, merged)])


def _check_length(have: int, given: int) -> None:
    if have != given:
        raise UserError(
            f"Column alias list has {given} entries but the relation has {have} columns.",
            trino=TrinoError.MISMATCHED_COLUMN_ALIASES,
            rule="names",
        )


def complete(tree: exp.Query, columns: Columns) -> None:
    """Settle the names that `qualify` left. Raises UserError for one that is ambiguous or unknown."""
    for node in tree.find_all(exp.Subquery, exp.CTE):
        if GIVEN in node.meta and isinstance(node.this, exp.Query):
            _check_length(len(node.this.named_selects), node.meta[GIVEN])
    for select in tree.find_all(exp.Select):
        _merge_keys(select, columns)
    _rename_references(tree)
    _check_ambiguous(tree)
    _name_subqueries(tree)
    for select in tree.find_all(exp.Select):
        _bind_having(select, columns)
        _bind_order(select)


def _merge_keys(select: exp.Select, columns: Columns) -> None:
    """USING compares with what the joins before it merged, where `qualify` takes the first item that has the name.

    The merged key is the left side's where it cannot be NULL without the right's being so, and the right's likewise.
    Raises AMBIGUOUS_NAME for a name that the left side has twice.
    """
    merged: dict[str, tuple[int, exp.Expr]] = {}
    joins = select.args.get("joins") or []
    if not any(join.meta.get(USING) for join in joins):
        return
    found = [(s.alias, _names(s.node, select, columns)) for s in sources(select)]
    for place, join in enumerate(joins, 1):
        conditions = []
        named = join.meta.pop(USING, ())
        for name, condition in zip(named, conjuncts(join.args["on"]) if named else (), strict=True):
            own = exp.column(name, table=found[place][0])
            first, left = merged.get(name, (0, None))
            held = [exp.column(name, table=alias) for alias, names in found[first:place] if name in names]
            if len(held) + (left is not None) > 1:
                raise _ambiguous(name)
            if left is None:
                left = held[0] if held else condition.this
            conditions.append(exp.EQ(this=left.copy(), expression=own))
            side = {"RIGHT": own, "FULL": exp.func("coalesce", left.copy(), own.copy())}.get(join.side.upper(), left)
            merged[name] = (place + 1, side)
        if conditions:
            join.set("on", exp.and_(*conditions, copy=False))


def _rename_references(tree: exp.Query) -> None:
    """`FROM cte AS t (a, b)` becomes a derived table like any other."""
    for table in list(tree.find_all(exp.Table)):
        alias, select = table.args.get("alias"), table.find_ancestor(exp.Select)
        given = alias.args.get("columns") if alias is not None and not table.db else None
        inner = _inner(table, select) if given and select is not None else None
        if inner is not None:
            bare = exp.Table(this=table.this.copy(), alias=exp.TableAlias(this=exp.to_identifier(table.alias)))
            table.replace(renamed(bare, inner.named_selects, given or ()))


def _bind_having(select: exp.Select, columns: Columns) -> None:
    """Unqualified columns of HAVING belong to a FROM item, or are a key that USING merged."""
    for column in _own_columns(select, "having"):
        holders = _holders(select, column.name, columns)
        if len(holders) == 1:
            column.set("table", exp.to_identifier(holders[0]))
            continue
        merged = _merged_key(select, column.name)
        if merged is not None:
            column.replace(merged.copy())
        elif holders:
            raise _ambiguous(column.name)
        else:
            raise UserError(f"Column '{column.name}' cannot be resolved.", trino=TrinoError.COLUMN_NOT_FOUND)


def _bind_order(select: exp.Select) -> None:
    """An output's name inside an expression of ORDER BY stands for the output; alone it may stay."""
    defined = outputs(select)
    for column in _own_columns(select, "order"):
        if not isinstance(column.parent, exp.Ordered) and column.name in defined:
            column.replace(exp.paren(defined[column.name].copy(), copy=False))


def _own_columns(select: exp.Select, clause: str) -> Iterator[exp.Column]:
    """Columns without a table in a clause of a select, not those of subqueries in it."""
    node = select.args.get(clause)
    found = list(node.find_all(exp.Column)) if node is not None else []
    yield from (c for c in found if not c.table and c.find_ancestor(exp.Select) is select)


def _merged_key(select: exp.Select, name: str) -> exp.Coalesce | None:
    group: exp.Group | None = select.args.get("group")
    for key in group.find_all(exp.Coalesce) if group is not None else ():
        if all(isinstance(c, exp.Column) and c.name == name for c in (key.this, *key.expressions)):
            return key
    return None


def _check_ambiguous(tree: exp.Query) -> None:
    """Refuse to read a column by a name that its derived table has twice: sqlglot would take one of them."""
    selects = [[p.alias_or_name for p in s.expressions] for s in tree.find_all(exp.Select)]
    if all(len(set(names)) == len(names) for names in selects):
        return
    for star in tree.find_all(exp.Star):
        if not isinstance(star.parent, exp.Count):
            raise _ambiguous("*")
    for scope in traverse_scope(tree):
        for alias, (_, source) in scope.selected_sources.items():
            query = source.expression if isinstance(source, Scope) else None
            names = query.named_selects if isinstance(query, exp.Query) else []
            for column in scope.columns:
                if column.table == alias and names.count(column.name) > 1:
                    raise _ambiguous(column.name)


def _ambiguous(column: str) -> UserError:
    return UserError(
        f"Column '{column}' is ambiguous.",
        trino=TrinoError.AMBIGUOUS_NAME,
        rule="names",
        hint="A query in FROM has two outputs of one name; rename one with AS.",
    )


def _name_subqueries(tree: exp.Query) -> None:
    """`(SELECT ..) AS x` among outputs becomes an alias like any other; qualify writes it into the subquery."""
    for select in tree.find_all(exp.Select):
        for projection in select.expressions:
            if isinstance(projection, exp.Subquery) and projection.alias:
                bare = projection.copy()
                bare.set("alias", None)
                named = exp.Alias(this=bare, alias=exp.to_identifier(projection.alias))
                named.meta.update(projection.meta)
                projection.replace(named)


def is_ambiguous(tree: exp.Query, column: str, columns: Columns) -> bool:
    """Whether several FROM items around an unqualified column have one of that name."""
    found = next((c for c in tree.find_all(exp.Column) if c.name == column and not c.table), None)
    select = found.find_ancestor(exp.Select) if found is not None else None
    return select is not None and len(_holders(select, column, columns)) > 1


def _holders(select: exp.Select, column: str, columns: Columns) -> list[str]:
    """Aliases of the FROM items that have a column of that name."""
    return [s.alias for s in sources(select) if column in _names(s.node, select, columns)]


def _names(node: exp.Expr, select: exp.Select, columns: Columns) -> set[str]:
    """The column names of one FROM item."""
    if isinstance(node, exp.Table) and node.catalog:
        return {c.name for c in columns.get(RelationName(node.catalog, node.db, node.name), ())}
    alias = node.args.get("alias")
    given = alias.args.get("columns") if isinstance(alias, exp.TableAlias) else None
    if given:
        return {c.name for c in given}
    inner = _inner(node, select)
    return set(inner.named_selects) if inner is not None else set()


def labels_of(tree: exp.Query) -> tuple[str, ...]:
    """The labels of a query's columns, as Trino shows them."""
    first = first_select(tree)
    if first is None:
        return tuple(tree.named_selects)
    return tuple(_label(p, first, place) for place, p in enumerate(first.expressions))


def _label(projection: exp.Expr, select: exp.Select, place: int) -> str:
    """How Trino shows an output: as written, `_col` and its place without a name, through stars likewise."""
    for node in (projection, projection.unalias()):
        if LABEL in node.meta:
            return str(node.meta[LABEL]) or f"_col{place}"
    name = projection.args.get("alias")
    if isinstance(name, exp.Identifier) and WRITTEN in name.meta:
        return str(name.meta[WRITTEN])
    column = projection.unalias()
    if not isinstance(column, exp.Column):
        typed = isinstance(name, exp.Identifier) and name.meta.get("line")
        joined = isinstance(column, exp.Coalesce) and column.this.name == projection.alias_or_name  # by USING
        return projection.alias_or_name if typed or joined or isinstance(column, exp.Dot) else f"_col{place}"
    if WRITTEN in column.this.meta:
        return str(column.this.meta[WRITTEN])
    if projection.alias_or_name != column.name:
        return projection.alias_or_name
    item = next((s.node for s in sources(select) if s.alias == column.table), None)
    given = item.args["alias"].args.get("columns") if isinstance(item, (exp.Values, exp.Unnest)) else None
    for identifier in given or ():
        if identifier.name == column.name and identifier.meta.get("line"):
            return str(identifier.meta.get(WRITTEN, identifier.name))
    inner = _inner(item, select)
    for at, output in enumerate(inner.expressions if inner is not None else ()):
        if inner is not None and output.alias_or_name == column.name:
            return _label(output, inner, at)
    return re.sub(r"^_col_(\d+)$", r"_col\1", column.name)


def _inner(node: exp.Expr | None, select: exp.Select) -> exp.Select | None:
    """The select behind one FROM item, if it is a query; None for a relation."""
    if isinstance(node, exp.Subquery):
        return first_select(node)
    if not isinstance(node, exp.Table) or node.db:
        return None
    named = [cte for cte in visible_ctes(select) if cte.alias == node.name]
    return first_select(named[-1].this) if named else None
