"""How small the domains of pseudonyms are: of few values, or where one is frequent, a pseudonym protects nothing.

Whoever knows how often a district or a year occurs reads it off its pseudonym's frequency, without any key. So
`atoll agent check` counts, in the silo and for the owner alone: fewer than 1,000 distinct values, or a value that
more than 5 % of all hold, is a warning. Nothing is refused for it, and nothing of it leaves the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from catalog import masks
from catalog.masks.pseudonym import normalise
from catalog.policy import Department, view_files
from catalog.types import BIGINT
from connectors.base import Aggregate, Cancel, GroupKey, NativeScan, OutputColumn, Source, SourceError
from connectors.sources import open_source, parse_source

__all__ = ["FEW", "FREQUENT", "SmallDomain", "small_domains"]

FEW = 1_000
FREQUENT = 0.05
ENOUGH = 1_000_000
"""Distinct values after which the domain is large, whatever else there is."""


@dataclass(frozen=True)
class SmallDomain:
    """distinct: values of the column, as its group's normaliser tells them apart. share: of the most frequent one."""

    relation: str
    column: str
    distinct: int
    share: float

    @property
    def words(self) -> str:
        why = f"has {self.distinct} distinct values" if self.distinct < FEW else "has many values"
        often = f", one of them in {self.share:.0%} of its rows" if self.share > FREQUENT else ""
        return (
            f"relations.{self.relation}.columns.{self.column} {why}{often}: its pseudonyms can be guessed by how often "
            "they occur"
        )


def small_domains(department: Department, folder: Path) -> list[SmallDomain]:
    """Every column that some grant shows as a pseudonym and whose values are few or unevenly spread.

    folder: where department.yaml lies. Raises SourceError, ValueError if a silo does not answer.
    """
    found = []
    for name, entry in department.sources.items():
        wanted = [(r, c, g) for r, c, g in _pseudonyms(department) if department.relations[r].source == name]
        if not wanted:
            continue
        source = open_source(parse_source(entry), folder, folder / department.state / name)
        try:
            for relation, column, group in wanted:
                counts = _counts(source, department, folder, relation, column, group)
                total = sum(counts.values())
                share = max(counts.values(), default=0) / total if total else 0.0
                if total and (len(counts) < FEW or share > FREQUENT):
                    found.append(SmallDomain(relation, column, len(counts), share))
        finally:
            source.close()
    return found


def _pseudonyms(department: Department) -> Iterator[tuple[str, str, str]]:
    """(relation, column, linkage group) of every pseudonym in grants and classes, each column once."""
    listed = [(g.relation, column, text) for g in department.grants for column, text in g.masks.items()]
    listed += [
        (relation, column, department.classes[name].mask)
        for relation, spec in department.relations.items()
        for column, c in spec.columns.items()
        for name in c.classes
        if name in department.classes
    ]
    seen = set()
    for relation, column, text in listed:
        kind, args = masks.parse(text) if text else ("", [])
        if kind == "pseudonym" and (relation, column) not in seen:
            seen.add((relation, column))
            yield relation, column, args[0]


def _counts(
    source: Source, department: Department, folder: Path, relation: str, column: str, group: str
) -> Counter[str]:
    """How often each value occurs, NULL left out."""
    spec = department.relations[relation]
    kind, raw = spec.columns[column].type, spec.columns[column].from_ or column
    text = _view(department, folder, relation) if spec.view else ""
    types = {(c.from_ or n): c.type for n, c in spec.columns.items()}
    allowed = source.capabilities()
    grouped = kind.name in allowed.group_types and "count" in allowed.aggregates
    scan = NativeScan(text or spec.table, bool(text), types)
    if grouped:
        count = Aggregate("count", None, BIGINT, "n")
        scan = replace(scan, group_by=(GroupKey(raw, kind, "k"),), aggregates=(count,))
    else:
        scan = replace(scan, columns=(OutputColumn(raw, kind, "k"),))
    normaliser = department.linkage_groups[group].normaliser
    found: Counter[str] = Counter()
    for batch in source.scan(scan, Cancel()):
        times = batch.column("n").to_pylist() if grouped else [1] * batch.num_rows
        for value, n in zip(batch.column("k").to_pylist(), times, strict=True):
            if value is not None:
                found[normalise(str(value), normaliser)] += n
        if len(found) > ENOUGH:
            break
    return found


def _view(department: Department, folder: Path, relation: str) -> str:
    for file in view_files(department, relation):
        if (folder / file).is_file():
            return (folder / file).read_text(encoding="utf-8").strip().rstrip(";")
    raise SourceError(f"relation {relation} has no file for its view")
