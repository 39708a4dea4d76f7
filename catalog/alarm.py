"""Calls that come after a while unless they are cancelled first, as nearly all of them are.

    alarm = after(seconds, stop)
    alarm.cancel()

One thread waits for all of a process: one of its own for each, as `threading.Timer` has, costs a small question more
than its limit is worth. A call that comes has a thread of its own, so that none holds up another.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

__all__ = ["Alarm", "after"]

KEPT = 256
"""Cancelled ones that are forgotten only when their time comes, at most as many again as others."""


class Alarm:
    """One call that is to come."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """It does not come any more; harmless when it has come."""
        self._call = None

    @property
    def is_off(self) -> bool:
        return self._call is None

    def _ring(self) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        try:
            threading.Thread(target=call, name="alarm", daemon=True).start()
        except RuntimeError:  # no thread can be had: then this one does it, late rather than never
            call()


class _Clock:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._most = KEPT
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, call: Callable[[], object]) -> Alarm:
        alarm, when = Alarm(call), time.monotonic() + seconds
        with self._changed:
            if len(self._due) > self._most:
                self._due = [entry for entry in self._due if not entry[2].is_off]
                heapq.heapify(self._due)
                self._most = 2 * len(self._due) + KEPT
            heapq.heappush(self._due, (when, next(self._numbers), alarm))
            if self._due[0][2] is alarm:
                self._changed.notify()
            if self._thread is None or not self._thread.is_alive():  # the first one, also of a forked process
                self._thread = threading.Thread(target=self._watch, name="alarms", daemon=True)
                self._thread.start()
        return alarm

    def _watch(self) -> None:
        while True:
            with self._changed:
                left = self._due[0][0] - time.monotonic() if self._due else None
                if left is None or left > 0:
                    self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
                    continue
                alarm = heapq.heappop(self._due)[2]
            alarm._ring()


_clock = _Clock()


def after(seconds: float, call: Callable[[], object]) -> Alarm:
    """Call it in so many seconds."""
    return _clock.after(seconds, call)
