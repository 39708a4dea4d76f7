"""What a process holds in memory: it stays there when the process crashes, is not searched for garbage in vain, and
goes back to the system when nobody needs it.

A dump would hold values, tokens and keys, readable for whoever may read the file, long after all of them ended.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

__all__ = ["forbid_dumps", "give_back", "settled"]

YOUNG = 10_000
"""Objects made before the collector looks at them; 700 by default, which one question makes many times."""


def forbid_dumps() -> None:
    """From now on neither this process nor its children leave a core file. Without effect where there are none."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def give_back() -> None:
    """From now on Arrow takes its memory from the system, and frees it there.

    Its own allocator keeps what one thread freed for another: a third of a gateway's memory when many read. It is no
    faster here.
    """
    pa.set_memory_pool(pa.system_memory_pool())


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
