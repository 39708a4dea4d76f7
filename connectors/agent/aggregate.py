"""Aggregate mode: one relation, declared dimensions and measures, a minimum group, no rows ever.

The analyst's SELECT is only read for its shape (`Shape`); the SQL that runs is built here from policy, in
a trusted engine that counts distinct entities per cell. A cell below the floor is absent, whatever the
reason: empty and small look alike. The answer is ordered by its keys, never by what is hidden.

Where answers are guarded (or small base cells left out, or noise added) the whole relation is read once, as
`Contributions`: one line per entity and base cell, which serves the answer and the guard. A base cell is a combination
of the dimensions by which its family is counted under any grant, as the source has them.
"""

from __future__ import annotations

import hmac
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from types import TracebackType
from typing import Any, Protocol

import duckdb
import pyarrow as pa
from sqlglot import exp

from catalog import duck
from catalog.duck.compiler import no_column
from catalog.errors import AccessDenied, InternalError, Outcome, UserError
from catalog.exchange import canonical_json, sha256
from catalog.masks.base import sql_text
from catalog.policy import Department
from catalog.policy.families import base_columns, family_of, meaning, same_small_cells
from catalog.relation import Mode
from catalog.types import BIGINT, DOUBLE, TrinoType
from connectors.agent.authorise import Access, Governed
from connectors.agent.disclosure import Ask, Crowd, Dominance, Question, Rules, Variant
from connectors.agent.enforce import Scan, enforce, enforce_entities
from connectors.agent.plan import mode_refusal
from connectors.agent.pushdown import safe_predicate
from connectors.allowed import fitted
from connectors.base import Capabilities, Predicate

__all__ = [
    "Cells",
    "Contributions",
    "Family",
    "Shape",
    "aggregate_relation",
    "contribution_scan",
    "entity_scan",
    "family",
    "needs_contributions",
    "read_shape",
    "release",
    "steady",
]

ENTITY = "entity"
RENEWED = "renewed$"
PLACES = "places$"


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

    @property
    def literals(self) -> int:
        """Values that the analyst wrote in predicates."""
        return sum(max(1, len(p.values)) for p in self.predicates)

    def canonical(self) -> str:
        """One text for all spellings of a question with the same outputs."""
        predicates = sorted([p.column, p.op, sorted(map(str, p.values))] for p in self.predicates)
        outputs = [[o.kind, o.column] for o in self.outputs]
        text = {"outputs": outputs, "keys": sorted(self.keys), "predicates": predicates, "grouped": self.grouped}
        return canonical_json(text).decode()


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

    def to_blob(self) -> tuple[bytes, str]:
        """(Arrow stream, note) for the guard's history."""
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        return sink.getvalue(), json.dumps([self.hidden, self.suppressed, list(self.warnings)])

    @classmethod
    def from_blob(cls, blob: bytes, note: str) -> Cells:
        hidden, suppressed, warnings = json.loads(note)
        with pa.ipc.open_stream(blob) as reader:
            return cls(reader.read_all(), (), hidden, suppressed, tuple(warnings))


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
    # The published name: two of them may show one column of the source, each in its own way.
    column = next((c.name.lower() for c in node.find_all(exp.Column)), "")
    if found is None or column not in dimensions:
        return None
    return (replace(found, column=column),)


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
    values), `x<i>`, `y<i>` (largest and second largest contribution of one entity), `t<i>` (sum of
    contributions), all absolute, `e<i>` (entities that contribute a value).
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
        sums = _measured(relation, measures)
        source = (
            f'SELECT {_names(needed)}"raw_{entity}" AS {ENTITY}, count(*) AS n{sums} FROM rel'
            f"{where_sql(shape.predicates, relation.columns)} GROUP BY ALL"
        )
    return scan, f", base AS ({source}), {_cells_sql(shape)}"


def _measured(relation: Governed, measures: Sequence[str]) -> str:
    """`, s0, k0, ..`: the sums of measures, and how many values they have."""
    columns = [(f'"{m}"', relation.spec.columns[m].type) for m in measures]
    return "".join(f", {_sum(c, kind)} AS s{i}, count({c}) AS k{i}" for i, (c, kind) in enumerate(columns))


def _is_floating(relation: Governed, measure: str) -> bool:
    return relation.spec.columns[measure].type.name in ("double", "real")


def _sum(sql: str, kind: TrinoType) -> str:
    """A sum that is the same in whatever order rows come: floating numbers are added in their own order."""
    return f"sum({sql} ORDER BY {sql})" if kind.name in ("double", "real") else f"sum({sql})"


def _rest(sql: str, kind: TrinoType) -> str:
    """What the double nearest to an exact sum leaves of it, as a double."""
    exact = f"DECIMAL(38, {kind.args[1] if kind.name == 'decimal' else 0})"
    near = f"TRY_CAST(CAST({sql} AS DOUBLE) AS {exact})"
    return f"coalesce(CAST(TRY_CAST({sql} AS {exact}) - {near} AS DOUBLE), 0)"


def _cells_sql(shape: Shape) -> str:
    """The rest of a WITH over `base`, one line per (dimensions, entity): the cells of a shape."""
    sums = [_sum(f"s{i}", shape.relation.columns[m]) for i, m in enumerate(shape.measures)]
    totals = "".join(
        f", {total} AS s{i}, sum(k{i}) AS k{i}, max(abs(s{i})) AS x{i}, max(abs(s{i}), 2)[2] AS y{i}"
        f", sum(abs(s{i})) AS t{i}, count({ENTITY}) FILTER (WHERE k{i} > 0) AS e{i}"
        for i, total in enumerate(sums)
    )
    # An entity may lie in several base cells of one answer cell: add its parts up before looking for the largest.
    inner = "".join(f", {total} AS s{i}, sum(k{i}) AS k{i}" for i, total in enumerate(sums))
    per_entity = f"SELECT {_names(shape.keys)}{ENTITY}, sum(n) AS n{inner} FROM base GROUP BY ALL"
    keys = ", ".join(f'"{k}"' for k in shape.keys)
    tail = f" GROUP BY {keys} ORDER BY {keys}" if keys else ""
    return (
        f"per AS ({per_entity}) "
        f"SELECT {_names(shape.keys)}count({ENTITY}) AS entities, coalesce(sum(n), 0) AS n{totals} FROM per{tail}"
    )


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
        near = fitted(p, kind)
        if isinstance(near, bool):
            parts.append(f'"{p.column}" IS NOT NULL' if near else "FALSE")
            continue
        listed = ", ".join(_literal(v, kind) for v in near.values)
        right = {"is null": "IS NULL", "is not null": "IS NOT NULL", "in": f"IN ({listed})"}.get(
            p.op, f"{near.op} {listed}"
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
    if isinstance(value, Decimal):  # in its column's type: 0.1 of 38 digits behind the point would be a double
        return f"CAST({sql_text(format(value, 'f'))} AS {kind.duckdb()})"
    return str(value)


# ---- the whole relation, once ------------------------------------------------------------------------------


class Engine(Protocol):
    """The part of a private engine that `Contributions` needs."""

    def add(self, name: str, data: pa.Table) -> None: ...

    def lock(self) -> None: ...

    def run(self, sql: str) -> pa.RecordBatchReader: ...

    def close(self) -> None: ...


def needs_contributions(relation: Governed) -> bool:
    """Whether an answer takes more than its own cells: guarded, without small base cells, noisy, or of amounts whose
    sums may be out of range, which is told of the whole relation or not at all."""
    decision = relation.decision
    wide = any(_is_wide(relation, m) for m in decision.measures)
    return decision.guard or decision.base_cells or bool(decision.noise) or wide


def _is_wide(relation: Governed, measure: str) -> bool:
    """Whether sums may have more than 38 digits; it takes ten billion decimals of 28."""
    kind = relation.spec.columns[measure].type
    return kind.name == "decimal" and kind.args[0] > 28


@dataclass(frozen=True)
class Family:
    """What a relation's answers are held against. base: meaning -> published column, of the dimensions of all its
    grants; they are read as the source has them, whatever the asker is shown."""

    name: str
    base: Mapping[str, str]


def family(department: Department, relation: Governed) -> Family:
    """The family of a relation; without small base cells the asker's own dimensions are all there are.

    Raises AccessDenied(DISCLOSURE) where these are not those of everybody else.
    """
    spec, decision = relation.spec, relation.decision
    if decision.base_cells and not same_small_cells(department, decision):
        raise AccessDenied(
            f"Your grants of {relation.name} together leave out other small cells than each alone.",
            Outcome.DISCLOSURE, who=department.department, rule="base cells",
            hint="Ask its owner for one grant of sums without other grants or denials beside it.",
        )  # fmt: skip
    own = {meaning(spec, d): d for d in decision.dimensions}
    base = {} if decision.base_cells else base_columns(department, relation.name)
    return Family(family_of(spec), dict(sorted({**own, **base}.items())))


def _hidden(relation: Governed, base: Mapping[str, str]) -> list[str]:
    """Base columns that the answer's own dimensions do not show as they are."""
    shown = {d for d in relation.decision.dimensions if d not in relation.masks}
    return [c for c in base.values() if c not in shown]


def contribution_scan(
    relation: Governed, of: Family, allowed: Capabilities, view_text: str, query_id: str
) -> tuple[Scan, str]:
    """The scan and trusted SQL for `Contributions`: dimensions, hidden base columns as `raw_<column>`, `entity`, `n`,
    and `s<i>`, `k<i>` of every measure."""
    decision = relation.decision
    entity, dimensions, measures = decision.entity or "", decision.dimensions, decision.measures
    hidden = [] if decision.base_cells else _hidden(relation, of.base)
    keys = (*dimensions, *hidden)
    scan = None
    if not set(hidden) & set(dimensions):
        scan = enforce_entities("rel", relation, keys, measures, entity, (), allowed, view_text, query_id)
    if scan is not None:
        extra = "".join(f", s{i}, k{i}" for i in range(len(measures)))
        raw = "".join(f'"{c}" AS "raw_{c}", ' for c in hidden)
        return scan, f"SELECT {_names(dimensions)}{raw}{ENTITY}, n{extra} FROM rel"
    scan = enforce("rel", relation, [*dimensions, *measures], view_text, query_id=query_id, hidden=(entity, *hidden))
    raw = _names(f"raw_{c}" for c in hidden)
    return scan, (
        f'SELECT {_names(dimensions)}{raw}"raw_{entity}" AS {ENTITY}, count(*) AS n{_measured(relation, measures)} '
        "FROM rel GROUP BY ALL"
    )


def steady(
    relation: Governed, table: pa.Table, kept: pa.Table | None, engine: Engine, secret: bytes, who: str
) -> pa.Table:
    """Contributions for sums without small base cells, entities under secret names.

    A base cell stays as it was kept until lines and each measure have changed of nobody or of `min_group` entities:
    what differs between two answers of an epoch is then never told of fewer. It is renewed once in an epoch, since two
    changes of many can be one of few. Under a rule of dominance it stays in any case. Raises AccessDenied(DISCLOSURE)
    where rows are kept on other terms, as after a change of policy. Closes the engine.
    """
    with closing(engine):
        return _steady(relation, table, kept, engine, secret, who)


def _steady(
    relation: Governed, table: pa.Table, kept: pa.Table | None, engine: Engine, secret: bytes, who: str
) -> pa.Table:
    decision = relation.decision
    terms = canonical_json([
        relation.name, {d: list(decision.masks.get(d, ())) for d in decision.dimensions}, list(decision.filters),
        [meaning(relation.spec, c) for c in (decision.entity or "", *decision.measures)], decision.min_group,
        decision.largest_share, decision.p_percent,
    ])  # fmt: skip
    if kept is not None and (kept.schema.metadata or {}).get(b"terms") != terms:
        raise AccessDenied(
            f"The terms of sums over {relation.name} have changed within an epoch.", Outcome.DISCLOSURE,
            who=who, rule="base cells", hint="Ask again when the next epoch has begun.",
        )  # fmt: skip
    measured = [f"{c}{i}" for i in range(len(decision.measures)) for c in "sk"]
    names = ", ".join(f'"{d}"' for d in decision.dimensions)
    listed = f"{names}, " + ", ".join([ENTITY, "n", *measured])
    now = f"SELECT {listed} FROM (SELECT * REPLACE ({_pseudonym(secret)} AS {ENTITY}) FROM contributions)"
    sql = f'SELECT *, false AS "{RENEWED}" FROM ({now}) ORDER BY ALL'
    if kept is not None and (decision.largest_share is not None or decision.p_percent is not None):
        return kept
    if kept is not None:
        old = {c: f"max({c}) FILTER (NOT fresh)" for c in ("n", *measured)}
        new = {c: f"max({c}) FILTER (fresh)" for c in ("n", *measured)}
        differs = [f"{new['n']} IS DISTINCT FROM {old['n']}"]
        differs += [
            f"{new[s]} IS DISTINCT FROM {old[s]} OR coalesce({new[k]}, 0) <> coalesce({old[k]}, 0)"
            for s, k in zip(measured[::2], measured[1::2], strict=True)
        ]
        quantities = [f"d{i}" for i in range(len(differs))]
        many = " AND ".join(
            f"(NOT bool_or({d}) OR count({ENTITY}) FILTER ({d}) >= {decision.min_group})" for d in quantities
        )
        same = " AND ".join(f'r."{d}" IS NOT DISTINCT FROM x."{d}"' for d in decision.dimensions)
        sql = f"""WITH now AS MATERIALIZED ({now}),
            everyone AS (SELECT {names}, {ENTITY}, bool_or(fresh) AS fresh, bool_or(again) AS again,
                         {", ".join(f"({d}) AS d{i}" for i, d in enumerate(differs))}
                         FROM (SELECT *, true AS fresh, false AS again FROM now UNION ALL
                               SELECT {listed}, false, "{RENEWED}" FROM kept) GROUP BY {names}, {ENTITY}),
            renewed AS MATERIALIZED (SELECT {names} FROM everyone GROUP BY {names}
                         HAVING bool_or(fresh) AND NOT bool_or(again) AND bool_or({" OR ".join(quantities)}) AND {many})
            SELECT {listed}, true AS "{RENEWED}" FROM now AS x WHERE EXISTS (SELECT 1 FROM renewed AS r WHERE {same})
            UNION ALL
            SELECT {listed}, "{RENEWED}" FROM kept AS x WHERE NOT EXISTS (SELECT 1 FROM renewed AS r WHERE {same})
            ORDER BY ALL"""
        engine.add("kept", kept)
    engine.add("contributions", table)
    engine.lock()
    try:
        return engine.run(sql).read_all().replace_schema_metadata({b"terms": terms})
    except (duckdb.Error, pa.ArrowException) as bad:
        raise duck.translate_error(bad) from bad


def _pseudonym(secret: bytes) -> str:
    """SQL of an entity's name in the agent's books: a keyed hash, NULL for nobody."""
    key = sql_text(hmac.new(secret, b"guard entity", "sha256").hexdigest())
    hashed = f"CAST('0x' || left(sha256({key} || CAST({ENTITY} AS VARCHAR)), 16) AS UBIGINT)"
    return f"CASE WHEN {ENTITY} IS NULL THEN NULL ELSE greatest({hashed}, 1::UBIGINT) END"


class Contributions:
    """What every entity contributes to every base cell of a relation, in a trusted engine of its own."""

    def __init__(self, relation: Governed, of: Family, table: pa.Table, engine: Engine, secret: bytes) -> None:
        self._relation = relation
        self._family = of
        self._engine = engine
        self._secret = secret
        engine.add("contributions", table)
        engine.lock()

    def __enter__(self) -> Contributions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()

    def _read(self, sql: str) -> pa.Table:
        try:
            return self._engine.run(sql).read_all()
        except (duckdb.Error, pa.ArrowException) as bad:
            raise duck.translate_error(bad) from bad

    def cells(self, shape: Shape) -> pa.Table:
        """The true cells of a shape; of base cells that may enter an answer alone, where the owner says so."""
        self._check_range(shape)
        base = self._base(shape)
        table = self._read(self.sql(shape))
        noisy = bool(self._relation.decision.noise)
        return table.append_column(PLACES, self._places(base, shape, table)) if noisy else table

    def _check_range(self, shape: Shape) -> None:
        """Refuse sums of amounts that, times a hundred, may together have more than 38 digits, of whichever rows: to
        refuse only where they have would tell where large ones lie. Raises UserError(EXECUTION)."""
        for measure in shape.measures:
            if not _is_wide(self._relation, measure):
                continue
            kind = self._relation.spec.columns[measure].type
            i = self._relation.decision.measures.index(measure)
            (found,) = self._read(f"SELECT sum(abs(CAST(s{i} AS DOUBLE))) AS t FROM contributions").to_pylist()
            if (found["t"] or 0) >= 10.0 ** (35 - kind.args[1]):
                raise UserError(
                    f"Values of {measure} are too large to be added up.", Outcome.EXECUTION, rule="execution",
                    hint="Ask the department for smaller units.",
                )  # fmt: skip

    def sql(self, shape: Shape) -> str:
        """The trusted SQL of the cells."""
        return f"WITH base AS ({self._base(shape)}), {_cells_sql(shape)}"

    def _base(self, shape: Shape) -> str:
        decision = self._relation.decision
        parts = "".join(
            f", s{decision.measures.index(m)} AS s{i}, k{decision.measures.index(m)} AS k{i}"
            for i, m in enumerate(shape.measures)
        )
        where = where_sql(shape.predicates, self._relation.columns)
        columns = dict.fromkeys([*(f'"{d}"' for d in decision.dimensions), *self._base_columns()])
        base = f"SELECT {', '.join(columns)}, {ENTITY}, n{parts} FROM contributions{where}"
        return self._solid(base, shape) if decision.base_cells else base

    def _places(self, base: str, shape: Shape, cells: pa.Table) -> pa.ChunkedArray:
        """The base cells in each cell, by names that are theirs in whatever words and under whatever grant.

        Raises InternalError where they are not those of the same cells.
        """
        texts = [f"CAST({c} AS VARCHAR)" for c in self._base_columns()]
        name = " || ".join(f"coalesce(length({t}) || ':' || {t}, '-')" for t in texts)
        keys = ", ".join(f'"{k}"' for k in shape.keys)
        found = self._read(
            f'SELECT {_names(shape.keys)}list("{PLACES}") AS "{PLACES}" '
            f'FROM (SELECT DISTINCT {_names(shape.keys)}{name} AS "{PLACES}" FROM ({base}))'
            f"{f' GROUP BY {keys} ORDER BY {keys}' if keys else ''}"
        )
        if found.num_rows != cells.num_rows:
            raise InternalError(f"The noise of {self._relation.name} could not be drawn.")
        return found.column(PLACES)

    def _base_columns(self) -> list[str]:
        """The base columns as `contributions` names them, in the family's order."""
        hidden = set(_hidden(self._relation, self._family.base))
        if self._relation.decision.base_cells:
            hidden = set()
        return [f'"raw_{c}"' if c in hidden else f'"{c}"' for c in self._family.base.values()]

    def _solid(self, base: str, shape: Shape) -> str:
        """`base` without base cells that are small, or dominated in a measure that is asked for."""
        decision = self._relation.decision
        rules = [f"count({ENTITY}) >= {decision.min_group}"]
        for i in range(len(shape.measures)):
            rules.append(f"count({ENTITY}) FILTER (WHERE k{i} > 0) >= {decision.min_group}")
            if _is_floating(self._relation, shape.measures[i]):
                rules.append(f"isfinite(sum(abs(s{i})))")
            largest, total, second = f"max(abs(s{i}))", f"sum(abs(s{i}))", f"coalesce(max(abs(s{i}), 2)[2], 0)"
            if decision.largest_share is not None:
                rules.append(f"{largest} * 100 <= {total} * {decision.largest_share}")
            if decision.p_percent is not None:
                rules.append(f"({total} - {largest} - {second}) * 100 >= {largest} * {decision.p_percent}")
        listed = ", ".join(f'"{d}"' for d in decision.dimensions)
        same = " AND ".join(f'b."{d}" IS NOT DISTINCT FROM o."{d}"' for d in decision.dimensions)
        return (
            f"SELECT b.* FROM ({base}) AS b JOIN (SELECT {listed} FROM ({base}) GROUP BY {listed} "
            f"HAVING {' AND '.join(rules)}) AS o ON {same}"
        )

    def ask(self, shape: Shape, moment: datetime, found: Cells, answer: Callable[[Question], Cells]) -> Ask:
        """The answer as the guard judges it. moment: now, local."""
        decision = self._relation.decision
        variant = self._variant()
        named = self._meanings()
        question = Question(
            tuple(replace(p, column=named[p.column]) for p in shape.predicates), tuple(named[k] for k in shape.keys),
            found.released, tuple(sorted(meaning(self._relation.spec, m) for m in shape.measures)),
        )  # fmt: skip
        rules = Rules(decision.min_group or 0, Dominance(decision.largest_share, decision.p_percent))
        terms = {
            "entity": decision.entity, "rules": rules.to_json(), "rounded": dict(decision.round_to),
            "noise": {c: repr(scale) for c, scale in decision.noise.items()}, "masks": named,
        }  # fmt: skip
        asked = sha256(canonical_json([variant.name, terms, shape.canonical()]))
        return Ask(
            self._family.name, variant, rules, question, asked, self._mark(), lambda: self._crowd(variant),
            lambda given: answer(given).to_blob(), moment, decision.epoch,
        )  # fmt: skip

    def _meanings(self) -> dict[str, str]:
        """Dimension -> what it is in the family: a base column, or what a mask shows of one."""
        relation, found = self._relation, {}
        for name in relation.decision.dimensions:
            mask = relation.masks.get(name)
            # A pseudonym differs from purpose to purpose.
            own = f" for {relation.decision.purpose}" if mask is not None and mask.linkage else ""
            found[name] = meaning(relation.spec, name) + ("" if mask is None else f" by {mask.text}{own}")
        return found

    def _columns(self) -> dict[str, tuple[str, TrinoType]]:
        """What the guard knows of a row: meaning -> (its SQL, type), base columns first."""
        relation = self._relation
        base = zip(self._family.base.items(), self._base_columns(), strict=True)
        found = {m: (sql, relation.spec.columns[c].type) for (m, c), sql in base}
        return found | {
            m: (f'"{d}"', relation.columns[d]) for d, m in self._meanings().items() if d in relation.masks
        }  # fmt: skip

    def _variant(self) -> Variant:
        relation, decision = self._relation, self._relation.decision
        return Variant(
            relation.name, tuple(sorted(decision.filters)), {m: kind for m, (_, kind) in self._columns().items()},
            tuple(self._family.base), tuple(sorted({meaning(relation.spec, m) for m in decision.measures})),
            meaning(relation.spec, decision.entity) if decision.entity else "",
        )  # fmt: skip

    def _mark(self) -> str:
        """A digest of all rows in any order: equal while the data are."""
        number = range(len(self._relation.decision.measures))
        listed = ", ".join([
            *(sql for sql, _ in self._columns().values()), ENTITY, "n", *(f"{c}{i}" for i in number for c in "sk"),
        ])  # fmt: skip
        rows = self._read(f"SELECT count(*) AS n, sum(hash({listed})) AS h FROM contributions")
        return str(rows.to_pylist()[0])

    def _crowd(self, variant: Variant) -> Crowd:
        spec, decision = self._relation.spec, self._relation.decision
        place = {meaning(spec, m): i for i, m in enumerate(decision.measures)}
        shown = "".join(f"{sql} AS c{i}, " for i, (sql, _) in enumerate(self._columns().values()))
        # A cell in which one contribution is not finite is never given: here it need not be told apart from none.
        sums = "".join(
            f", CASE WHEN isfinite(CAST(s{place[m]} AS DOUBLE)) THEN CAST(s{place[m]} AS DOUBLE) ELSE 0 END AS s{i}"
            f", CAST(k{place[m]} AS DOUBLE) AS k{i}"
            for i, m in enumerate(variant.measures)
        )
        sums += "".join(
            f", {_rest(f's{place[m]}', spec.columns[decision.measures[place[m]]].type)} AS r{i}"
            for i, m in enumerate(variant.measures) if not _is_floating(self._relation, decision.measures[place[m]])
        )  # fmt: skip
        return Crowd.of(variant, self._read(
            f"SELECT {shown}coalesce({_pseudonym(self._secret)}, 0::UBIGINT) AS entity, "
            f"CAST(n AS DOUBLE) AS n{sums} FROM contributions"
        ))  # fmt: skip

    def noise(self, epoch: str) -> Noise | None:
        """The noise that the owner declared, of this relation and epoch."""
        if not self._relation.decision.noise:
            return None
        text = f"guard noise|{self._family.name}|{epoch}".encode()
        return Noise(self._relation.decision.noise, hmac.new(self._secret, text, "sha256").digest())


# ---- releasing -----------------------------------------------------------------------------------------


def release(
    shape: Shape,
    cells: pa.Table,
    code_list: Callable[[str], Sequence[str] | None],
    chosen: Sequence[tuple[Any, ...]] | None = None,
    noise: Noise | None = None,
) -> Cells:
    """Apply floor, dominance, noise and rounding to the true cells; count what is absent.

    code_list: the public codes of a dimension, None without one. chosen: the keys of the cells that the guard lets
    out, None for all.
    """
    decision = shape.relation.decision
    floor = decision.min_group or 0
    allowed = None if chosen is None else set(chosen)
    rows, released, hidden = [], [], 0
    for cell in cells.to_pylist():
        # A sum over many entities to which only few contribute would show the few.
        crowd = min([cell["entities"], *(cell[f"e{i}"] for i in range(len(shape.measures)))])
        key = tuple(cell[k] for k in shape.keys)
        if crowd < floor or _dominated(cell, shape) or (allowed is not None and key not in allowed):
            hidden += 1
            continue
        rows.append([_value(o, noise.added(cell, shape) if noise else cell, shape) for o in shape.outputs])
        released.append(key)
    suppressed, warning = _absent(shape, released, hidden, code_list)
    if not shape.grouped and not rows:
        rows.append([None] * len(shape.outputs))
    schema = pa.schema([pa.field(n, t.arrow()) for n, t in shape.columns])
    try:
        arrays = [pa.array([r[i] for r in rows], f.type) for i, f in enumerate(schema)]
    except (pa.ArrowInvalid, OverflowError) as bad:
        raise UserError("A sum is out of range.", rule="execution") from bad
    warnings = (*((warning,) if warning else ()), *(noise.told(shape) if noise else ()))
    return Cells(pa.table(arrays, schema=schema), tuple(released), hidden, suppressed, warnings)


@dataclass(frozen=True)
class Noise:
    """Laplace noise, drawn once for each base cell and epoch; a cell has the sum of what its base cells drew.

    So each answer is made of noisy base cells, however it puts them together: no number of answers tells more of a base
    cell than the cell itself, asked once. A sum of n base cells has sqrt(n) times the noise of one.

    scales: measure or `count` -> scale. seed: secret, of relation and epoch.
    """

    scales: Mapping[str, float]
    seed: bytes

    def added(self, cell: Mapping[str, Any], shape: Shape) -> Mapping[str, Any]:
        """A cell with noise on what has a scale. `PLACES` says which base cells are in it.

        Raises InternalError where that is not known.
        """
        noisy = dict(cell)
        if "count" in self.scales:
            # One draw for all numbers of a cell: several would be several tries at what they have in common. The number
            # of values is among them, since an average beside a sum tells it.
            drawn = self._drawn("count", cell, self.scales["count"])
            for name in ("n", "entities", *(f"k{i}" for i in range(len(shape.measures)))):
                noisy[name] = max(1 if name[0] == "k" else 0, round(int(cell[name]) + drawn))
        for i, measure in enumerate(shape.measures):
            scale = self.scales.get(measure)
            if scale is not None and cell[f"s{i}"] is not None:
                drawn = self._drawn(meaning(shape.relation.spec, measure), cell, scale)
                total = cell[f"s{i}"]
                noisy[f"s{i}"] = total + drawn if isinstance(total, float) else total + round(Decimal(str(drawn)), 6)
        return noisy

    def _drawn(self, what: str, cell: Mapping[str, Any], scale: float) -> float:
        if not cell[PLACES]:
            raise InternalError("A cell without base cells has no noise.")
        return math.fsum(self._draw(what, place, scale) for place in cell[PLACES])

    def _draw(self, what: str, place: str, scale: float) -> float:
        # Two scales of one draw would be two equations for what it hides.
        digest = hmac.new(self.seed, f"{what}|{scale!r}|{place}".encode(), "sha256").digest()
        half = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64 - 0.5
        return -scale * math.copysign(math.log1p(-2 * abs(half)), half)

    def told(self, shape: Shape) -> tuple[str, ...]:
        asked = {"count" if o.kind in ("count", "entities") else o.column for o in shape.outputs if o.kind != "key"}
        return tuple(
            f"Values of {name} in {shape.relation.name} have Laplace noise of scale {scale:g} in each base cell: a "
            "sum of n base cells has sqrt(n) times that noise."
            for name, scale in self.scales.items() if name in asked
        )  # fmt: skip


def _dominated(cell: Mapping[str, Any], shape: Shape) -> bool:
    """Whether one entity makes more of a sum than is allowed; one that is infinite, or no number, makes all of it."""
    decision = shape.relation.decision
    for i in range(len(shape.measures)):
        if cell[f"x{i}"] is None:
            continue
        if not math.isfinite(cell[f"t{i}"]):
            return True
        largest, total = Decimal(str(cell[f"x{i}"])), Decimal(str(cell[f"t{i}"]))
        second = Decimal(str(cell[f"y{i}"] or 0))
        if decision.largest_share is not None and largest * 100 > total * decision.largest_share:
            return True
        if decision.p_percent is not None and (total - largest - second) * 100 < largest * decision.p_percent:
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
    few = f"fewer than {relation.decision.min_group} {_entity(shape)}"
    if not shape.grouped:
        return (0, "") if released else (1, f"The cell of {relation.name} is absent: {few}.")
    # Withheld for the sake of other cells looks like small, and small like empty.
    beside = ", or withheld to protect those" if relation.decision.guard else ""
    lists = [code_list(k) for k in shape.keys]
    if any(codes is None for codes in lists):
        return None, f"Cells of {relation.name} with {few} are absent{beside}."
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
    return absent, (f"{absent} of {total} cells of {relation.name} are absent: empty, or {few}{beside}.")


def _code(value: Any) -> str:
    """A dimension's value as code lists write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entity(shape: Shape) -> str:
    """Who is counted, if the user may know that column."""
    entity = shape.relation.decision.entity
    return f"distinct values of {entity}" if entity in shape.relation.columns else "entities"


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
