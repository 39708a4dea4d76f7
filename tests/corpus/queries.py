# ruff: noqa: E501 - shapes of queries
"""Random queries: more than a projection, over the corpus' tables. Their order is total wherever one is written."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.corpus.grammar import AGGREGATES, CELL_LEAVES, KINDS, ORDERED, Leaves, Maker, Node

__all__ = ["Queries"]

SALE_LEAVES: dict[str, list[str]] = {
    "int": ["id", "cell", "qty"], "small": ["qty"], "text": ["kind"], "date": ["day"], "decimal": ["amount"],
}  # fmt: skip
PLAIN = ("int", "decimal", "double", "text", "bool", "date", "stamp")
FRAMES = [
    "", "", "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", "ROWS 2 PRECEDING", "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING", "ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", "RANGE UNBOUNDED PRECEDING", "GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW", "GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING",
]  # fmt: skip
WINDOWS = [
    "row_number() OVER ({p} ORDER BY {o}, {key})", "rank() OVER ({p} ORDER BY {o})", "dense_rank() OVER ({p} ORDER BY {o})", "percent_rank() OVER ({p} ORDER BY {o})", "cume_dist() OVER ({p} ORDER BY {o})",
    "ntile(3) OVER ({p} ORDER BY {o}, {key})", "lag({x}) OVER ({p} ORDER BY {key})", "lead({x}, 2) OVER ({p} ORDER BY {key} DESC)", "lag({x}, 1, {x2}) OVER (ORDER BY {key})", "first_value({x}) OVER ({p} ORDER BY {key} {f})", "last_value({x}) OVER ({p} ORDER BY {key} {f})",
    "nth_value({x}, 2) OVER ({p} ORDER BY {key} {f})", "lag({x}) IGNORE NULLS OVER ({p} ORDER BY {key})", "last_value({x}) IGNORE NULLS OVER ({p} ORDER BY {key} {f})",
    "{agg} OVER ({p} ORDER BY {key} {f})", "{agg} OVER ({p})", "{agg} OVER ({p} ORDER BY {key} {f})", "count(*) OVER (ORDER BY {key} RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING)", "sum({int}) OVER (ORDER BY {key} RANGE BETWEEN CURRENT ROW AND 3 FOLLOWING)",
]  # fmt: skip
LABELS = ["", "", "", " AS p{n}", ' AS "Mixed {n}"', " AS Up{n}"]


class Queries:
    """Makes random queries. parts: the expressions of the last one."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.parts: list[Node] = []

    def query(self) -> str:
        self.parts = []
        return self.rng.choice(SHAPES)(self)

    # ---- pieces

    def maker(self, *tables: tuple[str, Leaves]) -> Maker:
        leaves: dict[str, list[str]] = {}
        for alias, own in tables:
            for kind, names in own.items():
                leaves.setdefault(kind, []).extend(f"{alias}.{n}" for n in names)
        return Maker(self.rng, leaves)

    def expr(self, maker: Maker, kind: str = "", depth: int | None = None) -> str:
        node = maker.make(kind or self.rng.choice(KINDS), self.rng.choice([0, 1, 1, 2]) if depth is None else depth)
        self.parts.append(node)
        return node.text

    def shown(self, maker: Maker, number: int = 2, kinds: tuple[str, ...] = KINDS) -> str:
        return ", ".join(
            self.expr(maker, self.rng.choice(kinds)) + self.rng.choice(LABELS).format(n=n) for n in range(number)
        )

    def rows(self, alias: str) -> str:
        """The extremes overflow nearly everything; most statements leave them out."""
        return self.rng.choice([f"{alias}.id IN (1, 2, 5, 6)"] * 5 + [f"{alias}.id <> 3", f"{alias}.id <> 4", "TRUE"])

    def where(self, maker: Maker, alias: str) -> str:
        more = f" AND {self.expr(maker, 'bool')}" if self.rng.random() < 0.6 else ""
        return f" WHERE {self.rows(alias)}{more}"

    def direction(self) -> str:
        return self.rng.choice(["", " DESC", " ASC", " NULLS FIRST", " DESC NULLS FIRST", " DESC NULLS LAST"])

    def order(self, maker: Maker, *keys: str) -> str:
        first = [self.expr(maker, self.rng.choice(ORDERED), 1) + self.direction()] if self.rng.random() < 0.5 else []
        return " ORDER BY " + ", ".join([*first, *(k + self.direction() for k in keys)])

    def limit(self) -> str:
        return self.rng.choice(
            [
                "",
                "",
                " LIMIT 2",
                " LIMIT 3",
                " OFFSET 1",
                " OFFSET 1 LIMIT 2",
                " FETCH FIRST 2 ROWS ONLY",
                " LIMIT 0",
                " OFFSET 2 ROWS FETCH NEXT ROW ONLY",
                " LIMIT ALL",
            ]
        )

    def aggregate(self, maker: Maker, key: str) -> str:
        kind = self.rng.choice(list(AGGREGATES))
        template = self.rng.choice(AGGREGATES[kind])
        node = maker.filled(
            template.replace(" id)", f" {key})")
            .replace(" id ", f" {key} ")
            .replace("(id,", f"({key},")
            .replace(" id,", f" {key},")
            .replace("+ id", f"+ {key}")
            .replace(", id", f", {key}"),
            kind,
            2,
        )
        self.parts += node.parts
        return node.text

    # ---- shapes

    def ordered(self) -> str:
        m = self.maker(("c", CELL_LEAVES))
        return f"SELECT {self.shown(m)} FROM a.main.cell AS c{self.where(m, 'c')}{self.order(m, 'c.id')}{self.limit()}"

    def distinct(self) -> str:
        m = self.maker(("c", CELL_LEAVES))
        return f"SELECT DISTINCT {self.shown(m, 2, ORDERED)} FROM a.main.cell AS c{self.where(m, 'c')}"

    def distinct_ordered(self) -> str:
        m = self.maker(("c", CELL_LEAVES))
        one, two = self.expr(m, self.rng.choice(ORDERED)), self.expr(m, self.rng.choice(ORDERED))
        return f"SELECT DISTINCT {one} AS p, {two} AS q FROM a.main.cell AS c{self.where(m, 'c')} ORDER BY q{self.direction()}, 1{self.direction()}{self.limit()}"

    def grouped(self) -> str:
        m = self.maker(("c", CELL_LEAVES))
        keys = [self.expr(m, self.rng.choice(ORDERED), 1) for _ in range(self.rng.choice([1, 1, 2]))]
        shown = ", ".join([*keys, *(self.aggregate(m, "c.id") for _ in range(2))])
        by = self.rng.choice([", ".join(keys), ", ".join(str(i + 1) for i in range(len(keys)))])
        having = self.rng.choice(
            ["", "", " HAVING count(*) > 1", f" HAVING {self.aggregate(m, 'c.id')} IS NOT NULL", " HAVING sum(c.i) > 0"]
        )
        return f"SELECT {shown} FROM a.main.cell AS c{self.where(m, 'c')} GROUP BY {by}{having}"

    def whole(self) -> str:
        m = self.maker(("s", SALE_LEAVES))
        shown = ", ".join(self.aggregate(m, "s.id") + self.rng.choice(LABELS).format(n=i) for i in range(3))
        return f"SELECT {shown} FROM b.main.sale AS s{self.rng.choice(['', ' WHERE s.id > 12', ' WHERE FALSE', ' WHERE s.qty > 1'])}"

    def sets(self) -> str:
        m = self.maker(("s", SALE_LEAVES))
        by = self.rng.choice(
            [
                "ROLLUP (s.kind, s.day)",
                "CUBE (s.kind, s.qty)",
                "GROUPING SETS ((s.kind), (s.qty), ())",
                "GROUPING SETS ((s.kind, s.day), (s.kind), ())",
                "s.kind, ROLLUP (s.qty)",
                "GROUPING SETS ((s.kind), (s.kind))",
            ]
        )
        columns = [c for c in ("s.kind", "s.day", "s.qty") if c in by]
        return f"SELECT {', '.join(columns)}, grouping({', '.join(columns)}), {self.aggregate(m, 's.id')}, {self.aggregate(m, 's.id')} FROM b.main.sale AS s GROUP BY {by}"

    def joined(self) -> str:
        m = self.maker(("c", CELL_LEAVES), ("s", SALE_LEAVES))
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "INNER JOIN", "LEFT OUTER JOIN"])
        on = self.rng.choice(
            [
                "s.cell = c.id",
                "s.cell = c.id",
                "s.qty = c.ti",
                "s.cell = c.id AND s.qty > 1",
                "s.amount > c.n AND s.cell = c.id",
                "s.day < c.d",
                "s.kind = c.v OR s.cell = c.id",
                "s.cell = c.id + 1",
                "s.amount = c.i",
            ]
        )
        if self.rng.random() < 0.3:
            on += f" AND {self.expr(m, 'bool', 1)}"
        where = self.rng.choice(["", f" WHERE {self.rows('c')}", f" WHERE {self.expr(m, 'bool', 1)}"])
        return f"SELECT c.id, s.id, {self.shown(m)} FROM a.main.cell AS c {kind} b.main.sale AS s ON {on}{where}{self.order(m, 'c.id', 's.id')}{self.limit()}"

    def using(self) -> str:
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"])
        m = Maker(
            self.rng,
            {"int": ["id", "i", "qty"], "text": ["s", "kind"], "decimal": ["n", "amount"], "date": ["d", "day"]},
        )
        right = self.rng.choice(
            [
                "(SELECT id - 9 AS id, qty, kind, amount, day FROM b.main.sale)",
                "(VALUES (1, 2, 'x', 1.5, DATE '2024-01-01'), (BIGINT '7', NULL, 'y', 0.5, NULL))",
            ]
        )
        names = "AS t(id, qty, kind, amount, day)"
        return f"SELECT {self.rng.choice(['*', self.shown(m), 'id, qty, ' + self.shown(m, 1)])} FROM a.main.cell {kind} {right} {names} USING (id)"

    def crossed(self) -> str:
        m = self.maker(("c", CELL_LEAVES), ("s", SALE_LEAVES))
        join = self.rng.choice(
            [
                " CROSS JOIN b.main.sale AS s WHERE",
                ", b.main.sale AS s WHERE",
                ", b.main.sale AS s WHERE s.cell = c.id AND",
            ]
        )
        return f"SELECT c.id, s.id, {self.shown(m)} FROM a.main.cell AS c{join} {self.rows('c')} AND s.id < 13 ORDER BY c.id, s.id{self.limit()}"

    def merged(self) -> str:
        one, two = self.maker(("c", CELL_LEAVES)), self.maker(("s", SALE_LEAVES))
        kinds = [self.rng.choice(ORDERED), self.rng.choice(PLAIN)]
        other = [
            self.rng.choice(
                {"int": ["decimal", "double", "int"], "date": ["stamp", "date"], "text": ["text", "char"]}.get(k, [k])
            )
            for k in kinds
        ]
        word = self.rng.choice(
            ["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "UNION DISTINCT", "EXCEPT ALL", "INTERSECT ALL"]
        )
        left = f"SELECT {self.expr(one, kinds[0], 1)} AS p, {self.expr(one, kinds[1], 1)} FROM a.main.cell AS c WHERE {self.rows('c')}"
        right = f"SELECT {self.expr(two, other[0], 1)}, {self.expr(two, other[1], 1)} FROM b.main.sale AS s"
        if self.rng.random() < 0.3:
            return f"SELECT count(*), count(p) FROM ({left} {word} {right}) AS u"
        if self.rng.random() < 0.2:
            return f"({left}) {word} ({right} WHERE s.qty > 1) ORDER BY 1{self.direction()}, 2"
        return f"{left} {word} {right}"

    def correlated(self) -> str:
        m = self.maker(("c", CELL_LEAVES))
        inner = self.maker(("s", SALE_LEAVES), ("c", {"int": ["ti"]}))
        tie = self.rng.choice(["s.cell = c.id", "s.cell = c.id AND s.qty > 1", "s.cell = c.id"])
        scalar = self.rng.choice(
            [
                "max(s.amount)",
                "count(*)",
                "sum(s.qty)",
                "min(s.kind)",
                "avg(s.amount)",
                "count(s.qty)",
                "max_by(s.kind, s.id)",
                f"max({self.expr(self.maker(('s', SALE_LEAVES)), 'int', 1)})",
            ]
        )
        shape = self.rng.choice([
            "SELECT c.id, (SELECT {scalar} FROM b.main.sale AS s WHERE {tie}), {shown} FROM a.main.cell AS c WHERE {rows} ORDER BY c.id",
            "SELECT c.id, {shown} FROM a.main.cell AS c WHERE {rows} AND EXISTS (SELECT 1 FROM b.main.sale AS s WHERE {tie}) ORDER BY c.id",
            "SELECT c.id, {shown} FROM a.main.cell AS c WHERE {rows} AND NOT EXISTS (SELECT s.id FROM b.main.sale AS s WHERE {tie} AND s.qty > c.ti) ORDER BY c.id",
            "SELECT c.id, {int} IN (SELECT s.qty FROM b.main.sale AS s WHERE {tie}) FROM a.main.cell AS c WHERE {rows} ORDER BY c.id",
            "SELECT c.id, {shown} FROM a.main.cell AS c WHERE {rows} AND {int} IN (SELECT {inner} FROM b.main.sale AS s) ORDER BY c.id",
            "SELECT c.id, {shown} FROM a.main.cell AS c WHERE {rows} AND {int} NOT IN (SELECT {inner} FROM b.main.sale AS s WHERE s.qty IS NOT NULL) ORDER BY c.id",
            "SELECT c.id FROM a.main.cell AS c WHERE {rows} AND {dec} > (SELECT avg(s.amount) FROM b.main.sale AS s) ORDER BY c.id",
            "SELECT c.id, {text} IN (SELECT s.kind FROM b.main.sale AS s), {dec} >= ALL (SELECT s.amount FROM b.main.sale AS s WHERE s.amount IS NOT NULL) FROM a.main.cell AS c WHERE {rows} ORDER BY c.id",
            "SELECT c.id, (SELECT s.kind FROM b.main.sale AS s WHERE s.id = 10), {shown} FROM a.main.cell AS c WHERE {rows} ORDER BY c.id",
        ])  # fmt: skip
        given = {
            "scalar": scalar, "tie": tie, "shown": "{shown}", "rows": self.rows("c"), "int": "{int}", "inner": "{inner}", "dec": "{dec}", "text": "{text}",
        }  # fmt: skip
        text = shape.format(**given)
        for mark, make in {
            "{shown}": lambda: self.shown(m, 1),
            "{int}": lambda: self.expr(m, "int", 1),
            "{inner}": lambda: self.expr(inner, "int", 1),
            "{dec}": lambda: self.expr(m, "decimal", 1),
            "{text}": lambda: self.expr(m, "text", 1),
        }.items():
            if mark in text:
                text = text.replace(mark, make())
        return text

    def windowed(self) -> str:
        cell = self.rng.random() < 0.5
        alias, leaves, table = ("c", CELL_LEAVES, "a.main.cell") if cell else ("s", SALE_LEAVES, "b.main.sale")
        m, key = self.maker((alias, leaves)), f"{alias}.id"
        shown = []
        for template in self.rng.sample(WINDOWS, 2):
            text = template
            for mark, make in {
                "{p}": lambda: self.rng.choice(
                    [
                        "",
                        f"PARTITION BY {self.expr(m, self.rng.choice(PLAIN), 1)}",
                        f"PARTITION BY {'c.ok' if cell else 's.kind'}",
                    ]
                ),
                "{o}": lambda: self.expr(m, self.rng.choice(PLAIN), 1) + self.direction(),
                "{x}": lambda: self.expr(m, self.rng.choice(KINDS), 1),
                "{x2}": lambda: self.expr(m, "int", 0),
                "{int}": lambda: self.expr(m, "int", 1),
                "{agg}": lambda: self.aggregate(m, key),
                "{key}": lambda: key,
                "{f}": lambda: self.rng.choice(FRAMES),
            }.items():
                if mark in text:
                    text = text.replace(mark, make())
            shown.append(text)
        where = f" WHERE {self.rows('c')}" if cell else ""
        if self.rng.random() < 0.3:
            return f"SELECT * FROM (SELECT {key} AS k, {shown[0]} AS w FROM {table} AS {alias}{where}) AS t WHERE t.k <> 2{self.rng.choice(['', ' AND t.w IS NOT NULL'])} ORDER BY t.k{self.limit()}"
        return f"SELECT {key}, {', '.join(shown)} FROM {table} AS {alias}{where} ORDER BY {key}{self.limit()}"

    def common(self) -> str:
        m = self.maker(("c", CELL_LEAVES))
        kinds = [self.rng.choice(PLAIN), self.rng.choice(PLAIN)]
        inner = f"SELECT c.id, {self.expr(m, kinds[0])} AS p, {self.expr(m, kinds[1])} AS q FROM a.main.cell AS c{self.where(m, 'c')}"
        w = self.maker(
            ("w", {"int": ["id"], kinds[0]: ["p"]} if kinds[0] != "int" else {"int": ["id", "p"]}),
            ("w", {kinds[1]: ["q"]}),
        )
        return self.rng.choice([
            lambda: f"WITH w AS ({inner}) SELECT w.id, {self.shown(w)} FROM w ORDER BY w.id{self.limit()}",
            lambda: f"WITH w AS ({inner}) SELECT w.p, count(*), {self.aggregate(w, 'w.id')} FROM w GROUP BY w.p",
            lambda: f"WITH w AS ({inner}), v AS (SELECT id, p FROM w WHERE q IS NOT NULL) SELECT w.id, v.p, {self.shown(w, 1)} FROM w LEFT JOIN v ON w.id = v.id ORDER BY w.id",
            lambda: f"WITH w (id, p, q) AS ({inner}) SELECT x.id, y.q FROM w AS x JOIN w AS y ON x.p = y.p ORDER BY x.id, y.id",
            lambda: f"SELECT t.* FROM (SELECT w.id, {self.expr(w)} AS z FROM ({inner}) AS w) AS t ORDER BY t.id{self.limit()}",
            lambda: f"WITH w AS ({inner}) SELECT (SELECT max(p) FROM w), (SELECT count(*) FROM w WHERE q IS NULL), {self.shown(w, 1)} FROM w ORDER BY w.id",
        ])()  # fmt: skip

    def values(self) -> str:
        m = Maker(self.rng, {})
        kinds = [self.rng.choice(PLAIN) for _ in range(2)]
        mixed = {"int": ["int", "decimal", "double"], "text": ["text"], "date": ["date", "stamp"]}
        rows = ", ".join(
            "(" + ", ".join(self.expr(m, self.rng.choice(mixed.get(k, [k])), 1) for k in kinds) + ")"
            for _ in range(self.rng.choice([1, 2, 3]))
        )
        if self.rng.random() < 0.3:
            return f"VALUES {rows}"
        v = self.maker(("v", {kinds[0]: ["x"], **({kinds[1]: ["y"]} if kinds[0] != kinds[1] else {})}))
        if self.rng.random() < 0.4:
            return (
                f"SELECT {self.aggregate(v, 'v.x')}, {self.expr(Maker(self.rng, {}))} FROM (VALUES {rows}) AS v(x, y)"
            )
        return f"SELECT x, y, {self.shown(v)} FROM (VALUES {rows}) AS v(x, y)"

    def unnested(self) -> str:
        m = self.maker(("c", CELL_LEAVES))
        what, leaves = self.rng.choice([
            (["ints"], {"int": ["x"]}), (["ints", "texts"], {"int": ["x"], "text": ["y"]}), (["words"], {"text": ["x"], "int": ["y"]}), (["texts"], {"text": ["x"]}),
            (["decimals"], {"decimal": ["x"]}), (["doubles", "ints"], {"double": ["x"], "int": ["y"]}), (["dates"], {"date": ["x"]}), (["nested"], {"ints": ["x"]}),
        ])  # fmt: skip
        names = [n for own in leaves.values() for n in own]
        if what == ["words"] or what == ["ints", "texts"] or what == ["doubles", "ints"]:
            names = ["x", "y"]
        counted = self.rng.random() < 0.6
        listed = ", ".join([*names, "n"] if counted else names)
        u = self.maker(("c", CELL_LEAVES), ("u", leaves), ("u", {"int": ["n"]} if counted else {}))
        source = f"UNNEST({', '.join(self.expr(m, k, 1) for k in what)}){' WITH ORDINALITY' if counted else ''} AS u({listed})"
        join = self.rng.choice([f" CROSS JOIN {source}", f", {source}", f" LEFT JOIN {source} ON TRUE"])
        if counted and self.rng.random() < 0.3:
            return f"SELECT c.id, count(*), {self.aggregate(u, 'u.n')} FROM a.main.cell AS c{join} WHERE {self.rows('c')} GROUP BY c.id"
        order = f" ORDER BY c.id, u.n{self.limit()}" if counted else ""
        return f"SELECT c.id, u.*, {self.shown(u, 1)} FROM a.main.cell AS c{join} WHERE {self.rows('c')}{order}"


SHAPES: list[Callable[[Queries], str]] = [
    Queries.ordered, Queries.ordered, Queries.distinct, Queries.distinct_ordered, Queries.grouped, Queries.grouped, Queries.grouped, Queries.whole, Queries.sets, Queries.joined, Queries.joined,
    Queries.using, Queries.crossed, Queries.merged, Queries.merged, Queries.correlated, Queries.correlated, Queries.windowed, Queries.windowed, Queries.windowed, Queries.common, Queries.common, Queries.values, Queries.unnested, Queries.unnested,
]  # fmt: skip
