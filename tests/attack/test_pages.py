"""The threat model names tests that exist, and the suite's own faults are all noticed by somebody."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "threat-model.md"
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)(?:::(test_[a-z0-9_]+))?`")


def test_every_test_that_the_threat_model_names_exists() -> None:
    found = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) >= 20
    for file, name in found:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{file}::{name}"


def test_every_row_of_a_table_names_its_proof() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for row in rows:
        assert "| --- |" in row or "shown by" in row or "`tests/" in row.rsplit("|", 2)[1], row
