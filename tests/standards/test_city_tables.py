"""City tables as a newcomer may rely on them: named, typed, cut so that a department's part can leave alone."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from atoll.city.departments import NAMES, template
from catalog import duck
from catalog.names import RelationName
from catalog.policy import Department
from catalog.standards import CityTable, city_tables
from catalog.types import BIGINT, TrinoType

TABLES = list(city_tables().values())


def relations() -> dict[str, duck.Table]:
    """Every relation of every department, as its department.yaml types it."""
    found = {}
    for name in NAMES:
        for relation, spec in Department.model_validate(template(name)).relations.items():
            full = f"{name}.main.{relation}"
            found[full] = duck.Table(full, {c: s.type for c, s in spec.columns.items()})
    return found


def test_the_fourteen_tables_of_the_city_are_there() -> None:
    assert {f"{n.schema}.{n.table}" for n in city_tables()} == {
        "org.company", "org.company_code", "geo.district_history", "geo.station", "met.hourly", "met.heat_day",
        "air.hourly", "water.company_month", "std.water_band", "chem.flow", "trade.sales", "trade.output",
        "env.discharge", "env.waste",
    }  # fmt: skip
    assert {n.catalog for n in city_tables()} == {"city"}


@pytest.mark.parametrize("table", TABLES, ids=lambda t: str(t.name))
def test_sql_gives_exactly_the_declared_columns_in_trinos_types(table: CityTable) -> None:
    compiled = duck.compile_query(sqlglot.parse_one(table.sql, read="trino"), relations())
    assert list(compiled.columns) == [(c.name, c.type) for c in table.columns]


@pytest.mark.parametrize("table", [t for t in TABLES if t.unmapped], ids=lambda t: str(t.name))
def test_the_count_of_unmapped_rows_is_one_bigint(table: CityTable) -> None:
    assert table.unmapped
    compiled = duck.compile_query(sqlglot.parse_one(table.unmapped, read="trino"), relations())
    types: list[TrinoType] = [kind for _, kind in compiled.columns]
    assert types == [BIGINT]
    assert table.warning


@pytest.mark.parametrize("table", TABLES, ids=lambda t: str(t.name))
def test_every_inner_query_stays_within_one_department(table: CityTable) -> None:
    """So that it can leave as a fragment as it stands; joins between departments are outermost."""
    for subquery in sqlglot.parse_one(table.sql, read="trino").find_all(exp.Subquery):
        assert len({t.catalog for t in subquery.find_all(exp.Table) if t.catalog}) <= 1


@pytest.mark.parametrize("table", TABLES, ids=lambda t: str(t.name))
def test_departments_are_those_whose_relations_are_read(table: CityTable) -> None:
    assert table.departments
    assert set(table.departments) <= set(NAMES)
    known = relations()
    for read in sqlglot.parse_one(table.sql, read="trino").find_all(exp.Table):
        if read.catalog:
            assert str(RelationName(read.catalog, read.db, read.name)) in known


def test_a_company_is_found_through_markets_codes_wherever_a_department_has_only_a_number() -> None:
    for domain, name in (("water", "company_month"), ("chem", "flow"), ("env", "discharge"), ("env", "waste")):
        assert "market" in city_tables()[RelationName("city", domain, name)].departments
