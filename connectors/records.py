"""JSON records -> flat text columns by declared paths, for REST sources and JSON-lines files.

A path names members from the record's root: `docNo`, `buyer.orgNo`. `lines[].qty` makes one row for
each element of `lines`; `lines[#]` is the element's number from 1; the other paths of that table repeat
the parent's value. All `[]` of one table name the same list. A missing member is NULL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from connectors.base import SourceError

__all__ = ["Paths", "dumps", "loads", "member"]


def loads(text: str | bytes) -> Any:
    """JSON in which numbers with a fraction stay the text they are. Raises SourceError if it is no JSON."""
    try:
        return json.loads(text, parse_float=str)
    except ValueError as bad:
        raise SourceError(f"no JSON: {bad}") from bad


def dumps(value: Any) -> str:
    """One record as JSON again, with all that `loads` kept."""
    return json.dumps(value, ensure_ascii=False)


def member(value: Any, path: str) -> Any:
    """The value at `a.b` (an empty path is the value itself); None if there is none."""
    return _member(value, tuple(path.split("."))) if path else value


@dataclass(frozen=True)
class _Path:
    """inside: the path starts at an element of the exploded list; ordinal: it is that element's number."""

    members: tuple[str, ...]
    inside: bool = False
    ordinal: bool = False


class Paths:
    """The declared paths of one table, compiled. Raises ValueError for paths that explode two lists."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        lists = {path.partition("[")[0] for path in columns.values() if "[" in path}
        if len(lists) > 1:
            raise ValueError(f"one table can explode one list only, not {', '.join(sorted(lists))}")
        self._list = tuple(lists.pop().split(".")) if lists else None
        self._columns = {name: _compile(path) for name, path in columns.items()}

    def table(self, records: Iterable[Any]) -> dict[str, pa.Array]:
        """Flat rows as string arrays, one a column. Raises SourceError naming a column that is no scalar."""
        rows = [(record, element) for record in records for element in self._elements(record)]
        return {
            name: pa.array([_text(_find(path, r, e), name) for r, e in rows], pa.string())
            for name, path in self._columns.items()
        }

    def _elements(self, record: Any) -> list[tuple[int, Any]]:
        if self._list is None:
            return [(1, None)]
        found = _member(record, self._list)
        if found is None:
            return []
        if not isinstance(found, list):
            raise SourceError(f"{'.'.join(self._list)} is no list")
        return list(enumerate(found, 1))


def _compile(path: str) -> _Path:
    before, bracket, after = path.partition("[")
    if not bracket:
        return _Path(tuple(path.split(".")))
    if after == "#]":
        return _Path((), ordinal=True)
    if after == "]":
        return _Path((), inside=True)
    if not after.startswith("].") or not before:
        raise ValueError(f"{path!r} is no path such as `a.b`, `lines[].qty` or `lines[#]`")
    return _Path(tuple(after[2:].split(".")), inside=True)


def _find(path: _Path, record: Any, element: tuple[int, Any]) -> Any:
    if path.ordinal:
        return element[0]
    return _member(element[1] if path.inside else record, path.members)


def _member(value: Any, members: tuple[str, ...]) -> Any:
    for member in members:
        if not isinstance(value, dict):
            return None
        value = value.get(member)
    return value


def _text(value: Any, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise SourceError(f"column {name!r}: a list or an object where one value was declared")
