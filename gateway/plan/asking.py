"""What a fragment is asked once the keys that it waited for are there: with which sets, in how many requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gateway.plan import FragmentPlan, KeySource

__all__ = ["NoKeys", "Request", "requests"]


@dataclass(frozen=True)
class Request:
    """One question as it is sent. keys: of the sets that its text names, in their order; none: all rows are asked."""

    sql: str
    keys: tuple[pa.Array, ...] = ()


class NoKeys(Exception):
    """An exact fragment can't be asked: what came for it is not what it was planned for, one value twice or too many of
    them; or it can't be planned."""


def requests(fragment: FragmentPlan, found: Sequence[pa.Array]) -> list[Request]:
    """The questions whose answers together are the fragment's. found: the keys of each of its sets, distinct.
    Raises NoKeys.

    Proof sketch. Each set alone drops only rows that do not matter, so any of them may be left out. The largest is
    cut into pieces, the others go whole with each piece: a row that matters has its value in exactly one piece, and
    so has a group, whose keys hold the restricted column (`bind`). Without a key in one set no row matters at all.
    """
    source = fragment.keys
    assert source is not None
    if source.exact:
        return [_exact(source, found)]
    chosen = _chosen(fragment, found)
    if not chosen:
        return [Request(fragment.sql)]
    sql = source.texts[tuple(chosen)]
    cut = max(chosen, key=lambda i: len(found[i]))
    step = max(1, source.chunk - sum(len(found[i]) for i in chosen if i != cut))
    return [
        Request(sql, tuple(found[i].slice(start, step) if i == cut else found[i] for i in chosen))
        for start in range(0, max(len(found[cut]), 1), step)
    ]


def _exact(source: KeySource, found: Sequence[pa.Array]) -> Request:
    """All keys at once: in pieces, a group or a limit would be answered for each piece."""
    doubled = (len(pc.unique(keys)) < len(keys) for known, keys in zip(source.sets, found, strict=True) if known.once)
    if sum(map(len, found)) > source.chunk or any(doubled):
        raise NoKeys
    return Request(source.sql, tuple(found))


def _chosen(fragment: FragmentPlan, found: Sequence[pa.Array]) -> list[int]:
    """The places of the sets that go: none with too many keys, and all but one together at most half a request."""
    source = fragment.keys
    assert source is not None
    if source.always:
        return list(range(len(found)))
    empty = next((i for i, keys in enumerate(found) if not len(keys)), None)
    if empty is not None:
        return [empty]
    chosen = [i for i, keys in enumerate(found) if len(keys) <= source.sets[i].most]
    while chosen and sum(sorted(len(found[i]) for i in chosen)[:-1]) > source.chunk // 2:
        chosen.remove(max(chosen, key=lambda i: len(found[i]) / max(1, source.sets[i].most)))
    return chosen
