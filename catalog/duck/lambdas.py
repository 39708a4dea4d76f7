"""Functions that take a lambda: `transform(a, x -> x + 1)`. The compiler calls them with itself, a node and a scope.

A parameter is a name of the compiler's own in DuckDB's text (`p0`, `p1`, ..); its type is that of the elements.
Lists are walked inside DuckDB, so a lambda costs what its body costs, once an element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlglot import exp

from catalog.duck.typing import Typed, cast_to, common, mismatch
from catalog.errors import Outcome, UserError
from catalog.types import BOOLEAN, TrinoType

__all__ = ["LAMBDAS"]


class Compiler(Protocol):
    """The part of the compiler that a lambda needs."""

    def expr(self, node: exp.Expr | None, scope: Any) -> Typed: ...

    def fresh(self) -> str:
        """A name that no other parameter has."""
        ...

    def body(self, node: exp.Expr, given: Sequence[Typed], scope: Any) -> Typed:
        """The lambda's body, where its parameters stand for `given`."""
        ...


Rule = Callable[[Compiler, Sequence[exp.Expr], Any], Typed]


def _of(element: TrinoType) -> TrinoType:
    return TrinoType("array", (element,))


def _array(c: Compiler, node: exp.Expr, scope: Any, name: str) -> tuple[str, TrinoType]:
    """DuckDB text of an array and the type of its elements."""
    value = c.expr(node, scope)
    if value.type.name == "unknown":
        return "CAST(NULL AS INTEGER[])", value.type
    if value.type.name != "array":
        raise mismatch(f"{name} needs an array, not {value.type}.")
    return value.sql, value.type.args[0]


def _map(c: Compiler, node: exp.Expr, scope: Any, name: str) -> Typed:
    value = c.expr(node, scope)
    if value.type.name != "map":
        raise mismatch(f"{name} needs a map, not {value.type}.")
    return value


def _condition(c: Compiler, node: exp.Expr, given: Sequence[Typed], scope: Any) -> str:
    body = c.body(node, given, scope)
    if body.type.name not in ("boolean", "unknown"):
        raise UserError(f"A lambda must give a boolean here, not {body.type}.", Outcome.FUNCTION, rule="types")
    return cast_to(body, BOOLEAN).sql


def transform(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    items, element = _array(c, nodes[0], scope, "transform")
    p = c.fresh()
    body = c.body(nodes[1], [Typed(p, element)], scope)
    return Typed(f"list_transform({items}, lambda {p}: {body.sql})", _of(body.type))


def filter_(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    items, element = _array(c, nodes[0], scope, "filter")
    p = c.fresh()
    body = _condition(c, nodes[1], [Typed(p, element)], scope)
    return Typed(f"list_filter({items}, lambda {p}: coalesce({body}, false))", _of(element))


def _match(which: str) -> Rule:
    """any_match, all_match, none_match: three-valued, as OR and AND over the elements."""

    def rule(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
        items, element = _array(c, nodes[0], scope, f"{which}_match")
        p = c.fresh()
        body = _condition(c, nodes[1], [Typed(p, element)], scope)
        return Typed(f"tr_{which}_match(list_transform({items}, lambda {p}: {body}))", BOOLEAN)

    return rule


def reduce(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    """The state has one type throughout. DuckDB wants it to be the elements' too: both are fields of a struct."""
    items, element = _array(c, nodes[0], scope, "reduce")
    start = c.expr(nodes[1], scope)
    s, x = c.fresh(), c.fresh()
    step = c.body(nodes[2], [Typed(f"{s}.s", start.type), Typed(f"{x}.x", element)], scope)
    kind = common([start.type, step.type])
    if kind is None or (kind != start.type and start.type.name != "unknown"):
        raise mismatch(f"The step of reduce gives {step.type}, not {start.type}.")
    both = f"STRUCT(s {kind.duckdb()}, x {element.duckdb()})"
    first = f"CAST({{'s': {cast_to(start, kind).sql}, 'x': NULL}} AS {both})"
    wrapped = f"list_transform({items}, lambda {x}: CAST({{'s': NULL, 'x': {x}}} AS {both}))"
    state = f"CAST({{'s': {cast_to(step, kind).sql}, 'x': NULL}} AS {both})"
    folded = f"list_reduce({wrapped}, lambda {s}, {x}: {state}, {first}).s"
    out = c.fresh()
    finish = c.body(nodes[3], [Typed(out, kind)], scope)
    text = f"list_transform([{folded}], lambda {out}: {finish.sql})[1]"
    return Typed(f"CASE WHEN {items} IS NOT NULL THEN {text} END", finish.type)


def zip_with(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    left, one = _array(c, nodes[0], scope, "zip_with")
    right, two = _array(c, nodes[1], scope, "zip_with")
    p = c.fresh()
    body = c.body(nodes[2], [Typed(f"{p}[1]", one), Typed(f"{p}[2]", two)], scope)
    zipped = f"CASE WHEN {left} IS NOT NULL AND {right} IS NOT NULL THEN list_zip({left}, {right}) END"
    return Typed(f"list_transform({zipped}, lambda {p}: {body.sql})", _of(body.type))


def _of_entry(c: Compiler, value: Typed) -> tuple[str, list[Typed]]:
    p = c.fresh()
    return p, [Typed(f"{p}.key", value.type.args[0]), Typed(f"{p}.value", value.type.args[1])]


def map_filter(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    value = _map(c, nodes[0], scope, "map_filter")
    p, given = _of_entry(c, value)
    body = _condition(c, nodes[1], given, scope)
    kept = f"list_filter(map_entries({value.sql}), lambda {p}: coalesce({body}, false))"
    return Typed(f"map_from_entries({kept})", value.type)


def transform_keys(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    value = _map(c, nodes[0], scope, "transform_keys")
    p, given = _of_entry(c, value)
    body = c.body(nodes[1], given, scope)
    keys = f"list_transform(map_entries({value.sql}), lambda {p}: {body.sql})"
    return Typed(f"tr_map({keys}, map_values({value.sql}))", TrinoType("map", (body.type, value.type.args[1])))


def transform_values(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    value = _map(c, nodes[0], scope, "transform_values")
    p, given = _of_entry(c, value)
    body = c.body(nodes[1], given, scope)
    made = f"list_transform(map_entries({value.sql}), lambda {p}: {body.sql})"
    return Typed(f"tr_map(map_keys({value.sql}), {made})", TrinoType("map", (value.type.args[0], body.type)))


def map_zip_with(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    one, two = _map(c, nodes[0], scope, "map_zip_with"), _map(c, nodes[1], scope, "map_zip_with")
    if one.type.args[0] != two.type.args[0]:
        raise mismatch("map_zip_with needs maps with keys of one type.")
    p = c.fresh()
    given = [
        Typed(p, one.type.args[0]),
        Typed(f"element_at({one.sql}, {p})[1]", one.type.args[1]),
        Typed(f"element_at({two.sql}, {p})[1]", two.type.args[1]),
    ]
    body = c.body(nodes[2], given, scope)
    keys = f"tr_union(map_keys({one.sql}), map_keys({two.sql}))"
    made = f"list_transform({keys}, lambda {p}: {body.sql})"
    return Typed(f"tr_map({keys}, {made})", TrinoType("map", (one.type.args[0], body.type)))


def array_sort(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    items, element = _array(c, nodes[0], scope, "array_sort")
    if len(nodes) > 1:
        raise UserError("array_sort with a comparison of its own is not available.", Outcome.NODE, rule="closed list")
    if element.name in ("map", "json"):
        raise mismatch(f"array_sort cannot order {element}.")
    return Typed(f"list_sort({items}, 'ASC', 'NULLS LAST')", _of(element))


LAMBDAS: dict[str, tuple[Rule, int, int]] = {
    "transform": (transform, 2, 2), "filter": (filter_, 2, 2), "any_match": (_match("any"), 2, 2),
    "all_match": (_match("all"), 2, 2), "none_match": (_match("none"), 2, 2), "reduce": (reduce, 4, 4),
    "zip_with": (zip_with, 3, 3), "map_filter": (map_filter, 2, 2), "transform_keys": (transform_keys, 2, 2),
    "transform_values": (transform_values, 2, 2), "map_zip_with": (map_zip_with, 3, 3),
    "array_sort": (array_sort, 1, 2),
}  # fmt: skip
"""Trino name -> (rule, least and most arguments)."""
