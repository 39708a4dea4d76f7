"""A contractor's whole project runs on generated rows, and later unchanged on the city's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from catalog import keys
from catalog.http import Client
from catalog.policy import countersigned, read_bundle, signed, signed_name
from tests.city.live.running import City

PROJECT = Path(__file__).parent / "blind_project"
USER, PURPOSE = "gao", "leak-audit"
HEADERS = {"X-Trino-User": USER}
USCC = {"domain": "uscc", "format": "91449901MA@@####@", "size": 60}
DECLARED: dict[str, dict[str, Any]] = {
    "water": {
        "company_month": ({"org_no": USCC, "qty": {"range": [100, 90000]}}, {
            "rows": 2000,
            "examples": [{"month": f"{year}-{month:02d}-01", "unit": "t" if year < 2016 else "L", "quality": "measured"}
                         for year in (2015, 2017, 2018, 2019) for month in range(1, 13)],
        }),
        "account": ({"id_no": {"domain": "person", "format": "44990119########", "size": 200},
                     "kind": {"values": ["C", "H", "H"]}}, {"rows": 300}),
    },
    "market": {
        "company": ({"uscc": {**USCC, "unique": True}}, {"rows": 60}),
        "company_code": ({"code": {**USCC, "unique": True}, "company": {**USCC, "unique": True}}, {"rows": 60}),
    },
}  # fmt: skip
"""department -> relation -> (column -> what its values look like, the rows); nothing of it was read from a silo."""
MASKS = {
    "account": {"customer_name": "deny", "phone": "deny", "id_no": "pseudonym(water)"},
    "company": {"legal_person": "deny", "legal_person_id": "pseudonym(market)"},
}


def blind(policy: dict[str, Any]) -> dict[str, Any]:
    """The policy with a `synthetic` grant for the contractor beside all others: the stricter one holds."""
    for relation, (columns, rows) in DECLARED[policy["department"]].items():
        spec = policy["relations"][relation]
        for column, given in columns.items():
            known = spec["columns"][column]
            spec["columns"][column] = {**(known if isinstance(known, dict) else {"type": known}), "synthetic": given}
        spec["synthetic"] = rows
        policy["grants"].append({
            "id": f"develop-{relation}", "relation": relation, "users": [USER], "purposes": [PURPOSE],
            "mode": "synthetic", **({"masks": MASKS[relation]} if relation in MASKS else {}),
        })  # fmt: skip
    for test in policy["tests"]:  # the policy's own tests say what this user must see
        if test["user"] == USER and test["relation"] in DECLARED[policy["department"]]:
            test["expect"] = ["synthetic"]
    return policy


def put(city: City, name: str, text: str, scratch: Path) -> None:
    """Put a policy in force, as its two owners would: signed beside, then both files at once."""
    home = Path(city.state["departments"][name]["file"]).parent
    copy = scratch / f"{name}-{time.monotonic_ns()}"
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("state", "*.sock"))
    file = copy / "department.yaml"
    file.write_text(text, encoding="utf-8")
    first, second = (keys.load_or_create(city.folder / "owners" / f"{name}-{n}.key") for n in (1, 2))
    bundle = read_bundle(file)
    begun = replace(bundle, signed=signed(bundle, name, first))
    (copy / signed_name(file.name)).write_bytes(countersigned(begun, name, second))
    for part in (signed_name(file.name), file.name):
        os.replace(copy / part, home / part)
    with Client(timeout=10, trust_env=False) as http:  # a gateway keeps a list for a minute otherwise
        answer = http.patch(
            f"{city.url}/api/departments/{name}", json={"state": "approved"}, headers={"X-Trino-User": "zhao"}
        )
    assert answer.status_code == 200, answer.text


@contextmanager
def developing(city: City, scratch: Path) -> Iterator[Callable[[], None]]:
    """The contractor's grants are there; the function that is given takes them away: rows are granted then."""
    before = {n: Path(city.state["departments"][n]["file"]).read_text(encoding="utf-8") for n in DECLARED}

    def grant() -> None:
        for name, text in before.items():
            put(city, name, text, scratch)

    for name, text in before.items():
        put(city, name, yaml.safe_dump(blind(yaml.safe_load(text)), sort_keys=False, allow_unicode=True), scratch)
    try:
        yield grant
    finally:
        grant()


def report(city: City) -> dict[str, Any]:
    """What the contractor's script prints; it is run as it lies there."""
    address = ["127.0.0.1", str(city.port), USER]
    done = subprocess.run(
        [sys.executable, str(PROJECT / "report.py"), *address], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def flags(city: City) -> set[str]:
    """What is said of generated rows beside the project's queries, on the pages that a Trino client reads."""
    found = set()
    with Client(timeout=60, trust_env=False) as http:
        for file in sorted(PROJECT.glob("*.sql")):
            page = http.post(f"{city.url}/v1/statement", content=file.read_bytes(), headers=HEADERS).json()
            while "nextUri" in page:
                page = http.get(page["nextUri"], headers=HEADERS).json()
            assert page["stats"]["state"] == "FINISHED", page
            found |= {w["message"] for w in page.get("warnings", ()) if "not real data" in w["message"]}
    return found


@pytest.fixture(scope="module")
def runs(city: City, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The project twice, with what the catalogue and the REST answer said meanwhile."""
    found: dict[str, Any] = {}
    with developing(city, tmp_path_factory.mktemp("policies")) as grant:
        found["blind"], found["flags"] = report(city), flags(city)
        found["comment"] = city.ask("SHOW COLUMNS FROM water.main.account", USER, PURPOSE)["rows"]
        sql = "SELECT count(*) FROM water.main.company_month AS t JOIN water.main.band AS b ON b.unit = t.unit"
        found["mixed"] = city.ask(sql, USER, PURPOSE)
        found["file"] = city.post(sql, USER, PURPOSE, format="arrow").content
        found["names"] = city.ask("SELECT name, uscc FROM market.main.company", USER, PURPOSE)["rows"]
        grant()
        found["real"], found["no flags"] = report(city), flags(city)
        found["real names"] = city.ask("SELECT name, uscc FROM market.main.company", USER, PURPOSE)["rows"]
    return found


def test_the_project_runs_blind_and_unchanged_on_real_rows(runs: dict[str, Any]) -> None:
    blind_run, real = runs["blind"], runs["real"]
    assert list(blind_run) == list(real)
    for name in ("1_litres_by_district", "2_thirsty_companies", "3_accounts"):
        assert blind_run[name]["columns"] == real[name]["columns"], name
        assert blind_run[name]["rows"], name
        assert real[name]["rows"], name
        assert blind_run[name]["rows"] != real[name]["rows"], name
    # Joins over two departments meet: keys of a domain are the same in both.
    assert len(blind_run["1_litres_by_district"]["rows"]) == 6
    assert len(blind_run["2_thirsty_companies"]["rows"]) == 10
    assert sum(blind_run["share"].values()) == pytest.approx(100, abs=1)


def test_generated_rows_are_flagged_wherever_they_are_seen(runs: dict[str, Any]) -> None:
    known = {"water.main.company_month", "water.main.account", "market.main.company", "market.main.company_code"}
    assert runs["flags"] == {f"synthetic rows: not real data ({name})" for name in known}
    assert runs["no flags"] == set()
    assert all("synthetic: not real data" in str(row[2]) for row in runs["comment"])
    mixed = runs["mixed"]
    assert mixed["warnings"] == ["synthetic rows: not real data (water.main.company_month)"]
    kept = pa.ipc.open_stream(runs["file"]).schema.metadata
    assert json.loads(kept[b"atoll.warnings"]) == mixed["warnings"]
    (water,) = mixed["departments"]
    assert (water["mode"], water["synthetic"]) == ("masked", ["company_month"])


def test_no_company_of_the_city_is_among_the_generated_ones(runs: dict[str, Any]) -> None:
    made_up = {value for row in runs["names"] for value in row}
    real = {value for row in runs["real names"] for value in row}
    assert len(made_up) > 60
    assert not made_up & real
