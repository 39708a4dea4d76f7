"""Names of relations: `catalog.schema.table`, compared without case, stored in lower case.

A department is a catalog, its relations live in schema `main`: `water.main.company_month`.
Plain identifiers need no quoting in any dialect that atoll writes; published columns are always plain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["MAIN", "PlainName", "RelationName", "is_plain"]

MAIN = "main"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")


def is_plain(name: str) -> bool:
    """Whether `name` is an identifier that means the same, unquoted, in every dialect."""
    return bool(_PLAIN.match(name))


def _plain(name: str) -> str:
    if not is_plain(name):
        raise ValueError(
            f"{name!r} is no plain identifier: lower-case letters, digits and _ only, at most 63, "
            "not starting with a digit. Rename the column with `from:`."
        )
    return name


PlainName = Annotated[str, AfterValidator(_plain)]


@dataclass(frozen=True, order=True)
class RelationName:
    """A fully qualified relation name; parts are lower case."""

    catalog: str
    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> RelationName:
        """`a.b.c` -> RelationName. Raises ValueError unless there are exactly three plain parts."""
        parts = text.lower().split(".")
        if len(parts) != 3 or not all(is_plain(p) for p in parts):
            raise ValueError(f"{text!r} is not of the form catalog.schema.table")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"
