"""Answers that the gateway makes itself, once the pipeline has resolved the statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from catalog import duck
from catalog.duck.compiler import table_name
from catalog.errors import Outcome, TrinoError, UserError
from catalog.relation import Relation
from catalog.types import BIGINT, BOOLEAN, VARCHAR, TrinoType, parse
from gateway import metadata
from gateway.execution import ResultColumn
from gateway.statements.kinds import NameParts

__all__ = ["DESCRIBED", "INPUTS", "describe_input", "describe_output", "explain_io", "killed", "marker", "text_column"]


DESCRIBED = (
    ResultColumn("Column Name", VARCHAR),
    ResultColumn("Catalog", VARCHAR),
    ResultColumn("Schema", VARCHAR),
    ResultColumn("Table", VARCHAR),
    ResultColumn("Type", VARCHAR),
    ResultColumn("Type Size", BIGINT),
    ResultColumn("Aliased", BOOLEAN),
)
"""The columns of DESCRIBE OUTPUT's answer."""

INPUTS = (ResultColumn("Position", BIGINT), ResultColumn("Type", VARCHAR))
"""The columns of DESCRIBE INPUT's answer."""

_MARK = 770_000_000
"""A parameter without a value is a NULL of a varchar this long and longer: no such type occurs elsewhere."""


def marker(number: int) -> exp.Expr:
    """What stands for parameter `number` while its type is looked for."""
    return exp.cast(exp.Null(), f"VARCHAR({_MARK + number})", dialect="trino")


def describe_input(tree: exp.Query, count: int, known: Mapping[int, str]) -> pa.Table:
    """The rows of DESCRIBE INPUT for a resolved query with markers: each parameter's type by its neighbours.

    known: types told beforehand. `unknown` is said of a parameter that stands alone, as in `SELECT ?`.
    """
    found = dict(known)
    for cast in tree.find_all(exp.Cast):
        number = _marked(cast)
        if number is not None and number < count:
            found[number] = _wanted(cast)
    rows = [found.get(i, "unknown") for i in range(count)]
    return pa.table({"Position": pa.array(range(count), pa.int64()), "Type": pa.array(rows, pa.string())})


def _marked(node: exp.Expr) -> int | None:
    if not isinstance(node, exp.Cast) or not isinstance(node.this, exp.Null) or not node.to.expressions:
        return None
    length = str(node.to.expressions[0].this)
    return int(length) - _MARK if length.isdigit() and int(length) >= _MARK else None


def _wanted(marked: exp.Expr) -> str:
    """The type of what a marker is compared or computed with."""
    node, parent = marked, marked.parent
    while isinstance(parent, (exp.Paren, exp.Neg)):
        node, parent = parent, parent.parent
    if isinstance(parent, (exp.Like, exp.ILike, exp.Concat, exp.DPipe, exp.RegexpLike, exp.Escape)):
        return "varchar"
    if isinstance(parent, exp.Cast):
        return _typed(parent.to)
    if isinstance(parent, (exp.And, exp.Or, exp.Not, exp.Where, exp.Having)):
        return "boolean"
    if isinstance(parent, (exp.Binary, exp.Between, exp.In, exp.Coalesce, exp.Case, exp.If, exp.Tuple)):
        near = (n for n in parent.iter_expressions() if n is not node and _marked(n) is None)
        return next((kind for n in near if (kind := _typed(n.type)) != "unknown"), "unknown")
    return "unknown"


def _typed(kind: exp.DataType | None) -> str:
    if kind is None:
        return "unknown"
    try:
        return metadata.type_text(parse(kind.sql("trino").lower()))
    except ValueError:
        return "unknown"


def describe_output(
    tree: exp.Query, labels: Sequence[str], tables: Mapping[str, Mapping[str, TrinoType]], now: datetime
) -> pa.Table:
    """The rows of DESCRIBE OUTPUT for a resolved query, columns as in `DESCRIBED`.

    tree: qualified, tables by their full names. tables: full name -> column -> type. now: in the session's time zone.
    Raises UserError for what the closed list of functions and nodes refuses.
    """

    def known(node: exp.Table) -> duck.Table:
        return duck.Table(node.name, tables[table_name(node)])

    types = [kind for _, kind in duck.compile_query(tree, known, now).columns]
    first: exp.Expr = tree
    while isinstance(first, exp.SetOperation):
        first = first.left.unnest()
    outputs = first.expressions if isinstance(first, exp.Select) and first is tree else [None] * len(types)
    sources = {t.alias_or_name: t for t in first.find_all(exp.Table)}
    rows = [
        (label, *_origin(output, sources), metadata.type_text(kind), _type_size(kind), _is_aliased(output, label))
        for output, label, kind in zip(outputs, labels, types, strict=True)
    ]
    arrays = [
        pa.array(found, column.type.arrow()) for found, column in zip(zip(*rows, strict=True), DESCRIBED, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=[c.name for c in DESCRIBED])


_TYPE_SIZES = {"boolean": 1, "tinyint": 1, "smallint": 2, "integer": 4, "bigint": 8, "real": 4, "double": 8, "date": 4}


def _type_size(kind: TrinoType) -> int:
    """Bytes of a type of fixed width in Trino, 0 for the others."""
    if kind.name == "decimal":
        return 8 if kind.args[0] <= 18 else 16
    return _TYPE_SIZES.get(kind.name, 0)


def _origin(output: exp.Expr | None, sources: Mapping[str, exp.Table]) -> NameParts:
    """Catalog, schema and table that a plain column comes from; empty texts for anything else."""
    column = output.unalias() if output is not None else None
    source = sources.get(column.table) if isinstance(column, exp.Column) else None
    return (source.catalog, source.db, source.name) if source is not None else ("", "", "")


def _is_aliased(output: exp.Expr | None, label: str) -> bool:
    column = output.unalias() if output is not None else None
    named = column.name if isinstance(column, exp.Column) else ""
    return named.lower() != label.lower() and not label.startswith("_col")


def text_column(label: str) -> ResultColumn:
    """A varchar column of that label."""
    return ResultColumn(label, VARCHAR)


def killed(message: str) -> UserError:
    """The error of a statement that `kill_query` ended."""
    text = f"Message: {message}" if message else "No message was given."
    return UserError(f"Query was killed. {text}", Outcome.CANCELED, trino=TrinoError.ADMINISTRATIVELY_KILLED)


def explain_io(relations: Iterable[Relation]) -> str:
    """EXPLAIN (TYPE IO, FORMAT JSON): the tables that a query reads, with published row counts alone."""
    tables: list[dict[str, Any]] = []
    total: float | str = 0.0
    for relation in sorted(relations, key=lambda r: r.full_name):
        rows: float | str = "NaN" if relation.rows is None else float(relation.rows)
        total = "NaN" if isinstance(rows, str) or isinstance(total, str) else total + rows
        tables.append(
            {
                "table": {
                    "catalog": relation.catalog,
                    "schemaTable": {"schema": relation.schema_name, "table": relation.name},
                },
                "constraint": {"none": False, "columnConstraints": []},
                "estimate": _estimate(rows),
            }
        )
    return json.dumps({"inputTableColumnInfos": tables, "estimate": _estimate(total)}, indent=2)


def _estimate(rows: float | str) -> dict[str, float | str]:
    unknown = dict.fromkeys(("outputSizeInBytes", "cpuCost", "maxMemory", "networkCost"), "NaN")
    return {"outputRowCount": rows, **unknown}
