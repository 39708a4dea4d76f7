"""An independent reading of a generated city: raw files in, answers of Q1 and Q2 out, by DuckDB alone.

It shares no code with the generator: it follows the owner views, city tables and questions of the city's
specification, so that the key and the files can only agree if both are right.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import python_calamine

DISCHARGE = ["org_no", "outlet", "period", "substance_code", "scheme", "qty", "unit", "medium", "district_code"]
LINE = [
    "kind",
    "doc",
    "version",
    "supersedes",
    "day",
    "received",
    "buyer",
    "seller",
    "n",
    "code",
    "scheme",
    "qty",
    "unit",
    "purity",
    "density",
]
WASTE = [
    "manifest_no",
    "sender_org",
    "receiver_org",
    "waste_code",
    "qty_kg",
    "substance_code",
    "scheme",
    "declared_mg_per_kg",
    "receiver_mg_per_kg",
    "shipped_on",
    "version",
    "district_code",
]


def _texts(names: list[str], rows: list[Any]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[] for _ in names]
    return pa.table(
        {
            n: pa.array([None if v is None else str(v) for v in column], pa.string())
            for n, column in zip(names, columns, strict=True)
        }
    )


def _sqlite(path: Path) -> dict[str, pa.Table]:
    base = sqlite3.connect(path)
    try:
        names = [r[0] for r in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {}
        for name in names:
            cursor = base.execute(f"SELECT * FROM {name}")
            found[name] = _texts([d[0] for d in cursor.description], cursor.fetchall())
        return found
    finally:
        base.close()


def _files(folder: Path, header: list[str]) -> pa.Table:
    rows: list[list[str]] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".xlsx":
            book = python_calamine.CalamineWorkbook.from_path(path)
            for sheet in book.sheet_names:
                cells = book.get_sheet_by_name(sheet).to_python()
                assert cells[1] == header
                assert cells[-1][0] == "合计"
                rows += [[str(c) for c in row] for row in cells[2:-1]]
            continue
        old = int(path.stem) <= 2016
        lines = list(csv.reader(io.StringIO(path.read_text("gb18030" if old else "utf-8-sig"))))
        assert lines[int(old)] == header
        rows += lines[1 + int(old) :]
    return _texts(header, rows)


def _register(path: Path) -> dict[str, pa.Table]:
    base = sqlite3.connect(path)
    try:
        documents = {
            name: [json.loads(r[0]) for r in base.execute(f"SELECT body FROM {name}")]
            for name in ("substances", "stock", "purchases", "imports")
        }
    finally:
        base.close()
    lines = [
        [
            *(kind, d["docNo"], d["version"], d["supersedes"], d["date"], d["received"], d[buyer]["orgNo"]),
            *(d.get("seller", {}).get("orgNo"), n, line["substance"]["code"], line["substance"]["scheme"]),
            *(line["qty"], line["unit"], line["purity"], line["density"]),
        ]
        for kind, buyer in (("purchases", "buyer"), ("imports", "importer"))
        for d in documents[kind]
        for n, line in enumerate(d["lines"])
    ]
    stock = [
        [
            *(d["filingNo"], d["version"], d["orgNo"], d["date"]),
            *(d["substance"]["code"], d["substance"]["scheme"], d["qty"], d["unit"]),
        ]
        for d in documents["stock"]
    ]
    return {
        "line": _texts(LINE, lines),
        "stock": _texts(["filing", "version", "org_no", "day", "code", "scheme", "qty", "unit"], stock),
        "substance": _texts(
            ["scheme", "code", "cas"], [[d["scheme"], d["code"], d["cas"]] for d in documents["substances"]]
        ),
    }


VIEWS = r"""
CREATE MACRO clean(t) AS upper(regexp_replace(translate(t, '０１２３４５６７８９', '0123456789'), '[\s　]', '', 'g'));

CREATE TABLE company_code AS
WITH map AS (
    SELECT clean(reg_no15) AS reg, clean(uscc) AS uscc, valid_from::DATE AS f,
           coalesce(valid_to::DATE, DATE '9999-12-31') AS t
    FROM identity_map),
newest AS (SELECT reg, arg_max(uscc, f) AS company FROM map GROUP BY reg)
SELECT reg AS code, company, DATE '2017-12-31' AS valid_to FROM newest
UNION ALL
SELECT uscc, any_value(company), max(t) FROM map JOIN newest USING (reg) GROUP BY uscc;

CREATE TABLE org_company AS
SELECT uscc AS company, industry_code, industry_std, legal_person_id AS token, deregistered_on::DATE AS gone
FROM company WHERE uscc IN (SELECT company FROM company_code);

CREATE TABLE partner_sales AS
SELECT clean(s.seller_uscc) AS seller, clean(s.buyer_uscc) AS buyer, s.product_code AS product,
       year(coalesce(v.issued_on, s.issued_on)::DATE) AS year, s.unit, sum(s.qty::DECIMAL(14,3)) AS qty
FROM sales_invoice s LEFT JOIN sales_invoice v ON v.invoice_no = s.voids GROUP BY ALL;

CREATE TABLE output AS
SELECT code, product, period[:4]::INT AS year, unit, sum(qty) AS qty FROM (
    SELECT clean(uscc) AS code, period, product_code AS product, arg_max(unit, version::INT) AS unit,
           arg_max(qty::DECIMAL(14,3), version::INT) AS qty
    FROM output_declaration GROUP BY ALL)
GROUP BY ALL;

CREATE TABLE current_line AS
SELECT DISTINCT kind, doc, n, year(day::DATE) AS year, buyer, seller, code, scheme, qty::DECIMAL(14,3) AS qty,
       unit, purity::DECIMAL(4,3) AS purity, density::INT AS density
FROM line QUALIFY version::INT = max(version::INT) OVER (PARTITION BY doc);
DELETE FROM current_line WHERE doc IN (SELECT supersedes FROM line WHERE supersedes IS NOT NULL);

CREATE TABLE bought AS
SELECT kind, c.company, p.company AS partner, cas AS substance, year, year > year(c.valid_to) AS expired,
       sum(qty * CASE unit WHEN 't' THEN 1000000 WHEN 'kg' THEN 1000 WHEN 'g' THEN 1 WHEN 'jin' THEN 500
                 WHEN 'L' THEN density WHEN 'drum' THEN 200 * density END * purity) AS grams
FROM current_line l JOIN company_code c ON c.code = l.buyer LEFT JOIN company_code p ON p.code = l.seller
JOIN substance s ON s.code = l.code AND s.scheme = l.scheme GROUP BY ALL;

CREATE TABLE stocked AS
SELECT company, cas AS substance, year, sum(qty) * 1000 AS grams FROM (
    SELECT arg_max(org_no, version::INT) AS org, year(any_value(day)::DATE) AS year, any_value(code) AS code,
           any_value(scheme) AS scheme, arg_max(qty::DECIMAL(14,3), version::INT) AS qty
    FROM stock GROUP BY filing) f
JOIN company_code c ON c.code = org JOIN substance s ON s.code = f.code AND s.scheme = f.scheme GROUP BY ALL;

CREATE TABLE sold AS
SELECT a.company AS seller, b.company AS buyer, substance_cas AS substance, year,
       sum(qty * CASE WHEN s.unit = 't' AND p.unit = 'kg' THEN 1000 ELSE 1 END * g_per_unit::DECIMAL(9,3)) AS grams
FROM partner_sales s JOIN company_code a ON a.code = seller JOIN company_code b ON b.code = buyer
JOIN product p ON p.product_code = product AND scheme_year::INT = CASE WHEN year < 2018 THEN 2012 ELSE 2018 END
WHERE substance_cas IS NOT NULL GROUP BY ALL;

CREATE TABLE made AS
SELECT company, role, substance_cas AS substance, year, p.unit,
       sum(qty * CASE WHEN o.unit = 't' AND p.unit = 'kg' THEN 1000 ELSE 1 END) AS qty,
       sum(qty * CASE WHEN o.unit = 't' AND p.unit = 'kg' THEN 1000 ELSE 1 END * g_per_unit::DECIMAL(9,3)) AS grams
FROM output o JOIN company_code USING (code)
JOIN product p ON p.product_code = product AND scheme_year::INT = CASE WHEN year < 2018 THEN 2012 ELSE 2018 END
GROUP BY ALL;

CREATE TABLE discharged AS
SELECT company, cas AS substance, period[:4]::INT AS year, period AS quarter,
       sum(qty::DECIMAL(14,3) * 1000) AS grams
FROM discharge d JOIN company_code c ON c.code = org_no
JOIN substance s ON s.code = substance_code AND s.scheme = d.scheme GROUP BY ALL;

CREATE TABLE wasted AS
SELECT company, cas AS substance, year, sum(kg * declared / 1000) AS grams, sum(kg * received / 1000) AS received
FROM (
    SELECT manifest_no, arg_max(sender_org, version::INT) AS org, any_value(substance_code) AS code,
           any_value(scheme) AS scheme, any_value(replace(shipped_on, '/', '-'))[:4]::INT AS year,
           arg_max(qty_kg::DECIMAL(14,3), version::DOUBLE) AS kg,
           arg_max(declared_mg_per_kg::DECIMAL(9,0), version::DOUBLE) AS declared,
           arg_max(receiver_mg_per_kg::DECIMAL(9,0), version::DOUBLE) AS received
    FROM (SELECT * REPLACE (version::DOUBLE::INT AS version) FROM waste) GROUP BY manifest_no) f
JOIN company_code c ON c.code = org JOIN substance s ON s.code = f.code AND s.scheme = f.scheme GROUP BY ALL;
"""

Q1 = """
WITH bal AS (
    SELECT e.company, e.substance, e.year, e.grams - b.grams AS grown
    FROM stocked e JOIN stocked b ON b.company = e.company AND b.substance = e.substance AND b.year = e.year - 1),
sums AS (
    SELECT company, substance, year, sum(input) AS input, sum(dead) AS dead, sum(sold) AS sold, sum(paper) AS paper,
           sum(waste) AS waste, sum(miss) AS miss, sum(discharge) AS discharge, min(quarter) AS low
    FROM (
        SELECT company, substance, year, grams AS input, CASE WHEN expired THEN grams ELSE 0 END AS dead,
               0 AS sold, 0 AS paper, 0 AS waste, 0 AS miss, 0 AS discharge, NULL AS quarter FROM bought
        UNION ALL
        SELECT company, substance, year, grams, 0, 0, 0, 0, 0, 0, NULL FROM made WHERE role = 'M'
        UNION ALL
        SELECT s.seller, s.substance, s.year, 0, 0, s.grams,
               CASE WHEN c.gone < make_date(s.year::INT, 1, 1) OR NOT EXISTS (
                   SELECT 1 FROM bought b WHERE b.kind = 'purchases' AND b.company = s.buyer
                   AND b.partner = s.seller AND b.substance = s.substance AND b.year = s.year)
               THEN s.grams ELSE 0 END, 0, 0, 0, NULL
        FROM sold s LEFT JOIN org_company c ON c.company = s.buyer
        UNION ALL
        SELECT company, substance, year, 0, 0, 0, 0, grams, received - grams, 0, NULL FROM wasted
        UNION ALL
        SELECT company, substance, year, 0, 0, 0, 0, 0, 0, grams, grams FROM discharged)
    GROUP BY ALL),
facts AS (
    SELECT sums.*, input - grown - sold - waste - discharge AS u, discharge - low AS rest, EXISTS (
        SELECT 1 FROM bal o JOIN org_company oc ON oc.company = o.company
        WHERE o.company <> sums.company AND oc.token = me.token AND o.substance = sums.substance
        AND o.year = sums.year) AS sister
    FROM sums JOIN bal USING (company, substance, year) JOIN org_company me ON me.company = sums.company)
SELECT company, substance, year, CASE
    WHEN abs(u) * 20 > input AND dead * 20 > input AND abs(u - dead) * 50 <= input THEN 'F6'
    WHEN abs(u) * 20 > input AND miss * 20 > input AND abs(u - miss) * 50 <= input THEN 'F3'
    WHEN abs(u) * 20 > input AND low * 30 < rest AND abs(u - 999 * low) * 50 <= input THEN 'F5'
    WHEN abs(u) * 20 > input AND sister THEN 'F2'
    WHEN abs(u) * 20 > input AND u > 0 THEN 'F1'
    WHEN abs(u) * 20 > input THEN 'unexplained'
    WHEN paper * 20 > input THEN 'F4' END AS kind, u::BIGINT AS u_g, input::BIGINT AS input
FROM facts ORDER BY ALL
"""

WATER = r"""
CREATE TABLE step AS
WITH kept AS (
    SELECT meter_id, unit, read_on::DATE AS day, reading_id::BIGINT AS id,
           (cum_value::DECIMAL(14,3) * CASE unit WHEN 't' THEN 1000 ELSE 1 END)::BIGINT AS l
    FROM reading r WHERE estimated = '0' AND NOT EXISTS (
        SELECT 1 FROM reading c WHERE c.corrects_id = r.reading_id AND c.unit = r.unit)
    UNION ALL
    SELECT meter_id, CASE WHEN installed_on::DATE < DATE '2016-07-01' THEN 't' ELSE 'L' END,
           installed_on::DATE, -1, 0 FROM meter)
SELECT meter_id, lag(day) OVER w AS t0, day AS t1, l - lag(l) OVER w AS d
FROM kept WINDOW w AS (PARTITION BY meter_id, unit ORDER BY day, id);
DELETE FROM step WHERE t0 IS NULL;

CREATE TABLE company_month AS
WITH named AS (
    SELECT org_no, t0, t1, CASE WHEN d < 0 THEN d + 10 ** digits::INT * 1000 ELSE d END::BIGINT AS d
    FROM step JOIN meter USING (meter_id) JOIN account USING (account_no) WHERE kind = 'C'),
spread AS (
    SELECT org_no, t0, t1, d, unnest(generate_series(date_trunc('month', t0)::TIMESTAMP,
           (t1 - 1)::TIMESTAMP, INTERVAL 1 MONTH))::DATE AS b FROM named)
SELECT org_no, b AS month, sum(d * (least(t1, (b + INTERVAL 1 MONTH)::DATE) - t0) // (t1 - t0)
                             - d * (greatest(t0, b) - t0) // (t1 - t0)) AS litres
FROM spread GROUP BY ALL;
"""

Q2 = """
WITH wet AS (
    SELECT company, year(month) AS year, sum(litres) AS litres, sum(litres) FILTER (month(month) = 2) AS feb
    FROM company_month JOIN company_code ON code = org_no GROUP BY ALL),
bands AS (
    SELECT industry_std, industry_code, unit, lo_l::DECIMAL(12,3) AS lo, hi_l::DECIMAL(12,3) AS hi FROM band
    UNION ALL
    SELECT '2011', code_2011, unit, min(lo_l::DECIMAL(12,3)), max(hi_l::DECIMAL(12,3))
    FROM band JOIN industry_map ON code_2017 = industry_code GROUP BY ALL)
SELECT company, year, CASE WHEN litres * 20 < lo * qty THEN 'W2' WHEN litres < lo * qty THEN 'W1'
       WHEN litres > hi * qty AND feb * 1000 > 47 * litres THEN 'W4' WHEN litres > hi * qty THEN 'W3' END AS kind,
       litres::BIGINT AS litres, qty::DECIMAL(18,3) AS qty
FROM wet JOIN (SELECT company, year, unit, qty FROM made WHERE role = 'G' AND substance IS NULL) m
    USING (company, year)
JOIN org_company USING (company) JOIN bands USING (industry_std, industry_code, unit) ORDER BY ALL
"""


def read_raw(root: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB with the raw tables of water, market, chemicals and environment, all columns text."""
    base = duckdb.connect()
    silos = root / "silos"
    raw = {
        **_sqlite(silos / "water" / "water.db"),
        **_sqlite(silos / "market" / "market.db"),
        **_register(silos / "chemicals" / "register.db"),
        "discharge": _files(silos / "environment" / "discharge", DISCHARGE),
        "waste": _files(silos / "environment" / "waste", WASTE),
    }
    for name, table in raw.items():
        base.register(f"_{name}", table)
        base.execute(f"CREATE TABLE {name} AS SELECT * FROM _{name}")
    return base


def read_city(root: Path) -> duckdb.DuckDBPyConnection:
    """The raw tables and the views over them."""
    base = read_raw(root)
    base.execute(VIEWS)
    base.execute(WATER)
    return base


def q1(base: duckdb.DuckDBPyConnection) -> list[list[Any]]:
    """Every balance: [company, substance, year, kind or None, u_g, input]."""
    return [list(row) for row in base.execute(Q1).fetchall()]


def q2(base: duckdb.DuckDBPyConnection) -> list[list[Any]]:
    """Every company-year: [company, year, kind or None, litres, qty]."""
    return [[*row[:4], f"{row[4]:f}"] for row in base.execute(Q2).fetchall()]
