"""What the gateway must remember over a restart: who is registered. SQLite by default, any SQLAlchemy URL.

Grants are not here: they live in the departments' own policies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine import Engine

__all__ = ["DepartmentStore"]

_meta = MetaData()
_departments = Table(
    "department",
    _meta,
    Column("name", String(63), primary_key=True),
    Column("url", Text, nullable=False),
    Column("title", Text, nullable=False, default=""),
    Column("key", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("keys", Text, nullable=False, server_default="[]"),
    Column("renewed", Integer, nullable=False, server_default="0"),
    Column("contact", Text, nullable=False, server_default=""),
)


class DepartmentStore:
    """Registered departments: name -> {url, title, key (JWK), state, keys (JWKs), renewed (unix seconds), contact}.

    state: pending, approved or suspended.
    """

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url)
        _meta.create_all(self._engine)
        self._add_columns()

    def _add_columns(self) -> None:
        """Bring a table of an older release up to date."""
        known = {c["name"] for c in inspect(self._engine).get_columns(_departments.name)}
        with self._begin() as c:
            for column in _departments.columns:
                if column.name not in known:
                    kind = column.type.compile(self._engine.dialect)
                    default = column.server_default.arg  # type: ignore[union-attr]
                    c.execute(
                        text(f"ALTER TABLE {_departments.name} ADD {column.name} {kind} DEFAULT '{default}' NOT NULL")
                    )

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def all(self) -> dict[str, dict[str, Any]]:
        with self._begin() as c:
            rows = c.execute(select(_departments).order_by(_departments.c.name)).mappings().all()
        return {r["name"]: _entry(r) for r in rows}

    def put(
        self,
        name: str,
        url: str,
        title: str,
        key: dict[str, Any],
        state: str,
        keys: Sequence[dict[str, Any]] = (),
        renewed: int = 0,
        contact: str = "",
    ) -> None:
        """Add or replace one department."""
        values = {"url": url, "title": title, "key": json.dumps(key), "state": state}
        more = {"keys": json.dumps(list(keys)), "renewed": renewed, "contact": contact}
        with self._begin() as c:
            c.execute(delete(_departments).where(_departments.c.name == name))
            c.execute(insert(_departments).values(name=name, **values, **more))

    def set_state(self, name: str, state: str) -> bool:
        """Change one department's state; False if it is not registered."""
        with self._begin() as c:
            return c.execute(update(_departments).where(_departments.c.name == name).values(state=state)).rowcount == 1

    def close(self) -> None:
        self._engine.dispose()


def _entry(row: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {k: row[k] for k in ("url", "title", "state", "renewed", "contact")}
    return {**plain, "key": json.loads(row["key"]), "keys": json.loads(row["keys"])}
