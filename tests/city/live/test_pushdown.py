"""Push-down as the databases saw it: what PostgreSQL and MariaDB wrote into their own logs.

A statement of an agent begins with `/* atoll:QUERY_FRAGMENT */`. Around the owner's view (`FROM (..) AS r`) it
holds what went down: conditions and grouping of the question.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.city.live.running import City

POSTGRES = re.compile(r"LOG:  (?:execute <unnamed>|statement): (.*?)(?=\n\d{4}-\d\d-\d\d |\Z)", re.DOTALL)
_ENTRY = r"(?:\d{6} [ \d:]{8})?\t+ *\d+ "
MARIADB = re.compile(rf"(?:\A|\n){_ENTRY}Query\t(.*?)(?=\n{_ENTRY}[A-Z]|\Z)", re.DOTALL)
LOGS = {"water": ("postgres", POSTGRES), "market": ("mariadb-statements", MARIADB)}


def logged(city: City, department: str) -> Iterator[str]:
    """Every statement that the department's server wrote down so far."""
    name, entry = LOGS[department]
    for found in entry.finditer(city.log(name)):
        yield found[1]


def asked(city: City, department: str, answer: dict[str, Any]) -> list[str]:
    """What the server ran for one answered question, each without the owner's view: `FROM (..) AS r`."""
    mark = f"/* atoll:{answer['query_id']}_"
    return [outer(text) for text in logged(city, department) if mark in text and not text.startswith("EXPLAIN ")]


def outer(statement: str) -> str:
    """A statement with quotes, line ends and the text of the owner's view taken out."""
    text = " ".join(statement.replace("`", '"').split())
    return re.sub(r'FROM \(.*\) AS "r"', 'FROM (..) AS "r"', text).replace('"', "")


def one(statements: list[str], *parts: str) -> str:
    """The statement that holds all these parts; fails unless there is exactly one."""
    found = [s for s in statements if all(part in s for part in parts)]
    assert len(found) == 1, (parts, statements)
    return found[0]


def hexadecimal(statement: str) -> set[str]:
    """The texts among a statement's literals: MariaDB gets them as `x'..'`."""
    return {bytes.fromhex(digits).decode() for digits in re.findall(r"x'([0-9a-f]*)'", statement)}


def products(city: City, condition: str) -> set[str]:
    with closing(sqlite3.connect(city.folder / "silos" / "market" / "market.db")) as silo:
        return {row[0] for row in silo.execute(f"SELECT product_code FROM product WHERE {condition}")}


@pytest.fixture(scope="module")
def first(city: City) -> dict[str, Any]:
    return city.ask(city.question(1), "lin", "mass-balance")


@pytest.fixture(scope="module")
def second(city: City) -> dict[str, Any]:
    return city.ask(city.question(2), "lin", "mass-balance")


def test_question_1_reads_sales_of_regulated_products_alone(city: City, first: dict[str, Any]) -> None:
    """The owner's view sums invoices; the question's condition on products reaches MariaDB around it."""
    assert first["rows"] == city.answer_key("q1")["rows"]
    statements = asked(city, "market", first)
    one(statements, "FROM product AS r WHERE NOT r.substance_cas IS NULL")
    sales = one(statements, "r.seller", "r.buyer", "WHERE r.product IN (")
    assert hexadecimal(sales) == products(city, "substance_cas IS NOT NULL")
    whole = one([s for s in logged(city, "market") if f"atoll:{first['query_id']}_" in s], "`r`.`buyer`")
    assert "SUM(s.qty)" in whole
    assert whole.index("GROUP BY") < whole.index("`product` IN (")


def test_question_1_reads_output_of_substances_alone(city: City, first: dict[str, Any]) -> None:
    statements = asked(city, "market", first)
    assert hexadecimal(one(statements, "FROM product AS r WHERE r.role = ")) == {"M"}
    made = one(statements, "r.company_code", "WHERE r.product IN (")
    assert hexadecimal(made) == products(city, "role = 'M'")


def test_question_1_groups_companies_in_mariadb(city: City, first: dict[str, Any]) -> None:
    statements = asked(city, "market", first)
    assert any(re.search(r"SELECT [^,]*r\.company[^,]* FROM \(\.\.\) AS r GROUP BY 1", s) for s in statements)


def test_question_2_filters_and_groups_bands_in_postgresql(city: City, second: dict[str, Any]) -> None:
    assert second["rows"] == city.answer_key("q2")["rows"]
    band = one(asked(city, "water", second), "FROM band AS r WHERE r.industry_std = CAST('2017' AS TEXT)")
    assert "MIN(r.lo_l)" in band
    assert "MAX(r.hi_l)" in band
    assert "GROUP BY 1, 2" in band


def test_question_2_reads_output_of_plain_goods_alone(city: City, second: dict[str, Any]) -> None:
    statements = asked(city, "market", second)
    listed = one(statements, "FROM product AS r WHERE r.role = ", "r.substance_cas IS NULL")
    assert hexadecimal(listed) == {"G"}
    made = one(statements, "r.company_code", "WHERE r.product IN (")
    assert hexadecimal(made) == products(city, "role = 'G' AND substance_cas IS NULL")


def test_question_2_sends_the_keys_of_one_department_to_another(city: City, second: dict[str, Any]) -> None:
    """The industry codes that water found in its bands are all that market looks up."""
    looked_up = hexadecimal(one(asked(city, "market", second), "FROM industry_map AS r WHERE r.code_2017 IN ("))
    with closing(sqlite3.connect(city.folder / "silos" / "water" / "water.db")) as silo:
        codes = {row[0] for row in silo.execute("SELECT industry_code FROM band WHERE industry_std = '2017'")}
    assert looked_up == codes


@pytest.mark.parametrize(
    ("department", "sql", "key", "measure", "condition", "native"),
    [
        (
            "water", "water.main.company_month", "unit", "qty",
            "district_code = '449901' AND month >= DATE '2016-01-01'",
            ["SUM(r.qty)", "WHERE r.month >= CAST('2016-01-01' AS DATE) AND r.district_code = CAST('449901' AS TEXT)"],
        ),
        (
            "market", "market.main.output", "year", "qty", "unit = 'kg'",
            ["SUM(r.qty)", "WHERE r.unit = _utf8mb4 x'6b67'"],
        ),
    ],
)  # fmt: skip
def test_a_sum_is_taken_where_the_rows_are(
    city: City, department: str, sql: str, key: str, measure: str, condition: str, native: list[str]
) -> None:
    """One row a group leaves the database; the sums are those of the rows."""
    answer = city.ask(
        f"SELECT {key}, sum({measure}) AS s, count(*) AS n FROM {sql} WHERE {condition} GROUP BY {key}",
        "lin",
        "mass-balance",
    )
    (statement,) = asked(city, department, answer)
    for part in [*native, "COUNT(*)", "FROM (..) AS r", "GROUP BY 1"]:
        assert part in statement
    plain = city.ask(f"SELECT {key}, {measure} FROM {sql} WHERE {condition}", "lin", "mass-balance")
    sums: dict[Any, Decimal] = defaultdict(Decimal)
    for group, value in plain["rows"]:
        sums[group] += Decimal(value)
    assert {group: Decimal(s) for group, s, _ in answer["rows"]} == sums
    assert sum(n for _, _, n in answer["rows"]) == len(plain["rows"]) > 0


@pytest.mark.parametrize("department", ["water", "market"])
def test_agents_only_read_and_no_password_is_written_down(city: City, department: str) -> None:
    statements = [text for text in logged(city, department) if "atoll:" in text]
    assert len(statements) > 3
    bare = [re.sub(r"/\*.*?\*/", "", text).replace("(", " ").split() for text in statements]
    assert {words[0] for words in bare} <= {"SELECT", "COPY", "EXPLAIN"}
    assert all(words[1] == "SELECT" for words in bare if words[0] == "COPY")
    assert all(words[1:4] == ["FORMAT", "JSON)", "SELECT"] for words in bare if words[0] == "EXPLAIN")
    log = city.log(LOGS[department][0])
    home = Path(city.state["departments"][department]["file"]).parent
    for file in (home / "source.password", Path(city.state["servers"][department]["password_file"])):
        assert file.read_text().strip() not in log
