"""Whether two values are equal, and which comes first, as Trino compares them.

NaN equals nothing and has no place in an order. Arrays, rows and maps compare part by part: equality is unknown where
a NULL leaves it open, and an order that comes down to a NULL is an error. DuckDB takes NaN and NULLs in them as values.
"""

from __future__ import annotations

from catalog.duck.typing import Typed, cast_to, check_size, field_count, mismatch, sql_text
from catalog.types import BOOLEAN, TrinoType

__all__ = ["depth", "equal", "equality", "extreme", "is_compound", "orderable", "precedes", "together"]

_OPEN = 2
"""Stands for an order that a NULL leaves open."""


def is_compound(kind: TrinoType) -> bool:
    return kind.name in ("array", "row", "map")


def equal(kind: TrinoType, a: str, b: str) -> str:
    """`a = b` of two values of one type. Repeats both texts: `together` first, where they are long."""
    if kind.name in ("double", "real"):
        return f"tr_float_eq({a}, {b})"
    if kind.name == "array":
        e = f"e{depth(kind)}"
        parts = f"list_transform(list_zip({a}, {b}), lambda {e}: {equal(kind.args[0], f'{e}[1]', f'{e}[2]')})"
        return (
            f"CASE WHEN {a} IS NULL OR {b} IS NULL THEN NULL WHEN len({a}) <> len({b}) THEN false"
            f" ELSE tr_all_match({parts}) END"
        )
    if kind.name == "map":
        e = f"e{depth(kind)}"
        value = equal(kind.args[1], f"{e}['value']", f"map_extract({b}, {e}['key'])[1]")
        part = f"CASE WHEN map_contains({b}, {e}['key']) THEN {value} ELSE false END"
        parts = f"list_transform(map_entries({a}), lambda {e}: {part})"
        return (
            f"CASE WHEN {a} IS NULL OR {b} IS NULL THEN NULL WHEN cardinality({a}) <> cardinality({b}) THEN false"
            f" ELSE tr_all_match({parts}) END"
        )
    if kind.name == "row":
        return "(" + " AND ".join(equal(t, x, y) for t, x, y in _fields(kind, a, b)) + ")"
    return f"({a} = {b})"


def precedes(kind: TrinoType, op: str, a: str, b: str) -> str:
    """`a op b` for < <= > >= of two arrays or rows."""
    return f"(tr_order({_order(kind, a, b, nan=1)}) {op} 0)"


def _order(kind: TrinoType, a: str, b: str, nan: int) -> str:
    """-1, 0, 1 or `_OPEN`; NULL for a NULL. nan: 1 if a NaN comes last, -1 if it comes first."""
    if kind.name == "array":
        e = f"e{depth(kind)}"
        part = f"coalesce({_order(kind.args[0], f'{e}[1]', f'{e}[2]', nan)}, {_OPEN})"
        parts = f"list_transform(list_zip({a}, {b}, true), lambda {e}: {part})"
        return (
            f"CASE WHEN {a} IS NOT NULL AND {b} IS NOT NULL THEN"
            f" coalesce(list_filter({parts}, lambda o: o <> 0)[1], CAST(sign(len({a}) - len({b})) AS INTEGER)) END"
        )
    if kind.name == "row":
        parts = ", ".join(f"coalesce({_order(t, x, y, nan)}, {_OPEN})" for t, x, y in _fields(kind, a, b))
        found = f"coalesce(list_filter([{parts}], lambda o: o <> 0)[1], 0)"
        return f"CASE WHEN {a} IS NOT NULL AND {b} IS NOT NULL THEN {found} END"
    if kind.name in ("double", "real") and nan < 0:
        unordered = f"CAST(isnan({b}) AS INTEGER) - CAST(isnan({a}) AS INTEGER)"
        return f"CASE WHEN isnan({a}) OR isnan({b}) THEN {unordered} ELSE tr_sign_of({a}, {b}) END"
    return f"tr_sign_of({a}, {b})"


def extreme(kind: TrinoType, a: str, b: str, greatest: bool) -> str:
    """The greater or lesser of two arrays or rows, the first of equal ones."""
    order = f"tr_order({_order(kind, a, b, nan=-1 if greatest else 1)})"
    first = f"{order} {'>=' if greatest else '<='} 0"
    return f"CASE WHEN {a} IS NULL OR {b} IS NULL THEN NULL WHEN {first} THEN {a} ELSE {b} END"


def together(kind: TrinoType, a: str, b: str, made: str) -> str:
    """What is `made` of the two as q['a'] and q['b'], each computed once: a subquery, say, may be read once only.

    A part is written q['a']: q.a would be column a of a table q that the query has.
    """
    check_size((len(a) + len(b)) * field_count(kind))
    return f"list_transform([{{'a': {a}, 'b': {b}}}], lambda q: {made})[1]"


def orderable(value: Typed) -> str:
    """A sort key. An array or row with a NULL in it is refused: Trino raises that error where the NULL decides."""
    kind = value.type
    if kind.name in ("map", "json") or "map" in str(kind):
        raise mismatch(f"{kind} cannot be ordered.")
    if not is_compound(kind):
        return value.sql
    part = "q['a']"
    refused = f"CAST(tr_fail('NOT_SUPPORTED') AS {kind.duckdb()})"
    return together(kind, value.sql, "NULL", f"CASE WHEN {_has_null(kind, part)} THEN {refused} ELSE {part} END")


def _has_null(kind: TrinoType, a: str) -> str:
    """Whether a value that is no NULL holds one."""
    if kind.name == "array":
        e = f"e{depth(kind)}"
        nulls = f"list_transform({a}, lambda {e}: {e} IS NULL OR {_has_null(kind.args[0], e)})"
        return f"coalesce(list_bool_or({nulls}), false)"
    if kind.name == "row":
        parts = [f"{x} IS NULL OR {_has_null(t, x)}" for t, x, _ in _fields(kind, a, a)]
        return f"({a} IS NOT NULL AND ({' OR '.join(parts)}))"
    return "false"


def _fields(kind: TrinoType, a: str, b: str) -> list[tuple[TrinoType, str, str]]:
    names = [sql_text(name or f"field{i}") for i, (name, _) in enumerate(kind.args)]
    kinds = [t for _, t in kind.args]
    return [(t, f"struct_extract({a}, {n})", f"struct_extract({b}, {n})") for n, t in zip(names, kinds, strict=True)]


def depth(kind: TrinoType) -> int:
    """How deep arrays, maps and rows nest in a type; 1 for one without any. Names lambda parameters apart."""
    inner = [a[1] if isinstance(a, tuple) else a for a in kind.args if not isinstance(a, (int, str))]
    return 1 + max(map(depth, inner), default=0)


def equality(left: Typed, right: Typed, kind: TrinoType) -> Typed:
    """`left = right` in the type in which they compare."""
    a, b = cast_to(left, kind).sql, cast_to(right, kind).sql
    if is_compound(kind) and kind.name != "row":
        return Typed(together(kind, a, b, equal(kind, "q['a']", "q['b']")), BOOLEAN)
    check_size((len(a) + len(b)) * field_count(kind))
    return Typed(equal(kind, a, b), BOOLEAN)
