"""What a department is asked is what was planned: a fragment's text parses back to the fragment's tree.

A tree that was put together from parts may lack the brackets that its text needs: `(a OR b) AND c` written as
`a OR b AND c` is another question. Here every text that the planner writes is read again.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from sqlglot import exp, parse_one

from catalog.errors import CityError
from catalog.exchange import KEYS_TABLE
from gateway.plan import Plan
from gateway.plan import split as splitting
from gateway.rewrite.tree import conjuncts, set_where
from tests.differential.corpus import STATEMENTS
from tests.differential.grammar import Case, cases
from tests.differential.harness import World, planned
from tests.differential.world import CITY
from tests.rewrite.shape import shape


def written(here: World, sql: str) -> tuple[Plan, dict[str, exp.Query]]:
    """A statement's plan, and the tree behind each text."""
    trees: dict[str, exp.Query] = {}
    make = splitting.fragment_text

    def remember(query: exp.Query) -> str:
        tree = splitting.fragment_tree(query)
        text = make(query)
        trees[text] = tree
        return text

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(splitting, "fragment_text", remember)
        return planned(here, sql), trees


def check(here: World, sql: str) -> int:
    """Read every text of a statement's plan again; how many there were."""
    plan, trees = written(here, sql)
    for text, tree in trees.items():
        assert shape(parse_one(text, dialect="trino")) == shape(tree), text
    for fragment in plan.fragments:
        if fragment.keys is not None and not fragment.keys.always:
            bound = parse_one(fragment.keys.sql, dialect="trino")
            assert shape(without_keys(bound)) == shape(parse_one(fragment.sql, dialect="trino")), fragment.keys.sql
    return len(trees)


def without_keys(tree: exp.Expr) -> exp.Expr:
    """The fragment without the one condition that its keys are."""
    assert isinstance(tree, exp.Select)
    parts = conjuncts(tree.args["where"].this)
    other = [p for p in parts if not any(t.name == KEYS_TABLE for t in p.find_all(exp.Table))]
    assert len(other) == len(parts) - 1
    set_where(tree, other)
    return tree


def test_texts_of_the_corpus_read_back() -> None:
    assert sum(check(CITY, statement.sql) for statement in STATEMENTS) > 900


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases())
def test_texts_of_random_statements_read_back(case: Case) -> None:
    with suppress(CityError):  # a statement that is refused asks nobody anything
        check(case.here, case.sql)


def test_a_tree_that_lacks_a_bracket_is_noticed() -> None:
    either = exp.Or(this=exp.column("a"), expression=exp.column("b"))
    tree = exp.select("c0").from_("t")
    tree.set("where", exp.Where(this=exp.And(this=either, expression=exp.column("c"))))
    assert shape(parse_one(tree.sql("trino"), dialect="trino")) != shape(tree)
    either.replace(exp.paren(either.copy()))
    assert shape(parse_one(tree.sql("trino"), dialect="trino")) == shape(tree)
