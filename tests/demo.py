"""`atoll demo` as a person starts it, for tests that look at what it says, does and leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["COLUMNS", "Demo", "alive", "demo", "finished", "soon_gone", "until_ready"]

COLUMNS = "120"
INSTALLED = str(Path(sys.executable).with_name("atoll"))
"""The command as `make setup` puts it beside Python."""


@dataclass
class Demo:
    """A running demonstration. folder: the city's. lines: what it said until `ready`, seconds after its start."""

    folder: Path
    process: subprocess.Popen[str]
    lines: list[str]
    seconds: float

    @property
    def state(self) -> dict[str, Any]:
        """demo.json: addresses and process ids."""
        return dict(json.loads((self.folder / "demo.json").read_text()))

    @property
    def url(self) -> str:
        return str(self.state["url"])


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start `atoll demo --dir FOLDER --headless OPTIONS`; both streams come by one pipe."""
    words = [INSTALLED, "demo", "--dir", str(folder), "--headless", *options]
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": COLUMNS}
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )


def until_ready(folder: Path, process: subprocess.Popen[str]) -> Demo:
    """Wait for its `ready` line. AssertionError with all it said if it ends without."""
    started, lines = time.monotonic(), []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith("ready "):
            return Demo(folder, process, lines, time.monotonic() - started)
    raise AssertionError("\n".join(lines))


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit status, what else it said) of one that ends."""
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def alive(pids: Iterable[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    found = []
    for pid in pids:
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
            found.append(pid)
    return found


def soon_gone(pids: Iterable[int]) -> bool:
    """Whether all of them end within seconds."""
    deadline = time.monotonic() + 15
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(pids)
