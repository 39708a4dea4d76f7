"""The city's environment (air), health and housing: the keys of Q3, Q4 and Q5 against the raw files alone.

The reference below knows the files' layouts, the owners' views and the questions, and nothing of the
generator: what it finds in the silos must be, row for row, what the key said before they were written.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from python_calamine import CalamineWorkbook

from atoll.city import air, environment, health, housing, market, met, verdicts
from atoll.city.air_truth import air_year, targets
from atoll.city.base import Answers, Config, rows_sha256
from atoll.city.signing import check_heat_calendar

SEEDS = (4499, 1, 7, 12345)


# --- a reference that reads files ----------------------------------------------------------------------


def air_lines(folder: Path, *, wide: bool) -> str:
    """All air files of one shape as one CSV, led by file_district and file_seq."""
    lines: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        district, _, seq = path.stem.split("_")
        if (district == "449904") != wide:
            continue
        for cells in workbook_rows(path) if path.suffix == ".xlsx" else csv_rows(path):
            lines.append(",".join([district, seq, *cells[: 8 if wide else 5]]))
    return "\n".join(lines) + "\n"


def csv_rows(path: Path) -> Iterator[list[str]]:
    raw = path.read_bytes()
    text = raw.decode("utf-8-sig") if raw.startswith(b"\xef\xbb\xbf") else raw.decode("gb18030")
    rows = text.splitlines()
    skipped = 1 if raw.startswith(b"\xef\xbb\xbf") else 2
    for row in rows[skipped:]:
        yield row.split(",")


def workbook_rows(path: Path) -> Iterator[list[str]]:
    book = CalamineWorkbook.from_path(path)
    for sheet in book.sheet_names:
        for row in book.get_sheet_by_name(sheet).to_python()[2:-1]:
            yield [cell_text(cell) for cell in row]


def cell_text(cell: Any) -> str:
    if isinstance(cell, datetime):
        return cell.isoformat()
    if isinstance(cell, date):
        return f"{cell.isoformat()}T00:00:00"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell)


AIR_VIEW = """
CREATE TABLE hourly AS
WITH filed AS (
  SELECT file_district, file_seq, station_code, time, pollutant, value,
         CASE pollutant WHEN 'CO' THEN 'mg/m3' ELSE 'ug/m3' END AS unit
  FROM wide UNPIVOT (value FOR pollutant IN ("PM2.5", "PM10", "SO2", "NO2", "O3", "CO"))
  UNION ALL BY NAME
  SELECT * REPLACE (replace(pollutant, '₂', '2') AS pollutant) FROM long
), read AS (
  SELECT *, coalesce(try_strptime(time, '%Y/%-m/%-d %-H:%M'), try_cast(time AS timestamp)) AS hour FROM filed
), latest AS (
  SELECT * FROM read
  QUALIFY row_number() OVER (PARTITION BY station_code, hour, pollutant ORDER BY file_seq DESC) = 1
), air AS (
  SELECT latest.station_code, s.district_code, hour, pollutant, unit,
         CASE WHEN value IN ('', '-99', '9999', '—', '/') THEN NULL ELSE value::decimal(12,5) END AS value
  FROM latest JOIN station s
    ON latest.station_code = s.station_code AND hour::date BETWEEN s.valid_from AND s.valid_to
)
SELECT district_code, date_trunc('month', hour)::date AS month, pollutant,
  (CASE WHEN unit = 'mg/m3' AND hour < '2018-09-01' THEN value * 1000 * 0.91614959
        WHEN unit = 'mg/m3' THEN value * 1000
        WHEN unit = 'ppb' AND pollutant = 'SO2' THEN value * 2.61867975
        WHEN unit = 'ppb' AND pollutant = 'NO2' THEN value * 1.88046188
        WHEN pollutant NOT LIKE 'PM%' AND hour < '2018-09-01' THEN value * 0.91614959
        ELSE value END)::decimal(14,6) AS ug_m3,
  CASE WHEN pollutant NOT LIKE 'PM%' THEN 'k298' WHEN hour < '2018-09-01' THEN 'stp273'
       ELSE 'actual' END AS basis
FROM air
"""

# a mean in exact integers: tenths, half away from zero (no value here is negative)
Q3 = """
WITH cell AS (
  SELECT district_code, month, pollutant, basis, count(ug_m3) AS n_valid, count(*) AS n_total,
         (sum(ug_m3) * 1000000)::hugeint AS micro
  FROM hourly GROUP BY ALL
)
SELECT district_code, month::varchar, pollutant,
  CASE WHEN n_valid * 100 >= 75 * n_total
       THEN (((2 * micro + 100000 * n_valid) // (200000 * n_valid))::decimal(8,0) * 0.1)::varchar
  END, n_valid, n_total, basis, CASE WHEN n_valid * 100 >= 75 * n_total THEN 'ok' ELSE 'insufficient' END
FROM cell ORDER BY ALL
"""


def found_q3(silos: Path) -> list[list[Any]]:
    base = station_base(silos)
    for name, header in (
        ("wide", '"PM2.5", "PM10", "SO2", "NO2", "O3", "CO"'),
        ("long", "pollutant, value, unit"),
    ):
        path = silos / f"{name}.txt"
        path.write_text(air_lines(silos / "environment" / "air", wide=name == "wide"), encoding="utf-8")
        columns = ["file_district", "file_seq", "station_code", "time", *header.replace('"', "").split(", ")]
        kinds = {column: "BIGINT" if column == "file_seq" else "VARCHAR" for column in columns}
        base.execute(
            f"CREATE TABLE {name} AS SELECT * REPLACE ({', '.join(_blank(c) for c in columns[4:])})"
            f" FROM read_csv('{path}', header=false, columns={kinds})"
        )
    base.execute(AIR_VIEW)
    return rows_of(base.execute(Q3))


def _blank(column: str) -> str:
    return f'coalesce("{column}", \'\') AS "{column}"'


def station_base(silos: Path) -> duckdb.DuckDBPyConnection:
    base = duckdb.connect(config={"threads": 2})
    base.execute(
        f"CREATE TABLE station AS SELECT * REPLACE (district_code::varchar AS district_code)"
        f" FROM read_csv('{silos}/environment/station.csv')"
    )
    return base


def rows_of(result: Any) -> list[list[Any]]:
    return [list(row) for row in result.fetchall()]


HEAT = """
CREATE TABLE heat_day AS
WITH met AS (
  SELECT s.district_code, m.time::timestamp::date AS day,
         CASE WHEN year(m.time) <= 2015 THEN (temp / 10)::decimal(6,1) ELSE temp::decimal(6,1) END AS temp_c
  FROM read_csv('{met}/*.csv', types={{'time': 'timestamp', 'temp': 'decimal(8,1)'}}) m
  JOIN station s ON m.station = s.station_code AND m.time::date BETWEEN s.valid_from AND s.valid_to
), daily AS (
  SELECT district_code, day, bool_or(temp_c >= 35.0) AS heat FROM met GROUP BY ALL
)
SELECT *, bool_or(heat) OVER (PARTITION BY district_code ORDER BY day
                              RANGE BETWEEN INTERVAL 3 DAYS PRECEDING AND CURRENT ROW) AS exposed FROM daily
"""

STAY = """
CREATE TABLE stay AS
WITH told AS (
  SELECT person, district_code AS district, replace(icd10, '.', '') AS icd, admitted, discharged
  FROM admission JOIN alias ON alias = home_district
), started AS (
  SELECT *, coalesce(epoch(admitted - lag(discharged) OVER each) >= 86400, true) AS opens
  FROM told WINDOW each AS (PARTITION BY person ORDER BY admitted)
), numbered AS (
  SELECT *, count_if(opens) OVER (PARTITION BY person ORDER BY admitted) AS n FROM started
)
SELECT person, n, min(admitted) AS begun,
       arg_min(district, admitted) AS district, arg_min(icd, admitted) AS icd
FROM numbered GROUP BY person, n
"""

Q5 = """
WITH cells AS (
  SELECT district, year(begun) AS year,
         CASE WHEN icd LIKE 'T67%' THEN 'T67' WHEN left(icd, 1) IN ('I', 'J') THEN 'CR'
              ELSE 'other' END AS cause,
         c.exposed, count(*) AS stays
  FROM stay JOIN calendar c ON c.district_code = district AND c.day = begun::date
  GROUP BY ALL HAVING count(DISTINCT person) >= 10
), scaffold AS (
  SELECT district_code AS district, year(day) AS year, cause, exposed, count(*) AS days
  FROM heat_day, (VALUES ('T67'), ('CR')) kinds(cause) GROUP BY ALL
)
SELECT district, year, cause, exposed, days, stays
FROM scaffold LEFT JOIN cells USING (district, year, cause, exposed) ORDER BY ALL
"""

ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def check_character(digits17: str) -> str:
    return "10X98765432"[sum(int(d) * w for d, w in zip(digits17, ID_WEIGHTS, strict=True)) % 11]


def person18(number: str) -> str:
    if len(number) != 15:
        return number
    longer = number[:6] + "19" + number[6:]
    return longer + check_character(longer)


def local_time(text: str) -> datetime:
    if text.isdigit():
        return datetime(1970, 1, 1) + timedelta(seconds=int(text), hours=8)
    return datetime.fromisoformat(text)


def health_base(silos: Path) -> duckdb.DuckDBPyConnection:
    base = station_base(silos)
    with closing(sqlite3.connect(silos / "health" / "health.db")) as raw:
        told = raw.execute(
            "SELECT person_id, home_district, icd10, admitted_at, discharged_at FROM admission"
        ).fetchall()
        names = raw.execute("SELECT * FROM district_alias").fetchall()
        days = raw.execute("SELECT district_code, day, exposed FROM heat_calendar").fetchall()
    admission = [(person18(p), d, i, local_time(a), local_time(o)) for p, d, i, a, o in told]
    for name, columns, rows in (
        ("admission", ("person", "home_district", "icd10", "admitted", "discharged"), admission),
        ("alias", ("alias", "district_code"), names),
        (
            "calendar",
            ("district_code", "day", "exposed"),
            [(c, date.fromisoformat(d), bool(e)) for c, d, e in days],
        ),
    ):
        base.register("given", pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))))
        base.execute(f"CREATE TABLE {name} AS FROM given")
        base.unregister("given")
    base.execute(HEAT.format(met=silos / "environment" / "met"))
    base.execute(STAY)
    return base


def found_q5(silos: Path) -> list[list[Any]]:
    base = health_base(silos)
    same = base.execute("SELECT count(*) FROM heat_day JOIN calendar USING (district_code, day, exposed)").fetchone()
    assert same == base.execute("SELECT count(*) FROM calendar").fetchone()
    return rows_of(base.execute(Q5))


def found_q4(silos: Path, asked: list[list[Any]]) -> list[list[Any]]:
    owners = duckdb.sql(
        "SELECT DISTINCT coalesce(owner_id_no, owner_id) FROM read_parquet("
        f"'{silos}/housing/property/*/*.parquet', union_by_name=true) WHERE sold_on IS NULL AND share_bp > 0"
    ).fetchall()
    known = {person18(number) for (number,) in owners}
    found = []
    for n, _, number, _ in asked:
        whole = person18(number)
        valid = whole[-1] == check_character(whole[:17])
        found.append(
            [
                n,
                ("wu", "he", "luo")[n % 3],
                number,
                "invalid" if not valid else "match" if whole in known else "no-match",
            ]
        )
    return found


# --- the keys --------------------------------------------------------------------------------------------


def make(out: Path, writer: Callable[[Config, Path], Answers], **config: Any) -> dict[str, Any]:
    answers = writer(Config(**config), out)
    assert all(path.is_file() for path in answers.files)
    return answers.entries[0]


# one city in full; every seed, clean or dirty, over years in which layouts, units or districts change
AIR_WINDOWS = ((2014, 2015), (2015, 2016), (2016, 2017), (2018, 2019))
AIR_CASES: list[tuple[int, float, tuple[int, int] | None]] = [(4499, 1.0, None), (7, 0.5, (2018, 2018))]
AIR_CASES += [(seed, i % 2, AIR_WINDOWS[i]) for i, seed in enumerate(SEEDS)]
CASES = [*zip(SEEDS, (1.0, 0.0, 1.0, 0.0), strict=True), (4499, 0.0)]
"""What dirt changes and what a seed changes are two things: not every seed is needed with and without."""


@pytest.mark.parametrize(("seed", "dirt", "years"), AIR_CASES)
def test_q3_is_what_the_files_say(tmp_path: Path, seed: int, dirt: float, years: tuple[int, int] | None) -> None:
    key = make(tmp_path, air.write, seed=seed, dirt=dirt, years=years)
    assert found_q3(tmp_path / "silos") == key["rows"]


@pytest.mark.parametrize(("seed", "dirt"), CASES)
def test_q4_is_what_the_register_says(tmp_path: Path, seed: int, dirt: float) -> None:
    key = make(tmp_path, housing.write, seed=seed, dirt=dirt, years=(2015, 2016))
    assert len(key["rows"]) == 400
    assert len({row[2] for row in key["rows"]}) == 400
    assert found_q4(tmp_path / "silos", key["rows"]) == key["rows"]


@pytest.mark.parametrize(("seed", "dirt"), CASES)
def test_q5_is_what_hospitals_and_weather_say(tmp_path: Path, seed: int, dirt: float) -> None:
    config = Config(seed=seed, dirt=dirt)
    key = make(tmp_path, health.write, seed=seed, dirt=dirt)
    met.write_met(config, tmp_path / "silos" / "environment", met.heat(config))
    assert found_q5(tmp_path / "silos") == key["rows"]
    released = [row for row in key["rows"] if row[2] == "T67" and row[5] is not None]
    assert len(released) >= 10
    if seed == 4499 and dirt:
        assert {entry["rule"] for entry in key["naive"]} == set(health.NAIVE_RULES)


def test_every_forgotten_rule_gives_another_answer(tmp_path: Path) -> None:
    key = air.key(Config())
    assert [entry["rule"] for entry in key["naive"]] == list(air.NAIVE_RULES)
    own = rows_sha256(key["rows"])
    for made in (key, make(tmp_path, housing.write, years=(2015, 2015))):
        assert all(e["rows_differing"] > 0 and e["sha256"] != own for e in made["naive"])
    clean = air.key(Config(dirt=0))
    assert clean["rows"] == key["rows"]
    assert [entry["rule"] for entry in clean["naive"]] == ["D07", "D08", "D09"]


def test_dirt_changes_no_answer(tmp_path: Path) -> None:
    for writer in (health.write, housing.write):
        clean, dirty = (make(tmp_path / str(d), writer, dirt=d, years=(2015, 2015)) for d in (0.0, 1.0))
        assert clean["rows"] == dirty["rows"]


# --- what truth promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["small", "medium"])
def test_means_lie_within_a_thousandth_of_their_tenth(scale: str) -> None:
    for year in (2014, 2018):
        made = air_year(Config(scale_name=scale), year)
        micro = made.micrograms(made.raw)
        goal = targets(4499, year)
        for district in np.unique(made.district):
            here = made.district == district
            for month in range(12):
                part = micro[here][:, made.month == month]
                valid = ~made.missing[here][:, made.month == month]
                means = np.where(valid, part, 0).sum(axis=(0, 1)) / valid.sum(axis=(0, 1))
                assert np.abs(means - goal[district, month] * 100_000).max() <= 1_000


def test_a_person_stays_once_in_a_fortnight_and_within_the_year(tmp_path: Path) -> None:
    make(tmp_path, health.write)
    met.write_met(Config(), tmp_path / "silos" / "environment", met.heat(Config()))
    base = health_base(tmp_path / "silos")
    gaps = base.execute(
        "SELECT min(epoch(begun - before)) FROM"
        " (SELECT begun, lag(begun) OVER (PARTITION BY person ORDER BY begun) AS before FROM stay)"
    ).fetchone()
    assert gaps is not None
    assert gaps[0] > 14 * 86_400
    first, last = base.execute("SELECT min(dayofyear(admitted)), max(dayofyear(discharged)) FROM admission").fetchone()
    assert (first, last) >= (10, 0)
    assert last <= 350  # 15 December of a leap year
    traps = base.execute(
        "SELECT count(*), count(DISTINCT person) FROM stay"
        " JOIN calendar c ON c.district_code = district AND day = begun::date"
        " WHERE exposed AND icd LIKE 'T67%' AND (district[6]::int - 1 + year(begun)) % 5 = 0"
        " GROUP BY district, year(begun)"
    ).fetchall()
    assert set(traps) == {(11, 9)}
    with closing(sqlite3.connect(tmp_path / "silos" / "health" / "health.db")) as raw:
        planted = raw.execute("SELECT count(*), count(DISTINCT person_id) FROM admission WHERE ward = 'W09'")
        assert planted.fetchone() == (4, 4)


def test_a_changed_heat_calendar_is_noticed(tmp_path: Path) -> None:
    config = Config(years=(2015, 2015))
    air.write(config, tmp_path)
    health.write(config, tmp_path)
    database = tmp_path / "silos" / "health" / "health.db"
    seal = tmp_path / "silos" / "health" / "heat_calendar.sig"
    public = tmp_path / "silos" / "environment" / "heat_calendar.pub"
    assert check_heat_calendar(database, seal, public) == 6 * 365
    with closing(sqlite3.connect(database)) as raw, raw:
        raw.execute("UPDATE heat_calendar SET exposed = 1 WHERE day = '2015-01-01'")
    with pytest.raises(ValueError, match="not what environment signed"):
        check_heat_calendar(database, seal, public)


def digests(out: Path, answers: Answers) -> dict[str, str]:
    return {str(p.relative_to(out)): sha256(p.read_bytes()).hexdigest() for p in sorted(answers.files)}


def test_the_same_city_twice_has_the_same_bytes(tmp_path: Path) -> None:
    config = Config(seed=7, years=(2019, 2019))
    for writer in (air.write, health.write, housing.write):
        one, two = tmp_path / "one", tmp_path / "two"
        assert digests(one, writer(config, one)) == digests(two, writer(config, two))
    assert verdicts.write(config, tmp_path).entries == verdicts.write(config, tmp_path).entries


def test_a_bigger_city_only_adds() -> None:
    small, medium = (Config(scale_name=name, years=(2015, 2015)) for name in ("small", "medium"))
    few, many = air_year(small, 2015), air_year(medium, 2015)
    same_hours = np.isin(many.seconds, few.seconds)
    for name in ("raw", "missing", "marker", "factor"):
        wanted = getattr(many, name)[: len(few.district)][:, same_hours]
        assert np.array_equal(getattr(few, name), wanted)
    assert np.array_equal(few.twice, many.twice[: len(few.district)][:, same_hours])

    weather = met.heat(small)
    own, theirs = health.stays(small, weather), health.stays(medium, met.heat(medium))
    first = theirs.person < small.scale.persons
    assert np.array_equal(own.key, theirs.key[first])
    assert np.array_equal(own.admitted, theirs.admitted[first])
    assert np.array_equal(own.person, theirs.person[first])

    assert housing.probes(small, housing.residents(small)) == housing.probes(medium, housing.residents(medium))
    trips, more = (next(housing.Trips(c).table(2015, 5).batches()) for c in (small, medium))
    assert trips.equals(more.slice(0, len(trips)))


# --- layouts and verdicts --------------------------------------------------------------------------------


def test_files_have_the_layout_of_their_time(tmp_path: Path) -> None:
    air.write(Config(years=(2016, 2019)), tmp_path)
    folder = tmp_path / "silos" / "environment" / "air"
    old = (folder / "2016" / "449901_201605_1.csv").read_bytes().decode("gb18030").splitlines()
    assert old[1] == "station_code,time,pollutant,value,unit,flag,instrument"
    assert old[2].split(",")[:3] == ["ST001", "2016/5/1 0:00", "PM2.5"]
    assert any(",SO₂," in line for line in old)
    wide = (folder / "2017" / "449904_201705_1.csv").read_bytes()
    assert wide.startswith("\ufeff站点,时间,PM2.5,PM10,SO2,NO2,O3,CO\nST004,2017-05-01T00:00:00,".encode())
    book = CalamineWorkbook.from_path(folder / "2019" / "449903_201906_1.xlsx")
    assert book.sheet_names == ["2019-04", "2019-05", "2019-06"]
    sheet = book.get_sheet_by_name("2019-05")
    assert sheet.merged_cell_ranges == [((0, 0), (0, 1)), ((0, 2), (0, 4))]
    rows = sheet.to_python()
    assert rows[1] == ["station_code", "time", "pollutant", "value", "unit"]
    assert rows[-1][0] == "合计"


def test_the_verdicts_know_the_planted_four_and_the_two_companies(tmp_path: Path) -> None:
    entry = verdicts.write(Config(), tmp_path).entries[0]
    steps = {verdict["id"]: verdict["steps"] for verdict in entry["verdicts"]}
    assert list(steps) == ["V1", "V2", "V3", "V4", "V5", "V6", "V7"]
    health.write(Config(), tmp_path)
    with closing(sqlite3.connect(tmp_path / "silos" / "health" / "health.db")) as raw:
        by_district = raw.execute(
            "SELECT district_code, count(*) FROM admission JOIN district_alias ON alias = home_district"
            " GROUP BY 1 ORDER BY 1"
        ).fetchall()
        hills = raw.execute(
            "SELECT count(*) FROM admission JOIN district_alias ON alias = home_district"
            " WHERE district_code = '449904' AND admitted_at LIKE '2016-%'"
        ).fetchall()
    assert [tuple(row) for row in steps["V1"][1]["expect"]["rows"]] == by_district
    assert [tuple(row) for row in steps["V3"][0]["expect"]["rows"]] == hills
    sums = steps["V4"][2]["expect"]["rows"]
    assert {row[0] for row in sums} == {"449901", "449902", "449903", "449904", "449905"}
    asked = steps["V6"][0]
    assert len(set(asked["subjects"])) == 201
    assert set(asked["expect"]["answers"]) == {"match", "no-match"}
    assert len(asked["expect"]["answers"]) == 200


def test_the_verdicts_on_companies_are_what_the_silos_hold(tmp_path: Path) -> None:
    config = Config()
    entry = verdicts.write(config, tmp_path).entries[0]
    steps = {verdict["id"]: verdict["steps"] for verdict in entry["verdicts"]}
    environment.write(config, tmp_path)
    market.write(config, tmp_path)

    sums: dict[tuple[str, int], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for path in sorted((tmp_path / "silos" / "environment" / "discharge").iterdir()):
        for row in workbook_rows(path) if path.suffix == ".xlsx" else csv_rows(path):
            sums[row[8], int(row[2][:4])][row[0]] += Decimal(row[5])
    large = {cell: by_company for cell, by_company in sums.items() if len(by_company) >= 5}
    assert {cell[0] for cell in sums.keys() - large.keys()} == {"449906"}
    assert all(max(part.values()) <= sum(part.values()) * Decimal("0.8") for part in large.values())
    found = [[*cell, f"{sum(by_company.values()):.3f}"] for cell, by_company in sorted(large.items())]
    assert found == steps["V4"][2]["expect"]["rows"]

    with closing(sqlite3.connect(tmp_path / "silos" / "market" / "market.db")) as raw:
        companies = raw.execute("SELECT legal_person_id, uscc FROM company ORDER BY uscc").fetchall()
    of_person = defaultdict(list)
    for person, uscc in companies:
        of_person[person].append(uscc)
    expected = steps["V2"][0]["expect"]
    assert expected["distinct"] == len(of_person)
    assert expected["equal"] == sorted(codes for codes in of_person.values() if len(codes) > 1)
    assert steps["V7"][1]["expect"]["rows"] == [["market", len(companies)]]
