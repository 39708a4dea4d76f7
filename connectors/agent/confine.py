"""What the operating system takes away from an engine process. Everything here is one-way.

    isolate()            once, in the seed: no network, no new privileges, no dumps, dies with its parent
    confine(folder, ..)  in each engine: memory, processor time, files, and no path but its own folder

Linux offers all of it, in most set-ups also to users without rights. Where a part is missing (another
system, an old kernel, a container that forbids it) the others still hold; `isolate` and `confine` name what
they could do. Memory, processor time and core files are limited on every Unix.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
from pathlib import Path

__all__ = ["confine", "die_with_parent", "isolate"]

MB = 1 << 20
FILES = 128
CPU_SECONDS = 3600
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> list[str]:
    """Leave the network and the right to gain rights; (names of what worked)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold values
    done = ["no core files"]
    if not _LINUX:
        return done
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        done.append("no new privileges")
    # An empty network namespace; the user namespace lets a user without rights make one.
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        done.append("no network")
    return done


def die_with_parent() -> None:
    """Have this process killed when its parent ends, however that ends."""
    if _LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def confine(folder: Path, memory: int) -> list[str]:
    """Confine this process for good; (names of what worked).

    folder: the only path that stays open to it. memory: bytes of address space beyond what it has now.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    done = []
    if _LINUX:
        # When the machine runs out of memory, engines go before their agent.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        _prctl(_PR_SET_DUMPABLE, 0)
        size = _address_space() + memory
        if _only(folder):
            done.append("no files")
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        done.append("memory")
    return done


def _address_space() -> int:
    """Bytes of address space that this process has mapped."""
    if not _LINUX:
        return 0
    with open("/proc/self/statm", encoding="utf-8") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _prctl(option: int, value: int) -> bool:
    return bool(_libc.prctl(option, value, 0, 0, 0) == 0)


def _only(folder: Path) -> bool:
    """Landlock: no file but those beneath `folder`, no TCP, no signals to others; False if the kernel has none."""
    version = _libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rights = (1 << 13) - 1  # version 1: execute, read, write, list, make and remove of every kind
    rights |= sum(bit for since, bit in ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15)) if version >= since)
    network = 0b11 if version >= 4 else 0  # TCP: bind, connect
    scope = 0b11 if version >= 6 else 0  # abstract sockets, signals
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("<QQQ", rights, network, scope)[:size]
    rules = _libc.syscall(_CREATE_RULESET, attributes, size, 0)
    if rules < 0:
        return False
    try:
        beneath = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            added = _libc.syscall(_ADD_RULE, rules, 1, struct.pack("<Qi", rights & ~1, beneath), 0)
        finally:
            os.close(beneath)
        return bool(added == 0 and _libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)
