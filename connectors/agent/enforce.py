"""The one place where masks and row filters enter a query.

For each occurrence of a relation it makes a `Scan`: what the source is asked (`NativeScan`: the owner's
text, row filters, raw columns), and the trusted projection from raw to published columns (masks in
DuckDB form, casts to the published types). The analyst's query runs above that projection, in another
engine, which never holds a raw value of a masked column. No text of the analyst is in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from catalog.types import BIGINT, TrinoType
from connectors.agent.authorise import Governed
from connectors.agent.pushdown import Grouped
from connectors.base import Aggregate, Capabilities, GroupKey, NativeScan, OutputColumn, Predicate

__all__ = ["Scan", "enforce", "enforce_grouped"]


@dataclass(frozen=True)
class Scan:
    """One occurrence of a governed relation, ready to run.

    name: its table name in the residual engine. columns: published name -> type, in delivery order.
    projection: SQL over the scan's columns, None if nothing is masked and types are already right.
    """

    name: str
    relation: Governed
    native: NativeScan
    columns: tuple[tuple[str, TrinoType], ...]
    projection: str | None

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(n, t.arrow()) for n, t in self.columns])


def enforce(
    name: str,
    relation: Governed,
    used: Iterable[str],
    view_text: str,
    predicates: Sequence[Predicate] = (),
    keys: Sequence[tuple[str, pa.Array]] = (),
    limit: int | None = None,
    query_id: str = "",
    hidden: Sequence[str] = (),
) -> Scan:
    """Mask and filter one occurrence.

    used: published columns that the query reads. view_text: the owner's SELECT, "" for a plain table.
    keys: (published column, values). hidden: raw columns that only trusted code sees (an aggregate's
    entity), delivered unmasked under `raw_<column>`; never for a query of an analyst.
    """
    wanted = [c for c in relation.columns if c in set(used)]
    if not wanted and not hidden:
        # `count(*)` reads no column, but rows must still arrive: the first one that needs least trust.
        wanted = [next((c for c in relation.columns if c not in relation.masks), next(iter(relation.columns)))]
    spec = relation.spec
    outputs = [OutputColumn(relation.raw(c), spec.columns[c].type, c) for c in wanted]
    outputs += [OutputColumn(relation.raw(c), spec.columns[c].type, f"raw_{c}") for c in hidden]
    native = _native(relation, view_text, predicates, keys, query_id)
    native = replace(native, columns=tuple(outputs), limit=limit)
    parts, columns = [], []
    for column in wanted:
        mask = relation.masks.get(column)
        sql = mask.duckdb(f'"{column}"') if mask else f'"{column}"'
        parts.append(f'CAST({sql} AS {relation.columns[column].duckdb()}) AS "{column}"')
        columns.append((column, relation.columns[column]))
    for column in hidden:
        parts.append(f'"raw_{column}" AS "raw_{column}"')
        columns.append((f"raw_{column}", spec.columns[column].type))
    masked = any(c in relation.masks for c in wanted)
    return Scan(name, relation, native, tuple(columns), ", ".join(parts) if masked else None)


def enforce_grouped(
    name: str,
    relation: Governed,
    group: Grouped,
    view_text: str,
    keys: Sequence[tuple[str, pa.Array]],
    query_id: str = "",
) -> Scan:
    """A grouped scan over unmasked columns only; `pushdown.grouped` has proved that there is no other."""
    native = _native(relation, view_text, group.predicates, keys, query_id)
    native = replace(native, group_by=group.keys, aggregates=group.aggregates)
    return Scan(name, relation, native, group.columns, None)


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
        total = TrinoType("decimal", (38, kinds[m].args[1])) if kinds[m].name == "decimal" else BIGINT
        sums.append(Aggregate("sum", relation.raw(m), total, f"s{i}"))
        sums.append(Aggregate("count", relation.raw(m), BIGINT, f"k{i}"))
    own = [replace(p, column=relation.raw(p.column)) for p in predicates]
    native = replace(_native(relation, view_text, own, (), query_id), group_by=tuple(keys), aggregates=tuple(sums))
    return Scan(name, relation, native, tuple(native.outputs), None)


def _native(
    relation: Governed,
    view_text: str,
    predicates: Sequence[Predicate],
    keys: Sequence[tuple[str, pa.Array]],
    query_id: str,
) -> NativeScan:
    spec = relation.spec
    return NativeScan(
        relation=view_text or spec.table,
        is_query=bool(view_text),
        types={(c.from_ or n): c.type for n, c in spec.columns.items()},
        row_filters=relation.decision.filters,
        predicates=tuple(predicates),
        keys=tuple((relation.raw(c), values) for c, values in keys),
        query_id=query_id,
    )
