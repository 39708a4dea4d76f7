"""A JSON service behind a snapshot: pages, unchanged pages, limits of rate, failures, age."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors import rest
from connectors.base import Cancel, Cancelled, Source, SourceError
from connectors.sources import open_source, parse_source
from tests.conformance.helpers import read, scan_of, types_of
from tests.conformance.register import Register

LINE_COLUMNS = {
    "doc_no": "docNo",
    "doc_date": {"path": "date", "type": "date"},
    "buyer": "buyer.orgNo",
    "line": {"path": "lines[#]", "type": "integer"},
    "code": "lines[].substance.code",
    "qty": {"path": "lines[].qty", "type": "decimal(14,3)"},
    "density": {"path": "lines[].density", "type": "decimal(8,3)"},
}
LINES = types_of(
    doc_no="varchar", doc_date="date", buyer="varchar", line="integer", code="varchar", qty="decimal(14,3)",
    density="decimal(8,3)",
)  # fmt: skip


def document(number: int, *lines: dict[str, Any]) -> dict[str, Any]:
    return {
        "docNo": f"P{number}",
        "date": "2016-02-29",
        "buyer": {"orgNo": f"ORG{number}", "name": "x"},
        "lines": list(lines),
    }


def line(code: str, qty: Any, **more: Any) -> dict[str, Any]:
    return {"substance": {"code": code, "scheme": "cas"}, "qty": qty, **more}


DOCUMENTS = [
    document(1, line("L001", "12.5"), line("L002", "0.001", density=1.5)),
    document(2, line("L003", 7)),
    document(3),
    document(4, line("L001", 0.25, density=None)),
    document(5, line("L009", "1")),
]
ROWS = [
    ("P1", date(2016, 2, 29), "ORG1", 1, "L001", Decimal("12.500"), None),
    ("P1", date(2016, 2, 29), "ORG1", 2, "L002", Decimal("0.001"), Decimal("1.500")),
    ("P2", date(2016, 2, 29), "ORG2", 1, "L003", Decimal("7.000"), None),
    ("P4", date(2016, 2, 29), "ORG4", 1, "L001", Decimal("0.250"), None),
    ("P5", date(2016, 2, 29), "ORG5", 1, "L009", Decimal("1.000"), None),
]


def lines_table(**extra: Any) -> dict[str, Any]:
    return {"path": "purchases", "items": "items", "next": "next", "columns": LINE_COLUMNS, **extra}


Opener = Callable[..., Source]


@pytest.fixture
def register() -> Iterator[Register]:
    with Register({"purchases": list(DOCUMENTS), "stock": [{"no": i} for i in range(3)]}) as running:
        yield running


@pytest.fixture
def open_rest(register: Register, tmp_path: Path) -> Iterator[Opener]:
    opened: list[Source] = []

    def open_(**changes: Any) -> Source:
        config = {"kind": "rest", "url": register.url, "rate": 1000, "wait": "10s", "tables": {"line": lines_table()}}
        opened.append(open_source(parse_source({**config, **changes}), tmp_path, tmp_path / "private"))
        return opened[-1]

    yield open_
    register.release()
    for source in opened:
        source.close()


def test_every_line_of_every_page_is_a_row_with_its_documents_values(open_rest: Opener) -> None:
    source = open_rest()
    assert sorted(read(source, "line", LINES)) == ROWS
    (table,) = source.tables()
    assert {c.name: c.type for c in table.columns} == LINES
    assert table.rows == len(ROWS)


def test_an_owner_view_runs_over_the_snapshot(open_rest: Opener) -> None:
    view = "SELECT code, CAST(sum(qty) AS DECIMAL(38,3)) AS qty FROM line GROUP BY code ORDER BY code"
    found = read(open_rest(), view, types_of(code="varchar", qty="decimal(38,3)"))
    assert found[0] == ("L001", Decimal("12.750"))


def test_the_vintage_is_when_the_reading_began_and_refresh_renews_it(open_rest: Opener, register: Register) -> None:
    before = datetime.now(UTC)
    source = open_rest()
    assert len(read(source, "line", LINES)) == 5
    first = source.vintage()
    assert first is not None
    assert before <= first <= datetime.now(UTC)
    register.collections["purchases"].append(document(6, line("L001", "10.000")))
    assert len(read(source, "line", LINES)) == 5
    source.refresh()
    assert len(read(source, "line", LINES)) == 6
    second = source.vintage()
    assert second is not None
    assert second > first


def test_an_unchanged_page_is_not_sent_again(open_rest: Opener, register: Register) -> None:
    source = open_rest()
    read(source, "line", LINES)
    assert [status for _, status in register.requests] == [200, 200, 200]
    register.requests.clear()
    register.collections["purchases"][4] = document(5, line("L009", "2"))
    source.refresh()
    assert [status for _, status in register.requests] == [304, 304, 200]
    assert sorted(read(source, "line", LINES))[-1][5] == Decimal("2.000")


def test_two_tables_of_one_collection_share_its_pages(open_rest: Opener, register: Register) -> None:
    documents = lines_table(columns={"doc_no": "docNo"})
    source = open_rest(tables={"line": lines_table(), "document": documents})
    assert len(read(source, "document", types_of(doc_no="varchar"))) == 5
    assert len(register.requests) == 3


def test_a_busy_or_failing_service_is_asked_again(open_rest: Opener, register: Register) -> None:
    register.answers = [429, 503, 429]
    assert sorted(read(open_rest(), "line", LINES)) == ROWS
    assert [status for _, status in register.requests] == [429, 503, 429, 200, 200, 200]


def test_a_refusal_is_not_asked_again_at_once(
    open_rest: Opener, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "FIRST_RETRY_SECONDS", 30.0)
    register.answers = [403]
    source = open_rest(wait="1s")
    with pytest.raises(SourceError, match="HTTP 403"):
        read(source, "line", LINES)
    assert len(register.requests) == 1


def test_while_the_first_fill_runs_a_scan_waits_and_then_answers(open_rest: Opener, register: Register) -> None:
    register.hold()
    source = open_rest()
    assert source.vintage() is None
    threading.Timer(0.3, register.release).start()
    assert sorted(read(source, "line", LINES)) == ROWS


def test_a_scan_waits_no_longer_than_declared_and_can_be_cancelled(open_rest: Opener, register: Register) -> None:
    register.hold()
    source = open_rest(wait="1s")
    began = time.monotonic()
    with pytest.raises(SourceError, match="first snapshot is still being filled after 1 s"):
        read(source, "line", LINES)
    assert time.monotonic() - began < 2.5
    cancel = Cancel()
    threading.Timer(0.2, cancel.set).start()
    with pytest.raises(Cancelled):
        list(source.scan(scan_of("line", LINES), cancel))


def test_a_service_that_fails_later_leaves_the_old_snapshot_with_its_age(
    open_rest: Opener, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "ATTEMPTS", 2)
    source = open_rest()
    read(source, "line", LINES)
    vintage = source.vintage()
    register.answers = [500] * 4
    with pytest.raises(SourceError, match="HTTP 500"):
        source.refresh()
    assert sorted(read(source, "line", LINES)) == ROWS
    assert source.vintage() == vintage


def test_a_snapshot_is_renewed_when_it_is_too_old(open_rest: Opener, register: Register) -> None:
    source = open_rest(freshness="1s")
    assert len(read(source, "line", LINES)) == 5
    register.collections["purchases"].append(document(6, line("L001", "1")))
    end = time.monotonic() + 10
    while len(read(source, "line", LINES)) != 6:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_restart_answers_from_the_snapshot_on_disk_without_asking(open_rest: Opener, register: Register) -> None:
    source = open_rest()
    read(source, "line", LINES)
    vintage = source.vintage()
    source.close()
    register.requests.clear()
    register.hold()
    again = open_rest()
    assert sorted(read(again, "line", LINES)) == ROWS
    assert again.vintage() == vintage
    assert register.requests == []


def test_a_snapshot_made_by_other_rules_is_read_anew(open_rest: Opener, register: Register) -> None:
    read(open_rest(), "line", LINES)
    changed = open_rest(tables={"line": lines_table(columns={"no": "docNo"})})
    assert sorted(read(changed, "line", types_of(no="varchar"))) == [("P1",), ("P2",), ("P3",), ("P4",), ("P5",)]


def test_a_damaged_snapshot_is_read_anew(open_rest: Opener, tmp_path: Path) -> None:
    source = open_rest()
    read(source, "line", LINES)
    source.close()
    for path in (tmp_path / "private").rglob("*.parquet"):
        path.unlink()
    assert sorted(read(open_rest(), "line", LINES)) == ROWS


@pytest.mark.parametrize(
    ("bad", "column"),
    [
        (document(9, line("L", "many")), "qty"),
        (document(9, line("L", "1.2345")), "qty"),
        ({**document(9, line("L", "1")), "date": "29.2.2016"}, "doc_date"),
        ({**document(9, line("L", "1")), "docNo": ["P9"]}, "doc_no"),
    ],
)
def test_a_bad_value_names_its_column_and_other_tables_stay_usable(
    open_rest: Opener, register: Register, bad: dict[str, Any], column: str
) -> None:
    register.collections["purchases"].append(bad)
    stock = {"path": "stock", "items": "items", "next": "next", "columns": {"no": {"path": "no", "type": "bigint"}}}
    source = open_rest(tables={"line": lines_table(), "stock": stock})
    with pytest.raises(SourceError, match=f"'{column}'"):
        read(source, "line", LINES)
    assert sorted(read(source, "stock", types_of(no="bigint"))) == [(0,), (1,), (2,)]


def test_pages_may_be_counted_by_a_parameter(open_rest: Opener, register: Register) -> None:
    table = lines_table(page="page")
    del table["next"]
    assert sorted(read(open_rest(tables={"line": table}), "line", LINES)) == ROWS
    assert [path for path, _ in register.requests][-1].endswith("page=4")


@pytest.mark.parametrize(
    ("link", "reason"), [("http://127.0.0.1:9/v2/purchases", "another host"), ("/v2/purchases?page=1", "circle")]
)
def test_a_next_link_leads_neither_elsewhere_nor_in_circles(
    open_rest: Opener, register: Register, link: str, reason: str
) -> None:
    register.next_link = link
    with pytest.raises(SourceError, match=reason):
        read(open_rest(wait="1s"), "line", LINES)


def test_the_rate_is_kept(open_rest: Opener, register: Register) -> None:
    began = time.monotonic()
    read(open_rest(rate=10), "line", LINES)
    assert time.monotonic() - began >= 0.2  # three requests, a tenth of a second apart


def test_secrets_are_sent_as_headers(open_rest: Opener, register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTER_TOKEN", "s3cret")
    read(open_rest(headers={"Authorization": "env:REGISTER_TOKEN"}), "line", LINES)
    assert register.headers["Authorization"] == "s3cret"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"url": "http://user:pass@host/"}, "without user or password"),
        ({"url": "file:///etc/passwd"}, "http(s)"),
        ({"headers": {"Authorization": "Bearer x"}}, "by reference only"),
        ({"freshness": "soon"}, "no duration"),
        ({"tables": {"t": lines_table(page="page")}}, "not by both"),
        ({"tables": {"t": lines_table(columns={"a": "x[].b", "c": "y[].d"})}}, "one list only"),
        ({"tables": {"t": lines_table(columns={"a": "x[0].b"})}}, "is no path"),
        ({"rat": 5}, "did you mean 'rate'"),
    ],
)
def test_a_wrong_declaration_is_refused_in_plain_words(open_rest: Opener, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=r".*") as failure:
        open_rest(**changes)
    assert reason in str(failure.value)
