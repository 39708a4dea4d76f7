"""TPC-H's eight tables at a tiny scale over the three departments of bench/tpch.py, made so that every query finds
something: few brands, types, sizes and nations, and those that the queries name. The same rows every time.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

from bench.tpch import KEYS, TABLES
from tests.differential.harness import Rows, World, world

NATIONS = ("FRANCE", "GERMANY", "BRAZIL", "CANADA", "SAUDI ARABIA", "INDIA", "CHINA", "ARGENTINA")
REGIONS = {"EUROPE": (0, 1), "AMERICA": (2, 3, 7), "MIDDLE EAST": (4,), "ASIA": (5, 6)}
BRANDS = ("Brand#12", "Brand#23", "Brand#34", "Brand#45")
CONTAINERS = ("SM CASE", "MED BOX", "LG PKG", "JUMBO JAR")
TYPES = ("ECONOMY ANODIZED STEEL", "PROMO PLATED BRASS", "MEDIUM POLISHED TIN", "SMALL BURNISHED BRASS")
NAMES = ("forest green", "antique puff", "green lace", "forest chiffon")
PRIORITIES = ("1-URGENT", "2-HIGH", "3-MEDIUM", "5-LOW")
MODES = ("AIR", "MAIL", "SHIP", "AIR REG", "RAIL")
WORDS = ("carefully special pending requests", "furiously even", "Customer fluffily Complaints", "quick")
SIZES = (15, 3, 9, 14)
PHONES = ("13", "31", "23", "29", "10", "18")

COLUMNS = {
    "region": {"r_regionkey": "integer", "r_name": "varchar", "r_comment": "varchar"},
    "nation": {"n_nationkey": "integer", "n_name": "varchar", "n_regionkey": "integer", "n_comment": "varchar"},
    "supplier": {
        "s_suppkey": "bigint", "s_name": "varchar", "s_address": "varchar", "s_nationkey": "integer",
        "s_phone": "varchar", "s_acctbal": "decimal(15,2)", "s_comment": "varchar",
    },
    "customer": {
        "c_custkey": "bigint", "c_name": "varchar", "c_address": "varchar", "c_nationkey": "integer",
        "c_phone": "varchar", "c_acctbal": "decimal(15,2)", "c_mktsegment": "varchar", "c_comment": "varchar",
    },
    "part": {
        "p_partkey": "bigint", "p_name": "varchar", "p_mfgr": "varchar", "p_brand": "varchar", "p_type": "varchar",
        "p_size": "integer", "p_container": "varchar", "p_retailprice": "decimal(15,2)", "p_comment": "varchar",
    },
    "partsupp": {
        "ps_partkey": "bigint", "ps_suppkey": "bigint", "ps_availqty": "bigint", "ps_supplycost": "decimal(15,2)",
        "ps_comment": "varchar",
    },
    "orders": {
        "o_orderkey": "bigint", "o_custkey": "bigint", "o_orderstatus": "varchar", "o_totalprice": "decimal(15,2)",
        "o_orderdate": "date", "o_orderpriority": "varchar", "o_clerk": "varchar", "o_shippriority": "integer",
        "o_comment": "varchar",
    },
    "lineitem": {
        "l_orderkey": "bigint", "l_partkey": "bigint", "l_suppkey": "bigint", "l_linenumber": "bigint",
        "l_quantity": "decimal(15,2)", "l_extendedprice": "decimal(15,2)", "l_discount": "decimal(15,2)",
        "l_tax": "decimal(15,2)", "l_returnflag": "varchar", "l_linestatus": "varchar", "l_shipdate": "date",
        "l_commitdate": "date", "l_receiptdate": "date", "l_shipinstruct": "varchar", "l_shipmode": "varchar",
        "l_comment": "varchar",
    },
}  # fmt: skip
SUPPLIERS, CUSTOMERS, PARTS, ORDERS = 16, 48, 64, 420


def tiny() -> World:
    """The world, with keys and counts as owners publish them."""
    dice = random.Random(22)
    rows: dict[str, Rows] = {
        "region": [(i, name, "quick") for i, name in enumerate(REGIONS)],
        "nation": [
            (n, name, next(i for i, own in enumerate(REGIONS.values()) if n in own), "quick")
            for n, name in enumerate(NATIONS)
        ],
        "supplier": [
            (i, f"Supplier#{i}", "street", i % len(NATIONS), "13-555", _cents(dice, 9999), WORDS[i % 4])
            for i in range(SUPPLIERS)
        ],
        "customer": [
            (i, f"Customer#{i}", "street", i % len(NATIONS), f"{dice.choice(PHONES)}-{i}", _cents(dice, 9999),
             dice.choice(("BUILDING", "MACHINERY")), "quick")
            for i in range(CUSTOMERS)
        ],
        "part": [
            (i, NAMES[i % 4], "Mfgr", brand, kind, SIZES[(i // 4 + i // 16) % 4], container, Decimal(900), "quick")
            for i, (kind, brand, container) in enumerate(product(TYPES, BRANDS, CONTAINERS))
        ],
    }  # fmt: skip
    rows["partsupp"] = [
        (part, (part + step) % SUPPLIERS, dice.randrange(1, 60), _cents(dice, 900), "quick")
        for part in range(PARTS) for step in (0, 3, 6, 7)
    ]  # fmt: skip
    rows["orders"], rows["lineitem"] = _orders(dice)
    made: dict[str, Any] = {f"{TABLES[t]}__{t}": (COLUMNS[t], found) for t, found in rows.items()}
    traits = {f"{TABLES[t]}__{t}": {"key": tuple(KEYS[t]), "rows": len(found)} for t, found in rows.items()}
    return world(traits, **made)


def _orders(dice: random.Random) -> tuple[Rows, Rows]:
    orders, lines = [], []
    for order in range(ORDERS):
        day = date(1992, 1, 1) + timedelta(dice.randrange(2500))
        status, priority, customer = dice.choice("FFO"), dice.choice(PRIORITIES), dice.randrange(CUSTOMERS - 8)
        total = Decimal(0)
        for line in range(dice.randrange(1, 8)):
            part = dice.randrange(PARTS)
            price = _cents(dice, 40_000)
            shipped = day + timedelta(dice.randrange(1, 120))
            committed = day + timedelta(dice.randrange(30, 90))
            quantity = Decimal(50 if order % 40 == 0 else dice.randrange(1, 51))
            lines.append((
                order, part, (part + dice.choice((0, 3, 6, 7))) % SUPPLIERS, line, quantity, price,
                Decimal(dice.randrange(11)) / 100, Decimal(dice.randrange(9)) / 100, dice.choice("RAN"),
                dice.choice("FO"), shipped, committed, shipped + timedelta(dice.randrange(1, 30)),
                dice.choice(("DELIVER IN PERSON", "NONE")), dice.choice(MODES), "quick",
            ))  # fmt: skip
            total += price
        orders.append((order, customer, status, total, day, priority, "Clerk#1", 0, dice.choice(WORDS)))
    return orders, lines


def _cents(dice: random.Random, most: int) -> Decimal:
    return Decimal(dice.randrange(100, most * 100)) / 100
