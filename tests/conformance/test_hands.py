"""Threads that wait for work: as many as there is work at once, the same again for more, none of a parent's."""

from __future__ import annotations

import os
import threading

from connectors.hands import Hands

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
