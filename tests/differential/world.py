"""A small city with awkward data: NULLs in every column, duplicate keys and rows, empty relations, text
that differs in case, trailing blanks or Unicode form only, leap days, year ends, limits of bigint.

Keys overlap only partly between departments, so that outer joins have something to extend.
"""

from __future__ import annotations

import unicodedata

from tests.differential.harness import DAY, DEC, World, world

CAFE = unicodedata.normalize("NFC", "Café")
CAFE_NFD = unicodedata.normalize("NFD", "Café")
MOST, LEAST = 2**63 - 1, -(2**63)

WATER = {
    "water__meter": (
        {"id": "bigint", "company": "varchar", "district": "varchar", "installed": "date", "factor": "decimal(6,3)"},
        [
            (1, "A1", "north", DAY("2020-02-29"), DEC("1.000")),
            (2, "A1", "North", DAY("2019-12-31"), DEC("0.500")),
            (3, "B2", "south", None, DEC("-1.250")),
            (4, None, "south", DAY("2021-01-01"), None),
            (5, "C3", None, DAY("2020-02-29"), DEC("2.000")),
            (5, "C3", None, DAY("2020-02-29"), DEC("2.000")),
            (None, "D4", "east", DAY("2024-02-29"), DEC("1.000")),
            (MOST, "a1", "north ", DAY("2023-12-31"), DEC("0.001")),
        ],
    ),
    "water__reading": (
        {
            "meter_id": "bigint", "company": "varchar", "month": "date", "m3": "decimal(12,3)",
            "flag": "boolean", "note": "varchar",
        },
        [
            (1, "A1", DAY("2024-01-01"), DEC("10.500"), True, CAFE),
            (1, "A1", DAY("2024-02-01"), DEC("0.000"), False, CAFE_NFD),
            (1, "A1", DAY("2024-02-01"), DEC("0.000"), False, CAFE_NFD),
            (1, "A1", DAY("2024-03-01"), None, None, ""),
            (2, "A1", DAY("2023-12-31"), DEC("-3.250"), True, None),
            (3, "B2", DAY("2024-02-29"), DEC("99999.999"), True, "x"),
            (3, "B2", None, DEC("1.001"), None, "X"),
            (5, "C3", DAY("2024-01-01"), DEC("7.000"), False, "x "),
            (7, "E5", DAY("2024-01-01"), DEC("7.000"), True, "x"),
            (None, None, DAY("2024-12-31"), DEC("5.000"), None, "x"),
            (None, "A1", DAY("2024-12-31"), DEC("5.000"), True, None),
            (MOST, "a1", DAY("2025-01-01"), DEC("2.500"), False, "it's"),
        ],
    ),
    "water__tariff": ({"district": "varchar", "price": "decimal(10,4)", "since": "date"}, []),
}  # fmt: skip

MARKET = {
    "market__company": (
        {
            "id": "varchar", "name": "varchar", "district": "varchar", "staff": "integer", "founded": "date",
            "revenue": "bigint", "score": "double", "parent": "varchar",
        },
        [
            ("A1", "Acme", "north", 10, DAY("2000-02-29"), 1000, 1.5, None),
            ("a1", "acme", "North", 0, DAY("1999-12-31"), MOST, -0.0, "A1"),
            ("B2", CAFE, "south", None, DAY("2010-06-30"), -500, None, "A1"),
            ("C3", CAFE_NFD, None, -3, None, None, 2.25, "B2"),
            ("C3", "Copy", "south", 7, DAY("2010-06-30"), 0, 0.125, "B2"),
            ("F6", None, "west", 10, DAY("2020-01-01"), LEAST, 1e6, "Z9"),
            (None, "Nameless", "north", 10, DAY("2020-01-01"), 12, 3.0, "A1"),
            ("G7", "Gone ", "east", 2, DAY("2020-02-29"), 12, 1.5, "F6"),
        ],
    ),
    "market__sale": (
        {"seller": "varchar", "buyer": "varchar", "day": "date", "amount": "decimal(14,2)", "qty": "integer"},
        [
            ("A1", "B2", DAY("2024-01-01"), DEC("100.00"), 1),
            ("A1", "B2", DAY("2024-01-01"), DEC("100.00"), 1),
            ("A1", "C3", DAY("2024-02-29"), DEC("-20.50"), 2),
            ("B2", "A1", DAY("2023-12-31"), DEC("0.01"), None),
            ("C3", None, DAY("2024-02-01"), None, 5),
            ("F6", "A1", None, DEC("999999999999.99"), 0),
            (None, "G7", DAY("2024-02-29"), DEC("7.00"), -4),
            ("a1", "C3", DAY("2024-03-01"), DEC("12.30"), 3),
            ("Z9", "Z9", DAY("2024-03-01"), DEC("1.00"), 3),
        ],
    ),
    "market__code": (
        {"company": "varchar", "code": "integer", "valid_from": "date", "valid_to": "date"},
        [
            ("A1", 101, DAY("2000-01-01"), DAY("2019-12-31")),
            ("A1", 102, DAY("2020-01-01"), None),
            ("B2", 201, DAY("2010-06-30"), DAY("2024-02-29")),
            ("C3", 101, DAY("2020-01-01"), DAY("2020-12-31")),
            (None, 999, None, None),
            ("F6", None, DAY("2020-01-01"), None),
        ],
    ),
}  # fmt: skip

CHEMICALS = {
    "chemicals__stock": (
        {"company": "varchar", "substance": "varchar", "kg": "double", "year": "integer", "grams": "bigint"},
        [
            ("A1", "s1", 1.5, 2023, 1500),
            ("A1", "s1", 2.25, 2024, 2250),
            ("A1", "s2", None, 2024, None),
            ("B2", "s1", -4.0, 2024, -4000),
            ("B2", "s3", 0.5, None, 500),
            ("B2", "s3", 0.5, None, 500),
            ("F6", None, 8.0, 2024, 8000),
            (None, "s2", 16.0, 2023, 16000),
            ("H8", "s9", 0.0, 2024, 0),
            ("H8", "s9", -0.0, 2024, 1),
            ("a1", "S1", 1.0, 2020, MOST),
        ],
    ),
    "chemicals__substance": (
        {"code": "varchar", "name": "varchar", "hazard": "integer"},
        [
            ("s1", "salt", 1),
            ("s2", "solvent", 3),
            ("s2", "solvent (old)", None),
            ("s3", None, 2),
            (None, "unknown", 3),
            ("S1", "SALT", 1),
        ],
    ),
}  # fmt: skip

HEALTH = {
    "health__admission": (
        {
            "person": "bigint", "company": "varchar", "district": "varchar", "day": "date", "days": "integer",
            "cost": "decimal(9,2)", "cause": "varchar",
        },
        [
            (1, "A1", "north", DAY("2024-02-29"), 3, DEC("300.00"), "lung"),
            (1, "A1", "north", DAY("2024-03-01"), 1, DEC("0.10"), "lung"),
            (2, "B2", "south", DAY("2023-12-31"), None, DEC("1000.00"), None),
            (3, None, "south", DAY("2024-01-01"), 0, None, "skin"),
            (4, "C3", None, None, 7, DEC("-5.55"), "Lung"),
            (4, "C3", None, None, 7, DEC("-5.55"), "Lung"),
            (5, "G7", "east", DAY("2024-12-31"), 2, DEC("12.34"), "skin "),
            (None, "A1", "west", DAY("2025-01-01"), 2, DEC("9999999.99"), "skin"),
        ],
    ),
    "health__ward": (
        {"id": "bigint", "district": "varchar", "beds": "integer", "open": "boolean"},
        [
            (10, "north", 20, True),
            (11, "south", 0, False),
            (12, None, 5, True),
            (13, "north", None, None),
            (14, "West", 9, True),
        ],
    ),
    "health__closed": ({"id": "bigint", "district": "varchar", "since": "date"}, []),
}  # fmt: skip

WORKS = {
    "works__job": (
        {"id": "integer", "company": "varchar", "start": "date", "tags": "array(varchar)", "hours": "decimal(5,1)"},
        [
            (1, "A1", DAY("2024-02-28"), ["dig", "pipe"], DEC("1.5")),
            (2, "A1", DAY("2024-02-29"), [], DEC("2.0")),
            (3, "B2", DAY("2024-12-31"), ["dig", None, "dig"], None),
            (4, None, None, None, DEC("0.1")),
            (4, "G7", DAY("2024-02-29"), ["paint"], DEC("-1.0")),
        ],
    ),
}  # fmt: skip

HOUSING = {
    "housing__trip": (
        {"district": "varchar", "hour": "integer", "riders": "bigint", "km": "double"},
        [
            ("north", 8, 5, 1.5),
            ("north", 8, 7, 2.5),
            ("north", 9, None, 1.0),
            ("south", 8, 1, None),
            (None, 8, 2, 4.0),
            ("south", None, 3, 0.5),
        ],
    ),
    "housing__owner": (
        {"id": "bigint", "since": "date"},
        [(1, DAY("2020-02-29")), (2, None), (4, DAY("2021-12-31")), (None, None)],
    ),
}  # fmt: skip

TRAITS = {
    # Declared, and not true: planning may believe a key, answers must not.
    "water__meter": {"key": ("id",)},
    "market__company": {"key": ("id",)},
    "chemicals__substance": {"key": ("code",)},
    "health__ward": {"key": ("id",)},
    "housing__trip": {
        "mode": "aggregate", "min_group": 5, "entity": "riders", "dimensions": ("district", "hour"),
        "measures": ("riders", "km"),
    },
    "housing__owner": {"mode": "verify", "verify_keys": ("id",)},
}  # fmt: skip

CITY: World = world(TRAITS, **WATER, **MARKET, **CHEMICALS, **HEALTH, **WORKS, **HOUSING)  # type: ignore[arg-type]
