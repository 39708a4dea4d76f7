"""What the questions of a plan delivered when it ran: the next plan of the same statement need not guess it.

    1  plan: lines of September are guessed to be 1,500,000: their parts are read whole
       ran: 75,983 lines
    2  plan, made again: their parts wait for the keys of the lines

It is kept with the plan (`cache`): of one user, for one purpose, as long as the lists of relations are the same. It
holds numbers of rows that this user was given. No answer depends on it: it takes the place of guesses (`size`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from gateway.plan import FragmentPlan, Plan

__all__ = ["AGAIN", "Learned"]

AGAIN = 3
"""Times that one statement is planned again, at most: what it delivers may differ with its values."""
FACTOR = 2
FEW = 1_000
"""By as many rows a guess must be wrong, and by `FACTOR`, or nothing is gained by another plan."""


class Learned:
    """Rows by the text of the question, asked without keys. Safe for use from several threads."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._questions: dict[str, FragmentPlan] = {}
        self._left = AGAIN
        self._failed = self._planned_without = False
        self._lock = threading.Lock()

    @property
    def rows(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._rows)

    def of(self, plan: Plan) -> Plan:
        """The plan, which tells here what its questions deliver; without what was tried in vain."""
        with self._lock:
            self._planned_without = self._failed
            plan = replace(plan, first=None, keyed=None) if self._failed else plan
            self._questions = {f.id: f for f in plan.questions if f.keys is None}
        tried = {
            "first": replace(plan.first, plan=replace(plan.first.plan, learned=self)) if plan.first else None,
            "keyed": replace(plan.keyed, learned=self) if plan.keyed is not None else None,
        }
        return replace(plan, learned=self, **tried)  # type: ignore[arg-type]

    def tell(self, plan: Plan, rows: Mapping[str, int]) -> None:
        """rows: by the id of a fragment of the plan whose whole answer was read."""
        without_keys = {f.id for f in plan.fragments if f.keys is None}
        with self._lock:
            for name in without_keys & rows.keys() & self._questions.keys():
                self._rows[self._questions[name].sql] = rows[name]

    def in_vain(self) -> None:
        """What was tried first had to be given up: keys that are none (`asking.NoKeys`), too few of the first rows."""
        with self._lock:
            self._failed = True

    def corrects(self) -> bool:
        """Whether another plan is worth making; it counts as made."""
        with self._lock:
            if self._failed is not self._planned_without:
                self._planned_without = self._failed
                return True
            if not self._left or not any(map(self._is_wrong, self._questions.values())):
                return False
            self._left -= 1
            return True

    def _is_wrong(self, question: FragmentPlan) -> bool:
        rows, expected = self._rows.get(question.sql), question.expected
        if rows is None or expected is None:
            return False
        return abs(rows - expected) > FEW and max(rows, expected) > FACTOR * min(rows, expected)
