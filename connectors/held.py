"""Columns of files that are asked for again and again, in the memory of the engine that reads the files.

    first and second scan    partsupp.parquet, read in place
    meanwhile                a table of the columns that they named is filled: a thread's work, nobody waits
    later scans              held, where it has all columns that they name
    a file changed           read in place, the copy is dropped, and so on

To open and decode Parquet takes a small question longer than all that it computes: of 800,000 rows joined with 10,000,
11 of 18 ms; of one row by its key, 0.5 of 1.1.

What a scan is answered from never matters for its answer: a copy has the rows of the files, in their order and types,
as they were when last looked at (`Stamp`). A file that changed a moment ago is not copied: a second change might leave
it the same size at the same time. A copy must have every column that a scan reads: an owner's own SELECT reads the
files, and so does what is behind a row filter that is more than columns compared with literals.

Copies take at most a quarter of the engine's memory. They lie in its own instance, which spills them like whatever
else does not fit. Each is a database of its own, for that is what the engine packs: of texts that are few it keeps each
once, and compares them once. TPC-H's parts of a brand and a container take 1.2 ms then in place of 5.1; names, of which
there is one a row, would take 5.5 in place of 1.5, and are not packed.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from connectors.allowed import columns_read
from connectors.base import Condition, Exists, NativeScan, NotIn, Scalar, SourceError

__all__ = ["MOST_FILES", "Held", "Stamp"]

MOST_FILES = 64
"""A table of more files is read in place: looking at all of them would take as long."""
ASKED = 2
"""Scans of a table that files answer before its columns are copied."""
SETTLED = 2.0
"""Seconds that a file must have been left alone."""
WIDTH = 16
"""Bytes of a value, without its text."""
SAMPLE = 10_000
"""Rows by which the length of texts is judged."""
ROWS, PLAIN = "rows", " USING COMPRESSION uncompressed"
"""Name of the table of a copy; of a column as it is."""
FEW = 1_000
"""Different texts of a column that is packed, at most."""


@dataclass(frozen=True)
class Stamp:
    """The files of a table as they are now, and when the last of them changed."""

    files: tuple[tuple[str, int, int, int, int], ...]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Stamp | None:
        """None if there are none, too many, one that went away, or a folder, of whose files it tells nothing."""
        found: list[tuple[str, int, int, int, int]] = []
        try:
            for path in paths:
                if len(found) == MOST_FILES:
                    return None
                stat = path.stat()
                if not S_ISREG(stat.st_mode):
                    return None
                found.append((str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
        except OSError:
            return None
        return cls(tuple(sorted(found))) if found else None

    @property
    def changed(self) -> float:
        """Unix seconds."""
        return max(max(mtime, ctime) for *_, mtime, ctime in self.files) / 1e9


@dataclass(eq=False)
class _Copy:
    """name: of its database. users: scans that read it. left: for no scan to come; it goes with its last user."""

    name: str
    columns: frozenset[str]
    users: int = 0
    left: bool = False


@dataclass(eq=False)
class _Table:
    """What is known of one table while its files stay as they are.

    wanted: columns that scans named, `asked` of them in vain. fits: False once more columns turned out to be too large.
    """

    stamp: Stamp
    wanted: set[str] = field(default_factory=set)
    asked: int = 0
    copy: _Copy | None = None
    loading: bool = False
    fits: bool = True


class Held:
    """The copies of one engine. Thread-safe.

    cursor: of the engine. budget: bytes.
    """

    def __init__(self, cursor: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]], budget: int) -> None:
        self._cursor = cursor
        self._budget = budget
        self._lock = threading.Lock()
        self._tables: dict[str, _Table] = {}
        self._count = itertools.count(1)

    def look(self, stamps: Mapping[str, Stamp]) -> None:
        """The files as they are now, by table; a copy of anything else is for no scan to come."""
        with self._lock:
            old, self._tables = self._tables, {}
            for name, stamp in stamps.items():
                known = old.pop(name) if name in old and old[name].stamp == stamp else None
                self._tables[name] = known or _Table(stamp)
            idle = [name for table in old.values() for name in _left(table.copy)]
        self._drop(idle)

    @contextmanager
    def placed(self, scan: NativeScan) -> Iterator[NativeScan]:
        """The scan over copies as far as there are any; they stay while the block runs.

        A table that is named twice is read from one copy, or twice from its files: as it was at one time.
        """
        used: dict[str, _Copy] = {}
        try:
            for name, columns in _wanted(scan).items():
                copy = self._copy_of(name, columns)
                if copy is not None:
                    used[name] = copy
            yield _mapped(scan, lambda leaf: _over(leaf, used.get(str(leaf.relation))))
        finally:
            with self._lock:
                for copy in used.values():
                    copy.users -= 1
                idle = {copy.name for copy in used.values() if copy.left and not copy.users}
            self._drop(idle)

    def _copy_of(self, name: str, wanted: frozenset[str]) -> _Copy | None:
        """A copy with these columns of a table, which has one user more; None if the files are to be read."""
        with self._lock:
            table = self._tables.get(name)
            if table is None:
                return None
            if table.copy is not None and wanted <= table.copy.columns:
                table.copy.users += 1
                return table.copy
            table.wanted |= wanted
            table.asked += 1
            is_worth = wanted and table.fits and table.asked >= ASKED
            if not is_worth or table.loading or time.time() - table.stamp.changed < SETTLED:
                return None
            table.loading = True
        begin(lambda: self._load(name, table))
        return None

    def _load(self, name: str, table: _Table) -> None:
        """Copy what scans wanted of a table, in place of an earlier copy."""
        with self._lock:
            copy = _Copy(f"atoll_held_{next(self._count)}", frozenset(table.wanted))
        made = False
        with suppress(duckdb.Error, SourceError), self._cursor() as cursor:
            made = self._make(cursor, name, copy)
        with self._lock:
            table.loading, table.fits, table.asked = False, made, 0
            idle: list[str] = []
            if made:
                # Files may have changed meanwhile: then nobody looks at this table any more.
                known = self._tables.get(name) is table
                idle = _left(table.copy if known else copy)
                table.copy = copy if known else None
        self._drop(idle)

    def _make(self, cursor: duckdb.DuckDBPyConnection, name: str, copy: _Copy) -> bool:
        """Whether the copy was made, and all of them fit together."""
        columns = sorted(copy.columns)
        if self._size(cursor, name, columns) + self._taken(cursor) > self._budget:
            return False
        listed = ", ".join(map(_quoted, columns))
        database, files = _quoted(copy.name), _quoted(name)
        kinds = [str(row[1]) for row in cursor.execute(f"DESCRIBE SELECT {listed} FROM {files}").fetchall()]
        packed = self._few(cursor, files, [c for c, kind in zip(columns, kinds, strict=True) if kind == "VARCHAR"])
        form = ", ".join(
            f"{_quoted(c)} {kind}{'' if c in packed else PLAIN}" for c, kind in zip(columns, kinds, strict=True)
        )
        cursor.execute(f"ATTACH ':memory:' AS {database} (COMPRESS)")
        try:
            cursor.execute(f"CREATE TABLE {database}.{ROWS} ({form})")
            cursor.execute(f"INSERT INTO {database}.{ROWS} SELECT {listed} FROM {files}")
            cursor.execute(f"CHECKPOINT {database}")
            made = self._taken(cursor) <= self._budget
        except duckdb.Error:
            made = False
        if not made:
            cursor.execute(f"DETACH {database}")
        return made

    def _few(self, cursor: duckdb.DuckDBPyConnection, files: str, columns: list[str]) -> set[str]:
        """Those of these columns that have few values."""
        if not columns:
            return set()
        counts = ", ".join(f"approx_count_distinct({_quoted(c)})" for c in columns)
        (found,) = cursor.execute(f"SELECT {counts} FROM {files}").fetchall()
        return {c for c, count in zip(columns, found, strict=True) if count <= FEW}

    def _size(self, cursor: duckdb.DuckDBPyConnection, name: str, columns: list[str]) -> float:
        """About how many bytes columns take, out of their number of rows and the texts of the first of them."""
        listed = ", ".join(map(_quoted, columns))
        ((rows,),) = cursor.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchall()
        lengths = " + ".join(f"coalesce(avg(strlen(CAST({_quoted(c)} AS VARCHAR))), 0)" for c in columns)
        sample = f"(SELECT {listed} FROM {_quoted(name)} LIMIT {SAMPLE})"
        ((text,),) = cursor.execute(f"SELECT {lengths} FROM {sample}").fetchall()
        return float(rows) * (WIDTH * len(columns) + float(text))

    def _taken(self, cursor: duckdb.DuckDBPyConnection) -> int:
        sql = "SELECT coalesce(sum(memory_usage_bytes + temporary_storage_bytes), 0) FROM duckdb_memory()"
        ((taken,),) = cursor.execute(f"{sql} WHERE tag = 'IN_MEMORY_TABLE'").fetchall()
        return int(taken)

    def _drop(self, names: Collection[str]) -> None:
        if names:
            with (
                suppress(duckdb.Error, SourceError),
                self._cursor() as cursor,
            ):  # a closed engine holds nothing any more
                for name in names:
                    with suppress(duckdb.Error):
                        cursor.execute(f"DETACH {_quoted(name)}")


def begin(work: Callable[[], None]) -> None:
    """Do it while others go on."""
    threading.Thread(target=work, name="atoll-held", daemon=True).start()


def _left(copy: _Copy | None) -> list[str]:
    """Use a copy no more; its name if it can go at once."""
    if copy is None:
        return []
    copy.left = True
    return [] if copy.users else [copy.name]


def _wanted(scan: NativeScan) -> dict[str, frozenset[str]]:
    """Table -> the columns that a scan reads of it, wherever it is named; none where any part reads what nobody can
    tell, which may be the same tables."""
    found: dict[str, frozenset[str]] = {}
    told: list[bool] = []

    def note(leaf: NativeScan) -> NativeScan:
        columns = _named(leaf)
        told.append(columns is not None)
        found[str(leaf.relation)] = found.get(str(leaf.relation), frozenset()) | (columns or frozenset())
        return leaf

    _mapped(scan, note)
    return found if all(told) else {}


def _over(leaf: NativeScan, copy: _Copy | None) -> NativeScan:
    return leaf if copy is None or leaf.is_query else replace(leaf, relation=f"{copy.name}.{ROWS}")


def _mapped(scan: NativeScan, placed: Callable[[NativeScan], NativeScan]) -> NativeScan:
    """The scan with each one over a table exchanged."""

    def condition(part: Condition) -> Condition:
        match part:
            case Exists(parts, conditions):
                inner = tuple(_mapped(p, placed) for p in parts)
                return replace(part, parts=inner, conditions=tuple(map(condition, conditions)))
            case NotIn() | Scalar():
                return replace(part, part=_mapped(part.part, placed))
        return part

    predicates = tuple(map(condition, scan.predicates))
    if isinstance(scan.relation, str):
        return placed(replace(scan, predicates=predicates))
    parts = tuple(_mapped(part, placed) for part in scan.relation)
    return replace(scan, relation=parts, predicates=predicates)


def _named(leaf: NativeScan) -> frozenset[str] | None:
    """Raw columns that a scan over a table reads; None if it reads a SELECT, or nobody can tell."""
    filters = [_of_filter(text) for text in leaf.row_filters]
    if leaf.is_query or None in filters:
        return None
    return frozenset(columns_read(leaf)).union(*(columns for columns in filters if columns is not None))


_PLAIN = (
    exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ,
    exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Between, exp.Is,
)  # fmt: skip


@lru_cache(maxsize=512)
def _of_filter(text: str) -> frozenset[str] | None:
    """The columns that an owner's row filter names; None if it may read others: whole rows, or by way of a function."""
    try:
        tree = sqlglot.parse_one(text, read="duckdb")
    except SqlglotError:
        return None
    columns = list(tree.find_all(exp.Column))
    is_plain = all(isinstance(node, _PLAIN) for node in tree.walk()) and not any(c.table for c in columns)
    return frozenset(column.name for column in columns) if is_plain else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
