"""One large answer of PostgreSQL over two connections: the same rows, of one state of the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from catalog.types import BIGINT
from catalog.types import parse as parse_type
from connectors import blocks
from connectors import postgres as postgres_source
from connectors.ahead import Ahead
from connectors.base import (
    Aggregate,
    BoundKeys,
    Cancel,
    Cancelled,
    Comparison,
    Exists,
    GroupKey,
    NativeScan,
    Order,
    OutputColumn,
    Predicate,
    Source,
    SourceError,
)
from connectors.copied import batches
from connectors.halves import Cut, cuts, halves, halves_by_keys
from connectors.native import Compiled
from connectors.postgres import PostgresSource
from tests.conformance.helpers import read, rows_of, scan_of, sorted_rows, types_of
from tests.servers import PostgresServer

pytestmark = pytest.mark.servers

SCRIPT = """
CREATE TABLE facts (
    id bigint NOT NULL, part int, small smallint NOT NULL, price numeric(15, 2) NOT NULL, wide numeric(20, 2) NOT NULL,
    free numeric NOT NULL, odd numeric(6, 2), day date NOT NULL, ever date, word text NOT NULL
);
INSERT INTO facts
SELECT i, NULLIF(i % 50, 7), i % 100 - 50, (i * 37 % 100000 - 50000) / 100.0, i, i / 8.0, i % 1000,
       date '1970-01-01' - i, '2024-01-01', 'w' || i
FROM generate_series(1, 5000) AS i;
DELETE FROM facts WHERE id % 9 = 0;
UPDATE facts SET price = price WHERE id % 5 = 0;
CREATE TABLE parent (id bigint NOT NULL);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT generate_series(1, 1000);
INSERT INTO child SELECT generate_series(1001, 3000);
CREATE TABLE orders (o_key bigint, o_price numeric(15, 2));
CREATE TABLE lines (l_key bigint, l_other bigint, l_quantity numeric(15, 2));
INSERT INTO orders SELECT NULLIF(i, 13), i * 1.5 FROM generate_series(1, 900) AS i;
INSERT INTO lines SELECT NULLIF(i % 1000, 17), i % 5, i % 50 FROM generate_series(1, 6000) AS i;
ANALYZE;
"""
FACTS = types_of(
    id="bigint", part="integer", small="smallint", price="decimal(15,2)", wide="decimal(20,2)", free="decimal(20,5)",
    day="date", word="varchar",
)  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is large, and a block is two pages."""
    monkeypatch.setattr("connectors.postgres.BLOCK_ROWS", -1)
    monkeypatch.setattr("connectors.blocks.PAGES", 2)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of blocks, as they are asked for."""
    found: list[str] = []
    asked = blocks.Blocks.read

    def noted(
        self: blocks.Blocks, cancel: Cancel, block: Compiled, connection: psycopg.Connection
    ) -> Generator[pa.RecordBatch]:
        found.append(block.sql)
        yield from asked(self, cancel, block, connection)

    monkeypatch.setattr(blocks.Blocks, "read", noted)
    return found


# --- blocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [("id",), ("id", "small", "price", "day"), ("day", "id"), ("price",), ("part", "id")],
    ids=["a number", "all kinds", "days", "decimals", "with NULLs"],
)
@pytest.mark.parametrize("conditions", [(), (Predicate("id", ">", (100,)), Predicate("word", "<>", ("w300",)))])
def test_a_table_comes_by_blocks_as_it_comes_row_by_row(
    opened: Callable[..., Source], small: None, seen: list[str], columns: tuple[str, ...], conditions: tuple[Any, ...]
) -> None:
    scan = NativeScan(
        "facts", False, FACTS, columns=tuple(OutputColumn(c, FACTS[c], f"d_{c}") for c in columns),
        predicates=conditions, row_filters=("id % 4 <> 1",),
    )  # fmt: skip
    rows = rows_of(opened(parallel=1), scan)
    assert not seen
    assert rows_of(opened(), scan) == rows
    assert len(seen) > 10
    assert len(rows) > 3000


@pytest.mark.parametrize(
    ("column", "again"), [("id", False), ("price", False), ("day", False), ("part", True)],
    ids=["a number", "a decimal", "a day", "with NULLs"],
)  # fmt: skip
def test_what_is_only_counted_is_counted_in_its_block(
    opened: Callable[..., Source], small: None, monkeypatch: pytest.MonkeyPatch, column: str, again: bool
) -> None:
    def groups(other: str) -> NativeScan:
        numbers = (
            Aggregate("count", column, BIGINT, "n"), Aggregate("count", None, BIGINT, "all"),
            Aggregate("max", other, FACTS[other], "most"),
        )  # fmt: skip
        return NativeScan(
            "facts", False, FACTS, group_by=(GroupKey("small", FACTS["small"], "k"),), aggregates=numbers
        )  # fmt: skip

    monkeypatch.setattr("connectors.postgres.HASHED_GROUPS", -1)
    others = {other: rows_of(opened(parallel=1), groups(other)) for other in ("small", column)}
    asked: list[str] = []

    def noted(connection: psycopg.Connection, block: Compiled, *given: Any) -> Generator[pa.RecordBatch]:
        asked.append(block.sql)
        yield from batches(connection, block, *given)

    monkeypatch.setattr("connectors.blocks.batches", noted)
    for other, rows in others.items():
        assert rows_of(opened(), groups(other)) == rows
        assert bool(asked) == again
    if column == "part":
        assert sum(row[1] for row in rows) < sum(row[2] for row in rows)


LARGE = {
    "a whole number": "UPDATE wide SET id = 3000000000 WHERE id = 4000",
    "the least": "UPDATE wide SET id = -9223372036854775808 WHERE id = 4000",
    "a decimal": "UPDATE wide SET price = -21474836.49 WHERE id = 4000",
    "both just fit": "UPDATE wide SET id = -2147483648, price = 21474836.47 WHERE id = 4000",
    "a sum that does not": "UPDATE wide SET id = -2147483648, price = -0.01 WHERE id = 4000",
}


@pytest.mark.parametrize("what", LARGE)
def test_two_columns_share_an_array_until_a_value_has_no_room(
    opened: Callable[..., Source], connection: psycopg.Connection, small: None, monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:  # fmt: skip
    connection.execute("DROP TABLE IF EXISTS wide; CREATE TABLE wide AS SELECT id, price, day FROM facts")
    connection.execute(LARGE[what].encode())
    connection.execute("ANALYZE wide")
    columns = types_of(id="bigint", price="decimal(15,2)", day="date")
    scan = scan_of("wide", columns)
    whole = rows_of(opened(parallel=1), scan)
    asked: list[str] = []
    in_arrays = blocks.Blocks._in_arrays

    def noted(self: blocks.Blocks, block: Compiled, arrays: Any) -> str:
        asked.append(in_arrays(self, block, arrays))
        return asked[-1]

    monkeypatch.setattr(blocks.Blocks, "_in_arrays", noted)
    source = opened()
    assert rows_of(source, scan) == whole
    fits = what == "both just fit"
    alone = [text for text in asked if text.count("array_agg") == 3]
    paired = [text for text in asked if text.count("array_agg") == 2]
    assert paired
    assert bool(alone) != fits
    asked.clear()
    assert rows_of(source, scan) == whole
    assert all((text.count("array_agg") == 2) == fits for text in asked)  # it is remembered for a while


def test_of_many_columns_a_block_is_smaller(opened: Callable[..., Source], small: None, seen: list[str]) -> None:
    columns = types_of(id="bigint", small="smallint", price="decimal(15,2)", day="date")
    assert len(read(opened(), "facts", columns)) == 5000 - 555
    few = len(seen)
    scan = scan_of("facts", columns)
    twice = (*scan.columns, *(replace(c, name=f"{c.name}_2") for c in scan.columns))
    assert len(rows_of(opened(), replace(scan, columns=twice))) == 5000 - 555
    assert len(seen) - few in (2 * few, 2 * few - 1)


@pytest.mark.parametrize("column", ["wide", "free", "word"])
def test_columns_that_may_not_fit_64_bits_come_row_by_row(
    opened: Callable[..., Source], small: None, seen: list[str], column: str
) -> None:
    columns = types_of(id="bigint") | {column: FACTS[column]}
    assert len(read(opened(), "facts", columns)) == 5000 - 555
    assert not seen


def test_a_table_with_children_and_a_view_come_row_by_row(
    opened: Callable[..., Source], small: None, seen: list[str]
) -> None:
    columns = types_of(id="bigint")
    assert len(read(opened(), "parent", columns)) == 3000
    assert len(read(opened(), "SELECT id FROM facts", columns)) == 5000 - 555
    assert not seen


def test_more_digits_than_are_declared_are_an_error_that_names_the_column(
    opened: Callable[..., Source], small: None, seen: list[str]
) -> None:
    with pytest.raises(SourceError, match="'price'"):
        read(opened(), "facts", types_of(price="decimal(4,2)"))
    with pytest.raises(SourceError, match="'id'"):
        read(opened(), "facts", types_of(small="smallint", id="tinyint"))
    assert seen


def test_more_digits_behind_the_point_than_are_declared_are_an_error(
    opened: Callable[..., Source], small: None, seen: list[str]
) -> None:
    with pytest.raises(SourceError, match="'price'"):
        read(opened(), "facts", types_of(price="decimal(15,1)"))
    assert not seen
    exact = read(opened(), "facts", types_of(id="bigint", price="decimal(17,4)"))
    assert (1, Decimal("-499.63")) in exact
    assert seen


@pytest.mark.parametrize("value", ["odd = 'NaN'", "ever = 'infinity'"])
def test_what_is_no_number_or_no_day_is_an_error_that_names_the_column(
    opened: Callable[..., Source], connection: psycopg.Connection, small: None, seen: list[str], value: str
) -> None:
    name = value.split()[0]
    columns = types_of(odd="decimal(6,2)", ever="date")
    connection.execute(f"CREATE TABLE strange AS SELECT odd, ever FROM facts; UPDATE strange SET {value}".encode())
    connection.execute("ALTER TABLE strange ALTER odd TYPE numeric(6, 2)")
    try:
        with pytest.raises(SourceError, match=f"'{name}'"):
            read(opened(), "strange", {name: columns[name]})
        assert seen
    finally:
        connection.execute("DROP TABLE strange")


def test_all_blocks_show_one_state_of_the_table(
    opened: Callable[..., Source], connection: psycopg.Connection, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = types_of(id="bigint", small="smallint")
    before = read(opened(parallel=1), "facts", columns)
    asked = blocks.Blocks.read
    lock = threading.Lock()

    def moving(*given: Any) -> Generator[pa.RecordBatch]:
        yield from asked(*given)
        with lock:  # every row gets another place, behind those that are there
            connection.execute("UPDATE facts SET small = 7 - small")
            connection.execute("DELETE FROM facts WHERE id < 100")

    monkeypatch.setattr(blocks.Blocks, "read", moving)
    try:
        assert sorted_rows(read(opened(), "facts", columns)) == sorted_rows(before)
    finally:
        connection.execute("TRUNCATE facts")
        connection.execute(SCRIPT[SCRIPT.index("INSERT INTO facts") : SCRIPT.index("CREATE TABLE parent")].encode())


def test_where_no_second_connection_is_free_one_reads_all(
    opened: Callable[..., Source], small: None, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[int] = set()
    asked = blocks.Blocks.read

    def noted(*given: Any) -> Generator[pa.RecordBatch]:
        used.add(given[-1].info.backend_pid)
        yield from asked(*given)

    monkeypatch.setattr(blocks.Blocks, "read", noted)
    assert len(read(opened(connections=1), "facts", types_of(id="bigint"))) == 5000 - 555
    assert len(used) == 1


def test_two_connections_read_at_the_same_time(
    opened: Callable[..., Source], small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=10)
    first = threading.local()
    asked = blocks.Blocks.read

    def waiting(*given: Any) -> Generator[pa.RecordBatch]:
        if not hasattr(first, "met"):
            first.met = both.wait()  # neither goes on before the other has a block
        yield from asked(*given)

    monkeypatch.setattr(blocks.Blocks, "read", waiting)
    assert len(read(opened(), "facts", types_of(id="bigint"))) == 5000 - 555


def test_who_waits_for_a_connection_gets_the_second_one(
    opened: Callable[..., Source], small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(connections=3)
    assert isinstance(source, PostgresSource)
    used: list[int] = []
    asked, both = blocks.Blocks.read, threading.Barrier(2, timeout=10)
    waited, done = threading.Event(), threading.Event()
    taking = source._bulk._await

    def awaited(more: int) -> None:
        taking(more)
        waited.set()

    def borrow() -> None:
        with source._bulk.lease():
            done.wait(10)

    others = [threading.Thread(target=borrow) for _ in range(2)]

    def reading(*given: Any) -> Generator[pa.RecordBatch]:
        pid = given[-1].info.backend_pid
        used.append(pid)
        if used.count(pid) == 1 and both.wait() == 0:  # two connections are at work
            for other in others:
                other.start()
        assert waited.wait(10)  # for one of them there is no place
        yield from asked(*given)

    monkeypatch.setattr(source._bulk, "_await", awaited)
    monkeypatch.setattr(blocks.Blocks, "read", reading)
    try:
        assert len(read(source, "facts", types_of(id="bigint"))) == 5000 - 555
    finally:
        done.set()
        for other in others:
            other.join(10)
    assert len(used) > 10
    assert min(used.count(pid) for pid in set(used)) == 1


def test_a_server_without_workers_is_asked_over_one_connection(
    opened: Callable[..., Source], connection: psycopg.Connection, small: None, seen: list[str]
) -> None:
    connection.execute("ALTER ROLE postgres SET max_parallel_workers_per_gather = 0")
    try:
        assert len(read(opened(), "facts", types_of(id="bigint"))) == 5000 - 555
    finally:
        connection.execute("ALTER ROLE postgres RESET max_parallel_workers_per_gather")
    assert not seen


def test_a_role_that_may_not_pass_its_snapshot_on_is_asked_over_one_connection(
    opened: Callable[..., Source], connection: psycopg.Connection, small: None, seen: list[str]
) -> None:
    connection.execute("CREATE ROLE lone LOGIN; GRANT SELECT ON facts TO lone")
    connection.execute("REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM PUBLIC")
    try:
        assert len(read(opened(user="lone"), "facts", types_of(id="bigint"))) == 5000 - 555
    finally:
        connection.execute("GRANT EXECUTE ON FUNCTION pg_export_snapshot() TO PUBLIC")
        connection.execute("DROP OWNED BY lone; DROP ROLE lone")
    assert not seen


def test_blocks_end_when_they_are_cancelled_or_left(
    opened: Callable[..., Source], connection: psycopg.Connection, small: None
) -> None:
    source = opened(connections=3)
    slow = scan_of("facts", types_of(id="bigint"), row_filters=("pg_sleep(id / 1000) IS NOT NULL",))
    cancel = Cancel()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(Cancelled):
        list(source.scan(slow, cancel))
    for _ in range(3):
        stream = source.scan(scan_of("facts", types_of(id="bigint")), Cancel())
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert len(read(source, "facts", types_of(id="bigint"))) == 5000 - 555
    running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'atoll' AND state = 'active'"
    assert connection.execute(running).fetchone() == (0,)


def test_a_second_connection_that_died_is_done_without(
    opened: Callable[..., Source], connection: psycopg.Connection, small: None
) -> None:
    source = opened()
    assert isinstance(source, PostgresSource)
    with source._bulk.lease() as one, source._bulk.lease() as two:
        died = one.connection.info.backend_pid, two.connection.info.backend_pid
    connection.execute("SELECT pg_terminate_backend(%s)", (died[0],))
    assert len(read(source, "facts", types_of(id="bigint"))) == 5000 - 555


# --- tables that are written anew ----------------------------------------------------------------------

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"


class Reload:
    """A table is emptied and filled again in one transaction, as loads at night do."""

    def __init__(self, postgres: PostgresServer, database: str, table: str) -> None:
        self._connection = psycopg.connect(postgres.dsn(database))
        self._watch = psycopg.connect(postgres.dsn(database), autocommit=True)
        self._table = table
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.empty()
        self._connection.commit()

    def empty(self) -> None:
        name = self._table
        self._connection.execute(f"CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM {name}".encode())
        self._connection.execute(f"TRUNCATE {name}; INSERT INTO {name} SELECT * FROM kept".encode())

    def replace(self) -> None:
        name = self._table
        self._connection.execute(f"CREATE TABLE fresh AS SELECT * FROM {name}".encode())
        self._connection.execute(f"DROP TABLE {name} CASCADE; ALTER TABLE fresh RENAME TO {name}".encode())

    def commit(self) -> None:
        self._connection.commit()

    def begin(self) -> None:
        """Until it is done, or waits for who reads."""
        self._thread.start()
        while self._thread.is_alive() and not self.is_awaited():
            self._thread.join(0.01)

    def is_awaited(self) -> bool:
        """Whether someone waits for a lock of the table."""
        return self._watch.execute(WAITING, (self._table,)).fetchone() != (0,)

    def close(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(10)
        self._connection.close()
        self._watch.close()


@pytest.fixture
def reload_of(
    postgres: PostgresServer, postgres_database: str, connection: psycopg.Connection
) -> Iterator[Callable[[str], Reload]]:
    made: list[Reload] = []

    def of(table: str) -> Reload:
        made.append(Reload(postgres, postgres_database, table))
        return made[-1]

    yield of
    for each in made:
        each.close()


WANTED: dict[str, tuple[BoundKeys, ...]] = {
    "blocks": (),
    "one statement": (),
    "few numbers": ((("id",), pa.array([1, 2, 3])),),
    "few texts": ((("word",), pa.array(["w1", "w2"])),),
    "many numbers": ((("id",), pa.array(range(100))),),
}


@pytest.mark.parametrize("written", ["filled again", "put in its place"])
@pytest.mark.parametrize("wanted", WANTED)
def test_who_waits_for_a_table_that_is_written_anew_sees_it_full(
    opened: Callable[..., Source],
    reload_of: Callable[[str], Reload],
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    written: str,
) -> None:
    if wanted == "blocks":
        monkeypatch.setattr("connectors.postgres.BLOCK_ROWS", -1)
    source, columns, keys = opened(), types_of(id="bigint", word="varchar"), WANTED[wanted]
    if not keys:
        del columns["word"]
    whole = sorted_rows(read(source, "facts", columns, keys=keys))  # what it is made of is known from now on
    assert whole
    reload, got = reload_of("facts"), list[Any]()
    if written == "filled again":
        reload.empty()
    else:
        reload.replace()
    reader = threading.Thread(target=lambda: got.extend(read(source, "facts", columns, keys=keys)))
    reader.start()
    while not reload.is_awaited():
        reader.join(0.01)
    reload.commit()
    reader.join(10)
    assert sorted_rows(got) == whole


@pytest.mark.parametrize("kind", ["blocks", "halves"])
def test_a_table_that_is_to_be_emptied_is_read_to_its_end_first(
    opened: Callable[..., Source],
    small: None,
    reload_of: Callable[[str], Reload],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    scan = large() if kind == "halves" else scan_of("facts", types_of(id="bigint"))
    source, reload = opened(), reload_of("lines" if kind == "halves" else "facts")
    assert isinstance(source, PostgresSource)
    monkeypatch.setattr(PostgresSource, "_reads_groups_in_order", lambda *_: kind == "halves")
    whole = rows_of(source, scan)
    spare, asked, begun = source._bulk.spare, postgres_source._taken, time.monotonic()
    reader, moved = threading.current_thread(), threading.Event()

    @contextmanager
    def late() -> Iterator[Any]:
        reload.begin()
        with spare() as lease:
            yield lease
        moved.set()

    def taken(left: Any) -> Iterator[Any]:
        if threading.current_thread() is reader:
            assert moved.wait(15)
        for reading in asked(left):
            moved.set()
            yield reading

    monkeypatch.setattr(source._bulk, "spare", late)
    monkeypatch.setattr(postgres_source, "_taken", taken)
    assert rows_of(source, scan) == whole
    assert time.monotonic() - begun < 10  # neither waits until the server ends it


def test_who_gets_no_second_connection_in_time_does_not_wait_for_it(
    opened: Callable[..., Source], small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, never = opened(), threading.Event()
    assert isinstance(source, PostgresSource)
    spare, begun = source._bulk.spare, time.monotonic()

    @contextmanager
    def late() -> Iterator[Any]:
        never.wait(15)
        with spare() as lease:
            yield lease

    monkeypatch.setattr(source._bulk, "spare", late)
    try:
        assert len(read(source, "facts", types_of(id="bigint"))) == 5000 - 555
        assert time.monotonic() - begun < 8
    finally:
        never.set()


def test_a_slow_reader_of_the_last_rows_gets_them(
    opened: Callable[..., Source], small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.blocks.PAGES", 30)  # of which the table has two
    both, asked = threading.Barrier(2, timeout=10), blocks.Blocks.read
    go = threading.Event()

    def waiting(*given: Any) -> Generator[pa.RecordBatch]:
        beside = threading.current_thread() is not reader
        both.wait()
        assert not beside or go.wait(10)
        yield from asked(*given)

    reader = threading.current_thread()
    monkeypatch.setattr(blocks.Blocks, "read", waiting)
    source = opened(timeout=1)  # so long a connection may be idle in a transaction
    stream = source.scan(scan_of("facts", types_of(id="bigint")), Cancel())
    rows = next(stream).num_rows
    go.set()
    rows += next(stream).num_rows
    time.sleep(1.5)
    assert rows + sum(batch.num_rows for batch in stream) == 5000 - 555


# --- halves ------------------------------------------------------------------------------------------

TOTAL = parse_type("decimal(38,2)")


def groups(name: str, total: str, *, key: str = "l_key") -> NativeScan:
    """The lines' quantities by key: (name, total)."""
    lines = types_of(l_key="bigint", l_quantity="decimal(15,2)")
    base = NativeScan(
        "lines", False, lines,
        columns=(OutputColumn(key, BIGINT, f"c_{name}"), OutputColumn("l_quantity", lines["l_quantity"], f"q_{name}")),
    )  # fmt: skip
    return NativeScan(
        (base,), False, dict(base.outputs),
        group_by=(GroupKey(f"c_{name}", BIGINT, name),),
        aggregates=(Aggregate("sum", f"q_{name}", TOTAL, total),),
    )  # fmt: skip


def large(negated: bool = False, **parts: Any) -> NativeScan:
    """The orders that have [no] more than 150 in their lines."""
    having = replace(
        NativeScan((groups("g", "t"),), False, {"g": BIGINT, "t": TOTAL}),
        columns=(OutputColumn("g", BIGINT, "h"),), predicates=(Predicate("t", ">", (Decimal(150),)),),
    )  # fmt: skip
    found = Exists((having,), (Comparison("h", "=", "o_key"),), negated)
    orders = types_of(o_key="bigint", o_price="decimal(15,2)")
    scan = NativeScan("orders", False, orders, predicates=(found,), **parts)
    return scan if parts else replace(scan, columns=tuple(OutputColumn(c, t, f"d_{c}") for c, t in orders.items()))


def joined() -> NativeScan:
    """The orders beside the sums of their lines."""
    orders = types_of(o_key="bigint", o_price="decimal(15,2)")
    own = NativeScan(
        "orders", False, orders, columns=tuple(OutputColumn(c, t, f"d_{c}") for c, t in orders.items())
    )  # fmt: skip
    lines = groups("g", "t")
    types = dict(own.outputs) | dict(lines.outputs)
    return NativeScan(
        (own, lines), False, types, columns=tuple(OutputColumn(c, t, c) for c, t in types.items()),
        predicates=(Comparison("g", "=", "d_o_key"),),
    )  # fmt: skip


KEYED: dict[str, Any] = {
    "group_by": (GroupKey("o_key", BIGINT, "k"),),
    "aggregates": (Aggregate("count", None, BIGINT, "n"),),
}


@pytest.mark.parametrize(
    ("scan", "delivered"),
    [(large(), "d_o_key"), (joined(), "d_o_key"), (large(**KEYED), "k")],
    ids=["EXISTS", "a join", "groups by the key"],
)
def test_the_halves_together_are_the_whole(
    opened: Callable[..., Source], postgres: PostgresServer, scan: NativeScan, delivered: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = rows_of(opened(), scan)
    assert len(whole) > 100
    assert Cut("lines", "l_key", delivered) in cuts(scan)
    for middle in (-5, 1, 450, 5000):
        below, above = halves(scan, delivered, middle)
        assert sorted_rows(rows_of(opened(), below) + rows_of(opened(), above)) == whole
    monkeypatch.setattr(PostgresSource, "_reads_groups_in_order", lambda *_: True)
    word = f"q_{delivered}_{len(whole)}"
    assert rows_of(opened(), replace(scan, query_id=word)) == whole
    asked = [line for line in postgres.log.read_text().splitlines() if word in line and "COPY" in line]
    assert len(asked) == 2
    assert all('"r"."l_key" <' in line or '"r"."l_key" >=' in line for line in asked)
    alone = f"alone_{word}"
    assert rows_of(opened(parallel=1), replace(scan, query_id=alone)) == whole
    assert sum(alone in line and "COPY" in line for line in postgres.log.read_text().splitlines()) == 1


def test_what_may_deliver_rows_without_the_key_is_not_cut() -> None:
    assert not list(cuts(large(negated=True)))  # an order without a key has no lines, and is delivered
    assert not list(cuts(replace(large(), limit=3)))
    assert not list(cuts(replace(large(), order=(Order("o_key"),))))
    assert not list(cuts(large(group_by=(GroupKey("o_price", TOTAL, "k"),), aggregates=KEYED["aggregates"])))
    assert not list(cuts(scan_of("lines", types_of(l_key="bigint"))))


@pytest.mark.parametrize("key", ["", "l_key + 1e25"], ids=["never analysed", "beyond 64 bits"])
def test_nothing_is_cut_where_the_server_knows_no_middle(
    opened: Callable[..., Source], connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    connection.execute("DROP TABLE IF EXISTS fresh; CREATE TABLE fresh AS SELECT * FROM lines")
    if key:
        connection.execute(f"ALTER TABLE fresh ALTER l_key TYPE numeric USING {key}".encode())
        connection.execute("ANALYZE fresh")
    base = large()
    (found,) = base.predicates
    assert isinstance(found, Exists)

    def elsewhere(scan: NativeScan) -> NativeScan:
        if scan.relation == "lines":
            return replace(scan, relation="fresh")
        return replace(scan, relation=tuple(map(elsewhere, scan.parts)))

    scan = replace(base, predicates=(replace(found, parts=tuple(map(elsewhere, found.parts))),))
    monkeypatch.setattr(PostgresSource, "_reads_groups_in_order", lambda *_: True)
    found = pa.Table.from_batches(list(opened().scan(scan, Cancel())), scan.schema)
    assert bool(found.num_rows) == (not key)  # no order has such keys


def meeting(*keys: int) -> NativeScan:
    """The orders beside their lines, those of a few keys, which stand beside the join."""
    return replace(joined_plainly(), keys=((("d_l_key",), pa.array(keys)),))


def joined_plainly() -> NativeScan:
    parts = tuple(
        NativeScan(t, False, types_of(**{c: "bigint"}), columns=(OutputColumn(c, BIGINT, f"d_{c}"),))
        for t, c in (("orders", "o_key"), ("lines", "l_key"))
    )
    return NativeScan(
        parts, False, dict.fromkeys(("d_o_key", "d_l_key"), BIGINT), columns=(OutputColumn("d_o_key", BIGINT, "k"),),
        predicates=(Comparison("d_o_key", "=", "d_l_key"),),
    )  # fmt: skip


def lines_of(*sets: list[int], **parts: Any) -> NativeScan:
    types = types_of(l_key="bigint", l_other="bigint")
    scan = NativeScan("lines", False, types, keys=tuple((("l_key",), pa.array(keys)) for keys in sets), **parts)
    return scan if parts else replace(scan, columns=tuple(OutputColumn(c, t, f"d_{c}") for c, t in types.items()))


MANY = list(range(3, 400, 2))


@pytest.mark.parametrize(
    "scan",
    [
        lines_of(MANY),
        lines_of(MANY, list(range(100, 300))),
        lines_of(MANY, group_by=(GroupKey("l_key", BIGINT, "k"),)),
        meeting(*MANY),
        replace(large(), keys=((("o_key",), pa.array(MANY, pa.int32())),)),
        replace(joined(), keys=((("d_o_key",), pa.array(MANY)),)),
    ],
    ids=["a table", "two sets", "groups by the key", "a join", "EXISTS with groups", "a join with groups"],
)
def test_the_rows_of_half_of_the_keys_and_of_the_others_are_all_rows(
    opened: Callable[..., Source], postgres: PostgresServer, scan: NativeScan, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows_of(opened(), scan)
    found = halves_by_keys(scan)
    parts = [rows_of(opened(), half) for half in found]
    assert sorted_rows(parts[0] + parts[1]) == whole
    assert all(parts)
    largest = [max(len(keys) for _, keys in half.keys) for half in found]
    assert abs(largest[0] - largest[1]) <= 1
    monkeypatch.setattr(PostgresSource, "_looks_up", lambda *_: True)
    monkeypatch.setattr(PostgresSource, "_reads_groups_in_order", lambda *_: False)
    word = f"keyed_{len(whole)}_{len(scan.keys)}"
    assert rows_of(opened(), replace(scan, query_id=word)) == whole
    assert sum(word in line and "COPY" in line for line in postgres.log.read_text().splitlines()) == 2


def test_what_may_stand_in_both_halves_of_the_keys_is_not_cut() -> None:
    other = {"group_by": (GroupKey("l_other", BIGINT, "k"),)}
    assert not halves_by_keys(lines_of(MANY, **other))  # lines of one group have keys of both
    assert not halves_by_keys(lines_of(MANY, aggregates=(Aggregate("count", None, BIGINT, "n"),)))
    assert not halves_by_keys(replace(lines_of(MANY), limit=3))
    assert not halves_by_keys(replace(lines_of(MANY), order=(Order("l_key"),)))
    assert not halves_by_keys(lines_of())
    pairs = pa.StructArray.from_arrays([pa.array(MANY)] * 2, names=["k", "k1"])
    assert not halves_by_keys(replace(lines_of(), keys=((("l_key", "l_other"), pairs),)))


@pytest.fixture
def indexed(connection: psycopg.Connection) -> None:
    connection.execute(
        "DROP TABLE IF EXISTS indexed;"
        "CREATE TABLE indexed AS SELECT i AS k, i AS other, repeat('x', 200) AS word FROM generate_series(1, 40000) i;"
        "INSERT INTO indexed SELECT * FROM indexed WHERE k % 4 = 0;"
        "CREATE INDEX ON indexed (k)"
    )
    connection.execute("VACUUM ANALYZE indexed")


def test_two_statements_read_only_what_is_looked_up_by_an_index(
    opened: Callable[..., Source], indexed: None, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = pa.array(range(1, 40000, 400))
    types = types_of(k="bigint", other="bigint")
    columns = tuple(OutputColumn(c, BIGINT, f"d_{c}") for c in types)

    def statements(least: float, by: str, source: Source) -> int:
        monkeypatch.setattr("connectors.postgres.KEYED_COST", least)
        word = f"indexed_{least}_{by}_{id(source)}".replace(".", "_")
        scan = NativeScan("indexed", False, types, columns=columns, keys=(((by,), keys),), query_id=word)
        assert [row[0] for row in sorted(rows_of(source, scan))] == keys.to_pylist()
        return sum(word in line and "COPY" in line for line in postgres.log.read_text().splitlines())

    assert statements(10.0, "k", opened()) == 2
    assert statements(10.0, "other", opened()) == 1  # read from end to end
    assert statements(10_000.0, "k", opened()) == 1
    assert statements(10.0, "k", opened(parallel=1)) == 1


@pytest.mark.parametrize(
    ("column", "keys", "others", "hidden"),
    [
        ("k", range(39_000, 41_000), {}, True),
        ("k", range(39_000, 39_060), {}, False),  # a look-up
        ("other", range(39_000, 41_000), {}, False),  # in no index: each key would be compared with each row
        ("k", range(39_000, 41_000), {"row_filters": ("other % 2 = 0",)}, False),  # beside the index
        ("k", range(39_000, 41_000), {"aggregates": (Aggregate("count", None, BIGINT, "n"),)}, False),
    ],
    ids=["an index", "few keys", "no index", "a row filter", "counted"],
)
def test_which_of_many_keys_are_there_is_not_planned_key_by_key(
    opened: Callable[..., Source], indexed: None, postgres: PostgresServer, column: str, keys: range,
    others: dict[str, Any], hidden: bool,
) -> None:  # fmt: skip
    types = types_of(k="bigint", other="bigint")
    word = f"there_{column}_{len(keys)}_{len(others)}_{hidden}_{'aggregates' in others}"
    group = (GroupKey(column, BIGINT, "d"),)
    scan = NativeScan(
        "indexed", False, types, keys=(((column,), pa.array(keys)),), group_by=group, query_id=word, **others
    )
    found = [row[0] for row in rows_of(opened(), scan)]
    assert sorted(found) == [k for k in keys if k <= 40_000 and ("row_filters" not in others or k % 2 == 0)]
    asked = [line for line in postgres.log.read_text().splitlines() if word in line and "EXPLAIN" not in line]
    assert len(asked) == 1
    assert ("CAST((SELECT" in asked[0]) == hidden


@pytest.mark.parametrize(
    "relation",
    ["parted", "SELECT k FROM listed WHERE state IN (1, 2)"],
    ids=["a partition without the index", "the owner's own list in another index"],
)
def test_keys_that_each_row_would_be_looked_for_in_are_shown_to_the_planner(
    opened: Callable[..., Source], connection: psycopg.Connection, postgres: PostgresServer, relation: str
) -> None:
    """A list that it does not see is gone through from its beginning for each row: 14 s in place of 0.1."""
    connection.execute(
        "DROP TABLE IF EXISTS parted, listed;"
        "CREATE TABLE parted (k bigint) PARTITION BY RANGE (k);"
        "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10000);"
        "CREATE TABLE high PARTITION OF parted FOR VALUES FROM (10000) TO (90000);"
        "INSERT INTO parted SELECT generate_series(1, 40000); CREATE INDEX ON low (k);"
        "CREATE TABLE listed AS SELECT CAST(i AS bigint) AS k, i % 40 AS state FROM generate_series(1, 40000) AS i;"
        "CREATE INDEX ON listed (state) INCLUDE (k)"
    )
    connection.execute("VACUUM ANALYZE parted, listed")
    word = f"shown_{len(relation)}"
    types, keys = types_of(k="bigint"), pa.array(range(1, 40_000, 20))
    group = (GroupKey("k", BIGINT, "d"),)
    assert read(opened(), relation, types, keys=((("k",), keys),), group_by=group, query_id=word)
    asked = [told for told in postgres.log.read_text().split("LOG:") if word in told]
    assert any("CAST((SELECT" in line for line in asked if "EXPLAIN" in line)
    assert not any("CAST((SELECT" in line for line in asked if "EXPLAIN" not in line)


# --- the server's own workers ------------------------------------------------------------------------


def test_workers_are_made_cheaper_for_a_join_of_tables_and_for_nothing_else(
    opened: Callable[..., Source], postgres: PostgresServer
) -> None:
    def told() -> int:
        return postgres.log.read_text().count("SET LOCAL parallel_tuple_cost =")

    source = opened(connections=1)
    assert isinstance(source, PostgresSource)
    both = joined_plainly()
    before = told()
    assert len(rows_of(source, both)) == 899 * 6 - 6
    assert told() == before + 1
    with source._bulk.lease() as lease:
        assert lease.connection.execute("SHOW parallel_tuple_cost").fetchone() == ("0.1",)
    pairs = pa.StructArray.from_arrays([pa.array(range(99))] * 2, names=["k0", "k1"])
    for other in (
        joined(),
        scan_of("orders", types_of(o_key="bigint")),
        replace(both, keys=((tuple(both.types), pairs),)),
    ):
        assert rows_of(source, other)
    assert rows_of(opened(parallel=1), both)
    assert told() == before + 1


# --- what reads ahead --------------------------------------------------------------------------------


@contextmanager
def ahead(read: Callable[[Cancel], Generator[int]], cancel: Cancel | None = None) -> Iterator[Ahead[int]]:
    found = Ahead(read, cancel or Cancel())
    try:
        yield found
    finally:
        found.close()


def test_who_takes_gets_all_and_then_what_went_wrong() -> None:
    def failing(_: Cancel) -> Generator[int]:
        yield from range(10)
        raise SourceError("gone")

    got: list[int] = []
    with ahead(failing) as found, pytest.raises(SourceError, match="gone"):
        got.extend(found.rest())
    assert got == list(range(10))


def test_closing_ends_the_reading_and_a_cancellation_the_waiting() -> None:
    ended = threading.Event()

    def endless(cancel: Cancel) -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    with ahead(endless) as found:
        assert next(found.rest()) == 1
    assert ended.wait(5)

    def silent(cancel: Cancel) -> Generator[int]:
        cancel.wait(10)
        yield from ()

    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    with ahead(silent, cancel) as found, pytest.raises(Cancelled):
        list(found.rest())
