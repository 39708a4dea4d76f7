"""The official Trino command line, unmodified: Java's client library and its decoding of pages."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.protocol.conftest import QUICK, Served

SCRIPT = (
    "USE water.main; SHOW TABLES; SET SESSION allow_partial = true; "
    "PREPARE p FROM SELECT org_no, m3 FROM company_month WHERE meters = ?; EXECUTE p USING 9; "
    "DEALLOCATE PREPARE p; SET TIME ZONE 'Asia/Tokyo'; SELECT current_timezone() AS zone; "
    "START TRANSACTION; SELECT 1 AS one; COMMIT; "
    "SELECT name, opened, active FROM tax.main.firm ORDER BY org_no; DESCRIBE tax.main.firm; "
    "SELECT id, text FROM big ORDER BY id; SELECT nope FROM company_month; SELECT 'never' AS asked"
)
"""All that the tests look at, in one session: a start of Java costs more than the rest."""


@pytest.fixture(scope="module")
def said(cli: Path, served: Served) -> subprocess.CompletedProcess[str]:
    """What the command line prints when it is given `SCRIPT`, as `trino --execute` does."""
    java = shutil.which("java")
    assert java, "the Trino command line needs Java 11 or newer"
    command = [java, "-Xmx256m", *QUICK, "-jar", str(cli), "--server", served.url, "--user", "lin"]
    return subprocess.run(
        [*command, "--output-format", "CSV_HEADER", "--progress", "--debug", "--execute", SCRIPT],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "TRINO_PAGER": ""},
    )


@pytest.fixture(scope="module")
def rows(said: subprocess.CompletedProcess[str]) -> list[list[str]]:
    return list(csv.reader(io.StringIO(said.stdout)))


SESSION = [
    ["Table"], ["big"], ["broken"], ["company_month"], ["slow"],
    ["org_no", "m3"], ["910002", "1.125"],
    ["zone"], ["Asia/Tokyo"],
    ["one"], ["1"],
]  # fmt: skip


def test_a_session_of_statements_works_from_end_to_end(
    said: subprocess.CompletedProcess[str], rows: list[list[str]]
) -> None:
    assert rows[: len(SESSION)] == SESSION
    names = ["USE", "SET SESSION", "PREPARE", "DEALLOCATE", "SET TIME ZONE", "START TRANSACTION", "COMMIT"]
    assert [line for line in said.stderr.splitlines() if line in names] == names


def test_the_progress_line_counts_what_departments_delivered(said: subprocess.CompletedProcess[str]) -> None:
    assert "FINISHED, 1 node" in said.stderr
    assert "[7 rows, 99B]" in said.stderr, "the figures of the stub's one fragment"


def test_values_and_types_are_decoded(rows: list[list[str]]) -> None:
    found = rows[len(SESSION) :]
    assert found[1] == ['Lin & Söhne, "Hafen"', "2001-02-03 04:05:06.789012", "true"]
    assert found[2] == ["it's", "", ""]
    assert found[3] == ["Column", "Type", "Extra", "Comment"]
    assert ["opened", "timestamp(6)", "filtered rows; purpose planning", ""] in found


def test_an_error_shows_the_caret_under_the_word_and_ends_the_script(
    said: subprocess.CompletedProcess[str], rows: list[list[str]]
) -> None:
    assert said.returncode == 1
    assert "line 1:8: Column 'nope' cannot be resolved" in said.stderr
    assert ["asked"] not in rows


def test_a_long_answer_arrives_whole(rows: list[list[str]]) -> None:
    found = rows[rows.index(["id", "text"]) + 1 :]
    assert len(found) == 120_000
    assert found[-1] == ["119999", "row 119999"]
