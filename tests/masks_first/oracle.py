"""Q over M(R): the materialised relations in an empty DuckDB, and the statement's own meaning over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot

from catalog import duck
from catalog.errors import CityError
from tests.masks_first.people import Copy

__all__ = ["Oracle", "bag"]

Rows = list[tuple[Any, ...]]


class Oracle:
    """Answers statements over copies; remembers them, since every silo is asked the same ones."""

    def __init__(self, copies: Mapping[str, Copy]) -> None:
        self._con = duckdb.connect()
        duck.prepare(self._con)
        self._tables = {}
        for name, copy in copies.items():
            short = name.rpartition(".")[2]
            self._con.register("copied", copy.table)
            self._con.execute(f'CREATE TABLE "{short}" AS SELECT * FROM copied')
            self._con.unregister("copied")
            self._tables[name] = duck.Table(short, copy.types)
        self._known: dict[str, Rows | CityError] = {}

    def ask(self, sql: str) -> Rows | CityError:
        """The rows in order, or the error that an analyst would see."""
        if sql not in self._known:
            self._known[sql] = self._ask(sql)
        return self._known[sql]

    def rows(self, sql: str) -> Rows:
        found = self.ask(sql)
        assert not isinstance(found, CityError), f"{found}: {sql}"
        return found

    def _ask(self, sql: str) -> Rows | CityError:
        compiled = duck.compile_query(sqlglot.parse_one(sql, dialect="trino"), self._tables, datetime.now(UTC))
        schema = pa.schema([pa.field(f"c{i}", t.arrow()) for i, (_, t) in enumerate(compiled.columns)])
        try:
            found = self._con.sql(compiled.sql).to_arrow_table()
        except duckdb.Error as bad:
            return duck.translate_error(bad)
        columns = [c.cast(f.type).to_pylist() for c, f in zip(found.columns, schema, strict=True)]
        return list(zip(*columns, strict=True))


def bag(rows: Iterable[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    """Rows without their order; -0.0 and 0.0 are two values here."""
    return Counter(tuple(repr(v) if isinstance(v, float) else v for v in row) for row in rows)
