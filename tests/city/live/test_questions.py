"""The five questions, asked of a running city whose seed nobody knew before: exactly the answer key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.city.live.running import City


def rows_of(answer: dict[str, Any]) -> list[list[Any]]:
    return [list(row) for row in answer["rows"]]


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_the_answer_is_the_key(city: City, number: int) -> None:
    key, answer = city.answer_key(f"q{number}"), city.answered(number)
    assert [c["name"] for c in answer["columns"]] == [c["name"] for c in key["columns"]]
    assert [c["type"].replace(" ", "") for c in answer["columns"]] == [
        c["type"].replace(" ", "") for c in key["columns"]
    ]
    assert rows_of(answer) == key["rows"]


def test_verification_answers_every_probe(city: City) -> None:
    key = city.answer_key("q4")
    for user in ("wu", "he", "luo"):
        mine = [row for row in key["rows"] if row[1] == user]
        values = ", ".join(f"({n}, '{id_no}')" for n, _, id_no, _ in mine)
        sql = f"SELECT n, verify('housing.main.owner', id_no) FROM (VALUES {values}) AS p (n, id_no) ORDER BY n"
        answer = city.ask(sql, user)
        assert rows_of(answer) == [[n, outcome] for n, _, _, outcome in mine]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_ignoring_one_rule_of_dirt_would_give_another_answer(city: City, number: int) -> None:
    key = city.answer_key(f"q{number}")
    assert key["naive"]
    assert all(entry["rows_differing"] > 0 for entry in key["naive"])


@pytest.mark.parametrize(("number", "most"), [(2, 3_000), (3, 20_000), (5, 500)])
def test_few_rows_cross_the_trust_line(city: City, number: int, most: int) -> None:
    assert 0 < sum(d["rows"] for d in city.answered(number)["departments"]) <= most


def test_a_row_without_a_mapping_is_counted_in_a_warning(city: City) -> None:
    warnings = city.answered(1)["warnings"]
    assert any(w.startswith("7 rows of city.chem.flow") for w in warnings), warnings
