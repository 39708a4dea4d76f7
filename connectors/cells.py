"""Strict delivery: what a driver returned -> Arrow columns of exactly the declared types.

A value that does not fit its column's declared type is an error that names the column, never a silent
NULL, a rounded number or a cut text. `from_python` takes a driver's Python cells, `from_arrow` an Arrow
array, `from_text` the text of a file; the tables `_PYTHON` and `_ARROW` say what each type accepts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from catalog.duck.json_texts import canonical
from catalog.types import UNBOUNDED, TrinoType
from connectors.base import SourceError

__all__ = [
    "Column",
    "Unfit",
    "cut",
    "fit",
    "fitting",
    "from_arrow",
    "from_python",
    "from_text",
    "naming",
    "to_batch",
    "to_batch_from_arrow",
]

_log = structlog.get_logger("atoll.agent")
Column = tuple[str, TrinoType]
"""A result column: its name in the answer and its declared type."""

FEW = 30
"""Cells that are looked at one by one: to call Arrow takes longer than they do."""
_EXACT = 2**53
_INTEGER_TEXT = r"^[+-]?[0-9]+$"
_DATE_TEXT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIMESTAMP_TEXT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?$"
_DECIMAL_TEXT = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?\Z|[+-]?\.[0-9]+\Z")
_BEFORE_CHRIST = -719162  # days of 0001-01-01
_AFTER_9999 = 2932896  # days of 9999-12-31


class Unfit(Exception):
    """A cell or column that does not fit; its text says why, without the value."""


@contextmanager
def naming(name: str, type_: TrinoType) -> Iterator[None]:
    """Raise what does not fit as a SourceError that names the column."""
    try:
        yield
    except (Unfit, pa.ArrowException, ValueError, OverflowError, TypeError, KeyError) as bad:
        # Arrow quotes the cell in its message: this text is for the owner's log, as every SourceError's.
        raise SourceError(f"column {name!r}: a value does not fit {type_}: {bad}") from None


# --- from Python cells -------------------------------------------------------------------------------


def to_batch(
    rows: Sequence[Sequence[Any]], columns: Sequence[Column], schema: pa.Schema, masked: Sequence[str] = ()
) -> pa.RecordBatch:
    """Rows of Python cells -> one batch of `schema`. masked: columns whose cells that do not fit are NULL.

    Raises SourceError naming the column that is at fault.
    """
    cells: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(columns)
    arrays = [
        fitting(values, partial(from_python, type_=type_, name=name), type_, name in masked)
        for values, (name, type_) in zip(cells, columns, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def fitting(values: Any, read: Callable[[Any], pa.Array], type_: TrinoType, masked: bool) -> pa.Array:
    """What `read` makes of values, or of a slice of them. masked: one that does not fit is NULL.

    A mask is an error of no value: whoever sees a row learns nothing of what it hides. Raises SourceError.
    """
    try:
        return read(values)
    except SourceError as bad:
        if not masked:
            raise
        _log.warning("what does not fit under a mask is shown as NULL", error=str(bad))
        return pa.concat_arrays(_fitting(values, read, type_))


def _fitting(values: Any, read: Callable[[Any], pa.Array], type_: TrinoType) -> Iterator[pa.Array]:
    try:
        yield read(values)
    except SourceError:
        middle = len(values) // 2
        if middle == 0:
            yield pa.nulls(1, type_.arrow())
            return
        yield from _fitting(values[:middle], read, type_)
        yield from _fitting(values[middle:], read, type_)


def from_python(values: Sequence[Any], type_: TrinoType, name: str) -> pa.Array:
    """Python cells (None is NULL) -> an array of `type_.arrow()`. Raises SourceError naming the column."""
    kinds = set(map(type, values))
    kinds.discard(type(None))
    with naming(name, type_):
        convert = _PYTHON.get("integer" if type_.is_integer else type_.name)
        if convert is None:
            raise Unfit("this type cannot be read from this source")
        return _bounded(convert(values, kinds, type_), type_)


def _only(kinds: set[type], *allowed: type) -> None:
    wrong = kinds.difference(allowed)
    if wrong:
        raise Unfit(f"unexpected {', '.join(sorted(k.__name__ for k in wrong))}")


def _each(values: Sequence[Any], convert: Callable[[Any], Any]) -> list[Any]:
    return [None if v is None else convert(v) for v in values]


def _booleans(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    _only(kinds, bool, int)
    if int in kinds:
        if not {v for v in values if v is not None} <= {0, 1}:
            raise Unfit("an integer other than 0 and 1")
        values = _each(values, bool)
    return pa.array(values, pa.bool_())


def _integers(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    _only(kinds, int, Decimal)
    if Decimal in kinds:
        values = _each(values, _whole)
    return pa.array(values, type_.arrow())


def _whole(value: int | Decimal) -> int:
    if value != int(value):
        raise Unfit("a fraction")
    return int(value)


def _decimals(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    _only(kinds, Decimal, int, str, float)
    if kinds - {Decimal}:
        values = _each(values, _decimal)
    return pa.array(values, type_.arrow())


def _decimal(value: Decimal | int | str | float) -> Decimal:
    if isinstance(value, float):
        # A column of NUMERIC affinity holds decimals as doubles: exact as long as 15 digits suffice.
        found = Decimal(repr(value))
        if len(found.as_tuple().digits) > 15:
            raise Unfit("a floating-point number with more than 15 digits")
        return found
    if isinstance(value, str) and not _DECIMAL_TEXT.match(value):
        raise Unfit("a text that is no number")
    return Decimal(value)


def _doubles(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    _only(kinds, float, int)
    if int in kinds and any(type(v) is int and abs(v) > _EXACT for v in values):
        raise Unfit("an integer that a double cannot hold")
    return pa.array(values, pa.float64()).cast(type_.arrow())


def _texts(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    if kinds == {UUID}:
        values = _each(values, str)
    else:
        _only(kinds, str)
    return pa.array(values, pa.string())


def _jsons(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    _only(kinds, str)
    return pa.array(_each(values, canonical), pa.string())


def _binaries(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    _only(kinds, bytes, bytearray, memoryview)
    return pa.array(_each(values, bytes), pa.binary())


def _dates(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    if kinds == {str}:
        return _parsed(pa.array(values, pa.string()), _DATE_TEXT, pa.date32())
    _only(kinds, date)
    return pa.array(values, pa.date32())


def _timestamps(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    if kinds == {str}:
        return _parsed(pa.array(values, pa.string()), _TIMESTAMP_TEXT, pa.timestamp("us"))
    _only(kinds, datetime)
    if any(v is not None and v.tzinfo is not None for v in values):
        raise Unfit("a time zone")
    return pa.array(values, pa.timestamp("us"))


def _instants(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    if kinds == {str}:
        values, kinds = _each(values, datetime.fromisoformat), {datetime}
    _only(kinds, datetime)
    if any(v is not None and v.tzinfo is None for v in values):
        raise Unfit("no time zone")
    return pa.array(_each(values, lambda v: v.astimezone(UTC)), pa.timestamp("us", tz="UTC"))


def _times(values: Sequence[Any], kinds: set[type], type_: TrinoType) -> pa.Array:
    if kinds == {str}:
        values = _each(values, time.fromisoformat)
    elif kinds == {timedelta}:
        values = _each(values, _time_of_day)
    else:
        _only(kinds, time)
    return pa.array(values, pa.time64("us"))


def _time_of_day(value: timedelta) -> time:
    if not timedelta(0) <= value < timedelta(days=1):
        raise Unfit("a duration that is no time of day")
    return (datetime.min + value).time()


_PYTHON: dict[str, Callable[[Sequence[Any], set[type], TrinoType], pa.Array]] = {
    "boolean": _booleans,
    "integer": _integers,
    "decimal": _decimals,
    "double": _doubles,
    "real": _doubles,
    "varchar": _texts,
    "char": _texts,
    "json": _jsons,
    "uuid": _texts,
    "ipaddress": _texts,
    "varbinary": _binaries,
    "date": _dates,
    "timestamp": _timestamps,
    "timestamp with time zone": _instants,
    "time": _times,
}


# --- from Arrow arrays -------------------------------------------------------------------------------


def to_batch_from_arrow(
    batch: pa.RecordBatch, columns: Sequence[Column], schema: pa.Schema, masked: Sequence[str] = ()
) -> pa.RecordBatch:
    """A driver's Arrow batch -> one batch of `schema`, as `to_batch`. Raises SourceError naming the column at fault."""
    if batch.num_columns != len(columns):
        raise SourceError(f"the source returned {batch.num_columns} columns, not {len(columns)}")
    arrays = [
        fitting(array, partial(from_arrow, type_=type_, name=name), type_, name in masked)
        for array, (name, type_) in zip(batch.columns, columns, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def from_arrow(array: pa.Array, type_: TrinoType, name: str) -> pa.Array:
    """A driver's array -> an array of exactly `type_.arrow()`. Raises SourceError naming the column."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    with naming(name, type_):
        return fit(array, type_)


def cut(
    data: Any, begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64], null: npt.NDArray[np.bool_] | None
) -> pa.Array:
    """The cells that lie one behind the other in a buffer, as binaries. null: which are NULL, None if no one is.

    One array over all bytes has as its elements a cell, what lies between it and the next, the next: each second one
    is taken.
    """
    places = np.stack((begin, end), axis=1).astype(np.int32)
    pieces = pa.Array.from_buffers(pa.binary(), places.size - 1, [None, pa.py_buffer(places), pa.py_buffer(data)])
    return pieces.take(pa.array(np.arange(0, places.size, 2, dtype=np.int32), mask=null))


def fit(array: pa.Array, type_: TrinoType) -> pa.Array:
    """As `from_arrow`, for the inside of `naming`."""
    target = type_.arrow()
    if array.type == target and type_.name != "json":
        return _bounded(array, type_)
    if pa.types.is_null(array.type):
        return array.cast(target)
    convert = _ARROW.get("integer" if type_.is_integer else type_.name)
    if convert is None:
        raise Unfit(f"{array.type} cannot become {type_}")
    return _bounded(convert(array, target), type_)


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def _parsed(texts: pa.Array, pattern: str, target: pa.DataType) -> pa.Array:
    """Text -> `target`, only in the one spelling that `pattern` allows: Arrow's own parsers take more."""
    if len(texts) <= FEW:
        good = all(text is None or re.fullmatch(pattern, text) for text in texts.to_pylist())
    else:
        good = pc.all(pc.match_substring_regex(texts, pattern)).as_py()
    if good is False:
        raise Unfit("a text of another form")
    return texts.cast(target)


def _arrow_booleans(array: pa.Array, target: pa.DataType) -> pa.Array:
    if not pa.types.is_integer(array.type):
        raise Unfit(f"{array.type} is no boolean")
    if pc.all(pc.is_in(array, value_set=pa.array([0, 1, None], array.type))).as_py() is False:
        raise Unfit("an integer other than 0 and 1")
    return array.cast(target)


def _arrow_integers(array: pa.Array, target: pa.DataType) -> pa.Array:
    if _is_text(array.type):
        return _parsed(array, _INTEGER_TEXT, target)
    if pa.types.is_integer(array.type) or pa.types.is_decimal(array.type):
        return array.cast(target)
    raise Unfit(f"{array.type} is no integer")


def _arrow_decimals(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_integer(array.type):
        array = array.cast(pa.string())
    if _is_text(array.type) or pa.types.is_decimal(array.type):
        return array.cast(target)
    raise Unfit(f"{array.type} is no exact number")


def _arrow_doubles(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_integer(array.type) or (pa.types.is_float32(array.type) and target == pa.float64()):
        return array.cast(target)
    raise Unfit(f"{array.type} is no floating-point number of this size")


def _arrow_texts(array: pa.Array, target: pa.DataType) -> pa.Array:
    if _is_text(array.type):
        return array.cast(target)
    raise Unfit(f"{array.type} is no text")


def _arrow_jsons(array: pa.Array, target: pa.DataType) -> pa.Array:
    return pa.array(_each(_arrow_texts(array, target).to_pylist(), canonical), target)


def _arrow_binaries(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_large_binary(array.type) or pa.types.is_binary_view(array.type):
        return array.cast(target)
    raise Unfit(f"{array.type} is not binary")


def _arrow_dates(array: pa.Array, target: pa.DataType) -> pa.Array:
    if _is_text(array.type):
        return _parsed(array, _DATE_TEXT, target)
    raise Unfit(f"{array.type} is no date")


def _arrow_timestamps(array: pa.Array, target: pa.DataType) -> pa.Array:
    if _is_text(array.type) and target.tz is None:
        return _parsed(array, _TIMESTAMP_TEXT, pa.timestamp("us"))
    if pa.types.is_timestamp(array.type) and (array.type.tz is None) == (target.tz is None):
        return array.cast(pa.timestamp("us", tz=target.tz))
    raise Unfit(f"{array.type} is not {target}")


def _arrow_times(array: pa.Array, target: pa.DataType) -> pa.Array:
    if _is_text(array.type):
        return pa.array(_each(array.to_pylist(), time.fromisoformat), target)
    if pa.types.is_time(array.type):
        return array.cast(target)
    raise Unfit(f"{array.type} is no time of day")


_ARROW: dict[str, Callable[[pa.Array, pa.DataType], pa.Array]] = {
    "boolean": _arrow_booleans,
    "integer": _arrow_integers,
    "decimal": _arrow_decimals,
    "double": _arrow_doubles,
    "varchar": _arrow_texts,
    "char": _arrow_texts,
    "json": _arrow_jsons,
    "uuid": _arrow_texts,
    "ipaddress": _arrow_texts,
    "varbinary": _arrow_binaries,
    "date": _arrow_dates,
    "timestamp": _arrow_timestamps,
    "timestamp with time zone": _arrow_timestamps,
    "time": _arrow_times,
}


# --- from the text of files --------------------------------------------------------------------------

_DOUBLE_TEXT = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TRUTHS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def from_text(texts: pa.Array, type_: TrinoType, name: str, formats: Sequence[str] = ()) -> pa.Array:
    """Text (string array) -> an array of `type_.arrow()`. Raises SourceError naming the column.

    formats: strptime patterns for dates and timestamps, tried in order beside ISO 8601.
    """
    with naming(name, type_):
        if type_.name in ("date", "timestamp") and formats:
            return _bounded(_by_formats(texts, formats).cast(type_.arrow()), type_)
        if type_.name in ("double", "real"):
            return _parsed(texts, _DOUBLE_TEXT, pa.float64()).cast(type_.arrow())
        if type_.name == "boolean":
            return pa.array(_each(texts.to_pylist(), lambda text: _TRUTHS[text.lower()]), pa.bool_())
    return from_arrow(texts, type_, name)


def _by_formats(texts: pa.Array, formats: Sequence[str]) -> pa.Array:
    """Each text by the first pattern that reads it; distinct texts are read once."""
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    read: list[datetime] = []
    for text in distinct:
        read.append(_by_format(text, formats))
    return pa.array(read, pa.timestamp("us")).take(encoded.indices)


def _by_format(text: str, formats: Sequence[str]) -> datetime:
    for pattern in formats:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    found = datetime.fromisoformat(text)
    if found.tzinfo is not None:
        raise Unfit("a time zone")
    return found


# --- bounds that both ways share ---------------------------------------------------------------------


def _bounded(array: pa.Array, type_: TrinoType) -> pa.Array:
    """Check lengths, calendar range and fractions of a second, which Arrow's types do not hold."""
    if type_.is_text and type_.args and type_.args[0] != UNBOUNDED:
        longest = pc.max(pc.utf8_length(array)).as_py()
        if longest is not None and longest > type_.args[0]:
            raise Unfit("a longer text")
    if type_.name == "date":
        _within(array.view(pa.int32()), _BEFORE_CHRIST, _AFTER_9999)
    if type_.name.startswith("timestamp"):
        return _bounded_timestamps(array, type_)
    return array


def _bounded_timestamps(array: pa.Array, type_: TrinoType) -> pa.Array:
    ticks = array.view(pa.int64())
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[array.type.unit]
    _within(ticks, _BEFORE_CHRIST * 86_400 * per_second, (_AFTER_9999 + 1) * 86_400 * per_second - 1)
    step = per_second // 10 ** type_.args[0]
    if step > 1:
        whole = pc.multiply(pc.divide(ticks, pa.scalar(step, pa.int64())), pa.scalar(step, pa.int64()))
        if pc.all(pc.equal(whole, ticks)).as_py() is False:
            raise Unfit("a finer fraction of a second")
    return array.cast(type_.arrow())


def _within(numbers: pa.Array, low: int, high: int) -> None:
    if len(numbers) <= FEW:
        beyond = any(number is not None and not low <= number <= high for number in numbers.to_pylist())
    else:
        found = pc.min_max(numbers).as_py()
        beyond = found["min"] is not None and (found["min"] < low or found["max"] > high)
    if beyond:
        raise Unfit("a date outside the years 1 to 9999")
