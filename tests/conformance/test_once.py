"""A table that a statement reads twice for the same keys is read once (PostgreSQL), and the rows are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from catalog.types import BIGINT
from catalog.types import parse as parse_type
from connectors.base import (
    Aggregate,
    Arithmetic,
    Comparison,
    Computed,
    GroupKey,
    NativeScan,
    Number,
    OutputColumn,
    Predicate,
    Source,
)
from connectors.once import NAME, read_once
from tests.conformance.helpers import rows_of, types_of
from tests.servers import PostgresServer

SCRIPT = """
CREATE TABLE lines (part bigint, quantity numeric(15, 2), price numeric(15, 2), note text);
INSERT INTO lines
SELECT NULLIF(i % 60, 7), NULLIF(i * 13 % 50, 20), i, 'n' FROM generate_series(1, 3000) AS i;
CREATE INDEX ON lines (part);
ANALYZE lines;
"""
DECIMAL = parse_type("decimal(15,2)")
LINES = types_of(part="bigint", quantity="decimal(15,2)", price="decimal(15,2)", note="varchar")
KEYS = pa.array([*range(1, 90, 2), None, 3], pa.int64()).drop_null().unique()
ALL = pa.array([*range(100), *range(100, 200)])


def plain(names: dict[str, str], **more: Any) -> NativeScan:
    """A scan of lines. names: raw column -> as what it is delivered."""
    columns = tuple(OutputColumn(column, LINES[column], name) for column, name in names.items())
    return NativeScan("lines", False, LINES, columns, **more)


def less_than_usual(keys: pa.Array, rows: NativeScan | None = None, groups: pa.Array | None = None) -> NativeScan:
    """Lines of less than a fifth of what their part sells on average, summed by part, as TPC-H's q17 asks for them.

    keys: of the lines, and of the groups if those have no others.
    """
    rows = rows or plain({"part": "c1", "quantity": "c2", "price": "c3"})
    base = plain({"part": "c4", "quantity": "c5"})
    average = NativeScan(
        (base,), False, dict(base.outputs), keys=((("c4",), keys if groups is None else groups),),
        group_by=(GroupKey("c4", BIGINT, "g1"),), aggregates=(Aggregate("avg", "c5", DECIMAL, "a1"),),
    )  # fmt: skip
    fifth = Arithmetic("*", Number(Decimal("0.2"), parse_type("decimal(1,1)")), "a1", parse_type("decimal(16,3)"))
    both = NativeScan(
        (rows, average), False, {**dict(rows.outputs), **dict(average.outputs)},
        columns=(OutputColumn("c1", BIGINT, "c6"), OutputColumn("c3", DECIMAL, "c7")),
        predicates=(Comparison("c1", "=", "g1"), Computed("c2", "<", fifth)), keys=((("c1",), keys),),
    )  # fmt: skip
    return NativeScan(
        (both,), False, dict(both.outputs), group_by=(GroupKey("c6", BIGINT, "part"),),
        aggregates=(Aggregate("sum", "c7", parse_type("decimal(38,2)"), "price"),),
    )  # fmt: skip


@pytest.mark.servers
@pytest.mark.parametrize("keys", [KEYS, ALL], ids=["some parts", "all parts and others"])
def test_lines_beside_their_parts_average_are_read_once(
    opened: Callable[..., Source], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, keys: pa.Array
) -> None:
    scan, word = replace(less_than_usual(keys), query_id=f"once_{len(keys)}"), f"once_{len(keys)}"
    source = opened()
    found = rows_of(source, scan)
    asked = [told for told in postgres.log.read_text().split("LOG:") if word in told and "COPY" in told]
    assert asked
    assert all("MATERIALIZED" in told and told.count('FROM "lines"') == 1 for told in asked)
    monkeypatch.setattr("connectors.postgres.MOST_ONCE", -1.0)
    assert found == rows_of(source, scan) != []
    parts = {part for part, _ in found}
    assert None not in parts
    assert 7 not in parts
    assert parts <= set(keys.to_pylist())


def test_only_columns_that_are_read_are_kept() -> None:
    once = read_once(less_than_usual(KEYS))
    assert once is not None
    assert once.scan.schema.names == ["part", "price", "quantity"]
    assert once.scan.keys == ((("part",), KEYS),)
    assert len(once.readers) == 2


FILTERED = plain({"part": "c1", "quantity": "c2", "price": "c3"}, row_filters=("note = 'n'",))
FIRST = plain({"part": "c1", "quantity": "c2", "price": "c3"}, limit=10)
OTHER_TYPES = replace(plain({"part": "c1", "quantity": "c2", "price": "c3"}), types={**LINES, "note": BIGINT})
OTHER_COLUMN = NativeScan("lines", False, LINES, (OutputColumn("price", BIGINT, "c1"), *FILTERED.columns[1:]))


@pytest.mark.parametrize(
    "scan",
    [
        less_than_usual(KEYS, FILTERED),
        less_than_usual(KEYS, FIRST),
        less_than_usual(KEYS, OTHER_TYPES),
        less_than_usual(KEYS, OTHER_COLUMN),
        less_than_usual(KEYS, replace(FILTERED, row_filters=(), relation=NAME)),
        less_than_usual(KEYS, groups=pa.array(KEYS.to_pylist())),
        plain({"part": "c1"}, keys=((("part",), KEYS), (("part",), KEYS))),
        NativeScan((plain({"part": "c1"}), plain({"part": "c2"})), False, types_of(c1="bigint", c2="bigint"),
                   (OutputColumn("c1", BIGINT, "d1"),), predicates=(Predicate("c1", "in", (1, 2)),)),
    ],
    ids=["a filter", "the first rows", "other types", "keys of another column", "a table of that name",
         "keys that are equal by chance", "one reading", "no keys"],
)  # fmt: skip
def test_what_is_not_the_same_reading_twice_is_read_as_it_stands(scan: NativeScan) -> None:
    assert read_once(scan) is None


def test_a_reading_by_groups_is_told_by_its_keys_alone() -> None:
    """Keys around groups by another column are not keys of the rows."""
    base = plain({"part": "c4", "quantity": "c5"})
    groups = NativeScan(
        (base,), False, dict(base.outputs), group_by=(GroupKey("c5", DECIMAL, "g1"),),
        aggregates=(Aggregate("max", "c4", BIGINT, "a1"),),
    )  # fmt: skip
    rows = plain({"part": "c1"})
    scan = NativeScan(
        (rows, groups), False, {**dict(rows.outputs), **dict(groups.outputs)},
        (OutputColumn("c1", BIGINT, "d1"),), keys=((("c1",), KEYS), (("a1",), KEYS)),
    )  # fmt: skip
    assert read_once(scan) is None
