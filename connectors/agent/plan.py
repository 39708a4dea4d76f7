"""Plans a row answer: which scans, through which masks, and the residual query above them.

`plan_rows` is pure apart from decisions already made: same tree, access and capabilities, same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from catalog import duck
from catalog.errors import AccessDenied, Outcome, UserError
from catalog.exchange import KEYS_TABLES, distinct, key_table
from catalog.relation import Mode
from catalog.types import TrinoType, from_arrow
from connectors.agent.authorise import Access, Governed
from connectors.agent.compose import COMPOSED, Composed, Sources, Stays, composed
from connectors.agent.enforce import Scan, enforce, enforce_composed, enforce_grouped, enforce_part
from connectors.agent.pushdown import (
    GROUPED,
    Bound,
    Grouped,
    grouped,
    keys_column,
    keys_of,
    limit_of,
    predicates_of,
)
from connectors.agent.sideways import Hint, hints_of
from connectors.agent.top import order_of, sorted_scan, top_of
from connectors.allowed import same_family
from connectors.base import BoundKeys, Capabilities, NativeScan, Order

__all__ = ["RowPlan", "fitting", "keys_name", "mode_refusal", "plan_rows"]

Keys = Mapping[str, pa.Array]
"""Bind keys, distinct, by the name of their table."""


@dataclass(frozen=True)
class RowPlan:
    """scans: one an occurrence. sql: the residual query, in DuckDB's dialect, over the scans' names.

    streams: each scan is read once, so that nothing needs to be held. columns: the answer's. hints: scans
    that may wait for others, to read less. copies: the published column behind each output, if the answer is
    nothing but columns of the only scan, its first `limit` rows (None: all); () if there is more to do. order: in which
    the rows are the first, where they do not come so. fitted: bind keys as scans hold them: set, types, values.
    """

    scans: tuple[Scan, ...]
    sql: str
    columns: tuple[tuple[str, TrinoType], ...]
    streams: bool
    relations: tuple[Governed, ...]
    hints: tuple[Hint, ...] = ()
    copies: tuple[str, ...] = ()
    limit: int | None = None
    order: tuple[Order, ...] = ()
    fitted: tuple[tuple[str, tuple[pa.DataType, ...], pa.Array], ...] = field(default=(), compare=False, repr=False)


@dataclass
class _Occurrence:
    name: str
    node: exp.Table
    relation: Governed
    group: Grouped | None = None
    composed: Composed | None = None


class _Planner:
    def __init__(self, access: Access, capabilities: Callable[[str], Capabilities], keys: Keys) -> None:
        self.access = access
        self.capabilities = capabilities
        self.keys = keys
        self.found: list[_Occurrence] = []
        self._grouped: dict[int, tuple[Governed, Grouped]] = {}
        self._composed: dict[int, Composed] = {}
        self.fitted: dict[tuple[str, tuple[pa.DataType, ...]], pa.Array] = {}
        self._ctes: frozenset[str] = frozenset()

    def push_all(self, tree: exp.Expr, part: Callable[[Governed, Mapping[str, str]], NativeScan]) -> exp.Expr:
        """Replace each SELECT that its source answers by one over the grouped or composed scan, outermost first."""
        self._ctes = frozenset(c.alias.lower() for c in tree.find_all(exp.CTE))
        sources = Sources(self.row_relation, self.capabilities, part, self.keys_as)
        gone: set[int] = set()
        for select in list(tree.find_all(exp.Select)):
            made = None if id(select) in gone else self._pushed(select, sources)
            if made is None:
                continue
            gone.update(id(inner) for inner in select.find_all(exp.Select))
            if select is tree:
                return made
            select.replace(made)
        return tree

    def _pushed(self, select: exp.Select, sources: Sources) -> exp.Select | None:
        table = select.args["from_"].this if select.args.get("from_") else None
        relation = self.row_relation(table) if isinstance(table, exp.Table) else None
        if relation is not None and isinstance(table, exp.Table):
            group = grouped(select, table, relation, self.capabilities(relation.spec.source))
            if group is not None and self.binds(relation, group.bind):
                node = exp.Table(this=exp.to_identifier(GROUPED, quoted=True))
                self._grouped[id(node)] = (relation, group)
                return _over(group.select, node)
        if _is_plain(select):
            return None
        with suppress(Stays):
            found = composed(select, sources)
            node = exp.Table(this=exp.to_identifier(COMPOSED, quoted=True))
            self._composed[id(node)] = found
            return _over(found.select, node)
        return None

    def is_pushed(self, tree: exp.Expr) -> bool:
        """Whether the whole query reads nothing but what its source groups or joins."""
        table = id(tree.args["from_"].this) if tree.args.get("from_") else None
        return len(self.found) == 1 and (table in self._grouped or table in self._composed)

    def row_relation(self, table: exp.Table) -> Governed | None:
        """The relation behind a table that gives rows. Raises NOT_AVAILABLE or PURPOSE."""
        if not table.args.get("db") and (table.name in KEYS_TABLES or table.name.lower() in self._ctes):
            return None
        relation = self.access.resolve(table)
        return relation if relation.mode.gives_rows else None

    def keys_as(self, name: str, kinds: Sequence[TrinoType]) -> pa.Array | None:
        """The keys of one set in the types of columns, None if there are none that compare with them as they are."""
        keys = self.keys.get(name)
        parts = [] if keys is None else [from_arrow(kind) for kind in key_table(keys).schema.types]
        if len(parts) != len(kinds) or not all(map(same_family, parts, kinds)):
            return None
        return self.fits(name, kinds)

    def fits(self, name: str, kinds: Iterable[TrinoType]) -> pa.Array:
        """The keys of one set as values of types that they compare with: of the same types always the same array."""
        target = tuple(kind.arrow() for kind in kinds)
        if (name, target) not in self.fitted:
            self.fitted[name, target] = fitting(self.keys[name], target)
        return self.fitted[name, target]

    def bound(self, relation: Governed, bound: Iterable[Bound]) -> list[BoundKeys]:
        """Bind keys in the columns' own types. A key that does not fit the types equals no values of them."""
        kinds = relation.spec.columns
        return [(columns, self.fits(name, [kinds[c].type for c in columns])) for columns, name in bound]

    def binds(self, relation: Governed, bound: Iterable[Bound]) -> bool:
        """Whether the bind keys are there and compare with these columns without any conversion."""
        kinds = relation.spec.columns
        return all(self.keys_as(name, [kinds[c].type for c in columns]) is not None for columns, name in bound)

    def resolve(self, node: exp.Table) -> duck.Table:
        if node.name in KEYS_TABLES and not node.args.get("db"):
            if node.name not in self.keys:
                raise UserError(f'The fragment has no keys part for "{node.name}".', rule="keys")
            table = key_table(self.keys[node.name])
            return duck.Table(keys_name(node.name), {f.name: from_arrow(f.type) for f in table.schema})
        name = f"r{len(self.found)}"
        if id(node) in self._grouped:
            relation, group = self._grouped[id(node)]
            self.found.append(_Occurrence(name, group.table, relation, group))
            return duck.Table(name, dict(group.columns))
        if id(node) in self._composed:
            composed = self._composed[id(node)]
            self.found.append(_Occurrence(name, node, composed.relations[0], composed=composed))
            return duck.Table(name, dict(composed.columns))
        relation = self.access.resolve(node)
        if not relation.mode.gives_rows:
            raise mode_refusal(relation, self.access.department.department)
        self.found.append(_Occurrence(name, node, relation))
        return duck.Table(name, relation.columns)


def keys_name(name: str) -> str:
    """What the residual query calls the table of one set of keys."""
    return name.removeprefix("$")


def _is_plain(select: exp.Select) -> bool:
    """Whether one table's rows are asked for, none of its groups: `composed` has nothing to compose."""
    if select.args.get("group") or select.args.get("distinct") or select.find(exp.AggFunc) is not None:
        return False
    return sum(table.name not in KEYS_TABLES for table in select.find_all(exp.Table)) < 2


def _over(select: exp.Select, table: exp.Table) -> exp.Select:
    select.set("from_", exp.From(this=table))
    return select


def _apart(tree: exp.Expr) -> exp.Expr:
    """`R AS t (a, b)` -> `(SELECT * FROM R) AS t (a, b)`: below it every name is the relation's own.

    What is pushed down looks columns up by name; under a column list the same name may be another column.
    """
    for table in list(tree.find_all(exp.Table)):
        alias = table.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            alias.pop()
            inner = exp.select(exp.Star()).from_(table.copy())
            table.replace(exp.Subquery(this=inner, alias=alias))
    return tree


def mode_refusal(relation: Governed, department: str) -> AccessDenied:
    """MODE, with what this mode would answer."""
    decision = relation.decision
    if relation.mode is Mode.aggregate:
        measures = f", sum or avg of {', '.join(decision.measures)}" if decision.measures else ""
        counted = f", count(DISTINCT {decision.entity})" if decision.entity in relation.columns else ""
        hint = (
            f"It answers count(*){counted}{measures}, grouped and filtered by "
            f"{', '.join(decision.dimensions)}, in one SELECT over this table alone."
        )
    elif relation.mode is Mode.verify:
        hint = f"It answers verify('{relation.name}', {decision.key}) only."
    elif relation.mode is Mode.schema:
        hint = "It shows names, types, units and code lists. Its owner can grant generated rows, sums, or rows."
    else:
        hint = "It answers SELECT."
    return AccessDenied(
        f"{relation.name} answers in {relation.mode.name} mode only.",
        Outcome.MODE,
        who=department,
        rule=f"mode {relation.mode.name}",
        hint=hint,
    )


def plan_rows(
    tree: exp.Expr,
    access: Access,
    capabilities: Callable[[str], Capabilities],
    view_text: Callable[[Governed], str],
    keys: Keys,
    now: datetime,
    query_id: str = "",
) -> RowPlan:
    """Plan a fragment over relations that give rows.

    capabilities: by source name. view_text: the owner's SELECT of a relation, "" for a table. keys: of
    each set. The tree is changed. Raises CityError.
    """
    planner = _Planner(access, capabilities, keys)

    def part(relation: Governed, columns: Mapping[str, str]) -> NativeScan:
        return enforce_part(relation, columns, view_text(relation))

    tree = planner.push_all(_apart(tree), part)
    compiled = duck.compile_query(tree, planner.resolve, now)
    labels = [name.lower() for name, _ in compiled.columns]
    if labels != [f"c{i}" for i in range(len(labels))]:
        raise UserError("The outputs of a fragment are named c0, c1, .. in order.", Outcome.NODE, rule="names")
    scans: list[Scan] = []
    places: list[tuple[exp.Table, Scan]] = []
    whole = True
    for found in planner.found:
        relation = found.relation
        if found.composed is not None:
            scans.append(enforce_composed(found.name, found.composed, query_id))
            continue
        text = view_text(relation)
        if found.group is not None:
            bound = planner.bound(relation, found.group.bind)
            dialect = capabilities(relation.spec.source).masks
            scans.append(enforce_grouped(found.name, relation, found.group, text, bound, query_id, dialect))
            continue
        allowed = capabilities(relation.spec.source)
        predicates, rest = predicates_of(found.node, relation, allowed)
        pairs = tuple(p for p in keys_of(found.node, relation, allowed) if planner.binds(relation, [p]))
        whole = whole and all(keys_column(part, found.node, relation) in pairs for part in rest)
        complete = not rest and not relation.hides
        limit = limit_of(tree, found.node, complete, len(planner.found))
        used = compiled.used.get(found.name, frozenset())
        order, most = top_of(tree, found.node, relation, allowed, rest, len(planner.found))
        bound = planner.bound(relation, pairs)
        limit = most if order else limit
        scans.append(enforce(found.name, relation, used, text, predicates, bound, limit, query_id, order=order))
        places.append((found.node, scans[-1]))
    if planner.is_pushed(tree):
        scans = [sorted_scan(tree, scans[0], capabilities(scans[0].relation.spec.source))]
    relations = tuple({r.name: r for scan in scans for r in (scan.relation, *scan.others)}.values())
    hints = hints_of(places, capabilities)
    copies, limit, order = _copies(tree, scans, whole)
    fitted = tuple((name, kinds, values) for (name, kinds), values in planner.fitted.items())
    return RowPlan(
        tuple(scans), compiled.sql, compiled.columns, _reads_once(tree), relations, hints, copies, limit, order, fitted
    )


_COPIED = {"expressions", "from_", "where", "limit"}


_SORTED = frozenset({"tinyint", "smallint", "integer", "bigint", "decimal", "varchar", "date"})
"""Types that Arrow sorts as Trino does: numbers and days by value, texts by their bytes."""


def _copies(
    tree: exp.Expr, scans: Sequence[Scan], whole: bool
) -> tuple[tuple[str, ...], int | None, tuple[Order, ...]]:
    """(columns, limit, order) if the query is `SELECT column, .. FROM scan [WHERE ..] [ORDER BY column, ..] [LIMIT n]`,
    else no columns. order: () where the source gives rows in that order and nothing else may have changed it (`top`).

    whole: WHERE went down whole; here it may read unmasked columns only. Proof: the source has then evaluated it
    exactly (`predicates_of`; of bind keys it delivers exactly the rows whose column is one of them, so `keys_of` is as
    good), so the residual would find it true for every row of the scan; what is left of it
    copies columns, in the order of the rows, and stops after n. Types are the scan's: a bare column has its
    relation's type. To sort governed rows by columns evaluates nothing either; rows that tie stay as they came, sorted
    by all that shows where anything is hidden.
    """
    nothing: tuple[tuple[str, ...], int | None, tuple[Order, ...]] = (), None, ()
    if not isinstance(tree, exp.Select) or len(scans) != 1 or not whole:
        return nothing
    in_order = bool(scans[0].native.order) and not scans[0].hides
    order = () if in_order else order_of(tree, scans[0].columns, _SORTED)
    if not {k for k, v in tree.args.items() if v} - ({"order"} if in_order or order else set()) <= _COPIED:
        return nothing
    table = tree.args["from_"].this if tree.args.get("from_") else None
    if not isinstance(table, exp.Table) or (table.args.get("alias") and table.args["alias"].args.get("columns")):
        return nothing
    where = tree.args.get("where")
    native, masks = scans[0].native, scans[0].relation.masks
    if where and (
        native.group_by or native.aggregates or any(c.name.lower() in masks for c in where.find_all(exp.Column))
    ):
        return nothing
    published = {name for name, _ in scans[0].columns}
    items = [item.this if isinstance(item, exp.Alias) else item for item in tree.expressions]
    names = tuple(i.name.lower() if isinstance(i, exp.Column) else "" for i in items)
    if not names or not published.issuperset(names):
        return nothing
    limit = tree.args.get("limit")
    if limit is None:
        return names, None, order
    count = limit.expression if isinstance(limit, exp.Limit) else None
    if not isinstance(count, exp.Literal) or not count.name.isdigit() or count.is_string:
        return nothing
    return names, int(count.name), order


def fitting(keys: pa.Array, target: Sequence[pa.DataType]) -> pa.Array:
    """Those of the keys that there are in these types."""
    parts = key_table(keys)
    if tuple(parts.schema.types) == tuple(target):
        return keys
    cast = [_cast(column.combine_chunks(), kind) for column, kind in zip(parts.columns, target, strict=True)]
    return distinct(pa.table(cast, names=parts.column_names))


def _cast(values: pa.Array, target: pa.DataType) -> pa.Array:
    """NULL for a value that is out of the type's range."""
    if values.type == target:
        return values
    found = []
    for value in values:
        try:
            found.append(value.cast(target).as_py())
        except pa.ArrowInvalid:
            found.append(None)
    return pa.array(found, target)


def _reads_once(tree: exp.Expr) -> bool:
    """Whether DuckDB scans each relation once: no CTE, no subquery in an expression, no grouping sets."""
    if any(tree.find_all(exp.With, exp.Exists, exp.Rollup, exp.Cube, exp.GroupingSets, exp.All, exp.Any)):
        return False
    for node in tree.find_all(exp.Subquery):
        named = [t.name for t in node.find_all(exp.Table)]
        is_keys = isinstance(node.parent, exp.In) and len(named) == 1 and named[0] in KEYS_TABLES
        if not is_keys and not isinstance(node.parent, (exp.From, exp.Join, exp.SetOperation, exp.Subquery)):
            return False
    return True
