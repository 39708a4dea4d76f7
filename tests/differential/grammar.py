"""Random small worlds and random questions about them, made from a list of numbers, which can be made smaller.

Every question has one answer as a bag: rows are limited only under an order of all outputs, windows only
use functions that ties leave alone, and nothing divides by a value. Smaller choices come first in every
list, so that a failure shrinks towards `SELECT k FROM a.main.t`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa

from tests.differential.harness import DEC, World, table_of, world_of

TABLES = {
    "a__t": {"k": "varchar", "g": "integer", "n": "bigint"},
    "a__u": {"k": "varchar", "g": "integer", "m": "decimal(5,1)"},
    "b__v": {"k": "varchar", "g": "integer", "n": "bigint"},
    "b__x": {"k": "varchar", "n": "bigint", "m": "decimal(6,2)"},
    "c__w": {"k": "varchar", "g": "bigint", "m": "decimal(5,1)"},
    "c__s": {"g": "integer", "n": "bigint"},
}
SUMS = "c__s"
TRAITS: dict[str, dict[str, Any]] = {
    "a__t": {"key": ("k",)},
    "b__v": {"key": ("k", "g")},
    "b__x": {"key": ("k",)},
    SUMS: {"mode": "aggregate", "min_group": 1, "entity": "n", "dimensions": ("g",), "measures": ("n",)},
}
"""Keys as owners declare them, rightly or not, and a relation that gives sums only."""
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


class Choices:
    """Numbers between bounds, as they are given in `first`; after those by dice, or the least without any.

    taken: those that were.
    """

    def __init__(self, first: list[int], dice: random.Random | None = None) -> None:
        self.first = first
        self.dice = dice
        self.taken: list[int] = []

    def __call__(self, least: int, most: int) -> int:
        if len(self.taken) < len(self.first):
            number = min(max(self.first[len(self.taken)], least), most)
        else:
            number = self.dice.randint(least, most) if self.dice is not None else least
        self.taken.append(number)
        return number


def thrown(number: int) -> Choices:
    """What a question of this number is made from, always the same."""
    return Choices([], random.Random(number))


def case(choose: Choices) -> Case:
    """A question over a world of what it names."""
    chosen = {name: choose(0, 2**ROWS - 1) for name in TABLES}
    sql = _Author(choose).statement()
    named = {name: _table(name, rows) for name, rows in chosen.items() if f"{_full(name)} " in sql}
    return Case(world_of(named, TRAITS), sql)


def _full(name: str) -> str:
    return name.replace("__", ".main.")


@cache
def _table(name: str, chosen: int) -> pa.Table:
    """Any of the same eight rows for each relation, the first one twice: NULLs and duplicates are likely."""
    columns = TABLES[name]
    start = list(TABLES).index(name)
    rows = [_row(columns, start + i) for i in range(ROWS) if chosen >> i & 1]
    return table_of(columns, [*rows, *rows[:1]])


def _row(columns: dict[str, str], number: int) -> tuple[object, ...]:
    return tuple(VALUES[t][number % len(VALUES[t])] for t in columns.values())


MOST_TRIES = 1000
"""Of making a failure smaller."""


def shrunk(choices: list[int], fails: Callable[[Case], bool]) -> Case:
    """The smallest case that was found to fail as the one of `choices` does: fewer of them, then lesser ones."""
    found, tries = case(Choices(choices)), 0
    better = fails(found)
    while better:
        better = False
        for length in (32, 16, 8, 7, 6, 5, 4, 3, 2, 1, 0):
            for start in range(len(choices) - 1, -1, -1):
                for attempt in _smaller(choices, start, length):
                    choose = Choices(attempt)
                    tried = case(choose)
                    if tries < MOST_TRIES and (len(choose.taken), choose.taken) < (len(choices), choices):
                        tries += 1
                        if fails(tried):
                            choices, found, better = choose.taken, tried, True
    return found


def _smaller(choices: list[int], start: int, length: int) -> Iterator[list[int]]:
    """Without `length` choices from `start` on; for 0 of them, with a lesser choice there."""
    if length:
        yield choices[:start] + choices[start + length :]
        return
    number = choices[start] if start < len(choices) else 0
    bits = (1 << bit for bit in range(number.bit_length()))
    for less in dict.fromkeys((0, *(number & ~bit for bit in bits), number - 1)) if number else ():
        yield [*choices[:start], less, *choices[start + 1 :]]


class _Author:
    """Writes one statement; every choice is one number."""

    def __init__(self, choose: Choices) -> None:
        self.choose = choose
        self.names = 0

    def pick(self, *choices: str) -> str:
        return choices[self.choose(0, len(choices) - 1)]

    def chance(self, one_in: int) -> bool:
        return self.choose(0, one_in - 1) == one_in - 1

    def column(self, columns: list[Column], kind: str = "") -> Column | None:
        fitting = [c for c in columns if kind in ("", c.kind)]
        return fitting[self.choose(0, len(fitting) - 1)] if fitting else None

    def alias(self) -> str:
        self.names += 1
        # Names that the planner uses itself are the likeliest to be captured.
        return f"{self.pick('t', 'q', 'w')}{self.names}"

    # ---- queries

    def statement(self) -> str:
        scope = Scope()
        parts: list[str] = []
        for _ in range(int(self.pick("0", "0", "1", "2"))):
            name = f"w{2 - len(parts)}"
            sql, outputs = self.query(scope, NO_MORE - 1)
            parts.append(f"{name} AS ({sql})")
            scope.ctes[name] = outputs
        twice = ("first rows", "first groups", "met")
        asked = self.pick(*["query"] * 9, "compared", "counted", "shares", "most", *twice, *twice)
        if asked == "most":
            parts.append(self.own_query(scope))
            sql = self.most(scope)
        elif asked == "compared":
            sql = self.compared(scope)
        elif asked == "counted":
            sql = self.counted(scope)
        elif asked == "shares":
            sql = self.shares()
        elif asked == "first groups":
            sql = self.first_groups()
        elif asked == "met":
            sql = self.met()
        else:
            sql = self.first_rows(scope) if asked == "first rows" else self.query(scope, 0)[0]
        return f"WITH {', '.join(parts)} {sql}" if parts else sql

    def query(self, scope: Scope, depth: int) -> tuple[str, list[tuple[str, str]]]:
        if depth < NO_MORE and self.chance(5):
            return self.set_operation(scope, depth)
        return self.select(scope, depth)

    def own_query(self, scope: Scope) -> str:
        """The WITH query `own`: sums of one department."""
        text, columns = self.table()
        one = columns[self.choose(0, len(columns) - 1)]
        total, kind = self.aggregate(Scope(columns), "")
        scope.ctes["own"] = [("o0", one.kind), ("o1", kind)]
        return f"own AS (SELECT {one.sql} AS o0, {total} AS o1 FROM {text} GROUP BY {one.sql})"

    def most(self, scope: Scope) -> str:
        """Where `own` says the most, beside another relation."""
        alias = self.alias()
        inner = Scope([Column(f"{alias}.{name}", kind) for name, kind in scope.ctes["own"]], ctes=scope.ctes)
        right, columns = self.relation(Scope(), NO_MORE)
        on = self.on(inner.columns, columns)
        inner.columns = [*inner.columns, *columns]
        listed = ", ".join(f"{sql} AS o{i}" for i, (sql, _) in enumerate(self.items(inner, None)))
        kind = self.pick("JOIN", "LEFT JOIN")
        most = f"{alias}.o1 = (SELECT {self.pick('MAX', 'MIN')}(o1) FROM own)"
        return f"SELECT {listed} FROM own AS {alias} {kind} {right} ON {on} WHERE {most}"

    def compared(self, scope: Scope) -> str:
        """Rows that hold as much as any row of another relation with their key."""
        inner = Scope(ctes=scope.ctes)
        from_ = self.from_(inner, NO_MORE)
        right, columns = self.table()
        one = self.column(inner.columns)
        assert one is not None
        listed = ", ".join(f"{sql} AS o{i}" for i, (sql, _) in enumerate(self.items(inner, None)))
        total = f"{self.pick('MAX', 'MIN')}({self.value(columns, one.kind)[0]})"
        most = f"(SELECT {total} FROM {right} WHERE {self.on(inner.columns, columns)})"
        return f"SELECT {listed} FROM {from_} WHERE {one.sql} {self.pick('=', '>=', '<')} {most}"

    def counted(self, scope: Scope) -> str:
        """What a LEFT JOIN brings, only to be counted."""
        left, columns = self.relation(scope, NO_MORE)
        right, others = self.table()
        one = columns[self.choose(0, len(columns) - 1)]
        other = others[self.choose(0, len(others) - 1)]
        total = self.pick(f"COUNT({other.sql})", "COUNT(*)", f"MAX({other.sql})")
        on = self.on(columns, others)
        return f"SELECT {one.sql} AS o0, {total} AS o1 FROM {left} LEFT JOIN {right} ON {on} GROUP BY {one.sql}"

    def shares(self) -> str:
        """Groups of one relation beside what is asked of all its rows, or of others."""
        source, columns = self.table()
        name, alias = source.split(" AS ")
        one, number = self.column(columns), self.column(columns, "i")
        assert one is not None
        assert number is not None
        where = f" WHERE {self.comparison(columns)}" if self.chance(2) else ""
        total = f"{self.pick('SUM', 'MIN', 'MAX', 'COUNT')}({number.sql})"
        asked = f"SELECT {self.pick('MIN', 'MAX', 'SUM', 'COUNT')}({number.sql}) FROM {source}"
        beside = f"{asked}{where if not self.chance(3) else ''}".replace(f"{alias}.", "other.")
        beside = beside.replace(source, f"{name} AS other")
        having = f"{total} {self.pick('>', '>=', '=')} ({beside})"
        return f"SELECT {one.sql} AS o0, {total} AS o1 FROM {source}{where} GROUP BY {one.sql} HAVING {having}"

    def first_rows(self, scope: Scope) -> str:
        """A few rows of a join, by columns as they are: in an order that one of its sides may lead."""
        inner = Scope()
        from_ = self.from_(inner, NO_MORE)
        where = f" WHERE {self.condition(inner, NO_MORE)}" if self.chance(3) else ""
        chosen = [self.column(inner.columns) for _ in range(self.choose(1, 3))]
        listed = ", ".join(f"{column.sql} AS o{i}" for i, column in enumerate(chosen) if column is not None)
        return f"SELECT {listed} FROM {from_}{where}{self.sorted(len(chosen))}"

    def first_groups(self) -> str:
        """A few groups of a join by a key, in an order that sums of one side may lead."""
        (left, columns), (right, others) = self.table(), self.table()
        joined = f"{left} JOIN {right} ON {others[0].sql} = {columns[0].sql}"
        if self.chance(3):
            third, more = self.table()
            joined += f" JOIN {third} ON {self.on([*others, *columns], more)}"
        where = f" WHERE {self.comparison([*others, *columns])}" if self.chance(3) else ""
        number = self.column(columns, self.pick("i", "m")) or columns[1]
        total = self.pick(f"SUM({number.sql})", "COUNT(*)", f"COUNT({number.sql})", "MIN", "MAX", "product")
        if total == "product":
            total = f"SUM({self.product([*others, *columns]) or number.sql})"
        elif total in ("MIN", "MAX"):
            total = f"{total}({columns[self.choose(0, len(columns) - 1)].sql})"
        keys = [self.pick(others[0].sql, columns[0].sql)]
        keys += [column.sql for column in others[1:] if self.chance(3)]
        listed = ", ".join(f"{sql} AS o{i}" for i, sql in enumerate((total, *keys)))
        having = f" HAVING COUNT(*) > {self.pick('0', '1')}" if self.chance(4) else ""
        grouped = f"{joined}{where} GROUP BY {', '.join(keys)}{having}"
        return f"SELECT {listed} FROM {grouped}{self.sorted(1 + len(keys))}"

    def met(self) -> str:
        """Rows of one relation that meet those of another in several columns."""
        (left, columns), (right, others) = self.table(), self.table()
        pairs = list[tuple[str, str]]()
        for other in others:
            one = self.column([c for c in columns if c.sql not in dict(pairs)], other.kind)
            if one is not None:
                pairs.append((one.sql, other.sql))
        equal = " AND ".join(f"{one} = {other}" for one, other in pairs) or "TRUE"
        chosen = columns[self.choose(0, len(columns) - 1)]
        few = f"{chosen.sql} = {self.pick(*LITERALS[chosen.kind])}"
        shape = self.pick("JOIN", "LEFT JOIN", "EXISTS", "NOT EXISTS", "GROUP BY", "IN")
        if shape == "IN" and pairs:
            one, other = (", ".join(column) for column in zip(*pairs, strict=True))
            few += f" AND ({one}) {self.pick('', 'NOT ')}IN (SELECT {other} FROM {right})"
        elif shape in ("EXISTS", "NOT EXISTS"):
            few += f" AND {shape} (SELECT 1 FROM {right} WHERE {equal})"
        elif shape == "GROUP BY":
            keys = [other for _, other in pairs] or [others[0].sql]
            named = {key: f"met.{key.split('.')[1]}" for key in keys}
            grouped = f"SELECT {', '.join(keys)}, COUNT(*) AS c FROM {right} GROUP BY {', '.join(keys)}"
            on = " AND ".join(f"{one} = {named[other]}" for one, other in pairs) or "TRUE"
            return f"SELECT {columns[0].sql} AS o0, met.c AS o1 FROM {left} JOIN ({grouped}) AS met ON {on} WHERE {few}"
        else:
            kind = "JOIN" if shape == "IN" else shape
            listed = f"{columns[0].sql} AS o0, {others[-1].sql} AS o1"
            return f"SELECT {listed} FROM {left} {kind} {right} ON {equal} WHERE {few}"
        return f"SELECT {columns[0].sql} AS o0, {columns[1].sql} AS o1 FROM {left} WHERE {few}"

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
        wanted = kinds or ["" for _ in range(self.choose(1, 3))]
        return [self.value(scope.columns, kind) for kind in wanted]

    def value(self, columns: list[Column], kind: str) -> tuple[str, str]:
        found = self.column(columns, kind)
        if found is None:
            # Bare, a number in GROUP BY or ORDER BY would be a position.
            return f"CAST({self.pick(*LITERALS[kind])} AS {WIDE[kind]})", kind
        shape = self.choose(0, 7)
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
        offset = f" OFFSET {self.choose(1, 2)}" if self.chance(4) else ""
        return f" ORDER BY {order}{offset} LIMIT {self.choose(0, 3)}"

    def grouped(self, scope: Scope, source: str, kinds: list[str] | None) -> tuple[str, list[tuple[str, str]]]:
        keys = [self.value(scope.columns, "") for _ in range(self.choose(0, 2))]
        items: list[tuple[str, str]] = []
        for kind in kinds or ["" for _ in range(self.choose(1, 3))]:
            fitting = [k for k in keys if kind in ("", k[1])]
            if fitting and self.chance(2):
                items.append(fitting[self.choose(0, len(fitting) - 1)])
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
        if kind == "m" or (not kind and self.chance(6)):
            if self.chance(2) and (product := self.product(scope.columns)):
                return f"SUM({product})", "m"
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

    def product(self, columns: list[Column]) -> str:
        """Numbers of any sides, multiplied and added up; "" if there is none that is a decimal."""
        one, two, three = self.column(columns, "m"), self.column(columns, "i"), self.column(columns, "m")
        if one is None or two is None or three is None:
            return ""
        text = f"{one.sql} {self.pick('*', '-', '+')} {two.sql}"
        whole = f"({text})" if self.chance(2) else text
        return f"{whole} {self.pick('*', '-', '+')} {self.pick(three.sql, two.sql, '2')}"

    # ---- relations and joins

    def from_(self, scope: Scope, depth: int) -> str:
        text, scope.columns = self.relation(scope, depth)
        for _ in range(self.choose(0, 2)):
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
        if scope.ctes and self.chance(2):
            name = self.pick(*scope.ctes)
            return f"{name} AS {alias}", [Column(f"{alias}.{n}", k) for n, k in scope.ctes[name]]
        if depth < NO_MORE and self.chance(4):
            sql, outputs = self.query(Scope(ctes=scope.ctes), depth + 1)
            return f"({sql}) AS {alias}", [Column(f"{alias}.{n}", k) for n, k in outputs]
        if self.chance(10):
            return f"({self.sums()}) AS {alias}", [Column(f"{alias}.{n}", "i") for n in ("o0", "o1")]
        return self.table(alias)

    def sums(self) -> str:
        """All that a relation which gives sums only may be asked."""
        alias = self.alias()
        total = self.pick(f"SUM({alias}.n)", "COUNT(*)", f"MIN({alias}.n)", f"SUM({alias}.n) + COUNT(*)")
        where = f" WHERE {alias}.g = {self.pick('1', '2')}" if self.chance(3) else ""
        having = f" HAVING COUNT(*) > {self.pick('1', '2')}" if self.chance(3) else ""
        return f"SELECT {alias}.g AS o0, {total} AS o1 FROM {_full(SUMS)} AS {alias}{where} GROUP BY {alias}.g{having}"

    def table(self, alias: str = "") -> tuple[str, list[Column]]:
        alias = alias or self.alias()
        name = self.pick(*(name for name in TABLES if name != SUMS))
        columns = [Column(f"{alias}.{c}", FAMILY[t]) for c, t in TABLES[name].items()]
        return f"{_full(name)} AS {alias}", columns

    # ---- conditions

    def condition(self, scope: Scope, depth: int) -> str:
        parts = [self.predicate(scope, depth) for _ in range(self.choose(1, 2))]
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
        shape = self.choose(0, 6)
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
        inner = Scope(outer=outer, ctes=scope.ctes)
        if word in ("EXISTS", "=") and self.chance(2):
            from_, inner.columns = self.table()
            source = f"{from_} WHERE {self.on(outer, inner.columns)}"
        elif word == "=":
            from_ = self.from_(inner, NO_MORE)
            source = f"{from_} WHERE {self.comparison([*inner.columns, *outer])}"
        elif word == "EXISTS":
            return f"{self.pick('', 'NOT ')}EXISTS ({self.select(inner, NO_MORE)[0]})"
        else:
            return f"{one.sql} {word} ({self.select(Scope(ctes=scope.ctes), NO_MORE, [one.kind])[0]})"
        if word == "EXISTS":
            return f"{self.pick('', 'NOT ')}EXISTS (SELECT 1 FROM {source})"
        return f"{one.sql} >= (SELECT {self.aggregate(inner, one.kind)[0]} FROM {source})"
