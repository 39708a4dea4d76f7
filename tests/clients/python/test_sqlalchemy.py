"""SQLAlchemy's trino dialect and pandas above it, unmodified: reflection, expressions, frames."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pandas
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tests.city.live.running import City
from tests.clients.pages import line, snippet


@pytest.fixture(scope="module")
def engine(city: City) -> Iterator[Engine]:
    """Connected by the address that the page shows."""
    made = sa.create_engine(line("python", "SQLAlchemy URL", city.port))
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def companies(engine: Engine) -> int:
    with engine.connect() as connected:
        return int(connected.execute(sa.text("SELECT count(*) FROM company")).scalar_one())


def test_the_pages_programs_print_what_the_city_answers(city: City, companies: int) -> None:
    for title, shown in (("SQLAlchemy", str(companies)), ("pandas", "active")):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(snippet("python", title, city.port), {})
        assert shown in said.getvalue()


def test_reflection_lists_schemas_tables_and_columns(engine: Engine) -> None:
    inspector = sa.inspect(engine)
    assert inspector.default_schema_name in ("org", None)
    assert {"org", "env", "chem", "information_schema"} <= set(inspector.get_schema_names())
    assert inspector.get_table_names("org") == ["company", "company_code"]
    assert inspector.get_table_names() == ["company", "company_code"], "the schema of the address"
    assert inspector.get_view_names("org") == []
    columns = {c["name"]: c for c in inspector.get_columns("company", "org")}
    assert list(columns)[:2] == ["company", "district_code"]
    assert isinstance(columns["registered_on"]["type"], sa.Date)
    assert isinstance(columns["company"]["type"], sa.String)
    assert columns["company"]["nullable"] is True
    assert columns["company"]["comment"] == "newest uscc"
    assert "newest valid code" in str(inspector.get_table_comment("company", "org")["text"])


def test_reflection_knows_what_is_not_there(engine: Engine) -> None:
    inspector = sa.inspect(engine)
    assert inspector.has_table("company", "org")
    assert inspector.has_table("company")
    assert not inspector.has_table("nope", "org")
    assert not inspector.has_table("admission", "main"), "another catalog's"
    assert inspector.get_pk_constraint("company", "org")["constrained_columns"] == []
    assert inspector.get_foreign_keys("company", "org") == []
    assert inspector.get_indexes("company", "org") == []
    with pytest.raises(sa.exc.NoSuchTableError):
        inspector.get_columns("nope", "org")


def test_a_reflected_table_is_asked(connection: Connection, companies: int) -> None:
    metadata = sa.MetaData()
    company = sa.Table("company", metadata, autoload_with=connection)
    code = sa.Table("company_code", metadata, schema="org", autoload_with=connection)
    n = sa.func.count().label("n")
    by_district = sa.select(company.c.district_code, n).group_by(company.c.district_code).order_by(sa.desc(n))
    rows = connection.execute(by_district).all()
    assert sum(row.n for row in rows) == companies
    joined = sa.select(sa.func.count(sa.distinct(company.c.company))).join_from(
        company, code, company.c.company == code.c.company
    )
    assert 0 < connection.execute(joined).scalar_one() <= companies
    district = rows[0].district_code
    parameters = sa.select(n).where(company.c.district_code == district, company.c.status.in_(["active", "x"]))
    assert 0 < connection.execute(parameters).scalar_one() <= rows[0].n
    assert len(connection.execute(sa.select(company).limit(3).offset(2)).all()) == 3


def test_metadata_of_a_whole_schema_is_reflected(engine: Engine) -> None:
    metadata = sa.MetaData()
    metadata.reflect(engine, schema="org")
    assert set(metadata.tables) == {"org.company", "org.company_code"}


def test_writing_is_refused_with_a_clear_message(connection: Connection) -> None:
    table = sa.Table("scratch", sa.MetaData(), sa.Column("one", sa.Integer))
    for attempt in (sa.schema.CreateTable(table), table.insert().values(one=1)):
        with pytest.raises(sa.exc.DBAPIError, match="atoll only reads"):
            connection.execute(attempt)


def test_the_session_and_the_version_are_told(engine: Engine, connection: Connection) -> None:
    assert engine.dialect.server_version_info == ("476",)
    assert connection.execute(sa.text("SELECT current_user")).scalar_one() == "lin"


def texts(rows: list[Any]) -> list[list[str]]:
    return [[str(v) for v in row] for row in rows]


def test_pandas_reads_the_second_question(city: City, connection: Connection) -> None:
    key = city.answer_key("q2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sql = sa.text(city.question(2).replace(":", r"\:"))
        frame = pandas.read_sql(sql, connection, coerce_float=False)
    assert texts(frame.values.tolist()) == texts([[*r[:4], Decimal(r[4])] for r in key["rows"]])


def test_pandas_reads_a_table_by_name_and_by_statement_with_parameters(connection: Connection, companies: int) -> None:
    table = pandas.read_sql_table("company", connection, schema="org", parse_dates=["registered_on"])
    assert len(table) == companies
    assert str(table["registered_on"].dtype).startswith("datetime64")
    district = table["district_code"].iloc[0]
    sql = sa.text("SELECT company FROM company WHERE district_code = :district")
    some = pandas.read_sql(sql, connection, params={"district": district})
    assert sorted(some["company"]) == sorted(table[table["district_code"] == district]["company"])
    plain = pandas.read_sql("SELECT status, count(*) AS n FROM company GROUP BY status", connection)
    assert plain["n"].sum() == companies


def test_pandas_reads_in_pieces(connection: Connection, companies: int) -> None:
    pieces = list(pandas.read_sql("SELECT company FROM company", connection, chunksize=50))
    assert [len(piece) for piece in pieces[:-1]] == [50] * (companies // 50)
    assert sum(map(len, pieces)) == companies
