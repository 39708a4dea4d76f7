"""Groups of few rows, what is counted and summed of them, and their order.

    groups = grouped(keys, count)        which rows have equal keys
    call = read_call(node, find)         an aggregate, and the type that the engine gives it
    cells = call.cells(column, groups)   its value for each group

Proof. NULLs are one group; else keys are equal where Python's values are. Without GROUP BY all rows are one group, also
if there are none. SUM, MIN and MAX skip NULLs and are NULL of nothing else; COUNT(column) counts what is no NULL. Sums
are of whole numbers here, of integers or of the smallest units of decimals: exact in any order. Their type is bigint or
decimal(38, scale); one that does not fit is an error, and the engine's to tell. Those of few decimals of 64 bits fit,
and have fitted on the way. COALESCE(SUM(..), 0) has the sum's type, which holds 0. A quotient by a literal has the type
that `catalog.duck.typing` gives it, and is rounded half away from zero. NULLs stand where ORDER BY says, in both
directions; rows that it leaves equal may come in any order.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlglot import exp

from catalog.duck.typing import Typed, arithmetic, decimal_of
from catalog.types import BIGINT, INTEGER, TrinoType
from gateway.merge.conditions import DIGITS, Find, OtherShape, Place, ReadColumn, number, only

__all__ = ["Call", "Groups", "Order", "arranged", "grouped", "keys_of", "read_call"]


class Order(NamedTuple):
    """key: the number of an output, or a column."""

    key: int | Place
    is_descending: bool
    nulls_first: bool


class Groups(NamedTuple):
    """Groups, named by their first rows. of: that of each row. first: all of them."""

    of: Sequence[int]
    first: Sequence[int]


@dataclass(frozen=True, slots=True)
class Call:
    """An aggregate. place: of its column, None for COUNT(*). kind: its type. most: what the size of a sum stays below.
    zero: whether 0 stands for NULL. quotient: what the sum is multiplied by and divided by."""

    function: type[exp.Expr]
    place: Place | None
    kind: TrinoType
    most: int = 0
    zero: bool = False
    quotient: tuple[int, int] | None = None

    @property
    def takes_a_row(self) -> bool:
        return self.function in (exp.Min, exp.Max)

    def cells(self, column: ReadColumn, groups: Groups) -> list[int | None]:
        """One a group: a number, units of a decimal, or a row that has the value; None for NULL. Raises OtherShape."""
        found = None if self.place is None else column(self.place)
        if found is not None and self.takes_a_row:
            return _extremes(found, groups, operator.lt if self.function is exp.Min else operator.gt)
        if self.function is exp.Count:
            counts = Counter(g for k, g in enumerate(groups.of) if found is None or found[k] is not None)
            return [counts[g] for g in groups.first]
        assert found is not None
        totals: dict[int, int] = {}
        for g, value in zip(groups.of, found, strict=True):
            if value is not None:
                totals[g] = totals.get(g, 0) + value
        if any(abs(total) >= self.most for total in totals.values()):
            raise OtherShape
        if self.quotient:
            totals = {g: self._divided(total) for g, total in totals.items()}
        return [totals.get(g, 0 if self.zero else None) for g in groups.first]

    def _divided(self, total: int) -> int:
        assert self.quotient is not None
        times, divisor = self.quotient
        size = abs(total) * times
        nearest = (2 * size + divisor) // (2 * divisor)
        if size >= 10**DIGITS or nearest >= 10 ** self.kind.args[0]:
            raise OtherShape
        return nearest if total >= 0 else -nearest


def read_call(node: exp.Expr, find: Find) -> Call:
    """COUNT, SUM, MIN or MAX of a column, `COUNT(*)`, `COALESCE(SUM(..), 0)`, `SUM(..) / 7.0`. Raises OtherShape."""
    if isinstance(node, exp.Div):
        only(node, "this", "expression", "typed", "safe")
        return _quotient(read_call(node.this, find), node.expression)
    if isinstance(node, exp.Coalesce):
        only(node, "this", "expressions")
        call = read_call(node.this, find)
        if call.function is not exp.Sum or call.quotient or [number(n) for n in node.expressions] != [(0, INTEGER)]:
            raise OtherShape
        return replace(call, zero=True)
    if not isinstance(node, (exp.Count, exp.Sum, exp.Min, exp.Max)):
        raise OtherShape
    only(node, "this", "big_int")
    if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
        only(node.this)
        return Call(exp.Count, None, BIGINT)
    place, kind = find(node.this)
    if isinstance(node, exp.Count):
        return Call(exp.Count, place, BIGINT)
    if isinstance(node, exp.Sum):
        if kind.is_integer:
            return Call(exp.Sum, place, BIGINT, 1 << 63)
        if kind.name != "decimal":
            raise OtherShape
        return Call(exp.Sum, place, TrinoType("decimal", (DIGITS, kind.args[1])), 10**DIGITS)
    if kind.name == "boolean":
        raise OtherShape
    return Call(type(node), place, kind)


def _quotient(call: Call, node: exp.Expr) -> Call:
    units, its = number(node)
    if call.function is not exp.Sum or call.quotient or units <= 0:
        raise OtherShape
    kind = arithmetic("/", Typed("", call.kind), Typed("", its)).type
    (_, one), (_, other) = decimal_of(call.kind) or (0, 0), decimal_of(its) or (0, 0)
    if kind.name != "decimal":  # whole numbers are divided in another way
        raise OtherShape
    return replace(call, kind=kind, quotient=(10 ** (kind.args[1] - one + other), units))


def grouped(keys: Sequence[Sequence[Any]], count: int) -> Groups:
    """Groups of the rows that have equal keys; without any key all `count` rows are one, also if there are none."""
    if not keys:
        return Groups([0] * count, [0])
    first: dict[Any, int] = {}
    of = [first.setdefault(key, k) for k, key in enumerate(keys_of(keys, count))]
    return Groups(of, list(first.values()))


def _extremes(found: Sequence[Any], groups: Groups, is_before: Callable[[Any, Any], bool]) -> list[int | None]:
    rows: dict[int, int] = {}
    for k, g in enumerate(groups.of):
        if found[k] is not None and (g not in rows or is_before(found[k], found[rows[g]])):
            rows[g] = k
    return [rows.get(g) for g in groups.first]


def keys_of(columns: Sequence[Sequence[Any]], count: int) -> Iterable[Any]:
    """What stands in these columns, for each of `count` rows."""
    if len(columns) == 1:
        return columns[0]
    return zip(*columns, strict=True) if columns else [()] * count


def arranged(keys: Sequence[Sequence[Any]], order: Sequence[Order], count: int) -> list[int]:
    """Numbers of `count` rows in their order, by a column of values for each part of it."""
    found = list(range(count))
    for values, (_, is_descending, nulls_first) in zip(reversed(keys), reversed(order), strict=True):
        nulls = [k for k in found if values[k] is None]
        rest = sorted((k for k in found if values[k] is not None), key=values.__getitem__, reverse=is_descending)
        found = nulls + rest if nulls_first else rest + nulls
    return found
