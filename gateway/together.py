"""What several threads want at the same moment is fetched once, for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Together"]

T = TypeVar("T")


class Together(Generic[T]):
    """When a crowd comes at once, what it needs and nobody has yet would be asked for as many times: whoever is asked
    then takes long, and counts as silent."""

    def __init__(self) -> None:
        self._coming: dict[Hashable, Future[T]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, fetch: Callable[[], T]) -> T:
        """The result of `fetch`, or of another thread's for the same key that is under way. Raises what that raises."""
        with self._lock:
            coming = self._coming.get(key)
            mine = coming is None
            if coming is None:
                coming = self._coming[key] = Future()
        if mine:
            try:
                coming.set_result(fetch())
            except BaseException as error:
                coming.set_exception(error)
                raise
            finally:
                with self._lock:
                    del self._coming[key]
        return coming.result()
