"""The city's companies, market, water, chemicals, discharges: the keys of Q1 and Q2 against raw files alone.

`gen_reference` knows the files' layouts, the owner views and the questions and nothing of the generator: what it
finds in the silos must be, row for row, what the key said before they were written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import psycopg
import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc
from stdnum.iso7064 import mod_11_2, mod_11_10

from atoll.city import (
    chemicals,
    companies,
    environment,
    generate,
    ids,
    keys,
    ledger,
    load_servers,
    market,
    register,
    rng,
    water,
    works,
)
from atoll.city.base import Config, answer, rows_sha256
from tests.city import gen_reference
from tests.servers import MariaDBServer, PostgresServer, free_port

SOME_SEED = int(os.environ["CITY_SEED"])
CONFIGS = {
    "as it is": Config(seed=4499),
    "clean": Config(seed=1, dirt=0, years=(2014, 2016)),
    "honest": Config(seed=7, frauds=False, years=(2016, 2018)),
    "half dirty, four years": Config(seed=12345, dirt=0.5, years=(2015, 2018)),
    "a drawn seed": Config(seed=SOME_SEED),
}


def write_half(config: Config, root: Path) -> dict[str, Any]:
    """Writes this half of a city; gives its two keys by question."""
    for maker in (market, water, chemicals, environment):
        maker.write(config, root)
    return {entry["question"]: entry for entry in keys.write(config, root).entries}


class City:
    """A generated half city, its keys, and what the reference reads in its files."""

    def __init__(self, config: Config, root: Path) -> None:
        self.config, self.root = config, root
        self.keys = write_half(config, root)
        self.files = gen_reference.read_city(root)
        self.balances = gen_reference.q1(self.files)
        self.draughts = gen_reference.q2(self.files)


@pytest.fixture(scope="module", params=list(CONFIGS), ids=str)
def city(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> City:
    print(f"city: {request.param}")
    return City(CONFIGS[request.param], tmp_path_factory.mktemp("city"))


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> City:
    return City(Config(seed=99), tmp_path_factory.mktemp("dirty"))


@pytest.fixture(scope="module")
def raw(dirty: City) -> duckdb.DuckDBPyConnection:
    """The raw tables of the dirty city."""
    return gen_reference.read_raw(dirty.root)


@pytest.fixture
def edited(raw: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same for one test to change: afterwards they are as they were."""
    raw.begin()
    yield raw
    raw.rollback()


# --- the answers ------------------------------------------------------------------------------------


def test_the_files_answer_q1_as_the_key_does(city: City) -> None:
    assert [row[:5] for row in city.balances if row[3]] == city.keys["q1"]["rows"]


def test_the_files_answer_q2_as_the_key_does(city: City) -> None:
    assert [row for row in city.draughts if row[2]] == city.keys["q2"]["rows"]


def test_every_user_and_every_working_company_is_weighed(city: City) -> None:
    years = len(city.config.year_list)
    assert len(city.balances) == 48 * years
    assert len(city.draughts) == int(works.draught(city.config).present.sum())


def test_honest_balances_lie_within_nine_permille_and_flagged_ones_beyond_fifty(city: City) -> None:
    for *_, kind, u, total in city.balances:
        share = abs(u) / total
        assert share <= 0.009 if kind in (None, "F4") else share > 0.05


def test_without_frauds_nothing_is_flagged_and_with_them_every_carrier_is(city: City) -> None:
    rows = city.keys["q1"]["rows"] + city.keys["q2"]["rows"]
    if not city.config.frauds:
        assert rows == []
        return
    book, found = ledger.ledger(city.config), ledger.classify(ledger.balance(city.config))
    cheats = book.cheats[:, companies.window(city.config)]
    expected = {0: "F1", 1: "F2", 2: "F3", 3: "F4", 4: "F5", 5: "F6", 13: "F2"}
    for user, year in zip(*np.nonzero(cheats), strict=True):
        kind = expected[int(book.role[user])]
        plant = int(book.role[user]) == 1 and user // 24 % 2 == 1  # within +-1 %: ambiguous, not in the key
        got = ledger.KIND_CODES[found[user, year]] if found[user, year] >= 0 else None
        assert got == (None if plant else kind)
    assert not (found >= 0)[~cheats].any()


def test_exactly_seven_purchase_lines_name_a_buyer_that_nobody_knows(city: City) -> None:
    known = "SELECT code FROM company_code"
    count = f"SELECT count(*) FROM current_line WHERE {{}} NOT IN ({known})"
    (buyers,) = city.files.execute(count.format("buyer")).fetchall()[0]
    (sellers,) = city.files.execute(count.format("seller")).fetchall()[0]
    assert (buyers, sellers) == (7 if city.config.dirt else 0, 0)


def test_every_code_means_one_company(city: City) -> None:
    twice = "SELECT code FROM company_code GROUP BY code HAVING count(DISTINCT company) > 1"
    assert city.files.execute(twice).fetchall() == []


def test_ignoring_any_rule_changes_the_answer(dirty: City) -> None:
    rules = {q: {n["rule"]: n["rows_differing"] for n in dirty.keys[q]["naive"]} for q in ("q1", "q2")}
    assert set(rules["q1"]) == {
        "D12", "D13", "D14", "D20", "D21", "D22", "D23", "D28", "D29", "merger",
    }  # fmt: skip
    assert {"D01", "D02", "D03", "D04", "D05", "D11", "D13"} <= set(rules["q2"])
    assert all(n > 0 for found in rules.values() for n in found.values())


def test_a_naive_answer_that_does_not_differ_is_an_error() -> None:
    with pytest.raises(ValueError, match="q9: ignoring D99 changes no row"):
        answer("q9", user="u", purpose="p", silos=[], columns=[], order=[], rows=[[1]], naive={"D99": [[1]]})


@pytest.mark.parametrize("rule", ["D01", "D02", "D03", "D04", "D05"])
def test_naive_water_answers_are_what_a_naive_query_over_the_files_gives(
    dirty: City, edited: duckdb.DuckDBPyConnection, rule: str
) -> None:
    """The generator's naive readers are checked against edited raw tables."""
    base = edited
    if rule == "D05":
        base.execute("UPDATE reading SET estimated = '0'")
    elif rule == "D04":
        # who ignores corrections drops the rows that correct a reading of their unit, and keeps those readings
        base.execute(
            "DELETE FROM reading c WHERE EXISTS (SELECT 1 FROM reading r"
            " WHERE r.reading_id = c.corrects_id AND r.unit = c.unit)"
        )
    elif rule == "D01":
        base.execute("UPDATE meter SET digits = '-9'")
    elif rule == "D03":
        base.execute("UPDATE reading SET cum_value = floor(cum_value::DOUBLE)::BIGINT, unit = 'L0' WHERE unit = 't'")
    else:
        base.execute("UPDATE reading r SET meter_id = (SELECT min(o.meter_id) FROM meter o JOIN meter m USING"
                     " (account_no) WHERE m.meter_id = r.meter_id)")  # fmt: skip
        base.execute("DELETE FROM meter WHERE meter_id NOT IN (SELECT meter_id FROM reading)")
    script = gen_reference.VIEWS + gen_reference.WATER
    if rule == "D01":
        script = script.replace("10 ** digits::INT * 1000", "0")
    if rule == "D03":
        script = script.replace("DATE '2016-07-01' THEN 't'", "DATE '2016-07-01' THEN 'L0'")
    base.execute(script)
    naive = [row for row in gen_reference.q2(base) if row[2]]
    made = works.answer_rows(dirty.config, water.evaluate(dirty.config, rule))
    assert naive == made


FORGETFUL = {
    "D12": [("year(coalesce(v.issued_on, s.issued_on)::DATE)", "year(s.issued_on::DATE)")],
    "D13": [("SELECT clean(uscc) AS code, period,", "SELECT clean(uscc) AS code, version, period,")],
    "D14": [("clean(s.seller_uscc)", "s.seller_uscc"), ("clean(s.buyer_uscc)", "s.buyer_uscc"),
            ("SELECT clean(uscc) AS code,", "SELECT uscc AS code,")],
    "D20": [("WHEN 't' THEN 1000000 WHEN 'kg'", "WHEN '?' THEN 0 ELSE 1000 END * CASE '' WHEN '' THEN 1 WHEN 'kg'")],
    "D21": [("QUALIFY version::INT = max(version::INT) OVER (PARTITION BY doc)", ""),
            ("WHERE doc IN (SELECT supersedes", "WHERE doc = '' AND doc IN (SELECT supersedes")],
    "D22": [("SELECT DISTINCT kind", "SELECT kind")],
    "D23": [("year(day::DATE) AS year, buyer", "year(received::DATE) AS year, buyer")],
    "D28": [("CASE WHEN year < 2018 THEN 2012 ELSE 2018 END", "2012")],
    "D29": [("FROM waste) GROUP BY manifest_no)", "FROM waste) GROUP BY manifest_no, version)")],
    "merger": [("arg_max(uscc, f) AS company FROM map", "arg_max(uscc, f) AS company FROM map WHERE why <> 'merger'"),
               ("AS uscc, valid_from", "AS uscc, reason AS why, valid_from"),
               ("map JOIN newest USING (reg) GROUP", "map JOIN newest USING (reg) WHERE why <> 'merger' GROUP")],
}  # fmt: skip


@pytest.mark.parametrize("rule", list(FORGETFUL))
def test_naive_balances_are_what_a_naive_query_over_the_files_gives(
    dirty: City, edited: duckdb.DuckDBPyConnection, rule: str
) -> None:
    script = gen_reference.VIEWS
    for right, wrong in FORGETFUL[rule]:
        assert right in script
        script = script.replace(right, wrong)
    edited.execute(script)
    naive = [row[:5] for row in gen_reference.q1(edited) if row[3]]
    said = next(n for n in dirty.keys["q1"]["naive"] if n["rule"] == rule)
    assert rows_sha256(naive) == said["sha256"]


@pytest.mark.parametrize("rule", ["D11", "D13", "D14"])
def test_naive_market_answers_are_what_a_naive_query_over_the_files_gives(
    dirty: City, edited: duckdb.DuckDBPyConnection, rule: str
) -> None:
    views, question = gen_reference.VIEWS, gen_reference.Q2
    for right, wrong in FORGETFUL.get(rule, []):
        views = views.replace(right, wrong)
    if rule == "D11":
        question = question.replace("'2011', code_2011", "'none', code_2011")
    assert (views, question) != (gen_reference.VIEWS, gen_reference.Q2)
    edited.execute(views + gen_reference.WATER)
    naive = [[*row[:4], f"{row[4]:f}"] for row in edited.execute(question).fetchall() if row[2]]
    assert naive == works.answer_rows(dirty.config, market.naive_draughts(dirty.config)[rule])


# --- a late change moves its own rows alone ---------------------------------------------------------


def test_one_purchase_of_ten_kilograms_changes_exactly_one_u(dirty: City, tmp_path: Path) -> None:
    shutil.copytree(dirty.root / "silos", tmp_path / "silos")
    company, substance, year, *_ = next(row for row in dirty.keys["q1"]["rows"] if row[3] == "F1")
    query = "SELECT buyer, seller, l.code, scheme FROM current_line l JOIN company_code c ON c.code = buyer"
    found = dirty.files.execute(f"{query} WHERE company = ? AND year = ? LIMIT 1", [company, year]).fetchone()
    assert found is not None
    buyer, seller, code, scheme = found
    day = date(year, 6, 1)
    chemicals.add_purchase(
        tmp_path, doc_no="LATE1", buyer=buyer, seller=seller, day=day, code=code, scheme=scheme, qty="10"
    )
    after = gen_reference.q1(gen_reference.read_city(tmp_path))
    changed = [(a, b) for a, b in zip(dirty.balances, after, strict=True) if a != b]
    assert [(a[:3], b[4] - a[4]) for a, b in changed] == [([company, substance, year], 10_000)]


# --- same seed, same city; bigger city, same entities -----------------------------------------------


def test_the_same_seed_gives_the_same_bytes_in_other_processes_too(dirty: City, tmp_path: Path) -> None:
    manifest = generate(dirty.config, tmp_path)
    on_disk = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert on_disk == {*manifest.files, "manifest.json"}
    said = json.loads((tmp_path / "manifest.json").read_text())
    assert said == manifest.as_dict()
    assert (said["seed"], said["scale"], said["years"], said["dirt"]) == (99, "small", [2014, 2019], 1.0)
    for path in dirty.root.rglob("*"):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert manifest.files[path.relative_to(dirty.root).as_posix()] == digest


def test_another_seed_gives_another_city(city: City, dirty: City) -> None:
    market_db = "silos/market/market.db"
    assert (city.root / market_db).read_bytes() != (dirty.root / market_db).read_bytes()


def _by_number(rows: Any, number: str, keep: tuple[str, ...]) -> dict[int, tuple[int, ...]]:
    columns = [getattr(rows, name).tolist() for name in (number, *keep)]
    return {row[0]: row[1:] for row in zip(*columns, strict=True)}


def test_scale_changes_no_existing_entity() -> None:
    small, medium = Config(seed=5), Config(seed=5, scale_name="medium", years=(2014, 2019))
    a, b = companies.companies(small), companies.companies(medium)
    for name in ("reg_no", "first_uscc", "second_uscc", "newest", "legal_person", "district", "industry"):
        mine, theirs = getattr(a, name), getattr(b, name)
        assert (mine[:48] == theirs[:48]).all()
        assert (mine[48:120] == theirs[400:472]).all()
    first, second = ledger.ledger(small), ledger.ledger(medium)
    for column in fields(first):
        mine, theirs = getattr(first, column.name), getattr(second, column.name)
        assert (mine == theirs[:48]).all(), column.name
    low, high = works.works(small), works.works(medium)
    for name in ("declared", "use", "leak", "marks"):
        assert (getattr(low, name) == getattr(high, name)[:72]).all()

    signed = ("grams", "qty_milli", "unit", "day", "cents", "voids")
    some, all_ = (_by_number(market.deal_invoices(c)[2], "number", signed) for c in (small, medium))
    assert some.items() <= all_.items()
    some, all_ = (
        _by_number(chemicals.papers(c), "number", ("day", "received", "twice", "revised")) for c in (small, medium)
    )
    assert some.items() <= all_.items()
    read = ("day", "litres", "metric", "estimated", "corrects", "recorded")
    some, all_ = (_by_number(water.readings(c, water.company_accounts(c)), "number", read) for c in (small, medium))
    assert some.items() <= all_.items()
    some, all_ = (
        {(u, y, p): rest for u, y, p, *rest in zip(*(getattr(m, f.name).tolist() for f in fields(m)), strict=True)}
        for m in (environment.manifests(small), environment.manifests(medium))
    )
    assert all(all_[key] == value for key, value in some.items())


# --- identity ---------------------------------------------------------------------------------------


def _org_check(code: str) -> str:
    """GB 11714, worked out by hand here: no library has it."""
    total = sum(int(c, 36) * weight for c, weight in zip(code, (3, 7, 9, 10, 5, 8, 4, 2), strict=True))
    return "0123456789X0"[11 - total % 11]


def test_company_numbers_carry_their_check_characters(dirty: City) -> None:
    world = companies.companies(dirty.config)
    for number in world.reg_no:
        mod_11_10.validate(number)
    for code in [*world.first_uscc, *filter(None, world.second_uscc)]:
        uscc.validate(code)
        assert _org_check(code[8:16]) == code[16]
    codes = [*world.reg_no, *world.first_uscc, *filter(None, world.second_uscc)]
    assert len(codes) == len(set(codes))


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2_000_000), min_size=1, max_size=50, unique=True))
def test_persons_have_valid_ids_of_their_own_in_both_forms(seed: int, indices: list[int]) -> None:
    made = ids.people(seed, np.array(indices, dtype=np.int64))
    assert len(set(made.id18)) == len(indices)
    for new, old, born in zip(made.id18.tolist(), made.id15.tolist(), made.born, strict=True):
        mod_11_2.validate(new)
        assert new[6:14] == str(born).replace("-", "")
        assert old in ("", new[:6] + new[8:17])
        assert bool(old) == (born < np.datetime64("2000-01-01"))
    for wrong in ids.wrong_check(made.id18):
        assert not mod_11_2.is_valid(str(wrong))


def test_departments_write_the_number_of_the_day(dirty: City) -> None:
    """15 digits until each department's switch, then 18 characters, apart from F6's dead numbers."""
    records = {
        "2015-10-01": "SELECT clean(seller_uscc), issued_on FROM sales_invoice"
        " UNION ALL SELECT clean(buyer_uscc), issued_on FROM sales_invoice",
        "2017-01-01": "SELECT org_no, strptime(period, '%Y%m') + INTERVAL 1 MONTH - INTERVAL 1 DAY FROM discharge"
        " UNION ALL SELECT sender_org, replace(shipped_on, '/', '-') FROM waste",
        "2016-07-01": "SELECT org_no, opened_on FROM account WHERE org_no IS NOT NULL",
        "2018-01-01": "SELECT seller, day FROM line WHERE seller IS NOT NULL UNION ALL SELECT org_no, day FROM stock",
    }
    for switch, rows in records.items():
        wrong = f"SELECT count(*) FROM ({rows}) t(n, d) WHERE length(n) <> CASE WHEN d::DATE < DATE '{switch}' THEN 15 ELSE 18 END"  # fmt: skip  # noqa: E501
        assert dirty.files.execute(wrong).fetchall() == [(0,)], switch
    dead = "SELECT DISTINCT company FROM bought WHERE expired"
    f6 = {row[0] for row in dirty.keys["q1"]["rows"] if row[3] == "F6"}
    assert {row[0] for row in dirty.files.execute(dead).fetchall()} == f6


def test_only_two_companies_discharge_in_the_new_district(dirty: City) -> None:
    query = "SELECT district_code, count(DISTINCT company) FROM discharge JOIN company_code ON code = org_no"
    counts = dict(dirty.files.execute(f"{query} WHERE period >= '2015' GROUP BY 1").fetchall())
    assert counts.pop("449906") == 2
    assert min(counts.values()) >= 5
    early = "SELECT count(*) FROM discharge WHERE district_code = '449906' AND period < '2015'"
    assert dirty.files.execute(early).fetchall() == [(0,)]


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(-(2**40), 2**40), min_size=1), st.integers(0, 3000))
def test_one_random_number_is_the_same_alone_and_among_many(seed: int, many: list[int], year: int) -> None:
    drawn = rng.Rng(seed, "table")
    together = drawn.integers(-5, 1000, np.array(many), year)
    assert together.tolist() == [drawn.integer(-5, 1000, key, year) for key in many]
    assert all(-5 <= n <= 1000 for n in together)


def test_unknown_scales_years_and_dirt_are_refused() -> None:
    for wrong in ({"scale_name": "huge"}, {"dirt": 1.5}, {"years": (2012, 2014)}, {"seed": -1}):
        with pytest.raises(ValueError, match=r"must"):
            Config(**wrong)  # type: ignore[arg-type]


# --- the register's service -------------------------------------------------------------------------


def _client(root: Path, rate: int | None = 1000) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(register.create_app(root, rate))
    return httpx.AsyncClient(transport=transport, base_url="http://register")


async def test_the_register_serves_every_document_in_pages(dirty: City) -> None:
    async with _client(dirty.root) as client:
        for name in chemicals.COLLECTIONS:
            items: list[dict[str, Any]] = []
            path = f"/v2/{name}"
            while path:
                answer = (await client.get(path)).raise_for_status()
                items += answer.json()["items"]
                path = answer.json()["next"]
                assert answer.json()["size"] <= 200
            with sqlite3.connect(chemicals.store_path(dirty.root)) as base:
                stored = [json.loads(row[0]) for row in base.execute(f"SELECT body FROM {name} ORDER BY seq")]
            assert items == stored
            assert answer.headers["X-Total-Count"] == str(len(stored))


async def test_the_register_refuses_what_it_does_not_know(dirty: City) -> None:
    async with _client(dirty.root) as client:
        paths = ("purchases?size=201", "purchases?page=0", "setting")
        assert [(await client.get(f"/v2/{path}")).status_code for path in paths] == [422, 422, 404]


async def test_an_unchanged_page_is_not_sent_again(dirty: City, tmp_path: Path) -> None:
    shutil.copytree(dirty.root / "silos" / "chemicals", tmp_path / "silos" / "chemicals")
    async with _client(tmp_path) as client:
        first = await client.get("/v2/purchases?page=1")
        last = await client.get(f"/v2/purchases?page={-(-int(first.headers['X-Total-Count']) // 200)}")

        async def again() -> list[int]:
            known = [(str(page.url), {"If-None-Match": page.headers["ETag"]}) for page in (first, last)]
            return [(await client.get(url, headers=tag)).status_code for url, tag in known]

        assert await again() == [304, 304]
        chemicals.add_purchase(
            tmp_path, doc_no="LATE1", buyer="1", seller="2", day=date(2014, 1, 1), code="L003", scheme="local", qty="1"
        )
        assert await again() == [304, 200]


async def test_too_many_requests_are_told_when_to_come_back(dirty: City) -> None:
    async with _client(dirty.root, rate=None) as client:  # five a second at small
        answers = [await client.get("/v2/substances") for _ in range(12)]
        refused = [a for a in answers if a.status_code == 429]
        assert refused
        assert all(int(a.headers["Retry-After"]) >= 1 for a in refused)
        assert (await client.get("/healthz")).status_code == 200


def test_the_register_runs_as_a_process_of_its_own(dirty: City) -> None:
    port = free_port()
    command = [sys.executable, "-m", "atoll.city.register", "--dir", str(dirty.root), "--port", str(port)]
    process = subprocess.Popen(command)
    try:
        retrying = httpx.HTTPTransport(retries=10)  # waits longer each time until the port is open
        with httpx.Client(transport=retrying, base_url=f"http://127.0.0.1:{port}") as client:
            page = client.get("/v2/substances", timeout=30).raise_for_status().json()
        assert {d["cas"] for d in page["items"] if d["code"] in ("L001", "L002")} == {"7440-47-3"}
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_the_meter_refills_with_time() -> None:
    now = [0.0]
    meter = register.Meter(5, clock=lambda: now[0])
    assert [meter.wait() for _ in range(5)] == [0.0] * 5
    assert meter.wait() == pytest.approx(0.2)
    now[0] += 0.2
    assert meter.wait() == 0.0


# --- real servers -----------------------------------------------------------------------------------


def _text_row(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(str(int(v)) if isinstance(v, bool) else str(v) for v in row)


def _compare(root: Path, name: str, shapes: Any, fetch: Callable[[str], Any]) -> None:
    """Every table of the server holds the rows of the embedded copy, cell by cell."""
    with sqlite3.connect(root / "silos" / name / f"{name}.db") as base:
        for shape in shapes:
            stored = base.execute(f"SELECT * FROM {shape.name}").fetchall()
            served = fetch(f"SELECT * FROM {shape.name}")
            assert sorted(map(_text_row, served)) == sorted(map(_text_row, stored)), shape.name


@pytest.mark.servers
def test_real_servers_hold_the_rows_of_the_embedded_copies(
    dirty: City, postgres: PostgresServer, postgres_database: str, mariadb: MariaDBServer, mariadb_database: str
) -> None:
    settings = {**mariadb.settings(), "database": mariadb_database}
    load_servers(dirty.root, water_dsn=postgres.dsn(postgres_database), market=settings)
    with psycopg.connect(postgres.dsn(postgres_database)) as water_base:
        _compare(dirty.root, "water", water.SHAPES, lambda sql: water_base.execute(sql).fetchall())
    with pymysql.connect(**settings) as base, base.cursor() as cursor:

        def fetch(sql: str) -> Any:
            cursor.execute(sql)
            return cursor.fetchall()

        _compare(dirty.root, "market", market.SHAPES, fetch)
