"""The Trino type of an expression, where nothing has to be guessed."""

from __future__ import annotations

from sqlglot import exp

from gateway.rewrite.calm import EXACT
from gateway.rewrite.tree import sources, visible_ctes

__all__ = ["has_char", "output_type", "stand_for_each_other", "sure_type"]

CHARS = (exp.DType.CHAR, exp.DType.NCHAR, exp.DType.BPCHAR)
TEXTS = (exp.DType.VARCHAR, exp.DType.TEXT)
MOST_INTEGER = 2**31 - 1


def sure_type(node: exp.Expr, lengths: bool = True) -> str:
    """The Trino type of an expression of a qualified tree, "" where it is not certain.

    Certain are columns of relations, casts, and texts, integers and truth values as written, whatever queries hand
    them on. Of other expressions a decimal's scale, or whether a text is padded, is a guess of the parser's.
    lengths: whether varchar(3) and varchar are two types.
    """
    if isinstance(node, exp.Paren):
        return sure_type(node.this, lengths)
    if isinstance(node, exp.Column):
        return _column_type(node, lengths)
    if isinstance(node, exp.Cast):
        return _text_of(node.to, lengths)
    if isinstance(node, exp.Literal):
        return _literal_type(node, lengths)
    return "BOOLEAN" if isinstance(node, exp.Boolean) else ""


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
