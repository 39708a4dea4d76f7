"""Columns that an owner's view computes, where the view leaves out whom they would be an error of: nothing that is
asked of them tells of that person.

Zoe is in `person` and has no consent, so no relation here has her. What `x` would be of her is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CityError
from catalog.types import parse
from tests.masks_first.people import PURPOSE
from tests.masks_first.silos import STATEMENT_KINDS, Data, Department, open_department

PERSON = {"id": parse("bigint"), "name": parse("varchar"), "score": parse("bigint"), "doc": parse("varchar")}
DATA: Data = {
    "person": (
        PERSON,
        [*((i, f"n{i}", 1 + i % 7, f'{{"n": {i}}}') for i in range(1, 301)), (666, "Zoe", 0, "{broken")],
    ),
    "consent": ({"id": parse("bigint")}, [(i,) for i in range(1, 301)]),
    "barred": ({"id": parse("bigint")}, [(666,)]),
}
X = {
    "postgres": "1000 / p.score",
    "sqlite": "json_extract(p.doc, '$.n')",
    "files": "CAST(1000 / p.score AS BIGINT) + CAST(substr(p.doc, 7, length(p.doc) - 7) AS BIGINT)",
    "mariadb": "CASE WHEN p.score = 0 THEN 9223372036854775807 ELSE 5 END + p.id",
}
STORED = {**X, "sqlite": "abs(CASE WHEN p.score = 0 THEN -9223372036854775807 - 1 ELSE p.id END)"}
"""SQLite reads no JSON in a view of its own."""
JOINED = "FROM person p JOIN consent c ON c.id = p.id"
VIEWS = {
    "joined": f"SELECT p.id, p.name, :x AS x {JOINED}",
    "exists": "SELECT p.id, p.name, :x AS x FROM person p WHERE EXISTS (SELECT 1 FROM consent c WHERE c.id = p.id)",
    "nested": "SELECT q.id, q.name, q.x FROM (SELECT p.id, p.name, :x AS x FROM person p) q "
    "JOIN consent c ON c.id = q.id",
    "everybody": "SELECT p.id, p.name, :x AS x FROM person p",
}
COLUMNS = {"id": "bigint", "name": "varchar", "x": "bigint"}
ASKED = [
    "SELECT t.id AS c0 FROM dept.main.{r} AS t WHERE {who} AND t.x > 0",
    "SELECT count(*) AS c0 FROM dept.main.{r} AS t WHERE {who} AND t.x IN (1, 2)",
    "SELECT t.x AS c0, count(*) AS c1 FROM dept.main.{r} AS t WHERE {who} AND t.x <> 0 GROUP BY t.x",
    "SELECT t.id AS c0 FROM dept.main.{r} AS t JOIN dept.main.consenting AS o ON o.id = t.x WHERE {who}",
    "SELECT o.id AS c0 FROM dept.main.consenting AS o WHERE EXISTS "
    "(SELECT 1 FROM dept.main.{r} AS t WHERE t.x = o.id AND {who})",
    "SELECT t.x AS c0 FROM dept.main.{r} AS t WHERE {who}",
]
NOBODY, ZOE = ["t.id = 650", "t.name = 'Zog'", "t.id > 300 AND t.name < 'Zoe'"], ["t.id = 666", "t.name = 'Zoe'"]
TABLES = {"consenting": "consent"}


def policy(views: list[str], tables: dict[str, str]) -> dict[str, Any]:
    relations: dict[str, Any] = {name: {"view": name, "columns": COLUMNS} for name in views}
    relations |= {name: {"table": table, "columns": COLUMNS} for name, table in tables.items()}
    relations |= {name: {"table": table, "columns": {"id": "bigint"}, "key": ["id"]} for name, table in TABLES.items()}
    grants = [{"id": name, "relation": name, "purposes": [PURPOSE], "mode": "masked"} for name in relations]
    for grant in grants:
        if grant["relation"] == "everybody":
            grant["row_filter"] = "id NOT IN (SELECT b.id FROM barred AS b)"
    return {"department": "dept", "relations": relations, "grants": grants}


def said(department: Department, relation: str, question: str, who: str) -> Any:
    sql = question.format(r=relation, who=who)
    return department.ask(sql).rows


@pytest.mark.parametrize("kind", STATEMENT_KINDS)
def test_what_is_asked_of_a_computed_column_tells_nothing_of_who_is_left_out(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # What DuckDB computes inside, before a join, it computes of everybody or of nobody: that is one error for all.
    views = ["joined", "exists"] if kind == "files" else [*VIEWS]
    folder = tmp_path / kind
    (folder / "views").mkdir(parents=True)
    for name in views:
        (folder / "views" / f"{name}.sql").write_text(VIEWS[name].replace(":x", X[kind]))
    with open_department(kind, folder, request, DATA, policy(views, {})) as department:
        for relation in views:
            for question in ASKED:
                told = {who: said(department, relation, question, who) for who in (*NOBODY, *ZOE)}
                assert len(set(map(repr, told.values()))) == 1, (relation, question, told)
                assert said(department, relation, question, "t.id < 300") != []


def test_what_duckdb_computes_first_is_not_for_the_question_to_choose(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It is computed whoever is asked for, so an error is the same: of such a view its owner hears at once."""
    (tmp_path / "views").mkdir(parents=True)
    for name in ("nested", "everybody"):
        (tmp_path / "views" / f"{name}.sql").write_text(VIEWS[name].replace(":x", X["files"]))
    with open_department("files", tmp_path, request, DATA, policy(["nested", "everybody"], {})) as department:

        def outcome(relation: str, question: str, who: str) -> str:
            try:
                return repr(said(department, relation, question, who))
            except CityError as refused:
                return refused.outcome.name

        for relation in ("nested", "everybody"):
            for question in ASKED:
                for nobody, zoe in zip(NOBODY, ZOE, strict=False):
                    assert outcome(relation, question, nobody) == outcome(relation, question, zoe)
            assert (
                outcome(relation, "SELECT count(*) AS c0 FROM dept.main.{r} AS t WHERE {who}", "t.id < 3") == "[(2,)]"
            )


@pytest.mark.parametrize("kind", [kind for kind in STATEMENT_KINDS if kind != "files"])
def test_a_view_of_the_database_itself_is_read_as_one(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tables = {"stored": "stored_view", "twice": "twice_view"}
    with open_department(kind, tmp_path / kind, request, DATA, policy([], tables)) as department:
        department.as_owner(
            f"CREATE VIEW stored_view AS SELECT p.id, p.name, {STORED[kind]} AS x {JOINED}",
            "CREATE VIEW twice_view AS SELECT * FROM stored_view",
        )
        for relation in tables:
            for question in ASKED:
                told = {who: said(department, relation, question, who) for who in (*NOBODY, *ZOE)}
                assert len(set(map(repr, told.values()))) == 1, (relation, question, told)
