"""Plans of statements that were asked before: a dashboard's question is parsed and planned once.

Questions that differ only in values that they compare with share one plan (`template`).
A plan is the same as long as its text, its user, purpose and defaults for names, and every list of relations that
it was made from are the same. It holds no data: texts and names only, as the user wrote them, in memory, for
that user alone; how many rows its questions delivered is kept with it (`learn`). Agents decide anew each time; a plan
that a changed policy overtook is refused there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from cachetools import TTLCache

from catalog.duck import as_shown_in
from catalog.errors import CityError
from gateway.catalogue import DepartmentView, UserView
from gateway.execution import Session
from gateway.plan import Plan
from gateway.plan.learn import Learned
from gateway.plan.template import Lifted, Template, Torn, lift

__all__ = ["PlanCache"]

KEPT = 512
KEPT_SECONDS = 900
LONG = 8192
"""Longer statements are no dashboard's, and their plans are large."""
BLANKS = " \t\r\n"
"""What may stand around a statement. Any other blank is looked at, and refused (`catalog.duck`)."""


Known = tuple[tuple[DepartmentView, ...], Plan | Template, Learned]
Make = Callable[[str, Mapping[str, int]], Plan]
"""Plans a text. The rows of its questions, by their text, as far as they are known."""


class PlanCache:
    """The plans of this gateway. Safe for use from several threads."""

    def __init__(self) -> None:
        self._known: TTLCache[tuple[str, ...], Known] = TTLCache(KEPT, KEPT_SECONDS)
        self._lock = threading.Lock()

    def get(self, sql: str, session: Session, view: UserView, make: Make) -> Plan:
        """The statement's plan; made by `make` unless one is known that fits. Raises what `make` raises.

        Blanks around it do not count: EXPLAIN leaves them in its own place, so that errors name the right one.
        """
        text = sql.strip(BLANKS)
        if len(text) > LONG:
            return make(sql, {})
        lifted = None if _reads_the_moment(sql, session) else lift(sql)
        if lifted is not None:
            try:
                pattern = lifted.pattern.strip(BLANKS)
                template = self._get(("lifted", pattern), session, view, partial(_template, make, lifted))
            except CityError:
                template = None  # below it is refused in the right words, and names the right place
            if isinstance(template, Template):
                return template.fill(lifted.values)
        found = self._get(("whole", text), session, view, lambda learned: learned.of(make(sql, learned.rows)))
        assert isinstance(found, Plan)
        return found

    def _get(
        self, text: tuple[str, str], session: Session, view: UserView, make: Callable[[Learned], Plan | Template]
    ) -> Plan | Template:
        # A plan has the day in it, where its statement reads that.
        day = as_shown_in(datetime.now(UTC), session.time_zone).date().isoformat()
        place = (session.catalog, session.schema, session.time_zone, day)
        key = (*text, view.user, view.purpose, *place, *sorted(view.down))
        with self._lock:
            lists, known, learned = self._known.get(key, ((), None, Learned()))
        if known is None or not _alike(lists, view.departments):
            learned = Learned()
        elif not learned.corrects():
            return known
        made = make(learned)
        # A listing of the moment (running queries, tables of metadata) lies in the plan itself.
        if isinstance(made, Template) or not made.local:
            with self._lock:
                self._known[key] = (view.departments, made, learned)
        return made


def _template(make: Make, lifted: Lifted, learned: Learned) -> Plan | Template:
    plan = learned.of(make(lifted.text, learned.rows))
    try:
        return plan if plan.local else Template(plan, lifted)
    except Torn:
        return plan


def _reads_the_moment(sql: str, session: Session) -> bool:
    """Whether a statement may read tables of the gateway's own, whose rows lie in the plan."""
    words = f"{sql} {session.catalog} {session.schema}".lower()
    return "system" in words or "information_schema" in words


def _alike(before: tuple[DepartmentView, ...], now: tuple[DepartmentView, ...]) -> bool:
    return before is now or (
        len(before) == len(now) and all(a is b or a == b for a, b in zip(before, now, strict=True))
    )
