"""What is particular to PostgreSQL: char(n), numeric NaN, infinity, collations, arrays of keys, lost connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from catalog.types import BIGINT, VARCHAR, TrinoType
from catalog.types import parse as parse_type
from connectors.base import (
    Aggregate,
    Arithmetic,
    Cancel,
    Cancelled,
    Case,
    Computed,
    GroupKey,
    NativeScan,
    Number,
    OutputColumn,
    Predicate,
    Source,
    SourceError,
)
from connectors.native import Compiled
from connectors.postgres import PostgresSource
from connectors.regroup import Grouper
from connectors.sources import open_source, parse_source
from connectors.written import Texts
from tests.conformance.helpers import read, scan_of, types_of
from tests.servers import PostgresServer

pytestmark = pytest.mark.servers

SCRIPT = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN code AS varchar(10);
CREATE TABLE odd (
    id int PRIMARY KEY, c char(5), v code, m mood, u uuid, j jsonb, num numeric, n5 numeric(20,5), d date, ts timestamp,
    tz timestamptz, x float8, r real, s smallint, by bytea, t time
);
INSERT INTO odd VALUES
    (1, 'ab', 'v1', 'happy', '00000000-0000-0000-0000-000000000001', '{"a": 1}', 1.5, 1.5, '2024-02-29',
     '2024-02-29 12:00:00.123456', '2024-02-29 12:00+08', 1.5, 0.1, 7, '\\x00ff', '12:00'),
    (2, 'ab  ', NULL, 'sad', NULL, '[1]', 'NaN', 123456789012345.12345, 'infinity', 'infinity', 'infinity',
     'NaN', NULL, 8, NULL, NULL),
    (3, 'AB', 'v3', NULL, NULL, NULL, 'Infinity', NULL, '0044-03-15 BC', '-infinity', NULL, 'Infinity',
     NULL, NULL, NULL, NULL);
CREATE SEQUENCE counter;
CREATE SCHEMA other; CREATE TABLE other.hidden (id int); INSERT INTO other.hidden VALUES (42);
CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM odd; RETURN 1; END';
"""


@pytest.fixture
def source(
    postgres: PostgresServer, postgres_database: str, connection: psycopg.Connection, tmp_path: Path
) -> Iterator[Source]:
    config = {
        "kind": "postgres",
        "port": postgres.port,
        "database": postgres_database,
        "user": "postgres",
        "timeout": 5,
    }
    opened = open_source(parse_source(config), tmp_path, tmp_path)
    yield opened
    opened.close()


def test_char_n_is_delivered_and_compared_without_its_padding(source: Source) -> None:
    columns = types_of(c="varchar")
    assert read(source, "odd", columns) == [("ab",), ("ab",), ("AB",)]
    assert read(source, "odd", columns, predicates=(Predicate("c", "=", ("ab",)),)) == [("ab",), ("ab",)]
    assert read(source, "odd", columns, predicates=(Predicate("c", "=", ("ab ",)),)) == []
    assert read(source, "odd", columns, keys=((("c",), pa.array(["AB", "ab  "])),)) == [("AB",)]
    count = (Aggregate("count", None, BIGINT, "n"),)
    groups = read(source, "odd", columns, group_by=(GroupKey("c", VARCHAR, "k"),), aggregates=count)
    assert sorted(groups) == [("AB", 1), ("ab", 2)]


def test_domains_enums_uuid_json_and_binary_are_delivered(source: Source) -> None:
    columns = types_of(v="varchar", m="varchar", u="uuid", j="json", by="varbinary", r="real", t="time")
    (row,) = read(source, "odd", columns, row_filters=("id = 1",))
    assert row[:5] == ("v1", "happy", "00000000-0000-0000-0000-000000000001", '{"a":1}', b"\x00\xff")
    assert str(row[6]) == "12:00:00"
    (bound,) = read(source, "odd", types_of(id="integer", u="uuid", j="json", m="varchar"),
                    keys=((("id",), pa.array([1])),))  # fmt: skip
    assert bound == (1, "00000000-0000-0000-0000-000000000001", '{"a":1}', "happy")


@pytest.mark.parametrize(
    ("column", "declared", "row"),
    [("num", "decimal(20,5)", 2), ("num", "decimal(20,5)", 3), ("n5", "decimal(20,3)", 2), ("d", "date", 2),
     ("d", "date", 3),
     ("ts", "timestamp(6)", 2), ("ts", "timestamp(6)", 3), ("ts", "timestamp(3)", 1),
     ("tz", "timestamp(6) with time zone", 2)],
)  # fmt: skip
@pytest.mark.parametrize("bound", [False, True])
def test_nan_infinity_and_lost_digits_are_errors_that_name_the_column(
    source: Source, column: str, declared: str, row: int, bound: bool
) -> None:
    columns = types_of(id="integer", **{column: declared})
    keys = ((("id",), pa.array([row])),) if bound else ()
    with pytest.raises(SourceError, match=f"'{column}'"):
        read(source, "odd", columns, row_filters=(f"id = {row}",), keys=keys)


def test_a_declared_type_that_the_column_has_not_is_an_error_that_names_it(source: Source) -> None:
    for column, declared in (
        ("c", "bigint"),
        ("d", "timestamp(3)"),
        ("x", "decimal(10,2)"),
        ("num", "double"),
        ("tz", "date"),
    ):
        with pytest.raises(SourceError, match=f"'{column}'"):
            read(source, "odd", types_of(**{column: declared}))
    with pytest.raises(SourceError, match="'nope' does not exist"):
        read(source, "odd", types_of(nope="bigint"))


def test_nan_is_above_nothing(source: Source) -> None:
    columns = types_of(id="integer", x="double")
    above = (Predicate("x", ">", (1.0,)),)
    assert [row[0] for row in read(source, "odd", columns, predicates=above)] == [1, 3]
    assert [row[0] for row in read(source, "odd", columns, predicates=(Predicate("x", "<", (1.0,)),))] == []


def test_timestamps_keep_their_microseconds_and_zones_become_utc(source: Source) -> None:
    columns = types_of(ts="timestamp(6)", tz="timestamp(3) with time zone")
    (row,) = read(source, "odd", columns, row_filters=("id = 1",))
    assert row[0] == datetime(2024, 2, 29, 12, 0, 0, 123456)
    assert row[1].isoformat() == "2024-02-29T04:00:00+00:00"


def test_a_numeric_sum_in_a_view_may_be_declared_bigint_when_it_is_whole(source: Source) -> None:
    assert read(source, "SELECT sum(id) AS s FROM odd", types_of(s="bigint")) == [(6,)]
    with pytest.raises(SourceError, match="'s'"):
        read(source, "SELECT avg(s) AS s FROM odd", types_of(s="bigint"))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT nextval('counter') AS a",
        "SELECT sneaky()::bigint AS a",
        "SELECT setval('counter', 5) AS a",
        "SELECT id::bigint AS a FROM odd FOR UPDATE",
        "WITH gone AS (DELETE FROM odd RETURNING id) SELECT id::bigint AS a FROM gone",
        "SELECT 1::bigint AS a INTO TABLE copied FROM odd",
    ],
)
def test_the_session_cannot_write(source: Source, connection: psycopg.Connection, text: str) -> None:
    with pytest.raises(SourceError):
        read(source, text, types_of(a="bigint"))
    assert connection.execute("SELECT count(*) FROM odd").fetchone() == (3,)


def test_a_statement_ends_at_the_timeout(source: Source) -> None:
    with pytest.raises(SourceError, match="timeout"):
        read(source, "SELECT 1::bigint AS a FROM pg_sleep(30)", types_of(a="bigint"))


def test_search_path_is_the_owners(
    source: Source, postgres: PostgresServer, postgres_database: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError):
        read(source, "hidden", types_of(id="integer"))
    assert read(source, "other.hidden", types_of(id="integer")) == [(42,)]
    config = {
        "kind": "postgres", "port": postgres.port, "database": postgres_database, "user": "postgres",
        "search_path": "pg_catalog, other",
    }  # fmt: skip
    other = open_source(parse_source(config), tmp_path, tmp_path)
    assert read(other, "hidden", types_of(id="integer")) == [(42,)]
    other.close()


def test_introspection_knows_keys_nulls_and_types(source: Source) -> None:
    tables = {table.name: table for table in source.tables()}
    assert "other.hidden" in tables
    columns = {column.name: column for column in tables["odd"].columns}
    assert columns["id"].key
    assert not columns["id"].nullable
    assert str(columns["n5"].type) == "decimal(20, 5)"
    assert columns["num"].type is None
    assert columns["v"].type == VARCHAR
    assert columns["m"].type is None or columns["m"].type == VARCHAR


def test_a_connection_that_died_is_replaced(source: Source, connection: psycopg.Connection) -> None:
    columns = types_of(id="integer")
    for keys in ((), ((("id",), pa.array([1, 2, 3])),)):
        assert len(read(source, "odd", columns, keys=keys)) == 3
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'atoll'")
    for keys in ((), ((("id",), pa.array([1, 2, 3])),)):
        assert len(read(source, "odd", columns, keys=keys)) == 3


def test_abandoned_key_scans_free_their_connection(source: Source, connection: psycopg.Connection) -> None:
    endless = "SELECT a.id FROM generate_series(1, 100000) AS a(id), generate_series(1, 100000) AS b(id)"
    scan = scan_of(endless, types_of(id="integer"), keys=((("id",), pa.array(range(100_000))),))
    for _ in range(6):
        stream = source.scan(scan, Cancel())
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert len(read(source, "odd", types_of(id="integer"))) == 3


def test_a_nondeterministic_collation_is_found_and_does_not_fold(
    source: Source, connection: psycopg.Connection, postgres: PostgresServer, postgres_database: str, tmp_path: Path
) -> None:
    connection.execute("CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
    connection.execute("CREATE TABLE folded (t text COLLATE folding)")
    connection.execute("INSERT INTO folded VALUES ('abc'), ('ABC'), ('äbc')")
    assert connection.execute("SELECT count(*) FROM folded WHERE t = 'abc'").fetchone() == (3,)
    config = {"kind": "postgres", "port": postgres.port, "database": postgres_database, "user": "postgres"}
    fresh = open_source(parse_source(config), tmp_path, tmp_path)
    columns = types_of(t="varchar")
    try:
        assert read(fresh, "folded", columns, predicates=(Predicate("t", "=", ("abc",)),)) == [("abc",)]
        assert len(read(fresh, "folded", columns, predicates=(Predicate("t", "<>", ("abc",)),))) == 2
        assert read(fresh, "folded", columns, predicates=(Predicate("t", "in", ("abc", "x")),)) == [("abc",)]
        assert read(fresh, "folded", columns, keys=((("t",), pa.array(["abc"])),)) == [("abc",)]
        groups = read(fresh, "folded", columns, group_by=(GroupKey("t", VARCHAR, "k"),))
        assert sorted(groups) == [("ABC",), ("abc",), ("äbc",)]
    finally:
        fresh.close()
        connection.execute("DROP TABLE folded; DROP COLLATION folding")


def test_a_number_that_no_product_has_room_for_is_compared_with_nothing(
    source: Source, connection: psycopg.Connection
) -> None:
    """A row that the owner's filter hides may hold it: an error would tell of it."""
    connection.execute("CREATE TABLE huge (id int, a numeric)")
    connection.execute(
        "INSERT INTO huge VALUES (1, 1.5), (2, ('1' || repeat('0', 70000))::numeric), (3, 'NaN'), (4, -2)"
    )
    columns = types_of(id="integer", a="decimal(12,2)")
    square = Arithmetic("*", "a", "a", TrinoType("decimal", (24, 4)))
    three = Number(Decimal("3.0"), TrinoType("decimal", (2, 1)))
    shown = (OutputColumn("id", columns["id"], "id"),)

    def found(op: Any) -> list[tuple[Any, ...]]:
        return sorted(read(source, "huge", columns, columns=shown, predicates=(Computed(square, op, three),)))

    try:
        assert found(">") == [(4,)]
        assert found("<") == [(1,)]
        assert found("<>") == [(1,), (4,)]
    finally:
        connection.execute("DROP TABLE huge")


def test_equality_on_text_and_keys_use_the_columns_index(source: Source, connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE big AS SELECT i AS id, 'n' || i AS name FROM generate_series(1, 200000) i")
    connection.execute("CREATE INDEX ON big (name); ANALYZE big")
    columns = types_of(id="integer", name="varchar")
    connection.execute("SELECT pg_stat_reset()")
    assert read(source, "big", columns, predicates=(Predicate("name", "=", ("n77",)),)) == [(77, "n77")]
    assert len(read(source, "big", columns, keys=((("name",), pa.array([f"n{i}" for i in range(1, 101)])),))) == 100
    text = connection.execute(
        "EXPLAIN SELECT * FROM big WHERE name = CAST('n77' AS TEXT) AND name = ANY(CAST('{n77}' AS TEXT[]))"
    ).fetchall()
    assert any("Index" in line for (line,) in text)


@pytest.mark.parametrize(
    ("columns", "keys", "form"),
    [({"v": "varchar"}, pa.array(["v1"]), "ANY(CAST($1 AS TEXT[]))"),
     ({"id": "integer"}, pa.array([1]), "ANY(CAST('{1}' AS INT[]))"),
     ({"s": "smallint"}, pa.array([7, 70_000]), "ANY(CAST('{7}' AS SMALLINT[]))"),
     ({"num": "bigint"}, pa.array([2]), "IN (CAST('2' AS BIGINT))")],
    ids=["texts", "numbers", "numbers beyond the column", "numbers in a numeric column"],
)  # fmt: skip
def test_statements_are_recognisable_and_texts_of_few_keys_are_bound(
    source: Source, postgres: PostgresServer, columns: dict[str, str], keys: pa.Array, form: str
) -> None:
    (name,) = columns
    found = read(source, "odd", types_of(**columns), keys=(((name,), keys),), query_id=f"q_few_{name}")
    written = next(line for line in postgres.log.read_text().splitlines() if f"atoll:q_few_{name}" in line)
    assert form in written
    assert found == [row for row in [("v1",), (1,), (7,)] if row[0] in keys.to_pylist()]


def test_a_password_comes_from_its_reference_and_never_shows(
    postgres: PostgresServer, postgres_database: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s3cret-word\n")
    config = {
        "kind": "postgres", "port": 1, "database": postgres_database, "user": "postgres", "password": "file:secret",
    }  # fmt: skip
    closed = open_source(parse_source(config), tmp_path, tmp_path)
    with pytest.raises(SourceError) as failure:
        closed.ping()
    assert "s3cret-word" not in str(failure.value)


# --- groups beside the server -------------------------------------------------------------------------

LINES = (
    "SELECT i AS id, NULLIF(i % 7, 3) AS g, (i % 11 / 4.0)::numeric(12, 2) AS price, "
    "date '2024-01-30' + i % 40 AS day, "
    "CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN 'a' WHEN 2 THEN 'A' ELSE 'a ' END AS word "
    "FROM generate_series(1, 500) AS i"
)
LINE = types_of(id="bigint", g="integer", price="decimal(12,2)", day="date", word="varchar")
MONEY = TrinoType("decimal", (38, 2))
GROUPINGS: dict[str, dict[str, Any]] = {
    "by a number": {"group_by": (GroupKey("g", LINE["g"], "k"),)},
    "by a text": {"group_by": (GroupKey("word", LINE["word"], "k"),)},
    "by a decimal": {"group_by": (GroupKey("price", LINE["price"], "k"),)},
    "by a part of a date and a number": {
        "group_by": (GroupKey("day", BIGINT, "k", "month"), GroupKey("g", LINE["g"], "l"))},
    "of rows that conditions keep": {
        "group_by": (GroupKey("g", LINE["g"], "k"),), "row_filters": ("id > 100",),
        "predicates": (Predicate("word", "<>", ("A",)), Predicate("id", "<", (444,)))},
}  # fmt: skip
PRODUCT = parse_type("decimal(25,4)")
LEFT = Arithmetic("-", Number(1, parse_type("integer")), "price", parse_type("decimal(13,2)"))
SUMS = (
    Aggregate("count", None, BIGINT, "n"),
    Aggregate("count", "word", BIGINT, "words"),
    Aggregate("sum", "price", MONEY, "total"),
    Aggregate("sum", "id", BIGINT, "ids"),
    Aggregate("min", "word", VARCHAR, "first"),
    Aggregate("max", "day", LINE["day"], "last"),
    Aggregate("sum", Case(Predicate("word", "=", ("a",)), "price", None, LINE["price"]), MONEY, "some"),
    Aggregate("sum", Arithmetic("*", "price", LEFT, PRODUCT), parse_type("decimal(38,4)"), "product"),
)  # fmt: skip


@pytest.mark.parametrize("parts", GROUPINGS.values(), ids=GROUPINGS)
def test_groups_are_the_same_in_the_server_and_beside_it(
    source: Source, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = read(source, LINES, LINE, aggregates=SUMS, **parts)
    seen: list[str] = []
    compiled = Texts.compiled
    monkeypatch.setattr(Texts, "compiled", lambda *asked: _noted(compiled(*asked), seen))
    monkeypatch.setattr("connectors.postgres.HASHED_GROUPS", -1)
    beside = read(source, LINES, LINE, aggregates=SUMS, **parts)
    assert sorted(inside, key=repr) == sorted(beside, key=repr)
    assert len(inside) > 1
    assert "GROUP BY" not in seen[-1]


def test_groups_by_keys_are_no_more_than_the_keys(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server expects is counted without them."""
    monkeypatch.setattr("connectors.postgres.HASHED_GROUPS", 99)
    monkeypatch.setattr(PostgresSource, "_expected", lambda *_: 1e6)
    asked: list[NativeScan] = []

    def noted(_: Grouper, scan: NativeScan, *__: Any) -> Iterator[pa.RecordBatch]:
        asked.append(scan)
        yield from ()

    monkeypatch.setattr(Grouper, "groups", noted)
    columns = types_of(id="integer", s="smallint")
    by_id, count = (GroupKey("id", columns["id"], "k"),), (Aggregate("count", None, BIGINT, "n"),)
    few = read(source, "odd", columns, keys=((("id",), pa.array(range(99))),), group_by=by_id, aggregates=count)
    assert (sorted(few), asked) == ([(1, 1), (2, 1), (3, 1)], [])
    read(source, "odd", columns, keys=((("id",), pa.array(range(100))),), group_by=by_id, aggregates=count)
    more = (*by_id, GroupKey("s", columns["s"], "l"))
    read(source, "odd", columns, keys=((("id",), pa.array(range(70))),), group_by=more, aggregates=count)
    assert len(asked) == 2


def _noted(compiled: Compiled, seen: list[str]) -> Compiled:
    seen.append(compiled.sql)
    return compiled


def test_a_value_that_does_not_fit_is_told_by_name_beside_the_server_too(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgres.HASHED_GROUPS", -1)
    columns = types_of(id="integer", num="decimal(20,5)")
    total = (Aggregate("sum", "num", TrinoType("decimal", (38, 5)), "s"),)
    with pytest.raises(SourceError, match="'num'"):
        read(source, "odd", columns, group_by=(GroupKey("id", columns["id"], "k"),), aggregates=total)


def test_groups_beside_the_server_end_when_they_are_cancelled(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres.HASHED_GROUPS", -1)
    endless = "SELECT i AS id, i % 9 AS g FROM generate_series(1, 1000000000) AS i"
    scan = scan_of(endless, types_of(id="bigint", g="integer"), group_by=(GroupKey("g", LINE["g"], "k"),),
                   aggregates=(Aggregate("count", None, BIGINT, "n"),))  # fmt: skip
    cancel = Cancel()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Cancelled):
        list(source.scan(scan, cancel))
