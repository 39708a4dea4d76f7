"""The seven verdicts: what the city must answer, and what it must refuse, as data that a test can run.

`answers/verdicts.json` is `{question: "verdicts", version, verdicts: [{id, about, steps}]}`. A step is

    {user, purpose, at, do, ..., expect}

* `at`: `gateway`, or the department whose agent's own port is asked.
* `do`: `sql` with `sql`; `question` with `question` ("q2"); `verify` with `relation` and `subjects`, in
  order, within one day. Optional: `session` (session properties), `down` (departments whose agents are not
  running in this step), `keys` (column and values that ride as bind keys, at an agent).
* `expect`, one of
  `{outcome: "rows", columns, rows}`: these rows, in any order; with `warning`, a warning with that word too;
  with `suppressed`, those districts are absent;
  `{outcome: "refused", code}`: a refusal of GOVERNANCE's outcome code; nothing else may be told;
  `{outcome: "error", names}`: an error whose text names that department;
  `{outcome: "pseudonyms", column, equal, distinct}`: 32 hexadecimal characters in `column`; the rows of each
  list in `equal` (keyed by the first column) share one value; there are `distinct` values in all;
  `{outcome: "unlinkable", column, with_step}`: as many rows as that step (0-based), no value shared with it;
  `{outcome: "verified", answers, then}`: these answers, one a subject, then the code `then` for the others.

Counts and sums are made from truth, like every key.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from atoll.city import health, housing, met
from atoll.city.base import DISTRICT_CODES, NEW, VERSION, Answers, Config, month_days
from atoll.city.companies import companies
from atoll.city.ids import people
from atoll.city.ledger import balance

Step = dict[str, Any]


def write(cfg: Config, out: Path) -> Answers:
    """The content of answers/verdicts.json; no file."""
    first, third = _v1_v3(cfg)
    verdicts = [first, _v2(cfg), third, _v4(cfg), _v5(cfg), _v6(cfg), _v7(cfg)]
    return Answers([{"question": "verdicts", "version": VERSION, "verdicts": verdicts}])


def _verdict(number: int, about: str, *steps: Step) -> dict[str, Any]:
    return {"id": f"V{number}", "about": about, "steps": list(steps)}


def _sql(user: str, purpose: str | None, sql: str, expect: Step, at: str = "gateway", **more: Any) -> Step:
    return {"user": user, "purpose": purpose, "at": at, "do": "sql", "sql": sql, **more, "expect": expect}


def _rows(columns: list[str], rows: list[list[Any]], **more: Any) -> Step:
    return {"outcome": "rows", "columns": columns, "rows": rows, **more}


def _refused(code: str) -> Step:
    return {"outcome": "refused", "code": code}


def _v1_v3(cfg: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    weather = met.heat(cfg)
    truth = health.stays(cfg, weather)
    has_old = people(cfg.seed, truth.person).has_old
    written = health.admissions(cfg, truth, has_old)
    district = truth.district[written.stay]
    counts = np.bincount(district, minlength=len(DISTRICT_CODES)).tolist()
    found = [[code, count] for code, count in zip(DISTRICT_CODES, counts, strict=True) if count]
    year, code = health.planted_year(cfg), health.PLANTED_DISTRICT
    here = (truth.year[written.stay] == year) & (district == DISTRICT_CODES.index(code))
    place = f"district = '{code}' AND year = {year}"
    ask = f"SELECT count(*) AS admissions FROM health.main.admission WHERE {place}"
    first = _verdict(
        1,
        "A stranger learns nothing of hospital admissions; public health gets its counts.",
        _sql("sun", None, "SELECT * FROM health.main.admission", _refused("NOT_AVAILABLE")),
        _sql(
            "chen",
            "public-health",
            "SELECT district, count(*) AS admissions FROM health.main.admission GROUP BY district",
            _rows(["district", "admissions"], found),
        ),
    )
    third = _verdict(
        3,
        "Two harmless counts whose difference is four persons: the second is refused.",
        _sql("chen", "public-health", ask, _rows(["admissions"], [[int(here.sum())]])),
        _sql("chen", "public-health", f"{ask} AND ward <> '{health.WARD_PLANTED}'", _refused("DISCLOSURE")),
    )
    return first, third


def _v2(cfg: Config) -> dict[str, Any]:
    world = companies(cfg)
    code = np.where(world.second_uscc != "", world.second_uscc, world.first_uscc)
    of_person: dict[int, list[str]] = defaultdict(list)
    for person, uscc in zip(world.legal_person.tolist(), code.tolist(), strict=True):
        of_person[person].append(uscc)
    equal = sorted(sorted(group) for group in of_person.values() if len(group) > 1)
    sql = "SELECT uscc, legal_person_id FROM market.main.company"
    same = {"outcome": "pseudonyms", "column": "legal_person_id", "equal": equal, "distinct": len(of_person)}
    other = {"outcome": "unlinkable", "column": "legal_person_id", "with_step": 0}
    return _verdict(
        2,
        "Legal persons are pseudonyms: equal for equal persons, unlinkable across purposes.",
        _sql("lin", "mass-balance", sql, same),
        _sql("mei", "inspection", sql, other),
    )


def _v4(cfg: Config) -> dict[str, Any]:
    world, quarters = companies(cfg), balance(cfg).quarters
    users = np.arange(world.n_users)
    kilograms: dict[tuple[str, int], int] = defaultdict(int)
    filers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for y, year in enumerate(cfg.year_list):
        ends = month_days((year - 1970) * 12 + np.arange(3, 13, 3, dtype=np.int64)) - 1
        for q, end in enumerate(ends.tolist()):
            districts = world.district_on(users, np.full(len(users), end)).tolist()
            filed = zip(users.tolist(), districts, quarters[:, y, q].tolist(), strict=True)
            for user, district, grams in filed:
                kilograms[str(district), year] += grams
                filers[str(district), year].add(user)
    rows = [
        [district, year, f"{grams // 1000}.{grams % 1000:03d}"]
        for (district, year), grams in sorted(kilograms.items())
        if len(filers[district, year]) >= 5
    ]
    absent = {district for district, _ in filers} - {row[0] for row in rows}
    if absent - {NEW} or not rows:
        raise ValueError("V4 wants New District alone below the floor of five")
    warned = {"warning": "SUPPRESSED", "suppressed": sorted(absent)} if absent else {}
    discharge, mode = "environment.main.discharge", _refused("MODE")
    of_one = f"SELECT sum(qty) AS qty FROM {discharge} WHERE org_no = '{world.newest[0]}'"
    return _verdict(
        4,
        "Statistics sees sums over five companies, never a company.",
        _sql("bi", "statistics", f"SELECT org_no, sum(qty) AS qty FROM {discharge} GROUP BY org_no", mode),
        _sql("bi", "statistics", of_one, mode),
        _sql(
            "bi",
            "statistics",
            f"SELECT district_code, year, sum(qty) AS qty FROM {discharge} GROUP BY district_code, year",
            _rows(["district_code", "year", "qty"], rows, **warned),
        ),
    )


def _v5(cfg: Config) -> dict[str, Any]:
    owners, patients = "SELECT person FROM housing.main.owner", "SELECT person FROM health.main.admission"
    count = "SELECT district, count(*) AS admissions FROM health.main.admission GROUP BY district"
    keys = {"column": "person", "values": [subject for subject, _ in housing.budget_subjects(cfg)[:10]]}
    unknown = _refused("NOT_AVAILABLE")
    return _verdict(
        5,
        "Nobody joins owners with patients, whichever agent is asked and however.",
        _sql("chen", "public-health", owners, unknown, "housing"),
        _sql("wu", "benefit-eligibility", patients, unknown, "health"),
        _sql("chen", "public-health", count, _refused("MODE"), "health", keys=keys),
    )


def _v6(cfg: Config) -> dict[str, Any]:
    subjects = housing.budget_subjects(cfg)
    answers = [outcome for _, outcome in subjects]
    return _verdict(
        6,
        "A clerk may ask about 200 subjects a day.",
        {
            "user": "ma",
            "purpose": "benefit-eligibility",
            "at": "gateway",
            "do": "verify",
            "relation": "housing.main.owner",
            "subjects": [subject for subject, _ in subjects],
            "expect": {"outcome": "verified", "answers": answers[:200], "then": "BUDGET"},
        },
    )


def _v7(cfg: Config) -> dict[str, Any]:
    arms = [
        f"SELECT '{name}' AS department, count(*) AS n FROM {name}.main.{relation}"
        for name, relation in (("water", "company_month"), ("market", "company"))
    ]
    sql, down = " UNION ALL ".join(arms), ["water"]
    error = {"outcome": "error", "names": "water"}
    market = _rows(["department", "n"], [["market", len(companies(cfg).number)]], warning="water")
    partial = {"allow_partial": True}
    question = {"user": "lin", "purpose": "mass-balance", "at": "gateway", "do": "question", "question": "q2"}
    return _verdict(
        7,
        "Without water the others answer only if asked to, and never as if all were there.",
        _sql("lin", "mass-balance", sql, error, down=down),
        _sql("lin", "mass-balance", sql, market, down=down, session=partial),
        {**question, "down": down, "expect": error},
        {**question, "down": down, "session": partial, "expect": error},
    )
