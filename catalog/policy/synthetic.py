"""What an owner may say of generated rows: the values of `synthetic`, in the types of their columns.

typed(value, kind)          a value of department.yaml in a column's type; ValueError says what is wrong
places(format)              how many different texts a format gives
synthetic_faults(...)       every mistake in the `synthetic` keys of a policy
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from catalog.policy.faults import Fault, nearest
from catalog.policy.models import ColumnSpec, Department, RelationSpec, StandIn
from catalog.types import TrinoType

__all__ = ["ALPHABETS", "RANGED", "default_format", "is_joined", "places", "synthetic_faults", "typed"]

ALPHABETS = {"#": "0123456789", "@": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "?": "abcdefghijklmnopqrstuvwxyz"}
"""The signs of a format that stand for others."""
RANGED = ("tinyint", "smallint", "integer", "bigint", "decimal", "real", "double", "date", "timestamp")
_BITS = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}
_TEXTS = ("varchar", "char", "json", "uuid", "ipaddress")

Path = tuple[str | int, ...]


def typed(value: Any, kind: TrinoType) -> Any:
    """A value as YAML gives it, in the Python form of a column's type; None stays None. Raises ValueError."""
    if value is None:
        return None
    found = _typed(value, kind)
    if found is None:
        raise ValueError(f"{value!r} is no value of type {kind}")
    return found


def _typed(value: Any, kind: TrinoType) -> Any:
    if kind.name in _TEXTS:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no text: write it in quotes")
        fits = kind.name not in ("varchar", "char") or not kind.args or len(value) <= kind.args[0]
        return value if fits else None
    if kind.name == "boolean":
        words: dict[Any, bool] = {"true": True, "false": False}
        return value if isinstance(value, bool) else words.get(value) if isinstance(value, str) else None
    try:
        return _number(value, kind) if kind.is_numeric else _moment(value, kind)
    except (ValueError, ArithmeticError, InvalidOperation):
        return None


def _number(value: Any, kind: TrinoType) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    exact = Decimal(str(value))
    if not exact.is_finite():
        return None
    if kind.is_integer:
        half = 2 ** (_BITS[kind.name] - 1)
        return int(exact) if exact == int(exact) and -half <= exact < half else None
    if kind.name == "decimal":
        precision, scale = kind.args
        shifted = exact.scaleb(scale)
        return exact if shifted == int(shifted) and abs(shifted) < 10**precision else None
    return float(exact)


def _moment(value: Any, kind: TrinoType) -> Any:
    if kind.name == "date":
        if isinstance(value, datetime):
            return None
        return value if isinstance(value, date) else date.fromisoformat(value) if isinstance(value, str) else None
    if kind.name == "time":
        return time.fromisoformat(value) if isinstance(value, str) else None
    if not kind.name.startswith("timestamp"):
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if not isinstance(value, datetime):
        return None
    zoned = kind.name == "timestamp with time zone"
    if zoned:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return value if value.tzinfo is None else None


def places(format_: str) -> int:
    """How many different texts a format gives."""
    count = 1
    for sign in format_:
        count *= len(ALPHABETS.get(sign, " "))
    return count


def default_format(domain: str) -> str:
    """The format of a domain's texts where none is given."""
    plain = "".join("." if sign in ALPHABETS else sign for sign in domain)
    return f"{plain or 'key'}-######"


def is_joined(column: ColumnSpec) -> bool:
    """Whether values are keys of a numbered list, and not drawn one by one."""
    given = column.synthetic
    return bool(given.domain or given.unique or given.format)


# ---- faults --------------------------------------------------------------------------------------------------


def synthetic_faults(department: Department) -> Iterator[Fault]:
    """Every mistake in `synthetic`, of columns and of relations."""
    for name, spec in department.relations.items():
        where: Path = ("relations", name)
        for column, found in spec.columns.items():
            for text in _column_faults(found, spec):
                yield Fault((*where, "columns", column, "synthetic"), text)
        yield from _example_faults(spec, (*where, "synthetic", "examples"))
        yield from _fit_faults(department, name, spec, (*where, "synthetic", "fit"))
        if any(g.mode == "synthetic" and g.relation == name for g in department.grants):
            yield from _code_faults(department, spec, where)


def _column_faults(column: ColumnSpec, spec: RelationSpec) -> Iterator[str]:
    given, kind = column.synthetic, column.type
    ways = [w for w in ("values", "range", "format") if getattr(given, w)]
    if len(ways) > 1:
        yield f"give one of {' and '.join(ways)}"
    if given.values and (given.domain or given.unique):
        yield "`values` are drawn one by one: leave out domain and unique"
    for value in given.values:
        yield from _said(value, kind)
    if given.range is not None:
        yield from _range_faults(given.range, kind)
    if given.format and kind.name not in ("varchar", "char"):
        yield f"a format is for text, not for {kind}"
    elif is_joined(column):
        yield from _key_faults(given, kind, spec)


def _range_faults(bounds: tuple[Any, Any], kind: TrinoType) -> Iterator[str]:
    wrong = [text for value in bounds for text in _said(value, kind)]
    if kind.name not in RANGED or None in bounds:
        wrong = [f"a range is of two numbers, dates or timestamps; {kind} has none"]
    yield from wrong
    if not wrong and typed(bounds[0], kind) > typed(bounds[1], kind):
        yield f"the range ends at {bounds[1]}, before it begins"


def _key_faults(given: StandIn, kind: TrinoType, spec: RelationSpec) -> Iterator[str]:
    if not (kind.is_integer or kind.name in ("varchar", "char")):
        yield f"keys are text or whole numbers, not {kind}"
        return
    size = max(given.size, spec.synthetic.rows if given.unique and not given.domain else 0)
    if given.unique and given.domain and size < spec.synthetic.rows:
        yield f"{spec.synthetic.rows} rows need as many keys: `size` is {size}"
    if kind.is_integer:
        low, high = given.range if given.range is not None else (1, size)
        if not (_fits(low, kind) and _fits(high, kind)):
            if given.range is None:
                yield f"{size} keys do not fit {kind}: see `size`"
        elif typed(high, kind) - typed(low, kind) + 1 < size:
            yield f"the range has fewer than {size} keys: see `size`"
        return
    format_ = given.format or default_format(given.domain)
    if places(format_) < size:
        yield f"{format_!r} gives only {places(format_)} texts: see `size`"
    yield from _said(format_, kind)


def _example_faults(spec: RelationSpec, where: Path) -> Iterator[Fault]:
    for i, row in enumerate(spec.synthetic.examples):
        if not row:
            yield Fault((*where, i), "is empty")
        for column, value in row.items():
            if column not in spec.columns:
                near = nearest(column, spec.columns)
                yield Fault((*where, i, column), f"there is no column {column!r}{near}")
                continue
            for text in _said(value, spec.columns[column].type):
                yield Fault((*where, i, column), text)


def _fit_faults(department: Department, name: str, spec: RelationSpec, where: Path) -> Iterator[Fault]:
    fit = spec.synthetic.fit
    if fit is None:
        return
    sums = {g.id: g for g in department.grants if g.relation == name and g.mode == "aggregate" and g.id}
    if fit.grant not in sums:
        yield Fault(
            (*where, "grant"), f"{fit.grant!r} is no aggregate grant of {name} with an id{nearest(fit.grant, sums)}"
        )
        return
    grant = sums[fit.grant]
    exampled = {c for row in spec.synthetic.examples for c in row}
    for i, column in enumerate(fit.by):
        if column not in grant.dimensions:
            near = nearest(column, grant.dimensions)
            yield Fault((*where, "by", i), f"{column} is no dimension of {fit.grant}{near}")
        elif column in grant.masks or any(
            c in department.classes and department.classes[c].mask for c in spec.columns[column].classes
        ):
            yield Fault((*where, "by", i), f"{column} is masked there: its cells have other values than its rows")
        elif column in exampled:
            yield Fault((*where, "by", i), f"{column} is in `examples` already")


def _code_faults(department: Department, spec: RelationSpec, where: Path) -> Iterator[Fault]:
    """Codes of a list are the values of its column where nothing else is said."""
    for column, found in spec.columns.items():
        given = found.synthetic
        if found.codes in department.code_lists and not (given.values or given.range or is_joined(found)):
            for code in department.code_lists[found.codes]:
                for text in _said(code, found.type):
                    yield Fault((*where, "columns", column, "codes"), text)


def _said(value: Any, kind: TrinoType) -> Iterator[str]:
    try:
        typed(value, kind)
    except ValueError as bad:
        yield str(bad)


def _fits(value: Any, kind: TrinoType) -> bool:
    return value is not None and not list(_said(value, kind))
