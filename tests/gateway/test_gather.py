"""In which order answers are read: whichever is here, so that a slow department holds up only who needs its keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp, parse_one

from catalog.errors import CityError, DepartmentError, Outcome
from gateway.execution import Execution, Session
from gateway.gather import Gathering
from gateway.merge.duckdb import Merge, MergePool
from gateway.plan import FragmentPlan, KeySet, KeySource, Plan
from gateway.settings import Limits

SESSION = Session(user="lin", token="", purpose="health")
SCHEMA = pa.schema([pa.field("c0", pa.int64(), metadata={b"trino": b"bigint"})])


@dataclass(eq=False)
class Stream:
    """An answer of one row that comes when `come` says so. asks: called when it is read."""

    value: int
    changed: threading.Event
    here: bool = False
    error: CityError | None = None

    def come(self) -> None:
        self.here = True
        self.changed.set()

    def is_ready(self, whole: bool) -> bool:
        return self.here

    def schema(self) -> pa.Schema:
        assert self.here, "nobody waits inside of it"
        if self.error is not None:
            raise self.error
        return SCHEMA

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array([self.value])], schema=SCHEMA)


@dataclass
class Departments:
    """asked: texts in the order in which they came; alone: those of them beside which nothing else was to be done.
    follows: fragments whose answers wait for others to be asked."""

    follows: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)

    def ask(
        self, execution: Execution, session: Session, department: str, name: str, sql: str, keys: Any,
        *, zoned: bool, changed: threading.Event, here: bool,
    ) -> Stream:  # fmt: skip
        fragment = name.rpartition("_")[2]
        self.alone += [fragment] if here else []
        self.asked.append(" for ".join([fragment, *(str(one.to_pylist()) for one in keys)]))
        stream = self.streams[fragment] = Stream(int(fragment[1:]), changed)
        if fragment not in self.follows:
            stream.come()
        for slow, after in self.follows.items():
            if after == fragment and slow in self.streams:
                self.streams[slow].come()
        return stream


def plain(name: str) -> FragmentPlan:
    return FragmentPlan(name, f"d{name}", f"SELECT {name}", ("c0",), ())


def keyed(name: str, giver: str) -> FragmentPlan:
    query = parse_one(f"SELECT DISTINCT c0 AS k FROM {giver}", dialect="trino")
    assert isinstance(query, exp.Select)
    one = KeySet(query, frozenset({giver}), most=10, places=(giver, (0,)))
    source = KeySource((one,), {(0,): f"SELECT {name}"}, 10)
    return FragmentPlan(name, f"d{name}", f"SELECT {name}", ("c0",), (), source)


@pytest.fixture
def merge(tmp_path: Path) -> Iterator[tuple[Execution, Merge]]:
    pool, execution = MergePool(Limits(), tmp_path / "spill", warm=1), Execution("q", "SELECT 1", SESSION)
    with Merge(pool, execution, ("lin", "health")) as made:
        yield execution, made
    pool.close()


def gathered(merge: tuple[Execution, Merge], departments: Any, *fragments: FragmentPlan, stored: str = "") -> Gathering:
    plan = Plan(fragments, parse_one("SELECT 1", dialect="trino"), ("n",), frozenset(stored.split()))  # type: ignore[arg-type]
    gathering = Gathering(departments, merge[0], SESSION, plan, merge[1])
    gathering.all()
    return gathering


def test_keys_go_out_while_a_slow_department_is_still_at_work(merge: tuple[Execution, Merge]) -> None:
    # f0 answers only after f2 was asked: were it waited for first, this would never end.
    departments = Departments({"f0": "f2"})
    gathered(merge, departments, plain("f0"), plain("f1"), keyed("f2", "f1"), stored="f0 f1 f2")
    assert departments.asked == ["f0", "f1", "f2 for [1]"]


def test_a_chain_of_keys_runs_beside_a_slow_one(merge: tuple[Execution, Merge]) -> None:
    departments = Departments({"f0": "f3", "f4": "f3"})
    chain = (plain("f0"), plain("f1"), keyed("f2", "f1"), keyed("f3", "f2"), keyed("f4", "f1"), keyed("f5", "f0"))
    gathered(merge, departments, *chain, stored="f0 f1 f2 f3 f4 f5")
    assert departments.asked == ["f0", "f1", "f2 for [1]", "f4 for [1]", "f3 for [2]", "f5 for [0]"]


def test_a_thread_waits_by_itself_for_an_answer_beside_which_there_is_nothing_to_do(
    merge: tuple[Execution, Merge],
) -> None:
    chain, two, forked = Departments(), Departments(), Departments()
    gathered(merge, chain, plain("f0"), keyed("f1", "f0"), keyed("f2", "f1"), stored="f0 f1 f2")
    gathered(merge, two, plain("f0"), plain("f1"), keyed("f2", "f1"), stored="f0 f1 f2")
    gathered(merge, forked, plain("f0"), keyed("f1", "f0"), keyed("f2", "f0"), stored="f0 f1 f2")
    # The last one's keys are known before anything is asked, so it goes out beside the first.
    given = keyed("f1", "f0")
    assert given.keys is not None
    query = parse_one("SELECT 1 AS k", dialect="trino")
    known = replace(given.keys, sets=(KeySet(query, frozenset(), most=10),))  # type: ignore[arg-type]
    beside = Departments()
    gathered(merge, beside, plain("f0"), replace(given, keys=known), stored="f0 f1")
    assert [d.alone for d in (chain, forked, beside)] == [["f0", "f1", "f2"], ["f0"], []]
    assert "f0" not in two.alone
    assert "f1" not in two.alone


def test_a_stream_that_the_merge_reads_itself_holds_up_nobody(merge: tuple[Execution, Merge]) -> None:
    departments = Departments({"f0": "f2"})
    gathered(merge, departments, plain("f0"), plain("f1"), keyed("f2", "f1"), stored="f1")
    assert [row for b in merge[1].run(merge[1].compile(parse_one("SELECT c0 FROM f0"))) for row in b.to_pylist()] == [  # type: ignore[arg-type]
        {"c0": 0}
    ]


def test_a_refusal_ends_the_statement_though_others_are_at_work(merge: tuple[Execution, Merge]) -> None:
    class Refusing(Departments):
        def ask(self, *args: Any, **named: Any) -> Stream:
            stream = super().ask(*args, **named)
            if args[3].endswith("f1"):
                stream.error = DepartmentError("closed", Outcome.CLOSED, who="df1")
            return stream

    with pytest.raises(DepartmentError, match="closed"):
        gathered(merge, Refusing({"f0": "never"}), plain("f0"), plain("f1"), stored="f0 f1")


def test_whoever_waits_can_be_stopped(merge: tuple[Execution, Merge]) -> None:
    execution, _ = merge
    timer = threading.Timer(0.1, execution.cancel)
    timer.start()
    with pytest.raises(CityError) as stopped:
        gathered(merge, Departments({"f0": "never"}), plain("f0"), stored="f0")
    assert stopped.value.outcome is Outcome.CANCELED
    timer.join()
