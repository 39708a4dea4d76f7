"""Columns that are asked for again are read from memory: the same rows, until a file changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.types import BIGINT, VARCHAR, parse
from connectors import held
from connectors.base import (
    Aggregate,
    Cancel,
    Comparison,
    Exists,
    NativeScan,
    NotIn,
    OutputColumn,
    Predicate,
    SourceError,
)
from connectors.files import FilesSource
from connectors.held import Held, Stamp
from connectors.snapshot import Snapshot
from connectors.sources import open_source, parse_source

TYPES = {"id": BIGINT, "name": VARCHAR, "price": parse("decimal(12,2)"), "x": parse("double")}
FIRST = [(1, "a", None, 0.5), (2, None, None, float("inf")), (3, "c", None, None)]


def write(path: Path, rows: list[tuple[Any, ...]]) -> None:
    """All at once, as those do who replace a file that others read."""
    columns = [pa.array([row[i] for row in rows], kind.arrow()) for i, kind in enumerate(TYPES.values())]
    half = path.with_suffix(".half")
    pq.write_table(pa.table(columns, names=list(TYPES)), half)
    os.replace(half, path)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are made where a thread would begin to, of files however young."""
    monkeypatch.setattr(held, "begin", lambda work: work())
    monkeypatch.setattr(held, "SETTLED", -60.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/t.parquet", FIRST)
    write(tmp_path / "data/u.parquet", [(2, "b", None, 1.0)])
    return tmp_path / "data"


Opener = Callable[..., FilesSource]


@pytest.fixture
def open_files(tmp_path: Path, folder: Path) -> Iterator[Opener]:
    opened: list[FilesSource] = []

    def open_(**more: Any) -> FilesSource:
        tables = {name: {"format": "parquet", "glob": f"{name}.parquet"} for name in ("t", "u")}
        config = parse_source({"kind": "files", "path": "data", "tables": tables, **more})
        source = open_source(config, tmp_path, tmp_path / "private")
        assert isinstance(source, FilesSource)
        opened.append(source)
        return source

    yield open_
    for source in opened:
        source.close()


@pytest.fixture
def source(open_files: Opener) -> FilesSource:
    return open_files()


def scan(table: str = "t", *columns: str, **parts: Any) -> NativeScan:
    chosen = columns or ("id", "name")
    return NativeScan(table, False, TYPES, tuple(OutputColumn(c, TYPES[c], f"{table}_{c}") for c in chosen), **parts)


def rows(source: FilesSource, asked: NativeScan) -> list[tuple[Any, ...]]:
    batches = list(source.scan(asked, Cancel()))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def copies(source: FilesSource) -> dict[str, set[str]]:
    """What the source's engine has in memory: table -> columns."""
    found: dict[str, set[str]] = {}
    with source._snapshot._current().cursor() as cursor:
        for table, column in cursor.execute("SELECT database_name, column_name FROM duckdb_columns() WHERE "
                                            "database_name LIKE 'atoll_held%'").fetchall():  # fmt: skip
            found.setdefault(table, set()).add(column)
    return found


def reads_memory(source: FilesSource, asked: NativeScan) -> bool:
    with source._snapshot._current().held.placed(asked) as placed:
        return all(str(s.relation).startswith("atoll_held") for s in placed.scans() if isinstance(s.relation, str))


def test_what_is_asked_again_is_read_from_memory_with_the_same_answer(source: FilesSource) -> None:
    asked = scan("t", "id", "name", "x", predicates=(Predicate("id", "<=", (3,)),))
    want = [(i, name, x) for i, name, _, x in FIRST]
    assert rows(source, asked) == want
    assert copies(source) == {}
    assert rows(source, asked) == want
    assert list(copies(source).values()) == [{"id", "name", "x"}]
    assert reads_memory(source, asked)
    assert rows(source, asked) == want
    assert rows(source, scan("t", "name", predicates=(Predicate("id", "=", (3,)),))) == [("c",)]


def test_columns_that_are_asked_later_come_too(source: FilesSource) -> None:
    for _ in range(2):
        rows(source, scan("t", "id"))
    assert not reads_memory(source, scan("t", "id", "name"))
    for _ in range(2):
        assert rows(source, scan("t", "name")) == [("a",), (None,), ("c",)]
    assert list(copies(source).values()) == [{"id", "name"}]
    assert reads_memory(source, scan("t", "id", "name"))


@pytest.mark.parametrize("part", ["keys", "predicates", "aggregates", "comparison"])
def test_whatever_names_a_column_makes_it_wanted(source: FilesSource, part: str) -> None:
    """Of a column that only a condition or an aggregate names, too: a copy without it would have no answer."""
    asked = {
        "keys": scan("t", "name", keys=((("id",), pa.array([1, 3])),)),
        "predicates": scan("t", "name", predicates=(Predicate("id", "<>", (2,)),)),
        "comparison": scan("t", "name", predicates=(Comparison("id", "=", "id"), Predicate("name", "is not null"))),
        "aggregates": NativeScan("t", False, TYPES, aggregates=(Aggregate("count", "id", BIGINT, "n"),)),
    }[part]
    first = rows(source, asked)
    assert [rows(source, asked) for _ in range(3)] == [first] * 3
    assert all("id" in columns for columns in copies(source).values())
    assert copies(source)


def test_parts_of_joins_and_what_conditions_ask_are_read_from_memory(source: FilesSource) -> None:
    t, u = scan("t", "id", "name"), scan("u", "id")
    named = dict(t.outputs) | dict(u.outputs)
    only_t, out = dict(t.outputs), (OutputColumn("t_name", VARCHAR, "n"),)
    met = (Comparison("t_id", "=", "u_id"),)
    for asked, want in (
        (NativeScan((t, u), False, named, out, predicates=met), [(None,)]),
        (NativeScan((t,), False, only_t, out, predicates=(Exists((u,), met),)), [(None,)]),
        (NativeScan((t,), False, only_t, out, predicates=(NotIn("t_id", u),)), [("a",), ("c",)]),
    ):
        for _ in range(3):
            assert rows(source, asked) == want
        assert reads_memory(source, asked)


@pytest.mark.parametrize("text", ["id > 1", "NOT (id = 1) AND (price IS NULL OR x > 5.5)", "ID IN (2, 3)"])
def test_a_row_filter_of_columns_and_literals_is_kept_in_memory(source: FilesSource, text: str) -> None:
    filtered = scan("t", "name", row_filters=(text,))
    for _ in range(4):
        assert rows(source, filtered) == [(None,), ("c",)]
    assert reads_memory(source, filtered)


@pytest.mark.parametrize(
    "text",
    ["r.id > 1", "abs(id) > 1", "hash(r) <> hash('') AND id > 1", "id IN (SELECT id + 1 FROM t)", "COLUMNS('id') > 1",
     "id > 1 --"],
)  # fmt: skip
def test_a_row_filter_that_may_read_more_reads_the_files(source: FilesSource, text: str) -> None:
    filtered = scan("t", "name", row_filters=(text,))
    for _ in range(4):
        assert rows(source, filtered) == [(None,), ("c",)]
    assert copies(source) == {} or "--" in text


def test_a_filter_of_a_column_that_is_not_there_fails_as_before(source: FilesSource) -> None:
    for _ in range(4):
        with pytest.raises(SourceError):
            rows(source, scan("t", "name", row_filters=("gone = 1",)))
    assert copies(source) == {}


def test_owners_texts_read_the_files(source: FilesSource) -> None:
    """They may name any column."""
    view = NativeScan("SELECT id, name FROM t", True, TYPES, (OutputColumn("id", BIGINT, "id"),))
    for _ in range(4):
        assert rows(source, view) == [(1,), (2,), (3,)]
    assert not reads_memory(source, view)


def test_a_changed_file_is_read_again(source: FilesSource, folder: Path) -> None:
    for _ in range(3):
        rows(source, scan("t"))
    assert reads_memory(source, scan("t"))
    write(folder / "t.parquet", [(9, "new", None, None)])
    source.refresh()
    assert copies(source) == {}
    for _ in range(3):
        assert rows(source, scan("t")) == [(9, "new")]
    assert reads_memory(source, scan("t"))
    (folder / "t.parquet").unlink()
    source.refresh()
    assert copies(source) == {}


def test_a_table_that_is_named_twice_is_read_at_one_time(source: FilesSource) -> None:
    """One from memory and one from a file that changed just now would be of no time at all."""
    for _ in range(2):
        rows(source, scan("t", "id"))
    assert reads_memory(source, scan("t", "id"))
    part = NativeScan("t", False, TYPES, (OutputColumn("name", TYPES["name"], "other"),))
    asked = scan("t", "id", predicates=(Exists((part,), (Comparison("id", "=", "id"),)),))
    with source._snapshot._current().held.placed(asked) as placed:
        assert {str(s.relation) for s in placed.scans() if isinstance(s.relation, str)} == {"t"}
    with source._snapshot._current().held.placed(asked) as placed:
        assert len({str(s.relation) for s in placed.scans() if isinstance(s.relation, str)}) == 1


def test_a_scan_keeps_its_copy_while_a_file_changes(open_files: Opener, folder: Path) -> None:
    many = [(i, f"n{i}", None, None) for i in range(100_000)]
    write(folder / "t.parquet", many)
    source = open_files()
    for _ in range(3):
        assert len(rows(source, scan("t"))) == len(many)
    stream = source.scan(scan("t"), Cancel())
    count = next(stream).num_rows
    write(folder / "t.parquet", FIRST)
    source.refresh()
    assert rows(source, scan("t")) == [(i, name) for i, name, *_ in FIRST]
    assert len(copies(source)) == 1
    assert count + sum(batch.num_rows for batch in stream) == len(many)
    assert copies(source) == {}


def test_a_file_that_changed_a_moment_ago_is_read_in_place(
    source: FilesSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "SETTLED", 3600.0)
    for _ in range(4):
        rows(source, scan("t"))
    assert copies(source) == {}


def test_what_changes_while_it_is_copied_is_not_used(
    source: FilesSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Callable[[], None]] = []
    monkeypatch.setattr(held, "begin", waiting.append)
    for _ in range(2):
        rows(source, scan("t"))
    write(folder / "t.parquet", [(9, "new", None, None)])
    source.refresh()
    (work,) = waiting
    work()
    assert copies(source) == {}
    assert rows(source, scan("t")) == [(9, "new")]


def test_copies_stay_within_their_part_of_the_memory(open_files: Opener, folder: Path) -> None:
    write(folder / "t.parquet", [(i, "x" * 100, None, None) for i in range(50_000)])
    source = open_files(memory="16MB")
    for _ in range(4):
        assert len(rows(source, scan("t"))) == 50_000
        rows(source, scan("u"))
    assert list(copies(source).values()) == [{"id", "name"}]
    assert reads_memory(source, scan("u"))
    assert not reads_memory(source, scan("t"))
    for _ in range(3):
        rows(source, scan("t", "id"))
    assert not reads_memory(source, scan("t", "id"))  # what was refused once is not tried again until it changes


def test_texts_that_are_few_are_packed_and_nothing_else_is(open_files: Opener, folder: Path) -> None:
    few = ["", "ä", None, "b ", "B"]
    write(folder / "t.parquet", [(i, few[i % 5], Decimal(i % 3), i / 2) for i in range(30_000)])
    write(folder / "u.parquet", [(i, f"name {i}", Decimal(i % 7), i / 3) for i in range(30_000)])
    source = open_files()
    asked = [scan("t", *TYPES), scan("u", *TYPES), scan("t", predicates=(Predicate("name", "=", ("ä",)),))]
    whole = [sorted(rows(source, each), key=repr) for each in asked]
    assert [len(found) for found in whole] == [30_000, 30_000, 6_000]
    rows(source, asked[1])
    assert all(reads_memory(source, each) for each in asked)
    assert [sorted(rows(source, each), key=repr) for each in asked] == whole
    assert {frozenset(forms(source, name).items()) for name in copies(source)} == {
        frozenset({"id": "Uncompressed", "name": name, "price": "Uncompressed", "x": "Uncompressed"}.items())
        for name in ("DICT_FSST", "Uncompressed")
    }


def forms(source: FilesSource, name: str) -> dict[str, str]:
    """Column -> how a copy keeps its values."""
    with source._snapshot._current().cursor() as cursor:
        found = cursor.execute(
            f"SELECT DISTINCT column_name, compression FROM pragma_storage_info('{name}.rows') "
            "WHERE segment_type <> 'VALIDITY'"
        ).fetchall()
    assert len(found) == len(dict(found))
    return dict(found)


def test_a_table_that_cannot_be_copied_answers_as_before(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "private")
    snapshot.publish({"t": "SELECT 1 AS id, error('no') AS name FROM range(3)"})
    snapshot.look({"t": Stamp((("t", 1, 1, 1, 1),))})
    assert isinstance(snapshot._current().held, Held)
    for _ in range(3):
        with pytest.raises(Exception, match="no"):
            list(snapshot.scan(scan("t"), Cancel()))
    snapshot.close()


def test_rows_come_in_batches_of_a_megabyte_and_all_of_them(open_files: Opener, folder: Path) -> None:
    """Each batch takes a queue, a frame and a part of an answer."""
    write(folder / "t.parquet", [(i, "x" * 50, None, None) for i in range(60_000)])
    sizes = [(b.num_rows, b.nbytes) for b in open_files().scan(scan("t"), Cancel())]
    assert sum(rows for rows, _ in sizes) == 60_000
    assert all(1_000_000 < size < 3_000_000 for _, size in sizes[:-1])
    assert 2 <= len(sizes) <= 5


def test_too_many_files_are_not_watched(tmp_path: Path) -> None:
    for n in range(held.MOST_FILES + 1):
        (tmp_path / f"{n}.parquet").touch()
    paths = sorted(tmp_path.iterdir())
    assert Stamp.of(paths) is None
    assert Stamp.of(paths[1:]) is not None
    assert Stamp.of([]) is None
    assert Stamp.of([tmp_path / "gone"]) is None
    assert Stamp.of([tmp_path]) is None  # a folder tells nothing of its files
