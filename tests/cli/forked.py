"""Processes of the `atoll` command that are forked from one which has imported it: the same, a second sooner.

Each run is a process of its own with its own folder, environment and files for the three streams, as from a
shell. What needs a terminal, a signal or a pipe that closes starts `python -m atoll.cli` itself.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from atoll.cli import main

__all__ = ["Finished", "run_forked"]

SECONDS = 60.0
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["atoll.cli", "atoll.commands.client", "connectors.agent.serve", "typer._adapters"])


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
        numbers = tuple(f"/proc/{os.getpid()}/fd/{f.fileno()}" for f in (streams_in, out, err))
        process = _CONTEXT.Process(target=_atoll, args=(arguments, str(folder), env, numbers))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"atoll {' '.join(arguments)} does not end")
        out.seek(0)
        err.seek(0)
        return Finished(process.exitcode, out.read(), err.read())


def _atoll(arguments: list[str], folder: str, env: dict[str, str], streams: tuple[str, str, str]) -> None:
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - they live as long as we
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["atoll", *arguments]
    main()
