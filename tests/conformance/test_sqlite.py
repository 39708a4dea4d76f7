"""What is particular to SQLite: cells without a type, collations, and a library that could do much more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from catalog.types import BIGINT, VARCHAR
from connectors.base import Aggregate, GroupKey, Predicate, Source, SourceError
from connectors.sources import open_source, parse_source
from tests.conformance.helpers import read, types_of

SCRIPT = """
CREATE TABLE loose (id INTEGER PRIMARY KEY, n, d, name TEXT COLLATE NOCASE, price DECIMAL(10, 2), flag);
INSERT INTO loose VALUES (1, 1, '2024-02-29', 'Anna', 1.5, 1), (2, 'two', '2024/3/1', 'ANNA', '2.25', 2),
    (3, 3.5, '2023-02-29', 'anna ', 12345678901234.5, 0), (4, NULL, NULL, NULL, NULL, NULL),
    (5, 5, 20240301, x'41', 7, 0);
CREATE TABLE "Odd ""table" ("a""b" INTEGER, "a`b" INTEGER); INSERT INTO "Odd ""table" VALUES (1, 2);
"""


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        connection.executescript(SCRIPT)
    opened = open_source(parse_source({"kind": "sqlite", "path": "s.db"}), tmp_path, tmp_path / "private")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("column", "declared", "row"),
    [("n", "bigint", 2), ("n", "bigint", 3), ("d", "date", 2), ("d", "date", 3), ("d", "date", 5),
     ("flag", "boolean", 2),
     ("name", "varchar", 5), ("price", "decimal(10,1)", 2)],
)  # fmt: skip
def test_a_bad_cell_is_an_error_that_names_its_column_and_good_rows_stay_readable(
    source: Source, column: str, declared: str, row: int
) -> None:
    columns = types_of(**{column: declared})
    with pytest.raises(SourceError, match=f"'{column}'"):
        read(source, "loose", columns, row_filters=(f"id = {row}",))
    assert len(read(source, "loose", columns, row_filters=("id IN (1, 4)",))) == 2


@pytest.mark.parametrize(
    ("column", "declared", "function", "row"),
    [("n", "bigint", "sum", 2), ("n", "bigint", "max", 3), ("d", "date", "min", 2), ("d", "date", "max", 3)],
)
def test_a_bad_cell_never_takes_part_in_an_aggregate(
    source: Source, column: str, declared: str, function: str, row: int
) -> None:
    columns = types_of(**{column: declared})
    aggregates = (Aggregate(function, column, columns[column], "a"),)  # type: ignore[arg-type]
    with pytest.raises(SourceError):
        read(source, "loose", columns, aggregates=aggregates, row_filters=(f"id IN (1, {row})",))


def test_a_day_that_does_not_exist_has_no_year(source: Source) -> None:
    keys = (GroupKey("d", BIGINT, "y", "year"),)
    with pytest.raises(SourceError):
        read(source, "loose", types_of(d="date"), group_by=keys, row_filters=("id = 3",))
    assert read(source, "loose", types_of(d="date"), group_by=keys, row_filters=("id = 1",)) == [(2024,)]


def test_a_nocase_column_is_compared_and_grouped_by_its_bytes(source: Source) -> None:
    columns = types_of(name="varchar")
    equal = (Predicate("name", "=", ("Anna",)),)
    assert read(source, "loose", columns, predicates=equal) == [("Anna",)]
    count = (Aggregate("count", None, BIGINT, "n"),)
    groups = read(
        source, "loose", columns, group_by=(GroupKey("name", VARCHAR, "k"),), aggregates=count, row_filters=("id < 4",)
    )
    assert sorted(groups) == [("ANNA", 1), ("Anna", 1), ("anna ", 1)]


def test_decimals_in_a_numeric_column_are_exact_to_15_digits(source: Source) -> None:
    columns = types_of(price="decimal(20,2)")
    assert read(source, "loose", columns, row_filters=("id IN (1, 2, 3)",)) == [
        (Decimal("1.50"),),
        (Decimal("2.25"),),
        (Decimal("12345678901234.50"),),
    ]
    with pytest.raises(SourceError, match="'x'"):
        read(source, "SELECT 1234567890123.4567 AS x", types_of(x="decimal(20,4)"))


def test_quoted_names_work_and_never_become_text(source: Source) -> None:
    view = 'SELECT "a""b" + 1 AS "x", "a`b" AS y FROM "Odd ""table"'
    assert read(source, view, types_of(x="bigint", y="bigint")) == [(2, 2)]
    with pytest.raises(SourceError):
        read(source, 'SELECT "no such column" AS x FROM loose', types_of(x="varchar"))


def test_helpers_normalise_text(source: Source) -> None:
    view = "SELECT upper(replace(nfkc('９ｌ ４４'), ' ', '')) AS a, nfc('e\u0301') AS b, nfkc(NULL) AS c"
    assert read(source, view, types_of(a="varchar", b="varchar", c="varchar")) == [("9L44", "é", None)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT load_extension('x') AS a",
        "SELECT readfile('/etc/hostname') AS a",
        "SELECT writefile('x', 'y') AS a",
        "SELECT sqlite_version() AS a",
        "SELECT randomblob(1000000000) AS a",
        "SELECT name AS a FROM pragma_database_list",
        "SELECT fts3_tokenizer('x') AS a",
        "SELECT a FROM (ATTACH 'x' AS y)",
        "SELECT x AS a FROM loose, other.loose",
    ],
)
def test_only_listed_functions_and_actions_exist(source: Source, text: str) -> None:
    with pytest.raises(SourceError):
        read(source, text, types_of(a="varchar"))


def test_views_and_windows_of_the_owner_work(source: Source) -> None:
    view = """SELECT id, lag(id) OVER (ORDER BY id) AS before FROM loose
              WHERE id IN (SELECT value FROM json_each('[1,2]')) ORDER BY id"""
    assert read(source, view, types_of(id="bigint", before="bigint")) == [(1, None), (2, 1)]


def test_the_file_is_never_written(source: Source, tmp_path: Path) -> None:
    before = (tmp_path / "s.db").read_bytes()
    assert read(source, "loose", types_of(id="bigint"))
    assert (tmp_path / "s.db").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"s.db"}


def test_a_file_replaced_by_a_new_one_is_followed(source: Source, tmp_path: Path) -> None:
    assert len(read(source, "loose", types_of(id="integer"))) == 5
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.executescript("CREATE TABLE loose (id INTEGER); INSERT INTO loose VALUES (77);")
    (tmp_path / "new.db").rename(tmp_path / "s.db")
    assert read(source, "loose", types_of(id="integer")) == [(77,)]


def test_a_missing_file_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no SQLite file"):
        open_source(parse_source({"kind": "sqlite", "path": "none.db"}), tmp_path, tmp_path)


def test_dates_before_christ_and_short_years_are_errors(source: Source) -> None:
    for text in ("-044-03-15", "24-01-01", "2024-1-1", "20240101"):
        with pytest.raises(SourceError, match="'d'"):
            read(source, f"SELECT '{text}' AS d", types_of(d="date"))
    assert read(source, "SELECT '0001-01-01' AS d", types_of(d="date")) == [(date(1, 1, 1),)]
