"""SHOW, DESCRIBE and TABLE: translated into queries over the metadata tables of `gateway/metadata.py`."""

from __future__ import annotations

import re

from catalog.types import BOOLEAN
from gateway.execution import Effects, ResultColumn, Session
from gateway.statements.answers import text_column
from gateway.statements.kinds import Effect, NameParts, Query, Statement
from gateway.statements.reader import Handler, Reader, unsupported
from gateway.statements.session import PROPERTIES, catalog_of, schema_of

__all__ = ["HANDLERS", "describe_table"]


def show(reader: Reader, session: Session) -> Statement:
    """What follows SHOW."""
    kind = reader.expect(*_SHOW)
    return _SHOW[kind](reader, session)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _like(reader: Reader, column: str) -> list[str]:
    if not reader.word("LIKE"):
        return []
    condition = f"{column} LIKE {_literal(reader.string())}"
    if reader.word("ESCAPE"):
        escape = reader.string()
        if len(escape) != 1:
            raise reader.error("a single character")
        condition += f" ESCAPE {_literal(escape)}"
    return [condition]


def _select(columns: str, table: str, conditions: list[str], order: str, *requires: NameParts) -> Query:
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return Query(f"SELECT {columns} FROM {table}{where} ORDER BY {order}", False, requires)


def _show_catalogs(reader: Reader, session: Session) -> Statement:
    conditions = _like(reader, "catalog_name")
    reader.end()
    return _select('catalog_name AS "Catalog"', "system.metadata.catalogs", conditions, "1")


def _show_schemas(reader: Reader, session: Session) -> Statement:
    catalog = reader.identifier() if reader.word("FROM", "IN") else catalog_of(reader, session)
    conditions = _like(reader, "schema_name")
    reader.end()
    table = f"{quoted(catalog)}.information_schema.schemata"
    return _select('schema_name AS "Schema"', table, conditions, "1", (catalog,))


def _show_tables(reader: Reader, session: Session) -> Statement:
    if reader.word("FROM", "IN"):
        name = reader.name()
        if len(name) > 2:
            raise unsupported(reader, "SHOW TABLES FROM a table")
        name = name if len(name) == 2 else (catalog_of(reader, session), *name)
    else:
        name = schema_of(reader, session)
    conditions = [f"table_schema = {_literal(name[1])}", *_like(reader, "table_name")]
    reader.end()
    table = f"{quoted(name[0])}.information_schema.tables"
    return _select('table_name AS "Table"', table, conditions, "1", name)


def relation_of(reader: Reader, session: Session) -> NameParts:
    name = reader.name()
    if len(name) == 3:
        return name
    if len(name) == 2:
        return (catalog_of(reader, session), *name)
    return (*schema_of(reader, session), *name)


def _show_columns(reader: Reader, session: Session) -> Statement:
    reader.expect("FROM", "IN")
    return describe_table(reader, session)


def describe_table(reader: Reader, session: Session) -> Statement:
    """The columns of a relation: after SHOW COLUMNS FROM, DESCRIBE or DESC."""
    name = relation_of(reader, session)
    conditions = [
        f"table_schema = {_literal(name[1])}",
        f"table_name = {_literal(name[2])}",
        *_like(reader, "column_name"),
    ]
    reader.end()
    shown = (
        'column_name AS "Column", data_type AS "Type", coalesce(extra_info, \'\') AS "Extra", '
        "coalesce(comment, '') AS \"Comment\""
    )
    table = f"{quoted(name[0])}.information_schema.columns"
    return _select(shown, table, conditions, "ordinal_position", name)


def _show_create(reader: Reader, session: Session) -> Statement:
    if reader.word("SCHEMA"):
        name = reader.name()
        reader.end()
        name = name if len(name) == 2 else (catalog_of(reader, session), *name)
        ddl = f"CREATE SCHEMA {'.'.join(name)}"
        return Effect(Effects(), (text_column("Create Schema"),), ((ddl,),), (name,))
    if reader.word("VIEW", "MATERIALIZED", "FUNCTION"):
        raise unsupported(reader, "SHOW CREATE VIEW", "Owners' views appear as tables; try SHOW CREATE TABLE.")
    reader.expect("TABLE")
    name = relation_of(reader, session)
    reader.end()
    return _select('definition AS "Create Table"', "system.custody.definitions", _named(name), "1", name)


def _named(name: NameParts) -> list[str]:
    columns = ("table_catalog", "table_schema", "table_name")
    return [f"{column} = {_literal(part)}" for column, part in zip(columns, name, strict=True)]


def _show_stats(reader: Reader, session: Session) -> Statement:
    reader.expect("FOR")
    if reader.sign("("):
        raise unsupported(reader, "SHOW STATS FOR a query", "Figures are published for whole tables.")
    name = relation_of(reader, session)
    reader.end()
    shown = "column_name, data_size, distinct_values_count, nulls_fraction, row_count, low_value, high_value"
    return _select(shown, "system.custody.statistics", _named(name), "ordinal_position", name)


def _show_session(reader: Reader, session: Session) -> Statement:
    pattern = reader.string() if reader.word("LIKE") else "%"
    reader.end()
    wanted = re.compile(re.escape(pattern).replace("%", ".*").replace("_", ".") + r"\Z")
    values = {"purpose": session.purpose, "time_zone_id": session.time_zone, **session.properties}
    kinds = {"boolean": "boolean"}
    rows = tuple(
        (p.name, values.get(p.name, p.default), p.default, kinds.get(p.kind, "varchar"), p.description)
        for p in PROPERTIES.values()
        if wanted.match(p.name)
    )
    labels = ("Name", "Value", "Default", "Type", "Description")
    return Effect(Effects(), tuple(text_column(label) for label in labels), rows)


def _show_functions(reader: Reader, session: Session) -> Statement:
    if reader.word("FROM", "IN"):
        name = reader.name()
        reader.end()
        return Effect(Effects(), _FUNCTION_COLUMNS, (), (name,))
    conditions = _like(reader, "function_name")
    reader.end()
    shown = (
        'function_name AS "Function", return_type AS "Return Type", argument_types AS "Argument Types", '
        'function_type AS "Function Type", deterministic AS "Deterministic", description AS "Description"'
    )
    return _select(shown, "system.custody.functions", conditions, "1, 3")


_FUNCTION_COLUMNS = (
    text_column("Function"),
    text_column("Return Type"),
    text_column("Argument Types"),
    text_column("Function Type"),
    ResultColumn("Deterministic", BOOLEAN),
    text_column("Description"),
)


def _show_roles(reader: Reader, session: Session) -> Statement:
    """atoll has no roles: departments grant to users and purposes."""
    if reader.word("FROM", "IN"):
        reader.identifier()
    reader.end()
    return Effect(Effects(), (text_column("Role"),))


def _show_current(reader: Reader, session: Session) -> Statement:
    reader.expect("ROLES")
    return _show_roles(reader, session)


def _show_role(reader: Reader, session: Session) -> Statement:
    reader.expect("GRANTS")
    reader.word("FROM", "IN") and reader.identifier()
    reader.end()
    return Effect(Effects(), (text_column("Role Grants"),))


def _show_grants(reader: Reader, session: Session) -> Statement:
    name: NameParts | None = None
    if reader.word("ON"):
        reader.word("TABLE")
        name = relation_of(reader, session)
    reader.end()
    catalog = name[0] if name else catalog_of(reader, session)
    conditions = _named(name)[1:] if name else []
    shown = (
        'grantor AS "Grantor", grantor_type AS "Grantor Type", grantee AS "Grantee", '
        'grantee_type AS "Grantee Type", '
        'table_catalog AS "Catalog", table_schema AS "Schema", table_name AS "Table", '
        'privilege_type AS "Privilege", is_grantable AS "Grantable", with_hierarchy AS "With Hierarchy"'
    )
    table = f"{quoted(catalog)}.information_schema.table_privileges"
    return _select(shown, table, conditions, "5, 6, 7", name or (catalog,))


def _table(reader: Reader, session: Session) -> Statement:
    """`TABLE t` is `SELECT * FROM t`."""
    name = ".".join(quoted(part) for part in reader.name())
    rest = reader.sql[following.start :] if (following := reader.peek()) else ""
    return Query(f"SELECT * FROM {name} {rest}".rstrip(), False)


_SHOW: dict[str, Handler] = {
    "CATALOGS": _show_catalogs,
    "SCHEMAS": _show_schemas,
    "TABLES": _show_tables,
    "COLUMNS": _show_columns,
    "SESSION": _show_session,
    "FUNCTIONS": _show_functions,
    "CREATE": _show_create,
    "STATS": _show_stats,
    "ROLES": _show_roles,
    "CURRENT": _show_current,
    "ROLE": _show_role,
    "GRANTS": _show_grants,
}


HANDLERS: dict[str, Handler] = {"SHOW": show, "DESC": describe_table, "TABLE": _table}
