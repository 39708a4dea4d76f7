"""EXPLAIN: who will be asked what, byte for byte, what is masked, and what stays in the gateway and why.

Never printed: a policy's filter or its literals, native SQL, estimates of what a filter hides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog.errors import CityError
from catalog.exchange import KEYS_TABLES
from catalog.relation import Mode, Relation
from gateway.execution import Part, Session
from gateway.plan import FragmentPlan, KeySet, KeySource, Plan

__all__ = ["Explanation", "explain_plan"]


@dataclass(frozen=True)
class Explanation:
    """text: for people. fragments: one dict per question, for programs. ran: where time and bytes went, if it ran."""

    text: str
    fragments: tuple[dict[str, Any], ...]
    ran: dict[str, Any] | None = None

    def with_run(self, spent: Mapping[str, float], parts: Mapping[str, Part], rows: int) -> Explanation:
        """The same, with what came of it when it ran. spent: seconds of the statement by what they went to; they add up
        to the whole. parts: of the statement, by fragment id."""
        ran = {
            "rows": rows,
            "ms": {doing: _ms(s) for doing, s in spent.items()},
            "ms_in_all": _ms(sum(spent.values())),
            "delivered": [_delivered(name, part) for name, part in parts.items()],
            "bytes_in_all": sum(p.bytes for p in parts.values()),
        }
        return replace(self, text="\n".join([self.text, "", *_run_lines(ran)]), ran=ran)

    def with_verdicts(self, verdicts: Sequence[CityError | None]) -> Explanation:
        """The same, with each department's verdict on its fragment, in order."""
        lines = ["", "verdicts"]
        fragments = []
        for fragment, refusal in zip(self.fragments, verdicts, strict=True):
            words = f"{refusal.outcome.name}: {refusal}" if refusal is not None else "would answer"
            lines.append(f"  {fragment['id']} {fragment['department']}: {words}")
            fragments.append({**fragment, "verdict": refusal.to_dict() if refusal is not None else None})
        return replace(self, text="\n".join([self.text, *lines]), fragments=tuple(fragments))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _delivered(name: str, part: Part) -> dict[str, Any]:
    """One question's part. source_ms: its department's word, on a grid of 50 ms; 0 where it says nothing of it."""
    return {
        "fragment": name[name.rindex("_f") + 1 :] if "_f" in name else name,
        "department": part.department,
        "rows": part.rows,
        "bytes": part.bytes,
        "keys": part.keys,
        "asked_ms": _ms(part.asked),
        "first_ms": _ms(part.first),
        "done_ms": _ms(part.seconds),
        "source_ms": part.receipt.micros // 1000 if part.receipt is not None else 0,
    }


def _run_lines(ran: dict[str, Any]) -> list[str]:
    lines = [f"ran: {ran['rows']:,} rows in the answer"]
    lines += [f"  {ms:10,.1f} ms  {doing}" for doing, ms in ran["ms"].items()]
    lines += [f"  {ran['ms_in_all']:10,.1f} ms  in all", "delivered"]
    for one in ran["delivered"]:
        keys = f" for {one['keys']:,} keys" if one["keys"] else ""
        lines.append(
            f"  {one['fragment']} of {one['department']}: "
            f"{one['rows']:,} rows, {one['bytes']:,} bytes delivered{keys}; "
            f"asked at {one['asked_ms']:,.0f} ms, first bytes {one['first_ms']:,.0f} ms later, "
            f"all {one['done_ms']:,.0f} ms later; in its source at most {one['source_ms']:,} ms"
        )
    return [*lines, f"  {ran['bytes_in_all']:,} bytes in all"]


def explain_plan(plan: Plan, session: Session) -> Explanation:
    """Print a plan. Touches no department."""
    fragments = tuple(_as_dict(f) for f in plan.questions)
    lines = [f"For {session.user}, purpose {session.purpose or '(none)'}"]
    lines += [f"City table {t.name}: {t.comment}" for t in plan.city]
    if plan.first is not None:
        for fragment in plan.first.plan.fragments:
            lines += ["", *_fragment_lines(fragment)]
        lines += ["", *_merge_lines(plan.first.plan), ""]
        few = plan.first
        doubled = f", or {' or '.join(few.once)} gave any;" if few.once else ","
        lines.append(f"only if that is fewer than {few.wanted:,} rows{doubled} and {few.fragment} gave {few.rows:,}:")
    if plan.keyed is not None:
        for fragment in plan.keyed.fragments:
            lines += ["", *_fragment_lines(fragment)]
        lines += ["", *_merge_lines(plan.keyed), "", "only if a key is none, or more keys came than may be sent:"]
    for fragment in plan.fragments:
        lines += ["", *_fragment_lines(fragment)]
    lines += ["", *_merge_lines(plan)]
    return Explanation("\n".join(lines), fragments)


def _as_dict(fragment: FragmentPlan) -> dict[str, Any]:
    return {
        "id": fragment.id,
        "department": fragment.department,
        "sql": fragment.sql if fragment.keys is None or not fragment.keys.always else fragment.keys.sql,
        "sql_with_keys": fragment.keys.sql if fragment.keys is not None else None,
        "relations": [str(r.full_name) for r in fragment.relations],
        "modes": sorted({r.mode.name for r in fragment.relations}),
        "masks": [m for r in fragment.relations for m in _masks(r)],
        "filtered": [str(r.full_name) for r in fragment.relations if r.filtered],
        "floors": {str(r.full_name): r.min_group for r in fragment.relations if r.min_group},
        "notes": list(fragment.notes),
        "whole": fragment.whole,
    }


def _masks(relation: Relation) -> list[str]:
    return [f"{relation.name}.{c.name}: {c.mask}" for c in relation.columns if c.mask]


def _fragment_lines(fragment: FragmentPlan) -> list[str]:
    lines = [f"{fragment.id} -> {fragment.department}"]
    if fragment.keys is None:
        lines.append(f"  {fragment.sql}")
    else:
        lines.append(f"  {fragment.keys.sql}")
        lines += _key_lines(fragment, fragment.keys)
    for relation in fragment.relations:
        lines.append(f"  {relation.name}: {_governed(relation)}")
    known = ["how many rows it delivers is known from before"] if fragment.known else []
    notes = [*fragment.notes, *known, *([f"every row is delivered: {fragment.whole}"] if fragment.whole else [])]
    return [*lines, *(f"  {note}" for note in notes)]


def _key_lines(fragment: FragmentPlan, keys: KeySource) -> list[str]:
    sources = [_source_words(known) for known in keys.sets]
    most = max(known.most for known in keys.sets)
    if len(sources) == 1:
        lines = [f"  keys from {sources[0]}, at most {keys.chunk:,} a request"]
    else:
        named = ", ".join(f"{name} from {source}" for name, source in zip(KEYS_TABLES, sources, strict=False))
        lines = [
            f"  {named}, together at most {keys.chunk:,} keys a request",
            f"  with more than {most:,} keys in a set: without it",
        ]
    if keys.exact:
        once = [name for name, known in zip(sources, keys.sets, strict=True) if known.once]
        return [lines[0], *(f"  each value of {name} must come once: a key, as its owner says" for name in once)]
    each = "" if len(sources) == 1 else " in each"
    return lines if keys.always else [*lines, f"  with more than {most:,} keys{each}: {fragment.sql}"]


def _source_words(known: KeySet) -> str:
    words = ", ".join(sorted(known.needs - known.matched)) or "the statement"
    if known.matched:
        words = f"{words} whose rows match {' and '.join(sorted(known.matched))}"
    parts = len(known.query.expressions)
    return words if parts == 1 else f"{words} of {parts} columns together"


def _governed(relation: Relation) -> str:
    parts = [f"{relation.mode.name} mode" + (": not real data" if relation.mode is Mode.synthetic else "")]
    if relation.min_group:
        parts.append(f"cells of fewer than {relation.min_group} {relation.entity or 'entities'} are absent")
    masks = [f"{c.name} {c.mask}" for c in relation.columns if c.mask]
    parts.append(f"masked: {', '.join(masks)}" if masks else "nothing masked")
    parts.append("a row filter applies" if relation.filtered else "no row filter")
    if relation.stale:
        parts.append("as last known; the department does not answer now")
    return "; ".join(parts)


def _merge_lines(plan: Plan) -> list[str]:
    if plan.merge is None:
        return ["merge: none, the department's answer is the result"]
    lines = ["merge (in the gateway)", f"  {plan.merge.sql('trino')}"]
    if plan.stored:
        lines.append(f"  read to the end first: {', '.join(sorted(plan.stored))}")
    return [*lines, *(f"  {note}" for note in plan.notes)]
