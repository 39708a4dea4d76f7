"""department.yaml: every fault has a sentence with its place; decisions are the strictest of all grants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.policy import Decision, Department, PolicyError, decide, digest, parse, purposes_for
from catalog.relation import Mode

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
COLUMNS: dict[str, Any] = {
    "org": "varchar", "district": {"type": "varchar", "codes": "districts"}, "year": "integer", "name": "varchar",
    "born": "date", "qty": "decimal(14,3)", "diagnosis": {"type": "varchar", "special": True},
}  # fmt: skip
BASE: dict[str, Any] = {
    "department": "water",
    "identity": {"issuer": "http://idp", "jwks": "file:jwks.json"},
    "sources": {"main": {"kind": "sqlite", "path": "x.db"}},
    "purposes": ["audit", "statistics", "planning"],
    "code_lists": {"districts": ["1", "2"]},
    "linkage_groups": {"city": {"root": "file:root"}},
    "relations": {"usage": {"table": "usage", "columns": COLUMNS},
                  "plain": {"table": "plain", "columns": {"org": "varchar"}}},
}  # fmt: skip
MASKED = {"relation": "usage", "purposes": ["audit"], "mode": "masked"}
AGGREGATE = {"relation": "usage", "purposes": ["statistics"], "mode": "aggregate", "entity": "org",
             "dimensions": ["district", "year"], "measures": ["qty"]}  # fmt: skip
RAW = {"relation": "plain", "purposes": ["audit"], "mode": "raw", "users": ["ana"], "case": "C-1", "requester": "ben",
       "approver": "cy", "legal_basis": "law", "from": "2026-05-01", "until": "2026-05-20", "max_rows": 10}  # fmt: skip


def department(*grants: dict[str, Any], **more: Any) -> Department:
    return parse(yaml.safe_dump({**BASE, "grants": list(grants), **more}, sort_keys=False))


def faults(*grants: dict[str, Any], **more: Any) -> str:
    with pytest.raises(PolicyError) as refused:
        department(*grants, **more)
    return "\n".join(refused.value.faults)


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        ({**MASKED, "relation": "usge"}, "unknown relation 'usge': did you mean 'usage'?"),
        ({**MASKED, "purposes": ["audits"]}, "unknown purpose 'audits': did you mean 'audit'?"),
        ({**MASKED, "masks": {"nam": "null"}}, "no column 'nam': did you mean 'name'?"),
        (
            {**MASKED, "masks": {"name": "keep_lats(4)"}},
            "masks.name: unknown mask 'keep_lats': did you mean 'keep_last'?",
        ),
        ({**MASKED, "masks": {"qty": "keep_last(4)"}}, "does not fit a column of type decimal(14, 3)"),
        ({**MASKED, "masks": {"org": "pseudonym(town)"}}, "unknown linkage group 'town'"),
        ({**MASKED, "purpose": ["audit"]}, "unknown key 'purpose': did you mean 'purposes'?"),
        ({**MASKED, "purposes": []}, "has no `purposes`"),
        ({**MASKED, "min_group": 5}, "min_group only work in mode aggregate"),
        ({**MASKED, "key": "org"}, "only work in mode verify"),
        ({**MASKED, "from": "2026-06-01", "until": "2026-05-01"}, "`until` lies before `from`"),
        ({**AGGREGATE, "entity": None}, "needs `entity`"),
        ({**AGGREGATE, "entity": "district"}, "neither dimension nor measure"),
        ({**AGGREGATE, "dimensions": []}, "needs `dimensions`"),
        ({**AGGREGATE, "measures": ["name"]}, "name is no number"),
        ({**AGGREGATE, "min_group": 2}, "greater than or equal to 3"),
        ({**AGGREGATE, "round_to": {"year": 5}}, "year is no measure"),
        ({**AGGREGATE, "masks": {"qty": "number(5)"}}, "a measure is not masked"),
        ({**MASKED, "mode": "verify"}, "needs `key`"),
        ({**MASKED, "mode": "verify", "key": "year"}, "is text"),
        ({**RAW, "users": []}, "needs named `users`"),
        ({**RAW, "approver": "ben"}, "neither the requester nor"),
        ({**RAW, "approver": "ana"}, "neither the requester nor"),
        ({**RAW, "case": ""}, "needs `case`"),
        ({**RAW, "until": "2026-07-01"}, "at most 30 days"),
        ({**RAW, "until": None}, "needs `from` and `until`"),
        ({**RAW, "relation": "usage"}, "second approver"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_in_words(grant: dict[str, Any], words: str) -> None:
    assert words in faults(grant)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limits": {"concurent": 3}}, "unknown key 'concurent': did you mean 'concurrent'?"),
        ({"limits": {"hours": "18:00-08:00"}}, "08:00-18:00"),
        ({"limits": {"timezone": "Mars/Base"}}, "unknown time zone"),
        ({"relations": {"a": {"columns": {"x": "varchar"}}}}, "exactly one of `table` and `view`"),
        ({"relations": {"a": {"table": "t", "columns": {"X-Y": "varchar"}}}}, "no plain identifier"),
        ({"relations": {"a": {"table": "t", "columns": {"x": "text"}}}}, "unknown type 'text'"),
        ({"relations": {"a": {"table": "t", "source": "mian", "columns": {"x": "date"}}}}, "did you mean 'main'?"),
        (
            {"relations": {"a": {"table": "t", "columns": {"x": {"type": "date", "codes": "district"}}}}},
            "did you mean 'districts'?",
        ),
        ({"departmnt": "x"}, "unknown key 'departmnt'"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    assert words in faults(**change)


def test_all_faults_come_at_once_and_a_key_occurs_once() -> None:
    text = faults({**MASKED, "relation": "usge"}, {**MASKED, "purposes": ["audits"]})
    assert "grants[0]" in text
    assert "grants[1]" in text
    with pytest.raises(PolicyError, match="occurs twice"):
        parse(yaml.safe_dump(BASE) + "\ndepartment: market\n")
    with pytest.raises(PolicyError, match="no YAML"):
        parse("a: [")
    with pytest.raises(PolicyError, match="mapping"):
        parse("- 1")


def ask(
    d: Department, sub: str = "ana", purpose: str = "audit", relation: str = "usage", now: datetime = NOW
) -> Decision | None:
    return decide(d, sub, purpose, relation, now)


def test_nothing_is_granted_that_is_not_written() -> None:
    d = department({**MASKED, "users": ["ana"]})
    assert ask(d) is not None
    for wrong in (
        ask(d, sub="Ana"), ask(d, sub="ana "), ask(d, sub="ben"), ask(d, purpose="Audit"), ask(d, purpose="planning"),
        ask(d, purpose=""), ask(d, purpose="unknown"), ask(d, relation="plain"), ask(d, relation="nothing"),
    ):  # fmt: skip
        assert wrong is None


def test_a_grant_holds_from_its_first_to_the_end_of_its_last_local_day() -> None:
    d = department({**MASKED, "from": "2026-05-02", "until": "2026-05-06"}, limits={"timezone": "Asia/Shanghai"})
    inside = ["2026-05-01T16:00:00+00:00", "2026-05-06T15:59:59+00:00"]
    outside = ["2026-05-01T15:59:59+00:00", "2026-05-06T16:00:00+00:00"]
    assert all(ask(d, now=datetime.fromisoformat(t)) for t in inside)
    assert not any(ask(d, now=datetime.fromisoformat(t)) for t in outside)
    found = ask(d)
    assert found is not None
    assert found.until == datetime.fromisoformat("2026-05-07T00:00:00+08:00")


def test_open_is_a_masked_grant_for_each_purpose_of_the_vocabulary() -> None:
    d = department({"relation": "usage", "mode": "open"})
    assert [ask(d, purpose=p) is not None for p in ("audit", "statistics", "planning", "other")] == [
        True,
        True,
        True,
        False,
    ]
    assert purposes_for(d, "ana", ["other", "planning", "audit"], "usage", NOW) == ("planning", "audit")


def test_several_grants_do_not_add_up() -> None:
    d = department(
        {**MASKED, "id": "a", "columns": ["org", "name", "born"], "row_filter": "x = 1",
         "masks": {"name": "keep_last(2)"}, "max_rows": 50},
        {**MASKED, "id": "b", "columns": ["org", "born", "name", "qty"], "row_filter": "y = 2",
         "until": "2026-06-01", "max_rows": 20},
        {**MASKED, "id": "c", "masks": {"born": "deny", "name": "null"}},
    )  # fmt: skip
    found = ask(d)
    assert found is not None
    assert found.columns == ("org", "name")
    assert found.filters == ("x = 1", "y = 2")
    assert found.masks == {"name": ("keep_last(2)", "null")}
    assert (found.max_rows, found.ids) == (20, ("a", "b", "c"))
    assert found.until is not None


def test_the_weakest_mode_and_the_largest_floor_win() -> None:
    both = {**AGGREGATE, "purposes": ["audit"]}
    d = department(MASKED, {**both, "min_group": 5}, {**both, "min_group": 20, "dimensions": ["year"]})
    found = ask(d)
    assert found is not None
    assert (found.mode, found.min_group, found.dimensions) == (Mode.aggregate, 20, ("year",))
    assert ask(department(MASKED, {"relation": "usage", "purposes": ["audit"], "mode": "none"})) is None
    assert ask(department(MASKED, {"relation": "usage", "mode": "none", "users": ["ana"]})) is None
    assert ask(department(MASKED, {"relation": "usage", "mode": "none", "users": ["ben"]})) is not None


def test_aggregate_takes_code_lists_of_its_columns_and_a_default_floor() -> None:
    found = ask(department(AGGREGATE), purpose="statistics")
    assert found is not None
    assert (found.public, found.min_group) == ({"district": ("1", "2")}, 10)
    assert found.columns == ("org", "district", "year", "qty")


def test_raw_is_for_the_named_user_within_its_days() -> None:
    d = department(RAW)
    assert ask(d, relation="plain") is not None
    assert ask(d, sub="ben", relation="plain") is None
    assert ask(d, relation="plain", now=datetime(2026, 5, 21, 1, tzinfo=UTC)) is None


def test_the_version_changes_with_any_content_and_with_nothing_else() -> None:
    one = department(MASKED)
    assert digest(one) == digest(
        parse(yaml.safe_dump({**BASE, "grants": [MASKED]}, sort_keys=False) + "\n# a comment\n")
    )
    assert digest(one) != digest(department({**MASKED, "max_rows": 9}))


GRANTS = st.fixed_dictionaries({
    "relation": st.just("usage"), "purposes": st.just(["audit"]), "mode": st.sampled_from(["masked", "none", "open"]),
    "columns": st.lists(st.sampled_from(sorted(COLUMNS)), unique=True),
    "masks": st.dictionaries(st.sampled_from(["name", "diagnosis"]), st.sampled_from(["null", "deny", "keep_last(1)"])),
    "users": st.lists(st.sampled_from(["ana", "ben"]), unique=True),
})  # fmt: skip


@given(st.lists(GRANTS, min_size=1, max_size=4), GRANTS)
@settings(max_examples=80, deadline=None)
def test_one_more_grant_never_shows_more_where_there_was_one(
    grants: list[dict[str, Any]], extra: dict[str, Any]
) -> None:
    before, after = ask(department(*grants)), ask(department(*grants, extra))
    if before is None:
        return
    if after is not None:
        assert after.mode <= before.mode
        assert set(after.columns) <= set(before.columns)
        for column in after.columns:
            assert set(before.masks.get(column, ())) <= set(after.masks.get(column, ()))
