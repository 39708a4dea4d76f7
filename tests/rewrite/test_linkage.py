"""Pseudonyms of one (purpose, group, epoch) join across departments; nothing else is compared with them."""

from __future__ import annotations

import pytest

from catalog.errors import AccessDenied, Outcome
from catalog.relation import Column, Linkage
from gateway.plan import Plan
from tests.differential.harness import World, planned
from tests.differential.world import CITY

LINKED: dict[tuple[str, str], Linkage] = {
    ("company", "id"): Linkage(purpose="test", group="firms"),
    ("company", "parent"): Linkage(purpose="test", group="firms"),
    ("meter", "company"): Linkage(purpose="test", group="firms"),
    ("reading", "company"): Linkage(purpose="test", group="firms", epoch="2024"),
    ("ward", "district"): Linkage(purpose="test", group="wards"),
}
COMPANY, METER, READING, WARD = "market.main.company", "water.main.meter", "water.main.reading", "health.main.ward"


def linked_city() -> World:
    """The city, with pseudonyms for company numbers and, of another group, for wards' districts."""
    world = World(CITY.tables)
    for name, relation in CITY.relations.items():
        columns = tuple(_linked(c, LINKED.get((name.table, c.name))) for c in relation.columns)
        world.relations[name] = relation.model_copy(update={"columns": columns})
    return world


def _linked(column: Column, linkage: Linkage | None) -> Column:
    return column.model_copy(update={"linkage": linkage})


WORLD = linked_city()
JOINS = {
    "two departments of one group": f"SELECT c.name, m.id FROM {COMPANY} c JOIN {METER} m ON m.company = c.id",
    "within one department": f"SELECT a.name FROM {COMPANY} a JOIN {COMPANY} b ON a.id = b.parent",
    "USING": f"SELECT name FROM (SELECT id AS k, name FROM {COMPANY}) c JOIN "
    f"(SELECT company AS k FROM {METER}) m USING (k)",
    "IN a query of the other": f"SELECT name FROM {COMPANY} WHERE id IN (SELECT company FROM {METER})",
    "EXISTS": f"SELECT name FROM {COMPANY} c WHERE NOT EXISTS (SELECT 1 FROM {METER} m WHERE m.company = c.id)",
    "a literal": f"SELECT name FROM {COMPANY} WHERE id = 'A1' OR id IN ('B2', 'C3') OR id BETWEEN 'A' AND 'D'",
    "VALUES": f"SELECT c.name FROM {COMPANY} c JOIN (VALUES 'A1', 'B2') v (k) ON v.k = c.id",
    "UNION of one group": f"SELECT id FROM {COMPANY} UNION SELECT company FROM {METER}",
    "UNION ALL of two that nobody compares": f"SELECT id FROM {COMPANY} UNION ALL SELECT district FROM {WARD}",
    "both in one row": f"SELECT c.id, w.district FROM {COMPANY} c JOIN {WARD} w ON w.beds > c.staff",
    "plain columns beside": f"SELECT c.id, COUNT(*) FROM {COMPANY} c JOIN {METER} m ON m.company = c.id "
    "AND m.district = c.district GROUP BY c.id, c.district HAVING COUNT(DISTINCT m.district) > 1",
    "a key of pseudonym and plain text": f"SELECT c.id || c.name, COUNT(*) FROM {COMPANY} c GROUP BY c.id || c.name",
    "a replacement for NULL": f"SELECT COALESCE(parent, 'none') AS p, COUNT(*) FROM {COMPANY} "
    "GROUP BY COALESCE(parent, 'none')",
    "what is no text": f"SELECT c.id FROM {COMPANY} c JOIN {WARD} w ON LENGTH(c.id) = LENGTH(w.district)",
    "a condition is no value": f"SELECT CASE WHEN w.district = 'x' THEN c.id END AS k FROM {COMPANY} c "
    f"JOIN {WARD} w ON w.beds = c.staff WHERE CASE WHEN w.district = 'x' THEN c.id END = c.parent",
}  # fmt: skip
REFUSED = {
    "two groups": (
        f"SELECT 1 FROM {COMPANY} c JOIN {WARD} w ON c.id = w.district",
        ["market.main.company.id", "'firms'", "health.main.ward.district", "'wards'"],
    ),
    "two epochs": (
        f"SELECT 1 FROM {METER} m JOIN {READING} r ON r.company = m.company",
        ["water.main.meter.company", "water.main.reading.company", "epoch '2024'"],
    ),
    "a plain column": (
        f"SELECT 1 FROM {COMPANY} c WHERE c.id = c.name",
        ["market.main.company.id", "'firms'", "market.main.company.name is no pseudonym"],
    ),
    "a plain column of another department": (
        f"SELECT 1 FROM {COMPANY} c LEFT JOIN {METER} m ON c.id = m.district", ["water.main.meter.district"],
    ),
    "unequal": (f"SELECT 1 FROM {COMPANY} c JOIN {WARD} w ON c.id <> w.district", ["'wards'"]),
    "less": (f"SELECT 1 FROM {COMPANY} c JOIN {WARD} w ON c.id < w.district", ["'wards'"]),
    "IS DISTINCT FROM": (
        f"SELECT 1 FROM {COMPANY} c JOIN {WARD} w ON c.id IS DISTINCT FROM w.district", ["'wards'"]),
    "between": (f"SELECT 1 FROM {COMPANY} c WHERE c.id BETWEEN 'a' AND c.name", ["company.name"]),
    "IN a query": (f"SELECT 1 FROM {COMPANY} WHERE id IN (SELECT district FROM {WARD})", ["'wards'"]),
    "NOT IN a query": (f"SELECT 1 FROM {COMPANY} WHERE id NOT IN (SELECT district FROM {WARD})", ["'wards'"]),
    "IN a list": (f"SELECT 1 FROM {COMPANY} WHERE id IN ('a', name)", ["company.name"]),
    "a scalar query": (f"SELECT 1 FROM {COMPANY} WHERE id = (SELECT MAX(district) FROM {WARD})", ["'wards'"]),
    "ANY": (f"SELECT 1 FROM {COMPANY} WHERE id = ANY (SELECT district FROM {WARD})", ["'wards'"]),
    "a correlated query": (
        f"SELECT 1 FROM {COMPANY} c WHERE EXISTS (SELECT 1 FROM {WARD} w WHERE w.district = c.id)", ["'wards'"]),
    "through a derived table": (
        f"SELECT 1 FROM (SELECT id AS a, name AS b FROM {COMPANY}) x JOIN (SELECT beds, district AS d FROM {WARD}) y "
        "ON y.d = x.a", ["'firms'", "'wards'"]),
    "through WITH": (
        f"WITH a AS (SELECT id AS k FROM {COMPANY}), b (k) AS (SELECT district FROM {WARD}) "
        "SELECT 1 FROM a, b WHERE a.k = b.k", ["'firms'", "'wards'"]),
    "through USING": (
        f"SELECT 1 FROM (SELECT id AS k FROM {COMPANY}) a JOIN (SELECT district AS k FROM {WARD}) b USING (k)",
        ["'wards'"]),
    "through functions of text": (
        f"SELECT 1 FROM {COMPANY} c JOIN {WARD} w ON SUBSTR(LOWER(c.id), 1, 8) = w.district || ''", ["'wards'"]),
    "through a cast": (f"SELECT 1 FROM {COMPANY} c WHERE CAST(c.id AS varchar(9)) = c.name", ["company.name"]),
    "through an aggregate": (
        f"SELECT 1 FROM (SELECT district, MAX(id) AS k FROM {COMPANY} GROUP BY district) a WHERE a.k = a.district",
        ["company.district"]),
    "through a window": (
        f"SELECT 1 FROM (SELECT name, LAG(id) OVER (ORDER BY staff) AS k FROM {COMPANY}) a WHERE a.k = a.name",
        ["company.name"]),
    "UNION": (f"SELECT id FROM {COMPANY} UNION SELECT district FROM {WARD}", ["'firms'", "'wards'"]),
    "UNION with a plain column": (f"SELECT id FROM {COMPANY} UNION SELECT name FROM {COMPANY}", ["company.name"]),
    "INTERSECT": (f"SELECT id FROM {COMPANY} INTERSECT SELECT district FROM {WARD}", ["'wards'"]),
    "EXCEPT": (f"SELECT name, id FROM {COMPANY} EXCEPT SELECT district, district FROM {WARD}", ["'wards'"]),
    "UNION ALL, joined later": (
        f"SELECT 1 FROM (SELECT id AS k FROM {COMPANY} UNION ALL SELECT district FROM {WARD}) u "
        f"JOIN {METER} m ON m.company = u.k", ["'firms'", "'wards'"]),
    "UNION ALL, grouped later": (
        f"SELECT k, COUNT(*) FROM (SELECT id AS k FROM {COMPANY} UNION ALL SELECT name FROM {COMPANY}) u GROUP BY k",
        ["company.name"]),
    "UNION ALL, distinct later": (
        f"SELECT DISTINCT k FROM (SELECT id AS k FROM {COMPANY} UNION ALL SELECT name FROM {COMPANY}) u",
        ["company.name"]),
    "UNION ALL, counted distinct later": (
        f"SELECT COUNT(DISTINCT k) FROM (SELECT id AS k FROM {COMPANY} UNION ALL SELECT name FROM {COMPANY}) u",
        ["company.name"]),
    "UNION ALL, partitioned later": (
        f"SELECT ROW_NUMBER() OVER (PARTITION BY k) FROM (SELECT id AS k FROM {COMPANY} "
        f"UNION ALL SELECT name FROM {COMPANY}) u", ["company.name"]),
    "coalesce of two kinds": (
        f"SELECT 1 FROM {COMPANY} c JOIN {METER} m ON m.company = COALESCE(c.id, c.name)", ["company.name"]),
    "case of two kinds": (
        f"SELECT 1 FROM {COMPANY} c WHERE CASE WHEN staff > 1 THEN id ELSE name END = parent", ["company.name"]),
    "the operand of case": (
        f"SELECT CASE id WHEN name THEN 1 END FROM {COMPANY}", ["company.name"]),
    "nullif": (f"SELECT NULLIF(id, name) FROM {COMPANY}", ["company.name"]),
    "greatest": (f"SELECT GREATEST(id, name) FROM {COMPANY}", ["company.name"]),
    "like": (f"SELECT 1 FROM {COMPANY} WHERE id LIKE name", ["company.name"]),
}  # fmt: skip


def plan(sql: str) -> Plan:
    return planned(WORLD, sql)


@pytest.mark.parametrize("sql", JOINS.values(), ids=JOINS)
def test_pseudonyms_of_one_triple_compare(sql: str) -> None:
    assert plan(sql).fragments


@pytest.mark.parametrize(("sql", "words"), REFUSED.values(), ids=REFUSED)
def test_a_comparison_that_is_never_true_is_refused_with_both_names(sql: str, words: list[str]) -> None:
    with pytest.raises(AccessDenied) as refused:
        plan(sql)
    assert refused.value.outcome is Outcome.MODE
    assert refused.value.rule == "linkage group"
    for word in words:
        assert word in refused.value.message
    assert planned(CITY, sql).fragments, "without pseudonyms the same statement is answered"


def test_another_purpose_is_another_triple() -> None:
    world = linked_city()
    name = next(n for n in world.relations if n.table == "meter")
    other = tuple(
        _linked(c, Linkage(purpose="audit", group="firms") if c.name == "company" else None)
        for c in world.relations[name].columns
    )
    world.relations[name] = world.relations[name].model_copy(update={"columns": other})
    with pytest.raises(AccessDenied, match=r"meter.company is .* for audit, .*company.id is .* for test"):
        planned(world, JOINS["two departments of one group"])
