"""A small pool of kept connections: bounded, cancellable while waiting, and honest about broken ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Generic, TypeVar

from connectors.base import Cancel, SourceError

__all__ = ["Lease", "Pool"]

T = TypeVar("T")
R = TypeVar("R")
_POLL = 0.05


class Lease(Generic[T]):
    """A borrowed connection. `fresh`: it was opened just now. Set `broken` to have it closed on return."""

    def __init__(self, connection: T, fresh: bool) -> None:
        self.connection = connection
        self.fresh = fresh
        self.broken = False


class Pool(Generic[T]):
    """At most `size` connections, opened by `connect` when needed, closed by `disconnect`.

    alive: whether a connection on which something failed still works. wait: seconds a borrower waits for a
    free place before it is refused with SourceError.
    """

    def __init__(
        self,
        connect: Callable[[], T],
        disconnect: Callable[[T], None],
        size: int,
        *,
        alive: Callable[[T], bool] = lambda _connection: True,
        wait: float = 30.0,
    ) -> None:
        self._connect = connect
        self._disconnect = disconnect
        self._alive = alive
        self._wait = wait
        self._places = threading.Semaphore(size)
        self._waiting = 0
        self._lock = threading.Lock()
        self._free: list[T] = []
        self._closed = False

    @contextmanager
    def lease(self, cancel: Cancel | None = None) -> Iterator[Lease[T]]:
        """Borrow a connection; waits for a place. Raises SourceError when none gets free, Cancelled."""
        self._take_place(cancel)
        try:
            with self._lending(self._lent()) as lease:
                yield lease
        finally:
            self._places.release()

    @contextmanager
    def spare(self) -> Iterator[Lease[T] | None]:
        """Borrow a connection if there is a place for one now, another one for who comes next, and it can be had."""
        places = [self._places.acquire(blocking=False) for _ in range(2)]
        for _ in range(places.count(True) - all(places)):
            self._places.release()
        if not all(places):
            yield None
            return
        try:
            try:
                lent = self._lent()
            except SourceError:
                yield None
                return
            with self._lending(lent) as lease:
                yield lease
        finally:
            self._places.release()

    @property
    def is_awaited(self) -> bool:
        """Whether someone waits for a place."""
        return self._waiting > 0

    @contextmanager
    def _lending(self, lease: Lease[T]) -> Iterator[Lease[T]]:
        try:
            yield lease
        finally:
            self._give_back(lease)

    def _lent(self) -> Lease[T]:
        found = self._take_free()
        return Lease(self._connect(), fresh=True) if found is None else Lease(found, fresh=False)

    def stream(self, cancel: Cancel, work: Callable[[Lease[T]], Generator[R]]) -> Generator[R]:
        """What `work` yields on a borrowed connection.

        A kept connection may have died with its server. If `work` fails on one before its first result, and
        the connection turns out dead, all kept ones are closed and `work` starts once more on a new one.
        """
        with self.lease(cancel) as lease, closing(work(lease)) as results:
            try:
                first = next(results, None)
            except SourceError:
                if lease.fresh or cancel.is_set() or self._alive(lease.connection):
                    raise
                lease.broken = True
            else:
                if first is not None:
                    yield first
                    yield from results
                return
        self.drop_free()
        with self.lease(cancel) as lease, closing(work(lease)) as results:
            yield from results

    def close(self) -> None:
        """Close the free connections now, borrowed ones when they come back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for connection in free:
            self._disconnect(connection)

    def drop_free(self) -> None:
        """Close the free connections: the server they belong to went away."""
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            self._disconnect(connection)

    def _take_place(self, cancel: Cancel | None) -> None:
        if self._places.acquire(blocking=False):
            return
        end = time.monotonic() + self._wait
        self._await(1)
        try:
            while not self._places.acquire(timeout=_POLL):
                if cancel is not None:
                    cancel.check()
                if time.monotonic() > end:
                    raise SourceError("no connection to the source got free in time")
        finally:
            self._await(-1)

    def _await(self, more: int) -> None:
        with self._lock:
            self._waiting += more

    def _take_free(self) -> T | None:
        with self._lock:
            if self._closed:
                raise SourceError("the source is closed")
            return self._free.pop() if self._free else None

    def _give_back(self, lease: Lease[T]) -> None:
        with self._lock:
            keep = not (self._closed or lease.broken)
            if keep:
                self._free.append(lease.connection)
        if not keep:
            self._disconnect(lease.connection)
