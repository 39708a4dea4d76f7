"""How large a text becomes when DuckDB writes out its macros.

A macro repeats its arguments, so calls within calls grow by powers: ten `tr_slice` in one another are sixty million
parts. DuckDB's memory limit does not hold while it binds, and no interrupt ends that, so the size is counted first.
"""

from __future__ import annotations

import re
from functools import cache

from catalog.duck.macros import MACROS
from catalog.errors import Outcome, UserError

__all__ = ["MAX_PARTS", "check_expansion", "parts"]

MAX_PARTS = 250_000
"""Words and signs of a text with all macros written out."""
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[A-Za-z_][A-Za-z_0-9]*|[0-9.]+|\S")
_MACRO = re.compile(r"(\w+)\(([^)]*)\) AS (.*)", re.DOTALL)
_HEADS = {found[1]: (found[2], found[3]) for found in map(_MACRO.match, MACROS) if found}


def check_expansion(sql: str) -> None:
    """Raise TOO_LARGE if DuckDB would write the text out to more than `MAX_PARTS`."""
    if parts(sql) > MAX_PARTS:
        raise UserError(
            "The statement nests functions too deeply.",
            Outcome.TOO_LARGE,
            rule="limits",
            hint="Compute the inner values in a query of their own, in WITH.",
        )


def parts(sql: str) -> int:
    """The size of a text with its macros written out."""
    total = 0
    for _, weight in _weighted(sql):
        total += weight
        if total > 10 * MAX_PARTS:
            break
    return total


def _weighted(text: str) -> list[tuple[str, int]]:
    """The words of a text, and how often each stands in it when the macros round it are written out."""
    found: list[tuple[str, int]] = []
    stack, weight, before = [1], 1, ""
    for token in _TOKEN.findall(text):
        if token == "(":
            stack.append(weight)
            weight = min(weight * (_repeats(before) if before in _HEADS else 1), 1 << 60)
        elif token == ")" and len(stack) > 1:
            weight = stack.pop()
        found.append((token, weight + (_size(token) * weight if token in _HEADS else 0)))
        before = token
    return found


@cache
def _repeats(name: str) -> int:
    """How often a macro repeats the argument that it repeats most."""
    params, body = _HEADS[name]
    counts = dict.fromkeys((p.strip() for p in params.split(",")), 0)
    for token, weight in _weighted(body):
        if token in counts:
            counts[token] += weight
    return max(1, *counts.values()) if counts else 1


@cache
def _size(name: str) -> int:
    """The size of a macro's own text, written out."""
    return sum(weight for _, weight in _weighted(_HEADS[name][1]))
