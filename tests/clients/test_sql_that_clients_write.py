"""Forms of SQL that clients write by themselves: names with their schema before each column, literals of moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trino

from tests.protocol.conftest import serve
from tests.protocol.stub import StubGateway

Ask = Callable[[str], Any]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """The rows of a statement in the schema water.main."""
    with serve(StubGateway()) as served:

        def asked(sql: str) -> Any:
            with trino.dbapi.connect(
                host="127.0.0.1", port=served.port, user="lin", catalog="water", schema="main"
            ) as connection:
                cursor = connection.cursor()
                cursor.execute(sql)
                return cursor.fetchall()

        yield asked


ONE = "SELECT meters FROM company_month WHERE meters = 7"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT main.company_month.meters FROM main.company_month WHERE main.company_month.meters = 7",
        "SELECT water.main.company_month.meters FROM company_month WHERE Main.Company_Month.METERS = 7",
        "SELECT meters FROM company_month WHERE water.main.company_month.meters = 7 ORDER BY main.company_month.m3",
        "SELECT max(main.company_month.meters) FROM company_month GROUP BY main.company_month.meters"
        " HAVING main.company_month.meters = 7",
        "SELECT (SELECT main.company_month.meters FROM tax.main.firm LIMIT 1) FROM company_month WHERE meters = 7",
        "SELECT c.meters FROM company_month AS c JOIN (SELECT main.company_month.* FROM company_month) AS d"
        " ON c.meters = d.meters WHERE d.meters = 7",
    ],
)
def test_a_column_may_carry_its_tables_schema_and_catalog(ask: Ask, sql: str) -> None:
    assert ask(sql) == ask(ONE)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT main.company_month.meters FROM company_month AS t",
        "SELECT tax.main.company_month.meters FROM company_month",
        "SELECT other.company_month.meters FROM company_month",
        "WITH company_month AS (SELECT 1 AS meters) SELECT main.company_month.meters FROM company_month",
        "SELECT (SELECT max(main.company_month.meters) FROM tax.main.firm AS company_month) FROM company_month",
    ],
)
def test_it_must_be_the_schema_of_a_table_that_is_named_there_without_an_alias(ask: Ask, sql: str) -> None:
    with pytest.raises(trino.exceptions.TrinoUserError):
        ask(sql)


def test_literals_of_moments_are_values(ask: Ask) -> None:
    times, stamps = "TIME '01:02:03.5' < TIME '01:02:04'", "TIMESTAMP '2024-01-02 03:04:05 UTC' > DATE '2024-01-02'"
    ((time, text, stamp, earlier, later),) = ask(
        f"SELECT TIME '01:02:03.123', TIME '01:02', TIMESTAMP '2024-01-02 03:04:05.123+00:00', {times}, {stamps}"
    )
    assert (time.isoformat(), text.isoformat()) == ("01:02:03.123000", "01:02:00")
    assert stamp.isoformat() == "2024-01-02T03:04:05.123000+00:00"
    assert earlier is later is True


def test_a_moment_keeps_the_zone_in_which_it_is_written(ask: Ask) -> None:
    ((there, offset),) = ask(
        "SELECT TIMESTAMP '2024-01-02 03:04:05 Europe/Berlin', TIMESTAMP '2024-01-02 03:04:05 +05:30'"
    )
    assert (str(there), str(there.tzinfo)) == ("2024-01-02 03:04:05+01:00", "Europe/Berlin")
    assert str(offset) == "2024-01-02 03:04:05+05:30"


@pytest.mark.parametrize(
    "literal",
    ["TIME '25:00'", "TIME '2024-01-02'", "TIME ''", "TIMESTAMP '2024-02-30 00:00:00 UTC'",
     "TIMESTAMP '2024-01-02 03:04:05 Nowhere/City'"],
)  # fmt: skip
def test_a_literal_that_would_change_its_meaning_is_refused(ask: Ask, literal: str) -> None:
    with pytest.raises(trino.exceptions.TrinoUserError) as found:
        ask(f"SELECT {literal}")
    assert found.value.error_name == "INVALID_LITERAL"
