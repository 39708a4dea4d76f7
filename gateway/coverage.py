"""What the mappings of a statement's city tables leave out, counted beside the statement.

    statement ──▶ its fragments ──▶ merge ──▶ rows
        └───────▶ one statement of all counts ──▶ warnings, before the last page

Departments work on both at once, and what several counts read of one of them is asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from catalog.errors import CityError, Outcome
from catalog.standards import CityTable
from gateway.execution import Execution

__all__ = ["Coverage", "counts"]

AT_ONCE = 64
"""Counts that run at once; others wait."""


def counts(tables: Sequence[CityTable]) -> str:
    """One query of (place of the table, rows that no mapping covers), of tables that have a count."""
    each = [f"SELECT {i} AS place, t{i}.n FROM ({table.unmapped}) AS t{i} (n)" for i, table in enumerate(tables)]
    if len(each) == 1:
        return each[0]
    # In one batch, whoever reads it when: a few batches wait for their reader, and hold up what waits behind them.
    return f"SELECT t.place, CAST(sum(t.n) AS bigint) AS n FROM ({' UNION ALL '.join(each)}) AS t GROUP BY t.place"


class Coverage:
    """Counts beside statements, in threads of their own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="coverage")

    @contextmanager
    def beside(
        self, execution: Execution, tables: Sequence[CityTable], apart: Callable[[str], Execution],
        run: Callable[[Execution], None],
    ) -> Iterator[None]:  # fmt: skip
        """Count while the block runs, and warn after it; if it raises, the counts are given up.

        tables: the statement's city tables. apart: an execution of a query of the gateway's own. run: to its end.
        Raises the CityError of the counts, which then is the statement's.
        """
        tables = [table for table in tables if table.unmapped is not None]
        if not tables:
            yield
            return

        def begin() -> tuple[Execution, Future[None]]:
            part = apart(counts(tables))
            execution.on_cancel(part.cancel)
            return part, self._pool.submit(run, part)

        part, running = begin()
        try:
            yield
        except BaseException:
            part.cancel()
            running.cancel()
            raise
        with execution.clock.at("counting what mappings leave out"):
            try:
                found = _found(part)
            except CityError as refused:
                if refused.outcome is not Outcome.BUSY:
                    raise
                part, _ = begin()  # a department had no room beside the statement itself
                found = _found(part)
        execution.adopt(part)
        for place, count in found.items():
            if count:
                execution.warn(f"{count:,} rows of {tables[place].name} {tables[place].warning}")

    def close(self) -> None:
        """When no statement runs any more: counts that nobody waits for are given up, and end."""
        self._pool.shutdown(wait=True)


def _found(part: Execution) -> dict[int, int]:
    """Place -> rows that are left out, when it has ended. Raises its error."""
    found: dict[int, int] = {}
    for batch in part.batches():
        for place, count in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            found[place] = found.get(place, 0) + (count or 0)
    return dict(sorted(found.items()))
