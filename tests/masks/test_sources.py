"""A mask in a silo's own SQL gives what its definition gives, in the engine itself, for every value.

The source groups by (id, mask), as an agent lets it do: one group a row. Where a mask has no form for an engine
the table below says so, and the agent masks there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import masks
from catalog.masks.base import DIALECTS
from catalog.types import BIGINT, TrinoType, parse
from connectors.base import Cancel, GroupKey, NativeScan
from connectors.mysql import CAPABILITIES as MYSQL
from connectors.native import DuckDBCompiler, MariaDBCompiler, PostgresCompiler, SQLiteCompiler
from connectors.postgres import CAPABILITIES as POSTGRES
from connectors.snapshot import CAPABILITIES as DUCKDB
from connectors.sources import open_source, parse_source
from connectors.sqlite import CAPABILITIES as SQLITE
from tests.conformance.silos import _mariadb_type, _postgres_type, _sqlite_type, plain
from tests.masks.test_inverse import RAW, made

TYPES = ("varchar", "tinyint", "bigint", "date", "timestamp(3)", "decimal(12,2)", "decimal(38,9)")
CASES: dict[str, list[str]] = {
    "varchar": ["prefix(1)", "prefix(3)", "format", "hierarchy(icd, 1)"],
    "tinyint": ["number(5)", "number(7, 3)", "top_code(100)", "bottom_code(-1)", "bucket(-5|0|100, low|mid|low|high)",
                "hierarchy(plain, 1)", "number(64, -1)"],
    "bigint": ["number(1000, -1)", "number(5)", "number(999999999999999999, 7)", "top_code(100)", "bucket(0, no|yes)"],
    "date": ["date(day)", "date(week)", "date(month)", "date(quarter)", "date(year)",
             "bucket(1970-01-01|2000-02-29, old|mid|new)"],
    "timestamp(3)": ["date(day)", "date(week)", "date(month)", "date(quarter)", "date(year)"],
    "decimal(12,2)": ["number(0.5)", "number(0.7, 0.1)", "number(3, -0.01)", "top_code(1.25)", "bottom_code(-1.25)",
                      "bucket(-1.25|0, a|b|c)"],
    "decimal(38,9)": ["number(0.000000007)", "number(1000, 0.5)", "top_code(7)"],
}  # fmt: skip
NOWHERE: dict[str, str] = {
    "deny": "there is nothing to compute", "null": "there is nothing to group by", "constant": "one group",
    "token": "the vault is the agent's", "pseudonym": "the key would show in the source's logs",
    "keep_first": "NFC is not everywhere", "keep_last": "NFC is not everywhere", "email": "rarely a key",
    "geo": "two columns at once",
}  # fmt: skip
"""Masks without any form, and why."""
ABSENT = {
    ("sqlite", "timestamp(3)"), ("sqlite", "decimal(12,2)"), ("sqlite", "decimal(38,9)"), ("sqlite", "prefix"),
    ("sqlite", "format"), ("mysql", "format"), ("duckdb", "number decimal"),
}  # fmt: skip
"""Forms that are not exact in one engine: (dialect, type or mask)."""


def mask_of(text: str, kind: str) -> masks.Mask:
    if text.startswith("hierarchy(plain"):
        lists = {"plain": {"45": ("forties",), "46": ("forties",), "-7": ("below",)}}
        return masks.build(text, parse(kind), masks.Context(hierarchies=lists))
    return made(text, kind)


def forms(dialect: str) -> list[tuple[str, str]]:
    return [(kind, text) for kind in TYPES for text in CASES[kind] if mask_of(text, kind).source(dialect)]


class Engine:
    """One engine with a table `t_<n>` (id, v) for each type; `shown` groups it by id and a mask's form."""

    def __init__(self, dialect: str, load: Callable[[int, TrinoType, Sequence[Any]], None], scan: Any) -> None:
        self.dialect, self._load, self._scan = dialect, load, scan

    def load(self, kind: str, values: Sequence[Any]) -> None:
        self._load(TYPES.index(kind), parse(kind), values)

    def shown(self, kind: str, mask: masks.Mask) -> list[Any]:
        keys = (GroupKey("id", BIGINT, "g0"), GroupKey("v", mask.type, "g1", form=mask.source(self.dialect) or ""))
        table = f"t_{TYPES.index(kind)}"
        scan = NativeScan(table, False, {"id": BIGINT, "v": parse(kind)}, group_by=keys)
        rows = [r for b in self._scan(scan) for r in zip(*(c.to_pylist() for c in b.columns), strict=True)]
        return [v for _, v in sorted(rows)]


def _over(config: dict[str, Any], folder: Path) -> Any:
    source = open_source(parse_source(config), folder, folder / "private")
    return source, lambda scan: source.scan(scan, Cancel())


@pytest.fixture(scope="module")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("sqlite")
    with closing(sqlite3.connect(folder / "s.sqlite", isolation_level=None)) as db:
        for i, kind in enumerate(TYPES):
            db.execute(f"CREATE TABLE t_{i} (id INTEGER, v {_sqlite_type(parse(kind))})")

        def load(i: int, kind: TrinoType, values: Sequence[Any]) -> None:
            db.execute(f"DELETE FROM t_{i}")
            db.executemany(f"INSERT INTO t_{i} VALUES (?, ?)", [(n, plain(v)) for n, v in enumerate(values)])

        source, scan = _over({"kind": "sqlite", "path": "s.sqlite"}, folder)
        with closing(source):
            yield Engine("sqlite", load, scan)


@pytest.fixture(scope="module")
def postgres_engine(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Engine]:
    server = request.getfixturevalue("postgres")
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS mask_forms")
        db.execute("CREATE DATABASE mask_forms")
    with psycopg.connect(server.dsn("mask_forms"), autocommit=True) as db:
        for i, kind in enumerate(TYPES):
            db.execute(
                f"CREATE TABLE t_{i} (id bigint, v {_postgres_type(parse(kind)).replace('tinyint', 'smallint')})"
            )

        def load(i: int, kind: TrinoType, values: Sequence[Any]) -> None:
            db.execute(f"TRUNCATE t_{i}")
            with db.cursor() as cursor, cursor.copy(f"COPY t_{i} FROM STDIN") as copy:
                for row in enumerate(values):
                    copy.write_row(row)

        config = {"kind": "postgres", "port": server.port, "database": "mask_forms", "user": server.user}
        source, scan = _over(config, tmp_path_factory.mktemp("postgres"))
        with closing(source):
            yield Engine("postgres", load, scan)


@pytest.fixture(scope="module")
def mysql_engine(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Engine]:
    server = request.getfixturevalue("mariadb")
    with closing(pymysql.connect(**server.settings(), autocommit=True)) as db, db.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS mask_forms")
        cursor.execute("CREATE DATABASE mask_forms")
        cursor.execute("USE mask_forms")
        for i, kind in enumerate(TYPES):
            cursor.execute(f"CREATE TABLE t_{i} (id bigint, v {_mariadb_type(parse(kind))})")

        def load(i: int, kind: TrinoType, values: Sequence[Any]) -> None:
            cursor.execute(f"TRUNCATE t_{i}")
            cursor.executemany(f"INSERT INTO t_{i} VALUES (%s, %s)", list(enumerate(values)))

        config = {"kind": "mysql", "port": server.port, "database": "mask_forms", "user": server.user}
        source, scan = _over(config, tmp_path_factory.mktemp("mysql"))
        with closing(source):
            yield Engine("mysql", load, scan)


@pytest.fixture(scope="module")
def duck_engine() -> Iterator[Engine]:
    with closing(duckdb.connect()) as db:

        def load(i: int, kind: TrinoType, values: Sequence[Any]) -> None:
            ids = pa.array(range(len(values)), pa.int64())
            db.register(f"t_{i}", pa.table({"id": ids, "v": pa.array(values, kind.arrow())}))

        def scan(native: NativeScan) -> list[pa.RecordBatch]:
            compiled = DuckDBCompiler(native, DUCKDB).compile()
            return db.execute(compiled.sql, compiled.params).to_arrow_table().cast(native.schema).to_batches()

        yield Engine("duckdb", load, scan)


@pytest.fixture(scope="module", params=["sqlite", "duck", "postgres", "mysql"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue(f"{request.param}_engine")  # type: ignore[no-any-return]


EDGES: dict[str, list[Any]] = {
    "varchar": ["", "a", "é", "e\u0301", "😀x", "Ａ１", "J45", "j45", "J45 ", "a\nb", "中文字", "A-1/b.c d", None],
    "tinyint": [-128, -127, -1, 0, 1, 126, 127, 45, None],
    "bigint": [-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 1, None],
    "date": [date(1, 1, 1), date(9999, 12, 31), date(2000, 2, 29), date(1999, 12, 31), date(99, 5, 6), None],
    "timestamp(3)": [None],
    "decimal(12,2)": [Decimal("-9999999999.99"), Decimal("9999999999.99"), Decimal("0.00"), Decimal("-0.01"), None],
    "decimal(38,9)": [Decimal("9" * 29 + ".999999999"), Decimal("-" + "9" * 29 + ".999999999"), Decimal("1e-9"), None],
}
STRATEGIES = {**RAW, "varchar": st.one_of(RAW["varchar"], RAW["code"], st.text(max_size=6))}


@pytest.mark.parametrize("kind", TYPES)
def test_the_form_is_the_definition(engine: Engine, kind: str) -> None:
    texts = [text for k, text in forms(engine.dialect) if k == kind]

    @given(st.lists(st.one_of(st.none(), STRATEGIES[kind]), max_size=30))
    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    def check(values: list[Any]) -> None:
        # Servers do not keep NUL characters.
        values = [*EDGES[kind], *(v for v in values if engine.dialect == "duckdb" or "\0" not in str(v))]
        engine.load(kind, values)
        for text in texts:
            mask = mask_of(text, kind)
            expected = mask.arrow(pa.array(values, parse(kind).arrow())).to_pylist()
            assert engine.shown(kind, mask) == expected, text

    if texts:
        check()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_which_forms_there_are(dialect: str) -> None:
    """A list of what is missing, so that nothing goes missing unseen."""
    for kind in TYPES:
        for text in CASES[kind]:
            name = masks.parse(text)[0]
            absent = {(dialect, kind), (dialect, name), (dialect, f"{name} {kind.partition('(')[0]}")} & ABSENT
            assert (mask_of(text, kind).source(dialect) is None) == bool(absent), (text, kind)


def test_every_mask_has_a_form_or_a_reason() -> None:
    covered = {masks.parse(text)[0] for texts in CASES.values() for text in texts}
    assert covered | set(NOWHERE) == set(masks.MASKS)
    assert not covered & set(NOWHERE)


@pytest.mark.parametrize("label", ["it's", "10:30", "a?", "50 %", "back\\slash", 'a"b', "é", "{x}"])
def test_a_label_that_engines_may_read_differently_has_no_form(label: str) -> None:
    quoted = label.replace("'", "''")
    bucket = masks.build(f"bucket(0, 'low|{quoted}')", parse("integer"))
    assert [bucket.source(d) for d in DIALECTS] == [None] * len(DIALECTS)
    assert bucket.arrow(pa.array([1], pa.int32())).to_pylist() == [label]


@pytest.mark.parametrize(
    ("compiler", "allowed"),
    [(SQLiteCompiler, SQLITE), (PostgresCompiler, POSTGRES), (MariaDBCompiler, MYSQL), (DuckDBCompiler, DUCKDB)],
)
def test_a_source_that_computes_no_masks_is_not_asked_to(compiler: Any, allowed: Any) -> None:
    key = GroupKey("v", parse("date"), "g0", form=":c")
    scan = NativeScan("t", False, {"v": parse("date")}, group_by=(key,))
    more = {"bind": False} if compiler is PostgresCompiler else {}
    with pytest.raises(ValueError, match="a mask of 'v' is not pushed"):
        compiler(scan, replace(allowed, masks=""), {"v": "date"}, **more)
