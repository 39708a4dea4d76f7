"""Every statement gives the same rows over departments as over one database, and shows the same labels.

Each runs with no rule, with each rule alone and with all rules: a failure names the rule at fault.
"""

from __future__ import annotations

import random
from functools import cache

import pytest
from sqlglot import parse_one

from catalog.errors import AccessDenied, CityError, Outcome, UserError
from gateway.plan import bind
from gateway.plan.split import split
from gateway.rewrite import RULES, Context, Rule, rewrite
from gateway.rewrite.leaf import aggregate_leaves
from tests.differential.corpus import STATEMENTS, Statement
from tests.differential.harness import (
    Rows,
    World,
    as_written,
    guessed_stars,
    has_star,
    plan_of,
    resolved,
    rows_of,
    run,
    same,
    told,
)
from tests.differential.world import CITY

SUBSETS: dict[str, tuple[Rule, ...]] = {
    "all rules": RULES,
    "no rule": (),
    **{rule.__name__: (rule,) for rule in dict.fromkeys(RULES)},
}


BOUND = [s for s in STATEMENTS if s.id.startswith(("bind:", "reductions:"))]


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: s.id)
def test_federated_equals_pooled(statement: Statement) -> None:
    want, labels = _pooled(statement)
    bound = resolved(CITY, statement.sql)
    seen = set()
    for name, rules in SUBSETS.items():
        context = Context(bound.relations)
        tree = rewrite(bound.tree, context, rules)
        form = (hash(tree), *context.notes)
        if form in seen:  # a rule that does nothing leaves the tree that was planned before
            continue
        seen.add(form)
        try:
            plan = split(tree, bound.labels, bound.relations, bound.local, tuple(context.notes))
        except AccessDenied as refused:
            # Without its rule, a relation that gives sums only can't answer what stands above the sums.
            if refused.outcome != Outcome.MODE or aggregate_leaves in rules:
                raise
            continue
        # Spelling through stars is tested in `test_labels`.
        assert [x.lower() for x in plan.labels] == [x.lower() for x in labels], name
        got = run(CITY, plan)
        assert same(want, got, statement.ordered), f"with {name}\npooled {want}\nfederated {got}\n{told(plan)}"


@pytest.mark.parametrize("chance", [0.2, 0.5, 0.8])
def test_no_answer_depends_on_who_waits_for_whom(chance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses thrown by dice: any order, any sets, and never a circle (`run` would notice). chance: that keys pay."""
    dice = random.Random(chance)
    monkeypatch.setattr(bind, "_part_left", lambda *_: dice.random() if dice.random() < chance else None)
    monkeypatch.setattr(bind, "_part", lambda *_: dice.random())
    bound = several = 0
    for statement in BOUND:
        plan = plan_of(resolved(CITY, statement.sql))
        sets = [len(f.keys.sets) for f in plan.fragments if f.keys is not None and not f.keys.always]
        if not sets:
            continue
        bound, several = bound + 1, several + (max(sets) > 1)
        assert same(_pooled(statement)[0], run(CITY, plan), statement.ordered), f"{statement.id}\n{told(plan)}"
    assert bound > 40
    assert several > 1


def test_rows_that_others_do_not_match_give_no_keys() -> None:
    """Only what is left of a giver by that is small enough."""
    found = 0
    for statement in BOUND:
        with guessed_stars():
            plan = plan_of(resolved(CITY, statement.sql))
        if has_star(plan):
            found += 1
            assert same(_pooled(statement)[0], run(CITY, plan), statement.ordered), f"{statement.id}\n{told(plan)}"
    assert found > 20


@pytest.mark.parametrize(("keys", "most"), [(1, 100), (4, 100), (3, 2)])
def test_answers_come_in_whatever_pieces_keys_are_sent(keys: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """keys: that a department takes at once. most: in a set that is sent at all."""
    monkeypatch.setattr(bind, "MAX_KEYS", most)
    monkeypatch.setattr(bind, "_part_left", lambda *_: 0.1)
    small = World(CITY.tables, {n: {**CITY.traits.get(n, {}), "max_keys": keys} for n in CITY.tables})
    for statement in BOUND:
        plan = plan_of(resolved(small, statement.sql))
        if any(f.keys is not None and not f.keys.always for f in plan.fragments):
            assert same(_pooled(statement)[0], run(small, plan), statement.ordered), f"{statement.id}\n{told(plan)}"


@cache
def _pooled(statement: Statement) -> tuple[Rows, tuple[str, ...]]:
    table, labels = as_written(CITY, statement.plain)
    return rows_of(table), labels


KEYED = [s for s in STATEMENTS if s.id.startswith(("bind", "joins", "outer_joins"))]


@pytest.mark.parametrize("cap", [1, 2])
@pytest.mark.parametrize("statement", KEYED, ids=lambda s: s.id)
def test_more_keys_than_the_cap(statement: Statement, cap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more keys than may travel, the department is asked without them."""
    monkeypatch.setattr(bind, "MAX_KEYS", cap)
    want, _ = _pooled(statement)
    got = run(CITY, plan_of(resolved(CITY, statement.sql)))
    assert same(want, got, statement.ordered)


LABELS = {
    "SELECT Id, NAME AS TheName, staff + 1 FROM market.main.company": ("Id", "TheName", "_col2"),
    'SELECT id AS "größe", name AS "A b" FROM market.main.company': ("größe", "A b"),
    "SELECT k.*, 1 FROM market.main.code k": ("company", "code", "valid_from", "valid_to", "_col4"),
    'SELECT * FROM (SELECT id AS "My Id", Name, 1 FROM market.main.company) t': ("My Id", "Name", "_col2"),
    "SELECT d.* FROM (SELECT * FROM (SELECT id AS MyId FROM market.main.company) a) d": ("MyId",),
    "WITH W AS (SELECT id AS MyId FROM market.main.company) SELECT * FROM w": ("MyId",),
    "WITH w AS (SELECT id AS MyId FROM market.main.company), v AS (WITH w AS (SELECT * FROM w) SELECT * FROM w) "
    "SELECT * FROM v": ("MyId",),
    "SELECT X.MYID FROM (SELECT id AS MyId FROM market.main.company) x": ("MYID",),
    "SELECT Id FROM market.main.company UNION ALL SELECT Company FROM water.main.meter": ("Id",),
    "SELECT * FROM water.main.tariff JOIN health.main.ward USING (District)":
        ("district", "price", "since", "id", "beds", "open"),
    "SELECT (SELECT 1), (SELECT 2) AS Two": ("_col0", "Two"),
    "VALUES (1, 2)": ("_col0", "_col1"),
    "SELECT * FROM (VALUES (1, 2)) AS v (A, b)": ("A", "b"),
    "SELECT CAST(id AS varchar), COUNT(*) FROM health.main.ward GROUP BY id": ("_col0", "_col1"),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "labels"), LABELS.items(), ids=LABELS)
def test_labels(sql: str, labels: tuple[str, ...]) -> None:
    """As typed; `_col` and the place where there is no name; through stars and subqueries likewise."""
    assert plan_of(resolved(CITY, sql)).labels == labels


REFUSED = {
    "SELECT id, name FROM market.main.company NATURAL JOIN water.main.meter": "Natural join not supported",
    "SELECT a.id FROM market.main.company a LEFT JOIN (water.main.meter m JOIN chemicals.main.stock s "
    "ON s.company = m.company) ON a.id = m.company": "A join in brackets on the right side",
    "SELECT a.id FROM market.main.company a JOIN water.main.meter m JOIN chemicals.main.stock s "
    "ON s.company = m.company ON a.id = m.company": "A join in brackets on the right side",
    "SELECT * FROM (SELECT id AS x, name AS x FROM market.main.company) d": "Column '*' is ambiguous",
    "SELECT d.x FROM (SELECT id AS x, name AS x FROM market.main.company) d": "Column 'x' is ambiguous",
    "SELECT company FROM water.main.meter, chemicals.main.stock": "Column 'company' is ambiguous",
    "SELECT company.name FROM market.main.company WHERE EXISTS (SELECT 1 FROM chemicals.main.substance company "
    "WHERE market.main.company.name = company.name)": "cannot be told from one of a nearer table of that name",
    "SELECT meter.id FROM water.main.meter WHERE EXISTS (SELECT 1 FROM (SELECT 'A1' AS company) meter "
    "WHERE water.main.meter.company = 'A1')": "Give one of the two tables an alias with AS",
    "SELECT company.name FROM (SELECT 'x' AS name) company WHERE market.main.company.name = 'x'":
        "Column 'market.main.company.name' cannot be resolved",
    "SELECT d.a FROM (SELECT id, beds FROM health.main.ward) d (a)": "has 1 entries but the relation has 2 columns",
    "WITH w (a) AS (SELECT * FROM health.main.ward) SELECT a FROM w": "has 1 entries but the relation has 4 columns",
    "SELECT a FROM health.main.ward AS w (a, b)": "has 2 entries but the relation has 4 columns",
    "WITH w AS (SELECT 1 AS a), W AS (SELECT 2 AS a) SELECT * FROM w": "specified more than once",
    "SELECT id FROM health.main.ward ORDER BY 5": "Position 5",
    "SELECT nothing FROM market.main.company": "Column 'nothing' cannot be resolved",
    "SELECT district FROM housing.main.trip": "answers sums only",
    "SELECT t.district FROM housing.main.trip t JOIN health.main.ward w ON w.id = t.hour": "answers sums only",
    "SELECT t.district, SUM(t.riders) FROM housing.main.trip t JOIN health.main.ward w ON w.district = t.district "
    "GROUP BY t.district": "answers sums only",
    "SELECT id FROM housing.main.owner": "match or no-match",
    "SELECT verify('housing.main.trip', person) FROM health.main.admission": "is not a relation to verify against",
    "SELECT verify('housing.main.nobody', person) FROM health.main.admission": "does not exist",
    "SELECT a.id FROM health.main.ward a JOIN water.main.tariff c ON verify('housing.main.owner', a.id)":
        "not for the ON of a join",
    "SELECT verify('housing.main.owner', MAX(id)) FROM health.main.ward": "a value of a row",
    "SELECT w.id FROM health.main.ward w WHERE EXISTS (SELECT 1 FROM water.main.meter m WHERE m.district = w.district "
    "AND verify('housing.main.owner', m.id))": "not for a subquery that reads the rows around it",
}  # fmt: skip


def test_no_name_is_suggested_in_place_of_itself() -> None:
    """Another relation of the statement has it, and does not show it here."""
    with pytest.raises(UserError, match="Column 'name' cannot be resolved") as refused:
        resolved(CITY, "SELECT name FROM (SELECT id FROM market.main.company) d")
    assert "name?" not in refused.value.hint


def test_an_interval_travels_as_what_it_counts() -> None:
    fragment = parse_one(
        "SELECT ARRAY[INTERVAL '3' DAY] AS c0, INTERVAL '2' YEAR AS c1 FROM water.main.meter AS t LIMIT 1",
        dialect="trino",
    )
    assert CITY.engine.ask(fragment).to_pylist() == [{"c0": [3 * 86_400_000], "c1": 24}]


@pytest.mark.parametrize(("sql", "words"), REFUSED.items(), ids=REFUSED)
def test_refused_by_name(sql: str, words: str) -> None:
    """What can't be planned exactly is refused in words, never planned otherwise."""
    with pytest.raises(CityError) as refusal:
        plan_of(resolved(CITY, sql))
    assert words in str(refusal.value)
