"""Writers of raw tables: SQLite, Parquet, PostgreSQL, MariaDB. What a table holds is its maker's affair.

The embedded databases are the master copy: `load_servers` fills real servers from them, so that a city with
servers and one without hold the same rows. In SQLite a decimal is TEXT, a date `YYYY-MM-DD`, a timestamp
`YYYY-MM-DD HH:MM:SS`, a boolean 0/1.
"""

from __future__ import annotations

import io
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from atoll.city.base import Shape, Table


def _text(column: Any) -> Any:
    """An Arrow column as text, the way SQLite keeps it; numbers and strings stay as they are."""
    kind = column.type
    if pa.types.is_decimal(kind) or pa.types.is_date32(kind):
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return pc.strftime(column.cast(pa.timestamp("s")), format="%Y-%m-%d %H:%M:%S")
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8())
    return column


def _values(column: Any) -> list[Any]:
    flat = _text(column)
    values: list[Any] = flat.to_numpy(zero_copy_only=False).tolist() if not flat.null_count else flat.to_pylist()
    return values


def rows_of(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Rows of a batch as tuples of what SQLite keeps."""
    return zip(*(_values(column) for column in batch.columns), strict=True)


def sqlite_type(kind: pa.DataType) -> str:
    """The declared SQLite type of an Arrow type; decimals are TEXT."""
    if pa.types.is_integer(kind):
        return "INTEGER"
    if pa.types.is_date32(kind):
        return "DATE"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_floating(kind):
        return "REAL"
    return "TEXT"


def _create(table: Shape | Table, types: dict[str, str]) -> str:
    """CREATE TABLE, the primary key beside its column (an integer one is SQLite's rowid)."""
    keys = {table.primary_key: " PRIMARY KEY"}
    columns = ", ".join(f"{f.name} {types[f.name]}{keys.get(f.name, '')}" for f in table.schema)
    return f"CREATE TABLE {table.name} ({columns})"


def write_sqlite(path: Path, tables: Iterable[Table]) -> Path:
    """A new SQLite file with these tables; the same rows give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    base = sqlite3.connect(path, isolation_level=None)
    try:
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("PRAGMA synchronous = OFF")
        base.execute("BEGIN")
        for table in tables:
            base.execute(_create(table, {f.name: sqlite_type(f.type) for f in table.schema}))
            insert = f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.schema))})"
            for batch in table.batches():
                base.executemany(insert, rows_of(batch))
            for n, index in enumerate(table.indexes):
                base.execute(f"CREATE INDEX {table.name}_i{n} ON {table.name} ({', '.join(index)})")
        base.execute("COMMIT")
    finally:
        base.close()
    return path


def write_parquet(path: Path, table: Table) -> Path:
    """One Parquet file (zstd) of a table, batch by batch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for batch in table.batches():
            writer.write_batch(batch)
    return path


def write_json(path: Path, value: Any) -> Path:
    """One JSON document, indented, keys as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    return path


# --- real servers, from the embedded copies ---------------------------------------------------------


def _postgres_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    if pa.types.is_integer(kind):
        return "bigint" if kind.bit_width > 32 else "integer"
    if pa.types.is_date32(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return "boolean" if pa.types.is_boolean(kind) else "text"


def _mariadb_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_integer(kind):
        return "bigint" if kind.bit_width > 32 else "int"
    if pa.types.is_date32(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "datetime"
    return "boolean" if pa.types.is_boolean(kind) else "varchar(64)"


def _read(sqlite_path: Path, table: Shape, size: int) -> Iterator[list[tuple[Any, ...]]]:
    base = sqlite3.connect(f"file:{sqlite_path}?mode=ro", uri=True)
    try:
        cursor = base.execute(f"SELECT {', '.join(table.schema.names)} FROM {table.name} ORDER BY rowid")
        while rows := cursor.fetchmany(size):
            yield rows
    finally:
        base.close()


def _copy_text(rows: list[tuple[Any, ...]]) -> bytes:
    # raw values hold no tab, newline or backslash: the makers' alphabets exclude them
    lines = ("\t".join("\\N" if v is None else str(v) for v in row) for row in rows)
    return ("\n".join(lines) + "\n").encode()


def load_postgres(sqlite_path: Path, tables: Iterable[Shape], dsn: str) -> None:
    """Fills a PostgreSQL database from an embedded copy by COPY; tables of these names are replaced."""
    import psycopg  # here, since the makers of data need no driver

    tables = list(tables)
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for table in tables:
            kinds = {f.name: _postgres_type(f.type) for f in table.schema}
            cursor.execute(f"DROP TABLE IF EXISTS {table.name} CASCADE")
            cursor.execute(_create(table, kinds))
            with cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
                for rows in _read(sqlite_path, table, 50_000):
                    copy.write(_copy_text(rows))
            for index in table.indexes:
                cursor.execute(f"CREATE INDEX ON {table.name} ({', '.join(index)})")
        connection.commit()
        connection.autocommit = True
        for table in tables:
            cursor.execute(f"ANALYZE {table.name}")


def load_mariadb(sqlite_path: Path, tables: Iterable[Shape], connection: dict[str, Any]) -> None:
    """Fills a MariaDB database from an embedded copy by LOAD DATA LOCAL; tables of these names are replaced.

    connection: keyword arguments of pymysql.connect. The server must allow local_infile.
    """
    import pymysql  # as above

    settings = {**connection, "charset": "utf8mb4", "local_infile": True}
    with pymysql.connect(**settings) as base, base.cursor() as cursor:
        for table in tables:
            kinds = {f.name: _mariadb_type(f.type) for f in table.schema}
            cursor.execute(f"DROP TABLE IF EXISTS {table.name}")
            cursor.execute(_create(table, kinds) + " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
            for rows in _read(sqlite_path, table, 200_000):
                _load_data(cursor, table.name, rows)
            for n, index in enumerate(table.indexes):
                cursor.execute(f"CREATE INDEX {table.name}_i{n} ON {table.name} ({', '.join(index)})")
            cursor.execute(f"ANALYZE TABLE {table.name}")
        base.commit()


def _load_data(cursor: Any, name: str, rows: list[tuple[Any, ...]]) -> None:
    handle, path = tempfile.mkstemp(suffix=".tsv")
    try:
        with io.FileIO(handle, "w") as file:
            file.write(_copy_text(rows))
        cursor.execute(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {name} CHARACTER SET utf8mb4")
    finally:
        os.unlink(path)
