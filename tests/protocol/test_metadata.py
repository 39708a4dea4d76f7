"""The metadata statements of every client we know, replayed (PROTOCOL part 9), over the real protocol."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import trino

from catalog.names import RelationName
from catalog.types import parse
from gateway import metadata
from gateway.execution import Session
from tests.protocol.conftest import Served
from tests.protocol.stub import StubGateway
from tests.protocol.test_lifecycle import CAPABLE, run


@pytest.fixture
def cursor(served: Served) -> Any:
    with trino.dbapi.connect(
        host="127.0.0.1", port=served.port, user="lin", catalog="water", schema="main"
    ) as connection:
        yield connection.cursor()


def asked(cursor: Any, sql: str, params: tuple[Any, ...] | None = None) -> tuple[list[str], list[list[Any]]]:
    """(labels, rows)"""
    cursor.execute(sql, params)
    rows = cursor.fetchall()
    return [d[0] for d in cursor.description], rows


CORPUS = Path(__file__).with_name("corpus")


def corpus() -> list[Any]:
    """Every statement of `corpus/*.sql`, one file a client, with the number of rows that it must answer."""
    found = []
    for file in sorted(CORPUS.glob("*.sql")):
        parts = re.findall(r"^-- rows: (\d+)\n(.*?);$", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        found += [pytest.param(sql, int(n), id=f"{file.stem}-{i}") for i, (n, sql) in enumerate(parts)]
    return found


def test_the_corpus_covers_each_client() -> None:
    assert {file.stem for file in CORPUS.glob("*.sql")} == {"dbt", "ibis", "jdbc", "metabase", "sqlalchemy", "superset"}
    assert len(corpus()) >= 30


@pytest.mark.parametrize(("sql", "count"), corpus())
def test_what_clients_ask_is_answered(cursor: Any, sql: str, count: int) -> None:
    _, rows = asked(cursor, sql)
    assert len(rows) == count


def test_labels_come_back_as_jdbc_writes_them(cursor: Any) -> None:
    assert asked(cursor, "SELECT TABLE_CAT FROM system.jdbc.catalogs")[0] == ["TABLE_CAT"]


@pytest.mark.parametrize(
    ("sql", "labels"),
    [
        ("SHOW CATALOGS", ["Catalog"]),
        ("SHOW SCHEMAS", ["Schema"]),
        ("SHOW TABLES", ["Table"]),
        ("SHOW COLUMNS FROM big", ["Column", "Type", "Extra", "Comment"]),
        ("SHOW SESSION", ["Name", "Value", "Default", "Type", "Description"]),
        (
            "SHOW FUNCTIONS",
            ["Function", "Return Type", "Argument Types", "Function Type", "Deterministic", "Description"],
        ),
        ("SHOW ROLES", ["Role"]),
        (
            "SHOW STATS FOR big",
            [
                "column_name", "data_size", "distinct_values_count", "nulls_fraction", "row_count",
                "low_value", "high_value",
            ],
        ),
        ("EXPLAIN SELECT 1", ["Query Plan"]),
    ],
)  # fmt: skip
def test_show_has_trinos_columns(cursor: Any, sql: str, labels: list[str]) -> None:
    assert asked(cursor, sql)[0] == labels


def test_show_columns_says_what_i_see_for_my_purpose_and_what_it_means(cursor: Any) -> None:
    _, rows = asked(cursor, "SHOW COLUMNS FROM company_month")
    found = {row[0]: row[1:] for row in rows}
    assert found["org_no"] == ["varchar(18)", "masked: pseudonym(market); purpose planning", ""]
    assert found["m3"] == ["decimal(14,3)", "purpose planning", "water drawn [m3]"]
    assert found["month"] == ["date", "purpose planning", ""], "empty texts, not NULL"
    _, rows = asked(cursor, "DESCRIBE tax.main.firm")
    assert {row[2] for row in rows[1:]} == {"filtered rows; purpose planning"}
    assert rows[0][2] == "masked: pseudonym(market); filtered rows; purpose planning"
    _, rows = asked(cursor, "DESCRIBE tax.main.turnover")
    assert {row[2] for row in rows} == {"at least 10 per group; purpose planning"}
    _, rows = asked(cursor, "DESCRIBE information_schema.tables")
    assert {row[2] for row in rows} == {""}, "metadata tables are nobody's"


def test_a_silent_department_is_listed_as_last_known() -> None:
    gateway = StubGateway()
    session = Session("lin")
    view = gateway.view(session)
    name = RelationName("tax", "main", "firm")
    stale = view.relations[name].model_copy(update={"stale": True})
    older = type(view)(**{**view.__dict__, "relations": {**view.relations, name: stale}})
    found = metadata.read(RelationName("tax", "information_schema", "columns"), older, session).to_pylist()
    comments = {row["comment"] for row in found if row["table_name"] == "firm"}
    assert comments == {"as last known; the department does not answer now"}
    gateway.close()


@pytest.mark.parametrize(
    ("sql", "types"),
    [
        ("SELECT org_no FROM company_month WHERE m3 > ? AND org_no = ?", ["decimal(14,3)", "varchar(18)"]),
        ("SELECT org_no FROM company_month WHERE ? < month AND meters IN (?, ?)", ["date", "integer", "integer"]),
        ("SELECT org_no FROM company_month WHERE month BETWEEN ? AND ? LIMIT ?", ["date", "date", "bigint"]),
        ("SELECT name FROM tax.main.firm WHERE name LIKE ? OR active = ?", ["varchar", "boolean"]),
        ("SELECT meters + ?, CAST(? AS date), coalesce(meters, ?) FROM company_month", ["integer", "date", "integer"]),
        ("SELECT ?", ["unknown"]),
        ("SELECT org_no FROM company_month", []),
        ("SHOW CATALOGS", []),
    ],
)
def test_parameters_are_described_by_what_they_are_compared_with(cursor: Any, sql: str, types: list[str]) -> None:
    cursor.execute(f"PREPARE p FROM {sql}")
    cursor.fetchall()
    assert asked(cursor, "DESCRIBE INPUT p") == (["Position", "Type"], [[i, t] for i, t in enumerate(types)])


def test_tasks_show_what_departments_do_for_me(client: httpx.Client) -> None:
    run(client, "SELECT count(*) FROM water.main.big")
    rows, _ = run(client, "SELECT stage_id, state, splits, completed_splits FROM system.runtime.tasks")
    assert ["water", "DONE", 1, 1] in rows
    ana, _ = run(client, "SELECT query_id FROM system.runtime.tasks", {"X-Trino-User": "ana"})
    assert ana == []


def test_a_table_in_aggregate_mode_says_its_floor(cursor: Any) -> None:
    _, rows = asked(cursor, "SELECT comment FROM system.metadata.table_comments WHERE table_name = 'turnover'")
    assert rows == [["sums and counts only, at least 10 per group"]]


def test_published_row_counts_are_the_only_statistics(cursor: Any) -> None:
    _, rows = asked(cursor, "SHOW STATS FOR company_month")
    assert rows[-1] == [None, None, None, None, 100.0, None, None]
    assert all(row[1:] == [None] * 6 for row in rows[:-1])


def test_hidden_columns_can_be_selected_but_are_not_in_star(cursor: Any) -> None:
    labels, _ = asked(cursor, "SELECT * FROM water.information_schema.columns")
    assert labels[-1] == "data_type"
    _, rows = asked(
        cursor,
        "SELECT comment, extra_info FROM information_schema.columns "
        "WHERE table_name = 'company_month' AND column_name = 'm3'",
    )
    assert rows == [["water drawn [m3]", "purpose planning"]]
    _, rows = asked(
        cursor,
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'columns' AND column_name = 'comment'",
    )
    assert rows == [[0]]


def test_information_schema_lists_itself_and_only_its_catalog(cursor: Any) -> None:
    _, rows = asked(cursor, "SELECT DISTINCT table_catalog, table_schema FROM tax.information_schema.tables ORDER BY 2")
    assert rows == [["tax", "information_schema"], ["tax", "main"]]


def test_jdbc_columns_describe_types_by_number(client: httpx.Client) -> None:
    rows, last = run(
        client,
        "SELECT column_name, data_type, type_name, column_size, decimal_digits, num_prec_radix, nullable, "
        "ordinal_position FROM system.jdbc.columns WHERE table_cat = 'water' AND table_name = 'company_month'",
        CAPABLE,
    )
    assert rows == [
        ["org_no", 12, "varchar(18)", 18, None, None, 1, 1],
        ["month", 91, "date", 14, None, None, 1, 2],
        ["m3", 3, "decimal(14,3)", 14, 3, 10, 1, 3],
        ["meters", 4, "integer", 10, 0, 10, 1, 4],
    ]
    assert {c["type"] for c in last["columns"]} == {"varchar", "bigint"}


@pytest.mark.parametrize(
    ("kind", "number", "size", "base"),
    [
        ("bigint", -5, 19, 10), ("smallint", 5, 5, 10), ("tinyint", -6, 3, 10), ("boolean", 16, None, None),
        ("real", 7, 24, 2), ("double", 8, 53, 2), ("char(7)", 1, 7, None), ("varbinary", -3, 2147483647, None),
        ("varchar", 12, 2147483647, None), ("timestamp(6)", 93, 26, None), ("array(integer)", 2003, None, None),
        ("timestamp(3) with time zone", 2014, 52, None), ("time(0)", 92, 8, None), ("json", 2000, None, None),
    ],
)  # fmt: skip
def test_each_type_has_its_jdbc_numbers(kind: str, number: int, size: int | None, base: int | None) -> None:
    found = parse(kind)
    assert metadata.JDBC_TYPES.get(found.name, metadata.OTHER) == number
    assert metadata.column_size(found) == size
    assert metadata.radix(found) == base


def test_queries_shows_my_own_statements_alone(served: Served, client: httpx.Client) -> None:
    run(client, "SELECT 'of-ana'", {"X-Trino-User": "ana"})
    run(client, "SELECT 'of-lin'")
    rows, _ = run(client, 'SELECT query, "user", state FROM system.runtime.queries')
    assert ["SELECT 'of-lin'", "lin", "FINISHED"] in rows
    assert {row[1] for row in rows} == {"lin"}


def test_custody_tables_tell_masks_purposes_and_departments(cursor: Any) -> None:
    masks = "SELECT table_name, column_name FROM system.custody.masks WHERE table_catalog = 'water'"
    assert asked(cursor, masks)[1] == [["company_month", "org_no"]]
    assert asked(cursor, "SELECT * FROM system.custody.purposes")[1] == [["planning", True]]
    departments = "SELECT name, state FROM system.custody.departments ORDER BY 1"
    assert asked(cursor, departments)[1] == [["tax", "up"], ["water", "up"]]


def test_every_metadata_table_can_be_read_and_has_the_columns_it_describes() -> None:
    gateway = StubGateway()
    session = Session("lin")
    view = gateway.view(session)
    for (schema, table), made in metadata._TABLES.items():
        catalog = "water" if schema == "information_schema" else "system"
        name = RelationName(catalog, schema, table)
        described = metadata.describe(name, view)
        assert described == made.columns
        found = metadata.read(name, view, session, gateway.executions())
        assert found.schema.names == [c.name for c in described]
    gateway.close()


def test_what_is_not_in_the_view_is_in_no_metadata_table() -> None:
    gateway = StubGateway()
    session = Session("lin")
    view = gateway.view(session)
    hidden_name = RelationName("tax", "main", "firm")
    smaller = type(view)(
        **{**view.__dict__, "relations": {n: r for n, r in view.relations.items() if n != hidden_name}}
    )
    for schema, table in metadata._TABLES:
        catalog = "tax" if schema == "information_schema" else "system"
        found = metadata.read(RelationName(catalog, schema, table), smaller, session)
        assert "firm" not in str(found.to_pylist()), f"{schema}.{table} shows a relation that is not there"
    assert metadata.describe(RelationName("nope", "information_schema", "tables"), view) is None
    gateway.close()
