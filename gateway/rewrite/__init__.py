"""Stage 4: exact rewrites of a qualified tree, one rule a file, applied in the order of `RULES`.

A rule is a function `(tree, context) -> tree`. Its docstring holds a proof sketch of why the answer is
the same; tests/fixtures/rewrite/*.sql shows what it does; the differential tests stand behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlglot import exp

from catalog.names import RelationName
from catalog.relation import Relation
from gateway.rewrite.apart import sums_apart
from gateway.rewrite.colocate import colocate_joins
from gateway.rewrite.ctes import inline_ctes
from gateway.rewrite.dates import fold_dates
from gateway.rewrite.decorrelate import decorrelate_aggregates
from gateway.rewrite.disjunctions import split_disjunctions
from gateway.rewrite.eager import eager_aggregation
from gateway.rewrite.equalities import infer_equalities
from gateway.rewrite.existential import distinct_existence
from gateway.rewrite.filters import filter_first
from gateway.rewrite.flatten import flatten_derived
from gateway.rewrite.groups import filter_groups
from gateway.rewrite.leaf import aggregate_leaves
from gateway.rewrite.optional import count_optional
from gateway.rewrite.own import own_subqueries
from gateway.rewrite.predicates import push_predicates
from gateway.rewrite.prune import prune_outputs
from gateway.rewrite.restrict import restrict_by_keys
from gateway.rewrite.shared import own_ctes
from gateway.rewrite.tree import plain_outputs, unique_aliases

__all__ = ["KEYED", "RULES", "Context", "Rule", "rewrite"]


@dataclass
class Context:
    """What rules may look at: the relations named, and a list to which they note what they did."""

    relations: dict[RelationName, Relation]
    notes: list[str] = field(default_factory=list)


Rule = Callable[[exp.Query, Context], exp.Query]

RULES: tuple[Rule, ...] = (
    fold_dates,
    inline_ctes,
    push_predicates,
    flatten_derived,
    split_disjunctions,
    filter_groups,
    decorrelate_aggregates,
    infer_equalities,
    prune_outputs,
    aggregate_leaves,
    own_ctes,
    own_subqueries,
    colocate_joins,
    eager_aggregation,
    sums_apart,
    count_optional,
    distinct_existence,
    filter_first,
    push_predicates,
    prune_outputs,
)

KEYED: tuple[Rule, ...] = tuple(
    one for rule in RULES for one in ((rule, restrict_by_keys) if rule is split_disjunctions else (rule,))
)
"""With the one rule that believes what owners declare: what it leaves is right if that is true, and it is seen."""


def rewrite(tree: exp.Query, context: Context, rules: tuple[Rule, ...] = RULES) -> exp.Query:
    """Apply `rules` to a copy of a qualified tree; aliases become unique and names plain first."""
    tree = plain_outputs(unique_aliases(tree.copy()))
    for rule in rules:
        tree = rule(tree, context)
    return tree
