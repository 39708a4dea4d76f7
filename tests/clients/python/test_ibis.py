"""ibis' trino backend, unmodified: listings, schemas, expressions, frames."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import ibis
import pytest

from tests.city.live.running import City
from tests.clients.pages import snippet


@pytest.fixture(scope="module")
def connected(city: City) -> Iterator[Any]:
    """Connected by the very lines that the page shows."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(snippet("ibis", "ibis", city.port), names)
    assert "district_code" in said.getvalue()
    yield names["city"]
    names["city"].disconnect()


@pytest.fixture(scope="module")
def company(connected: Any) -> Any:
    return connected.table("company")


def test_catalogs_schemas_and_tables_are_listed(connected: Any) -> None:
    assert {"city", "market", "water", "system"} <= set(connected.list_catalogs())
    assert {"org", "env", "information_schema"} <= set(connected.list_databases())
    assert {"main"} <= set(connected.list_databases(catalog="market"))
    assert sorted(connected.list_tables()) == ["company", "company_code"]
    assert "discharge" in connected.list_tables(database=("city", "env"))
    assert connected.current_catalog == "city"
    assert connected.current_database == "org"
    assert connected.version == "476"


def test_a_table_has_its_types(company: Any) -> None:
    schema = company.schema()
    assert schema["company"] == ibis.expr.datatypes.String(nullable=True)
    assert schema["registered_on"].is_date()


def test_expressions_become_answers(company: Any, city: City) -> None:
    frame = company.group_by("district_code").agg(n=company.count()).order_by("district_code").to_pandas()
    said = city.ask("SELECT district_code, count(*) FROM city.org.company GROUP BY 1 ORDER BY 1", "lin")
    assert frame.values.tolist() == said["rows"]
    few = company.filter(company.registered_on >= ibis.date("2010-01-01"), company.status == "active")
    recent = few.select("company", year=company.registered_on.year()).order_by("company").limit(5).to_pandas()
    assert (recent["year"] >= 2010).all()
    assert company.count().to_pandas() == sum(row[1] for row in said["rows"])
    assert company.district_code.nunique().to_pandas() == len(said["rows"])


def test_tables_of_several_departments_are_joined(connected: Any, company: Any) -> None:
    discharge = connected.table("discharge", database=("city", "env"))
    joined = (
        company.join(discharge, company.company == discharge.company)
        .group_by("district_code")
        .agg(grams=discharge.grams.sum(), companies=company.company.nunique())
        .order_by(ibis.desc("grams"))
    )
    frame = joined.to_pandas()
    assert len(frame) > 1
    assert frame["grams"].is_monotonic_decreasing


def test_conditions_and_windows(company: Any) -> None:
    aged = company.mutate(age=ibis.cases((company.registered_on < ibis.date("2010-01-01"), "old"), else_="new"))
    assert set(aged.group_by("age").agg(n=aged.count()).to_pandas()["age"]) == {"old", "new"}
    ranked = company.mutate(
        place=ibis.row_number().over(group_by="district_code", order_by=[company.registered_on, company.company])
    )
    first = ranked.filter(ranked.place == 0)
    assert first.count().to_pandas() == company.district_code.nunique().to_pandas()


def test_sql_of_ones_own_is_a_table(connected: Any) -> None:
    mine = connected.sql("SELECT status, count(*) AS n FROM company GROUP BY status")
    assert mine.schema()["n"].is_int64()
    assert mine.n.sum().to_pandas() == connected.table("company").count().to_pandas()


def test_arrow_and_batches(company: Any) -> None:
    table = company.select("company", "registered_on").to_pyarrow()
    assert table.num_rows == company.count().to_pandas()
    assert str(table.schema.field("registered_on").type) == "date32[day]"


def test_writing_is_refused_with_a_clear_message(connected: Any, company: Any) -> None:
    with pytest.raises(Exception, match="atoll only reads"):
        connected.create_view("scratch", company.limit(1))
    with pytest.raises(Exception, match="atoll only reads"):
        connected.create_table("scratch", company.limit(1))
