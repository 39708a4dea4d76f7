"""The plan in which what only restricts has become keys (`rewrite.restrict`), beside the one without.

It is tried first. It is right unless a declared key is none or too many keys came, which is seen before any exact
fragment is asked: then the other plan answers, and what was asked for the keys was asked in vain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp, parse_one

from catalog.names import RelationName
from catalog.relation import Relation
from gateway.plan import FragmentPlan, KeySource, Plan
from gateway.plan.asking import NoKeys
from gateway.plan.bind import KEY_COST, PAYS
from gateway.plan.size import size_of
from gateway.plan.split import split
from gateway.rewrite import KEYED, Context, Rule, rewrite
from gateway.rewrite.restrict import restrict_by_keys
from gateway.rewrite.tree import departments_of, keyed_queries

__all__ = ["with_keyed"]


def with_keyed(
    plan: Plan,
    tree: exp.Query,
    relations: dict[RelationName, Relation],
    local: dict[str, pa.Table],
    rules: tuple[Rule, ...] = KEYED,
    rows: Mapping[str, int] | None = None,
) -> Plan:
    """A plan, and what is asked in its place, if that is expected to deliver less. tree: before any rule. rows: that
    texts delivered when they were asked before."""
    if plan.merge is None or plan.first is not None or len(departments_of(tree)) < 2:
        return plan
    # A question for sums costs its user some of what he may ask a day: nobody asks it twice.
    if not all(r.mode.gives_rows for f in plan.fragments for r in f.relations):
        return plan
    context, place = Context(relations), rules.index(restrict_by_keys) + 1
    rewritten = rewrite(tree, context, rules[:place])
    if not keyed_queries(rewritten):
        return plan
    for rule in rules[place:]:
        rewritten = rule(rewritten, context)
    unused = 1 + max(int(f.id[1:]) for f in plan.fragments)
    try:
        keyed = split(rewritten, plan.labels, relations, local, tuple(context.notes), unused, rows)
    except NoKeys:
        return plan
    if any(f.whole for f in keyed.fragments) and not any(f.whole for f in plan.fragments):
        return plan
    by_id = {f.id: f for f in keyed.fragments}
    exact = [(f, f.keys) for f in keyed.fragments if f.keys is not None and f.is_exact]
    pays = exact and all(_pays(fragment, keys, by_id, relations, rows) for fragment, keys in exact)
    return replace(plan, keyed=keyed) if pays else plan


def _pays(
    fragment: FragmentPlan,
    keys: KeySource,
    by_id: dict[str, FragmentPlan],
    relations: dict[RelationName, Relation],
    rows: Mapping[str, int] | None,
) -> bool:
    """Whether each set of keys is expected to be sent, and to leave few of the rows that are summed up or sorted."""
    tree = parse_one(fragment.sql, dialect="trino")
    assert isinstance(tree, exp.Query)
    met = size_of(replace(fragment, tree=tree), relations).met
    count = 0.0
    for known in keys.sets:
        (giver,) = known.needs
        give = size_of(by_id[giver], relations, rows)
        domain = give.domains.get(0)
        part = give.share if domain is None else give.rows / domain
        count += give.rows
        if part > PAYS or give.rows * KEY_COST > met * (1 - part):
            return False
    return count <= keys.chunk
