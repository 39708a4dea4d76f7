"""A copy gives back what its source does: every kind of source, every type, and nothing of it lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from catalog.policy import Department
from connectors.agent.materialised import MATERIALISED, Materialised, definitions
from connectors.base import Cancel, NativeScan, OutputColumn, Source
from tests.conformance.data import ODD, ROWS, TYPES
from tests.conformance.helpers import rows_of
from tests.conformance.silos import Silo

SCRIPT = """
CREATE TABLE every (
  n integer, s smallint, d numeric(38, 0), e numeric(9, 4), r real, x double precision, f boolean, c char(5), t text,
  u uuid, j jsonb, o bytea, a time(3), m timestamp(6), z timestamptz(3), y date
);
INSERT INTO every VALUES
 (1, -1, 99999999999999999999999999999999999999, -0.0001, 'NaN', '-0', true, 'ab', E'a\\tb', gen_random_uuid(),
  '{"a": [1, null]}', '\\x00ff', '23:59:59.999', '0001-01-01 00:00:00', '2024-03-10 02:30:00+09', '9999-12-31'),
 (2, 0, 0, 12345.6789, 'Infinity', '1e-300', false, '', '', gen_random_uuid(), '"x"', '', '00:00',
  '2024-02-29 23:59:59.999999', '1969-12-31 23:59:59.999+00', '0001-01-01'),
 (3, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""
EVERY = {
    "n": "integer", "s": "smallint", "d": "decimal(38, 0)", "e": "decimal(9, 4)", "r": "real", "x": "double",
    "f": "boolean", "c": "char(5)", "t": "varchar", "u": "uuid", "j": "json", "o": "varbinary", "a": "time(3)",
    "m": "timestamp(6)", "z": "timestamp(3) with time zone", "y": "date",
}  # fmt: skip


def department(table: str, columns: dict[str, Any]) -> Department:
    spec = {"table": table, "columns": columns, "materialise": "1h"}
    identity = {"issuer": "http://idp.test", "jwks": "file:jwks.json"}
    return Department.model_validate(
        {"department": "water", "identity": identity, "sources": {"main": {}}, "relations": {"copied": spec}}
    )


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Callable[[Source, str, dict[str, Any]], tuple[Materialised, NativeScan]]]:
    """Copies a table; the copies, and a scan of all columns of this one, the last first."""
    made: list[Materialised] = []

    def copy(source: Source, table: str, columns: dict[str, Any]) -> tuple[Materialised, NativeScan]:
        made.append(Materialised(tmp_path / "copies", {"main": source}, lambda *_: None))
        wanted = definitions(department(table, columns), {})
        made[-1].define(wanted)
        assert made[-1].make(["copied"]) == {"copied": ""}
        spec = wanted["copied"].spec
        assert spec.source == MATERIALISED
        types = {name: column.type for name, column in spec.columns.items()}
        outputs = tuple(OutputColumn(name, type_, name) for name, type_ in reversed(types.items()))
        return made[-1], NativeScan(spec.table, False, types, outputs)

    yield copy
    for each in made:
        each.close()


def test_every_row_of_every_kind_of_source(silo: Silo, copied: Callable[..., Any]) -> None:
    plain = {name: name if name != ODD else "odd" for name in TYPES}
    copies, scan = copied(silo.source, "awkward", {plain[n]: {"type": str(t), "from": n} for n, t in TYPES.items()})
    rows = rows_of(copies, scan)
    assert sorted(tuple(reversed(row)) for row in rows) == sorted(ROWS, key=lambda row: row[0])


def test_one_column_under_two_other_names(silo: Silo, copied: Callable[..., Any]) -> None:
    columns = {"number": {"type": "bigint", "from": "id"}, "again": {"type": "bigint", "from": "id"}}
    copies, scan = copied(silo.source, "awkward", columns)
    assert rows_of(copies, scan)[:2] == [(0, 0), (1, 1)]


def test_every_type_bit_by_bit(opened: Callable[..., Source], copied: Callable[..., Any]) -> None:
    source = opened()
    copies, scan = copied(source, "every", EVERY)
    there = NativeScan("every", False, scan.types, scan.columns)
    mine = pa.Table.from_batches(list(copies.scan(scan, Cancel())), scan.schema).sort_by("n")
    theirs = pa.Table.from_batches(list(source.scan(there, Cancel())), scan.schema).sort_by("n")
    assert [repr(row) for row in mine.to_pylist()] == [repr(row) for row in theirs.to_pylist()]
    assert mine.num_rows == 3


def test_a_relation_without_rows(
    opened: Callable[..., Source], connection: psycopg.Connection, copied: Callable[..., Any]
) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS nobody (n integer)")
    copies, scan = copied(opened(), "nobody", {"n": "integer"})
    assert rows_of(copies, scan) == []
