"""Threads that wait for work: starting one takes longer than many a scan does.

Hands    as many as there is work
Crew     so many, and no more
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

import structlog

__all__ = ["Crew", "Hands"]

IDLE = 16
"""At most so many wait; more of them end with their work."""

Work = Callable[[], None]
_log = structlog.get_logger("atoll.agent")


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


class Crew:
    """So many threads, all of them from the start on; work that finds none free waits its turn. Thread-safe.

    The thread that was free last goes first: what it needs is still at hand. Threads end with the crew.
    """

    def __init__(self, size: int, name: str) -> None:
        """Raises RuntimeError where so many threads cannot be had."""
        self._turns = _Turns([SimpleQueue() for _ in range(size)])
        self.close = weakref.finalize(self, self._turns.end)
        for number, door in enumerate(self._turns.doors):
            threading.Thread(target=self._turns.serve, args=(door,), name=f"{name}_{number}", daemon=True).start()

    def run(self, work: Work) -> None:
        """Begin as soon as a thread is free; never waits. Raises RuntimeError once it is closed."""
        if not self.close.alive:
            raise RuntimeError("the crew has left")
        self._turns.take(work)


class _Turns:
    """Whose turn it is. A thread holds this and not its crew, which would never end otherwise."""

    def __init__(self, doors: list[SimpleQueue[Work | None]]) -> None:
        self.doors = doors
        self._lock = threading.Lock()
        self._idle = list(doors)
        self._waiting = deque[Work]()

    def take(self, work: Work) -> None:
        with self._lock:
            if not self._idle:
                self._waiting.append(work)
                return
            door = self._idle.pop()
        door.put(work)

    def end(self) -> None:
        for door in self.doors:
            door.put(None)

    def serve(self, door: SimpleQueue[Work | None]) -> None:
        while (work := door.get()) is not None:
            while work is not None:
                try:
                    work()
                except BaseException as bad:  # noqa: BLE001 - the place must not go with the work
                    _log.error("work failed", kind=type(bad).__name__, error=str(bad))
                work = self._next(door)

    def _next(self, door: SimpleQueue[Work | None]) -> Work | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(door)
            return None
