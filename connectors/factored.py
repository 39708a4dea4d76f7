"""Sums of products, multiplied once a group: where a source's arithmetic costs more than its grouping.

    sum(price * (1 - discount)) by flag     ->     sum(s * (1 - discount)) by flag over
                                                   (sum(price) AS s by flag, discount)

There are eleven discounts, so the product is made some dozens of times instead of millions. PostgreSQL needs half the
time for TPC-H's q01 so. Whether there are few is for the source to say (`postgres.FEW_GROUPS`).

Proof. Let c be the column that is summed, f the rest of the product, L the columns of f. Rows of a group of (keys, L)
have one f, and decimals are exact: their products add up to f times the sum of their c. A NULL in c or f makes the
row's product NULL, which no sum counts: here c takes no part in s, or f is NULL and so is the group's product. A group
of keys is the union of its groups of (keys, L), so its sum is the sum of theirs, its count that of theirs, its minimum
the least of theirs. What Trino refuses is refused: where c * f might be too large for its type, f is held to the
digits that c, of its declared type, leaves to it (`_held`). Then no row overflows here that would have there; an f
that large is an error even where c happens to be small. Without keys nothing is factored: a count of no rows is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from catalog.duck.typing import decimal_of
from catalog.types import BIGINT, TrinoType
from connectors.allowed import result_of
from connectors.base import (
    Aggregate,
    AggregateFunction,
    Arithmetic,
    Capabilities,
    Case,
    Expression,
    GroupKey,
    NativeScan,
    Number,
    Predicate,
)

__all__ = ["factored"]


def factored(scan: NativeScan, allowed: Capabilities) -> NativeScan | None:
    """The same scan in two steps, the inner one `parts[0]` of the outer; None if it has no sum of products."""
    products = [_factors(a.value) for a in scan.aggregates if a.function == "sum" and _is_product(a.value)]
    if not products or not scan.group_by or any(a.distinct or a.function == "avg" for a in scan.aggregates):
        return None
    summed = [c for c in products[0] if isinstance(c, str) and all(p.count(c) == 1 for p in products)]
    for column in summed:
        light = tuple(dict.fromkeys(n for p in products for f in p if f != column for n in _columns(f)))
        fits = all(n in scan.types and scan.types[n].name in allowed.group_types for n in light)
        if light and column not in light and fits:
            steps = _Steps(scan, column, light)
            outer = [steps.outer(aggregate) for aggregate in scan.aggregates]
            known = tuple(a for a in outer if a is not None)
            return steps.scan(known) if len(known) == len(outer) else None
    return None


def _is_product(value: Expression | None) -> bool:
    return isinstance(value, Arithmetic) and value.op == "*"


def _factors(value: Expression | None) -> list[Expression]:
    if isinstance(value, Arithmetic) and value.op == "*":
        return [*_factors(value.left), *_factors(value.right)]
    return [] if value is None else [value]


def _columns(value: Expression) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Arithmetic(_, left, right):
            yield from _columns(left)
            yield from _columns(right)
        case Case():
            yield ""  # has conditions too: names no column that could be a key


@dataclass
class _Steps:
    """summed: c. light: L. inner aggregates by what they compute, so that equal ones stand once."""

    original: NativeScan
    summed: str
    light: tuple[str, ...]
    inner: dict[tuple[AggregateFunction, Expression | None], Aggregate] = field(default_factory=dict)

    def outer(self, aggregate: Aggregate) -> Aggregate | None:
        """The aggregate over the inner groups, None if it can't be put together from theirs."""
        value, function = aggregate.value, aggregate.function
        if function == "sum" and _is_product(value):
            product = self._product(value)
            return None if product is None else replace(aggregate, value=product)
        if isinstance(value, str) and value in self.light and function in ("sum", "count"):
            found = self._of_light(aggregate, value)
            if found is not None:
                return found
        if function == "sum" and not isinstance(value, str):
            return None
        part = self._part(function, value, aggregate.type)
        return replace(aggregate, function="sum" if function == "count" else function, value=part.name)

    def _of_light(self, aggregate: Aggregate, column: str) -> Aggregate | None:
        """A count, or sum of decimals, of a column that is one in each inner group: it and how many rows that has."""
        rows, key = self._part("count", None, BIGINT).name, self._key(column)
        if aggregate.function == "count":
            there = Case(Predicate(key, "is not null"), rows, Number(0, BIGINT), BIGINT)
            return replace(aggregate, function="sum", value=there)
        kind = result_of("*", self.original.types[column], BIGINT)
        return None if kind is None else replace(aggregate, value=Arithmetic("*", key, rows, kind))

    def _product(self, value: Expression | None) -> Expression | None:
        assert isinstance(value, Arithmetic)
        kind = self.original.types[self.summed]
        whole = TrinoType("decimal", (38, kind.args[1])) if kind.name == "decimal" else None
        if whole is None:
            return None
        others = [self._moved(f) for f in _factors(value) if f != self.summed]
        rest, first = others[0], self._kind(others[0])
        for other in others[1:]:
            made = None if first is None else result_of("*", first, self._kind(other) or first)
            if made is None:
                return None
            rest, first = Arithmetic("*", rest, other, made), made
        held = self._held(rest, value.type)
        result = None if held is None else result_of("*", whole, self._kind(held) or whole)
        if held is None or result is None or result.args[1] != value.type.args[1]:
            return None
        return Arithmetic("*", self._part("sum", self.summed, whole).name, held, result)

    def _held(self, rest: Expression, product: TrinoType) -> Expression | None:
        """f, refused where c * f might not fit the product's type; None if f has no type that could be held so."""
        kind = self._kind(rest)
        c, f = decimal_of(self.original.types[self.summed]), None if kind is None else decimal_of(kind)
        if c is None or f is None:
            return None
        room = product.args[0] - product.args[1] - (c[0] - c[1])
        if f[0] - f[1] <= room:
            return rest
        if not isinstance(rest, Arithmetic) or room < 1:
            return None
        return replace(rest, type=TrinoType("decimal", (room + f[1], f[1])))

    def _moved(self, value: Expression) -> Expression:
        match value:
            case str():
                return self._key(value)
            case Arithmetic():
                return replace(value, left=self._moved(value.left), right=self._moved(value.right))
        return value

    def _kind(self, value: Expression) -> TrinoType | None:
        """The type of an expression over inner keys."""
        if not isinstance(value, str):
            return value.type
        return self.original.types[self.light[int(value.removeprefix("l"))]]

    def _key(self, column: str) -> str:
        return f"l{self.light.index(column)}"

    def _part(self, function: AggregateFunction, value: Expression | None, kind: TrinoType) -> Aggregate:
        return self.inner.setdefault((function, value), Aggregate(function, value, kind, f"s{len(self.inner)}"))

    def scan(self, aggregates: tuple[Aggregate, ...]) -> NativeScan:
        original = self.original
        own = tuple(replace(k, name=f"k{i}") for i, k in enumerate(original.group_by))
        light = tuple(GroupKey(c, original.types[c], self._key(c)) for c in self.light)
        inner = replace(original, group_by=own + light, aggregates=tuple(self.inner.values()), query_id="")
        keys = tuple(GroupKey(k.name, k.type, o.name) for k, o in zip(own, original.group_by, strict=True))
        return NativeScan(
            (inner,), False, dict(inner.outputs), group_by=keys, aggregates=aggregates, query_id=original.query_id
        )
