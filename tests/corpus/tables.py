# ruff: noqa: E501 - rows of tables
"""The small fixed tables of the corpus, held by two departments, and the same as statements for Trino."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from catalog.types import TrinoType, parse
from tests.differential.harness import World, world

__all__ = ["CORPUS", "creation"]

DAY, AT, DEC = date.fromisoformat, datetime.fromisoformat, Decimal

CELL = {
    "id": "bigint", "i": "integer", "si": "smallint", "ti": "tinyint", "b": "bigint", "n": "decimal(10,3)",
    "m": "decimal(14,2)", "w": "decimal(38,10)", "f": "double", "r": "real", "s": "varchar", "v": "varchar(5)",
    "d": "date", "ts": "timestamp(3)", "t6": "timestamp(6)", "ok": "boolean", "a": "array(integer)",
    "tags": "array(varchar)", "j": "varchar", "bin": "varbinary",
}  # fmt: skip
"""Every type that a department publishes, in ordinary values, limits, odd values and NULL."""
CELLS: list[tuple[Any, ...]] = [
    (1, 7, 5, 3, 2, DEC("1.500"), DEC("2.50"), DEC("1.0000000001"), 2.5, 1.25, "Ab,c", "abc", DAY("2020-01-31"),
     AT("2020-02-03 04:05:06.789"), AT("2020-02-03 04:05:06.789123"), True, [3, 1, None], ["x", "y"],
     '{"a": {"b": "x"}, "n": 1}', b"\x00\xffab"),
    (2, -7, -3, -1, -7, DEC("-2.005"), DEC("0.30"), DEC("-9999999999.5"), -1.5, -0.5, "é中😀", "é", DAY("2021-03-01"),
     AT("2021-12-31 23:59:59"), AT("2021-12-31 23:59:59.999999"), False, [], [], "[1, 2, null]", b""),
    (3, 2147483647, 32767, 127, 9223372036854775807, DEC("9999999.999"), DEC("999999999999.99"),
     DEC("9999999999999999999999999999.9999999999"), 1e300, 3.4e38, "", "", DAY("2024-02-29"),
     AT("2024-02-29 12:00:00"), AT("1969-12-31 23:59:59.5"), None, [5, 5, -2, 0], ["y", None, "x", "x"], "no json",
     b"\xe4\xb8\xad"),
    (4, -2147483648, -32768, -128, -9223372036854775808, DEC("-0.001"), DEC("0.00"), DEC("0E-10"), -0.0, 0.0,
     "trailing ", "12345", DAY("1970-01-01"), AT("1999-12-31 00:00:00"), AT("2000-01-01 00:00:00"), True, None, None,
     '"text"', b"hash me"),
    (5, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None),
    (6, 0, 0, 0, 0, DEC("0.000"), DEC("-1.25"), DEC("3.3333333333"), 0.1, 0.1, "12", "a b", DAY("2019-12-30"),
     AT("2019-12-30 01:02:03.456"), AT("2019-12-30 01:02:03.456789"), False, [None], ["z"], "null", None),
]  # fmt: skip

SALE = {"id": "bigint", "cell": "bigint", "kind": "varchar", "day": "date", "amount": "decimal(9,2)", "qty": "integer"}
SALES: list[tuple[Any, ...]] = [
    (10, 1, "a", DAY("2024-01-01"), DEC("10.00"), 1),
    (11, 1, "a", DAY("2024-01-15"), DEC("20.50"), 2),
    (12, 2, "b", DAY("2024-01-31"), DEC("-3.25"), None),
    (13, 2, "a", DAY("2024-02-29"), None, 4),
    (14, None, "c", DAY("2024-02-29"), DEC("0.01"), 5),
    (15, 9, None, None, DEC("100.00"), 1),
    (16, 3, "b", DAY("2024-03-31"), DEC("7.77"), 2),
    (17, 3, "b", DAY("2024-03-31"), DEC("7.77"), 2),
]

_TABLES = {"a__cell": (CELL, CELLS), "b__sale": (SALE, SALES)}
CORPUS: World = world(**_TABLES)  # type: ignore[arg-type]


def creation() -> Iterator[str]:
    """The statements that make the tables in Trino, whose catalogs are named as the departments."""
    for name, (columns, rows) in _TABLES.items():
        types = {column: parse(text) for column, text in columns.items()}
        table = name.replace("__", ".main.")
        yield f"CREATE SCHEMA {name.partition('__')[0]}.main"
        yield f"CREATE TABLE {table} ({', '.join(f'{c} {t}' for c, t in types.items())})"
        for row in rows:
            cells = ", ".join(_literal(v, t) for v, t in zip(row, types.values(), strict=True))
            yield f"INSERT INTO {table} VALUES ({cells})"


def _literal(value: Any, kind: TrinoType) -> str:
    if value is None:
        return f"CAST(NULL AS {kind})"
    if kind.name == "array":
        return f"CAST(ARRAY[{', '.join(_literal(v, kind.args[0]) for v in value)}] AS {kind})"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, float):
        return f"{kind} '{value!r}'"
    if isinstance(value, (bool, int)):
        return f"CAST({json.dumps(value)} AS {kind})"
    text = value.isoformat(" ") if isinstance(value, datetime) else str(value)
    return f"CAST('{text.replace(chr(39), chr(39) * 2)}' AS {kind})"
