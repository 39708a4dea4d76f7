"""Arrow columns -> JSON exactly as Trino writes it, a whole column at a time.

    encode(batch, columns)   a batch -> b'[[1,"x"],[2,"y"]]'
    values(array, type)      one column -> Python values that orjson writes as Trino does; a number that Python
                             would lay out otherwise is an `orjson.Fragment`

Three kinds of types: those whose JSON is a text that an Arrow kernel makes (`_TEXTS`), numbers and
booleans, whose JSON is Arrow's own text (`_BARE`), and the others, value by value (`_VALUES`). `encode`
joins the columns of a batch into rows by one kernel, which holds no interpreter lock: pages of several
clients are made side by side. A few rows are made of their values instead: to call kernels takes longer.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from catalog.duck.scalars import days_text, months_text
from catalog.types import TrinoType
from gateway.execution import ResultColumn
from gateway.server import floats

__all__ = ["encode", "encode_rows", "values"]

FEW = 100
"""Rows of a batch that are made of their values."""


def encode(batch: pa.RecordBatch, columns: Sequence[ResultColumn]) -> bytes:
    """A batch as a JSON list of row lists. Raises ArrowException, TypeError or ValueError for a misfit."""
    return b"".join((b"[", encode_rows(batch, columns), b"]"))


def encode_rows(batch: pa.RecordBatch, columns: Sequence[ResultColumn]) -> memoryview:
    """The same without the brackets around it, and without a copy."""
    if batch.num_rows == 0:
        return memoryview(b"")
    if batch.num_rows <= FEW:
        found = [values(array, column.type) for array, column in zip(batch.columns, columns, strict=True)]
        return memoryview(orjson.dumps([*zip(*found, strict=True)]))[1:-1]
    fields = [_field(_plain(array), column.type) for array, column in zip(batch.columns, columns, strict=True)]
    parts: list[Any] = []
    literal = "["
    # Neighbours of a kind are joined by what stands between them: that costs half of a text of its own for each.
    for is_bare, alike in groupby(fields, itemgetter(1)):
        quote = "" if is_bare else '"'
        parts += [literal + quote, _joined([text for text, _ in alike], f"{quote},{quote}")]
        literal = quote + ","
    parts.append(literal.removesuffix(",") + "],")
    return _contents(_joined(parts, ""))[:-1]


def _joined(parts: Sequence[Any], between: str) -> pa.Array:
    if len(parts) == 1:
        return parts[0]
    return pc.binary_join_element_wise(*parts, between, null_handling="replace", null_replacement="null")


def values(array: pa.Array, kind: TrinoType) -> list[Any]:
    """One column as values whose JSON is what Trino sends; None for NULL."""
    array = _plain(array)
    if pa.types.is_null(array.type):
        return [None] * len(array)
    made = _VALUES.get(kind.name)
    if made is not None:
        return made(array, kind)
    return list(_TEXTS.get(kind.name, _varchar)(array, kind).to_pylist())


def _plain(array: pa.Array) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _contents(texts: pa.Array) -> memoryview:
    """The bytes of a text column one after the other, without a copy."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)
    return memoryview(data)[ends[texts.offset] : ends[texts.offset + len(texts)]]


# -- one column as JSON texts --------------------------------------------------------------------------


def _field(array: pa.Array, kind: TrinoType) -> tuple[pa.Array, bool]:
    """JSON texts of a column, and whether they stand bare; the others still want their quotes."""
    if pa.types.is_null(array.type):
        return array.cast(pa.string()), True
    if kind.name in _BARE:
        return _BARE[kind.name](array), True
    if kind.name in _VALUES:
        made = _VALUES[kind.name](array, kind)
        return pa.array([None if v is None else orjson.dumps(v).decode() for v in made], pa.string()), True
    make = _TEXTS.get(kind.name, _varchar)
    text = make(array, kind)
    if make not in _SAFE:
        text = _escaped(text)
    if text.null_count == 0:
        return text, False
    return pc.binary_join_element_wise('"', text, '"', ""), True


def _escaped(texts: pa.Array) -> pa.Array:
    """The texts with what JSON escapes: quote, backslash, control characters."""
    found = np.frombuffer(_contents(texts), np.uint8)
    has_control = bool(len(found)) and bool(found.min() < 0x20)
    if not (has_control or (found == 0x22).any() or (found == 0x5C).any()):
        return texts
    for plain, written in _ESCAPES if has_control else _ESCAPES[:2]:
        texts = pc.replace_substring(texts, plain, written)
    return texts


_ESCAPES = [("\\", "\\\\"), ('"', '\\"'), *((chr(n), orjson.dumps(chr(n)).decode()[1:-1]) for n in range(0x20))]


def _bare_integer(array: pa.Array) -> pa.Array:
    return _whole(array).cast(pa.string())


def _bare_float(array: pa.Array, width: pa.DataType) -> pa.Array:
    array = array.cast(width)
    text = floats.texts(array)
    if pc.all(pc.is_finite(array)).as_py() is not False:
        return text
    # JSON has no NaN and no infinities; Trino writes them as texts.
    return pc.if_else(pc.is_finite(array), text, pc.binary_join_element_wise('"', text, '"', ""))


_BARE: dict[str, Callable[[pa.Array], pa.Array]] = {
    "boolean": lambda array: array.cast(pa.bool_()).cast(pa.string()),
    **dict.fromkeys(("tinyint", "smallint", "integer", "bigint"), _bare_integer),
    "real": lambda array: _bare_float(array, pa.float32()),
    "double": lambda array: _bare_float(array, pa.float64()),
}


# -- plain types ---------------------------------------------------------------------------------------


def _list_of(array: pa.Array) -> list[Any]:
    if array.null_count == 0 and pa.types.is_primitive(array.type) and not pa.types.is_boolean(array.type):
        return list(array.to_numpy(zero_copy_only=False).tolist())
    return list(array.to_pylist())


def _boolean(array: pa.Array, kind: TrinoType) -> list[Any]:
    return _list_of(array.cast(pa.bool_()))


def _whole(array: pa.Array) -> pa.Array:
    return array if pa.types.is_integer(array.type) else array.cast(pa.int64())


def _integer(array: pa.Array, kind: TrinoType) -> list[Any]:
    return _list_of(_whole(array))


def _double(array: pa.Array, kind: TrinoType) -> list[Any]:
    array = array if pa.types.is_float64(array.type) else array.cast(pa.float64())
    if floats.is_laid_out_alike(array):
        return _list_of(array)
    return [_number(text) for text in floats.texts(array).to_pylist()]


def _real(array: pa.Array, kind: TrinoType) -> list[Any]:
    # By way of text: the shortest one that is this float32, not the exact double next to it.
    return [_number(text) for text in floats.texts(array.cast(pa.float32())).to_pylist()]


def _number(text: str | None) -> Any:
    """A number that stays as it is written; NaN and the infinities are texts."""
    return text if text is None or text[-1] in "Ny" else orjson.Fragment(text)


def _text_of(array: pa.Array) -> pa.Array:
    return array if pa.types.is_string(array.type) else array.cast(pa.string())


def _varchar(array: pa.Array, kind: TrinoType) -> pa.Array:
    return _text_of(array)


def _char(array: pa.Array, kind: TrinoType) -> pa.Array:
    return pc.utf8_rpad(_text_of(array), width=kind.args[0] if kind.args else 1)


def _varbinary(array: pa.Array, kind: TrinoType) -> list[Any]:
    return [None if v is None else base64.b64encode(v).decode() for v in array.to_pylist()]


def _decimal(array: pa.Array, kind: TrinoType) -> pa.Array:
    scale = kind.args[1] if len(kind.args) == 2 else 0
    if not pa.types.is_decimal(array.type) or array.type.scale != scale:
        array = array.cast(pa.decimal128(38, scale))
    found = array.cast(pa.string())
    if scale <= 6 or not pc.any(pc.match_substring(found, "E")).as_py():
        return found
    # Arrow writes 0.00000001 as 1E-8.
    return pa.array([None if n is None else format(n, "f") for n in array.to_pylist()], pa.string())


# -- dates and times -----------------------------------------------------------------------------------

_UNIT_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _date(array: pa.Array, kind: TrinoType) -> pa.Array:
    return _signed_years(array.cast(pa.date32()).cast(pa.string()), 10)


def _signed_years(text: pa.Array, width: int) -> pa.Array:
    """Java writes a + before years above 9999."""
    if int(pc.max(pc.binary_length(text)).as_py() or 0) <= width:
        return text
    far = pc.and_(pc.greater(pc.binary_length(text), width), pc.invert(pc.starts_with(text, "-")))
    return pc.if_else(far, pc.binary_join_element_wise("+", text, ""), text)


def _digits(kind: TrinoType) -> int:
    return int(kind.args[0]) if kind.args else 3


def _with_digits(text: pa.Array, unit: str, digits: int) -> pa.Array:
    """Cut or lengthen the fraction of a second to exactly so many digits."""
    have = _UNIT_DIGITS[unit]
    if digits < have:
        return pc.utf8_slice_codeunits(text, 0, -(have - digits + (digits == 0)))
    if digits > have:
        return pc.binary_join_element_wise(text, ("" if have else ".") + "0" * (digits - have), "")
    return text


def _time(array: pa.Array, kind: TrinoType) -> pa.Array:
    if not pa.types.is_time(array.type):
        return _text_of(array)
    return _with_digits(array.cast(pa.string()), array.type.unit, _digits(kind))


def _timestamp_text(array: pa.Array, digits: int) -> pa.Array:
    text = _with_digits(array.cast(pa.string()), array.type.unit, digits)
    return _signed_years(text, 19 + digits + (digits > 0))


def _timestamp(array: pa.Array, kind: TrinoType) -> pa.Array:
    if not pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us"))
    if array.type.tz:
        array = array.cast(pa.timestamp(array.type.unit))
    return _timestamp_text(array, _digits(kind))


def _timestamp_zone(array: pa.Array, kind: TrinoType) -> pa.Array:
    if not pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", "UTC"))
    zone = array.type.tz or "UTC"
    text = _timestamp_text(_local(array) if array.type.tz else array, _digits(kind))
    return pc.binary_join_element_wise(text, zone, " ")


def _local(array: pa.Array) -> pa.Array:
    """What the clocks of the zone show. Arrow knows no summer time after 2037: there Python tells it, up to its last
    year."""
    zone, local = array.type.tz, pc.local_timestamp(array)
    if zone[0] in "+-":
        return local
    years = pc.year(array)
    late = pc.fill_null(pc.and_(pc.greater(years, 2037), pc.less(years, datetime.MAXYEAR)), False)
    if not pc.any(late).as_py():
        return local
    shown = [v.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for v in array.filter(late).to_pylist()]
    return pc.replace_with_mask(local, late, pa.array(shown, local.type))


def _interval(array: pa.Array, kind: TrinoType) -> list[Any]:
    write = days_text if kind.name == "interval day to second" else months_text
    return [None if v is None else write(v) for v in array.to_pylist()]


# -- nested types --------------------------------------------------------------------------------------


def _array(array: pa.Array, kind: TrinoType) -> list[Any]:
    if not pa.types.is_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    start, end, bounds = _bounds(array)
    inner = values(array.values.slice(start, end - start), kind.args[0])
    return _cut(array, bounds, inner, list)


def _map(array: pa.Array, kind: TrinoType) -> list[Any]:
    start, end, bounds = _bounds(array)
    keys = _keys(array.keys.slice(start, end - start), kind.args[0])
    items = values(array.items.slice(start, end - start), kind.args[1])
    return _cut(array, bounds, list(zip(keys, items, strict=True)), dict)


def _bounds(array: pa.Array) -> tuple[int, int, list[int]]:
    """Start and end of the elements in the child, and each value's bounds counted from that start."""
    offsets = array.offsets.to_pylist()
    start = offsets[0] if offsets else 0
    end = offsets[-1] if offsets else 0
    return start, end, [offset - start for offset in offsets]


def _cut(array: pa.Array, bounds: list[int], inner: list[Any], make: Callable[[list[Any]], Any]) -> list[Any]:
    valid = array.is_valid().to_pylist()
    return [
        make(inner[low:high]) if there else None
        for low, high, there in zip(bounds[:-1], bounds[1:], valid, strict=True)
    ]


def _keys(array: pa.Array, kind: TrinoType) -> list[str]:
    """A map's keys as Java writes the values."""
    if kind.name in ("real", "double"):
        return list(floats.texts(array.cast(pa.float32() if kind.name == "real" else pa.float64())).to_pylist())
    found = values(array, kind)
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in found]


def _row(array: pa.Array, kind: TrinoType) -> list[Any]:
    fields = [values(child, t) for child, (_, t) in zip(array.flatten(), kind.args, strict=True)]
    rows = zip(*fields, strict=True)
    if array.null_count == 0:
        return list(rows)
    return [row if there else None for row, there in zip(rows, array.is_valid().to_pylist(), strict=True)]


_TEXTS: dict[str, Callable[[pa.Array, TrinoType], pa.Array]] = {
    "decimal": _decimal,
    "char": _char,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamp with time zone": _timestamp_zone,
}
"""Types whose JSON is a text; any type that is in no table is one too, in Arrow's own words."""

_SAFE = frozenset({_decimal, _date, _timestamp, _timestamp_zone})
"""Makers whose texts never hold anything that JSON escapes."""

_VALUES: dict[str, Callable[[pa.Array, TrinoType], list[Any]]] = {
    "boolean": _boolean,
    "tinyint": _integer,
    "smallint": _integer,
    "integer": _integer,
    "bigint": _integer,
    "real": _real,
    "double": _double,
    "varbinary": _varbinary,
    "interval day to second": _interval,
    "interval year to month": _interval,
    "array": _array,
    "map": _map,
    "row": _row,
}
