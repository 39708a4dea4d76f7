"""Threads that wait for work: starting one takes longer than many a scan does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Hands"]

IDLE = 16
"""At most so many wait; more of them end with their work."""

Work = Callable[[], None]


class Hands:
    """Runs each piece of work in a thread of its own, one that is free if there is one. Thread-safe.

    Work tells of its own failures. Threads are daemons: work that a silo keeps from ending holds up no process's end.
    """

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)  # a child has none of its parent's threads

    def _forget(self) -> None:
        self._idle: list[SimpleQueue[Work]] = []
        self._lock = threading.Lock()

    def run(self, work: Work) -> None:
        """Begin now; never waits."""
        with self._lock:
            door = self._idle.pop() if self._idle else None
        if door is None:
            door = SimpleQueue()
            threading.Thread(target=self._serve, args=(door,), name="atoll-hand", daemon=True).start()
        door.put(work)

    def _serve(self, door: SimpleQueue[Work]) -> None:
        while True:
            door.get()()  # nothing here keeps what the work held
            with self._lock:
                if len(self._idle) >= IDLE:
                    return
                self._idle.append(door)
