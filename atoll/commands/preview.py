"""What a policy shows to whom, worked out beside the silo by the agent's own decisions.

One view is what a relation shows under one or several purposes: mode, floor, and each column with its
published type and mask. Keys of pseudonyms are not read: the shape of a pseudonym needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog import masks
from catalog.identity import Principal
from catalog.policy import ANYONE, Decision, Department, people, read_hierarchy
from catalog.relation import Mode
from connectors.agent.authorise import Access, Governed

__all__ = ["ANYONE", "View", "cell", "matrix", "views"]


@dataclass(frozen=True)
class View:
    """What a relation shows. users: those named by the grants, or anyone who holds the purpose."""

    relation: str
    user: str
    purposes: tuple[str, ...]
    mode: str
    words: str
    columns: tuple[tuple[str, str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        columns = [{"name": n, "type": t, "shown": s} for n, t, s in self.columns]
        return {
            "relation": self.relation, "user": self.user, "purposes": list(self.purposes), "mode": self.mode,
            "words": self.words, "columns": columns,
        }  # fmt: skip


def views(department: Department, folder: Path, now: datetime | None = None) -> list[View]:
    """Every different view that the grants make, in the order of the relations."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for user in _users(department):
        for purpose in department.purposes:
            access = _access(department, folder, user, purpose, now)
            for name in department.relations:
                governed = access.governed(name)
                if governed is not None:
                    shape = (name, user, governed.mode.name, _words(governed), _columns(governed))
                    found.setdefault(shape, []).append(purpose)
    order = list(department.relations)
    made = [View(n, u, tuple(p), mode, words, columns) for (n, u, mode, words, columns), p in found.items()]
    return sorted(made, key=lambda view: order.index(view.relation))


def matrix(department: Department, folder: Path, now: datetime | None = None) -> list[list[str]]:
    """A row a relation and user: relation, user, then one cell a purpose of the vocabulary."""
    rows = []
    for user in _users(department):
        accesses = [_access(department, folder, user, purpose, now) for purpose in department.purposes]
        for name in department.relations:
            rows.append([name, user, *(cell(access.governed(name)) for access in accesses)])
    return rows


def cell(governed: Governed | None) -> str:
    """One cell of the matrix: `sums >= 10`, `rows, 2 masked, filtered`, `yes/no`, `raw`, or `-` for nothing."""
    if governed is None:
        return "-"
    if governed.mode is Mode.aggregate:
        return f"sums >= {governed.decision.min_group}"
    if governed.mode is Mode.verify:
        return "yes/no"
    if governed.mode is Mode.raw:
        return "raw"
    if governed.mode is not Mode.masked:
        return governed.mode.name
    hidden = len(governed.masks) + len(governed.spec.columns) - len(governed.columns)
    filtered = ", filtered" if governed.decision.filters else ""
    return (f"rows, {hidden} masked" if hidden else "rows") + filtered


def _users(department: Department) -> list[str]:
    return people(department)


def _access(department: Department, folder: Path, user: str, purpose: str, now: datetime | None) -> Access:
    hierarchies = {name: read_hierarchy(folder / file) for name, file in department.hierarchies.items()}
    context = masks.Context(lambda group: _shape(department, group, purpose), hierarchies)
    principal = Principal(user, purpose, (purpose,), "check", 0)
    return Access(department, context, principal, now or datetime.now(UTC))


def _shape(department: Department, group: str, purpose: str) -> masks.LinkageKey:
    spec = department.linkage_groups[group]
    return masks.LinkageKey(purpose, group, spec.epoch, bytes(32), spec.normaliser)


def _words(governed: Governed) -> str:
    decision = governed.decision
    if governed.mode is Mode.aggregate:
        share = f", no one over {decision.largest_share} %" if decision.largest_share else ""
        sums = f"counts and sums of {', '.join(decision.measures)}" if decision.measures else "counts"
        by = ", ".join(decision.dimensions)
        return f"{sums} by {by}, from {decision.min_group} {decision.entity} a cell{share}{_guarded(decision)}"
    if governed.mode is Mode.verify:
        return (
            f"match, no-match or invalid for one {decision.key}; {decision.per_day} a day, {decision.per_subject} each"
        )
    filtered = ", filtered" if decision.filters else ""
    until = f", until {decision.until:%Y-%m-%d}" if decision.until else ""
    return {Mode.masked: "rows", Mode.raw: "raw rows"}.get(governed.mode, governed.mode.name) + filtered + until


def _guarded(decision: Decision) -> str:
    """What keeps differences of answers from telling of a few; nothing where the guard is on, as it is by default."""
    if decision.base_cells:
        return ", small base cells left out"
    noise = ", with noise" if decision.noise else ""
    return noise if decision.guard else f"{noise}, NOT guarded against differences: {decision.unguarded}"


def _columns(governed: Governed) -> tuple[tuple[str, str, str], ...]:
    """(name, published type, how it is shown) of every column of the file, denied ones too."""
    shown = []
    for name, spec in governed.spec.columns.items():
        if name not in governed.columns:
            shown.append((name, str(spec.type), "not there"))
        elif name in governed.masks:
            shown.append((name, str(governed.columns[name]), governed.masks[name].text))
        else:
            shown.append((name, str(spec.type), _role(governed, name)))
    return tuple(shown)


def _role(governed: Governed, name: str) -> str:
    decision = governed.decision
    if governed.mode is not Mode.aggregate:
        return "as it is"
    if name == decision.entity:
        return "counted, never shown"
    return "dimension" if name in decision.dimensions else "summed"
