"""Stage 3: early and friendly refusal by what the catalogue says. Courtesy, not security: agents decide."""

from __future__ import annotations

from sqlglot import exp

from catalog.errors import AccessDenied, CityError, Outcome
from catalog.names import RelationName
from catalog.relation import Column, Linkage, Mode, Relation
from gateway.resolve import Resolved

__all__ = ["authorise"]


def authorise(resolved: Resolved) -> Resolved:
    """Refuse what every agent would refuse, in words that say what would be allowed.

    Raises AccessDenied: MODE for rows of a relation that gives none, and for comparing pseudonyms that
    belong to different purposes or groups and therefore can never be equal.
    """
    for relation in (r for n, r in resolved.relations.items() if n in resolved.columns):
        if relation.mode in (Mode.none, Mode.schema, Mode.synthetic):
            raise _mode(relation, "shows its columns only.", "Ask its department for a grant with rows or sums.")
        if relation.mode == Mode.verify:
            key = ", ".join(relation.verify_keys)
            raise _mode(
                relation,
                "answers match or no-match for one key at a time, never rows.",
                f"Ask verify('{relation.full_name}', {key}).",
            )
    _check_pseudonyms(resolved)
    return resolved


def _mode(relation: Relation, what: str, hint: str) -> AccessDenied:
    return AccessDenied(
        f"'{relation.full_name}' {what}",
        Outcome.MODE,
        who=relation.catalog,
        rule=f"{relation.mode.name} mode",
        hint=hint,
    )


def _check_pseudonyms(resolved: Resolved) -> None:
    named = _columns_by_alias(resolved)
    for comparison in resolved.tree.find_all(exp.EQ):
        sides = [_linkage(side, named) for side in (comparison.left, comparison.right)]
        if sides[0] is not None and sides[1] is not None and sides[0] != sides[1]:
            raise _unlinked(comparison)


def _columns_by_alias(resolved: Resolved) -> dict[str, dict[str, Column]]:
    """Alias -> columns, for aliases that name one relation throughout the statement."""
    found: dict[str, Relation | None] = {}
    for table in resolved.tree.find_all(exp.Table):
        if not table.catalog:
            continue
        relation = resolved.relations.get(RelationName(table.catalog, table.db, table.name))
        known = found.setdefault(table.alias_or_name, relation)
        if known is not relation:
            found[table.alias_or_name] = None
    return {a: {c.name: c for c in r.columns} for a, r in found.items() if r is not None}


def _linkage(side: exp.Expr, named: dict[str, dict[str, Column]]) -> Linkage | None:
    if not isinstance(side, exp.Column):
        return None
    column = named.get(side.table, {}).get(side.name)
    return column.linkage if column is not None else None


def _unlinked(comparison: exp.EQ) -> CityError:
    return AccessDenied(
        f"{comparison.left.sql('trino')} and {comparison.right.sql('trino')} are pseudonyms of different groups: "
        "they are never equal.",
        Outcome.MODE,
        rule="linkage group",
        hint="Only pseudonyms of one group and purpose join.",
    )
