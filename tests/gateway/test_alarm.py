"""Limits of time: a call comes when it is due, unless it was cancelled, and holds up no other."""

from __future__ import annotations

import threading
import time

import pytest

from catalog.alarm import KEPT, _Clock, after


def test_calls_come_when_they_are_due_whatever_was_asked_for_before() -> None:
    came: list[tuple[str, float]] = []
    begun, all_came = time.monotonic(), threading.Event()

    def come(name: str) -> None:
        came.append((name, time.monotonic() - begun))
        if len(came) == 3:
            all_came.set()

    for name, seconds in (("late", 0.3), ("soon", 0.1), ("at once", 0.0)):
        after(seconds, lambda name=name: come(name))
    assert all_came.wait(5)
    assert [name for name, _ in came] == ["at once", "soon", "late"]
    assert came[1][1] >= 0.1
    assert came[2][1] >= 0.3


def test_a_cancelled_call_does_not_come() -> None:
    came, last = threading.Event(), threading.Event()
    after(0.05, came.set).cancel()
    after(0.1, last.set)
    assert last.wait(5)
    assert not came.is_set()


def test_a_call_that_takes_long_holds_up_no_other() -> None:
    held, came = threading.Event(), threading.Event()
    after(0.0, lambda: held.wait(10))
    after(0.05, came.set)
    assert came.wait(5)
    held.set()


def test_cancelled_calls_are_forgotten_long_before_they_are_due() -> None:
    clock = _Clock()
    kept = [clock.after(3600, int) for _ in range(10)]
    for _ in range(20 * KEPT):
        clock.after(3600, int).cancel()
    assert len(clock._due) <= 2 * KEPT
    assert {id(alarm) for alarm in kept} <= {id(alarm) for _, _, alarm in clock._due}


def test_a_call_for_which_no_thread_can_be_had_comes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    came = [threading.Event(), threading.Event()]
    after(0.5, came[1].set)  # whose clock runs on

    def refused(*_: object, **__: object) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as crowded:
        crowded.setattr("catalog.alarm.threading.Thread", refused)
        after(0.0, came[0].set)
        assert came[0].wait(5)
    assert came[1].wait(5)
