"""The statements of the benchmark: the same text for Trino and for atoll, rows out of the engine itself.

No table is read, so that neither a connector nor a department is in the figures: what is measured is the way from
the engine's rows to the client's. The wide one has the types and lengths of TPC-H's lineitem.
"""

from __future__ import annotations

__all__ = ["ONE", "narrow", "wide"]

ONE = "SELECT 1"
WIDTH = 1000

NARROW = {
    "orderkey": "x * 1000 + y",
    "partkey": "x * 7919 + y * 31",
    "extendedprice": "CAST(x * 90 + y AS decimal(15, 2))",
    "shipdate": "date_add('day', CAST(y AS integer), DATE '1992-01-01')",
    "shipmode": "CASE x % 3 WHEN 0 THEN 'REG AIR' WHEN 1 THEN 'TRUCK' ELSE 'RAIL' END",
}
WIDE = {
    "orderkey": "x * 1000 + y",
    "partkey": "x * 7919 + y * 31",
    "suppkey": "x * 17 + y",
    "linenumber": "CAST(y % 7 AS integer)",
    "quantity": "CAST(y % 50 AS decimal(15, 2))",
    "extendedprice": "CAST(x * 90 + y AS decimal(15, 2))",
    "discount": "CAST(y % 11 AS decimal(15, 2))",
    "tax": "CAST(x % 9 AS decimal(15, 2))",
    "returnflag": "CASE y % 3 WHEN 0 THEN 'R' WHEN 1 THEN 'A' ELSE 'N' END",
    "linestatus": "CASE x % 2 WHEN 0 THEN 'O' ELSE 'F' END",
    "shipdate": "date_add('day', CAST(y AS integer), DATE '1992-01-01')",
    "commitdate": "date_add('day', CAST(y AS integer), DATE '1992-02-01')",
    "receiptdate": "date_add('day', CAST(x AS integer), DATE '1992-03-01')",
    "shipinstruct": "CASE x % 4 WHEN 0 THEN 'DELIVER IN PERSON' WHEN 1 THEN 'COLLECT COD' ELSE 'NONE' END",
    "shipmode": "CASE x % 3 WHEN 0 THEN 'REG AIR' WHEN 1 THEN 'TRUCK' ELSE 'RAIL' END",
    "comment": "concat('carefully final deposits ', CAST(x * 1000 + y AS varchar))",
}


def _select(columns: dict[str, str], rows: int) -> str:
    listed = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    outer = f"UNNEST(sequence(1, {rows // WIDTH})) AS a (x) CROSS JOIN UNNEST(sequence(1, {WIDTH})) AS b (y)"
    return f"SELECT {listed} FROM {outer}"


def narrow(rows: int) -> str:
    """5 columns. rows: a multiple of 1,000, at most 10 million."""
    return _select(NARROW, rows)


def wide(rows: int) -> str:
    """16 columns."""
    return _select(WIDE, rows)
