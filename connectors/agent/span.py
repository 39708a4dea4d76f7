"""Linear algebra of the differencing guard: what adding and subtracting answers can reach, and whether it is safe.

`Span` holds the span of 0/1 vectors (released cells over atoms) as a reduced echelon form modulo a prime, and
takes new vectors and finer atoms without starting again. `isolates` looks in it for a vector on few
entities, `overweighs` for one in which a single entity dominates.

The prime has 21 bits, so that products of long rows stay exact in doubles, and is drawn anew and kept secret: no
one can prepare cells whose determinants vanish for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, isqrt

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_RANK", "Span", "isolates", "overweighs"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MAX_RANK = 2048
"""2^21 * 2^21 * 2048 = 2^53: the longest exact product."""
MAX_CHOICES = 2_000
MAX_WORK = 300_000_000


def _mod(values: Floats, prime: int) -> Floats:
    """Remainders of whole numbers below 2^53; integer division is six times as fast as fmod."""
    whole: Ints = values.astype(np.int64)
    return (whole % prime).astype(np.float64)


def _prime() -> int:
    while True:
        n = secrets.randbelow(1 << 20) + (1 << 20) | 1
        if all(n % d for d in range(3, isqrt(n) + 1, 2)):
            return n


def _dice(rows: int, columns: int, below: int) -> Floats:
    """Random whole numbers, secret like the prime: of two different vectors some combination by them differs."""
    return np.random.default_rng(secrets.randbits(64)).integers(0, below, (rows, columns)).astype(np.float64)


@dataclass
class Span:
    """rows: reduced echelon form; pivots: the pivot column of each row. All values in [0, prime)."""

    prime: int
    rows: Floats
    pivots: Ints

    @classmethod
    def empty(cls) -> Span:
        return cls(_prime(), np.zeros((0, 1)), np.zeros(0, dtype=np.int64))

    @property
    def rank(self) -> int:
        return len(self.pivots)

    def split(self, parent: Ints, big: Bools) -> Span:
        """The same span over finer atoms: column j is a copy of column parent[j].

        big: atoms that need no hiding. A row gets its pivot in one of them if it can.
        """
        first = np.full(self.rows.shape[1], -1, dtype=np.int64)
        # A pivot's copies are equal in every row; take a big one where there is one.
        for wanted in (~big, big):
            at = np.flatnonzero(wanted)
            first[parent[at]] = at
        fresh = Span(self.prime, self.rows[:, parent], first[self.pivots])
        for i in np.flatnonzero(~big[fresh.pivots]):
            options = np.flatnonzero((fresh.rows[i] != 0) & big)
            if len(options):
                fresh._turn(int(i), int(options[0]))
        return fresh

    def _turn(self, i: int, column: int) -> None:
        """Make `column` the pivot of row i."""
        p = self.prime
        self.rows[i] = _mod(self.rows[i] * pow(int(self.rows[i, column]), -1, p), p)
        self._clear(i, column)
        self.pivots[i] = column

    def _clear(self, i: int, column: int) -> None:
        others = np.flatnonzero(self.rows[:, column])
        others = others[others != i]
        if len(others):
            changed = np.flatnonzero(self.rows[i])
            part = np.ix_(others, changed)
            factor = self.prime - self.rows[others, column]
            self.rows[part] = _mod(self.rows[part] + factor[:, None] * self.rows[i, changed], self.prime)

    def add(self, vectors: Floats, big: Bools) -> Span:
        """The span with more vectors (one a row, 0/1), pivots in big columns first."""
        p = self.prime
        reduced = self._reduced(vectors[~self.holds(vectors)])
        order = np.argsort(~big, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        fresh, pivots = echelon(reduced[:, order], p)
        if not len(fresh):
            return self
        fresh, new_pivots = fresh[:, back], order[pivots]
        rows = self.rows
        touched = np.flatnonzero(rows[:, new_pivots].any(axis=1))
        if len(touched):
            rows = rows.copy()
            rows[touched] = _mod(rows[touched] + (p - rows[np.ix_(touched, new_pivots)]) @ fresh, p)
        return Span(p, np.concatenate([rows, fresh]), np.concatenate([self.pivots, new_pivots]))

    def holds(self, vectors: Floats) -> Bools:
        """Of each vector (one a row, 0/1), whether it is in the span.

        What the rows do not reach of it is looked at in six random combinations of its columns, by numbers so small
        that products of any length stay exact: 60 bits that nobody can prepare for.
        """
        dice = _dice(vectors.shape[1], 6, 1024)
        reached = vectors[:, self.pivots] @ _mod(self.rows @ dice, self.prime)
        return np.logical_not(_mod(vectors @ dice - reached, self.prime).any(axis=1))

    def _reduced(self, vectors: Floats) -> Floats:
        """What of vectors the rows do not reach: zero in all pivot columns."""
        used = np.flatnonzero(vectors[:, self.pivots].any(axis=0))
        if not len(used):
            return vectors.copy()
        p = self.prime
        return _mod(vectors + (p - vectors[:, self.pivots[used]]) @ self.rows[used], p)

    def hidden(self, big: Bools) -> Floats:
        """A basis of the vectors that vanish on all big atoms."""
        return self.rows[~big[self.pivots]]


def echelon(matrix: Floats, prime: int) -> tuple[Floats, Ints]:
    """Reduced row echelon form modulo a prime: its non-zero rows and their pivot columns.

    Row after row is made 1 in its first column, which is then cleared in all others. That changes the first column of
    no row: one that comes before it is cleared already where a row has its pivot, one after it leaves it as it is. So
    in the order of their pivots the rows are the reduced form, of which there is only one.
    """
    work = _mod(matrix, prime)
    rows: list[int] = []
    pivots: list[int] = []
    for i in range(len(work)):
        changed = np.flatnonzero(work[i])
        if not len(changed):
            continue
        column = int(changed[0])
        if work[i, column] != 1:
            work[i, changed] = _mod(work[i, changed] * pow(int(work[i, column]), -1, prime), prime)
        others = np.flatnonzero(work[:, column])
        others = others[others != i]
        if len(others):
            part = np.ix_(others, changed)
            factor = prime - work[others, column]
            work[part] = _mod(work[part] + factor[:, None] * work[i, changed], prime)
        rows.append(i)
        pivots.append(column)
    found = np.array(pivots, dtype=np.int64)
    order = np.argsort(found)
    return work[np.array(rows, dtype=np.int64)[order]], found[order]


# ---- few entities ----------------------------------------------------------------------------------------


def isolates(hidden: Floats, atom: Ints, person: Ints, k: int, prime: int) -> bool:
    """Whether some non-zero vector of the row space has fewer than k entities in its support.

    hidden: basis, one column an atom. atom, person: who is in which atom, pair by pair. True as well where it would
    take too long to find out.

    Atoms with equal columns have equal coefficients in every vector: they count as one, and one with k
    entities must vanish, which leaves fewer vectors; until nothing changes. What is left falls into blocks
    without common columns; a vector of least support lies in one of them, and is the only one, up to scale,
    that vanishes on some d - 1 columns of a block of dimension d.
    """
    rows, there = hidden, _There(atom, person)
    while len(rows):
        rows, place = _merged(rows, prime)
        there = there.moved(place)
        big = there.sizes(rows.shape[1]) >= k
        if not big.any():
            people = there.sets(rows.shape[1])
            return any(_block(rows[np.ix_(r, c)], [people[i] for i in c], k, prime) for r, c in components(rows))
        if len(rows) * rows.size > MAX_WORK:
            return True
        order = np.argsort(~big, kind="stable")
        reduced, pivots = echelon(rows[:, order], prime)
        first_small = int(big.sum())
        rows = reduced[pivots >= first_small][:, first_small:]
        small = np.full(len(order), -1, dtype=np.int64)
        small[order[first_small:]] = np.arange(len(order) - first_small)
        there = there.moved(small)
    return False


@dataclass(frozen=True)
class _There:
    """Who is in which column, pair by pair, each once."""

    column: Ints
    person: Ints

    def moved(self, place: Ints) -> _There:
        """The same people in other columns: those of column c in place[c], or gone where that is -1."""
        column = place[self.column]
        kept = column >= 0
        size = int(self.person.max(initial=0)) + 1
        pairs = np.unique(column[kept] * size + self.person[kept])
        return _There(pairs // size, pairs % size)

    def sizes(self, columns: int) -> Ints:
        return np.bincount(self.column, minlength=columns)

    def sets(self, columns: int) -> list[frozenset[int]]:
        parts = np.split(self.person, np.searchsorted(self.column, np.arange(1, columns)))
        return [frozenset(part.tolist()) for part in parts]


def _merged(rows: Floats, prime: int) -> tuple[Floats, Ints]:
    """(one column for all equal ones, of each column its place among them); columns of zeros go to -1.

    Columns are compared by three random combinations of their values, 61 bits that nobody can prepare for.
    """
    first, second, third = _mod(_dice(3, len(rows), prime) @ rows, prime).astype(np.int64)
    _, first_of, which = np.unique(
        (first * prime + second) * prime + third, return_index=True, return_inverse=True
    )  # fmt: skip
    live = rows[:, first_of].any(axis=0)
    # In the order in which they came: in a random one elimination would fill the rows sooner.
    order = np.argsort(np.where(live, first_of, rows.shape[1]), kind="stable")[: int(live.sum())]
    place = np.full(len(first_of), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    return rows[:, first_of[order]], place[which.reshape(-1)]


def _block(block: Floats, people: Sequence[frozenset[int]], k: int, prime: int) -> bool:
    dimension, columns = block.shape
    if any(_crowd(row, people) < k for row in block):
        return True
    if dimension == 1:
        return False
    if comb(columns, dimension - 1) > MAX_CHOICES:
        return True
    for zeros in combinations(range(columns), dimension - 1):
        others = [c for c in range(columns) if c not in zeros]
        reduced, pivots = echelon(block[:, [*zeros, *others]], prime)
        free = np.flatnonzero(pivots >= len(zeros))
        if len(free) == 1 and _crowd(reduced[free[0]], [people[c] for c in (*zeros, *others)]) < k:
            return True
    return False


def _crowd(vector: Floats, people: Sequence[frozenset[int]]) -> int:
    """Distinct entities in the support of a vector."""
    return len(frozenset().union(*(people[int(i)] for i in np.flatnonzero(vector))))


def components(matrix: Floats) -> Iterator[tuple[list[int], list[int]]]:
    """(rows, columns) of each connected part of a matrix; empty rows and columns are left out."""
    full = matrix != 0
    rows_left = set(np.flatnonzero(full.any(axis=1)).tolist())
    while rows_left:
        frontier, rows = {rows_left.pop()}, set[int]()
        columns: set[int] = set()
        while frontier:
            rows |= frontier
            reached = set(np.flatnonzero(full[sorted(frontier)].any(axis=0)).tolist()) - columns
            columns |= reached
            frontier = set(np.flatnonzero(full[:, sorted(reached)].any(axis=1)).tolist()) - rows if reached else set()
        rows_left -= rows
        yield sorted(rows), sorted(columns)


# ---- one entity that weighs too much ---------------------------------------------------------------------


def overweighs(
    span: Span, heavy: Iterable[Iterable[tuple[int, float]]], slack: Sequence[Floats], total: Floats
) -> bool:
    """Whether one entity may dominate some combination of answers.

    heavy: for each entity that dominates an atom, its atoms and by how much it exceeds what is allowed there.
    slack: for each such entity, per atom, how much more it could have without dominating. total: per atom.

    A proof that it cannot: totals of atoms can be moved, within the slack and without changing any answer, by
    as much as each heavy atom exceeds what is allowed. Every column is a combination of the columns of a
    basis; moving the basis by these coefficients undoes a move of that column. True where no such proof is
    found: the heaviest atoms are taken into the basis first, since they bear the most.
    """
    groups = [list(g) for g in heavy]
    used = set(np.flatnonzero(span.rows.any(axis=0)).tolist())
    groups = [[(a, m) for a, m in g if a in used] for g in groups]
    if not any(groups):
        return False
    if span.rank * span.rows.size > MAX_WORK:
        return True
    dominated = np.zeros(span.rows.shape[1], dtype=bool)
    dominated[[a for g in groups for a, _ in g]] = True
    order = np.lexsort((-total, dominated))
    reduced, pivots = echelon(span.rows[:, order], span.prime)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    basis = order[pivots]
    for group, room in zip(groups, slack, strict=True):
        burden = np.zeros(len(basis))
        for atom, margin in group:
            if atom in basis:
                return True
            shares = _fractions(reduced[:, back[atom]], span.prime)
            if shares is None:
                return True
            burden += shares * margin
        bears = np.where(dominated[basis], 0.0, room[basis])
        if bool((burden > bears).any()):
            return True
    return False


def _fractions(values: Floats, prime: int) -> Floats | None:
    """Absolute values of small fractions known modulo a prime; None if one is not small."""
    result = np.zeros(len(values))
    for i in np.flatnonzero(values):
        for below in range(1, 33):
            above = int(values[i]) * below % prime
            above = min(above, prime - above)
            if above <= 512:
                result[i] = above / below
                break
        else:
            return None
    return result
