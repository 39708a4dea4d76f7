"""Kept connections and interrupts: who waits, who is closed, who starts again."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from connectors.base import Cancel, Cancelled, SourceError
from connectors.pool import Lease, Pool


class Server:
    """Numbers its connections; those in `dead` fail at first use."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[int] = []
        self.dead: set[int] = set()

    def connect(self) -> int:
        self.opened += 1
        return self.opened

    def pool(self, size: int = 2, wait: float = 0.2) -> Pool[int]:
        return Pool(self.connect, self.closed.append, size, alive=lambda c: c not in self.dead, wait=wait)

    def work(self, lease: Lease[int]) -> Generator[int]:
        if lease.connection in self.dead:
            lease.broken = True
            raise SourceError("gone")
        yield lease.connection
        yield lease.connection


def test_a_connection_is_kept_for_the_next_borrower_unless_it_broke() -> None:
    server = Server()
    pool = server.pool()
    with pool.lease() as lease:
        assert (lease.connection, lease.fresh) == (1, True)
    with pool.lease() as lease:
        assert (lease.connection, lease.fresh) == (1, False)
        lease.broken = True
    assert server.closed == [1]
    with pool.lease() as lease:
        assert lease.connection == 2


def test_a_borrower_waits_for_a_place_and_is_refused_when_none_gets_free() -> None:
    pool = Server().pool(size=1)
    with pool.lease(), pytest.raises(SourceError, match="free in time"), pool.lease():
        pass
    with pool.lease():
        pass


def test_a_spare_connection_is_lent_only_where_one_more_place_stays_free() -> None:
    server = Server()
    pool = server.pool(size=3)
    with pool.lease(), pool.spare() as spare:
        assert spare is not None
        with pool.spare() as last:
            assert last is None
        with pool.lease():
            assert not pool.is_awaited
    with pool.lease(), pool.lease(), pool.spare() as spare:
        assert spare is None
    with pool.lease(), pool.lease(), pool.lease():
        assert server.opened == 3


def test_a_spare_connection_that_cannot_be_had_is_none() -> None:
    def connect() -> int:
        raise SourceError("too many")

    pool = Pool[int](connect, lambda _: None, 3)
    with pool.spare() as spare:
        assert spare is None
    with pytest.raises(SourceError, match="too many"), pool.lease():
        pass


def test_a_waiting_borrower_can_be_cancelled() -> None:
    pool = Server().pool(size=1, wait=30)
    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    with pool.lease(), pytest.raises(Cancelled), pool.lease(cancel):
        pass


def test_a_failed_connect_gives_its_place_back() -> None:
    failures = [SourceError("down"), SourceError("down"), None]

    def connect() -> int:
        failure = failures.pop(0)
        if failure:
            raise failure
        return 7

    pool: Pool[int] = Pool(connect, lambda _c: None, 1, wait=0.2)
    for _ in range(2):
        with pytest.raises(SourceError, match="down"), pool.lease():
            pass
    with pool.lease() as lease:
        assert lease.connection == 7


def test_work_starts_again_once_on_a_new_connection_if_the_kept_one_died() -> None:
    server = Server()
    pool = server.pool()
    assert list(pool.stream(Cancel(), server.work)) == [1, 1]
    server.dead = {1}
    assert list(pool.stream(Cancel(), server.work)) == [2, 2]
    assert server.closed == [1]


def test_work_that_fails_on_a_living_or_new_connection_is_not_repeated() -> None:
    server = Server()
    pool = server.pool()
    runs: list[int] = []

    def fail(lease: Lease[int]) -> Generator[int]:
        runs.append(lease.connection)
        raise SourceError("bad query")
        yield 0

    list(pool.stream(Cancel(), server.work))
    with pytest.raises(SourceError, match="bad query"):
        list(pool.stream(Cancel(), fail))
    assert runs == [1]
    server.dead = {1, 2, 3}
    with pytest.raises(SourceError, match="gone"):
        list(pool.stream(Cancel(), server.work))


def test_closing_a_pool_closes_what_is_free_now_and_the_rest_on_return() -> None:
    server = Server()
    pool = server.pool()
    with pool.lease():
        with pool.lease():
            pass
        pool.close()
        assert server.closed == [2]
    assert server.closed == [2, 1]
    with pytest.raises(SourceError, match="closed"), pool.lease():
        pass


def test_an_interrupt_is_repeated_until_the_work_ends_and_never_after_it() -> None:
    cancel = Cancel()
    calls: list[float] = []
    enough = threading.Event()

    def interrupt() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            enough.set()

    with cancel.calling(interrupt):
        cancel.set()
        assert enough.wait(5)
    count = len(calls)
    assert not threading.Event().wait(0.3)  # time for three more calls
    assert len(calls) == count
    with cancel.calling(interrupt):
        pass
