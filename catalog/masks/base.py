"""What a mask is: policy text such as `keep_last(4)`, bound to one column's type.

Each mask is defined twice, and tests hold the two forms equal: `arrow`, in plain Python over an Arrow
array, is the definition; `duckdb`, a DuckDB expression, is what runs. A third form, `source`, exists where
a silo's own SQL computes exactly the same; the agent then groups and filters there. All masks: NULL in,
NULL out; deterministic; total (outside the domain: NULL, never an error); output type fixed at planning.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from catalog.relation import Linkage
from catalog.types import TrinoType

__all__ = ["Context", "LinkageKey", "Mask", "MaskError", "Rank", "Vault", "sql_text"]


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


class Vault(Protocol):
    """Where a department keeps the tokens of one purpose. Tokens compare within `linkage` only."""

    @property
    def linkage(self) -> Linkage: ...

    def tokens(self, values: Iterable[str]) -> dict[str, str]:
        """Each value's token, made and kept if it is new."""


@dataclass(frozen=True)
class Context:
    """What masks need beside their arguments: pseudonym keys by group, code lists by name, the vault.

    vault: None where nothing is computed, as when a policy is checked. column: the one that is masked.
    """

    linkage: Callable[[str], LinkageKey] | None = None
    hierarchies: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    vault: Vault | None = None
    column: str = ""


class Mask(ABC):
    """One mask on one column. kind: policy's word. text: as shown to people. type: what comes out.

    beside: other published columns whose raw values it reads too, in this order. in_agent: `arrow` runs on
    what the source delivers, before the mask engine, because it needs what only the agent's process has.
    """

    kind: ClassVar[str]
    rank: ClassVar[Rank]
    in_agent: ClassVar[bool] = False

    def __init__(self, text: str, column_type: TrinoType) -> None:
        self.text = text
        self.column_type = column_type
        self.type = column_type
        self.beside: tuple[str, ...] = ()
        self.of: tuple[Mask, ...] = (self,)

    @property
    def linkage(self) -> Linkage | None:
        return None

    @abstractmethod
    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        """The definition: an array of `column_type.arrow()` -> one of `type.arrow()`."""

    @abstractmethod
    def duckdb(self, column: str, *beside: str) -> str:
        """A DuckDB expression over the SQL text `column`, equal to `arrow` for every value."""

    def source(self, dialect: str) -> str | None:
        """SQL of a silo (one of `DIALECTS`) over its column `:c`; None if there is no exact form.

        Exact: for every value that the source can deliver as `column_type` the result is the definition's.
        Property tests hold each form against it in the engine itself. A form is made of the mask's parameters
        alone, and never raises.
        """
        return None

    def coarser_than(self, other: Mask) -> bool:
        """Whether what this mask shows follows from what `other`, of the same kind, shows of the value."""
        return self.text == other.text

    def join(self, other: Mask) -> Mask | None:
        """A mask of this kind that shows what both of two incomparable ones show; None if there is none."""
        return None

    def _each(self, array: pa.Array, change: Callable[[Any], Any]) -> pa.Array:
        return pa.array([None if v is None else change(v) for v in array.to_pylist()], self.type.arrow())

    def _accept(self, *names: str) -> None:
        if self.column_type.name not in names:
            raise MaskError(f"mask {self.kind} does not fit a column of type {self.column_type}")


DIALECTS = ("postgres", "mysql", "sqlite", "duckdb")
"""Kinds of engines that may compute masks: their names in sqlglot. `mysql` is MariaDB."""
TEXT = ("varchar", "char")
INTEGERS = ("tinyint", "smallint", "integer", "bigint")


_UNQUOTED = re.compile(r"[A-Za-z0-9 _+<>=/().,-]*")


def source_text(value: str) -> str | None:
    """A string literal that every dialect reads alike, and no driver takes for a parameter; None for others."""
    return f"'{value}'" if _UNQUOTED.fullmatch(value) else None


def source_number(value: int | Decimal) -> str:
    return f"({value:f})" if isinstance(value, Decimal) else f"({value})"


def sql_text(value: str) -> str:
    """A DuckDB string literal."""
    return "'" + value.replace("'", "''") + "'"


def whole(text: str, what: str, low: int = 0, high: int = 10**18) -> int:
    """A whole-number argument. Raises MaskError."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not low <= int(text) <= high:
        raise MaskError(f"{what} must be a whole number from {low} to {high}, not {text!r}")
    return int(text)
