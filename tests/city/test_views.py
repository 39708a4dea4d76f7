"""Owner views on small data sets whose answers were worked out by hand, through the real connectors.

Water and market stand twice, in SQLite and in their own server's dialect: every case runs in both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atoll.city import market, water
from atoll.city.base import Table
from atoll.city.write import load_mariadb, load_postgres, write_sqlite
from tests.city.silos import Pool, Silo, serving_register
from tests.servers import MariaDBServer, PostgresServer

D = Decimal
Rows = list[tuple[Any, ...]]
Tables = dict[str, Rows]


def day(text: str) -> date:
    return date.fromisoformat(text)


def rows(silo: Silo, relation: str) -> Rows:
    """All rows of a relation, sorted."""
    found = silo.relation(relation)
    return sorted(zip(*(column.to_pylist() for column in found.columns), strict=True), key=repr)


def raw_tables(schemas: dict[str, Any], given: Tables) -> list[Table]:
    """Raw tables of a department: the given rows, dates as text; tables that are not given are empty."""
    tables = []
    for name, schema in schemas.items():
        columns: list[list[Any]] = [list(c) for c in zip(*given.get(name, []), strict=True)] or [[] for _ in schema]
        for n, field in enumerate(schema):
            if str(field.type) == "date32[day]":
                columns[n] = [v and day(v) for v in columns[n]]
            if str(field.type).startswith("decimal"):
                columns[n] = [None if v is None else D(v) for v in columns[n]]
        tables.append(Table.of(name, schema, columns))
    return tables


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.servers)])
def silo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, Tables], Silo]]:
    """Make a department of raw rows, as a SQLite file or in the server that it has in earnest."""
    opened: list[Silo] = []

    def make(name: str, given: Tables) -> Silo:
        maker = {"water": water, "market": market}[name]
        file = write_sqlite(tmp_path / f"{name}.db", raw_tables(maker.SCHEMAS, given))
        source: dict[str, Any] = {"kind": "sqlite", "path": str(file)}
        if request.param == "server" and name == "water":
            server: PostgresServer = request.getfixturevalue("postgres")
            database = request.getfixturevalue("postgres_database")
            load_postgres(file, water.SHAPES, server.dsn(database))
            source = {"kind": "postgres", "port": server.port, "database": database, "user": server.user}
        if request.param == "server" and name == "market":
            base: MariaDBServer = request.getfixturevalue("mariadb")
            database = request.getfixturevalue("mariadb_database")
            load_mariadb(file, market.SHAPES, {**base.settings(), "database": database})
            source = {"kind": "mysql", "port": base.port, "database": database, "user": base.user}
        opened.append(Silo(name, tmp_path / "agent", source, [2014]))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


# --- water --------------------------------------------------------------------------------------------

ACCOUNTS: Rows = [
    ("C1", "C", "works", None, " 44９90112345678x", None, "449901", "2015-12-22", None),
    ("H1", "H", "somebody", "449901197001010013", None, "139", "449902", "2015-12-01", None),
]
METERS: Rows = [
    ("M1", "C1", "P1", 3, "2015-12-22", "2016-05-16"),
    ("M2", "C1", "P1", 4, "2016-05-16", None),
    ("M3", "H1", "P2", 5, "2015-12-01", None),
]


def reading(n: int, meter: str, on: str, value: str, unit: str = "t", **more: Any) -> tuple[Any, ...]:
    return (n, meter, on, value, unit, more.get("estimated", False), more.get("corrects"), on)


READINGS: Rows = [
    reading(1, "M1", "2016-01-01", "990"),
    reading(2, "M1", "2016-02-01", "20"),  # the counter turned over at 1000: 30
    reading(3, "M1", "2016-02-20", "55", estimated=True),
    reading(4, "M1", "2016-03-02", "60"),  # 40 over 30 days, 29 of them in February
    reading(5, "M1", "2016-04-01", "90"),
    reading(6, "M1", "2016-04-01", "70", corrects=5),
    reading(7, "M1", "2016-05-01", "100"),
    reading(8, "M1", "2016-05-16", "115"),  # exchanged; the new meter starts at 0 unread
    reading(9, "M2", "2016-06-01", "8"),
    reading(10, "M2", "2016-07-01", "18"),
    reading(11, "M2", "2016-07-01", "18000", "L", corrects=10),  # another unit: it corrects nothing
    reading(12, "M2", "2016-08-01", "25000", "L"),
    reading(13, "M3", "2016-01-01", "0.310"),
    reading(14, "M3", "2016-03-01", "6.310"),
]


def test_water_of_a_month_follows_the_readings(silo: Callable[[str, Tables], Silo]) -> None:
    made = silo("water", {"account": ACCOUNTS, "meter": METERS, "reading": READINGS})
    who = ("44990112345678X", "449901")
    assert rows(made, "company_month") == [
        (*who, day("2015-12-01"), "t", D("990.000"), "apportioned"),
        (*who, day("2016-01-01"), "t", D("30.000"), "measured"),
        (*who, day("2016-02-01"), "t", D("38.666"), "apportioned"),
        (*who, day("2016-03-01"), "t", D("11.334"), "apportioned"),  # 1.334 of the last step and 10
        (*who, day("2016-04-01"), "t", D("30.000"), "measured"),
        (*who, day("2016-05-01"), "t", D("23.000"), "apportioned"),  # 15 of the old meter, 8 of the new
        (*who, day("2016-06-01"), "t", D("10.000"), "measured"),
        (*who, day("2016-07-01"), "L", D("7000.000"), "measured"),
    ]


def test_households_are_counted_apart_and_a_step_over_two_months_is_apportioned(
    silo: Callable[[str, Tables], Silo],
) -> None:
    made = silo("water", {"account": ACCOUNTS, "meter": METERS, "reading": READINGS})
    assert rows(made, "household_month") == [
        ("H1", "449902", day("2015-12-01"), "t", D("0.310"), "measured"),
        ("H1", "449902", day("2016-01-01"), "t", D("3.100"), "apportioned"),  # 6 over 60 days, 31 of them
        ("H1", "449902", day("2016-02-01"), "t", D("2.900"), "apportioned"),
    ]


def test_two_readings_of_one_day_lose_no_water(silo: Callable[[str, Tables], Silo]) -> None:
    twice = [reading(1, "M3", "2016-01-01", "3"), reading(2, "M3", "2016-01-01", "5")]
    made = silo("water", {"account": ACCOUNTS[1:], "meter": METERS[2:], "reading": twice})
    found = {row[2]: row[4] for row in rows(made, "household_month")}
    assert found == {day("2015-12-01"): D("3.000"), day("2016-01-01"): D("2.000")}


def test_a_meter_of_the_new_unit_starts_in_it(silo: Callable[[str, Tables], Silo]) -> None:
    meter = [("M9", "C1", "P1", 4, "2016-07-01", None)]
    made = silo(
        "water",
        {
            "account": [("C1", "C", "works", None, "9", None, "449901", "2016-07-01", None)],
            "meter": meter,
            "reading": [reading(1, "M9", "2016-08-01", "1234", "L")],
        },
    )
    assert rows(made, "company_month") == [("9", "449901", day("2016-07-01"), "L", D("1234.000"), "measured")]


# --- market -------------------------------------------------------------------------------------------

OLD1, OLD2 = "449901000000017", "449902000000025"
USCC1A, USCC1B, USCC2 = "9144990100000001XA", "9144990100000001XB", "9144990200000002YC"
IDENTITIES: Rows = [
    (OLD1, "", USCC1A, "2015-10-01", "2016-12-31", "reform"),
    (OLD1.translate(str.maketrans("0123456789", "０１２３４５６７８９")), "", USCC1B, "2017-01-01", None, "reissue"),
    (OLD2, "", USCC2.lower(), "2015-10-01", "2015-12-31", "reform"),
    (f" {OLD2}\u3000", "", USCC1B, "2016-01-01", None, "merger"),
]


def test_every_code_leads_to_the_newest_code_of_the_survivor(silo: Callable[[str, Tables], Silo]) -> None:
    made = silo("market", {"identity_map": IDENTITIES})
    first, last, open_ = day("1900-01-01"), day("2017-12-31"), day("9999-12-31")
    assert rows(made, "company_code") == sorted(
        [
            (OLD1, USCC1B, first, last),
            (OLD2, USCC1B, first, last),
            (USCC1A, USCC1B, day("2015-10-01"), day("2016-12-31")),
            (USCC1B, USCC1B, day("2017-01-01"), open_),
            (USCC2, USCC1B, day("2015-10-01"), day("2015-12-31")),
        ],
        key=repr,
    )


INVOICES: Rows = [
    ("F1", USCC1A, USCC2, "P1101", "10", "kg", "100", "2016-12-30", None),
    ("F2", USCC1A, USCC2, "P1101", "-4.125", "kg", "-41", "2017-01-20", "F1"),
    ("F3", f" {USCC1A[:6]} {USCC1A[6:]}", USCC2.lower(), "p1101", "1.5", "kg", "15", "2016-02-01", None),
    ("F4", USCC1A, "９１４４９９0200000002ＹＣ", "P1101", "2", "t", "20000", "2016-03-01", None),
    ("F5", USCC1A, USCC2, "P1101", "-0.001", "kg", "0", "2018-03-01", "F9"),  # voids what nobody has
]


def test_red_letters_count_in_the_year_of_what_they_void(silo: Callable[[str, Tables], Silo]) -> None:
    made = silo("market", {"sales_invoice": INVOICES})
    assert rows(made, "partner_sales") == sorted(
        [
            (USCC1A, USCC2, "P1101", 2016, "kg", D("7.375")),
            (USCC1A, USCC2, "P1101", 2016, "t", D("2.000")),
            (USCC1A, USCC2, "P1101", 2018, "kg", D("-0.001")),
        ],
        key=repr,
    )
    years = {row[0]: (row[1], row[4]) for row in rows(made, "sales_invoice")}
    assert years == {f"F{n}": (USCC1A, year) for n, year in enumerate([2016, 2016, 2016, 2016, 2018], 1)}


def test_only_the_last_declaration_of_a_month_counts(silo: Callable[[str, Tables], Silo]) -> None:
    made = silo(
        "market",
        {
            "output_declaration": [
                (USCC1A, "201601", "P1101", "100", "kg", "0", 1),
                (USCC1A.lower(), "201601", "P1101", "80", "kg", "0", 2),
                (USCC1A, "201602", "P1101", "20.5", "kg", "0", 1),
                (USCC1A, "201602", "P1108", "1", "pc", "0", 1),
            ]
        },
    )
    assert rows(made, "output") == [
        (USCC1A, "P1101", 2016, "kg", D("100.500")),
        (USCC1A, "P1108", 2016, "pc", D("1.000")),
    ]


# --- health -------------------------------------------------------------------------------------------


def citizen(body: str) -> str:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(w * int(c) for w, c in zip(weights, body, strict=True)) % 11]


BODY = "44990119700101001"
ID18, ID15 = citizen(BODY), "449901700101001"


def epoch(text: str) -> str:
    """Epoch seconds of a local (UTC+08:00) time, as text."""
    return str(int((datetime.fromisoformat(text) - datetime(1970, 1, 1)).total_seconds()) - 8 * 3600)


@pytest.fixture
def health(tmp_path: Path) -> Iterator[Silo]:
    base = sqlite3.connect(tmp_path / "health.db")
    base.executescript(
        "CREATE TABLE district_alias (alias TEXT, district_code TEXT);"
        "CREATE TABLE heat_calendar (district_code TEXT, day DATE, exposed BOOLEAN);"
        "CREATE TABLE admission (adm_id INTEGER, hospital_code TEXT, person_id TEXT, sex TEXT, birth_year INTEGER,"
        " home_district TEXT, icd10 TEXT, admitted_at TEXT, discharged_at TEXT, ward TEXT);"
    )
    base.executemany(
        "INSERT INTO district_alias VALUES (?, ?)",
        [("Harbour", "449901"), ("Old Port", "449901"), ("North", "449902")],
    )
    base.executemany(
        "INSERT INTO heat_calendar VALUES (?, ?, ?)",
        [("449901", "2015-07-01", 1), ("449902", "2015-07-01", 0), ("449901", "2016-07-01", 0)],
    )
    base.executemany(
        "INSERT INTO admission VALUES (?, 'H01', ?, 'F', 1970, ?, ?, ?, ?, 'W01')",
        [
            # in local time on 1 July 2015 and in UTC on 30 June; moved after 23 hours under the other id
            (1, ID18, "Old Port", "T670", epoch("2015-07-01 03:00"), epoch("2015-07-03 10:00")),
            (2, ID15, "Harbour", "J18.9", epoch("2015-07-04 09:00"), epoch("2015-07-06 10:00")),
            # 24 hours after that: a stay of its own
            (3, ID18, "Harbour", "I10.0", epoch("2015-07-07 10:00"), epoch("2015-07-09 10:00")),
            (4, citizen("44990119800101002"), "North", "J99.8", "2016-07-01T00:30:00", "2016-07-02T00:30:00"),
            (5, citizen("44990119800101002"), "North", "K35.8", "2016-12-31T23:30:00", "2017-01-02T00:30:00"),
        ],
    )
    base.commit()
    base.close()
    silo = Silo("health", tmp_path / "agent", {"kind": "sqlite", "path": str(tmp_path / "health.db")}, [2015])
    yield silo
    silo.close()


def test_a_transfer_is_one_stay_and_its_first_admission_names_it(health: Silo) -> None:
    other = citizen("44990119800101002")
    assert rows(health, "stay") == [
        (1, ID18, "449901", 2015, "T67", True),
        (3, ID18, "449901", 2015, "CR", False),
        (4, other, "449902", 2016, "CR", False),
        (5, other, "449902", 2016, "other", False),
    ]


def test_admissions_speak_one_language(health: Silo) -> None:
    assert [row[1:] for row in rows(health, "admission")] == [
        ("449901", 2015, "W01", "I100", 45),
        ("449901", 2015, "W01", "J189", 45),
        ("449901", 2015, "W01", "T670", 45),
        ("449902", 2016, "W01", "J998", 46),
        ("449902", 2016, "W01", "K358", 46),
    ]
    assert {row[0] for row in rows(health, "admission")} == {ID18, citizen("44990119800101002")}


# --- chemicals ----------------------------------------------------------------------------------------


def line(qty: str, unit: str = "kg", purity: str = "1", density: int | None = None) -> dict[str, Any]:
    substance = {"code": "71-43-2", "scheme": "cas"}
    return {"substance": substance, "qty": qty, "unit": unit, "purity": purity, "density": density}


def purchase(number: str, version: int, lines: list[dict[str, Any]], supersedes: str | None = None) -> dict[str, Any]:
    return {
        "docNo": number,
        "version": version,
        "supersedes": supersedes,
        "date": "2016-12-31",
        "received": "2017-02-01",
        "buyer": {"orgNo": "9a", "name": "A"},
        "seller": {"orgNo": "9B", "name": "B"},
        "lines": lines,
    }


def stock(number: str, version: int, qty: str) -> dict[str, Any]:
    substance = {"code": "71-43-2", "scheme": "cas"}
    filing = {"filingNo": number, "version": version, "orgNo": "9A", "date": "2016-12-31"}
    return {**filing, "substance": substance, "qty": qty, "unit": "kg"}


@pytest.fixture
def chemicals(tmp_path: Path) -> Iterator[Callable[[dict[str, list[Any]]], Silo]]:
    opened: list[Any] = []

    def make(documents: dict[str, list[Any]]) -> Silo:
        store = tmp_path / "silos" / "chemicals" / "register.db"
        store.parent.mkdir(parents=True)
        base = sqlite3.connect(store)
        for collection in ("substances", "stock", "purchases", "imports"):
            base.execute(f"CREATE TABLE {collection} (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")
            bodies = [(orjson.dumps(body).decode(),) for body in documents.get(collection, [])]
            base.executemany(f"INSERT INTO {collection} (body) VALUES (?)", bodies)
        base.commit()
        base.close()
        register = serving_register(tmp_path)
        opened.append(register)
        silo = Silo("chemicals", tmp_path / "agent", {"url": register.__enter__(), "rate": 1000}, [2016])
        opened.append(silo)
        return silo

    yield make
    for one in reversed(opened):
        one.close() if isinstance(one, Silo) else one.__exit__(None, None, None)


def test_of_purchase_documents_the_one_that_holds_counts_once(
    chemicals: Callable[[dict[str, list[Any]]], Silo],
) -> None:
    twice = purchase("P1", 2, [line("12.5"), line("3", "drum", "0.5", 876)])
    made = chemicals(
        {
            "purchases": [
                purchase("P1", 1, [line("25")]),
                twice,
                twice,  # delivered again
                purchase("P2", 1, [line("7")]),  # void: P3 supersedes it
                purchase("P3", 1, [line("8", "jin")], supersedes="P2"),
            ],
            "stock": [stock("S1", 1, "4"), stock("S1", 2, "5.125"), stock("S1", 2, "5.125"), stock("S2", 1, "1")],
        }
    )
    found = [(r[0], r[1], r[2], r[3], r[4], r[5], *r[9:]) for r in rows(made, "purchase_line")]
    date_ = day("2016-12-31")
    assert found == [
        ("P1", 1, date_, 2016, "9A", "9B", D("12.500"), "kg", D("1.000"), None),
        ("P1", 2, date_, 2016, "9A", "9B", D("3.000"), "drum", D("0.500"), D("876.000")),
        ("P3", 1, date_, 2016, "9A", "9B", D("8.000"), "jin", D("1.000"), None),
    ]
    assert [row[4] for row in rows(made, "stock_filing")] == [D("1.000"), D("5.125")]


# --- environment --------------------------------------------------------------------------------------


def write(folder: Path, name: str, text: str, encoding: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Silo]:
    folder = tmp_path / "files"
    write(
        folder,
        "station.csv",
        "station_code,district_code,valid_from,valid_to\n"
        "ST1,449901,2010-01-01,9999-12-31\n"
        "ST4,449904,2010-01-01,9999-12-31\n"
        "ST6,449902,2010-01-01,2014-12-31\n"
        "ST6,449906,2015-01-01,9999-12-31\n",
        "utf-8",
    )
    head = "station_code,time,pollutant,value,unit"
    write(
        folder,
        "air/2014/449901_201412_1.csv",
        f"港口区 2014\n{head},flag,instrument\n"
        "ST1,2014/12/31 0:00,SO₂,10.000,ppb,N,UV\n"
        "ST1,2014/12/31 0:00,PM10,-99,ug/m3,M,XR\n"
        "ST1,2014/12/31 0:00,O3,—,ug/m3,M,UV\n"
        "ST1,2014/12/31 0:00,CO,9999,mg/m3,M,IR\n",
        "gb18030",
    )
    # the New District's station in North's file: once before the split, once after it
    north = f"北区 2014\n{head}\nST6,2014/12/31 23:00,PM10,1.500,ug/m3\nST6,2015/1/1 0:00,PM10,2.500,ug/m3\n"
    write(folder, "air/2014/449902_201412_1.csv", north, "gb18030")
    write(folder, "air/2015/449902_201501_2.csv", f"北区\n{head}\nST6,2015/1/1 0:00,PM10,/,ug/m3\n", "gb18030")
    wide = "站点,时间,PM2.5,PM10,SO2,NO2,O3,CO\n"
    write(folder, "air/2018/449904_201808_1.csv", f"{wide}ST4,2018-08-31T23:00:00,,1,2,3,4,0.50000\n", "utf-8-sig")
    write(folder, "air/2018/449904_201809_1.csv", f"{wide}ST4,2018-09-01T00:00:00,,1,2,3,4,0.50000\n", "utf-8-sig")
    # tenths through 2015: 35.0 on 30 December, a hair less on the others
    tenths = "".join(f"ST1,2015-12-{d}T12:00:00,{350 if d == 30 else 349},50,1.0\n" for d in range(27, 32))
    degrees = "".join(f"ST1,2016-01-0{d}T12:00:00,34.9,50,1.0\n" for d in range(1, 4))
    write(folder, "met/met_2015.csv", f"station,time,temp,rh,wind\n{tenths}", "utf-8")
    write(folder, "met/met_2016.csv", f"station,time,temp,rh,wind\n{degrees}", "utf-8")
    waste = (
        "manifest_no,sender_org,receiver_org,waste_code,qty_kg,substance_code,scheme,declared_mg_per_kg,"
        "receiver_mg_per_kg,shipped_on,version,district_code\n"
    )
    manifest = "W1,9a,9B,HW21,{},71-43-2,cas,50000,50000,{},{},449901\n"
    write(
        folder,
        "waste/2017.csv",
        waste + manifest.format("3.000", "2017-01-02", 1) + manifest.format("2.000", "2017-01-02", 2),
        "utf-8-sig",
    )
    discharge = "org_no,outlet,period,substance_code,scheme,qty,unit,medium,district_code\n"
    write(folder, "discharge/2017.csv", f"{discharge}9a,DA1,201703,71-43-2,cas,1.25,kg,air,449901\n", "utf-8-sig")
    silo = Silo("environment", tmp_path / "agent", {"path": str(folder)}, [2014])
    yield silo
    silo.close()


def test_air_is_unpivoted_missing_is_null_the_later_upload_wins_and_the_station_tells_the_district(
    environment: Silo,
) -> None:
    delivered = rows(environment, "air")
    found = {(r[0], r[1], r[2].isoformat(), r[3]): (r[4], r[5]) for r in delivered}
    new_year_eve, new_year = "2014-12-31T23:00:00", "2015-01-01T00:00:00"
    assert {k: v for k, v in found.items() if k[0] == "ST6"} == {
        ("ST6", "449902", new_year_eve, "PM10"): (D("1.50000"), "ug/m3"),
        ("ST6", "449906", new_year, "PM10"): (None, "ug/m3"),  # the later file says it was not measured
    }
    harbour = {k[3]: v for k, v in found.items() if k[0] == "ST1"}
    assert harbour == {
        "SO₂": (D("10.00000"), "ppb"),
        "PM10": (None, "ug/m3"),
        "O3": (None, "ug/m3"),
        "CO": (None, "mg/m3"),
    }
    hills = {k[3]: v for k, v in found.items() if k[2] == "2018-08-31T23:00:00"}
    assert hills["PM2.5"] == (None, "ug/m3")
    assert hills["CO"] == (D("0.50000"), "mg/m3")
    assert len(delivered) == len(found) == 2 + 4 + 12


def test_heat_is_35_degrees_and_lasts_three_days_more(environment: Silo) -> None:
    assert [(r[1].isoformat(), r[2], r[3]) for r in rows(environment, "heat_day")] == [
        ("2015-12-27", False, False),
        ("2015-12-28", False, False),
        ("2015-12-29", False, False),
        ("2015-12-30", True, True),
        ("2015-12-31", False, True),
        ("2016-01-01", False, True),
        ("2016-01-02", False, True),
        ("2016-01-03", False, False),
    ]
    assert {r[3] for r in rows(environment, "met")} == {D("34.9"), D("35.0")}


def test_manifests_count_in_their_last_version_and_declarations_gain_their_year(environment: Silo) -> None:
    assert [(r[1], r[4], r[10], r[11]) for r in rows(environment, "waste")] == [("9A", D("2.000"), 2017, 2)]
    assert [(r[0], r[3], r[6]) for r in rows(environment, "discharge")] == [("9A", 2017, D("1.250"))]


def test_city_air_is_in_one_unit_on_one_basis(environment: Silo) -> None:
    pool = Pool()
    pool.add(environment)
    found = pool.ask("SELECT station_code, pollutant, at, ug_m3, valid, basis FROM city.air.hourly")
    values = {(r[0], r[1], r[2][:10]): (r[3], r[4], r[5]) for r in found}
    pool.close()
    assert values["ST1", "SO2", "2014-12-31"] == ("26.186798", True, "k298")  # 10 ppb x 2.61867975
    assert values["ST1", "PM10", "2014-12-31"] == (None, False, "stp273")
    assert values["ST4", "SO2", "2018-08-31"] == ("1.832299", True, "k298")  # 2 x 273.15 / 298.15
    assert values["ST4", "SO2", "2018-09-01"] == ("2.000000", True, "k298")
    assert values["ST4", "CO", "2018-08-31"] == ("458.074795", True, "k298")  # mg, then the reference
    assert values["ST4", "PM10", "2018-08-31"] == ("1.000000", True, "stp273")
    assert values["ST4", "PM10", "2018-09-01"] == ("1.000000", True, "actual")


# --- housing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late_columns", [True, False])
def test_owners_hold_a_share_today_under_their_long_id(tmp_path: Path, late_columns: bool) -> None:
    """Both generations of files, or the older alone: its `owner_id` became `owner_id_no`."""

    def file(name: str, owner: str, area: pa.Array, entries: Rows) -> None:
        path = tmp_path / "files" / "property" / "district=449901" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = [list(c) for c in zip(*entries, strict=True)]
        pq.write_table(
            pa.table({owner: columns[0], "share_bp": columns[1], "area_m2": area, "bought_on": columns[2],
                      "sold_on": pa.array(columns[3], pa.date32())}),
            path,
        )  # fmt: skip

    old = day("2014-05-01")
    file(
        "2014",
        "owner_id",
        pa.array([81.23, 55.5, 70.0]),
        [
            (ID15, 10_000, old, None),
            (citizen("44990119800101002"), 10_000, old, day("2015-01-01")),
            (citizen("44990119810101002"), 0, old, None),
        ],
    )
    late = citizen("44990119900101002")
    if late_columns:
        area = pa.array([D("60.10")], pa.decimal128(10, 2))
        file("2018", "owner_id_no", area, [(late, 4_000, day("2018-02-03"), None)])
    pq.write_table(pa.table({"card": ["C1"]}), _trip_path(tmp_path))
    silo = Silo("housing", tmp_path / "agent", {"path": str(tmp_path / "files")}, [2014])
    assert [r[0] for r in rows(silo, "owner")] == sorted([ID18, *([late] if late_columns else [])])
    areas = {(r[1], r[2]): r[3] for r in rows(silo, "property")}
    assert areas[2014, ID18] == D("81.23")
    assert areas.get((2018, late)) == (D("60.10") if late_columns else None)
    silo.close()


def _trip_path(tmp_path: Path) -> Path:
    path = tmp_path / "files" / "trip" / "year=2014" / "month=1" / "trip.parquet"
    path.parent.mkdir(parents=True)
    return path
