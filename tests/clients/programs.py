"""Check programs in other languages: each prints one line a check, and each check is one test.

A program says `check("name", ...)` in its source, in double quotes, and prints, as it goes, lines of JSON:

    {"check": "name", "ok": true}      {"check": "name", "ok": false, "detail": "what came instead"}

`names` reads the source, so that a check that never printed anything fails by its absence.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECK = re.compile(r"""\bcheck\(\s*"([^"]+)\"""")


def names(*sources: Path) -> list[str]:
    """The checks that programs announce, in the order of the sources."""
    found = [name for source in sources for name in CHECK.findall(source.read_text(encoding="utf-8"))]
    assert found, f"no checks in {sources}"
    assert len(found) == len(set(found)), "two checks have one name"
    return found


@dataclass
class Outcome:
    """What one run of a program said."""

    checks: dict[str, str | None] = field(default_factory=dict)
    output: str = ""
    status: int = 0

    def require(self, name: str) -> None:
        """Fail the test unless the check was made and held."""
        assert name in self.checks, f"{name}: never made; exit status {self.status}\n{self.output[-4000:]}"
        assert self.checks[name] is None, f"{name}: {self.checks[name]}"


def run(command: Sequence[str], folder: Path, env: dict[str, str], seconds: float = 280) -> Outcome:
    """Run a check program; `env` is added to the environment."""
    done = subprocess.run(
        list(command),
        cwd=folder,
        env={**os.environ, "TZ": "UTC", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    outcome = Outcome(output=done.stdout, status=done.returncode)
    for text in done.stdout.splitlines():
        if text.startswith('{"check"'):
            said = json.loads(text)
            outcome.checks[said["check"]] = None if said["ok"] else said.get("detail", "")
    return outcome
