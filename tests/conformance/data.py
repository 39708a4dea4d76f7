"""The table that every kind of source must hold and give back: awkward values of each type, and its oracle.

Rows are plain Python tuples in the order of `TYPES`; the oracle evaluates predicates and aggregates over
them as Trino would. A test compares a source with the oracle and with nothing else.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from catalog.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, TrinoType
from connectors.base import Predicate

TYPES: dict[str, TrinoType] = {
    "id": BIGINT,
    "t": VARCHAR,
    "n": TrinoType("integer"),
    "b": BIGINT,
    "amt": TrinoType("decimal", (14, 3)),
    "big": TrinoType("decimal", (38, 10)),
    "d": DATE,
    "ts": TIMESTAMP,
    "f": BOOLEAN,
    "x": DOUBLE,
    "Odd \"Name'": VARCHAR,
}
COLUMNS = list(TYPES)
ODD = COLUMNS[-1]

TEXTS: list[str | None] = [
    "abc", "ABC", "Abc", "abc ", " abc", "abc  ", "abcd", "ab", "", " ", "é", "e\u0301", "É", "ß", "ss", "SS", "中文",
    "🐚", "it's", 'say "x"', "back\\slash", "100%", "a_b", "Z", "a", "z", "_", "-1", "10", "9", "A b",
    "x') OR 1=1 -- ", "$1 :p1 ?", "new\nline", "tab\there", "NULL", "İ", "ｆｕｌｌ１", "\u00a0", None,
]  # fmt: skip
INTEGERS: list[int | None] = [0, 1, -1, 2**31 - 1, -(2**31), 7, None]
BIGINTS: list[int | None] = [0, 2**63 - 1, -(2**63), 2**53 + 1, 10**15, -3, None]
DECIMALS: list[Decimal | None] = [
    Decimal(t) for t in ("0.000", "1.500", "1.501", "-1.500", "99999999999.999", "-99999999999.999", "0.001", "10.000")
] + [None]
BIG: list[Decimal | None] = [
    Decimal(t) for t in ("0.0000000001", "1234567890123456789012345678.0123456789", "-0.5000000000", "3.0000000000")
] + [None]
DATES: list[date | None] = [
    date(1000, 1, 1), date(1900, 2, 28), date(1969, 12, 31), date(1970, 1, 1), date(2000, 2, 29), date(2024, 2, 29),
    date(2023, 12, 31), date(2024, 1, 1), date(9999, 12, 31), None,
]  # fmt: skip
STAMPS: list[datetime | None] = [
    datetime(2024, 2, 29, 23, 59, 59, 999000), datetime(1970, 1, 1), datetime(2000, 1, 1, 0, 0, 0, 1000),
    datetime(1000, 1, 1), datetime(2024, 3, 1), datetime(2024, 3, 1, 12, 30), None,
]  # fmt: skip
FLAGS: list[bool | None] = [True, False, None]
DOUBLES: list[float | None] = [0.0, 0.1, -0.1, 1e300, -1e300, 2.5, 1 / 3, 1e-300, 123456789.125, 5.0, None]

Row = tuple[Any, ...]


def make_rows() -> list[Row]:
    """One row for each text, then 300 of random picks: the same ones each time."""
    pick = random.Random(4499).choice
    rows: list[Row] = []
    for i in range(len(TEXTS) + 300):
        text = TEXTS[i] if i < len(TEXTS) else pick(TEXTS)
        rows.append(
            (
                i, text, pick(INTEGERS), pick(BIGINTS), pick(DECIMALS), pick(BIG), pick(DATES), pick(STAMPS),
                pick(FLAGS), pick(DOUBLES), f"odd {i % 7}",
            )
        )  # fmt: skip
    return rows


ROWS = make_rows()

LITERALS: dict[str, list[Any]] = {
    "t": [text for text in TEXTS if text is not None] + ["absent", "ABC ", "e"],
    "n": [0, 1, -1, 2**31 - 1, -(2**31), 2**40],
    "b": [0, 2**63 - 1, -(2**63), 2**53, 2**53 + 1],
    "amt": [Decimal("1.5"), Decimal("1.5005"), Decimal(0), Decimal("99999999999.999"), 10, Decimal("-1.500")],
    "big": [Decimal("0.0000000001"), Decimal("1234567890123456789012345678.0123456789"), Decimal(3)],
    "d": [d for d in DATES if d is not None] + [date(2020, 6, 15)],
    "ts": [s for s in STAMPS if s is not None] + [datetime(2024, 2, 29, 23, 59, 59)],
    "f": [True, False],
    "x": [0.0, 0.1, 1e300, 2.5, 1 / 3, -0.1, 5.0],
}
"""Column -> literals to compare it with."""

_COMPARE = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(row: Row, predicate: Predicate) -> bool:
    """Whether Trino keeps the row: an unknown (NULL) comparison does not."""
    value = row[COLUMNS.index(predicate.column)]
    if predicate.op == "is null":
        return value is None
    if predicate.op == "is not null":
        return value is not None
    if value is None:
        return False
    if predicate.op == "in":
        return value in predicate.values
    return bool(_COMPARE[predicate.op](value, predicate.values[0]))


def matching(predicates: Iterable[Predicate]) -> list[int]:
    """Ids of the rows for which all predicates hold."""
    wanted = list(predicates)
    return sorted(row[0] for row in ROWS if all(holds(row, p) for p in wanted))


def key_of(value: Any, function: str | None) -> Any:
    """A grouping key: the value, or a part of it."""
    if function is None or value is None:
        return value
    return (value.month + 2) // 3 if function == "quarter" else getattr(value, function)


def aggregate(function: str, values: list[Any]) -> Any:
    """An aggregate over the values of a group; NULLs take no part."""
    present = [v for v in values if v is not None]
    if function == "count":
        return len(present)
    if not present:
        return None
    if function == "sum":
        return sum(present)
    return min(present) if function == "min" else max(present)
