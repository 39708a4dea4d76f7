"""Linear algebra of the differencing guard: what adding and subtracting answers can reach, and whether it is safe.

`Span` holds the span of 0/1 vectors (released cells over atoms) as a reduced echelon form modulo a prime, and
takes new vectors and finer atoms without starting again. `isolates` looks in it for a vector on few
entities, `overweighs` for one in which a single entity dominates.

The prime has 21 bits, so that products of long rows stay exact in doubles, and is drawn anew and kept secret: no
one can prepare cells whose determinants vanish for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        reduced = self._reduced(vectors)
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
        """Of each vector (one a row, 0/1), whether it is in the span."""
        return np.logical_not(self._reduced(vectors).any(axis=1))

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
    """Reduced row echelon form modulo a prime: its non-zero rows and their pivot columns."""
    work = _mod(matrix, prime)
    pivots: list[int] = []
    rank = 0
    while rank < len(work):
        live = np.flatnonzero(work[rank:].any(axis=0))
        if not len(live):
            break
        column = int(live[0])
        chosen = rank + int(np.flatnonzero(work[rank:, column])[0])
        if chosen != rank:
            work[[rank, chosen]] = work[[chosen, rank]]
        work[rank] = _mod(work[rank] * pow(int(work[rank, column]), -1, prime), prime)
        others = np.flatnonzero(work[:, column])
        others = others[others != rank]
        if len(others):
            changed = np.flatnonzero(work[rank])
            part = np.ix_(others, changed)
            factor = prime - work[others, column]
            work[part] = _mod(work[part] + factor[:, None] * work[rank, changed], prime)
        pivots.append(column)
        rank += 1
    return work[:rank], np.array(pivots, dtype=np.int64)


# ---- few entities ----------------------------------------------------------------------------------------

People = Callable[[int], frozenset[int]]


def isolates(hidden: Floats, people: People, k: int, prime: int) -> bool:
    """Whether some non-zero vector of the row space has fewer than k entities in its support.

    hidden: basis, one column an atom. people: the entities of an atom. True as well where it would take
    too long to find out.

    Atoms with equal columns have equal coefficients in every vector: they count as one, and one with k
    entities must vanish, which leaves fewer vectors; until nothing changes. What is left falls into blocks
    without common columns; a vector of least support lies in one of them, and is the only one, up to scale,
    that vanishes on some d - 1 columns of a block of dimension d.
    """
    columns = np.flatnonzero(hidden.any(axis=0))
    return len(hidden) > 0 and _narrow(hidden[:, columns], [people(int(c)) for c in columns], k, prime)


def _narrow(rows: Floats, people: Sequence[frozenset[int]], k: int, prime: int) -> bool:
    while len(rows):
        rows, people = _merged(rows, people, prime)
        big = np.array([len(p) >= k for p in people])
        if not big.any():
            return any(_block(rows[np.ix_(r, c)], [people[i] for i in c], k, prime) for r, c in components(rows))
        if len(rows) * rows.size > MAX_WORK:
            return True
        order = np.argsort(~big, kind="stable")
        reduced, pivots = echelon(rows[:, order], prime)
        first_small = int(big.sum())
        rows = reduced[pivots >= first_small][:, first_small:]
        people = [people[i] for i in order[first_small:]]
    return False


def _merged(rows: Floats, people: Sequence[frozenset[int]], prime: int) -> tuple[Floats, list[frozenset[int]]]:
    """One column for all equal ones, with the entities of all; columns of zeros go.

    Columns are compared by three random combinations of their values, 61 bits that nobody can prepare for.
    """
    dice = np.random.default_rng(secrets.randbits(64)).integers(0, prime, (3, len(rows))).astype(np.float64)
    first, second, third = _mod(dice @ rows, prime).astype(np.int64)
    _, place, which = np.unique((first * prime + second) * prime + third, return_index=True, return_inverse=True)
    # In the order in which they came: in a random one elimination would fill the rows sooner.
    order = np.argsort(place)
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    found = rows[:, place[order]]
    together: list[set[int]] = [set() for _ in place]
    for i, p in zip(back[which.reshape(-1)], people, strict=True):
        together[i] |= p
    live = np.flatnonzero(found.any(axis=0))
    return found[:, live], [frozenset(together[i]) for i in live]


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
