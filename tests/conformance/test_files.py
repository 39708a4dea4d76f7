"""Folders of files: encodings, wide and Chinese headers, workbooks with totals, partitions, changing files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.types import BIGINT
from connectors.base import Aggregate, Cancel, Predicate, Source, SourceError
from connectors.sources import open_source, parse_source
from tests.conformance.helpers import read, scan_of, types_of

AIR = {
    "columns": {
        "station": "varchar", "at": "timestamp(0)", "pollutant": "varchar", "value": "varchar", "flag": "varchar",
        "district": "varchar", "seq": "integer",
    },
    "optional": ["flag"],
    "path_columns": r"air/[0-9]+/(?P<district>[0-9]{6})_(?P<seq>[0-9]+)[.]",
    "formats": ["%Y/%m/%d %H:%M"],
    "missing": {"value": ["", "-99", "—"]},
    "layouts": [
        {"glob": "air/201[3-6]/*.csv", "format": "csv", "encoding": "gb18030", "skip": 1,
         "rename": {"站点": "station"}},
        {"glob": "air/*/*.csv", "format": "csv", "encoding": "utf-8-sig"},
        {"glob": "air/*/*.xlsx", "format": "excel", "skip": 1, "drop": {"station": ["合计"]}},
    ],
}  # fmt: skip
AIR_COLUMNS = types_of(
    station="varchar", at="timestamp(0)", pollutant="varchar", value="varchar", flag="varchar", district="varchar",
    seq="integer",
)  # fmt: skip

Opener = Callable[..., Source]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def open_files(tmp_path: Path, folder: Path) -> Iterator[Opener]:
    opened: list[Source] = []

    def open_(**tables: Any) -> Source:
        config = parse_source({"kind": "files", "path": "data", "tables": tables})
        opened.append(open_source(config, tmp_path, tmp_path / "private"))
        return opened[-1]

    yield open_
    for source in opened:
        source.close()


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
        sheet.merge_cells("A1:B1")
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def test_three_layouts_of_one_table_become_one(folder: Path, open_files: Opener) -> None:
    write(
        folder / "air/2014/449901_1.csv",
        "海港 空气质量,,\n站点,at,pollutant,value\nS1,2014/1/5 13:00,SO₂,1.500\nS1,2014/1/5 14:00,PM10,—\n",
        "gb18030",
    )
    write(
        folder / "air/2017/449902_2.csv",
        'station,at,pollutant,value,flag\nS2,2017-01-05T13:00:00,"PM2.5",-99,N\n',
        "utf-8-sig",
    )
    header: list[list[Any]] = [["站点信息", None, "监测结果"], ["station", "at", "pollutant", "value"]]
    january: list[list[Any]] = [["S3", datetime(2019, 1, 5, 13), "CO", 0.8], ["合计", None, None, 9.9]]
    february: list[list[Any]] = [["S3", datetime(2019, 2, 5, 13), "CO", 12], ["合计", None, None, 12]]
    workbook(folder / "air/2019/449903_1.xlsx", {"2019-01": header + january, "2019-02": header + february})
    rows = read(open_files(air=AIR), "air", AIR_COLUMNS)
    assert sorted(rows, key=lambda row: (row[1], row[2])) == [
        ("S1", datetime(2014, 1, 5, 13), "SO₂", "1.500", None, "449901", 1),
        ("S1", datetime(2014, 1, 5, 14), "PM10", None, None, "449901", 1),
        ("S2", datetime(2017, 1, 5, 13), "PM2.5", None, "N", "449902", 2),
        ("S3", datetime(2019, 1, 5, 13), "CO", "0.8", None, "449903", 1),
        ("S3", datetime(2019, 2, 5, 13), "CO", "12", None, "449903", 1),
    ]


def test_a_wide_file_with_chinese_headers_is_unpivoted_by_the_owners_view(folder: Path, open_files: Opener) -> None:
    write(folder / "wide.csv", "站点,时间,PM2.5,CO\nS9,2018/3/1 1:00,12.5,0.4\nS9,2018/3/1 2:00,,0.5\n", "gb18030")
    table = {
        "columns": {"station": "varchar", "at": "timestamp(0)", "PM2.5": "decimal(8,3)", "CO": "decimal(8,5)"},
        "formats": ["%Y/%m/%d %H:%M"],
        "layouts": [
            {"glob": "wide.csv", "format": "csv", "encoding": "gb18030", "rename": {"站点": "station", "时间": "at"}}
        ],
    }
    view = """SELECT station, "at", pollutant, CAST(value AS DECIMAL(12,5)) AS value FROM wide
              UNPIVOT INCLUDE NULLS (value FOR pollutant IN ("PM2.5", "CO")) ORDER BY "at", pollutant"""
    columns = types_of(station="varchar", at="timestamp(0)", pollutant="varchar", value="decimal(12,5)")
    rows = read(open_files(wide=table), view, columns)
    assert [(row[2], row[3]) for row in rows] == [
        ("CO", Decimal("0.40000")), ("PM2.5", Decimal("12.50000")), ("CO", Decimal("0.50000")), ("PM2.5", None),
    ]  # fmt: skip


def plain(**extra: Any) -> dict[str, Any]:
    layout = {"glob": "**/*.csv", "format": "csv", **extra}
    return {"columns": {"id": "integer", "name": "varchar"}, "layouts": [layout]}


PLAIN = types_of(id="integer", name="varchar")


def test_only_changed_files_are_read_again(folder: Path, open_files: Opener, tmp_path: Path) -> None:
    one = write(folder / "one.csv", "id,name\n1,a\n")
    write(folder / "two.csv", "id,name\n2,b\n")
    source = open_files(t=plain())
    assert sorted(read(source, "t", PLAIN)) == [(1, "a"), (2, "b")]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "private").rglob("*.parquet")}
    assert len(before) == 2
    write(one, "id,name\n1,changed\n3,new\n")
    write(folder / "sub/three.csv", "id,name\n4,d\n")
    source.refresh()
    assert sorted(read(source, "t", PLAIN)) == [(1, "changed"), (2, "b"), (3, "new"), (4, "d")]
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "private").rglob("*.parquet")}
    assert len(after) == 3
    assert len(before.items() & after.items()) == 1
    one.unlink()
    source.refresh()
    assert sorted(read(source, "t", PLAIN)) == [(2, "b"), (4, "d")]


def test_a_change_is_seen_without_a_refresh_and_the_cache_survives_a_restart(
    folder: Path, open_files: Opener, tmp_path: Path
) -> None:
    write(folder / "one.csv", "id,name\n1,a\n")
    assert read(open_files(t=plain()), "t", PLAIN) == [(1, "a")]
    (cached,) = (tmp_path / "private").rglob("*.parquet")
    stamp = cached.stat().st_mtime_ns
    assert read(open_files(t=plain()), "t", PLAIN) == [(1, "a")]
    assert cached.stat().st_mtime_ns == stamp


def test_a_scan_keeps_its_state_while_files_change_beneath_it(folder: Path, open_files: Opener) -> None:
    path = write(folder / "one.csv", "id,name\n" + "".join(f"{i},n{i}\n" for i in range(100_000)))
    source = open_files(t=plain())
    stream = source.scan(scan_of("t", PLAIN), Cancel())
    rows = next(stream).num_rows
    write(path, "id,name\n1,a\n")
    source.refresh()
    assert read(source, "t", PLAIN) == [(1, "a")]
    assert rows + sum(batch.num_rows for batch in stream) == 100_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,name\n1,a\nx,b\n", "'id'"),
        ("id,name\n1.5,a\n", "'id'"),
        ("id,name\n3000000000,a\n", "'id'"),
        ("id,nom\n1,a\n", "'nom' is not declared"),
        ("id\n1\n", "'name' is absent"),
        ("id,name,extra\n1,a,b\n", "'extra' is not declared"),
        ("id,name\n1,a,b\n", "not readable as csv"),
        ("", "not readable as csv"),
    ],
)
def test_a_bad_file_names_itself_and_what_is_wrong_and_other_tables_stay_usable(
    folder: Path, open_files: Opener, text: str, reason: str
) -> None:
    write(folder / "bad/one.csv", text)
    write(folder / "good/one.csv", "id,name\n1,a\n")
    source = open_files(bad=plain(glob="bad/*.csv"), good=plain(glob="good/*.csv"))
    with pytest.raises(SourceError, match=r"bad/one\.csv") as failure:
        read(source, "bad", PLAIN)
    assert reason in str(failure.value)
    assert read(source, "good", PLAIN) == [(1, "a")]
    write(folder / "bad/one.csv", "id,name\n7,mended\n")
    source.refresh()
    assert read(source, "bad", PLAIN) == [(7, "mended")]


@pytest.mark.parametrize(
    "parts",
    [{"row_filters": ("id < 5",)}, {"predicates": (Predicate("id", "=", (1,)),)},
     {"predicates": (Predicate("name", "is not null"),)},
     {"aggregates": (Aggregate("count", None, BIGINT, "n"),), "row_filters": ("name = 'a'",)}],
)  # fmt: skip
def test_a_table_that_cannot_be_read_has_no_answer_to_any_question(
    folder: Path, open_files: Opener, parts: dict[str, Any]
) -> None:
    """Not "no rows", which an engine might find out without reading one."""
    write(folder / "one.csv", "id,name\nx,a\n")
    with pytest.raises(SourceError, match=r"one\.csv"):
        read(open_files(t=plain()), "t", PLAIN, **parts)


@pytest.mark.parametrize("kind", ["double", "real"])
@pytest.mark.parametrize("parts", [{"row_filters": ("score < 5",)}, {"predicates": (Predicate("score", "<", (5.0,)),)}])
def test_a_row_that_is_no_number_passes_no_comparison(
    folder: Path, open_files: Opener, kind: str, parts: dict[str, Any]
) -> None:
    """Files tell how large the numbers of a part are, and leave NaN out of it; here it is as large as nothing else."""
    scores = pa.array([1.0, 2.0, float("nan")], pa.float64() if kind == "double" else pa.float32())
    pq.write_table(pa.table({"score": scores, "name": ["a", "b", "hidden"]}), folder / "a.parquet")
    if kind == "real" and "predicates" in parts:
        parts = {"row_filters": ("NOT (score >= 5)",)}
    source = open_files(t={"format": "parquet", "glob": "*.parquet"})
    for _ in range(3):  # in place, and from memory
        assert read(source, "t", types_of(name="varchar", score=kind), **parts) == [("a", 1.0), ("b", 2.0)]


def test_wrongly_encoded_text_is_an_error(folder: Path, open_files: Opener) -> None:
    write(folder / "one.csv", "id,name\n1,海港\n", "gb18030")
    with pytest.raises(SourceError, match=r"one\.csv"):
        read(open_files(t=plain()), "t", PLAIN)


def test_extra_columns_can_be_ignored_and_files_may_have_no_header(folder: Path, open_files: Opener) -> None:
    write(folder / "one.csv", "id,name,x,y\n1,a,2,3\n")
    assert read(open_files(t=plain(ignore=["x", "y"])), "t", PLAIN) == [(1, "a")]
    assert read(open_files(t=plain(ignore="*")), "t", PLAIN) == [(1, "a")]
    write(folder / "one.csv", "a;1\nb;2\n")
    headless = plain(header=False, names=["name", "id"], delimiter=";")
    assert read(open_files(t=headless), "t", PLAIN) == [(1, "a"), (2, "b")]


def test_a_table_without_files_is_empty_and_typed(open_files: Opener) -> None:
    assert read(open_files(t=plain()), "t", PLAIN) == []


def test_parquet_is_read_in_place_with_partitions_and_columns_matched_by_name(
    folder: Path, open_files: Opener, tmp_path: Path
) -> None:
    for code, table in {
        "449901": pa.table({"id": [1], "area": [80.5]}),
        "000002": pa.table({"area": [70.0], "id": [2], "owner": ["x"]}),
    }.items():
        (folder / f"property/district={code}").mkdir(parents=True)
        pq.write_table(table, folder / f"property/district={code}/a.parquet")
    source = open_files(
        property={"format": "parquet", "glob": "property/**/*.parquet", "hive": {"district": "varchar"}}
    )
    columns = types_of(id="bigint", area="double", owner="varchar", district="varchar")
    assert sorted(read(source, "property", columns)) == [(1, 80.5, None, "449901"), (2, 70.0, "x", "000002")]
    assert not list((tmp_path / "private").rglob("*.parquet"))


def test_a_folders_name_is_a_column_only_where_hive_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "id=7" / "silo"
    (folder / "name=x").mkdir(parents=True)
    pq.write_table(pa.table({"id": pa.array([1], pa.int64()), "name": ["a"]}), folder / "name=x" / "a.parquet")

    def opened(**table: Any) -> Source:
        table = {"format": "parquet", "glob": "**/*.parquet", **table}
        config = parse_source({"kind": "files", "path": str(folder), "tables": {"t": table}})
        return open_source(config, tmp_path, tmp_path / "private")

    source = opened()
    assert read(source, "t", types_of(id="bigint", name="varchar")) == [(1, "a")]
    source.close()
    with pytest.raises(SourceError, match="id=7 in the path of silo would be taken for a partition"):
        opened(hive={"name": "varchar"})


def test_a_parquet_table_without_files_fails_alone(folder: Path, open_files: Opener) -> None:
    write(folder / "one.csv", "id,name\n1,a\n")
    source = open_files(none={"format": "parquet", "glob": "none/*.parquet"}, t=plain())
    with pytest.raises(SourceError, match="no file matches"):
        read(source, "SELECT missing AS name FROM none", types_of(name="varchar"))
    assert read(source, "t", PLAIN) == [(1, "a")]


def test_json_lines_are_read_by_paths_with_exact_numbers(folder: Path, open_files: Opener) -> None:
    write(folder / "a.jsonl", '{"no": 1, "of": {"qty": 12.50}}\n\n{"no": 2, "of": {}}\n{"no": 3, "of": {"qty": "7"}}\n')
    table = {
        "columns": {"id": "integer", "qty": "decimal(10,3)"},
        "layouts": [{"glob": "*.jsonl", "format": "jsonl", "paths": {"id": "no", "qty": "of.qty"}}],
    }
    rows = read(open_files(t=table), "t", types_of(id="integer", qty="decimal(10,3)"))
    assert rows == [(1, Decimal("12.500")), (2, None), (3, Decimal("7.000"))]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT content AS name FROM read_text('{outside}')",
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM '{outside}'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_text('http://127.0.0.1/x')",
        "SELECT getenv('HOME') AS name",
        "SELECT * FROM (ATTACH '{outside}' AS x)",
    ],
)
def test_an_owner_view_reads_nothing_but_its_tables_and_folders(
    folder: Path, open_files: Opener, tmp_path: Path, text: str
) -> None:
    outside = write(tmp_path / "outside.csv", "id,name\n1,secret\n")
    with pytest.raises(SourceError):
        read(open_files(t=plain()), text.format(outside=outside), types_of(name="varchar"))


def test_the_cache_is_private_to_the_agent(folder: Path, open_files: Opener, tmp_path: Path) -> None:
    write(folder / "one.csv", "id,name\n1,a\n")
    read(open_files(t=plain()), "t", PLAIN)
    assert (os.stat(tmp_path / "private").st_mode & 0o077) == 0


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (plain(glob="../*.csv"), "stays inside"),
        (plain(rename={"x": "nope"}), "'nope' is not declared"),
        ({**plain(), "path_columns": "([0-9]+)"}, "named groups"),
        ({**plain(), "columns": {"id": "interger"}}, "unknown type 'interger'"),
        ({**plain(), "colums": {}}, "did you mean 'columns'"),
        (plain(encodng="x"), "did you mean 'encoding'"),
        ({"format": "parquet"}, "glob"),
    ],
)
def test_a_wrong_declaration_is_refused_in_plain_words(open_files: Opener, table: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=r".*") as failure:
        open_files(t=table)
    assert reason in str(failure.value)
