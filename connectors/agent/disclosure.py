"""The differencing guard: no combination of answers may single out few entities, or one that outweighs the rest.

All released cells of a *family* of relations, of all users (they collude), are 0/1 vectors over base cells: the
non-empty combinations of the declared dimensions. Whoever adds and subtracts answers reaches exactly the linear
span of these vectors. A cell is withheld if the span of old and new would hold a non-zero vector

- whose support has fewer than k distinct entities, or
- for a measure under a dominance rule, in which one entity makes more than the rule allows.

`connectors.agent.span` looks for both. Base cells that lie in the same released cells have equal coefficients in
every vector: they are merged into *atoms*. Whatever is too large to decide is withheld: the guard fails closed.

What is one family: everything counted from one table or view of a source, and the relations that their owner
says belong together. Its answers may come from different grants (other filters, other masks), from related views,
or from data that have changed meanwhile. Each such *crowd* is kept as its entities with their dimensions, and all
crowds are laid over each other by entity and common dimensions: an atom is then what no answer tells apart.

An equal question gets an equal answer. Where changed data would single out those who changed, it gets its old
answer until the epoch ends; then answers over data that are no longer so are forgotten.

Not covered: a COUNT(DISTINCT ..) over entities that lie in several base cells tells how many lie in one and not in
another; a refusal tells that somebody is in the difference; other departments' sums over the same people.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import AccessDenied, Outcome
from catalog.exchange import canonical_json, sha256
from catalog.types import TrinoType, parse
from connectors.agent.span import MAX_RANK, Span, isolates, overweighs
from connectors.base import Predicate

__all__ = ["Crowd", "Dominance", "Guard", "Question", "Variant", "discloses", "epoch_of"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
NOBODY = 0
MAX_ATOMS = 4096
MAX_CROWDS = 16
MAX_ELEMENTS = 4_000_000
MAX_TRIALS = 32
TRIAL_WORK = 1_000_000


@dataclass(frozen=True)
class Question:
    """One answer as far as it tells: predicates on dimensions, group keys, the keys of its cells, measures."""

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
class Variant:
    """Whose rows are counted: a relation under the filters and masks of one decision.

    dimensions: name -> a text that names its values' meaning (the mask); columns: their types.
    """

    relation: str
    filters: tuple[str, ...]
    dimensions: Mapping[str, str]
    columns: Mapping[str, TrinoType]
    measures: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return sha256(canonical_json([self.relation, list(self.filters), dict(self.dimensions), list(self.measures)]))

    @property
    def kind(self) -> str:
        """Crowds of one kind have rows that can be compared one by one."""
        return sha256(canonical_json([self.relation, dict(self.dimensions), list(self.measures)]))

    def to_json(self) -> str:
        """Dimensions in their order: the codes of a crowd follow it."""
        dimensions = [[d, meaning, str(self.columns[d])] for d, meaning in self.dimensions.items()]
        return canonical_json([self.relation, list(self.filters), dimensions, list(self.measures)]).decode()

    @classmethod
    def from_json(cls, text: str) -> Variant:
        relation, filters, dimensions, measures = json.loads(text)
        return cls(
            relation, tuple(filters), {d: meaning for d, meaning, _ in dimensions},
            {d: parse(kind) for d, _, kind in dimensions}, tuple(measures),
        )  # fmt: skip


@dataclass(frozen=True)
class Crowd:
    """Who is counted: one row per (dimensions, entity), as they were at one moment.

    codes: [rows, dimensions] into `values`. entity: a hash, 0 for nobody. digest: of the rows' contributions.
    sums: measure -> absolute contributions, NaN where there is no value.
    """

    variant: Variant
    values: tuple[tuple[Any, ...], ...]
    codes: Ints
    entity: npt.NDArray[np.uint64]
    digest: npt.NDArray[np.uint64]
    sums: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, variant: Variant, table: pa.Table) -> Crowd:
        """table: the dimensions, `entity` (uint64, 0 for nobody), `digest` (uint64), `m0`, `m1`, .. (double)."""
        names = list(variant.dimensions)
        coded = [table.column(n).combine_chunks().dictionary_encode(null_encoding="encode") for n in names]
        codes = np.stack(
            [np.zeros(table.num_rows, dtype=np.int64)]
            + [c.indices.to_numpy(zero_copy_only=False).astype(np.int64) for c in coded],
            axis=1,
        )[:, 1:]
        return cls(
            variant, tuple(tuple(c.dictionary.to_pylist()) for c in coded), codes,
            table.column("entity").to_numpy().astype(np.uint64), table.column("digest").to_numpy().astype(np.uint64),
            {m: np.abs(table.column(f"m{i}").to_numpy().astype(float)) for i, m in enumerate(variant.measures)},
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
        rows = np.lexsort([self.digest, self.entity, *codes.T])
        sums = {m: s[rows] for m, s in self.sums.items()}
        return Crowd(self.variant, tuple(values), codes[rows], self.entity[rows], self.digest[rows], sums)

    def to_blob(self) -> bytes:
        """For the history, in the agent's own state folder."""
        values = [[_text(v) for v in known] for known in self.values]
        head = json.dumps({"rows": len(self.entity), "values": values}).encode()
        body = b"".join(
            a.tobytes() for a in (self.codes.astype("<i4"), self.entity, self.digest, *self.sums.values())
        )  # fmt: skip
        return zlib.compress(len(head).to_bytes(8, "little") + head + body, 1)

    @classmethod
    def from_blob(cls, variant: Variant, blob: bytes) -> Crowd:
        data = zlib.decompress(blob)
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        rows, place = head["rows"], 8 + size
        width = len(variant.dimensions)
        codes = np.frombuffer(data, "<i4", rows * width, place).reshape(rows, width).astype(np.int64)
        place += rows * width * 4
        entity = np.frombuffer(data, np.uint64, rows, place)
        digest = np.frombuffer(data, np.uint64, rows, place + rows * 8)
        place += rows * 16
        sums = {m: np.frombuffer(data, float, rows, place + i * rows * 8) for i, m in enumerate(variant.measures)}
        values = tuple(
            tuple(_typed(v, variant.columns[d]) for v in known)
            for d, known in zip(variant.dimensions, head["values"], strict=True)
        )
        return cls(variant, values, codes, entity, digest, sums)

    @property
    def id(self) -> str:
        """Equal for equal rows; of a sorted crowd."""
        return sha256(canonical_json([self.variant.name, sha256(zlib.decompress(self.to_blob()))]))


# ---- one space of base cells -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ground:
    """Base cells and who is in them. cell, person: of each element; person -1 is nobody.

    weight: an element's contribution, None where only people count. dominance: the rule on weights.
    """

    cells: int
    cell: Ints
    person: Ints
    k: int
    weight: Floats | None = None
    dominance: Dominance = Dominance()

    def atoms(self, atom_of: Ints, count: int) -> Atoms:
        atom, person = atom_of[self.cell], self.person
        known = person >= 0 if self.weight is None else (person >= 0) & ~np.isnan(self.weight)
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
    def big(self) -> npt.NDArray[np.bool_]:
        return np.bincount(self.atom, minlength=self.count) >= self.k

    def people(self, atom: int) -> frozenset[int]:
        start, end = np.searchsorted(self.atom, [atom, atom + 1])
        return frozenset(self.person[start:end].tolist())

    def outweighed(self, span: Span) -> bool:
        """Whether one person may dominate a combination."""
        if self.weight is None or not self.dominance:
            return False
        total: Floats = np.bincount(self.atom, self.weight, self.count).astype(np.float64)
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
        for rule in self._rules(total, first, second):
            heavy = np.flatnonzero(rule.excess(first) > 0)
            giants = np.unique(self.person[largest[heavy]])
            groups, slack = [], []
            for giant in giants:
                own = np.zeros(self.count)
                mine = self.person == giant
                own[self.atom[mine]] = self.weight[mine]
                room = -rule.excess(own)
                groups.append([(int(a), float(-room[a])) for a in np.flatnonzero(room < 0)])
                slack.append(np.maximum(room, 0))
            if overweighs(span, groups, slack, total):
                return True
        return False

    def _rules(self, total: Floats, first: Floats, second: Floats) -> Iterable[_Rule]:
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
        beyond: Floats = self.factor * own - self.allowed
        if self.first is not None and self.second is not None:
            beyond = beyond + np.where(own >= self.first, self.second, self.first)
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

    def with_answer(self, labels: Ints, cells: int, known: bool = False) -> Space | None:
        """The space with one more answer, None if that discloses. labels: each base cell's cell, or -1.

        known: it was given before, whatever it discloses. Raises OverflowError where that cannot be told any more.
        """
        keyed, atom_of = np.unique(self.atom_of * (cells + 1) + labels + 1, return_inverse=True)
        parent, label = keyed // (cells + 1), keyed % (cells + 1) - 1
        if len(keyed) > MAX_ATOMS and not known:
            raise OverflowError("too many atoms")
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
        if isolates(span.hidden(big), atoms.people, self.ground.k, span.prime) or atoms.outweighed(span):
            return None
        return fresh


# ---- crowds laid over each other -------------------------------------------------------------------------


@dataclass(frozen=True)
class Terrain:
    """Elements and base cells of several crowds. codes: kind -> [cells, dimensions], -1 where it has no row.

    present: [cells, crowds]. cell, person: of each element. sums: their contributions, if all crowds are of one kind.
    """

    codes: Mapping[str, Ints]
    present: npt.NDArray[np.bool_]
    cell: Ints
    person: Ints
    sums: Mapping[str, Floats]


class _Values:
    """One numbering of the values of each dimension over all crowds, by the meaning of the dimension."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str | None, int]] = {}

    def numbers(self, crowd: Crowd) -> Ints:
        """A crowd's codes in the common numbering."""
        columns = []
        for i, (dimension, meaning) in enumerate(crowd.variant.dimensions.items()):
            known = self._numbers.setdefault(f"{dimension}|{meaning}", {})
            table = np.array([known.setdefault(_text(v), len(known)) for v in crowd.values[i]] or [0], dtype=np.int64)
            columns.append(table[crowd.codes[:, i]])
        return np.stack(columns, axis=1) if columns else np.zeros((len(crowd.entity), 0), dtype=np.int64)

    def of(self, variant: Variant, dimension: str) -> Mapping[str | None, int]:
        """Text of a value -> its number; numbers are 0, 1, .. in this order."""
        return self._numbers.get(f"{dimension}|{variant.dimensions[dimension]}", {})


def lay(crowds: Sequence[Crowd], values: _Values) -> Terrain:
    """Crowds over each other. Raises OverflowError if that has too many elements."""
    kinds: dict[str, list[int]] = {}
    for i, crowd in enumerate(crowds):
        kinds.setdefault(crowd.variant.kind, []).append(i)
    layers = {kind: _layer([crowds[i] for i in which], values) for kind, which in kinds.items()}
    shared = set.intersection(*(set(_meanings(crowds[w[0]].variant)) for w in kinds.values()))
    common = {k: [i for i, m in enumerate(_meanings(crowds[w[0]].variant)) if m in shared] for k, w in kinds.items()}
    for k, w in kinds.items():
        meanings = _meanings(crowds[w[0]].variant)
        common[k].sort(key=lambda i, meanings=meanings: meanings[i])  # type: ignore[misc]
    keys = [np.concatenate([la.entity[:, None].view(np.int64), la.codes[:, common[k]]], axis=1)
            for k, la in layers.items()]  # fmt: skip
    _, number = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    parts = np.split(number.reshape(-1), np.cumsum([len(k) for k in keys])[:-1])
    joined = np.zeros((0, 0), dtype=np.int64)
    key = np.zeros(0, dtype=np.int64)
    for part in parts:
        joined, key = _outer(joined, key, part)
    entity = np.zeros(len(joined), dtype=np.uint64)
    columns, present = [], np.zeros((len(joined), len(crowds)), dtype=bool)
    for place, (kind, layer) in enumerate(layers.items()):
        rows = joined[:, place]
        there = rows >= 0
        entity[there] = layer.entity[rows[there]]
        codes = np.full((len(joined), layer.codes.shape[1]), -1, dtype=np.int64)
        codes[there] = layer.codes[rows[there]]
        columns.append(codes)
        present[np.ix_(np.flatnonzero(there), np.array(kinds[kind]))] = layer.present[rows[there]]
    cells, cell = np.unique(np.concatenate([*columns, present.astype(np.int64)], axis=1), axis=0, return_inverse=True)
    persons, person = np.unique(entity, return_inverse=True)
    number_of = np.where(persons == NOBODY, -1, np.arange(len(persons)))
    edges = np.cumsum([0, *(c.shape[1] for c in columns)])
    coded = {kind: cells[:, edges[i] : edges[i + 1]] for i, kind in enumerate(layers)}
    sums = next(iter(layers.values())).sums if len(layers) == 1 else {}
    return Terrain(coded, cells[:, edges[-1] :].astype(bool), cell.reshape(-1), number_of[person.reshape(-1)], sums)


@dataclass(frozen=True)
class _Layer:
    """The rows of crowds of one kind, each once, with the crowds that have it."""

    entity: npt.NDArray[np.uint64]
    codes: Ints
    present: npt.NDArray[np.bool_]
    sums: Mapping[str, Floats]


def _layer(crowds: Sequence[Crowd], values: _Values) -> _Layer:
    stacked = np.concatenate([
        np.concatenate([c.entity[:, None].view(np.int64), values.numbers(c), c.digest[:, None].view(np.int64)], axis=1)
        for c in crowds
    ])  # fmt: skip
    whose = np.repeat(np.arange(len(crowds)), [len(c.entity) for c in crowds])
    rows, first, which = np.unique(stacked, axis=0, return_index=True, return_inverse=True)
    present = np.zeros((len(rows), len(crowds)), dtype=bool)
    present[which.reshape(-1), whose] = True
    sums = {m: np.concatenate([c.sums[m] for c in crowds])[first] for m in crowds[0].variant.measures}
    return _Layer(np.ascontiguousarray(rows[:, 0]).view(np.uint64), rows[:, 1:-1], present, sums)


def _meanings(variant: Variant) -> list[str]:
    return [f"{d}|{m}" for d, m in variant.dimensions.items()]


def _outer(joined: Ints, key: Ints, part: Ints) -> tuple[Ints, Ints]:
    """Full outer join of rows so far (with their keys) and the rows of one more layer, by key."""
    if not joined.shape[1]:
        return np.arange(len(part))[:, None], part
    order, right = np.argsort(key, kind="stable"), np.argsort(part, kind="stable")
    low, high = (np.searchsorted(part[right], key[order], side) for side in ("left", "right"))
    matches = high - low
    if int(matches.sum()) > MAX_ELEMENTS:
        raise OverflowError("too many elements")
    left_rows = np.repeat(order, np.maximum(matches, 1))
    ends = np.cumsum(np.maximum(matches, 1))
    within = np.arange(len(left_rows)) - np.repeat(ends - np.maximum(matches, 1), np.maximum(matches, 1))
    found = np.full(len(left_rows), -1, dtype=np.int64)
    hit = np.repeat(matches, np.maximum(matches, 1)) > 0
    found[hit] = right[(np.repeat(low, np.maximum(matches, 1)) + within)[hit]]
    alone = np.flatnonzero(~np.isin(part, key))
    rows = np.concatenate([
        np.concatenate([joined[left_rows], found[:, None]], axis=1),
        np.concatenate([np.full((len(alone), joined.shape[1]), -1, dtype=np.int64), alone[:, None]], axis=1),
    ])  # fmt: skip
    return rows, np.concatenate([key[left_rows], part[alone]])


def labels_of(terrain: Terrain, values: _Values, variant: Variant, crowd: int, question: Question) -> Ints:
    """For each base cell the number of the question's cell in which it lies, or -1."""
    codes = terrain.codes[variant.kind]
    inside = terrain.present[:, crowd].copy()
    place = {d: i for i, d in enumerate(variant.dimensions)}
    for p in question.predicates:
        kind = variant.columns[p.column]
        passes = np.array([_passes(_typed(t, kind), p) for t in values.of(variant, p.column)] + [False])
        inside &= passes[codes[:, place[p.column]]]
    mine = np.zeros(len(codes), dtype=np.int64)
    wanted = np.zeros(len(question.cells), dtype=np.int64)
    for i, key in enumerate(question.keys):
        known = values.of(variant, key)
        size = len(known) + 2
        mine = mine * size + codes[:, place[key]] + 1
        wanted = wanted * size + np.array([known.get(_text(c[i]), len(known)) for c in question.cells], dtype=int) + 1
    order = np.argsort(wanted)
    at = np.minimum(np.searchsorted(wanted[order], mine), len(order) - 1)
    hit = inside & (wanted[order][at] == mine)
    return np.where(hit, order[at], -1).astype(np.int64)


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


@dataclass(frozen=True)
class Rules:
    """What a decision demands: k entities, and of each measure that nobody outweighs the rest."""

    k: int
    dominance: Dominance = Dominance()

    def also(self, other: Rules) -> Rules:
        """What answers under both can be held to together: the lower floor, the stricter rule on sums."""
        mine, theirs = self.dominance, other.dominance
        shares = [s for s in (mine.share, theirs.share) if s is not None]
        percents = [p for p in (mine.percent, theirs.percent) if p is not None]
        return Rules(
            min(self.k, other.k), Dominance(min(shares, default=None), max(percents, default=None))
        )  # fmt: skip


class Field:
    """The crowds of one family and all answers over them. Not safe for use from several threads."""

    def __init__(self, crowds: Sequence[tuple[Crowd, Rules]]) -> None:
        """Raises OverflowError if the crowds are too large to be laid over each other."""
        self.crowds = [c for c, _ in crowds]
        self.rules = [r for _, r in crowds]
        self._values = _Values()
        self._terrain = lay(self.crowds, self._values)
        # Where grants of a family have different floors, their combinations are held to the lowest.
        k = min(r.k for r in self.rules)
        self._floor = Space.over(Ground(len(self._terrain.present), self._terrain.cell, self._terrain.person, k))
        self._kinds: dict[str, tuple[list[int], Terrain]] = {}
        self._sums: dict[tuple[str, str], Space] = {}
        for kind in {c.variant.kind for c in self.crowds}:
            self._add_kind(kind)

    def _add_kind(self, kind: str) -> None:
        which = [i for i, c in enumerate(self.crowds) if c.variant.kind == kind]
        terrain = lay([self.crowds[i] for i in which], self._values)
        self._kinds[kind] = (which, terrain)
        k = min(self.rules[i].k for i in which)
        dominance = next((self.rules[i].dominance for i in reversed(which) if self.rules[i].dominance), Dominance())
        for measure, weight in terrain.sums.items():
            if dominance or np.isnan(weight).any():
                ground = Ground(len(terrain.present), terrain.cell, terrain.person, k, weight, dominance)
                self._sums[kind, measure] = Space.over(ground)

    def labels(self, crowd: int, question: Question) -> Ints:
        return labels_of(self._terrain, self._values, self.crowds[crowd].variant, crowd, question)

    def replay(self, crowd: int, question: Question) -> None:
        """Take an answer that was given."""
        found = self._with(crowd, question, known=True)
        assert found is not None, "known answers are never refused"
        self._floor, self._sums = found

    def admit(self, crowd: int, question: Question) -> Question | None:
        """Take as much of an answer as discloses nothing: the question with those cells.

        None if nothing can be given, or nothing that could not be worked out from earlier answers. Raises
        OverflowError.
        """
        before = self._rank()
        chosen: list[int] = []
        pending = [list(range(len(question.cells)))]
        trials = 0
        best = None
        # Looking for the cells that can be given takes a test each: fewer where tests are long.
        most = min(MAX_TRIALS, 1 + TRIAL_WORK // (1 + self._floor.span.rows.size))
        while pending and trials < most:
            part = pending.pop()
            trials += 1
            cells = tuple(question.cells[i] for i in sorted([*chosen, *part]))
            found = self._with(crowd, replace(question, cells=cells))
            if found is not None:
                chosen, best = [*chosen, *part], found
            elif len(part) > 1:
                pending += [part[len(part) // 2 :], part[: len(part) // 2]]
        if best is None:
            return None
        self._floor, self._sums = best
        if len(chosen) < len(question.cells) and self._rank() == before:
            return None
        return replace(question, cells=tuple(question.cells[i] for i in sorted(chosen)))

    def _rank(self) -> int:
        return self._floor.span.rank + sum(s.span.rank for s in self._sums.values())

    def _with(
        self, crowd: int, question: Question, known: bool = False
    ) -> tuple[Space, dict[tuple[str, str], Space]] | None:
        size = len(question.cells)
        floor = self._floor.with_answer(self.labels(crowd, question), size, known)
        if floor is None:
            return None
        kind = self.crowds[crowd].variant.kind
        which, terrain = self._kinds[kind]
        sums = dict(self._sums)
        for measure in question.measures:
            space = self._sums.get((kind, measure))
            if space is not None:
                labels = labels_of(terrain, self._values, self.crowds[crowd].variant, which.index(crowd), question)
                fresh = space.with_answer(labels, size, known)
                if fresh is None:
                    return None
                sums[kind, measure] = fresh
        return floor, sums


def discloses(crowd: Crowd, rules: Rules, history: Sequence[Question], new: Question) -> bool:
    """Whether answering all of `new` after `history` lets some combination of answers single out too few."""
    ground = Field([(crowd, rules)])
    for question in history:
        ground.replay(0, question)
    try:
        return ground.admit(0, new) != new
    except OverflowError:
        return True


# ---- the history -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """What may be given: the question with the cells that are left, or an old answer (an Arrow stream) and its note."""

    question: Question
    old: tuple[bytes, str] | None = None


class Guard:
    """The history of one agent, in a file, and the test against it. Safe for use from several threads."""

    def __init__(self, path: Path, who: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS crowds (family TEXT, id TEXT, variant TEXT, rules TEXT, rows BLOB, "
            "PRIMARY KEY (family, id))"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, family TEXT, crowd TEXT, id TEXT, "
            "question TEXT, asked TEXT, variant TEXT, epoch TEXT, answer BLOB, note TEXT, UNIQUE (family, crowd, id))"
        )
        self._who = who
        self._lock = threading.Lock()
        self._fields: dict[str, _Family] = {}

    def release(self, ask: Ask) -> Given:
        """What may be given of an answer, recorded; test and record are one step.

        Raises AccessDenied(DISCLOSURE).
        """
        with self._lock:
            try:
                family, crowd = self._family(ask)
            except OverflowError:
                family, crowd = None, -1
            if family is not None:
                try:
                    given = self._admit(family, crowd, ask)
                except OverflowError:
                    given = None
                if given is not None:
                    return given
            old = self._db.execute(
                "SELECT answer, note FROM answers WHERE family = ? AND variant = ? AND asked = ? AND epoch = ? "
                "ORDER BY number DESC LIMIT 1",
                (ask.family, ask.variant.name, ask.asked, ask.epoch),
            ).fetchone()
            if old is not None:
                return Given(ask.question, (bytes(old[0]), str(old[1])))
        raise AccessDenied(
            f"This answer, together with earlier ones, would single out fewer than {ask.rules.k} entities"
            + (", or one that makes most of a sum." if ask.rules.dominance else "."),
            Outcome.DISCLOSURE, who=self._who, rule="differencing guard",
            hint="Ask for coarser cells, or for the cells that were asked for before.",
        )  # fmt: skip

    def _admit(self, family: _Family, crowd: int, ask: Ask) -> Given | None:
        if not ask.question.cells:
            return Given(ask.question)
        crowd_id = family.ids[crowd]
        labels = sha256(family.ground.labels(crowd, ask.question).tobytes())
        name = sha256(canonical_json([labels, sorted(ask.question.measures), list(ask.question.keys)]))
        known = self._db.execute(
            "SELECT question FROM answers WHERE family = ? AND crowd = ? AND id = ?", (ask.family, crowd_id, name)
        ).fetchone()
        if known is not None:
            return Given(Question.from_json(known[0], ask.variant.columns))
        given = family.ground.admit(crowd, ask.question)
        if given is None:
            return None
        answer, note = ask.answer(given)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if not family.kept[crowd]:
                self._db.execute(
                    "INSERT OR IGNORE INTO crowds VALUES (?, ?, ?, ?, ?)",
                    (ask.family, crowd_id, ask.variant.to_json(), _rules_text(family.ground.rules[crowd]),
                     family.ground.crowds[crowd].to_blob()),
                )  # fmt: skip
            self._db.execute(
                "INSERT INTO answers (family, crowd, id, question, asked, variant, epoch, answer, note) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (ask.family, crowd_id, name, given.to_json(), ask.asked, ask.variant.name, ask.epoch, answer, note),
            )
        except BaseException:
            self._db.execute("ROLLBACK")
            self._fields.pop(ask.family, None)
            raise
        self._db.execute("COMMIT")
        family.kept[crowd] = True
        return Given(given)

    def _family(self, ask: Ask) -> tuple[_Family, int]:
        """The family with the crowd of this answer in it. Raises OverflowError if that is too much."""
        family = self._fields.get(ask.family)
        if family is not None:
            at = family.marks.get((ask.variant.name, ask.mark))
            if at is not None and family.epoch == ask.epoch:
                rules = family.ground.rules[at]
                if rules.also(ask.rules) == rules:
                    return family, at
        crowd = ask.crowd().sorted()
        crowd_id = crowd.id
        self._forget(ask, crowd_id)
        rows = self._db.execute(
            "SELECT id, variant, rules, rows FROM crowds WHERE family = ? ORDER BY rowid", (ask.family,)
        ).fetchall()
        crowds = [(i, Crowd.from_blob(Variant.from_json(v), b), _rules_of(r)) for i, v, r, b in rows if i != crowd_id]
        if len(crowds) >= MAX_CROWDS:
            raise OverflowError("too many crowds")
        rules = ask.rules
        for known in (_rules_of(r) for i, _, r, _ in rows if i == crowd_id):
            rules = rules.also(known)
            self._db.execute(
                "UPDATE crowds SET rules = ? WHERE family = ? AND id = ?", (_rules_text(rules), ask.family, crowd_id)
            )
        crowds.append((crowd_id, crowd, rules))
        ground = Field([(c, r) for _, c, r in crowds])
        ids = [i for i, _, _ in crowds]
        for crowd_of, text in self._db.execute(
            "SELECT crowd, question FROM answers WHERE family = ? ORDER BY number", (ask.family,)
        ).fetchall():
            at = ids.index(crowd_of)
            ground.replay(at, Question.from_json(text, crowds[at][1].variant.columns))
        kept = [i in {r[0] for r in rows} for i in ids]
        before = self._fields.get(ask.family)
        marks = {} if before is None else {
            mark: ids.index(before.ids[i]) for mark, i in before.marks.items() if before.ids[i] in ids
        }  # fmt: skip
        marks[ask.variant.name, ask.mark] = len(ids) - 1
        family = self._fields[ask.family] = _Family(ground, ids, kept, marks, ask.epoch)
        return family, len(ids) - 1

    def _forget(self, ask: Ask, crowd: str) -> None:
        """Drop what earlier epochs were told of data that are no longer so."""
        self._db.execute(
            "DELETE FROM answers WHERE family = ? AND variant = ? AND crowd <> ? AND epoch <> ?",
            (ask.family, ask.variant.name, crowd, ask.epoch),
        )
        self._db.execute(
            "DELETE FROM crowds WHERE family = ? AND id NOT IN (SELECT crowd FROM answers WHERE family = ?)",
            (ask.family, ask.family),
        )

    def close(self) -> None:
        self._db.close()


@dataclass(frozen=True)
class Ask:
    """An answer on its way out. family: what it is held against. asked: canonical text of the whole question.

    mark: equal while the data are. crowd: makes the crowd, if it is needed. answer: (bytes, note) of what is given,
    to be kept. epoch: its name.
    """

    family: str
    variant: Variant
    rules: Rules
    question: Question
    asked: str
    mark: str
    crowd: Any
    answer: Any
    epoch: str


@dataclass
class _Family:
    """A field with the names of its crowds, whether they are kept in the history, and where to find them."""

    ground: Field
    ids: list[str]
    kept: list[bool]
    marks: dict[tuple[str, str], int]
    epoch: str


def _rules_text(rules: Rules) -> str:
    return json.dumps([rules.k, rules.dominance.share, rules.dominance.percent])


def _rules_of(text: str) -> Rules:
    k, share, percent = json.loads(text)
    return Rules(k, Dominance(share, percent))


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
    if kind.name == "double":
        return float(text)
    return text
