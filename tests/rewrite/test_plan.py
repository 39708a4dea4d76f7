"""The shape of plans: which question goes to which department, byte for byte, and what stays above.

That answers are right is proved in tests/differential; here is what departments are asked.
"""

from __future__ import annotations

import pytest

from catalog.errors import AccessDenied, Outcome
from catalog.relation import Linkage
from gateway.plan import Plan
from gateway.plan import bind as binding
from gateway.plan.verify import BATCH
from tests.differential.corpus import STATEMENTS
from tests.differential.harness import World, planned
from tests.differential.tpch import tiny
from tests.differential.world import CITY

KEYS = '(SELECT k FROM "$keys")'


def asked(plan: Plan) -> list[str]:
    """`department: text`; with keys, the text that is sent with them."""
    return [f"{f.department}: {f.keys.sql if f.keys is not None else f.sql}" for f in plan.fragments]


SHAPES: dict[str, tuple[str, list[str]]] = {
    "one department answers a whole statement alone": (
        "SELECT m.id, SUM(r.m3) AS s FROM water.main.meter m JOIN water.main.reading r ON r.meter_id = m.id "
        "WHERE m.factor > 0 GROUP BY m.id ORDER BY s LIMIT 3",
        ["water: SELECT t0.id AS c0, SUM(t1.m3) AS c1 FROM water.main.meter AS t0 JOIN water.main.reading AS t1 "
         "ON t1.meter_id = t0.id WHERE t0.factor > 0 GROUP BY t0.id ORDER BY c1 LIMIT 3"],
    ),
    "a star is spelled out": (
        "SELECT * FROM health.main.ward",
        ["health: SELECT t0.id AS c0, t0.district AS c1, t0.beds AS c2, t0.open AS c3 FROM health.main.ward AS t0"],
    ),
    "a scan delivers the columns that are read above and the rows that its own conditions keep": (
        "SELECT c.name, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company <> c.id "
        "WHERE c.district = 'north' AND r.m3 > 5 AND (c.staff > 3 OR r.flag)",
        ["market: SELECT t0.id AS c0, t0.name AS c1, t0.staff AS c2 FROM market.main.company AS t0 "
         "WHERE t0.district = 'north'",
         "water: SELECT t0.company AS c0, t0.m3 AS c1, t0.flag AS c2 FROM water.main.reading AS t0 WHERE t0.m3 > 5"],
    ),
    "a join and an aggregation of one department are one question": (
        "SELECT c.name, d.n FROM market.main.company c JOIN (SELECT m.company, COUNT(*) AS n FROM water.main.meter m "
        "JOIN water.main.reading r ON r.meter_id = m.id GROUP BY m.company) d ON d.company = c.id",
        ["water: SELECT t0.company AS c0, COUNT(*) AS c1 FROM water.main.meter AS t0 JOIN water.main.reading AS t1 "
         "ON t1.meter_id = t0.id GROUP BY t0.company",
         "market: SELECT t0.id AS c0, t0.name AS c1 FROM market.main.company AS t0"],
    ),
    "a subquery of one department is one question": (
        "SELECT c.id FROM market.main.company c WHERE c.id IN (SELECT r.company FROM water.main.reading r "
        "JOIN water.main.meter m ON m.id = r.meter_id WHERE m.factor = 1)",
        ["water: SELECT DISTINCT t0.company AS c0 FROM water.main.reading AS t0 JOIN water.main.meter AS t1 "
         "ON t1.id = t0.meter_id WHERE t1.factor = 1",
         f"market: SELECT t0.id AS c0 FROM market.main.company AS t0 WHERE t0.id IN {KEYS}"],
    ),
    "ON of a LEFT JOIN restricts the scan of its right side": (
        "SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company > c.id AND r.m3 > 5 "
        "AND c.staff = 1",
        ["market: SELECT t0.id AS c0, t0.staff AS c1 FROM market.main.company AS t0",
         "water: SELECT t0.company AS c0, t0.m3 AS c1 FROM water.main.reading AS t0 WHERE t0.m3 > 5"],
    ),
    "ON of a RIGHT JOIN restricts no scan": (
        "SELECT c.id, r.m3 FROM market.main.company c RIGHT JOIN water.main.reading r ON r.company > c.id AND r.m3 > 5 "
        "AND c.staff = 1",
        ["market: SELECT t0.id AS c0, t0.staff AS c1 FROM market.main.company AS t0",
         "water: SELECT t0.company AS c0, t0.m3 AS c1 FROM water.main.reading AS t0"],
    ),
    "arms of a union are grouped by department": (
        "SELECT c.id FROM market.main.company c UNION ALL SELECT k.company FROM market.main.code k "
        "UNION ALL SELECT m.company FROM water.main.meter m WHERE m.id = 3",
        ["market: SELECT u.c0 AS c0 FROM (SELECT t0.id AS c0 FROM market.main.company AS t0 UNION ALL "
         "SELECT t1.company AS company FROM market.main.code AS t1) AS u",
         "water: SELECT t0.company AS c0 FROM water.main.meter AS t0 WHERE t0.id = 3"],
    ),
    "a set operation of one department keeps its order and limit": (
        "SELECT id AS k, name AS k FROM market.main.company UNION ALL SELECT seller, buyer FROM market.main.sale "
        "ORDER BY 2, 1 LIMIT 2",
        ["market: SELECT u.c0 AS c0, u.c1 AS c1 FROM (SELECT t0.id AS c0, t0.name AS c1 FROM market.main.company AS t0 "
         "UNION ALL SELECT t1.seller AS seller, t1.buyer AS buyer FROM market.main.sale AS t1 ORDER BY 2, 1 LIMIT 2) "
         "AS u ORDER BY 2, 1"],
    ),
    "an ordered set operation of one department is ordered by name": (
        'SELECT id AS "a b" FROM market.main.company UNION SELECT seller FROM market.main.sale ORDER BY "a b" DESC',
        ["market: SELECT u.c0 AS c0 FROM (SELECT t0.id AS c0 FROM market.main.company AS t0 UNION "
         "SELECT t1.seller AS seller FROM market.main.sale AS t1 ORDER BY c0 DESC) AS u ORDER BY c0 DESC"],
    ),
    "a condition above a union reaches every department": (
        "SELECT u.k FROM (SELECT id AS k FROM market.main.company UNION ALL SELECT company FROM water.main.meter) u "
        "WHERE u.k > 'A1'",
        ["market: SELECT t0.id AS c0 FROM market.main.company AS t0 WHERE t0.id > 'A1'",
         "water: SELECT t0.company AS c0 FROM water.main.meter AS t0 WHERE t0.company > 'A1'"],
    ),
    "a CTE that is used twice is asked once": (
        "WITH w AS (SELECT company, SUM(m3) AS t FROM water.main.reading GROUP BY company) "
        "SELECT a.company FROM w a JOIN w b ON b.t > a.t JOIN market.main.company c ON c.id > a.company",
        ["water: SELECT t0.company AS c0, SUM(t0.m3) AS c1 FROM water.main.reading AS t0 GROUP BY t0.company",
         "market: SELECT t0.id AS c0 FROM market.main.company AS t0"],
    ),
    "equal questions are asked once": (
        "SELECT a.id FROM health.main.ward a JOIN health.main.ward b ON b.id > a.id JOIN water.main.tariff t ON TRUE",
        ["health: SELECT t0.id AS c0 FROM health.main.ward AS t0",
         "water: SELECT t0.district AS c0 FROM water.main.tariff AS t0"],
    ),
    "names that need quotes stay in the gateway": (
        'SELECT d."a b" AS "größe" FROM (SELECT id AS "a b" FROM market.main.company) d WHERE d."a b" = \'A1\'',
        ["market: SELECT t0.o0 AS c0 FROM (SELECT t1.id AS o0 FROM market.main.company AS t1 WHERE t1.id = 'A1') "
         "AS t0"],
    ),
    "sums go down below a join, with the keys of the other side": (
        "SELECT c.district, SUM(r.m3) AS s, COUNT(*) AS n FROM water.main.reading r "
        "JOIN market.main.company c ON c.id = r.company WHERE r.flag AND c.staff > 1 GROUP BY c.district",
        ["water: SELECT t0.company AS c0, SUM(t0.m3) AS c1, COUNT(*) AS c2 FROM water.main.reading AS t0 "
         f"WHERE t0.flag AND t0.company IN {KEYS} GROUP BY t0.company",
         "market: SELECT t0.id AS c0, t0.district AS c1 FROM market.main.company AS t0 WHERE t0.staff > 1"],
    ),
    "an aggregate relation is asked exactly the keys and sums that were written": (
        "SELECT district, SUM(riders) / COUNT(*) AS mean FROM housing.main.trip WHERE hour = 8 GROUP BY district "
        "HAVING SUM(riders) > 3 ORDER BY mean LIMIT 1",
        ["housing: SELECT t0.district AS c0, SUM(t0.riders) AS c1, COUNT(*) AS c2 FROM housing.main.trip AS t0 "
         "WHERE t0.hour = 8 GROUP BY t0.district"],
    ),
    "no keys are bound into an aggregate relation": (
        "SELECT x.n, w.beds FROM (SELECT district, SUM(riders) AS n FROM housing.main.trip GROUP BY district) x "
        "JOIN health.main.ward w ON w.district = x.district WHERE w.id = 10",
        ["housing: SELECT t0.district AS c0, SUM(t0.riders) AS c1 FROM housing.main.trip AS t0 GROUP BY t0.district",
         "health: SELECT t0.district AS c0, t0.beds AS c1 FROM health.main.ward AS t0 WHERE t0.id = 10"],
    ),
    "a claim is verified once a key": (
        "SELECT a.person FROM health.main.admission a WHERE verify('housing.main.owner', a.person) AND a.days > 1",
        ["health: SELECT t0.person AS c0, t0.days AS c1 FROM health.main.admission AS t0 WHERE t0.days > 1",
         "housing: SELECT k AS c0, verify('housing.main.owner', k) AS c1 FROM \"$keys\""],
    ),
    "a correlated subquery is a scan of its own conditions": (
        "SELECT c.id, (SELECT MAX(r.m3) FROM water.main.reading r WHERE r.company = c.id AND r.flag) AS m "
        "FROM market.main.company c",
        ["water: SELECT t0.company AS c0, t0.m3 AS c1, t0.flag AS c2 FROM water.main.reading AS t0 WHERE t0.flag",
         "market: SELECT t0.id AS c0 FROM market.main.company AS t0"],
    ),
    "nothing is asked where nothing is named": ("SELECT 1 AS one", []),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "questions"), SHAPES.values(), ids=SHAPES)
def test_departments_are_asked(sql: str, questions: list[str]) -> None:
    assert asked(planned(CITY, sql)) == questions


JOIN = "SELECT c.id, r.m3 FROM market.main.company c {} JOIN water.main.reading r ON r.company = c.id {} WHERE {}"
BOUND: dict[str, tuple[str, bool]] = {
    "from a restricted side": (JOIN.format("", "", "c.staff = 10"), True),
    "from neither side, if nothing restricts one": (JOIN.format("", "", "c.staff = r.m3"), False),
    "from the side that is restricted more": (JOIN.format("", "", "c.staff = 10 AND r.m3 > 1"), True),
    "into the subquery that a row asks": (
        "SELECT c.id FROM market.main.company c WHERE c.staff = 10 AND NOT EXISTS "
        "(SELECT 1 FROM water.main.reading r WHERE r.company = c.id)", True),
    "from what IN demands": (
        "SELECT c.id FROM market.main.company c WHERE c.id IN (SELECT company FROM water.main.reading WHERE m3 = 7)",
        True),
    "not from what NOT IN forbids": (
        "SELECT c.id FROM market.main.company c WHERE c.id NOT IN (SELECT company FROM water.main.reading "
        "WHERE m3 = 7)", False),
    "to the right side of a LEFT JOIN": (JOIN.format("LEFT", "", "c.staff = 10"), True),
    "not to the preserved side of a RIGHT JOIN": (JOIN.format("RIGHT", "AND c.staff = 10", "TRUE"), False),
    "not to a side of a FULL JOIN": (JOIN.format("FULL", "", "c.staff = 10"), False),
    "not below a window": (
        "SELECT c.id, d.n FROM market.main.company c JOIN (SELECT company, RANK() OVER (ORDER BY m3) AS n "
        "FROM water.main.reading) d ON d.company = c.id WHERE c.staff = 10", False),
    "not below a limit": (
        "SELECT c.id FROM market.main.company c JOIN (SELECT company FROM water.main.reading ORDER BY company "
        "FETCH FIRST 3 ROWS ONLY) d ON d.company = c.id WHERE c.staff = 10", False),
    "not of another type: integer to bigint": (
        "SELECT j.id FROM works.main.job j JOIN water.main.meter m ON m.id = j.id WHERE j.hours > 1", False),
    "not of a type that does not travel: decimal": (
        "SELECT s.seller FROM market.main.sale s JOIN works.main.job j ON j.hours = s.amount WHERE s.qty = 3", False),
    "not within one department": (
        "SELECT c.id FROM market.main.company c JOIN market.main.code k ON k.company = c.id "
        "JOIN water.main.tariff t ON TRUE WHERE c.staff = 10", False),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "bound"), BOUND.values(), ids=BOUND)
def test_keys_travel(sql: str, bound: bool) -> None:
    plan = planned(CITY, sql)
    assert [f.keys is not None for f in plan.fragments].count(True) == int(bound)
    for fragment in plan.fragments:
        assert fragment.keys is None or fragment.keys.needs <= plan.stored


def test_keys_never_travel_to_a_pseudonym() -> None:
    """No department can turn one back, so none could look for it in its own data."""
    sql = JOIN.format("", "", "c.staff = 10")
    hidden = World(CITY.tables)
    for name, relation in CITY.relations.items():
        linked = {"reading": "company", "company": "id"}.get(name.table)
        columns = tuple(
            c.model_copy(update={"linkage": Linkage(purpose="test", group="g")}) if c.name == linked else c
            for c in relation.columns
        )
        hidden.relations[name] = relation.model_copy(update={"columns": columns})
    assert any(f.keys is not None for f in planned(CITY, sql).fragments)
    assert not any(f.keys is not None for f in planned(hidden, sql).fragments)


def test_the_cap_of_keys_is_part_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "MAX_KEYS", 7)
    bound = [f.keys for f in planned(CITY, JOIN.format("", "", "c.staff = 10")).fragments if f.keys is not None]
    assert [(k.chunk, k.always) for k in bound] == [(7, False)]


def test_claims_go_in_batches_and_only_as_keys() -> None:
    """A question that verifies has no meaning without its keys, and holds none of them as text."""
    plan = planned(
        CITY, "SELECT verify('housing.main.owner', a.person) FROM health.main.admission a WHERE a.person = 4711"
    )
    question = plan.fragments[1]
    assert question.keys is not None
    assert (question.keys.chunk, question.keys.always) == (BATCH, True)
    assert "4711" not in question.sql


def test_equal_claims_are_one_question() -> None:
    sql = (
        "SELECT verify('housing.main.owner', person), COUNT(*) FROM health.main.admission "
        "WHERE verify('housing.main.owner', person) IS NOT NULL GROUP BY verify('housing.main.owner', person)"
    )
    assert [f.department for f in planned(CITY, sql).fragments] == ["health", "housing"]


REFUSED = {
    "rows": "SELECT district FROM housing.main.trip",
    "a join": "SELECT SUM(t.riders) FROM housing.main.trip t JOIN health.main.ward w ON w.district = t.district",
    "distinct rows": "SELECT DISTINCT district FROM housing.main.trip",
    "a window over rows": "SELECT SUM(riders) OVER () FROM housing.main.trip",
    "grouping sets": "SELECT district, SUM(riders) FROM housing.main.trip GROUP BY ROLLUP (district)",
    "a correlated subquery": "SELECT w.id, (SELECT SUM(riders) FROM housing.main.trip t WHERE t.district = w.district) "
    "FROM health.main.ward w",
    "rows of a relation to verify against": "SELECT id FROM housing.main.owner",
    "sums of a relation to verify against": "SELECT COUNT(*) FROM housing.main.owner",
}


@pytest.mark.parametrize("sql", REFUSED.values(), ids=REFUSED)
def test_a_mode_refuses(sql: str) -> None:
    """Nothing partial: a shape that the mode can't answer exactly is refused, and says by whom."""
    with pytest.raises(AccessDenied) as refusal:
        planned(CITY, sql)
    assert refusal.value.outcome == Outcome.MODE
    assert refusal.value.who == "housing"


SECRETS = {"market": "market's own", "water": "water's own", "health": "health's own"}
LEAKS = (
    "FROM market.main.company c JOIN water.main.reading r ON r.company = c.id JOIN health.main.admission a "
    "ON a.company = c.id WHERE c.name = {m} AND r.note = {w} AND a.cause = {h}",
    "FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id AND r.note = {w} AND c.name = {m} "
    "LEFT JOIN health.main.admission a ON a.company = c.id AND a.cause = {h}",
    "FROM market.main.company c FULL JOIN water.main.reading r ON r.company = c.id AND r.note = {w} AND c.name = {m} "
    "RIGHT JOIN health.main.admission a ON a.cause = {h} OR c.name = {m}",
    "FROM market.main.company c, water.main.reading r, health.main.admission a "
    "WHERE (c.name = {m} OR r.note = {w}) AND (a.cause = {h} OR c.name = {m})",
    "FROM (SELECT * FROM market.main.company WHERE name = {m}) c JOIN (SELECT company, note, COUNT(*) AS n "
    "FROM water.main.reading GROUP BY company, note) r ON r.company = c.id AND r.note = {w}, health.main.admission a "
    "WHERE a.cause IN ({h})",
    "FROM market.main.company c WHERE c.name = {m} AND c.id IN (SELECT company FROM water.main.reading "
    "WHERE note = {w}) AND EXISTS (SELECT 1 FROM health.main.admission a WHERE a.company = c.id AND a.cause = {h})",
)


@pytest.mark.parametrize("rest", LEAKS)
@pytest.mark.parametrize("outputs", ["1 AS one", "COUNT(*) AS n"])
def test_no_department_reads_what_was_written_about_another(outputs: str, rest: str) -> None:
    words = {d[0]: "'" + secret.replace("'", "''") + "'" for d, secret in SECRETS.items()}
    plan = planned(CITY, f"SELECT {outputs} {rest.format(**words)}")
    assert {f.department for f in plan.fragments} == set(SECRETS)
    for fragment in plan.fragments:
        texts = [fragment.sql, fragment.keys.sql if fragment.keys is not None else ""]
        for department, word in words.items():
            assert department == fragment.department[0] or not any(word in text for text in texts)


def test_plans_are_the_same_twice() -> None:
    """Planning is a pure function: texts can be cached, compared and explained beforehand."""
    for statement in STATEMENTS[::4]:
        one, other = planned(CITY, statement.sql), planned(CITY, statement.sql)
        assert asked(one) == asked(other)
        assert (one.merge and one.merge.sql("trino")) == (other.merge and other.merge.sql("trino"))


@pytest.mark.parametrize(
    "condition", ["o.o_orderkey = 33", "o.o_orderkey IN (1, 2, 3)", "(o.o_orderkey = 1 OR o.o_orderkey = 5)"]
)
def test_a_few_values_of_a_key_are_few_rows_so_their_keys_are_worth_a_wait(condition: str) -> None:
    plan = planned(
        tiny(),
        "SELECT c.c_name, o.o_orderkey FROM a.main.orders AS o JOIN b.main.customer AS c ON c.c_custkey = o.o_custkey "
        f"WHERE {condition}",
    )
    assert [f.keys is not None for f in plan.fragments] == [False, True]


def test_a_value_of_another_column_may_be_many_rows() -> None:
    plan = planned(
        tiny(),
        "SELECT c.c_name, o.o_orderkey FROM a.main.orders AS o JOIN b.main.customer AS c ON c.c_custkey = o.o_custkey "
        "WHERE o.o_shippriority = 0",
    )
    assert [f.keys is not None for f in plan.fragments] == [False, False]


@pytest.mark.parametrize(
    ("condition", "waits"),
    [
        ("c.c_custkey = 7", False),
        ("c.c_custkey IN (7, 8, 9)", False),
        ("c.c_custkey = 7 AND o.o_orderstatus = 'F'", False),
        ("c.c_custkey IN (7, 8, 9) AND c.c_mktsegment = 'BUILDING'", True),
    ],
)
def test_whoever_was_told_the_same_values_waits_for_nobodys_keys(condition: str, waits: bool) -> None:
    plan = planned(
        tiny(),
        "SELECT c.c_name, o.o_orderkey FROM b.main.customer AS c JOIN a.main.orders AS o ON o.o_custkey = c.c_custkey "
        f"WHERE {condition}",
    )
    assert any(f.keys is not None for f in plan.fragments) == waits
