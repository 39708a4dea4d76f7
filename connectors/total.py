"""Which columns of an owner's SELECT are an error of no row, whatever it holds.

    SELECT p.id, 1000 / p.score AS x FROM person AS p JOIN consent AS c ON c.id = p.id      id is total, x is not

A source is free to look at a condition on x before it joins, for a person without consent too: a zero divisor there is
an error, and tells of that person. So what a statement asks of such a column stands behind a fence (`native`). Of an x
that is computed further inside, before what the SELECT joins and filters, even a condition on the id would tell.

A column of a table as it is is total, and so is what is made of total ones by what `_Rules` names, in that dialect. A
view of the source's own that a SELECT reads is read in its turn, as far as the source gives its text. What is not
understood is not total. Columns that a table computes when it is read (virtual ones) are taken for its own, and days
for days of years that sources count with, some 290,000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from connectors.base import NativeScan

__all__ = ["Definition", "Kind", "Outputs", "outputs"]

Definition = Callable[[str, str], str | None]
"""(schema or "", name) -> the SELECT of a view of the source's own, "" if that is not told; None for a table."""
DEEP = 16
"""Views within views that are followed."""


class Kind(IntEnum):
    """total: an error of no row. late: computed of the rows that a SELECT is left with. early: of others too."""

    TOTAL = 0
    LATE = 1
    EARLY = 2


@dataclass(frozen=True)
class Outputs:
    """columns: (lower-case name, kind), in their order. others: of what else there may be, None for nothing else."""

    columns: tuple[tuple[str, Kind], ...] = ()
    others: Kind | None = None

    def kind(self, column: str) -> Kind:
        """Whatever has that name is at best so."""
        found = [kind for name, kind in self.columns if name == column.lower()]
        return max(found) if found else Kind.EARLY if self.others is None else self.others

    def is_total(self, column: str) -> bool:
        return self.kind(column) == Kind.TOTAL

    def may_have(self, column: str) -> bool:
        return self.others is not None or any(name == column.lower() for name, _ in self.columns)

    @property
    def worst(self) -> Kind:
        return max([kind for _, kind in self.columns] + [self.others or Kind.TOTAL])

    @property
    def within(self) -> Outputs:
        """As a SELECT around it reads them: before it joins and filters."""
        columns = tuple((name, Kind.EARLY if kind else kind) for name, kind in self.columns)
        return Outputs(columns, Kind.EARLY if self.others else self.others)

    def __add__(self, other: Outputs) -> Outputs:
        """The columns of both, side by side."""
        kinds = [kind for kind in (self.others, other.others) if kind is not None]
        return Outputs(self.columns + other.columns, max(kinds, default=None))

    def __or__(self, other: Outputs) -> Outputs:
        """The rows of both: columns meet by their places, and have this one's names."""
        if self.others is other.others is None and len(self.columns) == len(other.columns):
            pairs = zip(self.columns, other.columns, strict=True)
            return Outputs(tuple((name, max(kind, also)) for (name, kind), (_, also) in pairs))
        return Outputs(others=max(self.worst, other.worst))


ALL, NONE = Outputs(others=Kind.TOTAL), Outputs(others=Kind.EARLY)


def outputs(scan: NativeScan, dialect: str, definition: Definition | None = None) -> Outputs:
    """What the owner's text, or table, of a scan delivers. definition: None where the source has no views."""
    assert isinstance(scan.relation, str)
    if definition is None:
        return _of_tables(scan.relation, dialect) if scan.is_query else ALL
    reader = _Reader(dialect, definition, DEEP)
    if scan.is_query:
        return reader.text(scan.relation)
    schema, _, name = scan.relation.rpartition(".")
    return reader.named(schema, name)


@lru_cache(maxsize=512)
def _of_tables(text: str, dialect: str) -> Outputs:
    return _Reader(dialect, lambda *_: None, DEEP).text(text)


Scope = Mapping[str, Outputs]
"""Lower-case name -> what a CTE, or something in FROM, delivers."""


@dataclass(frozen=True)
class _Reader:
    dialect: str
    definition: Definition
    deep: int

    def text(self, text: str) -> Outputs:
        try:
            return self.query(sqlglot.parse_one(text, read=self.dialect), {})
        except (SqlglotError, RecursionError):
            return NONE

    def query(self, tree: exp.Expr, around: Scope) -> Outputs:
        scope = self._with(tree, around)
        match tree:
            case exp.Subquery() if not tree.args.get("pivots"):
                return self.query(tree.this, scope)
            case exp.SetOperation():
                both = self.query(tree.this, scope) | self.query(tree.expression, scope)
                return both if isinstance(tree, exp.Union) else both.within
            case exp.Select():
                return self._select(tree, scope)
        return NONE

    def _with(self, tree: exp.Expr, around: Scope) -> Scope:
        """What a query's own WITH adds."""
        clause = tree.args.get("with_")
        if clause is None:
            return around
        scope = dict(around)
        for cte in clause.expressions:
            renamed = cte.args["alias"].args.get("columns") or clause.args.get("recursive")
            scope[cte.alias.lower()] = NONE if renamed else self.query(cte.this, scope)
        return scope

    def _select(self, tree: exp.Select, scope: Scope) -> Outputs:
        sources: dict[str, Outputs] = {}
        for name, source in self._sources(tree, scope):
            sources[name] = NONE if name in sources else source.within
        found = Outputs()
        for item in tree.expressions:
            if item.is_star:
                found += _starred(item, sources)
            else:
                kind = _Rules(self.dialect, sources, found).kind(item.unalias())
                found += Outputs(((item.alias_or_name.lower(), kind),))
        return found

    def _sources(self, tree: exp.Select, scope: Scope) -> Iterator[tuple[str, Outputs]]:
        """What a SELECT reads, by the names under which its columns are spoken of."""
        start = tree.args.get("from_")
        joins = [join.this for join in tree.args.get("joins") or ()]
        for read in ([start.this] if start is not None else []) + joins:
            yield from self._source(read, scope)
        for lateral in tree.args.get("laterals") or ():
            yield lateral.alias_or_name.lower(), NONE

    def _source(self, read: exp.Expr, scope: Scope) -> Iterator[tuple[str, Outputs]]:
        for join in read.args.get("joins") or ():
            yield from self._source(join.this, scope)
        pivots, alias = read.args.get("pivots") or (), read.args.get("alias")
        name = next((pivot.alias for pivot in pivots if pivot.alias), read.alias_or_name).lower()
        moves = all(pivot.args.get("unpivot") for pivot in pivots)  # cells from one column to another
        if not moves or (isinstance(alias, exp.TableAlias) and alias.args.get("columns")):
            yield name, NONE
        elif isinstance(read, exp.Table):
            found = self._table(read, scope)
            yield name, found if not pivots or found.worst == Kind.TOTAL else NONE
        else:
            yield name, self.query(read, scope)

    def _table(self, table: exp.Table, scope: Scope) -> Outputs:
        if not isinstance(table.this, exp.Identifier):
            return NONE  # a function
        if not table.db and table.name.lower() in scope:
            return scope[table.name.lower()]
        return self.named(self._folded(table.args.get("db")), self._folded(table.this))

    def named(self, schema: str, name: str) -> Outputs:
        """Of a table, or of a view of the source's own."""
        text = self.definition(schema, name)
        if text is None:
            return ALL
        return _Reader(self.dialect, self.definition, self.deep - 1).text(text) if text and self.deep else NONE

    def _folded(self, name: exp.Expr | None) -> str:
        """A name as the source has it."""
        if not isinstance(name, exp.Identifier):
            return ""
        return name.name.lower() if self.dialect == "postgres" and not name.quoted else name.name


def _starred(item: exp.Expr, sources: Scope) -> Outputs:
    """What `*`, or `source.*`, stands for."""
    star = item.this if isinstance(item, exp.Column) else item
    named = item.table.lower() if isinstance(item, exp.Column) else ""
    read = [source for name, source in sources.items() if named in ("", name)]
    if not isinstance(star, exp.Star) or any(star.args.values()) or not read:
        return NONE
    return sum(read, Outputs())


_WORDS = (exp.Upper, exp.Lower, exp.Trim, exp.Translate, exp.Length)
_PARTS = (exp.Year, exp.Month, exp.Quarter, exp.Day)
_UNITS = ("YEAR", "MONTH", "QUARTER", "DAY")
_CUTS = (exp.Substring, exp.Left, exp.Right)
_TRUNCATED = (exp.DateTrunc, exp.TimestampTrunc)
_LOGIC = (exp.Paren, exp.And, exp.Or, exp.Not, exp.Is, exp.If)
_ORDER = (exp.LT, exp.LTE, exp.GT, exp.GTE)
_EVERYWHERE = (*_WORDS, *_PARTS, *_TRUNCATED, *_LOGIC, exp.Var, exp.Min, exp.Max, exp.Count)
_LENIENT = (
    *_CUTS,
    *_ORDER,
    exp.EQ,
    exp.NEQ,
    exp.In,
    exp.Between,
    exp.Case,
    exp.Coalesce,
    exp.Nullif,
    exp.Cast,
    exp.Replace,
)
"""Of MariaDB and SQLite, which make NULL or another value of what others refuse."""
_NAMED = {
    "mysql": (*_LENIENT, exp.Concat, exp.Hex, exp.Unhex, exp.Collate, exp.TsOrDsToDate),
    "sqlite": (*_LENIENT, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.DPipe, exp.Glob),
}
_HELPERS = {"sqlite": ("nfkc", "nfc")}
"""Functions of atoll's own."""


@dataclass(frozen=True)
class _Rules:
    """Expressions that are an error of no row. before: what stands before one in its SELECT, of which some dialects let
    it speak.

    Two values that are compared or mixed are brought into one type, in which one of them may have no room, or which a
    text is not: so one of them is a literal, whose error would be every row's. What takes a text or a date takes
    nothing else, or makes a text of it.
    """

    dialect: str
    sources: Scope
    before: Outputs

    def kind(self, node: exp.Expr) -> Kind:
        """Of an expression of a SELECT's list."""
        if self.hold(node):
            return Kind.TOTAL
        inner = any(isinstance(part, exp.Query) for part in node.walk())
        columns = [self._column(column) for column in node.find_all(exp.Column)]
        return Kind.EARLY if inner or Kind.EARLY in columns else Kind.LATE

    def hold(self, node: exp.Expr) -> bool:
        match node:
            case exp.Literal() | exp.Null() | exp.Boolean() | exp.Neg(this=exp.Literal()):
                return True
            case exp.Column():
                return self._column(node) == Kind.TOTAL
            case exp.Anonymous():
                return node.name.lower() in _HELPERS.get(self.dialect, ()) and all(map(self.hold, node.expressions))
            case exp.Extract(this=unit, expression=day):
                return unit.name.upper() in _UNITS and self.hold(day)
            case exp.DataType():
                return True
        if self.dialect == "duckdb" and any(isinstance(v, exp.Column) for v in _asked(node)):
            return False  # of a text it makes a truth value, or an error
        if isinstance(node, (*_EVERYWHERE, *_NAMED.get(self.dialect, ()))):
            return all(map(self.hold, node.iter_expressions()))
        return self.dialect in ("postgres", "duckdb") and self._strictly(node)

    def _column(self, node: exp.Column) -> Kind:
        if node.table:
            source = self.sources.get(node.table.lower())
            return Kind.EARLY if source is None else source.kind(node.name)
        before = [kind for name, kind in self.before.columns if name == node.name.lower()]
        homes = [source.kind(node.name) for source in self.sources.values() if source.may_have(node.name)]
        return max([*before, *homes], default=Kind.EARLY)

    def _strictly(self, node: exp.Expr) -> bool:
        """Where a value that does not fit is an error."""
        match node:
            case exp.Substring() | exp.Left() | exp.Right() | exp.Replace() | exp.Normalize():
                told = [part for part in node.iter_expressions() if part is not node.this]
                kinds = (exp.Literal, exp.Var)
                return self.hold(node.this) and all(isinstance(part, kinds) and _fits(node, part) for part in told)
            case exp.Cast(this=value):
                text = node.to.this in exp.DataType.TEXT_TYPES and not node.to.expressions
                part = isinstance(value, (*_PARTS, exp.Extract)) and node.to.this in _WIDE
                day = isinstance(value, _TRUNCATED) and node.to.this == exp.DType.DATE
                return isinstance(value, exp.Literal) or ((text or part or day) and self.hold(value))
            case exp.Case():
                chosen = [branch.args["true"] for branch in node.args["ifs"]] + [node.args.get("default")]
                asked = [branch.this for branch in node.args["ifs"]]
                return node.this is None and self._one_of(chosen) and all(map(self.hold, asked))
            case exp.EQ() | exp.NEQ() | exp.In() | exp.Nullif() | exp.Coalesce():
                return self._one_of(list(node.iter_expressions()))
            case exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return self._one_of([node.this, node.expression], ordered=True)
        return False

    def _one_of(self, values: Sequence[exp.Expr | None], ordered: bool = False) -> bool:
        """Whether at most one of them is more than a literal; of DuckDB, which makes numbers and days of texts to see
        whether they are equal, than a text."""
        left = [v for v in values if v is not None and not self._is_literal(v, ordered)]
        return len(left) <= 1 and all(map(self.hold, left))

    def _is_literal(self, node: exp.Expr, ordered: bool) -> bool:
        if isinstance(node, exp.Cast):  # DATE '2016-01-01'
            typed = node.to.this in _TIMES and (ordered or self.dialect == "postgres")
            return typed and self._is_literal(node.this, ordered)
        if isinstance(node, exp.Literal):
            return node.is_string or self.dialect == "postgres"
        return isinstance(node, (exp.Null, exp.Boolean))


def _asked(node: exp.Expr) -> Iterator[exp.Expr]:
    """What of a node's parts has to be a truth value."""
    if isinstance(node, (exp.And, exp.Or, exp.Not)):
        yield from (part.unnest() for part in node.iter_expressions())
    elif isinstance(node, exp.If) or (isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean)):
        yield node.this.unnest()
    elif isinstance(node, exp.Case):
        yield from (branch.this.unnest() for branch in node.args["ifs"])


def _fits(node: exp.Expr, told: exp.Expr) -> bool:
    """Whether a literal is a place in a text where one is asked for, and not a pattern."""
    return not isinstance(node, _CUTS) or told.is_int


_WIDE = (exp.DType.INT, exp.DType.BIGINT)
"""A year has room in them."""
_TIMES = (exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ)
