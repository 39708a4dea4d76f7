"""What a department is asked is what was planned: a fragment's text parses back to the fragment's tree.

A tree that was put together from parts may lack the brackets that its text needs: `(a OR b) AND c` written as
`a OR b AND c` is another question. Here every text that the planner writes is read again.
"""

from __future__ import annotations

from contextlib import suppress

from sqlglot import exp, parse_one

from catalog.errors import CityError
from catalog.exchange import KEYS_TABLES
from gateway.plan import Plan
from gateway.rewrite.tree import conjuncts, set_where
from tests.differential.corpus import STATEMENTS
from tests.differential.grammar import case, thrown
from tests.differential.harness import World, planned
from tests.differential.world import CITY
from tests.rewrite.shape import shape


def written(here: World, sql: str) -> tuple[Plan, dict[str, exp.Query]]:
    """A statement's plan, and the tree behind each text."""
    plan = planned(here, sql)
    return plan, {f.sql: f.tree for f in plan.fragments if f.keys is None or not f.keys.always}


def check(here: World, sql: str) -> int:
    """Read every text of a statement's plan again; how many there were."""
    plan, trees = written(here, sql)
    for text, tree in trees.items():
        assert shape(parse_one(text, dialect="trino")) == shape(tree), text
    for fragment in plan.fragments:
        if fragment.keys is not None and not fragment.keys.always:
            for places, text in fragment.keys.texts.items():
                bound = parse_one(text, dialect="trino")
                named = {t.name for t in bound.find_all(exp.Table)} & {*KEYS_TABLES}
                assert named == set(KEYS_TABLES[: len(places)]), text
                assert shape(without_keys(bound)) == shape(parse_one(fragment.sql, dialect="trino")), text
    return len(trees)


def without_keys(tree: exp.Expr) -> exp.Expr:
    """The fragment without the conditions that its keys are, wherever they stand."""
    found = [t for t in tree.find_all(exp.Table) if t.name in KEYS_TABLES]
    assert found
    for holder in {id(s): s for t in found if (s := t.parent_select.parent_select) is not None}.values():
        parts = conjuncts(holder.args["where"].this)
        set_where(holder, [p for p in parts if p.args.get("query") is None or not _reads_keys(p)])
    assert not any(t.name in KEYS_TABLES for t in tree.find_all(exp.Table))
    return tree


def _reads_keys(part: exp.Expr) -> bool:
    named = [t.name for t in part.args["query"].find_all(exp.Table)] if isinstance(part, exp.In) else []
    return len(named) == 1 and named[0] in KEYS_TABLES


def test_texts_of_the_corpus_read_back() -> None:
    assert sum(check(CITY, statement.sql) for statement in STATEMENTS) > 900


def test_texts_of_random_statements_read_back() -> None:
    for question in (case(thrown(number)) for number in range(150)):
        with suppress(CityError):  # a statement that is refused asks nobody anything
            check(question.here, question.sql)


def test_a_tree_that_lacks_a_bracket_is_noticed() -> None:
    either = exp.Or(this=exp.column("a"), expression=exp.column("b"))
    tree = exp.select("c0").from_("t")
    tree.set("where", exp.Where(this=exp.And(this=either, expression=exp.column("c"))))
    assert shape(parse_one(tree.sql("trino"), dialect="trino")) != shape(tree)
    either.replace(exp.paren(either.copy()))
    assert shape(parse_one(tree.sql("trino"), dialect="trino")) == shape(tree)
