"""The Trino type of an expression, where nothing has to be guessed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlglot import exp

from gateway.rewrite.calm import EXACT
from gateway.rewrite.tree import sources, visible_ctes

__all__ = ["has_char", "output_type", "stand_for_each_other", "sure_type"]

CHARS = (exp.DType.CHAR, exp.DType.NCHAR, exp.DType.BPCHAR)
TEXTS = (exp.DType.VARCHAR, exp.DType.TEXT)
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
"""From the narrowest to the widest: what is computed of two, or is one of them, is of the wider one's type."""
MOST_INTEGER = 2**31 - 1


def sure_type(node: exp.Expr, lengths: bool = True) -> str:
    """The Trino type of an expression of a qualified tree, "" where it is not certain.

    Certain are columns of relations, casts, and texts, integers and truth values as written, whatever queries hand
    them on; what is computed of integers; conditions; parts of a varchar; and what is one of several, all of one
    certain type. Of other expressions a decimal's scale, or whether a text is padded, is a guess of the parser's.
    lengths: whether varchar(3) and varchar are two types.
    """
    match node:
        case exp.Paren():
            return sure_type(node.this, lengths)
        case exp.Column():
            return _column_type(node, lengths)
        case exp.Cast():
            return _text_of(node.to, lengths)
        case exp.Literal():
            return _literal_type(node, lengths)
        case exp.Boolean() | exp.Predicate() | exp.Connector() | exp.Not():
            return "BOOLEAN"
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Neg():
            return _widest({sure_type(operand, lengths) for operand in node.iter_expressions()})
        case exp.Year() | exp.Quarter() | exp.Month() | exp.Day() | exp.Length() | exp.Count():
            return "BIGINT"
        case exp.Upper() | exp.Lower() | exp.Trim() | exp.Substring() if not lengths:
            return "VARCHAR" if sure_type(node.this, False) == "VARCHAR" else ""
        case exp.Case() | exp.If() | exp.Coalesce():
            return _one_type(_choices(node), lengths)
    return ""


def _choices(node: exp.Expr) -> list[exp.Expr]:
    """What CASE, IF or COALESCE may come to."""
    if isinstance(node, exp.Coalesce):
        return [node.this, *node.expressions]
    if isinstance(node, exp.If):
        return [n for n in (node.args["true"], node.args.get("false")) if n is not None]
    default = node.args.get("default")
    return [*(branch.args["true"] for branch in node.args["ifs"]), *([] if default is None else [default])]


def _one_type(nodes: Iterable[exp.Expr], lengths: bool) -> str:
    """The certain type to which all expressions come, NULL being of any; "" if none is certain."""
    found = {sure_type(n, lengths) for n in nodes if not isinstance(n, exp.Null)}
    return found.pop() if len(found) == 1 else _widest(found)


def _widest(found: Collection[str]) -> str:
    """Of types of integers the widest, "" of others."""
    return max(found, key=INTEGERS.index) if found and set(found) <= set(INTEGERS) else ""


def stand_for_each_other(one: exp.Column, other: exp.Column) -> bool:
    """Whether two columns that are equal have one value, so that either may be put in the other's place."""
    return one.is_type(*EXACT) and other.is_type(*EXACT) and "" != sure_type(one) == sure_type(other)


def output_type(query: exp.Expr, place: int, lengths: bool = True) -> str:
    """The certain type of output number `place` of a query, "" if there is none or arms differ in it."""
    while isinstance(query, exp.Subquery):
        query = query.this
    if isinstance(query, exp.SetOperation):
        found = {output_type(arm, place, lengths) for arm in (query.left, query.right)}
        return found.pop() if len(found) == 1 else ""
    return sure_type(query.expressions[place].unalias(), lengths) if isinstance(query, exp.Select) else ""


def has_char(node: exp.Expr) -> bool:
    """Whether a padded text stands in an expression: how it compares with a varchar depends on their lengths."""
    return any(n.is_type(*CHARS) for n in node.walk())


def _column_type(column: exp.Column, lengths: bool) -> str:
    select, node = _origin(column)
    alias = node.args.get("alias") if node is not None else None
    columns = [c.name for c in alias.args.get("columns") or []] if alias is not None else []
    if isinstance(node, exp.Table) and node.db:
        return "" if columns or column.type is None else _text_of(column.type, lengths)
    if isinstance(node, exp.Values):
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
        known = column.name in columns and all(len(row) == len(columns) for row in rows)
        return _one_type((row[columns.index(column.name)] for row in rows), lengths) if known else ""
    query = _query_of(node, select)
    names = columns or (query.named_selects if isinstance(query, exp.Query) else [])
    if query is None or column.name not in names:
        return ""
    return output_type(query, names.index(column.name), lengths)


def _origin(column: exp.Column) -> tuple[exp.Select | None, exp.Expr | None]:
    """The query that a column's source is joined in, and the source: its own query, or the nearest around it."""
    select = column.find_ancestor(exp.Select)
    while select is not None:
        for source in sources(select):
            if source.alias == column.table:
                return select, source.node
        select = select.find_ancestor(exp.Select)
    return None, None


def _query_of(node: exp.Expr | None, select: exp.Select | None) -> exp.Expr | None:
    """The query of a derived table or of the WITH query that a table names."""
    if isinstance(node, exp.Subquery):
        return None if node.args.get("joins") else node.this
    if not isinstance(node, exp.Table) or select is None:
        return None
    named = [cte for cte in visible_ctes(select) if cte.alias == node.name]
    return named[-1].this if named and not named[-1].args["alias"].args.get("columns") else None


def _literal_type(node: exp.Literal, lengths: bool) -> str:
    if node.is_string:
        return f"VARCHAR({len(node.this)})" if lengths else "VARCHAR"
    return "INTEGER" if node.this.isdecimal() and int(node.this) <= MOST_INTEGER else ""


def _text_of(kind: exp.DataType, lengths: bool) -> str:
    if kind.is_type("unknown", "null"):
        return ""
    return "VARCHAR" if kind.is_type(*TEXTS) and not lengths else kind.sql("trino")
