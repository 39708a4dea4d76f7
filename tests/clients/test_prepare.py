"""`make clients` says what a machine lacks before it fetches anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import prepare


def test_what_is_missing_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = prepare.missing()
    assert len(said) == len(prepare.NEEDS)
    assert "Go, 1.25 or newer is missing: apt-get install golang-go (or go.dev)" in said
    with pytest.raises(SystemExit) as stopped:
        prepare.main()
    assert str(stopped.value).count("is missing") == len(said)


@pytest.mark.parametrize(
    ("said", "found"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("javac 17.0.15", (17, 0)), ("v20.20.2", (20, 20)),
     ('openjdk version "25" 2025-09-16', (25,)), ("\x1b[1mApache Maven 3.8.7\x1b[m", (3, 8)), ("no number", ())],
)  # fmt: skip
def test_a_version_is_read_from_what_a_tool_prints(tmp_path: Path, said: str, found: tuple[int, ...]) -> None:
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n", encoding="utf-8")
    tool.chmod(0o755)
    assert prepare.version(str(tool)) == found


def test_a_tool_that_is_fetched_is_not_fetched_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Path] = []
    monkeypatch.setattr(prepare, "CACHE", tmp_path)
    monkeypatch.setitem(prepare.TOOLS, "js", (made.append, ("package.json",)))
    prepare.fetch("js")
    prepare.fetch("js")
    assert made == [tmp_path / "js"]
