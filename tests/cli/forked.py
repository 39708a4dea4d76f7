"""Processes of the `atoll` command that are forked from one which has imported it: the same, a second sooner.

Each run is a process of its own with its own folder, environment and streams, as from a shell.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from atoll.cli import main

__all__ = ["Finished", "forked_atoll", "run_forked"]

SECONDS = 60.0
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["atoll.cli", "atoll.commands.client", "connectors.agent.serve", "httpcore", "typer._adapters", "typer.rich_utils"]
)
_ONE_AT_A_TIME = threading.Lock()
"""Each start also asks which earlier processes have ended, and an exit status can be read only once."""


class Finished(NamedTuple):
    """status: the exit status; out, err: what went to the two streams."""

    status: int
    out: bytes
    err: bytes


def run_forked(arguments: list[str], folder: Path, env: dict[str, str], stdin: bytes = b"") -> Finished:
    """Run `atoll ARGUMENTS` in `folder` with exactly this environment. Raises AssertionError after a minute."""
    with TemporaryFile() as streams_in, TemporaryFile() as out, TemporaryFile() as err:
        streams_in.write(stdin)
        streams_in.seek(0)
        process = _started(arguments, str(folder), env, [f.fileno() for f in (streams_in, out, err)])
        if not wait([process.sentinel], SECONDS):
            process.kill()
            raise AssertionError(f"atoll {' '.join(arguments)} does not end")
        status = _status(process)
        out.seek(0)
        err.seek(0)
        return Finished(status, out.read(), err.read())


def _started(arguments: list[str], folder: str, env: dict[str, str], streams: Sequence[int]) -> BaseProcess:
    """The running command. streams: this process's descriptors of its three; they stay open until it ends."""
    numbers = tuple(f"/proc/{os.getpid()}/fd/{number}" for number in streams)
    process = _CONTEXT.Process(target=_atoll, args=(arguments, folder, env, numbers))
    with _ONE_AT_A_TIME:
        process.start()
    return process


def _status(process: BaseProcess) -> int:
    """The exit status of a process that has ended, as a shell gives it."""
    with _ONE_AT_A_TIME:
        process.join()
    assert process.exitcode is not None
    return process.exitcode if process.exitcode >= 0 else 128 - process.exitcode


_WRITE = os.O_WRONLY | os.O_APPEND
"""Both streams may lead to one file."""


def _atoll(arguments: list[str], folder: str, env: dict[str, str], streams: tuple[str, str, str]) -> None:
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, _WRITE, _WRITE), strict=True)):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - they live as long as we
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["atoll", *arguments]
    main()


# ---------------------------------------------------------------- the same for a shell

LARGEST = 200_000
"""Bytes of arguments and environment that a shell's command may have."""
CALLER = """#!{python} -IS
import os, signal, socket, sys

door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door.connect({door!r})
socket.send_fds(door, [repr((sys.argv[1:], os.getcwd(), dict(os.environ))).encode()], [0, 1, 2])
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: door.send(bytes([number])))
sys.exit(int(door.recv(8)))
"""


@contextmanager
def forked_atoll(folder: Path) -> Iterator[Path]:
    """A new folder for a shell's PATH, in `folder`: `atoll` in it runs forked, and hears SIGINT and SIGTERM."""
    shelf = folder / "bin"
    shelf.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(shelf / "door"))
        door.listen()
        caller = shelf / "atoll"
        caller.write_text(CALLER.format(python=sys.executable, door=str(shelf / "door")))
        caller.chmod(0o755)
        threading.Thread(target=_answer_all, args=(door,), daemon=True).start()
        yield shelf
        door.shutdown(socket.SHUT_RDWR)


def _answer_all(door: socket.socket) -> None:
    while True:
        try:
            caller, _ = door.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(caller,), daemon=True).start()


def _answer(caller: socket.socket) -> None:
    """Run one command for its caller and tell the exit status; a caller that has gone takes it along."""
    with caller:
        message, streams, _, _ = socket.recv_fds(caller, LARGEST, 3)
        try:
            process = _started(*literal_eval(message.decode()), streams)
            while process.sentinel not in wait([process.sentinel, caller]):
                assert process.pid is not None
                with suppress(ProcessLookupError):
                    os.kill(process.pid, (caller.recv(1) or bytes([signal.SIGKILL]))[0])
            status = _status(process)
        finally:
            for number in streams:
                os.close(number)
        caller.send(str(status).encode())
