"""Asks every fragment of a plan, each as soon as what it needs is there, and makes its answer readable in the merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from catalog.errors import CityError
from gateway.dispatch import Agents, FragmentStream
from gateway.execution import Execution, Session
from gateway.merge.duckdb import Merge
from gateway.plan import FragmentPlan, KeySource, Plan

__all__ = ["Gathering", "raise_first"]


class Gathering:
    """One statement's fragments on their way. streams: all that were sent, in that order."""

    def __init__(self, agents: Agents, execution: Execution, session: Session, plan: Plan, merge: Merge | None) -> None:
        self._agents = agents
        self._execution = execution
        self._session = session
        self._plan = plan
        self._merge = merge
        self._read: set[str] = set()
        self.streams: list[FragmentStream] = []

    def all(self) -> None:
        """Fragments without keys go at once, the others when those that give their keys have been read."""
        sent = {f.id: self.send(f) for f in self._plan.fragments if f.keys is None}
        waiting = {f.id: f for f in self._plan.fragments if f.keys is not None}
        wanted = frozenset().union(*(f.keys.needs for f in waiting.values() if f.keys is not None))
        first = sorted((f for f in self._plan.fragments if f.id in sent), key=lambda f: f.id not in wanted)
        for fragment in first:
            self._receive(fragment, sent[fragment.id].schema(), sent[fragment.id].batches())
            self._send_ready(waiting)
        self._send_ready(waiting)

    def send(self, fragment: FragmentPlan) -> FragmentStream:
        """Ask a fragment without keys."""
        return self._ask(fragment, "", fragment.sql, None)

    def _send_ready(self, waiting: dict[str, FragmentPlan]) -> None:
        while ready := [f for f in waiting.values() if f.keys is not None and f.keys.needs <= self._read]:
            started = []
            for fragment in ready:
                del waiting[fragment.id]
                assert fragment.keys is not None
                started.append((fragment, *self._start(fragment, fragment.keys)))
            for fragment, schema, batches in started:
                self._receive(fragment, schema(), batches)

    def _start(
        self, fragment: FragmentPlan, source: KeySource
    ) -> tuple[Callable[[], pa.Schema], Iterator[pa.RecordBatch]]:
        assert self._merge is not None
        found = self._merge.keys(source.query)
        if len(found) > source.most and not source.always:
            stream = self.send(fragment)
            return stream.schema, stream.batches()
        chunks = [found.slice(i, source.chunk) for i in range(0, max(len(found), 1), source.chunk)]
        stream = self._ask(fragment, "", source.sql, chunks[0])

        def answers() -> Iterator[pa.RecordBatch]:
            yield from stream.batches()
            for number, chunk in enumerate(chunks[1:], 1):
                yield from self._ask(fragment, f"_{number}", source.sql, chunk).batches()

        return stream.schema, answers()

    def _receive(self, fragment: FragmentPlan, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        assert self._merge is not None
        if fragment.id not in self._plan.stored:
            self._merge.attach(fragment.id, schema, batches)
            return
        try:
            self._merge.store(fragment.id, schema, batches)
        except CityError:
            raise_first(self.streams)
            raise
        self._read.add(fragment.id)

    def _ask(self, fragment: FragmentPlan, suffix: str, sql: str, keys: pa.Array | None) -> FragmentStream:
        name = f"{self._execution.query_id}_{fragment.id}{suffix}"
        self._execution.part(name, fragment.department)
        stream = self._agents.ask(self._execution, self._session, fragment.department, name, sql, keys)
        self.streams.append(stream)
        return stream


def raise_first(streams: list[FragmentStream]) -> None:
    """Raise the error of the department at fault, if one is: DuckDB passes it on as mere text."""
    for stream in streams:
        if stream.error is not None:
            raise stream.error
