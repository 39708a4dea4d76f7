"""Two policies compared: who gains and who loses what, in words.

Compared are decisions, not texts: for every user whom a policy names (and for somebody whom none names), every
relation and purpose, now and at every later moment at which a grant begins or ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from catalog import durations, masks
from catalog.policy.checks import dry_context
from catalog.policy.deciding import Decision, decide, instant
from catalog.policy.models import Department
from catalog.policy.testing import shown_masks, words_of
from catalog.relation import Mode

__all__ = ["ANYONE", "Change", "changes", "people"]

ANYONE = "anyone"
"""Stands for users whom no grant names."""


@dataclass(frozen=True)
class Change:
    """One difference. kind: `gains`, `loses` or `differs`. purposes: for which it is the same.

    since: the moment from which it is so, None for at once.
    """

    user: str
    relation: str
    purposes: tuple[str, ...]
    kind: str
    words: str
    since: datetime | None = None

    def __str__(self) -> str:
        sign = {"gains": "+", "loses": "-"}.get(self.kind, "~")
        verb = {"gains": "gains", "loses": "loses"}.get(self.kind, "sees otherwise")
        since = f" (from {self.since:%Y-%m-%d %H:%M} UTC)" if self.since else ""
        return f"{sign} {self.user} {verb} {self.relation} for {', '.join(self.purposes)}: {self.words}{since}"


@dataclass(frozen=True)
class _Seen:
    """A decision with the masks that hold in the end. age: of a copy that may answer, in words; "" if none may."""

    decision: Decision
    shown: Mapping[str, str]
    age: str


def people(*departments: Department) -> list[str]:
    """`ANYONE`, then every user that a grant or group names, in order."""
    named = [u for d in departments for g in d.grants for u in (*g.users, *(m for n in g.groups for m in d.groups[n]))]
    return list(dict.fromkeys([ANYONE, *named]))


def changes(
    old: Department,
    new: Department,
    now: datetime,
    files: tuple[Mapping[str, bytes] | None, Mapping[str, bytes] | None] = (None, None),
) -> list[Change]:
    """Every difference between two policies; what is the same for anyone is not repeated for each user.

    files: the lists beside each, for masks by hierarchy.
    """
    contexts = dry_context(old, files[0]), dry_context(new, files[1])
    relations = dict.fromkeys([*old.relations, *new.relations])
    purposes = dict.fromkeys([*old.purposes, *new.purposes])
    found: dict[tuple[str, str, str, str], tuple[datetime, list[str]]] = {}
    for moment in _moments(old, new, now):
        for user in people(old, new):
            for relation in relations:
                for purpose in purposes:
                    before = _seen(old, contexts[0], user, purpose, relation, moment)
                    after = _seen(new, contexts[1], user, purpose, relation, moment)
                    for kind, words in _difference(before, after):
                        since, listed = found.setdefault((user, relation, kind, words), (moment, []))
                        if purpose not in listed and since == moment:
                            listed.append(purpose)
    made = [
        Change(user, relation, tuple(listed), kind, words, None if since == now else since.astimezone(UTC))
        for (user, relation, kind, words), (since, listed) in found.items()
    ]
    general = {_what(c): set(c.purposes) for c in made if c.user == ANYONE}
    return [c for c in made if c.user == ANYONE or not set(c.purposes) <= general.get(_what(c), set())]


def _what(change: Change) -> tuple[str, str, str, datetime | None]:
    return change.relation, change.kind, change.words, change.since


def _moments(old: Department, new: Department, now: datetime) -> list[datetime]:
    found = {now}
    for department in (old, new):
        zone = ZoneInfo(department.limits.timezone)
        for grant in department.grants:
            bounds = [instant(grant.from_, zone, False)] if grant.from_ else []
            bounds += [instant(end, zone, True) for end in department.ends(grant)]
            found.update(b for b in bounds if b > now)
    return sorted(found)


def _seen(
    department: Department, context: masks.Context, user: str, purpose: str, relation: str, now: datetime
) -> _Seen | None:
    decision = decide(department, user, purpose, relation, now)
    if decision is None:
        return None
    copied = department.relations[relation].materialise if decision.reads_copies else None
    return _Seen(decision, shown_masks(department, decision, context), durations.words(copied) if copied else "")


def _difference(before: _Seen | None, after: _Seen | None) -> Iterator[tuple[str, str]]:
    if before is None or after is None:
        if after is not None:
            yield "gains", words_of(after.decision, after.shown)
        elif before is not None:
            yield "loses", words_of(before.decision, before.shown)
        return
    old, new = before.decision, after.decision
    if old.mode is not new.mode:
        kind = "gains" if new.mode > old.mode else "loses"
        yield kind, f"{words_of(new, after.shown)}, instead of {words_of(old, before.shown)}"
        return
    yield from _columns(before, after)
    yield from _filters(old, new)
    yield from _numbers(old, new)
    if before.age != after.age:
        yield "differs", f"rows of {_held(after.age)}, instead of {_held(before.age)}"


def _columns(before: _Seen, after: _Seen) -> Iterator[tuple[str, str]]:
    gained = [c for c in after.shown if c not in before.shown]
    lost = [c for c in before.shown if c not in after.shown]
    if gained:
        yield "gains", f"column {', '.join(gained)}"
    if lost:
        yield "loses", f"column {', '.join(lost)}"
    for name in after.shown:
        was, now = before.shown.get(name), after.shown[name]
        if was is not None and was != now:
            kind = "gains" if now == "none" else "loses" if was == "none" else "differs"
            yield kind, f"{name} is shown through {now}, instead of {was}"
    for what in ("dimensions", "measures"):
        old, new = getattr(before.decision, what), getattr(after.decision, what)
        plus, minus = [c for c in new if c not in old], [c for c in old if c not in new]
        if plus:
            yield "gains", f"{', '.join(plus)} among the {what}"
        if minus:
            yield "loses", f"{', '.join(minus)} from the {what}"


def _filters(old: Decision, new: Decision) -> Iterator[tuple[str, str]]:
    was, now = set(old.filters), set(new.filters)
    if was == now:
        return
    if now < was:
        yield "gains", "rows: a filter is gone"
    elif was < now:
        yield "loses", "rows: a filter more"
    else:
        yield "differs", "other rows: the filter is another one"


_MORE_IS_LESS = ("min_group", "p_percent")
_CAPS = {
    "min_group": "the floor", "largest_share": "the largest share", "p_percent": "the others' share of the largest",
    "per_day": "checks a day",
    "per_subject": "checks of one subject a day", "questions_per_day": "questions a day",
    "max_rows": "rows of an answer", "max_bytes": "bytes of an answer", "max_seconds": "seconds of an answer",
    "keep_seconds": "seconds for which the gateway may keep an answer",
}  # fmt: skip


def _numbers(old: Decision, new: Decision) -> Iterator[tuple[str, str]]:
    verify = old.mode is Mode.verify
    for name, words in _CAPS.items():
        was, now = getattr(old, name), getattr(new, name)
        if was == now or (name in ("per_day", "per_subject") and not verify):
            continue
        wider = now is None or (was is not None and (now < was if name in _MORE_IS_LESS else now > was))
        yield "gains" if wider else "loses", f"{words}: {_or_none(now)}, instead of {_or_none(was)}"
    if old.guard != new.guard:
        yield "loses" if new.guard else "gains", f"the guard against differencing is {'on' if new.guard else 'off'}"
    if old.base_cells != new.base_cells:
        yield (
            "loses" if new.base_cells else "gains",
            f"small base cells are {'left out' if new.base_cells else 'counted'}",
        )
    if old.noise != new.noise:
        yield "differs", "released cells have other noise"
    if old.epoch != new.epoch:
        yield "differs", f"cells keep their answer for a {new.epoch}"
    if old.round_to != new.round_to:
        yield "differs", "released sums are rounded otherwise"
    if old.strict != new.strict:
        yield (
            "loses" if new.strict else "gains",
            f"questions need the user's signature: {'yes' if new.strict else 'no'}",
        )
    if old.until != new.until:
        later = new.until is None or (old.until is not None and new.until > old.until)
        yield "gains" if later else "loses", f"until {_day(new.until)}, instead of {_day(old.until)}"


def _held(age: str) -> str:
    return f"a copy of up to {age}" if age else "the source"


def _or_none(cap: int | None) -> str:
    return "no cap" if cap is None else str(cap)


def _day(moment: datetime | None) -> str:
    return "further notice" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
