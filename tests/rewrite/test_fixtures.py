"""Each rule on text: tests/fixtures/rewrite/<rule>.sql, over the relations of tests/differential/world.py.

    -- what this pair shows
    SELECT ..;                  as an analyst writes it
    -- becomes
    SELECT ..;                  as the rule leaves it, names resolved and aliases numbered
or  -- left alone               the rule finds nothing to do

Line breaks don't count. Add a pair by adding text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlglot import parse_one

from gateway.rewrite import KEYED, Context, Rule, rewrite
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
from tests.differential.harness import resolved
from tests.differential.world import CITY
from tests.rewrite.shape import shape

HERE = Path(__file__).parent.parent / "fixtures" / "rewrite"
FILES: dict[str, Rule] = {
    "dates": fold_dates,
    "ctes": inline_ctes,
    "predicates": push_predicates,
    "flatten": flatten_derived,
    "prune": prune_outputs,
    "disjunctions": split_disjunctions,
    "decorrelate": decorrelate_aggregates,
    "equalities": infer_equalities,
    "leaf": aggregate_leaves,
    "own": own_subqueries,
    "colocate": colocate_joins,
    "eager": eager_aggregation,
    "apart": sums_apart,
    "optional": count_optional,
    "existential": distinct_existence,
    "filters": filter_first,
    "shared": own_ctes,
    "groups": filter_groups,
    "restrict": restrict_by_keys,
}


@dataclass(frozen=True)
class Pair:
    """expected: None where the rule leaves the statement alone."""

    rule: str
    title: str
    sql: str
    expected: str | None


def read(rule: str) -> list[Pair]:
    """All pairs of one file. Raises ValueError for text that is no pair."""
    pairs = []
    for block in (HERE / f"{rule}.sql").read_text().strip().split("\n\n"):
        lines = block.splitlines()
        marks = [i for i, line in enumerate(lines) if line.startswith("-- ")]
        if len(marks) != 2 or marks[0] != 0 or lines[marks[1]] not in ("-- becomes", "-- left alone"):
            raise ValueError(f"{rule}.sql: not a pair: {lines[0]}")
        sql, expected = lines[1 : marks[1]], lines[marks[1] + 1 :]
        pairs.append(Pair(rule, lines[0][3:], _joined(sql), _joined(expected) if expected else None))
    return pairs


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines).removesuffix(";")


PAIRS = [pair for rule in FILES for pair in read(rule)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p.rule}: {p.title}")
def test_rule(pair: Pair) -> None:
    bound = resolved(CITY, pair.sql)
    before = rewrite(bound.tree, Context(bound.relations), ())
    after = rewrite(bound.tree, Context(bound.relations), (FILES[pair.rule],))
    assert after.sql("trino") == (pair.expected or before.sql("trino"))


@pytest.mark.parametrize("pair", [p for p in PAIRS if p.expected], ids=lambda p: f"{p.rule}: {p.title}")
def test_what_a_rule_leaves_is_one_statement(pair: Pair) -> None:
    """The text reads back as the tree that it was written from: no bracket is missing."""
    bound = resolved(CITY, pair.sql)
    after = rewrite(bound.tree, Context(bound.relations), KEYED)
    again = parse_one(after.sql("trino"), dialect="trino")
    assert shape(again) == shape(after)


def test_every_rule_has_pairs() -> None:
    assert set(FILES.values()) == set(KEYED)
    for rule in FILES:
        mine = [p for p in PAIRS if p.rule == rule]
        assert len(mine) >= 5
        assert any(p.expected is None for p in mine)
