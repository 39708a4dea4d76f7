"""What the gateway knows of the departments: who is registered, and what each user may see there.

A user's view is asked of each department's agent (with that user's own token) and kept for a minute.
A department that does not answer keeps the last known list, marked stale: listing never blocks on it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cachetools import TTLCache

from catalog.errors import CityError, DepartmentError, Outcome
from catalog.names import RelationName
from catalog.relation import Column, Mode, Relation, RelationList
from catalog.standards import CityTable, city_tables
from gateway.execution import Session
from gateway.together import Together

__all__ = ["Catalogue", "DepartmentView", "UserView"]

FRESH_SECONDS = 60
DOWN_SECONDS = 3
KNOWN = 4096
KNOWN_VIEWS = 256


@dataclass(frozen=True)
class DepartmentView:
    """One department as one user sees it. state: up, stale (last known list), down (nothing known)."""

    name: str
    title: str
    state: str
    relations: RelationList

    @cached_property
    def digest(self) -> bytes:
        """Differs wherever anything differs."""
        text = f"{self.name}|{self.title}|{self.state}|{self.relations.model_dump_json()}"
        return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class UserView:
    """Everything that one user may see for one purpose. Names outside it do not exist for this user.

    other_purposes: relation -> the user's other purposes that would show it. down: departments of
    which nothing is known right now, with the error to raise when a query needs one. records: the gateway's own
    ledger, for auditors alone.
    """

    user: str
    purpose: str
    purposes: tuple[str, ...]
    departments: tuple[DepartmentView, ...]
    relations: dict[RelationName, Relation]
    city: dict[RelationName, CityTable]
    other_purposes: dict[RelationName, tuple[str, ...]] = field(default_factory=dict)
    down: dict[str, CityError] = field(default_factory=dict)
    records: Callable[[], Iterable[dict[str, Any]]] | None = None

    @property
    def version(self) -> str:
        """Changes whenever any list that the view is made of changes."""
        return "|".join(f"{d.name}:{d.relations.version}" for d in self.departments)


Fetch = Callable[[Session, str], RelationList]


class Catalogue:
    """Caches of relation lists by (user, purpose, department). `fetch` asks one department's agent."""

    def __init__(self, departments: Callable[[], dict[str, str]], fetch: Fetch) -> None:
        """departments: name -> title of those that are registered and approved."""
        self._departments = departments
        self._fetch = fetch
        self._fresh: TTLCache[tuple[str, str, str], RelationList] = TTLCache(KNOWN, FRESH_SECONDS)
        self._last: TTLCache[tuple[str, str, str], RelationList] = TTLCache(KNOWN, 24 * 3600)
        self._down: TTLCache[tuple[str, str, str], CityError] = TTLCache(KNOWN, DOWN_SECONDS)
        self._views: TTLCache[tuple[str, str, tuple[str, ...]], UserView] = TTLCache(KNOWN_VIEWS, FRESH_SECONDS)
        self._asked: Together[RelationList] = Together()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="catalogue")

    def view(self, session: Session, purposes: tuple[str, ...]) -> UserView:
        """The user's view under `session.purpose`; asks only departments whose list is not fresh."""
        if not purposes:
            return UserView(session.user, "", (), (), {}, {})
        names = self._departments()
        with self._lock:
            known = {name: self._fresh.get((session.user, session.purpose, name)) for name in names}
            before = self._views.get((session.user, session.purpose, purposes))
        if before is not None and _made_of(before, names, known):
            return before
        futures = {name: self._pool.submit(self._list, session, name) for name, fresh in known.items() if fresh is None}
        departments, down = [], {}
        for name in names:
            state, found = futures[name].result() if name in futures else ("up", known[name])
            if isinstance(found, CityError):
                down[name] = found
            if not isinstance(found, RelationList):
                found = RelationList(department=name, title=names[name])
            departments.append(DepartmentView(name, found.title or names[name], state, found))
        view = _assemble(session, purposes, tuple(departments), down)
        with self._lock:
            self._views[session.user, session.purpose, purposes] = view
        return view

    def _list(self, session: Session, department: str) -> tuple[str, RelationList | CityError]:
        key = (session.user, session.purpose, department)
        with self._lock:
            known = self._fresh.get(key)
            if known is not None:
                return "up", known
            failed = self._down.get(key)
            last = self._last.get(key)
        asked = failed is None
        if asked:
            try:
                found = self._asked.get(key, lambda: self._fetch(session, department))
            except DepartmentError as error:
                failed = error
            except CityError as refused:
                if refused.who == "gateway":
                    raise
                # The agent refuses this user: an empty list, as if nothing existed there. That it lets this
                # gateway not in, or not with such a token, says nothing of what exists.
                failed = refused if refused.outcome is Outcome.AUTH else None
                found = RelationList(department=department)
        with self._lock:
            if failed is not None:
                if asked:  # to note it again at each question would keep a busy department down for ever
                    self._down[key] = failed
                return ("stale", _stale(last)) if last is not None else ("down", failed)
            self._fresh[key] = self._last[key] = found
        return "up", found

    def forget(self, department: str | None = None) -> None:
        """Drop fresh lists: of one department, or of all."""
        with self._lock:
            for key in [k for k in self._fresh if department in (None, k[2])]:
                self._fresh.pop(key, None)
            for key in [k for k in self._down if department in (None, k[2])]:
                self._down.pop(key, None)


def _made_of(view: UserView, names: dict[str, str], fresh: Mapping[str, RelationList | None]) -> bool:
    """Whether a view is what these lists, all of them fresh, would give again."""
    return len(view.departments) == len(names) and all(
        d.name == name and d.state == "up" and d.relations is fresh[name] and d.title == (d.relations.title or title)
        for d, (name, title) in zip(view.departments, names.items(), strict=True)
    )


def _stale(known: RelationList) -> RelationList:
    return known.model_copy(update={"relations": tuple(r.model_copy(update={"stale": True}) for r in known.relations)})


def _assemble(
    session: Session,
    purposes: tuple[str, ...],
    departments: tuple[DepartmentView, ...],
    down: dict[str, CityError],
) -> UserView:
    relations = {r.full_name: r for d in departments for r in d.relations.relations}
    others = {
        RelationName(d.name, "main", table): found
        for d in departments
        for table, found in d.relations.other_purposes.items()
    }
    city = {
        name: table
        for name, table in city_tables().items()
        if all(needed in relations or needed.catalog in down for needed in table.relations)
    }
    shown = dict(relations)
    for name, table in city.items():
        if not any(needed.catalog in down for needed in table.relations):
            shown[name] = _city_relation(name, table, relations, session.purpose)
    return UserView(session.user, session.purpose, purposes, departments, shown, city, others, down)


def _city_relation(
    name: RelationName, table: CityTable, relations: dict[RelationName, Relation], purpose: str
) -> Relation:
    modes = [relations[n].mode for n in table.relations]
    return Relation(
        catalog=name.catalog,
        schema_name=name.schema,
        name=name.table,
        mode=min((m for m in modes if m in (Mode.schema, Mode.synthetic)), default=Mode.masked),
        columns=tuple(Column(name=c.name, type=c.type, unit=c.unit, comment=c.comment) for c in table.columns),
        purpose=purpose,
        comment=table.comment,
        filtered=any(relations[n].filtered for n in table.relations),
        source_kind="city",
        stale=any(relations[n].stale for n in table.relations),
    )
