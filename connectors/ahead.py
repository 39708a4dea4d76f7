"""What another thread reads meanwhile: a few results ahead of who takes them.

The taker polls, so that a silo that stalls cannot make a cancelled fragment wait.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

from connectors.base import Cancel
from connectors.hands import Hands

__all__ = ["Ahead"]

AHEAD = 4
POLL = 0.05
CLOSE_SECONDS = 2.0
T = TypeVar("T")
_hands = Hands()


class Ahead(Generic[T]):
    """The results of `read`, which runs in a thread of its own from now on, at most AHEAD before the taker.

    read: gets a Cancel of its own, set by `close` and by `cancel`. What it raises is raised to the taker.
    """

    def __init__(self, read: Callable[[Cancel], Generator[T]], cancel: Cancel) -> None:
        self._items = queue.SimpleQueue[tuple[T] | BaseException | None]()
        self._room = queue.SimpleQueue[None]()  # a queue that is bounded costs several times as much
        for _ in range(AHEAD):
            self._room.put(None)
        self._cancel = Cancel()
        self._ended = threading.Event()
        cancel.on_cancel(self._cancel.set)
        _hands.run(lambda: self._fill(read))

    def _fill(self, read: Callable[[Cancel], Generator[T]]) -> None:
        last: BaseException | None = None
        try:
            with closing(read(self._cancel)) as results:
                for result in results:
                    if not self._put((result,)):
                        break
        except BaseException as bad:  # noqa: BLE001 - handed to the taker, who raises it
            last = bad
        self._put(last)
        self._ended.set()

    def _put(self, item: tuple[T] | BaseException | None) -> bool:
        while not self._cancel.is_set():
            try:
                self._room.get(timeout=POLL)
            except queue.Empty:
                continue
            self._items.put(item)
            return True
        return False

    def ready(self) -> Iterator[T]:
        """What has come so far."""
        while not self._items.empty() and (found := self._next()) is not None:
            yield found[0]

    def rest(self) -> Iterator[T]:
        """All that is left; waits for it. Raises Cancelled."""
        while (found := self._next()) is not None:
            yield found[0]

    def _next(self) -> tuple[T] | None:
        while True:
            self._cancel.check()
            try:
                item = self._items.get(timeout=POLL)
            except queue.Empty:
                continue
            self._room.put(None)
            if item is None:
                self._items.put(None)  # who asks again hears the same
                return None
            if isinstance(item, BaseException):
                raise item
            return item

    @property
    def is_ended(self) -> bool:
        """Whether all has been read; up to AHEAD results may be left to take."""
        return self._ended.is_set()

    def close(self) -> None:
        """End the reading. Waits for its end, but not for a silo that does not answer."""
        self._cancel.set()
        self._ended.wait(CLOSE_SECONDS)
