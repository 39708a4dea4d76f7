"""Asks every fragment of a plan, each as soon as what it needs is there, and makes its answer readable in the merge."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import pyarrow as pa

from catalog.errors import CityError
from gateway.dispatch import Agents, FragmentStream
from gateway.execution import Execution, Session
from gateway.merge.duckdb import Merge
from gateway.plan import FragmentPlan, Plan
from gateway.plan.asking import Request, requests
from gateway.plan.whole import refuse_unbound

__all__ = ["Gathering", "raise_first"]


@dataclass(frozen=True, eq=False)
class _Open:
    """A fragment that was asked. stream: of its answer, or of the first part of it. batches: of all of it."""

    fragment: FragmentPlan
    stream: FragmentStream
    batches: Iterator[pa.RecordBatch]


class Gathering:
    """One statement's fragments on their way. streams: all that were sent, in that order."""

    def __init__(self, agents: Agents, execution: Execution, session: Session, plan: Plan, merge: Merge | None) -> None:
        self._agents = agents
        self._execution = execution
        self._session = session
        self._plan = plan
        self._merge = merge
        self._read: dict[str, FragmentStream] = {}
        self._changed = threading.Event()
        self.streams: list[FragmentStream] = []

    def all(self) -> None:
        """Fragments without keys go at once, the others as soon as those that give their keys have been read.

        Whichever answer is here is read first: a slow department holds up only who needs its keys.
        """
        waiting = {f.id: f for f in self._plan.fragments if f.keys is not None}
        at_once = [f for f in self._plan.fragments if f.keys is None]
        alone = len(at_once) == 1 and all(f.keys.needs for f in waiting.values() if f.keys is not None)
        asked = [self._opened(f, self.send(f, alone)) for f in at_once]
        asked += self._start_ready(waiting, alone=not asked)
        while asked:
            one = self._next(asked)
            asked.remove(one)
            self._receive(one)
            asked += self._start_ready(waiting, alone=not asked)

    @property
    def delivered(self) -> dict[str, int]:
        """Rows of the fragments whose answers are stored and were asked at once."""
        return {name: stream.rows for name, stream in self._read.items()}

    def send(self, fragment: FragmentPlan, alone: bool) -> FragmentStream:
        """Ask a fragment without keys. alone: nothing else is to be asked or read meanwhile."""
        return self._ask(fragment, "", Request(fragment.sql), alone)

    def _opened(self, fragment: FragmentPlan, stream: FragmentStream) -> _Open:
        return _Open(fragment, stream, stream.batches())

    def _start_ready(self, waiting: dict[str, FragmentPlan], alone: bool) -> list[_Open]:
        """Ask, and take off the list, whose keys can be found now."""
        ready = [f for f in waiting.values() if f.keys is not None and f.keys.needs <= self._read.keys()]
        return [self._start(waiting.pop(f.id), alone and len(ready) == 1) for f in ready]

    def _start(self, fragment: FragmentPlan, alone: bool) -> _Open:
        """Ask a fragment whose keys can be found now."""
        assert self._merge is not None
        assert fragment.keys is not None
        source = fragment.keys
        with self._execution.clock.at(f"finding keys for {_words(fragment)}"):
            found = [self._merge.keys(known) for known in source.sets]
        first, *others = requests(fragment, found)
        if not first.keys and self._session.require_pushdown:
            raise refuse_unbound(fragment, sum(map(len, found)), sum(known.most for known in source.sets))
        stream = self._ask(fragment, "", first, alone)

        def answers() -> Iterator[pa.RecordBatch]:
            yield from stream.batches()
            for number, request in enumerate(others, 1):
                yield from self._ask(fragment, f"_{number}", request).batches()

        return _Open(fragment, stream, answers())

    def _next(self, asked: list[_Open]) -> _Open:
        """One whose answer can be read without waiting; waits until there is one."""
        while True:
            self._changed.clear()
            for one in asked:
                if one.stream.is_ready(one.fragment.id in self._plan.stored):
                    return one
            self._execution.check()
            with self._execution.clock.at(f"waiting for {' and '.join(_words(o.fragment) for o in asked)}"):
                self._changed.wait(0.05)

    def _receive(self, one: _Open) -> None:
        assert self._merge is not None
        name = one.fragment.id
        schema = one.stream.schema()
        if name not in self._plan.stored:
            self._merge.attach(name, schema, one.batches)
            return
        try:
            with self._execution.clock.at(f"reading {_words(one.fragment)}"):
                self._merge.store(name, schema, one.batches)
        except CityError:
            raise_first(self.streams)
            raise
        self._read[name] = one.stream

    def _ask(self, fragment: FragmentPlan, suffix: str, request: Request, alone: bool = False) -> FragmentStream:
        name = f"{self._execution.query_id}_{fragment.id}{suffix}"
        self._execution.part(name, fragment.department, keys=sum(map(len, request.keys)))
        # What is asked while an engine reads is asked by its threads, which are not the clock's.
        with self._execution.clock.at(f"waiting for {_words(fragment)}") if alone else nullcontext():
            stream = self._agents.ask(
                self._execution, self._session, fragment.department, name, request.sql, request.keys,
                zoned=fragment.reads_zone, changed=self._changed, here=alone,
            )  # fmt: skip
        self.streams.append(stream)
        return stream


def _words(fragment: FragmentPlan) -> str:
    return f"{fragment.id} of {fragment.department}"


def raise_first(streams: list[FragmentStream]) -> None:
    """Raise the error of the department at fault, if one is: DuckDB passes it on as mere text."""
    for stream in streams:
        if stream.error is not None:
            raise stream.error
