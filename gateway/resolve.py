"""Stage 2: `Parsed` -> `Resolved`. Every relation is looked up before anything else trusts the tree.

The order matters: sqlglot's `qualify` lets an unknown `SELECT * FROM t` through, so names are resolved
against the user's view first; an unknown or ungranted name ends here, in the same words. Then city
tables are replaced by their definitions, stars expand, columns are bound and types annotated.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from catalog.errors import AccessDenied, CityError, Outcome, TrinoError, UserError
from catalog.names import RelationName, is_plain
from catalog.relation import Column, Relation
from catalog.standards import CityTable
from gateway import metadata
from gateway.catalogue import UserView
from gateway.execution import Execution, Session
from gateway.parse import Parsed, location_of, parse_query
from gateway.plan.verify import verified_relations
from gateway.qualified import Columns, complete, is_ambiguous, labels_of, note_columns, note_using, renamed
from gateway.rewrite.tree import part_names, sources

__all__ = ["SYSTEM_TABLE", "Resolved", "resolve", "table_name"]

SYSTEM_TABLE = "system_table"
"""`meta` key of a table node that is answered from the gateway's own memory."""


@dataclass(frozen=True)
class Resolved:
    """tree: qualified, typed, every table a departmental relation or a system table.

    relations: the departmental relations named, those in `verify` calls included. columns: of every table
    that is read. city: the city tables used. local: system tables, by full name. labels: of the result.
    """

    tree: exp.Query
    labels: tuple[str, ...]
    relations: dict[RelationName, Relation]
    city: tuple[CityTable, ...] = ()
    local: dict[str, pa.Table] = field(default_factory=dict)
    columns: Columns = field(default_factory=dict)


def resolve(parsed: Parsed, view: UserView, session: Session, executions: tuple[Execution, ...] = ()) -> Resolved:
    """Bind every name of the statement. Raises UserError/AccessDenied naming the first that fails."""
    tree = parsed.tree.copy()
    metadata.bind_session(tree, session)
    _shorten(tree, session)
    binder = _Binder(view, session, executions)
    binder.bind(tree)
    tree = _qualified(tree, binder.columns)
    labels = labels_of(tree)
    return Resolved(tree, labels, binder.relations, tuple(binder.city.values()), binder.local, binder.columns)


def _qualified(tree: exp.Query, columns: Columns) -> exp.Query:
    """Qualify columns and annotate types; raises UserError for a column that does not resolve."""
    # With an empty schema sqlglot would guess where a column comes from.
    known: dict[str, object] = {"_": {"_": {"_": {"_": "varchar"}}}}
    for name, found in columns.items():
        schemas: Any = known.setdefault(name.catalog, {})
        schemas.setdefault(name.schema, {})[name.table] = {c.name: str(c.type) for c in found}
    note_columns(tree)
    note_using(tree)
    part_names(tree)
    try:
        tree = qualify(
            tree,
            dialect="trino",
            schema=known,
            quote_identifiers=False,
            identify=False,
            expand_alias_refs=False,
        )
        complete(tree, columns)
        return annotate_types(tree, schema=known, dialect="trino")
    except OptimizeError as bad:
        raise _column_error(tree, bad, columns) from None


def _shorten(tree: exp.Query, session: Session) -> None:
    """`org.company.status`, where FROM names org.company without an alias, is `company.status`: in place.

    Raises UserError where a nearer item of FROM has the short name, whose column it would become.
    """
    for column in [c for c in tree.find_all(exp.Column) if c.args.get("db") is not None]:
        written = [column.args[part].name for part in ("catalog", "db", "table") if column.args.get(part) is not None]
        nearer = False
        select = column.find_ancestor(exp.Select)
        while select is not None:
            called = [s.node for s in sources(select) if s.alias == column.table]
            if any(_is_written(node, written, session) for node in called):
                if nearer or len(called) > 1:
                    raise _hidden(column, written)
                column.set("catalog", None)
                column.set("db", None)
                break
            nearer = nearer or bool(called)
            select = select.find_ancestor(exp.Select)
        else:
            if nearer:
                name = ".".join([*written, column.name])
                raise UserError(f"Column '{name}' cannot be resolved.", trino=TrinoError.COLUMN_NOT_FOUND, rule="names")


def _is_written(node: exp.Expr, written: list[str], session: Session) -> bool:
    """Whether a FROM item is a relation without an alias whose full name ends as it is written."""
    if not isinstance(node, exp.Table) or node.alias or _is_cte(node):
        return False
    full = table_name(node, session)
    return written == [full.catalog, full.schema, full.table][-len(written) :]


def _hidden(column: exp.Column, written: list[str]) -> UserError:
    return UserError(
        f"Column '{'.'.join([*written, column.name])}' cannot be told from one of a nearer table of that name.",
        trino=TrinoError.AMBIGUOUS_NAME,
        rule="names",
        hint="Give one of the two tables an alias with AS.",
    ).at(location_of(column))


class _Binder:
    """Walks the tables of one tree and replaces each by its full name or its definition."""

    def __init__(self, view: UserView, session: Session, executions: tuple[Execution, ...]) -> None:
        self.view = view
        self.session = session
        self.executions = executions
        self.relations: dict[RelationName, Relation] = {}
        self.city: dict[RelationName, CityTable] = {}
        self.local: dict[str, pa.Table] = {}
        self.columns: Columns = {}

    def bind(self, tree: exp.Query) -> None:
        """Bind every table of `tree` that no WITH defines."""
        for table in list(tree.find_all(exp.Table)):
            if not table.db and _is_cte(table):
                continue
            if not isinstance(table.this, exp.Identifier):
                raise UserError(
                    f"The table function {table.this.sql('trino')[:40]} is not supported.",
                    Outcome.NODE,
                    rule="node types",
                )
            self._bind_table(table)
        for text in verified_relations(tree):
            self._bind_verified(text)

    def _bind_verified(self, text: str) -> None:
        """Note a relation that is named as text in a `verify` call, if this user may see it."""
        relation = next((r for n, r in self.view.relations.items() if str(n) == text.lower()), None)
        if relation is not None:
            self.relations[relation.full_name] = relation

    def _bind_table(self, table: exp.Table) -> None:
        name = table_name(table, self.session)
        alias = table.alias or name.table
        city = self.view.city.get(name)
        if city is not None:
            self._expand(table, name, city, alias)
            return
        relation = self.view.relations.get(name)
        if relation is not None and relation.source_kind != "city":
            self.relations[name] = relation
            self._declare(name, relation.columns)
        else:
            self._bind_system(table, name)
        bound = exp.Table(
            this=exp.to_identifier(name.table),
            db=exp.to_identifier(name.schema),
            catalog=exp.to_identifier(name.catalog),
            alias=exp.TableAlias(this=exp.to_identifier(alias)),
        )
        if name not in self.relations:
            bound.meta[SYSTEM_TABLE] = True
        given = table.args["alias"].args.get("columns") if table.args.get("alias") is not None else None
        visible = [c.name for c in self.columns[name] if c.name not in metadata.hidden(name)]
        table.replace(renamed(bound, visible, given) if given else bound)

    def _expand(self, table: exp.Table, name: RelationName, city: CityTable, alias: str) -> None:
        self.city[name] = city
        definition = parse_query(city.sql)
        self.bind(definition)
        table.replace(exp.Subquery(this=definition, alias=_alias(table, alias)))

    def _bind_system(self, table: exp.Table, name: RelationName) -> None:
        columns = metadata.describe(name, self.view)
        if columns is None:
            raise self._unknown(table, name)
        self._declare(name, columns)
        _leave_out(table, metadata.hidden(name))
        if str(name) not in self.local:
            self.local[str(name)] = metadata.read(name, self.view, self.session, self.executions)

    def _declare(self, name: RelationName, columns: tuple[Column, ...]) -> None:
        self.columns[name] = columns

    def _unknown(self, table: exp.Table, name: RelationName) -> CityError:
        view = self.view
        if name.catalog in view.down and not metadata.is_system(name):
            return view.down[name.catalog]
        if name in view.other_purposes:
            mine = " or ".join(view.other_purposes[name])
            return AccessDenied(
                f"You hold '{name}' for purpose {mine}, not for {view.purpose}.",
                Outcome.PURPOSE,
                who=name.catalog,
                rule="purpose",
                hint=f"Ask again with --purpose {view.other_purposes[name][0]} "
                f"(or SET SESSION purpose = '{view.other_purposes[name][0]}').",
            ).at(location_of(table))
        near = _nearest(name, view)
        return AccessDenied(
            f"Table '{name}' does not exist.",
            Outcome.NOT_AVAILABLE,
            rule="no such relation for you",
            hint=f"Did you mean {near}?" if near else "",
            about=name.catalog,
        ).at(location_of(table))


def _leave_out(table: exp.Table, hidden: frozenset[str]) -> None:
    """Keep a metadata table's hidden columns out of the `*` of its select."""
    select = table.find_ancestor(exp.Select)
    if not hidden or select is None:
        return
    for projection in select.expressions:
        star = projection if isinstance(projection, exp.Star) else projection.this
        if projection.is_star and isinstance(star, exp.Star):
            star.set("except_", [exp.to_identifier(name) for name in sorted(hidden)])


def table_name(table: exp.Table, session: Session) -> RelationName:
    """The full name of a table reference, completed from the session. Raises UserError."""
    catalog, db = table.catalog or "", table.db or ""
    if not db and not session.schema:
        raise UserError(
            f"Table name '{table.name}' needs its catalog and schema.",
            trino=TrinoError.MISSING_SCHEMA_NAME,
            rule="names",
            hint="Write it as catalog.schema.table, for instance water.main.company_month.",
        ).at(location_of(table))
    db = db or session.schema
    if not catalog and not session.catalog:
        raise UserError(
            f"Table name '{db}.{table.name}' needs its catalog.",
            trino=TrinoError.MISSING_CATALOG_NAME,
            rule="names",
            hint="Write it as catalog.schema.table, for instance water.main.company_month.",
        ).at(location_of(table))
    return RelationName((catalog or session.catalog).lower(), db.lower(), table.name.lower())


def _alias(table: exp.Table, alias: str) -> exp.TableAlias:
    given = table.args.get("alias")
    columns = given.args.get("columns") if given is not None else None
    return exp.TableAlias(this=exp.to_identifier(alias), columns=[c.copy() for c in columns or ()])


def _is_cte(table: exp.Table) -> bool:
    """Whether a WITH in scope defines this unqualified name; a CTE sees only those before it."""
    child: exp.Expr = table
    node = table.parent
    inside: exp.Expr | None = None
    while node is not None:
        visible: list[exp.Expr] = []
        if isinstance(node, exp.With):
            visible = node.expressions[: _position(node.expressions, child)]
            inside = node
        elif node.args.get("with_") is not None and node.args["with_"] is not inside:
            visible = node.args["with_"].expressions
        if any(cte.alias == table.name for cte in visible):
            return True
        child, node = node, node.parent
    return False


def _position(expressions: list[exp.Expr], child: exp.Expr) -> int:
    return next(i for i, e in enumerate(expressions) if e is child)


def _nearest(name: RelationName, view: UserView) -> str:
    """The most similar relation that this user may see, "" if none is close."""
    by_text = {str(n): str(n) for n in view.relations}
    close = difflib.get_close_matches(str(name), by_text, n=1, cutoff=0.75)
    if close:
        return close[0]
    same_table = [str(n) for n in view.relations if n.table == name.table]
    if same_table:
        return same_table[0]
    tables = {n.table: str(n) for n in view.relations}
    close = difflib.get_close_matches(name.table, tables, n=1, cutoff=0.75)
    return tables[close[0]] if close else ""


def _column_error(tree: exp.Query, bad: OptimizeError, columns: Columns) -> UserError:
    """Trino's words for a column that does not resolve, with a suggestion from the visible columns."""
    text = str(bad)
    column = text.split("'")[1] if text.count("'") >= 2 else ""
    if "output column" in text:
        return UserError(
            f"Position {text.rsplit(' ', 1)[-1]} of GROUP BY or ORDER BY is not in the select list.",
            trino=TrinoError.INVALID_COLUMN_REFERENCE,
            rule="names",
        )
    if "mbiguous" in text or is_ambiguous(tree, column, columns):
        return UserError(f"Column '{column}' is ambiguous.", trino=TrinoError.AMBIGUOUS_NAME, rule="names")
    if not column:
        return UserError("A name in the statement does not resolve.", trino=TrinoError.COLUMN_NOT_FOUND)
    short = column.split(".")[-1].strip('"')
    # Not that very name, which another relation of the statement may have.
    visible = sorted({c.name for known in columns.values() for c in known} - {short})
    near = difflib.get_close_matches(short, visible, n=1, cutoff=0.6)
    where = next((location_of(c) for c in tree.find_all(exp.Column) if c.name == short and location_of(c)), None)
    return UserError(
        f"Column '{column}' cannot be resolved.",
        trino=TrinoError.COLUMN_NOT_FOUND,
        rule="no such column for you",
        hint=f"Did you mean {near[0]}?" if near and is_plain(near[0]) else "",
    ).at(where)
