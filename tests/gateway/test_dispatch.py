"""An agent that lies, cuts, stalls or forges never becomes a short answer: one error that names it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import CityError, DepartmentError, Outcome, UserError
from catalog.keys import SigningKey
from gateway.dispatch import Agents, FragmentStream
from gateway.execution import Execution, Session
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings, Limits
from tests.gateway.evil import Evil, serving, stream

SESSION = Session("ana", token="t", purpose="test")
Behave = Callable[[Evil, dict[str, Any], Callable[[bytes], None]], None]


@contextmanager
def asked(evil: Evil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Execution, FragmentStream]]:
    """One fragment sent to an evil agent."""
    monkeypatch.setattr(Agents, "token", lambda *_: "token")
    settings = GatewaySettings(
        state=tmp_path,
        identity=IdentitySettings(issuer="i", jwks=tmp_path / "jwks", token_url="http://127.0.0.1:1/token"),
        limits=Limits(answer_seconds=1.5, connect_seconds=1.5),
    )
    with serving(evil) as url:
        entry = DepartmentEntry(url=url, key=evil.key.public_jwk)
        agents = Agents(settings, SigningKey.generate(), lambda: {"evil": entry})
        execution = Execution("q1", "SELECT 1", SESSION)
        try:
            yield execution, agents.ask(execution, SESSION, "evil", "q1_f0", "SELECT 1 AS c0")
        finally:
            execution.cancel()
            agents.close()


def rows_of(answer: FragmentStream) -> list[int]:
    return [v for batch in answer.batches() for v in batch.column(0).to_pylist()]


def honest(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    for piece in stream([1, 2, 3], evil.end(question, 3)):
        send(piece)


def cut_at_a_batch_border(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    send(stream([1, 2, 3, 4], None)[0])


def closes_without_an_end_record(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    for piece in stream([1, 2, 3, 4], None):
        send(piece)


def cut_inside_a_batch(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    send(stream([1, 2, 3, 4], None)[0][:-20])


def certifies_more_rows(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    for piece in stream([1, 2], evil.end(question, 3)):
        send(piece)


def certifies_fewer_rows(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    for piece in stream([1, 2, 3, 4], evil.end(question, 2)):
        send(piece)


def signs_with_another_key(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    forged = evil.end(question, 2)
    forged = forged.model_copy(update={"signature": SigningKey.generate().sign(forged.signed_bytes())})
    for piece in stream([1, 2], forged):
        send(piece)


def sends_another_questions_receipt(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    for piece in stream([1, 2], evil.end({**question, "fragment_id": "old"}, 2)):
        send(piece)


def sends_no_receipt(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    for piece in stream([1, 2], evil.end(question, 2, receipt=None)):
        send(piece)


def stalls_before_the_first_byte(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    evil.release.wait(20)


def stalls_in_the_middle(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    send(stream([1, 2, 3, 4], None)[0])
    evil.release.wait(20)


def sends_no_arrow(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    send(b"<html>no such page</html>")


MISBEHAVIOURS = [
    cut_at_a_batch_border,
    closes_without_an_end_record,
    cut_inside_a_batch,
    certifies_more_rows,
    certifies_fewer_rows,
    signs_with_another_key,
    sends_another_questions_receipt,
    sends_no_receipt,
    stalls_before_the_first_byte,
    stalls_in_the_middle,
    sends_no_arrow,
]


def test_an_honest_answer_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asked(Evil(honest), tmp_path, monkeypatch) as (_, answer):
        assert rows_of(answer) == [1, 2, 3]
        assert answer.receipt is not None


@pytest.mark.parametrize("behave", MISBEHAVIOURS, ids=lambda f: f.__name__)
def test_a_misbehaving_agent_is_one_error_that_names_it(
    behave: Behave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    with asked(Evil(behave), tmp_path, monkeypatch) as (_, answer), pytest.raises(DepartmentError) as refused:
        rows_of(answer)
    assert time.monotonic() - started < 5
    assert refused.value.who == "evil"
    assert "evil" in refused.value.message
    assert refused.value.outcome is Outcome.DOWN


def test_an_agents_own_refusal_is_passed_on_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        error = UserError("Division by zero.", Outcome.EXECUTION).to_dict() | {"who": "evil"}
        for piece in stream([1, 2], evil.end(question, 2, outcome="EXECUTION", error=error)):
            send(piece)

    with asked(Evil(refuses), tmp_path, monkeypatch) as (_, answer), pytest.raises(CityError) as refused:
        rows_of(answer)
    assert refused.value.message == "Division by zero."
    assert refused.value.who == "evil"


def test_cancelling_frees_the_reader_at_once_and_tells_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = Evil(stalls_before_the_first_byte)
    with asked(evil, tmp_path, monkeypatch) as (execution, answer):
        threading.Timer(0.1, execution.cancel).start()
        started = time.monotonic()
        with pytest.raises(UserError) as cancelled:
            answer.schema()
        assert cancelled.value.outcome is Outcome.CANCELED
        assert time.monotonic() - started < 1
        deadline = time.monotonic() + 3
        while not evil.stopped and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert evil.stopped == ["q1_f0"]


def test_a_department_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = Evil(honest)
    with serving(evil) as url:
        gone = url
    monkeypatch.setattr(Agents, "token", lambda *_: "token")
    settings = GatewaySettings(
        state=tmp_path,
        identity=IdentitySettings(issuer="i", jwks=tmp_path / "jwks", token_url="http://127.0.0.1:1/token"),
    )
    entry = DepartmentEntry(url=gone, key=evil.key.public_jwk)
    agents = Agents(settings, SigningKey.generate(), lambda: {"evil": entry})
    execution = Execution("q1", "SELECT 1", SESSION)
    answer = agents.ask(execution, SESSION, "evil", "q1_f0", "SELECT 1 AS c0")
    with pytest.raises(DepartmentError) as refused:
        rows_of(answer)
    assert refused.value.who == "evil"
    agents.close()
