"""The city's processes: started with a log each, watched, waited for by condition, and all stopped.

Nothing outlives the launcher: children lead sessions of their own (so that Ctrl-C reaches the launcher
alone, which then stops them in order), and on Linux the kernel kills them if the launcher is killed.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from atoll.demo.ahead import Forked
from atoll.demo.signals import ENDS, begin, signals_held
from catalog.http import Client, HTTPError

__all__ = ["Ended", "Failed", "Process", "Processes", "ending", "free_port", "wait_until"]

START_SECONDS = 60.0
STOP_SECONDS = 8.0
_POLL = 0.05
_PORTS = range(18_000, 32_000)
_turn = itertools.count(secrets.randbelow(len(_PORTS)))


class Failed(Exception):
    """The city cannot start; the text says what to do."""


class Ended(BaseException):
    """A signal asked the launcher to stop."""


class Ending:
    """Whether a signal came. The handler's exception may be raised where Python drops it; this stays."""

    def __init__(self) -> None:
        self._came = False

    def watch(self) -> None:
        """From now on a signal raises Ended in the main thread."""
        for number in ENDS:
            signal.signal(number, self._end)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True
        raise Ended

    def check(self) -> None:
        """Raise Ended if a signal came."""
        if self._came:
            raise Ended


ending = Ending()


@dataclass
class Process:
    """One running part of the city."""

    name: str
    popen: subprocess.Popen[bytes] | Forked
    log: Path
    stopper: signal.Signals = signal.SIGTERM
    reported: bool = False

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None


@dataclass
class Processes:
    """All of them, in the order of their start. ahead: those that wait to be told what to run."""

    logs: Path
    running: list[Process] = field(default_factory=list)
    ahead: list[Forked] = field(default_factory=list)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        user: str = "",
        folder: Path | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> Process:
        """Start a command with its output in `logs/NAME.log`.

        user: another one to run as, root only. stop: the signal by which it ends in order.
        """
        log = self._log(name)
        identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        with log.open("ab") as sink, signals_held() as mask:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=folder,
                start_new_session=True,
                preexec_fn=partial(begin, os.getpid(), mask),
                **identity,
            )
            process = Process(name, popen, log, stop)
            self.running.append(process)
        return process

    def run(self, name: str, module: str, *arguments: str) -> Process:
        """Start `python -m module arguments`; a process that was forked ahead takes it, while there is one."""
        if not self.ahead:
            return self.start(name, [sys.executable, "-m", module, *arguments])
        child, log = self.ahead.pop(), self._log(name)
        process = Process(name, child, log)
        self.running.append(process)
        child.run(module, arguments, log)
        return process

    def _log(self, name: str) -> Path:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self.logs / f"{name}.log"

    def died(self) -> list[Process]:
        """Those that ended on their own and were not reported yet."""
        found = [p for p in self.running if not p.alive and not p.reported]
        for process in found:
            process.reported = True
        return found

    def stop(self) -> None:
        """Stop all, the last first; those that do not listen within seconds are killed."""
        self.running += [Process("waiting", child, self.logs) for child in self.ahead]
        self.ahead.clear()
        for process in reversed(self.running):
            _signal(process, process.stopper)
        deadline = time.monotonic() + STOP_SECONDS
        for process in reversed(self.running):
            try:
                process.popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.popen.wait()
        self.running.clear()


def _signal(process: Process, number: signal.Signals) -> None:
    """Signal a process's whole session: its own children go with it."""
    if process.alive:
        try:
            os.killpg(process.popen.pid, number)
        except ProcessLookupError:
            return


def free_port(taken: set[int]) -> int:
    """A free port of loopback that is not in `taken`, which it joins.

    Not one of those that systems give to outgoing connections: before anybody listens there it may be one's own. In
    turn from anywhere, so that two launchers at once do not choose the same.
    """
    for _ in _PORTS:
        port = _PORTS[next(_turn) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in taken:
            taken.add(port)
            return port
    raise Failed(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free")


def wait_until(process: Process, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Wait for a condition. Raises Failed, naming the log, if the process ends or time runs out."""
    deadline = time.monotonic() + seconds
    while not ready():
        ending.check()
        if not process.alive:
            raise Failed(f"{process.name} stopped while starting; the reason is in {process.log}")
        if time.monotonic() > deadline:
            raise Failed(f"{process.name} did not start within {seconds:.0f} s; see {process.log}")
        time.sleep(_POLL)


def answers(http: Client, url: str) -> bool:
    """Whether a health address answers 200."""
    try:
        return http.get(url).status_code == 200
    except HTTPError:
        return False
