"""Threads that wait for work: as many as there is work at once, the same again for more, none of a parent's."""

from __future__ import annotations

import os
import threading
from functools import partial
from queue import SimpleQueue

import pytest

from connectors.hands import Crew, Hands

LONG = 10.0


def ran(hands: Hands) -> int:
    """The thread in which work ran."""
    found: list[int] = []
    done = threading.Event()

    def work() -> None:
        found.append(threading.get_ident())
        done.set()

    hands.run(work)
    assert done.wait(LONG)
    return found[0]


def test_a_thread_that_is_free_does_the_next_work() -> None:
    hands = Hands()
    first = ran(hands)
    while not hands._idle:
        pass
    assert ran(hands) == first != threading.get_ident()


def test_work_that_goes_on_holds_up_no_other() -> None:
    hands, met = Hands(), threading.Barrier(3)
    for _ in range(2):
        hands.run(lambda: met.wait(LONG) and None)
    met.wait(LONG)


def test_a_child_process_waits_for_no_thread_of_its_parent() -> None:
    hands = Hands()
    ran(hands)
    while not hands._idle:
        pass
    child = os.fork()
    if child == 0:
        done = threading.Event()
        hands.run(done.set)
        os._exit(0 if done.wait(LONG) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def crew_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}_")]


def test_a_crew_keeps_its_threads_whatever_their_work_does() -> None:
    def fails() -> None:
        raise RuntimeError("no luck")

    crew, done, gate = Crew(2, "keeps"), SimpleQueue[int](), threading.Event()
    for _ in range(10):
        crew.run(fails)

    def waits(number: int) -> None:
        gate.wait(5)
        done.put(number)

    for number in range(5):  # more than there are threads: the rest waits its turn
        crew.run(partial(waits, number))
    assert done.empty()
    gate.set()
    assert {done.get(timeout=5) for _ in range(5)} == set(range(5))
    assert len(crew_of("keeps")) == 2
    crew.close()
    with pytest.raises(RuntimeError, match="left"):
        crew.run(fails)


def test_the_threads_of_a_crew_end_with_it() -> None:
    crew = Crew(3, "ends")
    found = crew_of("ends")
    assert len(found) == 3
    del crew
    for thread in found:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in found)
