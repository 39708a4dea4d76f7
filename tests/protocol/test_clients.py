"""Unmodified clients in Python: the trino DBAPI, SQLAlchemy with its reflection, pandas."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
import trino
from sqlalchemy.engine import Engine

from catalog.types import parse
from tests.protocol.conftest import Served
from tests.protocol.stub import BIG_ROWS


@pytest.fixture
def connection(served: Served) -> Iterator[Any]:
    with trino.dbapi.connect(host="127.0.0.1", port=served.port, user="lin", catalog="water", schema="main") as found:
        yield found


@pytest.fixture
def engine(served: Served) -> Iterator[Engine]:
    found = sa.create_engine(f"trino://lin@127.0.0.1:{served.port}/water/main")
    yield found
    found.dispose()


def fetch(connection: Any, sql: str, params: Any = None) -> list[list[Any]]:
    cursor = connection.cursor()
    cursor.execute(sql, params)
    return cursor.fetchall()


VALUES: dict[str, Any] = {
    "boolean": True,
    "bigint": 9007199254740993,
    "real": 1.5,
    "double": 1e100,
    "decimal(22, 2)": Decimal("12345678901234567890.12"),
    "varchar": 'it\'s "é" 水',
    "char(3)": "a  ",
    "varbinary": b"\x00\xff",
    "date": datetime.date(2024, 2, 29),
    "time(6)": datetime.time(1, 2, 3, 123456),
    "timestamp(6)": datetime.datetime(2024, 1, 2, 3, 4, 5, 123456),
    "timestamp(3) with time zone": datetime.datetime(2024, 1, 2, 3, 4, 5, 123000, tzinfo=datetime.UTC),
    "array(integer)": [1, None],
    "map(varchar, double)": {"k": 1.0},
    "row(a integer, b varchar)": (1, "x"),
}


def test_every_type_arrives_as_the_python_value(served: Served, connection: Any) -> None:
    arrays = []
    for kind, value in VALUES.items():
        if kind.startswith("row"):
            value = {"a": 1, "b": "x"}
        if kind.startswith("map"):
            value = list(value.items())
        arrays.append(pa.array([value, None], parse(kind).arrow()))
    names = {f"c{i}": kind for i, kind in enumerate(VALUES)}
    served.gateway.can("SELECT every_type", names, arrays)
    cursor = connection.cursor()
    cursor.execute("SELECT every_type")
    row, nulls = cursor.fetchall()
    assert row == list(VALUES.values())
    assert nulls == [None] * len(VALUES)
    assert [d[1] for d in cursor.description] == list(VALUES)


def test_a_long_answer_arrives_whole(connection: Any) -> None:
    rows = fetch(connection, "SELECT id, text FROM big ORDER BY id")
    assert len(rows) == BIG_ROWS
    assert rows[-1] == [BIG_ROWS - 1, f"row {BIG_ROWS - 1}"]


@pytest.mark.parametrize(
    "value", ["it's", "? -- '", "水", 7, 2.5, Decimal("1.10"), True, None, datetime.date(2024, 2, 29)]
)
def test_parameters_come_back_as_they_were_given(connection: Any, value: Any) -> None:
    assert fetch(connection, "SELECT ?", (value,)) == [[value]]


def test_errors_have_their_classes(connection: Any) -> None:
    with pytest.raises(trino.exceptions.TrinoUserError) as found:
        fetch(connection, "SELECT nope FROM big")
    assert found.value.error_name == "COLUMN_NOT_FOUND"
    with pytest.raises(trino.exceptions.TrinoExternalError):
        fetch(connection, "SELECT * FROM broken")


def test_a_statement_can_be_cancelled(served: Served, connection: Any) -> None:
    served.gateway.release.clear()
    cursor = connection.cursor()
    cursor.execute("SELECT id FROM slow")
    assert cursor.fetchone() == [0]
    cursor.cancel()
    served.gateway.release.set()
    execution = served.gateway.execution(cursor.stats["queryId"])
    assert execution is not None
    assert execution.error is not None


def test_the_session_travels_with_the_connection(connection: Any) -> None:
    fetch(connection, "USE tax.main")
    assert [row[0] for row in fetch(connection, "SHOW TABLES")] == ["firm", "turnover"]
    fetch(connection, "SET SESSION allow_partial = true")
    assert ["allow_partial", "true"] in [row[:2] for row in fetch(connection, "SHOW SESSION")]
    fetch(connection, "RESET SESSION allow_partial")
    assert ["allow_partial", "false"] in [row[:2] for row in fetch(connection, "SHOW SESSION")]


def test_a_transaction_commits(served: Served) -> None:
    with trino.dbapi.connect(
        host="127.0.0.1", port=served.port, user="lin", isolation_level=trino.dbapi.IsolationLevel.READ_COMMITTED
    ) as connection:
        assert fetch(connection, "SELECT 1") == [[1]]
        connection.commit()


def test_prepared_statements_are_described(connection: Any) -> None:
    fetch(connection, "PREPARE p FROM SELECT org_no, m3 AS Volume, 1 FROM company_month WHERE meters > ?")
    assert fetch(connection, "EXECUTE p USING 98") == [["910001", Decimal("12.375"), 1]]
    assert fetch(connection, "DESCRIBE INPUT p") == [[0, "integer"]]
    assert fetch(connection, "DESCRIBE OUTPUT p") == [
        ["org_no", "water", "main", "company_month", "varchar(18)", 0, False],
        ["Volume", "water", "main", "company_month", "decimal(14,3)", 8, True],
        ["_col2", "", "", "", "integer", 4, False],
    ]
    fetch(connection, "DEALLOCATE PREPARE p")
    assert connection._client_session.prepared_statements == {}


# -- SQLAlchemy ----------------------------------------------------------------------------------------


def test_sqlalchemy_reflects_the_city(engine: Engine) -> None:
    inspector = sa.inspect(engine)
    assert "main" in inspector.get_schema_names()
    assert inspector.get_table_names("main") == ["big", "broken", "company_month", "slow"]
    assert inspector.get_view_names("main") == []
    assert inspector.has_table("company_month", "main")
    assert not inspector.has_table("nope", "main")
    columns = {c["name"]: c for c in inspector.get_columns("company_month", "main")}
    assert isinstance(columns["m3"]["type"], sa.DECIMAL)
    assert columns["m3"]["comment"] == "water drawn [m3]"
    assert inspector.get_table_comment("company_month", "main")["text"] == "Water by company"
    assert inspector.get_pk_constraint("company_month", "main")["constrained_columns"] == []
    assert inspector.get_foreign_keys("company_month", "main") == []
    assert inspector.get_indexes("company_month", "main") == []


def test_sqlalchemy_selects_from_a_reflected_table(engine: Engine) -> None:
    with engine.connect() as connection:
        table = sa.Table("company_month", sa.MetaData(), autoload_with=connection)
        statement = sa.select(sa.func.count()).where(table.c.org_no == "910001", table.c.meters > 8)
        assert connection.execute(statement).scalar_one() == 13


def test_pandas_reads_a_query_and_a_table(engine: Engine) -> None:
    with engine.connect() as connection:
        frame = pd.read_sql("SELECT month, sum(m3) AS m3 FROM company_month GROUP BY month ORDER BY month", connection)
        assert len(frame) == 12
        assert list(frame.columns) == ["month", "m3"]
        firms = pd.read_sql("SELECT * FROM tax.main.firm", connection)
        assert firms["name"].tolist() == ['Lin & Söhne, "Hafen"', "it's"]
