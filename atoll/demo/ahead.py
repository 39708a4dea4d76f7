"""Processes forked ahead of their work: what they import is paid once for the whole city, not once for each.

    waiting = fork_ahead(modules, 9)
    waiting.pop().run("connectors.agent.serve", ["department.yaml"], log)   # as `python -m` would

The launcher forks them before it has threads of its own or secrets. Each leads a session of its own and waits
with no file open but its orders, until it is told what to be: then it is that program, and no other's memory
reaches it any more. Linux only; elsewhere a fork of what has loaded so many libraries is not safe, and none is made.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import orjson

from atoll.demo.signals import ENDS, begin, signals_held
from catalog.imports import do_without

__all__ = ["Forked", "fork_ahead"]

_POLL = 0.05
_ORDER = 1 << 16


class Forked:
    """A child that was forked ahead, with what the city needs of `subprocess.Popen`."""

    def __init__(self, pid: int, orders: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._orders = orders

    def run(self, module: str, arguments: Sequence[str], log: Path) -> None:
        """Have it run `module.main(arguments)`, with its output at the end of `log`."""
        order = orjson.dumps({"module": module, "arguments": list(arguments), "log": str(log)})
        with self._orders, suppress(BrokenPipeError):  # that it has died is seen as it is of any other
            self._orders.sendall(order)

    def poll(self) -> int | None:
        """Its exit status, None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status at its end. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("", timeout or 0)
            time.sleep(_POLL)
        return status


def fork_ahead(modules: Sequence[str], count: int) -> list[Forked]:
    """Import the modules and fork so many processes that wait for orders; none where a fork is not safe."""
    if sys.platform != "linux":
        return []
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page that it shares
    try:
        return [_fork() for _ in range(count)]
    finally:
        gc.unfreeze()


def _fork() -> Forked:
    mine, theirs = socket.socketpair()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    with theirs, signals_held() as mask:
        pid = os.fork()
        if pid == 0:
            _live(theirs, parent, mask)
    return Forked(pid, mine)


def _live(orders: socket.socket, parent: int, mask: set[signal.Signals]) -> NoReturn:
    """The forked process. It never returns into the launcher's code."""
    code = 1
    try:
        os.setsid()
        for number in ENDS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        begin(parent, mask)
        os.closerange(3, orders.fileno())
        os.closerange(orders.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        with orders:
            order = orders.recv(_ORDER)
        code = _obey(orjson.loads(order)) if order else 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _obey(order: dict[str, Any]) -> int:
    """Be the program that is ordered, to its end."""
    with open(os.devnull, "rb") as nothing, open(order["log"], "ab") as sink:
        for number, file in enumerate((nothing, sink, sink)):
            os.dup2(file.fileno(), number)
    do_without("pandas")
    return import_module(order["module"]).main(order["arguments"]) or 0
