"""The differencing guard: no combination of answers may single out fewer than k entities.

All released cells of a relation, of all users (they collude), are 0/1 vectors over base cells, the
non-empty combinations of the declared dimensions. Whoever adds and subtracts answers reaches exactly the
linear span of these vectors. A new answer is refused (DISCLOSURE) if the span of old and new holds a
non-zero vector whose support has fewer than k distinct entities.

The test, and why it is right:
1. Base cells that lie in the same released cells have equal coefficients in every vector of the span: they
   are merged into *atoms*. A vector of the span is constant on atoms, so nothing is lost.
2. Cells and atoms form a bipartite graph. The span is the direct sum over its components, and a vector of
   least support lies in one of them. A component without a new cell was tested before.
3. A vector on fewer than k entities is zero on every *big* atom (k entities or more). Reduced row echelon
   form with the big atoms' columns first: the rows with a pivot in a small column are a basis of exactly
   the vectors that vanish on all big atoms. No such row: safe.
4. These rows fall again into blocks without common columns. In a block of dimension 1 there is one vector
   up to scale: its entities are counted. In dimension d every vector of minimal support is the only one,
   up to scale, that vanishes on some d - 1 columns: all choices are tried.
5. Whatever is too large to try is refused: the guard fails closed.
Arithmetic is modulo a prime of 31 bits, drawn anew for each test, so that no one can prepare cells whose
determinants vanish for it.

Not covered: data that change by fewer than k entities between two equal questions.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import AccessDenied, Outcome
from catalog.exchange import canonical_json, sha256
from catalog.types import TrinoType
from connectors.base import Predicate

__all__ = ["Guard", "Question", "discloses"]

Ints = npt.NDArray[np.int64]
PRIMES = (2147483647, 2147483629, 2147483587, 2147483579, 2147483563, 2147483549, 2147483543, 2147483497)
MAX_WORK = 2_000_000_000
MAX_CHOICES = 20_000


@dataclass(frozen=True)
class Question:
    """One released answer: predicates on dimensions, group keys, and the keys of the cells in it."""

    predicates: tuple[Predicate, ...]
    keys: tuple[str, ...]
    cells: tuple[tuple[Any, ...], ...]

    def to_json(self) -> str:
        """Canonical text: equal questions with equal cells have equal texts."""
        predicates = sorted([p.column, p.op, sorted(_text(v) or "" for v in p.values)] for p in self.predicates)
        cells = sorted([[_text(v) for v in cell] for cell in self.cells], key=repr)
        return canonical_json({"predicates": predicates, "keys": list(self.keys), "cells": cells}).decode()

    @classmethod
    def from_json(cls, text: str, columns: Mapping[str, TrinoType]) -> Question:
        data = json.loads(text)
        predicates = tuple(
            Predicate(c, op, tuple(_typed(v, columns[c]) for v in values)) for c, op, values in data["predicates"]
        )
        keys = tuple(data["keys"])
        cells = tuple(tuple(_typed(v, columns[k]) for v, k in zip(cell, keys, strict=True)) for cell in data["cells"])
        return cls(predicates, keys, cells)


class Guard:
    """The history of one agent, in a file, and the test against it. Safe for use from several threads."""

    def __init__(self, path: Path, who: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS released (relation TEXT, id TEXT, question TEXT, PRIMARY KEY (relation, id))"
        )
        self._who = who
        self._lock = threading.Lock()

    def release(
        self, relation: str, k: int, base: pa.Table, columns: Mapping[str, TrinoType], question: Question
    ) -> None:
        """Record a question's cells, or raise AccessDenied(DISCLOSURE) if they must not be released.

        base: distinct (dimensions, `entity`) of the whole relation. Test and record are one step.
        """
        if not question.cells:
            return
        text = question.to_json()
        with self._lock:
            rows = self._db.execute("SELECT id, question FROM released WHERE relation = ?", (relation,)).fetchall()
            if any(row_id == sha256(text) for row_id, _ in rows):
                return
            history = [Question.from_json(q, columns) for _, q in rows]
            if discloses(base, k, history, question):
                raise AccessDenied(
                    f"This answer, together with earlier ones, would single out fewer than {k} entities.",
                    Outcome.DISCLOSURE, who=self._who, rule="differencing guard",
                    hint="Ask for coarser cells, or for the cells that were asked for before.",
                )  # fmt: skip
            self._db.execute("INSERT INTO released VALUES (?, ?, ?)", (relation, sha256(text), text))

    def close(self) -> None:
        self._db.close()


def discloses(base: pa.Table, k: int, history: Sequence[Question], new: Question) -> bool:
    """Whether answering `new` after `history` lets some combination isolate fewer than k entities.

    base: distinct (dimensions, `entity`); NULL entities count as nobody.
    """
    space = _Space(base)
    questions = [*history, new]
    labels = np.stack([space.labels(q) for q in questions], axis=1)
    atom_rows, atom_of = np.unique(labels, axis=0, return_inverse=True)
    people = space.people(atom_of.reshape(-1), len(atom_rows))
    first_new = sum(len(q.cells) for q in history)
    matrix = _matrix(atom_rows, questions)
    for vectors, atoms in _components(matrix):
        if max(vectors) >= first_new and _component_discloses(
            matrix[np.ix_(vectors, atoms)], [people[a] for a in atoms], k
        ):
            return True
    return False


class _Space:
    """The base cells: their dimensions' values, by code, and who is in each."""

    def __init__(self, base: pa.Table) -> None:
        names = [n for n in base.column_names if n != "entity"]
        columns = {n: base.column(n).combine_chunks().dictionary_encode(null_encoding="encode") for n in names}
        codes = np.stack(
            [np.zeros(base.num_rows, dtype=np.int64)]
            + [c.indices.to_numpy(zero_copy_only=False).astype(np.int64) for c in columns.values()],
            axis=1,
        )
        cells, cell_of = np.unique(codes, axis=0, return_inverse=True)
        self._cell_of: Ints = cell_of.reshape(-1)
        self._entities = base.column("entity").to_pylist()
        self._values = {n: c.dictionary.to_pylist() for n, c in columns.items()}
        self._codes = {n: cells[:, i + 1] for i, n in enumerate(names)}
        self._size = len(cells)

    def labels(self, question: Question) -> Ints:
        """For each base cell the number of the question's cell in which it lies, or -1."""
        inside = np.ones(self._size, dtype=bool)
        for p in question.predicates:
            passes = np.array([_passes(v, p) for v in self._values[p.column]] or [False])
            inside &= passes[self._codes[p.column]]
        number = {cell: i for i, cell in enumerate(question.cells)}
        keys = np.stack([np.zeros(self._size, dtype=np.int64)] + [self._codes[k] for k in question.keys], axis=1)
        groups, group_of = np.unique(keys, axis=0, return_inverse=True)
        values = [self._values[k] for k in question.keys]
        found = np.array(
            [number.get(tuple(v[c] for v, c in zip(values, g[1:], strict=True)), -1) for g in groups] or [-1]
        )
        return np.where(inside, found[group_of.reshape(-1)], -1).astype(np.int64)

    def people(self, atom_of: Ints, atoms: int) -> list[frozenset[Any]]:
        """The distinct entities of each atom."""
        found: list[set[Any]] = [set() for _ in range(atoms)]
        for cell, entity in zip(self._cell_of, self._entities, strict=True):
            if entity is not None:
                found[atom_of[cell]].add(entity)
        return [frozenset(s) for s in found]


def _passes(value: Any, p: Predicate) -> bool:
    if p.op == "is null":
        return value is None
    if p.op == "is not null":
        return value is not None
    if value is None:
        return False
    if p.op == "in":
        return value in p.values
    other: Any = p.values[0]
    return bool(
        {"=": value == other, "<>": value != other, "<": value < other, "<=": value <= other,
         ">": value > other, ">=": value >= other}[p.op]
    )  # fmt: skip


def _matrix(atom_rows: Ints, questions: Sequence[Question]) -> Ints:
    """One row a released cell, one column an atom: 1 where the atom lies in the cell."""
    parts = []
    for i, question in enumerate(questions):
        numbers = np.arange(len(question.cells)).reshape(-1, 1)
        parts.append((atom_rows[:, i].reshape(1, -1) == numbers).astype(np.int64))
    return np.concatenate(parts, axis=0)


def _components(matrix: Ints) -> Iterable[tuple[list[int], list[int]]]:
    """(rows, columns) of each connected part of a matrix; empty rows and columns are left out."""
    rows_left = set(np.flatnonzero(matrix.any(axis=1)).tolist())
    while rows_left:
        frontier, rows = {rows_left.pop()}, set[int]()
        columns: set[int] = set()
        while frontier:
            rows |= frontier
            reached = set(np.flatnonzero(matrix[sorted(frontier)].any(axis=0)).tolist()) - columns
            columns |= reached
            frontier = set(np.flatnonzero(matrix[:, sorted(reached)].any(axis=1)).tolist()) - rows if reached else set()
        rows_left -= rows
        yield sorted(rows), sorted(columns)


def _component_discloses(matrix: Ints, people: Sequence[frozenset[Any]], k: int) -> bool:
    rows, columns = matrix.shape
    if rows * rows * columns > MAX_WORK:
        return True
    prime = secrets.choice(PRIMES)
    big = [i for i, p in enumerate(people) if len(p) >= k]
    small = [i for i, p in enumerate(people) if len(p) < k]
    if not small:
        return False
    reduced, pivots = _echelon(matrix[:, [*big, *small]], prime)
    hidden = reduced[[i for i, p in enumerate(pivots) if p >= len(big)]][:, len(big) :]
    if not len(hidden):
        return False
    who = [people[i] for i in small]
    return any(
        _block_discloses(hidden[np.ix_(rows, columns)], [who[c] for c in columns], k, prime)
        for rows, columns in _components(hidden)
    )


def _block_discloses(block: Ints, people: Sequence[frozenset[Any]], k: int, prime: int) -> bool:
    """Whether some vector of the row space of `block` has fewer than k entities in its support."""
    dimension, columns = block.shape
    if any(_crowd(row, people) < k for row in block):
        return True
    if dimension == 1:
        return False
    if comb(columns, dimension - 1) > MAX_CHOICES:
        return True
    for zeros in combinations(range(columns), dimension - 1):
        others = [c for c in range(columns) if c not in zeros]
        reduced, pivots = _echelon(block[:, [*zeros, *others]], prime)
        free = [i for i, p in enumerate(pivots) if p >= len(zeros)]
        if len(free) == 1 and _crowd(reduced[free[0]], [people[c] for c in (*zeros, *others)]) < k:
            return True
    return False


def _crowd(vector: Ints, people: Sequence[frozenset[Any]]) -> int:
    """Distinct entities in the support of a vector."""
    support = [people[int(i)] for i in np.flatnonzero(vector)]
    return len(frozenset().union(*support)) if support else 0


def _echelon(matrix: Ints, prime: int) -> tuple[Ints, list[int]]:
    """Reduced row echelon form modulo a prime: its non-zero rows and their pivot columns."""
    work = matrix % prime
    pivots: list[int] = []
    rank = 0
    for column in range(work.shape[1]):
        candidates = np.flatnonzero(work[rank:, column])
        if not len(candidates):
            continue
        chosen = rank + int(candidates[0])
        if chosen != rank:
            work[[rank, chosen]] = work[[chosen, rank]]
        work[rank] = work[rank] * pow(int(work[rank, column]), -1, prime) % prime
        others = np.flatnonzero(work[:, column])
        others = others[others != rank]
        if len(others):
            # Both factors are below 2^31, so the product fits 63 bits.
            work[others] = (work[others] - work[others, column][:, None] * work[rank] % prime) % prime
        pivots.append(column)
        rank += 1
        if rank == work.shape[0]:
            break
    return work[:rank], pivots


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return str(value)


def _typed(text: str | None, kind: TrinoType) -> Any:
    if text is None:
        return None
    if kind.is_integer:
        return int(text)
    if kind.name == "date":
        return date.fromisoformat(text)
    if kind.name == "timestamp":
        return datetime.fromisoformat(text)
    if kind.name == "boolean":
        return text == "True"
    if kind.name == "decimal":
        return Decimal(text)
    if kind.name == "double":
        return float(text)
    return text
