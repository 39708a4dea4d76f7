"""The questions of the suite: every shape of SQL in which a masked column can stand, once per mask.

A shape is text with holes: {m} the masked column, {P} people, {C} clients, {common} its most frequent
shown value, {low} and {high} two shown values, {raw} a value that some visible row holds and that is
shown nowhere, {pattern} the first characters of {common}. `people.id` and `kind` are unmasked.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.masks_first.people import MASKS, Copy

__all__ = ["ABOVE", "ORDERED", "PACKS", "SHAPES", "Column", "answers", "describe", "packed", "unpacked"]

Row = tuple[Any, ...]

SHAPES: dict[str, str] = {
    "shown": "SELECT t.id AS c0, t.{m} AS c1 FROM {P} AS t",
    "equal": "SELECT t.id AS c0, t.{m} AS c1 FROM {P} AS t WHERE t.{m} = {common}",
    "unequal-or": "SELECT t.id AS c0 FROM {P} AS t WHERE t.{m} <> {common} OR t.grade = 3",
    "less-and": "SELECT t.id AS c0 FROM {P} AS t WHERE t.{m} <= {common} AND t.kind = 'C' AND t.id >= 20",
    "in": "SELECT t.id AS c0 FROM {P} AS t WHERE t.{m} IN ({low}, {raw}, {high}) AND t.kind IN ('C', 'H')",
    "between": "SELECT count(*) AS c0, min(t.{m}) AS c1 FROM {P} AS t WHERE t.{m} BETWEEN {low} AND {high}",
    "like": "SELECT t.id AS c0 FROM {P} AS t WHERE CAST(t.{m} AS varchar) LIKE '{pattern}%'",
    "null": "SELECT t.id AS c0 FROM {P} AS t WHERE t.{m} IS NULL AND t.id > 3",
    "raw": "SELECT t.id AS c0 FROM {P} AS t WHERE t.{m} = {raw}",
    "group": "SELECT t.{m} AS c0, count(*) AS c1, sum(t.id) AS c2 FROM {P} AS t GROUP BY t.{m}",
    "having": (
        "SELECT t.{m} AS c0, count(*) AS c1 FROM {P} AS t WHERE t.{m} IS NOT NULL GROUP BY t.{m} "
        "HAVING count(*) > 2 AND max(t.{m}) >= {low} ORDER BY 2 DESC, 1"
    ),
    "extremes": (
        "SELECT t.kind AS c0, count(DISTINCT t.{m}) AS c1, count(t.{m}) AS c2, min(t.{m}) AS c3, max(t.{m}) AS c4 "
        "FROM {P} AS t GROUP BY t.kind"
    ),
    "top": "SELECT t.{m} AS c0, t.id AS c1 FROM {P} AS t ORDER BY t.{m} DESC, t.id LIMIT 25 OFFSET 3",
    "limit": "SELECT t.{m} AS c0 FROM {P} AS t WHERE t.{m} = {common} LIMIT 3",
    "case": (
        "SELECT DISTINCT t.{m} AS c0, CASE WHEN t.{m} = {common} THEN 'common' WHEN t.{m} < {high} THEN 'low' "
        "WHEN t.{m} IS NULL THEN 'none' ELSE 'other' END AS c1 FROM {P} AS t"
    ),
    "window": (
        "SELECT t.id AS c0, row_number() OVER (PARTITION BY t.{m} ORDER BY t.id) AS c1, "
        "rank() OVER (ORDER BY t.{m}) AS c2, count(*) OVER (PARTITION BY t.{m}, t.kind) AS c3 FROM {P} AS t"
    ),
    "self-join": (
        "SELECT a.{m} AS c0, count(*) AS c1, sum(a.id) AS c2, sum(b.id) AS c3 FROM {P} AS a JOIN {P} AS b "
        "ON a.{m} = b.{m} AND a.id < b.id WHERE a.kind = 'C' GROUP BY a.{m}"
    ),
    "join": (
        "SELECT t.id AS c0, count(u.id) AS c1, sum(u.id) AS c2 FROM {P} AS t LEFT JOIN {C} AS u "
        "ON t.{m} = u.{m} AND u.kind = 'H' WHERE t.id < 120 GROUP BY t.id"
    ),
    "union": (
        "SELECT t.{m} AS c0 FROM {P} AS t WHERE t.kind = 'C' UNION SELECT s.{m} AS c0 FROM {P} AS s WHERE s.id < 9"
    ),
    "in-query": (
        "SELECT t.id AS c0 FROM {P} AS t WHERE t.{m} IN (SELECT u.{m} FROM {C} AS u WHERE u.{m} IS NOT NULL)"
    ),
    "exists": (
        "SELECT t.id AS c0 FROM {P} AS t WHERE NOT EXISTS (SELECT 1 FROM {P} AS s WHERE s.{m} = t.{m} AND s.id > t.id)"
    ),
}  # fmt: skip
ORDERED = ("top",)
"""Shapes asked alone whose rows have one order."""
ABOVE = ("unequal-or", "window", "self-join", "union", "in-query", "exists")
"""Shapes that the engine decides: of a masked column at most IS NOT NULL goes to the source, as in `null`."""

PACKS: tuple[tuple[str, ...], ...] = (
    ("shown", "equal", "unequal-or", "less-and", "in", "between", "like", "null", "raw", "having", "extremes", "case",
     "window", "self-join", "join", "union"),
    ("in-query", "exists"),
)  # fmt: skip
"""Shapes that are asked together as arms of one UNION ALL, since a fragment costs more than a scan.

Each arm stands as it is in a derived table, so rules that push below masks see it as they would alone. The
other shapes are about the outermost SELECT, and travel alone.
"""


@dataclass(frozen=True)
class Column:
    """A masked column and literals for it, as Trino writes them. keys: values of `common` and `raw`."""

    name: str
    mask: str
    common: str
    low: str
    high: str
    raw: str
    pattern: str
    keys: tuple[Any, ...]

    def sql(self, shape: str, people: str = "dept.main.people", clients: str = "dept.main.clients") -> str:
        return SHAPES[shape].format(
            m=self.name, P=people, C=clients, common=self.common, low=self.low, high=self.high, raw=self.raw,
            pattern=self.pattern,
        )  # fmt: skip


def packed(column: Column, shapes: Sequence[str]) -> str:
    """One statement: the name of each shape beside its outputs as text."""
    width = 5
    arms = []
    for shape in shapes:
        sql = column.sql(shape)
        outputs = len(set(re.findall(r" AS (c[0-9])\b", sql)))
        texts = [f"CAST(x.c{i} AS varchar)" if i < outputs else "CAST(NULL AS varchar)" for i in range(width)]
        listed = ", ".join(f"{t} AS c{i + 1}" for i, t in enumerate(texts))
        arms.append(f"SELECT '{shape}' AS c0, {listed} FROM ({sql}) AS x")
    return " UNION ALL ".join(arms)


def unpacked(rows: Iterable[Row], shapes: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of `packed` by shape."""
    found: dict[str, list[Row]] = {shape: [] for shape in shapes}
    for shape, *values in rows:
        found[shape].append(tuple(values))
    return found


def answers(
    ask: Callable[[str], Iterable[Row]], column: Column, shapes: Sequence[str] = tuple(SHAPES)
) -> dict[str, list[Row]]:
    """The rows of each shape on one column."""
    together = {shape for pack in PACKS for shape in pack}
    found = {shape: list(ask(column.sql(shape))) for shape in shapes if shape not in together}
    for pack in PACKS:
        if wanted := [shape for shape in pack if shape in shapes]:
            found |= unpacked(ask(packed(column, wanted)), wanted)
    return found


def describe(name: str, copy: Copy) -> Column:
    """The masked column with literals that hit, found in the copy and in the raw rows beside it."""
    shown = [v for v in copy.table.column(name).to_pylist() if v is not None and _writable(v)]
    raws = [v for v in copy.raw[name] if v is not None and _writable(v)]
    if not shown:
        shown = raws
    counts = Counter(shown)
    distinct = sorted(counts)
    shown_texts = {str(v) for v in copy.table.column(name).to_pylist()}
    hidden = [v for v in raws if str(_as_shown(v, distinct[0])) not in shown_texts and _same_kind(v, distinct[0])]
    # A pseudonym changes the type too: its raw value is written as text then.
    raw = hidden[0] if hidden else _as_shown(next(v for v in raws if str(v) not in shown_texts), distinct[0])
    low, high = distinct[len(distinct) // 4], distinct[-1 - len(distinct) // 4]
    common = max(counts, key=lambda v: (counts[v], str(v)))
    return Column(
        name, MASKS[name], literal(common), literal(low), literal(high), literal(raw),
        str(common)[:2].replace("'", "''").replace("_", "").replace("%", ""),
        (common, raw),
    )  # fmt: skip


def literal(value: Any) -> str:
    """A value as a Trino literal of its own type."""
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(' ', 'milliseconds')}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, float):
        return f"{value!r}" if "e" in repr(value) else f"{value!r}e0"
    if isinstance(value, (int, Decimal)):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def _as_shown(raw: Any, shown: Any) -> Any:
    """A raw value in the type that is shown."""
    if isinstance(shown, str):
        return str(raw)
    return raw


def _same_kind(raw: Any, shown: Any) -> bool:
    return isinstance(raw, type(shown)) or isinstance(shown, (date, Decimal))


def _writable(value: Any) -> bool:
    """A statement's text is NFC and free of control characters, so its literals are."""
    if not isinstance(value, str):
        return True
    return unicodedata.is_normalized("NFC", value) and value.isprintable() and "\u3000" not in value
