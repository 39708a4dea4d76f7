"""Plans of statements that were asked before: a dashboard's question is parsed and planned once.

A plan is the same as long as its text, its user, purpose and defaults for names, and every list of relations that
it was made from are the same. It holds no data: texts and names only, as the user wrote them, in memory, for
that user alone. Agents decide anew each time; a plan that a changed policy overtook is refused there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from cachetools import TTLCache

from gateway.catalogue import DepartmentView, UserView
from gateway.execution import Session
from gateway.plan import Plan

__all__ = ["PlanCache"]

KEPT = 512
KEPT_SECONDS = 900
LONG = 8192
"""Longer statements are no dashboard's, and their plans are large."""


class PlanCache:
    """The plans of this gateway. Safe for use from several threads."""

    def __init__(self) -> None:
        self._known: TTLCache[tuple[str, ...], tuple[tuple[DepartmentView, ...], Plan]] = TTLCache(KEPT, KEPT_SECONDS)
        self._lock = threading.Lock()

    def get(self, sql: str, session: Session, view: UserView, make: Callable[[], Plan]) -> Plan:
        """The statement's plan; made by `make` unless an equal one is known. Raises what `make` raises."""
        if len(sql) > LONG:
            return make()
        key = (sql, view.user, view.purpose, session.catalog, session.schema, session.time_zone, *sorted(view.down))
        with self._lock:
            lists, plan = self._known.get(key, ((), None))
        if plan is not None and _alike(lists, view.departments):
            return plan
        plan = make()
        # A listing of the moment (running queries, tables of metadata) lies in the plan itself.
        if not plan.local:
            with self._lock:
                self._known[key] = (view.departments, plan)
        return plan


def _alike(before: tuple[DepartmentView, ...], now: tuple[DepartmentView, ...]) -> bool:
    return before is now or (
        len(before) == len(now) and all(a is b or a == b for a, b in zip(before, now, strict=True))
    )
