"""Stage 5: a rewritten tree -> `Plan`: one fragment per largest one-department subtree, and the merge."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from catalog.relation import Relation
from catalog.standards import CityTable

__all__ = ["FragmentPlan", "KeySource", "Plan"]


@dataclass(frozen=True)
class KeySource:
    """Bind keys of a fragment: `query` selects one column `k`, distinct, not NULL, over merge tables.

    needs: fragments that must be complete before. sql: the fragment's text with the keys in it.
    chunk: at most so many keys a request. always: the fragment has no meaning without keys. most: with more keys
    than these in all, it is asked without any. column: the fragment and the place of its output that `query` reads,
    where it reads nothing else.
    """

    query: exp.Select
    needs: frozenset[str]
    sql: str
    chunk: int
    always: bool = False
    most: int = 0
    column: tuple[str, int] | None = None


@dataclass(frozen=True)
class FragmentPlan:
    """One question to one department.

    sql: the exact text that its agent receives, of `tree`. outputs: names of c0..cn in the merge, in order.
    relations: what it reads. notes: what stays in the gateway and why, for EXPLAIN. whole: why every row of them is
    delivered, "" if something restricts them.
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


@dataclass(frozen=True)
class Plan:
    """fragments: all questions. merge: the query over `f0`, `f1`, ..; None if f0's answer is the result.

    stored: fragments that must be kept as a table (read twice, or the source of keys). city: the city tables that the
    statement names.
    """

    fragments: tuple[FragmentPlan, ...]
    merge: exp.Query | None
    labels: tuple[str, ...]
    stored: frozenset[str] = frozenset()
    local: dict[str, pa.Table] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    city: tuple[CityTable, ...] = ()
