"""Processes that the demo's launcher forks ahead: each is a program of its own, as if it had been started by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PART = """
import json, os, signal, sys

def main(arguments):
    if arguments == ["stay"]:
        signal.pause()
    handles = sorted(int(n) for n in os.listdir("/proc/self/fd"))
    print(json.dumps({"arguments": arguments, "leads": os.getsid(0) == os.getpid(), "handles": handles,
                      "held": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
                      "ends": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "secret": "hunter2" in sys.modules}))
    print("a fault", file=sys.stderr)
    return 3
"""
LAUNCHER = """
import os, signal, sys, types
from pathlib import Path
from atoll.demo.ahead import fork_ahead

signal.signal(signal.SIGTERM, lambda *_: None)
lock = open("lock", "w")
waiting, staying, first = fork_ahead(["json"], 3)
sys.modules["hunter2"] = types.ModuleType("hunter2")
staying.run("part", ["stay"], Path("stay.log"))
first.run("part", ["--port", "7"], Path("part.log"))
print(first.wait(30), first.poll(), waiting.poll(), waiting.pid, staying.poll(), staying.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a launcher that ran one part and was killed, and what it said."""
    folder = tmp_path_factory.mktemp("ahead")
    (folder / "part.py").write_text(PART)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"}
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return folder, done.stdout.split()


def logged(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What the part said, and the rest of its log: which of two streams is first there is for Python to say."""
    lines = (folder / "part.log").read_text().splitlines()
    (told,) = [line for line in lines if line.startswith("{")]
    return json.loads(told), [line for line in lines if line != told]


def test_it_runs_as_a_program_with_its_arguments_its_log_and_its_exit_status(launched: tuple[Path, list[str]]) -> None:
    folder, said = launched
    told, faults = logged(folder)
    assert told["arguments"] == ["--port", "7"]
    assert faults == ["a fault"]
    assert said[:2] == ["3", "3"]


def test_it_inherits_neither_files_nor_signals_nor_what_the_launcher_learnt_later(
    launched: tuple[Path, list[str]],
) -> None:
    part, _ = logged(launched[0])
    assert part["leads"]
    assert part["handles"] == [0, 1, 2, 3]  # the last is the look itself
    assert part["ends"]
    assert part["held"] == []
    assert not part["secret"]


def test_those_that_wait_and_those_that_work_end_with_a_launcher_that_is_killed(
    launched: tuple[Path, list[str]],
) -> None:
    waited, waiting, stayed, staying = launched[1][2:]
    assert (waited, stayed) == ("None", "None")  # both lived while the other part ran
    deadline = time.monotonic() + 10
    for status in (Path("/proc") / pid / "stat" for pid in (waiting, staying)):
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.05)
