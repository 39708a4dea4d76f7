"""Whether grants that were given on are given on as far as their owner allows, and projects are known.

`delegate` of a grant says to whom it may be given on, and how many steps further; a grant `via` another one holds
only together with it, and with all that its giver holds (see `deciding`). So whatever is written here gives nobody more
than its giver has.
"""

from __future__ import annotations

from collections.abc import Iterator

from catalog.policy.deciding import concerns, may_give_on, origins
from catalog.policy.faults import Fault, nearest
from catalog.policy.models import Department, Grant

__all__ = ["delegation_faults"]


def delegation_faults(department: Department) -> Iterator[Fault]:
    """Every fault of `projects`, and of `project`, `delegate`, `via` and `by` in grants."""
    for name in department.projects:
        if not name or name != name.strip() or not name.isprintable():
            yield Fault(("projects", name), f"{name!r} is empty, or has a blank at an end or an invisible sign")
    for i, grant in enumerate(department.grants):
        where = ("grants", i)
        if grant.is_denial:
            yield from _misplaced(grant, where)
            continue
        if grant.project and grant.project not in department.projects:
            near = nearest(grant.project, department.projects)
            yield Fault((*where, "project"), f"unknown project {grant.project!r}{near}")
        if grant.delegate and (grant.mode == "raw" or grant.combine == "union"):
            what = "mode raw is for its named users alone" if grant.mode == "raw" else "a union is not given on"
            yield Fault((*where, "delegate"), what)
        if bool(grant.via) != bool(grant.by):
            place = "by" if grant.by else "via"
            yield Fault((*where, place), "`via` and `by` stand together: which grant, given on by whom")
        elif grant.via:
            yield from _given_faults(department, grant, where)


def _misplaced(grant: Grant, where: tuple[str | int, ...]) -> Iterator[Fault]:
    for name in ("project", "delegate", "via", "by"):
        if getattr(grant, name):
            yield Fault((*where, name), f"a denial has no `{name}`")


def _given_faults(department: Department, grant: Grant, where: tuple[str | int, ...]) -> Iterator[Fault]:
    held = [g for _, g in department.rules.get(grant.relation, ()) if g.id == grant.via and not g.is_denial]
    if not held:
        known = [g.id for g in department.grants if g.id and g.relation == grant.relation]
        yield Fault((*where, "via"), f"no grant {grant.via!r} of {grant.relation}{nearest(grant.via, known)}")
        return
    origin = held[0]
    if not grant.users or grant.groups:
        yield Fault(where, "a grant that is given on names `users`, and no groups")
    elif origin.mode != grant.mode:
        yield Fault((*where, "mode"), f"{grant.via} is of mode {origin.mode}: given on it stays that")
    elif grant.combine == "union":
        yield Fault((*where, "combine"), "a union is not given on")
    elif not may_give_on(origin, grant):
        yield Fault((*where, "via"), _beyond(origin, grant))
    for purpose in grant.purposes:
        if not any(concerns(department, g, grant.by, purpose) for g in held):
            yield Fault((*where, "by"), f"{grant.by} does not hold {grant.via} for {purpose}")
        elif may_give_on(origin, grant) and origins(department, grant.id, grant, purpose) is None:
            yield Fault((*where, "via"), "before this it was given on further than its owner allows, or in a circle")


def _beyond(origin: Grant, grant: Grant) -> str:
    if not origin.delegate:
        return f"{grant.via} may not be given on: its owner says so by `delegate`"
    if isinstance(origin.delegate, int):
        return f"{grant.via} may be given on by {origin.delegate} steps in all: `delegate` here is less than that"
    strangers = [user for user in grant.users if user not in origin.delegate]
    if strangers:
        return f"{grant.via} may be given on to {', '.join(origin.delegate)} alone, not to {', '.join(strangers)}"
    return f"{grant.via} may be given on to named users, and by them to nobody"
