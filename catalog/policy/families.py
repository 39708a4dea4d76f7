"""What is guarded together: relations over one table, or of one declared `family`, and what their columns mean there.

The agent's guard holds the sums of a family against each other, whoever asked for them under which grant. For that it
must know which columns of two relations are the same, and by which columns the family is counted at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from catalog.policy.deciding import Decision
from catalog.policy.models import DEFAULT_MIN_GROUP, Department, Grant, RelationSpec

__all__ = ["base_columns", "family_of", "guarded", "is_guarded", "meaning", "same_small_cells"]


def family_of(spec: RelationSpec) -> str:
    """The name of what a relation's sums are held against: its own, else the table or view of the source."""
    return spec.family or f"{spec.source}: {spec.table or spec.view}"


def meaning(spec: RelationSpec, column: str) -> str:
    """What a column is in its family: by the source's own name, or by the published one where a family is declared."""
    c = spec.columns[column]
    return f"{column if spec.family else c.from_ or column}: {c.type}"


def is_guarded(grant: Grant) -> bool:
    """Whether answers under this grant alone are held against the family's history."""
    return grant.mode == "aggregate" and not grant.deny and grant.guard is not False and not grant.base_cells


def guarded(department: Department, family: str) -> Iterator[tuple[Grant, RelationSpec]]:
    """The guarded grants of a family, each with its relation."""
    for grant in department.grants:
        spec = department.relations.get(grant.relation)
        if spec is not None and is_guarded(grant) and family_of(spec) == family:
            yield grant, spec


def base_columns(department: Department, relation: str) -> dict[str, str]:
    """Meaning -> published column of every dimension by which the relation's family is counted, in a fixed order.

    A checked policy has all of them in each of its relations, though a grant need not show them.
    """
    spec = department.relations[relation]
    counted = {
        meaning(other, d) for g, other in guarded(department, family_of(spec)) for d in g.dimensions
        if d in other.columns
    }  # fmt: skip
    own = {meaning(spec, c): c for c in reversed(spec.columns)}
    return {m: own[m] for m in sorted(counted) if m in own}


def same_small_cells(department: Department, decision: Decision) -> bool:
    """Whether a decision leaves out the same small cells as its grant with `base_cells` alone.

    Another grant or a denial of the same user may take dimensions away, or add filters and masks; the small cells that
    are left out then would show as the difference to what others are told.
    """
    grant = next(g for g in department.grants if g.base_cells and not g.deny and g.relation == decision.relation)
    spec = department.relations[grant.relation]
    masks = {}
    for d in grant.dimensions:
        rules = [department.classes[c].mask for c in spec.columns[d].classes if c in department.classes]
        masks[d] = tuple(dict.fromkeys(m for m in (grant.masks.get(d, ""), *rules) if m))
    return (
        {d: decision.masks.get(d, ()) for d in decision.dimensions} == masks
        and set(decision.measures) == set(grant.measures)
        and decision.filters == ((grant.row_filter,) if grant.row_filter else ())
        and decision.min_group == (grant.min_group or DEFAULT_MIN_GROUP)
        and (decision.largest_share, decision.p_percent) == (grant.largest_share, grant.p_percent)
    )
