"""Whatever an analyst writes is evaluated over the masked, filtered relation, as if it had been copied out.

The oracle is that copy: the masks' Arrow definitions applied row by row in Python, loaded into an empty
DuckDB, and the same statement over it.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import duck, masks
from catalog.errors import CityError
from catalog.masks.pseudonym import derive_key
from catalog.types import TrinoType, parse
from connectors.agent.service import Agent
from tests.agent.conftest import MASKS, PEOPLE, people, usage
from tests.agent.house import House, tuples

KEY = masks.LinkageKey(
    "mass-balance", "city", "", derive_key(bytes.fromhex("ab" * 32), "mass-balance", "city"), "company"
)
CONTEXT = masks.Context(lambda group: KEY)
PYTHON: dict[str, Any] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "decimal": Decimal,
    "boolean": bool,
}


def masked_copy() -> tuple[dict[str, TrinoType], pa.Table]:
    """M(R): filtered, then each column through its mask's definition."""
    rows = [r for r in people() if r[-1] == 0]
    columns, types = {}, {}
    for i, (name, text) in enumerate(PEOPLE.items()):
        kind = parse(text)
        convert = PYTHON.get(kind.name, lambda v: v)
        raw = pa.array([None if r[i] is None else convert(r[i]) for r in rows], kind.arrow())
        mask = masks.build(MASKS[name], kind, CONTEXT) if name in MASKS else None
        columns[name] = mask.arrow(raw) if mask else raw
        types[name] = mask.type if mask else kind
    return types, pa.table(columns)


TYPES, COPY = masked_copy()
USAGE_TYPES = {n: parse(t) for n, t in {
    "org_no": "varchar", "district_code": "varchar", "month": "date", "unit": "varchar",
    "qty": "decimal(14,3)", "litres": "bigint",
}.items()}  # fmt: skip


def oracle(sql: str) -> Counter[tuple[Any, ...]]:
    con = duckdb.connect()
    duck.prepare(con)
    rows = [(a, b, date.fromisoformat(c), d, Decimal(e), f) for a, b, c, d, e, f in usage()]
    used = pa.table(
        {n: pa.array(v, t.arrow()) for (n, t), v in zip(USAGE_TYPES.items(), zip(*rows, strict=True), strict=True)}
    )
    con.register("copied", COPY)
    con.register("used", used)
    con.execute("CREATE TABLE people AS SELECT * FROM copied")
    con.execute("CREATE TABLE usage AS SELECT * FROM used")
    tables = {
        "water.main.people": duck.Table("people", TYPES),
        "water.main.usage": duck.Table("usage", USAGE_TYPES),
    }
    compiled = duck.compile_query(sqlglot.parse_one(sql, dialect="trino"), tables)
    schema = pa.schema([pa.field(f"x{i}", t.arrow()) for i, (_, t) in enumerate(compiled.columns)])
    table = con.sql(compiled.sql).to_arrow_table()
    return Counter(
        tuples(pa.table([c.cast(f.type) for c, f in zip(table.columns, schema, strict=True)], schema=schema))
    )


async def same(house: House, agent: Agent, sql: str, subset_of: bool = False) -> Counter[tuple[Any, ...]]:
    async with house.client("lin", "mass-balance", agent) as ask:
        answered = Counter(tuples(await ask.rows(sql)))
    assert answered == oracle(sql), sql
    return answered


FROM = "FROM water.main.people AS t"
ORG = masks.build("pseudonym(city)", parse("varchar(18)"), CONTEXT).arrow(pa.array(["910007"]))[0].as_py()
CASES = [
    f"SELECT t.name AS c0, t.org_no AS c1, t.phone AS c2, t.mail AS c3, t.born AS c4, t.income AS c5, t.debt AS c6, "
    f"t.icd AS c7, t.note AS c8, t.seen AS c9, t.kind AS c10, t.active AS c11, t.id AS c12 {FROM}",
    f"SELECT count(*) AS c0 {FROM} WHERE t.name = 'Ana'",
    f"SELECT count(*) AS c0 {FROM} WHERE t.name = 'A**'",
    f"SELECT t.id AS c0 {FROM} WHERE t.name LIKE 'A%' AND t.kind = 'C'",
    f"SELECT t.id AS c0 {FROM} WHERE t.phone LIKE '138%' OR t.phone LIKE '********%'",
    f"SELECT t.id AS c0 {FROM} WHERE t.org_no = '910007' OR t.org_no = '{ORG}'",
    f"SELECT t.born AS c0, count(*) AS c1 {FROM} GROUP BY t.born",
    f"SELECT count(DISTINCT t.born) AS c0, count(DISTINCT t.org_no) AS c1, count(DISTINCT t.name) AS c2 {FROM}",
    f"SELECT t.icd AS c0, sum(t.income) AS c1, avg(t.income) AS c2, max(t.debt) AS c3, avg(t.debt) AS c4 {FROM} "
    "WHERE t.id > 20 AND (t.income BETWEEN -1000 AND 6000) GROUP BY t.icd HAVING max(t.income) > 250",
    f"SELECT t.id AS c0 {FROM} WHERE t.income > 250 AND t.debt <= 1000.50 AND t.born < DATE '1970-06-15'",
    f"SELECT t.id AS c0, CASE WHEN t.born > DATE '1960-02-01' THEN t.name "
    f"WHEN t.icd = 'J' THEN t.mail ELSE t.note END AS c1 {FROM}",
    f"SELECT t.id AS c0 {FROM} WHERE t.note = 'a secret' OR t.note IS NULL",
    f"SELECT t.id AS c0, rank() OVER (PARTITION BY t.icd ORDER BY t.born, t.income) AS c1 {FROM}",
    f"SELECT t.name AS c0, lower(t.name) AS c1, length(t.phone) AS c2, substr(t.mail, 1, 4) AS c3 {FROM} "
    "WHERE t.active",
    "SELECT a.id AS c0, b.id AS c1 FROM water.main.people AS a JOIN water.main.people AS b "
    "ON a.org_no = b.org_no AND a.born = b.born WHERE a.id < b.id AND a.kind = 'C'",
    "SELECT a.id AS c0, u.qty AS c1 FROM water.main.people AS a LEFT JOIN water.main.usage AS u ON a.org_no = u.org_no",
    "SELECT t.kind AS c0, u.district_code AS c1, count(*) AS c2 FROM water.main.people AS t "
    "LEFT JOIN water.main.usage AS u ON u.litres = t.id AND u.unit = 'L' WHERE t.id < 50 GROUP BY 1, 2",
    "SELECT t.id AS c0, u.qty AS c1 FROM water.main.people AS t LEFT JOIN water.main.usage AS u ON t.id = u.litres "
    "WHERE u.qty IS NULL",
    f"SELECT DISTINCT t.born AS c0, t.icd AS c1 {FROM}",
    f"SELECT t.born AS c0 {FROM} WHERE t.kind = 'C' UNION SELECT t.seen AS c0 {FROM} WHERE t.kind = 'H'",
    f"SELECT t.icd AS c0 {FROM} EXCEPT SELECT t.icd AS c0 {FROM} WHERE t.icd = 'J'",
    f"WITH a AS (SELECT t.born, t.income {FROM}) SELECT x.born AS c0, sum(y.income) AS c1 FROM a AS x, a AS y "
    "WHERE x.born = y.born GROUP BY x.born",
    f"SELECT t.id AS c0 {FROM} WHERE t.income > (SELECT avg(s.income) FROM water.main.people AS s "
    "WHERE s.icd = t.icd)",
    f"SELECT t.id AS c0 {FROM} WHERE EXISTS (SELECT 1 FROM water.main.people AS s WHERE s.born = t.born "
    "AND s.id <> t.id)",
    f"SELECT t.id AS c0 {FROM} WHERE t.org_no IN (SELECT s.org_no FROM water.main.people AS s WHERE s.kind = 'H')",
    f"SELECT t.kind AS c0, t.active AS c1, count(*) AS c2, min(t.id) AS c3, max(t.id) AS c4, sum(t.id) AS c5 {FROM} "
    "WHERE t.id >= 10 AND t.kind IN ('C', 'H') GROUP BY t.kind, t.active",
    f"SELECT t.kind AS c0, t.icd AS c1, count(*) AS c2 {FROM} GROUP BY ROLLUP (t.kind, t.icd)",
    "SELECT year(t.month) AS c0, quarter(t.month) AS c1, t.unit AS c2, count(*) AS c3, sum(t.litres) AS c4 "
    "FROM water.main.usage AS t WHERE t.district_code <> '449902' GROUP BY 1, 2, 3",
    "SELECT t.org_no AS c0, sum(t.qty) AS c1, avg(t.qty) AS c2, sum(t.qty) / count(*) AS c3 FROM water.main.usage AS t "
    "WHERE t.month BETWEEN DATE '2014-06-01' AND DATE '2015-06-01' GROUP BY t.org_no",
    "SELECT x.c0 AS c0, x.n AS c1 FROM (SELECT t.org_no AS c0, count(*) AS n FROM water.main.usage AS t "
    "GROUP BY t.org_no) AS x WHERE x.n > 10",
]  # fmt: skip


@pytest.mark.parametrize("sql", CASES)
async def test_every_shape_of_query_sees_the_masked_copy(house: House, agent: Agent, sql: str) -> None:
    await same(house, agent, sql)


async def test_a_raw_value_that_exists_is_not_found_and_its_mask_is(house: House, agent: Agent) -> None:
    assert any(r[1] == "Ana" and r[-1] == 0 for r in people())
    found = await same(house, agent, f"SELECT count(*) AS c0 {FROM} WHERE t.name = 'Ana'")
    assert found == Counter([(0,)])
    found = await same(house, agent, f"SELECT count(*) AS c0 {FROM} WHERE t.name = 'A**'")
    assert found != Counter([(0,)])


async def test_order_by_sorts_masked_values(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        table = await ask.rows(f"SELECT t.born AS c0, t.id AS c1 {FROM} ORDER BY t.born DESC, t.id LIMIT 40")
    expected = sorted(
        (r for r in zip(COPY["born"].to_pylist(), COPY["id"].to_pylist(), strict=True) if r[0]),
        key=lambda r: (-r[0].toordinal(), r[1]),
    )
    assert tuples(table) == expected[:40]


async def test_an_expression_never_meets_a_hidden_row(house: House, agent: Agent) -> None:
    """Rows with hidden = 1 have ids divisible by 7: a division by `id % 7` fails on them and on nothing else."""
    async with house.client("lin", "mass-balance", agent) as ask:
        table = await ask.rows(f"SELECT sum(1000 / (t.id % 7)) AS c0 {FROM}")
    assert table.num_rows == 1


COLUMNS = [n for n in PEOPLE if n not in ("active",)]
LITERALS = {
    "bigint": ["10", "250"], "integer": ["0", "250", "-50"], "decimal": ["0.50", "100", "-3.5"],
    "varchar": ["'J'", "'A**'", "'Ana'", "''"], "date": ["DATE '1960-01-01'", "DATE '1985-07-09'"],
}  # fmt: skip


@st.composite
def predicates(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(COLUMNS))
    kind = TYPES[name].name
    form = draw(st.sampled_from(["op", "in", "null", "between"]))
    literals = LITERALS[kind]
    if form == "null":
        return f"t.{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL"
    if form == "in":
        return f"t.{name} IN ({', '.join(draw(st.lists(st.sampled_from(literals), min_size=1, max_size=3)))})"
    if form == "between":
        return f"t.{name} BETWEEN {draw(st.sampled_from(literals))} AND {draw(st.sampled_from(literals))}"
    return f"t.{name} {draw(st.sampled_from(['=', '<>', '<', '<=', '>', '>=']))} {draw(st.sampled_from(literals))}"


@given(parts=st.lists(predicates(), min_size=1, max_size=4), glue=st.sampled_from([" AND ", " OR "]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_random_predicates_select_the_copys_rows(house: House, agent: Agent, parts: list[str], glue: str) -> None:
    await same(house, agent, f"SELECT t.id AS c0 {FROM} WHERE {glue.join(parts)}")


async def test_at_200000_rows_no_expression_meets_a_hidden_row_or_a_raw_value(tmp_path: Path) -> None:
    """Engines reorder only when there is something to gain: small tables prove nothing (GOVERNANCE 4)."""
    rows = [(i, "canary-of-row" if i % 1000 == 0 else "plain", int(i % 1000 == 0)) for i in range(200_000)]
    policy = {
        "department": "water",
        "relations": {"big": {"table": "big", "columns": {"id": "bigint", "word": "varchar"}}},
        "grants": [{"id": "b", "relation": "big", "purposes": ["mass-balance"], "mode": "masked",
                    "row_filter": "id NOT IN (SELECT b.id FROM big AS b WHERE b.hidden = 1)",
                    "masks": {"word": "keep_first(1)"}}],
    }  # fmt: skip
    house = House(tmp_path, policy, {"big": ("id INTEGER PRIMARY KEY, word TEXT, hidden INTEGER", rows)})
    table = "FROM water.main.big AS t"
    async with house.client("lin", "mass-balance") as ask:
        counted = await ask.rows(f"SELECT count(*) AS c0, sum(1000000 / (t.id % 1000)) AS c1 {table}")
        words = await ask.rows(f"SELECT t.word AS c0, count(*) AS c1 {table} GROUP BY t.word")
        none = await ask.rows(f"SELECT t.id AS c0 {table} WHERE t.word LIKE 'pl%' OR t.word LIKE 'canary%'")
        tried = await ask.rows(f"SELECT max(CAST(substr(t.word, 2) || '1' AS varchar)) AS c0 {table}")
    assert counted.column("c0").to_pylist() == [199_800]
    assert tuples(words) == [("p****", 199_800)]
    assert none.num_rows == 0
    assert tuples(tried) == [("****1",)]


async def test_databases_that_differ_only_in_hidden_values_answer_the_same_bytes(tmp_path: Path) -> None:
    """Non-interference: rows, schema and refusals alike."""
    questions = [
        "SELECT t.id AS c0, t.name AS c1, t.born AS c2 FROM people AS t ORDER BY t.id",
        "SELECT count(*) AS c0, max(t.name) AS c1 FROM people AS t WHERE t.name < 'B'",
        "SELECT 10 / (t.id - 3) AS c0 FROM people AS t",
        "SELECT t.born AS c0, count(*) AS c1 FROM people AS t GROUP BY t.born",
        "SELECT t.salary AS c0 FROM people AS t",
    ]
    worlds = []
    for number, (name, day, salary) in enumerate([("Anna", "1970-03-04", 5), ("Abby", "1970-11-30", 99)]):
        rows = [(i, name if i % 2 else None, day, salary, 0) for i in range(20) if i != 3] + [
            (3, "Zoe", day, salary, 1)
        ]
        policy = {
            "department": "water",
            "relations": {"people": {"table": "people", "columns": {
                "id": "bigint", "name": "varchar", "born": "date", "salary": "integer"}}},
            "grants": [{"id": "p", "relation": "people", "purposes": ["mass-balance"], "mode": "masked",
                        "row_filter": "hidden = 0",
                        "masks": {"name": "keep_first(1)", "born": "date(year)", "salary": "deny"}}],
        }  # fmt: skip
        ddl = "id INTEGER, name TEXT, born TEXT, salary INTEGER, hidden INTEGER"
        house = House(tmp_path / str(number), policy, {"people": (ddl, rows)})
        seen: list[Any] = []
        async with house.client("lin", "mass-balance") as ask:
            found = await ask.relations()
            seen.append({**found, "version": ""})
            for sql in questions:
                try:
                    table = await ask.rows(sql)
                    seen.append((table.schema, tuples(table)))
                except CityError as refused:
                    seen.append(refused.to_dict())
        worlds.append(seen)
    assert worlds[0] == worlds[1]
    assert sum(isinstance(s, tuple) for s in worlds[0]) == 4
