"""What a process of the city does about signals, and about the end of its parent. It imports next to nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ENDS", "begin", "end_with", "signals_held"]

ENDS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""What ends the demo."""
_PR_SET_PDEATHSIG = 1


@contextmanager
def signals_held() -> Iterator[set[signal.Signals]]:
    """Hold the signals that end the demo: one between fork and note would leave a child that nobody stops.

    Gives the mask that was in force before.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        yield {signal.Signals(number) for number in mask}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, however that ends. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def begin(parent: int, mask: set[signal.Signals]) -> None:
    """In the child, before the command: the signals as they were, and no life without the launcher."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    end_with(parent)
