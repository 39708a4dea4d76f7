"""The differencing guard: no combination of answers may single out few entities, or one that outweighs the rest.

All released cells of a *family* of relations, of all users (they collude), are 0/1 vectors over base cells: the
non-empty combinations of the family's dimensions. Whoever adds and subtracts answers reaches exactly the linear
span of these vectors. A cell is withheld if the span of old and new would hold a non-zero vector

- whose support has fewer than k distinct entities, or
- for a measure under a dominance rule, in which one entity makes more than the rule allows.

`connectors.agent.span` looks for both. Base cells that lie in the same released cells have equal coefficients in
every vector: they are merged into *atoms*. Whatever is too large to decide is withheld: the guard fails closed.

What is one family: everything counted from one table or view of a source, and the relations that their owner
says belong together (`catalog.policy.families`). Its answers may come from different grants, views, or from data that
have changed meanwhile. Each such *crowd* is kept as its entities with the dimensions of the whole family, whatever
the grant shows of them, and all crowds are laid over each other by entity and dimensions. What an entity has in one
crowd and not in another, in lines or in a measure, is an element of its own: that is what a difference would show.

Counts have a space, and each measure has one. Answers under a higher floor are held to it among themselves, and to the
lower one together with the others; the strictest rule of dominance holds for all.

An equal question gets an equal answer. Where changed data would single out those who changed, it gets its old
answer until the epoch of its grant ends; then answers over data that are no longer so are forgotten.

Which cells an answer has tells something too, and no span sees it: a floor is no sum. So answers without any cell are
kept like others, and of a cell that is in one answer and not in another it is looked at what changed there between
their data. `Field.changed_few` says whether that is somebody's, but of fewer than k entities that came or left, or that
have other lines or amounts, or whether one of them outweighs the others.

- In equal words: two answers of an epoch, both made anew, differ in no cell that changed by few. For a new one is held
  against each that was made before, not the last alone (two changes of many can be one of few), and where it fails the
  last is given again, to the byte: that one does not depend on the new data.
- In other words: a cell of an answer that is made anew did not have fewer than k and change by few since any data of
  the same rows that were asked about in an epoch that lasts. It stays absent as it was then.

Not covered: in other words a cell that fell below the floor is absent, like one that is withheld for its change; where
it is the only cell the one is NULL and the other refused. Either tells that somebody left, as a refusal tells that
somebody is in the difference, and neither who. Nor is a cell that a rule of dominance held back, and does no more,
absent in other words. Data that nobody asked about bind nothing. A COUNT(DISTINCT ..) over entities that lie in several
base cells tells how many lie in one and not in another, and where one came while many have more lines, that one came.
Other departments' sums over the same people.
"""

from __future__ import annotations

import io
import json
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import AccessDenied, Outcome
from catalog.exchange import canonical_json, sha256
from catalog.types import TrinoType, parse
from connectors.agent.mark import Witness, grow, mark_of
from connectors.agent.span import MAX_RANK, Span, isolates, overweighs
from connectors.base import Predicate

__all__ = ["Answer", "Ask", "Crowd", "Dominance", "Field", "Given", "Guard", "Question", "Rules", "Variant", "epoch_of"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
NOBODY = 0
MAX_ATOMS = 4096
MAX_CROWDS = 16
MAX_ELEMENTS = 8_000_000
MAX_TRIALS = 32
TRIAL_WORK = 4_000_000
ROUNDING = 1e-9
"""Floating contributions that differ by a smaller part may be equal but for rounding: then nobody has changed."""
EPOCHS = ("day", "month", "quarter", "year")
_VERSION = 2


@dataclass(frozen=True)
class Question:
    """One answer as far as it tells: predicates on columns, group keys, the keys of its cells, measures.

    Columns and measures are named as their family knows them, whatever a grant publishes them as.
    """

    predicates: tuple[Predicate, ...]
    keys: tuple[str, ...]
    cells: tuple[tuple[Any, ...], ...]
    measures: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Canonical text: equal questions with equal cells have equal texts."""
        predicates = sorted([p.column, p.op, sorted(_text(v) or "" for v in p.values)] for p in self.predicates)
        cells = sorted([[_text(v) for v in cell] for cell in self.cells], key=repr)
        return canonical_json(
            {"predicates": predicates, "keys": list(self.keys), "cells": cells, "measures": sorted(self.measures)}
        ).decode()

    @classmethod
    def from_json(cls, text: str, columns: Mapping[str, TrinoType]) -> Question:
        data = json.loads(text)
        predicates = tuple(
            Predicate(c, op, tuple(_typed(v, columns[c]) for v in values)) for c, op, values in data["predicates"]
        )
        keys = tuple(data["keys"])
        cells = tuple(tuple(_typed(v, columns[k]) for v, k in zip(cell, keys, strict=True)) for cell in data["cells"])
        return cls(predicates, keys, cells, tuple(data["measures"]))


@dataclass(frozen=True)
class Dominance:
    """When one entity outweighs a sum. share: more than so many % of it. percent: the others but the second
    largest are less than so many % of it. None: no such rule."""

    share: int | None = None
    percent: int | None = None

    def __bool__(self) -> bool:
        return self.share is not None or self.percent is not None


@dataclass(frozen=True)
class Rules:
    """What a decision demands: k entities, and of each measure that nobody outweighs the rest."""

    k: int
    dominance: Dominance = Dominance()

    def to_json(self) -> str:
        return json.dumps([self.k, self.dominance.share, self.dominance.percent])

    @classmethod
    def from_json(cls, text: str) -> Rules:
        k, share, percent = json.loads(text)
        return cls(k, Dominance(share, percent))


@dataclass(frozen=True)
class Variant:
    """Whose rows are counted: a relation under the filters of one decision.

    columns: what its answers may name -> type: the family's dimensions (`base`), and what masks show of them.
    base: with the entity, they tell rows apart; the same in all variants of a family. entity: what is counted.
    """

    relation: str
    filters: tuple[str, ...]
    columns: Mapping[str, TrinoType]
    base: tuple[str, ...]
    measures: tuple[str, ...] = ()
    entity: str = ""

    @property
    def name(self) -> str:
        return sha256(self.to_json().encode())

    def to_json(self) -> str:
        """Columns in their order: the codes of a crowd follow it."""
        columns = [[c, str(kind)] for c, kind in self.columns.items()]
        return canonical_json(
            [self.relation, list(self.filters), columns, list(self.base), list(self.measures), self.entity]
        ).decode()

    @classmethod
    def from_json(cls, text: str) -> Variant:
        relation, filters, columns, base, measures, *entity = json.loads(text)
        kinds = {c: parse(kind) for c, kind in columns}
        return cls(relation, tuple(filters), kinds, tuple(base), tuple(measures), *entity)

    def meets(self, other: Variant) -> bool:
        """Whether both can be laid over each other: they tell rows apart alike."""
        return self.base == other.base and (self.relation != other.relation or self.entity == other.entity)


@dataclass(frozen=True)
class Crowd:
    """Who is counted: one row per (base, entity), as they were at one moment.

    codes: [rows, columns] into `values`. entity: a hash, 0 for nobody. lines: rows of the relation in each.
    sums, counts: measure -> its sum and the number of its values. rests: measure -> what `sums`, being doubles, leave
    of exact sums: both together tell 31 digits apart. A measure without rests has floating values.
    """

    variant: Variant
    values: tuple[tuple[Any, ...], ...]
    codes: Ints
    entity: npt.NDArray[np.uint64]
    lines: Floats
    sums: Mapping[str, Floats] = field(default_factory=dict)
    counts: Mapping[str, Floats] = field(default_factory=dict)
    rests: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, variant: Variant, table: pa.Table) -> Crowd:
        """table: `c0`, `c1`, .. the columns, `entity` (uint64, 0 for nobody), `n`, and `s0`, `k0`, .. (double), with
        `r0`, .. (double) of those measures that have exact values."""
        coded = [
            table.column(f"c{i}").combine_chunks().dictionary_encode(null_encoding="encode")
            for i in range(len(variant.columns))
        ]
        codes = [c.indices.to_numpy(zero_copy_only=False).astype(np.int64) for c in coded]
        sums, counts, rests = (
            {m: table.column(f"{c}{i}").to_numpy().astype(float) for i, m in enumerate(variant.measures)
             if f"{c}{i}" in table.column_names}
            for c in "skr"
        )  # fmt: skip
        return cls(
            variant, tuple(tuple(c.dictionary.to_pylist()) for c in coded),
            np.stack(codes, axis=1) if codes else np.zeros((table.num_rows, 0), dtype=np.int64),
            table.column("entity").to_numpy().astype(np.uint64), table.column("n").to_numpy().astype(float),
            sums, counts, rests,
        )  # fmt: skip

    def sorted(self) -> Crowd:
        """The same rows in an order that depends on nothing but them; codes in the order of values."""
        codes, values = self.codes.copy(), []
        for i, known in enumerate(self.values):
            order = sorted(range(len(known)), key=lambda j, known=known: (known[j] is not None, _text(known[j])))  # type: ignore[misc]
            place = np.empty(max(len(order), 1), dtype=np.int64)
            place[order] = np.arange(len(order))
            codes[:, i] = place[codes[:, i]]
            values.append(tuple(known[j] for j in order))
        rows = np.lexsort([self.lines, self.entity, *codes.T])
        sums, counts, rests = ({m: x[rows] for m, x in of.items()} for of in (self.sums, self.counts, self.rests))
        return Crowd(self.variant, tuple(values), codes[rows], self.entity[rows], self.lines[rows], sums, counts, rests)

    def to_blob(self) -> bytes:
        """For the history, in the agent's own state folder."""
        values = [[_text(v) for v in known] for known in self.values]
        head = json.dumps({"rows": len(self.entity), "values": values, "exact": list(self.rests)}).encode()
        measured = (*self.sums.values(), *self.counts.values(), *self.rests.values())
        arrays = (self.codes.astype("<i4"), self.entity, self.lines, *measured)
        return zlib.compress(len(head).to_bytes(8, "little") + head + b"".join(a.tobytes() for a in arrays), 1)

    @classmethod
    def from_blob(cls, variant: Variant, blob: bytes) -> Crowd:
        data = zlib.decompress(blob)
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        # A history from before sums were kept exactly has none that are.
        rows, width, place, exact = head["rows"], len(variant.columns), 8 + size, head.get("exact", [])
        codes = np.frombuffer(data, "<i4", rows * width, place).reshape(rows, width).astype(np.int64)
        place += rows * width * 4
        entity = np.frombuffer(data, np.uint64, rows, place)
        arrays = 1 + 2 * len(variant.measures) + len(exact)
        floats = np.frombuffer(data, float, rows * arrays, place + rows * 8).reshape(arrays, rows)
        values = tuple(
            tuple(_typed(v, kind) for v in known)
            for kind, known in zip(variant.columns.values(), head["values"], strict=True)
        )
        after = 1 + len(variant.measures)
        sums = dict(zip(variant.measures, floats[1:after], strict=True))
        counts = dict(zip(variant.measures, floats[after : after + len(variant.measures)], strict=True))
        rests = dict(zip(exact, floats[arrays - len(exact) :], strict=True))
        return cls(variant, values, codes, entity, floats[0], sums, counts, rests)

    @property
    def id(self) -> str:
        """Equal for equal rows; of a sorted crowd."""
        return sha256(canonical_json([self.variant.name, sha256(zlib.decompress(self.to_blob()))]))


# ---- one space of base cells -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ground:
    """Base cells and who is in them. cell, person: of each element; person -1 is nobody.

    codes: column -> of each base cell its value's number, -1 for none. present: [cells, crowds].
    weight: an element's contribution, None where only people count. dominance: the rule on weights.
    """

    codes: Mapping[str, Ints]
    present: Bools
    cell: Ints
    person: Ints
    k: int
    weight: Floats | None = None
    dominance: Dominance = Dominance()

    @property
    def cells(self) -> int:
        return len(self.present)

    @cached_property
    def people(self) -> Ints:
        """How many persons are in each base cell, in whatever crowd."""
        return self.atoms(np.arange(self.cells), self.cells).sizes

    def atoms(self, atom_of: Ints, count: int) -> Atoms:
        """atom_of: the atom of each base cell, -1 for those that are left out."""
        atom, person = atom_of[self.cell], self.person
        known = (person >= 0) & (atom >= 0)
        size = int(person.max(initial=-1)) + 1
        pairs, which = np.unique(atom[known] * size + person[known], return_inverse=True)
        weights: Floats | None = None
        if self.weight is not None:
            weights = np.bincount(which.reshape(-1), self.weight[known], len(pairs)).astype(np.float64)
        return Atoms(count, pairs // max(size, 1), pairs % max(size, 1), weights, self.k, self.dominance)


@dataclass(frozen=True)
class Atoms:
    """Distinct (atom, person) pairs, by atom, with what the person contributes to the atom."""

    count: int
    atom: Ints
    person: Ints
    weight: Floats | None
    k: int
    dominance: Dominance

    @property
    def sizes(self) -> Ints:
        """How many persons are in each atom."""
        return np.bincount(self.atom, minlength=self.count)

    @property
    def big(self) -> Bools:
        return self.sizes >= self.k

    @property
    def pairs(self) -> Ints:
        """One number for each pair."""
        return self.person * self.count + self.atom

    @property
    def dominated(self) -> Ints:
        """The atoms in which one person outweighs the others."""
        if self.weight is None:
            return np.zeros(0, dtype=np.int64)
        beyond = [rule.excess_of(self.atom, self.weight) > 0 for rule in self._rules()]
        return np.unique(self.atom[np.any(beyond, axis=0)]) if beyond else np.zeros(0, dtype=np.int64)

    def outweighed(self, span: Span) -> bool:
        """Whether one person may dominate a combination."""
        if self.weight is None or not self.dominance:
            return False
        for rule in self._rules():
            # Under a share below one half several may dominate one atom, not the largest alone.
            own_excess = rule.excess_of(self.atom, self.weight)
            giants = np.unique(self.person[own_excess > 0])
            groups, slack = [], []
            for giant in giants:
                own = np.zeros(self.count)
                mine = self.person == giant
                own[self.atom[mine]] = self.weight[mine]
                room = -rule.excess(own)
                groups.append([(int(a), float(-room[a])) for a in np.flatnonzero(room < 0)])
                slack.append(np.maximum(room, 0))
            if overweighs(span, groups, slack, self._total(self.weight)):
                return True
        return False

    def _total(self, weight: Floats) -> Floats:
        return np.bincount(self.atom, weight, self.count).astype(np.float64)

    def _rules(self) -> Iterable[_Rule]:
        if self.weight is None:
            return
        total = self._total(self.weight)
        order = np.lexsort((-self.weight, self.atom))
        starts = np.searchsorted(self.atom, np.arange(self.count))
        largest = np.zeros(self.count, dtype=np.int64)
        live = np.flatnonzero(np.bincount(self.atom, minlength=self.count))
        largest[live] = order[starts[live]]
        first = np.zeros(self.count)
        first[live] = self.weight[largest[live]]
        second = np.zeros(self.count)
        more = live[np.bincount(self.atom, minlength=self.count)[live] > 1]
        second[more] = self.weight[order[starts[more] + 1]]
        if self.dominance.share is not None:
            yield _Rule(total * self.dominance.share / 100, 1.0)
        if self.dominance.percent is not None:
            yield _Rule(total, 1 + self.dominance.percent / 100, first, second)


@dataclass(frozen=True)
class _Rule:
    """An entity of weight x dominates where factor * x > allowed, less the largest of the others if that counts."""

    allowed: Floats
    factor: float
    first: Floats | None = None
    second: Floats | None = None

    def excess(self, own: Floats) -> Floats:
        """own: what one entity has, per atom."""
        return self.excess_of(np.arange(len(own)), own)

    def excess_of(self, atom: Ints, own: Floats) -> Floats:
        """own: what somebody has in each of these atoms."""
        beyond: Floats = self.factor * own - self.allowed[atom]
        if self.first is not None and self.second is not None:
            beyond = beyond + np.where(own >= self.first[atom], self.second[atom], self.first[atom])
        return beyond


@dataclass(frozen=True)
class Space:
    """The answers over one ground so far: which atoms they tell apart, and their span."""

    ground: Ground
    atom_of: Ints
    atoms: int
    span: Span

    @classmethod
    def over(cls, ground: Ground) -> Space:
        return cls(ground, np.zeros(ground.cells, dtype=np.int64), 1, Span.empty())

    def follows(self, labels: Ints, cells: int) -> Bools:
        """Of each cell, whether it is a sum of whole atoms, and in the span. labels: as in `with_answer`."""
        pairs = np.unique(self.atom_of * (cells + 1) + labels + 1)
        atom, label = pairs // (cells + 1), pairs % (cells + 1) - 1
        split = np.bincount(atom, minlength=self.atoms) > 1
        found = np.ones(cells, dtype=bool)
        found[label[split[atom] & (label >= 0)]] = False
        vectors = np.zeros((cells, self.atoms))
        vectors[label[label >= 0], atom[label >= 0]] = 1
        at = np.flatnonzero(found)
        found[at] = self.span.holds(vectors[at])
        return found

    def with_answer(self, labels: Ints, cells: int, known: bool = False) -> Space | None:
        """The space with one more answer, None if that discloses. labels: each base cell's cell, or -1.

        known: it was given before, whatever it discloses. Raises OverflowError where that cannot be told any more.
        """
        keyed, atom_of = np.unique(self.atom_of * (cells + 1) + labels + 1, return_inverse=True)
        parent, label = keyed // (cells + 1), keyed % (cells + 1) - 1
        if len(keyed) > MAX_ATOMS and not known:
            raise OverflowError("too many atoms")
        if cells > MAX_RANK and not known:  # cells of one question have nothing in common: they are independent
            raise OverflowError("too many independent cells")
        vectors = (label[None, :] == np.arange(cells)[:, None]).astype(float)
        vectors = vectors[vectors.any(axis=1)]
        atoms = self.ground.atoms(atom_of.reshape(-1), len(keyed))
        big = atoms.big
        finer = len(keyed) > self.atoms or (parent != np.arange(len(keyed))).any()
        span = (self.span.split(parent, big) if finer else self.span).add(vectors, big)
        fresh = Space(self.ground, atom_of.reshape(-1), len(keyed), span)
        if known or span.rank == self.span.rank:
            return fresh
        if span.rank > MAX_RANK:
            raise OverflowError("too many independent cells")
        if isolates(span.hidden(big), atoms.atom, atoms.person, self.ground.k, span.prime) or atoms.outweighed(span):
            return None
        return fresh


# ---- crowds laid over each other -------------------------------------------------------------------------


class Terrain:
    """All crowds of a family, laid over each other by entity and base columns.

    Raises OverflowError where that has too many rows, or cannot be done.
    """

    def __init__(self, crowds: Sequence[Crowd]) -> None:
        self._crowds = crowds
        self._numbers: dict[str, dict[str | None, int]] = {}
        base = crowds[0].variant.base
        if not all(c.variant.meets(crowds[-1].variant) for c in crowds):
            raise OverflowError("the dimensions of the family, or what is counted, have changed")
        coded = [self._coded(c) for c in crowds]
        keys = [np.concatenate([codes[c] for codes in coded]) for c in base]
        keys.append(np.concatenate([c.entity for c in crowds]).view(np.int64))
        groups, group = _dense(keys)
        if groups * len(crowds) > MAX_ELEMENTS:
            raise OverflowError("too many elements")
        self._row = np.full((groups, len(crowds)), -1, dtype=np.int64)
        self._codes = {c: np.full(groups, -1, dtype=np.int64) for codes in coded for c in codes}
        entity = np.zeros(groups, dtype=np.uint64)
        start = 0
        for i, (crowd, codes) in enumerate(zip(crowds, coded, strict=True)):
            mine = group[start : start + len(crowd.entity)]
            start += len(mine)
            self._row[mine, i] = np.arange(len(mine))
            if int((self._row[:, i] >= 0).sum()) < len(mine):
                raise OverflowError("rows that nothing tells apart")
            entity[mine] = crowd.entity
            for c, numbers in codes.items():
                self._codes[c][mine] = numbers
        persons, person = np.unique(entity, return_inverse=True)
        self._person = np.where(persons == NOBODY, -1, np.arange(len(persons)))[person.reshape(-1)]

    def _coded(self, crowd: Crowd) -> dict[str, Ints]:
        """A crowd's codes, column by column, in one numbering of values for all crowds."""
        found = {}
        for i, column in enumerate(crowd.variant.columns):
            known = self._numbers.setdefault(column, {})
            table = np.array([known.setdefault(_text(v), len(known)) for v in crowd.values[i]] or [0], dtype=np.int64)
            found[column] = table[crowd.codes[:, i]]
        return found

    def people(self, k: int) -> Ground:
        """The ground of counts: who has how many lines."""
        return self._ground([_steps(self._matrix(lambda c: c.lines))], k)

    def measure(self, name: str, k: int, dominance: Dominance) -> Ground | None:
        """The ground of a measure's sums and averages; None where that of counts says the same."""
        has = [c for c in self._crowds if name in c.variant.measures]
        if len(self._crowds) == 1 and not dominance and all((c.counts[name] > 0).all() for c in has):
            return None
        sums, rests = self._matrix(lambda c: c.sums.get(name)), self._matrix(lambda c: c.rests.get(name))
        exact = all(name in c.rests for c in has)
        gains, losses = (
            _steps(np.where(side > 0, side, 0), np.where(side > 0, rest, 0), exact)
            for side, rest in ((sums, rests), (-sums, -rests))
        )
        # Who has a value is told by an average, though the sum stays the same.
        counted = _steps(self._matrix(lambda c: c.counts.get(name)))
        return self._ground([gains, losses, replace(counted, amount=np.zeros_like(counted.amount))], k, dominance)

    def _matrix(self, of: Callable[[Crowd], Floats | None]) -> Floats:
        """[rows, crowds]: what each crowd has in a row, 0 where it has nothing."""
        found = np.zeros(self._row.shape)
        for i, crowd in enumerate(self._crowds):
            values = of(crowd)
            if values is not None and len(values):
                there = self._row[:, i] >= 0
                found[there, i] = values[self._row[there, i]]
        return found

    def _ground(self, parts: Sequence[_Steps], k: int, dominance: Dominance | None = None) -> Ground:
        row, present = np.concatenate([p.row for p in parts]), np.concatenate([p.present for p in parts])
        amount, sure = np.concatenate([p.amount for p in parts]), np.concatenate([p.sure for p in parts])
        bits = present @ (1 << np.arange(present.shape[1]))
        cells, cell = _dense([*(codes[row] for codes in self._codes.values()), bits])
        first = np.zeros(cells, dtype=np.int64)
        first[cell[::-1]] = np.arange(len(cell))[::-1]
        codes = {c: numbers[row[first]] for c, numbers in self._codes.items()}
        weight = None if dominance is None else amount
        person = np.where(sure, self._person[row], -1)
        return Ground(codes, present[first], cell, person, k, weight, dominance or Dominance())

    def labels(self, ground: Ground, crowd: int, question: Question) -> Ints:
        """For each base cell the number of the question's cell in which it lies, or -1."""
        columns = self._crowds[crowd].variant.columns
        inside = ground.present[:, crowd].copy()
        for p in question.predicates:
            passes = np.array([_passes(_typed(t, columns[p.column]), p) for t in self._numbers[p.column]] + [False])
            inside &= passes[ground.codes[p.column]]
        asked = [
            np.array([self._numbers[key].get(_text(cell[i]), -2) for cell in question.cells], dtype=np.int64)
            for i, key in enumerate(question.keys)
        ]
        _, number = _dense([np.concatenate([ground.codes[k], a]) for k, a in zip(question.keys, asked, strict=True)]
                           or [np.zeros(ground.cells + len(question.cells), dtype=np.int64)])  # fmt: skip
        mine, wanted = number[: ground.cells], number[ground.cells :]
        order = np.argsort(wanted)
        if not len(order):
            return np.full(ground.cells, -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(wanted[order], mine), len(order) - 1)
        hit = inside & (wanted[order][at] == mine)
        return np.where(hit, order[at], -1).astype(np.int64)


def _dense(keys: Sequence[Ints]) -> tuple[int, Ints]:
    """(how many, number) of the distinct combinations of several arrays; never overflows, however many there are."""
    number = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        values, place = np.unique(key, return_inverse=True)
        _, number = np.unique(number * max(len(values), 1) + place.reshape(-1), return_inverse=True)
        number = number.reshape(-1).astype(np.int64)
    return int(number.max(initial=-1)) + 1, number


@dataclass(frozen=True)
class _Steps:
    """Elements: of which row, [elements, crowds] which crowds have it, how much it is, and whether it surely is.

    What may be rounding is there, so that it is not told as if it were nothing, and is nobody's, so that it does not
    hide who did change.
    """

    row: Ints
    present: Bools
    amount: Floats
    sure: Bools


def _steps(matrix: Floats, rests: Floats | None = None, exact: bool = True) -> _Steps:
    """What rows have in common in all crowds, and beyond that in some.

    matrix: [rows, crowds], nothing negative; rests: what is left of its values, to be compared where they are equal.
    Amounts 3, 3, 5 are 3 in all crowds and 2 more in the last. exact: no difference is rounding.
    """
    crowds = matrix.shape[1]
    rests = np.zeros_like(matrix) if rests is None else rests
    order = np.lexsort((rests, matrix), axis=1)
    ranked = np.take_along_axis(matrix, order, axis=1)
    more = np.diff(ranked, axis=1, prepend=0.0)
    finer = np.diff(np.take_along_axis(rests, order, axis=1), axis=1, prepend=0.0)
    row, step = np.nonzero((more != 0) | (finer != 0))
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(crowds), order.shape), axis=1)
    sure = exact | (more > ROUNDING * ranked)[row, step]
    return _Steps(row, rank[row] >= step[:, None], more[row, step] + finer[row, step], sure)


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


# ---- one family's answers --------------------------------------------------------------------------------

COUNTS = ""


@dataclass(frozen=True)
class Answer:
    """What was told of a crowd, under which rules."""

    crowd: int
    question: Question
    rules: Rules


class Field:
    """The crowds of one family and all answers over them. Not safe for use from several threads."""

    def __init__(self, crowds: Sequence[Crowd], rules: Iterable[Rules], history: Iterable[Answer] = ()) -> None:
        """rules: of answers to come; those of the history are known. Raises OverflowError if it is too large."""
        known = list(history)
        self.crowds = list(crowds)
        self._rules = [*rules, *(a.rules for a in known)]
        self._terrain = Terrain(self.crowds)
        self._spaces: dict[tuple[str, int], Space] = {}
        floors = sorted({r.k for r in self._rules})
        for measure in (COUNTS, *dict.fromkeys(m for c in crowds for m in c.variant.measures)):
            rule = _strictest(self._rules)
            ground = self._terrain.measure(measure, floors[0], rule) if measure else self._terrain.people(floors[0])
            if ground is None:
                continue
            for k in floors:
                # All answers are in the space of the lowest floor: who dominates nothing there does so in no other.
                dominance = ground.dominance if k == floors[0] else Dominance()
                self._spaces[measure, k] = Space.over(replace(ground, k=k, dominance=dominance))
        for answer in known:
            self.replay(answer)

    def covers(self, rules: Rules) -> bool:
        """Whether an answer under these rules can be judged."""
        known = _strictest(self._rules)
        return any(r.k == rules.k for r in self._rules) and _strictest([*self._rules, rules]) == known

    def labels(self, crowd: int, question: Question) -> Ints:
        """Of each base cell the number of the cell in which it lies: equal for equal questions in other words."""
        ground = next(s.ground for (measure, _), s in self._spaces.items() if measure == COUNTS)
        return self._terrain.labels(ground, crowd, question)

    def replay(self, answer: Answer) -> None:
        """Take an answer that was given."""
        found = self._with(answer, known=True)
        assert found is not None, "known answers are never refused"
        self._spaces = found

    def admit(self, answer: Answer, whole: bool = False) -> Question | None:
        """Take as much of an answer as discloses nothing: the question with those cells, None if there are none.

        whole: all of it, or nothing.
        """
        question = answer.question
        follows = self._follows(answer)
        chosen = np.flatnonzero(follows).tolist()
        rest = np.flatnonzero(~follows).tolist()
        pending = [rest] if rest else []
        trials = 0
        # Looking for the cells that can be given takes a test each: fewer where tests are long.
        most = min(MAX_TRIALS, 1 + TRIAL_WORK // (1 + max(s.span.rows.size for s in self._spaces.values())))
        while pending and trials < (1 if whole else most):
            part = pending.pop()
            trials += 1
            found = self._with(
                replace(answer, question=replace(question, cells=tuple(question.cells[i] for i in part)))
            )
            if found is not None:
                chosen += part
                self._spaces = found
            elif len(part) > 1:
                pending += [part[len(part) // 2 :], part[: len(part) // 2]]
        if not chosen or (whole and len(chosen) < len(question.cells)):
            return None
        return replace(question, cells=tuple(question.cells[i] for i in sorted(chosen)))

    def were_few(self, answer: Answer, before: int) -> Bools:
        """Of each cell, whether fewer than k entities were in it in another crowd, or fewer with a value."""
        found = np.zeros(len(answer.question.cells), dtype=bool)
        for ground, _, then in self._compared(answer, before):
            # Most have a base cell of k: only in the others entities need to be told apart.
            many = np.unique(then[(then >= 0) & (ground.people >= answer.rules.k)])
            few = ground.atoms(np.where(np.isin(then, many), -1, then), len(found)).sizes < answer.rules.k
            few[many] = False
            found |= few
        return found

    def changed_few(self, answer: Answer, before: int) -> Bools:
        """Of each cell, whether what changed in it since another crowd tells of few.

        That is of somebody, but of fewer than k, as entities, as lines or in a measure; or one of them outweighs the
        others.
        """
        cells, k = len(answer.question.cells), answer.rules.k
        found = np.zeros(cells, dtype=bool)
        for ground, now, then in self._compared(answer, before):
            moved = np.where(now == then, -1, np.maximum(now, then))
            change, there, here = (ground.atoms(labels, cells) for labels in (moved, then, now))
            came_or_left = np.bincount(np.setxor1d(there.pairs, here.pairs) % max(cells, 1), minlength=cells)
            few = (change.sizes < k) | ((came_or_left > 0) & (came_or_left < k))
            few[change.dominated] = True
            found |= few & np.isin(np.arange(cells), moved)
        return found

    def _compared(self, answer: Answer, before: int) -> Iterator[tuple[Ground, Ints, Ints]]:
        """The grounds that an answer concerns, each with the answer's labels now and in another crowd."""
        for _, space, now in self._concerned(answer):
            yield space.ground, now, self._terrain.labels(space.ground, before, answer.question)

    def _follows(self, answer: Answer) -> Bools:
        """Of each cell, whether it follows from earlier answers, so that telling it again discloses nothing."""
        found = np.ones(len(answer.question.cells), dtype=bool)
        for _, space, labels in self._concerned(answer):
            found &= space.follows(labels, len(found))
        return found

    def _concerned(self, answer: Answer) -> Iterator[tuple[tuple[str, int], Space, Ints]]:
        """The spaces that an answer enters, of its floor and of lower ones: (name, space, the answer's labels)."""
        for (measure, k), space in self._spaces.items():
            if k <= answer.rules.k and measure in (COUNTS, *answer.question.measures):
                yield (measure, k), space, self._terrain.labels(space.ground, answer.crowd, answer.question)

    def _with(self, answer: Answer, known: bool = False) -> dict[tuple[str, int], Space] | None:
        """All spaces with one more answer, None if that discloses or cannot be told any more."""
        spaces = dict(self._spaces)
        for name, space, labels in self._concerned(answer):
            try:
                fresh = space.with_answer(labels, len(answer.question.cells), known)
            except OverflowError:
                return None
            if fresh is None:
                return None
            spaces[name] = fresh
        return spaces


def _strictest(rules: Iterable[Rules]) -> Dominance:
    found = [r.dominance for r in rules]
    shares = [d.share for d in found if d.share is not None]
    percents = [d.percent for d in found if d.percent is not None]
    return Dominance(min(shares, default=None), max(percents, default=None))


# ---- the history -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """An answer on its way out. family: what it is held against. asked: canonical text of the question and of the
    terms on which it is answered (floor, rounding, noise): only the same may be given the same answer again.

    mark: equal while the data are. crowd: makes the crowd, if it is needed. answer: (bytes, note) of what is given,
    to be kept. moment: now, local; epoch: how long an answer binds, `day` to `year`.
    """

    family: str
    variant: Variant
    rules: Rules
    question: Question
    asked: str
    mark: str
    crowd: Callable[[], Crowd]
    answer: Callable[[Question], tuple[bytes, str]]
    moment: datetime
    epoch: str

    @property
    def epoch_name(self) -> str:
        return epoch_of(self.moment, self.epoch)


@dataclass(frozen=True)
class Given:
    """What may be given: the question with the cells that are left, or an old answer (an Arrow stream) and its note."""

    question: Question
    old: tuple[bytes, str] | None = None


@dataclass
class _Family:
    """A field with the names of its crowds, whether they are kept in the history, and where to find them."""

    field: Field
    ids: list[str]
    kept: list[bool]
    marks: dict[tuple[str, str], int]
    epochs: frozenset[str]


class Guard:
    """The history of one agent, in a file, and the test against it. Safe for use from several threads.

    mark: of the file as it is now. lost: whether the ledger tells of another file, or of a later state of this one;
    what was told then is not known, so nothing is given out.
    """

    def __init__(self, path: Path, who: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.execute("PRAGMA journal_mode=WAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._create()
        elif version != _VERSION:
            # To begin anew would forget what was told, and what is told next could be held against it.
            self._db.close()
            raise ValueError(
                f"{path.name} has layout {version}, this agent reads {_VERSION}: its answers bind till their epochs "
                "end; move the file away then, not before"
            )
        self._who = who
        self._lock = threading.Lock()
        self._families: dict[str, _Family] = {}
        self.mark = mark_of(self._db)
        self.lost = False

    def expect(self, witness: Witness | None) -> None:
        """Hold the file against what the ledger told of it last."""
        self.lost = witness is not None and not witness.is_met(self.mark)

    def _check(self) -> None:
        if self.lost:
            raise AccessDenied(
                "What this department told in earlier sums is not known any more: its history is missing, or older "
                "than its ledger.", Outcome.DISCLOSURE, who=self._who, rule="guard history",
                hint="Its owner puts the file back, or decides to begin a new history.",
            )  # fmt: skip

    def _create(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "CREATE TABLE crowds (family TEXT, id TEXT, variant TEXT, rows BLOB, PRIMARY KEY (family, id))"
        )
        self._db.execute(
            "CREATE TABLE answers (number INTEGER PRIMARY KEY, family TEXT, crowd TEXT, id TEXT, question TEXT, "
            "rules TEXT, asked TEXT, epoch TEXT, answer BLOB, note TEXT, UNIQUE (family, crowd, id, asked, epoch))"
        )
        self._db.execute("CREATE TABLE steady (family TEXT PRIMARY KEY, epoch TEXT, rows BLOB)")
        self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self._db.execute("COMMIT")

    def release(self, ask: Ask) -> Given:
        """What may be given of an answer, recorded; test and record are one step.

        Raises AccessDenied(DISCLOSURE).
        """
        self._check()
        with self._lock:
            kept = self._db.execute(
                "SELECT crowd, question, answer, note FROM answers WHERE family = ? AND asked = ? AND epoch = ? "
                "ORDER BY number",
                (ask.family, ask.asked, ask.epoch_name),
            ).fetchall()
            try:
                given = self._anew(ask, [(of, text) for of, text, *_ in kept])
            except OverflowError:
                given = None
            if given is not None:
                return given
            if kept:
                return Given(ask.question, (bytes(kept[-1][2]), str(kept[-1][3])))
        raise AccessDenied(
            f"This answer, together with earlier ones, would single out fewer than {ask.rules.k} entities"
            + (", or one that makes most of a sum." if ask.rules.dominance else "."),
            Outcome.DISCLOSURE, who=self._who, rule="differencing guard",
            hint="Ask for coarser cells, or for the cells that were asked for before.",
        )  # fmt: skip

    def steady(self, family: str, epoch: str, merge: Callable[[pa.Table | None], pa.Table]) -> pa.Table:
        """The rows that sums without small base cells are made of, kept till the epoch ends.

        merge: from the kept rows (None: none are) to those that now hold. Raises what merge raises, and
        AccessDenied(DISCLOSURE) where what was kept is lost.
        """
        self._check()
        with self._lock:
            row = self._db.execute(
                "SELECT rows FROM steady WHERE family = ? AND epoch = ?", (family, epoch)
            ).fetchone()  # fmt: skip
            kept = None if row is None else _read_stream(row[0])
            found = merge(kept)
            if kept is None or not found.equals(kept):
                with self._changing():
                    self._db.execute("INSERT OR REPLACE INTO steady VALUES (?, ?, ?)", (family, epoch, _stream(found)))
        return found

    def _anew(self, ask: Ask, kept: Sequence[tuple[str, str]]) -> Given | None:
        """What may be given of the data as they are now, None if nothing may, or what was given last is to stay.

        kept: (crowd, question) of the answers that were given in these words and this epoch. Raises OverflowError.
        """
        family, crowd = self._family(ask)
        if kept and kept[-1][0] == family.ids[crowd]:
            return None
        part = self._still_absent(family, crowd, ask)
        if kept and (part.question != ask.question or any(_shows_few(family, crowd, ask, *one) for one in kept)):
            return None
        # An answer that was given is not replaced by a part of another.
        return self._admit(family, crowd, part, whole=bool(kept))

    def _still_absent(self, family: _Family, crowd: int, ask: Ask) -> Ask:
        """Without cells that had few in data that were asked about in an epoch that lasts, and changed by few since."""
        marks = ", ".join("?" * len(family.epochs))
        binding = {i for (i,) in self._db.execute(
            f"SELECT crowd FROM answers WHERE family = ? AND epoch IN ({marks})", (ask.family, *sorted(family.epochs))
        )}  # fmt: skip
        question = ask.question
        absent = np.zeros(len(question.cells), dtype=bool)
        named = {*question.keys, *(p.column for p in question.predicates)}
        for before, (name, then) in enumerate(zip(family.ids, family.field.crowds, strict=True)):
            same = (then.variant.relation, then.variant.filters) == (ask.variant.relation, ask.variant.filters)
            if before != crowd and name in binding and same and named <= then.variant.columns.keys():
                at = np.flatnonzero(family.field.were_few(Answer(crowd, question, ask.rules), before))
                few = replace(question, cells=tuple(question.cells[i] for i in at))
                absent[at] |= family.field.changed_few(Answer(crowd, few, ask.rules), before)
        left = tuple(question.cells[i] for i in np.flatnonzero(~absent))
        return replace(ask, question=replace(question, cells=left))

    def _admit(self, family: _Family, crowd: int, ask: Ask, whole: bool) -> Given | None:
        crowd_id = family.ids[crowd]
        labels = sha256(family.field.labels(crowd, ask.question).tobytes())
        name = sha256(canonical_json([
            labels, sorted(ask.question.measures), list(ask.question.keys), ask.rules.to_json(),
        ]))  # fmt: skip
        known = self._db.execute(
            "SELECT question, asked, epoch FROM answers WHERE family = ? AND crowd = ? AND id = ?",
            (ask.family, crowd_id, name),
        ).fetchall()
        if not ask.question.cells:
            given: Question | None = ask.question
        elif known:
            given = Question.from_json(known[0][0], ask.variant.columns)
        else:
            given = family.field.admit(Answer(crowd, ask.question, ask.rules), whole)
        if given is None or (whole and len(given.cells) < len(ask.question.cells)):
            return None
        # Told again it binds anew, in this epoch and in these words.
        if any((asked, epoch) == (ask.asked, ask.epoch_name) for _, asked, epoch in known):
            return Given(given)
        answer, note = ask.answer(given)
        try:
            with self._changing():
                if not family.kept[crowd]:
                    self._db.execute(
                        "INSERT OR IGNORE INTO crowds VALUES (?, ?, ?, ?)",
                        (ask.family, crowd_id, ask.variant.to_json(), family.field.crowds[crowd].to_blob()),
                    )
                self._db.execute(
                    "INSERT INTO answers (family, crowd, id, question, rules, asked, epoch, answer, note) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (ask.family, crowd_id, name, given.to_json(), ask.rules.to_json(), ask.asked, ask.epoch_name,
                     answer, note),
                )  # fmt: skip
        except BaseException:
            self._families.pop(ask.family, None)
            raise
        family.kept[crowd] = True
        return Given(given)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction, and the next mark; all of it, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            mark = grow(self._db)
            if mark != self.mark.next:  # somebody wrote another file over it while it was open
                self.lost = True
                self._check()
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        self.mark = mark

    def _family(self, ask: Ask) -> tuple[_Family, int]:
        """The family with the crowd of this answer in it. Raises OverflowError if that is too much."""
        epochs = frozenset(epoch_of(ask.moment, length) for length in EPOCHS)
        before = self._families.get(ask.family)
        if before is not None and before.epochs == epochs and before.field.covers(ask.rules):
            at = before.marks.get((ask.variant.name, ask.mark))
            if at is not None:
                return before, at
        crowd = ask.crowd().sorted()
        crowd_id = crowd.id
        self._forget(ask, crowd_id, epochs)
        rows = self._db.execute(
            "SELECT id, variant, rows FROM crowds WHERE family = ? ORDER BY rowid", (ask.family,)
        ).fetchall()
        known = {i: Crowd.from_blob(Variant.from_json(v), b) for i, v, b in rows if i != crowd_id}
        if len(known) >= MAX_CROWDS:
            raise OverflowError("too many crowds")
        crowds = [*known.values(), crowd]
        ids = [*known, crowd_id]
        history = [
            Answer(ids.index(of), question, Rules.from_json(r))
            for of, text, r in self._db.execute(
                "SELECT crowd, question, rules FROM answers WHERE family = ? GROUP BY crowd, id ORDER BY min(number)",
                (ask.family,),
            ).fetchall()
            if (question := Question.from_json(text, crowds[ids.index(of)].variant.columns)).cells
        ]
        marks = {} if before is None else {
            mark: ids.index(before.ids[i]) for mark, i in before.marks.items() if before.ids[i] in ids
        }  # fmt: skip
        marks[ask.variant.name, ask.mark] = len(ids) - 1
        kept = [i in {r[0] for r in rows} for i in ids]
        family = _Family(Field(crowds, [ask.rules], history), ids, kept, marks, epochs)
        self._families[ask.family] = family
        return family, len(ids) - 1

    def _forget(self, ask: Ask, crowd: str, epochs: frozenset[str]) -> None:
        """Drop answers whose own epoch is over and whose data are no longer so.

        That is known of this variant's other crowds, and of those whose base cells are no longer the family's.
        """
        variants = self._db.execute("SELECT id, variant FROM crowds WHERE family = ?", (ask.family,)).fetchall()
        for other, text in variants:
            variant = Variant.from_json(text)
            if other != crowd and (variant == ask.variant or not variant.meets(ask.variant)):
                marks = ", ".join("?" * len(epochs))
                self._db.execute(
                    f"DELETE FROM answers WHERE family = ? AND crowd = ? AND epoch NOT IN ({marks})",
                    (ask.family, other, *sorted(epochs)),
                )
        self._db.execute(
            "DELETE FROM crowds WHERE family = ? AND id NOT IN (SELECT crowd FROM answers WHERE family = ?)",
            (ask.family, ask.family),
        )

    def close(self) -> None:
        self._db.close()


def _shows_few(family: _Family, crowd: int, ask: Ask, of: str, text: str) -> bool:
    """Whether another answer to the same question has other cells than this one, and for the sake of few.

    of, text: the other's crowd and question.
    """
    now, then = (
        {tuple(map(_text, cell)): cell for cell in cells}
        for cells in (ask.question.cells, Question.from_json(text, ask.variant.columns).cells)
    )
    different = tuple((now | then)[c] for c in now.keys() ^ then.keys())
    if not different:
        return False
    answer = Answer(crowd, replace(ask.question, cells=different), ask.rules)
    return bool(family.field.changed_few(answer, family.ids.index(of)).any())


def _stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _read_stream(blob: bytes) -> pa.Table:
    with pa.ipc.open_stream(blob) as reader:
        return reader.read_all()


def epoch_of(moment: datetime, length: str) -> str:
    """The name of the epoch in which a local moment lies. length: day, month, quarter or year."""
    if length == "quarter":
        return f"{moment.year}-Q{(moment.month + 2) // 3}"
    return moment.strftime({"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}[length])


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
    if kind.name in ("double", "real"):
        return float(text)
    return text
