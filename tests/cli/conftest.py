"""The command runs as people run it: a process of its own, against a stand-in of the gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.stub_gateway import Done, Run, Stub, serving


@pytest.fixture(scope="session")
def gateway() -> Iterator[Stub]:
    with serving() as stub:
        yield stub


@pytest.fixture
def atoll(gateway: Stub, tmp_path: Path) -> Run:
    """Run `atoll ARGS` in an empty folder as lin at the stand-in; `env` adds to the environment."""

    def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None, login: bool = True) -> Done:
        known = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ATOLL_URL": gateway.url, "NO_COLOR": "1"}
        if login:
            known["ATOLL_USER"] = "lin"
        done = subprocess.run(
            [sys.executable, "-m", "atoll.cli", *arguments],
            input=stdin.encode(), capture_output=True, cwd=tmp_path, env=known | (env or {}), timeout=60, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(), done.stdout)

    return run
