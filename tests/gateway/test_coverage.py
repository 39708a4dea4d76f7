"""Rows that no mapping covers are counted beside a statement: at the same time, to the end, and given up with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest
import sqlglot

from catalog.errors import CityError, DepartmentError, Outcome, UserError
from catalog.standards import CityTable, city_tables
from catalog.types import BIGINT
from gateway.coverage import Coverage, counts
from gateway.execution import Execution, ResultColumn, Session

LIN = Session("lin")
COUNTED = [table for table in city_tables().values() if table.unmapped is not None]
COLUMNS = (ResultColumn("place", BIGINT), ResultColumn("n", BIGINT))


@pytest.fixture
def coverage() -> Iterator[Coverage]:
    made = Coverage()
    yield made
    made.close()


class Counts:
    """What is counted: rows by place, a batch each. parts: what ran, in order."""

    def __init__(self, *rows: tuple[int, int | None], fails: CityError | None = None) -> None:
        self.rows, self.fails = rows, fails
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.parts: list[Execution] = []

    def apart(self, sql: str) -> Execution:
        self.parts.append(Execution(f"q{len(self.parts)}", sql, LIN))
        return self.parts[-1]

    def run(self, part: Execution) -> None:
        self.begun.set()
        assert self.go.wait(20)
        part.publish(COLUMNS)
        try:
            for place, count in self.rows:
                part.put(pa.record_batch([pa.array([place]), pa.array([count], pa.int64())], ["place", "n"]))
        except CityError as cancelled:
            part.finish(cancelled)
            return
        fails, self.fails = self.fails, None
        part.finish(fails)


def warned(coverage: Coverage, counting: Counts, used: list[CityTable], work: Callable[[], None]) -> list[str]:
    execution = Execution("q", "SELECT 1", LIN)
    with coverage.beside(execution, used, counting.apart, counting.run):
        work()
    return execution.warnings


def nothing() -> None:
    """A statement that does nothing."""


def test_each_table_that_leaves_rows_out_is_named(coverage: Coverage) -> None:
    first, second, third = COUNTED[:3]
    counting = Counts((2, 1200), (0, 7), (1, 0), (2, 34), (1, None))
    assert warned(coverage, counting, [first, second, third], nothing) == [
        f"7 rows of {first.name} {first.warning}", f"1,234 rows of {third.name} {third.warning}",
    ]  # fmt: skip


def test_more_answers_than_wait_for_a_reader_are_read(coverage: Coverage) -> None:
    counting = Counts(*((0, 1) for _ in range(500)))
    assert warned(coverage, counting, COUNTED[:1], nothing) == [f"500 rows of {COUNTED[0].name} {COUNTED[0].warning}"]


def test_departments_count_while_they_answer(coverage: Coverage) -> None:
    counting = Counts((0, 3))
    assert warned(coverage, counting, COUNTED[:1], lambda: _in_time(counting.begun))


def _in_time(event: threading.Event) -> None:
    assert event.wait(20), "it waits for the statement"


def test_tables_without_mappings_cost_nothing(coverage: Coverage) -> None:
    plain = [table for table in city_tables().values() if table.unmapped is None]
    counting = Counts()
    assert plain
    assert warned(coverage, counting, plain, nothing) == []
    assert counting.parts == []


def test_a_count_that_fails_fails_its_statement(coverage: Coverage) -> None:
    with pytest.raises(UserError, match="no rows for you"):
        warned(coverage, Counts((0, 1), fails=UserError("no rows for you")), COUNTED[:1], nothing)


def test_a_department_that_has_no_room_beside_the_statement_counts_after_it(coverage: Coverage) -> None:
    busy = DepartmentError("no room for another query", Outcome.BUSY, who="water", rule="queue")
    counting = Counts((0, 7), fails=busy)
    assert warned(coverage, counting, COUNTED[:1], nothing) == [f"7 rows of {COUNTED[0].name} {COUNTED[0].warning}"]
    assert len(counting.parts) == 2


def test_a_statement_that_fails_or_is_cancelled_gives_its_counts_up(coverage: Coverage) -> None:
    def fail() -> None:
        _in_time(counting.begun)
        raise UserError("it is wrong")

    counting = Counts((0, 1))
    counting.go.clear()
    with pytest.raises(UserError, match="it is wrong"):
        warned(coverage, counting, COUNTED[:1], fail)
    assert counting.parts[0].error is not None
    counting.go.set()

    cancelled = Counts((0, 1))
    cancelled.go.clear()
    with pytest.raises(CityError, match="canceled"):
        _cancelled(coverage, cancelled)


def _cancelled(coverage: Coverage, counting: Counts) -> None:
    execution = Execution("q", "SELECT 1", LIN)
    with coverage.beside(execution, COUNTED[:1], counting.apart, counting.run):
        execution.cancel()
        counting.go.set()


def test_all_counts_together_are_one_query_of_two_columns() -> None:
    tree = sqlglot.parse_one(counts(COUNTED), read="trino")
    assert tree.named_selects == ["place", "n"]
    assert len(COUNTED) > 3
    assert counts(COUNTED).count(" AS place,") == len(COUNTED)
