"""Arrow batches -> the rows that clients read: JSON values exactly as Trino writes them, page by page.

Column by column: Arrow kernels turn a whole column into text where Trino wants text (decimals, dates,
timestamps), `zip` makes rows of the columns, orjson writes them. One function a kind of type.

    client_columns(columns, capabilities)   columns as this client understands them
    column_list(columns)                    the protocol's `columns`
    values(array, type)                     one column -> Python values that orjson writes
    encode(batch, columns)                  a batch -> b"[[1,"x"],[2,"y"]]"
    Pages(execution, columns)               page after page of a running statement
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from catalog.types import DATETIMES, TrinoType
from gateway.execution import Execution, ResultColumn

__all__ = ["PAGE_BYTES", "Pages", "client_columns", "column_list", "encode", "values"]

PAGE_BYTES = 2_000_000
"""About how many bytes of Arrow data become one page; the JSON is one to two times as long."""
LINGER_SECONDS = 0.005
"""How long a page that already has rows waits for more."""

PARAMETRIC_DATETIME = "PARAMETRIC_DATETIME"


def client_columns(columns: Sequence[ResultColumn], capabilities: Collection[str]) -> tuple[ResultColumn, ...]:
    """The columns as the client understands them.

    A client that does not say PARAMETRIC_DATETIME gets every date-time with three digits and no
    arguments, also inside arrays, maps and rows.
    """
    if PARAMETRIC_DATETIME in capabilities:
        return tuple(columns)
    return tuple(ResultColumn(c.name, _plain_datetime(c.type), c.mask) for c in columns)


def _plain_datetime(kind: TrinoType) -> TrinoType:
    if kind.name in DATETIMES:
        return TrinoType(kind.name)
    if kind.name in ("array", "map"):
        return TrinoType(kind.name, tuple(_plain_datetime(t) for t in kind.args))
    if kind.name == "row":
        return TrinoType("row", tuple((name, _plain_datetime(t)) for name, t in kind.args))
    return kind


def column_list(columns: Sequence[ResultColumn]) -> list[dict[str, Any]]:
    """The protocol's `columns`: name, display text of the type, typeSignature."""
    return [{"name": c.name, "type": str(c.type), "typeSignature": c.type.signature()} for c in columns]


def encode(batch: pa.RecordBatch, columns: Sequence[ResultColumn]) -> bytes:
    """A batch as a JSON list of row lists."""
    encoded = [values(array, c.type) for array, c in zip(batch.columns, columns, strict=True)]
    return orjson.dumps(list(zip(*encoded, strict=True)))


def values(array: pa.Array, kind: TrinoType) -> list[Any]:
    """One column as values whose JSON is what Trino sends; None for NULL."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return [None] * len(array)
    return _ENCODERS.get(kind.name, _as_text)(array, kind)


# -- plain types ---------------------------------------------------------------------------------------


def _list_of(array: pa.Array) -> list[Any]:
    if array.null_count == 0 and pa.types.is_primitive(array.type) and not pa.types.is_boolean(array.type):
        return list(array.to_numpy(zero_copy_only=False).tolist())
    return list(array.to_pylist())


def _boolean(array: pa.Array, kind: TrinoType) -> list[Any]:
    return _list_of(array.cast(pa.bool_()))


def _integer(array: pa.Array, kind: TrinoType) -> list[Any]:
    return _list_of(array if pa.types.is_integer(array.type) else array.cast(pa.int64()))


def _double(array: pa.Array, kind: TrinoType) -> list[Any]:
    array = array if pa.types.is_float64(array.type) else array.cast(pa.float64())
    finite = pc.all(pc.is_finite(array)).as_py() is not False
    found = _list_of(array)
    return found if finite else [_special(v) for v in found]


def _special(value: float | None) -> Any:
    """JSON has no NaN and no infinities; Trino writes them as texts."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _real(array: pa.Array, kind: TrinoType) -> list[Any]:
    # By way of text: the shortest one that is this float32, not the exact double next to it.
    return _double(array.cast(pa.float32()).cast(pa.string()).cast(pa.float64()), kind)


def _text_of(array: pa.Array) -> pa.Array:
    return array if pa.types.is_string(array.type) else array.cast(pa.string())


def _as_text(array: pa.Array, kind: TrinoType) -> list[Any]:
    return list(_text_of(array).to_pylist())


def _char(array: pa.Array, kind: TrinoType) -> list[Any]:
    return list(pc.utf8_rpad(_text_of(array), width=kind.args[0] if kind.args else 1).to_pylist())


def _json(array: pa.Array, kind: TrinoType) -> list[Any]:
    return [None if text is None else _canonical(text) for text in _text_of(array).to_pylist()]


def _canonical(text: str) -> str:
    """JSON without blanks, object keys sorted; a text that is no JSON stays as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _varbinary(array: pa.Array, kind: TrinoType) -> list[Any]:
    return [None if v is None else base64.b64encode(v).decode() for v in array.to_pylist()]


def _decimal(array: pa.Array, kind: TrinoType) -> list[Any]:
    scale = kind.args[1] if len(kind.args) == 2 else 0
    if not pa.types.is_decimal(array.type) or array.type.scale != scale:
        array = array.cast(pa.decimal128(38, scale))
    found = array.cast(pa.string()).to_pylist()
    if scale <= 6:
        return list(found)
    # Arrow writes 0.00000001 as 1E-8.
    numbers = array.to_pylist()
    return [
        format(number, "f") if text is not None and "E" in text else text
        for text, number in zip(found, numbers, strict=True)
    ]


# -- dates and times -----------------------------------------------------------------------------------

_UNIT_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _date(array: pa.Array, kind: TrinoType) -> list[Any]:
    return list(_signed_years(array.cast(pa.date32()).cast(pa.string()), 10).to_pylist())


def _signed_years(text: pa.Array, width: int) -> pa.Array:
    """Java writes a + before years above 9999."""
    far = pc.and_(pc.greater(pc.utf8_length(text), width), pc.invert(pc.starts_with(text, "-")))
    if not pc.any(far).as_py():
        return text
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


def _time(array: pa.Array, kind: TrinoType) -> list[Any]:
    if not pa.types.is_time(array.type):
        return _as_text(array, kind)
    return list(_with_digits(array.cast(pa.string()), array.type.unit, _digits(kind)).to_pylist())


def _timestamp_text(array: pa.Array, digits: int) -> pa.Array:
    text = _with_digits(array.cast(pa.string()), array.type.unit, digits)
    return _signed_years(text, 19 + digits + (digits > 0))


def _timestamp(array: pa.Array, kind: TrinoType) -> list[Any]:
    if not pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us"))
    if array.type.tz:
        array = array.cast(pa.timestamp(array.type.unit))
    return list(_timestamp_text(array, _digits(kind)).to_pylist())


def _timestamp_zone(array: pa.Array, kind: TrinoType) -> list[Any]:
    if not pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", "UTC"))
    zone = array.type.tz or "UTC"
    local = pc.local_timestamp(array) if array.type.tz else array
    text = _timestamp_text(local, _digits(kind))
    return list(pc.binary_join_element_wise(text, zone, " ").to_pylist())


# -- nested types --------------------------------------------------------------------------------------


def _array(array: pa.Array, kind: TrinoType) -> list[Any]:
    if not pa.types.is_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    start, end, bounds = _bounds(array)
    inner = values(array.values.slice(start, end - start), kind.args[0])
    return _cut(array, bounds, inner, list)


def _map(array: pa.Array, kind: TrinoType) -> list[Any]:
    start, end, bounds = _bounds(array)
    keys = values(array.keys.slice(start, end - start), kind.args[0])
    items = values(array.items.slice(start, end - start), kind.args[1])
    return _cut(array, bounds, list(zip(map(_key, keys), items, strict=True)), dict)


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


def _key(value: Any) -> str:
    """A map's key as Java writes the value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _java_double(value) if isinstance(value, float) else str(value)


def _java_double(value: float) -> str:
    size = abs(value)
    if size == 0 or 1e-3 <= size < 1e7:
        return repr(value)
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        digits, _, exponent = f"{value:.{len(repr(size).replace('.', '').strip('0')) - 1}e}".partition("e")
    return f"{digits if '.' in digits else digits + '.0'}E{int(exponent)}"


def _row(array: pa.Array, kind: TrinoType) -> list[Any]:
    fields = [values(child, t) for child, (_, t) in zip(array.flatten(), kind.args, strict=True)]
    rows = zip(*fields, strict=True)
    if array.null_count == 0:
        return list(rows)
    return [row if there else None for row, there in zip(rows, array.is_valid().to_pylist(), strict=True)]


_ENCODERS: dict[str, Callable[[pa.Array, TrinoType], list[Any]]] = {
    "boolean": _boolean,
    "tinyint": _integer,
    "smallint": _integer,
    "integer": _integer,
    "bigint": _integer,
    "real": _real,
    "double": _double,
    "decimal": _decimal,
    "char": _char,
    "json": _json,
    "varbinary": _varbinary,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamp with time zone": _timestamp_zone,
    "array": _array,
    "map": _map,
    "row": _row,
}


# -- pages ---------------------------------------------------------------------------------------------


class Pages:
    """Takes the batches of one running statement and cuts them into pages. One thread at a time."""

    def __init__(self, execution: Execution, columns: Sequence[ResultColumn], page_bytes: int = PAGE_BYTES) -> None:
        """columns: as the client understands them (`client_columns`)."""
        self.execution = execution
        self.columns = columns
        self.page_bytes = page_bytes
        self.rows = 0
        self._rest: pa.RecordBatch | None = None

    @property
    def finished(self) -> bool:
        """Whether every row has been handed out and the statement ended well."""
        return self._rest is None and self.execution.finished

    def next(self, wait: float) -> bytes | None:
        """A JSON list of rows; None if there are none within `wait` seconds or the answer has ended.

        Raises the statement's error, also when rows are left that nobody may see any more.
        """
        parts: list[bytes] = []
        room = self.page_bytes
        while room > 0:
            batch = self._take(LINGER_SECONDS if parts else wait)
            if batch is None:
                break
            rows = _rows_within(batch, room)
            if rows < batch.num_rows:
                self._rest = batch.slice(rows)
                batch = batch.slice(0, rows)
            room -= max(1, _size(batch))
            self.rows += batch.num_rows
            parts.append(encode(batch, self.columns)[1:-1])
        return b"[" + b",".join(parts) + b"]" if parts else None

    def _take(self, wait: float) -> pa.RecordBatch | None:
        if self.execution.error is not None:
            raise self.execution.error
        batch, self._rest = self._rest, None
        while batch is None:
            batch = self.execution.next_batch(wait)
            if batch is None:
                return None
            if batch.num_rows == 0:
                batch = None
        return batch


ROW_BYTES = 16
"""What a row costs at least as JSON: narrow rows are longer as text than as Arrow."""


def _size(batch: pa.RecordBatch) -> int:
    return max(int(batch.nbytes), int(batch.num_rows) * ROW_BYTES)


def _rows_within(batch: pa.RecordBatch, room: int) -> int:
    """How many of the batch's rows fill the room; at least one."""
    rows = int(batch.num_rows)
    return max(1, min(rows, rows * room // max(1, _size(batch))))
