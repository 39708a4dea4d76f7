"""Functions that take a lambda: `transform(a, x -> x + 1)`. The compiler calls them with itself, a node and a scope.

A parameter is a name of the compiler's own in DuckDB's text (`p0`, `p1`, ..); its type is that of the elements.
Lists are walked inside DuckDB, so a lambda costs what its body costs, once an element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlglot import exp

from catalog.duck.typing import Typed, cast_to, common, unfit
from catalog.errors import Outcome, UserError
from catalog.types import BOOLEAN, TrinoType

__all__ = ["LAMBDAS", "reduce_agg"]


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
        raise unfit(f"{name} needs an array, not {value.type}.")
    return value.sql, value.type.args[0]


def _item(text: str, element: TrinoType) -> Typed:
    """A parameter; NULL itself where that is all that the elements can be, which DuckDB takes for integers."""
    return Typed("NULL" if element.name == "unknown" else text, element)


def _map(c: Compiler, node: exp.Expr, scope: Any, name: str) -> Typed:
    value = c.expr(node, scope)
    if value.type.name != "map":
        raise unfit(f"{name} needs a map, not {value.type}.")
    return value


def _condition(c: Compiler, node: exp.Expr, given: Sequence[Typed], scope: Any) -> str:
    body = c.body(node, given, scope)
    if body.type.name not in ("boolean", "unknown"):
        raise UserError(f"A lambda must give a boolean here, not {body.type}.", Outcome.FUNCTION, rule="types")
    return cast_to(body, BOOLEAN).sql


def transform(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    items, element = _array(c, nodes[0], scope, "transform")
    p = c.fresh()
    body = c.body(nodes[1], [_item(p, element)], scope)
    return Typed(f"list_transform({items}, lambda {p}: {body.sql})", _of(body.type))


def filter_(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    items, element = _array(c, nodes[0], scope, "filter")
    p = c.fresh()
    body = _condition(c, nodes[1], [_item(p, element)], scope)
    return Typed(f"list_filter({items}, lambda {p}: coalesce({body}, false))", _of(element))


def _match(which: str) -> Rule:
    """any_match, all_match, none_match: three-valued, as OR and AND over the elements."""

    def rule(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
        items, element = _array(c, nodes[0], scope, f"{which}_match")
        p = c.fresh()
        body = _condition(c, nodes[1], [_item(p, element)], scope)
        return Typed(f"tr_{which}_match(list_transform({items}, lambda {p}: {body}))", BOOLEAN)

    return rule


def reduce(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    items, element = _array(c, nodes[0], scope, "reduce")
    folded, kind = _folded(c, items, element, c.expr(nodes[1], scope), nodes[2], scope)
    out = c.fresh()
    finish = c.body(nodes[3], [Typed(out, kind)], scope)
    text = f"list_transform([{folded}], lambda {out}: {finish.sql})[1]"
    return Typed(f"CASE WHEN {items} IS NOT NULL THEN {text} END", finish.type)


def reduce_agg(c: Compiler, nodes: Sequence[exp.Expr], scope: Any, call: Any) -> Typed:
    """The rows one after the other, NULLs left out, from one state: the second lambda, which joins two, has no work."""
    value = c.expr(nodes[0], scope)
    start = c.expr(nodes[1], scope)
    items = call.filtered(f"{value.sql} IS NOT NULL AND {start.sql} IS NOT NULL")("list", value.sql)
    folded, kind = _folded(c, "q", value.type, start, nodes[2], scope)
    widest = {"decimal": 18, "timestamp with time zone": 3}.get(kind.name)  # of what Trino keeps in 64 bits
    if kind.name in ("array", "map", "row") or (widest is not None and kind.args[0] > widest):
        raise UserError(f"reduce_agg takes no state of type {kind}.", Outcome.NODE, rule="types")
    joined = c.body(nodes[3], [Typed("NULL", kind), Typed("NULL", kind)], scope)
    if common([kind, joined.type]) != kind:
        raise unfit(f"The states of reduce_agg are joined to {joined.type}, not {kind}.")
    text = f"list_transform([{items}], lambda q: CASE WHEN q IS NOT NULL THEN {folded} END)[1]"
    return Typed(text, kind)


def _folded(
    c: Compiler, items: str, element: TrinoType, start: Typed, step: exp.Expr, scope: Any
) -> tuple[str, TrinoType]:
    """The last state and its type, to which the first is coerced.

    DuckDB wants the state to be of the elements' type: both are fields of a struct.
    """
    s, x = c.fresh(), c.fresh()
    kind = start.type
    for _ in range(2):
        given = [Typed(f"{s}['s']", kind), _item(f"{x}['x']", element)]
        following = c.body(step, given, scope)
        wider = common([kind, following.type])
        if wider == kind:
            break
        kind = wider or kind
    else:
        raise unfit(f"A step gives {following.type}, not {kind}.")
    both = f"STRUCT(s {kind.duckdb()}, x {element.duckdb()})"
    first = f"CAST({{'s': {cast_to(start, kind).sql}, 'x': NULL}} AS {both})"
    wrapped = f"list_transform({items}, lambda {x}: CAST({{'s': NULL, 'x': {x}}} AS {both}))"
    state = f"CAST({{'s': {cast_to(following, kind).sql}, 'x': NULL}} AS {both})"
    return f"list_reduce({wrapped}, lambda {s}, {x}: {state}, {first}).s", kind


def zip_with(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    left, one = _array(c, nodes[0], scope, "zip_with")
    right, two = _array(c, nodes[1], scope, "zip_with")
    p = c.fresh()
    body = c.body(nodes[2], [_item(f"{p}[1]", one), _item(f"{p}[2]", two)], scope)
    zipped = f"CASE WHEN {left} IS NOT NULL AND {right} IS NOT NULL THEN list_zip({left}, {right}) END"
    return Typed(f"list_transform({zipped}, lambda {p}: {body.sql})", _of(body.type))


def _of_entry(c: Compiler, value: Typed) -> tuple[str, list[Typed]]:
    p = c.fresh()
    return p, [_item(f"{p}['key']", value.type.args[0]), _item(f"{p}['value']", value.type.args[1])]


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
    key = common([one.type.args[0], two.type.args[0]])
    if key is None:
        raise unfit("map_zip_with needs maps with keys of one type.")
    one, two = (cast_to(m, TrinoType("map", (key, m.type.args[1]))) for m in (one, two))
    p, both = c.fresh(), c.fresh()  # both maps stand outside of the lambda, which takes no subquery
    left, right = f"{both}['a']", f"{both}['b']"
    given = [
        _item(p, key),
        _item(f"element_at({left}, {p})[1]", one.type.args[1]),
        _item(f"element_at({right}, {p})[1]", two.type.args[1]),
    ]
    body = c.body(nodes[2], given, scope)
    keys = f"tr_union(map_keys({left}), map_keys({right}))"
    made = f"tr_map({keys}, list_transform({keys}, lambda {p}: {body.sql}))"
    text = f"list_transform([{{'a': {one.sql}, 'b': {two.sql}}}], lambda {both}: {made})[1]"
    return Typed(text, TrinoType("map", (key, body.type)))


def array_sort(c: Compiler, nodes: Sequence[exp.Expr], scope: Any) -> Typed:
    items, element = _array(c, nodes[0], scope, "array_sort")
    if len(nodes) > 1:
        raise UserError("array_sort with a comparison of its own is not available.", Outcome.NODE, rule="closed list")
    if element.name in ("map", "json"):
        raise unfit(f"array_sort cannot order {element}.")
    return Typed(f"list_sort({items}, 'ASC', 'NULLS LAST')", _of(element))


LAMBDAS: dict[str, tuple[Rule, int, int]] = {
    "transform": (transform, 2, 2), "filter": (filter_, 2, 2), "any_match": (_match("any"), 2, 2),
    "all_match": (_match("all"), 2, 2), "none_match": (_match("none"), 2, 2), "reduce": (reduce, 4, 4),
    "zip_with": (zip_with, 3, 3), "map_filter": (map_filter, 2, 2), "transform_keys": (transform_keys, 2, 2),
    "transform_values": (transform_values, 2, 2), "map_zip_with": (map_zip_with, 3, 3),
    "array_sort": (array_sort, 1, 2),
}  # fmt: skip
"""Trino name -> (rule, least and most arguments)."""
