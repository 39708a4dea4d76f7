"""The life of a statement over raw HTTP, rule by rule as clients depend on it."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any
from urllib.parse import quote_plus

import httpx
import pyarrow as pa
import pytest
import zstandard

from gateway.execution import Execution, Session
from gateway.server.session import Options
from gateway.server.statement import stats
from tests.protocol.conftest import Served, serve
from tests.protocol.stub import BIG_ROWS, StubGateway

CAPABLE = {"X-Trino-Client-Capabilities": "PATH,PARAMETRIC_DATETIME,SESSION_AUTHORIZATION"}


def submit(client: httpx.Client, sql: str, **headers: str) -> dict[str, Any]:
    response = client.post("/v1/statement", content=sql.encode(), headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def pages(client: httpx.Client, sql: str, headers: dict[str, str] | None = None) -> list[httpx.Response]:
    """All answers to a statement, the POST's first."""
    found = [client.post("/v1/statement", content=sql.encode(), headers=headers)]
    while True:
        assert found[-1].status_code == 200, found[-1].text
        following = found[-1].json().get("nextUri")
        if following is None:
            return found
        found.append(client.get(following))


def run(client: httpx.Client, sql: str, headers: dict[str, str] | None = None) -> tuple[list[Any], dict[str, Any]]:
    """(rows, last page)"""
    answers = [page.json() for page in pages(client, sql, headers)]
    return [row for page in answers for row in page.get("data", [])], answers[-1]


# -- pages ---------------------------------------------------------------------------------------------


def test_the_first_answer_always_has_a_next_uri_and_no_error_even_for_nonsense(client: httpx.Client) -> None:
    page = submit(client, "SELCT nonsense")
    assert page["nextUri"].startswith("http://127.0.0.1")
    assert page["stats"]["state"] == "QUEUED"
    assert "error" not in page


def test_every_page_has_id_info_and_stats_and_columns_once_known(client: httpx.Client) -> None:
    answers = [p.json() for p in pages(client, "SELECT id, text FROM water.main.big")]
    for page in answers:
        assert page["id"].replace("_", "").isalnum()
        assert page["infoUri"].startswith("http://")
        assert page["stats"]["state"]
        assert page.get("data") != [], "an empty list breaks JDBC"
    known = [page for page in answers if "columns" in page]
    assert known == answers[-len(known) :], "columns stay once they are known"
    assert known[-1] is answers[-1]
    assert [c["name"] for c in answers[-1]["columns"]] == ["id", "text"]


def test_rows_before_the_end_have_a_page_after_them_that_ends_the_query(served: Served, client: httpx.Client) -> None:
    served.gateway.release.clear()  # another test may have let it go
    page = submit(client, "SELECT id FROM water.main.slow")
    while "data" not in page:
        page = client.get(page["nextUri"]).json()
    assert page["stats"]["state"] == "RUNNING"
    served.gateway.release.set()
    while "nextUri" in page:
        page = client.get(page["nextUri"]).json()
    assert "data" not in page
    assert page["stats"]["state"] == "FINISHED"
    assert [c["name"] for c in page["columns"]] == ["id"]


@pytest.mark.parametrize("encoding", ["", "json+zstd"])
def test_a_small_answer_that_has_ended_comes_with_its_end_and_once_more_if_it_got_lost(
    served: Served, client: httpx.Client, encoding: str
) -> None:
    first = submit(client, "SELECT 1 AS n", **({"X-Trino-Query-Data-Encoding": encoding} if encoding else {}))
    until_ended(served, first["id"])
    found = client.get(first["nextUri"])
    page = found.json()
    assert "nextUri" not in page
    assert page["stats"]["state"] == "FINISHED"
    data = page["data"]
    assert (data["segments"][0]["metadata"]["rowsCount"] if encoding else data) == (1 if encoding else [[1]])
    assert client.get(first["nextUri"]).content == found.content


def test_rows_that_are_kept_for_long_are_few(served: Served, client: httpx.Client) -> None:
    """A statement is known for a while after its end, and so is its last page: large rows are not on it."""
    first = submit(client, "SELECT text FROM water.main.big WHERE id < 20000")
    until_ended(served, first["id"])
    page = client.get(first["nextUri"]).json()
    assert len(page["data"]) == 20000
    last = client.get(page["nextUri"]).json()
    assert "nextUri" not in last
    assert "data" not in last


def until_ended(served: Served, query_id: str) -> None:
    execution = served.gateway.execution(query_id)
    assert execution is not None
    deadline = time.monotonic() + 10
    while execution.ended is None and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_long_answer_comes_in_pages_of_bounded_size(client: httpx.Client) -> None:
    found = pages(client, "SELECT id, text, text, text, text, text FROM water.main.big ORDER BY id")
    rows = [row[0] for page in found for row in page.json().get("data", [])]
    assert rows == list(range(BIG_ROWS))
    assert sum("data" in page.json() for page in found) > 2
    assert max(len(page.content) for page in found) < 8_000_000


def test_an_empty_answer_has_columns_and_no_data(client: httpx.Client) -> None:
    rows, last = run(client, "SELECT id FROM water.main.big WHERE id < 0")
    assert rows == []
    assert [c["type"] for c in last["columns"]] == ["bigint"]


def test_labels_are_as_typed_and_unnamed_columns_are_numbered(client: httpx.Client) -> None:
    _, last = run(client, "SELECT Org_No, 1 AS Foo, 2, count(*) FROM water.main.company_month GROUP BY 1")
    assert [c["name"] for c in last["columns"]] == ["Org_No", "Foo", "_col2", "_col3"]


def test_a_page_can_be_asked_for_again_and_older_ones_are_gone(client: httpx.Client) -> None:
    found = pages(client, "SELECT id FROM water.main.big")
    uris = [page.json().get("nextUri") for page in found]
    again = client.get(uris[-2])
    assert again.json() == found[-1].json()
    assert client.get(uris[0]).status_code == 410


def test_two_requests_for_the_same_page_get_the_same_page(served: Served, client: httpx.Client) -> None:
    uri = submit(client, "SELECT id FROM water.main.big")["nextUri"]

    def fetch(_: int) -> dict[str, Any]:
        return httpx.get(uri, timeout=30).json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(fetch, range(8)))
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("change", ["slug", "end of slug", "cut slug", "query", "future", "kind", "token"])
def test_a_wrong_address_is_not_found(client: httpx.Client, change: str) -> None:
    uri = submit(client, "SELECT 1")["nextUri"]
    *base, kind, query, slug, token = uri.split("/")
    wrong = {
        "slug": [kind, query, ("x" if slug[0] != "x" else "y") + slug[1:], token],
        "end of slug": [kind, query, slug[:-1] + ("A" if slug[-1] != "A" else "B"), token],
        "cut slug": [kind, query, slug[:-1], token],
        "query": [kind, query[:-1] + "~", slug, token],
        "future": [kind, query, slug, "7"],
        "kind": ["finished", query, slug, token],
        "token": [kind, query, slug, "-1"],
    }[change]
    address = "/".join([*base, *wrong])
    assert address != uri
    assert client.get(address).status_code == 404
    assert client.delete(address).status_code == 404 or change == "future"


def test_slugs_are_long_and_never_repeat(client: httpx.Client) -> None:
    slugs = {submit(client, "SELECT 1")["nextUri"].split("/")[-2] for _ in range(20)}
    assert len(slugs) == 20
    assert all(len(slug) >= 22 for slug in slugs), "128 bits are 22 characters of base64"


def test_following_pages_need_no_login(served: Served, client: httpx.Client) -> None:
    uri = submit(client, "SELECT 1")["nextUri"]
    assert httpx.get(uri).status_code == 200


def test_an_idle_poll_is_held(served: Served, client: httpx.Client) -> None:
    gateway = served.gateway
    gateway.release.clear()
    uri = submit(client, "SELECT id FROM water.main.slow")["nextUri"]
    first = client.get(uri).json()
    while "data" not in first:  # on a busy machine the first poll may be over before there is any
        first = client.get(first["nextUri"]).json()
    assert len(first["data"]) == 10, "what is there is handed out at once"
    started = time.monotonic()
    second = client.get(first["nextUri"]).json()
    assert time.monotonic() - started > 0.5
    assert "data" not in second
    gateway.release.set()
    third = client.get(second["nextUri"]).json()
    while "nextUri" in third:
        third = client.get(third["nextUri"]).json()
    assert third["stats"]["state"] == "FINISHED"


def test_a_waiting_poll_answers_as_soon_as_something_is_there() -> None:
    """Long before its wait is over, which on this server is longer than any machine stands still."""
    with (
        serve(StubGateway(), Options(poll_seconds=60)) as served,
        httpx.Client(base_url=served.url, headers={"X-Trino-User": "lin"}, timeout=90, verify=False) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = client.get(submit(client, "SELECT id FROM water.main.slow")["nextUri"]).json()
        assert len(first["data"]) == 10
        started = time.monotonic()
        waiting = pool.submit(client.get, first["nextUri"])
        with pytest.raises(FutureTimeout):
            waiting.result(0.2)
        served.gateway.release.set()
        assert waiting.result().json()["stats"]["state"] == "FINISHED"
        assert time.monotonic() - started < 45


def test_a_statement_is_running_as_soon_as_departments_are_at_work() -> None:
    execution = Execution("q1", "SELECT 1", Session("lin"))
    assert stats(execution)["state"] == "QUEUED"
    execution.part("f0", "water", state="running")
    found = stats(execution)
    assert (found["state"], found["scheduled"], found["runningSplits"]) == ("RUNNING", True, 1)
    assert [stage["stageId"] for stage in found["rootStage"]["subStages"]] == ["water"]


# -- cancelling ----------------------------------------------------------------------------------------


@pytest.fixture
def held(served: Served) -> Iterator[None]:
    """`slow` tables stay slow for the test."""
    served.gateway.release.clear()
    yield
    served.gateway.release.set()


@pytest.mark.usefixtures("held")
def test_delete_cancels_and_the_next_page_says_so(client: httpx.Client) -> None:
    page = client.get(submit(client, "SELECT id FROM water.main.slow")["nextUri"]).json()
    assert client.head(page["nextUri"]).status_code == 200
    assert client.delete(page["nextUri"]).status_code == 204
    last = client.get(page["nextUri"]).json()
    assert last["error"]["errorName"] == "USER_CANCELED"
    assert last["error"]["errorCode"] == 3
    assert last["stats"]["state"] == "FAILED"
    assert "nextUri" not in last
    assert "data" not in last


def test_cancelling_an_answer_half_read_ends_it(client: httpx.Client) -> None:
    page = client.get(submit(client, "SELECT * FROM water.main.big")["nextUri"]).json()
    assert client.delete(page["nextUri"]).status_code == 204
    assert client.get(page["nextUri"]).json()["error"]["errorName"] == "USER_CANCELED"


@pytest.mark.usefixtures("held")
def test_a_client_with_enough_rows_can_stop_the_departments_and_keep_them(client: httpx.Client) -> None:
    page = client.get(submit(client, "SELECT id FROM water.main.slow")["nextUri"]).json()
    assert len(page["data"]) == 10
    assert client.delete(page["partialCancelUri"]).status_code == 204
    last = client.get(page["nextUri"]).json()
    assert last["stats"]["state"] == "FINISHED"
    assert "rows are missing" in last["warnings"][0]["message"]
    assert "error" not in last
    *base, _ = page["partialCancelUri"].split("/")
    assert client.delete("/".join([*base, "guessed"])).status_code == 404


def test_a_statement_that_has_ended_cannot_be_stopped_early(client: httpx.Client) -> None:
    _, last = run(client, "SELECT 1")
    assert "partialCancelUri" not in last


@pytest.mark.usefixtures("held")
def test_kill_query_ends_another_statement_of_mine(client: httpx.Client) -> None:
    page = client.get(submit(client, "SELECT id FROM water.main.slow")["nextUri"]).json()
    run(client, f"CALL system.runtime.kill_query(query_id => '{page['id']}', message => 'enough')")
    error = client.get(page["nextUri"]).json()["error"]
    assert error["errorCode"] == 38
    assert "enough" in error["message"]


@pytest.mark.usefixtures("held")
def test_the_query_list_shows_my_statements_and_can_cancel_them(served: Served, client: httpx.Client) -> None:
    page = client.get(submit(client, "SELECT id FROM water.main.slow")["nextUri"]).json()
    address = f"/v1/query/{page['id']}"
    assert page["id"] in [q["queryId"] for q in client.get("/v1/query?state=RUNNING").json()]
    assert client.get(address).json()["query"] == "SELECT id FROM water.main.slow"
    ana = {"X-Trino-User": "ana"}
    assert page["id"] not in [q["queryId"] for q in client.get("/v1/query", headers=ana).json()]
    assert client.get(address, headers=ana).status_code == 410
    assert client.delete(address, headers=ana).status_code == 410
    assert client.delete(address).status_code == 204
    assert client.get(page["nextUri"]).json()["error"]["errorName"] == "USER_CANCELED"
    info = client.get(address).json()
    assert info["state"] == "FAILED"
    assert info["errorCode"] == {"code": 3, "name": "USER_CANCELED", "type": "USER_ERROR"}


def test_an_unknown_query_is_gone(client: httpx.Client) -> None:
    assert client.get("/v1/query/20200101_000000_00000_aaaaa").status_code == 410


def test_a_statement_that_nobody_reads_is_abandoned() -> None:
    with (
        serve(StubGateway(), Options(abandon_seconds=0.4)) as served,
        httpx.Client(base_url=served.url, verify=False) as client,
    ):
        client.headers["X-Trino-User"] = "lin"
        page = submit(client, "SELECT id FROM water.main.slow")
        execution = served.gateway.execution(page["id"])
        assert execution is not None
        cancelled = threading.Event()
        execution.on_cancel(cancelled.set)
        assert cancelled.wait(10)
        while "nextUri" in page:
            page = client.get(page["nextUri"]).json()
        assert page["error"]["errorName"] == "ABANDONED_QUERY"


def test_too_many_statements_are_asked_to_come_back() -> None:
    with (
        serve(StubGateway(), Options(max_queries=2)) as served,
        httpx.Client(base_url=served.url, verify=False) as client,
    ):
        client.headers["X-Trino-User"] = "lin"
        first = submit(client, "SELECT id FROM water.main.slow")
        submit(client, "SELECT id FROM water.main.slow")
        refused = client.post("/v1/statement", content="SELECT 1")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        client.delete(first["nextUri"])
        assert "error" in client.get(first["nextUri"]).json()
        assert client.post("/v1/statement", content="SELECT 1").status_code == 200


# -- errors --------------------------------------------------------------------------------------------


def test_an_error_has_the_shape_that_clients_decode(client: httpx.Client) -> None:
    _, last = run(client, "SELECT nope FROM tax.main.firm")
    error = last["error"]
    assert error["errorName"] == "COLUMN_NOT_FOUND"
    assert error["errorCode"] == 47
    assert error["errorType"] == "USER_ERROR"
    assert error["message"].startswith("line 1:8: Column 'nope' cannot be resolved")
    assert error["errorLocation"] == {"lineNumber": 1, "columnNumber": 8}
    assert error["failureInfo"]["type"] == "io.trino.spi.TrinoException"
    assert error["failureInfo"]["stack"] == []
    assert last["stats"]["state"] == "FAILED"


def test_an_error_in_the_middle_hides_the_rows_not_yet_read(client: httpx.Client) -> None:
    rows, last = run(client, "SELECT * FROM water.main.broken")
    assert last["error"]["errorName"] == "CATALOG_UNAVAILABLE"
    assert last["error"]["errorType"] == "EXTERNAL"
    assert len(rows) in (0, 10)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT 1;", "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", "SYNTAX_ERROR"),
        ("INSERT INTO t SELECT 1", "NOT_SUPPORTED"),
        ("SELECT * FROM tax.main.nope", "TABLE_NOT_FOUND"),
        ("SELECT * FROM nope.main.nope", "TABLE_NOT_FOUND"),
        ("SELECT * FROM firm", "MISSING_SCHEMA_NAME"),
        ("SHOW TABLES FROM tax.nope", "SCHEMA_NOT_FOUND"),
        ("SHOW SCHEMAS FROM nope", "CATALOG_NOT_FOUND"),
        ("DESCRIBE tax.main.nope", "TABLE_NOT_FOUND"),
        ("USE nope.main", "CATALOG_NOT_FOUND"),
        ("SELECT no_such_function(1)", "FUNCTION_NOT_FOUND"),
        ('SELECT * FROM tax.main."firm$partitions"', "TABLE_NOT_FOUND"),
    ],
)
def test_faults_have_trinos_names(client: httpx.Client, sql: str, name: str) -> None:
    assert run(client, sql)[1]["error"]["errorName"] == name


# -- session headers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "header", "value", "update"),
    [
        ("USE tax.main", "X-Trino-Set-Catalog", "tax", "USE"),
        ("USE tax.main", "X-Trino-Set-Schema", "main", "USE"),
        ("SET SESSION purpose = 'a b&c'", "X-Trino-Set-Session", "purpose=a+b%26c", "SET SESSION"),
        ("SET TIME ZONE 'Asia/Tokyo'", "X-Trino-Set-Session", "time_zone_id=Asia%2FTokyo", "SET TIME ZONE"),
        ("RESET SESSION purpose", "X-Trino-Clear-Session", "purpose", "RESET SESSION"),
        ("SET TIME ZONE LOCAL", "X-Trino-Clear-Session", "time_zone_id", "SET TIME ZONE"),
        ("SET ROLE ALL", "X-Trino-Set-Role", "system=ALL", "SET ROLE"),
        (
            "RESET SESSION AUTHORIZATION",
            "X-Trino-Reset-Authorization-User",
            "true",
            "RESET SESSION AUTHORIZATION",
        ),
        ("PREPARE p FROM SELECT ? + 1", "X-Trino-Added-Prepare", "p=SELECT+%3F+%2B+1", "PREPARE"),
    ],
)
def test_statements_about_the_session_answer_by_header(
    client: httpx.Client, sql: str, header: str, value: str, update: str
) -> None:
    found = pages(client, sql)
    assert found[-1].headers[header] == value
    assert found[-1].json()["updateType"] == update
    assert found[-1].json()["columns"] == []
    assert all(header not in page.headers for page in found[:-1])


def test_list_headers_come_repeated_or_joined(served: Served) -> None:
    name = "X-Trino-Prepared-Statement"
    entries = [(name, "a=" + quote_plus("SELECT 1")), (name, "b=SELECT+2,c=SELECT%203")]
    with httpx.Client(base_url=served.url, verify=False) as client:
        for statement, value in (("a", 1), ("b", 2), ("c", 3)):
            response = client.post(
                "/v1/statement",
                content=f"EXECUTE {statement}",
                headers=[("X-Trino-User", "lin"), ("X-Trino-Session", ""), *entries],
            )
            page = client.get(response.json()["nextUri"]).json()
            assert page["data"] == [[value]]


def compressed(sql: bytes) -> dict[str, str]:
    packed = base64.urlsafe_b64encode(zstandard.compress(sql)).decode()
    return {"X-Trino-Prepared-Statement": f"p={quote_plus('$zstd:' + packed)}"}


def test_a_compressed_prepared_statement_is_understood_and_a_bomb_is_not(client: httpx.Client) -> None:
    assert run(client, "EXECUTE p", compressed(b"SELECT 42"))[0] == [[42]]
    bomb = compressed(b" " * 50_000_000)
    assert client.post("/v1/statement", content="EXECUTE p", headers=bomb).status_code == 400


def test_long_headers_are_accepted(client: httpx.Client) -> None:
    long = quote_plus("SELECT " + ", ".join(str(i) for i in range(6000)))
    assert len(long) > 32_000
    rows, _ = run(client, "EXECUTE p", {"X-Trino-Prepared-Statement": f"p={long}"})
    assert len(rows[0]) == 6000


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Trino-Schema": "main"},
        {"X-Trino-Session": "purpose"},
        {"X-Trino-Time-Zone": "Mars/Base"},
        {"X-Trino-Prepared-Statement": "p=%24zstd%3Aabc"},
        {"X-Forwarded-Host": "a b"},
    ],
)
def test_malformed_headers_are_a_bad_request_in_one_line(client: httpx.Client, headers: dict[str, str]) -> None:
    response = client.post("/v1/statement", content="SELECT 1", headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("text/plain")
    assert "\n" not in response.text


def test_an_unknown_session_property_is_an_error_of_the_query(client: httpx.Client) -> None:
    _, last = run(client, "SELECT 1", {"X-Trino-Session": "hive.nope=1"})
    assert last["error"]["errorName"] == "INVALID_SESSION_PROPERTY"


def test_an_empty_statement_is_a_bad_request(client: httpx.Client) -> None:
    assert client.post("/v1/statement", content=b"").status_code == 400
    assert client.post("/v1/statement", content=b" \n").status_code == 400
    assert client.post("/v1/statement", content=b"\xff").status_code == 400


def test_addresses_are_those_that_the_client_used(client: httpx.Client) -> None:
    def following(**headers: str) -> str:
        return submit(client, "SELECT 1", **headers)["nextUri"]

    assert following(Host="gw.city:8443").startswith("http://gw.city:8443/")
    assert following(**{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "gw.city"}).startswith("https://gw.city/")
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "gw.city", "X-Forwarded-Port": "8443"}
    assert following(**proxied).startswith("https://gw.city:8443/")
    assert following(**{**proxied, "X-Forwarded-Port": "443"}).startswith("https://gw.city/")


# -- transactions --------------------------------------------------------------------------------------


def begin(client: httpx.Client) -> dict[str, str]:
    last = pages(client, "START TRANSACTION READ ONLY", {"X-Trino-Transaction-Id": "NONE"})[-1]
    return {"X-Trino-Transaction-Id": last.headers["X-Trino-Started-Transaction-Id"]}


def test_a_transaction_is_started_used_and_committed(client: httpx.Client) -> None:
    inside = begin(client)
    assert run(client, "SELECT 1", inside)[0] == [[1]]
    last = pages(client, "COMMIT", inside)[-1]
    assert last.headers["X-Trino-Clear-Transaction-Id"] == "true"
    assert run(client, "SELECT 1", inside)[1]["error"]["errorName"] == "UNKNOWN_TRANSACTION"


def test_a_client_without_transactions_cannot_start_one(client: httpx.Client) -> None:
    assert run(client, "START TRANSACTION")[1]["error"]["errorName"] == "INCOMPATIBLE_CLIENT"
    assert run(client, "COMMIT", {"X-Trino-Transaction-Id": "NONE"})[1]["error"]["errorName"] == "NOT_IN_TRANSACTION"


def test_closing_a_result_early_aborts_the_transaction(client: httpx.Client) -> None:
    inside = begin(client)
    page = client.get(submit(client, "SELECT * FROM water.main.big", **inside)["nextUri"]).json()
    client.delete(page["nextUri"])
    assert run(client, "SELECT 1", inside)[1]["error"]["errorName"] == "TRANSACTION_ALREADY_ABORTED"
    last = pages(client, "COMMIT", inside)[-1]
    assert last.json()["error"]["errorCode"] == 22
    assert last.headers["X-Trino-Clear-Transaction-Id"] == "true", "or the client could never go on"
    assert "error" not in run(client, "ROLLBACK", inside)[1], "JDBC keeps the id and rolls back"


def test_an_aborted_transaction_can_be_rolled_back(client: httpx.Client) -> None:
    inside = begin(client)
    assert "error" in run(client, "SELECT nope", inside)[1]
    assert run(client, "SELECT 1", inside)[1]["error"]["errorName"] == "TRANSACTION_ALREADY_ABORTED"
    assert pages(client, "ROLLBACK", inside)[-1].headers["X-Trino-Clear-Transaction-Id"] == "true"


# -- login ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    """A gateway without the door for bare names."""
    with serve(StubGateway(dev=False)) as found:
        yield found


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_without_login_there_is_a_challenge_for_each_method(locked: Served) -> None:
    for response in (
        httpx.post(f"{locked.url}/v1/statement", content="SELECT 1"),
        httpx.post(f"{locked.url}/v1/statement", content="SELECT 1", headers={"X-Trino-User": "lin"}),
        httpx.head(f"{locked.url}/v1/statement"),
        httpx.get(f"{locked.url}/v1/query"),
    ):
        assert response.status_code == 401
        challenges = response.headers.get_list("WWW-Authenticate")
        assert any(c.startswith('Basic realm="Trino"') for c in challenges)
        assert any(c.startswith("Bearer") for c in challenges)


@pytest.mark.parametrize(
    "headers", [basic("lin", "token-lin"), {"Authorization": "Bearer token-lin"}, {"Authorization": "bearer token-lin"}]
)
def test_a_token_is_a_login_as_password_or_bearer(locked: Served, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=locked.url, headers=headers, verify=False) as client:
        assert client.head("/v1/statement").status_code == 200
        rows, _ = run(client, "SELECT current_user")
        assert rows == [["lin"]]


@pytest.mark.parametrize(
    "headers",
    [
        basic("lin", "wrong"),
        basic("ana", "token-lin"),
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic ???"},
        {"Authorization": "Negotiate abc"},
        {"Authorization": "Bearer"},
    ],
)
def test_a_bad_login_is_401(locked: Served, headers: dict[str, str]) -> None:
    assert httpx.post(f"{locked.url}/v1/statement", content="SELECT 1", headers=headers).status_code == 401


def test_a_token_does_not_let_anybody_act_as_somebody_else(locked: Served) -> None:
    headers = {"Authorization": "Bearer token-lin", "X-Trino-User": "ana"}
    with httpx.Client(base_url=locked.url, headers=headers, verify=False) as client:
        assert run(client, "SELECT 1")[1]["error"]["errorName"] == "PERMISSION_DENIED"


def test_an_unknown_name_at_the_open_door_is_401(served: Served) -> None:
    refused = httpx.post(f"{served.url}/v1/statement", content="SELECT 1", headers={"X-Trino-User": "nobody"})
    assert refused.status_code == 401
    assert httpx.post(f"{served.url}/v1/statement", content="SELECT 1").status_code == 401


# -- capabilities --------------------------------------------------------------------------------------


def test_a_client_says_whether_it_knows_more_than_three_digits(served: Served, client: httpx.Client) -> None:
    rows, last = run(client, "SELECT opened FROM tax.main.firm WHERE active", CAPABLE)
    assert last["columns"][0]["type"] == "timestamp(6)"
    assert last["columns"][0]["typeSignature"]["arguments"] == [{"kind": "LONG", "value": 6}]
    assert rows == [["2001-02-03 04:05:06.789012"]]
    rows, last = run(client, "SELECT opened FROM tax.main.firm WHERE active")
    assert last["columns"][0]["type"] == "timestamp"
    assert last["columns"][0]["typeSignature"]["arguments"] == []
    assert rows == [["2001-02-03 04:05:06.789"]]


def test_a_value_that_does_not_fit_its_type_is_an_internal_error_without_the_value(
    served: Served, client: httpx.Client
) -> None:
    served.gateway.can("SELECT misfit", {"n": "bigint"}, [pa.array(["secret-value"])])
    _, last = run(client, "SELECT misfit")
    assert last["error"]["errorType"] == "INTERNAL_ERROR"
    assert "secret-value" not in str(last)


# -- other addresses -----------------------------------------------------------------------------------


def test_info_and_health_are_public(served: Served) -> None:
    info = httpx.get(f"{served.url}/v1/info").json()
    assert info["nodeVersion"] == {"version": "476"}
    assert info["coordinator"] is True
    assert info["starting"] is False
    assert info["uptime"].endswith("s")
    assert httpx.get(f"{served.url}/v1/info/state").json() == "ACTIVE"
    assert httpx.get(f"{served.url}/healthz").status_code == 200
    assert httpx.get(f"{served.url}/readyz").status_code == 200


def test_status_is_public_and_says_nothing_of_anybody(served: Served) -> None:
    found = httpx.get(f"{served.url}/v1/status").json()
    assert found["nodeVersion"] == {"version": "476"}
    assert found["coordinator"] is True
    assert set(found) == {
        "nodeId", "nodeVersion", "environment", "coordinator", "uptime", "processors", "runningQueries",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/info", "/v1/info/state", "/v1/status", "/healthz", "/readyz"])
def test_load_balancers_may_ask_by_head(served: Served, path: str) -> None:
    response = httpx.head(f"{served.url}{path}")
    assert (response.status_code, response.content) == (200, b"")


def test_answers_are_never_to_be_stored_on_the_way(client: httpx.Client) -> None:
    assert {page.headers["Cache-Control"] for page in pages(client, "SELECT 1")} == {"no-store"}


def test_metrics_count_statements_and_name_nobody(served: Served, client: httpx.Client) -> None:
    run(client, "SELECT 'canary-value'")
    text = httpx.get(f"{served.url}/metrics").text
    assert 'atoll_statements_total{outcome="OK"}' in text
    assert "canary-value" not in text
    assert "lin" not in text.replace("line", "")


def test_the_info_address_leads_to_a_page(client: httpx.Client) -> None:
    page = submit(client, "SELECT 1")
    response = client.get(page["infoUri"], follow_redirects=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
