"""What holds of every decision: no grant widens what others show, order is nothing, time ends what it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from catalog.policy import Decision, Department, check, decide
from catalog.policy.deciding import EPOCHS
from catalog.relation import Mode

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
BEFORE, AFTER = "2026-05-01", "2026-05-20"
COLUMNS = {"org": "varchar", "name": "varchar", "year": "integer", "qty": "decimal(14,3)"}
NAMES = sorted(COLUMNS)
FILTERS = {"a = 1": {0, 1}, "b = 1": {1, 2}, "c = 1": {3}}
BASE: dict[str, Any] = {
    "department": "water",
    "identity": {"issuer": "http://idp", "jwks": "file:jwks.json"},
    "sources": {"main": {"kind": "sqlite", "path": "x.db"}},
    "purposes": ["audit", "planning"],
    "groups": {"staff": ["ana", "ben"]},
    "relations": {"usage": {"table": "usage", "columns": {**COLUMNS, "name": {"type": "varchar", "personal": True}}}},
}


def some(names: Sequence[str], least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=least, max_size=len(names), unique=True)


def grants(**fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Grants of every mode, in no order, for ana or not, valid now or not."""
    people = {
        "users": some(["ana", "ben"]), "groups": st.just(["staff"]), "from": st.sampled_from([BEFORE, AFTER]),
        "until": st.sampled_from([BEFORE, "2026-05-10", AFTER]),
        "hours": st.sampled_from(["08:00-18:00", "13:00-14:00"]),
    }  # fmt: skip
    caps = {"max_rows": st.integers(1, 9), "max_bytes": st.integers(1, 9), "per_day": st.integers(1, 9)}
    whole = {"purposes": some(["audit", "planning"])}
    rows = {
        "columns": some(NAMES), "row_filter": st.sampled_from(sorted(FILTERS)), **caps, **people,
        "masks": st.dictionaries(st.sampled_from(["org", "name"]), st.sampled_from(["null", "deny", "keep_first(1)"])),
    }  # fmt: skip
    sums = {
        "dimensions": some(["name", "year"]), "measures": some(["qty"]), "entity": st.just("org"),
    }  # fmt: skip
    floors = {"min_group": st.integers(3, 9), "largest_share": st.integers(1, 100),
              "round_to": st.fixed_dictionaries({"qty": st.sampled_from([4, 6, 10])}), "p_percent": st.integers(1, 50),
              "base_cells": st.booleans(), "noise": st.fixed_dictionaries({"qty": st.sampled_from([1.5, 2.0])}),
              "epoch": st.sampled_from(["day", "month", "year"])}  # fmt: skip
    kinds = [
        st.fixed_dictionaries({**whole, "mode": st.just("masked")}, optional=rows),
        st.fixed_dictionaries({"mode": st.just("open")}, optional=rows),
        st.fixed_dictionaries({**whole, **sums, "mode": st.just("aggregate")}, optional={**floors, **caps, **people}),
        st.fixed_dictionaries({**whole, "mode": st.just("verify"), "key": st.sampled_from(["org", "name"])},
                              optional={**people, "per_day": st.integers(1, 9), "per_subject": st.integers(1, 9)}),
        st.fixed_dictionaries({"deny": st.just(True)}, optional={
            "columns": some(NAMES), "users": people["users"], "from": people["from"], "purposes": whole["purposes"]}),
    ]  # fmt: skip
    return st.one_of(kinds).map(lambda g: {"relation": "usage", **g, **fixed})


def department(found: Sequence[dict[str, Any]]) -> Department:
    """Named so that order leaves no trace in the names."""
    made = Department.model_validate({**BASE, "grants": found})
    assume(not list(check(made)))
    return made


def named(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": f"g{i}", **g} for i, g in enumerate(found)]


def ask(d: Department, now: datetime = NOW) -> Decision | None:
    return decide(d, "ana", "audit", "usage", now)


def least(value: int | None) -> float:
    return float("inf") if value is None else value


def shows_no_more(after: Decision | None, before: Decision | None) -> bool:
    """Whether everything that `after` shows, `before` shows too."""
    if after is None or before is None:
        return after is None
    end = datetime.max.replace(tzinfo=UTC)
    caps = (
        ("max_rows", "max_bytes", "questions_per_day") if after.mode is not Mode.verify else ("max_rows", "max_bytes")
    )
    fits = [
        after.mode <= before.mode,
        set(after.columns) <= set(before.columns),
        set(after.filters) >= set(before.filters),
        (after.until or end) <= (before.until or end),
        all(least(getattr(after, c)) <= least(getattr(before, c)) for c in caps),
        all(set(after.masks.get(c, ())) >= set(before.masks.get(c, ())) for c in after.columns),
    ]
    if after.mode is before.mode is Mode.aggregate:
        fits += [
            (after.min_group or 0) >= (before.min_group or 0),
            least(after.largest_share) <= least(before.largest_share),
            set(after.dimensions) <= set(before.dimensions),
            set(after.measures) <= set(before.measures),
            all(after.round_to.get(m, 0) % before.round_to.get(m, 1) == 0 for m in after.measures),
            all(after.round_to.get(m, 0) > 0 for m in after.measures if m in before.round_to),
            all(after.noise.get(m, 0) >= before.noise.get(m, 0) for m in after.measures),
            (after.p_percent or 0) >= (before.p_percent or 0),
            after.base_cells >= before.base_cells,
            after.guard >= before.guard or after.base_cells,
            EPOCHS.index(after.epoch) >= EPOCHS.index(before.epoch),
        ]
    if after.mode is before.mode is Mode.verify:
        fits += [after.key == before.key, after.per_day <= before.per_day, after.per_subject <= before.per_subject]
    return all(fits)


VERIFY = {"relation": "usage", "purposes": ["audit"], "mode": "verify", "key": "org"}


@given(st.lists(grants(), min_size=1, max_size=4), grants())
@example([VERIFY], {**VERIFY, "per_subject": 9})
@example([VERIFY], {**VERIFY, "per_day": 9_999})
@settings(max_examples=200)
def test_one_more_grant_never_shows_more_where_there_was_one(
    found: list[dict[str, Any]], extra: dict[str, Any]
) -> None:
    before = ask(department(named(found)))
    # Without a decision there was nothing to widen, unless a denial had said so.
    assume(before is not None)
    assert shows_no_more(ask(department(named([*found, extra]))), before)


@given(st.lists(grants(), min_size=1, max_size=4), grants())
@settings(max_examples=100)
def test_no_grant_of_any_kind_opens_what_a_denial_closed(found: list[dict[str, Any]], extra: dict[str, Any]) -> None:
    denial = {"relation": "usage", "deny": True, "groups": ["staff"]}
    assert (
        ask(
            department(
                named([*found, denial, {**extra, "combine": "union"} if extra.get("mode") == "masked" else extra])
            )
        )
        is None
    )


@given(
    st.lists(grants(), min_size=1, max_size=5).flatmap(
        lambda f: st.tuples(st.just(named(f)), st.permutations(named(f)))
    )
)
@settings(max_examples=100)
def test_the_order_of_grants_is_nothing(both: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    assert ask(department(both[0])) == ask(department(both[1]))


ENDED = grants(**{"from": "2026-04-01", "until": BEFORE})
TO_COME = grants(**{"from": AFTER, "until": "2026-06-01"})


@given(st.lists(st.one_of(ENDED, TO_COME), min_size=1, max_size=4))
@settings(max_examples=100)
def test_what_has_ended_or_not_begun_grants_nothing(found: list[dict[str, Any]]) -> None:
    assert ask(department(named(found))) is None


@given(st.lists(grants(until=AFTER).map(lambda g: {k: v for k, v in g.items() if k != "from"}), min_size=1, max_size=3))
@settings(max_examples=100)
def test_a_decision_holds_to_its_until_and_no_longer(found: list[dict[str, Any]]) -> None:
    d = department(named(found))
    before = ask(d)
    if before is None:
        return
    assert before.until is not None
    assert ask(d, before.until - timedelta(microseconds=1)) == before
    after = ask(d, before.until)
    assert after is None or after.until != before.until


@given(st.lists(grants(), min_size=1, max_size=3), st.sampled_from(["Ana", "ana ", "ANA", "an\u00e0", "", "anа"]))
@settings(max_examples=60)
def test_a_name_that_differs_by_a_byte_is_somebody_else(found: list[dict[str, Any]], name: str) -> None:
    own = [{**{k: v for k, v in g.items() if k != "groups"}, "users": ["ana"]} for g in found]
    d = department(named(own))
    assert decide(d, name, "audit", "usage", NOW) is None
    for purpose in ("Audit", "audit ", "*", "", "aud"):
        assert decide(d, "ana", purpose, "usage", NOW) is None


UNION_KEYS = {"mode": st.just("masked"), "purposes": st.just(["audit"]), "combine": st.just("union")}
UNION = st.fixed_dictionaries(UNION_KEYS, optional={
    "columns": some(NAMES), "row_filter": st.sampled_from(sorted(FILTERS)),
    "masks": st.dictionaries(st.sampled_from(["org", "name"]), st.sampled_from(["null", "deny", "keep_first(1)"])),
})  # fmt: skip


@given(st.lists(UNION, min_size=1, max_size=3))
@settings(max_examples=200)
def test_a_union_shows_of_each_row_only_what_one_of_its_grants_shows(found: list[dict[str, Any]]) -> None:
    decision = ask(department(named([{"relation": "usage", **g} for g in found])))
    if decision is None:
        return
    for row in range(5):
        if not all(kept(text, row) for text in decision.filters):
            continue
        for column in decision.columns:
            assert any(allows(g, row, column, decision.masks.get(column, ())) for g in found)


def kept(text: str, row: int) -> bool:
    return any(row in FILTERS[part.strip("()")] for part in text.split(" OR "))


def allows(grant: dict[str, Any], row: int, column: str, texts: Sequence[str]) -> bool:
    mask = grant.get("masks", {}).get(column)
    there = column in grant.get("columns", NAMES) and mask != "deny"
    return there and ("row_filter" not in grant or kept(grant["row_filter"], row)) and (mask is None or mask in texts)
