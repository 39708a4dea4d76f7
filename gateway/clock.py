"""Where a statement's time goes: at each moment its thread is at one thing, so that all of them add up to the whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Clock"]


class Clock:
    """Used by the thread that is at work on the statement, one at a time. Seconds throughout."""

    def __init__(self, doing: str) -> None:
        """doing: what the time goes to from now on."""
        self._doing = doing
        self._begun = self._since = time.perf_counter()
        self._spent: dict[str, float] = {}
        self._stopped = False

    def turn_to(self, doing: str) -> None:
        """From now on the time goes to something else."""
        now = time.perf_counter()
        if not self._stopped:
            self._spent[self._doing] = self._spent.get(self._doing, 0.0) + now - self._since
        self._doing, self._since = doing, now

    @contextmanager
    def at(self, doing: str) -> Iterator[None]:
        """Meanwhile the time goes to something else."""
        before = self._doing
        self.turn_to(doing)
        try:
            yield
        finally:
            self.turn_to(before)

    def stop(self) -> float:
        """The statement has ended. Returns how long it took: exactly what was spent, however late its end is told."""
        self.turn_to("")
        self._stopped = True
        return sum(self._spent.values())

    @property
    def elapsed(self) -> float:
        """Since the statement came."""
        return time.perf_counter() - self._begun

    @property
    def spent(self) -> dict[str, float]:
        """What the time went to so far, in the order in which it was first turned to."""
        return dict(self._spent)
