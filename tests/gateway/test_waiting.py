"""Between two threads wait few batches; what a reader does not take for a while goes to a file that nobody can read."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import waiting
from gateway.waiting import QUEUED_BATCHES, Overflow, Waiting

SECRET = "a word that stands in no file"


def batch(number: int, rows: int = 100) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array([number] * rows, pa.int64()), "t": [SECRET] * rows})


def number_of(found: pa.RecordBatch | None) -> int:
    assert found is not None
    assert found.equals(batch(found["n"][0].as_py()))
    return int(found["n"][0].as_py())


def test_a_queue_takes_a_few_batches_and_then_waits() -> None:
    held = Waiting()
    for number in range(QUEUED_BATCHES):
        assert held.has_room(0)
        held.put(batch(number))
    assert not held.has_room(0)
    with pytest.raises(queue.Full):
        held.put(batch(9), timeout=0.01)
    assert [number_of(held.get()) for _ in range(QUEUED_BATCHES)] == list(range(QUEUED_BATCHES))
    assert held.bytes == 0


def test_in_a_crowd_each_queue_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Waiting(), Waiting()
    first.put(batch(1))
    monkeypatch.setattr(waiting, "WAITING_BYTES", first.bytes)
    assert not first.has_room(0)
    second.put(batch(2))
    assert not second.has_room(0)
    first.get()
    second.get()
    assert first.has_room(0)
    first.put(batch(3))
    del first
    assert second.has_room(0), "a queue that is gone holds nothing"


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """A queue whose reader counts as slow at once."""
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", -1.0)
    return Waiting(Overflow(tmp_path / "spool"))


def test_what_a_slow_reader_leaves_is_in_a_file_without_name_and_not_readable(
    impatient: Waiting, tmp_path: Path
) -> None:
    for number in range(20):
        impatient.put(batch(number))
    overflow = impatient._overflow
    assert overflow is not None
    assert len(overflow) == 20 - QUEUED_BATCHES
    assert list((tmp_path / "spool").iterdir()) == []
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert overflow._file is not None
    written = os.pread(overflow._file.fileno(), overflow.bytes, 0)
    assert len(written) == overflow.bytes > 0
    assert SECRET.encode() not in written
    assert [number_of(impatient.get()) for _ in range(20)] == list(range(20))
    assert impatient.empty()
    assert overflow._file is None, "what was read takes no room any more"


def test_an_end_never_overtakes_what_is_in_the_file(impatient: Waiting) -> None:
    for number in range(QUEUED_BATCHES + 1):
        impatient.put(batch(number))
    for _ in range(QUEUED_BATCHES):
        impatient.get()
    with pytest.raises(queue.Full):
        impatient.put(None, block=False)
    assert number_of(impatient.get()) == QUEUED_BATCHES
    impatient.put(None, block=False)
    assert impatient.get() is None


def test_a_reader_who_reads_keeps_all_in_memory(tmp_path: Path) -> None:
    held = Waiting(Overflow(tmp_path / "spool"))
    for number in range(QUEUED_BATCHES):
        held.put(batch(number))
    assert not held.has_room(0.01)
    assert not (tmp_path / "spool").exists()


def test_the_file_has_a_bound_and_a_full_disk_means_waiting(
    impatient: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(QUEUED_BATCHES + 1):
        impatient.put(batch(number))
    assert impatient._overflow is not None
    monkeypatch.setattr(waiting, "OVERFLOW_BYTES", impatient._overflow.bytes)
    assert not impatient.has_room(0)
    monkeypatch.undo()
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(os, "pwrite", lambda *_: 10)
    with pytest.raises(queue.Full):
        impatient.put(batch(9), timeout=0.01)
    assert [number_of(impatient.get()) for _ in range(QUEUED_BATCHES + 1)] == list(range(QUEUED_BATCHES + 1))


def test_a_statement_that_is_over_leaves_no_file(impatient: Waiting) -> None:
    for number in range(QUEUED_BATCHES + 3):
        impatient.put(batch(number))
    impatient.close()
    assert impatient._overflow is not None
    assert impatient._overflow._file is None


@settings(max_examples=60)
@given(st.lists(st.booleans(), max_size=60))
def test_batches_come_out_once_and_in_order_however_reader_and_writer_take_turns(turns: list[bool]) -> None:
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(waiting, "PATIENCE_SECONDS", -1.0)
        held, written, found = Waiting(Overflow(folder)), 0, []
        for writes in turns:
            if writes:
                held.put(batch(written))
                written += 1
            elif not held.empty():
                found.append(number_of(held.get()))
        while not held.empty():
            found.append(number_of(held.get()))
        assert found == list(range(written))


def test_writer_and_reader_in_threads_of_their_own(impatient: Waiting) -> None:
    found: list[int] = []

    def read() -> None:
        while (got := impatient.get(timeout=20)) is not None:
            found.append(number_of(got))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        impatient.put(batch(number), timeout=20)
    while reader.is_alive():
        try:
            impatient.put(None, timeout=0.05)
            break
        except queue.Full:
            continue
    reader.join(20)
    assert found == list(range(300))
