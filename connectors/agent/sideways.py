"""Sideways: what the small side of a join holds tells its source which rows of the large side can matter.

    output AS t0 JOIN product AS t1 ON t1.product_code = t0.product WHERE t1.role = 'M'

The predicate goes down to `product` alone; `output`, which is no smaller for it, would be read whole. So
`product` is read first, and `output` only `WHERE product IN (the codes found)`, in the source's own words.

Rule. `of` and `to` stand in one SELECT, with a conjunct `of.a = to.b` on unmasked columns in WHERE, in ON of
an inner join, or in ON of the LEFT JOIN whose right side `to` is. `to` is asked for the rows whose b is one of
the values of a in what `of` delivers (its row filter and its predicates are in that already).

Proof. The residual sees `of` exactly as delivered, and the conjunct stays in it. Take a row r of `to` with b
NULL or not among those values: no row of `of` makes the conjunct true with r.
- Inner ON, WHERE: every joined row that holds r fails. Without r a partner may appear with NULLs for `to`
  (an outer join below); there b is NULL, the conjunct is not true, and the row fails likewise.
- ON of `.. LEFT JOIN to`: r matches nothing, so it is in no joined row, with or without it.
Text is compared by bytes, numbers and days by value, in the source (`allowed`) as in the residual.

Values of a silo go back to that silo alone, and only values that the analyst may see unmasked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from catalog.types import TrinoType
from connectors.agent.authorise import Governed
from connectors.agent.enforce import Scan
from connectors.agent.pushdown import conjuncts, own_column, select_of
from connectors.base import Capabilities, NativeScan, Predicate

__all__ = ["Hint", "hints_of", "narrowed", "read_ahead"]

VALUES = 50
"""More values make a long statement that selects little; some sources would also leave their fast path."""
LITERALS = frozenset({"tinyint", "smallint", "integer", "bigint", "decimal", "varchar", "date"})
ROWS = 10_000
"""If the small side has more rows than this, it is not small, and the large one is read as it was asked for."""


@dataclass(frozen=True)
class Hint:
    """Scan `to` needs only rows whose raw `column` is a value of the published column `key` in scan `of`."""

    of: str
    key: str
    to: str
    column: str


def hints_of(places: Sequence[tuple[exp.Table, Scan]], capabilities: Callable[[str], Capabilities]) -> tuple[Hint, ...]:
    """All uses of the rule between plain scans. places: where each scan's relation stands in the query.

    `of` is a table that its own predicates make small, `to` has no predicate of its own: no scan waits for
    one that waits.
    """
    found = []
    for of_node, of in places:
        if of.relation.spec.view or not (of.native.predicates or of.native.keys):
            continue
        for to_node, to in places:
            same = select_of(to_node) is select_of(of_node) and to.relation.spec.source == of.relation.spec.source
            if not same or to.native.predicates or to.native.keys or to.native.limit is not None:
                continue
            types = capabilities(to.relation.spec.source).predicates.get("in", frozenset())
            for key, column in _equal_columns(of_node, of.relation, to_node, to.relation):
                own = to.relation.columns[column]
                if own.name in types & LITERALS and _compare_alike(of.relation.columns[key], own):
                    found.append(Hint(of.name, key, to.name, to.relation.raw(column)))
    return tuple(dict.fromkeys(found))


def _equal_columns(of: exp.Table, small: Governed, to: exp.Table, large: Governed) -> Iterator[tuple[str, str]]:
    """(column of `of`, column of `to`) of each conjunct that may be used."""
    select = select_of(to)
    if select is None or select_of(of) is not select:
        return
    names = of.alias_or_name.lower(), to.alias_or_name.lower()
    for part in _usable(select, to):
        if not isinstance(part, exp.EQ):
            continue
        for one, other in ((part.this, part.expression), (part.expression, part.this)):
            key, column = own_column(one, names[0], small, False), own_column(other, names[1], large, False)
            if key and column:
                yield key, column


def _usable(select: exp.Select, to: exp.Table) -> Iterator[exp.Expr]:
    where = select.args.get("where")
    yield from conjuncts(where.this if where else None)
    for join in select.args.get("joins") or []:
        side, kind = (join.side or "").upper(), (join.kind or "").upper()
        inner = not side and kind in ("", "INNER")
        right = side == "LEFT" and kind in ("", "OUTER") and join.this is to
        if inner or right:
            yield from conjuncts(join.args.get("on"))


def _compare_alike(a: TrinoType, b: TrinoType) -> bool:
    """Whether a value of one is the same literal for the other."""
    return a == b or (a.is_integer and b.is_integer) or a.name == b.name == "varchar"


def read_ahead(
    reader: pa.RecordBatchReader, columns: Iterable[str]
) -> tuple[pa.RecordBatchReader, dict[str, list[object]]]:
    """The same rows again, and the distinct values of some columns; no values if there are too many rows."""
    taken: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        taken.append(batch)
        rows += batch.num_rows
        if rows > ROWS:
            return pa.RecordBatchReader.from_batches(reader.schema, chain(taken, reader)), {}
    table = pa.Table.from_batches(taken, reader.schema)
    found = {column: pc.unique(table[column]).drop_null().to_pylist() for column in columns}
    return table.to_reader(), found


def narrowed(native: NativeScan, column: str, values: Sequence[object]) -> NativeScan:
    """A scan that asks for these values of a raw column alone; unchanged if they are many or have no literal."""
    kind = native.types[column]
    if len(values) > VALUES or any(isinstance(v, str) and "\0" in v for v in values):
        return native
    target = kind.arrow()
    if pa.types.is_integer(target):
        bits = target.bit_width - 1
        values = [v for v in values if isinstance(v, int) and -(2**bits) <= v < 2**bits]
    predicate = Predicate(column, "in", tuple(values))  # type: ignore[arg-type]
    return replace(native, predicates=(*native.predicates, predicate))
