"""Compiles a Trino query tree to DuckDB text, with Trino's meaning and types.

A closed-list compiler: every node class has a method here or a row in `functions`; anything else is
refused by name. No text of the statement is ever copied: identifiers are quoted, literals re-written,
units, types and formats come from lists. So nothing that a parser lets through can be smuggled into
DuckDB, and the types of all outputs are known before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from sqlglot import exp

from catalog.duck import functions
from catalog.duck.functions import BY_NODE, Call, Function, unknown_function
from catalog.duck.typing import Typed, arithmetic, cast_to, common, comparable, mismatch, sql_text
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
_UNITS = {
    "millisecond": "to_milliseconds", "second": "to_seconds", "minute": "to_minutes", "hour": "to_hours",
    "day": "to_days", "week": "to_weeks", "month": "to_months", "quarter": "to_quarters", "year": "to_years",
}  # fmt: skip
_DATE_UNITS = ("day", "week", "month", "quarter", "year")
_PARTS = {
    "year": "year({0})", "quarter": "quarter({0})", "month": "month({0})", "week": "week({0})",
    "day": "day({0})", "day_of_month": "day({0})", "day_of_week": "isodow({0})", "dow": "isodow({0})",
    "day_of_year": "dayofyear({0})", "doy": "dayofyear({0})", "year_of_week": "isoyear({0})",
    "yow": "isoyear({0})", "hour": "hour({0})", "minute": "minute({0})", "second": "second({0})",
}  # fmt: skip
_MOMENT = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"( (?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})(:(?P<second>[0-9]{1,2})(\.(?P<fraction>[0-9]{1,6}))?)?)?"
)
_UTC_ZONE = re.compile(r"(.*[0-9]) ?(?:UTC|Etc/UTC|Z|\+00:00)")
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
    writes it (`f0`, `water.main.company_month`, `$keys`). now: the statement's start, UTC (CURRENT_DATE).

    Raises UserError: FUNCTION, NODE, or a name or type error of Trino.
    """
    resolve = tables if callable(tables) else _from_mapping(tables)
    compiler = _Compiler(resolve, now or datetime.now(UTC))
    query = compiler.query(tree, None)
    for name, kind in query.columns:
        _check_carried(name, kind)
    used = {name: frozenset(columns) for name, columns in compiler.used.items()}
    return Compiled(query.sql, tuple(query.columns), used)


def _check_carried(name: str, kind: TrinoType) -> None:
    """Raise UserError for an output of a type that no answer carries: an interval, a time with a zone."""
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
        hint="Add an interval to a date or timestamp, or cast it to something else.",
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
    """What names mean inside one SELECT; `parent` is the enclosing query (correlation)."""

    parent: _Scope | None
    ctes: dict[str, tuple[str, list[tuple[str, TrinoType]]]]
    relations: list[_Relation] = field(default_factory=list)
    using: dict[str, TrinoType] = field(default_factory=dict)
    outputs: dict[str, Typed] = field(default_factory=dict)

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
        self.used: dict[str, set[str]] = {}

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
        return _Query(f"{prefix}({inner.sql}){self.tail(node, _ordinals(inner))}", inner.columns)

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
            "expressions", "distinct", "operation_modifiers",
        )  # fmt: skip
        scope, prefix = self.with_clause(node, parent)
        source = self.from_clause(node, scope)
        where = node.args.get("where")
        group = node.args.get("group")
        having = node.args.get("having")
        text = f"{source}{self.condition(' WHERE', where, scope)}"
        items = list(self.select_items(node, scope))
        if group:
            text += " GROUP BY " + self.group(group, scope, items)
        text += self.condition(" HAVING", having, scope)
        distinct = node.args.get("distinct")
        if distinct:
            only(distinct)
        columns = [(name, value.type) for name, value in items]
        listed = ", ".join(f"{value.sql} AS {quote(name)}" for name, value in items)
        scope.outputs = _outputs(items)
        tail = self.tail(node, scope)
        return _Query(f"{prefix}SELECT {'DISTINCT ' if distinct else ''}{listed}{text}{tail}", columns)

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
        if len(node.expressions) != 1 or node.args.get("offset"):
            raise refuse("unnest of several arrays or with ordinality")
        value = self.expr(node.expressions[0], scope)
        if value.type.name != "array":
            raise mismatch(f"unnest needs an array, not {value.type}.")
        return f"unnest({value.sql})", [("_col0", value.type.args[0])]

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
        out = _Query(f"{arms[0]} {word}{everything} {arms[1]}", columns)
        return _Query(f"{prefix}{out.sql}{self.tail(node, _ordinals(out))}", columns)

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
            text += f" LIMIT {_count(limit.expression)}"
        if offset:
            only(offset, "expression")
            text += f" OFFSET {_count(offset.expression)}"
        return text

    def condition(self, word: str, node: exp.Expr | None, scope: _Scope) -> str:
        if not node:
            return ""
        only(node, "this")
        return f"{word} {self.boolean(node.this, scope)}"

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
                inner = ", ".join(self.key(k, scope, items) for k in item.expressions)
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

    def key(self, node: exp.Expr, scope: _Scope, items: Sequence[tuple[str, Typed]]) -> str:
        """A grouping key; an ordinal becomes the expression that it stands for."""
        if isinstance(node, exp.Literal) and not node.is_string:
            place = int(node.name) if node.name.isdigit() else 0
            if not 1 <= place <= len(items):
                raise UserError(
                    "GROUP BY position is not in the select list.", trino=TrinoError.INVALID_COLUMN_REFERENCE
                )
            return items[place - 1][1].sql
        return self.expr(node, scope).sql

    def ordered(self, node: exp.Expr, scope: _Scope, ordinals: bool = False) -> str:
        if not isinstance(node, exp.Ordered):
            raise refuse(node)
        only(node, "this", "desc", "nulls_first")
        value = node.this
        if ordinals and isinstance(value, exp.Literal) and not value.is_string:
            text = str(_count(value))
        elif ordinals and isinstance(value, exp.Column) and not value.table and value.name.lower() in scope.outputs:
            text = scope.outputs[value.name.lower()].sql
        else:
            text = self.expr(value, scope).sql
        direction = "DESC" if node.args.get("desc") else "ASC"
        return f"{text} {direction} NULLS {'FIRST' if node.args.get('nulls_first') else 'LAST'}"

    # ---- expressions ---------------------------------------------------------------------------------

    def expr(self, node: exp.Expr | None, scope: _Scope) -> Typed:
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
        function = functions.by_name(node.name)
        if function is None or not isinstance(node.this, str):
            raise unknown_function(node.name)
        return self.call(function, node, scope, Call(), windowed=False)

    def call(self, function: Function, node: exp.Expr, scope: _Scope, call: Call, windowed: bool) -> Typed:
        """A function of the list, an aggregate with DISTINCT or an inner ORDER BY included."""
        if function.kind == "window" and not windowed:
            raise UserError(f"Function {function.name} needs OVER.", Outcome.SEMANTIC, rule="function list")
        nodes = functions.arguments(function, node)
        if function.rule is not None:
            return function.rule([self.expr(n, scope) for n in nodes])
        assert function.aggregate is not None
        if nodes and isinstance(nodes[0], exp.Order):
            only(nodes[0], "this", "expressions")
            order = ", ".join(self.ordered(o, scope) for o in nodes[0].expressions)
            call = Call(call.distinct, f" ORDER BY {order}", call.nulls, call.after)
            nodes = [nodes[0].this, *nodes[1:]]
        if nodes and isinstance(nodes[0], exp.Distinct):
            only(nodes[0], "expressions")
            if len(nodes[0].expressions) != 1:
                raise refuse("DISTINCT over several columns")
            call = Call(True, call.order, call.nulls, call.after)
            nodes = [nodes[0].expressions[0], *nodes[1:]]
        if function.name == "count" and nodes and isinstance(nodes[0], exp.Star):
            only(nodes[0])
            if call.distinct:
                raise refuse("count(DISTINCT *)")
            return Typed(call("count", "*"), BIGINT)
        return function.aggregate([self.expr(n, scope) for n in nodes], call)

    def window(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "partition_by", "order", "spec", "over")
        if str(node.args.get("over") or "OVER").upper() != "OVER":
            raise refuse(node)
        parts = []
        if node.args.get("partition_by"):
            keys = ", ".join(self.expr(k, scope).sql for k in node.args["partition_by"])
            parts.append(f"PARTITION BY {keys}")
        if node.args.get("order"):
            only(node.args["order"], "expressions")
            parts.append("ORDER BY " + ", ".join(self.ordered(o, scope) for o in node.args["order"].expressions))
        if node.args.get("spec"):
            parts.append(self.frame(node.args["spec"], scope))
        return self.aggregate(node.this, scope, f" OVER ({' '.join(parts)})", windowed=True)

    def frame(self, spec: exp.Expr, scope: _Scope) -> str:
        only(spec, "kind", "start", "start_side", "end", "end_side")
        kind = str(spec.args.get("kind")).upper()
        if kind not in ("ROWS", "RANGE", "GROUPS"):
            raise refuse(f"frame {kind}")
        start = self.bound(spec.args.get("start"), spec.args.get("start_side"), scope)
        end = self.bound(spec.args.get("end"), spec.args.get("end_side"), scope)
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
        return f"{self.expr(value, scope).sql} {word}"

    def aggregate(self, node: exp.Expr, scope: _Scope, after: str, windowed: bool) -> Typed:
        """An aggregate or window function under FILTER, IGNORE NULLS or OVER."""
        nulls = ""
        if isinstance(node, (exp.IgnoreNulls, exp.RespectNulls)):
            only(node, "this")
            nulls = " IGNORE NULLS" if isinstance(node, exp.IgnoreNulls) else ""
            node = node.this
        if isinstance(node, exp.Filter):
            only(node, "this", "expression")
            after = f" FILTER ({self.condition('WHERE', node.expression, scope)}){after}"
            node = node.this
        function = BY_NODE.get(type(node))
        if isinstance(node, exp.Anonymous):
            function = functions.by_name(node.name)
        if function is None or function.aggregate is None:
            if isinstance(node, exp.Func) and function is None:
                raise unknown_function(node.name if isinstance(node, exp.Anonymous) else node.sql_name())
            raise refuse("OVER or FILTER on what is no aggregate")
        if nulls and function.kind != "window":
            raise refuse("IGNORE NULLS on an aggregate")
        return self.call(function, node, scope, Call(nulls=nulls, after=after), windowed)

    def filtered(self, node: exp.Expr, scope: _Scope) -> Typed:
        return self.aggregate(node, scope, "", windowed=False)

    def column(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "table")
        name, table = node.name.lower(), node.text("table").lower()
        level: _Scope | None = scope
        while level is not None:
            found = level.find(name, table)
            if found is not None:
                return found
            if not table and level.outputs and name in level.outputs and level is scope:
                return level.outputs[name]
            level = level.parent
        raise no_column(name)

    def literal(self, node: exp.Expr, scope: _Scope) -> Typed:
        text = node.name
        if node.is_string:
            return Typed(sql_text(text), TrinoType("varchar", (len(text),)), text)
        if re.fullmatch(r"[0-9]+", text):
            value = int(text)
            if value > 2**63 - 1:
                raise UserError("An integer literal is out of range.", trino=TrinoError.NUMERIC_VALUE_OUT_OF_RANGE)
            return Typed(text, INTEGER if value < 2**31 else BIGINT, value)
        if re.fullmatch(r"[0-9]*\.[0-9]*", text) and text != ".":
            whole, _, fraction = text.partition(".")
            digits = len(whole.lstrip("0")) + len(fraction)
            if digits > 38:
                raise UserError("A decimal literal is out of range.", trino=TrinoError.NUMERIC_VALUE_OUT_OF_RANGE)
            kind = TrinoType("decimal", (max(digits, 1), len(fraction)))
            return Typed(f"CAST({sql_text(text)} AS {kind.duckdb()})", kind, text)
        if re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+", text):
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
        if left.type.name.startswith("interval") or right.type.name.startswith("interval"):
            return _shifted(op, left, right)
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
        value = self.expr(inner, scope)
        if not value.type.is_numeric and value.type.name != "unknown":
            raise mismatch(f"Operator - needs a number, not {value.type}.")
        known = value.value
        return Typed(f"(-{value.sql})", value.type, -known if isinstance(known, int) else None)

    def bits(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        values = [self.expr(n, scope) for n in (node.this, node.args.get("expression")) if n is not None]
        for value in values:
            if not value.type.is_integer:
                raise mismatch("A bitwise function needs integers.")
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
            only(right, "this")
            query = self.subquery(right.this, scope)
            comparable(left.type, query.columns[0][1], f"Operator {op}")
            word = "ALL" if isinstance(right, exp.All) else "ANY"
            return Typed(f"({left.sql} {op} {word} ({query.sql}))", BOOLEAN)
        a, b = _pair(left, self.expr(right, scope), f"Operator {op}")
        return Typed(f"({a} {op} {b})", BOOLEAN)

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
        a, low = _pair(value, self.expr(node.args["low"], scope), "BETWEEN")
        b, high = _pair(value, self.expr(node.args["high"], scope), "BETWEEN")
        if a == b:
            return Typed(f"({a} BETWEEN {low} AND {high})", BOOLEAN)
        return Typed(f"({a} >= {low} AND {b} <= {high})", BOOLEAN)

    def in_(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expressions", "query")
        value = self.expr(node.this, scope)
        if node.args.get("query") is not None:
            query = self.subquery(node.args["query"], scope)
            kind = comparable(value.type, query.columns[0][1], "IN")
            left = cast_to(value, kind).sql if value.type != kind else value.sql
            return Typed(f"({left} IN ({query.sql}))", BOOLEAN)
        items = [self.expr(n, scope) for n in node.expressions]
        kind = value.type
        for item in items:
            kind = comparable(kind, item.type, "IN")
        listed = ", ".join(_coerce(i, kind) for i in items)
        return Typed(f"({_coerce(value, kind)} IN ({listed}))", BOOLEAN)

    def like(self, node: exp.Expr, scope: _Scope) -> Typed:
        escape = ""
        if isinstance(node, exp.Escape):
            only(node, "this", "expression")
            mark = node.expression
            if not isinstance(mark, exp.Literal) or not mark.is_string or len(mark.name) != 1:
                raise refuse("this ESCAPE")
            escape = f" ESCAPE {sql_text(mark.name)}"
            node = node.this
        if type(node) is not exp.Like:
            raise refuse(node)
        only(node, "this", "expression", "negate")
        left, right = self.expr(node.this, scope), self.expr(node.expression, scope)
        for side in (left, right):
            if not side.type.is_text and side.type.name != "unknown":
                raise mismatch(f"LIKE needs text, not {side.type}.")
        word = "NOT LIKE" if node.args.get("negate") else "LIKE"
        return Typed(f"({left.sql} {word} {right.sql}{escape})", BOOLEAN)

    def case(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "ifs", "default")
        subject = self.expr(node.this, scope) if node.args.get("this") else None
        tests, values = [], []
        for branch in node.args["ifs"]:
            only(branch, "this", "true")
            if subject is None:
                tests.append(self.boolean(branch.this, scope))
            else:
                a, b = _pair(subject, self.expr(branch.this, scope), "CASE")
                tests.append(f"({a} = {b})")
            values.append(self.expr(branch.args["true"], scope))
        if node.args.get("default") is not None:
            values.append(self.expr(node.args["default"], scope))
        return _choice(tests, values)

    def if_(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "true", "false")
        values = [self.expr(n, scope) for n in (node.args.get("true"), node.args.get("false")) if n is not None]
        return _choice([self.boolean(node.this, scope)], values)

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
        is_text = isinstance(literal, exp.Literal) and literal.is_string
        if is_text and target.name == "decimal" and not node.args["to"].expressions:
            # DECIMAL '1.50' has its own scale; sqlglot parses it as a cast to a bare decimal.
            return self.literal(exp.Literal.number(literal.name.strip()), scope)
        if is_text and target.name in ("date", "time", "timestamp", "timestamp with time zone"):
            return _date_literal(literal.name, target, isinstance(node, exp.TryCast))
        return cast_value(self.expr(node.this, scope), target, isinstance(node, exp.TryCast))

    def date_of(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this")
        return cast_value(self.expr(node.this, scope), DATE, False)

    def extract(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression")
        unit = _unit(node.this, tuple(_PARTS), "extract")
        value = self.expr(node.expression, scope)
        _need_date("extract", value, unit in ("hour", "minute", "second"))
        return Typed(f"CAST({_PARTS[unit].format(value.sql)} AS BIGINT)", BIGINT)

    def date_trunc(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "unit")
        value = self.expr(node.this, scope)
        is_date = value.type.name == "date"
        unit = _unit(node.args.get("unit"), _DATE_UNITS if is_date else tuple(_UNITS), "date_trunc")
        _need_date("date_trunc", value, False)
        return Typed(f"CAST(date_trunc('{unit}', {value.sql}) AS {value.type.duckdb()})", value.type)

    def date_add(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "unit")
        value, count = self.expr(node.this, scope), self.expr(node.expression, scope)
        is_date = value.type.name == "date"
        unit = _unit(node.args.get("unit"), _DATE_UNITS if is_date else tuple(_UNITS), "date_add")
        _need_date("date_add", value, False)
        if not count.type.is_integer:
            raise mismatch("date_add needs an integer.")
        return Typed(f"CAST(({value.sql} + {_step(unit, count.sql)}) AS {value.type.duckdb()})", value.type)

    def date_diff(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "unit")
        end, start = self.expr(node.this, scope), self.expr(node.expression, scope)
        both_dates = end.type.name == start.type.name == "date"
        unit = _unit(node.args.get("unit"), _DATE_UNITS if both_dates else tuple(_UNITS), "date_diff")
        for side in (start, end):
            _need_date("date_diff", side, False)
        # date_sub counts whole units, as Trino does; DuckDB's date_diff counts boundaries.
        return Typed(f"CAST(date_sub('{unit}', {start.sql}, {end.sql}) AS BIGINT)", BIGINT)

    def interval(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "unit")
        unit = _unit(node.args.get("unit"), tuple(_UNITS), "interval")
        this, sign = node.this, ""
        if isinstance(this, exp.Neg):
            this, sign = this.this, "-"
        if not isinstance(this, exp.Literal) or not re.fullmatch(r"[+-]?[0-9]{1,9}", this.name):
            raise refuse("this interval")
        count = int(this.name) * (-1 if sign else 1)
        family = "year to month" if unit in ("month", "quarter", "year") else "day to second"
        return Typed(_step(unit, str(count)), TrinoType(f"interval {family}"))

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
                raise mismatch("trim needs text.")
        return Typed(f"{call}({', '.join(v.sql for v in values)})", VARCHAR)

    def pad(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "this", "expression", "fill_pattern", "is_left")
        text, size = self.expr(node.this, scope), self.expr(node.expression, scope)
        if node.args.get("fill_pattern") is None:
            raise UserError("lpad and rpad take 3 arguments.", trino=TrinoError.INVALID_ARGUMENTS)
        fill = self.expr(node.args["fill_pattern"], scope)
        if not (text.type.is_text and size.type.is_integer and fill.type.is_text):
            raise mismatch("lpad and rpad take text, an integer and text.")
        call = "lpad" if node.args.get("is_left") else "rpad"
        return Typed(f"{call}({text.sql}, tr_pad({size.sql}), {fill.sql})", VARCHAR)

    def bracket(self, node: exp.Expr, scope: _Scope) -> Typed:
        """a[n] and element_at(a, n), both from 1; sqlglot stores a[n] from 0."""
        only(node, "this", "expressions", "offset", "safe")
        value = self.expr(node.this, scope)
        if value.type.name != "array" or len(node.expressions) != 1:
            raise mismatch("A subscript needs an array and one index.")
        index = self.expr(node.expressions[0], scope)
        if not index.type.is_integer:
            raise mismatch("A subscript needs an integer.")
        if node.args.get("offset") == 1:
            return Typed(f"list_extract({value.sql}, {index.sql})", value.type.args[0])
        if not isinstance(index.value, int):
            raise refuse("a computed subscript", "(use element_at)")
        return Typed(f"list_extract({value.sql}, {index.value + 1})", value.type.args[0])

    def array(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "expressions", "value_constructor", "bracket_notation")
        values = [self.expr(n, scope) for n in node.expressions]
        kind = common([v.type for v in values]) if values else UNKNOWN
        if kind is None:
            raise mismatch("The elements of an array have one type.")
        return Typed(f"[{', '.join(cast_to(v, kind).sql for v in values)}]", TrinoType("array", (kind,)))

    def sequence(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "start", "end", "step")
        start, end = self.expr(node.args["start"], scope), self.expr(node.args["end"], scope)
        step = self.expr(node.args["step"], scope) if node.args.get("step") is not None else None
        if start.type.is_integer and end.type.is_integer and (step is None or step.type.is_integer):
            sqls = [cast_to(v, BIGINT).sql for v in (start, end)]
            by = (
                cast_to(step, BIGINT).sql if step is not None else f"CASE WHEN {sqls[0]} > {sqls[1]} THEN -1 ELSE 1 END"
            )
            return Typed(f"tr_sequence({', '.join(sqls)}, {by})", TrinoType("array", (BIGINT,)))
        if start.type.name == end.type.name == "date":
            by = step.sql if step is not None else "to_days(1)"
            if step is not None and not step.type.name.startswith("interval"):
                raise mismatch("sequence of dates steps by an interval.")
            return Typed(f"tr_date_sequence({start.sql}, {end.sql}, {by})", TrinoType("array", (DATE,)))
        raise mismatch("sequence takes integers or dates.")

    def json_path(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "expressions")
        path = ""
        for part in node.expressions:
            if isinstance(part, exp.JSONPathRoot):
                path += "$"
            elif isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
                path += '."' + part.this.replace("\\", "\\\\").replace('"', '\\"') + '"'
            elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
                path += f"[{part.this}]"
            else:
                raise refuse("this JSON path")
        return Typed(sql_text(path), VARCHAR, path)

    def grouping(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node, "expressions")
        keys = ", ".join(self.expr(k, scope).sql for k in node.expressions)
        return Typed(f"CAST(GROUPING({keys}) AS BIGINT)", BIGINT)

    def null(self, node: exp.Expr, scope: _Scope) -> Typed:
        return Typed("NULL", UNKNOWN)

    def truth(self, node: exp.Expr, scope: _Scope) -> Typed:
        return Typed("TRUE" if node.this else "FALSE", BOOLEAN)

    def today(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node)
        return Typed(f"CAST('{self.now:%Y-%m-%d}' AS DATE)", DATE)

    def instant(self, node: exp.Expr, scope: _Scope) -> Typed:
        only(node)
        text = self.now.strftime("%Y-%m-%d %H:%M:%S.") + f"{self.now.microsecond // 1000:03d}"
        if isinstance(node, exp.Localtimestamp):
            return Typed(f"CAST('{text}' AS TIMESTAMP)", TIMESTAMP)
        return Typed(f"CAST('{text}+00' AS TIMESTAMPTZ)", TrinoType("timestamp with time zone", (3,)))


_HANDLERS: dict[type[exp.Expr], Callable[[_Compiler, Any, _Scope], Typed]] = {
    exp.Column: _Compiler.column,
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
    ]
)  # fmt: skip
"""Every node class that may occur in a fragment; a class that is not here is refused by name."""


def data_type(node: exp.Expr) -> TrinoType:
    """The Trino type that a cast names. Raises TYPE_NOT_FOUND or NODE."""
    if not isinstance(node, exp.DataType):
        raise refuse("this type")
    for part in node.find_all(exp.Expr):
        if not isinstance(part, (exp.DataType, exp.DataTypeParam, exp.Literal)):
            raise refuse("this type")
    try:
        found = parse(node.sql(dialect="trino"))
    except ValueError as bad:
        raise UserError("This type is not known.", trino=TrinoError.TYPE_NOT_FOUND, rule="types") from bad
    if found.name in ("row", "map", "uuid", "ipaddress", "time with time zone"):
        raise refuse(f"type {found.name}")
    return found


def cast_value(value: Typed, target: TrinoType, try_: bool) -> Typed:
    """CAST and TRY_CAST with Trino's rounding, and Trino's grammar for text."""
    source, sql, duck = value.type, value.sql, target.duckdb()
    word = "TRY_CAST" if try_ else "CAST"
    if source.name == "unknown":
        return Typed(f"CAST(NULL AS {duck})", target)
    if target.is_text:
        return Typed(_to_text(value, target), target)
    if source.is_text:
        return _from_text(value, target, word)
    if target.is_integer and source.name in ("double", "real"):
        return Typed(f"{word}(round({sql}) AS {duck})", target)
    stamps = ("date", "timestamp", "timestamp with time zone")
    numbers = source.is_numeric or source.name == "boolean"
    if (numbers and (target.is_numeric or target.name == "boolean")) or (
        source.name in stamps and target.name in stamps
    ):
        text = f"{word}({sql} AS {duck})"
        if target.name == "timestamp" and target.args[0] == 0 and source.name != "date":
            text = f"date_trunc('second', {text} + to_milliseconds(500))"
        return Typed(text, target)
    if source == target:
        return value
    if source.name == target.name == "array":
        return Typed(f"{word}({sql} AS {duck})", target)
    raise mismatch(f"Cannot cast {source} to {target}.")


def _to_text(value: Typed, target: TrinoType) -> str:
    source, sql = value.type, value.sql
    if source.name in ("double", "real"):
        text = f"tr_double_text(CAST({sql} AS DOUBLE))"
    elif source.name == "timestamp":
        digits = {0: "", 3: ".%g", 6: ".%f"}.get(source.args[0])
        if digits is None:
            raise refuse(f"a cast of {source} to text")
        text = f"strftime({sql}, '%Y-%m-%d %H:%M:%S{digits}')"
    elif source.is_text or source.is_numeric or source.name in ("boolean", "date"):
        text = sql if source.is_text else f"CAST({sql} AS VARCHAR)"
    else:
        raise mismatch(f"Cannot cast {source} to {target}.")
    length = target.args[0] if target.args else UNBOUNDED
    shorter = length != UNBOUNDED and not (source.is_text and source.args and source.args[0] <= length)
    return f"substr({text}, 1, {length})" if shorter else text


def _from_text(value: Typed, target: TrinoType, word: str) -> Typed:
    sql, duck = value.sql, target.duckdb()
    guard = {
        "double": "tr_is_double", "real": "tr_is_double", "decimal": "tr_is_decimal", "date": "tr_is_date",
        "timestamp": "tr_is_stamp", "boolean": "tr_is_boolean",
    }.get(target.name, "tr_is_int" if target.is_integer else "")  # fmt: skip
    if target.name == "json" or not guard:
        raise mismatch(f"Cannot cast {value.type} to {target}.")
    body = f"tr_boolean({sql})" if target.name == "boolean" else f"{word}({sql} AS {duck})"
    if word == "TRY_CAST":
        return Typed(f"CASE WHEN {guard}({sql}) THEN {body} END", target)
    return Typed(
        f"CASE WHEN {sql} IS NULL THEN NULL WHEN {guard}({sql}) THEN {body} "
        f"ELSE CAST(error('atoll: invalid cast') AS {duck}) END",
        target,
    )


def _date_literal(text: str, target: TrinoType, try_: bool) -> Typed:
    """DATE, TIME and TIMESTAMP '..': checked here, so that a bad one is refused before anything runs.

    A moment with a zone is written in UTC: the zone of another would be lost on the way.
    """
    try:
        zoned = _UTC_ZONE.fullmatch(text.strip()) if target.name == "timestamp with time zone" else None
        if target.name == "timestamp with time zone" and not zoned:
            raise ValueError("another zone")
        moment = f"2000-01-01 {text.strip()}" if target.name == "time" else zoned[1] if zoned else text.strip()
        found = _MOMENT.fullmatch(moment)
        if not found or (target.name == "date" and found["hour"]):
            raise ValueError("another form")
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
        clock = time(int(found["hour"] or 0), int(found["minute"] or 0), int(found["second"] or 0))
        canonical = day.isoformat()
        if target.name != "date":
            at = clock.isoformat() + (f".{found['fraction']}" if found["fraction"] else "")
            canonical = at if target.name == "time" else f"{canonical} {at}" + ("+00" if zoned else "")
    except ValueError as bad:
        if try_:
            return Typed(f"CAST(NULL AS {target.duckdb()})", target)
        hint = "Write it in UTC: TIMESTAMP '2024-01-02 03:04:05 UTC'." if "zone" in target.name else ""
        raise UserError(f"'{text[:40]}' is no {target.name}.", trino=TrinoError.INVALID_LITERAL, hint=hint) from bad
    return Typed(f"CAST('{canonical}' AS {target.duckdb()})", target, canonical)


def _choice(tests: Sequence[str], values: Sequence[Typed]) -> Typed:
    kind = common([v.type for v in values])
    if kind is None:
        raise mismatch("All results of CASE or IF have one type.")
    parts = [f"WHEN {t} THEN {cast_to(v, kind).sql}" for t, v in zip(tests, values, strict=False)]
    if len(values) > len(tests):
        parts.append(f"ELSE {cast_to(values[-1], kind).sql}")
    return Typed(f"CASE {' '.join(parts)} END", kind)


def _coerce(value: Typed, kind: TrinoType) -> str:
    """A side of a comparison; integers, texts and equal types compare as they are."""
    if value.type.name == "unknown" or value.type.name == kind.name != "decimal":
        return value.sql
    if value.type.is_integer and kind.is_integer:
        return value.sql
    return cast_to(value, kind).sql


def _pair(left: Typed, right: Typed, what: str) -> tuple[str, str]:
    kind = comparable(left.type, right.type, what)
    return _coerce(left, kind), _coerce(right, kind)


def _shifted(op: str, left: Typed, right: Typed) -> Typed:
    """date or timestamp +/- interval."""
    if left.type.name.startswith("interval") and op == "+":
        left, right = right, left
    is_moment = left.type.name in ("date", "timestamp", "timestamp with time zone")
    if op not in ("+", "-") or not is_moment or not right.type.name.startswith("interval"):
        raise mismatch(f"Operator {op} cannot combine {left.type} with {right.type}.")
    return Typed(f"CAST(({left.sql} {op} {right.sql}) AS {left.type.duckdb()})", left.type)


def _step(unit: str, count: str) -> str:
    if unit == "millisecond":
        return f"to_milliseconds({count})"
    if unit in ("second", "minute", "hour"):
        return f"{_UNITS[unit]}(CAST({count} AS BIGINT))"
    return f"{_UNITS[unit]}(CAST({count} AS INTEGER))"


def _unit(node: exp.Expr | None, allowed: Iterable[str], what: str) -> str:
    name = node.name.lower() if isinstance(node, (exp.Var, exp.Literal)) else ""
    if name not in allowed:
        raise refuse(f"this unit of {what}")
    return name


def _need_date(what: str, value: Typed, time_part: bool) -> None:
    names = (
        ("timestamp", "timestamp with time zone") if time_part else ("date", "timestamp", "timestamp with time zone")
    )
    if value.type.name not in (*names, "unknown"):
        raise mismatch(f"{what} does not take {value.type}.")


def _count(node: exp.Expr) -> int:
    if not isinstance(node, exp.Literal) or node.is_string or not node.name.isdigit():
        raise refuse("a LIMIT, OFFSET or position that is no number")
    return int(node.name)


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


def _ordinals(query: _Query) -> _Scope:
    """ORDER BY above a set operation sees output names only."""
    scope = _Scope(None, {})
    names = [n.lower() for n, _ in query.columns]
    scope.outputs = {
        n: Typed(str(i + 1), t) for i, (n, (_, t)) in enumerate(zip(names, query.columns, strict=True))
        if names.count(n) == 1
    }  # fmt: skip
    return scope


def _coerced(query: _Query, columns: Sequence[tuple[str, TrinoType]]) -> str:
    """An arm of a set operation, its columns cast where DuckDB would pick another common type."""
    if all(a.duckdb() == b.duckdb() for (_, a), (_, b) in zip(query.columns, columns, strict=True)):
        return f"({query.sql})"
    listed = ", ".join(f"CAST(arm.c{i} AS {kind.duckdb()}) AS {quote(name)}" for i, (name, kind) in enumerate(columns))
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    return f"(SELECT {listed} FROM ({query.sql}) AS arm({names}))"
