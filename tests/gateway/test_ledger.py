"""Two books that watch each other: neither side can rewrite, drop or cut its own without the other showing it."""

from __future__ import annotations

import asyncio
import stat
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from catalog.errors import AccessDenied, CityError, DepartmentError, InternalError, Outcome
from catalog.exchange import Head
from catalog.keys import SigningKey, load
from catalog.ledger import GENESIS, Ledger, _Check, _Heads, read_ledger, verify_ledger, witnessed
from gateway.execution import Execution, Session
from gateway.ledger import GatewayLedger
from gateway.pipeline import Gateway
from gateway.plan import FragmentPlan
from gateway.settings import GatewaySettings, IdentitySettings, Limits
from tests.agent.house import House

SESSION = Session("lin", token="t", purpose="mass-balance")
KEY = SigningKey.generate()


def plan(department: str = "water") -> FragmentPlan:
    return FragmentPlan("f0", department, "SELECT 1 AS c0", ("c0",), ())


async def talk(folder: Path, statements: int) -> tuple[Path, Path]:
    """Statements through a gateway to one department, a real agent: (the gateway's ledger, the department's)."""
    policy = {
        "department": "water",
        "relations": {"usage": {"table": "usage", "columns": {"litres": "bigint"}}},
        "grants": [{"relation": "usage", "purposes": ["mass-balance"], "mode": "masked"}],
    }
    house = House(folder / "water", policy, {"usage": ("litres INTEGER", [(7,)])})
    gateway, agent = GatewayLedger(folder / "gateway"), house.open()
    async with house.client("lin", "mass-balance", agent) as ask:
        for number in range(statements):
            execution = Execution(f"q{number}", "SELECT 1", SESSION)
            gateway.begin(execution, SESSION, [plan()])
            await ask.rows("SELECT t.litres AS c0 FROM water.main.usage AS t", witness=gateway.head)
            assert ask.end is not None
            execution.part(f"q{number}_f0", "water", receipt=ask.end.receipt)
            gateway.end(execution, None)
    gateway.close()
    agent.close()
    return folder / "gateway" / "ledger.jsonl", folder / "water" / "state" / "ledger.jsonl"


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two ledgers of 100 statements: 200 records and more."""
    return asyncio.run(talk(tmp_path_factory.mktemp("books"), 100))


def key_of(book: Path) -> Any:
    return load(book.parent / "ledger.key").public_jwk


def heads_in(book: Path) -> list[Head]:
    return [head for record in read_ledger(book) for _, head in witnessed(record)]


def pairs(books: tuple[Path, Path]) -> list[tuple[Path, Path]]:
    return [books, (books[1], books[0])]


def test_both_books_hold_and_name_each_others_heads(books: tuple[Path, Path]) -> None:
    for own, other in pairs(books):
        report = verify_ledger(own, key_of(own), heads_in(other))
        assert (report.good, report.unfinished, report.witnessed) == (True, (), 100)


@dataclass(frozen=True)
class Line:
    """A record where it lies. previous, last: hash and time of the record before it."""

    seq: int
    text: bytes
    previous: str
    last: str


def lines_of(book: Path) -> list[Line]:
    found, previous, last = [], GENESIS, ""
    for seq, text in enumerate(book.read_bytes().splitlines(keepends=True), start=1):
        found.append(Line(seq, text, previous, last))
        entry = orjson.loads(text)
        previous, last = entry["h"], entry["r"]["time"]
    assert len(found) >= 200
    return found


def bad(check: _Check, text: bytes, there: Line) -> bool:
    """Whether a text is found out in the place of a record. Before that the book is whole: nothing else decides."""
    try:
        return bool(check.fault(text, orjson.loads(text), there.seq, there.previous, there.last))
    except (ValueError, KeyError, TypeError):
        return True


def test_every_flipped_byte_of_either_book_is_found(books: tuple[Path, Path]) -> None:
    for book in books:
        check = _Check(key_of(book))
        for line in lines_of(book):
            assert not bad(check, line.text, line)
            for place in range(len(line.text)):
                flipped = bytearray(line.text)
                flipped[place] ^= 1 << (line.seq + place) % 8
                assert bad(check, bytes(flipped), line), (line.seq, place)


def test_no_line_of_either_book_can_be_cut_anywhere(books: tuple[Path, Path]) -> None:
    for book in books:
        check = _Check(key_of(book))
        for line in lines_of(book):
            for length in range(1, len(line.text)):
                assert bad(check, line.text[:length], line), (line.seq, length)


def test_no_record_of_either_book_can_stand_in_the_place_of_another(books: tuple[Path, Path]) -> None:
    """All pairs: whatever was deleted, repeated or put in another order, the first record out of place is found."""
    for book in books:
        check = _Check(key_of(book))
        lines = lines_of(book)
        for there in lines:
            for other in lines:
                assert bad(check, other.text, there) is (other.seq != there.seq)


def test_every_record_that_goes_or_moves_is_named(books: tuple[Path, Path], tmp_path: Path) -> None:
    """The same by the whole way of verifying: gone, and in its successor's place."""
    changed = tmp_path / "changed.jsonl"
    for book in books:
        lines = [line.text for line in lines_of(book)]
        key = key_of(book)
        for place in range(0, len(lines) - 1, 13):
            changed.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
            assert verify_ledger(changed, key).bad_seq == place + 1
            swapped = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
            changed.write_bytes(b"".join(swapped))
            assert verify_ledger(changed, key).bad_seq == place + 1


def test_every_cut_is_found_up_to_what_the_other_side_has_seen(books: tuple[Path, Path], tmp_path: Path) -> None:
    """Each length of a book is whole as far as it goes, so the heads decide: they are asked at every length."""
    for own, other in pairs(books):
        kept, lines = heads_in(other), lines_of(own)
        seen = max(h.seq for h in kept if verify_ledger_signed(own, h))
        with closing(_Heads(kept, _Check(key_of(own)))) as heads:
            for line in lines:
                assert heads.left is (line.seq <= seen)
                assert heads.meet(line.seq, orjson.loads(line.text)["h"])
        assert len(lines) - seen <= 3
        cut = tmp_path / "cut.jsonl"
        for length in [*range(0, seen, 31), seen - 1, seen]:
            cut.write_bytes(b"".join(line.text for line in lines[:length]))
            assert verify_ledger(cut, key_of(own)).good
            assert verify_ledger(cut, key_of(own), kept).bad_seq == (length + 1 if length < seen else None)


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


def test_a_book_is_its_operators_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    GatewayLedger(tmp_path / "state").close()
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in (tmp_path / "state", *(tmp_path / "state").iterdir())}
    assert modes == {"state": 0o700, "ledger.jsonl": 0o600, "ledger.key": 0o600}


def test_without_a_key_to_sign_with_nothing_is_asked(tmp_path: Path) -> None:
    book = GatewayLedger(tmp_path)
    (tmp_path / "ledger.key").rename(tmp_path / "away")
    with pytest.raises(InternalError, match="ledger"):
        book.begin(Execution("q1", "SELECT 1", SESSION), SESSION, [plan()])
    (tmp_path / "away").rename(tmp_path / "ledger.key")
    book.begin(Execution("q2", "SELECT 1", SESSION), SESSION, [plan()])
    book.close()
    assert verify_ledger(tmp_path / "ledger.jsonl", key_of(tmp_path / "ledger.jsonl")).good


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


def test_opening_and_reading_a_long_book_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """Verifying one too: tests/cli/test_long_ledger.py."""
    path = tmp_path / "long.jsonl"
    book = Ledger(tmp_path / "short.jsonl", KEY)
    book.append("end", {"fragment": "f0", "sub": "lin", "purpose": "mass-balance", "delivered": "ab" * 32})
    book.close()
    line = (tmp_path / "short.jsonl").read_bytes()
    with path.open("wb") as file:
        for _ in range(60):
            file.write(line * 1000)
    tracemalloc.start()
    Ledger(path, KEY).close()
    assert sum(1 for _ in read_ledger(path)) == 60_000
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


def test_what_runs_when_a_gateway_is_stopped_has_its_end_in_the_book(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def works(execution: Execution) -> None:
        gateway.ledger.begin(execution, SESSION, [plan()])
        begun.set()
        while True:
            execution.check()
            threading.Event().wait(0.2)

    monkeypatch.setattr(gateway, "_answer", works)
    running = gateway.submit("SELECT 1", SESSION)
    assert begun.wait(5)
    gateway.close()
    book = tmp_path / "state" / "ledger.jsonl"
    assert [(r["kind"], r.get("query", "")) for r in read_ledger(book)][-3:] == [
        ("begin", running.query_id), ("end", running.query_id), ("stop", ""),
    ]  # fmt: skip
