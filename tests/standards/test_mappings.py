"""Mappings are data: exact factors, closed lists, half-open periods, and NULL for what nobody declared."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from catalog import duck
from catalog.standards import mappings as module
from catalog.standards.mappings import expand, factor, mappings
from catalog.types import parse


@pytest.mark.parametrize(
    ("conversion", "exact"),
    [
        ("t -> g", "1000000"),
        ("kg -> g", "1000"),
        ("jin -> g", "500"),
        ("drum -> L", "200"),
        ("m3 -> L", "1000"),
        ("mg -> g", "0.001"),
        ("mg/m3 -> ug/m3", "1000"),
        ("g -> t", "0.000001"),
    ],
)
def test_factors_are_exact(conversion: str, exact: str) -> None:
    assert factor(conversion) == Decimal(exact)


@pytest.mark.parametrize("conversion", ["kg -> L", "stone -> g", "kg", "pc -> kg"])
def test_what_does_not_convert_is_refused_by_name(conversion: str) -> None:
    with pytest.raises(ValueError, match=conversion.split(" ")[0]):
        factor(conversion)


def test_the_reference_change_of_gases_is_the_ratio_of_temperatures() -> None:
    ratio = (Decimal("273.15") / Decimal("298.15")).quantize(Decimal("1E-8"))
    assert evaluate("air_factor", "NO2", "ug/m3", datetime(2018, 8, 31, 23)) == ratio


CONNECTION = duckdb.connect(":memory:")


def compute(expression: str, inputs: dict[str, tuple[str, Any]]) -> Any:
    """A Trino expression over one row, in Trino's meaning. inputs: name -> (Trino type, value)."""
    types = {name: parse(kind) for name, (kind, _) in inputs.items()} or {"none": parse("integer")}
    tree = expand(sqlglot.parse_one(f"SELECT {expression} FROM t", read="trino"))
    sql = duck.compile_query(tree, {"t": duck.Table("t", types)}).sql
    row = ", ".join(f'CAST(? AS {kind.duckdb()}) AS "{name}"' for name, kind in types.items())
    values = [None if v is None else str(v) for _, v in inputs.values()] or [None]
    return CONNECTION.execute(f"WITH t AS (SELECT {row}) {sql}", values).fetchall()[0][0]


def evaluate(name: str, *arguments: Any) -> Any:
    """A mapping at one point."""
    inputs = mappings()[name].inputs
    given = {c: (str(t), v) for (c, t), v in zip(inputs.items(), arguments, strict=True)}
    return compute(f"{name}({', '.join(inputs)})", given)


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("grams_per_unit", ("t", None), Decimal(1_000_000)),
        ("grams_per_unit", ("L", Decimal(876)), Decimal(876)),
        ("grams_per_unit", ("drum", Decimal("876.5")), Decimal(175_300)),
        ("grams_per_unit", ("drum", None), None),  # a volume without a density weighs nobody knows what
        ("grams_per_unit", ("T", None), None),
        ("litres_per_unit", ("t", date(2016, 6, 1)), Decimal(1000)),
        ("litres_per_unit", ("t", date(2016, 7, 1)), None),
        ("litres_per_unit", ("L", date(2016, 6, 1)), None),
        ("litres_per_unit", ("L", date(2016, 7, 1)), Decimal(1)),
        ("product_scheme", (2017,), 2012),
        ("product_scheme", (2018,), 2018),
        ("product_units", ("t", "kg"), Decimal(1000)),
        ("product_units", ("t", "pc"), None),
        ("grams_per_milligram", (), Decimal("0.001")),
        ("pollutant", ("SO₂",), "SO2"),
        ("pollutant", ("so2",), None),
        ("air_factor", ("SO2", "ppb", datetime(2019, 1, 1)), Decimal("2.61867975")),
        ("air_factor", ("SO₂", "ppb", datetime(2014, 1, 1)), Decimal("2.61867975")),
        ("air_factor", ("O3", "ppb", datetime(2014, 1, 1)), None),
        ("air_factor", ("CO", "mg/m3", datetime(2018, 8, 31, 23, 59, 59)), Decimal("916.14959")),
        ("air_factor", ("CO", "mg/m3", datetime(2018, 9, 1)), Decimal(1000)),
        ("air_factor", ("PM10", "ug/m3", datetime(2014, 1, 1)), Decimal(1)),
        ("air_basis", ("PM10", datetime(2018, 8, 31, 23)), "stp273"),
        ("air_basis", ("PM10", datetime(2018, 9, 1)), "actual"),
        ("air_basis", ("O3", datetime(2014, 1, 1)), "k298"),
    ],
)
def test_a_mapping_at_its_edges(name: str, arguments: tuple[Any, ...], result: Any) -> None:
    assert evaluate(name, *arguments) == result


UNITS = {"t": 1_000_000, "kg": 1000, "g": 1, "jin": 500}


@given(
    qty=st.integers(0, 99_999_999_999).map(lambda n: Decimal(n).scaleb(-3)),
    unit=st.sampled_from([*UNITS, "L", "drum"]),
    purity=st.integers(0, 1000).map(lambda n: Decimal(n).scaleb(-3)),
    density=st.integers(1, 9_999_999).map(lambda n: Decimal(n).scaleb(-3)),
)
def test_grams_are_the_exact_product(qty: Decimal, unit: str, purity: Decimal, density: Decimal) -> None:
    """qty x factor x purity as chem.flow writes it, against Python's exact decimals."""
    found = compute(
        "qty * grams_per_unit(unit, density) * purity",
        {
            "qty": ("decimal(14,3)", qty),
            "unit": ("varchar", unit),
            "purity": ("decimal(4,3)", purity),
            "density": ("decimal(10,3)", density),
        },
    )
    grams = UNITS[unit] if unit in UNITS else density * (200 if unit == "drum" else 1)
    assert found == qty * grams * purity


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT weigh(x) FROM t", "weigh"),
        ("SELECT pollutant(x, y) FROM t", "pollutant"),
        ("SELECT litres_per_unit(x) FROM t", "litres_per_unit"),
    ],
)
def test_a_call_that_is_no_mapping_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        expand(sqlglot.parse_one(query, read="trino"))


@pytest.mark.parametrize(
    ("row", "inputs", "result"),
    [
        ({"convert": "t -> g"}, {}, "decimal(6,0)"),  # a million has seven digits
        ({"value": "0.15"}, {}, "decimal(3,1)"),
        ({"when": {"unit": "t"}, "value": 1}, {}, "integer"),  # no such input
        ({"when": {"at": {"until": 2018}}, "value": 1}, {"at": "integer"}, "integer"),
        ({"when": {"at": {}}, "value": 1}, {"at": "integer"}, "integer"),
    ],
)
def test_a_row_that_cannot_be_kept_exactly_is_an_error(
    row: dict[str, Any], inputs: dict[str, str], result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = module.Mapping.model_validate(
        {"name": "made", "about": "", "inputs": inputs, "result": result, "rows": [row]}
    )
    monkeypatch.setattr(module, "mappings", lambda: {"made": table})
    with pytest.raises(ValueError):
        expand(sqlglot.parse_one(f"SELECT made({', '.join(inputs)}) FROM t", read="trino"))


def test_every_mapping_is_used_by_some_city_table() -> None:
    texts = " ".join(p.read_text(encoding="utf-8") for p in (Path(module.__file__).parent / "tables").glob("*.sql"))
    assert {name for name in mappings() if f"{name}(" not in texts} == set()
