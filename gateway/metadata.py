"""The metadata tables that Trino's clients read, filled from what one user may see.

    <catalog>.information_schema.*   system.jdbc.*   system.metadata.*   system.runtime.*   system.custody.*

`describe` tells the columns of such a table, `read` makes its rows, both from a `UserView`: a relation
that isn't in the view isn't in any of these tables. Nothing here asks a department anything, so that a
dead department never blocks a listing. `hidden` columns can be selected but aren't part of `*`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from catalog.duck import as_shown_in
from catalog.duck.listing import LISTED
from catalog.errors import Outcome, TrinoError, UserError
from catalog.names import RelationName
from catalog.relation import Column, Mode, Relation
from catalog.types import BIGINT, BOOLEAN, VARCHAR, TrinoType
from gateway.execution import Execution, Session, State
from gateway.rewrite.dates import date_literal

if TYPE_CHECKING:
    from gateway.catalogue import UserView

__all__ = [
    "HIDDEN",
    "SYSTEM",
    "VERSION",
    "bind_session",
    "check",
    "describe",
    "hidden",
    "is_system",
    "read",
    "require",
    "type_text",
]

VERSION = "476"
"""The Trino release whose protocol and metadata tables are answered."""

SYSTEM = "system"
INFORMATION_SCHEMA = "information_schema"

SHOWN_CODES = 20
INTEGER = TrinoType("integer")
MOMENT = TrinoType("timestamp with time zone", (3,))
Row = tuple[Any, ...]


@dataclass(frozen=True)
class _Asked:
    """What a table's rows are made from. catalog: the one in whose information_schema the table is."""

    catalog: str
    view: UserView
    session: Session
    executions: tuple[Execution, ...]


@dataclass(frozen=True)
class _Table:
    columns: tuple[Column, ...]
    rows: Callable[[_Asked], Iterable[Row]]
    hidden: frozenset[str] = frozenset()


def is_system(name: RelationName) -> bool:
    """Whether a name can only be a metadata table, whoever asks."""
    return name.schema == INFORMATION_SCHEMA or name.catalog == SYSTEM


def describe(name: RelationName, view: UserView) -> tuple[Column, ...] | None:
    """The columns of a metadata table, hidden ones last; None if there is no such table for this user."""
    table = _find(name, view)
    return None if table is None else table.columns


def hidden(name: RelationName) -> frozenset[str]:
    """Columns of a metadata table that `SELECT *` leaves out."""
    return HIDDEN.get((name.schema, name.table), frozenset())


def read(name: RelationName, view: UserView, session: Session, executions: Iterable[Execution] = ()) -> pa.Table:
    """All rows of a metadata table that `describe` knows. Raises KeyError for another name."""
    table = _find(name, view)
    if table is None:
        raise KeyError(str(name))
    asked = _Asked(name.catalog, view, session, tuple(executions))
    schema = pa.schema([pa.field(c.name, c.type.arrow()) for c in table.columns])
    rows = list(table.rows(asked))
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _find(name: RelationName, view: UserView) -> _Table | None:
    if name.schema == INFORMATION_SCHEMA:
        return _TABLES.get((INFORMATION_SCHEMA, name.table)) if name.catalog in _catalogs(view) else None
    return _TABLES.get((name.schema, name.table)) if name.catalog == SYSTEM else None


# -- do the names that a statement needs exist? --------------------------------------------------------


def check(requires: Iterable[tuple[str, ...]], view: UserView, purpose: str = "") -> None:
    """Raise unless all names that a statement requires are visible and `purpose` is one of the user's.

    requires: `Statement.requires`. purpose: the value of a SET SESSION purpose, "" for none.
    """
    for parts in requires:
        require(parts, view)
    if purpose and purpose not in view.purposes:
        mine = ", ".join(view.purposes) or "none"
        raise UserError(
            f"Purpose '{purpose}' is not one of yours.",
            trino=TrinoError.INVALID_SESSION_PROPERTY,
            hint=f"Yours: {mine}.",
        )


def require(parts: tuple[str, ...], view: UserView) -> None:
    """Raise CATALOG_NOT_FOUND, SCHEMA_NOT_FOUND or TABLE_NOT_FOUND unless the name is visible."""
    catalog = parts[0]
    catalogs = _catalogs(view)
    if catalog not in catalogs:
        raise _missing(f"Catalog '{catalog}' not found.", TrinoError.CATALOG_NOT_FOUND, catalog, catalogs, catalog)
    if len(parts) > 1 and parts[1] not in _schemas(view, catalog):
        raise _missing(
            f"Schema '{parts[1]}' does not exist.",
            TrinoError.SCHEMA_NOT_FOUND,
            parts[1],
            _schemas(view, catalog),
            catalog,
        )
    if len(parts) == 3:
        name = RelationName(*parts)
        if name not in view.relations and describe(name, view) is None:
            if catalog in view.down:
                raise view.down[catalog]
            known = [str(n) for n in view.relations]
            raise _missing(f"Table '{name}' does not exist.", TrinoError.TABLE_NOT_FOUND, str(name), known, catalog)


def _missing(message: str, trino: TrinoError, name: str, known: Iterable[str], about: str) -> UserError:
    near = difflib.get_close_matches(name, list(known), 1, 0.7)
    hint = f"Did you mean {near[0]}?" if near else ""
    return UserError(message, Outcome.NOT_AVAILABLE, trino=trino, rule="no such name for you", hint=hint, about=about)


# -- what a statement may ask about its own session ----------------------------------------------------


def bind_session(tree: exp.Query, session: Session) -> None:
    """Replace `version()`, `current_schema`, `current_date` and their like by the session's values, in place.

    The day is the one in the session's time zone: for every department the same, and one that its source can compare.
    A replaced output keeps its label; one without a name gets `_colN`, as Trino gives it.
    """
    for node in list(tree.find_all(exp.CurrentVersion, exp.CurrentTimezone, exp.CurrentUser, exp.CurrentCatalog)):
        _replace(node, _text(_session_value(node.key, session)))
    for node in list(tree.find_all(exp.CurrentDate, exp.Cast, exp.Date)):
        if _is_today(node):
            _replace(node, date_literal(as_shown_in(datetime.now(UTC), session.time_zone).date()))
    for column in list(tree.find_all(exp.Column)):
        if column.name in ("current_schema", "current_path") and not column.table:
            _replace(column, _text(_session_value(column.name, session)))
    for node in list(tree.find_all(exp.Anonymous)):
        if node.name.lower() == "current_groups" and not node.expressions:  # users have none
            _replace(node, exp.cast(exp.array(dialect="trino"), "ARRAY(VARCHAR)", dialect="trino"))


def _is_today(node: exp.Expr) -> bool:
    """`current_date`, or the date of `now()` or of `localtimestamp`."""
    if isinstance(node, exp.CurrentDate):
        return node.this is None
    if not isinstance(node, exp.Date) and not (type(node) is exp.Cast and node.to.is_type(exp.DType.DATE)):
        return False
    given = [value for name, value in node.args.items() if name != "to" and value]
    return len(given) == 1 and type(given[0]) in (exp.CurrentTimestamp, exp.Localtimestamp) and given[0].this is None


def _session_value(kind: str, session: Session) -> str:
    return {
        "currentversion": VERSION,
        "currenttimezone": session.time_zone,
        "currentuser": session.user,
        "currentcatalog": session.catalog,
        "current_schema": session.schema,
    }.get(kind, "")


def _text(value: str) -> exp.Expr:
    return exp.cast(exp.Literal.string(value) if value else exp.Null(), "varchar", dialect="trino")


def _replace(node: exp.Expr, literal: exp.Expr) -> None:
    parent = node.parent
    if isinstance(parent, exp.Select) and any(node is e for e in parent.expressions):
        number = next(i for i, e in enumerate(parent.expressions) if e is node)
        literal.meta.update(node.meta, label=f"_col{number}")
    node.replace(literal)


# -- what a user sees ----------------------------------------------------------------------------------


def _catalogs(view: UserView) -> list[str]:
    return sorted({d.name for d in view.departments} | {n.catalog for n in view.relations} | {SYSTEM})


def _schemas(view: UserView, catalog: str) -> list[str]:
    found = {n.schema for n in view.relations if n.catalog == catalog} | {INFORMATION_SCHEMA}
    if catalog == SYSTEM:
        found |= {schema for schema, _ in _TABLES}
    elif any(d.name == catalog for d in view.departments):
        found.add("main")
    return sorted(found)


@dataclass(frozen=True)
class _Listed:
    """A relation or metadata table as the listings show it."""

    name: RelationName
    columns: tuple[Column, ...]
    comment: str
    hidden: frozenset[str] = frozenset()
    relation: Relation | None = None

    def visible(self) -> Iterator[tuple[int, Column]]:
        return enumerate((c for c in self.columns if c.name not in self.hidden), 1)


def _listed(view: UserView, catalogs: Iterable[str]) -> Iterator[_Listed]:
    """All relations and metadata tables of these catalogs, in the order of their names."""
    wanted = set(catalogs)
    found = [
        _Listed(name, relation.columns, _comment(relation), relation=relation)
        for name, relation in view.relations.items()
        if name.catalog in wanted
    ]
    for (schema, table), made in _TABLES.items():
        where = wanted if schema == INFORMATION_SCHEMA else wanted & {SYSTEM}
        found += [_Listed(RelationName(c, schema, table), made.columns, "", made.hidden) for c in where]
    return iter(sorted(found, key=lambda listed: listed.name))


def _comment(relation: Relation) -> str:
    """A relation's comment with what limits it: its mode, floor, filter and age."""
    notes = [relation.comment.rstrip(".")] if relation.comment else []
    match relation.mode:
        case Mode.aggregate:
            notes.append(f"sums and counts only, at least {relation.min_group} per group")
        case Mode.verify:
            notes.append(f"verify only, by {', '.join(relation.verify_keys)}")
        case Mode.synthetic:
            notes.append("synthetic rows: not real data")
        case Mode.schema:
            notes.append("names only, no rows")
        case Mode.raw:
            notes.append("raw values")
    if relation.filtered:
        notes.append("filtered rows")
    if relation.vintage:
        notes.append(f"as of {relation.vintage:%Y-%m-%d %H:%M}")
    if relation.stale:
        notes.append("department unreachable, last known list")
    return "; ".join(notes)


def _extra(column: Column, relation: Relation | None) -> str:
    """SHOW COLUMNS' Extra: what this user sees of the column, for this purpose.

    The kind of the mask, whether a filter applies, the floor; never what the filter or the mask looks for.
    """
    notes = [f"masked: {column.mask}"] if column.mask else []
    if relation is not None:
        if relation.mode is Mode.synthetic:
            notes.append("synthetic: not real data")
        if relation.mode is Mode.schema:
            notes.append("no rows")
        if relation.filtered:
            notes.append("filtered rows")
        if relation.min_group:
            notes.append(f"at least {relation.min_group} per group")
        if relation.purpose:
            notes.append(f"purpose {relation.purpose}")
    return "; ".join(notes)


def _meaning(column: Column, relation: Relation | None = None) -> str:
    """SHOW COLUMNS' Comment: meaning, unit, concept, and how old or how certain the values are."""
    parts = [column.comment] if column.comment else []
    if column.unit:
        parts.append(f"[{column.unit}]")
    if column.concept:
        parts.append(f"<{column.concept}>")
    if column.codes:
        parts.append(f"one of {_codes(column.codes)}")
    if relation is not None and relation.vintage:
        parts.append(f"as of {relation.vintage:%Y-%m-%d %H:%M}")
    if relation is not None and relation.stale:
        parts.append("as last known; the department does not answer now")
    return " ".join(parts)


def _codes(codes: tuple[str, ...]) -> str:
    left = len(codes) - SHOWN_CODES
    return ", ".join(codes[:SHOWN_CODES]) + (f" and {left} more" if left > 0 else "")


def _notes(column: Column, relation: Relation | None) -> str:
    return "; ".join(part for part in (_meaning(column, relation), _extra(column, relation)) if part)


def type_text(kind: TrinoType) -> str:
    """A type as metadata show it: unlike in results there is no blank in `decimal(14,3)`; JDBC parses it."""
    return re.sub(r"decimal\((\d+), (\d+)\)", r"decimal(\1,\2)", str(kind))


# -- information_schema --------------------------------------------------------------------------------


def _schemata(asked: _Asked) -> Iterator[Row]:
    for schema in _schemas(asked.view, asked.catalog):
        yield asked.catalog, schema


def _tables(asked: _Asked) -> Iterator[Row]:
    for listed in _listed(asked.view, [asked.catalog]):
        yield listed.name.catalog, listed.name.schema, listed.name.table, "BASE TABLE"


def _columns(asked: _Asked) -> Iterator[Row]:
    for listed in _listed(asked.view, [asked.catalog]):
        name = listed.name
        for position, column in listed.visible():
            yield (
                name.catalog,
                name.schema,
                name.table,
                column.name,
                position,
                None,
                "YES",
                type_text(column.type),
                _meaning(column, listed.relation) or None,
                _extra(column, listed.relation) or None,
            )


def _table_privileges(asked: _Asked) -> Iterator[Row]:
    for name in sorted(n for n in asked.view.relations if n.catalog == asked.catalog):
        yield (
            None, None, asked.session.user, "USER", name.catalog, name.schema, name.table, "SELECT", "NO",
            None,
        )  # fmt: skip


def _nothing(asked: _Asked) -> Iterator[Row]:
    return iter(())


# -- system.jdbc ---------------------------------------------------------------------------------------

JDBC_TYPES = {
    "bigint": -5,
    "integer": 4,
    "smallint": 5,
    "tinyint": -6,
    "boolean": 16,
    "real": 7,
    "double": 8,
    "decimal": 3,
    "varchar": 12,
    "char": 1,
    "varbinary": -3,
    "date": 91,
    "time": 92,
    "time with time zone": 2013,
    "timestamp": 93,
    "timestamp with time zone": 2014,
    "array": 2003,
}
OTHER = 2000
COLUMN_SIZES = {
    "bigint": 19,
    "integer": 10,
    "smallint": 5,
    "tinyint": 3,
    "real": 24,
    "double": 53,
    "date": 14,
    "varbinary": 2147483647,
}
_UNITS = {"time": 8, "time with time zone": 14, "timestamp": 19, "timestamp with time zone": 48}


def column_size(kind: TrinoType) -> int | None:
    """JDBC's COLUMN_SIZE: digits of numbers (bits of floats), characters of the rest."""
    if kind.name in ("varchar", "char", "decimal") and kind.args:
        return int(kind.args[0])
    if kind.name == "varchar":
        return 2147483647
    if kind.name in _UNITS:
        digits = int(kind.args[0]) if kind.args else 3
        return _UNITS[kind.name] + (digits + 1 if digits else 0)
    return COLUMN_SIZES.get(kind.name)


def radix(kind: TrinoType) -> int | None:
    """JDBC's NUM_PREC_RADIX."""
    if kind.name in ("real", "double"):
        return 2
    return 10 if kind.is_numeric else None


def _jdbc_catalogs(asked: _Asked) -> Iterator[Row]:
    for catalog in _catalogs(asked.view):
        yield (catalog,)


def _jdbc_schemas(asked: _Asked) -> Iterator[Row]:
    for catalog in _catalogs(asked.view):
        for schema in _schemas(asked.view, catalog):
            yield schema, catalog


def _jdbc_tables(asked: _Asked) -> Iterator[Row]:
    for listed in _listed(asked.view, _catalogs(asked.view)):
        name = listed.name
        yield (
            name.catalog, name.schema, name.table, "TABLE", listed.comment or None, None, None, None, None,
            None,
        )  # fmt: skip


def _jdbc_columns(asked: _Asked) -> Iterator[Row]:
    for listed in _listed(asked.view, _catalogs(asked.view)):
        for position, column in listed.visible():
            yield _jdbc_column(listed.name, position, column, listed.relation)


def _jdbc_column(name: RelationName, position: int, column: Column, relation: Relation | None) -> Row:
    kind = column.type
    length = column_size(kind) if kind.is_text else None
    digits = kind.args[1] if kind.name == "decimal" and kind.args else (0 if kind.is_integer else None)
    return (
        name.catalog,
        name.schema,
        name.table,
        column.name,
        JDBC_TYPES.get(kind.name, OTHER),
        type_text(kind),
        column_size(kind),
        None,
        digits,
        radix(kind),
        1,
        _notes(column, relation) or None,
        None,
        None,
        None,
        length,
        position,
        "YES",
        None,
        None,
        None,
        None,
        None,
        None,
    )


def _table_types(asked: _Asked) -> Iterator[Row]:
    return iter((("TABLE",), ("VIEW",)))


def _jdbc_types(asked: _Asked) -> Iterator[Row]:
    for name, number in sorted(JDBC_TYPES.items(), key=lambda item: item[1]):
        kind = TrinoType(name)
        size = 38 if name == "decimal" else column_size(kind)
        yield (
            name, number, size, None, None, None, 1, name in ("varchar", "char"), 3, kind.name == "varbinary",
            False, None, name, 0, 38 if name == "decimal" else 0, None, None, radix(kind),
        )  # fmt: skip


# -- system.metadata, system.runtime -------------------------------------------------------------------


def _metadata_catalogs(asked: _Asked) -> Iterator[Row]:
    kinds = {d.name: "department" for d in asked.view.departments}
    for catalog in _catalogs(asked.view):
        yield catalog, catalog, kinds.get(catalog, SYSTEM), "OPERATIONAL"


def _table_comments(asked: _Asked) -> Iterator[Row]:
    for listed in _listed(asked.view, _catalogs(asked.view)):
        yield listed.name.catalog, listed.name.schema, listed.name.table, listed.comment or None


def _nodes(asked: _Asked) -> Iterator[Row]:
    yield "gateway", "", VERSION, True, "active"
    for department in asked.view.departments:
        state = "inactive" if department.state == "down" else "active"
        yield f"department:{department.name}", "", VERSION, False, state


def _queries(asked: _Asked) -> Iterator[Row]:
    """The user's own queries: what others ask is their and the owners' business."""
    for execution in asked.executions:
        if execution.session.user != asked.session.user:
            continue
        created = _moment(execution.created)
        ended = _moment(execution.ended) if execution.ended else None
        error = execution.error if execution.state is State.FAILED else None
        yield (
            execution.query_id,
            execution.state.value,
            execution.session.user,
            execution.session.source or None,
            execution.sql,
            ["global"],
            0,
            0,
            0,
            created,
            created,
            ended or datetime.now(UTC),
            ended,
            error.trino.kind if error else None,
            error.trino.name if error else None,
        )


def _tasks(asked: _Asked) -> Iterator[Row]:
    """What each department does for the user's own queries."""
    for execution in asked.executions:
        if execution.session.user != asked.session.user:
            continue
        for d in execution.departments():
            over = 0 if d.state in ("queued", "running") else d.fragments
            yield (
                f"department:{d.name}", f"{execution.query_id}.{d.name}", d.name, execution.query_id, d.state.upper(),
                d.fragments, d.fragments * (d.state == "queued"), d.fragments * (d.state == "running"), over,
            )  # fmt: skip


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# -- system.custody: atoll's own -----------------------------------------------------------------------


def _departments(asked: _Asked) -> Iterator[Row]:
    for d in asked.view.departments:
        shown = sum(1 for name in asked.view.relations if name.catalog == d.name)
        yield d.name, d.title, d.state, d.relations.custodian, d.relations.contact, shown


def _purposes(asked: _Asked) -> Iterator[Row]:
    for purpose in asked.view.purposes:
        yield purpose, purpose == asked.view.purpose


def _relations(asked: _Asked) -> Iterator[Row]:
    for name, r in sorted(asked.view.relations.items()):
        yield (
            name.catalog, name.schema, name.table, r.mode.name, r.purpose, r.filtered, r.min_group, r.rows,
            r.source_kind, r.vintage.astimezone(UTC) if r.vintage else None, r.stale,
        )  # fmt: skip


def _masks(asked: _Asked) -> Iterator[Row]:
    for name, relation in sorted(asked.view.relations.items()):
        for column in relation.columns:
            if column.mask:
                yield name.catalog, name.schema, name.table, column.name, column.mask, type_text(column.type)


def _definitions(asked: _Asked) -> Iterator[Row]:
    for listed in _listed(asked.view, _catalogs(asked.view)):
        name = listed.name
        lines = [_definition_line(column, listed.relation) for _, column in listed.visible()]
        comment = f"\nCOMMENT {_text_literal(listed.comment)}" if listed.comment else ""
        body = ",\n".join(lines)
        yield name.catalog, name.schema, name.table, f"CREATE TABLE {name} (\n{body}\n){comment}"


def _definition_line(column: Column, relation: Relation | None) -> str:
    notes = _notes(column, relation)
    return f"   {column.name} {type_text(column.type)}" + (f" COMMENT {_text_literal(notes)}" if notes else "")


def _text_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _statistics(asked: _Asked) -> Iterator[Row]:
    """Published figures only; a last row per relation holds its row count, as in SHOW STATS."""
    for name, relation in sorted(asked.view.relations.items()):
        place = (name.catalog, name.schema, name.table)
        for position, column in enumerate(relation.columns, 1):
            yield (*place, position, column.name, None, None, None, None, None, None)
        rows = None if relation.rows is None else float(relation.rows)
        yield (*place, len(relation.columns) + 1, None, None, None, None, rows, None, None)


def _functions(asked: _Asked) -> Iterator[Row]:
    for name, kind in sorted(LISTED.items()):
        yield name, "", "", "scalar" if kind == "special" else kind, name not in ("now", "random", "uuid"), ""


def _ledger(asked: _Asked) -> Iterator[Row]:
    """The gateway's own book, for purpose audit alone, empty for any other; that it was read is in it."""
    for record in asked.view.records() if asked.view.records is not None else ():
        departments = {ask["department"] for ask in record.get("asks", ())} | set(record.get("departments", ()))
        yield (
            record["seq"], datetime.fromisoformat(record["time"]), record["kind"], record.get("query"),
            record.get("sub"), record.get("purpose"), record.get("outcome"), record.get("rows"),
            ", ".join(sorted(departments)), record.get("sql_sha256"), record["hash"],
        )  # fmt: skip


# -- the tables ----------------------------------------------------------------------------------------


def _made(text: str, types: dict[str, TrinoType], rows: Callable[[_Asked], Iterable[Row]], unseen: str = "") -> _Table:
    """A table of varchar columns, but for those in `types`."""
    names = text.split() + unseen.split()
    columns = tuple(Column(name=name, type=types.get(name, VARCHAR)) for name in names)
    return _Table(columns, rows, frozenset(unseen.split()))


def _bigints(text: str) -> dict[str, TrinoType]:
    return dict.fromkeys(text.split(), BIGINT)


_TABLES: dict[tuple[str, str], _Table] = {
    (INFORMATION_SCHEMA, "applicable_roles"): _made("grantee grantee_type role_name is_grantable", {}, _nothing),
    (INFORMATION_SCHEMA, "columns"): _made(
        "table_catalog table_schema table_name column_name ordinal_position column_default is_nullable data_type",
        _bigints("ordinal_position"),
        _columns,
        "comment extra_info",
    ),
    (INFORMATION_SCHEMA, "enabled_roles"): _made("role_name", {}, _nothing),
    (INFORMATION_SCHEMA, "roles"): _made("role_name", {}, _nothing),
    (INFORMATION_SCHEMA, "schemata"): _made("catalog_name schema_name", {}, _schemata),
    (INFORMATION_SCHEMA, "table_privileges"): _made(
        "grantor grantor_type grantee grantee_type table_catalog table_schema table_name privilege_type "
        "is_grantable with_hierarchy",
        {},
        _table_privileges,
    ),
    (INFORMATION_SCHEMA, "tables"): _made("table_catalog table_schema table_name table_type", {}, _tables),
    (INFORMATION_SCHEMA, "views"): _made("table_catalog table_schema table_name view_definition", {}, _nothing),
    ("jdbc", "attributes"): _made(
        "type_cat type_schem type_name attr_name data_type attr_type_name attr_size decimal_digits num_prec_radix "
        "nullable remarks attr_def sql_data_type sql_datetime_sub char_octet_length ordinal_position is_nullable "
        "scope_catalog scope_schema scope_table source_data_type",
        _bigints(
            "data_type attr_size decimal_digits num_prec_radix nullable sql_data_type sql_datetime_sub "
            "char_octet_length ordinal_position source_data_type"
        ),
        _nothing,
    ),
    ("jdbc", "catalogs"): _made("table_cat", {}, _jdbc_catalogs),
    ("jdbc", "columns"): _made(
        "table_cat table_schem table_name column_name data_type type_name column_size buffer_length "
        "decimal_digits num_prec_radix nullable remarks column_def sql_data_type sql_datetime_sub "
        "char_octet_length ordinal_position is_nullable scope_catalog scope_schema scope_table "
        "source_data_type is_autoincrement is_generatedcolumn",
        _bigints(
            "data_type column_size buffer_length decimal_digits num_prec_radix nullable sql_data_type "
            "sql_datetime_sub char_octet_length ordinal_position source_data_type"
        ),
        _jdbc_columns,
    ),
    ("jdbc", "procedure_columns"): _made(
        "procedure_cat procedure_schem procedure_name column_name column_type data_type type_name precision "
        "length scale radix nullable remarks column_def sql_data_type sql_datetime_sub char_octet_length "
        "ordinal_position is_nullable specific_name",
        _bigints(
            "column_type data_type precision length scale radix nullable sql_data_type sql_datetime_sub "
            "char_octet_length ordinal_position"
        ),
        _nothing,
    ),
    ("jdbc", "procedures"): _made(
        "procedure_cat procedure_schem procedure_name remarks procedure_type specific_name",
        _bigints("procedure_type"),
        _nothing,
    ),
    ("jdbc", "pseudo_columns"): _made(
        "table_cat table_schem table_name column_name data_type column_size decimal_digits num_prec_radix "
        "column_usage remarks char_octet_length is_nullable",
        _bigints("data_type column_size decimal_digits num_prec_radix char_octet_length"),
        _nothing,
    ),
    ("jdbc", "schemas"): _made("table_schem table_catalog", {}, _jdbc_schemas),
    ("jdbc", "super_tables"): _made("table_cat table_schem table_name supertable_name", {}, _nothing),
    ("jdbc", "super_types"): _made(
        "type_cat type_schem type_name supertype_cat supertype_schem supertype_name", {}, _nothing
    ),
    ("jdbc", "table_types"): _made("table_type", {}, _table_types),
    ("jdbc", "tables"): _made(
        "table_cat table_schem table_name table_type remarks type_cat type_schem type_name "
        "self_referencing_col_name ref_generation",
        {},
        _jdbc_tables,
    ),
    ("jdbc", "types"): _made(
        "type_name data_type precision literal_prefix literal_suffix create_params nullable case_sensitive "
        "searchable unsigned_attribute fixed_prec_scale auto_increment local_type_name minimum_scale "
        "maximum_scale sql_data_type sql_datetime_sub num_prec_radix",
        _bigints(
            "data_type precision nullable searchable minimum_scale maximum_scale sql_data_type "
            "sql_datetime_sub num_prec_radix"
        )
        | dict.fromkeys(("case_sensitive", "unsigned_attribute", "fixed_prec_scale", "auto_increment"), BOOLEAN),
        _jdbc_types,
    ),
    ("jdbc", "udts"): _made(
        "type_cat type_schem type_name class_name data_type remarks base_type",
        _bigints("data_type base_type"),
        _nothing,
    ),
    ("metadata", "analyze_properties"): _made(
        "catalog_name property_name default_value type description", {}, _nothing
    ),
    ("metadata", "catalogs"): _made("catalog_name connector_id connector_name state", {}, _metadata_catalogs),
    ("metadata", "column_properties"): _made("catalog_name property_name default_value type description", {}, _nothing),
    ("metadata", "materialized_views"): _made(
        "catalog_name schema_name name storage_catalog storage_schema storage_table freshness "
        "last_fresh_time comment definition",
        {"last_fresh_time": MOMENT},
        _nothing,
    ),
    ("metadata", "schema_properties"): _made("catalog_name property_name default_value type description", {}, _nothing),
    ("metadata", "table_comments"): _made("catalog_name schema_name table_name comment", {}, _table_comments),
    ("metadata", "table_properties"): _made("catalog_name property_name default_value type description", {}, _nothing),
    ("runtime", "nodes"): _made("node_id http_uri node_version coordinator state", {"coordinator": BOOLEAN}, _nodes),
    ("runtime", "queries"): _made(
        "query_id state user source query resource_group_id queued_time_ms analysis_time_ms planning_time_ms "
        "created started last_heartbeat end error_type error_code",
        _bigints("queued_time_ms analysis_time_ms planning_time_ms")
        | dict.fromkeys(("created", "started", "last_heartbeat", "end"), MOMENT)
        | {"resource_group_id": TrinoType("array", (VARCHAR,))},
        _queries,
    ),
    ("runtime", "tasks"): _made(
        "node_id task_id stage_id query_id state splits queued_splits running_splits completed_splits",
        _bigints("splits queued_splits running_splits completed_splits"),
        _tasks,
    ),
    ("runtime", "transactions"): _made(
        "transaction_id isolation_level read_only auto_commit_context create_time idle_time_secs written_catalog",
        {"read_only": BOOLEAN, "auto_commit_context": BOOLEAN, "create_time": MOMENT} | _bigints("idle_time_secs"),
        _nothing,
    ),
    ("custody", "definitions"): _made("table_catalog table_schema table_name definition", {}, _definitions),
    ("custody", "departments"): _made(
        "name title state custodian contact relations", _bigints("relations"), _departments
    ),
    ("custody", "functions"): _made(
        "function_name return_type argument_types function_type deterministic description",
        {"deterministic": BOOLEAN},
        _functions,
    ),
    ("custody", "ledger"): _made(
        "seq time kind query_id user purpose outcome rows departments sql_sha256 hash",
        _bigints("seq rows") | {"time": MOMENT},
        _ledger,
    ),
    ("custody", "masks"): _made("table_catalog table_schema table_name column_name mask data_type", {}, _masks),
    ("custody", "purposes"): _made("purpose current", {"current": BOOLEAN}, _purposes),
    ("custody", "relations"): _made(
        "table_catalog table_schema table_name mode purpose filtered min_group row_count source_kind vintage stale",
        _bigints("min_group row_count") | {"filtered": BOOLEAN, "stale": BOOLEAN, "vintage": MOMENT},
        _relations,
    ),
    ("custody", "statistics"): _made(
        "table_catalog table_schema table_name ordinal_position column_name data_size distinct_values_count "
        "nulls_fraction row_count low_value high_value",
        _bigints("ordinal_position")
        | dict.fromkeys(("data_size", "distinct_values_count", "nulls_fraction", "row_count"), TrinoType("double")),
        _statistics,
    ),
}

HIDDEN: dict[tuple[str, str], frozenset[str]] = {
    place: table.hidden for place, table in _TABLES.items() if table.hidden
}
"""(schema, table) -> columns that can be selected but aren't part of `*`."""
