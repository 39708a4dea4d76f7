"""An agent that lies, cuts, stalls or forges never becomes a short answer: one error that names it."""

from __future__ import annotations

import gzip
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from catalog.errors import CityError, DepartmentError, Outcome, UserError
from catalog.exchange import sha256
from catalog.http import Client, MockTransport, Response
from catalog.ipc import BATCH_BYTES, Reader
from catalog.keys import SigningKey
from gateway.dispatch import AT_ONCE_SECONDS, Agents, FragmentStream
from gateway.execution import Execution, Session, State
from gateway.lines import Lines
from gateway.pipeline import Gateway
from gateway.plan import FragmentPlan, Plan
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings, Limits
from gateway.waiting import Waiting
from tests.gateway.evil import Evil, serving, stream

SESSION = Session("ana", token="t", purpose="test")
Behave = Callable[[Evil, dict[str, Any], Callable[[bytes], None]], None]


@pytest.fixture(autouse=True, params=["by another thread", "by the thread that waits for it"])
def read_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Who reads an answer that comes at once: each of these agents is met by both."""
    here: bool = request.param != "by another thread"
    ask = Agents.ask
    monkeypatch.setattr(Agents, "ask", lambda *given, **named: ask(*given, **{"here": here, **named}))
    monkeypatch.setattr(Agents, "known_token", lambda *_: "token")
    monkeypatch.setattr(Lines, "idle", Lines._connected)
    return here


@contextmanager
def asked(evil: Evil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Execution, FragmentStream]]:
    """One fragment sent to an evil agent."""
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


def of_another(**changes: Any) -> Behave:
    """An agent whose receipt, rightly signed, tells of something else than was asked."""

    def behave(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        end = evil.end(question, 2)
        assert end.receipt is not None
        other = evil.end(question, 2, receipt=end.receipt.model_copy(update=changes))
        for piece in stream([1, 2], other):
            send(piece)

    behave.__name__ = f"certifies_another_{next(iter(changes))}"
    return behave


def fails_with_another_questions_receipt(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    """An end record of an error carries none; one that does is no more believed than any other."""
    receipt = evil.end({**question, "fragment_id": "old"}, 2).receipt
    error = UserError("Division by zero.", Outcome.EXECUTION).to_dict()
    for piece in stream([1, 2], evil.end(question, 2, outcome="EXECUTION", error=error, receipt=receipt)):
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


def of_columns(column: pa.Array, compression: str | None = None) -> Behave:
    """An agent whose answer is rightly signed and has one column, which is more than it seems."""

    def behave(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        sink = pa.BufferOutputStream()
        batch = pa.record_batch([column], names=["c0"])
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
            end = evil.end(question, len(column))
            writer.write_batch(batch.slice(0, 0), custom_metadata=end.to_metadata())
        send(sink.getvalue().to_pybytes())

    behave.__name__ = f"sends_{compression or 'plain'}_{column.type}"
    return behave


ZEROS = pa.array(np.zeros(BATCH_BYTES // 8 + 1))
REPEATED = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int8()), pa.array(["x" * 1_000_000]))

MISBEHAVIOURS = [
    of_columns(ZEROS, "zstd"),
    of_columns(ZEROS, "lz4"),
    of_columns(ZEROS),
    of_columns(pa.Array.from_buffers(pa.null(), 1 << 30, [None])),
    of_columns(REPEATED),
    of_columns(pa.RunEndEncodedArray.from_arrays(pa.array([1 << 30]), pa.array([1]))),
    of_columns(pa.array(["a"], pa.string_view())),
    cut_at_a_batch_border,
    closes_without_an_end_record,
    cut_inside_a_batch,
    certifies_more_rows,
    certifies_fewer_rows,
    signs_with_another_key,
    sends_another_questions_receipt,
    of_another(department="honest"),
    of_another(sub="ben"),
    of_another(purpose="audit"),
    of_another(query_id="q0"),
    of_another(sql_sha256=sha256("SELECT 2 AS c0")),
    of_another(sql_sha256=""),
    of_another(rows=3),
    fails_with_another_questions_receipt,
    sends_no_receipt,
    stalls_before_the_first_byte,
    stalls_in_the_middle,
    sends_no_arrow,
]


def test_an_honest_answer_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asked(Evil(honest), tmp_path, monkeypatch) as (_, answer):
        assert rows_of(answer) == [1, 2, 3]
        assert answer.receipt is not None


def test_an_answer_that_comes_at_once_is_read_by_who_waits_for_it(
    read_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = set[threading.Thread]()
    monkeypatch.setattr(
        "gateway.dispatch.Reader", lambda source: readers.add(threading.current_thread()) or Reader(source)
    )
    with asked(Evil(honest), tmp_path, monkeypatch) as (_, answer):
        assert rows_of(answer) == [1, 2, 3]
    assert (readers == {threading.current_thread()}) == read_here


@pytest.mark.parametrize("when", ["in many batches", "larger than is read at once", "later", "with less room"])
def test_an_answer_that_is_not_read_at_once_goes_on_by_another_thread(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More batches than wait for their reader, who would be the one to put them there; and what is to be waited for."""
    rows = [*range(200_000 if when == "larger than is read at once" else 200)]

    def behave(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        if when == "later":
            evil.told.wait(4 * AT_ONCE_SECONDS)
        elif when == "with less room":  # than there was a moment before: other statements' answers came in
            monkeypatch.setattr(Waiting, "has_room", lambda *_: True)
        send(b"".join(stream(rows, evil.end(question, len(rows)), batch=max(2, len(rows) // 100))))

    with asked(Evil(behave), tmp_path, monkeypatch) as (_, answer):
        assert rows_of(answer) == rows
        assert answer.receipt is not None


def test_a_token_or_a_connection_that_is_not_there_is_waited_for_by_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To get either takes as long as who gives it: who waits for the answer looks up meanwhile."""
    askers = list[threading.Thread]()
    taken = list[str]()
    made = Lines._connected
    monkeypatch.setattr(Agents, "token", lambda *_: askers.append(threading.current_thread()) or "token")
    monkeypatch.setattr(Agents, "known_token", lambda *_: None)
    monkeypatch.setattr(Lines, "idle", lambda lines: taken.append(f"after {len(askers)}") or made(lines))
    with asked(Evil(honest), tmp_path, monkeypatch) as (_, answer):
        assert rows_of(answer) == [1, 2, 3]
    assert taken == ["after 1"], "a connection that lay idle while a token was fetched may be closed by then"
    monkeypatch.setattr(Agents, "known_token", lambda *_: "token")
    monkeypatch.setattr(Lines, "idle", lambda _: None)
    monkeypatch.setattr(Lines, "_connected", lambda lines: askers.append(threading.current_thread()) or made(lines))
    with asked(Evil(honest), tmp_path, monkeypatch) as (_, answer):
        assert rows_of(answer) == [1, 2, 3]
    assert len(askers) == 3, "a token each time, and a connection"
    assert threading.current_thread() not in askers


@pytest.mark.parametrize("ends", ["cancelled", "suspended"])
def test_a_question_that_waits_for_a_thread_meanwhile_is_not_asked(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FragmentStream.run
    monkeypatch.setattr(FragmentStream, "run", lambda _: None)  # its thread comes later
    monkeypatch.setattr(Agents, "known_token", lambda *_: None)
    evil = Evil(honest)
    with asked(evil, tmp_path, monkeypatch) as (execution, answer):
        if ends == "cancelled":
            answer.cancel()
        else:
            entry = DepartmentEntry(url="http://127.0.0.1:1", key=evil.key.public_jwk, state="suspended")
            monkeypatch.setattr(answer.agents, "_departments", lambda: {"evil": entry})
        run(answer)
        with pytest.raises(CityError) as refused:
            rows_of(answer)
        assert refused.value.outcome is (Outcome.CANCELED if ends == "cancelled" else Outcome.CLOSED)
        assert execution.departments()[0].state == ("cancelled" if ends == "cancelled" else "down")
    assert evil.asked == []


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


def test_an_error_that_calls_itself_a_success_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcome is what the gateway's own ledger says of the statement."""

    def boasts(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        error = UserError("Division by zero.", Outcome.EXECUTION).to_dict() | {"outcome": "OK"}
        for piece in stream([1, 2], evil.end(question, 2, outcome="EXECUTION", error=error)):
            send(piece)

    with asked(Evil(boasts), tmp_path, monkeypatch) as (_, answer), pytest.raises(CityError) as refused:
        rows_of(answer)
    assert refused.value.outcome is Outcome.EXECUTION


def complains(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    send(gzip.compress(b" " * 1_000_000) if "Content-Encoding" in evil.headers else b" " * 1_000_000)


@pytest.mark.parametrize(
    ("headers", "told"), [({"Content-Encoding": "gzip"}, "packed"), ({}, "longer")], ids=["packed", "long"]
)
def test_a_refusal_is_neither_unpacked_nor_read_without_end(
    headers: dict[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.dispatch.MAX_ANSWER", 100_000)
    evil = Evil(complains, status=503, headers=headers)
    with asked(evil, tmp_path, monkeypatch) as (_, answer), pytest.raises(DepartmentError) as refused:
        rows_of(answer)
    assert told in refused.value.message


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


def test_what_came_before_a_cancel_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is told to stop has some rows, and must not take them for all."""

    def goes_on(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        first, whole = stream([1, 2], None)[0], stream([1, 2, 3, 4], None)[0]
        send(first)
        evil.told.wait(10)
        send(whole[len(first) :])
        evil.release.wait(10)

    with asked(Evil(goes_on), tmp_path, monkeypatch) as (_, answer):
        read = answer.batches()
        next(read)
        answer.cancel()
        with pytest.raises(UserError) as cancelled:
            list(read)
        assert cancelled.value.outcome is Outcome.CANCELED
        assert answer.receipt is None


@pytest.mark.parametrize("body", ["<html>a proxy's page</html>", "[]", "{}", '{"access_token": 5}'])
def test_an_identity_provider_that_gives_no_token_is_not_taken_for_the_department(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Agents, "known_token", lambda *_: None)
    monkeypatch.setattr(Lines, "idle", lambda _: None)
    identity = IdentitySettings(issuer="i", jwks=tmp_path / "jwks", token_url="http://127.0.0.1:1/token")
    evil = Evil(honest)
    entry = DepartmentEntry(url="http://127.0.0.1:1", key=evil.key.public_jwk)
    agents = Agents(GatewaySettings(state=tmp_path, identity=identity), SigningKey.generate(), lambda: {"evil": entry})
    with closing(agents):
        agents._issuer = Client(transport=MockTransport(lambda _: Response(200, text=body)))
        with pytest.raises(DepartmentError, match="identity provider") as refused:
            rows_of(agents.ask(Execution("q1", "SELECT 1", SESSION), SESSION, "evil", "q1_f0", "SELECT 1 AS c0"))
    assert refused.value.who != "evil"


def test_a_department_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = Evil(honest)
    with serving(evil) as url:
        gone = url
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


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return holds()


def test_an_answer_whose_offsets_leave_it_is_no_window_into_the_gateways_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def points_elsewhere(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        sink = pa.BufferOutputStream()
        batch = pa.record_batch([pa.array(["abcd", "efgh", "ijkl"])], names=["c0"])
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
            writer.write_batch(batch.slice(0, 0), custom_metadata=evil.end(question, 3).to_metadata())
        whole = sink.getvalue().to_pybytes()
        honest, forged = (struct.pack("<4i", *ends) for ends in ((0, 4, 8, 12), (0, 4000, 8, 12)))
        assert honest in whole
        send(whole.replace(honest, forged))

    with asked(Evil(points_elsewhere), tmp_path, monkeypatch) as (_, answer), pytest.raises(DepartmentError) as refused:
        list(answer.batches())
    assert "malformed" in refused.value.message


def test_a_statement_that_was_cancelled_before_its_fragment_left_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = Evil(honest)
    with asked(evil, tmp_path, monkeypatch) as (execution, first):
        list(first.batches())
        execution.cancel()
        late = first.agents.ask(execution, SESSION, "evil", "q1_f1", "SELECT 1 AS c0")
        with pytest.raises(UserError) as cancelled:
            late.schema()
        assert cancelled.value.outcome is Outcome.CANCELED
        assert within(3, lambda: "q1_f1" in evil.stopped)
    assert [question["fragment_id"] for question in evil.asked] == ["q1_f0"]


def test_an_answer_that_the_merge_had_no_need_of_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader would hold a thread and a connection until the gateway ends."""

    def long(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        for piece in stream([1, 2] * 20, evil.end(question, 40)):
            send(piece)

    evil = Evil(long)
    with ExitStack() as stack:
        url = stack.enter_context(serving(evil))
        here = stack.enter_context(closing(gateway_over(tmp_path, DepartmentEntry(url=url, key=evil.key.public_jwk))))
        execution = Execution("q1", "SELECT 1", SESSION)
        merge = sqlglot.parse_one("SELECT f0.c0 AS c0 FROM f0 WHERE false", dialect="trino")
        assert isinstance(merge, exp.Query)
        fragment = FragmentPlan("f0", "evil", "SELECT 1 AS c0", ("c0",), ())
        here._exchange(execution, SESSION, Plan((fragment,), merge, ("n",)))
        assert execution.departments()[0].state == "cancelled", "the ledger's end record tells it from now on"
        execution.finish()
        assert within(3, lambda: evil.stopped == ["q1_f0"])
        assert within(3, lambda: execution.departments()[0].state == "cancelled")


def gateway_over(state: Path, entry: DepartmentEntry) -> Gateway:
    key = {**SigningKey.generate().public_jwk, "kid": "idp"}
    (state / "jwks").write_bytes(orjson.dumps({"keys": [key]}))
    identity = IdentitySettings(issuer="i", jwks=state / "jwks", token_url="http://127.0.0.1:1/token")
    return Gateway(GatewaySettings(state=state, identity=identity, departments={"evil": entry}))


def test_a_statement_that_ended_keeps_nothing_of_what_it_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of ended statements stay known for a while; the batches and keys of their fragments do not."""
    with asked(Evil(honest), tmp_path, monkeypatch) as (execution, answer):
        list(answer.batches())
        assert within(3, lambda: execution.departments()[0].state == "done")
        stop = Stop()
        execution.on_cancel(stop)
        left = weakref.ref(stop)
        execution.finish()
        del stop
        assert left() is None


class Stop:
    def __call__(self) -> None:
        raise AssertionError("a statement that ended well was cancelled")


def test_a_statement_that_is_cancelled_while_it_is_planned_stays_failed() -> None:
    execution = Execution("q1", "SELECT 1", SESSION)
    execution.cancel()
    execution.publish(())
    assert execution.state is State.FAILED
