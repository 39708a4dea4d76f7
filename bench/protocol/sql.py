"""The statements of the benchmark: the same text for Trino and for atoll, but for the name of a schema.

    export(columns, schema)   TPC-H's lineitem, out of one PostgreSQL: what users do
    engines_own(columns, n)   n rows that the engine makes itself, with types and lengths as in lineitem

Of the second neither a connector nor a department is in the figures, only the way from the engine to the client.
"""

from __future__ import annotations

__all__ = ["ENGINES_OWN", "EXPORTED", "ONE", "engines_own", "export"]

ONE = "SELECT 1"
NARROW_EXPORT = ("l_orderkey", "l_partkey", "l_extendedprice", "l_shipdate", "l_shipmode")
WIDE_EXPORT = (
    "l_orderkey", "l_partkey", "l_suppkey", "l_linenumber", "l_quantity", "l_extendedprice", "l_discount", "l_tax",
    "l_returnflag", "l_linestatus", "l_shipdate", "l_commitdate", "l_receiptdate", "l_shipinstruct", "l_shipmode",
    "l_comment",
)  # fmt: skip
EXPORTED = {"5 columns": NARROW_EXPORT, "16 columns": WIDE_EXPORT}


def export(columns: tuple[str, ...], schema: str) -> str:
    """Columns of the whole table. schema: with its catalog."""
    return f"SELECT {', '.join(columns)} FROM {schema}.lineitem"


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


ENGINES_OWN = {"5 columns": NARROW, "16 columns": WIDE}


def engines_own(columns: dict[str, str], rows: int) -> str:
    """columns: of `ENGINES_OWN`. rows: a multiple of 1,000, at most 10 million."""
    listed = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    outer = f"UNNEST(sequence(1, {rows // WIDTH})) AS a (x) CROSS JOIN UNNEST(sequence(1, {WIDTH})) AS b (y)"
    return f"SELECT {listed} FROM {outer}"
