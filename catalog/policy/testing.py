"""Tests that ship with a policy: what named users must see, checked before the policy is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from catalog import masks
from catalog.policy.checks import dry_context
from catalog.policy.deciding import Decision, decide, instant
from catalog.policy.faults import Fault
from catalog.policy.models import Department, PolicyTest
from catalog.relation import Mode

__all__ = ["failures", "shown_masks", "words_of"]

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""For tests of relations whose grants have no validity: they decide the same at every moment."""


def failures(department: Department, files: Mapping[str, bytes] | None = None) -> Iterator[Fault]:
    """Every test that does not hold, with what would be seen instead."""
    context = dry_context(department, files)
    zone = ZoneInfo(department.limits.timezone)
    for i, test in enumerate(department.tests):
        decision = decide(department, test.user, test.purpose, test.relation, _moment(test, zone))
        wrong = next(_wrong(department, context, test, decision), None)
        if wrong is not None:
            asked = f"{test.user} asks {test.relation} for {test.purpose}"
            yield Fault(("tests", i), f"the test fails: {asked}, expects {', '.join(test.expect)}; {wrong}")


def _moment(test: PolicyTest, zone: tzinfo) -> datetime:
    return _ANY_TIME if test.at is None else instant(test.at, zone, False)


def _wrong(
    department: Department, context: masks.Context, test: PolicyTest, decision: Decision | None
) -> Iterator[str]:
    if decision is None:
        if test.expect != ("deny",):
            yield "nothing is granted"
        return
    shown = shown_masks(department, decision, context)
    for word in test.expect:
        if not _holds(word, test, decision, shown):
            yield f"it is {words_of(decision, shown)}"
    if test.expect != ("deny",):
        absent = [c for c in test.columns if c not in decision.columns]
        if absent:
            yield f"{', '.join(absent)} would not be there"
    for column, wanted in test.mask.items():
        found = shown[column] if column in decision.columns else "deny"
        if wanted not in (found, masks.parse(found)[0] if found != "none" else "none"):
            yield f"{column} is shown through {found}, not {wanted}"
    if test.min_group is not None and decision.min_group != test.min_group:
        yield f"the floor is {decision.min_group}, not {test.min_group}"


def _holds(word: str, test: PolicyTest, decision: Decision, shown: Mapping[str, str]) -> bool:
    if word == "deny":
        return bool(test.columns) and not set(test.columns) & set(decision.columns)
    if word == "filter":
        return bool(decision.filters)
    if word == "mask":
        masked = [c for c in decision.columns if shown[c] != "none"]
        return decision.mode is Mode.masked and bool(masked) and set(test.columns) <= set(masked)
    return decision.mode.name == word


def shown_masks(department: Department, decision: Decision, context: masks.Context) -> dict[str, str]:
    """Visible column -> the expression of the mask that holds after all grants met, `none` for the value itself."""
    columns = department.relations[decision.relation].columns
    found: dict[str, masks.Mask] = {}
    for name in decision.columns:
        texts = decision.masks.get(name, ())
        built = [masks.build(text, columns[name].type, replace(context, column=name)) for text in texts]
        if built:
            found[name] = masks.strictest(built)
    shown = masks.together(found, decision.columns)
    return {name: shown[name].text if name in shown else "none" for name in decision.columns}


def words_of(decision: Decision, shown: Mapping[str, str]) -> str:
    """A decision in a few words: `masked: phone (null), name (keep_first(1)), filtered`."""
    if decision.mode is Mode.aggregate:
        return f"aggregate, cells of at least {decision.min_group} {decision.entity}"
    if decision.mode is Mode.verify:
        return f"verify of {decision.key}"
    masked = [f"{c} ({text})" for c, text in shown.items() if text != "none"]
    what = "unmasked rows" if decision.mode is Mode.masked and not masked else decision.mode.name
    return what + (f": {', '.join(masked)}" if masked else "") + (", filtered" if decision.filters else "")
