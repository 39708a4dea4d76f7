"""EXPLAIN keeps its word: what it prints is what the agents receive, and nothing that only owners may know."""

from __future__ import annotations

from typing import Any

import orjson

from catalog.exchange import Fragment
from catalog.http import Client
from tests.city.live.running import City
from tests.city.live.wire import exchanges

TOTALS = (
    "SELECT c.company, sum(w.qty) AS qty FROM water.main.company_month AS w "
    "JOIN market.main.company_code AS c ON c.code = w.org_no WHERE w.unit = 't' GROUP BY c.company"
)


def explain(city: City, sql: str, user: str, **body: Any) -> dict[str, Any]:
    with Client(timeout=60, trust_env=False) as http:
        answer = http.post(f"{city.url}/api/explain", json={"sql": sql, **body}, headers={"X-Trino-User": user})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_department_receives_the_printed_text_byte_for_byte(city: City) -> None:
    fragments = explain(city, TOTALS, "lin")["fragments"]
    printed = {(f["department"], text) for f in fragments for text in (f["sql"], f["sql_with_keys"]) if text}
    query = city.ask(TOTALS, "lin")["query_id"]
    sent = set()
    for exchange in exchanges(city.taps):
        if exchange.path == "/v1/fragment" and exchange.method == "POST":
            message = Fragment.model_validate_json(exchange.request)
            if message.query_id == query:
                sent.add((exchange.department, message.sql))
    assert sent <= printed
    assert len(sent) == len(fragments)
    assert {d for d, _ in sent} == {"water", "market"}


def test_it_says_what_is_masked_and_floored_for_this_user(city: City) -> None:
    companies = explain(city, "SELECT uscc, legal_person_id FROM market.main.company", "lin")["text"]
    assert "legal_person_id pseudonym(market)" in companies
    sums = explain(city, "SELECT district_code, sum(qty) FROM environment.main.discharge GROUP BY 1", "bi")["text"]
    assert "fewer than 5 org_no" in sums


def test_it_never_shows_what_only_owners_know(city: City) -> None:
    text = orjson.dumps(explain(city, city.question(2), "lin")).decode().lower()
    for word in ("lag(", "meter_id", "corrects_id", "cum_value", "sales_invoice", "nfkc"):
        assert word not in text


def test_analyze_adds_what_was_delivered_and_nothing_from_inside(city: City) -> None:
    text = explain(city, TOTALS, "lin", analyze=True)["text"]
    assert "water:" in text
    assert "bytes delivered" in text


def test_a_dry_run_gives_every_departments_verdict_without_reading_a_source(city: City) -> None:
    fine = city.ask(TOTALS, "lin", dry_run=True)
    assert [f["verdict"] for f in fine["fragments"]] == [None, None]
    sql = "SELECT count(*) FROM environment.main.discharge WHERE qty > 5"
    refused = city.ask(sql, "bi", dry_run=True)
    assert refused["fragments"][0]["verdict"]["outcome"] == "MODE"
    assert refused["fragments"][0]["verdict"]["who"] == "environment"
