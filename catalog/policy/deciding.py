"""The decision: what one user may see of one relation for one purpose at one moment. A pure function.

`decide` takes the strictest of all grants that fit: columns are intersected, masks and filters all apply, the
floor is the largest, every cap the smallest, the mode the weakest, `until` the earliest. A denial wins. Grants
add up only where each of them says `combine: union`, and then to no more than their sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo
from math import lcm
from typing import Any
from zoneinfo import ZoneInfo

from catalog import masks
from catalog.policy.models import (
    DEFAULT_MIN_GROUP,
    DEFAULT_PER_DAY,
    DEFAULT_PER_SUBJECT,
    MAX_STEPS,
    Department,
    Grant,
    RelationSpec,
)
from catalog.relation import Mode

__all__ = ["Decision", "concerns", "decide", "instant", "may_give_on", "opening", "origins", "purposes_for"]

Named = tuple[str, Grant]
EPOCHS = ("day", "month", "quarter", "year")


@dataclass(frozen=True)
class Decision:
    """What one user may see of one relation for one purpose, now: the strictest of all grants that fit.

    columns: the visible ones, published order; denied ones are not among them (of an aggregate relation:
    dimensions, measures and the entity, of which only distinct values may be counted). masks: column -> text.
    filters: all hold. until: the earliest end, None without one. ids: the grants that were combined.
    per_day: checks of `verify`; questions_per_day: of every other mode, None without a cap. cases: those of
    `raw` grants, whose answers the owner reviews. strict: only questions that the user signed. keep_seconds: how long
    the gateway may keep an answer, 0 not at all; not beyond `begins`, when the next grant begins that may change this.
    """

    relation: str
    purpose: str
    mode: Mode
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    masks: Mapping[str, tuple[str, ...]]
    filters: tuple[str, ...] = ()
    min_group: int | None = None
    entity: str | None = None
    dimensions: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    largest_share: int | None = None
    p_percent: int | None = None
    round_to: Mapping[str, int] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    guard: bool = False
    unguarded: str = ""
    base_cells: bool = False
    epoch: str = "month"
    public: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    key: str | None = None
    per_day: int = DEFAULT_PER_DAY
    per_subject: int = DEFAULT_PER_SUBJECT
    questions_per_day: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    max_seconds: int | None = None
    until: datetime | None = None
    cases: tuple[str, ...] = ()
    strict: bool = False
    keep_seconds: int = 0
    begins: datetime | None = None

    @property
    def reads_copies(self) -> bool:
        """Whether a copy that the owner lets the agent keep of all rows may answer."""
        return self.mode in (Mode.masked, Mode.raw) and not self.filters

    @property
    def terms(self) -> Decision:
        """Without what may change under a running answer: which grants say so, until when, how long it is kept."""
        return replace(self, ids=(), until=None, keep_seconds=0, begins=None)


@dataclass(frozen=True)
class _Terms:
    """What one grant, or several together, show: mode, column -> texts of its masks (none: as it is), filters."""

    mode: Mode
    columns: Mapping[str, tuple[str, ...]]
    filters: tuple[str, ...]


def decide(
    department: Department, sub: str, purpose: str, relation: str, now: datetime, columns: Sequence[str] | None = None
) -> Decision | None:
    """The decision for one relation; None is a denial, whatever the reason.

    now: an aware datetime. columns: those that are asked for; None = all that are visible. One that is not
    visible makes the decision a denial.
    """
    spec = department.relations.get(relation)
    if spec is None or purpose not in department.purposes:
        return None
    zone = ZoneInfo(department.limits.timezone)
    held = _held(department, sub, purpose, relation, now, zone)
    denials = [
        g for _, g in department.rules.get(relation, ())
        if g.is_denial and any(concerns(department, g, user, purpose) for user in held)
    ]  # fmt: skip
    denied = [g for g in denials if _in_force(department, g, now, zone)]
    distinct = {(name, id(grant)): (name, grant) for rules in held.values() for name, grant in rules}
    grants = sorted(distinct.values(), key=lambda rule: rule[0])
    found = [g for _, g in grants]
    if not held[sub] or any(not g.columns for g in denied) or not all(_open(g, now, zone) for g in found):
        return None
    terms = _meet(spec, [_combined(spec, [g for _, g in rules]) for rules in held.values()])
    terms = _classified(department, spec, terms)
    hidden = {column for g in denied for column in g.columns}
    terms = _Terms(terms.mode, {c: m for c, m in terms.columns.items() if c not in hidden}, terms.filters)
    begins = (s for g in denials if (s := _start(g, zone)) is not None and s > now)
    ends = [*_ends(department, found, now, zone), *begins]
    common: dict[str, Any] = {
        "relation": relation, "purpose": purpose, "mode": terms.mode, "ids": tuple(n for n, _ in grants),
        "masks": {c: texts for c, texts in terms.columns.items() if texts}, "filters": terms.filters,
        "max_rows": _least(found, "max_rows"), "max_bytes": _least(found, "max_bytes"),
        "max_seconds": _least(found, "max_seconds"), "until": min(ends, default=None),
        "cases": tuple(sorted({g.case for g in found if g.mode == "raw"})) if terms.mode is Mode.raw else (),
        "strict": any(g.strict for g in found)
        or (department.limits.strict == "question" and terms.mode in (Mode.raw, Mode.verify)),
    }  # fmt: skip
    if terms.mode in (Mode.masked, Mode.aggregate) and not common["strict"]:
        common["keep_seconds"] = min(g.keep_seconds or 0 for g in found)
        if common["keep_seconds"]:
            common["begins"] = min(_begins(department, held, purpose, relation, now, zone), default=None)
    decision = _by_mode(department, spec, found, terms, common)
    if decision is None or columns is None:
        return decision
    return decision if set(columns) <= set(decision.columns) else None


def purposes_for(
    department: Department, sub: str, purposes: Sequence[str], relation: str, now: datetime
) -> tuple[str, ...]:
    """Those of the user's own purposes for which the relation is granted to them."""
    return tuple(p for p in purposes if decide(department, sub, p, relation, now) is not None)


# ---- which grants fit ------------------------------------------------------------------------------------


def concerns(department: Department, grant: Grant, sub: str, purpose: str) -> bool:
    """Whether a grant or denial is about this user and purpose. Names compare byte for byte."""
    if purpose not in grant.purposes and not (grant.is_denial and not grant.purposes):
        return False
    if grant.of_everyone or sub in grant.users:
        return True
    return any(sub in department.groups.get(g, ()) for g in grant.groups)


def _held(
    department: Department, sub: str, purpose: str, relation: str, now: datetime, zone: tzinfo
) -> dict[str, list[Named]]:
    """The grants in force that the user holds, and after them those of each who gave one on, down to the first.

    A grant that was given on is none without its origins: each in force now, for this purpose, and held by whoever
    gave it on. Nobody gives more than is theirs: what narrows the giver narrows the receiver too.
    """
    held: dict[str, list[Named]] = {}
    waiting = [sub]
    while waiting:
        user = waiting.pop()
        rules = [(n, g) for n, g in department.rules.get(relation, ()) if concerns(department, g, user, purpose)]
        chains = [origins(department, n, g, purpose) for n, g in rules if not g.is_denial]
        whole = [c for c in chains if c and all(_in_force(department, g, now, zone) for _, g in c)]
        held[user] = [rule for chain in whole for rule in chain]
        waiting += [g.by for chain in whole for _, g in chain if g.via and g.by not in held]
    return held


def origins(department: Department, name: str, grant: Grant, purpose: str) -> list[Named] | None:
    """A grant, then the one that it was given on from, and so on; None if one is missing, or not its giver's."""
    chain = [(name, grant)]
    while grant.via:
        if len(chain) > MAX_STEPS:
            return None
        held = [(n, g) for n, g in department.rules.get(grant.relation, ()) if g.id == grant.via]
        found = next(((n, g) for n, g in held if concerns(department, g, grant.by, purpose)), None)
        if found is None or not may_give_on(found[1], grant):
            return None
        chain.append(found)
        grant = found[1]
    return chain


def may_give_on(origin: Grant, given: Grant) -> bool:
    """Whether a grant may be given on like this: to these users, and so many steps further."""
    if given.of_everyone or given.groups or given.is_denial or given.mode != origin.mode:
        return False
    if isinstance(origin.delegate, int):
        return isinstance(given.delegate, int) and given.delegate < origin.delegate
    return set(given.users) <= set(origin.delegate) and given.delegate == 0


def instant(value: date | datetime, zone: tzinfo, end: bool) -> datetime:
    """A bound of validity; a date as `until` lasts to its own end."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    if end and value == date.max:  # no day comes after it
        return datetime.max.replace(tzinfo=zone)
    day = value + timedelta(days=1) if end else value
    return datetime.combine(day, time.min, tzinfo=zone)


def _start(grant: Grant, zone: tzinfo) -> datetime | None:
    return None if grant.from_ is None else instant(grant.from_, zone, False)


def _begins(
    department: Department, users: Iterable[str], purpose: str, relation: str, now: datetime, zone: tzinfo
) -> Iterator[datetime]:
    """When further grants begin that concern any of these users."""
    for _, grant in department.rules.get(relation, ()):
        start = _start(grant, zone)
        if start is not None and start > now and any(concerns(department, grant, user, purpose) for user in users):
            yield start


def _in_force(department: Department, grant: Grant, now: datetime, zone: tzinfo) -> bool:
    start = _start(grant, zone)
    return (start is None or now >= start) and all(now < instant(end, zone, True) for end in department.ends(grant))


def opening(hours: str) -> tuple[time, time]:
    """`08:00-18:00` -> the two local times. Raises ValueError."""
    start, sep, end = hours.partition("-")
    try:
        found = time.fromisoformat(start.strip()), time.fromisoformat(end.strip())
    except ValueError:
        found = (time.min, time.min)
    if not sep or found[0] >= found[1]:
        raise ValueError(f"{hours!r} is not of the form 08:00-18:00")
    return found


def _open(grant: Grant, now: datetime, zone: tzinfo) -> bool:
    if not grant.hours:
        return True
    start, end = opening(grant.hours)
    return start <= now.astimezone(zone).time() < end


def _ends(department: Department, grants: Sequence[Grant], now: datetime, zone: tzinfo) -> Iterator[datetime]:
    for grant in grants:
        yield from (instant(end, zone, True) for end in department.ends(grant))
        if grant.hours:
            yield datetime.combine(now.astimezone(zone).date(), opening(grant.hours)[1], tzinfo=zone)


# ---- how they combine ------------------------------------------------------------------------------------


def _combined(spec: RelationSpec, grants: Sequence[Grant]) -> _Terms:
    """The strictest of all grants; those that say `union` are one grant among them, their sum."""
    unions = [_terms(spec, g) for g in grants if g.combine == "union"]
    terms = [_terms(spec, g) for g in grants if g.combine != "union"]
    return _meet(spec, [*terms, *([_sum(spec, unions)] if unions else [])])


def _terms(spec: RelationSpec, grant: Grant) -> _Terms:
    mode = Mode[grant.mode]
    named = grant.columns or tuple(spec.columns)
    if mode is Mode.aggregate:  # other columns are none of its business, so nothing it meets may check them either
        named = tuple(c for c in named if c in (*grant.dimensions, *grant.measures, grant.entity))
    shown = {c: (grant.masks[c],) if c in grant.masks else () for c in spec.columns if c in named}
    return _Terms(mode, _without_denied(shown), (grant.row_filter,) if grant.row_filter else ())


def _without_denied(columns: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {c: texts for c, texts in columns.items() if not any(masks.parse(t)[0] == "deny" for t in texts)}


def _meet(spec: RelationSpec, terms: Sequence[_Terms]) -> _Terms:
    columns = {
        c: tuple(dict.fromkeys(text for t in terms for text in t.columns[c]))
        for c in spec.columns
        if all(c in t.columns for t in terms)
    }
    filters = tuple(dict.fromkeys(text for t in terms for text in t.filters))
    return _Terms(min(t.mode for t in terms), columns, filters)


def _sum(spec: RelationSpec, terms: Sequence[_Terms]) -> _Terms:
    """Rows add up where columns are the same, columns where rows are; otherwise a row of one grant would show
    a column of the other, which neither grants, and the strictest holds."""
    if len({t.filters for t in terms}) == 1:
        return _Terms(terms[0].mode, _all_columns(spec, terms), terms[0].filters)
    if all(t.columns == terms[0].columns for t in terms):
        filters = [f"({text})" for t in terms for text in t.filters]
        everything = any(not t.filters for t in terms)
        return _Terms(terms[0].mode, terms[0].columns, () if everything else (" OR ".join(filters),))
    return _meet(spec, terms)


def _all_columns(spec: RelationSpec, terms: Sequence[_Terms]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for column in spec.columns:
        shown = [t.columns[column] for t in terms if column in t.columns]
        if shown:
            # Of two masks of equal standing both stay: what is shown is the stricter one.
            found[column] = () if () in shown else tuple(dict.fromkeys(text for texts in shown for text in texts))
    return found


def _classified(department: Department, spec: RelationSpec, terms: _Terms) -> _Terms:
    """Columns whose class allows less than the mode are not there; masks of their classes come beside."""
    found: dict[str, tuple[str, ...]] = {}
    for column, texts in terms.columns.items():
        rules = [department.classes[c] for c in spec.columns[column].classes if c in department.classes]
        added = tuple(r.mask for r in rules if r.mask)
        if all(Mode[r.mode] >= terms.mode for r in rules) and not (added and terms.mode is Mode.raw):
            found[column] = tuple(dict.fromkeys((*texts, *added)))
    return _Terms(terms.mode, _without_denied(found), terms.filters)


def _least(grants: Sequence[Grant], name: str) -> int | None:
    return min((cap for g in grants if (cap := getattr(g, name)) is not None), default=None)


def _least_or(grants: Sequence[Grant], name: str, default: int) -> int:
    """A grant that does not state the limit holds to `default`: another one's greater number does not lift it."""
    stated = _least(grants, name)
    silent = any(getattr(g, name) is None and g.mode == "verify" for g in grants)
    return default if stated is None else min(stated, default) if silent else stated


# ---- what each mode adds ---------------------------------------------------------------------------------


def _by_mode(
    department: Department, spec: RelationSpec, found: Sequence[Grant], terms: _Terms, common: dict[str, Any]
) -> Decision | None:
    if terms.mode is Mode.verify:
        common["per_day"] = _least_or(found, "per_day", DEFAULT_PER_DAY)
        return _verify_decision([g for g in found if g.mode == "verify"], terms, common)
    common["questions_per_day"] = _least(found, "per_day")
    if terms.mode is Mode.aggregate:
        return _aggregate_decision(department, spec, [g for g in found if g.mode == "aggregate"], terms, common)
    return Decision(**common, columns=tuple(terms.columns)) if terms.columns else None


def _verify_decision(found: Sequence[Grant], terms: _Terms, common: dict[str, Any]) -> Decision | None:
    """A key that another grant hides or masks is not compared: a match would tell what is hidden."""
    key = found[0].key or ""
    if any(g.key != key for g in found) or key not in terms.columns or terms.columns[key]:
        return None
    per_subject = _least_or(found, "per_subject", DEFAULT_PER_SUBJECT)
    return Decision(**common, columns=(key,), key=key, per_subject=per_subject)


def _aggregate_decision(
    department: Department, spec: RelationSpec, found: Sequence[Grant], terms: _Terms, common: dict[str, Any]
) -> Decision | None:
    entity = found[0].entity or ""
    if any(g.entity != entity for g in found):
        return None
    dimensions = tuple(c for c in terms.columns if all(c in g.dimensions for g in found))
    measures = tuple(c for c, texts in terms.columns.items() if all(c in g.measures for g in found) and not texts)
    counted = entity in terms.columns and all(masks.parse(t)[0] == "pseudonym" for t in terms.columns[entity])
    shown = {*dimensions, *measures, *([entity] if counted else [])}
    common["masks"] = {c: texts for c, texts in common["masks"].items() if c in shown}
    return Decision(
        **common, columns=tuple(c for c in terms.columns if c in shown), entity=entity, dimensions=dimensions,
        measures=measures, min_group=max(g.min_group or DEFAULT_MIN_GROUP for g in found),
        largest_share=_least(found, "largest_share"), round_to=_steps(found, measures),
        p_percent=max((g.p_percent for g in found if g.p_percent is not None), default=None),
        noise={c: max(g.noise[c] for g in found if c in g.noise) for c in (*measures, "count")
               if any(c in g.noise for g in found)},
        base_cells=any(g.base_cells for g in found),
        guard=any(g.guard is not False for g in found) and not any(g.base_cells for g in found),
        unguarded="; ".join(dict.fromkeys(g.unguarded for g in found if g.unguarded)),
        epoch=max((g.epoch or "month" for g in found), key=EPOCHS.index),
        public=_public(department, spec, found, dimensions),
    )  # fmt: skip


def _steps(found: Sequence[Grant], measures: Sequence[str]) -> dict[str, int]:
    """Each measure's step: multiples of every grant's step are multiples of their least common one."""
    steps: dict[str, int] = {}
    for grant in found:
        for name, step in grant.round_to.items():
            if name in measures:
                steps[name] = lcm(step, steps.get(name, 1))
    return steps


def _public(
    department: Department, spec: RelationSpec, found: Sequence[Grant], dimensions: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The public codes of each dimension: those on which all grants that name any agree, else the column's own."""
    public: dict[str, tuple[str, ...]] = {}
    for name in dimensions:
        lists = [g.public[name] for g in found if name in g.public]
        codes = spec.columns[name].codes
        if lists:
            common = [code for code in sorted(set(lists[0])) if all(code in other for other in lists)]
            public[name] = lists[0] if all(other == lists[0] for other in lists) else tuple(common)
        elif codes:
            public[name] = department.code_lists[codes]
    return public
