"""Masks: what a department lets be seen of a column, one file a mask.

    build(text, column_type, context) -> Mask      from policy text such as `keep_last(4)`
    strictest([masks]) -> Mask                     where several policies meet
    pair_faults(column, texts, types)              a mask that only makes sense on two columns at once
    together(masks, visible)                       the same, after grants were combined

To add a mask: a file with a `Mask` (definition in its docstring, Arrow form, DuckDB form, perhaps forms for
sources), a line in `MASKS`, and nothing else: the property tests run over every entry. A predicate on what it
shows goes to the source by a rule of its own (`connectors/agent/inverse.py`), or not at all.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from catalog.masks import (
    bucket,
    code,
    constant,
    date,
    deny,
    email,
    format,
    geo,
    hierarchy,
    keep,
    null,
    number,
    prefix,
    pseudonym,
    token,
)
from catalog.masks.base import Context, LinkageKey, Mask, MaskError, Rank, Vault
from catalog.types import TrinoType

__all__ = [
    "MASKS",
    "Context",
    "LinkageKey",
    "Mask",
    "MaskError",
    "Rank",
    "Vault",
    "build",
    "pair_faults",
    "parse",
    "strictest",
    "together",
]

MASKS: dict[str, Callable[[list[str], TrinoType, Context], Mask]] = {
    "deny": deny.build,
    "null": null.build,
    "constant": constant.build,
    "token": token.build,
    "pseudonym": pseudonym.build,
    "date": date.build,
    "number": number.build,
    "bucket": bucket.build,
    "hierarchy": hierarchy.build,
    "geo": geo.build,
    "prefix": prefix.build,
    "keep_first": keep.build_first,
    "keep_last": keep.build_last,
    "email": email.build,
    "format": format.build,
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
    """Of several masks on one column the one that hides most; `null` where two are not comparable.

    Order (GOVERNANCE 2): `deny`, else `null` if any two of them are not comparable, else the strictest. Two are
    comparable if their ranks differ, or if what one shows follows from what the other shows (`coarser_than`); a
    kind may know a mask below two of its own (`join`).

    Laws, tested: idempotent, commutative, associative, never weaker than any of `masks`, and never weaker for
    one mask more. For the last two the result remembers what it was made of (`of`): `date(week)` and
    `date(month)` give `null`, and a pseudonym beside them must not make it a pseudonym again.
    """
    every = list({m.text: m for mask in masks for m in mask.of}.values())
    every.sort(key=lambda m: m.text)
    result = copy.copy(_strictest(every))
    result.of = tuple(every)
    return result


def _strictest(every: Sequence[Mask]) -> Mask:
    top = max(m.rank for m in every)
    if top is Rank.deny:
        return next(m for m in every if m.rank is top)
    by_rank: dict[Rank, list[Mask]] = {}
    for mask in every:
        by_rank.setdefault(mask.rank, []).append(mask)
    found = {rank: _coarsest(same) for rank, same in by_rank.items()}
    winner = found[top]
    if winner is None or None in found.values():
        return null.Null("null", every[0].column_type)
    return winner


def _coarsest(same: Sequence[Mask]) -> Mask | None:
    """Of masks of one rank, the one that hides what each of them hides; None if there is none."""
    result = same[0]
    for mask in same[1:]:
        if mask.kind != result.kind:
            return None
        if result.coarser_than(mask):
            continue
        found = mask if mask.coarser_than(result) else result.join(mask)
        if found is None:
            return None
        result = found
    return result


def pair_faults(column: str, texts: Mapping[str, str], types: Mapping[str, TrinoType]) -> Iterator[str]:
    """What is wrong with the mask on `column` if it stands on two at once: both, the same words, one kind of type.

    texts: column -> mask expression of one grant, the column's own valid. types: of all columns of the relation.
    """
    kind, args = parse(texts[column])
    for other in args[1:] if kind == "geo" else ():
        if other not in types:
            yield f"there is no column {other!r}"
        elif _words(texts.get(other, "")) != (kind, args):
            yield f"{other} must carry the same: {texts[column]}"
        elif types[other].name != types[column].name:
            yield f"{' and '.join(args[1:])} must both be decimal or both double"


def _words(text: str) -> tuple[str, list[str]] | None:
    try:
        return parse(text)
    except MaskError:
        return None


def together(masks: dict[str, Mask], visible: Collection[str]) -> dict[str, Mask]:
    """Masks that grants combined, by column: one of a pair whose other half was lost becomes `null`.

    What a coordinate shows depends on the other one too. If another grant denies or changes that, what stays
    could tell of it.
    """
    return {c: null.Null("null", m.column_type) if _is_widow(m, masks, visible) else m for c, m in masks.items()}


def _is_widow(mask: Mask, masks: Mapping[str, Mask], visible: Collection[str]) -> bool:
    return any(b not in visible or b not in masks or masks[b].text != mask.text for b in mask.beside)
