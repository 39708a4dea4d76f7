"""Trino's rules for the types of operations: what `integer + decimal` is, what compares with what.

`Typed` is a piece of DuckDB SQL with the Trino type that it stands for; rules combine them. The text of
a `Typed` is always complete in itself (a call, a literal or in parentheses), so pieces nest freely.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from catalog.errors import Outcome, TrinoError, UserError
from catalog.types import DOUBLE, UNKNOWN, TrinoType

__all__ = [
    "MAX_CHAR", "Typed", "arithmetic", "cast_to", "check_size", "common", "comparable", "decimal_of", "field_count",
    "from_local", "in_session_zone", "mismatch", "offset_of", "reads_alike", "session_zone", "sql_text", "unfit",
    "unscaled",
]  # fmt: skip

MAX_SQL = 2_000_000
"""Characters of a compiled statement."""
MAX_CHAR = 65_536
"""Characters of the longest char(n)."""
_INTEGER_DIGITS = {"tinyint": 3, "smallint": 5, "integer": 10, "bigint": 19}
_SESSION_ZONE: ContextVar[str] = ContextVar("session_zone", default="UTC")
_PADDED = re.compile(r"\bchar\(")
_BY_PART = re.compile(r"\bchar\(|\brow\(|time zone")
"""Types in a list of which DuckDB's own cast would get wrong."""
_INTERVALS = ("interval day to second", "interval year to month")


@dataclass(frozen=True, slots=True)
class Typed:
    """sql: DuckDB text. type: Trino type. value: the literal's own value, None if it is no literal."""

    sql: str
    type: TrinoType
    value: int | str | None = None


def sql_text(value: str) -> str:
    """A DuckDB string literal."""
    return "'" + value.replace("'", "''") + "'"


def check_size(length: int) -> None:
    """Raise TOO_LARGE for a text of so many characters: before it is written, where it repeats a part often."""
    if length > MAX_SQL:
        raise UserError("The statement nests functions too deeply.", Outcome.TOO_LARGE, rule="limits")


def field_count(kind: TrinoType) -> int:
    """How often a cast to this type may repeat the text of its value: the fields of all rows in it."""
    inner = [a[1] if isinstance(a, tuple) else a for a in kind.args if not isinstance(a, (int, str))]
    return sum(map(field_count, inner)) if inner else 1


def mismatch(message: str) -> UserError:
    return UserError(message, trino=TrinoError.TYPE_MISMATCH, rule="types")


def unfit(message: str) -> UserError:
    """FUNCTION_NOT_FOUND: no form of the function takes such arguments."""
    return UserError(message, Outcome.FUNCTION, rule="types")


def reads_alike(source: TrinoType, target: TrinoType) -> bool:
    """Whether DuckDB has the same values for both types: a padded text has no blanks at its end there."""
    return source == target or (
        source.duckdb() == target.duckdb() and not any(_PADDED.search(str(kind)) for kind in (source, target))
    )


def cast_to(value: Typed, target: TrinoType) -> Typed:
    """An implicit, lossless coercion; no-op when the types already agree."""
    source = value.type
    if source == target or (source.name == target.name == "varchar"):
        return Typed(value.sql, target, value.value)
    if target.name == "char" and source.is_text:
        return Typed(f"rtrim({value.sql}, ' ')", target)
    if source.name == "char":
        return Typed(f"rpad({value.sql}, {source.args[0]}, ' ')", target)
    if source.name == target.name == "row":
        check_size(len(value.sql) * field_count(target))
        read = f"struct_extract({value.sql}, "
        fields = ", ".join(
            f"{sql_text(new or f'field{i}')}: {cast_to(Typed(read + sql_text(old or f'field{i}') + ')', t), k).sql}"
            for i, ((old, t), (new, k)) in enumerate(zip(source.args, target.args, strict=True))
        )
        return Typed(f"CASE WHEN {value.sql} IS NOT NULL THEN {{{fields}}} END", target)
    by_part = any(map(_BY_PART.search, (str(source), str(target))))
    if source.name == target.name in ("array", "map") and by_part and source.args[-1].name != "unknown":
        p = f"r{len(str(target))}"
        parts = [cast_to(Typed(p, t), k).sql for t, k in zip(source.args, target.args, strict=True)]
        if target.name == "array":
            return Typed(f"list_transform({value.sql}, lambda {p}: {parts[0]})", target)
        keys, items = (
            f"list_transform(map_{w}({value.sql}), lambda {p}: {part})"
            for w, part in zip(("keys", "values"), parts, strict=True)
        )
        return Typed(f"tr_map({keys}, {items})", target)
    if target.name == "timestamp with time zone" and source.name in ("date", "timestamp"):
        by = "tr_day_time" if source.name == "date" else "tr_clock_time"
        return Typed(from_local(value.sql, TrinoType(target.name, (target.args[0], session_zone())), by).sql, target)
    return Typed(f"CAST({value.sql} AS {target.duckdb()})", target)


def session_zone() -> str:
    """The time zone of the session whose statement is compiled: in it lies a moment of which no zone is known."""
    return _SESSION_ZONE.get()


@contextmanager
def in_session_zone(zone: str) -> Iterator[None]:
    """Meanwhile `session_zone` is this one. zone: its canonical name."""
    token = _SESSION_ZONE.set(zone)
    try:
        yield
    finally:
        _SESSION_ZONE.reset(token)


def from_local(sql: str, kind: TrinoType, by: str = "tr_clock_time", *more: str) -> Typed:
    """The moment at which a local TIMESTAMP is shown in the zone of `kind`. by: which of two, a macro; more: for it."""
    minutes = offset_of(kind.zone)
    sql = f"CAST({sql} AS TIMESTAMP)"  # what comes with another unit has fewer operators
    if minutes is not None:
        return Typed(f"timezone('UTC', {sql} - to_minutes({minutes}))", kind)
    if kind.zone == "UTC":
        return Typed(f"timezone('UTC', {sql})", kind)
    return Typed(f"{by}({', '.join((sql_text(kind.zone), sql, *more))})", kind)


def offset_of(zone: str) -> int | None:
    """Minutes of a zone such as +05:30, None for a named one."""
    found = re.fullmatch(r"([+-])([0-9]{2}):([0-9]{2})", zone)
    return None if found is None else int(f"{found[1]}1") * (int(found[2]) * 60 + int(found[3]))


def decimal_of(t: TrinoType) -> tuple[int, int] | None:
    """(precision, scale) of a decimal, or of the decimal to which Trino coerces an integer."""
    if t.name == "decimal":
        return t.args[0], t.args[1]
    digits = _INTEGER_DIGITS.get(t.name)
    return None if digits is None else (digits, 0)


def common(types: Sequence[TrinoType]) -> TrinoType | None:
    """The type to which all coerce (UNION arms, CASE branches, COALESCE), None if there is none."""
    result = UNKNOWN
    for t in types:
        merged = _common(result, t)
        if merged is None:
            return None
        result = merged
    return result


def _common(a: TrinoType, b: TrinoType) -> TrinoType | None:
    if a == b or b.name == "unknown":
        return a
    if a.name == "unknown":
        return b
    if a.name == b.name == "char":
        return a if a.args[0] >= b.args[0] else b
    if "char" in (a.name, b.name) and a.is_text and b.is_text:
        # Texts become char of their own length, at most of the longest.
        return TrinoType("char", (min(max(a.args[0], b.args[0]), MAX_CHAR),))
    if a.is_text and b.is_text:
        return TrinoType("varchar", (max(a.args[0], b.args[0]),))
    if a.is_numeric and b.is_numeric:
        return _common_number(a, b)
    stamps = {"date": 0, "timestamp": 1, "timestamp with time zone": 2}
    if (a.name in stamps and b.name in stamps) or a.name == b.name == "time":
        if a.name == b.name == "timestamp with time zone" and a.args[1:] != b.args[1:]:
            raise mixed_zones()
        if a.name == b.name:
            return a if not a.args or a.args[0] >= b.args[0] else b
        later = a if stamps[a.name] > stamps[b.name] else b
        if later.name == "timestamp with time zone" and later.zone != session_zone():
            raise mixed_zones()
        return TrinoType(later.name, (max(k.args[0] for k in (a, b) if k.args), *later.args[1:]))
    if a.name == b.name in ("array", "map"):
        inner = [_common(x, y) for x, y in zip(a.args, b.args, strict=True)]
        return None if None in inner else TrinoType(a.name, tuple(inner))
    if a.name == b.name == "row" and len(a.args) == len(b.args):
        fields = [(n if n == m else "", _common(x, y)) for (n, x), (m, y) in zip(a.args, b.args, strict=True)]
        return None if any(t is None for _, t in fields) else TrinoType("row", tuple(fields))
    return None


def mixed_zones() -> UserError:
    """A column is shown in one zone; of what has none, a moment in the session's zone is made."""
    return UserError(
        "Moments in several time zones are not available in one column.", Outcome.NODE, rule="closed list",
        hint="Show all in one zone with AT TIME ZONE.",
    )  # fmt: skip


def _common_number(a: TrinoType, b: TrinoType) -> TrinoType:
    if "double" in (a.name, b.name):
        return DOUBLE
    if "real" in (a.name, b.name):
        return TrinoType("real")
    if a.is_integer and b.is_integer:
        return a if _INTEGER_DIGITS[a.name] >= _INTEGER_DIGITS[b.name] else b
    (p1, s1), (p2, s2) = _pair(a, b)
    scale = max(s1, s2)
    return TrinoType("decimal", (min(38, max(p1 - s1, p2 - s2) + scale), scale))


def _pair(a: TrinoType, b: TrinoType) -> tuple[tuple[int, int], tuple[int, int]]:
    left, right = decimal_of(a), decimal_of(b)
    if left is None or right is None:
        raise mismatch(f"{a} and {b} are not both exact numbers.")
    return left, right


def comparable(a: TrinoType, b: TrinoType, what: str) -> TrinoType:
    """The type in which Trino compares the two. Raises TYPE_MISMATCH."""
    if a.name == b.name == "timestamp with time zone":
        return a if a.args[0] >= b.args[0] else b  # the moment is compared, wherever it is shown
    if "timestamp with time zone" in (a.name, b.name) and {a.name, b.name} & {"date", "timestamp"}:
        digits = [k.args[0] for k in (a, b) if k.args]
        return TrinoType("timestamp with time zone", (max(digits),))  # what has no zone is a moment in the session's
    found = _common(a, b)
    if found is None:
        raise mismatch(f"{what} cannot compare {a} with {b}.")
    return found


def arithmetic(op: str, a: Typed, b: Typed) -> Typed:
    """`a op b` for op in + - * / % with Trino's result type and rounding. Raises TYPE_MISMATCH."""
    for side in (a, b):
        if not (side.type.is_numeric or side.type.name == "unknown"):
            raise mismatch(f"Operator {op} needs numbers, not {a.type} and {b.type}.")
    kinds = (a.type.name, b.type.name)
    wide = "double" in kinds or (op == "*" and "bigint" in kinds)
    unclear = "unknown" in kinds if op == "*" else op == "/" and kinds[0] == "unknown"  # it may be an interval too
    if kinds == ("unknown", "unknown") or (unclear and wide):
        raise UserError(
            "This operator of NULL may mean many things.", trino=TrinoError.AMBIGUOUS_FUNCTION_CALL, rule="types",
            hint="Cast the NULL.",
        )  # fmt: skip
    if "unknown" in (a.type.name, b.type.name):
        known = b.type if a.type.name == "unknown" else a.type
        if known.name == "decimal":
            null = Typed("CAST(NULL AS DECIMAL(1, 0))", TrinoType("decimal", (1, 0)))
            return _decimal(op, *(null if side.type.name == "unknown" else side for side in (a, b)))
        return Typed(f"CAST(NULL AS {known.duckdb()})", known)
    kind = _common_number(a.type, b.type)
    if kind.name in ("double", "real"):
        return Typed(f"({cast_to(a, kind).sql} {op} {cast_to(b, kind).sql})", kind)
    if kind.is_integer:
        symbol = "//" if op == "/" else op
        return Typed(f"({_strict(a, kind)} {symbol} {_strict(b, kind)})", kind)
    return _decimal(op, a, b)


def _strict(value: Typed, kind: TrinoType) -> str:
    """An integer operand in the operation's own type: DuckDB would take `smallint + 1` as smallint."""
    if value.type == kind and value.value is None:
        return value.sql
    return f"CAST({value.sql} AS {kind.duckdb()})"


_INT64_DIGITS = 18
_DOUBLE_DIGITS = 15


def _decimal(op: str, a: Typed, b: Typed) -> Typed:
    (p1, s1), (p2, s2) = _pair(a.type, b.type)
    left = cast_to(a, TrinoType("decimal", (p1, s1))).sql
    right = cast_to(b, TrinoType("decimal", (p2, s2))).sql
    if op in ("+", "-"):
        scale = max(s1, s2)
        out = (min(38, max(p1 - s1, p2 - s2) + scale + 1), scale)
    elif op == "*":
        out = (min(38, p1 + p2), s1 + s2)
        if out[1] > 38:
            raise mismatch(f"The product of {a.type} and {b.type} has more than 38 decimals.")
    elif op == "%":
        scale = max(s1, s2)
        out = (min(p2 - s2, p1 - s1) + scale, scale)
        if max(p1, p2) + scale > _DOUBLE_DIGITS:  # DuckDB computes the remainder of decimals in doubles
            n, d = (
                f"{unscaled(x, size)} * {10 ** (scale - size[1])}::HUGEINT"
                for x, size in ((left, (p1, s1)), (right, (p2, s2)))
            )
            kind = TrinoType("decimal", out)
            return Typed(rescaled(f"tr_rest({n}, {d})", kind), kind)
    else:
        scale = max(s1, s2)
        out = (min(38, p1 + s2 + max(0, s2 - s1)), scale)
        return decimal_quotient(left, right, ((p1, s1), (p2, s2)), TrinoType("decimal", out))
    if out[0] > _INT64_DIGITS >= max(p1, p2):
        # DuckDB computes two operands of at most 18 digits in 64 bits and overflows: widen one of them.
        left = f"CAST({left} AS DECIMAL({_INT64_DIGITS + 1}, {s1}))"
    kind = TrinoType("decimal", out)
    return Typed(f"CAST(({left} {op} {right}) AS {kind.duckdb()})", kind)


def decimal_quotient(left: str, right: str, sizes: tuple[Size, Size], kind: TrinoType, positive: bool = False) -> Typed:
    """left / right exactly, rounded half away from zero at kind's scale, as Trino divides decimals.

    Both sides become unscaled integers; the numerator is widened by 10^(scale - s1 + s2) first. positive: where it is
    evaluated, right is greater than 0.
    """
    (_, s1), (_, s2) = sizes
    widen = kind.args[1] - s1 + s2
    n = unscaled(left, sizes[0]) + (f" * {10**widen}::HUGEINT" if widen else "")
    literal = _LITERAL.fullmatch(right)
    units = int(literal["units"] + literal["part"]) if literal and len(literal["part"]) == s2 else 0
    d = f"{units}::HUGEINT" if units else unscaled(right, sizes[1])
    macro = "tr_nearest" if positive or units else "tr_half_up"
    return Typed(rescaled(f"{macro}({n}, {d})", kind), kind)


_LITERAL = re.compile(r"CAST\('(?P<units>[0-9]+)\.?(?P<part>[0-9]*)' AS DECIMAL\([0-9]+, [0-9]+\)\)")
Size = tuple[int, int]
"""Precision and scale of a decimal."""


def unscaled(sql: str, size: Size) -> str:
    """A decimal of that size as a HUGEINT that counts units of 10^-scale; by its text where a product has no room.

    It names the decimal once: macros name what they are given several times, and binding all copies takes longer than
    computing them.
    """
    precision, scale = size
    if scale == 0:
        return f"CAST({sql} AS HUGEINT)"
    if precision + scale < 38:
        if precision <= _INT64_DIGITS < precision + scale + 1:  # see `_decimal`
            sql = f"CAST({sql} AS DECIMAL({_INT64_DIGITS + 1}, {scale}))"
        return f"CAST({sql} * CAST({10**scale} AS DECIMAL({scale + 1}, 0)) AS HUGEINT)"
    return f"CAST(replace(CAST({sql} AS VARCHAR), '.', '') AS HUGEINT)"


def rescaled(units: str, kind: TrinoType) -> str:
    """A HUGEINT that counts units of 10^-scale -> a decimal of that scale, without going through double."""
    scale = kind.args[1]
    if scale == 0:
        return f"CAST({units} AS {kind.duckdb()})"
    unit = f"CAST({sql_text('0.' + '0' * (scale - 1) + '1')} AS DECIMAL({scale}, {scale}))"
    return f"CAST(CAST({units} AS DECIMAL(38, 0)) * {unit} AS {kind.duckdb()})"
