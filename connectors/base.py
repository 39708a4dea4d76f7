"""What a silo must offer to its agent: the `Source` interface.

A source never sees SQL that came from outside. The agent hands it a `NativeScan`: the owner's own
trusted text for each relation, and around it a structured projection, row filter, conjunction of
conditions, bind keys, joins and (where the source computes them exactly as Trino would) grouping.
What a `NativeScan` cannot say, no source is ever asked; the agent's residual engine does the rest.

    condition   a column beside literals or beside another column, LIKE, AND, OR, EXISTS, NOT IN
    expression  a column, a number, + - * of decimals, CASE

Conditions stand only where "false" and "unknown" mean the same: in WHERE, in WHEN, below AND and OR; there is no NOT.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar, Literal

import pyarrow as pa

from catalog.types import TrinoType

__all__ = [
    "PART_TYPES",
    "Aggregate",
    "AllOf",
    "AnyOf",
    "Arithmetic",
    "Blank",
    "BoundKeys",
    "Cancel",
    "Cancelled",
    "Capabilities",
    "Case",
    "Comparison",
    "Computed",
    "Condition",
    "Exists",
    "Expression",
    "GroupKey",
    "Like",
    "NativeScan",
    "NotIn",
    "Number",
    "Order",
    "OutputColumn",
    "Predicate",
    "Scalar",
    "Source",
    "SourceColumn",
    "SourceError",
    "SourceTable",
    "Truth",
]


@dataclass(frozen=True)
class Blank:
    """The place of a whole number of 64 bits in a scan whose statement is kept, whatever stands there (`written`)."""

    place: int


Value = bool | int | Decimal | float | str | date | datetime | Blank
Op = Literal["=", "<>", "<", "<=", ">", ">=", "in", "is null", "is not null"]
CompareOp = Literal["=", "<>", "<", "<=", ">", ">="]
AggregateFunction = Literal["count", "sum", "min", "max", "avg"]
KeyFunction = Literal["year", "month", "quarter"]
BoundKeys = tuple[tuple[str, ...], pa.Array]
"""Columns, and distinct keys without NULLs, one of which they are together: structs where there are several columns."""
PART_TYPES = frozenset({"tinyint", "smallint", "integer", "bigint", "varchar", "date"})
"""Types of the parts of a key that has several."""


class SourceError(Exception):
    """A source failed. Its text is for the owner's log only and never leaves the agent."""


class Cancelled(SourceError):
    """The scan was stopped by its `Cancel`."""


class Cancel:
    """Stops one fragment everywhere. `set()` may be called from any thread, more than once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        with self._lock:
            first = not self._event.is_set()
            self._event.set()
            callbacks = self._callbacks if first else []
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; True if cancelled."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise `Cancelled` if cancelled."""
        if self._event.is_set():
            raise Cancelled("cancelled")

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call back at cancellation (at once if it already happened): interrupt a driver, close a socket."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    @contextmanager
    def calling(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a cancellation calls `interrupt` again and again until the block ends.

        Once is not enough: a driver forgets an interrupt that arrives just before its statement starts.
        `interrupt` runs in a thread of its own, never after the block.
        """
        ended, lock = threading.Event(), threading.Lock()

        def repeat() -> None:
            while not ended.is_set():
                with lock:
                    if not ended.is_set():
                        interrupt()
                ended.wait(0.1)

        def begin() -> None:
            if not ended.is_set():  # a run that ended by itself has nothing to interrupt
                threading.Thread(target=repeat, name="atoll-cancel", daemon=True).start()

        self.on_cancel(begin)
        try:
            yield
        finally:
            with lock:
                ended.set()


@dataclass(frozen=True)
class Predicate:
    """`column op value`, on a raw, unmasked column. `in` takes `values`, `is [not] null` none, others one."""

    column: str
    op: Op
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """`left op right` of two columns."""

    left: str
    op: CompareOp
    right: str


@dataclass(frozen=True)
class Like:
    """`column [NOT] LIKE pattern`, without an escape character."""

    column: str
    pattern: str
    negated: bool = False


@dataclass(frozen=True)
class AllOf:
    """Conditions joined by AND, at least one."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """Conditions joined by OR, at least one."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Exists:
    """Whether [no] rows of the scans meet for which the conditions hold; those see the columns around it too."""

    parts: tuple[NativeScan, ...]
    conditions: tuple[Condition, ...]
    negated: bool = False


@dataclass(frozen=True)
class NotIn:
    """`column NOT IN` what a scan delivers in its only column: as in SQL, of any row unknown beside a NULL there."""

    column: str
    part: NativeScan


@dataclass(frozen=True)
class Scalar:
    """`column op` the number that a scan delivers in its only row and column."""

    column: str
    op: CompareOp
    part: NativeScan


@dataclass(frozen=True)
class Computed:
    """`left op right` of exact numbers, of which at least one is computed. No product of theirs has more digits than
    its type, so none raises."""

    left: Expression
    op: CompareOp
    right: Expression


Condition = Predicate | Comparison | Computed | Like | AllOf | AnyOf | Exists | NotIn | Scalar


@dataclass(frozen=True)
class Truth:
    """What a condition is of a row: true where it holds, false where its opposite `fails` does, else NULL."""

    holds: Condition
    fails: Condition


@dataclass(frozen=True)
class Number:
    """An exact number of a whole or decimal type."""

    value: int | Decimal
    type: TrinoType


@dataclass(frozen=True)
class Arithmetic:
    """`left op right` with at least one decimal operand. type: Trino's for the result, a decimal, or one of fewer
    digits before the point.

    A result that does not fit the type is an error, as in Trino: never a rounded or a larger number.
    """

    op: Literal["+", "-", "*"]
    left: Expression
    right: Expression
    type: TrinoType


@dataclass(frozen=True)
class Case:
    """`CASE WHEN when THEN then ELSE otherwise END`. otherwise: None for NULL. type: of both."""

    when: Condition
    then: Expression
    otherwise: Expression | None
    type: TrinoType


Expression = str | Number | Arithmetic | Case
"""A str names a column."""


@dataclass(frozen=True)
class OutputColumn:
    """A raw column to read and the type in which to deliver it."""

    column: str
    type: TrinoType
    name: str


@dataclass(frozen=True)
class GroupKey:
    """A grouping key: a column, a part of a date column, what a mask shows of a column, or what a condition is.

    form: the mask in the source's own SQL, over its column `:c` (`catalog.masks`, `Mask.source`). truth: of the
    condition; then there is no column.
    """

    column: str
    type: TrinoType
    name: str
    function: KeyFunction | None = None
    form: str = ""
    truth: Truth | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is a column as it is."""
        return self.function is None and not self.form and self.truth is None


@dataclass(frozen=True)
class Aggregate:
    """An aggregate over an expression (None: `count(*)`), delivered in `type` as `name`.

    distinct: a count of different values. An average is of decimals, rounded half away from zero at their scale.
    """

    function: AggregateFunction
    value: Expression | None
    type: TrinoType
    name: str
    distinct: bool = False


@dataclass(frozen=True)
class Order:
    """Sort by a column."""

    column: str
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True)
class NativeScan:
    """All that an agent may ask of a source.

    relation: the owner's trusted SELECT in the source's dialect, or a table name of the source; or scans, whose
    rows meet each with each as far as the predicates allow. is_query: whether `relation` is a SELECT.
    types: column -> declared type, for every column used: the relation's raw columns, or what the scans deliver,
    each under a name that no other column of the whole statement has.
    row_filters: the owner's trusted conditions, in the source's dialect, over the relation's columns.
    predicates, keys: a conjunction.
    Either `columns` (a plain scan) or `group_by`/`aggregates` (a grouped scan; without keys one row).
    limit: stop after so many rows; only ever set on plain scans without residual work above. order: of the rows, on
    plain scans. ties: with the rows that come together with the last one.
    masked: of what it delivers, over which a mask is put: of a cell that does not fit its type that is NULL, no error.
    query_id: goes into a comment, so that owners recognise the query in their own monitoring.
    """

    relation: str | tuple[NativeScan, ...]
    is_query: bool
    types: dict[str, TrinoType] = field(default_factory=dict)
    columns: tuple[OutputColumn, ...] = ()
    row_filters: tuple[str, ...] = ()
    predicates: tuple[Condition, ...] = ()
    keys: tuple[BoundKeys, ...] = ()
    group_by: tuple[GroupKey, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    limit: int | None = None
    order: tuple[Order, ...] = ()
    ties: bool = False
    masked: tuple[str, ...] = ()
    query_id: str = ""

    @property
    def schema(self) -> pa.Schema:
        """The exact Arrow schema that `Source.scan` must deliver."""
        return pa.schema([pa.field(name, type_.arrow()) for name, type_ in self.outputs])

    @property
    def parts(self) -> tuple[NativeScan, ...]:
        """The scans that it joins, none if it is one over an owner's text."""
        return () if isinstance(self.relation, str) else self.relation

    def scans(self) -> Iterator[NativeScan]:
        """This scan and every one within it."""
        yield self
        for part in (*self.parts, *_asked(self.predicates)):
            yield from part.scans()

    @property
    def outputs(self) -> list[tuple[str, TrinoType]]:
        """Name and declared type of each result column, in order."""
        found = [(o.name, o.type) for o in self.columns]
        found += [(k.name, k.type) for k in self.group_by]
        return found + [(a.name, a.type) for a in self.aggregates]


def _asked(conditions: tuple[Condition, ...]) -> Iterator[NativeScan]:
    """The scans of every EXISTS, NOT IN and scalar among these conditions."""
    for condition in conditions:
        if isinstance(condition, Exists):
            yield from condition.parts
            yield from _asked(condition.conditions)
        elif isinstance(condition, (NotIn, Scalar)):
            yield condition.part


@dataclass(frozen=True)
class Capabilities:
    """What a source evaluates exactly as Trino would, by type name (`varchar`, `decimal`, ..).

    predicates: operator -> raw type names on which it may be pushed. compares: types of which two columns compare.
    likes: characters that a LIKE pattern may not hold, None if it is not pushed at all.
    arithmetic: digits of the largest decimals that it adds, subtracts and multiplies exactly; with 38, what does not
    fit is an error; 0 if it does not. averages: of the largest of which it computes exact averages. computes: whether
    numbers that are computed may be compared, which no value may make an error. scalars: whether a column may be
    compared with what another scan delivers.
    joins: whether scans may be joined, on types of `compares`. exists: by which comparisons with columns around it an
    EXISTS is answered quickly without an index: none "", "=" or "any". excludes: whether NOT IN is, too.
    orders: types by which it sorts as Trino does, whole values, such that rows which tie look alike. sorts: whether it
    sorts whole answers as quickly as the agent's own engine. ties: whether it delivers those of a limit.
    aggregates: function -> raw type names; distinct: types of which it counts different values;
    `group_types`: types by which it may group; tests: whether it may by what conditions are;
    key_functions: date parts it computes; keys: types on which bind keys may be pushed. masks: the dialect in
    which it computes masks to group by, "" for none.
    """

    predicates: dict[str, frozenset[str]]
    aggregates: dict[str, frozenset[str]] = field(default_factory=dict)
    group_types: frozenset[str] = frozenset()
    tests: bool = False
    key_functions: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    masks: str = ""
    compares: frozenset[str] = frozenset()
    likes: str | None = None
    arithmetic: int = 0
    averages: int = 0
    computes: bool = False
    scalars: bool = False
    joins: bool = False
    orders: frozenset[str] = frozenset()
    sorts: bool = False
    ties: bool = False
    exists: Literal["", "=", "any"] = ""
    excludes: bool = False
    distinct: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SourceColumn:
    """A raw column as introspection finds it; `type` None if atoll cannot carry the source's type."""

    name: str
    type: TrinoType | None
    native_type: str
    nullable: bool = True
    key: bool = False


@dataclass(frozen=True)
class SourceTable:
    """A raw table as introspection finds it. rows: an estimate, None if the source has none."""

    name: str
    columns: tuple[SourceColumn, ...]
    rows: int | None = None


class Source(ABC):
    """One silo behind one agent. Implementations are safe for use from several threads at once.

    kind: the word in department.yaml. dialect: the sqlglot dialect of the owner's views.
    """

    kind: ClassVar[str]
    dialect: ClassVar[str]

    @abstractmethod
    def tables(self) -> list[SourceTable]:
        """Introspect: every table with its columns. Used by `atoll agent draft` and `check`."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What may be pushed into this source."""

    @abstractmethod
    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        """Run a scan read-only; yield batches of exactly `scan.schema`.

        Raises `SourceError` (never a driver's own exception) and `Cancelled`; a value that does not
        fit its declared type is an error that names the column, never a silent NULL. Closing the
        iterator early frees the source at once.
        """

    def refresh(self) -> None:  # noqa: B027 - a live source has nothing to refresh
        """Bring an agent-held snapshot up to date, if this source keeps one."""

    def vintage(self, table: str = "") -> datetime | None:
        """Time of the snapshot that answers for a table, of the oldest without; None for a live source."""
        return None

    def ping(self) -> None:
        """Raise `SourceError` if the source cannot be reached."""
        self.tables()

    @abstractmethod
    def close(self) -> None:
        """Free everything. The source is not used afterwards."""
