"""REST: queries in three formats, progress, explain, the catalogue, departments, and honest errors."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.execution import Execution
from gateway.server.api import questions
from gateway.server.session import Options
from tests.protocol.conftest import Served, serve
from tests.protocol.stub import BIG_ROWS, StubGateway

BEARER = {"Authorization": "Bearer token-lin"}


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=BEARER, timeout=30, verify=False) as found:
        yield found


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    found = response.json()["error"]
    assert {"outcome", "error_name", "message", "who", "rule", "hint"} <= found.keys()
    return found


def test_a_query_answers_rows_and_who_answered(api: httpx.Client) -> None:
    sql = "SELECT org_no, m3, month FROM water.main.company_month WHERE meters = 9"
    found = api.post("/api/query", json={"sql": sql}).json()
    assert found["columns"] == [
        {"name": "org_no", "type": "varchar(18)", "mask": ""},
        {"name": "m3", "type": "decimal(14, 3)", "mask": ""},
        {"name": "month", "type": "date", "mask": ""},
    ]
    assert found["rows"] == [["910002", "1.125", "2024-10-01"]]
    (water,) = found["departments"]
    assert (water["name"], water["state"], water["rows"]) == ("water", "done", 7)
    assert found["warnings"] == []
    assert found["seconds"] > 0
    assert found["query_id"]


def test_short_names_need_catalog_and_schema(api: httpx.Client) -> None:
    body = {"sql": "SELECT count(*) FROM firm", "catalog": "tax", "schema": "main"}
    assert api.post("/api/query", json=body).json()["rows"] == [[2]]


def test_arrow_streams_with_the_declared_types(api: httpx.Client) -> None:
    body = {"sql": "SELECT id, text FROM water.main.big ORDER BY id", "format": "arrow"}
    response = api.post("/api/query", json=body)
    assert response.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert response.headers["Atoll-Query-Id"]
    found = pa.ipc.open_stream(response.content).read_all()
    assert found.num_rows == BIG_ROWS
    assert found.schema.field("id").type == pa.int64()
    assert found.column("id").to_pylist() == list(range(BIG_ROWS))


def test_an_empty_arrow_answer_has_its_schema(api: httpx.Client) -> None:
    body = {"sql": "SELECT m3 FROM water.main.company_month WHERE meters < 0", "format": "arrow"}
    found = pa.ipc.open_stream(api.post("/api/query", json=body).content).read_all()
    assert found.num_rows == 0
    assert found.schema.field("m3").type == pa.decimal128(14, 3)


def test_csv_quotes_what_needs_it_and_tells_null_from_empty(api: httpx.Client) -> None:
    body = {"sql": "SELECT name, opened, active, '' AS nothing FROM tax.main.firm ORDER BY org_no", "format": "csv"}
    response = api.post("/api/query", json=body)
    assert response.headers["content-type"].startswith("text/csv")
    assert list(csv.reader(io.StringIO(response.text))) == [
        ["name", "opened", "active", "nothing"],
        ['Lin & Söhne, "Hafen"', "2001-02-03 04:05:06.789012", "true", ""],
        ["it's", "", "", ""],
    ]
    assert response.text.splitlines()[2] == 'it\'s,,,""'


def test_what_is_to_be_said_beside_the_rows_of_a_stream_is_in_its_head(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CSV has no place for it: whoever stores one is told before its first byte."""
    body = {"sql": "SELECT id FROM water.main.big", "format": "csv"}
    assert "Atoll-Warnings" not in api.post("/api/query", json=body).headers
    make, notice = Execution.__init__, "synthetic rows: not real data (water.main.big) \u4e2d\r\nSet-Cookie: x"

    def warned(self: Execution, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        self.warn(notice)

    monkeypatch.setattr(Execution, "__init__", warned)
    headers = api.post("/api/query", json=body).headers
    assert json.loads(headers["Atoll-Warnings"]) == [notice]
    assert "Set-Cookie" not in headers


def test_a_stream_that_fails_midway_is_cut_and_never_looks_complete(served: Served, api: httpx.Client) -> None:
    body = {"sql": "SELECT * FROM water.main.broken", "format": "arrow"}
    try:
        response = api.post("/api/query", json=body)
    except httpx.RemoteProtocolError:
        return
    assert error(response, 503)["who"] == "water"


@pytest.mark.parametrize(
    ("sql", "status", "name"),
    [
        ("SELCT 1", 400, "SYNTAX_ERROR"),
        ("SELECT nope FROM tax.main.firm", 400, "COLUMN_NOT_FOUND"),
        ("SELECT * FROM tax.main.nope", 404, "TABLE_NOT_FOUND"),
        ("DROP TABLE t", 400, "NOT_SUPPORTED"),
        ("SELECT * FROM water.main.broken", 503, "CATALOG_UNAVAILABLE"),
    ],
)
def test_refusals_have_a_status_and_a_reason(api: httpx.Client, sql: str, status: int, name: str) -> None:
    assert error(api.post("/api/query", json={"sql": sql}), status)["error_name"] == name


def test_an_error_says_where(api: httpx.Client) -> None:
    found = error(api.post("/api/query", json={"sql": "SELECT\n nope FROM tax.main.firm"}), 400)
    assert found["location"] == {"line": 2, "column": 2}


@pytest.mark.parametrize(
    "body",
    [{}, {"sql": ""}, {"sql": 1}, {"sql": "SELECT 1", "nope": 1}, {"sql": "SELECT 1", "format": "xml"}, [], "x"],
)
def test_a_malformed_body_is_422_in_the_same_form(api: httpx.Client, body: Any) -> None:
    assert error(api.post("/api/query", json=body), 422)["hint"]


def test_login_is_needed(served: Served) -> None:
    with serve(StubGateway(dev=False)) as locked:
        response = httpx.post(f"{locked.url}/api/query", json={"sql": "SELECT 1"})
        assert error(response, 401)["error_name"] == "PERMISSION_DENIED"
        assert response.headers.get_list("WWW-Authenticate")
        assert httpx.get(f"{locked.url}/api/departments", headers=BEARER).status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
bodies = st.dictionaries(
    st.sampled_from(["sql", "purpose", "catalog", "schema", "session", "format", "dry_run", "async", "other"]),
    json_values | st.sampled_from(["SELECT 1", "SHOW SESSION", "json", "csv", "arrow"]),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/api/query", "/api/explain", "/api/departments"]), body=bodies | json_values)
def test_no_body_makes_the_server_fail(api: httpx.Client, path: str, body: Any) -> None:
    response = api.post(path, json=body)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]


# -- asynchronous --------------------------------------------------------------------------------------


def test_an_asynchronous_query_tells_its_progress(served: Served, api: httpx.Client) -> None:
    served.gateway.release.clear()
    accepted = api.post("/api/query", json={"sql": "SELECT id FROM water.main.slow", "async": True})
    assert accepted.status_code == 202
    address = f"/api/query/{accepted.json()['query_id']}"
    execution = served.gateway.execution(accepted.json()["query_id"])
    assert execution is not None
    assert execution.columns(10) is not None
    progress = api.get(f"{address}/progress").json()
    assert progress["state"] == "RUNNING"
    assert progress["departments"][0]["state"] == "running"
    served.gateway.release.set()
    assert api.get(f"{address}/result").json()["rows"] == [[i] for i in range(10)]
    assert error(api.get(f"{address}/result"), 409)
    assert api.get(f"{address}/progress").json()["state"] == "FINISHED"


def test_an_asynchronous_query_can_be_cancelled(served: Served, api: httpx.Client) -> None:
    served.gateway.release.clear()
    body = {"sql": "SELECT id FROM water.main.slow", "async": True}
    address = f"/api/query/{api.post('/api/query', json=body).json()['query_id']}"
    assert api.delete(address).status_code == 204
    assert error(api.get(f"{address}/result"), 409)["error_name"] == "USER_CANCELED"
    assert api.get(f"{address}/progress").json()["error"]["error_name"] == "USER_CANCELED"
    served.gateway.release.set()


def test_nobody_reads_the_query_of_somebody_else(api: httpx.Client) -> None:
    accepted = api.post("/api/query", json={"sql": "SELECT 1", "async": True}).json()
    ana = {"Authorization": "Bearer token-ana"}
    assert error(api.get(f"/api/query/{accepted['query_id']}/result", headers=ana), 404)
    assert error(api.get("/api/query/unknown/progress"), 404)


def test_a_client_that_goes_away_stops_its_query(served: Served, api: httpx.Client) -> None:
    served.gateway.release.clear()
    before = {e.query_id for e in served.gateway.executions()}
    with pytest.raises(httpx.ReadTimeout):
        api.post("/api/query", json={"sql": "SELECT id FROM water.main.slow"}, timeout=0.5)
    (execution,) = [e for e in served.gateway.executions() if e.query_id not in before]
    cancelled = threading.Event()
    execution.on_cancel(cancelled.set)
    assert cancelled.wait(10)
    assert execution.error is not None
    assert execution.error.trino.name == "USER_CANCELED"
    served.gateway.release.set()


def test_an_asynchronous_query_that_nobody_reads_is_abandoned() -> None:
    with serve(StubGateway(), Options(abandon_seconds=0.3)) as served:
        body = {"sql": "SELECT id FROM water.main.slow", "async": True}
        accepted = httpx.post(f"{served.url}/api/query", json=body, headers=BEARER).json()
        execution = served.gateway.execution(accepted["query_id"])
        assert execution is not None
        cancelled = threading.Event()
        execution.on_cancel(cancelled.set)
        assert cancelled.wait(10)
        assert execution.error is not None
        assert execution.error.trino.name == "ABANDONED_QUERY"


# -- the rest ------------------------------------------------------------------------------------------


def test_explain_says_who_would_be_asked(api: httpx.Client) -> None:
    body = {"sql": "SELECT * FROM tax.main.firm"}
    found = api.post("/api/explain", json=body).json()
    assert "tax" in found["text"]
    assert found["fragments"] == [{"department": "tax"}]
    assert api.post("/api/query", json={**body, "dry_run": True}).json() == found


def test_departments_and_relations_are_those_of_the_user(api: httpx.Client) -> None:
    departments = api.get("/api/departments").json()
    assert [(d["name"], d["state"], d["relations"]) for d in departments] == [("tax", "up", 2), ("water", "up", 4)]
    relations = {f"{r['catalog']}.{r['name']}": r for r in api.get("/api/relations?purpose=planning").json()}
    assert relations["tax.turnover"]["mode"] == "aggregate"
    described = api.get("/api/openapi.json").json()["components"]["schemas"]["Relation"]["properties"]["mode"]
    assert described["type"] == "string"
    (m3,) = [c for c in relations["water.company_month"]["columns"] if c["name"] == "m3"]
    assert (m3["type"], m3["unit"], m3["comment"]) == ("decimal(14, 3)", "m3", "water drawn")


def test_receipts_are_shown_to_whom_they_were_given(api: httpx.Client) -> None:
    assert api.get("/api/receipts/R1").json()["rows"] == 3
    assert error(api.get("/api/receipts/R1", headers={"Authorization": "Bearer token-ana"}), 404)
    assert error(api.get("/api/receipts/R2"), 404)


def test_a_department_registers_and_an_administrator_approves_it(api: httpx.Client) -> None:
    body = {"name": "parks", "url": "http://127.0.0.1:9", "key": {"kty": "OKP"}}
    created = api.post("/api/departments", json=body)
    assert (created.status_code, created.json()) == (201, {"name": "parks", "state": "pending"})
    change = {"state": "approved"}
    assert error(api.patch("/api/departments/parks", json=change), 403)["rule"] == "administrators"
    ana = {"Authorization": "Bearer token-ana"}
    assert api.patch("/api/departments/parks", json=change, headers=ana).json()["state"] == "approved"
    assert error(api.patch("/api/departments/nope", json=change, headers=ana), 400)
    assert error(api.patch("/api/departments/parks", json={"state": "gone"}, headers=ana), 422)
    assert error(api.post("/api/departments", json={**body, "url": "file:///etc/passwd"}), 422)


def test_questions_are_read_from_their_files(tmp_path: Path) -> None:
    (tmp_path / "q1.sql").write_text(
        "-- title: Who draws water without a meter?\n-- purpose: planning\n-- user: lin\n\nSELECT 1\n", encoding="utf-8"
    )
    (tmp_path / "q2.sql").write_text("-- Which firms moved?\nSELECT 2 -- purpose: no\n", encoding="utf-8")
    (tmp_path / "other.sql").write_text("SELECT 3", encoding="utf-8")
    first, second = questions(tmp_path)
    assert (first.id, first.title) == ("q1", "Who draws water without a meter?")
    assert (first.purpose, first.user) == ("planning", "lin")
    assert first.sql.endswith("SELECT 1")
    assert (second.title, second.purpose) == ("Which firms moved?", "")
    assert questions(None) == []
    with serve(StubGateway(), Options(questions=tmp_path)) as served:
        assert [q["id"] for q in httpx.get(f"{served.url}/api/questions").json()] == ["q1", "q2"]


def test_unknown_addresses_answer_in_the_same_form(api: httpx.Client) -> None:
    assert error(api.get("/api/nope"), 404)
    assert error(api.delete("/api/departments"), 405)


def test_the_description_names_every_route(api: httpx.Client) -> None:
    paths = api.get("/api/openapi.json").json()["paths"]
    assert {
        "/api/query", "/api/query/{query_id}", "/api/query/{query_id}/progress", "/api/query/{query_id}/result",
        "/api/explain", "/api/departments", "/api/departments/{name}", "/api/relations", "/api/questions",
        "/api/receipts/{receipt_id}",
    } <= set(paths)  # fmt: skip
    for methods in paths.values():
        for method in methods.values():
            assert method["description"], "every route says what it does"
