"""The trino DBAPI, unmodified: answers, every type, parameters in both ways, cancel, warnings, encodings, login."""

from __future__ import annotations

import contextlib
import datetime
import io
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import trino
from trino.dbapi import Connection

from tests.city.live.running import City
from tests.clients.every_type import CASES, SQL
from tests.clients.front import Front
from tests.clients.pages import snippet
from tests.protocol.conftest import Served

ENCODINGS = ["json", "json+lz4", "json+zstd"]


@pytest.fixture
def connection(city: City) -> Iterator[Connection]:
    """Connected by the very lines that the page shows."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(snippet("python", "DBAPI", city.port), names)
    assert len(said.getvalue().splitlines()) == 6, "one line a district"
    with names["city"] as connected:
        yield connected


def connect(city: City, user: str = "lin", **more: Any) -> Connection:
    return trino.dbapi.connect(host="127.0.0.1", port=city.port, user=user, **more)


def fetch(connection: Connection, sql: str, parameters: Any = None) -> list[list[Any]]:
    cursor = connection.cursor()
    cursor.execute(sql, parameters)
    return list(cursor.fetchall())


def test_the_flagship_question_has_its_answer(city: City, connection: Connection) -> None:
    key = city.answer_key("q1")
    cursor = connection.cursor()
    cursor.execute(city.question(1))
    assert [list(row) for row in cursor.fetchall()] == key["rows"]
    assert [d[0] for d in cursor.description] == [c["name"] for c in key["columns"]]


@pytest.mark.parametrize("encoding", [None, *ENCODINGS, ENCODINGS[::-1]], ids=str)
def test_every_type_is_the_python_value_in_every_encoding(every_type: Served, encoding: Any) -> None:
    with trino.dbapi.connect(host="127.0.0.1", port=every_type.port, user="lin", encoding=encoding) as connection:
        cursor = connection.cursor()
        cursor.execute(SQL)
        row, nulls = cursor.fetchall()
    for case, value, described in zip(CASES, row, cursor.description, strict=True):
        assert (described[1], value) == (case.type, case.python)
    assert nulls == [None] * len(CASES)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_that_is_asked_for_is_the_one_that_comes(city: City, encoding: str) -> None:
    from catalog.http import Client

    headers = {"X-Trino-User": "lin", "X-Trino-Query-Data-Encoding": encoding}
    with Client(timeout=30, trust_env=False) as http:
        page = http.post(f"{city.url}/v1/statement", content=b"SELECT * FROM city.org.company", headers=headers)
        while "data" not in page.json():
            page = http.get(page.json()["nextUri"])
        assert page.headers["X-Trino-Query-Data-Encoding"] == encoding
        assert page.json()["data"]["encoding"] == encoding
        assert page.json()["data"]["segments"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_long_answer_arrives_whole_in_every_encoding(city: City, encoding: str) -> None:
    sql = "SELECT a.company, b.company AS other FROM city.org.company a CROSS JOIN city.org.company b"
    with connect(city, encoding=encoding) as connection:
        rows = fetch(connection, sql)
        (companies,) = fetch(connection, "SELECT count(*) FROM city.org.company")[0]
    assert len(rows) == len({tuple(row) for row in rows}) == companies**2


PARAMETERS = {
    "text": "it's ? -- '水'",
    "integer": 7,
    "bigint": 2**53 + 1,
    "double": 2.5,
    "decimal": Decimal("1.10"),
    "boolean": True,
    "null": None,
    "bytes": b"\x00\xff",
    "date": datetime.date(2024, 2, 29),
    "time": datetime.time(1, 2, 3, 456000),
    "timestamp": datetime.datetime(2024, 2, 29, 1, 2, 3, 456000),
    "timestamp with time zone": datetime.datetime(2024, 2, 29, 1, 2, 3, 456000, datetime.UTC),
    "list": [1, 2, 3],
}


@pytest.mark.parametrize("legacy", [False, True], ids=["EXECUTE IMMEDIATE", "PREPARE and EXECUTE"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_comes_back_as_it_was_given(city: City, name: str, legacy: bool) -> None:
    value = PARAMETERS[name]
    with connect(city, legacy_prepared_statements=legacy) as connection:
        assert fetch(connection, "SELECT ?", (value,)) == [[value]]


@pytest.mark.parametrize("legacy", [False, True], ids=["EXECUTE IMMEDIATE", "PREPARE and EXECUTE"])
def test_parameters_filter_what_departments_answer(city: City, legacy: bool) -> None:
    with connect(city, legacy_prepared_statements=legacy, catalog="city", schema="org") as connection:
        by_district = dict(fetch(connection, "SELECT district_code, count(*) FROM company GROUP BY 1"))
        for district, n in by_district.items():
            sql = "SELECT count(*) FROM company WHERE district_code = ? AND registered_on < ?"
            assert fetch(connection, sql, (district, datetime.date(2100, 1, 1))) == [[n]]


def test_rows_are_fetched_one_by_one_and_by_pieces(connection: Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT company FROM company ORDER BY company")
    first, two, rest = cursor.fetchone(), cursor.fetchmany(2), cursor.fetchall()
    assert [first, *two, *rest] == fetch(connection, "SELECT company FROM company ORDER BY company")
    assert cursor.fetchone() is None
    with connection.cursor() as other:
        other.execute("SELECT 1 WHERE 1 = 0")
        assert other.fetchall() == []
        assert [d[:2] for d in other.description] == [("_col0", "integer")]


def test_describe_tells_the_output_of_a_statement(connection: Connection) -> None:
    columns = connection.cursor().describe("SELECT uscc, count(*) AS n FROM market.main.company GROUP BY 1")
    assert [(c.name, c.schema, c.table, c.type, c.aliased) for c in columns] == [
        ("uscc", "main", "company", "varchar", False),
        ("n", "", "", "bigint", True),
    ]


def test_a_cancelled_statement_is_cancelled_at_the_gateway(connection: Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT a.company FROM company a CROSS JOIN company b CROSS JOIN company c")
    assert cursor.fetchone() is not None
    cursor.cancel()
    deadline = time.monotonic() + 10
    states: list[list[Any]] = []
    while states != [["FAILED"]] and time.monotonic() < deadline:
        states = fetch(connection, f"SELECT state FROM system.runtime.queries WHERE query_id = '{cursor.query_id}'")
    assert states == [["FAILED"]]


def test_a_cursor_is_closed_before_its_answer_is_read(connection: Connection) -> None:
    for sql in ("SELECT 1", "SELECT count(*) FROM company", "SELECT company FROM company"):
        cursor = connection.cursor()
        cursor.execute(sql)
        cursor.close()
    assert fetch(connection, "SELECT 2") == [[2]]


def test_intervals_are_lengths_of_time(connection: Connection) -> None:
    ((days, months),) = fetch(connection, "SELECT INTERVAL '3' DAY, INTERVAL '14' MONTH")
    assert (days, months.years, months.months) == (datetime.timedelta(days=3), 1, 2)


def test_errors_have_trinos_classes_names_and_places(connection: Connection) -> None:
    with pytest.raises(trino.exceptions.TrinoUserError) as found:
        fetch(connection, "SELECT nope FROM company")
    assert (found.value.error_name, found.value.error_type) == ("COLUMN_NOT_FOUND", "USER_ERROR")
    assert found.value.message.startswith("line 1:8: Column 'nope' cannot be resolved")
    with pytest.raises(trino.exceptions.TrinoUserError, match="atoll only reads") as refused:
        fetch(connection, "CREATE TABLE x AS SELECT 1 AS one")
    assert refused.value.error_name == "NOT_SUPPORTED"
    with pytest.raises(trino.exceptions.TrinoUserError) as hidden:
        fetch(connection, "SELECT * FROM health.main.admission")
    assert hidden.value.error_name == "TABLE_NOT_FOUND"


def test_the_session_travels_with_the_connection(connection: Connection) -> None:
    fetch(connection, "USE city.env")
    assert ["discharge"] in fetch(connection, "SHOW TABLES")
    fetch(connection, "SET SESSION allow_partial = true")
    assert ["allow_partial", "true"] in [row[:2] for row in fetch(connection, "SHOW SESSION")]
    fetch(connection, "RESET SESSION allow_partial")
    assert ["allow_partial", "false"] in [row[:2] for row in fetch(connection, "SHOW SESSION")]
    fetch(connection, "SET TIME ZONE 'Asia/Tokyo'")
    assert fetch(connection, "SELECT current_timezone()") == [["Asia/Tokyo"]]


def test_a_purpose_is_named_by_tag_or_by_property(city: City) -> None:
    count = "SELECT count(*) FROM environment.main.discharge"
    with connect(city, "mei", client_tags=["purpose:inspection"]) as tagged:
        answer = fetch(tagged, count)
    with connect(city, "mei", session_properties={"purpose": "inspection"}) as set_:
        assert fetch(set_, count) == answer
    with connect(city, "mei") as neither, pytest.raises(trino.exceptions.TrinoUserError, match="inspection"):
        fetch(neither, count)


def test_a_transaction_is_begun_and_committed(city: City) -> None:
    with connect(city, isolation_level=trino.dbapi.IsolationLevel.READ_COMMITTED) as connection:
        assert fetch(connection, "SELECT 1") == [[1]]
        connection.commit()
        assert fetch(connection, "SELECT 2") == [[2]]
        connection.rollback()


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client is told to trust counts: requests would let a variable of the machine win."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", [trino.auth.JWTAuthentication, lambda t: trino.auth.BasicAuthentication("lin", t)])
def test_a_token_is_a_login_over_tls(front: Front, token: Callable[[str], str], kind: Any) -> None:
    with trino.dbapi.connect(
        host="127.0.0.1", port=front.port, http_scheme="https", verify=str(front.certificate), auth=kind(token("lin"))
    ) as connection:
        assert fetch(connection, "SELECT current_user") == [["lin"]]
        assert fetch(connection, "SELECT count(*) > 100 FROM city.org.company") == [[True]]


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_said_in_one_line(front: Front) -> None:
    wrong = trino.auth.BasicAuthentication("lin", "wrong")
    with trino.dbapi.connect(
        host="127.0.0.1", port=front.port, http_scheme="https", verify=str(front.certificate), auth=wrong
    ) as connection, pytest.raises(trino.exceptions.HttpError) as found:  # fmt: skip
        fetch(connection, "SELECT 1")
    assert "401" in str(found.value)
    assert "Traceback" not in str(found.value)
