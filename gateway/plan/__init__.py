"""Stage 5: a rewritten tree -> `Plan`: one fragment per largest one-department subtree, and the merge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from catalog.relation import Relation
from catalog.standards import CityTable
from gateway.merge.shapes import Shapes

if TYPE_CHECKING:
    from gateway.plan.learn import Learned

__all__ = ["FirstRows", "FragmentPlan", "KeySet", "KeySource", "Plan"]


@dataclass(frozen=True)
class KeySet:
    """One set of bind keys: `query` selects `KEY_COLUMNS`, as many as a key has parts, distinct, none NULL, over merge
    tables.

    needs: fragments that must be complete before. most: with more keys than these in all, the set stays away.
    places: the fragment and those of its outputs that `query` reads, where it reads nothing else. once: not distinct,
    for it must be seen that each came once. matched: those of `needs` that give no value, and only say whose rows do.
    """

    query: exp.Select
    needs: frozenset[str]
    most: int = 0
    places: tuple[str, tuple[int, ...]] | None = None
    once: bool = False
    matched: frozenset[str] = frozenset()


@dataclass(frozen=True)
class KeySource:
    """Bind keys of a fragment. texts: places of the sets that are sent -> the fragment's text that names them.

    chunk: at most so many keys a request, of all sets together. always: the fragment has no meaning without keys.
    exact: its answer is right with all keys in one request, and no other.
    """

    sets: tuple[KeySet, ...]
    texts: Mapping[tuple[int, ...], str]
    chunk: int
    always: bool = False
    exact: bool = False

    @property
    def needs(self) -> frozenset[str]:
        return frozenset[str]().union(*(s.needs for s in self.sets))

    @property
    def sql(self) -> str:
        """The text with all sets in it."""
        return self.texts[tuple(range(len(self.sets)))]


_ZONED = re.compile(
    "time zone|current_timestamp|localtimestamp|unixtime|iso8601|parse_datetime|timezone", re.IGNORECASE
)
"""What a text that may read the session's time zone has in it, if no column does."""


@dataclass(frozen=True)
class FragmentPlan:
    """One question to one department.

    sql: the exact text, of `tree`, that its agent receives where no keys go with it. outputs: names of c0..cn in the
    merge, in order. relations: what it reads. notes: what stays in the gateway and why, for EXPLAIN. whole: why every
    row of them is delivered, "" if something restricts them. expected: rows without keys, None where nothing depends on
    them; known: it is no guess, for it was asked before.
    """

    id: str
    department: str
    sql: str
    outputs: tuple[str, ...]
    relations: tuple[Relation, ...]
    keys: KeySource | None = None
    notes: tuple[str, ...] = ()
    whole: str = ""
    tree: exp.Query = field(default_factory=exp.Select, compare=False, repr=False)
    expected: float | None = field(default=None, compare=False, repr=False)
    known: bool = field(default=False, compare=False, repr=False)

    @property
    def is_exact(self) -> bool:
        """Whether it is asked with all its keys, or not at all; nobody ever receives its `sql`."""
        return self.keys is not None and self.keys.exact

    @cached_property
    def reads_zone(self) -> bool:
        """Whether its answer may depend on the session's time zone: it has a moment with a zone, or makes one."""
        return bool(_ZONED.search(self.sql)) or any(
            "time zone" in str(c.type) for relation in self.relations for c in relation.columns
        )


@dataclass(frozen=True)
class Plan:
    """fragments: all questions. merge: the query over `f0`, `f1`, ..; None if f0's answer is the result.

    stored: fragments that must be kept as a table (read twice, or the source of keys). city: the city tables that the
    statement names. first: what is asked before all that, and may be enough. keyed: what is asked instead, unless its
    keys turn out not to be such (`restrict`). learned: who is told how many rows came. shapes: known of `merge`.
    """

    fragments: tuple[FragmentPlan, ...]
    merge: exp.Query | None
    labels: tuple[str, ...]
    stored: frozenset[str] = frozenset()
    local: dict[str, pa.Table] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    city: tuple[CityTable, ...] = ()
    first: FirstRows | None = None
    keyed: Plan | None = None
    learned: Learned | None = field(default=None, compare=False, repr=False)
    shapes: Shapes = field(default_factory=Shapes, compare=False, repr=False)

    @property
    def questions(self) -> tuple[FragmentPlan, ...]:
        """Everything that may be asked, in order."""
        tried = [self.first.plan] if self.first is not None else [self.keyed] if self.keyed is not None else []
        return (*(f for plan in tried for f in plan.fragments), *self.fragments)


@dataclass(frozen=True)
class FirstRows:
    """A plan whose `fragment` gives only its first rows, at most `rows`. wanted: LIMIT of the whole. once: fragments
    that must give no row. See `first.py`."""

    plan: Plan
    fragment: str
    rows: int
    wanted: int
    once: tuple[str, ...] = ()
