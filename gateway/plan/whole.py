"""Relations whose rows are all delivered: named in EXPLAIN, and refused where the session says `require_pushdown`.

Nothing of a statement stays in the gateway in silence: what is delivered whole is what no condition, key, grouping or
limit of the statement could be made to restrict where the rows are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlglot import exp

from catalog.errors import Outcome, UserError
from catalog.relation import Relation
from gateway.plan import FragmentPlan, Plan
from gateway.rewrite.tree import is_aggregate_select

__all__ = ["FEW", "mark_whole", "refuse_unbound", "refuse_whole"]

FEW = 10_000
"""Rows that a relation may have by its owner's count to be read whole all the same: so many travel as keys, too."""


def mark_whole(fragments: Iterable[FragmentPlan], givers: frozenset[str]) -> list[FragmentPlan]:
    """Note why a fragment delivers every row, where it does. givers: fragments that give their keys to others."""
    return [replace(f, whole=_why(f, givers)) if _is_whole(f) else f for f in fragments]


def _is_whole(fragment: FragmentPlan) -> bool:
    if fragment.keys is not None or all(_is_small(r) for r in fragment.relations):
        return False
    kinds = (exp.Where, exp.Group, exp.Limit, exp.Distinct, exp.Having)
    return not any(fragment.tree.find_all(*kinds)) and not any(
        is_aggregate_select(select) for select in fragment.tree.find_all(exp.Select)
    )


def _is_small(relation: Relation) -> bool:
    return relation.rows is not None and relation.rows <= FEW


def _why(fragment: FragmentPlan, givers: frozenset[str]) -> str:
    if fragment.id in givers:
        return "no condition is on it alone, and it is expected to be the smallest: its keys restrict others"
    linked = [c.name for r in fragment.relations for c in r.columns if c.linkage is not None]
    if linked:
        return f"no condition is on it alone, and {linked[0]} is a pseudonym, which cannot be looked up"
    if not any(r.max_keys for r in fragment.relations):
        return "no condition is on it alone, and its department takes no keys"
    return "no condition is on it alone, and no other part is expected to have few enough keys for it"


def refuse_whole(plan: Plan) -> None:
    """Raises UserError for a plan that merges a relation whole."""
    found = next((f for f in plan.fragments if f.whole), None) if plan.merge is not None else None
    if found is not None:
        raise _refused(found, found.whole)


def refuse_unbound(fragment: FragmentPlan, keys: int, most: int) -> UserError:
    """For a fragment that would be asked without keys, because there turned out to be too many."""
    return _refused(fragment, f"{keys:,} keys came where {most:,} may be sent")


def _refused(fragment: FragmentPlan, why: str) -> UserError:
    names = ", ".join(str(r.full_name) for r in fragment.relations)
    return UserError(
        f"The rows of {names} would be delivered whole: {why}.",
        Outcome.LIMIT,
        rule="require_pushdown",
        hint="Restrict it, or SET SESSION require_pushdown = false. EXPLAIN shows what each department is asked.",
    )
