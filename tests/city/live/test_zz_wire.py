"""What crossed the trust line while everything else ran: no canary, and exactly what the receipts say.

Named to run last: it reads what the taps kept of every other test of this folder.
"""

from __future__ import annotations

import base64
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset
import pytest

from catalog.exchange import Fragment, decode_keys
from tests.city.live.running import City
from tests.city.live.wire import Exchange, exchanges, texts

SHORTEST = 12


@pytest.fixture(scope="module")
def crossed(city: City) -> list[Exchange]:
    """Everything that passed the taps; a few questions first, so that this file also runs alone."""
    for number in (1, 2, 3, 5):
        city.answered(number)
    city.ask("SELECT * FROM market.main.company", "lin", "mass-balance")
    city.ask("SELECT * FROM water.main.account", "gao", "leak-audit")
    return list(exchanges(city.taps))


def canaries(city: City, crossed: list[Exchange]) -> set[str]:
    """Raw values of masked columns and of relations that give sums only, but for those that users sent."""
    silos = city.folder / "silos"
    found = set(_column(silos / "market" / "market.db", "SELECT legal_person_id FROM company"))
    found |= set(_column(silos / "water" / "water.db", "SELECT id_no FROM account"))
    found |= set(_column(silos / "health" / "health.db", "SELECT person_id FROM admission"))
    property_ = pyarrow.dataset.dataset(silos / "housing" / "property", format="parquet", partitioning="hive")
    for name in property_.schema.names:
        if name.startswith("owner_id"):
            found |= {v for v in property_.to_table(columns=[name]).column(0).to_pylist() if v}
    sent = {str(v) for e in crossed for v in _keys_sent(e)}
    return {v for v in found if v and len(v) >= SHORTEST} - sent


def _column(path: Path, sql: str) -> Iterator[str]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as silo:
        yield from (row[0] for row in silo.execute(sql) if row[0])


def _keys_sent(exchange: Exchange) -> list[object]:
    if exchange.path != "/v1/fragment" or not exchange.request:
        return []
    message = Fragment.model_validate_json(exchange.request)
    return [key for part in message.parts for key in decode_keys(part).to_pylist()]


def forms(value: str) -> set[str]:
    """A value as it might be smuggled: as it is, reversed, hexadecimal, base64 at any of three offsets."""
    data = value.encode()
    shifted = {base64.b64encode(b"x" * n + data).decode()[4 if n else 0 : -4] for n in range(3)}
    return {value, value[::-1], data.hex(), data.hex().upper()} | {s for s in shifted if len(s) >= SHORTEST}


def leaks(text: str, hunted: dict[str, set[str]]) -> Iterator[str]:
    """The hunted forms in a text. hunted: by their first `SHORTEST` letters."""
    windows = {text[i : i + SHORTEST] for i in range(len(text) - SHORTEST + 1)}
    for start in windows & hunted.keys():
        yield from (form for form in hunted[start] if form in text)


def by_start(values: set[str]) -> dict[str, set[str]]:
    """All forms of values, by their first `SHORTEST` letters."""
    found: dict[str, set[str]] = defaultdict(set)
    for value in values:
        for form in forms(value):
            found[form[:SHORTEST]].add(form)
    return found


def test_no_raw_value_crossed_the_trust_line(city: City, crossed: list[Exchange]) -> None:
    hunted = by_start(canaries(city, crossed))
    assert sum(map(len, hunted.values())) > 5_000
    for exchange in crossed:
        for text in texts(exchange):
            assert not any(leaks(text, hunted)), f"{exchange.department} {exchange.path} let a raw value out"


def test_the_hunt_would_find_a_leak(city: City, crossed: list[Exchange]) -> None:
    value = next(iter(canaries(city, crossed)))
    answer = crossed[0]
    leaking = Exchange(
        answer.department, "GET", "/v1/relations", b"", 200, b"{" + base64.b64encode(b"ab" + value.encode()), True
    )
    assert any(any(leaks(text, by_start({value}))) for text in texts(leaking))


def test_receipts_agree_with_the_bytes_that_passed(crossed: list[Exchange]) -> None:
    checked = 0
    for exchange in crossed:
        if exchange.path != "/v1/fragment" or exchange.status != 200 or not exchange.complete:
            continue
        batches, end = exchange.answered()
        if end is None or end.receipt is None:
            continue
        assert end.receipt.rows == end.rows == sum(b.num_rows for b in batches)
        # The receipt counts the stream before its last message, which carries the receipt itself.
        assert 0 <= len(exchange.body) - end.receipt.bytes < 10_000
        checked += 1
    assert checked > 20


def test_every_answer_that_was_read_to_its_end_had_an_end_record(crossed: list[Exchange]) -> None:
    for exchange in crossed:
        if exchange.path == "/v1/fragment" and exchange.status == 200 and exchange.complete:
            assert exchange.answered()[1] is not None


def test_fragments_are_questions_to_their_own_department(crossed: list[Exchange]) -> None:
    asked = [e for e in crossed if e.path == "/v1/fragment" and e.request]
    assert {e.department for e in asked} >= {"water", "market", "environment", "health", "chemicals"}
    for exchange in asked:
        sql = Fragment.model_validate_json(exchange.request).sql
        others = {e.department for e in asked} - {exchange.department}
        assert not any(f"{other}.main." in sql for other in others)
