"""An analyst's condition or number -> the closed form that a source may be asked (`connectors.base`).

Only what the source computes exactly as Trino (`Capabilities`) and only unmasked columns: `Resolve` knows no other.
Everything else has no such form, and stays in the residual query.

Proof of `condition`: each leaf is one that `Capabilities` names, so it is true of the same rows in the source as in
Trino. AND and OR are monotone, so what they build is true of the same rows too, whether a leaf that is not true is
false or unknown. NOT is not monotone: it has no form, and is carried to the leaves first, where it turns each into
its opposite (`a < b` into `a >= b`; both are unknown where a or b is NULL). For doubles that does not hold, of which
NaN is neither less nor greater nor equal: those stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Literal

from sqlglot import exp

from catalog.duck.typing import common, session_zone
from catalog.types import BIGINT, TrinoType
from connectors.agent.moments import local_of, moment_of
from connectors.allowed import MAX_PATTERN, never_raises, result_of, same_family, widens
from connectors.base import (
    AllOf,
    AnyOf,
    Arithmetic,
    Capabilities,
    Case,
    CompareOp,
    Comparison,
    Computed,
    Condition,
    Expression,
    Like,
    Number,
    Op,
    Predicate,
    Value,
)

__all__ = ["COMPARES", "FLIPPED", "Lower", "Named", "Resolve", "value_of", "values_of"]

COMPARES: dict[type[exp.Expr], CompareOp] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
FLIPPED: dict[CompareOp, CompareOp] = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPPOSITE: dict[CompareOp, CompareOp] = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_ARITHMETIC: dict[type[exp.Expr], Literal["+", "-", "*"]] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_COMPUTED = tuple(_ARITHMETIC)
NOT_IN = 50
"""Values of a NOT IN, which goes down as so many `<>`."""


@dataclass(frozen=True)
class Named:
    """A column as the source is to be told of it, and its published type."""

    name: str
    type: TrinoType


Resolve = Callable[[exp.Expr | None], Named | None]
"""The unmasked column that a node names, None for anything else."""


@dataclass(frozen=True)
class Lower:
    """resolve: what is in sight. allowed: of the source."""

    resolve: Resolve
    allowed: Capabilities

    # -- conditions

    def condition(self, node: exp.Expr, negated: bool = False) -> Condition | None:
        """The condition [or its opposite], None if it has no closed form."""
        match node:
            case exp.Paren():
                return self.condition(node.this, negated)
            case exp.Not():
                return self.condition(node.this, not negated)
            case exp.And() | exp.Or():
                sides = [self.condition(side, negated) for side in (node.this, node.expression)]
                known = [side for side in sides if side is not None]
                if len(known) < 2:
                    return None
                kind = AllOf if isinstance(node, exp.And) is not negated else AnyOf
                # Flat: a source has a limit of its own on how deep a condition is nested.
                return kind(tuple(p for side in known for p in (side.parts if isinstance(side, kind) else (side,))))
            case exp.Between():
                return self._between(node, negated)
            case exp.In():
                return self._in(node, negated)
            case exp.Is():
                return self._is_null(node, negated)
            case exp.Like():
                return self._like(node.this, node.expression, bool(node.args.get("negate")) is not negated)
        return self._compare(node, negated) if type(node) in COMPARES else None

    def _compare(self, node: exp.Expr, negated: bool) -> Condition | None:
        op = COMPARES[type(node)]
        if isinstance(node.this, exp.Substring) and op in ("=", "<>"):
            return self._prefix(node.this, node.expression, (op == "<>") is not negated)
        left, right = self.resolve(node.this), self.resolve(node.expression)
        if left is not None and right is not None:
            if left.type.name not in self.allowed.compares or not same_family(left.type, right.type):
                return None
            return Comparison(left.name, _OPPOSITE[op] if negated else op, right.name)
        found = None
        if left is not None:
            found = self._predicate(left, op, [node.expression], negated)
        elif right is not None:
            found = self._predicate(right, FLIPPED[op], [node.this], negated)
        return self._computed(node, _OPPOSITE[op] if negated else op) if found is None else found

    def _computed(self, node: exp.Expr, op: CompareOp) -> Condition | None:
        """Numbers that are compared by what is computed of columns: `quantity < 0.2 * mean`."""
        sides = (node.this.unnest(), node.expression.unnest())
        if not self.allowed.computes or not any(isinstance(side, _COMPUTED) for side in sides):
            return None
        left, right = self.expression(node.this), self.expression(node.expression)
        if left is None or right is None or not (never_raises(left[0]) and never_raises(right[0])):
            return None
        if not (left[1].is_exact and right[1].is_exact):
            return None
        return Computed(left[0], op, right[0])

    def _predicate(
        self, column: Named, op: Op, literals: Sequence[exp.Expr], negated: bool = False
    ) -> Condition | None:
        if negated:
            if column.type.name in ("double", "real"):
                return None
            op = _OPPOSITE[op]  # type: ignore[index]
        values = values_of(literals, column.type)
        texts = all("\0" not in v for v in values or () if isinstance(v, str))
        allowed = column.type.name in self.allowed.predicates.get(op, frozenset())
        return Predicate(column.name, op, values) if allowed and texts and values is not None else None

    def _between(self, node: exp.Between, negated: bool) -> Condition | None:
        if {k for k, v in node.args.items() if v} != {"this", "low", "high"}:
            return None
        if _are_mixed((node.args["low"], node.args["high"])):
            return None
        low = exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())
        high = exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())
        return self.condition(exp.And(this=low, expression=high), negated)

    def _in(self, node: exp.In, negated: bool) -> Condition | None:
        column = self.resolve(node.this)
        listed = node.expressions
        if isinstance(node.this, exp.Substring) and 0 < len(listed) <= NOT_IN and not node.args.get("query"):
            likes = [self._prefix(node.this, value, negated) for value in listed]
            begins = tuple(like for like in likes if like is not None)
            if len(begins) < len(likes):
                return None
            return AllOf(begins) if negated else AnyOf(begins)
        if column is None or not listed or node.args.get("query"):
            return None
        if not negated:
            return self._predicate(column, "in", listed)
        parts = tuple(self._predicate(column, "=", [v], negated=True) for v in listed[: NOT_IN + 1])
        known = tuple(p for p in parts if p is not None)
        return AllOf(known) if len(known) == len(listed) else None

    def _is_null(self, node: exp.Is, negated: bool) -> Condition | None:
        column = self.resolve(node.this)
        if column is None or not isinstance(node.expression, exp.Null):
            return None
        return self._predicate(column, "is not null" if negated else "is null", [])

    def _prefix(self, node: exp.Substring, text: exp.Expr, negated: bool) -> Condition | None:
        """`substr(column, 1, n) = text`, or its opposite, as LIKE: what that many characters begin with.

        Proof: a value whose first n characters are a text of n characters is one that begins with it, and the other
        way round; a shorter value does neither. Both are unknown for NULL alone. No character of the text is one
        that LIKE reads in its own way.
        """
        first, length = node.args.get("start"), node.args.get("length")
        if first != exp.Literal.number(1) or not isinstance(text, exp.Literal) or not text.is_string:
            return None
        if length != exp.Literal.number(len(text.name)) or set("%_") & set(text.name):
            return None
        return self._like(node.this, exp.Literal.string(f"{text.name}%"), negated)

    def _like(self, node: exp.Expr, pattern: exp.Expr, negated: bool) -> Condition | None:
        column = self.resolve(node)
        if column is None or not isinstance(pattern, exp.Literal) or not pattern.is_string:
            return None
        if self.allowed.likes is None or set(self.allowed.likes) & set(pattern.name) or "\0" in pattern.name:
            return None
        if column.type.name != "varchar" or len(pattern.name) > MAX_PATTERN:
            return None
        return Like(column.name, pattern.name, negated)

    # -- numbers

    def expression(self, node: exp.Expr | None) -> tuple[Expression, TrinoType] | None:
        """An exact number and its type, None if it has no closed form.

        Proof: + - * of numbers of which one is a decimal have Trino's type (`result_of`) and are exact in the
        source, or an error, up to as many digits as `Capabilities` says. Whole numbers alone stay: each source
        overflows in its own way.
        """
        match node:
            case exp.Paren():
                return self.expression(node.this)
            case exp.Column():
                found = self.resolve(node)
                return None if found is None else (found.name, found.type)
            case exp.Literal() | exp.Neg():
                return _number(node)
            case exp.Add() | exp.Sub() | exp.Mul():
                return self._arithmetic(node)
            case exp.Case():
                return self._case(node)
        return None

    def _arithmetic(self, node: exp.Binary) -> tuple[Expression, TrinoType] | None:
        left, right = self.expression(node.this), self.expression(node.expression)
        if left is None or right is None:
            return None
        op = _ARITHMETIC[type(node)]
        kind = result_of(op, left[1], right[1])
        if kind is None or kind.args[0] > self.allowed.arithmetic:
            return None
        return Arithmetic(op, left[0], right[0], kind), kind

    def _case(self, node: exp.Case) -> tuple[Expression, TrinoType] | None:
        if node.this is not None:
            return None
        whens = [self.condition(branch.this) for branch in node.args["ifs"]]
        thens = [self.expression(branch.args["true"]) for branch in node.args["ifs"]]
        default = node.args.get("default")
        last = None if default is None else self.expression(default)
        if None in whens or None in thens or (default is not None and last is None):
            return None
        kind = common([t[1] for t in [*thens, last] if t is not None])
        if kind is None or not kind.is_exact:
            return None
        found: Expression | None = None if last is None else last[0]
        for when, then in zip(reversed(whens), reversed(thens), strict=True):
            if when is None or then is None or not widens(then[1], kind):
                return None
            found = Case(when, then[0], found, kind)
        return None if found is None else (found, kind)


def _number(node: exp.Expr) -> tuple[Expression, TrinoType] | None:
    """A literal in Trino's type for it."""
    sign = ""
    if isinstance(node, exp.Neg):
        node, sign = node.this, "-"
    if not isinstance(node, exp.Literal) or node.is_string:
        return None
    text = node.name
    if re.fullmatch(r"[0-9]{1,18}", text):
        kind = TrinoType("integer") if int(text) < 2**31 else BIGINT
        return Number(int(sign + text), kind), kind
    if not re.fullmatch(r"[0-9]+\.[0-9]*|\.[0-9]+", text):
        return None
    whole, _, fraction = text.partition(".")
    digits = len(whole.lstrip("0")) + len(fraction)
    if digits > 38:
        return None
    kind = TrinoType("decimal", (max(digits, 1), len(fraction)))
    return Number(Decimal(sign + text), kind), kind


def values_of(nodes: Sequence[exp.Expr], kind: TrinoType) -> tuple[Value, ...] | None:
    """What a column is compared with together as values of exactly `kind`, None if that is not what they are."""
    found = [value_of(node, kind) for node in nodes]
    known = tuple(v for v in found if v is not None)
    return known if len(known) == len(found) and not _are_mixed(nodes) else None


def _are_mixed(nodes: Sequence[exp.Expr]) -> bool:
    """Whether some have a zone and some have none: all are compared as moments then, and so is the column."""
    bare = [node.unnest() for node in nodes]
    return len({isinstance(node, exp.Cast) and node.to.is_type(exp.DType.TIMESTAMPTZ) for node in bare}) > 1


def value_of(node: exp.Expr, kind: TrinoType) -> Value | None:
    """A literal as a value of exactly `kind`, None if it is no such literal."""
    if isinstance(node, exp.Paren):
        return value_of(node.this, kind)
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.this.is_string:
        return _moment(node, kind)
    if type(node) in _ARITHMETIC:
        whole = _whole(node)
        return None if whole is None else value_of(exp.Literal.number(whole), kind)
    sign = ""
    if isinstance(node, exp.Neg):
        node, sign = node.this, "-"
    if isinstance(node, exp.Boolean) and kind.name == "boolean" and not sign:
        return bool(node.this)
    if not isinstance(node, exp.Literal):
        return None
    text = sign + node.name
    if node.is_string:
        return node.name if kind.is_text and not sign else None
    try:
        if kind.is_integer:
            return int(text) if text.lstrip("-").isdigit() and abs(int(text)) < 2**63 else None
        if kind.name == "decimal":
            return Decimal(text) if "e" not in text.lower() else None
        if kind.name == "double":
            exact = "e" in text.lower() or abs(int(text)) < 2**53
            return float(text) if exact and isfinite(float(text)) else None
    except (ValueError, InvalidOperation):
        return None
    return None


def _whole(node: exp.Expr) -> int | None:
    """The value of + - * over literals of type integer, None if it is no such thing or overflows, which is an error."""
    match node:
        case exp.Paren():
            return _whole(node.this)
        case exp.Literal() if not node.is_string and re.fullmatch(r"[0-9]{1,10}", node.name):
            found = int(node.name)
        case exp.Add() | exp.Sub() | exp.Mul():
            left, right = _whole(node.this), _whole(node.expression)
            if left is None or right is None:
                return None
            found = {exp.Add: left + right, exp.Sub: left - right, exp.Mul: left * right}[type(node)]
        case _:
            return None
    return found if -(2**31) <= found < 2**31 else None


_MOMENTS = (exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ)


def _is_rounded(node: exp.Cast) -> bool:
    """Whether a text has more digits of a second than the type that it is cast to: 3 where it names none."""
    digits = node.args["to"].expressions
    known = int(digits[0].name) if digits else 3
    return len(re.split("[^0-9]", node.this.name.partition(".")[2])[0]) > known


def _moment(node: exp.Cast, kind: TrinoType) -> Value | None:
    target = node.args["to"].this
    if target not in _MOMENTS or _is_rounded(node):
        return None
    if kind.name == "timestamp" and target == exp.DType.TIMESTAMPTZ:
        return local_of(node.this.name, session_zone())
    if kind.name == "timestamp with time zone":
        zoned = target == exp.DType.TIMESTAMPTZ
        local = None if zoned else _moment(node, TrinoType("timestamp", (6,)))
        text = node.this.name if zoned else f"{local} {session_zone()}"
        return moment_of(text) if zoned or local is not None else None
    # Only the plain spelling goes down; the residual query knows the others.
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9:]+([.][0-9]{1,6})?)?", node.this.name):
        return None
    try:
        if target == exp.DType.DATE:
            day = date.fromisoformat(node.this.name)
            if kind.name == "timestamp":  # to which a date is coerced: its midnight
                return datetime.combine(day, datetime.min.time())
            return day if kind.name == "date" else None
        if kind.name == "timestamp" and target == exp.DType.TIMESTAMP:
            found = datetime.fromisoformat(node.this.name)
            return found if found.tzinfo is None else None
    except ValueError:
        return None
    return None
