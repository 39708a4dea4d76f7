"""`atoll policy`: tests and matrix, differences in words, and signatures of two owners, as people run it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from atoll.city import Config
from atoll.demo.install import DEPARTMENTS, Ports, install_department, install_identity
from catalog.http import Client
from tests.cli.stub_gateway import Done, Run

POLICY = """
department: clinic
identity: {issuer: https://idp.example, jwks: file:jwks.json}
sources: {main: {kind: sqlite, path: hospital.db}}
purposes: [research, audit]
groups: {doctors: [ana, ben]}
relations:
  stay:
    view: stay
    columns: {person: varchar, sex: varchar, year: integer}
grants:
  - id: rows
    relation: stay
    purposes: [research]
    mode: masked
    groups: [doctors]
    masks: {person: deny}
    row_filter: year > 2000
  - {id: sums, relation: stay, purposes: [audit], mode: aggregate, entity: person, dimensions: [sex]}
tests:
  - {user: ana, purpose: research, relation: stay, expect: filter, mask: {person: deny}}
  - {user: eve, purpose: research, relation: stay, expect: deny}
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "stay.sql").write_text("SELECT person, sex, year FROM stays")
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    (tmp_path / "department.yaml").write_text(POLICY)
    return tmp_path


def refused(done: Done) -> str:
    assert done.code == 1
    assert "Traceback" not in done.err
    return done.err


def test_the_policys_own_tests_are_run_and_the_matrix_names_members_of_groups(atoll: Run, clinic: Path) -> None:
    done = atoll("policy", "test", "department.yaml")
    assert done.code == 0
    assert "2 tests of the policy hold" in done.err
    rows = json.loads(atoll("policy", "test", "department.yaml", "--json").out)
    cells = {row["user"]: row["purposes"] for row in rows}
    assert cells["ana"] == cells["ben"] == {"research": "rows, 1 masked, filtered", "audit": "sums >= 10"}
    assert cells["anyone"] == {"research": "-", "audit": "sums >= 10"}


def test_every_test_that_fails_is_named_and_nothing_is_taken(atoll: Run, clinic: Path) -> None:
    wrong = POLICY.replace("    groups: [doctors]\n", "").replace("    row_filter: year > 2000\n", "")
    (clinic / "department.yaml").write_text(wrong)
    done = atoll("policy", "test", "department.yaml")
    text = refused(done)
    assert "ana asks stay for research, expects filter; it is unmasked rows" in text
    assert "eve asks stay for research, expects deny; it is unmasked rows" in text
    assert "rows, 1 masked" in done.out
    # What takes the policy stops at the first, with its line.
    assert "line 19: tests[0]: the test fails" in refused(atoll("agent", "serve", "department.yaml"))


def test_a_difference_is_said_in_words(atoll: Run, clinic: Path) -> None:
    (clinic / "new").mkdir()
    changed = (
        POLICY.replace("[ana, ben]", "[ana, cy]").replace("{person: deny}\n    row", "{person: keep_first(1)}\n    row")
        .replace("entity: person,", "entity: person, min_group: 5,").partition("tests:")[0]
    )  # fmt: skip
    (clinic / "new" / "department.yaml").write_text(changed)
    (clinic / "new" / "views").mkdir()
    (clinic / "new" / "jwks.json").write_text('{"keys": []}')
    (clinic / "new" / "views" / "stay.sql").write_text("SELECT person, sex, year FROM all_stays")
    out = atoll("policy", "diff", "department.yaml", "new/department.yaml").out.splitlines()
    assert out == [
        "+ anyone gains stay for audit: the floor: 5, instead of 10",
        "+ ana gains stay for research: column person",
        "- ben loses stay for research: unmasked rows, filtered",
        "+ cy gains stay for research: masked: person (keep_first(1)), filtered",
        "~ views/stay.sql is another file",
    ]
    assert "Nobody gains or loses" in atoll("policy", "diff", "department.yaml", "department.yaml").out
    found = json.loads(atoll("policy", "diff", "department.yaml", "new/department.yaml", "--json").out)
    assert found["files"] == ["views/stay.sql"]
    assert {"user": "ben", "relation": "stay", "purposes": ["research"], "kind": "loses",
            "words": "unmasked rows, filtered",
            "since": None} in found["changes"]  # fmt: skip


def test_that_rows_may_come_out_of_a_copy_is_a_difference_for_whom_it_answers(atoll: Run, clinic: Path) -> None:
    whole = POLICY.replace("    row_filter: year > 2000\n", "").partition("tests:")[0]
    (clinic / "whole.yaml").write_text(whole)
    (clinic / "copied.yaml").write_text(whole.replace("    view: stay\n", "    view: stay\n    materialise: 90m\n"))
    out = atoll("policy", "diff", "whole.yaml", "copied.yaml").out.splitlines()
    seen = "sees otherwise stay for research: rows of a copy of up to 90m, instead of the source"
    assert out == [f"~ ana {seen}", f"~ ben {seen}"]
    back = atoll("policy", "diff", "copied.yaml", "whole.yaml").out
    assert "rows of the source, instead of a copy of up to 90m" in back


def test_a_grant_that_is_still_to_come_is_a_difference_too(atoll: Run, clinic: Path) -> None:
    later = POLICY.replace("    groups: [doctors]\n", "    groups: [doctors]\n    from: 2199-01-01\n").partition(
        "tests:"
    )[0]
    (clinic / "later.yaml").write_text(later)
    out = atoll("policy", "diff", "department.yaml", "later.yaml").out.splitlines()
    assert out[0] == "- ana loses stay for research: unmasked rows, filtered"
    back = atoll("policy", "diff", "later.yaml", "department.yaml").out
    assert "+ ana gains stay for research: unmasked rows, filtered" in back


def test_two_owners_sign_and_anybody_verifies(atoll: Run, clinic: Path) -> None:
    for name in ("ana", "ben"):
        assert atoll("policy", "keygen", f"{name}.key", "--owners", "owners.jwks").code == 0
    assert (clinic / "ana.key").stat().st_mode & 0o777 == 0o600
    assert '"d"' not in (clinic / "owners.jwks").read_text()
    assert "only one owner" not in refused(atoll("policy", "verify", "department.yaml", "--owners", "owners.jwks"))
    first = atoll("policy", "sign", "department.yaml", "--key", "ana.key")
    assert first.out.startswith("policy 1 of clinic, 3 files, signed as ")
    assert "--second" in first.err
    assert "only one owner" in refused(atoll("policy", "verify", "department.yaml", "--owners", "owners.jwks"))
    again = atoll("policy", "sign", "department.yaml", "--key", "ana.key", "--second")
    assert "another person's" in refused(again)
    assert atoll("policy", "sign", "department.yaml", "--key", "ben.key", "--second").code == 0
    body = json.loads(atoll("policy", "verify", "department.yaml", "--owners", "owners.jwks", "--json").out)
    assert body["number"] == 1
    assert len(body["signers"]) == 2
    assert body["files"] == ["department.yaml", "jwks.json", "views/stay.sql"]
    (clinic / "views" / "stay.sql").write_text("SELECT person, sex, year FROM everything")
    changed = refused(atoll("policy", "verify", "department.yaml", "--owners", "owners.jwks"))
    assert "views/stay.sql changed after it was signed" in changed
    assert json.loads(atoll("policy", "sign", "department.yaml", "--key", "ben.key", "--json").out)["number"] == 2
    numbered = atoll("policy", "sign", "department.yaml", "--key", "ben.key", "--number", "9", "--json")
    assert json.loads(numbered.out)["number"] == 9


def test_what_cannot_be_signed_or_verified_is_said_in_one_line(atoll: Run, clinic: Path) -> None:
    atoll("policy", "keygen", "ana.key")
    assert atoll("policy", "keygen", "ana.key").code == 2
    (clinic / "ana.key").chmod(0o644)
    assert "others can read the key file" in refused(atoll("policy", "sign", "department.yaml", "--key", "ana.key"))
    (clinic / "ana.key").chmod(0o600)
    (clinic / "department.yaml").write_text(POLICY.replace("year > 2000", ""))
    assert "row_filter" in refused(atoll("policy", "sign", "department.yaml", "--key", "ana.key"))
    (clinic / "department.yaml").write_text(POLICY)
    nobody = atoll("policy", "verify", "department.yaml", "--owners", "nobody.jwks")
    assert "the owners' keys nobody.jwks cannot be read" in refused(nobody)
    assert "cannot be read" in refused(atoll("policy", "test", "nowhere.yaml"))


def test_the_operator_pins_owners_in_the_agents_state(atoll: Run, clinic: Path) -> None:
    for name in ("ana", "ben", "cy"):
        atoll("policy", "keygen", f"{name}.key", "--owners", "owners.jwks")
    pinned = atoll("policy", "pin", "department.yaml", "--owners", "owners.jwks")
    assert pinned.out == "3 owners pinned; policies before number 0 stay refused\n"
    assert json.loads((clinic / "state" / "policy-pin.json").read_text())["number"] == 0


def test_an_agent_whose_policy_is_not_signed_answers_nobody(atoll: Run, clinic: Path, shelf: Path) -> None:
    for name in ("ana", "ben"):
        atoll("policy", "keygen", f"{name}.key", "--owners", "owners.jwks")
    command = [shelf / "atoll", "agent", "serve", "department.yaml", "--owners", "owners.jwks"]
    with subprocess.Popen(command, cwd=clinic, stdout=subprocess.PIPE, text=True) as agent:
        try:
            assert agent.stdout is not None
            url = next(line.split()[1] for line in agent.stdout if line.startswith("ready "))
            with Client(trust_env=False, timeout=10) as http:
                answer = http.get(f"{url}/v1/relations")
        finally:
            agent.terminate()
    assert (answer.status_code, answer.json()["outcome"]) == (503, "CLOSED")


def test_the_demonstrations_policies_are_signed_and_counted_only_when_they_change(atoll: Run, tmp_path: Path) -> None:
    numbers = dict.fromkeys(("a", "b", "c"), 0)
    install_identity(tmp_path)
    for name, port in (("a", 7000), ("b", 7000), ("c", 7001)):
        ports = Ports(1, 2, 3, dict.fromkeys(DEPARTMENTS, port), dict.fromkeys(DEPARTMENTS, 7002))
        file = install_department("water", tmp_path, Config(4499, "small"), ports)
        done = atoll("policy", "verify", str(file), "--owners", "owners/water.jwks", "--json")
        numbers[name] = json.loads(done.out)["number"]
    assert numbers == {"a": 1, "b": 1, "c": 2}
