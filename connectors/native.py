"""A `NativeScan` -> the SQL text and parameters for one source, exactly as Trino would mean it.

Everything atoll adds around the owner's text is built from templates parsed by sqlglot in the source's
own dialect, emitted with every identifier quoted, and parsed again: the tree must come back equal.
The owner's trusted text stands in that check as a placeholder with a random name, and is spliced in
last. One class a dialect holds the rules (R6, R7, ..) that make comparison and order mean the same.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, ClassVar

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from catalog.types import TrinoType
from connectors.base import Aggregate, Capabilities, GroupKey, NativeScan, Predicate, Value

__all__ = [
    "MAX_KEYS",
    "Compiled",
    "Compiler",
    "DuckDBCompiler",
    "MariaDBCompiler",
    "PostgresCompiler",
    "SQLiteCompiler",
    "check",
    "describe",
    "trusted_text",
]

MAX_KEYS = 100_000
_QUERY_ID = re.compile(r"[A-Za-z0-9_]{0,80}\Z")
_INT64 = range(-(2**63), 2**63)
_WHOLE_NUMBERS = ("tinyint", "smallint", "integer", "bigint")


@dataclass(frozen=True)
class Compiled:
    """Text for a driver. params: by name. key_tables: arrays that DuckDB must register under a name."""

    sql: str
    params: dict[str, Any] = field(default_factory=dict)
    key_tables: dict[str, pa.Array] = field(default_factory=dict)


# --- what is refused before any SQL exists -----------------------------------------------------------


def check(scan: NativeScan, allowed: Capabilities) -> None:
    """Refuse what the source does not compute exactly as Trino. Raises ValueError naming the part."""
    if bool(scan.columns) == bool(scan.group_by or scan.aggregates):
        raise ValueError("a scan reads columns or groups, one of the two")
    if not _QUERY_ID.match(scan.query_id):
        raise ValueError("a query id has letters, digits and _ only, at most 80")
    if scan.limit is not None and (scan.limit < 0 or not scan.columns):
        raise ValueError("a limit needs a plain scan and cannot be negative")
    for predicate in scan.predicates:
        _check_predicate(predicate, _type(scan, predicate.column), allowed)
    for column, keys in scan.keys:
        type_ = _type(scan, column)
        if type_.name not in allowed.keys:
            raise ValueError(f"keys on {column!r}: not pushed on {type_}")
        if len(keys) > MAX_KEYS or keys.null_count:
            raise ValueError(f"keys on {column!r}: at most {MAX_KEYS}, none of them NULL")
    for key in scan.group_by:
        if key.function is not None and (key.function not in allowed.key_functions):
            raise ValueError(f"grouping by {key.function} is not pushed")
        if key.form and (key.function is not None or not allowed.masks):
            raise ValueError(f"grouping by a mask of {key.column!r} is not pushed")
        if key.function is None and _type(scan, key.column).name not in allowed.group_types:
            raise ValueError(f"grouping by {key.column!r}: not pushed on {key.type}")
        if key.function is not None and _type(scan, key.column).name not in ("date", "timestamp"):
            raise ValueError(f"{key.function} of {key.column!r}: needs a date")
    for aggregate in scan.aggregates:
        _check_aggregate(aggregate, scan, allowed)


def _type(scan: NativeScan, column: str) -> TrinoType:
    found = scan.types.get(column)
    if found is None:
        raise ValueError(f"column {column!r} has no declared type in this scan")
    return found


def _check_aggregate(aggregate: Aggregate, scan: NativeScan, allowed: Capabilities) -> None:
    if aggregate.column is None:
        if aggregate.function != "count" or "count" not in allowed.aggregates:
            raise ValueError(f"{aggregate.function}(*) is not pushed")
        return
    type_ = _type(scan, aggregate.column)
    if type_.name not in allowed.aggregates.get(aggregate.function, frozenset()):
        raise ValueError(f"{aggregate.function} of {aggregate.column!r}: not pushed on {type_}")


def _check_predicate(predicate: Predicate, type_: TrinoType, allowed: Capabilities) -> None:
    if type_.name not in allowed.predicates.get(predicate.op, frozenset()):
        raise ValueError(f"{predicate.op!r} on {predicate.column!r}: not pushed on {type_}")
    count = len(predicate.values)
    wanted = {"is null": 0, "is not null": 0, "in": count}.get(predicate.op, 1)
    if count != wanted or count > MAX_KEYS:
        raise ValueError(f"{predicate.op!r} on {predicate.column!r}: {count} values")
    _check_values(predicate.values, type_, predicate.column)


def _check_values(values: Iterable[Any], type_: TrinoType, column: str) -> None:
    """Literals must already have their column's type: nothing is converted on the way to a source."""
    fits = _LITERALS.get(type_.name, lambda _value: False)
    if not all(map(fits, values)):
        raise ValueError(f"a literal for {column!r} is no {type_}")


_LITERALS: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda v: type(v) is bool,
    "decimal": lambda v: type(v) in (int, Decimal) and Decimal(v).is_finite(),
    "double": lambda v: type(v) in (int, float) and math.isfinite(v),
    "varchar": lambda v: type(v) is str and "\0" not in v and _is_unicode(v),
    "date": lambda v: type(v) is date,
    "timestamp": lambda v: type(v) is datetime and v.tzinfo is None,
} | dict.fromkeys(_WHOLE_NUMBERS, lambda v: type(v) is int and v in _INT64)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=1024)
def trusted_text(text: str, dialect: str) -> str:
    """The owner's text without a trailing `;` or comment, so that it can stand in parentheses.

    Raises ValueError if it is empty, holds two statements or unbalanced parentheses.
    """
    tokens = _tokens(text, dialect)
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise ValueError("the owner's text is empty")
    depth = 0
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            raise ValueError("the owner's text holds more than one statement")
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth < 0:
            break
    if depth:
        raise ValueError("the owner's text has unbalanced parentheses")
    return text[tokens[0].start : tokens[-1].end + 1]


def _tokens(text: str, dialect: str) -> list[Token]:
    try:
        return list(sqlglot.tokenize(text, read=dialect))
    except SqlglotError as bad:
        raise ValueError("the owner's text cannot be read") from bad


# --- templates ---------------------------------------------------------------------------------------


_HOLE = "hole_"


@lru_cache(maxsize=512)
def _template(text: str, dialect: str) -> exp.Expr:
    """A template's tree; its `:name` are columns `hole_name`, which read the same in every dialect."""
    quote = "`" if dialect == "mysql" else '"'
    return sqlglot.parse_one(re.sub(r":([a-z]+)", rf"{quote}{_HOLE}\1{quote}", text), read=dialect)


class Compiler:
    """Rules that hold in every dialect; subclasses say where theirs differs.

    native_types: raw column -> the source's own type name, where the source told it.
    """

    dialect: ClassVar[str]
    owner_dialect: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "owner_dialect" not in cls.__dict__:
            cls.owner_dialect = cls.dialect

    def __init__(self, scan: NativeScan, allowed: Capabilities, native_types: dict[str, str] | None = None) -> None:
        check(scan, allowed)
        self.scan = scan
        self.native_types = {} if native_types is None else native_types
        self.params: dict[str, Any] = {}
        self.key_tables: dict[str, pa.Array] = {}
        self._nonce = secrets.token_hex(8)
        self._splices: dict[str, str] = {}

    def compile(self) -> Compiled:
        """The whole statement. Raises ValueError if it cannot be built, or would not read back the same."""
        scan = self.scan
        select = exp.Select()
        if scan.columns:
            outputs = [(self.output(self.column(o.column), o.column, o.type), o.name) for o in scan.columns]
        else:
            outputs = [(self.group_key(k), k.name) for k in scan.group_by]
            outputs += [(self.aggregate(a), a.name) for a in scan.aggregates]
        select = select.select(
            *(exp.alias_(e, exp.to_identifier(name, quoted=True)) for e, name in outputs), copy=False
        )
        select = select.from_(self._relation(), copy=False)
        conditions = self._conditions()
        if conditions:
            select = select.where(*conditions, copy=False)
        if scan.group_by:
            ordinals = [exp.Literal.number(i + 1) for i in range(len(scan.group_by))]
            select = select.group_by(*ordinals, copy=False)
        if scan.limit is not None:
            select = select.limit(exp.Literal.number(scan.limit), copy=False)
        sql = self._splice(self._emit(select))
        if scan.query_id:
            sql = f"/* atoll:{scan.query_id} */ {sql}"
        return Compiled(sql, self.params, self.key_tables)

    # -- what a dialect may change

    def output(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        """The expression that delivers a column so that `cells` can type it exactly."""
        return column

    def comparable(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        """A column whose comparison, order and equality are Trino's."""
        return column

    def compare(self, predicate: Predicate, type_: TrinoType) -> list[exp.Expr]:
        """`column op literal` as conditions that hold together."""
        left = self.comparable(self.column(predicate.column), predicate.column, type_)
        return [self.sql(f":l {predicate.op} :v", l=left, v=self.value(predicate.values[0], type_))]

    def is_null(self, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql(":c IS NULL", c=self.column(name))

    def is_not_null(self, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql("NOT :c IS NULL", c=self.column(name))

    def one_of(self, name: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        """`column IN (values)`, at least one value."""
        left = self.comparable(self.column(name), name, type_)
        return [exp.In(this=left, expressions=[self.value(v, type_) for v in values])]

    def group_key(self, key: GroupKey) -> exp.Expr:
        type_ = self.scan.types[key.column]
        if key.form:
            return self.masked(key, self.column(key.column))
        if key.function is None:
            return self.comparable(self.column(key.column), key.column, type_)
        return self.date_part(key.function, key.column)

    def masked(self, key: GroupKey, column: exp.Expr) -> exp.Expr:
        """What the mask shows of the column; text with the comparison that tells all texts apart."""
        return self.sql(key.form, c=column)

    def date_part(self, function: str, name: str) -> exp.Expr:
        raise NotImplementedError

    def aggregate(self, aggregate: Aggregate) -> exp.Expr:
        if aggregate.column is None:
            return self.sql("COUNT(*)")
        type_ = self.scan.types[aggregate.column]
        inner: exp.Expr = self.column(aggregate.column)
        if aggregate.function in ("min", "max"):
            inner = self.comparable(inner, aggregate.column, type_)
        return self.sql(f"{aggregate.function.upper()}(:c)", c=inner)

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        """A literal, bound as a parameter wherever the driver binds."""
        raise NotImplementedError

    # -- tools

    def sql(self, template: str, **parts: exp.Expr) -> exp.Expr:
        """A template of this module in the dialect, with `:name` replaced by `parts`."""
        tree = _template(template, self.dialect).copy()
        for hole in list(tree.find_all(exp.Column)):
            if hole.name.startswith(_HOLE):
                hole.replace(parts[hole.name.removeprefix(_HOLE)].copy())
        return tree

    def column(self, name: str) -> exp.Column:
        return exp.column(name, table="r", quoted=True)

    def _next(self, prefix: str) -> str:
        return f"{prefix}{len(self.params) + len(self.key_tables) + 1}"

    def _relation(self) -> exp.Expr:
        alias = exp.TableAlias(this=exp.to_identifier("r", quoted=True))
        if self.scan.is_query:
            marker = self._owner_marker(self.scan.relation)
            inner = exp.Select().select(exp.alias_(exp.Literal.number(1), marker, quoted=True))
            return exp.Subquery(this=inner, alias=alias)
        table = _table(self.scan.relation)
        table.set("alias", alias)
        return table

    def _conditions(self) -> list[exp.Expr]:
        found: list[exp.Expr] = []
        for text in self.scan.row_filters:
            marker = self._owner_marker(text)
            found.append(exp.Paren(this=exp.column(marker, quoted=True)))
        for predicate in self.scan.predicates:
            found += self._predicate(predicate)
        for column, keys in self.scan.keys:
            found += self._one_of(column, self.scan.types[column], keys.to_pylist())
        return found

    def _predicate(self, predicate: Predicate) -> list[exp.Expr]:
        type_ = self.scan.types[predicate.column]
        match predicate.op:
            case "is null":
                return [self.is_null(predicate.column, type_)]
            case "is not null":
                return [self.is_not_null(predicate.column, type_)]
            case "in":
                return self._one_of(predicate.column, type_, predicate.values)
        return self.compare(predicate, type_)

    def _one_of(self, column: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        _check_values(values, type_, column)
        return self.one_of(column, type_, values) if values else [self.sql("1 = 0")]

    def _marker(self, text: str) -> str:
        """A name that stands for `text` until the statement has been checked."""
        marker = f"text_{len(self._splices)}_{self._nonce}"
        self._splices[marker] = text
        return marker

    def _owner_marker(self, text: str) -> str:
        return self._marker(self.owner_text(trusted_text(text, self.owner_dialect)))

    def owner_text(self, text: str) -> str:
        return text

    def _emit(self, tree: exp.Expr) -> str:
        """Text of the tree, only if that text reads back as the very same tree."""
        try:
            text = tree.sql(
                dialect=self.dialect, identify=True, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE
            )
            again = sqlglot.parse_one(text, read=self.dialect)
        except SqlglotError as bad:
            raise ValueError("the scan has no exact form in this dialect") from bad
        if again != tree:
            raise ValueError("the scan's text does not read back as the same statement")
        return text

    def _splice(self, text: str) -> str:
        quote = "`" if self.dialect == "mysql" else '"'
        for marker, owner in self._splices.items():
            name = f"{quote}{marker}{quote}"
            whole = f"SELECT 1 AS {name}"
            place = whole if whole in text else name
            before, found, after = text.partition(place)
            if not found:
                raise ValueError("the owner's text has no place in the statement")
            text = f"{before}{owner}\n{after}"
        return text


def describe(scan: NativeScan, dialect: str, owner_dialect: str = "") -> str:
    """A statement that returns no row but every raw column of the scan's relation."""
    if scan.is_query:
        return f"SELECT * FROM ({trusted_text(scan.relation, owner_dialect or dialect)}\n) AS r LIMIT 0"
    return f"SELECT * FROM {_table(scan.relation).sql(dialect=dialect, identify=True)} LIMIT 0"


def _table(name: str) -> exp.Table:
    """`table` or `schema.table`, quoted as it is written."""
    schema, _, table = name.rpartition(".")
    return exp.Table(
        this=exp.to_identifier(table, quoted=True),
        db=exp.to_identifier(schema, quoted=True) if schema else None,
    )


# --- SQLite ------------------------------------------------------------------------------------------


class SQLiteCompiler(Compiler):
    """SQLite: BINARY collation always named; ill-typed cells raise (`atoll_bad`) instead of taking part.

    Sums of integers that are delivered as decimals are exact whatever their size (`atoll_whole`).
    """

    dialect = "sqlite"

    def owner_text(self, text: str) -> str:
        """`"name"` becomes `` `name` ``: SQLite reads an unknown double-quoted name as a text literal."""
        out, end = [], 0
        for token in _tokens(text, self.dialect):
            if token.token_type == TokenType.IDENTIFIER and text[token.start] == '"':
                name = text[token.start + 1 : token.end].replace('""', '"').replace("`", "``")
                out += [text[end : token.start], f"`{name}`"]
                end = token.end + 1
        return "".join([*out, text[end:]])

    def comparable(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql(":c COLLATE BINARY", c=column) if type_.name == "varchar" else column

    def one_of(self, name: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        if type_.name == "double":
            return super().one_of(name, type_, values)
        key = self._next("k")
        self.params[key] = json.dumps([_sqlite_value(v) for v in values], ensure_ascii=False)
        left = self.comparable(self.column(name), name, type_)
        keys = exp.Placeholder(this=key)
        return [self.sql(':l IN (SELECT "j"."value" FROM JSON_EACH(:k) AS "j")', l=left, k=keys)]

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        name = self._next("p")
        self.params[name] = _sqlite_value(value)
        return exp.Placeholder(this=name)

    def group_key(self, key: GroupKey) -> exp.Expr:
        if key.function is not None:
            return self.date_part(key.function, key.column)
        type_ = self.scan.types[key.column]
        if key.form:
            shown = self.masked(key, self.comparable(self._typed(key.column, type_), key.column, type_))
            return self.sql(":c COLLATE BINARY", c=exp.Paren(this=shown)) if key.type.is_text else shown
        return self.comparable(self._typed(key.column, type_), key.column, type_)

    def aggregate(self, aggregate: Aggregate) -> exp.Expr:
        if aggregate.column is None or aggregate.function == "count":
            return super().aggregate(aggregate)
        type_ = self.scan.types[aggregate.column]
        inner = self.comparable(self._typed(aggregate.column, type_), aggregate.column, type_)
        if aggregate.type.name == "decimal":
            # SQLite's own sum ends in an error beyond 64 bits; those of the halves cannot reach them.
            return self.sql("ATOLL_WHOLE(SUM(:c >> 32), SUM(:c & 4294967295))", c=inner)
        return self.sql(f"{aggregate.function.upper()}(:c)", c=inner)

    def date_part(self, function: str, name: str) -> exp.Expr:
        day = self._typed(name, TrinoType("date"))
        if function == "quarter":
            return self.sql("(CAST(SUBSTRING(:c, 6, 2) AS INTEGER) + 2) / 3", c=day)
        start, length = {"year": (1, 4), "month": (6, 2)}[function]
        return self.sql(f"CAST(SUBSTRING(:c, {start}, {length}) AS INTEGER)", c=day)

    def _typed(self, name: str, type_: TrinoType) -> exp.Expr:
        """The column if its cell has the declared type, NULL for NULL, else an error naming the column."""
        column, text = self.column(name), exp.Literal.string(name)
        if type_.name == "date":
            good = self.sql("DATE(:c, '+0 days') IS :c", c=column)  # the shift makes 02-30 another day
        else:
            storage = "text" if type_.name == "varchar" else "integer"
            good = self.sql(f"TYPEOF(:c) = '{storage}'", c=column)
        return self.sql(
            "CASE WHEN :c IS NULL THEN NULL WHEN :good THEN :c ELSE ATOLL_BAD(:n) END",
            c=column,
            good=good,
            n=text,
        )


def _sqlite_value(value: Value) -> int | float | str:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    raise ValueError("SQLite has no exact form for this literal")


# --- PostgreSQL --------------------------------------------------------------------------------------

_POSTGRES_TYPES = {
    "boolean": "BOOLEAN",
    "decimal": "DECIMAL",
    "double": "DOUBLE PRECISION",
    "varchar": "TEXT",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
} | dict.fromkeys(_WHOLE_NUMBERS, "BIGINT")
_POSTGRES_INTEGERS = {"int2": ("SMALLINT", 15), "int4": ("INT", 31), "int8": ("BIGINT", 63)}
_BINARY_COERCIBLE = ("text", "varchar")


class PostgresCompiler(Compiler):
    """PostgreSQL: COLLATE "C" wherever text has an order (R6), NaN never compares as a number.

    bind: parameters `$1`.. for psycopg; without it literals stand in the text, as ADBC's COPY path
    cannot bind. folding: the database has a nondeterministic collation, so equality needs "C" too.
    """

    dialect = "postgres"

    def __init__(
        self,
        scan: NativeScan,
        allowed: Capabilities,
        native_types: dict[str, str],
        *,
        bind: bool,
        folding: bool = False,
    ) -> None:
        super().__init__(scan, allowed, native_types)
        self._bind = bind
        self._folding = folding

    def output(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        native = self.native_types[name]
        # ADBC turns numeric into text itself, but takes five times as long as the server does.
        is_slow = native == "numeric" and not self._bind
        if is_slow or (type_.arrow() == pa.string() and native not in _BINARY_COERCIBLE):
            return self.sql("CAST(:c AS TEXT)", c=column)
        return column

    def comparable(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql(':c COLLATE "C"', c=self._text(name)) if type_.name == "varchar" else column

    def compare(self, predicate: Predicate, type_: TrinoType) -> list[exp.Expr]:
        name = predicate.column
        if type_.name == "varchar" and predicate.op in ("=", "<>"):
            return self._equality(predicate.op, name, self.value(predicate.values[0], type_))
        found = super().compare(predicate, type_)
        if type_.name == "double" and predicate.op in (">", ">="):
            found.append(self.sql(":c <> CAST('NaN' AS DOUBLE PRECISION)", c=self.column(name)))
        return found

    def one_of(self, name: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        if not self._bind:
            left = self._text(name) if type_.name == "varchar" else self.column(name)
            literals = [self.value(v, type_) for v in values]
            found: list[exp.Expr] = [exp.In(this=left, expressions=literals)]
            if type_.name == "varchar" and self._folding:
                exact = self.comparable(left, name, type_)
                found.append(exp.In(this=exact, expressions=[v.copy() for v in literals]))
            return found
        native = self.native_types[name]
        element = _POSTGRES_TYPES[type_.name]
        if native in _POSTGRES_INTEGERS:
            # An array of the column's very own type is hashed, of another one searched from end to end.
            element, bits = _POSTGRES_INTEGERS[native]
            values = [v for v in values if isinstance(v, int) and -(2**bits) <= v < 2**bits]
        elif native == "numeric":
            element, values = "DECIMAL", [Decimal(v) for v in values if isinstance(v, int | Decimal)]
        elif type_.name == "double":
            values = [float(v) for v in values if isinstance(v, int | float)]
        array = self.sql(f"ANY(CAST(:k AS {element}[]))", k=self._parameter(list(values)))
        if type_.name == "varchar":
            return self._equality("=", name, array)
        return [self.sql(":c = :a", c=self.column(name), a=array)]

    def masked(self, key: GroupKey, column: exp.Expr) -> exp.Expr:
        type_ = self.scan.types[key.column]
        shown = super().masked(key, self.comparable(column, key.column, type_))
        return self.sql(':c COLLATE "C"', c=exp.Paren(this=shown)) if key.type.is_text else shown

    def date_part(self, function: str, name: str) -> exp.Expr:
        return self.sql(f"CAST(EXTRACT({function.upper()} FROM :c) AS BIGINT)", c=self.column(name))

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        text = _plain_text(value)
        inner = self._parameter(text) if self._bind else exp.Literal.string(text)
        return self.sql(f"CAST(:v AS {_POSTGRES_TYPES[type_.name]})", v=inner)

    def _parameter(self, value: Any) -> exp.Expr:
        number = str(len(self.params) + 1)
        self.params[number] = value
        return exp.Parameter(this=exp.Literal.number(number))

    def _text(self, name: str) -> exp.Expr:
        """A text column; char(n), citext, enums and the like first become text, as they are delivered."""
        column = self.column(name)
        if self.native_types[name] in _BINARY_COERCIBLE:
            return column
        return self.sql("CAST(:c AS TEXT)", c=column)

    def _equality(self, op: str, name: str, right: exp.Expr) -> list[exp.Expr]:
        """Equality by bytes. Any deterministic collation gives it, and keeps the column's index in use."""
        plain = self.sql(f":c {op} :v", c=self._text(name), v=right)
        exact = self.sql(f':c COLLATE "C" {op} :v', c=self._text(name), v=right)
        if not self._folding:
            return [plain]
        return [exact] if op == "<>" else [plain, exact]


def _plain_text(value: Value) -> str:
    """A literal as text that a server casts to the column's type without loss."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return repr(value) if isinstance(value, float) else str(value)


# --- MariaDB -----------------------------------------------------------------------------------------


class AnsiMySQL(MySQL):
    """How a session in ANSI_QUOTES,NO_BACKSLASH_ESCAPES reads text: `"a"` is a name, `\\` a character."""

    class Tokenizer(MySQL.Tokenizer):
        QUOTES: ClassVar[Any] = ["'"]
        IDENTIFIERS: ClassVar[Any] = ['"', "`"]
        STRING_ESCAPES: ClassVar[Any] = ["'"]


_VALID_DAY = "DAYOFMONTH(:c) BETWEEN 1 AND DAYOFMONTH(LAST_DAY(:c)) AND YEAR(:c) > 0"
_EXACT_TEXT = "CAST(:c AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_nopad_bin"


class MariaDBCompiler(Compiler):
    """MariaDB: text compared by `utf8mb4_nopad_bin` (R7), zero dates read as NULL, decimals as text.

    No driver binds on the server's side here, so literals stand in the text: text as hexadecimal, which
    means the same under any sql_mode, numbers and dates in their own spelling. An equality on ASCII text is
    written twice, once plain so that the column's index is used, once exact; other text only once, for a
    column of another character set (latin1) refuses to be compared with what it cannot hold.
    """

    dialect = "mysql"
    owner_dialect = "ansimysql"

    def output(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        column = self._valid(name, type_)
        native = self.native_types[name]
        if native in ("decimal", "time"):
            return self.sql("CAST(:c AS CHAR)", c=column)
        if native == "bit":
            return self.sql("CAST(:c AS UNSIGNED)", c=column)
        return column

    def comparable(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql(_EXACT_TEXT, c=column) if type_.name == "varchar" else column

    def compare(self, predicate: Predicate, type_: TrinoType) -> list[exp.Expr]:
        column, op = self.column(predicate.column), predicate.op
        value = self.value(predicate.values[0], type_)
        if op == "=" and _is_ascii(predicate.values):
            plain = self.sql(":c = :v", c=column, v=value)
            return [plain, *super().compare(predicate, type_)]
        found = super().compare(predicate, type_)
        if type_.name in ("date", "timestamp"):
            found.append(self.sql(_VALID_DAY, c=column))
        return found

    def is_null(self, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql(":c IS NULL", c=self._valid(name, type_))

    def is_not_null(self, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql("NOT :c IS NULL", c=self._valid(name, type_))

    def one_of(self, name: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        # Spliced as text like the owner's own: sqlglot would need half a second for 10,000 literals.
        literals = ", ".join(_mariadb_literal(v, type_) for v in values)
        column = self.column(name)
        lefts: list[exp.Expr] = [column] if type_.name != "varchar" or _is_ascii(values) else []
        if type_.name == "varchar":
            lefts.append(self.comparable(column, name, type_))
        found: list[exp.Expr] = [
            exp.In(this=left, expressions=[exp.column(self._marker(literals), quoted=True)]) for left in lefts
        ]
        if type_.name in ("date", "timestamp"):
            found.append(self.sql(_VALID_DAY, c=column))
        return found

    def group_key(self, key: GroupKey) -> exp.Expr:
        type_ = self.scan.types[key.column]
        if key.function is not None:
            return self.sql(f"{key.function.upper()}(:c)", c=self._valid(key.column, type_))
        if key.form:
            shown = self.masked(key, self.comparable(self._valid(key.column, type_), key.column, type_))
            shown = self.sql(_EXACT_TEXT, c=shown) if key.type.is_text else shown
            return self.sql("CAST(:c AS CHAR)", c=shown) if key.type.name == "decimal" else shown
        inner = self.comparable(self._valid(key.column, type_), key.column, type_)
        return self.sql("CAST(:c AS CHAR)", c=inner) if self._is_decimal(key.column) else inner

    def aggregate(self, aggregate: Aggregate) -> exp.Expr:
        if aggregate.column is None:
            return self.sql("COUNT(*)")
        type_ = self.scan.types[aggregate.column]
        inner = self._valid(aggregate.column, type_)
        if aggregate.function in ("min", "max"):
            inner = self.comparable(inner, aggregate.column, type_)
        found = self.sql(f"{aggregate.function.upper()}(:c)", c=inner)
        if aggregate.function == "sum" or (aggregate.function != "count" and self._is_decimal(aggregate.column)):
            return self.sql("CAST(:c AS CHAR)", c=found)  # sums are decimals, of integers too
        return found

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        return sqlglot.parse_one(_mariadb_literal(value, type_), read=self.dialect)

    def _valid(self, name: str, type_: TrinoType) -> exp.Expr:
        """The column, with zero dates (0000-00-00, 2024-00-15) as NULL."""
        column = self.column(name)
        if type_.name in ("date", "timestamp"):
            return self.sql(f"CASE WHEN {_VALID_DAY} THEN :c END", c=column)
        return column

    def _is_decimal(self, name: str) -> bool:
        return self.native_types[name] == "decimal"


def _is_ascii(values: Sequence[Value]) -> bool:
    return all(isinstance(value, str) and value.isascii() for value in values)


def _mariadb_literal(value: Value, type_: TrinoType) -> str:
    if isinstance(value, str):
        return f"_utf8mb4 x'{value.encode().hex()}'"
    text = _plain_text(value)
    if isinstance(value, bool):
        return str(int(value))
    if type_.name == "date":
        return f"CAST('{text}' AS DATE)"
    if type_.name == "timestamp":
        return f"CAST('{text}' AS DATETIME(6))"
    if isinstance(value, float) and "e" not in text:
        return f"{text}e0"  # 0.1 alone is a decimal
    return text


# --- DuckDB ------------------------------------------------------------------------------------------


class DuckDBCompiler(Compiler):
    """DuckDB (files, snapshots): keys are a registered Arrow table, NaN never compares as a number."""

    dialect = "duckdb"

    def compare(self, predicate: Predicate, type_: TrinoType) -> list[exp.Expr]:
        found = super().compare(predicate, type_)
        if type_.name == "double" and predicate.op in (">", ">="):
            found.append(self.sql("NOT ISNAN(:c)", c=self.column(predicate.column)))
        return found

    def one_of(self, name: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        table = self._next("atoll_keys_")
        self.key_tables[table] = _key_array(values, type_)
        keys = exp.Select().select(exp.column("k", table="j", quoted=True))
        alias = exp.TableAlias(this=exp.to_identifier("j", quoted=True))
        named = _table(table)
        named.set("alias", alias)
        return [exp.In(this=self.column(name), query=exp.Subquery(this=keys.from_(named)))]

    def date_part(self, function: str, name: str) -> exp.Expr:
        return self.sql(f"{function.upper()}(:c)", c=self.column(name))

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        name = self._next("p")
        self.params[name] = _plain_text(value) if type_.name in _DUCKDB_CASTS else value
        parameter = exp.Placeholder(this=name)
        cast = _DUCKDB_CASTS.get(type_.name)
        return self.sql(f"CAST(:v AS {cast})", v=parameter) if cast else parameter


def _key_array(values: Sequence[Value], type_: TrinoType) -> pa.Array:
    """Keys in a type wide enough for all of them; a decimal that the column cannot hold matches nothing."""
    if type_.name in _WHOLE_NUMBERS:
        return pa.array(values, pa.int64())
    if type_.name != "decimal":
        return pa.array(values, type_.arrow())
    wide = Context(prec=100)
    unit, limit = Decimal(1).scaleb(-type_.args[1]), Decimal(10) ** (type_.args[0] - type_.args[1])
    exact = [Decimal(v) for v in values if not isinstance(v, str | date)]
    fitting = [v for v in exact if abs(v) < limit and not wide.remainder(v, unit)]
    return pa.array(fitting, type_.arrow())


_DUCKDB_CASTS = {"date": "DATE", "timestamp": "TIMESTAMP"}
