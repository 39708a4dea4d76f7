"""Each mask's DuckDB form equals its Arrow definition, for every value of every type that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
from catalog.types import TrinoType, parse

ROOT = bytes(range(32))


def linkage(purpose: str = "p", group: str = "g", normaliser: str = "none", epoch: str = "") -> masks.LinkageKey:
    return masks.LinkageKey(purpose, group, epoch, derive_key(ROOT, purpose, group, epoch), normaliser)


CONTEXT = masks.Context(
    lambda group: linkage(group=group, normaliser="company" if group == "firms" else "none"),
    {"icd": {"J45": ("J40-J47", "X"), "I21": ("I20-I25", "IX")}},
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
}
CASES = [
    ("null", "varchar"), ("null", "bigint"), ("null", "date"),
    ("constant('it''s')", "varchar"), ("constant(7, null_too)", "integer"), ("constant(1.5)", "decimal(12,2)"),
    ("constant(true)", "boolean"), ("constant(2020-01-01)", "date"),
    ("keep_last(0)", "varchar"), ("keep_last(4)", "varchar"), ("keep_last(2, fixed)", "varchar(12)"),
    ("keep_first(1)", "varchar"), ("keep_first(3, fixed)", "varchar"),
    ("email", "varchar"),
    ("pseudonym(people)", "varchar"), ("pseudonym(firms)", "varchar"), ("pseudonym(people)", "bigint"),
    ("pseudonym(people)", "date"),
    ("date(day)", "timestamp(3)"), ("date(week)", "date"), ("date(month)", "date"), ("date(quarter)", "timestamp(3)"),
    ("date(year)", "date"),
    ("number(5)", "tinyint"), ("number(7, 3)", "integer"), ("number(1000, -1)", "bigint"),
    ("number(0.5)", "decimal(12,2)"),
    ("number(0.05, 0.01)", "decimal(12,2)"), ("number(0.000000007)", "decimal(38,9)"), ("number(0.25)", "double"),
    ("number(10, 5)", "double"),
    ("hierarchy(icd, 1)", "varchar"), ("hierarchy(icd, 2)", "varchar"),
    ("prefix(1)", "varchar"), ("prefix(20)", "varchar(12)"),
    ("top_code(100)", "integer"), ("bottom_code(-1.25)", "decimal(12,2)"),
]  # fmt: skip


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    opened = duckdb.connect()
    duck.prepare(opened)
    yield opened
    opened.close()


def in_duckdb(con: duckdb.DuckDBPyConnection, mask: masks.Mask, raw: pa.Array) -> list[Any]:
    con.register("raw", pa.table({"v": raw}))
    sql = f"SELECT CAST({mask.duckdb('v')} AS {mask.type.duckdb()}) AS v FROM raw"
    return con.sql(sql).to_arrow_table().column("v").cast(mask.type.arrow()).to_pylist()


def plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


@pytest.mark.parametrize(("text", "kind"), CASES)
def test_the_duckdb_form_is_the_definition(con: duckdb.DuckDBPyConnection, text: str, kind: str) -> None:
    mask = masks.build(text, parse(kind), CONTEXT)

    @given(st.lists(st.one_of(st.none(), VALUES[kind]), max_size=20))
    @settings(max_examples=60, deadline=None)
    def check(values: list[Any]) -> None:
        raw = pa.array(values, parse(kind).arrow())
        expected = mask.arrow(raw)
        assert expected.type == mask.type.arrow()
        assert [plain(v) for v in in_duckdb(con, mask, raw)] == [plain(v) for v in expected.to_pylist()]
        if "null_too" not in text:
            assert all(e is None for v, e in zip(values, expected.to_pylist(), strict=True) if v is None)

    check()


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
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
    covered = {masks.parse(text)[0] for text, _ in CASES} | {"deny"}
    assert covered == set(masks.MASKS)


def test_ranks_are_in_the_order_of_the_specification() -> None:
    order = ["deny", "null", "constant(x)", "pseudonym(g)", "prefix(2)", "keep_last(1)"]
    ranks = [masks.build(t, TrinoType("varchar", (20,)), CONTEXT).rank for t in order]
    assert ranks == sorted(Rank, reverse=True)[: len(order)]
