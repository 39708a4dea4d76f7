"""Trino's command line, unmodified: every output format, and the login over TLS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.city.live.running import City
from tests.clients.cli.test_cli import JAVA, command, trino
from tests.clients.front import Front

TWO = "SELECT district_code, count(*) AS n FROM company GROUP BY 1 ORDER BY 1 LIMIT 2"


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
