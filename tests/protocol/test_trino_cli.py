"""The official Trino command line, unmodified: Java's client library and its decoding of pages."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

from tests.protocol.conftest import QUICK, Served


def ask(
    cli: Path, served: Served, sql: str, *options: str, output: str = "CSV_HEADER"
) -> subprocess.CompletedProcess[str]:
    """Run statements as `trino --execute` does."""
    java = shutil.which("java")
    assert java, "the Trino command line needs Java 11 or newer"
    command = [java, "-Xmx256m", *QUICK, "-jar", str(cli), "--server", served.url, "--user", "lin"]
    return subprocess.run(
        [*command, "--output-format", output, *options, "--execute", sql],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "TRINO_PAGER": ""},
    )


def rows(found: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert found.returncode == 0, found.stderr
    return list(csv.reader(io.StringIO(found.stdout)))


def test_a_session_of_statements_works_from_end_to_end(cli: Path, served: Served) -> None:
    script = (
        "USE water.main; SHOW TABLES; SET SESSION allow_partial = true; "
        "PREPARE p FROM SELECT org_no, m3 FROM company_month WHERE meters = ?; EXECUTE p USING 9; "
        "DEALLOCATE PREPARE p; SET TIME ZONE 'Asia/Tokyo'; SELECT current_timezone() AS zone; "
        "START TRANSACTION; SELECT 1 AS one; COMMIT"
    )
    found = ask(cli, served, script)
    assert rows(found) == [
        ["Table"], ["big"], ["broken"], ["company_month"], ["slow"],
        ["org_no", "m3"], ["910002", "1.125"],
        ["zone"], ["Asia/Tokyo"],
        ["one"], ["1"],
    ]  # fmt: skip
    said = ["USE", "SET SESSION", "PREPARE", "DEALLOCATE", "SET TIME ZONE", "START TRANSACTION", "COMMIT"]
    assert [line for line in found.stderr.splitlines() if line in said] == said


def test_the_progress_line_counts_what_departments_delivered(cli: Path, served: Served) -> None:
    found = ask(cli, served, "SELECT count(*) FROM water.main.big", "--progress")
    assert "FINISHED, 1 node" in found.stderr
    assert "[7 rows, 99B]" in found.stderr, "the figures of the stub's one fragment"


def test_values_and_types_are_decoded(cli: Path, served: Served) -> None:
    found = rows(
        ask(cli, served, "SELECT name, opened, active FROM tax.main.firm ORDER BY org_no; DESCRIBE tax.main.firm")
    )
    assert found[1] == ['Lin & Söhne, "Hafen"', "2001-02-03 04:05:06.789012", "true"]
    assert found[2] == ["it's", "", ""]
    assert found[3] == ["Column", "Type", "Extra", "Comment"]
    assert ["opened", "timestamp(6)", "filtered rows; purpose planning", ""] in found


def test_an_error_shows_the_caret_under_the_word(cli: Path, served: Served) -> None:
    found = ask(cli, served, "SELECT nope FROM water.main.company_month", "--debug")
    assert found.returncode == 1
    assert "line 1:8: Column 'nope' cannot be resolved" in found.stderr


def test_a_long_answer_arrives_whole(cli: Path, served: Served) -> None:
    found = ask(cli, served, "SELECT id, text FROM water.main.big ORDER BY id", output="TSV")
    lines = found.stdout.splitlines()
    assert len(lines) == 120_000
    assert lines[-1] == "119999\trow 119999"
