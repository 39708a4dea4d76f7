"""Random small worlds and random questions about them, built so that hypothesis can shrink both.

Every question has one answer as a bag: rows are limited only under an order of all outputs, windows only
use functions that ties leave alone, and nothing divides by a value. Smaller choices come first in every
list, so that a failure shrinks towards `SELECT k FROM a.main.t`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.differential.harness import DEC, World, world

Draw = Callable[..., int]

TABLES = {
    "a__t": {"k": "varchar", "g": "integer", "n": "bigint"},
    "a__u": {"k": "varchar", "g": "integer", "m": "decimal(5,1)"},
    "b__v": {"k": "varchar", "g": "integer", "n": "bigint"},
    "b__x": {"k": "varchar", "n": "bigint", "m": "decimal(6,2)"},
    "c__w": {"k": "varchar", "g": "bigint", "m": "decimal(5,1)"},
}
TRAITS = {"a__t": {"key": ("k",)}, "b__v": {"key": ("k", "g")}}
"""Keys as owners declare them, rightly or not."""
VALUES = {
    "varchar": ("x", None, "y", "x", "Z", "y", "x"),
    "integer": (1, 0, None, 1, 2),
    "bigint": (1, 2, 0, None, -2, 1),
    "decimal(5,1)": (DEC("1.0"), DEC("0.5"), None, DEC("-2.0"), DEC("1.0"), None, DEC("0.5"), DEC("1.0")),
    "decimal(6,2)": (DEC("1.00"), None, DEC("0.50"), DEC("0.25"), DEC("1.00"), DEC("0.50"), None, DEC("1.00"), None),
}
"""Values by type, in lists of coprime lengths: row i takes value i of each list in turn."""
ROWS = 8
FAMILY = {"varchar": "s", "integer": "i", "bigint": "i", "decimal(5,1)": "m", "decimal(6,2)": "m"}
LITERALS = {"s": ("'x'", "'y'", "'Z'"), "i": ("1", "0", "2"), "m": ("0.5", "1.0", "-2.0")}
WIDE = {"s": "varchar", "i": "bigint", "m": "decimal(5,1)"}
NO_MORE = 3
"""Depth of nesting."""


@dataclass(frozen=True)
class Column:
    """sql: how to read it here. kind: s text, i integer, m decimal."""

    sql: str
    kind: str


@dataclass
class Scope:
    """What a select may read, and what it may still define."""

    columns: list[Column] = field(default_factory=list)
    outer: list[Column] = field(default_factory=list)
    ctes: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One question and the rows it is asked of."""

    here: World
    sql: str


@st.composite
def worlds(draw: Draw) -> World:
    """Any of the same eight rows in each relation, the first one twice: NULLs and duplicates are likely."""
    tables = {}
    for start, (name, columns) in enumerate(TABLES.items()):
        chosen = draw(st.integers(0, 2**ROWS - 1))
        rows = [_row(columns, start + i) for i in range(ROWS) if chosen >> i & 1]
        tables[name] = (columns, [*rows, *rows[:1]])
    return world(TRAITS, **tables)


def _row(columns: dict[str, str], number: int) -> tuple[object, ...]:
    return tuple(VALUES[t][number % len(VALUES[t])] for t in columns.values())


@st.composite
def cases(draw: Draw) -> Case:
    """A question over a world."""
    return Case(draw(worlds()), _Author(draw).statement())  # type: ignore[arg-type]


class _Author:
    """Writes one statement; every choice is one draw."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.names = 0

    def pick(self, *choices: str) -> str:
        return choices[self.draw(st.integers(0, len(choices) - 1))]

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def column(self, columns: list[Column], kind: str = "") -> Column | None:
        fitting = [c for c in columns if kind in ("", c.kind)]
        return fitting[self.draw(st.integers(0, len(fitting) - 1))] if fitting else None

    def alias(self) -> str:
        self.names += 1
        # Names that the planner uses itself are the likeliest to be captured.
        return f"{self.pick('t', 'q', 'w')}{self.names}"

    # ---- queries

    def statement(self) -> str:
        scope = Scope()
        parts: list[str] = []
        for _ in range(self.draw(st.integers(0, 2))):
            name = f"w{2 - len(parts)}"
            sql, outputs = self.query(scope, NO_MORE - 1)
            parts.append(f"{name} AS ({sql})")
            scope.ctes[name] = outputs
        sql = self.first_rows() if self.chance(6) else self.query(scope, 0)[0]
        return f"WITH {', '.join(parts)} {sql}" if parts else sql

    def query(self, scope: Scope, depth: int) -> tuple[str, list[tuple[str, str]]]:
        if depth < NO_MORE and self.chance(5):
            return self.set_operation(scope, depth)
        return self.select(scope, depth)

    def first_rows(self) -> str:
        """A few rows of a join, by columns as they are: in an order that one of its sides may lead."""
        inner = Scope()
        from_ = self.from_(inner, NO_MORE)
        where = f" WHERE {self.condition(inner, NO_MORE)}" if self.chance(3) else ""
        chosen = [self.column(inner.columns) for _ in range(self.draw(st.integers(1, 3)))]
        listed = ", ".join(f"{column.sql} AS o{i}" for i, column in enumerate(chosen) if column is not None)
        return f"SELECT {listed} FROM {from_}{where}{self.sorted(len(chosen))}"

    def set_operation(self, scope: Scope, depth: int) -> tuple[str, list[tuple[str, str]]]:
        left, outputs = self.select(scope, depth + 1)
        right, _ = self.select(scope, depth + 1, [kind for _, kind in outputs])
        word = self.pick("UNION ALL", "UNION", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL")
        # Decimals of several scales meet in an arm; a wider type is what the whole has.
        return f"({left}) {word} ({right})", outputs

    def select(self, scope: Scope, depth: int, kinds: list[str] | None = None) -> tuple[str, list[tuple[str, str]]]:
        inner = Scope(outer=scope.outer, ctes=scope.ctes)
        from_ = self.from_(inner, depth)
        where = f" WHERE {self.condition(inner, depth)}" if self.chance(2) else ""
        if self.chance(3):
            return self.grouped(inner, from_ + where, kinds)
        items = self.items(inner, kinds)
        if kinds is None and self.chance(6):
            items.append(self.window(inner))
        outputs = [(f"o{i}", kind) for i, (_, kind) in enumerate(items)]
        listed = ", ".join(f"{sql} AS o{i}" for i, (sql, _) in enumerate(items))
        distinct = "DISTINCT " if self.chance(6) else ""
        return f"SELECT {distinct}{listed} FROM {from_}{where}{self.tail(items)}", outputs

    def items(self, scope: Scope, kinds: list[str] | None) -> list[tuple[str, str]]:
        wanted = kinds or ["" for _ in range(self.draw(st.integers(1, 3)))]
        return [self.value(scope.columns, kind) for kind in wanted]

    def value(self, columns: list[Column], kind: str) -> tuple[str, str]:
        found = self.column(columns, kind)
        if found is None:
            # Bare, a number in GROUP BY or ORDER BY would be a position.
            return f"CAST({self.pick(*LITERALS[kind])} AS {WIDE[kind]})", kind
        shape = self.draw(st.integers(0, 7))
        if shape == 6 and found.kind == "i":
            return f"{found.sql} + 1", "i"
        if shape == 7:
            return f"COALESCE({found.sql}, {LITERALS[found.kind][0]})", found.kind
        return found.sql, found.kind

    def window(self, scope: Scope) -> tuple[str, str]:
        over = self.column(scope.columns)
        assert over is not None
        call = self.pick("COUNT(*)", f"COUNT({over.sql})", f"RANK() OVER (ORDER BY {over.sql}) + COUNT(*)")
        return f"{call} OVER (PARTITION BY {scope.columns[0].sql})", "i"

    def tail(self, items: list[tuple[str, str]]) -> str:
        constant = any(sql.startswith("CAST(") for sql, _ in items)  # DuckDB sorts by no constant
        if constant or not self.chance(6):
            return ""
        return self.sorted(len(items))

    def sorted(self, count: int) -> str:
        """By all outputs, so that there is one answer."""
        words = ("", " DESC", " NULLS FIRST", " DESC NULLS FIRST")
        order = ", ".join(f"{i + 1}{self.pick(*words)}" for i in range(count))
        offset = f" OFFSET {self.draw(st.integers(1, 2))}" if self.chance(4) else ""
        return f" ORDER BY {order}{offset} LIMIT {self.draw(st.integers(0, 3))}"

    def grouped(self, scope: Scope, source: str, kinds: list[str] | None) -> tuple[str, list[tuple[str, str]]]:
        keys = [self.value(scope.columns, "") for _ in range(self.draw(st.integers(0, 2)))]
        items: list[tuple[str, str]] = []
        for kind in kinds or ["" for _ in range(self.draw(st.integers(1, 3)))]:
            fitting = [k for k in keys if kind in ("", k[1])]
            if fitting and self.chance(2):
                items.append(fitting[self.draw(st.integers(0, len(fitting) - 1))])
            else:
                items.append(self.aggregate(scope, kind))
        listed = ", ".join(f"{sql} AS o{i}" for i, (sql, _) in enumerate(items))
        group = f" GROUP BY {', '.join(sql for sql, _ in keys)}" if keys else ""
        having = f" HAVING {self.aggregate(scope, 'i')[0]} > {self.pick('0', '1')}" if self.chance(4) else ""
        outputs = [(f"o{i}", kind) for i, (_, kind) in enumerate(items)]
        return f"SELECT {listed} FROM {source}{group}{having}{self.tail(items)}", outputs

    def aggregate(self, scope: Scope, kind: str) -> tuple[str, str]:
        found = self.column(scope.columns, kind if kind == "s" else "")
        if kind == "s" and found is not None:
            return f"{self.pick('MIN', 'MAX')}({found.sql})", "s"
        if kind == "m":
            found = self.column(scope.columns, "m")
            return (f"{self.pick('SUM', 'MIN', 'MAX')}({found.sql})", "m") if found else ("SUM(0.5)", "m")
        if kind == "s" or found is None:
            return ("MAX('x')", "s") if kind == "s" else ("COUNT(*)", "i")
        call = self.pick("COUNT(*)", f"COUNT({found.sql})", "SUM", f"COUNT(DISTINCT {found.sql})", "MIN")
        if call in ("SUM", "MIN"):
            number = self.column(scope.columns, "i")
            call = f"{call}({number.sql})" if number is not None else "COUNT(*)"
        if self.chance(6):
            call = f"{call} FILTER (WHERE {self.comparison(scope.columns)})"
        return call, "i"

    # ---- relations and joins

    def from_(self, scope: Scope, depth: int) -> str:
        text, scope.columns = self.relation(scope, depth)
        for _ in range(self.draw(st.integers(0, 2))):
            right, columns = self.relation(scope, depth)
            kind = self.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN")
            on = "" if kind == "CROSS JOIN" else f" ON {self.on(scope.columns, columns)}"
            scope.columns = [*scope.columns, *columns]
            text = f"{text} {kind} {right}{on}"
        return text

    def on(self, left: list[Column], right: list[Column]) -> str:
        pair = self.column(right)
        assert pair is not None
        other = self.column(left, pair.kind)
        first = f"{other.sql} = {pair.sql}" if other is not None else "TRUE"
        if self.chance(3):
            first += f" AND {self.comparison([*right, *left])}"
        return first

    def relation(self, scope: Scope, depth: int) -> tuple[str, list[Column]]:
        alias = self.alias()
        if scope.ctes and self.chance(3):
            name = self.pick(*scope.ctes)
            return f"{name} AS {alias}", [Column(f"{alias}.{n}", k) for n, k in scope.ctes[name]]
        if depth < NO_MORE and self.chance(4):
            sql, outputs = self.query(Scope(ctes=scope.ctes), depth + 1)
            return f"({sql}) AS {alias}", [Column(f"{alias}.{n}", k) for n, k in outputs]
        name = self.pick(*TABLES)
        columns = [Column(f"{alias}.{c}", FAMILY[t]) for c, t in TABLES[name].items()]
        return f"{name.replace('__', '.main.')} AS {alias}", columns

    # ---- conditions

    def condition(self, scope: Scope, depth: int) -> str:
        parts = [self.predicate(scope, depth) for _ in range(self.draw(st.integers(1, 2)))]
        return f" {self.pick('AND', 'OR')} ".join(parts)

    def predicate(self, scope: Scope, depth: int) -> str:
        if depth < NO_MORE and self.chance(4):
            return self.subquery(scope, depth)
        return self.comparison([*scope.columns, *scope.outer])

    def comparison(self, columns: list[Column]) -> str:
        one = self.column(columns)
        assert one is not None
        other = self.column([c for c in columns if c.sql != one.sql], one.kind)
        right = self.pick(*LITERALS[one.kind], *([other.sql] if other is not None else []))
        shape = self.draw(st.integers(0, 6))
        if shape == 5:
            return f"{one.sql} IS {self.pick('NULL', 'NOT NULL')}"
        if shape == 6:
            return f"COALESCE({one.sql}, {LITERALS[one.kind][0]}) = {right}"
        return f"{one.sql} {self.pick('=', '<', '>=', '<>', '=')} {right}"

    def subquery(self, scope: Scope, depth: int) -> str:
        outer = [*scope.columns, *scope.outer]
        one = self.column(outer)
        assert one is not None
        word = self.pick("IN", "NOT IN", "EXISTS", "=")
        if word == "EXISTS":
            sql, _ = self.select(Scope(outer=outer, ctes=scope.ctes), NO_MORE)
            return f"{self.pick('', 'NOT ')}EXISTS ({sql})"
        if word == "=":
            inner = Scope(outer=outer, ctes=scope.ctes)
            from_ = self.from_(inner, NO_MORE)
            where = f" WHERE {self.comparison([*inner.columns, *outer])}"
            return f"{one.sql} >= (SELECT {self.aggregate(inner, one.kind)[0]} FROM {from_}{where})"
        sql, _ = self.select(Scope(ctes=scope.ctes), NO_MORE, [one.kind])
        return f"{one.sql} {word} ({sql})"
