"""A client that does anything in any order: the protocol's promises hold along every path.

Hypothesis drives statements, polls, repeats, cancels and wrong addresses against a real server, plain and
encoded answers mixed, and checks after each step what a client relies on. PROTOCOL_STEPS says how long:
`PROTOCOL_STEPS=20000 pytest tests/protocol/test_machine.py`.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from typing import Any

import httpx
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.server.session import Options
from gateway.server.spool import ENCODINGS
from tests.protocol.conftest import Served, serve
from tests.protocol.stub import StubGateway
from tests.protocol.test_spooling import decoded

STEPS = 25
STATEMENTS = {
    "SELECT id FROM water.main.company_month WHERE false": "COLUMN_NOT_FOUND",
    "SELECT meters FROM water.main.company_month ORDER BY 1": list(range(100)),
    "SELECT id FROM water.main.big ORDER BY id LIMIT 70000": list(range(70_000)),
    "SELECT 1 WHERE false": [],
    "SELECT * FROM nope.main.nope": "TABLE_NOT_FOUND",
    "SHOW CATALOGS": ["system", "tax", "water"],
    "SELECT 1;": "SYNTAX_ERROR",
    "USE tax.main": [],
}


@dataclass
class Asked:
    """What the client knows of one of its statements."""

    sql: str
    page: dict[str, Any]
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    cancelled: bool = False
    stopped: bool = False

    @property
    def open(self) -> bool:
        return "nextUri" in self.page


class Client(RuleBasedStateMachine):
    """Any order of the requests that clients send."""

    served: Served
    http: httpx.Client

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def _chosen(self, number: int, opened: bool = True) -> Asked | None:
        candidates = [a for a in self.asked if a.open or not opened]
        return candidates[number % len(candidates)] if candidates else None

    @precondition(lambda self: len(self.asked) < 6)
    @rule(sql=st.sampled_from(sorted(STATEMENTS)), encoding=st.sampled_from(["", "", *ENCODINGS]))
    def submit(self, sql: str, encoding: str) -> None:
        headers = {"X-Trino-Query-Data-Encoding": encoding} if encoding else {}
        response = self.http.post("/v1/statement", content=sql, headers=headers)
        assert response.status_code == 200
        self.asked.append(Asked(sql, response.json()))

    @rule(number=st.integers(0, 9))
    def poll(self, number: int) -> None:
        asked = self._chosen(number)
        if asked is None:
            return
        uri = asked.page["nextUri"]
        response = self.http.get(uri)
        assert response.status_code == 200
        page = response.json()
        assert page["id"] == asked.page["id"]
        assert page.get("data") != []
        if "columns" in asked.page and "error" not in page:
            assert page["columns"] == asked.page["columns"]
        asked.rows += [row[0] for row in self._rows(page, len(asked.rows))]
        asked.seen.append((uri, page))
        asked.page = page

    def _rows(self, page: dict[str, Any], before: int) -> list[Any]:
        """The rows of a page, fetched and acknowledged where they lie elsewhere."""
        data = page.get("data", [])
        if isinstance(data, list):
            return data
        rows: list[Any] = []
        for segment in data["segments"]:
            assert segment["metadata"]["rowOffset"] == before + len(rows)
            if segment["type"] == "inline":
                content = base64.b64decode(segment["data"])
            else:
                fetched = self.http.get(segment["uri"])
                if fetched.status_code == 404:
                    # Only of a statement that was cancelled meanwhile.
                    assert self.http.get(page["nextUri"]).json()["error"]["errorName"] == "USER_CANCELED"
                    break
                content = fetched.content
                assert self.http.get(segment["ackUri"]).status_code == 200
            rows += decoded(data["encoding"], content, segment["metadata"])
        return rows

    @rule(number=st.integers(0, 9))
    def repeat_the_last_page(self, number: int) -> None:
        asked = self._chosen(number, opened=False)
        if asked is None or not asked.seen:
            return
        uri, page = asked.seen[-1]
        again = self.http.get(uri)
        if asked.cancelled and "data" in page:
            assert again.status_code == 410, "a cancelled statement has no rows any more"
        else:
            assert again.json() == page

    @rule(number=st.integers(0, 9), back=st.integers(2, 4))
    def ask_for_an_older_page(self, number: int, back: int) -> None:
        asked = self._chosen(number, opened=False)
        if asked is None or len(asked.seen) < back:
            return
        assert self.http.get(asked.seen[-back][0]).status_code == 410

    @rule(number=st.integers(0, 9), step=st.integers(2, 5))
    def ask_for_a_later_page(self, number: int, step: int) -> None:
        asked = self._chosen(number)
        if asked is None:
            return
        base, _, token = asked.page["nextUri"].rpartition("/")
        assert self.http.get(f"{base}/{int(token) + step - 1}").status_code == 404

    @rule(number=st.integers(0, 9), slug=st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=32))
    def guess_a_slug(self, number: int, slug: str) -> None:
        asked = self._chosen(number)
        if asked is None:
            return
        *base, _, token = asked.page["nextUri"].split("/")
        address = "/".join([*base, slug, token])
        assert self.http.get(address).status_code == 404
        assert self.http.delete(address).status_code == 404

    @rule(number=st.integers(0, 9))
    def keep_alive(self, number: int) -> None:
        asked = self._chosen(number)
        if asked is not None:
            assert self.http.head(asked.page["nextUri"]).status_code == 200

    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        asked = self._chosen(number)
        if asked is not None:
            assert self.http.delete(asked.page["nextUri"]).status_code == 204
            asked.cancelled = True

    @rule(number=st.integers(0, 9))
    def cancel_by_name(self, number: int) -> None:
        asked = self._chosen(number, opened=False)
        if asked is not None:
            assert self.http.delete(f"/v1/query/{asked.page['id']}").status_code == 204
            asked.cancelled |= asked.open

    @rule(number=st.integers(0, 9))
    def stop_early(self, number: int) -> None:
        asked = self._chosen(number)
        if asked is not None and "partialCancelUri" in asked.page:
            assert self.http.delete(asked.page["partialCancelUri"]).status_code == 204
            asked.stopped = True

    @rule(number=st.integers(0, 9))
    def look_it_up(self, number: int) -> None:
        asked = self._chosen(number, opened=False)
        if asked is not None:
            found = self.http.get(f"/v1/query/{asked.page['id']}").json()
            assert found["query"] == asked.sql
            assert asked.open or found["state"] in ("FINISHED", "FAILED", "FINISHING")

    @invariant()
    def what_has_ended_is_right(self) -> None:
        for asked in self.asked:
            expected = STATEMENTS[asked.sql]
            if asked.open:
                if isinstance(expected, list):
                    assert asked.rows == expected[: len(asked.rows)], "rows come once and in order"
                continue
            if "error" in asked.page:
                assert asked.page["stats"]["state"] == "FAILED"
                assert "data" not in asked.page
                assert asked.page["error"]["errorName"] == expected or asked.cancelled
            else:
                assert asked.page["stats"]["state"] == "FINISHED"
                if asked.rows != expected:
                    assert asked.stopped
                    assert "rows are missing" in asked.page["warnings"][-1]["message"]
                    assert asked.rows == list(expected)[: len(asked.rows)]


def test_every_order_of_requests_keeps_the_promises() -> None:
    examples = max(1, int(os.environ.get("PROTOCOL_STEPS", "1000")) // STEPS)
    # As many statements as the longest run may leave unfinished.
    options = Options(poll_seconds=0.2, max_queries=500, gone_seconds=5, abandon_seconds=5)
    with (
        serve(StubGateway(), options) as served,
        httpx.Client(base_url=served.url, headers={"X-Trino-User": "lin"}, timeout=30, verify=False) as http,
    ):
        Client.served, Client.http = served, http
        run_state_machine_as_test(Client, settings=settings(max_examples=examples, stateful_step_count=STEPS))
