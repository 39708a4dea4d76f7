"""Decision tables: how the city's standards map what departments file, as data (`mappings.yaml`).

A city table calls a mapping by name, `litres_per_unit(m.unit, m.month)`, as if it were a function.
`expand` replaces each call by a CASE expression in Trino's dialect, whose factors pint computed once
from `units.txt` with exact decimals; no value is ever converted one by one. What no row of a mapping
covers is NULL, which is what a city table's count of unmapped rows looks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict
from sqlglot import exp

from catalog.relation import TypeText
from catalog.types import TrinoType

__all__ = ["Mapping", "Period", "Row", "expand", "factor", "mappings"]

_HERE = Path(__file__).parent
_CALENDAR = {"date": "DATE", "timestamp": "TIMESTAMP"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Period(_Model):
    """Half-open: `from` <= input < `before`; one of the two may be missing."""

    from_: date | int | None = None
    before: date | int | None = None

    @classmethod
    def read(cls, value: dict[str, Any]) -> Period:
        """`{from: .., before: ..}` as YAML gives it. Raises ValueError for other keys or none."""
        if not value or not value.keys() <= {"from", "before"}:
            raise ValueError(f"a period says `from`, `before` or both, not {sorted(value)}")
        return cls(from_=value.get("from"), before=value.get("before"))


class Row(_Model):
    """One row: `when` all of these hold, the result is convert x value x by (those that are given)."""

    when: dict[str, Any] = {}
    convert: str = ""
    value: str | int | None = None
    by: str = ""


class Mapping(_Model):
    """One decision table; the first row whose conditions hold decides."""

    name: str
    about: str
    inputs: dict[str, TypeText]
    result: TypeText
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Call:
    """A call of a mapping: its arguments by input name."""

    mapping: Mapping
    arguments: dict[str, exp.Expr]

    def case(self) -> exp.Expr:
        """The CASE expression, or the bare result of a mapping that has one unconditional row."""
        rows = self.mapping.rows
        if len(rows) == 1 and not rows[0].when:
            return self._result(rows[0])
        case = exp.Case()
        for row in rows:
            conditions = [self._condition(name, wanted) for name, wanted in row.when.items()]
            case = case.when(exp.and_(*conditions), self._result(row), copy=False)
        # a literal's own type is as long as the text; the mapping's is the declared one
        return exp.cast(case, self.mapping.result.sqlglot()) if self.mapping.result.is_text else case

    def _argument(self, name: str) -> exp.Expr:
        if name not in self.arguments:
            raise ValueError(f"mapping {self.mapping.name}: {name!r} is not one of its inputs")
        return self.arguments[name].copy()

    def _condition(self, name: str, wanted: Any) -> exp.Expr:
        argument, kind = self._argument(name), self.mapping.inputs[name]
        if isinstance(wanted, dict):
            period = Period.read(wanted)
            bounds: list[exp.Expr] = []
            if period.from_ is not None:
                bounds.append(exp.GTE(this=argument, expression=_literal(period.from_, kind)))
            if period.before is not None:
                bounds.append(exp.LT(this=argument.copy(), expression=_literal(period.before, kind)))
            return exp.and_(*bounds)
        if isinstance(wanted, list):
            return exp.In(this=argument, expressions=[_literal(value, kind) for value in wanted])
        return exp.EQ(this=argument, expression=_literal(wanted, kind))

    def _result(self, row: Row) -> exp.Expr:
        kind = self.mapping.result
        if kind.is_text:
            return exp.Literal.string(str(row.value))
        number = Decimal(row.value) if row.value is not None else Decimal(1)
        if row.convert:
            number *= factor(row.convert)
        if kind.is_integer:
            return exp.Literal.number(int(number))
        if not row.by:
            return exp.cast(_number(_fitting(number, kind)), kind.sqlglot(), dialect="trino")
        product: exp.Expr = self._argument(row.by)
        if number != 1:
            product = exp.Mul(this=product, expression=_number(number))
        return exp.cast(product, kind.sqlglot(), dialect="trino")


def expand(query: exp.Expr) -> exp.Expr:
    """Replace every call of a mapping in a Trino query, in place. Raises ValueError for unknown functions.

    An argument is repeated in the CASE, so it should be a column, as it is everywhere in `tables/`.
    """
    known = mappings()
    for call in list(query.find_all(exp.Anonymous)):
        mapping = known.get(call.name.lower())
        if mapping is None:
            raise ValueError(f"{call.name!r} is neither a function that city tables may use nor a mapping")
        arguments = list(call.expressions)
        if len(arguments) != len(mapping.inputs):
            raise ValueError(f"mapping {mapping.name} takes {', '.join(mapping.inputs) or 'no arguments'}")
        call.replace(_Call(mapping, dict(zip(mapping.inputs, arguments, strict=True))).case())
    return query


@cache
def mappings() -> dict[str, Mapping]:
    """All mappings by name. Raises ValueError (pydantic's) if `mappings.yaml` is not what it must be."""
    raw = yaml.safe_load((_HERE / "mappings.yaml").read_text(encoding="utf-8"))
    return {name: Mapping(name=name, **table) for name, table in raw.items()}


@cache
def factor(conversion: str) -> Decimal:
    """The exact factor of `unit -> unit`. Raises ValueError for unknown or incompatible units."""
    import pint  # late: 0.1 s of every start, for what only a city table needs

    source, arrow, target = conversion.partition(" -> ")
    if not arrow:
        raise ValueError(f"{conversion!r} is not of the form `unit -> unit`")
    try:
        magnitude = _registry().Quantity(Decimal(1), source).to(target).magnitude
    except (pint.UndefinedUnitError, pint.DimensionalityError) as bad:
        raise ValueError(f"{conversion!r}: {bad}") from bad
    return Decimal(magnitude)


@cache
def _registry() -> Any:
    import pint  # as above

    return pint.UnitRegistry(str(_HERE / "units.txt"), non_int_type=Decimal)


def _fitting(number: Decimal, kind: TrinoType) -> Decimal:
    """The number itself. Raises ValueError if a decimal type would round or overflow it."""
    precision, scale = kind.args
    if number != number.quantize(Decimal(1).scaleb(-scale)) or abs(number) >= Decimal(10) ** (precision - scale):
        raise ValueError(f"{number} does not fit {kind}")
    return number


def _number(number: Decimal) -> exp.Expr:
    return exp.Literal.number(f"{number:f}")


def _literal(value: Any, kind: TrinoType) -> exp.Expr:
    """A literal of an input's type, in the spelling that every dialect reads the same."""
    word: Literal["DATE", "TIMESTAMP"] | None = _CALENDAR.get(kind.name)  # type: ignore[assignment]
    if word:
        text = value.isoformat() if word == "DATE" else f"{value.isoformat()} 00:00:00"
        return exp.cast(exp.Literal.string(text), kind.sqlglot(), dialect="trino")
    if kind.is_text:
        return exp.Literal.string(str(value))
    return exp.Literal.number(value)
