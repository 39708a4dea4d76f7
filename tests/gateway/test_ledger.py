"""Two books that watch each other: neither side can rewrite, drop or cut its own without the other showing it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from catalog.errors import AccessDenied, CityError, DepartmentError, InternalError, Outcome
from catalog.exchange import Head, Receipt
from catalog.keys import SigningKey, load
from catalog.ledger import GENESIS, Ledger, _Check, read_ledger, verify_ledger, witnessed
from gateway.execution import Execution, Session
from gateway.ledger import GatewayLedger
from gateway.pipeline import Gateway
from gateway.plan import FragmentPlan
from gateway.settings import GatewaySettings, IdentitySettings, Limits

SESSION = Session("lin", token="t", purpose="mass-balance")
KEY = SigningKey.generate()


def plan(department: str = "water") -> FragmentPlan:
    return FragmentPlan("f0", department, "SELECT 1 AS c0", ("c0",), ())


def receipt(head: Head, query: str) -> Receipt:
    return Receipt(id="r", department="water", query_id=query, fragment_id=f"{query}_f0", sub="lin",
                   purpose="mass-balance", sql_sha256="", rows=3, ledger=head)  # fmt: skip


def talk(folder: Path, statements: int = 50) -> tuple[Path, Path]:
    """Statements through a gateway to one department: (the gateway's ledger, the department's)."""
    gateway = GatewayLedger(folder / "gateway")
    agent = Ledger(folder / "agent.jsonl", KEY)
    for number in range(statements):
        execution = Execution(f"q{number}", "SELECT 1", SESSION)
        gateway.begin(execution, SESSION, [plan()])
        asked = {"fragment": f"q{number}_f0", "sub": "lin"}
        agent.append("begin", {**asked, "witness": gateway.head.model_dump(mode="json")})
        head = agent.append("end", {**asked, "outcome": "OK"})
        execution.part(f"q{number}_f0", "water", receipt=receipt(head, f"q{number}"))
        gateway.end(execution, None)
    gateway.close()
    agent.close()
    return folder / "gateway" / "ledger.jsonl", folder / "agent.jsonl"


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two ledgers of 100 statements: 200 records and more."""
    return talk(tmp_path_factory.mktemp("books"), 100)


def key_of(book: Path) -> Any:
    return KEY.public_jwk if book.name == "agent.jsonl" else load(book.parent / "ledger.key").public_jwk


def heads_in(book: Path) -> list[Head]:
    return [head for record in read_ledger(book) for _, head in witnessed(record)]


def pairs(books: tuple[Path, Path]) -> list[tuple[Path, Path]]:
    return [books, (books[1], books[0])]


def test_both_books_hold_and_name_each_others_heads(books: tuple[Path, Path]) -> None:
    for own, other in pairs(books):
        report = verify_ledger(own, key_of(own), heads_in(other))
        assert (report.good, report.unfinished, report.witnessed) == (True, (), 100)


def test_every_flipped_byte_of_either_book_is_found(books: tuple[Path, Path]) -> None:
    """Up to its own line a book is whole, so that each flip is judged where it lies."""
    for book in books:
        check = _Check(key_of(book))
        previous, last = GENESIS, ""
        lines = book.read_bytes().splitlines(keepends=True)
        assert len(lines) >= 200
        for seq, line in enumerate(lines, start=1):
            for place in range(len(line)):
                flipped = bytearray(line)
                flipped[place] ^= 1 << (seq + place) % 8
                assert _bad(check, bytes(flipped), seq, previous, last), (seq, place)
            entry = orjson.loads(line)
            assert not check.fault(line, entry, seq, previous, last)
            previous, last = entry["h"], entry["r"]["time"]


def _bad(check: _Check, line: bytes, seq: int, previous: str, last: str) -> bool:
    try:
        return bool(check.fault(line, orjson.loads(line), seq, previous, last))
    except (ValueError, KeyError, TypeError):
        return True


def test_every_record_that_goes_or_moves_is_found(books: tuple[Path, Path], tmp_path: Path) -> None:
    for own, other in pairs(books):
        lines = own.read_bytes().splitlines(keepends=True)
        kept = heads_in(other)
        for place in range(0, len(lines) - 1, 7):
            changed = tmp_path / "changed.jsonl"
            changed.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
            assert verify_ledger(changed, key_of(own), kept).bad_seq == place + 1
            swapped = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
            changed.write_bytes(b"".join(swapped))
            assert verify_ledger(changed, key_of(own), kept).bad_seq == place + 1


def test_every_cut_is_found_up_to_what_the_other_side_has_seen(books: tuple[Path, Path], tmp_path: Path) -> None:
    for own, other in pairs(books):
        lines = own.read_bytes().splitlines(keepends=True)
        kept = heads_in(other)
        seen = max(h.seq for h in kept if verify_ledger_signed(own, h))
        for length in [*range(0, seen, 9), seen - 1]:
            cut = tmp_path / "cut.jsonl"
            cut.write_bytes(b"".join(lines[:length]))
            assert verify_ledger(cut, key_of(own)).good
            assert verify_ledger(cut, key_of(own), kept).bad_seq == length + 1
        assert len(lines) - seen <= 3


def verify_ledger_signed(book: Path, head: Head) -> bool:
    return _Check(key_of(book)).signed(head.seq, head.hash, head.signature)


def test_a_refusal_before_anybody_was_asked_is_one_record(tmp_path: Path) -> None:
    book = GatewayLedger(tmp_path)
    execution = Execution("q1", "SELECT secret_4711 FROM t", SESSION)
    book.end(execution, AccessDenied("m", Outcome.NOT_AVAILABLE, rule="no grant"))
    book.close()
    _, record, _ = read_ledger(tmp_path / "ledger.jsonl")
    assert (record["kind"], record["sub"], record["outcome"]) == ("refusal", "lin", "NOT_AVAILABLE")
    assert b"secret_4711" not in (tmp_path / "ledger.jsonl").read_bytes()


def test_what_asked_nobody_and_went_well_leaves_no_record(tmp_path: Path) -> None:
    book = GatewayLedger(tmp_path)
    book.end(Execution("q1", "SHOW TABLES", SESSION), None)
    book.close()
    assert [r["kind"] for r in read_ledger(tmp_path / "ledger.jsonl")] == ["start", "stop"]


def test_without_a_ledger_nothing_is_asked(tmp_path: Path) -> None:
    book = GatewayLedger(tmp_path)
    book._ledger._file.close()
    with pytest.raises(InternalError, match="ledger"):
        book.begin(Execution("q1", "SELECT 1", SESSION), SESSION, [plan()])


def test_a_crash_shows_as_a_statement_without_an_end(tmp_path: Path) -> None:
    book = GatewayLedger(tmp_path)
    book.begin(Execution("q1", "SELECT 1", SESSION), SESSION, [plan()])
    failed = Execution("q2", "SELECT 1", SESSION)
    book.begin(failed, SESSION, [plan()])
    book.end(failed, DepartmentError("down", Outcome.DOWN, who="water"))
    book._ledger.close()
    assert verify_ledger(tmp_path / "ledger.jsonl", key_of(tmp_path / "ledger.jsonl")).unfinished == ("q1",)


def test_opening_and_verifying_a_long_book_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    talk(tmp_path / "talk", 2)
    line = (tmp_path / "talk" / "agent.jsonl").read_bytes().splitlines(keepends=True)[-1]
    with path.open("wb") as file:
        for _ in range(60):
            file.write(line * 1000)
    tracemalloc.start()
    Ledger(path, KEY).close()
    assert sum(1 for _ in read_ledger(path)) == 60_000
    assert verify_ledger(path, KEY.public_jwk).bad_seq == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 20_000_000
    assert peak < 1_000_000


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway without departments that believes whatever purpose a session says."""
    identity = IdentitySettings(issuer="i", jwks=tmp_path / "jwks.json", token_url="http://127.0.0.1:1/token")
    (tmp_path / "jwks.json").write_bytes(orjson.dumps({"keys": [{**KEY.public_jwk, "alg": "EdDSA", "use": "sig"}]}))
    running = Gateway(GatewaySettings(state=tmp_path / "state", identity=identity, limits=Limits(memory_mb=256)))
    monkeypatch.setattr(running, "with_purpose", lambda session: (session, (session.purpose,)))
    yield running
    running.close()


READ = "SELECT kind, user, purpose FROM system.custody.ledger ORDER BY seq"


def test_an_auditor_reads_the_gateways_book_in_sql_and_that_is_in_it(gateway: Gateway) -> None:
    auditor = Session("zhao", token="t", purpose="audit")
    for _ in range(2):
        asked = gateway.submit(READ, auditor)
        found = [tuple(row.values()) for batch in asked.batches() for row in batch.to_pylist()]
    assert ("begin", "zhao", "audit") in found
    assert found[0][0] == "start"


def test_nobody_else_reads_it(gateway: Gateway) -> None:
    asked = gateway.submit(READ, Session("lin", token="t", purpose="mass-balance"))
    assert sum(batch.num_rows for batch in asked.batches()) == 0


def test_a_gateway_that_cannot_write_its_book_answers_nothing(gateway: Gateway) -> None:
    gateway.ledger._ledger._file.close()
    asked = gateway.submit(READ, Session("zhao", token="t", purpose="audit"))
    with pytest.raises(CityError, match="ledger"):
        list(asked.batches())
