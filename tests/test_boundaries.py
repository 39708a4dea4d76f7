"""The shape of the house, checked: what may import what, and where the few dangerous things may stand."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
PACKAGES = ("atoll", "catalog", "connectors", "gateway")


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        yield from parsed(package)


@cache
def parsed(package: str) -> list[tuple[str, ast.Module]]:
    files = sorted((ROOT / package).rglob("*.py"))
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def texts() -> Iterator[Path]:
    """Every text file of ours; what is installed or built is not looked at, it is large."""
    for folder, inside, names in os.walk(ROOT):
        inside[:] = sorted(set(inside) - {".git", ".venv", ".cache", "node_modules"})
        yield from (Path(folder) / n for n in sorted(names) if n.endswith((".py", ".md", ".toml", ".yaml", ".yml")))


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_only_http_lies_between_the_two_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml")) == 0, capsys.readouterr().out


def test_the_http_library_is_imported_in_one_place() -> None:
    assert [name for name, tree in modules(*PACKAGES) if "httpx" in imports(tree)] == ["catalog/http.py"]


def test_the_language_of_both_sides_does_no_io_of_its_own() -> None:
    allowed = ("catalog/http.py", "catalog/store/")
    for name, tree in modules("catalog"):
        if not name.startswith(allowed):
            assert not imports(tree) & {"httpx", "requests", "urllib3", "socket", "subprocess"}, name


def test_masks_enter_a_query_in_one_place() -> None:
    """Only enforce.py turns a mask into SQL; everybody else handles masks as values."""
    callers = []
    for name, tree in modules("connectors", "gateway"):
        for node in ast.walk(tree):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and node.func.attr == "duckdb" and "mask" in ast.unparse(node.func.value):
                callers.append(name)
    assert set(callers) == {"connectors/agent/enforce.py"}


def test_nothing_is_run_through_a_shell_or_evaluated() -> None:
    for name, tree in modules(*PACKAGES):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "os.system", "os.popen"), name
                assert not any(k.arg == "shell" and ast.unparse(k.value) == "True" for k in node.keywords), name


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name, tree in modules(*PACKAGES) if tree.body and ast.get_docstring(tree) is None]
    assert silent == []


def test_no_file_names_a_machines_paths() -> None:
    pattern = re.compile(r"/(?:root|home/[a-z]+|work|Users)/")
    for path in texts():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            assert not pattern.search(line) or "re.compile" in line, f"{path.relative_to(ROOT)}:{number}"
