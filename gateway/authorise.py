"""Stage 3: early and friendly refusal by what the catalogue says. Courtesy, not security: agents decide."""

from __future__ import annotations

from catalog.errors import AccessDenied, Outcome
from catalog.relation import Mode, Relation
from gateway import linkage
from gateway.resolve import Resolved

__all__ = ["authorise"]


def authorise(resolved: Resolved) -> Resolved:
    """Refuse what every agent would refuse, in words that say what would be allowed.

    Raises AccessDenied: MODE for rows of a relation that gives none, and for comparing pseudonyms with what
    they can never equal (`linkage`).
    """
    for relation in (r for n, r in resolved.relations.items() if n in resolved.columns):
        if relation.mode in (Mode.none, Mode.schema):
            hint = "Ask its department for a grant with generated rows, sums, or rows. DESCRIBE OUTPUT checks types."
            raise _mode(relation, "shows its columns only.", hint)
        if relation.mode == Mode.verify:
            key = ", ".join(relation.verify_keys)
            raise _mode(
                relation,
                "answers match or no-match for one key at a time, never rows.",
                f"Ask verify('{relation.full_name}', {key}).",
            )
    linkage.check(resolved.tree, resolved.relations)
    return resolved


def _mode(relation: Relation, what: str, hint: str) -> AccessDenied:
    return AccessDenied(
        f"'{relation.full_name}' {what}",
        Outcome.MODE,
        who=relation.catalog,
        rule=f"{relation.mode.name} mode",
        hint=hint,
    )
