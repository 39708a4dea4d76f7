"""Masks: what a department lets be seen of a column, one file a mask.

    build(text, column_type, context) -> Mask      from policy text such as `keep_last(4)`
    strictest([masks]) -> Mask                     where several policies meet

To add a mask: a file with a `Mask` (definition in its docstring, Arrow form, DuckDB form), a line in
`MASKS`, and nothing else: the property tests run over every entry.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from catalog.masks import code, constant, date, deny, email, hierarchy, keep, null, number, prefix, pseudonym
from catalog.masks.base import Context, LinkageKey, Mask, MaskError, Rank
from catalog.types import TrinoType

__all__ = ["MASKS", "Context", "LinkageKey", "Mask", "MaskError", "Rank", "build", "parse", "strictest"]

MASKS: dict[str, Callable[[list[str], TrinoType, Context], Mask]] = {
    "deny": deny.build,
    "null": null.build,
    "constant": constant.build,
    "pseudonym": pseudonym.build,
    "date": date.build,
    "number": number.build,
    "hierarchy": hierarchy.build,
    "prefix": prefix.build,
    "keep_first": keep.build_first,
    "keep_last": keep.build_last,
    "email": email.build,
    "top_code": code.build_top,
    "bottom_code": code.build_bottom,
}
_EXPRESSION = re.compile(r"\s*(?P<kind>[a-z_]+)\s*(?:\((?P<args>.*)\))?\s*\Z", re.DOTALL)
_ARGUMENT = re.compile(r"""\s*(?:'(?P<quoted>(?:[^']|'')*)'|(?P<plain>[^,'"()]*?))\s*(?:,|\Z)""")


def parse(text: str) -> tuple[str, list[str]]:
    """`keep_last(4, fixed)` -> ("keep_last", ["4", "fixed"]). Raises MaskError, naming the nearest mask."""
    found = _EXPRESSION.match(text)
    if not found:
        raise MaskError(f"{text!r} is no mask expression")
    kind, rest = found["kind"], found["args"]
    if kind not in MASKS:
        near = difflib.get_close_matches(kind, MASKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"masks: {', '.join(MASKS)}"
        raise MaskError(f"unknown mask {kind!r}: {hint}")
    args: list[str] = []
    place = 0
    while rest and place < len(rest):
        part = _ARGUMENT.match(rest, place)
        if not part or (part["quoted"] is None and not part["plain"]):
            raise MaskError(f"{text!r} is no mask expression")
        args.append(part["plain"] if part["quoted"] is None else part["quoted"].replace("''", "'"))
        place = part.end()
    return kind, args


def build(text: str, column_type: TrinoType, context: Context | None = None) -> Mask:
    """The mask that `text` names, on a column of `column_type`. Raises MaskError."""
    kind, args = parse(text)
    return MASKS[kind](args, column_type, context or Context())


def strictest(masks: Sequence[Mask]) -> Mask:
    """Of several masks on one column the one that hides most; `null` where two are not comparable."""
    result = masks[0]
    for mask in masks[1:]:
        if mask.rank != result.rank:
            result = max(mask, result, key=lambda m: m.rank)
        elif mask.text != result.text:
            coarser = mask.coarser_than(result) if mask.kind == result.kind else None
            if coarser is None:
                result = null.Null("null", result.column_type)
            elif coarser:
                result = mask
    return result
