"""The one place where masks and row filters enter a query.

For each occurrence of a relation it makes a `Scan`: what the source is asked (`NativeScan`: the owner's
text, row filters, raw columns), and the trusted projection from raw to published columns (masks in
DuckDB form, casts to the published types). The analyst's query runs above that projection, in another
engine, which never holds a raw value of a masked column. No text of the analyst is in here.

Masks that need the agent's own process (`token`) run before that, in `Scan.ingest`, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from catalog.masks import Mask
from catalog.types import BIGINT, TrinoType
from connectors.agent.authorise import Governed
from connectors.agent.compose import Composed
from connectors.agent.pushdown import Grouped
from connectors.base import (
    Aggregate,
    BoundKeys,
    Capabilities,
    Condition,
    GroupKey,
    NativeScan,
    Order,
    OutputColumn,
    Predicate,
)

__all__ = ["Scan", "enforce", "enforce_composed", "enforce_grouped", "enforce_part"]


@dataclass(frozen=True)
class Scan:
    """One occurrence of a governed relation, ready to run.

    name: its table name in the residual engine. columns: published name -> type, in delivery order.
    projection: SQL over the scan's columns, None if nothing is masked and types are already right.
    early: columns of the source's batches whose masks run in `ingest`. others: further relations that are read.
    """

    name: str
    relation: Governed
    native: NativeScan
    columns: tuple[tuple[str, TrinoType], ...]
    projection: str | None
    early: Mapping[str, Mask] = field(default_factory=dict)
    others: tuple[Governed, ...] = ()

    @property
    def hides(self) -> bool:
        """Whether the order of the rows may tell what is kept back of a relation."""
        return any(relation.hides for relation in (self.relation, *self.others))

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(n, t.arrow()) for n, t in self.columns])

    @property
    def ingested(self) -> pa.Schema:
        """The schema of `ingest`'s batches: the source's, with the types of what was masked early."""
        if not self.early:
            return self.native.schema
        kinds = {name: mask.type.arrow() for name, mask in self.early.items()}
        return pa.schema([pa.field(f.name, kinds.get(f.name, f.type)) for f in self.native.schema])

    def ingest(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The source's batches as the mask engine may see them."""
        for batch in batches:
            if self.early:
                arrays = [
                    self.early[n].arrow(array) if n in self.early else array
                    for n, array in zip(batch.schema.names, batch.columns, strict=True)
                ]
                batch = pa.record_batch(arrays, schema=self.ingested)
            yield batch


def enforce(
    name: str,
    relation: Governed,
    used: Iterable[str],
    view_text: str,
    predicates: Sequence[Condition] = (),
    keys: Sequence[BoundKeys] = (),
    limit: int | None = None,
    query_id: str = "",
    hidden: Sequence[str] = (),
    order: Sequence[Order] = (),
) -> Scan:
    """Mask and filter one occurrence.

    used: published columns that the query reads. view_text: the owner's SELECT, "" for a plain table.
    keys: of published columns. hidden: raw columns that only trusted code sees (an aggregate's
    entity), delivered unmasked under `raw_<column>`; never for a query of an analyst. order: of the rows that `limit`
    keeps, by unmasked columns in raw names (`top`). Raises ValueError if one of them has a mask.
    """
    masked = {relation.raw(c) for c in relation.spec.columns if c in relation.masks or c not in relation.columns}
    if any(o.column in masked for o in order):
        raise ValueError(f"the first rows of {relation.name} by a masked column")
    wanted = [c for c in relation.columns if c in set(used)]
    if not wanted and not hidden:
        # `count(*)` reads no column, but rows must still arrive: the first one that needs least trust.
        wanted = [next((c for c in relation.columns if c not in relation.masks), next(iter(relation.columns)))]
    spec = relation.spec
    masks = {c: relation.masks[c] for c in wanted if c in relation.masks}
    beside = {b for m in masks.values() for b in m.beside}
    unseen = sorted(beside - {*wanted})  # only masks read them
    outputs = [OutputColumn(relation.raw(c), spec.columns[c].type, c) for c in (*wanted, *unseen)]
    outputs += [OutputColumn(relation.raw(c), spec.columns[c].type, f"raw_{c}") for c in hidden]
    native = _native(relation, view_text, predicates, keys, query_id)
    native = replace(native, columns=tuple(outputs), limit=limit, order=tuple(order), masked=(*masks, *unseen))
    parts, columns = [], []
    for column in wanted:
        mask = masks.get(column)
        sql = mask.duckdb(f'"{column}"', *(f'"{b}"' for b in mask.beside)) if mask else f'"{column}"'
        parts.append(f'CAST({sql} AS {relation.columns[column].duckdb()}) AS "{column}"')
        columns.append((column, relation.columns[column]))
    for column in hidden:
        parts.append(f'"raw_{column}" AS "raw_{column}"')
        columns.append((f"raw_{column}", spec.columns[column].type))
    early = {c: m for c, m in masks.items() if m.in_agent}
    return Scan(name, relation, native, tuple(columns), ", ".join(parts) if masks else None, early)


def enforce_grouped(
    name: str,
    relation: Governed,
    group: Grouped,
    view_text: str,
    keys: Sequence[BoundKeys],
    query_id: str = "",
    dialect: str = "",
) -> Scan:
    """A grouped scan; `pushdown.grouped` has proved that it aggregates unmasked columns only.

    A masked column is a key in the form that its mask has for this source (`Mask.source`). Proof: the form
    gives, for every raw value of the declared type, what the mask shows of it (property-tested in the engine
    itself), so the source's groups are those of the masked column, and no raw value of it leaves the source.
    dialect: the source's, in which that form is.
    """
    native = _native(relation, view_text, group.predicates, keys, query_id)
    shown = tuple(replace(k, form=_form(relation.masks[group.masked[k.name]], dialect)) if k.name in group.masked else k
                  for k in group.keys)  # fmt: skip
    native = replace(native, group_by=shown, aggregates=group.aggregates)
    return Scan(name, relation, native, group.columns, None)


def enforce_part(relation: Governed, columns: Mapping[str, str], view_text: str) -> NativeScan:
    """One occurrence as part of a join inside its source: published columns under other names, row filter included.

    Nothing masks them afterwards: raises ValueError if any of them has a mask or isn't shown.
    """
    if not all(c in relation.columns and c not in relation.masks for c in columns):
        raise ValueError(f"a masked column of {relation.name} in a join")
    outputs = tuple(OutputColumn(relation.raw(c), relation.columns[c], name) for c, name in columns.items())
    return replace(_native(relation, view_text, (), (), ""), columns=outputs)


def enforce_composed(name: str, composed: Composed, query_id: str) -> Scan:
    """A join inside one source, of scans that `enforce_part` made: there is nothing left to mask."""
    first, *others = composed.relations
    native = replace(composed.native, query_id=query_id)
    return Scan(name, first, native, composed.columns, None, others=tuple(others))


def _form(mask: Mask, dialect: str) -> str:
    found = mask.source(dialect)
    if found is None:
        raise ValueError(f"mask {mask.kind} has no form for {dialect}")
    return found


def enforce_entities(
    name: str,
    relation: Governed,
    dimensions: Sequence[str],
    measures: Sequence[str],
    entity: str,
    predicates: Sequence[Predicate],
    allowed: Capabilities,
    view_text: str,
    query_id: str = "",
) -> Scan | None:
    """One line per (dimensions, entity), grouped by the source; None if it cannot do that exactly.

    Only for trusted aggregation: it delivers the entity, as `entity`, with `n`, and `s<i>`, `k<i>` (sum and
    count) of each measure. predicates: in published names. No dimension or measure may be masked, since the
    source would group and add raw values.
    """
    spec = relation.spec
    kinds = {c: spec.columns[c].type for c in (*dimensions, *measures, entity)}
    fits = (
        not any(c in relation.masks for c in (*dimensions, *measures))
        and all(kinds[c].name in allowed.group_types for c in (*dimensions, entity))
        and all(kinds[p.column].name in allowed.predicates.get(p.op, frozenset()) for p in predicates)
        and "count" in allowed.aggregates
        and all(kinds[m].name in allowed.aggregates.get(f, frozenset()) for m in measures for f in ("sum", "count"))
    )
    if not fits:
        return None
    keys = [GroupKey(relation.raw(d), kinds[d], d) for d in dimensions]
    keys.append(GroupKey(relation.raw(entity), kinds[entity], "entity"))
    sums = [Aggregate("count", None, BIGINT, "n")]
    for i, m in enumerate(measures):
        sums.append(Aggregate("sum", relation.raw(m), _exact_sum(kinds[m]), f"s{i}"))
        sums.append(Aggregate("count", relation.raw(m), BIGINT, f"k{i}"))
    own = [replace(p, column=relation.raw(p.column)) for p in predicates]
    native = replace(_native(relation, view_text, own, (), query_id), group_by=tuple(keys), aggregates=tuple(sums))
    return Scan(name, relation, native, tuple(native.outputs), None)


def _exact_sum(kind: TrinoType) -> TrinoType:
    """A type that holds every sum of one entity: an overflow would tell of rows in a cell that is withheld."""
    if kind.name == "bigint":
        return TrinoType("decimal", (38, 0))
    return TrinoType("decimal", (38, kind.args[1])) if kind.name == "decimal" else BIGINT


def _native(
    relation: Governed,
    view_text: str,
    predicates: Sequence[Condition],
    keys: Sequence[BoundKeys],
    query_id: str,
) -> NativeScan:
    spec = relation.spec
    return NativeScan(
        relation=view_text or spec.table,
        is_query=bool(view_text),
        types={(c.from_ or n): c.type for n, c in spec.columns.items()},
        row_filters=relation.decision.filters,
        predicates=tuple(predicates),
        keys=tuple((tuple(map(relation.raw, columns)), values) for columns, values in keys),
        query_id=query_id,
    )
