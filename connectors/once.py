"""A table that a statement reads twice for the same keys, to be read once.

    lines of less than a fifth of what their part sells on average:
    SELECT .. FROM (SELECT .. FROM lineitem) AS l JOIN (SELECT l_partkey, avg(l_quantity) FROM lineitem
                   WHERE l_partkey IN (keys) GROUP BY 1) AS a ON .. WHERE l.l_partkey IN (keys)
    ->  WITH t AS MATERIALIZED (SELECT .. FROM lineitem WHERE l_partkey IN (keys)) the same over t

PostgreSQL looks every row up twice (TPC-H's q17: 20 ms, so 15).

Proof. Each of the scans that read t in place of the table keeps all of its conditions. What it reads is restricted to
the keys by its own condition, or by one around it, in FROM, on a column that it delivers as it is: a row with another
key in that column, or with NULL, which is none, takes part in nothing. So it does not matter that t has no such rows.
Below LIMIT it would matter, and a condition around groups speaks of other columns unless the column is a key of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from connectors.allowed import columns_read
from connectors.base import NativeScan, OutputColumn

__all__ = ["NAME", "Once", "read_once"]

NAME = "atoll_once"
"""Of what is read once."""


@dataclass(frozen=True)
class Once:
    """scan: what is read once, its columns under their own names. readers: the scans that read that in place of the
    table, each the very object of the statement's scan."""

    scan: NativeScan
    readers: tuple[NativeScan, ...]

    def is_read_by(self, scan: NativeScan) -> bool:
        return any(reader is scan for reader in self.readers)


def read_once(scan: NativeScan) -> Once | None:
    """What the scan reads several times for one set of keys; None if nothing, or if a name would have two meanings.

    One set is one array: two that are equal by chance might not be the next time (`written`).
    """
    found: dict[tuple[str, bool, str, int], list[NativeScan]] = {}
    sets: dict[int, pa.Array] = {}
    for leaf, restricted in _leaves(scan, []):
        for column, keys in restricted:
            readers = found.setdefault((str(leaf.relation), leaf.is_query, column, id(keys)), [])
            if not readers or readers[-1] is not leaf:
                readers.append(leaf)
            sets[id(keys)] = keys
    named = any(isinstance(s.relation, str) and NAME in s.relation for s in scan.scans())
    for (relation, is_query, column, keys_id), readers in found.items() if not named else ():
        types = readers[0].types
        if len(readers) > 1 and all(reader.types == types for reader in readers):
            read = sorted(set().union(*map(columns_read, readers)))
            columns = tuple(OutputColumn(name, types[name], name) for name in read)
            keys = (((column,), sets[keys_id]),)
            return Once(NativeScan(relation, is_query, types, columns, keys=keys), tuple(readers))
    return None


Sets = list[tuple[str, pa.Array]]


def _leaves(scan: NativeScan, around: Sets) -> Iterator[tuple[NativeScan, Sets]]:
    """The scans over an owner's text that stand in FROM, with the keys to which each column of theirs is restricted.

    around: the same of what the scan delivers. Not those with an owner's filter, which may name any column.
    """
    if scan.limit is not None:
        return
    delivered = {o.name: o.column for o in scan.columns}
    delivered |= {k.name: k.column for k in scan.group_by if k.is_plain}
    sets = [(columns[0], keys) for columns, keys in scan.keys if len(columns) == 1]
    sets += [(delivered[name], keys) for name, keys in around if name in delivered]
    if isinstance(scan.relation, str):
        if not scan.row_filters:
            yield scan, sets
        return
    for part in scan.relation:
        names = {name for name, _ in part.outputs}
        yield from _leaves(part, [(name, keys) for name, keys in sets if name in names])
