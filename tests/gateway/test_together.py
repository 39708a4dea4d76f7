"""A crowd that wants the same thing at the same moment asks for it once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from catalog.relation import RelationList
from gateway.catalogue import Catalogue
from gateway.execution import Session
from gateway.together import Together

CROWD = 12
LOOKED_UP = CROWD + 1
"""Times until all of a crowd have looked, of whom the first looks twice before it asks."""


@dataclass(frozen=True)
class Key:
    """Tells when it is looked up."""

    name: Hashable
    looked_up: threading.Semaphore

    def __hash__(self) -> int:
        self.looked_up.release()
        return hash(self.name)


class Slow(Together[Any]):
    """Whatever is fetched comes when the whole crowd has asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.looked_up = threading.Semaphore(0)

    def get(self, key: Hashable, fetch: Callable[[], Any]) -> Any:
        def slow() -> Any:
            self.asked += 1
            for _ in range(LOOKED_UP if self.asked == 1 else 0):
                assert self.looked_up.acquire(timeout=30)
            return fetch()

        return super().get(Key(key, self.looked_up), slow)


def crowd(want: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(CROWD) as pool:
        return [found.result() for found in [pool.submit(want) for _ in range(CROWD)]]


def test_a_crowd_asks_once_and_later_ones_anew() -> None:
    slow = Slow()
    assert crowd(lambda: slow.get("a", lambda: slow.asked)) == [1] * CROWD
    assert slow.get("a", lambda: slow.asked) == 2


def test_a_fault_is_told_to_all_and_not_kept() -> None:
    slow = Slow()

    def fail() -> int:
        raise ValueError("silent")

    def want() -> bool:
        with pytest.raises(ValueError, match="silent"):
            slow.get("a", fail)
        return True

    assert all(crowd(want))
    assert slow.asked == 1
    assert slow.get("a", lambda: 5) == 5


def test_a_departments_list_is_fetched_once_for_all_who_ask_at_once() -> None:
    catalogue = Catalogue(lambda: {"water": "Water"}, lambda _, department: RelationList(department=department))
    slow = catalogue._asked = Slow()
    states = crowd(lambda: catalogue.view(Session("lin", purpose="planning"), ("planning",)).departments[0].state)
    assert states == ["up"] * CROWD
    assert slow.asked == 1
