"""What is particular to MariaDB: zero dates, unsigned numbers, other character sets, backslashes, lost connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pymysql
import pytest

from catalog.types import BIGINT, DATE, INTEGER, VARCHAR
from catalog.types import parse as parse_type
from connectors.base import (
    Aggregate,
    AnyOf,
    Cancel,
    Comparison,
    Exists,
    GroupKey,
    Like,
    NativeScan,
    Order,
    OutputColumn,
    Predicate,
    Source,
    SourceError,
)
from connectors.mysql import CAPABILITIES, session_statements
from connectors.native import MariaDBCompiler
from connectors.packets import READ_BYTES
from connectors.sources import open_source, parse_source
from tests.conformance.helpers import read, scan_of, types_of
from tests.servers import MariaDBServer

pytestmark = pytest.mark.servers

SCRIPT = """
SET sql_mode = '';
CREATE TABLE odd (id int PRIMARY KEY, d date, dt datetime(3), u bigint unsigned, s int unsigned,
    l text CHARACTER SET latin1, g varchar(20) CHARACTER SET gbk,
    flag tinyint(1), bits bit(3), t time, f float, amt decimal(40,20), bl blob,
    e enum('x','y'), y year, q varchar(20) COLLATE utf8mb4_unicode_ci, j json);
INSERT INTO odd VALUES
    (1, '2024-02-29', '2024-02-29 12:00:00.123', 18446744073709551615, 4294967295, 'é', '中', 1, 5, '23:59:59', 0.1,
     12345678901234567.12345678901234567890, x'00ff', 'x', 2024, 'Straße', '{"a": 1}'),
    (2, '0000-00-00', '0000-00-00', 1, 1, 'É', '文', 2, 1, '100:00:00', NULL, NULL, NULL, 'y', NULL, 'STRASSE', NULL),
    (3, '2024-00-15', '2024-01-00', NULL, NULL, NULL, NULL, 0, NULL, '-01:00:00', NULL, NULL, NULL, NULL, NULL,
     'strasse ', NULL),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE big (id int PRIMARY KEY, name varchar(40), KEY (name));
INSERT INTO big SELECT seq, concat('n', seq) FROM seq_1_to_50000;
CREATE TABLE some (id int PRIMARY KEY, more char(200)) SELECT seq AS id, 'x' AS more FROM seq_1_to_50000;
CREATE TABLE many (id int PRIMARY KEY) SELECT seq AS id FROM seq_1_to_700000;
ANALYZE TABLE some, many;
CREATE TABLE long_texts (id int PRIMARY KEY, t text);
INSERT INTO long_texts SELECT seq, concat(repeat('a', 3000), char(100 - seq % 4)) FROM seq_1_to_16;
CREATE TABLE collated (id int PRIMARY KEY, ci varchar(9) COLLATE utf8mb4_general_ci,
    uca char(9) COLLATE utf8mb4_unicode_ci, nopad text COLLATE utf8mb4_unicode_nopad_ci, bin text COLLATE utf8mb4_bin,
    newer varchar(9) COLLATE uca1400_ai_ci, three varchar(9) CHARACTER SET utf8mb3, KEY (ci), KEY (uca));
CREATE SEQUENCE counter;
CREATE FUNCTION sneaky() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM odd; RETURN 1; END
"""


@pytest.fixture(scope="module")
def cursor(mariadb: MariaDBServer, mariadb_database: str) -> Iterator[Any]:
    connection = pymysql.connect(**mariadb.settings(), database=mariadb_database, autocommit=True)
    with connection.cursor() as opened:
        before, _, function = SCRIPT.rpartition("CREATE FUNCTION")
        for statement in [*before.split(";\n"), f"CREATE FUNCTION{function}"]:
            if statement.strip():
                opened.execute(statement)
        yield opened
    connection.close()


@pytest.fixture
def source(mariadb: MariaDBServer, mariadb_database: str, cursor: Any, tmp_path: Path) -> Iterator[Source]:
    config = {"kind": "mysql", "port": mariadb.port, "database": mariadb_database, "user": "root", "timeout": 2}
    opened = open_source(parse_source(config), tmp_path, tmp_path)
    yield opened
    opened.close()


def test_zero_dates_are_null_wherever_they_are_looked_at(source: Source) -> None:
    columns = types_of(id="integer", d="date", dt="timestamp(3)")
    rows = read(source, "odd", columns)
    assert [row[1] for row in rows] == [date(2024, 2, 29), None, None, None]
    assert [row[2] is None for row in rows] == [False, True, True, True]

    def found(*predicates: Predicate) -> list[int]:
        return [row[0] for row in read(source, "odd", columns, predicates=predicates)]

    for column in ("d", "dt"):
        assert found(Predicate(column, "is null")) == [2, 3, 4]
        assert found(Predicate(column, "is not null")) == [1]
    for op in ("<", "<=", "<>"):
        assert found(Predicate("d", op, (date(2025, 1, 1),))) == [1]
    assert found(Predicate("d", ">", (date(1, 1, 1),))) == [1]
    day = columns["d"]
    aggregates = (
        Aggregate("count", "d", BIGINT, "n"),
        Aggregate("min", "d", day, "low"),
        Aggregate("max", "d", day, "high"),
    )
    assert read(source, "odd", columns, aggregates=aggregates) == [(1, date(2024, 2, 29), date(2024, 2, 29))]
    keys = (GroupKey("d", BIGINT, "y", "year"), GroupKey("d", DATE, "d"))
    assert sorted(read(source, "odd", columns, group_by=keys), key=str) == [(2024, date(2024, 2, 29)), (None, None)]


def test_unsigned_numbers_are_whole_or_an_error(source: Source) -> None:
    assert read(source, "odd", types_of(u="decimal(20,0)"), row_filters=("id = 1",)) == [(Decimal(2**64 - 1),)]
    with pytest.raises(SourceError, match="'u'"):
        read(source, "odd", types_of(u="bigint"))
    assert read(source, "odd", types_of(s="bigint"), row_filters=("id = 1",)) == [(2**32 - 1,)]
    with pytest.raises(SourceError, match="'s'"):
        read(source, "odd", types_of(s="integer"))


def test_decimals_keep_all_their_digits(source: Source) -> None:
    found = read(source, "odd", types_of(amt="decimal(38,20)"), row_filters=("id = 1",))
    assert found == [(Decimal("12345678901234567.12345678901234567890"),)]


def test_decimals_that_are_filled_with_zeros_are_the_same_numbers(source: Source, cursor: Any) -> None:
    cursor.execute("CREATE OR REPLACE TABLE filled (z decimal(10,2) zerofill, n decimal(30,4))")
    cursor.execute("INSERT INTO filled VALUES (3.5, -0.00004), (0, -12345678901234567890.5)")
    columns = types_of(z="decimal(10,2)", n="decimal(30,4)")
    rows = [(Decimal("3.50"), Decimal(0)), (Decimal(0), Decimal("-12345678901234567890.5"))]
    assert read(source, "filled", columns) == rows
    kinds = columns.values()
    sums = tuple(
        Aggregate("sum", c, parse_type(f"decimal(38,{k.args[1]})"), c) for c, k in zip("zn", kinds, strict=True)
    )
    assert read(source, "filled", columns, aggregates=sums) == [(Decimal("3.50"), Decimal("-12345678901234567890.5"))]
    keys = tuple(GroupKey(c, k, c) for c, k in columns.items())
    assert sorted(read(source, "filled", columns, group_by=keys)) == sorted(rows)


def test_other_character_sets_are_read_and_compared(source: Source) -> None:
    columns = types_of(id="integer", l="varchar", g="varchar")
    assert read(source, "odd", columns, row_filters=("id < 3",)) == [(1, "é", "中"), (2, "É", "文")]
    for column, text, row in (("l", "é", 1), ("l", "É", 2), ("g", "中", 1), ("g", "文", 2)):
        assert [r[0] for r in read(source, "odd", columns, predicates=(Predicate(column, "=", (text,)),))] == [row]
        assert [r[0] for r in read(source, "odd", columns, keys=(((column,), pa.array([text])),))] == [row]
    assert read(source, "odd", columns, predicates=(Predicate("l", "=", ("🐚",)),)) == []


@pytest.mark.parametrize(
    "kind", ["varchar(9) CHARACTER SET latin1", "text CHARACTER SET ucs2", "char(9) CHARACTER SET gbk"]
)
def test_the_least_and_the_greatest_text_of_a_group_keep_their_characters(
    source: Source, cursor: Any, kind: str
) -> None:
    cursor.execute(f"CREATE OR REPLACE TABLE worded (k int, w {kind})")
    cursor.execute("INSERT INTO worded VALUES (1, 'á'), (1, 'à'), (2, 'é'), (2, 'a'), (3, NULL), (4, 'ü'), (4, 'ü')")
    least, greatest = (Aggregate(f, "w", VARCHAR, f) for f in ("min", "max"))  # type: ignore[arg-type]
    rows = [(1, "à", "á"), (2, "a", "é"), (3, None, None), (4, "ü", "ü")]
    group = (GroupKey("k", INTEGER, "g"),)
    columns = types_of(k="integer", w="varchar")
    for relation in ("worded", "SELECT k, CAST(w AS char) AS w FROM worded"):
        assert sorted(read(source, relation, columns, group_by=group, aggregates=(least, greatest))) == rows


def test_a_folding_padding_collation_does_not_fold_or_pad(source: Source) -> None:
    columns = types_of(q="varchar")
    for text in ("Straße", "STRASSE", "strasse "):
        assert read(source, "odd", columns, predicates=(Predicate("q", "=", (text,)),)) == [(text,)]
    assert read(source, "odd", columns, predicates=(Predicate("q", "=", ("strasse",)),)) == []
    groups = read(source, "odd", columns, group_by=(GroupKey("q", VARCHAR, "k"),), row_filters=("q IS NOT NULL",))
    assert sorted(groups) == [("STRASSE",), ("Straße",), ("strasse ",)]


@pytest.mark.parametrize(
    ("column", "begins", "found"),
    [("q", ("Str", "str"), ["Straße", "strasse "]), ("q", ("STRASSE ", "strasse "), ["strasse "]),
     ("q", ("Straß", "STRAS"), ["STRASSE", "Straße"]), ("l", ("é", "ä"), ["é"]), ("g", ("中", "🐚"), ["中"]),
     ("q", ("S", "str"), ["STRASSE", "Straße", "strasse "])],
)  # fmt: skip
def test_the_beginnings_of_a_text_are_compared_letter_by_letter(
    source: Source, column: str, begins: tuple[str, ...], found: list[str]
) -> None:
    columns = types_of(**{column: "varchar"})
    likes = AnyOf(tuple(Like(column, f"{begin}%") for begin in begins))
    assert sorted(read(source, "odd", columns, predicates=(likes,))) == [(text,) for text in found]
    text = MariaDBCompiler(scan_of("odd", columns, predicates=(likes,)), CAPABILITIES, lambda _: {column: "text"})
    assert (" IN (" in text.compile().sql) == (len(set(map(len, begins))) == 1)


COLLATED = ["a", "A", "á", "a ", "a  ", "", " ", "ab", "Ab", "ß", "ss", "a\u0301", "\uffee", None]
COLLATIONS = ["ci", "uca", "nopad", "bin", "newer", "three"]


@pytest.fixture(scope="module")
def collated(cursor: Any) -> None:
    for id_, text in enumerate(COLLATED):
        cursor.execute("INSERT INTO collated VALUES (%s, %s, %s, %s, %s, %s, %s)", (id_, *[text] * len(COLLATIONS)))
    cursor.execute("INSERT INTO collated VALUES (99, '🐚', '🐚', '🐚', '🐚', '🐚', '?')")


@pytest.mark.parametrize("relation", ["collated", "SELECT * FROM collated", "SELECT DISTINCT * FROM collated"])
@pytest.mark.parametrize("column", COLLATIONS)
def test_in_every_collation_texts_are_compared_by_their_characters(
    source: Source, collated: None, relation: str, column: str
) -> None:
    """In a column of the type CHAR the server keeps no spaces at the end."""
    columns = types_of(**{column: "varchar"})
    kept = [*COLLATED, "?" if column == "three" else "🐚"]
    texts = sorted(text.rstrip(" ") if column == "uca" else text for text in kept if text is not None)

    def found(**asked: Any) -> list[str]:
        return sorted(text for (text,) in read(source, relation, columns, **asked))

    assert found(predicates=(Predicate(column, "is not null"),)) == texts
    for text in {*texts, "AB", "\U0001f41b"} if column != "three" else set(texts):
        for op, holds in (("=", text.__eq__), ("<>", text.__ne__), ("<", text.__gt__), (">=", text.__le__)):
            assert found(predicates=(Predicate(column, op, (text,)),)) == list(filter(holds, texts)), (op, text)  # type: ignore[arg-type]
        assert found(predicates=(Predicate(column, "in", (text, "ab")),)) == [t for t in texts if t in (text, "ab")]
        assert found(keys=(((column,), pa.array([text, "ab"])),)) == [t for t in texts if t in (text, "ab")]
    for begin in ("a", "A", "a ", "á", "s"):
        likes = Like(column, f"{begin}%"), Like(column, f"{begin[::-1]}%")
        begun = [t for t in texts if t.startswith((begin, begin[::-1]))]
        assert found(predicates=(AnyOf(likes),)) == begun, begin
        assert found(predicates=(likes[0],)) == [t for t in begun if t.startswith(begin)], begin
    low, high = Aggregate("min", column, VARCHAR, "low"), Aggregate("max", column, VARCHAR, "high")
    assert read(source, relation, columns, aggregates=(low, high)) == [(min(texts), max(texts))]
    groups = read(source, relation, columns, group_by=(GroupKey(column, VARCHAR, "k"),))
    assert sorted((text for (text,) in groups), key=str) == sorted({*texts, None}, key=str)


@pytest.mark.parametrize("right", COLLATIONS)
@pytest.mark.parametrize("left", COLLATIONS)
def test_texts_of_every_two_collations_meet_by_their_characters(
    source: Source, collated: None, cursor: Any, left: str, right: str
) -> None:
    def part(column: str, number: int) -> NativeScan:
        columns = (OutputColumn("id", INTEGER, f"i{number}"), OutputColumn(column, VARCHAR, f"t{number}"))
        return NativeScan("collated", False, {"id": INTEGER, column: VARCHAR}, columns)

    def found(parts: tuple[NativeScan, ...], condition: Comparison | Exists) -> list[tuple[int, ...]]:
        kinds = {name: kind for one in parts for name, kind in one.outputs}
        columns = tuple(OutputColumn(name, INTEGER, name) for name in kinds if name.startswith("i"))
        asked = NativeScan(parts, False, kinds, columns, predicates=(condition,))
        return sorted(tuple(row.values()) for batch in source.scan(asked, Cancel()) for row in batch.to_pylist())

    cursor.execute(f"SELECT id, {left}, {right} FROM collated")
    rows = cursor.fetchall()
    meets = Comparison("t0", "=", "t1")
    pairs = [(i, j) for i, text, _ in rows for j, _, other in rows if text is not None and text == other]
    assert found((part(left, 0), part(right, 1)), meets) == sorted(pairs)
    within = {i for i, _ in pairs}
    assert found((part(left, 0),), Exists((part(right, 1),), (meets,))) == [(i,) for i in sorted(within)]
    without = sorted(i for i, *_ in rows if i not in within)
    assert found((part(left, 0),), Exists((part(right, 1),), (meets,), negated=True)) == [(i,) for i in without]


def test_only_texts_of_another_character_set_are_brought_into_the_one_that_is_compared(
    source: Source, mariadb: MariaDBServer, collated: None
) -> None:
    columns = types_of(id="integer", **dict.fromkeys(COLLATIONS, "varchar"))
    for relation in ("collated", "SELECT * FROM collated"):
        likes = tuple(Predicate(column, ">", ("zz",)) for column in COLLATIONS)
        read(source, relation, columns, predicates=likes)
        asked = [line for line in mariadb.log.read_text().splitlines() if "x'7a7a'" in line][-1]
        assert asked.count("CAST(") == 2, asked
        for column in ("nopad", "three"):
            assert f"CAST(`r`.`{column}` AS" in asked


def test_a_column_that_gets_another_character_set_is_an_error_once_and_right_thereafter(
    source: Source, cursor: Any
) -> None:
    cursor.execute("CREATE OR REPLACE TABLE altered (t varchar(9) CHARACTER SET utf8mb4)")
    cursor.execute("INSERT INTO altered VALUES ('é'), ('É')")
    columns = types_of(t="varchar")
    asked = {"predicates": (Predicate("t", "=", ("É",)),)}
    assert read(source, "altered", columns, **asked) == [("É",)]
    for changed in ("latin1", "utf8mb3", "utf8mb4"):
        cursor.execute(f"ALTER TABLE altered MODIFY t varchar(9) CHARACTER SET {changed}")
        if changed == "latin1":
            with pytest.raises(SourceError, match="not valid for CHARACTER SET 'latin1'"):
                read(source, "altered", columns, **asked)
        assert read(source, "altered", columns, **asked) == [("É",)]


def test_what_is_no_text_any_more_is_still_compared_as_one(source: Source, cursor: Any) -> None:
    cursor.execute("CREATE OR REPLACE TABLE renumbered (t varchar(9))")
    cursor.execute("INSERT INTO renumbered VALUES ('7'), ('07'), ('10')")
    columns = types_of(t="varchar")
    asked = {"predicates": (Predicate("t", "<", ("7",)),)}
    assert sorted(read(source, "renumbered", columns, **asked)) == [("07",), ("10",)]
    cursor.execute("ALTER TABLE renumbered MODIFY t int")
    assert read(source, "renumbered", columns, **asked) == [("10",)]


def test_beginnings_and_decimals_are_compared_in_the_order_in_which_they_are_asked() -> None:
    """None of them takes the server much longer; any other text comes after the decimals."""
    columns = types_of(amt="decimal(12,2)", t="varchar")
    likes, more = AnyOf((Like("t", "a%"), Like("t", "b%"))), Predicate("amt", ">", (Decimal(1),))
    natives = {"amt": "decimal", "t": "utf8mb4 text"}
    for asked in ((likes, more), (more, likes), (Like("t", "%a%"), more)):
        text = MariaDBCompiler(scan_of("odd", columns, predicates=asked), CAPABILITIES, lambda _: natives).compile().sql
        conditions = text.split(" WHERE ")[1]
        assert (conditions.index("`t`") < conditions.index("`amt`")) is (asked[0] is likes), text


def test_long_texts_that_begin_alike_are_groups_of_their_own(
    mariadb: MariaDBServer, mariadb_database: str, source: Source
) -> None:
    """Also where the server makes groups by sorting, which is its own choice, but for this word."""
    columns = types_of(id="integer", t="varchar")
    counted = scan_of(
        "long_texts", columns, group_by=(GroupKey("t", VARCHAR, "k"),),
        aggregates=(Aggregate("count", None, BIGINT, "n"),),
    )  # fmt: skip
    read_back = pa.Table.from_batches(list(source.scan(counted, Cancel()))).to_pylist()
    assert sorted((row["k"][-1], row["n"]) for row in read_back) == [("a", 4), ("b", 4), ("c", 4), ("d", 4)]
    text = MariaDBCompiler(counted, CAPABILITIES, lambda _: {"id": "int", "t": "text"}).compile().sql
    connection = pymysql.connect(**mariadb.settings(), database=mariadb_database)
    with closing(connection), connection.cursor() as session:
        for statement in session_statements(5):
            session.execute(statement)
        session.execute(text.replace("SELECT", "SELECT SQL_BIG_RESULT", 1))
        assert sorted((k[-1], n) for k, n in session.fetchall()) == [("a", 4), ("b", 4), ("c", 4), ("d", 4)]


def test_nothing_is_sorted_by_texts_there(source: Source) -> None:
    """It would compare their first bytes, and which of two rows comes first might follow what nobody may see."""
    columns = types_of(id="integer", t="varchar")
    with pytest.raises(ValueError, match="order by 't': not pushed"):
        read(source, "long_texts", columns, order=(Order("t"),), limit=2)


def test_flags_bits_years_enums_json_blobs_and_times(source: Source) -> None:
    columns = types_of(
        flag="boolean", bits="bigint", y="integer", e="varchar", j="json", bl="varbinary", f="real", t="time"
    )
    (row,) = read(source, "odd", columns, row_filters=("id = 1",))
    assert row[:6] == (True, 5, 2024, "x", '{"a":1}', b"\x00\xff")
    assert row[6] == pytest.approx(0.1, rel=1e-6)
    assert str(row[7]) == "23:59:59"


def test_a_year_is_compared_as_the_number_that_it_is_delivered_as(source: Source) -> None:
    """The server would take 24 for 2024, and what is no year for the year 0."""
    columns = types_of(y="integer")

    def found(**asked: Any) -> bool:
        return read(source, "odd", columns, **asked) == [(2024,)]

    for op, value in (("<>", 24), (">", 24), ("<", 32_768), ("<", 2**63 - 1), ("=", 2024), ("in", 2024)):
        assert found(predicates=(Predicate("y", op, (value,)),)), (op, value)  # type: ignore[arg-type]
    for value in (24, 2024):
        assert found(keys=((("y",), pa.array([value])),)) is (value == 2024)
        assert found(predicates=(Predicate("y", "in", (7, value)),)) is (value == 2024)


@pytest.mark.parametrize(("column", "declared", "row"), [("flag", "boolean", 2), ("t", "time", 2), ("t", "time", 3)])
def test_a_value_of_no_such_type_is_an_error_that_names_its_column(
    source: Source, column: str, declared: str, row: int
) -> None:
    with pytest.raises(SourceError, match=f"'{column}'"):
        read(source, "odd", types_of(**{column: declared}), row_filters=(f"id = {row}",))


def test_owner_texts_are_read_with_ansi_quotes_and_plain_backslashes(source: Source) -> None:
    view = r"""SELECT "id", 'a\' AS "b", 'it''s 100%' AS c FROM "odd" -- 'unbalanced"""
    assert read(source, view, types_of(id="integer", b="varchar", c="varchar"), limit=1) == [(1, "a\\", "it's 100%")]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT NEXTVAL(counter) AS a",
        "SELECT sneaky() AS a",
        "SELECT id AS a FROM odd INTO OUTFILE '/tmp/x'",
        "SELECT id AS a FROM odd PROCEDURE analyse()",
    ],
)
def test_the_session_cannot_write(source: Source, cursor: Any, text: str) -> None:
    with pytest.raises(SourceError):
        read(source, text, types_of(a="bigint"))
    cursor.execute("SELECT count(*) FROM odd")
    assert cursor.fetchall() == ((4,),)


def test_a_statement_ends_at_the_timeout(source: Source) -> None:
    with pytest.raises(SourceError, match="max_statement_time"):
        read(source, "SELECT a.id FROM big a, big b, big c WHERE a.id + b.id + c.id < 0", types_of(id="integer"))


def test_equality_and_keys_on_text_use_the_columns_index(source: Source, cursor: Any) -> None:
    columns = types_of(id="integer", name="varchar")
    cursor.execute("FLUSH STATUS")

    def rows_read() -> int:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Handler_read_rnd_next'")
        return int(cursor.fetchall()[0][1])

    before = rows_read()
    assert read(source, "big", columns, predicates=(Predicate("name", "=", ("n77",)),)) == [(77, "n77")]
    assert len(read(source, "big", columns, keys=((("name",), pa.array([f"n{i}" for i in range(1, 101)])),))) == 100
    assert rows_read() - before < 10_000


def test_many_keys_are_not_made_a_table_of_the_servers(source: Source, cursor: Any) -> None:
    """Of more than 1,000 it would make one, and look for each of them in the relation, however many rows that takes."""

    def rows_written() -> int:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Handler_tmp_write'")
        return int(cursor.fetchall()[0][1])

    before = rows_written()
    keys = ((("id",), pa.array(range(1, 3001))),)
    assert len(read(source, "big", types_of(id="integer", name="varchar"), keys=keys)) == 3000
    assert rows_written() - before < 1000


@pytest.mark.parametrize(
    ("relation", "count", "looked_up"),
    [("many", 40_000, True), ("SELECT * FROM many", 40_000, False), ("some", 5_000, False),
     ("SELECT * FROM some", 5_000, True)],
)  # fmt: skip
def test_rows_are_looked_up_by_their_keys_where_there_are_many_for_each_of_these(
    source: Source, cursor: Any, relation: str, count: int, looked_up: bool
) -> None:
    """The server's own limit is 32,000 keys, of however many rows. How many a query has nobody knows."""

    def look_ups() -> int:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Handler_read_key'")
        return int(cursor.fetchall()[0][1])

    keys = list(range(50_000, 50_000 - count, -1))
    bound: Any = ((("id",), pa.array(keys)),)
    plain = scan_of(relation, types_of(id="integer"))
    joined = NativeScan((plain,), False, plain.types, plain.columns, keys=bound)
    for asked in (replace(plain, keys=bound), joined):
        before = look_ups()
        found = pa.Table.from_batches(source.scan(asked, Cancel()))
        assert found["id"].to_pylist() == sorted(keys)
        assert (look_ups() - before >= count) is looked_up


def test_few_keys_are_looked_up_beside_many_of_a_small_table(source: Source, cursor: Any) -> None:
    cursor.execute("CREATE OR REPLACE TABLE few (id int PRIMARY KEY) SELECT seq AS id FROM seq_1_to_3000")
    cursor.execute("ANALYZE TABLE few")

    def rows_read() -> int:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Handler_read%next'")
        return sum(int(count) for _, count in cursor.fetchall())

    columns = types_of(id="integer")
    parts = tuple(
        replace(scan_of(table, columns), columns=(OutputColumn("id", INTEGER, table),)) for table in ("few", "many")
    )
    few, many = pa.array(range(1, 2001)), pa.array(range(2000, 2900))
    scan = NativeScan(
        parts, False, types_of(few="integer", many="integer"), (OutputColumn("many", INTEGER, "id"),),
        predicates=(Comparison("few", ">=", "many"),), keys=((("few",), few), (("many",), many)),
    )  # fmt: skip
    before = rows_read()
    assert pa.Table.from_batches(source.scan(scan, Cancel())).to_pylist() == [{"id": 2000}]
    assert rows_read() - before < 10_000


def test_keys_of_a_table_without_an_end_are_looked_up(source: Source) -> None:
    keys = list(range(5, 50_000, 10))
    found = read(source, "seq_1_to_1000000000000", types_of(seq="bigint"), keys=((("seq",), pa.array(keys)),))
    assert found == [(key,) for key in keys]


def test_a_connection_that_died_is_replaced(source: Source, cursor: Any) -> None:
    assert len(read(source, "odd", types_of(id="integer"))) == 4
    cursor.execute("SELECT id FROM information_schema.processlist WHERE id <> connection_id()")
    for (thread,) in cursor.fetchall():
        cursor.execute(f"KILL {thread}")
    assert len(read(source, "odd", types_of(id="integer"))) == 4


def test_introspection_knows_keys_nulls_and_types(source: Source) -> None:
    tables = {table.name: table for table in source.tables()}
    columns = {column.name: column for column in tables["odd"].columns}
    assert columns["id"].key
    assert not columns["id"].nullable
    found = {name: str(column.type) for name, column in columns.items()}
    assert found["u"] == "decimal(20, 0)"
    assert found["s"] == "bigint"
    assert found["dt"] == "timestamp(3)"
    assert found["flag"] == "boolean"
    assert found["amt"] == "None"
    assert found["e"] == "varchar"


def test_a_huge_result_streams_in_bounded_batches(source: Source) -> None:
    stream = source.scan(scan_of("SELECT a.id FROM big a, big b", types_of(id="integer")), Cancel())
    assert max(next(stream).nbytes for _ in range(3)) <= 2 * READ_BYTES
    stream.close()  # type: ignore[attr-defined]


def test_a_wrong_password_is_a_source_error_without_it(mariadb: MariaDBServer, cursor: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret-word\n")
    config = {"kind": "mysql", "port": mariadb.port, "database": "x", "user": "root", "password": "file:secret"}
    source = open_source(parse_source(config), tmp_path, tmp_path)
    with pytest.raises(SourceError) as failure:
        source.ping()
    assert "s3cret-word" not in str(failure.value)
