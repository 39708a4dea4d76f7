"""Trino's command line, unmodified: session, errors, every output format, and the login over TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.city.live.running import City
from tests.clients.cli.test_cli import JAVA, command, trino
from tests.clients.front import Front

TWO = "SELECT district_code, count(*) AS n FROM company GROUP BY 1 ORDER BY 1 LIMIT 2"


def test_a_file_of_statements_is_one_session(cli: Path, city: City, tmp_path: Path) -> None:
    script = tmp_path / "session.sql"
    script.write_text(
        "USE city.env; SHOW TABLES LIKE 'discharge'; SET SESSION allow_partial = true;"
        "PREPARE p FROM SELECT count(*) > 0 FROM discharge WHERE grams > ?; EXECUTE p USING 0; DEALLOCATE PREPARE p;"
        "SET TIME ZONE 'Asia/Tokyo'; SELECT current_timezone();"
        "START TRANSACTION; SELECT 1; COMMIT; EXPLAIN (TYPE VALIDATE) SELECT 1;",
        encoding="utf-8",
    )
    said = trino([*command(cli, city), "--output-format", "CSV_UNQUOTED", "--file", str(script)])
    assert said.stdout.split() == ["discharge", "true", "Asia/Tokyo", "1", "true"]


def test_an_error_shows_its_place_and_ends_with_status_1(cli: Path, city: City) -> None:
    said = trino([*command(cli, city), "--execute", "SELECT nope FROM company"], status=1)
    assert "failed: line 1:8: Column 'nope' cannot be resolved" in said.stderr
    refused = trino([*command(cli, city), "--execute", "DROP TABLE company; SELECT 1"], status=1)
    assert "atoll only reads" in refused.stderr
    assert refused.stdout == "", "the first error ends the batch"


def test_every_output_format_shows_the_same_rows(cli: Path, city: City) -> None:
    rows = city.ask(TWO.replace("company", "city.org.company"), "lin")["rows"]
    first, second = [[str(v) for v in row] for row in rows]
    shown = {
        "TSV_HEADER": ["district_code\tn", "\t".join(first), "\t".join(second)],
        "JSON": [json.dumps({"district_code": d, "n": n}, separators=(",", ":")) for d, n in rows],
        "MARKDOWN": ["| district_code | n |"],
        "ALIGNED": [f" {first[0]}        | {first[1]} "],
        "VERTICAL": [f"district_code | {first[0]}"],
        "NULL": [],
    }
    for name, lines in shown.items():
        said = trino([*command(cli, city), "--output-format", name, "--execute", TWO]).stdout
        spaced = " ".join(said.split())
        for text in lines:
            assert " ".join(text.split()) in spaced, (name, said)
        assert bool(said) == bool(lines)


def test_a_purpose_and_a_login_over_tls(cli: Path, city: City, front: Front, token: Callable[[str], str]) -> None:
    secure = [*JAVA, str(cli), "--server", front.url, "--truststore-path", str(front.certificate), "--user", "mei"]
    asked = ["--session", "purpose=inspection", "--output-format", "CSV_UNQUOTED"]
    sql = "SELECT count(*) > 0 FROM environment.main.discharge"
    said = trino([*secure, "--password", *asked, "--execute", sql], TRINO_PASSWORD=token("mei"))
    assert said.stdout.strip() == "true"
    wrong = trino([*secure, "--password", "--execute", "SELECT 1"], status=1, TRINO_PASSWORD="wrong")
    assert "Authentication failed" in wrong.stderr
