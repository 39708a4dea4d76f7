"""Code lists as trees: which chapter, section or district a code belongs to."""

from __future__ import annotations

import csv
import io
from pathlib import Path

__all__ = ["parse_hierarchy", "read_hierarchy"]


def read_hierarchy(path: Path) -> dict[str, tuple[str, ...]]:
    """A CSV without header, `code,parent,grandparent,..` -> code: ancestors, nearest first.

    Raises OSError, ValueError, csv.Error.
    """
    return parse_hierarchy(path.name, path.read_bytes())


def parse_hierarchy(name: str, content: bytes) -> dict[str, tuple[str, ...]]:
    """The same of a file's content. Raises ValueError (also for what is no UTF-8), csv.Error."""
    result: dict[str, tuple[str, ...]] = {}
    for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")):
        if len(row) < 2 or row[0] in result:
            raise ValueError(f"{name.rsplit('/', 1)[-1]}: each line is a code and its ancestors, each code once")
        result[row[0]] = tuple(row[1:])
    return result
