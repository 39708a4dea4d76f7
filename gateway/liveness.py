"""Is a department's agent still there? Asked only when one of its answers is silent for too long.

A busy agent may need minutes for its first row; a frozen or lost one must not hold a statement for more
than a few seconds. Silence alone can't tell them apart, a short question to `/healthz` can.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from catalog.errors import CityError
from catalog.http import Client, HTTPError, Timeout

__all__ = ["Liveness"]

PING_SECONDS = 1.5
KEPT_SECONDS = 1.0
FAILURES = 2


class Liveness:
    """Remembers, for a second, whether each agent answered; two silent pings in a row mean it is gone."""

    def __init__(self, way: Callable[[str], tuple[Client, str]]) -> None:
        """way: department -> the client that reaches its agent, and the agent's base URL."""
        self._way = way
        self._locks: dict[str, threading.Lock] = {}
        self._asked: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._guard = threading.Lock()

    def is_gone(self, department: str) -> bool:
        """Ask the agent unless somebody did within the last second. Takes at most PING_SECONDS."""
        with self._guard:
            lock = self._locks.setdefault(department, threading.Lock())
        with lock:
            if time.monotonic() - self._asked.get(department, 0.0) >= KEPT_SECONDS:
                self._failures[department] = 0 if self._ping(department) else self._failures.get(department, 0) + 1
                self._asked[department] = time.monotonic()
            return self._failures[department] >= FAILURES

    def suspect(self, department: str) -> None:
        """Note that the agent let another question time out: the next silent ping suffices."""
        with self._guard:
            self._failures[department] = max(self._failures.get(department, 0), FAILURES - 1)

    def _ping(self, department: str) -> bool:
        try:
            http, url = self._way(department)
            with http.stream("GET", f"{url}/healthz", timeout=Timeout(PING_SECONDS)) as answer:
                return bool(answer.status_code == 200)
        except (HTTPError, CityError):
            return False
