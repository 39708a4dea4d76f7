"""`make setup` takes an interpreter that answers small questions sooner, where there is one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def program(folder: Path, name: str, is_chosen: bool) -> Path:
    """An interpreter that says yes or no to what is asked of it."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {0 if is_chosen else 1}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("own_is_plain", "system_will_do", "taken"), [(True, True, "system"), (True, False, "own"), (False, True, "own")]
)
def test_the_systems_python_is_taken_for_one_without_optimisation(
    tmp_path: Path, own_is_plain: bool, system_will_do: bool, taken: str
) -> None:
    program(tmp_path, "python3", own_is_plain)
    system = program(tmp_path, "system", system_will_do)
    (tmp_path / "pyproject.toml").touch()
    told = subprocess.run(
        ["make", "-n", "-f", ROOT / "Makefile", "setup", f"SYSTEM_PYTHON={system}"],
        cwd=tmp_path, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True, capture_output=True,
        text=True,
    ).stdout  # fmt: skip
    expected = {"own": "python3", "system": str(system)}[taken]
    assert f"|| {expected} -m venv .venv\n" in told


def test_who_names_an_interpreter_gets_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    told = subprocess.run(
        ["make", "-n", "-f", ROOT / "Makefile", "setup", "PYTHON=python3.13"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "|| python3.13 -m venv .venv\n" in told
