"""Shortcuts for tests of single sources: read a few columns of a table or owner view."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from catalog.types import TrinoType
from catalog.types import parse as parse_type
from connectors.base import Cancel, NativeScan, OutputColumn, Source


def types_of(**columns: str) -> dict[str, TrinoType]:
    return {name: parse_type(text) for name, text in columns.items()}


def scan_of(relation: str, types: dict[str, TrinoType], **parts: Any) -> NativeScan:
    """A scan of all columns of `types` unless `parts` say otherwise; a text with a blank is an owner view."""
    if not {"group_by", "aggregates", "columns"} & parts.keys():
        parts["columns"] = tuple(OutputColumn(name, type_, name) for name, type_ in types.items())
    return NativeScan(relation, " " in relation, types, **parts)


def read(source: Source, relation: str, types: dict[str, TrinoType], **parts: Any) -> list[tuple[Any, ...]]:
    return _rows(source, scan_of(relation, types, **parts))


def rows_of(source: Source, scan: NativeScan) -> list[tuple[Any, ...]]:
    """What a scan delivers, in an order that is the same each time."""
    return sorted_rows(_rows(source, scan))


def sorted_rows(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


def _rows(source: Source, scan: NativeScan) -> list[tuple[Any, ...]]:
    table = pa.Table.from_batches(list(source.scan(scan, Cancel())), scan.schema)
    return [tuple(row.values()) for row in table.to_pylist()]
