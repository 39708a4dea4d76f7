"""Against toys: what changes in a department's raw data changes exactly its own answers, and nothing is kept elsewhere.

Each test writes into one silo as its owner would, asks again, compares with the answer before, and puts the
silo back as it was: the other tests of this folder compare with the answer key.
"""

from __future__ import annotations

import csv
import os
import random
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pyarrow.parquet
import pymysql

from atoll.city.chemicals import add_purchase, store_path
from catalog.http import Client
from tests.city.live.running import City

Row = tuple[Any, ...]
SALES = "SELECT seller, buyer, substance, year, grams FROM city.trade.sales"
WATER = "SELECT org_no, district_code, month, unit, qty, quality FROM water.main.company_month"
WATER_YEARS = (
    "SELECT company, year(month) AS year, sum(litres) AS litres FROM city.water.company_month "
    "GROUP BY company, year(month)"
)


def rows(city: City, sql: str, user: str = "lin", purpose: str = "mass-balance") -> list[Row]:
    return [tuple(row) for row in city.ask(sql, user, purpose)["rows"]]


def changes(before: list[Row], after: list[Row]) -> tuple[list[Row], list[Row]]:
    """(rows that are gone, rows that are new), each in order; equal rows are counted."""
    old, new = Counter(before), Counter(after)
    return sorted((old - new).elements(), key=repr), sorted((new - old).elements(), key=repr)


def one_change(before: list[Row], after: list[Row]) -> tuple[Row, Row]:
    """The one row that changed, before and after. Fails if it is not exactly one."""
    gone, come = changes(before, after)
    assert len(gone) == len(come) == 1, (gone[:5], come[:5])
    return gone[0], come[0]


def refresh(city: City, department: str) -> None:
    """What the owner does after a change: `POST /owner/refresh` at the agent's own door."""
    with Client(timeout=120, trust_env=False) as http:
        answer = http.post(f"{city.state['departments'][department]['owner']}/owner/refresh")
    assert answer.status_code == 200, answer.text


# ---------------------------------------------------------------- chemicals: a late paper delivery


def companies_by_code(city: City) -> dict[str, str]:
    """Every code of a company -> its newest uscc, from the generator's truth."""
    table = pyarrow.parquet.read_table(city.key / "truth" / "market_companies.parquet")
    found: dict[str, str] = {}
    for row in table.to_pylist():
        codes = (row["company"], row["reg_no15"], row["first_uscc"], row["second_uscc"])
        found |= {code: row["company"] for code in codes if code}
    return found


def a_purchase_like(city: City, company: str, substance: str, year: int) -> dict[str, Any]:
    """Buyer, seller, day and substance of one document in the register about this balance."""
    newest = companies_by_code(city)
    with closing(sqlite3.connect(store_path(city.folder))) as store:
        listed = [orjson.loads(body) for (body,) in store.execute("SELECT body FROM substances")]
        bodies = [orjson.loads(body) for (body,) in store.execute("SELECT body FROM purchases ORDER BY seq")]
    cas = {(s["scheme"], s["code"]): s["cas"] for s in listed}
    for body in bodies:
        for line in body["lines"]:
            of = line["substance"]
            if (
                newest.get(body["buyer"]["orgNo"]) == company
                and body["date"].startswith(str(year))
                and cas.get((of["scheme"], of["code"])) == substance
            ):
                return {
                    "buyer": body["buyer"]["orgNo"], "seller": body["seller"]["orgNo"],
                    "day": date.fromisoformat(body["date"]), "code": of["code"], "scheme": of["scheme"],
                }  # fmt: skip
    raise AssertionError(f"{company} bought no {substance} in {year}")


@contextmanager
def purchase(city: City, **line: Any) -> Iterator[None]:
    """One more purchase in the register's raw store, which the agent reads again."""
    add_purchase(city.folder, doc_no="P-LATE-1", **line)
    try:
        refresh(city, "chemicals")
        yield
    finally:
        with closing(sqlite3.connect(store_path(city.folder))) as store, store:
            store.execute("DELETE FROM purchases WHERE body LIKE '%P-LATE-1%'")
        refresh(city, "chemicals")


def test_ten_kilograms_more_bought_are_ten_kilograms_more_missing(city: City) -> None:
    dumped = [row for row in city.answer_key("q1")["rows"] if row[3] == "F1"]
    company, substance, year, kind, u_g = random.Random(city.seed).choice(dumped)
    before = rows(city, city.question(1))
    assert (company, substance, year, kind, u_g) in before
    with purchase(city, qty="10", unit="kg", purity="1", **a_purchase_like(city, company, substance, year)):
        gone, come = one_change(before, rows(city, city.question(1)))
    assert gone == (company, substance, year, kind, u_g)
    assert come == (company, substance, year, kind, u_g + 10_000)
    assert rows(city, city.question(1)) == before


# ---------------------------------------------------------------- market: a late red letter


@contextmanager
def market_owner(city: City) -> Iterator[pymysql.cursors.DictCursor]:
    server = city.state["servers"]["market"]
    password = Path(server["password_file"]).read_text()
    connection = pymysql.connect(
        host="127.0.0.1", port=server["port"], user="owner", password=password, database="market", charset="utf8mb4",
        autocommit=True, cursorclass=pymysql.cursors.DictCursor,
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        yield cursor


INVOICES = """
SELECT s.*, p.g_per_unit
FROM sales_invoice AS s
JOIN product AS p ON p.product_code = s.product_code AND p.scheme_year = 2012 AND p.unit = s.unit
WHERE YEAR(s.issued_on) = 2017 AND s.qty > 5 AND s.voids IS NULL AND p.substance_cas IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM sales_invoice AS v WHERE v.voids = s.invoice_no)
ORDER BY MD5(CONCAT(s.invoice_no, %s))
LIMIT 1
"""


@contextmanager
def red_letter(city: City, pieces: int) -> Iterator[Decimal]:
    """Void `pieces` units of an invoice of 2017 in February 2018; the grams of substance in them."""
    with market_owner(city) as cursor:
        cursor.execute(INVOICES, (city.seed,))
        sold = cursor.fetchone()
        assert sold is not None
        values = (
            "F-LATE-1", sold["seller_uscc"], sold["buyer_uscc"], sold["product_code"], -pieces, sold["unit"], -1,
            date(2018, 2, 15), sold["invoice_no"],
        )  # fmt: skip
        cursor.execute("INSERT INTO sales_invoice VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", values)
        try:
            yield pieces * sold["g_per_unit"]
        finally:
            cursor.execute("DELETE FROM sales_invoice WHERE invoice_no = 'F-LATE-1'")


def test_a_late_red_letter_takes_its_grams_off_the_year_of_the_voided_invoice(city: City) -> None:
    """Written in 2018, when its product code means something else, about 2017."""
    before = rows(city, SALES)
    with red_letter(city, pieces=3) as grams:
        gone, come = one_change(before, rows(city, SALES))
    assert gone[:4] == come[:4]
    assert gone[3] == 2017
    assert gone[4] - come[4] == grams > 0
    assert changes(before, rows(city, SALES)) == ([], [])


# ---------------------------------------------------------------- water: a corrected reading

READINGS = """
SELECT r.reading_id, r.meter_id, r.read_on, r.cum_value, r.unit
FROM reading AS r
JOIN meter AS m ON m.meter_id = r.meter_id
JOIN account AS a ON a.account_no = m.account_no
JOIN reading AS b ON b.meter_id = r.meter_id AND b.unit = r.unit AND NOT b.estimated AND b.corrects_id IS NULL
    AND b.read_on >= r.read_on - INTERVAL '1 month' AND b.read_on < r.read_on AND b.cum_value < r.cum_value
JOIN reading AS n ON n.meter_id = r.meter_id AND n.unit = r.unit AND NOT n.estimated AND n.corrects_id IS NULL
    AND n.read_on = r.read_on + INTERVAL '1 month'
    AND n.cum_value > r.cum_value + 2 * CASE r.unit WHEN 't' THEN 1 ELSE 1000 END
WHERE a.kind = 'C' AND NOT r.estimated AND r.corrects_id IS NULL
    AND EXTRACT(MONTH FROM r.read_on) = 1 AND EXTRACT(DAY FROM r.read_on) = 1
    AND NOT EXISTS (SELECT FROM reading AS c WHERE c.corrects_id IN (r.reading_id, b.reading_id, n.reading_id))
ORDER BY md5(concat(r.reading_id, %s::text))
LIMIT 1
"""


@contextmanager
def corrected_reading(city: City) -> Iterator[date]:
    """Correct a company's reading of some 1 January by a cubic metre more; that day."""
    server = city.state["servers"]["water"]
    password = Path(server["password_file"]).read_text()
    with psycopg.connect(
        host="127.0.0.1", port=server["port"], user="owner", password=password, dbname="water", autocommit=True
    ) as connection:
        found = connection.execute(READINGS, (city.seed,)).fetchone()
        assert found is not None
        reading, meter, day, value, unit = found
        corrected = value + (1 if unit == "t" else 1000)
        connection.execute(
            "INSERT INTO reading "
            "SELECT max(reading_id) + 1, %s, %s::date, %s, %s, false, %s, %s::date + 40 FROM reading",
            (meter, day, corrected, unit, reading, day),
        )
        try:
            yield day
        finally:
            connection.execute("DELETE FROM reading WHERE reading_id = (SELECT max(reading_id) FROM reading)")


def test_a_corrected_reading_moves_water_between_its_two_months_alone(city: City) -> None:
    months, years = rows(city, WATER), rows(city, WATER_YEARS)
    with corrected_reading(city) as day:
        gone, come = changes(months, rows(city, WATER))
        gone_years, come_years = changes(years, rows(city, WATER_YEARS))
    december, january = date(day.year - 1, 12, 1).isoformat(), day.isoformat()
    cubic_metre = Decimal(1 if gone[0][3] == "t" else 1000)
    assert [row[2] for row in gone] == [row[2] for row in come] == [december, january]
    assert [(*old[:4], old[5]) for old in gone] == [(*new[:4], new[5]) for new in come]
    moved = [Decimal(new[4]) - Decimal(old[4]) for old, new in zip(gone, come, strict=True)]
    assert moved == [cubic_metre, -cubic_metre]
    assert [row[:2] for row in gone_years] == [row[:2] for row in come_years]
    assert [(new[1], new[2] - old[2]) for old, new in zip(gone_years, come_years, strict=True)] == [
        (day.year - 1, 1000),
        (day.year, -1000),
    ]
    assert changes(months, rows(city, WATER)) == ([], [])


# ---------------------------------------------------------------- environment: an hour uploaded again


@contextmanager
def uploaded_again(city: City, district: str, month: str, pollutant: str, more: int) -> Iterator[None]:
    """A third upload of one measured hour, `more` ug/m3 above what the second or first one said."""
    folder = city.folder / "silos" / "environment" / "air" / month[:4]
    stem = f"{district}_{month[:4]}{month[5:7]}"
    latest = {}
    for seq in (1, 2):
        upload = folder / f"{stem}_{seq}.csv"
        for line in csv.DictReader(upload.read_text("utf-8-sig").splitlines()) if upload.exists() else []:
            if line["pollutant"] == pollutant:
                latest[line["station_code"], line["time"]] = line
    measured = [
        line for line in latest.values() if line["value"].replace(".", "").isdigit() and line["value"] != "9999"
    ]
    line = random.Random(city.seed).choice(measured)
    line["value"] = str(Decimal(line["value"]) + more)
    file = folder / f"{stem}_3.csv"
    file.write_text("\n".join([",".join(line), ",".join(line.values())]) + "\n", "utf-8-sig")
    try:
        refresh(city, "environment")
        yield
    finally:
        file.unlink()
        refresh(city, "environment")


def test_an_hour_uploaded_again_changes_its_own_cell(city: City) -> None:
    ask = (city.question(3), "bi", "statistics")
    before = rows(city, *ask)
    cells = [r for r in before if r[0] == "449902" and r[1].startswith("2017") and r[2] == "PM10" and r[7] == "ok"]
    cell = random.Random(city.seed).choice(cells)
    n_valid = cell[4]
    # n hours have a mean: one of them n higher lifts it by exactly 1.
    with uploaded_again(city, cell[0], cell[1], "PM10", more=n_valid):
        gone, come = one_change(before, rows(city, *ask))
    assert gone == cell
    assert come == (*cell[:3], str(Decimal(cell[3]) + 1), *cell[4:])
    assert rows(city, *ask) == before


# ---------------------------------------------------------------- no copy outside its agent


def identifiers(city: City) -> dict[str, set[bytes]]:
    """Numbers of single raw rows by department; no test or question asks for any of them."""
    silos = city.folder / "silos"
    with closing(sqlite3.connect(store_path(city.folder))) as store:
        bodies = store.execute("SELECT body FROM purchases ORDER BY seq").fetchall()
    _, *manifests = (silos / "environment" / "waste" / "2018.csv").read_text("utf-8-sig").splitlines()
    probed = {row[2] for row in city.answer_key("q4")["rows"]}
    for step in (step for verdict in city.answer_key("verdicts")["verdicts"] for step in verdict["steps"]):
        probed |= {*step.get("subjects", ()), *step.get("keys", {}).get("values", ())}
    owners: Any = pyarrow.parquet.read_table(next((silos / "housing" / "property").rglob("*.parquet")))
    found = {
        "water": _column(silos / "water" / "water.db", "SELECT id_no FROM account WHERE kind = 'H'"),
        "market": _column(silos / "market" / "market.db", "SELECT invoice_no FROM sales_invoice"),
        "health": _column(silos / "health" / "health.db", "SELECT person_id FROM admission"),
        "chemicals": [orjson.loads(body)["docNo"] for (body,) in bodies],
        "environment": [line.split(",")[0] for line in manifests],
        "housing": [v for v in owners["owner_id_no"].to_pylist() if v],
    }
    unasked = {name: [v for v in values if len(v) >= 7 and v not in probed] for name, values in found.items()}
    return {name: {v.encode() for v in values[:200]} for name, values in unasked.items()}


def _column(path: Path, sql: str) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as silo:
        return [str(row[0]) for row in silo.execute(sql)]


def outside(city: City, department: str) -> Iterator[Path]:
    """Every file of the city that is neither this department's, nor a server's log, nor the silos themselves."""
    roots = [city.folder / "gateway", city.folder.parent / "gateway", city.folder / "idp"]
    roots += [city.folder / "departments" / other for other in city.state["departments"] if other != department]
    for root in roots:
        yield from (path for path in root.rglob("*") if path.is_file())


def test_no_row_of_a_department_lies_outside_its_own_folder(city: City) -> None:
    city.answered(1)
    hunted = identifiers(city)
    assert all(len(values) > 20 for values in hunted.values()), {n: len(v) for n, v in hunted.items()}
    for department, values in hunted.items():
        for path in outside(city, department):
            content = path.read_bytes()
            assert not [v for v in values if v in content], f"{path} holds rows of {department}"


def test_a_cleaned_copy_exists_only_where_its_agent_keeps_it(city: City) -> None:
    """Parquet and Arrow files, DuckDB's own format too; the agents' private folders are closed to everybody else."""
    copies = {path for path in city.folder.parent.rglob("*") if path.is_file() and is_copy(path)}
    silos, key = city.folder / "silos", city.key
    kept = {path for path in copies if not path.is_relative_to(silos) and not path.is_relative_to(key)}
    homes = {city.folder / "departments" / name / "state" for name in city.state["departments"]}
    owners = {home.parent.name for path in kept for home in homes if path.is_relative_to(home)}
    assert all(any(path.is_relative_to(home) for home in homes) for path in kept), kept
    assert owners == {"chemicals", "environment"}  # the silos that an agent must copy to read: a service, old files
    for home in homes:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700, home


def is_copy(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(16)
    return head[:4] == b"PAR1" or head[:6] == b"ARROW1" or head[8:12] == b"DUCK"


def gateways(city: City) -> list[int]:
    """Process ids of both gateways of the city: the demo's own, which is forked, and the one that tests ask."""
    found = {city.pid("gateway")}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (process / "cmdline").exists():
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"gateway.server.serve" in command and any(str(city.folder.parent).encode() in p for p in command):
                found.add(int(process.name))
    return sorted(found)


def open_files(pid: int) -> set[Path]:
    """Files that a process holds open; pipes and sockets are none. A deleted file ends in ` (deleted)`."""
    links = (os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir() if descriptor.is_symlink())
    return {Path(link) for link in links if link.startswith("/") and not link.startswith("/dev/")}


def test_gateways_hold_no_file_open_but_their_own(city: City) -> None:
    pids = gateways(city)
    assert city.pid("gateway") in pids
    assert len(pids) == 2
    own = [city.folder / "gateway", city.folder.parent / "gateway", city.folder / "logs"]
    asking = threading.Thread(target=city.ask, args=(city.question(1), "lin", "mass-balance"))
    asking.start()
    seen: set[Path] = set()
    while asking.is_alive():
        seen |= {path for pid in pids for path in open_files(pid)}
        asking.join(0.1)
    assert seen
    assert all(any(path.is_relative_to(folder) for folder in own) for path in seen), seen


def test_agents_hold_files_of_their_own_department_alone(city: City) -> None:
    for department in city.state["departments"]:
        found = open_files(city.pid(department))
        assert any(path.is_relative_to(city.folder / "departments" / department) for path in found)
        for path in found:
            for other in set(city.state["departments"]) - {department}:
                assert not path.is_relative_to(city.folder / "departments" / other), path
                assert not path.is_relative_to(city.folder / "silos" / other), path
