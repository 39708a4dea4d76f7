"""A scan in two halves: where its source spreads no work over its processors.

    orders of which some lines sum up to more than 300:
    SELECT .. FROM orders WHERE EXISTS (SELECT 1 FROM (SELECT l_orderkey, sum(l_quantity) .. GROUP BY 1)
                                        WHERE l_orderkey = o_orderkey AND ..)
    ->  the same WHERE o_orderkey < m and, inside, WHERE l_orderkey < m;  the same with >= m in both places

PostgreSQL's workers make none of the inner groups, or each of them all (TPC-H's q18). Over two connections each half
makes its own. Where rows are looked up by many keys, each half has half of them (q08, q19): workers start later, when
the index has been read.

Proof. Let d be a whole number that the scan delivers, K the columns that are equal to d in every row that it delivers:
those that it comes from, and those that a conjunct of WHERE, of a join or of an EXISTS compares with one of K by `=`.
Rows with d < m and rows with d >= m are all rows, each once: a NULL would be equal to nothing, and a conjunct around
every row compares a column of K or lists its keys (`_Side.compared`). A condition `k < m` on what a part reads is
implied, for k in K, wherever the row outside has d < m: of a join and of an EXISTS, negated or not, rows with another k
meet no such row. Groups by k stay whole or go. Below LIMIT, and where a key is not the bare column, nothing is added.
So each half is the scan with a condition on d; what it adds below only spares work. Where keys of a column of K are
listed, those that fulfil the condition are, in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.allowed import are_whole
from connectors.base import AllOf, BoundKeys, Comparison, Condition, Exists, NativeScan, Predicate

__all__ = ["Cut", "cuts", "halves", "halves_by_keys"]


@dataclass(frozen=True)
class Cut:
    """A column of a table by which groups are made inside a scan, and as what the scan delivers its values."""

    table: str
    column: str
    delivered: str


def halves(scan: NativeScan, delivered: str, middle: int) -> tuple[NativeScan, NativeScan]:
    """The rows with less than `middle` in a column that the scan delivers, and the others."""
    below, above = (_Side(op, middle).of(scan, {delivered}) for op in ("<", ">="))
    return below, above


def cuts(scan: NativeScan) -> Iterator[Cut]:
    """Where the scan may be cut, so that groups inside it are made in halves."""
    for name, side in _sides(scan):
        yield from (Cut(table, column, name) for table, column in side.grouped)


def halves_by_keys(scan: NativeScan) -> tuple[NativeScan, ...]:
    """The rows of half of the keys, and of the others: of those that are most; nothing where it can't be cut so."""
    keyed = [(name, max(side.keyed, key=len)) for name, side in _sides(scan) if side.keyed]
    if not keyed:
        return ()
    name, keys = max(keyed, key=lambda found: len(found[1]))
    return halves(scan, name, int(np.partition(keys.to_numpy(), len(keys) // 2)[len(keys) // 2]))


def _sides(scan: NativeScan) -> Iterator[tuple[str, _Side]]:
    """The columns of what is delivered by which the scan may be cut, and what is known of one side then."""
    for name, type_ in scan.outputs if not scan.order else ():
        if type_.is_integer:
            side = _Side("<", 0)
            side.of(scan, {name})
            if side.compared and side.restricted:
                yield name, side


@dataclass
class _Side:
    """Adds `column op middle`. compared: whether NULLs are equal to nothing. restricted: whether what stands in FROM
    is. grouped: (table, column) of the tables below groups. keyed: keys, of a column of what stands in FROM."""

    op: Literal["<", ">="]
    middle: int
    compared: bool = False
    restricted: bool = False
    grouped: list[tuple[str, str]] = field(default_factory=list)
    keyed: list[pa.Array] = field(default_factory=list)

    def of(
        self, scan: NativeScan, names: Iterable[str], around: bool = True, groups: bool = False, listed: bool = False
    ) -> NativeScan:
        """The scan without rows whose `names`, of what it delivers, are on the other side.

        around: it stands in FROM, and so do all scans around it. groups: it is within some. listed: what it
        delivers is looked up by keys, of this side.
        """
        known = set(names)
        if scan.limit is not None:
            return scan
        inside = {o.column for o in scan.columns if o.name in known}
        inside |= {k.column for k in scan.group_by if k.name in known and k.is_plain}
        if not inside:
            return scan
        self._widen(inside, scan.predicates, around)
        groups = groups or bool(scan.group_by)
        keys = tuple(self._keys(columns, keys, inside, around) for columns, keys in scan.keys)
        cut = {columns[0] for columns, keys in scan.keys if self._are_cut(columns, keys, inside)}
        parts = tuple(
            self.of(part, inside, around, groups, listed or any(name in cut for name, _ in part.outputs))
            for part in scan.parts
        )
        conditions = tuple(self._condition(c, inside, around) for c in scan.predicates)
        scan = replace(scan, relation=parts or scan.relation, predicates=conditions, keys=keys)
        own = sorted(c for c in inside if c in scan.types and scan.types[c].is_integer)
        if parts or not own:
            return scan
        self.restricted = self.restricted or around
        if groups and isinstance(scan.relation, str) and not scan.is_query:
            self.grouped.append((scan.relation, own[0]))
        if listed or cut:
            return scan
        return replace(scan, predicates=(*conditions, Predicate(own[0], self.op, (self.middle,))))

    @staticmethod
    def _are_cut(columns: tuple[str, ...], keys: pa.Array, inside: set[str]) -> bool:
        return len(columns) == 1 and columns[0] in inside and are_whole(keys) and len(keys) > 0

    def _keys(self, columns: tuple[str, ...], keys: pa.Array, inside: set[str], around: bool) -> BoundKeys:
        """The keys on this side."""
        if not self._are_cut(columns, keys, inside):
            return columns, keys
        if around:
            self.compared = True
            self.keyed.append(keys)
        return columns, keys.filter((pc.less if self.op == "<" else pc.greater_equal)(keys, self.middle))

    def _widen(self, inside: set[str], conditions: Iterable[Condition], around: bool) -> None:
        """Add what is equal to one of `inside`, until there is nothing more."""
        equals = [{c.left, c.right} for c in _conjuncts(conditions) if isinstance(c, Comparison) and c.op == "="]
        while more := [pair for pair in equals if pair & inside]:
            self.compared = self.compared or around
            inside |= set().union(*more)
            equals = [pair for pair in equals if pair not in more]

    def _condition(self, condition: Condition, inside: set[str], around: bool) -> Condition:
        match condition:
            case AllOf():
                return AllOf(tuple(self._condition(part, inside, around) for part in condition.parts))
            case Exists():
                found = set(inside)
                known = len(found)
                self._widen(found, condition.conditions, around and not condition.negated)
                if len(found) == known:
                    return condition
                parts = tuple(self.of(part, found - inside, False) for part in condition.parts)
                return replace(condition, parts=parts)
        return condition


def _conjuncts(conditions: Iterable[Condition]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, AllOf):
            yield from _conjuncts(condition.parts)
        else:
            yield condition
