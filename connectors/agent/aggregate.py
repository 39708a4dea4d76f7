"""Aggregate mode: one relation, declared dimensions and measures, a minimum group, no rows ever.

The analyst's SELECT is only read for its shape (`Shape`); the SQL that runs is built here from policy, in
a trusted engine that counts distinct entities per cell. A cell below the floor is absent, whatever the
reason: empty and small look alike. The answer is ordered by its keys, never by what is hidden.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pyarrow as pa
from sqlglot import exp

from catalog.duck.compiler import no_column
from catalog.errors import UserError
from catalog.masks.base import sql_text
from catalog.relation import Mode
from catalog.types import BIGINT, DOUBLE, TrinoType
from connectors.agent.authorise import Access, Governed
from connectors.agent.enforce import Scan, enforce, enforce_entities
from connectors.agent.plan import mode_refusal
from connectors.agent.pushdown import safe_predicate
from connectors.base import Capabilities, Predicate

__all__ = ["Cells", "Shape", "aggregate_relation", "entity_scan", "read_shape", "release"]

ENTITY = "entity"


@dataclass(frozen=True)
class Output:
    """One output column. kind: key, count, entities, sum or avg. column: its dimension or measure."""

    kind: str
    column: str
    type: TrinoType


@dataclass(frozen=True)
class Shape:
    """What an analyst asked of an aggregate relation. predicates: over published, masked dimensions."""

    relation: Governed
    outputs: tuple[Output, ...]
    keys: tuple[str, ...]
    predicates: tuple[Predicate, ...]
    grouped: bool

    @property
    def measures(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(o.column for o in self.outputs if o.kind in ("sum", "avg")))

    @property
    def columns(self) -> tuple[tuple[str, TrinoType], ...]:
        return tuple((f"c{i}", o.type) for i, o in enumerate(self.outputs))


@dataclass(frozen=True)
class Cells:
    """A released answer. released: the keys of each cell that is in it. hidden: cells withheld, for the owner.

    suppressed: absent cells against the public code lists, None where there is no such list.
    """

    table: pa.Table
    released: tuple[tuple[Any, ...], ...]
    hidden: int
    suppressed: int | None
    warnings: tuple[str, ...]


def aggregate_relation(tree: exp.Expr, access: Access) -> Governed | None:
    """The aggregate relation that a tree reads, if any. Raises MODE when it reads others beside it."""
    ctes = {c.alias.lower() for c in tree.find_all(exp.CTE)}
    tables = [t for t in tree.find_all(exp.Table) if t.args.get("db") or t.name.lower() not in ctes]
    named = [t for t in tables if not t.name.startswith("$")]
    for node in named:
        relation = access.resolve(node)
        if relation.mode is Mode.aggregate:
            if len(tables) > 1:
                raise mode_refusal(relation, access.department.department)
            return relation
    return None


def read_shape(tree: exp.Expr, relation: Governed, department: str) -> Shape:
    """The shape of an aggregate SELECT. Raises MODE for any other, NOT_AVAILABLE for unknown columns."""
    refusal = mode_refusal(relation, department)
    if not isinstance(tree, exp.Select):
        raise refusal
    if {k for k, v in tree.args.items() if v} - {"expressions", "from_", "where", "group"}:
        raise refusal
    table = tree.args["from_"].this if tree.args.get("from_") else None
    if not isinstance(table, exp.Table) or (table.args.get("alias") and table.args["alias"].args.get("columns")):
        raise refusal
    alias = table.alias_or_name.lower()
    _known_columns(tree, alias, relation)
    # Dimensions are read after their masks, so a masked one is as plain here as any other.
    plain = replace(relation, masks={})
    decision = relation.decision
    outputs, items = [], []
    for item in tree.expressions:
        node = item.this if isinstance(item, exp.Alias) else item
        output = _output(node, relation)
        if output is None:
            raise refusal
        outputs.append(output)
        items.append(node)
    keys = []
    group = tree.args.get("group")
    if group and {k for k, v in group.args.items() if v} - {"expressions"}:
        raise refusal
    for node in group.expressions if group else []:
        column = _column(_ordinal(node, items, refusal))
        if column not in decision.dimensions:
            raise refusal
        keys.append(column)
    if any(o.kind == "key" and o.column not in keys for o in outputs):
        raise refusal
    if all(o.kind == "key" for o in outputs) and not group:
        raise refusal
    where = tree.args.get("where")
    predicates = _predicates(where.this if where else None, alias, plain, decision.dimensions)
    if predicates is None:
        raise refusal
    return Shape(relation, tuple(outputs), tuple(dict.fromkeys(keys)), predicates, group is not None)


def _known_columns(tree: exp.Expr, alias: str, relation: Governed) -> None:
    for node in tree.find_all(exp.Column):
        if isinstance(node.this, exp.Star):
            continue
        if node.name.lower() not in relation.columns or node.table.lower() not in ("", alias):
            raise no_column(node.name.lower())


def _column(node: exp.Expr) -> str:
    return node.name.lower() if isinstance(node, exp.Column) else ""


def _ordinal(node: exp.Expr, items: Sequence[exp.Expr], refusal: Exception) -> exp.Expr:
    if not isinstance(node, exp.Literal):
        return node
    place = int(node.name) if node.name.isdigit() else 0
    if not 1 <= place <= len(items):
        raise refusal
    return items[place - 1]


def _output(node: exp.Expr, relation: Governed) -> Output | None:
    decision = relation.decision
    if isinstance(node, exp.Column):
        name = _column(node)
        return Output("key", name, relation.columns[name]) if name in decision.dimensions else None
    if {k for k, v in node.args.items() if v} - {"this", "big_int"}:
        return None
    if isinstance(node, exp.Count):
        if isinstance(node.this, exp.Star):
            return Output("count", "", BIGINT)
        if isinstance(node.this, exp.Distinct) and len(node.this.expressions) == 1:
            counted = _column(node.this.expressions[0])
            return Output("entities", "", BIGINT) if counted == decision.entity else None
        return None
    if isinstance(node, (exp.Sum, exp.Avg)):
        name = _column(node.this)
        if name not in decision.measures:
            return None
        kind = relation.columns[name]
        if isinstance(node, exp.Sum):
            return Output("sum", name, _sum_type(kind))
        return Output("avg", name, kind if kind.name in ("decimal", "real") else DOUBLE)
    return None


def _sum_type(kind: TrinoType) -> TrinoType:
    if kind.is_integer:
        return BIGINT
    return TrinoType("decimal", (38, kind.args[1])) if kind.name == "decimal" else kind


def _predicates(
    node: exp.Expr | None, alias: str, relation: Governed, dimensions: Sequence[str]
) -> tuple[Predicate, ...] | None:
    """WHERE as a conjunction of simple predicates on dimensions, None if it is anything else."""
    if node is None:
        return ()
    if isinstance(node, exp.Paren):
        return _predicates(node.this, alias, relation, dimensions)
    if isinstance(node, exp.And):
        parts = [_predicates(n, alias, relation, dimensions) for n in (node.this, node.expression)]
        return None if any(p is None for p in parts) else tuple(itertools.chain.from_iterable(p or () for p in parts))
    if isinstance(node, exp.Between):
        low = exp.GTE(this=node.this, expression=node.args["low"])
        high = exp.LTE(this=node.this, expression=node.args["high"])
        return _predicates(exp.And(this=low, expression=high), alias, relation, dimensions)
    if isinstance(node, exp.Or):
        return _either(node, alias, relation, dimensions)
    if isinstance(node, exp.Not) and isinstance(node.this, exp.In) and node.this.expressions:
        parts = [
            _predicates(exp.NEQ(this=node.this.this, expression=e), alias, relation, dimensions)
            for e in node.this.expressions
        ]
        return None if any(p is None for p in parts) else tuple(itertools.chain.from_iterable(p or () for p in parts))
    found = safe_predicate(node, alias, relation, None, True)
    published = {relation.raw(c): c for c in dimensions}
    if found is None or found.column not in published:
        return None
    return (replace(found, column=published[found.column]),)


def _either(node: exp.Or, alias: str, relation: Governed, dimensions: Sequence[str]) -> tuple[Predicate, ...] | None:
    """OR of equalities within one column: an IN."""
    sides = [_predicates(n, alias, relation, dimensions) for n in (node.this, node.expression)]
    values: list[Any] = []
    columns = set()
    for side in sides:
        if side is None or len(side) != 1 or side[0].op not in ("=", "in"):
            return None
        columns.add(side[0].column)
        values += side[0].values
    return (Predicate(columns.pop(), "in", tuple(values)),) if len(columns) == 1 else None


# ---- running -------------------------------------------------------------------------------------------


def entity_scan(shape: Shape, allowed: Capabilities, view_text: str, query_id: str) -> tuple[Scan, str]:
    """The scan of a shape and the trusted SQL over it: one line per cell.

    Columns of the answer: the keys, `entities`, `n`, and for each measure i: `s<i>` (sum), `k<i>` (count of
    values), `x<i>` (largest contribution of one entity), `t<i>` (sum of contributions), both absolute,
    `e<i>` (entities that contribute a value).
    """
    relation, measures = shape.relation, shape.measures
    entity = relation.decision.entity or ""
    needed = tuple(dict.fromkeys([*shape.keys, *(p.column for p in shape.predicates)]))
    scan = enforce_entities("rel", relation, needed, measures, entity, shape.predicates, allowed, view_text, query_id)
    if scan is not None:
        per = "rel"
        extra = ", ".join(f"s{i}, k{i}" for i in range(len(measures)))
        source = f"SELECT {_names(needed)}{ENTITY}, n{', ' + extra if extra else ''} FROM {per}"
    else:
        scan = enforce("rel", relation, [*needed, *measures], view_text,
                       _pushed(shape, allowed), query_id=query_id, hidden=(entity,))  # fmt: skip
        sums = "".join(f', sum("{m}") AS s{i}, count("{m}") AS k{i}' for i, m in enumerate(measures))
        source = (
            f'SELECT {_names(needed)}"raw_{entity}" AS {ENTITY}, count(*) AS n{sums} FROM rel'
            f"{where_sql(shape.predicates, relation.columns)} GROUP BY ALL"
        )
    totals = "".join(
        f", sum(s{i}) AS s{i}, sum(k{i}) AS k{i}, max(abs(s{i})) AS x{i}, sum(abs(s{i})) AS t{i}"
        f", count(*) FILTER (WHERE k{i} > 0) AS e{i}"
        for i in range(len(measures))
    )
    # An entity may lie in several base cells of one answer cell: add its parts up before looking for the largest.
    inner = "".join(f", sum(s{i}) AS s{i}, sum(k{i}) AS k{i}" for i in range(len(measures)))
    per_entity = f"SELECT {_names(shape.keys)}{ENTITY}, sum(n) AS n{inner} FROM base GROUP BY ALL"
    keys = ", ".join(f'"{k}"' for k in shape.keys)
    tail = f" GROUP BY {keys} ORDER BY {keys}" if keys else ""
    sql = (
        f", base AS ({source}), per AS ({per_entity}) "
        f"SELECT {_names(shape.keys)}count({ENTITY}) AS entities, coalesce(sum(n), 0) AS n{totals} FROM per{tail}"
    )
    return scan, sql


def _names(columns: Iterable[str]) -> str:
    return "".join(f'"{c}", ' for c in columns)


def _pushed(shape: Shape, allowed: Capabilities) -> list[Predicate]:
    """Predicates on unmasked dimensions go to the source too: the raw value is the published one."""
    relation = shape.relation
    return [
        replace(p, column=relation.raw(p.column))
        for p in shape.predicates
        if p.column not in relation.masks
        and relation.columns[p.column].name in allowed.predicates.get(p.op, frozenset())
    ]


def where_sql(predicates: Sequence[Predicate], columns: Mapping[str, TrinoType]) -> str:
    """WHERE for DuckDB from structured predicates; values are literals of the column's type."""
    parts = []
    for p in predicates:
        kind = columns[p.column]
        listed = ", ".join(_literal(v, kind) for v in p.values)
        right = {"is null": "IS NULL", "is not null": "IS NOT NULL", "in": f"IN ({listed})"}.get(
            p.op, f"{p.op} {listed}"
        )
        parts.append(f'"{p.column}" {right}')
    return " WHERE " + " AND ".join(parts) if parts else ""


def _literal(value: Any, kind: TrinoType) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (date, datetime)):
        return f"CAST({sql_text(str(value))} AS {kind.duckdb()})"
    if isinstance(value, str):
        return sql_text(value)
    if isinstance(value, float):
        return f"CAST({sql_text(repr(value))} AS DOUBLE)"
    return str(value)


# ---- releasing -----------------------------------------------------------------------------------------


def release(shape: Shape, cells: pa.Table, code_list: Callable[[str], Sequence[str] | None]) -> Cells:
    """Apply floor, dominance and rounding to the true cells; count what is absent.

    code_list: the public codes of a dimension, None without one.
    """
    decision = shape.relation.decision
    floor = decision.min_group or 0
    rows, released, hidden = [], [], 0
    for cell in cells.to_pylist():
        # A sum over many entities to which only few contribute would show the few.
        crowd = min([cell["entities"], *(cell[f"e{i}"] for i in range(len(shape.measures)))])
        if crowd < floor or _dominated(cell, shape):
            hidden += 1
            continue
        rows.append([_value(o, cell, shape) for o in shape.outputs])
        released.append(tuple(cell[k] for k in shape.keys))
    suppressed, warning = _absent(shape, released, hidden, code_list)
    if not shape.grouped and not rows:
        rows.append([None] * len(shape.outputs))
    schema = pa.schema([pa.field(n, t.arrow()) for n, t in shape.columns])
    try:
        arrays = [pa.array([r[i] for r in rows], f.type) for i, f in enumerate(schema)]
    except (pa.ArrowInvalid, OverflowError) as bad:
        raise UserError("A sum is out of range.", rule="execution") from bad
    warnings = (warning,) if warning else ()
    return Cells(pa.table(arrays, schema=schema), tuple(released), hidden, suppressed, warnings)


def _dominated(cell: Mapping[str, Any], shape: Shape) -> bool:
    share = shape.relation.decision.largest_share
    if share is None:
        return False
    for i in range(len(shape.measures)):
        largest, total = cell[f"x{i}"], cell[f"t{i}"]
        if largest is not None and Decimal(str(largest)) * 100 > Decimal(str(total)) * share:
            return True
    return False


def _value(output: Output, cell: Mapping[str, Any], shape: Shape) -> Any:
    if output.kind == "key":
        return cell[output.column]
    if output.kind == "count":
        return int(cell["n"])
    if output.kind == "entities":
        return cell["entities"]
    i = shape.measures.index(output.column)
    total, count = cell[f"s{i}"], cell[f"k{i}"]
    if total is None or not count:
        return None
    step = shape.relation.decision.round_to.get(output.column)
    if isinstance(total, float):
        total = round(total / step) * float(step) if step else total
        return total if output.kind == "sum" else total / float(count)
    exact = Decimal(total)
    with localcontext(prec=80, rounding=ROUND_HALF_UP):
        if step:
            exact = (exact / step).quantize(Decimal(1)) * step
        if output.kind == "sum":
            return int(exact) if output.type.is_integer else exact.quantize(_unit(output.type))
        if output.type.name == "decimal":
            return (exact / Decimal(count)).quantize(_unit(output.type))
        return float(exact) / float(count)


def _unit(kind: TrinoType) -> Decimal:
    return Decimal(1).scaleb(-kind.args[1])


def _absent(
    shape: Shape,
    released: Sequence[tuple[Any, ...]],
    hidden: int,
    code_list: Callable[[str], Sequence[str] | None],
) -> tuple[int | None, str]:
    """Absent cells against the public lists, empty and small alike, and the warning that says so."""
    relation = shape.relation
    floor = relation.decision.min_group
    if not shape.grouped:
        absent = 0 if released else 1
        return (
            absent,
            "" if released else f"The cell of {relation.name} is absent: fewer than {floor} {_entity(shape)}.",
        )
    lists = [code_list(k) for k in shape.keys]
    if any(codes is None for codes in lists):
        return None, f"Cells of {relation.name} with fewer than {floor} {_entity(shape)} are absent."
    possible = [
        [c for c in codes or () if _holds(c, [p for p in shape.predicates if p.column == k], relation.columns[k])]
        for k, codes in zip(shape.keys, lists, strict=True)
    ]
    total = 1
    for codes in possible:
        total *= len(codes)
    allowed = [set(codes) for codes in possible]
    present = sum(all(_code(v) in a for v, a in zip(cell, allowed, strict=True)) for cell in released)
    absent = total - present
    if not absent:
        return 0, ""
    return absent, (
        f"{absent} of {total} cells of {relation.name} are absent: empty, or fewer than {floor} {_entity(shape)}."
    )


def _code(value: Any) -> str:
    """A dimension's value as code lists write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entity(shape: Shape) -> str:
    return f"distinct values of {shape.relation.decision.entity}"


def _holds(code: str, predicates: Sequence[Predicate], kind: TrinoType) -> bool:
    """Whether a public code passes the analyst's own predicates on its dimension."""
    value: Any = code
    if kind.is_integer:
        value = int(code)
    elif kind.name == "date":
        value = date.fromisoformat(code)
    elif kind.name == "boolean":
        value = code.lower() == "true"
    elif kind.name == "decimal":
        value = Decimal(code)
    tests: dict[str, Callable[[Predicate], bool]] = {
        "=": lambda p: bool(value == p.values[0]),
        "<>": lambda p: bool(value != p.values[0]),
        "<": lambda p: bool(value < p.values[0]),
        "<=": lambda p: bool(value <= p.values[0]),
        ">": lambda p: bool(value > p.values[0]),
        ">=": lambda p: bool(value >= p.values[0]),
        "in": lambda p: value in p.values,
        "is null": lambda p: False,
        "is not null": lambda p: True,
    }
    return all(tests[p.op](p) for p in predicates)
