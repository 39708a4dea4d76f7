"""The one type lattice, Trino's, with its Arrow, DuckDB and protocol forms.

A `TrinoType` is a frozen tree: `TrinoType("decimal", (14, 3))`, `TrinoType("array", (BIGINT,))`.
`parse` reads Trino's own spelling, `str()` writes it as Trino displays it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
from sqlglot import exp

__all__ = [
    "BIGINT",
    "BOOLEAN",
    "DATE",
    "DOUBLE",
    "UNKNOWN",
    "VARCHAR",
    "TrinoType",
    "arrow_field",
    "field_type",
    "from_arrow",
    "parse",
]

UNBOUNDED = 2147483647
SIMPLE = {
    "boolean", "tinyint", "smallint", "integer", "bigint", "real", "double", "date", "varbinary",
    "json", "uuid", "ipaddress", "unknown",
    "interval day to second", "interval year to month",
}  # fmt: skip
DATETIMES = {"time", "timestamp", "time with time zone", "timestamp with time zone"}
_INTEGERS = ("tinyint", "smallint", "integer", "bigint")


@dataclass(frozen=True)
class TrinoType:
    """name: Trino's raw type. args: lengths as int, element types, or (field name, type) pairs of a row."""

    name: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.name == "varchar" and self.args and self.args[0] == UNBOUNDED:
            return "varchar"
        if self.name.startswith("interval"):
            return self.name.upper()
        if not self.args:
            return self.name
        if self.name == "row":
            inner = ", ".join(f"{n} {t}" if n else str(t) for n, t in self.args)
            return f"row({inner})"
        if self.name.endswith(" with time zone"):
            base = self.name.removesuffix(" with time zone")
            return f"{base}({self.args[0]}) with time zone"
        return f"{self.name}({', '.join(str(a) for a in self.args)})"

    @property
    def zone(self) -> str:
        """The zone in which all values of a `timestamp with time zone` are shown: UTC unless it is named."""
        return self.args[1] if len(self.args) > 1 else "UTC"

    @property
    def is_text(self) -> bool:
        return self.name in ("varchar", "char")

    @property
    def is_integer(self) -> bool:
        return self.name in _INTEGERS

    @property
    def is_exact(self) -> bool:
        """Of numbers that are computed without rounding."""
        return self.is_integer or self.name == "decimal"

    @property
    def is_numeric(self) -> bool:
        return self.is_exact or self.name in ("double", "real")

    def signature(self) -> dict[str, Any]:
        """The protocol's typeSignature object."""
        if self.name == "varchar":
            return {"rawType": "varchar", "arguments": [_long(self.args[0] if self.args else UNBOUNDED)]}
        if self.name in ("array", "map"):
            return {
                "rawType": self.name,
                "arguments": [{"kind": "TYPE", "value": t.signature()} for t in self.args],
            }
        if self.name == "row":
            fields = []
            for field_name, t in self.args:
                value: dict[str, Any] = {"typeSignature": t.signature()}
                if field_name:
                    value = {"fieldName": {"name": field_name}, **value}
                fields.append({"kind": "NAMED_TYPE", "value": value})
            return {"rawType": "row", "arguments": fields}
        numbers = self.args[:1] if self.name == "timestamp with time zone" else self.args
        return {"rawType": self.name, "arguments": [_long(a) for a in numbers]}

    def arrow(self) -> pa.DataType:
        """The Arrow type that carries this type across the trust line.

        An interval travels as its count of milliseconds or months. Raises ValueError for a type that atoll does
        not move (time with time zone).
        """
        match self.name:
            case "boolean":
                return pa.bool_()
            case "interval day to second":
                return pa.int64()
            case "interval year to month":
                return pa.int32()
            case "tinyint":
                return pa.int8()
            case "smallint":
                return pa.int16()
            case "integer":
                return pa.int32()
            case "bigint":
                return pa.int64()
            case "real":
                return pa.float32()
            case "double":
                return pa.float64()
            case "decimal":
                return pa.decimal128(self.args[0], self.args[1])
            case "varchar" | "char" | "json" | "uuid" | "ipaddress":
                return pa.string()
            case "varbinary":
                return pa.binary()
            case "date":
                return pa.date32()
            case "time":
                return pa.time64("us")
            case "timestamp":
                return pa.timestamp("ms" if self.args[0] <= 3 else "us")
            case "timestamp with time zone":
                return pa.timestamp("ms" if self.args[0] <= 3 else "us", tz=self.zone)
            case "array":
                return pa.list_(_inner(self.args[0]))
            case "map":
                return pa.map_(_inner(self.args[0]), _inner(self.args[1]))
            case "row":
                return pa.struct([pa.field(n or f"field{i}", _inner(t)) for i, (n, t) in enumerate(self.args)])
            case "unknown":
                return pa.null()
        raise ValueError(f"type {self} has no Arrow form in atoll")

    def sqlglot(self) -> exp.DataType:
        """The same type as a sqlglot node of the Trino dialect."""
        return exp.DataType.build(str(self), dialect="trino")

    def duckdb(self) -> str:
        """The type's name in DuckDB's dialect."""
        match self.name:
            case "varchar" | "char" | "json" | "uuid" | "ipaddress":
                return "VARCHAR"
            case "varbinary":
                return "BLOB"
            case "interval day to second" | "color":
                return "BIGINT"
            case "interval year to month":
                return "INTEGER"
            case "real":
                return "FLOAT"
            case "timestamp":
                return "TIMESTAMP"
            case "timestamp with time zone":
                return "TIMESTAMPTZ"
            case "time":
                return "TIME"
            case "unknown":
                return "INTEGER"
            case "array":
                return f"{self.args[0].duckdb()}[]"
            case "map":
                return f"MAP({self.args[0].duckdb()}, {self.args[1].duckdb()})"
            case "row":
                inner = ", ".join(f'"{n or f"field{i}"}" {t.duckdb()}' for i, (n, t) in enumerate(self.args))
                return f"STRUCT({inner})"
        return str(self).upper()


def _inner(kind: TrinoType) -> pa.DataType:
    """The Arrow type inside another: of NULLs alone it is that of DuckDB's integer."""
    return pa.int32() if kind.name == "unknown" else kind.arrow()


BOOLEAN = TrinoType("boolean")
INTEGER = TrinoType("integer")
BIGINT = TrinoType("bigint")
DOUBLE = TrinoType("double")
DATE = TrinoType("date")
VARCHAR = TrinoType("varchar", (UNBOUNDED,))
UNKNOWN = TrinoType("unknown")
TIMESTAMP = TrinoType("timestamp", (3,))


def _long(value: int) -> dict[str, Any]:
    return {"kind": "LONG", "value": value}


_TYPE = re.compile(
    r"^(?P<base>time|timestamp)(?:\((?P<p>\d+)\))?(?P<tz> with time zone)?$|"
    r"^(?P<name>[a-z]+)(?:\((?P<args>.*)\))?$",
)


def parse(text: str) -> TrinoType:
    """Trino's spelling of a type -> TrinoType. Raises ValueError naming the text it can't read."""
    clean = re.sub(r"\s+", " ", text.strip().lower())
    if clean in SIMPLE:
        return TrinoType(clean)
    clean = {"int": "integer", "string": "varchar", "double precision": "double"}.get(clean, clean)
    if clean in SIMPLE:
        return TrinoType(clean)
    found = _TYPE.match(clean)
    if not found:
        raise ValueError(f"unknown type {text!r}")
    if found["base"]:
        precision = int(found["p"]) if found["p"] else 3
        if precision > 6:
            raise ValueError(f"type {text!r}: atoll carries at most 6 fraction digits of a second")
        return TrinoType(found["base"] + (found["tz"] or ""), (precision,))
    name, args = found["name"], found["args"]
    if name == "varchar":
        return TrinoType("varchar", (int(args) if args else UNBOUNDED,))
    if name == "char":
        return TrinoType("char", (int(args) if args else 1,))
    if name == "decimal":
        precision, scale = ([int(a) for a in args.split(",")] + [0])[:2] if args else (38, 0)
        if not (1 <= precision <= 38 and 0 <= scale <= precision):
            raise ValueError(f"type {text!r}: decimal needs 1 <= precision <= 38 and 0 <= scale <= precision")
        return TrinoType("decimal", (precision, scale))
    if name in ("array", "map") and args:
        parts = tuple(parse(a) for a in _split(args))
        if len(parts) == (1 if name == "array" else 2):
            return TrinoType(name, parts)
    if name == "row" and args:
        return TrinoType("row", tuple(_field(a) for a in _split(args)))
    raise ValueError(f"unknown type {text!r}")


def _split(text: str) -> list[str]:
    """Split at the commas that no parenthesis encloses."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _field(text: str) -> tuple[str, TrinoType]:
    text = text.strip()
    name, _, rest = text.partition(" ")
    try:
        return "", parse(text)
    except ValueError:
        return name.strip('"'), parse(rest)


TRINO_KEY = b"trino"
"""Metadata key of an Arrow field that holds its exact Trino type, where Arrow alone loses it."""


@lru_cache(1024)
def arrow_field(name: str, kind: TrinoType) -> pa.Field:
    """The Arrow field that carries a column, with its exact Trino type noted where Arrow alone loses it."""
    dtype = kind.arrow()
    lost = from_arrow(dtype) != kind
    return pa.field(name, dtype, metadata={TRINO_KEY: str(kind).encode()} if lost else None)


def field_type(field: pa.Field) -> TrinoType:
    """The Trino type of an Arrow field: the one noted in its metadata, else that of its Arrow type."""
    noted = (field.metadata or {}).get(TRINO_KEY)
    if not noted:
        return from_arrow(field.type)
    found = parse(noted.decode())
    if found.name == "timestamp with time zone" and field.type.tz not in (None, "UTC"):
        return TrinoType(found.name, (*found.args, field.type.tz))
    return found


def from_arrow(dtype: pa.DataType) -> TrinoType:
    """The Trino type of an Arrow column, as results are shown. Raises ValueError if there is none."""
    t = pa.types
    found = _OF_ARROW.get(dtype.id)
    if found is not None:
        return found
    if t.is_decimal(dtype):
        return TrinoType("decimal", (dtype.precision, dtype.scale))
    if t.is_timestamp(dtype):
        precision = {"s": 0, "ms": 3}.get(dtype.unit, 6)
        if dtype.tz in (None, "UTC"):
            return TrinoType("timestamp with time zone" if dtype.tz else "timestamp", (precision,))
        return TrinoType("timestamp with time zone", (precision, dtype.tz))
    if t.is_time(dtype):
        return TrinoType("time", (6,))
    if t.is_list(dtype) or t.is_large_list(dtype):
        return TrinoType("array", (from_arrow(dtype.value_type),))
    if t.is_map(dtype):
        return TrinoType("map", (from_arrow(dtype.key_type), from_arrow(dtype.item_type)))
    if t.is_struct(dtype):
        return TrinoType("row", tuple((f.name, from_arrow(f.type)) for f in dtype))
    if t.is_dictionary(dtype):
        return from_arrow(dtype.value_type)
    # DuckDB sums integers as hugeint, which arrives as decimal128(38,0); unsigned types widen.
    if t.is_unsigned_integer(dtype):
        return BIGINT
    raise ValueError(f"Arrow type {dtype} has no Trino form in atoll")


_OF_ARROW = {
    dtype.id: found
    for dtype, found in (
        (pa.bool_(), BOOLEAN),
        (pa.int8(), TrinoType("tinyint")),
        (pa.int16(), TrinoType("smallint")),
        (pa.int32(), INTEGER),
        (pa.int64(), BIGINT),
        (pa.float32(), TrinoType("real")),
        (pa.float64(), DOUBLE),
        (pa.date32(), DATE),
        (pa.null(), UNKNOWN),
        (pa.string(), VARCHAR),
        (pa.large_string(), VARCHAR),
        (pa.binary(), TrinoType("varbinary")),
        (pa.large_binary(), TrinoType("varbinary")),
    )
}
"""Types without arguments, by the number that Arrow gives them."""
