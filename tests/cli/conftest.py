"""The command runs as people run it: a process of its own, against a stand-in of the gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.forked import run_forked
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
        done = run_forked([*arguments], tmp_path, known | (env or {}), stdin.encode())
        return Done(done.status, done.out.decode(errors="replace"), done.err.decode(), done.out)

    return run
