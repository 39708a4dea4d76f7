"""What the gateway must remember over a restart: who is registered. SQLite by default, any SQLAlchemy URL.

Grants are not here: they live in the departments' own policies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    select,
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
)


class DepartmentStore:
    """Registered departments: name -> {url, title, key (JWK), state: pending | approved | suspended}."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url)
        _meta.create_all(self._engine)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def all(self) -> dict[str, dict[str, Any]]:
        with self._begin() as c:
            rows = c.execute(select(_departments).order_by(_departments.c.name)).mappings().all()
        return {r["name"]: {**{k: r[k] for k in ("url", "title", "state")}, "key": json.loads(r["key"])} for r in rows}

    def put(self, name: str, url: str, title: str, key: dict[str, Any], state: str) -> None:
        """Add or replace one department."""
        with self._begin() as c:
            c.execute(delete(_departments).where(_departments.c.name == name))
            c.execute(insert(_departments).values(name=name, url=url, title=title, key=json.dumps(key), state=state))

    def set_state(self, name: str, state: str) -> bool:
        """Change one department's state; False if it is not registered."""
        with self._begin() as c:
            return c.execute(update(_departments).where(_departments.c.name == name).values(state=state)).rowcount == 1

    def close(self) -> None:
        self._engine.dispose()
