"""department.yaml: every fault has a sentence with its place; decisions are the strictest of all grants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from catalog.policy import Decision, Department, PolicyError, decide, digest, failures, parse, purposes_for
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
    "groups": {"staff": ["ana", "ben"]},
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
        ({**RAW, "relation": "usage", "second_approver": "Cy"}, "a third person"),
        ({**RAW, "approver": "Ana "}, "neither the requester nor"),
        ({**RAW, "groups": ["staff"]}, "needs named `users`, and no groups"),
        ({**RAW, "max_rows": None}, "needs `max_rows`"),
        ({**RAW, "combine": "union"}, "mode raw does not add up"),
        ({**MASKED, "users": []}, "[] names nobody"),
        ({**MASKED, "users": ["ana "]}, "names compare byte for byte"),
        ({**MASKED, "users": ["*"]}, "a user has no wildcard"),
        ({**MASKED, "users": "ana"}, "must be a list, such as [a, b], not 'ana'"),
        ({**MASKED, "groups": ["stuff"]}, "unknown group 'stuff': did you mean 'staff'?"),
        ({**MASKED, "columns": []}, "[] names no column"),
        ({**MASKED, "columns": ["org"], "masks": {"name": "null"}}, "not among the grant's `columns`"),
        ({**MASKED, "mode": "maskd"}, "did you mean 'masked'?"),
        ({"relation": "usage", "purposes": ["audit"]}, "has no `mode`"),
        ({**MASKED, "deny": True}, "contradict each other"),
        ({"relation": "usage", "deny": True, "masks": {"name": "null"}}, "a denial has no `masks`"),
        ({"relation": "usage", "deny": True, "users": ["ana\u200b"]}, "names compare byte for byte"),
        ({**MASKED, "mode": "open"}, "mode open is for every purpose"),
        ({**MASKED, "until": None}, "`until` is empty"),
        ({**MASKED, "until": 2027}, "2027 is no date such as 2026-05-31"),
        ({**MASKED, "until": "2027-1-5"}, "is no date such as"),
        ({**MASKED, "row_filter": " "}, "an empty filter would keep every row"),
        ({**MASKED, "hours": "8-18"}, "is not of the form 08:00-18:00"),
        ({**MASKED, "mode": "verify", "key": "org", "masks": {"org": "null"}}, "can be neither masked"),
        ({**MASKED, "guard": "on the"}, "must be true or false"),
        ({**MASKED, "max_rows": 0}, "greater than or equal to 1"),
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
        ({"purposes": ["audit", "*"]}, "a purpose has no wildcard"),
        ({"purposes": ["audit", "audit "]}, "names compare byte for byte"),
        ({"groups": {"staff": ["ana", "b*"]}}, "a user has no wildcard"),
        ({"classes": {"secrt": {"mask": "null"}}}, "no column is of class 'secrt'"),
        ({"classes": {"special": {"mask": "number(5)"}}}, "column usage.diagnosis: mask number does not fit"),
        ({"classes": {"special": {"mode": "agregate"}}}, "did you mean 'aggregate'?"),
        ({"relations": {"a": {"table": "t", "columns": {"x": {"type": "date", "class": "helth"}}}}}, "unknown class"),
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


FILE = """\
department: water
identity: {issuer: http://idp, jwks: file:jwks.json}
sources: {main: {kind: sqlite, path: x.db}}
purposes: [audit]
relations:
  usage:
    table: usage
    columns:
      org: varchar
      born: daet
grants:
  - id: everyone
    relation: usage
    purposes: [audti]
    mode: masked
    masks:
      born: dat(year)
"""


def test_every_mistake_is_named_with_line_and_place_and_what_would_be_right() -> None:
    def told(text: str) -> tuple[str, ...]:
        with pytest.raises(PolicyError) as refused:
            parse(text)
        return refused.value.faults

    (first,) = told(FILE)
    assert first.startswith("line 10: relations.usage.columns.born.type: unknown type 'daet'")
    assert told(FILE.replace("daet", "date")) == (
        "line 14: grants[0] (everyone).purposes[0]: unknown purpose 'audti': did you mean 'audit'?",
        "line 17: grants[0] (everyone).masks.born: unknown mask 'dat': did you mean 'date'?",
    )
    two = told(FILE.replace("daet", "date").replace("mode:", "mod:").replace("masks:", "maks:"))
    assert two == (
        "line 15: grants[0] (everyone).mod: unknown key 'mod': did you mean 'mode'?",
        "line 16: grants[0] (everyone).maks: unknown key 'maks': did you mean 'masks'?",
    )
    assert told("a: [") != ()
    assert "line 3" in told("a: 1\nb: 2\na: 3\n")[0]
    assert "nested too deeply" in told("[" * 5000)[0]
    assert told("&a [*a]") == ("the file must be a mapping that begins with `department:`",)


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
    slow = [department(MASKED, sources={"main": {"kind": "rest", "rate": rate}}) for rate in (0.5, 0.25)]
    assert digest(slow[0]) != digest(slow[1])


def test_a_group_of_the_policy_is_its_members_and_nobody_else() -> None:
    d = department({**MASKED, "groups": ["staff"], "users": ["cy"]})
    assert [ask(d, sub=u) is not None for u in ("ana", "ben", "cy", "Ana", "staff", "eve")] == [True] * 3 + [False] * 3


def test_a_denial_wins_over_every_grant_also_over_unions_and_open() -> None:
    grants = (MASKED, {"relation": "usage", "mode": "open", "combine": "union"})
    assert ask(department(*grants, {"relation": "usage", "deny": True, "users": ["ana"]})) is None
    assert ask(department(*grants, {"relation": "usage", "deny": True, "groups": ["staff"]})) is None
    assert ask(department(*grants, {"relation": "usage", "deny": True, "users": ["eve"]})) is not None
    other = department(*grants, {"relation": "usage", "deny": True, "purposes": ["planning"]})
    assert (ask(other) is None, ask(other, purpose="planning") is None) == (False, True)
    some = ask(department(*grants, {"relation": "usage", "deny": True, "columns": ["name", "born"]}))
    assert some is not None
    assert some.columns == ("org", "district", "year", "qty", "diagnosis")


def test_a_denial_that_is_still_to_come_ends_what_runs() -> None:
    d = department(MASKED, {"relation": "usage", "deny": True, "from": "2026-05-08T10:00:00+00:00"})
    found = ask(d)
    assert found is not None
    assert found.until == datetime(2026, 5, 8, 10, tzinfo=UTC)
    assert ask(d, now=datetime(2026, 5, 8, 10, tzinfo=UTC)) is None


def test_hours_of_grants_are_local_and_intersect() -> None:
    d = department({**MASKED, "hours": "08:00-18:00"}, {**MASKED, "hours": "12:00-22:00"},
                   limits={"timezone": "Asia/Shanghai"})  # fmt: skip
    open_at = [h for h in range(24) if ask(d, now=datetime(2026, 5, 6, h, tzinfo=UTC))]
    assert open_at == [4, 5, 6, 7, 8, 9]
    found = ask(d, now=datetime(2026, 5, 6, 4, tzinfo=UTC))
    assert found is not None
    assert found.until == datetime(2026, 5, 6, 10, tzinfo=UTC)


def test_a_column_of_a_class_is_shown_as_its_class_allows_whatever_the_grant_says() -> None:
    rules = {"special": {"mode": "aggregate"}, "names": {"mask": "keep_first(1)"}}
    columns = {**COLUMNS, "name": {"type": "varchar", "class": "names"}}
    relations = {"usage": {"table": "usage", "columns": columns}}
    sums = {**AGGREGATE, "dimensions": ["diagnosis", "year"]}
    d = department({**MASKED, "masks": {"name": "keep_first(3)"}}, sums, classes=rules, relations=relations)
    rows = ask(d)
    assert rows is not None
    assert "diagnosis" not in rows.columns
    assert rows.masks["name"] == ("keep_first(3)", "keep_first(1)")
    cells = ask(d, purpose="statistics")
    assert cells is not None
    assert cells.dimensions == ("year", "diagnosis")
    raw = {**RAW, "relation": "usage", "columns": ["org", "name"]}
    found = ask(department(raw, classes=rules, relations=relations))
    assert found is not None
    assert found.columns == ("org",)


def test_unions_add_rows_or_columns_never_a_column_to_another_grants_rows() -> None:
    union = {**MASKED, "combine": "union"}
    columns = ask(department({**union, "columns": ["org"]}, {**union, "columns": ["name"], "masks": {"name": "null"}}))
    assert columns is not None
    assert (columns.columns, columns.masks) == (("org", "name"), {"name": ("null",)})
    rows = ask(department({**union, "row_filter": "a = 1"}, {**union, "row_filter": "b = 2 OR c = 3"}))
    assert rows is not None
    assert rows.filters == ("(a = 1) OR (b = 2 OR c = 3)",)
    beside = ask(department({**union, "row_filter": "a = 1"}, {**union, "row_filter": "b = 2"},
                            {**MASKED, "row_filter": "z = 0"}))  # fmt: skip
    assert beside is not None
    assert beside.filters == ("z = 0", "(a = 1) OR (b = 2)")
    mixed = ({**union, "id": "a", "row_filter": "a = 1"}, {**union, "id": "b", "columns": ["org"]})
    assert "and a differ in rows and in columns" in faults(*mixed)
    assert "balanced parentheses" in faults({**union, "row_filter": "a = 1) OR (1 = 1"})
    assert "no comment" in faults({**union, "row_filter": "a = 1 -- all"})


def test_a_key_that_another_grant_masks_or_hides_is_not_verified() -> None:
    verify = {**MASKED, "mode": "verify", "key": "org"}
    assert ask(department(verify)) is not None
    assert ask(department(verify, {**MASKED, "masks": {"org": "null"}})) is None
    assert ask(department(verify, {**MASKED, "columns": ["name"]})) is None


def test_the_decision_can_be_asked_for_columns() -> None:
    d = department({**MASKED, "masks": {"name": "deny"}})
    assert decide(d, "ana", "audit", "usage", NOW, ["org", "born"]) is not None
    assert decide(d, "ana", "audit", "usage", NOW, ["org", "name"]) is None


# ---- tests that ship with the policy ---------------------------------------------------------------------

GOOD_TESTS = [
    {"user": "ana", "purpose": "audit", "relation": "usage", "expect": ["masked", "mask", "filter"],
     "columns": ["name"], "mask": {"name": "keep_first", "org": "none", "qty": "deny"}},
    {"user": "eve", "purpose": "planning", "relation": "usage", "expect": "deny"},
    {"user": "eve", "purpose": "audit", "relation": "usage", "expect": "deny", "columns": ["qty"]},
    {"user": "eve", "purpose": "statistics", "relation": "usage", "expect": "aggregate", "min_group": 10},
]  # fmt: skip
TESTED = ({**MASKED, "masks": {"name": "keep_first(1)", "qty": "deny"}, "row_filter": "x = 1"}, AGGREGATE)


def test_a_policy_whose_tests_hold_is_taken() -> None:
    assert len(department(*TESTED, tests=GOOD_TESTS).tests) == 4


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (0, {"expect": "raw"}, "ana asks usage for audit, expects raw; it is masked: name (keep_first(1)), filtered"),
        (0, {"expect": "deny", "mask": {}}, "expects deny; it is masked"),
        (0, {"columns": ["name", "qty"]}, "expects masked, mask, filter; it is masked"),
        (0, {"columns": ["name", "org"]}, "it is masked"),
        (0, {"mask": {"name": "null"}}, "name is shown through keep_first(1), not null"),
        (0, {"mask": {"name": "keep_first(2)"}}, "name is shown through keep_first(1), not keep_first(2)"),
        (0, {"mask": {"org": "deny"}}, "org is shown through none, not deny"),
        (0, {"user": "eve", "purpose": "planning"}, "nothing is granted"),
        (2, {"columns": ["qty", "org"]}, "expects deny"),
        (3, {"min_group": 9}, "the floor is 10, not 9"),
    ],
)
def test_a_policy_with_a_test_that_fails_is_not_taken(number: int, change: dict[str, Any], words: str) -> None:
    tests = [*GOOD_TESTS[:number], {**GOOD_TESTS[number], **change}, *GOOD_TESTS[number + 1 :]]
    text = faults(*TESTED, tests=tests)
    assert f"tests[{number}]: the test fails: " in text
    assert words in text
    untested = parse(yaml.safe_dump({**BASE, "grants": list(TESTED), "tests": tests}), tests=False)
    assert len(list(failures(untested))) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relation": "usge"}, "unknown relation 'usge': did you mean 'usage'?"),
        ({"purpose": "Audit"}, "unknown purpose 'Audit': did you mean 'audit'?"),
        ({"columns": ["nam"]}, "no column 'nam': did you mean 'name'?"),
        ({"mask": {"name": "keep_frst"}}, "did you mean 'keep_first'?"),
        ({"expect": "maskd"}, "did you mean 'masked'?"),
        ({"expect": []}, "must not be empty"),
        ({"expect": ["deny", "filter"]}, "`deny` stands alone"),
        ({"expect": "deny"}, "`deny` stands alone"),
    ],
)
def test_a_test_about_nothing_is_a_mistake(change: dict[str, Any], words: str) -> None:
    assert words in faults(*TESTED, tests=[{**GOOD_TESTS[0], **change}])


def test_a_test_means_the_same_tomorrow() -> None:
    test = {"user": "ana", "purpose": "audit", "relation": "usage", "expect": "masked"}
    ending = {**MASKED, "until": "2026-06-01"}
    assert "say `at:`" in faults(ending, tests=[test])
    assert department(ending, tests=[{**test, "at": "2026-06-01"}, {**test, "at": "2026-06-02", "expect": "deny"}])
