"""dbt-trino, unmodified: debug, show, compile, test, docs; models that would write are refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.city.live.running import City
from tests.clients.pages import snippet

DBT = Path(__file__).parents[3] / ".cache" / "clients" / "dbt" / "bin" / "dbt"

PROJECT = """
name: city
version: "1.0"
profile: city
model-paths: ["models"]
models:
  city:
    +materialized: ephemeral
"""
SOURCES = """
version: 2
sources:
  - name: org
    database: city
    schema: org
    tables:
      - name: company
        columns:
          - name: company
            data_tests: [unique, not_null]
          - name: status
            data_tests:
              - accepted_values: {arguments: {values: [active, deregistered, absorbed, revoked, moved]}}
      - name: company_code
        columns:
          - name: company
            data_tests:
              - relationships: {arguments: {to: "source('org', 'company')", field: company}}
"""
MODELS = {
    "by_district": "SELECT district_code, count(*) AS n FROM {{ source('org', 'company') }} GROUP BY district_code",
    "largest": "SELECT district_code, n FROM {{ ref('by_district') }} ORDER BY n DESC, district_code LIMIT 1",
    "as_table": "{{ config(materialized='table') }} SELECT * FROM {{ ref('by_district') }}",
    "as_view": "{{ config(materialized='view') }} SELECT * FROM {{ ref('by_district') }}",
    "bigger": "{{ config(materialized='incremental') }} SELECT * FROM {{ ref('by_district') }}",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, city: City) -> Path:
    """A project with the page's profile."""
    assert DBT.exists(), "dbt is not installed: run `make clients`"
    folder: Path = tmp_path_factory.mktemp("dbt")
    (folder / "profiles.yml").write_text(snippet("dbt", "profiles.yml", city.port), encoding="utf-8")
    (folder / "dbt_project.yml").write_text(PROJECT, encoding="utf-8")
    (folder / "models").mkdir()
    (folder / "models" / "sources.yml").write_text(SOURCES, encoding="utf-8")
    for name, sql in MODELS.items():
        (folder / "models" / f"{name}.sql").write_text(sql, encoding="utf-8")
    return folder


def dbt(project: Path, *words: str, status: int = 0) -> str:
    """What a dbt command prints."""
    done = subprocess.run(
        [str(DBT), "--no-use-colors", "--no-send-anonymous-usage-stats", *words, "--profiles-dir", "."],
        cwd=project,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout[-3000:]
    return done.stdout


def shown(project: Path, *words: str) -> list[dict[str, object]]:
    said = dbt(project, "--quiet", "show", "--output", "json", "--limit", "-1", *words)
    found: list[dict[str, object]] = json.loads(said[said.index("{") :])["show"]
    return found


def test_debug_connects(project: Path) -> None:
    assert "All checks passed!" in dbt(project, "debug")


def test_show_answers_a_model_built_of_models(project: Path, city: City) -> None:
    sql = "SELECT district_code, count(*) AS n FROM city.org.company GROUP BY 1 ORDER BY n DESC, 1"
    expected = city.ask(sql, "lin")["rows"]
    rows = shown(project, "--select", "by_district")
    assert sorted((r["district_code"], r["n"]) for r in rows) == sorted(map(tuple, expected))
    assert shown(project, "--select", "largest") == [{"district_code": expected[0][0], "n": expected[0][1]}]


def test_show_answers_the_flagship_question(project: Path, city: City) -> None:
    rows = shown(project, "--inline", city.question(1))
    assert [list(row.values()) for row in rows] == city.answer_key("q1")["rows"]


def test_tests_of_sources_are_run(project: Path) -> None:
    said = dbt(project, "test", "--select", "source:*")
    assert "ERROR=0" in said
    assert "PASS=4" in said


def test_compile_and_list(project: Path) -> None:
    dbt(project, "compile", "--select", "largest")
    assert "source:city.org.company" in dbt(project, "--quiet", "ls", "--resource-type", "source").split()


def test_docs_read_the_catalogue(project: Path) -> None:
    dbt(project, "docs", "generate", "--empty-catalog")
    dbt(project, "docs", "generate", "--select", "source:*")
    catalogue = json.loads((project / "target" / "catalog.json").read_text(encoding="utf-8"))
    company = catalogue["sources"]["source.city.org.company"]
    assert company["columns"]["registered_on"]["type"] == "date"
    assert "newest valid code" in company["metadata"]["comment"]


@pytest.mark.parametrize("model", ["as_table", "as_view", "bigger"])
def test_a_model_that_would_write_is_refused_in_clear_words(project: Path, model: str) -> None:
    said = dbt(project, "run", "--select", model, status=1)
    assert "NOT_SUPPORTED" in said
    assert "atoll only reads" in said
