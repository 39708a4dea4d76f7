"""Each mask's DuckDB form equals its Arrow definition, for every value of every type that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import duck, masks
from catalog.masks import MaskError, Rank
from catalog.masks.pseudonym import derive_key, normalise, pseudonym
from catalog.relation import Linkage
from catalog.types import TrinoType, parse

ROOT = bytes(range(32))


def linkage(purpose: str = "p", group: str = "g", normaliser: str = "none", epoch: str = "") -> masks.LinkageKey:
    return masks.LinkageKey(purpose, group, epoch, derive_key(ROOT, purpose, group, epoch), normaliser)


class Counting:
    """A vault whose tokens are numbers, so that a test can say what they are."""

    linkage = Linkage(purpose="p", group="token@here")

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def tokens(self, values: Iterable[str]) -> dict[str, str]:
        return {v: self.known.setdefault(v, f"{len(self.known):032x}") for v in values}


CONTEXT = masks.Context(
    lambda group: linkage(group=group, normaliser="company" if group == "firms" else "none"),
    {"icd": {"J45": ("J40-J47", "X"), "I21": ("I20-I25", "IX")}},
    Counting(),
    "v",
)
TEXTS = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("aZ09*@ .\u0301\u00e9Ａｚ０　é中😀ßİ'"),
    ),
    max_size=30,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "varchar": TEXTS,
    "varchar(12)": TEXTS.map(lambda t: t[:12]),
    "tinyint": st.integers(-(2**7), 2**7 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "decimal(12,2)": st.decimals(Decimal("-9999999999.99"), Decimal("9999999999.99"), places=2, allow_nan=False),
    "decimal(38,9)": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda i: Decimal(f"{i}E-9")),
    "double": st.one_of(st.floats(), st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 1e28, 0.5, 2.5])),
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
    "timestamp(3)": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 31)).map(
        lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)
    ),
    "boolean": st.booleans(),
    "uuid": st.uuids().map(str),
    "decimal(9,6)": st.decimals(-200, 200, places=6),
    "decimal(28,20)": st.decimals(Decimal("-200"), 200, places=20),
}
PLACES = st.one_of(
    st.floats(-181, 181), st.floats(), st.sampled_from([90.0, -90.0, 180.0, -180.0, 0.0, -0.0, 89.99999999, 1e-300]),
    st.integers(-180, 180).map(float), st.integers(-1800, 1800).map(lambda i: i / 10),
)  # fmt: skip
"""Coordinates, on and beside the lines of the grid."""
CASES = [
    ("null", "varchar"),
    ("null", "bigint"),
    ("null", "date"),
    ("constant('it''s')", "varchar"),
    ("constant(7, null_too)", "integer"),
    ("constant(1.5)", "decimal(12,2)"),
    ("constant(true)", "boolean"),
    ("constant(2020-01-01)", "date"),
    ("keep_last(0)", "varchar"),
    ("keep_last(4)", "varchar"),
    ("keep_last(2, fixed)", "varchar(12)"),
    ("keep_first(1)", "varchar"),
    ("keep_first(3, fixed)", "varchar"),
    ("email", "varchar"),
    ("pseudonym(people)", "varchar"),
    ("pseudonym(firms)", "varchar"),
    ("pseudonym(people)", "bigint"),
    ("pseudonym(people)", "date"),
    ("date(day)", "timestamp(3)"),
    ("date(week)", "date"),
    ("date(month)", "date"),
    ("date(quarter)", "timestamp(3)"),
    ("date(year)", "date"),
    ("number(5)", "tinyint"),
    ("number(7, 3)", "integer"),
    ("number(1000, -1)", "bigint"),
    ("number(0.5)", "decimal(12,2)"),
    ("number(0.05, 0.01)", "decimal(12,2)"),
    ("number(0.000000007)", "decimal(38,9)"),
    ("number(0.25)", "double"),
    ("number(10, 5)", "double"),
    ("hierarchy(icd, 1)", "varchar"),
    ("hierarchy(icd, 2)", "varchar"),
    ("prefix(1)", "varchar"),
    ("prefix(20)", "varchar(12)"),
    ("top_code(100)", "integer"),
    ("bottom_code(-1.25)", "decimal(12,2)"),
    ("constant(0.1)", "double"),
    ("constant(2020-01-01 12:00:00.5)", "timestamp(3)"),
    ("constant(00000000-0000-0000-0000-000000000001, null_too)", "uuid"),
    ("pseudonym(people)", "uuid"),
    ("token", "varchar"),
    ("token", "bigint"),
    ("format", "varchar"),
    ("format", "varchar(12)"),
    ("bucket(-5|0|100, 'low|it''s|mid|high')", "tinyint"),
    ("bucket(0, no|yes)", "bigint"),
    ("bucket(-1.25|0|0.01, a|b|c|a)", "decimal(12,2)"),
    ("bucket(-0.5|0|2.5, a|b|c|d)", "double"),
    ("bucket(1970-01-01|2000-02-29, old|mid|new)", "date"),
    ("bucket(7, a|b)", "decimal(38,9)"),
]
PAIRS = [
    ("geo(250, v, w)", "double"), ("geo(250, w, v)", "double"), ("geo(777, v, w)", "decimal(9,6)"),
    ("geo(100000, w, v)", "decimal(9,6)"), ("geo(500, w, v)", "decimal(28,20)"), ("geo(500, v, w)", "decimal(28,20)"),
]  # fmt: skip


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    opened = duckdb.connect()
    duck.prepare(opened)
    yield opened
    opened.close()


def in_duckdb(con: duckdb.DuckDBPyConnection, mask: masks.Mask, raw: pa.Array, *beside: pa.Array) -> list[Any]:
    """As the agent does it."""
    own = mask.arrow(raw) if mask.in_agent else raw
    con.register("raw", pa.table({"v": own} | dict(zip(mask.beside, beside, strict=True))))
    sql = f"SELECT CAST({mask.duckdb('v', *mask.beside)} AS {mask.type.duckdb()}) AS v FROM raw"
    return con.sql(sql).to_arrow_table().column("v").cast(mask.type.arrow()).to_pylist()


def plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


@pytest.mark.parametrize(("text", "kind"), CASES)
def test_the_duckdb_form_is_the_definition(con: duckdb.DuckDBPyConnection, text: str, kind: str) -> None:
    mask = masks.build(text, parse(kind), CONTEXT)

    @given(st.lists(st.one_of(st.none(), VALUES[kind]), max_size=20))
    @settings(max_examples=60)
    def check(values: list[Any]) -> None:
        raw = pa.array(values, parse(kind).arrow())
        expected = mask.arrow(raw)
        assert expected.type == mask.type.arrow()
        assert [plain(v) for v in in_duckdb(con, mask, raw)] == [plain(v) for v in expected.to_pylist()]
        if "null_too" not in text:
            assert all(e is None for v, e in zip(values, expected.to_pylist(), strict=True) if v is None)

    check()


@pytest.mark.parametrize(("text", "kind"), PAIRS)
def test_the_duckdb_form_of_a_pair_is_the_definition(con: duckdb.DuckDBPyConnection, text: str, kind: str) -> None:
    mask = masks.build(text, parse(kind), CONTEXT)
    places = PLACES if kind == "double" else VALUES[kind]

    @given(st.lists(st.tuples(st.one_of(st.none(), places), st.one_of(st.none(), places)), max_size=20))
    @settings(max_examples=60)
    def check(values: list[Any]) -> None:
        raw, beside = (pa.array([v[i] for v in values], parse(kind).arrow()) for i in range(2))
        expected = mask.arrow(raw, beside).to_pylist()
        assert [plain(v) for v in in_duckdb(con, mask, raw, beside)] == [plain(v) for v in expected]
        assert all(e is None for v, e in zip(values, expected, strict=True) if None in v)

    check()


def shown_place(cell: int, lat: float, lon: float) -> tuple[float, float]:
    pair = [pa.array([v], pa.float64()) for v in (lat, lon)]
    north = masks.build(f"geo({cell}, v, w)", parse("double"), CONTEXT).arrow(*pair)
    east = masks.build(f"geo({cell}, w, v)", parse("double"), CONTEXT).arrow(*reversed(pair))
    return north[0].as_py(), east[0].as_py()


@given(st.integers(250, 100_000), st.floats(-89, 89), st.floats(-180, 179.99), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200)
def test_a_cell_of_the_grid_is_no_smaller_than_it_says(
    cell: int, lat: float, lon: float, north: float, east: float
) -> None:
    """The centre is near, its own cell's centre is itself, and centres differ by a whole cell at least."""
    found = shown_place(cell, lat, lon)
    assert shown_place(cell, *found) == found
    other = shown_place(cell, min(89.0, lat + north * 2e-5 * cell), min(179.99, lon + east * 2e-5 * cell))
    up = abs(other[0] - found[0]) * 111_132
    if up:
        assert up > cell * 0.98
    else:
        along = abs(other[1] - found[1]) * 111_319 * math.cos(math.radians(max(abs(lat), abs(found[0]))))
        assert along == 0 or along > cell * 0.98


def test_a_place_at_the_edge_of_the_map() -> None:
    assert shown_place(500, 90.0, 180.0) == shown_place(500, 89.9999, -180.0)
    assert shown_place(500, -90.0, -180.0)[0] > -90
    assert shown_place(500, 90.1, 12.0) == shown_place(500, 12.0, -180.1) == (None, None)
    assert shown_place(500, 31.2304, 121.4737) == shown_place(500, 31.2301, 121.4741)


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("format", "AB-12/x y.9", "AA-99/a a.9"),
        ("format", "李A\u0301９", "_A__"),
        ("keep_last(4)", "13812345678", "*******5678"),
        ("keep_last(4)", "12345678", "********"),
        ("keep_last(4)", "123456789", "*****6789"),
        ("keep_last(4, fixed)", "13812345678", "********5678"),
        ("keep_first(1)", "李雷雷", "李**"),
        ("keep_first(1)", "e\u0301lan", "é***"),
        ("email", "Ana.B@Hailan.CN", "***@hailan.cn"),
        ("email", "@hailan.cn", None),
        ("email", "a@b@c", None),
        ("prefix(3)", "J45.1", "J45"),
        ("hierarchy(icd, 1)", "J45", "J40-J47"),
        ("hierarchy(icd, 1)", "Z99", "other"),
    ],
)
def test_texts_by_example(text: str, value: str, shown: str | None) -> None:
    assert masks.build(text, parse("varchar"), CONTEXT).arrow(pa.array([value])).to_pylist() == [shown]


@pytest.mark.parametrize(
    ("text", "kind", "value", "shown"),
    [
        ("number(5, 0)", "integer", 44, 40),
        ("number(5, 0)", "integer", -1, -5),
        ("number(5, 0)", "integer", -(2**31), None),
        ("number(0.5)", "decimal(12,2)", Decimal("-0.01"), Decimal("-0.50")),
        ("number(0.5)", "double", math.nan, None),
        ("number(0.5)", "double", math.inf, None),
        ("date(week)", "date", date(2020, 5, 5), date(2020, 5, 4)),
        ("date(quarter)", "date", date(2020, 5, 5), date(2020, 4, 1)),
        ("date(year)", "timestamp(3)", datetime(2020, 12, 31, 23, 59), date(2020, 1, 1)),
        ("bucket(18|65, 'under 18|18-64|65+')", "integer", 17, "under 18"),
        ("bucket(18|65, 'under 18|18-64|65+')", "integer", 18, "18-64"),
        ("bucket(18|65, 'under 18|18-64|65+')", "integer", 65, "65+"),
        ("bucket(0.5, low|high)", "double", math.nan, None),
        ("bucket(0.5, low|high)", "double", math.inf, "high"),
        ("bucket(2000-01-01, old|new)", "date", date(2000, 1, 1), "new"),
    ],
)
def test_numbers_and_dates_by_example(text: str, kind: str, value: Any, shown: Any) -> None:
    mask = masks.build(text, parse(kind), CONTEXT)
    assert mask.arrow(pa.array([value], parse(kind).arrow())).to_pylist() == [shown]


def test_pseudonyms_have_known_values() -> None:
    """Fixed for ever: another version of atoll, or another engine, must compute the same."""
    key = linkage("mass-balance", "city")
    assert pseudonym(key, "910007") == pseudonym(key, 910007)
    assert pseudonym(key, "é") == pseudonym(key, "e\u0301")
    assert [pseudonym(key, v) for v in ("", "910007", "é中😀")] == [
        "8bf411d252c098a4cf62c92b6f818517",
        "8b4bcb6336bf71b9fb94d623cc10828c",
        "faccf695ac30effab853361c518aac5f",
    ]


def test_other_purpose_group_or_epoch_is_unlinkable() -> None:
    keys = [linkage(), linkage(purpose="q"), linkage(group="h"), linkage(epoch="2020"), linkage("pg", "")]
    assert len({pseudonym(k, "x") for k in keys}) == len(keys)


def test_the_company_normaliser_folds_width_case_and_blanks() -> None:
    assert normalise("　９１ａｂ-1 ", "company") == "91AB-1"
    assert normalise(" 91ab ", "none") == " 91ab "


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("keep_lst(4)", "varchar", "did you mean 'keep_last'"),
        ("keep_last(4)", "bigint", "does not fit"),
        ("date(decade)", "date", "day, week, month"),
        ("date(year)", "varchar", "does not fit"),
        ("number(0)", "integer", "greater than 0"),
        ("number(0.5)", "integer", "more decimals"),
        ("constant(x)", "integer", "whole number"),
        ("constant(300)", "tinyint", "whole number"),
        ("prefix(0)", "varchar", "from 1"),
        ("pseudonym", "varchar", "linkage group"),
        ("hierarchy(nace, 1)", "varchar", "nace"),
        ("hierarchy(icd, 3)", "varchar", "level"),
        ("null(1)", "varchar", "no arguments"),
        ("keep_last(4); drop", "varchar", "no mask expression"),
        ("email", "array(varchar)", "does not fit"),
        ("bucket(1|1, a|b|c)", "integer", "greater than the one before"),
        ("bucket(1|2, a|b)", "integer", "2 edges take 3 labels"),
        ("bucket(1.5, a|b)", "integer", "whole number"),
        ("bucket(1||2, a|b|c)", "integer", "may be empty"),
        ("geo(249, v, w)", "double", "from 250"),
        ("geo(500, lat, lon)", "double", "stands on 'v'"),
        ("geo(500, v, v)", "double", "stands on 'v'"),
        ("geo(500)", "double", "metres and the two columns"),
        ("geo(500, v, w)", "decimal(38,9)", "at most 28 digits"),
        ("token(x)", "varchar", "no arguments"),
        ("constant(nan)", "double", "does not fit"),
        ("constant(2020-01-01 00:00:00.0001)", "timestamp(3)", "does not fit"),
        ("pseudonym(token@here)", "varchar", "no @"),
    ],
)
def test_a_mask_that_cannot_be_is_refused_when_the_policy_is_read(text: str, kind: str, word: str) -> None:
    with pytest.raises(MaskError, match=word.replace("(", r"\(")):
        masks.build(text, parse(kind), CONTEXT)


@pytest.mark.parametrize(
    ("texts", "kind", "winner"),
    [
        (["keep_last(4)", "deny"], "varchar", "deny"),
        (["null", "constant(x)"], "varchar", "null"),
        (["pseudonym(g)", "keep_last(2)"], "varchar", "pseudonym(g)"),
        (["keep_last(4)", "keep_last(2)"], "varchar", "keep_last(2)"),
        (["keep_last(4)", "keep_first(2)"], "varchar", "null"),
        (["date(year)", "date(month)"], "date", "date(year)"),
        (["date(week)", "date(month)"], "date", "null"),
        (["number(5)", "number(10)"], "integer", "number(10)"),
        (["number(5)", "number(7)"], "integer", "null"),
        (["number(5)", "number(5)"], "integer", "number(5)"),
        (["prefix(3)", "prefix(1)", "prefix(2)"], "varchar", "prefix(1)"),
        (["prefix(3)", "hierarchy(icd, 1)"], "varchar", "null"),
        (["hierarchy(icd, 1)", "hierarchy(icd, 2)"], "varchar", "hierarchy(icd, 2)"),
        (["top_code(5)", "top_code(9)"], "integer", "top_code(5)"),
    ],
)
def test_the_strictest_mask_wins_in_any_order(texts: list[str], kind: str, winner: str) -> None:
    built = [masks.build(t, parse(kind), CONTEXT) for t in texts]
    for order in (built, built[::-1]):
        assert masks.strictest(order).text == winner


def test_every_mask_is_in_the_property_test() -> None:
    covered = {masks.parse(text)[0] for text, _ in CASES + PAIRS} | {"deny"}
    assert covered == set(masks.MASKS)


TYPES = {
    "varchar": "text", "varchar(9)": "text", "char(3)": "text", "tinyint": "whole", "smallint": "whole",
    "integer": "whole", "bigint": "whole", "decimal(9,2)": "decimal", "double": "double", "date": "date",
    "timestamp(3)": "timestamp", "uuid": "uuid", "boolean": "boolean", "real": "", "varbinary": "", "time(3)": "",
    "timestamp(3) with time zone": "", "ipaddress": "", "json": "", "array(varchar)": "", "map(varchar, bigint)": "",
    "row(a bigint)": "",
}  # fmt: skip
TAKES: dict[str, tuple[str, str]] = {
    "deny": ("deny", "any"), "null": ("null", "any"), "keep_last": ("keep_last(2)", "text"),
    "keep_first": ("keep_first(2)", "text"), "email": ("email", "text"), "prefix": ("prefix(2)", "text"),
    "format": ("format", "text"), "token": ("token", "text whole"),
    "pseudonym": ("pseudonym(g)", "text whole date uuid"), "hierarchy": ("hierarchy(icd, 1)", "text whole"),
    "date": ("date(year)", "date timestamp"), "number": ("number(5)", "whole decimal double"),
    "bucket": ("bucket(1, a|b)", "whole decimal double"), "top_code": ("top_code(5)", "whole decimal"),
    "bottom_code": ("bottom_code(5)", "whole decimal"), "geo": ("geo(500, v, w)", "decimal double"),
    "constant": ("constant(1)", "text whole decimal double"),
}  # fmt: skip
"""Mask -> an expression and the types that take it, as in the specification (other literals for other types)."""


@pytest.mark.parametrize("kind", masks.MASKS)
def test_a_type_that_is_not_in_the_table_is_refused(kind: str) -> None:
    text, takes = TAKES[kind]
    for name, family in TYPES.items():
        if takes == "any" or (family and family in takes.split()):
            assert masks.build(text, parse(name), CONTEXT).kind == kind
        else:
            with pytest.raises(MaskError):
                masks.build(text, parse(name), CONTEXT)


@pytest.mark.parametrize(
    ("texts", "fault"),
    [
        ({"a": "geo(500, a, b)", "b": "geo(500, a, b)"}, ""),
        ({"a": "geo(500, a, b)"}, "b must carry the same"),
        ({"a": "geo(500, a, b)", "b": "geo(500, b, a)"}, "must carry the same"),
        ({"a": "geo(500, a, b)", "b": "geo(750, a, b)"}, "must carry the same"),
        ({"a": "geo(500, a, b)", "b": "null"}, "must carry the same"),
        ({"a": "geo(500, a, x)"}, "no column 'x'"),
        ({"a": "geo(500, a, c)", "c": "geo(500, a, c)"}, "must both be decimal or both double"),
    ],
)
def test_both_coordinates_carry_the_same_mask(texts: dict[str, str], fault: str) -> None:
    types = {"a": parse("double"), "b": parse("double"), "c": parse("decimal(9,6)")}
    faults = [f for column in texts if texts[column] != "null" for f in masks.pair_faults(column, texts, types)]
    assert bool(faults) is bool(fault)
    assert all(fault in f for f in faults[:1])


def test_a_coordinate_whose_other_half_was_lost_shows_nothing() -> None:
    context = [replace(CONTEXT, column=c) for c in "vw"]
    pair = {c.column: masks.build("geo(500, v, w)", parse("double"), c) for c in context}
    assert {c: m.kind for c, m in masks.together(pair, "vw").items()} == {"v": "geo", "w": "geo"}
    assert {c: m.kind for c, m in masks.together({"v": pair["v"]}, "v").items()} == {"v": "null"}
    coarser = {**pair, "w": masks.build("null", parse("double"), CONTEXT)}
    assert masks.together(coarser, "vw")["v"].kind == "null"


def test_ranks_are_in_the_order_of_the_specification() -> None:
    order = ["deny", "null", "constant(x)", "pseudonym(g)", "prefix(2)", "keep_last(1)"]
    ranks = [masks.build(t, TrinoType("varchar", (20,)), CONTEXT).rank for t in order]
    assert ranks == sorted(Rank, reverse=True)[: len(order)]
