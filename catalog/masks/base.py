"""What a mask is: policy text such as `keep_last(4)`, bound to one column's type.

Each mask is defined twice, and tests hold the two forms equal: `arrow`, in plain Python over an Arrow
array, is the definition; `duckdb`, a DuckDB expression, is what runs. All masks: NULL in, NULL out;
deterministic; total (outside the domain: NULL, never an error); output type fixed at planning.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, ClassVar

import pyarrow as pa

from catalog.relation import Linkage
from catalog.types import TrinoType

__all__ = ["Context", "LinkageKey", "Mask", "MaskError", "Rank", "sql_text"]


class MaskError(ValueError):
    """A mask expression that policy may not contain: unknown, wrong arguments, wrong column type."""


class Rank(IntEnum):
    """How much a mask hides; the higher one wins when two policies meet (GOVERNANCE 2)."""

    none = 0
    partial = 1
    generalise = 2
    pseudonym = 3
    constant = 4
    null = 5
    deny = 6


@dataclass(frozen=True)
class LinkageKey:
    """The derived key of one (purpose, linkage group, epoch). `key` is 32 secret bytes."""

    purpose: str
    group: str
    epoch: str
    key: bytes = field(repr=False)
    normaliser: str = "none"

    @property
    def linkage(self) -> Linkage:
        return Linkage(purpose=self.purpose, group=self.group, epoch=self.epoch)


@dataclass(frozen=True)
class Context:
    """What masks need beside their arguments: pseudonym keys by group, code lists by name."""

    linkage: Callable[[str], LinkageKey] | None = None
    hierarchies: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)


class Mask(ABC):
    """One mask on one column. kind: policy's word. text: as shown to people. type: what comes out."""

    kind: ClassVar[str]
    rank: ClassVar[Rank]

    def __init__(self, text: str, column_type: TrinoType) -> None:
        self.text = text
        self.column_type = column_type
        self.type = column_type

    @property
    def linkage(self) -> Linkage | None:
        return None

    @abstractmethod
    def arrow(self, array: pa.Array) -> pa.Array:
        """The definition: an array of `column_type.arrow()` -> one of `type.arrow()`."""

    @abstractmethod
    def duckdb(self, column: str) -> str:
        """A DuckDB expression over the SQL text `column`, equal to `arrow` for every value."""

    def coarser_than(self, other: Mask) -> bool | None:
        """Of two masks of one kind: whether this hides at least as much; None if not comparable."""
        return True if self.text == other.text else None

    def _each(self, array: pa.Array, change: Callable[[Any], Any]) -> pa.Array:
        return pa.array([None if v is None else change(v) for v in array.to_pylist()], self.type.arrow())

    def _accept(self, *names: str) -> None:
        if self.column_type.name not in names:
            raise MaskError(f"mask {self.kind} does not fit a column of type {self.column_type}")


TEXT = ("varchar", "char")
INTEGERS = ("tinyint", "smallint", "integer", "bigint")


def sql_text(value: str) -> str:
    """A DuckDB string literal."""
    return "'" + value.replace("'", "''") + "'"


def whole(text: str, what: str, low: int = 0, high: int = 10**18) -> int:
    """A whole-number argument. Raises MaskError."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise MaskError(f"{what} must be a whole number from {low} to {high}, not {text!r}")
    return int(text)
