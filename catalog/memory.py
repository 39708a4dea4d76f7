"""What a process holds in memory: it stays there when the process crashes, is not searched for garbage in vain, and
goes back to the system when nobody needs it.

A dump would hold values, tokens and keys, readable for whoever may read the file, long after all of them ended.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["forbid_dumps", "give_back", "settled", "trim"]

M_ARENA_MAX, HEAPS = -8, 2
"""`mallopt` of glibc."""
YOUNG = 10_000
"""Objects made before the collector looks at them; 700 by default, which one question makes many times."""


def forbid_dumps() -> None:
    """From now on neither this process nor its children leave a core file. Without effect where there are none."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def give_back() -> None:
    """From now on the system's allocator keeps two heaps for all threads together.

    By default each of many threads has one, which keeps most of what was ever in it: twice as much in a gateway that
    many read.
    """
    limit = _glibc("mallopt")
    if limit is not None:
        limit(M_ARENA_MAX, HEAPS)


def trim() -> None:
    """Give the system back what is free between what is not: batches and pages come and go in all sizes. To be called
    now and then, not often: pages that are wanted again cost as much as new ones."""
    give = _glibc("malloc_trim")
    if give is not None:
        give(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of the system's allocator, where it has such a one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


@contextmanager
def settled() -> Iterator[None]:
    """Meanwhile what lives already is not looked at by the garbage collector, and what is new more rarely.

    For servers once all is loaded, some 160,000 objects: 4 % of a gateway's and 7 % of an agent's processor time
    over small questions.
    """
    threshold = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()  # or what is left at the end is told as a leak
