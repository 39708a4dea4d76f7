"""One row that holds a value of every type that atoll sends, and one row of NULLs: how clients decode them.

The city's own SQL cannot make all of them (json, uuid and maps come from sources alone), so that a server
with the gateway's real pages and a canned answer stands in for it. `EXPECTED` is what a person would say.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from catalog.types import parse

SQL = "SELECT every_type"
UTC = datetime.UTC


@dataclass(frozen=True)
class Case:
    """A type, its value in Arrow, the Python client's value, and how JSON shows it on the wire."""

    type: str
    arrow: Any
    python: Any
    wire: Any


CASES = [
    Case("boolean", True, True, True),
    Case("tinyint", -128, -128, -128),
    Case("smallint", 32767, 32767, 32767),
    Case("integer", -2147483648, -2147483648, -2147483648),
    Case("bigint", 9007199254740993, 9007199254740993, 9007199254740993),
    Case("real", 1.1, 1.1, 1.1),
    Case("double", 1e100, 1e100, 1e100),
    Case("decimal(22, 2)", Decimal("12345678901234567890.12"), Decimal("12345678901234567890.12"),
         "12345678901234567890.12"),
    Case("decimal(38, 0)", Decimal(10) ** 37, Decimal(10) ** 37, "1" + "0" * 37),
    Case("varchar", 'it\'s "é" 水', 'it\'s "é" 水', 'it\'s "é" 水'),
    Case("varchar(5)", "a\tb", "a\tb", "a\tb"),
    Case("char(3)", "é", "é  ", "é  "),
    Case("varbinary", b"\x00\xff", b"\x00\xff", "AP8="),
    Case("date", datetime.date(2024, 2, 29), datetime.date(2024, 2, 29), "2024-02-29"),
    Case("time(3)", datetime.time(1, 2, 3, 123000), datetime.time(1, 2, 3, 123000), "01:02:03.123"),
    Case("time(6)", datetime.time(1, 2, 3, 123456), datetime.time(1, 2, 3, 123456), "01:02:03.123456"),
    Case("timestamp(0)", datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.datetime(2024, 1, 2, 3, 4, 5),
         "2024-01-02 03:04:05"),
    Case("timestamp(6)", datetime.datetime(2024, 1, 2, 3, 4, 5, 123456),
         datetime.datetime(2024, 1, 2, 3, 4, 5, 123456), "2024-01-02 03:04:05.123456"),
    Case("timestamp(3) with time zone", datetime.datetime(2024, 1, 2, 3, 4, 5, 123000, UTC),
         datetime.datetime(2024, 1, 2, 3, 4, 5, 123000, UTC), "2024-01-02 03:04:05.123 UTC"),
    Case("json", '{"a":[1,2.5],"b":1}', '{"a":[1,2.5],"b":1}', '{"a":[1,2.5],"b":1}'),
    Case("uuid", "12151fd2-7586-11e9-8f9e-2a86e4085a59", UUID("12151fd2-7586-11e9-8f9e-2a86e4085a59"),
         "12151fd2-7586-11e9-8f9e-2a86e4085a59"),
    Case("ipaddress", "10.0.0.1", "10.0.0.1", "10.0.0.1"),
    Case("array(integer)", [1, None], [1, None], [1, None]),
    Case("array(decimal(5, 2))", [Decimal("1.50")], [Decimal("1.50")], ["1.50"]),
    Case("map(varchar, double)", [("k", 1.0)], {"k": 1.0}, {"k": 1.0}),
    Case("row(a integer, b varchar)", {"a": 1, "b": "x"}, (1, "x"), [1, "x"]),
    Case("array(row(a timestamp(3), b varchar))",
         [{"a": datetime.datetime(2024, 1, 2, 3, 4, 5, 6000), "b": None}],
         [(datetime.datetime(2024, 1, 2, 3, 4, 5, 6000), None)], [["2024-01-02 03:04:05.006", None]]),
]  # fmt: skip

NAMES = {f"c{at}": case.type for at, case in enumerate(CASES)}
"""The answer's columns: c0, c1, .. with their types."""


def arrays() -> Iterator[tuple[list[Any], pa.DataType]]:
    """Each column's two values, with its Arrow type."""
    for case in CASES:
        yield [case.arrow, None], parse(case.type).arrow()
