"""Compiles a Trino query tree to DuckDB text, with Trino's meaning and types.

A closed-list compiler: every node class has a method here or a row in `functions`; anything else is
refused by name. No text of the statement is ever copied: identifiers are quoted, literals re-written,
units, types and formats come from lists. So nothing that a parser lets through can be smuggled into
DuckDB, and the types of all outputs are known before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from catalog.duck import comparing, functions
from catalog.duck.comparing import depth as _depth
from catalog.duck.comparing import equality, is_compound
from catalog.duck.expansion import check_expansion
from catalog.duck.functions import BY_NODE, Call, Function, unknown_function
from catalog.duck.lambdas import LAMBDAS
from catalog.duck.macros import BLANKS
from catalog.duck.moments import (
    DAYS,
    MILLISECONDS,
    MONTHS,
    PARTS,
    YEARS,
    as_far_ahead,
    at_timezone,
    between_moments,
    date_part,
    is_moment,
    local_time,
    of_session,
    session_of,
    shown_as,
    with_interval,
    with_zone,
    zoned,
)
from catalog.duck.texts import text_of
from catalog.duck.typing import (
    Typed,
    arithmetic,
    cast_to,
    check_size,
    common,
    comparable,
    field_count,
    from_local,
    mismatch,
    offset_of,
    reads_alike,
    sql_text,
    unfit,
)
from catalog.duck.zones import first_time
from catalog.errors import Outcome, TrinoError, UserError
from catalog.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    TIMESTAMP,
    UNBOUNDED,
    UNKNOWN,
    VARCHAR,
    TrinoType,
    parse,
)

__all__ = ["NODES", "Compiled", "Table", "compile_query", "refuse"]

INTEGER = TrinoType("integer")
_TYPED = ("date", "time", "timestamp", "decimal", "char")
_UNITS = {
    "millisecond": "to_milliseconds", "second": "to_seconds", "minute": "to_minutes", "hour": "to_hours",
    "day": "to_days", "week": "to_weeks", "month": "to_months", "quarter": "to_quarters", "year": "to_years",
}  # fmt: skip
_SPANS = {
    ("day", "hour"): r"(?P<day>\d+) (?P<hour>\d+)", ("day", "minute"): r"(?P<day>\d+) (?P<hour>\d+):(?P<minute>\d+)",
    ("day", "second"): r"(?P<day>\d+) (?P<hour>\d+):(?P<minute>\d+):(?P<second>\d+(\.\d+)?)",
    ("hour", "minute"): r"(?P<hour>\d+):(?P<minute>\d+)",
    ("hour", "second"): r"(?P<hour>\d+):(?P<minute>\d+):(?P<second>\d+(\.\d+)?)",
    ("minute", "second"): r"(?P<minute>\d+):(?P<second>\d+(\.\d+)?)",
    ("year", "month"): r"(?P<year>\d+)-(?P<month>\d+)",
}  # fmt: skip
_CLOCK_UNITS = ("millisecond", "second", "minute", "hour")
_DATE_UNITS = ("day", "week", "month", "quarter", "year")
_MOMENT = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"( (?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})(:(?P<second>[0-9]{1,2})(\.(?P<fraction>[0-9]{1,6}))?)?)?"
)
_COMPARE: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
_IS_NUMBER = "tr_is_number"
_CONSTANT = re.compile(r"NULL|TRUE|FALSE|'(?:[^']|'')*'")
_BITS: dict[type[exp.Expr], str] = {exp.BitwiseAnd: "&", exp.BitwiseOr: "|"}


@dataclass(frozen=True)
class Table:
    """A table of the DuckDB instance: its own name there, and the columns that a query sees."""

    name: str
    columns: Mapping[str, TrinoType]


@dataclass(frozen=True)
class Compiled:
    """sql: DuckDB text. columns: output names (as written, `_colN` where unnamed) and Trino types.

    used: name of each `Table` -> the columns of it that the query reads.
    """

    sql: str
    columns: tuple[tuple[str, TrinoType], ...]
    used: Mapping[str, frozenset[str]] = field(default_factory=dict)


Tables = Callable[[exp.Table], Table]


def compile_query(tree: exp.Expr, tables: Mapping[str, Table] | Tables, now: datetime | None = None) -> Compiled:
    """Compile one SELECT, set operation or VALUES.

    tables: what each table node stands for; a mapping is keyed by the dotted lower-case name as the tree
    writes it (`f0`, `water.main.company_month`, `$keys`). now: the statement's start in its session's time zone, which
    is that of every moment without one (`session_zone`).

    Raises UserError: FUNCTION, NODE, or a name or type error of Trino.
    """
    now = now or datetime.now(UTC)
    resolve = tables if callable(tables) else _from_mapping(tables)
    compiler = _Compiler(resolve, now)
    with session_of(now):
        query = compiler.query(tree, None)
    check_expansion(query.sql)
    for name, kind in query.columns:
        _check_carried(name, kind)
    used = {name: frozenset(columns) for name, columns in compiler.used.items()}
    return Compiled(query.sql, tuple(query.columns), used)


def _check_carried(name: str, kind: TrinoType) -> None:
    """Raise UserError for an output of a type that no answer carries: a time with a zone."""
    try:
        kind.arrow()
    except ValueError as bad:
        raise not_carried(name, str(kind)) from bad


def not_carried(name: str, kind: str) -> UserError:
    """The refusal of an output for its type."""
    return UserError(
        f"Column '{name}' is of type {kind}, which no answer carries.",
        Outcome.NODE,
        rule="types",
        hint="Cast it to something else.",
    )


def _from_mapping(tables: Mapping[str, Table]) -> Tables:
    def resolve(node: exp.Table) -> Table:
        name = table_name(node)
        if name not in tables:
            raise UserError(f"Table {name} is not known.", Outcome.NOT_AVAILABLE, rule="names")
        return tables[name]

    return resolve


def table_name(node: exp.Table) -> str:
    """The dotted, lower-case name that a table node writes."""
    return ".".join(p.name.lower() for p in (node.args.get("catalog"), node.args.get("db"), node.this) if p)


def refuse(node: exp.Expr | str, detail: str = "") -> UserError:
    """NODE: a construct that is not on the closed list, by name."""
    words = node if isinstance(node, str) else re.sub(r"(?<!^)(?=[A-Z])", " ", type(node).__name__)
    return UserError(
        f"{words.capitalize()}{' ' + detail if detail else ''} is not available.",
        Outcome.NODE,
        rule="closed list",
    )


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def only(node: exp.Expr, *allowed: str) -> None:
    """Refuse a node that carries any argument but `allowed`: an unknown option is never ignored."""
    for key, value in node.args.items():
        if key not in allowed and value not in (None, False, [], ""):
            raise refuse(node, f"with option {key.strip('_')}")


@dataclass
class _Relation:
    """One FROM item: its alias and columns (output name -> type).

    origin: output name -> the table's own, for a table; used: own names that were asked for.
    """

    alias: str
    columns: dict[str, TrinoType]
    origin: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def read(self, name: str) -> Typed:
        self.used.add(self.origin.get(name, name))
        return Typed(f"{quote(self.alias)}.{quote(name)}", self.columns[name])


@dataclass
class _Query:
    sql: str
    columns: list[tuple[str, TrinoType]]


@dataclass
class _Scope:
    """What names mean inside one SELECT; `parent` is the enclosing query (correlation).

    grouped: whether no column may stand by itself now, but what is grouped by.
    """

    parent: _Scope | None
    ctes: dict[str, tuple[str, list[tuple[str, TrinoType]]]]
    relations: list[_Relation] = field(default_factory=list)
    using: dict[str, TrinoType] = field(default_factory=dict)
    outputs: dict[str, Typed] = field(default_factory=dict)
    windows: dict[str, exp.Expr] = field(default_factory=dict)
    shown: Sequence[Typed] = ()
    grouped: bool = False

    def find(self, name: str, table: str) -> Typed | None:
        """A column of this scope, None if there is none. Raises AMBIGUOUS_NAME."""
        if not table and name in self.using:
            return Typed(quote(name), self.using[name])
        found = [r for r in self.relations if name in r.columns and (not table or r.alias == table)]
        if len(found) > 1:
            raise UserError(f"Column {name} is ambiguous.", trino=TrinoError.AMBIGUOUS_NAME, rule="names")
        if not found:
            return None
        return found[0].read(name)


class _Compiler:
    def __init__(self, resolve: Tables, now: datetime) -> None:
        self.resolve = resolve
        self.now = now
        self.cte_count = 0
        self.parameters: list[dict[str, Typed]] = []
        self.parameter_count = 0
        self.used: dict[str, set[str]] = {}
        self.length = 0

    # ---- queries -------------------------------------------------------------------------------------

    def query(self, node: exp.Expr, parent: _Scope | None) -> _Query:
        if isinstance(node, exp.Select):
            return self.select(node, parent)
        if isinstance(node, exp.SetOperation):
            return self.set_operation(node, parent)
        if isinstance(node, exp.Subquery):
            return self.wrapped(node, parent)
        if isinstance(node, exp.Values):
            only(node, "expressions")
            return self.values(node, parent)
        raise refuse(node)

    def wrapped(self, node: exp.Subquery, parent: _Scope | None) -> _Query:
        """`(SELECT ..) ORDER BY .. LIMIT ..` and plain parentheses."""
        only(node, "this", "order", "limit", "offset", "with_")
        scope, prefix = self.with_clause(node, parent)
        inner = self.query(node.this, scope)
        return _Query(prefix + self.sorted_outputs(node, f"({inner.sql})", inner.columns, scope), inner.columns)

    def with_clause(self, node: exp.Expr, parent: _Scope | None) -> tuple[_Scope, str]:
        """A scope that knows the CTEs of `node`, and the text WITH ..; CTEs get names of our own."""
        scope = _Scope(parent, dict(parent.ctes) if parent else {})
        clause = node.args.get("with_")
        if not clause:
            return scope, ""
        only(clause, "expressions")
        parts = []
        for cte in clause.expressions:
            only(cte, "this", "alias")
            only(cte.args["alias"], "this", "columns")
            inner = self.query(cte.this, scope)
            names = [c.name for c in cte.args["alias"].args.get("columns") or []]
            columns = _renamed(inner.columns, names)
            own = f"cte_{self.cte_count}"
            self.cte_count += 1
            listed = ", ".join(quote(n.lower()) for n, _ in columns)
            parts.append(f"{quote(own)}({listed}) AS ({inner.sql})")
            scope.ctes[cte.alias.lower()] = (own, columns)
        return scope, f"WITH {', '.join(parts)} "

    def select(self, node: exp.Select, parent: _Scope | None) -> _Query:
        only(
            node, "with_", "from_", "joins", "where", "group", "having", "order", "limit", "offset",
            "expressions", "distinct", "operation_modifiers", "windows",
        )  # fmt: skip
        scope, prefix = self.with_clause(node, parent)
        source = self.from_clause(node, scope)
        scope.windows = {w.name.lower(): w for w in node.args.get("windows") or []}
        where = node.args.get("where")
        group = node.args.get("group")
        having = node.args.get("having")
        text = f"{source}{self.condition(' WHERE', where, scope)}"
        scope.grouped = bool(group or having) or any(map(functions.is_aggregate, _own_nodes(node.expressions)))
        items = list(self.select_items(node, scope))
        if group:
            text += " GROUP BY " + self.group(group, scope, items)
        text += self.having(having, scope)
        distinct = node.args.get("distinct")
        if distinct:
            only(distinct)
        columns = [(name, value.type) for name, value in items]
        listed = ", ".join(f"{value.sql} AS {quote(name)}" for name, value in items)
        scope.outputs, scope.shown = _outputs(items), [value for _, value in items]
        tail = self.tail(node, scope)
        if distinct and "NOT_SUPPORTED" in tail:
            raise refuse("DISTINCT with an order by arrays or rows", "(order it in a query around it)")
        if distinct and node.args.get("order"):
            self.check_distinct_order(node.args["order"], scope, [value.sql for _, value in items])
        sql = f"SELECT {'DISTINCT ' if distinct else ''}{listed}{text}"
        if distinct and _IS_NUMBER in tail:  # which DuckDB takes above a DISTINCT only
            above = self.by_places(node, scope, [value.sql for _, value in items])
            return _Query(prefix + self.sorted_outputs(above, sql, columns, scope), columns)
        return _Query(f"{prefix}{sql}{tail}", columns)

    def select_items(self, node: exp.Select, scope: _Scope) -> Iterator[tuple[str, Typed]]:
        number = 0
        for item in node.expressions:
            if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
                for name, value in self.star(item, scope):
                    number += 1
                    yield name, value
                continue
            if isinstance(item, exp.Alias):
                only(item, "this", "alias")
                yield item.alias, self.expr(item.this, scope)
            elif isinstance(item, exp.Column):
                yield item.name, self.expr(item, scope)
            else:
                yield f"_col{number}", self.expr(item, scope)
            number += 1

    def star(self, item: exp.Expr, scope: _Scope) -> Iterator[tuple[str, Typed]]:
        table = ""
        if isinstance(item, exp.Column):
            only(item, "this", "table")
            table = item.table.lower()
            item = item.this
        only(item)
        found = [r for r in scope.relations if not table or r.alias == table]
        if not found:
            raise UserError(f"Relation {table or '*'} is not known here.", trino=TrinoError.TABLE_NOT_FOUND)
        if not table:
            for name, kind in scope.using.items():
                yield name, Typed(quote(name), kind)
        for relation in found:
            for name in relation.columns:
                if table or name not in scope.using:
                    yield name, relation.read(name)

    def from_clause(self, node: exp.Select, scope: _Scope) -> str:
        clause = node.args.get("from_")
        if not clause:
            if node.args.get("joins"):
                raise refuse("a join without a relation")
            return ""
        only(clause, "this")
        text = " FROM " + self.from_item(clause.this, scope)
        for join in node.args.get("joins") or []:
            text += self.join(join, scope)
        return text

    def join(self, join: exp.Join, scope: _Scope) -> str:
        only(join, "this", "side", "kind", "on", "using")
        side, kind = (join.side or "").upper(), (join.kind or "").upper()
        on, using = join.args.get("on"), join.args.get("using")
        if side not in ("", "LEFT", "RIGHT", "FULL") or kind not in ("", "INNER", "OUTER", "CROSS"):
            raise refuse(f"{side} {kind} join".strip())
        right = self.from_item(join.this, scope)
        if using:
            return f" {side or 'INNER'} JOIN {right} USING ({self.using(using, scope)})"
        if on is not None:
            return f" {side or 'INNER'} JOIN {right} ON {self.boolean(on, scope)}"
        if side:
            raise refuse("an outer join without a condition")
        return f" CROSS JOIN {right}"

    def using(self, names: Sequence[exp.Expr], scope: _Scope) -> str:
        left, right = scope.relations[:-1], scope.relations[-1]
        for node in names:
            name = node.name.lower()
            kinds = [r.columns[name] for r in left if name in r.columns][:1]
            if not kinds or name not in right.columns:
                raise no_column(name)
            for relation in (*left, right):
                if name in relation.columns:
                    relation.read(name)
            scope.using[name] = comparable(kinds[0], right.columns[name], "USING")
        return ", ".join(quote(n.name.lower()) for n in names)

    def from_item(self, node: exp.Expr, scope: _Scope) -> str:
        alias = node.args.get("alias")
        if alias:
            only(alias, "this", "columns")
        names = [c.name for c in (alias.args.get("columns") if alias else None) or []]
        if isinstance(node, exp.Unnest) and names and isinstance(node.args.get("offset"), exp.Identifier):
            names.append(node.args["offset"].name)  # sqlglot takes the name of the ordinality out of the list
        label = (alias.name if alias else "").lower()
        used: set[str] = set()
        if isinstance(node, exp.Table):
            only(node, "this", "db", "catalog", "alias")
            if not isinstance(node.this, exp.Identifier):
                raise refuse("a table function")
            text, columns, used = self.table(node, scope)
            label = label or node.name.lower()
        elif isinstance(node, exp.Subquery):
            only(node, "this", "alias")
            # A derived table doesn't see its neighbours, only CTEs and enclosing queries.
            inner = self.query(node.this, _Scope(scope.parent, scope.ctes))
            text, columns = f"({inner.sql})", inner.columns
        elif isinstance(node, exp.Values):
            only(node, "expressions", "alias")
            inner = self.values(node, scope)
            text, columns = f"({inner.sql})", inner.columns
        elif isinstance(node, exp.Unnest):
            only(node, "expressions", "alias", "offset")
            text, columns = self.unnest(node, scope)
        else:
            raise refuse(node)
        own = [n.lower() for n, _ in columns]
        columns = _renamed(columns, names)
        origin = dict(zip((n.lower() for n, _ in columns), own, strict=True))
        label = label or f"anonymous_{len(scope.relations)}"
        if any(r.alias == label for r in scope.relations):
            raise UserError(f"Relation name {label} is used twice.", trino=TrinoError.AMBIGUOUS_NAME)
        scope.relations.append(_Relation(label, {n.lower(): t for n, t in columns}, origin, used))
        listed = f"({', '.join(quote(n.lower()) for n, _ in columns)})"
        # Only lists that rename something are needed: `t(a, b)` on a plain table costs nothing but noise.
        return f"{text} AS {quote(label)}{'' if isinstance(node, exp.Table) and not names else listed}"

    def table(self, node: exp.Table, scope: _Scope) -> tuple[str, list[tuple[str, TrinoType]], set[str]]:
        if not node.args.get("db") and node.name.lower() in scope.ctes:
            own, columns = scope.ctes[node.name.lower()]
            return quote(own), columns, set()
        table = self.resolve(node)
        used = self.used.setdefault(table.name, set())
        return quote(table.name), list(table.columns.items()), used

    def values(self, node: exp.Values, scope: _Scope | None) -> _Query:
        rows: list[list[Typed]] = []
        inner = _Scope(scope.parent if scope else None, scope.ctes if scope else {})
        for row in node.expressions:
            cells = row.expressions if isinstance(row, exp.Tuple) else [row]
            rows.append([self.expr(c, inner) for c in cells])
        if len({len(r) for r in rows}) != 1:
            raise mismatch("The rows of VALUES have different lengths.")
        kinds = []
        for column in zip(*rows, strict=True):
            kind = common([c.type for c in column])
            if kind is None:
                raise mismatch("A column of VALUES has values of different types.")
            kinds.append(kind)
        lines = ", ".join("(" + ", ".join(cast_to(c, k).sql for c, k in zip(r, kinds, strict=True)) + ")" for r in rows)
        columns = [(f"_col{i}", k) for i, k in enumerate(kinds)]
        listed = ", ".join(quote(n) for n, _ in columns)
        return _Query(f"SELECT * FROM (VALUES {lines}) AS v({listed})", columns)

    def unnest(self, node: exp.Unnest, scope: _Scope) -> tuple[str, list[tuple[str, TrinoType]]]:
        """One array stands as it is; several, maps, rows and ordinality go through a list of numbers, the longest's."""
        offset = node.args.get("offset")
        values = [self.expr(n, scope) for n in node.expressions]
        for value in values:
            if value.type.name not in ("array", "map"):
                raise UserError(
                    f"unnest needs an array or a map, not {value.type}.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT
                )
        if len(values) == 1 and not offset and values[0].type.name == "array" and values[0].type.args[0].name != "row":
            return f"unnest({values[0].sql})", [("_col0", values[0].type.args[0])]
        lists: list[Typed] = []
        for value in values:
            lists += _unnested(value)
        sizes = ", ".join(f"coalesce(len({v.sql}), 0)" for v in lists)
        number = f"unnest(range(1, greatest({sizes}) + 1))"
        columns = [(f"_col{i}", v.type) for i, v in enumerate(lists)]
        taken = [f"list_extract({v.sql}, n.i)" for v in lists]
        if offset:
            columns.append((f"_col{len(lists)}", BIGINT))
            taken.append("n.i")
        listed = ", ".join(f"{t} AS {quote(name)}" for t, (name, _) in zip(taken, columns, strict=True))
        return f"(SELECT {listed} FROM (SELECT {number} AS i) AS n)", columns

    def set_operation(self, node: exp.SetOperation, parent: _Scope | None) -> _Query:
        word = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}.get(type(node))
        if word is None:
            raise refuse(node)
        only(node, "this", "expression", "distinct", "order", "limit", "offset", "with_")
        scope, prefix = self.with_clause(node, parent)
        left, right = self.query(node.this, scope), self.query(node.expression, scope)
        if len(left.columns) != len(right.columns):
            raise mismatch(f"The two sides of {word} have different numbers of columns.")
        columns: list[tuple[str, TrinoType]] = []
        for (name, a), (_, b) in zip(left.columns, right.columns, strict=True):
            kind = common([a, b])
            if kind is None:
                raise mismatch(f"{word} cannot combine {a} with {b}.")
            columns.append((name, kind))
        arms = [_coerced(q, columns) for q in (left, right)]
        everything = "" if node.args.get("distinct") else " ALL"
        both = f"{arms[0]} {word}{everything} {arms[1]}"
        return _Query(prefix + self.sorted_outputs(node, both, columns, scope), columns)

    def sorted_outputs(self, node: exp.Expr, sql: str, columns: Sequence[tuple[str, TrinoType]], around: _Scope) -> str:
        """A query without ORDER BY under that of `node`, which sees its outputs only.

        DuckDB takes places there; by anything else it sorts a derived table.
        """
        places = _ordinals(columns)
        order = node.args.get("order")
        if all(_is_place(item, places) for item in (order.expressions if order else ())):
            return f"{sql}{self.tail(node, places)}"
        names = [name.lower() for name, _ in columns]
        own = [name if names.count(name) == 1 else f"{name}, {i}" for i, name in enumerate(names)]
        relation = _Relation("outputs", dict(zip(own, (kind for _, kind in columns), strict=True)))
        scope = _Scope(around.parent, around.ctes, [relation], shown=[relation.read(name) for name in own])
        listed = ", ".join(map(quote, own))
        return f"SELECT * FROM ({sql}) AS outputs({listed}){self.tail(node, scope)}"

    def tail(self, node: exp.Expr, scope: _Scope) -> str:
        """ORDER BY, OFFSET, LIMIT."""
        text = ""
        order = node.args.get("order")
        if order:
            only(order, "expressions", "this")
            text += " ORDER BY " + ", ".join(self.ordered(o, scope, ordinals=True) for o in order.expressions)
        limit, offset = node.args.get("limit"), node.args.get("offset")
        if isinstance(limit, exp.Fetch):
            only(limit, "direction", "count", "limit_options")
            options = limit.args.get("limit_options")
            if options and (options.args.get("percent") or options.args.get("with_ties")):
                raise refuse("fetch with ties or percent")
            text += f" LIMIT {_count(limit.args.get('count') or exp.Literal.number(1))}"
        elif limit:
            only(limit, "expression")
            everything = isinstance(limit.expression, exp.Var) and limit.expression.name.upper() == "ALL"
            text += "" if everything else f" LIMIT {_count(limit.expression)}"
        if offset:
            only(offset, "expression")
            text += f" OFFSET {_count(offset.expression)}"
        return text

    def check_distinct_order(self, order: exp.Expr, scope: _Scope, shown: Sequence[str]) -> None:
        """With DISTINCT only what is shown may order the rows."""
        for item in order.expressions:
            if not (_is_shown(item.this, scope) or self.expr(item.this, scope).sql in shown):
                raise UserError(
                    "With SELECT DISTINCT, ORDER BY takes what is selected.",
                    trino=TrinoError.EXPRESSION_NOT_IN_DISTINCT,
                )

    def by_places(self, node: exp.Select, scope: _Scope, shown: Sequence[str]) -> exp.Select:
        """A copy of a SELECT DISTINCT whose ORDER BY has, for the expressions that are selected, their places."""
        found = node.copy()
        for item in found.args["order"].expressions:
            if not _is_shown(item.this, scope):
                item.set("this", exp.Literal.number(shown.index(self.expr(item.this, scope).sql) + 1))
        return found

    def condition(self, word: str, node: exp.Expr | None, scope: _Scope) -> str:
        if not node:
            return ""
        only(node, "this")
        return f"{word} {self.boolean(node.this, scope)}"

    def having(self, node: exp.Expr | None, scope: _Scope) -> str:
        text = self.condition(" HAVING", node, scope)
        if re.search(r"\blambda\b|\btr_(first_of|multimap|skewness|kurtosis)\(", text):
            raise refuse("a lambda, a map or a higher moment in HAVING", "(compute it in a query below)")
        return text

    def boolean(self, node: exp.Expr | None, scope: _Scope) -> str:
        value = self.expr(node, scope)
        if value.type.name not in ("boolean", "unknown"):
            raise mismatch(f"A condition must be boolean, not {value.type}.")
        return value.sql

    def group(self, node: exp.Group, scope: _Scope, items: Sequence[tuple[str, Typed]]) -> str:
        only(node, "expressions", "rollup", "cube", "grouping_sets")
        parts = []
        listed: list[exp.Expr] = list(node.expressions)
        for key in ("rollup", "cube", "grouping_sets"):
            listed += node.args.get(key) or []
        for item in listed:
            if isinstance(item, (exp.Rollup, exp.Cube)):
                only(item, "expressions")
                inner = ", ".join(self.level(k, scope, items) for k in item.expressions)
                parts.append(f"{'ROLLUP' if isinstance(item, exp.Rollup) else 'CUBE'} ({inner})")
            elif isinstance(item, exp.GroupingSets):
                only(item, "expressions")
                sets = ", ".join(f"({self.set_of(s, scope, items)})" for s in item.expressions)
                parts.append(f"GROUPING SETS ({sets})")
            else:
                parts.append(self.key(item, scope, items))
        return ", ".join(parts)

    def set_of(self, node: exp.Expr, scope: _Scope, items: Sequence[tuple[str, Typed]]) -> str:
        keys = node.expressions if isinstance(node, exp.Tuple) else [node.this if isinstance(node, exp.Paren) else node]
        return ", ".join(self.key(k, scope, items) for k in keys)

    def level(self, node: exp.Expr, scope: _Scope, items: Sequence[tuple[str, Typed]]) -> str:
        """What ROLLUP or CUBE takes away at a time: one key, or `(x, y)`."""
        several = isinstance(node, exp.Tuple) and node.expressions
        return f"({self.set_of(node, scope, items)})" if several else self.key(node, scope, items)

    def key(self, node: exp.Expr, scope: _Scope, items: Sequence[tuple[str, Typed]]) -> str:
        """A grouping key; an ordinal becomes the expression that it stands for."""
        if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit():
            place = int(node.name)
            if not 1 <= place <= len(items):
                raise UserError(
                    "GROUP BY position is not in the select list.", trino=TrinoError.INVALID_COLUMN_REFERENCE
                )
            found = items[place - 1][1]
            self.wrote(found.sql)
        elif isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and node.this.name.isdigit():
            raise UserError("GROUP BY position is not in the select list.", trino=TrinoError.INVALID_COLUMN_REFERENCE)
        else:
            found = self.expr(node, scope)
        is_number = found.sql.strip("(-)").isdigit()  # which would be a place in the list
        text = f"CAST({found.sql} AS {found.type.duckdb()})" if is_number else found.sql
        # DuckDB does not see that two lambdas are one: it is told which item the key is.
        same = [
            i for i, (_, value) in enumerate(items, 1) if "lambda" in text and _unnamed(value.sql) == _unnamed(text)
        ]
        return str(same[0]) if same else text

    def ordered(self, node: exp.Expr, scope: _Scope, ordinals: bool = False) -> str:
        if not isinstance(node, exp.Ordered):
            raise refuse(node)
        only(node, "this", "desc", "nulls_first")
        value = node.this
        found: Typed | None
        if ordinals and isinstance(value, exp.Literal) and not value.is_string:
            place = _count(value)
            found = scope.shown[place - 1] if 0 < place <= len(scope.shown) else None
            text = str(place) if found is None or not is_compound(found.type) else self.sort_key(found)
        elif ordinals and isinstance(value, exp.Column) and not value.table and value.name.lower() in scope.outputs:
            found = scope.outputs[value.name.lower()]
            is_constant = found.value is not None or _CONSTANT.fullmatch(found.sql)
            text = str(scope.shown.index(found) + 1) if is_constant else self.sort_key(found)
        else:
            found = self.expr(value, scope)
            text = comparing.orderable(found)
            if found.value is not None or _CONSTANT.fullmatch(text) or text.strip("(-)").isdigit():
                text = f"CAST({text} AS {found.type.duckdb()})"  # a bare number would be a place in the list
        direction = "DESC" if node.args.get("desc") else "ASC"
        if not node.args.get("nulls_first"):
            return f"{text} {direction} NULLS LAST"
        before = f"{self.numbers_key(found)} {direction} NULLS FIRST, " if found and _has_floats(found.type) else ""
        return f"{before}{text} {direction} NULLS FIRST"

    def numbers_key(self, value: Typed) -> str:
        """Sorts before a float under NULLS FIRST, where NaN is the least to Trino, and elsewhere, as to DuckDB, the
        greatest."""
        if is_compound(value.type):
            raise refuse(f"an order by {value.type} with NULLS FIRST")
        self.wrote(value.sql)
        return f"{_IS_NUMBER}({value.sql})"

    def sort_key(self, value: Typed) -> str:
        if value.sql.isdigit() and is_compound(value.type):
            raise refuse(
                f"an order by {value.type} above UNION, INTERSECT or EXCEPT", "(order it in a query around it)"
            )
        text = comparing.orderable(value)
        self.wrote(text)
        return text

    # ---- lambdas -------------------------------------------------------------------------------------

    def fresh(self) -> str:
        self.parameter_count += 1
        return f"p{self.parameter_count}"

    def body(self, node: exp.Expr, given: Sequence[Typed], scope: _Scope) -> Typed:
        if not isinstance(node, exp.Lambda):
            raise unfit("A lambda is needed here.")
        only(node, "this", "expressions")
        names = [p.name.lower() for p in node.expressions]
        if len(names) != len(given) or len(set(names)) != len(names):
            raise UserError(
                f"A lambda with {len(given)} parameters is needed here.", trino=TrinoError.INVALID_PARAMETER_USAGE
            )
        if node.find(exp.Query):
            raise refuse("a subquery in a lambda")
        self.parameters.append(dict(zip(names, given, strict=True)))
        try:
            return self.expr(node.this, scope)
        finally:
            self.parameters.pop()

    def parameter(self, name: str) -> Typed | None:
        return next((found[name] for found in reversed(self.parameters) if name in found), None)

    def identifier(self, node: exp.Expr, scope: _Scope) -> Typed:
        found = self.parameter(node.name.lower())
        if found is None:
            raise no_column(node.name.lower())
        return found

    def with_lambda(self, name: str, nodes: Sequence[exp.Expr], scope: _Scope) -> Typed:
        rule, low, high = LAMBDAS[name]
        if not low <= len(nodes) <= high:
            raise unfit(f"Function {name} takes other arguments.")
        return rule(self, nodes, scope)

    def listed_lambda(self, node: exp.Expr, scope: _Scope) -> Typed:
        """A lambda function that sqlglot has a class for: its arguments in Trino's order."""
        name = _LAMBDA_NODES[type(node)]
        keys = ("this", "initial", "expression", "merge", "finish")
        only(node, *keys, *(("nulls_first",) if name == "array_sort" else ()))
        return self.with_lambda(name, [node.args[k] for k in keys if node.args.get(k) is not None], scope)

    # ---- expressions ---------------------------------------------------------------------------------

    def expr(self, node: exp.Expr | None, scope: _Scope) -> Typed:
        """One expression. Raises TOO_LARGE before its text, which repeats parts, has grown beyond bounds."""
        before = self.length
        found = self.unbounded(node, scope)
        self.length = before  # what its parts wrote is in its own text now
        self.wrote(found.sql)
        return found

    def wrote(self, sql: str) -> None:
        """Add to the statement's length. Raises TOO_LARGE."""
        self.length += len(sql)
        check_size(self.length)

    def unbounded(self, node: exp.Expr | None, scope: _Scope) -> Typed:
        if not isinstance(node, exp.Expr):
            raise refuse("an incomplete expression")
        handler = _HANDLERS.get(type(node))
        if handler:
            return handler(self, node, scope)
        function = BY_NODE.get(type(node))
        if function:
            return self.call(function, node, scope, Call(), windowed=False)
        if isinstance(node, exp.Anonymous):
            return self.anonymous(node, scope)
        if isinstance(node, exp.Func):
            raise unknown_function(node.sql_name() if node._sql_names else type(node).__name__)
        raise refuse(node)

    def anonymous(self, node: exp.Anonymous, scope: _Scope) -> Typed:
        if isinstance(node.this, str) and node.name.lower() in LAMBDAS:
            return self.with_lambda(node.name.lower(), node.expressions, scope)
        function = functions.by_name(node.name)
        if function is None or not isinstance(node.this, str):
            raise unknown_function(node.name)
        return self.call(function, node, scope, Call(), windowed=False)

    def call(self, function: Function, node: exp.Expr, scope: _Scope, call: Call, windowed: bool) -> Typed:
        """A function of the list, an aggregate with DISTINCT or an inner ORDER BY included."""
        if function.kind == "window" and not windowed:
            raise UserError(
                f"Function {function.name} needs OVER.", trino=TrinoError.MISSING_OVER, rule="function list"
            )
        nodes = functions.arguments(function, node)
        if function.rule is not None:
            nodes = [exp.Literal.string(n.name) if isinstance(n, exp.Var) else n for n in nodes]  # normalize(x, NFD)
            return self.scalar_call(function.rule, nodes, scope)
        if nodes and isinstance(nodes[0], exp.Order):
            only(nodes[0], "this", "expressions")
            order = ", ".join(self.ordered(o, scope) for o in nodes[0].expressions)
            call = replace(call, order=f" ORDER BY {order}")
            nodes = [nodes[0].this, *nodes[1:]]
        if nodes and isinstance(nodes[0], exp.Distinct):
            only(nodes[0], "expressions")
            if len(nodes[0].expressions) != 1:
                raise refuse("DISTINCT over several columns")
            if _IS_NUMBER in call.order:
                raise refuse("DISTINCT with floats in an order with NULLS FIRST")
            call = replace(call, distinct=True)
            nodes = [nodes[0].expressions[0], *nodes[1:]]
        if function.name == "count" and nodes and isinstance(nodes[0], exp.Star):
            only(nodes[0])
            if call.distinct:
                raise refuse("count(DISTINCT *)")
            return Typed(call("count", "*"), BIGINT)
        if function.fold is not None:
            return function.fold(self, nodes, scope, call)
        assert function.aggregate is not None
        grouped, scope.grouped = scope.grouped, scope.grouped and bool(call.over)
        values = [self.expr(n, scope) for n in nodes]
        scope.grouped = grouped
        return function.aggregate(values, call)

    def scalar_call(self, rule: functions.Rule, nodes: Sequence[exp.Expr], scope: _Scope) -> Typed:
        """What holds a subquery stands outside of the call's own text: that may repeat it, or use it in a lambda."""
        values = [self.expr(n, scope) for n in nodes]
        values = [Typed("NULL", UNKNOWN) if v.type == UNKNOWN else v for v in values]
        held = [i for i, n in enumerate(nodes) if n.find(exp.Query) and values[i].type != UNKNOWN]
        if rule is functions.attempt and any(map(_is_of_rows, nodes[0].walk())):
            raise refuse("TRY of an aggregate or a window", "(compute it in a query below)")
        if rule in (functions.attempt, functions.coalesce) and not scope.grouped and not held:
            values = [functions.sheltered(v) if self.may_wait(rule, i, v) else v for i, v in enumerate(values)]
        p = self.fresh()
        if rule is functions.attempt and not self.parameters and not functions.first_column(values[0].sql):
            return Typed(f"list_transform([TRUE], lambda {p}: {rule(values).sql})[1]", values[0].type)
        if not held or rule is functions.attempt:
            return rule(values)
        inner = [Typed(f"{p}['a{i}']", v.type) if i in held else v for i, v in enumerate(values)]
        fields = ", ".join(f"'a{i}': {values[i].sql}" for i in held)
        found = rule(inner)
        return Typed(f"list_transform([{{{fields}}}], lambda {p}: {found.sql})[1]", found.type)

    @staticmethod
    def may_wait(rule: functions.Rule, place: int, value: Typed) -> bool:
        """Whether an argument may fail, and does not count where it is not needed."""
        return rule is functions.attempt or (place > 0 and "tr_" in value.sql)

    def window(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "partition_by", "order", "spec", "over", "alias")
        if str(node.args.get("over") or "OVER").upper() != "OVER":
            raise refuse(node)
        given = {k: node.args.get(k) for k in ("partition_by", "order", "spec")}
        if node.args.get("alias"):
            named = scope.windows.get(node.alias.lower())
            if named is None:
                raise UserError(f"Window {node.alias} is not known.", Outcome.SEMANTIC, rule="names")
            only(named, "this", "partition_by", "order", "spec", "over")
            given = {k: v or named.args.get(k) for k, v in given.items()}
        parts = []
        if given["partition_by"]:
            keys = ", ".join(self.expr(k, scope).sql for k in given["partition_by"])
            parts.append(f"PARTITION BY {keys}")
        if given["order"]:
            only(given["order"], "expressions")
            parts.append("ORDER BY " + ", ".join(self.ordered(o, scope) for o in given["order"].expressions))
        if functions.GROWING.search(" ".join(parts)):
            raise refuse("a window by concat, replace or random", "(compute it in a query below)")
        if given["spec"]:
            frame = self.frame(given["spec"], scope)
            # DuckDB takes one key there.
            if _IS_NUMBER in " ".join(parts) and re.match(r"RANGE .*(?<!UNBOUNDED) (PRECEDING|FOLLOWING)", frame):
                raise refuse("a RANGE frame over floats in an order with NULLS FIRST")
            parts.append(frame)
        if isinstance(node.this.find(exp.Lag, exp.Lead), (exp.Lag, exp.Lead)) and not given["order"]:
            raise UserError("lag and lead need ORDER BY.", trino=TrinoError.MISSING_ORDER_BY, rule="function list")
        return self.aggregate(node.this, scope, f" OVER ({' '.join(parts)})", windowed=True)

    def frame(self, spec: exp.Expr, scope: _Scope) -> str:
        only(spec, "kind", "start", "start_side", "end", "end_side")
        kind = str(spec.args.get("kind")).upper()
        if kind not in ("ROWS", "RANGE", "GROUPS"):
            raise refuse(f"frame {kind}")
        start = self.bound(spec.args.get("start"), spec.args.get("start_side"), scope)
        end = self.bound(spec.args.get("end"), spec.args.get("end_side"), scope)
        if end.endswith("PRECEDING") and not start.endswith("PRECEDING"):
            raise _no_frame("The frame ends before it starts.")
        return f"{kind} BETWEEN {start} AND {end}" if end else f"{kind} {start}"

    def bound(self, value: Any, side: Any, scope: _Scope) -> str:
        if value is None:
            return ""
        word = str(side or "").upper()
        if value == "CURRENT ROW":
            return "CURRENT ROW"
        if word not in ("PRECEDING", "FOLLOWING"):
            raise refuse("this window frame")
        if value == "UNBOUNDED":
            return f"UNBOUNDED {word}"
        if not isinstance(value, exp.Expr):
            raise refuse("this window frame")
        found = self.expr(value, scope)
        if isinstance(found.value, int) and found.value < 0:
            raise _no_frame("A frame reaches no less than 0.")
        if found.type.name.startswith("interval"):
            call = "to_months" if found.type == YEARS else "to_milliseconds"
            return f"{call}({found.sql}) {word}"
        return f"{found.sql} {word}"

    def aggregate(self, node: exp.Expr, scope: _Scope, over: str, windowed: bool) -> Typed:
        """An aggregate or window function under FILTER, IGNORE NULLS or OVER."""
        nulls = where = ""
        if isinstance(node, (exp.IgnoreNulls, exp.RespectNulls)):
            only(node, "this")
            nulls = " IGNORE NULLS" if isinstance(node, exp.IgnoreNulls) else ""
            node = node.this
        if isinstance(node, exp.Filter):
            only(node, "this", "expression")
            only(node.expression, "this")
            where = self.boolean(node.expression.this, scope)
            node = node.this
        function = BY_NODE.get(type(node))
        if isinstance(node, exp.Anonymous):
            function = functions.by_name(node.name)
        if function is None or function.rule is not None:
            if isinstance(node, exp.Func) and function is None:
                raise unknown_function(node.name if isinstance(node, exp.Anonymous) else node.sql_name())
            raise refuse("OVER or FILTER on what is no aggregate")
        if nulls and function.kind != "window":
            raise refuse("IGNORE NULLS on an aggregate")
        return self.call(function, node, scope, Call(nulls=nulls, where=where, over=over), windowed)

    def filtered(self, node: exp.Expr, scope: _Scope) -> Typed:
        return self.aggregate(node, scope, "", windowed=False)

    def column(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "table", "db")
        name, table = node.name.lower(), node.text("table").lower()
        if node.args.get("db"):
            return self.field(self.column(exp.column(table, table=node.text("db").lower()), scope), name)
        inner = self.parameter(table or name)
        if inner is not None:
            return self.field(inner, name) if table else inner
        level: _Scope | None = scope
        while level is not None:
            found = level.find(name, table)
            if found is not None:
                return found
            if not table and level.outputs and name in level.outputs and level is scope:
                return level.outputs[name]
            level = level.parent
        if table:
            row = self.column(exp.column(table), scope)
            return self.field(row, name)
        raise no_column(name)

    def field(self, row: Typed, name: str) -> Typed:
        """A field of a row by its name."""
        if row.type.name != "row":
            raise mismatch(f"A field needs a row, not {row.type}.")
        for i, (own, kind) in enumerate(row.type.args):
            if own.lower() == name:
                return Typed(f"struct_extract({row.sql}, {sql_text(own or f'field{i}')})", kind)
        raise no_column(name)

    def dot(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        if not isinstance(node.expression, exp.Identifier):
            raise refuse("this field")
        return self.field(self.expr(node.this, scope), node.expression.name.lower())

    def literal(self, node: exp.Expr, scope: _Scope) -> Typed:
        text = node.name
        if node.is_string:
            return Typed(sql_text(text), TrinoType("varchar", (len(text),)), text)
        if re.fullmatch(r"[0-9]+", text):
            text = text.lstrip("0")[:20] or "0"
            value = int(text)
            if value > 2**63 - 1:
                raise UserError("An integer literal is out of range.", Outcome.SYNTAX, rule="literals")
            return Typed(text, INTEGER if value < 2**31 else BIGINT, value)
        if re.fullmatch(r"[0-9]*\.[0-9]*", text) and text != ".":
            whole, _, fraction = text.partition(".")
            digits = len(whole.lstrip("0")) + len(fraction)
            if digits > 38:
                raise UserError("A decimal literal is out of range.", trino=TrinoError.INVALID_LITERAL)
            kind = TrinoType("decimal", (max(digits, 1), len(fraction)))
            return Typed(f"CAST({sql_text(text)} AS {kind.duckdb()})", kind, text)
        if re.fullmatch(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][+-]?[0-9]+", text):
            return Typed(f"CAST({sql_text(text)} AS DOUBLE)", DOUBLE)
        raise refuse("this literal")

    def hex_string(self, node: exp.Expr, scope: _Scope) -> Typed:
        text = re.sub(r"\s", "", node.name)
        if not re.fullmatch(r"([0-9a-fA-F]{2})*", text):
            raise refuse("this literal")
        return Typed(f"unhex({sql_text(text)})", TrinoType("varbinary"))

    def paren(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        inner = self.expr(node.this, scope)
        return Typed(f"({inner.sql})", inner.type, inner.value)

    def binary(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "typed", "safe")
        op = _ARITHMETIC[type(node)]
        left, right = self.expr(node.this, scope), self.expr(node.expression, scope)
        kinds = (left.type, right.type)
        if any(k.name.startswith("interval") or is_moment(k) for k in kinds) and UNKNOWN in kinds:
            known = kinds[0] if kinds[1] == UNKNOWN else kinds[1]
            return Typed(f"CAST(NULL AS {known.duckdb()})", known)
        if any(k.name.startswith("interval") for k in kinds):
            return with_interval(op, left, right)
        if op == "-" and is_moment(left.type) and is_moment(right.type):
            return between_moments(left, right)
        return arithmetic(op, left, right)

    def pipe(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "safe")
        return functions.concat([self.expr(node.this, scope), self.expr(node.expression, scope)])

    def negate(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        # The smallest bigint is written as a negated literal that alone would not fit.
        inner = node.this
        if isinstance(inner, exp.Literal) and not inner.is_string and inner.name == str(2**63):
            return Typed(f"CAST({sql_text(str(-(2**63)))} AS BIGINT)", BIGINT, -(2**63))
        if isinstance(inner, exp.Literal) and not inner.is_string and inner.name == str(2**31):
            return Typed(f"CAST({sql_text(str(-(2**31)))} AS INTEGER)", INTEGER, -(2**31))
        value = self.expr(inner, scope)
        if not value.type.is_numeric and not value.type.name.startswith(("interval", "unknown")):
            raise mismatch(f"Operator - needs a number, not {value.type}.")
        if value.type == UNKNOWN:
            raise functions.ambiguous()
        known = value.value
        return Typed(f"(-{value.sql})", value.type, -known if isinstance(known, int) else None)

    def bits(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        values = [self.expr(n, scope) for n in (node.this, node.args.get("expression")) if n is not None]
        for value in values:
            if not value.type.is_integer and value.type.name != "unknown":
                raise unfit("A bitwise function needs integers.")
        sqls = [cast_to(v, BIGINT).sql for v in values]
        if isinstance(node, exp.BitwiseNot):
            return Typed(f"(~{sqls[0]})", BIGINT)
        if isinstance(node, exp.BitwiseXor):
            return Typed(f"xor({sqls[0]}, {sqls[1]})", BIGINT)
        return Typed(f"({sqls[0]} {_BITS[type(node)]} {sqls[1]})", BIGINT)

    def compare(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        op = _COMPARE[type(node)]
        left = self.expr(node.this, scope)
        right = node.expression
        if isinstance(right, (exp.All, exp.Any)):
            return self.quantified(node, left, scope)
        other = self.expr(right, scope)
        kind = comparable(left.type, other.type, f"Operator {op}")
        if is_compound(kind):
            return _compound(op, left, other, kind)
        a, b = _coerce(left, kind), _coerce(other, kind)
        if kind.name in ("double", "real"):
            if node.find(exp.Query):  # a subquery must not be written out twice: what it reads may be read once
                inner = _float_compare(op, "q['a']", "q['b']", Typed("q['b']", DOUBLE))
                return Typed(comparing.together(kind, a, b, inner), BOOLEAN)
            return Typed(_float_compare(op, a, b, other), BOOLEAN)
        return Typed(f"({a} {op} {b})", BOOLEAN)

    def quantified(self, node: exp.Expr, left: Typed, scope: _Scope) -> Typed:
        """`left op ALL (query)`, and ANY: equality with any is IN, and of numbers that may be NaN bounds decide."""
        op, right = _COMPARE[type(node)], node.expression
        only(right, "this")
        word = "ALL" if isinstance(right, exp.All) else "ANY"
        if (op, word) in (("=", "ANY"), ("<>", "ALL")):
            member = exp.In(this=node.this.copy(), query=right.this.copy())
            member.parent = node.parent if word == "ANY" else node
            found = self.in_(member, scope)
            return found if word == "ANY" else Typed(f"(NOT {found.sql})", BOOLEAN)
        query = self.subquery(right.this, scope)
        kind = comparable(left.type, query.columns[0][1], f"Operator {op}")
        if kind.name in ("double", "real"):
            return Typed(_by_bounds(op, word, cast_to(left, kind).sql, query, kind), BOOLEAN)
        side = _coerce(left, kind) if kind.name in ("timestamp with time zone", "char") else left.sql
        return Typed(f"({side} {op} {word} ({_column_as(query, kind)}))", BOOLEAN)

    def distinct_from(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        a, b = _pair(self.expr(node.this, scope), self.expr(node.expression, scope), "IS DISTINCT FROM")
        word = "IS NOT DISTINCT FROM" if isinstance(node, exp.NullSafeEQ) else "IS DISTINCT FROM"
        return Typed(f"({a} {word} {b})", BOOLEAN)

    def logic(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        word = "AND" if isinstance(node, exp.And) else "OR"
        # A long chain is a left-deep tree: walk it, so that depth is not a matter of recursion.
        parts: list[exp.Expr] = []
        rest: exp.Expr = node
        while isinstance(rest, type(node)):
            only(rest, "this", "expression")
            parts.append(rest.expression)
            rest = rest.this
        parts.append(rest)
        return Typed("(" + f" {word} ".join(self.boolean(p, scope) for p in reversed(parts)) + ")", BOOLEAN)

    def negation(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        return Typed(f"(NOT {self.boolean(node.this, scope)})", BOOLEAN)

    def is_(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        right = node.expression
        if isinstance(right, exp.Null):
            return Typed(f"({self.expr(node.this, scope).sql} IS NULL)", BOOLEAN)
        if isinstance(right, exp.Boolean):
            word = "TRUE" if right.this else "FALSE"
            return Typed(f"({self.boolean(node.this, scope)} IS {word})", BOOLEAN)
        raise refuse(node)

    def between(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "low", "high")
        value = self.expr(node.this, scope)
        low, high = self.expr(node.args["low"], scope), self.expr(node.args["high"], scope)
        kinds = [comparable(value.type, end.type, "BETWEEN") for end in (low, high)]
        if any(is_compound(k) for k in kinds):
            above, below = _compound(">=", value, low, kinds[0]), _compound("<=", value, high, kinds[1])
            return Typed(f"({above.sql} AND {below.sql})", BOOLEAN)
        a, b = _coerce(value, kinds[0]), _coerce(value, kinds[1])
        ends = _coerce(low, kinds[0]), _coerce(high, kinds[1])
        if any(k.name in ("double", "real") for k in kinds) and not _is_plain_float(high):
            return Typed(
                f"({_float_compare('>=', a, ends[0], low)} AND {_float_compare('<=', b, ends[1], high)})", BOOLEAN
            )
        if a == b:
            return Typed(f"({a} BETWEEN {ends[0]} AND {ends[1]})", BOOLEAN)
        return Typed(f"({a} >= {ends[0]} AND {b} <= {ends[1]})", BOOLEAN)

    def in_(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expressions", "query")
        value = self.expr(node.this, scope)
        if node.args.get("query") is not None:
            found = self._in_query(value, node, scope)
            if not _filters(node) or not _matches_oddly(value.type):
                return found
            # As a filter it is a join to Trino, and what is not equal to itself has no match there.
            return Typed(f"({found.sql} AND {equality(value, value, value.type).sql})", BOOLEAN)
        return self._in_list(value, node, scope)

    def _in_query(self, value: Typed, node: exp.Expr, scope: _Scope) -> Typed:
        if value.type.name == "row":
            return self._row_in(value, self.query(node.args["query"], scope))
        query = self.subquery(node.args["query"], scope)
        kind = comparable(value.type, query.columns[0][1], "IN")
        left = cast_to(value, kind).sql if value.type != kind else value.sql
        return Typed(f"({left} IN ({_column_as(query, kind)}))", BOOLEAN)

    def _in_list(self, value: Typed, node: exp.Expr, scope: _Scope) -> Typed:
        items = [self.expr(n, scope) for n in node.expressions]
        kind = value.type
        for item in items:
            kind = comparable(kind, item.type, "IN")
        if is_compound(kind):
            return Typed("(" + " OR ".join(equality(value, i, kind).sql for i in items) + ")", BOOLEAN)
        listed = ", ".join(_coerce(i, kind) for i in items)
        known = _coerce(value, kind)
        plain = all(i.type.name not in ("double", "real") or i.sql.startswith("CAST('") for i in items)
        if kind.name in ("double", "real") and not (plain and "NaN" not in listed):
            check_size(len(known) * len(items))
            return Typed("(" + " OR ".join(f"tr_float_eq({known}, {_coerce(i, kind)})" for i in items) + ")", BOOLEAN)
        return Typed(f"({known} IN ({listed}))", BOOLEAN)

    def _row_in(self, value: Typed, query: _Query) -> Typed:
        """Whether a row is among those of a query of as many columns. NULL is like NULL here, and like nothing else."""
        fields = [kind for _, kind in value.type.args]
        if len(fields) != len(query.columns):
            raise mismatch(f"IN cannot compare {value.type} with {len(query.columns)} columns of a query.")
        found = [kind for _, kind in query.columns]
        kinds = [comparable(field, column, "IN") for field, column in zip(fields, found, strict=True)]
        wanted = TrinoType("row", tuple(("", kind) for kind in kinds))
        left = value if fields == kinds else cast_to(value, wanted)
        names = [f'"f{i}"' for i in range(len(kinds))]
        row = row_of([cast_to(Typed(f"q.{name}", a), b) for name, a, b in zip(names, found, kinds, strict=True)])
        return Typed(f"({left.sql} IN (SELECT {row.sql} FROM ({query.sql}) AS q ({', '.join(names)})))", BOOLEAN)

    def like(self, node: exp.Expr, scope: _Scope) -> Typed:
        escape = ""
        if isinstance(node, exp.Escape):
            only(node, "this", "expression")
            mark = node.expression
            if not isinstance(mark, exp.Literal) or not mark.is_string:
                raise refuse("this ESCAPE")
            if len(mark.name) != 1:
                raise UserError("ESCAPE is one character.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT)
            escape = f" ESCAPE {sql_text(mark.name)}"
            node = node.this
        if type(node) is not exp.Like:
            raise refuse(node)
        only(node, "this", "expression", "negate")
        left, right = self.expr(node.this, scope), self.expr(node.expression, scope)
        for side in (left, right):
            if not side.type.is_text and side.type.name != "unknown":
                raise mismatch(f"LIKE needs text, not {side.type}.")
        if right.type.name == "char":
            raise mismatch("The pattern of LIKE is a varchar.")
        word = "NOT LIKE" if node.args.get("negate") else "LIKE"
        return Typed(f"({text_of(left) if left.type.args else left.sql} {word} {right.sql}{escape})", BOOLEAN)

    def case(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "ifs", "default")
        subject = self.expr(node.this, scope) if node.args.get("this") else None
        check_size(len(subject.sql) * len(node.args["ifs"]) if subject else 0)
        tests, values = [], []
        for branch in node.args["ifs"]:
            only(branch, "this", "true")
            if subject is None:
                tests.append(self.boolean(branch.this, scope))
            else:
                other = self.expr(branch.this, scope)
                tests.append(equality(subject, other, comparable(subject.type, other.type, "CASE")).sql)
            values.append(self.expr(branch.args["true"], scope))
        if node.args.get("default") is not None:
            values.append(self.expr(node.args["default"], scope))
        return self.choice(tests, values, scope)

    def if_(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "true", "false")
        values = [self.expr(n, scope) for n in (node.args.get("true"), node.args.get("false")) if n is not None]
        return self.choice([self.boolean(node.this, scope)], values, scope)

    def choice(self, tests: Sequence[str], values: Sequence[Typed], scope: _Scope) -> Typed:
        """What reads no column is computed for each row, as the others are: if it fails, it would fail while DuckDB
        plans, also in a branch that is not taken, and where no TRY round it is heard."""
        read = (*tests, *(v.sql for v in values if "SELECT" not in v.sql))
        column = next(filter(None, map(functions.first_column, read)), "")
        if not column or scope.grouped or self.parameters or any("SELECT" in t for t in tests):
            return _choice(tests, values)

        def later(sql: str) -> str:
            """In a lambda, whose parts DuckDB leaves alone while it plans."""
            return (
                f"list_transform([{column} IS NULL], lambda {self.fresh()}: {sql})[1]" if _may_fail_alone(sql) else sql
            )

        return _choice([later(t) for t in tests], [replace(v, sql=later(v.sql)) for v in values])

    def subquery(self, node: exp.Expr, scope: _Scope) -> _Query:
        """A query inside an expression: one column, may refer to the enclosing scope."""
        inner = self.query(node, scope)
        if len(inner.columns) != 1:
            raise mismatch("A subquery in an expression has exactly one column.")
        return inner

    def scalar(self, node: exp.Expr, scope: _Scope) -> Typed:
        inner = self.subquery(node, scope)
        return Typed(f"({inner.sql})", inner.columns[0][1])

    def exists(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        return Typed(f"EXISTS ({self.query(node.this, scope).sql})", BOOLEAN)

    def cast(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "to", "safe")
        target = data_type(node.args["to"])
        literal = node.this
        if isinstance(literal, exp.Literal) and literal.is_string:
            if target.name in ("date", "time", "timestamp", "timestamp with time zone"):
                return self.moment_of(literal.name, target, isinstance(node, exp.TryCast))
            if target.name == "char" and not node.args["to"].expressions and len(literal.name) > 1:
                raise refuse("char without a length")
        return cast_value(self.expr(node.this, scope), target, isinstance(node, exp.TryCast))

    def moment_of(self, text: str, target: TrinoType, try_: bool) -> Typed:
        """A date, time or timestamp out of a text that is known; one that is none fails where it is computed."""
        try:
            return _date_literal(text, target, TrinoError.INVALID_CAST_ARGUMENT)
        except UserError as bad:
            if bad.trino != TrinoError.INVALID_CAST_ARGUMENT:
                raise
        if target.name in ("time", "timestamp"):
            return _from_text(Typed(sql_text(text), VARCHAR), target, try_)
        failed = "NULL" if try_ else "tr_fail('INVALID_CAST_ARGUMENT')"
        return Typed(f"CAST({failed} AS {target.duckdb()})", target)

    def date_of(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        return cast_value(self.expr(node.this, scope), DATE, False)

    def extract(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        unit = node.this.name.lower()
        value = self.expr(node.expression, scope)
        if unit in ("timezone_hour", "timezone_minute"):
            return functions.zone_part(unit, value)
        if unit not in PARTS or unit == "millisecond":
            raise UserError("This is no unit of extract.", Outcome.SYNTAX, rule="closed list")
        if value.type.name == "date" and unit in _CLOCK_UNITS:
            raise mismatch(f"{unit} cannot be extracted from a date.")
        return date_part(unit, value)

    def date_trunc(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "unit")
        value = self.expr(node.this, scope)
        unit = _unit(node.args.get("unit"), _units_of(value), "date_trunc")
        _need_moment("date_trunc", value)
        if value.type.name == "time":
            step = MILLISECONDS[unit] * 1000
            return Typed(f"(TIME '00:00:00' + to_microseconds(epoch_us({value.sql}) // {step} * {step}))", value.type)
        if value.type.name == "timestamp with time zone":
            return as_far_ahead(f"date_trunc('{unit}', {local_time(value)})", value)
        return Typed(f"CAST(date_trunc('{unit}', {value.sql}) AS {value.type.duckdb()})", value.type)

    def date_add(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "unit")
        value, count = self.expr(node.this, scope), self.expr(node.expression, scope)
        unit = _unit(node.args.get("unit"), _units_of(value), "date_add")
        _need_moment("date_add", value)
        if count.type.name == "unknown":
            count = cast_to(count, BIGINT)
        if not count.type.is_integer:
            raise unfit("date_add needs an integer.")
        if value.type.name == "timestamp with time zone" and unit in ("day", "week", *MONTHS):
            return as_far_ahead(f"({local_time(value)} + {_step(unit, count.sql)})", value)
        sql = f"CAST(({value.sql} + {_step(unit, count.sql)}) AS {value.type.duckdb()})"
        return Typed(
            _rounded(sql, 3 if unit == "millisecond" else 0, value.type) if value.type.args else sql, value.type
        )

    def date_diff(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "unit")
        end, start = self.expr(node.this, scope), self.expr(node.expression, scope)
        both_dates = end.type.name == start.type.name == "date"
        unit = _unit(
            node.args.get("unit"),
            _units_of(start) if both_dates or start.type.name == "time" else tuple(_UNITS),
            "date_diff",
        )
        for side in (start, end):
            _need_moment("date_diff", side)
        if "time" in (start.type.name, end.type.name):
            if start.type.name != end.type.name:
                raise unfit(f"date_diff does not take {start.type} and {end.type}.")
            return Typed(f"((epoch_us({end.sql}) - epoch_us({start.sql})) // {MILLISECONDS[unit] * 1000})", BIGINT)
        # date_sub counts whole units, as Trino does; DuckDB's date_diff counts boundaries.
        if start.type != end.type and "timestamp with time zone" in (start.type.name, end.type.name):
            start, end = _in_first_zone(start, end)
        a, b = (v.sql if unit in _CLOCK_UNITS else local_time(v) for v in (start, end))
        if any(k.args and k.args[0] > 3 for k in (start.type, end.type)):  # milliseconds are what is counted with
            a, b = f"date_trunc('millisecond', {a})", f"date_trunc('millisecond', {b})"
        return Typed(f"tr_date_diff_{unit}({a}, {b})", BIGINT)

    def interval(self, node: exp.Expr, scope: _Scope) -> Typed:
        """An interval is a count: of milliseconds, or of months."""
        only(node, "this", "unit")
        this, sign = node.this, 1
        if isinstance(this, exp.Neg):
            this, sign = this.this, -1
        text = this.name if isinstance(this, exp.Literal) else ""
        if text[:1] in ("-", "+"):
            text, sign = text[1:], -sign if text[0] == "-" else sign
        unit = node.args.get("unit")
        if isinstance(unit, exp.IntervalSpan):
            names = (_unit(unit.this, tuple(_UNITS), "interval"), _unit(unit.expression, tuple(_UNITS), "interval"))
            found = re.fullmatch(_SPANS.get(names, "(?!)"), text)
            if names not in _SPANS:
                raise refuse("this interval")
            parts = {k: v for k, v in found.groupdict().items() if v} if found else {}
        else:
            names = (_unit(unit, tuple(_UNITS), "interval"),) * 2
            digits = r"[0-9]{1,9}(\.[0-9]{1,3})?" if names[0] == "second" else "[0-9]{1,9}"
            parts = {names[0]: text} if re.fullmatch(digits, text) else {}
        if not parts:
            raise UserError(f"'{text[:40]}' is no interval.", trino=TrinoError.INVALID_LITERAL, rule="types")
        if names[0] in MONTHS:
            months = sign * sum(int(v) * MONTHS[k] for k, v in parts.items())
            return Typed(f"CAST({months} AS INTEGER)", YEARS, months)
        count = sign * sum(int(Decimal(v) * MILLISECONDS[k]) for k, v in parts.items())
        return Typed(f"CAST({count} AS BIGINT)", DAYS, count)

    def row(self, node: exp.Expr, scope: _Scope) -> Typed:
        """ROW(..) and (a, b): a struct whose fields have no names."""
        only(node, "expressions")
        values = [self.expr(n, scope) for n in node.expressions]
        return row_of(values)

    def map_(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "keys", "values")
        parts = [self.expr(node.args[k], scope) for k in ("keys", "values") if node.args.get(k) is not None]
        if not parts:
            return Typed("CAST(map([], []) AS MAP(INTEGER, INTEGER))", TrinoType("map", (UNKNOWN, UNKNOWN)))
        if len(parts) != 2:
            raise UserError("map takes two arrays.", trino=TrinoError.INVALID_ARGUMENTS, rule="function list")
        kinds = []
        for part in parts:
            if part.type.name not in ("array", "unknown"):
                raise mismatch(f"map takes two arrays, not {part.type}.")
            kinds.append(part.type.args[0] if part.type.args else UNKNOWN)
        return Typed(f"tr_map({parts[0].sql}, {parts[1].sql})", TrinoType("map", tuple(kinds)))

    def at_zone(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "zone")
        return at_timezone(self.expr(node.this, scope), self.expr(node.args["zone"], scope))

    def unicode_string(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        text = re.sub(
            r"\\\\|\\([0-9a-fA-F]{4})|\\\+([0-9a-fA-F]{6})",
            lambda m: "\\" if m[0] == "\\\\" else chr(int(m[1] or m[2], 16)),
            node.name,
        )
        return Typed(sql_text(text), TrinoType("varchar", (len(text),)), text)

    def type_of(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        kind = self.expr(node.this, scope).type
        text = re.sub(r"decimal\(([0-9]+), ([0-9]+)\)", r"decimal(\1,\2)", str(kind))
        return Typed(sql_text(text.lower()), VARCHAR)

    def format_(self, node: exp.Expr, scope: _Scope) -> Typed:
        """Values travel as their texts, with a letter each for what they are."""
        only(node, "this", "expressions")
        pattern = self.expr(node.this, scope)
        values = [self.expr(n, scope) for n in node.expressions]
        if not values:
            raise UserError("format takes a text and values.", Outcome.SYNTAX, rule="function list")
        if not pattern.type.is_text:
            raise mismatch(f"format takes a text, not {pattern.type}.")
        kinds = "".join(_format_kind(v.type) for v in values)
        texts = ", ".join(_format_text(v) for v in values)
        return Typed(f"tr_formatted({pattern.sql}, {sql_text(kinds)}, CAST([{texts}] AS VARCHAR[]))", VARCHAR)

    def trim(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "position")
        call = {"": "trim", "BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}.get(
            str(node.args.get("position") or "").upper()
        )
        if call is None:
            raise refuse("this trim")
        values = [self.expr(n, scope) for n in (node.this, node.args.get("expression")) if n is not None]
        for value in values:
            if not value.type.is_text and value.type.name != "unknown":
                raise unfit("trim needs text.")
        texts = [v.sql for v in values]
        texts += [sql_text(BLANKS)] if len(texts) == 1 else []
        return Typed(f"{call}({', '.join(texts)})", functions.text_like(values))

    def lower_hex(self, node: exp.Expr, scope: _Scope) -> Typed:
        """lower(to_hex(x)), which is one node to sqlglot."""
        only(node, "this")
        found = self.expr(exp.Hex(this=node.this.copy()), scope)
        return Typed(f"lower({found.sql})", found.type)

    def pad(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "fill_pattern", "is_left")
        text, size = self.expr(node.this, scope), self.expr(node.expression, scope)
        if node.args.get("fill_pattern") is None:
            raise unfit("lpad and rpad take 3 arguments.")
        fill = self.expr(node.args["fill_pattern"], scope)
        kinds = {text.type.name, fill.type.name}
        if kinds == {"unknown"}:
            raise functions.ambiguous()
        if kinds == {"unknown", "varbinary"}:
            return cast_to(Typed("NULL", UNKNOWN), TrinoType("varbinary"))
        if kinds == {"varbinary"}:
            raise refuse("lpad or rpad of bytes")
        if "unknown" in (text.type.name, size.type.name, fill.type.name):
            text, size, fill = cast_to(text, VARCHAR), cast_to(size, BIGINT), cast_to(fill, VARCHAR)
        left = bool(node.args.get("is_left"))
        if not (
            (text.type.is_text if left else text.type.name == "varchar")
            and size.type.is_integer
            and fill.type.name == "varchar"
        ):
            raise unfit("lpad and rpad take text, an integer and text.")
        call = "lpad" if left else "rpad"
        shown = text_of(text) if text.type.name == "char" else text.sql
        filling = fill.sql if fill.value else f"tr_filling({shown}, {fill.sql})"
        return Typed(f"{call}({shown}, tr_pad({size.sql}), {filling})", VARCHAR)

    def bracket(self, node: exp.Expr, scope: _Scope) -> Typed:
        """a[n] and element_at(a, n) of arrays, m[k] and element_at(m, k) of maps, r[n] of rows.

        sqlglot counts the literal n of a[n] from 0; what is computed stays as it is written.
        """
        only(node, "this", "expressions", "offset", "safe")
        if len(node.expressions) != 1 or node.expressions[0] is None:
            raise mismatch("A subscript needs one index.")
        value, index = self.expr(node.this, scope), self.expr(node.expressions[0], scope)
        gentle = bool(node.args.get("safe"))
        if value.type.name == "map":
            return self.at_key(value, index, gentle)
        if value.type.name == "unknown":
            return value
        if value.type.name not in ("array", "row") or not (index.type.is_integer or index.type.name == "unknown"):
            raise mismatch(f"A subscript of {value.type} cannot be {index.type}.")
        if value.type.name == "row":
            raise refuse("a subscript of a row", "(use the name of a field)")
        if not gentle and isinstance(node.expressions[0], exp.Literal):
            index = Typed(str(int(node.expressions[0].name) + 1), index.type, int(node.expressions[0].name) + 1)
        elif not gentle and not isinstance(node.expressions[0], (exp.Column, exp.Identifier, exp.Neg)):
            # sqlglot shifts some of them by one and others not, as it guesses their types.
            raise refuse("a computed subscript", "(use element_at)")
        call = "tr_element" if gentle else "tr_subscript"
        if isinstance(index.value, int) and index.value > 0 and gentle:
            call = "list_extract"
        return Typed(f"{call}({value.sql}, {index.sql})", value.type.args[0])

    def at_key(self, value: Typed, key: Typed, gentle: bool) -> Typed:
        kind = common([value.type.args[0], key.type])
        if kind is None:
            raise (unfit if gentle else mismatch)(f"The key of {value.type} cannot be {key.type}.")
        wanted = cast_to(key, kind).sql
        if kind != value.type.args[0] and (not kind.is_text or value.type.args[0].name == "unknown"):
            value = cast_to(value, TrinoType("map", (kind, value.type.args[1])))
        if gentle:
            return Typed(f"map_extract({value.sql}, {wanted})[1]", value.type.args[1])
        return Typed(f"tr_at_key({value.sql}, {wanted})", value.type.args[1])

    def array(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "expressions", "value_constructor", "bracket_notation")
        values = [self.expr(n, scope) for n in node.expressions]
        kind = common([v.type for v in values]) if values else UNKNOWN
        if kind is None:
            raise mismatch("The elements of an array have one type.")
        listed = f"[{', '.join(cast_to(v, kind).sql for v in values)}]"
        whole = TrinoType("array", (kind,))
        return Typed(listed if values else f"CAST([] AS {whole.duckdb()})", whole)

    def sequence(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "start", "end", "step")
        start, end = self.expr(node.args["start"], scope), self.expr(node.args["end"], scope)
        if start.type == end.type == UNKNOWN:
            raise functions.ambiguous()
        if "unknown" in (start.type.name, end.type.name):
            kind = BIGINT if start.type.is_integer or end.type.is_integer else common([start.type, end.type])
            return cast_to(Typed("NULL", UNKNOWN), TrinoType("array", (kind,)))
        step = self.expr(node.args["step"], scope) if node.args.get("step") is not None else None
        if start.type.is_integer and end.type.is_integer and (step is None or step.type.is_integer):
            sqls = [cast_to(v, BIGINT).sql for v in (start, end)]
            by = (
                cast_to(step, BIGINT).sql if step is not None else f"CASE WHEN {sqls[0]} > {sqls[1]} THEN -1 ELSE 1 END"
            )
            return Typed(f"tr_sequence({', '.join(sqls)}, {by})", TrinoType("array", (BIGINT,)))
        if start.type.name == end.type.name == "date":
            by = (
                "to_days(1)"
                if step is None
                else f"to_months({step.sql})"
                if step.type == YEARS
                else f"to_milliseconds({step.sql})"
            )
            if step is not None and not step.type.name.startswith("interval"):
                raise mismatch("sequence of dates steps by an interval.")
            if step is not None and step.type == YEARS:
                months = f"tr_date_diff_month({start.sql}, {end.sql})"
                return Typed(f"tr_dates_by({start.sql}, {end.sql}, {step.sql}, {months})", TrinoType("array", (DATE,)))
            return Typed(f"tr_date_sequence({start.sql}, {end.sql}, {by})", TrinoType("array", (DATE,)))
        if start.type.name == end.type.name == "timestamp" and step is not None and step.type == YEARS:
            months = f"tr_date_diff_month({start.sql}, {end.sql})"
            sql = f"tr_stamps_by_months({start.sql}, {end.sql}, {step.sql}, {months})"
            return Typed(sql, TrinoType("array", (start.type,)))
        if start.type.name == end.type.name == "timestamp" and step is not None and step.type == DAYS:
            return Typed(f"tr_stamps_by({start.sql}, {end.sql}, {step.sql})", TrinoType("array", (start.type,)))
        raise mismatch("sequence takes integers, dates or timestamps.")

    def json_path(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "expressions")
        path = ""
        for part in node.expressions:
            if isinstance(part, exp.JSONPathRoot):
                path += "$"
            elif isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
                path += '["' + part.this.replace("\\", "\\\\").replace('"', '\\"') + '"]'
            elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
                path += f"[{part.this}]"
            else:
                raise refuse("this JSON path")
        return Typed(sql_text(path), VARCHAR, path)

    def grouping(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "expressions")
        keys = ", ".join(self.expr(k, scope).sql for k in node.expressions)
        kind = INTEGER if len(node.expressions) < 32 else BIGINT
        return Typed(f"CAST(GROUPING({keys}) AS {kind.duckdb()})", kind)

    def null(self, node: exp.Expr, scope: _Scope) -> Typed:
        return Typed("NULL", UNKNOWN)

    def truth(self, node: exp.Expr, scope: _Scope) -> Typed:
        return Typed("TRUE" if node.this else "FALSE", BOOLEAN)

    def today(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node)
        return Typed(f"CAST('{self.now:%Y-%m-%d}' AS DATE)", DATE)

    def instant(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node)
        local = isinstance(node, exp.Localtimestamp)
        now = self.now if local else self.now.astimezone(UTC)
        text = now.strftime("%Y-%m-%d %H:%M:%S.") + f"{now.microsecond // 1000:03d}"
        if local:
            return Typed(f"CAST('{text}' AS TIMESTAMP)", TIMESTAMP)
        return Typed(f"CAST('{text}+00' AS TIMESTAMPTZ)", of_session(3))


_LAMBDA_NODES: dict[type[exp.Expr], str] = {
    exp.Transform: "transform", exp.ArrayFilter: "filter", exp.Reduce: "reduce", exp.ArraySort: "array_sort",
}  # fmt: skip

_HANDLERS: dict[type[exp.Expr], Callable[[_Compiler, Any, _Scope], Typed]] = {
    exp.Column: _Compiler.column,
    exp.Identifier: _Compiler.identifier,
    exp.Dot: _Compiler.dot,
    exp.Struct: _Compiler.row,
    exp.Tuple: _Compiler.row,
    exp.Map: _Compiler.map_,
    exp.AtTimeZone: _Compiler.at_zone,
    exp.UnicodeString: _Compiler.unicode_string,
    exp.Typeof: _Compiler.type_of,
    exp.Format: _Compiler.format_,
    **dict.fromkeys(_LAMBDA_NODES, _Compiler.listed_lambda),
    exp.Literal: _Compiler.literal,
    exp.HexString: _Compiler.hex_string,
    exp.Null: _Compiler.null,
    exp.Boolean: _Compiler.truth,
    exp.Paren: _Compiler.paren,
    exp.Neg: _Compiler.negate,
    exp.DPipe: _Compiler.pipe,
    **dict.fromkeys(_ARITHMETIC, _Compiler.binary),
    **dict.fromkeys(_COMPARE, _Compiler.compare),
    **dict.fromkeys((exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseXor, exp.BitwiseNot), _Compiler.bits),
    exp.NullSafeEQ: _Compiler.distinct_from,
    exp.NullSafeNEQ: _Compiler.distinct_from,
    exp.And: _Compiler.logic,
    exp.Or: _Compiler.logic,
    exp.Not: _Compiler.negation,
    exp.Is: _Compiler.is_,
    exp.Between: _Compiler.between,
    exp.In: _Compiler.in_,
    exp.Like: _Compiler.like,
    exp.Escape: _Compiler.like,
    exp.Case: _Compiler.case,
    exp.If: _Compiler.if_,
    exp.Subquery: _Compiler.scalar,
    exp.Select: _Compiler.scalar,
    exp.Exists: _Compiler.exists,
    exp.Cast: _Compiler.cast,
    exp.TryCast: _Compiler.cast,
    exp.Date: _Compiler.date_of,
    exp.Extract: _Compiler.extract,
    exp.TimestampTrunc: _Compiler.date_trunc,
    exp.DateTrunc: _Compiler.date_trunc,
    exp.DateAdd: _Compiler.date_add,
    exp.DateDiff: _Compiler.date_diff,
    exp.Interval: _Compiler.interval,
    exp.Trim: _Compiler.trim,
    exp.LowerHex: _Compiler.lower_hex,
    exp.Pad: _Compiler.pad,
    exp.Bracket: _Compiler.bracket,
    exp.Array: _Compiler.array,
    exp.GenerateSeries: _Compiler.sequence,
    exp.JSONPath: _Compiler.json_path,
    exp.Grouping: _Compiler.grouping,
    exp.Window: _Compiler.window,
    exp.Filter: _Compiler.filtered,
    exp.CurrentDate: _Compiler.today,
    exp.CurrentTimestamp: _Compiler.instant,
    exp.Localtimestamp: _Compiler.instant,
}

NODES: frozenset[type[exp.Expr]] = frozenset(
    [
        *_HANDLERS, *BY_NODE, exp.Anonymous, exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery,
        exp.Values, exp.Tuple, exp.Unnest, exp.Table, exp.TableAlias, exp.Identifier, exp.Alias, exp.Star,
        exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset,
        exp.Fetch, exp.LimitOptions, exp.Distinct, exp.With, exp.CTE, exp.Rollup, exp.Cube, exp.GroupingSets,
        exp.WindowSpec, exp.IgnoreNulls, exp.RespectNulls, exp.All, exp.Any, exp.DataType, exp.DataTypeParam,
        exp.Var, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript,
        exp.Lambda, exp.ColumnDef, exp.IntervalSpan, exp.Lateral,
    ]
)  # fmt: skip
"""Every node class that may occur in a fragment; a class that is not here is refused by name."""


def _unnested(value: Typed) -> list[Typed]:
    """The lists that an unnested value stands for, each with the type of its elements."""
    if value.type.name == "map":
        return [
            Typed(f"map_keys({value.sql})", value.type.args[0]),
            Typed(f"map_values({value.sql})", value.type.args[1]),
        ]
    (kind,) = value.type.args
    if kind.name != "row":
        return [Typed(value.sql, kind)]
    check_size(len(value.sql) * len(kind.args))
    return [
        Typed(f"list_transform({value.sql}, lambda u: struct_extract(u, {sql_text(n or f'field{i}')}))", t)
        for i, (n, t) in enumerate(kind.args)
    ]


def row_of(values: Sequence[Typed]) -> Typed:
    fields = ", ".join(f"'field{i}': {v.sql}" for i, v in enumerate(values))
    return Typed(f"{{{fields}}}", TrinoType("row", tuple(("", v.type) for v in values)))


def _format_kind(kind: TrinoType) -> str:
    if kind.is_integer:
        return "i"
    return {"decimal": "d", "double": "f", "real": "r", "boolean": "b"}.get(kind.name, "s")


def _format_text(value: Typed) -> str:
    if value.type.name in ("double", "real"):
        return f"CAST(CAST({value.sql} AS DOUBLE) AS VARCHAR)"
    if (
        value.type.name not in ("varchar", "char", "boolean", "decimal", "date", "unknown")
        and not value.type.is_integer
    ):
        raise refuse(f"format of {value.type}")
    return cast_value(value, VARCHAR, False).sql


def data_type(node: exp.Expr) -> TrinoType:
    """The Trino type that a cast names. Raises TYPE_NOT_FOUND or NODE."""
    if not isinstance(node, exp.DataType):
        raise refuse("this type")
    for part in node.find_all(exp.Expr):
        if not isinstance(part, (exp.DataType, exp.DataTypeParam, exp.Literal, exp.ColumnDef, exp.Identifier)):
            raise refuse("this type")
    try:
        found = parse(node.sql(dialect="trino"))
    except ValueError as bad:
        if "fraction digits" in str(bad):
            raise refuse("a fraction of a second of more than 6 digits") from bad
        raise UserError("This type is not known.", trino=TrinoError.TYPE_NOT_FOUND, rule="types") from bad
    if found.name in ("ipaddress", "time with time zone"):
        raise refuse(f"type {found.name}")
    return found


def cast_value(value: Typed, target: TrinoType, try_: bool) -> Typed:
    """CAST and TRY_CAST with Trino's rounding, and Trino's grammar for text."""
    source = value.type
    target = shown_as(target, source)
    if source.name == "unknown":
        return Typed(f"CAST(NULL AS {target.duckdb()})", target)
    if source == target:
        return value
    check_size(len(value.sql) * max(field_count(source), field_count(target)))
    if source.name == "char" and not target.is_text:
        raise mismatch(f"Cannot cast {source} to {target}.")
    if target.is_text:
        return Typed(_attempt(_to_text(value, target), try_ and not source.is_text), target)
    if target.name == "json":
        return Typed(_attempt(json_text(value), try_), target)
    if source.name == "json":
        if try_ and target.name in ("array", "map", "row"):
            raise refuse(f"TRY_CAST of json to {target.name}")
        return Typed(_attempt(_from_json(value, target), try_), target)
    if source.is_text:
        return _from_text(value, target, try_)
    if source.name == target.name and source.name in ("array", "map", "row"):
        return Typed(_attempt(_nested(value, target), try_), target)
    sql = _cast_moment(value, target) if is_moment(source) and is_moment(target) else _cast_number(value, target, try_)
    return Typed(sql, target)


def _attempt(sql: str, try_: bool) -> str:
    if try_ and functions.GROWING.search(sql):
        raise refuse("TRY_CAST of concat, replace or random")
    return f"TRY({sql})" if try_ else sql


def _cast_number(value: Typed, target: TrinoType, try_: bool) -> str:
    source, sql, duck, word = value.type, value.sql, target.duckdb(), "TRY_CAST" if try_ else "CAST"
    numbers = (source.is_numeric or source.name == "boolean") and (target.is_numeric or target.name == "boolean")
    if not numbers:
        raise mismatch(f"Cannot cast {source} to {target}.")
    if source.name in ("double", "real"):
        if source.name == "real" and target.name == "bigint":  # as Java rounds a float: to the nearest that there is
            return f"CASE WHEN isnan({sql}) THEN {word}({sql} AS BIGINT) ELSE tr_to_long(round({sql}::DOUBLE)) END"
        if target.is_integer:
            return f"{word}(round({sql}) AS {duck})"
        if target.name == "decimal":
            # By way of the shortest text, as Trino does: 1.005 is the decimal 1.005, not the double just below.
            return f"{word}(CAST({sql} AS VARCHAR) AS {duck})"
        if target.name == "real" and source.name == "double":
            return f"tr_real({sql})"
    return f"{word}({sql} AS {duck})"


def _cast_moment(value: Typed, target: TrinoType) -> str:
    """Between dates, times and timestamps; a smaller precision rounds half up."""
    source = value.type
    if source.name == "date":
        if target.name == "time":
            raise mismatch(f"Cannot cast {source} to {target}.")
        sql = f"CAST({value.sql} AS TIMESTAMP)"
        return from_local(sql, target, "tr_day_time").sql if target.name == "timestamp with time zone" else sql
    if source.name == "time":
        if target.name != "time":
            raise refuse(f"a cast of {source} to {target}")
        return _rounded(value.sql, source.args[0], target)
    if target.name == "timestamp with time zone":
        if source.name == "timestamp":
            rounded = _rounded(value.sql, source.args[0], TrinoType("timestamp", target.args[:1]))
            return from_local(rounded, target).sql
        return _rounded(value.sql, source.args[0], target)
    local = local_time(value)
    if target.name == "date":
        return f"CAST({local} AS DATE)"
    if target.name == "time":
        return _rounded(f"CAST({local} AS TIME)", source.args[0], target)
    return _rounded(local, source.args[0], target)


def _rounded(sql: str, precision: int, target: TrinoType) -> str:
    """A time or timestamp of `precision` digits with those of `target`."""
    if target.args[0] >= precision:
        return sql
    unit = 10 ** (6 - target.args[0])
    kind = {"time": "time", "timestamp": "stamp"}.get(target.name, "moment")
    return f"tr_round_{kind}({sql}, {unit})"


def _nested(value: Typed, target: TrinoType) -> str:
    """Arrays, maps and rows by their parts. A part's name in a lambda is the depth, so that they nest."""
    source, sql = value.type, value.sql
    depth = f"n{_depth(target)}"
    if target.name == "array":
        item = cast_value(Typed(depth, source.args[0]), target.args[0], False)
        return f"CAST(list_transform({sql}, lambda {depth}: {item.sql}) AS {target.duckdb()})"
    if target.name == "map":
        key = cast_value(Typed(depth, source.args[0]), target.args[0], False)
        item = cast_value(Typed(depth, source.args[1]), target.args[1], False)
        keys = f"list_transform(map_keys({sql}), lambda {depth}: {key.sql})"
        items = f"list_transform(map_values({sql}), lambda {depth}: {item.sql})"
        return f"CAST(tr_map({keys}, {items}) AS {target.duckdb()})"
    if len(source.args) != len(target.args):
        raise mismatch(f"Cannot cast {source} to {target}.")
    fields = []
    for i, ((own, kind), (name, wanted)) in enumerate(zip(source.args, target.args, strict=True)):
        read = Typed(f"struct_extract({sql}, {sql_text(own or f'field{i}')})", kind)
        fields.append(f"{sql_text(name or f'field{i}')}: {cast_value(read, wanted, False).sql}")
    return f"CASE WHEN {sql} IS NOT NULL THEN {{{', '.join(fields)}}} END"


def _to_text(value: Typed, target: TrinoType) -> str:
    source = value.type
    length = target.args[0] if target.args else UNBOUNDED
    if source.name == "json":
        return f"tr_json_varchar({value.sql})"
    if target.name == "char":
        if not source.is_text:
            raise mismatch(f"Cannot cast {source} to {target}.")
        return f"rtrim(substr({value.sql}, 1, {length}), ' ')"
    text = text_of(value)
    if length == UNBOUNDED or (source.is_text and source.args and source.args[0] <= length):
        return text
    if source.is_text:
        return f"substr({text}, 1, {length})"
    return f"tr_fitting({text}, {length})"


def _from_text(value: Typed, target: TrinoType, try_: bool) -> Typed:
    sql, duck, word = value.sql, target.duckdb(), "TRY_CAST" if try_ else "CAST"
    if value.type.name == "char":
        sql = text_of(value)
    guard = {
        "double": "tr_is_double", "real": "tr_is_double", "decimal": "tr_is_decimal", "date": "tr_is_date",
        "timestamp": "tr_is_stamp", "boolean": "tr_is_boolean", "time": "tr_is_time", "uuid": "tr_is_uuid",
    }.get(target.name, "tr_is_int" if target.is_integer else "")  # fmt: skip
    if target.name == "varbinary":
        return Typed(f"encode({sql})", target)
    if not guard:
        raise mismatch(f"Cannot cast {value.type} to {target}.")
    body = f"{word}({sql} AS {duck})"
    if target.name == "boolean":
        body = f"tr_boolean({sql})"
    elif target.name == "double":
        body = f"tr_to_double({sql})"
    elif target.name == "real":
        body = f"tr_real(tr_to_double({sql}))"
    elif target.name == "uuid":
        body = f"lower({sql})"
    elif target.name in ("timestamp", "time"):
        body = _clock(sql, word, target)
    choices = f"WHEN {guard}({sql}) THEN {body}"
    if target.name == "timestamp":  # a zone may follow, which changes nothing, and there are other blanks
        choices += f" WHEN tr_is_zoned_stamp({sql}) THEN {_clock(f'tr_unzoned({sql})', word, target)}"
    if try_:
        return Typed(f"CASE {choices} END", target)
    return Typed(
        f"CASE WHEN {sql} IS NULL THEN NULL {choices} ELSE CAST(tr_fail('INVALID_CAST_ARGUMENT') AS {duck}) END",
        target,
    )


def _clock(text: str, word: str, target: TrinoType) -> str:
    """A text as a time or timestamp. DuckDB reads six digits of a second's fraction; the next one rounds."""
    read = f"{word}({text} AS {target.duckdb()})"
    return f"({read} + tr_seventh({text}))" if target.args[0] == 6 else _rounded(read, 6, target)


def json_text(value: Typed) -> str:
    """A value as JSON text, as CAST(.. AS json) gives it."""
    source, sql = value.type, value.sql
    if source.name == "decimal" and source.args[1] > 6:
        return f"tr_json_decimal({text_of(value)})"
    if source.name == "json":
        return sql
    if source.name == "boolean" or source.is_integer or source.name == "decimal":
        return text_of(value)
    if source.name in ("double", "real"):
        shown = f"CAST({sql} AS VARCHAR)" if source.name == "real" else sql  # a real by its own shortest text
        return f"tr_json_number(CAST({shown} AS DOUBLE))"
    if source.name in ("varchar", "char", "date", "timestamp", "timestamp with time zone", "time"):
        return f"tr_json_string({text_of(value)})"
    p = f"j{_depth(source)}"
    if source.name == "array":
        item = (
            "'null'" if source.args[0].name == "unknown" else f"coalesce({json_text(Typed(p, source.args[0]))}, 'null')"
        )
        inner = f"array_to_string(list_transform({sql}, lambda {p}: {item}), ',')"
        return f"('[' || {inner} || ']')"
    if source.name == "map":
        if source.args[0].name == "char":
            raise UserError(f"Cannot cast {source} to json.", trino=TrinoError.INVALID_CAST_ARGUMENT, rule="types")
        if not source.args[0].is_text:
            raise refuse(f"a cast of {source} to json")
        item = json_text(Typed(f"{p}['value']", source.args[1]))
        pair = f"to_json({p}['key']) || ':' || coalesce({item}, 'null')"
        pairs = f"array_to_string(list_transform(map_entries({sql}), lambda {p}: {pair}), ',')"
        return f"tr_json_sorted('{{' || {pairs} || '}}')"
    if source.name == "row":
        parts = []
        for i, (name, kind) in enumerate(source.args):
            read = Typed(f"struct_extract({sql}, {sql_text(name or f'field{i}')})", kind)
            text = "'null'" if kind.name == "unknown" else f"coalesce({json_text(read)}, 'null')"
            parts.append(sql_text(f'"{name}":') + f" || {text}")
        return f"CASE WHEN {sql} IS NOT NULL THEN '{{' || {' || chr(44) || '.join(parts)} || '}}' END"
    if source.name == "unknown":
        return "CAST(NULL AS VARCHAR)"
    raise mismatch(f"Cannot cast {source} to json.")


def _from_json(value: Typed, target: TrinoType) -> str:
    """JSON text to a value; a value of another kind is an INVALID_CAST_ARGUMENT."""
    sql, duck = value.sql, target.duckdb()
    if target.name == "array":
        p = f"k{_depth(target)}"
        item = _from_json(Typed(p, value.type), target.args[0])
        return f"CAST(list_transform(tr_json_items({sql}), lambda {p}: {item}) AS {duck})"
    if target.name == "map" and target.args[0].is_text:
        p = f"k{_depth(target)}"
        item = _from_json(Typed(p, value.type), target.args[1])
        return f"CAST(tr_map(tr_json_keys({sql}), list_transform(tr_json_values({sql}), lambda {p}: {item})) AS {duck})"
    if target.is_text:
        return f"tr_json_varchar({sql})"
    if target.name == "boolean":
        return f"tr_json_boolean({sql})"
    if target.name in ("double", "real", "decimal") or target.is_integer:
        number = f"tr_json_numeral({sql})"
        if target.is_integer:
            return f"CAST(tr_json_integer({sql}) AS {duck})"
        if target.name == "real":
            return f"tr_real(CAST({number} AS DOUBLE))"
        return f"CAST({number} AS {duck})"
    if target.name == "row":
        fields = ", ".join(
            sql_text(name or f"field{i}")
            + ": "
            + _from_json(Typed(f"tr_json_field({sql}, {sql_text(name)}, {i})", value.type), kind)
            for i, (name, kind) in enumerate(target.args)
        )
        return f"CASE WHEN coalesce(tr_json_is_null({sql}, {len(target.args)}), true) THEN NULL ELSE {{{fields}}} END"
    raise refuse(f"a cast of json to {target}")


def settle_literals(tree: exp.Expr, tokens: Sequence[Token]) -> None:
    """What the parser loses made explicit, in place, just after parsing.

    DATE '..' is a cast for it, and listagg without a separator one with a comma. Raises INVALID_LITERAL for a DATE,
    TIME or TIMESTAMP '..' that is none.
    """
    typed = {b.text for a, b in pairwise(tokens) if b.token_type == TokenType.STRING and a.text.lower() in _TYPED}
    for joined in tree.find_all(exp.GroupConcat):
        if joined.args.get("separator") is None:
            joined.set("separator", exp.Literal.string(""))
    for bracket in tree.find_all(exp.Bracket):
        if not bracket.args.get("safe") and any(
            isinstance(e, (exp.Column, exp.Identifier)) for e in bracket.expressions
        ):
            bracket.set("offset", 1)  # written as it is, whatever its type turns out to be
    for node in list(tree.find_all(exp.Cast)):
        text, kind = node.this, node.args["to"]
        if type(node) is not exp.Cast or not (isinstance(text, exp.Literal) and text.is_string and text.name in typed):
            continue
        if kind.is_type("decimal") and not kind.expressions:
            whole, _, fraction = text.name.strip().lstrip("+-").partition(".")
            digits = len(whole.lstrip("0")) + len(fraction)
            if not re.fullmatch(r"[0-9]*", whole + fraction) or not len(whole + fraction) > 0 or digits > 38:
                raise UserError("This is no decimal.", trino=TrinoError.INVALID_LITERAL, rule="types")
            node.set("to", exp.DataType.build(f"DECIMAL({max(digits, 1)}, {len(fraction)})", dialect="trino"))
        elif kind.is_type("char") and not kind.expressions:
            node.set("to", exp.DataType.build(f"CHAR({max(len(text.name), 1)})", dialect="trino"))
        elif kind.is_type("date", "time", "timestamp", "timestamptz"):
            _date_literal(text.name, data_type(kind), TrinoError.INVALID_LITERAL)


def _date_literal(text: str, target: TrinoType, error: TrinoError) -> Typed:
    """A date, time or timestamp out of a literal: checked here, so that a bad one is refused before anything runs."""
    try:
        zone, moment = "", text.strip() if target.name == "date" else text
        if target.name == "timestamp with time zone":
            moment, zone = with_zone(moment)
            target = zoned(target.args[0], zone, error) if zone else of_session(target.args[0])
        moment = f"2000-01-01 {moment}" if target.name == "time" else moment
        found = _MOMENT.fullmatch(moment)
        if re.fullmatch(r"(-[0-9]{4,}|\+?[0-9]{5,})-[0-9]{1,2}-[0-9]{1,2}.*", moment):
            raise refuse("a year outside 1 to 9999")
        if not found or (target.name == "date" and found["hour"]):
            raise ValueError("another form")
        year = int(found["year"])
        if not 1 <= year <= 9999:
            raise refuse(f"the year {year}")
        day = date(year, int(found["month"]), int(found["day"]))
        clock = time(int(found["hour"] or 0), int(found["minute"] or 0), int(found["second"] or 0))
    except ValueError as bad:
        hint = "Write it in UTC: TIMESTAMP '2024-01-02 03:04:05 UTC'." if "zone" in target.name else ""
        raise UserError(f"'{text[:40]}' is no {target.name}.", trino=error, hint=hint) from bad
    canonical = day.isoformat()
    if target.name == "date":
        return Typed(f"CAST('{canonical}' AS DATE)", target, canonical)
    fraction = f".{found['fraction']}" if found["fraction"] else ""
    at = clock.isoformat() + fraction
    if target.name == "time":
        return Typed(_rounded(f"CAST('{at}' AS TIME)", len(fraction) - 1, target), target, at)
    stamp = _rounded(
        f"CAST('{canonical} {at}' AS TIMESTAMP)", len(fraction) - 1, TrinoType("timestamp", target.args[:1])
    )
    if target.name == "timestamp":
        return Typed(stamp, target, f"{canonical} {at}")
    if offset_of(target.zone) is not None or target.zone == "UTC":
        return from_local(stamp, target)
    try:
        local = datetime.combine(day, clock) + _rounded_fraction(found["fraction"] or "", target.args[0])
        first = first_time(target.zone, local).replace(tzinfo=None)
    except OverflowError as bad:
        raise refuse("a moment outside the years 1 to 9999") from bad
    return Typed(f"CAST('{first}+00' AS TIMESTAMPTZ)", target)


def _rounded_fraction(digits: str, precision: int) -> timedelta:
    """A fraction of a second in as many digits as are kept, halves up."""
    unit = 10 ** (6 - precision)
    return timedelta(microseconds=(int(digits.ljust(6, "0")) + unit // 2) // unit * unit)


def _may_fail_alone(sql: str) -> bool:
    return "(" in sql and ("tr_" in sql or "error(" in sql or "/" in sql) and not functions.first_column(sql)


def _choice(tests: Sequence[str], values: Sequence[Typed]) -> Typed:
    kind = common([v.type for v in values])
    if kind is None:
        raise mismatch("All results of CASE or IF have one type.")
    parts = [f"WHEN {t} THEN {cast_to(v, kind).sql}" for t, v in zip(tests, values, strict=False)]
    if len(values) > len(tests):
        parts.append(f"ELSE {cast_to(values[-1], kind).sql}")
    return Typed(f"CASE {' '.join(parts)} END", kind)


def _float_compare(op: str, a: str, b: str, right: Typed) -> str:
    """NaN equals nothing and is neither less nor greater; DuckDB has it equal to itself and above all."""
    if _is_plain_float(right) and op in ("=", "<", "<="):
        return f"({a} {op} {b})"
    if op == "<>":
        return f"(NOT tr_float_eq({a}, {b}))"
    if op in (">", ">="):
        a, b = b, a
    return f"tr_float_{ {'=': 'eq', '<': 'lt', '>': 'lt', '<=': 'le', '>=': 'le'}[op] }({a}, {b})"


def _is_plain_float(value: Typed) -> bool:
    """Whether this is the literal of a number."""
    return value.sql.startswith("CAST('") and not value.sql.startswith("CAST('N")


def _compound(op: str, left: Typed, right: Typed, kind: TrinoType) -> Typed:
    """Arrays, maps and rows, compared part by part."""
    if op in ("=", "<>"):
        same = equality(left, right, kind)
        return same if op == "=" else Typed(f"(NOT {same.sql})", BOOLEAN)
    if "map" in str(kind):
        raise mismatch(f"Operator {op} cannot compare {kind}.")
    a, b = cast_to(left, kind).sql, cast_to(right, kind).sql
    return Typed(comparing.together(kind, a, b, comparing.precedes(kind, op, "q['a']", "q['b']")), BOOLEAN)


def _coerce(value: Typed, kind: TrinoType) -> str:
    """A side of a comparison; integers, texts and equal types compare as they are."""
    if value.sql == "NULL" or value.type.name == kind.name != "decimal":
        return value.sql
    if value.type.is_integer and kind.is_integer:
        return value.sql
    return cast_to(value, kind).sql


def _column_as(query: _Query, kind: TrinoType) -> str:
    """A query of one column, cast where DuckDB's own cast differs: it knows no session's zone, no padded text."""
    own = query.columns[0][1]
    local = kind.name == "timestamp with time zone" and own.name in ("date", "timestamp")
    padded = own.duckdb() == kind.duckdb() and not reads_alike(own, kind)
    if not local and not padded:
        return query.sql
    return f"SELECT {cast_to(Typed('tr_q.c', own), kind).sql} FROM ({query.sql}) AS tr_q(c)"


def _by_bounds(op: str, word: str, left: str, query: _Query, kind: TrinoType) -> str:
    """Whether a number compares so with ALL, or ANY, of a query's: by the least or the greatest, as Trino computes it.

    A NaN is neither, unless there is nothing else. The value is written once, for it may be a query itself.
    """
    if (op, word) == ("<>", "ANY"):
        return f"(NOT {_by_bounds('=', 'ALL', left, query, kind)})"
    column = cast_to(Typed("tr_q.c", query.columns[0][1]), kind).sql
    number = f"CASE WHEN NOT isnan({column}) THEN {column} END"
    bounds = ", ".join(f"coalesce({f}({number}), {f}({column})) AS {f}" for f in ("min", "max"))
    needed = ("min", "max") if op == "=" else ("min",) if (op in ("<", "<=")) == (word == "ALL") else ("max",)
    compared = " AND ".join(
        _float_compare(op, "tr_l.v", f"tr_n.{bound}", Typed(f"tr_n.{bound}", kind)) for bound in needed
    )
    both, empty = ("AND", "true") if word == "ALL" else ("OR", "false")
    return (
        f"(SELECT CASE WHEN tr_n.n = 0 THEN {empty} ELSE ({compared}) {both} "
        f"CASE WHEN tr_n.n = tr_n.present THEN {empty} END END FROM "
        f"(SELECT count(*) AS n, count(tr_q.c) AS present, {bounds} FROM ({query.sql}) AS tr_q(c)) AS tr_n, "
        f"(SELECT {left} AS v) AS tr_l)"
    )


def _pair(left: Typed, right: Typed, what: str) -> tuple[str, str]:
    kind = comparable(left.type, right.type, what)
    return _coerce(left, kind), _coerce(right, kind)


def _no_frame(message: str) -> UserError:
    return UserError(message, trino=TrinoError.INVALID_WINDOW_FRAME, rule="closed list")


def _step(unit: str, count: str) -> str:
    if unit == "millisecond":
        return f"to_milliseconds({count})"
    if unit in ("second", "minute", "hour"):
        return f"{_UNITS[unit]}(CAST({count} AS BIGINT))"
    return f"{_UNITS[unit]}(CAST({count} AS INTEGER))"


def _unit(node: exp.Expr | None, allowed: Iterable[str], what: str) -> str:
    if not isinstance(node, (exp.Var, exp.Literal)):
        raise refuse(f"a unit of {what} that is no literal")
    name = node.name.lower()
    if name not in allowed:
        raise UserError(
            f"This is no unit of {what}.", Outcome.NODE, trino=TrinoError.INVALID_FUNCTION_ARGUMENT, rule="closed list"
        )
    return name


def _unnamed(sql: str) -> str:
    """A text without the names of lambda parameters."""
    return re.sub(r"\bp[0-9]+\b", "p", sql)


def _units_of(value: Typed) -> tuple[str, ...]:
    return {"date": _DATE_UNITS, "time": _CLOCK_UNITS}.get(value.type.name, tuple(_UNITS))


def _is_of_rows(node: exp.Expr) -> bool:
    """Whether a node is computed of several rows."""
    return functions.is_aggregate(node) or isinstance(node, exp.Window)


def _own_nodes(items: Sequence[exp.Expr]) -> Iterator[exp.Expr]:
    """The nodes of expressions without those of queries in them."""
    for item in items:
        yield from item.walk(prune=lambda n: isinstance(n, exp.Query))


def _in_first_zone(first: Typed, second: Typed) -> tuple[Typed, Typed]:
    """Two moments as the zone of the first shows them, which is the session's if it has none."""
    digits = max(v.type.args[0] for v in (first, second) if v.type.args)
    kind = zoned(digits, first.type.zone) if first.type.name == "timestamp with time zone" else of_session(digits)
    a, b = (Typed(v.sql, kind) if v.type.name == kind.name else cast_to(v, kind) for v in (first, second))
    return a, b


def _need_moment(what: str, value: Typed) -> None:
    if not is_moment(value.type) and value.type.name != "unknown":
        raise unfit(f"{what} does not take {value.type}.")


def _count(node: exp.Expr) -> int:
    """At most what DuckDB takes, which is more rows than there are."""
    text = node.name if isinstance(node, exp.Literal) and not node.is_string else ""
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) >= 1 << 63:
        raise refuse("a LIMIT, OFFSET or position that is no number")
    return min(int(text), 1 << 62)


def no_column(name: str) -> UserError:
    return UserError(
        f"Column {name} cannot be resolved.",
        Outcome.NOT_AVAILABLE,
        trino=TrinoError.COLUMN_NOT_FOUND,
        rule="names",
    )


def _renamed(columns: Sequence[tuple[str, TrinoType]], names: Sequence[str]) -> list[tuple[str, TrinoType]]:
    if not names:
        return list(columns)
    if len(names) != len(columns):
        raise UserError("The column list has the wrong length.", trino=TrinoError.MISMATCHED_COLUMN_ALIASES)
    return [(n, t) for n, (_, t) in zip(names, columns, strict=True)]


def _outputs(items: Sequence[tuple[str, Typed]]) -> dict[str, Typed]:
    """Output names that ORDER BY may use; a name that occurs twice is left to the columns."""
    names = [n.lower() for n, _ in items]
    return {n: v for n, (_, v) in zip(names, items, strict=True) if names.count(n) == 1}


def _ordinals(columns: Sequence[tuple[str, TrinoType]]) -> _Scope:
    """ORDER BY above a set operation sees output names only."""
    scope = _Scope(None, {})
    names = [n.lower() for n, _ in columns]
    scope.outputs = {
        n: Typed(str(i + 1), t) for i, (n, (_, t)) in enumerate(zip(names, columns, strict=True))
        if names.count(n) == 1
    }  # fmt: skip
    scope.shown = [Typed(str(i + 1), t) for i, (_, t) in enumerate(columns)]
    return scope


def _is_shown(key: exp.Expr, scope: _Scope) -> bool:
    """Whether a part of ORDER BY is the place or the name of an output."""
    if isinstance(key, exp.Literal):
        return not key.is_string
    return isinstance(key, exp.Column) and not key.table and key.name.lower() in scope.outputs


def _is_place(item: exp.Expr, places: _Scope) -> bool:
    """Whether an item of ORDER BY is an output that DuckDB sorts as Trino does, by its place."""
    value, found = item.this, None
    if isinstance(value, exp.Literal):
        place = int(value.name) if value.name.isdigit() else 0
        found = places.shown[place - 1] if 0 < place <= len(places.shown) else Typed("", UNKNOWN)
    elif isinstance(value, exp.Column) and not value.table:
        found = places.outputs.get(value.name.lower())
    return found is not None and not (item.args.get("nulls_first") and _has_floats(found.type))


def _filters(node: exp.Expr) -> bool:
    """Whether a condition is one of those that WHERE, HAVING or the ON of an inner join joins by AND."""
    above = node.parent
    while isinstance(above, (exp.And, exp.Paren)):
        above = above.parent
    return isinstance(above, (exp.Where, exp.Having)) or (isinstance(above, exp.Join) and not above.side)


def _matches_oddly(kind: TrinoType) -> bool:
    """Whether a value of a type may be in a query to DuckDB, and to Trino's IN as a value, though equal to nothing."""
    return is_compound(kind) or kind.name in ("double", "real")


def _has_floats(kind: TrinoType) -> bool:
    return "double" in str(kind) or "real" in str(kind)


def _coerced(query: _Query, columns: Sequence[tuple[str, TrinoType]]) -> str:
    """An arm of a set operation, its columns cast where DuckDB would pick another common type."""
    if all(reads_alike(own, kind) for (_, own), (_, kind) in zip(query.columns, columns, strict=True)):
        return f"({query.sql})"
    listed = ", ".join(
        f"{cast_to(Typed(f'arm.c{i}', own), kind).sql} AS {quote(name)}"
        for i, ((_, own), (name, kind)) in enumerate(zip(query.columns, columns, strict=True))
    )
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    return f"(SELECT {listed} FROM ({query.sql}) AS arm({names}))"
