"""A request is accepted once, from the gateway its token names, within a minute."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import AccessDenied, InternalError, Outcome
from catalog.identity import (
    MemoryReplayStore,
    ReplayStore,
    SqliteReplayStore,
    sign_request,
    verify_request,
)
from catalog.keys import SigningKey

NOW = 1_700_000_000
KEY = SigningKey.generate()
PATH, BODY = "/v1/fragment?x=1", b'{"sql":"SELECT 1"}'


def send(
    headers: dict[str, str],
    *,
    replay: ReplayStore | None = None,
    now: float = NOW,
    method: str = "POST",
    path: str = PATH,
    body: bytes = BODY,
    key: SigningKey = KEY,
) -> None:
    verify_request(method, path, body, headers, key.public_jwk, replay or MemoryReplayStore(), now, who="water")


def refused(send_it: Callable[[], None]) -> str:
    with pytest.raises(AccessDenied) as caught:
        send_it()
    assert (caught.value.outcome, caught.value.who) == (Outcome.AUTH, "water")
    return str(caught.value)


def test_a_signed_request_is_accepted_whatever_the_case_of_its_headers() -> None:
    headers = sign_request(KEY, "POST", PATH, BODY, NOW)
    send(headers)
    send({k.lower(): v for k, v in headers.items()})


def test_every_change_on_the_way_is_refused_with_one_text() -> None:
    headers = sign_request(KEY, "POST", PATH, BODY, NOW)
    texts = {
        refused(lambda: send(headers, method="DELETE")),
        refused(lambda: send(headers, path="/v1/fragment?x=2")),
        refused(lambda: send(headers, path="/v1/fragment")),
        refused(lambda: send(headers, body=BODY + b" ")),
        refused(lambda: send(headers, key=SigningKey.generate())),
        refused(lambda: send({**headers, "Atoll-Date": str(NOW + 1)})),
        refused(lambda: send({**headers, "Atoll-Nonce": "n" * 32})),
        refused(lambda: send({**headers, "Atoll-Signature": "AAAA"})),
        refused(lambda: send({**headers, "Atoll-Signature": "not base64!"})),
        refused(lambda: send({k: v for k, v in headers.items() if k != "Atoll-Signature"})),
        refused(lambda: send({})),
        refused(lambda: send(headers, now=NOW + 61)),
        refused(lambda: send(headers, now=NOW - 61)),
    }
    assert len(texts) == 1


@pytest.mark.parametrize("nonce", ["short", "x" * 65, "with space in the middle", "line\nbreak-line-break", ""])
def test_a_nonce_of_another_form_is_refused_though_signed(nonce: str) -> None:
    signed = {**sign_request(KEY, "POST", PATH, BODY, NOW, nonce or None)}
    refused(lambda: send({**signed, "Atoll-Nonce": nonce}))


def test_a_token_without_a_key_cannot_carry_requests() -> None:
    headers = sign_request(KEY, "POST", PATH, BODY, NOW)
    refused(lambda: verify_request("POST", PATH, BODY, headers, None, MemoryReplayStore(), NOW, "water"))


@given(skew=st.integers(-60, 60), later=st.integers(0, 120))
def test_a_second_use_is_never_accepted_while_its_date_still_counts(skew: int, later: int) -> None:
    replay = MemoryReplayStore()
    headers = sign_request(KEY, "POST", PATH, BODY, NOW + skew)
    send(headers, replay=replay)
    refused(lambda: send(headers, replay=replay, now=NOW + later))


def test_a_replay_after_a_restart_is_refused_and_a_new_request_is_not(tmp_path: Path) -> None:
    first = SqliteReplayStore(tmp_path / "replay.sqlite")
    headers = sign_request(KEY, "POST", PATH, BODY, NOW)
    send(headers, replay=first)
    # Not closed: a crash does not close it either.
    second = SqliteReplayStore(tmp_path / "replay.sqlite")
    refused(lambda: send(headers, replay=second, now=NOW + 30))
    send(sign_request(KEY, "POST", PATH, BODY, NOW), replay=second)
    first.close()
    second.close()


def test_the_store_forgets_what_no_clock_would_accept_any_more(tmp_path: Path) -> None:
    store = SqliteReplayStore(tmp_path / "replay.sqlite")
    for n in range(50):
        assert store.claim(f"nonce-{n}", NOW + 61, NOW)
    assert store.claim("late", NOW + 300, NOW + 200)
    with sqlite3.connect(tmp_path / "replay.sqlite") as db:
        assert db.execute("SELECT nonce FROM nonce").fetchall() == [("late",)]
    db.close()
    store.close()


def test_a_request_that_cannot_be_remembered_is_not_accepted(tmp_path: Path) -> None:
    store = SqliteReplayStore(tmp_path / "replay.sqlite")
    store.close()
    with pytest.raises(InternalError):
        send(sign_request(KEY, "POST", PATH, BODY, NOW), replay=store)


def test_only_the_holder_of_the_key_can_use_up_nonces() -> None:
    replay = MemoryReplayStore()
    headers = sign_request(KEY, "POST", PATH, BODY, NOW)
    forged = {**headers, "Atoll-Signature": SigningKey.generate().sign(b"x")}
    refused(lambda: send(forged, replay=replay))
    send(headers, replay=replay)


def test_equal_nonces_of_two_gateways_do_not_collide() -> None:
    replay, other = MemoryReplayStore(), SigningKey.generate()
    send(sign_request(KEY, "POST", PATH, BODY, NOW, "n" * 20), replay=replay)
    send(sign_request(other, "POST", PATH, BODY, NOW, "n" * 20), replay=replay, key=other)
