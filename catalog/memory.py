"""What a process holds in memory stays there: no dump of it on disk when it crashes.

A dump would hold values, tokens and keys, readable for whoever may read the file, long after all of them ended.
"""

from __future__ import annotations

import sys

__all__ = ["forbid_dumps"]


def forbid_dumps() -> None:
    """From now on neither this process nor its children leave a core file. Without effect where there are none."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
