"""What a tree says, apart from how it is written: for "this text parses back to that tree"."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

Shape = tuple[Any, ...]


def shape(node: exp.Expr) -> Shape:
    """Every node with its arguments; brackets and the quotes round a name are all that is left out."""
    while isinstance(node, exp.Paren):
        node = node.this
    said = {k: v for k, v in node.args.items() if v not in (None, False, [], "") and k != "quoted"}
    parts = [(key, _part(value)) for key, value in sorted(said.items())]
    return (type(node).__name__, *parts)


def _part(value: Any) -> Any:
    if isinstance(value, exp.Expr):
        return shape(value)
    if isinstance(value, list):
        return tuple(_part(v) for v in value)
    return value if isinstance(value, (bool, int)) else str(value)
