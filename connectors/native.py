"""A `NativeScan` -> the SQL text and parameters for one source, exactly as Trino would mean it.

Everything atoll adds around the owner's text is built from templates parsed by sqlglot in the source's
own dialect, emitted with every identifier quoted, and parsed again: the tree must come back equal.
The owner's trusted text stands in that check as a placeholder with a random name, and is spliced in
last. One class a dialect holds the rules (R6, R7, ..) that make comparison and order mean the same.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import secrets
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache, partial, reduce
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from catalog.duck.typing import decimal_of
from catalog.exchange import KEY_COLUMNS, key_parts
from catalog.types import UNBOUNDED, VARCHAR, TrinoType
from connectors.allowed import (
    are_whole,
    check,
    check_values,
    columns_asked,
    columns_read,
    fitted,
    named,
    result_of,
)
from connectors.base import (
    Aggregate,
    AllOf,
    AnyOf,
    Arithmetic,
    Blank,
    Capabilities,
    Case,
    Comparison,
    Computed,
    Condition,
    Exists,
    Expression,
    GroupKey,
    Like,
    NativeScan,
    NotIn,
    Number,
    Order,
    Predicate,
    Scalar,
    Value,
)
from connectors.once import NAME, read_once
from connectors.total import Kind, Outputs, outputs

__all__ = [
    "Compiled",
    "Compiler",
    "DuckDBCompiler",
    "Filling",
    "Hole",
    "MariaDBCompiler",
    "PostgresCompiler",
    "SQLiteCompiler",
    "commented",
    "describe",
    "trusted_text",
]

_WHOLE_NUMBERS = ("tinyint", "smallint", "integer", "bigint")


@dataclass(frozen=True)
class Compiled:
    """Text for a driver. params: by name. key_tables: arrays that DuckDB must register under a name.

    wires: the source's own type of each column that it sends, where the statement says so.
    """

    sql: str
    params: dict[str, Any] = field(default_factory=dict)
    key_tables: dict[str, pa.Array] = field(default_factory=dict)
    wires: tuple[str, ...] = ()


def commented(sql: str, query_id: str) -> str:
    """A statement under its question's name, by which owners find it in their own monitoring."""
    return f"/* atoll:{query_id} */ {sql}" if query_id else sql


# --- the owner's text -------------------------------------------------------------------------------


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


@lru_cache(maxsize=256)
def _read(text: str, dialect: str) -> exp.Expr:
    """A statement's tree, which nobody may change. Where values are parameters, the same texts come again and again."""
    return sqlglot.parse_one(text, read=dialect)


Hole = Callable[[Any], str]
"""Writes whole numbers as a literal: those of a set of keys, or of rows of such, or a list."""
Filling: TypeAlias = "pa.Array | tuple[Value, ...]"
"""What a hole is filled with: a set of keys, or whole numbers, for which there may be blanks."""
Natives = Callable[[NativeScan], Mapping[str, str]]
"""Of a scan over an owner's text: raw column -> the source's own type name, where the source told it."""
Totals = Callable[[NativeScan], Outputs]
"""Of a scan over an owner's text: which of its columns are an error of no row."""


class Compiler:
    """Rules that hold in every dialect; subclasses say where theirs differs.

    A compiler stands for one scan; those of the scans inside share its parameters and the owner's texts.
    types, native_types: of the columns in sight. spelled: columns whose keys stand in the text, not in a hole.

    The fence: what asks anything of a column that may be an error (`total`), of a row that the owner's text or filter
    leaves out, is asked of the rows that they leave. No source moves a condition into a SELECT with a LIMIT.
    """

    dialect: ClassVar[str]
    owner_dialect: ClassVar[str]
    all_rows: ClassVar[str] = "9223372036854775807"
    """A LIMIT that is none."""
    computes_first: ClassVar[bool] = False
    """Whether what a SELECT computes is computed before a filter around it that asks other tables."""

    def __init_subclass__(cls) -> None:
        if "owner_dialect" not in cls.__dict__:
            cls.owner_dialect = cls.dialect

    def __init__(
        self,
        scan: NativeScan,
        allowed: Capabilities,
        natives: Natives | None = None,
        totals: Totals | None = None,
    ) -> None:
        check(scan, allowed)
        self.params: dict[str, Any] = {}
        self.key_tables: dict[str, pa.Array] = {}
        self.wires: list[str] = []
        self.spelled: list[tuple[str, ...]] = []
        self._natives = natives
        self._totals = totals or partial(outputs, dialect=self.owner_dialect)
        self._nonce = secrets.token_hex(8)
        self._splices: dict[str, str] = {}
        self._holes: dict[str, tuple[Filling, Hole]] = {}
        self._aliases = itertools.count()
        self._enter(scan, None)

    def compile(self) -> Compiled:
        """The whole statement. Raises ValueError if it cannot be built, or would not read back the same."""
        sql = "".join(p if isinstance(p, str) else p[1](p[0]) for p in self.pieces())
        return Compiled(commented(sql, self.scan.query_id), self.params, self.key_tables, tuple(self.wires))

    def pieces(self) -> list[str | tuple[Filling, Hole]]:
        """The text of the statement without its comment, apart from what fills its holes: keys, and blanks."""
        text = self._splice(self._emit(self._select(delivering=True)))
        holes = {self._quoted(marker): hole for marker, hole in self._holes.items()}
        if not holes:
            return [text]
        found = re.split(f"({'|'.join(map(re.escape, holes))})", text)
        if not holes.keys() <= set(found):
            raise ValueError("a hole has no place in the statement")
        return [holes.get(part, part) for part in found]

    def _within(self, scan: NativeScan, around: Self | None) -> Self:
        """The compiler of a scan inside this one. around: whose columns it may name, None for nobody's."""
        inner = copy.copy(self)
        inner._enter(scan, around, True)
        return inner

    def _fence_of(self, scan: NativeScan, within: bool) -> Container[str] | None:
        """The columns, of a scan over an owner's text, of which conditions stand inside its fence; None without one.

        Of what is computed before all rows are left that will be, it is all that are there, or none: the question
        chooses none of them.
        """
        totals = self._totals(scan)
        read, asked = columns_read(scan), columns_asked(scan)
        worst = max(map(totals.kind, read), default=Kind.TOTAL)
        early = worst == Kind.EARLY or (
            worst == Kind.LATE and self.computes_first and any(map(_asks, scan.row_filters))
        )
        if not (worst if within else (early and asked) or not all(map(totals.is_total, asked))):
            return None
        return () if early else {column for column in asked if totals.is_total(column)}

    def _enter(self, scan: NativeScan, around: Self | None, within: bool = False) -> None:
        """within: another scan may ask for what this one delivers."""
        self.scan = scan
        self._fence = self._fence_of(scan, within) if isinstance(scan.relation, str) else None
        self._parts: list[tuple[str, Self]] = []
        homes = dict.fromkeys(scan.types, "r")
        if isinstance(scan.relation, str):
            natives = self._natives(scan) if self._natives is not None else {}
        else:
            self._parts = [(f"p{next(self._aliases)}", self._within(part, None)) for part in scan.relation]
            homes = {name: alias for alias, part in self._parts for name, _ in part.scan.outputs}
            natives = {name: kind for _, part in self._parts for name, kind in part._delivered().items()}
        self._homes: Mapping[str, str] = {**around._homes, **homes} if around else homes
        self.types: Mapping[str, TrinoType] = {**around.types, **scan.types} if around else scan.types
        self.native_types: Mapping[str, str] = {**around.native_types, **natives} if around else natives

    def _delivered(self) -> dict[str, str]:
        """Name -> the source's own type of what this scan delivers to the one around it, where it is known."""
        if self._natives is None:
            return {}
        found = {o.name: self.native_types[o.column] for o in self.scan.columns}
        for key in self.scan.group_by:
            bare = key.is_plain and not key.type.is_text
            found[key.name] = self.native_types[key.column] if bare else self.native_of(key.type)
        return found | {a.name: self.native_of(a.type, a.function == "sum") for a in self.scan.aggregates}

    def _select(self, delivering: bool = False) -> exp.Select:
        """delivering: to the agent, in the form that `cells` reads; else to the scan around this one."""
        scan = self.scan
        forms = []
        for column in scan.columns:
            plain = self.column(column.column)
            forms.append(self.output(plain, column.column, column.type) if delivering else plain)
        for key in scan.group_by:
            forms.append(self.key_output(self.key_form(key), key) if delivering else self.key_form(key))
        for aggregate in scan.aggregates:
            value = self.aggregate(aggregate)
            forms.append(self.aggregate_output(value, aggregate) if delivering else value)
        names = (exp.to_identifier(name, quoted=True) for name, _ in scan.outputs)
        select = exp.Select().select(*map(exp.alias_, forms, names), copy=False)
        self._from(select)
        conditions = self._conditions()
        if conditions:
            select = select.where(*conditions, copy=False)
        if scan.group_by:
            ordinals = [exp.Literal.number(i + 1) for i in range(len(scan.group_by))]
            select = select.group_by(*ordinals, *self.told_apart(), copy=False)
        for order in scan.order:
            select = select.order_by(*self.order(order), copy=False)
        if scan.ties:
            how = exp.LimitOptions(percent=False, rows=True, with_ties=True)
            count = exp.Literal.number(scan.limit)
            select.set("limit", exp.Fetch(direction="FIRST", count=count, limit_options=how))
        elif scan.limit is not None:
            select = select.limit(exp.Literal.number(scan.limit), copy=False)
        return select

    # -- what a dialect may change

    def output(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        """The expression that delivers a column so that `cells` can type it exactly."""
        return column

    def key_output(self, form: exp.Expr, key: GroupKey) -> exp.Expr:
        """A grouping key as `cells` reads it."""
        return form

    def aggregate_output(self, form: exp.Expr, aggregate: Aggregate) -> exp.Expr:
        """An aggregate as `cells` reads it."""
        return form

    def told_apart(self) -> list[exp.Expr]:
        """What else to group by, so that different keys are different groups."""
        return []

    def native_of(self, type_: TrinoType, is_sum: bool = False) -> str:
        """The source's own type of what it computed, by the name that it has among `native_types`."""
        return ""

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

    def one_of_numbers(self, name: str, type_: TrinoType, keys: pa.Array) -> list[exp.Expr]:
        """The same of whole numbers, of which there may be 100,000: no object is made of each where that can be."""
        return self.one_of(name, type_, keys.to_pylist())

    def among(self, columns: Sequence[str], parts: Sequence[Sequence[Value]]) -> list[exp.Expr]:
        """`(columns) IN (keys)`, at least one key. parts: the values for each column, key by key."""
        raise NotImplementedError

    def among_numbers(self, columns: Sequence[str], keys: pa.Array) -> list[exp.Expr]:
        """The same of whole numbers. keys: structs."""
        return self._among_parts(columns, keys)

    def comparison(self, comparison: Comparison) -> list[exp.Expr]:
        """`column op column` as conditions that hold together."""
        left, right = (self.comparable(self.column(c), c, self.types[c]) for c in (comparison.left, comparison.right))
        return [self.sql(f":l {comparison.op} :r", l=left, r=right)]

    def like(self, like: Like) -> exp.Expr:
        left = self.comparable(self.column(like.column), like.column, VARCHAR)
        return self.sql(self.like_form, c=left, p=self.value(like.pattern, VARCHAR))

    like_form: ClassVar[str] = ":c LIKE :p"

    def any_of(self, condition: AnyOf) -> exp.Expr:
        return exp.Paren(this=exp.or_(*(self._all([part]) for part in condition.parts), copy=False))

    def order(self, order: Order) -> list[exp.Expr]:
        """What stands in ORDER BY, so that the order is Trino's."""
        column = self.comparable(self.column(order.column), order.column, self.types[order.column])
        words = f"{'DESC' if order.descending else 'ASC'} NULLS {'FIRST' if order.nulls_first else 'LAST'}"
        return list(self.sql(f"SELECT 1 ORDER BY :c {words}", c=column).args["order"].expressions)

    def computed(self, condition: Computed) -> exp.Expr:
        left, right = self.expression(condition.left), self.expression(condition.right)
        return self.sql(f":l {condition.op} :r", l=left, r=right)

    def number(self, name: str) -> exp.Expr:
        """A column of exact numbers, to be computed with."""
        return self.column(name)

    def arithmetic(self, value: Arithmetic) -> exp.Expr:
        left, right = self.expression(value.left), self.expression(value.right)
        return exp.Paren(this=self.sql(f":l {value.op} :r", l=left, r=right))

    def key_form(self, key: GroupKey) -> exp.Expr:
        if key.truth is None:
            return self.group_key(key)
        cases = [(key.truth.holds, "TRUE"), (key.truth.fails, "FALSE")]
        return exp.Case(ifs=[exp.If(this=self._all([when]), true=self.sql(value)) for when, value in cases])

    def group_key(self, key: GroupKey) -> exp.Expr:
        """A key that has a column."""
        type_ = self.types[key.column]
        if key.form:
            return self.masked(key, self.column(key.column))
        if key.function is None:
            return self.comparable(self.column(key.column), key.column, type_)
        return self.date_part(key.function, key.column)

    def masked(self, key: GroupKey, column: exp.Expr) -> exp.Expr:
        """What the mask shows of the column; text with the comparison that tells all texts apart."""
        return self.sql(key.form, c=self.fitting(key.column, column))

    def fitting(self, name: str, column: exp.Expr) -> exp.Expr:
        """A column that is masked: NULL where a cell does not fit its type, for a mask is an error of none."""
        type_ = self.types[name]
        if type_.is_text and type_.args and type_.args[0] != UNBOUNDED:
            return self.sql(f"CASE WHEN {self.length_form} <= {type_.args[0]} THEN :c END", c=column)
        bounds = _bounds(type_)
        if bounds is None:
            return column
        least, most = (self.value(bound, type_) for bound in bounds)
        return self.sql("CASE WHEN :c >= :l AND :c <= :m THEN :c END", c=column, l=least, m=most)

    length_form: ClassVar[str] = "CHAR_LENGTH(:c)"

    def date_part(self, function: str, name: str) -> exp.Expr:
        raise NotImplementedError

    def aggregate(self, aggregate: Aggregate) -> exp.Expr:
        if aggregate.value is None:
            return self.sql("COUNT(*)")
        if aggregate.function == "avg":
            values = self.aggregated(aggregate)
            return self.average(self.sql("SUM(:c)", c=values), self.sql("COUNT(:c)", c=values), aggregate.type)
        words = "DISTINCT " if aggregate.distinct else ""
        return self.sql(f"{aggregate.function.upper()}({words}:c)", c=self.aggregated(aggregate))

    def average(self, total: exp.Expr, count: exp.Expr, type_: TrinoType) -> exp.Expr:
        """total / count of decimals, rounded half away from zero at their scale, as exactly as whole numbers are; NULL
        for no value: twice as many units as there are and one half, cut off at a whole number."""
        twice, unit = exp.Literal.number(2 * 10 ** type_.args[1]), exp.Literal.number(_unit(type_))
        return self.sql(self.average_form, s=total, n=count, t=twice, u=unit)

    average_form: ClassVar[str] = ""

    def aggregated(self, aggregate: Aggregate) -> exp.Expr:
        """What stands inside an aggregate."""
        value = aggregate.value
        if not isinstance(value, str):
            return self.expression(value)
        column = self.column(value)
        return self.comparable(column, value, self.types[value]) if aggregate.function in ("min", "max") else column

    def expression(self, value: Expression | None) -> exp.Expr:
        match value:
            case str():
                return self.number(value)
            case Number():
                return self.value(value.value, value.type)
            case Arithmetic():
                return self.arithmetic(value)
            case Case():
                return self.case(value)
        raise ValueError("no expression")

    def _kind(self, value: Expression) -> TrinoType:
        return self.types[value] if isinstance(value, str) else value.type

    def case(self, value: Case) -> exp.Expr:
        branch = exp.If(this=self._all([value.when]), true=self.expression(value.then))
        otherwise = None if value.otherwise is None else self.expression(value.otherwise)
        return exp.Case(ifs=[branch], default=otherwise)

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

    def column(self, name: str) -> exp.Expr:
        return exp.column(name, table=self._homes[name], quoted=True)

    def _next(self, prefix: str) -> str:
        return f"{prefix}{len(self.params) + len(self.key_tables) + 1}"

    def _from(self, select: exp.Select) -> None:
        """Give the SELECT what it reads: the owner's text as `r`, or other scans as `p0`, `p1`, .."""
        if self._parts:
            read: list[exp.Expr] = [_named(part._select(), alias) for alias, part in self._parts]
        elif self._fence is not None:
            read = [self._fenced(self._fence)]
        else:
            read = [self._relation()]
        select.from_(read[0], copy=False)
        for other in read[1:]:
            # Not a comma, which dialects read in ways of their own; WHERE says how they meet.
            select.append("joins", exp.Join(this=other, on=self.sql("1 = 1")))

    def _relation(self) -> exp.Expr:
        relation = self.scan.relation
        assert isinstance(relation, str)
        if self.scan.is_query:
            marker = self._owner_marker(relation)
            return _named(exp.Select().select(exp.alias_(exp.Literal.number(1), marker, quoted=True)), "r")
        table = _table(relation)
        table.set("alias", exp.TableAlias(this=exp.to_identifier("r", quoted=True)))
        return table

    def _fenced(self, inside: Container[str]) -> exp.Expr:
        """The owner's rows as `r`, without those that fail a condition on these columns."""
        select = exp.Select().select(exp.Star(), copy=False).from_(self._relation(), copy=False)
        conditions = [*self._filters(), *self._asked(lambda columns: all(c in inside for c in columns))]
        if conditions:
            select = select.where(*conditions, copy=False)
        return _named(select.limit(exp.Literal.number(self.all_rows), copy=False), "r")

    def _filters(self) -> list[exp.Expr]:
        """The owner's conditions."""
        markers = map(self._owner_marker, self.scan.row_filters)
        return [exp.Paren(this=exp.column(marker, quoted=True)) for marker in markers]

    def _conditions(self) -> list[exp.Expr]:
        if self._fence is None:
            return [*self._filters(), *self._asked(lambda _: True)]
        inside = self._fence
        return self._asked(lambda columns: not all(c in inside for c in columns))

    def _asked(self, wanted: Callable[[Collection[str]], bool]) -> list[exp.Expr]:
        """The scan's conditions, as far as they are wanted. wanted: by the columns of what it reads."""
        found: list[exp.Expr] = []
        for condition in sorted(self.scan.predicates, key=self._cost):
            if wanted(set(named(condition)) & self.scan.types.keys()):
                found += self._condition(condition)
        for columns, keys in self.scan.keys:
            if not wanted(columns):
                continue
            before = len(self._holes)
            found += self._among(columns, keys)
            if len(self._holes) == before:
                self.spelled.append(columns)
        return found

    def _among(self, columns: tuple[str, ...], keys: pa.Array) -> list[exp.Expr]:
        """The columns together are one of the keys."""
        if len(columns) == 1:
            name, type_ = columns[0], self.types[columns[0]]
            if type_.is_integer and are_whole(keys) and len(keys):
                return self.one_of_numbers(name, type_, keys)
            return self._one_of(name, type_, keys.to_pylist())
        if all(self.types[c].is_integer for c in columns) and are_whole(keys) and len(keys):
            return self.among_numbers(columns, keys)
        return self._among_parts(columns, keys)

    def _among_parts(self, columns: Sequence[str], keys: pa.Array) -> list[exp.Expr]:
        parts = [part.to_pylist() for part in keys.flatten()]
        for column, values in zip(columns, parts, strict=True):
            check_values(values, self.types[column], column)
        return self.among(columns, parts) if len(keys) else [self.sql("1 = 0")]

    def _cost(self, condition: Condition) -> int:
        """What a condition costs a row, roughly: sources ask those of one scan as they are written, until one fails.

        TPC-H's q12 takes PostgreSQL a fifth less when it compares dates before texts. None of them can raise an error.
        """
        match condition:
            case Predicate(column=column):
                kind = self.types[column]
                return 3 if kind.is_text else 2 if kind.name == "decimal" else len(condition.values) > 1
            case Comparison(left=left):
                return 4 if self.types[left].is_text else 2
            case Computed():
                return 4
            case Scalar():
                return 2  # it is asked for once
            case Like():
                return 5
            case AllOf(parts) | AnyOf(parts):
                return 1 + max(map(self._cost, parts))
        return 20

    def _condition(self, condition: Condition) -> list[exp.Expr]:
        """Conditions that hold together."""
        match condition:
            case Predicate():
                return self._predicate(condition)
            case Comparison():
                return self.comparison(condition)
            case Like():
                return [exp.Not(this=self.like(condition)) if condition.negated else self.like(condition)]
            case AllOf(parts):
                return [one for part in parts for one in self._condition(part)]
            case AnyOf():
                return [self.any_of(condition)]
            case Exists():
                return [self._exists(condition)]
            case NotIn(column, part):
                asked = exp.Subquery(this=self._within(part, None)._select())
                left = self.comparable(self.column(column), column, self.types[column])
                return [exp.Not(this=exp.In(this=left, query=asked))]
            case Scalar(column, op, part):
                asked = exp.Subquery(this=self._within(part, None)._select())
                return [self.sql(f":l {op} :r", l=self.column(column), r=asked)]
            case Computed():
                return [self.computed(condition)]

    def _all(self, conditions: Sequence[Condition]) -> exp.Expr:
        return exp.and_(*(one for c in conditions for one in self._condition(c)), copy=False)

    def _exists(self, condition: Exists) -> exp.Expr:
        types = {name: kind for part in condition.parts for name, kind in part.outputs}
        asked = NativeScan(condition.parts, False, types, predicates=condition.conditions)
        inner = self._within(asked, self)
        select = exp.Select().select(exp.Literal.number(1), copy=False)
        inner._from(select)
        select.where(*inner._conditions(), copy=False)
        found = exp.Exists(this=select)
        return exp.Not(this=found) if condition.negated else found

    def _predicate(self, predicate: Predicate) -> list[exp.Expr]:
        type_ = self.types[predicate.column]
        match predicate.op:
            case "is null":
                return [self.is_null(predicate.column, type_)]
            case "is not null":
                return [self.is_not_null(predicate.column, type_)]
            case "in":
                return self._one_of(predicate.column, type_, predicate.values)
        return self.compare(predicate, type_)

    def _one_of(self, column: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        check_values(values, type_, column)
        return self.one_of(column, type_, values) if values else [self.sql("1 = 0")]

    def _marker(self, text: str) -> str:
        """A name that stands for `text`, the owner's or a long literal, until the statement has been checked."""
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
            again = (_read.__wrapped__ if self._splices or self._holes else _read)(text, self.dialect)
        except SqlglotError as bad:
            raise ValueError("the scan has no exact form in this dialect") from bad
        if again != tree:
            raise ValueError("the scan's text does not read back as the same statement")
        return text

    def _hole(self, filling: Filling, write: Hole) -> exp.Column:
        """What stands for numbers until the statement has been checked. write: gives digits, signs and commas alone."""
        marker = f"numbers_{len(self._holes)}_{self._nonce}"
        self._holes[marker] = filling, write
        return exp.column(marker, quoted=True)

    def _quoted(self, marker: str) -> str:
        return f"`{marker}`" if self.dialect == "mysql" else f'"{marker}"'

    def _splice(self, text: str) -> str:
        for marker, owner in self._splices.items():
            name = self._quoted(marker)
            whole = f"SELECT 1 AS {name}"
            place = whole if whole in text else name
            before, found, after = text.partition(place)
            if not found:
                raise ValueError("the owner's text has no place in the statement")
            text = f"{before}{owner}\n{after}"
        return text


def _listed(keys: pa.Array) -> str:
    """Whole numbers as a text, a comma between them."""
    texts = pa.ListArray.from_arrays([0, len(keys)], keys.cast(pa.string()))
    return str(pc.binary_join(texts, ",")[0].as_py())


def _in_order(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:d}" for number in numbers)


def _quoted_one(numbers: Sequence[int]) -> str:
    (number,) = numbers
    return f"'{number:d}'"


def _quoted_array(bits: int, numbers: Sequence[int]) -> str:
    """As PostgreSQL's array, without numbers of more bits than its column."""
    return f"'{{{','.join(f'{number:d}' for number in numbers if -(2**bits) <= number < 2**bits)}}}'"


def _array_of(bits: tuple[int, ...], place: int, keys: pa.Array) -> str:
    """The keys' part at a place, as PostgreSQL's array, without keys of which a part has more bits than its column."""
    parts = [part.cast(pa.int64()) for part in key_parts(keys)]
    within = [
        pc.and_(pc.greater_equal(part, -(2**most)), pc.less_equal(part, 2**most - 1))
        for part, most in zip(parts, bits, strict=True)
    ]
    return f"'{{{_listed(parts[place].filter(reduce(pc.and_, within)))}}}'"


def _rows_of(keys: pa.Array) -> str:
    """Rows of whole numbers, each in parentheses."""
    rows = pc.binary_join_element_wise(*(part.cast(pa.string()) for part in keys.flatten()), ",")
    return f"({pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], rows), '),(')[0].as_py()})"


def _unit(type_: TrinoType) -> str:
    """The smallest number of a decimal type that is not 0."""
    return format(Decimal(1).scaleb(-type_.args[1]), "f")


def describe(scan: NativeScan, dialect: str, owner_dialect: str = "") -> str:
    """A statement that returns no row but every raw column of the relation of a scan over an owner's text."""
    assert isinstance(scan.relation, str)
    if scan.is_query:
        return f"SELECT * FROM ({trusted_text(scan.relation, owner_dialect or dialect)}\n) AS r LIMIT 0"
    return f"SELECT * FROM {_table(scan.relation).sql(dialect=dialect, identify=True)} LIMIT 0"


def _bounds(type_: TrinoType) -> tuple[Value, Value] | None:
    """The least and the greatest value of a type of numbers or days."""
    match type_.name:
        case "date":
            return date.min, date.max
        case "timestamp":
            return datetime.min, datetime.max
        case "decimal":
            digits, scale = type_.args
            nines = (9,) * digits
            return Decimal((1, nines, -scale)), Decimal((0, nines, -scale))
    bits = {"tinyint": 7, "smallint": 15, "integer": 31}.get(type_.name)
    return None if bits is None else (-(2**bits), 2**bits - 1)


@lru_cache(maxsize=512)
def _asks(row_filter: str) -> bool:
    """Whether an owner's filter asks other rows, as far as its words tell."""
    return any(token.token_type in (TokenType.SELECT, TokenType.FROM) for token in _tokens(row_filter, "duckdb"))


def _named(select: exp.Select, alias: str) -> exp.Subquery:
    return exp.Subquery(this=select, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


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
    length_form = "LENGTH(:c)"

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

    def among(self, columns: Sequence[str], parts: Sequence[Sequence[Value]]) -> list[exp.Expr]:
        key = self._next("k")
        self.params[key] = json.dumps([[_sqlite_value(v) for v in row] for row in zip(*parts, strict=True)])
        lefts = [self.comparable(self.column(c), c, self.types[c]) for c in columns]
        places = [self.sql(f"""JSON_EXTRACT("j"."value", '$[{i}]')""") for i in range(len(columns))]
        keys = self.sql('SELECT 1 FROM JSON_EACH(:k) AS "j"', k=exp.Placeholder(this=key))
        assert isinstance(keys, exp.Select)
        return [exp.In(this=exp.Tuple(expressions=lefts), query=exp.Subquery(this=keys.select(*places, append=False)))]

    def comparison(self, comparison: Comparison) -> list[exp.Expr]:
        """Of cells of their types: an ill-typed one compares with nothing.

        It is no error, as what is computed for a group is: WHERE may be asked of a row that the owner's filter hides.
        """
        good = [self._good(c, self.types[c]) for c in (comparison.left, comparison.right)]
        return [*super().comparison(comparison), *good]

    like_form = ":c GLOB :p"

    def like(self, like: Like) -> exp.Expr:
        """As GLOB, which tells upper and lower case apart; LIKE would need a setting that owner views see too."""
        return super().like(replace(like, pattern=_glob(like.pattern)))

    def number(self, name: str) -> exp.Expr:
        return self._typed(name, self.types[name])

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        name = self._next("p")
        self.params[name] = _sqlite_value(value)
        return exp.Placeholder(this=name)

    def group_key(self, key: GroupKey) -> exp.Expr:
        if key.function is not None:
            return self.date_part(key.function, key.column)
        type_ = self.types[key.column]
        if key.form:
            shown = self.masked(key, self.comparable(self.column(key.column), key.column, type_))
            return self.sql(":c COLLATE BINARY", c=exp.Paren(this=shown)) if key.type.is_text else shown
        return self.comparable(self._typed(key.column, type_), key.column, type_)

    def aggregate(self, aggregate: Aggregate) -> exp.Expr:
        if aggregate.type.name == "decimal" and aggregate.function == "sum":
            # SQLite's own sum ends in an error beyond 64 bits; those of the halves cannot reach them.
            return self.sql("ATOLL_WHOLE(SUM(:c >> 32), SUM(:c & 4294967295))", c=self.aggregated(aggregate))
        return super().aggregate(aggregate)

    def aggregated(self, aggregate: Aggregate) -> exp.Expr:
        value = aggregate.value
        if not isinstance(value, str) or aggregate.function == "count":
            return super().aggregated(aggregate)
        return self.comparable(self._typed(value, self.types[value]), value, self.types[value])

    def date_part(self, function: str, name: str) -> exp.Expr:
        day = self._typed(name, TrinoType("date"))
        if function == "quarter":
            return self.sql("(CAST(SUBSTRING(:c, 6, 2) AS INTEGER) + 2) / 3", c=day)
        start, length = {"year": (1, 4), "month": (6, 2)}[function]
        return self.sql(f"CAST(SUBSTRING(:c, {start}, {length}) AS INTEGER)", c=day)

    def _typed(self, name: str, type_: TrinoType) -> exp.Expr:
        """The column if its cell has the declared type, NULL for NULL, else an error naming the column."""
        return self.sql(
            "CASE WHEN :c IS NULL THEN NULL WHEN :good THEN :c ELSE ATOLL_BAD(:n) END",
            c=self.column(name),
            good=self._good(name, type_),
            n=exp.Literal.string(name),
        )

    def fitting(self, name: str, column: exp.Expr) -> exp.Expr:
        good = self._good(name, self.types[name])
        typed = self.sql("CASE WHEN :good THEN :c END", good=good, c=column)
        return typed if self.types[name].name == "date" else super().fitting(name, typed)

    def _good(self, name: str, type_: TrinoType) -> exp.Expr:
        """Whether a cell that is not NULL has the declared type."""
        if type_.name == "date":
            return self.sql("DATE(:c, '+0 days') IS :c", c=self.column(name))  # the shift makes 02-30 another day
        storage = "text" if type_.name == "varchar" else "integer"
        return self.sql(f"TYPEOF(:c) = '{storage}'", c=self.column(name))


def _glob(pattern: str) -> str:
    """A LIKE pattern as GLOB's."""
    return "".join({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}.get(c, c) for c in pattern)


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
    "timestamp with time zone": "TIMESTAMPTZ",
} | dict.fromkeys(_WHOLE_NUMBERS, "BIGINT")
_POSTGRES_INTEGERS = {"int2": ("SMALLINT", 15), "int4": ("INT", 31), "int8": ("BIGINT", 63)}
_POSTGRES_WIRES = {
    "numeric": "DECIMAL",
    "float4": "REAL",
    "float8": "DOUBLE PRECISION",
    "bool": "BOOLEAN",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "bytea": "BYTEA",
    "text": "TEXT",
} | {native: words for native, (words, _) in _POSTGRES_INTEGERS.items()}
"""As which types it sends columns, every other one as text: its own name -> how a cast spells it."""
_POSTGRES_NATIVES = {
    "boolean": "bool",
    "decimal": "numeric",
    "double": "float8",
    "real": "float4",
    "varchar": "text",
    "timestamp with time zone": "timestamptz",
} | dict.fromkeys(_WHOLE_NUMBERS, "int8")
_BINARY_COERCIBLE = ("text", "varchar")
SHORT_LIST = 50
"""Literals that stand one by one; more are one array."""


class PostgresCompiler(Compiler):
    """PostgreSQL: COLLATE "C" wherever text has an order (R6), NaN never compares as a number.

    bind: parameters `$1`..; without it literals stand in the text, as COPY has no parameters. folding: the database
    has a nondeterministic collation, so equality needs "C" too. hides: lists of whole numbers from the server's
    planner, which looks at each of them, and takes them for ten then. once: read once what is read twice for the same
    keys, if anything is.
    """

    dialect = "postgres"

    def __init__(
        self,
        scan: NativeScan,
        allowed: Capabilities,
        natives: Natives,
        *,
        bind: bool,
        folding: bool = False,
        hides: bool = False,
        once: bool = False,
        totals: Totals | None = None,
    ) -> None:
        self._bind = bind
        self._folding = folding
        self._hides = hides
        self._once = read_once(scan) if once else None
        self._guards = False
        super().__init__(scan, allowed, natives, totals)

    def _select(self, delivering: bool = False) -> exp.Select:
        select = super()._select(delivering)
        if self._once is None or not delivering:
            return select
        found = self._within(self._once.scan, None)._select()
        name = exp.TableAlias(this=exp.to_identifier(NAME, quoted=True))
        return select.with_(name, found, materialized=True, copy=False)

    def _relation(self) -> exp.Expr:
        if self._once is None or not self._once.is_read_by(self.scan):
            return super()._relation()
        return exp.alias_(_table(NAME), exp.to_identifier("r", quoted=True), table=True)

    def output(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        native = self.native_types[name]
        # Widened there: a look-up, which reads texts, would make 0.1 of what is 0.10000000149.
        return self._sent(column, "float8" if (native, type_.name) == ("float4", "double") else native)

    def key_output(self, form: exp.Expr, key: GroupKey) -> exp.Expr:
        bare = key.is_plain and not key.type.is_text
        return self._sent(form, self.native_types[key.column] if bare else self._computed(key.type))

    def aggregate_output(self, form: exp.Expr, aggregate: Aggregate) -> exp.Expr:
        if aggregate.function in ("min", "max") and isinstance(aggregate.value, str):
            return self._sent(form, self.native_types[aggregate.value])
        return self._sent(form, "int8" if aggregate.function == "count" else self._computed(aggregate.type))

    def _sent(self, form: exp.Expr, native: str) -> exp.Expr:
        """A value as the type as which it will be read, which it has, unless it is one that is read as text."""
        wire = native if native in _POSTGRES_WIRES else "text"
        self.wires.append(wire)
        return self.sql(f"CAST(:c AS {_POSTGRES_WIRES[wire]})", c=form)

    def _computed(self, type_: TrinoType) -> str:
        """As what a computed value is sent: whole numbers, which the server may have as numeric, without rounding."""
        return "numeric" if type_.is_integer else self.native_of(type_)

    def native_of(self, type_: TrinoType, is_sum: bool = False) -> str:
        return _POSTGRES_NATIVES.get(type_.name, type_.name)

    like_form = ":c LIKE :p ESCAPE ''"
    average_form = "SIGN(:s) * DIV(ABS(:s) * :t + :n, :n * 2) * :u"

    def arithmetic(self, value: Arithmetic) -> exp.Expr:
        found, kinds = super().arithmetic(value), (self._kind(value.left), self._kind(value.right))
        digits, scale = value.type.args
        if digits < 38 and result_of(value.op, *kinds) == value.type:
            return found  # it always fits
        return self.sql(f"CAST(:v AS DECIMAL({digits}, {scale}))", v=found)

    def computed(self, condition: Computed) -> exp.Expr:
        """Of numbers within their declared types alone: a hidden one of 70,000 digits would make a product an error."""
        guarded = copy.copy(self)
        guarded._guards = True
        return super(PostgresCompiler, guarded).computed(condition)

    def number(self, name: str) -> exp.Expr:
        column, type_ = super().number(name), self.types[name]
        if not self._guards or type_.name != "decimal":
            return column
        bound = "1" + "0" * (type_.args[0] - type_.args[1])
        return self.sql(f"CASE WHEN :c > -{bound} AND :c < {bound} THEN :c END", c=column)

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
        if not self._bind and len(values) <= SHORT_LIST:
            left = self._text(name) if type_.name == "varchar" else self.column(name)
            literals = [self.value(v, type_) for v in values]
            found: list[exp.Expr] = [exp.In(this=left, expressions=literals)]
            if type_.name == "varchar" and self._folding:
                exact = self.comparable(left, name, type_)
                found.append(exp.In(this=exact, expressions=[v.copy() for v in literals]))
            return found
        if not self._bind and (native := self.native_types[name]) in _POSTGRES_INTEGERS:
            element, bits = _POSTGRES_INTEGERS[native]
            literal: exp.Expr = self._hole(tuple(values), partial(_quoted_array, bits))
        else:
            element, fitting = self._elements(name, values)
            literal = self._array([v for v in fitting if v is not None])
        array = self.sql(f"ANY(CAST(:k AS {element}[]))", k=literal)
        if type_.name == "varchar":
            return self._equality("=", name, array)
        return [self.sql(":c = :a", c=self.column(name), a=array)]

    def one_of_numbers(self, name: str, type_: TrinoType, keys: pa.Array) -> list[exp.Expr]:
        native = self.native_types[name]
        if self._bind or native not in _POSTGRES_INTEGERS:
            return super().one_of_numbers(name, type_, keys)
        element, bits = _POSTGRES_INTEGERS[native]
        array = self.sql(f"CAST(:k AS {element}[])", k=self._hole(keys, partial(_array_of, (bits,), 0)))
        if self._hides:
            array = self.sql(f"CAST((SELECT :k) AS {element}[])", k=array)
        return [self.sql(":c = ANY(:k)", c=self.column(name), k=array)]

    def among(self, columns: Sequence[str], parts: Sequence[Sequence[Value]]) -> list[exp.Expr]:
        """By EXISTS over arrays: what stands in an index is looked up there, key by key."""
        fitting = [self._elements(name, values) for name, values in zip(columns, parts, strict=True)]
        keys = [key for key in zip(*(values for _, values in fitting), strict=True) if None not in key]
        lists = list(zip(*keys, strict=True)) or [()] * len(columns)
        return self._among_arrays(columns, [(e, self._array(v)) for (e, _), v in zip(fitting, lists, strict=True)])

    def among_numbers(self, columns: Sequence[str], keys: pa.Array) -> list[exp.Expr]:
        found = [_POSTGRES_INTEGERS.get(self.native_types[c]) for c in columns]
        known = [one for one in found if one is not None]
        if self._bind or len(known) < len(columns):
            return super().among_numbers(columns, keys)
        bits = tuple(most for _, most in known)
        holes = [self._hole(keys, partial(_array_of, bits, i)) for i in range(len(columns))]
        return self._among_arrays(columns, [(element, hole) for (element, _), hole in zip(known, holes, strict=True)])

    def _among_arrays(self, columns: Sequence[str], lists: Sequence[tuple[str, exp.Expr]]) -> list[exp.Expr]:
        """lists: of each column the type of its values, and all of them, key by key."""
        arrays = {
            hole: self.sql(f"CAST(:k AS {element}[])", k=values)
            for hole, (element, values) in zip("abc", lists, strict=False)
        }
        holes, names = ", ".join(f":{hole}" for hole in arrays), ", ".join(f'"{hole}"' for hole in arrays)
        found = self.sql(f'SELECT 1 FROM UNNEST({holes}) AS "j"({names})', **arrays)
        assert isinstance(found, exp.Select)
        for name, part in zip(columns, arrays, strict=True):
            value = exp.column(part, table="j", quoted=True)
            is_text = self.types[name].name == "varchar"
            equal = self._equality("=", name, value) if is_text else [self.sql(":c = :v", c=self.column(name), v=value)]
            found.where(*equal, copy=False)
        return [exp.Exists(this=found)]

    def _elements(self, name: str, values: Sequence[Value]) -> tuple[str, list[Value | None]]:
        """The type of an array to compare a column with, and the values in it; None where one equals no value of it."""
        native, type_ = self.native_types[name], self.types[name]
        if any(isinstance(v, Blank) for v in values):
            raise ValueError("what fills a blank would have to be looked at")
        if native in _POSTGRES_INTEGERS:
            # An array of the column's very own type is hashed, of another one searched from end to end.
            element, bits = _POSTGRES_INTEGERS[native]
            return element, [v if isinstance(v, int) and -(2**bits) <= v < 2**bits else None for v in values]
        if native == "numeric":
            return "DECIMAL", [Decimal(v) if isinstance(v, int | Decimal) else None for v in values]
        if type_.name == "double":
            return _POSTGRES_TYPES["double"], [float(v) if isinstance(v, int | float) else None for v in values]
        return _POSTGRES_TYPES[type_.name], list(values)

    def masked(self, key: GroupKey, column: exp.Expr) -> exp.Expr:
        type_ = self.types[key.column]
        shown = super().masked(key, self.comparable(column, key.column, type_))
        return self.sql(':c COLLATE "C"', c=exp.Paren(this=shown)) if key.type.is_text else shown

    def date_part(self, function: str, name: str) -> exp.Expr:
        return self.sql(f"CAST(EXTRACT({function.upper()} FROM :c) AS BIGINT)", c=self.column(name))

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        if isinstance(value, Blank):
            inner: exp.Expr = self._hole((value,), _quoted_one)
        else:
            text = _plain_text(value)
            inner = self._parameter(text) if self._bind else exp.Literal.string(text)
        return self.sql(f"CAST(:v AS {_POSTGRES_TYPES[type_.name]})", v=inner)

    def _array(self, values: Sequence[Value]) -> exp.Expr:
        if self._bind:
            return self._parameter(list(values))
        whole = all(type(v) is int for v in values)
        text = ",".join(map(str if whole else _array_element, values)).replace("'", "''")
        return exp.column(self._marker(f"'{{{text}}}'"), quoted=True)

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


def _array_element(value: Value) -> str:
    escaped = _plain_text(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


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
_BEGIN = re.compile(r"([^%_\\]+)%\Z")
"""A LIKE pattern that says how a text begins, and nothing else."""
_UNICODE = "CAST(:c AS CHAR CHARACTER SET utf8mb4)"
_EXACT = ":c COLLATE utf8mb4_nopad_bin"


class MariaDBCompiler(Compiler):
    """MariaDB: text compared by `utf8mb4_nopad_bin` (R7), zero dates read as NULL.

    No driver binds on the server's side here, so literals stand in the text: text as hexadecimal, which
    means the same under any sql_mode, numbers and dates in their own spelling. An equality on ASCII text is
    written twice, once plain so that the column's index is used, once exact; other text only once, for a
    column of another character set (latin1) refuses to be compared with what it cannot hold.

    A text of the native type "utf8mb4 text" is not brought into that character set, which would take longer than the
    comparison. Both forms have the same characters then. Should the column have got another character set since it
    was described, the server refuses the COLLATE of a character set that is not the text's own (error 1253); what is
    no text any more it makes one of utf8mb4 first, as the cast does.
    """

    dialect = "mysql"
    owner_dialect = "ansimysql"

    def output(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        column = self._valid(name, type_)
        native = self.native_types[name]
        if native == "time":
            return self.sql("CAST(:c AS CHAR)", c=column)
        if native == "bit":
            return self.sql("CAST(:c AS UNSIGNED)", c=column)
        return column

    def column(self, name: str) -> exp.Expr:
        column = super().column(name)
        # Beside a year the server takes 70 for 1970 and 32768 for 0.
        return self.sql("CAST(:c AS SIGNED)", c=column) if self.native_types.get(name) == "year" else column

    def fitting(self, name: str, column: exp.Expr) -> exp.Expr:
        """Days are within the years 1 to 9999 once they are `comparable`."""
        return column if self.types[name].name in ("date", "timestamp") else super().fitting(name, column)

    def comparable(self, column: exp.Expr, name: str, type_: TrinoType) -> exp.Expr:
        return self.sql(_EXACT, c=self._unicode(column, name)) if type_.name == "varchar" else column

    def compare(self, predicate: Predicate, type_: TrinoType) -> list[exp.Expr]:
        column = self.column(predicate.column)
        if predicate.op == "=" and _is_ascii(predicate.values):
            plain = self.sql(":c = :v", c=column, v=self.value(predicate.values[0], type_))
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
        if type_.is_integer:
            return [exp.In(this=self.column(name), expressions=[self._hole(tuple(values), _in_order)])]
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

    def one_of_numbers(self, name: str, type_: TrinoType, keys: pa.Array) -> list[exp.Expr]:
        return [exp.In(this=self.column(name), expressions=[self._hole(keys, _sorted)])]

    def among_numbers(self, columns: Sequence[str], keys: pa.Array) -> list[exp.Expr]:
        left = exp.Tuple(expressions=[self.column(c) for c in columns])
        return [exp.In(this=left, expressions=[self._hole(keys, _rows_of)])]

    def among(self, columns: Sequence[str], parts: Sequence[Sequence[Value]]) -> list[exp.Expr]:
        """As in `one_of`: once by what indexes know, where all texts allow it, and exactly where there are texts."""
        kinds = [self.types[c] for c in columns]
        keys = ", ".join(
            f"({', '.join(_mariadb_literal(v, kind) for v, kind in zip(key, kinds, strict=True))})"
            for key in zip(*parts, strict=True)
        )
        is_text = [kind.name == "varchar" for kind in kinds]
        plain = [self.column(c) for c in columns]
        lefts: list[list[exp.Expr]] = []
        if all(not text or _is_ascii(values) for text, values in zip(is_text, parts, strict=True)):
            lefts.append([*plain])
        if any(is_text):
            lefts.append([self.comparable(p, c, k) for p, c, k in zip(plain, columns, kinds, strict=True)])
        found: list[exp.Expr] = [
            exp.In(this=exp.Tuple(expressions=left), expressions=[exp.column(self._marker(keys), quoted=True)])
            for left in lefts
        ]
        days = (self.sql(_VALID_DAY, c=p) for p, k in zip(plain, kinds, strict=True) if k.name == "date")
        return [*found, *days]

    def group_key(self, key: GroupKey) -> exp.Expr:
        type_ = self.types[key.column]
        if key.function is not None:
            return self.sql(f"{key.function.upper()}(:c)", c=self._valid(key.column, type_))
        if key.form:
            shown = self.masked(key, self.comparable(self._valid(key.column, type_), key.column, type_))
            return self.sql(_EXACT, c=self.sql(_UNICODE, c=shown)) if key.type.is_text else shown
        return self.comparable(self._valid(key.column, type_), key.column, type_)

    def told_apart(self) -> list[exp.Expr]:
        """A server that groups by sorting looks at the first 1024 bytes of a text (`mysql.session_statements`)."""
        texts = (self.group_key(key) for key in self.scan.group_by if key.type.is_text)
        return [self.sql("CASE WHEN CHAR_LENGTH(:c) > 200 THEN SHA2(:c, 256) END", c=text) for text in texts]

    def aggregated(self, aggregate: Aggregate) -> exp.Expr:
        value = aggregate.value
        if not isinstance(value, str):
            return super().aggregated(aggregate)
        inner = self._valid(value, self.types[value])
        if aggregate.function not in ("min", "max") or self.types[value].name != "varchar":
            return inner
        # Of a bare cast, an owner's too, the server keeps a group's MIN as if it still were of the other character set.
        return self.sql(_EXACT, c=self.sql("COALESCE(:c)", c=self._unicode(inner, value)))

    def native_of(self, type_: TrinoType, is_sum: bool = False) -> str:
        if is_sum or type_.name == "decimal":
            return "decimal"
        return {"varchar": "utf8mb4 text", "boolean": "tinyint"}.get(type_.name, type_.name)

    def comparison(self, comparison: Comparison) -> list[exp.Expr]:
        left, right = (
            self.comparable(self._valid(c, self.types[c]), c, self.types[c])
            for c in (comparison.left, comparison.right)
        )
        return [self.sql(f":l {comparison.op} :r", l=left, r=right)]

    def any_of(self, condition: AnyOf) -> exp.Expr:
        """Several beginnings of one text, of one length, are one list: the text is brought into its exact form once,
        which takes longer than all comparisons (TPC-H's q22: 25 ms in place of 60)."""
        texts = _beginnings(condition)
        if not texts:
            return super().any_of(condition)
        (name,) = {p.column for p in condition.parts if isinstance(p, Like)}
        begin = self.sql(f"LEFT(:c, {len(texts[0])})", c=self._unicode(self.column(name), name))
        return exp.In(this=self.sql(_EXACT, c=begin), expressions=[self.value(t, VARCHAR) for t in texts])

    def _cost(self, condition: Condition) -> int:
        """A list of beginnings takes hardly longer than a decimal: which of them comes first is as it was asked."""
        return 2 if isinstance(condition, AnyOf) and _beginnings(condition) else super()._cost(condition)

    average_form = "SIGN(:s) * ((ABS(:s) * :t + :n) DIV (:n * 2)) * :u"

    def order(self, order: Order) -> list[exp.Expr]:
        """NULLs, which are the least here, by a key of their own."""
        type_ = self.types[order.column]
        valid = self._valid(order.column, type_)
        nulls, word = "DESC" if order.nulls_first else "ASC", "DESC" if order.descending else "ASC"
        tree = self.sql(
            f"SELECT 1 ORDER BY :n IS NULL {nulls}, :c {word}",
            n=valid, c=self.comparable(valid, order.column, type_),
        )  # fmt: skip
        return list(tree.args["order"].expressions)

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        if isinstance(value, Blank):
            return self._hole((value,), _in_order)
        return sqlglot.parse_one(_mariadb_literal(value, type_), read=self.dialect)

    def _valid(self, name: str, type_: TrinoType) -> exp.Expr:
        """The column, with zero dates (0000-00-00, 2024-00-15) as NULL."""
        column = self.column(name)
        if type_.name in ("date", "timestamp"):
            return self.sql(f"CASE WHEN {_VALID_DAY} THEN :c END", c=column)
        return column

    def _unicode(self, column: exp.Expr, name: str) -> exp.Expr:
        """A text in the character set that has the exact collation."""
        return column if self.native_types[name] == "utf8mb4 text" else self.sql(_UNICODE, c=column)


def _beginnings(condition: AnyOf) -> list[str]:
    """With what one text begins, if that is all that is asked, and they are of one length; else nothing."""
    begins = [_BEGIN.match(p.pattern) if isinstance(p, Like) and not p.negated else None for p in condition.parts]
    columns = {p.column for p in condition.parts if isinstance(p, Like)}
    texts = [found[1] for found in begins if found is not None]
    return texts if len(texts) == len(begins) and len(columns) == len(set(map(len, texts))) == 1 else []


def _sorted(keys: pa.Array) -> str:
    """Whole numbers as a text, in order: the server sorts them, and looks them up, in half of the time then."""
    return _listed(pa.array(np.sort(keys.to_numpy())))


def _is_ascii(values: Sequence[Value]) -> bool:
    return all(isinstance(value, str) and value.isascii() for value in values)


def mariadb_text(value: str) -> str:
    """A text's literal, which means the same under any sql_mode."""
    return f"_utf8mb4 x'{value.encode().hex()}'"


def _mariadb_literal(value: Value, type_: TrinoType) -> str:
    if isinstance(value, str):
        return mariadb_text(value)
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
    """DuckDB (files, snapshots): many keys are a registered Arrow table, NaN never compares as a number.

    Decimals compare with literals of their type alone (`fitted`).
    """

    dialect = "duckdb"
    computes_first = True
    length_form = "LENGTH(:c)"

    def compare(self, predicate: Predicate, type_: TrinoType) -> list[exp.Expr]:
        near = fitted(predicate, type_)
        if isinstance(near, bool):
            return [self.is_not_null(predicate.column, type_) if near else self.sql("1 = 0")]
        found = super().compare(near, type_)
        if type_.name == "double" and predicate.op in (">", ">="):
            found.append(self.sql("NOT ISNAN(:c)", c=self.column(predicate.column)))
        return found

    def one_of(self, name: str, type_: TrinoType, values: Sequence[Value]) -> list[exp.Expr]:
        near = fitted(Predicate(name, "in", tuple(values)), type_)
        if isinstance(near, bool):
            return [self.sql("1 = 0")]
        if len(values) <= SHORT_LIST:
            return super().one_of(name, type_, near.values)
        return self._found_in(name, _key_array(near.values, type_))

    def one_of_numbers(self, name: str, type_: TrinoType, keys: pa.Array) -> list[exp.Expr]:
        return self._found_in(name, keys.cast(pa.int64()))

    def _found_in(self, name: str, keys: pa.Array) -> list[exp.Expr]:
        table = self._next("atoll_keys_")
        self.key_tables[table] = keys
        read = exp.Select().select(exp.column("k", table="j", quoted=True)).from_(_named_table(table, "j"))
        return [exp.In(this=self.column(name), query=exp.Subquery(this=read))]

    def among(self, columns: Sequence[str], parts: Sequence[Sequence[Value]]) -> list[exp.Expr]:
        table = self._next("atoll_keys_")
        arrays = [_key_array(values, self.types[c]) for c, values in zip(columns, parts, strict=True)]
        names = KEY_COLUMNS[: len(columns)]
        self.key_tables[table] = pa.StructArray.from_arrays(arrays, names=list(names))
        found = exp.Select().select(exp.Literal.number(1), copy=False).from_(_named_table(table, "j"), copy=False)
        for column, name in zip(columns, names, strict=True):
            found.where(exp.EQ(this=exp.column(name, "j", quoted=True), expression=self.column(column)), copy=False)
        return [exp.Exists(this=found)]

    def date_part(self, function: str, name: str) -> exp.Expr:
        return self.sql(f"{function.upper()}(:c)", c=self.column(name))

    def arithmetic(self, value: Arithmetic) -> exp.Expr:
        """In the types of Trino's operands, which DuckDB's result follows but for its width."""
        (p1, s1), (p2, s2) = (decimal_of(self._kind(side)) or (0, 0) for side in (value.left, value.right))
        if value.type.args[0] > 18 >= max(p1, p2):
            p1 = 19  # two operands of at most 18 digits would be computed in 64 bits, and overflow
        left = self.sql(f"CAST(:v AS DECIMAL({p1}, {s1}))", v=self.expression(value.left))
        right = self.sql(f"CAST(:v AS DECIMAL({p2}, {s2}))", v=self.expression(value.right))
        whole = exp.Paren(this=self.sql(f":l {value.op} :r", l=left, r=right))
        return self.sql(f"CAST(:v AS DECIMAL({value.type.args[0]}, {value.type.args[1]}))", v=whole)

    def average(self, total: exp.Expr, count: exp.Expr, type_: TrinoType) -> exp.Expr:
        """By units that have been counted: a product of 38 digits has no room."""
        scale = type_.args[1]
        total = self.sql(f"CAST(:s AS DECIMAL(38, {scale}))", s=total)
        units = self.sql("CAST(REPLACE(CAST(:s AS TEXT), '.', '') AS INT128)", s=total)
        n = self.sql("CAST(:n AS INT128)", n=count)
        whole = self.sql("CAST(:s // :n + :s % :n // (:n - :n // 2) AS DECIMAL(38, 0))", s=units, n=n)
        if scale:
            unit = self.sql(f"CAST('{_unit(type_)}' AS DECIMAL({scale}, {scale}))")
            whole = self.sql(":w * :u", w=whole, u=unit)
        return self.sql(f"CAST(:w AS DECIMAL({type_.args[0]}, {scale}))", w=whole)

    def case(self, value: Case) -> exp.Expr:
        return self.sql(f"CAST(:v AS {value.type.duckdb()})", v=super().case(value))

    def value(self, value: Value, type_: TrinoType) -> exp.Expr:
        name = self._next("p")
        # The driver makes a double of a decimal that has all of its digits behind the point.
        cast = "DECIMAL(38, 38)" if type_.args == (38, 38) else _DUCKDB_CASTS.get(type_.name)
        self.params[name] = _plain_text(value) if cast else value
        parameter = exp.Placeholder(this=name)
        return self.sql(f"CAST(:v AS {cast})", v=parameter) if cast else parameter


def _named_table(name: str, alias: str) -> exp.Table:
    table = _table(name)
    table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return table


def _key_array(values: Sequence[Value], type_: TrinoType) -> pa.Array:
    """Keys in a type wide enough for all of them."""
    return pa.array(values, pa.int64() if type_.name in _WHOLE_NUMBERS else type_.arrow())


_DUCKDB_CASTS = {"date": "DATE", "timestamp": "TIMESTAMP"}
